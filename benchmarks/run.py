"""Run the benchmarks one after the other: ``make bench``.

Timings are measured and written down, never asserted: they belong to one machine. The results
go to ``benchmarks/results``, one row set a benchmark; the book shows them.
"""

import argparse

import bootstrap_speed
import brain_reading
import brain_speed
import cohort_scale
import networks_paper
import networks_speed
import phantom_speed
import real_thighs
import roi_speed


def main() -> None:
    """Run all benchmarks of a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("default", "paper"), default="default")
    paper = parser.parse_args().size == "paper"
    bootstrap_speed.main()
    brain_reading.main()
    brain_speed.main()
    roi_speed.main()
    phantom_speed.main()
    cohort_scale.main()
    networks_speed.main(paper=paper)
    if paper:
        cohort_scale.main(paper=True)
        networks_paper.main()
    if real_thighs.folder().is_dir():
        real_thighs.main()
    else:
        print("\nreal thighs: skipped, PAPER_TEST_DATA names no folder with them")


if __name__ == "__main__":
    main()
