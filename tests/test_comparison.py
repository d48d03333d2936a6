"""Table 1: published rows, this cohort's rows, and the rows that need no image."""

import numpy as np
import pandas as pd
import pytest

from helpers import accuracy, claims, comparison, splits


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


def age_and_sex(table, cases):
    people = table[["case_id"]].merge(cases, on="case_id")
    known = np.column_stack([people["age_years"], people["sex"] == "M"]).astype(float)
    return comparison.without_network({splits.AGE_AND_SEX: known}, table, weights="random", seed=7)


def test_age_and_sex_do_well_and_nobody_is_chance(cohort):
    table, images, cases = cohort
    both = age_and_sex(table, cases)
    assert list(both) == [comparison.NOBODY, comparison.AGE_AND_SEX]
    found = comparison.measured(both, images, cases, evidence="phantom", seed=0)
    found = found.set_index(["model", "measure"])["estimate"]
    assert found[comparison.AGE_AND_SEX, "auc"] > 0.85
    nobody = found[comparison.NOBODY].to_dict()
    negatives = (table["label"][table["split"] == "test"] == 0).mean()
    assert nobody == {"accuracy": negatives, "specificity": 1, "sensitivity": 0, "auc": 0.5}


def test_age_and_sex_are_learnt_without_the_test_set(cohort):
    table, _, cases = cohort
    first = age_and_sex(table, cases)[comparison.AGE_AND_SEX]
    other = table.assign(label=np.where(table["split"] == "test", 0, table["label"]))
    second = age_and_sex(other, cases)[comparison.AGE_AND_SEX]
    assert np.array_equal(first["probability"], second["probability"])


def test_every_printed_row_is_named_as_the_source_names_it():
    for name, ids in comparison.PUBLISHED.items():
        for measure, claim_id in zip(comparison.MEASURES, ids, strict=True):
            statement = claims.get(claim_id).statement.replace("-", "").lower()
            assert statement == f"{name} {measure}".lower()


def test_table_1_sets_the_published_row_above_the_measured(cohort):
    table, images, cases = cohort
    everything = {"VGG19": scores(table, noise=0.3), "ResNet50": scores(table, noise=0.1)}
    everything |= age_and_sex(table, cases)
    found = comparison.measured(everything, images, cases, evidence="phantom", seed=0)
    shown = comparison.table_1(comparison.published(["VGG19", "ResNet50"]), found)
    assert shown["Evidence"].tolist() == ["published", "phantom"] * 2 + ["phantom"] * 2
    assert shown["Model"].tolist()[::2] == ["VGG19", "ResNet50", comparison.NOBODY]
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


def test_every_measure_has_its_range_over_the_seeds(cohort):
    table, *_ = cohort
    seeds = [scores(table, noise=0.4, seed=n).assign(seed=n) for n in range(4)]
    choice = comparison.choice({"VGG19": pd.concat(seeds)})
    for measure in comparison.SEED_RANGES:
        found = []
        for part in seeds:
            test = part[part["split"] == "test"]
            call = (test["probability"] >= 0.5).astype(int)
            own = accuracy.measures(accuracy.confusion(test["label"], call))
            own["auc"] = accuracy.auc(test["label"], test["probability"])
            found.append(own[measure])
        assert choice[f"{measure}_lowest"].item() == pytest.approx(min(found))
        assert choice[f"{measure}_highest"].item() == pytest.approx(max(found))
        assert max(found) > min(found)
    shown = comparison.readable_choice(choice)["Sensitivity, all seeds"].item()
    row = choice.iloc[0]
    assert shown == f"{row['sensitivity_lowest']:.2f} to {row['sensitivity_highest']:.2f}"


def test_rows_without_a_network_learn_on_the_training_set_and_chance_learns_nothing(cohort):
    table, images, cases = cohort
    rng = np.random.default_rng(1)
    telling = table["label"].to_numpy()[:, None] + rng.normal(0, 0.8, (len(table), 3))
    sources = {
        splits.FAT: telling,
        splits.PIXELS: rng.normal(size=(len(table), 40)),
    }
    found = comparison.without_network(sources, table, weights="random", seed=3)
    assert set(found) == {comparison.NOBODY, splits.FAT, splits.PIXELS}
    del found[comparison.NOBODY]
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
