"""Figures and tables of the comparison: they draw what they are given, gaps included."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from helpers import accuracy, reanalysis, subtypes, usefulness
from helpers.display import accuracy as draw
from helpers.display import tables


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def marks(axis):
    """Marks drawn on an axis, those that only serve the legend left out."""
    return [line for line in axis.lines if line.get_marker() not in ("None", "", None)]


def test_measures_draw_a_mark_for_each_known_value_and_a_bar_for_each_interval():
    raters = reanalysis.raters([0.0, 0.4])
    names = {measure: accuracy.MEASURES[measure] for measure in accuracy.FIGURE_3}
    figure = draw.measures(raters, names=names)
    first = figure.axes[0]
    assert first.get_title(loc="left") == "Accuracy"
    assert len(marks(first)) == 5
    bars = [line for line in first.lines if len(line.get_xdata()) == 2]
    assert len(bars) == 4 * 2
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"published", "recomputed", "correlation 0.4, assumed"} <= set(labels)
    plt.close(figure)


def test_an_undefined_measure_leaves_its_row_empty():
    rows = {"rater": "A", "evidence": "phantom", "kind": "k", "measure": list(accuracy.FIGURE_3)}
    table = pd.DataFrame(rows).assign(estimate=np.nan, low=np.nan, high=np.nan)
    figure = draw.measures(table, names=dict.fromkeys(accuracy.FIGURE_3, "x"))
    assert all(np.isnan(line.get_xdata()).all() for line in figure.axes[0].lines)


def test_the_roc_panels_keep_the_paper_and_the_cohort_apart():
    curve = accuracy.roc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    band = pd.DataFrame({"false_positive_rate": [0, 1], "low": [0, 0.5], "high": [0.5, 1]})
    points = pd.DataFrame(
        {"rater": "reader", "measure": ["sensitivity", "specificity", "lr_positive"]}
    ).assign(estimate=[0.8, 0.9, 8], low=[0.7, np.nan, 4], high=[0.9, np.nan, np.nan])
    figure = draw.roc(reanalysis.raters(), curve, band, points, label="phantom")
    left, right = figure.axes
    texts = [text.get_text() for text in left.get_legend().get_texts()]
    assert "radiologist 2, radiologist 3: somewhere on this line" in texts
    assert not any("reader" in text for text in texts)
    assert "reader" in [text.get_text() for text in right.get_legend().get_texts()]
    lines = {line.get_label(): line for line in left.lines}
    line = lines["radiologist 1: somewhere on this line"]
    share, x, y = reanalysis.prevalence(), *np.array(line.get_data())
    np.testing.assert_allclose(share * y + (1 - share) * (1 - x), 0.80)


def test_the_largest_p_is_written_beside_each_bar():
    tests = reanalysis.image_tests()
    figure = draw.largest_p(tests, reanalysis.p_by_correlation(11), printed=0.19)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert [f"{p:.4f}" for p in tests["largest_p"]] == words[: len(tests)]
    assert any("0.87" in text.get_text() for text in figure.axes[1].texts)


def test_severity_names_people_and_survives_an_unknown_truth():
    legs = pd.DataFrame(
        {"group": ["DMD", "BMD", "other disease"], "fat_fraction": [0.05, np.nan, 0.4]}
    ).assign(probability=[0.9, 0.2, 0.1], case_id=list("abc"), call=[1, 0, 0])
    shares = subtypes.shares(legs, subtypes.severity(legs["fat_fraction"]))
    figure = draw.severity(legs, shares)
    labels = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert labels[0] == "up to 10 %\n1 images, 1 person"
    assert labels[3] == "over 50 %\n0 images, 0 people"


def test_coverage_has_a_mark_for_each_method_and_correlation():
    rows = [
        (figure, name, clustered, icc, 0.9, 0.01, 0.95)
        for figure, name, clustered in (("a", "plain", False), ("a", "honest", True))
        for icc in (0.0, 0.4)
    ]
    columns = ["figure", "name", "clustered", "icc", "coverage", "error", "level"]
    table = pd.DataFrame(rows, columns=columns)
    figure = draw.coverage(pd.concat([table, table.assign(figure="b")]), names={"a": "A", "b": "B"})
    drawn = [c for c in figure.axes[0].containers if len(c[0].get_xdata()) == 2]
    assert len(drawn) == 2
    ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert ticks == ["plain", "honest"]


def test_usefulness_draws_one_version_where_there_is_one():
    rng = np.random.default_rng(1)
    test = pd.DataFrame({"case_id": np.arange(60), "probability": rng.random(60)})
    test["label"] = (rng.random(60) < test["probability"]).astype(int)
    found = {usefulness.AS_PREDICTED: test["probability"].to_numpy()}
    curves = usefulness.curves(test, found)
    figure = draw.usefulness(curves, usefulness.decisions(test, found, seed=1))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[0] == "as predicted" and "95 % interval, as predicted" in labels


def test_a_table_of_differences_says_up_to_where():
    table = reanalysis.differences([0.0]).head(3).copy()
    table["limit"] = [-0.1, 0.4, 1.2]
    assert tables.differences(table)["p below 0.05 up to"].tolist() == ["none", "0.40", "1 (any)"]


def test_a_p_that_could_be_is_not_called_impossible():
    largest = pd.DataFrame({"test": ["z", "t"], "largest_p": [0.01, 0.3]})
    needs = pd.DataFrame({"test": ["F"], "unit": ["person"], "needs": ["x"]})
    shown = tables.routes_to_p(largest, needs, printed=0.19, unit="image")
    assert shown["p = 0.190 possible?"].tolist() == ["no", "yes", "yes, if"]


def test_tables_write_what_is_undefined():
    missing = subtypes.compare(
        pd.DataFrame({"group": ["DMD"], "case_id": ["a"], "call": [1], "probability": [0.9]})
    )
    shown = tables.subtypes_here(missing).iloc[0]
    assert shown["Test"] == "none: no image of BMD" and shown["p"] == "–"
    empty = subtypes.shares(
        pd.DataFrame({"case_id": ["a"], "call": [1]}),
        pd.Series(pd.Categorical(["x"], categories=["x", "y"])),
    )
    assert tables.shares(empty)["Share (95 % interval)"].tolist()[1] == "undefined"
