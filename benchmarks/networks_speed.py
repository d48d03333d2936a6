"""Speed of the frozen networks and of the last layer, against Keras's own calls.

Everything runs on all cores, in turn, round after round. What needs other settings from its
start (one thread, another backend of Keras) runs in a process of its own, which waits for its
turn. OpenVINO, ONNX Runtime and jax are tried where they are installed; the project needs none.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import phantom_speed
import timing
from cohort_scale import watched
from scipy.special import expit
from threadpoolctl import threadpool_limits

from helpers import features, layers, networks, parameters, roi, training
from helpers.networks import keras
from helpers.phantom import thigh

#: Leg images in one call: the book's own batch.
BATCH = features.BATCH
#: Networks on which other engines are tried, and naive training is timed.
TRIED = ("ResNet50", "DenseNet121")
#: Training and validation images of the demo, and of the published cohort.
DEMO, PUBLISHED = (138, 60), (1406, 482)
PREDICT, BOOK = "Keras predict", "this book, network alone"
WHOLE = "this book, from image files to stored features"
PEAK = "product of two 2,048 x 2,048 matrices"
#: Settings that a process must have from its start.
SETTINGS = {
    "one thread": {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"},
    "oneDNN off": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "bfloat16 inside oneDNN": {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"},
    "bfloat16 policy of Keras": {"BENCH_DTYPE_POLICY": "mixed_bfloat16"},
}


@contextmanager
def legs(number: int) -> Iterator[tuple[pd.DataFrame, Path]]:
    """Give the rows and the folder of some leg images of the phantom.

    A few slices are drawn and their legs used again and again: no network's speed depends on
    what it sees.
    """
    choices = parameters.load("demo").roi.model_dump()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for recipe in phantom_speed.recipes(12):
            thigh.write_case(recipe, folder=folder / "cohort" / "thigh", matrix=512)
        files = sorted(folder.rglob("*.dcm"))
        slices = pd.DataFrame(
            {
                "case_id": [file.parent.name for file in files],
                "slice_id": [file.stem for file in files],
                "file": [file.relative_to(folder).as_posix() for file in files],
                "frame": 0,
            }
        )
        found = roi.locate_all(slices, folder=folder, **choices)
        found.to_csv(folder / "images.csv", index=False)
        rows = features.included(folder / "images.csv")
        rows = rows.iloc[np.arange(number) % len(rows)].reset_index(drop=True)
        yield rows.assign(image_id=[f"i{k:05d}" for k in range(number)]), folder


def edge(name: str) -> int:
    """Return the edge of a network's input in the demo, pixels."""
    pixels = parameters.load("demo").backbones.input_pixels
    return pixels.get(name, pixels["default"])


def operations(model: keras.Model) -> float:
    """Return the floating-point operations for one image, as TensorFlow's profiler counts them.

    A multiplication and an addition count as two.
    """
    import tensorflow as tf

    shape = tf.TensorSpec((1, *model.input_shape[1:]), "float32")
    graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(shape).graph
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder.float_operation()
    quiet = profiler.ProfileOptionBuilder(options).with_empty_output().build()
    return float(profiler.profile(graph, options=quiet).total_float_ops)


def product() -> Callable[[], object]:
    """Return a product of two large matrices in single precision, on all cores."""
    import tensorflow as tf

    factors = tf.random.stateless_normal((2, 2048, 2048), seed=(0, 1))
    multiply = tf.function(lambda: tf.linalg.matmul(factors[0], factors[1]))
    return lambda: multiply().numpy()


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest distance of an image's features, relative to their length."""
    length = np.linalg.norm(expected, axis=1)
    return float(np.max(np.linalg.norm(found - expected, axis=1) / length))


def measured(
    tasks: dict[str, Callable[[], object]], *, rounds: int, units: dict[str, int], against: str
) -> pd.DataFrame:
    """Time tasks in turn; one row a task.

    Beside the wall clock runs this process's processor time, over all its threads: other work on
    a shared machine moves it less.
    """
    times = timing.interleaved(tasks, rounds=rounds, clock=both_clocks)
    wall, processor = (times.map(lambda pair, k=k: float(pair[k])) for k in (0, 1))
    table = timing.summary(wall, unit_of=units, against=against)
    own = timing.summary(processor, unit_of=units, against=against)
    fastest = [wall[name].min() / units.get(name, 1) for name in tasks]
    table = table.assign(fastest=fastest, per_second=1 / table["seconds"])
    return table.assign(processor=own["seconds"], processor_ratio=own["ratio"])


def both_clocks() -> np.ndarray:
    """Return the wall clock and this process's processor time, seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def extraction(*, rounds: int = 3) -> None:
    """Compare the book's features with Keras ``predict``, network by network."""
    parts = []
    with legs(BATCH) as (rows, folder):
        for name in networks.NETWORKS:
            weights = networks.choose_weights(["random"], name, seed=1)
            shards = features._Shards(name, weights, rows, folder, edge(name), BATCH)
            model, ready = shards._network, ready_images(name, rows, folder)
            file = shards.place / "00000.npy"
            tasks = {
                PEAK: product(),
                PREDICT: lambda m=model, x=ready: m.predict(x, batch_size=BATCH, verbose=0),
                BOOK: lambda m=model, x=ready: np.asarray(m.predict_on_batch(x)),
                WHOLE: lambda s=shards, f=file: s._compute(f, s.parts[0], s.marks[0]),
            }
            own = {task: BATCH for task in tasks if task != PEAK}
            table = measured(tasks, rounds=rounds, units=own, against=PREDICT).set_index("task")
            # Of processor time: other work on the machine would lower both, not alike.
            peak = 2 * 2048**3 / table.loc[PEAK, "processor"]
            work = operations(model)
            table = table.drop(PEAK).reset_index()
            off = difference(np.load(file), tasks[PREDICT]())
            extra = {"gflop_per_image": work / 1e9, "peak_gflop": peak / 1e9}
            table = table.assign(network=name, **extra, difference=off, images=BATCH)
            table["share_of_peak"] = work / table["processor"] / peak
            parts.append(table)
    table = pd.concat(parts, ignore_index=True)
    timing.write("networks_extraction", table, cores=os.cpu_count() or 1)


def ready_images(name: str, rows: pd.DataFrame, folder: Path) -> np.ndarray:
    """Return leg images preprocessed for a network."""
    return features.network_input(name, rows, folder, input_pixels=edge(name))


def engines(*, names: tuple[str, ...] = TRIED[:1], rounds: int = 3) -> None:
    """Try other ways to compute the same features, some networks, one batch."""
    with legs(BATCH) as (rows, folder):
        parts = [engines_of(name, rows, folder, rounds=rounds) for name in names]
    timing.write("networks_engines", pd.concat(parts), cores=os.cpu_count() or 1)


def engines_of(name: str, rows: pd.DataFrame, folder: Path, *, rounds: int) -> pd.DataFrame:
    """Return the rows of one network."""
    weights = networks.choose_weights(["random"], name, seed=1)
    model = features.pooled(networks.build(name, weights=weights, input_pixels=edge(name)))
    ready = ready_images(name, rows, folder)
    np.save(folder / "ready.npy", ready)
    model.save_weights(folder / "own.weights.h5")
    tasks = here(model, name, ready, folder)
    with ExitStack() as stack:
        started = {
            about: stack.enter_context(waiting(name, folder, setting))
            for about, setting in settings().items()
        }
        tasks |= {about: task for about, task in started.items() if task}
        expected = tasks[PREDICT]()
        off = {about: difference(np.asarray(task()), expected) for about, task in tasks.items()}
        units = dict.fromkeys(tasks, BATCH)
        table = measured(tasks, rounds=rounds, units=units, against=BOOK)
    # Of other processes no processor time was seen.
    table.loc[table["task"].isin(settings()), ["processor", "processor_ratio"]] = np.nan
    # A processor without bfloat16 instructions ends such a process at its first operation.
    failed = [f"{about} (cannot run here)" for about, task in started.items() if task is None]
    table = pd.concat([table, pd.DataFrame({"task": failed})], ignore_index=True)
    return table.assign(network=name, difference=table["task"].map(off), images=BATCH)


def here(
    model: keras.Model, name: str, ready: np.ndarray, folder: Path
) -> dict[str, Callable[[], np.ndarray]]:
    """Return the ways that can share this process."""
    import tensorflow as tf

    plain = tf.function(lambda x: model(x, training=False))
    xla = tf.function(lambda x: model(x, training=False), jit_compile=True)

    def small(size: int) -> np.ndarray:
        parts = [model.predict_on_batch(ready[k : k + size]) for k in range(0, BATCH, size)]
        return np.concatenate(parts)

    tasks = {
        PREDICT: lambda: model.predict(ready, batch_size=BATCH, verbose=0),
        BOOK: lambda: np.asarray(model.predict_on_batch(ready)),
        "compiled function": lambda: plain(ready).numpy(),
        "compiled by XLA": lambda: xla(ready).numpy(),
        "batches of 8": lambda: small(8),
        "batches of 16": lambda: small(16),
    }
    return tasks | converted(model, ready, folder)


def converted(
    model: keras.Model, ready: np.ndarray, folder: Path
) -> dict[str, Callable[[], np.ndarray]]:
    """Return the engines of other makers that are installed here, on the converted network."""
    tasks = {}
    if importlib.util.find_spec("openvino"):
        import openvino

        model.export(folder / "saved", verbose=False)
        read = openvino.convert_model(folder / "saved", input=[list(ready.shape)])
        # Left to itself it shortens to bfloat16 where the processor claims to know it.
        single = openvino.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        tasks["OpenVINO, single precision"] = lambda: single(ready)[0].copy()
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("tf2onnx"):
        import onnxruntime

        model.export(folder / "network.onnx", format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(folder / "network.onnx")
        entry = session.get_inputs()[0].name
        tasks["ONNX Runtime"] = lambda: session.run(None, {entry: ready})[0]
    return tasks


def settings() -> dict[str, dict[str, str]]:
    """Return the settings to try; jax only where it is installed."""
    jax = {"Keras on jax": {"KERAS_BACKEND": "jax"}} if importlib.util.find_spec("jax") else {}
    return SETTINGS | jax


@contextmanager
def waiting(name: str, folder: Path, setting: dict[str, str]) -> Iterator[Callable | None]:
    """Give a task that runs in a process with other settings, which is built and waits.

    None where the process ended before it was ready.
    """
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", name, str(folder)],
        env=os.environ | setting,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    answer = process.stdout.readline().strip()

    def task() -> np.ndarray:
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        return np.load(answer)

    try:
        yield task if answer else None
    finally:
        process.stdin.close()
        process.wait()


def serve(name: str, folder: Path) -> None:
    """Compute the features each time a line comes in; the first time before any."""
    weights = networks.choose_weights(["random"], name, seed=1)
    keras.config.set_dtype_policy(os.environ.get("BENCH_DTYPE_POLICY", "float32"))
    model = features.pooled(networks.build(name, weights=weights, input_pixels=edge(name)))
    model.load_weights(folder / "own.weights.h5")
    ready = np.load(folder / "ready.npy")
    answer = folder / f"{os.getpid()}.npy"
    np.save(answer, np.asarray(model.predict_on_batch(ready), "float32"))
    print(answer, flush=True)
    for _ in sys.stdin:
        np.save(answer, np.asarray(model.predict_on_batch(ready), "float32"))
        print("done", flush=True)


def cached(*, repeats: int = 1) -> None:
    """Compare training through the frozen network with training on features computed once."""
    parts = []
    with legs(sum(DEMO)) as (rows, folder):
        for name in TRIED:
            for repeat in range(repeats):
                parts += comparison(name, rows, folder, repeat)
    timing.write("networks_cached", pd.DataFrame(parts), cores=os.cpu_count() or 1)


def comparison(name: str, rows: pd.DataFrame, folder: Path, repeat: int) -> list[dict]:
    """Return the rows of one network: 2 epochs of each way measured, then 10 and 100."""
    label = np.arange(sum(DEMO)) % 2
    first, later, slow_kernel = naive(name, rows, folder, label)
    shutil.rmtree(folder / "features", ignore_errors=True)
    weights = networks.choose_weights(["random"], name, seed=1)
    clock = both_clocks()
    found = features.extract(name, weights, rows, folder, input_pixels=edge(name)).values
    once = both_clocks() - clock
    parts, kernels = [], {}
    for epochs in (2, 10, 100):
        clock = both_clocks()
        kernels[epochs] = on_features(found, label, epochs)
        fast, slow = once + both_clocks() - clock, first + (epochs - 1) * later
        about = {"network": name, "repeat": repeat + 1, "epochs": epochs, "images": sum(DEMO)}
        how = "measured" if epochs == 2 else "extrapolated from 2 epochs"
        wall = {"naive_wall": slow[0], "naive": how, "stored_wall": fast[0]}
        processor = {"naive_processor": slow[1], "stored_processor": fast[1]}
        ratio = {"times_faster": slow[0] / fast[0], "by_processor_time": slow[1] / fast[1]}
        parts.append(about | wall | processor | ratio | {"share": fast[1] / slow[1]})
    gap = np.abs(kernels[2] - slow_kernel).max()
    return [part | {"weights_apart": gap} for part in parts]


def naive(
    name: str, rows: pd.DataFrame, folder: Path, label: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit the whole frozen model for 2 epochs; return the times of each, and the kernel.

    Its images lie ready in memory, which favours it.
    """
    weights = networks.choose_weights(["random"], name, seed=1)
    network = networks.build(name, weights=weights, input_pixels=edge(name))
    start = np.zeros((1, network.output_shape[-1]))
    model = training.assemble(network, training.Heads((0,), start, np.zeros(1), None, None), seed=0)
    model.trainable = True
    for layer in model.layers:
        layer.trainable = layer.name == training.HEAD
    model.compile(keras.optimizers.SGD(1e-4), "binary_crossentropy")
    ready, n, ends = ready_images(name, rows, folder), DEMO[0], [both_clocks()]
    model.fit(
        *(ready[:n], label[:n]),
        validation_data=(ready[n:], label[n:]),
        epochs=2,
        batch_size=32,
        shuffle=False,
        verbose=0,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: ends.append(both_clocks())
            )
        ],
    )
    first, later = np.diff(ends, axis=0)
    return first, later, model.get_layer(training.HEAD).get_weights()[0][:, 0]


def on_features(found: np.ndarray, label: np.ndarray, epochs: int) -> np.ndarray:
    """Train the last layer as :func:`naive` does, on features; return the kernel."""
    x, n = found.astype(float), DEMO[0]
    states = training.gradient_descent(
        (x[:n], label[:n].astype(float)),
        (x[n:], label[n:].astype(float)),
        start=np.zeros((1, x.shape[1])),
        order=lambda: np.arange(n)[None],
        learning_rate=1e-4,
        batch_size=32,
        momentum=0.0,
    )
    combination, _, _ = training.stop_early(
        states, label[:n], label[n:], seeds=[0], epochs_max=epochs, patience=epochs
    )
    return combination[0] @ x[:n]


def heads(*, rounds: int = 5) -> None:
    """Time an epoch of the last layer at two sizes, losses of training and validation included."""
    table = pd.concat([heads_of(size, rounds=rounds) for size in (DEMO, PUBLISHED)])
    timing.write("networks_heads", table, cores=os.cpu_count() or 1)


def heads_of(size: tuple[int, int], *, rounds: int, channels: int = 2048) -> pd.DataFrame:
    """Return the rows of one number of training and validation images."""
    rng, n = np.random.default_rng(0), size[0]
    x = rng.standard_normal((sum(size), channels)).astype("float32")
    y = (rng.random(sum(size)) < 0.35).astype("float32")
    parts = [(x[:n], y[:n]), (x[n:], y[n:])]
    tasks = {
        "Keras fit": keras_fit(parts, epochs=3),
        "this book, one seed": book_epochs(parts, seeds=1, epochs=30),
        "this book, ten seeds": book_epochs(parts, seeds=10, epochs=5),
        "plain NumPy loop": lambda: numpy_epochs(parts, epochs=10),
    }
    units = dict(zip(tasks, (3, 30, 50, 10), strict=True))
    # NumPy on one thread, as small products are best; Keras keeps all of its own.
    with threadpool_limits(1):
        table = measured(tasks, rounds=rounds, units=units, against="Keras fit")
    return table.assign(images=n, validation_images=size[1], channels=channels)


def keras_fit(parts: list[tuple], *, epochs: int) -> Callable[[], object]:
    """Return Keras's training of one dense unit, compiled beforehand."""
    model = keras.Sequential(
        [keras.Input((parts[0][0].shape[1],)), keras.layers.Dense(1, "sigmoid")]
    )
    model.compile(keras.optimizers.SGD(1e-4), "binary_crossentropy")
    options = {"validation_data": parts[1], "batch_size": 32, "verbose": 0}
    return lambda: model.fit(*parts[0], epochs=epochs, **options)


def book_epochs(parts: list[tuple], *, seeds: int, epochs: int) -> Callable[[], object]:
    """Return the book's training, its inner products made beforehand, losses included."""
    rng = np.random.default_rng(1)
    label = [part[1].astype(float) for part in parts]
    n = len(label[0])
    states = training.gradient_descent(
        *[(part[0].astype(float), own) for part, own in zip(parts, label, strict=True)],
        start=rng.uniform(-0.05, 0.05, (seeds, parts[0][0].shape[1])),
        order=lambda: np.array([rng.permutation(n) for _ in range(seeds)]),
        learning_rate=1e-4,
        batch_size=32,
        momentum=0.0,
    )
    next(states)

    def task() -> None:
        for _, logits in islice(states, epochs):
            layers.loss(logits[:, :n], label[0]), layers.loss(logits[:, n:], label[1])

    return task


def numpy_epochs(parts: list[tuple], *, epochs: int) -> None:
    """Train one unit as anyone would write it, in single precision, losses included."""
    rng, ((x, y), (z, labels)) = np.random.default_rng(1), parts
    kernel, bias = rng.uniform(-0.05, 0.05, x.shape[1]).astype("float32"), np.float32(0)
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for first in range(0, len(x), 32):
            own = order[first : first + 32]
            batch = x[own]
            residual = (expit(batch @ kernel + bias) - y[own]) * np.float32(1e-4 / len(own))
            kernel -= residual @ batch
            bias -= residual.sum()
        layers.loss(x @ kernel + bias, y), layers.loss(z @ kernel + bias, labels)


def memory(sizes: tuple[int, ...] = (256, 512)) -> None:
    """Measure the peak memory of features and heads, with cohorts of several sizes."""
    table = []
    with legs(max(sizes)) as (rows, folder):
        for size in sizes:
            rows.iloc[:size].to_csv(folder / "images.csv", index=False)
            command = [sys.executable, __file__, "--once", TRIED[0], str(folder)]
            wall, processor, peak = watched(command, environment=dict(os.environ))
            shutil.rmtree(folder / "features")
            about = {"network": TRIED[0], "leg_images": size, "seeds": 10}
            table.append(about | {"wall_seconds": wall, "cpu_seconds": processor, "peak_gib": peak})
    timing.write("networks_memory", pd.DataFrame(table), cores=os.cpu_count() or 1)


def once(name: str, folder: Path) -> None:
    """Compute features of all images of a folder and train ten heads on them."""
    rows = features.included(folder / "images.csv")
    weights = networks.choose_weights(["random"], name, seed=1)
    found = features.extract(name, weights, rows, folder, input_pixels=edge(name))
    split = np.repeat(
        ["training", "validation"], [len(rows) * 3 // 4, len(rows) - len(rows) * 3 // 4]
    )
    table = pd.DataFrame({"label": np.arange(len(rows)) % 2, "split": split})
    rule = {"learning_rate": 1e-4, "batch_size": 32, "momentum": 0.0, "standardise": True}
    training.train(found.values, table, seeds=list(range(10)), epochs_max=20, patience=20, **rule)


def main(*, paper: bool = False) -> None:
    """Run all comparisons; for the published size with more networks, repeats and images."""
    heads()
    extraction()
    engines(names=TRIED if paper else TRIED[:1])
    cached(repeats=3 if paper else 1)
    memory((256, 512, 1024) if paper else (256, 512))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paper", action="store_true", help="more networks, repeats and images")
    parser.add_argument("--only", choices=("heads", "extraction", "engines", "cached", "memory"))
    parser.add_argument("--serve", nargs=2, metavar=("NETWORK", "FOLDER"), help="for this file")
    parser.add_argument("--once", nargs=2, metavar=("NETWORK", "FOLDER"), help="for this file")
    options = parser.parse_args()
    if options.serve:
        serve(options.serve[0], Path(options.serve[1]))
    elif options.once:
        once(options.once[0], Path(options.once[1]))
    elif options.only:
        globals()[options.only]()
    else:
        main(paper=options.paper)
