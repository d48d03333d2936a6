"""The figure that sets a cohort's slices beside public real scans."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers.display import PAGE_WIDTH, PALETTE, plt
from helpers.realism import COHORT, MEASURES

_COLOURS = ("accent", "control", "light")
_SHOWN = (
    *("width", "height", "width over height", "area", "gap"),
    *("skin edge", "fat to muscle edge", "contrast in 3 mm", "contrast in 12 mm", "noise in air"),
)


def gap(compared: pd.DataFrame, *, label: str = "phantom") -> Figure:
    """Draw what was measured in a cohort's slices beside the same of public real scans.

    Parameters
    ----------
    compared : DataFrame
        From :func:`helpers.realism.beside_real`.
    label : str
        Evidence label of the cohort.

    Returns
    -------
    Figure
        Above, intensities; below, one panel a measure. Points are medians over legs, lines
        and bands run from the 10th to the 90th percentile.
    """
    real = [name for name in compared.volume.unique() if name != COHORT]
    colours = {
        COHORT: PALETTE[label],
        **dict(zip(real, (PALETTE[c] for c in _COLOURS), strict=True)),
    }
    names = {COHORT: label, **{name: f"real: {name}" for name in real}}
    figure = plt.figure(figsize=(PAGE_WIDTH, 5.6), layout="constrained")
    grid = figure.add_gridspec(3, 5, height_ratios=[1.5, 1, 1])
    _intensities(figure.add_subplot(grid[0, :]), compared, colours)
    for place, name in enumerate(_SHOWN):
        axis = figure.add_subplot(grid[1 + place // 5, place % 5])
        _measure(axis, compared[compared.measure == name], colours)
        axis.set_title(name, loc="left", fontsize=9)
        axis.set_xlabel(MEASURES[name])
    handles = [plt.Line2D([], [], color=colours[name], marker="o") for name in names]
    figure.legend(handles, names.values(), loc="outside lower center", ncols=2)
    return figure


def _intensities(axis: Axes, compared: pd.DataFrame, colours: dict[str, str]) -> None:
    classes = compared[compared.measure.str.startswith("intensity ")]
    for volume, rows in classes.groupby("volume", sort=False):
        low = rows.measure.str.removeprefix("intensity ").astype(float)
        axis.step(low, 100 * rows.p50, where="post", color=colours[volume])
        band = {"step": "post", "color": colours[volume], "alpha": 0.2, "linewidth": 0}
        axis.fill_between(low, 100 * rows.p10, 100 * rows.p90, **band)
    axis.set(
        xlim=(0, 1.5), xlabel="intensity (subcutaneous fat = 1)", ylabel="pixels of the leg (%)"
    )
    axis.set_ylim(bottom=0)
    axis.set_title("intensity", loc="left", fontsize=9)


def _measure(axis: Axes, rows: pd.DataFrame, colours: dict[str, str]) -> None:
    for height, row in enumerate(rows.itertuples()):
        axis.plot([row.p10, row.p90], [-height] * 2, color=colours[row.volume])
        axis.plot(row.p50, -height, "o", color=colours[row.volume], markersize=5)
    axis.set(yticks=[], ylim=(-3.5, 0.5))
    axis.set_xlim(left=0.7 if rows.unit.iat[0] == "ratio" else 0)
    axis.locator_params(axis="x", nbins=3)
