"""Leg images as a network takes them, and the pooled features it returns.

A frozen network gives the same features each time, so they are computed once and kept in
``features/<network>.npz`` with a fingerprint of everything they depend on.
"""

import hashlib
import inspect
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from helpers import images, networks, paths
from helpers.networks import keras


@dataclass(frozen=True)
class Features:
    """Pooled features of leg images.

    Attributes
    ----------
    image_id : list of str
        One per row.
    values : ndarray of float32, (images, channels)
        Means over the last feature map.
    fingerprint : str
        Of images, regions, weights and preprocessing.
    reused : bool
        Whether they came from the file.
    """

    image_id: list[str]
    values: NDArray[np.float32]
    fingerprint: str
    reused: bool


def included(path: Path) -> pd.DataFrame:
    """Read the leg images that the region-of-interest step kept.

    Parameters
    ----------
    path : Path
        ``images.csv``.

    Returns
    -------
    DataFrame
        Its rows with status ``included``.

    Raises
    ------
    ValueError
        When none was kept.
    """
    table = pd.read_csv(path, dtype={"image_id": str, "case_id": str, "slice_id": str})
    kept = table[table["status"] == "included"].reset_index(drop=True)
    if kept.empty:
        raise ValueError(
            f"{path.name} has {len(table)} rows and none is included. See their reasons, relax "
            "the roi parameters, and run: make book"
        )
    return kept


def extract(
    name: str, weights: networks.Weights, rows: pd.DataFrame, folder: Path, *, input_pixels: int
) -> Features:
    """Return a network's pooled features of leg images, from the file if it still holds.

    Parameters
    ----------
    name : str
        A key of :data:`helpers.networks.NETWORKS`.
    weights : Weights
        From :func:`helpers.networks.choose_weights`.
    rows : DataFrame
        From :func:`included`.
    folder : Path
        ``results/<profile>``; the file is ``features/<name>.npz`` in it.
    input_pixels : int
        Edge of the network's input.

    Returns
    -------
    Features
        Rows in the order given.
    """
    path = folder / "features" / f"{name}.npz"
    mark = fingerprint(name, weights, rows, folder, input_pixels=input_pixels)
    held = load(path) if path.is_file() else None
    if held is not None and held.fingerprint == mark:
        return held
    network = networks.build(name, weights=weights, input_pixels=input_pixels)
    networks.check_size(network, name)
    batches = _Batches(name, rows, folder, input_pixels)
    values = pooled(network).predict(batches, verbose=0)[: len(rows)]
    if not np.isfinite(values).all():
        raise networks.WeightsError(f"{name} with these weights gives NaN. {weights.message}")
    with paths.atomic_path(path) as temporary:
        np.savez(
            temporary, image_id=rows["image_id"].to_numpy(str), features=values, fingerprint=mark
        )
    return Features(list(rows["image_id"]), values, mark, reused=False)


def load(path: Path) -> Features:
    """Read a file of features.

    Parameters
    ----------
    path : Path
        ``features/<network>.npz``.

    Returns
    -------
    Features
    """
    with np.load(path, allow_pickle=False) as held:
        ids, mark = held["image_id"].tolist(), str(held["fingerprint"])
        return Features(ids, held["features"], mark, reused=True)


def pooled(network: keras.Model) -> keras.Model:
    """Return a network with global average pooling of its last feature map."""
    mean = keras.layers.GlobalAveragePooling2D()(network.output)
    return keras.Model(network.input, mean)


def network_input(
    name: str, rows: pd.DataFrame, folder: Path, *, input_pixels: int
) -> NDArray[np.float32]:
    """Return leg images as a network takes them.

    Parameters
    ----------
    name : str
        Network; each has its own preprocessing.
    rows : DataFrame
        Some rows of :func:`included`.
    folder : Path
        ``results/<profile>``.
    input_pixels : int
        Edge of the network's input.

    Returns
    -------
    ndarray of float32, (n, input_pixels, input_pixels, 3)
    """
    legs = images.crops(rows, folder=folder, size=input_pixels)
    return networks.preprocess(np.repeat(np.stack(legs)[..., None], 3, axis=-1), name)


def box(row) -> tuple[int, int, int, int]:
    """Return the region of one row of ``images.csv``: row0, col0, row1, col1, half-open."""
    return int(row.row0), int(row.col0), int(row.row1), int(row.col1)


def fingerprint(
    name: str, weights: networks.Weights, rows: pd.DataFrame, folder: Path, *, input_pixels: int
) -> str:
    """Return a checksum of everything a network's features depend on.

    Parameters
    ----------
    name, weights, rows, folder, input_pixels
        As for :func:`extract`. The files' contents count, not their dates.

    Returns
    -------
    str
        SHA-256, hexadecimal.
    """
    code = [inspect.getsource(part) for part in (images, network_input, networks.preprocess)]
    columns = ["image_id", "file", "frame", "row0", "col0", "row1", "col1", "mirrored"]
    content = [_checksum(folder / file) for file in rows["file"].unique()]
    parts = [
        [name, weights.identity, input_pixels, keras.__version__],
        rows.reindex(columns=columns).astype(str).to_numpy().tolist(),
        content,
        code,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class _Batches(keras.utils.PyDataset):
    """Leg images read batch by batch, so that memory does not grow with the cohort.

    All batches are of one size, as each new size costs a compilation: the last one repeats the
    first images, and their features are cut off again.
    """

    def __init__(self, name: str, rows: pd.DataFrame, folder: Path, input_pixels: int) -> None:
        super().__init__()
        self._source, self._input_pixels = (name, rows, folder), input_pixels
        self._batches = -(-len(rows) // 32)
        self._size = -(-len(rows) // self._batches)

    def __len__(self) -> int:
        return self._batches

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32]]:
        name, rows, folder = self._source
        some = np.arange(index * self._size, (index + 1) * self._size) % len(rows)
        ready = network_input(name, rows.iloc[some], folder, input_pixels=self._input_pixels)
        return (ready,)


def _checksum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
