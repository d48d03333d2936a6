"""How often calls are right: the measures of the thigh paper's Table 1, Table 3 and Fig. 3.

A call is 1 (dystrophinopathy) or 0 (another muscle disease), and so is the label, the reference
diagnosis. Every measure follows from four counts; one that would divide by zero is NaN, and
:func:`why_undefined` says why.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn import metrics

from helpers import claims

#: Measures in the order of the paper's Fig. 3, then the others; value: the name on a page.
MEASURES: dict[str, str] = {
    "accuracy": "Accuracy",
    "f1": "F1 score",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "lr_positive": "Positive likelihood ratio",
    "lr_negative": "Negative likelihood ratio",
    "ppv": "Positive predictive value",
    "npv": "Negative predictive value",
    "diagnostic_odds_ratio": "Diagnostic odds ratio",
    "mcc": "Matthews correlation",
    "youden": "Youden index",
}

#: The six panels a to f of the paper's Fig. 3.
FIGURE_3 = tuple(MEASURES)[:6]

#: Rows of the paper's Table 3.
GROUPS = ("DMD", "BMD", "other disease")

_TABLE_3 = ("P1-43n", "P1-43d", "P1-44n", "P1-44d", "P1-45p", "P1-45n")

_NEEDS: dict[str, tuple[str, ...]] = {
    "accuracy": ("image",),
    "f1": ("positive or positive call",),
    "sensitivity": ("positive",),
    "specificity": ("control",),
    "lr_positive": ("positive", "control", "false positive"),
    "lr_negative": ("positive", "control", "true negative"),
    "ppv": ("positive call",),
    "npv": ("negative call",),
    "diagnostic_odds_ratio": ("false positive", "false negative"),
    "mcc": ("positive", "control", "positive call", "negative call"),
    "youden": ("positive", "control"),
}


class Counts(NamedTuple):
    """The two-by-two table of labels and calls.

    Attributes
    ----------
    tp, fn : int or array
        Positives called positive and called negative.
    fp, tn : int or array
        Controls called positive and called negative.
    """

    tp: ArrayLike
    fn: ArrayLike
    fp: ArrayLike
    tn: ArrayLike


def confusion(label: ArrayLike, call: ArrayLike) -> Counts:
    """Count true and false calls.

    Parameters
    ----------
    label, call : array-like of 0 and 1, shape (n,)
        Reference diagnosis and decision.

    Returns
    -------
    Counts
        Four integers.

    Raises
    ------
    ValueError
        On unequal lengths or anything but 0 and 1.

    Examples
    --------
    >>> confusion([1, 1, 0, 0, 0], [1, 0, 0, 0, 1])
    Counts(tp=1, fn=1, fp=1, tn=2)
    """
    label, call = _zeros_and_ones(label, name="label"), _zeros_and_ones(call, name="call")
    _same_length(label, call, name="calls")
    pairs = np.bincount(2 * label + call, minlength=4)
    return Counts(tp=int(pairs[3]), fn=int(pairs[2]), fp=int(pairs[1]), tn=int(pairs[0]))


def measures(counts: Counts) -> dict[str, NDArray[np.float64]]:
    r"""Return every measure of :data:`MEASURES` for one table or an array of tables.

    Sensitivity :math:`Se = TP/(TP+FN)`, specificity :math:`Sp = TN/(TN+FP)`, accuracy
    :math:`(TP+TN)/n`, predictive values :math:`TP/(TP+FP)` and :math:`TN/(TN+FN)`,
    :math:`F_1 = 2TP/(2TP+FP+FN)`, likelihood ratios :math:`LR^+ = Se/(1-Sp)` and
    :math:`LR^- = (1-Se)/Sp`, diagnostic odds ratio :math:`LR^+/LR^-`, Youden index
    :math:`Se+Sp-1` and Matthews' correlation
    :math:`(TP\,TN-FP\,FN)/\sqrt{(TP+FP)(TP+FN)(TN+FP)(TN+FN)}`.

    Parameters
    ----------
    counts : Counts
        Numbers, or arrays of one shape (resampled tables).

    Returns
    -------
    dict of str to float or array
        NaN where a denominator is zero.

    References
    ----------
    Altman DG et al. (eds), *Statistics with Confidence*, 2nd ed., BMJ Books 2000, chapter 10.

    Examples
    --------
    The published counts of ResNet50 (Table 3):

    >>> found = measures(Counts(tp=204, fn=24, fp=35, tn=385))
    >>> print(*(f"{found[m]:.4f}" for m in ("sensitivity", "specificity", "accuracy")))
    0.8947 0.9167 0.9090
    >>> bool(found["f1"] == 408 / 467)
    True
    >>> print(f"{found['lr_positive']:.4f} {found['lr_negative']:.6f} {found['mcc']:.5f}")
    10.7368 0.114833 0.80310

    Nothing is called positive, so there is no positive predictive value:

    >>> float(measures(Counts(tp=0, fn=2, fp=0, tn=3))["ppv"])
    nan
    """
    tp, fn, fp, tn = (np.asarray(part, dtype=float) for part in counts)
    margins = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
    sensitivity, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    found = {
        "accuracy": _ratio(tp + tn, tp + fn + fp + tn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "lr_positive": _ratio(tp * (fp + tn), fp * (tp + fn)),
        "lr_negative": _ratio(fn * (fp + tn), tn * (tp + fn)),
        "ppv": _ratio(tp, tp + fp),
        "npv": _ratio(tn, tn + fn),
        "diagnostic_odds_ratio": _ratio(tp * tn, fp * fn),
        "mcc": _ratio(tp * tn - fp * fn, margins),
        "youden": sensitivity + specificity - 1,
    }
    return {name: found[name] for name in MEASURES}


def why_undefined(counts: Counts) -> dict[str, str]:
    """Say why measures of a table are NaN.

    Parameters
    ----------
    counts : Counts
        One table.

    Returns
    -------
    dict of str to str
        Reason by measure; defined measures are absent.

    Examples
    --------
    >>> why_undefined(Counts(tp=3, fn=1, fp=0, tn=4))
    {'lr_positive': 'no false positive', 'diagnostic_odds_ratio': 'no false positive'}
    """
    tp, fn, fp, tn = counts
    present = {
        "image": tp + fn + fp + tn,
        "positive": tp + fn,
        "control": fp + tn,
        "positive call": tp + fp,
        "negative call": fn + tn,
        "positive or positive call": tp + fn + fp,
        "false positive": fp,
        "false negative": fn,
        "true negative": tn,
    }
    missing = {name: [p for p in parts if not present[p]] for name, parts in _NEEDS.items()}
    return {name: f"no {parts[0]}" for name, parts in missing.items() if parts}


def auc(label: ArrayLike, probability: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive scores above a control.

    Ties count one half (Mann-Whitney). Computed by scikit-learn.

    Parameters
    ----------
    label : array-like of 0 and 1, shape (n,)
        Reference diagnosis.
    probability : array-like of float, shape (n,)
        Score that grows with the chance of a dystrophinopathy.

    Returns
    -------
    float
        Between 0 and 1; 0.5 is chance.

    Raises
    ------
    ValueError
        On unequal lengths, NaN, labels other than 0 and 1, or one class only.

    References
    ----------
    Hanley JA, McNeil BJ. Radiology 1982;143:29-36, doi 10.1148/radiology.143.1.7063747.

    Examples
    --------
    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
    0.875
    """
    label, probability = checked_scores(label, probability)
    return float(metrics.roc_auc_score(label, probability))


def roc(label: ArrayLike, probability: ArrayLike) -> pd.DataFrame:
    """Return the corners of the ROC curve.

    Parameters
    ----------
    label, probability : array-like, shape (n,)
        As in :func:`auc`.

    Returns
    -------
    DataFrame
        Columns ``threshold`` (called positive when the probability is at least this),
        ``false_positive_rate`` (1 - specificity) and ``sensitivity``, from (0, 0) to (1, 1).

    Examples
    --------
    >>> roc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8]).round(2).to_numpy()[1:-1].tolist()
    [[0.8, 0.0, 0.5], [0.4, 0.5, 1.0]]
    """
    label, probability = checked_scores(label, probability)
    false_rate, true_rate, threshold = metrics.roc_curve(label, probability)
    return pd.DataFrame(
        {"threshold": threshold, "false_positive_rate": false_rate, "sensitivity": true_rate}
    )


def by_seed(
    predictions: pd.DataFrame, *, split: str = "test", threshold: float = 0.5
) -> pd.DataFrame:
    """Return the measures of Table 1 of each training's predictions.

    Parameters
    ----------
    predictions : DataFrame
        label, probability, seed, split.
    split : str
        training, validation or test.
    threshold : float
        Called positive when the probability is at least this.

    Returns
    -------
    DataFrame
        seed, auc, accuracy, sensitivity, specificity.

    Examples
    --------
    >>> rows = {"label": [0, 1], "probability": [0.2, 0.4], "seed": 1, "split": "test"}
    >>> by_seed(pd.DataFrame(rows)).to_numpy().tolist()
    [[1.0, 1.0, 0.5, 0.0, 1.0]]
    """
    names = ("accuracy", "sensitivity", "specificity")
    rows = []
    for seed, own in predictions[predictions["split"] == split].groupby("seed"):
        call = (own["probability"] >= threshold).astype(int)
        found = measures(confusion(own["label"], call))
        area = auc(own["label"], own["probability"])
        rows.append((seed, area, *(float(found[name]) for name in names)))
    return pd.DataFrame(rows, columns=["seed", "auc", *names])


def auc_of_shuffled(
    label: ArrayLike, probability: ArrayLike, case: ArrayLike, *, repeats: int = 200, seed: int = 0
) -> NDArray[np.float64]:
    """Return the areas that the same scores reach when diagnoses are shuffled over the cases.

    Parameters
    ----------
    label, probability : array-like, shape (n,)
        As in :func:`auc`; all images of a case have one label.
    case : array-like, shape (n,)
        The person each image belongs to; a person's images stay together.
    repeats : int
        Number of shuffles.
    seed : int
        Seed of the shuffles.

    Returns
    -------
    ndarray, shape (repeats,)
        Around 0.5, the more widely the fewer the cases.

    Examples
    --------
    >>> areas = auc_of_shuffled([1, 1, 0], [0.9, 0.8, 0.1], ["a", "a", "b"], repeats=20)
    >>> sorted(set(areas.tolist()))
    [0.0, 1.0]
    """
    label, probability = checked_scores(label, probability)
    _, first, codes = np.unique(np.asarray(case), return_index=True, return_inverse=True)
    rng = np.random.default_rng(seed)
    shuffled = (rng.permutation(label[first])[codes] for _ in range(repeats))
    return np.array([auc(labels, probability) for labels in shuffled])


def read(path: str | Path) -> pd.DataFrame:
    """Read a CSV of predictions or images, ids as text whatever they look like.

    Parameters
    ----------
    path : str or Path
        For example ``predictions/04_resnet50.csv``.

    Returns
    -------
    DataFrame
        As in the file; an id such as ``007`` stays as written.
    """
    return pd.read_csv(path, dtype={"id": str, "image_id": str, "case_id": str})


def scored_images(
    predictions: pd.DataFrame,
    images: pd.DataFrame,
    cases: pd.DataFrame,
    *,
    threshold: float = 0.5,
    split: str = "test",
) -> pd.DataFrame:
    """Join one model's predictions on a split to the cases they belong to.

    Parameters
    ----------
    predictions : DataFrame
        Columns id, label, probability, seed, split (``predictions/*.csv``, unit image). With
        several seeds the lowest is taken, a choice that does not look at the result.
    images, cases : DataFrame
        ``images.csv`` and ``cases.csv``.
    threshold : float
        Called positive when the probability is at least this; not stated in the paper.
    split : str
        training, validation or test.

    Returns
    -------
    DataFrame
        One row a leg image: image_id, case_id, side, diagnosis, label, probability, call.

    Raises
    ------
    ValueError
        When the split is empty, an image or case is unknown, or a label contradicts the
        case's diagnosis.
    """
    chosen = predictions[predictions["split"] == split]
    if chosen.empty:
        found = ", ".join(sorted(predictions["split"].astype(str).unique())) or "none"
        raise ValueError(f"No prediction has split {split!r}; splits found: {found}.")
    chosen = chosen[chosen["seed"] == chosen["seed"].min()].rename(columns={"id": "image_id"})
    joined = chosen.merge(
        images[["image_id", "case_id", "side"]], on="image_id", how="left", validate="1:1"
    ).merge(cases[["case_id", "diagnosis", "dystrophinopathy"]], on="case_id", how="left")
    _all_matched(joined)
    joined["call"] = (joined["probability"] >= threshold).astype(int)
    columns = ["image_id", "case_id", "side", "diagnosis", "label", "probability", "call"]
    return joined[columns].sort_values("image_id", ignore_index=True)


def checked_scores(
    label: ArrayLike, probability: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return labels and scores as arrays, or say what is wrong with them.

    Parameters
    ----------
    label, probability : array-like, shape (n,)
        As in :func:`auc`.

    Returns
    -------
    tuple of ndarray
        Labels as integers and scores as floats.

    Raises
    ------
    ValueError
        On unequal lengths, NaN, labels other than 0 and 1, or one class only.
    """
    label = _zeros_and_ones(label, name="label")
    probability = np.asarray(probability, dtype=float)
    _same_length(label, probability, name="probabilities")
    missing = np.flatnonzero(~np.isfinite(probability))
    if missing.size:
        raise ValueError(
            f"{missing.size} of {probability.size} probabilities are NaN or infinite, the first "
            f"at position {missing[0]}; a score is needed for every image."
        )
    if np.unique(label).size < 2:
        raise ValueError(
            f"All {label.size} labels are {'1' if label.any() else '0'}; a ROC curve needs "
            "positives (1) and controls (0). Use a split or subset that holds both."
        )
    return label, probability


def published_calls() -> pd.DataFrame:
    """Return the counts of the paper's Table 3, ResNet50 on the test set's images.

    Returns
    -------
    DataFrame
        group (:data:`GROUPS`), called (images called dystrophinopathy), n (images).

    References
    ----------
    Yang M et al. BMC Neurology 2021;21:13, Table 3.

    Examples
    --------
    >>> published_calls().to_numpy().tolist()
    [['DMD', 123, 130], ['BMD', 81, 98], ['other disease', 35, 420]]
    """
    printed = {name: int(claims.get(name).value) for name in _TABLE_3}
    controls = printed["P1-45p"] + printed["P1-45n"]
    called = [printed["P1-43n"], printed["P1-44n"], printed["P1-45p"]]
    images = [printed["P1-43d"], printed["P1-44d"], controls]
    return pd.DataFrame({"group": GROUPS, "called": called, "n": images})


def published_counts() -> Counts:
    """Return the two-by-two table that follows from the paper's Table 3.

    Returns
    -------
    Counts

    Examples
    --------
    >>> published_counts()
    Counts(tp=204, fn=24, fp=35, tn=385)
    """
    called, images = published_calls()[["called", "n"]].to_numpy().T.tolist()
    tp, positives = sum(called[:2]), sum(images[:2])
    return Counts(tp=tp, fn=positives - tp, fp=called[2], tn=images[2] - called[2])


def table_3_group(images: pd.DataFrame) -> pd.Series:
    """Sort images into the groups of the paper's Table 3.

    Parameters
    ----------
    images : DataFrame
        diagnosis and label of each image, as :func:`scored_images` returns them.

    Returns
    -------
    Series
        Categorical in the order of :data:`GROUPS`; same index.

    Raises
    ------
    ValueError
        When a positive is neither DMD nor BMD.

    Examples
    --------
    >>> table_3_group(pd.DataFrame({"diagnosis": ["DMD", "FSHD"], "label": [1, 0]})).tolist()
    ['DMD', 'other disease']
    """
    group = images["diagnosis"].where(images["label"] == 1, GROUPS[-1])
    unknown = sorted(set(group) - set(GROUPS))
    if unknown:
        raise ValueError(
            f"Positives with diagnosis {', '.join(unknown)}; expected DMD or BMD. Check cases.csv."
        )
    ordered = pd.Categorical(group, categories=GROUPS, ordered=True)
    return pd.Series(ordered, index=images.index, name="group")


def fat_by_leg(path: str | Path) -> pd.DataFrame:
    """Average the true fat fraction over the muscles of a leg; for scoring only.

    Parameters
    ----------
    path : str or Path
        The phantom's ``truth/fat_fractions.csv``: case_id, side, muscle, fat_fraction (0 to 1).

    Returns
    -------
    DataFrame
        case_id, side, fat_fraction: the plain mean, each muscle counting once. No rows when
        there is no such file, as with your own images.
    """
    if not Path(path).is_file():
        return pd.DataFrame({"case_id": [], "side": [], "fat_fraction": []}).astype(
            {"case_id": str, "side": str, "fat_fraction": float}
        )
    muscles = pd.read_csv(path, dtype={"case_id": str})
    return muscles.groupby(["case_id", "side"], as_index=False)["fat_fraction"].mean()


def _ratio(numerator: ArrayLike, denominator: ArrayLike) -> NDArray[np.float64]:
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    undefined = np.full(denominator.shape, np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator != 0)[()]


def _zeros_and_ones(values: ArrayLike, *, name: str) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; expected one row of 0s and 1s.")
    wrong = [value for value in pd.unique(array) if value not in (0, 1)]
    if wrong:
        raise ValueError(
            f"{name} holds {', '.join(repr(w) for w in wrong[:5])}; expected only 0 (another "
            "disease) and 1 (dystrophinopathy)."
        )
    return array.astype(np.int64)


def _same_length(label: NDArray, other: NDArray, *, name: str) -> None:
    if label.shape != other.shape:
        raise ValueError(
            f"{label.size} labels but {other.size} {name} (shape {other.shape}); "
            "expected one for every label."
        )


def _all_matched(joined: pd.DataFrame) -> None:
    problems: Mapping[str, pd.Series] = {
        "are not in images.csv": joined["case_id"].isna(),
        "belong to a case that is not in cases.csv": joined["case_id"].notna()
        & joined["dystrophinopathy"].isna(),
        "have a label other than their case's diagnosis": joined["dystrophinopathy"].notna()
        & (joined["label"] != joined["dystrophinopathy"]),
    }
    found = [
        f"{rows.sum()} predictions {problem}, e.g. {joined.loc[rows, 'image_id'].iloc[0]!r}"
        for problem, rows in problems.items()
        if rows.any()
    ]
    if found:
        raise ValueError(
            "; ".join(found) + ". The files come from different runs: run `make book` again."
        )
