"""From MNI to Talairach coordinates: the icbm2tal transform of Lancaster and others (2007).

The poster's slices are "in standard Talairach-Tournoux space". Templates called MNI are larger
than Talairach's brain and tilted against it; icbm2tal is the affine transform, fitted on real
brains, that takes the one to the other. It was published in three variants, as the fit depends
on what put a brain into MNI space.

References
----------
Lancaster JL, Tordesillas-Gutiérrez D, Martinez M, et al. Bias between MNI and Talairach
coordinates analyzed using the ICBM-152 brain template. Human Brain Mapping 2007;28:1194-1205.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Software = Literal["other", "FSL", "SPM"]

#: MNI mm to Talairach mm, as BrainMap distributes them (icbm_other2tal, icbm_fsl2tal,
#: icbm_spm2tal). "other" is for templates that belong to neither FSL nor SPM.
MATRICES: dict[str, NDArray[np.float64]] = {
    "other": np.array(
        [
            [0.9357, 0.0029, -0.0072, -1.0423],
            [-0.0065, 0.9396, -0.0726, -1.3940],
            [0.0103, 0.0752, 0.8967, 3.6475],
            [0.0, 0.0, 0.0, 1.0],
        ]
    ),
    "FSL": np.array(
        [
            [0.9464, 0.0034, -0.0026, -1.0680],
            [-0.0083, 0.9479, -0.0580, -1.0239],
            [0.0053, 0.0617, 0.9010, 3.1883],
            [0.0, 0.0, 0.0, 1.0],
        ]
    ),
    "SPM": np.array(
        [
            [0.9254, 0.0024, -0.0118, -1.0207],
            [-0.0048, 0.9316, -0.0871, -1.7667],
            [0.0152, 0.0883, 0.8924, 4.0926],
            [0.0, 0.0, 0.0, 1.0],
        ]
    ),
}


def from_mni(points_mm: ArrayLike, *, software: Software = "other") -> NDArray[np.float64]:
    """Return Talairach coordinates of points in MNI space.

    Parameters
    ----------
    points_mm : array_like, shape (..., 3)
        Towards right, anterior, superior, mm.
    software : {"other", "FSL", "SPM"}
        What put the brains into MNI space. The phantom is made there, from a template that
        neither FSL nor SPM carries, so "other" holds for it. Within a brain the variants
        differ by up to 5 mm at its edge, and 3 mm in the regions planted here.

    Returns
    -------
    ndarray, shape (..., 3)

    Raises
    ------
    ValueError
        For another software, or points without three coordinates.

    Examples
    --------
    Three points that the tests of NiMARE, an independent implementation, hold too:

    >>> from_mni([(-44, 31, 27), (20, -32, 14), (28, -76, 28)]).round(4).tolist()
    [[-42.3176, 26.0594, 29.7364], [17.4781, -32.6076, 14.0009], [24.7353, -75.0184, 23.3283]]
    """
    return _moved(points_mm, _matrix(software))


def to_mni(points_mm: ArrayLike, *, software: Software = "other") -> NDArray[np.float64]:
    """Return MNI coordinates of points in Talairach space: :func:`from_mni` turned round.

    Parameters
    ----------
    points_mm : array_like, shape (..., 3)
        Towards right, anterior, superior, mm.
    software : {"other", "FSL", "SPM"}
        As for :func:`from_mni`.

    Returns
    -------
    ndarray, shape (..., 3)

    Raises
    ------
    ValueError
        As :func:`from_mni`.

    Examples
    --------
    >>> to_mni((-44, 31, 27)).round(4).tolist()
    [-45.84, 35.979, 23.5519]
    >>> to_mni(from_mni((16, 44, -18), software="SPM"), software="SPM").round(6).tolist()
    [16.0, 44.0, -18.0]
    """
    return _moved(points_mm, np.linalg.inv(_matrix(software)))


def _matrix(software: str) -> NDArray[np.float64]:
    if software not in MATRICES:
        raise ValueError(f"No icbm2tal for {software!r}: expected one of {', '.join(MATRICES)}.")
    return MATRICES[software]


def _moved(points_mm: ArrayLike, matrix: NDArray) -> NDArray[np.float64]:
    points = np.asarray(points_mm, dtype=float)
    if points.shape[-1:] != (3,):
        raise ValueError(f"Points of shape {points.shape}: expected x, y, z in the last axis.")
    return points @ matrix[:3, :3].T + matrix[:3, 3]
