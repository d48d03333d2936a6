"""The book: staged from executed notebooks, built without running anything, then verified.

Jupyter Book leaves exit status 0 after a failed notebook and fills gaps with warnings. So
papermill runs the notebooks beforehand, warnings are errors here, and every page is checked
before the new book replaces the old one.
"""

import csv
import difflib
import html
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup

from helpers import benchmarks, book_pages, claims, coverage, ledger, paths, record
from helpers.book_checks import contents, verify

LINES_OF_LOG = 25
PACKAGES = (
    *("tensorflow", "keras", "numpy", "scipy", "pandas", "scikit-learn", "scikit-image"),
    *("statsmodels", "pydicom", "nibabel", "nilearn", "matplotlib", "papermill", "jupyter-book"),
)

CSV_TABLE = re.compile(r"^```\{csv-table\}.*?^```[ \t]*$", re.MULTILINE | re.DOTALL)
FONT_PRELOAD = re.compile(r'<link rel="preload" as="font"[^>]*>\s*')
TERM_LINK = re.compile(r'(<a class="reference internal" href="[^"#]*#(term-[^"]+)")')
GLUE_ROLE = re.compile(r"\{glue:\}`([^`]+)`")


class BookError(RuntimeError):
    """The book cannot be built as it stands; the message says why and what to do."""


def html_folder(profile_name: str) -> Path:
    """Return the folder of a profile's built book.

    Parameters
    ----------
    profile_name : str
        Name of the results folder.

    Returns
    -------
    Path
        ``_build/<profile>/html``; it need not exist yet.

    Examples
    --------
    >>> html_folder("demo").parts[-3:]
    ('_build', 'demo', 'html')
    """
    return paths.root() / "_build" / profile_name / "html"


def built_mark(profile_name: str) -> Path:
    """Return the empty file that stands beside a book which passed every check."""
    return html_folder(profile_name).with_name("built")


def make(profile_name: str) -> Path:
    """Build the book of a profile and put it in place only when every check passes.

    Parameters
    ----------
    profile_name : str
        Name of the results folder whose executed notebooks make the book.

    Returns
    -------
    Path
        First page, ``_build/<profile>/html/index.html``.

    Raises
    ------
    BookError
        When a verdict on a claim changed, Sphinx warns or a page fails a check. The book built
        before, if any, stays.
    """
    _, changed = ledger.report(profile_name)
    if changed:
        raise BookError(_listing("Verdicts on published claims changed", changed))
    source = stage(profile_name)
    target = html_folder(profile_name)
    with tempfile.TemporaryDirectory(dir=source.parent, prefix="building-") as work:
        made = _run_sphinx(source, Path(work), log=source.parent / "book.log")
        shutil.copytree(source / "tables", made / "tables")
        _finish_pages(made)
        problems = verify(made, source / "_toc.yml")
        if problems:
            raise BookError(_listing(f"The book of {profile_name!r} is not fit to read", problems))
        _replace_folder(made, target)
    built_mark(profile_name).touch()
    return target / "index.html"


def stage(profile_name: str) -> Path:
    """Collect pages, executed notebooks, tables and figures where Jupyter Book reads them.

    On the way every quoted number is tied to the notebook that records it, and the evidence
    line is put under each figure and table.

    Parameters
    ----------
    profile_name : str
        Name of the results folder.

    Returns
    -------
    Path
        ``_build/<profile>/source``.

    Raises
    ------
    BookError
        When an executed notebook is missing or a page quotes a number nobody records.
    """
    root, results = paths.root(), paths.results(profile_name)
    source = root / "_build" / profile_name / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(root / name, source)
    shutil.copytree(root / "book", source / "book")
    (source / "tables").mkdir()
    notebooks = _executed(results / "executed", source / "_toc.yml", profile_name)
    for name in _tables_named_in(notebooks):
        shutil.copy(results / name, source / "tables")
    _stage_texts(source, notebooks)
    book_pages.fill(source, notebooks, results)
    _write_rows(source / "tables" / "book_runs.csv", _run_rows(notebooks))
    _write_rows(source / "tables" / "book_versions.csv", _version_rows())
    benchmarks.write_tables(source / "tables")
    coverage.write_tables(source / "tables")
    return source


# Staging


def _executed(folder: Path, toc: Path, profile_name: str) -> dict[str, nbformat.NotebookNode]:
    names = [page for page in contents(toc) if page.startswith("notebooks/")]
    missing = [n for n in names if not (folder / f"{Path(n).name}.ipynb").is_file()]
    if missing:
        raise BookError(
            _listing("These notebooks of the table of contents have not been run", missing)
            + f"\nRun: make book PROFILE={profile_name}"
        )
    return {n: nbformat.read(folder / f"{Path(n).name}.ipynb", as_version=4) for n in names}


def _tables_named_in(notebooks: dict[str, nbformat.NotebookNode]) -> list[str]:
    """Return the tables that passports of this run name; a leftover of an earlier run is none."""
    outputs = [o for book in notebooks.values() for c in book.cells for o in c.get("outputs", [])]
    passports = [output.get("metadata", {}).get("passport") or {} for output in outputs]
    return sorted({passport["data"] for passport in passports if passport.get("data")})


def _stage_texts(source: Path, notebooks: dict[str, nbformat.NotebookNode]) -> None:
    recorded = {key: name for name, book in notebooks.items() for key in _glued_keys(book)}
    for name, notebook in notebooks.items():
        notebook.cells = list(_with_passports(_with_anchor(notebook.cells, Path(name).name)))
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = _tie_numbers(cell.source, name, recorded)
        path = source / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        nbformat.write(notebook, path)
    for page in sorted((source / "book").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        page.write_text(_tie_numbers(text, f"book/{page.stem}", recorded), encoding="utf-8")


def _run_rows(notebooks: dict[str, nbformat.NotebookNode]) -> Iterator[tuple[str, ...]]:
    yield "notebook", "profile", "wall time (s)", "peak memory (GiB)"
    for name, notebook in notebooks.items():
        run = notebook.metadata.get("run", {})
        values = (run.get(key, "") for key in ("profile", "seconds", "peak_gib"))
        yield Path(name).name, *map(str, values)


def _version_rows() -> Iterator[tuple[str, ...]]:
    yield "package", "version"
    yield "Python", platform.python_version()
    yield from ((name, metadata.version(name)) for name in PACKAGES)


def _write_rows(path: Path, rows: Iterator[tuple[str, ...]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def _glued_keys(notebook: nbformat.NotebookNode) -> Iterator[str]:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            glued = output.get("metadata", {}).get("scrapbook")
            if glued:
                yield glued["name"]


def _tie_numbers(text: str, page: str, recorded: dict[str, str]) -> str:
    """Let any page quote any number: name the notebook that records it, or the claim."""

    def tied(match: re.Match[str]) -> str:
        key = match[1]
        if key in claims.everything():
            claim = claims.get(key)
            badge = record.badge(claim.label, claim.source)
            page_of_claims = "claims.html" if page.startswith("book/") else "../book/claims.html"
            link = f'<a class="claim" href="{page_of_claims}#{key}">{html.escape(claim.text)}</a>'
            return f'<span class="number">{link} {badge}</span>'
        if recorded.get(key) == page:
            return match[0]
        if key in recorded:
            return f"{{glue:}}`/{recorded[key]}.ipynb::{key}`"
        close = difflib.get_close_matches(key, [*recorded, *claims.everything()], n=3)
        raise BookError(
            f"{page} quotes {key!r}, which no notebook records and which is no published claim. "
            f"Nearest: {', '.join(close) or 'none'}. Record it with run.number, or correct the key."
        )

    return GLUE_ROLE.sub(tied, text)


def _with_anchor(
    cells: list[nbformat.NotebookNode], notebook: str
) -> Iterator[nbformat.NotebookNode]:
    """Put places above the cells that passports, claims and the checklist link to."""
    linked = book_pages.anchors()
    for cell in cells:
        if "parameters" in cell.metadata.get("tags", []):
            yield _place("parameters", "parameters-at")
        if f"{notebook}#{cell.id}" in linked:
            yield _place(book_pages.anchor(cell.id), f"place-{cell.id[:50]}")
        yield cell


def _place(name: str, cell_id: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(f'<span id="{name}"></span>', id=cell_id)


def _with_passports(cells: Iterator[nbformat.NotebookNode]) -> Iterator[nbformat.NotebookNode]:
    """Put a passport below each figure, and below the csv-table that shows a stored table."""
    listed = list(cells)
    for cell, following in zip(listed, [*listed[1:], None], strict=True):
        yield cell
        found = [out.get("metadata", {}).get("passport") for out in cell.get("outputs", [])]
        passports = [passport for passport in found if passport]
        if passports and following is not None and CSV_TABLE.search(following.source):
            for passport in reversed(passports):
                following.source = _below_its_table(following.source, passport, cell.id)
        elif passports:
            lines = "\n\n".join(passport_html(item, cell.id) for item in passports)
            yield nbformat.v4.new_markdown_cell(lines, id=f"passport-{cell.id[:50]}")


def _below_its_table(text: str, passport: dict, cell_id: str) -> str:
    tables = list(CSV_TABLE.finditer(text))
    own = [table for table in tables if f"/{passport['name']}.csv" in table.group()]
    below = (own or tables)[0].end()
    return f"{text[:below]}\n\n{passport_html(passport, cell_id)}{text[below:]}"


def passport_html(passport: dict, cell_id: str) -> str:
    """Return the line under a figure or table that says where it comes from.

    Parameters
    ----------
    passport : dict
        As :meth:`helpers.record.Run.figure` puts it into the output's metadata.
    cell_id : str
        Id of the notebook cell.

    Returns
    -------
    str
        One ``div``; all text escaped.

    Examples
    --------
    >>> line = passport_html({"label": "phantom", "seed": 1, "data": "tables/03_roc.csv"}, "roc")
    >>> 'href="../tables/03_roc.csv"' in line and "<code>roc</code>" in line
    True
    """
    safe = {key: html.escape(str(value), quote=True) for key, value in passport.items() if value}
    mark = record.badge(passport["label"], weights=passport.get("weights", ""))
    items = [mark, safe.get("basis", "")]
    items += [f"cell <code>{html.escape(cell_id)}</code>"]
    items += [f'<a href="#parameters">parameters</a> of profile {safe.get("profile", "")}']
    items += [f"seed {html.escape(str(passport.get('seed', 'none')))}"]
    if "data" in safe:
        items.append(f'<a href="../{safe["data"]}" download>data (CSV)</a>')
    spans = "".join(f'<span class="item">{item}</span>' for item in items if item)
    return f'<div class="passport">{spans}</div>'


# Building


def _run_sphinx(source: Path, work: Path, *, log: Path) -> Path:
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"]
    command += [str(source), "--path-output", str(work), "-W", "--keep-going"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    log.write_text(text, encoding="utf-8")
    if done.returncode:
        telling = re.compile("warning|error|critical", re.IGNORECASE)
        said = [line for line in text.splitlines() if telling.search(line)][-LINES_OF_LOG:]
        raise BookError(
            _listing("Sphinx could not build the book without warnings", said)
            + f"\nThe whole log: {log}"
        )
    return work / "_build" / "html"


def _finish_pages(folder: Path) -> None:
    """Explain glossary terms on hover; drop font preloads, refused on pages opened from disk."""
    meaning = _glossary(folder / "book" / "glossary.html")

    def explained(match: re.Match[str]) -> str:
        words = meaning.get(match[2])
        return f'{match[1]} title="{html.escape(words, quote=True)}"' if words else match[0]

    for path in folder.rglob("*.html"):
        text = FONT_PRELOAD.sub("", path.read_text(encoding="utf-8"))
        path.write_text(TERM_LINK.sub(explained, text), encoding="utf-8")


def _glossary(page: Path) -> dict[str, str]:
    """Meaning of each term, by the id that links to it point at."""
    terms = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").select("dt[id]")
    texts = {str(term["id"]): term.find_next_sibling("dd") for term in terms}
    return {key: " ".join(text.get_text().split()) for key, text in texts.items() if text}


def _replace_folder(new: Path, target: Path) -> None:
    old = target.with_name(f"{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _listing(title: str, lines: list[str]) -> str:
    return f"{title}:\n" + "\n".join(f"  - {line}" for line in lines)
