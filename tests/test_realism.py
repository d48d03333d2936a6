"""Phantom against real scans: what the measures say of images whose truth is simple."""

import importlib.util

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from helpers import paths, realism
from helpers.images import SliceImage

_spec = importlib.util.spec_from_file_location(
    "real_thighs", paths.root() / "benchmarks" / "real_thighs.py"
)
real_thighs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(real_thighs)

SPACING = (0.8, 0.6)


def two_legs(*, blur_mm=1.0, noise=0.0, distance=160.0, fat=2000.0, seed=0):
    """Two discs of fat, 70 mm in radius, with muscle inside 45 mm; muscle is .3 of fat."""
    shape = (240, 560)
    y, x = ((np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, SPACING, strict=True))
    radius = np.minimum(*(np.hypot(y[:, None], x[None] - s * distance / 2) for s in (-1, 1)))
    pixels = np.where(radius < 45, 0.3, np.where(radius < 70, 1.0, 0.0))
    pixels = ndimage.gaussian_filter(pixels, [blur_mm / step for step in SPACING])
    rng = np.random.default_rng(seed)
    channels = pixels + noise * rng.standard_normal((2, *shape)) * np.array([[[1]], [[1j]]])
    return SliceImage(fat * np.abs(channels.sum(axis=0) - pixels), SPACING)


def test_size_and_distance_are_in_millimetres_whatever_the_pixels_shape():
    table = realism.measured(two_legs())
    assert len(table) == 2
    assert table.width.to_numpy() == pytest.approx(141, abs=2)
    assert table.height.to_numpy() == pytest.approx(141, abs=2)
    assert table.area.to_numpy() == pytest.approx(np.pi * 7.0**2, rel=0.03)
    assert table.gap.to_numpy() == pytest.approx(20, abs=2)


@pytest.mark.parametrize("blur", [0.6, 1.0])
def test_an_edge_blurred_by_a_gaussian_rises_over_2_56_standard_deviations(blur):
    table = realism.measured(two_legs(blur_mm=blur))
    # Linear interpolation between pixels blurs a little more.
    for name in ("skin edge", "fat to muscle edge"):
        assert table[name].to_numpy() == pytest.approx(2.563 * blur, rel=0.12), name


def test_a_noise_free_edge_has_no_contrast_and_noise_is_found_again():
    quiet = realism.measured(two_legs())
    assert (quiet["contrast in 3 mm"] < 1e-6).all()
    assert quiet["noise in air"].isna().all(), "air of zeros is air that was dimmed"
    noisy = realism.measured(two_legs(noise=0.02))
    assert noisy["noise in air"].to_numpy() == pytest.approx(0.02, rel=0.03)
    assert noisy["contrast in 3 mm"].to_numpy() == pytest.approx(0.02 / 0.3, rel=0.1)


def test_intensities_are_relative_to_fat_and_add_up():
    for fat in (1.0, 2000.0):
        table = realism.measured(two_legs(fat=fat))
        shares = table[[f"intensity {low:g}" for low in realism.BINS]]
        assert shares.sum(axis=1).to_numpy() == pytest.approx(1)
        muscle = table[["intensity 0.25", "intensity 0.3"]].sum(axis=1)
        assert muscle.to_numpy() == pytest.approx((45 / 70) ** 2, rel=0.1)


def test_legs_in_contact_are_parted_and_one_body_is_refused():
    parts = realism.outlines(two_legs(distance=141))
    assert parts.max() == 2
    assert (parts == 1).sum() == pytest.approx((parts == 2).sum(), rel=0.02)
    with pytest.raises(realism.NoTwoLegs, match="joined"):
        realism.outlines(two_legs(distance=90))
    with pytest.raises(realism.NoTwoLegs, match="one value"):
        realism.outlines(SliceImage(np.zeros((9, 9)), SPACING))
    assert realism.of_slices([SliceImage(np.zeros((9, 9)), SPACING)]).empty


def test_a_profile_that_does_not_rise_has_no_width():
    flat = np.ones((1, 50))
    assert np.isnan(realism.rise_mm(flat, step_mm=0.1)).all()
    assert np.isnan(realism.rise_mm(flat * np.linspace(1, 0, 50), step_mm=0.1)).all()


def test_water_and_fat_are_weighted_to_the_levels_of_a_spin_echo():
    whole = two_legs(fat=1.0)
    muscle = np.where(whole.pixels < 0.6, whole.pixels / 0.3, 0) * (whole.pixels > 0.2)
    water = SliceImage(700 * muscle, SPACING)
    fat = SliceImage(3000 * np.where(whole.pixels > 0.6, whole.pixels, 0), SPACING)
    joined = realism.weighted_sum(water, fat, muscle_over_fat=0.27)
    centre = (120, 560 // 2 + round(80 / SPACING[1]))
    assert joined.pixels[centre] == pytest.approx(0.27, rel=0.01)
    assert np.percentile(joined.pixels, 99) == pytest.approx(1, rel=0.01)


def test_the_cohort_is_set_beside_what_is_fair_to_compare():
    same = realism.summary(realism.measured(two_legs(noise=0.02)))
    compared = realism.beside_real(same)
    assert set(compared.volume) == {realism.COHORT, *real_thighs.VOLUMES}
    stored_all = realism.real()
    for kind, names in realism.FAIR.items():
        stored = stored_all.measure[stored_all.kind == kind]
        assert set(stored.str.replace(r"^intensity .*", "intensity", regex=True)) <= set(names)
    ratio = realism.ratios(compared)
    edges = realism.real().query("measure == 'skin edge'").p50
    own = same.set_index("measure").p50["skin edge"]
    assert ratio["skin_edge"] == pytest.approx(own / edges.median())
    assert ratio["area"] < 1


def test_an_empty_cohort_gives_undefined_percentiles():
    empty = realism.summary(pd.DataFrame())
    assert (empty.legs == 0).all() and empty.p50.isna().all()


def test_only_aggregates_of_real_scans_are_kept():
    stored = realism.real()
    assert stored.licence.isin(["Apache-2.0", "MIT"]).all() and stored.source.notna().all()
    assert (stored.p10 <= stored.p50).all() and (stored.p50 <= stored.p90).all()
    assert len(stored) < 100 and stored.legs.min() >= 10


@pytest.mark.skipif(
    not real_thighs.folder().is_dir(), reason="PAPER_TEST_DATA has no real test data of thighs"
)
def test_the_aggregates_are_those_of_the_real_scans():
    again = real_thighs.aggregates(real_thighs.folder())
    pd.testing.assert_frame_equal(again, realism.real(), rtol=1e-3)
