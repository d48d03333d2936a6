"""Operating points: every threshold, every prevalence, and what 1,000 people would be told."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from helpers import accuracy, inference, operating
from helpers.accuracy import Counts

PUBLISHED = Counts(tp=204, fn=24, fp=35, tn=385)


@pytest.fixture(scope="module")
def scored():
    rng = np.random.default_rng(7)
    case = np.repeat(np.arange(40), 4)
    label = (case < 15).astype(int)
    latent = label + rng.normal(size=40)[case] + 0.5 * rng.normal(size=case.size)
    return label, 1 / (1 + np.exp(-latent)), case


@pytest.fixture(scope="module")
def swept(scored):
    return operating.sweep(*scored, replicates=400, seed=3)


def one(table, setting, measure):
    rows = table[(table["setting"] == setting) & (table["measure"] == measure)]
    return rows[["estimate", "low", "high"]].to_numpy(dtype=float)[0]


@pytest.mark.parametrize("cut", [0.3, 0.5, 0.72])
def test_a_threshold_is_measured_as_by_case_measures_calls(scored, swept, cut):
    label, probability, case = scored
    call = (probability >= cut).astype(int)
    expected = inference.by_case(label, case, call=call, replicates=400, seed=3)
    expected = expected.set_index("measure")
    for measure in ("sensitivity", "specificity", "lr_positive", "lr_negative"):
        limits = expected.loc[measure, ["estimate", "low", "high"]].to_numpy(dtype=float)
        np.testing.assert_allclose(one(swept, cut, measure), limits, rtol=1e-12)


def test_limits_carried_to_a_prevalence_are_those_of_the_carried_values(scored):
    """Order statistics, which need no interpolation, commute with Bayes' theorem exactly."""
    label, probability, case = scored
    weights = inference.case_weights(case, stratum=label, replicates=39, seed=3)
    call = (probability >= 0.5).astype(int)
    tables = Counts(*(weights @ inference.counts_by_case(label, call, case)).T)
    se, sp = (accuracy.measures(tables)[m] for m in ("sensitivity", "specificity"))
    for prevalence in (0.01, 0.2, 0.7):
        direct = se * prevalence / (se * prevalence + (1 - sp) * (1 - prevalence))
        half = se / (se + 1 - sp)
        carried = operating.at_prevalence(np.sort(half), prevalence, positive=True)
        np.testing.assert_allclose(carried, np.sort(direct), rtol=1e-12)


def test_at_the_ends_what_cannot_be_known_is_undefined(swept):
    assert np.isnan(one(swept, 0.0, "npv_half")[0])
    assert np.isnan(one(swept, 1.0, "ppv_half")[0])
    assert one(swept, 0.0, "sensitivity")[0] == 1
    at_zero = swept[(swept["setting"] == 0) & (swept["measure"] == "sensitivity")]
    assert at_zero["method"].item() == "none: resampling 40 cases changes nothing"


def test_sensitivity_falls_and_specificity_rises_with_the_threshold(swept):
    wide = swept.pivot(index="setting", columns="measure", values="estimate")
    assert (np.diff(wide["sensitivity"]) <= 0).all()
    assert (np.diff(wide["specificity"]) >= 0).all()


def test_intervals_hold_their_estimates(swept):
    known = swept.dropna(subset=["estimate", "low", "high"])
    assert len(known) > 150
    assert (known["low"] <= known["estimate"] + 1e-12).all()
    assert (known["estimate"] <= known["high"] + 1e-12).all()


def test_published_predictive_values():
    """Worked by hand from 204 of 228 and 385 of 420, three digits."""
    table = operating.of_counts(PUBLISHED, effective=(228, 420), setting=0.0)
    expected = {
        **{0.01: (0.098, 0.999), 0.05: (0.361, 0.994), 0.10: (0.544, 0.987)},
        **{0.20: (0.729, 0.972), 0.34: (0.847, 0.944), 0.50: (0.915, 0.897)},
    }
    for prevalence, values in expected.items():
        for measure, value in zip(("ppv_half", "npv_half"), values, strict=True):
            half = one(table, 0.0, measure)[0]
            found = operating.at_prevalence(half, prevalence, positive=measure == "ppv_half")
            assert round(float(found), 3) == value


def test_limits_of_predictive_values_are_mercaldos():
    """Logit method of Mercaldo et al. 2007, formulas 7 and 8, written out independently."""
    se, sp, n1, n0, p = 204 / 228, 385 / 420, 228, 420, 0.1
    table = operating.of_counts(PUBLISHED, effective=(n1, n0), setting=0.0)
    z = stats.norm.ppf(0.975)
    variances = {
        "ppv_half": (1 - se) / se / n1 + sp / (1 - sp) / n0,
        "npv_half": se / (1 - se) / n1 + (1 - sp) / sp / n0,
    }
    logits = {
        "ppv_half": np.log(se * p / ((1 - sp) * (1 - p))),
        "npv_half": np.log(sp * (1 - p) / ((1 - se) * p)),
    }
    for measure, variance in variances.items():
        spread = z * np.sqrt(variance) * np.array([-1, 1])
        expected = 1 / (1 + np.exp(-(logits[measure] + spread)))
        limits = one(table, 0.0, measure)[1:]
        found = operating.at_prevalence(limits, p, positive=measure == "ppv_half")
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_with_fewer_effective_images_only_the_limits_move():
    plain = operating.of_counts(PUBLISHED, effective=(228, 420), setting=0.0)
    fewer = operating.of_counts(PUBLISHED, effective=(57, 105), setting=0.0)
    np.testing.assert_allclose(plain["estimate"], fewer["estimate"], rtol=1e-12)
    assert ((fewer["high"] - fewer["low"]) > (plain["high"] - plain["low"])).all()
    counts = inference.from_counts(PUBLISHED).set_index("measure")
    for measure in ("sensitivity", "specificity", "lr_positive", "lr_negative"):
        expected = counts.loc[measure, ["estimate", "low", "high"]].to_numpy(dtype=float)
        np.testing.assert_allclose(one(plain, 0.0, measure), expected, rtol=1e-12)


@given(
    st.floats(0, 1), st.floats(0, 1), st.integers(0, 100), st.floats(0, 1), st.floats(0.001, 0.999)
)
def test_a_thousand_people_and_order(se, sp, percent, value, prevalence):
    counts = operating.per_thousand(se, sp, percent / 100)
    assert sum(counts) == 1000 and min(counts) >= 0
    assert counts.tp + counts.fn == 10 * percent
    low, high = operating.at_prevalence([0.9 * value, value], prevalence, positive=True)
    assert 0 <= low <= high <= 1
    both = [operating.at_prevalence(value, 0.5, positive=sign) for sign in (True, False)]
    np.testing.assert_allclose(both, value, rtol=1e-12, atol=1e-300)


def test_a_prevalence_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"prevalence of 35 is none; expected a share from 0 to 1"):
        operating.at_prevalence(0.5, 35, positive=True)


def test_youdens_best_threshold_by_looking_at_each(scored):
    label, probability, _ = scored
    frame = pd.DataFrame({"label": label, "probability": probability})
    index = {}
    for cut in operating.THRESHOLDS:
        found = accuracy.measures(accuracy.confusion(label, (frame["probability"] >= cut) * 1))
        index[cut] = found["youden"]
    chosen = operating.best_youden(label, probability)
    assert index[chosen] == pytest.approx(max(index.values()))
