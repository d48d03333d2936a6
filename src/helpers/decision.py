"""Whether to act on a model: net benefit over the thresholds at which people would act.

Somebody who would act at a probability of one in ten holds nine needless actions for one missed
case to be even. Net benefit counts true positives less false ones at that rate of exchange, so
that a model can be compared with acting on everybody and on nobody.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from helpers import calibration, inference


def net_benefit(tp: ArrayLike, fp: ArrayLike, n: ArrayLike, threshold: ArrayLike) -> NDArray:
    r"""Net benefit :math:`TP/n-FP/n\cdot p_t/(1-p_t)`.

    Parameters
    ----------
    tp, fp, n : int or array
        True and false positives among all images.
    threshold : float or array
        Probability :math:`p_t` at which one would act, at least 0 and below 1.

    Returns
    -------
    float or ndarray
        In true positives an image; at most the prevalence.

    References
    ----------
    Vickers AJ, Elkin EB. Med Decis Making 2006;26:565-574, doi 10.1177/0272989X06295361.

    Examples
    --------
    Acting on all of 100 images, of which 14 are positive:

    >>> net_benefit(14, 86, 100, [0.05, 0.10, 0.20]).round(7).tolist()
    [0.0947368, 0.0444444, -0.075]
    """
    threshold = np.asarray(threshold, dtype=float)
    if ((threshold < 0) | (threshold >= 1)).any():
        raise ValueError("A threshold must be at least 0 and below 1.")
    return (np.asarray(tp) - np.asarray(fp) * threshold / (1 - threshold)) / np.asarray(n)


def curve(
    label: ArrayLike,
    probability: ArrayLike,
    *,
    case: ArrayLike | None = None,
    prevalence: float | None = None,
    thresholds: ArrayLike | None = None,
    replicates: int = 1000,
    seed: int | np.random.Generator = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    r"""Net benefit of acting on a model, on everybody and on nobody.

    An image counts as called when its probability is at least the threshold. At a chosen
    prevalence :math:`\pi`, net benefit is :math:`Se\,\pi-(1-Sp)(1-\pi)\,p_t/(1-p_t)`; the
    probabilities should then be calibrated to it.

    Parameters
    ----------
    label, probability : array-like, shape (n,)
        As in :func:`helpers.calibration.summary`.
    case : array-like, shape (n,), optional
        The person each image belongs to; adds the interval of resampled cases.
    prevalence : float, optional
        Share of positives where the model is to be used; that of these images when not given.
    thresholds : array-like, optional
        0.01 to 0.99 by 0.01 when not given.
    replicates, seed, level
        As in :func:`helpers.inference.by_case`.

    Returns
    -------
    DataFrame
        threshold, model, low, high, treat_all, treat_none.

    References
    ----------
    As for :func:`net_benefit`.

    Examples
    --------
    >>> found = curve([1, 1, 0, 0], [0.9, 0.6, 0.4, 0.1], thresholds=[0.5])
    >>> found[["model", "treat_all", "treat_none"]].to_numpy().tolist()
    [[0.5, 0.0, 0.0]]
    """
    label, probability = calibration.checked_probabilities(label, probability)
    chosen = np.arange(1, 100) / 100 if thresholds is None else np.asarray(thresholds, float)
    share = float(label.mean()) if prevalence is None else prevalence
    if not 0 <= share <= 1:
        raise ValueError(f"Prevalence {share} is not between 0 and 1.")
    called = probability[:, None] >= chosen
    unit = np.arange(label.size) if case is None else np.asarray(case)
    rows = replicates if case is not None else 0
    weights = inference.case_weights(unit, stratum=label, replicates=rows, seed=seed)
    values = _resampled(label, called, unit, weights, share, chosen)
    table = pd.DataFrame({"threshold": chosen, "model": values[0], "low": np.nan, "high": np.nan})
    if case is not None:
        tails = [(1 - level) / 2, (1 + level) / 2]
        table[["low", "high"]] = np.quantile(values[1:], tails, axis=0).T
    return table.assign(treat_all=net_benefit(share, 1 - share, 1, chosen), treat_none=0.0)


def _resampled(
    label: NDArray, called: NDArray, unit: NDArray, weights: NDArray, share: float, chosen: NDArray
) -> NDArray[np.float64]:
    codes = pd.factorize(unit, sort=True)[0]
    member = np.equal.outer(np.arange(weights.shape[1]), codes).astype(float)
    rates = []
    for kind in (1, 0):
        of_kind = (label == kind)[:, None]
        images = weights @ (member @ of_kind)
        rates.append(weights @ (member @ (called * of_kind)) / images)
    return net_benefit(rates[0] * share, rates[1] * (1 - share), 1, chosen)
