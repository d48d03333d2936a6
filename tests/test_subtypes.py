"""DMD against BMD with people as the unit: brute force, known answers, bad inputs."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from helpers import clustered, subtypes


def cohort(hits, sizes, groups):
    rows = [
        (group, f"c{number}", int(image < hit), 0.9 if image < hit else 0.1)
        for number, (hit, size, group) in enumerate(zip(hits, sizes, groups, strict=True))
        for image in range(size)
    ]
    return pd.DataFrame(rows, columns=["group", "case_id", "call", "probability"])


@pytest.fixture
def images():
    return cohort([4, 4, 3, 4, 0, 1, 4], [4] * 7, ["DMD"] * 4 + ["BMD"] * 3)


def test_shuffling_people_agrees_with_going_through_all_divisions(images):
    table = subtypes.compare(images, permutations=20_000, seed=1).set_index("unit")
    hits = np.array([4, 4, 3, 4, 0, 1, 4]) / 4
    observed = hits[:4].mean() - hits[4:].mean()
    gaps = []
    for chosen in combinations(range(7), 4):
        inside = np.isin(np.arange(7), chosen)
        gaps.append(hits[inside].mean() - hits[~inside].mean())
    exact = np.mean(np.abs(gaps) >= abs(observed) - 1e-12)
    row = table.loc["image, people shuffled"]
    assert row["difference"] == pytest.approx(observed)
    assert row["p"] == pytest.approx(exact, abs=0.012)
    assert row["low"] <= row["difference"] <= row["high"]


def test_fisher_on_images_and_on_people(images):
    table = subtypes.compare(images, permutations=50).set_index("unit")
    by_image = stats.fisher_exact([[15, 1], [5, 7]]).pvalue
    assert table.loc["image, independent", "p"] == pytest.approx(by_image)
    by_person = stats.fisher_exact([[4, 0], [1, 2]]).pvalue
    assert table.loc["person", "p"] == pytest.approx(by_person)
    assert table.loc["person", ["n_dmd", "n_bmd"]].tolist() == [4, 3]


def test_doubling_every_image_moves_only_the_tempting_p(images):
    once = subtypes.compare(images, permutations=500, seed=3).set_index("unit")
    twice = pd.concat([images, images], ignore_index=True)
    twice = subtypes.compare(twice, permutations=500, seed=3).set_index("unit")
    for unit in ("image, people shuffled", "person"):
        assert twice.loc[unit, "p"] == pytest.approx(once.loc[unit, "p"])
    tempting = "image, independent"
    assert twice.loc[tempting, "p"] < once.loc[tempting, "p"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=6, max_size=10), st.integers(0, 99))
def test_p_is_a_probability_and_swapping_names_mirrors_the_difference(hits, seed):
    groups = (["DMD", "BMD"] * 5)[: len(hits)]
    images = cohort(hits, [4] * len(hits), groups)
    other = images.assign(group=images["group"].map({"DMD": "BMD", "BMD": "DMD"}))
    one, two = (subtypes.compare(t, permutations=100, seed=seed) for t in (images, other))
    assert one["p"].between(0, 1, inclusive="right").all()
    np.testing.assert_allclose(one["difference"], -two["difference"], atol=1e-12)
    np.testing.assert_allclose(one["p"].iloc[[0, 2]], two["p"].iloc[[0, 2]])


@pytest.mark.parametrize(("only", "other"), [("DMD", "BMD"), ("BMD", "DMD")])
def test_without_one_diagnosis_everything_is_undefined_and_says_why(images, only, other):
    table = subtypes.compare(images[images["group"] == only])
    assert table["p"].isna().all() and table["difference"].isna().all()
    assert table["test"].tolist() == [f"none: no image of {other}"]


def test_a_third_diagnosis_is_refused(images):
    with pytest.raises(ValueError, match="Groups found: BMD, DMD, FSHD; expected DMD and BMD"):
        subtypes.compare(pd.concat([images, images.iloc[:1].assign(group="FSHD")]))


def test_shares_are_clustered_and_keep_empty_groups(images):
    group = pd.Series(pd.Categorical(images["group"], categories=["DMD", "BMD", "none"]))
    table = subtypes.shares(images, group).set_index("group")
    own = images[images["group"] == "BMD"]
    expected = clustered.interval(own["call"], own["case_id"])
    found = subtypes.interval_of(table.reset_index(), "BMD")
    assert found == expected
    assert table.loc["BMD", ["cases", "called", "n"]].tolist() == [3, 5, 12]
    assert np.isnan(table.loc["none", "estimate"]) and table.loc["none", "n"] == 0


def test_ranges_hold_every_fraction_once_and_the_unknown_stays_so():
    fractions = pd.Series([0.0, 0.05, 0.1, 0.1001, 0.3, 0.5, 0.5001, 1.0, np.nan])
    found = subtypes.severity(fractions)
    assert found.isna().tolist() == [False] * 8 + [True]
    for name, (low, high) in subtypes.SEVERITY.items():
        inside = fractions[found == name]
        assert ((inside >= low) & (inside <= high)).all()


def test_looks():
    rows = {"group": ["BMD", "DMD", "other disease", "BMD"], "fat_fraction": [0.1, 0.2, 0, np.nan]}
    found = subtypes.looks(pd.DataFrame(rows))
    expected = ["BMD, nearly normal", "DMD, visibly ill", "other disease, nearly normal"]
    assert found.tolist()[:3] == expected
    assert pd.isna(found.iloc[3])
