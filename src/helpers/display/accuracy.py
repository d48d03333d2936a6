"""Figures of the thigh paper's results: measures of each reader, ROC curve, DMD against BMD."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from helpers import display
from helpers.display import PALETTE

_PRINTED = ("published", "recomputed")
_MARKERS = {"published": "D", "recomputed": "s", "phantom": "o", "your data": "o"}


def measures(table: pd.DataFrame, *, names: dict[str, str]) -> Figure:
    """Draw each measure's estimate and interval in a panel, one row a rater.

    Parameters
    ----------
    table : DataFrame
        rater, evidence, measure, estimate, low, high; raters in the order to show.
    names : dict of str to str
        Panel title by measure, in order; two rows of three panels.

    Returns
    -------
    Figure
        Dots without an interval where none is known, nothing where the measure is undefined.
    """
    figure, axes = display.figure(nrows=2, ncols=3, height=5.0, sharey=True)
    raters = list(dict.fromkeys(table["rater"]))
    printed = table.loc[table["evidence"].isin(_PRINTED), "rater"].nunique()
    for axis, (measure, name) in zip(axes.flat, names.items(), strict=True):
        rows = table[table["measure"] == measure]
        _dots(axis, rows, [-raters.index(rater) for rater in rows["rater"]])
        axis.set_title(name, loc="left")
        axis.axhline(0.5 - printed, color="#999999", linewidth=0.8)
        axis.grid(axis="x", color="#dddddd", linewidth=0.6)
        if measure.startswith("lr_"):
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.minorticks_off()
    axes[0, 0].set_yticks([-n for n in range(len(raters))], raters)
    axes[0, 0].set_ylim(0.6 - len(raters), 0.6)
    figure.legend(handles=_evidence_handles(table), loc="outside lower center", ncols=3)
    return figure


def roc(
    curve: pd.DataFrame, band: pd.DataFrame, points: pd.DataFrame, *, name: str = "ResNet50"
) -> Figure:
    """Draw a ROC curve with its band and the operating points of readers and of the paper.

    Parameters
    ----------
    curve : DataFrame
        false_positive_rate and sensitivity.
    band : DataFrame
        false_positive_rate, low and high of sensitivity.
    points : DataFrame
        name, evidence, sensitivity, specificity and mean (True for an average of readers).
    name : str
        The model, for the legend.

    Returns
    -------
    Figure
    """
    figure, axis = display.figure(height=4.2)
    axis.fill_between(
        band["false_positive_rate"],
        band["low"],
        band["high"],
        color=PALETTE["light"],
        alpha=0.35,
        linewidth=0,
        label="95 % band, cases resampled",
    )
    x, y = curve["false_positive_rate"], curve["sensitivity"]
    axis.plot(x, y, color=PALETTE["model"], linewidth=1.8, label=name)
    axis.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":", label="chance")
    for row, colour in zip(points.itertuples(), _point_colours(points), strict=True):
        marker = "^" if row.mean else _MARKERS[row.evidence]
        face = colour if row.evidence not in _PRINTED else "white"
        axis.plot(
            1 - row.specificity,
            row.sensitivity,
            zorder=4 if row.evidence in _PRINTED else 3,
            marker=marker,
            markersize=9 if row.mean else 7,
            markerfacecolor=face,
            markeredgecolor=colour,
            markeredgewidth=1.6,
            linestyle="none",
            clip_on=False,
            label=row.name,
        )
    axis.set(xlabel="1 − specificity", ylabel="Sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axis.set_aspect("equal")
    figure.legend(loc="outside right center")
    return figure


def called(table: pd.DataFrame) -> Figure:
    """Draw how many images of each group were called dystrophinopathy.

    Parameters
    ----------
    table : DataFrame
        source (panel title), group, called and n (numbers of images).

    Returns
    -------
    Figure
        One panel a source, one bar a group, counts written in the bars.
    """
    sources = list(dict.fromkeys(table["source"]))
    figure, axes = display.figure(ncols=len(sources), height=2.6, sharey=True, squeeze=False)
    for axis, source in zip(axes[0], sources, strict=True):
        rows = table[table["source"] == source]
        missed = rows["n"] - rows["called"]
        share = rows["called"] / rows["n"].where(rows["n"] > 0)
        bars = axis.barh(rows["group"], share, color=PALETTE["dystrophinopathy"], height=0.6)
        rest = axis.barh(rows["group"], 1 - share, left=share, color=PALETTE["control"], height=0.6)
        for drawn, numbers in ((bars, rows["called"]), (rest, missed)):
            text = [str(number) if number else "" for number in numbers]
            axis.bar_label(drawn, text, label_type="center", color="white", weight="bold")
        axis.set(title=source, xlabel="Share of the group's images", xlim=(0, 1))
    axes[0, 0].invert_yaxis()
    handles = [bars, rest]
    labels = ["called dystrophinopathy", "called another disease"]
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def severity(images: pd.DataFrame, shares: pd.DataFrame, *, threshold: float = 0.5) -> Figure:
    """Draw probability against true fat fraction, and sensitivity by severity.

    Parameters
    ----------
    images : DataFrame
        One row a leg image: group, fat_fraction (0 to 1), probability.
    shares : DataFrame
        group (range of fat fraction), n, estimate, low, high.
    threshold : float
        Called dystrophinopathy from this probability on.

    Returns
    -------
    Figure
    """
    figure, (left, right) = display.figure(ncols=2, height=3.0)
    colours = (PALETTE["control"], PALETTE["dystrophinopathy"], PALETTE["accent"])
    groups = dict(zip(("other disease", "DMD", "BMD"), colours, strict=True))
    for (group, colour), marker in zip(groups.items(), ".o^", strict=True):
        rows = images[images["group"] == group]
        x, y = 100 * rows["fat_fraction"], rows["probability"]
        left.plot(x, y, marker, color=colour, markersize=5, alpha=0.8, label=group)
    left.axhline(threshold, color="#999999", linewidth=1, linestyle=":")
    left.set(xlabel="True mean fat fraction of the leg (%)", ylabel="Predicted probability")
    left.set(xlim=(0, 100), ylim=(-0.03, 1.03))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=3)
    _dots(right, shares.assign(evidence="phantom"), [-n for n in range(len(shares))])
    labels = [f"{row.group}  (n = {row.n})" for row in shares.itertuples()]
    right.set_yticks([-n for n in range(len(shares))], labels)
    right.set_title("By fat fraction of the leg", loc="left")
    right.set(xlabel="Sensitivity", xlim=(-0.02, 1.02), ylim=(0.6 - len(shares), 0.6))
    return figure


def _dots(axis: Axes, rows: pd.DataFrame, heights: list[int]) -> None:
    for row, height in zip(rows.itertuples(), heights, strict=True):
        colour = PALETTE[row.evidence]
        if np.isfinite(row.low) and np.isfinite(row.high):
            axis.plot([row.low, row.high], [height, height], color=colour, linewidth=1.8)
        axis.plot(
            row.estimate,
            height,
            marker=_MARKERS[row.evidence],
            markersize=6,
            markeredgecolor=colour,
            markerfacecolor="white" if row.evidence in _PRINTED else colour,
            markeredgewidth=1.5,
        )


def _evidence_handles(table: pd.DataFrame) -> list:
    handles = []
    for evidence in dict.fromkeys(table["evidence"]):
        colour = PALETTE[evidence]
        face = "white" if evidence in _PRINTED else colour
        options = {"marker": _MARKERS[evidence], "markerfacecolor": face, "markeredgewidth": 1.5}
        handles.append(Line2D([], [], color=colour, label=evidence, **options))
    return handles


def _point_colours(points: pd.DataFrame) -> list[str]:
    return [
        PALETTE["published" if row.evidence in _PRINTED else "reader"]
        for row in points.itertuples()
    ]


def readable(table: pd.DataFrame, *, names: dict[str, str], digits: int = 3) -> pd.DataFrame:
    """Format estimates and intervals as a page's table shows them.

    Parameters
    ----------
    table : DataFrame
        measure, estimate, low, high, method and any column before them, kept as it is.
    names : dict of str to str
        Measures to show and how to name them, in order.
    digits : int
        Significant digits.

    Returns
    -------
    DataFrame
        Columns kept, then Measure, Estimate, 95 % interval, Method.

    Examples
    --------
    >>> table = pd.DataFrame({"measure": ["ppv"], "estimate": [0.85364], "low": [np.nan],
    ...                       "high": [np.nan], "method": ["none"]})
    >>> readable(table, names={"ppv": "PPV"}).iloc[0].tolist()
    ['PPV', '0.854', '–', 'none']
    """
    rows = table[table["measure"].isin(names)].reset_index(drop=True)
    order = rows["measure"].map(list(names).index).sort_values(kind="stable").index
    rows = rows.loc[order]
    limits = zip(rows["low"], rows["high"], strict=True)
    spans = [f"{_text(a, digits)} to {_text(b, digits)}" if a == a else "–" for a, b in limits]
    shown = rows[[name for name in ("Rater", "Evidence", "group") if name in rows]].copy()
    shown["Measure"] = rows["measure"].map(names)
    shown["Estimate"] = [_text(value, digits) for value in rows["estimate"]]
    return shown.assign(**{"95 % interval": spans, "Method": rows["method"]})


def readable_shares(table: pd.DataFrame) -> pd.DataFrame:
    """Format the shares called dystrophinopathy as a page's table shows them.

    Parameters
    ----------
    table : DataFrame
        As :func:`helpers.inference.share_called` returns it.

    Returns
    -------
    DataFrame
        Columns before ``group`` as they are, then Group, Called, Images, Share, 95 % interval,
        Method; per cent with one decimal.

    Examples
    --------
    >>> row = {"group": ["BMD"], "called": [81], "n": [98], "estimate": [0.82653], "low": [0.7397],
    ...        "high": [0.8889], "method": ["Wilson"]}
    >>> readable_shares(pd.DataFrame(row)).iloc[0, 3:].tolist()
    ['82.7 %', '74.0 to 88.9 %', 'Wilson']
    """
    limits = zip(table["low"], table["high"], strict=True)
    shown = table.loc[:, :"group"].iloc[:, :-1].to_dict("series") | {
        "Group": table["group"].astype(str),
        "Called": table["called"],
        "Images": table["n"],
        "Share": [f"{100 * v:.1f} %" if v == v else "undefined" for v in table["estimate"]],
        "95 % interval": [
            f"{100 * a:.1f} to {100 * b:.1f} %" if a == a else "–" for a, b in limits
        ],
        "Method": table["method"],
    }
    return pd.DataFrame(shown)


def _text(value: float, digits: int) -> str:
    return f"{value:#.{digits}g}".rstrip(".") if np.isfinite(value) else "undefined"
