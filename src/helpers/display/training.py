"""Figures of the backbones and of the training: ROC curves, losses by epoch, the network."""

import matplotlib.patches as patches
import pandas as pd
from matplotlib.figure import Figure

from helpers import display
from helpers.display import PALETTE

#: Colour and line of each model; models without an image are grey.
_LINES = {
    "VGG19": ("#E69F00", "--"),
    "ResNet50": ("#000000", "-"),
    "DenseNet201": ("#0072B2", "-."),
    "DenseNet121": ("#56B4E9", (0, (5, 1))),
    "InceptionV3": ("#CC79A7", (0, (3, 1, 1, 1))),
}


def roc_of_networks(curves: pd.DataFrame) -> Figure:
    """Draw the ROC curves of all models.

    Parameters
    ----------
    curves : DataFrame
        model, false_positive_rate, sensitivity.

    Returns
    -------
    Figure
    """
    figure, axis = display.figure(height=4.0)
    for name, curve in curves.groupby("model", sort=False):
        colour, line = _LINES.get(name, ("#666666", "-"))
        axis.plot(
            curve["false_positive_rate"],
            curve["sensitivity"],
            color=colour,
            linestyle=line,
            linewidth=3.0 if name not in _LINES else 1.7,
            alpha=0.5 if name not in _LINES else 1.0,
            label=name,
        )
    axis.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":", label="chance")
    axis.set(xlabel="1 − specificity", ylabel="Sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axis.set_aspect("equal")
    figure.legend(loc="outside right center")
    return figure


def table_1(rows: pd.DataFrame, *, names: dict[str, str]) -> Figure:
    """Draw the measures of Table 1, each model as printed and as measured here.

    Parameters
    ----------
    rows : DataFrame
        model, evidence, measure, estimate, low, high.
    names : dict of str to str
        Panel title by measure, in order.

    Returns
    -------
    Figure
        Open grey diamonds are printed, filled dots are measured here.
    """
    models = list(dict.fromkeys(rows["model"]))
    height = 1.4 + 0.32 * len(models)
    figure, axes = display.figure(ncols=len(names), height=height, sharey=True)
    for axis, (measure, title) in zip(axes, names.items(), strict=True):
        for evidence, part in rows[rows["measure"] == measure].groupby("evidence"):
            printed = evidence == "published"
            y = [-models.index(m) + (0.16 if printed else -0.16) for m in part["model"]]
            colour = PALETTE[evidence]
            axis.hlines(y, part["low"].astype(float), part["high"].astype(float), color=colour)
            face = "white" if printed else colour
            marker = "D" if printed else "o"
            style = {"marker": marker, "linestyle": "none", "markersize": 6}
            axis.plot(
                part["estimate"],
                y,
                color=colour,
                markerfacecolor=face,
                label=evidence,
                clip_on=False,
                **style,
            )
        axis.set_title(title, loc="left")
        axis.set_xlim(-0.03, 1.03)
        axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes[0].set_yticks([-n for n in range(len(models))], models)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def learning_curves(path: pd.DataFrame, stopping: pd.DataFrame) -> Figure:
    """Draw training and validation loss by epoch, and where each training's weights come from.

    Parameters
    ----------
    path : DataFrame
        seed, epoch, training_loss, validation_loss.
    stopping : DataFrame
        seed, best_epoch, validation_loss.

    Returns
    -------
    Figure
        Epochs on a log scale; epoch 0 is left out.
    """
    figure, axis = display.figure(height=3.4)
    shown = path[path["epoch"] > 0]
    for column, name in (("training_loss", "training"), ("validation_loss", "validation")):
        colour = PALETTE["control"] if name == "training" else PALETTE["dystrophinopathy"]
        line = "--" if name == "training" else "-"
        for number, (_, run) in enumerate(shown.groupby("seed")):
            label = f"{name}, one line a seed" if number == 0 else None
            axis.plot(
                run["epoch"], run[column], line, color=colour, alpha=0.8, linewidth=1, label=label
            )
    axis.plot(
        stopping["best_epoch"],
        stopping["validation_loss"],
        "o",
        color="black",
        markerfacecolor="white",
        label="weights kept",
    )
    axis.axhline(
        0.6931, color="#999999", linewidth=1, linestyle=":", label="always saying one half"
    )
    axis.set(xscale="log", xlabel="Epoch", ylabel="Mean cross-entropy per leg image, nats")
    axis.xaxis.set_major_formatter("{x:g}")
    figure.legend(loc="outside right upper")
    return figure


def schematic(stages: pd.DataFrame) -> Figure:
    """Draw a classifier as a row of blocks, the frozen ones blue and the trained one orange.

    Parameters
    ----------
    stages : DataFrame
        name, rows, channels, parameters, trained (True or False), from left to right.

    Returns
    -------
    Figure
        Block height follows the rows of the map, width the channels.
    """
    figure, axis = display.figure(height=2.2)
    tallest, widest = stages["rows"].max(), stages["channels"].max()
    for place, stage in enumerate(stages.itertuples()):
        height = 0.12 + 0.88 * (stage.rows / tallest) ** 0.5
        width = 0.08 + 0.62 * (stage.channels / widest) ** 0.5
        colour = PALETTE["dystrophinopathy" if stage.trained else "light"]
        corner = (place - width / 2, 0.5 - height / 2)
        axis.add_patch(
            patches.Rectangle(corner, width, height, facecolor=colour, edgecolor="black")
        )
        size = f"{stage.rows}×{stage.rows}×{stage.channels}"
        lines = f"{stage.name}\n{size}\n{stage.parameters:,}"
        axis.annotate(lines, (place, -0.06), ha="center", va="top", fontsize=9)
    axis.set(xlim=(-0.6, len(stages) - 0.4), ylim=(-0.6, 1.02))
    axis.set_axis_off()
    return figure
