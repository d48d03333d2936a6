"""Timing tasks against each other: interleaved rounds, medians, spread, one core.

A shared machine's speed drifts. So every round runs each task once, in turn, and tasks are
compared by the ratio within a round. Beside them runs a fixed piece of work, the product of
two matrices, that says how fast the machine was.
"""

import csv
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

# Before NumPy starts its threads: what is called "per core" here runs on one.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from helpers import paths  # noqa: E402
from helpers.phantom import thigh  # noqa: E402

RESULTS = paths.root() / "benchmarks" / "results"
#: Name of the fixed piece of work.
REFERENCE = "product of two 400 x 400 matrices"
_FACTORS = np.random.default_rng(0).standard_normal((2, 400, 400))


def reference() -> float:
    """Do the fixed piece of work."""
    return float((_FACTORS[0] @ _FACTORS[1])[0, 0])


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process on one of its cores, where the system allows that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def interleaved(
    tasks: dict[str, Callable[[], object]],
    *,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> pd.DataFrame:
    """Time tasks in turn, round after round; the first round warms up and is not counted.

    Parameters
    ----------
    tasks : dict of str to callable
        Each is called once a round.
    rounds : int
        Rounds that count.
    clock : callable
        Returns seconds.

    Returns
    -------
    DataFrame
        One row a round, one column a task, seconds.
    """
    rows = []
    for _ in range(rounds + 1):
        row = {}
        for name, task in tasks.items():
            start = clock()
            task()
            row[name] = clock() - start
        rows.append(row)
    return pd.DataFrame(rows[1:])


def summary(times: pd.DataFrame, *, unit_of: dict[str, int], against: str) -> pd.DataFrame:
    """Return each task's time per unit and its ratio to another task, within rounds.

    Parameters
    ----------
    times : DataFrame
        From :func:`interleaved`.
    unit_of : dict of str to int
        Units (slices, say) that one call of a task does; 1 where not named.
    against : str
        Task that ratios refer to.

    Returns
    -------
    DataFrame
        task, rounds, seconds per unit (median), spread (median absolute deviation of it),
        ratio (median over rounds), ratio spread.

    Examples
    --------
    >>> times = pd.DataFrame({"a": [2.0, 4.0, 9.0], "b": [1.0, 2.0, 3.0]})
    >>> table = summary(times, unit_of={"a": 2}, against="b").set_index("task")
    >>> [float(value) for value in table.loc["a", ["seconds", "spread", "ratio", "ratio_spread"]]]
    [2.0, 1.0, 1.0, 0.0]
    """
    each = times / pd.Series({name: unit_of.get(name, 1) for name in times})
    ratio = each.div(each[against], axis=0)
    return pd.DataFrame(
        {
            "task": times.columns,
            "rounds": len(times),
            "seconds": each.median().to_numpy(),
            "spread": _deviation(each),
            "ratio": ratio.median().to_numpy(),
            "ratio_spread": _deviation(ratio),
        }
    )


def about() -> dict[str, object]:
    """Return when and on what a benchmark ran, and which phantom it measured."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1,
        "accelerator": "none used",
        "python": platform.python_version(),
        "numpy": metadata.version("numpy"),
        "scikit-image": metadata.version("scikit-image"),
        "phantom_version": thigh.SPECIFICATION["version"],
    }


def write(name: str, table: pd.DataFrame, *, cores: int, keep: str = "", **more: object) -> Path:
    """Write a benchmark's rows, each with when and on what it ran, and print them.

    Parameters
    ----------
    name : str
        File name without suffix.
    table : DataFrame
        Measured rows.
    cores : int
        Cores that the measured work was allowed.
    keep : str
        A column; rows of the earlier file with other values in it stay. Empty: none do.
    **more
        What else every row says, in place of :func:`about`'s where the names are the same.

    Returns
    -------
    Path
        ``benchmarks/results/<name>.csv``.
    """
    rounded = table.map(lambda value: f"{value:.4g}" if isinstance(value, float) else value)
    full = rounded.assign(**about() | {"cores": cores} | more)
    print(f"\n{name}\n{rounded.to_string(index=False)}", flush=True)
    file = RESULTS / f"{name}.csv"
    if keep and file.is_file():
        before = pd.read_csv(file, dtype=str)
        full = pd.concat([before[~before[keep].isin(full[keep])], full], ignore_index=True)
    with paths.atomic_path(file) as temporary:
        full.to_csv(temporary, index=False, quoting=csv.QUOTE_MINIMAL)
    return file


def _deviation(table: pd.DataFrame) -> np.ndarray:
    return (table - table.median()).abs().median().to_numpy()
