"""How each claim is recomputed: the functions that ``book/claims.yml`` names.

Each returns every admissible reading of what is printed. A reading without a condition is what
the source says; one with a condition holds only if something else is granted, and the condition
is shown. Which verdict follows is decided in :mod:`helpers.ledger`, by one rule for all.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from helpers import accuracy, cohort, inference, published, readers
from helpers.accuracy import Counts
from helpers.claims import Claim
from helpers.published import Printed

CUT = "if further digits are cut off instead of rounded"
LEFT_OUT = "if the referred people are left out of the denominator"
COUNTED_RIGHT = "if the referred people count as decided rightly"
ONLY_CLOPPER_PEARSON = "with Clopper-Pearson's interval; Wilson's does not give it"


@dataclass(frozen=True)
class Reading:
    """One way to read a claim, and what it gives.

    Attributes
    ----------
    value, low, high : float or None
        Recomputed number and interval.
    condition : str
        What must be granted; empty for what the source says.
    method : str
        How the interval was made.
    cut : bool
        Compare by cutting digits off.
    span : tuple of float or None
        Smallest and largest value within the rounding of printed inputs, instead of one value.
    premise : str
        What this book assumed of the claim; a verdict against the claim then names it.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    condition: str = ""
    method: str = ""
    cut: bool = False
    span: tuple[float, float] | None = None
    premise: str = ""


#: The reading under which tests on images are compared with the printed p.
INDEPENDENT = "the images count as independent"


@dataclass(frozen=True)
class Outcome:
    """What recomputing one claim gave.

    Attributes
    ----------
    readings : tuple of Reading
        All admissible ones; empty when nothing can be compared with the printed number.
    within : tuple of float or None
        Where only bounds follow: the printed number is impossible outside, open inside.
    facts : dict of str to str
        Numbers for the remark, as shown.
    how : str
        What was computed, in a few words.
    """

    readings: tuple[Reading, ...] = ()
    within: tuple[float, float] | None = None
    facts: dict[str, str] = field(default_factory=dict)
    how: str = ""


class UnknownRecomputation(ValueError):
    """A claim names a function or an input that does not exist."""


class NothingFits(ValueError):
    """No whole number gives a printed share on which another claim's recomputation rests."""


_REGISTRY: dict[str, Callable[..., Outcome]] = {}


def _named(function: Callable[..., Outcome]) -> Callable[..., Outcome]:
    _REGISTRY[function.__name__] = function
    return function


def names() -> list[str]:
    """Return the functions that a claim may name.

    Examples
    --------
    >>> "ratio" in names()
    True
    """
    return list(_REGISTRY)


def run(claim: Claim, printed: Mapping[str, Claim]) -> Outcome:
    """Recompute one claim.

    Parameters
    ----------
    claim : Claim
        With a ``recompute`` entry; inputs that are ids stand for those claims.
    printed : mapping of str to Claim
        All claims.

    Returns
    -------
    Outcome
        An empty one when the claim has no ``recompute``.

    Raises
    ------
    UnknownRecomputation
        For a function, an input or a claim that does not exist; the message lists what does.

    Examples
    --------
    >>> from helpers import claims
    >>> everything = claims.everything()
    >>> outcome = run(everything["P1-43"], everything)
    >>> round(outcome.readings[0].value, 4)
    0.9462
    """
    if claim.recompute is None:
        return Outcome()
    inputs = dict(claim.recompute)
    name = inputs.pop("by")
    if name not in _REGISTRY:
        available = ", ".join(names())
        raise UnknownRecomputation(f"{claim.id}: no function {name!r}. Available: {available}.")
    function = _REGISTRY[name]
    arguments = {key: _resolved(value, printed, claim) for key, value in inputs.items()}
    wanted = inspect.signature(function).parameters
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise UnknownRecomputation(
            f"{claim.id}: {name}: {error}. Its inputs: {', '.join(wanted)}."
        ) from None
    return function(**arguments)


def _resolved(value: Any, printed: Mapping[str, Claim], claim: Claim) -> Any:
    if isinstance(value, list):
        return [_resolved(item, printed, claim) for item in value]
    if value in printed:
        return printed[value]
    if value[:2] in {name[:2] for name in printed} and value[2:3] == "-":
        raise UnknownRecomputation(f"{claim.id}: its input {value!r} is no claim.")
    return value


# Table 2 of the thigh paper


@_named
def table_2(of: str, rows: str = "all", split: str = "total") -> Outcome:
    """Add up cells of Table 2."""
    table = cohort.published_table()
    groups = {"all": table, "positive": table[table.label == 1], "control": table[table.label == 0]}
    own = groups.get(rows, table[table.disease == rows])
    short = {"training": "train", "validation": "val"}.get(split, split)
    total = int(own[f"{short}_{of}"].sum())
    whom = "" if rows == "all" else f"{rows}, "
    return Outcome((Reading(total),), how=f"sum of Table 2: {of}, {whom}{split}")


@_named
def table_2_sums() -> Outcome:
    """Count the rows of Table 2 whose three sets add up to the printed total."""
    table = cohort.published_table()
    right = np.ones(len(table), bool)
    for of in ("cases", "images"):
        parts = table[[f"{split}_{of}" for split in ("train", "val", "test")]].sum(axis=1)
        right &= (parts == table[f"total_{of}"]).to_numpy()
    return Outcome((Reading(int(right.sum())),), how="rows of Table 2 that add up")


# Plain arithmetic


@_named
def ratio(numerator: Claim, denominator: Claim) -> Outcome:
    """Divide two printed numbers."""
    value = numerator.value / denominator.value
    facts = {"ratio": f"{value:.4f}"}
    how = f"{numerator.value:g} / {denominator.value:g}"
    return Outcome((Reading(value), Reading(value, condition=CUT, cut=True)), None, facts, how)


@_named
def share(numerator: Claim, denominator: Claim) -> Outcome:
    """Divide two printed counts, with Wilson's interval."""
    found = inference.proportion(numerator.value, denominator.value)
    how = f"{numerator.value:g} of {denominator.value:g}"
    return Outcome((Reading(*found[:3], method="Wilson"),), how=how)


@_named
def total(parts: list[Claim], less: list[Claim] | None = None) -> Outcome:
    """Add printed numbers, and take others away."""
    taken = less or []
    value = sum(part.value for part in parts) - sum(part.value for part in taken)
    signs = [" + ".join(f"{p.value:g}" for p in parts), *(f"{p.value:g}" for p in taken)]
    return Outcome((Reading(value),), how=" − ".join(signs))


@_named
def complement(other: Claim, of: str, rows: str, split: str) -> Outcome:
    """Take a printed number away from a sum of Table 2."""
    whole = table_2(of, rows, split).readings[0].value
    return Outcome((Reading(whole - other.value),), how=f"{whole:g} − {other.value:g}")


@_named
def largest(among: list[Claim]) -> Outcome:
    """Take the largest of several printed numbers."""
    return Outcome((Reading(max(c.value for c in among)),), how=f"largest of {len(among)}")


@_named
def hull(parts: list[Claim]) -> Outcome:
    """Join printed ranges."""
    low, high = min(c.low for c in parts), max(c.high for c in parts)
    return Outcome((Reading(low=low, high=high),), how="joined ranges of the groups")


@_named
def pooled_mean(means: list[Claim], sizes: list[Claim]) -> Outcome:
    """Pool printed means."""
    n = np.array([c.value for c in sizes])
    value = float(np.average([c.value for c in means], weights=n))
    return Outcome((Reading(value),), how="mean weighted by the numbers of cases")


@_named
def pooled_sd(means: list[Claim], sds: list[Claim], sizes: list[Claim]) -> Outcome:
    """Pool printed standard deviations; the inputs are rounded, so a range follows too."""
    n = np.array([c.value for c in sizes])
    value = _pooled([c.value for c in means], [c.value for c in sds], n)
    corners = [
        _pooled(
            [first, second], [published.rounding_range(c.printed["value"])[end] for c in sds], n
        )
        for end in (0, 1)
        for first in published.rounding_range(means[0].printed["value"])
        for second in published.rounding_range(means[1].printed["value"])
    ]
    condition = "if the printed inputs were rounded in its favour"
    spread = Reading(condition=condition, span=(min(corners), max(corners)))
    facts = {"sd": f"{value:.2f}", "least": f"{min(corners):.2f}", "most": f"{max(corners):.2f}"}
    return Outcome((Reading(value), spread), None, facts, "pooled from the two groups")


# Table 1 and Table 3


@_named
def from_table_3(
    measure: str, tp: list[Claim], positives: list[Claim], fp: Claim, tn: Claim, row: list[Claim]
) -> Outcome:
    """Measure ResNet50 from the counts of Table 3, and search the counts behind Table 1."""
    counts = _counts(tp, positives, fp, tn)
    k, n = {
        "accuracy": (counts.tp + counts.tn, sum(counts)),
        "sensitivity": (counts.tp, counts.tp + counts.fn),
        "specificity": (counts.tn, counts.tn + counts.fp),
    }[measure]
    return Outcome(_intervals(k, n), None, _solutions(row), f"{k:g} of {n:g}, Table 3")


@_named
def network(measure: str, row: list[Claim]) -> Outcome:
    """Search the whole numbers of images that give all three shares of a row of Table 1."""
    pairs = joint(row)
    positives, controls = size_of_test_set()
    part = {
        "accuracy": (lambda tp, tn: tp + tn, positives + controls),
        "sensitivity": (lambda tp, tn: tp, positives),
        "specificity": (lambda tp, tn: tn, controls),
    }
    count, n = part[measure]
    found = sorted({count(*pair) for pair in pairs})
    readings = tuple(reading for k in found for reading in _intervals(k, n))
    how = f"{_either(found)} of {n} test images" if found else "no whole numbers fit the row"
    return Outcome(readings, None, _solutions(row), how)


@_named
def auc_interval(auc: Claim) -> Outcome:
    """Interval of a printed area, were images independent; it says nothing of the area."""
    low, high = published.hanley_mcneil(auc.value, *size_of_test_set())
    return Outcome(facts={"low": f"{low:.3f}", "high": f"{high:.3f}"})


@_named
def better_than_doctors(
    tp: list[Claim], positives: list[Claim], fp: Claim, tn: Claim, doctors: list[Claim], hits: Claim
) -> Outcome:
    """Count the measures on which the model's counts beat those derived for the mean reader."""
    model = accuracy.measures(_counts(tp, positives, fp, tn))
    low, high = (accuracy.measures(c) for c in doctors_counts(doctors, hits))
    names = ("f1", "sensitivity", "specificity", "lr_positive", "lr_negative")
    sign = {"lr_negative": -1}
    won = sum(
        sign.get(name, 1) * (float(model[name]) - float(reader[name])) > 0
        for name in names
        for reader in (low, high)
    )
    facts = {f"model_{name}": _three(model[name]) for name in names}
    facts |= {f"doctors_{name}": _between(low[name], high[name]) for name in names}
    condition = "against the mean of the three; single readers' values are not in the text"
    return Outcome((Reading(won / 2, condition=condition),), None, facts, "measures won of five")


# Readers


@_named
def reader_accuracy(claim: Claim) -> Outcome:
    """Search the right calls behind a reader's accuracy, of images and of cases."""
    positives, controls = size_of_test_set()
    n, cases = positives + controls, int(table_2("cases", split="test").readings[0].value)
    found = whole_numbers(claim, n)
    facts = {
        "counts": _either(found),
        "images": f"{n}",
        "cases": f"{cases}",
        "of_cases": _either(published.fitting(_printed(claim), cases)),
    }
    readings = tuple(reading for k in found for reading in _intervals(k, n))
    return Outcome(readings, None, facts, f"{_either(found)} of {n} test images")


@_named
def mean_reader(claim: Claim) -> Outcome:
    """Search the images behind the doctors' sensitivity, of one reader's, all reads, or cases."""
    positives, _ = size_of_test_set()
    cases = int(table_2("cases", "positive", "test").readings[0].value)
    fit = {n: published.fitting(_printed(claim), n) for n in (positives, 3 * positives, cases)}
    found = whole_numbers(claim, positives)
    readings = tuple(reading for k in found for reading in _intervals(k, positives))
    facts = {
        "images": f"{positives}",
        "reads": f"{3 * positives}",
        "of_reads": _either(fit[3 * positives]),
        "cases": f"{cases}",
        "of_cases": _either(fit[cases]),
    }
    return Outcome(readings, None, facts, f"{_either(found)} of {positives} test images")


@_named
def p_on_images(model: Claim, doctors: Claim) -> Outcome:
    """Every p that a test on independent images can give, for the counts behind the intervals."""
    positives, _ = size_of_test_set()
    first, second = _needed(model, positives), _needed(doctors, positives)
    bounds = published.largest_p(first, second, positives)
    shares = ({"printed": Printed(c.printed["value"]), "n": positives} for c in (model, doctors))
    loose = published.largest_p(*(published.fitting(**share) for share in shares), positives)
    largest_test = max(bounds, key=bounds.get)
    facts = {
        "largest": f"{bounds[largest_test]:.4f}",
        "test": largest_test,
        "loosest": f"{max(loose.values()):.3f}",
        "counts": f"{_either(first)} and {_either(second)}",
        "images": f"{positives}",
    }
    span = (0.0, max(*bounds.values(), *loose.values()))
    reading = Reading(span=span, premise=INDEPENDENT)
    facts["tests"] = f"{len(bounds)}"
    how = f"largest p of {len(bounds)} usual unadjusted two-sided tests of a difference"
    return Outcome((reading,), None, facts, how)


@_named
def p_elsewhere(p: Claim, model: Claim, doctors: Claim) -> Outcome:
    """What it takes for the printed p when readers or cases are the unit."""
    positives, _ = size_of_test_set()
    cases = int(table_2("cases", "positive", "test").readings[0].value)
    first, second = _needed(model, positives)[0], _needed(doctors, positives)[0]
    spread = published.reader_spread(p.value, mean=second / positives, against=first / positives)
    effect = published.design_effect_for(p.value, first, second, positives)
    facts = {
        "spread": f"{spread:.3f}",
        "effect": f"{effect:.2f}",
        "icc": f"{published.likeness_for(effect):.2f}",
        "effective": f"{positives / effect:.0f}",
        "cases": f"{cases}",
    }
    facts |= _nearest_cases(p, cases, first / positives, second / positives)
    # With the spread of readers or the likeness of images unknown, any p up to 1 can occur.
    return Outcome(within=(0.0, 1.0), facts=facts, how="tests with readers or cases as the unit")


def _nearest_cases(p: Claim, cases: int, model: float, reader: float) -> dict[str, str]:
    """The numbers of cases that give the printed p and lie nearest to the printed shares."""
    tables = published.case_tables(p.printed["value"], cases)
    if tables.empty:
        return dict.fromkeys(("test", "model", "reader", "model_share", "reader_share"), "none")
    shares = tables[["model", "reader"]] / cases
    best = tables.loc[((shares - [model, reader]).abs().sum(axis=1)).idxmin()]
    return {
        "test": best["test"],
        "model": f"{best['model']}",
        "reader": f"{best['reader']}",
        "model_share": f"{best['model'] / cases:.2f}",
        "reader_share": f"{best['reader'] / cases:.2f}",
    }


@_named
def kappa_bounds(kappa: Claim, doctors: list[Claim], hits: Claim) -> Outcome:
    """Bounds on Fleiss' kappa from the readers' right calls, and what a printed kappa implies."""
    positives, controls = size_of_test_set()
    right = [_needed(c, positives + controls) for c in doctors]
    found = _sum_of_hits(hits)
    sizes = {"positives": positives, "controls": controls}
    low, high = published.kappa_range(right, found, **sizes)
    vote = published.majority_bounds(right, found, **sizes, kappa=kappa.printed["value"])
    middle = [(numbers[0] + numbers[-1]) // 2 for numbers in right]
    at = published.majority_at(
        middle, found[len(found) // 2], **sizes, kappa=kappa.printed["value"]
    )
    facts = {
        "low": f"{low:.2f}",
        "high": f"{high:.2f}",
        "vote_low": f"{vote[0]:.3f}",
        "vote_high": f"{vote[1]:.3f}",
        "middle_low": f"{at[0]:.3f}",
        "middle_high": f"{at[1]:.3f}",
        "independent": f"{readers.independent_kappa():.2f}",
        "word": readers.kappa_word(kappa.value),
    }
    return Outcome(
        within=(low, high), facts=facts, how="bounds by linear programmes over all tables of calls"
    )


# DystoniaNet


@_named
def whole_number(share: Claim, of: Claim) -> Outcome:
    """Search the whole numbers that give a printed share."""
    found = published.fitting(_printed(share), int(of.value))
    return Outcome(tuple(Reading(k) for k in found), how=f"{_either(found)} of {of.value:g}")


@_named
def form(
    form: str, forms: list[Claim], sizes: list[Claim], referred: Claim, overall: Claim
) -> Outcome:
    """Accuracy of one form of dystonia, or of all, by whole numbers of people."""
    table = _splits(forms, sizes, referred, overall)
    people = dict(zip(_FORMS, (int(c.value) for c in sizes), strict=True))
    chosen = list(_FORMS) if form == "all" else [form]
    n = sum(people[name] for name in chosen)
    out = table[[f"referred_{name}" for name in chosen]].sum(axis=1)
    wrong = table[[f"wrong_{name}" for name in chosen]].sum(axis=1)
    pairs = sorted({(int(w), int(n - r)) for w, r in zip(wrong, out, strict=True)})
    left_out = [Reading(1 - w / d, condition=LEFT_OUT) for w, d in pairs]
    # A form's accuracy may rest on all its people. For all forms together that would count the
    # referred as right, which has to be granted first.
    granted = COUNTED_RIGHT if form == "all" else ""
    everyone = [Reading(1 - w / n, condition=granted) for w in sorted({w for w, _ in pairs})]
    readings = left_out + everyone if granted else everyone + left_out
    facts = {
        "wrong": _either(sorted({w for w, _ in pairs})),
        "decided": _either(sorted({d for _, d in pairs})),
        "people": f"{n}",
        "splits": f"{len(table)}",
    }
    return Outcome(
        tuple(readings), None, facts, f"{facts['wrong']} wrong of {facts['decided']} decided"
    )


@_named
def splits(
    forms: list[Claim], sizes: list[Claim], referred: Claim, overall: Claim, count: str
) -> Outcome:
    """Count the ways to share referrals over the forms, or the wrong or decided people in them."""
    table = _splits(forms, sizes, referred, overall)
    wrong = table[[f"wrong_{name}" for name in _FORMS]].sum(axis=1)
    decided = sum(int(c.value) for c in sizes) - int(referred.value)
    found = {
        "splits": [len(table)],
        "wrong": sorted(set(wrong)),
        "decided": [decided],
        "right": sorted({decided - w for w in wrong}),
    }[count]
    shares = [tuple(row) for row in table[[f"referred_{n}" for n in _FORMS]].to_numpy().tolist()]
    facts = {"shares": "; ".join("/".join(map(str, row)) for row in shares)}
    return Outcome(
        tuple(Reading(int(k)) for k in found), None, facts, "search over all referrals and errors"
    )


@_named
def form_interval(
    form: str,
    out: str,
    forms: list[Claim],
    sizes: list[Claim],
    referred: Claim,
    overall: Claim,
) -> Outcome:
    """Wilson's interval for one form when so many of its people were referred."""
    table = _splits(forms, sizes, referred, overall)
    people = dict(zip(_FORMS, (int(c.value) for c in sizes), strict=True))
    decided, readings = people[form] - int(out), []
    wrong = sorted(set(table[f"wrong_{form}"][table[f"referred_{form}"] == int(out)]))
    for number in wrong:
        found = inference.proportion(decided - number, decided)
        readings.append(Reading(*found[:3], method="Wilson"))
    how = f"{_either([decided - w for w in wrong])} of {decided} decided"
    return Outcome(tuple(readings), how=how)


@_named
def share_of(claim: Claim, of: Claim) -> Outcome:
    """Search the whole numbers of printed people that give a printed share."""
    n = int(of.value)
    found = published.fitting(_printed(claim), n)
    facts = {"counts": _either(found), "n": f"{n}"}
    return Outcome(tuple(Reading(k / n) for k in found), None, facts, f"{_either(found)} of {n}")


@_named
def share_noted(claim: Claim, of: Claim) -> Outcome:
    """Search as :func:`share_of`, for a share whose unit is not stated: a note, no verdict."""
    return Outcome(facts=share_of(claim, of).facts)


@_named
def implied_baseline(overall: Claim, gain: Claim, reading: str) -> Outcome:
    """Accuracy of a yardstick that another method beats by a printed gain."""
    value = {"absolute": overall.value - gain.value, "relative": overall.value / (1 + gain.value)}[
        reading
    ]
    return Outcome((Reading(value),), how=f"{reading} reading of the gain")


@_named
def fold(of: Claim, over: Claim, condition: str) -> Outcome:
    """How many times one printed share is another."""
    value = of.value / over.value
    return Outcome(
        (Reading(value, condition=condition),),
        None,
        {"fold": f"{value:.2f}"},
        f"{of.value:g} / {over.value:g}",
    )


def doctors_counts(doctors: list[Claim], hits: Claim) -> tuple[Counts, Counts]:
    """Return the mean reader's counts with the fewest and the most right calls that fit.

    Parameters
    ----------
    doctors : list of Claim
        Accuracies of the three readers.
    hits : Claim
        Their sensitivity, taken as the mean of the three.

    Returns
    -------
    tuple of Counts
        Means over readers, so not whole numbers.
    """
    positives, controls = size_of_test_set()
    tp = _needed(hits, positives)[0]
    right = [_needed(c, positives + controls) for c in doctors]
    means = [sum(numbers[end] for numbers in right) / len(right) for end in (0, -1)]
    return tuple(
        Counts(tp=tp, fn=positives - tp, fp=controls - (mean - tp), tn=mean - tp) for mean in means
    )


_FORMS = ("LD", "CD", "BSP")


def _splits(
    forms: list[Claim], sizes: list[Claim], referred: Claim, overall: Claim
) -> pd.DataFrame:
    shares = tuple(c.printed["value"] for c in forms)
    people = tuple(int(c.value) for c in sizes)
    return _splits_of(shares, people, int(referred.value), overall.printed["value"])


@cache
def _splits_of(
    shares: tuple[Decimal, ...], people: tuple[int, ...], referred: int, overall: Decimal
) -> pd.DataFrame:
    by_form, subjects = (dict(zip(_FORMS, part, strict=True)) for part in (shares, people))
    return published.referral_splits(subjects, referred, by_form, overall)


def _pooled(means: list[float], sds: list[float], n: np.ndarray) -> float:
    centre = np.average(means, weights=n)
    within = ((n - 1) * np.square(sds)).sum()
    return float(np.sqrt((within + (n * np.square(means - centre)).sum()) / (n.sum() - 1)))


def _printed(claim: Claim) -> Printed:
    return Printed(*(claim.printed.get(key) for key in ("value", "low", "high")))


def size_of_test_set() -> tuple[int, int]:
    """Return the numbers of positive and of control images of the published test set.

    Examples
    --------
    >>> size_of_test_set()
    (228, 420)
    """
    table = cohort.published_table()
    positive = table["label"] == 1
    return int(table.loc[positive, "test_images"].sum()), int(
        table.loc[~positive, "test_images"].sum()
    )


def _counts(tp: list[Claim], positives: list[Claim], fp: Claim, tn: Claim) -> Counts:
    found, everyone = sum(c.value for c in tp), sum(c.value for c in positives)
    return Counts(*(int(x) for x in (found, everyone - found, fp.value, tn.value)))


def _intervals(k: float, n: float) -> tuple[Reading, Reading]:
    wilson = inference.proportion(k, n)
    other = inference.proportion(k, n, method="clopper-pearson")
    return (
        Reading(*wilson[:3], method="Wilson"),
        Reading(*other[:3], condition=ONLY_CLOPPER_PEARSON, method="Clopper-Pearson"),
    )


def joint(row: list[Claim]) -> list[tuple[int, int]]:
    """Return the pairs (TP, TN) that give one row of Table 1, see :func:`published.joint_counts`.

    Parameters
    ----------
    row : list of Claim
        Accuracy, specificity and sensitivity of one network.

    Returns
    -------
    list of tuple of int
    """
    return _joint_of(tuple(_printed(claim) for claim in row), *size_of_test_set())


@cache
def _joint_of(row: tuple[Printed, ...], positives: int, controls: int) -> list[tuple[int, int]]:
    return published.joint_counts(*row, positives=positives, controls=controls)


def whole_numbers(claim: Claim, n: int) -> list[int]:
    """Return the whole numbers of n that give a printed share, by Wilson's interval first.

    Parameters
    ----------
    claim : Claim
        A share with its interval.
    n : int
        Observations.

    Returns
    -------
    list of int
    """
    wilson = published.fitting(_printed(claim), n, methods=["wilson"])
    return wilson or published.fitting(_printed(claim), n)


def _needed(claim: Claim, n: int) -> list[int]:
    """Whole numbers behind another claim; without any, nothing can be said of this one."""
    found = whole_numbers(claim, n)
    if not found:
        raise NothingFits(f"No whole number of {n} gives claim {claim.id}, on which this rests.")
    return found


def _solutions(row: list[Claim]) -> dict[str, str]:
    pairs = joint(row)
    shown = "; ".join(f"TP {tp}, TN {tn}" for tp, tn in pairs)
    return {"solutions": shown or "none", "number": str(len(pairs))}


def _sum_of_hits(hits: Claim) -> list[int]:
    """Sums of three readers' true positives whose mean rounds to a number that fits."""
    positives, _ = size_of_test_set()
    found = _needed(hits, positives)
    return sorted({3 * k + step for k in found for step in (-1, 0, 1)})


def _either(numbers: list[int]) -> str:
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} to {numbers[-1]}"
    return " or ".join(str(int(n)) for n in numbers) or "none"


def _three(value: float) -> str:
    return f"{float(value):.3g}"


def _between(low: float, high: float) -> str:
    first, last = sorted((float(low), float(high)))
    return _three(first) if _three(first) == _three(last) else f"{_three(first)} to {_three(last)}"
