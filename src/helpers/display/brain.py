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
    ("regions + LDA", "s", PALETTE["control"]),
    ("regions + linear SVM", "s", PALETTE["control"]),
    ("regions + small MLP", "s", PALETTE["control"]),
    ("PCA + logistic regression", "s", PALETTE["control"]),
    ("voxels + linear SVM", "s", PALETTE["control"]),
    ("six named regions + LDA", "^", PALETTE["control"]),
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
    styles = [style for style in _MODEL_STYLE if style[0] in set(table["model"])]
    height = 0.8 + 0.36 * len(styles)
    figure, axes = display.figure(ncols=len(effects), height=height, sharey=True, squeeze=False)
    for axis, effect in zip(axes.flat, effects, strict=True):
        for position, (model, marker, colour) in enumerate(styles):
            part = table[(table["model"] == model) & (table["effect"] == effect)]
            rows = -position - 0.16 * (np.arange(len(part)) - (len(part) - 1) / 2)
            limits = part[["low", "high"]].to_numpy(float)
            axis.hlines(rows, limits[:, 0], limits[:, 1], color=colour, linewidth=1.2)
            axis.plot(part["estimate"], rows, marker, color=colour, markersize=5)
        axis.axvline(0.5, color=PALETTE["published"], linestyle=":", linewidth=1)
        axis.set_xlim(0, 1.02)
        axis.set_xlabel("area under the ROC curve")
        axis.set_title(_series(effect), loc="left")
    names = [model.replace(" (", "\n(").replace(", ", ",\n") for model, *_ in styles]
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
            "Group": [GROUP_NAMES.get(group, group) for group in table["group"]],
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
                "Group": GROUP_NAMES.get(row["group"], row["group"]),
                "Published": printed.get(row["group"], "none"),
                "Subjects": row["subjects"],
                "Referred": row["referred"],
                "Right, of those decided": right if row["decided"] else "–",
                "Right, of all": _interval(row, "_all") if row["subjects"] else "–",
            }
        )
    return pd.DataFrame(rows)


def readable_readings(table: pd.DataFrame) -> pd.DataFrame:
    """Format the readings of the printed numbers as a page's table shows them.

    Parameters
    ----------
    table : DataFrame
        From :func:`helpers.brain_comparison.readings`.

    Returns
    -------
    DataFrame
        Reading, Right, Share, 95 % interval, Evidence.
    """
    rows = table.to_dict("records")
    return pd.DataFrame(
        {
            "Reading": table["reading"],
            "Right": [
                "–" if pd.isna(r["n"]) else f"{r['right']:.0f} of {r['n']:.0f}" for r in rows
            ],
            "Share": [_percent(share) for share in table["estimate"]],
            "95 % interval": [_limits(row, "low", "high") for row in rows],
            "Evidence": table["evidence"],
        }
    )


def readable_splits(table: pd.DataFrame) -> pd.DataFrame:
    """Format the ways to share the referrals as a page's table shows them, one row a way.

    Parameters
    ----------
    table : DataFrame
        From :func:`helpers.referral.splits_by_form`.

    Returns
    -------
    DataFrame
        Referred (laryngeal, cervical, blepharospasm) and, for each form, right of decided.
    """
    rows = []
    for _, way in table.groupby("way"):
        named = {row["form"]: row for row in way.to_dict("records")}
        shown = {"Referred, by form": " / ".join(str(row["referred"]) for row in named.values())}
        for form, row in named.items():
            right = f"{row['correct']} of {row['decided']}: {_interval(row, '')}"
            shown[GROUP_NAMES[form].capitalize()] = right
        rows.append(shown)
    return pd.DataFrame(rows)


def readable_meaning(table: pd.DataFrame) -> pd.DataFrame:
    """Format what rules score with and without controls as a page's table shows it.

    Parameters
    ----------
    table : DataFrame
        From :func:`helpers.brain_comparison.without_controls`.

    Returns
    -------
    DataFrame
        Series, Rule, share right among patients and among controls, and their mean. Rules that
        see no scan stand first and once.
    """
    rows = []
    for (effect, rule), part in table.groupby(["effect", "rule"], sort=False):
        named = {row["group"]: row for row in part.to_dict("records")}
        shown = {"Rule": rule, "Series": _series(effect)}
        if rule.endswith("is a patient"):
            shown["Series"] = "any"
        for group in ("patients", "controls"):
            shown[f"Right among {group}"] = _interval(named[group], "")
        shown["Mean of both"] = _percent(part["both"].iloc[0])
        rows.append(shown)
    found = pd.DataFrame(rows).drop_duplicates()
    return found.sort_values("Series", key=lambda names: names != "any", kind="stable")


def readable_against(table: pd.DataFrame) -> pd.DataFrame:
    """Format the network's paired comparisons as a page's table shows them.

    Parameters
    ----------
    table : DataFrame
        From :func:`helpers.brain_comparison.against`.

    Returns
    -------
    DataFrame
        One row a series and learner: its area, the network's less its area with interval, spread
        over seeds and adjusted p; the same for shares decided rightly.
    """
    rows = []
    for row in table.to_dict("records"):
        alone = f"{row['only_network']} : {row['only_other']}"
        rows.append(
            {
                "Series": _series(row["effect"]),
                "Against": row["model"],
                "Its area": _plain(row["auc"]),
                "Network's area less its": _difference(row, "auc"),
                "Over seeds": _limits(row, "lowest", "highest", shown=_signed),
                "p, area": _p(row["auc_holm"]),
                "Network's share right less its": _difference(row, "right"),
                "Only one right": alone,
                "p, decisions": _p(row["right_holm"]),
            }
        )
    return pd.DataFrame(rows)


def _series(effect: str) -> str:
    return f"{effect} effect" if effect in ("realistic", "exaggerated") else effect


def _interval(row: dict, suffix: str) -> str:
    share, low, high = (row[name + suffix] for name in ("estimate", "low", "high"))
    if pd.isna(share):
        return "–"
    return f"{_percent(share)} ({100 * low:.1f} to {100 * high:.1f})"


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %" if share == share else "–"


def _limits(row: dict, low: str, high: str, *, shown=None) -> str:
    if pd.isna(row[low]) or pd.isna(row[high]):
        return "–"
    shown = shown or _percent
    return f"{shown(row[low])} to {shown(row[high])}"


def _difference(row: dict, name: str) -> str:
    if pd.isna(row[f"{name}_difference"]):
        return "–"
    limits = _limits(row, f"{name}_low", f"{name}_high", shown=_signed)
    return f"{_signed(row[f'{name}_difference'])} ({limits})".replace(" (–)", "")


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _plain(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.2f}"


def _p(value: float) -> str:
    if pd.isna(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
