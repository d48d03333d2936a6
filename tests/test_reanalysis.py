"""The published comparisons again: each number against a source, a package or a hand count."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

from helpers import inference, published, reanalysis


@pytest.fixture(scope="module")
def differences():
    return reanalysis.differences()


def test_design_effects_from_table_2():
    """20 cases with 130 and 17 with 98 images, spread evenly within each subtype."""
    sizes = np.repeat([130 / 20, 98 / 17], [20, 17])
    expected = (sizes**2).sum() / sizes.sum()
    assert reanalysis.design_effect("positives", 1.0) == pytest.approx(expected)
    assert reanalysis.design_effect("controls", 0.0) == 1
    assert reanalysis.design_effect("all", 1.0) == pytest.approx(648 / 97.0017, rel=1e-4)


@pytest.mark.parametrize(
    ("correlation", "measure", "low", "high"),
    [
        *((0.0, "sensitivity", 0.848, 0.928), (0.0, "specificity", 0.886, 0.939)),
        *((0.4, "sensitivity", 0.804, 0.946), (0.4, "specificity", 0.855, 0.954)),
        *((0.8, "sensitivity", 0.771, 0.955), (0.8, "specificity", 0.831, 0.961)),
        *((0.4, "accuracy", 0.861, 0.942), (0.8, "accuracy", 0.843, 0.949)),
        *((0.0, "lr_positive", 7.794, 14.790), (0.0, "f1", 0.838, 0.902)),
        *((0.0, "accuracy", 0.884, 0.930),),
    ],
)
def test_intervals_with_assumed_correlation(correlation, measure, low, high):
    table = reanalysis.network().set_index(["correlation", "measure"])
    found = table.loc[(correlation, measure), ["low", "high"]].to_numpy(dtype=float)
    assert found.round(3).tolist() == [low, high]


def test_estimates_do_not_depend_on_the_correlation():
    for _, rows in reanalysis.raters().groupby(["rater", "measure"]):
        assert np.ptp(rows["estimate"]) < 1e-12
    network = reanalysis.network().set_index(["correlation", "measure"])["estimate"]
    assert network[0.8, "accuracy"] == pytest.approx(589 / 648)
    assert network[0.8, "f1"] == pytest.approx(408 / 467)


def test_printed_intervals_stand_as_printed_and_only_those():
    table = reanalysis.raters()
    printed = table[table["evidence"] == "published"]
    assert set(printed["correlation"]) == {0.0}
    limits = printed.set_index(["rater", "measure"])[["low", "high"]]
    assert limits.loc[("mean radiologist", "sensitivity")].tolist() == [0.73, 0.84]
    assert limits.loc[("radiologist 2", "accuracy")].tolist() == [0.81, 0.87]
    assert len(printed) == 4


def test_a_difference_is_that_of_statsmodels():
    found = reanalysis.difference((204, 228), (180, 228), effects=(1, 1))
    assert found[3] == pytest.approx(proportions_ztest([204, 180], [228, 228])[1])
    expected = confint_proportions_2indep(204, 228, 180, 228, method="newcomb")
    np.testing.assert_allclose(found[1:3], expected, rtol=1e-9)


def test_a_design_effect_divides_z_by_its_root():
    plain = reanalysis.difference((589, 648), (545, 648), effects=(1, 1))
    assert plain[3] == pytest.approx(0.0002, abs=5e-5)
    for effect, expected in ((4, 0.065), (5.5, 0.115)):
        p = reanalysis.difference((589, 648), (545, 648), effects=(effect, effect))[3]
        assert p == pytest.approx(expected, abs=0.001)
        z = stats.norm.isf(plain[3] / 2) / np.sqrt(effect)
        assert p == pytest.approx(2 * stats.norm.sf(z))


def test_each_comparison_takes_the_count_least_favourable_to_a_difference(differences):
    row = differences.set_index(["correlation", "against"]).loc[(0.0, "radiologist 2")]
    allowed = {k: proportions_ztest([589, k], [648, 648])[1] for k in range(544, 548)}
    assert row["p"] == pytest.approx(max(allowed.values()))
    row = differences.set_index(["correlation", "measure"]).loc[(0.0, "sensitivity")]
    assert row["p"] == pytest.approx(published.p_values(204, 180, 228)["z"])


def test_the_answer_follows_the_limit(differences):
    assert "is undecided" in reanalysis.answer(differences)
    sure = differences.assign(limit=1.0, difference=-0.1)
    assert reanalysis.answer(sure) == "fewer were found by the network; that holds for people too"


def test_at_the_limit_p_is_one_in_twenty(differences):
    limits = differences[differences["correlation"] == 0]
    for row in limits[limits["limit"] < 1].itertuples():
        again = reanalysis.differences([row.limit])
        same = (again["measure"] == row.measure) & (again["against"] == row.against)
        assert again.loc[same, "p"].item() == pytest.approx(0.05, abs=1e-6)


def test_holm_by_hand(differences):
    plain = differences[differences["correlation"] == 0.4].sort_values("p")
    steps = plain["p"].to_numpy() * np.arange(6, 0, -1)
    np.testing.assert_allclose(plain["holm"], np.minimum(np.maximum.accumulate(steps), 1))


def test_no_test_on_independent_images_gives_the_printed_p():
    largest = reanalysis.image_tests()
    assert {"z", "Fisher"} < set(largest["test"])
    assert sum("McNemar" in name for name in largest["test"]) >= 3
    assert round(float(largest["largest_p"].max()), 4) == 0.0067
    assert largest["largest_p"].max() < 0.1895


def test_units_that_could_give_it():
    needs = reanalysis.other_units().set_index("unit")["needs"]
    assert needs["person"].startswith("34 and 29 of 37 people")
    assert stats.fisher_exact([[34, 3], [29, 8]]).pvalue == pytest.approx(0.190, abs=5e-4)
    assert "0.093" in needs["reader"]
    readers = np.array([157, 184, 199]) / 228
    assert stats.ttest_1samp(readers, 204 / 228).pvalue == pytest.approx(0.190, abs=5e-4)
    assert readers.std(ddof=1) == pytest.approx(0.093, abs=1e-3)
    assert "design effect 5.53" in needs["image, alike within a person"]


def test_p_grows_with_the_correlation():
    curve = reanalysis.p_by_correlation(21)
    for measure in ("sensitivity", "specificity", "accuracy"):
        assert (np.diff(curve[measure]) > 0).all()
    again = reanalysis.differences([0.4]).set_index(["measure", "against"])["p"]
    for measure in ("sensitivity", "specificity", "accuracy"):
        at = np.interp(0.4, curve["correlation"], curve[measure])
        assert at == pytest.approx(again[measure, "mean radiologist"], rel=1e-6)
    crossing = np.interp(0.190, curve["sensitivity"], curve["correlation"])
    assert crossing == pytest.approx((5.53 - 1) / (6.184 - 1), abs=0.005)


def test_subtypes():
    table = reanalysis.subtypes()
    assert table.loc[0, "test"] == "Fisher"
    assert table.loc[0, "p"] == pytest.approx(stats.fisher_exact([[123, 7], [81, 17]]).pvalue)
    z = table[table["test"] == "z"].set_index("correlation")
    assert z.loc[0.0, "p"] == pytest.approx(proportions_ztest([123, 81], [130, 98])[1])
    assert z.loc[0.4, ["n_dmd", "n_bmd"]].astype(float).round(1).tolist() == [40.6, 33.7]
    assert z["p"].is_monotonic_increasing


def test_case_mix():
    both = [inference.proportion(123, 130), inference.proportion(81, 98)]
    table = reanalysis.standardised(*both).set_index("mix")
    assert table.loc["test set, images", "estimate"] == pytest.approx(204 / 228)
    found = table["estimate"].astype(float).round(3)
    assert found.tolist() == [0.895, 0.930, 0.919, 0.921]
    only = reanalysis.standardised(*both, mixes={"BMD": 1.0}).iloc[0]
    assert [only["estimate"], only["low"], only["high"]] == pytest.approx(both[1][:3])
