"""Coverage: the vectorised methods are the ones used elsewhere, and known coverages are found."""

import time

import nbformat
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from helpers import clustered, coverage, delong, inference, paths

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


def rows_of(methods, datasets=1000):
    """Rows of an area: method, coverage at two correlations, width."""
    rows = [
        {
            "figure": "auc",
            "icc": icc,
            "method": method,
            "name": coverage.METHODS[method][0],
            "coverage": value,
            "error": 0.007,
            "width": width,
            "level": 0.95,
            "datasets": datasets,
        }
        for method, values, width in methods
        for icc, value in zip((0.0, 0.8), values, strict=True)
    ]
    return pd.DataFrame(rows)


def test_recommended_is_the_narrowest_that_is_good_at_every_correlation():
    table = rows_of(
        [
            ("delong", (0.95, 0.60), 0.01),
            ("obuchowski", (0.959, 0.941), 0.02),
            ("bootstrap", (0.95, 0.95), 0.03),
        ]
    )
    assert coverage.recommend(table) == {"auc": "Obuchowski"}
    shown = coverage.advice(table)
    assert shown["Recommended"].tolist() == ["Obuchowski"] * 2
    assert shown["Good at this ICC"].tolist() == [
        "DeLong; Obuchowski; Bootstrap of cases, percentile",
        "Obuchowski; Bootstrap of cases, percentile",
    ]
    low, high = proportion_confint(959, 1000, method="wilson")
    assert shown["Covers"][0] == f"95.9 % ({100 * low:.1f} to {100 * high:.1f})"


@pytest.mark.parametrize("datasets", [20, 1000, 1_000_000])
@pytest.mark.parametrize(("value", "good"), [(0.94, True), (0.96, True), (0.9399, False)])
def test_good_does_not_depend_on_the_number_of_data_sets(value, good, datasets):
    table = rows_of([("delong", (0.9, 0.6), 0.01), ("obuchowski", (value,) * 2, 0.02)], datasets)
    assert coverage.recommend(table)["auc"] == ("Obuchowski" if good else coverage.NONE)


def test_none_is_good_when_none_is_good_everywhere():
    table = rows_of([("delong", (0.95, 0.60), 0.02), ("obuchowski", (0.91, 0.95), 0.03)])
    assert coverage.recommend(table) == {"auc": coverage.NONE}
    shown = coverage.advice(table)
    assert shown["Covers"].tolist() == ["", ""]
    assert shown["Good at this ICC"].tolist() == ["DeLong", "Obuchowski"]


def test_wald_is_never_recommended():
    table = rows_of([("wald", (0.95, 0.95), 0.01), ("delong", (0.95, 0.95), 0.02)])
    assert coverage.recommend(table) == {"auc": "DeLong"}


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


def test_pages_show_what_the_table_holds():
    table = coverage.simulate(datasets=50, replicates=50, iccs=(0.0, 0.8), seed=5)
    shown = coverage.readable(table)
    assert len(shown) == 8 + 8 + 6
    row = table[(table["figure"] == "auc") & (table["method"] == "delong") & (table["icc"] == 0.8)]
    expected = f"{100 * row['coverage'].item():.1f} ± {100 * row['error'].item():.1f} %"
    area = shown[shown["What"] == "Area under the ROC curve"].set_index("Method")
    assert area.loc["DeLong", "ICC 0.8"] == f"{expected} ({100 * row['width'].item():.1f})"
    advised, found = coverage.advice(table), coverage.recommend(table)
    words = {coverage.WHAT[figure]: name for figure, name in found.items()}
    assert (advised["Recommended"] == advised["What"].map(words)).all()


def test_the_table_of_the_page_is_that_of_the_notebook(tmp_path):
    """The cells of notebook 6 record it, with their number of data sets; nothing else makes it."""
    notebook = paths.root() / "notebooks" / "06_dmd_bmd_breakdown.ipynb"
    cells = {cell.id: cell.source for cell in nbformat.read(notebook, as_version=4).cells}
    run = Recorder()
    given = {"coverage": coverage, "coverage_datasets": 30, "seed": 1, "run": run}
    exec(cells["table-coverage"], given)
    name = coverage.RECORDED.removeprefix("06_").removesuffix(".csv")
    assert run.tables[name].equals(coverage.advice(given["simulated"]))
    assert run.numbers["nb06.coverage.datasets"] == 30
    assert set(run.labels) == {"recomputed"}
    coverage.write_tables(tmp_path)
    target = tmp_path / "statistics_coverage_best.csv"
    assert "not run yet" in target.read_text()
    run.tables[name].to_csv(tmp_path / coverage.RECORDED, index=False)
    coverage.write_tables(tmp_path)
    assert target.read_bytes() == (tmp_path / coverage.RECORDED).read_bytes()


class Recorder:
    """Keeps what a cell records."""

    def __init__(self):
        self.tables, self.numbers, self.labels = {}, {}, []

    def table(self, data, name, *, basis, label, weights):
        self.tables[name] = data
        self.labels.append(label)

    def number(self, key, value, *, basis, label, weights, **options):
        self.numbers[key] = value
        self.labels.append(label)

    def words(self, key, words, *, basis, label, weights):
        self.numbers[key] = words
        self.labels.append(label)
