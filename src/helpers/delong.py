"""Areas under ROC curves without resampling: DeLong's method, and Obuchowski's for cases.

The area is the chance that a positive scores above a control. Each positive's share of controls
below it, and each control's share of positives above it, are its components; how much these
differ is the area's variance. Where a person has several images the components are summed by
person first.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from helpers import accuracy, inference
from helpers.inference import Interval


class AreaDifference(NamedTuple):
    """Two areas under ROC curves on the same images, compared.

    Attributes
    ----------
    first, second : float
        The areas.
    difference, low, high : float
        First less second with its interval.
    error : float
        Standard error of the difference.
    z, p : float
        Difference over error and two-sided p-value; 0 and 1 when the areas are equal and have
        no variance apart, as with the same scores twice.
    method : str
        DeLong or Obuchowski.
    reason : str
        Why a value is NaN; empty otherwise.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    error: float
    z: float
    p: float
    method: str
    reason: str


def components(
    label: ArrayLike, probability: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Each image's part in the area under the ROC curve.

    For positive i, :math:`V_{10,i}` is the share of controls that score lower, ties counting one
    half; for control j, :math:`V_{01,j}` is the share of positives that score higher. The mean
    of either is the area. By midranks, so that the cost grows as n log n.

    Parameters
    ----------
    label, probability : array-like, shape (n,)
        As in :func:`helpers.accuracy.auc`.

    Returns
    -------
    tuple of ndarray
        Of the positives and of the controls, each in the order given.

    Raises
    ------
    ValueError
        On unequal lengths, NaN, labels other than 0 and 1, or one class only.

    References
    ----------
    Sun X, Xu W. IEEE Signal Processing Letters 2014;21:1389-1393, doi 10.1109/LSP.2014.2337313.

    Examples
    --------
    >>> components([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])[0].tolist()
    [0.75, 1.0]
    """
    label, probability = accuracy.checked_scores(label, probability)
    positive, control = probability[label == 1], probability[label == 0]
    ranks = stats.rankdata(np.concatenate([positive, control]))
    number, others = positive.size, control.size
    above = (ranks[:number] - stats.rankdata(positive)) / others
    below = 1 - (ranks[number:] - stats.rankdata(control)) / number
    return above, below


def covariance(
    label: ArrayLike, scores: ArrayLike, *, case: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Areas of several scores of the same images, and their covariance.

    Without ``case``, DeLong's :math:`S_{10}/m+S_{01}/n` with the sample covariances of the
    components over m positives and n controls. With ``case``, Obuchowski's: components are
    summed by case, of which :math:`I_{10}` have positives, :math:`I_{01}` controls and I either,

    .. math::
       S_{10}=\frac{I_{10}}{(I_{10}-1)\,m}\sum_k(V_{10,k\cdot}-m_k\hat A)^2,\quad
       S_{01}=\frac{I_{01}}{(I_{01}-1)\,n}\sum_k(V_{01,k\cdot}-n_k\hat A)^2,\quad
       S_{11}=\frac{I}{I-1}\sum_k(V_{10,k\cdot}-m_k\hat A)(V_{01,k\cdot}-n_k\hat A)

    and the variance is :math:`S_{10}/m+S_{01}/n+2S_{11}/(mn)`; covariances take products of two
    scores' deviations. One image a case gives DeLong's.

    Parameters
    ----------
    label : array-like of 0 and 1, shape (n,)
        Reference diagnosis of each image.
    scores : array-like of float, shape (n,) or (n, models)
        One column a model.
    case : array-like, shape (n,), optional
        The person each image belongs to.

    Returns
    -------
    tuple of ndarray
        Areas, shape (models,), and covariance, shape (models, models); NaN where fewer than two
        cases have positives or fewer than two have controls.

    References
    ----------
    DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845, doi 10.2307/2531595.
    Obuchowski NA. Biometrics 1997;53:567-578, doi 10.2307/2533958.

    Examples
    --------
    >>> label, score = [0, 0, 0, 1, 1, 1], [0.1, 0.3, 0.5, 0.4, 0.7, 0.9]
    >>> areas, found = covariance(label, score)
    >>> print(f"{areas[0]:.4f} {found[0, 0]:.5f}")
    0.8889 0.02469
    """
    scores = np.asarray(scores, dtype=float)
    scores = scores.reshape(len(scores), -1)
    label = np.asarray(label)
    case = np.arange(len(label)) if case is None else np.asarray(case)
    if case.shape != label.shape:
        raise ValueError(f"{label.size} labels but {case.size} case ids; expected as many.")
    parts = [components(label, column) for column in scores.T]
    above, below = (np.column_stack(part) for part in zip(*parts, strict=True))
    areas = above.mean(axis=0)
    codes = pd.factorize(case, sort=True)[0]
    if (codes < 0).any():
        raise ValueError(f"{(codes < 0).sum()} of {codes.size} images have no case id.")
    positive, control = label == 1, label == 0
    of_positives = _summed(above - areas, codes[positive], codes.max() + 1) / len(above)
    of_controls = _summed(below - areas, codes[control], codes.max() + 1) / len(below)
    return areas, _pooled(of_positives, of_controls, codes, positive, control)


def interval(
    label: ArrayLike,
    probability: ArrayLike,
    *,
    case: ArrayLike | None = None,
    scale: str = "logit",
    level: float = 0.95,
) -> Interval:
    r"""Area under the ROC curve with DeLong's or Obuchowski's interval.

    ``plain`` is :math:`\hat A \pm z\,SE` cut at 0 and 1; ``logit`` is
    :math:`\operatorname{logit}\hat A \pm z\,SE/(\hat A(1-\hat A))` mapped back, which stays inside.

    Parameters
    ----------
    label, probability : array-like, shape (n,)
        As in :func:`helpers.accuracy.auc`.
    case : array-like, shape (n,), optional
        The person each image belongs to; without, images count as independent.
    scale : {"logit", "plain"}
        Where the interval is symmetric.
    level : float
        Confidence level.

    Returns
    -------
    Interval
        Limits NaN, with the reason as method, when positives and controls are wholly apart
        or fewer than two cases hold one of them.

    References
    ----------
    As for :func:`covariance`; Pepe MS. *The Statistical Evaluation of Medical Tests*, Oxford
    2003, section 5.2.4 (logit scale).

    Examples
    --------
    >>> found = interval([0, 0, 0, 1, 1, 1], [0.1, 0.3, 0.5, 0.4, 0.7, 0.9])
    >>> print(f"{found.estimate:.3f} {found.low:.3f} {found.high:.3f} {found.method}")
    0.889 0.261 0.995 DeLong, logit
    """
    if scale not in ("logit", "plain"):
        raise ValueError(f"No scale {scale!r}. Available: logit, plain.")
    areas, found = covariance(label, probability, case=case)
    area, error = float(areas[0]), float(np.sqrt(found[0, 0]))
    reason = _why(area, error)
    if reason:
        return Interval(area, np.nan, np.nan, f"none: {reason}")
    low, high = area_limits(area, error, scale=scale, level=level)
    name = "DeLong" if case is None else f"Obuchowski, {pd.unique(np.asarray(case)).size} cases"
    return Interval(area, float(low), float(high), f"{name}, {scale}")


def studentised(
    label: ArrayLike,
    probability: ArrayLike,
    case: ArrayLike,
    *,
    replicates: int = 2000,
    seed: int | np.random.Generator = 0,
    level: float = 0.95,
) -> Interval:
    r"""Area under the ROC curve with the studentised interval of resampled cases.

    Each resampled cohort gives its area :math:`A^*` and Obuchowski's error of it, and
    :math:`t^*=(\operatorname{logit}A^*-\operatorname{logit}\hat A)/SE^*` on the logit scale. The
    limits are :math:`\operatorname{logit}\hat A-t^*_{1-\alpha/2}SE` and
    :math:`\operatorname{logit}\hat A-t^*_{\alpha/2}SE` mapped back. It allows for an area near 1
    being skewed and its error being uncertain with few cases, which makes it wider than
    :func:`interval`.

    Parameters
    ----------
    label, probability, case : array-like, shape (n,)
        As in :func:`covariance`; all images of a case have one label.
    replicates, seed, level
        As in :func:`helpers.inference.by_case`.

    Returns
    -------
    Interval
        Limits NaN, with the reason as method, where :func:`interval` has none or when too many
        resampled cohorts have an area of 1 or no error.

    References
    ----------
    Efron B, Tibshirani RJ. *An Introduction to the Bootstrap*, Chapman & Hall 1993, chapter 12.
    Obuchowski NA. Biometrics 1997;53:567-578, doi 10.2307/2533958.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> case = np.repeat(np.arange(40), 3)
    >>> label = (case < 15).astype(int)
    >>> found = studentised(label, label + rng.normal(size=40)[case], case, seed=1)
    >>> found.low < found.estimate < found.high, found.method
    (True, 'studentised bootstrap of 40 cases')
    """
    plain = interval(label, probability, case=case, level=level)
    if np.isnan(plain.low):
        return plain
    weights = inference.case_weights(case, stratum=label, replicates=replicates, seed=seed)
    between, sizes, kinds = wins_by_case(label, probability, case)
    areas, errors = resampled_areas(between, sizes, tuple(weights[:, kind] for kind in kinds))
    low, high = studentised_limits(areas, errors, level=level)
    if np.isnan(low):
        return Interval(plain.estimate, np.nan, np.nan, "none: area 1 in too many resamples")
    people = f"{weights.shape[1]} cases"
    return Interval(plain.estimate, float(low), float(high), f"studentised bootstrap of {people}")


def wins_by_case(
    label: ArrayLike, probability: ArrayLike, case: ArrayLike
) -> tuple[NDArray, tuple[NDArray, NDArray], tuple[NDArray, NDArray]]:
    """Count how often images of each positive case score above those of each control case.

    Parameters
    ----------
    label, probability, case : array-like, shape (n,)
        As in :func:`studentised`.

    Returns
    -------
    wins : ndarray, shape (positive cases, control cases)
        Ties count one half.
    sizes : tuple of ndarray
        Images of each positive and each control case.
    kinds : tuple of ndarray
        Places of the positive and the control cases among all cases in sorted order.

    Examples
    --------
    >>> wins_by_case([1, 1, 0], [0.5, 0.9, 0.6], ["a", "a", "b"])[0].tolist()
    [[1.0]]
    """
    label, probability = accuracy.checked_scores(label, probability)
    codes, cases = pd.factorize(np.asarray(case), sort=True)
    kind = inference.stratum_of_case(codes, cases, label)
    kinds = np.flatnonzero(kind == 1), np.flatnonzero(kind == 0)
    member = np.equal.outer(codes, np.arange(len(cases))).astype(float)
    of = [member[label == value][:, kinds[1 - value]] for value in (1, 0)]
    higher = np.subtract.outer(probability[label == 1], probability[label == 0])
    wins = of[0].T @ np.heaviside(higher, 0.5) @ of[1]
    return wins, (of[0].sum(axis=0), of[1].sum(axis=0)), kinds


def resampled_areas(
    wins: NDArray, sizes: tuple[NDArray, NDArray], weights: tuple[NDArray, NDArray]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return area and Obuchowski's error of cohorts in which cases count several times or never.

    Parameters
    ----------
    wins, sizes
        From :func:`wins_by_case`.
    weights : tuple of ndarray, shape (cohorts, cases)
        How often each positive and each control case counts.

    Returns
    -------
    tuple of ndarray, shape (cohorts,)

    Examples
    --------
    >>> wins, sizes = np.array([[1.0, 1.0], [0.0, 1.0]]), (np.ones(2), np.ones(2))
    >>> areas, errors = resampled_areas(wins, sizes, (np.ones((1, 2)), np.ones((1, 2))))
    >>> float(areas[0]), round(float(errors[0]), 4)
    (0.75, 0.3536)
    """
    sides = [weights[0] @ sizes[0], weights[1] @ sizes[1]]
    sums = weights[1] @ wins.T, weights[0] @ wins
    areas = np.einsum("bk,bk->b", weights[0], sums[0]) / (sides[0] * sides[1])
    variance = np.zeros(len(areas))
    for weight, size, won, own, other in zip(weights, sizes, sums, sides, sides[::-1], strict=True):
        squares = np.einsum("bk,bk->b", weight * won, won) / other**2
        mixed = np.einsum("bk,bk->b", weight * size, won) / other
        apart = squares - 2 * areas * mixed + areas**2 * (weight @ size**2)
        variance += len(size) / (len(size) - 1) * apart / own**2
    return areas, np.sqrt(np.maximum(variance, 0.0))


def studentised_limits(
    areas: NDArray, errors: NDArray, *, level: float = 0.95
) -> tuple[float, float]:
    """Return the limits of :func:`studentised` from areas and errors of resampled cohorts.

    Parameters
    ----------
    areas, errors : ndarray, shape (replicates + 1,)
        Of the cohort itself, then of the resampled ones.
    level : float
        Confidence level.

    Returns
    -------
    tuple of float
        NaN when the cohort's own error is 0, or so many resampled ones are that they could move
        a limit.

    Examples
    --------
    >>> low, high = studentised_limits(np.array([0.9, 0.88, 0.9, 0.92]), np.full(4, 0.02))
    >>> print(f"{low:.3f} {high:.3f}")
    0.882 0.919
    """
    usable = (errors > 1e-9) & (areas > 0) & (areas < 1)
    if not usable[0] or (~usable[1:]).mean() > (1 - level) / 2:
        return float("nan"), float("nan")
    areas, errors = areas[usable], errors[usable]
    logit, scale = np.log(areas / (1 - areas)), errors / (areas * (1 - areas))
    steps = (logit[1:] - logit[0]) / scale[1:]
    upper, lower = np.quantile(steps, [(1 + level) / 2, (1 - level) / 2])
    limits = logit[0] - np.array([upper, lower]) * scale[0]
    low, high = 1 / (1 + np.exp(-limits))
    return float(low), float(high)


def area_limits(
    area: ArrayLike, error: ArrayLike, *, scale: str = "logit", level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the limits of :func:`interval` from areas and their standard errors.

    Parameters
    ----------
    area, error : float or array
        Of one area or many.
    scale, level
        As in :func:`interval`.

    Returns
    -------
    tuple of ndarray
        Lower and upper limits; NaN where the error is 0 or unknown.

    Examples
    --------
    >>> low, high = area_limits(0.9, 0.05, scale="plain")
    >>> print(f"{low:.3f} {high:.3f}")
    0.802 0.998
    """
    area, error = np.asarray(area, float), np.asarray(error, float)
    error = np.where(error > 0, error, np.nan)
    z = stats.norm.ppf((1 + level) / 2)
    if scale == "plain":
        return np.clip(area - z * error, 0, 1), np.clip(area + z * error, 0, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre, step = np.log(area / (1 - area)), z * error / (area * (1 - area))
        return 1 / (1 + np.exp(step - centre)), 1 / (1 + np.exp(-step - centre))


def compare(
    label: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    case: ArrayLike | None = None,
    level: float = 0.95,
) -> AreaDifference:
    r"""Compare two scores of the same images by their areas under the ROC curve.

    :math:`z=(\hat A_1-\hat A_2)/\sqrt{V_{11}+V_{22}-2V_{12}}` with the covariance of
    :func:`covariance`.

    Parameters
    ----------
    label : array-like of 0 and 1, shape (n,)
        Reference diagnosis of each image.
    first, second : array-like, shape (n,)
        The two scores.
    case : array-like, shape (n,), optional
        The person each image belongs to; without, images count as independent.
    level : float
        Confidence level.

    Returns
    -------
    AreaDifference

    References
    ----------
    As for :func:`covariance`.

    Examples
    --------
    >>> label, score = [0, 0, 0, 1, 1, 1], [0.1, 0.3, 0.5, 0.4, 0.7, 0.9]
    >>> same = compare(label, score, score)
    >>> same.z, same.p
    (0.0, 1.0)
    """
    areas, found = covariance(label, np.column_stack([first, second]), case=case)
    method = "DeLong" if case is None else "Obuchowski"
    difference = float(areas[0] - areas[1])
    variance = found[0, 0] + found[1, 1] - 2 * found[0, 1]
    if not np.isfinite(variance):
        undefined = (np.nan,) * 5
        reason = _why(float(areas[0]), float(variance))
        return AreaDifference(*map(float, areas), difference, *undefined, method, reason)
    error = float(np.sqrt(max(variance, 0.0)))
    if error < 1e-12:
        z, p = (0.0, 1.0) if abs(difference) < 1e-12 else (np.nan, np.nan)
        reason = "" if z == 0 else "the difference does not vary"
        limits = (difference, difference) if z == 0 else (np.nan, np.nan)
        return AreaDifference(*map(float, areas), difference, *limits, 0.0, z, p, method, reason)
    z, half = difference / error, stats.norm.ppf((1 + level) / 2) * error
    p = float(2 * stats.norm.sf(abs(z)))
    limits = (float(difference - half), float(difference + half))
    return AreaDifference(*map(float, areas), difference, *limits, error, float(z), p, method, "")


def _summed(values: NDArray, codes: NDArray, cases: int) -> NDArray[np.float64]:
    found = np.zeros((cases, values.shape[1]))
    np.add.at(found, codes, values)
    return found


def _pooled(
    of_positives: NDArray, of_controls: NDArray, codes: NDArray, positive: NDArray, control: NDArray
) -> NDArray[np.float64]:
    with_positives = np.unique(codes[positive]).size
    with_controls, cases = np.unique(codes[control]).size, np.unique(codes).size
    if min(with_positives, with_controls) < 2:
        return np.full((of_positives.shape[1],) * 2, np.nan)
    mixed = of_positives.T @ of_controls
    return (
        with_positives / (with_positives - 1) * of_positives.T @ of_positives
        + with_controls / (with_controls - 1) * of_controls.T @ of_controls
        + cases / (cases - 1) * (mixed + mixed.T)
    )


def _why(area: float, error: float) -> str:
    if not np.isfinite(error):
        return "fewer than two cases with positives or with controls"
    if error < 1e-12:
        return f"area {area:g}, no component varies"
    return ""
