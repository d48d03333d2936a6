"""Several readers and many cases: Obuchowski and Rockette's analysis with Hillis' freedom.

Readers differ in skill, and all of them saw the same cases. A claim about readers in general
must carry both sources of chance: how much the readers' figures scatter, and how much these
figures would move together on other cases. The second is a jackknife over people, each left out
with all their images. Everything here needs real readers: for simulated ones the scatter is
imposed, and a p-value would say nothing.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from helpers import accuracy, delong, inference

#: Figures of a rater that can be compared; value: the name on a page.
FIGURES: dict[str, str] = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "accuracy": "Accuracy",
    "auc": "Area under the ROC curve",
}


class ReaderMean(NamedTuple):
    """A mean over readers, or a mean difference, with its interval and test against 0.

    Attributes
    ----------
    estimate : float
        The mean.
    error, df : float
        Standard error and degrees of freedom; infinite for fixed readers.
    low, high : float
        Interval from the t distribution.
    statistic, p : float
        Estimate over error and two-sided p-value against 0.
    method : str
        How it was made.
    reason : str
        Why a value is NaN; empty otherwise.
    """

    estimate: float
    error: float
    df: float
    low: float
    high: float
    statistic: float
    p: float
    method: str
    reason: str


def figures(
    label: ArrayLike, ratings: ArrayLike, case: ArrayLike, *, figure: str = "auc"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Each rater's figure, and the raters' covariance from leaving out one case at a time.

    .. math:: \widehat{cov}_{rs}=\frac{K-1}{K}\sum_k
       (\hat\theta_{r(k)}-\bar\theta_{r(\cdot)})(\hat\theta_{s(k)}-\bar\theta_{s(\cdot)})

    over the K cases that enter the figure: those with positives for sensitivity, with controls
    for specificity, all for accuracy and the area.

    Parameters
    ----------
    label : array-like of 0 and 1, shape (n,)
        Reference diagnosis of each image.
    ratings : array-like, shape (n, raters)
        Calls (0 or 1); for ``auc`` any scores.
    case : array-like, shape (n,)
        The person each image belongs to; one diagnosis a case.
    figure : str
        One of :data:`FIGURES`.

    Returns
    -------
    tuple of ndarray
        Figures, shape (raters,), and covariance, shape (raters, raters).

    Raises
    ------
    ValueError
        On an unknown figure, another shape, a missing call, one class only or a case with two
        diagnoses.

    References
    ----------
    Efron B. *The Jackknife, the Bootstrap and Other Resampling Plans*, SIAM 1982, chapter 3.

    Examples
    --------
    >>> calls = [[1, 1], [1, 0], [0, 0], [0, 1]]
    >>> values, found = figures([1, 1, 0, 0], calls, list("abcd"), figure="sensitivity")
    >>> values.tolist(), found.tolist()
    ([1.0, 0.5], [[0.0, 0.0], [0.0, 0.25]])
    """
    if figure not in FIGURES:
        raise ValueError(f"No figure {figure!r}. Available: {', '.join(FIGURES)}.")
    label, ratings, codes = _checked(label, ratings, case, figure)
    if figure == "auc":
        full, left_out = _areas(label, ratings, codes)
    else:
        full, left_out = _shares(label, ratings, codes, figure)
    apart = left_out - left_out.mean(axis=0)
    cases = len(left_out)
    return full, (cases - 1) / cases * apart.T @ apart


def mean_of_readers(
    label: ArrayLike,
    readers: ArrayLike,
    case: ArrayLike,
    *,
    figure: str = "auc",
    random_readers: bool = True,
    level: float = 0.95,
) -> ReaderMean:
    """Mean figure of readers, with an interval for readers and cases in general.

    Parameters
    ----------
    label, case
        As in :func:`figures`.
    readers : array-like, shape (n, readers)
        Each reader's calls or scores of every image.
    figure : str
        One of :data:`FIGURES`.
    random_readers : bool
        Whether these readers stand for others; if not, only cases are a sample.
    level : float
        Confidence level.

    Returns
    -------
    ReaderMean
        As :func:`from_covariance` returns it.

    Examples
    --------
    >>> calls = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 1]])
    >>> found = mean_of_readers([1, 1, 1, 1, 0, 0], calls, list("abcdef"), figure="sensitivity")
    >>> print(f"{found.estimate:.3f} {found.error:.3f}")
    0.667 0.083
    """
    values, covariance = figures(label, readers, case, figure=figure)
    return from_covariance(values, covariance, random_readers=random_readers, level=level)


def model_against_readers(
    label: ArrayLike,
    model: ArrayLike,
    readers: ArrayLike,
    case: ArrayLike,
    *,
    figure: str = "auc",
    random_readers: bool = True,
    level: float = 0.95,
) -> ReaderMean:
    """Compare a model with the mean of readers who stand for others.

    The model is one fixed rater. Its figure less each reader's makes as many differences as
    readers, whose mean is tested as in :func:`from_covariance`.

    Parameters
    ----------
    label, case
        As in :func:`figures`.
    model : array-like, shape (n,)
        The model's calls or scores.
    readers : array-like, shape (n, readers)
        Each real reader's calls or scores of every image.
    figure, random_readers, level
        As in :func:`mean_of_readers`.

    Returns
    -------
    ReaderMean
        Model less mean reader.

    References
    ----------
    Hillis SL, Obuchowski NA, Schartz KM, Berbaum KS. Stat Med 2005;24:1579-1607,
    doi 10.1002/sim.2024, equation 23.
    Chakraborty DP. *Observer Performance Methods for Diagnostic Imaging*, CRC Press 2017,
    chapter 22.

    Examples
    --------
    >>> calls = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 1]])
    >>> found = model_against_readers(
    ...     [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0], calls, list("abcdef"), figure="sensitivity"
    ... )
    >>> print(f"{found.estimate:.3f} {found.p:.3f}")
    0.333 0.057
    """
    model = np.asarray(model)
    readers = np.asarray(readers)
    if model.shape != readers.shape[:1]:
        raise ValueError(
            f"{model.size} ratings of the model, but those of readers have shape {readers.shape}; "
            "expected a row for each image in both."
        )
    values, covariance = figures(label, np.column_stack([model, readers]), case, figure=figure)
    contrast = np.column_stack([np.ones(readers.shape[1]), -np.eye(readers.shape[1])])
    return from_covariance(
        contrast @ values,
        contrast @ covariance @ contrast.T,
        random_readers=random_readers,
        level=level,
    )


def from_covariance(
    values: ArrayLike,
    covariance: ArrayLike,
    *,
    random_readers: bool = True,
    level: float = 0.95,
) -> ReaderMean:
    r"""Mean of r readers' values whose errors on the same cases are correlated.

    With :math:`MS(R)` the readers' variance and :math:`cov_2` the mean covariance of two
    readers, :math:`D=MS(R)+\max(r\,cov_2,0)`, :math:`SE=\sqrt{D/r}` and Hillis' degrees of
    freedom :math:`(r-1)D^2/MS(R)^2`. Fixed readers: :math:`SE=\sqrt{[var+(r-1)\max(cov_2,0)]/r}`
    and the normal distribution.

    Parameters
    ----------
    values : array-like, shape (r,)
        One value a reader.
    covariance : array-like, shape (r, r)
        Over cases.
    random_readers, level
        As in :func:`mean_of_readers`.

    Returns
    -------
    ReaderMean
        NaN with a reason for a single random reader.

    References
    ----------
    Hillis SL. Stat Med 2007;26:596-619, doi 10.1002/sim.2532 (ddf_H for one treatment).

    Examples
    --------
    The five readers of Van Dyke's cine images, with their mean variance and covariance:

    >>> areas = [0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066]
    >>> covariance = np.full((5, 5), 0.00048396)
    >>> np.fill_diagonal(covariance, 0.00101410)
    >>> found = from_covariance(areas, covariance)
    >>> print(f"{found.estimate:.4f} {found.error:.6f} {found.df:.2f}")
    0.8970 0.033174 12.74
    """
    values, covariance = np.asarray(values, float), np.asarray(covariance, float)
    readers = values.size
    name = f"Obuchowski-Rockette, {readers} {'random' if random_readers else 'fixed'} readers"
    if readers < 2 and random_readers:
        reason = "one reader tells nothing of how readers differ"
        return ReaderMean(float(values.mean()), *(np.nan,) * 6, name, reason)
    between = covariance[~np.eye(readers, dtype=bool)]
    shared = max(float(between.mean()), 0.0) if readers > 1 else 0.0
    if not random_readers:
        variance = (np.diag(covariance).mean() + (readers - 1) * shared) / readers
        return _tested(values.mean(), variance, np.inf, name, level)
    scatter = float(values.var(ddof=1))
    spread = scatter + readers * shared
    freedom = (readers - 1) * (spread / scatter) ** 2 if scatter > 0 else np.inf
    return _tested(values.mean(), spread / readers, freedom, name, level)


def two_conditions(
    label: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    case: ArrayLike,
    *,
    figure: str = "auc",
    level: float = 0.95,
) -> ReaderMean:
    """Compare readers under two conditions, for example without and with the model's help.

    Parameters
    ----------
    label, case
        As in :func:`figures`.
    first, second : array-like, shape (n, readers)
        Calls or scores of the same readers under each condition, readers in one order.
    figure, level
        As in :func:`mean_of_readers`.

    Returns
    -------
    ReaderMean
        Mean under the first condition less that under the second, as
        :func:`two_from_components` returns it.

    Examples
    --------
    >>> before = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [1, 0, 0], [0, 0, 0]])
    >>> same = two_conditions([1, 1, 1, 1, 0], before, before, list("abcde"), figure="sensitivity")
    >>> same.estimate, same.p
    (0.0, 1.0)
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape:
        raise ValueError(f"Readings have shapes {first.shape} and {second.shape}; expected one.")
    values, covariance = figures(label, np.column_stack([first, second]), case, figure=figure)
    readers = first.shape[1]
    blocks = covariance.reshape(2, readers, 2, readers).swapaxes(1, 2)
    others = ~np.eye(readers, dtype=bool)
    cov2 = (blocks[0, 0][others].mean() + blocks[1, 1][others].mean()) / 2
    cov3 = blocks[0, 1][others].mean()
    return two_from_components(values.reshape(2, readers), cov2=cov2, cov3=cov3, level=level)


def two_from_components(
    values: ArrayLike, *, cov2: float, cov3: float, level: float = 0.95
) -> ReaderMean:
    r"""Compare two conditions from each reader's values and two covariances.

    :math:`D=MS(T{\times}R)+\max(r(cov_2-cov_3),0)`, :math:`SE=\sqrt{2D/r}`, degrees of freedom
    :math:`(r-1)D^2/MS(T{\times}R)^2`; :math:`cov_2` is that of two readers under one condition,
    :math:`cov_3` of two readers under different ones.

    Parameters
    ----------
    values : array-like, shape (2, readers)
        Each reader's figure under each condition.
    cov2, cov3 : float
        The covariances.
    level : float
        Confidence level.

    Returns
    -------
    ReaderMean
        First condition less second.

    References
    ----------
    Obuchowski NA, Rockette HE. Commun Stat Simul Comput 1995;24:285-308,
    doi 10.1080/03610919508813243.
    Hillis SL. Stat Med 2007;26:596-619, doi 10.1002/sim.2532 (ddf_H).

    Examples
    --------
    Van Dyke's cine and spin-echo images, five readers:

    >>> cine = [0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066]
    >>> spin_echo = [0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169]
    >>> found = two_from_components([cine, spin_echo], cov2=0.00034407, cov3=0.00023903)
    >>> print(f"{found.estimate:.5f} {found.error:.5f} {found.df:.2f} {found.p:.4f}")
    -0.04380 0.02075 15.26 0.0517
    """
    values = np.asarray(values, float)
    readers = values.shape[1]
    name = f"Obuchowski-Rockette, {readers} random readers, 2 conditions"
    gaps = values[0] - values[1]
    if readers < 2:
        reason = "one reader tells nothing of how readers differ"
        return ReaderMean(float(gaps.mean()), *(np.nan,) * 6, name, reason)
    interaction = float(gaps.var(ddof=1)) / 2
    spread = interaction + max(readers * (cov2 - cov3), 0.0)
    freedom = (readers - 1) * (spread / interaction) ** 2 if interaction > 0 else np.inf
    return _tested(gaps.mean(), 2 * spread / readers, freedom, name, level)


def _tested(
    estimate: float, variance: float, freedom: float, name: str, level: float
) -> ReaderMean:
    estimate = float(estimate)
    if not np.isfinite(variance):
        reason = "undefined once a case is left out"
        return ReaderMean(estimate, *(np.nan,) * 6, name, reason)
    error = float(np.sqrt(max(variance, 0.0)))
    if error < 1e-12:
        if abs(estimate) < 1e-12:
            return ReaderMean(0.0, 0.0, freedom, 0.0, 0.0, 0.0, 1.0, name, "")
        reason = "neither readers nor cases make it vary"
        return ReaderMean(estimate, 0.0, freedom, *(np.nan,) * 4, name, reason)
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    statistic = estimate / error
    p = float(2 * stats.t.sf(abs(statistic), freedom))
    return ReaderMean(
        estimate, error, float(freedom), estimate - half, estimate + half, statistic, p, name, ""
    )


def _checked(
    label: ArrayLike, ratings: ArrayLike, case: ArrayLike, figure: str
) -> tuple[NDArray, NDArray, NDArray]:
    ratings = np.asarray(ratings, dtype=float)
    label = np.asarray(label)
    if ratings.ndim != 2 or len(ratings) != label.size:
        raise ValueError(
            f"Ratings have shape {ratings.shape}; expected {label.size} images × raters."
        )
    accuracy.checked_scores(label, np.zeros(label.size))
    missing = ~np.isfinite(ratings)
    if missing.any():
        rater = int(np.flatnonzero(missing.any(axis=0))[0])
        raise ValueError(
            f"Rater {rater} (counted from 0) has no rating of {missing[:, rater].sum()} of "
            f"{label.size} images. Leave out the rater or those images, for all raters."
        )
    if figure != "auc" and not np.isin(ratings, (0, 1)).all():
        raise ValueError("Ratings hold other values than 0 and 1; apply a threshold first.")
    codes, cases = pd.factorize(np.asarray(case), sort=True)
    inference.stratum_of_case(codes, cases, label)
    return label, ratings, codes


def _shares(
    label: NDArray, ratings: NDArray, codes: NDArray, figure: str
) -> tuple[NDArray, NDArray]:
    chosen = {"sensitivity": label == 1, "specificity": label == 0}.get(figure, label >= 0)
    right = (ratings == label[:, None])[chosen].astype(float)
    within = pd.factorize(codes[chosen])[0]
    size = np.bincount(within)
    hits = np.column_stack([np.bincount(within, column) for column in right.T])
    with np.errstate(invalid="ignore", divide="ignore"):
        left_out = (hits.sum(axis=0) - hits) / (size.sum() - size)[:, None]
    return right.mean(axis=0), left_out


def _areas(label: NDArray, ratings: NDArray, codes: NDArray) -> tuple[NDArray, NDArray]:
    positive, control = label == 1, label == 0
    cases = codes.max() + 1
    positives = positive.sum() - np.bincount(codes[positive], minlength=cases)
    controls = control.sum() - np.bincount(codes[control], minlength=cases)
    full, left_out = [], []
    for scores in ratings.T:
        above, below = delong.components(label, scores)
        won = np.bincount(codes[positive], above * control.sum(), cases)
        won += np.bincount(codes[control], below * positive.sum(), cases)
        total = above.sum() * control.sum()
        full.append(above.mean())
        with np.errstate(invalid="ignore", divide="ignore"):
            left_out.append((total - won) / (positives * controls))
    return np.array(full), np.column_stack(left_out)
