"""Images, legs, people: pooling by hand, the rule from the validation set alone."""

import numpy as np
import pandas as pd
import pytest

from helpers import accuracy, inference, people


@pytest.fixture
def cohort():
    """Return 40 people of two legs and two slices each, in two splits."""
    rng = np.random.default_rng(0)
    cases = pd.DataFrame({"case_id": [f"c{n:02d}" for n in range(40)]})
    cases["dystrophinopathy"] = np.tile([1, 0], 20)
    cases["diagnosis"] = np.where(cases["dystrophinopathy"] == 1, "DMD", "FSHD")
    cases["split"] = np.repeat(["validation", "test"], 20)
    images = cases[["case_id"]].merge(pd.DataFrame({"side": ["left", "right"]}), how="cross")
    images = images.merge(pd.DataFrame({"slice": [0, 1]}), how="cross")
    images["image_id"] = [f"i{k:03d}" for k in range(len(images))]
    rows = images.merge(cases, on="case_id")
    rows["probability"] = np.clip(
        0.4 + 0.2 * rows["dystrophinopathy"] + rng.normal(0, 0.2, 160), 0, 1
    )
    predictions = rows.rename(columns={"image_id": "id", "dystrophinopathy": "label"}).assign(
        seed=3
    )
    return predictions[["id", "label", "probability", "seed", "split"]], images, cases


def test_pooling_by_hand(cohort):
    scored = accuracy.scored_images(*cohort)
    for unit, keys in (("leg", ["case_id", "side"]), ("person", ["case_id"])):
        for rule in people.RULES:
            found = people.pooled(scored, unit=unit, rule=rule)
            groups = list(scored.groupby(keys))
            assert len(found) == len(groups)
            expected = [getattr(np, rule)(own["probability"]) for _, own in groups]
            assert np.allclose(found["probability"], expected)
            assert found["label"].tolist() == [own["label"].iloc[0] for _, own in groups]
    assert len(people.pooled(scored, unit="image", rule="mean")) == len(scored)


@pytest.mark.parametrize(("unit", "rule"), [("knee", "mean"), ("leg", "median")])
def test_another_unit_or_rule_is_named(cohort, unit, rule):
    with pytest.raises(ValueError, match="is not one of"):
        people.pooled(accuracy.scored_images(*cohort), unit=unit, rule=rule)


def test_levels_have_every_unit_and_one_rule_chosen_each(cohort):
    found = people.levels(*cohort)
    assert found["unit"].tolist() == ["image", "leg", "leg", "person", "person"]
    assert found.groupby("unit")["chosen"].sum().eq(1).all()
    assert found["n"].tolist() == [80, 40, 40, 20, 20]
    first = found.iloc[0]
    scored = accuracy.scored_images(*cohort)
    assert np.isclose(first["auc"], accuracy.auc(scored["label"], scored["probability"]))
    assert (found["low"] < found["auc"]).all() and (found["auc"] < found["high"]).all()


def test_the_rule_is_chosen_on_the_validation_set_alone(cohort):
    predictions, images, cases = cohort
    before = people.levels(predictions, images, cases)
    test = predictions["split"] == "test"
    turned = predictions["probability"].where(~test, 1 - predictions["probability"])
    after = people.levels(predictions.assign(probability=turned), images, cases)
    assert before["chosen"].tolist() == after["chosen"].tolist()
    assert not np.allclose(before["auc"], after["auc"])


@pytest.mark.parametrize("rule", people.RULES)
def test_the_rule_that_tells_on_validation_is_chosen(cohort, rule):
    predictions, images, cases = cohort
    test = predictions["split"] == "test"
    one = predictions["id"].isin(images.loc[images["slice"] == 0, "image_id"])
    # One group's slices say 0.99 and 0, the other's twice one half: the means are nearly alike
    # and in the wrong order for the maximum, or the other way round.
    apart = predictions["label"] == (1 if rule == "max" else 0)
    telling = np.where(apart, np.where(one, 0.99, 0.0), 0.5)
    shown = predictions["probability"].where(test, telling)
    found = people.levels(predictions.assign(probability=shown), images, cases)
    own = found[found["unit"] == "person"].set_index("rule")["validation"]
    assert own[rule] == 1 and own.drop(rule).item() == 0
    assert people.chosen_rule(found) == people.chosen_rule(found, unit="leg") == rule


def test_the_threshold_is_the_best_of_all_on_validation(cohort):
    predictions, images, cases = cohort
    cut = people.threshold_on_validation(predictions, images, cases, rule="mean")
    part = accuracy.scored_images(predictions, images, cases, split="validation")
    pooled = people.pooled(part, unit="person", rule="mean")

    def youden(at):
        call = (pooled["probability"] >= at).astype(int)
        return accuracy.measures(accuracy.confusion(pooled["label"], call))["youden"]

    assert np.isclose(youden(cut), max(youden(at) for at in np.linspace(0, 1, 2001)))
    table = people.levels(predictions, images, cases)
    decided = people.decision(predictions, images, cases, table)
    assert decided["pooling"] == people.chosen_rule(table)
    assert decided["thresholds"]["image"] == 0.5
    other = predictions.assign(
        probability=predictions["probability"].where(predictions["split"] != "test", 0.1)
    )
    assert people.threshold_on_validation(other, images, cases, rule="mean") == cut


def test_the_card_tells_how_right_its_own_decision_is(cohort):
    predictions, images, cases = cohort
    # Lower probabilities, so that one half is a bad threshold.
    predictions = predictions.assign(probability=predictions["probability"] / 2)
    table, rule, decided = people.assessed(predictions, images, cases)
    cut = rule["thresholds"]["person"]
    assert cut < 0.4 and decided["threshold"].eq(cut).all()
    scored = accuracy.scored_images(predictions, images, cases)
    by = scored.groupby("case_id").agg({"label": "first", "probability": rule["pooling"]})
    right = (by["probability"] >= cut) == (by["label"] == 1)
    own = decided.set_index("measure")
    assert own.loc["accuracy", "estimate"] == pytest.approx(right.mean())
    for name, label in (("sensitivity", 1), ("specificity", 0)):
        part = right[by["label"] == label]
        expected = inference.proportion(part.sum(), len(part), method="wilson")
        assert own.loc[name, ["estimate", "low", "high"]].tolist() == pytest.approx(expected[:3])
    metrics = people.as_metrics(table, decided)
    persons = metrics[metrics["unit"] == "person"].set_index("measure")
    assert persons.loc["sensitivity", "estimate"] == own.loc["sensitivity", "estimate"]
    assert persons.loc["sensitivity", "threshold"] == cut and np.isnan(persons["threshold"]["AUC"])
    images_at = metrics[(metrics["unit"] == "image") & (metrics["measure"] != "AUC")]
    assert images_at["threshold"].eq(0.5).all() and len(metrics) == 12
    shown = people.readable(table, decided)
    assert len(shown) == 6 and shown["Threshold"].tolist() == ["0.50"] * 5 + [f"{cut:.3f}"]
    assert shown.iloc[-1]["Sensitivity"].startswith(f"{own.loc['sensitivity', 'estimate']:.2f} (")
    keys = {key: limits for key, limits, _ in people.numbers(decided)}
    assert set(keys) == {"threshold", *people.SHARES} and keys["threshold"] == (cut,)
