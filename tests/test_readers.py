"""Readers: files checked, kappa against known values, simulation against what it must honour."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers import accuracy, claims, paired, readers

#: Fleiss (1971)'s design with 14 raters of 10 subjects, as in the Wikipedia article on his kappa.
WIKIPEDIA = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]


def kappa_by_definition(calls):
    calls = np.asarray(calls)
    raters = calls.shape[1]
    agree = [
        np.mean([row[i] == row[j] for i in range(raters) for j in range(raters) if i != j])
        for row in calls
    ]
    rate = calls.mean()
    chance = rate**2 + (1 - rate) ** 2
    return (np.mean(agree) - chance) / (1 - chance)


def test_statsmodels_kappa_is_the_one_of_the_worked_example():
    assert readers.statsmodels_fleiss_kappa(np.array(WIKIPEDIA)) == pytest.approx(0.20993, abs=5e-6)


def test_kappa_is_its_definition():
    calls = np.random.default_rng(1).integers(0, 2, (50, 3))
    assert readers.fleiss_kappa(calls) == pytest.approx(kappa_by_definition(calls))
    assert readers.kappa_by_case(calls, np.arange(50)).estimate == pytest.approx(
        readers.fleiss_kappa(calls)
    )


def test_resampled_kappa_is_that_of_the_resampled_rows():
    rng = np.random.default_rng(2)
    calls, case = rng.integers(0, 2, (40, 3)), np.repeat(np.arange(10), 4)
    weights = readers.inference.case_weights(case, replicates=200, seed=7)
    rows = [np.repeat(np.arange(40), row.astype(int)[case]) for row in weights[1:]]
    by_hand = np.quantile([readers.fleiss_kappa(calls[r]) for r in rows], [0.025, 0.975])
    found = readers.kappa_by_case(calls, case, replicates=200, seed=7)
    assert (found.low, found.high) == pytest.approx(tuple(by_hand))


def test_readers_who_always_say_the_same_have_no_kappa():
    assert np.isnan(readers.fleiss_kappa(np.ones((5, 3))))
    assert np.isnan(readers.kappa_by_case(np.ones((5, 3)), np.arange(5)).estimate)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (-0.01, "no"),
        (0.2, "slight"),
        (0.4, "fair"),
        (0.6, "moderate"),
        (0.628, "substantial"),
        (0.8, "substantial"),
        (0.81, "nearly perfect"),
        (float("nan"), "undefined"),
    ],
)
def test_kappa_words_are_those_of_the_paper(value, word):
    assert readers.kappa_word(value) == word


def test_constants_are_the_published_claims():
    printed = [claims.get(f"P1-37{letter}").value for letter in "abc"]
    assert list(readers.PUBLISHED_ACCURACY) == printed
    assert claims.get("P1-39").value == readers.PUBLISHED_SENSITIVITY
    assert claims.get("P1-41").value == readers.PUBLISHED_KAPPA
    counts = accuracy.published_counts()
    assert counts.tp + counts.fn == readers.PUBLISHED_POSITIVES
    assert counts.fp + counts.tn == readers.PUBLISHED_CONTROLS


def test_mean_radiologist_follows_from_the_printed_values():
    table = readers.published_measures().set_index(["rater", "measure"])["estimate"]
    mean = table["mean radiologist"]
    assert 0.845 <= mean["specificity"] <= 0.853
    assert 0.761 <= mean["f1"] <= 0.766
    assert 5.1 <= mean["lr_positive"] <= 5.35
    assert 0.247 <= mean["lr_negative"] <= 0.249


def test_expected_kappa_agrees_with_the_bivariate_normal_distribution():
    model = readers.ReaderModel((0.7, 0.9, 0.8), (0.85, 0.9, 0.75), correlation=0.4)
    prevalence, agree, rate = 0.3, 0.0, 0.0
    rates = [(prevalence, model.sensitivity), (1 - prevalence, [1 - s for s in model.specificity])]
    for share, calls in rates:
        for i, j in ((0, 1), (0, 2), (1, 2)):
            z = stats.norm.ppf([calls[i], calls[j]])
            both = stats.multivariate_normal([0, 0], [[1, 0.4], [0.4, 1]]).cdf(z)
            agree += share * (1 - calls[i] - calls[j] + 2 * both) / 3
        rate += share * np.mean(calls)
    chance = rate**2 + (1 - rate) ** 2
    found = readers.expected_kappa(model, prevalence=prevalence)
    assert found == pytest.approx((agree - chance) / (1 - chance), abs=1e-4)


def test_a_large_simulated_set_reproduces_marginals_and_kappa():
    number = 324_000
    label = (np.arange(number) < number * 228 / 648).astype(int)
    reads = readers.simulate(np.arange(number).astype(str), label, seed=1)
    calls = reads["call"].to_numpy().reshape(3, number).T
    right = (calls == label[:, None]).mean(axis=0)
    assert right == pytest.approx(readers.PUBLISHED_ACCURACY, abs=0.003)
    assert calls[label == 1].mean(axis=0) == pytest.approx([0.79] * 3, abs=0.005)
    assert readers.fleiss_kappa(calls) == pytest.approx(0.628, abs=0.004)


def test_expected_kappa_of_the_published_model_is_the_printed_one():
    found = readers.expected_kappa(readers.published_model(), prevalence=228 / 648)
    assert found == pytest.approx(0.628, abs=1e-9)


def test_simulation_is_repeatable_and_seeded():
    one, other = (readers.simulate(["x"] * 1, [1], seed=5) for _ in range(2))
    pd.testing.assert_frame_equal(one, other)
    many = np.arange(200).astype(str)
    label = np.arange(200) % 2
    first, second = (readers.simulate(many, label, seed=seed)["call"] for seed in (1, 2))
    assert not first.equals(second)


def test_simulated_reads_pass_the_check_of_real_ones():
    ids = [f"image {n}" for n in range(20)]
    reads = readers.simulate(ids, np.arange(20) % 2, seed=3)
    found = readers.checked(reads, ids)
    assert len(found) == 60
    assert found["reader_id"].str.startswith("simulated").all()


def reads_of(rows):
    return pd.DataFrame(rows, columns=["reader_id", "image_id", "call"])


def test_all_problems_are_listed_at_once():
    reads = reads_of(
        [("A", "x", "1"), ("A", "x", "0"), ("A", "q", "1"), ("B", "x", None), ("B", "y", "maybe")]
    )
    with pytest.raises(readers.InvalidReads) as error:
        readers.checked(reads, ["x", "y"])
    message = str(error.value)
    assert "call: 2 rows hold maybe, nothing; expected 0 or 1" in message
    assert "1 image unknown to this cohort's test split, e.g. q" in message
    assert "reader A: 1 image called twice, e.g. x" in message
    assert "reader A: 1 of 2 images not called, e.g. y" in message


def test_a_missing_column_is_named_with_those_found():
    with pytest.raises(readers.InvalidReads, match="call is missing; columns found: reader_id"):
        readers.checked(reads_of([]).drop(columns="call"), ["x"])


def test_a_file_without_rows_or_without_a_table_is_refused(tmp_path):
    with pytest.raises(readers.InvalidReads, match="it has no rows"):
        readers.checked(reads_of([]), ["x"])
    (tmp_path / "reads.csv").write_text("")
    with pytest.raises(readers.InvalidReads, match="not a table"):
        readers.load(tmp_path / "reads.csv", ["x"])


def test_a_file_is_read_and_a_missing_one_named(tmp_path):
    path = tmp_path / "reads.csv"
    reads_of([("A", "x", 1), ("B", "x", 0)]).to_csv(path, index=False)
    assert readers.load(path, ["x"])["call"].tolist() == [1, 0]
    with pytest.raises(FileNotFoundError, match="parameter reads_csv"):
        readers.load(tmp_path / "none.csv", ["x"])


def test_calls_that_are_no_matrix_are_refused():
    with pytest.raises(ValueError, match="two or more readers"):
        readers.fleiss_kappa([[1], [0]])
    with pytest.raises(ValueError, match="no call may be missing"):
        readers.fleiss_kappa([[1, np.nan], [0, 1]])


def published_images(times=1):
    sizes = np.full(102 * times, 6)
    case = np.repeat(np.arange(102 * times), sizes)
    return case, (case % 102 < 37).astype(int)


@pytest.mark.parametrize("within", [0.0, 0.5, 1.0])
def test_alike_images_keep_accuracies_and_kappa(within):
    case, label = published_images(times=600)
    model = replace(readers.published_model(), within_case=within)
    reads = readers.simulate(case, label, case=case, seed=1, model=model)
    calls = reads["call"].to_numpy().reshape(3, case.size).T
    sensitivity = calls[label == 1].mean(axis=0)
    specificity = 1 - calls[label == 0].mean(axis=0)
    assert sensitivity == pytest.approx(model.sensitivity, abs=0.01)
    assert specificity == pytest.approx(model.specificity, abs=0.01)
    expected = readers.expected_kappa(model, prevalence=label.mean())
    assert readers.fleiss_kappa(calls) == pytest.approx(expected, abs=0.01)


def test_images_of_one_person_correlate_as_the_model_says():
    """Of two images of a person, the latent impressions are bivariate normal."""
    case = np.repeat(np.arange(200_000), 2)
    model = readers.ReaderModel((0.8,), (0.8,), correlation=0.3, within_case=0.5)
    reads = readers.simulate(case, np.ones(case.size, dtype=int), case=case, seed=2, model=model)
    pairs = reads["call"].to_numpy().reshape(-1, 2)
    z = stats.norm.ppf(0.8)
    both = stats.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]]).cdf([z, z])
    assert pairs.all(axis=1).mean() == pytest.approx(both, abs=0.004)


def test_without_cases_images_are_independent():
    case = np.repeat(np.arange(100_000), 2)
    reads = readers.simulate(case, np.ones(case.size, dtype=int), seed=3)
    first = reads[reads["reader_id"] == "simulated reader 1"]["call"].to_numpy().reshape(-1, 2)
    assert np.corrcoef(first.T)[0, 1] == pytest.approx(0, abs=0.015)


def test_simulation_refuses_ids_that_do_not_match():
    with pytest.raises(ValueError, match="2 images, 2 labels and 1 case ids"):
        readers.simulate(["x", "y"], [1, 0], case=["a"], seed=1)
    with pytest.raises(ValueError, match="2 images, 1 labels and 1 case ids"):
        readers.simulate(["x", "y"], [1], seed=1)


def test_consensus_is_the_majority_by_counting():
    calls = np.array(list(itertools.product((0, 1), repeat=4)))
    for votes in (1, 2, 3, 4):
        expected = [int(row.sum() >= votes) for row in calls]
        assert readers.consensus(calls, votes=votes).tolist() == expected
    assert readers.consensus(calls).tolist() == [int(row.sum() > 2) for row in calls]
    with pytest.raises(ValueError, match="5 votes of 4 raters"):
        readers.consensus(calls, votes=5)
    with pytest.raises(ValueError, match="no call may be missing"):
        readers.consensus([[1, np.nan], [0, 0]])


def test_assistance_only_moves_calls_where_the_model_is_sure():
    rng = np.random.default_rng(5)
    call, probability = rng.integers(0, 2, 500), rng.random(500)
    found = readers.assisted(call, probability, low=0.1, high=0.9)
    unsure = (probability > 0.1) & (probability < 0.9)
    assert (found[unsure] == call[unsure]).all()
    assert (found[probability >= 0.9] == 1).all()
    assert (found[probability <= 0.1] == 0).all()
    never = readers.assisted(call, probability, low=-1, high=2)
    assert (never == call).all()


@pytest.mark.parametrize(
    ("arguments", "limits", "message"),
    [
        (([1], [0.1, 0.2]), (0.1, 0.9), "1 calls but 2 probabilities"),
        (([1], [np.nan]), (0.1, 0.9), "1 probabilities are missing"),
        (([1], [0.1]), (0.9, 0.1), "is not below"),
    ],
)
def test_assistance_refuses_bad_inputs(arguments, limits, message):
    with pytest.raises(ValueError, match=message):
        readers.assisted(*arguments, low=limits[0], high=limits[1])


def table_of_calls(seed=6):
    case, label = published_images()
    rng = np.random.default_rng(seed)
    probability = 1 / (1 + np.exp(-2 * (label - 0.5) - rng.normal(size=case.size)))
    table = pd.DataFrame({"label": label, "case_id": case, "probability": probability})
    return table.assign(model=(probability >= 0.5).astype(int))


def test_the_team_holds_every_combination():
    calls = table_of_calls()
    reads = readers.simulate(calls.index.astype(str), calls["label"], seed=1)
    calls = readers.add_calls(calls.assign(image_id=calls.index.astype(str)), reads)
    names = sorted(reads["reader_id"].unique())
    found = readers.team(calls, names, model="model")
    added = [name for name in found.columns if name not in calls.columns]
    assert added[:3] == [
        "majority of readers",
        "readers and model, 2 of 4 votes",
        "readers and model, 3 of 4 votes",
    ]
    assert added[3:] == [f"{name}, assisted" for name in names]
    votes = calls[[*names, "model"]].sum(axis=1)
    assert (found["readers and model, 3 of 4 votes"] == (votes >= 3)).all()
    assert readers.best(calls, names) in names


def test_real_readers_are_tested_and_simulated_ones_are_not():
    calls = table_of_calls()
    rng = np.random.default_rng(7)
    for name in ("A", "B", "C"):
        calls[name] = np.where(rng.random(len(calls)) < 0.8, calls["label"], 1 - calls["label"])
    real = readers.against_model(calls, ["A", "B", "C"], model="model")
    assert real["p"].between(0, 1).all()
    assert set(real["rater"]) == {"A", "B", "C", "mean of readers"}
    positives = calls[calls["label"] == 1]
    expected = paired.clustered_mcnemar(
        positives["model"] == 1, positives["A"] == 1, positives["case_id"]
    )
    assert real.iloc[0]["p"] == pytest.approx(expected.p)
    assert real.iloc[0]["difference"] == pytest.approx(expected.difference)
    simulated = calls.rename(columns={n: f"simulated reader {n}" for n in "ABC"})
    names = [f"simulated reader {n}" for n in "ABC"]
    found = readers.against_model(simulated, names, model="model")
    assert found["difference"].tolist() == pytest.approx(real["difference"].tolist())
    assert found[["low", "high", "p"]].isna().all(axis=None)
    assert (found["reason"] == "simulated reader: the skill is imposed, so no test").all()


def test_a_model_like_one_reader_is_no_different():
    calls = table_of_calls().assign(A=lambda rows: rows["model"])
    found = readers.against_model(calls, ["A"], model="model")
    assert (found["difference"] == 0).all()
    assert (found["p"] == 1).all()
