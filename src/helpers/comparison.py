"""The paper's Table 1: networks compared, with the published row and what needs no network.

Two rows need no image: calling nobody positive, and age and sex alone. A network has to be read
against them, because those with dystrophinopathy are young and male and the others are not. In a
phantom the true fat fractions bound what its fat can tell; the leg's few pixels say what needs no
network; diagnoses shuffled before training say what chance looks like.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from helpers import accuracy, claims, inference, splits

#: The columns of Table 1 in its order.
MEASURES = {
    "accuracy": "Accuracy",
    "specificity": "Specificity",
    "sensitivity": "Sensitivity",
    "auc": "AUC",
}
#: Measures whose range over the seeds is shown.
SEED_RANGES = {"auc": "AUC"} | {name: MEASURES[name] for name in MEASURES if name != "auc"}
_ENDS = ("lowest", "highest")
#: Claims that hold each network's printed row, in the order of :data:`MEASURES`.
PUBLISHED = {
    "VGG19": ("P1-21", "P1-22", "P1-23", "P1-24"),
    "ResNet50": ("P1-17", "P1-19", "P1-18", "P1-20"),
    "DenseNet201": ("P1-25", "P1-26", "P1-27", "P1-28"),
    "DenseNet121": ("P1-29", "P1-30", "P1-31", "P1-32"),
    "InceptionV3": ("P1-33", "P1-34", "P1-35", "P1-36"),
}
AGE_AND_SEX = splits.AGE_AND_SEX
NOBODY = "Nobody called positive"
#: Short names of the rows, for the keys of numbers.
KEYS = {name: name.lower() for name in PUBLISHED} | {AGE_AND_SEX: "age_and_sex", NOBODY: "nobody"}
KEYS |= {splits.FAT: "fat", splits.PIXELS: "pixels", splits.CHANCE: "shuffled"}


def key(name: str) -> str:
    """Return the short name of a row, for the keys of numbers.

    Examples
    --------
    >>> key("VGG19"), key(AGE_AND_SEX), key("MobileNetV2")
    ('vgg19', 'age_and_sex', 'mobilenetv2')
    """
    return KEYS.get(name, name.lower())


def without_network(
    sources: dict[str, NDArray], table: pd.DataFrame, *, weights: str, seed: int
) -> dict[str, pd.DataFrame]:
    """Return predictions from what no trained network made, and the empty rule.

    Logistic regression as over the divisions (:func:`helpers.splits.score`): standardised,
    trained on the training set's images, so that a case counts as often as for the networks,
    with the penalty of the lowest loss on the validation set's.

    Parameters
    ----------
    sources : dict of str to ndarray, (images, features)
        From :func:`helpers.splits.without_network`. Under :data:`helpers.splits.CHANCE` a
        network's features: diagnoses of the training and validation cases are shuffled before
        training on them.
    table : DataFrame
        image_id, case_id, label, split, from :func:`helpers.training.labelled`.
    weights : str
        Kind of that network's weights.
    seed : int
        Of the shuffle.

    Returns
    -------
    dict of str to DataFrame
        :data:`NOBODY` and the sources, in the columns of ``predictions/*.csv``, with the true
        label.
    """
    learnt = table["label"].to_numpy().copy()
    shuffled = _shuffled(table, np.random.default_rng(seed))
    roles = [(table["split"] == name).to_numpy() for name in ("training", "validation")]
    start = table.rename(columns={"image_id": "id"})[["id", "label", "split"]]
    about = {"unit": "image", "model": NOBODY, "weights": "none", "seed": seed}
    found = {NOBODY: start.assign(probability=0.0, **about)}
    for name, values in sources.items():
        by_chance = name == splits.CHANCE
        log_odds = splits.penalised(values, shuffled if by_chance else learnt, *roles)
        about |= {"model": name, "weights": weights if by_chance else "none"}
        found[name] = start.assign(probability=expit(log_odds), **about)
    return found


def measured(
    predictions: dict[str, pd.DataFrame],
    images: pd.DataFrame,
    cases: pd.DataFrame,
    *,
    evidence: str,
    seed: int,
) -> pd.DataFrame:
    """Return Table 1's measures on the test images, with intervals from resampled cases.

    Parameters
    ----------
    predictions : dict of str to DataFrame
        By name of the model; of several seeds the lowest counts, see
        :func:`helpers.accuracy.scored_images`.
    images, cases : DataFrame
        ``images.csv`` and ``cases.csv``.
    evidence : str
        Evidence label of these rows.
    seed : int
        Of the resampling.

    Returns
    -------
    DataFrame
        model, evidence, weights, measure, estimate, low, high, method, n, reason.
    """
    parts = []
    for name, rows in predictions.items():
        test = accuracy.scored_images(rows, images, cases)
        part = inference.by_case(
            test["label"],
            test["case_id"],
            call=test["call"],
            probability=test["probability"],
            seed=seed,
        )
        about = {"model": name, "evidence": evidence, "weights": rows["weights"].iloc[0]}
        parts.append(part[part["measure"].isin(MEASURES)].assign(**about))
    return pd.concat(parts, ignore_index=True)


def beyond_age_and_sex(
    predictions: dict[str, pd.DataFrame],
    name: str,
    images: pd.DataFrame,
    cases: pd.DataFrame,
    *,
    seed: int,
) -> tuple[inference.Interval, str]:
    """Return how much larger a network's area is than that of age and sex, and what it means.

    Parameters
    ----------
    predictions : dict of str to DataFrame
        Networks and :func:`without_network`.
    name : str
        The network.
    images, cases : DataFrame
        ``images.csv`` and ``cases.csv``.
    seed : int
        Of the resampling.

    Returns
    -------
    Interval, str
        The paired difference, and the words of the analysis plan's second rule.
    """
    scored = [
        accuracy.scored_images(predictions[model], images, cases).set_index("image_id")
        for model in (name, AGE_AND_SEX)
    ]
    test, other = scored[0], scored[1]["probability"].reindex(scored[0].index)
    found = inference.auc_difference(
        test["label"], test["probability"], other, test["case_id"], seed=seed
    )
    if found.low > 0:
        return found, "it does better than age and sex alone"
    return found, (
        "it is not shown to do better than age and sex alone, so it is no evidence that the "
        "network reads muscle"
    )


def published(names: list[str]) -> pd.DataFrame:
    """Return the printed rows of Table 1.

    Parameters
    ----------
    names : list of str
        Networks; those that the paper does not have are left out.

    Returns
    -------
    DataFrame
        As :func:`measured`; the AUC is printed without an interval.

    Examples
    --------
    >>> published(["ResNet50"])[["measure", "estimate", "low"]].to_numpy().tolist()[1]
    ['specificity', 0.92, 0.89]
    """
    rows = []
    for name in (n for n in names if n in PUBLISHED):
        for measure, claim_id in zip(MEASURES, PUBLISHED[name], strict=True):
            claim = claims.get(claim_id)
            rows.append((name, measure, claim.value, claim.low, claim.high))
    table = pd.DataFrame(rows, columns=["model", "measure", "estimate", "low", "high"])
    return table.assign(evidence="published", weights="imagenet", method="as printed")


def table_1(printed: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Return Table 1 as a page shows it: each network as printed and as measured here.

    Parameters
    ----------
    printed, found : DataFrame
        From :func:`published` and :func:`measured`.

    Returns
    -------
    DataFrame
        Model, Evidence, Weights and one column a measure.
    """
    rows = pd.concat([printed, found], ignore_index=True)
    order = list(dict.fromkeys(found["model"]))
    rows["text"] = [_estimate(row) for row in rows.itertuples()]
    wide = rows.pivot_table(
        index=["model", "evidence", "weights"], columns="measure", values="text", aggfunc="first"
    ).reset_index()
    wide["place"] = wide["model"].map(order.index) + 0.5 * (wide["evidence"] != "published")
    wide = wide.sort_values("place")[["model", "evidence", "weights", *MEASURES]]
    return wide.rename(columns={**MEASURES} | {c: c.title() for c in wide.columns[:3]})


def curves(
    predictions: dict[str, pd.DataFrame], images: pd.DataFrame, cases: pd.DataFrame
) -> pd.DataFrame:
    """Return the corners of every model's ROC curve on the test images.

    Parameters
    ----------
    predictions, images, cases
        As for :func:`measured`.

    Returns
    -------
    DataFrame
        model, threshold, false_positive_rate, sensitivity.
    """
    parts = []
    for name, rows in predictions.items():
        test = accuracy.scored_images(rows, images, cases)
        parts.append(accuracy.roc(test["label"], test["probability"]).assign(model=name))
    return pd.concat(parts, ignore_index=True)


def choice(predictions: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return each network's AUC where one may choose by it, and where one may not.

    Parameters
    ----------
    predictions : dict of str to DataFrame
        Of networks trained with the same seeds.

    Returns
    -------
    DataFrame
        model, validation and test (AUC of the lowest seed), ``<measure>_lowest`` and
        ``<measure>_highest`` (on the test set over the seeds, of auc, accuracy, sensitivity and
        specificity at one half), best_by_validation and best_by_test (True in one row each).
    """
    rows = []
    for name, part in predictions.items():
        validation, test = (accuracy.by_seed(part, split=s) for s in ("validation", "test"))
        first = test["seed"].idxmin()
        own = validation["auc"][first], test["auc"][first]
        ends = test[list(SEED_RANGES)].agg(["min", "max"])
        rows.append((name, *own, *ends.to_numpy().T.ravel()))
    ends = [f"{measure}_{end}" for measure in SEED_RANGES for end in _ENDS]
    table = pd.DataFrame(rows, columns=["model", "validation", "test", *ends])
    for split in ("validation", "test"):
        table[f"best_by_{split}"] = np.arange(len(table)) == table[split].argmax()
    return table


def readable_choice(table: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`choice` as a page shows it.

    Parameters
    ----------
    table : DataFrame
        From :func:`choice`.

    Returns
    -------
    DataFrame
        Network, Validation AUC, Test AUC, Chosen by, and over the seeds on the test set: AUC,
        Accuracy, Sensitivity, Specificity.
    """
    rows = []
    for row in table.itertuples():
        by = [s for s in ("validation", "test") if getattr(row, f"best_by_{s}")]
        own = f"{row.validation:.2f}", f"{row.test:.2f}"
        spread = [_ends(*(getattr(row, f"{m}_{e}") for e in _ENDS)) for m in SEED_RANGES]
        rows.append((row.model, *own, " and ".join(by), *spread))
    columns = ["Network", "Validation AUC", "Test AUC", "Chosen by"]
    columns += [f"{name}, all seeds" for name in SEED_RANGES.values()]
    return pd.DataFrame(rows, columns=columns)


def summary(table: pd.DataFrame) -> dict[str, float]:
    """Return the test AUCs that prose quotes about all networks together.

    Parameters
    ----------
    table : DataFrame
        From :func:`choice`.

    Returns
    -------
    dict of str to float
        lowest and highest of the networks; chosen_by_validation and chosen_by_test.
    """
    return {
        "lowest": table["test"].min(),
        "highest": table["test"].max(),
        "chosen_by_validation": table.loc[table["best_by_validation"], "test"].item(),
        "chosen_by_test": table.loc[table["best_by_test"], "test"].item(),
    }


def numbers(
    measured_rows: pd.DataFrame,
    pooled: pd.DataFrame,
    matched: pd.DataFrame,
    spread: pd.DataFrame,
    worth: pd.DataFrame,
    *,
    weights: dict[str, str | None],
) -> Iterator[tuple[str, tuple, dict]]:
    """Yield what prose may quote of the tables, with what each number rests on.

    Parameters
    ----------
    measured_rows : DataFrame
        From :func:`measured`.
    pooled, matched, spread, worth : DataFrame
        From :mod:`helpers.splits`.
    weights : dict of str to str or None
        Of the models in ``pooled``, ``matched`` and ``spread``; those not named have none.

    Yields
    ------
    str, tuple of float, dict
        Key without the notebook; value and limits; what :meth:`helpers.record.Run.number` takes.
    """
    for row in measured_rows.itertuples():
        about = {"method": row.method, "unit": "leg image", "n": row.n, "weights": row.weights}
        yield f"{key(row.model)}.{row.measure}", (row.estimate, row.low, row.high), about
    for name, found in (("pooled", pooled), ("matched", matched)):
        for row in found.itertuples():
            about = {"method": "DeLong, logit scale", "unit": "person", "n": row.people}
            about["weights"] = weights.get(row.model, "")
            yield f"{name}.{key(row.model)}.auc", (row.area, row.low, row.high), about
    divisions = {"interval": "middle 95 % of divisions"}
    for row in spread[spread["unit"] == "case"].itertuples():
        about = {"n": row.divisions, "unit": "person", "weights": weights.get(row.model, "")}
        yield f"divisions.{key(row.model)}.auc", (row.mean, row.low, row.high), about | divisions
    for row in worth.itertuples():
        values = row.optimism, row.low, row.high
        yield f"optimism.{row.choice.replace(' ', '_')}", values, divisions | {"digits": 3}


def _shuffled(table: pd.DataFrame, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return labels shuffled over the cases of each split, so that every split keeps its mix."""
    found = table["label"].copy()
    for _, part in table.groupby("split", sort=False):
        own = part.drop_duplicates("case_id").set_index("case_id")["label"]
        found[part.index] = part["case_id"].map(
            dict(zip(own.index, rng.permutation(own), strict=True))
        )
    return found.to_numpy(dtype=np.int64)


def _ends(low: float, high: float) -> str:
    return f"{low:.2f} to {high:.2f}" if np.isfinite(low) else "undefined"


def _estimate(row) -> str:
    if not np.isfinite(row.estimate):
        return "undefined"
    text = f"{row.estimate:.2f}"
    limits = row.low is not None and np.isfinite(row.low)
    return f"{text} ({row.low:.2f} to {row.high:.2f})" if limits else text
