"""Raters side by side and together, against counting by hand and other functions."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import accuracy, agreement, inference, readers, together

NAMES = ["A", "B", "C"]


@pytest.fixture(scope="module")
def calls():
    rng = np.random.default_rng(4)
    case = np.repeat([f"c{n:02d}" for n in range(24)], 3)
    label = np.repeat((np.arange(24) < 9).astype(int), 3)
    probability = np.clip(0.3 + 0.35 * label + 0.3 * rng.normal(size=72), 0.01, 0.99)
    table = pd.DataFrame({"case_id": case, "label": label, "probability": probability})
    for name in NAMES:
        table[name] = np.where(rng.random(72) < 0.8, label, 1 - label)
    return table.assign(ResNet50=(probability >= 0.5).astype(int))


def test_both_kinds_have_one_estimate_and_their_own_limits(calls):
    table = together.both_intervals(calls, ["ResNet50", *NAMES], evidence="phantom", seed=1)
    images = table[~table["rater"].str.contains("person")]
    wide = images.pivot(index=["rater", "measure"], columns="kind", values="estimate")
    np.testing.assert_allclose(*(wide[kind] for kind in together.KINDS))
    assert list(dict.fromkeys(table["rater"]))[:2] == ["ResNet50", "ResNet50, per person"]
    for _, own in table.groupby(["rater", "measure"]):
        assert own["kind"].tolist() in (list(together.KINDS), [together.KINDS[1]])


def test_per_person_counts_people(calls):
    table = together.both_intervals(calls, ["ResNet50"], evidence="phantom", seed=1)
    means = calls.groupby("case_id")[["label", "probability"]].mean()
    found = ((means["probability"] >= 0.5) & (means["label"] == 1)).sum()
    row = table[table["rater"].str.contains("person") & (table["measure"] == "sensitivity")]
    assert row["estimate"].item() == pytest.approx(found / 9)
    assert row["low"].item() == pytest.approx(inference.proportion(found, 9).low)


def test_the_mean_of_raters_is_the_mean_of_their_measures(calls):
    found = together.mean_of(calls, NAMES, seed=1).set_index("measure")["estimate"]
    for measure in ("sensitivity", "specificity", "accuracy"):
        own = [
            float(accuracy.measures(accuracy.confusion(calls["label"], calls[name]))[measure])
            for name in NAMES
        ]
        assert found[measure] == pytest.approx(np.mean(own))


def test_the_mean_of_three_equal_raters_is_as_uncertain_as_one(calls):
    same = calls.assign(B=calls["A"], C=calls["A"])
    one = together.mean_of(same, ["A"], seed=1)
    three = together.mean_of(same, NAMES, seed=1)
    columns = ["estimate", "low", "high"]
    chosen = one["measure"].isin(["sensitivity", "specificity", "accuracy"])
    np.testing.assert_allclose(one.loc[chosen, columns], three.loc[chosen, columns])


def test_strategies(calls):
    table = together.strategies(calls, NAMES, model="ResNet50", seed=1)
    found = table.set_index(["strategy", "measure"])["estimate"]
    majority = (calls[NAMES].sum(axis=1) >= 2).astype(int)
    assert found["majority of readers", "accuracy"] == pytest.approx(
        (majority == calls["label"]).mean()
    )
    right = [(calls[name] == calls["label"]).mean() for name in NAMES]
    assert found["best reader, chosen on these images", "accuracy"] == pytest.approx(max(right))
    low, high = together.SURE
    helped = [
        np.where(p >= high, 1, np.where(p <= low, 0, calls[name]))
        for name, p in ((name, calls["probability"]) for name in NAMES)
    ]
    expected = np.mean([(h == calls["label"]).mean() for h in helped])
    assert found["one reader who yields to a sure ResNet50, mean", "accuracy"] == pytest.approx(
        expected
    )
    two, three = (f"readers and ResNet50, {k} of 4 votes" for k in (2, 3))
    assert found[two, "sensitivity"] >= found[three, "sensitivity"]
    assert len(table) == 7 * 3


def test_agreement_estimates_are_those_of_the_formulas_with_errors(calls):
    groups = {"three": NAMES, "four": [*NAMES, "ResNet50"]}
    table = together.agreement_of(calls, groups, seed=1).set_index(["raters", "measure"])
    for name, raters in groups.items():
        counts = agreement.tally(calls[raters])
        kappa, ac1 = agreement.fleiss_kappa(counts), agreement.gwet_ac1(counts)
        assert table.loc[(name, "Fleiss' kappa"), "estimate"] == pytest.approx(kappa.estimate)
        assert table.loc[(name, "Gwet's AC1"), "estimate"] == pytest.approx(ac1.estimate)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10_000))
def test_resampled_ac1_does_not_change_when_every_image_is_doubled(raters, seed):
    rng = np.random.default_rng(seed)
    calls = rng.integers(0, 2, size=(12, raters))
    case = np.repeat(np.arange(6), 2)
    once = together.ac1_by_case(calls, case, replicates=60, seed=seed)
    twice = together.ac1_by_case(
        np.repeat(calls, 2, axis=0), np.repeat(case, 2), replicates=60, seed=seed
    )
    np.testing.assert_allclose(once[:3], twice[:3], atol=1e-12)
    assert once.low <= once.high <= 1


def test_complete_agreement_is_one(calls):
    same = calls.assign(B=calls["A"], C=calls["A"])
    assert together.ac1_by_case(same[NAMES], same["case_id"]).estimate == pytest.approx(1)


def test_a_missing_call_is_refused(calls):
    with pytest.raises(ValueError, match="call"):
        readers.team(calls.assign(A=np.nan), NAMES, model="ResNet50")


def test_without_a_file_readers_are_simulated_and_named_so(calls):
    images = calls.assign(image_id=[f"i{n}" for n in range(len(calls))])
    reads, whose = together.reads_of("", images, seed=1)
    assert readers.are_simulated(reads["reader_id"].unique())
    assert "simulated" in whose


def test_a_file_of_reads_is_used(calls, tmp_path):
    images = calls.assign(image_id=[f"i{n}" for n in range(len(calls))])
    path = tmp_path / "reads.csv"
    wide = images[["image_id", "label"]].rename(columns={"label": "call"})
    wide.assign(reader_id="Dr A").to_csv(path, index=False)
    reads, whose = together.reads_of(str(path), images, seed=1)
    assert reads["reader_id"].unique().tolist() == ["Dr A"]
    assert whose == "calls of your readers"


def test_difference_from_readers_in_general_has_no_p(calls):
    found = together.against_readers_in_general(calls, NAMES, model="ResNet50")
    sick = calls[calls["label"] == 1]
    expected = sick["ResNet50"].mean() - sick[NAMES].mean().mean()
    assert found.estimate == pytest.approx(expected)
    assert found.low <= found.estimate <= found.high
    assert not hasattr(found, "p")


def test_simulated_readers_get_the_difference_without_an_interval(calls):
    images = calls.assign(image_id=[f"i{n}" for n in range(len(calls))])
    names = sorted(together.reads_of("", images, seed=1)[0]["reader_id"].unique())
    renamed = calls.rename(columns=dict(zip(NAMES, names, strict=True)))
    real = together.against_readers_in_general(calls, NAMES, model="ResNet50")
    found = together.against_readers_in_general(renamed, names, model="ResNet50")
    assert found.estimate == real.estimate and np.isnan(found[1:3]).all()
    assert found.method == "none: readers are simulated"
