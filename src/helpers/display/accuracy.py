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
    """Draw each measure's estimate and its nested intervals in a panel, one row a rater.

    Parameters
    ----------
    table : DataFrame
        rater, evidence, kind (of interval), measure, estimate, low, high; raters in the order to
        show, kinds from the narrowest interval to the widest.
    names : dict of str to str
        Panel title by measure, in order; two rows of three panels.

    Returns
    -------
    Figure
        Marks without an interval where none is known, nothing where the measure is undefined.
    """
    figure, axes = display.figure(nrows=2, ncols=3, height=_height(table), sharey=True)
    raters = list(dict.fromkeys(table["rater"]))
    for axis, (measure, name) in zip(axes.flat, names.items(), strict=True):
        rows = table[table["measure"] == measure]
        _nested(axis, rows, {rater: -place for place, rater in enumerate(raters)})
        axis.set_title(name, loc="left")
        axis.grid(axis="x", color="#dddddd", linewidth=0.6)
        if measure.startswith("lr_"):
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.minorticks_off()
    axes[0, 0].set_yticks([-n for n in range(len(raters))], raters)
    axes[0, 0].set_ylim(0.6 - len(raters), 0.6)
    handles = _evidence_handles(table) + _kind_handles(table)
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def roc(
    raters: pd.DataFrame,
    curve: pd.DataFrame,
    band: pd.DataFrame,
    points: pd.DataFrame,
    *,
    label: str,
) -> Figure:
    """Draw the paper's operating points in one panel, this cohort's ROC curve in another.

    Parameters
    ----------
    raters : DataFrame
        Published raters: rater, kind, measure, estimate, low, high. One whose accuracy alone is
        known becomes a line, given the column ``share`` of ill images.
    curve : DataFrame
        false_positive_rate and sensitivity of this cohort.
    band : DataFrame
        false_positive_rate, low and high of sensitivity.
    points : DataFrame
        This cohort's readers: rater, measure, estimate, low, high.
    label : str
        Evidence label of this cohort.

    Returns
    -------
    Figure
    """
    figure, (left, right) = display.figure(ncols=2, height=4.4)
    _printed_points(left, raters)
    left.set_title("The paper (published, recomputed)", loc="left")
    style = {"color": PALETTE["light"], "alpha": 0.35, "linewidth": 0}
    limits = band["false_positive_rate"], band["low"], band["high"]
    right.fill_between(*limits, label="95 % band, people resampled", **style)
    x, y = curve["false_positive_rate"], curve["sensitivity"]
    right.plot(x, y, color=PALETTE["model"], linewidth=1.8, label="ResNet50")
    right.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":", label="chance")
    for rater, marker in zip(dict.fromkeys(points["rater"]), "osDv^<>P*X", strict=False):
        cross = points[points["rater"] == rater].assign(kind="people resampled")
        _cross(right, cross, marker=marker, colour=PALETTE["reader"], face=PALETTE["reader"])
        marks = {"marker": marker, "linestyle": "none", "color": PALETTE["reader"]}
        right.plot([], [], label=rater, **marks)
    right.set_title(f"This cohort ({label})", loc="left")
    for axis in (left, right):
        axis.set(xlabel="1 − specificity", ylabel="Sensitivity")
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=8)
    return figure


def largest_p(tests: pd.DataFrame, curve: pd.DataFrame, *, printed: float) -> Figure:
    """Draw how large p can be for independent images, and how it grows when people count.

    Parameters
    ----------
    tests : DataFrame
        test, largest_p.
    curve : DataFrame
        correlation and p of sensitivity.
    printed : float
        The printed p.

    Returns
    -------
    Figure
    """
    figure, (left, right) = display.figure(ncols=2, height=3.2, width_ratios=[1.15, 1])
    heights = [-n for n in range(len(tests))]
    left.hlines(heights, 5e-4, tests["largest_p"], color=PALETTE["recomputed"], linewidth=5)
    for height, p in zip(heights, tests["largest_p"], strict=True):
        left.annotate(f"{p:.4f}", (p, height), (6, 0), textcoords="offset points", va="center")
    left.axvline(printed, color=PALETTE["dystrophinopathy"], linewidth=1.8)
    left.annotate(
        f"printed: {printed:.3f}",
        (printed, np.mean(heights)),
        (4, 0),
        textcoords="offset points",
        rotation=90,
        va="center",
        color=PALETTE["dystrophinopathy"],
    )
    left.set_yticks(heights, tests["test"])
    left.set(xscale="log", xlim=(5e-4, 1), ylim=(0.6 - len(tests), 0.6))
    left.xaxis.set_major_formatter("{x:g}")
    left.set(xlabel="p")
    left.set_title("Images independent: largest p", loc="left")
    right.plot(curve["correlation"], curve["sensitivity"], color=PALETTE["recomputed"], linewidth=2)
    for level, colour in ((printed, PALETTE["dystrophinopathy"]), (0.05, "#999999")):
        right.axhline(
            level, color=colour, linewidth=1.4, linestyle="-" if level == printed else ":"
        )
    reached = np.interp(printed, curve["sensitivity"], curve["correlation"])
    right.plot(reached, printed, "o", color=PALETTE["dystrophinopathy"], markersize=7)
    right.annotate(
        f"{printed:.3f} at {reached:.2f}",
        (reached, printed),
        (-6, 6),
        textcoords="offset points",
        ha="right",
        color=PALETTE["dystrophinopathy"],
    )
    right.annotate("0.05", (1, 0.05), (-2, 4), textcoords="offset points", ha="right")
    right.set(xlabel="Correlation of a person's images", ylabel="p")
    right.set(xlim=(0, 1), ylim=(0, 0.25))
    right.set_title("Images alike (assumed): z-test", loc="left")
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
        group (range of fat fraction), cases, n, estimate, low, high.
    threshold : float
        Called dystrophinopathy from this probability on.

    Returns
    -------
    Figure
    """
    figure, (left, right) = display.figure(ncols=2, height=3.4)
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
    people = ["person" if cases == 1 else "people" for cases in shares["cases"]]
    rows = zip(shares.itertuples(), people, strict=True)
    labels = [f"{row.group}\n{row.n} images, {row.cases} {word}" for row, word in rows]
    right.set_yticks([-n for n in range(len(shares))], labels)
    right.set_title("DMD and BMD by fat fraction of the leg", loc="right")
    right.set(xlabel="Sensitivity", xlim=(-0.02, 1.02), ylim=(0.6 - len(shares), 0.6))
    return figure


def coverage(table: pd.DataFrame, *, names: dict[str, str]) -> Figure:
    """Draw how often intervals that claim 95 % hold the truth.

    Parameters
    ----------
    table : DataFrame
        figure, name (method), clustered (whether it knows of people), icc, coverage, error.
    names : dict of str to str
        Panel title by figure, in order.

    Returns
    -------
    Figure
        One panel a figure, one row a method, one mark a correlation; bars are Monte Carlo error.
    """
    figure, axes = display.figure(ncols=len(names), height=4.6, sharey=True)
    methods = table.drop_duplicates("name").sort_values("clustered", kind="stable")
    places = {name: -place for place, name in enumerate(methods["name"])}
    correlations = sorted(table["icc"].unique())
    colours = (PALETTE["published"], PALETTE["light"], PALETTE["dystrophinopathy"])
    for axis, (kind, title) in zip(axes, names.items(), strict=True):
        own = table[table["figure"] == kind]
        styles = zip(correlations, colours, "o^s", (0.22, 0.0, -0.22), strict=False)
        for icc, colour, marker, shift in styles:
            rows = own[own["icc"] == icc]
            y = [places[name] + shift for name in rows["name"]]
            options = {"fmt": marker, "color": colour, "markersize": 5, "elinewidth": 1.4}
            errors = 1.96 * rows["error"]
            axis.errorbar(rows["coverage"], y, xerr=errors, label=f"{icc:g}", **options)
        axis.axvline(table["level"].iloc[0], color="#444444", linewidth=1)
        axis.axhline(0.5 - (~methods["clustered"]).sum(), color="#999999", linewidth=0.8)
        axis.set(title=title, xlabel="Coverage", xlim=(min(0.5, own["coverage"].min()), 1))
        axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes[0].set_yticks(list(places.values()), list(places))
    axes[0].set_ylim(0.6 - len(places), 0.6)
    handles, labels = axes[0].get_legend_handles_labels()
    title = "Correlation of one person's images"
    figure.legend(handles, labels, title=title, loc="outside lower center", ncols=3)
    return figure


def usefulness(curves: pd.DataFrame, decisions: pd.DataFrame) -> Figure:
    """Draw reliability and net benefit of probabilities, as predicted and recalibrated.

    Parameters
    ----------
    curves : DataFrame
        version, mean_probability, estimate, low, high.
    decisions : DataFrame
        version, threshold, model, low, high, treat_all, treat_none.

    Returns
    -------
    Figure
        Left: share of ill images in groups of like probability; right: net benefit of acting on
        the network, on everybody and on nobody.
    """
    figure, (left, right) = display.figure(ncols=2, height=3.8)
    left.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":")
    colours = (PALETTE["light"], PALETTE["model"])
    styles = zip(dict.fromkeys(curves["version"]), colours, "so", ("--", "-"), strict=False)
    for version, colour, marker, line in styles:
        rows = curves[curves["version"] == version].dropna(subset=["estimate"])
        left.plot(rows["mean_probability"], rows["estimate"], marker=marker, color=colour)
        for row in rows[np.isfinite(rows["low"]) & np.isfinite(rows["high"])].itertuples():
            left.plot([row.mean_probability] * 2, [row.low, row.high], color=colour, linewidth=1.2)
        rows = decisions[decisions["version"] == version]
        right.plot(rows["threshold"], rows["model"], line, color=colour, label=version)
    last = decisions[decisions["version"] == decisions["version"].iloc[-1]]
    band = last["threshold"], last["low"], last["high"]
    who = f"95 % interval, {last['version'].iloc[0]}"
    right.fill_between(*band, color="#999999", alpha=0.25, linewidth=0, label=who)
    right.plot(last["threshold"], last["treat_all"], color="#D55E00", label="call everybody ill")
    right.axhline(0, color="#0072B2", linewidth=1.5, label="call nobody ill")
    share = float(last["treat_all"].iloc[0])
    right.set(xlim=(0, 1), ylim=(-0.5 * share, 1.15 * share))
    right.set(xlabel="Threshold at which one would act", ylabel="Net benefit")
    left.set(xlabel="Mean predicted probability", ylabel="Share with dystrophinopathy")
    left.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    figure.legend(loc="outside lower center", ncols=2)
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


def _nested(axis: Axes, rows: pd.DataFrame, places: dict[str, int]) -> None:
    for rater, own in rows.groupby("rater", sort=False):
        place, first = places[rater], own.iloc[0]
        colour = PALETTE[first["evidence"]]
        for row in own.itertuples():
            if np.isfinite(row.low) and np.isfinite(row.high):
                axis.plot([row.low, row.high], [place] * 2, **_line(rows, row.kind, colour))
        face = "white" if first["evidence"] in _PRINTED else colour
        style = {"markersize": 6, "markeredgecolor": colour, "markeredgewidth": 1.5}
        marker = _MARKERS[first["evidence"]]
        axis.plot(first["estimate"], place, marker, markerfacecolor=face, zorder=5, **style)


def _line(table: pd.DataFrame, kind: str, colour: str) -> dict:
    """Style of an interval: the first kind thick and pale, each further one thinner."""
    place = list(dict.fromkeys(table["kind"])).index(kind)
    width, strength = ((6.5, 0.35), (3.2, 0.6), (1.2, 1.0))[min(place, 2)]
    return {"color": colour, "linewidth": width, "alpha": strength, "solid_capstyle": "butt"}


def _height(table: pd.DataFrame) -> float:
    return 2.2 + 0.46 * table["rater"].nunique()


def _printed_points(axis: Axes, raters: pd.DataFrame) -> None:
    """Crosses for raters whose two measures are known, a line for one with an accuracy only."""
    known = raters.groupby("rater", sort=False)["measure"].agg(set)
    placed = known[[{"sensitivity", "specificity"} <= measures for measures in known]].index
    for rater, marker in zip(placed, "s^D", strict=False):
        own = raters[raters["rater"] == rater]
        _cross(axis, own, marker=marker, colour=PALETTE["published"], face="white")
        style = {"marker": marker, "linestyle": "none", "markerfacecolor": "white"}
        axis.plot([], [], color=PALETTE["published"], label=rater, **style)
    others = raters[~raters["rater"].isin(placed) & (raters["measure"] == "accuracy")]
    accuracies = others.drop_duplicates("rater").set_index("rater")["estimate"]
    specificity, share = np.linspace(0.5, 1, 51), float(raters["share"].iloc[0])
    for (value, who), style in zip(_by_value(accuracies).items(), ("--", "-.", ":"), strict=False):
        sensitivity = (value - (1 - share) * specificity) / share
        label = f"{who}: somewhere on this line"
        axis.plot(1 - specificity, sensitivity, style, color="#444444", linewidth=1.2, label=label)
    for handle in _kind_handles(raters):
        axis.plot([], [], color=handle.get_color(), label=handle.get_label(), **_thin(handle))
    axis.set(xlim=(0, 0.4), ylim=(0.6, 1))


def _by_value(accuracies: pd.Series) -> dict[float, str]:
    found: dict[float, str] = {}
    for who, value in accuracies.items():
        found[value] = f"{found[value]}, {who}" if value in found else who
    return found


def _thin(handle: Line2D) -> dict:
    return {"linewidth": handle.get_linewidth(), "alpha": handle.get_alpha()}


def _cross(axis: Axes, rows: pd.DataFrame, *, marker: str, colour: str, face: str) -> None:
    """Mark a rater at sensitivity against 1 - specificity, with both intervals as a cross."""
    rows = rows[rows["measure"].isin(("sensitivity", "specificity"))]
    known = rows.drop_duplicates("measure").set_index("measure")["estimate"]
    x, y = 1 - known["specificity"], known["sensitivity"]
    for row in rows[np.isfinite(rows["low"]) & np.isfinite(rows["high"])].itertuples():
        style = _line(rows, row.kind, colour) | ({"linewidth": 1} if face != "white" else {})
        if row.measure == "sensitivity":
            axis.plot([x, x], [row.low, row.high], **style)
        else:
            axis.plot([1 - row.high, 1 - row.low], [y, y], **style)
    style = {"markersize": 7.5, "markeredgecolor": colour, "markeredgewidth": 1.5, "zorder": 6}
    axis.plot(x, y, marker, markerfacecolor=face, **style)


def _kind_handles(table: pd.DataFrame) -> list[Line2D]:
    kinds = dict.fromkeys(table["kind"])
    return [Line2D([], [], label=kind, **_line(table, kind, "#444444")) for kind in kinds]


def _evidence_handles(table: pd.DataFrame) -> list[Line2D]:
    handles = []
    for evidence in dict.fromkeys(table["evidence"]):
        colour = PALETTE[evidence]
        face = "white" if evidence in _PRINTED else colour
        options = {"marker": _MARKERS[evidence], "markerfacecolor": face, "markeredgewidth": 1.5}
        handles.append(Line2D([], [], color=colour, linestyle="none", label=evidence, **options))
    return handles


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
