"""Class activation maps: which places of an image raise the classifier's output.

With global average pooling before one dense unit, the logit is the mean over places of
:math:`M(x, y) = \\sum_k w_k f_k(x, y)`, plus the bias. :math:`M` is the class activation map.

References
----------
Zhou B, Khosla A, Lapedriza A, Oliva A, Torralba A. Learning deep features for discriminative
localization. CVPR 2016:2921-2929.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from helpers import training
from helpers.networks import keras


def class_activation(model: keras.Model, images: NDArray) -> tuple[NDArray, NDArray]:
    """Return the class activation maps of preprocessed images, and the logits.

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
        The maps' means plus the bias.
    """
    pooling = model.get_layer(training.POOLING)
    last_map = keras.Model(model.input, pooling.input).predict(images, verbose=0)
    kernel, bias = model.get_layer(training.HEAD).get_weights()
    maps = last_map.astype(float) @ kernel[:, 0].astype(float)
    return maps, maps.mean(axis=(1, 2)) + bias[0]


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
