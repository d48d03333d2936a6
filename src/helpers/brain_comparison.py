"""The network against shallow learners on the same held-out people, and what accuracy means.

Everybody is scored by both, so differences are paired: DeLong's test for areas under the ROC
curve, McNemar's for decisions. Each person has one scan, so intervals are by subject.
"""

import math

import numpy as np
import pandas as pd

from helpers import claims, delong, inference, paired, recompute, referral

NETWORK = "DystoniaNet"
#: Rules that see no scan; the probability they give to everyone.
BLIND = {"everybody is a patient": 1.0, "nobody is a patient": 0.0}
#: Fewest patients, and controls, for DeLong's normal approximation: a convention of ours.
PEOPLE_MIN = 10
#: What is said where nothing could be compared.
UNTESTED = "no comparison with shallow learners was possible"
#: What a kappa means, and under which assumptions.
_ABLE = (
    "a clinician's accuracy, if that agreement is a kappa "
    "(two equally able, independent; diagnoses equally frequent)"
)


def against(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the network less every other model, paired by subject, in each series.

    Parameters
    ----------
    predictions : DataFrame
        ``id, label, probability, model, effect, seed`` of held-out subjects. Of each model the
        first seed is tested; the network's others give ``lowest`` and ``highest``.

    Returns
    -------
    DataFrame
        ``effect, model``; areas ``network_auc, auc``, their difference ``auc_difference`` with
        ``auc_low, auc_high, auc_p`` (DeLong) and ``lowest, highest`` of the difference over the
        network's seeds; shares decided rightly, nobody referred, ``network_right, right``, their
        difference ``right_difference`` with ``right_low, right_high``, ``only_network,
        only_other`` (people whom one alone decides rightly) and ``right_p`` (McNemar, exact);
        ``auc_holm, right_holm`` adjusted for the comparisons of a series. Areas are NaN where
        all are patients; their tests also with fewer than :data:`PEOPLE_MIN` of either kind.

    References
    ----------
    See :mod:`helpers.delong` and :mod:`helpers.paired`.

    Examples
    --------
    >>> rows = [(k, k % 2, p, m, "e", 1) for m, p in (("DystoniaNet", .9), ("x", .1))
    ...         for k in range(4)]
    >>> columns = ["id", "label", "probability", "model", "effect", "seed"]
    >>> found = against(pd.DataFrame(rows, columns=columns))
    >>> found[["auc_difference", "only_network", "only_other"]].to_numpy().tolist()
    [[0.0, 2.0, 2.0]]
    """
    parts = []
    for effect, series in predictions.groupby("effect", sort=False):
        wide = _by_subject(series)
        names = [name for name in dict.fromkeys(series["model"]) if name != NETWORK]
        rows = [{"effect": effect, "model": name} | _pair(wide, name) for name in names]
        part = pd.DataFrame(rows)
        for measure in ("auc", "right"):
            part[f"{measure}_holm"] = paired.adjusted(part[f"{measure}_p"])
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def without_controls(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return what each rule scores with patients alone, as printed, and with controls.

    Parameters
    ----------
    predictions : DataFrame
        As for :func:`against`, nobody referred; :data:`BLIND` rules are added.

    Returns
    -------
    DataFrame
        ``effect, rule, group`` (patients, controls), ``right, n, estimate, low, high`` (Wilson),
        and ``both``: the mean of the two shares, NaN without controls.

    Examples
    --------
    >>> table = pd.DataFrame({"id": [1, 2], "label": [1, 0], "probability": [0.9, 0.8],
    ...                       "model": "m", "effect": "e", "seed": 1})
    >>> without_controls(table).set_index("rule")["both"].drop_duplicates().to_dict()
    {'everybody is a patient': 0.5}
    """
    first = _first_seeds(predictions)
    one = first[first["model"] == first["model"].iloc[0]]
    blind = [one.assign(model=rule, probability=p) for rule, p in BLIND.items()]
    rows = []
    for (effect, rule), part in pd.concat([*blind, first]).groupby(["effect", "model"], sort=False):
        right = (part["probability"] >= 0.5) == (part["label"] == 1)
        found = {}
        for group, label in (("patients", 1), ("controls", 0)):
            own = right[part["label"] == label]
            found[group] = {"right": int(own.sum()), "n": len(own)}
            found[group] |= inference.proportion(int(own.sum()), len(own))._asdict()
        both = np.mean([found[group]["estimate"] for group in found])
        about = {"effect": effect, "rule": rule, "both": both}
        rows += [about | {"group": group} | values for group, values in found.items()]
    return pd.DataFrame(rows).drop(columns="method")


def readings() -> pd.DataFrame:
    r"""Return what the printed accuracy, gain and agreement can mean, from printed numbers alone.

    The printed gain over shallow learning is a difference or a ratio. The printed agreement of
    clinicians is a share of equal diagnoses or Cohen's kappa. Two equally able clinicians, each
    right with chance :math:`a` whichever the diagnosis and wrong independently of the other,
    choose between two equally frequent diagnoses, all of which are assumptions: they agree with
    chance :math:`a^2+(1-a)^2`, never below one half, and :math:`\kappa=(2a-1)^2`. A share of
    agreement below one half cannot come from two such clinicians; a kappa gives
    :math:`a=(1+\sqrt\kappa)/2`.

    Returns
    -------
    DataFrame
        ``reading, right, n, estimate, low, high, evidence``; intervals (Wilson) where
        counts are known.

    Examples
    --------
    >>> table = readings().set_index("reading")
    >>> float(table.loc["a rule that calls everybody a patient", "estimate"])
    1.0
    >>> table["estimate"].round(2).tolist()
    [0.99, 0.95, 1.0, 0.79, 0.82, 0.34, 0.79]
    """
    rows = [
        {"reading": f"printed accuracy, {row.reading}", "right": row.correct, "n": row.subjects}
        for row in referral.published_readings().itertuples()
    ]
    people = int(claims.get("D1-06").value)
    rows.append({"reading": "a rule that calls everybody a patient", "right": people, "n": people})
    for row in rows:
        row |= inference.proportion(row["right"], row["n"])._asdict() | {"evidence": "recomputed"}
    overall, gain = claims.get("D1-10"), claims.get("D1-13")
    for name, reading in (("a difference", "absolute"), ("a ratio", "relative")):
        share = recompute.implied_baseline(overall, gain, reading).readings[0].value
        text = f"shallow learning, if the printed gain is {name}"
        rows.append({"reading": text, "estimate": share, "evidence": "recomputed"})
    agreement = claims.get("D1-14").value
    rows.append(
        {"reading": "clinicians' agreement", "estimate": agreement, "evidence": "published"}
    )
    able = {"estimate": able_from_kappa(agreement), "evidence": "recomputed"}
    rows.append({"reading": _ABLE} | able)
    return pd.DataFrame(rows).drop(columns="method")


def quoted(table: pd.DataFrame) -> pd.DataFrame:
    """Return the numbers of :func:`readings` that prose quotes, and two that follow.

    Parameters
    ----------
    table : DataFrame
        From :func:`readings`.

    Returns
    -------
    DataFrame
        ``key, estimate, low, high, n, percent, digits, basis``: ``decided``, ``all``,
        ``everybody`` (the blind rule), ``able`` (a clinician's accuracy if the agreement is a
        kappa), ``fold`` (``decided`` over ``able``), ``splits`` (ways to share the referrals).

    Examples
    --------
    >>> found = quoted(readings()).set_index("key")["estimate"]
    >>> round(float(found["fold"]), 2), int(found["splits"])
    (1.25, 9)
    """
    rows = table.set_index("reading")
    keys = {"decided": 0, "all": 1, "everybody": 2, "able": len(rows) - 1}
    found = rows.iloc[list(keys.values())][["estimate", "low", "high", "n"]]
    found = found.assign(key=list(keys), percent=True, digits=1, basis=list(found.index))
    share = found.set_index("key")["estimate"]
    ratio = {"estimate": share["decided"] / share["able"], "basis": "decided over able"}
    ways = {"estimate": len(referral.consistent_splits()), "basis": "printed accuracies by form"}
    more = pd.DataFrame(
        [{"key": "fold", "digits": 2} | ratio, {"key": "splits", "digits": 0} | ways]
    )
    found = pd.concat([found, more.assign(percent=False)], ignore_index=True)
    counts = [None if pd.isna(n) else int(n) for n in found["n"]]
    return found.assign(n=pd.Series(counts, dtype=object))


def verdicts(table: pd.DataFrame, *, level: float = 0.05) -> dict[str, str]:
    """Return in words how the network's area stands to those of the other learners.

    Parameters
    ----------
    table : DataFrame
        From :func:`against`.
    level : float
        A difference counts when its adjusted p is below.

    Returns
    -------
    dict of str to str
        By ``main.against`` (the first series) and ``exaggerated.against``;
        :data:`UNTESTED` where a series or the tests are missing.

    Examples
    --------
    >>> table = pd.DataFrame({"effect": "a", "auc_difference": [0.2, -0.1], "auc_holm": [0.01, 1]})
    >>> verdicts(table)["main.against"]
    'its area is larger than that of 1 of 2 shallow learners and smaller than that of none'
    """
    found = dict.fromkeys(("main.against", "exaggerated.against"), UNTESTED)
    for key, (_, part) in zip(found, table.groupby("effect", sort=False), strict=False):
        if part["auc_holm"].isna().all():
            continue
        clear = part[part["auc_holm"] < level]["auc_difference"]
        larger, smaller = ((clear > 0).sum() or "none", (clear < 0).sum() or "none")
        words = f"its area is larger than that of {larger} of {len(part)} shallow learners"
        found[key] = f"{words} and smaller than that of {smaller}"
    return found


def able_from_kappa(kappa: float) -> float:
    """Return how often two clinicians with a given kappa are right; see :func:`readings`.

    Parameters
    ----------
    kappa : float
        0 to 1.

    Returns
    -------
    float
        Share of right decisions, 0.5 to 1.

    Raises
    ------
    ValueError
        For a negative kappa, which independent raters cannot have, or one above 1.

    Examples
    --------
    >>> able_from_kappa(0.0), able_from_kappa(0.64), able_from_kappa(1.0)
    (0.5, 0.9, 1.0)
    """
    if not 0 <= kappa <= 1:
        raise ValueError(f"A kappa of {kappa} is not between 0 and 1.")
    return (1 + math.sqrt(kappa)) / 2


def _first_seeds(predictions: pd.DataFrame) -> pd.DataFrame:
    seeds = predictions.groupby(["model", "effect"], sort=False)["seed"].transform("first")
    return predictions[predictions["seed"] == seeds]


def _by_subject(series: pd.DataFrame) -> pd.DataFrame:
    """Return label and each model's probabilities by subject; those of the network by seed."""
    network = series[series["model"] == NETWORK]
    named = network.assign(model=[f"{NETWORK} {seed}" for seed in network["seed"]])
    others = _first_seeds(series[series["model"] != NETWORK])
    rows = pd.concat([named, others])
    wide = rows.pivot(index="id", columns="model", values="probability")
    wide = wide[list(dict.fromkeys(rows["model"]))]
    wide.insert(0, "label", series.drop_duplicates("id").set_index("id")["label"])
    if wide.isna().any(axis=None):
        missing = wide.columns[wide.isna().any()].tolist()
        raise ValueError(
            f"{', '.join(missing)}: not every subject is predicted. A paired comparison needs the "
            "same people for all models; predict all of them, or leave the model out."
        )
    return wide


def _pair(wide: pd.DataFrame, name: str) -> dict:
    label, networks = wide["label"], [c for c in wide.columns if c.startswith(f"{NETWORK} ")]
    first, other = wide[networks[0]], wide[name]
    right = [((p >= 0.5) == (label == 1)).to_numpy() for p in (first, other)]
    test = paired.compare(*right, wide.index, tests=["exact"]).iloc[0]
    apart = paired.difference(*right, wide.index)
    found = {
        "network_right": right[0].mean(),
        "right": right[1].mean(),
        "right_difference": apart.estimate,
        "right_low": apart.low,
        "right_high": apart.high,
        "only_network": int(test["b"]),
        "only_other": int(test["c"]),
        "right_p": test["p"],
    }
    if label.nunique() < 2:
        names = ("network_auc", "auc", "auc_difference", "auc_low", "auc_high", "auc_p")
        return dict.fromkeys((*names, "lowest", "highest"), np.nan) | found
    area = delong.compare(label, first, other)
    if min(label.sum(), (1 - label).sum()) < PEOPLE_MIN:
        area = area._replace(low=np.nan, high=np.nan, p=np.nan)
    over_seeds = [delong.compare(label, wide[c], other).difference for c in networks]
    return {
        "network_auc": area.first,
        "auc": area.second,
        "auc_difference": area.difference,
        "auc_low": area.low,
        "auc_high": area.high,
        "auc_p": area.p,
        "lowest": min(over_seeds),
        "highest": max(over_seeds),
    } | found
