"""Repeated divisions of the people: nobody on both sides, what peeking is worth, matched pairs."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers import accuracy, splits


@pytest.fixture
def cohort():
    """Return 60 cases of two images; positives are young men, as in the paper."""
    rng = np.random.default_rng(0)
    label = np.tile([1, 0, 0], 20)
    cases = pd.DataFrame(
        {
            "case_id": [f"c{n:02d}" for n in range(60)],
            "dystrophinopathy": label,
            "diagnosis": np.where(label == 1, "DMD", np.tile(["FSHD", "PM"], 30)),
            "sex": np.where(label == 1, "M", rng.choice(["F", "M"], 60, p=[0.3, 0.7])),
            "age_years": np.where(label == 1, 15.0, 25.0) + rng.normal(0, 6, 60),
        }
    )
    table = pd.concat([cases, cases]).rename(columns={"dystrophinopathy": "label"})
    table = table.sort_values("case_id", kind="stable").reset_index(drop=True)
    table["image_id"] = [f"i{k}" for k in range(120)]
    return table[["image_id", "case_id", "label"]], cases


def sources(table, cases, *, noise=1.0, seed=1):
    rng = np.random.default_rng(seed)
    people = table[["case_id"]].merge(cases, on="case_id")
    weak = table["label"].to_numpy()[:, None] + rng.normal(0, noise, (len(table), 300))
    weak[:, 5:] = rng.normal(size=(len(table), 295))
    age = np.column_stack([people["age_years"], people["sex"] == "M"]).astype(float)
    return {"VGG19": weak, splits.AGE_AND_SEX: age}


def test_people_are_in_one_part_and_tested_once_a_repeat(cohort):
    table, cases = cohort
    part = splits.deal(table, cases, repeats=3, seed=1)
    assert part.shape == (3, 120) and set(part.ravel()) == set(range(splits.PARTS))
    for own in part:
        assert pd.Series(own).groupby(table["case_id"]).nunique().eq(1).all()
        for name in ("DMD", "FSHD", "PM"):
            members = table["case_id"].isin(cases.loc[cases["diagnosis"] == name, "case_id"])
            counts = np.bincount(own[members], minlength=splits.PARTS)
            assert np.ptp(counts) <= 2, "as even as cases of two images can be dealt"
    assert not np.array_equal(part[0], part[1])
    assert np.array_equal(part, splits.deal(table, cases, repeats=3, seed=1))
    assert not np.array_equal(part, splits.deal(table, cases, repeats=3, seed=2))


def test_scores_are_those_of_scikit_learn_trained_on_the_other_parts(cohort):
    table, cases = cohort
    part = splits.deal(table, cases, repeats=1, seed=1)
    x = sources(table, cases)["VGG19"]
    found = splits.score({"VGG19": x}, table, part, seed=0)["VGG19"]
    for p, k in itertools.product((0, 3), (1, 3)):
        tests, chooses = part[0] == p, part[0] == (p + 1) % 5
        trains = ~(tests | chooses)
        strength = 1 / (splits.PENALTIES[k] * trains.sum())
        fit = LogisticRegression(C=strength, tol=1e-9, max_iter=5000)
        model = make_pipeline(StandardScaler(), fit)
        model.fit(x[trains], table["label"][trains])
        for role, rows in ((found.test, tests), (found.validation, chooses)):
            assert np.allclose(role[0, k, rows], model.decision_function(x[rows]), atol=3e-2)
    assert np.isfinite(found.test).all() and np.isfinite(found.validation).all()


def test_two_runs_give_identical_scores(cohort):
    table, cases = cohort
    part = splits.deal(table, cases, repeats=1, seed=1)
    first, second = (splits.score(sources(table, cases), table, part, seed=3) for _ in range(2))
    for name in first:
        assert np.array_equal(first[name].test, second[name].test)


def test_shuffled_diagnoses_give_chance_and_stay_with_their_case(cohort):
    table, cases = cohort
    part = splits.deal(table, cases, repeats=8, seed=1)
    scores = splits.score(sources(table, cases, noise=0.2), table, part, seed=0)
    label = scores[splits.CHANCE].label
    assert (label.sum(axis=1) == table["label"].sum()).all()
    for own in label:
        assert pd.Series(own).groupby(table["case_id"]).nunique().eq(1).all()
    found = splits.spread(splits.areas_by_division(scores, table, part))
    mean = found.set_index(["model", "unit"])["mean"]
    assert abs(mean[splits.CHANCE, "image"] - 0.5) < 0.1
    assert mean["VGG19", "image"] > 0.95 and mean["VGG19", "case"] > 0.95


def test_one_class_in_training_is_no_opinion():
    table = pd.DataFrame({"case_id": list("abcde"), "label": [1, 0, 0, 0, 0]})
    part = np.array([[0, 1, 2, 3, 4]])
    x = {"VGG19": np.arange(5.0)[:, None]}
    found = splits.score(x, table, part, seed=0)["VGG19"]
    assert found.test[0, :, 0].tolist() == [0.0] * len(splits.PENALTIES)


def test_choosing_on_the_test_set_never_looks_worse(cohort):
    table, cases = cohort
    part = splits.deal(table, cases, repeats=4, seed=1)
    several = {f"n{k}": sources(table, cases, noise=4, seed=k)["VGG19"] for k in range(4)}
    scores = splits.score(several, table, part, seed=0)
    found = splits.optimism(scores, table, part, networks=list(several))
    assert (found["on_test"] >= found["on_validation"] - 1e-12).all()
    worth = splits.worth(found).set_index("choice")
    assert worth["optimism"]["network"] > 0.01, "four equal networks: the best of four is luck"
    assert worth["optimism"]["network and stopping"] >= worth["optimism"]["network"]
    assert (worth["divisions"] == 20).all()
    alone = splits.optimism(scores, table, part, networks=["n0"])
    same = alone[alone["choice"] == "network"]
    assert np.allclose(same["on_test"], same["on_validation"]), "one network: nothing to choose"


def test_divisions_in_which_nothing_can_be_chosen_are_left_out(cohort):
    table, cases = cohort
    part = splits.deal(table, cases, repeats=1, seed=1)
    # No positive in the first part: it can neither test nor choose.
    moved = part.copy()
    moved[0, (part[0] == 0) & (table["label"] == 1)] = 2
    scores = splits.score(sources(table, cases, noise=4), table, moved, seed=0)
    found = splits.optimism(scores, table, moved, networks=["VGG19", splits.AGE_AND_SEX])
    empty = found[found["on_test"].isna()]
    assert set(empty["part"]) == {0, 4} and empty["on_validation"].isna().all()
    worth = splits.worth(found)
    assert worth["choice"].tolist() == list(splits.CHOICES) and (worth["divisions"] == 3).all()
    assert np.isfinite(worth[["on_validation", "optimism", "low", "high"]]).all(axis=None)
    spread = splits.spread(splits.areas_by_division(scores, table, moved)).set_index("model")
    assert (spread.loc["VGG19", "divisions"] == 4).all()
    assert np.isfinite(spread[["mean", "low", "high"]].astype(float)).all(axis=None)


def test_the_table_sets_pooled_areas_beside_pooled_areas(cohort):
    table, cases = cohort
    part = splits.deal(table, cases, repeats=2, seed=1)
    scores = splits.score(sources(table, cases), table, part, seed=0)
    spread = splits.spread(splits.areas_by_division(scores, table, part))
    pooled = splits.pooled(scores, table, part)
    shown = splits.readable(spread, pooled, splits.matched(scores, table, part, cases))
    shown = shown.set_index("Model")
    for row in pooled.itertuples():
        text = f"{row.area:.2f} ({row.low:.2f} to {row.high:.2f})"
        assert shown.loc[row.model, "All people, pooled"] == text
    chance = shown.loc[splits.CHANCE, ["All people, pooled", "Matched people, pooled"]]
    assert chance.tolist() == ["not pooled", "not matched"]


def test_areas_are_those_of_scikit_learn():
    rng = np.random.default_rng(3)
    label, scores = rng.integers(0, 2, 40), rng.integers(0, 9, (5, 40)) / 3
    expected = [accuracy.auc(label, row) for row in scores]
    assert np.allclose(splits.areas(label, scores), expected)
    assert np.isnan(splits.areas(np.ones(4), np.arange(4.0)))


def best_by_trying(cases, years):
    positive, control = (cases[cases["dystrophinopathy"] == v] for v in (1, 0))
    best = (0, 0.0)
    places = list(range(len(control))) + [None] * len(positive)
    for chosen in set(itertools.permutations(places, len(positive))):
        apart = [
            abs(p.age_years - control.iloc[c].age_years)
            for p, c in zip(positive.itertuples(), chosen, strict=True)
            if c is not None and p.sex == control.iloc[c].sex
        ]
        taken = sum(c is not None for c in chosen)
        if len(apart) == taken and all(a <= years for a in apart):
            best = max(best, (taken, -sum(apart)))
    return best[0], -best[1]


@pytest.mark.parametrize("seed", range(4))
def test_pairs_are_as_many_and_as_close_as_trying_all(seed):
    rng = np.random.default_rng(seed)
    cases = pd.DataFrame(
        {
            "case_id": list("abcdefgh"),
            "dystrophinopathy": [1, 1, 1, 0, 0, 0, 0, 0],
            "sex": rng.choice(["F", "M"], 8),
            "age_years": rng.uniform(10, 20, 8).round(1),
        }
    )
    found = splits.pairs(cases, years=3)
    count, total = best_by_trying(cases, 3)
    assert len(found) == count and np.isclose(found["years"].abs().sum(), total)


def test_matching_takes_away_what_age_and_sex_give(cohort):
    table, cases = cohort
    part = splits.deal(table, cases, repeats=4, seed=1)
    scores = splits.score(sources(table, cases, noise=1), table, part, seed=0)
    found = splits.matched(scores, table, part, cases).set_index("model")
    own = splits.pairs(cases)
    assert list(found.index) == ["VGG19", splits.AGE_AND_SEX], "chance has no people of its own"
    assert (found["people"] == 2 * len(own)).all() and len(own) > 5
    age = found.loc[splits.AGE_AND_SEX]
    everyone = splits.pooled(scores, table, part).set_index("model")
    assert list(everyone.index) == list(found.index) and (everyone["people"] == len(cases)).all()
    assert everyone.loc[splits.AGE_AND_SEX, "low"] > 0.7 and age["low"] < 0.5 < age["high"]
    assert found["area"]["VGG19"] > 0.8
    assert np.allclose(found["width"], found["high"] - found["low"])


def test_without_pairs_the_table_says_so(cohort):
    table, cases = cohort
    part = splits.deal(table, cases, repeats=1, seed=1)
    scores = splits.score(sources(table, cases), table, part, seed=0)
    apart = cases.assign(age_years=np.where(cases["dystrophinopathy"] == 1, 10.0, 70.0))
    found = splits.matched(scores, table, part, apart)
    assert found["area"].isna().all() and set(found["reason"]) == {"fewer than two pairs"}
