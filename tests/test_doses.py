"""The long experiments: a plan fixed in advance, runs that resume, comparisons that are paired."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers import accuracy, doses, parameters
from helpers.display import doses as display_doses
from helpers.doses import Run


@pytest.fixture(scope="module")
def people():
    return doses.people()


@pytest.fixture(scope="module")
def made_up(people):
    """Scores of every planned run, better with the effect; no network is involved."""
    tested = people["split"].isin(["validation", "held_out_controls"])
    label, sites = people.loc[tested, "patient"].to_numpy(), people.loc[tested, "site"]
    rng, found = np.random.default_rng(0), {}
    for run in doses.plan():
        score = run.effect_d * label + rng.standard_normal(label.size)
        if run.question == "confounded":
            score = 3.0 * sites.isin(doses.PATIENT_SITES).to_numpy() + rng.standard_normal(
                label.size
            )
        found[run.key] = {doses.NETWORK: stats.norm.cdf(score - score.mean())}
        found[run.key][doses.LAST] = found[run.key][doses.NETWORK] ** 2
        others = {name: stats.norm.cdf(score - 0.1) for name in (*doses.SIMPLE, doses.CEILING)}
        if run.question != "permutation":
            found[f"{run.condition}_simple"] = others | {
                "regions + small MLP": np.tile(0.5, (5, label.size))
            }
        rows = np.flatnonzero(tested & people["group"].isin(["CD", "BSP"]))
        found[run.key] |= {"half_rows": rows, "half": np.full(len(rows), 0.4)}
    return found


def test_plan_holds_every_dose_pose_and_seed_once():
    runs = doses.plan()
    wanted = {
        Run("dose", pose, d, 320, seed)
        for pose in ("registered", "as_scanned")
        for d in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
        for seed in (1, 2, 3, 4, 5)
    }
    assert wanted == {run for run in runs if run.question == "dose"}
    count = pd.Series([run.question for run in runs]).value_counts()
    assert count.to_dict() == {
        "dose": 60,
        "permutation": 20,
        "confounded": 5,
        "half": 5,
        "learning": 30,
    }
    assert all(run.effect_d == 0 for run in runs if run.question in ("permutation", "confounded"))
    assert len({run.key for run in runs}) == len(runs)


def test_settings_of_the_network_can_be_compared_with_a_profiles():
    demo = parameters.load("demo").dystonianet
    chosen = {**demo.layers.model_dump(), **demo.extras.model_dump(), **demo.fitting.model_dump()}
    assert chosen.keys() == doses.RECIPE.keys()


def test_a_partial_run_has_one_seed_of_every_registered_dose_first():
    first = doses.plan()[: len(doses.DOSES)]
    assert {run.effect_d for run in first} == set(doses.DOSES)
    assert {(run.pose, run.seed) for run in first} == {("registered", 1)}


def test_people_are_the_published_sets_and_a_matched_control_for_each_patient_tested(people):
    count = people.groupby(["split", "group"]).size()
    assert count["training"].to_dict() == {"LD": 160, "control": 160}
    assert count["optimisation"].to_dict() == {"LD": 60, "control": 60}
    assert count["validation"].to_dict() == {"LD": 59, "CD": 59, "BSP": 54}
    assert count["held_out_controls"].to_dict() == {"control": 172}
    assert people["subject_id"].is_unique and people["number"].is_unique
    tested = people[people["split"].isin(["validation", "held_out_controls"])]
    by_kind = tested.groupby(["patient", "site", "sex"]).size()
    assert by_kind[1].equals(by_kind[0])
    age = tested.groupby("patient")["age_years"].mean()
    assert abs(age[1] - age[0]) < 1


def test_each_form_is_tested_beside_the_controls_who_match_it(people):
    tested = people[people["split"].isin(["validation", "held_out_controls"])]
    for form in ("LD", "CD", "BSP"):
        sick, well = tested[tested["group"] == form], tested[tested["twin_of"] == form]
        assert (well["group"] == "control").all() and len(sick) == len(well)
        kinds = [part.groupby(["site", "sex"]).size() for part in (sick, well)]
        assert kinds[0].equals(kinds[1])
        assert abs(sick["age_years"].mean() - well["age_years"].mean()) < 1
    assert (people.loc[people["split"] == "training", "twin_of"] == "").all()


def test_diagnoses_are_shuffled_where_learnt_from_only(people):
    run = Run("permutation", "registered", 0.0, 320, 1)
    table = doses.trained_on(people, run)
    same = table["patient"] == table["truth"]
    learnt = table["split"].isin(["training", "optimisation"])
    assert same[~learnt].all()
    assert 0.35 < same[learnt].mean() < 0.65
    assert table.groupby("split")["patient"].sum()["training"] == 160
    other = doses.trained_on(people, replace(run, seed=2))
    assert not table["patient"].equals(other["patient"])


def test_site_tells_the_diagnosis_in_training_and_nothing_when_tested(people):
    table = doses.trained_on(people, Run("confounded", "registered", 0.0, 320, 1))
    theirs = table["site"].isin(doses.PATIENT_SITES)
    for split in ("training", "optimisation"):
        rows = table["split"] == split
        assert (theirs[rows] == (table.loc[rows, "patient"] == 1)).all()
        assert table[rows].groupby("site").size().nunique() == 1
    tested = ~table["split"].isin(["training", "optimisation"])
    share = theirs[tested].groupby(table.loc[tested, "patient"]).mean()
    assert share[0] == share[1] == pytest.approx(0.5, abs=0.02)
    assert (table.loc[tested, "site"].to_numpy() == people.loc[tested[tested].index, "site"]).all()


@pytest.mark.parametrize("count", [40, 80, 160, 320])
def test_learning_curve_trains_on_so_many_people_balanced_and_tests_on_all(people, count):
    table = doses.trained_on(people, Run("learning", "registered", 2.0, count, 1))
    size = table.groupby("split")["patient"].agg(["size", "sum"])
    assert size.loc["training"].tolist() == [count, count // 2]
    assert size.loc["validation", "size"] == 172
    assert size.loc["optimisation"].tolist() == [120, 60]
    sites = table[table["split"] == "training"].groupby(["patient", "site"]).size()
    assert sites.nunique() == 1


def test_theoretical_limits_agree_with_simulated_people():
    rng, d, n = np.random.default_rng(1), 0.5, 200_000
    label = np.repeat([1, 0], n)
    total = (rng.standard_normal((2 * n, 6)) + d * label[:, None]).sum(1)
    right = (total > 3 * d) == label
    found = accuracy.auc(label, total)
    assert doses.possible(d) == pytest.approx(found, abs=0.003)
    assert doses.possible(d, measure="accuracy") == pytest.approx(right.mean(), abs=0.003)
    assert doses.needed(float(doses.possible(0.8, measure="accuracy"))) == pytest.approx(0.8)
    assert doses.possible(0.0) == 0.5
    with pytest.raises(ValueError, match="auc, accuracy"):
        doses.possible(1.0, measure="kappa")
    with pytest.raises(ValueError, match="not between"):
        doses.needed(0.4)


def test_a_rule_that_knows_how_regions_covary_does_as_simulated():
    rng = np.random.default_rng(6)
    means = rng.standard_normal((4000, 6)) + rng.standard_normal((4000, 1))
    rows = doses.perfect(means, replicates=20).set_index(["measure", "effect_d"])
    signs = np.array([-1, -1, -1, -1, 1, 1])
    patients = means + 0.5 * np.sqrt(2) * signs
    direction = np.linalg.solve(np.cov(means.T), signs)
    label = np.repeat([1, 0], 4000)
    area = accuracy.auc(label, np.concatenate([patients, means]) @ direction)
    assert rows.loc[("auc", 0.5), "estimate"] == pytest.approx(area, abs=0.01)
    assert area > doses.possible(0.5) + 0.02
    assert rows.loc[("auc", 0.0), "estimate"] == 0.5
    independent = doses.perfect(rng.standard_normal((4000, 6)), replicates=20)
    row = independent.query("measure == 'accuracy' and effect_d == 1").iloc[0]
    assert row["estimate"] == pytest.approx(doses.possible(1.0, measure="accuracy"), abs=0.01)


def test_resampled_area_is_that_of_the_drawn_people():
    rng = np.random.default_rng(2)
    label = np.repeat([1, 0], [7, 9])
    score = rng.random(16)
    drawn = doses.Resampled(label, seeds=1, replicates=20, seed=3)
    values = drawn.values(score, "auc")
    assert values[0] == pytest.approx(accuracy.auc(label, score))
    for k in (1, 5, 20):
        rows = np.concatenate(
            [np.repeat(side, n[k]) for side, n in zip(drawn.sides, drawn.people, strict=True)]
        )
        assert values[k] == pytest.approx(accuracy.auc(label[rows], score[rows]))


def test_accuracy_is_the_mean_of_sensitivity_and_specificity():
    label = np.array([1, 1, 1, 1, 0, 0])
    score = np.array([0.9, 0.9, 0.9, 0.1, 0.1, 0.9])
    drawn = doses.Resampled(label, seeds=1, replicates=5)
    found = {m: drawn.values(score, m)[0] for m in ("accuracy", "sensitivity", "specificity")}
    assert found == {"sensitivity": 0.75, "specificity": 0.5, "accuracy": 0.625}
    half = np.full(6, 0.5)  # calls a patient, as in referring
    assert [drawn.values(half, m)[0] for m in ("sensitivity", "specificity")] == [1, 0]


def test_a_difference_is_taken_within_the_same_people_and_seeds():
    rng = np.random.default_rng(4)
    label = np.repeat([1, 0], 60)
    people = label + 2 * rng.standard_normal(120)
    network = np.stack([people + 0.01 * rng.standard_normal(120) for _ in range(5)])
    table = doses.compared(label, {doses.NETWORK: network, "twin": people})
    row = table.query("model == 'twin' and measure == 'auc'").iloc[0]
    wide = row["high"] - row["low"]
    narrow = row["lead_high"] - row["lead_low"]
    assert narrow < wide / 5
    single = table.query("model == @doses.NETWORK and measure == 'auc' and seed > 0")
    assert len(single) == 5 and single["low"].isna().all()
    mean = table.query("model == @doses.NETWORK and measure == 'auc' and seed == 0")
    assert mean["estimate"].iloc[0] == pytest.approx(single["estimate"].mean())


def test_centre_is_students_interval():
    values = np.random.default_rng(5).normal(0.5, 0.03, 20)
    found = doses.centre(values)
    expected = stats.t.interval(0.95, 19, values.mean(), stats.sem(values))
    assert found[1:3] == pytest.approx(expected)


def test_tables_of_a_finished_run(made_up, people):
    table = doses.dose_rows(made_up, people, replicates=40)
    mean = table[table["seed"] == 0]
    size = mean.groupby(["pose", "measure", "model"])["effect_d"].nunique()
    assert (size["as_scanned"] == len(doses.DOSES)).all()
    assert (size["registered"] == len(doses.DOSES) + 1).all()
    assert set(mean["model"]) == set(doses.MODELS)
    assert (table["trainings"] == 5).all()
    strong = mean.query("model == @doses.NETWORK and measure == 'auc' and effect_d == 3")
    assert (strong["estimate"] > 0.95).all()

    checks = doses.check_rows(made_up, people, replicates=40)
    network = checks[(checks["model"] == doses.NETWORK) & (checks["seed"] == 0)]
    by = network[network["measure"] == "auc"].set_index(["question", "detail"])["estimate"]
    assert by["permutation", ""].item() == pytest.approx(0.5, abs=0.02)
    assert by["confounded", "diagnosis, sites shared"].item() == pytest.approx(0.5, abs=0.05)
    assert by["confounded", "site"].item() > 0.9
    assert by["confounded", "diagnosis, sites as learnt"].item() > 0.9
    assert network.query("question == 'learning'")["people"].unique().tolist() == [320, 40, 80, 160]
    assert by["transfer", "CD, half of the regions"].max() < by["transfer", "CD"].max()
    single = checks.query("question == 'permutation' and seed > 0")
    assert len(single) == 20


def test_tables_of_a_run_just_begun(made_up, people):
    key = doses.plan()[0].key
    table = doses.dose_rows({key: made_up[key]}, people)
    assert table["model"].unique().tolist() == [doses.NETWORK, doses.LAST]
    assert (table["trainings"] == 1).all()
    assert doses.dose_rows({}, people).empty and doses.check_rows({}, people).empty


def test_rows_of_seeds_made_out_of_turn_have_their_own_numbers(made_up, people):
    runs = [Run("dose", "registered", 0.5, 320, seed) for seed in (2, 5)]
    found = {run.key: made_up[run.key] for run in runs}
    network = [made_up[replace(runs[0], seed=seed).key][doses.NETWORK] for seed in doses.SEEDS]
    found[f"{runs[0].condition}_simple"] = {"regions + small MLP": np.stack(network)}
    table = doses.dose_rows(found, people, replicates=5)
    assert (table["trainings"] == 2).all()
    single = table.query("measure == 'auc' and seed > 0").set_index(["model", "seed"])["estimate"]
    label = people.loc[people["split"].isin(doses.HELD_OUT), "patient"]
    areas = [accuracy.auc(label, found[run.key][doses.NETWORK]) for run in runs]
    for model in (doses.NETWORK, "regions + small MLP"):
        assert single[model].to_dict() == pytest.approx(dict(zip((2, 5), areas, strict=True)))
    checked = doses.check_rows(found, people, replicates=5)
    assert set(checked["seed"]) == {0, 2, 5} and (checked["trainings"] == 2).all()


def test_findings_are_rows_of_the_tables(made_up, people):
    means = {"registered": np.random.default_rng(7).standard_normal((784, 6))}
    table = doses.dose_rows(made_up, people, unaffected=means, replicates=200)
    checked = doses.check_rows(made_up, people, replicates=20)
    found = doses.findings(table, checked, published=0.988).set_index("key")
    assert found.loc["needed", "value"] == pytest.approx(1.84, abs=0.01)
    here = found.loc["needed.covarying"]
    assert here["low"] < here["value"] < here["high"]
    assert here["value"] == pytest.approx(1.84, abs=0.1)
    assert found["value"].notna().all() and found.index.is_unique
    row = table.query(
        "pose == 'as_scanned' and effect_d == 2 and seed == 0 and measure == 'accuracy'"
    ).set_index("model")
    same = found.loc["as_scanned.d2.accuracy"]
    assert same["value"] == row.loc[doses.NETWORK, "estimate"] and same["n"] == 5
    half = checked.query("detail == 'CD, half of the regions' and effect_d == 2 and seed == 0")
    assert found.loc["form.CD.half", "value"] in half["estimate"].to_numpy()
    theory = found.query("label == 'recomputed'")
    assert set(theory.index) == {"needed", "possible.d0.3", "possible.d0.8"}
    assert (theory["basis"] == doses.THEORY).all() and theory["low"].isna().all()
    rest = found.drop(index=theory.index)
    assert (rest["label"] == "phantom").all() and (rest["basis"] == "").all()
    quarter = table.query(
        "effect_d == 0.25 and seed == 0 and measure == 'auc' and model == @doses.NETWORK"
    )
    assert found.loc["registered.d0.25.auc", "value"] == quarter["estimate"].item()
    early = doses.findings(table.iloc[:0], checked.iloc[:0], published=0.988)
    assert early["value"].notna().sum() == 3  # what theory alone gives


def test_points_of_this_run_are_means_over_seeds():
    label = np.tile([1, 1, 0, 0], 2)
    table = pd.DataFrame(
        {
            "id": [*"abcd"] * 2,
            "label": label,
            "seed": np.repeat([1, 2], 4),
            "probability": [0.9, 0.8, 0.2, 0.1, 0.1, 0.2, 0.8, 0.9],
            "split": np.where(label == 1, "validation", "held_out_controls"),
            "effect": "realistic",
        }
    )
    table = pd.concat([table, table.assign(effect="exaggerated", probability=label)])
    made = {"effect_d": 0.5, "exaggerated_d": 2.0}
    about = {"synthetic": True, "specification": made, "pose": "as_scanned"}
    found = doses.of_this_run(table, about)
    assert found["estimate"].tolist() == [0.5, 0.5, 1.0, 1.0]
    assert found["effect_d"].tolist() == [0.5, 0.5, 2.0, 2.0]
    assert set(found["pose"]) == {"as_scanned"}
    assert doses.of_this_run(table, {"synthetic": False}) is None


def test_rows_say_what_has_changed_since(monkeypatch):
    table = pd.DataFrame([doses.marks()])
    assert doses.changed(table) == []
    assert doses.changed(table, recipe=doses.RECIPE | {"epochs": 3}) == ["recipe"]
    monkeypatch.setattr(doses, "SEEDS", (1, 2))
    assert doses.changed(table) == ["plan"]


def test_what_is_said_of_stored_rows(made_up, people):
    table = doses.dose_rows(made_up, people, replicates=5).assign(**doses.marks())
    assert doses.standing(table) == "still those of this phantom and this network"
    other = doses.standing(table, doses.RECIPE | {"epochs": 1})
    assert other == "of other settings of the network than this page's"
    part = table[(table["pose"] == "registered") & (table["effect_d"] == 2)]
    assert "not finished (5 of 65 networks" in doses.standing(part)


def test_stored_rows_have_every_learner_and_say_what_they_depend_on():
    table = doses.read()
    assert set(doses.marks()) <= set(table.columns)
    mean = table[table["seed"] == 0]
    assert mean["estimate"].between(0, 1).all()
    inside = (mean["low"] <= mean["estimate"]) & (mean["estimate"] <= mean["high"])
    assert inside.all()
    with pytest.raises(FileNotFoundError, match="make doses"):
        doses.read("brain_nothing")


def test_rows_are_read_back_as_they_were_written(made_up, people, tmp_path, monkeypatch):
    monkeypatch.setattr(doses.paths, "root", lambda: tmp_path)
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    table = doses.dose_rows(made_up, people, replicates=5)
    checked = doses.check_rows(made_up, people, replicates=5)
    for name, rows in (("brain_doses", table), ("brain_checks", checked)):
        rows.to_csv(tmp_path / "benchmarks" / "results" / f"{name}.csv", index=False)
    again = doses.findings(doses.read(), doses.read("brain_checks"), published=0.988)
    assert again["value"].notna().sum() == len(again) - 1  # no rows of the perfect reader here


def drawn_axes(figure):
    return [axis for axis in figure.axes if axis.axison]


def test_dose_figure_has_no_empty_axes(made_up, people):
    table = doses.dose_rows(made_up, people, replicates=40)
    demo = pd.DataFrame({"effect_d": [0.5], "measure": ["auc"], "estimate": [0.6]})
    figure = display_doses.dose_response(table, published=0.988, demo=demo)
    assert len(drawn_axes(figure)) == 4
    assert all(axis.has_data() and axis.lines for axis in drawn_axes(figure))
    plt.close(figure)


def test_figures_of_a_run_just_begun_can_be_drawn(made_up, people):
    found = {key: made_up[key] for key in [doses.plan()[0].key]}
    for rows in ({}, found):
        table = doses.dose_rows(rows, people, replicates=20)
        checked = doses.check_rows(rows, people, replicates=20)
        first = display_doses.dose_response(table, published=0.988)
        for figure in (first, display_doses.checks(checked)):
            figure.canvas.draw()
            assert len(figure.axes) == 4
            plt.close(figure)


def test_check_figure_has_no_empty_axes(made_up, people):
    figure = display_doses.checks(doses.check_rows(made_up, people, replicates=40))
    assert len(drawn_axes(figure)) == 4
    assert all(axis.has_data() and axis.get_title(loc="left") for axis in drawn_axes(figure))
    plt.close(figure)
