"""Shares by case: other packages, worked example, properties, bad inputs."""

import numpy as np
import pandas as pd
import pingouin
import pytest
import statsmodels.api as sm
from hypothesis import assume, given
from hypothesis import strategies as st

from helpers import accuracy, clustered, inference

#: Specificity of PET and SPECT for hyperparathyroidism in 21 people with 51 glands: Obuchowski
#: NA, Stat Med 1998;17:1495-1507, as in the data of the R package clust.bin.pair (MIT licence).
GLANDS = [3, 3, 3, 1, 3, 4, 3, 2, 2, 1, 3, 2, 3, 2, 2, 3, 3, 3, 2, 1, 2]
PET_WRONG = [0, 1, 2, 5, 12, 27, 35, 36, 39, 42, 45]
SPECT_WRONG = [0, 23, 27, 39, 42]
PATIENT = np.repeat(np.arange(len(GLANDS)), GLANDS)


def right(wrong):
    found = np.ones(len(PATIENT), dtype=int)
    found[wrong] = 0
    return found


PET, SPECT = right(PET_WRONG), right(SPECT_WRONG)

CASES = st.lists(
    st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    min_size=2,
    max_size=12,
)


def images_of(cases):
    hit = np.concatenate([np.repeat([1, 0], [hits, n - hits]) for n, hits in cases])
    return hit, np.repeat(np.arange(len(cases)), [n for n, _ in cases])


@pytest.mark.parametrize(
    ("hit", "share", "error", "effect"),
    [(PET, 0.7843, 0.069603, 1.4605), (SPECT, 0.9020, 0.037972, 0.8316)],
)
def test_worked_example_of_two_scans(hit, share, error, effect):
    found = clustered.share(hit, PATIENT)
    assert found.estimate == pytest.approx(share, abs=5e-5)
    assert found.error == pytest.approx(error, abs=5e-7)
    assert found.design_effect == pytest.approx(effect, abs=5e-5)
    assert found.effective_n == pytest.approx(51 / effect, rel=1e-4)


def test_agrees_with_the_survey_package():
    """R 4.2.2, survey 4.1-1: ``d <- svydesign(ids=~patient, weights=~1, data)``,

    ``SE(svymean(~pet, d))`` 0.06960316853; ``svyciprop(~pet, d, method="logit")`` 0.60652186
    0.89559896; ``svyciprop(~pet, d, method="mean")`` 0.63912406 0.92950339.
    """
    assert clustered.share(PET, PATIENT).error == pytest.approx(0.06960316853, abs=5e-12)
    logit = clustered.interval(PET, PATIENT, method="logit-t")
    assert (logit.low, logit.high) == pytest.approx((0.60652186, 0.89559896), abs=5e-9)
    plain = clustered.interval(PET, PATIENT, method="t")
    assert (plain.low, plain.high) == pytest.approx((0.63912406, 0.92950339), abs=5e-9)


@pytest.mark.parametrize(("hit", "error"), [(PET, 0.067926), (SPECT, 0.037057)])
def test_uncorrected_error_is_that_of_estimating_equations(hit, error):
    model = sm.GEE(
        hit, np.ones((51, 1)), PATIENT, family=sm.families.Binomial(),
        cov_struct=sm.cov_struct.Independence(),
    ).fit(cov_type="robust")  # fmt: skip
    share = hit.mean()
    by_delta = float(np.asarray(model.bse)[0]) * share * (1 - share)
    found = clustered.share(hit, PATIENT, corrected=False)
    assert found.error == pytest.approx(by_delta, rel=1e-6)
    assert found.error == pytest.approx(error, abs=5e-7)


@given(st.lists(st.integers(0, 1), min_size=2, max_size=60))
def test_one_image_a_case_is_the_plain_interval(hit):
    assume(0 < sum(hit) < len(hit))
    case = np.arange(len(hit))
    plain = inference.proportion(sum(hit), len(hit))
    found = clustered.interval(hit, case, method="wilson", corrected=False)
    assert found[:3] == pytest.approx(plain[:3])
    assert clustered.share(hit, case).effective_n == pytest.approx(len(hit) - 1)


@given(CASES, st.integers(2, 4), st.sampled_from(sorted(clustered.METHODS)))
def test_repeating_every_image_changes_nothing_by_case_but_the_plain_error(cases, times, method):
    hit, case = images_of(cases)
    once = clustered.interval(hit, case, method=method)
    again = clustered.interval(np.repeat(hit, times), np.repeat(case, times), method=method)
    assert again[:3] == pytest.approx(once[:3], nan_ok=True)
    one, more = (hit.mean() * (1 - hit.mean()) / (hit.size * k) for k in (1, times))
    assert np.sqrt(one) == pytest.approx(np.sqrt(times) * np.sqrt(more))


@given(CASES, st.sampled_from(sorted(clustered.METHODS)))
def test_intervals_stay_in_range_and_hold_the_estimate(cases, method):
    found = clustered.interval(*images_of(cases), method=method)
    slack = 1e-12
    assert 0 <= found.low <= found.estimate + slack
    assert found.estimate - slack <= found.high <= 1


@given(CASES, st.sampled_from(sorted(clustered.METHODS)))
def test_sensitivity_and_specificity_mirror_each_other(cases, method):
    hit, case = images_of(cases)
    one = clustered.interval(hit, case, method=method)
    other = clustered.interval(1 - hit, case, method=method)
    mirrored = (1 - other.estimate, 1 - other.high, 1 - other.low)
    assert one[:3] == pytest.approx(mirrored, abs=1e-9)


def test_many_data_sets_at_once_are_each_alone():
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 9, 20)
    hits = rng.binomial(sizes, 0.8, size=(5, 20))
    together = clustered.share_of_totals(hits, sizes)
    for place, row in enumerate(hits):
        hit, case = images_of(list(zip(sizes, row, strict=True)))
        alone = clustered.share(hit, case)
        assert together.error[place] == pytest.approx(alone.error)
        low, high = clustered.limits(together, method="logit-t")
        assert (low[place], high[place]) == pytest.approx(clustered.interval(hit, case)[1:3])


@pytest.mark.parametrize(
    ("hit", "case", "reason"),
    [([], [], "no image"), ([1, 0, 1], list("aaa"), "one case only")],
)
def test_too_little_is_undefined_with_a_reason(hit, case, reason):
    found = clustered.share(hit, case)
    assert np.isnan(found.error)
    assert found.reason == reason
    interval = clustered.interval(hit, case)
    assert np.isnan([interval.low, interval.high]).all()
    assert interval.method == f"none: {reason}"


@pytest.mark.parametrize("method", sorted(clustered.METHODS))
def test_cases_that_are_all_alike_count_once_each(method):
    found = clustered.interval([1] * 6, list("aabbbc"), method=method)
    exact = "clopper-pearson" if method == "clopper-pearson" else "wilson"
    expected = inference.proportion(3, 3, method=exact)
    assert found[:3] == pytest.approx(expected[:3])
    assert "each counted once" in found.method


@pytest.mark.parametrize(
    ("hit", "case", "message"),
    [
        ([1, 0], ["a"], "2 calls but 1 case ids"),
        ([1, 2], ["a", "b"], "1 of 2 calls are neither 0 nor 1, e.g. 2.0"),
        ([1, np.nan], ["a", "b"], "neither 0 nor 1, e.g. nan"),
        ([1, 0], ["a", None], "1 of 2 images have no case id"),
    ],
)
def test_bad_inputs_are_refused(hit, case, message):
    with pytest.raises(ValueError, match=message):
        clustered.share(hit, case)


def test_an_unknown_method_is_named_with_those_available():
    with pytest.raises(ValueError, match=r"No interval 'wald'. Available: wilson, clopper-pearson"):
        clustered.interval([1, 0], ["a", "b"], method="wald")


def test_design_effect_of_a_correlation():
    sizes = np.repeat([6, 2], [10, 10])
    assert clustered.design_effect_of_icc(sizes, 0.4) == pytest.approx(1 + (400 / 80 - 1) * 0.4)
    assert np.isnan(clustered.design_effect_of_icc([], 0.4))


def test_correlation_within_cases_is_the_simulated_one():
    rng = np.random.default_rng(8)
    sizes = rng.integers(2, 9, 20_000)
    own = rng.beta(0.9 * 1.5, 0.1 * 1.5, sizes.size)
    case = np.repeat(np.arange(sizes.size), sizes)
    hit = (rng.random(case.size) < own[case]).astype(int)
    assert clustered.intraclass_correlation(hit, case) == pytest.approx(0.4, abs=0.02)
    assert np.isnan(clustered.intraclass_correlation([1, 0], ["a", "b"]))


def test_correlation_within_cases_is_pingouins():
    """Where every case has as many images it is the one-way intraclass correlation."""
    rng = np.random.default_rng(9)
    hit = (rng.random((30, 1)) + rng.random((30, 4)) > 1).astype(int)
    case, place = np.repeat(np.arange(30), 4), np.tile(np.arange(4), 30)
    rows = pd.DataFrame({"case": case, "place": place, "hit": hit.ravel()})
    table = pingouin.intraclass_corr(rows, targets="case", raters="place", ratings="hit")
    expected = table.set_index("Type").loc["ICC(1,1)", "ICC"]
    found = clustered.intraclass_correlation(hit.ravel(), case)
    assert found == pytest.approx(expected, abs=5e-7)


def test_likelihood_ratio_of_independent_images_is_simels():
    counts = accuracy.published_counts()
    label, call = np.repeat([1, 1, 0, 0], counts), np.repeat([1, 0, 1, 0], counts)
    for sign in ("positive", "negative"):
        plain = inference.likelihood_ratio(counts, sign=sign)
        found = clustered.likelihood_ratio(label, call, np.arange(label.size), sign=sign)
        assert found[:3] == pytest.approx(plain[:3], rel=2e-3)


def test_likelihood_ratio_agrees_with_resampled_cases():
    rng = np.random.default_rng(5)
    case = np.repeat(np.arange(120), 6)
    label = (case < 50).astype(int)
    chance = np.where(label == 1, rng.beta(8, 2, 120)[case], rng.beta(2, 8, 120)[case])
    call = (rng.random(case.size) < chance).astype(int)
    table = inference.by_case(label, case, call=call, seed=1).set_index("measure")
    found = clustered.likelihood_ratio(label, call, case, sign="positive")
    resampled = table.loc["lr_positive", ["low", "high"]].astype(float)
    assert (found.low, found.high) == pytest.approx(tuple(resampled), rel=0.1)
    value = inference.after_call(found, sign="positive", prevalence=0.1)
    assert value.low < value.estimate < value.high
    assert value.method == "logit scale, 120 cases"


def test_likelihood_ratio_without_false_positives_says_why():
    found = clustered.likelihood_ratio([1, 1, 0, 0], [1, 0, 0, 0], list("abcd"), sign="positive")
    assert np.isnan([found.estimate, found.low]).all()
    assert found.method.startswith("none: ")
    with pytest.raises(ValueError, match="3 labels, 2 calls and 3 case ids"):
        clustered.likelihood_ratio([1, 1, 0], [1, 0], list("abc"), sign="positive")
