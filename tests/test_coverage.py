"""Coverage: the vectorised methods are the ones used elsewhere, and known coverages are found."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers import clustered, coverage, delong, inference

SIZES = np.array([3, 1, 4, 2, 5]), np.array([2, 2, 6, 1, 3, 4])


def test_sizes_are_those_of_the_published_test_set():
    positive, control = coverage.published_sizes()
    assert (positive.size, positive.sum()) == (37, 228)
    assert (control.size, control.sum()) == (65, 420)
    assert positive.min() >= 2
    assert not (np.concatenate([positive, control]) % 2).any()


@pytest.mark.parametrize("icc", [0.0, 0.4, 0.8])
def test_simulated_hits_have_the_share_and_the_correlation(icc):
    rng = np.random.default_rng(1)
    sizes = np.full(400, 6)
    hits = coverage.simulate_hits(sizes, share=0.895, icc=icc, datasets=100, rng=rng)
    assert hits.mean() / 6 == pytest.approx(0.895, abs=0.006)
    expected = 6 * 0.895 * 0.105 * (1 + 5 * icc)
    assert hits.var() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("icc", [0.0, 0.8])
def test_simulated_scores_have_the_area_and_the_correlation(icc):
    rng = np.random.default_rng(2)
    scores = coverage.simulate_scores(np.full(20_000, 2), icc=icc, datasets=1, rng=rng)[0]
    assert scores.std() == pytest.approx(1, abs=0.02)
    assert np.corrcoef(scores[::2], scores[1::2])[0, 1] == pytest.approx(icc, abs=0.02)
    move = np.sqrt(2) * stats.norm.ppf(0.98)
    assert (scores[:20_000] + move > scores[20_000:]).mean() == pytest.approx(0.98, abs=0.005)


def test_limits_of_shares_are_those_of_the_functions_elsewhere():
    rng = np.random.default_rng(3)
    sizes = SIZES[1]
    hits = coverage.simulate_hits(sizes, share=0.7, icc=0.4, datasets=6, rng=rng)
    weights = inference.case_weights(np.arange(6), replicates=300, seed=4)[1:]
    found = coverage.share_limits(hits, sizes, weights=weights)
    case = np.repeat(np.arange(6), sizes)
    for place, row in enumerate(hits):
        hit = np.concatenate(
            [np.repeat([1, 0], [x, n - x]) for x, n in zip(row, sizes, strict=True)]
        )
        for method in ("wilson", "clopper-pearson"):
            expected = inference.proportion(hit.sum(), hit.size, method=method)
            assert limits(found, method, place) == pytest.approx(expected[1:3])
        for method, name in coverage._OF_CASES.items():
            expected = clustered.interval(hit, case, method=name)
            assert limits(found, method, place) == pytest.approx(expected[1:3])
        values = (weights @ np.bincount(case, hit)) / (weights @ sizes)
        expected = inference.middle(values)
        assert limits(found, "bootstrap", place) == pytest.approx(expected)


def limits(found, method, place):
    return found[method].low[place], found[method].high[place]


def test_limits_of_areas_are_those_of_the_functions_elsewhere():
    rng = np.random.default_rng(5)
    scores = [coverage.simulate_scores(of, icc=0.5, datasets=23, rng=rng) for of in SIZES]
    positive, control = scores[0] + 0.8, scores[1]
    case = np.repeat(np.arange(11), np.concatenate(SIZES))
    label = np.repeat([1, 0], [SIZES[0].sum(), SIZES[1].sum()])
    weights = inference.case_weights(case, stratum=label, replicates=200, seed=6)
    parts = weights[:, :5], weights[:, 5:]
    found = coverage.area_limits(positive, control, SIZES, weights=parts)
    for place in (0, 19, 20, 22):
        score = np.concatenate([positive[place], control[place]])
        for scale, suffix in (("plain", ""), ("logit", "-logit")):
            plain = delong.interval(label, score, scale=scale)
            assert limits(found, f"delong{suffix}", place) == pytest.approx(plain[1:3])
            by_case = delong.interval(label, score, case=case, scale=scale)
            assert limits(found, f"obuchowski{suffix}", place) == pytest.approx(by_case[1:3])
        resampled = inference.by_case(label, case, probability=score, replicates=200, seed=6)
        expected = resampled.loc[0, ["low", "high"]].astype(float)
        assert limits(found, "bootstrap", place) == pytest.approx(tuple(expected))
        expected = delong.studentised(label, score, case, replicates=200, seed=6)
        assert limits(found, "bootstrap-t", place) == pytest.approx(expected[1:3], nan_ok=True)


def test_plain_wilson_covers_as_the_binomial_distribution_says():
    """Without clustering its coverage follows from the 229 possible counts."""
    counts = np.arange(229)
    truth = coverage.TRUTH["sensitivity"]
    intervals = [inference.proportion(int(x), 228) for x in counts]
    held = np.array([i.low <= truth <= i.high for i in intervals])
    exact = stats.binom.pmf(counts, 228, truth) @ held
    table = coverage.simulate(datasets=2000, replicates=20, iccs=(0.0,), seed=1)
    row = table[(table["figure"] == "sensitivity") & (table["method"] == "wilson")].iloc[0]
    assert abs(row["coverage"] - exact) < 4 * row["error"]


def test_plain_intervals_cover_as_their_design_effect_says():
    """Coverage of Wald's interval is near that of a normal variate with a larger variance."""
    table = coverage.simulate(datasets=1000, replicates=20, iccs=(0.4, 0.8), seed=2)
    for icc, part in table[table["method"] == "wilson"].groupby("icc"):
        for row in part.itertuples():
            place = ("sensitivity", "specificity").index(row.figure)
            effect = clustered.design_effect_of_icc(coverage.published_sizes()[place], icc)
            expected = 2 * stats.norm.cdf(1.96 / np.sqrt(effect)) - 1
            assert row.coverage == pytest.approx(expected, abs=0.05)


def test_intervals_by_case_cover_better_than_plain_ones_where_images_are_alike():
    table = coverage.simulate(datasets=300, replicates=200, iccs=(0.4, 0.8), seed=3)
    for _, part in table.groupby(["figure", "icc"]):
        assert part.loc[part["clustered"], "coverage"].min() > (
            part.loc[~part["clustered"], "coverage"].max()
        )


def test_the_table_is_repeatable_and_complete():
    one, other = (coverage.simulate(datasets=30, replicates=30, seed=s) for s in (1, 1))
    pd.testing.assert_frame_equal(one, other)
    assert not one.equals(coverage.simulate(datasets=30, replicates=30, seed=2))
    assert len(one) == 3 * (8 + 8 + 6)
    error = np.sqrt(one["coverage"] * (1 - one["coverage"]) / 30)
    np.testing.assert_allclose(one["error"], error)
    assert set(one["method"]) == set(coverage.METHODS)


def rows_of(coverages, datasets=1000):
    rows = [
        {
            "figure": "auc",
            "icc": 0.4,
            "method": method,
            "name": coverage.METHODS[method][0],
            "coverage": value,
            "error": 0.007,
            "width": width,
            "level": 0.95,
            "datasets": datasets,
        }
        for method, value, width in coverages
    ]
    return coverage.recommend(pd.DataFrame(rows)).iloc[0]


def test_the_closest_method_within_error_is_recommended():
    found = rows_of(
        [("delong", 0.78, 0.02), ("bootstrap", 0.945, 0.03), ("obuchowski", 0.94, 0.03)]
    )
    assert found["best"] == "Bootstrap of cases, percentile"
    assert found["good"] == "Bootstrap of cases, percentile; Obuchowski"
    assert found["plain"] == 0.78


def test_of_equally_close_methods_the_narrower_is_recommended():
    found = rows_of([("delong", 0.945, 0.02), ("obuchowski", 0.955, 0.01)])
    assert found["best"] == "Obuchowski"


def test_none_is_good_when_none_is():
    found = rows_of([("delong", 0.60, 0.02), ("obuchowski", 0.91, 0.03), ("bootstrap", 0.995, 0.1)])
    assert found["best"] == "none is good"
    assert found["closest"] == "Obuchowski"
    assert found["good"] == ""


def test_an_interval_that_cannot_be_given_does_not_cover():
    hits, sizes = np.full((1, 5), 2), np.full(5, 2)
    found = coverage.share_limits(hits, sizes, weights=np.ones((10, 5)))
    assert np.isnan(found["bootstrap"].low).all()
    row = coverage._row("sensitivity", 0.0, "bootstrap", found["bootstrap"], 0.95)
    assert (row["coverage"], row["undefined"]) == (0.0, 1.0)


def test_a_thousand_data_sets_cost_seconds():
    started = time.process_time()
    coverage.simulate(datasets=1000, replicates=1000, seed=4)
    assert time.process_time() - started < 20


def test_with_many_data_sets_a_point_does_not_matter():
    rows = [("delong", 0.80, 0.02), ("obuchowski", 0.941, 0.03), ("bootstrap", 0.939, 0.03)]
    found = rows_of(rows, datasets=1_000_000)
    assert found["good"] == found["best"] == "Obuchowski"


def test_pages_show_what_the_table_holds():
    table = coverage.simulate(datasets=50, replicates=50, iccs=(0.0, 0.8), seed=5)
    shown = coverage.readable(table)
    assert len(shown) == 8 + 8 + 6
    row = table[(table["figure"] == "auc") & (table["method"] == "delong") & (table["icc"] == 0.8)]
    expected = f"{100 * row['coverage'].item():.1f} ± {100 * row['error'].item():.1f} %"
    area = shown[shown["What"] == "Area under the ROC curve"].set_index("Method")
    assert area.loc["DeLong", "ICC 0.8"] == f"{expected} ({100 * row['width'].item():.1f})"
    advised, found = coverage.advice(table), coverage.recommend(table)
    assert advised["Recommended"].tolist() == found["best"].tolist()
    none = (found["best"] == "none is good").to_numpy()
    assert (advised.loc[none, "Also good"].str.startswith("closest: ")).all()
    assert (advised.loc[none, "Covers"] == "").all()


def test_the_table_of_the_page_is_that_of_the_study(tmp_path, monkeypatch):
    table = coverage.simulate(datasets=30, replicates=30, seed=9)
    monkeypatch.setattr(coverage, "study", lambda: table)
    coverage.write_tables(tmp_path)
    best = pd.read_csv(tmp_path / "statistics_coverage_best.csv", dtype=str, keep_default_na=False)
    assert best.to_numpy().tolist() == coverage.advice(table).to_numpy().tolist()
    (tmp_path / coverage.RECORDED).write_text("What\nof the run\n")
    coverage.write_tables(tmp_path)
    assert (tmp_path / "statistics_coverage_best.csv").read_text() == "What\nof the run\n"
