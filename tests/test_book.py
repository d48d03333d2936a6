"""The book: staging, building, checking, and what a real browser makes of the pages."""

import base64
import os
import re
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup

from helpers import book, book_checks, claims, parameters, record, roi
from helpers.display import threshold
from helpers.images import SliceImage

ROOT = Path(__file__).parents[1]
PAGES = book_checks.contents(ROOT / "_toc.yml")
NOTEBOOKS = [page for page in PAGES if page.startswith("notebooks/")]
ONE_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
BROWSER_FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
]


# A small book: the real pages, made-up notebooks


def quoted_keys() -> list[str]:
    """Keys that the real pages quote and notebooks must record."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("*.md")]
    keys = {key for text in texts for key in book.GLUE_ROLE.findall(text)}
    return sorted(keys - claims.everything().keys())


def quoted_figures() -> list[str]:
    """Figures of notebooks that the real pages point to."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("*.md")]
    return sorted({name for t in texts for name in re.findall(r"\{numref\}`(fig-[\w-]+)`", t)})


def glued(key: str) -> nbformat.NotebookNode:
    prefix = record.GLUE_PREFIX
    data = {
        f"{prefix}text/html": f'<span class="number">0.50 {record.badge("phantom")}</span>',
        f"{prefix}text/plain": "0.50",
    }
    metadata = {"scrapbook": {"name": key, "mime_prefix": prefix}}
    return nbformat.v4.new_output("display_data", data=data, metadata=metadata)


def shown(kind: str, number: str, *, basis: str) -> nbformat.NotebookNode:
    passport = {
        **{"kind": kind, "name": f"{number}_{kind}", "label": "phantom", "basis": basis},
        **{"seed": 7, "profile": "small", "data": f"tables/{number}_{kind}.csv"},
    }
    data = {"image/png": base64.b64encode(ONE_PIXEL).decode()} if kind == "figure" else {}
    return nbformat.v4.new_output(
        "display_data", data={"text/plain": kind, **data}, metadata={"passport": passport}
    )


def notebook(name: str, keys: list[str], figures: list[str]) -> nbformat.NotebookNode:
    new, number = nbformat.v4, name[:2]
    figure = {
        "figure": {"name": f"fig-{number}", "caption": "A curve."},
        "image": {"alt": "A curve that rises"},
    }
    table = (
        f"```{{csv-table}} A table.\n:name: tab-{number}\n:file: ../tables/{number}_table.csv\n```"
        "\n\nIt says."
    )
    cells = [
        new.new_markdown_cell(
            f"# Notebook {number}\n\nAnswer {{glue:}}`nb{number}.own`, {{glue:}}`nb01.own`, "
            f"published {{glue:}}`P1-17`. {{numref}}`fig-{number}`, {{numref}}`tab-{number}`. "
            "$$x^2$$"
        ),
        new.new_code_cell('profile = "small"  # name', metadata={"tags": ["parameters"]}),
        new.new_code_cell("run.number()", outputs=[glued(k) for k in (f"nb{number}.own", *keys)]),
        new.new_code_cell(
            "run.figure()",
            id="curve",
            metadata={"mystnb": figure},
            outputs=[shown("figure", number, basis="assumed <b>& quoted</b>")],
        ),
        new.new_code_cell(
            "run.table()",
            id="table",
            metadata={"tags": ["remove-output"]},
            outputs=[shown("table", number, basis="")],
        ),
        new.new_markdown_cell(table),
        *(
            new.new_code_cell(
                "run.figure()",
                id=f"more-{place}",
                metadata={"mystnb": figure | {"figure": {"name": name, "caption": "A curve."}}},
                outputs=[shown("figure", number, basis="")],
            )
            for place, name in enumerate(figures)
        ),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    run = {"profile": "small", "seconds": 1.5, "peak_gib": 0.2}
    return new.new_notebook(cells=cells, metadata={"kernelspec": kernel, "run": run})


def write_small_book(root: Path) -> Path:
    """Write a repository with the real pages and made-up executed notebooks."""
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, root)
    (root / "Snakefile").touch()
    for name in ("book", "benchmarks/results"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("executed", "tables"):
        (root / "results" / "small" / name).mkdir(parents=True)
    for page in NOTEBOOKS:
        name = Path(page).name
        first = name.startswith("01")
        made = notebook(name, *((quoted_keys(), quoted_figures()) if first else ([], [])))
        nbformat.write(made, root / f"results/small/executed/{name}.ipynb")
        for kind in ("figure", "table"):
            path = root / f"results/small/tables/{name[:2]}_{kind}.csv"
            path.write_text("a,b\n1,2\n")
    return root


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.delenv("PAPER_RESULTS", raising=False)
    monkeypatch.chdir(write_small_book(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def small_html(tmp_path_factory):
    """The small book, built once for all tests that only read it."""
    root = write_small_book(tmp_path_factory.mktemp("book"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PAPER_RESULTS", raising=False)
        patch.chdir(root)
        return book.make("small").parent


# Staging


def staged_cells(root: Path, name: str) -> list[nbformat.NotebookNode]:
    book.stage("small")
    return nbformat.read(root / f"_build/small/source/{name}.ipynb", as_version=4).cells


def test_passports_stand_below_the_figure_and_below_the_table(small):
    cells = staged_cells(small, NOTEBOOKS[2])
    sources = [cell.source for cell in cells]
    figure, table = (i for i, text in enumerate(sources) if '<div class="passport">' in text)
    assert cells[figure - 1].id == "curve"
    shown, passport, after = re.split("\n\n", sources[table])
    assert "{csv-table}" in shown and "<code>table</code>" in passport and after == "It says."
    assert "assumed &lt;b&gt;&amp; quoted&lt;/b&gt;" in sources[figure]
    assert "cell <code>curve</code>" in sources[figure]


def test_numbers_are_tied_to_the_notebook_that_records_them(small):
    first = staged_cells(small, NOTEBOOKS[2])[0].source
    assert "{glue:}`nb03.own`" in first
    assert f"{{glue:}}`/{NOTEBOOKS[0]}.ipynb::nb01.own`" in first
    assert claims.get("P1-17").text in first and "evidence-published" in first


def test_a_quoted_number_that_nobody_records_is_an_error(small):
    page = small / "book" / "limitations.md"
    page.write_text(page.read_text() + "\n{glue:}`nb03.owm`\n")
    with pytest.raises(book.BookError, match=r"limitations quotes 'nb03.owm'.*nb03\.own"):
        book.stage("small")


def test_a_notebook_that_was_not_run_is_an_error(small):
    (small / f"results/small/executed/{Path(NOTEBOOKS[4]).name}.ipynb").unlink()
    with pytest.raises(book.BookError, match=rf"(?s){NOTEBOOKS[4]}.*make book PROFILE=small"):
        book.stage("small")


# Building


def test_a_warning_stops_the_build_and_the_book_before_stays(small):
    before = book.html_folder("small") / "book" / "index.html"
    before.parent.mkdir(parents=True)
    before.write_text("the book before")
    page = small / "book" / "limitations.md"
    page.write_text(page.read_text() + "\n{numref}`fig-that-is-not-there`\n")
    with pytest.raises(book.BookError, match="fig-that-is-not-there"):
        book.make("small")
    assert before.read_text() == "the book before"
    assert [p.name for p in (small / "_build/small").glob("building-*")] == []


def test_two_tables_of_one_cell_keep_their_own_passports():
    shown = "".join(f"```{{csv-table}} T\n:file: ../tables/07_{n}.csv\n```\n\n" for n in "ab")
    passports = [
        {"kind": "table", "name": f"07_{n}", "label": "phantom", "basis": f"basis of {n}"}
        | {"weights": "", "notebook": "07", "seed": 1, "profile": "small", "data": None}
        for n in "ab"
    ]
    outputs = [
        nbformat.v4.new_output("display_data", metadata={"passport": passport})
        for passport in passports
    ]
    cell = nbformat.v4.new_code_cell("tables", id="both", outputs=outputs)
    listed = list(book._with_passports([cell, nbformat.v4.new_markdown_cell(shown)]))
    order = re.findall(r"07_[ab]\.csv|basis of [ab]", listed[1].source)
    assert order == ["07_a.csv", "basis of a", "07_b.csv", "basis of b"]


def test_the_small_book_is_fit_to_read(small_html):
    assert book_checks.verify(small_html, ROOT / "_toc.yml") == []
    table = BeautifulSoup((small_html / "book/reproducibility.html").read_text(), "html.parser")
    assert "03_backbone_comparison" in table.get_text()


def test_a_glossary_term_is_explained_where_it_stands(small_html):
    page = BeautifulSoup((small_html / "book/glossary.html").read_text(), "html.parser")
    link = page.select_one('a.reference[href="#term-threshold"]')
    assert "is called diseased; 0.5" in link["title"]


# Checks: each must be able to fail

ARTICLE_BREAKS = {
    "<figure id='f'></figure>": "figure 'f' is empty",
    "<div class='output traceback'>ZeroDivisionError</div>": "stopped with an error: ZeroDiv",
    "<p>{glue:}`nb03.auc`</p>": "left as {glue:",
    "<pre>```{csv-table} Ratios.\n:file: a.csv</pre>": "left as text: {csv-table}",
    "<span class='problematic'>:cite:</span>": "not understood",
    "<img src='../_static/favicon.svg' alt=' '>": "no alternative text",
    "<img src='https://example.org/a.png' alt='a'>": "loads https://example.org/a.png",
    "<script src='//example.org/a.js'></script>": "loads //example.org/a.js",
    "<link rel='stylesheet' href='https://example.org/a.css'>": "loads https://example.org/a.css",
    "<p style='background: url(https://example.org/b)'>x</p>": "loads https://example.org/b",
    "<style>@import '//example.org/c.css';</style>": "loads //example.org/c.css",
    "<a href='nowhere.html'>x</a>": "nowhere.html leads nowhere",
    "<a href='index.html#nowhere'>x</a>": "not on that page",
}


def verified_after(small_html: Path, folder: Path, change) -> list[str]:
    copy = shutil.copytree(small_html, folder / "html")
    change(copy)
    return book_checks.verify(copy, ROOT / "_toc.yml")


def test_each_fault_of_a_page_is_found(small_html, tmp_path):
    def change(folder):
        page = folder / "book" / "methods.html"
        faults = "".join(ARTICLE_BREAKS)
        page.write_text(page.read_text().replace("</article>", f"{faults}</article>"))

    problems = verified_after(small_html, tmp_path, change)
    assert all(problem.startswith("book/methods.html") for problem in problems)
    unseen = [f for f in ARTICLE_BREAKS.values() if not any(f in problem for problem in problems)]
    assert unseen == [] and len(problems) >= len(ARTICLE_BREAKS)


def test_a_missing_page_is_found(small_html, tmp_path):
    problems = verified_after(
        small_html, tmp_path, lambda folder: (folder / f"{PAGES[3]}.html").unlink()
    )
    assert f"{PAGES[3]}.html is in the table of contents but was not built." in problems


def test_a_missing_clinical_line_is_found(small_html, tmp_path):
    def change(folder):
        page = folder / "search.html"
        page.write_text(page.read_text().replace("Not for clinical use", "For all uses"))

    problems = verified_after(small_html, tmp_path, change)
    assert len(problems) == 1 and problems[0].startswith("search.html")


def test_a_foreign_address_in_a_style_sheet_is_found(small_html, tmp_path):
    def change(folder):
        style = folder / "_static" / "paper.css"
        style.write_text(style.read_text() + "\n@import url('https://example.org/font.css');")

    problems = verified_after(small_html, tmp_path, change)
    assert problems == ["_static/paper.css loads https://example.org/font.css from another host."]


def test_an_empty_image_file_is_found(small_html, tmp_path):
    def change(folder):
        next((folder / "_images").glob("*.png")).write_bytes(b"")

    assert any("leads nowhere" in p for p in verified_after(small_html, tmp_path, change))


# A real browser


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="no playwright")
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    executable = os.environ.get("BROWSER_EXECUTABLE") or next(filter(None, found), None)
    if executable is None:
        pytest.skip("no browser: install chromium, or name one in BROWSER_EXECUTABLE")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=BROWSER_FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module", params=["small", "demo"])
def html(request):
    if request.param == "small":
        return request.getfixturevalue("small_html")
    folder = ROOT / "_build" / "demo" / "html"
    if not (folder / "index.html").is_file():
        pytest.skip("no built demo book: run make book")
    return folder


class Visit:
    """A page in a fresh profile without a network, and what it asked for and complained about."""

    def __init__(self, browser, html: Path, *, width: int = 1280) -> None:
        self.html, self.requests, self.complaints = html, [], []
        self.context = browser.new_context(viewport={"width": width, "height": 900})
        self.context.set_offline(True)
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)

    def _hear(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def open(self, page: str):
        self.page.goto(f"{self.html.as_uri()}/{page}", wait_until="load")
        return self.page

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *_) -> None:
        self.context.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_opens_whole_and_quiet_without_a_network(browser, html, width):
    with Visit(browser, html, width=width) as visit:
        for name in [f"{page}.html" for page in PAGES] + ["search.html", "genindex.html"]:
            page = visit.open(name)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
            broken = "[...document.images].filter(i => !(i.complete && i.naturalWidth)).length"
            page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
            assert page.evaluate(broken) == 0, f"{name} shows an empty image"
        assert visit.complaints == []
        outside = [url for url in visit.requests if not re.match("file:|data:", url)]
        assert outside == []


def test_formulas_are_drawn(browser, html):
    with Visit(browser, html) as visit:
        drawn = 0
        for name in NOTEBOOKS:
            page = visit.open(f"{name}.html")
            if page.locator(".math").count():
                page.wait_for_selector("mjx-container svg", state="attached")
                drawn += page.locator("mjx-container svg").count()
        assert drawn > 0


def test_the_first_page_leads_to_all_notebooks(browser, html):
    with Visit(browser, html) as visit:
        page = visit.open("index.html")
        page.wait_for_url("**/book/index.html")
        addresses = [link.get_attribute("href") for link in page.locator("a.box").all()]
        assert sorted(addresses) == [f"../{name}.html" for name in NOTEBOOKS]
        page.locator("a.box").first.click()
        page.wait_for_url("**/notebooks/*.html")
        page.locator("article h1").wait_for()


def test_the_theme_can_be_changed(browser, html):
    with Visit(browser, html) as visit:
        page = visit.open("book/index.html")
        seen = set()
        for _ in range(3):
            page.locator(".theme-switch-button:visible").first.click()
            seen.add(page.evaluate("document.documentElement.dataset.theme"))
        assert seen == {"light", "dark"}


CONTRASTS = """() => [...document.querySelectorAll('article .evidence')].map(element => {
  const parts = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(value => {
    const c = value / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  const luminance = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
  const style = getComputedStyle(element);
  const [a, b] = [style.color, style.backgroundColor].map(c => luminance(parts(c)));
  return [element.textContent, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
})"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_evidence_labels_can_be_read_in_both_themes(browser, html, theme):
    with Visit(browser, html) as visit:
        page = visit.open("book/index.html")
        page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        contrasts = page.evaluate(CONTRASTS)
        assert {label.split(",")[0] for label, _ in contrasts} == set(record.LABELS)
        assert min(contrast for _, contrast in contrasts) >= 4.5, contrasts


def test_search_finds_words_without_a_network(browser, html):
    with Visit(browser, html) as visit:
        page = visit.open("search.html?q=dystrophinopathy")
        page.wait_for_selector("#search-results li a")
        assert visit.complaints == []


@pytest.fixture(scope="module")
def threshold_page(tmp_path_factory):
    """A page that holds nothing but the slider of notebook 02."""
    rows, columns = np.mgrid[:160, :320]
    discs = [np.hypot(rows - 80, columns - 160 - side * 75) < 60 for side in (-1, 1)]
    image = SliceImage(100.0 * (discs[0] | discs[1]), (1.0, 1.0))
    factors = 2.0 ** np.arange(-2, 4.1, 1.0)
    choices = parameters.load("demo").roi.model_dump(exclude={"mirror_left"})
    tried = [roi.at_thresholds(image, factors, **choices)] * 2
    page = threshold.widget(["easy", "again"], [image] * 2, tried, factors)
    folder = tmp_path_factory.mktemp("threshold")
    text = f"<!doctype html><meta charset='utf-8'><title>slider</title>{page}"
    (folder / "page.html").write_text(text, encoding="utf-8")
    return folder


def test_the_threshold_can_be_moved_by_keys(browser, threshold_page):
    with Visit(browser, threshold_page) as visit:
        page = visit.open("page.html")
        slider = page.get_by_role("slider", name="Threshold")
        outcome = page.locator(".outcome").first
        frame = page.locator("rect.right").first
        mask = page.locator("image.mask").first
        assert outcome.inner_text() == "two legs, apart" and frame.is_visible()
        before = mask.get_attribute("href")
        slider.focus()
        page.keyboard.press("End")
        assert outcome.inner_text().startswith("left out") and not frame.is_visible()
        assert mask.get_attribute("href") != before
        live = page.locator("[role=status], [aria-live], output")
        assert live.count() == 1 and "in 0 of 2 slices" in live.inner_text()
        assert slider.get_attribute("aria-valuetext") == page.locator(".chosen").inner_text()
        page.get_by_role("button").click()
        assert page.locator(".chosen").inner_text() == "Otsu's" and frame.is_visible()
        assert mask.get_attribute("href") == before
        assert live.inner_text() == "At Otsu's two legs are found in 2 of 2 slices."
        assert visit.complaints == []
        assert all(re.match("file:|data:", url) for url in visit.requests)


def test_without_scripts_otsus_threshold_is_shown(browser, threshold_page):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{threshold_page.as_uri()}/page.html")
    assert page.locator(".outcome").first.inner_text() == "two legs, apart"
    assert page.locator("rect.right").first.is_visible()
    assert not page.locator("input[type=range]").is_visible()
    context.close()
