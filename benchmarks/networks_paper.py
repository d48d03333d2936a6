"""Wall time, processor time and memory of the thigh networks at the published size.

The commands behind ``make book`` run in their own processes, one after the other: the cohort, its
legs, five networks with ten seeds each, and the chapter on ResNet50 with its long path. With
random weights, so that nothing is downloaded; other weights cost the same. A quarter of the cohort
beside the whole says whether memory grows with it.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import pandas as pd
import timing
from cohort_scale import watched

from helpers import features, parameters

STEPS = {
    "cohort written": ["cohort", "thigh"],
    "legs found": ["execute", "02_roi_extraction"],
    "five networks": ["execute", "03_backbone_comparison"],
    "ResNet50": ["execute", "04_resnet50_training"],
}
PROFILE = """extends: paper
machine: {{weights_download_seconds: 0}}
backbones: {{weights: [random]}}
cohort: {{case_fraction: {0}, image_fraction: {0}}}
"""


def measure(fraction: float) -> pd.DataFrame:
    """Run the steps on a fraction of the published cohort; one row a step, then all together."""
    with tempfile.TemporaryDirectory() as temporary:
        profile = Path(temporary) / "bench.yml"
        profile.write_text(PROFILE.format(fraction))
        parameters.load(str(profile))  # a mistake there stops this before it has cost minutes
        environment = {**os.environ, "PAPER_RESULTS": temporary}
        rows = []
        for step, what in STEPS.items():
            command = [sys.executable, "-m", "helpers", *what, "--profile", str(profile)]
            rows.append((step, *watched(command, environment=environment)))
        kept = features.included(Path(temporary) / "bench" / "images.csv")
    table = pd.DataFrame(rows, columns=["step", "wall_seconds", "cpu_seconds", "peak_gib"])
    total = {"step": "all", "peak_gib": table["peak_gib"].max()}
    total |= table[["wall_seconds", "cpu_seconds"]].sum().to_dict()
    table = pd.concat([table, pd.DataFrame([total])], ignore_index=True)
    about = {"cohort": fraction, "cases": kept["case_id"].nunique(), "leg_images": len(kept)}
    return table.assign(**about)


def main(*, fractions: tuple[float, ...] = (0.25, 1.0)) -> None:
    """Measure the published cohort, or fractions of it, beside what was measured before."""
    parts = [measure(fraction) for fraction in fractions]
    timing.write("networks_paper", pd.concat(parts), cores=os.cpu_count() or 1, keep="cohort")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cohort",
        type=float,
        nargs="+",
        default=(0.25, 1.0),
        help="parts of the published cohort; rows of others are kept",
    )
    main(fractions=tuple(parser.parse_args().cohort))
