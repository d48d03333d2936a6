"""Intervals: the published ones, other implementations, brute force, properties."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from helpers import accuracy, claims, inference
from helpers.accuracy import Counts

PUBLISHED = Counts(tp=204, fn=24, fp=35, tn=385)
SHARE = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
CELL = st.integers(0, 40)
TABLES = st.builds(Counts, tp=CELL, fn=CELL, fp=CELL, tn=CELL)


@pytest.fixture
def clustered():
    rng = np.random.default_rng(11)
    case = np.repeat(np.arange(60), rng.integers(1, 9, 60))
    label = (case < 25).astype(int)
    score = label + rng.normal(size=60)[case] + 0.5 * rng.normal(size=case.size)
    return label, score, (score > 0.5).astype(int), case


@pytest.mark.parametrize(
    ("successes", "n", "method", "low", "high"),
    [
        (204, 228, "wilson", 0.8482, 0.9282),
        (204, 228, "clopper-pearson", 0.8474, 0.9314),
        (385, 420, "wilson", 0.8863, 0.9395),
        (589, 648, "wilson", 0.8843, 0.9288),
        (589, 648, "clopper-pearson", 0.8841, 0.9300),
        (180, 228, "wilson", 0.732, 0.837),
        (123, 130, "wilson", 0.893, 0.974),
        (81, 98, "wilson", 0.740, 0.889),
    ],
)
def test_intervals_of_the_published_counts(successes, n, method, low, high):
    digits = 4 if low != round(low, 3) else 3
    found = inference.proportion(successes, n, method=method)
    assert (round(found.low, digits), round(found.high, digits)) == (low, high)


@pytest.mark.parametrize(
    ("measure", "claim_id"),
    [("accuracy", "P1-17"), ("sensitivity", "P1-18"), ("specificity", "P1-19")],
)
def test_counts_reproduce_the_printed_intervals_of_resnet50(measure, claim_id):
    table = inference.from_counts(
        accuracy.published_counts(), methods={"accuracy": "clopper-pearson"}
    ).set_index("measure")
    claim = claims.get(claim_id)
    found = [round(table.loc[measure, name], 2) for name in ("estimate", "low", "high")]
    assert found == [claim.value, claim.low, claim.high]


def test_likelihood_ratio_intervals_of_the_published_counts():
    positive = inference.likelihood_ratio(PUBLISHED, sign="positive")
    negative = inference.likelihood_ratio(PUBLISHED, sign="negative")
    assert [round(v, 2) for v in positive[:3]] == [10.74, 7.79, 14.79]
    assert [round(v, 3) for v in negative[:3]] == [0.115, 0.079, 0.168]


def test_intervals_agree_with_epir():
    """R 4.2.2, epiR 2.0.57, ``epi.tests(as.table(matrix(c(204,35,24,385),2,byrow=TRUE)))``:

    lr.pos 10.73684211 (7.79421232, 14.79043343), lr.neg 0.11483254 (0.07856638, 0.16783911),
    diag.or 93.50000000 (54.13577770, 161.48747410), pv.pos 0.85355649 and pv.neg 0.94132029
    with Clopper-Pearson (0.80226147, 0.89582916) and (0.91394479, 0.96204467).
    """
    exact = inference.from_counts(
        PUBLISHED, methods={"ppv": "clopper-pearson", "npv": "clopper-pearson"}
    ).set_index("measure")[["estimate", "low", "high"]]
    expected = {
        "lr_positive": (10.73684211, 7.79421232, 14.79043343),
        "lr_negative": (0.11483254, 0.07856638, 0.16783911),
        "diagnostic_odds_ratio": (93.5, 54.13577770, 161.48747410),
        "ppv": (0.85355649, 0.80226147, 0.89582916),
        "npv": (0.94132029, 0.91394479, 0.96204467),
    }
    for measure, values in expected.items():
        assert exact.loc[measure].tolist() == pytest.approx(values, rel=1e-9, abs=6e-9), measure


@pytest.mark.parametrize(
    ("prevalence", "positive", "negative"),
    [
        (0.01, 0.098, 0.999),
        (0.05, 0.361, 0.994),
        (0.10, 0.544, 0.987),
        (0.20, 0.729, 0.972),
        (148 / 432, 0.848, 0.944),
        (0.50, 0.915, 0.897),
    ],
)
def test_predictive_values_of_the_published_counts(prevalence, positive, negative):
    for sign, expected in (("positive", positive), ("negative", negative)):
        found = inference.predictive_value(PUBLISHED, sign=sign, prevalence=prevalence)
        assert round(found.estimate, 3) == expected


def logit_interval(counts, sign, prevalence):
    """Mercaldo et al. (2007), equations of the logit intervals written out."""
    tp, fn, fp, tn = counts
    se, sp, n1, n0 = tp / (tp + fn), tn / (tn + fp), tp + fn, tn + fp
    if sign == "positive":
        centre = np.log(se * prevalence / ((1 - sp) * (1 - prevalence)))
        variance = (1 - se) / se / n1 + sp / (1 - sp) / n0
    else:
        centre = np.log(sp * (1 - prevalence) / ((1 - se) * prevalence))
        variance = se / (1 - se) / n1 + (1 - sp) / sp / n0
    steps = centre + stats.norm.ppf([0.5, 0.025, 0.975]) * np.sqrt(variance)
    return 1 / (1 + np.exp(-steps))


@given(
    st.builds(Counts, *[st.integers(1, 60)] * 4),
    st.floats(0.001, 0.999),
    st.sampled_from(["positive", "negative"]),
)
def test_predictive_values_have_mercaldos_logit_interval(counts, prevalence, sign):
    found = inference.predictive_value(counts, sign=sign, prevalence=prevalence)
    assert found[:3] == pytest.approx(tuple(logit_interval(counts, sign, prevalence)))
    assert 0 <= found.low <= found.estimate + 1e-12
    assert found.estimate - 1e-12 <= found.high <= 1


def test_counts_of_a_published_sign_give_the_printed_shares():
    """Trefoil sign on thigh MRI (Zheng 2015, as the paper cites it): 69 of 166, 242 of 244."""
    found = inference.from_counts(Counts(tp=69, fn=97, fp=2, tn=242)).set_index("measure")
    printed = {"sensitivity": 41.6, "specificity": 99.2, "ppv": 97.2, "npv": 71.4}
    assert {m: round(100 * found.loc[m, "estimate"], 1) for m in printed} == printed


def test_predictive_values_at_the_images_own_share_are_the_plain_ones():
    share = 228 / 648
    for sign, measure in (("positive", "ppv"), ("negative", "npv")):
        found = inference.predictive_value(PUBLISHED, sign=sign, prevalence=share)
        assert found.estimate == pytest.approx(float(accuracy.measures(PUBLISHED)[measure]))


def test_predictive_values_at_the_ends_and_without_false_calls():
    sure = inference.predictive_value(PUBLISHED, sign="positive", prevalence=1.0)
    assert sure[:3] == (1.0, 1.0, 1.0)
    never = inference.predictive_value(PUBLISHED, sign="positive", prevalence=0.0)
    assert never[:3] == (0.0, 0.0, 0.0)
    empty = Counts(tp=3, fn=1, fp=0, tn=4)
    found = inference.predictive_value(empty, sign="positive", prevalence=0.1)
    assert np.isnan([found.low, found.high]).all()
    with pytest.raises(ValueError, match=r"Prevalence 1\.2 is not between 0 and 1"):
        inference.predictive_value(PUBLISHED, sign="positive", prevalence=1.2)


def test_youden_interval_is_newcombes():
    """Method 10 of Newcombe (1998), written out."""
    one, other = inference.proportion(204, 228), inference.proportion(35, 420)
    difference = 204 / 228 - 35 / 420
    low = difference - np.hypot(one.estimate - one.low, other.high - other.estimate)
    high = difference + np.hypot(one.high - one.estimate, other.estimate - other.low)
    assert inference.youden(PUBLISHED)[:3] == pytest.approx((difference, low, high))
    assert np.isnan(inference.youden(Counts(tp=0, fn=0, fp=1, tn=1)).estimate)


def test_ten_thousand_resampled_cohorts_cost_less_than_two_seconds():
    rng = np.random.default_rng(0)
    sizes = np.r_[rng.multinomial(191, [1 / 37] * 37), rng.multinomial(355, [1 / 65] * 65)] + 1
    case = np.repeat(np.arange(102), sizes)
    label = (case < 37).astype(int)
    score = label + rng.normal(size=648)
    call = (score > 0.5).astype(int)
    started = time.process_time()
    table = inference.by_case(label, case, call=call, probability=score, replicates=10_000)
    assert time.process_time() - started < 2
    assert len(table) == len(accuracy.MEASURES) + 1


def test_an_image_without_a_case_or_a_case_id_too_few_is_refused():
    with pytest.raises(ValueError, match="1 of 3 images have no case id"):
        inference.by_case([1, 0, 0], ["a", "b", None], call=[1, 0, 0])
    with pytest.raises(ValueError, match="3 labels but 2 case ids"):
        inference.by_case([1, 0, 0], ["a", "b"], call=[1, 0, 0])
    with pytest.raises(ValueError, match="1 of 3 probabilities are NaN"):
        inference.by_case([1, 0, 0], list("abc"), probability=[0.5, np.nan, 0.1])


def test_one_class_only_leaves_its_measures_undefined_with_a_reason():
    table = inference.by_case([1, 1, 1], list("abc"), call=[1, 0, 1]).set_index("measure")
    assert table.loc["specificity", "reason"] == "no control"
    assert np.isnan(table.loc["specificity", "estimate"])
    assert table.loc["sensitivity", "estimate"] == pytest.approx(2 / 3)


def test_odds_ratio_agrees_with_scipy():
    found = inference.odds_ratio(PUBLISHED)
    table = stats.contingency.odds_ratio([[204, 24], [35, 385]], kind="sample")
    limits = table.confidence_interval()
    assert found[:3] == pytest.approx((table.statistic, limits.low, limits.high))


def wilson_by_search(successes, n, level=0.95):
    """Wilson's limits by definition: proportions that the score test does not reject."""
    grid = np.linspace(1e-9, 1 - 1e-9, 2_000_001)
    z = (successes / n - grid) / np.sqrt(grid * (1 - grid) / n)
    kept = grid[np.abs(z) <= stats.norm.ppf((1 + level) / 2)]
    return kept[0], kept[-1]


@pytest.mark.parametrize(("successes", "n"), [(204, 228), (1, 7), (30, 60)])
def test_wilson_inverts_the_score_test(successes, n):
    found = inference.proportion(successes, n)
    assert (found.low, found.high) == pytest.approx(wilson_by_search(successes, n), abs=1e-6)


@pytest.mark.parametrize(("successes", "n"), [(204, 228), (1, 7), (30, 60)])
def test_clopper_pearson_agrees_with_scipy(successes, n):
    found = inference.proportion(successes, n, method="clopper-pearson")
    limits = stats.binomtest(successes, n).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((limits.low, limits.high), abs=1e-9)


@given(SHARE, st.sampled_from(["wilson", "clopper-pearson", "jeffreys"]))
def test_intervals_stay_in_range_and_hold_the_estimate(share, method):
    found = inference.proportion(*share, method=method)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


@given(SHARE, st.sampled_from(["wilson", "clopper-pearson", "jeffreys"]))
def test_interval_of_the_complement_is_the_mirror(share, method):
    successes, n = share
    one = inference.proportion(successes, n, method=method)
    other = inference.proportion(n - successes, n, method=method)
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-9)


@given(TABLES)
def test_every_interval_from_counts_holds_its_estimate(table):
    found = inference.from_counts(table)
    known = found.dropna(subset=["estimate", "low", "high"])
    slack = 1e-12 * known["estimate"].abs()
    assert (known["low"] <= known["estimate"] + slack).all()
    assert (known["estimate"] <= known["high"] + slack).all()
    assert ((found["reason"] != "") == found["estimate"].isna()).all()


def test_swapped_labels_mirror_the_intervals():
    one = inference.from_counts(PUBLISHED).set_index("measure")
    mirrored = Counts(tp=PUBLISHED.tn, fn=PUBLISHED.fp, fp=PUBLISHED.fn, tn=PUBLISHED.tp)
    other = inference.from_counts(mirrored).set_index("measure")
    limits = ["estimate", "low", "high"]
    assert one.loc["sensitivity", limits].tolist() == other.loc["specificity", limits].tolist()


def test_f1_interval_agrees_with_resampled_images():
    label, call = np.repeat([1, 1, 0, 0], PUBLISHED), np.repeat([1, 0, 1, 0], PUBLISHED)
    images = np.arange(label.size)
    table = inference.by_case(label, images, call=call, seed=1).set_index("measure")
    found = inference.f1(PUBLISHED)
    assert (found.low, found.high) == pytest.approx(table.loc["f1", ["low", "high"]], abs=0.006)


def test_one_image_a_case_gives_about_wilsons_interval():
    label, call = np.repeat([1, 1, 0, 0], PUBLISHED), np.repeat([1, 0, 1, 0], PUBLISHED)
    table = inference.by_case(label, np.arange(648), call=call, seed=2).set_index("measure")
    plain = inference.from_counts(PUBLISHED).set_index("measure")
    for measure in ("sensitivity", "specificity", "accuracy"):
        found, expected = table.loc[measure], plain.loc[measure]
        assert found["estimate"] == pytest.approx(expected["estimate"])
        assert found["high"] - found["low"] == pytest.approx(
            expected["high"] - expected["low"], rel=0.08
        )


def test_case_bootstrap_equals_resampling_rows_one_by_one(clustered):
    label, score, call, case = clustered
    weights = inference.case_weights(case, stratum=label, replicates=5, seed=3)
    images = weights[4, case].astype(int)
    rows = np.repeat(np.arange(case.size), images)
    tables = weights @ inference.counts_by_case(label, call, case)
    assert tables[4].astype(int).tolist() == list(accuracy.confusion(label[rows], call[rows]))
    areas = inference._weighted_auc(label, score, case, weights)
    assert areas[4] == pytest.approx(accuracy.auc(label[rows], score[rows]))
    assert areas[0] == pytest.approx(accuracy.auc(label, score))


def test_repeating_every_image_leaves_the_case_interval_unchanged(clustered):
    label, score, call, case = clustered
    once = inference.by_case(label, case, call=call, probability=score, seed=4)
    thrice = inference.by_case(
        np.tile(label, 3), np.tile(case, 3), call=np.tile(call, 3), probability=np.tile(score, 3),
        seed=4,
    )  # fmt: skip
    limits = ["estimate", "low", "high"]
    np.testing.assert_allclose(once[limits].astype(float), thrice[limits].astype(float))


def test_resampled_intervals_stay_in_range(clustered):
    label, score, call, case = clustered
    table = inference.by_case(label, case, call=call, probability=score).set_index("measure")
    shares = table.loc[["accuracy", "f1", "sensitivity", "specificity", "ppv", "npv", "auc"]]
    assert ((shares["low"] >= 0) & (shares["high"] <= 1)).all()
    assert ((shares["low"] <= shares["estimate"]) & (shares["estimate"] <= shares["high"])).all()


def test_the_same_seed_gives_the_same_interval(clustered):
    label, _, call, case = clustered
    one = inference.by_case(label, case, call=call, seed=9)
    pd.testing.assert_frame_equal(one, inference.by_case(label, case, call=call, seed=9))
    assert not one.equals(inference.by_case(label, case, call=call, seed=10))


def test_cases_that_are_all_alike_give_no_interval():
    table = inference.by_case([1, 1, 0, 0], list("abcd"), call=[1, 1, 0, 1]).set_index("measure")
    assert np.isnan(table.loc["sensitivity", "low"])
    assert table.loc["sensitivity", "method"] == "none: resampling 4 cases changes nothing"


def test_a_measure_often_undefined_gives_no_interval():
    table = inference.by_case([1, 1, 0, 0], list("abcd"), call=[1, 0, 0, 1]).set_index("measure")
    assert np.isnan(table.loc["lr_positive", "low"])
    assert table.loc["lr_positive", "method"].startswith("none: undefined in")


def test_permuted_labels_hold_one_half_in_the_interval():
    rng = np.random.default_rng(12)
    case = np.repeat(np.arange(102), 6)
    score = rng.random(case.size)
    inside = 0
    for seed in range(40):
        label = rng.permutation((np.arange(102) < 37).astype(int))[case]
        area = inference.by_case(label, case, probability=score, seed=seed).iloc[0]
        inside += area["low"] <= 0.5 <= area["high"]
    assert inside >= 34


def test_a_case_with_two_diagnoses_is_refused():
    with pytest.raises(ValueError, match=r"1 cases have images with different labels, e.g. 'a'"):
        inference.by_case([1, 0], ["a", "a"], call=[1, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 2), "3 of 2 is no proportion"),
        ((-1, 2), "-1 of 2 is no proportion"),
    ],
)
def test_counts_that_make_no_proportion_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        inference.proportion(*arguments)


def test_an_unknown_method_is_named_with_those_available():
    with pytest.raises(ValueError, match=r"No interval 'wald'. Available: wilson, clopper-pearson"):
        inference.proportion(1, 2, method="wald")
    with pytest.raises(ValueError, match="Available: positive, negative"):
        inference.likelihood_ratio(PUBLISHED, sign="plus")


def test_nothing_observed_is_undefined():
    assert all(np.isnan(value) for value in inference.proportion(0, 0)[:3])
    table = inference.share_called(pd.DataFrame({"group": ["BMD"], "called": [0], "n": [0]}))
    assert np.isnan(table.loc[0, "estimate"])


def test_shares_by_group_resample_the_groups_own_cases(clustered):
    label, _, call, case = clustered
    group, call, case = (pd.Series(part) for part in (label, call, case))
    found = inference.share_called_by(group, call, case=case, seed=5).set_index("group")
    table = inference.by_case(label[label == 1], case[label == 1], call=call[label == 1], seed=5)
    expected = table.set_index("measure").loc["sensitivity", ["estimate", "low", "high"]]
    assert found.loc[1, ["estimate", "low", "high"]].tolist() == pytest.approx(expected.tolist())


def test_band_holds_the_curve_and_agrees_with_the_interval_at_a_threshold(clustered):
    label, score, _, case = clustered
    band = inference.roc_band(label, score, case, seed=6)
    curve = accuracy.roc(label, score)
    at = np.interp(band["false_positive_rate"], curve["false_positive_rate"], curve["sensitivity"])
    assert ((band["low"] <= at + 1e-9) & (at <= band["high"] + 1e-9)).mean() > 0.9
    assert band[["low", "high"]].iloc[-1].tolist() == [1.0, 1.0]
