"""Sortable tables in a real browser, and without scripts."""

import os
import shutil
from pathlib import Path

import pytest

SCRIPT = (Path(__file__).parents[1] / "book" / "_static" / "sortable.js").read_text()
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
TABLE = """<table class="sortable docutils"><thead><tr><th><p>Model</p></th><th><p>AUC</p></th></tr>
</thead><tbody>
<tr><td>VGG19</td><td>0.84 (0.68 to 0.96)</td></tr><tr><td>ResNet50</td><td>0.9</td></tr>
<tr><td>Age and sex</td><td>undefined</td></tr><tr><td>DenseNet121</td><td>−0.1</td></tr>
</tbody></table><table><thead><tr><th>other</th></tr></thead><tbody></tbody></table>"""
PRINTED = ["VGG19", "ResNet50", "Age and sex", "DenseNet121"]


@pytest.fixture(scope="module")
def chromium():
    api = pytest.importorskip("playwright.sync_api", reason="no playwright")
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    executable = os.environ.get("BROWSER_EXECUTABLE") or next(filter(None, found), None)
    if executable is None:
        pytest.skip("no browser: install chromium, or name one in BROWSER_EXECUTABLE")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield running
        running.close()


def opened(chromium, *, scripts=True, table=TABLE):
    page = chromium.new_context(java_script_enabled=scripts).new_page()
    page.set_content(f"<script>{SCRIPT}</script>{table}")
    return page


@pytest.mark.parametrize(
    ("printed", "ascending"),
    [
        (["0.02", "3e-05", "< 0.001", "1e-3"], ["3e-05", "< 0.001", "1e-3", "0.02"]),
        (
            ["12 %", "1,200", "9.5 (8 to 11)", "−2 % (−3 to 1)"],
            ["−2 % (−3 to 1)", "9.5 (8 to 11)", "12 %", "1,200"],
        ),
        (["2026-11-02", "2026-02-11", "2025-12-31"], ["2025-12-31", "2026-02-11", "2026-11-02"]),
        (["3 of 10", "12", "20 of 30"], ["12", "20 of 30", "3 of 10"]),
    ],
)
def test_numbers_are_whole_cells_and_all_else_is_text(chromium, printed, ascending):
    rows = "".join(f"<tr><td>{text.replace('<', '&lt;')}</td></tr>" for text in printed)
    head = '<table class="sortable"><thead><tr><th>Value</th></tr></thead>'
    page = opened(chromium, table=f"{head}<tbody>{rows}</tbody></table>")
    page.get_by_role("button").click()
    assert first_column(page) == ascending


def first_column(page):
    return page.locator("table.sortable tbody td:first-child").all_inner_texts()


def test_a_click_sorts_by_size_a_second_turns_round_a_third_restores(chromium):
    page = opened(chromium)
    button = page.get_by_role("button", name="AUC")
    button.click()
    assert first_column(page) == ["DenseNet121", "VGG19", "ResNet50", "Age and sex"]
    assert page.locator("th").nth(1).get_attribute("aria-sort") == "ascending"
    button.click()
    assert first_column(page) == ["ResNet50", "VGG19", "DenseNet121", "Age and sex"]
    button.click()
    assert first_column(page) == PRINTED
    assert page.locator("th").nth(1).get_attribute("aria-sort") == "none"


def test_text_is_sorted_by_the_alphabet_and_by_keyboard(chromium):
    page = opened(chromium)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert first_column(page) == sorted(PRINTED)


def test_other_tables_are_left_alone_and_nothing_is_lost_without_scripts(chromium):
    assert opened(chromium).get_by_role("button").count() == 2
    page = opened(chromium, scripts=False)
    assert first_column(page) == PRINTED and page.get_by_role("button").count() == 0
