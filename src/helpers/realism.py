"""How far the phantom is from real scans: the same measures taken from both.

The measures look at the image only, never at the phantom's truth, so that a real slice and a
simulated one are treated alike. The real slices behind ``data/real_thighs.csv`` are public
Dixon scans, not T1-weighted spin echo: :data:`FAIR` says which measure can be compared with
which kind of image. No image and no single person's table is kept, only percentiles of each
volume.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage import filters, measure

from helpers import images, paths
from helpers.images import SliceImage

#: Classes of intensity relative to subcutaneous fat; the last one takes what is brighter.
BINS = np.round(np.linspace(0, 1.5, 31), 2)
#: Edges, mm, of the windows in which local contrast is measured.
WINDOWS_MM = (3.0, 6.0, 12.0)
#: Mean of a window that counts as muscle, relative to subcutaneous fat.
MUSCLE_LEVELS = (0.15, 0.45)
#: Depth below the skin, mm, at which the level of subcutaneous fat is read.
FAT_DEPTH_MM = (3.0, 8.0)

#: What each measure is, with its unit.
MEASURES = {
    "width": "mm",
    "height": "mm",
    "area": "cm²",
    "width over height": "ratio",
    "gap": "mm",
    "skin edge": "mm",
    "fat to muscle edge": "mm",
    **{f"contrast in {window:g} mm": "sd / mean" for window in WINDOWS_MM},
    "variation of fat": "sd / mean",
    "noise in air": "share of fat",
}
#: Kind of image to the measures that it shares with a T1-weighted spin echo.
#:
#: In an opposed-phase image water and fat cancel: edges between them are black, that below the
#: skin too, and a muscle with fat gets darker. Its outline and its air are those of any image.
#: The weighted sum of a water and a fat image has the levels of muscle and fat that were put
#: in; what lies between them is measured. Its air holds the noise of two images.
FAIR = {
    "opposed phase": ("width", "height", "area", "width over height", "gap", "noise in air"),
    "weighted sum": tuple(name for name in (*MEASURES, "intensity") if name != "noise in air"),
}


#: What :func:`beside_real` calls the volume of the cohort at hand.
COHORT = "this cohort"


class NoTwoLegs(ValueError):
    """A slice does not show two legs that can be measured apart."""


def outlines(image: SliceImage) -> np.ndarray:
    """Return the two legs of a slice, by one low threshold.

    Parameters
    ----------
    image : SliceImage
        In radiological display convention.

    Returns
    -------
    ndarray of int, shape (rows, columns)
        0 outside, 1 the leg on the left of the image, 2 that on its right. Legs in contact
        are parted at their narrowest column.

    Raises
    ------
    NoTwoLegs
        When there are not two parts of similar size, or their bridge is over a quarter of
        their height.

    Examples
    --------
    >>> rows, columns = np.mgrid[:60, :120]
    >>> discs = [np.hypot(rows - 30, columns - c) < 20 for c in (32, 88)]
    >>> parts = outlines(SliceImage(np.maximum(*discs).astype(float), (1.0, 1.0)))
    >>> np.unique(parts).tolist(), bool(parts[30, 32] == 1), bool(parts[30, 88] == 2)
    ([0, 1, 2], True, True)
    """
    smooth = ndimage.gaussian_filter(image.pixels, [1 / step for step in image.spacing_mm])
    if np.ptp(smooth) == 0:
        raise NoTwoLegs("The slice is of one value.")
    # Half of Otsu's threshold: it may fall between muscle and fat, and skin is dark.
    body = ndimage.binary_fill_holes(smooth > filters.threshold_otsu(smooth) / 2)
    parts = _two_largest(body)
    if parts.max() < 2:
        body = parts > 0
        height = body.sum(axis=0)
        middle = round(np.average(np.arange(height.size), weights=height))
        reach = int(0.15 * np.flatnonzero(height).size)
        cut = middle - reach + int(np.argmin(height[middle - reach : middle + reach + 1]))
        if height[cut] > 0.25 * height.max():
            raise NoTwoLegs("The legs are joined over more than a quarter of their height.")
        body[:, cut] = False
        parts = _two_largest(body)
    if parts.max() < 2:
        raise NoTwoLegs("Expected two parts of similar size.")
    return parts


def measured(image: SliceImage) -> pd.DataFrame:
    """Measure both legs of a slice.

    Parameters
    ----------
    image : SliceImage
        In radiological display convention.

    Returns
    -------
    DataFrame
        One row a leg: the columns of :data:`MEASURES`, NaN where the slice does not give one
        (no edge between fat and muscle, air set to zero by the scanner), and one column
        ``intensity <low>`` for each class of :data:`BINS`, the share of the leg's pixels in it.

    Raises
    ------
    NoTwoLegs
        As :func:`outlines`.
    """
    parts = outlines(image)
    from_legs = ndimage.distance_transform_edt(parts == 0, sampling=image.spacing_mm)
    gap = ndimage.distance_transform_edt(parts != 1, sampling=image.spacing_mm)[parts == 2].min()
    noise = _noise_in_air(image.pixels, from_legs)
    rows = []
    for number, window in enumerate(ndimage.find_objects(parts), start=1):
        around = tuple(
            slice(max(0, s.start - pad), s.stop + pad)
            for s, pad in zip(window, (round(8 / step) for step in image.spacing_mm), strict=True)
        )
        leg = parts[around] == number
        depth = ndimage.distance_transform_edt(leg, sampling=image.spacing_mm)
        level = _fat_level(image.pixels[around], depth)
        pixels = np.where(parts[around] == 3 - number, 0, image.pixels[around]) / level
        row = _shape(leg, image.spacing_mm) | {"gap": gap, "noise in air": noise / level}
        row |= _edges(pixels, depth, image.spacing_mm) | _contrasts(pixels, depth, image.spacing_mm)
        rows.append(row | _shares(pixels[leg]))
    return pd.DataFrame(rows)


def rise_mm(profiles: np.ndarray, *, step_mm: float, plateau_mm: float = 1.5) -> np.ndarray:
    """Return over which distance each profile rises from 10 to 90 % of its step.

    Parameters
    ----------
    profiles : ndarray, shape (n, points)
        Values along lines from the dark to the bright side.
    step_mm : float
        Distance between points.
    plateau_mm : float
        Length at each end whose mean is the level of that side.

    Returns
    -------
    ndarray, shape (n,)
        Millimetres; NaN where a profile does not rise.

    Examples
    --------
    A straight ramp of 10 mm rises from 10 to 90 % within 8 mm:

    >>> ramp = np.clip(np.arange(-10, 20, 0.5) / 10, 0, 1)
    >>> rise_mm(ramp[None], step_mm=0.5).round(6).tolist()
    [8.0]
    """
    ends = max(1, round(plateau_mm / step_mm))
    low, high = profiles[:, :ends].mean(axis=1), profiles[:, -ends:].mean(axis=1)
    found = np.full(len(profiles), np.nan)
    for index in np.flatnonzero(high > low):
        scaled = (profiles[index] - low[index]) / (high[index] - low[index])
        top = int(np.argmax(scaled >= 0.9))
        under = np.flatnonzero(scaled[:top] <= 0.1)
        if under.size:
            positions = [
                _crossing(scaled, start, at) for start, at in ((under[-1], 0.1), (top - 1, 0.9))
            ]
            found[index] = (positions[1] - positions[0]) * step_mm
    return found


def of_slices(slices: Iterable[SliceImage]) -> pd.DataFrame:
    """Measure slices; those without two legs that can be told apart are left out.

    Parameters
    ----------
    slices : iterable of SliceImage
        In radiological display convention.

    Returns
    -------
    DataFrame
        From :func:`measured`; empty where no slice can be measured.
    """
    tables = []
    for image in slices:
        try:
            tables.append(measured(image))
        except NoTwoLegs:
            continue
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def of_cohort(
    slices: pd.DataFrame, *, folder: str | Path, seed: int, at_most: int = 40
) -> pd.DataFrame:
    """Measure a random sample of a cohort's slices.

    Parameters
    ----------
    slices : DataFrame
        ``slices.csv``.
    folder : str or Path
        Folder that relative file names start from.
    seed : int
        Of the sample.
    at_most : int
        Slices in the sample; at most one of a case.

    Returns
    -------
    DataFrame
        From :func:`of_slices`; files that cannot be read are left out.
    """
    chosen = slices.sample(frac=1, random_state=seed).drop_duplicates("case_id").head(at_most)
    return of_slices(_readable(chosen, Path(folder)))


def weighted_sum(water: SliceImage, fat: SliceImage, *, muscle_over_fat: float) -> SliceImage:
    """Return a T1-weighted-like signal from a water and a fat image.

    The water image is scaled so that muscle gets the level that the spin-echo equation gives
    it, the fat image so that subcutaneous fat gets 1.

    Parameters
    ----------
    water, fat : SliceImage
        Of one slice, from a Dixon separation.
    muscle_over_fat : float
        Signal of muscle over that of fat, see :func:`helpers.phantom.physics.signals`.

    Returns
    -------
    SliceImage
        Fat near 1; what it shows is not a spin echo.

    Raises
    ------
    NoTwoLegs
        As :func:`outlines`.
    """
    inside = outlines(SliceImage(water.pixels + fat.pixels, water.spacing_mm)) > 0
    depth = ndimage.distance_transform_edt(inside, sampling=water.spacing_mm)
    of_fat = _fat_level(fat.pixels, depth)
    own = water.pixels[inside & (fat.pixels < 0.15 * of_fat)]
    if own.size == 0:
        raise NoTwoLegs("No muscle without fat is in the slice.")
    pixels = muscle_over_fat * water.pixels / np.median(own) + fat.pixels / of_fat
    return SliceImage(pixels, water.spacing_mm)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return percentiles of each measure over the legs of a table.

    Parameters
    ----------
    table : DataFrame
        From :func:`measured`.

    Returns
    -------
    DataFrame
        measure, unit, legs (with a value), p10, p50, p90.
    """
    names = [*MEASURES, *(f"intensity {low:g}" for low in BINS)]
    rows = []
    for name in names:
        values = table.get(name, pd.Series(dtype=float)).dropna()
        points = values.quantile([0.1, 0.5, 0.9]).tolist()
        unit = MEASURES.get(name, "share of pixels")
        rows.append((name, unit, len(values), *points))
    return pd.DataFrame(rows, columns=["measure", "unit", "legs", "p10", "p50", "p90"])


def real() -> pd.DataFrame:
    """Return the aggregates of the public real scans that are fair to compare.

    Returns
    -------
    DataFrame
        volume, kind, source, licence, and the columns of :func:`summary`.
    """
    return pd.read_csv(paths.package_data("real_thighs.csv"))


def beside_real(measured: pd.DataFrame) -> pd.DataFrame:
    """Stack a cohort's percentiles on those of the public real scans.

    Parameters
    ----------
    measured : DataFrame
        From :func:`summary`.

    Returns
    -------
    DataFrame
        The columns of :func:`real`; the cohort's rows have the volume ``this cohort``.
    """
    return pd.concat([measured.assign(volume=COHORT), real()], ignore_index=True)


def ratios(compared: pd.DataFrame) -> pd.Series:
    """Return the cohort's median of each measure over that of the real scans.

    Parameters
    ----------
    compared : DataFrame
        From :func:`beside_real`.

    Returns
    -------
    Series
        Ratio by measure, spaces in its name replaced by underscores. Where several real
        volumes are fair to compare, the median of theirs. 1 for alike.
    """
    named = compared[compared.measure.isin(list(MEASURES))]
    own = named[named.volume == COHORT].set_index("measure").p50
    others = named[named.volume != COHORT].groupby("measure").p50.median()
    return (own / others).rename(lambda name: name.replace(" ", "_"))


def _readable(slices: pd.DataFrame, folder: Path) -> Iterator[SliceImage]:
    for row in slices.itertuples():
        with suppress(images.UnreadableImage):
            yield images.read_slice(folder / row.file, row.frame)


def _two_largest(body: np.ndarray) -> np.ndarray:
    labels = measure.label(body)
    sizes = np.bincount(labels.ravel())[1:]
    largest = np.argsort(sizes)[::-1][:2]
    legs = [n + 1 for n in largest if sizes[n] >= 0.4 * sizes.max()]
    legs.sort(key=lambda n: np.nonzero(labels == n)[1].mean())
    parts = np.zeros(body.shape, dtype=np.uint8)
    for number, leg in enumerate(legs, start=1):
        parts[labels == leg] = number
    return parts


def _fat_level(pixels: np.ndarray, depth: np.ndarray) -> float:
    """Level of subcutaneous fat: upper quartile, as thin fat leaves muscle in the rim."""
    rim = (depth > FAT_DEPTH_MM[0]) & (depth < FAT_DEPTH_MM[1])
    return float(np.percentile(pixels[rim], 75))


def _shape(leg: np.ndarray, spacing: tuple[float, float]) -> dict[str, float]:
    rows, columns = np.flatnonzero(leg.any(axis=1)), np.flatnonzero(leg.any(axis=0))
    height = (rows[-1] - rows[0] + 1) * spacing[0]
    width = (columns[-1] - columns[0] + 1) * spacing[1]
    area = leg.sum() * spacing[0] * spacing[1] / 100
    return {"width": width, "height": height, "area": area, "width over height": width / height}


def _edges(pixels: np.ndarray, depth: np.ndarray, spacing: tuple[float, float]) -> dict[str, float]:
    # Lines between muscles are short, so that thin seams count: rises beyond 3 mm come out short.
    step = 0.1
    outer = _profiles(pixels, 0.5, spacing, reach_mm=5.0, step_mm=step, where=depth < 8)
    inner = _profiles(pixels, 0.6, spacing, reach_mm=3.0, step_mm=step, where=depth > 8)
    ends = round(1.0 / step)
    air, fat = outer[:, :ends].mean(axis=1) < 0.15, outer[:, -ends:].mean(axis=1) > 0.7
    dark, bright = inner[:, :ends].mean(axis=1) < 0.45, inner[:, -ends:].mean(axis=1) > 0.75
    return {
        "skin edge": _median(rise_mm(outer[air & fat], step_mm=step)),
        "fat to muscle edge": _median(rise_mm(inner[dark & bright], step_mm=step, plateau_mm=1.0)),
    }


def _profiles(
    pixels: np.ndarray,
    level: float,
    spacing: tuple[float, float],
    *,
    reach_mm: float,
    step_mm: float,
    where: np.ndarray,
) -> np.ndarray:
    """Values along lines across the contour of a level, from its dark to its bright side."""
    smooth = ndimage.gaussian_filter(pixels, [1 / step for step in spacing])
    contours = measure.find_contours(smooth, level)
    points = np.concatenate(contours) if contours else np.empty((0, 2))
    points = points[where[tuple(np.rint(points).astype(int).T)]]
    points = points[:: max(1, len(points) // 400)]
    offsets = np.arange(-reach_mm, reach_mm + step_mm / 2, step_mm)
    slope = np.stack([ndimage.map_coordinates(g, points.T, order=1) for g in np.gradient(smooth)])
    # The gradient in mm, as pixels need not be square.
    normal = slope / np.array(spacing)[:, None]
    normal /= np.maximum(np.hypot(*normal), 1e-12)
    across = normal[:, :, None] * offsets / np.array(spacing)[:, None, None]
    return ndimage.map_coordinates(pixels, points.T[:, :, None] + across, order=1, mode="nearest")


def _contrasts(
    pixels: np.ndarray, depth: np.ndarray, spacing: tuple[float, float]
) -> dict[str, float]:
    found = {}
    for edge in WINDOWS_MM:
        mean, sd, lowest = _local(pixels, edge, spacing)
        muscle = (depth > 10 + edge) & (mean > MUSCLE_LEVELS[0]) & (mean < MUSCLE_LEVELS[1])
        # Bone, tendon and vessels give no signal: not what muscle looks like.
        muscle &= lowest > 0.05
        found[f"contrast in {edge:g} mm"] = _median(sd[muscle] / mean[muscle])
    mean, sd, _ = _local(pixels, WINDOWS_MM[0], spacing)
    rim = (depth > FAT_DEPTH_MM[0]) & (depth < FAT_DEPTH_MM[1]) & (mean > 0.75)
    # The calmest tenth: strands, vessels and muscle in the rim are left out.
    found["variation of fat"] = (
        float(np.percentile(sd[rim] / mean[rim], 10)) if rim.any() else np.nan
    )
    return found


def _local(
    pixels: np.ndarray, edge_mm: float, spacing: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    size = [max(2, round(edge_mm / step)) for step in spacing]
    mean = ndimage.uniform_filter(pixels, size)
    square = ndimage.uniform_filter(pixels**2, size)
    sd = np.sqrt(np.maximum(square - mean**2, 0))
    return mean, sd, ndimage.minimum_filter(pixels, size)


def _shares(values: np.ndarray) -> dict[str, float]:
    counts, _ = np.histogram(np.clip(values, 0, None), [*BINS, np.inf])
    return {f"intensity {low:g}": n / values.size for low, n in zip(BINS, counts, strict=True)}


def _noise_in_air(pixels: np.ndarray, from_legs: np.ndarray) -> float:
    """Noise of each channel from the magnitude in air, as if one coil had received it.

    NaN where the scanner dimmed the air: more than a quarter of it is zero.
    """
    air = pixels[from_legs > 15]
    if air.size < 1000 or np.mean(pixels[from_legs > 30] == 0) > 0.25:
        return np.nan
    return float(np.sqrt(np.mean(air**2) / 2))


def _crossing(values: np.ndarray, start: int, level: float) -> float:
    return start + (level - values[start]) / (values[start + 1] - values[start])


def _median(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size >= 20 else np.nan
