"""MNI to Talairach: the published matrices, both ways."""

import numpy as np
import pytest

from helpers import talairach

INSIDE = np.stack(
    np.meshgrid(*[np.linspace(*ends, 9) for ends in ((-70, 70), (-105, 72), (-50, 82))]), -1
)


@pytest.mark.parametrize("software", list(talairach.MATRICES))
def test_there_and_back(software):
    there = talairach.from_mni(INSIDE, software=software)
    assert there.shape == INSIDE.shape
    assert np.allclose(talairach.to_mni(there, software=software), INSIDE)


@pytest.mark.parametrize("software", list(talairach.MATRICES))
def test_talairachs_brain_is_the_smaller_one_and_tilted_nose_down(software):
    """What Lancaster and others report of the bias: size along each axis, and a pitch."""
    linear = talairach.MATRICES[software][:3, :3]
    assert (np.linalg.norm(linear, axis=0) < 1).all() and np.linalg.det(linear) > 0
    assert linear[2, 1] > 0 > linear[1, 2]


def test_the_pooled_transform_lies_between_those_of_the_two_programs():
    other, fsl, spm = (talairach.MATRICES[name] for name in ("other", "FSL", "SPM"))
    low, high = np.minimum(fsl, spm) - 1e-3, np.maximum(fsl, spm) + 1e-3
    assert ((low <= other) & (other <= high)).all()


def test_what_is_no_point_or_no_program_is_named():
    with pytest.raises(ValueError, match="one of other, FSL, SPM"):
        talairach.from_mni((0, 0, 0), software="ANTs")
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        talairach.to_mni((0, 0))
