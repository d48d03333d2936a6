"""Train the networks on simulated legs, once on each machine, where ImageNet cannot be had.

A network of ``keras.applications`` gets global average pooling and one linear layer for each
task (fat fraction of twelve muscles, texture, side), is trained with Adam, and gives its
convolutional weights away; the layers of the tasks are dropped. Afterwards the moving averages
of its batch normalisation are replaced by those over simulated legs.

The step is compiled by TensorFlow alone, with its fused Adam: Keras's own step builds the graph
twice and fifteen operations a variable, which for the deepest network costs more than half of
all time allowed. Two networks learn side by side, each on one thread, so that results do not
depend on the number of cores.

What counts are steps of the optimiser, so that two runs on one machine give the same weights. A
limit of time is a safety stop: where it is hit, the weights of that step are used, the note beside
them says so, and a call with a higher limit goes on from there. A killed run goes on at its last
checkpoint. Either way the weights are those of a run which nothing stopped.
"""

import json
import math
import multiprocessing
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray
from scipy import ndimage

from helpers import networks, paths, pretext
from helpers.networks import keras
from helpers.phantom import fat, texture

#: Beginning of the key of a step's random stream; no person has so high a number.
STEP_KEY = (pretext.SPAWN_KEY, 2**32 - 1)
#: Steps between two checkpoints, which is what a kill can cost.
CHECKPOINT_STEPS = 10
#: Looks at legs that are not learnt from, after the first step, and how many legs then.
LOOKS, LOOKED_AT = 7, 64
#: Decay of Adam's means of gradients and of their squares.
BETAS = (0.9, 0.999)
#: Networks that learn side by side, and which of them begin.
PROCESSES = 2
LONGEST_FIRST = ("DenseNet201", "VGG19", "ResNet50", "DenseNet121")
#: Share of the simulated people who are not learnt from.
HELD_OUT = 0.1
#: Units of the layer of each task.
TASKS = {"fat": len(fat.MUSCLES), "texture": len(texture.GROUND), "side": 1}
#: Weights of the tasks' losses: errors of fat fractions are small numbers.
LOSS_WEIGHTS = {"fat": 10.0, "texture": 0.2, "side": 0.2}
#: Legs over which the averages of batch normalisation are taken, and how many at once.
CALIBRATION = (96, 24)
#: Ranges of what a leg's image undergoes before each step: size, shift, turn, gamma.
CHANGES = {"size": (0.85, 1.1), "shift": 0.05, "turn_deg": 8.0, "gamma": (0.8, 1.25)}


def make_all(
    kind: str, names: list[str], *, seed: int, seconds: float, say: Callable[[str], None] = print
) -> dict[str, Path]:
    """Return files of simulated weights, training the networks that have none yet.

    Parameters
    ----------
    kind : str
        A key of :data:`helpers.pretext.RECIPES`.
    names : list of str
        Networks.
    seed : int
        Of the simulated people, the initial weights and the order of legs.
    seconds : float
        Limit of time for all of them together, simulating included; what is left after that is
        shared equally among the networks that have to be trained, two at a time. Networks that
        an earlier, lower limit stopped go on.
    say : callable
        Takes one line of progress.

    Returns
    -------
    dict of str to Path
        Of those that there are: none of a network for which no time was left.
    """
    files = {name: pretext.weights_file(kind, name, seed=seed) for name in names}
    wanted = [name for name in LONGEST_FIRST if name in names]
    wanted += [name for name in names if name not in wanted]
    wanted = [name for name in wanted if pretext.wants_time(files[name], seconds)]
    start, recipe = time.monotonic(), pretext.RECIPES[kind]
    for pixels in sorted({pretext.of(recipe.pixels, name) for name in wanted}):
        pretext.legs(recipe, seed=seed, pixels=pixels, say=say)
    left = seconds - (time.monotonic() - start)
    if wanted and left <= 0:
        say(
            f"      pretext  simulating took all {seconds:.0f} s allowed: no weights for "
            f"{', '.join(wanted)}. The legs are kept; go on with: make book"
        )
    elif wanted:
        share = left * min(PROCESSES, len(wanted)) / len(wanted)
        task = partial(make, kind, seed=seed, seconds=share, allowed=seconds, say=_silent)
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(PROCESSES, mp_context=spawn, initializer=_one_thread) as pool:
            for file in pool.map(task, wanted):
                say(f"      pretext  {told(file)}")
    return {name: file for name, file in files.items() if file.is_file()}


def make(
    kind: str,
    name: str,
    *,
    seed: int,
    seconds: float,
    allowed: float | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Train one network on simulated legs and keep its weights.

    Parameters
    ----------
    kind, seed, say
        As for :func:`make_all`.
    name : str
        Network.
    seconds : float
        Limit of time for this one, earlier runs included; at least one step is made.
    allowed : float, optional
        The limit of which this is a share, kept in the note so that only a higher one goes on;
        ``seconds`` when left out.

    Returns
    -------
    Path
        Weights of the network without its top layers. Beside it ``.json`` (what was done) and
        ``.csv`` (the learning curve, see :func:`curve`).

    Raises
    ------
    RuntimeError
        When Keras runs on something else than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"Simulated weights are made with TensorFlow, found {keras.backend.backend()}. Unset "
            "KERAS_BACKEND for this one step; the weights then serve every backend."
        )
    file, recipe = pretext.weights_file(kind, name, seed=seed), pretext.RECIPES[kind]
    pixels, steps = (pretext.of(v, name) for v in (recipe.pixels, recipe.steps))
    learns, held = split(pretext.legs(recipe, seed=seed, pixels=pixels, say=say))
    checkpoint = file.with_name(f"{_stem(file)}.checkpoint.npz")
    learner = Learner(name, recipe, seed=seed)
    rows, before = learner.resume(checkpoint)
    start = [now - spent for now, spent in zip(_clocks(), before, strict=True)]
    looks = {1, steps, *np.linspace(0, steps, LOOKS).round().astype(int).tolist()}
    stops = learner.step > 0 and _clocks()[0] - start[0] >= seconds
    while learner.step < steps and not stops:
        loss = learner.learn(*_batch(learns, name, recipe, seed, learner.step))
        stops = _clocks()[0] - start[0] >= seconds and learner.step < steps
        if learner.step in looks or stops:
            spent = (now - then for now, then in zip(_clocks(), start, strict=True))
            clocks = dict(zip(_CLOCKS, spent, strict=True))
            look = _look(learner.model, held, name)
            rows.append({"step": learner.step, **clocks, "loss": loss, **look})
        if stops or (learner.step % CHECKPOINT_STEPS == 0 and learner.step < steps):
            spent = [now - then for now, then in zip(_clocks(), start, strict=True)]
            learner.keep(checkpoint, rows, spent)
    network = learner.model.get_layer("network")
    calibrate(network, learns, name)
    about = {"network": name, "kind": kind, "seed": seed, "pixels": pixels, "batch": recipe.batch}
    about |= {"steps": learner.step, "steps_planned": steps}
    about |= {"seconds_allowed": seconds if allowed is None else allowed}
    _write(network, file, rows, about)
    if learner.step == steps:
        checkpoint.unlink(missing_ok=True)
    say(f"      pretext  {told(file)}")
    return file


class Learner:
    """A network with a linear layer for each task, and one compiled step of Adam.

    Parameters
    ----------
    name : str
        Network.
    recipe : helpers.pretext.Recipe
        Size of the legs, steps and highest step size.
    seed : int
        Of the initial weights.

    Attributes
    ----------
    model : keras.Model
        From :func:`build`.
    step : int
        Steps made.
    """

    def __init__(self, name: str, recipe: pretext.Recipe, *, seed: int) -> None:
        pixels, self._steps, self._rate = (
            pretext.of(v, name) for v in (recipe.pixels, recipe.steps, recipe.learning_rate)
        )
        self.model, self.step = build(name, seed=seed, pixels=pixels), 0
        self._variables = [v.value for v in self.model.trainable_variables]
        self._slots = [
            [tf.Variable(tf.zeros_like(v)) for v in self._variables] for _ in ("mean", "square")
        ]
        self._compiled = tf.function(self._one, autograph=False)

    def learn(self, images: NDArray, targets: dict[str, NDArray]) -> float:
        """Make a step and return its loss."""
        self.step += 1
        with _without_rewriting():
            loss = self._compiled(
                tf.constant(images),
                {k: tf.constant(v) for k, v in targets.items()},
                tf.constant(rate_of_step(self.step, self._steps, self._rate), "float32"),
                [tf.constant(beta**self.step, "float32") for beta in BETAS],
            )
        return float(loss)

    def _one(self, images, targets, rate, powers):
        with tf.GradientTape() as tape:
            loss = _loss(self.model(images, training=True), targets)
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, self._variables), 1.0)
        for variable, mean, square, gradient in zip(
            self._variables, *self._slots, gradients, strict=True
        ):
            tf.raw_ops.ResourceApplyAdam(
                **{"var": variable.handle, "m": mean.handle, "v": square.handle, "lr": rate},
                **{"beta1_power": powers[0], "beta2_power": powers[1], "grad": gradient},
                **{"beta1": BETAS[0], "beta2": BETAS[1], "epsilon": 1e-7},
            )
        return loss

    def _state(self) -> list:
        return [*(v.value for v in self.model.weights), *self._slots[0], *self._slots[1]]

    def keep(self, file: Path, rows: list[dict], spent: list[float]) -> None:
        """Write everything the next step depends on, the learning curve and the time spent."""
        state = {f"v{n:05d}": v.numpy() for n, v in enumerate(self._state())}
        with paths.atomic_path(file) as temporary:
            np.savez(temporary, step=self.step, rows=json.dumps(rows), spent=spent, **state)

    def resume(self, file: Path) -> tuple[list[dict], list[float]]:
        """Go on at a checkpoint, if there is one that holds; return its curve and time spent."""
        try:
            with np.load(file, allow_pickle=False) as kept:
                values = [kept[f"v{n:05d}"] for n in range(len(self._state()))]
                step, rows = int(kept["step"]), json.loads(str(kept["rows"]))
                spent = kept["spent"].tolist()
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return [], [0.0] * len(_CLOCKS)
        for variable, value in zip(self._state(), values, strict=True):
            variable.assign(value)
        self.step = step
        return rows, spent


def rate_of_step(step: int, steps: int, highest: float) -> float:
    """Return the size of a step: a rise over the first tenth, then a cosine down to zero.

    Examples
    --------
    >>> [round(rate_of_step(n, 100, 1.0), 2) for n in (1, 10, 55, 100)]
    [0.1, 1.0, 0.5, 0.0]
    """
    warm = max(1, steps // 10)
    if step <= warm:
        return highest * step / warm
    return highest * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2


def split(legs: pretext.Legs) -> tuple[pretext.Legs, pretext.Legs]:
    """Divide legs into those learnt from and those held out; both legs of a person together.

    Parameters
    ----------
    legs : Legs
        In the order of the people.

    Returns
    -------
    tuple of Legs
        The last tenth of the people, one at least, is held out.
    """
    people = len(legs) // 2
    at = 2 * (people - max(1, round(HELD_OUT * people)))
    return _some(legs, np.arange(at)), _some(legs, np.arange(at, len(legs)))


def build(name: str, *, seed: int, pixels: int) -> keras.Model:
    """Build a network with a linear layer for each task.

    Parameters
    ----------
    name : str
        Network.
    seed : int
        Of the initial weights.
    pixels : int
        Edge of its input.

    Returns
    -------
    keras.Model
        Outputs ``fat`` (n, 12), ``texture`` (n, 5) and ``side`` (n, 1), all log odds; its layer
        ``network`` is the network without top layers.
    """
    weights = networks.choose_weights(["random"], name, seed=seed)
    inner = networks.build(name, weights=weights, input_pixels=pixels)
    inner.trainable, inner.name = True, "network"
    _widen(inner)
    inputs = keras.Input(inner.input_shape[1:])
    pooled = keras.layers.GlobalAveragePooling2D()(inner(inputs))
    pooled = keras.layers.BatchNormalization(momentum=0.9)(pooled)
    outputs = {
        task: keras.layers.Dense(
            units,
            name=task,
            kernel_initializer=keras.initializers.GlorotUniform(seed=seed + number),
        )(pooled)
        for number, (task, units) in enumerate(TASKS.items())
    }
    return keras.Model(inputs, outputs)


def calibrate(network: keras.Model, legs: pretext.Legs, name: str) -> bool:
    """Replace the averages of batch normalisation by those over simulated legs.

    Parameters
    ----------
    network : keras.Model
        Without top layers, frozen or not, its input of the legs' size; changed in place.
        Nothing happens where it has no batch normalisation.
    legs : Legs
        The first of them are used, unchanged.
    name : str
        For the network's own preprocessing.

    Returns
    -------
    bool
        Whether it has any.
    """
    layers = [x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)]
    if not layers:
        return False
    total, at_once = CALIBRATION
    before = [(layer.momentum, layer.trainable) for layer in layers]
    for layer in layers:
        layer.trainable = True  # a frozen layer keeps its averages whatever it is told
    for number, first in enumerate(range(0, min(total, len(legs)), at_once)):
        for layer in layers:
            # A running mean: of the first batch alone, then of two, ...
            layer.momentum = number / (number + 1)
        network(_ready(legs.images[first : first + at_once], name), training=True)
    for layer, (momentum, trainable) in zip(layers, before, strict=True):
        layer.momentum, layer.trainable = momentum, trainable
    return True


def curve(kind: str, names: list[str], *, seed: int) -> pd.DataFrame:
    """Return the learning curves of networks that were trained here.

    Parameters
    ----------
    kind, names, seed
        As for :func:`make_all`.

    Returns
    -------
    DataFrame
        network, step, seconds, processor_seconds, loss (of the batch), held_out (loss),
        fat_error (mean absolute error of a fat fraction), fat_error_of_mean (the same of their
        mean fraction), texture_right and side_right (shares); the latter five on people not
        learnt from.
    """
    parts = [
        pd.read_csv(_beside(file, ".csv")).assign(network=name)
        for name in names
        if (file := pretext.weights_file(kind, name, seed=seed)).is_file()
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def told(file: Path) -> str:
    """Return one sentence on how weights were made.

    Parameters
    ----------
    file : Path
        From :func:`make`.

    Returns
    -------
    str
    """
    about = pretext.note(file)
    stop = "" if about["steps"] == about["steps_planned"] else ", stopped by the limit of time"
    return (
        f"{about['network']}: {about['steps']} of {about['steps_planned']} steps in "
        f"{about['seconds']:.0f} s{stop}; held-out loss {about['first']:.2f} to {about['last']:.2f}"
    )


def _silent(_line: str) -> None:
    pass


def _one_thread() -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


@contextmanager
def _without_rewriting() -> Iterator[None]:
    """Leave the graph as it was traced: rewriting it costs more than some hundred steps gain."""
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options(
            {"disable_meta_optimizer": before.get("disable_meta_optimizer", False)}
        )


_CLOCKS = ("seconds", "processor_seconds")


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.process_time()


def _losses(out: dict, targets: dict) -> dict:
    """Return the loss of each task, from log odds."""
    of_texture = tf.nn.sparse_softmax_cross_entropy_with_logits
    of_side = tf.nn.sigmoid_cross_entropy_with_logits
    return {
        "fat": tf.reduce_mean((tf.sigmoid(out["fat"]) - targets["fat"]) ** 2),
        "texture": tf.reduce_mean(of_texture(targets["texture"], out["texture"])),
        "side": tf.reduce_mean(of_side(targets["side"], out["side"])),
    }


def _loss(out: dict, targets: dict):
    return tf.add_n([LOSS_WEIGHTS[k] * v for k, v in _losses(out, targets).items()])


def _batch(
    legs: pretext.Legs, name: str, recipe: pretext.Recipe, seed: int, step: int
) -> tuple[NDArray[np.float32], dict[str, NDArray]]:
    """Return the legs of a step: they depend on seed and step alone, so that a run can resume."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(*STEP_KEY, step)))
    some = _some(legs, rng.choice(len(legs), size=min(recipe.batch, len(legs)), replace=False))
    changed, side = [], some.side.copy()
    for number, image in enumerate(some.images):
        if rng.uniform() < 0.5:
            image, side[number] = image[:, ::-1], 1 - side[number]
        changed.append(_changed(image, rng))
    return _ready(np.stack(changed), name), _targets(some, side)


def _changed(image: NDArray, rng: np.random.Generator) -> NDArray[np.float32]:
    size, turn = rng.uniform(*CHANGES["size"]), np.deg2rad(rng.normal(0, CHANGES["turn_deg"] / 2))
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) / size
    middle = (np.array(image.shape) - 1) / 2
    shift = rng.uniform(-1, 1, 2) * CHANGES["shift"] * image.shape[0]
    moved = ndimage.affine_transform(
        image.astype("float32"), matrix, middle - matrix @ (middle + shift), order=1
    )
    return 255 * (moved / 255) ** rng.uniform(*CHANGES["gamma"])


def _ready(legs: NDArray, name: str) -> NDArray[np.float32]:
    return networks.preprocess(np.repeat(np.asarray(legs)[..., None], 3, axis=-1), name)


def _look(model: keras.Model, held: pretext.Legs, name: str) -> dict[str, float]:
    """Return the losses on held-out legs, by the averages of their own batch.

    The moving averages of batch normalisation lag far behind in the first hundreds of steps.
    """
    some = _some(held, np.arange(min(len(held), LOOKED_AT)))
    targets = _targets(some, some.side)
    out = model(_ready(some.images, name), training=True)
    fat_found = np.asarray(tf.sigmoid(out["fat"]))
    return {
        "held_out": float(_loss(out, targets)),
        "fat_error": float(np.abs(fat_found - some.fat).mean()),
        "fat_error_of_mean": float(np.abs(some.fat.mean() - some.fat).mean()),
        "texture_right": float((np.argmax(out["texture"], 1) == some.texture).mean()),
        "side_right": float(((np.asarray(out["side"])[:, 0] > 0) == some.side).mean()),
    }


def _targets(legs: pretext.Legs, side: NDArray) -> dict[str, NDArray]:
    return {"fat": legs.fat, "texture": legs.texture, "side": side[:, None].astype("float32")}


def _widen(network: keras.Model) -> None:
    """Double the variance of the kernels of a network without batch normalisation (He)."""
    if any(isinstance(x, keras.layers.BatchNormalization) for x in network.layers):
        return
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel.assign(layer.kernel * math.sqrt(2))


def _write(network: keras.Model, file: Path, rows: list[dict], about: dict) -> None:
    table = pd.DataFrame(rows)
    note = about | {
        **{name: round(float(table[name].iloc[-1]), 1) for name in _CLOCKS},
        "first": float(table["held_out"].iloc[0]),
        "last": float(table["held_out"].iloc[-1]),
        "keras": keras.__version__,
    }
    with paths.atomic_path(_beside(file, ".csv")) as temporary:
        table.to_csv(temporary, index=False)
    with paths.atomic_path(_beside(file, ".json")) as temporary:
        temporary.write_text(json.dumps(note, indent=1) + "\n")
    with paths.atomic_path(file) as temporary:
        network.save_weights(temporary)


def _some(legs: pretext.Legs, index: NDArray) -> pretext.Legs:
    return pretext.Legs(legs.images[index], legs.fat[index], legs.texture[index], legs.side[index])


def _stem(file: Path) -> str:
    return file.name.removesuffix(".weights.h5")


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(_stem(file) + suffix)
