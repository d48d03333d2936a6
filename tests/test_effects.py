"""Effect sizes: intervals that cover, ceilings that agree with simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from helpers import effects


@pytest.mark.parametrize(("size", "m", "n"), [(0.0, 8, 8), (0.5, 30, 12), (2.0, 15, 25)])
def test_the_interval_of_d_covers_as_often_as_it_says(size, m, n):
    rng = np.random.default_rng(5)
    found = [effects.cohens_d(rng.normal(size, 1, m), rng.normal(0, 1, n)) for _ in range(2000)]
    share = np.mean([one.low <= size <= one.high for one in found])
    assert abs(share - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 2000)


def test_the_limits_are_effects_that_make_what_was_seen_just_unlikely():
    rng = np.random.default_rng(1)
    a, b = rng.normal(1, 2, 392), rng.normal(0, 2, 279)
    found = effects.cohens_d(a, b)
    scale = np.sqrt(392 * 279 / 671)
    t = stats.ttest_ind(a, b).statistic
    assert found.estimate * scale == pytest.approx(t)
    assert stats.nct.sf(t, 669, found.low * scale) == pytest.approx(0.025, abs=1e-5)
    assert stats.nct.cdf(t, 669, found.high * scale) == pytest.approx(0.025, abs=1e-5)


def test_exchanging_the_groups_changes_the_sign_alone():
    rng = np.random.default_rng(2)
    a, b = rng.normal(1, 1, 20), rng.normal(0, 1, 30)
    one, two = effects.cohens_d(a, b), effects.cohens_d(b, a)
    assert (one.estimate, one.low, one.high) == pytest.approx((-two.estimate, -two.high, -two.low))


@pytest.mark.parametrize(
    ("patients", "controls", "words"),
    [([1.0], [1.0, 2.0], "two of each"), ([1.0, 1.0], [2.0, 2.0], "nobody differs")],
)
def test_without_spread_or_people_there_is_no_d(patients, controls, words):
    found = effects.cohens_d(patients, controls)
    assert np.isnan(found.estimate) and words in found.method


def test_the_interval_of_a_change_covers():
    rng = np.random.default_rng(3)
    hits = 0
    for k in range(200):
        change, before = rng.normal(0.6, 0.1, 80), rng.normal(0, 1.2, 80)
        found = effects.standardised_change(change, before, seed=k)
        hits += found.low <= 0.5 <= found.high
    # Percentiles of 80 people cover a little too seldom.
    assert 0.88 < hits / 200 <= 1


@pytest.mark.parametrize("shared", [0.0, 0.4])
def test_the_ceiling_is_what_the_best_rule_reaches_on_simulated_people(shared):
    correlation = np.full((6, 6), shared) + (1 - shared) * np.eye(6)
    delta = np.array([0.5, -0.5, 0.3, 0.8, 0.0, -0.2])
    found = effects.ceiling(delta, correlation=correlation)
    rng = np.random.default_rng(4)
    controls, patients = (
        rng.multivariate_normal(mean, correlation, 20000) for mean in (0 * delta, delta)
    )
    weights = np.linalg.solve(correlation, delta)
    score = np.concatenate([controls, patients]) @ weights
    label = np.repeat([0, 1], 20000)
    assert roc_auc_score(label, score) == pytest.approx(found.auc, abs=0.01)
    right = (score > weights @ delta / 2) == label
    assert right.mean() == pytest.approx(found.accuracy, abs=0.01)


def test_published_accuracy_takes_an_effect_of_nearly_two_in_six_regions():
    assert effects.ceiling([1.84] * 6).accuracy == pytest.approx(0.988, abs=0.0005)
    assert effects.ceiling([0.8] * 6).accuracy < 0.85


def test_a_correlation_that_is_none_is_refused():
    with pytest.raises(ValueError, match="positive definite"):
        effects.ceiling([1.0, 1.0], correlation=[[1.0, 1.0], [1.0, 1.0]])


def test_each_place_and_series_is_measured_on_its_own_column():
    rng = np.random.default_rng(6)
    people = [f"sub-{k}" for k in range(40)]
    subjects = pd.DataFrame({"subject_id": people, "patient": [0, 1] * 20})
    shift = {"file": 0.5, "file_exaggerated": 2.0, "atlas_file": 0.2, "atlas_file_exaggerated": 1}
    noise = rng.normal(0, 1, 40)
    columns = {name: noise + size * subjects["patient"] for name, size in shift.items()}
    means = pd.DataFrame({"subject_id": people, "region": "callosum", **columns})
    found = effects.measured(means, subjects).set_index(["series", "place"])["estimate"]
    order = found.sort_values().index.tolist()
    assert order == [
        ("file", "atlas"),
        ("file", "own"),
        ("file_exaggerated", "atlas"),
        ("file_exaggerated", "own"),
    ]
