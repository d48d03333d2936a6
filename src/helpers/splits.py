"""The same comparison over many random divisions of the people, not over one.

Repeated five-fold cross-validation, grouped by case and stratified by diagnosis: cases are dealt
into five parts, so that each diagnosis is spread over them; one part tests, the next one chooses,
three train; every part tests once, and all of it is repeated. What is trained
is a logistic regression with a penalty, which unlike gradient descent has one answer; its penalty
stands for the stopping rule and is chosen where a stopping rule may be: on the validation part.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from helpers import delong, images, inference, layers

PARTS = 5
#: Lambda per image for features of variance 1, from strong to weak.
PENALTIES = (10.0, 1.0, 0.1, 0.01, 0.001)
#: Greatest difference of age in a matched pair, years; an assumption.
MATCH_YEARS = 3.0

#: What is chosen on the validation part, and for comparison on the test part.
CHOICES = ("network", "network and stopping", "threshold")

AGE_AND_SEX = "Age and sex, no image"
FAT = "True fat fractions"
PIXELS = "32 × 32 pixels, no network"
CHANCE = "Chance: diagnoses shuffled"


@dataclass(frozen=True)
class Scored:
    """Scores of one source over all divisions; each image is tested once a repeat.

    Attributes
    ----------
    label : ndarray of int, (repeats, images)
        What was learnt and tested; shuffled over the cases for :data:`CHANCE`.
    validation, test : ndarray, (repeats, penalties, images)
        Log odds of each image when its part chose, and when it tested.
    """

    label: NDArray[np.int64]
    validation: NDArray[np.float64]
    test: NDArray[np.float64]


def deal(table: pd.DataFrame, cases: pd.DataFrame, *, repeats: int, seed: int) -> NDArray[np.int64]:
    """Deal the cases into parts, again and again, each diagnosis as evenly as it goes.

    Parameters
    ----------
    table : DataFrame
        image_id, case_id, label; from :func:`helpers.training.labelled`.
    cases : DataFrame
        case_id, diagnosis, dystrophinopathy.
    repeats : int
        Divisions.
    seed : int
        Of the dealing.

    Returns
    -------
    ndarray of int, (repeats, images)
        The part of each image, 0 to 4; a case's images are in one part.

    Examples
    --------
    >>> cases = pd.DataFrame({"case_id": list("abcdefghij"), "diagnosis": ["DMD", "FSHD"] * 5,
    ...                       "dystrophinopathy": [1, 0] * 5})
    >>> table = cases.rename(columns={"dystrophinopathy": "label"}).assign(image_id="i")
    >>> [int(n) for n in np.bincount(deal(table, cases, repeats=1, seed=0)[0])]
    [2, 2, 2, 2, 2]
    """
    rng = np.random.default_rng(seed)
    known = cases.drop_duplicates("case_id").set_index("case_id").loc[table["case_id"].unique()]
    dealt = []
    for _ in range(repeats):
        order = known.assign(random=rng.random(len(known)))
        order = order.sort_values(["dystrophinopathy", "diagnosis", "random"], kind="stable")
        part = pd.Series(np.arange(len(order)) % PARTS, index=order.index)
        dealt.append(table["case_id"].map(part).to_numpy())
    return np.array(dealt, dtype=np.int64)


def without_network(
    table: pd.DataFrame, rows: pd.DataFrame, cases: pd.DataFrame, *, folder: Path
) -> dict[str, NDArray[np.float64]]:
    """Return what a network has to be better than: numbers that no network made.

    Parameters
    ----------
    table : DataFrame
        From :func:`helpers.training.labelled`.
    rows : DataFrame
        The same images' rows of ``images.csv``.
    cases : DataFrame
        case_id, sex (F or M), age_years.
    folder : Path
        ``results/<profile>``. True fat fractions are there for a phantom only; they are a
        yardstick that nobody could use, and no model of a patient reads them.

    Returns
    -------
    dict of str to ndarray, (images, features)
        By :data:`AGE_AND_SEX`, :data:`FAT` (where there is a truth) and :data:`PIXELS`.
    """
    people = table[["case_id"]].merge(cases, on="case_id", how="left")
    sources = {AGE_AND_SEX: np.column_stack([people["age_years"], people["sex"] == "M"])}
    truth = folder / "cohort" / "thigh" / "truth" / "fat_fractions.csv"
    if truth.is_file():
        muscles = pd.read_csv(truth, dtype={"case_id": str})
        wide = muscles.pivot_table(
            index=["case_id", "side"], columns="muscle", values="fat_fraction"
        )
        sources[FAT] = wide.reindex(pd.MultiIndex.from_frame(rows[["case_id", "side"]])).to_numpy()
    small = images.crops(rows, folder=folder, size=32)
    sources[PIXELS] = np.stack(small).reshape(len(rows), -1)
    return {name: np.asarray(values, dtype=float) for name, values in sources.items()}


def score(
    sources: dict[str, NDArray], table: pd.DataFrame, part: NDArray, *, seed: int
) -> dict[str, Scored]:
    """Train on every division from every source, and once on shuffled diagnoses.

    Parameters
    ----------
    sources : dict of str to ndarray, (images, features)
        Networks' features and :func:`without_network`. The first one also gives
        :data:`CHANCE`: diagnoses are shuffled over the cases before each division.
    table : DataFrame
        From :func:`helpers.training.labelled`.
    part : ndarray of int, (repeats, images)
        From :func:`deal`.
    seed : int
        Of the shuffles.

    Returns
    -------
    dict of str to Scored
    """
    label = np.tile(table["label"].to_numpy(), (len(part), 1))
    shuffled = _shuffled(table, len(part), seed)
    wanted = {name: (values, label) for name, values in sources.items()}
    wanted[CHANCE] = (next(iter(sources.values())), shuffled)
    # Many small fits: a second thread costs more than it gives.
    with threadpool_limits(1):
        return {name: _scored(x, own, part) for name, (x, own) in wanted.items()}


def chosen(scored: Scored, part: NDArray) -> tuple[NDArray, NDArray]:
    """Return each image's scores with the penalty of the lowest validation loss.

    Parameters
    ----------
    scored : Scored
        From :func:`score`.
    part : ndarray of int, (repeats, images)
        From :func:`deal`.

    Returns
    -------
    validation, test : ndarray, (repeats, images)
        Log odds.
    """
    found = np.empty((2, *part.shape))
    for r, _, tests, chooses in _divisions(part):
        loss = layers.loss(scored.validation[r][:, chooses], scored.label[r, chooses])
        best = int(np.argmin(loss))
        found[0, r, chooses] = scored.validation[r, best, chooses]
        found[1, r, tests] = scored.test[r, best, tests]
    return found[0], found[1]


def areas_by_division(
    scores: dict[str, Scored], table: pd.DataFrame, part: NDArray
) -> pd.DataFrame:
    """Return the area under the ROC curve of every source on every division.

    Parameters
    ----------
    scores : dict of str to Scored
        From :func:`score`.
    table : DataFrame
        From :func:`helpers.training.labelled`.
    part : ndarray of int, (repeats, images)
        From :func:`deal`.

    Returns
    -------
    DataFrame
        model, repeat, part, validation (area over images), image, case (test areas, of images
        and of people by the mean probability of their images).
    """
    rows = []
    for name, scored in scores.items():
        validation, test = chosen(scored, part)
        for r, p, tests, chooses in _divisions(part):
            own, probability = scored.label[r], _probability(test[r, tests])
            people = _by_case(table["case_id"].to_numpy()[tests], own[tests], probability)
            rows.append(
                (
                    *(name, r, p),
                    areas(own[chooses], validation[r, chooses]),
                    areas(own[tests], test[r, tests]),
                    areas(people["label"].to_numpy(), people["probability"].to_numpy()),
                )
            )
    columns = ["model", "repeat", "part", "validation", "image", "case"]
    return pd.DataFrame(rows, columns=columns)


def spread(areas_found: pd.DataFrame) -> pd.DataFrame:
    """Return mean and range of each source's test areas over the divisions.

    Parameters
    ----------
    areas_found : DataFrame
        From :func:`areas_by_division`.

    Returns
    -------
    DataFrame
        model, unit (image or case), mean, low and high (middle 95 % of the divisions, which
        overlap: a spread and no confidence interval), divisions.
    """
    rows = []
    for name, part in areas_found.groupby("model", sort=False):
        for unit in ("image", "case"):
            values = part[unit].dropna()
            rows.append((name, unit, values.mean(), *inference.middle(values), len(values)))
    columns = ["model", "unit", "mean", "low", "high", "divisions"]
    return pd.DataFrame(rows, columns=columns)


def optimism(
    scores: dict[str, Scored], table: pd.DataFrame, part: NDArray, *, networks: list[str]
) -> pd.DataFrame:
    """Return what it is worth to choose on the test set, choice by choice and division by division.

    Parameters
    ----------
    scores : dict of str to Scored
        From :func:`score`.
    table : DataFrame
        From :func:`helpers.training.labelled`.
    part : ndarray of int, (repeats, images)
        From :func:`deal`.
    networks : list of str
        Among which one is chosen.

    Returns
    -------
    DataFrame
        choice, repeat, part, on_validation and on_test: the test result with the choice made on
        the validation part, and made on the test part itself. Choices: the network (area); the
        network and its penalty, which stands for the stopping rule (area); the threshold
        (accuracy, of the network chosen on the validation part). NaN where the choosing or the
        testing part has one diagnosis only: nothing can be chosen there.
    """
    rows = []
    best = {name: chosen(scores[name], part) for name in networks}
    for r, p, tests, chooses in _divisions(part):
        y, z = (table["label"].to_numpy()[own] for own in (chooses, tests))
        if min(len(np.unique(y)), len(np.unique(z))) < 2:
            rows += [(name, r, p, np.nan, np.nan) for name in CHOICES]
            continue
        validation = [areas(y, best[name][0][r, chooses]) for name in networks]
        test = [areas(z, best[name][1][r, tests]) for name in networks]
        any_penalty = max(areas(z, scores[n].test[r][:, tests]).max() for n in networks)
        which = int(np.argmax(validation))
        ours = [best[networks[which]][role][r] for role in (0, 1)]
        threshold = best_threshold(y, ours[0][chooses])
        peeked = best_threshold(z, ours[1][tests])
        right = [np.mean((ours[1][tests] >= cut) == z) for cut in (threshold, peeked)]
        rows += [
            (CHOICES[0], r, p, test[which], max(test)),
            (CHOICES[1], r, p, test[which], any_penalty),
            (CHOICES[2], r, p, *right),
        ]
    return pd.DataFrame(rows, columns=["choice", "repeat", "part", "on_validation", "on_test"])


def worth(found: pd.DataFrame) -> pd.DataFrame:
    """Return the mean optimism of each choice over the divisions.

    Parameters
    ----------
    found : DataFrame
        From :func:`optimism`.

    Returns
    -------
    DataFrame
        choice, on_validation and on_test (means), optimism (mean of the difference), low, high
        (middle 95 % of the divisions), divisions (those in which there was a choice).
    """
    rows = []
    for name, part in found.dropna().groupby("choice", sort=False):
        gain = part["on_test"] - part["on_validation"]
        means = part[["on_validation", "on_test"]].mean()
        rows.append((name, *means, gain.mean(), *inference.middle(gain), len(gain)))
    columns = ["choice", "on_validation", "on_test", "optimism", "low", "high", "divisions"]
    return pd.DataFrame(rows, columns=columns)


def pairs(cases: pd.DataFrame, *, years: float = MATCH_YEARS) -> pd.DataFrame:
    """Pair each person with a dystrophinopathy with a control of the same sex and age.

    As many pairs as possible whose ages differ by at most ``years``, then those with the least
    difference in all (a linear assignment, scipy).

    Parameters
    ----------
    cases : DataFrame
        case_id, dystrophinopathy, sex, age_years.
    years : float
        Greatest difference of age.

    Returns
    -------
    DataFrame
        case, control (case ids), years (difference of age, case less control).

    Examples
    --------
    >>> cases = pd.DataFrame({"case_id": list("abcd"), "dystrophinopathy": [1, 1, 0, 0],
    ...                       "sex": list("MMMF"), "age_years": [10.0, 12.0, 11.5, 10.0]})
    >>> pairs(cases).to_numpy().tolist()
    [['b', 'c', 0.5]]
    """
    cases = cases.drop_duplicates("case_id").dropna(subset=["age_years"])
    positive, control = (cases[cases["dystrophinopathy"] == value] for value in (1, 0))
    years_apart = positive["age_years"].to_numpy()[:, None] - control["age_years"].to_numpy()
    same = positive["sex"].to_numpy()[:, None] == control["sex"].to_numpy()
    allowed = same & (np.abs(years_apart) <= years)
    # A pair that is not allowed costs more than all allowed ones together.
    cost = np.where(allowed, np.abs(years_apart), (years + 1) * (len(cases) + 1))
    chosen_pairs = [
        (i, j) for i, j in zip(*linear_sum_assignment(cost), strict=True) if allowed[i, j]
    ]
    ids = positive["case_id"].to_numpy(), control["case_id"].to_numpy()
    rows = [(ids[0][i], ids[1][j], float(years_apart[i, j])) for i, j in chosen_pairs]
    return pd.DataFrame(rows, columns=["case", "control", "years"])


def pooled(scores: dict[str, Scored], table: pd.DataFrame, part: NDArray) -> pd.DataFrame:
    """Return each source's area over all people, predictions of all divisions pooled.

    Each person's probability is the mean over the repeats, in each of which a model tested them
    that had never seen them. Training sets overlap, which DeLong's interval does not know.

    Parameters
    ----------
    scores : dict of str to Scored
        From :func:`score`; :data:`CHANCE` is left out, as its diagnoses are not the people's.
    table : DataFrame
        From :func:`helpers.training.labelled`.
    part : ndarray of int, (repeats, images)
        From :func:`deal`.

    Returns
    -------
    DataFrame
        model, area, low, high (DeLong, logit scale, by person), people.
    """
    rows = []
    for name, people in _out_of_fold(scores, table, part):
        found = delong.interval(people["label"], people["probability"])
        rows.append((name, *found[:3], len(people)))
    return pd.DataFrame(rows, columns=["model", "area", "low", "high", "people"])


def _out_of_fold(
    scores: dict[str, Scored], table: pd.DataFrame, part: NDArray
) -> Iterator[tuple[str, pd.DataFrame]]:
    for name, scored in scores.items():
        if name != CHANCE:
            probability = _probability(chosen(scored, part)[1]).mean(axis=0)
            yield (
                name,
                _by_case(table["case_id"].to_numpy(), table["label"].to_numpy(), probability),
            )


def matched(
    scores: dict[str, Scored], table: pd.DataFrame, part: NDArray, cases: pd.DataFrame
) -> pd.DataFrame:
    """Return each source's area among people of the same sex and age.

    The predictions of all divisions are pooled as in :func:`pooled`: one test set alone has too
    few pairs.

    Parameters
    ----------
    scores : dict of str to Scored
        From :func:`score`; :data:`CHANCE` is left out, as its diagnoses are not the people's.
    table : DataFrame
        From :func:`helpers.training.labelled`.
    part : ndarray of int, (repeats, images)
        From :func:`deal`.
    cases : DataFrame
        As for :func:`pairs`.

    Returns
    -------
    DataFrame
        model, area, low, high (DeLong, logit scale, by person), people (in the pairs), width,
        reason.
    """
    found = pairs(cases[cases["case_id"].isin(table["case_id"])])
    members = [*found["case"], *found["control"]]
    rows = []
    for name, people in _out_of_fold(scores, table, part):
        own = people.loc[members]
        if len(found) < 2:
            rows.append((name, *[np.nan] * 3, len(own), np.nan, "fewer than two pairs"))
            continue
        area = delong.interval(own["label"], own["probability"])
        width = area.high - area.low
        rows.append((name, *area[:3], len(own), width, ""))
    columns = ["model", "area", "low", "high", "people", "width", "reason"]
    return pd.DataFrame(rows, columns=columns)


def readable(
    spread_found: pd.DataFrame, pooled_found: pd.DataFrame, matched_found: pd.DataFrame
) -> pd.DataFrame:
    """Return :func:`spread`, :func:`pooled` and :func:`matched` as a page shows them.

    Parameters
    ----------
    spread_found, pooled_found, matched_found : DataFrame
        From :func:`spread`, :func:`pooled` and :func:`matched`.

    Returns
    -------
    DataFrame
        Model; Leg images, People; All people, pooled; Matched people, pooled; Their number, Width.
    """
    by = spread_found.set_index(["model", "unit"])
    own, everyone = (found.set_index("model") for found in (matched_found, pooled_found))
    rows = []
    for name in dict.fromkeys(spread_found["model"]):
        both = [_text(by.loc[(name, unit), ["mean", "low", "high"]]) for unit in ("image", "case")]
        all_text, pairs_text, n, width = "not pooled", "not matched", "", ""
        if name in own.index:
            all_text = _text(everyone.loc[name, ["area", "low", "high"]])
            found = own.loc[name]
            pairs_text = found["reason"] or _text(found[["area", "low", "high"]])
            n, width = str(found["people"]), "" if found["reason"] else f"{found['width']:.2f}"
        rows.append((name, *both, all_text, pairs_text, n, width))
    columns = ["Model", "Leg images", "People", "All people, pooled", "Matched people, pooled"]
    return pd.DataFrame(rows, columns=[*columns, "Their number", "Width"])


def readable_worth(table: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`worth` as a page shows it.

    Parameters
    ----------
    table : DataFrame
        From :func:`worth`.

    Returns
    -------
    DataFrame
        What is chosen, Measure, Chosen on validation, Chosen on test, Optimism.
    """
    rows = []
    for row in table.itertuples():
        measure = "accuracy" if row.choice == "threshold" else "AUC"
        gain = f"{row.optimism:+.3f} ({row.low:+.3f} to {row.high:+.3f})"
        rows.append((row.choice, measure, f"{row.on_validation:.3f}", f"{row.on_test:.3f}", gain))
    columns = ["What is chosen", "Measure", "Chosen on validation", "Chosen on test", "Optimism"]
    return pd.DataFrame(rows, columns=columns)


def _text(found: pd.Series) -> str:
    estimate, low, high = found
    return f"{estimate:.2f} ({low:.2f} to {high:.2f})"


def areas(label: NDArray, scores: NDArray) -> NDArray[np.float64]:
    """Return areas under ROC curves along the last axis, ties counting one half.

    Parameters
    ----------
    label : ndarray of 0 and 1, (n,)
        Reference diagnosis.
    scores : ndarray, (..., n)
        Any scores that grow with the chance of a dystrophinopathy.

    Returns
    -------
    ndarray, (...)
        NaN where one class is missing.

    Examples
    --------
    >>> areas(np.array([0, 0, 1, 1]), np.array([[0.1, 0.4, 0.4, 0.8], [4, 3, 2, 1]])).tolist()
    [0.875, 0.0]
    """
    positive = np.asarray(label) == 1
    ones, zeros = positive.sum(), (~positive).sum()
    if not ones or not zeros:
        # A number, not an array of none: pandas drops NaN only as the former.
        return np.full(np.shape(scores)[:-1], np.nan)[()]
    ranks = rankdata(scores, axis=-1)[..., positive].sum(axis=-1)
    return (ranks - ones * (ones + 1) / 2) / (ones * zeros)


def best_threshold(label: NDArray, score: NDArray) -> float:
    """Return the threshold with the highest accuracy, the one nearest 0 among equals.

    Parameters
    ----------
    label : ndarray of 0 and 1, (n,)
        Reference diagnosis.
    score : ndarray, (n,)
        Log odds; called positive when at least the threshold.

    Returns
    -------
    float
        Halfway between two neighbouring scores, or beyond all of them.

    Examples
    --------
    >>> best_threshold(np.array([0, 0, 1, 1]), np.array([-2.0, 1.0, 3.0, 4.0]))
    2.0
    """
    ordered = np.unique(score)
    cuts = np.r_[ordered[0] - 1, (ordered[1:] + ordered[:-1]) / 2, ordered[-1] + 1]
    right = ((score >= cuts[:, None]) == (label == 1)).mean(axis=1)
    best = cuts[right == right.max()]
    return float(best[np.argmin(np.abs(best))])


def _divisions(part: NDArray) -> Iterator[tuple[int, int, NDArray, NDArray]]:
    """Yield repeat, part, who tests and who chooses."""
    for r, own in enumerate(part):
        for p in range(PARTS):
            yield r, p, own == p, own == (p + 1) % PARTS


def _scored(x: NDArray, label: NDArray, part: NDArray) -> Scored:
    found = np.full((2, len(part), len(PENALTIES), len(x)), np.nan)
    for r, _, tests, chooses in _divisions(part):
        trains = ~(tests | chooses)
        both_classes = len(np.unique(label[r, trains])) == 2
        # A training set of one class has no opinion.
        logits = _log_odds(x, label[r], trains) if both_classes else np.zeros(found.shape[2:])
        for role, rows in enumerate((chooses, tests)):
            found[role, r][:, rows] = logits[:, rows]
    return Scored(label, found[0], found[1])


def penalised(x: NDArray, label: NDArray, trains: NDArray, chooses: NDArray) -> NDArray[np.float64]:
    """Return log odds of a logistic regression whose penalty other images choose.

    Parameters
    ----------
    x : ndarray, (images, features)
        Standardised here by the training images.
    label : ndarray of 0 and 1, (images,)
        Diagnosis.
    trains, chooses : ndarray of bool, (images,)
        Those trained on, and those whose loss decides between :data:`PENALTIES`.

    Returns
    -------
    ndarray, (images,)

    Raises
    ------
    ValueError
        When those trained on have one diagnosis only.
    """
    with threadpool_limits(1):
        found = _log_odds(np.asarray(x, dtype=float), label, trains)
    return found[np.argmin(layers.loss(found[:, chooses], label[chooses]))]


def _log_odds(x: NDArray, label: NDArray, trains: NDArray) -> NDArray[np.float64]:
    """Return log odds of all images with each penalty, (penalties, images)."""
    z, found = _coordinates(x, trains), []
    model = LogisticRegression(warm_start=True, max_iter=2000)
    for penalty in PENALTIES:
        model.set_params(C=1 / (penalty * trains.sum())).fit(z[trains], label[trains])
        found.append(z @ model.coef_[0] + model.intercept_[0])
    return np.array(found)


def _coordinates(x: NDArray, trains: NDArray) -> NDArray[np.float64]:
    """Standardise by the training images and turn to the directions that they span.

    A penalised fit has no part outside them, so this changes its cost and not its result.
    """
    z = layers.standardised(x, trains)
    if z.shape[1] <= trains.sum():
        return z
    squares, axes = np.linalg.eigh(z[trains] @ z[trains].T)
    kept = squares > 1e-10 * squares[-1]
    return z @ (z[trains].T @ (axes[:, kept] / np.sqrt(squares[kept])))


def _shuffled(table: pd.DataFrame, repeats: int, seed: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    cases = table.drop_duplicates("case_id")
    place = table["case_id"].map({name: k for k, name in enumerate(cases["case_id"])})
    own = cases["label"].to_numpy()
    return np.array([rng.permutation(own)[place] for _ in range(repeats)])


def _probability(logits: NDArray) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-logits))


def _by_case(case: NDArray, label: NDArray, probability: NDArray) -> pd.DataFrame:
    rows = pd.DataFrame({"case": case, "label": label, "probability": probability})
    return rows.groupby("case").mean()
