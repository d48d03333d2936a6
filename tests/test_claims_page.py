"""The claims table in a real browser: filter, search, keyboard, both themes, narrow, no script."""

import os
import re
import shutil
from pathlib import Path

import pytest

from helpers import checklist, findings, ledger, ledger_page
from helpers.claims import everything

ROOT = Path(__file__).parents[1]
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
]


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="no playwright")
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    executable = os.environ.get("BROWSER_EXECUTABLE") or next(filter(None, found), None)
    if executable is None:
        pytest.skip("no browser: install chromium, or name one in BROWSER_EXECUTABLE")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page that holds the tables, their style and their script, and nothing else."""
    rows, printed = ledger.build(), everything()
    files = ("_static/paper.css", "ledger.css", "ledger.js")
    paper, style, script = ((ROOT / "book" / name).read_text() for name in files)
    items = [item for item in checklist.read() if item.guideline == "CLAIM"]
    body = [
        ledger_page.summary(rows),
        ledger_page.controls(rows),
        ledger_page.claims_table(rows, {}, lambda place: "#"),
        f"<script>{script}</script>",
        ledger_page.findings_table(findings.build(printed)),
        checklist.table(items, {}, lambda place: "#", missing="not run yet"),
    ]
    head = (
        "<!doctype html><html data-theme='light'><meta charset='utf-8'><title>claims</title>"
        "<meta name='viewport' content='width=device-width'>"
        f"<style>{paper}{style} body {{ margin: 0; }}"
        " html[data-theme=dark] body { background: #121212; color: #eee; }</style>"
    )
    path = tmp_path_factory.mktemp("claims") / "page.html"
    path.write_text(f"{head}<main class='bd-article'>{''.join(body)}</main>", encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def visit(browser, address):
    """Open the page without a network; fail when it complains or asks for anything."""
    contexts, complaints, requests = [], [], []

    def opened(*, width: int = 1280, anchor: str = "", script: bool = True):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, java_script_enabled=script
        )
        context.set_offline(True)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address + anchor)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not re.match("file:|data:", url)] == []


def ids(page) -> list[str]:
    rows = "[...document.querySelectorAll('#ledger-claims tbody tr')]"
    return page.evaluate(f"{rows}.filter(row => row.offsetParent !== null).map(row => row.id)")


def test_all_claims_are_shown_at_first(visit):
    page = visit()
    assert ids(page) == list(everything())
    assert (
        f"{len(everything())} of {len(everything())}" in page.locator("#ledger-count").inner_text()
    )


@pytest.mark.parametrize("verdict", [ledger.CONTRADICTED_IF, ledger.REMARK, ledger.EXACT])
def test_filter_by_verdict(visit, verdict):
    page = visit()
    page.get_by_role("combobox", name="Verdict").select_option(verdict)
    assert ids(page) == [name for name, v in ledger.expected().items() if v == verdict]


def test_filter_by_source_and_unit_together(visit):
    page = visit()
    page.get_by_label("Source").select_option("brain (DystoniaNet)")
    assert set(ids(page)) == {name for name in everything() if name.startswith("D")}
    page.get_by_label("Unit").select_option("case")
    wanted = {c.id for c in everything().values() if c.id.startswith("D") and c.unit == "case"}
    assert wanted and set(ids(page)) == wanted
    page.get_by_role("button", name="Show all").click()
    assert len(ids(page)) == len(everything())


def test_search_takes_every_word_in_any_order_and_case(visit):
    page = visit()
    box = page.get_by_label("Search")
    box.fill("SPECIFICITY vgg")
    assert ids(page) == ["P1-22"]
    box.fill("A3-08")
    assert ids(page) == ["P1-43", "P1-44"]
    box.fill("no such words")
    assert ids(page) == []
    assert page.locator("#ledger-count").inner_text().startswith("0 of")


def test_everything_by_keyboard(visit):
    page = visit()
    page.get_by_label("Search").focus()
    page.keyboard.type("kappa")
    some = ids(page)
    assert 0 < len(some) < len(everything())
    page.keyboard.press("Enter")
    assert ids(page) == some, "Enter must not send the form"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.key") == "verdict"
    page.keyboard.press("c")
    assert set(ids(page)) <= set(some)
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "ledger-clear"
    page.keyboard.press("Enter")
    assert len(ids(page)) == len(everything())


def test_a_link_to_a_hidden_claim_shows_it(visit):
    page = visit()
    page.get_by_role("combobox", name="Verdict").select_option(ledger.CONTRADICTED_IF)
    assert not page.locator("#P1-17").is_visible()
    page.evaluate("location.hash = '#P1-17'")
    page.locator("#P1-17").wait_for(state="visible")


def test_a_link_that_is_followed_from_elsewhere_finds_its_claim(visit):
    page = visit()
    address = page.url.split("#")[0]
    page.goto("about:blank")
    # What a browser puts back into the form after a page is left and opened again.
    page.add_init_script(
        "document.addEventListener('readystatechange', () => {"
        "const box = document.getElementById('ledger-text'); if (box) box.value = 'zzz'; });"
    )
    page.goto(f"{address}#P1-17")
    page.locator("#P1-17").wait_for(state="visible")


def test_an_address_that_cannot_be_decoded_is_no_error(visit):
    page = visit()
    page.evaluate("location.hash = '#100%'")
    page.wait_for_function("location.hash === '#100%'")
    assert len(ids(page)) == len(everything())


def test_without_scripts_the_table_is_whole_and_plain(visit):
    page = visit(script=False)
    assert page.locator("#ledger-claims tbody tr").count() == len(everything())
    assert page.locator("#P1-40").is_visible()
    assert not page.locator("#ledger-filter").is_visible()


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_page(visit, width):
    page = visit(width=width)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    cells = page.locator("#P1-17 td")
    lefts = {round(cell.bounding_box()["x"]) for cell in cells.all() if cell.is_visible()}
    assert (len(lefts) == 1) is (width == 390), "a card on a narrow screen, a row otherwise"


def test_cards_still_are_a_table_for_screen_readers(visit):
    page = visit(width=390)
    assert page.get_by_role("table", name="Every claim with its verdict").count() == 1
    row = page.locator("#P1-17")
    assert row.get_by_role("cell").count() == len(row.locator("td:visible").all())


CONTRASTS = """() => [...document.querySelectorAll('.verdict, .evidence, .ledger-quiet')].map(e => {
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = value => value / 255 <= 0.04045 ? value / 255 / 12.92
    : ((value / 255 + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  let below = e, paper = parts(getComputedStyle(e).backgroundColor);
  while (paper.length === 4 && paper[3] === 0 && below.parentElement) {
    below = below.parentElement;
    paper = parts(getComputedStyle(below).backgroundColor);
  }
  if (paper.length === 4 && paper[3] === 0) paper = [255, 255, 255];
  const [a, b] = [luminance(parts(getComputedStyle(e).color)), luminance(paper)];
  return [e.className, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
})"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_verdicts_can_be_read_in_both_themes(visit, theme):
    page = visit()
    page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    contrasts = page.evaluate(CONTRASTS)
    kinds = {name for name, _ in contrasts}
    assert {f"verdict verdict-{kind}" for kind in set(ledger_page.KINDS.values())} <= kinds
    assert min(contrast for _, contrast in contrasts) >= 4.5, sorted(contrasts, key=lambda c: c[1])[
        :3
    ]
