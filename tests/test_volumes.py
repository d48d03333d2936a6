"""One volume from a file or a series, and a reason for everything that is none."""

import gzip

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import MRImageStorage, generate_uid

from helpers import paths, volumes
from helpers.images import UnreadableImage

REAL = paths.real_data()
SHAPE = (20, 24, 18)
PHI = {"descrip": b"DOE JANE 1991", "aux_file": b"doe_jane", "db_name": b"hospital-4711"}


def picture(shape=SHAPE):
    return np.random.default_rng(5).integers(0, 900, shape).astype(np.int16)


def nifti(folder, values=None, affine=None, *, code=1, name="a.nii.gz"):
    image = nib.Nifti1Image(picture() if values is None else values, np.diag([2.0, 2, 3, 1]))
    image.set_sform(np.diag([2.0, 2, 3, 1]) if affine is None else affine, code=code)
    image.set_qform(None, code=0)
    nib.save(image, folder / name)
    return folder / name


def slices(folder, values=None, *, step=3.0, series=None, first=(-20.0, -24.0, 7.0), **elements):
    """Write axial DICOM slices: rows to the left, columns to the back, upward."""
    folder.mkdir(exist_ok=True)
    values = picture() if values is None else values
    series = series or generate_uid()
    for k in range(values.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = MRImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        one = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
        one.Modality, one.SeriesInstanceUID, one.PatientName = "MR", series, "Doe^Jane"
        one.Rows, one.Columns = values.shape[1], values.shape[0]
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation = 15, 1
        one.PixelSpacing = [2.0, 2.0]
        one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        one.ImagePositionPatient = [first[0], first[1], first[2] + step * k]
        one.PixelData = np.ascontiguousarray(values[:, :, k].T).tobytes()
        for name, value in elements.items():
            setattr(one, name, value)
        # Names that do not follow the order of the slices.
        one.save_as(folder / f"im{(7 * k) % 97:03d}.dcm", enforce_file_format=True)
    return folder


def upright(volume):
    """Return true values with axes to the right, front and head."""
    values = volume.slope * volume.values + volume.intercept
    return nib.apply_orientation(values, nib.io_orientation(volume.affine))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_nifti_file_is_read_with_slope_and_place(tmp_path, name):
    path = nifti(tmp_path, name=name)
    volume = volumes.read(path)
    loaded = nib.load(path)
    np.testing.assert_array_equal(upright(volume), loaded.get_fdata())
    np.testing.assert_allclose(volume.affine, loaded.affine)
    np.testing.assert_allclose(volume.voxel_mm, [2, 2, 3])
    assert volume.facts.kind == "NIfTI"


def test_a_scaled_nifti_file_keeps_its_true_values(tmp_path):
    image = nib.Nifti1Image(picture().astype(np.float64) / 7, np.diag([2.0, 2, 2, 1]))
    image.set_data_dtype(np.uint8)
    nib.save(image, tmp_path / "a.nii.gz")
    volume = volumes.read(tmp_path / "a.nii.gz")
    assert volume.values.dtype == np.uint8 and volume.slope != 1
    np.testing.assert_allclose(
        upright(volume), nib.load(tmp_path / "a.nii.gz").get_fdata(), atol=1e-4
    )


def test_gzip_in_several_members_and_nifti_2_are_read(tmp_path):
    whole = nifti(tmp_path, name="a.nii").read_bytes()
    parts = gzip.compress(whole[:5000]) + gzip.compress(whole[5000:])
    (tmp_path / "b.nii.gz").write_bytes(parts + b"\0" * 8)
    np.testing.assert_array_equal(volumes.read(tmp_path / "b.nii.gz").values, picture())
    second = nib.Nifti2Image(picture(), np.eye(4))
    nib.save(second, tmp_path / "c.nii.gz")
    np.testing.assert_array_equal(volumes.read(tmp_path / "c.nii.gz").values, picture())


def reason(place):
    with pytest.raises(UnreadableImage) as error:
        volumes.read(place)
    assert error.value.remedy and error.value.reason.startswith(place.name)
    return error.value.reason


def sheared(degrees):
    affine = np.diag([2.0, 2, 3, 1])
    affine[0, 1] = 2 * np.tan(np.radians(degrees))
    return affine


@pytest.mark.parametrize(
    ("values", "affine", "code", "words"),
    [
        (np.ones((20, 24), np.int16), None, 1, "is 20 x 24 voxels, expected three dimensions"),
        (picture((20, 24, 1)), None, 1, "is 20 x 24 x 1 voxels"),
        (picture((20, 24, 18, 3)), None, 1, "holds 3 volumes (20 x 24 x 18 x 3), expected one"),
        (None, None, 0, "does not state its orientation"),
        (None, np.diag([2.0, 2, 0, 1]), 1, "gives its voxels no place in space"),
        (None, np.diag([0.002, 0.002, 0.003, 1]), 1, "has voxels of 0.002 x 0.002 x 0.003 mm"),
        (None, np.diag([1.0, 1.0, 20.0, 1]), 1, "has voxels of 1 x 1 x 20 mm"),
        (None, sheared(20), 1, "has axes that are 20 degrees off a right angle"),
        (picture().astype(np.complex64), None, 1, "holds colour or complex numbers"),
    ],
)
def test_a_nifti_file_that_is_no_volume_says_why(tmp_path, values, affine, code, words):
    assert words in reason(nifti(tmp_path, values, affine, code=code))


def test_a_fourth_dimension_of_one_and_a_little_shear_are_no_reason(tmp_path):
    path = nifti(tmp_path, picture((*SHAPE, 1)), sheared(2))
    assert volumes.read(path).values.shape == SHAPE


def test_two_orientations_in_one_header_are_not_guessed_at(tmp_path):
    image = nib.Nifti1Image(picture(), np.eye(4))
    image.set_sform(np.diag([2.0, 2, 2, 1]), code=1)
    image.set_qform(np.diag([-2.0, 2, 2, 1]), code=1)
    nib.save(image, tmp_path / "a.nii.gz")
    assert "states two orientations, RAS (sform) and LAS (qform)" in reason(tmp_path / "a.nii.gz")
    image.set_qform(np.diag([2.0, 2, 2, 1]), code=1)
    image.header["pixdim"][1] = 3
    nib.save(image, tmp_path / "b.nii.gz")
    assert "gives two voxel sizes" in reason(tmp_path / "b.nii.gz")


@pytest.mark.parametrize("left", [30, 400, 2000, 8000])
def test_a_file_cut_short_says_so(tmp_path, left):
    path = nifti(tmp_path)
    path.write_bytes(path.read_bytes()[:left])
    assert "cut short" in reason(path)


def test_what_is_no_scan_says_so(tmp_path):
    (tmp_path / "text.nii.gz").write_text("not a scan")
    assert "is not readable NIfTI" in reason(tmp_path / "text.nii.gz")
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    assert "is empty" in reason(tmp_path / "empty.nii.gz")
    assert "does not exist" in reason(tmp_path / "absent.nii.gz")
    (tmp_path / "letter.txt").write_text("seen in clinic")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "letter.txt").write_text("seen in clinic")
    assert "holds no DICOM slice and is no NIfTI file" in reason(tmp_path / "folder")


def test_what_an_empty_or_broken_volume_holds_is_said():
    values = picture().astype(np.float32)
    assert list(volumes.whole(volumes.Volume(values, np.eye(4)))) == []
    values[3, 4, :2] = np.nan
    values[0, 0, 0] = np.inf
    said = list(volumes.whole(volumes.Volume(values, np.eye(4))))
    assert said == ["holds 3 voxels without a number (NaN or infinite)"]
    flat = volumes.Volume(np.full(SHAPE, 3, np.int16), np.eye(4))
    assert list(volumes.whole(flat)) == ["is empty: all its voxels hold one value"]


def test_a_dicom_series_is_the_nifti_of_the_same_head(tmp_path):
    values = picture()
    volume = volumes.read(slices(tmp_path / "series", values))
    # Rows run to the left and columns to the back: both turn in the patient's own directions.
    expected = values[::-1, ::-1, :]
    np.testing.assert_array_equal(upright(volume), expected)
    canonical = nib.as_closest_canonical(nib.Nifti1Image(volume.values, volume.affine)).affine
    np.testing.assert_allclose(np.diag(canonical)[:3], [2, 2, 3])
    np.testing.assert_allclose(canonical[:3, 3], [20 - 2 * 19, 24 - 2 * 23, 7])
    assert volume.facts.modality == "MR"


def test_other_files_and_copies_in_a_series_are_left_out_and_noted(tmp_path):
    folder = slices(tmp_path / "series")
    first = sorted(folder.iterdir())[0]
    (folder / "zz_copy.dcm").write_bytes(first.read_bytes())
    (folder / "letter.txt").write_text("seen in clinic")
    volume = volumes.read(folder)
    assert volume.values.shape[2] == SHAPE[2]
    assert len(volume.notes) == 2 and "1 copies" in volume.notes[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: sorted(f.iterdir())[5].unlink(), "a slice is missing"),
        (lambda f: slices(f, picture()[:, :, :3], first=(0, 0, 500.0)), "several series"),
        (lambda f: spoil(f, "SeriesInstanceUID", "1.2.3"), "several series"),
        (lambda f: spoil(f, "PixelSpacing", [3.0, 3.0]), "pixels of several sizes"),
        (lambda f: spoil(f, "ImageOrientationPatient", [0, 1, 0, 0, 0, -1]), "orientations"),
        (lambda f: spoil(f, "ImagePositionPatient", [-20.0, -24.0, 10.0]), "one place"),
        (lambda f: spoil(f, "ImagePositionPatient", None), "does not state where its slice lies"),
        (lambda f: cut(f), "gives no pixels"),
    ],
)
def test_a_series_that_is_no_volume_says_why(tmp_path, change, words):
    folder = slices(tmp_path / "series")
    change(folder)
    with pytest.raises(UnreadableImage, match=words) as error:
        volumes.read(folder)
    assert "Doe" not in str(error.value)


def spoil(folder, name, value):
    path = sorted(folder.iterdir())[9]
    one = pydicom.dcmread(path)
    setattr(one, name, value)
    one.save_as(path)


def cut(folder):
    path = sorted(folder.iterdir())[9]
    path.write_bytes(path.read_bytes()[:-200])


def test_no_free_text_of_a_header_comes_with_a_volume(tmp_path):
    image = nib.Nifti1Image(picture(), np.diag([2.0, 2, 2, 1]))
    for name, value in PHI.items():
        image.header[name] = value
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    nib.save(image, tmp_path / "a.nii.gz")
    nifti_text = repr(volumes.read(tmp_path / "a.nii.gz"))
    dicom_text = repr(volumes.read(slices(tmp_path / "series")))
    assert "doe" not in (nifti_text + dicom_text).lower() and "4711" not in nifti_text


def multi_frame(path, values):
    """Write the same slices as one enhanced file, its frames from the head down."""
    slices(path.parent / "single", values[:, :, :1])
    one = pydicom.dcmread(next((path.parent / "single").iterdir()))
    for name in ("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient"):
        delattr(one, name)
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [2.0, 2.0]
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    one.SharedFunctionalGroupsSequence = [shared]
    order = range(values.shape[2])[::-1]
    groups = []
    for k in order:
        place, group = Dataset(), Dataset()
        place.ImagePositionPatient = [-20.0, -24.0, 7.0 + 3 * k]
        group.PlanePositionSequence = [place]
        groups.append(group)
    one.PerFrameFunctionalGroupsSequence = groups
    one.NumberOfFrames = len(groups)
    frames = [np.ascontiguousarray(values[:, :, k].T) for k in order]
    one.PixelData = np.stack(frames).tobytes()
    one.save_as(path)


def test_a_multi_frame_file_is_the_same_volume_as_its_slices(tmp_path):
    multi_frame(tmp_path / "all.dcm", picture())
    one, other = (
        volumes.read(tmp_path / "all.dcm"),
        volumes.read(slices(tmp_path / "series", picture())),
    )
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_allclose(one.affine, other.affine)


@pytest.mark.skipif(
    not (REAL / "dicom").is_dir(), reason="PAPER_TEST_DATA has no dicom folder: no real test data"
)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pydicom/emri_small.dcm", "does not state where its slice lies"),
        ("odd/siemens_XA10_6_1.dcm", "x 6 voxels, expected three dimensions"),
        ("pydicom/MR_truncated.dcm", "gives no pixels"),
        ("pydicom/MR_small.dcm", "x 1 voxels"),
    ],
)
def test_a_real_file_that_is_no_volume_says_why(name, words):
    with pytest.raises(UnreadableImage, match=words):
        volumes.read(REAL / "dicom" / name)
