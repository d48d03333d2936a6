"""What a page shows of the maps: sections where the atlas says, clusters, words of a rule."""

import numpy as np
import pandas as pd
import pytest

from helpers import brain, brain_maps, brain_views, doses, talairach
from helpers.brain_maps import Space, Truth
from helpers.display import brain_maps as display_brain

SHAPE = (40, 48, 40)
AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])
AFFINE[:3, 3] = -78, -111, -72


@pytest.fixture(scope="module")
def looked():
    grid = np.moveaxis(np.indices(SHAPE), 0, -1)
    mask = np.linalg.norm((grid - np.array(SHAPE) / 2) / SHAPE, axis=-1) < 0.45
    place = talairach.to_mni((-30.0, -60.0, 15.0))
    ball = np.linalg.norm(grid * 4.0 + AFFINE[:3, 3] - place, axis=-1) < 10
    truth = Truth(ball.astype(np.uint8), 1.0 * ball, AFFINE, ("a",), place[None])
    rng = np.random.default_rng(0)
    noise = {kind: rng.normal(size=SHAPE) for kind in brain_maps.KINDS[:-2]}
    trained = noise | {"occlusion": noise["occlusion"] + 9 * ball}
    none = {"voxel difference": noise["occlusion"] - 2 * ball}
    maps = {"main": {"trained": trained, "random weights": noise, "none": none}}
    return brain_views.Looked(
        Space(AFFINE, True), mask, rng.normal(size=SHAPE), True, 30, 20, maps, truth
    )


def test_a_section_shows_what_lies_at_its_talairach_place(looked):
    """The ball at (-30, -60, 15): left and towards the back of the axial section at 15."""
    rows = brain_views.pictures(looked, "main", ("occlusion",), top_share=0.005)
    assert [row["network"] for row in rows] == ["trained", "random weights"]
    axial = rows[0]["sections"][0]
    assert (axial["axis"], axial["place"]) == ("z", 15.0)
    (x0, x1), (y0, y1), _ = brain_views.SEEN_MM
    down, across = np.argwhere(axial["chosen"] > 0).mean(axis=0)
    assert across + x0 == pytest.approx(-30, abs=4) and y1 - down == pytest.approx(-60, abs=4)
    assert axial["planted"][round(y1 + 60), round(-30 - x0)] == pytest.approx(1)
    assert axial["scan"].shape == (y1 - y0, x1 - x0)
    assert rows[0]["enrichment"] > 10 > rows[1]["enrichment"]


def test_scores_and_the_words_about_them(looked):
    scores = brain_views.measured(looked, top_share=0.01)
    assert set(scores["network"]) == {"trained", "random weights", "none"}
    assert brain_views.better(scores, "main") == "occlusion"
    quoted = brain_views.headline(scores, "main")
    assert quoted["occlusion"] > quoted["voxels"] > 1 and quoted["perfect"] >= quoted["occlusion"]
    shown = display_brain.readable_scores(scores)
    assert shown["Map"].tolist()[-1] == "planted change itself"
    assert "|" in shown.iloc[0, 1] and "|" not in shown.iloc[-1, 1]


def test_clusters_are_read_as_a_paper_prints_them(looked):
    found = brain_views.found_clusters(looked, "main", ["occlusion"], top_share=0.005, most=1)
    shown = display_brain.readable_clusters(found)
    assert shown.loc[0, "Nearest planted centre"] == "left posterior thalamic radiation"
    x, y, z = (int(n) for n in shown.loc[0, "Centre, Talairach"].replace("−", "-").split(","))
    assert np.allclose((x, y, z), (-30, -60, 15), atol=3)


def test_own_scans_have_no_scores_and_no_names(looked):
    own = looked._replace(truth=None, space=Space(AFFINE, False), shown=False)
    scores = brain_views.measured(own, top_share=0.05)
    assert scores.empty and "nothing is planted" in brain_views.better(scores, "main")
    assert np.isnan(list(brain_views.headline(scores, "main").values())).all()
    found = brain_views.found_clusters(own, "main", ["occlusion"], top_share=0.005, most=1)
    shown = display_brain.readable_clusters(found)
    assert shown.loc[0, ["Centre, MNI", "Centre, Talairach", "mm to it"]].tolist() == ["–"] * 3
    rows = brain_views.pictures(own, "main", ("occlusion",), top_share=0.05)
    inside = rows[0]["sections"][0]["scan"]
    assert inside.max() == pytest.approx(0.35), "a mean of few people must not be drawn"
    assert display_brain.readable_scores(scores).empty


def test_the_long_run_is_summed_over_its_seeds(monkeypatch):
    about = {"specification": {"effect_d": 0.5, "exaggerated_d": 2.0}}
    monkeypatch.setattr(brain, "description", lambda folder: about)
    rows = [
        {"effect_d": d, "pose": pose, "seed": seed, "map": "occlusion", "network": "trained"}
        | {"enrichment": d + seed, "dice": 0.1, "distance_mm": 9.0}
        for d in (0.0, 0.5, 2.0)
        for pose in ("registered", "as_scanned")
        for seed in range(5)
    ]
    stored = pd.DataFrame(rows).assign(date="2026-01-02", **doses.marks())
    monkeypatch.setattr(doses, "read", lambda name: stored)
    table, standing = brain_views.long_run("anywhere")
    assert table["effect"].unique().tolist() == ["realistic", "exaggerated"]
    first = table[(table["measure"] == "enrichment") & (table["effect"] == "exaggerated")].iloc[0]
    assert first["estimate"] == 4 and first["low"] < 4 < first["high"] and "5 seeds" in standing


def test_without_a_long_run_the_page_says_so(monkeypatch):
    def missing(name):
        raise FileNotFoundError(name)

    monkeypatch.setattr(brain, "description", lambda folder: {"synthetic": True})
    monkeypatch.setattr(doses, "read", missing)
    table, standing = brain_views.long_run("anywhere")
    assert table.empty and standing == "not measured yet"


def test_figures_are_drawn_with_and_without_what_may_be_missing(looked):
    rows = brain_views.pictures(looked, "main", brain_maps.KINDS[4:-1], top_share=0.05)
    assert len(display_brain.sections(rows).axes) == 12
    scores = brain_views.measured(looked, top_share=0.05).rename(columns={"series": "effect"})
    none = pd.DataFrame(columns=["effect", "map", "network", "measure", "estimate", "low", "high"])
    assert len(display_brain.localisation(none, scores).axes) == 3
    empty = scores.iloc[:0][["effect", "map", "network"]]
    assert len(display_brain.localisation(none, empty).axes) == 3
