"""How far raters agree beyond chance: Fleiss' kappa and Gwet's AC1, with standard errors.

Both compare the share of agreeing pairs of raters with what chance would give, and differ in
what chance means. Kappa falls when one answer is rare although raters agree as often as before;
AC1 does not. The errors here linearise the coefficient image by image and, where images belong
to people, sum these parts by person.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats


class Agreement(NamedTuple):
    """A coefficient of agreement with its interval.

    Attributes
    ----------
    estimate : float
        1 is full agreement, 0 what chance gives.
    error : float
        Standard error.
    low, high : float
        Interval from the t distribution, cut at -1 and 1.
    units : int
        Images, or people where given: degrees of freedom plus one.
    method : str
        Coefficient and unit.
    reason : str
        Why a value is NaN; empty otherwise.
    """

    estimate: float
    error: float
    low: float
    high: float
    units: int
    method: str
    reason: str


def fleiss_kappa(
    counts: ArrayLike, *, case: ArrayLike | None = None, level: float = 0.95
) -> Agreement:
    r"""Fleiss' kappa with a standard error that holds whether or not raters agree.

    Of r raters :math:`r_{iq}` put image i of n into category q. With
    :math:`P_i=\sum_q r_{iq}(r_{iq}-1)/(r(r-1))`, :math:`\bar P` its mean,
    :math:`\pi_q=\sum_i r_{iq}/(nr)` and :math:`P_e=\sum_q\pi_q^2`,
    :math:`\kappa=(\bar P-P_e)/(1-P_e)`. Its linear part for image i is

    .. math:: \kappa_i=\frac{P_i-P_e}{1-P_e}-2(1-\kappa)\frac{P_{e,i}-P_e}{1-P_e},
       \qquad P_{e,i}=\sum_q\pi_q\,r_{iq}/r,

    and the variance that of the mean of :math:`\kappa_i`; with cases, that of a ratio of sums
    over K cases, with the factor K/(K-1).

    Parameters
    ----------
    counts : array-like of int, shape (images, categories)
        Raters who put each image into each category; as many raters for every image.
        :func:`tally` makes it from calls.
    case : array-like, shape (images,), optional
        The person each image belongs to.
    level : float
        Confidence level.

    Returns
    -------
    Agreement
        NaN with a reason when all answers are the same.

    References
    ----------
    Fleiss JL. Psychological Bulletin 1971;76:378-382, doi 10.1037/h0031619.
    Gwet KL. Br J Math Stat Psychol 2008;61:29-48, doi 10.1348/000711006X126600 (variance).

    Examples
    --------
    >>> found = fleiss_kappa(tally([[1, 1, 1], [0, 0, 0], [1, 1, 0], [0, 0, 0]]))
    >>> print(f"{found.estimate:.4f} {found.error:.4f}")
    0.6571 0.3280
    """
    counts, raters = _checked(counts)
    shares = counts.sum(axis=0) / counts.sum()
    chance = float((shares**2).sum())
    by_image = counts @ shares / raters
    return _coefficient(counts, chance, by_image, case, level, "Fleiss' kappa")


def gwet_ac1(counts: ArrayLike, *, case: ArrayLike | None = None, level: float = 0.95) -> Agreement:
    r"""Gwet's AC1, whose chance agreement does not grow when one answer is rare.

    As kappa with :math:`P_e=\sum_q\pi_q(1-\pi_q)/(Q-1)` for Q categories and
    :math:`P_{e,i}=\sum_q(1-\pi_q)\,r_{iq}/(r(Q-1))`.

    Parameters
    ----------
    counts, case, level
        As in :func:`fleiss_kappa`.

    Returns
    -------
    Agreement
        Defined also when all answers are the same; the error is then 0, and no interval is given.

    References
    ----------
    Gwet KL. Br J Math Stat Psychol 2008;61:29-48, doi 10.1348/000711006X126600.

    Examples
    --------
    >>> found = gwet_ac1(tally([[1, 1, 1], [0, 0, 0], [1, 1, 0], [0, 0, 0]]))
    >>> print(f"{found.estimate:.4f} {found.error:.4f}")
    0.6757 0.3454
    """
    counts, raters = _checked(counts)
    shares = counts.sum(axis=0) / counts.sum()
    others = counts.shape[1] - 1
    chance = float((shares * (1 - shares)).sum() / others)
    by_image = counts @ (1 - shares) / (raters * others)
    return _coefficient(counts, chance, by_image, case, level, "Gwet's AC1")


def kappa_error_without_agreement(images: int, raters: int, shares: ArrayLike) -> float:
    r"""Standard error of Fleiss' kappa if raters agreed by chance only.

    .. math:: \sqrt{\frac{2}{n\,r(r-1)}}\;
       \frac{\sqrt{S^2-\sum_q\pi_q(1-\pi_q)(1-2\pi_q)}}{S},\qquad S=\sum_q\pi_q(1-\pi_q).

    With two categories the second factor is 1. It serves to test kappa against 0, not as the
    error of an observed kappa.

    Parameters
    ----------
    images, raters : int
        n and r.
    shares : array-like of float, shape (categories,)
        Share of all answers in each category.

    Returns
    -------
    float
        NaN when all answers are the same.

    References
    ----------
    Fleiss JL, Nee JCM, Landis JR. Psychological Bulletin 1979;86:974-977,
    doi 10.1037/0033-2909.86.5.974.

    Examples
    --------
    Three readers, the published test set's images and cases:

    >>> [round(kappa_error_without_agreement(n, 3, [0.4, 0.6]), 4) for n in (648, 102)]
    [0.0227, 0.0572]
    """
    shares = np.asarray(shares, dtype=float)
    spread = float((shares * (1 - shares)).sum())
    if spread == 0:
        return float("nan")
    skew = float((shares * (1 - shares) * (1 - 2 * shares)).sum())
    return float(np.sqrt(2 / (images * raters * (raters - 1)) * (spread**2 - skew)) / spread)


def tally(calls: ArrayLike) -> NDArray[np.int64]:
    """Count, for each image, the raters who called it 0 and those who called it 1.

    Parameters
    ----------
    calls : array-like of 0 and 1, shape (images, raters)
        Every rater has called every image; two raters at least.

    Returns
    -------
    ndarray of int, shape (images, 2)

    Raises
    ------
    ValueError
        On another shape or a missing call.

    Examples
    --------
    >>> tally([[1, 1, 0], [0, 0, 0]]).tolist()
    [[1, 2], [3, 0]]
    """
    calls = np.asarray(calls)
    if calls.ndim != 2 or calls.shape[1] < 2:
        raise ValueError(f"Calls have shape {calls.shape}; expected images × two or more readers.")
    if not np.isin(calls, (0, 1)).all():
        raise ValueError("Calls must be 0 or 1, and no call may be missing; see readers.checked.")
    positive = calls.astype(np.int64).sum(axis=1)
    return np.column_stack([calls.shape[1] - positive, positive])


def _checked(counts: ArrayLike) -> tuple[NDArray[np.float64], int]:
    counts = np.asarray(counts, dtype=float)
    if counts.ndim != 2 or counts.shape[1] < 2 or not len(counts):
        raise ValueError(f"Counts have shape {counts.shape}; expected images × categories.")
    raters = np.unique(counts.sum(axis=1))
    if raters.size > 1 or raters[0] < 2:
        found = ", ".join(f"{value:g}" for value in raters[:5])
        raise ValueError(
            f"Images have {found} answers; expected as many for each, two at least. A reader who "
            "missed images must be left out, or those images."
        )
    return counts, int(raters[0])


def _coefficient(
    counts: NDArray,
    chance: float,
    chance_by_image: NDArray,
    case: ArrayLike | None,
    level: float,
    name: str,
) -> Agreement:
    raters = counts[0].sum()
    codes = np.arange(len(counts)) if case is None else pd.factorize(np.asarray(case))[0]
    if codes.shape != (len(counts),):
        raise ValueError(f"{len(counts)} images but {codes.size} case ids; expected as many.")
    units = int(codes.max()) + 1
    method = f"{name}, {units} {'images' if case is None else 'cases'}"
    if np.isclose(chance, 1):
        reason = "all answers are the same, so chance agreement is complete"
        return Agreement(*(np.nan,) * 4, units, method, reason)
    agreeing = (counts * (counts - 1)).sum(axis=1) / (raters * (raters - 1))
    estimate = float((agreeing.mean() - chance) / (1 - chance))
    linear = (agreeing - chance - 2 * (1 - estimate) * (chance_by_image - chance)) / (1 - chance)
    if units < 2:
        return Agreement(estimate, np.nan, np.nan, np.nan, units, method, f"{units} unit only")
    apart = np.bincount(codes, linear - estimate, units)
    error = float(np.sqrt(units / (units - 1) * (apart**2).sum()) / len(counts))
    if error < 1e-12:
        reason = "no unit differs from another"
        return Agreement(estimate, 0.0, np.nan, np.nan, units, method, reason)
    half = stats.t.ppf((1 + level) / 2, units - 1) * error
    low, high = max(estimate - half, -1.0), min(estimate + half, 1.0)
    return Agreement(estimate, error, float(low), float(high), units, method, "")
