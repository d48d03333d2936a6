"""Numbers, tables and figures keep their evidence label and are written whole."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from helpers import record


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("PAPER_RESULTS", str(tmp_path))
    cohort = tmp_path / "tiny" / "cohort" / "thigh"
    cohort.mkdir(parents=True)
    (cohort / "cohort.json").write_text('{"synthetic": true}')
    return record.Run("03_backbone_comparison", profile="tiny", seed=1)


@pytest.fixture
def shown(monkeypatch):
    calls = []

    def show(bundle, *, raw, metadata):
        assert raw
        calls.append((bundle, metadata))

    monkeypatch.setattr(record, "show", show)
    return calls


def _saved(run):
    run.save()
    return json.loads((run.folder / "numbers" / "03_backbone_comparison.json").read_text())


def test_the_label_follows_the_cohort(run):
    assert run.label == "phantom"
    (run.folder / "cohort/thigh/cohort.json").write_text('{"synthetic": false}')
    assert record.Run("x", profile="tiny", seed=1).label == "your data"


def test_a_number_is_stored_unrounded_with_where_it_comes_from(run):
    run.number("nb03.a", 1 / 3, 0.1, 0.5, method="Wilson", unit="leg image", n=np.int64(9))
    (saved,) = _saved(run)
    assert saved["value"] == pytest.approx(1 / 3, abs=1e-15)
    assert (saved["label"], saved["n"], saved["seed"]) == ("phantom", 9, 1)
    assert saved["interval_method"] == "Wilson"


def test_an_undefined_number_is_null_and_says_so(run, shown):
    run.number("nb03.a", float("nan"))
    assert _saved(run)[0]["value"] is None
    assert "undefined" in str(shown[0][0])


def test_the_same_key_twice_is_refused(run):
    run.number("nb03.a", 1)
    with pytest.raises(ValueError, match="recorded twice"):
        run.number("nb03.a", 2)


def test_an_unknown_label_is_refused(run):
    with pytest.raises(ValueError, match="published, recomputed, phantom, your data"):
        run.number("nb03.a", 1, label="measured")


def test_a_published_claim_carries_its_own_label(run):
    run.published("P1-17")
    saved = _saved(run)[0]
    assert (saved["key"], saved["label"], saved["value"]) == ("P1-17", "published", 0.91)


def test_text_from_files_is_escaped_in_what_prose_shows(run, shown):
    run.number("nb03.a", 1, basis='<script>alert("x")</script>')
    rich = shown[0][0][f"{record.GLUE_PREFIX}text/html"]
    assert "<script>" not in rich
    assert "&lt;script&gt;" in rich


def test_a_table_is_stored_as_shown_and_escaped(run, shown):
    frame = pd.DataFrame({"reader": ["<b>one</b>"], "accuracy": ["0.80"]})
    run.table(frame, "readers")
    assert (
        run.folder / "tables/03_readers.csv"
    ).read_text() == "reader,accuracy\n<b>one</b>,0.80\n"
    assert "&lt;b&gt;" in shown[0][0]["text/html"]
    assert shown[0][1]["passport"]["data"] == "tables/03_readers.csv"


def test_a_figure_is_stored_with_its_numbers_and_closed(run, shown):
    figure, axes = plt.subplots()
    axes.plot([0, 1])
    run.figure(figure, "line", data=pd.DataFrame({"y": [0, 1]}))
    assert (run.folder / "figures/03_line.png").read_bytes().startswith(b"\x89PNG")
    assert (run.folder / "tables/03_line_figure.csv").exists()
    assert shown[0][1]["passport"]["label"] == "phantom"
    assert not plt.fignum_exists(figure.number)


def test_an_empty_table_says_so_because_a_page_cannot_show_it(run, shown):
    run.table(pd.DataFrame(columns=["Tissue", "Share"]), "tissues")
    text = (run.folder / "tables/03_tissues.csv").read_text()
    assert text == "Tissue,Share\nnone,none\n"


@pytest.mark.parametrize(("synthetic", "offered"), [(True, True), (False, False)])
def test_rows_of_an_authors_people_are_not_offered_for_download(run, shown, synthetic, offered):
    cohort = run.folder / "cohort/thigh/cohort.json"
    cohort.write_text(json.dumps({"synthetic": synthetic}))
    mine = record.Run("01_cohort_tables", profile="tiny", seed=1)
    mine.figure(plt.figure(), "ages", data=pd.DataFrame({"case_id": ["a"], "age_years": [8]}))
    assert (run.folder / "tables/01_ages_figure.csv").exists() == offered
    assert (shown[0][1]["passport"]["data"] is not None) == offered


@pytest.mark.parametrize("column", sorted(record.PERSONAL))
def test_codes_of_an_authors_people_are_in_no_widget_and_no_table(run, shown, column):
    codes = pd.DataFrame({column: ["a"], "outcome": ["two legs"]})
    run.widget("<b>x</b>", "dial", data=codes)
    stored = run.folder / "tables/03_dial_figure.csv"
    assert stored.exists()
    (run.folder / "cohort/thigh/cohort.json").write_text('{"synthetic": false}')
    mine = record.Run("03_backbone_comparison", profile="tiny", seed=1)
    mine.widget("<b>x</b>", "dial", data=codes)
    assert shown[-1][1]["passport"]["data"] is None
    assert not stored.exists(), "nor is the file of an earlier run left"
    with pytest.raises(ValueError, match=f"has the column {column}"):
        mine.table(codes, "people")
    assert not (run.folder / "tables/03_people.csv").exists()


def test_words_of_a_rule_are_stored_and_quoted(run, shown):
    run.words("nb03.verdict", "its interval excludes chance", basis="the plan")
    assert _saved(run)[0]["words"] == "its interval excludes chance"
    assert "excludes chance" in shown[0][0][f"{record.GLUE_PREFIX}text/html"]


def test_words_may_carry_another_label(run, shown):
    run.weights = "random"
    run.words("nb03.survives", "2 of 3", basis="the counts", label="recomputed")
    run.words("nb03.simulated", "none", basis="simulated", weights="")
    saved = [(item["label"], item["weights"]) for item in _saved(run)]
    assert saved == [("recomputed", ""), ("phantom", "")]


def test_a_widget_is_shown_as_html_and_its_numbers_are_stored(run, shown):
    run.widget("<b>x</b>", "dial", data=pd.DataFrame({"a": [1]}), basis="both labelled inside")
    bundle, metadata = shown[0]
    assert bundle["text/html"] == "<b>x</b>" and "dial" in bundle["text/plain"]
    passport = metadata["passport"]
    assert passport["data"] == "tables/03_dial_figure.csv" and passport["label"] == "phantom"
    assert (run.folder / passport["data"]).read_text() == "a\n1\n"


def test_weights_are_those_of_the_run_for_what_is_measured_here(run, shown):
    run.weights = "random"
    run.number("nb03.a", 1)
    run.number("nb03.b", 1, label="recomputed")
    run.number("nb03.c", 1, weights="")
    assert [item["weights"] for item in _saved(run)] == ["random", "", ""]
    assert "phantom, random weights" in shown[0][0][f"{record.GLUE_PREFIX}text/html"]


def test_a_missing_input_names_the_command_that_makes_it(run):
    with pytest.raises(record.MissingInput) as caught:
        run.need("images.csv")
    assert "02_roi_extraction" in str(caught.value)
    assert "make book PROFILE=tiny" in str(caught.value)


def test_numbers_of_all_notebooks_merge_and_clashes_are_refused(run):
    run.number("nb03.a", 1)
    run.published("P1-17")
    run.save()
    other = record.Run("04_resnet50_training", profile="tiny", seed=1)
    other.published("P1-17")
    other.save()
    assert [item["key"] for item in record.merge_numbers(run.folder)] == ["nb03.a", "P1-17"]
    other.number("nb03.a", 2)
    other.save()
    with pytest.raises(ValueError, match=r"nb03\.a.*03_backbone.*04_resnet50"):
        record.merge_numbers(run.folder)
