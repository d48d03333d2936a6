"""Arithmetic on printed counts, against known answers and independent ways to them."""

from decimal import Decimal
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from helpers import agreement, claims, findings, published, reanalysis
from helpers.accuracy import Counts
from helpers.published import Printed

TABLE_3 = Counts(tp=204, fn=24, fp=35, tn=385)
READERS = [range(517, 522), range(544, 548), range(544, 548)]
SIZES = {"positives": 228, "controls": 420}
KAPPA = Decimal("0.628")


def row(*texts: str) -> Printed:
    return Printed(*map(Decimal, texts))


# Rounding


@given(st.integers(0, 1000), st.integers(1, 1000), st.integers(0, 4))
def test_a_number_rounds_to_itself(k, n, digits):
    value = k / n
    assert published.rounds_to(value, Decimal(f"{value:.{digits}f}"))


@pytest.mark.parametrize(
    ("value", "printed", "rounded", "cut"),
    [
        (0.9461538, "0.94", False, True),
        (0.9461538, "0.95", True, False),
        (0.9449, "0.94", True, True),
        (0.945, "0.94", True, True),
        (0.945, "0.95", True, False),
        (432, "432", True, True),
        (432.6, "432", False, True),
        (0.19, "0.190", True, True),
    ],
)
def test_rounding_and_cutting_follow_the_printed_digits(value, printed, rounded, cut):
    assert published.rounds_to(value, Decimal(printed)) is rounded
    assert published.cut_to(value, Decimal(printed)) is cut


# Table 1


def test_the_intervals_of_table_1_are_those_of_the_joint_rule():
    """Agrees with the science behind the book (A2.1): the same solution sets."""
    wanted = {
        "P1-17": [(204, 385)],
        "P1-21": [(150, 411), (150, 412)],
        "P1-25": [(168, 412), (169, 411), (169, 412)],
        "P1-29": [(177, 394), (178, 393)],
        "P1-33": [(189, 393), (189, 394)],
    }
    for first, pairs in wanted.items():
        number = int(first[3:])
        ids = (first, f"P1-{number + 1}", f"P1-{number + 2}")
        if first == "P1-17":
            ids = ("P1-17", "P1-19", "P1-18")
        printed = [Printed(*claims.get(name).printed.values()) for name in ids]
        assert published.joint_counts(*printed, **SIZES) == pairs


def test_one_interval_method_for_all_three_columns_does_not_reproduce_table_1():
    rows = [("P1-17", "P1-19", "P1-18")]
    rows += [(f"P1-{n}", f"P1-{n + 1}", f"P1-{n + 2}") for n in (21, 25, 29, 33)]
    for method in published.METHODS:
        methods = dict.fromkeys(("accuracy", "specificity", "sensitivity"), method)
        found = [
            published.joint_counts(
                *(Printed(*claims.get(name).printed.values()) for name in names),
                **SIZES,
                methods=methods,
            )
            for names in rows
        ]
        assert not all(found), method


def test_the_doctors_interval_fits_one_number_of_images_and_no_other_unit():
    printed = row("0.79", "0.73", "0.84")
    assert published.fitting(printed, 228, methods=["wilson"]) == [180]
    assert published.fitting(printed, 228, methods=["clopper-pearson"]) == [179, 180]
    assert published.fitting(printed, 3 * 228) == []
    assert published.fitting(printed, 37) == []


def test_readers_accuracies_fit_images_and_never_cases():
    for printed, wanted in (
        (row("0.80", "0.77", "0.83"), [*range(517, 522)]),
        (row("0.84", "0.81", "0.87"), [*range(544, 548)]),
    ):
        assert published.fitting(printed, 648, methods=["wilson"]) == wanted
        assert published.fitting(printed, 102) == []


# The printed p


def test_p_values_by_scipy_from_their_definitions():
    found = published.p_values(204, 180, 228)
    pooled = 384 / 456
    z = (204 - 180) / 228 / np.sqrt(pooled * (1 - pooled) * 2 / 228)
    assert found["z"] == pytest.approx(2 * stats.norm.sf(z))
    assert round(found["chi-squared"], 4) == 0.0021
    assert round(found["chi-squared, Yates"], 4) == 0.0031
    assert round(found["Fisher"], 4) == 0.0029


def test_mcnemar_bounds_by_brute_force_over_all_tables():
    """Every table of 228 pairs with these margins, by scipy's binomial test and the formulas."""
    largest = {"mcnemar": 0.0, "corrected": 0.0, "exact": 0.0}
    tables = 0
    for both in range(229):
        b, c = 204 - both, 180 - both
        if min(b, c, 228 - both - b - c) < 0:
            continue
        tables += 1
        exact = stats.binomtest(b, b + c).pvalue
        plain, corrected = (stats.chi2.sf((abs(b - c) - k) ** 2 / (b + c), 1) for k in (0, 1))
        found = {"mcnemar": plain, "corrected": corrected, "exact": exact}
        largest = {name: max(p, found[name]) for name, p in largest.items()}
    bounds = published.mcnemar_bounds(204, 180, 228)
    assert tables == 25
    assert {name: bounds[name] for name in largest} == pytest.approx(largest)
    assert [round(largest[name], 4) for name in largest] == [0.0047, 0.0067, 0.0063]
    assert max(largest.values()) < 0.1895


def test_no_counts_that_round_to_the_printed_shares_give_the_printed_p():
    model = [k for k in range(229) if published.rounds_to(k / 228, Decimal("0.89"))]
    doctors = [k for k in range(229) if published.rounds_to(k / 228, Decimal("0.79"))]
    assert (model, doctors) == ([202, 203, 204], [179, 180, 181])
    assert max(published.largest_p(model, doctors, 228).values()) < 0.02


def test_agrees_with_the_reanalysis_written_apart():
    ours = published.largest_p([204], [180], 228)
    theirs = reanalysis.image_tests()["largest_p"]
    assert max(ours.values()) == pytest.approx(float(theirs.max()))


def test_what_gives_the_printed_p():
    tables = published.case_tables(Decimal("0.190"), 37)
    assert set(tables["test"]) == {"Fisher"}
    assert stats.fisher_exact([[34, 3], [29, 8]]).pvalue == pytest.approx(0.190, abs=5e-4)
    spread = published.reader_spread(0.190, mean=180 / 228, against=204 / 228)
    example = np.array([157, 184, 199]) / 228
    assert example.std(ddof=1) == pytest.approx(spread, abs=5e-4)
    assert stats.ttest_1samp(example, 204 / 228).pvalue == pytest.approx(0.190, abs=1e-3)
    effect = published.design_effect_for(0.190, 204, 180, 228)
    assert round(effect, 2) == 5.53
    assert round((effect - 1) / (228 / 37 - 1), 2) == 0.88


# Readers together


def test_majority_bounds_by_enumerating_small_tables():
    """Three readers, two positives and two controls: all 4096 tables of calls."""
    truth = np.array([1, 1, 0, 0])
    right, votes = [3, 3, 2], {}
    for calls in product((0, 1), repeat=12):
        table = np.array(calls).reshape(3, 4)
        if ((table == truth).sum(axis=1) != right).any():
            continue
        hits = int(table[:, :2].sum())
        kappa = agreement.fleiss_kappa(agreement.tally(table.T)).estimate
        vote = float(((table.sum(axis=0) >= 2) == truth).mean())
        votes.setdefault((hits, round(kappa, 6)), []).append(vote)
    assert len(votes) > 5
    for (hits, kappa), found in votes.items():
        low, high = published.majority_bounds(
            [[n] for n in right], [hits], positives=2, controls=2, kappa=Decimal(f"{kappa:.6f}")
        )
        # The programme allows fractions of images, so its bounds hold the enumerated values.
        assert low - 1e-6 <= min(found) and max(found) <= high + 1e-6


def test_majority_of_the_published_readers():
    at = published.majority_at([519, 545, 545], 540, **SIZES, kappa=KAPPA)
    assert [round(value, 3) for value in at] == [0.745, 0.915]
    low, high = published.majority_bounds(READERS, range(539, 542), **SIZES, kappa=KAPPA)
    assert low <= at[0] and at[1] <= high and (round(low, 3), round(high, 3)) == (0.739, 0.918)


def test_kappa_range_holds_the_printed_value_and_kappa_of_simulated_calls():
    low, high = published.kappa_range(READERS, [540], **SIZES)
    assert low < 0.628 < high
    rng = np.random.default_rng(1)
    label = np.repeat([1, 0], [228, 420])
    for _ in range(20):
        calls = np.array(
            [np.where(rng.random(648) < rng.uniform(0.7, 0.95), label, 1 - label) for _ in range(3)]
        )
        right = (calls == label).sum(axis=1)
        hits = int(calls[:, :228].sum())
        kappa = agreement.fleiss_kappa(agreement.tally(calls.T)).estimate
        least, most = published.kappa_range([[int(n)] for n in right], [hits], **SIZES)
        assert least - 1e-9 <= kappa <= most + 1e-9


def test_an_impossible_kappa_has_no_majority():
    bounds = published.majority_bounds(
        [[4], [4], [2]], [5], positives=2, controls=2, kappa=Decimal("1.000")
    )
    assert np.isnan(bounds).all()


# Other tables


def test_intervals_by_correlation():
    """A2.6, to the printed digits."""
    wanted = {
        0.0: (".848 .928", ".886 .939", ".884 .929", ".893 .974", ".740 .889"),
        0.4: (".804 .946", ".855 .954", ".861 .942", ".831 .984", ".668 .919"),
        0.8: (".771 .955", ".831 .961", ".843 .949", ".781 .989", ".615 .934"),
        1.0: (".756 .959", ".820 .964", ".835 .952", ".759 .990", ".593 .940"),
    }
    rows = published.by_correlation(TABLE_3, (123, 130), (81, 98))
    for correlation, texts in wanted.items():
        own = rows[rows["correlation"] == correlation]
        limits = [float(part) for text in texts for part in text.split()]
        assert own[["low", "high"]].to_numpy().ravel().round(3).tolist() == limits


def test_images_by_case_have_the_weighted_means_of_table_2():
    for groups, wanted in ((["DMD", "BMD"], 6.18), (None, 6.95)):
        table = published.cohort.published_table()
        groups = groups or list(table.loc[table["label"] == 0, "disease"])
        sizes = np.array(published.images_by_case(groups))
        assert round(float((sizes**2).sum() / sizes.sum()), 2) == wanted


@pytest.mark.parametrize(
    ("prevalence", "ppv", "npv"),
    [
        *((0.01, 0.098, 0.999), (0.05, 0.361, 0.994), (0.10, 0.544, 0.987)),
        *((0.20, 0.729, 0.972), (148 / 432, 0.848, 0.944), (0.50, 0.915, 0.897)),
    ],
)
def test_predictive_values_against_counting_people(prevalence, ppv, npv):
    found = published.predictive_values(204 / 228, 385 / 420, prevalence)
    assert [round(value, 3) for value in found] == [ppv, npv]
    ill, well = prevalence * 1e6, (1 - prevalence) * 1e6
    hits, false = ill * 204 / 228, well * 35 / 420
    assert found[0] == pytest.approx(hits / (hits + false))


def test_case_mix():
    dmd, bmd = 123 / 130, 81 / 98
    assert published.standardised(dmd, bmd, 98 / 228) == pytest.approx(204 / 228)
    for share, wanted in ((214 / 944, 0.919), (31 / 148, 0.921), (76 / 556, 0.930)):
        assert round(published.standardised(dmd, bmd, share), 3) == wanted


def test_age_and_sex_alone_by_simulation():
    areas = findings.age_and_sex(claims.everything())
    assert {name: round(area, 3) for name, area in areas.items()} == {
        **{"age": 0.887, "sex": 0.711, "both": 0.935}
    }
    rng = np.random.default_rng(2021)
    positive, control = rng.normal(14.8, 6.6, 200_000), rng.normal(36.8, 16.9, 200_000)
    woman = rng.random(200_000) < 120 / 284
    score = np.where(woman, np.inf, control)
    assert (positive < score).mean() == pytest.approx(areas["both"], abs=0.003)


def test_nine_referral_splits():
    shares = {"LD": Decimal("0.982"), "CD": Decimal("1.00"), "BSP": Decimal("0.981")}
    people = {"LD": 59, "CD": 59, "BSP": 54}
    table = published.referral_splits(people, 6, shares, Decimal("0.988"))
    columns = ["referred_LD", "referred_CD", "referred_BSP"]
    wanted = ["222", "231", "240", "312", "321", "330", "402", "411", "420"]
    assert ["".join(map(str, found)) for found in table[columns].to_numpy()] == wanted
    assert (table[["wrong_LD", "wrong_CD", "wrong_BSP"]].to_numpy() == [1, 0, 1]).all()


def test_hanley_mcneil_against_bootstrap_of_normal_scores():
    """The formula assumes exponential scores, so it agrees in size, not in digits."""
    rng = np.random.default_rng(3)
    low, high = published.hanley_mcneil(0.90, 100, 100)
    areas = []
    for _ in range(400):
        ill, well = rng.normal(1.8124, 1, 100), rng.normal(0, 1, 100)
        areas.append((ill[:, None] > well).mean())
    assert np.std(areas) == pytest.approx((high - low) / 2 / 1.96, rel=0.15)


def test_published_counts_come_from_the_claims():
    assert findings.counts_of_table_3(claims.everything()) == TABLE_3
    assert isinstance(findings.correlated(claims.everything()), pd.DataFrame)
