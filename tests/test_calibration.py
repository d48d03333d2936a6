"""Calibration and decision curves: other packages, known truth, properties, bad inputs."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from sklearn.metrics import brier_score_loss

from helpers import calibration, decision, inference

LABEL = np.array([0, 0, 1, 0, 1, 1, 0, 1, 0, 1, 1, 0])
PROBABILITY = np.array([0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 0.35])

SCORED = st.lists(
    st.tuples(st.integers(0, 1), st.floats(0.001, 0.999)), min_size=12, max_size=60
).filter(lambda rows: 2 <= sum(label for label, _ in rows) <= len(rows) - 2)


@pytest.fixture
def clustered():
    rng = np.random.default_rng(7)
    case = np.repeat(np.arange(90), rng.integers(2, 9, 90))
    label = (case < 40).astype(int)
    latent = 1.5 * label - 0.7 + rng.normal(size=90)[case] + rng.normal(size=case.size)
    return label, special.expit(1.3 * latent), case


def test_agrees_with_r():
    """R 4.2.2 with ``l <- qlogis(p)``:

    ``glm(label~offset(l), binomial)``: 0.06317898506, standard error 0.64882223329;
    ``glm(label~l, binomial)``: slope 1.07370341236, standard error 0.7445794127.
    """
    table = calibration.summary(LABEL, PROBABILITY, bins=3).set_index("measure")
    z = stats.norm.ppf(0.975)
    for measure, estimate, error in (
        ("intercept", 0.06317898506, 0.64882223329),
        ("slope", 1.07370341236, 0.7445794127),
    ):
        found = table.loc[measure, ["estimate", "low", "high"]].astype(float)
        expected = (estimate, estimate - z * error, estimate + z * error)
        assert tuple(found) == pytest.approx(expected, abs=2e-6)
    fitted = calibration.fit(LABEL, PROBABILITY)
    assert (fitted.intercept, fitted.slope) == pytest.approx((0.06924356077, 1.07370341236))


def test_errors_by_case_are_statsmodels(clustered):
    label, probability, case = clustered
    logit = special.logit(probability)
    model = sm.GLM(label, sm.add_constant(logit), family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": case, "use_correction": True}
    )
    cases, images = np.unique(case).size, label.size
    ours = cases / (cases - 1)
    theirs = ours * (images - 1) / (images - 2)
    expected = model.bse[1] * np.sqrt(ours / theirs)
    table = calibration.summary(label, probability, case=case).set_index("measure")
    half = (table.loc["slope", "high"] - table.loc["slope", "low"]) / 2
    assert half / stats.norm.ppf(0.975) == pytest.approx(expected, rel=1e-5)
    assert "errors by 90 cases" in table.loc["slope", "method"]


def test_brier_score_is_scikit_learns(clustered):
    label, probability, case = clustered
    table = calibration.summary(label, probability, case=case).set_index("measure")
    assert table.loc["brier", "estimate"] == pytest.approx(brier_score_loss(label, probability))
    share = label.mean()
    trivial = brier_score_loss(label, np.full(label.size, share))
    expected = 1 - brier_score_loss(label, probability) / trivial
    assert table.loc["brier_scaled", "estimate"] == pytest.approx(expected)


def test_error_of_the_brier_score_is_near_that_of_leaving_out_cases(clustered):
    label, probability, case = clustered
    kept = [case != k for k in np.unique(case)]
    left_out = np.array([brier_score_loss(label[k], probability[k]) for k in kept])
    jackknife = np.sqrt((len(kept) - 1) * left_out.var())
    row = calibration.summary(label, probability, case=case).set_index("measure").loc["brier"]
    half = (row["high"] - row["low"]) / 2
    assert half / stats.t.ppf(0.975, len(kept) - 1) == pytest.approx(jackknife, rel=0.03)


def test_a_model_that_is_right_is_found_right():
    rng = np.random.default_rng(1)
    probability = special.expit(rng.normal(size=50_000))
    label = (rng.random(50_000) < probability).astype(int)
    table = calibration.summary(label, probability).set_index("measure")
    assert table.loc["intercept", "low"] < 0 < table.loc["intercept", "high"]
    assert table.loc["slope", "low"] < 1 < table.loc["slope", "high"]
    assert table.loc["ece", "estimate"] < 0.01
    rows = calibration.curve(label, probability)
    held = (rows["low"] <= rows["mean_probability"]) & (rows["mean_probability"] <= rows["high"])
    assert held.sum() >= 8


def test_recalibration_of_other_images_undoes_a_known_distortion():
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(2, 30_000))
    label = (rng.random(truth.shape) < special.expit(truth)).astype(int)
    distorted = special.expit(0.8 + 2 * truth)
    found = calibration.fit(label[0], distorted[0])
    assert (found.intercept, found.slope) == pytest.approx((-0.4, 0.5), abs=0.03)
    after = calibration.summary(label[1], calibration.apply(found, distorted[1]))
    after = after.set_index("measure")["estimate"]
    assert after["intercept"] == pytest.approx(0, abs=0.04)
    assert after["slope"] == pytest.approx(1, abs=0.04)


@given(SCORED)
def test_refitting_a_recalibrated_model_changes_nothing(rows):
    label, probability = (np.array(part) for part in zip(*rows, strict=True))
    found = calibration.fit(label, probability)
    if found.reason or abs(found.slope) < 0.05 or abs(found.slope) > 20:
        return
    once = calibration.apply(found, probability)
    if once.min() < 1e-4 or once.max() > 1 - 1e-4:
        return
    again = calibration.fit(label, once)
    assert (again.intercept, again.slope) == pytest.approx((0, 1), abs=1e-3)


@settings(max_examples=40)
@given(SCORED, st.integers(2, 4))
def test_repeating_every_image_leaves_the_errors_by_case(rows, times):
    label, probability = (np.array(part) for part in zip(*rows, strict=True))
    case = np.arange(label.size)
    once = calibration.summary(label, probability, case=case)
    many = (np.repeat(part, times) for part in (label, probability, case))
    repeated = dict(zip(("label", "probability", "case"), many, strict=True))
    again = calibration.summary(**repeated)
    limits = ["estimate", "low", "high"]
    rows = once["measure"].isin(["intercept", "slope", "brier"])
    first = once.loc[rows, limits].astype(float)
    np.testing.assert_allclose(again.loc[rows, limits].astype(float), first, rtol=1e-3, atol=1e-5)


def test_groups_of_the_curve_hold_every_image_once():
    rows = calibration.curve(LABEL, np.round(PROBABILITY, 1), bins=4)
    assert rows["n"].sum() == 12
    weighted = (rows["estimate"] * rows["n"]).sum() / 12
    assert weighted == pytest.approx(LABEL.mean())
    assert ((rows["low"] <= rows["estimate"]) & (rows["estimate"] <= rows["high"])).all()


def test_what_cannot_be_fitted_says_why():
    apart = calibration.fit([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert np.isnan(apart.slope)
    assert apart.reason == "positives and controls are wholly apart"
    assert np.isnan(calibration.apply(apart, [0.5])).all()
    table = calibration.summary([0, 1, 0, 1], [0.5] * 4).set_index("measure")
    assert np.isnan(table.loc["slope", "estimate"])
    assert table.loc["slope", "reason"] == "all probabilities are the same"
    assert table.loc["intercept", "estimate"] == pytest.approx(0)


@pytest.mark.parametrize(
    ("label", "probability", "message"),
    [
        ([0, 1], [0.1, 1.2], "1 of 2 values are no probabilities, e.g. 1.2"),
        ([0, 1], [0.1, np.nan], "1 of 2 probabilities are NaN"),
        ([1, 1], [0.1, 0.2], "All 2 labels are 1"),
        ([0, 1, 1], [0.1, 0.2], "3 labels but 2 probabilities"),
    ],
)
def test_bad_inputs_are_refused(label, probability, message):
    for function in (calibration.summary, calibration.fit, decision.curve):
        with pytest.raises(ValueError, match=message):
            function(label, probability)


def test_net_benefit_agrees_with_dcurves():
    """dcurves 1.1.7, ``dca(data, outcome="y", modelnames=["p"], thresholds=[...])``, net_benefit;

    the second row with ``prevalence=0.14``.
    """
    thresholds = [0.15, 0.25, 0.42, 0.65]
    expected = {
        None: ([0.426471, 0.388889, 0.295977, 0.011905], [0.411765, 0.333333, 0.137931, -0.428571]),
        0.14: (
            [0.013529, -0.051111, -0.090920, -0.219524],
            [-0.011765, -0.146667, -0.482759, -1.457143],
        ),
    }
    for prevalence, (model, everybody) in expected.items():
        found = decision.curve(LABEL, PROBABILITY, thresholds=thresholds, prevalence=prevalence)
        assert found["model"].tolist() == pytest.approx(model, abs=5e-7)
        assert found["treat_all"].tolist() == pytest.approx(everybody, abs=5e-7)
        assert (found["treat_none"] == 0).all()


def test_treating_everybody_in_closed_form():
    found = decision.net_benefit(0.14, 0.86, 1, [0.05, 0.10, 0.20])
    assert found == pytest.approx([0.0947368, 0.0444444, -0.075], abs=5e-8)


def test_decision_curve_by_case_holds_the_curve(clustered):
    label, probability, case = clustered
    found = decision.curve(label, probability, case=case, seed=1)
    inside = (found["low"] <= found["model"]) & (found["model"] <= found["high"])
    assert inside.mean() > 0.97
    assert (found["model"] <= label.mean() + 1e-12).all()
    row = found[found["threshold"] == 0.5].iloc[0]
    call = (probability >= 0.5).astype(int)
    table = inference.by_case(label, case, call=call, seed=1, replicates=1000)
    se, sp = table.set_index("measure").loc[["sensitivity", "specificity"], "estimate"]
    share = label.mean()
    assert row["model"] == pytest.approx(se * share - (1 - sp) * (1 - share))


@given(SCORED)
def test_a_model_without_information_is_treat_all_or_none(rows):
    label = np.array([value for value, _ in rows])
    found = decision.curve(label, np.full(label.size, 0.5))
    below = found["threshold"] <= 0.5
    expected = found["treat_all"].where(below, 0)
    assert found["model"].tolist() == pytest.approx(expected.tolist())


def test_impossible_thresholds_and_prevalences_are_refused():
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        decision.net_benefit(1, 1, 2, 1.0)
    with pytest.raises(ValueError, match=r"Prevalence 1\.5"):
        decision.curve(LABEL, PROBABILITY, prevalence=1.5)
