"""How sure a number is: intervals for proportions, likelihood ratios, F1 and AUC.

Two kinds. From counts alone, every leg image taken as independent, as the published intervals
do. And by resampling whole cases: two legs and several slices of one person resemble each other,
so the number of people, not of images, says how much was learnt.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from helpers import accuracy
from helpers.accuracy import MEASURES, Counts

_STATSMODELS = {"wilson": "wilson", "clopper-pearson": "beta", "jeffreys": "jeffreys"}


class Interval(NamedTuple):
    """An estimate with its confidence interval.

    Attributes
    ----------
    estimate, low, high : float
        NaN when undefined.
    method : str
        How the interval was made.
    """

    estimate: float
    low: float
    high: float
    method: str


def proportion(
    successes: float, n: float, *, method: str = "wilson", level: float = 0.95
) -> Interval:
    r"""Interval of a proportion :math:`x/n` of independent observations.

    Wilson inverts the score test: with :math:`z` the normal quantile the limits are
    :math:`\left(x + z^2/2 \pm z\sqrt{x(n-x)/n + z^2/4}\right)/(n+z^2)`. Clopper-Pearson inverts
    the two binomial tails and never covers too little. Jeffreys takes the quantiles of
    Beta(x + 1/2, n - x + 1/2). The limit is set to 0 at x = 0 and to 1 at x = n (Brown et al.,
    section 4.1.2, for Jeffreys), so that the interval holds its estimate. From statsmodels.

    Parameters
    ----------
    successes, n : float
        Observations that count and all observations, 0 <= successes <= n.
    method : {"wilson", "clopper-pearson", "jeffreys"}
        Which interval.
    level : float
        Confidence level, between 0 and 1.

    Returns
    -------
    Interval
        All NaN when n is 0.

    Raises
    ------
    ValueError
        On an unknown method, or counts that make no proportion.

    References
    ----------
    Brown LD, Cai TT, DasGupta A. Statistical Science 2001;16:101-133,
    doi 10.1214/ss/1009213286.

    Examples
    --------
    Sensitivity of the published network:

    >>> print("{:.4f} {:.4f} {:.4f}".format(*proportion(204, 228)[:3]))
    0.8947 0.8482 0.9282

    Its accuracy, with the interval that fits the paper's Table 1:

    >>> print("{:.4f} {:.4f} {:.4f}".format(*proportion(589, 648, method="clopper-pearson")[:3]))
    0.9090 0.8841 0.9300
    """
    if method not in _STATSMODELS:
        raise ValueError(f"No interval {method!r}. Available: {', '.join(_STATSMODELS)}.")
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no proportion; expected 0 <= successes <= n.")
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, method.title())
    low, high = proportion_confint(successes, n, alpha=1 - level, method=_STATSMODELS[method])
    low = 0.0 if successes == 0 else max(float(low), 0.0)
    high = 1.0 if successes == n else min(float(high), 1.0)
    return Interval(float(successes / n), low, high, method.title())


def likelihood_ratio(counts: Counts, *, sign: str, level: float = 0.95) -> Interval:
    r"""Interval of a likelihood ratio, symmetric on the log scale.

    :math:`SE(\ln LR^+) = \sqrt{1/TP - 1/(TP+FN) + 1/FP - 1/(FP+TN)}`; for :math:`LR^-` with FN
    and TN in place of TP and FP.

    Parameters
    ----------
    counts : Counts
        One table.
    sign : {"positive", "negative"}
        Which ratio.
    level : float
        Confidence level.

    Returns
    -------
    Interval
        Limits NaN when a cell that enters the standard error is zero.

    References
    ----------
    Simel DL, Samsa GP, Matchar DB. J Clin Epidemiol 1991;44:763-770,
    doi 10.1016/0895-4356(91)90128-V.

    Examples
    --------
    >>> published = Counts(tp=204, fn=24, fp=35, tn=385)
    >>> print("{:.2f} {:.2f} {:.2f}".format(*likelihood_ratio(published, sign="positive")[:3]))
    10.74 7.79 14.79
    >>> print("{:.3f} {:.3f} {:.3f}".format(*likelihood_ratio(published, sign="negative")[:3]))
    0.115 0.079 0.168
    """
    if sign not in ("positive", "negative"):
        raise ValueError(f"No likelihood ratio {sign!r}. Available: positive, negative.")
    tp, fn, fp, tn = counts
    called = (tp, fp) if sign == "positive" else (fn, tn)
    estimate = float(accuracy.measures(counts)[f"lr_{sign}"])
    if 0 in called:
        return Interval(estimate, np.nan, np.nan, "log scale")
    variance = 1 / called[0] - 1 / (tp + fn) + 1 / called[1] - 1 / (fp + tn)
    return _on_log_scale(estimate, variance**0.5, level=level)


def odds_ratio(counts: Counts, *, level: float = 0.95) -> Interval:
    r"""Interval of the diagnostic odds ratio, :math:`SE(\ln DOR) = \sqrt{\sum 1/\text{cell}}`.

    Parameters
    ----------
    counts : Counts
        One table.
    level : float
        Confidence level.

    Returns
    -------
    Interval
        Limits NaN when a cell is zero.

    References
    ----------
    Woolf B. Ann Hum Genet 1955;19:251-253, doi 10.1111/j.1469-1809.1955.tb01348.x.

    Examples
    --------
    >>> found = odds_ratio(Counts(tp=204, fn=24, fp=35, tn=385))
    >>> print(f"{found.estimate:.1f}")
    93.5
    """
    estimate = float(accuracy.measures(counts)["diagnostic_odds_ratio"])
    if 0 in counts:
        return Interval(estimate, np.nan, np.nan, "log scale")
    return _on_log_scale(estimate, sum(1 / cell for cell in counts) ** 0.5, level=level)


def predictive_value(
    counts: Counts, *, sign: str, prevalence: float, level: float = 0.95
) -> Interval:
    r"""Predictive value where another share of people has the disease than in these images.

    By Bayes' rule the odds after a call are the odds before it times the likelihood ratio, so
    that :math:`PPV/(1-PPV)=LR^+\,\pi/(1-\pi)` and :math:`(1-NPV)/NPV=LR^-\,\pi/(1-\pi)` at
    prevalence :math:`\pi`. The limits of the likelihood ratio carry over; they are the logit
    intervals of Mercaldo et al.

    Parameters
    ----------
    counts : Counts
        One table of independent images.
    sign : {"positive", "negative"}
        Which predictive value.
    prevalence : float
        Share of people with the disease, between 0 and 1.
    level : float
        Confidence level.

    Returns
    -------
    Interval
        Limits NaN when a cell that enters the standard error is zero.

    Raises
    ------
    ValueError
        On an unknown sign, or a prevalence that is none.

    References
    ----------
    Mercaldo ND, Lau KF, Zhou XH. Stat Med 2007;26:2170-2183, doi 10.1002/sim.2677.

    Examples
    --------
    The published network where one person in ten has a dystrophinopathy:

    >>> published = Counts(tp=204, fn=24, fp=35, tn=385)
    >>> found = predictive_value(published, sign="positive", prevalence=0.1)
    >>> print("{:.3f} {:.3f} {:.3f}".format(*found[:3]))
    0.544 0.464 0.622
    >>> found = predictive_value(published, sign="negative", prevalence=0.1)
    >>> print("{:.3f} {:.3f} {:.3f}".format(*found[:3]))
    0.987 0.982 0.991
    """
    return after_call(
        likelihood_ratio(counts, sign=sign, level=level), sign=sign, prevalence=prevalence
    )


def after_call(ratio: Interval, *, sign: str, prevalence: float) -> Interval:
    """Turn a likelihood ratio with its interval into a predictive value with its own.

    Parameters
    ----------
    ratio : Interval
        From :func:`likelihood_ratio` or :func:`helpers.clustered.likelihood_ratio`.
    sign, prevalence
        As in :func:`predictive_value`.

    Returns
    -------
    Interval
        Method ``logit scale`` and what the ratio's method adds.

    Examples
    --------
    >>> after_call(Interval(9.0, 4.0, 19.0, "log scale"), sign="positive", prevalence=0.5)[:3]
    (0.9, 0.8, 0.95)
    """
    if not 0 <= prevalence <= 1:
        raise ValueError(f"Prevalence {prevalence} is not between 0 and 1.")
    method = ratio.method.replace("log scale", "logit scale")
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = np.array(ratio[:3]) * prevalence / np.float64(1 - prevalence)
        share = np.where(np.isinf(odds), 1.0, odds / (1 + odds))
    if sign == "positive":
        return Interval(*map(float, share), method)
    return Interval(float(1 - share[0]), float(1 - share[2]), float(1 - share[1]), method)


def youden(counts: Counts, *, level: float = 0.95) -> Interval:
    r"""Interval of the Youden index, a difference of two independent shares.

    :math:`J=Se-(1-Sp)`. Newcombe's limits lie from J by the root of the summed squares of the
    distances from each share to its Wilson limit. From statsmodels.

    Parameters
    ----------
    counts : Counts
        One table of independent images.
    level : float
        Confidence level.

    Returns
    -------
    Interval
        NaN without positives or controls.

    References
    ----------
    Newcombe RG. Stat Med 1998;17:873-890, method 10,
    doi 10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I.

    Examples
    --------
    >>> found = youden(Counts(tp=204, fn=24, fp=35, tn=385))
    >>> print("{:.3f} {:.3f} {:.3f}".format(*found[:3]))
    0.811 0.756 0.852
    """
    tp, fn, fp, tn = counts
    if not (tp + fn and fp + tn):
        return Interval(np.nan, np.nan, np.nan, "Newcombe")
    low, high = confint_proportions_2indep(
        tp, tp + fn, fp, fp + tn, method="newcomb", compare="diff", alpha=1 - level
    )
    return Interval(float(accuracy.measures(counts)["youden"]), float(low), float(high), "Newcombe")


def f1(counts: Counts, *, level: float = 0.95) -> Interval:
    r"""Interval of F1 through the share of true positives among all but the true negatives.

    :math:`F_1 = 2J/(1+J)` with :math:`J = TP/(TP+FP+FN)`. Given how many images are not true
    negatives, TP is binomial with probability J, so Wilson's limits of J carry over.

    Parameters
    ----------
    counts : Counts
        One table.
    level : float
        Confidence level.

    Returns
    -------
    Interval
        All NaN when there is neither a positive nor a positive call.

    References
    ----------
    Lam KFY, Gopal V, Qian J. Confidence intervals for the F1 score, arXiv:2309.14621 (2023),
    the indirect Wilson method.

    Examples
    --------
    >>> found = f1(Counts(tp=204, fn=24, fp=35, tn=385))
    >>> found.estimate == 408 / 467
    True
    >>> print(f"{found.low:.4f} {found.high:.4f}")
    0.8382 0.9022
    """
    share = proportion(counts.tp, counts.tp + counts.fp + counts.fn, level=level)
    low, high = (2 * limit / (1 + limit) for limit in (share.low, share.high))
    return Interval(float(accuracy.measures(counts)["f1"]), low, high, "Wilson (indirect)")


def from_counts(
    counts: Counts,
    *,
    methods: Mapping[str, str] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Tabulate measures with the intervals that counts alone allow.

    Matthews' correlation has no interval here; resample cases for it (:func:`by_case`).

    Parameters
    ----------
    counts : Counts
        One table of independent images.
    methods : mapping of str to str, optional
        Interval method of :func:`proportion` by measure where not ``"wilson"``.
    level : float
        Confidence level.

    Returns
    -------
    DataFrame
        measure, estimate, low, high, method, n (images in the denominator), reason (why NaN).

    Examples
    --------
    >>> table = from_counts(Counts(tp=204, fn=24, fp=35, tn=385)).set_index("measure")
    >>> table.loc["specificity", ["estimate", "low", "high"]].astype(float).round(4).tolist()
    [0.9167, 0.8863, 0.9395]
    """
    chosen = dict(methods or {})
    shares = _shares(counts)
    rows: dict[str, Interval] = {
        name: proportion(*shares[name], method=chosen.get(name, "wilson"), level=level)
        for name in shares
    }
    rows["f1"] = f1(counts, level=level)
    rows["lr_positive"] = likelihood_ratio(counts, sign="positive", level=level)
    rows["lr_negative"] = likelihood_ratio(counts, sign="negative", level=level)
    rows["diagnostic_odds_ratio"] = odds_ratio(counts, level=level)
    rows["youden"] = youden(counts, level=level)
    rows["mcc"] = Interval(
        float(accuracy.measures(counts)["mcc"]), np.nan, np.nan, "none from counts alone"
    )
    table = pd.DataFrame([(name, *rows[name]) for name in MEASURES])
    table.columns = ["measure", "estimate", "low", "high", "method"]
    table["n"] = [int(shares[name][1]) if name in shares else sum(counts) for name in MEASURES]
    reasons = accuracy.why_undefined(counts)
    table["reason"] = [reasons.get(name, "") for name in table["measure"]]
    return table


def by_case(
    label: ArrayLike,
    case: ArrayLike,
    *,
    call: ArrayLike | None = None,
    probability: ArrayLike | None = None,
    replicates: int = 2000,
    seed: int | np.random.Generator = 0,
    level: float = 0.95,
    unit: str = "case",
) -> pd.DataFrame:
    """Percentile intervals from resampling whole cases.

    Cases are drawn with replacement, positives and controls apart, as sensitivity and
    specificity are defined given the diagnosis; a case brings all its images. Counts and the
    pairwise wins behind the AUC are summed by case once, so a replicate is a product of a row
    of case weights with small matrices.

    Parameters
    ----------
    label : array-like of 0 and 1, shape (n,)
        Reference diagnosis of each image.
    case : array-like, shape (n,)
        The person each image belongs to.
    call : array-like of 0 and 1, shape (n,), optional
        Decisions; adds the measures of :data:`helpers.accuracy.MEASURES`.
    probability : array-like of float, shape (n,), optional
        Scores; adds ``auc``.
    replicates : int
        Number of resampled cohorts.
    seed : int or Generator
        Source of randomness.
    level : float
        Confidence level.
    unit : str
        What the method's name calls a case.

    Returns
    -------
    DataFrame
        measure, estimate, low, high, method, n (cases), reason (why the estimate is NaN). Where
        no interval can be given the method says why, see :func:`percentiles`.

    References
    ----------
    Field CA, Welsh AH. Bootstrapping clustered data. J R Stat Soc B 2007;69:369-390,
    doi 10.1111/j.1467-9868.2007.00593.x.

    Examples
    --------
    >>> label, call = [1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0, 1]
    >>> table = by_case(label, list("aabbccdd"), call=call, seed=1).set_index("measure")
    >>> [float(value) for value in table.loc["sensitivity", ["estimate", "low", "high"]]]
    [0.75, 0.5, 1.0]
    """
    weights = case_weights(case, stratum=label, replicates=replicates, seed=seed)
    samples: dict[str, NDArray] = {}
    reasons: dict[str, str] = {}
    if call is not None:
        tables = weights @ counts_by_case(label, call, case)
        samples |= accuracy.measures(Counts(*tables.T))
        reasons |= accuracy.why_undefined(accuracy.confusion(label, call))
    if probability is not None:
        samples["auc"] = _weighted_auc(label, probability, case, weights)
    cases = weights.shape[1]
    rows = [
        (name, *percentiles(values, cases=cases, level=level, unit=unit))
        for name, values in samples.items()
    ]
    table = pd.DataFrame(rows, columns=["measure", "estimate", "low", "high", "method"])
    table["n"] = cases
    table["reason"] = [reasons.get(name, "") for name in table["measure"]]
    return table


def by_rater(
    calls: pd.DataFrame,
    raters: Iterable[str],
    *,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Stack :func:`by_case` over several raters of the same images.

    Parameters
    ----------
    calls : DataFrame
        One row an image: label, case_id and one column of 0/1 calls for each rater.
    raters : iterable of str
        Those columns.
    replicates, seed, level
        As in :func:`by_case`; all raters see the same resampled cases.

    Returns
    -------
    DataFrame
        rater, then the columns of :func:`by_case`.
    """
    parts = {
        rater: by_case(
            calls["label"],
            calls["case_id"],
            call=calls[rater],
            replicates=replicates,
            seed=seed,
            level=level,
        )
        for rater in raters
    }
    stacked = pd.concat(parts, names=["rater"])
    return stacked.reset_index("rater").reset_index(drop=True)


def share_called(counted: pd.DataFrame) -> pd.DataFrame:
    """Add the share called positive, with Wilson's interval, to counts of groups.

    Parameters
    ----------
    counted : DataFrame
        group, called, n (images).

    Returns
    -------
    DataFrame
        The same with estimate, low, high, method; an empty group gives NaN.

    Examples
    --------
    The published shares of DMD and BMD:

    >>> table = share_called(accuracy.published_calls())
    >>> table[["estimate", "low", "high"]].round(3).to_numpy()[:2].tolist()
    [[0.946, 0.893, 0.974], [0.827, 0.74, 0.889]]
    """
    found = [proportion(row.called, row.n) for row in counted.itertuples()]
    intervals = pd.DataFrame(found, columns=list(Interval._fields), index=counted.index)
    return pd.concat([counted, intervals], axis=1)


def share_called_by(
    group: pd.Series,
    call: pd.Series,
    *,
    case: pd.Series | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Share called positive in each group, with Wilson's interval or that of resampled cases.

    Parameters
    ----------
    group : Series
        Group of each image; a categorical fixes the order and keeps empty groups.
    call : Series of 0 and 1
        Decision of each image.
    case : Series, optional
        The person each image belongs to; when given, a group's cases are resampled.
    replicates, seed
        As in :func:`by_case`.

    Returns
    -------
    DataFrame
        group, called, n (images), estimate, low, high, method; an empty group gives NaN.

    Examples
    --------
    >>> table = share_called_by(pd.Series(["DMD", "DMD", "BMD"]), pd.Series([1, 0, 1]))
    >>> table[["group", "called", "n", "estimate"]].to_numpy().tolist()
    [['BMD', 1, 1, 1.0], ['DMD', 1, 2, 0.5]]
    """
    parts = list(call.groupby(group, observed=False))
    counted = pd.DataFrame(
        [(name, int(calls.sum()), len(calls)) for name, calls in parts],
        columns=["group", "called", "n"],
    )
    table = share_called(counted)
    if case is None:
        return table
    found = [
        _share_of_cases(calls, case.loc[calls.index], replicates=replicates, seed=seed)
        for _, calls in parts
    ]
    return table.assign(**pd.DataFrame(found, columns=list(Interval._fields)))


def roc_band(
    label: ArrayLike,
    probability: ArrayLike,
    case: ArrayLike,
    *,
    replicates: int = 500,
    seed: int | np.random.Generator = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Pointwise interval of sensitivity along the ROC curve, from resampling cases.

    Parameters
    ----------
    label, probability, case : array-like, shape (n,)
        As in :func:`by_case`.
    replicates, seed, level
        As in :func:`by_case`.

    Returns
    -------
    DataFrame
        false_positive_rate (0 to 1 by 0.01), low, high (of sensitivity).

    References
    ----------
    Fawcett T. Pattern Recognition Letters 2006;27:861-874,
    doi 10.1016/j.patrec.2005.10.010, vertical averaging.
    """
    label, probability = accuracy.checked_scores(label, probability)
    weights = case_weights(case, stratum=label, replicates=replicates, seed=seed)[1:]
    images = weights[:, pd.factorize(np.asarray(case), sort=True)[0]]
    order = np.argsort(-probability, kind="stable")
    last_of_tie = np.append(np.diff(probability[order]) != 0, True)
    positives = _cumulative_share(images[:, order] * label[order], last_of_tie)
    controls = _cumulative_share(images[:, order] * (1 - label[order]), last_of_tie)
    grid = np.linspace(0, 1, 101)
    curves = [np.interp(grid, x, y) for x, y in zip(controls, positives, strict=True)]
    low, high = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return pd.DataFrame({"false_positive_rate": grid, "low": low, "high": high})


def counts_by_case(label: ArrayLike, call: ArrayLike, case: ArrayLike) -> NDArray[np.int64]:
    """Count true and false calls within each case.

    Parameters
    ----------
    label, call : array-like of 0 and 1, shape (n,)
        Reference diagnosis and decision.
    case : array-like, shape (n,)
        The person each image belongs to.

    Returns
    -------
    ndarray of int, shape (cases, 4)
        tp, fn, fp, tn of each case, cases in sorted order.

    Examples
    --------
    >>> counts_by_case([1, 1, 0], [1, 0, 0], ["a", "a", "b"]).tolist()
    [[1, 1, 0, 0], [0, 0, 0, 1]]
    """
    accuracy.confusion(label, call)
    label, call = np.asarray(label, dtype=int), np.asarray(call, dtype=int)
    codes, cases = pd.factorize(np.asarray(case), sort=True)
    positive, control = label * call, (1 - label) * call
    cells = np.column_stack([positive, label - positive, control, 1 - label - control])
    found = np.zeros((len(cases), 4), dtype=np.int64)
    np.add.at(found, codes, cells)
    return found


def case_weights(
    case: ArrayLike,
    *,
    stratum: ArrayLike | None = None,
    replicates: int,
    seed: int | np.random.Generator,
) -> NDArray[np.float64]:
    """Draw how often each case enters each resampled cohort.

    Parameters
    ----------
    case : array-like, shape (n,)
        The person each image belongs to.
    stratum : array-like, shape (n,), optional
        Cases of one stratum replace each other only; one value a case.
    replicates : int
        Number of resampled cohorts.
    seed : int or Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (replicates + 1, cases)
        The first row is 1: the cohort itself. Cases in sorted order.

    Raises
    ------
    ValueError
        When lengths differ or a case has images of two strata.

    Examples
    --------
    >>> case_weights(["a", "b", "b"], replicates=2, seed=0).sum(axis=1).tolist()
    [2.0, 2.0, 2.0]
    """
    rng = np.random.default_rng(seed)
    codes, cases = pd.factorize(np.asarray(case), sort=True)
    strata = np.zeros(len(cases), dtype=int)
    if stratum is not None:
        strata = stratum_of_case(codes, cases, np.asarray(stratum))
    weights = np.ones((replicates + 1, len(cases)))
    for value in np.unique(strata):
        members = np.flatnonzero(strata == value)
        share = np.full(members.size, 1 / members.size)
        weights[1:, members] = rng.multinomial(members.size, share, size=replicates)
    return weights


def stratum_of_case(codes: NDArray, cases: NDArray, stratum: NDArray) -> NDArray:
    """Return the one value that all images of each case share.

    Parameters
    ----------
    codes : ndarray of int, shape (n,)
        Number of the case of each image.
    cases : ndarray, shape (cases,)
        Name of each case, for the message.
    stratum : ndarray, shape (n,)
        Value of each image, for example its reference diagnosis.

    Returns
    -------
    ndarray, shape (cases,)

    Raises
    ------
    ValueError
        When lengths differ, an image has no case, or a case has two values.

    Examples
    --------
    >>> stratum_of_case(np.array([0, 0, 1]), np.array(["a", "b"]), np.array([1, 1, 0])).tolist()
    [1, 0]
    """
    if stratum.shape != codes.shape:
        raise ValueError(f"{stratum.size} labels but {codes.size} case ids; expected as many.")
    if (codes < 0).any():
        raise ValueError(f"{(codes < 0).sum()} of {codes.size} images have no case id.")
    found = np.empty(len(cases), dtype=stratum.dtype)
    found[codes] = stratum
    mixed = cases[np.unique(codes[found[codes] != stratum])]
    if mixed.size:
        raise ValueError(
            f"{mixed.size} cases have images with different labels, e.g. {str(mixed[0])!r}; "
            "expected one reference diagnosis for each case. Check cases.csv."
        )
    return found


def auc_difference(
    label: ArrayLike,
    probability: ArrayLike,
    other: ArrayLike,
    case: ArrayLike,
    *,
    replicates: int = 2000,
    seed: int,
) -> Interval:
    """Return how much larger one area under the ROC curve is than another on the same images.

    Both areas are taken on the same resampled cases, so that what the two have in common
    cancels.

    Parameters
    ----------
    label : array-like of 0 or 1, shape (n,)
        Diagnosis of each image.
    probability, other : array-like, shape (n,)
        Scores of the two models.
    case : array-like, shape (n,)
        The person each image belongs to.
    replicates : int
        Resampled cohorts, drawn within each diagnosis.
    seed : int
        Of the resampling.

    Returns
    -------
    Interval
        Difference of the areas, percentile interval.

    Examples
    --------
    >>> auc_difference([0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8], [0.1, 0.9, 0.2, 0.8], "abcd", seed=1)[0]
    0.0
    """
    case = np.asarray(list(case))
    weights = case_weights(case, stratum=label, replicates=replicates, seed=seed)
    areas = [_weighted_auc(label, score, case, weights) for score in (probability, other)]
    return percentiles(areas[0] - areas[1], cases=weights.shape[1])


def against_chance(low: float, high: float, *, chance: float = 0.5) -> str:
    """Return what the analysis plan's rule says of an area under the ROC curve.

    Parameters
    ----------
    low, high : float
        Limits of its 95 % interval; NaN where there is none.
    chance : float
        Area of a classifier that ignores its input.

    Returns
    -------
    str
        Words for a sentence about the area.

    Examples
    --------
    >>> against_chance(0.64, 0.95)
    'its interval excludes chance'
    >>> against_chance(0.46, 0.80)
    'its interval includes chance, so it fails'
    >>> against_chance(0.10, 0.30)
    'its interval lies below chance, so it fails'
    """
    if not np.isfinite([low, high]).all():
        return "it has no interval, so nothing follows"
    if low > chance:
        return "its interval excludes chance"
    where = "lies below" if high < chance else "includes"
    return f"its interval {where} chance, so it fails"


def middle(values: ArrayLike, *, level: float = 0.95) -> tuple[float, float]:
    """Return the two quantiles between which the middle share of values lies.

    Parameters
    ----------
    values : array-like of float, shape (n,)
        For example what chance gives.
    level : float
        Share between the two.

    Returns
    -------
    tuple of float

    Examples
    --------
    >>> middle([0, 1, 2, 3, 4], level=0.5)
    (1.0, 3.0)
    """
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def percentiles(
    values: NDArray, *, cases: int, level: float = 0.95, unit: str = "case"
) -> Interval:
    """Return the percentile interval of values from resampled cases.

    Parameters
    ----------
    values : ndarray, shape (replicates + 1,)
        The estimate, then the resampled values; undefined ones (NaN) are left out.
    cases : int
        Number of cases, for the method's name.
    level : float
        Confidence level.
    unit : str
        What the method's name calls a case.

    Returns
    -------
    Interval
        Limits NaN when the estimate is undefined; when so many resampled values are undefined
        that they could move a limit; or when the values do not vary, as cases that are all alike
        tell how few they are, not that the estimate is exact. The method then says so.

    References
    ----------
    Efron B, Tibshirani RJ. *An Introduction to the Bootstrap*, Chapman & Hall 1993, chapter 13.

    Examples
    --------
    >>> percentiles(np.array([0.5, 0.4, 0.5, 0.6]), cases=3, level=0.5)
    Interval(estimate=0.5, low=0.45, high=0.55, method='bootstrap of 3 cases')
    >>> percentiles(np.array([1.0, 1.0, 1.0, 1.0]), cases=3).method
    'none: resampling 3 cases changes nothing'
    >>> percentiles(np.array([0.5, 0.4, 0.6]), cases=3, unit="subject").method
    'bootstrap of 3 subjects'
    """
    people = f"{cases} {unit}{'s'[: cases != 1]}"
    estimate, replicates = float(values[0]), values[1:]
    defined = replicates[np.isfinite(replicates)]
    if not np.isfinite(estimate):
        return Interval(np.nan, np.nan, np.nan, "none: the measure is undefined")
    missing = replicates.size - defined.size
    if missing > replicates.size * (1 - level) / 2:
        reason = f"none: undefined in {missing:,} of {replicates.size:,} resamples"
        return Interval(estimate, np.nan, np.nan, reason)
    if np.ptp(defined) == 0:
        return Interval(estimate, np.nan, np.nan, f"none: resampling {people} changes nothing")
    return Interval(estimate, *middle(defined, level=level), f"bootstrap of {people}")


def _share_of_cases(call: pd.Series, case: pd.Series, *, replicates: int, seed: int) -> Interval:
    if call.empty:
        return Interval(np.nan, np.nan, np.nan, "none: no image")
    weights = case_weights(case, replicates=replicates, seed=seed)
    codes = pd.factorize(case, sort=True)[0]
    called = weights @ np.bincount(codes, weights=call)
    return percentiles(called / (weights @ np.bincount(codes)), cases=weights.shape[1])


def _weighted_auc(
    label: ArrayLike, probability: ArrayLike, case: ArrayLike, weights: NDArray
) -> NDArray[np.float64]:
    label, probability = accuracy.checked_scores(label, probability)
    codes = pd.factorize(np.asarray(case), sort=True)[0]
    member = np.equal.outer(codes, np.arange(weights.shape[1])).astype(float)
    positive, control = label == 1, label == 0
    higher = np.subtract.outer(probability[positive], probability[control])
    wins = member[positive].T @ np.heaviside(higher, 0.5) @ member[control]
    pairs = (weights @ member[positive].sum(axis=0)) * (weights @ member[control].sum(axis=0))
    won = ((weights @ wins) * weights).sum(axis=1)
    return np.divide(won, pairs, out=np.full(pairs.shape, np.nan), where=pairs != 0)


def _cumulative_share(weights: NDArray, keep: NDArray) -> NDArray[np.float64]:
    total = np.cumsum(weights, axis=1)
    from_zero = np.column_stack([np.zeros(len(weights)), total[:, keep]])
    return from_zero / total[:, -1:]


def _on_log_scale(estimate: float, error: float, *, level: float) -> Interval:
    factor = float(np.exp(stats.norm.ppf((1 + level) / 2) * error))
    return Interval(estimate, estimate / factor, estimate * factor, "log scale")


def _shares(counts: Counts) -> dict[str, tuple[float, float]]:
    tp, fn, fp, tn = counts
    return {
        "accuracy": (tp + tn, tp + fn + fp + tn),
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, fp + tn),
        "ppv": (tp, tp + fp),
        "npv": (tn, fn + tn),
    }
