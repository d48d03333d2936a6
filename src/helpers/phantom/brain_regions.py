"""What a synthetic brain shows in the six regions: in its own anatomy, and in the template's.

The planted effect lies in each person's own warped regions. Who does not know the warp measures
at the template's place, where less of it is found.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from helpers import brain, head_box
from helpers.phantom import brain_head, brain_template
from helpers.volumes import Volume

NAMES = tuple(region.name for region in brain_template.REGIONS)


class Means(NamedTuple):
    """Means of a standardised image in the six regions, in standard deviations of the brain.

    Attributes
    ----------
    own, atlas : ndarray, shape (6,)
        In the subject's own warped regions; at the template's place in the network's box.
    """

    own: NDArray[np.float64]
    atlas: NDArray[np.float64]


def region_means(image: np.ndarray, head: brain_head.Head) -> NDArray[np.float64]:
    """Return the mean of a standardised image in each of the subject's own regions.

    Parameters
    ----------
    image : ndarray, shape (x, y, z)
        The subject's image, affected or not.
    head : brain_head.Head
        Where the regions lie in this subject.

    Returns
    -------
    ndarray, shape (6,)
        Means weighted by the planted change's profile, in standard deviations of the brain.
    """
    return _weighted(brain.standardise(image), head)


def means(image: np.ndarray, head: brain_head.Head, *, pose: str) -> Means:
    """Return an image's regional means in both places.

    Parameters
    ----------
    image : ndarray, shape (x, y, z)
        The subject's image, affected or not.
    head : brain_head.Head
        Where the regions lie in this subject.
    pose : {"registered", "as_scanned"}
        Registered heads share the template's coordinates; others are laid on the template as the
        network's box is, by the head's own extent.

    Returns
    -------
    Means
    """
    values = brain.standardise(image)
    return Means(_weighted(values, head), _at_template(values, head, _offset(head, pose)))


def responses(head: brain_head.Head, *, pose: str) -> tuple[NDArray, NDArray]:
    """Return how much each region's mean rises for a planted change of amplitude 1.

    Parameters
    ----------
    head : brain_head.Head
        Unaffected brain.
    pose : {"registered", "as_scanned"}
        As for :func:`means`.

    Returns
    -------
    own : ndarray, shape (6,)
        In the own regions, which do not overlap.
    atlas : ndarray, shape (6, 6)
        At the template's places (rows) for a change of each own region (columns). In standard
        deviations of the brain, which the change itself is taken not to alter.
    """
    each = [np.where(head.region == n + 1, head.unit_effect, 0) for n in range(len(NAMES))]
    offset = _offset(head, pose)
    atlas = np.stack([_at_template(unit, head, offset) for unit in each], axis=1)
    return _weighted(head.unit_effect, head), atlas


def labels(unit: np.ndarray, region: np.ndarray) -> NDArray[np.uint8]:
    """Return where a region's planted change is at least half of its largest.

    Parameters
    ----------
    unit : ndarray, shape (x, y, z)
        Planted change.
    region : ndarray of uint8
        Number of the region.

    Returns
    -------
    ndarray of uint8, shape (x, y, z)
    """
    inside = region > 0
    numbers, change = region[inside], unit[inside]
    strongest = ndimage.maximum(change, numbers, np.arange(len(NAMES) + 1))
    found = np.zeros(region.shape, np.uint8)
    found[inside] = np.where((change > 0) & (change >= 0.5 * strongest[numbers]), numbers, 0)
    return found


def _weighted(values: np.ndarray, head: brain_head.Head) -> NDArray[np.float64]:
    inside = head.region > 0
    return _mean(values[inside], head.region[inside], head.unit_effect[inside])


def _mean(values, numbers, weights) -> NDArray[np.float64]:
    size = len(NAMES) + 1
    total = np.bincount(numbers, weights * values, minlength=size)
    return (total / np.maximum(np.bincount(numbers, weights, minlength=size), 1e-9))[1:]


def _at_template(values, head: brain_head.Head, offset_mm) -> NDArray[np.float64]:
    at, numbers, weights = _places(_edge(head))
    if offset_mm is None:
        found = values[tuple(at)]
    else:
        moved = at + np.array(offset_mm)[:, None] / _edge(head)
        found = ndimage.map_coordinates(values, moved, order=1)
    return _mean(found, numbers, weights)


@lru_cache(maxsize=2)
def _places(voxel_mm: float) -> tuple[NDArray, NDArray, NDArray]:
    template = brain_head.undeformed(voxel_mm)
    at = np.argwhere(template.region > 0).T
    return at, template.region[tuple(at)], template.unit_effect[tuple(at)]


def _offset(head: brain_head.Head, pose: str) -> NDArray[np.float64] | None:
    if pose == "registered":
        return None
    return _middle(head) - _middle(brain_head.undeformed(_edge(head)))


def _middle(head: brain_head.Head) -> NDArray[np.float64]:
    grid = head_box.averaged(Volume(head.image, head.affine), _edge(head))
    found = head_box.coarse(grid)
    return np.array(head_box.head_centre(found, head_box.head_mask(found)))


def _edge(head: brain_head.Head) -> float:
    return float(head.affine[0, 0])
