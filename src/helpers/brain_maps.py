"""Where the brain network looks, scored against where the phantom's effect was planted.

A map gives every voxel of the network's box one value. The kinds of map are the poster's (mean
feature maps of the convolutional layers), feature maps of patients minus those of controls, and
two that ask for the decision: gradient times input, and occlusion. Beside each stands the
same map of a network with random weights, and one map without any network: the voxels'
difference between patients and controls. A map shows skill only where it beats both.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage, stats

from helpers import brain, head_box, talairach
from helpers.dystonianet import CONVOLUTIONS
from helpers.networks import keras
from helpers.phantom import brain_template

MEAN = tuple(f"mean {layer}" for layer in CONVOLUTIONS)
DIFFERENCE = tuple(f"difference {layer}" for layer in CONVOLUTIONS[:3])
GRADIENT, OCCLUSION, VOXELS = "gradient x input", "occlusion", "voxel difference"
#: The planted change, scored as if it were a map; its distance can be beaten.
PERFECT = "planted change itself"
#: All kinds of map, in the order of figures and tables.
KINDS = (*MEAN, *DIFFERENCE, GRADIENT, OCCLUSION, VOXELS, PERFECT)

TRAINED, RANDOM, NONE = "trained", "random weights", "none"

#: Voxels count as planted from this share of the region's largest change: an assumption.
PLANTED_FROM = 0.1
#: Clusters below this volume are left out of tables and of distances: an assumption.
SMALLEST_MM3 = 500.0


class Space(NamedTuple):
    """The grid of the maps.

    Attributes
    ----------
    affine : ndarray, shape (4, 4)
        Voxel index to mm.
    atlas : bool
        Whether these mm are MNI coordinates; otherwise they count from the box's centre, and
        no place has a name.
    """

    affine: NDArray[np.float64]
    atlas: bool


@dataclass(frozen=True)
class Truth:
    """Where the phantom's effect is planted, on the grid of the maps.

    Attributes
    ----------
    labels : ndarray of uint8, shape (x, y, z)
        Number of the region, counted from 1; 0 elsewhere.
    change : ndarray of float, shape (x, y, z)
        Planted change, 0 to 1.
    affine : ndarray, shape (4, 4)
        Voxel index to MNI mm.
    names : tuple of str
        Of the regions.
    centres_mm : ndarray, shape (centres, 3)
        Of each region and side, MNI.
    """

    labels: NDArray[np.uint8]
    change: NDArray[np.float64]
    affine: NDArray[np.float64]
    names: tuple[str, ...]
    centres_mm: NDArray[np.float64]


def space(folder: str | Path) -> Space:
    """Return the grid of a cohort's maps.

    Parameters
    ----------
    folder : str or Path
        ``results/<profile>``.

    Returns
    -------
    Space
        MNI where heads are registered. The phantom's unregistered heads lie about the
        template's place, so that its coordinates hold on average; own heads that are placed by
        their extent have none.
    """
    about, reading = brain.description(folder), brain.reading(folder)
    voxel_mm = reading["voxel_mm"]
    if reading["placement"] == "world":
        return Space(head_box.box_affine(voxel_mm, head_box.BOX_CENTRE_MM), True)
    if not about["synthetic"]:
        return Space(head_box.box_affine(voxel_mm, (0.0, 0.0, 0.0)), False)
    return Space(_template_affine(voxel_mm), True)


def planted(shape: tuple[int, int, int], affine: NDArray) -> Truth:
    """Return where the template's effect lies in a box.

    Parameters
    ----------
    shape : tuple of int
        Voxels of the box along x, y, z.
    affine : ndarray, shape (4, 4)
        Its voxel index to MNI mm; axes parallel to the world's.

    Returns
    -------
    Truth
        Labelled are voxels with at least :data:`PLANTED_FROM` of their region's largest change.

    Examples
    --------
    >>> affine = np.diag([4.0, 4.0, 4.0, 1.0])
    >>> affine[:3, 3] = -78, -111, -72
    >>> truth = planted((40, 48, 40), affine)
    >>> len(truth.names), truth.centres_mm.shape, sorted(set(truth.labels.ravel().tolist()))
    (6, (11, 3), [0, 1, 2, 3, 4, 5, 6])
    """
    template = brain_template.load(2.0)
    factor = max(1, round(float(affine[0, 0]) / 2.0))
    offsets = (np.arange(factor) + 0.5) / factor - 0.5
    axes = [(np.arange(n)[:, None] + offsets).ravel() for n in shape]
    points = _mm(np.stack(np.meshgrid(*axes, indexing="ij"), -1), affine)
    index = np.moveaxis(_mm(points, np.linalg.inv(template.affine)), -1, 0)
    unit = ndimage.map_coordinates(template.unit_effect, index, order=1)
    region = ndimage.map_coordinates(template.region, index, order=0)
    blocks = [size for n in shape for size in (n, factor)]
    unit = unit.reshape(blocks).mean((1, 3, 5))
    region = region.reshape(blocks).max((1, 3, 5))
    strongest = np.zeros(len(brain_template.REGIONS) + 1)
    np.maximum.at(strongest, region, unit)
    kept = (unit > 0) & (unit >= PLANTED_FROM * strongest[region])
    return Truth(
        labels=np.where(kept, region, 0).astype(np.uint8),
        change=unit,
        affine=np.asarray(affine, float),
        names=tuple(region.name for region in brain_template.REGIONS),
        centres_mm=np.concatenate([region.centres_mm for region in brain_template.REGIONS]),
    )


def inside(volumes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the voxels that lie in the head of more than half of the people.

    Parameters
    ----------
    volumes : ndarray, shape (n, x, y, z, 1)
        From :func:`helpers.brain.load`.

    Returns
    -------
    ndarray of bool, shape (x, y, z)

    Examples
    --------
    >>> scans = np.array([[[[-1, 1, 0]]], [[[1, 0, 0]]], [[[2, 1, 0]]]], float)[..., None]
    >>> inside(scans).tolist()
    [[[True, True, False]]]
    """
    if volumes.min() < 0:  # standardised: exactly 0 around the head
        return (volumes[..., 0] != 0).mean(axis=0) > 0.5
    return head_box.foreground(volumes[..., 0].mean(axis=0))


def random_network(model: keras.Model, *, seed: int) -> keras.Model:
    """Return a network of the same layers with random weights of its own.

    A plain clone would start from the very weights that the trained one started from, and
    resemble it for that reason alone.

    Parameters
    ----------
    model : keras.Model
        From :func:`helpers.dystonianet.train`.
    seed : int
        Of the weights.

    Returns
    -------
    keras.Model
    """
    # Trainings are seeded with small whole numbers; this state is none of theirs.
    keras.utils.set_random_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    return keras.models.clone_model(model, clone_function=_drawn_anew)


def all_maps(
    model: keras.Model,
    volumes: NDArray[np.float32],
    patient: NDArray,
    *,
    seed: int,
    occlusion_mm: float,
    voxel_mm: float,
    occlusion_people: int,
) -> dict[str, NDArray[np.float32]]:
    """Return every kind of map that a network gives.

    Parameters
    ----------
    model : keras.Model
        Trained, or from :func:`random_network`.
    volumes : ndarray of float32, shape (n, x, y, z, 1)
        Held-out people, from :func:`helpers.brain.load`.
    patient : ndarray, shape (n,)
        1 for patients, 0 for controls. Without both kinds no difference of feature maps exists.
    seed : int
        Of the choice of people for occlusion.
    occlusion_mm, voxel_mm : float
        Side of the box that is covered; of a voxel. mm.
    occlusion_people : int
        Patients, and as many controls, whose scans are covered; 0 leaves occlusion out.

    Returns
    -------
    dict of str to ndarray of float32, shape (x, y, z)
        By the names of :data:`KINDS`, in their order, without the last two, which need no network.
    """
    patient = np.asarray(patient).astype(bool)
    patients, controls = feature_maps(model, volumes, patient)
    parts = [(m, int(n)) for m, n in ((patients, patient.sum()), (controls, (~patient).sum())) if n]
    total = sum(n for _, n in parts)
    found = {
        name: sum(n * maps[layer] for maps, n in parts) / total
        for name, layer in zip(MEAN, CONVOLUTIONS, strict=True)
    }
    if len(parts) == 2:
        for name, layer in zip(DIFFERENCE, CONVOLUTIONS, strict=False):
            found[name] = patients[layer] - controls[layer]
    found[GRADIENT] = gradient_input(model, volumes)
    if occlusion_people:
        chosen = _some_of_each(patient, occlusion_people, seed)
        edge, cover = max(1, round(occlusion_mm / voxel_mm)), volumes.mean(axis=0)
        found[OCCLUSION] = occlusion(model, volumes[chosen], edge=edge, cover=cover)
    return found


def compared(
    model: keras.Model,
    volumes: NDArray[np.float32],
    patient: NDArray,
    *,
    seed: int,
    **options,
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Return the maps of a trained network beside those that learnt nothing.

    Parameters
    ----------
    model : keras.Model
        The trained network.
    volumes, patient
        As for :func:`all_maps`.
    seed : int
        Of the random weights, and as for :func:`all_maps`.
    **options
        Further arguments of :func:`all_maps`.

    Returns
    -------
    dict of str to dict
        By network (trained, random weights, none), then by kind: map (x, y, z). Without any
        network there is the voxel difference, where both groups have two people or more.
    """
    both = {TRAINED: model, RANDOM: random_network(model, seed=seed)}
    maps = {
        network: all_maps(one, volumes, patient, seed=seed, **options)
        for network, one in both.items()
    }
    patients = int(np.sum(patient))
    if min(patients, len(volumes) - patients) > 1:
        maps[NONE] = {VOXELS: voxel_difference(volumes, patient)}
    return maps


def feature_maps(
    model: keras.Model,
    volumes: NDArray[np.float32],
    patient: NDArray[np.bool_],
    *,
    batch_size: int = 8,
) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """Return the mean feature maps of patients, and of controls, for each convolutional layer.

    Of each scan: the mean over the layer's channels of the absolute feature map (after ReLU,
    before pooling), scaled to 0..1. Then the mean over people, spread to the scan's own grid by
    trilinear interpolation. The poster's figures show "average normalized weight of the 3D
    feature maps"; how these were computed is not published, so this reading is an assumption.

    Parameters
    ----------
    model : keras.Model
        With the layers :data:`CONVOLUTIONS`.
    volumes : ndarray of float32, shape (n, x, y, z, 1)
        From :func:`helpers.brain.load`.
    patient : ndarray of bool, shape (n,)
        Who is a patient.
    batch_size : int
        Scans at a time.

    Returns
    -------
    tuple of dict
        Map (x, y, z) by layer: patients, controls. NaN for a group without people, 0 for a
        layer that does not respond at all.
    """
    outputs = [model.get_layer(name).output for name in CONVOLUTIONS]
    network = keras.Model(model.input, outputs)
    sums = [[0.0] * len(CONVOLUTIONS) for _ in range(2)]
    for batch in _batches(len(volumes), batch_size):
        # Called and not predicted with: Keras would compile a function for each such network.
        layers = network(volumes[batch], training=False)
        for place, layer in enumerate(layers):
            scaled = _scaled(np.abs(np.asarray(layer)).mean(axis=-1))
            for group, rows in enumerate((patient[batch], ~patient[batch])):
                sums[group][place] = sums[group][place] + scaled[rows].sum(axis=0)
    counts = patient.sum(), (~patient).sum()
    means = [
        {
            name: _spread(total / count if count else total * np.nan, volumes.shape[1:4])
            for name, total in zip(CONVOLUTIONS, group, strict=True)
        }
        for group, count in zip(sums, counts, strict=True)
    ]
    return means[0], means[1]


def gradient_input(
    model: keras.Model, volumes: NDArray[np.float32], *, batch_size: int = 8
) -> NDArray[np.float32]:
    """Return the mean over people of the absolute value of gradient times input of the logit.

    For a linear network the values of one scan, with their signs, add up to its logit without
    the bias. Signs are dropped before the mean because patients and controls, whose arguments
    go opposite ways, would cancel. Taking the groups apart instead would show what differs in
    the images: a network with random weights then finds the planted places as well.

    Parameters
    ----------
    model : keras.Model
        Ending in one dense unit.
    volumes : ndarray of float32, shape (n, x, y, z, 1)
        Scans.
    batch_size : int
        Scans at a time.

    Returns
    -------
    ndarray of float32, shape (x, y, z)

    Notes
    -----
    Keras 3 has no gradient that every backend knows, but all of them train. Each scan is
    multiplied by 1 + s, voxel by voxel; the gradient of the summed logits by s at 0 is gradient
    times input. One step of plain descent with step size 1 leaves it in s.
    """
    logit = _logit(model)
    logit.trainable = False  # keeps batch normalisation on its running means too
    shape = (batch_size, *volumes.shape[1:])
    scan, factor = keras.Input(batch_shape=shape), _Factor()
    network = keras.Model(scan, logit(factor(scan), training=False))
    network.compile(keras.optimizers.SGD(1.0), loss=_as_is)
    found = np.zeros(volumes.shape[1:], np.float64)
    for batch in _batches(len(volumes), batch_size):
        scans = np.zeros(shape, np.float32)  # what a last batch lacks stays 0, and adds 0
        scans[: batch.stop - batch.start] = volumes[batch]
        factor.set_weights([np.zeros(shape, np.float32)])
        network.train_on_batch(scans, np.zeros((batch_size, 1), np.float32))
        # Keras descends along the mean over the batch.
        found += batch_size * np.abs(factor.get_weights()[0]).sum(axis=0) / len(volumes)
    return found[..., 0].astype(np.float32)


def occlusion(
    model: keras.Model,
    volumes: NDArray[np.float32],
    *,
    edge: int,
    cover: NDArray[np.float32],
    batch_size: int = 32,
) -> NDArray[np.float32]:
    """Return how far covering a box moves the logit: the mean over people of absolute changes.

    Parameters
    ----------
    model : keras.Model
        Ending in one dense unit.
    volumes : ndarray of float32, shape (n, x, y, z, 1)
        Scans.
    edge : int
        Side of the box, voxels. Boxes lie side by side and do not overlap.
    cover : ndarray of float32, shape (x, y, z, 1)
        What stands in a covered box: the mean scan, so that a box is neither a hole nor a
        patch that no brain has.
    batch_size : int
        Covered scans at a time.

    Returns
    -------
    ndarray of float32, shape (x, y, z)
        Linear between the boxes' centres. Boxes where no scan differs from the cover are not
        tried, their value is 0.

    Notes
    -----
    A covered box changes the first layer only around the box. There it is computed anew, and
    the rest of the network sees the first layer's pooled map with that piece exchanged. The
    result is the same, in two thirds of the time.
    """
    shape = volumes.shape[1:4]
    counts = [-(-n // edge) for n in shape]
    corners = [tuple(edge * i for i in place) for place in np.ndindex(*counts)]
    boxes = [tuple(slice(a, a + edge) for a in corner) for corner in corners]
    tried = [k for k, box in enumerate(boxes) if (volumes[:, *box] != cover[box]).any()]
    logit = _logit(model)
    whole = logit.predict(volumes, batch_size=batch_size, verbose=0)[:, 0]
    stem = _Stem(logit, edge) if _starts_with_pooled_convolution(logit) else None
    rest = stem.rest if stem else logit
    moved = np.zeros(len(boxes))
    for row, scan in enumerate(volumes):
        kept = stem.of(scan) if stem else scan
        for batch in _batches(len(tried), batch_size):
            covered = np.repeat(kept[None], batch_size, axis=0)
            some = [corners[k] for k in tried[batch]]
            if stem:
                stem.cover(covered, scan, some, cover)
            else:
                for one, k in zip(covered, tried[batch], strict=False):
                    one[boxes[k]] = cover[boxes[k]]
            # Every batch is full, so that only one function is compiled.
            found = rest.predict_on_batch(covered)[: len(some), 0]
            moved[tried[batch]] += np.abs(found - whole[row]) / len(volumes)
    places = [(np.arange(n) + 0.5) / edge - 0.5 for n in shape]
    grid = np.meshgrid(*places, indexing="ij")
    values = ndimage.map_coordinates(moved.reshape(counts), grid, order=1, mode="nearest")
    return values.astype(np.float32)


def voxel_difference(volumes: NDArray[np.float32], patient: NDArray) -> NDArray[np.float32]:
    """Return Cohen's d of every voxel between patients and controls, without any network.

    Parameters
    ----------
    volumes : ndarray of float32, shape (n, x, y, z, 1)
        Scans.
    patient : ndarray, shape (n,)
        1 for patients; at least two people of each kind.

    Returns
    -------
    ndarray of float32, shape (x, y, z)
        Difference of means over the pooled standard deviation; 0 where nobody varies.

    Examples
    --------
    >>> scans = np.array([3.0, 5.0, 0.0, 2.0]).reshape(4, 1, 1, 1, 1)
    >>> round(float(voxel_difference(scans, [1, 1, 0, 0])[0, 0, 0]), 4)
    2.1213
    """
    patient = np.asarray(patient).astype(bool)
    one, other = volumes[patient, ..., 0], volumes[~patient, ..., 0]
    # In double precision voxel by voxel, without a second copy of all scans.
    spread = [(len(v) - 1) * v.var(axis=0, ddof=1, dtype=float) for v in (one, other)]
    pooled = np.sqrt(sum(spread) / (len(volumes) - 2))
    difference = one.mean(axis=0, dtype=float) - other.mean(axis=0, dtype=float)
    return np.divide(difference, pooled, where=pooled > 0, out=np.zeros(pooled.shape)).astype(
        np.float32
    )


def top(values: NDArray, mask: NDArray[np.bool_], *, share: float = 0.05) -> NDArray[np.bool_]:
    """Return the voxels with the largest absolute values.

    Parameters
    ----------
    values : ndarray, shape (x, y, z)
        A map.
    mask : ndarray of bool, shape (x, y, z)
        Voxels that count, from :func:`inside`.
    share : float
        Of these voxels.

    Returns
    -------
    ndarray of bool, shape (x, y, z)
        None where the map is constant or undefined. Of equal values the first in the array's
        order are taken.

    Examples
    --------
    >>> top(np.array([1, -5, 2, 0]), np.array([True, True, True, True]), share=0.5).tolist()
    [False, True, True, False]
    """
    size = np.abs(values[mask]).astype(float)
    chosen = np.zeros(mask.shape, bool)
    if not size.size or not np.isfinite(size).all() or np.ptp(size) == 0:
        return chosen
    order = np.argsort(-size, kind="stable")[: max(1, round(share * size.size))]
    chosen[tuple(axis[order] for axis in np.nonzero(mask))] = size[order] > size.min()
    return chosen


def clusters(
    values: NDArray,
    chosen: NDArray[np.bool_],
    space: Space,
    *,
    smallest_mm3: float = SMALLEST_MM3,
) -> pd.DataFrame:
    """Return the clusters of a thresholded map, the largest first.

    Parameters
    ----------
    values : ndarray, shape (x, y, z)
        The map.
    chosen : ndarray of bool, shape (x, y, z)
        From :func:`top`. Voxels that touch, corners included, are one cluster.
    space : Space
        Of the grid.
    smallest_mm3 : float
        Smaller clusters are left out.

    Returns
    -------
    DataFrame
        ``volume_mm3``, ``peak`` (the map's value there), ``peak_mni, centre_mni,
        peak_talairach, centre_talairach`` (tuples, mm; the centre is that of mass, every voxel
        alike), ``nearest`` (planted region and side) and ``distance_mm`` from the cluster's
        centre to it. The last five are missing where the grid is no atlas, and the mm then
        count from the box's centre.
    """
    labels, count = ndimage.label(chosen, structure=np.ones((3, 3, 3)))
    voxel_mm3 = float(np.prod(np.linalg.norm(space.affine[:3, :3], axis=0)))
    rows = []
    for number in range(1, count + 1):
        places = np.argwhere(labels == number)
        if len(places) * voxel_mm3 < smallest_mm3:
            continue
        heights = values[tuple(places.T)]
        strongest = np.abs(heights).argmax()
        peak, centre = (_mm(p, space.affine) for p in (places[strongest], places.mean(axis=0)))
        row = {"volume_mm3": len(places) * voxel_mm3, "peak": float(heights[strongest])}
        rows.append(row | {"peak_mni": tuple(peak), "centre_mni": tuple(centre)})
    columns = ["volume_mm3", "peak", "peak_mni", "centre_mni"]
    table = pd.DataFrame(rows, columns=columns)
    table = table.sort_values("volume_mm3", ascending=False, ignore_index=True, kind="stable")
    named = [_named(centre, space) for centre in table["centre_mni"]]
    table["nearest"] = [name for name, _ in named]
    table["distance_mm"] = [distance for _, distance in named]
    for place in ("peak", "centre"):
        table[f"{place}_talairach"] = [
            tuple(talairach.from_mni(point)) if space.atlas else None
            for point in table[f"{place}_mni"]
        ]
    return table


def nearest_region(point_mm: NDArray) -> tuple[str, float]:
    """Return the planted region whose centre is nearest to a point, and the distance.

    The centres are our anatomical approximations of six names; no atlas stands behind them.

    Parameters
    ----------
    point_mm : array_like, shape (3,)
        MNI, mm.

    Returns
    -------
    tuple
        Name with its side, and mm.

    Examples
    --------
    >>> nearest_region((-16, 44, -15))
    ('left superior orbital gyrus', 3.0)
    """
    names, centres = region_centres()
    distances = np.linalg.norm(centres - np.asarray(point_mm), axis=1)
    nearest = int(distances.argmin())
    return names[nearest], float(distances[nearest])


def region_centres() -> tuple[list[str], NDArray[np.float64]]:
    """Return the name, with its side, and the MNI centre (mm) of every planted place.

    Examples
    --------
    >>> names, centres = region_centres()
    >>> names[:2], centres.shape
    (['corpus callosum', 'right anterior thalamic radiation'], (11, 3))
    """
    names, centres = [], []
    for region in brain_template.REGIONS:
        for centre in region.centres_mm:
            side = "" if centre[0] == 0 else "right " if centre[0] > 0 else "left "
            names.append(side + region.name)
            centres.append(centre)
    return names, np.array(centres, float)


def score(
    values: NDArray, mask: NDArray[np.bool_], truth: Truth, *, top_share: float = 0.05
) -> dict[str, float]:
    """Return how well a map's most active voxels meet the planted regions.

    Parameters
    ----------
    values : ndarray, shape (x, y, z)
        A map.
    mask : ndarray of bool, shape (x, y, z)
        From :func:`inside`.
    truth : Truth
        From :func:`planted`.
    top_share : float
        Share of the voxels inside that count as most active.

    Returns
    -------
    dict of str to float
        ``enrichment``: share of the active voxels that lie in planted regions over the planted
        regions' share of the brain, 1 by chance. ``dice``: of active and planted voxels;
        ``dice_chance``: its value when as many active voxels lie anywhere. ``distance_mm``:
        from each planted centre to the nearest cluster's centre, mean over planted centres;
        many small clusters make it short, so ``clusters`` stands beside it. NaN where nothing
        is active or nothing is planted.
    """
    chosen = top(values, mask, share=top_share)
    target = (truth.labels > 0) & mask
    nothing = dict.fromkeys(("enrichment", "dice", "distance_mm"), np.nan)
    if not chosen.any() or not target.any():
        return nothing | {"clusters": 0, "dice_chance": np.nan}
    active, there, both = chosen.sum(), target.sum(), (chosen & target).sum()
    found = clusters(values, chosen, Space(truth.affine, True))
    centres = np.array(found["centre_mni"].tolist()).reshape(-1, 3)
    apart = np.linalg.norm(truth.centres_mm[:, None] - centres[None], axis=-1)
    expected = 2 * active * there / mask.sum() / (active + there)
    return {
        "enrichment": float(both / active / (there / mask.sum())),
        "dice": float(2 * both / (active + there)),
        "distance_mm": float(apart.min(axis=1).mean()) if len(centres) else np.nan,
        "clusters": len(centres),
        "dice_chance": float(expected),
    }


def scores(
    model: keras.Model,
    volumes: NDArray[np.float32],
    patient: NDArray,
    *,
    truth: Truth,
    seed: int,
    top_share: float = 0.05,
    occlusion_mm: float = 16.0,
    occlusion_people: int = 6,
) -> pd.DataFrame:
    """Return the scores of every kind of map: trained network, random network, no network.

    The last row scores the planted change itself, the highest enrichment and Dice that a map
    can reach.

    Parameters
    ----------
    model : keras.Model
        The trained network.
    volumes : ndarray of float32, shape (n, x, y, z, 1)
        Held-out people.
    patient : ndarray, shape (n,)
        1 for patients, 0 for controls; at least two of each.
    truth : Truth
        From :func:`planted`.
    seed : int
        Of the random weights and of the people whose scans are covered.
    top_share : float
        As for :func:`score`.
    occlusion_mm : float
        Side of the covered box, mm.
    occlusion_people : int
        As for :func:`all_maps`.

    Returns
    -------
    DataFrame
        ``map`` (of :data:`KINDS`), ``network`` (trained, random weights, none) and the columns
        of :func:`score`.
    """
    options = dict(occlusion_mm=occlusion_mm, occlusion_people=occlusion_people, seed=seed)
    voxel_mm = float(truth.affine[0, 0])
    maps = compared(model, volumes, patient, voxel_mm=voxel_mm, **options)
    maps[NONE] = maps.get(NONE, {}) | {PERFECT: truth.change}
    return score_table(maps, inside(volumes), truth, top_share=top_share)


def score_table(
    maps: dict[str, dict[str, NDArray]],
    mask: NDArray[np.bool_],
    truth: Truth,
    *,
    top_share: float,
) -> pd.DataFrame:
    """Return :func:`score` of many maps.

    Parameters
    ----------
    maps : dict of str to dict
        By network, then by kind: map (x, y, z).
    mask, truth, top_share
        As for :func:`score`.

    Returns
    -------
    DataFrame
        ``map, network`` and the columns of :func:`score`; kinds in their order.
    """
    rows = [
        {"map": kind, "network": network, **score(values, mask, truth, top_share=top_share)}
        for network, kinds in maps.items()
        for kind, values in kinds.items()
    ]
    table = pd.DataFrame(rows)
    return table.sort_values("map", key=lambda k: k.map(KINDS.index), kind="stable").reset_index(
        drop=True
    )


def over_seeds(table: pd.DataFrame, *, by: list[str]) -> pd.DataFrame:
    """Return means over seeds, with intervals.

    Parameters
    ----------
    table : DataFrame
        ``map, network, seed`` and the columns of :func:`score`; rows of several trainings.
    by : list of str
        Further columns that tell results apart, for example the planted effect.

    Returns
    -------
    DataFrame
        ``by``, map, network, measure, seeds, estimate, low, high: 95 % intervals of Student's t
        over seeds, which are independent trainings on the same people. NaN limits where fewer
        than two seeds have a value.

    Examples
    --------
    >>> rows = pd.DataFrame({"map": "occlusion", "network": "trained", "seed": [1, 2, 3],
    ...                      "dice": [0.1, 0.2, 0.3]})
    >>> over_seeds(rows, by=[])[["estimate", "low", "high"]].round(3).values.tolist()
    [[0.2, -0.048, 0.448]]
    """
    measures = [m for m in ("enrichment", "dice", "distance_mm") if m in table]
    keys = [*by, "map", "network"]
    long = table.melt([*keys, "seed"], measures, "measure", "value").dropna(subset="value")
    found = long.groupby([*keys, "measure"], sort=False)["value"].agg(["mean", "std", "count"])
    half = stats.t.ppf(0.975, found["count"] - 1) * found["std"] / np.sqrt(found["count"])
    limits = {"low": found["mean"] - half, "high": found["mean"] + half}
    found = found.assign(**limits).rename(columns={"mean": "estimate", "count": "seeds"})
    return found.reset_index()[[*keys, "measure", "seeds", "estimate", "low", "high"]]


def likeness(
    trained: dict[str, NDArray],
    untrained: dict[str, NDArray],
    scan: NDArray,
    mask: NDArray[np.bool_],
) -> pd.DataFrame:
    """Return how much the mean feature maps resemble maps that learnt nothing.

    Parameters
    ----------
    trained, untrained : dict of str to ndarray
        From :func:`all_maps`.
    scan : ndarray, (x, y, z)
        Mean scan of the same people.
    mask : ndarray of bool, (x, y, z)
        Voxels that count: with those around the head, any two maps would look alike.

    Returns
    -------
    DataFrame
        Layer, and Pearson's correlation over the voxels inside with the untrained map and with
        the scan; NaN for a layer that does not respond.
    """
    rows = []
    for kind, layer in zip(MEAN, CONVOLUTIONS, strict=True):
        own = trained[kind][mask]
        others = (untrained[kind][mask], scan[mask])
        flat = [np.ptp(own) == 0 or np.ptp(other) == 0 for other in others]
        found = [
            np.nan if none else np.corrcoef(own, other)[0, 1]
            for none, other in zip(flat, others, strict=True)
        ]
        rows.append((layer, *found))
    return pd.DataFrame(rows, columns=["layer", "with_untrained", "with_scan"])


class _Factor(keras.layers.Layer):
    """Multiplies by 1 + s, one s for each voxel of each scan of the batch."""

    def build(self, input_shape):
        self.s = self.add_weight(shape=input_shape, initializer="zeros", name="s")

    def call(self, scan):
        return scan * (1.0 + self.s)


class _Stem:
    """The first convolution and pooling, computed anew only around a covered box."""

    def __init__(self, model: keras.Model, edge: int) -> None:
        convolution, pooling = model.layers[1:3]
        self.edge, self.reach = edge, convolution.kernel_size[0] // 2
        self.step = pooling.pool_size[0]
        whole = keras.Model(model.input, pooling.output)
        self.of = lambda scan: np.asarray(whole(scan[None], training=False))[0]
        entry = keras.Input(pooling.output.shape[1:])
        flow = entry
        for layer in model.layers[3:]:
            flow = layer(flow, training=False) if _has_modes(layer) else layer(flow)
        self.rest = keras.Model(entry, flow)
        # A box covers at most so many pooled cells along an axis, wherever it begins.
        self.cells = (edge + 2 * self.reach - 2) // self.step + 2
        size = self.cells * self.step + 2 * self.reach
        piece = keras.Input((size, size, size, 1))
        config = convolution.get_config() | {"padding": "valid", "name": "piece"}
        local = keras.layers.Conv3D.from_config(config)
        self.piece = keras.Model(piece, keras.layers.MaxPooling3D(self.step)(local(piece)))
        local.set_weights(convolution.get_weights())

    def cover(self, pooled: NDArray, scan: NDArray, corners: list, cover: NDArray) -> None:
        """Exchange, in copies of a scan's pooled map, what a covered box at each corner changes."""
        pad = self.step * self.cells + self.reach
        edges = [(pad, pad)] * 3 + [(0, 0)]
        plain, under = np.pad(scan, edges), np.pad(cover, edges)
        starts = [[(a - self.reach) // self.step for a in corner] for corner in corners]
        size = self.cells * self.step + 2 * self.reach
        pieces = np.zeros((len(pooled), size, size, size, 1), np.float32)
        for piece, corner, start in zip(pieces, corners, starts, strict=False):
            low = [pad + self.step * a - self.reach for a in start]
            piece[:] = plain[tuple(slice(a, a + size) for a in low)]
            own = tuple(
                slice(pad + a - b, pad + a - b + self.edge)
                for a, b in zip(corner, low, strict=True)
            )
            there = tuple(slice(pad + a, pad + a + self.edge) for a in corner)
            piece[own] = under[there]
        changed = np.asarray(self.piece(pieces))
        for one, new, start in zip(pooled, changed, starts, strict=False):
            low = [max(a, 0) for a in start]
            high = [min(a + self.cells, n) for a, n in zip(start, one.shape, strict=False)]
            inner = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
            one[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = new[inner]


def _starts_with_pooled_convolution(model: keras.Model) -> bool:
    kinds = (keras.layers.InputLayer, keras.layers.Conv3D, keras.layers.MaxPooling3D)
    first = model.layers[:3]
    return len(first) == 3 and all(map(isinstance, first, kinds)) and first[1].padding == "same"


def _has_modes(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization | keras.layers.Dropout)


def _as_is(_, logits):
    return logits


def _logit(model: keras.Model) -> keras.Model:
    last = model.layers[-1]
    if not isinstance(last, keras.layers.Dense) or last.units != 1:
        raise ValueError(
            f"The network ends in {type(last).__name__} {last.name!r}; expected one dense unit."
        )
    linear = keras.layers.Dense(1, use_bias=last.use_bias, name="logit")
    network = keras.Model(model.input, linear(last.input))
    linear.set_weights(last.get_weights())
    return network


def _drawn_anew(layer: keras.Layer) -> keras.Layer:
    config = layer.get_config()
    for name, initializer in config.items():
        if name.endswith("_initializer") and "seed" in initializer["config"]:
            initializer["config"]["seed"] = None
    return type(layer).from_config(config)


def _scaled(responses: NDArray) -> NDArray[np.float64]:
    """Scale each scan's response, (n, x, y, z), to 0..1."""
    flat = responses.reshape(len(responses), -1).astype(float)
    low, span = flat.min(axis=1, keepdims=True), np.ptp(flat, axis=1, keepdims=True)
    scaled = np.divide(flat - low, span, where=span > 0, out=np.zeros_like(flat))
    return scaled.reshape(responses.shape)


def _spread(values: NDArray, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    factors = np.array(shape) / values.shape
    spread = ndimage.zoom(values, factors, order=1, mode="nearest", grid_mode=True)
    return spread.astype(np.float32)


def _some_of_each(patient: NDArray[np.bool_], people: int, seed: int) -> NDArray[np.intp]:
    rng = np.random.default_rng(seed)
    groups = [g for g in (np.flatnonzero(patient), np.flatnonzero(~patient)) if len(g)]
    size = min(people, *(len(group) for group in groups))
    return np.concatenate([rng.choice(group, size, replace=False) for group in groups])


def _named(centre, space: Space) -> tuple[str | None, float]:
    return nearest_region(centre) if space.atlas else (None, np.nan)


def _mm(index: NDArray, affine: NDArray) -> NDArray[np.float64]:
    return np.asarray(index, float) @ affine[:3, :3].T + affine[:3, 3]


def _batches(count: int, size: int) -> Iterator[slice]:
    return (slice(i, min(i + size, count)) for i in range(0, count, size))


def _template_affine(voxel_mm: float) -> NDArray[np.float64]:
    """Return the affine of a box that hangs on the template's head as on any other."""
    template = brain_template.load(2.0)
    fluid = np.clip(template.brain - template.white - template.grey, 0, 1)
    image = template.white + 0.7 * template.grey + 0.28 * fluid
    found = head_box.coarse(head_box.Grid(image * template.brain, template.affine))
    centre = head_box.head_centre(found, head_box.head_mask(found))
    return head_box.box_affine(voxel_mm, centre)
