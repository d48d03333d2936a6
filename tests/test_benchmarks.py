"""The harness of the benchmarks computes what it says; no timing is asserted here."""

import doctest
import importlib.util
import os
import re
import sys
import time

import numpy as np
import pandas as pd
import pytest

from helpers import benchmarks, paths
from helpers.phantom import thigh

FOLDER = paths.root() / "benchmarks"
RESULTS = sorted((FOLDER / "results").glob("*.csv"))


def load(name):
    spec = importlib.util.spec_from_file_location(f"bench_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def timing():
    return load("timing")


def test_rounds_are_interleaved_and_the_first_is_not_counted(timing):
    calls, now = [], iter(range(0, 1000))
    tasks = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = timing.interleaved(tasks, rounds=3, clock=lambda: next(now))
    assert calls == list("ab" * 4)
    assert times.shape == (3, 2) and (times == 1).all().all()


def test_the_examples_are_true(timing):
    assert doctest.testmod(timing) == (0, 3)


def test_a_machine_that_slows_down_changes_no_ratio(timing):
    slower = [1.0, 2.0, 8.0, 4.0, 16.0]
    times = pd.DataFrame({"file": slower, "roi": [3 * s for s in slower]})
    table = timing.summary(times, unit_of={"roi": 2}, against="file").set_index("task")
    assert table.loc["roi", "ratio"] == 1.5 and table.loc["roi", "ratio_spread"] == 0
    assert table.loc["roi", "seconds"] == 6 and table.loc["roi", "spread"] == 4.5
    assert table.loc["file", "seconds"] == 4 and table.loc["file", "rounds"] == 5


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_one_core_means_one_and_is_given_back(timing):
    before = os.sched_getaffinity(0)
    with timing.one_core():
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_rows_say_when_on_what_and_of_which_phantom(timing, tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "RESULTS", tmp_path)
    table = pd.DataFrame({"task": ["a"], "seconds": [0.123456], "cases": [102]})
    written = pd.read_csv(timing.write("some", table, cores=2)).iloc[0]
    assert written.seconds == 0.1235 and written.cases == 102 and written.cores == 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", written.date)
    assert written.phantom_version == thigh.SPECIFICATION["version"]
    assert not {"host", "path", "user"} & set(written.index)


def test_rows_of_another_size_stay_where_asked(timing, tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "RESULTS", tmp_path)
    for cohort, seconds in ((0.25, 1.0), (1.0, 4.0), (0.25, 2.0)):
        row = pd.DataFrame({"cohort": [cohort], "seconds": [seconds]})
        file = timing.write("size", row, cores=2, keep="cohort")
    assert pd.read_csv(file).set_index("cohort")["seconds"].to_dict() == {1.0: 4.0, 0.25: 2.0}
    assert len(pd.read_csv(timing.write("size", row, cores=2))) == 1


def test_memory_of_a_process_tree_is_seen(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    scale = load("cohort_scale")
    code = "import time; held = bytearray(200 * 2**20); time.sleep(1.0)"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    seconds, _, peak = scale.watched([sys.executable, "-c", nested], environment=dict(os.environ))
    assert seconds >= 1.0 and 0.19 < peak < 1
    busy = "import time\nwhile time.process_time() < 0.5: pass"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    _, cpu, _ = scale.watched([sys.executable, "-c", nested], environment=dict(os.environ))
    assert 0.5 <= cpu < 2, "a grandchild's time counts"
    with pytest.raises(RuntimeError, match="failed"):
        scale.watched([sys.executable, "-c", "raise SystemExit(3)"], environment=dict(os.environ))


def test_the_test_set_of_the_bootstrap_has_the_published_size(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    label, case, probability = load("bootstrap_speed").test_set()
    assert (label.size, len(set(case))) == (648, 102) and label.sum() == 228
    assert ((probability > 0) & (probability < 1)).all()


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return load("networks_speed")


def test_operations_of_a_network_are_counted_as_by_hand(speed):
    convolution = speed.keras.layers.Conv2D(2, 3, use_bias=False)
    model = speed.keras.Sequential([speed.keras.Input((4, 4, 3)), convolution])
    assert speed.operations(model) == 2 * (3 * 3 * 3) * 2 * (2 * 2)


def test_features_are_compared_relative_to_their_length(speed):
    expected = np.array([[3.0, 4.0], [0.0, 1.0]])
    found = np.array([[3.0, 4.0], [0.0, 1.01]])
    assert np.isclose(speed.difference(found, expected), 0.01)


def test_processor_time_is_told_from_waiting(speed):
    def busy():
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass

    tasks = {"waits": lambda: time.sleep(0.2), "works": busy}
    table = speed.measured(tasks, rounds=2, units={"waits": 2}, against="works").set_index("task")
    assert table.loc["waits", "seconds"] >= 0.1 > 0.02 > table.loc["waits", "processor"]
    assert 0.05 <= table.loc["works", "processor"] < 0.1
    assert table.loc["works", "processor_ratio"] == 1 > table.loc["waits", "processor_ratio"]


def test_the_plain_loop_and_the_books_epochs_do_the_same_work(speed, monkeypatch):
    rng, calls = np.random.default_rng(0), []
    x, y = rng.standard_normal((40, 6)).astype("float32"), np.tile([0.0, 1.0], 20)
    parts = [(x[:30], y[:30].astype("float32")), (x[30:], y[30:].astype("float32"))]
    monkeypatch.setattr(speed.layers, "loss", lambda logits, own: calls.append(own.size))
    speed.numpy_epochs(parts, epochs=2)
    speed.book_epochs(parts, seeds=3, epochs=2)()
    assert calls == [30, 10] * 4


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_stored_results_are_dated_and_name_their_phantom(path):
    table = pd.read_csv(path)
    assert {"date", "cores", "phantom_version"} <= set(table.columns) and len(table)
    assert table.phantom_version.between(1, thigh.SPECIFICATION["version"]).all()


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A folder of results with one benchmark of an older phantom and one of the present one."""
    monkeypatch.setattr(benchmarks, "_folder", lambda: tmp_path)
    present = thigh.SPECIFICATION["version"]
    about = {"date": "2026-01-02", "cores": 1}
    speed = {"task": ["reading and decoding", "ROI step of this book"], "ratio": [1.0, 2.5]}
    older = pd.DataFrame(speed).assign(phantom_version=present - 1, **about)
    older.to_csv(tmp_path / "roi_speed.csv", index=False)
    scale = {"size": ["1 x", "4 x"], "step": ["both", "both"], "peak_gib": [1.0, 1.05]}
    newer = pd.DataFrame(scale).assign(phantom_version=present, **about)
    newer.to_csv(tmp_path / "cohort_scale.csv", index=False)
    return tmp_path


def test_results_of_another_phantom_are_flagged(stored):
    flags = benchmarks.overview().set_index("benchmark")["present phantom"]
    assert flags["cohort scale"] == "yes"
    assert flags["roi speed"].startswith("no: the present one is version")
    pd.read_csv(stored / "roi_speed.csv").to_csv(stored / "bootstrap_speed.csv", index=False)
    assert benchmarks.overview().iloc[0]["present phantom"] == "uses none"


def test_an_aim_is_reached_missed_or_not_measured(stored):
    reached = benchmarks.aims().set_index("aim").reached
    assert reached["finding legs: over reading"] == "no"
    assert reached["peak memory at four times the slices"] == "yes"
    assert reached["10,000 resamplings, seconds"] == "not measured"
    with pytest.raises(FileNotFoundError, match=r"Available: cohort_scale, roi_speed.*make bench"):
        benchmarks.read("bootstrap_speed")


def test_of_a_wide_table_the_page_shows_chosen_columns(stored, tmp_path):
    about = {"date": "2026-01-02", "cores": 2, "phantom_version": 1, "fastest": 0.5}
    wide = pd.DataFrame({"images": [138], "task": ["Keras fit"], "processor": [0.25]})
    wide.assign(**about).to_csv(stored / "networks_heads.csv", index=False)
    benchmarks.write_tables(tmp_path)
    shown = pd.read_csv(tmp_path / "benchmark_networks_heads.csv")
    assert shown.to_dict("list") == {
        "images": [138],
        "task": ["Keras fit"],
        "processor (ms)": [250],
    }


def test_of_several_rows_the_worst_decides(stored):
    rows = pd.DataFrame({"epochs": [100, 100, 10], "share": [0.01, 0.03, 0.5]})
    about = {"date": "2026-01-02", "cores": 2, "phantom_version": 1}
    rows.assign(**about).to_csv(stored / "networks_cached.csv", index=False)
    reached = benchmarks.aims().set_index("aim")
    name = "100 epochs on stored features: share of the time through the whole network"
    assert reached.loc[name, "measured"] == "0.03" and reached.loc[name, "reached"] == "no"


def test_counts_are_written_out_and_what_is_missing_is_empty():
    values = [1002.0, 411.2, 0.98765, 1.0, float("nan")]
    assert [benchmarks._text(value) for value in values] == ["1002", "411", "0.988", "1", ""]


def test_every_table_of_the_page_was_measured():
    assert set(benchmarks.SHOWN) <= set(benchmarks.names())


def test_the_page_has_every_table_it_names_whatever_was_measured(stored, tmp_path):
    target = tmp_path / "tables"
    target.mkdir()
    benchmarks.write_tables(target)
    page = (paths.root() / "book" / "benchmarks.md").read_text()
    named = set(re.findall(r":file: ../tables/(\S+)", page))
    assert named == {path.name for path in target.iterdir()}
    shown = pd.read_csv(target / "benchmark_roi_speed.csv")
    assert list(shown.columns) == ["task", "ratio"] and len(shown) == 2
    assert "not measured yet" in (target / "benchmark_phantom_speed.csv").read_text()
    assert not pd.read_csv(target / "benchmark_real_thighs.csv").measure.str.contains("int").any()


def test_without_any_result_no_table_of_the_page_is_empty(stored, tmp_path):
    for path in stored.glob("*.csv"):
        path.unlink()
    benchmarks.write_tables(tmp_path)
    overview = pd.read_csv(tmp_path / "benchmark_overview.csv")
    assert overview.benchmark.tolist() == ["not measured yet"]
    assert all(len(pd.read_csv(path)) for path in tmp_path.glob("benchmark_*.csv"))
