"""The synthetic brains: published counts, matched groups, and an effect of the stated size."""

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from helpers import brain, effects, parameters, paths
from helpers.phantom import brain as phantom
from helpers.phantom import brain_head, brain_template


def profile(*, seed=2021, fraction=0.03, voxel_mm=8.0, pose="registered"):
    cohort = SimpleNamespace(
        subject_fraction=fraction,
        brain_voxel_mm=voxel_mm,
        brain_pose=pose,
        effect_d=0.5,
        exaggerated_d=2.0,
    )
    return SimpleNamespace(name="test", seed=seed, cohort=cohort)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    phantom.write_cohort(profile(fraction=0.25), folder / "cohort" / "brain")
    return folder


def test_full_size_has_the_published_counts():
    table = phantom.plan(seed=1, fraction=1.0)
    published = table[table["split"] != "held_out_controls"]
    assert published["group"].value_counts().to_dict() == {
        "LD": 279,
        "control": 220,
        "CD": 59,
        "BSP": 54,
    }
    counts = brain.counts(published)
    assert (counts["published"].dropna() == counts["here"][:-1]).all()
    assert (table["split"] == "held_out_controls").sum() == 59


def test_the_demos_fraction_keeps_150_brains_of_the_publications_groups():
    fraction = parameters.load("demo").cohort.subject_fraction
    table = phantom.plan(seed=2021, fraction=fraction)
    assert (table["split"] != "held_out_controls").sum() >= 150


def test_a_smaller_cohort_is_part_of_a_larger_one():
    small, large = phantom.plan(seed=3, fraction=0.1), phantom.plan(seed=3, fraction=0.4)
    both = small.merge(large, how="left", indicator=True)
    assert (both["_merge"] == "both").all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_held_out_controls_are_apart_and_balanced_with_the_validation_patients(seed):
    table = phantom.plan(seed=seed, fraction=1.0)
    controls = table[table["split"] == "held_out_controls"].reset_index(drop=True)
    assert set(controls["group"]) == {"control"}
    assert not (table["group"] == "control")[table["split"] == "validation"].any()
    assert not controls["subject_id"].duplicated().any()
    patients = table[table["split"] == "validation"]
    # Each is the twin of a patient: the first third or so of each form.
    twins = pd.concat([part.head(20) for _, part in patients.groupby("group", sort=False)])
    for k, (_, control) in enumerate(controls.iterrows()):
        form = ("LD", "CD", "BSP")[k % 3]
        twin = twins[twins["group"] == form].iloc[k // 3]
        assert (control["sex"], control["site"]) == (twin["sex"], twin["site"])
        assert abs(control["age_years"] - twin["age_years"]) <= 2
    # Against all patients, chance remains: four standard errors.
    age = controls["age_years"].mean() - patients["age_years"].mean()
    assert abs(age) < 4 * patients["age_years"].std() * np.sqrt(1 / 59 + 1 / 172)
    women = (controls["sex"] == "F").mean() - (patients["sex"] == "F").mean()
    assert abs(women) < 4 * np.sqrt(0.25 * (1 / 59 + 1 / 172))
    shares = controls["site"].value_counts(normalize=True)
    assert shares.between(0.2, 0.3).all() and len(shares) == 4


@pytest.mark.parametrize("split", ["training", "optimisation"])
def test_controls_match_patients_in_sex_age_and_site(split):
    part = phantom.plan(seed=5, fraction=1.0).query("split == @split")
    patients = part[part["group"] == "LD"].reset_index(drop=True)
    controls = part[part["group"] == "control"].reset_index(drop=True)
    assert (patients["sex"] == controls["sex"]).all()
    assert (patients["site"] == controls["site"]).all()
    assert (patients["age_years"] - controls["age_years"]).abs().max() <= 2


def test_the_effect_has_the_stated_size(results):
    table = pd.read_csv(results / "cohort/brain/truth/regions.csv")
    # Two samples of about 80 and 169 brains: a standard deviation of 80 is known to 8 %.
    assert (table["realised_d"].abs() / table["target_d"]).between(0.75, 1.25).all()
    signs = np.sign(table["realised_d"].to_numpy()).reshape(2, 6)
    assert (signs == [region.sign for region in brain_template.REGIONS]).all()


def test_controls_and_unaffected_images_carry_no_effect(results):
    means = pd.read_csv(results / "cohort/brain/truth/region_means.csv")
    subjects = brain.read_subjects(results / "cohort/brain/subjects.csv")
    controls = means[means["subject_id"].isin(subjects.query("patient == 0")["subject_id"])]
    assert (controls["file"] == controls["unaffected"]).all()
    part = means.merge(subjects[["subject_id", "patient"]]).query("region == 'corpus callosum'")
    unaffected = part.groupby("patient")["unaffected"]
    gap = abs(unaffected.mean().diff().iloc[-1]) / part["unaffected"].std()
    assert gap < 4 * np.sqrt(2 / (len(part) / 2))


def test_every_file_is_there_and_only_patients_have_a_second_one(results):
    subjects = brain.read_subjects(results / "cohort/brain/subjects.csv")
    assert all((results / name).is_file() for name in subjects["file"])
    assert all((results / name).is_file() for name in subjects["file_exaggerated"])
    same = subjects["file"] == subjects["file_exaggerated"]
    assert (same == (subjects["patient"] == 0)).all()
    image = nib.load(results / subjects["file"][0])
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert image.header.get_zooms() == (8.0, 8.0, 8.0)


@pytest.fixture
def short_calibration(monkeypatch):
    monkeypatch.setattr(phantom, "CALIBRATION_SUBJECTS", 6)


def test_one_seed_gives_the_same_bytes_after_an_interruption_too(
    tmp_path, short_calibration, monkeypatch
):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    phantom.write_cohort(profile(), whole, processes=1)
    save, calls = nib.save, []

    def stopping(image, path):
        save(image, path)
        calls.append(path)
        # The third file of the third subject: written in part, not yet under its own name.
        if len(calls) == 12:
            raise KeyboardInterrupt

    monkeypatch.setattr(phantom.nib, "save", stopping)
    with pytest.raises(KeyboardInterrupt):
        phantom.write_cohort(profile(), torn, processes=1)
    assert not (torn / "cohort.json").exists()
    before = {path: path.stat().st_mtime_ns for path in (torn / "truth" / "means").iterdir()}
    assert 0 < len(before) < len(list((whole / "truth" / "means").iterdir()))
    monkeypatch.setattr(phantom.nib, "save", save)
    phantom.write_cohort(profile(), torn, processes=1)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    names = [{path.relative_to(f) for path in f.rglob("*.*")} for f in (whole, torn)]
    assert names[0] == names[1]
    for name in names[0]:
        assert (whole / name).read_bytes() == (torn / name).read_bytes(), name


def test_any_effect_size_can_be_formed_from_the_files(results):
    folder = results / "cohort/brain"
    subjects = brain.read_subjects(folder / "subjects.csv").set_index("subject_id")
    for name, row in subjects.groupby("group").head(2).iterrows():
        for column, size in (("file", 0.5), ("file_exaggerated", 2.0)):
            stored = nib.load(results / row[column])
            formed = phantom.with_effect(folder, name, effect_d=size if row["patient"] else 0.0)
            assert formed.get_data_dtype() == stored.get_data_dtype()
            np.testing.assert_array_equal(np.asarray(formed.dataobj), np.asarray(stored.dataobj))
            np.testing.assert_array_equal(formed.affine, stored.affine)
        none, one = (phantom.with_effect(folder, name, effect_d=d) for d in (0.0, 1.0))
        own = np.asarray(nib.load(folder / "truth/own_regions" / f"{name}.nii.gz").dataobj)
        changed = np.asarray(one.dataobj) != np.asarray(none.dataobj)
        assert changed[own > 0].mean() > 0.9 and 0 < changed.mean() < 0.2


def test_without_effect_a_patients_scan_is_the_brain_as_it_was_made(results):
    folder = results / "cohort/brain"
    row = phantom.plan(seed=2021, fraction=0.25).iloc[0].to_dict()
    key = np.random.SeedSequence(2021, spawn_key=(1, row["number"]))
    head = phantom._head(row, 8.0, "registered", key)
    found = np.asarray(phantom.with_effect(folder, row["subject_id"], effect_d=0.0).dataobj)
    np.testing.assert_array_equal(found, np.rint(head.image))


def test_a_subject_that_is_not_there_is_named(results):
    with pytest.raises(FileNotFoundError, match="'sub-999'"):
        phantom.with_effect(results / "cohort/brain", "sub-999", effect_d=1.0)


def test_files_of_changes_are_small(results):
    def size(name):
        return sum(path.stat().st_size for path in (results / "cohort/brain" / name).iterdir())

    assert size("truth/units") < 0.35 * size("nifti")


def test_less_of_the_effect_is_found_at_the_templates_place(results):
    sample = pd.read_csv(results / "cohort/brain/truth/poses.csv")
    assert sample.groupby(["pose", "region"]).size().eq(phantom.CALIBRATION_SUBJECTS).all()
    found = effects.by_pose(sample, effect_d=1.0).pivot_table(
        index=["pose", "region"], columns="place", values="estimate"
    )
    # The sign of a region's change is in it: the phantom darkens white and brightens grey matter.
    np.testing.assert_allclose(found["own"].abs(), 1.0)
    assert (np.sign(found["own"]) == np.sign(found["atlas"])).all()
    assert (found["atlas"].abs() < found["own"].abs()).all()
    mean = found["atlas"].abs().groupby("pose").mean()
    assert mean["as_scanned"] < mean["registered"]


def test_another_seed_gives_other_brains(tmp_path, short_calibration):
    for seed in (1, 2):
        phantom.write_cohort(profile(seed=seed), tmp_path / str(seed), processes=1)
    one, two = (
        (
            json.loads((tmp_path / seed / "cohort.json").read_text())["specification_sha256"],
            (tmp_path / seed / "truth" / "means" / "sub-001.json").read_text(),
        )
        for seed in "12"
    )
    assert one[0] != two[0]
    assert one[1] != two[1]


@pytest.mark.parametrize("seed", range(5))
def test_warps_are_one_to_one(seed):
    axes = brain_head.grid(4.0)
    field = brain_head.warp(axes, brain_head.Specification(), np.random.default_rng(seed))
    gradient = np.stack([np.stack(np.gradient(f, 4.0)) for f in field])
    jacobian = np.moveaxis(gradient, (0, 1), (-2, -1)) + np.eye(3)
    assert np.linalg.det(jacobian).min() > 0
    assert 1.0 < field.std() < 4.0


def test_ventricles_widen_with_age():
    dark = []
    for age in (30, 80):
        made = [_brain(age, k) for k in range(8)]
        dark.append(np.mean([np.mean(m[m > 0] < 0.5 * np.median(m[m > 0])) for m in made]))
    assert dark[1] > 1.1 * dark[0]


def _brain(age, k):
    rng = np.random.default_rng(k)
    head = brain_head.simulate(sex="F", age_years=age, site=0, voxel_mm=8.0, rng=rng)
    return head.image


def test_regions_lie_in_the_brain_and_keep_apart():
    template = brain_template.load(2.0)
    assert set(np.unique(template.region)) == set(range(7))
    assert (template.unit_effect[template.brain == 0] == 0).all()
    for number in range(1, 7):
        assert template.unit_effect[template.region == number].max() > 0.8


@pytest.mark.parametrize("pose", ["registered", "as_scanned"])
def test_heads_lie_as_their_pose_says(pose):
    wanted = brain_head.Specification().pose(pose)
    shift, size = [], []
    for k in range(40):
        head = _posed(pose, k)
        where = np.argwhere(head.image > 0) * 8.0
        shift.append(where.mean(0))
        size.append(np.cbrt((head.image > 0).sum()))
    # The warp adds to both, so what is seen may only be larger than what the pose alone gives.
    assert np.std(shift, axis=0).mean() > 0.7 * wanted.translation_mm
    assert np.std(size) / np.mean(size) > 0.7 * wanted.size_sd
    if pose == "registered":
        assert np.std(shift, axis=0).max() < 1.5
        assert np.std(size) / np.mean(size) < 0.02


def test_registered_heads_say_nothing_of_sex():
    def volume(pose, sex):
        return np.mean([(_posed(pose, k, sex).image > 0).sum() for k in range(10)])

    assert volume("registered", "M") == volume("registered", "F")
    assert volume("as_scanned", "M") > 1.05 * volume("as_scanned", "F")


def _posed(pose, k, sex="F"):
    rng = np.random.default_rng(k)
    return brain_head.simulate(sex=sex, age_years=50, site=0, voxel_mm=8.0, rng=rng, pose=pose)


def test_a_pose_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(KeyError, match=r"'lying'.*registered, as_scanned"):
        _posed("lying", 0)


def test_the_pose_is_in_the_cohorts_hash():
    one, two = (phantom._about(profile(pose=p)) for p in ("registered", "as_scanned"))
    assert one["specification_sha256"] != two["specification_sha256"]
    assert one["phantom_sha256"] == two["phantom_sha256"]
    assert (one["pose"], two["pose"]) == ("registered", "as_scanned")


def test_the_frozen_phantom_changes_only_with_its_version():
    frozen = json.loads(paths.package_data("brain_frozen.json").read_text())
    found = (brain_head.Specification().version, phantom.specification_sha256())
    assert found == (frozen["version"], frozen["specification_sha256"]), (
        "The phantom's specification changed. Raise its version, say why in "
        "book/phantom_versions_brain.csv, and renew src/helpers/data/brain_frozen.json."
    )
    last = pd.read_csv(paths.root() / "book" / "phantom_versions_brain.csv").iloc[-1]
    assert int(last.version) == frozen["version"] and last.specification == found[1][:12]


def test_the_frozen_phantom_draws_what_it_drew():
    frozen = json.loads(paths.package_data("brain_frozen.json").read_text())["drawn"]
    for k, wanted in enumerate(frozen):
        who = {key: wanted[key] for key in ("pose", "sex", "age_years", "site")}
        rng = np.random.default_rng([7, k % 2])
        head = brain_head.simulate(**who, voxel_mm=4.0, rng=rng)
        inside = head.image > 0
        found = {
            "voxels": inside.sum(),
            "signal": head.image[inside].mean(),
            "spread": head.image[inside].std(),
            "effect": head.unit_effect.sum(),
            "region_voxels": [(head.region == n).sum() for n in range(1, 7)],
        }
        # Other processors add in another order: a voxel here and there may differ.
        for name, value in found.items():
            assert value == pytest.approx(wanted[name], rel=0.005, abs=1.0), (k, name)


def test_the_cohorts_effects_are_read_with_what_was_planted(results):
    subjects = brain.read_subjects(results / "cohort/brain/subjects.csv")
    found, poses = effects.of_cohort(results, subjects)
    assert len(found) == 2 * 2 * 6 and len(poses) == 2 * 2 * 6
    assert (found["patients"] + found["controls"]).eq(len(subjects)).all()
    own = found[found["place"] == "own"]
    # An interval of 95 %; the twelve rows share people, so a few may miss together.
    held = own["planted"].between(own["low"], own["high"])
    assert held.mean() > 0.5
    assert own["planted"].abs().unique().tolist() == [0.5, 2.0]


def test_own_scans_have_no_known_effect(tmp_path):
    found, poses = effects.of_cohort(tmp_path, pd.DataFrame())
    assert found.empty and poses.empty and "planted" in found and "pose" in poses
