"""Figures of simulated pretraining: its learning curves, and what weights are worth."""

import pandas as pd
from matplotlib.figure import Figure

from helpers import display

_KINDS = {
    "imagenet": ("#0072B2", "s"),
    "simulated": ("#D55E00", "o"),
    "random": ("#666666", "D"),
    "random, calibrated": ("#999999", "^"),
}
_LINES = {"VGG19": "--", "DenseNet201": "-.", "DenseNet121": (0, (5, 1)), "InceptionV3": ":"}


def learning_curves(curve: pd.DataFrame) -> Figure:
    """Draw the loss and the error of the fat fractions by step, on people not learnt from.

    Parameters
    ----------
    curve : DataFrame
        From :func:`helpers.pretraining.curve`.

    Returns
    -------
    Figure
        Dotted: the error of always saying the mean.
    """
    figure, axes = display.figure(ncols=2, height=2.9)
    for name, part in curve.groupby("network", sort=False):
        for axis, column in zip(axes, ("held_out", "fat_error"), strict=True):
            line = _LINES.get(name, "-")
            axis.plot(part["step"], part[column], linestyle=line, label=name)
    mean = curve["fat_error_of_mean"].iloc[-1]
    axes[1].axhline(mean, color="#999999", linestyle=":", linewidth=1)
    axes[1].annotate(
        "always the mean", (1, mean), xycoords=("axes fraction", "data"), ha="right", va="bottom"
    )
    axes[0].set(xlabel="Step", ylabel="Loss, people held out")
    axes[1].set(xlabel="Step", ylabel="Mean error of a fat fraction", ylim=(0, None))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def ablation(areas: pd.DataFrame) -> Figure:
    """Draw the area of each network by kind of weights.

    Parameters
    ----------
    areas : DataFrame
        From :func:`helpers.ablation.table`.

    Returns
    -------
    Figure
        Lines: middle 95 % of the divisions. Dotted: chance.
    """
    models = list(dict.fromkeys(areas["network"]))
    kinds = [kind for kind in _KINDS if kind in set(areas["weights"])]
    figure, axis = display.figure(height=1.2 + 0.5 * len(models))
    for place, kind in enumerate(kinds):
        part, (colour, marker) = areas[areas["weights"] == kind], _KINDS[kind]
        y = [
            -models.index(name) + 0.18 * ((len(kinds) - 1) / 2 - place) for name in part["network"]
        ]
        axis.hlines(y, part["low"], part["high"], color=colour)
        axis.plot(part["mean"], y, color=colour, marker=marker, linestyle="none", label=kind)
    axis.axvline(0.5, color="#999999", linestyle=":", linewidth=1)
    axis.set_yticks([-n for n in range(len(models))], models)
    axis.set(xlabel="Area under the ROC curve, people", xlim=(None, 1.01))
    figure.legend(loc="outside lower center", ncols=len(kinds))
    return figure
