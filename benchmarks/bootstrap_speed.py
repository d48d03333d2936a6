"""What 10,000 resamplings of whole cases cost at the size of the published test set."""

import numpy as np
import timing

from helpers import cohort, delong, inference

REPLICATES = 10_000


def test_set(*, seed: int = 1) -> tuple[np.ndarray, ...]:
    """Return label, case and probability of simulated images, cases and images as in Table 2."""
    cells = cohort.published_cells().query("split == 'test' and cases > 0")
    sizes = np.concatenate(
        [np.diff(np.linspace(0, c.images, c.cases + 1).round()) for c in cells.itertuples()]
    ).astype(int)
    case = np.repeat(np.arange(sizes.size), sizes)
    label = np.repeat(cells.dystrophinopathy.to_numpy(), cells.cases.to_numpy())[case]
    rng = np.random.default_rng(seed)
    score = rng.standard_normal(case.size) + rng.standard_normal(sizes.size)[case] + 2 * label
    return label, case, 1 / (1 + np.exp(1 - score))


def main(*, rounds: int = 9) -> None:
    """Time intervals of every measure, the area under the ROC curve included."""
    label, case, probability = test_set()
    call = (probability >= 0.5).astype(int)
    measures: set[str] = set()

    def intervals() -> None:
        table = inference.by_case(
            label, case, call=call, probability=probability, replicates=REPLICATES
        )
        measures.update(table.measure)

    def studentised() -> None:
        delong.studentised(label, probability, case, replicates=REPLICATES)

    tasks = {
        timing.REFERENCE: timing.reference,
        "all measures": intervals,
        "area, studentised": studentised,
    }
    with timing.one_core():
        times = timing.interleaved(tasks, rounds=rounds)
    table = timing.summary(times, unit_of={}, against=timing.REFERENCE)
    size = {"images": case.size, "cases": case.max() + 1, "measures": len(measures)}
    timing.write("bootstrap_speed", table.assign(replicates=REPLICATES, **size), cores=1)


if __name__ == "__main__":
    main()
