"""Figure of simulated pretraining: what weights are worth, and how the networks learnt."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers import display

_KINDS = {
    "imagenet": ("#0072B2", "s"),
    "simulated": ("#D55E00", "o"),
    "simulated, five times longer": ("#E69F00", "v"),
    "random": ("#666666", "D"),
    "random, second draw": ("#666666", "d"),
    "random, third draw": ("#666666", "d"),
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
    height = 2.6 + 0.5 * len(models)
    figure, (left, right) = display.figure(ncols=2, height=height)
    kinds = [kind for kind in _KINDS if kind in set(areas["weights"])]
    for place, kind in enumerate(kinds):
        part, (colour, marker) = areas[areas["weights"] == kind], _KINDS[kind]
        shift = 0.17 * ((len(kinds) - 1) / 2 - place)
        y = [shift - models.index(name) for name in part["network"]]
        left.hlines(y, part["low"], part["high"], color=colour)
        left.plot(part["mean"], y, color=colour, marker=marker, linestyle="none", label=kind)
    left.axvline(0.5, color="#999999", linestyle=":", linewidth=1)
    left.set_yticks([-n for n in range(len(models))], models)
    left.set(xlabel="Area under the ROC curve, people", xlim=(None, 1.01))
    left.set_ylim(-len(models) + 0.5, 0.5)
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
        )
        last = part.iloc[-1]
        axis.annotate(name, (last["step"], last["fat_error"]), xytext=(3, 0), **_BESIDE)
    mean = curves["fat_error_of_mean"].iloc[-1]
    axis.axhline(mean, color="#999999", linestyle=":", linewidth=1)
    axis.annotate("always the mean", (0.02, mean), xycoords=("axes fraction", "data"), va="bottom")
    axis.set(xlabel="Step on simulated legs", ylabel="Mean error\nof a fat fraction")
    axis.margins(x=0.3)
    axis.set_xlim(0, None)


_BESIDE = {"textcoords": "offset points", "va": "center", "fontsize": 8}
