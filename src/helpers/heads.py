"""Admitting a scan to the brain cohort, or saying why not.

A scan is judged in two parts. What its header says: magnetic resonance, original slices, no other
part of the body. What it shows: one closed, roughly symmetrical thing of a head's or a brain's
size, more like a standard brain as it lies than in any other position. No network is in it.

Every limit in :data:`LIMITS` is an assumption, reasoned from anatomy, and leaves room for
children, large heads, and brains cut out of their skulls. What cannot be seen: a left side that
the header calls right, and positions between the quarter turns.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations, product

import numpy as np
from nilearn import datasets
from numpy.typing import NDArray

from helpers import admission, head_box, volumes
from helpers.admission import Verdict
from helpers.head_box import COARSE_MM, Grid
from helpers.volumes import Volume

#: What a head keeps to. Assumptions.
LIMITS = {
    # Adults' heads are about 140 to 180 mm wide, brains 120 to 155 mm, an infant's head 100 mm.
    "width_mm": (95.0, 220.0),
    # Adults' heads are about 175 to 220 mm long, brains 150 to 190 mm; the nose adds to it.
    "length_mm": (110.0, 270.0),
    # Length over width; skulls have widths of 65 to 95 % of their length, the nose adds.
    "length_per_width": (0.95, 1.75),
    # From the top down to the base of the brain, at least; brains are 110 to 145 mm high.
    "height_min_mm": 85.0,
    # Of the upper 110 mm: brains have 1,000 to 1,700 cm³, an infant's 500, heads up to twice as
    # much as a brain.
    "volume_cm3": (450.0, 3600.0),
    # Area at the field of view's upper edge over the largest: a head is closed above, a limb cut.
    "open_above_max": 0.25,
    # Overlap (Dice) of the upper part with its mirror image.
    "symmetry_min": 0.80,
    # Correlation with the standard brain's intensities within that brain.
    "likeness_min": 0.2,
    # From which likeness on something that lies otherwise is taken for a head.
    "turned_min": 0.4,
    # How much more alike another position may be before the stated one is held to be wrong.
    "turned_margin": 0.02,
}
#: Edge of the voxels on which likeness is measured, mm.
LIKENESS_MM = 8.0
HEAD = "Give the three-dimensional T1-weighted scan of the whole head or brain."
TURNED = (
    "Convert the scanner's DICOM again with a converter that writes the orientation; do not turn "
    "the picture by eye, as left and right would stay unknown."
)
NUMBERS = "Write 0 where there is nothing, or convert the scan again."
#: Turns by whole quarters: axes' order and directions. The first is none.
TURNS = tuple(
    (order, signs)
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
    if np.linalg.det(np.eye(3)[list(order)]) * np.prod(signs) > 0
)


@dataclass(frozen=True)
class Shape:
    """What the upper part of a scan's foreground measures.

    Attributes
    ----------
    width_mm, length_mm, height_mm : float
        From side to side, front to back, and of the part looked at.
    volume_cm3 : float
        Of it.
    open_above : float
        Area at the field of view's upper edge over the largest.
    symmetry : float
        Overlap with the mirror image, 0 to 1.
    """

    width_mm: float
    length_mm: float
    height_mm: float
    volume_cm3: float
    open_above: float
    symmetry: float


def judge(volume: Volume) -> Verdict:
    """Decide whether a scan belongs in the brain cohort.

    Parameters
    ----------
    volume : Volume
        From :func:`helpers.volumes.read`.

    Returns
    -------
    Verdict
        Admitted, or the first thing that speaks against it with what to do.

    Examples
    --------
    >>> judge(Volume(np.zeros((40, 40, 40)), np.eye(4))).reason
    'is empty: all its voxels hold one value'
    """
    reason = header_reason(volume)
    if reason:
        burned = reason == admission.BURNED_IN
        return Verdict(reason, admission.WITHOUT_TEXT if burned else HEAD)
    for reason in volumes.whole(volume):
        return Verdict(reason, NUMBERS if "number" in reason else HEAD)
    found = head_box.coarse(head_box.averaged(volume, COARSE_MM))
    mask = head_box.head_mask(found)
    shape = measured(mask)
    alike = likeness(found, mask) if shape else np.zeros(len(TURNS))
    # A head on its side has the wrong shape as well; that it is one says more.
    if alike.max() >= LIMITS["turned_min"] and alike.max() - alike[0] > LIMITS["turned_margin"]:
        return Verdict(
            f"lies otherwise than its header says: turned by quarters it is more like a head "
            f"({alike.max():.2f} against {alike[0]:.2f})",
            TURNED,
        )
    for reason in shape_reasons(shape):
        return Verdict(reason, HEAD)
    if alike[0] < LIMITS["likeness_min"]:
        return Verdict(f"does not look like a T1-weighted head ({alike[0]:.2f})", HEAD)
    return Verdict()


def header_reason(volume: Volume) -> str:
    """Return what a DICOM header's own words say against a head; nothing where it is silent.

    Parameters
    ----------
    volume : Volume
        From :func:`helpers.volumes.read`.

    Returns
    -------
    str
        Empty when nothing does. Holds words of fixed lists and numbers only.
    """
    facts = volume.facts
    part = "" if facts.body_part in HEAD_PARTS else facts.body_part
    if part in OTHER_PARTS:
        return f"shows another part of the body by its header ({part})"
    if facts.echo_ms > admission.LIMITS["echo_max_ms"] and np.isnan(facts.inversion_ms):
        return f"has an echo time of {facts.echo_ms:.0f} ms: it is not T1-weighted"
    # The thigh's own rules on plane, part and times do not hold for a head.
    return admission.header_reason(
        replace(
            facts,
            body_part="",
            plane="axial" if facts.plane else "",
            tilt_deg=0.0,
            repetition_ms=np.nan,
            echo_ms=np.nan,
            inversion_ms=np.nan,
            sequence=(),
            options=(),
            suppressed="",
            inverted=False,
        )
    )


HEAD_PARTS = {"HEAD", "BRAIN", "SKULL", "HEADNECK", "HEAD_NECK", "WHOLEHEAD"}
OTHER_PARTS = {*admission.OTHER_PARTS, "THIGH", "LEG", "PELVIS", "HIP"} - HEAD_PARTS


def measured(mask: NDArray[np.bool_]) -> Shape | None:
    """Measure the upper part of what a coarse scan shows.

    Parameters
    ----------
    mask : ndarray of bool, shape (x, y, z)
        From :func:`helpers.head_box.head_mask`.

    Returns
    -------
    Shape or None
        None where nothing stands out.
    """
    areas = mask.sum((0, 1))
    heights = np.flatnonzero(areas)
    if not heights.size:
        return None
    deep = round(head_box.UPPER_MM / COARSE_MM)
    upper = mask[:, :, max(0, heights[-1] + 1 - deep) : heights[-1] + 1]
    width, length, height = (
        COARSE_MM * float(np.ptp(np.flatnonzero(upper.any(axis=other))) + 1)
        for other in ((1, 2), (0, 2), (0, 1))
    )
    middle = np.average(np.arange(mask.shape[0]), weights=upper.sum((1, 2)))
    return Shape(
        width,
        length,
        height,
        float(upper.sum() * (COARSE_MM / 10) ** 3),
        float(areas[-1] / areas.max()),
        _mirrored_overlap(upper, float(middle)),
    )


def shape_reasons(shape: Shape | None) -> Iterator[str]:
    """Yield what the measures say against a head.

    Parameters
    ----------
    shape : Shape or None
        From :func:`measured`.

    Yields
    ------
    str
        A reason without the file's name.

    Examples
    --------
    >>> next(shape_reasons(Shape(380.0, 190.0, 112.0, 5000.0, 1.0, 0.95)))
    'shows something 380 mm wide, 190 mm long; a head is 95 to 220 mm wide'
    """
    if shape is None:
        yield "shows nothing that stands out from the background"
        return
    seen = f"shows something {shape.width_mm:.0f} mm wide, {shape.length_mm:.0f} mm long"
    for name, value in (("width_mm", shape.width_mm), ("length_mm", shape.length_mm)):
        low, high = LIMITS[name]
        if not low <= value <= high:
            word = "wide" if name == "width_mm" else "long"
            yield f"{seen}; a head is {low:.0f} to {high:.0f} mm {word}"
    if shape.height_mm < LIMITS["height_min_mm"]:
        yield f"shows {shape.height_mm:.0f} mm from top to bottom: not the whole brain"
    if shape.open_above > LIMITS["open_above_max"]:
        yield "is cut off at the top: no head closes within the field of view"
    low, high = LIMITS["length_per_width"]
    if not low <= shape.length_mm / shape.width_mm <= high:
        yield f"{seen}; a head's length is {low} to {high} of its width"
    low, high = LIMITS["volume_cm3"]
    if not low <= shape.volume_cm3 <= high:
        yield f"shows {shape.volume_cm3:.0f} cm³ where a head has {low:.0f} to {high:.0f}"
    if shape.symmetry < LIMITS["symmetry_min"]:
        yield f"is not alike on both sides (overlap {shape.symmetry:.2f})"


def likeness(found: Grid, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how like a standard brain a scan is, as it lies and in every other quarter turn.

    Parameters
    ----------
    found, mask
        From :func:`helpers.head_box.coarse` and :func:`helpers.head_box.head_mask`.

    Returns
    -------
    ndarray, shape (24,)
        Correlation of intensities within the standard brain, for each of :data:`TURNS`, after the
        scan was placed by its head.
    """
    standard, inside = _standard()
    values = []
    for order, signs in TURNS:
        flip = tuple(slice(None, None, sign) for sign in signs)
        turned = Grid(found.values.transpose(order)[flip], np.diag([COARSE_MM] * 3 + [1.0]))
        box = _small_box(turned, mask.transpose(order)[flip])[inside]
        values.append(np.corrcoef(box, standard[inside])[0, 1] if np.ptp(box) else -1.0)
    return np.array(values)


@lru_cache(maxsize=1)
def _standard() -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    image = datasets.load_mni152_template(resolution=int(COARSE_MM))
    found = head_box.coarse(Grid(np.asarray(image.dataobj, dtype=np.float32), image.affine))
    box = _small_box(found, head_box.head_mask(found))
    return box, box > 0.1 * np.percentile(box, 99)


def _small_box(found: Grid, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    centre = head_box.head_centre(found, mask)
    small = head_box.averaged(Volume(found.values, found.affine), LIKENESS_MM)
    return head_box.boxed(small, voxel_mm=LIKENESS_MM, centre_mm=centre)


def _mirrored_overlap(upper: NDArray[np.bool_], middle: float) -> float:
    mirror = np.round(2 * middle - np.arange(upper.shape[0])).astype(int)
    known = (mirror >= 0) & (mirror < upper.shape[0])
    other = np.zeros_like(upper)
    other[known] = upper[mirror[known]]
    return float(2 * (upper & other).sum() / (upper.sum() + other.sum()))
