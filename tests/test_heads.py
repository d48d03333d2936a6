"""What is a head and what is not: synthetic shapes, the phantom's brains, real heads and thighs."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from helpers import head_box, heads, images, paths, volumes
from helpers.images import Facts
from helpers.phantom import brain_head
from helpers.volumes import Volume

REAL = paths.real_data()
needs_real = pytest.mark.skipif(
    not (REAL / "brain").is_dir(), reason="PAPER_TEST_DATA has no brain folder: no real test data"
)


@pytest.fixture(scope="module")
def brain():
    head = brain_head.simulate(
        sex="F", age_years=50, site=0, voxel_mm=4.0, rng=np.random.default_rng(3)
    )
    return Volume(head.image, head.affine)


def turned(volume, order, signs):
    """Return the same voxels under a header that forgets how they lie."""
    flip = tuple(slice(None, None, sign) for sign in signs)
    grid = head_box.coarse(head_box.averaged(volume, head_box.COARSE_MM))
    return Volume(grid.values.transpose(order)[flip], np.diag([4.0, 4, 4, 1]))


def limb(*, legs=1, height=50):
    """One or two cylinders of a thigh's size that leave the field of view above and below."""
    x, y = np.mgrid[-40:40, -40:40] * 4.0
    section = np.zeros(x.shape)
    for centre in ((0,), (-85, 85))[legs - 1]:
        away = np.hypot(x - centre, y)
        section[away < 80] = 900
        section[away < 68] = 400
        section[away < 16] = 100
    noise = np.random.default_rng(1).normal(0, 8, (80, 80, height))
    return Volume(np.abs(section[:, :, None] + noise).astype(np.float32), np.diag([4.0] * 3 + [1]))


def test_the_phantoms_brain_is_a_head(brain):
    assert heads.judge(brain).admitted


@pytest.mark.parametrize("legs", [1, 2])
def test_a_thigh_is_no_head(legs):
    verdict = heads.judge(limb(legs=legs))
    assert not verdict.admitted and verdict.remedy
    assert "cut off at the top" in verdict.reason


@pytest.mark.parametrize("turn", heads.TURNS[1:])
def test_every_quarter_turn_of_a_brain_is_found(brain, turn):
    verdict = heads.judge(turned(brain, *turn))
    assert not verdict.admitted
    assert "lies otherwise than its header says" in verdict.reason


def test_there_are_24_quarter_turns_and_the_first_is_none():
    assert len(heads.TURNS) == len(set(heads.TURNS)) == 24
    assert heads.TURNS[0] == ((0, 1, 2), (1, 1, 1))


def test_a_ball_is_like_no_brain():
    x, y, z = (np.indices((60, 60, 60)) - 29.5) * 4
    ball = np.clip(100 - np.sqrt(x**2 + (y / 1.1) ** 2 + z**2), 0, 10)
    verdict = heads.judge(Volume(ball.astype(np.float32), np.diag([4.0] * 3 + [1])))
    assert not verdict.admitted


def test_half_a_brain_and_a_cut_one_are_no_head(brain):
    half = brain.values.copy()
    half[22:] = 0
    assert not heads.judge(Volume(half, brain.affine)).admitted
    cut = Volume(brain.values[:, :, :30], brain.affine)
    assert "cut off at the top" in heads.judge(cut).reason


def test_numbers_that_are_none_and_an_empty_volume_are_said(brain):
    values = brain.values.copy()
    values[3, 3, 3] = np.nan
    verdict = heads.judge(Volume(values, brain.affine))
    assert "1 voxels without a number" in verdict.reason and "Write 0" in verdict.remedy
    assert "is empty" in heads.judge(Volume(np.zeros((30, 30, 30)), np.eye(4))).reason


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (Facts(kind="DICOM", modality="CT"), "is CT, not magnetic resonance"),
        (Facts(kind="DICOM", modality="MR", body_part="KNEE"), "another part of the body"),
        (Facts(kind="DICOM", modality="MR", echo_ms=95.0), "echo time of 95 ms"),
        (Facts(kind="DICOM", modality="MR", image_type=("ORIGINAL", "PRIMARY", "P")), "phase"),
        (Facts(kind="DICOM", modality="MR", burned_in=True), "text burnt into the picture"),
    ],
)
def test_a_header_may_speak_against_a_head(brain, facts, words):
    assert words in heads.judge(Volume(brain.values, brain.affine, facts=facts)).reason


def test_what_a_head_is_by_its_header_is_not_held_against_it(brain):
    facts = Facts(
        kind="DICOM",
        modality="MR",
        body_part="HEAD",
        plane="sagittal",
        tilt_deg=88.0,
        repetition_ms=2300.0,
        inversion_ms=900.0,
        echo_ms=3.0,
    )
    assert heads.judge(Volume(brain.values, brain.affine, facts=facts)).admitted


@needs_real
def test_no_real_head_is_set_aside():
    files = sorted((REAL / "brain").glob("*/*.nii.gz"))
    assert len(files) == 20
    verdicts = {path.name: heads.judge(volumes.read(path)) for path in files}
    assert [name for name, verdict in verdicts.items() if not verdict.admitted] == []


@needs_real
@pytest.mark.parametrize("name", ["ixi/IXI577-HH-2661_T1", "ds002748/sub-18_T1w"])
def test_every_quarter_turn_of_a_real_head_is_found(name):
    volume = volumes.read(REAL / "brain" / f"{name}.nii.gz")
    missed = [turn for turn in heads.TURNS[1:] if heads.judge(turned(volume, *turn)).admitted]
    assert missed == []


@pytest.mark.skipif(
    not (REAL / "thigh").is_dir(), reason="PAPER_TEST_DATA has no thigh folder: no real test data"
)
def test_real_thighs_and_a_foot_are_no_heads():
    files = sorted((REAL / "thigh").glob("*.nii.gz"))
    assert files
    for path in files:
        image = nib.load(path)
        try:
            volume = volumes.read(path)
        except images.UnreadableImage as error:
            # Slices far apart are no volume; the same slices closely stacked must fail as well.
            assert " mm, expected 0.2 to " in error.reason
            values = ndimage.zoom(np.asarray(image.dataobj, float), (0.25, 0.25, 4), order=1)
            volume = Volume(values, np.diag([3.2, 3.2, 5.0, 1.0]))
        verdict = heads.judge(volume)
        assert not verdict.admitted, path.name
