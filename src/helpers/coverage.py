"""How often an interval that claims 95 % holds the truth, when a person has several images.

Data sets are simulated from a known truth, with as many cases and images as the published test
set, and every method gives its interval for each. The share of intervals that hold the truth is
the method's actual coverage. All data sets are computed at once: proportions from hits by case,
areas from the wins of each case's images over each other case's.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from helpers import clustered, delong, paths

#: What is estimated; value: its truth, as the paper reports ResNet50.
TRUTH: dict[str, float] = {"sensitivity": 0.895, "specificity": 0.917, "auc": 0.98}

#: The same for a page.
WHAT = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "auc": "Area under the ROC curve",
}

#: A method is good when its coverage is this near to the nominal level: one point, our choice.
MARGIN = 0.01

#: The table in which a notebook records what to use; the page on statistics shows a copy.
RECORDED = "06_coverage_best.csv"

#: What is recommended where no method is good at every correlation.
NONE = "none is good"

#: Between names of methods, which hold commas themselves.
SEPARATOR = "; "

#: Methods for shares and for areas; value: the name on a page and whether it knows of cases.
METHODS: dict[str, tuple[str, bool]] = {
    "wald": ("Wald", False),
    "wilson": ("Wilson", False),
    "clopper-pearson": ("Clopper-Pearson", False),
    "clustered-t": ("Ratio estimator, t", True),
    "clustered-logit-t": ("Ratio estimator, logit, t", True),
    "clustered-wilson": ("Wilson on effective images", True),
    "clustered-clopper-pearson": ("Clopper-Pearson on effective images", True),
    "delong": ("DeLong", False),
    "delong-logit": ("DeLong, logit", False),
    "obuchowski": ("Obuchowski", True),
    "obuchowski-logit": ("Obuchowski, logit", True),
    "bootstrap": ("Bootstrap of cases, percentile", True),
    "bootstrap-t": ("Bootstrap of cases, studentised", True),
}
_OF_CASES = {
    "clustered-t": "t",
    "clustered-logit-t": "logit-t",
    "clustered-wilson": "wilson",
    "clustered-clopper-pearson": "clopper-pearson",
}
_BATCH = 20


class Limits(NamedTuple):
    """A method's intervals of many data sets; NaN where it gives none.

    Attributes
    ----------
    low, high : ndarray, shape (datasets,)
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def published_sizes() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images of each positive and each control case of the published test set.

    Table 2 gives cases and images of each disease. That a disease's slices are spread over its
    cases as evenly as whole slices of two legs allow is an assumption.

    Returns
    -------
    tuple of ndarray
        Of 37 positive and 65 control cases.

    References
    ----------
    Yang M et al. BMC Neurology 2021;21:13, Table 2.

    Examples
    --------
    >>> positive, control = published_sizes()
    >>> positive.size, int(positive.sum()), control.size, int(control.sum())
    (37, 228, 65, 420)
    """
    table = pd.read_csv(paths.package_data("table2.csv"))
    found = {0: [], 1: []}
    for row in table[table["test_cases"] > 0].itertuples():
        slices, rest = divmod(row.test_images // 2, row.test_cases)
        of_case = np.full(row.test_cases, slices)
        of_case[:rest] += 1
        found[row.label].append(2 * of_case)
    return np.concatenate(found[1]), np.concatenate(found[0])


def simulate_hits(
    sizes: NDArray, *, share: float, icc: float, datasets: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    r"""Draw how many images of each case are hits, in many data sets.

    Beta-binomial: case k's own share is drawn from a beta distribution with mean p and variance
    :math:`\rho\,p(1-p)`, its hits are binomial, and two of its images correlate by
    :math:`\rho`, the intraclass correlation.

    Parameters
    ----------
    sizes : ndarray of int, shape (cases,)
        Images of each case.
    share : float
        True share p, between 0 and 1.
    icc : float
        Intraclass correlation, at least 0 and below 1.
    datasets : int
        Number of data sets.
    rng : Generator
        Source of randomness.

    Returns
    -------
    ndarray of int, shape (datasets, cases)

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> simulate_hits(np.array([4, 6]), share=0.9, icc=0.4, datasets=3, rng=rng).shape
    (3, 2)
    """
    own = np.full((datasets, len(sizes)), share)
    if icc > 0:
        spread = (1 - icc) / icc
        own = rng.beta(share * spread, (1 - share) * spread, size=own.shape)
    return rng.binomial(np.asarray(sizes), own)


def share_limits(
    hits: NDArray, sizes: NDArray, *, weights: NDArray, level: float = 0.95
) -> dict[str, Limits]:
    """Give every method's intervals of a share in many data sets.

    Parameters
    ----------
    hits : ndarray of int, shape (datasets, cases)
        From :func:`simulate_hits`.
    sizes : ndarray of int, shape (cases,)
        Images of each case.
    weights : ndarray, shape (replicates, cases)
        How often each case enters each resampled data set, the same for all data sets.
    level : float
        Confidence level.

    Returns
    -------
    dict of str to Limits

    Examples
    --------
    >>> weights = np.array([[2, 0], [0, 2], [1, 1]])
    >>> found = share_limits(np.array([[3, 1]]), np.array([4, 4]), weights=weights)
    >>> found["wilson"].high.round(3).tolist()
    [0.785]
    """
    hits, sizes = np.asarray(hits), np.asarray(sizes)
    count, images = hits.sum(axis=1), sizes.sum()
    estimate = count / images
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt(estimate * (1 - estimate) / images)
    found = {"wald": Limits(np.clip(estimate - half, 0, 1), np.clip(estimate + half, 0, 1))}
    for name, known in (("wilson", "wilson"), ("clopper-pearson", "beta")):
        low, high = proportion_confint(count, images, alpha=1 - level, method=known)
        low, high = np.where(count == 0, 0, low), np.where(count == images, 1, high)
        found[name] = Limits(low, high)
    of_cases = clustered.share_of_totals(hits, sizes)
    for name, method in _OF_CASES.items():
        found[name] = Limits(*clustered.limits(of_cases, method=method, level=level))
    resampled = (hits @ weights.T) / (weights @ sizes)
    found["bootstrap"] = _percentiles(resampled, level=level)
    return found


def simulate_scores(
    sizes: NDArray, *, icc: float, datasets: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    r"""Draw standard normal scores that correlate within a case.

    :math:`\sqrt{\rho}\,u_k+\sqrt{1-\rho}\,e_{ki}`; positives are then moved up by
    :math:`\sqrt2\,\Phi^{-1}(A)`, which makes the area A.

    Parameters
    ----------
    sizes, icc, datasets, rng
        As in :func:`simulate_hits`.

    Returns
    -------
    ndarray, shape (datasets, images)
        Images in the order of their cases.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> simulate_scores(np.array([2, 1]), icc=0.5, datasets=4, rng=rng).shape
    (4, 3)
    """
    of_case = rng.standard_normal((datasets, len(sizes)))
    of_image = rng.standard_normal((datasets, int(np.sum(sizes))))
    return np.sqrt(icc) * np.repeat(of_case, sizes, axis=1) + np.sqrt(1 - icc) * of_image


def area_limits(
    positive: NDArray,
    control: NDArray,
    sizes: tuple[NDArray, NDArray],
    *,
    weights: tuple[NDArray, NDArray],
    level: float = 0.95,
) -> dict[str, Limits]:
    """Give every method's intervals of the area under the ROC curve in many data sets.

    Parameters
    ----------
    positive, control : ndarray, shape (datasets, images)
        Scores without ties, images in the order of their cases.
    sizes : tuple of ndarray of int
        Images of each positive and each control case.
    weights : tuple of ndarray, shape (replicates + 1, cases)
        How often each positive and each control case is drawn; the first row is 1.
    level : float
        Confidence level.

    Returns
    -------
    dict of str to Limits

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> sizes = np.array([2, 2, 2]), np.array([2, 2])
    >>> scores = rng.normal(1, 1, (1, 6)), rng.normal(0, 1, (1, 4))
    >>> weights = np.ones((5, 3)), np.ones((5, 2))
    >>> sorted(area_limits(*scores, sizes, weights=weights))
    ['bootstrap', 'bootstrap-t', 'delong', 'delong-logit', 'obuchowski', 'obuchowski-logit']
    """
    parts = [
        _areas_of_batch(positive[start:][:_BATCH], control[start:][:_BATCH], sizes, weights, level)
        for start in range(0, len(positive), _BATCH)
    ]
    area, plain, of_cases, resampled = (np.concatenate(part) for part in zip(*parts, strict=True))
    found = {"bootstrap": Limits(*resampled.T[:2]), "bootstrap-t": Limits(*resampled.T[2:])}
    for name, error in (("delong", plain), ("obuchowski", of_cases)):
        for scale in ("plain", "logit"):
            key = name if scale == "plain" else f"{name}-logit"
            found[key] = Limits(*delong.area_limits(area, error, scale=scale, level=level))
    return found


def simulate(
    *,
    datasets: int = 1000,
    replicates: int = 1000,
    iccs: tuple[float, ...] = (0.0, 0.4, 0.8),
    sizes: tuple[NDArray, NDArray] | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Measure each method's coverage and width in clustered data sets.

    Parameters
    ----------
    datasets : int
        Data sets for each figure and correlation.
    replicates : int
        Resampled cohorts of the bootstrap, the same for all data sets.
    iccs : tuple of float
        Intraclass correlations; of the calls for shares, of the scores for areas.
    sizes : tuple of ndarray of int, optional
        Images of each positive and control case; :func:`published_sizes` when not given.
    seed : int
        Source of randomness.
    level : float
        Nominal coverage.

    Returns
    -------
    DataFrame
        A row for each figure, icc and method: figure, truth, icc, method, name, clustered
        (whether it knows of cases), coverage, error (Monte Carlo standard error), width (mean),
        undefined (share of data sets without an interval, which count as not covered), level,
        datasets.

    Examples
    --------
    >>> table = simulate(datasets=20, replicates=50, iccs=(0.8,), seed=1)
    >>> table.groupby("figure").size().to_dict()
    {'auc': 6, 'sensitivity': 8, 'specificity': 8}
    """
    sizes = sizes or published_sizes()
    rng = np.random.default_rng(seed)
    weights = tuple(
        np.vstack(
            [np.ones(len(of)), rng.multinomial(len(of), np.full(len(of), 1 / len(of)), replicates)]
        )
        for of in sizes
    )
    rows = []
    for icc in iccs:
        for place, figure in enumerate(("sensitivity", "specificity")):
            hits = simulate_hits(
                sizes[place], share=TRUTH[figure], icc=icc, datasets=datasets, rng=rng
            )
            found = share_limits(hits, sizes[place], weights=weights[place][1:], level=level)
            rows += [_row(figure, icc, method, found[method], level) for method in found]
        positive, control = (
            simulate_scores(of, icc=icc, datasets=datasets, rng=rng) for of in sizes
        )
        positive = positive + np.sqrt(2) * stats.norm.ppf(TRUTH["auc"])
        found = area_limits(positive, control, sizes, weights=weights, level=level)
        rows += [_row("auc", icc, method, found[method], level) for method in found]
    return pd.DataFrame(rows).assign(datasets=datasets)


def write_tables(folder: Path) -> None:
    """Write the table of the book's page on statistics.

    Parameters
    ----------
    folder : Path
        ``tables`` of the staged book; gets ``statistics_coverage_best.csv``, a copy of
        :data:`RECORDED`, or a table that says that the run has none.
    """
    target = folder / "statistics_coverage_best.csv"
    if (folder / RECORDED).is_file():
        shutil.copy(folder / RECORDED, target)
    else:
        pd.DataFrame({"What": ["not run yet"]}).to_csv(target, index=False)


def recommend(table: pd.DataFrame) -> dict[str, str]:
    """Say for each figure which method to use whatever the correlation, or that none is good.

    A method is good where its coverage lies within :data:`MARGIN` of the nominal level; nothing
    else enters, so the rule does not depend on the number of data sets. Recommended is the
    narrowest, on average over the correlations, of those that are good at every correlation. Wald's
    interval is never recommended.

    Parameters
    ----------
    table : DataFrame
        From :func:`simulate`.

    Returns
    -------
    dict of str to str
        Name of the method, or :data:`NONE`, by figure.

    Examples
    --------
    >>> list(recommend(simulate(datasets=20, replicates=50, iccs=(0.8,), seed=1)))
    ['sensitivity', 'specificity', 'auc']
    """
    found = {}
    for figure in dict.fromkeys(table["figure"]):
        own = table[(table["figure"] == figure) & (table["method"] != "wald")]
        always = _good(own).groupby(own["name"]).all()
        width = own.groupby("name")["width"].mean()[always]
        found[figure] = width.idxmin() if always.any() else NONE
    return {figure: found[figure] for figure in TRUTH if figure in found}


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Put the coverages of :func:`simulate` side by side as text, for a page.

    Parameters
    ----------
    table : DataFrame
        From :func:`simulate`.

    Returns
    -------
    DataFrame
        A row a figure and method: What, Method, Unit (image or case), then for each correlation
        coverage ± its Monte Carlo error, and in brackets the mean width in percentage points.

    Examples
    --------
    >>> found = readable(simulate(datasets=20, replicates=50, iccs=(0.8,), seed=1))
    >>> found.columns.tolist()
    ['What', 'Method', 'Unit', 'ICC 0.8']
    >>> found.iloc[0].tolist()[:3]
    ['Sensitivity', 'Wald', 'image']
    """
    rows = []
    for (figure, method), part in table.groupby(["figure", "method"], sort=False):
        row = {
            "What": WHAT[figure],
            "Method": METHODS[method][0],
            "Unit": "case" if METHODS[method][1] else "image",
        }
        for found in part.itertuples():
            covers = f"{100 * found.coverage:.1f} ± {100 * found.error:.1f} %"
            row[f"ICC {found.icc:g}"] = f"{covers} ({100 * found.width:.1f})"
        rows.append(row)
    order = {what: place for place, what in enumerate(WHAT.values())}
    return pd.DataFrame(rows).sort_values(
        "What", key=lambda what: what.map(order), kind="stable", ignore_index=True
    )


def advice(table: pd.DataFrame) -> pd.DataFrame:
    """Put what :func:`recommend` finds as text, for a page.

    Parameters
    ----------
    table : DataFrame
        From :func:`simulate`.

    Returns
    -------
    DataFrame
        What, ICC, Recommended (the same for all ICC), Covers, Good at this ICC (methods), Images
        as independent (coverage of Wilson's interval or DeLong's). Coverages stand with the 95 %
        interval of the simulation.

    Examples
    --------
    >>> advice(simulate(datasets=20, replicates=50, iccs=(0.8,), seed=1))["What"].tolist()
    ['Sensitivity', 'Specificity', 'Area under the ROC curve']
    """
    rows, best = [], recommend(table)
    for figure, words in best.items():
        for icc, part in table[table["figure"] == figure].groupby("icc"):
            chosen = part[part["name"] == words]
            plain = part[part["method"].isin(["wilson", "delong"])]
            good = part.loc[_good(part) & (part["method"] != "wald"), "name"]
            rows.append(
                {
                    "What": WHAT[figure],
                    "ICC": f"{icc:g}",
                    "Recommended": words,
                    "Covers": "" if chosen.empty else _with_interval(chosen),
                    "Good at this ICC": SEPARATOR.join(good) or "none",
                    "Images as independent": _with_interval(plain),
                }
            )
    return pd.DataFrame(rows)


def _good(table: pd.DataFrame) -> pd.Series:
    return (table["coverage"] - table["level"]).abs().round(12) <= MARGIN


def _with_interval(row: pd.DataFrame) -> str:
    covered, number = row["coverage"].item(), int(row["datasets"].item())
    low, high = proportion_confint(round(covered * number), number, method="wilson")
    return f"{100 * covered:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _row(figure: str, icc: float, method: str, found: Limits, level: float) -> dict:
    truth = TRUTH[figure]
    given = np.isfinite(found.low) & np.isfinite(found.high)
    held = given & (found.low <= truth) & (truth <= found.high)
    coverage = float(held.mean())
    name, knows = METHODS[method]
    return {
        "figure": figure,
        "truth": truth,
        "icc": icc,
        "method": method,
        "name": name,
        "clustered": knows,
        "coverage": coverage,
        "error": float(np.sqrt(coverage * (1 - coverage) / held.size)),
        "width": float((found.high - found.low)[given].mean()) if given.any() else np.nan,
        "undefined": float(1 - given.mean()),
        "level": level,
    }


def _percentiles(values: NDArray, *, level: float) -> Limits:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=-1)
    still = np.ptp(values, axis=-1) == 0
    return Limits(np.where(still, np.nan, low), np.where(still, np.nan, high))


def _areas_of_batch(
    positive: NDArray,
    control: NDArray,
    sizes: tuple[NDArray, NDArray],
    weights: tuple[NDArray, NDArray],
    level: float,
) -> tuple[NDArray, ...]:
    members = [np.repeat(np.eye(len(of), dtype=np.float32), of, axis=0) for of in sizes]
    wins = (positive[:, :, None] > control[:, None, :]).astype(np.float32)
    by_control_case = (wins @ members[1]).astype(float)
    number, others = positive.shape[1], control.shape[1]
    above = by_control_case.sum(axis=2) / others
    below = wins.sum(axis=1, dtype=float) / number
    between = members[0].T.astype(float) @ by_control_case
    area = above.mean(axis=1)
    plain = np.sqrt(above.var(axis=1, ddof=1) / number + below.var(axis=1, ddof=1) / others)
    variance = np.zeros(len(area))
    for axis, of in ((2, sizes[0]), (1, sizes[1])):
        part = between.sum(axis=axis) / (others if axis == 2 else number)
        apart = part - area[:, None] * of
        variance += len(of) / (len(of) - 1) * (apart**2).sum(axis=1) / of.sum() ** 2
    resampled = [_resampled(wins, sizes, weights, level) for wins in between]
    return area, plain, np.sqrt(variance), np.array(resampled)


def _resampled(
    wins: NDArray, sizes: tuple[NDArray, NDArray], weights: tuple[NDArray, NDArray], level: float
) -> tuple[float, float, float, float]:
    areas, errors = delong.resampled_areas(wins, sizes, weights)
    low, high = _percentiles(areas[1:], level=level)
    return float(low), float(high), *delong.studentised_limits(areas, errors, level=level)
