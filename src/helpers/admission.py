"""Admitting a decoded slice to the thigh cohort, or saying why not.

A slice is judged in two parts. :func:`header_reason` reads what the file says of it: magnetic
resonance, an original slice, axial, T1-weighted where the times are stated. :func:`shape_reason`
looks at the picture, for a NIfTI file says nothing of what it shows: two parts side by side,
alike in size, each as large as a thigh can be, rounded, with something else than one tissue
inside. No network and no learned value is in it.

Every limit in :data:`LIMITS` is an assumption. They start from measured anatomy (eight adults:
58 to 158 cm² of muscle in a thigh) and from geometry, and leave room for boys, wasting and
obesity. What they cannot tell from thighs: two lower legs or two arms of such a size whose file
does not name the body part, and slices through the groin, where the thighs begin.
"""

from dataclasses import dataclass

import numpy as np
from pydicom.uid import UID
from scipy import ndimage
from skimage import filters, measure
from skimage.measure import block_reduce

from helpers.images import Facts, SliceImage

#: What a thigh slice keeps to, in the order in which it is checked. Assumptions.
LIMITS = {
    # The axial plane; beyond, left and right or front and back are no longer what is shown.
    "tilt_max_deg": 30.0,
    # Beyond, the cortex of the femur and the fascia are not resolved at all.
    "pixel_max_mm": 4.0,
    # Spin echo, T1: muscle against fat needs both times short. The paper: 450 and 12 ms.
    "repetition_max_ms": 1500.0,
    "echo_max_ms": 40.0,
    # Below it, inversion recovery nulls fat (STIR: 130 to 250 ms).
    "inversion_min_ms": 300.0,
    # Largest measured muscle area, 158 cm², is a circle of 142 mm; with 6 cm of fat 262 mm.
    "leg_max_mm": 260.0,
    # A third of the smallest measured area, a circle of 50 mm, with 5 mm of skin and fat.
    "leg_min_mm": 60.0,
    # Two circles in contact are 2; legs deeper than broad, pressed together, less.
    "pair_width_per_height_min": 1.5,
    # Measured muscle areas of a person's two thighs differ by 4 (sd 3) %; disease adds to it.
    "area_ratio_min": 0.6,
    # Height where the halves meet, over that of the lower half. One body has no waist there.
    "waist_max": 0.9,
    # Width over height of one leg.
    "leg_width_per_height": (0.6, 1.6),
    # Area over that of the convex hull; a circle has 1.
    "solidity_min": 0.85,
    # Share of the foreground that belongs to neither leg: a hand, the table.
    "other_share_max": 0.2,
    # Area inside each leg that is 0.6 times as bright as its median or less, or 1 / 0.6 times
    # or more: bone, marrow, fat or muscle. The shaft of a boy's femur, 17 mm, has 2.3 cm².
    "structure_min_cm2": 1.0,
    "structure_contrast": 0.6,
}
#: Edge of the pixels on which shapes are measured, mm.
GRID_MM = 2.0
#: MR Image, Enhanced MR Image, Legacy Converted Enhanced MR Image Storage (PS3.4 B.5).
MR_CLASSES = {f"1.2.840.10008.5.1.4.1.1.4{part}" for part in ("", ".1", ".4")}
#: Words of Image Type (0008,0008) that are not one slice of signal, and what they say.
NO_SLICE = {
    "MOSAIC": "is a mosaic of many slices",
    "PROJECTION IMAGE": "is a projection through many slices",
    "LOCALIZER": "is a localiser",
    "P": "shows phase, not magnitude",
    "PHASE MAP": "shows phase, not magnitude",
}
#: Words of Body Part Examined (0018,0015) that name no thigh.
OTHER_PARTS = (
    *("HEAD", "BRAIN", "SKULL", "NECK", "SPINE", "CHEST", "THORAX", "BREAST", "HEART", "ABDOMEN"),
    *("ARM", "SHOULDER", "ELBOW", "HAND", "WRIST", "KNEE", "CALF", "LOWERLEG", "LOWER LEG"),
    *("ANKLE", "FOOT", "FEET", "TOE", "PHANTOM"),
)
#: Modalities (0008,0060) that may be repeated; another text in that element may be anything.
MODALITIES = {
    *("CR", "CT", "DX", "ES", "KO", "MG", "MR", "NM", "OP", "OT", "PR", "PT", "PX"),
    *("REG", "RF", "RTDOSE", "RTIMAGE", "RTPLAN", "RTSTRUCT", "SC", "SEG", "SR", "US", "XA", "XC"),
}
BURNED_IN = "has text burnt into the picture by its header, which may name a person"
WITHOUT_TEXT = "Export it without the text; or, if there is none, correct (0028,0301)."
AXIAL_T1 = "Give the axial T1-weighted slices of both thighs, as the scanner wrote them."
LOOK = "Look at it: if both thighs are on it, give it again with a larger field of view."


@dataclass(frozen=True)
class Verdict:
    """Whether a slice is admitted.

    Attributes
    ----------
    reason : str
        What speaks against it; empty for an admitted slice.
    remedy : str
        What to do about it.
    """

    reason: str = ""
    remedy: str = ""

    @property
    def admitted(self) -> bool:
        """Return whether nothing speaks against it."""
        return not self.reason


@dataclass(frozen=True)
class Shape:
    """What the foreground of a slice measures; pairs are the left and right of the image.

    Attributes
    ----------
    width_mm, height_mm, area_cm2, solidity : tuple of float
        Of each half.
    pair_width_mm, pair_height_mm : float
        Of both together.
    waist : float
        Height where the halves meet over that of the lower half; 0 where they do not.
    other_share : float
        Share of the foreground in neither half.
    structure_cm2 : tuple of float
        Area inside each half that differs from its median.
    """

    width_mm: tuple[float, float]
    height_mm: tuple[float, float]
    area_cm2: tuple[float, float]
    solidity: tuple[float, float]
    pair_width_mm: float
    pair_height_mm: float
    waist: float
    other_share: float
    structure_cm2: tuple[float, float]


def judge(image: SliceImage) -> Verdict:
    """Decide whether a slice belongs in the thigh cohort.

    Parameters
    ----------
    image : SliceImage
        From :func:`helpers.images.read_slice`.

    Returns
    -------
    Verdict
        Admitted, or the first thing that speaks against it with what to do.

    Examples
    --------
    >>> disc = np.hypot(*np.mgrid[-40:40, -40:40]) < 35
    >>> one = SliceImage(np.where(disc, 900.0, 0.0), (2.0, 2.0))
    >>> judge(one).reason
    'shows one part, 142 mm wide and 142 mm high, not two side by side'
    """
    reason = header_reason(image.facts)
    if reason:
        return Verdict(reason, WITHOUT_TEXT if reason == BURNED_IN else AXIAL_T1)
    if not image.facts.spacing_stated:
        return Verdict(
            "does not state how large a pixel is",
            "Export it with Pixel Spacing (0028,0030): sizes are judged and equalised in mm.",
        )
    reason = shape_reason(image)
    return Verdict(reason, LOOK) if reason else Verdict()


def header_reason(facts: Facts) -> str:
    """Return what a file's own words say against a slice; nothing where it is silent.

    Parameters
    ----------
    facts : Facts
        From :func:`helpers.images.read_slice`.

    Returns
    -------
    str
        Empty when nothing does.

    Examples
    --------
    >>> header_reason(Facts(kind="DICOM", modality="CT"))
    'is CT, not magnetic resonance'
    >>> header_reason(Facts(modality="MR", plane="axial", tilt_deg=8.0, echo_ms=12.0))
    ''
    """
    checks = (_modality, _kind_of_image, _body_part, _plane, _weighting)
    return next((reason for check in checks if (reason := check(facts))), "")


def shape_reason(image: SliceImage) -> str:
    """Return what the picture says against two thighs.

    Parameters
    ----------
    image : SliceImage
        In the display convention.

    Returns
    -------
    str
        Empty when nothing does.
    """
    if max(image.spacing_mm) > LIMITS["pixel_max_mm"]:
        return f"has pixels of {max(image.spacing_mm):.1f} mm: too coarse for a thigh"
    found = measure_shape(image)
    if found is None:
        return "shows nothing that stands out from the background"
    ratio = found.pair_width_mm / found.pair_height_mm
    if ratio < LIMITS["pair_width_per_height_min"]:
        size = f"{found.pair_width_mm:.0f} mm wide and {found.pair_height_mm:.0f} mm high"
        what = "two parts" if found.waist == 0 else "one part"
        return f"shows {what}, {size}, not two side by side"
    alike = min(found.area_cm2) / max(found.area_cm2)
    if alike < LIMITS["area_ratio_min"]:
        areas = " and ".join(f"{area:.0f} cm²" for area in found.area_cm2)
        return f"shows no two parts alike in size: {areas}"
    if found.waist > LIMITS["waist_max"]:
        return "shows one body without a waist, not two legs"
    if found.other_share > LIMITS["other_share_max"]:
        return f"shows more than two legs: {found.other_share:.0%} lies beside them"
    reasons = (_leg_reason(found, side) for side in (0, 1))
    return next((reason for reason in reasons if reason), "")


def measure_shape(image: SliceImage) -> Shape | None:
    """Measure the foreground of a slice as two halves.

    The slice is averaged to pixels of about :data:`GRID_MM`. Foreground is what lies above
    Otsu's threshold of the smoothed signal's square root, which keeps dark muscle and the far
    side of a surface coil's field. The halves are its two largest parts; where the second has
    less than a quarter of the first, the first is cut at the lowest column of its middle third.

    Parameters
    ----------
    image : SliceImage
        In the display convention.

    Returns
    -------
    Shape or None
        None where there is no foreground.
    """
    steps = [max(1, round(GRID_MM / step)) for step in image.spacing_mm]
    if min(image.pixels.shape[0] // steps[0], image.pixels.shape[1] // steps[1]) < 8:
        return None
    rows, columns = (n // k * k for n, k in zip(image.pixels.shape, steps, strict=True))
    pixels = block_reduce(image.pixels[:rows, :columns], tuple(steps), np.mean)
    grid = tuple(step * k for step, k in zip(image.spacing_mm, steps, strict=True))
    foreground = _foreground(pixels, grid)
    halves, waist = _halves(foreground)
    if halves is None:
        return None
    cell = grid[0] * grid[1] / 100
    parts = [measure.regionprops(half.astype(np.uint8))[0] for half in halves]
    both = measure.regionprops((halves[0] | halves[1]).astype(np.uint8))[0]
    return Shape(
        width_mm=tuple((p.bbox[3] - p.bbox[1]) * grid[1] for p in parts),
        height_mm=tuple((p.bbox[2] - p.bbox[0]) * grid[0] for p in parts),
        area_cm2=tuple(float(p.area * cell) for p in parts),
        solidity=tuple(float(p.solidity) for p in parts),
        pair_width_mm=(both.bbox[3] - both.bbox[1]) * grid[1],
        pair_height_mm=(both.bbox[2] - both.bbox[0]) * grid[0],
        waist=waist,
        other_share=float(1 - both.area / foreground.sum()),
        structure_cm2=tuple(_structure(pixels, half) * cell for half in halves),
    )


def _modality(facts: Facts) -> str:
    if facts.modality not in ("", "MR"):
        known = facts.modality in MODALITIES
        return f"is {facts.modality if known else 'another modality'}, not magnetic resonance"
    if facts.sop_class and facts.sop_class not in MR_CLASSES:
        named = UID(facts.sop_class).name
        known = "" if named == facts.sop_class else f", {named}"
        return f"is no MR image by its SOP class{known}"
    if facts.kind == "DICOM" and not (facts.modality or facts.sop_class):
        return "does not say that it is magnetic resonance"
    return ""


def _kind_of_image(facts: Facts) -> str:
    if facts.volumes > 1:
        return f"is one of {facts.volumes} volumes of its file: which is T1-weighted is not stated"
    if facts.burned_in:
        return BURNED_IN
    if facts.component not in ("", "MAGNITUDE"):
        return "shows no magnitude by its header, but phase, real or imaginary part"
    return next((NO_SLICE[word] for word in facts.image_type if word in NO_SLICE), "")


def _body_part(facts: Facts) -> str:
    other = next((part for part in OTHER_PARTS if part in facts.body_part), "")
    # The element is free text, so that only the word looked for is repeated.
    return f"shows another part of the body by its header: {other}" if other else ""


def _plane(facts: Facts) -> str:
    limit = LIMITS["tilt_max_deg"]
    if facts.tilt_deg > limit:  # NaN, not stated, is not greater
        text = f"is {facts.plane}, " if facts.plane != "axial" else ""
        return (
            f"{text or 'is '}tilted by {facts.tilt_deg:.0f}° from axial; the limit is {limit:.0f}°"
        )
    return ""


def _weighting(facts: Facts) -> str:
    if facts.echo_planar or {"EP", "EPI"} & set(facts.sequence):
        return "is echo-planar, not T1-weighted"
    if "FS" in facts.options or "FAT" in facts.suppressed:
        return "has its fat suppressed"
    if facts.suppressed not in ("", "NONE"):
        return "has another substance suppressed"
    if facts.inverted and not facts.inversion_ms > 0:
        return "is inversion recovery without its time: whether fat is nulled is not stated"
    if 0 < facts.inversion_ms < LIMITS["inversion_min_ms"]:
        return f"has its fat nulled: inversion time {facts.inversion_ms:.0f} ms"
    for name, value, limit in (
        ("echo", facts.echo_ms, LIMITS["echo_max_ms"]),
        ("repetition", facts.repetition_ms, LIMITS["repetition_max_ms"]),
    ):
        # T1-weighted inversion recovery repeats slowly.
        if value > limit and not (name == "repetition" and facts.inversion_ms > 0):
            return f"is not T1-weighted: {name} time {value:.0f} ms, limit {limit:.0f} ms"
    return ""


def _leg_reason(found: Shape, side: int) -> str:
    name = ("right", "left")[side]
    width, height = found.width_mm[side], found.height_mm[side]
    low, high = LIMITS["leg_width_per_height"]
    if min(width, height) < LIMITS["leg_min_mm"] or max(width, height) > LIMITS["leg_max_mm"]:
        return f"shows no thigh on the {name}: {width:.0f} mm wide and {height:.0f} mm high"
    if not low <= width / height <= high or found.solidity[side] < LIMITS["solidity_min"]:
        return f"shows no rounded part on the {name}"
    if found.structure_cm2[side] < LIMITS["structure_min_cm2"]:
        return f"shows one substance on the {name}: no bone, fat and muscle"
    return ""


def _foreground(pixels: np.ndarray, grid: tuple[float, float]) -> np.ndarray:
    smoothed = ndimage.gaussian_filter(pixels, [GRID_MM / step for step in grid])
    root = np.sqrt(np.clip(smoothed - np.percentile(pixels, 1), 0, None))
    if np.ptp(root) == 0:
        return np.zeros(pixels.shape, dtype=bool)
    above = root > filters.threshold_otsu(root)
    return ndimage.binary_fill_holes(ndimage.binary_opening(above))


def _halves(foreground: np.ndarray) -> tuple[list[np.ndarray] | None, float]:
    """Return the two halves from the image's left, and the waist between them."""
    labels = measure.label(foreground)
    sizes = np.bincount(labels.ravel())[1:]
    if not sizes.size:
        return None, np.nan
    first, *rest = np.argsort(sizes)[::-1]
    if rest and sizes[rest[0]] >= 0.25 * sizes[first]:
        pair = [labels == label + 1 for label in (first, rest[0])]
        return sorted(pair, key=lambda half: np.nonzero(half)[1].mean()), 0.0
    whole = labels == first + 1
    profile = whole.sum(axis=0)
    used = np.flatnonzero(profile)
    start, third = used[0], (used[-1] + 1 - used[0]) // 3
    middle = profile[start + third : used[-1] + 1 - third]
    if third < 2:
        return None, np.nan
    # Of equally low columns the one nearest the middle.
    lowest = np.flatnonzero(middle == middle.min())
    cut = start + third + int(lowest[np.argmin(np.abs(lowest - (len(middle) - 1) / 2))])
    columns = np.arange(whole.shape[1])
    waist = profile[cut] / min(profile[:cut].max(), profile[cut + 1 :].max())
    return [whole & (columns < cut), whole & (columns >= cut)], float(waist)


def _structure(pixels: np.ndarray, half: np.ndarray) -> int:
    """Count pixels, deeper than two fifths of the way in, far from that part's median."""
    depth = ndimage.distance_transform_edt(np.pad(half, 1))[1:-1, 1:-1]
    inside = pixels[depth > 0.4 * depth.max()]
    median, contrast = np.median(inside), LIMITS["structure_contrast"]
    return int(((inside < contrast * median) | (inside > median / contrast)).sum())
