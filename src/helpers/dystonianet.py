"""DystoniaNet's stand-in: four convolutional layers, two dense layers, one probability.

Published: four convolutional and two dense layers (poster), with ReLU and max pooling after each
convolution (an opinion on the paper). Everything else is an assumption and a named
parameter: filters, 3 x 3 x 3 kernels, pooling by 2, batch normalisation after pooling, dense
units, sigmoid output, cross-entropy, Adam with a cosine schedule, epochs, batch size.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from helpers import brain, paths
from helpers.networks import keras

#: The layers whose maps the poster shows.
CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4")


class Trained(NamedTuple):
    """Networks trained from several seeds.

    Attributes
    ----------
    model : keras.Model
        That of the first seed.
    history : DataFrame
        ``seed, epoch, training_loss, optimisation_loss, kept`` at the end of each epoch; ``kept``
        marks the epoch whose weights are kept.
    predictions : DataFrame
        As :func:`helpers.brain.predictions`, all subjects, all seeds.
    """

    model: keras.Model
    history: pd.DataFrame
    predictions: pd.DataFrame


def build(
    shape: tuple[int, int, int],
    *,
    filters: list[int],
    dense_units: int,
    momentum: float = 0.9,
) -> keras.Model:
    """Return the untrained network.

    Parameters
    ----------
    shape : tuple of int
        Voxels along x, y, z; at least 16 each, as four poolings halve them.
    filters : list of int
        Of the four convolutions.
    dense_units : int
        Of the feature layer.
    momentum : float
        Of the running means of batch normalisation; Keras' default, 0.99, needs more steps
        than a small cohort has.

    Returns
    -------
    keras.Model
        From (n, x, y, z, 1) to the probability of dystonia, (n, 1).

    Raises
    ------
    ValueError
        For a volume that four poolings leave nothing of, or another number of filters.

    Examples
    --------
    >>> model = build((20, 24, 20), filters=[2, 2, 2, 2], dense_units=3)
    >>> model.output_shape
    (None, 1)
    """
    if len(filters) != len(CONVOLUTIONS) or min(shape) < 16:
        raise ValueError(
            f"{len(filters)} filters for a volume of {shape}: expected four numbers of filters and "
            "at least 16 voxels a side. Change dystonianet.filters or cohort.brain_voxel_mm."
        )
    flow = keras.Input((*shape, 1), name="scan")
    scan = flow
    for name, count in zip(CONVOLUTIONS, filters, strict=True):
        flow = keras.layers.Conv3D(
            count, 3, padding="same", activation="relu", kernel_initializer="he_normal", name=name
        )(flow)
        flow = keras.layers.MaxPooling3D(2)(flow)
        flow = keras.layers.BatchNormalization(momentum=momentum)(flow)
    flow = keras.layers.Flatten()(flow)
    flow = keras.layers.Dense(
        dense_units, activation="relu", kernel_initializer="he_normal", name="features"
    )(flow)
    return keras.Model(scan, keras.layers.Dense(1, activation="sigmoid", name="dystonia")(flow))


def train(
    subjects: pd.DataFrame,
    volumes: NDArray[np.float32],
    *,
    filters: list[int],
    dense_units: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
) -> tuple[keras.Model, pd.DataFrame]:
    """Train on the training set and keep the epoch that does best on the optimisation set.

    Parameters
    ----------
    subjects : DataFrame
        ``split`` and ``patient`` (0/1) of each row; validation rows are not looked at.
    volumes : ndarray of float32, shape (subjects, x, y, z, 1)
        From :func:`helpers.brain.load`.
    filters, dense_units
        See :func:`build`.
    epochs, batch_size : int
        Passes over the training set; subjects per step.
    learning_rate : float
        Adam's at the start; it falls to 0 along a cosine.
    seed : int
        Of initial weights and of the order of subjects.

    Returns
    -------
    tuple
        The network with the weights of the epoch of least optimisation loss, and its history
        as in :class:`Trained`.
    """
    keras.utils.set_random_seed(seed)
    model = build(volumes.shape[1:4], filters=filters, dense_units=dense_units)
    x, y = _part(subjects, volumes, "training")
    steps = epochs * -(-len(y) // batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    model.compile(keras.optimizers.Adam(schedule), "binary_crossentropy")
    best = keras.callbacks.EarlyStopping("val_loss", patience=epochs, restore_best_weights=True)
    fitted = model.fit(
        x,
        y,
        batch_size=batch_size,
        epochs=epochs,
        validation_data=_part(subjects, volumes, "optimisation"),
        callbacks=[best],
        verbose=0,
    )
    return model, _history(fitted.history, seed)


def train_seeds(
    subjects: pd.DataFrame, volumes: NDArray[np.float32], *, seeds: list[int], **options
) -> Trained:
    """Train once per seed and predict all subjects each time.

    Parameters
    ----------
    subjects, volumes
        As in :func:`train`.
    seeds : list of int
        One training each.
    **options
        Further arguments of :func:`train`.

    Returns
    -------
    Trained
    """
    first, histories, parts = None, [], []
    for seed in seeds:
        model, history = train(subjects, volumes, seed=seed, **options)
        first = first or model
        histories.append(history)
        probability = predict(model, volumes)
        parts.append(
            brain.predictions(
                subjects, probability, model="DystoniaNet", weights="random", seed=seed
            )
        )
    return Trained(first, pd.concat(histories), pd.concat(parts, ignore_index=True))


def save(trained: dict[str, Trained], folder: str | Path) -> pd.DataFrame:
    """Store the networks and their predictions.

    Parameters
    ----------
    trained : dict of str to Trained
        By series, the main one first.
    folder : str or Path
        ``results/<profile>``. The main series' network is ``models/dystonianet.keras``, another's
        ``models/dystonianet_<series>.keras``; ``predictions/07_dystonianet.csv`` holds all.

    Returns
    -------
    DataFrame
        All predictions, with the series in the column ``effect``.
    """
    folder = Path(folder)
    for position, (effect, found) in enumerate(trained.items()):
        name = "dystonianet" if position == 0 else f"dystonianet_{effect.replace(' ', '_')}"
        with paths.atomic_path(folder / "models" / f"{name}.keras") as temporary:
            found.model.save(temporary)
    parts = [found.predictions.assign(effect=effect) for effect, found in trained.items()]
    predictions = pd.concat(parts, ignore_index=True)
    with paths.atomic_path(folder / "predictions" / "07_dystonianet.csv") as temporary:
        predictions.to_csv(temporary, index=False)
    return predictions


def predict(model: keras.Model, volumes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the probability of dystonia of each scan.

    Parameters
    ----------
    model : keras.Model
        From :func:`train`.
    volumes : ndarray of float32, shape (n, x, y, z, 1)

    Returns
    -------
    ndarray, shape (n,)
    """
    return model.predict(volumes, batch_size=8, verbose=0)[:, 0].astype(float)


def feature_maps(
    model: keras.Model, volumes: NDArray[np.float32], *, batch_size: int = 8
) -> dict[str, NDArray[np.float32]]:
    """Return how strongly each convolutional layer responds at each voxel of each scan.

    The mean over the layer's channels of the absolute feature map (after ReLU, before pooling),
    scaled to 0..1 per scan, spread to the scan's own grid by trilinear interpolation. The
    poster's figures show "average normalized weight of the 3D feature maps"; how these were
    computed is not published, so this reading is an assumption.

    Parameters
    ----------
    model : keras.Model
        From :func:`train`, or loaded from ``models/dystonianet.keras``.
    volumes : ndarray of float32, shape (n, x, y, z, 1)
        From :func:`helpers.brain.load`.
    batch_size : int
        Scans at a time.

    Returns
    -------
    dict of str to ndarray of float32, shape (n, x, y, z)
        By layer, ``conv1`` to ``conv4``. A layer that does not respond at all gives zeros.
    """
    outputs = [model.get_layer(name).output for name in CONVOLUTIONS]
    network, shape = keras.Model(model.input, outputs), volumes.shape[1:4]
    # Called and not predicted with: Keras would compile a function for each such network.
    starts = range(0, len(volumes), batch_size)
    batches = [network(volumes[i : i + batch_size], training=False) for i in starts]
    responses = [
        np.concatenate([np.asarray(b) for b in layer]) for layer in zip(*batches, strict=True)
    ]
    return {
        name: np.stack([_normalised(response, shape) for response in np.abs(layer).mean(-1)])
        for name, layer in zip(CONVOLUTIONS, responses, strict=True)
    }


def _part(subjects: pd.DataFrame, volumes: np.ndarray, split: str) -> tuple[np.ndarray, np.ndarray]:
    rows = (subjects["split"] == split).to_numpy()
    labels = subjects.loc[rows, "patient"].to_numpy(np.float32)
    if len(set(labels)) < 2:
        raise ValueError(
            f"The {split} set holds {len(labels)} subjects of {len(set(labels))} kinds; expected "
            "patients and controls. Correct the column split of subjects.csv."
        )
    return volumes[rows], labels


def _history(fitted: dict[str, list[float]], seed: int) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "seed": seed,
            "epoch": np.arange(1, len(fitted["loss"]) + 1),
            "training_loss": fitted["loss"],
            "optimisation_loss": fitted["val_loss"],
        }
    )
    return table.assign(kept=table.index == table["optimisation_loss"].idxmin())


def _normalised(response: np.ndarray, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    span = np.ptp(response)
    if span == 0:
        return np.zeros(shape, np.float32)
    factors = np.array(shape) / response.shape
    scaled = (response - response.min()) / span
    return ndimage.zoom(scaled, factors, order=1, mode="nearest", grid_mode=True)
