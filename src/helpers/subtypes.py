"""DMD and BMD on a cohort whose images are at hand: compared with people as the unit.

Two legs and several slices of one person share the diagnosis, so a test of two diagnoses has to
take people, not images, as what could have been otherwise.
"""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from helpers import clustered, inference
from helpers.inference import Interval

#: Ranges of the mean fat fraction of a leg, and their names; our choice.
SEVERITY = {
    "up to 10 %": (0.0, 0.1),
    "10 to 30 %": (0.1, 0.3),
    "30 to 50 %": (0.3, 0.5),
    "over 50 %": (0.5, 1.0),
}

#: A leg looks nearly normal up to this mean fat fraction; an assumption, that of a mild range.
NEARLY_NORMAL = 0.1


def compare(
    images: pd.DataFrame, *, permutations: int = 5000, replicates: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Compare sensitivity to DMD and to BMD in three ways, from the tempting to the honest.

    Fisher's test on images takes them as independent. Shuffling the diagnosis over people keeps
    each person's images together and asks how often chance alone gives a difference so large.
    Fisher's test on people calls each by the mean probability of the own images.

    Parameters
    ----------
    images : DataFrame
        Positive test images: group (DMD or BMD), case_id, call, probability.
    permutations : int
        Shuffles of the diagnosis.
    replicates : int
        Resampled sets of people for the interval.
    seed : int
        Of shuffles and resampling.

    Returns
    -------
    DataFrame
        unit, test, n_dmd, n_bmd, dmd, bmd (shares), difference, low, high, p. The interval is
        given for the second row: people resampled within each diagnosis. Without an image of
        one diagnosis all are NaN and the test says why.

    Raises
    ------
    ValueError
        When a diagnosis is neither of the two.

    Examples
    --------
    >>> rows = {"group": ["DMD"] * 2 + ["BMD"] * 2, "case_id": list("aabb"), "call": [1, 1, 0, 0]}
    >>> table = compare(pd.DataFrame(rows).assign(probability=0.9), permutations=20)
    >>> table["difference"].tolist()[:2], table["p"].round(2).tolist()[:2]
    ([1.0, 1.0], [0.33, 1.0])
    """
    missing = _missing(images)
    if missing:
        why = {"unit": "image, person", "test": f"none: no image of {missing}"}
        return pd.DataFrame([why], columns=_COLUMNS)
    people = images.groupby(["group", "case_id"], as_index=False, observed=True).agg(
        hits=("call", "sum"), n=("call", "size"), probability=("probability", "mean")
    )
    people["call"] = (people["probability"] >= 0.5).astype(int)
    by_image, by_person = (_fisher(table) for table in (images, people))
    gap = _difference(images, replicates=replicates, seed=seed)
    p = _shuffled_p(people, gap.estimate, permutations=permutations, seed=seed)
    middle = {"unit": "image, people shuffled", "test": "permutation", "p": p}
    second = by_image | middle | {"low": gap.low, "high": gap.high}
    rows = [{"unit": "image, independent"} | by_image, second, {"unit": "person"} | by_person]
    return pd.DataFrame(rows)[_COLUMNS]


def shares(images: pd.DataFrame, group: pd.Series) -> pd.DataFrame:
    """Share called dystrophinopathy in each group, with intervals that respect people.

    Parameters
    ----------
    images : DataFrame
        case_id and call.
    group : Series
        Group of each image; a categorical fixes the order and keeps empty groups.

    Returns
    -------
    DataFrame
        group, cases, called, n (images), estimate, low, high, method.

    Examples
    --------
    >>> table = shares(pd.DataFrame({"case_id": ["a"], "call": [1]}), pd.Series(["mild"]))
    >>> table[["group", "cases", "called", "n", "estimate"]].to_numpy().tolist()
    [['mild', 1, 1, 1, 1.0]]
    """
    rows = []
    for name, own in images.groupby(group, observed=False):
        counted = (own["case_id"].nunique(), int(own["call"].sum()), len(own))
        found = clustered.interval(own["call"], own["case_id"])
        rows.append((name, *counted, *found))
    columns = ["group", "cases", "called", "n", "estimate", "low", "high", "method"]
    return pd.DataFrame(rows, columns=columns)


def severity(fat_fraction: pd.Series) -> pd.Series:
    """Sort legs into ranges of true mean fat fraction.

    Parameters
    ----------
    fat_fraction : Series
        0 to 1; NaN where the truth is not known.

    Returns
    -------
    Series
        Categorical with the names of :data:`SEVERITY`.

    Examples
    --------
    >>> severity(pd.Series([0.0, 0.1, 0.11, 0.9])).tolist()
    ['up to 10 %', 'up to 10 %', '10 to 30 %', 'over 50 %']
    """
    edges = [0.0, *(high for _, high in SEVERITY.values())]
    return pd.cut(fat_fraction, edges, labels=list(SEVERITY), include_lowest=True)


def looks(images: pd.DataFrame) -> pd.Series:
    """Name images by diagnosis and by whether the leg looks nearly normal.

    Parameters
    ----------
    images : DataFrame
        group (DMD, BMD or other disease) and fat_fraction.

    Returns
    -------
    Series
        Categorical; NaN where the truth is not known.

    Examples
    --------
    >>> looks(pd.DataFrame({"group": ["BMD", "BMD"], "fat_fraction": [0.05, 0.4]})).tolist()
    ['BMD, nearly normal', 'BMD, visibly ill']
    """
    words = np.where(images["fat_fraction"] <= NEARLY_NORMAL, "nearly normal", "visibly ill")
    named = images["group"].astype(str) + ", " + pd.Series(words, index=images.index)
    order = [f"{name}, {word}" for name in ("BMD", "DMD", "other disease") for word in _WORDS]
    known = named.where(images["fat_fraction"].notna())
    return pd.Series(pd.Categorical(known, categories=order), index=images.index, name="looks")


_WORDS = ("nearly normal", "visibly ill")


_COLUMNS = ["unit", "test", "n_dmd", "n_bmd", "dmd", "bmd", "difference", "low", "high", "p"]


def _missing(images: pd.DataFrame) -> str:
    found = set(images["group"].astype(str))
    if found - {"DMD", "BMD"}:
        raise ValueError(f"Groups found: {', '.join(sorted(found))}; expected DMD and BMD only.")
    return " and ".join(name for name in ("DMD", "BMD") if name not in found)


def _fisher(table: pd.DataFrame) -> dict:
    counts = table.groupby("group", observed=True)["call"].agg(["sum", "size"])
    dmd, bmd = (counts.loc[name].tolist() for name in ("DMD", "BMD"))
    p = stats.fisher_exact([[hits, n - hits] for hits, n in (dmd, bmd)]).pvalue
    shares_of = {"dmd": dmd[0] / dmd[1], "bmd": bmd[0] / bmd[1]}
    return {
        **{"test": "Fisher", "n_dmd": dmd[1], "n_bmd": bmd[1], **shares_of},
        **{"difference": shares_of["dmd"] - shares_of["bmd"], "low": np.nan, "high": np.nan},
        "p": float(p),
    }


def _difference(images: pd.DataFrame, *, replicates: int, seed: int) -> Interval:
    rng, drawn = np.random.default_rng(seed), []
    for name in ("DMD", "BMD"):
        own = images[images["group"] == name]
        codes = pd.factorize(own["case_id"], sort=True)[0]
        weights = inference.case_weights(own["case_id"], replicates=replicates, seed=rng)
        drawn.append((weights @ np.bincount(codes, own["call"])) / (weights @ np.bincount(codes)))
    return inference.percentiles(drawn[0] - drawn[1], cases=images["case_id"].nunique())


def _shuffled_p(people: pd.DataFrame, observed: float, *, permutations: int, seed: int) -> float:
    """Share of shuffles, the data themselves counted as one, with a difference as large."""
    rng = np.random.default_rng(seed)
    is_dmd = (people["group"] == "DMD").to_numpy()
    hits, n = people["hits"].to_numpy(float), people["n"].to_numpy(float)
    order = rng.permuted(np.tile(is_dmd, (permutations, 1)), axis=1).astype(float)
    first = (order @ hits) / (order @ n)
    second = ((1 - order) @ hits) / ((1 - order) @ n)
    as_large = np.abs(first - second) >= abs(observed) - 1e-12
    return float((1 + as_large.sum()) / (1 + permutations))


def with_all(counted: pd.DataFrame) -> pd.DataFrame:
    """Add the two subtypes together, as a group named ``all``.

    Parameters
    ----------
    counted : DataFrame
        group, called, n (images).

    Returns
    -------
    DataFrame

    Examples
    --------
    >>> rows = {"group": ["DMD", "BMD", "other disease"], "called": [1, 2, 9], "n": [3, 4, 9]}
    >>> with_all(pd.DataFrame(rows)).to_numpy().tolist()[-1]
    ['all', 3, 7]
    """
    both = counted[counted["group"].isin(["DMD", "BMD"])]
    row = {"group": "all", "called": both["called"].sum(), "n": both["n"].sum()}
    return pd.concat([counted, pd.DataFrame([row])], ignore_index=True)


def records(table: pd.DataFrame) -> Iterator[tuple[str, dict]]:
    """Return the end of a key and the number for each row of a table of shares.

    Parameters
    ----------
    table : DataFrame
        group, estimate, low, high, method, n.

    Yields
    ------
    tuple
        The group's name fit for a key, and arguments of :meth:`helpers.record.Run.number`.

    Examples
    --------
    >>> table = shares(pd.DataFrame({"case_id": ["a"], "call": [1]}), pd.Series(["up to 10 %"]))
    >>> [(key, found["value"], found["n"]) for key, found in records(table)]
    [('up_to_10', 1.0, 1)]
    """
    for row in table.itertuples():
        key = _KEYS.get(str(row.group), re.sub(r"\W+", "_", str(row.group).lower()).strip("_"))
        found = {"value": row.estimate, "low": row.low, "high": row.high}
        yield key, found | {"method": row.method, "n": row.n}


_KEYS = {"other disease": "other", "all": "sensitivity"}


def interval_of(table: pd.DataFrame, group: ArrayLike) -> Interval:
    """Return one group's share from :func:`shares` as an interval.

    Parameters
    ----------
    table : DataFrame
        From :func:`shares`.
    group : str
        Its name.

    Returns
    -------
    Interval
    """
    row = table.set_index("group").loc[group]
    return Interval(row["estimate"], row["low"], row["high"], row["method"])
