"""What a page shows of the brain network's maps: sections, clusters and scores of a cohort."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage, stats

from helpers import brain, brain_maps, doses, talairach
from helpers.brain_maps import NONE, PERFECT, RANDOM, TRAINED, Space, Truth
from helpers.networks import keras

#: An own cohort's mean scan is shown only when so many people are in it: with fewer, one
#: person's face may be recognised in it.
PEOPLE_FOR_A_MEAN = 10
#: Patients, and controls, behind the maps, at most; drawn at random. For time alone.
PEOPLE_PER_GROUP = 60
#: Sections that meet all six planted regions: axis and place, Talairach mm.
PLANES = (("z", 15.0), ("z", -7.0), ("x", 0.0), ("x", 48.0))
#: What sections show of Talairach's brain along x, y, z, mm, and the spacing of their pixels.
SEEN_MM, PIXEL_MM = ((-72.0, 72.0), (-108.0, 74.0), (-50.0, 78.0)), 1.0


class Looked(NamedTuple):
    """Maps of a cohort's held-out people.

    Attributes
    ----------
    space : Space
        Their grid.
    mask : ndarray of bool, shape (x, y, z)
        Voxels inside the head.
    scan : ndarray of float32, shape (x, y, z)
        Mean scan of the main series.
    shown : bool
        Whether the mean scan may be shown: always for the phantom.
    patients, controls : int
        People behind the maps.
    maps : dict
        By series, then by network, then by kind: map (x, y, z).
    truth : Truth or None
        Of the phantom.
    """

    space: Space
    mask: NDArray[np.bool_]
    scan: NDArray[np.float32]
    shown: bool
    patients: int
    controls: int
    maps: dict[str, dict[str, dict[str, NDArray]]]
    truth: Truth | None


class View(NamedTuple):
    """What the viewer in the page holds: means over people, on a coarse grid.

    Attributes
    ----------
    space : Space
        Of the grid.
    mask : ndarray of bool, shape (x, y, z)
        Voxels inside the head.
    scan : ndarray of uint8, shape (voxels inside,), or None
        Mean scan, 0 to 255; None where it may not be shown.
    planted : ndarray of uint8, shape (voxels inside,), or None
        Number of the planted region, 0 elsewhere; None for own scans.
    maps : list of tuple
        Series, network, kind and :func:`levels` of each map.
    people : int
        Behind every map.
    """

    space: Space
    mask: NDArray[np.bool_]
    scan: NDArray[np.uint8] | None
    planted: NDArray[np.uint8] | None
    maps: list[tuple[str, str, str, NDArray[np.uint8]]]
    people: int


def look(
    subjects: pd.DataFrame,
    folder: str | Path,
    models: dict[str, keras.Model],
    *,
    seed: int,
    occlusion_mm: float,
    occlusion_people: int,
) -> Looked:
    """Return every map of the held-out people of a cohort.

    Parameters
    ----------
    subjects : DataFrame
        From :func:`helpers.brain.read_subjects`.
    folder : str or Path
        ``results/<profile>``.
    models : dict of str to keras.Model
        The trained network of each series of :func:`helpers.brain.series`.
    seed : int
        Of the random weights and of the people whose scans are covered.
    occlusion_mm : float
        Side of the covered box, mm.
    occlusion_people : int
        As for :func:`helpers.brain_maps.all_maps`.

    Returns
    -------
    Looked
        One series of scans is in memory at a time.
    """
    held_out = subjects[subjects["split"].isin(["validation", "held_out_controls"])]
    shuffled = held_out.sample(frac=1, random_state=seed)
    people = shuffled.groupby("patient").head(PEOPLE_PER_GROUP).sort_index()
    patient = people["patient"].to_numpy().astype(bool)
    where, columns = brain_maps.space(folder), brain.series(subjects)
    options = dict(seed=seed, occlusion_mm=occlusion_mm, occlusion_people=occlusion_people)
    options["voxel_mm"] = float(where.affine[0, 0])
    maps, first = {}, None
    for name, model in models.items():
        volumes = brain.load(people, folder, column=columns[name])
        maps[name] = brain_maps.compared(model, volumes, patient, **options)
        first = first or (brain_maps.inside(volumes), volumes[..., 0].mean(axis=0))
    synthetic = brain.description(folder)["synthetic"]
    truth = brain_maps.planted(first[0].shape, where.affine) if synthetic else None
    shown = synthetic or len(people) >= PEOPLE_FOR_A_MEAN
    counts = int(patient.sum()), int((~patient).sum())
    return Looked(where, *first, shown, *counts, maps, truth)


def measured(looked: Looked, *, top_share: float) -> pd.DataFrame:
    """Return the scores of every map of a phantom cohort.

    Parameters
    ----------
    looked : Looked
        From :func:`look`.
    top_share : float
        As for :func:`helpers.brain_maps.score`.

    Returns
    -------
    DataFrame
        ``series`` and the columns of :func:`helpers.brain_maps.score_table`; empty for own
        scans, of which no truth is known.
    """
    if looked.truth is None:
        return pd.DataFrame(columns=["series", "map", "network", "enrichment", "dice"])
    parts = []
    for series, maps in looked.maps.items():
        none = maps.get(NONE, {}) | {PERFECT: looked.truth.change}
        table = brain_maps.score_table(
            maps | {NONE: none}, looked.mask, looked.truth, top_share=top_share
        )
        parts.append(table.assign(series=series))
    table = pd.concat(parts, ignore_index=True)
    return table[["series", *table.columns.drop("series")]]


def headline(scores: pd.DataFrame, series: str) -> dict[str, float]:
    """Return the enrichments that prose quotes.

    Parameters
    ----------
    scores : DataFrame
        From :func:`measured`.
    series : str
        One of its series.

    Returns
    -------
    dict of str to float
        NaN where nothing is planted.
    """
    wanted = {
        "first_layer": ("mean conv1", TRAINED),
        "first_layer.random": ("mean conv1", RANDOM),
        "gradient": ("gradient x input", TRAINED),
        "gradient.random": ("gradient x input", RANDOM),
        "occlusion": ("occlusion", TRAINED),
        "occlusion.random": ("occlusion", RANDOM),
        "voxels": ("voxel difference", NONE),
        "perfect": (PERFECT, NONE),
    }
    known = scores[scores["series"] == series].set_index(["map", "network"])["enrichment"]
    return {key: float(known.get(place, np.nan)) for key, place in wanted.items()}


def better(scores: pd.DataFrame, series: str) -> str:
    """Return which maps of the trained network beat chance and both references.

    Parameters
    ----------
    scores : DataFrame
        From :func:`measured`.
    series : str
        One of its series.

    Returns
    -------
    str
        Kinds whose enrichment lies above 1, above that of the same map with random weights and
        above the voxel difference; how far above is not asked.

    Examples
    --------
    >>> rows = [("occlusion", "trained", 3), ("occlusion", "random weights", 2)]
    >>> scores = pd.DataFrame([*rows, ("voxel difference", "none", 5)],
    ...                       columns=["map", "network", "enrichment"]).assign(series="a")
    >>> better(scores, "a")
    'no map'
    """
    part = scores[scores["series"] == series]
    if part.empty:
        return "no map (nothing is planted in your own scans)"
    wide = part.pivot(index="map", columns="network", values="enrichment")
    bar = max(1.0, wide.get(NONE, pd.Series(dtype=float)).get(brain_maps.VOXELS, 1.0))
    found = [k for k in wide.index if wide[TRAINED][k] > max(bar, wide[RANDOM][k])]
    return ", ".join(kind for kind in brain_maps.KINDS if kind in found) or "no map"


def long_run(folder: str | Path) -> tuple[pd.DataFrame, str]:
    """Return the scores of the long run's networks on registered heads, over their seeds.

    Parameters
    ----------
    folder : str or Path
        ``results/<profile>``; its effect sizes give the rows their names.

    Returns
    -------
    tuple
        As :func:`helpers.brain_maps.over_seeds`, with ``effect`` (series); and its standing in
        words. Without rows for own scans, or where nothing was stored yet.
    """
    about = brain.description(folder).get("specification", {})
    columns = ["effect", "map", "network", "measure", "seeds", "estimate", "low", "high"]
    try:
        stored = doses.read("brain_localisation")
    except FileNotFoundError:
        return pd.DataFrame(columns=columns), "not measured yet"
    sizes = {about.get("effect_d"): brain.EFFECTS[0], about.get("exaggerated_d"): brain.EFFECTS[1]}
    stored = stored[(stored["pose"] == "registered") & stored["effect_d"].isin(list(sizes))]
    if stored.empty:
        return pd.DataFrame(columns=columns), "not measured at these effect sizes"
    table = brain_maps.over_seeds(
        stored.assign(effect=stored["effect_d"].map(sizes)), by=["effect"]
    )
    moved = " and ".join(doses.changed(stored))
    fits = f"made with another {moved}" if moved else "still of this phantom and network"
    seeds = f"{table['seeds'].min()} seeds or more"
    return table[columns], f"{seeds}, {stored['date'].max()}, make doses, {fits}"


def found_clusters(
    looked: Looked, series: str, kinds: list[str], *, top_share: float, most: int
) -> pd.DataFrame:
    """Return the largest clusters of the trained network's maps, and of no network.

    Parameters
    ----------
    looked : Looked
        From :func:`look`.
    series : str
        One of its series.
    kinds : list of str
        Of :data:`helpers.brain_maps.KINDS`; those that are missing are left out.
    top_share : float
        As for :func:`helpers.brain_maps.top`.
    most : int
        Clusters of each map.

    Returns
    -------
    DataFrame
        ``map`` and the columns of :func:`helpers.brain_maps.clusters`.
    """
    maps = looked.maps[series][TRAINED] | looked.maps[series].get(NONE, {})
    parts = []
    for kind in (kind for kind in kinds if kind in maps):
        chosen = brain_maps.top(maps[kind], looked.mask, share=top_share)
        part = brain_maps.clusters(maps[kind], chosen, looked.space).head(most)
        parts.append(part.assign(map=kind))
    table = pd.concat(parts, ignore_index=True)
    return table[["map", *table.columns.drop("map")]]


def sections(
    volume: NDArray, space: Space, *, order: int = 1
) -> list[tuple[str, float, NDArray[np.float64]]]:
    """Return the sections of :data:`PLANES` through a volume, in Talairach-Tournoux space.

    Parameters
    ----------
    volume : ndarray, shape (x, y, z)
        On the grid of the maps.
    space : Space
        Of the grid. Where it is no atlas, the planes lie in its own mm.
    order : int
        0 takes the nearest voxel, 1 interpolates.

    Returns
    -------
    list of tuple
        Axis, place (mm) and pixels: first axis from top to bottom, second from left to right of
        the picture. Axial sections are seen from above, the person's left on the left.
    """
    found = []
    for axis, place in PLANES:
        across, up = ("y", "z") if axis == "x" else ("x", "y")
        lines = {
            name: np.arange(low, high, PIXEL_MM) + PIXEL_MM / 2
            for name, (low, high) in zip("xyz", SEEN_MM, strict=True)
        }
        grid = dict.fromkeys("xyz")
        grid[up], grid[across] = np.meshgrid(lines[up][::-1], lines[across], indexing="ij")
        grid[axis] = np.full_like(grid[up], place)
        points = np.stack([grid[name] for name in "xyz"], axis=-1)
        points = talairach.to_mni(points) if space.atlas else points
        index = np.moveaxis((points - space.affine[:3, 3]) / np.diag(space.affine)[:3], -1, 0)
        values = ndimage.map_coordinates(volume.astype(float), index, order=order)
        found.append((axis, place, values))
    return found


def pictures(
    looked: Looked, series: str, kinds: tuple[str, ...], *, top_share: float
) -> list[dict]:
    """Return what a figure of maps draws: sections of each map, thresholded.

    Parameters
    ----------
    looked : Looked
        From :func:`look`.
    series : str
        One of its series.
    kinds : tuple of str
        Of :data:`helpers.brain_maps.KINDS`; those that are missing are left out.
    top_share : float
        As for :func:`helpers.brain_maps.top`.

    Returns
    -------
    list of dict
        One a kind and network: ``map``, ``network``, ``enrichment`` (NaN for own scans) and
        ``sections``, each a dict of ``axis``, ``place`` and the pixels of ``scan`` (0..1, NaN
        where it may not be shown), ``chosen`` (sign of the map where it is among the top,
        otherwise 0) and ``planted`` (0..1).
    """
    under = np.clip(_fraction(looked.scan, looked.mask), 0, 1)
    scan = sections(under if looked.shown else np.where(looked.mask, 0.35, 0.0), looked.space)
    there = looked.truth.labels > 0 if looked.truth else np.zeros(looked.mask.shape)
    outline = sections(there, looked.space)
    rows = []
    for kind in kinds:
        for network, maps in looked.maps[series].items():
            if kind not in maps:
                continue
            chosen = brain_maps.top(maps[kind], looked.mask, share=top_share)
            over = sections(np.sign(maps[kind]) * chosen, looked.space, order=0)
            enriched = np.nan
            if looked.truth:
                found = brain_maps.score(maps[kind], looked.mask, looked.truth, top_share=top_share)
                enriched = found["enrichment"]
            shown = [
                {"axis": axis, "place": place, "scan": s, "chosen": o, "planted": t}
                for (axis, place, s), (*_, o), (*_, t) in zip(scan, over, outline, strict=True)
            ]
            about = {"map": kind, "network": network, "enrichment": enriched}
            rows.append(about | {"sections": shown})
    return rows


def view(looked: Looked, *, voxel_mm: float = 4.0) -> View:
    """Return what the viewer in the page holds.

    Parameters
    ----------
    looked : Looked
        From :func:`look`.
    voxel_mm : float
        Finer grids are averaged to about this.

    Returns
    -------
    View
        The trained networks of all series, the voxel differences, and the network with random
        weights on the last series; cut to the head.
    """
    factor = max(1, round(voxel_mm / looked.space.affine[0, 0]))
    inside = _averaged(looked.mask, factor) > 0.5
    corner, end = np.argwhere(inside).min(axis=0), np.argwhere(inside).max(axis=0) + 1
    box = tuple(slice(a, b) for a, b in zip(corner, end, strict=True))
    affine = looked.space.affine.copy()
    affine[:3, 3] += np.diag(affine)[:3] * ((factor - 1) / 2 + factor * corner)
    affine[:3, :3] *= factor
    mask = inside[box]

    def cut(volume: NDArray) -> NDArray:
        return _averaged(volume, factor)[box]

    scan = np.clip(_fraction(cut(looked.scan), mask), 0, 1)[mask] if looked.shown else None
    maps = [
        (series, network, kind, levels(cut(values), mask))
        for series, networks in looked.maps.items()
        for network, kinds in networks.items()
        for kind, values in kinds.items()
        if network != RANDOM or series == list(looked.maps)[-1]
    ]
    return View(
        Space(affine, looked.space.atlas),
        mask,
        None if scan is None else np.round(255 * scan).astype(np.uint8),
        None
        if looked.truth is None
        else _blocks(looked.truth.labels, factor).max((1, 3, 5))[box][mask],
        maps,
        looked.patients + looked.controls,
    )


def levels(values: NDArray, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return how far up each voxel inside stands among all, in steps of a fifth of a per cent.

    Parameters
    ----------
    values : ndarray, shape (x, y, z)
        A map.
    mask : ndarray of bool, shape (x, y, z)
        Voxels inside.

    Returns
    -------
    ndarray of uint8, shape (voxels inside,)
        255 for the largest absolute values, 0 from the median down: a level of 255 (1 - 2 s) or
        more is among the top share s. All 0 for a constant map.

    Examples
    --------
    >>> levels(np.array([0.0, 1.0, -3.0, 2.0]), np.array([True, True, True, True])).tolist()
    [0, 0, 255, 85]
    """
    size = np.abs(values[mask]).astype(float)
    if not np.isfinite(size).all() or np.ptp(size) == 0:
        return np.zeros(size.size, np.uint8)
    rank = (stats.rankdata(size, method="min") - 1) / (size.size - 1)
    return np.round(255 * np.clip(2 * rank - 1, 0, 1)).astype(np.uint8)


def _blocks(volume: NDArray, factor: int) -> NDArray:
    whole = tuple(slice(0, n // factor * factor) for n in volume.shape)
    volume = volume[whole]
    return volume.reshape([size for n in volume.shape for size in (n // factor, factor)])


def _averaged(volume: NDArray, factor: int) -> NDArray[np.float64]:
    return _blocks(volume, factor).mean((1, 3, 5), dtype=float)


def _fraction(scan: NDArray, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Scale a scan so that the head runs from 0 to 1, 0 around it."""
    low, high = np.percentile(scan[mask], [0.5, 99.5])
    return np.where(mask, 0.06 + 0.94 * (scan - low) / ((high - low) or 1.0), 0.0)
