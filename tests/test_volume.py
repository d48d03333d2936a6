"""The volume viewer in a real browser: it shows the volumes it was given, and nobody's own."""

import os
import re
import shutil

import numpy as np
import pytest

from helpers import brain_maps, brain_views, talairach
from helpers.brain_maps import Space, Truth
from helpers.display import volume

BROWSER_FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
]
SHAPE = (20, 24, 20)
AFFINE = np.diag([8.0, 8.0, 8.0, 1.0])
AFFINE[:3, 3] = -76, -109, -70
BRIGHT = (14, 16, 12)


def looked(*, atlas=True, shown=True, series="as <b>scanned</b>"):
    """A ball of a head with one strong voxel in its first map."""
    grid = np.moveaxis(np.indices(SHAPE), 0, -1)
    mask = np.linalg.norm((grid - np.array(SHAPE) / 2) / SHAPE, axis=-1) < 0.45
    rng = np.random.default_rng(0)
    maps = {kind: rng.uniform(size=SHAPE) for kind in brain_maps.KINDS[:-2]}
    maps["mean conv1"][BRIGHT] = 9.0
    labels = np.zeros(SHAPE, np.uint8)
    labels[13:16, 15:18, 11:14] = 1
    centres = np.array([BRIGHT]) * 8.0 + AFFINE[:3, 3]
    truth = Truth(labels, 1.0 * (labels > 0), AFFINE, ("a",), centres) if atlas else None
    networks = {"trained": maps, "random weights": maps}
    scan = np.where(mask, rng.normal(size=SHAPE), 0)
    space = Space(AFFINE, atlas)
    return brain_views.Looked(space, mask, scan, shown, 4, 3, {series: networks}, truth)


def page_of(folder, view, label="phantom"):
    both = "".join(volume.fragment(view, label=label, key=key) for key in "ab")
    place = folder / "page.html"
    place.write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>x</title>'
        f'<meta name="viewport" content="width=device-width"></head><body>{both}</body></html>',
        encoding="utf-8",
    )
    return place.as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp("viewer"), brain_views.view(looked()))


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
    opened, complaints = context.new_page(), []
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


def go_to(root, view, place):
    """Move the crosshair to a voxel of the cohort's grid."""
    corner = np.round((view.space.affine[:3, 3] - AFFINE[:3, 3]) / 8).astype(int)
    for name, at in zip(("sagittal", "coronal", "axial"), np.array(place) - corner, strict=True):
        set_to(root, f"slide-{name}", int(at))


ORANGE = """(canvas) => {
  const copy = document.createElement('canvas');
  copy.width = canvas.width;
  copy.height = canvas.height;
  const context = copy.getContext('2d', { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, copy.width, copy.height);
  let found = 0;
  for (let i = 0; i < data.length; i += 4) if (data[i] > data[i + 2] + 60) found += 1;
  return found;
}"""


def test_the_crosshair_says_where_it_is_in_both_spaces_and_how_active_it_is(page):
    root, view = page.locator(".volume").first, brain_views.view(looked())
    go_to(root, view, BRIGHT)
    point = np.array(BRIGHT) * 8.0 + AFFINE[:3, 3]
    words = part(root, "where").inner_text().replace("−", "-")
    mni, tal = (
        [int(n) for n in re.search(rf"{name} \(([^)]*)\)", words).group(1).split(",")]
        for name in ("MNI", "Talairach")
    )
    assert mni == np.round(point).astype(int).tolist()
    assert np.allclose(tal, talairach.from_mni(point), atol=0.51)
    name, away = brain_maps.nearest_region(point)
    assert f"{name}, {away:.0f} mm" in words
    assert "among the 0.2 % most active" in words
    go_to(root, view, (BRIGHT[0], BRIGHT[1], 19))
    assert "outside the head" in part(root, "where").inner_text()


def test_the_share_and_the_opacity_change_what_is_drawn(page):
    root = page.locator(".volume").first
    go_to(root, brain_views.view(looked()), BRIGHT)
    drawn = {}
    for share in (1, 10, 30):
        set_to(root, "share", share)
        drawn[share] = part(root, "axial").evaluate(ORANGE)
    assert 0 < drawn[1] < drawn[10] < drawn[30]
    set_to(root, "opacity", 0)
    assert part(root, "axial").evaluate(ORANGE) == 0


def test_a_click_moves_the_other_slices(page):
    root = page.locator(".volume").first
    before = part(root, "slide-sagittal").input_value()
    box = part(root, "axial").bounding_box()
    part(root, "axial").click(position={"x": 0.25 * box["width"], "y": 0.5 * box["height"]})
    shape = brain_views.view(looked()).mask.shape
    assert part(root, "slide-sagittal").input_value() == str(int(0.25 * shape[0])) != before
    part(root, "go").select_option(label="corpus callosum")
    assert "corpus callosum" in part(root, "where").inner_text()


def test_it_works_by_keyboard_and_is_labelled(page):
    root = page.locator(".volume").first
    slider = part(root, "slide-axial")
    slider.focus()
    before = slider.input_value()
    page.keyboard.press("ArrowRight")
    assert int(slider.input_value()) == int(before) + 1
    assert "mm Talairach" in slider.get_attribute("aria-valuetext")
    assert "axial slice" in part(root, "axial").get_attribute("aria-label")
    part(root, "map").focus()
    page.keyboard.press("ArrowDown")
    assert part(root, "map").input_value() == "1"
    for name in ("axial", "coronal", "sagittal", "Opacity", "voxels shown", "Map", "outline"):
        assert root.get_by_label(re.compile(name)).count(), name


def test_two_on_a_page_do_not_disturb_each_other(page):
    first, second = page.locator(".volume").all()
    before = part(second, "where").inner_text()
    set_to(first, "slide-axial", 3)
    assert part(second, "where").inner_text() == before
    identifiers = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(identifiers) == len(set(identifiers)) == 2


def test_text_is_escaped_and_the_evidence_is_named(page):
    root = page.locator(".volume").first
    assert part(root, "map").locator("option").first.inner_text().endswith("as <b>scanned</b>)")
    assert root.locator("b").count() == 0
    assert root.locator(".evidence-phantom").inner_text() == "phantom"


def test_without_scripts_a_picture_stands_instead(browser, address):
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(address)
    root = opened.locator(".volume").first
    assert root.locator("img").is_visible() and not part(root, "live").is_visible()
    assert root.locator("img").evaluate("picture => picture.naturalWidth") > 100
    context.close()


def test_on_a_narrow_screen_nothing_sticks_out(browser, address):
    context = browser.new_context(viewport={"width": 390, "height": 900})
    opened = context.new_page()
    opened.goto(address)
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not opened.locator(".volume").first.locator("img").is_visible()
    context.close()


def test_own_scans_without_an_atlas_have_no_names_and_few_people_no_mean_scan(browser, tmp_path):
    view = brain_views.view(looked(atlas=False, shown=False))
    text = volume.fragment(view, label="your data", key="c")
    assert view.scan is None and view.planted is None and '"scan":""' in text
    assert "corpus callosum" not in text and "one person" in text
    context = browser.new_context()
    opened = context.new_page()
    opened.goto(page_of(tmp_path, view, label="your data"))
    root = opened.locator(".volume").first
    assert "no place has a name" in part(root, "where").inner_text()
    assert "Talairach" not in root.inner_text() and part(root, "go").count() == 0
    context.close()


@pytest.mark.parametrize(
    ("paper", "ink"),
    [("rgb(255, 255, 255)", "rgb(50, 50, 50)"), ("rgb(20, 24, 30)", "rgb(206, 214, 221)")],
)
def test_it_takes_the_colours_of_light_and_dark_pages(page, paper, ink):
    page.evaluate(
        "([paper, ink]) => { const s = document.documentElement.style;"
        "s.setProperty('--pst-color-background', paper);"
        "s.setProperty('--pst-color-text-base', ink); }",
        [paper, ink],
    )
    root = page.locator(".volume").first
    style = root.evaluate("e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color]")
    assert style == [paper, ink]
    assert part(root, "where").evaluate("e => getComputedStyle(e).color") == ink


def test_it_is_small_loads_nothing_and_is_the_same_twice():
    view = brain_views.view(looked())
    text = volume.fragment(view, label="phantom", key="a")
    assert text == volume.fragment(view, label="phantom", key="a")
    script = re.sub(r"base64,[A-Za-z0-9+/=]+|\"[A-Za-z0-9+/=]{40,}\"", "", text)
    assert not re.search(r"https?:|//[a-z]|\burl\(|@import|\bfetch\(|XMLHttp", script)


def test_at_the_grid_of_the_published_size_it_stays_below_one_and_a_half_megabytes():
    inside = 29_000  # voxels of 4 mm inside the template's brain
    mask = np.zeros((40, 46, 38), bool)
    mask.flat[np.random.default_rng(0).choice(mask.size, inside, replace=False)] = True
    levels = np.random.default_rng(1).integers(0, 256, inside).astype(np.uint8)
    kinds = brain_maps.KINDS
    maps = [(s, "trained", k, levels) for s in ("a", "b") for k in kinds[:-2]]
    maps += [(s, "none", "voxel difference", levels) for s in ("a", "b")]
    maps += [("b", "random weights", k, levels) for k in kinds[:-2]]
    view = brain_views.View(Space(AFFINE, True), mask, levels, levels, maps, 120)
    assert len(volume.fragment(view, label="phantom", key="a").encode()) < 1_500_000


def test_a_fine_grid_is_averaged_to_four_millimetres():
    fine = looked()
    two = fine.space.affine.copy()
    two[:3, :3] /= 4  # 2 mm
    view = brain_views.view(fine._replace(space=Space(two, True)))
    assert view.space.affine[0, 0] == 4
    whole = np.argwhere(view.mask).mean(axis=0) * 4 + view.space.affine[:3, 3]
    expected = np.argwhere(fine.mask).mean(axis=0) * 2 + two[:3, 3]
    assert np.allclose(whole, expected, atol=1)


def test_levels_rank_the_voxels_inside():
    values = np.arange(1000.0).reshape(10, 10, 10) - 300
    mask = np.ones((10, 10, 10), bool)
    found = brain_views.levels(values, mask)
    share = (found >= 255 * (1 - 2 * 0.05)).mean()
    assert share == pytest.approx(0.05, abs=0.003) and found[-1] == 255
    assert not brain_views.levels(np.ones((2, 2, 2)), np.ones((2, 2, 2), bool)).any()
