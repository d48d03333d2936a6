"""DystoniaNet's stand-in: four convolutional layers, two dense layers, one probability.

Published: four convolutional and two dense layers (poster), with ReLU and max pooling after each
convolution (an opinion on the paper). Everything else is an assumption and a named
parameter: filters, the kernel's and the pooling's size, batch normalisation after pooling, how the
last map becomes a vector, dense units, dropout, epochs, patience, batch size, step size. Sigmoid
output, cross-entropy and Adam with a cosine schedule are assumptions as well.
"""

import hashlib
import inspect
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from helpers import brain, checkpoints, paths
from helpers.brain_cache import Volumes
from helpers.networks import keras

#: The layers whose maps the poster shows.
CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4")
#: Scans that a network decides at a time.
SCANS_AT_ONCE = 8

#: Scans as an array, in memory or on disk, (subjects, x, y, z, 1).
Scans = NDArray[np.float32] | Volumes


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
    kernel: int = 3,
    pooling: int = 2,
    dropout: float = 0.0,
    batch_norm: bool = True,
    global_pooling: bool = False,
    momentum: float = 0.9,
) -> keras.Model:
    """Return the untrained network.

    No size of it is published; all arguments are assumptions.

    Parameters
    ----------
    shape : tuple of int
        Voxels along x, y, z; enough for four poolings, with ``pooling`` 2 at least 16 each.
    filters : list of int
        Of the four convolutions.
    dense_units : int
        Of the feature layer.
    kernel, pooling : int
        Edge of the convolutions' kernels and of the poolings' blocks, voxels.
    dropout : float
        Share of the feature layer's units left out in each step of the training.
    batch_norm : bool
        Normalise each map after its pooling; before it, it costs several times as much.
    global_pooling : bool
        Give the feature layer the mean of each map of the last layer, and not all its voxels.
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
    needed = pooling ** len(CONVOLUTIONS)
    if len(filters) != len(CONVOLUTIONS) or min(shape) < needed:
        raise ValueError(
            f"{len(filters)} filters for a volume of {shape}: expected four numbers of filters and "
            f"at least {needed} voxels a side for pooling by {pooling}. Change the layers of "
            "dystonianet or cohort.brain_voxel_mm."
        )
    layers, he = keras.layers, {"activation": "relu", "kernel_initializer": "he_normal"}
    flow = scan = keras.Input((*shape, 1), name="scan")
    for name, count in zip(CONVOLUTIONS, filters, strict=True):
        flow = layers.Conv3D(count, kernel, padding="same", name=name, **he)(flow)
        flow = layers.MaxPooling3D(pooling)(flow)
        if batch_norm:
            flow = layers.BatchNormalization(momentum=momentum)(flow)
    flow = (layers.GlobalAveragePooling3D if global_pooling else layers.Flatten)()(flow)
    flow = layers.Dense(dense_units, name="features", **he)(flow)
    if dropout:
        flow = layers.Dropout(dropout)(flow)
    return keras.Model(scan, layers.Dense(1, activation="sigmoid", name="dystonia")(flow))


def train(
    subjects: pd.DataFrame,
    volumes: Scans,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    patience: int | None = None,
    checkpoint: Path | None = None,
    **layers,
) -> tuple[keras.Model, pd.DataFrame]:
    """Train on the training set and keep the epoch that does best on the optimisation set.

    Scans are read batch by batch, so that memory does not grow with their number.

    Parameters
    ----------
    subjects : DataFrame
        ``split`` and ``patient`` (0/1) of each row; validation rows are not looked at.
    volumes : ndarray or Volumes, shape (subjects, x, y, z, 1)
        From :func:`helpers.brain_cache.load` or :func:`helpers.brain.load`.
    epochs, batch_size : int
        Passes over the training set at most; subjects per step.
    learning_rate : float
        Adam's at the start; it would fall to 0 along a cosine at the last of ``epochs``.
    seed : int
        Of initial weights, dropout and the order of subjects, another one each epoch.
    patience : int, optional
        Stop when the optimisation loss has not fallen for so many epochs; without it, never.
    checkpoint : Path, optional
        ``.npz`` file written after each epoch. A training that was killed goes on from there and
        ends with the same bits; one that had ended is read back.
    **layers
        See :func:`build`.

    Returns
    -------
    tuple
        The network with the weights of the epoch of least optimisation loss, and its history
        as in :class:`Trained`.

    Raises
    ------
    ValueError
        When the training or the optimisation set lacks patients or controls.
    """
    parts = [_part(subjects, split) for split in ("training", "optimisation")]
    schedule = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    keras.utils.set_random_seed(seed)
    model = build(tuple(volumes.shape[1:4]), **layers)
    _compile(model, steps=epochs * -(-len(parts[0][0]) // batch_size), learning_rate=learning_rate)
    progress, mark = checkpoints.Progress(), ""
    if checkpoint:
        mark = _mark(volumes, parts, schedule | layers | {"seed": seed})
        progress = checkpoints.restore(checkpoint, model, mark=mark)
    while not progress.ended(epochs=epochs, patience=patience or epochs):
        order = np.random.default_rng((seed, len(progress.losses))).permutation(len(parts[0][0]))
        shuffled = tuple(column[order] for column in parts[0])
        losses = [
            _over(model.train_on_batch, model, volumes, shuffled, batch_size),
            _over(model.test_on_batch, model, volumes, parts[1], SCANS_AT_ONCE),
        ]
        progress.add(*losses, model)
        if checkpoint:
            checkpoints.save(checkpoint, model, progress, mark=mark)
    model.set_weights(progress.best)
    return model, _history(progress, seed)


def train_seeds(
    subjects: pd.DataFrame,
    volumes: Scans,
    *,
    seeds: list[int],
    checkpoints: Path | None = None,
    **options,
) -> Trained:
    """Train once per seed and predict all subjects each time.

    Parameters
    ----------
    subjects, volumes
        As in :func:`train`.
    seeds : list of int
        One training each.
    checkpoints : Path, optional
        Folder of the trainings' checkpoints, ``<seed>.npz``; another one for each series.
    **options
        Further arguments of :func:`train`.

    Returns
    -------
    Trained
    """
    first, histories, parts = None, [], []
    for seed in seeds:
        file = checkpoints / f"{seed}.npz" if checkpoints else None
        model, history = train(subjects, volumes, seed=seed, checkpoint=file, **options)
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


def predict(model: keras.Model, volumes: Scans) -> NDArray[np.float64]:
    """Return the probability of dystonia of each scan.

    Parameters
    ----------
    model : keras.Model
        From :func:`train`.
    volumes : ndarray of float32 or Volumes, shape (n, x, y, z, 1)

    Returns
    -------
    ndarray, shape (n,)
    """
    starts = range(0, len(volumes), SCANS_AT_ONCE)
    parts = [model.predict_on_batch(volumes[i : i + SCANS_AT_ONCE])[:, 0] for i in starts]
    return np.concatenate([np.empty(0), *parts])


def _part(subjects: pd.DataFrame, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a set and their labels."""
    rows = np.flatnonzero(subjects["split"] == split)
    labels = subjects["patient"].to_numpy(np.float32)[rows]
    if len(set(labels)) < 2:
        raise ValueError(
            f"The {split} set holds {len(labels)} subjects of {len(set(labels))} kinds; expected "
            "patients and controls. Correct the column split of subjects.csv."
        )
    return rows, labels


def _compile(model: keras.Model, *, steps: int, learning_rate: float) -> None:
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    model.compile(keras.optimizers.Adam(schedule), "binary_crossentropy")
    # Its variables are there only from now on, and a checkpoint has to find them.
    model.optimizer.build(model.trainable_variables)


def _over(
    step, model: keras.Model, volumes: Scans, part: tuple[np.ndarray, np.ndarray], batch_size: int
) -> float:
    """Do a step with each batch of a set, and return the mean loss over its subjects."""
    total = 0.0
    for rows, labels in _batches(*part, batch_size):
        total += float(step(volumes[rows], labels[:, None])) * len(rows)
    return total / len(part[0])


def _batches(rows: np.ndarray, labels: np.ndarray, size: int) -> Iterator[tuple]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size], labels[start : start + size]


def _mark(volumes: Scans, parts: list[tuple[np.ndarray, np.ndarray]], options: dict) -> str:
    """Return a checksum of all that a training depends on."""
    found = hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode())
    for text in (inspect.getsource(part) for part in (build, train, _over, _compile)):
        found.update(text.encode())
    found.update(f"{keras.backend.backend()} {keras.__version__} {version('tensorflow')}".encode())
    for rows, labels in parts:
        found.update(labels.tobytes())
        for row in rows:
            kept = isinstance(volumes, Volumes)
            found.update(volumes.marks[row].encode() if kept else volumes[row].tobytes())
    return found.hexdigest()


def _history(progress: checkpoints.Progress, seed: int) -> pd.DataFrame:
    losses = np.array(progress.losses)
    table = pd.DataFrame(
        {
            "seed": seed,
            "epoch": np.arange(1, len(losses) + 1),
            "training_loss": losses[:, 0],
            "optimisation_loss": losses[:, 1],
        }
    )
    return table.assign(kept=table.index == progress.best_epoch)
