"""From leg images to legs and to people: pooled probabilities, the rule fixed on validation.

The paper decides leg image by leg image; a doctor decides about a person. A leg's and a person's
probability is the mean or the maximum over its images. Which of the two is a choice, so it is
made where choices may be made: on the validation set.
"""

import numpy as np
import pandas as pd

from helpers import accuracy, delong

#: How probabilities are pooled.
RULES = ("mean", "max")
#: Units of analysis, from small to large.
UNITS = ("image", "leg", "person")
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
        (DeLong's interval; Obuchowski's by person for images and legs), accuracy, sensitivity,
        specificity.
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
            shown = [measures[name] for name in ("accuracy", "sensitivity", "specificity")]
            validation = accuracy.auc(by["validation"]["label"], by["validation"]["probability"])
            rows.append((unit, rule, validation, len(test), *area[:3], *shown))
    columns = [
        *("unit", "rule", "validation", "n", "auc", "low", "high"),
        *("accuracy", "sensitivity", "specificity"),
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


def as_metrics(table: pd.DataFrame) -> pd.DataFrame:
    """Return the results of images and of the pooling that was chosen, one a row.

    Parameters
    ----------
    table : DataFrame
        From :func:`levels`.

    Returns
    -------
    DataFrame
        measure, estimate, low, high (NaN but for the area), unit.
    """
    rows = []
    for row in table[table["chosen"]].itertuples():
        rows.append(("AUC", row.auc, row.low, row.high, row.unit))
        for name in ("accuracy", "sensitivity", "specificity"):
            rows.append((name, getattr(row, name), np.nan, np.nan, row.unit))
    return pd.DataFrame(rows, columns=["measure", "estimate", "low", "high", "unit"])


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`levels` as a page shows it.

    Parameters
    ----------
    table : DataFrame
        From :func:`levels`.

    Returns
    -------
    DataFrame
        Unit, Pooled by, Validation AUC, n, Test AUC, Accuracy, Sensitivity, Specificity.
    """
    rows = []
    for row in table.itertuples():
        rule = "not pooled" if row.unit == "image" else row.rule
        rule += " (chosen)" if row.chosen and row.unit != "image" else ""
        area = f"{row.auc:.2f} ({row.low:.2f} to {row.high:.2f})"
        shares = [f"{v:.2f}" for v in (row.accuracy, row.sensitivity, row.specificity)]
        rows.append((row.unit, rule, f"{row.validation:.2f}", row.n, area, *shares))
    columns = [
        *("Unit", "Pooled by", "Validation AUC", "n", "Test AUC"),
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
