"""Locating the two legs in a slice: Otsu's threshold and an adaptive window.

The paper: the largest connected parts are found, two legs are separated by Otsu's threshold,
and the smallest rectangle that contains each is the region of interest; images whose legs
were too close were removed. How close, how legs in contact were cut and how the window was
padded are not stated: the order below and its four parameters are choices.

1. Smooth the slice, take Otsu's threshold, fill the holes (muscle, marrow).
2. Label the connected parts; parts smaller than a share of the foreground are not legs.
3. Two parts are the two legs. One part is cut at the narrowest column between the centres of
   its halves, if the bridge there is narrow compared with the legs; else it is not separable.
4. The window of a leg is its bounding box and a margin.

Sides are the patient's: in radiological display convention the right leg is on the left.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage import filters, measure

from helpers import images
from helpers.images import SliceImage

Box = tuple[int, int, int, int]

COLUMNS = [
    *("image_id", "case_id", "slice_id", "file", "frame", "side", "slice_position_mm"),
    *("row0", "col0", "row1", "col1", "status", "reason"),
]
BOX = ["row0", "col0", "row1", "col1"]
NOT_SEPARABLE = "legs touch too broadly to be cut"
NO_LEGS = "no part is large enough to be a leg"
UNREADABLE = "file cannot be read"


@dataclass(frozen=True)
class Located:
    """The two legs of a slice, and every step on the way to them.

    Attributes
    ----------
    smoothed : ndarray of float, shape (rows, columns)
        Slice after the Gaussian filter.
    threshold : float
        Otsu's threshold of it.
    foreground, filled : ndarray of bool, shape (rows, columns)
        Above the threshold; without holes.
    parts : ndarray of int, shape (rows, columns)
        0 outside, 1 the leg on the left of the image, 2 that on its right; one value 1 for
        legs that could not be separated.
    profile : ndarray of int, shape (columns,)
        Foreground pixels in each column.
    cut_column : int or None
        Where one connected part was cut or would be.
    neck_fraction : float
        Pixels of the bridge at the cut over those of the higher leg; NaN without contact.
    boxes : dict
        Side of the patient to (row0, col0, row1, col1), half-open; empty when excluded.
    reason : str
        Why the slice is excluded; empty when it is not.
    """

    smoothed: np.ndarray
    threshold: float
    foreground: np.ndarray
    filled: np.ndarray
    parts: np.ndarray
    profile: np.ndarray
    cut_column: int | None
    neck_fraction: float
    boxes: dict[str, Box]
    reason: str


def locate_legs(
    image: SliceImage,
    *,
    smoothing_mm: float,
    neck_fraction_max: float,
    leg_share_min: float,
    margin_mm: float,
) -> Located:
    """Locate the two legs of a slice.

    Parameters
    ----------
    image : SliceImage
        In radiological display convention.
    smoothing_mm : float
        Standard deviation of the Gaussian before the threshold, mm.
    neck_fraction_max : float
        Widest bridge that is cut, as a share of the higher leg's height.
    leg_share_min : float
        Smallest part that is a leg, as a share of the foreground.
    margin_mm : float
        Margin around a leg, mm.

    Returns
    -------
    Located
        Boxes of both legs, or the reason why there are none.

    Examples
    --------
    >>> rows, columns = np.mgrid[:60, :120]
    >>> discs = [np.hypot(rows - 30, columns - c) < 20 for c in (32, 88)]
    >>> slice_image = SliceImage(np.maximum(*discs).astype(float), (1.0, 1.0))
    >>> found = locate_legs(slice_image, smoothing_mm=0.5, neck_fraction_max=0.25,
    ...                     leg_share_min=0.1, margin_mm=0)
    >>> found.boxes["right"], found.boxes["left"]
    ((11, 13, 50, 52), (11, 69, 50, 108))
    """
    sigma = [smoothing_mm / step for step in image.spacing_mm]
    smoothed = ndimage.gaussian_filter(image.pixels, sigma)
    threshold = float(filters.threshold_otsu(smoothed)) if np.ptp(smoothed) > 0 else np.inf
    foreground = smoothed > threshold
    filled = ndimage.binary_fill_holes(foreground)
    parts = largest_parts(filled, leg_share_min=leg_share_min)
    profile = (parts > 0).sum(axis=0)
    cut, neck, reason = None, np.nan, ""
    if parts.max() == 0:
        reason = NO_LEGS
    elif parts.max() == 1:
        cut, neck = narrowest_column(profile)
        reason = NOT_SEPARABLE if not neck <= neck_fraction_max else ""
        parts = parts if reason else _cut(parts, cut)
    boxes = {} if reason else leg_boxes(parts, image.spacing_mm, margin_mm=margin_mm)
    return Located(
        smoothed, threshold, foreground, filled, parts, profile, cut, neck, boxes, reason
    )


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
    labels = measure.label(filled)
    regions = sorted(measure.regionprops(labels), key=lambda r: r.area, reverse=True)[:2]
    legs = [r for r in regions if r.area >= leg_share_min * filled.sum()]
    parts = np.zeros(filled.shape, dtype=np.uint8)
    for number, region in enumerate(sorted(legs, key=lambda r: r.centroid[1]), start=1):
        parts[labels == region.label] = number
    return parts


def narrowest_column(profile: np.ndarray) -> tuple[int, float]:
    """Return where two legs in contact would be cut, and how broad the bridge is there.

    Parameters
    ----------
    profile : ndarray of int, shape (columns,)
        Foreground pixels in each column.

    Returns
    -------
    column : int
        Column of the minimum between the centres of the two halves of the foreground.
    fraction : float
        That minimum over the profile's maximum.

    Examples
    --------
    >>> narrowest_column(np.array([0, 4, 8, 4, 1, 4, 8, 4, 0]))
    (4, 0.125)
    """
    columns = np.arange(len(profile))
    middle = np.average(columns, weights=profile)
    left, right = profile * (columns < middle), profile * (columns >= middle)
    start, stop = (round(np.average(columns, weights=half)) for half in (left, right))
    column = start + int(np.argmin(profile[start : stop + 1]))
    return column, float(profile[column] / profile.max())


def leg_boxes(
    parts: np.ndarray, spacing_mm: tuple[float, float], *, margin_mm: float
) -> dict[str, Box]:
    """Return the window of each leg: its bounding box and a margin, inside the image.

    Parameters
    ----------
    parts : ndarray of int, shape (rows, columns)
        1 the leg on the image's left, 2 that on its right.
    spacing_mm : tuple of float
        Between rows and between columns.
    margin_mm : float
        Added on each side.

    Returns
    -------
    dict
        Side of the patient to (row0, col0, row1, col1), half-open.
    """
    more = [round(margin_mm / step) for step in spacing_mm]
    boxes = {}
    for side, (rows, columns) in zip(("right", "left"), ndimage.find_objects(parts), strict=True):
        boxes[side] = (
            max(0, rows.start - more[0]),
            max(0, columns.start - more[1]),
            min(parts.shape[0], rows.stop + more[0]),
            min(parts.shape[1], columns.stop + more[1]),
        )
    return boxes


def locate_all(
    slices: pd.DataFrame,
    *,
    folder: Path,
    processes: int = 2,
    **parameters: float,
) -> pd.DataFrame:
    """Locate the legs in every slice of a cohort.

    Parameters
    ----------
    slices : DataFrame
        ``slices.csv``.
    folder : Path
        Folder that relative file names start from, ``results/<profile>``.
    processes : int
        Slices are read in this many processes.
    **parameters : float
        Parameters of :func:`locate_legs`.

    Returns
    -------
    DataFrame
        ``images.csv``: two rows a slice, one a leg, with :data:`COLUMNS`, and the slice's
        neck_fraction, NaN where the legs did not touch.
    """
    work = partial(_rows_of_slice, folder=Path(folder), parameters=parameters)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(work, slices.to_dict("records"), chunksize=8))
    columns = [*COLUMNS, "neck_fraction"]
    table = pd.DataFrame([row for pair in rows for row in pair], columns=columns)
    return table.astype({name: "Int64" for name in BOX})


def overlap(first: Box, second: Box) -> float:
    """Return the intersection over union of two boxes.

    Parameters
    ----------
    first, second : tuple of int
        row0, col0, row1, col1, half-open.

    Returns
    -------
    float
        1 for equal boxes, 0 for disjoint ones.

    Examples
    --------
    >>> overlap((0, 0, 2, 2), (0, 1, 2, 3))
    0.3333333333333333
    """
    height = min(first[2], second[2]) - max(first[0], second[0])
    width = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0, height) * max(0, width)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def read_truth(folder: Path) -> pd.DataFrame:
    """Return the true boxes of a synthetic cohort; no row for the author's own images.

    Parameters
    ----------
    folder : Path
        ``results/<profile>``. For scoring only.

    Returns
    -------
    DataFrame
        slice_id, side, row0, col0, row1, col1, separable.
    """
    path = folder / "cohort" / "thigh" / "truth" / "legs.csv"
    if path.is_file():
        return pd.read_csv(path)
    return pd.DataFrame(columns=["slice_id", "side", *BOX, "separable"])


def against_truth(table: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Return located legs beside the true ones.

    Parameters
    ----------
    table : DataFrame
        ``images.csv``.
    truth : DataFrame
        From :func:`read_truth`.

    Returns
    -------
    DataFrame
        image_id, case_id, slice_id, side, separable, included, overlap with the true box, and
        covered, the share of the true box inside the window; both NaN where excluded.
    """
    joined = table.merge(truth, on=["slice_id", "side"], suffixes=("", "_true"))
    joined["included"] = (joined.status == "included").astype(int)
    found = joined[BOX].to_numpy(dtype=float, na_value=np.nan)
    true = joined[[f"{name}_true" for name in BOX]].to_numpy(dtype=float)
    pairs = [(tuple(a), tuple(b)) for a, b in zip(found, true, strict=True)]
    joined["overlap"] = [overlap(a, b) if np.isfinite(a[0]) else np.nan for a, b in pairs]
    joined["covered"] = [
        overlap(_within(a, b), b) if np.isfinite(a[0]) else np.nan for a, b in pairs
    ]
    names = ["image_id", "case_id", "slice_id", "side", "separable", "included"]
    return joined[[*names, "overlap", "covered"]]


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
    """Return how many leg images each limit of the bridge's width would keep.

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
    usable = ~table.reason.isin([NO_LEGS, UNREADABLE])
    kept = [int((usable & ~(table.neck_fraction > limit)).sum()) for limit in limits]
    return pd.DataFrame({"widest bridge cut": limits, "leg images": kept})


def _within(box: Box, limit: Box) -> Box:
    return (
        max(box[0], limit[0]),
        max(box[1], limit[1]),
        min(box[2], limit[2]),
        min(box[3], limit[3]),
    )


def _cut(parts: np.ndarray, column: int) -> np.ndarray:
    """Cut one part at a column; a leg is the largest connected piece on its side."""
    legs = np.zeros_like(parts)
    columns = np.arange(parts.shape[1])
    for number, side in enumerate((columns < column, columns > column), start=1):
        half = largest_parts((parts > 0) & side, leg_share_min=0.5)
        legs[half > 0] = number
    return legs


def _rows_of_slice(
    row: dict, *, folder: Path, parameters: dict[str, float]
) -> list[dict[str, object]]:
    # An absolute file name replaces the folder.
    try:
        image = images.read_slice(folder / row["file"], int(row["frame"]))
        located = locate_legs(image, **parameters)
        boxes, reason, neck = located.boxes, located.reason, located.neck_fraction
    except images.UnreadableImage:
        boxes, reason, neck = {}, UNREADABLE, np.nan
    shared = {name: row[name] for name in COLUMNS if name in row}
    pair = []
    for side in ("right", "left"):
        box = boxes.get(side, (pd.NA,) * 4)
        status = "included" if side in boxes else "excluded"
        coordinates = dict(zip(BOX, box, strict=True))
        identity = {"image_id": f"{row['slice_id']}-{side}", "side": side}
        outcome = {"status": status, "reason": reason, "neck_fraction": neck}
        pair.append(shared | identity | coordinates | outcome)
    return pair
