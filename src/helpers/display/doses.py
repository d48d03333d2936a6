"""Figures of the long experiments: accuracy against planted effect, and whether it is real."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from helpers import display, doses
from helpers.display import PALETTE

POSE_NAMES = {"registered": "heads registered", "as_scanned": "heads as they lie in the scanner"}
MEASURE_NAMES = {"accuracy": "accuracy, balanced", "auc": "area under the ROC curve"}
_NETWORK, _SIMPLE, _CEILING = PALETTE["model"], PALETTE["control"], PALETTE["phantom"]
_BAND, _TOLD = PALETTE["accent"], PALETTE["light"]
_OWN = {
    "marker": "D",
    "markerfacecolor": "white",
    "markeredgecolor": PALETTE["patient"],
    "markersize": 6,
}
_PLAIN = {"color": _SIMPLE, "linewidth": 0.9, "alpha": 0.65}
#: Rows of the confounded run: detail, measure, what the page calls it.
_SITE_ROWS = (
    ("site", "auc", "tells the site: area"),
    ("diagnosis, sites as learnt", "auc", "diagnosis, sites\nas in training: area"),
    ("diagnosis, sites as learnt", "sensitivity", "patients alone,\nas published: accuracy"),
    ("diagnosis, sites shared", "auc", "diagnosis, sites\nshared: area"),
)


def dose_response(
    table: pd.DataFrame,
    *,
    published: float,
    demo: pd.DataFrame | None = None,
    reported: tuple[float, float] = doses.REPORTED_D,
) -> Figure:
    """Draw accuracy and area against the planted effect: one column a pose, one row a measure.

    Parameters
    ----------
    table : DataFrame
        From :func:`helpers.doses.read` or :func:`helpers.doses.dose_rows`.
    published : float
        The printed accuracy; drawn where accuracy is.
    demo : DataFrame, optional
        ``effect_d, measure, estimate`` of this run's own networks, open markers; with
        ``pose`` where not registered.
    reported : tuple of float
        Effect sizes reported in dystonia, shaded.

    Returns
    -------
    Figure
    """
    poses = list(POSE_NAMES)
    options = {"sharex": True, "sharey": "row", "squeeze": False}
    figure, axes = display.figure(ncols=len(poses), nrows=2, height=6.6, **options)
    for row, measure in zip(axes, MEASURE_NAMES, strict=True):
        for axis, pose in zip(row, poses, strict=True):
            part = table[(table["pose"] == pose) & (table["measure"] == measure)]
            axis.axvspan(*reported, color=_BAND, alpha=0.18, linewidth=0)
            _learners(axis, part)
            _possible(axis, measure, published)
            _covarying(axis, part)
            _own(axis, demo, pose, measure)
            axis.axhline(0.5, color=PALETTE["published"], linestyle=":", linewidth=1)
            if measure == "accuracy":
                axis.axhline(published, color=PALETTE["published"], linewidth=1)
                axis.set_title(POSE_NAMES[pose], loc="left")
                _name_published(axis, published)
            else:
                axis.set_xlabel("planted effect in each region, Cohen's d")
        row[0].set_ylabel(MEASURE_NAMES[measure])
    axes[0, 0].set(xlim=(-0.08, 3.08), ylim=(0.35, 1.11), yticks=np.linspace(0.4, 1, 7))
    axes[1, 0].set(ylim=(0.35, 1.03))
    _name_band(axes[0, 0], reported)
    _name_lines(figure, own=demo is not None)
    return figure


def checks(table: pd.DataFrame) -> Figure:
    """Draw four checks: chance, site, people trained on, forms not trained on.

    Parameters
    ----------
    table : DataFrame
        From ``helpers.doses.read("brain_checks")`` or :func:`helpers.doses.check_rows`.

    Returns
    -------
    Figure
        A panel a check; one that was not made yet says so.
    """
    drawers = {
        "permutation": _shuffled,
        "confounded": _sites,
        "learning": _people,
        "transfer": _forms,
    }
    figure, axes = display.figure(ncols=2, nrows=2, height=5.8)
    for axis, (name, draw) in zip(axes.flat, drawers.items(), strict=True):
        part = table[table["question"] == name]
        if len(part):
            draw(axis, part)
        else:
            axis.text(0.5, 0.5, "not measured yet", ha="center", color=PALETTE["published"])
            axis.set_axis_off()
    return figure


def _learners(axis: Axes, part: pd.DataFrame) -> None:
    mean = part[part["seed"] == 0].sort_values("effect_d")
    for name in doses.SIMPLE:
        line = mean[mean["model"] == name]
        style = {"color": _TOLD, "linewidth": 1.4} if name == doses.NAMED else _PLAIN
        axis.plot(line["effect_d"], line["estimate"], **style)
    ceiling = mean[mean["model"] == doses.CEILING]
    axis.plot(ceiling["effect_d"], ceiling["estimate"], color=_CEILING, linewidth=1.6)
    network = mean[mean["model"] == doses.NETWORK]
    limits = network[["low", "high"]].to_numpy().T
    axis.fill_between(network["effect_d"], *limits, color=_NETWORK, alpha=0.12, linewidth=0)
    axis.plot(network["effect_d"], network["estimate"], "-o", color=_NETWORK, markersize=4)
    last = mean[mean["model"] == doses.LAST]
    axis.plot(last["effect_d"], last["estimate"], ":", color=_NETWORK, linewidth=1.4)
    single = part[(part["seed"] > 0) & (part["model"] == doses.NETWORK)]
    axis.plot(single["effect_d"], single["estimate"], ".", color=_NETWORK, markersize=3, alpha=0.6)


def _possible(axis: Axes, measure: str, published: float) -> None:
    size = np.linspace(0, 3, 121)
    limit = doses.possible(size, measure=measure)
    axis.plot(size, limit, "--", color=_CEILING, linewidth=1.2)
    if measure == "accuracy":
        takes = doses.needed(published)
        axis.vlines(takes, 0.35, published, color=_CEILING, linestyle=":", linewidth=1)
        text = {"rotation": 90, "ha": "right", "va": "center", "fontsize": 7.5}
        axis.annotate(f"d = {takes:.2f}", (takes - 0.03, 0.69), color=_CEILING, **text)


def _covarying(axis: Axes, part: pd.DataFrame) -> None:
    line = part[part["model"] == doses.PERFECT].sort_values("effect_d")
    axis.plot(line["effect_d"], line["estimate"], "-.", color=_CEILING, linewidth=1.2)


def _own(axis: Axes, demo: pd.DataFrame | None, pose: str, measure: str) -> None:
    if demo is None:
        return
    demo = demo if "pose" in demo else demo.assign(pose="registered")
    part = demo[(demo["pose"] == pose) & (demo["measure"] == measure)]
    axis.plot(part["effect_d"], part["estimate"], linestyle="", zorder=5, **_OWN)


def _name_published(axis: Axes, published: float) -> None:
    grey = {"color": PALETTE["published"], "fontsize": 7.5, "linespacing": 1.1}
    first = f"published {100 * published:.1f} %: of the patients that"
    text = f"{first}\nwere decided; no controls among them"
    offset = {"xytext": (0, 7), "textcoords": "offset points", "ha": "right"}
    axis.annotate(text, (3.05, published), **offset, **grey)


def _name_lines(figure: Figure, *, own: bool) -> None:
    line, words = partial(Line2D, [], []), "perfect reader, regions"
    handles = [
        line(color=_NETWORK, marker="o", markersize=4, label="network (dots: seeds)"),
        line(color=_NETWORK, linestyle=":", label="network, last epoch"),
        line(color=_SIMPLE, linewidth=0.9, label="five simple learners"),
        line(color=_TOLD, linewidth=1.4, label="a sixth, told where to look"),
        line(color=_CEILING, linewidth=1.6, label="learnt from true means"),
        line(color=_CEILING, linestyle="-.", label=f"{words} as here"),
        line(color=_CEILING, linestyle="--", label=f"{words} independent"),
    ]
    if own:
        handles.append(line(linestyle="", label="network of this page", **_OWN))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)


def _name_band(axis: Axes, reported: tuple[float, float]) -> None:
    middle = (sum(reported) / 2, 1.0)
    above = {"xycoords": ("data", "axes fraction"), "xytext": (0, -3), "va": "top"}
    offset = {"textcoords": "offset points", "ha": "center", "fontsize": 7.5}
    axis.annotate("reported\nin dystonia", middle, color="#8a5a00", **above, **offset)


def _shuffled(axis: Axes, part: pd.DataFrame) -> None:
    areas = part.loc[part["seed"] > 0, "estimate"]
    axis.hist(areas, bins=np.arange(0.3, 0.71, 0.02), color=_NETWORK, alpha=0.35)
    mean = part[part["seed"] == 0]
    if len(mean):
        row = mean.iloc[0]
        axis.axvspan(row["low"], row["high"], color=PALETTE["patient"], alpha=0.25, linewidth=0)
        axis.axvline(row["estimate"], color=PALETTE["patient"])
    axis.axvline(0.5, color=PALETTE["published"], linestyle=":", linewidth=1)
    axis.set(xlabel="area under the ROC curve", ylabel="networks")
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.set_title(f"{len(areas)} networks, diagnoses shuffled", loc="left")


def _sites(axis: Axes, part: pd.DataFrame) -> None:
    for place, (detail, measure, _) in enumerate(_SITE_ROWS):
        rows = part[(part["detail"] == detail) & (part["measure"] == measure)]
        rows = rows[rows["model"] == doses.NETWORK]
        mean, single = rows[rows["seed"] == 0], rows[rows["seed"] > 0]
        axis.hlines(-place, mean["low"], mean["high"], color=_NETWORK, linewidth=1.5)
        axis.plot(mean["estimate"], [-place] * len(mean), "o", color=_NETWORK, markersize=5)
        axis.plot(single["estimate"], [-place] * len(single), ".", color=_NETWORK, markersize=3)
    axis.axvline(0.5, color=PALETTE["published"], linestyle=":", linewidth=1)
    axis.set_yticks([-k for k in range(len(_SITE_ROWS))], [row[2] for row in _SITE_ROWS])
    axis.set(xlim=(0.4, 1.02), xlabel="area or accuracy", ylim=(-len(_SITE_ROWS) + 0.4, 0.6))
    axis.set_title("no effect; site told the diagnosis", loc="left")


def _people(axis: Axes, part: pd.DataFrame) -> None:
    mean = part[(part["seed"] == 0) & (part["measure"] == "auc")].sort_values("people")
    for effect_d, style in ((doses.REALISTIC, "--"), (doses.EXAGGERATED, "-")):
        rows = mean[mean["effect_d"] == effect_d]
        if rows.empty:
            continue
        for name in doses.SIMPLE:
            line = rows[rows["model"] == name]
            colour = _TOLD if name == doses.NAMED else _SIMPLE
            axis.plot(line["people"], line["estimate"], style, color=colour, lw=0.9, alpha=0.65)
        line = rows[rows["model"] == doses.NETWORK]
        limits = line[["low", "high"]].to_numpy().T
        axis.fill_between(line["people"], *limits, color=_NETWORK, alpha=0.12, linewidth=0)
        axis.plot(line["people"], line["estimate"], f"{style}o", color=_NETWORK, markersize=4)
        last = line.iloc[-1]
        text = f"d = {effect_d:g}"
        offset = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
        axis.annotate(text, (last["people"], last["estimate"]), fontsize=8, **offset)
    axis.axhline(0.5, color=PALETTE["published"], linestyle=":", linewidth=1)
    axis.set_xscale("log", base=2)
    ticks = sorted(mean["people"].unique())
    axis.set_xticks(ticks, [f"{count:g}" for count in ticks])
    axis.set(xlabel="people trained on", ylabel="area under the ROC curve", ylim=(0.35, 1.02))
    axis.set_xlim(ticks[0] * 0.9, ticks[-1] * 1.6)
    axis.set_title("fewer people to learn from", loc="left")


def _forms(axis: Axes, part: pd.DataFrame) -> None:
    rows = part[(part["model"] == doses.NETWORK) & (part["measure"] == "auc")]
    details = [name for name in ("LD", "CD", "BSP") if name in set(rows["detail"])]
    details += [name for name in rows["detail"].unique() if "half" in name]
    colours = {doses.REALISTIC: _SIMPLE, doses.EXAGGERATED: _NETWORK}
    for place, detail in enumerate(details):
        for shift, (effect_d, colour) in zip((0.12, -0.12), colours.items(), strict=False):
            found = rows[(rows["detail"] == detail) & (rows["effect_d"] == effect_d)]
            mean, single = found[found["seed"] == 0], found[found["seed"] > 0]
            y = shift - place
            axis.hlines([y] * len(mean), mean["low"], mean["high"], color=colour, linewidth=1.5)
            axis.plot(mean["estimate"], [y] * len(mean), "o", color=colour, markersize=5)
            axis.plot(single["estimate"], [y] * len(single), ".", color=colour, markersize=3)
            if place == 0 and len(mean):
                above = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center"}
                at = (mean["estimate"].iloc[0], y)
                axis.annotate(f"d = {effect_d:g}", at, color=colour, fontsize=8, **above)
    axis.axvline(0.5, color=PALETTE["published"], linestyle=":", linewidth=1)
    axis.set_yticks([-k for k in range(len(details))], [_form(name) for name in details])
    axis.set(xlim=(0.35, 1.02), xlabel="area under the ROC curve", ylim=(0.5 - len(details), 0.7))
    axis.set_title("trained on laryngeal alone", loc="left")


def _form(detail: str) -> str:
    short, _, half = detail.partition(", ")
    names = {"LD": "laryngeal", "CD": "cervical", "BSP": "blepharospasm"}
    return f"{names[short]},\neffect in 3 of 6" if half else names[short]
