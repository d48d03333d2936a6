"""Figures of how the legs are found in a slice, and how well."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from helpers import display
from helpers.display import PALETTE
from helpers.images import SliceImage
from helpers.roi import Located

_SIDES = {"right": PALETTE["accent"], "left": PALETTE["light"]}


def steps(image: SliceImage, found: Located) -> Figure:
    """Draw every step from the slice to the two windows.

    Parameters
    ----------
    image : SliceImage
        The slice.
    found : Located
        What :func:`helpers.roi.locate_legs` returned for it.

    Returns
    -------
    Figure
        Six panels.
    """
    figure, axes = display.figure(nrows=2, ncols=3, height=3.6)
    smoothed, above, filled, parts, profile, windows = axes.flat
    for axis, pixels, title in (
        (smoothed, found.smoothed, "1 smoothed"),
        (above, found.foreground, "2 above Otsu's threshold"),
        (filled, found.filled, "3 holes filled"),
        (parts, found.parts, "4 largest connected parts"),
    ):
        _show(axis, pixels, image, rows=_rows(found))
        axis.set_title(title, loc="left")
    profile.fill_between(np.arange(len(found.profile)), found.profile, color="#999999", linewidth=0)
    if found.cut_column is not None:
        profile.axvline(found.cut_column, color=PALETTE["control"], linestyle="--")
    profile.set(xlabel="column (pixels)", ylabel="foreground (pixels)")
    profile.set_title("5 bridge, if any", loc="left")
    _show(windows, image.pixels, image, rows=_rows(found))
    _rectangles(windows, found)
    windows.set_title("6 windows", loc="left")
    return figure


def excluded(titles: list[str], slices: list[SliceImage], found: list[Located]) -> Figure:
    """Draw slices that were left out, each above its column profile.

    Parameters
    ----------
    titles : list of str
        One a slice.
    slices : list of SliceImage
        Slices.
    found : list of Located
        In the same order.

    Returns
    -------
    Figure
        The narrowest column is dashed; a sentence when nothing was left out.
    """
    if not slices:
        figure, axis = display.figure(height=1.0)
        axis.axis("off")
        axis.text(0.5, 0.5, "No slice of this cohort was left out.", ha="center", va="center")
        return figure
    options = {"height_ratios": [2, 1], "squeeze": False, "sharey": "row"}
    figure, axes = display.figure(nrows=2, ncols=len(slices), height=2.8, **options)
    for (above, below), title, image, one in zip(axes.T, titles, slices, found, strict=True):
        _show(above, image.pixels, image, rows=_rows(one))
        above.set_title(title, loc="left")
        columns = np.arange(len(one.profile))
        below.fill_between(columns, one.profile, color="#999999", linewidth=0)
        if one.cut_column is not None:
            below.axvline(one.cut_column, color=PALETTE["control"], linestyle="--")
        below.set_xlabel("column (pixels)")
    axes[1, 0].set_ylabel("foreground\n(pixels)")
    return figure


def overlaps(compared: pd.DataFrame) -> Figure:
    """Draw the distribution of overlap with the true box and of the share covered.

    Parameters
    ----------
    compared : DataFrame
        From :func:`helpers.roi.against_truth`.

    Returns
    -------
    Figure
        Two histograms; a sentence when there is no truth.
    """
    figure, axes = display.figure(ncols=2, height=2.6, sharey=True)
    for axis, column, label in zip(
        axes,
        ("overlap", "covered"),
        ("intersection over union", "share of the true box inside the window"),
        strict=True,
    ):
        values = compared[column].dropna().astype(float)
        lowest = min(0.8, values.min()) if len(values) else 0.8
        axis.hist(values, np.linspace(lowest, 1, 41), color=PALETTE["phantom"])
        axis.set(xlabel=label, xlim=(lowest, 1.005))
        if values.empty:
            axis.text(0.5, 0.5, "no truth is known", ha="center", transform=axis.transAxes)
    axes[0].set_ylabel("leg images")
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


def _rows(found: Located) -> tuple[int, int]:
    """Rows to show: the legs and some room for the names of the windows."""
    rows = np.flatnonzero(found.filled.any(axis=1))
    room = found.filled.shape[0] // 11
    return (rows[-1] + room, rows[0] - room) if rows.size else (found.filled.shape[0], 0)


def _show(axis: Axes, pixels: np.ndarray, image: SliceImage, *, rows: tuple[int, int]) -> None:
    ratio = image.spacing_mm[0] / image.spacing_mm[1]
    top = np.percentile(pixels, 99.7) if pixels.dtype.kind == "f" else max(1, pixels.max())
    axis.imshow(pixels, vmin=0, vmax=top, aspect=ratio, interpolation="nearest")
    axis.set_ylim(rows)
    axis.axis("off")


def _rectangles(axis: Axes, found: Located) -> None:
    for side, (row0, col0, row1, col1) in found.boxes.items():
        size = (col1 - col0, row1 - row0)
        frame = Rectangle((col0, row0), *size, fill=False, edgecolor=_SIDES[side], linewidth=1.5)
        axis.add_patch(frame)
        axis.text(col0, row0 - 4, side, color=_SIDES[side], fontsize=9)
