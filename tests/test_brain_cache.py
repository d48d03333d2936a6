"""Scans on disk: read once, the same as when read anew, and whole or made again."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from helpers import brain, brain_cache


@pytest.fixture
def cohort(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(4):
        values = np.zeros((40, 48, 40), np.float32)
        values[4:36, 4:44, 4:36] = 100 + 10 * rng.standard_normal((32, 40, 32))
        affine = np.diag([4.0, 4, 4, 1])
        affine[:3, 3] = (-78, -111, -72)
        nib.save(nib.Nifti1Image(values, affine), tmp_path / f"s{k}.nii.gz")
    return pd.DataFrame({"file": [f"s{k}.nii.gz" for k in range(4)]})


@pytest.fixture
def reads(monkeypatch):
    found, plain = [], brain.read_volume

    def noting(path, **reading):
        found.append(path.name)
        return plain(path, **reading)

    monkeypatch.setattr(brain, "read_volume", noting)
    return found


def load(cohort, folder):
    return brain_cache.load(cohort, folder, voxel_mm=8.0)


def test_kept_scans_are_those_that_reading_gives(cohort, tmp_path):
    volumes = load(cohort, tmp_path)
    direct = brain.load(cohort, tmp_path, voxel_mm=8.0)
    assert volumes.shape == direct.shape and len(volumes) == len(direct)
    assert np.asarray(volumes).dtype == direct.dtype == volumes.dtype
    np.testing.assert_array_equal(volumes, direct)


@pytest.mark.parametrize(
    "key",
    [
        *(2, -1, slice(1, 3), slice(None), np.array([3, 0, 0]), [1, 2]),
        np.array([True, False, False, True]),
        *((1, 3), (slice(0, 2), slice(4, 9)), (np.array([0, 2]), 5, 6, 7, 0)),
        (slice(None), ..., 0),
        np.zeros(4, bool),
    ],
)
def test_they_are_indexed_like_an_array(cohort, tmp_path, key):
    volumes = load(cohort, tmp_path)
    np.testing.assert_array_equal(volumes[key], np.asarray(volumes)[key])


def test_one_scan_outside_is_an_error(cohort, tmp_path):
    with pytest.raises(IndexError):
        load(cohort, tmp_path)[4]


def test_a_scan_is_read_once(cohort, tmp_path, reads):
    load(cohort, tmp_path)
    assert sorted(reads) == sorted(cohort["file"])
    load(cohort, tmp_path)
    part = load(cohort.iloc[[3, 1]], tmp_path)
    assert len(reads) == 4 and len(part) == 2


def test_a_killed_run_goes_on_where_it_was(cohort, tmp_path, monkeypatch, reads):
    plain = brain.read_volume

    def failing(path, **reading):
        if path.name == "s2.nii.gz":
            raise KeyboardInterrupt
        return plain(path, **reading)

    with monkeypatch.context() as patched:
        patched.setattr(brain, "read_volume", failing)
        with pytest.raises(KeyboardInterrupt):
            load(cohort, tmp_path)
    before = len(reads)
    load(cohort, tmp_path)
    assert sorted(reads) == sorted(cohort["file"])
    assert before >= 2 and reads[-1] == "s2.nii.gz"
    assert not list((tmp_path / "cache" / "brain").glob(".*"))


@pytest.mark.parametrize("damage", ["bytes", "shorter", "array gone", "note gone", "note"])
def test_what_is_damaged_is_made_anew_and_no_other(cohort, tmp_path, reads, damage):
    volumes = load(cohort, tmp_path)
    expected = np.asarray(volumes)
    array = volumes.files[1]
    note = array.with_suffix(".json")
    content = array.read_bytes()
    {
        "bytes": lambda: array.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]),
        "shorter": lambda: array.write_bytes(content[:-400]),
        "array gone": array.unlink,
        "note gone": note.unlink,
        "note": lambda: note.write_text("{"),
    }[damage]()
    reads.clear()
    np.testing.assert_array_equal(load(cohort, tmp_path), expected)
    assert reads == ["s1.nii.gz"]


def test_a_changed_scan_or_way_of_reading_is_read_anew(cohort, tmp_path, reads):
    one = load(cohort, tmp_path)
    (tmp_path / "s0.nii.gz").write_bytes((tmp_path / "s3.nii.gz").read_bytes())
    reads.clear()
    two = load(cohort, tmp_path)
    np.testing.assert_array_equal(two[0], two[3])
    assert not reads, "the same bytes under another name had been read"
    assert two.marks[1:] == one.marks[1:]
    assert brain_cache.load(cohort, tmp_path, voxel_mm=6.0).shape != two.shape
    assert len(reads) == 3  # two of the four are the same scan


def test_a_missing_scan_is_named(cohort, tmp_path):
    (tmp_path / "s2.nii.gz").unlink()
    with pytest.raises(brain.UnusableBrains, match=r"s2\.nii\.gz"):
        load(cohort, tmp_path)
