"""Two raters on the same images: tests of the images on which they differ.

Only discordant pairs tell the raters apart: right by the first and wrong by the second, or the
other way round. McNemar's test takes every pair as independent of the others; the clustered
tests take the person as the unit. Sensitivities are compared on positives, specificities on
controls, accuracies on all images.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from helpers import clustered
from helpers.inference import Interval

#: Tests of independent pairs; value: the name on a page.
PLAIN: dict[str, str] = {
    "mcnemar": "McNemar, chi-squared",
    "corrected": "McNemar, continuity corrected",
    "exact": "McNemar, exact",
    "mid-p": "McNemar, mid-p",
}
#: Tests that take the person as the unit.
CLUSTERED: dict[str, str] = {
    "obuchowski": "Obuchowski 1998",
    "durkalski": "Durkalski 2003",
    "yang": "Yang 2010",
    "eliasziw": "Eliasziw and Donner 1991",
}


class PairedTest(NamedTuple):
    """A test of two raters on the same images.

    Attributes
    ----------
    difference : float
        Share right of the first rater less that of the second.
    statistic : float
        Chi-squared with one degree of freedom; NaN for the exact and mid-p tests.
    p : float
        Two-sided.
    method : str
        Name of the test.
    reason : str
        Why a value is NaN, or that no pair differs; empty otherwise.
    """

    difference: float
    statistic: float
    p: float
    method: str
    reason: str


def discordant(first: ArrayLike, second: ArrayLike, case: ArrayLike) -> pd.DataFrame:
    """Count, for each case, the images on which two raters differ.

    Parameters
    ----------
    first, second : array-like of 0 and 1, shape (n,)
        Whether each rater was right.
    case : array-like, shape (n,)
        The person each image belongs to.

    Returns
    -------
    DataFrame
        One row a case in sorted order: both, b (first alone right), c (second alone right),
        neither, n.

    Raises
    ------
    ValueError
        On unequal lengths, a missing case id or anything but 0 and 1.

    Examples
    --------
    >>> discordant([1, 1, 0], [0, 1, 1], ["x", "x", "y"]).to_numpy().tolist()
    [[1, 1, 0, 0, 2], [0, 0, 1, 0, 1]]
    """
    codes, cases = clustered.case_codes(case)
    first, second = (clustered.checked_hits(rater, codes.size) for rater in (first, second))
    cells = {
        "both": first * second,
        "b": first * (1 - second),
        "c": (1 - first) * second,
        "neither": (1 - first) * (1 - second),
        "n": np.ones(codes.size),
    }
    found = {name: np.bincount(codes, cell, cases) for name, cell in cells.items()}
    return pd.DataFrame(found).astype(int)


def mcnemar(b: int, c: int, *, method: str = "exact", n: int | None = None) -> PairedTest:
    r"""McNemar's test of independent pairs.

    With b and c discordant pairs: ``mcnemar`` is :math:`(b-c)^2/(b+c)`; ``corrected`` takes
    :math:`(|b-c|-1)^2`, at least 0; ``exact`` is twice the binomial tail
    :math:`P(X\le\min(b,c))`, at most 1; ``mid-p`` takes half of the observed outcome's
    probability off each tail.

    Parameters
    ----------
    b, c : int
        Pairs with only the first, and only the second rater right.
    method : str
        One of :data:`PLAIN`.
    n : int, optional
        All pairs, for the difference; NaN without.

    Returns
    -------
    PairedTest
        With no discordant pair the p-value is 1.

    References
    ----------
    McNemar Q. Psychometrika 1947;12:153-157, doi 10.1007/BF02295996.
    Fagerland MW et al. BMC Med Res Methodol 2013;13:91, doi 10.1186/1471-2288-13-91 (mid-p).

    Examples
    --------
    >>> for method in PLAIN:
    ...     print(f"{method} {mcnemar(1, 7, method=method).p:.4f}")
    mcnemar 0.0339
    corrected 0.0771
    exact 0.0703
    mid-p 0.0391
    """
    if method not in PLAIN:
        raise ValueError(f"No test {method!r}. Available: {', '.join(PLAIN)}.")
    if b < 0 or c < 0 or (n is not None and b + c > n):
        raise ValueError(f"b = {b} and c = {c} of n = {n} are no counts of discordant pairs.")
    difference = (b - c) / n if n else float("nan")
    if b + c == 0:
        return PairedTest(difference, 0.0, 1.0, PLAIN[method], "no pair differs")
    if method in ("mcnemar", "corrected"):
        apart = max(abs(b - c) - (method == "corrected"), 0)
        return _chi_squared(difference, apart**2 / (b + c), PLAIN[method])
    tails = 2 * stats.binom.cdf(min(b, c), b + c, 0.5)
    if method == "mid-p":
        tails = tails - stats.binom.pmf(min(b, c), b + c, 0.5)
    return PairedTest(difference, float("nan"), float(min(tails, 1)), PLAIN[method], "")


def clustered_mcnemar(
    first: ArrayLike, second: ArrayLike, case: ArrayLike, *, method: str = "obuchowski"
) -> PairedTest:
    r"""Test two raters on the same images with the person as the unit.

    Case k of K has :math:`b_k` and :math:`c_k` discordant pairs among :math:`n_k` images,
    :math:`d_k=b_k-c_k`.

    * ``obuchowski``: :math:`\frac{K-1}{K}\left(\sum d_k\right)^2/\sum d_k^2`;
    * ``durkalski``: :math:`\left(\sum d_k/n_k\right)^2/\sum (d_k/n_k)^2`;
    * ``yang``: :math:`\frac{K-1}{K}\left(\sum d_k\right)^2/
      \frac12\sum\left\{[d_k-n_k(\hat p_1-\hat p_2)]^2+d_k^2\right\}` with
      :math:`\hat p_1-\hat p_2=\sum d_k/\sum n_k`;
    * ``eliasziw``: McNemar's chi-squared over :math:`1+(n_c-1)\tilde\rho`, see
      :func:`discordance_correlation`, with :math:`n_c=\sum (b_k+c_k)^2/\sum (b_k+c_k)`.

    Parameters
    ----------
    first, second, case
        As in :func:`discordant`.
    method : str
        One of :data:`CLUSTERED`.

    Returns
    -------
    PairedTest
        p is 1 when no pair differs; NaN with a reason when there are fewer than two cases.

    References
    ----------
    Obuchowski NA. Stat Med 1998;17:1495-1507,
    doi 10.1002/(SICI)1097-0258(19980715)17:13<1495::AID-SIM863>3.0.CO;2-I.
    Durkalski VL et al. Stat Med 2003;22:2417-2428, doi 10.1002/sim.1438.
    Yang Z, Sun X, Hardin JW. Biom J 2010;52:638-652, doi 10.1002/bimj.201000035.
    Eliasziw M, Donner A. Stat Med 1991;10:1981-1991, doi 10.1002/sim.4780101211.

    Examples
    --------
    >>> first, second = [1, 1, 1, 0, 1, 0], [0, 0, 1, 0, 0, 1]
    >>> found = clustered_mcnemar(first, second, list("aabbcd"))
    >>> print(f"{found.difference:.3f} {found.statistic:.3f} {found.p:.3f}")
    0.333 0.500 0.480
    """
    if method not in CLUSTERED:
        raise ValueError(f"No test {method!r}. Available: {', '.join(CLUSTERED)}.")
    table, name = discordant(first, second, case), CLUSTERED[method]
    if len(table) < 2:
        reason = "one case only" if len(table) else "no image"
        return PairedTest(float("nan"), float("nan"), float("nan"), name, reason)
    apart, size = (table["b"] - table["c"]).to_numpy(float), table["n"].to_numpy(float)
    difference = float(apart.sum() / size.sum())
    if not apart.any():
        reason = "no case differs" if table[["b", "c"]].to_numpy().any() else "no pair differs"
        return PairedTest(difference, 0.0, 1.0, name, reason)
    return _chi_squared(difference, _STATISTICS[method](table), name)


def difference(
    first: ArrayLike, second: ArrayLike, case: ArrayLike, *, level: float = 0.95
) -> Interval:
    r"""Difference of two raters' shares right, with an interval that respects cases.

    With :math:`d_k=b_k-c_k` of case k, :math:`\hat d=\sum d_k/\sum n_k` and
    :math:`\hat d\pm t_{K-1}\sqrt{\frac{K}{K-1}\sum(d_k-\hat d n_k)^2}/\sum n_k`.

    Parameters
    ----------
    first, second, case
        As in :func:`discordant`.
    level : float
        Confidence level.

    Returns
    -------
    Interval
        First less second; limits NaN with fewer than two cases.

    References
    ----------
    Obuchowski NA. Stat Med 1998;17:1495-1507, equations 2 to 4.

    Examples
    --------
    >>> found = difference([1, 1, 1, 0], [0, 1, 0, 0], list("aabc"))
    >>> print(f"{found.estimate:.2f} {found.low:.2f} {found.high:.2f}")
    0.50 -0.43 1.00
    """
    table = discordant(first, second, case)
    apart, size, cases = _parts(table)
    if cases < 2:
        estimate = apart.sum() / size.sum() if size.sum() else np.nan
        return Interval(float(estimate), np.nan, np.nan, f"none: {cases} cases")
    estimate = float(apart.sum() / size.sum())
    error = np.sqrt(cases / (cases - 1) * ((apart - estimate * size) ** 2).sum()) / size.sum()
    half = float(stats.t.ppf((1 + level) / 2, cases - 1) * error)
    limits = (max(estimate - half, -1.0), min(estimate + half, 1.0))
    return Interval(estimate, *limits, f"ratio estimator, t ({cases} cases)")


def discordance_correlation(table: pd.DataFrame) -> float:
    r"""Correlation of discordant pairs of one case, pooled over the four kinds of pair.

    :math:`\tilde\rho = \left[1+(\hat P_b+\hat P_c)(1-\rho^*)/\rho^*\right]^{-1}` with
    :math:`\rho^*` the analysis-of-variance correlation of the four kinds together,
    :math:`(BMS-WMS)/(BMS+(n_0-1)WMS)`. A negative correlation counts as 0, so that clustering
    never makes a test stronger; when all pairs are of one kind it counts as 1, each case once.

    Parameters
    ----------
    table : DataFrame
        From :func:`discordant`.

    Returns
    -------
    float

    References
    ----------
    Eliasziw M, Donner A. Stat Med 1991;10:1981-1991, doi 10.1002/sim.4780101211, section 3.

    Examples
    --------
    >>> table = discordant([1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 0], list("aabbcc"))
    >>> round(discordance_correlation(table), 3)
    0.7
    """
    cells, size = table[["both", "b", "c", "neither"]].to_numpy(float), table["n"].to_numpy(float)
    cases, mean = len(size), size.mean()
    if mean == 1:
        return 0.0
    if (share := cells.sum(axis=0) / size.sum()).max() == 1:
        return 1.0
    typical = mean - ((size - mean) ** 2).sum() / (cases * (cases - 1) * mean)
    between = ((cells - np.outer(size, share)) ** 2 / size[:, None]).sum() / cases
    within = (cells * (size[:, None] - cells) / size[:, None]).sum() / (cases * (mean - 1))
    pooled = (between - within) / (between + (typical - 1) * within)
    if pooled <= 0:
        return 0.0
    return float(1 / (1 + (share[1] + share[2]) * (1 - pooled) / pooled))


def compare(
    first: ArrayLike, second: ArrayLike, case: ArrayLike, *, tests: list[str] | None = None
) -> pd.DataFrame:
    """Tabulate several tests of two raters on the same images.

    Parameters
    ----------
    first, second, case
        As in :func:`discordant`: whether each rater was right on each image, and whose image.
    tests : list of str, optional
        Keys of :data:`PLAIN` and :data:`CLUSTERED`; all of them when not given.

    Returns
    -------
    DataFrame
        test, method, unit (image or case), difference, b, c, statistic, p, reason.

    Examples
    --------
    >>> compare([1, 1, 0], [1, 1, 0], ["x", "y", "z"], tests=["exact", "yang"])["p"].tolist()
    [1.0, 1.0]
    """
    table = discordant(first, second, case)
    b, c, n = (int(table[name].sum()) for name in ("b", "c", "n"))
    rows = []
    for test in tests or [*PLAIN, *CLUSTERED]:
        plain = test in PLAIN
        found = (
            mcnemar(b, c, method=test, n=n)
            if plain
            else clustered_mcnemar(first, second, case, method=test)
        )
        unit = "image" if plain else "case"
        rows.append((test, found.method, unit, found.difference, b, c, *found[1:3], found.reason))
    columns = ["test", "method", "unit", "difference", "b", "c", "statistic", "p", "reason"]
    return pd.DataFrame(rows, columns=columns)


def adjusted(p: ArrayLike, *, method: str = "holm") -> NDArray[np.float64]:
    """Adjust p-values for looking at several tests.

    Holm's method keeps the chance of any false finding below the level whatever the tests'
    dependence. Computed by statsmodels.

    Parameters
    ----------
    p : array-like of float, shape (tests,)
        NaN where a test was not possible; it stays NaN and does not count.
    method : str
        Of statsmodels' ``multipletests``, for example holm, bonferroni or fdr_bh.

    Returns
    -------
    ndarray, shape (tests,)

    References
    ----------
    Holm S. Scand J Stat 1979;6:65-70.

    Examples
    --------
    >>> adjusted([0.01, 0.04, np.nan, 0.03]).round(2).tolist()
    [0.03, 0.06, nan, 0.06]
    """
    p = np.asarray(p, dtype=float)
    known = np.isfinite(p)
    found = np.full(p.shape, np.nan)
    if known.any():
        found[known] = multipletests(p[known], method=method)[1]
    return found


def _chi_squared(difference: float, statistic: float, method: str) -> PairedTest:
    p = float(stats.chi2.sf(statistic, 1))
    return PairedTest(float(difference), float(statistic), p, method, "")


def _parts(table: pd.DataFrame) -> tuple[NDArray, NDArray, int]:
    apart = (table["b"] - table["c"]).to_numpy(float)
    return apart, table["n"].to_numpy(float), len(table)


def _obuchowski(table: pd.DataFrame) -> float:
    apart, _, cases = _parts(table)
    return (cases - 1) / cases * apart.sum() ** 2 / (apart**2).sum()


def _durkalski(table: pd.DataFrame) -> float:
    apart, size, _ = _parts(table)
    return (apart / size).sum() ** 2 / ((apart / size) ** 2).sum()


def _yang(table: pd.DataFrame) -> float:
    apart, size, cases = _parts(table)
    centred = apart - size * apart.sum() / size.sum()
    return (cases - 1) / cases * apart.sum() ** 2 / (0.5 * (centred**2 + apart**2).sum())


def _eliasziw(table: pd.DataFrame) -> float:
    b, c = table["b"].sum(), table["c"].sum()
    pairs = (table["b"] + table["c"]).to_numpy(float)
    weighted = (pairs**2).sum() / pairs.sum()
    inflation = 1 + (weighted - 1) * discordance_correlation(table)
    return float((b - c) ** 2 / (b + c) / inflation)


_STATISTICS = {
    "obuchowski": _obuchowski,
    "durkalski": _durkalski,
    "yang": _yang,
    "eliasziw": _eliasziw,
}
