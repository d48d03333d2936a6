"""What simple measures of the image tell, with and without the texture of fat in muscle.

A report on the phantom, made after it was frozen; nothing feeds back. Slices of the same people
are drawn twice, with full texture and with fat spread evenly in each muscle, everything else
alike. Twelve means and twelve local standard deviations a slice, one of each a muscle, go into a
logistic regression; there is no neural network. Beside them stand four areas without any
signal: leg, muscle, bone and fat under the skin. Muscles and areas are taken from the true label
map, so that this is no method for a clinic: it says what the images hold. Pixels are about 2 mm
wide, as wide as the finest textures, so that a finer cue would be missed.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers import inference
from helpers.phantom import thigh
from helpers.phantom.fat import MUSCLES

#: Rows and columns of the slices: coarser than the cohort's, to be quick.
MATRIX = 160
#: Size of the window of the local standard deviation, mm.
WINDOW_MM = 5.0
#: At most so many people are drawn, spread evenly over the table.
PEOPLE_MAX = 90
FOLDS = 5
#: Name of the row of areas, which hold no signal.
SIZES = "areas of leg, muscle, bone and fat under the skin"

COLUMNS = ["measures", "texture", "people", "auc", "low", "high", "method"]


def measures(drawn: thigh.Slice) -> np.ndarray:
    """Return mean and local standard deviation of the signal in each muscle, and four areas.

    Parameters
    ----------
    drawn : helpers.phantom.thigh.Slice
        Image and label map.

    Returns
    -------
    ndarray, shape (28,)
        Twelve means, then twelve local standard deviations, both over the median signal of the
        fat under the skin; then the areas of legs, muscle, bone and fat under the skin, cm². The
        local standard deviation is taken in windows inside a muscle;
        pixels of the rim, which share theirs with its surroundings, are left out.
    """
    fat_signal = np.median(drawn.image[drawn.labels == thigh.anatomy.LABELS["subcutaneous fat"]])
    size = max(3, round(WINDOW_MM / drawn.pixel_mm))
    pairs = [
        _in_muscle(drawn.image, drawn.labels == thigh.anatomy.LABELS[name], size)
        for name in MUSCLES
    ]
    return np.concatenate([np.array(pairs).T.ravel() / fat_signal, _areas(drawn)])


def _areas(drawn: thigh.Slice) -> list[float]:
    """Areas of both legs, of their muscle, bone and subcutaneous fat, cm²."""
    labels = thigh.anatomy.LABELS
    parts = [list(labels.values()), [labels[name] for name in MUSCLES]]
    parts += [[labels["cortex"], labels["marrow"]], [labels["subcutaneous fat"]]]
    return [float(np.isin(drawn.labels, part).sum() * drawn.pixel_mm**2 / 100) for part in parts]


def _in_muscle(image: np.ndarray, own: np.ndarray, size: int) -> tuple[float, float]:
    """Mean, and mean local standard deviation, inside a muscle; NaN where there is none."""
    inner = ndimage.binary_erosion(own)
    inner = inner if inner.sum() >= size else own
    if not inner.any():
        return np.nan, np.nan
    box = ndimage.find_objects(inner.astype(np.uint8))[0]
    image, inside = image[box], inner[box].astype(float)
    weight = np.maximum(ndimage.uniform_filter(inside, size, mode="constant"), 1e-9)
    mean = ndimage.uniform_filter(image * inside, size, mode="constant") / weight
    square = ndimage.uniform_filter(image**2 * inside, size, mode="constant") / weight
    local = np.sqrt(np.maximum(square - mean**2, 0))
    return image[inside > 0].mean(), local[inside > 0].mean()


def compare(cases: pd.DataFrame, cohort_json: str | Path, *, seed: int) -> pd.DataFrame:
    """Return how well simple measures tell dystrophinopathies apart, with and without texture.

    Parameters
    ----------
    cases : DataFrame
        ``cases.csv``; the test set is left out.
    cohort_json : str or Path
        Description of the cohort; nothing is computed unless it is synthetic.
    seed : int
        Of the folds and of the intervals.

    Returns
    -------
    DataFrame
        measures, texture, people, auc, low, high, method: areas of out-of-fold probabilities
        (each person in one fold), intervals from resampled people. No rows without a phantom.
    """
    description = json.loads(Path(cohort_json).read_text()) if Path(cohort_json).is_file() else {}
    if not description.get("synthetic"):
        return pd.DataFrame(columns=COLUMNS)
    chosen = people(cases)
    drawn = [
        thigh.draw_case(row, contact=("apart",), seed=description["seed"])
        for row in chosen.to_dict("records")
    ]
    rows = []
    for texture, strength in (("full", 1.0), ("none", 0.0)):
        values = np.array(
            [
                measures(thigh.draw_slice(one, 0, matrix=MATRIX, texture_strength=strength))
                for one in drawn
            ]
        )
        for name, columns in (
            ("means of muscles", slice(0, 12)),
            ("local variation in muscles", slice(12, 24)),
            ("both", slice(0, 24)),
        ):
            area = _area(values[:, columns], chosen, seed=seed)
            rows.append({"measures": name, "texture": texture, "people": len(chosen), **area})
    area = _area(values[:, 24:], chosen, seed=seed)
    rows.append({"measures": SIZES, "texture": "of no matter", "people": len(chosen), **area})
    return pd.DataFrame(rows, columns=COLUMNS)


def people(cases: pd.DataFrame) -> pd.DataFrame:
    """Return the people of training and validation sets, thinned evenly to at most 90.

    Examples
    --------
    >>> table = pd.DataFrame({"case_id": range(900), "dystrophinopathy": [0, 1, 0] * 300,
    ...                       "split": ["training", "test", "training"] * 300})
    >>> kept = people(table)
    >>> len(kept), kept["split"].unique().tolist()
    (90, ['training'])
    """
    usable = cases[cases["split"] != "test"].sort_values(["dystrophinopathy", "case_id"])
    count = min(len(usable), PEOPLE_MAX)
    return usable.iloc[np.linspace(0, len(usable) - 1, count).round().astype(int)]


def together(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the rows that prose quotes: all measures by texture, and the areas alone.

    Parameters
    ----------
    rows : DataFrame
        From :func:`compare`.

    Returns
    -------
    dict of Series
        ``full``, ``none`` and ``sizes``; NaN and 0 people without a phantom.

    Examples
    --------
    >>> float(together(pd.DataFrame(columns=COLUMNS))["none"].auc)
    nan
    """
    nothing = pd.Series(dict.fromkeys(COLUMNS, np.nan) | {"people": 0, "method": "no phantom"})
    own = rows[rows.measures.isin(["both", SIZES])]
    own = own.set_index(own.texture.where(own.measures == "both", "sizes"))
    names = ("full", "none", "sizes")
    return {name: own.loc[name] if name in own.index else nothing for name in names}


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`compare` as it is shown."""
    areas = zip(rows.auc, rows.low, rows.high, strict=True)
    return pd.DataFrame(
        {
            "measures": rows.measures,
            "texture": rows.texture,
            "people": rows.people,
            "AUC (95 % interval)": [f"{a:.2f} ({b:.2f} to {c:.2f})" for a, b, c in areas],
        }
    )


def _area(values: np.ndarray, chosen: pd.DataFrame, *, seed: int) -> dict:
    label = chosen["dystrophinopathy"].to_numpy()
    folds = min(FOLDS, int(np.bincount(label, minlength=2).min()))
    if folds < 2:
        return {"auc": np.nan, "low": np.nan, "high": np.nan, "method": "too few people"}
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    filled = np.where(np.isfinite(values), values, np.nanmean(values, axis=0))
    probability = cross_val_predict(model, filled, label, cv=parts, method="predict_proba")[:, 1]
    found = inference.by_case(label, chosen["case_id"], probability=probability, seed=seed)
    auc = found.set_index("measure").loc["auc"]
    return {"auc": auc.estimate, "low": auc.low, "high": auc.high, "method": auc.method}
