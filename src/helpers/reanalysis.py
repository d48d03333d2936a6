"""The thigh paper's comparisons again, from its counts, with images of one person allowed alike.

How alike they are is not printed. So every result is given for several assumed intraclass
correlations: 0, which the paper's intervals take for granted, and two larger ones. With n images
and design effect d, n/d independent images would tell as much (:mod:`helpers.clustered`).
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from helpers import (
    accuracy,
    claims,
    clustered,
    cohort,
    inference,
    operating,
    paired,
    published,
    readers,
    recompute,
)
from helpers.accuracy import Counts
from helpers.inference import Interval

#: Assumed intraclass correlations; the paper's own intervals assume the first.
CORRELATIONS = (0.0, 0.4, 0.8)

#: Name of the published network in tables and figures.
MODEL = "ResNet50"

_SUBTYPES = {"DMD": ("P1-43n", "P1-43d"), "BMD": ("P1-44n", "P1-44d")}


def design_effect(group: str, correlation: float) -> float:
    """Return the design effect in a group of the published test set.

    Parameters
    ----------
    group : {"positives", "controls", "all", "DMD", "BMD"}
        Which test images.
    correlation : float
        Assumed intraclass correlation.

    Returns
    -------
    float

    Examples
    --------
    >>> [round(design_effect(g, 1.0), 2) for g in ("positives", "controls", "DMD", "BMD")]
    [6.18, 6.95, 6.5, 5.76]
    """
    return clustered.design_effect_of_icc(_sizes(group), correlation)


def network(correlations: Iterable[float] = CORRELATIONS) -> pd.DataFrame:
    """Measures of the published network with intervals for each assumed correlation.

    Wilson's intervals, the log method for likelihood ratios and the indirect Wilson method for
    F1, on counts divided by the design effect of the images that the measure rests on. Without
    correlation, accuracy has the Clopper-Pearson interval, as in the paper.

    Parameters
    ----------
    correlations : iterable of float
        Assumed intraclass correlations.

    Returns
    -------
    DataFrame
        correlation, measure, estimate, low, high, n (effective number of images).

    Examples
    --------
    >>> table = network([0.4]).set_index("measure")
    >>> table.loc["specificity", ["low", "high", "n"]].astype(float).round(3).tolist()
    [0.855, 0.954, 124.264]
    """
    parts = [_network(correlation) for correlation in correlations]
    return pd.concat(parts, ignore_index=True)


def raters(correlations: Iterable[float] = CORRELATIONS) -> pd.DataFrame:
    """Measures of the published network and radiologists, as in Fig. 3, for each correlation.

    The mean radiologist is treated as one reader of all images, as the paper does; what is not
    printed of him follows from the printed numbers as they are rounded.

    Parameters
    ----------
    correlations : iterable of float
        Assumed intraclass correlations.

    Returns
    -------
    DataFrame
        rater, evidence, correlation, kind (the correlation in words), measure, estimate, low,
        high, share (of images that show a dystrophinopathy). Intervals that are printed stand as
        printed; evidence says which these are.

    Examples
    --------
    >>> table = raters([0.0]).set_index(["rater", "measure"])
    >>> table.loc[("radiologist 1", "accuracy"), ["low", "high"]].astype(float).tolist()
    [0.77, 0.83]
    """
    correlations = list(correlations)
    parts = [network(correlations).assign(rater=MODEL, evidence="recomputed")]
    parts += [_radiologists(correlation) for correlation in correlations]
    columns = ["rater", "evidence", "correlation", "kind", "measure", "estimate", "low", "high"]
    table = pd.concat(parts, ignore_index=True)
    kinds = {0.0: "images independent, as published"}
    table["kind"] = [
        kinds.get(value, f"correlation {value:g}, assumed") for value in table["correlation"]
    ]
    return table[columns].assign(share=prevalence())


def operating_points(correlations: Iterable[float] = CORRELATIONS) -> pd.DataFrame:
    """Return the published operating point with intervals for each assumed correlation.

    Parameters
    ----------
    correlations : iterable of float
        Assumed intraclass correlations.

    Returns
    -------
    DataFrame
        As :func:`helpers.operating.sweep` returns it; the setting is the correlation.
    """
    counts = accuracy.published_counts()
    parts = [
        operating.of_counts(counts, effective=sizes, setting=value)
        for value, sizes in effective_sizes(correlations).items()
    ]
    return pd.concat(parts, ignore_index=True)


def effective_sizes(correlations: Iterable[float] = CORRELATIONS) -> dict[float, tuple]:
    """Return the effective numbers of positives and controls for each correlation.

    Parameters
    ----------
    correlations : iterable of float
        Assumed intraclass correlations.

    Returns
    -------
    dict of float to tuple of float

    Examples
    --------
    >>> effective_sizes([0.0])
    {0.0: (228.0, 420.0)}
    """
    counts = accuracy.published_counts()
    sizes = {"positives": counts.tp + counts.fn, "controls": counts.fp + counts.tn}
    return {
        value: tuple(size / design_effect(group, value) for group, size in sizes.items())
        for value in correlations
    }


def differences(correlations: Iterable[float] = CORRELATIONS) -> pd.DataFrame:
    """Compare the published network with the radiologists, images of one person alike.

    Unpaired z-tests with effective numbers of images, since how calls are paired is not
    printed. Of all counts that fit what is printed those with the largest p are taken.

    Parameters
    ----------
    correlations : iterable of float
        Assumed intraclass correlations.

    Returns
    -------
    DataFrame
        measure, against, correlation, model, other, difference, low, high (Newcombe), p, holm
        (p adjusted over the rows of one correlation), limit (the correlation at which p reaches
        0.05; negative where it never falls so low).

    References
    ----------
    Newcombe RG. Statistics in Medicine 1998;17:873-890, method 10. Holm S. Scand J Stat
    1979;6:65-70.

    Examples
    --------
    >>> table = differences([0.0]).set_index(["measure", "against"])
    >>> round(float(table.loc[("sensitivity", "mean radiologist"), "p"]), 4)
    0.0021
    """
    rows = []
    for correlation, (measure, against, group, model, others, n) in product(
        correlations, _comparisons()
    ):
        effect = design_effect(group, correlation)
        worst = max(others, key=lambda other: _z_test(model, other, n)[1])
        z = _z_test(model, worst, n)[0]
        limit = ((z / stats.norm.ppf(0.975)) ** 2 - 1) / (design_effect(group, 1.0) - 1)
        found = difference((model, n), (worst, n), effects=(effect, effect))
        rows.append((measure, against, correlation, model / n, worst / n, *found, limit))
    names = ["measure", "against", "correlation", "model", "other", "difference"]
    table = pd.DataFrame(rows, columns=[*names, "low", "high", "p", "limit"])
    table["holm"] = table.groupby("correlation")["p"].transform(paired.adjusted)
    return table


def difference(
    first: tuple[float, float],
    second: tuple[float, float],
    *,
    effects: tuple[float, float],
    level: float = 0.95,
) -> tuple[float, float, float, float]:
    """Difference of two unpaired shares with effective numbers of images.

    Parameters
    ----------
    first, second : tuple of float
        Images that count, and all images.
    effects : tuple of float
        Design effect of each.
    level : float
        Confidence level.

    Returns
    -------
    tuple of float
        Difference, Newcombe's limits, two-sided p of the pooled z-test.

    Examples
    --------
    DMD against BMD in the paper's Table 3, images independent:

    >>> [round(value, 4) for value in difference((123, 130), (81, 98), effects=(1, 1))]
    [0.1196, 0.0378, 0.2108, 0.0036]
    """
    sizes = [n / effect for (_, n), effect in zip((first, second), effects, strict=True)]
    shares = [hits / n for hits, n in (first, second)]
    limits = [
        inference.proportion(share * n, n, level=level)
        for share, n in zip(shares, sizes, strict=True)
    ]
    (p1, p2), (one, two) = shares, limits
    low = p1 - p2 - np.hypot(p1 - one.low, two.high - p2)
    high = p1 - p2 + np.hypot(one.high - p1, p2 - two.low)
    pooled = (p1 * sizes[0] + p2 * sizes[1]) / sum(sizes)
    error = np.sqrt(pooled * (1 - pooled) * sum(1 / n for n in sizes))
    p = float(2 * stats.norm.sf(abs(p1 - p2) / error)) if error > 0 else float("nan")
    return p1 - p2, float(low), float(high), p


def image_tests() -> pd.DataFrame:
    """Return the largest p that each test on independent images can give for the printed counts.

    Model against radiologists in sensitivity, over all counts that fit the printed shares and
    intervals, and for paired tests over all tables with these margins.

    Returns
    -------
    DataFrame
        test, largest_p.

    Examples
    --------
    >>> round(float(image_tests()["largest_p"].max()), 4)
    0.0067
    """
    counts, printed = accuracy.published_counts(), claims.get("P1-39")
    n = counts.tp + counts.fn
    shares = [Decimal(f"{value:.2f}") for value in (printed.value, printed.low, printed.high)]
    fitting = published.fitting(published.Printed(*shares), n)
    found = published.largest_p([counts.tp], fitting, n)
    table = pd.DataFrame({"test": list(found), "largest_p": list(found.values())})
    table["test"] = table["test"].replace({"McNemar, mcnemar": "McNemar"})
    return table.sort_values("largest_p", kind="stable", ignore_index=True)


def other_units() -> pd.DataFrame:
    """Return what other units of analysis would have to look like to give the printed p.

    Returns
    -------
    DataFrame
        test, unit, needs (in words, numbers computed).

    Examples
    --------
    >>> other_units()["unit"].tolist()
    ['person', 'reader', 'image, alike within a person']
    """
    counts, printed = accuracy.published_counts(), claims.get("P1-40").value
    n = counts.tp + counts.fn
    cases = len(published.images_by_case(list(_SUBTYPES)))
    tables = published.case_tables(Decimal(f"{printed:.3f}"), cases)
    nearest = tables.loc[(tables["model"] / cases - counts.tp / n).abs().idxmin()]
    (found,) = recompute.whole_numbers(claims.get("P1-39"), n)
    spread = published.reader_spread(printed, mean=found / n, against=counts.tp / n)
    effect = published.design_effect_for(printed, counts.tp, found, n)
    icc = published.likeness_for(effect)
    model, reader = int(nearest["model"]), int(nearest["reader"])
    rows = [
        (
            nearest["test"],
            "person",
            f"{model} and {reader} of {cases} people found, sensitivities of "
            f"{model / cases:.2f} and {reader / cases:.2f}",
        ),
        (
            "one-sample t",
            "reader",
            f"readers' sensitivities with a standard deviation {spread:.3f}",
        ),
        (
            "z, design effect",
            "image, alike within a person",
            f"design effect {effect:.2f}, an intraclass correlation of {icc:.2f}",
        ),
    ]
    return pd.DataFrame(rows, columns=["test", "unit", "needs"])


def p_by_correlation(steps: int = 101) -> pd.DataFrame:
    """Return p of the unpaired z-test, model against mean radiologist, for every correlation.

    Parameters
    ----------
    steps : int
        Correlations from 0 to 1.

    Returns
    -------
    DataFrame
        correlation, sensitivity, specificity, accuracy (p of each).

    Examples
    --------
    >>> p_by_correlation(2)["sensitivity"].round(3).tolist()
    [0.002, 0.215]
    """
    grid = np.linspace(0, 1, steps)
    plain = differences([0.0])
    plain = plain[plain["against"] == "mean radiologist"].set_index("measure")["p"]
    groups = {"sensitivity": "positives", "specificity": "controls", "accuracy": "all"}
    columns = {"correlation": grid}
    for measure, group in groups.items():
        effects = [design_effect(group, value) for value in grid]
        columns[measure] = 2 * stats.norm.sf(stats.norm.isf(plain[measure] / 2) / np.sqrt(effects))
    return pd.DataFrame(columns)


def subtypes(correlations: Iterable[float] = CORRELATIONS) -> pd.DataFrame:
    """Compare published sensitivity to DMD and to BMD, images of one person alike.

    Parameters
    ----------
    correlations : iterable of float
        Assumed intraclass correlations.

    Returns
    -------
    DataFrame
        test, correlation, n_dmd, n_bmd (effective images), difference, low, high, p; first
        Fisher's exact test, which needs whole images and so takes them as independent.

    Examples
    --------
    >>> subtypes()["p"].astype(float).round(4).tolist()[:2]
    [0.0044, 0.0036]
    """
    printed = {name: tuple(claims.get(i).value for i in ids) for name, ids in _SUBTYPES.items()}
    dmd, bmd = printed["DMD"], printed["BMD"]
    rows = []
    for value in correlations:
        effects = design_effect("DMD", value), design_effect("BMD", value)
        found = difference(dmd, bmd, effects=effects)
        rows.append(("z", value, dmd[1] / effects[0], bmd[1] / effects[1], *found))
    names = ["test", "correlation", "n_dmd", "n_bmd", "difference", "low", "high", "p"]
    table = pd.DataFrame(rows, columns=names)
    exact = stats.fisher_exact([[hits, n - hits] for hits, n in (dmd, bmd)]).pvalue
    first = table.iloc[:1].assign(test="Fisher", correlation=0.0, p=float(exact))
    first[["low", "high"]] = np.nan
    return pd.concat([first, table], ignore_index=True)


def case_mixes() -> dict[str, float]:
    """Return the share of BMD among positives in several published groups.

    Returns
    -------
    dict of str to float
        By the group's name, from Table 2.

    Examples
    --------
    >>> [round(share, 3) for share in case_mixes().values()]
    [0.43, 0.137, 0.227, 0.209]
    """
    table = cohort.published_table().set_index("disease")
    images = table[["train_images", "val_images", "test_images"]]
    people = table[["train_cases", "val_cases", "test_cases"]].sum(axis=1)

    def share(counts: Mapping[str, float]) -> float:
        return float(counts["BMD"] / (counts["BMD"] + counts["DMD"]))

    return {
        "test set, images": share(images["test_images"]),
        "training set, images": share(images["train_images"]),
        "whole cohort, images": share(images.sum(axis=1)),
        "whole cohort, people": share(people),
    }


def standardised(
    dmd: Interval, bmd: Interval, *, mixes: Mapping[str, float] | None = None
) -> pd.DataFrame:
    r"""Sensitivity in groups with other shares of BMD, shares taken as known.

    :math:`Se = w\,Se_{BMD} + (1-w)\,Se_{DMD}`; its limits combine those of the two by the method
    of variance estimates recovery,
    :math:`Se - \sqrt{\sum w_i^2 (Se_i - l_i)^2}` and :math:`Se + \sqrt{\sum w_i^2 (u_i - Se_i)^2}`.

    Parameters
    ----------
    dmd, bmd : Interval
        Sensitivity to each subtype.
    mixes : mapping of str to float, optional
        Share of BMD by the group's name; :func:`case_mixes` when not given.

    Returns
    -------
    DataFrame
        mix, share_bmd, estimate, low, high.

    References
    ----------
    Zou GY, Donner A. Statistics in Medicine 2008;27:1693-1702.

    Examples
    --------
    >>> both = [inference.proportion(123, 130), inference.proportion(81, 98)]
    >>> standardised(*both)["estimate"].astype(float).round(3).tolist()
    [0.895, 0.93, 0.919, 0.921]
    """
    rows = []
    for name, share in (mixes or case_mixes()).items():
        parts = ((1 - share, dmd), (share, bmd))
        estimate = sum(weight * part.estimate for weight, part in parts)
        below = np.hypot(*(weight * (part.estimate - part.low) for weight, part in parts))
        above = np.hypot(*(weight * (part.high - part.estimate) for weight, part in parts))
        low, high = max(float(estimate - below), 0.0), min(float(estimate + above), 1.0)
        rows.append((name, share, estimate, low, high))
    return pd.DataFrame(rows, columns=["mix", "share_bmd", "estimate", "low", "high"])


def prevalence() -> float:
    """Share of the published test images that show a dystrophinopathy.

    Examples
    --------
    >>> round(prevalence(), 3)
    0.352
    """
    counts = accuracy.published_counts()
    return (counts.tp + counts.fn) / sum(counts)


def answer(compared: pd.DataFrame) -> str:
    """Say in words which of the two found more images, and whether that is known of people.

    Parameters
    ----------
    compared : DataFrame
        From :func:`differences`.

    Returns
    -------
    str
        Decided is what has p below 0.05 whether a person's images are independent or all the
        same.

    Examples
    --------
    >>> answer(differences())
    'more were found by the network; whether that holds for people is undecided'
    """
    row = compared.set_index(["measure", "against"]).loc[("sensitivity", "mean radiologist")]
    gap, limit = row.iloc[0][["difference", "limit"]]
    who = "more" if gap > 0 else "fewer" if gap < 0 else "as many"
    known = "holds for people too" if limit >= 1 else "whether that holds for people is undecided"
    return f"{who} were found by the network; {'that ' if limit >= 1 else ''}{known}"


def surviving(compared: pd.DataFrame, *, column: str = "p") -> str:
    """Count the differences whose p is below 0.05 for each correlation, in words.

    Parameters
    ----------
    compared : DataFrame
        From :func:`differences`.
    column : {"p", "holm"}
        Plain or adjusted p.

    Returns
    -------
    str

    Examples
    --------
    >>> surviving(differences())
    '6 of 6 with independent images, 4 at a correlation of 0.4, 1 at 0.8'
    >>> surviving(differences(), column="holm")
    '6 of 6 with independent images, 1 at a correlation of 0.4, 0 at 0.8'
    """
    below = (compared[column] < 0.05).groupby(compared["correlation"]).agg(["sum", "size"])
    first, *others = below.itertuples()
    parts = [f"{first.sum} of {first.size} with independent images"]
    words = [" at a correlation of", *[" at"] * len(others)]
    parts += [f"{row.sum}{word} {row.Index:g}" for row, word in zip(others, words, strict=False)]
    return ", ".join(parts)


def majority() -> tuple[float, float]:
    """Smallest and largest accuracy of the three radiologists' majority vote.

    Over all tables of calls that give the printed accuracies, sensitivity and kappa.

    Returns
    -------
    tuple of float

    Examples
    --------
    >>> [round(value, 3) for value in majority()]
    [0.737, 0.918]
    """
    counts = accuracy.published_counts()
    positives, controls = counts.tp + counts.fn, counts.fp + counts.tn
    right = [_fitting(name, positives + controls) for name in _RADIOLOGISTS]
    found = _fitting("P1-39", positives)
    sums = range(3 * min(found) - 1, 3 * max(found) + 2)  # thirds that round to these
    kappa = Decimal(f"{claims.get('P1-41').value:.3f}")
    return published.majority_bounds(
        right, sums, positives=positives, controls=controls, kappa=kappa
    )


def numbers(correlations: Iterable[float] = CORRELATIONS) -> pd.DataFrame:
    """Return what prose quotes of this module's results, a row a number.

    Parameters
    ----------
    correlations : iterable of float
        Assumed intraclass correlations.

    Returns
    -------
    DataFrame
        key, value, digits, basis.

    Examples
    --------
    >>> round(float(numbers().set_index("key")["value"]["p.sensitivity.0"]), 4)
    0.0021
    """
    compared = differences(correlations)
    unpaired = "unpaired z-test, mean radiologist taken as one reader, of the counts that fit"
    mean = compared["against"] == "mean radiologist"
    rows = [
        (f"p.{row.measure}.{row.correlation:g}", row.p, 4 if row.p < 0.01 else 3, unpaired)
        for row in compared[mean].itertuples()
    ]
    first = compared[compared["correlation"] == compared["correlation"].min()]
    rows += [
        (f"limit.{row.measure}", row.limit, 2, f"{unpaired}; correlation where p is 0.05")
        for row in first[first["against"] == "mean radiologist"].itertuples()
    ]
    tests = image_tests()["largest_p"]
    unadjusted = "unadjusted two-sided tests of a difference, independent images, all that fits"
    rows += [("largest_p", float(tests.max()), 4, unadjusted), ("tests", len(tests), 0, unadjusted)]
    votes = "all calls that fit the printed accuracies, sensitivity and kappa"
    rows += zip(("majority.low", "majority.high"), majority(), (3, 3), (votes, votes), strict=True)
    mean = readers.published_measures().set_index(["rater", "measure"])["estimate"]
    rounded = "from the mean accuracy and the sensitivity, as rounded"
    rows.append(("radiologists.specificity", mean["mean radiologist", "specificity"], 2, rounded))
    assumed = "assumption: equal sensitivity, independent errors"
    rows.append(("independent.kappa", readers.independent_kappa(), 3, assumed))
    rows.append(("images_per_person", design_effect("positives", 1.0), 1, "Table 2, positives"))
    return pd.DataFrame(rows, columns=["key", "value", "digits", "basis"])


#: Printed accuracies of the three.
_RADIOLOGISTS = ("P1-37a", "P1-37b", "P1-37c")


@cache
def _sizes(group: str) -> tuple[float, ...]:
    """Images of each case of a group."""
    table = cohort.published_table()
    controls = list(table.loc[table["label"] == 0, "disease"])
    members = {
        "positives": ["DMD", "BMD"],
        "controls": controls,
        "all": ["DMD", "BMD", *controls],
        "DMD": ["DMD"],
        "BMD": ["BMD"],
    }
    return tuple(published.images_by_case(members[group]))


def _network(correlation: float) -> pd.DataFrame:
    counts = accuracy.published_counts()
    sick, well = (design_effect(group, correlation) for group in ("positives", "controls"))
    scaled = Counts(counts.tp / sick, counts.fn / sick, counts.fp / well, counts.tn / well)
    whole = Counts(*(cell / design_effect("all", correlation) for cell in counts))
    methods = {"accuracy": "clopper-pearson"} if correlation == 0 else {}
    table = inference.from_counts(scaled, methods=methods).set_index("measure")
    mixed = inference.from_counts(whole, methods=methods).set_index("measure")
    # These rest on both kinds of image; scaling the two apart would move their estimates.
    table.loc[["accuracy", "f1"]] = mixed.loc[["accuracy", "f1"]]
    sizes = {"sensitivity": (counts.tp + counts.fn) / sick}
    sizes |= {"specificity": (counts.fp + counts.tn) / well}
    table = table.loc[list(accuracy.FIGURE_3), ["estimate", "low", "high"]].reset_index()
    everyone = sum(counts) / design_effect("all", correlation)
    table["n"] = [sizes.get(name, everyone) for name in table["measure"]]
    return table.assign(correlation=correlation)


def _radiologists(correlation: float) -> pd.DataFrame:
    table = readers.published_measures()
    table = table[table["measure"].isin(accuracy.FIGURE_3)].copy()
    table["correlation"] = correlation
    if correlation == 0:
        return table
    counts = accuracy.published_counts()
    n = {"accuracy": ("all", sum(counts)), "sensitivity": ("positives", counts.tp + counts.fn)}
    for index, row in table[table["low"].notna()].iterrows():
        group, images = n[row["measure"]]
        size = images / design_effect(group, correlation)
        limits = inference.proportion(row["estimate"] * size, size)
        table.loc[index, ["low", "high"]] = limits.low, limits.high
        table.loc[index, "evidence"] = "recomputed"
    return table


def _comparisons() -> list[tuple]:
    """Measure, reader, group, model's count, reader's admissible counts, images.

    The mean radiologist's count goes over the whole numbers whose share and interval, by Wilson
    or Clopper-Pearson, round to what is printed; only :func:`majority`, where three readers' sums
    count, also takes the thirds beside them.
    """
    counts = accuracy.published_counts()
    positives, controls = counts.tp + counts.fn, counts.fp + counts.tn
    everyone = positives + controls
    right = [_fitting(name, everyone) for name in _RADIOLOGISTS]
    mean = [sum(map(pick, right)) / len(right) for pick in (min, max)]
    found = _fitting("P1-39", positives)
    cleared = [mean[0] - max(found), mean[1] - min(found)]
    rows = [
        ("sensitivity", "mean radiologist", "positives", counts.tp, found, positives),
        ("specificity", "mean radiologist", "controls", counts.tn, cleared, controls),
        ("accuracy", "mean radiologist", "all", counts.tp + counts.tn, mean, everyone),
    ]
    return rows + [
        ("accuracy", f"radiologist {number}", "all", counts.tp + counts.tn, own, everyone)
        for number, own in enumerate(right, start=1)
    ]


def _fitting(claim_id: str, n: int) -> list[int]:
    claim = claims.get(claim_id)
    shares = [Decimal(f"{value:.2f}") for value in (claim.value, claim.low, claim.high)]
    return published.fitting(published.Printed(*shares), n)


def _z_test(first: float, second: float, n: int) -> tuple[float, float]:
    gap, _, _, p = difference((first, n), (second, n), effects=(1, 1))
    return float(stats.norm.isf(p / 2)) * float(np.sign(gap)), p
