"""Reading a slice from DICOM or NIfTI, and cutting a leg out of it as a network's input.

Only pixels, spacing and slice position are taken from a file; no name, date or other
identifying element leaves this module.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import OrientationError
from nibabel.spatialimages import HeaderDataError
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.pixels import apply_rescale, get_decoder
from pydicom.uid import UID
from skimage import transform

#: What reading a damaged file raises; the last three come from pydicom's decoders, and from
#: header elements whose kind or length the damage changed.
BROKEN = (
    *(ImageFileError, HeaderDataError, OrientationError, InvalidDicomError, BytesLengthException),
    *(OSError, EOFError, ValueError, zlib.error),
    *(AttributeError, RuntimeError, TypeError),
)
CONVERT = (
    "Convert the file to uncompressed DICOM first, for example: gdcmconv --raw old.dcm new.dcm"
)


class UnreadableImage(ValueError):
    """A file does not give pixels; the message says why and what was expected."""


@dataclass(frozen=True)
class SliceImage:
    """One axial slice in radiological display convention.

    Attributes
    ----------
    pixels : ndarray of float, shape (rows, columns)
        The patient's right is on the left, anterior is up.
    spacing_mm : tuple of float
        Distance between rows and between columns.
    """

    pixels: np.ndarray
    spacing_mm: tuple[float, float]


def read_slice(file: str | Path, frame: int = 0) -> SliceImage:
    """Read one slice.

    Parameters
    ----------
    file : str or Path
        DICOM, or NIfTI by its suffix (``.nii``, ``.nii.gz``).
    frame : int
        Frame of a multi-frame DICOM, or axial slice of a NIfTI volume counted upward.

    Returns
    -------
    SliceImage
        Rescaled to the units the file declares.

    Raises
    ------
    UnreadableImage
        When the file has no such slice or no pixels.
    """
    path = Path(file)
    if not path.is_file():
        raise UnreadableImage(f"{path.name} does not exist. Expected a DICOM or NIfTI file.")
    return _read_nifti(path, frame) if _is_nifti(path) else _read_dicom(path, frame)


def frame_positions(file: str | Path) -> list[float]:
    """Return the position along the body of each slice of a file, mm.

    Parameters
    ----------
    file : str or Path
        DICOM or NIfTI.

    Returns
    -------
    list of float
        One a frame, towards the head; NaN where the file does not say.

    Raises
    ------
    UnreadableImage
        When the file is neither.
    """
    path = Path(file)
    if _is_nifti(path):
        volume = _nifti(path)
        return [float((volume.affine @ [0, 0, k, 1])[2]) for k in range(volume.shape[2])]
    header = _dicom(path, pixels=False)
    if "Rows" not in header:
        raise UnreadableImage(f"{path.name} is DICOM without an image.")
    with _reading(path, "has a damaged header"):
        return [_position(header, i) for i in range(int(header.get("NumberOfFrames") or 1))]


def first_readable(slices: pd.DataFrame, *, folder: str | Path) -> SliceImage:
    """Read the first slice of a cohort whose file can be read.

    Parameters
    ----------
    slices : DataFrame
        ``slices.csv``.
    folder : str or Path
        Folder that relative file names start from.

    Returns
    -------
    SliceImage
        From :func:`read_slice`.

    Raises
    ------
    UnreadableImage
        When no file can be read; the message is that of the last.
    """
    for row in slices.itertuples():
        try:
            return read_slice(Path(folder) / row.file, row.frame)
        except UnreadableImage as error:
            last = error
    raise last


def crop(image: SliceImage, box: tuple[int, int, int, int], *, size: int) -> np.ndarray:
    """Cut a leg out of a slice: square, resized, scaled to 0 to 255.

    Neither the resizing nor the scaling is published. Here the box is padded to a square with
    its own lowest value, resized with smoothing, and the 1st to 99.5th percentile of the box
    becomes 0 to 255.

    Parameters
    ----------
    image : SliceImage
        From :func:`read_slice`.
    box : tuple of int
        row0, col0, row1, col1, half-open.
    size : int
        Edge of the result, pixels.

    Returns
    -------
    ndarray of float32, shape (size, size)
        Values in [0, 255].

    Examples
    --------
    >>> ramp = SliceImage(np.tile(np.arange(40.0), (20, 1)), (1.0, 1.0))
    >>> leg = crop(ramp, (0, 0, 20, 30), size=16)
    >>> leg.shape, float(leg.min()), float(leg.max()) <= 255
    ((16, 16), 0.0, True)
    """
    row0, col0, row1, col1 = box
    cut = image.pixels[row0:row1, col0:col1]
    height, width = cut.shape[0] * image.spacing_mm[0], cut.shape[1] * image.spacing_mm[1]
    # The longer edge fills the square; pixels need not be square.
    shape = [max(1, round(size * edge / max(height, width))) for edge in (height, width)]
    resized = transform.resize(cut, shape, order=1, anti_aliasing=True, preserve_range=True)
    low, high = np.percentile(cut, [1, 99.5])
    scaled = np.clip((resized - low) / max(high - low, 1e-9), 0, 1) * 255
    square = np.zeros((size, size), dtype=np.float32)
    top, left = (size - shape[0]) // 2, (size - shape[1]) // 2
    square[top : top + shape[0], left : left + shape[1]] = scaled
    return square


def crops(legs: pd.DataFrame, *, folder: str | Path, size: int) -> list[np.ndarray]:
    """Cut several legs out of their slices.

    Parameters
    ----------
    legs : DataFrame
        Included rows of ``images.csv``: file, frame, row0, col0, row1, col1.
    folder : str or Path
        Folder that relative file names start from.
    size : int
        Edge of the results, pixels.

    Returns
    -------
    list of ndarray of float32, shape (size, size)
        As :func:`crop` makes them.
    """
    boxes = legs[["row0", "col0", "row1", "col1"]].astype(int).itertuples(index=False, name=None)
    return [
        crop(read_slice(Path(folder) / row.file, row.frame), box, size=size)
        for row, box in zip(legs.itertuples(), boxes, strict=True)
    ]


def _is_nifti(path: Path) -> bool:
    return path.name.endswith((".nii", ".nii.gz"))


@contextmanager
def _reading(path: Path, trouble: str) -> Iterator[None]:
    """Turn what a damaged file raises into one sentence that names it."""
    try:
        yield
    except UnreadableImage:
        raise
    except BROKEN as error:
        raise UnreadableImage(f"{path.name} {trouble}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(":")


def _nifti(path: Path) -> nib.Nifti1Image:
    with _reading(path, "is not readable NIfTI"):
        volume = nib.as_closest_canonical(nib.load(path))
    if len(volume.shape) != 3:
        found = " x ".join(str(n) for n in volume.shape)
        raise UnreadableImage(f"{path.name} is {found}; expected a volume of three dimensions.")
    return volume


def _read_nifti(path: Path, frame: int) -> SliceImage:
    volume = _nifti(path)
    _check_frame(path, frame, volume.shape[2])
    # Canonical axes run right, anterior, up: both in-plane axes are turned for display.
    with _reading(path, "is not readable NIfTI"):
        pixels = np.asarray(volume.dataobj[:, :, frame], dtype=float)[::-1, ::-1].T
    across, along = volume.header.get_zooms()[:2]
    return SliceImage(np.ascontiguousarray(pixels), (float(along), float(across)))


def _dicom(path: Path, *, pixels: bool) -> Dataset:
    with _reading(path, "is neither DICOM nor NIfTI (.nii, .nii.gz)"):
        return pydicom.dcmread(path, stop_before_pixels=not pixels)


def _read_dicom(path: Path, frame: int) -> SliceImage:
    header = _dicom(path, pixels=True)
    with _reading(path, "has a damaged header"):
        frames = int(header.get("NumberOfFrames") or 1)
        spacing = _found(header, frame, "PixelMeasuresSequence", "PixelSpacing", 2)
        name = "ImageOrientationPatient"
        orientation = _found(header, frame, "PlaneOrientationSequence", name, 6)
    _check_frame(path, frame, frames)
    stored = _decoded(path, header)
    stored = stored[frame] if frames > 1 else stored
    if stored.ndim != 2:
        raise UnreadableImage(f"{path.name} holds colour; expected grey values.")
    with _reading(path, "has a damaged header"):
        pixels = np.asarray(apply_rescale(stored, header), dtype=float)
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        pixels = pixels.max() - pixels
    along, across = spacing or (1.0, 1.0)
    return SliceImage(_displayed(pixels, orientation), (along, across))


def _decoded(path: Path, header: Dataset) -> np.ndarray:
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is not None and not _decodes(syntax):
        raise UnreadableImage(
            f"{path.name} gives no pixels: nothing installed decodes {syntax.name}. {CONVERT}"
        )
    with _reading(path, "gives no pixels"):
        return header.pixel_array


def _decodes(syntax: UID) -> bool:
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def _displayed(pixels: np.ndarray, orientation: list[float] | None) -> np.ndarray:
    """Turn an axial slice so that columns run to the patient's left and rows to the back."""
    if orientation is None:
        return pixels
    if orientation[0] < -0.5:
        pixels = pixels[:, ::-1]
    if orientation[4] < -0.5:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _found(
    header: Dataset, frame: int, group: str, name: str, count: int
) -> tuple[float, ...] | None:
    """Return an element of the header or of its functional groups (PS3.3 C.7.6.16).

    None where there is none with as many values as it must have.
    """
    places = [header]
    for sequence, index in (
        ("PerFrameFunctionalGroupsSequence", frame),
        ("SharedFunctionalGroupsSequence", 0),
    ):
        items = header.get(sequence) or []
        places += (items[index].get(group) or []) if index < len(items) else []
    for place in places:
        values = place.get(name)
        if isinstance(values, MultiValue) and len(values) == count:
            return tuple(float(value) for value in values)
    return None


def _position(header: Dataset, frame: int) -> float:
    place = _found(header, frame, "PlanePositionSequence", "ImagePositionPatient", 3)
    if place is not None:
        return place[2]
    location = header.get("SliceLocation")
    return np.nan if location in (None, "") else float(location)


def _check_frame(path: Path, frame: int, frames: int) -> None:
    if not 0 <= frame < frames:
        raise UnreadableImage(f"{path.name} has frames 0 to {frames - 1}; frame {frame} was asked.")
