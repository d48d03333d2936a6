"""Table 1: published rows, this cohort's rows, and the rows that need no image."""

import numpy as np
import pandas as pd
import pytest

from helpers import claims, comparison, splits


@pytest.fixture
def cohort():
    """Return 60 cases of one image each; positives are young males, in every split."""
    rng = np.random.default_rng(0)
    label = np.tile([1, 0, 0], 20)
    cases = pd.DataFrame(
        {
            "case_id": [f"c{n}" for n in range(60)],
            "dystrophinopathy": label,
            "diagnosis": np.where(label == 1, "DMD", "FSHD"),
            "sex": np.where(label == 1, "M", rng.choice(["F", "M"], 60)),
            "age_years": np.where(label == 1, 15.0, 40.0) + rng.normal(0, 10, 60),
            "split": np.repeat(["training", "validation", "test"], 20),
        }
    )
    images = cases[["case_id"]].assign(image_id="i" + cases["case_id"], side="left")
    table = images.merge(cases, on="case_id").rename(columns={"dystrophinopathy": "label"})
    return table[["image_id", "case_id", "label", "split"]], images, cases


def scores(table, *, noise, seed=1):
    rng = np.random.default_rng(seed)
    p = np.clip(0.3 + 0.4 * table["label"] + rng.normal(0, noise, len(table)), 0, 1)
    start = table.rename(columns={"image_id": "id"})[["id", "label", "split"]]
    return start.assign(probability=p, weights="random", seed=7)


def test_age_and_sex_do_well_and_nobody_is_chance(cohort):
    table, images, cases = cohort
    both = comparison.without_images(table, cases, seed=7)
    found = comparison.measured(both, images, cases, evidence="phantom", seed=0)
    found = found.set_index(["model", "measure"])["estimate"]
    assert found[comparison.AGE_AND_SEX, "auc"] > 0.85
    nobody = found[comparison.NOBODY].to_dict()
    negatives = (table["label"][table["split"] == "test"] == 0).mean()
    assert nobody == {"accuracy": negatives, "specificity": 1, "sensitivity": 0, "auc": 0.5}


def test_age_and_sex_are_learnt_on_the_training_set_only(cohort):
    table, _, cases = cohort
    first = comparison.without_images(table, cases, seed=7)[comparison.AGE_AND_SEX]
    other = table.assign(label=np.where(table["split"] == "training", table["label"], 0))
    second = comparison.without_images(other, cases, seed=7)[comparison.AGE_AND_SEX]
    assert np.array_equal(first["probability"], second["probability"])


def test_every_printed_row_is_named_as_the_source_names_it():
    for name, ids in comparison.PUBLISHED.items():
        for measure, claim_id in zip(comparison.MEASURES, ids, strict=True):
            statement = claims.get(claim_id).statement.replace("-", "").lower()
            assert statement == f"{name} {measure}".lower()


def test_table_1_sets_the_published_row_above_the_measured(cohort):
    table, images, cases = cohort
    everything = {"VGG19": scores(table, noise=0.3), "ResNet50": scores(table, noise=0.1)}
    everything |= comparison.without_images(table, cases, seed=7)
    found = comparison.measured(everything, images, cases, evidence="phantom", seed=0)
    shown = comparison.table_1(comparison.published(["VGG19", "ResNet50"]), found)
    assert shown["Evidence"].tolist() == ["published", "phantom"] * 2 + ["phantom"] * 2
    assert shown["Model"].tolist()[::2] == ["VGG19", "ResNet50", comparison.AGE_AND_SEX]
    assert shown.iloc[2]["Sensitivity"] == "0.89 (0.85 to 0.93)"
    assert shown.iloc[2]["AUC"] == "0.98", "printed without an interval"


def test_the_choice_is_made_on_the_validation_set(cohort):
    table, *_ = cohort
    one, two = scores(table, noise=0.01), scores(table, noise=0.01)
    one.loc[one["split"] == "test", "probability"] = 0.5
    two.loc[two["split"] == "validation", "probability"] = 0.5
    choice = comparison.choice({"VGG19": one, "ResNet50": two})
    assert choice.loc[choice["best_by_validation"], "model"].item() == "VGG19"
    found = comparison.summary(choice)
    assert (found["chosen_by_validation"], found["chosen_by_test"]) == (0.5, 1.0)
    assert comparison.readable_choice(choice)["Chosen by"].tolist() == ["validation", "test"]


def test_rows_without_a_network_learn_on_the_training_set_and_chance_learns_nothing(cohort):
    table, images, cases = cohort
    rng = np.random.default_rng(1)
    telling = table["label"].to_numpy()[:, None] + rng.normal(0, 0.8, (len(table), 3))
    sources = {
        splits.AGE_AND_SEX: telling,
        splits.FAT: telling,
        splits.PIXELS: rng.normal(size=(len(table), 40)),
    }
    found = comparison.without_network(sources, table, weights="random", seed=3)
    assert set(found) == {splits.FAT, splits.PIXELS}, "age and sex have a row of their own"
    rows = comparison.measured(found, images, cases, evidence="phantom", seed=0)
    areas = rows[rows["measure"] == "auc"].set_index("model")
    assert areas.loc[splits.FAT, "estimate"] > 0.8
    assert areas.loc[splits.PIXELS, "estimate"] < 0.8
    assert (areas["low"] < areas["estimate"]).all() and set(areas["weights"]) == {"none"}
    other = table.assign(label=np.where(table["split"] == "test", 0, table["label"]))
    again = comparison.without_network(sources, other, weights="random", seed=3)
    assert np.array_equal(found[splits.FAT]["probability"], again[splits.FAT]["probability"])


def test_shuffled_diagnoses_give_areas_around_one_half(cohort):
    table, *_ = cohort
    telling = {splits.CHANCE: table["label"].to_numpy()[:, None] + np.zeros((1, 2))}
    areas = []
    for seed in range(12):
        found = comparison.without_network(telling, table, weights="random", seed=seed)
        own = found[splits.CHANCE]
        test = own["split"] == "test"
        areas.append(splits.areas(own["label"][test], own["probability"][test]))
        assert own["weights"].unique().tolist() == ["random"]
    assert 0.2 < np.mean(areas) < 0.8 and min(areas) == 0 and max(areas) == 1
    mixes = [comparison._shuffled(table, np.random.default_rng(n)) for n in range(3)]
    for split, part in table.groupby("split"):
        assert {int(m[part.index].sum()) for m in mixes} == {int(part["label"].sum())}, split
