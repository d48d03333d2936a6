"""Reading brains: orientation, voxel size, place in the box, and scale."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from helpers import brain, cohort, head_box, paths
from helpers.phantom import brain_head
from helpers.volumes import Volume

REAL = paths.real_data() / "brain"
needs_real_heads = pytest.mark.skipif(
    not REAL.is_dir(), reason="PAPER_TEST_DATA has no brain folder: real heads are not here"
)


def blob(shape=(44, 52, 44)):
    x, y, z = np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2
    ball = (x / 15) ** 2 + (y / 19) ** 2 + (z / 16) ** 2 < 1
    return (ball * (100 + 3 * x + 2 * y + z)).astype(np.float32)


def overlap(one, two):
    return 2 * np.sum(one & two) / (one.sum() + two.sum())


def write(folder, name, volume, affine):
    image = nib.Nifti1Image(volume, affine)
    image.set_sform(affine, code=1)
    nib.save(image, folder / name)
    return folder / name


def table(**changes):
    row = {
        "subject_id": "a",
        "group": "LD",
        "sex": "F",
        "age_years": 50.0,
        "site": "1",
        "split": "training",
        "file": "a.nii.gz",
    }
    return pd.DataFrame([row | changes])


def test_published_counts_add_up_to_the_printed_totals():
    counts = pd.DataFrame(brain.PUBLISHED_COUNTS, columns=["split", "group", "n"])
    assert counts["n"].sum() == 612
    assert counts.groupby("group")["n"].sum().to_dict() == {
        "BSP": 54,
        "CD": 59,
        "LD": 279,
        "control": 220,
    }
    assert counts.query("split == 'validation'")["n"].sum() == 172


@pytest.mark.parametrize("codes", ["RAS", "LAS", "PSR", "ASL"])
def test_every_orientation_is_read_as_the_same_head(tmp_path, codes):
    volume, affine = blob(), np.diag([4.0, 4, 4, 1])
    plain = nib.Nifti1Image(volume, affine)
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes)
    )
    nib.save(plain.as_reoriented(turn), tmp_path / "turned.nii.gz")
    expected = brain.read_volume(write(tmp_path, "a.nii.gz", volume, affine), voxel_mm=4.0)
    got = brain.read_volume(tmp_path / "turned.nii.gz", voxel_mm=4.0)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_finer_scan_is_resampled_to_the_asked_voxel_size(tmp_path):
    coarse = blob((45, 53, 45))
    # Odd sizes and one centre: both grids then have a voxel at the same middle.
    fine = ndimage.zoom(coarse, (89 / 45, 105 / 53, 89 / 45), order=1)
    one = write(tmp_path, "fine.nii.gz", fine, np.diag([2.0, 2, 2, 1]))
    two = write(tmp_path, "coarse.nii.gz", coarse, np.diag([4.0, 4, 4, 1]))
    got, expected = (brain.read_volume(path, voxel_mm=4.0) for path in (one, two))
    assert got.shape == expected.shape == (40, 48, 40)
    inner = ndimage.binary_erosion(expected != 0, iterations=3)
    assert np.corrcoef(got[inner], expected[inner])[0, 1] > 0.98


def test_scale_and_offset_of_the_scanner_do_not_matter(tmp_path):
    affine = np.diag([4.0, 4, 4, 1])
    one = brain.read_volume(write(tmp_path, "a.nii.gz", blob(), affine), voxel_mm=4.0)
    two = brain.read_volume(write(tmp_path, "b.nii.gz", 7 * blob(), affine), voxel_mm=4.0)
    np.testing.assert_allclose(one, two, atol=1e-4)
    head = one[one != 0]
    assert abs(head.mean()) < 0.01 and abs(head.std() - 1) < 0.01


def test_a_wrong_table_is_answered_with_every_problem(tmp_path):
    path = tmp_path / "subjects.csv"
    table(group="LDD", age_years=500.0).drop(columns="sex").to_csv(path, index=False)
    with pytest.raises(cohort.InvalidCohort) as error:
        brain.read_subjects(path)
    for text in ("'sex' is missing", "LDD", "500", "LD, CD, BSP, control"):
        assert text in str(error.value)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("tremor", ""),
        ("essential tremor", ""),
        ("Control", "did you mean 'control'?"),
        ("contol", "did you mean 'control'?"),
        ("HC", "did you mean 'control'?"),
        ("LDD", "did you mean 'LD'?"),
        ("<b>x</b>", "expected a word of letters, digits, '-' and '_'"),
        ("a" * 30, "expected a word of letters, digits, '-' and '_'"),
    ],
)
def test_own_groups_may_have_any_name_but_a_misspelt_one(name, problem):
    assert brain.group_problem(name) == problem


def test_own_groups_count_as_patients_and_are_counted(tmp_path):
    path = tmp_path / "subjects.csv"
    rows = [table(subject_id=g, group=g) for g in ("tremor", "control")]
    pd.concat(rows).to_csv(path, index=False)
    subjects = brain.read_subjects(path)
    assert subjects["patient"].tolist() == [1, 0]
    counted = brain.counts(subjects).set_index(["set", "group"])
    assert counted.loc[("training", "tremor"), "here"] == 1
    assert pd.isna(counted.loc[("training", "tremor"), "published"])


def head(*, shift=(0.0, 0.0, 0.0), neck=True):
    """An egg of a head's size on a 4 mm grid, as it lies in space; shift in mm."""
    shape = (56, 68, 64)
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = -4 * (np.array(shape) - 1) / 2
    places = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3] - shift
    x, y, z = np.moveaxis(places, -1, 0)
    distance = np.sqrt((x / 76) ** 2 + (y / 94) ** 2 + (z / 85) ** 2)
    inside = np.clip((1.05 - distance) / 0.05, 0, 1)
    if neck:
        low = np.clip(-z / 4, 0, 1)
        inside = np.maximum(inside, low * np.clip((58 - np.hypot(x, y)) / 4, 0, 1))
    return Volume((900 * inside).astype(np.float32), affine)


def centre_of(volume):
    found = head_box.coarse(head_box.averaged(volume, 4.0))
    return np.array(head_box.head_centre(found, head_box.head_mask(found)))


def test_the_box_follows_the_head_by_parts_of_a_voxel():
    still = centre_of(head())
    for shift in ((1.0, 0.0, 0.0), (0.0, -2.0, 0.0), (0.0, 0.0, 1.7), (5.3, 2.2, -3.1)):
        moved = centre_of(head(shift=shift))
        np.testing.assert_allclose(moved - still, shift, atol=0.35)


def test_the_box_is_centred_on_the_head_and_hangs_above_it():
    centre = centre_of(head())
    np.testing.assert_allclose(centre[:2], 0, atol=0.5)
    top = centre[2] + brain.BOX_MM[2] / 2
    assert 2 < top - 85 * 1.05 < 14
    # A neck that reaches farther down moves nothing.
    np.testing.assert_allclose(centre, centre_of(head(neck=False)), atol=3.0)


def test_registered_heads_share_one_box_whatever_their_extent():
    options = {"voxel_mm": 4.0, "placement": "world", "brain_input": "raw"}
    one, two = (brain.in_box(head(shift=s), **options) for s in ((0, 0, 0), (8.0, 0, 0)))
    assert np.abs(one - two).max() > 0.5
    np.testing.assert_allclose(one[:-2], two[2:], atol=0.02)


def test_the_world_box_cuts_the_phantoms_grid_without_interpolating():
    assert tuple(brain_head.BOX_CENTRE_MM) == brain.BOX_CENTRE_MM
    axes = brain_head.grid(4.0)
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = [axis[0] for axis in axes]
    values = np.random.default_rng(1).random([len(axis) for axis in axes]).astype(np.float32)
    grid = head_box.averaged(Volume(values, affine), 4.0)
    box = head_box.boxed(grid, voxel_mm=4.0, centre_mm=brain.BOX_CENTRE_MM)
    np.testing.assert_array_equal(box, values[2:-2, 2:-2, 2:-2])


def test_a_turned_scanner_grid_is_the_same_head_again():
    straight = head(neck=False)
    angle = np.radians(12)
    turn = np.eye(4)
    turn[:3, :3] = [
        [np.cos(angle), -np.sin(angle), 0],
        [np.sin(angle), np.cos(angle), 0],
        [0, 0, 1],
    ]
    # The same picture sampled on a grid that lies askew in space.
    affine = turn @ straight.affine
    back = np.linalg.inv(straight.affine) @ affine
    values = ndimage.affine_transform(straight.values, back[:3, :3], back[:3, 3], order=1)
    options = {"voxel_mm": 4.0, "placement": "head", "brain_input": "raw"}
    one = brain.in_box(straight, **options)
    two = brain.in_box(Volume(values, affine), **options)
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.99


def test_raw_keeps_every_ratio_and_standardised_does_not():
    volume = head()
    options = {"voxel_mm": 4.0, "placement": "head"}
    raw = brain.in_box(volume, brain_input="raw", **options)
    plain = brain.in_box(volume, brain_input="standardised", **options)
    assert raw.min() == 0 and 0.99 <= raw.max() < 1.1
    inside = plain != 0
    assert abs(plain[inside].mean()) < 0.01 and abs(plain[inside].std() - 1) < 0.01
    kept = np.corrcoef(raw[inside], plain[inside])[0, 1]
    assert kept > 0.999
    with pytest.raises(ValueError, match="standardised, raw"):
        brain.in_box(volume, brain_input="row", **options)


def test_blocks_are_averaged_before_anything_is_resampled():
    fine = np.indices((64, 64, 64)).sum(0) % 2 * 100.0
    grid = head_box.averaged(Volume(fine, np.eye(4)), 4.0)
    assert grid.values.shape == (16, 16, 16)
    np.testing.assert_allclose(grid.values, 50.0)
    np.testing.assert_allclose(grid.affine[:3, 3], 1.5)


def test_true_values_are_those_of_slope_and_intercept():
    stored = np.arange(4096, dtype=np.int16).reshape(16, 16, 16)
    grid = head_box.averaged(Volume(stored, np.eye(4), slope=2.0, intercept=-5.0), 1.0)
    np.testing.assert_allclose(grid.values, 2.0 * stored - 5.0)


def test_a_cohort_says_how_it_is_read(tmp_path):
    assert brain.reading(tmp_path) == {"placement": "head", "brain_input": "standardised"}
    folder = tmp_path / "cohort" / "brain"
    folder.mkdir(parents=True)
    for about, expected in (
        ({"voxel_mm": 4.0, "pose": "registered"}, ("world", "standardised")),
        ({"voxel_mm": 4.0, "pose": "as_scanned", "brain_input": "raw"}, ("head", "raw")),
        ({"voxel_mm": 4.0, "placement": "head"}, ("head", "standardised")),
    ):
        (folder / "cohort.json").write_text(json.dumps(about))
        found = brain.reading(tmp_path)
        assert (found["placement"], found["brain_input"]) == expected


def test_a_scan_without_a_head_is_answered_and_not_divided_by(tmp_path):
    path = write(
        tmp_path, "a.nii.gz", np.full((20, 20, 20), 7.0, np.float32), np.diag([4.0] * 3 + [1])
    )
    for placement in ("head", "world"):
        with pytest.raises(brain.UnusableBrains, match="no head"):
            brain.read_volume(path, voxel_mm=4.0, placement=placement)


@needs_real_heads
@pytest.mark.parametrize("kind", ["ixi", "ds002748"])
def test_real_heads_are_read(kind):
    for path in sorted((REAL / kind).glob("*.nii.gz"))[:3]:
        volume = brain.read_volume(path, voxel_mm=4.0)
        assert volume.shape == (40, 48, 40) and volume.dtype == np.float32
        head = volume != 0
        assert 0.2 < head.mean() < 0.8
        assert abs(volume[head].std() - 1) < 0.2
        # Alike from side to side, not from top to bottom: the axes are in place.
        assert overlap(head, head[::-1]) > 0.9 > overlap(head, head[:, :, ::-1])
