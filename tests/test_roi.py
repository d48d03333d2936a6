"""The two legs: found, cut, left out; against the truth and on real scans."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers import cohort, features, images, networks, paths, roi, training
from helpers.images import SliceImage
from helpers.phantom import thigh

REAL = Path(os.environ.get("PAPER_TEST_DATA", paths.root() / ".." / "shared" / "data")) / "thigh"
needs_real_thighs = pytest.mark.skipif(
    not REAL.is_dir(), reason="PAPER_TEST_DATA has no thigh folder: real thighs are not here"
)
CHOICES = {"smoothing_mm": 1.5, "neck_fraction_max": 0.25, "leg_share_min": 0.1, "margin_mm": 4.0}


def legs(*, distance, radius=30, size=(100, 200), centre=99.5):
    rows, columns = np.mgrid[: size[0], : size[1]]
    discs = [
        np.hypot(rows - size[0] / 2, columns - centre - side * distance / 2) < radius
        for side in (-1, 1)
    ]
    return SliceImage(100.0 * (discs[0] | discs[1]), (1.0, 1.0))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A results folder with 36 slices of 12 people."""
    folder = tmp_path_factory.mktemp("results") / "small"
    names = ("DMD", "BMD", "Myositis", "Neurogenic", "LGMD2B", "GNE")
    rows, slices, boxes = [], [], []
    for number in range(12):
        row = {
            "case_id": f"thigh-{number:04d}",
            "diagnosis": names[number % 6],
            "dystrophinopathy": int(number % 6 < 2),
            "sex": "F" if number > 7 else "M",
            "age_years": (10.0, 25.0, 45.0, 60.0, 30.0, 35.0)[number % 6],
            "disease_course_years": 5.0,
            "field_strength_tesla": (1.5, 3.0)[number % 2],
            "split": "test",
        }
        recipe = {"row": row, "contact": ("apart", "apart", "pressed"), "seed": 4}
        written = thigh.write_case(recipe, folder=folder / "cohort" / "thigh", matrix=256)
        rows.append(row)
        slices += written[0]
        boxes += written[1]
    cohort.write_tables(
        folder / "cohort" / "thigh", pd.DataFrame(rows), pd.DataFrame(slices), {"synthetic": True}
    )
    pd.DataFrame(boxes).to_csv(folder / "cohort" / "thigh" / "truth" / "legs.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def located(results):
    slices = pd.read_csv(results / "cohort" / "thigh" / "slices.csv")
    return roi.locate_all(slices, folder=results, **CHOICES)


def test_two_discs_are_two_legs_by_the_patients_side():
    found = roi.locate_legs(legs(distance=80), **CHOICES | {"margin_mm": 0})
    assert found.reason == "" and np.isnan(found.neck_fraction)
    assert found.boxes["right"][3] < found.boxes["left"][1]
    for box in found.boxes.values():
        assert box[2] - box[0] == pytest.approx(60, abs=2)


def test_a_narrow_bridge_is_cut_and_a_broad_one_is_not():
    narrow = roi.locate_legs(legs(distance=61), **CHOICES)
    assert narrow.reason == "" and 0 < narrow.neck_fraction <= 0.25
    assert narrow.cut_column == pytest.approx(99.5, abs=1)
    broad = roi.locate_legs(legs(distance=50), **CHOICES)
    assert broad.reason == roi.NOT_SEPARABLE and broad.boxes == {}
    assert roi.locate_legs(legs(distance=50), **CHOICES | {"neck_fraction_max": 1.0}).boxes


def test_the_mirrored_slice_gives_mirrored_boxes():
    image = legs(distance=70, centre=90)
    mirrored = SliceImage(image.pixels[:, ::-1], image.spacing_mm)
    one, two = (roi.locate_legs(i, **CHOICES).boxes for i in (image, mirrored))
    width = image.pixels.shape[1]
    for side, other in (("right", "left"), ("left", "right")):
        row0, col0, row1, col1 = one[side]
        assert two[other] == (row0, width - col1, row1, width - col0)


def test_an_empty_slice_has_a_reason_and_a_speck_is_no_leg():
    assert roi.locate_legs(SliceImage(np.zeros((50, 50)), (1, 1)), **CHOICES).reason == roi.NO_LEGS
    image = legs(distance=80)
    image.pixels[2:6, 2:6] = 100
    assert len(roi.locate_legs(image, **CHOICES).boxes) == 2


def test_brightness_and_pixel_size_do_not_matter():
    image = legs(distance=80)
    brighter = SliceImage(image.pixels * 37 + 5, image.spacing_mm)
    assert roi.locate_legs(image, **CHOICES).boxes == roi.locate_legs(brighter, **CHOICES).boxes
    fine = SliceImage(np.kron(image.pixels, np.ones((2, 2))), (0.5, 0.5))
    for side, box in roi.locate_legs(fine, **CHOICES).boxes.items():
        assert np.allclose(np.array(box) / 2, roi.locate_legs(image, **CHOICES).boxes[side], atol=1)


def test_free_legs_are_found_and_pressed_ones_left_out(results, located):
    compared = roi.against_truth(located, roi.read_truth(results))
    free, pressed = (compared[compared.separable == value] for value in (1, 0))
    assert free.included.mean() >= 0.95
    assert pressed.included.mean() <= 0.5
    assert free.overlap.mean() > 0.85 and free.overlap.min() > 0.75
    assert free.covered.mean() > 0.99


def test_without_a_margin_the_windows_fit_the_truth(results):
    slices = pd.read_csv(results / "cohort" / "thigh" / "slices.csv").head(9)
    table = roi.locate_all(slices, folder=results, **CHOICES | {"margin_mm": 0.0})
    compared = roi.against_truth(table, roi.read_truth(results))
    assert compared[compared.separable == 1].overlap.mean() > 0.94


def test_the_table_has_two_legs_a_slice_and_a_reason_for_each_loss(located):
    assert list(located.columns)[:-1] == roi.COLUMNS
    assert (located.groupby("slice_id").size() == 2).all() and located.image_id.is_unique
    lost = located[located.status == "excluded"]
    assert len(lost) and (lost.reason == roi.NOT_SEPARABLE).all() and lost.row0.isna().all()
    kept = located[located.status == "included"]
    assert (kept.reason == "").all() and (kept.row1 > kept.row0).all()


def test_varying_the_limit_agrees_with_running_again(results, located):
    slices = pd.read_csv(results / "cohort" / "thigh" / "slices.csv")
    limits = [0.05, 0.25, 1.0]
    again = [
        roi.locate_all(
            slices,
            folder=results,
            **CHOICES | {"neck_fraction_max": limit},
        )
        for limit in limits
    ]
    expected = [int((table.status == "included").sum()) for table in again]
    assert roi.kept_at(located, limits)["leg images"].tolist() == expected


def test_no_truth_is_needed_to_find_legs_or_to_feed_networks(results, located, tmp_path):
    copy = tmp_path / "blind"
    shutil.copytree(results, copy)
    shutil.rmtree(copy / "cohort" / "thigh" / "truth")
    slices = pd.read_csv(copy / "cohort" / "thigh" / "slices.csv")
    again = roi.locate_all(slices, folder=copy, **CHOICES)
    pd.testing.assert_frame_equal(again, located)
    assert roi.read_truth(copy).empty
    assert roi.against_truth(again, roi.read_truth(copy)).empty
    for module in (images, features, networks, training):
        assert "truth" not in Path(module.__file__).read_text()


def test_an_unreadable_file_is_an_excluded_image(tmp_path):
    (tmp_path / "a.dcm").write_text("no image")
    row = {"slice_id": "a", "case_id": "b", "file": "a.dcm", "frame": 0, "slice_position_mm": 0.0}
    table = roi.locate_all(pd.DataFrame([row]), folder=tmp_path, processes=1, **CHOICES)
    assert table.reason.tolist() == [roi.UNREADABLE] * 2


@needs_real_thighs
@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("Thigh_001_0000.nii.gz", range(0, 11)),
        ("Thigh_001_0001.nii.gz", range(0, 11)),
        ("ff__ge__thigh__input__40006-ORIG_DIXON_TE_345_TH-0000.nii.gz", range(0, 6)),
        ("ff__siemens__thigh__input__0006-Dixon_TE_345_th.nii.gz", range(0, 9)),
    ],
)
def test_real_thighs_below_the_groin_are_found(name, frames):
    for frame in frames:
        image = images.read_slice(REAL / name, frame)
        found = roi.locate_legs(image, **CHOICES)
        assert found.reason == "", f"{name} frame {frame}"
        right, left = found.boxes["right"], found.boxes["left"]
        assert right[1] < left[1] and roi.overlap(right, left) < 0.1
        for row0, col0, row1, col1 in (right, left):
            edges = (row1 - row0) * image.spacing_mm[0], (col1 - col0) * image.spacing_mm[1]
            assert all(90 < edge < 230 for edge in edges)


@needs_real_thighs
@pytest.mark.parametrize("frame", [14, 15])
def test_real_hips_are_left_out(frame):
    image = images.read_slice(REAL / "Thigh_001_0000.nii.gz", frame)
    assert roi.locate_legs(image, **CHOICES).reason == roi.NOT_SEPARABLE


@needs_real_thighs
def test_a_real_foot_is_left_out():
    path = REAL / "ff__siemens__foot__input__0026-dix3d_TR23_fa05_460.nii.gz"
    for frame in (60, 80, 120):
        assert roi.locate_legs(images.read_slice(path, frame), **CHOICES).boxes == {}
