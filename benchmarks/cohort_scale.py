"""Wall time and memory of making a whole thigh cohort and finding its legs, at two sizes.

The real commands run in their own processes; the memory of the whole process tree is sampled.
Pages that processes share count once for each, so the sum is an upper bound.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pandas as pd
import psutil
import timing

from helpers import parameters, paths

#: Name of a size: fractions of the published cases and leg images. The second has four times
#: the slices of the first, by images of each case, so that both hold the same people.
SIZES = {"1 x": (0.02, 0.03), "4 x": (0.02, 0.185)}
PAPER = {"published size": (1.0, 1.0)}

ROI = """
import sys
from pathlib import Path
import pandas as pd
from helpers import parameters, roi
folder = Path(sys.argv[1])
slices = pd.read_csv(folder / "cohort" / "thigh" / "slices.csv")
choices = parameters.load("demo").roi.model_dump()
located = roi.locate_all(slices, folder=folder, **choices)
located.to_csv(folder / "images.csv", index=False)
"""


def watched(command: list[str], *, environment: dict[str, str]) -> tuple[float, float, float]:
    """Run a command; return its wall time, its processor time (s) and its tree's peak memory (GiB).

    Raises
    ------
    RuntimeError
        When it fails, with the end of what it printed.
    """
    peak, done, before = 0, threading.Event(), _processor_seconds()
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=paths.root(), stdout=log, stderr=log
        )

        def sample() -> None:
            nonlocal peak
            while not done.wait(0.1):
                peak = max(peak, tree_bytes(process.pid))

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        status = process.wait()
        seconds = time.perf_counter() - start
        done.set()
        thread.join()
        log.seek(0)
        if status:
            raise RuntimeError(f"{' '.join(command[:4])} failed: {log.read()[-500:]}")
    return seconds, _processor_seconds() - before, peak / 2**30


def tree_bytes(pid: int) -> int:
    """Return the resident memory of a process and its descendants, bytes; 0 once it is gone."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _processor_seconds() -> float:
    """Time that this process's ended children, and theirs, had a core."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(name: str, fractions: tuple[float, float]) -> list[dict]:
    """Make a cohort of a size and find its legs; one row a step."""
    with tempfile.TemporaryDirectory() as temporary:
        profile = Path(temporary) / "bench.yml"
        text = "extends: demo\ncohort:\n  case_fraction: {}\n  image_fraction: {}\n"
        profile.write_text(text.format(*fractions))
        environment = {**os.environ, "PAPER_RESULTS": temporary}
        python = [sys.executable]
        steps = {
            "cohort written": [
                *python,
                "-m",
                "helpers",
                "cohort",
                "thigh",
                "--profile",
                str(profile),
            ],
            "legs found": [*python, "-c", ROI, str(Path(temporary) / "bench")],
        }
        measured = {step: watched(run, environment=environment) for step, run in steps.items()}
        cohort = Path(temporary) / "bench" / "cohort" / "thigh"
        slices = len(pd.read_csv(cohort / "slices.csv"))
        cases = len(pd.read_csv(cohort / "cases.csv"))
    walls, processors, peaks = zip(*measured.values(), strict=True)
    measured["both"] = (sum(walls), sum(processors), max(peaks))
    about = {"size": name, "cases": cases, "slices": slices}
    return [
        about | {"step": step, "wall_seconds": wall, "cpu_seconds": cpu, "peak_gib": peak}
        for step, (wall, cpu, peak) in measured.items()
    ]


def main(*, paper: bool = False) -> None:
    """Measure the two sizes, or the published one."""
    parameters.load("demo")  # a mistake there stops this before it has cost minutes
    rows = [
        row for name, size in (PAPER if paper else SIZES).items() for row in measure(name, size)
    ]
    table = pd.DataFrame(rows)
    timing.write("cohort_paper" if paper else "cohort_scale", table, cores=os.cpu_count() or 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paper", action="store_true", help="the published size, once")
    main(paper=parser.parse_args().paper)
