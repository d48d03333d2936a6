"""Counts, measures and ROC: printed oracles, brute-force definitions, bad inputs."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from helpers import accuracy
from helpers.accuracy import Counts

PUBLISHED = Counts(tp=204, fn=24, fp=35, tn=385)
CELL = st.integers(0, 40)
TABLES = st.builds(Counts, tp=CELL, fn=CELL, fp=CELL, tn=CELL)
LABELLED = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=60)


def test_published_counts_give_the_printed_measures():
    found = accuracy.measures(PUBLISHED)
    assert round(float(found["sensitivity"]), 4) == 0.8947
    assert round(float(found["specificity"]), 4) == 0.9167
    assert round(float(found["accuracy"]), 4) == 0.9090
    assert found["f1"] == 408 / 467
    assert round(float(found["lr_positive"]), 4) == 10.7368
    assert round(float(found["lr_negative"]), 6) == 0.114833
    assert round(float(found["mcc"]), 5) == 0.80310
    assert round(float(found["youden"]), 3) == 0.811
    assert round(float(found["diagnostic_odds_ratio"]), 1) == 93.5
    assert round(float(found["ppv"]), 4) == 0.8536
    assert round(float(found["npv"]), 4) == 0.9413


def test_trefoil_sign_as_printed():
    found = accuracy.measures(Counts(tp=69, fn=166 - 69, fp=2, tn=242))
    assert round(100 * float(found["sensitivity"]), 1) == 41.6
    assert round(100 * float(found["specificity"]), 1) == 99.2
    assert round(100 * float(found["ppv"]), 1) == 97.2
    assert round(100 * float(found["npv"]), 1) == 71.4


def test_dystonianet_accuracy_as_printed():
    decided = accuracy.measures(Counts(tp=164, fn=2, fp=0, tn=0))
    assert round(100 * float(decided["accuracy"]), 1) == 98.8
    assert np.isnan(decided["specificity"])


@given(LABELLED)
def test_counts_agree_with_scikit_learn(pairs):
    label, call = np.array(pairs).T
    (tn, fp), (fn, tp) = metrics.confusion_matrix(label, call, labels=[0, 1])
    assert accuracy.confusion(label, call) == Counts(tp=tp, fn=fn, fp=fp, tn=tn)


@given(LABELLED)
def test_f1_and_mcc_agree_with_scikit_learn_where_defined(pairs):
    label, call = np.array(pairs).T
    found = accuracy.measures(accuracy.confusion(label, call))
    if not np.isnan(found["f1"]):
        assert found["f1"] == pytest.approx(metrics.f1_score(label, call, zero_division=0))
    if not np.isnan(found["mcc"]):
        assert found["mcc"] == pytest.approx(metrics.matthews_corrcoef(label, call))


@given(TABLES)
def test_swapping_the_labels_mirrors_sensitivity_and_specificity(table):
    found = accuracy.measures(table)
    mirrored = accuracy.measures(Counts(tp=table.tn, fn=table.fp, fp=table.fn, tn=table.tp))
    for one, other in (("sensitivity", "specificity"), ("ppv", "npv"), ("mcc", "mcc")):
        np.testing.assert_allclose(found[one], mirrored[other])


@given(TABLES)
def test_a_measure_is_nan_exactly_when_a_reason_is_given(table):
    undefined = {name for name, value in accuracy.measures(table).items() if np.isnan(value)}
    assert undefined == set(accuracy.why_undefined(table))


def test_measures_of_many_tables_equal_those_of_each():
    tables = [PUBLISHED, Counts(3, 1, 0, 4), Counts(0, 0, 1, 2)]
    together = accuracy.measures(Counts(*np.array(tables).T))
    for position, table in enumerate(tables):
        for name, value in accuracy.measures(table).items():
            np.testing.assert_array_equal(together[name][position], value)


def test_auc_is_the_share_of_pairs_won():
    rng = np.random.default_rng(3)
    label, score = rng.integers(0, 2, 60), rng.integers(0, 8, 60) / 8
    pairs = itertools.product(score[label == 1], score[label == 0])
    won = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs]
    assert accuracy.auc(label, score) == pytest.approx(np.mean(won))


def test_roc_passes_through_the_calls_at_each_threshold():
    rng = np.random.default_rng(4)
    label, score = rng.integers(0, 2, 40), rng.random(40)
    curve = accuracy.roc(label, score)
    for row in curve.iloc[1:].itertuples():
        found = accuracy.measures(accuracy.confusion(label, score >= row.threshold))
        assert row.sensitivity == pytest.approx(found["sensitivity"])
        assert row.false_positive_rate == pytest.approx(1 - found["specificity"])


def test_shuffled_diagnoses_give_an_area_around_one_half():
    rng = np.random.default_rng(5)
    case = np.repeat(np.arange(100), 6)
    label = (case < 36).astype(int)
    areas = accuracy.auc_of_shuffled(label, label + rng.normal(size=600), case, repeats=200)
    assert abs(areas.mean() - 0.5) < 4 * areas.std() / np.sqrt(200)
    assert accuracy.auc(label, label + rng.normal(size=600)) > areas.max()


@pytest.mark.parametrize(
    ("label", "score", "message"),
    [
        ([1, 1], [0.2, 0.4], "All 2 labels are 1.*positives .1. and controls"),
        ([0, 0], [0.2, 0.4], "All 2 labels are 0"),
        ([0, 1], [0.2, np.nan], "1 of 2 probabilities are NaN.*position 1"),
        ([0, 1], [0.2], "2 labels but 1 probabilities"),
        ([0, 2], [0.2, 0.3], "label holds .*2.*; expected only 0"),
    ],
)
def test_scores_that_make_no_curve_are_refused(label, score, message):
    with pytest.raises(ValueError, match=message):
        accuracy.auc(label, score)


@pytest.mark.parametrize(
    ("label", "call", "message"),
    [
        ([0, 1], [0, 1, 1], "2 labels but 3 calls"),
        ([0, 1], [0, 0.5], "call holds .*0.5"),
        ([0, 1], [0, np.nan], "call holds .*nan"),
        ([[0, 1]], [0, 1], "label has shape"),
    ],
)
def test_calls_that_make_no_table_are_refused(label, call, message):
    with pytest.raises(ValueError, match=message):
        accuracy.confusion(label, call)


@pytest.fixture
def files():
    predictions = pd.DataFrame(
        {
            "id": ["a-left", "b-left", "a-left", "b-left", "c-left"],
            "label": [1, 0, 1, 0, 0],
            "probability": [0.5, 0.4, 0.1, 0.9, 0.2],
            "seed": [1, 1, 2, 2, 1],
            "split": ["test"] * 4 + ["training"],
        }
    )
    names = ["a", "b", "c"]
    images = pd.DataFrame(
        {"image_id": [f"{n}-left" for n in names], "case_id": names, "side": "left"}
    )
    cases = pd.DataFrame(
        {"case_id": names, "diagnosis": ["DMD", "FSHD", "GNE"], "dystrophinopathy": [1, 0, 0]}
    )
    return predictions, images, cases


def test_scored_images_take_the_first_seed_and_the_split(files):
    found = accuracy.scored_images(*files)
    assert found["image_id"].tolist() == ["a-left", "b-left"]
    assert found["call"].tolist() == [1, 0]
    assert found["diagnosis"].tolist() == ["DMD", "FSHD"]


def test_scored_images_name_every_mismatch(files):
    predictions, images, cases = files
    with pytest.raises(ValueError, match=r"1 predictions are not in images.csv, e.g. 'a-left'"):
        accuracy.scored_images(predictions, images.iloc[1:], cases)
    with pytest.raises(ValueError, match=r"case that is not in cases.csv, e.g. 'b-left'"):
        accuracy.scored_images(predictions, images, cases[cases["case_id"] != "b"])
    with pytest.raises(ValueError, match="label other than their case's diagnosis"):
        accuracy.scored_images(predictions, images, cases.assign(dystrophinopathy=0))
    with pytest.raises(ValueError, match="No prediction has split 'future'; splits found: test"):
        accuracy.scored_images(predictions, images, cases, split="future")


def test_positives_of_another_diagnosis_are_refused():
    with pytest.raises(ValueError, match="diagnosis FSHD; expected DMD or BMD"):
        accuracy.table_3_group(pd.DataFrame({"diagnosis": ["FSHD"], "label": [1]}))


def test_fat_is_averaged_by_leg_and_absent_without_truth(tmp_path):
    path = tmp_path / "fat_fractions.csv"
    muscles = {"case_id": ["a", "a", "a"], "side": ["left", "left", "right"]}
    pd.DataFrame(muscles | {"muscle": list("xyx"), "fat_fraction": [0.1, 0.3, 0.5]}).to_csv(path)
    assert accuracy.fat_by_leg(path)["fat_fraction"].tolist() == pytest.approx([0.2, 0.5])
    assert accuracy.fat_by_leg(tmp_path / "none.csv").empty


def test_ids_stay_as_written(tmp_path):
    (tmp_path / "images.csv").write_text("image_id,case_id,side\n007,01,left\n")
    assert accuracy.read(tmp_path / "images.csv").loc[0, ["image_id", "case_id"]].tolist() == [
        "007",
        "01",
    ]
