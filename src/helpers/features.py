"""Leg images as a network takes them, and the features it returns, kept in shards.

A frozen network gives the same features each time, so they are computed once. They are kept in
``features/<network>/``, a fixed number of images per shard: an array ``00000.npy`` and, written
last, ``00000.json`` with a fingerprint of everything the array depends on and a checksum of its
bytes. What a killed run has finished is used again; a shard that is damaged, or whose images,
regions, weights or preprocessing have changed, is computed anew, and no other.
"""

import functools
import hashlib
import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from helpers import images, networks, paths
from helpers.networks import keras

#: Leg images in one file: some minutes of the slowest network, which is what a kill can cost.
IMAGES_PER_SHARD = 64
#: Leg images in one call of a network, so that memory does not grow with the cohort.
BATCH = 32


class DamagedShard(ValueError):
    """A shard of features that cannot be used; the message says what is wrong with it."""


@dataclass(frozen=True)
class Features:
    """Features of leg images.

    Attributes
    ----------
    image_id : list of str
        One per row.
    values : ndarray of float32, (images, channels)
        Means over the last feature map; for :func:`maps_of` a sequence of whole maps.
    fingerprint : str
        Of images, regions, weights and preprocessing.
    reused : bool
        Whether all of them came from files.
    notes : tuple of str
        One sentence for each damaged shard that was computed anew.
    """

    image_id: list[str]
    values: NDArray[np.float32]
    fingerprint: str
    reused: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Maps:
    """Feature maps on disk, opened shard by shard and never all in memory.

    Attributes
    ----------
    shards : tuple of ndarray, (images of the shard, rows, columns, channels)
        Memory-mapped.
    """

    shards: tuple[NDArray[np.float32], ...]

    def __len__(self) -> int:
        return sum(len(shard) for shard in self.shards)

    @property
    def shape(self) -> tuple[int, ...]:
        """Images, rows, columns, channels."""
        return (len(self), *self.shards[0].shape[1:])

    def take(self, index: NDArray) -> NDArray[np.float32]:
        """Return some images' maps, in the order asked for.

        Parameters
        ----------
        index : ndarray of int, (n,)
            Rows.

        Returns
        -------
        ndarray of float32, (n, rows, columns, channels)
        """
        first = np.cumsum([0, *(len(shard) for shard in self.shards)])
        which = np.searchsorted(first, index, side="right") - 1
        return np.stack([self.shards[k][i - first[k]] for k, i in zip(which, index, strict=True)])


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
    name: str,
    weights: networks.Weights,
    rows: pd.DataFrame,
    folder: Path,
    *,
    input_pixels: int,
    images_per_shard: int = IMAGES_PER_SHARD,
) -> Features:
    """Return a network's pooled features of leg images, from files as far as they still hold.

    Parameters
    ----------
    name : str
        A key of :data:`helpers.networks.NETWORKS`.
    weights : Weights
        From :func:`helpers.networks.choose_weights`.
    rows : DataFrame
        From :func:`included`.
    folder : Path
        ``results/<profile>``; the shards are in ``features/<name>/`` of it.
    input_pixels : int
        Edge of the network's input.
    images_per_shard : int
        Leg images in one file.

    Returns
    -------
    Features
        Rows in the order given.

    Raises
    ------
    WeightsError
        When a file of weights is not this network's, or gives features that are no numbers.
    """
    shards = _Shards(name, weights, rows, folder, input_pixels, images_per_shard)
    return shards.features(np.concatenate(list(shards)))


def extract_all(
    weights: dict[str, networks.Weights],
    rows: pd.DataFrame,
    folder: Path,
    *,
    input_pixels: dict[str, int],
) -> dict[str, Features]:
    """Return the pooled features of several networks, see :func:`extract`.

    Parameters
    ----------
    weights : dict of str to Weights
        By network, from :func:`helpers.networks.choose_all`.
    rows, folder
        As for :func:`extract`.
    input_pixels : dict of str to int
        Edge of each network's input; ``default`` for those not named.

    Returns
    -------
    dict of str to Features
    """
    return {
        name: extract(
            *(name, own, rows, folder),
            input_pixels=input_pixels.get(name, input_pixels.get("default", 224)),
        )
        for name, own in weights.items()
    }


def told(found: dict[str, Features]) -> str:
    """Return a sentence per network: where its features come from, and what was damaged.

    Parameters
    ----------
    found : dict of str to Features
        From :func:`extract_all`.

    Returns
    -------
    str
        One line a network.

    Examples
    --------
    >>> told({"VGG19": Features(["a"], np.zeros((1, 2)), "", reused=True)})
    'VGG19: 1 leg images, 2 channels, from files.'
    """
    lines = []
    for name, own in found.items():
        whence = "from files" if own.reused else "computed"
        about = f"{len(own.image_id)} leg images, {own.values.shape[1]} channels, {whence}."
        lines.append(" ".join([f"{name}: {about}", *own.notes]))
    return "\n".join(lines)


def maps_of(
    name: str,
    layer: str,
    weights: networks.Weights,
    rows: pd.DataFrame,
    folder: Path,
    *,
    input_pixels: int,
    images_per_shard: int = IMAGES_PER_SHARD,
) -> Features:
    """Return the whole output of one layer, for training what follows it.

    Parameters
    ----------
    name, weights, rows, folder, input_pixels, images_per_shard
        As for :func:`extract`; the shards are in ``features/<name>-<layer>/``.
    layer : str
        A layer of the network.

    Returns
    -------
    Features
        ``values`` is a :class:`Maps`.
    """
    shards = _Shards(name, weights, rows, folder, input_pixels, images_per_shard, layer)
    return shards.features(Maps(tuple(shards)))


def load_shard(path: Path, *, fingerprint: str | None = None) -> NDArray[np.float32] | None:
    """Open a shard after checking every byte of it.

    Parameters
    ----------
    path : Path
        ``features/<network>/00000.npy``.
    fingerprint : str, optional
        What it must have been made from; not compared when not given.

    Returns
    -------
    ndarray of float32 or None
        Memory-mapped; None where there is no shard, or one made from something else.

    Raises
    ------
    DamagedShard
        When its bytes are not those that were written.

    Examples
    --------
    >>> load_shard(Path("no such folder") / "00000.npy") is None
    True
    """
    note = path.with_suffix(".json")
    if not note.is_file():
        return None
    remedy = "Delete it, or run the same command again: it is then computed anew."
    try:
        about = json.loads(note.read_text())
        made_from, checksum = about["fingerprint"], about["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedShard(f"{_short(note)} is not a note on a shard. {remedy}") from error
    if fingerprint not in (None, made_from):
        return None
    if not path.is_file():
        raise DamagedShard(f"{_short(path)} is missing beside its note. {remedy}")
    found = _sha256(path)
    if found != checksum:
        raise DamagedShard(
            f"{_short(path)} is damaged: SHA-256 {found[:12]}…, expected {checksum[:12]}…. {remedy}"
        )
    return np.load(path, mmap_mode="r", allow_pickle=False)


class _Shards:
    """Iterates over the shards of one network, computing those that are not there."""

    def __init__(
        self,
        name: str,
        weights: networks.Weights,
        rows: pd.DataFrame,
        folder: Path,
        input_pixels: int,
        images_per_shard: int,
        layer: str = "",
    ) -> None:
        self.name, self.weights, self.rows, self.folder = name, weights, rows, folder
        self.input_pixels, self.layer = input_pixels, layer
        self.place = folder / "features" / (f"{name}-{layer}" if layer else name)
        count = max(1, -(-len(rows) // images_per_shard))
        self.parts = [rows.iloc[k * images_per_shard :][:images_per_shard] for k in range(count)]
        self.batch = min(BATCH, len(self.parts[0]))
        self.marks = [self._mark(part) for part in self.parts]
        self.notes: list[str] = []
        self.computed = 0

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for number, (part, mark) in enumerate(zip(self.parts, self.marks, strict=True)):
            path = self.place / f"{number:05d}.npy"
            try:
                held = load_shard(path, fingerprint=mark)
            except DamagedShard as error:
                self.notes.append(str(error))
                held = None
            if held is None:
                self._compute(path, part, mark)
                held = load_shard(path, fingerprint=mark)
            yield held
        self._drop_others()

    def features(self, values) -> Features:
        whole = hashlib.sha256("".join(self.marks).encode()).hexdigest()
        ids = list(self.rows["image_id"])
        return Features(ids, values, whole, self.computed == 0, tuple(self.notes))

    def _mark(self, part: pd.DataFrame) -> str:
        plain = fingerprint(
            self.name, self.weights, part, self.folder, input_pixels=self.input_pixels
        )
        return f"{plain}{self.layer}"

    @functools.cached_property
    def _network(self) -> keras.Model:
        network = networks.build(self.name, weights=self.weights, input_pixels=self.input_pixels)
        networks.check_size(network, self.name)
        if self.layer:
            return keras.Model(network.input, network.get_layer(self.layer).output)
        return pooled(network)

    def _compute(self, path: Path, part: pd.DataFrame, mark: str) -> None:
        values = np.concatenate(
            [self._of_batch(part, at) for at in range(0, len(part), self.batch)]
        )
        if not np.isfinite(values).all():
            raise networks.WeightsError(
                f"{self.name} with these weights gives NaN. {self.weights.message}"
            )
        path.with_suffix(".json").unlink(missing_ok=True)
        with paths.atomic_path(path) as temporary:
            np.save(temporary, values)
            checksum = _sha256(temporary)
        about = {"fingerprint": mark, "sha256": checksum, "image_id": list(part["image_id"])}
        with paths.atomic_path(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(about))
        self.computed += 1

    def _of_batch(self, part: pd.DataFrame, at: int) -> NDArray[np.float32]:
        # All batches have one size, as each new size costs a compilation: the last one repeats
        # images, and what they give is cut off again.
        count = min(self.batch, len(part) - at)
        some = part.iloc[(at + np.arange(self.batch)) % len(part)]
        ready = network_input(self.name, some, self.folder, input_pixels=self.input_pixels)
        return np.asarray(self._network.predict_on_batch(ready))[:count]

    def _drop_others(self) -> None:
        """Remove shards of a larger cohort, and what a kill has left half-written."""
        expected = {f"{number:05d}" for number in range(len(self.parts))}
        for file in self.place.iterdir():
            if file.is_file() and file.stem not in expected:
                file.unlink()


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
    made_by = (images, networks, network_input, pooled, _Shards)
    code = [inspect.getsource(part) for part in made_by]
    columns = ["image_id", "file", "frame", "row0", "col0", "row1", "col1", "mirrored"]
    content = [_of_image(folder / file) for file in rows["file"].unique()]
    parts = [
        [name, weights.identity, input_pixels, *_versions()],
        rows.reindex(columns=columns).astype(str).to_numpy().tolist(),
        content,
        code,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _versions() -> tuple[str, str]:
    # Each backend draws its own random weights from a seed, and rounds in its own way.
    backend = keras.backend.backend()
    return keras.__version__, f"{backend} {version(backend)}"


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@functools.lru_cache(maxsize=65536)
def _sha256_once(file: Path, _size: int, _changed: int) -> str:
    # Five networks ask for the same images' checksums.
    return _sha256(file)


def _of_image(file: Path) -> str:
    state = file.stat()
    return _sha256_once(file, state.st_size, state.st_mtime_ns)


def _short(path: Path) -> str:
    return "/".join(path.parts[-3:])
