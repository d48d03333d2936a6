"""The trefoil-with-single-fruit sign, computed from true fat fractions of the phantom.

Zheng et al. (2015) describe it on T1-weighted slices of the middle of the thigh in
dystrophinopathies: sartorius, gracilis and adductor longus are spared, three leaves, and so is
semitendinosus relative to its neighbours, the fruit. Readers saw it in 69 of 166 people with a
dystrophinopathy and in 2 of 244 without.

The rule here turns the description into numbers and is an assumption, fixed before it was
computed on any cohort. It is for scoring only: no method that reads images sees true fat
fractions.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from helpers import inference

LEAVES = ("SA", "GR", "AL")
FRUIT = "ST"
AROUND = ("AM", "BFL", "VL", "VI", "VM")

#: Highest mean fat fraction of the leaves, least distance of the fruit below the muscles
#: around, and least mean fat fraction of these.
LEAVES_MAX, FRUIT_BELOW, AROUND_MIN = 0.20, 0.15, 0.30

HERE = "here: rule on true fat fractions"
#: Zheng et al. 2015: people rightly told by the sign, and people: dystrophinopathies, others.
PUBLISHED = {"sensitivity": (69, 166), "specificity": (242, 244)}


def sign(fractions: pd.DataFrame) -> pd.DataFrame:
    """Return whether each leg shows the sign.

    Parameters
    ----------
    fractions : DataFrame
        case_id, side, muscle, fat_fraction (0 to 1), one row a muscle: the phantom's
        ``truth/fat_fractions.csv``.

    Returns
    -------
    DataFrame
        case_id, side, leaves, fruit, around (mean fat fractions) and sign.

    Raises
    ------
    ValueError
        When a muscle of the rule is missing.

    Examples
    --------
    >>> row = dict.fromkeys(("SA", "GR", "AL"), 0.1) | {"ST": 0.25} | dict.fromkeys(AROUND, 0.5)
    >>> leg = pd.DataFrame({"muscle": row.keys(), "fat_fraction": row.values()})
    >>> bool(sign(leg.assign(case_id="a", side="right")).sign.iloc[0])
    True
    """
    wide = fractions.pivot(index=["case_id", "side"], columns="muscle", values="fat_fraction")
    missing = [m for m in (*LEAVES, FRUIT, *AROUND) if m not in wide]
    if missing:
        raise ValueError(f"No fat fraction of {', '.join(missing)}; found {', '.join(wide)}.")
    legs = pd.DataFrame(
        {
            "leaves": wide[list(LEAVES)].mean(axis=1),
            "fruit": wide[FRUIT],
            "around": wide[list(AROUND)].mean(axis=1),
        }
    )
    legs["sign"] = (
        (legs.leaves <= LEAVES_MAX)
        & (legs.around - legs.fruit >= FRUIT_BELOW)
        & (legs.around >= AROUND_MIN)
    )
    return legs.reset_index()


def of_cases(fractions: pd.DataFrame) -> pd.DataFrame:
    """Return whether each person shows the sign, on the mean of the two legs.

    Parameters
    ----------
    fractions : DataFrame
        As for :func:`sign`.

    Returns
    -------
    DataFrame
        As :func:`sign`, one row a person.
    """
    mean = fractions.groupby(["case_id", "muscle"], as_index=False).fat_fraction.mean()
    return sign(mean.assign(side="both")).drop(columns="side")


def table(cases: pd.DataFrame, truth: str | Path) -> pd.DataFrame:
    """Return the sign's sensitivity and specificity, published and here, and its share by disease.

    Parameters
    ----------
    cases : DataFrame
        ``cases.csv``.
    truth : str or Path
        The phantom's ``truth/fat_fractions.csv``; an author's own cohort has none.

    Returns
    -------
    DataFrame
        what, people, with the sign, share, low, high, source. Intervals are Wilson's, 95 %;
        people are independent. For the specificity the share is of those without the sign. Only
        the published rows when there is no truth.
    """
    rows = [_row(name, *counts, "published: five readers") for name, counts in PUBLISHED.items()]
    if not Path(truth).is_file():
        return pd.DataFrame(rows)
    found = of_cases(pd.read_csv(truth, dtype={"case_id": str}))
    seen = cases.merge(found[["case_id", "sign"]], on="case_id", validate="one_to_one")
    positive = seen.dystrophinopathy == 1
    rows.append(_row("sensitivity", seen.sign[positive].sum(), positive.sum(), HERE))
    rows.append(_row("specificity", (~seen.sign[~positive]).sum(), (~positive).sum(), HERE))
    for diagnosis, own in seen.groupby("diagnosis").sign:
        rows.append(_row(f"sign in {diagnosis}", own.sum(), len(own), HERE))
    return pd.DataFrame(rows)


def here(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Return sensitivity and specificity on the cohort, from :func:`table`.

    Parameters
    ----------
    rows : DataFrame
        From :func:`table`.

    Returns
    -------
    dict of Series
        count, people, share, low, high; NaN and 0 people without a phantom.

    Examples
    --------
    >>> float(here(table(pd.DataFrame(), "no such file"))["specificity"].share)
    nan
    """
    own = rows[rows.source == HERE].set_index("what")
    nothing = pd.Series({"count": 0, "people": 0, "share": np.nan, "low": np.nan, "high": np.nan})
    return {name: own.loc[name] if name in own.index else nothing for name in PUBLISHED}


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`table` as it is shown: counts, and the share with its interval.

    Examples
    --------
    >>> readable(table(pd.DataFrame(), "no such file"))["share (95 % interval)"].tolist()
    ['0.42 (0.34 to 0.49)', '0.99 (0.97 to 1.00)']
    """
    shares = zip(rows.share, rows.low, rows.high, strict=True)
    return pd.DataFrame(
        {
            "what": rows.what,
            "source": rows.source,
            "people": [f"{k} of {n}" for k, n in zip(rows["count"], rows.people, strict=True)],
            "share (95 % interval)": [f"{s:.2f} ({a:.2f} to {b:.2f})" for s, a, b in shares],
        }
    )


def _row(what: str, count: int, people: int, source: str) -> dict:
    share, low, high, *_ = inference.proportion(int(count), int(people))
    return {
        "what": what,
        "count": int(count),
        "people": int(people),
        "share": share if people else np.nan,
        "low": low,
        "high": high,
        "source": source,
    }
