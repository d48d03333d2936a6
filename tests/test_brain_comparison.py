"""Paired comparisons on the same people, and what a share of right decisions means."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers import brain_comparison, delong, referral
from helpers.display import brain as display_brain


def scored(noise, *, n=120, seeds=(1,), patients=0.5):
    """Return predictions of models that see the truth under noise of a given spread."""
    rng = np.random.default_rng(0)
    label = (np.arange(n) < patients * n).astype(int)
    parts = []
    for model, spread in noise.items():
        for seed in seeds:
            score = stats.norm.cdf(label - 0.5 + spread * rng.standard_normal(n))
            part = pd.DataFrame({"id": np.arange(n), "label": label, "probability": score})
            parts.append(part.assign(model=model, effect="realistic", seed=seed))
    return pd.concat(parts, ignore_index=True)


def test_a_better_network_is_found_better_and_the_same_one_equal():
    table = scored({"DystoniaNet": 0.3, "weak": 4.0})
    same = table[table["model"] == "DystoniaNet"].assign(model="same")
    found = brain_comparison.against(pd.concat([table, same])).set_index("model")
    assert found.loc["weak", "auc_low"] > 0 and found.loc["weak", "auc_holm"] < 0.001
    assert found.loc["weak", "only_network"] > found.loc["weak", "only_other"]
    equal = found.loc["same"]
    assert equal["auc_difference"] == equal["right_difference"] == 0
    assert equal["auc_p"] == equal["right_p"] == 1


def test_the_numbers_are_those_of_the_paired_tests():
    table = scored({"DystoniaNet": 1.0, "other": 1.5})
    found = brain_comparison.against(table).iloc[0]
    wide = table.pivot(index="id", columns="model", values="probability")
    label = table.drop_duplicates("id")["label"].to_numpy()
    test = delong.compare(label, wide["DystoniaNet"], wide["other"])
    assert (found["auc_difference"], found["auc_p"]) == (test.difference, test.p)
    right = (wide >= 0.5).eq(label == 1, axis=0)
    b = (right["DystoniaNet"] & ~right["other"]).sum()
    c = (right["other"] & ~right["DystoniaNet"]).sum()
    assert (found["only_network"], found["only_other"]) == (b, c)
    assert found["right_p"] == pytest.approx(stats.binomtest(b, b + c).pvalue)
    assert found["right_difference"] == pytest.approx((b - c) / len(label))


def test_order_of_people_does_not_matter_and_holm_counts_a_series():
    table = scored({"DystoniaNet": 1.0, "a": 1.5, "b": 2.0, "c": 1.2})
    mixed = table.sample(frac=1, random_state=3).sort_values("model", kind="stable")
    one = brain_comparison.against(table).set_index("model")
    two = brain_comparison.against(mixed).set_index("model").loc[one.index]
    pd.testing.assert_frame_equal(one, two)
    smallest = one["auc_p"].idxmin()
    assert one.loc[smallest, "auc_holm"] == pytest.approx(min(1, 3 * one.loc[smallest, "auc_p"]))


def test_the_networks_seeds_give_a_range():
    table = scored({"DystoniaNet": 1.0, "a": 1.5}, seeds=(1, 2, 3))
    found = brain_comparison.against(table).iloc[0]
    assert found["lowest"] <= found["auc_difference"] <= found["highest"]
    assert found["lowest"] < found["highest"]


def test_areas_are_undefined_where_all_are_patients():
    table = scored({"DystoniaNet": 1.0, "a": 1.5}, patients=1.0)
    found = brain_comparison.against(table).iloc[0]
    assert np.isnan(found["auc_difference"]) and np.isnan(found["auc_holm"])
    assert 0 < found["right_p"] <= 1


def test_too_few_people_give_a_difference_of_areas_without_a_test():
    few = brain_comparison.against(scored({"DystoniaNet": 0.3, "a": 4.0}, n=18)).iloc[0]
    assert np.isfinite(few["auc_difference"])
    assert np.isnan(few["auc_p"]) and np.isnan(few["auc_low"])
    assert (
        brain_comparison.verdicts(pd.DataFrame([few]))["main.against"] == brain_comparison.UNTESTED
    )


def test_words_count_only_clear_differences():
    table = brain_comparison.against(scored({"DystoniaNet": 0.3, "weak": 4.0, "alike": 0.31}))
    found = brain_comparison.verdicts(table)
    text = "its area is larger than that of 1 of 2 shallow learners and smaller than that of none"
    assert found == {"main.against": text, "exaggerated.against": brain_comparison.UNTESTED}


def test_other_people_are_refused():
    table = scored({"DystoniaNet": 1.0, "a": 1.5})
    with pytest.raises(ValueError, match="a: not every subject"):
        brain_comparison.against(table[~((table["model"] == "a") & (table["id"] == 3))])


def test_calling_everybody_a_patient_is_perfect_until_controls_come():
    table = brain_comparison.without_controls(scored({"DystoniaNet": 1.0}))
    everybody = table[table["rule"] == "everybody is a patient"].set_index("group")
    assert everybody.loc["patients", "estimate"] == 1.0
    assert everybody.loc["controls", "estimate"] == 0.0
    assert (everybody["both"] == 0.5).all()
    nobody = table[table["rule"] == "nobody is a patient"].set_index("group")
    assert nobody["estimate"].tolist() == [0.0, 1.0]
    network = table[table["rule"] == "DystoniaNet"]
    assert network["both"].iloc[0] == pytest.approx(network["estimate"].mean())


@pytest.mark.parametrize("able", [0.5, 0.6, 0.79, 0.95])
def test_two_clinicians_who_are_right_that_often_have_that_kappa(able):
    rng = np.random.default_rng(1)
    truth = rng.random(400_000) < 0.5
    first, second = (truth ^ (rng.random(truth.size) > able) for _ in range(2))
    kappa = (np.mean(first == second) - 0.5) / 0.5
    assert brain_comparison.able_from_kappa(max(kappa, 0.0)) == pytest.approx(able, abs=0.04)


def test_an_impossible_kappa_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        brain_comparison.able_from_kappa(-0.1)


def test_printed_numbers_give_their_readings():
    table = brain_comparison.readings()
    shown = [f"{100 * share:.1f}" for share in table["estimate"]]
    assert shown == ["98.8", "95.3", "100.0", "78.8", "82.3", "34.0", "79.2"]
    assert set(table["evidence"]) == {"recomputed", "published"}
    assert table.set_index("reading").loc["clinicians' agreement", "evidence"] == "published"


def test_every_way_to_share_referrals_keeps_the_printed_accuracies():
    table = referral.splits_by_form()
    assert table["way"].max() == 9 and len(table) == 27
    assert (table.groupby("way")[["referred", "decided", "correct"]].sum() == [6, 166, 164]).all(
        axis=None
    )
    shown = {form: {f"{100 * x:.1f}" for x in t["estimate"]} for form, t in table.groupby("form")}
    assert shown == {"LD": {"98.2"}, "CD": {"100.0"}, "BSP": {"98.1"}}


def test_own_groups_are_tabulated_under_their_own_names():
    table = pd.DataFrame({"group": ["M", "M", "control"], "label": [1, 1, 0]})
    result = referral.by_form(table.assign(probability=[0.9, 0.2, 0.1]), delta=0.0)
    assert result["group"].tolist() == ["M", "control", "all patients"]
    assert result["correct"].tolist() == [1, 1, 1]


def test_the_page_says_which_numbers_are_printed_and_leaves_no_empty_interval():
    shown = display_brain.readable_readings(brain_comparison.readings()).set_index("Reading")
    assert shown.loc["clinicians' agreement"].tolist() == ["–", "34.0 %", "–", "published"]
    assert shown.loc["a rule that calls everybody a patient", "Right"] == "172 of 172"
    table = display_brain.readable_splits(referral.splits_by_form())
    assert len(table) == 9
    assert table["Laryngeal dystonia"][0] == "56 of 57: 98.2 % (90.7 to 99.7)"


def test_the_page_shows_a_dash_where_there_are_no_controls():
    table = scored({"DystoniaNet": 1.0, "a": 1.5}, patients=1.0)
    shown = display_brain.readable_meaning(brain_comparison.without_controls(table))
    assert shown["Rule"].tolist()[:2] == list(brain_comparison.BLIND)
    assert (shown["Right among controls"] == "–").all() and (shown["Mean of both"] == "–").all()
    against = display_brain.readable_against(brain_comparison.against(table)).iloc[0]
    assert against["Network's area less its"] == against["p, area"] == "–"


def test_the_page_shows_signs_and_small_p():
    table = scored({"DystoniaNet": 0.3, "weak": 4.0})
    shown = display_brain.readable_against(brain_comparison.against(table)).iloc[0]
    assert shown["Network's area less its"].startswith("+0.")
    assert shown["p, area"] == "< 0.001"
