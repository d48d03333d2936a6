"""Figures of who is in the thigh cohort and what its slices look like."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from helpers import display
from helpers.display import PALETTE
from helpers.images import SliceImage

_GROUPS = {1: "dystrophinopathy", 0: "control"}


def examples(titles: list[str], slices: list[SliceImage]) -> Figure:
    """Draw whole slices, two in a row, each in its own grey scale.

    Parameters
    ----------
    titles : list of str
        One a slice.
    slices : list of SliceImage
        In radiological display convention.

    Returns
    -------
    Figure
        Cut to the rows that hold signal; the patient's right is marked.
    """
    rows = -(-len(slices) // 2)
    figure, axes = display.figure(nrows=rows, ncols=2, height=2.05 * rows, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, title, image in zip(axes.flat, titles, slices, strict=False):
        ratio = image.spacing_mm[0] / image.spacing_mm[1]
        top = np.percentile(image.pixels, 99.7)
        axis.imshow(image.pixels, vmin=0, vmax=top, aspect=ratio)
        bright = np.flatnonzero(image.pixels.max(axis=1) > 0.35 * top)
        axis.set_ylim(bright[-1] + 6, bright[0] - 6)
        axis.set_title(title, loc="left")
        axis.text(0.01, 0.03, "R", color="white", transform=axis.transAxes, fontsize=9)
    return figure


def ages(cases: pd.DataFrame) -> Figure:
    """Draw age against disease course, and the ages of both groups.

    Parameters
    ----------
    cases : DataFrame
        ``cases.csv``.

    Returns
    -------
    Figure
        Points on the left, histograms over 5-year classes on the right.
    """
    figure, (left, right) = display.figure(ncols=2, height=3.0)
    classes = np.arange(0, 5 * np.ceil(cases.age_years.max() / 5) + 5, 5)
    for value, marker in ((0, "s"), (1, "o")):
        group = cases[cases.dystrophinopathy == value]
        name, colour = _GROUPS[value], PALETTE[_GROUPS[value]]
        left.scatter(
            group.age_years,
            group.disease_course_years,
            s=14,
            marker=marker,
            color=colour,
            alpha=0.7,
            linewidths=0,
            label=name,
        )
        right.hist(
            group.age_years,
            classes,
            weights=np.full(len(group), 100 / max(1, len(group))),
            histtype="stepfilled",
            facecolor=colour,
            edgecolor=colour,
            alpha=0.5,
        )
    left.set(xlabel="age (years)", ylabel="disease course (years)")
    right.set(xlabel="age (years)", ylabel="share of the group (%)")
    right.legend(*left.get_legend_handles_labels(), loc="upper right")
    return figure


def flow(table: pd.DataFrame) -> Figure:
    """Draw what was given, what was set aside, and who is in each split.

    Parameters
    ----------
    table : DataFrame
        From :func:`helpers.cohort.flow`.

    Returns
    -------
    Figure
        A box for the cohort and one for each split; above them, where something was set aside,
        one with the reasons.
    """
    aside = _aside(table)
    top = 0.85 if aside else 0.0
    figure, axis = display.figure(height=3.2 + 1.25 * top)
    axis.set(xlim=(0, 3), ylim=(0, 2.35 + top))
    axis.axis("off")
    arrow = {"arrowstyle": "-|>", "color": "#444444"}
    if aside:
        lost = int(table.cases_lost.sum())
        given = f"Given\n{int(table.cases.sum()) + lost:,} cases"
        _box(axis, 1.0, 2.65, given, height=0.5, bold=True)
        _box(axis, 2.0, 2.35, "Set aside\n" + "\n".join(aside), height=0.8)
        axis.annotate("", (1.5, 2.27), (1.5, 2.65), arrowprops=arrow)
        axis.annotate("", (2.04, 2.46), (1.5, 2.46), arrowprops=arrow)
    _box(axis, 1.0, 1.57, f"Cohort\n{_line(table)}", height=0.7, bold=True)
    for i, (split, rows) in enumerate(table.groupby("split", sort=False)):
        parts = [f"{_GROUPS[r.dystrophinopathy]}: {r.cases:,} cases" for r in rows.itertuples()]
        if table.not_separable.any():
            parts.append(f"pressed legs: {rows.not_separable.sum():,} slices")
        text = f"{split.capitalize()}\n{_line(rows)}\n" + "\n".join(parts)
        _box(axis, i, 0.02, text, height=1.15)
        axis.annotate("", (i + 0.5, 1.17), (1.5, 1.57), arrowprops=arrow)
    return figure


def _aside(table: pd.DataFrame) -> list[str]:
    """Return a line for each reason for which something was set aside."""
    words = {
        "no_pixels": "cannot be read",
        "not_admitted": "not two thighs in T1",
        "copies": "copy of another slice",
        "cases_lost": "case without a slice left",
    }
    totals = {name: int(table[name].sum()) for name in words}
    return [f"{words[name]}: {n:,}" for name, n in totals.items() if n]


def _line(rows: pd.DataFrame) -> str:
    total = rows[["cases", "slices", "legs"]].sum()
    return f"{total.cases:,} cases\n{total.slices:,} slices, {total.legs:,} legs"


def _box(axis: Axes, x: float, y: float, text: str, *, height: float, bold: bool = False) -> None:
    shape = FancyBboxPatch(
        (x + 0.04, y),
        0.92,
        height,
        boxstyle="round,pad=0,rounding_size=0.05",
        facecolor="#e8e8e8" if bold else "#f6f6f6",
        edgecolor="#666666",
    )
    axis.add_patch(shape)
    axis.text(x + 0.5, y + height / 2, text, ha="center", va="center", fontsize=9, linespacing=1.5)
