"""The form of every notebook: sections, limits, recorded numbers, nothing typed by hand.

Whether they run is tested by ``pytest --nbval-lax notebooks`` and by the runner.
"""

import ast
import re
import statistics
from functools import cache
from pathlib import Path

import nbformat
import papermill
import pytest

from helpers import claims, parameters, paths

NOTEBOOKS = sorted((paths.root() / "notebooks").glob("*.ipynb"))
SECTIONS = ("what comes in", "the idea", "is it real", "what it does not show")

GLUE = re.compile(r"\{glue:[a-z]*\}`([^`]+)`")
ROLE = re.compile(r"\{[a-z:-]+\}`[^`]*`")
RANDOM_ID = re.compile(r"(?=.*\d)[0-9a-f]{8}|[0-9a-f]{8}-[0-9a-f-]{27}")
ABSOLUTE = re.compile(r"^(/[\w.]|~/|[A-Za-z]:[\\/])")
SILENCED = re.compile(r"filterwarnings|simplefilter|catch_warnings|%%capture|TF_CPP_MIN_LOG_LEVEL")

#: Tag of cells whose stored output nbval compares.
CHECKED = "nbval-check-output"

#: What looks like a result and must come by its key.
RESULT = re.compile(
    r"(?<![\w.,-])\d+\.\d+(?![\w.]*\d)|\d+(?:\.\d+)?\s*(?:%|per cent)|\b\d+ (?:of|out of) \d+\b"
)

#: What looks like one and is none; each with the reason.
NO_RESULT = (
    r"95\s*(?:%|per cent)",  # a confidence level
    r"\d+(?:\.\d+)?\s*(?:mm|ms|s|GB|MB|kB|T|px|pixels|minutes|min|h)\b",  # a quantity with unit
    r"(?:above|below|past|threshold of|chance is|near|at|and|or) 0\.[15]\b",  # a convention
    r"(?:rate|momentum|step)(?: size)?(?: of| =)? 0\.\d+",  # a setting of the training
    r"\d+(?:\.\d+)?(?:st|nd|rd|th)\b",  # a percentile
    r"(?:version|Python|Keras|TensorFlow|UID|root|BIDS|Level|Fig\.|Table) \d+\.\d+",  # a name
)


def read(path):
    return _read(path, path.stat().st_mtime_ns)


@cache
def _read(path, _stamp):
    return nbformat.read(path, as_version=4)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def cells(path):
    return read(path).cells


def code_of(cells):
    return [cell for cell in cells if cell.cell_type == "code"]


def prose_of(cells):
    return [cell.source for cell in cells if cell.cell_type == "markdown"]


def lines_of(source):
    return [line for line in source.splitlines() if line.strip()]


def tags_of(cell):
    return cell.metadata.get("tags", [])


def words_in(text):
    """Count words as a reader does: a quoted number is one, markup and formulas are none."""
    text = re.sub(r"```.*?```|\$\$.*?\$\$", " ", text, flags=re.S)
    text = ROLE.sub("word", text)
    return len(re.findall(r"[^\s|#*`>-][^\s|]*", text))


def section(cells, heading):
    """Return the prose under the first heading that holds the given words, or None."""
    text = "\n\n".join(prose_of(cells))
    parts = re.split(r"^##+ +(.+)$", text, flags=re.M)
    named = dict(zip(reversed(parts[1::2]), reversed(parts[2::2]), strict=True))
    return next((body for name, body in named.items() if heading in name.lower()), None)


def loops_in(node, *, inside=False):
    """Yield the lines of loops within loops, comprehensions over two sequences included."""
    kinds = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    for child in ast.iter_child_nodes(node):
        loop = isinstance(child, kinds)
        if loop and (inside or len(getattr(child, "generators", ())) > 1):
            yield child.lineno
        yield from loops_in(child, inside=inside or loop)


def typed_results(text):
    """Return what in prose looks like a result typed by hand."""
    text = re.sub(r"```.*?```|\$\$.*?\$\$|\$[^$\n]*\$|<!--.*?-->", " ", text, flags=re.S)
    text = ROLE.sub(" ", text)
    text = re.sub(r"`[^`]*`|https?://\S+|\]\([^)]*\)", " ", text)
    for pattern in NO_RESULT:
        text = re.sub(pattern, " ", text, flags=re.I)
    return RESULT.findall(text)


def strings_in(node):
    """Yield every string of code as a pattern; the changing parts of an f-string match all."""
    for child in ast.walk(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield re.escape(child.value)
        elif isinstance(child, ast.JoinedStr):
            parts = [
                re.escape(part.value) if isinstance(part, ast.Constant) else ".+"
                for part in child.values
            ]
            yield "".join(parts)


@cache
def recorded_patterns(path, _stamp):
    trees = [ast.parse(cell.source) for cell in code_of(read(path).cells)]
    return {text for tree in trees for text in strings_in(tree)}


def unrecorded(keys, patterns, claim_ids):
    """Return the quoted keys that no notebook records."""
    numbers = [re.compile(text) for text in patterns if text.startswith("nb")]
    known = {key for key in keys if any(pattern.fullmatch(key) for pattern in numbers)}
    printed = {key for key in keys if key in claim_ids and re.escape(key) in patterns}
    return sorted(keys - known - printed)


def calls_of(cell, method):
    """Return the calls ``run.<method>(...)`` of a cell."""
    return [
        node
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == method
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "run"
    ]


def test_the_notebook_is_one_of_the_paper(path):
    assert path.stem in parameters.NOTEBOOK_SECTIONS


def test_opening(cells):
    first = cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert re.search(r"\bquestion\b", first.source, flags=re.I)
    assert GLUE.search(first.source), "the answer needs a live number"
    assert words_in(first.source) <= 120, f"{words_in(first.source)} words, at most 120"


def test_parameters_cell(path, cells):
    tagged = [cell for cell in cells if "parameters" in tags_of(cell)]
    assert len(tagged) == 1
    lines = lines_of(tagged[0].source)
    assert len(lines) <= 12
    for line in lines:
        assert re.fullmatch(r"\w+ = .+  # \S.*", line), f"no comment with meaning and unit: {line}"
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(tagged[0].source).body
    }
    expected = parameters.for_notebook(parameters.load("tiny"), path.stem)
    assert values == expected
    assert list(papermill.inspect_notebook(str(path))) == list(values), "papermill reads it apart"


def test_set_up_is_folded_and_short(cells):
    set_up = code_of(cells)[1]
    assert "hide-input" in tags_of(set_up)
    assert len(lines_of(set_up.source)) <= 8
    assert "record.Run(" in set_up.source


def test_sections(cells):
    missing = [name for name in SECTIONS if section(cells, name) is None]
    assert not missing, f"no section {missing}"
    idea, limits = section(cells, "the idea"), section(cells, "what it does not show")
    assert 100 <= words_in(idea) <= 250, f"the idea has {words_in(idea)} words, 100 to 250 allowed"
    assert idea.count("$$") >= 2, "the idea has no equation"
    assert words_in(limits) <= 100, f"limits have {words_in(limits)} words, at most 100"


def test_length_of_code(cells):
    lengths = [len(lines_of(cell.source)) for cell in code_of(cells)]
    assert 8 <= len(lengths) <= 16, f"{len(lengths)} code cells, 8 to 16 allowed"
    assert statistics.median(lengths) <= 5, f"median of {sorted(lengths)} lines is over 5"
    long = [cell.id for cell in code_of(cells) if len(lines_of(cell.source)) > 12]
    assert not long, f"over 12 lines: {long}"


def test_enough_prose_for_the_code(cells):
    words = sum(words_in(text) for text in prose_of(cells))
    lines = sum(len(lines_of(cell.source)) for cell in code_of(cells))
    assert words / lines >= 6, f"{words} words for {lines} lines of code, at least 6 a line"


def test_code_calls_and_does_not_define(cells):
    for cell in code_of(cells):
        tree = ast.parse(cell.source)
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        assert not any(isinstance(node, kinds) for node in ast.walk(tree)), cell.id
        assert not list(loops_in(tree)), f"{cell.id}: a loop within a loop"
    lambdas = sum(
        isinstance(node, ast.Lambda)
        for cell in code_of(cells)
        for node in ast.walk(ast.parse(cell.source))
    )
    assert lambdas <= 1, "more than one lambda: put the logic into helpers"


def test_no_path_of_one_machine(cells):
    for cell in code_of(cells):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not ABSOLUTE.match(node.value), f"{cell.id}: {node.value}"


def test_no_silenced_warnings(cells):
    assert not [cell.id for cell in code_of(cells) if SILENCED.search(cell.source)]


def test_stored_without_outputs_but_those_that_are_checked(cells):
    """nbval compares a checked cell's output; it must follow from the source documents alone."""
    for cell in code_of(cells):
        if CHECKED in tags_of(cell):
            assert cell.outputs, f"{cell.id} is checked against nothing"
            assert cell.execution_count, f"{cell.id}: nbval compares only cells with a count"
            labels = {output.metadata.get("passport", {}).get("label") for output in cell.outputs}
            assert labels <= {None, "recomputed", "published"}, cell.id
        else:
            assert not cell.outputs, cell.id
            assert cell.execution_count is None, cell.id


@pytest.mark.parametrize("name", ["05_reader_comparison", "06_dmd_bmd_breakdown"])
def test_what_follows_from_published_counts_is_checked_against_stored_output(name):
    cells = read(paths.root() / "notebooks" / f"{name}.ipynb").cells
    assert [cell.id for cell in code_of(cells) if CHECKED in tags_of(cell)]


def test_cell_ids_are_names(cells):
    ids = [cell.id for cell in cells]
    assert len(ids) == len(set(ids))
    wrong = [i for i in ids if not re.fullmatch(r"[a-z][a-z0-9-]+", i) or RANDOM_ID.fullmatch(i)]
    assert not wrong, f"not a name: {wrong}"


def test_figures_have_caption_and_alt_text(cells):
    for cell in code_of(cells):
        if calls_of(cell, "figure"):
            shown = cell.metadata.get("mystnb", {})
            assert shown.get("figure", {}).get("name", "").startswith("fig-"), cell.id
            assert len(shown["figure"].get("caption", "").split()) >= 8, f"{cell.id}: caption"
            assert len(shown.get("image", {}).get("alt", "").split()) >= 5, f"{cell.id}: alt text"
            assert not typed_results(shown["figure"]["caption"]), f"{cell.id}: caption"
            assert len(lines_of(cell.source)) <= 6, cell.id


def test_tables_are_shown_below_their_cell(path, cells):
    for position, cell in enumerate(cells):
        calls = calls_of(cell, "table") if cell.cell_type == "code" else []
        for call in calls:
            assert "remove-output" in tags_of(cell), cell.id
            name = call.args[1].value
            shown = cells[position + 1].source
            assert f":file: ../tables/{path.stem[:2]}_{name}.csv" in shown, cell.id
            assert re.search(r"^:name: tab-[a-z0-9-]+$", shown, flags=re.M), cell.id
            assert ":header-rows: 1" in shown, cell.id


def test_numbers_in_prose_are_recorded(path, cells):
    keys = {key for text in prose_of(cells) for key in GLUE.findall(text)}
    patterns = recorded_patterns(path, path.stat().st_mtime_ns)
    for other in NOTEBOOKS:
        elsewhere = recorded_patterns(other, other.stat().st_mtime_ns)
        patterns = patterns | {text for text in elsewhere if text.startswith("nb")}
    missing = unrecorded(keys, patterns, claims.everything())
    assert not missing, f"quoted but never recorded: {missing}"


def test_no_result_is_typed_by_hand(cells):
    found = {
        cell.id: results
        for cell in cells
        if cell.cell_type == "markdown" and (results := typed_results(cell.source))
    }
    assert not found, f"quote these by their key, {{glue:}}`nb...`: {found}"


def test_recorded_last(cells):
    assert code_of(cells)[-1].source.rstrip().endswith("run.save()")


def test_names_of_figures_and_tables_are_unique_over_the_book():
    names = []
    for path in NOTEBOOKS:
        cells = read(path).cells
        shown = [cell.metadata.get("mystnb", {}).get("figure", {}) for cell in code_of(cells)]
        names += [figure["name"] for figure in shown if figure]
        names += re.findall(r"^:name: (\S+)$", "\n".join(prose_of(cells)), flags=re.M)
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)


@pytest.mark.parametrize(
    "text",
    [
        "The network reaches an accuracy of 0.91 here.",
        "It found 89 % of the images.",
        "It found 89.4% of the images.",
        "It found 204 of 228 images.",
        "Agreement was substantial (kappa .. 0.628).",
        "about 12 per cent of cases",
    ],
)
def test_typed_results_are_noticed(text):
    assert typed_results(text)


@pytest.mark.parametrize(
    "text",
    [
        "The accuracy is {glue:}`nb05.resnet50.accuracy`.",
        "The interval covers 95 % of resampled cohorts.",
        "A margin of 4.0 mm and a smoothing of 1.5 mm are choices.",
        "Takes 10 s and 0.5 GB.",
        "stochastic gradient descent with learning rate 0.0001 and momentum 0.9",
        "Chance is 0.5; intensities run to the 99.5th percentile.",
        "The rate $1.5 \\times 10^{-4}$ is published, `momentum = 0.9` is not.",
        "Table 3 of the paper, one of 3 readers, 2,000 draws",
        "above 10 or below 0.1 it settles a question",
        "[doi](https://doi.org/10.1186/s12883-020-02036-0)",
    ],
)
def test_other_numbers_are_left_alone(text):
    assert not typed_results(text)


def test_unrecorded_keys_are_noticed():
    patterns = set(strings_in(ast.parse("run.number(f'nb05.a.{m}', 1); run.published('P1-17')")))
    quoted = {"nb05.a.f1", "nb05.b.f1", "P1-17", "P1-18", "P9-99"}
    assert unrecorded(quoted, patterns, {"P1-17", "P1-18"}) == ["P1-18", "P9-99", "nb05.b.f1"]


@pytest.mark.parametrize(
    ("source", "nested"),
    [
        ("for a in x:\n    for b in y:\n        pass", True),
        ("[a for a in x for b in y]", True),
        ("for a in x:\n    c = [b for b in a]", True),
        ("for a in x:\n    pass\nfor b in y:\n    pass", False),
    ],
)
def test_loops_within_loops_are_noticed(source, nested):
    assert bool(list(loops_in(ast.parse(source)))) is nested


def test_words_are_counted_as_a_reader_counts():
    assert words_in("## A **bold** word, {glue:}`nb01.x.y`\n\n$$a = b$$\n| a | b |\n|---|---|") == 6
