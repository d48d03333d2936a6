"""Readers and cases: published analyses, another package, brute force, properties."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from helpers import accuracy, multireader

#: Van Dyke CW et al., Radiological Society of North America 1993: 5 readers, 45 and 69 cases,
#: cine and spin-echo images. OR-DBM MRMC 2.51 (University of Iowa), trapezoidal areas, jackknife.
CINE = [0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066]
SPIN_ECHO = [0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169]


def correlated(variance, covariance, readers=5):
    found = np.full((readers, readers), covariance)
    np.fill_diagonal(found, variance)
    return found


def test_two_conditions_of_a_published_analysis():
    """Printed: difference -0.04380, SE 0.02075, df 15.26, t -2.11, p .0517, -0.08796 to 0.00036."""
    found = multireader.two_from_components([CINE, SPIN_ECHO], cov2=0.00034407, cov3=0.00023903)
    assert round(found.estimate, 5) == -0.04380
    assert round(found.error, 5) == 0.02075
    assert round(found.df, 2) == 15.26
    assert round(found.statistic, 2) == -2.11
    assert round(found.p, 4) == 0.0517
    assert (round(found.low, 5), round(found.high, 5)) == (-0.08796, 0.00036)


@pytest.mark.parametrize(
    ("areas", "covariance", "printed"),
    [
        (CINE, (0.00101410, 0.00048396), (0.89703704, 0.03317360, 12.74, 0.82522360, 0.96885048)),
        (
            SPIN_ECHO,
            (0.00059047, 0.00020419),
            (0.94083736, 0.02156637, 12.71, 0.89413783, 0.98753689),
        ),
    ],
)
def test_single_conditions_of_a_published_analysis(areas, covariance, printed):
    found = multireader.from_covariance(areas, correlated(*covariance))
    estimate, error, df, low, high = printed
    assert found.estimate == pytest.approx(estimate, abs=5e-9)
    assert found.error == pytest.approx(error, abs=2e-7)
    assert round(found.df, 2) == df
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-7)


def test_fixed_readers_of_a_published_analysis():
    """Printed: 0.89703704, SE 0.02428971, 0.84943008 to 0.94464399."""
    found = multireader.from_covariance(
        CINE, correlated(0.00101410, 0.00048396), random_readers=False
    )
    assert found.error == pytest.approx(0.02428971, abs=2e-7)
    assert (found.low, found.high) == pytest.approx((0.84943008, 0.94464399), abs=5e-7)


def roe_metz(disease, readers, rng):
    """Scores of one model and its readers: Roe and Metz's model with standard deviations

    0.075 of readers and 0.6 of what model and readers have in common of a case.
    """
    case = rng.randn(disease.size)
    scores = []
    for _ in range(readers):
        control, positive = 0.075 * rng.randn(2)
        own = np.sqrt(1 - 0.6**2) * rng.randn(disease.size)
        scores.append(disease + np.where(disease, positive, control) + 0.6 * case + own)
    return disease + case, np.column_stack(scores)


def test_agrees_with_rjafroc_on_model_against_readers():
    """RJafroc on these scores, as the tests of Google Health's reader_study (Apache 2.0) quote it:

    difference -0.00584125, p 0.6560453, interval -0.03233184 to 0.02064934, df 31.00905.
    """
    disease = np.repeat([1, 0], [200, 800])
    model, scores = roe_metz(disease, 10, np.random.RandomState(1987))
    found = multireader.model_against_readers(disease, model, scores, np.arange(1000))
    assert found.estimate == pytest.approx(-0.00584125)
    assert found.p == pytest.approx(0.6560453, abs=5e-8)
    assert (found.low, found.high) == pytest.approx((-0.03233184, 0.02064934), abs=5e-9)
    assert found.df == pytest.approx(31.00905, abs=5e-6)


@pytest.fixture
def study():
    rng = np.random.default_rng(3)
    case = np.repeat(np.arange(30), rng.integers(1, 6, 30))
    label = (case < 12).astype(int)
    shared = rng.normal(size=30)[case]
    score = np.column_stack(
        [label + shared + rng.normal(scale=0.8, size=case.size) for _ in range(4)]
    )
    return label, score, case


MEASURES = {
    "auc": lambda label, rating: roc_auc_score(label, rating),
    "sensitivity": lambda label, rating: rating[label == 1].mean(),
    "specificity": lambda label, rating: 1 - rating[label == 0].mean(),
    "accuracy": lambda label, rating: (rating == label).mean(),
}


@pytest.mark.parametrize("figure", sorted(MEASURES))
def test_covariance_by_leaving_out_one_case_after_another(study, figure):
    label, score, case = study
    rating = score if figure == "auc" else (score > 0.5).astype(int)
    kinds = {"sensitivity": [1], "specificity": [0]}.get(figure, [0, 1])
    ids = np.unique(case[np.isin(label, kinds)])
    left_out = np.array(
        [[MEASURES[figure](label[case != k], r[case != k]) for r in rating.T] for k in ids]
    )
    expected = np.cov(left_out, rowvar=False, ddof=1) * (len(ids) - 1) ** 2 / len(ids)
    values, found = multireader.figures(label, rating, case, figure=figure)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert values == pytest.approx([MEASURES[figure](label, r) for r in rating.T])


@pytest.mark.parametrize("figure", sorted(MEASURES))
def test_a_model_like_every_reader_is_no_different(study, figure):
    label, score, case = study
    rating = score if figure == "auc" else (score > 0.5).astype(int)
    same = np.column_stack([rating[:, 0]] * 3)
    found = multireader.model_against_readers(label, rating[:, 0], same, case, figure=figure)
    assert (found.estimate, found.statistic, found.p) == (0.0, 0.0, 1.0)


def test_repeating_every_image_changes_nothing(study):
    label, score, case = study
    calls = (score > 0.5).astype(int)
    for figure, rating in (("sensitivity", calls), ("auc", score)):
        once = multireader.mean_of_readers(label, rating, case, figure=figure)
        again = multireader.mean_of_readers(
            np.repeat(label, 3), np.repeat(rating, 3, axis=0), np.repeat(case, 3), figure=figure
        )
        assert again[:7] == pytest.approx(once[:7])


def test_swapped_labels_mirror_sensitivity_and_specificity(study):
    label, score, case = study
    calls = (score > 0.5).astype(int)
    one = multireader.mean_of_readers(label, calls, case, figure="sensitivity")
    other = multireader.mean_of_readers(1 - label, 1 - calls, case, figure="specificity")
    assert one[:7] == pytest.approx(other[:7])


def test_two_conditions_from_images_match_the_components(study):
    label, score, case = study
    second = score + np.random.default_rng(4).normal(size=score.shape)
    found = multireader.two_conditions(label, score, second, case)
    values, covariance = multireader.figures(label, np.column_stack([score, second]), case)
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    cov2 = np.mean(
        [covariance[i, j] for i, j in pairs] + [covariance[4 + i, 4 + j] for i, j in pairs]
    )
    cov3 = np.mean([covariance[i, 4 + j] for i, j in pairs])
    expected = multireader.two_from_components(values.reshape(2, 4), cov2=cov2, cov3=cov3)
    assert found[:7] == pytest.approx(expected[:7])
    assert multireader.two_conditions(label, score, score, case).p == 1


def test_test_of_readers_and_cases_keeps_its_level():
    """300 studies of 5 readers and 60 cases in which the model is a reader like the others.

    The model is one fixed rater, so its own skill is set to the mean of the readers' skills.
    """
    rng = np.random.default_rng(6)
    case = np.repeat(np.arange(60), 3)
    label, rejected = (case < 25).astype(int), 0
    for _ in range(300):
        shared = rng.normal(size=60)[case]
        skill = 1.5 + 0.3 * rng.normal(size=5)
        readers = np.column_stack(
            [s * label + shared + rng.normal(size=180) for s in skill]
        )  # fmt: skip
        model = 1.5 * label + shared + rng.normal(size=180)
        rejected += multireader.model_against_readers(label, model, readers, case).p < 0.05
    assert 0.015 * 300 < rejected < 0.09 * 300


def test_one_random_reader_has_no_error(study):
    label, score, case = study
    found = multireader.mean_of_readers(label, score[:, :1], case)
    assert np.isnan(found.error)
    assert found.reason == "one reader tells nothing of how readers differ"
    fixed = multireader.mean_of_readers(label, score[:, :1], case, random_readers=False)
    assert fixed.estimate == pytest.approx(accuracy.auc(label, score[:, 0]))
    assert fixed.error > 0


def test_a_single_positive_case_says_why(study):
    found = multireader.mean_of_readers(
        [1, 1, 0, 0], [[1, 0], [1, 1], [0, 0], [0, 1]], list("aabc"), figure="sensitivity"
    )
    assert np.isnan(found.p)
    assert found.reason == "undefined once a case is left out"


@pytest.mark.parametrize(
    ("arguments", "figure", "message"),
    [
        (([1, 1], [[1, 1], [0, 1]], list("ab")), "auc", "All 2 labels are 1"),
        (([1, 0], [[1, np.nan], [0, 1]], list("ab")), "auc", "Rater 1 .* no rating of 1 of 2"),
        (([1, 0], [[1, 1]], list("ab")), "auc", "expected 2 images × raters"),
        (([1, 0], [[0.2, 1], [0, 1]], list("ab")), "sensitivity", "apply a threshold first"),
        (([1, 0], [[1, 1], [0, 1]], ["a", "a"]), "auc", "images with different labels, e.g. 'a'"),
        (([1, 0], [[1, 1], [0, 1]], ["a"]), "auc", "2 labels but 1 case ids"),
        (([1, 0], [[1, 1], [0, 1]], list("ab")), "f1", "Available: sensitivity, specificity"),
    ],
)
def test_bad_inputs_are_refused(arguments, figure, message):
    with pytest.raises(ValueError, match=message):
        multireader.figures(*arguments, figure=figure)


def test_readings_that_do_not_match_are_refused(study):
    label, score, case = study
    with pytest.raises(ValueError, match="expected one"):
        multireader.two_conditions(label, score, score[:, :2], case)
    with pytest.raises(ValueError, match="ratings of the model"):
        multireader.model_against_readers(label, score[:-1, 0], score, case)
