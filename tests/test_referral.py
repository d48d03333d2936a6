"""Referral arithmetic, against what the poster and the abstract print."""

import numpy as np
import pandas as pd
import pytest

from helpers import referral


def predictions(n=50, seed=0):
    rng = np.random.default_rng(seed)
    label = np.repeat([1, 0], n)
    group = np.where(label == 1, rng.choice(["LD", "CD", "BSP"], 2 * n), "control")
    probability = np.clip(rng.normal(0.3 + 0.4 * label, 0.2), 0, 1)
    return pd.DataFrame(
        {
            "id": [f"s{k}" for k in range(2 * n)],
            "group": group,
            "label": label,
            "probability": probability,
            "model": "m",
            "effect": "e",
            "seed": 1,
        }
    )


def test_published_accuracy_under_both_denominators():
    table = referral.published_readings().set_index("reading")
    left_out, counted = table.loc["referrals left out"], table.loc["referrals not diagnosed"]
    assert (left_out["correct"], left_out["subjects"]) == (164, 166)
    assert f"{100 * left_out['estimate']:.1f}" == "98.8"
    assert [f"{100 * left_out[k]:.1f}" for k in ("low", "high")] == ["95.7", "99.7"]
    assert (counted["correct"], counted["subjects"]) == (164, 172)
    assert f"{100 * counted['estimate']:.1f}" == "95.3"
    assert [f"{100 * counted[k]:.1f}" for k in ("low", "high")] == ["91.1", "97.6"]


def test_nine_splits_fit_the_printed_accuracies():
    table = referral.consistent_splits()
    found = set(table[["referred_LD", "referred_CD", "referred_BSP"]].itertuples(index=False))
    expected = [(2, 2, 2), (2, 3, 1), (2, 4, 0), (3, 1, 2), (3, 2, 1), (3, 3, 0)]
    assert found == {*expected, (4, 0, 2), (4, 1, 1), (4, 2, 0)}
    assert (table[["wrong_LD", "wrong_CD", "wrong_BSP"]].to_numpy() == [1, 0, 1]).all()


def test_the_published_split_gives_the_published_table():
    groups = ["LD"] * 59 + ["CD"] * 59 + ["BSP"] * 54
    probability = np.full(172, 0.9)
    probability[[0, 1, 59, 60, 118, 119]] = 0.5
    probability[[2, 120]] = 0.1
    table = pd.DataFrame({"group": groups, "label": 1, "probability": probability})
    result = referral.by_form(table, delta=0.05).set_index("group")
    shown = {g: f"{100 * result.loc[g, 'estimate']:.1f}" for g in ("LD", "CD", "BSP")}
    assert shown == {"LD": "98.2", "CD": "100.0", "BSP": "98.1"}
    everyone = result.loc["all patients"]
    assert (everyone["referred"], everyone["correct"], everyone["decided"]) == (6, 164, 166)
    assert result.loc["control", "subjects"] == 0
    assert np.isnan(result.loc["control", "estimate"])


@pytest.mark.parametrize("target", [0.0, 0.035, 0.2, 0.5])
def test_the_chosen_band_refers_the_target_share(target):
    probability = predictions()["probability"]
    delta = referral.choose_delta(probability, target=target)
    assert referral.refer(probability, delta=delta).sum() == round(target * len(probability))


@pytest.mark.parametrize(("probability", "target"), [([], 0.1), ([0.4], 1.0), ([0.4], -0.1)])
def test_an_impossible_target_is_refused(probability, target):
    with pytest.raises(ValueError, match="cannot be referred"):
        referral.choose_delta(probability, target=target)


def test_groups_add_up_and_both_denominators_agree_without_referral():
    table = predictions()
    result = referral.by_form(table, delta=0.0).set_index("group")
    assert (
        result.loc["all patients", "subjects"] == result.loc[["LD", "CD", "BSP"], "subjects"].sum()
    )
    np.testing.assert_array_equal(result["estimate"], result["estimate_all"])
    called = (table["probability"] >= 0.5) == (table["label"] == 1)
    assert result.loc["control", "correct"] == called[table["label"] == 0].sum()


def test_calling_everyone_a_patient_is_perfect_where_there_are_no_controls():
    table = predictions().assign(probability=0.99)
    result = referral.by_form(table, delta=0.05).set_index("group")
    assert result.loc["all patients", "estimate"] == 1.0
    assert result.loc["control", "estimate"] == 0.0


def test_the_coverage_curve_ends_at_plain_accuracy():
    table = predictions()
    curve = referral.coverage(table)
    right = (table["probability"] >= 0.5) == (table["label"] == 1)
    assert curve["decided"].iloc[-1] == 1.0
    assert curve["accuracy"].iloc[-1] == pytest.approx(right.mean())
    assert (curve["delta"].diff().dropna() <= 0).all()


def test_areas_are_undefined_without_controls():
    table = predictions()
    both = referral.areas(table).iloc[0]
    assert 0.5 < both["low"] < both["estimate"] < both["high"] <= 1
    assert both["method"] == "bootstrap of 100 subjects"
    patients = referral.areas(table[table["label"] == 1]).iloc[0]
    assert np.isnan(patients["estimate"]) and patients["method"] == "one class only"


def test_the_report_takes_its_band_from_the_optimisation_set_alone():
    table = predictions().assign(split="validation", effect="realistic")
    tuning = predictions(seed=1).assign(split="optimisation", effect="realistic")
    both = pd.concat([tuning, table])
    report = referral.report(both, target=0.1)
    assert set(report["delta"]) == {referral.choose_delta(tuning["probability"], target=0.1)}
    assert report.set_index("group").loc["all patients", "subjects"] == table["label"].sum()
    easier = pd.concat([tuning, table.assign(probability=table["label"])])
    assert (referral.report(easier, target=0.1)["delta"] == report["delta"]).all()


def test_quoted_numbers_are_undefined_where_a_series_is_absent():
    table = predictions().assign(split="validation", effect="as scanned", model="DystoniaNet")
    both = pd.concat([table, table.assign(split="optimisation")])
    report = referral.report(both, target=0.0)
    quoted = referral.headline(report, referral.areas(table)).set_index("key")
    assert quoted.loc["main.auc", "estimate"] == pytest.approx(referral.areas(table)["estimate"][0])
    assert quoted.loc["main.lowest", "estimate"] == quoted.loc["main.highest", "estimate"]
    absent = [key for key in quoted.index if key.startswith("exaggerated.")]
    assert absent and quoted.loc[absent, "estimate"].isna().all()


def test_coverage_has_no_curve_with_controls_where_there_are_none():
    table = predictions().assign(split="validation", effect="realistic")
    assert set(referral.coverage_curves(table)["subjects"]) == {"patients only", "with controls"}
    patients = table[table["label"] == 1]
    assert set(referral.coverage_curves(patients)["subjects"]) == {"patients only"}
