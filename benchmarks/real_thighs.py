"""Measure public real thigh scans once and keep their aggregates in the package.

The scans are not part of this repository. ``PAPER_TEST_DATA`` names the folder whose ``thigh``
holds them. Slices were chosen by eye, before anything was measured: the femur's shaft is in
them, and both legs are whole. Run: ``python benchmarks/real_thighs.py``.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from helpers import images, paths, realism
from helpers.images import SliceImage
from helpers.phantom import physics

HUASHAN = "Hirriririir/Rapid-automatic-fat-quantification-for-thigh-muscle-degeneration"
#: Volume: kind of image, files, slices, source, licence.
#:
#: At 3 T water and fat are opposed at an echo time of 3.45 ms (about 1.5 turns of 440 Hz).
#: The field strength of the first volume is not stated; 3 T is assumed.
VOLUMES = {
    "IDEAL, water + fat": (
        "weighted sum",
        ("Thigh_001_0001.nii.gz", "Thigh_001_0000.nii.gz"),
        range(3, 11),
        f"github.com/{HUASHAN}",
        "Apache-2.0",
    ),
    "GE Dixon, 3.45 ms": (
        "opposed phase",
        ("ff__ge__thigh__input__40006-ORIG_DIXON_TE_345_TH-0000.nii.gz",),
        range(1, 6),
        "github.com/SWastling/musclemap",
        "MIT",
    ),
    "Siemens Dixon, 3.45 ms": (
        "opposed phase",
        ("ff__siemens__thigh__input__0006-Dixon_TE_345_th.nii.gz",),
        range(2, 9),
        "github.com/SWastling/musclemap",
        "MIT",
    ),
}


def folder() -> Path:
    """Return the folder of the real thigh scans; it need not exist."""
    return paths.real_data() / "thigh"


def aggregates(scans: Path) -> pd.DataFrame:
    """Return what ``data/real_thighs.csv`` holds, measured anew.

    Parameters
    ----------
    scans : Path
        From :func:`folder`.

    Returns
    -------
    DataFrame
        volume, kind, source, licence and the columns of :func:`helpers.realism.summary`; only
        the measures that are fair to compare.
    """
    tables = []
    for volume, (kind, names, frames, source, licence) in VOLUMES.items():
        files = [scans / name for name in names]
        table = realism.summary(realism.of_slices(_slices(files, frames)))
        fair = table.measure.str.split(r" (?=[\d.]+$)", regex=True).str[0].isin(realism.FAIR[kind])
        about = {"volume": volume, "kind": kind, "source": source, "licence": licence}
        chosen = table[fair & (table.legs > 0)]
        tables.append(pd.DataFrame(about, index=chosen.index).join(chosen))
    return pd.concat(tables, ignore_index=True).round(5)


def _slices(files: list[Path], frames: range) -> Iterator[SliceImage]:
    muscle = physics.signals(3.0)["muscle"]
    for frame in frames:
        read = [images.read_slice(file, frame) for file in files]
        single = len(read) == 1
        yield read[0] if single else realism.weighted_sum(*read, muscle_over_fat=muscle)


def main() -> int:
    """Write the aggregates."""
    scans = folder()
    if not scans.is_dir():
        print("No real scans: the variable PAPER_TEST_DATA must name a folder that holds thigh/.")
        return 1
    target = paths.package_data("table2.csv").with_name("real_thighs.csv")
    with paths.atomic_path(target) as temporary:
        aggregates(scans).to_csv(temporary, index=False)
    print(f"written: {target.relative_to(paths.root())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
