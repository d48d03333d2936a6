"""Reading a slice from DICOM or NIfTI, and cutting a leg out of it as a network's input.

Decoding is one step, admitting another: what this module reads need not be a pair of thighs;
:mod:`helpers.admission` judges that from the pixels and from :class:`Facts`. Only pixels,
geometry and the acquisition's kind are taken from a file; no name, date or other identifying
element leaves this module.

Display convention: an axial slice shows the patient's right on its left and the front above,
a coronal one the right on its left and the head above, a sagittal one the front on its left
and the head above. Rows and columns are exchanged and turned to come closest to it; what is
left of a rotation stays, as resampling would change the pixels.
"""

import errno
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.pixels import apply_modality_lut, get_decoder, pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from skimage import transform

CONVERT = "Convert it to uncompressed DICOM, for example: gdcmconv --raw old.dcm new.dcm"
EXPORT = "Export it from the scanner or archive again, or remove it."
REMOVE = "Remove it, or replace it by a DICOM or NIfTI (.nii, .nii.gz) file of axial slices."
#: What reading a damaged file raises: random bytes make pydicom, nibabel and the decoders below
#: them raise anything.
BROKEN = (Exception,)
#: Errors of the system that a file's name or content causes; any other may pass.
OF_THE_FILE = {errno.EINVAL, errno.ELOOP, errno.ENAMETOOLONG, errno.EOVERFLOW}
#: What a library's message contains, to what is said of it.
CAUSES = {
    "less than expected": "it is cut short",
    "end-of-stream": "it is cut short",
    "not a gzip": "it is not compressed as its name says",
}
#: Deflate makes data at most 1,032 times as small; a file that claims more is damaged.
MOST_TIMES_SMALLER = 1100
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
#: Elements without which pydicom decodes nothing, and what they are when a file leaves them out.
UNSAID = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"}
#: Patient directions of DICOM, PS3.3 C.7.6.1.1.1, towards left, back and head.
DIRECTIONS = {
    **{"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0)},
    **{"A": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)},
}
PLANES = ("sagittal", "coronal", "axial")
#: Shown directions of columns and of rows: patient axis (left, back, head) and sign.
SHOWN = {"axial": ((0, 1), (1, 1)), "coronal": ((0, 1), (2, -1)), "sagittal": ((1, 1), (2, -1))}


class UnreadableImage(ValueError):
    """A file does not give pixels.

    Parameters
    ----------
    reason : str
        What was found, beginning with the file's name.
    remedy : str
        What to do about it.
    """

    def __init__(self, reason: str, remedy: str = EXPORT) -> None:
        super().__init__(f"{reason}. {remedy}")
        self.reason, self.remedy = reason, remedy

    def __reduce__(self):
        return type(self), (self.reason, self.remedy)


@dataclass(frozen=True)
class Facts:
    """What a file says of one of its slices, beside the pixels.

    Attributes
    ----------
    kind : str
        ``DICOM``, ``NIfTI``, or empty for an image made in memory.
    modality, sop_class : str
        DICOM Modality (0008,0060) and SOP Class UID (0008,0016); empty where not stated.
    image_type, sequence, options : tuple of str
        Image Type (0008,0008), Scanning Sequence (0018,0020) and Scan Options (0018,0022).
    body_part : str
        Body Part Examined (0018,0015).
    repetition_ms, echo_ms, inversion_ms : float
        Times of the acquisition; NaN where not stated.
    plane : str
        ``axial``, ``coronal``, ``sagittal``, or empty where the orientation is not stated.
    tilt_deg : float
        Angle between the slice and the axial plane; NaN where not stated.
    spacing_stated : bool
        Whether the file says how large a pixel is.
    volumes : int
        Volumes (echoes, times, contrasts) that a NIfTI file holds.
    suppressed, component : str
        Enhanced MR: Spectrally Selected Suppression (0018,9025), Complex Image Component
        (0008,9208).
    inverted, echo_planar : bool
        Enhanced MR: whether Inversion Recovery (0018,9009) or Echo Planar (0018,9018) is YES.
    burned_in : bool
        Whether Burned In Annotation (0028,0301) is YES.
    """

    kind: str = ""
    modality: str = ""
    sop_class: str = ""
    image_type: tuple[str, ...] = ()
    sequence: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    body_part: str = ""
    repetition_ms: float = np.nan
    echo_ms: float = np.nan
    inversion_ms: float = np.nan
    plane: str = ""
    tilt_deg: float = np.nan
    spacing_stated: bool = True
    volumes: int = 1
    suppressed: str = ""
    component: str = ""
    inverted: bool = False
    echo_planar: bool = False
    burned_in: bool = False


@dataclass(frozen=True)
class SliceImage:
    """One slice in the display convention.

    Attributes
    ----------
    pixels : ndarray of float, shape (rows, columns)
        Axial: the patient's right is on the left, anterior is up.
    spacing_mm : tuple of float
        Distance between rows and between columns; 1 where the file does not state it.
    facts : Facts
        What the file says of it.
    """

    pixels: np.ndarray
    spacing_mm: tuple[float, float]
    facts: Facts = Facts()


@dataclass(frozen=True)
class Plane:
    """One DICOM slice where it lies in the patient, neither turned nor exchanged.

    Attributes
    ----------
    pixels : ndarray of float, shape (rows, columns)
        Rescaled; MONOCHROME1 inverted.
    corner_mm : ndarray, shape (3,)
        Centre of the first pixel, towards left, back and head.
    directions : ndarray, shape (2, 3)
        Along a row and along a column.
    spacing_mm : tuple of float
        Between rows and between columns.
    facts : Facts
        What the file says of it.
    series : str
        To tell series apart, and for nothing else: it identifies an examination.
    """

    pixels: np.ndarray
    corner_mm: np.ndarray
    directions: np.ndarray
    spacing_mm: tuple[float, float]
    facts: Facts
    series: str


def read_planes(file: str | Path) -> list[Plane]:
    """Read the slices of a DICOM file with their places in space.

    Parameters
    ----------
    file : str or Path
        DICOM, single or multi-frame.

    Returns
    -------
    list of Plane
        One a frame.

    Raises
    ------
    UnreadableImage
        When a frame gives no pixels or does not state position, orientation and spacing
        (PS3.3 C.7.6.2).
    """
    source = _Dicom(present(file))
    return [source.plane(frame) for frame in range(source.frames)]


def read_slice(file: str | Path, frame: int = 0) -> SliceImage:
    """Read one slice.

    Parameters
    ----------
    file : str or Path
        DICOM, or NIfTI by its suffix (``.nii``, ``.nii.gz``).
    frame : int
        Frame of a multi-frame DICOM, or axial slice of a NIfTI volume counted upward; slices
        of a further volume of the same NIfTI file follow those of the first.

    Returns
    -------
    SliceImage
        Rescaled to the units the file declares; MONOCHROME1 inverted; padding and, in NIfTI,
        values that are not finite replaced by the lowest other value.

    Raises
    ------
    UnreadableImage
        When the file has no such slice or no pixels.
    """
    return _opened(file).checked(frame)


def read_slices(places: Sequence[tuple[Path, int]]) -> Iterator[SliceImage | UnreadableImage]:
    """Read slices one after the other; a file that gives several in a row is opened once.

    Parameters
    ----------
    places : sequence of (Path, int)
        File and frame of each, as for :func:`read_slice`.

    Yields
    ------
    SliceImage or UnreadableImage
        The slice, or why it does not give pixels.
    """
    for file, group in groupby(places, key=lambda place: place[0]):
        frames = [frame for _, frame in group]
        try:
            source = _opened(file, whole=len(frames) > 1)
        except UnreadableImage as error:
            yield from (error for _ in frames)
            continue
        for frame in frames:
            try:
                yield source.checked(frame)
            except UnreadableImage as error:
                yield error


def read_frames(file: str | Path) -> Iterator[tuple[float, SliceImage | UnreadableImage]]:
    """Read every slice of a file, which is opened once.

    Parameters
    ----------
    file : str or Path
        DICOM or NIfTI.

    Yields
    ------
    position : float
        As from :func:`frame_positions`.
    image : SliceImage or UnreadableImage
        The slice, or why this one does not give pixels.

    Raises
    ------
    UnreadableImage
        When the file as a whole cannot be opened.
    """
    source = _opened(file, whole=True)
    for frame in range(source.frames):
        try:
            yield source.position(frame), source.read(frame)
        except UnreadableImage as error:
            yield np.nan, error


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
    source = _opened(file)
    return [source.position(frame) for frame in range(source.frames)]


def stored_pixels(file: str | Path) -> np.ndarray:
    """Decode a DICOM file, without rescaling, inverting or turning anything.

    Parameters
    ----------
    file : str or Path
        DICOM, grey or colour.

    Returns
    -------
    ndarray, shape (frames, rows, columns) or (frames, rows, columns, 3)
        Stored values: only Bits Stored (0028,0101) count, with the sign that Pixel
        Representation (0028,0103) gives them (PS3.5 8.1.1).

    Raises
    ------
    UnreadableImage
        When the file gives no pixels.
    """
    source = _Dicom(present(file))
    return np.stack([source.stored(frame) for frame in range(source.frames)])


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
        Included rows of ``images.csv``: file, frame, row0, col0, row1, col1; those whose
        ``mirrored`` is 1 are mirrored.
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
    slices = read_slices([(Path(folder) / row.file, row.frame) for row in legs.itertuples()])
    cut = []
    for row, box, image in zip(legs.itertuples(), boxes, slices, strict=True):
        if isinstance(image, UnreadableImage):
            raise image
        leg = crop(image, box, size=size)
        cut.append(leg[:, ::-1] if getattr(row, "mirrored", 0) else leg)
    return cut


def present(file: str | Path) -> Path:
    """Return a file's path when it can be looked into.

    Parameters
    ----------
    file : str or Path
        Any file.

    Returns
    -------
    Path

    Raises
    ------
    UnreadableImage
        When there is none, or it is a folder, a pipe or empty.
    """
    path = Path(file)
    with reading(path, "cannot be opened"):
        if path.is_dir():
            raise UnreadableImage(f"{path.name} is a folder", REMOVE)
        if not path.exists():
            raise UnreadableImage(f"{path.name} does not exist", "Expected DICOM or NIfTI.")
        if not path.is_file():  # a pipe would wait for ever
            raise UnreadableImage(f"{path.name} is no ordinary file", REMOVE)
        if not path.stat().st_size:
            raise UnreadableImage(f"{path.name} is empty")
    return path


def _opened(file: str | Path, *, whole: bool = False) -> "_Nifti | _Dicom":
    path = present(file)
    if path.name.lower().endswith((".nii", ".nii.gz")):
        return _Nifti(path, whole=whole)
    return _Dicom(path)


@contextmanager
def reading(path: Path, trouble: str) -> Iterator[None]:
    """Turn whatever a damaged file makes a library raise into one sentence that names it.

    Parameters
    ----------
    path : Path
        The file.
    trouble : str
        What to say of it, to follow its name.

    Yields
    ------
    None

    Raises
    ------
    UnreadableImage
        In place of a library's error; a failure of the machine passes as it is.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UnreadableImage:
        raise
    except BROKEN as error:
        if passing(error):
            error.add_note(f"This came up while {path} was read.")
            raise
        raise UnreadableImage(f"{path.name} {trouble}: {_cause(error)}") from error


def passing(error: Exception) -> bool:
    """Return whether the machine failed and not the file, so that nothing is said of the file.

    Parameters
    ----------
    error : Exception
        What reading the file raised.

    Returns
    -------
    bool

    Examples
    --------
    >>> passing(MemoryError()), passing(OSError("Not a gzipped file"))
    (True, False)
    """
    if isinstance(error, OSError):
        return error.errno is not None and error.errno not in OF_THE_FILE
    return isinstance(error, MemoryError)


def _cause(error: Exception) -> str:
    # A library may quote what an element holds, and that may be a name: only its words that are
    # known are looked for, and none is repeated.
    said = str(error).lower()
    found = next((text for words, text in CAUSES.items() if words in said), "what it holds is odd")
    return f"{found} ({type(error).__name__})"


class _Source:
    """A file as slices; see the two kinds below."""

    path: Path
    frames: int

    def checked(self, frame: int) -> SliceImage:
        if not 0 <= frame < self.frames:
            raise UnreadableImage(
                f"{self.path.name} has frames 0 to {self.frames - 1}; frame {frame} was asked"
            )
        return self.read(frame)


class _Nifti(_Source):
    """A NIfTI file as axial slices, counted upward."""

    def __init__(self, path: Path, *, whole: bool = False) -> None:
        self.path = path
        with reading(path, "is not readable NIfTI"):
            image = nib.load(path)
            self._affine, shape = image.affine, image.shape
            if image.dataobj.dtype.kind not in "iuf":
                raise UnreadableImage(
                    f"{path.name} holds {image.dataobj.dtype}; expected grey values", REMOVE
                )
            wanted = int(np.prod(shape, dtype=object)) * image.dataobj.dtype.itemsize
            if wanted > MOST_TIMES_SMALLER * path.stat().st_size:
                raise UnreadableImage(f"{path.name} is too short for its voxels")
            self._shape = (*shape, *(1 for _ in range(3 - len(shape))))
            axes = _volume_axes(self._affine)
            if axes is None:
                raise UnreadableImage(
                    f"{path.name} is not readable NIfTI: its affine gives the voxels no place in "
                    "space"
                )
            self._axes, self._signs = axes
            self._data = np.asanyarray(image.dataobj) if whole else image.dataobj
            self._ndim = len(shape)
            # Without a code the affine is made up from the voxel size (NIfTI-1, method 1).
            codes = image.header["qform_code"], image.header["sform_code"]
            self._placed = any(int(code) > 0 for code in codes)
        self.volumes = int(np.prod(self._shape[3:], dtype=int))
        self._depth = self._shape[self._axes[2]]
        self.frames = self._depth * self.volumes
        if min(self._shape) < 1:
            raise UnreadableImage(f"{path.name} has no voxel: {' x '.join(map(str, shape))}")

    def position(self, frame: int) -> float:
        index = np.array([(n - 1) / 2 for n in self._shape[:3]])
        index[self._axes[2]] = self._stored_index(frame)
        return float((self._affine @ [*index, 1])[2])

    def read(self, frame: int) -> SliceImage:
        across, along, _ = self._axes
        with reading(self.path, "is not readable NIfTI"):
            pixels = self._plane(frame)
        # Rows run to the back and columns to the patient's left.
        pixels = pixels.T if across < along else pixels
        pixels = pixels[:: -self._signs[1], :: -self._signs[0]]
        finite = np.isfinite(pixels)
        if not finite.any():
            raise UnreadableImage(f"{self.path.name}, slice {frame}, holds no finite value")
        edges = self._affine[:3, :3]
        normal = np.cross(edges[:, across], edges[:, along])
        steps = np.linalg.norm(edges, axis=0)
        facts = Facts(kind="NIfTI", volumes=self.volumes)
        if self._placed:
            facts = replace(facts, plane="axial", tilt_deg=_tilt(normal))
        return SliceImage(
            np.where(finite, pixels, pixels[finite].min()),
            (float(steps[along]), float(steps[across])),
            facts,
        )

    def _stored_index(self, frame: int) -> int:
        level = frame % self._depth
        return level if self._signs[2] > 0 else self._depth - 1 - level

    def _plane(self, frame: int) -> np.ndarray:
        index: list = [slice(None)] * 3
        index[self._axes[2]] = self._stored_index(frame)
        more = np.unravel_index(frame // self._depth, self._shape[3:] or (1,), order="F")
        index += [int(i) for i in more] if self._ndim > 3 else []
        data = self._data
        if self._ndim < 3:
            data = np.asanyarray(data).reshape(self._shape)
        return np.asarray(data[tuple(index)], dtype=float)


def _volume_axes(affine: np.ndarray) -> tuple[list[int], list[int]] | None:
    """Return which voxel axis runs right-left, back-front and up, and its sign."""
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        return None
    found = nib.io_orientation(affine)
    order = [int(np.flatnonzero(found[:, 0] == axis)[0]) for axis in range(3)]
    return order, [int(found[axis, 1]) for axis in order]


class _Dicom(_Source):
    """A DICOM file as frames."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = _dicom(path)
        if not len(self.header):
            raise UnreadableImage(f"{path.name} gives no pixels: it is damaged or cut short")
        if "Rows" not in self.header:
            raise UnreadableImage(f"{path.name} is DICOM without an image", REMOVE)
        with reading(path, "has a damaged header"):
            self.frames = max(1, int(self.header.get("NumberOfFrames") or 1))
            if self.frames > path.stat().st_size:
                raise UnreadableImage(f"{path.name} is too short for its {self.frames} frames")
            for name, value in UNSAID.items():
                if self.header.get(name) in (None, ""):
                    setattr(self.header, name, value)
            if self.header.get("BitsStored") is None:
                self.header.BitsStored = self.header.BitsAllocated
            if self.header.get("PixelRepresentation") is None:
                self.header.PixelRepresentation = 0

    def position(self, frame: int) -> float:
        with reading(self.path, "has a damaged header"):
            place = self._numbers(frame, "PlanePositionSequence", "ImagePositionPatient", 3)
            if place is not None:
                return place[2]
            return _number(self.header.get("SliceLocation"))

    def stored(self, frame: int) -> np.ndarray:
        if not any(name in self.header for name in PIXELS):
            raise UnreadableImage(f"{self.path.name} gives no pixels: it has no Pixel Data")
        with reading(self.path, "gives no pixels"):
            syntax = UID(self.header.file_meta.TransferSyntaxUID)
            if not _decodes(syntax):
                raise UnreadableImage(
                    f"{self.path.name} gives no pixels: nothing installed decodes {_known(syntax)}",
                    CONVERT,
                )
            return pixel_array(self.header, index=frame, raw=True)

    def read(self, frame: int) -> SliceImage:
        pixels = self._grey(frame)
        with reading(self.path, "has a damaged header"):
            spacing, facts = self._facts(frame)
            pixels, spacing, facts = _displayed(pixels, spacing, facts, self._directions(frame))
        return SliceImage(pixels, spacing, facts)

    def plane(self, frame: int) -> Plane:
        pixels = self._grey(frame)
        with reading(self.path, "has a damaged header"):
            corner = self._numbers(frame, "PlanePositionSequence", "ImagePositionPatient", 3)
            directions = self._directions(frame, letters=False)
            spacing, facts = self._facts(frame)
            if corner is None or directions is None or not facts.spacing_stated:
                raise UnreadableImage(
                    f"{self.path.name} does not state where its slice lies in the patient "
                    "(position, orientation and pixel spacing)"
                )
            series = str(self.header.get("SeriesInstanceUID") or "")
        return Plane(pixels, np.array(corner), directions, spacing, facts, series)

    def _grey(self, frame: int) -> np.ndarray:
        stored = self.stored(frame)
        if stored.ndim != 2:
            raise UnreadableImage(f"{self.path.name} holds colour; expected grey values", REMOVE)
        with reading(self.path, "has a damaged header"):
            pixels = self._rescaled(stored, frame)
            if self.header.PhotometricInterpretation == "MONOCHROME1":
                pixels = pixels.max() - pixels
            padded = _padding(stored, self.header) | ~np.isfinite(pixels)
            if padded.any() and not padded.all():
                pixels[padded] = pixels[~padded].min()
        return pixels

    def _rescaled(self, stored: np.ndarray, frame: int) -> np.ndarray:
        """Apply Modality LUT or Rescale Slope and Intercept, a frame's own first."""
        pixels = stored.astype(float)
        for place in self._places(frame, "PixelValueTransformationSequence"):
            slope, shift = (_number(place.get(f"Rescale{n}")) for n in ("Slope", "Intercept"))
            if place.get("ModalityLUTSequence"):
                pixels = np.asarray(apply_modality_lut(stored, place), dtype=float)
                break
            if np.isfinite([slope, shift]).all() and slope:
                pixels = pixels * slope + shift
                break
        return pixels

    def _facts(self, frame: int) -> tuple[tuple[float, float], Facts]:
        found = self._numbers(frame, "PixelMeasuresSequence", "PixelSpacing", 2)
        stated = found is not None and min(found) > 0
        if not stated:
            across = _number(self.header.get("ReconstructionDiameter")) / self.header.Columns
            stated, found = across > 0, (across, across)
        times = "MRTimingAndRelatedParametersSequence"
        facts = Facts(
            kind="DICOM",
            modality=str(self.header.get("Modality") or ""),
            sop_class=str(self.header.get("SOPClassUID") or ""),
            image_type=self._words(frame, "MRImageFrameTypeSequence", "FrameType", "ImageType"),
            sequence=self._words(frame, "", "ScanningSequence", "EchoPulseSequence"),
            options=self._words(frame, "", "ScanOptions", ""),
            body_part=str(self.header.get("BodyPartExamined") or "").upper(),
            repetition_ms=self._number_of(frame, times, "RepetitionTime"),
            echo_ms=min(
                self._number_of(frame, "MREchoSequence", "EffectiveEchoTime"),
                self._number_of(frame, "", "EchoTime"),
                key=np.isnan,
            ),
            inversion_ms=self._inversion(frame),
            spacing_stated=stated,
            suppressed=self._word(frame, "MRModifierSequence", "SpectrallySelectedSuppression"),
            component=self._word(frame, "MRImageFrameTypeSequence", "ComplexImageComponent"),
            inverted=self._word(frame, "MRModifierSequence", "InversionRecovery") == "YES",
            echo_planar=self._word(frame, "", "EchoPlanarPulseSequence") == "YES",
            burned_in=self._word(frame, "", "BurnedInAnnotation") == "YES",
        )
        return (found if stated else (1.0, 1.0)), facts

    def _directions(self, frame: int, *, letters: bool = True) -> np.ndarray | None:
        """Return the patient directions of a row and of a column, PS3.3 C.7.6.2.1.1."""
        name = "ImageOrientationPatient"
        found = self._numbers(frame, "PlaneOrientationSequence", name, 6)
        if found is None:
            words = (self.header.get("PatientOrientation") or ()) if letters else ()
            first = [str(word)[:1] for word in words]
            if len(first) != 2 or not set(first) <= set(DIRECTIONS):
                return None
            found = (*DIRECTIONS[first[0]], *DIRECTIONS[first[1]])
        pair = np.reshape(found, (2, 3))
        lengths = np.linalg.norm(pair, axis=1)
        # Directions that are no unit vectors at a right angle are taken as not stated.
        sound = np.allclose(lengths, 1, atol=0.1) and abs(pair[0] @ pair[1]) < 0.1
        return pair if sound else None

    def _places(self, frame: int, group: str) -> list[Dataset]:
        """Return where an element may stand: a frame's groups, shared ones, the header."""
        places = []
        for sequence, index in (
            ("PerFrameFunctionalGroupsSequence", frame),
            ("SharedFunctionalGroupsSequence", 0),
        ):
            items = self.header.get(sequence) or []
            if group and index < len(items):
                places += list(items[index].get(group) or [])
        return [*places, self.header]

    def _numbers(self, frame: int, group: str, name: str, count: int) -> tuple[float, ...] | None:
        """Return an element with as many finite values as it must have (PS3.3 C.7.6.16)."""
        for place in self._places(frame, group):
            values = place.get(name)
            if isinstance(values, MultiValue) and len(values) == count:
                numbers = tuple(_number(value) for value in values)
                if np.isfinite(numbers).all():
                    return numbers
        return None

    def _number_of(self, frame: int, group: str, name: str) -> float:
        values = (_number(place.get(name)) for place in self._places(frame, group))
        return next((value for value in values if np.isfinite(value)), np.nan)

    def _inversion(self, frame: int) -> float:
        """Return the shortest inversion time, (0018,0082) or those of (0018,9079), ms."""
        found = []
        for place in self._places(frame, "MRModifierSequence"):
            for value in (place.get("InversionTimes"), place.get("InversionTime")):
                found += value if isinstance(value, list | MultiValue) else [value]
        numbers = [number for number in map(_number, found) if np.isfinite(number)]
        return min(numbers, default=np.nan)

    def _word(self, frame: int, group: str, name: str) -> str:
        return next(iter(self._words(frame, group, name)), "")

    def _words(self, frame: int, group: str, *names: str) -> tuple[str, ...]:
        for place in self._places(frame, group):
            for value in (place.get(name) for name in names if name):
                if value:
                    words = [value] if isinstance(value, str) else value
                    return tuple(str(word).upper() for word in words)
        return ()


def _dicom(path: Path) -> Dataset:
    with reading(path, "is neither DICOM nor NIfTI (.nii, .nii.gz)"):
        try:
            header = pydicom.dcmread(path)
        except InvalidDicomError:
            # Some archives leave out the preamble and the group that names the syntax.
            header = pydicom.dcmread(path, force=True)
            if "Rows" not in header or "SOPClassUID" not in header:
                raise UnreadableImage(
                    f"{path.name} is neither DICOM nor NIfTI (.nii, .nii.gz)", REMOVE
                ) from None
        if not header.file_meta.get("TransferSyntaxUID"):
            implicit = header.original_encoding[0] is not False
            syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
            header.file_meta.TransferSyntaxUID = syntax
        return header


def _known(syntax: UID) -> str:
    return syntax.name if syntax.name != str(syntax) else "its compression"


def _decodes(syntax: UID) -> bool:
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def _number(value: object) -> float:
    """Return an element's value as a number; NaN where it is absent, empty or none."""
    if isinstance(value, MultiValue):
        value = value[0] if len(value) else None
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def _padding(stored: np.ndarray, header: Dataset) -> np.ndarray:
    """Return where Pixel Padding Value (0028,0120), or the range it begins, stands."""
    first = _number(header.get("PixelPaddingValue"))
    last = _number(header.get("PixelPaddingRangeLimit"))
    low, high = sorted((first, first if np.isnan(last) else last))
    return (stored >= low) & (stored <= high)


def _tilt(normal: np.ndarray) -> float:
    """Return the angle between a slice with this normal and the axial plane, degrees."""
    cosine = abs(normal[2]) / np.linalg.norm(normal)
    return float(np.degrees(np.arccos(min(1.0, cosine))))


def _displayed(
    pixels: np.ndarray,
    spacing: tuple[float, float],
    facts: Facts,
    directions: np.ndarray | None,
) -> tuple[np.ndarray, tuple[float, float], Facts]:
    """Exchange and turn rows and columns into the display convention."""
    if directions is None:
        return pixels, spacing, facts
    normal = np.cross(*directions)
    plane = PLANES[int(np.argmax(np.abs(normal)))]
    (across, sign), (down, sign_down) = SHOWN[plane]
    row, column = directions
    if abs(row[across]) + abs(column[down]) < abs(row[down]) + abs(column[across]):
        pixels, spacing, row, column = pixels.T, spacing[::-1], column, row
    pixels = pixels[:: int(np.copysign(1, column[down] * sign_down))]
    pixels = pixels[:, :: int(np.copysign(1, row[across] * sign))]
    facts = replace(facts, plane=plane, tilt_deg=_tilt(normal))
    return np.ascontiguousarray(pixels), spacing, facts
