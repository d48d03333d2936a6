"""Referring uncertain subjects: who is referred, and what accuracy then means.

The publication says that 3.5 % of the subjects were referred for uncertainty, not by which
rule. Ours, an assumption: refer when the probability p of dystonia lies within delta of one half.
"""

from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from helpers import claims, inference

FORMS = {"LD": "laryngeal", "CD": "cervical", "BSP": "blepharospasm", "control": "controls"}
#: Claims with the accuracy of each form.
FORM_CLAIMS = {"LD": "D1-10l", "CD": "D1-10c", "BSP": "D1-10b"}
#: What the notebook prints beside each group.
PRINTED = FORM_CLAIMS | {"all patients": "D1-10"}
#: How numbers name the models; all are areas under the ROC curve.
MODELS = {
    "DystoniaNet": "auc",
    "PCA + logistic regression": "shallow_auc",
    "regions + LDA": "lda_auc",
    "regions + linear SVM": "svm_auc",
    "regions + small MLP": "mlp_auc",
    "voxels + linear SVM": "voxel_svm_auc",
    "six named regions + LDA": "named_auc",
    "true region means (yardstick)": "yardstick_auc",
    "DystoniaNet, labels shuffled": "shuffled_auc",
}
#: Sets that neither training nor tuning sees.
HELD_OUT = ("validation", "held_out_controls")


def refer(probability: ArrayLike, *, delta: float) -> NDArray[np.bool_]:
    """Return who is referred to a clinician instead of being decided.

    Parameters
    ----------
    probability : array-like, shape (n,)
        Of dystonia.
    delta : float
        Half width of the uncertain band around one half.

    Returns
    -------
    ndarray of bool, shape (n,)

    Examples
    --------
    >>> refer([0.1, 0.48, 0.6], delta=0.05).tolist()
    [False, True, False]
    """
    return np.abs(np.asarray(probability, dtype=float) - 0.5) < delta


def choose_delta(probability: ArrayLike, *, target: float) -> float:
    """Return the band that refers about a target share of the subjects.

    To be chosen on the optimisation set, never on the subjects that are reported.

    Parameters
    ----------
    probability : array-like, shape (n,)
        Of dystonia, in the optimisation set.
    target : float
        Share to refer, 0 to below 1.

    Returns
    -------
    float
        Half way between the last distance from one half that is referred and the next; 0, which
        refers nobody, when the target is less than half a subject.

    Raises
    ------
    ValueError
        Without subjects, or with a target outside 0 to 1.

    Examples
    --------
    >>> round(choose_delta([0.52, 0.9, 0.1, 0.4], target=0.25), 3)
    0.06
    >>> choose_delta([0.52, 0.9, 0.1, 0.4], target=0.1)
    0.0
    """
    distance = np.sort(np.abs(np.asarray(probability, dtype=float) - 0.5))
    if not 0 <= target < 1 or distance.size == 0:
        raise ValueError(
            f"A target of {target} of {distance.size} subjects cannot be referred; expected a "
            "share from 0 to below 1 and at least one subject in the optimisation set."
        )
    count = round(target * distance.size)
    if count == 0:
        return 0.0
    following = distance[count] if count < distance.size else 0.5
    return float((distance[count - 1] + following) / 2)


def by_form(predictions: pd.DataFrame, *, delta: float) -> pd.DataFrame:
    """Return right decisions in each group, under both denominators.

    Parameters
    ----------
    predictions : DataFrame
        ``group, label, probability`` of the subjects to report.
    delta : float
        From :func:`choose_delta`.

    Returns
    -------
    DataFrame
        One row a group, then ``all patients``; of own cohorts the groups they have, and
        ``control``. ``subjects, referred, decided, correct``;
        ``estimate, low, high``: correct / decided with Wilson's interval, the published way;
        ``estimate_all, low_all, high_all``: correct / subjects, referrals not diagnosed. For
        patients these are sensitivities, for controls specificities; NaN without subjects.

    Examples
    --------
    >>> table = pd.DataFrame({"group": ["LD", "LD", "control"], "label": [1, 1, 0],
    ...                       "probability": [0.9, 0.51, 0.2]})
    >>> by_form(table, delta=0.05)[["group", "decided", "correct"]].to_numpy().tolist()[::3]
    [['LD', 1, 1], ['control', 1, 1]]
    """
    patients = predictions[predictions["label"] == 1]
    others = [group for group in dict.fromkeys(predictions["group"]) if group not in FORMS]
    groups = [*FORMS, *others] if set(predictions["group"]) & set(FORM_CLAIMS) else others
    groups = groups if "control" in groups else [*groups, "control"]
    parts = {group: predictions[predictions["group"] == group] for group in groups}
    rows = [
        {"group": group, **_decisions(part, delta)}
        for group, part in (parts | {"all patients": patients}).items()
    ]
    return pd.DataFrame(rows)


def report(predictions: pd.DataFrame, *, target: float) -> pd.DataFrame:
    """Return right decisions by group for each effect, with the band from the optimisation set.

    Parameters
    ----------
    predictions : DataFrame
        Of one model and one seed: ``split, effect, group, label, probability``.
    target : float
        Share of the optimisation set to refer.

    Returns
    -------
    DataFrame
        ``effect, delta`` and the columns of :func:`by_form`, over the held-out subjects.
    """
    parts = []
    for effect, part in predictions.groupby("effect", sort=False):
        tuning = part.loc[part["split"] == "optimisation", "probability"]
        delta = choose_delta(tuning, target=target)
        table = by_form(part[part["split"].isin(HELD_OUT)], delta=delta)
        parts.append(table.assign(effect=effect, delta=delta))
    return pd.concat(parts, ignore_index=True)


def coverage(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy against the share of subjects decided, the surest first.

    Parameters
    ----------
    predictions : DataFrame
        ``label, probability``.

    Returns
    -------
    DataFrame
        ``decided`` (share), ``accuracy``, ``delta``: one row per possible number of decisions.

    Examples
    --------
    >>> table = pd.DataFrame({"label": [1, 1], "probability": [0.9, 0.4]})
    >>> coverage(table)["accuracy"].tolist()
    [1.0, 0.5]
    """
    distance = np.abs(predictions["probability"].to_numpy(float) - 0.5)
    order = np.argsort(-distance, kind="stable")
    right = _right(predictions)[order]
    count = np.arange(1, len(right) + 1)
    return pd.DataFrame(
        {
            "decided": count / len(right),
            "accuracy": np.cumsum(right) / count,
            "delta": distance[order],
        }
    )


def coverage_curves(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`coverage` of the held-out patients alone and with controls, by effect.

    Parameters
    ----------
    predictions : DataFrame
        Of one model and one seed: ``split, effect, label, probability``.

    Returns
    -------
    DataFrame
        ``effect, subjects`` and the columns of :func:`coverage`. Without held-out controls the
        curve ``with controls`` is absent.
    """
    held_out = predictions[predictions["split"].isin(HELD_OUT)]
    parts = []
    for effect, part in held_out.groupby("effect", sort=False):
        patients = part[part["label"] == 1]
        parts.append(coverage(patients).assign(effect=effect, subjects="patients only"))
        if len(patients) < len(part):
            parts.append(coverage(part).assign(effect=effect, subjects="with controls"))
    return pd.concat(parts, ignore_index=True)


def areas(predictions: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Return the area under the ROC curve of every model, with the interval of resampled subjects.

    Parameters
    ----------
    predictions : DataFrame
        ``id, label, probability, model, effect, seed`` of held-out subjects.
    seed : int
        Seed of the resampling; all models see the same draws.

    Returns
    -------
    DataFrame
        ``model, effect, seed, estimate, low, high, method, n``; NaN where the subjects are all
        patients or all controls, as in the publication's validation set.
    """
    rows = []
    for keys, part in predictions.groupby(["model", "effect", "seed"], sort=False):
        if part["label"].nunique() < 2:
            row = {"estimate": np.nan, "low": np.nan, "high": np.nan, "method": "one class only"}
        else:
            scores = {"probability": part["probability"], "seed": seed, "unit": "subject"}
            table = inference.by_case(part["label"], part["id"], **scores)
            row = table.iloc[0][["estimate", "low", "high", "method"]].to_dict()
        rows.append(dict(zip(("model", "effect", "seed"), keys, strict=True)) | row)
    return pd.DataFrame(rows).assign(n=predictions["id"].nunique())


def headline(table: pd.DataFrame, models: pd.DataFrame) -> pd.DataFrame:
    """Return the numbers that prose quotes, for the first series and the positive control.

    Parameters
    ----------
    table : DataFrame
        From :func:`report`.
    models : DataFrame
        From :func:`areas`.

    Returns
    -------
    DataFrame
        ``key, estimate, low, high, method, n, percent``; areas are those of the first seed,
        ``lowest`` and ``highest`` over all seeds, ``referred`` the share of the held-out people
        in the band. Where there is no positive control, as with own scans, its rows are NaN.
    """
    quoted = {"all patients": "sensitivity", "control": "specificity"}
    shares = table[table["group"].isin(quoted)].assign(method="wilson", n=table["decided"])
    shares["name"] = shares["group"].map(quoted)
    first = models.drop_duplicates(["model", "effect"]).assign(name=models["model"].map(MODELS))
    network = models[models["model"] == "DystoniaNet"].groupby("effect")["estimate"]
    spread = network.agg(lowest="min", highest="max").melt(
        ignore_index=False, var_name="name", value_name="estimate"
    )
    spread = spread.reset_index().assign(n=models["n"].max(), method="over seeds")
    rows = pd.concat([shares, _referred(table), first, spread])
    series = dict(zip(dict.fromkeys(table["effect"]), ("main", "exaggerated"), strict=False))
    rows["key"] = rows["effect"].map(series) + "." + rows["name"]
    names = ["sensitivity", "specificity", "referred", *MODELS.values(), "lowest", "highest"]
    wanted = [f"{key}.{name}" for key, name in product(("main", "exaggerated"), names)]
    columns = ["estimate", "low", "high", "method", "n"]
    found = rows.dropna(subset="key").set_index("key").reindex(wanted)[columns].reset_index()
    found["percent"] = found["key"].str.endswith(("ity", "referred"))
    return found.fillna({"method": "not measured", "n": 0})


def verdicts(models: pd.DataFrame) -> dict[str, str]:
    """Return in words whether the network's areas exclude chance, by the analysis plan's rule.

    Parameters
    ----------
    models : DataFrame
        From :func:`areas`; the first seed counts.

    Returns
    -------
    dict of str to str
        By ``main.auc.verdict`` and ``exaggerated.auc.verdict``; see
        :func:`helpers.inference.against_chance`.

    Examples
    --------
    >>> table = pd.DataFrame({"model": "DystoniaNet", "effect": ["a", "b"], "low": [0.4, 0.6],
    ...                       "high": [0.7, 0.8]})
    >>> list(verdicts(table))
    ['main.auc.verdict', 'exaggerated.auc.verdict']
    """
    found = {}
    network = models[models["model"] == "DystoniaNet"].drop_duplicates("effect").to_dict("records")
    for position, key in enumerate(("main", "exaggerated")):
        row = network[position] if position < len(network) else {"low": np.nan, "high": np.nan}
        found[f"{key}.auc.verdict"] = inference.against_chance(row["low"], row["high"])
    return found


def published_readings() -> pd.DataFrame:
    """Return the published accuracy under both denominators, from the published counts.

    Returns
    -------
    DataFrame
        ``reading, correct, subjects, estimate, low, high``; Wilson's intervals.

    Examples
    --------
    >>> published_readings()[["correct", "subjects"]].to_numpy().tolist()
    [[164, 166], [164, 172]]
    >>> published_readings()["estimate"].round(3).tolist()
    [0.988, 0.953]
    """
    subjects, referred = int(claims.get("D1-06").value), int(claims.get("D1-11").value)
    decided = subjects - referred
    correct = round(claims.get("D1-10").value * decided)
    readings = (("referrals left out", decided), ("referrals not diagnosed", subjects))
    rows = [(name, correct, n, *inference.proportion(correct, n)[:3]) for name, n in readings]
    columns = ["reading", "correct", "subjects", "estimate", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def published_point() -> tuple[float, float]:
    """Return the published share of patients decided and its accuracy.

    Examples
    --------
    >>> [round(value, 3) for value in published_point()]
    [0.965, 0.988]
    """
    decided, everyone = published_readings()["subjects"]
    return decided / everyone, claims.get("D1-10").value


def consistent_splits() -> pd.DataFrame:
    """Return every way to share referrals and errors over the forms that fits what is printed.

    The three printed accuracies, rounded to 0.1 %, must follow from whole numbers of subjects,
    with the printed number of referrals left out and two errors in all.

    Returns
    -------
    DataFrame
        ``referred_LD, referred_CD, referred_BSP, wrong_LD, wrong_CD, wrong_BSP``.

    Examples
    --------
    >>> table = consistent_splits()
    >>> len(table), sorted(set(table["referred_LD"]))
    (9, [2, 3, 4])
    """
    subjects = {"LD": 59, "CD": 59, "BSP": 54}
    referred = int(claims.get("D1-11").value)
    printed = [claims.get(claim).value for claim in FORM_CLAIMS.values()]
    rows = []
    for out in product(range(referred + 1), repeat=3):
        for wrong in product(range(3), repeat=3):
            decided = [n - r for n, r in zip(subjects.values(), out, strict=True)]
            shares = [round(1 - w / n, 3) for w, n in zip(wrong, decided, strict=True)]
            if sum(out) == referred and sum(wrong) == 2 and shares == printed:
                rows.append((*out, *wrong))
    names = [f"{what}_{form}" for what in ("referred", "wrong") for form in subjects]
    return pd.DataFrame(rows, columns=names)


def splits_by_form() -> pd.DataFrame:
    """Return, for each way of :func:`consistent_splits`, the accuracy by form with its interval.

    Returns
    -------
    DataFrame
        Three rows a way: ``way`` (from 1), ``form, referred, decided, correct, estimate, low,
        high`` (Wilson).

    Examples
    --------
    >>> table = splits_by_form()
    >>> table.loc[:2, ["form", "referred", "decided", "correct"]].to_numpy().tolist()
    [['LD', 2, 57, 56], ['CD', 2, 57, 57], ['BSP', 2, 52, 51]]
    >>> table.groupby("form", sort=False)["low"].min().round(3).tolist()
    [0.904, 0.935, 0.899]
    """
    rows = []
    for way, row in enumerate(consistent_splits().to_dict("records"), start=1):
        for form, claim in (("LD", "D2-01l"), ("CD", "D1-03c"), ("BSP", "D1-03b")):
            out, people = row[f"referred_{form}"], int(claims.get(claim).value)
            decided, correct = people - out, people - out - row[f"wrong_{form}"]
            found = inference.proportion(correct, decided)._asdict()
            about = {"way": way, "form": form, "referred": out, "decided": decided}
            rows.append(about | {"correct": correct} | found)
    return pd.DataFrame(rows).drop(columns="method")


def _right(predictions: pd.DataFrame) -> NDArray[np.bool_]:
    called = predictions["probability"].to_numpy(float) >= 0.5
    return called == (predictions["label"].to_numpy() == 1)


def _referred(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for effect, part in table[table["group"] != "all patients"].groupby("effect", sort=False):
        found = inference.proportion(part["referred"].sum(), part["subjects"].sum())
        about = {"effect": effect, "name": "referred", "n": part["subjects"].sum()}
        rows.append(about | found._asdict())
    return pd.DataFrame(rows)


def _decisions(part: pd.DataFrame, delta: float) -> dict:
    referred = refer(part["probability"], delta=delta)
    correct = int((_right(part) & ~referred).sum())
    decided, n = int((~referred).sum()), len(part)
    way, other = inference.proportion(correct, decided), inference.proportion(correct, n)
    return {
        "subjects": n,
        "referred": n - decided,
        "decided": decided,
        "correct": correct,
        "estimate": way.estimate,
        "low": way.low,
        "high": way.high,
        "estimate_all": other.estimate,
        "low_all": other.low,
        "high_all": other.high,
    }
