"""Pages that are filled in when the book is staged: the claims and the reporting checklist.

Their texts hold comments such as ``<!-- fill: claims -->``; what stands there is made from the
ledger and from the numbers of the run.
"""

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import nbformat

from helpers import checklist, claims, findings, ledger, ledger_page, ledger_tables, paths, record

MARK = re.compile(r"^<!-- fill: ([a-z_0-9-]+(?: [^>]*?)?) -->$", re.MULTILINE)


class UnfilledPage(ValueError):
    """A page asks for something that does not exist; the message says what does."""


def anchors() -> set[str]:
    """Return the notebook cells that the claims and the checklist link to.

    Returns
    -------
    set of str
        As ``05_reader_comparison#figure-3``.

    Examples
    --------
    >>> "03_backbone_comparison#table-1" in anchors()
    True
    """
    places = {place for claim in claims.everything().values() for place in claim.where}
    places |= {place for item in checklist.read() for place in item.links}
    return {place for place in places if not place.startswith("book/")}


def anchor(cell_id: str) -> str:
    """Return the id in the built page that leads to a notebook cell.

    Examples
    --------
    >>> anchor("figure-3")
    'cell-figure-3'
    """
    return f"cell-{cell_id}"


def fill(source: Path, notebooks: Mapping[str, nbformat.NotebookNode], results: Path) -> None:
    """Fill in the staged pages, and write the tables they show.

    Parameters
    ----------
    source : Path
        The staged book; ``book/*.md`` are changed, ``tables/`` gets the ledger's tables.
    notebooks : mapping of str to NotebookNode
        Executed notebooks by page name.
    results : Path
        ``results/<profile>``.

    Raises
    ------
    UnfilledPage
        For an unknown mark, or a number that the run should have recorded and did not.
    """
    numbers = ledger.numbers_of(results)
    printed = claims.everything()
    rows = ledger.build(printed, numbers)
    items, shown = checklist.read(), _shown(notebooks)
    if numbers is not None:
        _check_recorded(checklist.keys(items), numbers)
    tables = {table.name: table for table in ledger_tables.build(printed)}
    _write_tables(source / "tables", tables.values(), rows)
    link = _linker(notebooks)
    makers: dict[str, Callable[[str], str]] = {
        "summary": lambda _: ledger_page.summary(rows),
        "controls": lambda _: ledger_page.controls(rows),
        "claims": lambda _: ledger_page.claims_table(rows, shown, link),
        "findings": lambda _: ledger_page.findings_table(findings.build(printed)),
        "passport": lambda name: _passport(tables[name]),
        "items": lambda name: _items(items, name, shown, link),
        "counted": lambda name: checklist.counted(_of(items, name)),
        "style": lambda _: f"<style>\n{_asset('ledger.css')}</style>",
        "script": lambda _: f"<script>\n{_asset('ledger.js')}</script>",
    }
    for name in ("claims", "checklist"):
        page = source / "book" / f"{name}.md"
        page.write_text(_filled(page.read_text(encoding="utf-8"), makers, name), encoding="utf-8")


def _write_tables(
    folder: Path, tables: Iterable[ledger_tables.Table], rows: list[ledger.Row]
) -> None:
    for table in tables:
        table.frame.to_csv(folder / f"{table.name}.csv", index=False)
    with open(folder / "claims.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(ledger_page.csv_rows(rows))


def _filled(text: str, makers: Mapping[str, Callable[[str], str]], page: str) -> str:
    def made(match: re.Match[str]) -> str:
        kind, _, rest = match[1].partition(" ")
        if kind not in makers:
            raise UnfilledPage(f"{page} asks for {kind!r}. Available: {', '.join(makers)}.")
        return makers[kind](rest)

    return MARK.sub(made, text)


def _asset(name: str) -> str:
    return (paths.root() / "book" / name).read_text(encoding="utf-8")


def _shown(notebooks: Mapping[str, nbformat.NotebookNode]) -> dict[str, str]:
    """The HTML of each recorded number, as prose shows it, with its label and weights."""
    outputs = [o for book in notebooks.values() for c in book.cells for o in c.get("outputs", [])]
    return {
        output.metadata["scrapbook"]["name"]: output.data[f"{record.GLUE_PREFIX}text/html"]
        for output in outputs
        if output.get("metadata", {}).get("scrapbook")
    }


def _check_recorded(keys: Iterable[str], numbers: Mapping[str, object]) -> None:
    missing = [key for key in keys if key not in numbers]
    if missing:
        raise UnfilledPage(
            f"book/checklist.yml names {', '.join(missing)}, which no notebook of this run "
            "records. Correct the key, or record it with run.number."
        )


def _linker(notebooks: Mapping[str, nbformat.NotebookNode]) -> Callable[[str], str]:
    cells = {
        Path(name).name: {cell.get("id") for cell in book.cells} for name, book in notebooks.items()
    }
    anchored = anchors()

    def link(place: str) -> str:
        name, _, target = place.partition("#")
        if name.startswith("book/"):
            return f"{name.removeprefix('book/')}.html" + (f"#{target}" if target else "")
        if name not in cells:
            raise UnfilledPage(f"A link leads to {place}; notebooks: {', '.join(cells)}.")
        # A cell that is linked only because a number was recorded there has no place of its own.
        known = target in cells[name] and place in anchored
        return f"../notebooks/{name}.html" + (f"#{anchor(target)}" if known else "")

    return link


def _passport(table: ledger_tables.Table) -> str:
    items = (
        record.badge("recomputed"),
        f"from {table.basis}",
        f'<a href="../tables/{table.name}.csv" download>data (CSV)</a>',
    )
    spans = "".join(f'<span class="item">{item}</span>' for item in items)
    return f'<div class="passport">{spans}</div>'


def _of(items: list[checklist.Item], guideline: str) -> list[checklist.Item]:
    own = [item for item in items if item.guideline == guideline]
    if not own:
        known = ", ".join(dict.fromkeys(item.guideline for item in items))
        raise UnfilledPage(f"checklist asks for {guideline!r}. Available: {known}.")
    return own


def _items(
    items: list[checklist.Item],
    guideline: str,
    shown: Mapping[str, str],
    link: Callable[[str], str],
) -> str:
    return checklist.table(_of(items, guideline), shown, link, missing=ledger.NOT_RUN)
