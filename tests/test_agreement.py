"""Agreement: worked example, another package, brute force, properties, bad inputs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import agreement, readers

#: Fleiss (1971)'s design with 14 raters of 10 subjects, as in the Wikipedia article on his kappa.
WIKIPEDIA = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]

CALLS = st.lists(st.tuples(*[st.integers(0, 1)] * 3), min_size=4, max_size=40)
COEFFICIENTS = st.sampled_from([agreement.fleiss_kappa, agreement.gwet_ac1])


def test_agrees_with_irrcac_on_the_worked_example():
    """irrCAC 0.4.4, ``CAC(ratings, digits=8)``:

    ``fleiss()``: 0.2099307, se 0.09237111, interval 0.00097273 to 0.41888868;
    ``gwet()``: 0.22561415, se 0.09332407, interval 0.01450043 to 0.43672787.
    """
    kappa, ac1 = agreement.fleiss_kappa(WIKIPEDIA), agreement.gwet_ac1(WIKIPEDIA)
    assert kappa[:4] == pytest.approx((0.2099307, 0.09237111, 0.00097273, 0.41888868), abs=5e-8)
    assert ac1[:4] == pytest.approx((0.22561415, 0.09332407, 0.01450043, 0.43672787), abs=5e-8)


def ac1_by_definition(calls):
    calls = np.asarray(calls)
    raters = calls.shape[1]
    pairs = [(i, j) for i in range(raters) for j in range(raters) if i != j]
    agree = np.mean([[row[i] == row[j] for i, j in pairs] for row in calls])
    rate = calls.mean()
    return (agree - 2 * rate * (1 - rate)) / (1 - 2 * rate * (1 - rate))


@given(CALLS)
def test_ac1_is_its_definition_and_kappa_statsmodels(calls):
    counts = agreement.tally(calls)
    assert agreement.gwet_ac1(counts).estimate == pytest.approx(ac1_by_definition(calls))
    expected = readers.fleiss_kappa(calls)
    assert agreement.fleiss_kappa(counts).estimate == pytest.approx(expected, nan_ok=True)


def clustered_calls(seed=1, cases=80):
    rng = np.random.default_rng(seed)
    case = np.repeat(np.arange(cases), rng.integers(1, 8, cases))
    latent = rng.normal(size=cases)[case][:, None] + 0.7 * rng.normal(size=(case.size, 3))
    return (latent > 0.5).astype(int), case


@pytest.mark.parametrize("coefficient", [agreement.fleiss_kappa, agreement.gwet_ac1])
def test_error_by_case_is_near_that_of_leaving_out_cases(coefficient):
    calls, case = clustered_calls()
    counts = agreement.tally(calls)
    left_out = np.array([coefficient(counts[case != k]).estimate for k in np.unique(case)])
    jackknife = np.sqrt((len(left_out) - 1) * left_out.var())
    assert coefficient(counts, case=case).error == pytest.approx(jackknife, rel=0.03)


def test_kappa_by_case_is_near_resampled_cases():
    calls, case = clustered_calls()
    found = agreement.fleiss_kappa(agreement.tally(calls), case=case)
    resampled = readers.kappa_by_case(calls, case, seed=3)
    assert found.estimate == pytest.approx(resampled.estimate)
    assert (found.low, found.high) == pytest.approx((resampled.low, resampled.high), abs=0.02)


@given(CALLS, COEFFICIENTS, st.integers(2, 4))
def test_repeating_every_image_leaves_the_error_by_case(calls, coefficient, times):
    counts, case = agreement.tally(calls), np.arange(len(calls))
    once = coefficient(counts, case=case)
    again = coefficient(np.repeat(counts, times, axis=0), case=np.repeat(case, times))
    assert again[:4] == pytest.approx(once[:4], nan_ok=True)
    assert once[:4] == pytest.approx(coefficient(counts)[:4], nan_ok=True)


@given(CALLS, COEFFICIENTS)
def test_intervals_hold_the_estimate(calls, coefficient):
    found = coefficient(agreement.tally(calls))
    if np.isnan(found.low):
        assert found.reason
        return
    assert -1 <= found.low <= found.estimate + 1e-12
    assert found.estimate - 1e-12 <= found.high <= 1


@given(CALLS, COEFFICIENTS)
def test_swapping_the_answers_changes_nothing(calls, coefficient):
    swapped = 1 - np.array(calls)
    one, other = coefficient(agreement.tally(calls)), coefficient(agreement.tally(swapped))
    assert one[:4] == pytest.approx(other[:4], nan_ok=True)


def test_calls_by_chance_agree_no_more_than_chance():
    rng = np.random.default_rng(9)
    counts = agreement.tally(rng.random((648, 3)) < 0.4)
    found = agreement.fleiss_kappa(counts)
    assert abs(found.estimate) < 3 * found.error
    null = agreement.kappa_error_without_agreement(648, 3, [0.6, 0.4])
    assert found.error == pytest.approx(null, rel=0.1)


def test_error_without_agreement_by_simulation():
    rng = np.random.default_rng(10)
    shares = [0.2, 0.3, 0.5]
    draws = rng.multinomial(5, shares, size=(2000, 60))
    kappas = [agreement.fleiss_kappa(counts).estimate for counts in draws]
    expected = agreement.kappa_error_without_agreement(60, 5, shares)
    assert np.std(kappas) == pytest.approx(expected, rel=0.05)
    assert np.isnan(agreement.kappa_error_without_agreement(60, 5, [1.0, 0.0]))


def test_readers_who_always_say_the_same():
    counts = agreement.tally(np.ones((5, 3)))
    kappa, ac1 = agreement.fleiss_kappa(counts), agreement.gwet_ac1(counts)
    assert np.isnan(kappa.estimate)
    assert kappa.reason == "all answers are the same, so chance agreement is complete"
    assert ac1.estimate == 1
    assert np.isnan(ac1.low)
    assert ac1.reason == "no unit differs from another"


def test_one_case_has_no_error():
    found = agreement.fleiss_kappa([[3, 0], [1, 2], [0, 3]], case=list("aaa"))
    assert np.isnan(found.error)
    assert found.reason == "1 unit only"


@pytest.mark.parametrize(
    ("counts", "case", "message"),
    [
        ([[3, 0], [1, 1]], None, "Images have 2, 3 answers; expected as many for each"),
        ([[1, 0], [0, 1]], None, "two at least"),
        ([3, 0], None, "expected images × categories"),
        ([[3, 0], [0, 3]], ["a"], "2 images but 1 case ids"),
    ],
)
def test_bad_inputs_are_refused(counts, case, message):
    with pytest.raises(ValueError, match=message):
        agreement.fleiss_kappa(counts, case=case)


def test_a_missing_call_is_refused():
    with pytest.raises(ValueError, match="no call may be missing"):
        agreement.tally([[1, np.nan], [0, 1]])
    with pytest.raises(ValueError, match="two or more readers"):
        agreement.tally([[1], [0]])
