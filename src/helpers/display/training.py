"""Figures of the backbones and of the training: ROC curves, losses by epoch, the network."""

import itertools

import matplotlib.patches as patches
import pandas as pd
from matplotlib.figure import Figure

from helpers import display
from helpers.display import PALETTE
from helpers.splits import AGE_AND_SEX

#: Colour and line of each of the paper's networks.
_LINES = {
    "VGG19": ("#E69F00", "--"),
    "ResNet50": ("#000000", "-"),
    "DenseNet201": ("#0072B2", "-."),
    "DenseNet121": ("#56B4E9", (0, (5, 1))),
    "InceptionV3": ("#CC79A7", (0, (3, 1, 1, 1))),
}
#: Colours and lines of other networks, in turn.
_OTHERS = (("#009E73", "--"), ("#D55E00", "-."), ("#882255", (0, (5, 1))), ("#44AA99", "-"))


def roc_of_networks(curves: pd.DataFrame) -> Figure:
    """Draw the ROC curves of all models.

    Parameters
    ----------
    curves : DataFrame
        model, false_positive_rate, sensitivity.

    Returns
    -------
    Figure
        Age and sex, which need no image, are the broad grey line.
    """
    figure, axis = display.figure(height=4.0)
    others = itertools.cycle(_OTHERS)
    for name, curve in curves.groupby("model", sort=False):
        if name == AGE_AND_SEX:
            style = {"color": "#666666", "linestyle": "-", "linewidth": 3.0, "alpha": 0.5}
        else:
            colour, line = _LINES.get(name) or next(others)
            style = {"color": colour, "linestyle": line, "linewidth": 1.7}
        axis.plot(curve["false_positive_rate"], curve["sensitivity"], label=name, **style)
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


def long_path(
    path: pd.DataFrame, milestones: pd.DataFrame, optima: dict, kept: pd.DataFrame
) -> Figure:
    """Draw loss, area and accuracy along plain SGD on a log axis of epochs.

    Parameters
    ----------
    path : DataFrame
        scaling, momentum, penalised, epoch, set, loss, auc, accuracy.
    milestones : DataFrame
        scaling, momentum, penalised, best_epoch (NaN where not reached).
    optima : dict of str to helpers.convergence.Optimum
        The penalised optimum, by scaling.
    kept : DataFrame
        scaling, set, epoch, last_epoch, loss, auc, accuracy: what the book's rule kept, and
        where it stopped.

    Returns
    -------
    Figure
        A column a scaling, a row a measure; circles where the validation loss is lowest,
        diamonds for the weights that the book keeps, a dotted line where its training stopped,
        triangles at the right edge for the penalised optimum.
    """
    colours = {"training": "#0072B2", "validation": "#E69F00", "test": "#000000"}
    rows = {"loss": "Loss, nats", "auc": "Area under ROC", "accuracy": "Accuracy"}
    first = min(10, path["epoch"].max(), kept["epoch"].min())
    plain = path[~path["penalised"] & (path["epoch"] >= first)]
    figure, axes = display.figure(nrows=3, ncols=2, height=7.2, sharex=True, sharey="row")
    for column, (scaling, own) in enumerate(plain.groupby("scaling", sort=False)):
        axes[0, column].set_title(f"Features {scaling}", loc="left")
        for row, measure in enumerate(rows):
            axis = axes[row, column]
            for (momentum, name), run in own.groupby(["momentum", "set"], sort=False):
                line = "-" if momentum == 0 else "--"
                label = f"{name}, momentum {momentum:g}"
                axis.plot(
                    run["epoch"],
                    run[measure],
                    line,
                    color=colours[name],
                    linewidth=1.4,
                    label=label,
                )
            _lowest_points(axis, own, milestones, measure, colours)
            _kept_points(axis, kept[kept["scaling"] == scaling], measure, colours)
            for found in optima[scaling].measures.itertuples():
                value = getattr(found, measure)
                axis.plot(
                    *(1.03, value),
                    marker="<",
                    color=colours[found.set],
                    transform=axis.get_yaxis_transform(),
                    clip_on=False,
                    linestyle="none",
                    label="penalised optimum" if found.set == "test" else None,
                )
            axis.set(xscale="log")
            axis.grid(axis="y", color="#dddddd", linewidth=0.6)
    for axis, title in zip(axes[:, 0], rows.values(), strict=True):
        axis.set_ylabel(title)
    for axis in axes[-1]:
        axis.set_xlabel("Epoch")
    unique = {}
    for axis in axes[0]:
        handles, labels = axis.get_legend_handles_labels()
        unique |= dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=3)
    return figure


def _kept_points(axis, kept: pd.DataFrame, measure: str, colours: dict[str, str]) -> None:
    for row in kept.itertuples():
        last = row.set == "test"
        axis.plot(
            *(row.epoch, getattr(row, measure), "D"),
            color=colours[row.set],
            markersize=9,
            markerfacecolor="none",
            markeredgewidth=1.6,
            label="kept by this book's rule" if last else None,
        )
        if last:
            axis.axvline(
                row.last_epoch,
                color="#666666",
                linestyle=":",
                linewidth=1.2,
                label="training stopped by it",
            )


def _lowest_points(axis, own: pd.DataFrame, milestones: pd.DataFrame, measure: str, colours):
    lowest = milestones[~milestones["penalised"]].dropna(subset=["best_epoch"])
    keys = ["scaling", "momentum", "penalised"]
    rows = own.merge(lowest[[*keys, "best_epoch"]], on=keys)
    rows = rows[rows["epoch"] == rows["best_epoch"]]
    for name, part in rows.groupby("set", sort=False):
        axis.plot(
            part["epoch"],
            part[measure],
            "o",
            color=colours[name],
            markerfacecolor="white",
            label="lowest validation loss" if name == "training" else None,
        )


def spread(areas: pd.DataFrame, matched: pd.DataFrame) -> Figure:
    """Draw the test areas of all divisions, and the area among matched people.

    Parameters
    ----------
    areas : DataFrame
        model, case (area over people), one row a division.
    matched : DataFrame
        model, area, low, high; NaN where there are no pairs.

    Returns
    -------
    Figure
        Grey dots are divisions, the black line their mean, the orange diamond matched people.
    """
    models = list(dict.fromkeys(areas["model"]))
    figure, axis = display.figure(height=1.2 + 0.42 * len(models))
    own = matched.set_index("model")
    for place, name in enumerate(models):
        values = areas.loc[areas["model"] == name, "case"].dropna().to_numpy()
        # Spread by rank within the row, so that the same data always give the same picture.
        height = -place + 0.16 + 0.07 * ((7 * values.argsort().argsort()) % 5 - 2) / 2
        first = place == 0
        axis.plot(
            *(values, height, "o"),
            color="#999999",
            alpha=0.5,
            markersize=3.5,
            markeredgewidth=0,
            label="one division, all its test people" if first else None,
        )
        mean = values.mean()
        axis.plot(
            *([mean, mean], [-place + 0.02, -place + 0.3]),
            color="black",
            linewidth=2.5,
            label="mean of the divisions" if first else None,
        )
        if name in own.index and own.loc[name, ["area"]].notna().all():
            low, high = own.loc[name, ["low", "high"]].astype(float)
            colour = PALETTE["dystrophinopathy"]
            axis.hlines(-place - 0.2, low, high, color=colour)
            axis.plot(
                *(own.loc[name, "area"], -place - 0.2, "D"),
                color=colour,
                label="people matched by sex and age" if first else None,
            )
    axis.axvline(0.5, color="#666666", linestyle=":", linewidth=1)
    axis.set_yticks([-n for n in range(len(models))], models)
    axis.set(xlabel="Area under the ROC curve, people", xlim=(0, 1.02))
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    figure.legend(loc="outside lower center", ncols=3)
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
