"""The simulated thighs: signal, fat kept at its tabulated mean, anatomy, files, resuming."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from helpers import images
from helpers.phantom import anatomy, dicom, fat, physics, thigh

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
        cohort=SimpleNamespace(case_fraction=0.001, image_fraction=0.001, thigh_matrix=128),
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


def test_the_coil_field_stays_inside_its_amplitude():
    for seed in range(10):
        field = physics.coil_field((64, 64), 3.0, np.random.default_rng(seed))
        assert field.min() >= 0.65 and field.max() <= 1.35


@pytest.mark.parametrize("diagnosis", DIAGNOSES)
def test_mean_and_spread_of_fat_are_the_tabulated_ones(diagnosis):
    rng = np.random.default_rng(5)
    drawn = [
        fat.draw_logits(diagnosis, course_quantile=rng.uniform(), rng=rng)[0] for _ in range(1500)
    ]
    values = fat.bounded(np.stack([one["right"].to_numpy() for one in drawn]))
    table = fat.atlas().loc[diagnosis].loc[list(fat.MUSCLES)]
    error = 3.5 * values.std(axis=0) / np.sqrt(len(values)) + 0.003
    assert (np.abs(values.mean(axis=0) - table.fat_fraction_mean) < error).all()
    spread = values.std(axis=0).mean()
    assert spread == pytest.approx(table.sd_between_patients.iloc[0], rel=0.08)


def test_severity_follows_the_disease_course():
    early, late = (
        np.mean(
            [
                fat.bounded(
                    fat.draw_logits("DMD", course_quantile=q, rng=np.random.default_rng(seed))[
                        0
                    ].to_numpy()
                ).mean()
                for seed in range(200)
            ]
        )
        for q in (0.1, 0.9)
    )
    assert late - early > 0.1


@given(
    st.floats(0.02, 0.92),
    st.lists(st.floats(-4, 4), min_size=3, max_size=60),
)
def test_texture_keeps_the_mean(target, field):
    assert fat.with_mean(np.array(field), target).mean() == pytest.approx(target, abs=1e-6)


def test_the_fat_of_a_slice_is_the_fat_of_the_case(adult):
    case, _ = adult
    pixel = 0.8
    axis = np.arange(-95, 95, pixel)
    lateral, anterior = np.meshgrid(axis, -axis)
    leg = anatomy.draw_leg(
        lateral,
        anterior,
        body=case.body,
        side=0,
        position_mm=case.positions_mm[0],
        pixel_mm=pixel,
        seam_field=np.zeros(lateral.shape),
    )
    fractions = thigh._fat_map(leg, case, 0, case.positions_mm[0], pixel, np.random.default_rng(0))
    logits = case.logits["right"] + case.drift * case.positions_mm[0]
    for number, logit in enumerate(logits):
        inside = (leg.nearest == number) & (leg.muscle > 0.5)
        assert fractions[inside].mean() == pytest.approx(float(fat.bounded(logit)), abs=1e-6)


def test_muscles_have_their_measured_shares():
    found = {muscle: [] for muscle in fat.MUSCLES}
    for number in range(1, 13):
        case = thigh.draw_case(person("MADD", number=number), contact=("apart",), seed=9)
        labels = thigh.draw_slice(case, 0, matrix=192).labels
        shares = case.body.shares * case.body.atrophy
        muscle = ((labels > 0) & (labels <= 12)).sum()
        for name in fat.MUSCLES:
            area = (labels == anatomy.LABELS[name]).sum() / muscle
            found[name].append(area / (shares[name] / shares.sum()))
    ratios = pd.Series({name: np.mean(values) for name, values in found.items()})
    # Seams take more of small muscles than of large ones.
    assert ratios.drop("AL").between(0.8, 1.2).all()
    assert 0.5 < ratios["AL"] < 1.1


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
    assert min(b.subcutaneous_mm for b in women) > max(b.subcutaneous_mm for b in men)


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


def test_the_texture_does_not_depend_on_the_disease():
    patterns = [fat.texture((40, 40), pixel_mm=1.0, rng=np.random.default_rng(0)) for _ in range(2)]
    assert np.array_equal(*patterns)
    assert "diagnosis" not in fat.texture.__code__.co_varnames


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
