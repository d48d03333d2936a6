"""A scan in the network's box: averaged, turned, placed and resampled in one step.

Nothing of this is published; each choice here is ours. Voxels are first averaged in whole blocks,
so that detail the box's grid cannot hold does not fold back, and the rest is one linear
interpolation from there. Scans whose grid is the box's own are cut and not interpolated.
"""

from typing import Literal, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from helpers.volumes import Volume

Placement = Literal["world", "head"]

#: Size of the box the network sees, mm along x, y, z: a brain with some room around it.
BOX_MM = (160.0, 192.0, 160.0)
#: Centre of the box for registered heads, MNI mm: the middle of the phantom's imaged box.
BOX_CENTRE_MM = (0.0, -17.0, 6.0)
#: Edge of the grid on which a head is found, mm.
COARSE_MM = 4.0
#: Area of a section from which on it counts as the top of the head, cm²: a few cm of scalp or of
#: cortex, far more than a bright vessel or a fold of noise. An assumption.
TOP_CM2 = 10.0
#: How far below the top the largest section of a head is looked for, mm: above the neck.
UPPER_MM = 110.0
#: Upper end of the box above the height where a head's section reaches half its largest area, mm.
#: That height lies 20 to 25 mm below the top of a brain or a head.
ABOVE_MM = 30.0
#: How far below that height the part of the head ends whose middle is centred, mm: most of the
#: brain, nothing of nose and neck. An assumption.
CENTRED_MM = 80.0


class Grid(NamedTuple):
    """Values on a grid with its place in space.

    Attributes
    ----------
    values : ndarray of float32, shape (x, y, z)
        Intensities.
    affine : ndarray, shape (4, 4)
        Voxel index to mm.
    """

    values: NDArray[np.float32]
    affine: NDArray[np.float64]


def box_shape(voxel_mm: float) -> tuple[int, int, int]:
    """Return the shape of the network's box.

    Parameters
    ----------
    voxel_mm : float
        Voxel size, mm.

    Returns
    -------
    tuple of int
        Voxels along x, y, z.

    Examples
    --------
    >>> box_shape(4.0)
    (40, 48, 40)
    """
    x, y, z = (round(side / voxel_mm) for side in BOX_MM)
    return x, y, z


def box_affine(voxel_mm: float, centre_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return where the voxels of a box lie.

    Parameters
    ----------
    voxel_mm : float
        Voxel size, mm.
    centre_mm : tuple of float
        Middle of the box, mm.

    Returns
    -------
    ndarray, shape (4, 4)
        Voxel index to mm.

    Examples
    --------
    >>> box_affine(4.0, BOX_CENTRE_MM)[:3, 3].tolist()
    [-78.0, -111.0, -72.0]
    """
    affine = np.diag([voxel_mm] * 3 + [1.0])
    affine[:3, 3] = np.array(centre_mm) - voxel_mm * (np.array(box_shape(voxel_mm)) - 1) / 2
    return affine


def averaged(volume: Volume, voxel_mm: float) -> Grid:
    """Return a scan as means over whole blocks of voxels, its axes in the order of the body's.

    Parameters
    ----------
    volume : Volume
        From :func:`helpers.volumes.read`.
    voxel_mm : float
        Voxel size wanted, mm; a block is at most as large.

    Returns
    -------
    Grid
        Axes run closest to right, front and head. True values.

    Examples
    --------
    >>> fine = Volume(np.arange(512).reshape(8, 8, 8), np.diag([1.0, 1, 1, 1]))
    >>> grid = averaged(fine, 2.0)
    >>> grid.values.shape, float(grid.values[0, 0, 0]), grid.affine[:3, 3].tolist()
    ((4, 4, 4), 36.5, [0.5, 0.5, 0.5])
    """
    factors = [max(1, int(voxel_mm / edge + 1e-3)) for edge in volume.voxel_mm]
    values = volume.values
    # The axis that lies farthest apart in memory first: whole planes are then added.
    for axis in np.argsort(np.abs(values.strides))[::-1]:
        values = _blocks(values, int(axis), factors[axis])
    values = values.astype(np.float32, copy=False)
    if (volume.slope, volume.intercept) != (1.0, 0.0):
        values = values * np.float32(volume.slope) + np.float32(volume.intercept)
    affine = volume.affine @ np.diag([*factors, 1.0])
    affine[:3, 3] += volume.affine[:3, :3] @ (np.array(factors) - 1) / 2
    turn = nib.io_orientation(affine)
    upright = nib.apply_orientation(values, turn)
    return Grid(upright, affine @ nib.orientations.inv_ornt_aff(turn, values.shape))


def coarse(grid: Grid) -> Grid:
    """Return a scan on a grid of :data:`COARSE_MM` along the body's axes that holds all of it.

    Parameters
    ----------
    grid : Grid
        From :func:`averaged`.

    Returns
    -------
    Grid
    """
    small = averaged(Volume(grid.values, grid.affine), COARSE_MM)
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in small.values.shape]))
    places = nib.affines.apply_affine(small.affine, corners.reshape(3, -1).T)
    low, high = places.min(0), places.max(0)
    shape = np.maximum(np.round((high - low) / COARSE_MM), 1).astype(int)
    affine = np.diag([COARSE_MM] * 3 + [1.0])
    affine[:3, 3] = (low + high) / 2 - COARSE_MM * (shape - 1) / 2
    return Grid(_resampled(small, affine, tuple(shape)), affine)


def foreground(volume: NDArray) -> NDArray[np.bool_]:
    """Return where the head is.

    Parameters
    ----------
    volume : ndarray, shape (x, y, z)
        Intensities, not negative.

    Returns
    -------
    ndarray of bool, shape (x, y, z)
        Above a tenth of the 99th percentile, holes filled: air, noise and the blurred rim of a
        brain cut out of its skull stay outside; fluid and bone inside a head stay in.

    Examples
    --------
    >>> foreground(np.array([[[0, 9, 100, 50, 0]]]))
    array([[[False, False,  True,  True, False]]])
    """
    return ndimage.binary_fill_holes(volume > 0.1 * np.percentile(volume, 99))


def head_mask(found: Grid) -> NDArray[np.bool_]:
    """Return the largest connected part of the foreground of a coarse scan.

    Parameters
    ----------
    found : Grid
        From :func:`coarse`.

    Returns
    -------
    ndarray of bool, shape (x, y, z)
    """
    inside = ndimage.binary_opening(foreground(found.values))
    labels, count = ndimage.label(inside)
    if not count:
        return inside
    sizes = np.bincount(labels.ravel())[1:]
    return labels == 1 + int(np.argmax(sizes))


def head_centre(found: Grid, mask: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return the middle of the box that a head hangs in.

    From side to side and from front to back it is the mean place of the head's upper part.
    Upward, the box ends :data:`ABOVE_MM` above the height at which the head's section reaches
    half its largest area: that height scatters less than the very top, which follows every
    nod and the head's size. All are found between the voxels, so that a head shifted by part of
    a voxel shifts the box by as much.

    Parameters
    ----------
    found : Grid
        From :func:`coarse`.
    mask : ndarray of bool
        From :func:`head_mask`; not empty.

    Returns
    -------
    tuple of float
        Middle, mm.
    """
    weight = _soft(found.values, mask)
    heights = found.affine[2, 3] + COARSE_MM * np.arange(weight.shape[2])
    areas = weight.sum((0, 1)) * (COARSE_MM / 10) ** 2
    top = _reached(areas, heights, min(TOP_CM2, float(areas.max()) / 2))
    half = _reached(areas, heights, float(areas[heights > top - UPPER_MM].max()) / 2)
    share = np.clip((heights - (half - CENTRED_MM)) / COARSE_MM + 0.5, 0, 1)
    upper = weight * share
    middle = [
        found.affine[axis, 3]
        + COARSE_MM * float(np.average(np.arange(weight.shape[axis]), weights=profile))
        for axis, profile in ((0, upper.sum((1, 2))), (1, upper.sum((0, 2))))
    ]
    return middle[0], middle[1], half + ABOVE_MM - BOX_MM[2] / 2


def boxed(grid: Grid, *, voxel_mm: float, centre_mm: tuple[float, float, float]) -> NDArray:
    """Return a scan in the network's box.

    Parameters
    ----------
    grid : Grid
        From :func:`averaged`.
    voxel_mm : float
        Voxel size of the box, mm.
    centre_mm : tuple of float
        Middle of the box.

    Returns
    -------
    ndarray of float32, shape :func:`box_shape`
        0 where the scan does not reach.
    """
    edges = np.linalg.norm(grid.affine[:3, :3], axis=0)
    # What block means leave unsmoothed of a voxel of the box; the variance of a box is edge² / 12.
    left = np.sqrt(np.clip(voxel_mm**2 - edges**2, 0, None) / 12) / edges
    if left.max() > 0.2:
        grid = Grid(ndimage.gaussian_filter(grid.values, left, truncate=3.0), grid.affine)
    return _resampled(grid, box_affine(voxel_mm, centre_mm), box_shape(voxel_mm))


def _blocks(values: NDArray, axis: int, factor: int) -> NDArray:
    if factor == 1:
        return values
    end = values.shape[axis] // factor * factor
    pick = [slice(None)] * 3
    total: NDArray | None = None
    for start in range(factor):
        pick[axis] = slice(start, end, factor)
        part = values[tuple(pick)]
        total = part.astype(np.float32) if total is None else np.add(total, part, out=total)
    return np.multiply(total, np.float32(1 / factor), out=total)


def _resampled(grid: Grid, affine: NDArray, shape: tuple[int, ...]) -> NDArray[np.float32]:
    way = np.linalg.inv(grid.affine) @ affine
    matrix, offset = way[:3, :3], way[:3, 3]
    # Off-diagonal parts that move no voxel of the result by a hundredth of a voxel do not count.
    turned = np.abs(matrix - np.diag(np.diag(matrix))).max() * max(shape) > 0.01
    steps = np.diag(matrix)
    whole = np.round(offset)
    if not turned and np.allclose(steps, 1, atol=1e-4) and np.allclose(offset, whole, atol=0.01):
        return _cut(grid.values, whole.astype(int), shape)
    return ndimage.affine_transform(
        grid.values,
        matrix if turned else steps,
        offset,
        output_shape=shape,
        output=np.float32,
        order=1,
    )


def _cut(values: NDArray, start: NDArray, shape: tuple[int, ...]) -> NDArray[np.float32]:
    box = np.zeros(shape, np.float32)
    low = np.clip(start, 0, values.shape)
    high = np.clip(start + np.array(shape), low, values.shape)
    source = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    target = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
    box[target] = values[source]
    return box


def _soft(values: NDArray, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return how much of each voxel is head: whole inside, and a share at the rim by brightness."""
    rim = ndimage.binary_dilation(mask) & ~ndimage.binary_erosion(mask)
    inside = mask & ~rim
    weight = inside.astype(np.float32)
    level = float(np.median(values[inside])) if inside.any() else float(values.max() or 1)
    weight[rim] = np.clip(values[rim] / level, 0, 1)
    return weight


def _reached(areas_cm2: NDArray, heights: NDArray, wanted: float) -> float:
    """Return the height, mm, at which the section's area first reaches a value, from above."""
    k = int(np.flatnonzero(areas_cm2 >= wanted)[-1])
    above = float(areas_cm2[k + 1]) if k + 1 < len(areas_cm2) else 0.0
    return float(heights[k] + COARSE_MM * (areas_cm2[k] - wanted) / (areas_cm2[k] - above))
