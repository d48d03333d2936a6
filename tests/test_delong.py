"""Areas under ROC curves: other packages, brute force, properties, bad inputs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import accuracy, delong, inference

LABEL = np.array([0, 0, 0, 1, 1, 1, 0, 1, 0, 1])
FIRST = np.array([0.1, 0.3, 0.5, 0.4, 0.7, 0.9, 0.45, 0.35, 0.2, 0.8])
SECOND = np.array([0.2, 0.1, 0.6, 0.5, 0.4, 0.7, 0.3, 0.45, 0.35, 0.9])

SCORES = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=6, max_size=40).filter(
    lambda rows: 2 <= sum(label for label, _ in rows) <= len(rows) - 2
)


@pytest.fixture
def clustered():
    rng = np.random.default_rng(11)
    case = np.repeat(np.arange(60), rng.integers(1, 9, 60))
    label = (case < 25).astype(int)
    score = 1.2 * label + rng.normal(size=60)[case] + 0.5 * rng.normal(size=case.size)
    other = score + rng.normal(size=60)[case]
    return label, score, other, case


def test_agrees_with_proc():
    """R 4.2.2, pROC 1.18.0, ``roc(label, a, direction="<")`` of the scores above:

    ``auc`` 0.84, ``var`` 0.0192, ``ci`` 0.5684194 to 1, ``cov`` of the two 0.0104,
    ``roc.test(method="delong")`` Z -0.3244428423, p 0.7456027889.
    """
    areas, found = delong.covariance(LABEL, np.column_stack([FIRST, SECOND]))
    assert areas == pytest.approx([0.84, 0.88])
    assert found == pytest.approx(np.array([[0.0192, 0.0104], [0.0104, 0.0168]]))
    plain = delong.interval(LABEL, FIRST, scale="plain")
    assert (plain.low, plain.high) == pytest.approx((0.5684194, 1.0), abs=5e-8)
    paired = delong.compare(LABEL, FIRST, SECOND)
    assert paired.z == pytest.approx(-0.3244428423, abs=5e-11)
    assert paired.p == pytest.approx(0.7456027889, abs=5e-11)


def test_agrees_with_mlstatkit():
    """MLstatkit 0.1.91: ``Delong_test(label, first, second)`` gives p 0.7456027889274612."""
    assert delong.compare(LABEL, FIRST, SECOND).p == pytest.approx(0.7456027889274612, rel=1e-12)


def by_definition(label, scores, case):
    """Obuchowski (1997), every pair of images compared."""
    positive, control = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    wins = [
        np.array([[(s[i] > s[j]) + 0.5 * (s[i] == s[j]) for j in control] for i in positive])
        for s in scores
    ]
    areas = [w.mean() for w in wins]
    ids = np.unique(case)
    found = np.zeros((len(scores), len(scores)))
    with_positive = [k for k in ids if label[case == k].any()]
    with_control = [k for k in ids if (1 - label[case == k]).any()]
    for a, b in np.ndindex(found.shape):
        sums = {}
        for kind, members, axis in (("10", positive, 1), ("01", control, 0)):
            for r in (a, b):
                each = wins[r].mean(axis=axis) - areas[r]
                sums[kind, r] = {k: each[case[members] == k].sum() for k in ids}
        m, n = len(positive), len(control)
        s10 = sum(sums["10", a][k] * sums["10", b][k] for k in with_positive)
        s01 = sum(sums["01", a][k] * sums["01", b][k] for k in with_control)
        s11 = sum(sums["10", a][k] * sums["01", b][k] for k in ids)
        s11 += sum(sums["01", a][k] * sums["10", b][k] for k in ids)
        one, two, both = len(with_positive), len(with_control), len(ids)
        found[a, b] = one / (one - 1) * s10 / m**2 + two / (two - 1) * s01 / n**2
        found[a, b] += both / (both - 1) * s11 / (m * n)
    return np.array(areas), found


def test_clustered_covariance_is_its_definition(clustered):
    label, score, other, case = clustered
    areas, found = delong.covariance(label, np.column_stack([score, other]), case=case)
    expected = by_definition(label, [score, other], case)
    np.testing.assert_allclose(areas, expected[0])
    np.testing.assert_allclose(found, expected[1])


def test_cases_with_both_kinds_of_image_follow_the_definition():
    rng = np.random.default_rng(2)
    case, label = np.repeat(np.arange(15), 4), rng.integers(0, 2, 60)
    score = label + rng.normal(size=15)[case] + rng.normal(size=60)
    areas, found = delong.covariance(label, score, case=case)
    expected = by_definition(label, [score], case)
    assert found[0, 0] == pytest.approx(expected[1][0, 0])
    assert areas[0] == pytest.approx(expected[0][0])


def test_clustered_error_is_near_that_of_leaving_out_cases(clustered):
    label, score, _, case = clustered
    left_out = [
        accuracy.auc(label[case != k], score[case != k]) for k in np.unique(case)
    ]  # fmt: skip
    apart = np.array(left_out) - np.mean(left_out)
    jackknife = np.sqrt((len(apart) - 1) / len(apart) * (apart**2).sum())
    _, found = delong.covariance(label, score, case=case)
    assert np.sqrt(found[0, 0]) == pytest.approx(jackknife, rel=0.03)


def test_clustered_interval_is_near_that_of_resampled_cases(clustered):
    label, score, _, case = clustered
    found = delong.interval(label, score, case=case)
    resampled = inference.by_case(label, case, probability=score, seed=1).iloc[0]
    assert found.estimate == pytest.approx(resampled["estimate"])
    assert (found.low, found.high) == pytest.approx((resampled["low"], resampled["high"]), abs=0.02)


@given(SCORES)
def test_one_image_a_case_is_delong(rows):
    label, score = np.array(rows).T
    plain = delong.covariance(label, score)
    by_case = delong.covariance(label, score, case=np.arange(label.size))
    np.testing.assert_allclose(plain[1], by_case[1])
    assert plain[0][0] == pytest.approx(accuracy.auc(label, score))


@given(SCORES, st.integers(2, 4))
def test_repeating_every_image_leaves_the_clustered_error(rows, times):
    label, score = np.array(rows).T
    case = np.arange(label.size)
    once = delong.covariance(label, score, case=case)[1][0, 0]
    many = [np.repeat(part, times) for part in (label, score, case)]
    again = delong.covariance(many[0], many[1], case=many[2])[1][0, 0]
    assert again == pytest.approx(once, abs=1e-15)
    naive = delong.covariance(many[0], many[1])[1][0, 0]
    assert naive <= once / times * 1.0001 + 1e-15


@given(SCORES)
def test_swapped_labels_and_turned_scores_give_the_same_interval(rows):
    label, score = np.array(rows).T
    one, other = delong.interval(label, score), delong.interval(1 - label, -score)
    assert one[:3] == pytest.approx(other[:3], nan_ok=True)


@given(SCORES, st.sampled_from(["logit", "plain"]))
def test_intervals_stay_in_range_and_hold_the_estimate(rows, scale):
    label, score = np.array(rows).T
    found = delong.interval(label, score, scale=scale)
    if np.isnan(found.low):
        assert found.method.startswith("none: ")
        return
    assert 0 <= found.low <= found.estimate <= found.high <= 1


@given(SCORES)
def test_the_same_scores_twice_are_no_difference(rows):
    label, score = np.array(rows).T
    found = delong.compare(label, score, score)
    assert (found.difference, found.z, found.p) == (0.0, 0.0, 1.0)


def test_permuted_labels_hold_one_half_as_often_as_claimed():
    """300 sets of 60 cases; each image of a case alike, so only cases count."""
    rng = np.random.default_rng(21)
    case = np.repeat(np.arange(60), 4)
    score = rng.normal(size=60)[case] + 0.3 * rng.normal(size=240)
    held = {"by case": 0, "by image": 0}
    for _ in range(300):
        label = rng.permutation((np.arange(60) < 25).astype(int))[case]
        for name, unit in (("by case", case), ("by image", None)):
            found = delong.interval(label, score, case=unit)
            held[name] += found.low <= 0.5 <= found.high
    assert 0.91 * 300 <= held["by case"] <= 0.985 * 300
    assert held["by image"] < 0.8 * 300


def test_resampled_areas_are_those_of_the_resampled_images(clustered):
    """Each case that is drawn twice counts as two cases with the same images."""
    label, score, _, case = clustered
    weights = inference.case_weights(case, stratum=label, replicates=5, seed=3)
    wins, sizes, kinds = delong.wins_by_case(label, score, case)
    parts = tuple(weights[:, kind] for kind in kinds)
    areas, errors = delong.resampled_areas(wins, sizes, parts)
    own, found = delong.covariance(label, score, case=case)
    assert (areas[0], errors[0] ** 2) == pytest.approx((own[0], found[0, 0]))
    rows, names = [], []
    for place, times in enumerate(weights[3].astype(int)):
        for again in range(times):
            members = np.flatnonzero(case == place)
            rows += members.tolist()
            names += [f"{place}, {again}"] * members.size
    own, found = delong.covariance(label[rows], score[rows], case=np.array(names))
    drawn = np.unique(np.array(names)[label[rows] == 1]).size
    assert drawn == (np.unique(case[label == 1])).size
    assert areas[3] == pytest.approx(own[0])
    assert errors[3] == pytest.approx(np.sqrt(found[0, 0]))


def test_studentised_interval_is_its_definition(clustered):
    label, score, _, case = clustered
    weights = inference.case_weights(case, stratum=label, replicates=99, seed=5)
    rows = [np.repeat(np.arange(case.size), row.astype(int)[case]) for row in weights[1:]]
    places = [np.concatenate([np.arange(t) for t in row.astype(int)[case]]) for row in weights[1:]]
    own, found = delong.covariance(label, score, case=case)
    logit = lambda area: np.log(area / (1 - area))  # noqa: E731
    steps = []
    for row, place in zip(rows, places, strict=True):
        names = case[row] * 1000 + place
        area, error = delong.covariance(label[row], score[row], case=names)
        scale = np.sqrt(error[0, 0]) / (area[0] * (1 - area[0]))
        steps.append((logit(area[0]) - logit(own[0])) / scale)
    scale = np.sqrt(found[0, 0]) / (own[0] * (1 - own[0]))
    ends = logit(own[0]) - np.quantile(steps, [0.975, 0.025]) * scale
    result = delong.studentised(label, score, case, replicates=99, seed=5)
    assert (result.low, result.high) == pytest.approx(tuple(1 / (1 + np.exp(-ends))))


def test_studentised_interval_does_not_change_when_images_are_repeated(clustered):
    label, score, _, case = clustered
    once = delong.studentised(label, score, case, replicates=200, seed=1)
    many = (np.repeat(part, 3) for part in (label, score, case))
    again = delong.studentised(*many, replicates=200, seed=1)
    assert again[:3] == pytest.approx(once[:3])
    assert 0 <= once.low < once.estimate < once.high <= 1


def test_studentised_interval_says_why_there_is_none():
    apart = delong.studentised([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], list("abcd"))
    assert apart.method == "none: area 1, no component varies"
    label, score = [0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.75, 0.7, 0.8, 0.9]
    often = delong.studentised(label, score, list("abcdef"), replicates=200)
    assert np.isnan(often.low)
    assert often.method == "none: area 1 in too many resamples"
    with pytest.raises(ValueError, match="images with different labels"):
        delong.studentised([0, 1, 0, 1], [0.3, 0.2, 0.4, 0.5], list("aabb"))


def test_classes_wholly_apart_have_no_interval():
    found = delong.interval([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert found.estimate == 1
    assert np.isnan([found.low, found.high]).all()
    assert found.method == "none: area 1, no component varies"


def test_one_positive_case_has_no_error():
    label, score, case = [0, 0, 1, 1], [0.1, 0.5, 0.4, 0.9], list("abcc")
    found = delong.interval(label, score, case=case)
    assert found.method == "none: fewer than two cases with positives or with controls"
    compared = delong.compare(label, score, score[::-1], case=case)
    assert np.isnan(compared.p)
    assert compared.reason


@pytest.mark.parametrize(
    ("arguments", "case", "message"),
    [
        (([1, 1], [0.1, 0.2]), None, "All 2 labels are 1"),
        (([0, 1], [0.1, np.nan]), None, "1 of 2 probabilities are NaN"),
        (([0, 1, 1], [0.1, 0.2]), None, "3 labels but 2 probabilities|3 labels but 2"),
        (([0, 1], [0.1, 0.2]), ["a"], "2 labels but 1 case ids"),
        (([0, 1], [0.1, 0.2]), ["a", None], "1 of 2 images have no case id"),
    ],
)
def test_bad_inputs_are_refused(arguments, case, message):
    with pytest.raises(ValueError, match=message):
        delong.interval(*arguments, case=case)


def test_an_unknown_scale_is_refused():
    with pytest.raises(ValueError, match="Available: logit, plain"):
        delong.interval(LABEL, FIRST, scale="probit")
