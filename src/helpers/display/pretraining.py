"""Figure of simulated pretraining: what weights are worth, and how the networks learnt."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers import display

_KINDS = {
    "imagenet": ("#0072B2", "s"),
    "simulated": ("#D55E00", "o"),
    "simulated, five times longer": ("#E69F00", "v"),
    "random": ("#666666", "D"),
    "random, second draw": ("#666666", "D"),
    "random, third draw": ("#666666", "D"),
    "random, calibrated": ("#999999", "^"),
}
_LINES = {"VGG19": "--", "DenseNet201": "-.", "DenseNet121": (0, (5, 1)), "InceptionV3": ":"}


def worth_of_weights(areas: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Draw the area of each network by kind of weights, and what was learnt before.

    Parameters
    ----------
    areas : DataFrame
        From :func:`helpers.ablation.table`, for one set of people.
    curves : DataFrame
        From :func:`helpers.pretraining.curve`, with ``run``.

    Returns
    -------
    Figure
        Left: means and middle 95 % of the divisions; dotted: chance. Right: error of a fat
        fraction on simulated people held out; dotted: that of always saying the mean.
    """
    models = list(dict.fromkeys(areas.loc[areas["weights"] != "none", "network"]))
    rows = areas[areas["network"].isin(models)]
    order = rows["weights"].map(list(_KINDS).index)
    rows = rows.assign(at=rows["network"].map(models.index), order=order)
    rows = rows.sort_values(["at", "order"], kind="stable")
    # A row each, and one left empty between networks.
    rows["y"] = -(np.arange(len(rows)) + rows["at"])
    figure, (left, right) = display.figure(ncols=2, height=2 + 0.16 * (len(rows) + len(models)))
    for kind, (colour, marker) in _KINDS.items():
        part = rows[rows["weights"] == kind]
        if len(part):
            left.hlines(part["y"], part["low"], part["high"], color=colour)
            shown = kind if "draw" not in kind else None
            left.plot(part["mean"], part["y"], marker, color=colour, linestyle="none", label=shown)
    left.axvline(0.5, color="#999999", linestyle=":", linewidth=1)
    left.set_yticks(rows.groupby("at")["y"].mean(), models)
    left.tick_params(axis="y", length=0)
    left.set(xlabel="Area under the ROC curve, people", xlim=(None, 1.01))
    left.set_ylim(rows["y"].min() - 1, 1)
    _learning(right, curves)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _learning(axis: Axes, curves: pd.DataFrame) -> None:
    for (name, run), part in curves.groupby(["network", "run"], sort=False):
        longer = run != "simulated"
        axis.plot(
            part["step"],
            part["fat_error"],
            linestyle=_LINES.get(name, "-"),
            color="#E69F00" if longer else "#D55E00",
            linewidth=1.2,
            label=f"{name}, longer" if longer else name,
        )
    mean = curves["fat_error_of_mean"].iloc[-1]
    axis.axhline(mean, color="#999999", linestyle=":", linewidth=1)
    axis.annotate(
        *("always the mean", (1, mean)),
        xycoords=("axes fraction", "data"),
        **{"xytext": (0, 3), "textcoords": "offset points", "ha": "right", "fontsize": 8},
    )
    axis.set(xlabel="Step on simulated legs", ylabel="Mean error\nof a fat fraction")
    axis.set_xlim(0, None)
    axis.set_ylim(0, None)
    axis.legend(loc="lower left", fontsize=8, handlelength=3)
