"""How many full-size slices of the thigh phantom one core makes in a second."""

import tempfile
from pathlib import Path

import timing

from helpers.phantom import thigh

MATRIX = 512


def recipes(number: int, *, seed: int = 1) -> list[dict]:
    """Return the arguments of :func:`helpers.phantom.thigh.draw_case` for some cases."""
    table, every = thigh.draw_cohort(seed=seed, case_fraction=0.02, image_fraction=0.01)
    chosen = table.sample(number, random_state=seed).index
    return [every[index] for index in chosen]


def main(*, cases: int = 4, rounds: int = 5) -> None:
    """Time drawing, and drawing with writing DICOM and truth."""
    drawn = [thigh.draw_case(**recipe) for recipe in recipes(cases)]
    number = sum(len(case.positions_mm) for case in drawn)

    def draw() -> None:
        for case in drawn:
            for index in range(len(case.positions_mm)):
                thigh.draw_slice(case, index, matrix=MATRIX)

    def write() -> None:
        with tempfile.TemporaryDirectory() as folder:
            for recipe in recipes(cases):
                into = Path(folder) / "results" / "cohort" / "thigh"
                thigh.write_case(recipe, folder=into, matrix=MATRIX)

    tasks = {
        timing.REFERENCE: timing.reference,
        "slice drawn": draw,
        "slice drawn and written": write,
    }
    with timing.one_core():
        times = timing.interleaved(tasks, rounds=rounds)
    units = {name: number for name in tasks if name != timing.REFERENCE}
    table = timing.summary(times, unit_of=units, against=timing.REFERENCE)
    table["per_second"] = 1 / table.seconds
    timing.write("phantom_speed", table.assign(matrix=MATRIX), cores=1)


if __name__ == "__main__":
    main()
