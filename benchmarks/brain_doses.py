"""What would the published accuracy take? The long run of the brain phantom: ``make doses``.

Makes the runs of :mod:`helpers.doses` one after the other and writes, every few minutes, what is
known so far to ``benchmarks/results/brain_doses.csv`` and ``brain_checks.csv``. Each run is kept
in ``results/doses``; an interrupted command continues there and loses the run in progress only.
"""

import argparse
import os
import time
from datetime import UTC, datetime
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--threads", type=int, default=2, help="threads of the network")
parser.add_argument("--minutes", type=float, default=1e6, help="start no run after so long")
parser.add_argument("--folder", type=Path, help="where runs are kept; default results/doses")
parser.add_argument("--tables-only", action="store_true", help="write the tables, train nothing")
parser.add_argument("--maps", action="store_true", help="score the kept networks' maps as well")
options = parser.parse_args()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OMP_NUM_THREADS", str(options.threads))
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(options.threads))
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import pandas as pd  # noqa: E402

from helpers import dose_runs, doses, paths  # noqa: E402
from helpers.phantom import brain_head  # noqa: E402

RESULTS = paths.root() / "benchmarks" / "results"
#: Seconds between two versions of the tables.
TABLES_EVERY = 600


def write(name: str, table: pd.DataFrame) -> None:
    """Write rows with when they were measured and what they depend on."""
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": options.threads,
        "phantom_version": brain_head.Specification().version,
        **doses.marks(),
    }
    with paths.atomic_path(RESULTS / f"{name}.csv") as temporary:
        table.assign(**about).to_csv(temporary, index=False, float_format="%.4f")


def write_tables(folder: Path, people: pd.DataFrame) -> None:
    """Write what is known so far."""
    found, unaffected = dose_runs.stored(folder), dose_runs.unaffected(folder)
    write("brain_doses", doses.dose_rows(found, people, unaffected=unaffected))
    write("brain_checks", doses.check_rows(found, people))


def main() -> None:
    """Make what is missing, in the plan's order."""
    mark = "-".join(doses.marks()[name] for name in ("phantom", "plan", "recipe"))
    folder = options.folder or paths.results("doses") / mark
    start = written = time.monotonic()
    people, runs = doses.people(), doses.plan()
    bench = dose_runs.Bench(folder, table=people, processes=os.cpu_count() or 1)
    for number, run in enumerate(runs, start=1):
        if options.tables_only or time.monotonic() - start > 60 * options.minutes:
            break
        before = time.monotonic()
        if bench.make(run):
            seconds = time.monotonic() - before
            print(f"{number}/{len(runs)} {run.key}: {seconds:.0f} s", flush=True)
            if time.monotonic() - written > TABLES_EVERY:
                write_tables(folder, people)
                written = time.monotonic()
    write_tables(folder, people)
    if options.maps:
        write("brain_localisation", dose_runs.localised(bench))


if __name__ == "__main__":
    main()
