"""Paired tests: worked example, other implementations, brute force, properties, bad inputs."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from helpers import paired

#: As in test_clustered: PET and SPECT of 51 glands in 21 people (Obuchowski 1998).
PATIENT = np.repeat(np.arange(21), [3, 3, 3, 1, 3, 4, 3, 2, 2, 1, 3, 2, 3, 2, 2, 3, 3, 3, 2, 1, 2])
PET, SPECT = np.ones(51, dtype=int), np.ones(51, dtype=int)
PET[[0, 1, 2, 5, 12, 27, 35, 36, 39, 42, 45]] = 0
SPECT[[0, 23, 27, 39, 42]] = 0

PAIRS = st.lists(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=6),
    min_size=2,
    max_size=10,
)


def unpack(cases):
    first, second = np.array(list(itertools.chain(*cases))).T
    return first, second, np.repeat(np.arange(len(cases)), [len(case) for case in cases])


@pytest.mark.parametrize(
    ("test", "statistic", "p"),
    [
        ("mcnemar", 4.50, 0.034),
        ("eliasziw", 3.66, None),
        ("obuchowski", 2.86, 0.091),
        ("durkalski", 2.32, 0.128),
        ("yang", 3.13, 0.077),
    ],
)
def test_worked_example_of_two_scans(test, statistic, p):
    """Statistics as the tests of the R package clust.bin.pair print them."""
    found = paired.compare(PET, SPECT, PATIENT, tests=[test]).iloc[0]
    assert round(found["statistic"], 2) == statistic
    assert p is None or round(found["p"], 3) == p
    assert (found["b"], found["c"]) == (1, 7)
    assert found["difference"] == pytest.approx(-6 / 51)


def obuchowski_by_definition(first, second, case):
    """Equations 1 to 6 of Obuchowski (1998): two shares, their variances and covariance."""
    ids = np.unique(case)
    size = np.array([(case == k).sum() for k in ids])
    hits = [np.array([x[case == k].sum() for k in ids]) for x in (first, second)]
    shares = [x.sum() / size.sum() for x in hits]
    factor = len(ids) / (len(ids) - 1) / size.sum() ** 2
    apart = [x - size * p for x, p in zip(hits, shares, strict=True)]
    variance = factor * sum((a**2).sum() for a in apart)
    return shares[0] - shares[1], variance - 2 * factor * (apart[0] * apart[1]).sum()


def test_interval_of_the_difference_is_obuchowskis():
    difference, variance = obuchowski_by_definition(PET, SPECT, PATIENT)
    found = paired.difference(PET, SPECT, PATIENT)
    half = stats.t.ppf(0.975, 20) * np.sqrt(variance)
    assert found[:3] == pytest.approx((difference, difference - half, difference + half))


@given(st.integers(0, 60), st.integers(0, 60))
def test_agrees_with_statsmodels(b, c):
    table = [[30, b], [c, 30]]
    exact = statsmodels_mcnemar(table, exact=True).pvalue
    assert paired.mcnemar(b, c, method="exact").p == pytest.approx(exact)
    if b + c:
        plain = statsmodels_mcnemar(table, exact=False, correction=False)
        assert paired.mcnemar(b, c, method="mcnemar").p == pytest.approx(plain.pvalue)
    if b != c:
        corrected = statsmodels_mcnemar(table, exact=False, correction=True)
        assert paired.mcnemar(b, c, method="corrected").p == pytest.approx(corrected.pvalue)


@pytest.mark.parametrize(("b", "c"), [(1, 7), (0, 5), (4, 4), (10, 3)])
def test_mid_p_by_counting_every_outcome(b, c):
    """Each of the 2^(b+c) ways that discordant pairs could have fallen."""
    n = b + c
    extreme = min(b, c)
    ways = np.bincount([sum(way) for way in itertools.product((0, 1), repeat=n)], minlength=n + 1)
    tail = (ways[:extreme].sum() + ways[extreme] / 2) / 2**n
    assert paired.mcnemar(b, c, method="mid-p").p == pytest.approx(min(2 * tail, 1))


@settings(max_examples=40)
@given(PAIRS)
def test_one_image_a_case_comes_down_to_mcnemar(cases):
    first, second, _ = unpack(cases)
    table = paired.compare(first, second, np.arange(first.size)).set_index("test")
    if not table.loc["mcnemar", ["b", "c"]].any():
        assert (table["p"] == 1).all()
        return
    plain, n = table.loc["mcnemar", "statistic"], first.size
    assert table.loc["obuchowski", "statistic"] == pytest.approx((n - 1) / n * plain)
    assert table.loc["durkalski", "statistic"] == pytest.approx(plain)
    assert table.loc["eliasziw", "statistic"] == pytest.approx(plain)


@settings(max_examples=40)
@given(PAIRS, st.integers(2, 4))
def test_repeating_every_image_leaves_the_clustered_tests(cases, times):
    one = unpack(cases)
    once = paired.compare(*one).set_index("test")
    again = paired.compare(*(np.repeat(part, times) for part in one)).set_index("test")
    for test in ("obuchowski", "durkalski", "yang"):
        assert again.loc[test, "p"] == pytest.approx(once.loc[test, "p"])
    if once.loc["mcnemar", "statistic"]:
        ratio = again.loc["mcnemar", "statistic"] / once.loc["mcnemar", "statistic"]
        assert ratio == pytest.approx(times)


@settings(max_examples=40)
@given(PAIRS)
def test_swapping_the_raters_turns_the_sign_only(cases):
    first, second, case = unpack(cases)
    one, other = paired.compare(first, second, case), paired.compare(second, first, case)
    assert one["difference"].tolist() == pytest.approx((-other["difference"]).tolist())
    assert one["p"].tolist() == pytest.approx(other["p"].tolist())


@settings(max_examples=40)
@given(PAIRS)
@example([[(1, 0)] * 3, [(1, 0)] * 2])
@example([[(1, 0), (0, 1)], [(1, 1)]])
def test_every_test_gives_a_probability(cases):
    found = paired.compare(*unpack(cases))
    assert found["p"].between(0, 1).all()


def test_a_rater_against_itself_is_no_difference():
    found = paired.compare(PET, PET, PATIENT)
    assert (found["difference"] == 0).all()
    assert (found["p"] == 1).all()
    assert (found["reason"] == "no pair differs").all()


def test_clustered_tests_keep_their_level_and_the_plain_one_does_not():
    """Two raters equally good, wrong on whole cases: 400 sets of 40 cases with 6 images."""
    rng = np.random.default_rng(4)
    case, rejected = np.repeat(np.arange(40), 6), {"mcnemar": 0, "obuchowski": 0, "durkalski": 0}
    for _ in range(400):
        first, second = (rng.random((40, 2)) < 0.8).T
        both = (first[case].astype(int), second[case].astype(int), case)
        table = paired.compare(*both, tests=list(rejected)).set_index("test")
        for test in rejected:
            rejected[test] += table.loc[test, "p"] < 0.05
    assert rejected["mcnemar"] > 0.2 * 400
    assert rejected["obuchowski"] < 0.09 * 400
    assert rejected["durkalski"] < 0.09 * 400


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(([1, 0], [0, 1], ["a", "a"]), "one case only"), (([], [], []), "no image")],
)
def test_too_little_is_undefined_with_a_reason(arguments, reason):
    found = paired.clustered_mcnemar(*arguments)
    assert np.isnan(found.p)
    assert found.reason == reason
    assert np.isnan(paired.difference(*arguments).low)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 0], [1], ["a", "b"]), "1 calls but 2 case ids"),
        (([1, np.nan], [1, 0], ["a", "b"]), "neither 0 nor 1, e.g. nan"),
        (([1, 0], [1, 0], ["a", None]), "1 of 2 images have no case id"),
    ],
)
def test_bad_inputs_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        paired.compare(*arguments)


def test_unknown_tests_and_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="Available: mcnemar, corrected, exact, mid-p"):
        paired.mcnemar(1, 2, method="z")
    with pytest.raises(ValueError, match="Available: obuchowski, durkalski, yang, eliasziw"):
        paired.clustered_mcnemar([1], [1], ["a"], method="z")
    with pytest.raises(ValueError, match="no counts of discordant pairs"):
        paired.mcnemar(-1, 2)
    with pytest.raises(ValueError, match="no counts of discordant pairs"):
        paired.mcnemar(3, 2, n=4)


@pytest.mark.parametrize("p", [[0.03], [0.01, 0.04, 0.03, 0.005], [0.6, 0.2, 0.9, 0.2], [0.5, 0.0]])
def test_adjustment_is_holms_step_down(p):
    """Sorted ascending, p times the number of tests left, never falling, at most 1."""
    order = np.argsort(p, kind="stable")
    steps = np.array(p)[order] * np.arange(len(p), 0, -1)
    expected = np.empty(len(p))
    expected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    assert paired.adjusted(p).tolist() == pytest.approx(expected.tolist())


def test_adjustment_leaves_out_what_was_not_tested():
    assert np.isnan(paired.adjusted([np.nan])).all()
    assert paired.adjusted([0.02, np.nan])[0] == 0.02
