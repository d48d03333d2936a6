"""Fine-tuning: the last block of a network trained together with its head.

The paper keeps every convolution frozen; this is an option, off by default. What comes before
the block never changes, so its output is computed once and kept on disk, like pooled features.
Batch normalisation keeps its means and variances, as Keras advises for fine-tuning.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from helpers import accuracy, features, networks, training
from helpers.networks import keras

#: The layer whose output goes into the block that is unfrozen, by network: VGG's last group of
#: convolutions, ResNet's last residual block, DenseNet's last dense block, Inception's last module.
BEFORE_LAST_BLOCK = {
    "VGG19": "block4_pool",
    "ResNet50": "conv5_block2_out",
    "DenseNet201": "pool4_pool",
    "DenseNet121": "pool4_pool",
    "InceptionV3": "mixed9",
}


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned last block with its head.

    Attributes
    ----------
    model : keras.Model
        From the block's input to the probability.
    path : DataFrame
        epoch, training_loss, validation_loss (0 = start).
    best_epoch : int
        Of the lowest validation loss; its weights are in the model.
    parameters : int
        How many were trained.
    """

    model: keras.Model
    path: pd.DataFrame
    best_epoch: int
    parameters: int


def last_block(classifier: keras.Model, name: str) -> keras.Model:
    """Return a classifier's last block and head, unfrozen but for batch normalisation.

    Parameters
    ----------
    classifier : keras.Model
        From :func:`helpers.training.assemble`; it shares its layers with what is returned.
    name : str
        A key of :data:`BEFORE_LAST_BLOCK`.

    Returns
    -------
    keras.Model
        Input: the output of the layer before the block; output: probability (n, 1).
    """
    start = classifier.get_layer(BEFORE_LAST_BLOCK[name]).output
    block = keras.Model(start, classifier.output, name=f"{classifier.name}_last_block")
    block.trainable = True
    for layer in block.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    return block


def tune(
    classifier: keras.Model,
    name: str,
    maps: features.Maps,
    table: pd.DataFrame,
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    momentum: float,
    seed: int,
) -> Tuned:
    """Train the last block and the head by SGD and keep the epoch of the lowest validation loss.

    Parameters
    ----------
    classifier : keras.Model
        From :func:`helpers.training.assemble`, its head already trained; changed in place.
    name : str
        A key of :data:`BEFORE_LAST_BLOCK`.
    maps : Maps
        From :func:`helpers.features.maps_of` with the layer before the block.
    table : DataFrame
        From :func:`helpers.training.labelled`, rows as in ``maps``.
    epochs : int
        Run; all of them.
    learning_rate, batch_size, momentum : float, int, float
        Of SGD.
    seed : int
        Of the order of images.

    Returns
    -------
    Tuned
    """
    block = last_block(classifier, name)
    block.compile(keras.optimizers.SGD(learning_rate, momentum=momentum), "binary_crossentropy")
    label = table["label"].to_numpy(dtype="float32")
    rows = [np.flatnonzero(table["split"] == split) for split in training.SPLITS[:2]]
    generator = np.random.default_rng(seed)
    best, kept, path = (np.inf, 0), block.get_weights(), []
    for epoch in range(epochs + 1):
        if epoch:
            shuffled = generator.permutation(rows[0])
            for first in range(0, len(shuffled), batch_size):
                batch = shuffled[first : first + batch_size]
                block.train_on_batch(maps.take(batch), label[batch])
        losses = [_loss(block, maps, label, own, batch_size) for own in rows]
        path.append((epoch, *losses))
        if losses[1] < best[0]:
            best, kept = (losses[1], epoch), block.get_weights()
    block.set_weights(kept)
    trained = sum(int(np.prod(weight.shape)) for weight in block.trainable_weights)
    columns = ["epoch", "training_loss", "validation_loss"]
    return Tuned(block, pd.DataFrame(path, columns=columns), best[1], trained)


def with_row(
    choices: pd.DataFrame,
    name: str,
    weights: networks.Weights,
    heads: training.Heads,
    rows: pd.DataFrame,
    table: pd.DataFrame,
    folder: Path,
    *,
    epochs: int,
    input_pixels: int,
    seed: int,
    **sgd: float,
) -> pd.DataFrame:
    """Add a row for the network with its last block unfrozen, if any epochs are asked for.

    Parameters
    ----------
    choices : DataFrame
        From :func:`helpers.training.variants`.
    name, weights, heads, rows, table, folder, input_pixels
        Network, its weights, trained heads, ``images.csv``'s included rows, their labels and
        the results folder, as for the other functions.
    epochs : int
        Of fine-tuning; 0 returns ``choices`` as they are.
    seed : int
        Which head to start from, and the order of images.
    **sgd
        learning_rate, batch_size, momentum.

    Returns
    -------
    DataFrame
        Columns as in ``choices``.
    """
    if epochs == 0:
        return choices
    layer = BEFORE_LAST_BLOCK[name]
    held = features.maps_of(name, layer, weights, rows, folder, input_pixels=input_pixels)
    network = networks.build(name, weights=weights, input_pixels=input_pixels)
    classifier = training.assemble(network, heads, seed=seed)
    tuned = tune(classifier, name, held.values, table, epochs=epochs, seed=seed, **sgd)
    test = (table["split"] == "test").to_numpy()
    area = accuracy.auc(table["label"][test], probabilities(tuned.model, held.values)[test])
    about = f"last block unfrozen ({tuned.parameters:,} weights trained)"
    loss = tuned.path["validation_loss"].min()
    row = (about, tuned.best_epoch, f"limit of {epochs} epochs", round(loss, 3), round(area, 3))
    return pd.DataFrame([*choices.itertuples(index=False), row], columns=choices.columns)


def probabilities(
    model: keras.Model, maps: features.Maps, *, batch_size: int = 32
) -> NDArray[np.float64]:
    """Return the probability of a dystrophinopathy of all images, batch by batch.

    Parameters
    ----------
    model : keras.Model
        :attr:`Tuned.model`.
    maps : Maps
        Its inputs.
    batch_size : int
        Images in memory at once.

    Returns
    -------
    ndarray, (images,)
    """
    return _of_rows(model, maps, np.arange(len(maps)), batch_size)


def _of_rows(model: keras.Model, maps: features.Maps, rows: NDArray, size: int) -> NDArray:
    parts = [rows[first : first + size] for first in range(0, len(rows), size)]
    found = [np.asarray(model.predict_on_batch(maps.take(part)))[:, 0] for part in parts]
    return np.concatenate(found).astype(float)


def _loss(
    model: keras.Model, maps: features.Maps, label: NDArray, rows: NDArray, size: int
) -> float:
    p = np.clip(_of_rows(model, maps, rows, size), 1e-7, 1 - 1e-7)
    return float(-np.mean(np.where(label[rows] == 1, np.log(p), np.log1p(-p))))
