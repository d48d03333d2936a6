"""Reading brains: orientation, voxel size, scale, and messages an author can act on."""

import errno
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from helpers import brain, paths

REAL = paths.real_data() / "brain"
needs_real_heads = pytest.mark.skipif(
    not REAL.is_dir(), reason="PAPER_TEST_DATA has no brain folder: real heads are not here"
)


def blob(shape=(44, 52, 44)):
    x, y, z = np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2
    ball = (x / 15) ** 2 + (y / 19) ** 2 + (z / 16) ** 2 < 1
    return (ball * (100 + 3 * x + 2 * y + z)).astype(np.float32)


def overlap(one, two):
    return 2 * np.sum(one & two) / (one.sum() + two.sum())


def write(folder, name, volume, affine):
    nib.save(nib.Nifti1Image(volume, affine), folder / name)
    return folder / name


def table(**changes):
    row = {
        "subject_id": "a",
        "group": "LD",
        "sex": "F",
        "age_years": 50.0,
        "site": "1",
        "split": "training",
        "file": "a.nii.gz",
    }
    return pd.DataFrame([row | changes])


def test_published_counts_add_up_to_the_printed_totals():
    counts = pd.DataFrame(brain.PUBLISHED_COUNTS, columns=["split", "group", "n"])
    assert counts["n"].sum() == 612
    assert counts.groupby("group")["n"].sum().to_dict() == {
        "BSP": 54,
        "CD": 59,
        "LD": 279,
        "control": 220,
    }
    assert counts.query("split == 'validation'")["n"].sum() == 172


@pytest.mark.parametrize("codes", ["RAS", "LAS", "PSR", "ASL"])
def test_every_orientation_is_read_as_the_same_head(tmp_path, codes):
    volume, affine = blob(), np.diag([4.0, 4, 4, 1])
    plain = nib.Nifti1Image(volume, affine)
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes)
    )
    nib.save(plain.as_reoriented(turn), tmp_path / "turned.nii.gz")
    expected = brain.read_volume(write(tmp_path, "a.nii.gz", volume, affine), voxel_mm=4.0)
    got = brain.read_volume(tmp_path / "turned.nii.gz", voxel_mm=4.0)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_finer_scan_is_resampled_to_the_asked_voxel_size(tmp_path):
    coarse = blob((45, 53, 45))
    # Odd sizes and one centre: both grids then have a voxel at the same middle.
    fine = ndimage.zoom(coarse, (89 / 45, 105 / 53, 89 / 45), order=1)
    one = write(tmp_path, "fine.nii.gz", fine, np.diag([2.0, 2, 2, 1]))
    two = write(tmp_path, "coarse.nii.gz", coarse, np.diag([4.0, 4, 4, 1]))
    got, expected = (brain.read_volume(path, voxel_mm=4.0) for path in (one, two))
    assert got.shape == expected.shape == (40, 48, 40)
    inner = ndimage.binary_erosion(expected != 0, iterations=3)
    assert np.corrcoef(got[inner], expected[inner])[0, 1] > 0.98


def test_scale_and_offset_of_the_scanner_do_not_matter(tmp_path):
    affine = np.diag([4.0, 4, 4, 1])
    one = brain.read_volume(write(tmp_path, "a.nii.gz", blob(), affine), voxel_mm=4.0)
    two = brain.read_volume(write(tmp_path, "b.nii.gz", 7 * blob(), affine), voxel_mm=4.0)
    np.testing.assert_allclose(one, two, atol=1e-4)
    head = one[one != 0]
    assert abs(head.mean()) < 0.01 and abs(head.std() - 1) < 0.01


def test_the_box_hangs_from_the_top_of_the_head():
    volume = np.zeros((60, 70, 80), np.float32)
    volume[20:40, 20:50, 5:70] = 1
    box = brain.fit_box(volume, voxel_mm=4.0)
    assert np.flatnonzero(box.any(axis=(0, 1)))[-1] == 40 - 1 - 2
    assert np.flatnonzero(box.any(axis=(1, 2)))[[0, -1]].tolist() == [10, 29]


def test_a_wrong_table_is_answered_with_every_problem(tmp_path):
    path = tmp_path / "subjects.csv"
    table(group="LDD", age_years=500.0).drop(columns="sex").to_csv(path, index=False)
    with pytest.raises(brain.UnusableBrains) as error:
        brain.read_subjects(path)
    for text in ("'sex' is missing", "LDD", "500", "LD, CD, BSP, control"):
        assert text in str(error.value)


def own(tmp_path, source):
    cohort = SimpleNamespace(brain_source=str(source), brain_voxel_mm=4.0)
    target = tmp_path / "results" / "cohort" / "brain"
    brain.import_own(SimpleNamespace(name="own", seed=1, cohort=cohort), target)
    return target


def test_own_scans_are_taken_in(tmp_path):
    write(tmp_path, "a.nii.gz", blob(), np.diag([4.0, 4, 4, 1]))
    table().to_csv(tmp_path / "subjects.csv", index=False)
    target = own(tmp_path, tmp_path)
    subjects = brain.read_subjects(target / "subjects.csv")
    assert brain.load(subjects, tmp_path / "results", voxel_mm=4.0).shape == (1, 40, 48, 40, 1)
    assert brain.description(tmp_path / "results")["synthetic"] is False


def test_own_scans_that_cannot_be_used_are_all_named(tmp_path):
    flat = np.ones((20, 20, 20), np.float32)
    write(tmp_path, "flat.nii.gz", flat, np.eye(4))
    write(tmp_path, "series.nii.gz", np.ones((20, 20, 20, 3), np.float32), np.eye(4))
    (tmp_path / "text.nii.gz").write_text("not a scan")
    names = ["flat.nii.gz", "series.nii.gz", "text.nii.gz", "absent.nii.gz"]
    rows = [table(subject_id=name, file=name) for name in names]
    pd.concat(rows).to_csv(tmp_path / "subjects.csv", index=False)
    with pytest.raises(brain.UnusableBrains) as error:
        own(tmp_path, tmp_path)
    assert "4 of 4" in str(error.value)
    assert all(name in str(error.value) for name in names)


def test_a_folder_without_a_table_is_answered_with_what_it_must_hold(tmp_path):
    with pytest.raises(brain.UnusableBrains, match="subject_id, group, sex"):
        own(tmp_path, tmp_path)


def test_a_failure_of_the_machine_is_not_laid_on_a_brain(tmp_path, monkeypatch):
    def failing(path):
        raise OSError(errno.EIO, "disk")

    monkeypatch.setattr(brain.nib, "load", failing)
    with pytest.raises(OSError, match="disk"):
        brain._problem(tmp_path / "a.nii.gz")


@needs_real_heads
@pytest.mark.parametrize("kind", ["ixi", "ds002748"])
def test_real_heads_are_read(kind):
    for path in sorted((REAL / kind).glob("*.nii.gz"))[:3]:
        volume = brain.read_volume(path, voxel_mm=4.0)
        assert volume.shape == (40, 48, 40) and volume.dtype == np.float32
        head = volume != 0
        assert 0.2 < head.mean() < 0.8
        assert abs(volume[head].std() - 1) < 0.2
        # Alike from side to side, not from top to bottom: the axes are in place.
        assert overlap(head, head[::-1]) > 0.9 > overlap(head, head[:, :, ::-1])
