"""Training the 3-D network: a step against Keras's own ``fit``, memory, and one whole training.

What is compared in one process runs in turn, round after round. What needs other settings from
its start runs in a process of its own, and is compared with such a process without them. A number
of processor seconds stands beside each time, as other work may have had the cores.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
import timing

from helpers import brain, brain_cache, dystonianet, parameters, paths
from helpers.networks import keras
from helpers.phantom import brain_head
from helpers.volumes import Volume

CHOICES = parameters.load("demo").dystonianet
SIZES = CHOICES.layers.model_dump() | CHOICES.extras.model_dump()
BATCH = CHOICES.fitting.batch_size
FIT, OURS = "Keras fit", "this book, scans read from disk"
#: Settings that a process must have from its start, and policies of Keras.
SETTINGS: dict[str, dict[str, str]] = {
    "as it is": {},
    "one thread": {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"},
    "XLA (jit_compile)": {"BENCH_XLA": "1"},
    "oneDNN off": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "bfloat16 (mixed policy)": {"BENCH_POLICY": "mixed_bfloat16"},
    "bfloat16 (mixed policy), AMX not used": {
        "BENCH_POLICY": "mixed_bfloat16",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",
    },
}
#: Seconds of processor time after which a setting is given up.
PATIENCE = 120


def spent() -> float:
    """Return the processor time of this process so far, seconds."""
    used = os.times()
    return used.user + used.system


def scans(subjects: int, voxel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Return noise in the shape of heads, and labels: no step's speed depends on what it sees."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((subjects, *brain.box_shape(voxel_mm), 1), np.float32)
    return x, (np.arange(subjects) % 2).astype(np.float32)


def people(subjects: int, *, tuned: int = 0) -> pd.DataFrame:
    """Return a table of people to train on, and to tune on."""
    split = np.repeat(["training", "optimisation"], [subjects - tuned, tuned])
    return pd.DataFrame({"split": split, "patient": np.arange(subjects) % 2})


@contextmanager
def on_disk(x: np.ndarray, subjects: int) -> Iterator[brain_cache.Volumes]:
    """Give scans in files, the same few again and again."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{k}.npy" for k in range(subjects)]
        for k, file in enumerate(files):
            if k < len(x):
                np.save(file, x[k, ..., 0])
            else:
                os.link(files[k % len(x)], file)
        yield brain_cache.Volumes(files)


def model(shape: tuple[int, ...], **compiled) -> keras.Model:
    """Return a network, always from the same start."""
    keras.utils.set_random_seed(1)
    built = dystonianet.build(tuple(shape[1:4]), **SIZES)
    built.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy", **compiled)
    built.optimizer.build(built.trainable_variables)
    return built


def compiled_step(network: keras.Model, first: Callable | None = None) -> Callable:
    """Return a training step of our own as one graph; ``first`` replaces the first layers."""
    import tensorflow as tf

    loss, rest = keras.losses.BinaryCrossentropy(), network.layers[3:]

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            flow = first(network, x) if first else network(x, training=True)
            for layer in rest if first else ():
                flow = layer(flow, training=True)
            value = loss(y[:, None], flow)
        gradients = tape.gradient(value, network.trainable_variables)
        network.optimizer.apply(gradients, network.trainable_variables)
        return value

    return lambda x, y: step(tf.constant(x), tf.constant(y))


def first_as_product(network: keras.Model, x):
    """Return the first convolution, rectified and pooled, from one product of matrices.

    The eight voxels of a pooled block see 4 x 4 x 4 voxels; all eight results are one product of
    these with a matrix that holds the kernel eight times.
    """
    import tensorflow as tf

    layer, count = network.get_layer("conv1"), SIZES["filters"][0]
    corners = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    x = tf.pad(x[..., 0], [[0, 0], [1, 1], [1, 1], [1, 1]])
    n, a, b, c = x.shape[0], *(side // 2 for side in x.shape[1:])
    cells = tf.transpose(tf.reshape(x, (n, a, 2, b, 2, c, 2)), (0, 1, 3, 5, 2, 4, 6))
    cells = tf.reshape(cells, (n, a, b, c, 8))
    seen = [cells[:, i : a - 1 + i, j : b - 1 + j, k : c - 1 + k] for i, j, k in corners]
    kernel = layer.kernel[:, :, :, 0]
    shifted = [tf.pad(kernel, [*([s, 1 - s] for s in corner), [0, 0]]) for corner in corners]
    matrix = tf.reshape(tf.stack(shifted, 3), (2, 2, 2, 2, 2, 2, 8, count))
    matrix = tf.reshape(tf.transpose(matrix, (0, 2, 4, 1, 3, 5, 6, 7)), (64, 8 * count))
    product = tf.reshape(tf.concat(seen, -1), (-1, 64)) @ matrix
    pooled = tf.reduce_max(tf.reshape(product, (-1, 8, count)), 1)
    return tf.reshape(tf.nn.relu(pooled + layer.bias), (n, a - 1, b - 1, c - 1, count))


def looped(step: Callable, x: np.ndarray, y: np.ndarray, order: np.ndarray) -> None:
    """Do a step with each batch."""
    for start in range(0, len(y), BATCH):
        rows = order[start : start + BATCH]
        step(x[rows], y[rows])


def tasks(x: np.ndarray, y: np.ndarray, stored: brain_cache.Volumes) -> dict[str, tuple]:
    """Return by name an epoch in a given order, and the network that it trains."""
    import tensorflow as tf

    def fit(network, order):
        network.fit(x[order], y[order], batch_size=BATCH, shuffle=False, verbose=0)

    def dataset(network, order):
        data = tf.data.Dataset.from_tensor_slices((x[order], y[order][:, None]))
        network.fit(data.batch(BATCH).prefetch(tf.data.AUTOTUNE), verbose=0)

    def ours(network, order):
        dystonianet._over(network.train_on_batch, network, stored, (order, y[order]), BATCH)

    found = {name: model(x.shape) for name in (FIT, OURS, "Keras fit from tf.data with prefetch")}
    found["Keras fit, eight steps a call"] = model(x.shape, steps_per_execution=8)
    runs = dict(zip(found, (fit, ours, dataset, fit), strict=True))
    for name, first in (("one graph of our own", None), ("first layer", first_as_product)):
        name = name if first is None else f"{name} as a product of matrices, one graph"
        found[name] = model(x.shape)
        step = compiled_step(found[name], first)
        runs[name] = lambda _, order, step=step: looped(step, x, y, order)
    return {name: (runs[name], found[name]) for name in found}


def steps(subjects: int, rounds: int, voxel_mm: float = 4.0) -> pd.DataFrame:
    """Time an epoch of each way to train, in turn, and compare the weights they end with."""
    x, y = scans(subjects, voxel_mm)
    used: dict[str, list[float]] = {}
    with on_disk(x, subjects) as stored:
        ways = tasks(x, y, stored)
        plan = [np.random.default_rng(k).permutation(subjects) for k in range(rounds + 2)]
        orders = {name: iter(plan) for name in ways}
        apart = {}
        for name, (run, network) in ways.items():
            run(network, next(orders[name]))
            first = ways[FIT][1].get_weights()
            pairs = zip(first, network.get_weights(), strict=True)
            apart[name] = max(float(np.abs(a - b).max()) for a, b in pairs)

        def counted(name):
            before = spent()
            ways[name][0](ways[name][1], next(orders[name]))
            used.setdefault(name, []).append(spent() - before)

        times = timing.interleaved(
            {name: lambda name=name: counted(name) for name in ways}, rounds=rounds
        )
    table = timing.summary(times, unit_of=dict.fromkeys(times, subjects), against=FIT)
    cpu = pd.DataFrame(used).iloc[1:]
    table["cpu_ratio"] = cpu.div(cpu[FIT], axis=0).median().to_numpy()
    table["cpu_ms"] = 1e3 * cpu.median().to_numpy() / subjects
    return table.assign(weights_apart=table["task"].map(apart), voxel_mm=voxel_mm)


def setting(subjects: int, rounds: int) -> dict[str, float]:
    """Time epochs of ``fit`` in this process; its environment says how."""
    resource.setrlimit(resource.RLIMIT_CPU, (PATIENCE, PATIENCE + 5))
    keras.config.set_dtype_policy(os.environ.get("BENCH_POLICY", "float32"))
    x, y = scans(subjects, 4.0)
    network = model(x.shape, jit_compile=bool(os.environ.get("BENCH_XLA")))
    wall, cpu = [], []
    for _ in range(rounds + 1):
        start, before = time.perf_counter(), spent()
        network.fit(x, y, batch_size=BATCH, verbose=0)
        wall.append(time.perf_counter() - start)
        cpu.append(spent() - before)
    return {
        "seconds": float(np.median(wall[1:])) / subjects,
        "cpu_ms": 1e3 * float(np.median(cpu[1:])) / subjects,
    }


def memory(subjects: int, voxel_mm: float) -> dict[str, float]:
    """Train one epoch and predict everyone, scans on disk, and return the highest memory used."""
    x, _ = scans(16, voxel_mm)
    table = people(subjects, tuned=subjects // 4)
    with on_disk(x, subjects) as stored:
        del x
        options = CHOICES.fitting.model_dump() | {"epochs": 1} | SIZES
        start, before = time.perf_counter(), spent()
        network, _ = dystonianet.train(table, stored, seed=1, **options)
        dystonianet.predict(network, stored)
    return {
        "wall_seconds": time.perf_counter() - start,
        "cpu_seconds": spent() - before,
        "peak_gib": peak(),
    }


def peak() -> float:
    """Return the highest memory this process has used so far, GiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def whole(voxel_mm: float, epochs: int, patience: int, folder: str) -> dict[str, float]:
    """Train to the end on the heads that ``make doses`` has left, at the published size.

    They have the detail of 4 mm; a finer grid is interpolated.
    """
    from helpers import dose_runs

    bench = dose_runs.Bench(Path(folder))
    heads, amplitudes = bench.heads("registered")
    table = bench.table[bench.table["split"].isin(["training", "optimisation"])]
    reading = {"placement": "world", "brain_input": "standardised"}
    with tempfile.TemporaryDirectory() as place:
        files = []
        for k, patient in zip(table.index, table["patient"], strict=True):
            image = dose_runs.scan(heads[k], amplitudes, effect_d=2.0 if patient else 0.0)
            scan = Volume(image, heads.affine)
            files.append(Path(place) / f"{k}.npy")
            np.save(files[-1], brain.in_box(scan, voxel_mm=voxel_mm, **reading))
        stored = brain_cache.Volumes(files)
        options = CHOICES.fitting.model_dump() | {"epochs": epochs, "patience": patience} | SIZES
        start, before = time.perf_counter(), spent()
        _, history = dystonianet.train(table, stored, seed=1, **options)
    return {
        "epochs_run": len(history),
        "epoch_kept": int(history.loc[history["kept"], "epoch"].iloc[0]),
        "wall_seconds": time.perf_counter() - start,
        "cpu_seconds": spent() - before,
        "peak_gib": peak(),
    }


def child(task: str, *values: float | str, **environment: str) -> dict[str, object]:
    """Run one of the functions above in a process of its own."""
    command = [sys.executable, __file__, "--child", json.dumps([task, *values])]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    if -done.returncode == signal.SIGXCPU:
        return {"result": f"given up after {PATIENCE} s of processor time"}
    if done.returncode:
        died = f"signal {-done.returncode}" if done.returncode < 0 else done.stderr[-200:]
        return {"result": f"the process ended: {died}"}
    return {"result": "ran"} | json.loads(done.stdout.splitlines()[-1])


def settings(subjects: int, rounds: int) -> pd.DataFrame:
    """Time a plain ``fit`` under each setting."""
    rows = []
    for name, environment in SETTINGS.items():
        # XLA takes minutes for what the others do in a second.
        size = 2 * BATCH if "BENCH_XLA" in environment else subjects
        found = child("setting", size, rounds, **environment)
        about = {"setting": name, "subjects": size, "rounds": rounds}
        rows.append(about | {"result": "", "seconds": np.nan, "cpu_ms": np.nan} | found)
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    ratios = {name: table[name] / table[name][0] for name in ("seconds", "cpu_ms")}
    return table.assign(ratio=ratios["seconds"], cpu_ratio=ratios["cpu_ms"])


def sizes() -> pd.DataFrame:
    """Measure memory with more and more subjects."""
    rows = []
    for voxel_mm, first in ((4.0, 80), (2.0, 40)):
        for subjects in (first, 2 * first, 4 * first):
            found = child("memory", subjects, voxel_mm)
            rows.append({"voxel_mm": voxel_mm, "subjects": subjects} | found)
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def trainings(folder: str) -> pd.DataFrame:
    """Train to the end with the settings of the demo and of the paper profile."""
    rows = []
    for name, voxel_mm in (("demo", 4.0), ("paper", 2.0)):
        fitting = parameters.load(name).dystonianet.fitting
        found = child("whole", voxel_mm, fitting.epochs, fitting.patience, folder)
        about = {"profile": name, "voxel_mm": voxel_mm, "training": 320, "optimisation": 120}
        rows.append(about | {"epochs_max": fitting.epochs, "patience": fitting.patience} | found)
        print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def write(name: str, table: pd.DataFrame) -> None:
    """Write rows, of which the phantom is the brain's."""
    version = brain_head.Specification().version
    timing.write(name, table, cores=len(os.sched_getaffinity(0)), phantom_version=version)


def main(only: tuple[str, ...] = (), folder: Path | None = None) -> None:
    """Run all parts, or those named."""
    heads = folder or paths.results("doses")
    parts = {
        "brain_speed": lambda: steps(96, 3),
        "brain_settings": lambda: settings(48, 2),
        "brain_memory": sizes,
        "brain_training": lambda: trainings(str(heads)),
    }
    for name, part in parts.items():
        if name == "brain_training" and not heads.is_dir():
            print(f"\n{name}: skipped, no heads from make doses", flush=True)
        elif not only or name in only:
            write(name, part())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--folder", type=Path, help="heads of make doses; default results/doses")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        task, *values = json.loads(given.child)
        print(json.dumps({"setting": setting, "memory": memory, "whole": whole}[task](*values)))
    else:
        main(tuple(given.only), given.folder)
