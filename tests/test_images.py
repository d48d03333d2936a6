"""Reading slices in the radiologist's view, and cutting legs out of them."""

import copy
import errno
import gzip
import hashlib
import os
import random
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import gdcm
import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from helpers import admission, images, paths
from helpers.phantom import dicom

#: SHA-256 of the stored values of real files, as 32-bit little-endian integers (frames, rows,
#: columns, samples), from decoders that share no code with those used here: for uncompressed
#: files, RLE, JPEG-LS and JPEG Lossless DCMTK 3.6.7 (the tool is in the table), then
#: ``dcmdump +W`` and the mask of PS3.5 8.1.1. For JPEG 2000 ``ffmpeg 5.1.9 -c:v jpeg2000
#: -pix_fmt gray16le`` on the fragments from ``dcmdump +W``, shifted to the stored bits; except
#: MR2_J2KI.dcm, which is lossy, so that decoders may round differently: there the separately
#: built ``opj_decompress`` of OpenJPEG 2.5.0, from which ffmpeg differs by 1 in 1,296 of
#: 1,048,576 pixels. The planes of ExplVR_BigEnd.dcm were interleaved.
INDEPENDENT = pd.read_csv(Path(__file__).parent / "decoded_pixels.csv")
#: Files that give no pixels, and what is said of them.
NO_PIXELS = {
    "nibabel/csa_slice_norm.dcm": "it has no Pixel Data",
    "pydicom/MR_truncated.dcm": "it is cut short",
    "pydicom/emri_small_jpeg_2k_lossless_too_short.dcm": "damaged or cut short",
    "pydicom/no_meta.dcm": "neither DICOM nor NIfTI",
}

REAL = paths.real_data()
needs_real_data = pytest.mark.skipif(
    not (REAL / "dicom").is_dir(), reason="PAPER_TEST_DATA has no dicom folder: no real test data"
)


@pytest.fixture
def ramp():
    """Bright where the patient's right front is."""
    rows, columns = np.mgrid[:48, :64]
    return 1.0 - rows / 96 - columns / 192


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


def frames_of(path):
    return [image for _, image in images.read_frames(path)]


@needs_real_data
@pytest.mark.parametrize(
    ("name", "digest"), INDEPENDENT[["file", "sha256"]].itertuples(index=False, name=None)
)
def test_real_files_decode_to_what_independent_decoders_give(name, digest):
    stored = images.stored_pixels(REAL / "dicom" / name).astype("<i4")
    assert hashlib.sha256(stored.tobytes()).hexdigest() == digest


@needs_real_data
def test_every_other_real_file_gives_one_clear_reason():
    files = {p.relative_to(REAL / "dicom").as_posix() for p in (REAL / "dicom").glob("**/*.dcm")}
    assert files == set(INDEPENDENT.file) | set(NO_PIXELS)
    for name, reason in NO_PIXELS.items():
        with pytest.raises(images.UnreadableImage, match=reason) as error:
            images.stored_pixels(REAL / "dicom" / name)
        assert error.value.reason.startswith(Path(name).name)
        assert error.value.remedy and "\n" not in str(error.value)


@needs_real_data
def test_a_real_multi_frame_file_gives_each_frame():
    path = REAL / "dicom" / "pydicom" / "emri_small.dcm"
    assert len(images.frame_positions(path)) == 10
    frames = frames_of(path)
    assert frames[0].pixels.shape == (64, 64)
    assert not np.array_equal(frames[0].pixels, frames[9].pixels)
    assert np.array_equal(images.read_slice(path, 9).pixels, frames[9].pixels)


@needs_real_data
def test_what_real_headers_say():
    fruit = images.read_slice(REAL / "dicom" / "odd" / "ge_fruit_00090.dcm").facts
    assert (fruit.plane, round(fruit.tilt_deg), fruit.inversion_ms) == ("sagittal", 90, 400)
    mosaic = images.read_slice(REAL / "dicom" / "transfer_syntaxes" / "5.dcm").facts
    assert "MOSAIC" in mosaic.image_type and mosaic.tilt_deg == pytest.approx(6.2, abs=0.01)
    enhanced = images.read_slice(REAL / "dicom" / "odd" / "siemens_XA10_6_1.dcm", 5)
    assert enhanced.facts.sop_class == EnhancedMRImageStorage
    assert enhanced.spacing_mm == (3.375, 3.375) and enhanced.facts.echo_ms > 0


def compressed(dataset, syntax):
    changed = copy.deepcopy(dataset)
    if syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        changed.compress(syntax, generate_instance_uid=False)
    changed.file_meta.TransferSyntaxUID = syntax
    return changed


@pytest.mark.parametrize(
    "syntax",
    [
        *(RLELossless, JPEGLSLossless, JPEG2000Lossless),
        *(DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian),
    ],
    ids=lambda uid: uid.name,
)
def test_transfer_syntaxes_give_the_same_slice(stored, syntax, tmp_path):
    plain = images.read_slice(save(stored, tmp_path / "a.dcm"))
    packed = compressed(stored, syntax)
    if syntax == ImplicitVRLittleEndian:
        packed.save_as(tmp_path / "b.dcm", implicit_vr=True, little_endian=True)
    else:
        save(packed, tmp_path / "b.dcm")
    assert np.array_equal(images.read_slice(tmp_path / "b.dcm").pixels, plain.pixels)


@pytest.mark.parametrize("kind", ["JPEGLosslessProcess14_1", "JPEGLosslessProcess14"])
def test_jpeg_lossless_gives_the_same_slice(stored, kind, tmp_path):
    save(stored, tmp_path / "a.dcm")
    reader, change = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax()
    reader.SetFileName(str(tmp_path / "a.dcm"))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, kind)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(tmp_path / "b.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert "JPEG Lossless" in pydicom.dcmread(tmp_path / "b.dcm").file_meta.TransferSyntaxUID.name
    plain, packed = (images.read_slice(tmp_path / f"{name}.dcm").pixels for name in "ab")
    assert np.array_equal(plain, packed)


def test_a_phantom_file_is_read_alike_by_an_independent_reader(stored, tmp_path):
    reader = gdcm.ImageReader()
    reader.SetFileName(str(save(stored, tmp_path / "a.dcm")))
    assert reader.Read()
    raw = reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")
    independent = np.frombuffer(raw, "<i2").reshape(stored.Rows, stored.Columns)
    assert np.array_equal(images.stored_pixels(tmp_path / "a.dcm")[0], independent)


def test_the_phantom_file_keeps_to_the_standard(stored, tmp_path):
    # What dciodvfy (dicom3tools) asked for, so that it also holds where that is not installed.
    assert "Laterality" not in stored and stored.ImageLaterality == "B"
    assert list(stored.AcquisitionMatrix) == [0, 64, 48, 0]  # no more than the image has
    assert stored.PixelBandwidth > 0 and stored.ImageType[0] == "DERIVED"
    assert "GE MEDICAL" not in str(stored) and "1.2.840.113619" not in str(stored)
    if shutil.which("dciodvfy"):
        command = ["dciodvfy", str(save(stored, tmp_path / "a.dcm"))]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = (said.stdout + said.stderr).splitlines()
        assert not [line for line in lines if line.startswith("Error")]
        # Study date and time are empty, as nobody was examined.
        warnings = [line for line in lines if line.startswith("Warning")]
        assert len(warnings) <= 2 and all("Study" in line for line in warnings)


def enhanced(stored):
    """Two frames whose groups differ: the second upside down, coarser and scaled."""
    both = copy.deepcopy(stored)
    both.SOPClassUID = both.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    both.NumberOfFrames = 2
    pixels = stored.pixel_array
    both.PixelData = pixels.tobytes() + pixels[::-1].tobytes()
    for name in ("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "EchoTime"):
        delattr(both, name)
    shared = Dataset()
    shared.PixelMeasuresSequence = Sequence([Dataset()])
    shared.PixelMeasuresSequence[0].PixelSpacing = [0.8, 0.8]
    both.SharedFunctionalGroupsSequence = Sequence([shared])
    both.PerFrameFunctionalGroupsSequence = Sequence([group(k) for k in (0, 1)])
    return both


def group(frame):
    one = Dataset()
    one.PlanePositionSequence = Sequence([Dataset()])
    one.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 10.0 * frame]
    one.PlaneOrientationSequence = Sequence([Dataset()])
    down = [0, 1, 0] if frame == 0 else [0, -1, 0]
    one.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, *down]
    one.PixelValueTransformationSequence = Sequence([Dataset()])
    one.PixelValueTransformationSequence[0].RescaleSlope = frame + 1
    one.PixelValueTransformationSequence[0].RescaleIntercept = -frame
    one.MREchoSequence = Sequence([Dataset()])
    one.MREchoSequence[0].EffectiveEchoTime = 12.0 + frame
    if frame:
        one.PixelMeasuresSequence = Sequence([Dataset()])
        one.PixelMeasuresSequence[0].PixelSpacing = [1.6, 1.6]
    return one


def test_each_frame_of_an_enhanced_file_has_its_own_groups(stored, tmp_path):
    plain = images.read_slice(save(stored, tmp_path / "a.dcm")).pixels
    path = save(enhanced(stored), tmp_path / "b.dcm")
    first, second = frames_of(path)
    assert np.array_equal(first.pixels, plain) and np.array_equal(second.pixels, 2 * plain - 1)
    assert first.spacing_mm == (0.8, 0.8) and second.spacing_mm == (1.6, 1.6)
    assert (first.facts.echo_ms, second.facts.echo_ms) == (12, 13)
    assert images.frame_positions(path) == [0, 10]


def test_what_an_enhanced_file_says_of_its_acquisition(stored, tmp_path):
    both = enhanced(stored)
    plain = frames_of(save(both, tmp_path / "a.dcm"))
    assert not any(admission.header_reason(image.facts) for image in plain)
    first, second = both.PerFrameFunctionalGroupsSequence
    first.MRModifierSequence = Sequence([Dataset()])
    first.MRModifierSequence[0].InversionRecovery = "YES"
    first.MRModifierSequence[0].InversionTimes = [900.0, 150.0]
    second.MRImageFrameTypeSequence = Sequence([Dataset()])
    second.MRImageFrameTypeSequence[0].ComplexImageComponent = "PHASE"
    one, two = (image.facts for image in frames_of(save(both, tmp_path / "b.dcm")))
    assert (one.inverted, one.inversion_ms, two.inverted) == (True, 150, False)
    assert "inversion time 150" in admission.header_reason(one)
    assert "no magnitude" in admission.header_reason(two)
    for name, value, said in (
        ("SpectrallySelectedSuppression", "FAT", "fat suppressed"),
        ("EchoPlanarPulseSequence", "YES", "echo-planar"),
        ("BurnedInAnnotation", "YES", "text burnt"),
    ):
        changed = enhanced(stored)
        setattr(changed, name, value)
        found = frames_of(save(changed, tmp_path / "c.dcm"))
        assert all(said in admission.header_reason(image.facts) for image in found)


@pytest.mark.parametrize(
    ("turn", "orientation"),
    [
        (lambda a: a.T, [0, 1, 0, 1, 0, 0]),
        (lambda a: a.T[::-1], [0, 1, 0, -1, 0, 0]),
        (lambda a: a[:, ::-1], [-1, 0, 0, 0, 1, 0]),
        (lambda a: a, [0.94, 0.34, 0, -0.34, 0.94, 0]),
    ],
    ids=["exchanged", "exchanged and turned", "mirrored", "rotated by 20 degrees"],
)
def test_axial_slices_are_brought_to_one_view(stored, turn, orientation, tmp_path):
    straight = images.read_slice(save(stored, tmp_path / "a.dcm"))
    turned = turn(stored.pixel_array)
    stored.Rows, stored.Columns = turned.shape
    stored.PixelData = np.ascontiguousarray(turned).tobytes()
    stored.ImageOrientationPatient = orientation
    stored.PixelSpacing = [0.8, 0.9] if orientation[0] else [0.9, 0.8]
    read = images.read_slice(save(stored, tmp_path / "b.dcm"))
    assert np.array_equal(read.pixels, straight.pixels)
    assert read.spacing_mm == (0.8, 0.9) and read.facts.plane == "axial"
    assert read.facts.tilt_deg == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("orientation", "plane", "tilt"),
    [
        ([1, 0, 0, 0, 0.8746, -0.4848], "axial", 29),
        ([1, 0, 0, 0, 0, -1], "coronal", 90),
        ([0, 1, 0, 0, 0, -1], "sagittal", 90),
    ],
)
def test_plane_and_tilt_are_stated(stored, orientation, plane, tilt, tmp_path):
    stored.ImageOrientationPatient = orientation
    facts = images.read_slice(save(stored, tmp_path / "a.dcm")).facts
    assert facts.plane == plane and facts.tilt_deg == pytest.approx(tilt, abs=0.1)
    assert ("tilted by" in admission.header_reason(facts)) == (tilt > 30)


def test_letters_stand_in_for_a_missing_orientation(stored, tmp_path):
    straight = images.read_slice(save(stored, tmp_path / "a.dcm")).pixels
    stored.PixelData = stored.pixel_array[::-1, ::-1].tobytes()
    stored.ImageOrientationPatient = None
    assert images.read_slice(save(stored, tmp_path / "b.dcm")).facts.plane == ""
    stored.PatientOrientation = ["R", "AH"]
    assert np.array_equal(images.read_slice(save(stored, tmp_path / "c.dcm")).pixels, straight)
    stored.ImageOrientationPatient = [1, 0, 0, 1, 0, 0]  # no plane has two equal directions
    assert images.read_slice(save(stored, tmp_path / "d.dcm")).facts.plane == ""


def test_padding_is_the_lowest_value_also_when_inverted(stored, tmp_path):
    pixels = stored.pixel_array.copy()
    pixels[0] = -2000
    stored.PixelData, low = pixels.tobytes(), pixels[1:].min()
    stored.add_new("PixelPaddingValue", "SS", -2000)
    plain = images.read_slice(save(stored, tmp_path / "a.dcm")).pixels
    assert (plain[0] == low).all() and np.array_equal(plain[1:], pixels[1:])
    stored.PhotometricInterpretation = "MONOCHROME1"
    inverted = images.read_slice(save(stored, tmp_path / "b.dcm")).pixels
    assert (inverted[0] == 0).all() and inverted.min() == 0


def test_bits_beyond_the_stored_ones_do_not_count(stored, tmp_path):
    plain = (stored.pixel_array & 0xFFF).astype(np.uint16)
    stored.BitsStored, stored.HighBit, stored.PixelRepresentation = 12, 11, 0
    stored.PixelData = (plain | 0xA000).tobytes()
    assert np.array_equal(images.read_slice(save(stored, tmp_path / "a.dcm")).pixels, plain)
    stored.PixelRepresentation = 1  # now the twelfth bit is a sign
    signed = np.where(plain > 2047, plain.astype(int) - 4096, plain)
    assert np.array_equal(images.read_slice(save(stored, tmp_path / "b.dcm")).pixels, signed)


def test_a_lookup_table_takes_the_place_of_slope_and_intercept(stored, tmp_path):
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table.add_new("LUTData", "US", [(3 * i) % 65536 for i in range(4096)])
    table["LUTDescriptor"].VR = "US"
    stored.ModalityLUTSequence = Sequence([table])
    read = images.read_slice(save(stored, tmp_path / "a.dcm")).pixels
    assert np.array_equal(read, 3 * stored.pixel_array)


def test_left_out_and_empty_elements(stored, tmp_path):
    straight = images.read_slice(save(stored, tmp_path / "a.dcm"))
    for name in ("SamplesPerPixel", "PhotometricInterpretation", "BitsStored", "EchoTime"):
        delattr(stored, name)
    stored.RescaleSlope, stored.RescaleIntercept, stored.SliceThickness = "", "", ""
    stored.RepetitionTime, stored.ScanningSequence, stored.NumberOfFrames = None, None, ""
    read = images.read_slice(save(stored, tmp_path / "b.dcm"))
    assert np.array_equal(read.pixels, straight.pixels)
    assert np.isnan([read.facts.echo_ms, read.facts.repetition_ms]).all()
    # The field of view, over the columns, is as good as the spacing.
    del stored.PixelSpacing
    assert images.read_slice(save(stored, tmp_path / "c.dcm")).spacing_mm == (0.8, 0.8)
    del stored.ReconstructionDiameter
    bare = images.read_slice(save(stored, tmp_path / "d.dcm"))
    assert bare.spacing_mm == (1, 1) and not bare.facts.spacing_stated


@pytest.mark.parametrize("implicit", [False, True])
def test_a_file_without_preamble_is_read(stored, implicit, tmp_path):
    straight = images.read_slice(save(stored, tmp_path / "a.dcm")).pixels
    bare = Dataset(stored)
    with open(tmp_path / "b.dcm", "wb") as file:
        pydicom.filewriter.dcmwrite(
            file, bare, implicit_vr=implicit, little_endian=True, enforce_file_format=False
        )
    assert (tmp_path / "b.dcm").read_bytes()[128:132] != b"DICM"
    assert np.array_equal(images.read_slice(tmp_path / "b.dcm").pixels, straight)


def nifti(path, array, affine=None):
    nib.save(nib.Nifti1Image(array, np.diag([1, 1, 10, 1.0]) if affine is None else affine), path)
    return path


def test_volumes_of_a_four_dimensional_file_follow_each_other(tmp_path):
    array = np.random.default_rng(0).random((5, 6, 3, 2, 2)).astype(np.float32)
    frames = frames_of(nifti(tmp_path / "a.nii.gz", array))
    assert len(frames) == 12 and {frame.facts.volumes for frame in frames} == {4}
    assert np.allclose(frames[7].pixels, array[::-1, ::-1, 1, 0, 1].T)
    one = nifti(tmp_path / "b.nii", array[..., :1, 0])
    assert len(frames_of(one)) == 3 and frames_of(one)[0].facts.volumes == 1
    assert np.array_equal(images.read_slice(one, 1).pixels, frames_of(one)[1].pixels)


def test_a_flat_file_is_one_slice(tmp_path):
    array = np.arange(30, dtype=np.int16).reshape(5, 6)
    (read,) = frames_of(nifti(tmp_path / "a.nii", array))
    assert np.array_equal(read.pixels, array[::-1, ::-1].T)


def test_a_volume_without_a_place_in_space_is_read_and_said_so(tmp_path):
    image = nib.Nifti1Image(np.ones((5, 6, 2), np.int16), None)
    image.header.set_zooms((1.0, 2.0, 9.0))
    nib.save(image, tmp_path / "a.nii")
    read = images.read_slice(tmp_path / "a.nii")
    assert read.facts.plane == "" and read.spacing_mm == (2, 1)


def test_values_that_are_not_finite_become_the_lowest(tmp_path):
    array = np.ones((4, 5, 2), dtype=np.float32)
    array[0, 0, 0], array[1, 1, 0], array[2, 2, 0] = np.nan, np.inf, 0.25
    array[..., 1] = np.nan
    path = nifti(tmp_path / "a.nii", array)
    assert sorted(np.unique(images.read_slice(path).pixels)) == [0.25, 1]
    with pytest.raises(images.UnreadableImage, match="slice 1, holds no finite value"):
        images.read_slice(path, 1)
    assert isinstance(frames_of(path)[1], images.UnreadableImage)


def test_an_oblique_volume_states_its_tilt(tmp_path):
    angle = np.radians(25)
    affine = np.diag([1, 1, 10, 1.0])
    affine[1:3, 1:3] = [[np.cos(angle), -10 * np.sin(angle)], [np.sin(angle), 10 * np.cos(angle)]]
    read = images.read_slice(nifti(tmp_path / "a.nii", np.ones((4, 4, 2), np.int16), affine))
    assert read.facts.tilt_deg == pytest.approx(25) and read.spacing_mm == pytest.approx((1, 1))


def test_volumes_that_are_no_grey_picture_say_so(tmp_path):
    colour = np.zeros((4, 4, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for array in (colour, np.zeros((4, 4, 2), np.complex64)):
        with pytest.raises(images.UnreadableImage, match="expected grey values"):
            images.read_slice(nifti(tmp_path / "a.nii", array))
    flat = nib.Nifti1Image(np.zeros((4, 4, 2), np.int16), np.eye(4))
    raw = bytearray(flat.to_bytes())
    struct.pack_into("<h", raw, 254, 1)  # sform_code
    struct.pack_into("<12f", raw, 280, *np.diag([0, 1, 1, 1.0])[:3].ravel())
    (tmp_path / "b.nii").write_bytes(raw)
    with pytest.raises(images.UnreadableImage, match="no place in space"):
        images.read_slice(tmp_path / "b.nii")


def test_no_odd_file_ends_in_a_traceback(stored, tmp_path):
    good = save(stored, tmp_path / "good.dcm").read_bytes()
    volume = gzip.compress(nifti(tmp_path / "v.nii", np.ones((9, 9, 3), np.int16)).read_bytes())
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "empty.nii.gz").touch()
    (tmp_path / "text.dcm").write_text("seen in clinic on " * 30)
    (tmp_path / "cut.nii.gz").write_bytes(volume[: len(volume) // 2])
    (tmp_path / "folder.dcm").mkdir()
    (tmp_path / "circle.dcm").symlink_to(tmp_path / "circle.dcm")
    (tmp_path / "gone.dcm").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.dcm")
    for length in (1, 131, 132, 140, 400, len(good) - 1):
        (tmp_path / f"cut{length}.dcm").write_bytes(good[:length])
    colour = copy.deepcopy(stored)
    colour.SamplesPerPixel, colour.PhotometricInterpretation = 3, "RGB"
    colour.PlanarConfiguration, colour.PixelData = 0, stored.PixelData * 3
    save(colour, tmp_path / "colour.dcm")
    many = copy.deepcopy(stored)
    many.NumberOfFrames = 2_000_000_000
    save(many, tmp_path / "many.dcm")
    odd = sorted(p for p in tmp_path.iterdir() if p.name not in ("good.dcm", "v.nii"))
    assert len(odd) == 16
    for path in odd:
        with pytest.raises(images.UnreadableImage) as error:
            frames_of(path)
            images.read_slice(path)
        assert path.name in error.value.reason and "\n" not in str(error.value)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_tiny_and_constant_pictures_are_read(value, tmp_path):
    for shape in ((1, 1, 1), (1, 40, 1), (30, 30, 1)):
        (read,) = frames_of(nifti(tmp_path / "a.nii", np.full(shape, value, np.float32)))
        assert (read.pixels == value).all()
        assert admission.judge(read).reason == "shows nothing that stands out from the background"


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32 - 1), content=st.binary(max_size=300))
def test_no_damage_ends_in_a_traceback(stored, tmp_path, seed, content):
    rng = random.Random(seed)
    syntax = rng.choice([None, RLELossless, JPEGLSLossless, JPEG2000Lossless])
    path = tmp_path / "damaged.dcm"
    save(compressed(stored, syntax) if syntax else stored, path)
    if rng.random() < 0.3:
        path = nifti(tmp_path / "damaged.nii.gz", np.ones((9, 9, 3), np.int16))
    whole = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 3, 30])):
        whole[rng.randrange(len(whole))] = rng.randrange(256)
    at = rng.randrange(len(whole))
    whole[at : at + rng.choice([0, 0, len(content)])] = content
    path.write_bytes(whole[: rng.choice([len(whole), rng.randrange(len(whole))])])
    try:
        for image in frames_of(path):
            if isinstance(image, images.SliceImage):
                admission.judge(image)
    except images.UnreadableImage as error:
        assert "\n" not in str(error)


def test_what_a_library_quotes_of_a_header_is_left_out(stored, tmp_path):
    stored.PatientName = "Doe^Jane"
    whole = save(stored, tmp_path / "a.dcm").read_bytes()
    assert whole.count(b"Doe^Jane") == 1
    # The name ends up in an element that must be a number.
    place = whole.index(b"\x28\x00\x10\x00US")
    broken = whole[:place] + b"\x28\x00\x10\x00IS\x08\x00Doe^Jane" + whole[place + 10 :]
    (tmp_path / "a.dcm").write_bytes(broken)
    with pytest.raises(images.UnreadableImage) as error:
        frame = frames_of(tmp_path / "a.dcm")[0]
        raise frame
    assert "Doe" not in str(error.value)


def test_no_text_of_a_librarys_message_is_repeated(stored, tmp_path, monkeypatch):
    path = save(stored, tmp_path / "a.dcm")

    def failing(*args, **options):
        raise ValueError("unknown value Doe^Jane of 3 May")

    monkeypatch.setattr(images, "pixel_array", failing)
    with pytest.raises(images.UnreadableImage) as error:
        images.read_slice(path)
    assert error.value.reason == "a.dcm gives no pixels: what it holds is odd (ValueError)"


@pytest.mark.parametrize(
    "failure", [MemoryError(), OSError(errno.EIO, "disk"), OSError(errno.EMFILE, "too many")]
)
def test_a_failure_of_the_machine_is_not_laid_on_the_file(stored, tmp_path, monkeypatch, failure):
    path = save(stored, tmp_path / "a.dcm")

    def failing(*args, **options):
        raise failure

    monkeypatch.setattr(images, "pixel_array", failing)
    with pytest.raises(type(failure)) as error:
        frames_of(path)
    assert str(path) in error.value.__notes__[0]


def test_a_volume_that_claims_more_than_its_bytes_can_hold_is_damaged(tmp_path):
    path = nifti(tmp_path / "v.nii", np.ones((9, 9, 3), np.int16))
    content = bytearray(path.read_bytes())
    content[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    (tmp_path / "v.nii.gz").write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(images.UnreadableImage, match="too short for its voxels"):
        frames_of(tmp_path / "v.nii.gz")


def test_slices_of_one_file_are_read_from_one_opening(stored, tmp_path, monkeypatch):
    path = save(enhanced(stored), tmp_path / "a.dcm")
    opened, real = [], images._opened
    monkeypatch.setattr(images, "_opened", lambda *a, **k: opened.append(a) or real(*a, **k))
    (tmp_path / "b.dcm").write_text("text")
    places = [(path, 0), (path, 1), (path, 2), (tmp_path / "b.dcm", 0)]
    one, two, *others = images.read_slices(places)
    assert len(opened) == 2 and np.array_equal(one.pixels, frames_of(path)[0].pixels)
    assert np.array_equal(two.pixels, frames_of(path)[1].pixels)
    assert all(isinstance(other, images.UnreadableImage) for other in others)


def test_an_error_keeps_its_parts_between_processes():
    import pickle

    error = pickle.loads(pickle.dumps(images.UnreadableImage("a.dcm is empty", "Remove it.")))
    assert (error.reason, error.remedy, str(error)) == (
        *("a.dcm is empty", "Remove it."),
        "a.dcm is empty. Remove it.",
    )


def test_a_damaged_volume_is_named(tmp_path):
    whole = nib.Nifti1Image(np.ones((16, 16, 16), dtype=np.int16), np.eye(4)).to_bytes()
    packer = zlib.compressobj(wbits=31)
    begun = packer.compress(whole[:1000]) + packer.flush(zlib.Z_FULL_FLUSH)
    (tmp_path / "cut.nii.gz").write_bytes(begun + b"\xff" * 200)
    with pytest.raises(images.UnreadableImage, match=r"cut\.nii\.gz is not readable NIfTI"):
        frames_of(tmp_path / "cut.nii.gz")
