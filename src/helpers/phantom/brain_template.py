"""The brain that the phantom's individuals are warped from, and where an effect is planted.

Tissue maps: the MNI ICBM152 2009a templates that nilearn carries (Fonov 2011), so nothing is
downloaded. Regions: the six names of the DystoniaNet poster; their centres are ours.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from nilearn import datasets
from scipy import ndimage


@dataclass(frozen=True)
class Region:
    """One of the six regions in which an effect is planted.

    Attributes
    ----------
    name : str
        As on the poster.
    centre_mm : tuple of float
        Right-hemisphere or midline centre in MNI space, mm: our anatomical approximation, as
        the poster prints no coordinates.
    tissue : {"white", "grey"}
        Tissue whose intensity changes.
    sign : int
        -1 darker, +1 brighter: white matter darkens and grey matter brightens, so contrast
        between them falls. An assumption; the poster gives no direction.
    """

    name: str
    centre_mm: tuple[float, float, float]
    tissue: str
    sign: int

    @property
    def centres_mm(self) -> np.ndarray:
        """Centres on both sides, shape (1 or 2, 3), mm."""
        x, y, z = self.centre_mm
        return np.array([(x, y, z)] if x == 0 else [(x, y, z), (-x, y, z)])


REGIONS = (
    Region("corpus callosum", (0, -10, 26), "white", -1),
    Region("anterior thalamic radiation", (22, 28, 14), "white", -1),
    Region("posterior thalamic radiation", (30, -62, 14), "white", -1),
    Region("inferior fronto-occipital fasciculus", (34, -12, -8), "white", -1),
    Region("superior orbital gyrus", (16, 44, -18), "grey", 1),
    Region("inferior temporal gyrus", (52, -28, -24), "grey", 1),
)

#: Bits of :attr:`Template.cells`: all, some of a cell's eight corners lie in the brain; one of
#: them, or a neighbour, carries effect.
ALL_BRAIN, SOME_BRAIN, EFFECT = 1, 2, 4

#: The effect is whole up to the first distance from a centre and gone at the second, mm.
EFFECT_RADII_MM = (5.0, 12.0)


@dataclass(frozen=True)
class Template:
    """Tissue and effect maps on one grid, float32, shape (x, y, z) in RAS order.

    Attributes
    ----------
    affine : ndarray, shape (4, 4)
        Voxel index to MNI mm.
    white, grey, brain : ndarray
        Tissue probabilities, and 1 inside the brain.
    unit_effect : ndarray
        Planted change, 0 to 1.
    region : ndarray of uint8
        Number of the nearest region, counted from 1, where ``unit_effect`` is above 0.
    cells : ndarray of uint8
        Bits :data:`ALL_BRAIN`, :data:`SOME_BRAIN` and :data:`EFFECT` of the cell above each voxel.
    """

    affine: np.ndarray
    white: np.ndarray
    grey: np.ndarray
    brain: np.ndarray
    unit_effect: np.ndarray
    region: np.ndarray
    cells: np.ndarray


@lru_cache(maxsize=2)
def load(spacing_mm: float) -> Template:
    """Return the template sampled at a spacing.

    Parameters
    ----------
    spacing_mm : float
        Voxel size wanted, mm; nilearn's maps have 1 mm and are resampled to whole millimetres.

    Returns
    -------
    Template

    Examples
    --------
    >>> template = load(4.0)
    >>> template.grey.shape == template.region.shape, int(template.region.max())
    (True, 6)
    """
    whole_mm = max(1, int(spacing_mm))
    head = datasets.load_mni152_template(resolution=whole_mm)
    grey = datasets.load_mni152_gm_template(resolution=whole_mm).get_fdata(dtype=np.float32)
    white = datasets.load_mni152_wm_template(resolution=whole_mm).get_fdata(dtype=np.float32)
    brain = (head.get_fdata(dtype=np.float32) > 0.1).astype(np.float32)
    tissue = {"grey": np.clip(grey, 0, 1), "white": np.clip(white, 0, 1)}
    unit, region = _effect(tissue, head.affine)
    cells = _cells(brain > 0.5, (unit > 0) | (region > 0))
    maps = tissue["white"], tissue["grey"], brain, unit * brain, region
    return Template(head.affine, *maps, cells)


def _cells(brain: np.ndarray, effect: np.ndarray) -> np.ndarray:
    corners = {"origin": (-1, -1, -1), "size": (2, 2, 2)}
    every = ndimage.minimum_filter(
        brain, corners["size"], origin=corners["origin"], mode="constant"
    )
    some = ndimage.maximum_filter(brain, corners["size"], origin=corners["origin"], mode="constant")
    near = ndimage.binary_dilation(effect, np.ones((3, 3, 3)))
    return (ALL_BRAIN * every + SOME_BRAIN * some + EFFECT * near).astype(np.uint8)


def _effect(tissue: dict[str, np.ndarray], affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shape = tissue["grey"].shape
    points = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    unit = np.zeros(shape, np.float32)
    label = np.zeros(shape, np.uint8)
    whole, gone = EFFECT_RADII_MM
    for number, region in enumerate(REGIONS, start=1):
        for centre in region.centres_mm:
            distance = np.linalg.norm(points - centre, axis=-1)
            ramp = np.clip((gone - distance) / (gone - whole), 0, 1)
            near = distance < gone
            unit[near] = (0.5 - 0.5 * np.cos(np.pi * ramp[near])) * tissue[region.tissue][near]
            label[near] = number
    return unit, label
