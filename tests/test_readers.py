"""Readers: files checked, kappa against known values, simulation against what it must honour."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers import accuracy, claims, readers

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
