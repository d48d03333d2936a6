"""Figures of how the legs are found in a slice, and how well."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from helpers import display
from helpers.display import PALETTE
from helpers.images import SliceImage
from helpers.roi import Located

_SIDES = {"right": PALETTE["accent"], "left": PALETTE["light"]}
_PARTS = ListedColormap(["#000000", *_SIDES.values()])
_STEPS = (
    "1 averaged",
    "2 above Otsu's\nthreshold",
    "3 holes filled",
    "4 legs, cut along\nthe seam",
    "5 smallest\nwindows",
)


def steps(titles: list[str], slices: list[SliceImage], found: list[Located]) -> Figure:
    """Draw every step from the slice to the two windows, one row a slice.

    Parameters
    ----------
    titles : list of str
        One a slice.
    slices : list of SliceImage
        The slices.
    found : list of Located
        What :func:`helpers.roi.locate_legs` returned for them.

    Returns
    -------
    Figure
        Five panels a slice.
    """
    figure, axes = display.figure(
        nrows=len(slices), ncols=len(_STEPS), height=1.05 * len(slices) + 0.5, squeeze=False
    )
    for axis, title in zip(axes[0], _STEPS, strict=True):
        axis.set_title(title, loc="left", fontsize=9)
    for row, title, image, one in zip(axes, titles, slices, found, strict=True):
        smoothed, above, filled, parts, windows = row
        for axis, blocks in (
            (smoothed, one.smoothed),
            (above, one.foreground),
            (filled, one.filled),
        ):
            _show(axis, blocks, image, one, in_blocks=True)
        _show(parts, one.parts, image, one, in_blocks=True, cmap=_PARTS, vmax=2)
        _seam(parts, one)
        _show(windows, image.pixels, image, one)
        _rectangles(windows, one)
        if one.reason:
            windows.text(
                *(0.5, 0.5, "left out"),
                **{"color": "white", "fontsize": 9, "ha": "center", "va": "center"},
                bbox={"facecolor": "black", "alpha": 0.6, "linewidth": 0},
                transform=windows.transAxes,
            )
        smoothed.text(
            *(-0.06, 0.5, f"{title}\n{_contact(one)}"),
            **{"transform": smoothed.transAxes, "rotation": 90, "fontsize": 9},
            **{"ha": "right", "va": "center", "multialignment": "center"},
        )
    return figure


def excluded(rows: pd.DataFrame, pictures: list[np.ndarray]) -> Figure:
    """Draw every slice that was left out, with the reason.

    Parameters
    ----------
    rows : DataFrame
        slice_id, reason and neck_fraction, one row a slice.
    pictures : list of ndarray of uint8
        From :func:`helpers.roi.thumbnails`.

    Returns
    -------
    Figure
        Five in a row, or eight where there are many; a sentence when nothing was left out.
    """
    if not pictures:
        figure, axis = display.figure(height=1.0)
        axis.axis("off")
        axis.text(0.5, 0.5, "No slice of this cohort was left out.", ha="center", va="center")
        return figure
    columns = 5 if len(pictures) <= 50 else 8
    lines = -(-len(pictures) // columns)
    figure, axes = display.figure(
        nrows=lines, ncols=columns, height=lines * (3.6 / columns + 0.35), squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    size = 8 if columns == 5 else 6
    for axis, row, picture in zip(axes.flat, rows.itertuples(), pictures, strict=False):
        axis.imshow(picture, vmin=0, vmax=255)
        axis.set_title(f"{row.slice_id}\n{_why(row)}", fontsize=size)
    return figure


def accuracy(table: pd.DataFrame) -> Figure:
    """Draw each measure against the truth by group, with its interval.

    Parameters
    ----------
    table : DataFrame
        From :func:`helpers.roi_truth.accuracy_by`.

    Returns
    -------
    Figure
        One panel a measure; a sentence when there is no truth.
    """
    if table.empty:
        figure, axis = display.figure(height=1.0)
        axis.axis("off")
        axis.text(0.5, 0.5, "Of these images no truth is known.", ha="center", va="center")
        return figure
    groups = table[["by", "group"]].drop_duplicates().reset_index(drop=True)
    gaps = (groups["by"] != groups["by"].shift()).cumsum() - 1
    place = {
        key: -(i + 0.7 * gap)
        for i, (key, gap) in enumerate(zip(groups["group"], gaps, strict=True))
    }
    measures = table["measure"].drop_duplicates().tolist()
    figure, axes = display.figure(ncols=len(measures), height=0.19 * len(groups) + 1.1, sharey=True)
    for axis, measure in zip(axes, measures, strict=True):
        rows = table[table["measure"] == measure]
        y = rows["group"].map(place)
        low, high = rows["low"].fillna(rows["estimate"]), rows["high"].fillna(rows["estimate"])
        axis.hlines(y, low, high, color=PALETTE["phantom"], linewidth=1.2)
        axis.plot(rows["estimate"], y, "o", color=PALETTE["phantom"], markersize=3.5)
        axis.set_title(textwrap.fill(measure, 16), loc="left", fontsize=9)
        least = min(0.9, float(low.min()))
        axis.set_xlim(least - 0.05 * (1 - least), 1 + 0.05 * (1 - least))
        axis.grid(axis="x", alpha=0.4)
    axes[0].set_yticks(list(place.values()), [str(key) for key in place])
    axes[0].tick_params(axis="y", labelsize=8)
    return figure


def contact_sheet(titles: list[str], legs: list[np.ndarray]) -> Figure:
    """Draw leg images as the networks get them.

    Parameters
    ----------
    titles : list of str
        One a leg.
    legs : list of ndarray, shape (size, size)
        Values in [0, 255].

    Returns
    -------
    Figure
        Six in a row.
    """
    rows = -(-len(legs) // 6)
    figure, axes = display.figure(nrows=rows, ncols=6, height=1.45 * rows, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, title, leg in zip(axes.flat, titles, legs, strict=False):
        axis.imshow(leg, vmin=0, vmax=255)
        axis.set_title(title, fontsize=9)
    return figure


def _contact(found: Located) -> str:
    if not np.isfinite(found.neck_fraction):
        return "no pair"
    return "no contact" if found.neck_fraction == 0 else f"contact {found.neck_fraction:.0%}"


def _why(row) -> str:
    words = {
        "legs touch too broadly to be cut": "contact",
        "no two parts are large enough to be legs": "no two legs",
        "parts differ too much in size to be two legs": "unequal parts",
        "file cannot be read": "not readable",
    }
    share = f" {row.neck_fraction:.0%}" if np.isfinite(row.neck_fraction) else ""
    return words.get(row.reason, row.reason) + share


def _show(
    axis: Axes,
    pixels: np.ndarray,
    image: SliceImage,
    found: Located,
    *,
    in_blocks: bool = False,
    cmap: ListedColormap | None = None,
    vmax: float | None = None,
) -> None:
    """Show pixels or blocks of a slice on the axes of its pixels, cropped to the legs."""
    step = found.step if in_blocks else (1, 1)
    rows, columns = pixels.shape[0] * step[0], pixels.shape[1] * step[1]
    top = vmax or (
        np.percentile(pixels, 99.7) if pixels.dtype.kind == "f" else max(1, pixels.max())
    )
    axis.imshow(
        pixels,
        vmin=0,
        vmax=top,
        cmap=cmap,
        aspect=image.spacing_mm[0] / image.spacing_mm[1],
        interpolation="nearest",
        extent=(0, columns, rows, 0),
    )
    inside = np.flatnonzero(found.filled.any(axis=1)) * found.step[0]
    if inside.size:
        room = image.pixels.shape[0] // 25
        axis.set_ylim(min(rows, inside[-1] + found.step[0] + room), max(0, inside[0] - room))
    axis.axis("off")


def _seam(axis: Axes, found: Located) -> None:
    if found.seam is not None:
        rows = (np.arange(len(found.seam)) + 0.5) * found.step[0]
        axis.plot((found.seam + 0.5) * found.step[1], rows, color="white", linewidth=1)


def _rectangles(axis: Axes, found: Located) -> None:
    for side, (row0, col0, row1, col1) in found.boxes.items():
        size = (col1 - col0, row1 - row0)
        frame = Rectangle((col0, row0), *size, fill=False, edgecolor=_SIDES[side], linewidth=1.3)
        axis.add_patch(frame)
