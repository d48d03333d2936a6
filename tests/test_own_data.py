"""An author's folder: what is taken in, what is refused and why, and what is left behind."""

import zlib
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1

from helpers import brain, cohort, images
from helpers.phantom import thigh

PERSONAL = {
    "PatientName": "Doe^Jane",
    "PatientID": "hospital-4711",
    "PatientBirthDate": "19910203",
    "StudyDate": "20200405",
}
PEOPLE = [
    ("DMD", "training"),
    ("Myositis", "training"),
    ("BMD", "validation"),
    ("GNE", "validation"),
    ("DMD", "test"),
    ("Neurogenic", "test"),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two slices of each of six people as DICOM with names and dates, and their table."""
    folder = tmp_path_factory.mktemp("written")
    rows = []
    for number, (diagnosis, split) in enumerate(PEOPLE):
        rows.append(
            {
                "case_id": f"own-{number:02d}",
                "diagnosis": diagnosis,
                "dystrophinopathy": int(diagnosis in cohort.DYSTROPHINOPATHIES),
                "sex": "M",
                "age_years": 12.0 if diagnosis == "DMD" else 40.0,
                "disease_course_years": 5.0,
                "field_strength_tesla": 1.5,
                "split": split,
            }
        )
        recipe = {"row": rows[-1], "slices": 2, "pressed": 0, "seed": 3}
        thigh.write_case(recipe, folder=folder / "results" / "own" / "thigh", matrix=64)
    for path in folder.glob("**/*.dcm"):
        stored = pydicom.dcmread(path)
        stored.update(PERSONAL)
        stored.save_as(path)
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    return folder


@pytest.fixture
def own(written, tmp_path):
    """A fresh copy of it in the layout that an author's folder has."""
    folder = tmp_path / "own"
    for path in written.glob("**/*.dcm"):
        target = folder / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (folder / "cases.csv").write_bytes((written / "cases.csv").read_bytes())
    return folder


def write_damaged(path):
    """A compressed volume whose header can be read and whose pixels cannot."""
    whole = nib.Nifti1Image(np.ones((16, 16, 16), dtype=np.int16), np.eye(4)).to_bytes()
    packer = zlib.compressobj(wbits=31)
    begun = packer.compress(whole[:1000]) + packer.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(begun + b"\xff" * 200)  # no kind of compressed block begins with these bits
    with pytest.raises(zlib.error):
        np.asarray(nib.load(path).dataobj)


def taken_in(own):
    profile = SimpleNamespace(cohort=SimpleNamespace(thigh_source=str(own)))
    target = own.parent / "results" / "cohort" / "thigh"
    cohort.import_own(profile, target)
    cases = cohort.read_cases(target / "cases.csv")
    return target, cohort.read_slices(target / "slices.csv", cases=cases)


def refused(own):
    with pytest.raises(cohort.InvalidCohort) as error:
        taken_in(own)
    return str(error.value)


def change_table(own, **cells):
    table = pd.read_csv(own / "cases.csv", dtype=object)
    for name, value in cells.items():
        table.loc[0, name] = value
    table.to_csv(own / "cases.csv", index=False)


def test_a_file_more_in_one_case_renames_no_slice_of_another(own):
    before = taken_in(own)[1]
    first = sorted((own / "own-00").iterdir())[0]
    (own / "own-00" / "a new file.dcm").write_bytes(first.read_bytes())
    after = taken_in(own)[1]
    assert len(after) == len(before) + 1
    others = [table[table.case_id != "own-00"] for table in (before, after)]
    pd.testing.assert_frame_equal(*(t.reset_index(drop=True) for t in others))


def test_names_and_dates_stay_in_the_scans(own):
    target, _ = taken_in(own)
    held = "".join(path.read_text() for path in target.iterdir())
    assert {path.name for path in target.iterdir()} == {"cases.csv", "slices.csv", "cohort.json"}
    assert not [value for value in PERSONAL.values() if value in held]


def test_every_problem_of_tables_and_files_is_in_one_list(own):
    change_table(own, age_years="12y")
    (own / "own-01" / "notes.txt").write_text("seen in clinic")
    path = sorted((own / "own-02").iterdir())[0]
    path.write_bytes(path.read_bytes()[:2000])
    write_damaged(own / "own-03" / "cut.nii.gz")
    for path in (own / "own-04").iterdir():
        path.unlink()
    lines = refused(own).splitlines()
    assert lines[0].endswith("cannot be used (5 problems):")
    assert lines[1] == "  - cases.csv: row 2, age_years = '12y': expected a number"
    assert lines[2].startswith("  - case own-01: notes.txt is neither DICOM nor NIfTI")
    assert lines[3].startswith("  - case own-02: ")
    assert lines[4].startswith("  - case own-03: cut.nii.gz is not readable NIfTI: ")
    assert lines[5] == "  - folder own-04/ of this case is missing or empty"


def test_a_compression_that_nothing_decodes_is_named_with_the_remedy(own):
    path = sorted((own / "own-00").iterdir())[0]
    stored = pydicom.dcmread(path)
    stored.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    stored["PixelData"].VR = "OB"
    stored.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    stored.save_as(path)
    message = refused(own)
    assert "JPEG Lossless" in message and "gdcmconv --raw" in message and "1 problem" in message


@pytest.mark.parametrize(
    ("cells", "line"),
    [
        ({"age_years": None}, "row 2, age_years = nan: expected a value"),
        ({"dystrophinopathy": "yes"}, "row 2, dystrophinopathy = 'yes': expected a whole number"),
        ({"disease_course_years": 20}, "row 2, disease_course_years exceeds age_years"),
    ],
)
def test_one_wrong_cell_is_one_line(own, cells, line):
    change_table(own, **cells)
    message = refused(own)
    assert f"cases.csv: {line}\n" in message and "(1 problem)" in message


def test_a_missing_column_is_one_line(own):
    table = pd.read_csv(own / "cases.csv").drop(columns="age_years")
    table.to_csv(own / "cases.csv", index=False)
    message = refused(own)
    assert "column 'age_years' is missing" in message and "(1 problem)" in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a table"),
        (",".join(cohort.CASES.columns) + "\n", "it has no rows"),
        ("case_id,sex\na,M,3\n", "more values than its first line has names"),
        ("case_id,sex\na,M\nb,M,3\n", "not a table"),
    ],
)
def test_a_file_that_is_no_table_says_so(own, text, reason):
    (own / "cases.csv").write_text(text)
    assert reason in refused(own)


@pytest.mark.parametrize("value", [None, "", "-12.5"])
def test_a_slice_without_a_place_has_a_location_or_none(own, value):
    path = sorted((own / "own-00").iterdir())[0]
    stored = pydicom.dcmread(path)
    stored.ImagePositionPatient = None
    stored.SliceLocation = value
    stored.save_as(path)
    expected = float(value) if value else np.nan
    assert np.array_equal(images.frame_positions(path), [expected], equal_nan=True)


def test_brain_table_and_scans_are_in_one_list(tmp_path):
    row = {"subject_id": "a", "group": "LD", "sex": "F", "age_years": "50y", "site": 1}
    row |= {"split": "training", "file": "a.nii.gz", "family_name": "Doe"}
    pd.DataFrame([row]).to_csv(tmp_path / "subjects.csv", index=False)
    write_damaged(tmp_path / "a.nii.gz")
    with pytest.raises(brain.UnusableBrains) as error:
        brain_taken_in(tmp_path)
    message = str(error.value)
    assert "subjects.csv: row 2, age_years = '50y': expected a number\n" in message
    assert "row 2, a.nii.gz: not readable" in message
    assert "file_exaggerated" not in message and "None" not in message


def test_only_the_expected_columns_of_a_brain_table_are_taken_in(tmp_path):
    row = {"subject_id": "a", "group": "LD", "sex": "F", "age_years": 50, "site": 1}
    row |= {"split": "training", "file": "a.nii.gz", "family_name": "Doe"}
    pd.DataFrame([row]).to_csv(tmp_path / "subjects.csv", index=False)
    image = nib.Nifti1Image(np.random.default_rng(0).random((16, 16, 16)), np.eye(4))
    nib.save(image, tmp_path / "a.nii.gz")
    assert "Doe" not in brain_taken_in(tmp_path).read_text()


def brain_taken_in(source):
    chosen = SimpleNamespace(brain_source=str(source), brain_voxel_mm=4.0)
    target = source / "results" / "cohort" / "brain"
    brain.import_own(SimpleNamespace(name="own", seed=1, cohort=chosen), target)
    return target / "subjects.csv"


def test_a_home_folder_may_be_written_with_a_tilde(own, monkeypatch):
    monkeypatch.setenv("HOME", str(own.parent))
    profile = SimpleNamespace(cohort=SimpleNamespace(thigh_source="~/own"))
    cohort.import_own(profile, own.parent / "results")
    assert (own.parent / "results" / "cohort.json").is_file()
