"""The runner: what is stale, what is kept, and what a failure looks like.

A small copy of the repository with eight trivial notebooks, stand-in cohorts and a stand-in
book goes through the real Snakefile, so that each run takes seconds.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import pytest

from helpers import parameters, paths, pipeline, staleness

COHORT = """
import json
from helpers import paths

def write_cohort(profile, folder):
    with paths.atomic_path(folder / "cohort.json") as temporary:
        temporary.write_text(json.dumps({"synthetic": True}))
"""
BOOK = """
from helpers import paths

def html_folder(profile):
    return paths.root() / "_build" / profile / "html"

def built_mark(profile):
    return html_folder(profile).with_name("built")

def make(profile):
    html_folder(profile).mkdir(parents=True, exist_ok=True)
    (html_folder(profile) / "index.html").write_text("a page")
    built_mark(profile).touch()
"""
ACCURACY = '"""Imported by notebook 05 alone."""\n'


def _notebook(step):
    values = parameters.for_notebook(parameters.load("tiny"), step.name)
    part = "brain" if step.after == ("cohort_brain",) else "thigh"
    cells = [
        ("md", "question", "# A title"),
        ("tagged", "parameters", "\n".join(f"{k} = {v!r}  # unit" for k, v in values.items())),
        ("code", "setup", "from helpers import record"),
        (
            "code",
            "run",
            f"run = record.Run({step.name!r}, profile=profile, seed=seed, part={part!r})",
        ),
        ("md", "work", "## The work"),
        ("code", "work-done", "import os, time\nprint(run.folder)\n" + "\n".join(_files(step))),
        ("code", "number", f"run.number('nb{step.name[:2]}.half', 0.5)"),
    ]
    if step.name.startswith("05"):
        wait = "time.sleep(float(os.environ.get('SLOW', 0)))\n1 / int(os.environ.get('TEN', 10))"
        cells += [("code", "import", "from helpers import accuracy"), ("code", "wait", wait)]
    notebook = nbformat.v4.new_notebook(
        cells=[_cell(*c) for c in [*cells, ("code", "save", "run.save()")]]
    )
    notebook.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    return notebook


def _files(step):
    for name in step.makes:
        yield f"path = run.folder / {name!r}"
        yield "path.parent.mkdir(exist_ok=True), path.write_text('content')"


def _cell(kind, name, source):
    if kind == "md":
        return nbformat.v4.new_markdown_cell(source, id=name)
    tags = ["parameters"] if kind == "tagged" else []
    return nbformat.v4.new_code_cell(source, id=name, metadata={"tags": tags})


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    top = tmp_path_factory.mktemp("clone")
    for name in ("src", "parameters", "book", "benchmarks"):
        shutil.copytree(paths.root() / name, top / name, ignore=shutil.ignore_patterns("__pyc*"))
    for name in ("Snakefile", "_config.yml", "_toc.yml", "requirements.lock"):
        shutil.copy(paths.root() / name, top / name)
    for name, text in (
        *(("phantom/thigh.py", COHORT), ("phantom/brain.py", COHORT)),
        *(("book.py", BOOK), ("accuracy.py", ACCURACY)),
    ):
        (top / "src" / "helpers" / name).write_text(text)
    (top / "notebooks").mkdir()
    for step in pipeline.STEPS:
        nbformat.write(_notebook(step), top / "notebooks" / f"{step.name}.ipynb")
    return top


def _command(repository, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "helpers", *arguments, "--profile", "tiny"],
        cwd=repository,
        env=os.environ | {"PYTHONPATH": str(repository / "src")} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _make(repository, **environment):
    process = _command(repository, "make", **environment)
    output = _output_of(process, 900)
    return process.returncode, output


def _output_of(process, seconds):
    """Wait for a command; end it and all it started, and show its output, when it hangs."""
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output = process.communicate()[0]
        pytest.fail(f"nothing after {seconds} s; what it said until then:\n{output}")


def _plan(repository):
    return _output_of(_command(repository, "plan"), 300)


def _executed(output):
    return {line.split()[1] for line in output.splitlines() if line.endswith("…") and "[" in line}


@pytest.fixture(scope="module")
def first(repository):
    return _make(repository)


def test_a_command_that_hangs_is_ended_with_all_it_started_and_its_output_shown():
    start = time.monotonic()
    process = subprocess.Popen(
        ["sh", "-c", "echo so far; sleep 60 & wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with pytest.raises(pytest.fail.Exception, match="so far"):
        _output_of(process, 1)
    assert time.monotonic() - start < 30, "the child held the output open"


def test_a_first_run_executes_the_eight_notebooks_and_prints_the_page(first, repository):
    status, output = first
    assert status == 0, output
    assert _executed(output) == {step.name for step in pipeline.STEPS}
    assert f"The book: {repository / '_build/tiny/html/index.html'}" in output
    assert "[8/8] 08_cam_visualization  done in " in output


def test_executed_copies_show_the_values_used_and_no_path_of_the_machine(first, repository):
    for step in pipeline.STEPS:
        text = (repository / "results/tiny/executed" / f"{step.name}.ipynb").read_text()
        assert "injected-parameters" not in text
        assert str(repository) not in text
        notebook = nbformat.reads(text, as_version=4)
        assert "profile = 'tiny'  # unit" in notebook.cells[1].source
        assert notebook.metadata.run.seconds > 0


def test_numbers_name_the_cell_that_made_them(first, repository):
    numbers = json.loads((repository / "results/tiny/numbers.json").read_text())
    assert {item["cell"] for item in numbers} == {"number"}
    assert len(numbers) == len(pipeline.STEPS)


def test_a_second_run_executes_nothing_nor_does_touching(first, repository):
    for folder in ("notebooks", "src", "results", "book", "parameters"):
        for path in (repository / folder).rglob("*"):
            os.utime(path)
    assert "Nothing to run" in _plan(repository)
    assert _executed(_make(repository)[1]) == set()


def test_a_changed_helper_runs_what_imports_it_and_the_plan_says_why(first, repository):
    path = repository / "src/helpers/accuracy.py"
    path.write_text(path.read_text() + "HALF = 0.5\n")
    plan = _plan(repository)
    assert "notebook_05_reader_comparison  changed: helpers.accuracy" in plan
    assert plan.count("notebook_") == 1
    status, output = _make(repository)
    assert (status, _executed(output)) == (0, {"05_reader_comparison"})


def test_a_changed_parameter_runs_the_notebook_and_what_depends_on_it(first, repository):
    path = repository / "parameters/tiny.yml"
    path.write_text(path.read_text().replace("dense_units: 16", "dense_units: 8"))
    status, output = _make(repository)
    assert (status, _executed(output)) == (0, {"07_dystonianet", "08_cam_visualization"})


def test_a_failure_is_one_screen_and_the_next_run_resumes_there(first, repository):
    path = repository / "src/helpers/accuracy.py"
    path.write_text(path.read_text() + "THIRD = 1 / 3\n")
    status, output = _make(repository, TEN="0")
    assert status == 1
    for words in (
        *("05_reader_comparison stopped.", "section    The work", "cell       wait"),
        *("reads_csv = ''", "ZeroDivisionError: division by zero", "make book PROFILE=tiny"),
    ):
        assert words in output
    assert len(output.splitlines()) <= 40
    status, output = _make(repository)
    assert (status, _executed(output)) == (0, {"05_reader_comparison"})


def test_a_killed_run_goes_on_where_it_stopped(first, repository):
    shutil.rmtree(repository / "results/tiny/executed")
    process = _command(repository, "make", SLOW="120")
    done = repository / "results/tiny/executed"
    deadline = time.monotonic() + 200
    while not (done / "04_resnet50_training.ipynb").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(3)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    kept = {path.stem for path in done.glob("[0-9]*.ipynb")}
    assert "04_resnet50_training" in kept and "05_reader_comparison" not in kept
    for path in done.glob("[0-9]*.ipynb"):
        nbformat.validate(nbformat.read(path, as_version=4))
    status, output = _make(repository)
    assert status == 0
    assert _executed(output) == {step.name for step in pipeline.STEPS} - kept


def test_a_cohort_goes_on_after_an_interruption_and_starts_anew_for_another_seed(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PAPER_RESULTS", str(tmp_path))
    found = []

    def write_cohort(_profile, folder):
        found.append(sorted(path.name for path in folder.glob("*.dcm")))
        (folder / "one.dcm").touch()
        (folder / "cohort.json").write_text('{"synthetic": true}')

    monkeypatch.setattr("helpers.phantom.thigh.write_cohort", write_cohort)
    tiny = parameters.load("tiny")
    for profile in (tiny, tiny, tiny.model_copy(update={"seed": 7})):
        pipeline.make_cohort(profile, "thigh")
    assert found == [[], ["one.dcm"], []]
    assert "parameter seed" in (tmp_path / "tiny/cohort/thigh/cohort.json").read_text()


def test_wrong_parameters_stop_before_anything_runs(repository, tmp_path):
    wrong = tmp_path / "wrong.yml"
    wrong.write_text("extends: tiny\ntraining:\n  learning_rate: -1.0\n")
    done = subprocess.run(
        [sys.executable, "-m", "helpers", "make", "--profile", str(wrong)],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "training.learning_rate = -1.0" in done.stderr
    assert not (repository / "results/wrong").exists()


def test_files_named_in_the_parameters_are_looked_for_before_anything_runs():
    tiny = parameters.load("tiny")
    cohort = tiny.cohort.model_copy(update={"thigh_source": "own_data/nowhere"})
    with pytest.raises(FileNotFoundError, match=r"cohort\.thigh_source: .*own_data/nowhere"):
        pipeline.check_files(tiny.model_copy(update={"cohort": cohort}))
    readers = tiny.readers.model_copy(update={"reads_csv": "reads.csv"})
    with pytest.raises(FileNotFoundError, match=r"readers\.reads_csv"):
        pipeline.check_files(tiny.model_copy(update={"readers": readers}))


def test_every_notebook_of_the_order_exists_and_imports_helpers():
    for step in pipeline.STEPS:
        path = paths.root() / "notebooks" / f"{step.name}.ipynb"
        assert "helpers.record" in staleness.imports_of_notebook(path)


def test_the_stamps_follow_the_import_closure():
    profile = parameters.load("tiny")
    stamps = "\n".join(pipeline.stamps_of_notebook(profile, "05_reader_comparison"))
    assert "helpers.readers " in stamps and "claims.yml " in stamps
    assert "helpers.networks " not in stamps
