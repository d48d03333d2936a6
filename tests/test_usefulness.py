"""Recalibration on validation, shown on test: against the modules it joins."""

import numpy as np
import pandas as pd
import pytest

from helpers import calibration, decision, usefulness


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(3)
    parts = []
    for people in (120, 100):
        case = np.repeat(np.arange(people), 2)
        latent = rng.normal(size=people)[case]
        label = (rng.random(people)[case] < 1 / (1 + np.exp(-latent))).astype(int)
        sure = 1 / (1 + np.exp(-3 * latent))  # three times too sure
        parts.append(pd.DataFrame({"case_id": case, "label": label, "probability": sure}))
    return parts


def test_recalibration_mends_what_is_too_sure(sets):
    validation, test = sets
    found = usefulness.versions(validation, test)
    table = usefulness.summaries(test, found).set_index(["version", "measure"])
    before, after = usefulness.AS_PREDICTED, usefulness.RECALIBRATED
    assert table.loc[(before, "slope"), "estimate"] < 0.6
    slopes = table["estimate"].xs("slope", level="measure")
    assert abs(slopes[after] - 1) < abs(slopes[before] - 1)
    brier = table["estimate"].xs("brier", level="measure")
    assert brier[after] < brier[before]


def test_recalibration_is_fitted_on_validation_only(sets):
    validation, test = sets
    found = usefulness.versions(validation, test)[usefulness.RECALIBRATED]
    fitted = calibration.fit(validation["label"], validation["probability"])
    np.testing.assert_allclose(found, calibration.apply(fitted, test["probability"]))
    turned = usefulness.versions(validation, test.assign(label=1 - test["label"]))
    np.testing.assert_allclose(found, turned[usefulness.RECALIBRATED])


def test_ranks_stay_and_so_does_the_area(sets):
    found = usefulness.versions(*sets)
    before, after = (np.argsort(v, kind="stable") for v in found.values())
    assert (before == after).all()


def test_curves_and_decisions_are_those_of_their_modules(sets):
    validation, test = sets
    found = usefulness.versions(validation, test)
    values = found[usefulness.AS_PREDICTED]
    curve = usefulness.curves(test, found)
    own = curve[curve["version"] == usefulness.AS_PREDICTED].drop(columns="version")
    expected = calibration.curve(test["label"], values, case=test["case_id"], bins=5)
    pd.testing.assert_frame_equal(own.reset_index(drop=True), expected)
    chosen = usefulness.decisions(test, found, seed=1)
    own = chosen[chosen["version"] == usefulness.AS_PREDICTED].drop(columns="version")
    expected = decision.curve(test["label"], values, case=test["case_id"], seed=1)
    pd.testing.assert_frame_equal(own.reset_index(drop=True), expected)


def test_without_a_fit_the_second_version_is_left_out(sets):
    _, test = sets
    apart = pd.DataFrame({"label": [0, 0, 1, 1], "probability": [0.1, 0.2, 0.8, 0.9]})
    found = usefulness.versions(apart, test)
    assert list(found) == [usefulness.AS_PREDICTED]
    table = usefulness.summaries(test, found).set_index("version")
    missing = table.loc[usefulness.RECALIBRATED]
    assert missing["estimate"].isna().all()
    assert set(missing["reason"]) == {"the validation set's classes are wholly apart"}
    assert set(usefulness.curves(test, found)["version"]) == {usefulness.AS_PREDICTED}
