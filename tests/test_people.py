"""Images, legs, people: pooling by hand, the rule from the validation set alone."""

import numpy as np
import pandas as pd
import pytest

from helpers import accuracy, people


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
    assert list(people.readable(found))[:3] == ["Unit", "Pooled by", "Validation AUC"]


def test_the_rule_is_chosen_on_the_validation_set_alone(cohort):
    predictions, images, cases = cohort
    before = people.levels(predictions, images, cases)
    test = predictions["split"] == "test"
    turned = predictions["probability"].where(~test, 1 - predictions["probability"])
    after = people.levels(predictions.assign(probability=turned), images, cases)
    assert before["chosen"].tolist() == after["chosen"].tolist()
    assert not np.allclose(before["auc"], after["auc"])
    one = predictions["id"].isin(images.loc[images["slice"] == 0, "image_id"])
    # On validation one slice is certain of every positive and the other knows nothing.
    telling = np.where(one & (predictions["label"] == 1), 0.99, 0.5)
    shifted = np.where(test, predictions["probability"], telling)
    shifted = shifted - np.where(test | one, 0, 0.3 * predictions["label"])
    found = people.levels(predictions.assign(probability=shifted), images, cases)
    assert people.chosen_rule(found) == "max" or found["validation"].iloc[3] == 1


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
    metrics = people.as_metrics(table)
    assert len(metrics) == 12 and set(metrics["unit"]) == set(people.UNITS)
    other = predictions.assign(
        probability=predictions["probability"].where(predictions["split"] != "test", 0.1)
    )
    assert people.threshold_on_validation(other, images, cases, rule="mean") == cut
