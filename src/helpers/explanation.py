"""Class activation maps: which places of an image raise the classifier's output.

With global average pooling before one dense unit, the logit is the mean over places of
:math:`M(x, y) = \\sum_k w_k f_k(x, y)`, plus the bias. :math:`M` is the class activation map.

References
----------
Zhou B, Khosla A, Lapedriza A, Oliva A, Torralba A. Learning deep features for discriminative
localization. CVPR 2016:2921-2929.

Selvaraju RR, Cogswell M, Das A, et al. Grad-CAM: visual explanations from deep networks via
gradient-based localization. ICCV 2017:618-626.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit

from helpers import features, images, inference, paths, training
from helpers.networks import keras
from helpers.phantom import anatomy

#: The four kinds of cases that the paper's Fig. 5 shows: label and call.
GROUPS: dict[str, tuple[int, int]] = {
    "dystrophinopathy, called so": (1, 1),
    "dystrophinopathy, missed": (1, 0),
    "other disease, called another": (0, 0),
    "other disease, called dystrophinopathy": (0, 1),
}
CALLS = ("called dystrophinopathy", "called another disease")


def class_activation(model: keras.Model, images: NDArray) -> tuple[NDArray, NDArray]:
    """Return the class activation maps of preprocessed images, and the logits.

    With hidden layers in the head the channels have no weights of their own. But the logit is
    linear in the channels' means as long as no hidden unit switches, so around each image they
    have: the logit's gradient. Such a map is Grad-CAM without its rectification; it adds up to
    the logit like the other one, but says nothing beyond the image it was made for.

    Parameters
    ----------
    model : keras.Model
        From :func:`helpers.training.assemble`, or loaded from its file.
    images : ndarray, (n, rows, columns, 3)
        Preprocessed for the network.

    Returns
    -------
    maps : ndarray, (n, map rows, map columns)
        Contribution of each place to the logit.
    logits : ndarray, (n,)
        The maps' means plus what the biases add.
    """
    pooling = model.get_layer(training.POOLING)
    last_map = keras.Model(model.input, pooling.input).predict(images, verbose=0).astype(float)
    weights, bias = _weights_around(model, last_map.mean(axis=(1, 2)))
    flat = last_map.reshape(len(last_map), -1, last_map.shape[-1])
    maps = (flat @ weights[..., None]).reshape(last_map.shape[:3])
    return maps, maps.mean(axis=(1, 2)) + bias


def kind_of_map(model: keras.Model) -> str:
    """Return which maps :func:`class_activation` makes of a classifier.

    Parameters
    ----------
    model : keras.Model
        As there.

    Returns
    -------
    str
        ``"class activation maps"``, or ``"gradient-weighted class activation maps"`` where the
        head has hidden layers.
    """
    deep = len(_head(model)) > 1
    return "gradient-weighted class activation maps" if deep else "class activation maps"


def _head(model: keras.Model) -> list[tuple[NDArray, NDArray]]:
    """Return kernel and bias of each layer behind the pooling."""
    last = model.layers.index(model.get_layer(training.POOLING))
    return [tuple(w.astype(float) for w in k.get_weights()) for k in model.layers[last + 1 :]]


def _weights_around(model: keras.Model, means: NDArray) -> tuple[NDArray, NDArray]:
    """Return weights (n, channels) and rest (n,): around each image its logit's linear function."""
    *hidden, (kernel, bias) = _head(model)
    active, flow = [], means
    for own, shift in hidden:
        flow = flow @ own + shift
        active.append(flow > 0)
        flow = np.maximum(flow, 0)
    weights = np.broadcast_to(kernel[:, 0], flow.shape)
    rest = np.full(len(means), bias[0])
    for (own, shift), lit in zip(reversed(hidden), reversed(active), strict=True):
        rest = rest + (weights * lit) @ shift
        weights = (weights * lit) @ own.T
    return weights, rest


def on_box(
    activation: NDArray, shape: tuple[int, int], *, spacing_mm: tuple[float, float] = (1.0, 1.0)
) -> NDArray[np.float64]:
    """Enlarge a map to the source pixels of the leg image it belongs to.

    The network saw the leg's box centred in a square; the map covers that square.

    Parameters
    ----------
    activation : ndarray, (map rows, map columns)
        One map of :func:`class_activation`.
    shape : tuple of int
        Rows and columns of the box.
    spacing_mm : tuple of float
        Distance between its rows and between its columns.

    Returns
    -------
    ndarray
        Of that shape; bilinear, constant beyond the centres of the outer places.

    Examples
    --------
    >>> on_box(np.array([[0.0, 4.0]]), (1, 4))
    array([[0., 1., 3., 4.]])
    """
    size_mm = [count * spacing for count, spacing in zip(shape, spacing_mm, strict=True)]
    edge_mm = max(size_mm)
    places = [
        ((np.arange(n) + 0.5) * spacing + (edge_mm - length) / 2) / edge_mm * cells - 0.5
        for n, spacing, length, cells in zip(
            shape, spacing_mm, size_mm, activation.shape, strict=True
        )
    ]
    grid = np.meshgrid(*places, indexing="ij")
    return ndimage.map_coordinates(activation, grid, order=1, mode="nearest")


def share_by_tissue(activation: NDArray, labels: NDArray, names: dict[int, str]) -> pd.DataFrame:
    """Return how much of the positive part of a map lies in each tissue.

    Parameters
    ----------
    activation : ndarray, (rows, columns)
        From :func:`on_box`.
    labels : ndarray of int, (rows, columns)
        Tissue of each pixel; for scoring only, no model sees it.
    names : dict of int to str
        Tissue of each label; labels of one name are taken together.

    Returns
    -------
    DataFrame
        tissue, attribution_share (NaN when nothing is positive), area_share.

    Examples
    --------
    >>> share_by_tissue(np.array([[3.0, 1.0, -5.0]]), np.array([[1, 2, 2]]), {1: "bone", 2: "fat"})
      tissue  attribution_share  area_share
    0   bone               0.75    0.333333
    1    fat               0.25    0.666667
    """
    positive = np.clip(activation, 0, None)
    total = positive.sum() or np.nan
    pixels = pd.DataFrame(
        {
            "tissue": pd.Series(labels.ravel()).map(names).to_numpy(),
            "attribution_share": positive.ravel() / total,
            "area_share": 1 / labels.size,
        }
    )
    return pixels.groupby("tissue", sort=False, as_index=False).sum(min_count=1)


def examples(test: pd.DataFrame, *, per_group: int, seed: int) -> pd.DataFrame:
    """Draw leg images of each group at random, at most one of a case.

    Parameters
    ----------
    test : DataFrame
        image_id, case_id, label, call, from :func:`helpers.accuracy.scored_images`.
    per_group : int
        At most so many; fewer where a group has fewer cases.
    seed : int
        Of the draw: nothing is chosen by its look.

    Returns
    -------
    DataFrame
        Rows of ``test`` with ``group``, in the order of :data:`GROUPS`.
    """
    parts = []
    for group, (label, call) in GROUPS.items():
        rows = test[(test["label"] == label) & (test["call"] == call)]
        rows = rows.sample(frac=1, random_state=seed).drop_duplicates("case_id").head(per_group)
        parts.append(rows.assign(group=group))
    return pd.concat(parts, ignore_index=True)


def relative(maps: NDArray, logits: NDArray) -> NDArray[np.float64]:
    """Return maps less the mean map, so that each one's mean is its logit less the mean logit.

    Behind hidden layers the biases' part differs by image. It has no place, so its difference
    from the average is spread evenly; behind a single layer there is none.

    Parameters
    ----------
    maps, logits : ndarray, (n, rows, columns) and (n,)
        From :func:`class_activation`.

    Returns
    -------
    ndarray, (n, rows, columns)

    Examples
    --------
    >>> relative(np.array([[[1.0, 3.0]], [[2.0, 2.0]]]), np.array([2.0, 6.0])).tolist()
    [[[-2.5, -1.5]], [[2.5, 1.5]]]
    """
    rest = logits - maps.mean(axis=(1, 2))
    maps = maps + (rest - rest.mean())[:, None, None]
    return maps - maps.mean(axis=0)


def explain(
    model: keras.Model, name: str, rows: pd.DataFrame, table: pd.DataFrame, folder: Path
) -> list[dict]:
    """Return leg images and their maps, relative to the mean map, in source pixels.

    The zero of a class activation map means nothing by itself: the bias can be large and cancel
    the map's mean. So the mean map of the given images is subtracted place by place; what is
    left argues for dystrophinopathy more, or less, than the same place of an average image.

    Parameters
    ----------
    model : keras.Model
        From :func:`helpers.training.assemble`, or loaded from its file.
    name : str
        Its network, for the preprocessing.
    rows : DataFrame
        image_id and anything else, which is handed on.
    table : DataFrame
        ``images.csv``.
    folder : Path
        ``results/<profile>``.

    Returns
    -------
    list of dict
        One a row: its columns, slice_id, box, leg and activation (rows, columns), and the
        logit, which comes from the whole map.
    """
    places = rows[["image_id"]].merge(table, on="image_id", how="left", validate="1:1")
    ready = features.network_input(name, places, folder, input_pixels=model.input_shape[1])
    maps, logits = class_activation(model, ready)
    maps, found = relative(maps, logits), []
    for row, place, activation, logit in zip(
        rows.to_dict("records"), places.itertuples(), maps, logits, strict=True
    ):
        row0, col0, row1, col1 = features.box(place)
        source = images.read_slice(folder / place.file, place.frame)
        leg = source.pixels[row0:row1, col0:col1]
        # A mirrored leg was shown to the network mirrored: its map is turned back.
        activation = activation[:, ::-1] if getattr(place, "mirrored", 0) else activation
        fine = on_box(activation, leg.shape, spacing_mm=source.spacing_mm)
        about = {"slice_id": place.slice_id, "box": features.box(place), "logit": logit}
        found.append(row | about | {"leg": leg, "activation": fine})
    return found


def chosen(explained: list[dict], drawn: pd.DataFrame) -> list[dict]:
    """Return the maps of the drawn images, each with its group.

    Parameters
    ----------
    explained : list of dict
        From :func:`explain`.
    drawn : DataFrame
        From :func:`examples`.

    Returns
    -------
    list of dict
        In the order of ``drawn``.

    Examples
    --------
    >>> drawn = pd.DataFrame({"image_id": ["b"], "group": ["missed"]})
    >>> chosen([{"image_id": "a"}, {"image_id": "b"}], drawn)
    [{'image_id': 'b', 'group': 'missed'}]
    """
    by_id = {item["image_id"]: item for item in explained}
    return [by_id[row.image_id] | {"group": row.group} for row in drawn.itertuples()]


def largest_gap(explained: list[dict]) -> float:
    """Return how far the maps are from the saved probabilities they must add up to.

    Parameters
    ----------
    explained : list of dict
        From :func:`explain`, with ``probability``.

    Returns
    -------
    float
        Largest difference in probability.
    """
    return max(abs(expit(item["logit"]) - item["probability"]) for item in explained)


def tissue_names() -> dict[int, str]:
    """Return the tissue of each value of the phantom's label maps.

    Returns
    -------
    dict of int to str
        Muscles by their name; cortex and marrow are the femur.

    Examples
    --------
    >>> names = tissue_names()
    >>> names[0], names[anatomy.LABELS["marrow"]], names[anatomy.LABELS["RF"]]
    ('outside the leg', 'femur', 'rectus femoris')
    """
    geometry = pd.read_csv(paths.package_data("thigh_geometry.csv"))
    long = dict(zip(geometry["muscle"], geometry["name"], strict=True))
    long |= {"cortex": "femur", "marrow": "femur", "vessel": "vessels and nerve"}
    long |= {"nerve": "vessels and nerve"}
    found = {value: long.get(name, name) for name, value in anatomy.LABELS.items()}
    return {0: "outside the leg"} | found


def tissue_table(explained: list[dict], truth: Path, names: dict[int, str]) -> pd.DataFrame:
    """Return, leg by leg, in which tissues the arguments for the network's own call lie.

    Parameters
    ----------
    explained : list of dict
        From :func:`explain`, with ``call``. Of an image that was called another disease, the
        negative part of the map counts.
    truth : Path
        Folder of the label maps, ``cohort/thigh/truth``; an author's own cohort has none.
    names : dict of int to str
        Tissue of each label; outside the leg is 0.

    Returns
    -------
    DataFrame
        image_id, case_id, group (of the call), tissue, attribution_share, area_share; without
        rows where there is no label map.
    """
    parts = []
    for item in explained:
        file = truth / f"{item['slice_id']}.npz"
        if not file.is_file():
            continue
        row0, col0, row1, col1 = item["box"]
        with np.load(file, allow_pickle=False) as arrays:
            labels = arrays["labels"][row0:row1, col0:col1]
        sign, group = (1, CALLS[0]) if item["call"] else (-1, CALLS[1])
        part = share_by_tissue(sign * item["activation"], labels, names)
        parts.append(part.assign(image_id=item["image_id"], case_id=item["case_id"], group=group))
    columns = ["image_id", "case_id", "group", "tissue", "attribution_share", "area_share"]
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)


def enrichment(table: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Return each tissue's share of the attribution divided by its share of the area.

    Parameters
    ----------
    table : DataFrame
        From :func:`tissue_table`.
    seed : int
        Of the resampling of cases.

    Returns
    -------
    DataFrame
        group, tissue, attribution_share and area_share (means over leg images), estimate (their
        ratio), low, high, method; 1 means no more than the area would give by chance. Images
        whose map holds no argument for the call are left out.
    """
    rows, table = [], table.dropna(subset="attribution_share")
    for (group, tissue), part in table.groupby(["group", "tissue"], sort=False):
        by_case = part.groupby("case_id")[["attribution_share", "area_share"]].sum()
        weights = inference.case_weights(by_case.index, replicates=2000, seed=seed)
        sums = weights @ by_case.to_numpy()
        ratio = inference.percentiles(sums[:, 0] / sums[:, 1], cases=len(by_case))
        means = part[["attribution_share", "area_share"]].mean()
        rows.append({"group": group, "tissue": tissue, **means, **ratio._asdict()})
    columns = ["group", "tissue", "attribution_share", "area_share", *inference.Interval._fields]
    return pd.DataFrame(rows, columns=columns)


def ratios(table: pd.DataFrame, tissue: str) -> dict[str, inference.Interval]:
    """Return one tissue's ratio for both kinds of call.

    Parameters
    ----------
    table : DataFrame
        From :func:`enrichment`.
    tissue : str
        One of :func:`tissue_names`.

    Returns
    -------
    dict of str to Interval
        By :data:`CALLS`; NaN where there is no such image or no label map.
    """
    rows = table[table["tissue"] == tissue].set_index("group")[list(inference.Interval._fields)]
    nothing = inference.Interval(np.nan, np.nan, np.nan, "none: no such image or no label map")
    found = {
        group: inference.Interval(*row)
        for group, row in zip(rows.index, rows.to_numpy(), strict=True)
    }
    return {call: found.get(call, nothing) for call in CALLS}


def most_enriched(table: pd.DataFrame) -> dict[str, str]:
    """Return the tissue with the highest ratio for each kind of call.

    Parameters
    ----------
    table : DataFrame
        From :func:`enrichment`.

    Returns
    -------
    dict of str to str
        By :data:`CALLS`: the tissue and its ratio; ``"no tissue"`` where there is none.

    Examples
    --------
    >>> rows = {"group": [CALLS[0]] * 2, "tissue": ["femur", "skin"], "estimate": [0.5, 2.0]}
    >>> most_enriched(pd.DataFrame(rows))[CALLS[0]]
    'skin (2.00)'
    """
    found = dict.fromkeys(CALLS, "no tissue")
    for group, part in table.dropna(subset="estimate").groupby("group"):
        top = part.loc[part["estimate"].idxmax()]
        found[group] = f"{top['tissue']} ({top['estimate']:.2f})"
    return found


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`enrichment` as a page shows it.

    Parameters
    ----------
    table : DataFrame
        From :func:`enrichment`.

    Returns
    -------
    DataFrame
        Tissue and one column a kind of call: ratio and interval.
    """
    shown = table.assign(text=[_ratio_text(row) for row in table.itertuples()])
    tissues = list(dict.fromkeys(table["tissue"]))
    wide = shown.pivot_table(index="tissue", columns="group", values="text", aggfunc="first")
    wide = wide.reindex(index=tissues, columns=[c for c in CALLS if c in wide]).fillna("–")
    return wide.rename_axis("Tissue").reset_index().rename_axis(None, axis=1)


def _ratio_text(row) -> str:
    limits = f" ({row.low:.2f} to {row.high:.2f})" if np.isfinite(row.low) else ""
    return f"{row.estimate:.2f}{limits}"
