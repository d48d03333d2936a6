"""From leg images to legs and to people: pooled probabilities, the rule fixed on validation.

The paper decides leg image by leg image; a doctor decides about a person. A leg's and a person's
probability is the mean or the maximum over its images. Which of the two is a choice, so it is
made where choices may be made: on the validation set.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from helpers import accuracy, delong, inference

#: How probabilities are pooled.
RULES = ("mean", "max")
#: Units of analysis, from small to large.
UNITS = ("image", "leg", "person")
#: Measures of decisions that are given for every unit.
SHARES = ("accuracy", "sensitivity", "specificity")
_KEYS = {"image": ["image_id"], "leg": ["case_id", "side"], "person": ["case_id"]}


def pooled(scored: pd.DataFrame, *, unit: str, rule: str) -> pd.DataFrame:
    """Return one probability per leg or person.

    Parameters
    ----------
    scored : DataFrame
        From :func:`helpers.accuracy.scored_images`.
    unit : {"image", "leg", "person"}
        A leg is one side of a person over all slices.
    rule : {"mean", "max"}
        Over the unit's images.

    Returns
    -------
    DataFrame
        case_id, label, probability; one row a unit.

    Raises
    ------
    ValueError
        For another unit or rule.

    Examples
    --------
    >>> rows = pd.DataFrame({"image_id": list("abc"), "case_id": list("112"), "side": "left",
    ...                      "label": [1, 1, 0], "probability": [0.2, 0.9, 0.4]})
    >>> pooled(rows, unit="person", rule="max")["probability"].tolist()
    [0.9, 0.4]
    """
    for value, allowed in ((unit, UNITS), (rule, RULES)):
        if value not in allowed:
            raise ValueError(f"{value!r} is not one of {', '.join(allowed)}.")
    keys = _KEYS[unit]
    columns = dict.fromkeys(["case_id", "label"], "first") | {"probability": rule}
    return scored.groupby(keys, sort=True).agg(columns).reset_index(drop=True)


def levels(
    predictions: pd.DataFrame, images: pd.DataFrame, cases: pd.DataFrame, *, threshold: float = 0.5
) -> pd.DataFrame:
    """Return results of images, legs and people, pooled by mean and by maximum.

    Parameters
    ----------
    predictions : DataFrame
        As for :func:`helpers.accuracy.scored_images`; of several seeds the lowest counts.
    images, cases : DataFrame
        ``images.csv`` and ``cases.csv``.
    threshold : float
        Called positive when the probability is at least this.

    Returns
    -------
    DataFrame
        unit, rule, validation (area by which the rule is chosen), chosen (True for the rule with
        the larger one; the mean when they are equal), n (units of the test set), auc, low, high
        (DeLong's interval; Obuchowski's by person for images and legs), threshold, accuracy,
        sensitivity, specificity.
    """
    parts = {
        split: accuracy.scored_images(predictions, images, cases, split=split)
        for split in ("validation", "test")
    }
    rows = []
    for unit in UNITS:
        for rule in RULES[:1] if unit == "image" else RULES:
            by = {split: pooled(part, unit=unit, rule=rule) for split, part in parts.items()}
            test = by["test"]
            area = delong.interval(
                test["label"],
                test["probability"],
                case=None if unit == "person" else test["case_id"],
            )
            call = (test["probability"] >= threshold).astype(int)
            measures = accuracy.measures(accuracy.confusion(test["label"], call))
            shown = [threshold, *(measures[name] for name in SHARES)]
            validation = accuracy.auc(by["validation"]["label"], by["validation"]["probability"])
            rows.append((unit, rule, validation, len(test), *area[:3], *shown))
    columns = [
        *("unit", "rule", "validation", "n", "auc", "low", "high"),
        *("threshold", *SHARES),
    ]
    table = pd.DataFrame(rows, columns=columns)
    best = table.groupby("unit")["validation"].idxmax()
    table.insert(3, "chosen", table.index.isin(best))
    return table


def chosen_rule(table: pd.DataFrame, *, unit: str = "person") -> str:
    """Return the pooling rule that the validation set chose.

    Parameters
    ----------
    table : DataFrame
        From :func:`levels`.
    unit : {"leg", "person"}

    Returns
    -------
    str
        ``"mean"`` or ``"max"``.
    """
    return table.loc[(table["unit"] == unit) & table["chosen"], "rule"].item()


def decision(
    predictions: pd.DataFrame, images: pd.DataFrame, cases: pd.DataFrame, table: pd.DataFrame
) -> dict:
    """Return how a person is decided on, as a model's card holds it; nothing from the test set.

    Parameters
    ----------
    predictions, images, cases
        As for :func:`levels`.
    table : DataFrame
        From :func:`levels`.

    Returns
    -------
    dict
        pooling (mean or max) and thresholds: of a leg image 0.5, the plan's; of a person that
        of :func:`threshold_on_validation`.
    """
    rule = chosen_rule(table)
    cut = threshold_on_validation(predictions, images, cases, rule=rule)
    return {"pooling": rule, "thresholds": {"image": 0.5, "person": cut}}


def decided(
    predictions: pd.DataFrame, images: pd.DataFrame, cases: pd.DataFrame, rule: dict
) -> pd.DataFrame:
    """Return how right the decision about people is that a model's card makes, on the test set.

    Parameters
    ----------
    predictions, images, cases
        As for :func:`levels`.
    rule : dict
        From :func:`decision`.

    Returns
    -------
    DataFrame
        measure (accuracy, sensitivity, specificity), estimate, low, high (Wilson's; people are
        independent), n (people in the denominator), unit, threshold.
    """
    cut = rule["thresholds"]["person"]
    test = accuracy.scored_images(predictions, images, cases)
    test = pooled(test, unit="person", rule=rule["pooling"])
    call = (test["probability"] >= cut).astype(int)
    found = inference.from_counts(accuracy.confusion(test["label"], call)).set_index("measure")
    found = found.loc[list(SHARES), ["estimate", "low", "high", "n"]].reset_index()
    return found.assign(unit="person", threshold=cut)


def assessed(
    predictions: pd.DataFrame, images: pd.DataFrame, cases: pd.DataFrame
) -> tuple[pd.DataFrame, dict, pd.DataFrame]:
    """Return :func:`levels`, the :func:`decision` they lead to, and :func:`decided` by it.

    Parameters
    ----------
    predictions, images, cases
        As for :func:`levels`.

    Returns
    -------
    DataFrame, dict, DataFrame
    """
    table = levels(predictions, images, cases)
    rule = decision(predictions, images, cases, table)
    return table, rule, decided(predictions, images, cases, rule)


def numbers(people_decided: pd.DataFrame) -> Iterator[tuple[str, tuple, dict]]:
    """Yield what prose may quote of the decision about people, with what it rests on.

    Parameters
    ----------
    people_decided : DataFrame
        From :func:`decided`.

    Yields
    ------
    str, tuple of float, dict
        Key; value and limits; what :meth:`helpers.record.Run.number` takes.
    """
    yield "threshold", (people_decided["threshold"].iloc[0],), {"digits": 3}
    for row in people_decided.itertuples():
        about = {"method": "Wilson", "unit": "person", "n": row.n}
        yield row.measure, (row.estimate, row.low, row.high), about


def as_metrics(table: pd.DataFrame, people_decided: pd.DataFrame) -> pd.DataFrame:
    """Return the results of images and of the pooling that was chosen, one a row.

    Parameters
    ----------
    table, people_decided : DataFrame
        From :func:`levels` and :func:`decided`.

    Returns
    -------
    DataFrame
        measure, estimate, low, high, unit, threshold. People are decided on at the card's
        threshold, images and legs at that of ``table``; areas have no threshold. NaN is what
        is not given.
    """
    rows = []
    for row in table[table["chosen"]].itertuples():
        rows.append(("AUC", row.auc, row.low, row.high, row.unit, np.nan))
        if row.unit == "person":
            continue
        for name in SHARES:
            rows.append((name, getattr(row, name), np.nan, np.nan, row.unit, row.threshold))
    columns = ["measure", "estimate", "low", "high", "unit", "threshold"]
    rows += people_decided[columns].itertuples(index=False, name=None)
    return pd.DataFrame(rows, columns=columns)


def readable(table: pd.DataFrame, people_decided: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`levels` and :func:`decided` as a page shows them.

    Parameters
    ----------
    table, people_decided : DataFrame
        From :func:`levels` and :func:`decided`.

    Returns
    -------
    DataFrame
        Unit, Pooled by, Validation AUC, n, Test AUC, Threshold, Accuracy, Sensitivity,
        Specificity; the last row is the model's own decision about people.
    """
    rows = []
    for row in table.itertuples():
        rule = "not pooled" if row.unit == "image" else row.rule
        rule += " (chosen)" if row.chosen and row.unit != "image" else ""
        area = f"{row.auc:.2f} ({row.low:.2f} to {row.high:.2f})"
        shares = [f"{row.threshold:.2f}", *(f"{getattr(row, name):.2f}" for name in SHARES)]
        rows.append((row.unit, rule, f"{row.validation:.2f}", row.n, area, *shares))
    own = people_decided.set_index("measure").loc[list(SHARES)]
    shares = [f"{r.estimate:.2f} ({r.low:.2f} to {r.high:.2f})" for r in own.itertuples()]
    n, cut = own.loc["accuracy", ["n", "threshold"]]
    about = ("person", f"{chosen_rule(table)}, as the model's file decides", "", int(n), "")
    rows.append((*about, f"{cut:.3f}", *shares))
    columns = [
        *("Unit", "Pooled by", "Validation AUC", "n", "Test AUC", "Threshold"),
        *("Accuracy", "Sensitivity", "Specificity"),
    ]
    return pd.DataFrame(rows, columns=columns)


def threshold_on_validation(
    predictions: pd.DataFrame, images: pd.DataFrame, cases: pd.DataFrame, *, rule: str
) -> float:
    """Return the threshold of people's probability with the largest Youden index on validation.

    Parameters
    ----------
    predictions, images, cases
        As for :func:`levels`.
    rule : {"mean", "max"}
        From :func:`chosen_rule`.

    Returns
    -------
    float
        Halfway between two neighbouring people; among equals the one nearest 0.5.
    """
    part = accuracy.scored_images(predictions, images, cases, split="validation")
    people = pooled(part, unit="person", rule=rule)
    values = np.unique(people["probability"])
    cuts = (values[1:] + values[:-1]) / 2 if len(values) > 1 else np.array([0.5])
    called = people["probability"].to_numpy() >= cuts[:, None]
    positive = people["label"].to_numpy() == 1
    youden = called[:, positive].mean(axis=1) - called[:, ~positive].mean(axis=1)
    best = cuts[np.isclose(youden, youden.max())]
    return float(best[np.argmin(np.abs(best - 0.5))])
