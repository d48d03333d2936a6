"""Reading a brain scan and deciding on it, beside the 0.36 s per subject that are published.

Three kinds of file: the phantom's at 4 mm and at 2 mm, and public real heads (skipped without
``PAPER_TEST_DATA``). The network is the demo profile's, untrained: what it answers takes as long
whatever its weights are. Wall time is what a person waits for; processor time, summed over both
cores, is what it costs on a machine that is shared.
"""

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import timing

from helpers import brain, claims, dystonianet, heads, parameters, paths, volumes
from helpers.phantom import brain_head

#: Kind of file, and the voxel size (mm) it is read at.
KINDS = {
    "phantom, 4 mm": 4.0,
    "phantom, 2 mm": 2.0,
    "real head, 2 mm": 2.0,
    "real brain, 0.9 x 0.9 x 1 mm": 2.0,
}
REAL = {"real head, 2 mm": "ixi", "real brain, 0.9 x 0.9 x 1 mm": "ds002748"}


def files(folder: Path) -> dict[str, list[Path]]:
    """Return up to four files of each kind; phantom ones are written into a folder."""
    found: dict[str, list[Path]] = {}
    for kind, voxel_mm in KINDS.items():
        if kind in REAL:
            found[kind] = sorted((paths.real_data() / "brain" / REAL[kind]).glob("*.nii.gz"))[:4]
            continue
        found[kind] = []
        for k in range(4):
            rng = np.random.default_rng(k)
            head = brain_head.simulate(
                sex="FM"[k % 2],
                age_years=50,
                site=k,
                voxel_mm=voxel_mm,
                rng=rng,
                pose="as_scanned",
            )
            path = folder / f"{voxel_mm:g}-{k}.nii.gz"
            nib.save(nib.Nifti1Image(head.image.astype(np.int16), head.affine), path)
            found[kind].append(path)
    return {kind: own for kind, own in found.items() if own}


def network(voxel_mm: float):
    """Return the demo profile's network, untrained, for boxes of a voxel size."""
    options = parameters.load("demo").dystonianet
    layers = options.layers.model_dump() | options.extras.model_dump()
    return dystonianet.build(brain.box_shape(voxel_mm), **layers)


def decided(path: Path, model, *, voxel_mm: float, admitted: bool) -> float:
    """Read a scan, prepare it, and return the network's probability."""
    volume = volumes.read(path)
    if admitted and not heads.judge(volume).admitted:
        raise RuntimeError(f"{path.name} is not admitted")
    box = brain.in_box(volume, voxel_mm=voxel_mm, placement="head", brain_input="standardised")
    return float(model.predict_on_batch(box[np.newaxis, ..., np.newaxis])[0, 0])


def tasks_of(own: list[Path], voxel_mm: float, model) -> dict[str, Callable[[], object]]:
    """Return what is timed for one kind of file."""
    options = {"voxel_mm": voxel_mm, "placement": "head", "brain_input": "standardised"}
    boxes = [brain.read_volume(path, **options)[np.newaxis, ..., np.newaxis] for path in own]
    return {
        "read and unpacked": lambda: [volumes.read(path) for path in own],
        "read and prepared": lambda: [brain.read_volume(path, **options) for path in own],
        "decision alone": lambda: [model.predict_on_batch(box) for box in boxes],
        "read, prepared and decided": lambda: [
            decided(path, model, voxel_mm=voxel_mm, admitted=False) for path in own
        ],
        "the same, and judged whether it is a head": lambda: [
            decided(path, model, voxel_mm=voxel_mm, admitted=True) for path in own
        ],
    }


def main(*, rounds: int = 5) -> None:
    """Time each step for each kind of file, per subject."""
    published = claims.get("D1-12").value
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, own in files(Path(folder)).items():
            voxel_mm = KINDS[kind]
            tasks = {timing.REFERENCE: timing.reference}
            tasks |= tasks_of(own, voxel_mm, network(voxel_mm))
            units = {name: len(own) for name in tasks if name != timing.REFERENCE}
            table, cost = (
                timing.summary(
                    timing.interleaved(tasks, rounds=rounds, clock=clock),
                    unit_of=units,
                    against=timing.REFERENCE,
                )
                for clock in (time.perf_counter, time.process_time)
            )
            about = {"file": kind, "read_at_mm": voxel_mm, "subjects": len(own)}
            rows.append(table.assign(cpu_seconds=cost["seconds"], **about))
    table = pd.concat(rows, ignore_index=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    table["published_seconds"] = published
    table["peak_gib"] = peak
    columns = ["file", "read_at_mm", "subjects", "task", "rounds", "seconds", "spread"]
    columns += ["cpu_seconds"]
    columns += ["published_seconds", "peak_gib"]
    version = brain_head.Specification().version
    timing.write("brain_reading", table[columns], cores=2, phantom_version=version)


if __name__ == "__main__":
    main()
