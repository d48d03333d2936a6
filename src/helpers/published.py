"""What follows from the counts that the two studies print, and what cannot.

Whole numbers behind rounded shares, the tests that could give a printed p-value, bounds on what
three readers decide together: arithmetic on published values, no images needed. Whoever has the
studies' tables can replace each bound by the number itself.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, stats
from statsmodels.stats.proportion import proportions_ztest

from helpers import clustered, cohort, inference, paired
from helpers.accuracy import Counts

#: The rule that reproduces every interval of Table 1 of the thigh paper.
TABLE_1_METHODS = {
    "accuracy": "clopper-pearson",
    "specificity": "wilson",
    "sensitivity": "wilson",
}
METHODS = ("wilson", "clopper-pearson")

_MCNEMAR = {
    "mcnemar": "McNemar",
    "corrected": "McNemar, corrected",
    "exact": "McNemar, exact",
    "mid-p": "McNemar, mid-p",
}

#: Patterns of three readers' calls, 1 for a positive call.
_PATTERNS = np.array(list(product((0, 1), repeat=3)))


class Printed(NamedTuple):
    """A share as a paper prints it, with its interval if there is one.

    Attributes
    ----------
    value : Decimal
        With the printed number of decimals.
    low, high : Decimal or None
        Printed limits.
    """

    value: Decimal
    low: Decimal | None = None
    high: Decimal | None = None


def rounds_to(value: float, printed: Decimal) -> bool:
    """Say whether a number, rounded as the printed one is, gives it; halves may go either way.

    Parameters
    ----------
    value : float
        Recomputed number.
    printed : Decimal
        As printed; its decimals are the rule of rounding.

    Returns
    -------
    bool

    Examples
    --------
    >>> rounds_to(0.9462, Decimal("0.95")), rounds_to(0.9462, Decimal("0.94"))
    (True, False)
    >>> rounds_to(0.905, Decimal("0.90")), rounds_to(0.905, Decimal("0.91"))
    (True, True)
    """
    low, high = rounding_range(printed)
    return bool(low - 1e-12 <= value <= high + 1e-12)


def cut_to(value: float, printed: Decimal) -> bool:
    """Say whether a number whose further digits are cut off gives the printed one.

    Examples
    --------
    >>> cut_to(123 / 130, Decimal("0.94"))
    True
    """
    unit = float(_unit(printed))
    return bool(value - float(printed) + 1e-12 >= 0 and value < float(printed) + unit - 1e-12)


def rounding_range(printed: Decimal) -> tuple[float, float]:
    """Return the numbers between which every number lies that rounds to the printed one.

    Examples
    --------
    >>> rounding_range(Decimal("0.190"))
    (0.1895, 0.1905)
    """
    half = _unit(printed) / 2
    return float(printed - half), float(printed + half)


def fitting(printed: Printed, n: int, *, methods: Sequence[str] = METHODS) -> list[int]:
    """Return the whole numbers of n that give a printed share and its interval.

    Parameters
    ----------
    printed : Printed
        The share; without limits the share alone must fit.
    n : int
        Observations.
    methods : sequence of str
        Interval methods of :func:`helpers.inference.proportion`; one of them must fit.

    Returns
    -------
    list of int

    Examples
    --------
    The doctors' sensitivity, 0.79 (0.73 to 0.84), fits one number of the 228 positive images:

    >>> doctors = Printed(Decimal("0.79"), Decimal("0.73"), Decimal("0.84"))
    >>> fitting(doctors, 228, methods=["wilson"])
    [180]
    """
    return [k for k in range(n + 1) if any(_fits(k, n, printed, method) for method in methods)]


def joint_counts(
    accuracy: Printed,
    specificity: Printed,
    sensitivity: Printed,
    *,
    positives: int,
    controls: int,
    methods: Mapping[str, str] = TABLE_1_METHODS,
) -> list[tuple[int, int]]:
    """Return all pairs of true positives and true negatives that give one row of Table 1.

    Parameters
    ----------
    accuracy, specificity, sensitivity : Printed
        The row.
    positives, controls : int
        Images of each kind in the set that the row rests on.
    methods : mapping
        Interval method of each measure.

    Returns
    -------
    list of tuple of int
        Pairs (TP, TN); empty when no whole numbers fit all three at once.

    Examples
    --------
    >>> row = [Printed(*map(Decimal, r)) for r in (
    ...     ("0.91", "0.88", "0.93"), ("0.92", "0.89", "0.94"), ("0.89", "0.85", "0.93"))]
    >>> joint_counts(*row, positives=228, controls=420)
    [(204, 385)]
    """
    everyone = positives + controls
    right = set(fitting(accuracy, everyone, methods=[methods["accuracy"]]))
    negative = fitting(specificity, controls, methods=[methods["specificity"]])
    positive = fitting(sensitivity, positives, methods=[methods["sensitivity"]])
    return [(tp, tn) for tp in positive for tn in negative if tp + tn in right]


# Model against readers: which test gives which p


def p_values(first: int, second: int, n: int) -> dict[str, float]:
    """Return the two-sided p of every unpaired test of two shares of n independent images.

    Parameters
    ----------
    first, second : int
        Images found by the model and by the reader.
    n : int
        Images that each of them read.

    Returns
    -------
    dict of str to float
        p by test; a one-sided p is smaller.

    Examples
    --------
    >>> {test: round(p, 4) for test, p in p_values(204, 180, 228).items()}
    {'z': 0.0021, 'chi-squared': 0.0021, 'chi-squared, Yates': 0.0031, 'Fisher': 0.0029}
    """
    table = np.array([[first, n - first], [second, n - second]])
    return {
        "z": float(proportions_ztest([first, second], [n, n])[1]),
        "chi-squared": float(stats.chi2_contingency(table, correction=False).pvalue),
        "chi-squared, Yates": float(stats.chi2_contingency(table, correction=True).pvalue),
        "Fisher": float(stats.fisher_exact(table).pvalue),
    }


def mcnemar_bounds(first: int, second: int, n: int) -> dict[str, float]:
    """Return the largest p that a McNemar test can give over all tables of paired calls.

    Only the difference of the discordant images is known; how many both found is not. So all
    feasible tables are gone through.

    Parameters
    ----------
    first, second : int
        Images found by the model and by the reader.
    n : int
        Images that both read.

    Returns
    -------
    dict of str to float
        Largest two-sided p by form of the test.

    Examples
    --------
    >>> {test: round(p, 4) for test, p in mcnemar_bounds(204, 180, 228).items()}
    {'mcnemar': 0.0047, 'corrected': 0.0067, 'exact': 0.0063, 'mid-p': 0.0046}
    """
    largest = dict.fromkeys(paired.PLAIN, 0.0)
    for model_only, reader_only in _discordant(first, second, n):
        for form in largest:
            p = paired.mcnemar(model_only, reader_only, method=form).p
            largest[form] = max(largest[form], p)
    return largest


def largest_p(model: Iterable[int], reader: Iterable[int], n: int) -> dict[str, float]:
    """Return the largest p of each test over all counts that fit what is printed.

    Parameters
    ----------
    model, reader : iterable of int
        Admissible numbers of images found.
    n : int
        Positive images.

    Returns
    -------
    dict of str to float

    Examples
    --------
    >>> round(max(largest_p([204], [180], 228).values()), 4)
    0.0067
    """
    reader, bounds = list(reader), {}
    for first, second in product(model, reader):
        for test, p in _every_p(first, second, n):
            bounds[test] = max(p, bounds.get(test, 0.0))
    return bounds


def case_tables(printed: Decimal, n: int) -> pd.DataFrame:
    """Return all pairs of cases found whose unpaired test gives a printed p.

    Parameters
    ----------
    printed : Decimal
        The p-value.
    n : int
        Positive cases.

    Returns
    -------
    DataFrame
        test, model, reader (cases found, model the more).

    Examples
    --------
    >>> table = case_tables(Decimal("0.190"), 37)
    >>> [34, 29] in table.loc[table["test"] == "Fisher", ["model", "reader"]].to_numpy().tolist()
    True
    """
    rows = [row[:3] for row in _case_p_values(n) if rounds_to(row[3], printed)]
    return pd.DataFrame(rows, columns=["test", "model", "reader"])


def reader_spread(printed: float, *, mean: float, against: float, readers: int = 3) -> float:
    r"""Return the spread of readers with which a one-sample t-test gives a printed p.

    :math:`s = |\bar x - \mu| \sqrt r / t_{1-p/2,\,r-1}`.

    Parameters
    ----------
    printed : float
        Two-sided p.
    mean, against : float
        Mean of the readers, and the fixed value they are compared with.
    readers : int
        Number of readers, r.

    Returns
    -------
    float
        Standard deviation over readers.

    Examples
    --------
    >>> round(reader_spread(0.190, mean=180 / 228, against=204 / 228), 3)
    0.093
    """
    quantile = stats.t.ppf(1 - printed / 2, readers - 1)
    return float(abs(mean - against) * np.sqrt(readers) / quantile)


def design_effect_for(printed: float, first: int, second: int, n: int) -> float:
    """Return the design effect with which the z-test of two shares gives a printed p.

    Parameters
    ----------
    printed : float
        Two-sided p.
    first, second, n : int
        As for :func:`p_values`.

    Returns
    -------
    float
        Variance of the difference divided by that of independent images.

    Examples
    --------
    >>> round(design_effect_for(0.190, 204, 180, 228), 2)
    5.53
    """
    z = float(proportions_ztest([first, second], [n, n])[0])
    return float((z / stats.norm.ppf(1 - printed / 2)) ** 2)


def likeness_for(effect: float) -> float:
    r"""Return the intraclass correlation that gives a design effect among the positives.

    The mean number of images of a case is weighted by images (:math:`\sum n^2/\sum n`), as in
    :func:`helpers.clustered.design_effect_of_icc`; the plain mean would give a larger correlation.

    Parameters
    ----------
    effect : float
        Design effect.

    Returns
    -------
    float

    Examples
    --------
    >>> round(likeness_for(design_effect_for(0.190, 204, 180, 228)), 2)
    0.87
    """
    largest = clustered.design_effect_of_icc(images_by_case(["DMD", "BMD"]), 1.0)
    return float((effect - 1) / (largest - 1))


# Readers together


def majority_bounds(
    right: Sequence[Iterable[int]],
    found: Iterable[int],
    *,
    positives: int,
    controls: int,
    kappa: Decimal,
) -> tuple[float, float]:
    r"""Return the smallest and largest accuracy of a majority vote of three readers.

    Unknown are the numbers of positive and of control images with each of the eight patterns of
    calls. Given the sums of right calls and of positives found, Fleiss' chance agreement is fixed
    and kappa is linear in the unknowns, so each bound is a linear programme; all sums that the
    printed values allow are gone through.

    Parameters
    ----------
    right : sequence of three iterables of int
        Admissible numbers of right calls of each reader.
    found : iterable of int
        Admissible sums, over readers, of positive images found.
    positives, controls : int
        Images of each kind.
    kappa : Decimal
        Fleiss' kappa as printed.

    Returns
    -------
    tuple of float
        NaN when no table of calls is possible.

    Examples
    --------
    >>> same = [[4], [4], [4]]
    >>> majority_bounds(same, [6], positives=2, controls=2, kappa=Decimal("1.000"))
    (1.0, 1.0)
    """
    limits = [(min(numbers), max(numbers)) for numbers in map(list, right)]
    totals = range(sum(low for low, _ in limits), sum(high for _, high in limits) + 1)
    found = [
        _majority(limits, total, hits, positives, controls, kappa)
        for total, hits in product(totals, list(found))
    ]
    feasible = [pair for pair in found if pair is not None]
    if not feasible:
        return np.nan, np.nan
    return min(low for low, _ in feasible), max(high for _, high in feasible)


def majority_at(
    right: Sequence[int], found: int, *, positives: int, controls: int, kappa: Decimal
) -> tuple[float, float]:
    """Return the bounds of :func:`majority_bounds` for one number of right calls per reader.

    Parameters
    ----------
    right : sequence of int
        Right calls of each reader.
    found : int
        Sum, over readers, of positive images found.
    positives, controls, kappa
        As for :func:`majority_bounds`.

    Returns
    -------
    tuple of float

    Examples
    --------
    >>> at = majority_at([519, 545, 545], 540, positives=228, controls=420, kappa=Decimal("0.628"))
    >>> [round(value, 3) for value in at]
    [0.745, 0.915]
    """
    limits = [(number, number) for number in right]
    pair = _majority(limits, sum(right), found, positives, controls, kappa)
    return (np.nan, np.nan) if pair is None else pair


def kappa_range(
    right: Sequence[Iterable[int]], found: Iterable[int], *, positives: int, controls: int
) -> tuple[float, float]:
    """Return the smallest and largest Fleiss' kappa of three readers with given right calls.

    Parameters
    ----------
    right, found, positives, controls
        As for :func:`majority_bounds`.

    Returns
    -------
    tuple of float

    Examples
    --------
    >>> kappa_range([[4], [4], [4]], [6], positives=2, controls=2)
    (1.0, 1.0)
    """
    limits = [(min(numbers), max(numbers)) for numbers in map(list, right)]
    totals = range(sum(low for low, _ in limits), sum(high for _, high in limits) + 1)
    values = []
    for total, hits in product(totals, list(found)):
        system, chance = _system(limits, total, hits, positives, controls)
        agreement = np.tile(_agreeing(), 2) / (positives + controls)
        for sign in (1, -1):
            solved = optimize.linprog(sign * agreement, **system)
            if solved.success:
                values.append((sign * solved.fun - chance) / (1 - chance))
    return (min(values), max(values)) if values else (np.nan, np.nan)


# Images of one person


def images_by_case(groups: Iterable[str]) -> list[float]:
    """Number of images of each case of the test set, by Table 2.

    Parameters
    ----------
    groups : iterable of str
        Diagnoses of Table 2.

    Returns
    -------
    list of float
        Cases of a diagnosis are taken to have equally many: an assumption, as only sums are
        printed. Unequal numbers would make the design effect larger.

    Examples
    --------
    >>> sizes = images_by_case(["DMD", "BMD"])
    >>> len(sizes), round(sum(sizes))
    (37, 228)
    """
    table = cohort.published_table().set_index("disease").loc[list(groups)]
    cells = zip(table["test_cases"], table["test_images"], strict=True)
    return [images / cases for cases, images in cells for _ in range(cases)]


def by_correlation(counts: Counts, dmd: tuple[int, int], bmd: tuple[int, int]) -> pd.DataFrame:
    r"""Wilson intervals with the effective number of images, for several likenesses within cases.

    With intraclass correlation :math:`\rho` the design effect is :math:`1 + (m_w - 1)\rho`, and
    n images tell as much as n divided by it (Donner and Klar 2000, chapter 1).

    Parameters
    ----------
    counts : Counts
        Table 3.
    dmd, bmd : tuple of int
        Images called positive, and all images, of each subtype.

    Returns
    -------
    DataFrame
        correlation, measure, estimate, low, high, n_effective.

    Examples
    --------
    >>> counts = Counts(tp=204, fn=24, fp=35, tn=385)
    >>> rows = by_correlation(counts, (123, 130), (81, 98)).set_index(["correlation", "measure"])
    >>> rows.loc[(0.8, "sensitivity"), ["low", "high"]].astype(float).round(3).tolist()
    [0.771, 0.955]
    """
    table = cohort.published_table()
    controls = list(table.loc[table["label"] == 0, "disease"])
    positives = ["DMD", "BMD"]
    parts = {
        "sensitivity": (counts.tp, counts.tp + counts.fn, positives),
        "specificity": (counts.tn, counts.tn + counts.fp, controls),
        "accuracy": (counts.tp + counts.tn, sum(counts), positives + controls),
        "sensitivity, DMD": (*dmd, ["DMD"]),
        "sensitivity, BMD": (*bmd, ["BMD"]),
    }
    rows = []
    for correlation, (name, (k, n, groups)) in product((0.0, 0.4, 0.8, 1.0), parts.items()):
        effect = clustered.design_effect_of_icc(images_by_case(groups), correlation)
        found = inference.proportion(k / effect, n / effect)
        rows.append((correlation, name, *found[:3], n / effect))
    names = ["correlation", "measure", "estimate", "low", "high", "n_effective"]
    return pd.DataFrame(rows, columns=names)


def predictive_values(sensitivity: float, specificity: float, prevalence: float) -> tuple:
    r"""Predictive values where the disease is more or less common than in a test set.

    :math:`PPV = Se\,\pi / (Se\,\pi + (1-Sp)(1-\pi))` and
    :math:`NPV = Sp(1-\pi) / (Sp(1-\pi) + (1-Se)\pi)`.

    Parameters
    ----------
    sensitivity, specificity : float
        Of the test.
    prevalence : float
        Share of diseased among those tested.

    Returns
    -------
    tuple of float
        Positive and negative predictive value.

    Examples
    --------
    >>> [round(value, 3) for value in predictive_values(204 / 228, 385 / 420, 0.10)]
    [0.544, 0.987]
    """
    hits, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    clear, missed = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return hits / (hits + false), clear / (clear + missed)


def standardised(dmd: float, bmd: float, share_bmd: float) -> float:
    """Sensitivity in a group with another share of Becker dystrophy.

    Parameters
    ----------
    dmd, bmd : float
        Sensitivity to each subtype.
    share_bmd : float
        Share of Becker among positives.

    Returns
    -------
    float

    Examples
    --------
    >>> round(standardised(123 / 130, 81 / 98, 31 / 148), 3)
    0.921
    """
    return share_bmd * bmd + (1 - share_bmd) * dmd


# DystoniaNet: who was referred


def referral_splits(
    subjects: Mapping[str, int],
    referred: int,
    by_form: Mapping[str, Decimal],
    overall: Decimal,
) -> pd.DataFrame:
    """Return every way to share referrals and errors over forms that fits the printed shares.

    Referred people are left out of the denominators. All numbers of referrals and errors are
    gone through, none is assumed.

    Parameters
    ----------
    subjects : mapping of str to int
        People by form.
    referred : int
        Referrals in all.
    by_form : mapping of str to Decimal
        Printed share of right decisions by form.
    overall : Decimal
        Printed share of right decisions of all.

    Returns
    -------
    DataFrame
        ``referred_<form>`` and ``wrong_<form>`` for each form.

    Examples
    --------
    >>> shares = {"LD": Decimal("0.982"), "CD": Decimal("1.00"), "BSP": Decimal("0.981")}
    >>> people = {"LD": 59, "CD": 59, "BSP": 54}
    >>> len(referral_splits(people, 6, shares, Decimal("0.988")))
    9
    """
    rows = []
    for out in product(range(referred + 1), repeat=len(subjects)):
        if sum(out) != referred:
            continue
        decided = [n - r for n, r in zip(subjects.values(), out, strict=True)]
        errors = [
            [w for w in range(n + 1) if rounds_to(1 - w / n, by_form[form])]
            for form, n in zip(subjects, decided, strict=True)
        ]
        rows += [
            (*out, *wrong)
            for wrong in product(*errors)
            if rounds_to(1 - sum(wrong) / sum(decided), overall)
        ]
    names = [f"{what}_{form}" for what in ("referred", "wrong") for form in subjects]
    return pd.DataFrame(rows, columns=names)


def hanley_mcneil(auc: float, positives: int, controls: int) -> tuple[float, float]:
    r"""95 % interval of an area under the ROC curve from its size alone, images independent.

    :math:`SE^2 = \{A(1-A) + (n_+-1)(Q_1-A^2) + (n_--1)(Q_2-A^2)\}/(n_+n_-)` with
    :math:`Q_1 = A/(2-A)` and :math:`Q_2 = 2A^2/(1+A)`.

    Parameters
    ----------
    auc : float
        Area.
    positives, controls : int
        Images of each kind.

    Returns
    -------
    tuple of float

    References
    ----------
    Hanley JA, McNeil BJ. Radiology 1982;143:29-36.

    Examples
    --------
    >>> [round(limit, 3) for limit in hanley_mcneil(0.98, 228, 420)]
    [0.967, 0.993]
    """
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = (positives - 1) * (first - auc**2) + (controls - 1) * (second - auc**2)
    error = np.sqrt((auc * (1 - auc) + spread) / (positives * controls))
    half = float(stats.norm.ppf(0.975) * error)
    return auc - half, auc + half


@cache
def _every_p(first: int, second: int, n: int) -> tuple[tuple[str, float], ...]:
    pairs = ((_MCNEMAR[form], p) for form, p in mcnemar_bounds(first, second, n).items())
    return (*p_values(first, second, n).items(), *pairs)


@cache
def _case_p_values(n: int) -> tuple[tuple[str, int, int, float], ...]:
    """Every test's p for every pair of numbers of cases, model the more."""
    pairs = ((model, reader) for model in range(1, n) for reader in range(model))
    return tuple((name, *pair, p) for pair in pairs for name, p in p_values(*pair, n).items())


@cache
def _limits(n: int, method: str) -> tuple[inference.Interval, ...]:
    return tuple(inference.proportion(k, n, method=method) for k in range(n + 1))


def _fits(k: int, n: int, printed: Printed, method: str) -> bool:
    if not rounds_to(k / n, printed.value):
        return False
    if printed.low is None or printed.high is None:
        return True
    found = _limits(n, method)[k]
    return rounds_to(found.low, printed.low) and rounds_to(found.high, printed.high)


def _unit(printed: Decimal) -> Decimal:
    return Decimal(1).scaleb(min(int(printed.as_tuple().exponent), 0))


def _discordant(first: int, second: int, n: int) -> Iterator[tuple[int, int]]:
    """Numbers of images that only the model and only the reader found, over all tables."""
    for both in range(max(0, first + second - n), min(first, second) + 1):
        yield first - both, second - both


def _agreeing() -> np.ndarray:
    """Share of the three pairs of readers that agree, by pattern."""
    positive = _PATTERNS.sum(axis=1)
    return np.where((positive == 0) | (positive == 3), 1.0, 1 / 3)


def _system(
    limits: Sequence[tuple[int, int]], total: int, hits: int, positives: int, controls: int
) -> tuple[dict, float]:
    """Constraints on the counts of patterns, and Fleiss' agreement by chance."""
    own = np.concatenate([_PATTERNS, 1 - _PATTERNS])  # right calls by pattern and reader
    first, last = np.repeat([1.0, 0.0], 8), np.repeat([0.0, 1.0], 8)
    equal = [first, last, own.sum(axis=1), np.append(_PATTERNS.sum(axis=1), np.zeros(8))]
    system = {
        "A_eq": np.array(equal),
        "b_eq": [positives, controls, total, hits],
        "A_ub": np.concatenate([own.T, -own.T]),
        "b_ub": [high for _, high in limits] + [-low for low, _ in limits],
        "bounds": (0, None),
    }
    calls = hits + 3 * controls - (total - hits)
    rate = calls / (3 * (positives + controls))
    return system, rate**2 + (1 - rate) ** 2


def _majority(
    limits: Sequence[tuple[int, int]],
    total: int,
    hits: int,
    positives: int,
    controls: int,
    kappa: Decimal,
) -> tuple[float, float] | None:
    system, chance = _system(limits, total, hits, positives, controls)
    n = positives + controls
    low, high = (n * (k * (1 - chance) + chance) for k in rounding_range(kappa))
    agreement = np.tile(_agreeing(), 2)
    system["A_ub"] = np.vstack([system["A_ub"], agreement, -agreement])
    system["b_ub"] = [*system["b_ub"], high, -low]
    wins = (_PATTERNS.sum(axis=1) >= 2).astype(float)
    goal = np.concatenate([wins, 1 - wins]) / n
    least, most = optimize.linprog(goal, **system), optimize.linprog(-goal, **system)
    return (float(least.fun), float(-most.fun)) if least.success and most.success else None
