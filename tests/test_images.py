"""Reading slices in the radiologist's view, and cutting legs out of them."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.uid import MRImageStorage

from helpers import cohort, images, paths
from helpers.phantom import dicom

REAL = Path(os.environ.get("PAPER_TEST_DATA", paths.root() / ".." / "shared" / "data"))
needs_real_data = pytest.mark.skipif(
    not (REAL / "dicom").is_dir(), reason="PAPER_TEST_DATA has no dicom folder: no real test data"
)


@pytest.fixture
def ramp():
    """Bright where the patient's right front is."""
    rows, columns = np.mgrid[:6, :8]
    return 1.0 - rows / 12 - columns / 24


@pytest.fixture
def stored(ramp):
    row = {"case_id": "a", "sex": "F", "age_years": 33.0, "field_strength_tesla": 1.5}
    return dicom.dataset(
        ramp,
        case=row,
        slice_id="a-1",
        pixel_mm=0.8,
        position_mm=-12.5,
        thickness_mm=8,
        spacing_mm=10,
        instance=1,
        uid_seed=1,
    )


def save(dataset, path):
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_dicom_and_nifti_of_the_same_slice_agree(stored, ramp, tmp_path):
    read = images.read_slice(save(stored, tmp_path / "a.dcm"))
    # NIfTI runs right, anterior, up: both axes are turned against the display.
    volume = np.stack([0 * ramp, ramp], axis=2).transpose(1, 0, 2)[::-1, ::-1]
    nib.save(nib.Nifti1Image(volume, np.diag([0.8, 0.8, 10, 1])), tmp_path / "a.nii.gz")
    same = images.read_slice(tmp_path / "a.nii.gz", 1)
    assert np.allclose(same.pixels * dicom.FAT_VALUE, read.pixels, atol=0.6)
    assert same.spacing_mm == pytest.approx(read.spacing_mm)


@pytest.mark.parametrize("codes", ["LPS", "RAS", "LAS", "RPS", "PLS", "SAR"])
def test_any_storage_order_of_nifti_gives_the_same_view(codes, tmp_path):
    volume = np.random.default_rng(0).random((5, 6, 4))
    image = nib.Nifti1Image(volume, np.diag([0.8, 0.9, 10.0, 1.0]))
    nib.save(image, tmp_path / "reference.nii")
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes)
    )
    nib.save(image.as_reoriented(turn), tmp_path / "turned.nii")
    one, two = (images.read_slice(tmp_path / f"{n}.nii", 2) for n in ("reference", "turned"))
    assert np.allclose(one.pixels, two.pixels)
    assert one.spacing_mm == pytest.approx((0.9, 0.8)) == two.spacing_mm


def test_mirrored_dicom_is_turned_back(stored, tmp_path):
    straight = images.read_slice(save(stored, tmp_path / "a.dcm")).pixels
    stored.PixelData = stored.pixel_array[::-1, ::-1].tobytes()
    stored.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
    assert np.array_equal(images.read_slice(save(stored, tmp_path / "b.dcm")).pixels, straight)


def test_rescale_and_monochrome1(stored, tmp_path):
    plain = images.read_slice(save(stored, tmp_path / "a.dcm")).pixels
    stored.RescaleSlope, stored.RescaleIntercept = 2, -10
    scaled = images.read_slice(save(stored, tmp_path / "b.dcm")).pixels
    assert np.array_equal(scaled, 2 * plain - 10)
    del stored.RescaleSlope, stored.RescaleIntercept
    stored.PhotometricInterpretation = "MONOCHROME1"
    inverted = images.read_slice(save(stored, tmp_path / "c.dcm")).pixels
    assert np.array_equal(inverted, plain.max() - plain)


def test_errors_name_the_file_and_what_was_expected(stored, tmp_path):
    with pytest.raises(images.UnreadableImage, match=r"gone\.dcm does not exist"):
        images.read_slice(tmp_path / "gone.dcm")
    (tmp_path / "text.dcm").write_text("no image")
    with pytest.raises(images.UnreadableImage, match="neither DICOM nor NIfTI"):
        images.read_slice(tmp_path / "text.dcm")
    (tmp_path / "text.nii.gz").write_text("no image")
    with pytest.raises(images.UnreadableImage, match="not readable NIfTI"):
        images.read_slice(tmp_path / "text.nii.gz")
    with pytest.raises(images.UnreadableImage, match="frames 0 to 0; frame 3"):
        images.read_slice(save(stored, tmp_path / "a.dcm"), 3)
    del stored.PixelData
    with pytest.raises(images.UnreadableImage, match="gives no pixels"):
        images.read_slice(save(stored, tmp_path / "b.dcm"))


def test_the_first_readable_slice_is_found(stored, tmp_path):
    (tmp_path / "text.dcm").write_text("no image")
    save(stored, tmp_path / "a.dcm")
    slices = pd.DataFrame({"file": ["text.dcm", "a.dcm"], "frame": 0})
    found = images.first_readable(slices, folder=tmp_path)
    assert np.array_equal(found.pixels, images.read_slice(tmp_path / "a.dcm").pixels)
    with pytest.raises(images.UnreadableImage, match=r"text\.dcm"):
        images.first_readable(slices.head(1), folder=tmp_path)


def test_a_cut_leg_is_square_scaled_and_not_distorted():
    pixels = np.zeros((40, 40))
    pixels[10:20, 5:35] = np.linspace(1, 2, 30)
    leg = images.crop(images.SliceImage(pixels, (1.0, 1.0)), (10, 5, 20, 35), size=60)
    assert leg.shape == (60, 60) and leg.dtype == np.float32
    assert leg.min() >= 0 and 245 < leg.max() <= 255
    assert leg[:19].max() == 0 and leg[41:].max() == 0 and leg[25:35].mean() > 100


def test_own_scans_are_described_without_copying(stored, tmp_path):
    source, folder = tmp_path / "own", tmp_path / "results"
    (source / "anna").mkdir(parents=True)
    (source / "bert").mkdir()
    save(stored, source / "anna" / "1.dcm")
    volume = nib.Nifti1Image(np.ones((4, 5, 3)), np.diag([1, 1, 10, 1.0]))
    nib.save(volume, source / "bert" / "t1.nii.gz")
    people = pd.DataFrame(
        {
            "case_id": ["anna", "bert"],
            "diagnosis": ["Myositis", "DMD"],
            "dystrophinopathy": [0, 1],
            "sex": ["F", "M"],
            "age_years": [33, 12],
            "disease_course_years": [2, None],
            "field_strength_tesla": [1.5, 3],
            "split": ["test", "training"],
        }
    )
    people.to_csv(source / "cases.csv", index=False)
    cohort.import_own(own_profile(source), folder)
    slices = cohort.read_slices(
        folder / "slices.csv", cases=cohort.read_cases(folder / "cases.csv")
    )
    assert slices.case_id.tolist() == ["anna", "bert", "bert", "bert"]
    assert slices.slice_position_mm.tolist() == [-12.5, 0, 10, 20]
    assert slices.frame.tolist() == [0, 0, 1, 2]
    assert all(Path(f).is_absolute() for f in slices.file)
    assert (folder / "cohort.json").read_text().strip() == '{\n "synthetic": false\n}'
    assert not list(folder.glob("**/*.dcm"))


def test_every_unusable_scan_is_listed(stored, tmp_path):
    source = tmp_path / "own"
    (source / "anna").mkdir(parents=True)
    (source / "anna" / "notes.txt").write_text("seen in clinic")
    people = pd.DataFrame(
        {
            "case_id": ["anna", "bert"],
            "diagnosis": "Myositis",
            "dystrophinopathy": 0,
            "sex": "F",
            "age_years": 50,
            "disease_course_years": 1,
            "field_strength_tesla": 3,
            "split": "test",
        }
    )
    people.to_csv(source / "cases.csv", index=False)
    with pytest.raises(cohort.InvalidCohort) as error:
        cohort.import_own(own_profile(source), tmp_path / "results")
    assert "notes.txt is neither" in str(error.value) and "folder bert/" in str(error.value)


def test_a_folder_without_a_table_says_what_is_expected(tmp_path):
    with pytest.raises(cohort.InvalidCohort, match=r"no cases\.csv. Expected columns: case_id"):
        cohort.import_own(own_profile(tmp_path), tmp_path / "results")


def own_profile(source):
    from types import SimpleNamespace

    return SimpleNamespace(cohort=SimpleNamespace(thigh_source=str(source)))


@needs_real_data
@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm"])
def test_transfer_syntaxes_of_real_files(name):
    folder = REAL / "dicom" / "pydicom"
    reference = images.read_slice(folder / "MR_small.dcm")
    assert pydicom.dcmread(folder / "MR_small.dcm").SOPClassUID == MRImageStorage
    assert np.array_equal(images.read_slice(folder / name).pixels, reference.pixels)


@needs_real_data
def test_a_real_multi_frame_file_gives_each_frame():
    path = REAL / "dicom" / "pydicom" / "emri_small.dcm"
    positions = images.frame_positions(path)
    assert len(positions) == 10
    frames = [images.read_slice(path, i) for i in (0, 9)]
    assert frames[0].pixels.shape == (64, 64)
    assert not np.array_equal(frames[0].pixels, frames[1].pixels)


@needs_real_data
def test_a_real_truncated_file_is_one_clear_error():
    with pytest.raises(images.UnreadableImage, match=r"MR_truncated\.dcm gives no pixels"):
        images.read_slice(REAL / "dicom" / "pydicom" / "MR_truncated.dcm")
