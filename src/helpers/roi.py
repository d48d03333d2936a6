"""Locating the two legs in a slice: Otsu's threshold, a cut along the seam, a shrinking window.

The paper: the largest connected parts are found, two legs are separated by Otsu's threshold,
and the smallest rectangle that contains each is the region of interest; images whose legs
were too close were removed. How close, how legs in contact were cut and whether the rectangle
had a margin are not stated: the order below, its parameters and constants are choices.

1. The slice is averaged over blocks of ``working_mm`` and smoothed. Otsu's threshold is taken
   of the square root of the signal above its minimum: the root brings bright fat, grey muscle
   and what lies far from the coil together, so that the two classes are body and air.
2. Holes are filled, connected parts are labelled. Parts smaller than a share of the foreground
   are not legs. Two parts are the two legs, if the smaller has half of the larger one's area.
3. One part is cut along its seam: the path from top to bottom between the centres of its halves
   that crosses the least foreground, the darkest where it must. **Separable** is a matter of
   geometry: the height over which the two legs are in contact (:func:`contact_share`), as a
   share of the higher leg's height, is at most ``neck_fraction_max``. Otherwise the slice is
   left out. This holds for two parts too: a dark line of skin may part legs that touch.
4. What is narrower than :data:`APPENDAGE_MM` (skin folds, ghosts) is no part of a leg.
5. The window shrinks to the smallest rectangle that keeps the leg: each of its edges is moved
   at full resolution to the outermost row or column that is above the threshold and connected
   to the leg.

Sides are the patient's: in radiological display convention the right leg is on the left.
"""

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage import filters

from helpers import images, paths
from helpers.images import SliceImage

Box = tuple[int, int, int, int]
SIDES = ("right", "left")

COLUMNS = [
    *("image_id", "case_id", "slice_id", "file", "frame", "side", "slice_position_mm"),
    *("row0", "col0", "row1", "col1", "status", "reason", "mirrored"),
]
BOX = ["row0", "col0", "row1", "col1"]
NOT_SEPARABLE = "legs touch too broadly to be cut"
UNEQUAL = "parts differ too much in size to be two legs"
NO_LEGS = "no two parts are large enough to be legs"
UNREADABLE = "file cannot be read"

NO_VALUE = {name: [""] for name in (*BOX, "slice_position_mm", "neck_fraction")}

#: What decodes the pixels and measures them; another version may give other windows.
LIBRARIES = (
    *("numpy", "scipy", "scikit-image", "pydicom", "nibabel"),
    *("pylibjpeg", "pylibjpeg-openjpeg", "pyjpegls"),
)
#: Parts of the foreground narrower than this are removed from a leg, mm; an assumption.
APPENDAGE_MM = 12.0
#: The smaller leg of a pair has at least this share of the larger one's area; an assumption.
SMALLER_LEG = 0.5
#: Gaps between legs that are narrower cannot be seen; those up to the second tell where a
#: contact ends, mm; assumptions.
GAP_MM = (3.0, 12.0)
#: A row of the seam costs 1 in a leg and nothing in air. Where it is bright it costs this more,
DARKNESS = 0.2
#: and where it moves to the next column this more; assumptions.
ASIDE = 0.3
#: Below this number of slices still to do, starting processes costs more than it saves.
SLICES_WORTH_PROCESSES = 400


@dataclass(frozen=True)
class Located:
    """The two legs of a slice, and every step on the way to them.

    Arrays are in blocks of ``step`` pixels of the slice, boxes in its pixels.

    Attributes
    ----------
    step : tuple of int
        Rows and columns of the slice that make one block.
    smoothed : ndarray of float, shape (rows, columns)
        Mean signal of each block, after the Gaussian filter.
    threshold : float
        Otsu's threshold of it, in units of the signal.
    foreground, filled : ndarray of bool, shape (rows, columns)
        Above the threshold; without holes.
    parts : ndarray of int, shape (rows, columns)
        0 outside, 1 the leg on the left of the image, 2 that on its right; one value 1 for
        legs that could not be separated.
    seam : ndarray of int, shape (rows,), or None
        Column of the cut in each row, where one connected part was cut or would be, or of the
        way between two parts that come close; no window crosses it.
    neck_fraction : float
        Height over which the legs are in contact, over that of the higher leg; 0 for legs
        apart, NaN where two legs were not found.
    boxes : dict
        Side of the patient to (row0, col0, row1, col1), half-open; empty when excluded.
    reason : str
        Why the slice is excluded; empty when it is not.
    """

    step: tuple[int, int]
    smoothed: np.ndarray
    threshold: float
    foreground: np.ndarray
    filled: np.ndarray
    parts: np.ndarray
    seam: np.ndarray | None
    neck_fraction: float
    boxes: dict[str, Box]
    reason: str


def locate_legs(
    image: SliceImage,
    *,
    working_mm: float,
    smoothing_mm: float,
    neck_fraction_max: float,
    leg_share_min: float,
    margin_mm: float,
    threshold: float | None = None,
) -> Located:
    """Locate the two legs of a slice.

    Parameters
    ----------
    image : SliceImage
        In radiological display convention.
    working_mm : float
        Edge of the blocks on which the legs are found, mm; never below one pixel.
    smoothing_mm : float
        Standard deviation of the smoothing before the threshold, averaging over a block
        included, mm.
    neck_fraction_max : float
        Longest contact that is cut, as a share of the higher leg's height.
    leg_share_min : float
        Smallest part that is a leg, as a share of the foreground.
    margin_mm : float
        Margin around a leg, mm.
    threshold : float, optional
        In place of Otsu's.

    Returns
    -------
    Located
        Boxes of both legs, or the reason why there are none.

    Examples
    --------
    >>> rows, columns = np.mgrid[:60, :120]
    >>> discs = [np.hypot(rows - 30, columns - c) < 20 for c in (32, 88)]
    >>> slice_image = SliceImage(np.maximum(*discs).astype(float), (1.0, 1.0))
    >>> found = locate_legs(slice_image, working_mm=3, smoothing_mm=0.5, neck_fraction_max=0.25,
    ...                     leg_share_min=0.1, margin_mm=0)
    >>> found.boxes["right"], found.boxes["left"]
    ((11, 13, 50, 52), (11, 69, 50, 108))
    """
    step = tuple(max(1, round(working_mm / edge)) for edge in image.spacing_mm)
    block = tuple(n * edge for n, edge in zip(step, image.spacing_mm, strict=True))
    smoothed = _smoothed(block_means(image.pixels, step), block, smoothing_mm)
    threshold = otsu(smoothed) if threshold is None else threshold
    foreground = smoothed > threshold
    filled = without_holes(foreground)
    parts = largest_parts(filled, leg_share_min=leg_share_min)
    seam = darkest_seam(parts > 0, smoothed) if parts.max() == 1 else None
    legs = without_appendages(parts if seam is None else _cut(parts, seam), block)
    neck, reason = np.nan, NO_LEGS
    if legs.max() == 2:
        gaps = gaps_mm(legs, smoothed, threshold=threshold, block_mm=block)
        height = max((legs == number).any(axis=1).sum() for number in (1, 2)) * block[0]
        neck = contact_share(gaps, row_mm=block[0], height_mm=height)
        areas = np.bincount(legs.ravel())[1:]
        reason = UNEQUAL if areas.min() < SMALLER_LEG * areas.max() else ""
        reason = reason if neck <= neck_fraction_max else NOT_SEPARABLE
        if seam is None and gaps.min(initial=np.inf) < GAP_MM[1]:
            seam = darkest_seam(legs > 0, smoothed)
    legs = parts if reason else legs
    shown = (step, smoothed, threshold, foreground, filled, legs, seam, neck)
    if reason:
        return Located(*shown, {}, reason)
    boxes = {}
    for number, side in enumerate(SIDES, start=1):
        window = shrunk_window(
            image,
            legs == number,
            step=step,
            threshold=threshold,
            smoothing_mm=smoothing_mm,
            seam=seam,
            first=number == 1,
        )
        boxes[side] = with_margin(window, image, margin_mm=margin_mm)
    return Located(*shown, boxes, "")


def at_thresholds(
    image: SliceImage, factors: Sequence[float], **parameters: float
) -> list[Located]:
    """Locate the legs once for each threshold.

    Parameters
    ----------
    image : SliceImage
        The slice.
    factors : sequence of float
        Thresholds as multiples of Otsu's, both above the darkest block.
    **parameters : float
        Parameters of :func:`locate_legs`.

    Returns
    -------
    list of Located
        In the order of the factors.
    """
    found = locate_legs(image, **parameters)
    lowest = float(found.smoothed.min())
    return [
        locate_legs(image, **parameters, threshold=lowest + factor * (found.threshold - lowest))
        for factor in factors
    ]


def threshold_table(
    names: Sequence[str], found: Sequence[Sequence[Located]], factors: Sequence[float]
) -> pd.DataFrame:
    """Return what each threshold gave for each slice.

    Parameters
    ----------
    names : sequence of str
        Titles of the slices; no codes, since the table can be downloaded.
    found : sequence of sequence of Located
        For each slice, from :func:`at_thresholds`.
    factors : sequence of float
        Thresholds as multiples of Otsu's.

    Returns
    -------
    DataFrame
        slice, times_otsu, threshold, neck_fraction, outcome.
    """
    rows = [
        (name, factor, one.threshold, one.neck_fraction, one.reason or "two legs")
        for name, several in zip(names, found, strict=True)
        for factor, one in zip(factors, several, strict=True)
    ]
    columns = ["slice", "times_otsu", "threshold", "neck_fraction", "outcome"]
    return pd.DataFrame(rows, columns=columns)


def block_means(pixels: np.ndarray, step: tuple[int, int]) -> np.ndarray:
    """Return the mean of each whole block of pixels.

    Parameters
    ----------
    pixels : ndarray, shape (rows, columns)
        A slice.
    step : tuple of int
        Rows and columns of a block; what is left over at the lower and the right edge of the
        slice makes no block.

    Returns
    -------
    ndarray of float, shape (rows // step[0], columns // step[1])

    Examples
    --------
    >>> block_means(np.arange(8.0).reshape(2, 4), (2, 2)).tolist()
    [[2.5, 4.5]]
    """
    rows, columns = (n // k for n, k in zip(pixels.shape, step, strict=True))
    whole = pixels[: rows * step[0], : columns * step[1]]
    bands = sum(whole[start :: step[0]] for start in range(step[0]))
    return sum(bands[:, start :: step[1]] for start in range(step[1])) / (step[0] * step[1])


def otsu(signal: np.ndarray) -> float:
    """Return Otsu's threshold of the square root of a signal above its minimum.

    Parameters
    ----------
    signal : ndarray of float
        Any shape.

    Returns
    -------
    float
        In units of the signal; infinite where it does not vary.

    References
    ----------
    Otsu N. IEEE Trans Syst Man Cybern 1979;9:62-66. The root is a choice.

    Examples
    --------
    >>> otsu(np.ones(4))
    inf
    >>> 5 < otsu(np.array([5.0, 6.0, 90.0, 100.0])) < 90
    True
    """
    lowest = signal.min()
    if not np.ptp(signal) > 0:
        return np.inf
    return float(filters.threshold_otsu(np.sqrt(signal - lowest)) ** 2 + lowest)


def without_holes(foreground: np.ndarray) -> np.ndarray:
    """Return a mask with its holes filled: background that does not reach the image's edge.

    Parameters
    ----------
    foreground : ndarray of bool, shape (rows, columns)
        As :func:`scipy.ndimage.binary_fill_holes` takes it, which is several times slower.

    Returns
    -------
    ndarray of bool, shape (rows, columns)

    Examples
    --------
    >>> bool(without_holes(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]]) > 0).all())
    True
    """
    background, count = ndimage.label(~foreground)
    outside = np.zeros(count + 1, dtype=bool)
    for edge in (background[0], background[-1], background[:, 0], background[:, -1]):
        outside[edge] = True
    outside[0] = False
    return ~outside[background]


def largest_parts(filled: np.ndarray, *, leg_share_min: float) -> np.ndarray:
    """Return the one or two largest connected parts, numbered from the image's left.

    Parameters
    ----------
    filled : ndarray of bool, shape (rows, columns)
        Foreground without holes.
    leg_share_min : float
        Smaller parts, as a share of the foreground, are dropped.

    Returns
    -------
    ndarray of int, shape (rows, columns)
        0, 1 and 2.
    """
    labels, _ = ndimage.label(filled, np.ones((3, 3)))
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    largest = np.argsort(-areas, kind="stable")[:2]
    legs = [n for n in largest if areas[n] and areas[n] >= leg_share_min * areas.sum()]
    found = ndimage.find_objects(labels)
    legs.sort(key=lambda n: found[n - 1][1].start + found[n - 1][1].stop)
    numbers = np.zeros(len(areas), dtype=np.uint8)
    numbers[legs] = np.arange(1, len(legs) + 1)
    return numbers[labels]


def darkest_seam(joined: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """Return the path from top to bottom that crosses two legs in contact where they meet.

    Parameters
    ----------
    joined : ndarray of bool, shape (rows, columns)
        Both legs in one part.
    signal : ndarray of float, shape (rows, columns)
        Where the path may choose, it goes where this is low.

    Returns
    -------
    ndarray of int, shape (rows,)
        Column in each row, between the centres of the two halves; from row to row it moves by
        one column at most.

    Examples
    --------
    >>> joined = np.array([[1, 1, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 1, 1]]) > 0
    >>> darkest_seam(joined, np.array([[9, 9, 0, 0, 9, 9], [9, 9, 5, 3, 9, 9], [9, 9, 0, 0, 9, 9]]))
    array([3, 3, 3])
    """
    area = np.cumsum(joined.sum(axis=0))
    # A quarter of the area lies to the left of the middle of the left half.
    start, stop = np.searchsorted(area, [area[-1] / 4, area[-1] * 3 / 4])
    between = (slice(None), slice(start, stop + 1))
    # Least height first: dark tissue saves less than going round to it costs.
    bright = np.clip(signal[between] / max(np.median(signal[joined]), 1e-9), 0, 1)
    return start + _cheapest_path(joined[between] + DARKNESS * bright)


def gaps_mm(
    legs: np.ndarray, signal: np.ndarray, *, threshold: float, block_mm: tuple[float, float]
) -> np.ndarray:
    """Return the distance between two legs in each row that crosses both.

    Parameters
    ----------
    legs : ndarray of int, shape (rows, columns)
        1 and 2.
    signal : ndarray of float, shape (rows, columns)
        Edges are placed where it passes the threshold, between the centres of two blocks.
    threshold : float
        Of the signal.
    block_mm : tuple of float
        Edges of a block, mm.

    Returns
    -------
    ndarray of float, shape (n,)
        mm, from the top; 0 in contact.

    Examples
    --------
    >>> legs = np.array([[1, 0, 0, 2], [1, 1, 0, 2], [1, 1, 2, 2]])
    >>> gaps_mm(legs, 10.0 * (legs > 0), threshold=5, block_mm=(3, 3)).tolist()
    [6.0, 3.0, 0.0]
    """
    right, left = legs == 1, legs == 2
    rows = np.flatnonzero(right.any(axis=1) & left.any(axis=1))
    last = legs.shape[1] - 1 - right[rows, ::-1].argmax(axis=1)
    first = left[rows].argmax(axis=1)

    def beyond(edge: np.ndarray, outside: np.ndarray) -> np.ndarray:
        here, there = signal[rows, edge], signal[rows, outside]
        return np.clip((here - threshold) / np.maximum(here - there, 1e-9), 0, 1)

    width = first - last - beyond(last, last + 1) - beyond(first, first - 1)
    return np.where(first - last > 1, np.maximum(width, 0), 0) * block_mm[1]


def contact_share(gaps: np.ndarray, *, row_mm: float, height_mm: float) -> float:
    """Return the height over which two legs are in contact, over that of the higher leg.

    Gaps below the first of :data:`GAP_MM` cannot be told from contact: averaging closes them,
    and dark skin or the shift between fat and water opens as much between legs that do touch.
    Wider ones tell where the contact ends. Legs are arcs there, so the height ``h`` over which
    the gap is at most ``g`` grows as ``h² = contact² + c g``; for discs ``c`` is twice their
    height. The slope ``c`` is fitted to the gaps between the two limits, and taken to be at most
    twice that of discs.

    Parameters
    ----------
    gaps : ndarray of float, shape (n,)
        From :func:`gaps_mm`.
    row_mm, height_mm : float
        Height of a row and of the higher leg, mm.

    Returns
    -------
    float
        0 for legs apart.

    Examples
    --------
    Two discs of radius 60 mm cut flat where they meet, over a height of 40 mm:

    >>> y = np.abs(np.arange(-58, 60, 2.0))
    >>> gaps = 2 * np.maximum(0, np.sqrt(60**2 - 20**2) - np.sqrt(60**2 - y**2))
    >>> round(contact_share(gaps, row_mm=2, height_mm=120), 2)
    0.33
    """
    near, far = GAP_MM
    ordered = np.sort(gaps)
    if not ordered.size:
        return 0.0
    squares = ((np.arange(len(ordered)) + 0.5) * row_mm) ** 2
    fitted = (ordered > near) & (ordered <= far)
    slope = 2 * height_mm
    if fitted.sum() >= 3:
        slope = np.polyfit(ordered[fitted], squares[fitted], 1)[0].clip(0, 4 * height_mm)
    square = np.interp(near, ordered, squares) - near * slope
    return float(np.sqrt(max(0.0, square)) / height_mm)


def without_appendages(parts: np.ndarray, block_mm: tuple[float, float]) -> np.ndarray:
    """Return the legs without what is narrower than :data:`APPENDAGE_MM`.

    Parameters
    ----------
    parts : ndarray of int, shape (rows, columns)
        1 and 2, apart from each other.
    block_mm : tuple of float
        Edges of a block, mm.

    Returns
    -------
    ndarray of int, shape (rows, columns)
        The same after opening by a rectangle; of each leg the largest piece.
    """
    size = [2 * round(APPENDAGE_MM / edge / 2) + 1 for edge in block_mm]
    legs = np.zeros_like(parts)
    for number, place in enumerate(ndimage.find_objects(parts, max_label=2), start=1):
        if place is None:
            continue
        leg = (parts[place] == number).astype(np.uint8)
        opened = _opened(leg, size)
        legs[place][largest_parts(opened > 0, leg_share_min=0.5) > 0] = number
    return legs


def shrunk_window(
    image: SliceImage,
    leg: np.ndarray,
    *,
    step: tuple[int, int],
    threshold: float,
    smoothing_mm: float,
    seam: np.ndarray | None = None,
    first: bool = True,
) -> Box:
    """Return the smallest rectangle that keeps a leg, in pixels of the slice.

    Only a band of two blocks on either side of each edge is looked at in full resolution. From
    the inside outward an edge moves as long as some pixel of the row or column is above the
    threshold and in a block of the leg or beside one.

    Parameters
    ----------
    image : SliceImage
        The slice.
    leg : ndarray of bool, shape (rows, columns)
        Blocks of one leg.
    step : tuple of int
        Rows and columns of a block.
    threshold : float
        Of the signal.
    smoothing_mm : float
        Standard deviation of the Gaussian before the threshold, mm.
    seam : ndarray of int, shape (rows,), optional
        Column of blocks in each row that the window's leg does not cross.
    first : bool
        Whether the leg is on the left of the seam.

    Returns
    -------
    tuple of int
        row0, col0, row1, col1, half-open.
    """
    sigma = [smoothing_mm / edge for edge in image.spacing_mm]
    upright = _Band(image.pixels, leg, step, sigma, threshold)
    turned = _Band(image.pixels.T, leg.T, step[::-1], sigma[::-1], threshold)
    bound = None if seam is None else np.repeat(seam + 0.5, step[0]) * step[1]
    row0, row1 = (upright.edge(last=last) for last in (False, True))
    # The seam ends the leg on its left at the right, and the other one at the left.
    col0 = turned.edge(last=False, bound=None if first else bound)
    col1 = turned.edge(last=True, bound=bound if first else None)
    return row0, col0, row1, col1


def with_margin(box: Box, image: SliceImage, *, margin_mm: float) -> Box:
    """Return a window with a margin, inside the slice.

    Parameters
    ----------
    box : tuple of int
        row0, col0, row1, col1, half-open.
    image : SliceImage
        The slice.
    margin_mm : float
        Added on each side, mm.

    Returns
    -------
    tuple of int

    Examples
    --------
    >>> with_margin((1, 5, 8, 9), SliceImage(np.zeros((10, 20)), (1.0, 0.5)), margin_mm=2)
    (0, 1, 10, 13)
    """
    more = [round(margin_mm / edge) for edge in image.spacing_mm]
    return (
        max(0, box[0] - more[0]),
        max(0, box[1] - more[1]),
        min(image.pixels.shape[0], box[2] + more[0]),
        min(image.pixels.shape[1], box[3] + more[1]),
    )


def write_options(path: Path, **options: float | bool) -> None:
    """Keep how legs were found, for a model that is trained on them.

    Parameters
    ----------
    path : Path
        ``results/<profile>/roi.json``.
    **options
        Arguments of :func:`locate_all`: ``mirror_left`` and those of :func:`locate_legs`.
    """
    with paths.atomic_path(path) as temporary:
        temporary.write_text(json.dumps(options, indent=1) + "\n")


def read_options(path: Path) -> dict[str, float | bool]:
    """Return how legs were found, as :func:`write_options` kept it.

    Parameters
    ----------
    path : Path
        ``results/<profile>/roi.json``.

    Returns
    -------
    dict
    """
    return json.loads(path.read_text())


def locate_all(
    slices: pd.DataFrame,
    *,
    folder: Path,
    processes: int = 2,
    mirror_left: bool = False,
    shard_slices: int = 64,
    say: Callable[[str], None] | None = None,
    **parameters: float,
) -> pd.DataFrame:
    """Locate the legs in every slice of a cohort.

    Slices are done in shards of one case, each written to ``roi/`` in the folder when it is
    finished and named by a fingerprint of its rows, the parameters, the code, the versions of
    :data:`LIBRARIES` and the files' content. A run that was stopped goes on after the last whole
    shard; a file more or another one costs its own case. A shard with a file that cannot be read
    is not kept. Each process holds one image at a time, and a file that gives several slices.

    Parameters
    ----------
    slices : DataFrame
        ``slices.csv``.
    folder : Path
        Folder that relative file names start from, ``results/<profile>``.
    processes : int
        Shards are done in this many processes, if there is enough to do for them.
    mirror_left : bool
        Whether left legs are mirrored when they are cut out; column ``mirrored`` says so.
    shard_slices : int
        Slices in a shard, at most.
    say : callable, optional
        Takes one line of progress after each shard.
    **parameters : float
        Parameters of :func:`locate_legs`.

    Returns
    -------
    DataFrame
        ``images.csv``: two rows a slice, one a leg, with :data:`COLUMNS`, and the slice's
        neck_fraction, NaN where two legs were not found.
    """
    rows = slices.to_dict("records")
    parts = list(_parts(rows, shard_slices))
    settings = {"parameters": parameters, "mirror_left": mirror_left}
    marks = {name: _content(Path(folder) / name) for name in {row["file"] for row in rows}}
    files = [_shard_file(Path(folder), part, settings, marks) for part in parts]
    pending = [(f, part) for f, part in zip(files, parts, strict=True) if not f.is_file()]
    done = said = len(rows) - sum(len(part) for _, part in pending)
    work = partial(_write_shard, folder=Path(folder), **settings)
    for count in _worked(work, pending, processes):
        done += count
        if say is not None and (done == len(rows) or done - said >= shard_slices):
            said = done
            say(f"legs: {done:,} of {len(rows):,} slices located")
    for file in set((Path(folder) / "roi").glob("*.csv")) - set(files):
        file.unlink()
    found = [_read_shard(file) for file in files]
    for file, table in zip(files, found, strict=True):
        if (table["reason"] == UNREADABLE).any():
            file.unlink()
    return pd.concat(found, ignore_index=True) if found else _table([])


def examples(located: pd.DataFrame) -> pd.DataFrame:
    """Return an easy slice, one whose legs touch and were cut, and one that was left out.

    Parameters
    ----------
    located : DataFrame
        From :func:`locate_all`.

    Returns
    -------
    DataFrame
        One row a slice, with ``title``; fewer rows where there is no such slice. Touching is
        the longest contact that was cut; too broad is the shortest that was not. The first
        slice, where there is none of the three.
    """
    slices = located.drop_duplicates("slice_id").sort_values("neck_fraction", kind="stable")
    included = slices[slices["status"] == "included"]
    chosen = {
        "easy": included[included["neck_fraction"] == 0].head(1),
        "touching": included[included["neck_fraction"] > 0].tail(1),
        "too broad": slices[slices["reason"] == NOT_SEPARABLE].head(1),
    }
    found = pd.concat([row.assign(title=title) for title, row in chosen.items()])
    return found if len(found) else slices.head(1).assign(title="first")


def thumbnails(rows: pd.DataFrame, *, folder: Path, width: int = 128) -> list[np.ndarray]:
    """Return small pictures of slices without empty rows, one at a time in memory.

    Parameters
    ----------
    rows : DataFrame
        file, frame.
    folder : Path
        Folder that relative file names start from.
    width : int
        Columns of a picture, at most twice as many.

    Returns
    -------
    list of ndarray of uint8
        From the lowest value of a slice to its 99.5th percentile; empty where a file cannot be
        read.
    """
    pictures = []
    for row in rows.itertuples():
        try:
            image = images.read_slice(Path(folder) / row.file, int(row.frame))
        except images.UnreadableImage:
            pictures.append(np.zeros((1, 1), np.uint8))
            continue
        step = max(1, image.pixels.shape[1] // width)
        means = block_means(image.pixels, (step, step))
        low, high = means.min(), max(np.percentile(means, 99.5), means.min() + 1e-9)
        rows = np.flatnonzero((means > otsu(means)).any(axis=1))
        if rows.size:
            means = means[max(0, rows[0] - 4) : rows[-1] + 5]
        pictures.append((np.clip((means - low) / (high - low), 0, 1) * 255).astype(np.uint8))
    return pictures


def exclusions(table: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Return how many leg images were kept, and how many were excluded for which reason.

    Parameters
    ----------
    table : DataFrame
        ``images.csv``.
    cases : DataFrame
        ``cases.csv``.

    Returns
    -------
    DataFrame
        outcome, slices, leg images, and of these the numbers with dystrophinopathy and of
        women.
    """
    outcome = table.reason.where(table.status == "excluded", "included")
    joined = table.assign(outcome=outcome).merge(cases, on="case_id")
    counted = joined.assign(women=joined.sex == "F").groupby("outcome")
    result = counted.agg(
        slices=("slice_id", "nunique"),
        leg_images=("image_id", "size"),
        with_dystrophinopathy=("dystrophinopathy", "sum"),
        of_women=("women", "sum"),
    )
    result = result.sort_values("leg_images", ascending=False).reset_index()
    return result.rename(columns=lambda name: name.replace("_", " "))


def kept_at(table: pd.DataFrame, limits: list[float]) -> pd.DataFrame:
    """Return how many leg images each limit of the contact's height would keep.

    Parameters
    ----------
    table : DataFrame
        From :func:`locate_all`, with ``neck_fraction``.
    limits : list of float
        Values of ``neck_fraction_max``.

    Returns
    -------
    DataFrame
        neck_fraction_max, leg images.
    """
    usable = table.reason != UNEQUAL
    kept = [int((usable & (table.neck_fraction <= limit)).sum()) for limit in limits]
    return pd.DataFrame({"longest contact cut": limits, "leg images": kept})


@dataclass(frozen=True)
class _Band:
    """Finds where a leg ends along the first axis, in full resolution."""

    pixels: np.ndarray
    leg: np.ndarray
    step: tuple[int, int]
    sigma: list[float]
    threshold: float

    def edge(self, *, last: bool, bound: np.ndarray | None = None) -> int:
        """Return the first row of the leg, or the one after its last.

        ``bound`` holds, for each column, the row that the leg does not reach.
        """
        occupied = np.flatnonzero(self.leg.any(axis=1))
        coarse = int(occupied[-1]) + 1 if last else int(occupied[0])
        start, stop = max(0, coarse - 2), coarse + 2
        low, high = start * self.step[0], min(stop * self.step[0], len(self.pixels))
        columns = ndimage.binary_dilation(self.leg[start:stop].any(axis=0))
        across = np.flatnonzero(columns)
        left, right = across[0] * self.step[1], (across[-1] + 1) * self.step[1]
        above = self._smoothed(low, high, left, right) > self.threshold
        above &= np.repeat(columns, self.step[1])[left:right]
        if bound is not None:
            rows = np.arange(low, high)[:, None] + 0.5
            above &= (rows < bound[left:right]) if last else (rows > bound[left:right])
        outward = above.any(axis=1) if last else above.any(axis=1)[::-1]
        run = len(outward) if outward.all() else int(outward.argmin())
        if run == 0:
            return min(coarse * self.step[0], len(self.pixels))
        return low + run if last else high - run

    def _smoothed(self, low: int, high: int, left: int, right: int) -> np.ndarray:
        more = [int(np.ceil(3 * s)) for s in self.sigma]
        top, side = max(0, low - more[0]), max(0, left - more[1])
        around = self.pixels[top : high + more[0], side : right + more[1]]
        smooth = ndimage.gaussian_filter(around, self.sigma, truncate=3.0)
        return smooth[low - top : high - top, left - side : right - side]


def _smoothed(means: np.ndarray, block_mm: tuple[float, float], smoothing_mm: float) -> np.ndarray:
    """Add to the averaging over a block what it lacks of the wanted smoothing."""
    # A block of edge b blurs as a Gaussian of variance b² / 12 does.
    lacking = [max(0.0, smoothing_mm**2 - edge**2 / 12) ** 0.5 / edge for edge in block_mm]
    return ndimage.gaussian_filter(means, lacking) if max(lacking) > 0.1 else means


def _opened(leg: np.ndarray, size: list[int]) -> np.ndarray:
    eroded = ndimage.minimum_filter(leg, size, mode="constant")
    return ndimage.maximum_filter(eroded, size, mode="constant")


def _cheapest_path(cost: np.ndarray) -> np.ndarray:
    """Return the column in each row of the path of least cost from top to bottom."""
    # Total cost so far, between two columns that no path takes.
    totals = np.full((len(cost), cost.shape[1] + 2), np.inf)
    totals[0, 1:-1] = cost[0]
    for before, after, price in zip(totals[:-1], totals[1:], cost[1:], strict=True):
        beside = np.minimum(before[:-2], before[2:]) + ASIDE
        after[1:-1] = np.minimum(before[1:-1], beside) + price
    path = np.empty(len(cost), dtype=int)
    path[-1] = totals[-1].argmin()
    for row in range(len(cost) - 1, 0, -1):
        left, here, right = totals[row - 1, path[row] - 1 : path[row] + 2]
        path[row - 1] = path[row] + (
            0 if here <= min(left, right) + ASIDE else 1 - 2 * int(left <= right)
        )
    return path - 1


def _cut(parts: np.ndarray, seam: np.ndarray) -> np.ndarray:
    """Cut one part along a seam; a leg is the largest connected piece on its side."""
    legs = np.zeros_like(parts)
    columns = np.arange(parts.shape[1])
    sides = (columns < seam[:, None], columns > seam[:, None])
    for number, side in enumerate(sides, start=1):
        half = largest_parts((parts > 0) & side, leg_share_min=0.5)
        legs[half > 0] = number
    return legs


def _worked(work: Callable[[tuple], int], pending: list[tuple], processes: int) -> Iterator[int]:
    """Do the shards, here or in other processes, and yield each one's number of slices."""
    todo = sum(len(part) for _, part in pending)
    if processes == 1 or todo < SLICES_WORTH_PROCESSES:
        yield from map(work, pending)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(work, shard) for shard in pending]
        yield from (job.result() for job in as_completed(jobs))


def _parts(rows: list[dict], most: int) -> Iterator[list[dict]]:
    """Yield the rows of each case in their order, cut where there are more than the most."""
    for _, group in groupby(rows, key=lambda row: row["case_id"]):
        case = list(group)
        yield from (case[start : start + most] for start in range(0, len(case), most))


def _content(path: Path) -> str | None:
    # Neither size nor time: uncompressed slices have one size, and copying may keep the time.
    if not path.is_file():
        return None
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _shard_file(folder: Path, rows: list[dict], settings: dict, marks: dict) -> Path:
    """Return the name of a shard's table: what it depends on."""
    held = sorted((name, marks[name]) for name in {row["file"] for row in rows})
    text = json.dumps([rows, settings, held, _made_by()], default=str)
    return folder / "roi" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.csv"


@cache
def _made_by() -> tuple[str, ...]:
    """Return the code that finds legs, and the versions of what it rests on."""
    code = (inspect.getsource(module) for module in (sys.modules[__name__], images))
    return (*code, *(f"{name} {version(name)}" for name in LIBRARIES))


def _write_shard(
    shard: tuple[Path, list[dict]], *, folder: Path, parameters: dict, mirror_left: bool
) -> int:
    file, rows = shard
    # An absolute file name replaces the folder.
    slices = images.read_slices([(folder / row["file"], int(row["frame"])) for row in rows])
    pairs = [
        _rows_of_slice(row, image, parameters=parameters, mirror_left=mirror_left)
        for row, image in zip(rows, slices, strict=True)
    ]
    with paths.atomic_path(file) as temporary:
        _table([row for pair in pairs for row in pair]).to_csv(temporary, index=False)
    return len(rows)


def _read_shard(file: Path) -> pd.DataFrame:
    text = dict.fromkeys(
        ("image_id", "case_id", "slice_id", "file", "side", "status", "reason"), str
    )
    numbers = dict.fromkeys(BOX, "Int64")
    table = pd.read_csv(file, dtype=text | numbers, keep_default_na=False, na_values=NO_VALUE)
    return table


def _table(rows: list[dict]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=[*COLUMNS, "neck_fraction"])
    return table.astype({name: "Int64" for name in BOX})


def _rows_of_slice(
    row: dict,
    image: SliceImage | images.UnreadableImage,
    *,
    parameters: dict[str, float],
    mirror_left: bool,
) -> list[dict[str, object]]:
    if isinstance(image, images.UnreadableImage):
        boxes, reason, neck = {}, UNREADABLE, np.nan
    else:
        located = locate_legs(image, **parameters)
        boxes, reason, neck = located.boxes, located.reason, located.neck_fraction
    shared = {name: row[name] for name in COLUMNS if name in row}
    pair = []
    for side in SIDES:
        box = boxes.get(side, (pd.NA,) * 4)
        status = "included" if side in boxes else "excluded"
        coordinates = dict(zip(BOX, box, strict=True))
        identity = {"image_id": f"{row['slice_id']}-{side}", "side": side}
        outcome = {"status": status, "reason": reason, "neck_fraction": neck}
        outcome["mirrored"] = int(mirror_left and side == "left" and status == "included")
        pair.append(shared | identity | coordinates | outcome)
    return pair
