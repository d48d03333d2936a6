"""Simulated legs on which a network can learn to see before it meets a cohort.

Where ImageNet weights cannot be had, networks are pretrained on simulated single legs whose fat
has nothing to do with any disease: the fat fraction of each of the twelve muscles is drawn by
itself, equally for all muscles, and so are the muscles' atrophy, the texture and its strength,
side, body, position and field strength. Neither the atlas of the diseases nor the table of
their textures is read, and nobody has a diagnosis. What a network is to tell from an image is
the fat fraction of each muscle, the texture and the side.

Anatomy and physics are those of the phantom, so that this pretext and a phantom cohort come from
one simulator: an advantage that no real image would grant. All ranges are assumptions. Streams
of random numbers begin with a key that no cohort uses, so that no seed gives a cohort's people.
"""

import hashlib
import json
import multiprocessing
import os
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from helpers import images, paths
from helpers.phantom import anatomy, fat, physics, texture, thigh

#: First number of the key of every random stream here; cohorts begin theirs with 0 to 3.
SPAWN_KEY = 9
#: Slices in one file.
SLICES_PER_SHARD = 20

#: What is drawn and from what; ranges are those of uniform distributions.
SPECIFICATION = {
    "fat_fraction_beta": [0.6, 0.9],
    "atrophy": [0.5, 1.05],
    "muscle_area_log_cm2": [np.log(45.0), np.log(170.0)],
    "subcutaneous_mm": [5.0, 26.0],
    "stature": [0.65, 1.05],
    "femur_mm": [17.0, 28.0],
    "marrow_of_femur": [0.5, 0.7],
    "gap_mm": [6.0, 40.0],
    "position_mm": [-60.0, 60.0],
    "oedema_share_of_muscles": 0.1,
    "local_texture_probability": 0.15,
    "texture_strength": [0.0, 1.0],
}


@dataclass(frozen=True)
class Recipe:
    """How much is simulated and how long each network learns.

    Attributes
    ----------
    slices : int
        Simulated slices, two legs each.
    matrix : int
        Rows and columns of a slice.
    pixels : dict of str to int
        Edge of the legs a network learns from; ``default`` for those not named.
    steps : dict of str to int
        Steps of the optimiser by network; ``default`` for those not named.
    batch : int
        Legs in one step.
    learning_rate : dict of str to float
        Highest step size of Adam by network; ``default`` for those not named.
    """

    slices: int
    matrix: int
    pixels: dict[str, int]
    steps: dict[str, int]
    batch: int
    learning_rate: dict[str, float]


_RATES = {"default": 1e-3, "VGG19": 2e-4}
#: Steps that all five networks can make in less than five minutes on two cores.
_STEPS = {"VGG19": 35, "ResNet50": 70, "DenseNet201": 45, "DenseNet121": 80, "default": 90}

#: By kind of weights.
RECIPES = {
    "simulated": Recipe(500, 256, {"default": 80}, _STEPS, 16, _RATES),
    "simulated:long": Recipe(
        *(500, 256, {"default": 80}), {name: 5 * n for name, n in _STEPS.items()}, 16, _RATES
    ),
    "simulated:short": Recipe(*(20, 128, {"default": 75}), *({"default": 2}, 8, _RATES)),
}


@dataclass(frozen=True)
class Legs:
    """Simulated legs and what a network is to tell from them.

    Attributes
    ----------
    images : ndarray of uint8, (n, pixels, pixels)
        As :func:`helpers.images.crop` cuts them out of a slice.
    fat : ndarray of float32, (n, 12)
        Mean fat fraction of each muscle, in the order of ``fat.MUSCLES``.
    texture : ndarray of int, (n,)
        Index into ``texture.GROUND``.
    side : ndarray of int, (n,)
        0 right, 1 left.
    """

    images: NDArray[np.uint8]
    fat: NDArray[np.float32]
    texture: NDArray[np.int64]
    side: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)


def stream(seed: int, number: int) -> np.random.SeedSequence:
    """Return the source of everything random in one simulated person.

    Parameters
    ----------
    seed : int
        Of the pretraining; it may equal a cohort's.
    number : int
        Of the person.

    Returns
    -------
    numpy.random.SeedSequence

    Examples
    --------
    >>> stream(2021, 5).spawn_key
    (9, 5)
    """
    return np.random.SeedSequence(seed, spawn_key=(SPAWN_KEY, number))


def draw_person(*, seed: int, number: int) -> tuple[thigh.Case, float]:
    """Draw a person without a diagnosis, and one slice position.

    Parameters
    ----------
    seed, number : int
        As for :func:`stream`.

    Returns
    -------
    Case
        For :func:`helpers.phantom.thigh.draw_slice`; each muscle of each leg has a fat fraction
        of its own.
    float
        Strength of the texture, 0 to 1.

    Examples
    --------
    >>> person, strength = draw_person(seed=1, number=0)
    >>> person.logits.shape, "diagnosis" in person.row, 0 <= strength <= 1
    ((12, 2), False, True)
    """
    first, second = stream(seed, number).spawn(2)
    rng = np.random.default_rng(first)
    spec, count = SPECIFICATION, len(fat.MUSCLES)
    fractions = rng.beta(*spec["fat_fraction_beta"], size=(count, 2))
    fractions = fractions.clip(fat.SPECIFICATION["lowest"], fat.SPECIFICATION["highest"])
    logits = pd.DataFrame(special.logit(fractions), index=list(fat.MUSCLES), columns=thigh.SIDES)
    has_oedema = rng.uniform(size=(2, count)) < spec["oedema_share_of_muscles"]
    person = thigh.Case(
        seed=seed,
        row={"field_strength_tesla": float(rng.choice([1.5, 3.0]))},
        body=_body(rng),
        logits=logits,
        drift=pd.Series(0.0, index=logits.index),
        oedema=has_oedema * rng.uniform(0.3, 1.0, size=(2, count)),
        pattern=_pattern(rng),
        gap_mm=float(rng.uniform(*spec["gap_mm"])),
        positions_mm=(float(rng.uniform(*spec["position_mm"])),),
        contact=("apart",),
        streams=(second,),
    )
    return person, float(rng.uniform(*spec["texture_strength"]))


def draw_legs(numbers: range, *, seed: int, matrix: int, pixels: int) -> Legs:
    """Simulate people and cut out their legs.

    Parameters
    ----------
    numbers : range
        Of the people.
    seed : int
        As for :func:`stream`.
    matrix : int
        Rows and columns of a slice.
    pixels : int
        Edge of the legs' images.

    Returns
    -------
    Legs
        Two a person, the right one first.
    """
    cut, targets, textures = [], [], []
    for number in numbers:
        person, strength = draw_person(seed=seed, number=number)
        drawn = thigh.draw_slice(person, 0, matrix=matrix, texture_strength=strength)
        whole = images.SliceImage(drawn.image, (drawn.pixel_mm, drawn.pixel_mm))
        for value, side in enumerate(thigh.SIDES, start=1):
            box = _box(drawn.leg == value)
            cut.append(images.crop(whole, box, size=pixels).round().astype(np.uint8))
            targets.append(fat.bounded(person.logits[side].to_numpy()))
            textures.append(texture.GROUND.index(person.pattern.ground))
    side = np.arange(len(cut)) % 2
    return Legs(np.stack(cut), np.array(targets, "float32"), np.array(textures), side)


def legs(
    recipe: Recipe,
    *,
    seed: int,
    pixels: int,
    processes: int = 2,
    say: Callable[[str], None] = print,
) -> Legs:
    """Return all simulated legs of a recipe, from files as far as they still hold.

    Parameters
    ----------
    recipe : Recipe
        Slices and matrix.
    seed : int
        As for :func:`stream`.
    pixels : int
        Edge of the legs' images.
    processes : int
        Slices are simulated in this many processes.
    say : callable
        Takes one line of progress.

    Returns
    -------
    Legs
        In the order of the people, however many processes there were.
    """
    # Not of the number of slices: a longer recipe goes on where a shorter one ended.
    mark = _digest([recipe.matrix, pixels, seed, code_of_data()])
    folder = cache() / f"legs-{pixels}-{mark[:12]}"
    starts = range(0, recipe.slices, SLICES_PER_SHARD)
    parts = [range(at, min(at + SLICES_PER_SHARD, recipe.slices)) for at in starts]
    files = [folder / f"{number:05d}.npz" for number in range(len(parts))]
    work = [
        (part, file) for part, file in zip(parts, files, strict=True) if _read(file, part) is None
    ]
    if work:
        say(f"      pretext  {recipe.slices} slices are simulated at {pixels} pixels a leg")
        task = partial(_write_shard, seed=seed, matrix=recipe.matrix, pixels=pixels)
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
            list(pool.map(task, *zip(*work, strict=True)))
    read = [_read(file, part) for file, part in zip(files, parts, strict=True)]
    return Legs(*(np.concatenate([one[name] for one in read]) for name in _ARRAYS))


def cache() -> Path:
    """Return the folder of simulated weights and of what they were made from.

    Returns
    -------
    Path
        ``$PAPER_CACHE``, else ``paper-pretraining`` in ``$XDG_CACHE_HOME`` or ``~/.cache``; it
        need not exist.
    """
    given = os.environ.get("PAPER_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "paper-pretraining"


def weights_file(kind: str, name: str, *, seed: int) -> Path:
    """Return where the simulated weights of a network are, or will be.

    Parameters
    ----------
    kind : str
        A key of :data:`RECIPES`.
    name : str
        Name of the network.
    seed : int
        Of the pretraining.

    Returns
    -------
    Path
        Its name holds a fingerprint of recipe, seed, code and the Keras version.
    """
    return cache() / f"{name}-{fingerprint(kind, name, seed=seed)[:16]}.weights.h5"


def note(file: Path) -> dict:
    """Return what is known of how simulated weights were made.

    Parameters
    ----------
    file : Path
        From :func:`weights_file`.

    Returns
    -------
    dict
        steps, steps_planned, seconds_allowed and more, see ``helpers.pretraining.make``; empty
        where there are none.
    """
    written = file.with_name(file.name.removesuffix(".weights.h5") + ".json")
    return json.loads(written.read_text()) if file.is_file() and written.is_file() else {}


def wants_time(file: Path, seconds: float) -> bool:
    """Return whether weights are to be made, or to be learnt further, within a limit of time.

    Parameters
    ----------
    file : Path
        From :func:`weights_file`.
    seconds : float
        Limit of time for all networks together.

    Returns
    -------
    bool
        True where there are none, or where a lower limit stopped them.
    """
    about = note(file)
    return not about or (
        about["steps"] < about["steps_planned"] and about["seconds_allowed"] < seconds
    )


def fingerprint(kind: str, name: str, *, seed: int) -> str:
    """Return a checksum of everything the simulated weights of a network depend on.

    Parameters
    ----------
    kind, name, seed
        As for :func:`weights_file`.

    Returns
    -------
    str
        SHA-256, hexadecimal.
    """
    code = hashlib.sha256(Path(__file__).with_name("pretraining.py").read_bytes()).hexdigest()
    kept = asdict(RECIPES[kind])
    for key in ("pixels", "steps", "learning_rate"):
        kept[key] = of(kept[key], name)
    return _digest([kept, name, seed, code, code_of_data(), version("keras")])


def of(values: dict, name: str):
    """Return a recipe's value for one network.

    Examples
    --------
    >>> of({"default": 1, "VGG19": 2}, "VGG19"), of({"default": 1}, "VGG19")
    (2, 1)
    """
    return values.get(name, values["default"])


def _body(rng: np.random.Generator) -> anatomy.Body:
    """Draw a body from wide ranges; no sex, age or diagnosis sets any of it."""
    spec, measured = SPECIFICATION, anatomy.SPECIFICATION
    shape = anatomy.geometry()
    spread = shape.area_fraction_sd / shape.area_fraction
    spread = spread.clip(upper=measured["muscle_share_sd_log_highest"])
    shares = shape.area_fraction * np.exp(spread * rng.standard_normal(len(shape)))
    femur = rng.uniform(*spec["femur_mm"])
    outline = np.array(measured["outline_mean"])
    of_all, of_one = measured["left_right_sd_log"]
    return anatomy.Body(
        area_cm2=float(np.exp(rng.uniform(*spec["muscle_area_log_cm2"]))),
        shares=shares / shares.sum(),
        atrophy=pd.Series(rng.uniform(*spec["atrophy"], len(shape)), index=shape.index),
        left_right=of_all * rng.standard_normal() + of_one * rng.standard_normal(len(shape)),
        subcutaneous_mm=float(rng.uniform(*spec["subcutaneous_mm"])),
        femur_mm=float(femur),
        marrow_mm=float(femur * rng.uniform(*spec["marrow_of_femur"])),
        stature=float(rng.uniform(*spec["stature"])),
        outline=outline + measured["outline_sd"] * rng.standard_normal((2, 3)),
        waves=anatomy._waves(rng, *measured["warp"]),
        ripples=anatomy._waves(rng, *measured["ripple"]),
        rotation_deg=tuple(rng.normal(*measured["rotation_outward_deg"], 2).tolist()),
    )


def _pattern(rng: np.random.Generator) -> texture.Pattern:
    share = SPECIFICATION["local_texture_probability"]
    turned = texture.SPECIFICATION["streak_direction_sd_deg"] * rng.standard_normal(12)
    return texture.Pattern(
        ground=str(rng.choice(texture.GROUND)),
        local=tuple(name for name in texture.LOCAL if rng.uniform() < share),
        scale=float(np.exp(texture.SPECIFICATION["scale_sd_log"] * rng.standard_normal())),
        directions_deg=anatomy.geometry().axis_angle_deg.to_numpy() + turned,
    )


def _box(inside: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    high, wide = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return int(high[0]), int(wide[0]), int(high[-1]) + 1, int(wide[-1]) + 1


_ARRAYS = ("images", "fat", "texture", "side")


def _write_shard(part: range, file: Path, *, seed: int, matrix: int, pixels: int) -> None:
    drawn = draw_legs(part, seed=seed, matrix=matrix, pixels=pixels)
    with paths.atomic_path(file) as temporary:
        np.savez(temporary, **{name: getattr(drawn, name) for name in _ARRAYS})


def _read(file: Path, part: range) -> dict[str, NDArray] | None:
    """Read a shard; None where there is none, or one that cannot be read (npz holds checksums)."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in _ARRAYS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return found if len(found["side"]) == 2 * len(part) else None


def _code() -> Iterator[Path]:
    for module in (anatomy, fat, physics, texture, thigh, images):
        yield Path(module.__file__)
    yield Path(__file__)
    for name in ("thigh_geometry.csv", "thigh_facts.csv"):
        yield paths.package_data(name)


def code_of_data() -> str:
    """Return a checksum of all code and tables that simulated legs depend on.

    Returns
    -------
    str
        SHA-256, hexadecimal.
    """
    return hashlib.sha256(b"".join(file.read_bytes() for file in _code())).hexdigest()


def _digest(parts: list) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
