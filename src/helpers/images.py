"""Reading a slice from DICOM or NIfTI, and cutting a leg out of it as a network's input.

Only pixels, spacing and slice position are taken from a file; no name, date or other
identifying element leaves this module.
"""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
from nibabel.filebasedimages import ImageFileError
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_rescale
from skimage import transform


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
    frames = int(header.get("NumberOfFrames") or 1)
    if "Rows" not in header:
        raise UnreadableImage(f"{path.name} is DICOM without an image.")
    return [_position(header, i) for i in range(frames)]


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


def _nifti(path: Path) -> nib.Nifti1Image:
    try:
        volume = nib.as_closest_canonical(nib.load(path))
    except (ImageFileError, OSError, EOFError, ValueError) as error:
        raise UnreadableImage(f"{path.name} is not readable NIfTI: {error}") from error
    if len(volume.shape) != 3:
        found = " x ".join(str(n) for n in volume.shape)
        raise UnreadableImage(f"{path.name} is {found}; expected a volume of three dimensions.")
    return volume


def _read_nifti(path: Path, frame: int) -> SliceImage:
    volume = _nifti(path)
    _check_frame(path, frame, volume.shape[2])
    # Canonical axes run right, anterior, up: both in-plane axes are turned for display.
    pixels = np.asarray(volume.dataobj[:, :, frame], dtype=float)[::-1, ::-1].T
    across, along = volume.header.get_zooms()[:2]
    return SliceImage(np.ascontiguousarray(pixels), (float(along), float(across)))


def _dicom(path: Path, *, pixels: bool) -> Dataset:
    try:
        return pydicom.dcmread(path, stop_before_pixels=not pixels)
    except (InvalidDicomError, OSError, EOFError, ValueError) as error:
        raise UnreadableImage(
            f"{path.name} is neither DICOM nor NIfTI (.nii, .nii.gz): {error}"
        ) from error


def _read_dicom(path: Path, frame: int) -> SliceImage:
    header = _dicom(path, pixels=True)
    _check_frame(path, frame, int(header.get("NumberOfFrames") or 1))
    try:
        stored = header.pixel_array
    except (AttributeError, RuntimeError, ValueError, NotImplementedError) as error:
        raise UnreadableImage(f"{path.name} gives no pixels: {error}") from error
    if int(header.get("NumberOfFrames") or 1) > 1:
        stored = stored[frame]
    if stored.ndim != 2:
        raise UnreadableImage(f"{path.name} holds colour; expected grey values.")
    pixels = np.asarray(apply_rescale(stored, header), dtype=float)
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        pixels = pixels.max() - pixels
    spacing = _found(header, frame, "PixelMeasuresSequence", "PixelSpacing") or (1.0, 1.0)
    orientation = _found(header, frame, "PlaneOrientationSequence", "ImageOrientationPatient")
    return SliceImage(_displayed(pixels, orientation), (float(spacing[0]), float(spacing[1])))


def _displayed(pixels: np.ndarray, orientation: list[float] | None) -> np.ndarray:
    """Turn an axial slice so that columns run to the patient's left and rows to the back."""
    if orientation is None:
        return pixels
    if orientation[0] < -0.5:
        pixels = pixels[:, ::-1]
    if orientation[4] < -0.5:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _found(header: Dataset, frame: int, group: str, name: str) -> list[float] | None:
    """Return an element of the header or of its functional groups (PS3.3 C.7.6.16)."""
    if name in header:
        return list(header[name].value)
    for sequence, index in (
        ("PerFrameFunctionalGroupsSequence", frame),
        ("SharedFunctionalGroupsSequence", 0),
    ):
        items = header.get(sequence) or []
        inner = items[index].get(group) if index < len(items) else None
        if inner and name in inner[0]:
            return list(inner[0][name].value)
    return None


def _position(header: Dataset, frame: int) -> float:
    place = _found(header, frame, "PlanePositionSequence", "ImagePositionPatient")
    if place is not None:
        return float(place[2])
    return float(header.get("SliceLocation", np.nan))


def _check_frame(path: Path, frame: int, frames: int) -> None:
    if not 0 <= frame < frames:
        raise UnreadableImage(f"{path.name} has frames 0 to {frames - 1}; frame {frame} was asked.")
