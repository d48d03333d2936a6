"""Figures and tables of the brain part: examples, training, models compared, referral."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers import display
from helpers.display import PALETTE

GROUP_NAMES = {
    "LD": "laryngeal dystonia",
    "CD": "cervical dystonia",
    "BSP": "blepharospasm",
    "control": "controls",
    "all patients": "all patients",
}
_MODEL_STYLE = (
    ("DystoniaNet", "o", PALETTE["model"]),
    ("PCA + logistic regression", "s", PALETTE["control"]),
    ("true region means (yardstick)", "^", PALETTE["phantom"]),
    ("DystoniaNet, labels shuffled", "x", PALETTE["published"]),
)


def examples(volumes: dict[str, np.ndarray]) -> Figure:
    """Draw an axial slice through one brain of each group, and the planted effect.

    Parameters
    ----------
    volumes : dict of str to ndarray, shape (x, y, z)
        From :func:`helpers.brain.examples`. The volume ``effect`` is drawn as its strongest
        change along each vertical line.

    Returns
    -------
    Figure
        Left of the picture is the subject's left, front is up.
    """
    figure, axes = display.figure(ncols=len(volumes), height=2.0, squeeze=False)
    for axis, (name, volume) in zip(axes.flat, volumes.items(), strict=True):
        if name == "effect":
            strongest = np.abs(volume).argmax(2)[..., np.newaxis]
            image = np.take_along_axis(volume, strongest, 2)[..., 0]
            limit = np.abs(image).max() or 1
            options = {"cmap": "PuOr", "vmin": -limit, "vmax": limit}
        else:
            image = volume[:, :, int(0.58 * volume.shape[2])]
            options = {"cmap": "gray", "vmin": -3, "vmax": 2.5}
        axis.imshow(image.T, origin="lower", interpolation="nearest", **options)
        axis.set_title("control" if name == "control" else GROUP_NAMES.get(name, name))
        axis.set_axis_off()
    return figure


def learning_curves(history: pd.DataFrame) -> Figure:
    """Draw the loss on the training and optimisation sets at the end of each epoch.

    Parameters
    ----------
    history : DataFrame
        ``effect, seed, epoch, training_loss, optimisation_loss, kept``.

    Returns
    -------
    Figure
        One panel a series, one line a seed; a dot marks the epoch kept.
    """
    effects = list(dict.fromkeys(history["effect"]))
    figure, axes = display.figure(ncols=len(effects), height=2.8, sharey=True, squeeze=False)
    for axis, effect in zip(axes.flat, effects, strict=True):
        for number, (_, part) in enumerate(history[history["effect"] == effect].groupby("seed")):
            names = ("training", "optimisation") if number == 0 else (None, None)
            axis.plot(part["epoch"], part["training_loss"], color=PALETTE["light"], label=names[0])
            axis.plot(
                part["epoch"], part["optimisation_loss"], color=PALETTE["patient"], label=names[1]
            )
            kept = part[part["kept"]]
            axis.plot(kept["epoch"], kept["optimisation_loss"], "o", color=PALETTE["patient"])
        axis.axhline(np.log(2), color=PALETTE["published"], linestyle=":", linewidth=1)
        axis.set_title(_series(effect), loc="left")
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel("cross-entropy")
    axes[0, 0].set_ylim(bottom=0)
    axes[0, 0].legend()
    return figure


def areas(table: pd.DataFrame) -> Figure:
    """Draw each model's area under the ROC curve with its interval, one panel a series.

    Parameters
    ----------
    table : DataFrame
        From :func:`helpers.referral.areas`; several seeds of one model are drawn side by side.

    Returns
    -------
    Figure
    """
    effects = list(dict.fromkeys(table["effect"]))
    figure, axes = display.figure(ncols=len(effects), height=2.6, sharey=True, squeeze=False)
    for axis, effect in zip(axes.flat, effects, strict=True):
        for position, (model, marker, colour) in enumerate(_MODEL_STYLE):
            part = table[(table["model"] == model) & (table["effect"] == effect)]
            rows = -position - 0.16 * (np.arange(len(part)) - (len(part) - 1) / 2)
            limits = part[["low", "high"]].to_numpy(float)
            axis.hlines(rows, limits[:, 0], limits[:, 1], color=colour, linewidth=1.2)
            axis.plot(part["estimate"], rows, marker, color=colour, markersize=5)
        axis.axvline(0.5, color=PALETTE["published"], linestyle=":", linewidth=1)
        axis.set_xlim(0, 1.02)
        axis.set_xlabel("area under the ROC curve")
        axis.set_title(_series(effect), loc="left")
    names = [model.replace(" (", "\n(").replace(", ", ",\n") for model, *_ in _MODEL_STYLE]
    axes[0, 0].set_yticks([-n for n in range(len(names))], names)
    return figure


def coverage(curves: pd.DataFrame, *, published: tuple[float, float]) -> Figure:
    """Draw accuracy against the share of subjects decided.

    Parameters
    ----------
    curves : DataFrame
        ``effect, subjects, decided, accuracy``.
    published : tuple of float
        Share decided and accuracy of the publication, patients only.

    Returns
    -------
    Figure
        One panel a series; one line for the patients alone, one with controls.
    """
    effects = list(dict.fromkeys(curves["effect"]))
    figure, axes = display.figure(ncols=len(effects), height=3.0, sharey=True, squeeze=False)
    colours = {"patients only": PALETTE["patient"], "with controls": PALETTE["control"]}
    for axis, effect in zip(axes.flat, effects, strict=True):
        for name, colour in colours.items():
            part = curves[(curves["effect"] == effect) & (curves["subjects"] == name)]
            axis.step(part["decided"], part["accuracy"], where="post", color=colour, label=name)
        axis.plot(
            *published, "D", markerfacecolor="none", color=PALETTE["published"], label="published"
        )
        axis.set_title(_series(effect), loc="left")
        axis.set_xlabel("share of subjects decided")
        axis.set_xlim(0, 1.02)
        axis.set_ylim(0, 1.03)
    axes[0, 0].set_ylabel("share decided rightly")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure


def readable_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Format the sets as a page's table shows them.

    Parameters
    ----------
    table : DataFrame
        From :func:`helpers.brain.counts`.

    Returns
    -------
    DataFrame
        Set, Group, Published, Here, Women, Mean age.
    """
    return pd.DataFrame(
        {
            "Set": table["set"].str.replace("_", " "),
            "Group": table["group"].map(GROUP_NAMES),
            "Published": ["none" if pd.isna(n) else f"{n:d}" for n in table["published"]],
            "Here": table["here"],
            "Women": [_percent(share / 100, 0) for share in table["women"]],
            "Mean age, years": [f"{age:.0f}" if age == age else "–" for age in table["age"]],
        }
    )


def readable_forms(table: pd.DataFrame, printed: dict[str, str]) -> pd.DataFrame:
    """Format right decisions by group as a page's table shows them, beside the printed ones.

    Parameters
    ----------
    table : DataFrame
        From :func:`helpers.referral.report`.
    printed : dict of str to str
        What the publication prints, by group.

    Returns
    -------
    DataFrame
        Group, Published and, for each series, subjects, referred, and the share of those decided
        that is right, with its interval.
    """
    rows = []
    for row in table.to_dict("records"):
        right = f"{row['correct']} of {row['decided']}: {_interval(row, '')}"
        rows.append(
            {
                "Series": _series(row["effect"]),
                "Group": GROUP_NAMES[row["group"]],
                "Published": printed.get(row["group"], "none"),
                "Subjects": row["subjects"],
                "Referred": row["referred"],
                "Right, of those decided": right if row["decided"] else "–",
                "Right, of all": _interval(row, "_all") if row["subjects"] else "–",
            }
        )
    return pd.DataFrame(rows)


def readable_readings(table: pd.DataFrame) -> pd.DataFrame:
    """Format the readings of the published accuracy as a page's table shows them.

    Parameters
    ----------
    table : DataFrame
        From :func:`helpers.referral.published_readings`.

    Returns
    -------
    DataFrame
        Reading, Right, Patients, Share, 95 % interval.
    """
    return pd.DataFrame(
        {
            "Reading": table["reading"],
            "Right": table["correct"],
            "Patients": table["subjects"],
            "Share": [_percent(share) for share in table["estimate"]],
            "95 % interval": [
                f"{_percent(low)} to {_percent(high)}"
                for low, high in zip(table["low"], table["high"], strict=True)
            ],
        }
    )


def _series(effect: str) -> str:
    return f"{effect} effect" if effect in ("realistic", "exaggerated") else effect


def _interval(row: dict, suffix: str) -> str:
    share, low, high = (row[name + suffix] for name in ("estimate", "low", "high"))
    return f"{_percent(share)} ({_percent(low)} to {_percent(high)})"


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %" if share == share else "–"
