"""One three-dimensional scan from a NIfTI file or a DICOM series, with its place in space.

Decoding is :mod:`helpers.images`'; here slices become a volume, and a header that contradicts
itself or says nothing of how the patient lay is answered with a reason. Only voxels, geometry
and the kind of acquisition are taken from a file: no name, date or free text leaves it.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from helpers import images, paths
from helpers.images import Facts, UnreadableImage

NOTHING_STATED = Facts()
#: Smallest number of voxels a side: fewer is a slice or a slab.
SMALLEST_SIDE = 8
#: Edge of a voxel, mm. Finer than a scanner of people resolves, or metres taken for millimetres;
#: coarser than a cortex can be told from white matter at all.
VOXEL_MM = (0.2, 8.0)
#: How far the angle between two axes may be from a right one, degrees. A scanner's are exact; an
#: affine registration that is kept in the header leaves a few.
SHEAR_DEG = 6.0
#: How far two statements of one length may differ.
AGREE = 0.05
#: How far two neighbouring slices' distance may be from the usual one.
GAP = 0.2
SAVE_ONE = "Save the one T1-weighted volume as a file of its own."
ORIENT = (
    "Convert the scanner's DICOM again with a converter that writes the orientation, and check "
    "left and right by a marker."
)
ONE_SERIES = "Give a folder that holds one series, each slice once."


@dataclass(frozen=True)
class Volume:
    """A scan as its file holds it.

    Attributes
    ----------
    values : ndarray, shape (i, j, k)
        Stored values; true ones are ``slope * values + intercept``.
    affine : ndarray, shape (4, 4)
        Voxel index to mm towards the patient's right, front and head (RAS).
    slope, intercept : float
        To true values.
    facts : Facts
        What a DICOM header says of its first slice; of a NIfTI file only its kind.
    notes : tuple of str
        What was found odd and not held against it.
    """

    values: NDArray
    affine: NDArray[np.float64]
    slope: float = 1.0
    intercept: float = 0.0
    facts: Facts = NOTHING_STATED
    notes: tuple[str, ...] = ()

    @property
    def voxel_mm(self) -> NDArray[np.float64]:
        """Return the edges of a voxel along the three axes, mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)


def read(place: str | Path) -> Volume:
    """Read one scan.

    Parameters
    ----------
    place : str or Path
        A NIfTI file (``.nii``, ``.nii.gz``), a folder with the slices of one DICOM series, or
        one multi-frame DICOM file.

    Returns
    -------
    Volume

    Raises
    ------
    UnreadableImage
        When it is not one volume of grey values whose place in the patient is stated; the
        reason begins with the file's or folder's name.
    """
    path = Path(place)
    if path.is_dir():
        return _series(path, paths.files_below(path))
    if path.name.lower().endswith((".nii", ".nii.gz")):
        return _nifti(images.present(path))
    return _series(path, [images.present(path)])


def _nifti(path: Path) -> Volume:
    with images.reading(path, "is not readable NIfTI"):
        image = _unpacked(path)
        header, kind = image.header, image.dataobj.dtype.kind
        if kind not in "iuf":
            raise UnreadableImage(f"{path.name} holds colour or complex numbers", images.REMOVE)
        shape = image.shape
        _check_shape(path.name, shape)
        values = image.dataobj.get_unscaled()
        values = np.asarray(values).reshape(shape[:3])
        slope, intercept = (float(value) for value in (image.dataobj.slope, image.dataobj.inter))
    sform, qform = (image.get_sform(coded=True)[0], image.get_qform(coded=True)[0])
    if sform is None and qform is None:
        raise UnreadableImage(
            f"{path.name} does not state its orientation (neither qform nor sform)", ORIENT
        )
    affine = np.asarray(image.affine, dtype=float)
    _check_affine(path.name, affine)
    notes = _check_forms(path.name, sform, qform)
    stated, found = np.array(header.get_zooms()[:3], float), np.linalg.norm(affine[:3, :3], axis=0)
    if not np.allclose(stated, found, rtol=AGREE):
        raise UnreadableImage(
            f"{path.name} gives two voxel sizes: {_sizes(stated)} and, by its orientation, "
            f"{_sizes(found)}",
            ORIENT,
        )
    return Volume(values, affine, slope, intercept, Facts(kind="NIfTI"), notes)


def _unpacked(path: Path) -> nib.Nifti1Image:
    """Return a NIfTI image; a compressed one is unpacked at once, not piece by piece."""
    if not path.name.lower().endswith(".gz"):
        return nib.load(path)
    packed = path.read_bytes()
    pieces = []
    while packed:
        unpacker = zlib.decompressobj(wbits=31)
        pieces.append(unpacker.decompress(packed))
        if not unpacker.eof:
            raise UnreadableImage(f"{path.name} is cut short")
        # Several members may follow each other; zeros behind the last are padding.
        packed = unpacker.unused_data.lstrip(b"\0")
    content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    kind = nib.Nifti2Image if content[:2] in (b"\x1c\x02", b"\x02\x1c") else nib.Nifti1Image
    if content[:4] in (b"\x00\x00\x02\x1c", b"\x1c\x02\x00\x00"):
        kind = nib.Nifti2Image
    return kind.from_bytes(content)


def _check_shape(name: str, shape: Sequence[int]) -> None:
    sides = " x ".join(map(str, shape))
    if len(shape) > 3 and int(np.prod(shape[3:])) > 1:
        raise UnreadableImage(
            f"{name} holds {int(np.prod(shape[3:]))} volumes ({sides}), expected one", SAVE_ONE
        )
    if len(shape) < 3 or min(shape[:3]) < SMALLEST_SIDE:
        raise UnreadableImage(
            f"{name} is {sides} voxels, expected three dimensions with at least "
            f"{SMALLEST_SIDE} voxels each",
            "Give the three-dimensional T1-weighted scan, not a slice or a slab of it.",
        )


def _check_affine(name: str, affine: NDArray) -> None:
    edges = affine[:3, :3]
    if not np.isfinite(affine).all() or abs(np.linalg.det(edges)) < 1e-9:
        raise UnreadableImage(f"{name} gives its voxels no place in space", ORIENT)
    lengths = np.linalg.norm(edges, axis=0)
    if lengths.min() < VOXEL_MM[0] or lengths.max() > VOXEL_MM[1]:
        raise UnreadableImage(
            f"{name} has voxels of {_sizes(lengths)}, expected {VOXEL_MM[0]} to {VOXEL_MM[1]} mm",
            "Give the three-dimensional scan in millimetres, not a series of thick slices.",
        )
    units = edges / lengths
    cosines = np.abs(units.T @ units - np.eye(3)).max()
    skewed = float(np.degrees(np.arcsin(min(1.0, cosines))))
    if skewed > SHEAR_DEG:
        raise UnreadableImage(
            f"{name} has axes that are {skewed:.0f} degrees off a right angle", ORIENT
        )


def _check_forms(name: str, sform: NDArray | None, qform: NDArray | None) -> tuple[str, ...]:
    """Stop where two stated orientations place the patient's sides differently."""
    if sform is None or qform is None or abs(np.linalg.det(sform[:3, :3])) < 1e-9:
        return ()
    codes = ["".join(nib.aff2axcodes(form)) for form in (sform, qform)]
    if codes[0] != codes[1]:
        raise UnreadableImage(
            f"{name} states two orientations, {codes[0]} (sform) and {codes[1]} (qform)", ORIENT
        )
    first, second = (form[:3, :3] / np.linalg.norm(form[:3, :3], axis=0) for form in (sform, qform))
    between = float(np.degrees(np.arccos(np.clip((first * second).sum(0), -1, 1))).max())
    if between > SHEAR_DEG:
        return (f"{name}: sform and qform differ by {between:.0f} degrees; sform is used",)
    return ()


def _sizes(lengths: Sequence[float]) -> str:
    return " x ".join(f"{length:.3g}" for length in lengths) + " mm"


def _series(place: Path, files: Sequence[Path]) -> Volume:
    planes, notes = _planes(place, files)
    first = planes[0]
    for what, alike in (
        ("pictures of several series", lambda p: p.series == first.series),
        ("pictures of several sizes", lambda p: p.pixels.shape == first.pixels.shape),
        ("pixels of several sizes", lambda p: np.allclose(p.spacing_mm, first.spacing_mm)),
        (
            "several orientations",
            lambda p: np.allclose(p.directions, first.directions, atol=1e-3),
        ),
    ):
        if not all(alike(plane) for plane in planes):
            raise UnreadableImage(f"{place.name} holds {what}", ONE_SERIES)
    normal = np.cross(*first.directions)
    planes = sorted(planes, key=lambda plane: float(normal @ plane.corner_mm))
    planes, copies = _once(place, planes, normal)
    _check_shape(place.name, (*first.pixels.shape, len(planes)))
    step = _step(place, planes, normal)
    affine = np.eye(4)
    row, column = first.directions
    affine[:3, 0], affine[:3, 1] = column * first.spacing_mm[0], row * first.spacing_mm[1]
    affine[:3, 2], affine[:3, 3] = step, planes[0].corner_mm
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM points to left and back
    _check_affine(place.name, affine)
    # Planes lie one behind the other in memory; the view's last axis counts them.
    values = np.moveaxis(np.stack([plane.pixels.astype(np.float32) for plane in planes]), 0, 2)
    return Volume(values, affine, facts=first.facts, notes=(*notes, *copies))


def _planes(place: Path, files: Sequence[Path]) -> tuple[list[images.Plane], list[str]]:
    planes: list[images.Plane] = []
    others = 0
    for file in files:
        try:
            planes += images.read_planes(file)
        except UnreadableImage as error:
            if error.remedy != images.REMOVE:  # a damaged slice would leave a hole
                raise
            others += 1
    if not planes:
        raise UnreadableImage(
            f"{place.name} holds no DICOM slice and is no NIfTI file",
            "Give a NIfTI file (.nii, .nii.gz) or the folder of one DICOM series.",
        )
    notes = [f"{place.name}: {others} files that are no DICOM image are left out"] if others else []
    return planes, notes


def _once(
    place: Path, planes: list[images.Plane], normal: NDArray
) -> tuple[list[images.Plane], list[str]]:
    """Leave out copies of a slice; stop where one place has two different pictures."""
    kept = planes[:1]
    for plane in planes[1:]:
        if abs(float(normal @ (plane.corner_mm - kept[-1].corner_mm))) > 0.01:
            kept.append(plane)
        elif not np.array_equal(plane.pixels, kept[-1].pixels):
            raise UnreadableImage(
                f"{place.name} holds several pictures of one place: echoes, times or series",
                ONE_SERIES,
            )
    copies = len(planes) - len(kept)
    return kept, [f"{place.name}: {copies} copies of slices are left out"] if copies else []


def _step(place: Path, planes: list[images.Plane], normal: NDArray) -> NDArray[np.float64]:
    """Return the way from one slice to the next, mm; stop where one is missing."""
    corners = np.array([plane.corner_mm for plane in planes])
    apart = np.diff(corners @ normal)
    usual = float(np.median(apart))
    wrong = np.flatnonzero(np.abs(apart - usual) > GAP * usual)
    if wrong.size:
        raise UnreadableImage(
            f"{place.name}: slices {wrong[0] + 1} and {wrong[0] + 2} of {len(planes)} are "
            f"{apart[wrong[0]]:.2f} mm apart, the others {usual:.2f} mm: a slice is missing",
            "Export the whole series again.",
        )
    return (corners[-1] - corners[0]) / (len(corners) - 1)


def whole(volume: Volume) -> Iterator[str]:
    """Yield what speaks against a volume's values.

    Parameters
    ----------
    volume : Volume
        From :func:`read`.

    Yields
    ------
    str
        A reason without the file's name.

    Examples
    --------
    >>> list(whole(Volume(np.ones((8, 8, 8)), np.eye(4))))
    ['is empty: all its voxels hold one value']
    """
    values = volume.values
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        lost = int((~np.isfinite(values)).sum())
        yield f"holds {lost:,} voxels without a number (NaN or infinite)"
    elif values.min() == values.max():
        yield "is empty: all its voxels hold one value"
