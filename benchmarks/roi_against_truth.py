"""Score the region step on fresh phantom slices whose outlines are known.

The slices, a third of them with legs in contact and a tenth with legs that are not separable,
come from a seed on which nothing was developed; every diagnosis, field strength and level of
the thigh is in them equally often. The aims were set beforehand. Run, about ten minutes:
``python benchmarks/roi_against_truth.py``.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pandas as pd
import timing

from helpers import parameters, roi, roi_truth
from helpers.images import SliceImage
from helpers.phantom import thigh

#: On this seed the method was scored once, on version 4 of the phantom, after its last change.
#: (Version 3 was scored on 3091.) Never develop on it.
FRESH_SEED = 4177
#: On these it was developed.
DEVELOPMENT_SEEDS = (11, 2021)
SLICES, TOUCHING, PRESSED, MATRIX = 1002, 0.34, 0.10, 512
AIMS = dict(zip(roi_truth.MEASURES, (0.95, 0.88, 0.97, 0.99), strict=True))


def scored(recipe: dict, *, matrix: int, choices: dict) -> list[dict]:
    """Draw the slices of a case, find the legs, and compare them with the drawing.

    Parameters
    ----------
    recipe : dict
        From :func:`helpers.phantom.thigh.validation_recipes`.
    matrix : int
        Rows and columns of a slice.
    choices : dict
        Parameters of :func:`helpers.roi.locate_legs`.

    Returns
    -------
    list of dict
        Two rows a slice, with the columns of :func:`helpers.roi_truth.against_truth`.
    """
    case, rows = thigh.draw_case(**recipe), []
    for index, position in enumerate(case.positions_mm):
        drawn = thigh.draw_slice(case, index, matrix=matrix)
        # Whole numbers, as a DICOM file holds them.
        image = SliceImage(np.round(1000 * drawn.image), (drawn.pixel_mm, drawn.pixel_mm))
        found = roi.locate_legs(image, **choices)
        slice_id = f"{recipe['row']['case_id']}-{index}"
        about = {"case_id": recipe["row"]["case_id"], "slice_id": slice_id}
        about |= {"slice_position_mm": position, "contact_share": drawn.contact}
        about |= {"separable": int(drawn.separable), "touching": int(drawn.touching)}
        about |= {"included": int(bool(found.boxes))}
        for number, side in enumerate(roi.SIDES, start=1):
            score = {"overlap": np.nan, "covered": np.nan}
            if found.boxes:
                score = roi_truth.scores(drawn.leg == number, found.boxes[side])
            rows.append({"image_id": f"{slice_id}-{side}", "side": side} | about | score)
    return rows


def compared(n: int, *, seed: int, matrix: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the scored legs of n slices, and their cases; drawn in two processes."""
    choices = parameters.load("demo").roi.model_dump(exclude={"mirror_left"})
    recipes = thigh.validation_recipes(n, TOUCHING, seed, pressed_share=PRESSED)
    work = partial(scored, matrix=matrix, choices=choices)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        rows = [row for part in pool.map(work, recipes, chunksize=4) for row in part]
    return pd.DataFrame(rows)[roi_truth.COMPARED], pd.DataFrame([r["row"] for r in recipes])


def main() -> None:
    """Score the slices and write the table that the book shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=FRESH_SEED)
    parser.add_argument("--slices", type=int, default=SLICES)
    parser.add_argument("--matrix", type=int, default=MATRIX)
    asked = parser.parse_args()
    legs, cases = compared(asked.slices, seed=asked.seed, matrix=asked.matrix)
    table = roi_truth.accuracy_by(legs, cases, seed=asked.seed)
    shown = roi_truth.accuracy_shown(table)
    aims = {"group": "aim, set beforehand"} | {k: f"at least {v}" for k, v in AIMS.items()}
    shown = pd.concat([pd.DataFrame([aims]), shown.astype(object)])[shown.columns].fillna("")
    if asked.seed != FRESH_SEED:
        print(shown.to_string(index=False))
        wrong = legs.query("included != separable").drop_duplicates("slice_id")
        print(wrong[["slice_id", "touching", "contact_share", "separable"]].to_string())
        return
    about = {"seed": asked.seed, "matrix": asked.matrix}
    timing.write("roi_against_truth", shown.assign(**about), cores=2)


if __name__ == "__main__":
    main()
