"""Figures and tables of where the brain network looks, beside maps that learnt nothing."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from helpers import display
from helpers.display import PALETTE

#: Names of the kinds of map as pages print them.
NAMES = {
    **{f"mean conv{k}": f"mean map, layer {k}" for k in (1, 2, 3, 4)},
    **{f"difference conv{k}": f"patients − controls, layer {k}" for k in (1, 2, 3)},
    "gradient x input": "gradient × input",
    "occlusion": "occlusion",
    "voxel difference": "voxel difference",
    "planted change itself": "planted change itself",
}
NETWORKS = {"trained": "trained", "random weights": "random weights", "none": "no network"}
_RAISED, _LOWERED, _PLANTED = "#FF8C1A", "#4FB3F6", "#20E0A0"
_MARKS = {
    "trained": dict(marker="o", color=PALETTE["patient"]),
    "random weights": dict(marker="o", color=PALETTE["published"], markerfacecolor="white"),
    "none": dict(marker="D", color=PALETTE["control"]),
}
_MEASURES = {
    "enrichment": "Enrichment",
    "dice": "Dice",
    "distance_mm": "Distance of centres, mm",
}


def sections(rows: list[dict], *, space: str = "Talairach") -> Figure:
    """Draw thresholded maps on axial and sagittal sections, networks side by side.

    Parameters
    ----------
    rows : list of dict
        From :func:`helpers.brain_views.pictures`.
    space : str
        What the mm on the sections are.

    Returns
    -------
    Figure
        One row a kind of map; on the left the trained network (or none), on the right the one
        with random weights.
    """
    kinds = list(dict.fromkeys(row["map"] for row in rows))
    figure, axes = display.figure(
        nrows=len(kinds), ncols=2, height=0.85 + 0.92 * len(kinds), squeeze=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for line, kind in zip(axes, kinds, strict=True):
        place = dict(transform=line[0].transAxes, ha="right", va="center", fontsize=8.5)
        line[0].text(-0.02, 0.5, _two_lines(NAMES[kind]), **place)
        for row in (row for row in rows if row["map"] == kind):
            axis = line[1 if row["network"] == "random weights" else 0]
            _strip(axis, row["sections"], row["enrichment"])
    axes[0, 0].set_title("trained network", fontweight="bold")
    axes[0, 1].set_title("random weights", fontweight="bold")
    if "voxel difference" in kinds:
        words = "← no network:\nCohen's d of each voxel"
        axes[-1, 1].text(0.02, 0.5, words, transform=axes[-1, 1].transAxes, va="center")
    _section_legend(figure, rows, space)
    return figure


def localisation(long: pd.DataFrame, here: pd.DataFrame) -> Figure:
    """Draw how well each kind of map meets the planted regions.

    Parameters
    ----------
    long : DataFrame
        ``effect``, map, network, measure, estimate, low, high: means over seeds of the long run
        with intervals, as :func:`helpers.brain_maps.over_seeds` gives them; may be empty.
    here : DataFrame
        ``effect``, map, network and a column a measure: this run's own networks.

    Returns
    -------
    Figure
        One row of panels an effect, one column a measure.
    """
    effects = list(dict.fromkeys([*long["effect"], *here["effect"]])) or ["no planted regions"]
    # The planted change itself would squeeze the rest; it stands in the table.
    kinds = [k for k in list(NAMES)[:-1] if k in {*long["map"], *here["map"]}]
    long, here = (table[table["map"].isin(kinds)] for table in (long, here))
    figure, axes = display.figure(
        nrows=len(effects),
        ncols=len(_MEASURES),
        height=1.0 + (0.5 + 0.24 * len(kinds)) * len(effects),
        sharey=True,
        sharex="col",
        squeeze=False,
    )
    for line, effect in zip(axes, effects, strict=True):
        for axis, measure in zip(line, _MEASURES, strict=True):
            part = long[(long["effect"] == effect) & (long["measure"] == measure)]
            _intervals(axis, part, kinds)
            _crosses(axis, here[here["effect"] == effect], measure, kinds)
            if measure == "enrichment":
                axis.axvline(1, color="#999999", linestyle=":", linewidth=1)
            axis.grid(axis="y", color="#eeeeee")
        line[0].set_title(effect, loc="left", fontweight="bold")
    for axis, label in zip(axes[-1], _MEASURES.values(), strict=True):
        axis.set_xlabel(label, fontsize=9)
        axis.set_xlim(left=0)
    axes[0, 0].set_yticks(range(len(kinds)), [NAMES[kind] for kind in kinds])
    axes[0, 0].set_ylim(max(len(kinds), 1) - 0.5, -0.5)
    _score_legend(figure, not long.empty)
    return figure


def readable_scores(table: pd.DataFrame) -> pd.DataFrame:
    """Return this run's scores as a page shows them.

    Parameters
    ----------
    table : DataFrame
        From :func:`helpers.brain_views.measured`.

    Returns
    -------
    DataFrame
        One row a kind of map; for each series the three measures as "trained | random".
    """
    if table.empty:
        return pd.DataFrame(columns=["Map", "Enrichment"])
    shown = []
    for kind in dict.fromkeys(table["map"]):
        row = {"Map": NAMES[kind]}
        for series, part in table[table["map"] == kind].groupby("series", sort=False):
            by = part.set_index("network")
            for measure, digits in (("enrichment", 1), ("dice", 2), ("distance_mm", 0)):
                name = f"{measure.removesuffix('_mm').capitalize()}, {series}"
                row[name] = " | ".join(_number(v, digits) for v in by[measure])
        shown.append(row)
    return pd.DataFrame(shown)


def readable_clusters(table: pd.DataFrame) -> pd.DataFrame:
    """Return clusters as a page shows them.

    Parameters
    ----------
    table : DataFrame
        From :func:`helpers.brain_views.found_clusters`.

    Returns
    -------
    DataFrame
        Map, volume, centre in both spaces, peak, nearest planted region and its distance; a
        dash where the grid is no atlas.
    """
    columns = {
        "Map": [NAMES[kind] for kind in table["map"]],
        "Volume, cm³": [f"{v / 1000:.1f}" for v in table["volume_mm3"]],
        "Centre, MNI": [_point(p, n) for p, n in _known(table, "centre_mni")],
        "Centre, Talairach": [_point(p, n) for p, n in _known(table, "centre_talairach")],
        "Peak, Talairach": [_point(p, n) for p, n in _known(table, "peak_talairach")],
        "Nearest planted centre": [name or "–" for name in table["nearest"]],
        "mm to it": [_number(value, 0) for value in table["distance_mm"]],
    }
    return pd.DataFrame(columns)


def _strip(axis: Axes, sections: list[dict], enrichment: float) -> None:
    """Draw sections side by side on black, each with its place in mm."""
    height = max(section["scan"].shape[0] for section in sections)

    def joined(name: str) -> np.ndarray:
        parts = []
        for section in sections:
            spare = height - section[name].shape[0]
            parts.append(np.pad(section[name], ((spare // 2, spare - spare // 2), (2, 2))))
        return np.concatenate(parts, axis=1)

    axis.imshow(joined("scan"), vmin=0, vmax=1)
    over = np.ma.masked_equal(joined("chosen"), 0)
    axis.imshow(over, cmap=ListedColormap([_LOWERED, _RAISED]), vmin=-1, vmax=1, alpha=0.75)
    planted = joined("planted")
    if planted.max() > 0.5:
        axis.contour(planted, [0.5], colors=[_PLANTED], linewidths=0.8)
    start, small = 0, dict(color="white", fontsize=7)
    for section in sections:
        text = f"{section['axis']} {section['place']:.0f}".replace("-", "−")
        axis.text(start + 6, height - 4, text, va="bottom", **small)
        start += section["scan"].shape[1] + 4
    if np.isfinite(enrichment):
        axis.text(start - 6, 6, f"×{enrichment:.1f}", ha="right", va="top", **small)


def _section_legend(figure: Figure, rows: list[dict], space: str) -> None:
    handles = [Patch(color=_RAISED, label="among the most active")]
    if any((s["chosen"] < 0).any() for row in rows for s in row["sections"]):
        handles[0].set_label("most active, higher in patients")
        handles.append(Patch(color=_LOWERED, label="most active, lower in patients"))
    if any(s["planted"].max() > 0.5 for row in rows for s in row["sections"]):
        handles.append(Line2D([], [], color=_PLANTED, label="planted region"))
        handles.append(Line2D([], [], linestyle="none", marker="$×$", color="black"))
        handles[-1].set_label("enrichment")
    handles.append(Line2D([], [], linestyle="none", label=f"x, z: {space} mm"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)


def _intervals(axis: Axes, part: pd.DataFrame, kinds: list[str]) -> None:
    for row in part.itertuples():
        place = kinds.index(row.map) + {"trained": -0.16, "random weights": 0.16}.get(
            row.network, 0
        )
        error = [[row.estimate - row.low], [row.high - row.estimate]]
        error = None if np.isnan(row.low) else error
        axis.errorbar(row.estimate, place, xerr=error, **_MARKS[row.network], markersize=4.5)


def _crosses(axis: Axes, here: pd.DataFrame, measure: str, kinds: list[str]) -> None:
    for row in here.dropna(subset=[measure] if measure in here else None).itertuples():
        place = kinds.index(row.map) + {"trained": -0.16, "random weights": 0.16}.get(
            row.network, 0
        )
        color = _MARKS[row.network]["color"]
        axis.plot(getattr(row, measure), place, "x", color=color, markersize=5, mew=1.3)


def _score_legend(figure: Figure, long: bool) -> None:
    handles = [
        Line2D([], [], linestyle="none", **style, label=NETWORKS[name])
        for name, style in _MARKS.items()
    ]
    mark = Line2D([], [], linestyle="none", marker="x", color="black", label="this run")
    line = Line2D([], [], color="#999999", linestyle=":", label="chance")
    figure.legend(handles=[*handles, mark, line], loc="outside lower center", ncols=5)
    if not long:
        for handle in handles:
            handle.set_marker("x")


def _two_lines(name: str) -> str:
    return name.replace(", ", ",\n").replace(" difference", "\ndifference").replace(" × ", " ×\n")


def _known(table: pd.DataFrame, column: str) -> list[tuple]:
    named = table["nearest"].notna()
    return list(zip(table[column], named, strict=True))


def _point(point: tuple | None, known: bool) -> str:
    return (
        ", ".join(
            f"{v:.0f}".replace("-0", "0") if round(v) == 0 else f"{v:.0f}" for v in point
        ).replace("-", "−")
        if known
        else "–"
    )


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"
