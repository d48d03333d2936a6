"""What weights are worth: networks with simulated, random and ImageNet weights on one cohort.

Needs the results of a profile (``make book``). Simulated weights that are missing are made first.
Features are kept below ``results/<profile>/ablation``, so that a killed run goes on where it
stopped. Choices are made from the people of the training and validation sets alone; the rows of
all people are reported beside them.
"""

import argparse
import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import timing

from helpers import (
    ablation,
    cohort,
    features,
    networks,
    parameters,
    paths,
    pretext,
    pretraining,
    splits,
    training,
)
from helpers.phantom import thigh

#: A small MobileNet, of which there is a file of ImageNet weights that fits into a repository.
SMALL, OPTIONS = "MobileNet 0.25", {"alpha": 0.25}
SMALL_FILE = paths.real_data() / "weights" / "mobilenet_2_5_224_tf_no_top.h5"


def main() -> None:
    """Measure what is missing and write both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--pixels", type=int, default=112, help="edge of the input")
    parser.add_argument("--repeats", type=int, default=5, help="divisions into five parts")
    parser.add_argument("--seconds", type=int, default=300, help="allowed to missing weights")
    parser.add_argument("--longer", default="", help="a network that also learns longer")
    asked = parser.parse_args()
    profile, folder = parameters.load(asked.profile), paths.results(asked.profile)
    names, seed = profile.backbones.networks, profile.seed
    together = learn(names, seed=seed, seconds=asked.seconds) if asked.seconds else np.nan
    if asked.longer:
        pretraining.make_all("simulated:long", [asked.longer], seed=seed, seconds=3600)
    rows = features.included(folder / "images.csv")
    cases = cohort.read_cases(folder / "cohort" / "thigh" / "cases.csv")
    labelled = training.labelled(rows["image_id"], rows, cases)
    found = dict(sources(names, rows, folder, pixels=asked.pixels, seed=seed, longer=asked.longer))
    found |= splits.without_network(labelled, rows, cases, folder=folder)
    areas = pd.concat(
        of_people(found, labelled, cases, repeats=asked.repeats, seed=seed), ignore_index=True
    )
    write("weights_ablation", areas.assign(pixels=asked.pixels, profile=asked.profile, seed=seed))
    curves = [pretraining.curve("simulated", names, seed=seed).assign(run="simulated")]
    curves[0]["together_seconds"] = together
    if asked.longer:
        longer = pretraining.curve("simulated:long", [asked.longer], seed=seed)
        curves.append(longer.assign(run="five times longer"))
    write("weights_learning", pd.concat(curves, ignore_index=True))


def learn(names: list[str], *, seed: int, seconds: int) -> float:
    """Make missing weights; return the time of all of them, simulating included.

    Measured only where the cache is empty, ``PAPER_CACHE=<new folder> make weights``, and no
    limit of time stopped any; else what was measured before, NaN without it.
    """
    empty, start = not any(pretext.cache().glob("*")), time.monotonic()
    made = pretraining.make_all("simulated", names, seed=seed, seconds=seconds)
    spent, notes = time.monotonic() - start, [pretext.note(file) for file in made.values()]
    if empty and len(made) == len(names) and all(n["steps"] == n["steps_planned"] for n in notes):
        return spent
    try:
        before = ablation.long_run("weights_learning")
    except FileNotFoundError:
        return np.nan
    return before["together_seconds"].max() if before["present"].all() else np.nan


def sources(
    names: list[str], rows: pd.DataFrame, folder: Path, *, pixels: int, seed: int, longer: str
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the features of every network with every kind of weights that is here."""
    legs = pretext.draw_legs(
        range(ablation.CALIBRATION_PEOPLE), seed=seed, matrix=256, pixels=pixels
    )
    for shown, name, kind, weights, options in candidates(names, seed=seed, longer=longer):
        about = dict(pixels=pixels, **options)
        mark = features.fingerprint(name, weights, rows, folder, input_pixels=pixels)
        controls = [(", calibrated", legs)] if kind == ablation.RANDOM else []
        for added, on in (("", None), *controls):
            label = f"{shown}, {kind}{added}"
            made_from = [mark, options, added, on is not None and _control()]
            key = hashlib.sha256(repr(made_from).encode()).hexdigest()[:16]
            file = folder / "ablation" / f"{name}-{key}.npy"
            if file.is_file():
                yield label, np.load(file, allow_pickle=False)
                continue
            values = ablation.pooled(name, weights, rows, folder, calibrated_on=on, **about)
            if values is not None:
                with paths.atomic_path(file) as temporary:
                    np.save(temporary, values)
                print(f"{label}: {values.shape[1]} channels", flush=True)
                yield label, values


def _control() -> tuple:
    """Return what the calibrated control depends on beyond its network."""
    return pretext.code_of_data(), pretraining.CALIBRATION, ablation.CALIBRATION_PEOPLE


def candidates(names: list[str], *, seed: int, longer: str) -> Iterator[tuple]:
    """Yield name shown, Keras name, kind, weights and options."""
    for name in names:
        for kind, weights in ablation.weights_here(
            ["imagenet", "simulated"], name, seed=seed
        ).items():
            yield name, name, kind, weights, {}
        for number, kind in enumerate(ablation.REDRAWN, start=1):
            weights = networks.choose_weights(["random"], name, seed=seed + number)
            yield name, name, kind, weights, {}
    if longer:
        weights = networks.choose_weights(["simulated:long"], longer, seed=seed)
        yield longer, longer, ablation.LONGER, weights, {}
    if SMALL_FILE.is_file():
        checksum = hashlib.sha256(SMALL_FILE.read_bytes()).hexdigest()
        real = networks.Weights("imagenet", SMALL_FILE, None, f"imagenet:{checksum}", "")
        yield SMALL, "MobileNet", "imagenet", real, OPTIONS
        random = networks.choose_weights(["random"], "MobileNet", seed=seed)
        yield SMALL, "MobileNet", "random", random, OPTIONS


def of_people(
    found: dict, labelled: pd.DataFrame, cases: pd.DataFrame, *, repeats: int, seed: int
) -> Iterator[pd.DataFrame]:
    """Yield the areas among the people one may choose by, and among all."""
    chooses = labelled["split"].isin(["training", "validation"]).to_numpy()
    for people, kept in (
        (ablation.CHOOSING, chooses),
        (ablation.EVERYONE, np.ones(len(labelled), dtype=bool)),
    ):
        own = labelled[kept].reset_index(drop=True)
        part = splits.deal(own, cases, repeats=repeats, seed=seed)
        values = {name: x[kept] for name, x in found.items()}
        yield ablation.table(values, own, part, seed=seed).assign(
            people=people, n=own["case_id"].nunique(), images=len(own)
        )


def write(name: str, rows: pd.DataFrame) -> None:
    """Write a table with when, with what phantom and with which settings it was made."""
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": timing.about()["cores"],
        "phantom_version": thigh.SPECIFICATION["version"],
        "settings": ablation.settings(),
    }
    with paths.atomic_path(timing.RESULTS / f"{name}.csv") as temporary:
        rows.assign(**about).round(4).to_csv(temporary, index=False)
    print(f"{name}: {len(rows)} rows")


if __name__ == "__main__":
    main()
