"""Table 2, reduced cohorts, published moments, and messages for an author's own folder."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers import claims, cohort, findings, parameters
from helpers.phantom import cases, thigh


@pytest.fixture(scope="module")
def whole():
    return thigh.draw_cohort(seed=7, case_fraction=1.0, image_fraction=1.0)


def leg_images(recipes):
    separable = {
        r["row"]["case_id"]: len(r["contact"]) - r["contact"].count("pressed") for r in recipes
    }
    return 2 * pd.Series(separable)


def test_at_fraction_one_every_cell_is_the_published_one(whole):
    table, recipes = whole
    images = table.assign(images=table.case_id.map(leg_images(recipes)))
    here = images.groupby(["diagnosis", "split"]).agg(
        cases=("case_id", "size"), images=("images", "sum")
    )
    printed = cohort.published_cells().set_index(["diagnosis", "split"])
    printed = printed.loc[printed.cases > 0, ["cases", "images"]]
    pd.testing.assert_frame_equal(here.sort_index(), printed.sort_index(), check_dtype=False)
    assert (len(table), int(images.images.sum())) == (432, 2536)


@pytest.mark.parametrize("fraction", [0.001, 0.02, 0.1, 0.25, 0.5, 0.9])
def test_no_cell_empties_and_becker_keeps_its_share(fraction):
    printed = cohort.published_cells()
    cells = cases.cell_sizes(printed, case_fraction=fraction, image_fraction=fraction)
    assert len(cells) == (printed.cases > 0).sum()
    published = printed[printed.cases > 0].cases.to_numpy()
    assert (cells.cases.to_numpy() >= fraction * published - 1e-9).all()
    assert (cells.images % 2 == 0).all() and (cells.images >= 2 * cells.cases).all()
    becker = cells.diagnosis == "BMD"
    assert cells.cases[becker].sum() / cells.cases.sum() >= 31 / 432


def test_the_demo_keeps_its_floors():
    chosen = parameters.load("demo").cohort
    cells = cases.cell_sizes(
        cohort.published_cells(),
        case_fraction=chosen.case_fraction,
        image_fraction=chosen.image_fraction,
    )
    assert cells.cases.sum() >= 120 and cells.images.sum() >= 240


@pytest.mark.parametrize("group", ["DMD", "BMD", "control"])
@pytest.mark.parametrize("which", ["AGE", "COURSE"])
def test_a_distribution_has_the_given_moments_and_range(which, group):
    moments = getattr(cases, which)[group]
    drawn = cases.distribution(moments)
    assert drawn.mean() == pytest.approx(moments.mean)
    assert drawn.std() == pytest.approx(moments.sd)
    assert drawn.support() == pytest.approx((moments.low, moments.high))


def test_the_pooled_ages_of_positives_are_the_printed_ones():
    weights = {"DMD": 117 / 148, "BMD": 31 / 148}
    mean = sum(w * cases.AGE[g].mean for g, w in weights.items())
    second = sum(w * (cases.AGE[g].sd ** 2 + cases.AGE[g].mean ** 2) for g, w in weights.items())
    assert (round(mean, 1), round(np.sqrt(second - mean**2), 1)) == (14.8, 6.6)


def test_the_whole_cohort_has_the_printed_moments(whole):
    table, _ = whole
    control = table[table.dystrophinopathy == 0]
    positive = table[table.dystrophinopathy == 1]
    assert control.age_years.mean() == pytest.approx(36.8, abs=0.15)
    assert control.age_years.std() == pytest.approx(16.9, abs=0.15)
    assert control.disease_course_years.mean() == pytest.approx(5.8, abs=0.1)
    assert control.disease_course_years.std() == pytest.approx(5.9, abs=0.15)
    assert positive.age_years.mean() == pytest.approx(14.8, abs=0.15)
    assert positive.age_years.std() == pytest.approx(6.6, abs=0.25)
    for name, mean, sd in (("DMD", 7.3, 2.5), ("BMD", 17.1, 10.6)):
        course = table[table.diagnosis == name].disease_course_years
        assert course.mean() == pytest.approx(mean, abs=0.15)
        assert course.std() == pytest.approx(sd, abs=0.4)


def test_sexes_courses_and_field_strengths(whole):
    table, _ = whole
    assert (table[table.dystrophinopathy == 1].sex == "M").all()
    assert table[table.dystrophinopathy == 0].sex.value_counts().to_dict() == {"M": 164, "F": 120}
    assert (table.disease_course_years <= table.age_years).all()
    assert table.field_strength_tesla.value_counts().to_dict() == {1.5: 216, 3.0: 216}
    crossed = pd.crosstab(table.dystrophinopathy, table.field_strength_tesla)
    assert stats.fisher_exact(crossed).pvalue > 0.01


def test_identifiers_do_not_tell_the_diagnosis(whole):
    table, _ = whole
    number = table.case_id.str.split("-").str[1].astype(int)
    assert stats.mannwhitneyu(number[table.dystrophinopathy == 1], number).pvalue > 0.01


def test_the_same_seed_gives_the_same_cohort_and_another_does_not():
    one, two, other = (
        thigh.draw_cohort(seed=s, case_fraction=0.1, image_fraction=0.1)[0] for s in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(one, two)
    assert not one.equals(other)


def test_impossible_moments_are_refused():
    with pytest.raises(ValueError, match="No distribution"):
        cases.distribution(cases.Moments(5, 20, 0, 10))


def test_every_problem_of_a_table_is_listed(tmp_path, whole):
    bad = whole[0].head(4).copy()
    bad.loc[0, "diagnosis"] = "Duchene"
    bad.loc[1, "sex"] = "male"
    bad["disease_course_years"] = bad.age_years + np.array([-1, -1, 5, -1])
    bad.to_csv(tmp_path / "cases.csv", index=False)
    with pytest.raises(cohort.InvalidCohort) as error:
        cohort.read_cases(tmp_path / "cases.csv")
    for part in ("Duchene", "'male'", "disease_course_years exceeds age_years", "row 4"):
        assert part in str(error.value)


def test_a_missing_column_is_named(tmp_path, whole):
    whole[0].drop(columns="split").to_csv(tmp_path / "cases.csv", index=False)
    with pytest.raises(cohort.InvalidCohort, match="column 'split' is missing"):
        cohort.read_cases(tmp_path / "cases.csv")


def test_a_label_must_fit_the_diagnosis(tmp_path, whole):
    bad = whole[0].head(5).copy()
    bad["dystrophinopathy"] = 1 - bad.dystrophinopathy
    bad.to_csv(tmp_path / "cases.csv", index=False)
    with pytest.raises(cohort.InvalidCohort, match="must be 1 for DMD and BMD"):
        cohort.read_cases(tmp_path / "cases.csv")


def test_slices_and_cases_must_belong_together(tmp_path, whole):
    people = whole[0].head(2)
    rows = [("a", people.case_id[0], "a.dcm", 0, 0.0), ("b", "nobody", "b.dcm", 0, 0.0)]
    pd.DataFrame(rows, columns=list(cohort.SLICES.columns)).to_csv(
        tmp_path / "slices.csv", index=False
    )
    with pytest.raises(cohort.InvalidCohort) as error:
        cohort.read_slices(tmp_path / "slices.csv", cases=people)
    assert "'nobody' is not in cases.csv" in str(error.value)
    assert f"{people.case_id[1]!r} of cases.csv has no slice" in str(error.value)


def test_the_published_split_is_implausible_as_a_random_one():
    table = cohort.split_plausibility().set_index("group")
    assert table.in_test.sum() == 102 and table.cases.sum() == 432
    random = stats.hypergeom(432, 31, 102)
    # Every number that far below the expectation is impossible: only the upper tail counts.
    assert table.loc["BMD", "p"] == pytest.approx(random.sf(16))
    # Myositis by the definition: every number as far off, on both sides.
    n, found = int(table.loc["Myositis", "cases"]), int(table.loc["Myositis", "in_test"])
    draw = stats.hypergeom(432, n, 102)
    far = [k for k in range(n + 1) if abs(k - draw.mean()) >= abs(found - draw.mean()) - 1e-9]
    assert table.loc["Myositis", "p"] == pytest.approx(sum(draw.pmf(k) for k in far))


def test_the_finding_on_the_split_quotes_the_same_p_as_the_table():
    facts = findings._split({})
    table = cohort.split_plausibility().set_index("group")
    for name, group in (("bmd", "BMD"), ("myositis", "Myositis"), ("other", "all others")):
        assert facts[f"{name}_p"] == f"p = {findings._power(table.loc[group, 'p'])}"
    assert facts["chi_p"] == f"p = {findings._power(cohort.split_test())}"


def test_the_area_from_moments_agrees_with_simulation():
    rng = np.random.default_rng(0)
    positive, control = rng.normal(14.8, 6.6, 200_000), rng.normal(36.8, 16.9, 200_000)
    assert cohort.area_from_moments(*cohort.PRINTED_AGES) == pytest.approx(
        (positive < control).mean(), abs=0.004
    )


def test_the_flow_counts_pressed_legs_and_what_was_set_aside(tmp_path, whole):
    people = whole[0].groupby(["split", "dystrophinopathy"]).head(2)
    slices = pd.DataFrame({"slice_id": people.case_id + "-1", "case_id": people.case_id})
    folder = tmp_path / "cohort" / "thigh" / "truth"
    folder.mkdir(parents=True)
    assert cohort.read_pressed(tmp_path) == []
    legs = pd.DataFrame({"slice_id": np.repeat(slices.slice_id, 2), "separable": 1})
    legs.loc[legs.slice_id == slices.slice_id.iloc[0], "separable"] = 0
    legs.to_csv(folder / "legs.csv", index=False)
    first = people.iloc[0]
    aside = pd.DataFrame(
        {"split": first.split, "dystrophinopathy": first.dystrophinopathy}
        | {"step": ["decoding", "admission", "admission", "copy", "case"]}
    )
    pressed = cohort.read_pressed(tmp_path)
    table = cohort.flow(people, slices, set_aside=aside, pressed=pressed)
    assert table.cases.tolist() == [2] * 6 == table.slices.tolist()
    own = (table.split == first.split) & (table.dystrophinopathy == first.dystrophinopathy)
    names = ["not_separable", *cohort.SET_ASIDE_STEPS]
    assert table.loc[own, names].iloc[0].tolist() == [1, 1, 2, 1, 1]
    assert (table.loc[~own, names] == 0).all(axis=None)
    assert (cohort.flow(people, slices)[names] == 0).all(axis=None)


def test_demographics_set_this_cohort_beside_the_printed_claims():
    cases, _ = thigh.draw_cohort(seed=3, case_fraction=0.1, image_fraction=0.05)
    table = cohort.demographics(cases, printed=claims.everything()).set_index("group")
    assert table.loc["dystrophinopathy", "male / female"].endswith("/ 0")
    assert table.loc["DMD", "course, published"] == claims.get("P1-10").text
    assert table.loc["DMD", "age, published"] == "not printed"
    mean = cases.age_years[cases.dystrophinopathy == 0].mean()
    assert table.loc["control", "age"].startswith(f"{mean:.1f}")
