"""An author's folder: what is taken in, what is refused and why, and what is left behind."""

import copy
import zlib
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest

from helpers import __main__ as command
from helpers import cohort, doctor, images
from helpers import own as own_scans
from helpers.display import cohort as display_cohort
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
        recipe = {"row": rows[-1], "contact": ("apart", "touching"), "seed": 3}
        thigh.write_case(recipe, folder=folder / "results" / "own" / "thigh", matrix=128)
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
    own_scans.import_own(profile, target)
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
    another = pydicom.dcmread(first)
    another.PixelData = np.ascontiguousarray(another.pixel_array[:, ::-1]).tobytes()
    another.save_as(own / "own-00" / "a new file.dcm")
    after = taken_in(own)[1]
    assert len(after) == len(before) + 1
    others = [table[table.case_id != "own-00"] for table in (before, after)]
    pd.testing.assert_frame_equal(*(t.reset_index(drop=True) for t in others))


def test_names_and_dates_stay_in_the_scans(own):
    target, _ = taken_in(own)
    held = "".join(path.read_text() for path in target.iterdir())
    names = {"cases.csv", "slices.csv", "set_aside.csv", "notes.csv", "cohort.json"}
    assert {path.name for path in target.iterdir()} == names
    assert not [value for value in PERSONAL.values() if value in held]


def test_names_and_dates_of_what_is_set_aside_stay_in_the_scans(own):
    first, second = sorted((own / "own-00").iterdir())
    stored = pydicom.dcmread(first)
    stored.BodyPartExamined = "FOOT of Jane Doe"
    stored.save_as(first)
    another = pydicom.dcmread(second)
    another.PixelData = np.ascontiguousarray(another.pixel_array[:, ::-1]).tobytes()
    another.save_as(own / "own-00" / "usable.dcm")
    second.write_bytes(second.read_bytes()[:-900])
    (own / "own-00" / "third.dcm").write_bytes(sorted((own / "own-01").iterdir())[0].read_bytes())
    target = taken_in(own)[0]
    text = (target / "set_aside.csv").read_text()
    assert text.count("\n") == 1 + 4 and "FOOT" in text
    assert "Jane" not in text and not [value for value in PERSONAL.values() if value in text]


def spoil(own):
    """One of each: text, cut short, damaged, CT, another part, a copy, and a lost case."""
    (own / "own-01" / "notes.txt").write_text("seen in clinic")
    whole = sorted((own / "own-02").iterdir())[0]
    (own / "own-02" / "z.dcm").write_bytes(whole.read_bytes()[:2000])
    write_damaged(own / "own-03" / "cut.nii.gz")
    stored = pydicom.dcmread(sorted((own / "own-04").iterdir())[0])
    for name, value in (("Modality", "CT"), ("BodyPartExamined", "KNEE")):
        changed = copy.deepcopy(stored)
        setattr(changed, name, value)
        changed.save_as(own / "own-04" / f"{name}.dcm")
    stored.save_as(own / "own-04" / "zz copy.dcm")
    foot = nib.Nifti1Image(np.ones((64, 80, 3), np.int16), np.diag([2, 2, 2, 1.0]))
    table = pd.read_csv(own / "cases.csv", dtype=object)
    table.loc[len(table)] = [*table.loc[1]]
    table.loc[len(table) - 1, "case_id"] = "own-06"
    table.to_csv(own / "cases.csv", index=False)
    (own / "own-06").mkdir()
    nib.save(foot, own / "own-06" / "foot.nii.gz")


def test_what_cannot_be_used_is_set_aside_and_the_run_goes_on(own):
    before = taken_in(own)[1]
    spoil(own)
    target, slices = taken_in(own)
    pd.testing.assert_series_equal(slices.file, before.file)
    aside = own_scans.read_set_aside(target.parents[1])
    assert list(aside.columns) == own_scans.SET_ASIDE
    by_name = aside.groupby(aside.file.str.rsplit("/", n=1).str[-1]).first()
    for name, step, reason in (
        ("notes.txt", "decoding", "notes.txt is neither DICOM nor NIfTI"),
        ("z.dcm", "decoding", "z.dcm "),
        ("cut.nii.gz", "decoding", "cut.nii.gz is not readable NIfTI"),
        ("Modality.dcm", "admission", "Modality.dcm is CT, not magnetic resonance"),
        ("BodyPartExamined.dcm", "admission", "BodyPartExamined.dcm shows another part"),
        ("zz copy.dcm", "copy", "zz copy.dcm holds the same picture as own-04-s"),
        ("foot.nii.gz", "admission", "foot.nii.gz shows nothing that stands out"),
    ):
        assert by_name.loc[name, "step"] == step
        assert by_name.loc[name, "reason"].startswith(reason)
        assert by_name.loc[name, "remedy"]
    lost = aside[aside.step == "case"]
    assert lost.case_id.tolist() == ["own-06"] and lost.split.tolist() == ["training"]
    cases = cohort.read_cases(target / "cases.csv")
    assert "own-06" not in set(cases.case_id) and len(cases) == len(PEOPLE)


def test_the_flow_figure_counts_what_is_set_aside(own):
    spoil(own)
    target, slices = taken_in(own)
    cases = cohort.read_cases(target / "cases.csv")
    aside = own_scans.read_set_aside(target.parents[1])
    table = cohort.flow(cases, slices, set_aside=aside)
    counted = ["no_pixels", "not_admitted", "copies", "cases_lost"]
    assert table[counted].sum().tolist() == [3, 5, 1, 1]
    training = table[(table.split == "training") & (table.dystrophinopathy == 0)]
    assert training[counted].iloc[0].tolist() == [1, 3, 0, 1]
    drawn = display_cohort.flow(table)
    text = "\n".join(item.get_text() for item in drawn.axes[0].texts)
    assert "Given\n7 cases" in text and "not two thighs in T1: 5" in text
    assert "Cohort\n6 cases\n12 slices, 24 legs" in text and "pressed" not in text
    plt.close(drawn)


def test_the_run_stops_where_a_set_and_class_has_nothing_left(own):
    change_table(own, age_years="12y")
    assert "(1 problem)" in refused(own)
    change_table(own, age_years=12)
    for name in ("own-02", "own-04"):
        for path in (own / name).iterdir():
            path.write_bytes(path.read_bytes()[:3000])
    lines = refused(own).splitlines()
    assert lines[1] == "  - validation has no dystrophinopathy case: 1 given, none usable"
    assert lines[2] == "  - test has no dystrophinopathy case: 1 given, none usable"
    assert sum("own-02-s" in line and "gives no pixels" in line for line in lines) == 2
    assert any("case own-04: own-04/ holds no slice that can be used" in line for line in lines)


def test_one_picture_in_two_peoples_folders_is_used_for_neither(own):
    shared = sorted((own / "own-00").iterdir())[0]
    (own / "own-05" / "x.dcm").write_bytes(shared.read_bytes())
    target, slices = taken_in(own)
    aside = own_scans.read_set_aside(target.parents[1])
    assert sorted(aside.case_id) == ["own-00", "own-05"] and set(aside.step) == {"copy"}
    assert "same picture as a slice of case own-05" in aside.reason.iloc[0]
    assert len(slices) == 2 * len(PEOPLE) - 1


def test_a_further_verdict_renames_no_slice(own):
    before = taken_in(own)[1]
    first = sorted((own / "own-00").iterdir())[0]
    stored = pydicom.dcmread(first)
    stored.Modality = "CT"
    stored.save_as(first)
    after = taken_in(own)[1]
    assert set(before.slice_id) - set(after.slice_id) == {"own-00-00000"}


def test_links_are_followed_and_circles_left(own, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for path in (own / "own-00").iterdir():
        path.rename(tmp_path / "elsewhere" / path.name)
    (own / "own-00" / "scans").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path / "elsewhere")
    (own / "own-00" / ".hidden").write_text("")
    (own / "own-00" / "Thumbs.db").write_text("")
    (own / "own-00" / "self.dcm").symlink_to(own / "own-00" / "self.dcm")
    target, slices = taken_in(own)
    assert (slices.case_id == "own-00").sum() == 2
    assert len(own_scans.read_set_aside(target.parents[1])) == 1


def test_a_volume_of_several_contrasts_is_not_guessed_at(own):
    array = np.zeros((64, 64, 2, 3), np.int16)
    nib.save(nib.Nifti1Image(array, np.diag([2, 2, 9, 1.0])), own / "own-00" / "dixon.nii.gz")
    target, _ = taken_in(own)
    aside = own_scans.read_set_aside(target.parents[1])
    assert len(aside) == 6 and aside.reason.str.contains("one of 3 volumes").all()


def doctor_of(own):
    profile = SimpleNamespace(
        name="own",
        seed=1,
        cohort=SimpleNamespace(thigh_source=str(own), brain_source="phantom", brain_voxel_mm=4.0),
        readers=SimpleNamespace(reads_csv=""),
    )
    return doctor.examine(profile)


def test_the_doctor_says_what_was_found_and_writes_nothing(own):
    (own / "own-07").mkdir()
    path = sorted((own / "own-05").iterdir())[0]
    stored = pydicom.dcmread(path)
    del stored.ImageOrientationPatient
    stored.save_as(path)
    spoil(own)
    held = sorted(own.parent.rglob("*"))
    text, sound = doctor_of(own)
    assert sound and sorted(own.parent.rglob("*")) == held
    for line in (
        "own-00: 2 files, 2 slices admitted, 0 set aside",
        "own-04: 5 files, 2 slices admitted, 3 set aside",
        "    foot.nii.gz shows nothing that stands out from the background (and 2 more slices of",
        "Note: case own-05: 1 slice without a stated orientation",
        "Note: folder own-07/ has no row in cases.csv",
        "In all: 6 of 7 cases usable, 12 slices admitted, 9 set aside, 0 problems",
        "Brains: the phantom",
        "Readers: simulated",
    ):
        assert line in text, line


def test_the_doctor_lists_what_stops_a_run(own):
    change_table(own, age_years="12y")
    text, sound = doctor_of(own)
    assert not sound and "Problem: cases.csv: row 2, age_years = '12y': expected a number" in text
    assert "own-05: 2 files" in text
    (own / "cases.csv").unlink()
    text, sound = doctor_of(own)
    assert not sound and "holds no cases.csv" in text


@pytest.mark.parametrize("source", ["phantom", "nowhere"])
def test_the_doctors_exit_status(source, tmp_path, capsys):
    (tmp_path / "mine.yml").write_text(f"extends: tiny\ncohort:\n  thigh_source: {source}\n")
    status = command.main(["doctor", "--profile", str(tmp_path / "mine.yml")])
    printed = capsys.readouterr().out
    assert status == (source != "phantom")
    assert ("holds no cases.csv" in printed) == (source != "phantom")


@pytest.mark.parametrize("code", ["../own-01", "..", ".", ".own-00", "a\\own", "a/own"])
def test_a_code_that_is_no_folders_name_is_refused(own, code):
    change_table(own, case_id=code)
    assert f"case_id {code!r} cannot be a folder's name" in refused(own)


def test_a_table_with_semicolons_says_so_in_one_line(own):
    text = (own / "cases.csv").read_text().replace(",", ";")
    (own / "cases.csv").write_text(text)
    message = refused(own)
    assert "separated by semicolons" in message and "found: case_id, diagnosis" in message
    assert "(1 problem)" in message


def test_what_is_taken_for_granted_is_kept(own):
    path = sorted((own / "own-05").iterdir())[0]
    stored = pydicom.dcmread(path)
    del stored.ImageOrientationPatient
    stored.save_as(path)
    target, _ = taken_in(own)
    notes = pd.read_csv(target / "notes.csv").note
    assert len(notes) == 1 and "1 slice without a stated orientation" in notes[0]


def test_where_the_folder_is_stays_out_of_what_is_set_aside(own):
    spoil(own)
    target, _ = taken_in(own)
    assert str(own.parent) not in (target / "set_aside.csv").read_text()
    aside = own_scans.read_set_aside(target.parents[1])
    assert "own-01/notes.txt" in set(aside.file)


def test_each_case_is_a_line_of_progress(own, capsys):
    taken_in(own)
    assert "case 6 of 6 read: 2 slices" in capsys.readouterr().out


def test_own_titles_give_classes_of_age(own):
    table = pd.read_csv(own / "cases.csv")
    titles = cohort.example_cases(table, folder=own).title
    assert titles.iloc[0] == "DMD, M, 10 to 14 y, 1.5 T"
    table["age_years"] = 93.0
    assert "90 or more y" in cohort.example_cases(table, folder=own).title.iloc[0]


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


def test_a_home_folder_may_be_written_with_a_tilde(own, monkeypatch):
    monkeypatch.setenv("HOME", str(own.parent))
    profile = SimpleNamespace(cohort=SimpleNamespace(thigh_source="~/own"))
    own_scans.import_own(profile, own.parent / "results")
    assert (own.parent / "results" / "cohort.json").is_file()
