"""The five convolutional networks that the thigh paper compares, and where their weights come from.

Models are built by ``keras.applications`` without their top layers: the paper keeps the
convolutional part frozen and trains only a new last layer (``helpers.training``).
"""

import difflib
import functools
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np

from helpers import parameters, paths, pretext


@contextmanager
def _start_up_notes_dropped() -> Iterator[None]:
    """Drop what TensorFlow's C++ part prints about the processor while it is imported.

    It would stand at the top of every notebook; failures come as exceptions and still do.
    """
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


# Read by TensorFlow on import; the rest of such notes comes with the first model.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with _start_up_notes_dropped():
    import keras

KINDS = (*parameters.WEIGHTS, "local:FOLDER")


@dataclass(frozen=True)
class Architecture:
    """What is known of a network before it is built.

    Attributes
    ----------
    parameters, channels : int or None
        Weights of the network without its top layers; channels of its last feature map. None
        where they were not looked up.
    weights_file : str
        File name of Keras's ImageNet weights without the top layers.
    md5 : str
        Checksum of that file, as Keras 3.15 states it; empty where it states none.
    """

    parameters: int | None
    channels: int | None
    weights_file: str
    md5: str


_FILE = "{}_weights_tf_dim_ordering_tf_kernels_notop.h5"

#: The networks of the paper's Table 1, in its order.
NETWORKS = {
    "VGG19": Architecture(
        20_024_384, 512, _FILE.format("vgg19"), "253f8cb515780f3b799900260a226db6"
    ),
    "ResNet50": Architecture(
        23_587_712, 2048, _FILE.format("resnet50"), "4d473c1dd8becc155b73f8504c6f6626"
    ),
    "DenseNet201": Architecture(
        18_321_984, 1920, _FILE.format("densenet201"), "c13680b51ded0fb44dff2d8f86ac8bb1"
    ),
    "DenseNet121": Architecture(
        7_037_504, 1024, _FILE.format("densenet121"), "30ee3e1110167f948a6b9946edeeb738"
    ),
    "InceptionV3": Architecture(
        21_802_784, 2048, _FILE.format("inception_v3"), "bcbd6486424b2319ff4ef7d526e38f63"
    ),
}


class UnknownName(ValueError):
    """A network or a kind of weights that does not exist."""


class WeightsError(RuntimeError):
    """Weights that are not there, or a file that does not hold this network's weights."""


@dataclass(frozen=True)
class Weights:
    """The weights one network gets, and why.

    Attributes
    ----------
    kind : str
        ``"imagenet"``, ``"simulated"``, ``"random"`` or ``"local"``.
    file : Path or None
        Where they are; None for random weights.
    seed : int or None
        Seed of random weights.
    identity : str
        Equal for equal weights: kind with checksum or seed.
    message : str
        One sentence: which weights, and why not those preferred to them.
    """

    kind: str
    file: Path | None
    seed: int | None
    identity: str
    message: str


def choose_weights(
    preferences: list[str], name: str, *, download_seconds: int = 0, seed: int = 0
) -> Weights:
    """Return the first of several kinds of weights that this machine can provide.

    Parameters
    ----------
    preferences : list of str
        Kinds in order of preference: ``"imagenet"`` (Keras's own file, from its cache
        ``~/.keras/models`` or ``$KERAS_HOME/models``), ``"local:FOLDER"`` (a file of Keras's
        name in that folder), ``"simulated"`` (trained on this machine on simulated legs, see
        :mod:`helpers.pretraining`; the other keys of :data:`helpers.pretext.RECIPES` differ in
        length) or ``"random"`` (as Keras initialises the network).
    name : str
        Any name of ``keras.applications``.
    download_seconds : int
        Time allowed for a download of ImageNet weights; 0 = use only what is in the cache.
    seed : int
        For random and simulated weights; the network's name enters too, or networks of one
        family would share their first layers.

    Returns
    -------
    Weights

    Raises
    ------
    UnknownName
        For a misspelt network or kind.
    WeightsError
        When none can be had, or when a file is not what its name says.

    Examples
    --------
    >>> choose_weights(["random"], "ResNet50", seed=7).message
    'ResNet50: random weights (seed 7).'
    """
    architecture = _architecture(name)
    refused = []
    for kind in preferences:
        if kind == "random":
            found = f"random weights (seed {seed})"
            return Weights("random", None, seed, f"random:{seed}", _told(name, found, refused))
        if kind == "imagenet":
            file, why_not = _from_keras(architecture, name, download_seconds)
        elif kind.startswith("local:"):
            file, why_not = _from_folder(architecture, Path(kind.removeprefix("local:")))
        elif kind in pretext.RECIPES:
            made = pretext.weights_file(kind, name, seed=seed)
            file, why_not = (made, "") if made.is_file() else (None, "not made on this machine")
        else:
            raise UnknownName(_no_such("kind of weights", kind, KINDS))
        if file is not None:
            kind = kind.partition(":")[0]
            identity = f"{kind}:{_md5(file)}"
            found = f"{kind} weights from {file.name}{_cut_short(file, kind)}"
            return Weights(kind, file, None, identity, _told(name, found, refused))
        refused.append(f"{kind.partition(':')[0]}: {why_not}")
    raise WeightsError(
        f"{name}: no weights. {'; '.join(refused)}. Add 'random' to the list of weights, put "
        f"{architecture.weights_file} into {paths.keras_cache()}, or set weights_download_seconds."
    )


def choose_all(
    preferences: list[str], names: list[str], *, download_seconds: int = 0, seed: int = 0
) -> dict[str, Weights]:
    """Return the weights of several networks, see :func:`choose_weights`.

    Parameters
    ----------
    preferences, download_seconds, seed
        As for :func:`choose_weights`.
    names : list of str
        Names of ``keras.applications``.

    Returns
    -------
    dict of str to Weights
    """
    return {
        name: choose_weights(preferences, name, download_seconds=download_seconds, seed=seed)
        for name in names
    }


def build(name: str, *, weights: Weights, input_pixels: int, **options: float) -> keras.Model:
    """Build a network without its top layers, frozen.

    Parameters
    ----------
    name : str
        Any name of ``keras.applications``, for example ``"ResNet50"``.
    weights : Weights
        From :func:`choose_weights`.
    input_pixels : int
        Edge of the square input, pixels.
    **options
        Further arguments of the Keras function, for example ``alpha`` of MobileNet.

    Returns
    -------
    keras.Model
        Input (n, input_pixels, input_pixels, 3), preprocessed by :func:`preprocess`; output the
        last feature map (n, rows, columns, channels).

    Raises
    ------
    UnknownName
        For a name Keras does not have.
    WeightsError
        When the file does not hold this network's weights.
    """
    constructor = getattr(keras.applications, name, None)
    if not isinstance(constructor, type(build)):
        raise UnknownName(_no_such("network", name, available()))
    shape = (input_pixels, input_pixels, 3)
    # Keras draws the seeds of unseeded layers from Python's own generator.
    state = random.getstate()
    random.seed(zlib.crc32(name.encode()) + (weights.seed or 0))
    try:
        model = constructor(weights=None, include_top=False, input_shape=shape, **options)
    finally:
        random.setstate(state)
    if weights.file is not None:
        _load(model, weights, name)
    model.trainable = False
    return model


def preprocess(images: np.ndarray, name: str) -> np.ndarray:
    """Scale images as the network's own Keras module does for its ImageNet weights.

    Parameters
    ----------
    images : ndarray
        (n, rows, columns, 3), 0 to 255; not changed.
    name : str
        Any name of ``keras.applications``.

    Returns
    -------
    ndarray
        float32, the same shape.
    """
    module = sys.modules[getattr(keras.applications, name).__module__]
    return np.asarray(module.preprocess_input(np.array(images, dtype="float32")))


def check_size(model: keras.Model, name: str) -> int:
    """Return a network's number of parameters after comparing it with the known one.

    Parameters
    ----------
    model : keras.Model
        From :func:`build`.
    name : str
        Any name of ``keras.applications``; for those outside :data:`NETWORKS` there is nothing
        to compare with.

    Returns
    -------
    int

    Raises
    ------
    RuntimeError
        When the installed Keras builds another network under this name.
    """
    expected = _architecture(name)
    found = (model.count_params(), model.output_shape[-1])
    if expected.parameters and found != (expected.parameters, expected.channels):
        raise RuntimeError(
            f"{name} has {found[0]:,} parameters and {found[1]} channels, expected "
            f"{expected.parameters:,} and {expected.channels}: another Keras than "
            "requirements.lock names? Remove .venv and run: make book"
        )
    return found[0]


def available() -> list[str]:
    """Return the names of all networks that ``keras.applications`` can build.

    Examples
    --------
    >>> {"ResNet50", "MobileNet"} <= set(available())
    True
    """
    return [n for n, v in vars(keras.applications).items() if isinstance(v, type(available))]


def _cut_short(file: Path, kind: str) -> str:
    about = pretext.note(file) if kind == "simulated" else {}
    if not about or about["steps"] == about["steps_planned"]:
        return ""
    return f" ({about['steps']} of {about['steps_planned']} steps: the limit of time)"


def _architecture(name: str) -> Architecture:
    if name in NETWORKS:
        return NETWORKS[name]
    if name not in available():
        raise UnknownName(_no_such("network", name, available()))
    return Architecture(None, None, *_asked_by_keras(name))


class _Asked(Exception):
    """Carries what Keras was about to download."""


@functools.cache
def _asked_by_keras(name: str) -> tuple[str, str]:
    """Return the file of ImageNet weights that Keras would load, and its md5 as Keras has it.

    Keras states them inside the function that builds the network. So that function is called
    with its download replaced; nothing is downloaded, and nothing else is changed.
    """

    def get_file(fname: str, *_args, file_hash: str = "", **_options):
        raise _Asked(fname, file_hash)

    with (
        mock.patch("keras.src.utils.file_utils.get_file", get_file),
        warnings.catch_warnings(action="ignore"),  # on the size of an input nobody gave
    ):
        try:
            getattr(keras.applications, name)(include_top=False)
        except _Asked as asked:
            return asked.args
    raise WeightsError(f"Keras {keras.__version__} names no file of ImageNet weights for {name}.")


def _no_such(what: str, name: str, names) -> str:
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.4)
    nearest = f" Did you mean {close[0]!r}?" if close else ""
    return f"No {what} {name!r}.{nearest} Available: {', '.join(names)}."


def _told(name: str, found: str, refused: list[str]) -> str:
    return f"{name}: {found}{''.join(f'; {reason}' for reason in refused)}."


def _from_keras(architecture: Architecture, name: str, seconds: int) -> tuple[Path | None, str]:
    file = paths.keras_cache() / architecture.weights_file
    why_not = "not in Keras's cache"
    if not file.is_file() and seconds > 0:
        why_not = _download(name, file, seconds)
    if not file.is_file():
        return None, why_not
    if architecture.md5 and _md5(file) != architecture.md5:
        raise WeightsError(
            f"{file} is not Keras's file for {name}: md5 {_md5(file)}, expected "
            f"{architecture.md5}. Delete it, or put the right file in its place."
        )
    return file, ""


def _from_folder(architecture: Architecture, folder: Path) -> tuple[Path | None, str]:
    folder = folder.expanduser()
    folder = folder if folder.is_absolute() else paths.root() / folder
    file = folder / architecture.weights_file
    return (file, "") if file.is_file() else (None, f"no file {architecture.weights_file} there")


def _download(name: str, target: Path, seconds: int) -> str:
    """Let Keras download into a folder of its own; return why there is no file, or ''."""
    target.parent.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix=".download-", dir=target.parent))
    code = "import sys, keras; getattr(keras.applications, sys.argv[1])(include_top=False)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, name],
            env=os.environ | {"KERAS_HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            return f"download failed ({lines[-1]})"
        os.replace(home / "models" / target.name, target)
        return ""
    except subprocess.TimeoutExpired:
        return f"download not finished after {seconds} s"
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _load(model: keras.Model, weights: Weights, name: str) -> None:
    try:
        model.load_weights(weights.file)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        expected = "Expected: the file that Keras itself downloads, with '_notop' in its name."
        if weights.kind == "simulated":
            expected = "Delete it; what made it, make book or make weights, makes it anew."
        raise WeightsError(
            f"{weights.file} does not hold the weights of {name} without its top layers "
            f"({reason}). {expected}"
        ) from error


def _md5(file: Path) -> str:
    # Keras states md5 sums of these files; here they guard against mix-ups, not attackers.
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()
