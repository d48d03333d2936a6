"""Whether a probability means what it says, and how to make it so.

A model may rank images well and still be far too sure. Of the images given a probability near
0.8, about eight in ten should be positive; the calibration intercept and slope say how far that
is from true overall and in spread. Recalibration learns both on the validation images and never
looks at the test set.
"""

import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats
from statsmodels.tools.sm_exceptions import PerfectSeparationError, PerfectSeparationWarning

from helpers import accuracy, clustered
from helpers.inference import Interval

#: Probabilities are kept this far from 0 and 1, where the logit is infinite.
MARGIN = 1e-6


class Recalibration(NamedTuple):
    """A logistic map from a model's probability to a calibrated one.

    Attributes
    ----------
    intercept, slope : float
        Of the logit.
    n : int
        Images that it was fitted on.
    reason : str
        Why it could not be fitted; empty otherwise, and the two are then NaN.
    """

    intercept: float
    slope: float
    n: int
    reason: str


def summary(
    label: ArrayLike,
    probability: ArrayLike,
    *,
    case: ArrayLike | None = None,
    bins: int = 10,
    level: float = 0.95,
) -> pd.DataFrame:
    r"""Tabulate calibration intercept and slope, Brier score and calibration error.

    With :math:`\ell=\operatorname{logit} p`: the intercept, calibration in the large, is a in
    :math:`\operatorname{logit}P(y=1)=a+\ell` and 0 when right; the slope is b in
    :math:`\operatorname{logit}P(y=1)=a+b\ell` and 1 when right, below 1 when the model is too
    sure. Their intervals are Wald's, with errors that sum scores by case where cases are given.
    The Brier score is :math:`\overline{(p-y)^2}`; the expected calibration error the mean
    distance of share and mean probability over ``bins`` equally full groups.

    Parameters
    ----------
    label, probability : array-like, shape (n,)
        As in :func:`helpers.accuracy.auc`, probabilities between 0 and 1.
    case : array-like, shape (n,), optional
        The person each image belongs to.
    bins : int
        Groups of the calibration error.
    level : float
        Confidence level.

    Returns
    -------
    DataFrame
        measure (intercept, slope, brier, brier_scaled, ece), estimate, low, high, ideal, method,
        reason. ``brier_scaled`` is one less the ratio to the Brier score of always giving the
        share of positives.

    Raises
    ------
    ValueError
        As :func:`helpers.accuracy.checked_scores`, or when a value is no probability.

    References
    ----------
    Cox DR. Biometrika 1958;45:562-565, doi 10.1093/biomet/45.3-4.562.
    Van Calster B et al. BMC Medicine 2019;17:230, doi 10.1186/s12916-019-1466-7.
    Brier GW. Monthly Weather Review 1950;78:1-3.

    Examples
    --------
    Four images of ten in each of two groups are positive, as the probabilities say:

    >>> label = np.r_[np.repeat([1, 0], [2, 8]), np.repeat([1, 0], [8, 2])]
    >>> table = summary(label, np.repeat([0.2, 0.8], 10), bins=2).set_index("measure")
    >>> bool(abs(table.loc["slope", "estimate"] - 1) < 1e-6)
    True
    >>> [abs(round(float(table.loc[m, "estimate"]), 3)) for m in ("intercept", "brier", "ece")]
    [0.0, 0.16, 0.0]
    """
    label, probability = checked_probabilities(label, probability)
    rows = [
        ("intercept", *_coefficient(label, probability, case, "intercept", level), 0.0),
        ("slope", *_coefficient(label, probability, case, "slope", level), 1.0),
    ]
    score, share = float(((probability - label) ** 2).mean()), label.mean()
    rows.append(("brier", *_brier(label, probability, case, level), 0.0))
    scaled = 1 - score / (share * (1 - share))
    rows.append(("brier_scaled", scaled, np.nan, np.nan, "none given", 1.0))
    error = expected_error(label, probability, bins=bins)
    rows.append(("ece", error, np.nan, np.nan, f"{bins} groups, biased upwards", 0.0))
    table = pd.DataFrame(rows, columns=["measure", "estimate", "low", "high", "method", "ideal"])
    why = table["method"].where(table["method"].str.startswith("none: "), "")
    return table.assign(reason=why.str.removeprefix("none: "))


def curve(
    label: ArrayLike,
    probability: ArrayLike,
    *,
    case: ArrayLike | None = None,
    bins: int = 10,
    level: float = 0.95,
) -> pd.DataFrame:
    """Share of positives in groups of images with like probabilities, with intervals.

    Parameters
    ----------
    label, probability, case
        As in :func:`summary`.
    bins : int
        Equally full groups; fewer where equal probabilities would be parted.
    level : float
        Confidence level.

    Returns
    -------
    DataFrame
        mean_probability, estimate (share of positives), low, high, n, method; a row a group.
        With cases, Wilson's interval on effective images.

    Examples
    --------
    >>> table = curve([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.8, 0.9], bins=2)
    >>> table[["mean_probability", "estimate", "n"]].round(2).to_numpy().tolist()
    [[0.2, 0.33, 3.0], [0.8, 0.67, 3.0]]
    """
    label, probability = checked_probabilities(label, probability)
    unit = np.arange(label.size) if case is None else np.asarray(case)
    rows = []
    for members in _groups(probability, bins):
        found = clustered.interval(
            label[members],
            unit[members],
            method="wilson",
            level=level,
            corrected=case is not None,
        )
        rows.append((probability[members].mean(), *found[:3], members.sum(), found.method))
    columns = ["mean_probability", "estimate", "low", "high", "n", "method"]
    return pd.DataFrame(rows, columns=columns)


def expected_error(label: ArrayLike, probability: ArrayLike, *, bins: int = 10) -> float:
    """Return the expected calibration error over equally full groups.

    Parameters
    ----------
    label, probability, bins
        As in :func:`summary`.

    Returns
    -------
    float
        0 is perfect. It grows with the number of groups by chance alone, so that models may
        be compared by it only on the same images.

    References
    ----------
    Naeini MP, Cooper GF, Hauskrecht M. AAAI 2015:2901-2907.

    Examples
    --------
    >>> expected_error([0, 0, 1, 1], [0.0, 0.0, 0.5, 0.5], bins=2)
    0.25
    """
    label, probability = checked_probabilities(label, probability)
    gaps = [
        abs((label[members] - probability[members]).sum()) for members in _groups(probability, bins)
    ]
    return float(sum(gaps) / label.size)


def fit(label: ArrayLike, probability: ArrayLike) -> Recalibration:
    r"""Fit a logistic recalibration, :math:`\operatorname{logit}p'=a+b\operatorname{logit}p`.

    Parameters
    ----------
    label, probability : array-like, shape (n,)
        Of the validation images.

    Returns
    -------
    Recalibration
        NaN with a reason when no finite slope fits, as the classes are wholly apart.

    References
    ----------
    Platt JC. In: *Advances in Large Margin Classifiers*, MIT Press 2000, 61-74; Cox as above.

    Examples
    --------
    A model that is twice too sure on the logit scale:

    >>> rng = np.random.default_rng(1)
    >>> truth = rng.normal(size=20_000)
    >>> label = (rng.random(20_000) < special.expit(truth)).astype(int)
    >>> print(f"{fit(label, special.expit(2 * truth)).slope:.1f}")
    0.5
    """
    label, probability = checked_probabilities(label, probability)
    model = _logistic(label, sm.add_constant(_logit(probability), has_constant="add"))
    if isinstance(model, str):
        return Recalibration(np.nan, np.nan, label.size, model)
    return Recalibration(float(model.params[0]), float(model.params[1]), label.size, "")


def apply(found: Recalibration, probability: ArrayLike) -> NDArray[np.float64]:
    """Recalibrate probabilities.

    Parameters
    ----------
    found : Recalibration
        Fitted on other images.
    probability : array-like, shape (n,)
        Of the test images.

    Returns
    -------
    ndarray, shape (n,)
        In the same order of ranks when the slope is positive; NaN when nothing was fitted.

    Examples
    --------
    >>> apply(Recalibration(0.0, 0.5, 100, ""), [0.8]).round(3).tolist()
    [0.667]
    """
    return special.expit(found.intercept + found.slope * _logit(np.asarray(probability, float)))


def checked_probabilities(
    label: ArrayLike, probability: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return labels and probabilities as arrays, or say what is wrong with them.

    Parameters
    ----------
    label, probability : array-like, shape (n,)
        As in :func:`summary`.

    Returns
    -------
    tuple of ndarray

    Raises
    ------
    ValueError
        As :func:`helpers.accuracy.checked_scores`, or when a value is outside 0 to 1.

    Examples
    --------
    >>> checked_probabilities([0, 1], [0.5, 1.5])
    Traceback (most recent call last):
    ValueError: 1 of 2 values are no probabilities, e.g. 1.5; expected 0 to 1.
    """
    label, probability = accuracy.checked_scores(label, probability)
    wrong = probability[(probability < 0) | (probability > 1)]
    if wrong.size:
        raise ValueError(
            f"{wrong.size} of {probability.size} values are no probabilities, e.g. {wrong[0]:g}; "
            "expected 0 to 1."
        )
    return label, probability


def _logit(probability: NDArray) -> NDArray[np.float64]:
    return special.logit(np.clip(probability, MARGIN, 1 - MARGIN))


def _logistic(label: NDArray, design: NDArray, **options):
    """Fit a logistic regression; a sentence instead of the fit when there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PerfectSeparationWarning)
            found = sm.GLM(label, design, family=sm.families.Binomial(), **options).fit(tol=1e-10)
    except (PerfectSeparationError, np.linalg.LinAlgError):
        return "positives and controls are wholly apart"
    if not np.isfinite(found.params).all() or np.abs(found.params).max() > 1e3:
        return "positives and controls are wholly apart"
    fitted = found.fittedvalues
    if fitted[label == 1].min() > 1 - 1e-8 and fitted[label == 0].max() < 1e-8:
        return "positives and controls are wholly apart"
    return found


def _coefficient(
    label: NDArray, probability: NDArray, case: ArrayLike | None, name: str, level: float
) -> Interval:
    logit = _logit(probability)
    if name == "intercept":
        design, options, place = np.ones((label.size, 1)), {"offset": logit}, 0
    else:
        design, options, place = sm.add_constant(logit, has_constant="add"), {}, 1
    if name == "slope" and np.ptp(logit) == 0:
        return Interval(np.nan, np.nan, np.nan, "none: all probabilities are the same")
    found = _logistic(label, design, **options)
    if isinstance(found, str):
        return Interval(np.nan, np.nan, np.nan, f"none: {found}")
    estimate = float(found.params[place])
    error, method = float(found.bse[place]), "Wald"
    if case is not None:
        error = _robust_error(label, design, found, case)[place]
        method = f"Wald, errors by {pd.unique(np.asarray(case)).size} cases"
    half = stats.norm.ppf((1 + level) / 2) * error
    return Interval(estimate, estimate - half, estimate + half, method)


def _robust_error(label: NDArray, design: NDArray, found, case: ArrayLike) -> NDArray:
    fitted = np.asarray(found.fittedvalues)
    codes = pd.factorize(np.asarray(case))[0]
    cases = codes.max() + 1
    scores = design * (label - fitted)[:, None]
    summed = np.column_stack([np.bincount(codes, column, cases) for column in scores.T])
    bread = np.linalg.inv(design.T @ (design * (fitted * (1 - fitted))[:, None]))
    meat = cases / (cases - 1) * summed.T @ summed
    return np.sqrt(np.diag(bread @ meat @ bread))


def _brier(label: NDArray, probability: NDArray, case: ArrayLike | None, level: float) -> Interval:
    loss = (probability - label) ** 2
    codes = np.arange(label.size) if case is None else pd.factorize(np.asarray(case))[0]
    units, size = codes.max() + 1, np.bincount(codes)
    apart = np.bincount(codes, loss) - loss.mean() * size
    error = float(np.sqrt(units / (units - 1) * (apart**2).sum()) / label.size)
    half = stats.t.ppf((1 + level) / 2, units - 1) * error
    method = f"ratio estimator, {units} {'images' if case is None else 'cases'}"
    return Interval(float(loss.mean()), float(max(loss.mean() - half, 0)), float(min(
        loss.mean() + half, 1)), method)  # fmt: skip


def _groups(probability: NDArray, bins: int) -> list[NDArray[np.bool_]]:
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, probability, side="right") - 1, 0, len(edges) - 2)
    if len(edges) < 2:
        return [np.ones(probability.size, dtype=bool)]
    return [place == number for number in np.unique(place)]
