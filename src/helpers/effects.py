"""How large a group difference is, how sure that is, and what could be decided by it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special, stats

from helpers.inference import Interval

#: The phantom's series of scans.
SERIES = ("file", "file_exaggerated")

_NO_POSES = pd.DataFrame(columns=["pose", "place", "region", *Interval._fields])
_NO_MEASURED = pd.DataFrame(
    columns=["series", "place", "region", *Interval._fields, "patients", "controls", "planted"]
)


class Ceiling(NamedTuple):
    """What the best rule on several regions reaches.

    Attributes
    ----------
    distance : float
        Of the groups' means, in standard deviations along the best direction (Mahalanobis).
    auc, accuracy : float
        Area under the ROC curve; share decided rightly with as many patients as controls.
    """

    distance: float
    auc: float
    accuracy: float


def cohens_d(patients: ArrayLike, controls: ArrayLike, *, level: float = 0.95) -> Interval:
    r"""Return Cohen's d of two groups with its exact interval.

    :math:`d=(\bar a-\bar b)/s` with the pooled standard deviation. For normal values
    :math:`t=d\sqrt{mn/(m+n)}` follows the noncentral t distribution with :math:`m+n-2` degrees
    of freedom; the limits are the effects under which the observed t is just not too small and
    just not too large (Cumming & Finch, section "Confidence intervals for δ").

    Parameters
    ----------
    patients, controls : array-like, shape (people,)
        One value a person.
    level : float
        Confidence level, between 0 and 1.

    Returns
    -------
    Interval
        Positive where patients have more. NaN with the reason as its method where a group has
        fewer than two people or nobody differs.

    References
    ----------
    Cumming G, Finch S. A primer on the understanding, use, and calculation of confidence
    intervals that are based on central and noncentral distributions. *Educ Psychol Meas*
    2001;61:532-574. doi:10.1177/0013164401614002

    Examples
    --------
    >>> found = cohens_d([3.0, 4, 5, 6], [1.0, 2, 3, 4])
    >>> "{:.2f} {:.2f} {:.2f}".format(*found[:3])
    '1.55 -0.12 3.13'
    """
    a, b = np.asarray(patients, float), np.asarray(controls, float)
    m, n = len(a), len(b)
    if min(m, n) < 2:
        return _undefined(f"{m} patients and {n} controls; two of each are needed")
    spread = np.sqrt((a.var(ddof=1) * (m - 1) + b.var(ddof=1) * (n - 1)) / (m + n - 2))
    if not spread > 0:
        return _undefined("nobody differs from the others of the group")
    d = float((a.mean() - b.mean()) / spread)
    scale = np.sqrt(m * n / (m + n))
    tails = np.array([1 + level, 1 - level]) / 2
    low, high = special.nctdtrinc(m + n - 2, tails, d * scale) / scale
    return Interval(d, float(low), float(high), "noncentral t")


def standardised_change(
    change: ArrayLike, unaffected: ArrayLike, *, level: float = 0.95, seed: int = 0
) -> Interval:
    """Return the mean change of the same people over their spread without it.

    What Cohen's d would be without the chance of who is patient and who is control.

    Parameters
    ----------
    change, unaffected : array-like, shape (people,)
        With minus without the effect; without it.
    level : float
        Confidence level of the percentile interval from 2,000 resamples of people.
    seed : int
        Of the resamples.

    Returns
    -------
    Interval
        NaN with the reason where fewer than two people are given or all are alike.

    Examples
    --------
    >>> found = standardised_change(np.full(50, 0.5), np.linspace(-1, 1, 50))
    >>> round(found.estimate, 2), found.low < found.estimate < found.high
    (0.84, True)
    """
    change, unaffected = np.asarray(change, float), np.asarray(unaffected, float)
    if len(unaffected) < 2 or not unaffected.std() > 0:
        return _undefined(f"{len(unaffected)} people, or all alike")
    with np.errstate(invalid="ignore", divide="ignore"):
        found = stats.bootstrap(
            (change, unaffected),
            lambda x, y, axis: x.mean(axis) / y.std(axis, ddof=1),
            paired=True,
            vectorized=True,
            n_resamples=2000,
            confidence_level=level,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    estimate = change.mean() / unaffected.std(ddof=1)
    return Interval(float(estimate), float(found.low), float(found.high), "people resampled")


def measured(means: pd.DataFrame, subjects: pd.DataFrame) -> pd.DataFrame:
    """Return Cohen's d of patients against controls in each region, where it is measured.

    Parameters
    ----------
    means : DataFrame
        The phantom's ``truth/region_means.csv``: ``subject_id, region``, and for each series of
        scans a column of means in the own regions and one at the template's place
        (``atlas_`` before the name).
    subjects : DataFrame
        ``subject_id, patient``; held-out controls count as controls.

    Returns
    -------
    DataFrame
        ``series, place, region, estimate, low, high, method, patients, controls``; place is own
        or atlas.

    Examples
    --------
    >>> means = pd.DataFrame({"subject_id": list("abcd"), "region": "callosum",
    ...                       "file": [1.0, 2, 3, 5], "atlas_file": [0.0, 1, 0, 1]})
    >>> subjects = pd.DataFrame({"subject_id": list("abcd"), "patient": [0, 0, 1, 1]})
    >>> measured(means, subjects)[["place", "estimate"]].round(2).values.tolist()
    [['own', 2.24], ['atlas', 0.0]]
    """
    table = means.merge(subjects[["subject_id", "patient"]], on="subject_id")
    rows = []
    for series in (name for name in SERIES if name in means):
        for place, column in (("own", series), ("atlas", f"atlas_{series}")):
            for region, part in table.groupby("region", sort=False):
                patient = part["patient"] == 1
                found = cohens_d(part.loc[patient, column], part.loc[~patient, column])
                counted = int(patient.sum()), int((~patient).sum())
                rows.append((series, place, region, *found, *counted))
    return pd.DataFrame(rows, columns=_NO_MEASURED.columns.drop("planted"))


def of_cohort(folder: str | Path, subjects: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the planted effect as measured in a run's brain cohort, and by pose of the heads.

    Parameters
    ----------
    folder : str or Path
        ``results/<profile>``.
    subjects : DataFrame
        As :func:`helpers.brain.read_subjects` returns it.

    Returns
    -------
    measured : DataFrame
        :func:`measured`, with ``planted``, the size and sign that was aimed at.
    poses : DataFrame
        :func:`by_pose` for the realistic effect. Both without rows for an author's own scans,
        whose truth nobody knows.
    """
    truth = Path(folder) / "cohort" / "brain" / "truth"
    if not (truth / "poses.csv").is_file():
        return _NO_MEASURED.copy(), _NO_POSES.copy()
    means, sample = (pd.read_csv(truth / name) for name in ("region_means.csv", "poses.csv"))
    aims = pd.read_csv(truth / "regions.csv")[["series", "region", "target_d", "sign"]]
    found = measured(means, subjects).merge(aims, on=["series", "region"])
    found["planted"] = found["target_d"] * found["sign"]
    realistic = aims.loc[aims["series"] == SERIES[0], "target_d"].iloc[0]
    return found[_NO_MEASURED.columns], by_pose(sample, effect_d=realistic)


def by_pose(sample: pd.DataFrame, *, effect_d: float, seed: int = 0) -> pd.DataFrame:
    """Return what a planted effect is worth in each region, for each way that heads lie.

    On unaffected brains to which the change is added, so that no chance of groups enters.

    Parameters
    ----------
    sample : DataFrame
        The phantom's ``truth/poses.csv``: ``pose, person, region, unaffected, change`` for the
        own regions and the last two with ``atlas_`` before the name; the change is for one unit
        of d.
    effect_d : float
        Planted Cohen's d in each own region. The change is taken as proportional to it.
    seed : int
        Of the intervals.

    Returns
    -------
    DataFrame
        ``pose, place, region, estimate, low, high, method``. In the own regions the estimate is
        the planted size by calibration, and its interval says how well the sample knows it.

    Examples
    --------
    >>> one = pd.DataFrame({"pose": "registered", "person": [1, 2, 3], "region": "callosum",
    ...     "unaffected": [-1.0, 0, 1], "change": 1.0,
    ...     "atlas_unaffected": [-2.0, 0, 2], "atlas_change": 1.0})
    >>> by_pose(one, effect_d=0.5)[["place", "estimate"]].values.tolist()
    [['own', 0.5], ['atlas', 0.25]]
    """
    rows = []
    for pose, heads in sample.groupby("pose", sort=False):
        for place, prefix in (("own", ""), ("atlas", "atlas_")):
            for region, part in heads.groupby("region", sort=False):
                change = effect_d * part[f"{prefix}change"]
                found = standardised_change(change, part[f"{prefix}unaffected"], seed=seed)
                rows.append((pose, place, region, *found))
    return pd.DataFrame(rows, columns=_NO_POSES.columns)


def ceiling(effects: ArrayLike, *, correlation: ArrayLike | None = None) -> Ceiling:
    r"""Return what the best rule on regions of given effects reaches.

    Regional means are taken as normal with one covariance in both groups. With the effects
    :math:`\delta` and the correlation :math:`R` the best rule is linear, the groups' distance
    along it is :math:`D=\sqrt{\delta^\top R^{-1}\delta}`, the area under its ROC curve
    :math:`\Phi(D/\sqrt2)`, and its accuracy with as many patients as controls
    :math:`\Phi(D/2)`. For independent regions :math:`D^2=\sum d^2`.

    Parameters
    ----------
    effects : array-like, shape (regions,)
        Cohen's d of each region.
    correlation : array-like, shape (regions, regions), optional
        Between regions within a group; independent regions when not given.

    Returns
    -------
    Ceiling

    Raises
    ------
    ValueError
        For a correlation of another size or not positive definite.

    References
    ----------
    Fukunaga K. *Introduction to Statistical Pattern Recognition*, 2nd ed., Academic Press 1990,
    section 3.1. Efron B. The efficiency of logistic regression compared to normal discriminant
    analysis. *J Am Stat Assoc* 1975;70:892-898, doi:10.1080/01621459.1975.10480319 (error rate
    of the linear rule).

    Examples
    --------
    Six independent regions:

    >>> [f"{ceiling([d] * 6).auc:.2f} {ceiling([d] * 6).accuracy:.3f}" for d in (0.5, 0.8, 1.84)]
    ['0.81 0.730', '0.92 0.836', '1.00 0.988']
    """
    delta = np.asarray(effects, float)
    shared = np.eye(len(delta)) if correlation is None else np.asarray(correlation, float)
    if shared.shape != (len(delta), len(delta)) or not np.linalg.eigvalsh(shared).min() > 0:
        raise ValueError(
            f"Correlation of shape {shared.shape} for {len(delta)} effects: expected a positive "
            "definite matrix with one row and column for each effect."
        )
    distance = float(np.sqrt(delta @ np.linalg.solve(shared, delta)))
    auc, accuracy = stats.norm.cdf([distance / np.sqrt(2), distance / 2])
    return Ceiling(distance, float(auc), float(accuracy))


def _undefined(reason: str) -> Interval:
    return Interval(np.nan, np.nan, np.nan, f"none: {reason}")
