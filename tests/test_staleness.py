"""Stamps follow content and the import closure, and nothing else."""

import json
import os

import nbformat
import pytest

from helpers import staleness


@pytest.fixture
def notebook(tmp_path):
    cells = [
        nbformat.v4.new_markdown_cell("# Title", id="title"),
        nbformat.v4.new_code_cell(
            "import numpy as np\nfrom helpers import claims, paths\nimport helpers.record",
            id="code",
        ),
    ]
    path = tmp_path / "book.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def _edit(path, change):
    content = json.loads(path.read_text())
    change(content["cells"])
    path.write_text(json.dumps(content))


def test_outputs_and_execution_counts_do_not_make_a_notebook_stale(notebook):
    before = staleness.of_notebook(notebook)
    _edit(notebook, lambda cells: cells[1].update(execution_count=3, outputs=[{"text": "x"}]))
    assert staleness.of_notebook(notebook) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda cells: cells[0].update(source="# Another title"),
        lambda cells: cells[1]["metadata"].update(tags=["parameters"]),
        lambda cells: cells.reverse(),
    ],
)
def test_text_tags_and_order_do(notebook, change):
    before = staleness.of_notebook(notebook)
    _edit(notebook, change)
    assert staleness.of_notebook(notebook) != before


def test_imports_are_found_in_the_code_cells(notebook):
    assert staleness.imports_of_notebook(notebook) == {
        *("helpers", "helpers.claims", "helpers.paths", "helpers.record"),
    }


def test_the_closure_holds_indirect_imports_and_packages_but_nothing_else():
    closure = staleness.closure(["helpers.record"])
    assert {"helpers", "helpers.record", "helpers.claims", "helpers.display"} <= set(closure)
    assert "helpers.pipeline" not in closure


def test_a_data_file_counts_where_a_module_names_it():
    assert "claims.yml" in staleness.of_modules(["helpers.claims"])
    assert "claims.yml" not in staleness.of_modules(["helpers.paths"])


def test_a_linked_case_folder_counts_and_what_a_system_adds_does_not(tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    (own / "case").symlink_to(other)
    empty = staleness.of_folder(own)
    (other / "a.dcm").write_bytes(b"1234")
    before = staleness.of_folder(own)
    (other / "a.dcm").write_bytes(b"1235")
    assert len({empty, before, staleness.of_folder(own)}) == 3
    (other / "a.dcm").write_bytes(b"1234")
    (other / ".DS_Store").write_text("x")
    (other / "Thumbs.db").write_text("x")
    (other / "circle").symlink_to(own)
    assert staleness.of_folder(own) == before


def test_a_folder_that_is_not_there_has_no_hash(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
        staleness.of_folder(tmp_path / "nowhere")


def test_a_folder_is_its_names_and_contents_not_its_times(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"1234")
    before = staleness.of_folder(tmp_path)
    os.utime(tmp_path / "a.dcm", (1, 1))
    assert staleness.of_folder(tmp_path) == before
    (tmp_path / "a.dcm").write_bytes(b"1235")
    changed = staleness.of_folder(tmp_path)
    (tmp_path / "a.dcm").rename(tmp_path / "b.dcm")
    assert len({before, changed, staleness.of_folder(tmp_path)}) == 3
