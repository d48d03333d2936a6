"""Synthetic slices as DICOM MR Image Storage (PS3.3 A.4 and C.8.3).

The elements follow what thigh series of this vendor hold: signed 16-bit pixels, no rescale
elements, feet first. Manufacturer, institution, patient and comments say that the file is
synthetic. UIDs stand below 2.25, the root for UUIDs (PS3.5 B.2), and derive from the seed. No
element holds a date or time of a person; the mandatory ones are empty, as type 2 allows.
"""

import hashlib
import json

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from helpers.phantom import physics

#: Signal 1 (fat) becomes this stored value; leaves room for the coil field.
FAT_VALUE = 2000
SYNTHETIC = "SYNTHETIC PHANTOM, NOT A PATIENT"
TESLA_TO_MHZ = 42.577
#: Between the resonances of water and fat; sets the bandwidth that gives the phantom's shift.
FAT_WATER_PPM = 3.5


def uid(*parts: object) -> UID:
    """Return a UID below 2.25 that depends only on the parts.

    Parameters
    ----------
    *parts : object
        Seed, kind and identifiers.

    Returns
    -------
    pydicom.uid.UID
        2.25 and a 128-bit integer.

    Examples
    --------
    >>> uid(1, "study", "a") == uid(1, "study", "a"), uid(1, "study", "a").is_valid
    (True, True)
    """
    digest = hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")


def dataset(
    image: np.ndarray,
    *,
    case: dict,
    slice_id: str,
    pixel_mm: float,
    position_mm: float,
    thickness_mm: float,
    spacing_mm: float,
    instance: int,
    uid_seed: int,
) -> FileDataset:
    """Return a slice as a DICOM dataset that can be saved.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
        Signal, fat near 1.
    case : dict
        A row of ``cases.csv``. The diagnosis is not written.
    slice_id : str
        Identifier of the slice.
    pixel_mm, position_mm, thickness_mm, spacing_mm : float
        Geometry, mm.
    instance : int
        Number of the slice in its series.
    uid_seed : int
        The cohort's seed.

    Returns
    -------
    pydicom.dataset.FileDataset
        Explicit VR little endian.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = uid(uid_seed, "instance", slice_id)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = uid("executable paper phantom")
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = "ISO_IR 192"
    _identify(ds, case, slice_id, uid_seed)
    _equip(ds, case, image.shape, thickness_mm=thickness_mm, spacing_mm=spacing_mm)
    _place(ds, image.shape, pixel_mm, position_mm)
    ds.ReconstructionDiameter = round(pixel_mm * image.shape[1], 3)
    ds.InstanceNumber = instance
    _fill(ds, image)
    return ds


def _identify(ds: FileDataset, case: dict, slice_id: str, seed: int) -> None:
    ds.SOPClassUID = MRImageStorage
    ds.SOPInstanceUID = uid(seed, "instance", slice_id)
    ds.StudyInstanceUID = uid(seed, "study", case["case_id"])
    ds.SeriesInstanceUID = uid(seed, "series", case["case_id"])
    ds.FrameOfReferenceUID = uid(seed, "frame", case["case_id"])
    ds.PatientName = f"Synthetic^{case['case_id']}"
    ds.PatientID = case["case_id"]
    ds.PatientSex = case["sex"]
    ds.PatientAge = f"{int(case['age_years']):03d}Y"
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = SYNTHETIC
    ds.ImageComments = SYNTHETIC
    ds.InstitutionName = "SYNTHETIC"
    ds.StudyDescription = "SYNTHETIC THIGH"
    ds.SeriesDescription = "Ax T1 SE SYNTHETIC"
    ds.StudyID, ds.SeriesNumber, ds.AcquisitionNumber = "1", 1, 1
    for empty in ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"):
        setattr(ds, empty, "")
    ds.PatientBirthDate = ""
    ds.PositionReferenceIndicator = ""
    # Both thighs are on the slice: Laterality (0020,0060) is absent for a pair (PS3.3 C.7.3.1).
    ds.ImageLaterality = "B"


def _equip(
    ds: FileDataset,
    case: dict,
    shape: tuple[int, int],
    *,
    thickness_mm: float,
    spacing_mm: float,
) -> None:
    field = float(case["field_strength_tesla"])
    acquired = physics.SPECIFICATION["acquired_matrix"]
    rows, columns = (min(pair) for pair in zip(shape, acquired, strict=True))
    shift = physics.SPECIFICATION["chemical_shift_acquired_pixels"][str(field)]
    ds.Modality = "MR"
    ds.Manufacturer = "SYNTHETIC"
    ds.ManufacturerModelName = "Thigh phantom"
    ds.ImageType = ["DERIVED", "PRIMARY", "OTHER"]
    ds.BodyPartExamined = "THIGH"
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "SE", "NONE", ""
    ds.MRAcquisitionType = "2D"
    ds.RepetitionTime, ds.EchoTime = physics.REPETITION_MS, physics.ECHO_MS
    ds.EchoTrainLength, ds.EchoNumbers, ds.NumberOfAverages, ds.FlipAngle = 1, 1, 1, 90
    ds.SliceThickness, ds.SpacingBetweenSlices = thickness_mm, spacing_mm
    ds.MagneticFieldStrength = field
    ds.ImagingFrequency = round(field * TESLA_TO_MHZ, 4)
    ds.ImagedNucleus = "1H"
    ds.PercentSampling, ds.PercentPhaseFieldOfView = 100, 100
    # Frequency runs along a row, phase along a column (PS3.3 C.8.3.1).
    ds.AcquisitionMatrix = [0, columns, rows, 0]
    ds.PixelBandwidth = round(FAT_WATER_PPM * field * TESLA_TO_MHZ / shift, 1)
    ds.InPlanePhaseEncodingDirection = "COL"
    ds.ReceiveCoilName = "SYNTHETIC"
    ds.PatientPosition = "FFS"


def _place(ds: FileDataset, shape: tuple[int, int], pixel: float, position: float) -> None:
    """Axial slice: columns run to the patient's left, rows to the back, z to the head."""
    corner = [-(shape[1] - 1) / 2 * pixel, -(shape[0] - 1) / 2 * pixel, position]
    ds.PixelSpacing = [round(pixel, 6), round(pixel, 6)]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.ImagePositionPatient = [round(value, 4) for value in corner]
    ds.SliceLocation = round(position, 4)


def _fill(ds: FileDataset, image: np.ndarray) -> None:
    stored = np.clip(np.rint(image * FAT_VALUE), 0, 32767).astype("<i2")
    ds.Rows, ds.Columns = stored.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.SmallestImagePixelValue, ds.LargestImagePixelValue = int(stored.min()), int(stored.max())
    ds.WindowCenter, ds.WindowWidth = FAT_VALUE // 2, FAT_VALUE
    ds.PixelData = stored.tobytes()
