"""Operating points: what a threshold would mean for people at a chosen prevalence.

Sensitivity and specificity belong to a threshold, predictive values to a threshold and a
prevalence. The limits of a predictive value at any prevalence follow from those at one half,
because Bayes' theorem keeps the order of resampled values.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from helpers import accuracy, inference
from helpers.accuracy import Counts

#: Thresholds shown, 0 to 1 by 0.02.
THRESHOLDS = np.arange(51) / 50

#: Measures of an operating point; the predictive values at a prevalence of one half.
MEASURES = ("sensitivity", "specificity", "lr_positive", "lr_negative", "ppv_half", "npv_half")


def sweep(
    label: ArrayLike,
    probability: ArrayLike,
    case: ArrayLike,
    *,
    thresholds: ArrayLike = THRESHOLDS,
    replicates: int = 2000,
    seed: int | np.random.Generator = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Measure every threshold, with percentile intervals from the same resampled cases.

    Parameters
    ----------
    label : array-like of 0 and 1, shape (n,)
        Reference diagnosis of each image.
    probability : array-like of float, shape (n,)
        An image is called positive when this is at least the threshold.
    case : array-like, shape (n,)
        The person each image belongs to.
    thresholds : array-like of float, shape (t,)
        Where to cut.
    replicates, seed, level
        As in :func:`helpers.inference.by_case`.

    Returns
    -------
    DataFrame
        setting (the threshold), measure (:data:`MEASURES`), estimate, low, high, method. Where
        no interval can be given the method says why.

    Examples
    --------
    >>> table = sweep([1, 1, 0, 0], [0.9, 0.4, 0.6, 0.1], list("abcd"), thresholds=[0.5], seed=1)
    >>> table.loc[table["measure"] == "sensitivity", ["estimate", "low", "high"]].iloc[0].tolist()
    [0.5, 0.0, 1.0]
    >>> table.set_index("measure")["method"]["ppv_half"].startswith("none: undefined in")
    True
    """
    label, probability = accuracy.checked_scores(label, probability)
    weights = inference.case_weights(case, stratum=label, replicates=replicates, seed=seed)
    cells = [
        weights @ inference.counts_by_case(label, (probability >= cut).astype(int), case)
        for cut in np.asarray(thresholds, dtype=float)
    ]
    parts = []
    for cut, tables in zip(np.asarray(thresholds, dtype=float), cells, strict=True):
        samples = _samples(Counts(*tables.T))
        rows = [
            (cut, name, *inference.percentiles(samples[name], cases=weights.shape[1], level=level))
            for name in MEASURES
        ]
        parts += rows
    return pd.DataFrame(parts, columns=["setting", "measure", "estimate", "low", "high", "method"])


def at_prevalence(value: ArrayLike, prevalence: float, *, positive: bool) -> NDArray[np.float64]:
    r"""Carry a predictive value from a prevalence of one half to another, by Bayes' theorem.

    With :math:`v` the value at one half and :math:`\pi` the share of people it speaks of
    (the prevalence for the positive, the rest for the negative value), it becomes
    :math:`v\pi/(v\pi+(1-v)(1-\pi))`; the odds :math:`v/(1-v)` are :math:`LR^+`, or
    :math:`1/LR^-`. The same map carries the limits of an interval.

    Parameters
    ----------
    value : array-like
        Predictive value, or its limits, at a prevalence of one half.
    prevalence : float
        Between 0 and 1.
    positive : bool
        Whether it is the positive predictive value.

    Returns
    -------
    float or array
        NaN where the value is.

    Raises
    ------
    ValueError
        For a prevalence outside 0 to 1.

    Examples
    --------
    The published network, whose positive likelihood ratio is 10.7368, at three prevalences:

    >>> half = 10.736842 / 11.736842
    >>> [round(float(at_prevalence(half, p, positive=True)), 3) for p in (0.01, 0.1, 0.5)]
    [0.098, 0.544, 0.915]
    """
    if not 0 <= prevalence <= 1:
        raise ValueError(f"A prevalence of {prevalence} is none; expected a share from 0 to 1.")
    value = np.asarray(value, dtype=float)
    share = prevalence if positive else 1 - prevalence
    both = value * share + (1 - value) * (1 - share)
    return np.divide(value * share, both, out=np.full(value.shape, np.nan), where=both > 0)[()]


def per_thousand(sensitivity: float, specificity: float, prevalence: float) -> Counts:
    """Return what calls would come out among 1,000 people, one image each.

    Parameters
    ----------
    sensitivity, specificity : float
        Of the operating point.
    prevalence : float
        Share of the people who are ill.

    Returns
    -------
    Counts
        Whole people, 1,000 in all; halves are rounded up.

    Examples
    --------
    >>> per_thousand(204 / 228, 385 / 420, 0.10)
    Counts(tp=89, fn=11, fp=75, tn=825)
    """
    ill = int(np.floor(1000 * prevalence + 0.5))
    found = int(np.floor(ill * sensitivity + 0.5))
    cleared = int(np.floor((1000 - ill) * specificity + 0.5))
    return Counts(tp=found, fn=ill - found, fp=1000 - ill - cleared, tn=cleared)


def of_counts(
    counts: Counts, *, effective: tuple[float, float], setting: float, level: float = 0.95
) -> pd.DataFrame:
    """Measure one table of counts, its intervals with effective numbers of images.

    Wilson's intervals of sensitivity and specificity, the log method for likelihood ratios
    (Simel 1991), and from these the predictive values: their odds are a likelihood ratio times
    the odds of the prevalence, which has no error when it is chosen (Mercaldo 2007).

    Parameters
    ----------
    counts : Counts
        One table.
    effective : tuple of float
        Effective numbers of positives and controls; those counted when images are independent.
    setting : float
        Goes into the first column.
    level : float
        Confidence level.

    Returns
    -------
    DataFrame
        As :func:`sweep`.

    References
    ----------
    Mercaldo ND, Lau KF, Zhou XH. Statistics in Medicine 2007;26:2170-2183.

    Examples
    --------
    >>> table = of_counts(Counts(204, 24, 35, 385), effective=(228, 420), setting=0.0)
    >>> limits = table.set_index("measure").loc["ppv_half", ["low", "high"]].astype(float)
    >>> [round(float(at_prevalence(v, 228 / 648, positive=True)), 3) for v in limits]
    [0.809, 0.889]
    """
    sick, well = effective
    found = accuracy.measures(counts)
    scaled = Counts(
        tp=sick * float(found["sensitivity"]),
        fn=sick * (1 - float(found["sensitivity"])),
        fp=well * (1 - float(found["specificity"])),
        tn=well * float(found["specificity"]),
    )
    rows = {
        "sensitivity": inference.proportion(scaled.tp, sick, level=level),
        "specificity": inference.proportion(scaled.tn, well, level=level),
        "lr_positive": inference.likelihood_ratio(scaled, sign="positive", level=level),
        "lr_negative": inference.likelihood_ratio(scaled, sign="negative", level=level),
    }
    odds = np.array(rows["lr_positive"][:3], dtype=float)
    rows["ppv_half"] = inference.Interval(*(odds / (1 + odds)), "from the likelihood ratio")
    low, high = (1 / (1 + limit) for limit in (rows["lr_negative"].high, rows["lr_negative"].low))
    estimate = 1 / (1 + rows["lr_negative"].estimate)
    rows["npv_half"] = inference.Interval(estimate, low, high, "from the likelihood ratio")
    table = pd.DataFrame([(setting, name, *rows[name]) for name in MEASURES])
    return table.set_axis(["setting", "measure", "estimate", "low", "high", "method"], axis=1)


def best_youden(label: ArrayLike, probability: ArrayLike) -> float:
    """Return the threshold shown here at which sensitivity plus specificity is largest.

    To be used on the validation set: on the test set the best of many thresholds flatters.

    Parameters
    ----------
    label, probability : array-like, shape (n,)
        As in :func:`sweep`.

    Returns
    -------
    float
        One of :data:`THRESHOLDS`; of several equally good ones the middle one.

    References
    ----------
    Youden WJ. Cancer 1950;3:32-35.

    Examples
    --------
    >>> best_youden([1, 1, 0, 0], [0.9, 0.71, 0.69, 0.1])
    0.7
    """
    label, probability = accuracy.checked_scores(label, probability)
    calls = probability[:, None] >= THRESHOLDS
    index = calls[label == 1].mean(axis=0) - calls[label == 0].mean(axis=0)
    best = np.flatnonzero(np.isclose(index, index.max()))
    return float(THRESHOLDS[best[best.size // 2]])


def _samples(tables: Counts) -> dict[str, NDArray[np.float64]]:
    found = accuracy.measures(tables)
    sensitivity, specificity = found["sensitivity"], found["specificity"]
    called, cleared = sensitivity + 1 - specificity, specificity + 1 - sensitivity
    return found | {
        "ppv_half": _divided(sensitivity, called),
        "npv_half": _divided(specificity, cleared),
    }


def _divided(part: NDArray, whole: NDArray) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
