"""How well the legs were found where the truth is known, in the synthetic cohort.

For scoring only: nothing that finds a leg or feeds a network comes here.

A slice is *separable in truth* when its legs, in the drawing before any image was made of it,
are in contact over at most a quarter of the higher leg's height
(:func:`helpers.phantom.thigh.contact_share`).
"""

from pathlib import Path

import numpy as np
import pandas as pd

from helpers import clustered, inference, paths
from helpers.roi import BOX, SIDES, Box

#: How legs lie in truth, by the height over which they are in contact.
CONTACTS = ("apart", "touching, separable", "touching, not separable")
#: What is measured against the truth.
MEASURES = (
    "overlap, median",
    "overlap, 5th percentile",
    "rightly cut or left out",
    "legs with 99 % inside",
)
COMPARED = [
    *("image_id", "case_id", "slice_id", "side", "slice_position_mm"),
    *("separable", "touching", "contact_share", "included", "overlap", "covered"),
]
#: Where no truth is known.
NOTHING = pd.Series(
    {"estimate": np.nan, "low": np.nan, "high": np.nan, "method": "none: no truth", "n": 0}
)
#: Slices within this distance of mid-thigh are at the level "middle", mm.
LEVEL_MM = 30.0


def overlap(first: Box, second: Box) -> float:
    """Return the intersection over union of two boxes.

    Parameters
    ----------
    first, second : tuple of int
        row0, col0, row1, col1, half-open.

    Returns
    -------
    float
        1 for equal boxes, 0 for disjoint ones.

    Examples
    --------
    >>> overlap((0, 0, 2, 2), (0, 1, 2, 3))
    0.3333333333333333
    """
    height = min(first[2], second[2]) - max(first[0], second[0])
    width = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0, height) * max(0, width)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def share_inside(leg: np.ndarray, box: Box) -> float:
    """Return the share of a leg's pixels that a window holds.

    Parameters
    ----------
    leg : ndarray of bool, shape (rows, columns)
        True pixels of the leg.
    box : tuple of int
        row0, col0, row1, col1, half-open.

    Returns
    -------
    float
        NaN where there is no leg.

    Examples
    --------
    >>> share_inside(np.ones((4, 4), dtype=bool), (0, 0, 4, 3))
    0.75
    """
    held = leg[box[0] : box[2], box[1] : box[3]].sum()
    return float(held / leg.sum()) if leg.any() else np.nan


def scores(leg: np.ndarray, box: Box) -> dict[str, float]:
    """Return how well a window holds a leg.

    Parameters
    ----------
    leg : ndarray of bool, shape (rows, columns)
        True pixels of the leg.
    box : tuple of int
        The window: row0, col0, row1, col1, half-open.

    Returns
    -------
    dict
        overlap, with the smallest rectangle that holds the leg; covered, see
        :func:`share_inside`.

    Examples
    --------
    >>> scores(np.pad(np.ones((2, 4), dtype=bool), 1), (1, 1, 3, 4))
    {'overlap': 0.75, 'covered': 0.75}
    """
    rows, columns = (np.flatnonzero(leg.any(axis=axis)) for axis in (1, 0))
    true = (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
    return {"overlap": float(overlap(box, true)), "covered": share_inside(leg, box)}


def read_truth(folder: Path) -> pd.DataFrame:
    """Return the true boxes of a synthetic cohort; no row for the author's own images.

    Parameters
    ----------
    folder : Path
        ``results/<profile>``. For scoring only.

    Returns
    -------
    DataFrame
        slice_id, side, row0, col0, row1, col1, separable, touching, contact_share.
    """
    path = _truth_folder(folder) / "legs.csv"
    if path.is_file():
        return pd.read_csv(path)
    state = ["separable", "touching", "contact_share"]
    return pd.DataFrame(columns=["slice_id", "side", *BOX, *state])


def against_truth(table: pd.DataFrame, truth: pd.DataFrame, *, folder: Path) -> pd.DataFrame:
    """Return located legs beside the true ones.

    Parameters
    ----------
    table : DataFrame
        ``images.csv``.
    truth : DataFrame
        From :func:`read_truth`.
    folder : Path
        ``results/<profile>``; the true outlines are in ``cohort/thigh/truth``.

    Returns
    -------
    DataFrame
        image_id, case_id, slice_id, side, slice_position_mm, separable, touching, contact_share,
        included; overlap with the true box, and covered, the share of the true leg's pixels
        inside the window, both NaN where excluded.
    """
    names = ["slice_id", "side", "separable", "touching", "contact_share"]
    joined = table.merge(truth[names], on=["slice_id", "side"])
    joined["included"] = (joined["status"] == "included").astype(int)
    joined[["overlap", "covered"]] = np.nan
    for slice_id, pair in joined[joined["included"] == 1].groupby("slice_id"):
        with np.load(_truth_folder(folder) / f"{slice_id}.npz", allow_pickle=False) as arrays:
            leg = arrays["leg"]
        for row in pair.itertuples():
            box = tuple(int(getattr(row, name)) for name in BOX)
            found = scores(leg == SIDES.index(row.side) + 1, box)
            joined.loc[row.Index, list(found)] = list(found.values())
    return joined[COMPARED]


def accuracy(compared: pd.DataFrame, *, seed: int, replicates: int = 1000) -> pd.DataFrame:
    """Return how well legs were found, with intervals by case.

    Windows are scored on legs that are separable in truth and were found; whether a slice was
    rightly cut or left out, on all.

    Parameters
    ----------
    compared : DataFrame
        From :func:`against_truth`.
    seed : int
        Of the resampling of cases for the quantiles.
    replicates : int
        Resampled cohorts.

    Returns
    -------
    DataFrame
        measure, one of :data:`MEASURES`; estimate, low, high, method; n and cases.
    """
    windows = compared[(compared["separable"] == 1) & (compared["included"] == 1)]
    slices = compared.drop_duplicates("slice_id")
    right = (slices["included"] == slices["separable"]).astype(int)
    inside = (windows["covered"] >= 0.99).astype(int)
    quantiles = _quantiles_by_case(
        windows["overlap"], windows["case_id"], (0.5, 0.05), seed=seed, replicates=replicates
    )
    found = [
        (*quantiles[0], windows),
        (*quantiles[1], windows),
        (*_share_by_case(right, slices["case_id"]), slices),
        (*_share_by_case(inside, windows["case_id"]), windows),
    ]
    rows = [
        (measure, *one[:4], len(one[4]), one[4]["case_id"].nunique())
        for measure, one in zip(MEASURES, found, strict=True)
    ]
    names = ["measure", "estimate", "low", "high", "method", "n", "cases"]
    return pd.DataFrame(rows, columns=names)


def accuracy_by(compared: pd.DataFrame, cases: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Return :func:`accuracy` for all legs, by contact, disease, field strength and level.

    Parameters
    ----------
    compared : DataFrame
        From :func:`against_truth`.
    cases : DataFrame
        ``cases.csv``.
    seed : int
        Of the resampling of cases.

    Returns
    -------
    DataFrame
        by, group, then the columns of :func:`accuracy`. Groups without a leg are missing.
    """
    known = ["case_id", "diagnosis", "field_strength_tesla"]
    joined = compared.merge(cases[known], on="case_id", validate="m:1")
    keys = {
        "all": pd.Series("all legs", joined.index),
        "contact": _contact(joined),
        "slice level": _level(joined["slice_position_mm"]),
        "field strength": joined["field_strength_tesla"].map("{:g} T".format),
        "disease": joined["diagnosis"],
    }
    parts = [
        accuracy(part, seed=seed).assign(by=by, group=group)
        for by, key in keys.items()
        for group, part in joined.groupby(key, sort=True, observed=True)
    ]
    names = ["by", "group", "measure", "estimate", "low", "high", "method", "n", "cases"]
    return pd.concat(parts, ignore_index=True)[names] if parts else pd.DataFrame(columns=names)


def accuracy_shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`accuracy_by` as a table for a page: one row a group.

    Parameters
    ----------
    table : DataFrame
        From :func:`accuracy_by`.

    Returns
    -------
    DataFrame
        group, cases, legs, and each measure with its interval.
    """
    text = table.assign(
        shown=[
            f"{row.estimate:.3f} ({row.low:.3f}–{row.high:.3f})"
            if np.isfinite([row.estimate, row.low, row.high]).all()
            else ("–" if np.isnan(row.estimate) else f"{row.estimate:.3f}")
            for row in table.itertuples()
        ]
    )
    wide = text.pivot_table(
        index=["by", "group"], columns="measure", values="shown", aggfunc="first", sort=False
    )
    counts = table[table["measure"] == MEASURES[0]].set_index(["by", "group"])
    slices = table[table["measure"] == MEASURES[2]].set_index(["by", "group"])
    numbers = {"cases": slices["cases"], "slices": slices["n"], "windows scored": counts["n"]}
    shown = pd.concat([pd.DataFrame(numbers), wide.reindex(columns=MEASURES)], axis=1)
    return shown.reset_index().drop(columns="by")


def judged_by_eye() -> pd.DataFrame:
    """Return the windows found in public real thighs, with what a person says of them.

    Four volumes of three people (github.com/Hirriririir/Rapid-automatic-fat-quantification-for-
    thigh-muscle-degeneration, Apache-2.0; github.com/SWastling/musclemap, MIT), Dixon, not T1
    spin echo; every slice was looked at with its windows. *Right* allows an edge to be off by
    about 5 mm. The scans are not in this repository.

    Returns
    -------
    DataFrame
        file, frame, side, row0, col0, row1, col1 (missing where left out), judged: ``both legs
        right``, ``rightly left out``, or ``wrong:`` and how. Two rows a slice.

    Examples
    --------
    >>> slices = judged_by_eye().drop_duplicates(["file", "frame"])
    >>> len(slices), slices.judged.str.startswith("wrong").sum().item()
    (52, 2)
    """
    table = pd.read_csv(paths.package_data("real_thigh_boxes.csv"))
    return table.astype({name: "Int64" for name in BOX})


def headline(table: pd.DataFrame, compared: pd.DataFrame) -> dict[str, dict]:
    """Return the numbers that prose quotes, with intervals by case.

    Parameters
    ----------
    table : DataFrame
        From :func:`accuracy_by`.
    compared : DataFrame
        From :func:`against_truth`.

    Returns
    -------
    dict
        Key to the arguments of :meth:`helpers.record.Run.number`; NaN where no truth is known.
    """
    names = dict(
        zip(("overlap.median", "overlap.low", "decided.right", "inside"), MEASURES, strict=True)
    )
    overall = table[table["by"] == "all"].set_index("measure")
    found = {}
    for key, measure in names.items():
        row = overall.loc[measure] if measure in overall.index else NOTHING
        found[key] = _number(row, percent=not key.startswith("overlap"), n=row["n"])
    for key, separable in (("separable.kept", 1), ("pressed.excluded", 0)):
        legs = compared[compared["separable"] == separable]
        hit = (legs["included"] == separable).astype(int)
        share = pd.Series(_share_by_case(hit, legs["case_id"])._asdict())
        found[key] = _number(share, percent=True, n=len(legs))
    return found


def _number(row: pd.Series, *, percent: bool, n: int) -> dict:
    limits = {"value": row["estimate"], "low": row["low"], "high": row["high"]}
    digits = 1 if percent else 3
    about = {"method": row["method"], "unit": "leg image", "n": int(n)}
    return limits | about | {"percent": percent, "digits": digits}


def _truth_folder(folder: Path) -> Path:
    return Path(folder) / "cohort" / "thigh" / "truth"


def _share_by_case(hit: pd.Series, case: pd.Series) -> inference.Interval:
    if hit.empty:
        return inference.Interval(np.nan, np.nan, np.nan, "none: no leg")
    return clustered.interval(hit, case)


def _quantiles_by_case(
    values: pd.Series,
    case: pd.Series,
    levels: tuple[float, ...],
    *,
    seed: int,
    replicates: int,
) -> list[inference.Interval]:
    """Return quantiles of values with percentile intervals from resampled cases."""
    if values.empty:
        return [inference.Interval(np.nan, np.nan, np.nan, "none: no leg")] * len(levels)
    weights = inference.case_weights(case, replicates=replicates, seed=seed)
    order = np.argsort(values.to_numpy(), kind="stable")
    codes = pd.factorize(case, sort=True)[0][order]
    ranks = np.cumsum(weights[:, codes], axis=1)
    ordered = values.to_numpy()[order]
    found = []
    for level in levels:
        places = (ranks < level * ranks[:, -1:]).sum(axis=1)
        resampled = ordered[np.minimum(places, len(ordered) - 1)]
        found.append(inference.percentiles(resampled, cases=weights.shape[1]))
    return found


def _contact(compared: pd.DataFrame) -> pd.Series:
    names = np.select(
        [compared["separable"] == 0, compared["touching"] == 1], CONTACTS[:0:-1], CONTACTS[0]
    )
    return pd.Series(pd.Categorical(names, CONTACTS), compared.index)


def _level(position_mm: pd.Series) -> pd.Series:
    """Return the third of the thigh a slice lies in; 0 is mid-thigh, positive to the hip."""
    edges = [-np.inf, -LEVEL_MM, LEVEL_MM, np.inf]
    return pd.cut(position_mm, edges, labels=["distal", "middle", "proximal"])
