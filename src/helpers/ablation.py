"""The same networks with other weights: what the weights are worth.

Features of each network are computed with every kind of weights that this machine has, with
random weights as Keras draws them, and with random weights whose batch normalisation was
calibrated on simulated legs (the labelled control: it knows the legs' brightness and nothing
else). All of them go through the same repeated divisions of the people. That takes longer than
a book may: ``benchmarks/weights_ablation.py`` measures it, and the book shows what it wrote.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from helpers import features, networks, paths, pretext, pretraining, splits
from helpers.phantom import thigh

#: The people among whom areas are taken: by the first one may choose, the second are reported.
CHOOSING, EVERYONE = "training and validation", "all"
#: Weights of a network that learnt five times as many steps as the others.
LONGER = "simulated, five times longer"
#: Random weights with which the others are compared, and further draws of them.
RANDOM, REDRAWN = "random", ("random, second draw", "random, third draw")
#: Simulated people on whose legs the control is calibrated.
CALIBRATION_PEOPLE = 24


def weights_here(
    preferences: list[str], name: str, *, seed: int = 0
) -> dict[str, networks.Weights]:
    """Return every kind of weights of a network that is on this machine.

    Parameters
    ----------
    preferences : list of str
        Kinds, as for :func:`helpers.networks.choose_weights`; random ones are always there.
    name : str
        Network.
    seed : int
        Of random and simulated weights.

    Returns
    -------
    dict of str to Weights
        By kind, without what has to be made or downloaded first.

    Examples
    --------
    >>> list(weights_here(["random"], "VGG19", seed=1))
    ['random']
    """
    found = {}
    for kind in (*preferences, "random"):
        try:
            chosen = networks.choose_weights([kind], name, seed=seed)
        except networks.WeightsError:
            continue
        found.setdefault(chosen.kind, chosen)
    return found


def pooled(
    name: str,
    weights: networks.Weights,
    rows: pd.DataFrame,
    folder: Path,
    *,
    pixels: int,
    calibrated_on: pretext.Legs | None = None,
    **options: float,
) -> NDArray[np.float64] | None:
    """Return a network's mean features of leg images with some weights.

    Parameters
    ----------
    name, weights, rows, folder
        As for :func:`helpers.features.extract`; nothing is stored.
    pixels : int
        Edge of the input; Inception-V3 needs 75.
    calibrated_on : Legs, optional
        Simulated legs of the same size from which the averages of batch normalisation are
        taken first.
    **options
        As for :func:`helpers.networks.build`.

    Returns
    -------
    ndarray, (images, channels), or None
        None where there is no batch normalisation to calibrate.
    """
    network = networks.build(name, weights=weights, input_pixels=pixels, **options)
    if calibrated_on is not None and not pretraining.calibrate(network, calibrated_on, name):
        return None
    model, size = features.pooled(network), features.BATCH
    parts = []
    for at in range(0, len(rows), size):
        # All batches have one size, as each new size costs a compilation.
        some = rows.iloc[(at + np.arange(size)) % len(rows)]
        ready = features.network_input(name, some, folder, input_pixels=pixels)
        parts.append(np.asarray(model.predict_on_batch(ready)))
    return np.concatenate(parts)[: len(rows)].astype(float)


def table(
    found: dict[str, NDArray], labelled: pd.DataFrame, part: NDArray, *, seed: int
) -> pd.DataFrame:
    """Return the areas of each network and kind of weights over the divisions of the people.

    Parameters
    ----------
    found : dict of str to ndarray
        By ``"<network>, <kind>"``, (images, channels); "random" for each network. Any other
        name is a row of its own that is compared with nothing. The first one also gives the
        row of chance.
    labelled : DataFrame
        From :func:`helpers.training.labelled`, rows as the features'.
    part : ndarray of int, (repeats, images)
        From :func:`helpers.splits.deal`.
    seed : int
        Of :func:`helpers.splits.score`.

    Returns
    -------
    DataFrame
        network, weights, mean, low, high (area of people over the divisions and its middle
        95 %, a spread and no confidence interval), divisions; gain, gain_low, gain_high: the
        paired difference to the same network's random weights over the same divisions; and
        pooled, pooled_low, pooled_high: from :func:`helpers.splits.pooled`, NaN for chance.
    """
    scores = splits.score(found, labelled, part, seed=seed)
    areas = splits.areas_by_division(scores, labelled, part)
    wide = areas.pivot(index=["repeat", "part"], columns="model", values="case")
    spread = splits.spread(areas)
    pooled_areas = splits.pooled(scores, labelled, part).set_index("model")[["area", "low", "high"]]
    rows = []
    for row in spread[spread["unit"] == "case"].itertuples():
        name, _, kind = row.model.partition(", ")
        known = f"{name}, {RANDOM}" in wide
        name, kind = (name, kind) if known else (row.model, "none")
        gain = (wide[row.model] - wide[f"{name}, {RANDOM}" if known else row.model]).dropna()
        limits = np.percentile(gain, [2.5, 97.5]) if len(gain) else (np.nan, np.nan)
        own = (row.mean, row.low, row.high, row.divisions)
        over_all = pooled_areas.reindex([row.model]).iloc[0]
        rows.append((name, kind, *own, gain.mean(), *limits, *over_all))
    columns = ["network", "weights", "mean", "low", "high", "divisions"]
    columns += ["gain", "gain_low", "gain_high", "pooled", "pooled_low", "pooled_high"]
    return pd.DataFrame(rows, columns=columns)


def long_run(name: str = "weights_ablation") -> pd.DataFrame:
    """Return what the long run measured, with whether its phantom and recipe are the present ones.

    Parameters
    ----------
    name : {"weights_ablation", "weights_learning"}
        The areas of :func:`table`, or the learning curves of :func:`helpers.pretraining.curve`.

    Returns
    -------
    DataFrame
        With date, phantom_version, pixels and settings, and ``present`` (bool).

    Raises
    ------
    FileNotFoundError
        When it was never run.
    """
    path = paths.root() / "benchmarks" / "results" / f"{name}.csv"
    if not path.is_file():
        raise FileNotFoundError(f"No {path.name} in {path.parent}. Measure it with: make weights")
    rows = pd.read_csv(path, dtype={"settings": str})
    return rows.assign(present=rows["settings"] == settings())


def settings() -> str:
    """Return a short checksum of the phantom's specification and of the simulated recipe.

    Examples
    --------
    >>> len(settings())
    12
    """
    parts = [thigh.SPECIFICATION, pretext.SPECIFICATION, asdict(pretext.RECIPES["simulated"])]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def caption(rows: pd.DataFrame) -> str:
    """Return when and on what a long run was made, for the line below a table or figure.

    Parameters
    ----------
    rows : DataFrame
        From :func:`long_run`.

    Returns
    -------
    str

    Examples
    --------
    >>> rows = pd.DataFrame({"date": ["2026-11-21"], "phantom_version": [4], "present": [False]})
    >>> caption(rows)
    'long run of 2026-11-21, phantom version 4, made with other settings than the present ones'
    """
    first = rows.iloc[0]
    other = "" if rows["present"].all() else ", made with other settings than the present ones"
    return f"long run of {first['date']}, phantom version {first['phantom_version']}{other}"


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the areas of a long run as a page shows them.

    Parameters
    ----------
    rows : DataFrame
        From :func:`long_run`: those of :func:`table` for the people one may choose by, and for
        all.

    Returns
    -------
    DataFrame
        Network, Weights, Training and validation people (mean and middle 95 % of the divisions),
        Difference to random (among these), All people (pooled predictions, DeLong).

    Examples
    --------
    >>> row = {"network": "VGG19", "weights": "simulated", "mean": 0.8, "low": 0.7, "high": 0.9,
    ...        "gain": 0.05, "gain_low": -0.01, "gain_high": 0.1,
    ...        "pooled": 0.82, "pooled_low": 0.75, "pooled_high": 0.88}
    >>> both = [row | {"people": people} for people in (CHOOSING, EVERYONE)]
    >>> readable(pd.DataFrame(both)).iloc[0].tolist()
    ['VGG19', 'simulated', '0.80 (0.70 to 0.90)', '+0.05 (-0.01 to +0.10)', '0.82 (0.75 to 0.88)']
    """
    columns = ["Network", "Weights", "Training and validation people", "Difference to random"]
    everyone = rows[rows["people"] == EVERYONE].set_index(["network", "weights"])
    shown = []
    for row in rows[rows["people"] == CHOOSING].itertuples():
        gain = f"{row.gain:+.2f} ({row.gain_low:+.2f} to {row.gain_high:+.2f})"
        gain = "" if row.weights in (RANDOM, "none") else gain
        other = everyone.loc[(row.network, row.weights), ["pooled", "pooled_low", "pooled_high"]]
        over_all = "" if other.isna().any() else _area(*other)
        area = _area(row.mean, row.low, row.high)
        shown.append((row.network, row.weights, area, gain, over_all))
    return pd.DataFrame(shown, columns=[*columns, "All people"])


def readable_learning(curves: pd.DataFrame) -> pd.DataFrame:
    """Return what each network learnt on simulated legs, and how long it took.

    Parameters
    ----------
    curves : DataFrame
        ``weights_learning`` from :func:`long_run`.

    Returns
    -------
    DataFrame
        Network, Run, Steps, Seconds, Processor seconds (of one thread), Error of a fat fraction
        (mean absolute error at the first and last look), Always the mean (the same of the held-out
        legs' mean fraction), Texture right, Side right (at the last look).

    Examples
    --------
    >>> look = {"network": "VGG19", "run": "simulated", "step": 1, "seconds": 2.0,
    ...         "processor_seconds": 1.5, "fat_error": 0.3, "fat_error_of_mean": 0.25,
    ...         "texture_right": 0.2, "side_right": 0.5}
    >>> last = look | {"step": 35, "seconds": 90.0, "fat_error": 0.2, "side_right": 0.9}
    >>> readable_learning(pd.DataFrame([look, last])).iloc[0].tolist()[2:]
    ['35', '90', '2', '0.300 to 0.200', '0.250', '20 %', '90 %']
    """
    columns = ["Network", "Run", "Steps", "Seconds", "Processor seconds"]
    columns += ["Error of a fat fraction", "Always the mean", "Texture right", "Side right"]
    rows = []
    for names, part in curves.groupby(["network", "run"], sort=False):
        first, last = part.iloc[0], part.iloc[-1]
        clocks = (f"{last[name]:.0f}" for name in ("seconds", "processor_seconds"))
        error = f"{first['fat_error']:.3f} to {last['fat_error']:.3f}"
        right = (f"{100 * last[name]:.0f} %" for name in ("texture_right", "side_right"))
        mean = f"{last['fat_error_of_mean']:.3f}"
        rows.append((*names, f"{last['step']:.0f}", *clocks, error, mean, *right))
    return pd.DataFrame(rows, columns=columns)


def verdict(rows: pd.DataFrame) -> str:
    """Return in words in how many networks simulated weights did better than random ones.

    Parameters
    ----------
    rows : DataFrame
        From :func:`long_run`; people one may choose by.

    Returns
    -------
    str

    Examples
    --------
    >>> row = {"people": CHOOSING, "weights": "simulated", "gain": -0.1, "gain_low": -0.2}
    >>> verdict(pd.DataFrame([row, row | {"gain": 0.1}]))
    'better than random ones on average in 1 of 2 networks, and in nearly all divisions in 0'
    """
    own = rows[(rows["people"] == CHOOSING) & (rows["weights"] == "simulated")]
    if own.empty:
        return "not measured"
    better, clearly = (int((own[name] > 0).sum()) for name in ("gain", "gain_low"))
    return (
        f"better than random ones on average in {better} of {len(own)} "
        f"network{'s'[: len(own) > 1]}, and in nearly all divisions in {clearly}"
    )


def longer(rows: pd.DataFrame) -> str:
    """Return in words what learning longer gave, beside random weights of the same network.

    Parameters
    ----------
    rows : DataFrame
        From :func:`long_run`; people one may choose by.

    Returns
    -------
    str

    Examples
    --------
    >>> row = {"people": CHOOSING, "weights": LONGER, "network": "VGG19", "gain": 0.05,
    ...        "gain_low": -0.1, "gain_high": 0.2}
    >>> longer(pd.DataFrame([row]))
    'VGG19 +0.05 (-0.10 to +0.20)'
    """
    own = rows[(rows["people"] == CHOOSING) & (rows["weights"] == LONGER)]
    told = (
        f"{row.network} {row.gain:+.2f} ({row.gain_low:+.2f} to {row.gain_high:+.2f})"
        for row in own.itertuples()
    )
    return "; ".join(told) or "not measured"


def _area(estimate: float, low: float, high: float) -> str:
    return f"{estimate:.2f} ({low:.2f} to {high:.2f})"
