"""The operating-point explorer in a real browser: its numbers are those of Python's functions."""

import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from helpers import operating
from helpers.accuracy import Counts
from helpers.display import explorer

BROWSER_FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
]
ROWS = {
    "Sensitivity": ("sensitivity", None),
    "Specificity": ("specificity", None),
    "Positive predictive value": ("ppv_half", True),
    "Negative predictive value": ("npv_half", False),
    "Positive likelihood ratio": ("lr_positive", None),
    "Negative likelihood ratio": ("lr_negative", None),
}


@pytest.fixture(scope="module")
def sources():
    rng = np.random.default_rng(2)
    case = np.repeat(np.arange(36), 3)
    label = (case < 12).astype(int)
    latent = 1.5 * label + rng.normal(size=36)[case] + 0.4 * rng.normal(size=case.size)
    swept = operating.sweep(label, 1 / (1 + np.exp(-latent)), case, replicates=300, seed=5)
    counts = Counts(tp=204, fn=24, fp=35, tn=385)
    sizes = {0.0: (228, 420), 0.4: (74.2, 124.2)}
    parts = [operating.of_counts(counts, effective=n, setting=icc) for icc, n in sizes.items()]
    published = explorer.Source(
        "published <counts> & more",
        "recomputed",
        pd.concat(parts),
        "Likeness",
        ("none", "0.4"),
        0.0,
        {},
        "A note with </script><b>marks</b>.",
    )
    texts = tuple(f"{cut:.2f}" for cut in operating.THRESHOLDS)
    marks = {"plan": 0.5, "validation": 0.62}
    here = explorer.Source("here", "phantom", swept, "Threshold", texts, 0.5, marks, "A note.")
    return [published, here]


@pytest.fixture(scope="module")
def address(sources, tmp_path_factory):
    """A page that holds two explorers with the same numbers."""
    page = tmp_path_factory.mktemp("page") / "page.html"
    both = explorer.fragment(sources, key="a") + explorer.fragment(sources, key="b")
    page.write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>x</title>'
        '<meta name="viewport" content="width=device-width">'
        f"</head><body>{both}</body></html>",
        encoding="utf-8",
    )
    return page.as_uri()


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


@pytest.fixture
def page(browser, address):
    context = browser.new_context(viewport={"width": 900, "height": 1200})
    context.set_offline(True)
    opened = context.new_page()
    complaints = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda message: complaints.append(message.text))
    opened.goto(address)
    yield opened
    context.close()
    assert complaints == []


def part(root, name):
    return root.locator(f'[data-part="{name}"]')


def set_to(root, name, value):
    part(root, name).evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }",
        str(value),
    )


def numbers(text):
    return [float(found) for found in re.findall(r"\d+(?:\.\d+)?", text)]


def shown(root):
    found = {}
    for line in part(root, "measures").locator("tr").all():
        found[line.locator("th").inner_text()] = [
            td.inner_text() for td in line.locator("td").all()
        ]
    return found


def expected(points, setting, prevalence):
    rows = points[points["setting"] == setting].set_index("measure")
    for name, (measure, positive) in ROWS.items():
        limits = rows.loc[measure, ["estimate", "low", "high"]].to_numpy(dtype=float)
        if positive is not None:
            limits = operating.at_prevalence(limits, prevalence, positive=positive)
        yield name, limits, rows.loc[measure, "method"]


@pytest.mark.parametrize(
    ("source", "index"), [(0, 0), (0, 1), (1, 0), (1, 1), (1, 25), (1, 31), (1, 44), (1, 50)]
)
@pytest.mark.parametrize("percent", [1, 10, 35])
def test_numbers_are_those_of_pythons_functions(page, sources, source, index, percent):
    root = page.locator(".explorer").first
    root.locator(f'[data-source="{source}"]').check()
    set_to(root, "setting", index)
    set_to(root, "prevalence", percent)
    points = sources[source].points
    setting = list(dict.fromkeys(points["setting"]))[index]
    table = shown(root)
    for name, limits, method in expected(points, setting, percent / 100):
        percents = "ratio" not in name
        estimate, span = table[name]
        if np.isnan(limits[0]):
            assert estimate == "undefined"
            continue
        scale, near = (100, {"abs": 0.0501}) if percents else (1, {"rel": 0.006})
        assert numbers(estimate) == pytest.approx([scale * limits[0]], **near)
        if np.isfinite(limits[1:]).all():
            assert numbers(span) == pytest.approx(list(scale * limits[1:]), **near)
        else:
            assert span.startswith("–") and method.removeprefix("none: ") in span
    rows = points[points["setting"] == setting].set_index("measure")["estimate"]
    counts = operating.per_thousand(rows["sensitivity"], rows["specificity"], percent / 100)
    for name in Counts._fields:
        people = int(part(root, f"count-{name}").inner_text().replace(",", ""))
        assert people == getattr(counts, name)
        drawn = part(root, f"people-{name}").get_attribute("d")
        assert drawn.count("M") == people
    assert f"{counts.tp + counts.fp} are called positive" in part(root, "summary").inner_text()


@pytest.mark.parametrize("missing", ["sensitivity", "specificity"])
def test_what_is_not_known_is_called_undefined(browser, sources, tmp_path, missing):
    points = sources[0].points.query("setting == 0").copy()
    points.loc[points["measure"] == missing, ["estimate", "low", "high"]] = np.nan
    source = explorer.Source("x", "recomputed", points, "Likeness", ("none",), 0.0, {}, "A note.")
    (tmp_path / "page.html").write_text(explorer.fragment([source], key="c"), encoding="utf-8")
    context = browser.new_context()
    opened, complaints = context.new_page(), []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto((tmp_path / "page.html").as_uri())
    root = opened.locator(".explorer")
    assert "Undefined" in part(root, "summary").inner_text()
    for name in Counts._fields:
        assert part(root, f"count-{name}").inner_text() == "undefined"
        assert not part(root, f"people-{name}").get_attribute("d")
    assert "NaN" not in root.inner_text() and complaints == []
    context.close()


def test_two_on_a_page_do_not_disturb_each_other(page):
    first, second = page.locator(".explorer").all()
    before = shown(second)
    first.locator('[data-source="1"]').check()
    set_to(first, "setting", 40)
    assert shown(second) == before != shown(first)
    assert second.locator('[data-source="0"]').is_checked()
    identifiers = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(identifiers) == len(set(identifiers)) == 2


def test_marks_set_the_slider_and_belong_to_their_source(page, sources):
    root = page.locator(".explorer").first
    assert not root.get_by_role("button", name="validation").is_visible()
    root.locator('[data-source="1"]').check()
    assert part(root, "setting-text").inner_text() == "0.50"
    root.get_by_role("button", name="validation").click()
    assert part(root, "setting-text").inner_text() == "0.62"
    root.get_by_role("button", name="10 %").click()
    assert part(root, "prevalence").input_value() == "10"


def test_it_works_by_keyboard(page):
    root = page.locator(".explorer").first
    root.locator('[data-source="0"]').focus()
    page.keyboard.press("ArrowDown")
    assert root.locator('[data-source="1"]').is_checked()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert part(root, "setting-text").inner_text() == "0.52"
    assert part(root, "setting").get_attribute("aria-valuetext") == "0.52"
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert part(root, "prevalence-text").inner_text() == "34 %"


def test_text_is_escaped(page):
    root = page.locator(".explorer").first
    assert root.locator("label").first.inner_text().strip() == "published <counts> & more"
    assert part(root, "note").inner_text() == "A note with </script><b>marks</b>."
    assert root.locator("b", has_text="marks").count() == 0


def test_on_a_narrow_screen_nothing_sticks_out(browser, address):
    context = browser.new_context(viewport={"width": 390, "height": 900})
    opened = context.new_page()
    opened.goto(address)
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_without_scripts_a_table_stands_instead(browser, address, sources):
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(address)
    root = opened.locator(".explorer").first
    assert not part(root, "live").is_visible()
    assert root.locator("details table").count() == len(sources)
    text = root.locator("details table").first.inner_text()
    assert root.locator("details table").first.is_visible()
    value = operating.at_prevalence(
        sources[0].points.set_index(["setting", "measure"]).loc[(0.0, "ppv_half"), "estimate"],
        0.10,
        positive=True,
    )
    assert f"{100 * value:.1f} %" in text
    context.close()


CONTRAST = """(element) => {
  const parts = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(value => {
    const c = value / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  const luminance = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
  const paper = luminance(parts(getComputedStyle(element.closest('.explorer')).backgroundColor));
  const style = getComputedStyle(element);
  return [style.color, style.stroke].filter(c => c && c !== 'none').map(luminance_of);
  function luminance_of(colour) {
    const ink = luminance(parts(colour));
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  }
}"""


@pytest.mark.parametrize("colours", [("#ffffff", "#323232"), ("#14181e", "#ced6dd")])
def test_it_can_be_read_on_light_and_on_dark_pages(page, colours):
    """The two themes of the book; graphics need 3:1, text 4.5:1."""
    paper, ink = colours
    page.evaluate(
        "([paper, ink]) => { const s = document.documentElement.style;"
        "s.setProperty('--pst-color-background', paper);"
        "s.setProperty('--pst-color-text-base', ink); }",
        [paper, ink],
    )
    root = page.locator(".explorer").first
    for name in ("summary", "note", "prevalence-text"):
        assert part(root, name).evaluate(CONTRAST)[0] >= 4.5
    for name in ("people-tp", "people-tn"):
        assert part(root, name).evaluate(CONTRAST)[1] >= 3


def test_it_is_small_and_loads_nothing(sources):
    text = explorer.fragment(sources, key="a")
    assert len(text.encode()) <= 200_000
    assert not re.search(r"https?:|//[a-z]|\burl\(|@import|\bfetch\(|XMLHttp", text)
    assert text == explorer.fragment(sources, key="a"), "two runs differ"


def test_settings_and_their_texts_must_match(sources):
    wrong = explorer.Source(*list(vars(sources[0]).values())[:4], ("one",), 0.0, {}, "")
    with pytest.raises(ValueError, match="2 settings but 1 texts"):
        explorer.fragment([wrong], key="a")
