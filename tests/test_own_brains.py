"""An author's brain folder: what is taken in, what is set aside and why, what stops a run."""

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from helpers import brain, cohort, doctor, own_brains, paths
from helpers.phantom import brain_head
from helpers.record import Run

REAL = paths.real_data() / "brain" / "ixi"
PEOPLE = [
    *(("LD", "training"), ("control", "training"), ("LD", "optimisation")),
    *(("control", "optimisation"), ("CD", "validation"), ("control", "held_out_controls")),
]
PHI = "Doe^Jane 19910203"


@pytest.fixture(scope="module")
def brains():
    options = {"age_years": 50, "site": 0, "voxel_mm": 4.0}
    return [
        brain_head.simulate(sex="F", rng=np.random.default_rng(k), **options)
        for k in range(len(PEOPLE))
    ]


@pytest.fixture
def own(brains, tmp_path):
    """Six people as NIfTI, with a name in each header, and their table."""
    folder = tmp_path / "own"
    folder.mkdir()
    rows = []
    for k, ((group, split), head) in enumerate(zip(PEOPLE, brains, strict=True)):
        rows.append(
            {
                "subject_id": f"s{k}",
                "group": group,
                "sex": "FM"[k % 2],
                "age_years": 50.0 + k,
                "site": "1",
                "split": split,
                "file": f"s{k}.nii.gz",
            }
        )
        image = nib.Nifti1Image(head.image.astype(np.int16), head.affine)
        image.header["descrip"] = PHI.encode()
        nib.save(image, folder / f"s{k}.nii.gz")
    pd.DataFrame(rows).to_csv(folder / "subjects.csv", index=False)
    return folder


def profile_of(own):
    chosen = SimpleNamespace(
        thigh_source="phantom",
        brain_source=str(own),
        brain_voxel_mm=4.0,
        brain_input="standardised",
    )
    readers = SimpleNamespace(reads_csv="")
    return SimpleNamespace(name="own", seed=1, cohort=chosen, readers=readers)


def taken_in(own):
    target = own.parent / "results" / "cohort" / "brain"
    own_brains.import_own(profile_of(own), target)
    return brain.read_subjects(target / "subjects.csv"), target


def refused(own):
    with pytest.raises(cohort.InvalidCohort) as error:
        taken_in(own)
    return str(error.value)


def change_table(own, change):
    table = pd.read_csv(own / "subjects.csv", dtype={"site": str})
    change(table).to_csv(own / "subjects.csv", index=False)


def test_own_scans_are_taken_in_and_read(own):
    subjects, target = taken_in(own)
    assert len(subjects) == 6 and subjects["patient"].tolist() == [1, 0, 1, 0, 1, 0]
    assert brain.load(subjects, target.parents[1]).shape == (6, 40, 48, 40, 1)
    about = json.loads((target / "cohort.json").read_text())
    assert about["synthetic"] is False and about["placement"] == "head"
    assert own_brains.read_set_aside(target.parents[1]).empty


def test_a_table_without_sites_and_sets_is_completed_and_said(own):
    change_table(
        own, lambda t: t.drop(columns=["site", "split"]).assign(group=["LD", "control"] * 3)
    )
    subjects, target = taken_in(own)
    assert set(subjects["split"]) == set(brain.SPLITS)
    assert subjects.groupby(["split", "patient"]).size().max() == 1
    notes = pd.read_csv(target / "notes.csv")["note"]
    assert notes.str.contains("no column site").any()
    assert notes.str.contains("dealt into sets within each group with seed 1").any()
    again, _ = taken_in(own)
    pd.testing.assert_frame_equal(subjects, again)


def test_dealing_keeps_half_for_training_and_sexes_spread():
    people = pd.DataFrame({"group": ["LD"] * 40 + ["control"] * 40, "sex": ["F", "M"] * 40})
    dealt, _ = own_brains.completed(people, seed=7)
    counted = dealt.groupby(["group", "split"]).size()
    assert counted["LD", "training"] == 20 and counted["LD", "optimisation"] == 8
    assert counted["control", "held_out_controls"] == counted["LD", "validation"] == 12
    women = (
        dealt[dealt["split"] == "training"].groupby("group")["sex"].agg(lambda s: (s == "F").mean())
    )
    assert women.between(0.4, 0.6).all()
    other, _ = own_brains.completed(people, seed=8)
    assert (other["split"] != dealt["split"]).any()


def test_own_words_for_groups_are_patients_and_noted(own):
    change_table(
        own, lambda t: t.assign(group=t["group"].replace({"LD": "tremor", "CD": "tremor"}))
    )
    subjects, target = taken_in(own)
    assert subjects["patient"].sum() == 3
    assert "groups tremor count as patients" in (target / "notes.csv").read_text()


def spoil(own, brains):
    """Add a bad scan of each kind, each as a further patient of the training set."""
    head = brains[0]
    values, affine = head.image.astype(np.int16), head.affine
    floating = head.image.copy()
    floating[5, 5, 5] = np.nan
    bad = {
        "flat": np.full(values.shape, 4, np.int16),
        "slice": values[:, :, 20],
        "series": np.stack([values] * 3, axis=3),
        "nan": floating,
        "turned": np.ascontiguousarray(values.transpose(1, 2, 0)),
        "upside": np.ascontiguousarray(values[::-1, :, ::-1]),
        "limb": np.tile(values.max(axis=2, keepdims=True), (1, 1, 44)),
    }
    for name, array in bad.items():
        nib.save(nib.Nifti1Image(array, affine), own / f"{name}.nii.gz")
    silent = nib.Nifti1Image(values, affine)
    silent.set_sform(affine, code=0)
    silent.set_qform(affine, code=0)
    nib.save(silent, own / "silent.nii.gz")
    whole = (own / "s1.nii.gz").read_bytes()
    (own / "short.nii.gz").write_bytes(whole[: len(whole) // 2])
    (own / "copy.nii.gz").write_bytes((own / "s5.nii.gz").read_bytes())
    names = [*bad, "silent", "short", "copy", "absent"]
    table = pd.read_csv(own / "subjects.csv", dtype={"site": str})
    more = pd.DataFrame(
        [table.iloc[0].to_dict() | {"subject_id": f"bad-{n}", "file": f"{n}.nii.gz"} for n in names]
    )
    pd.concat([table, more]).to_csv(own / "subjects.csv", index=False)


EXPECTED = {
    "flat": ("admission", "is empty: all its voxels hold one value"),
    "slice": ("decoding", "expected three dimensions"),
    "series": ("decoding", "holds 3 volumes"),
    "nan": ("admission", "1 voxels without a number"),
    "turned": ("admission", "lies otherwise than its header says"),
    "upside": ("admission", "lies otherwise than its header says"),
    "limb": ("admission", "cut off at the top"),
    "silent": ("decoding", "does not state its orientation"),
    "short": ("decoding", "cut short"),
    "copy": ("copy", "holds the same scan as that of s5"),
    "absent": ("decoding", "does not exist"),
}


def test_every_bad_scan_is_set_aside_with_a_reason_and_the_run_goes_on(own, brains):
    spoil(own, brains)
    subjects, target = taken_in(own)
    # The copied scan's owner is not known, so that neither of the two is used.
    assert subjects["subject_id"].tolist() == [f"s{k}" for k in range(5)]
    aside = own_brains.read_set_aside(target.parents[1]).set_index("subject_id")
    assert list(aside.reset_index().columns) == own_brains.SET_ASIDE
    for name, (step, words) in EXPECTED.items():
        row = aside.loc[f"bad-{name}"]
        assert row.step == step and words in row.reason, name
        assert row.reason.startswith(f"{name}.nii.gz ") and row.remedy, name
        assert row.split == "training" and row.group == "LD"
    assert set(aside.index) == {f"bad-{name}" for name in EXPECTED} | {"s5"}


def test_the_doctor_says_the_same_and_writes_nothing(own, brains):
    spoil(own, brains)
    held = sorted(own.parent.rglob("*"))
    text, sound = doctor.examine(profile_of(own))
    assert sound and sorted(own.parent.rglob("*")) == held
    for words in (
        "bad-nan: nan.nii.gz holds 1 voxels without a number (NaN or infinite). Write 0",
        "training: 1 LD, 1 control",
        "Note: no control is held out",
        "In all: 5 of 17 scans usable, 12 set aside, 0 problems",
    ):
        assert words in text, words


def test_the_run_stops_where_a_set_lacks_patients_or_controls(own):
    (own / "s1.nii.gz").write_bytes(b"")
    (own / "s2.nii.gz").write_bytes(b"")
    message = refused(own)
    assert "training has no control: 1 given, none usable" in message
    assert "optimisation has no patient: 1 given, none usable" in message
    assert "s1: s1.nii.gz is empty" in message and "(2 problems)" in message
    text, sound = doctor.examine(profile_of(own))
    assert not sound and "Problem: training has no control" in text


def test_table_and_scans_are_in_one_list(own):
    change_table(own, lambda t: t.assign(age_years="50y", group=["Control"] * 6))
    message = refused(own)
    assert "subjects.csv: row 2, age_years = '50y': expected a number" in message
    assert "group = 'Control'" in message and "Traceback" not in message


def test_a_folder_without_a_table_is_answered_with_what_it_must_hold(tmp_path):
    with pytest.raises(cohort.InvalidCohort, match=r"no subjects\.csv.*subject_id, group, sex"):
        own_brains.survey(profile_of(tmp_path))


def test_a_name_in_a_header_reaches_neither_results_nor_figures(own, brains):
    spoil(own, brains)
    change_table(own, lambda t: t.assign(family_name="Doe"))
    subjects, target = taken_in(own)
    held = "".join(path.read_text() for path in target.iterdir())
    assert "Doe" not in held and "19910203" not in held
    # Where the author's folder is stands in subjects.csv alone.
    assert str(own) not in (target / "set_aside.csv").read_text()
    table = brain.predictions(subjects, np.full(5, 0.5), model="m", weights="random", seed=1)
    assert str(own) not in table.to_csv() and "nii" not in table.to_csv()


@pytest.mark.skipif(
    not REAL.is_dir(), reason="PAPER_TEST_DATA has no brain folder: no real test data"
)
def test_sixteen_real_heads_go_in_with_sex_as_the_label(tmp_path, monkeypatch):
    people = pd.read_csv(REAL / "participants.csv")
    table = pd.DataFrame(
        {
            "subject_id": [f"ixi-{k:02d}" for k in range(len(people))],
            "group": ["male" if sex == "M" else "control" for sex in people["Sex"]],
            "sex": people["Sex"],
            "age_years": people["Age"],
            "file": [str(REAL / f"{name}_T1.nii.gz") for name in people["MRID"]],
        }
    )
    (tmp_path / "own").mkdir()
    table.to_csv(tmp_path / "own" / "subjects.csv", index=False)
    subjects, target = taken_in(tmp_path / "own")
    assert len(subjects) == 16 and subjects["patient"].sum() == 8
    assert own_brains.read_set_aside(target.parents[1]).empty
    volumes = brain.load(subjects, target.parents[1])[..., 0]
    assert volumes.shape == (16, 40, 48, 40)
    # Upright, centred and alike: each correlates with the mean of the others.
    for k, volume in enumerate(volumes):
        others = np.delete(volumes, k, axis=0).mean(0)
        assert np.corrcoef(volume.ravel(), others.ravel())[0, 1] > 0.6
    monkeypatch.setenv("PAPER_RESULTS", str(target.parents[2]))
    assert Run("07_dystonianet", profile="results", seed=1, part="brain").label == "your data"
