"""The simulated thighs: signal, fat kept at its tabulated mean, anatomy, files, resuming."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats

from helpers import cohort, images, paths
from helpers.phantom import anatomy, cases, dicom, fat, physics, texture, thigh

DIAGNOSES = sorted(fat.atlas().index.get_level_values(0).unique())


def person(diagnosis="Myositis", sex="M", age=40.0, number=1, field=3.0, course=5.0):
    return {
        "case_id": f"thigh-{number:04d}",
        "diagnosis": diagnosis,
        "sex": sex,
        "age_years": age,
        "disease_course_years": course,
        "field_strength_tesla": field,
    }


def recipes_of(profile):
    wanted = profile.cohort
    return thigh.draw_cohort(
        seed=profile.seed,
        case_fraction=wanted.case_fraction,
        image_fraction=wanted.image_fraction,
    )[1]


@pytest.fixture(scope="module")
def adult():
    case = thigh.draw_case(person(), contact=("apart", "apart", "pressed"), seed=3)
    return case, [thigh.draw_slice(case, i, matrix=256) for i in range(3)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "mini" / "cohort" / "thigh"
    profile = SimpleNamespace(
        seed=11,
        cohort=SimpleNamespace(
            case_fraction=0.001, image_fraction=0.001, thigh_matrix=128, texture_strength=1.0
        ),
    )
    said = []
    thigh.write_cohort(profile, folder, say=said.append)
    return profile, folder, said


@pytest.mark.parametrize(("field", "low", "high"), [(1.5, 0.29, 0.32), (3.0, 0.25, 0.28)])
def test_muscle_against_fat(field, low, high):
    assert low <= physics.signals(field)["muscle"] <= high


def test_an_unknown_field_strength_is_refused():
    with pytest.raises(ValueError, match=r"1\.5 and 3\.0"):
        physics.signals(7.0)


def test_noise_has_the_drawn_size_and_is_rician():
    nothing = np.zeros((256, 256))
    rng = np.random.default_rng(0)
    image = physics.acquire(nothing, nothing, field_tesla=1.5, rng=rng)
    sd = np.random.default_rng(0).uniform(*physics.SPECIFICATION["noise_sd_of_fat"])
    # Without signal the magnitude follows Rayleigh's distribution.
    assert np.sqrt((image**2).mean() / 2) == pytest.approx(sd, rel=0.1)
    assert image.mean() / image.std() == pytest.approx(1.91, abs=0.1)


def test_a_flat_field_keeps_its_level():
    ones = np.ones((128, 128))
    image = physics.acquire(0 * ones, ones, field_tesla=3.0, rng=np.random.default_rng(1))
    assert image.mean() == pytest.approx(1.0, abs=0.01)


def test_a_sharp_edge_rings_and_the_ringing_dies_out(monkeypatch):
    monkeypatch.setitem(physics.SPECIFICATION, "noise_sd_of_fat", [0.0, 0.0])
    square = np.zeros((256, 256))
    square[64:192, 64:192] = 1.0
    image = physics.acquire(0 * square, square, field_tesla=1.5, rng=np.random.default_rng(0))
    # Gibbs: 9 % at an ideal edge; the Fermi window lets it die out.
    for line in (image[128], image[:, 128]):
        assert 1.02 < line.max() < 1.10
        assert np.abs(line[100:156] - 1).max() < 0.01


def test_the_coil_field_stays_inside_its_amplitude():
    for seed in range(10):
        field = physics.coil_field((64, 64), 3.0, np.random.default_rng(seed))
        assert field.min() >= 0.65 and field.max() <= 1.35


@pytest.fixture(scope="module")
def many():
    """400 cases of each diagnosis of Table 2: persons, and fat fractions, by side and muscle."""
    names = cohort.published_cells().diagnosis.unique()
    cells = pd.DataFrame({"diagnosis": names, "split": "test", "cases": 400, "images": 800})
    cells["dystrophinopathy"] = cells.diagnosis.isin(["DMD", "BMD"]).astype(int)
    people, _ = cases.draw(cells, seed=1)
    rng, drawn = np.random.default_rng(2), {}
    for diagnosis, rows in people.groupby("diagnosis"):
        fractions = []
        for row in rows.itertuples():
            advance = cases.advance(
                diagnosis, age_years=row.age_years, course_years=row.disease_course_years
            )
            logits, _ = fat.draw_logits(diagnosis, advance=advance, rng=rng)
            fractions.append(fat.bounded(logits.to_numpy()))
        drawn[diagnosis] = (rows, np.array(fractions))
    return drawn


def test_mean_fat_is_the_tabulated_one_for_every_muscle_and_disease(many):
    scores = []
    for diagnosis, (_, fractions) in many.items():
        table = fat.atlas().loc[diagnosis].loc[list(fat.MUSCLES)]
        of_case = fractions.mean(axis=2)
        error = of_case.std(axis=0, ddof=1) / np.sqrt(len(of_case))
        scores.append((of_case.mean(axis=0) - table.fat_fraction_mean) / error)
    scores = np.array(scores)
    assert scores.shape == (15, 12)
    # Three standard errors for the family of 180 comparisons (Sidak), two-sided.
    family = 1 - (2 * stats.norm.sf(3))
    limit = stats.norm.isf((1 - family ** (1 / scores.size)) / 2)
    assert 4 < limit < 4.5 and np.abs(scores).max() < limit
    assert (np.abs(scores) > 3).sum() <= 3


def test_spread_of_fat_between_people_is_the_tabulated_one(many):
    for diagnosis, (_, fractions) in many.items():
        wanted = fat.atlas().loc[diagnosis].sd_between_patients.iloc[0]
        assert fractions[:, :, 0].std(axis=0).mean() == pytest.approx(wanted, rel=0.1), diagnosis


def test_severity_follows_age_and_course(many):
    for diagnosis in ("DMD", "BMD"):
        rows, fractions = many[diagnosis]
        for column in ("age_years", "disease_course_years"):
            found = stats.spearmanr(rows[column], fractions.mean(axis=(1, 2))).statistic
            assert 0.45 < found < 0.75, (diagnosis, column)


def test_one_pair_in_five_is_asymmetric_in_fshd_and_few_in_symmetric_diseases(many):
    asymmetric = {
        diagnosis: (np.abs(np.diff(fractions, axis=2)) > 0.10).mean()
        for diagnosis, (_, fractions) in many.items()
    }
    assert asymmetric["FSHD"] == pytest.approx(0.20, abs=0.03)
    assert max(asymmetric[name] for name in ("DMD", "BMD", "Congenital", "MADD")) < 0.05


def test_some_becker_cases_look_normal(many):
    mean = many["BMD"][1].mean(axis=(1, 2))
    assert 0.1 < (mean < 0.10).mean() < 0.4 and (mean > 0.6).mean() > 0.1


def test_sub_groups_of_congenital_myopathies_mix_to_the_tabulated_means():
    groups = fat.sub_groups("Congenital")
    assert [share for share, _ in groups] == pytest.approx([0.6, 0.2, 0.2])
    table = fat.atlas().loc["Congenital"].loc[list(fat.MUSCLES)].fat_fraction_mean
    assert sum(share * means for share, means in groups) == pytest.approx(table.to_numpy())
    hamstring, ryr1 = groups[2][1], groups[0][1]
    number = {name: i for i, name in enumerate(fat.MUSCLES)}
    assert hamstring[number["SM"]] > ryr1[number["SM"]]
    assert ryr1[number["SA"]] > 0.4 and max(ryr1[number[m]] for m in ("RF", "GR", "AL")) < 0.15


def test_fat_changes_along_the_thigh_as_published():
    def drift(diagnosis):
        rng = np.random.default_rng(3)
        draws = [fat.draw_logits(diagnosis, advance=0.0, rng=rng) for _ in range(200)]
        up, down = (
            np.mean([fat.bounded(one["right"] + at * slope) for one, slope in draws], axis=0)
            for at in (50.0, -50.0)
        )
        return pd.Series(up - down, index=list(fat.MUSCLES))

    # PMC5711504: 3.9 points less fat proximally.
    assert -0.08 < drift("FSHD").mean() < -0.02
    assert drift("LGMD2D")[["VL", "VI", "VM"]].min() > 0.03
    assert abs(drift("DMD").mean()) < 0.01


def test_oedema_hardly_changes_the_signal():
    for field in (1.5, 3.0):
        signal = physics.signals(field)
        assert 0 < abs(signal["oedema"] / signal["muscle"] - 1) < 0.05
    shares = [(fat.draw_oedema("FSHD", np.random.default_rng(s)) > 0).mean() for s in range(300)]
    assert np.mean(shares) == pytest.approx(0.035, abs=0.008)
    assert not fat.draw_oedema("Healthy", np.random.default_rng(0)).any()


def test_no_texture_belongs_to_one_disease_alone():
    table = texture.probabilities().drop("Healthy")
    assert set(table.columns) == {*texture.GROUND, *texture.LOCAL} and len(table) == 15
    assert (table > 0).all().all()
    assert table[list(texture.GROUND)].sum(axis=1).to_numpy() == pytest.approx(np.ones(15))
    # The likeliest disease of a ground texture has it less often than all others together.
    ground = table[list(texture.GROUND)]
    assert (ground.max() < ground.sum() - ground.max()).all()


@pytest.mark.parametrize("ground", texture.GROUND)
def test_a_texture_keeps_means_and_strength_zero_spreads_fat_evenly(adult, ground):
    case = replace(
        adult[0], pattern=replace(adult[0].pattern, ground=ground, local=tuple(texture.LOCAL))
    )
    leg, pixel = free_leg(case.body), 0.8
    full, none = (
        thigh._fat_map(leg, case, 0, 0.0, strength, pixel, np.random.default_rng(0))
        for strength in (1.0, 0.0)
    )
    for number, logit in enumerate(case.logits["right"]):
        inside = (leg.nearest == number) & (leg.muscle > 0.5)
        assert full[inside].mean() == pytest.approx(float(fat.bounded(logit)), abs=1e-6)
        assert np.ptp(none[inside]) < 1e-9 < full[inside].std()
        assert none[inside][0] == pytest.approx(float(fat.bounded(logit)))


def test_texture_strength_changes_nothing_but_the_texture():
    case = thigh.draw_case(person("LGMD2I", number=8), contact=("apart",), seed=2)
    full, none = (
        thigh.draw_slice(case, 0, matrix=160, texture_strength=strength) for strength in (1.0, 0.0)
    )
    assert np.array_equal(full.labels, none.labels)
    outside = ~ndimage.binary_dilation((full.labels > 0) & (full.labels <= 12), iterations=8)
    # Ringing aside, tissue other than muscle is the same to the noise.
    assert np.abs(full.image - none.image)[outside].max() < 0.03
    assert np.abs(full.image - none.image)[~outside].max() > 0.1


@given(
    st.floats(0.02, 0.92),
    st.lists(st.floats(-4, 4), min_size=3, max_size=60),
)
def test_texture_keeps_the_mean(target, field):
    assert fat.with_mean(np.array(field), target).mean() == pytest.approx(target, abs=1e-6)


def free_leg(body, side=0, position_mm=0.0, pixel=0.8):
    axis = np.arange(-105, 105, pixel).astype(np.float32)
    lateral, anterior = np.meshgrid(axis, -axis)
    return anatomy.draw_leg(
        lateral,
        anterior,
        body=body,
        side=side,
        position_mm=position_mm,
        pixel_mm=pixel,
        seam_field=np.zeros(lateral.shape, dtype=np.float32),
    )


@pytest.fixture(scope="module")
def healthy():
    """Area fraction and position of each muscle in 36 healthy legs, by the measured rules."""
    rows, pixel = [], 1.0
    axis = np.arange(-105, 105, pixel)
    lateral, anterior = np.meshgrid(axis, -axis)
    for number in range(36):
        body = anatomy.draw_body(
            diagnosis="Healthy",
            sex="MMF"[number % 3],
            age_years=21.0 + number % 30,
            rng=np.random.default_rng(number),
        )
        labels = free_leg(body, side=number % 2, pixel=pixel).labels()
        # Adductor longus is not labelled in the measured maps.
        own = {name: labels == anatomy.LABELS[name] for name in fat.MUSCLES}
        labelled = (labels > 0) & (labels <= 12) & ~own["AL"]
        unit = np.sqrt(labelled.sum() / np.pi)
        for name, inside in own.items():
            rows.append(
                {
                    "muscle": name,
                    "area_fraction": inside.sum() / labelled.sum(),
                    "lateral": (lateral[inside].mean() - lateral[labelled].mean()) / unit,
                    "anterior": (anterior[inside].mean() - anterior[labelled].mean()) / unit,
                    "area_cm2": labelled.sum() / 100,
                }
            )
    return pd.DataFrame(rows)


@pytest.mark.parametrize("measure", ["area_fraction", "lateral", "anterior"])
def test_healthy_muscles_are_within_two_sd_of_the_measured_ones(healthy, measure):
    found = healthy.groupby("muscle")[measure].mean()
    table = anatomy.geometry()
    score = (found - table[measure]) / table[f"{measure}_sd"]
    assert len(score) == 12 and score.abs().max() < 2, score.round(2).to_dict()


def test_healthy_muscle_areas_are_the_measured_ones(healthy):
    # Measured: 107 cm2 a leg, range 59-158.
    area = healthy.groupby(healthy.index // 12).area_cm2.first()
    assert 90 < area.mean() < 120 and area.between(45, 190).all()


def test_the_legs_of_a_person_differ_as_measured():
    differences = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        body = anatomy.draw_body(diagnosis="Healthy", sex="M", age_years=30.0, rng=rng)
        right, left = (anatomy.areas_at(body, 0.0, side=side)[1] for side in (0, 1))
        differences.append(abs(right - left) / ((right + left) / 2))
    # Measured: 3.7 +- 2.5 %.
    assert np.mean(differences) == pytest.approx(0.037, abs=0.006)


def test_the_fat_of_a_slice_is_the_fat_of_the_case(adult):
    case, position = adult[0], adult[0].positions_mm[0]
    leg = free_leg(case.body, position_mm=position)
    fractions = thigh._fat_map(leg, case, 0, position, 1.0, 0.8, np.random.default_rng(0))
    logits = case.logits["right"] + case.drift * position
    for number, logit in enumerate(logits):
        inside = (leg.nearest == number) & (leg.muscle > 0.5)
        assert fractions[inside].mean() == pytest.approx(float(fat.bounded(logit)), abs=1e-6)


def test_muscles_change_along_the_thigh_as_measured():
    body = anatomy._template()
    table = anatomy.geometry()
    for level in (30, 70):
        position = anatomy.SPECIFICATION["vastus_intermedius_extent_mm"] * (level - 50) / 100
        leg = free_leg(body, position_mm=position)
        area = np.array([leg.muscle[leg.nearest == i].sum() * 0.64 / 100 for i in range(12)])
        wanted = table[f"area_cm2_level_{level}"]
        ratio = (area / area.sum()) / (wanted / wanted.sum()).to_numpy()
        # Shares in the middle are those of another table than the areas by level.
        middle = (table.area_fraction / table.area_cm2_level_50).to_numpy()
        ratio /= middle / np.average(middle, weights=wanted)
        assert np.abs(np.log(ratio[area > 1.5])).max() < 0.35, (level, ratio.round(2))


def test_every_muscle_is_mostly_one_piece(adult):
    labels = np.where(adult[1][0].leg == 1, adult[1][0].labels, 0)
    for name in fat.MUSCLES:
        pieces, count = ndimage.label(labels == anatomy.LABELS[name])
        assert count and np.bincount(pieces.ravel())[1:].max() > 0.7 * (pieces > 0).sum(), name


def test_boys_are_small_and_women_have_more_fat_under_the_skin():
    def bodies(**who):
        who = {"diagnosis": "Myositis", "sex": "M", "age_years": 40.0} | who
        return [anatomy.draw_body(**who, rng=np.random.default_rng(seed)) for seed in range(60)]

    boys, men = bodies(age_years=10.0, diagnosis="DMD"), bodies()
    women = bodies(sex="F")
    assert 35 <= np.median([b.area_cm2 for b in boys]) <= 60
    assert 90 <= np.median([b.area_cm2 for b in men]) <= 158
    assert 58 <= np.median([b.area_cm2 for b in women]) <= 82
    assert 22 <= np.median([b.femur_mm for b in men]) <= 27
    assert 14 <= np.median([b.subcutaneous_mm for b in women]) <= 25
    assert 6 <= np.median([b.subcutaneous_mm for b in men]) <= 12


def test_no_thickness_of_fat_under_the_skin_belongs_to_one_disease_alone():
    rng = np.random.default_rng(8)

    def thickness(diagnosis):
        return [anatomy._subcutaneous(diagnosis, "M", 12.0, rng) for _ in range(4000)]

    drawn = {name: np.array(thickness(name)) for name in ("DMD", "BMD", "Myositis", "GNE")}
    edges = np.arange(4, 24, 2)
    shares = {name: np.histogram(values, edges)[0] / 4000 for name, values in drawn.items()}
    for name, share in shares.items():
        others = np.sum([shares[other] for other in shares if other != name], axis=0)
        assert (others[share > 0.01] > 0.01).all(), name
    assert np.percentile(drawn["GNE"], [5, 95]) == pytest.approx([6, 12], rel=0.03)


def test_the_right_leg_is_on_the_left_and_its_lateral_side_outward(adult):
    drawn = adult[1][0]
    columns = [np.nonzero(drawn.leg == side)[1].mean() for side in (1, 2)]
    assert columns[0] < columns[1]
    for side in (1, 2):
        own = drawn.leg == side
        medial = np.nonzero(own & (drawn.labels == anatomy.LABELS["GR"]))[1].mean()
        lateral = np.nonzero(own & (drawn.labels == anatomy.LABELS["VL"]))[1].mean()
        assert (medial > lateral) == (side == 1)
        front = np.nonzero(own & (drawn.labels == anatomy.LABELS["RF"]))[0].mean()
        back = np.nonzero(own & (drawn.labels == anatomy.LABELS["ST"]))[0].mean()
        assert front < back


def test_separable_legs_are_apart_and_pressed_ones_are_not(adult):
    for drawn in adult[1]:
        right, left = (np.nonzero((drawn.leg == side).any(axis=0))[0] for side in (1, 2))
        gap_mm = (left[0] - right[-1] - 1) * drawn.pixel_mm
        wanted = adult[0].gap_mm if drawn.separable else 0.0
        assert gap_mm == pytest.approx(wanted, abs=2 * drawn.pixel_mm + 1)


def test_validation_slices_are_what_their_recipe_says():
    recipes = thigh.validation_recipes(45, 0.4, seed=5, pressed_share=0.2)
    states = [state for recipe in recipes for state in recipe["contact"]]
    assert [states.count(name) for name in thigh.CONTACTS] == [18, 18, 9]
    assert len({recipe["row"]["diagnosis"] for recipe in recipes}) == 15
    assert {recipe["row"]["field_strength_tesla"] for recipe in recipes} == {1.5, 3.0}
    for recipe in recipes[::3]:
        case = thigh.draw_case(**recipe)
        for index, state in enumerate(case.contact):
            drawn = thigh.draw_slice(case, index, matrix=256)
            assert drawn.touching == (state != "apart"), (recipe["row"], state, drawn.contact)
            assert drawn.separable == (state != "pressed"), (recipe["row"], state, drawn.contact)


def test_the_whole_cohort_has_touching_slices_that_count_and_pressed_ones_on_top():
    table, recipes = thigh.draw_cohort(seed=7, case_fraction=1.0, image_fraction=1.0)
    states = [state for recipe in recipes for state in recipe["contact"]]
    assert states.count("apart") + states.count("touching") == 1268
    assert states.count("touching") == round(0.15 * 1268)
    assert states.count("pressed") == round(0.08 * 1268)
    # Legs meet towards the hip: never apart above a slice in contact.
    order = {"apart": 0, "touching": 1, "pressed": 2}
    for recipe in recipes:
        numbers = [order[state] for state in recipe["contact"]]
        assert numbers == sorted(numbers)
    share = table.assign(
        touching=[sum(state != "apart" for state in recipe["contact"]) for recipe in recipes]
    )
    by_sex = share.groupby("sex").touching.sum() / share.sex.value_counts()
    assert by_sex["F"] > 1.3 * by_sex["M"]


def test_a_contact_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="apart, touching, pressed"):
        thigh.draw_case(person(), contact=("glued",), seed=1)


def test_no_leg_leaves_the_field_of_view_and_free_ones_never_touch():
    for number, (sex, age) in enumerate([("M", 25.0), ("F", 40.0), ("M", 10.0), ("F", 11.0)] * 3):
        who = person("MADD", sex=sex, age=age, number=number)
        drawn = thigh.draw_slice(thigh.draw_case(who, contact=("apart",), seed=2), 0, matrix=160)
        inside = drawn.leg > 0
        assert not (inside[0].any() or inside[-1].any() or inside[:, [0, -1]].any())
        assert ndimage.label(inside)[1] == 2


def test_the_femur_is_the_same_in_all_slices_of_a_case(adult):
    cortex, marrow = anatomy.LABELS["cortex"], anatomy.LABELS["marrow"]
    areas = [np.isin(s.labels, [cortex, marrow]).sum() * s.pixel_mm**2 for s in adult[1]]
    assert np.ptp(areas) < 0.05 * np.mean(areas)


def test_a_case_is_the_same_alone_and_in_any_order():
    one = thigh.draw_case(person(number=5), contact=("apart", "apart"), seed=1)
    two = thigh.draw_case(person(number=5), contact=("apart", "apart"), seed=1)
    second_first = thigh.draw_slice(two, 1, matrix=128)
    thigh.draw_slice(one, 0, matrix=128)
    assert np.array_equal(thigh.draw_slice(one, 1, matrix=128).image, second_first.image)
    other = thigh.draw_case(person(number=6), contact=("apart", "apart"), seed=1)
    assert not np.array_equal(thigh.draw_slice(other, 1, matrix=128).image, second_first.image)


def test_dicom_reads_back_equal_and_holds_what_its_type_requires(written):
    _, folder, _ = written
    row = pd.read_csv(folder / "slices.csv").iloc[0]
    stored = pydicom.dcmread(folder.parents[1] / row.file)
    assert stored.SOPClassUID == pydicom.uid.MRImageStorage
    assert stored.file_meta.MediaStorageSOPInstanceUID == stored.SOPInstanceUID
    for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert stored[name].value.startswith("2.25.") and stored[name].value.is_valid
    # Type 1 of patient, study, series, plane, pixel and MR image modules (PS3.3).
    for name in (
        *("Modality", "ImageType", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated"),
        *("BitsStored", "HighBit", "PixelRepresentation", "Rows", "Columns", "PixelSpacing"),
        *("ImageOrientationPatient", "ImagePositionPatient", "ScanningSequence"),
        *("SequenceVariant", "PixelData"),
    ):
        assert stored[name].value not in ("", None), name
    for name in (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
        *("ReferringPhysicianName", "StudyID", "AccessionNumber", "SeriesNumber", "ScanOptions"),
        *("InstanceNumber", "SliceThickness", "MRAcquisitionType", "EchoTime", "EchoTrainLength"),
        *("RepetitionTime", "PositionReferenceIndicator", "Manufacturer"),
    ):
        assert name in stored, name
    assert (stored.RepetitionTime, stored.EchoTime) == (450, 12)
    assert stored.PixelRepresentation == 1 and stored.pixel_array.min() >= 0
    read = images.read_slice(folder.parents[1] / row.file)
    assert np.array_equal(read.pixels, stored.pixel_array)
    assert read.spacing_mm == tuple(map(float, stored.PixelSpacing))


def test_dicom_says_it_is_synthetic_and_tells_neither_diagnosis_nor_date(written):
    _, folder, _ = written
    people = pd.read_csv(folder / "cases.csv").set_index("case_id")
    for path in sorted(folder.glob("dicom/*/*.dcm"))[:10]:
        stored = pydicom.dcmread(path)
        text = str(stored).lower()
        assert (
            "synthetic" in stored.Manufacturer.lower()
            and "synthetic" in stored.ImageComments.lower()
        )
        assert people.loc[path.parent.name, "diagnosis"].lower() not in text
        assert not [e for e in stored if e.VR in ("DA", "DT", "TM") and e.value]


def test_uids_are_unique_within_the_cohort(written):
    _, folder, _ = written
    found = [
        pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID
        for p in folder.glob("dicom/*/*.dcm")
    ]
    assert len(found) == len(set(found)) == len(pd.read_csv(folder / "slices.csv"))
    assert dicom.uid(1, "a") != dicom.uid(2, "a")


def test_what_is_written(written):
    profile, folder, said = written
    description = json.loads((folder / "cohort.json").read_text())
    assert description["synthetic"] and description["seed"] == profile.seed
    assert len(description["specification_sha256"]) == 64
    legs = pd.read_csv(folder / "truth" / "legs.csv")
    fractions = pd.read_csv(folder / "truth" / "fat_fractions.csv")
    slices = pd.read_csv(folder / "slices.csv")
    people = pd.read_csv(folder / "cases.csv")
    assert len(legs) == 2 * len(slices) and len(fractions) == 24 * len(people)
    assert fractions.fat_fraction.between(0.02, 0.92).all()
    states = [state for recipe in recipes_of(profile) for state in recipe["contact"]]
    assert (legs.separable == 0).sum() == 2 * states.count("pressed") > 0
    assert legs[legs.separable == 1].touching.sum() == 2 * states.count("touching")
    for row in legs.itertuples():
        with np.load(folder / "truth" / f"{row.slice_id}.npz", allow_pickle=False) as truth:
            leg = truth["leg"] == {"right": 1, "left": 2}[row.side]
        assert leg[row.row0 : row.row1, row.col0 : row.col1].sum() == leg.sum() > 0
    assert said[-1].endswith("cases written")


def test_an_interrupted_run_goes_on(written):
    profile, folder, _ = written
    files = sorted(folder.glob("dicom/*/*.dcm"))
    before = {path: path.stat().st_mtime_ns for path in files}
    lost = files[3]
    content = lost.read_bytes()
    lost.unlink()
    (folder / "cohort.json").unlink()
    thigh.write_cohort(profile, folder, say=lambda line: None)
    after = {path: path.stat().st_mtime_ns for path in files}
    assert [path for path in files if after[path] != before[path]] == [lost]
    assert lost.read_bytes() == content
    assert (folder / "cohort.json").exists()


def test_the_frozen_phantom_changes_only_with_its_version():
    frozen = json.loads(paths.package_data("thigh_frozen.json").read_text())
    found = (thigh.SPECIFICATION["version"], thigh.specification_sha256())
    assert found == (frozen["version"], frozen["specification_sha256"]), (
        "The phantom's specification changed. Raise its version, say why in "
        "book/phantom_versions.csv, and renew src/helpers/data/thigh_frozen.json."
    )
    versions = pd.read_csv(paths.root() / "book" / "phantom_versions.csv")
    last = versions.iloc[-1]
    assert int(last.version) == frozen["version"] and last.specification == found[1][:12]


def test_the_frozen_phantom_draws_what_it_drew():
    frozen = json.loads(paths.package_data("thigh_frozen.json").read_text())["drawn"]
    recipes = thigh.validation_recipes(len(frozen), 0.4, seed=3)
    cases_drawn = [thigh.draw_case(**recipe) for recipe in recipes]
    pairs = [(case, index) for case in cases_drawn for index in range(len(case.contact))]
    for (case, index), wanted in zip(pairs, frozen, strict=True):
        drawn = thigh.draw_slice(case, index, matrix=192)
        muscle = (drawn.labels > 0) & (drawn.labels <= 12)
        found = {
            "contact": drawn.contact,
            "pixel_mm": drawn.pixel_mm,
            "leg_pixels": (drawn.leg > 0).sum(),
            "muscle_pixels": muscle.sum(),
            "muscle_signal": drawn.image[muscle].mean(),
            "signal": drawn.image.mean(),
        }
        # Other processors add in another order: a pixel here and there may differ.
        assert found == pytest.approx(wanted, rel=0.005, abs=0.001)
