"""What "trained until it converged" can mean for one dense unit on frozen features.

Training that unit is logistic regression. Where a plane separates the training images its loss
has no minimum: it falls towards zero for ever, and the word convergence has no meaning without a
rule. Here a linear programme says whether there is such a plane, stochastic gradient descent is
followed over as many epochs as wanted, and a small penalty on the weights, which gives the loss a
minimum, serves as the fixed point to measure the way against.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from helpers import layers, splits, training

#: Features as a network gives them, and scaled by the training images' mean and sd.
SCALINGS = ("as they come", "standardised")
#: Penalties tried, in units of the features' mean variance.
PENALTIES = tuple(10.0**k for k in range(-5, 3))


@dataclass(frozen=True)
class Optimum:
    """The one minimum of the penalised loss.

    Attributes
    ----------
    scaling : str
        One of :data:`SCALINGS`.
    penalty : float
        Lambda; of :data:`PENALTIES` times the mean variance, that of the lowest validation loss.
    penalised_loss : float
        Mean cross-entropy of the training images plus lambda / 2 times the squared weights, nats.
    measures : DataFrame
        set, loss, auc, accuracy.
    """

    scaling: str
    penalty: float
    penalised_loss: float
    measures: pd.DataFrame


def separable(features: NDArray, label: NDArray) -> tuple[bool, int, float]:
    r"""Say whether a plane has all positives on one side and all controls on the other.

    The linear programme :math:`\min \sum_i s_i` under :math:`(2 y_i - 1)(w x_i + b) \ge 1 - s_i`
    and :math:`s_i \ge 0` has the value 0 exactly when there is one. Solved by HiGHS, in as many
    coordinates as the images span.

    Parameters
    ----------
    features : ndarray, (n, channels)
        Of the training images.
    label : ndarray, (n,)
        0 or 1.

    Returns
    -------
    separable : bool
    dimensions : int
        That the images span around their mean; directions weaker than single precision's
        rounding are left out.
    misfit : float
        Value of the programme per image; 0 when separable.

    Raises
    ------
    RuntimeError
        When the programme cannot be solved.

    References
    ----------
    Huangfu Q, Hall JAJ. Math Program Comput 2018;10:119-142 (HiGHS).

    Examples
    --------
    >>> separable(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1]))
    (True, 1, 0.0)
    >>> separable(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 1]))[0]
    False
    """
    z = _spanned(np.asarray(features, dtype=float))
    n, sign = len(z), np.where(np.asarray(label) == 1, 1.0, -1.0)
    plane = sign[:, None] * np.column_stack([z, np.ones(n)])
    unknowns = z.shape[1] + 1
    found = linprog(
        np.r_[np.zeros(unknowns), np.full(n, 1 / n)],
        A_ub=-np.hstack([plane, np.eye(n)]),
        b_ub=-np.ones(n),
        bounds=[(None, None)] * unknowns + [(0, None)] * n,
        method="highs",
    )
    if not found.success:
        raise RuntimeError(f"The linear programme was not solved: {found.message}")
    # The plane itself is the proof, whatever the solver's tolerance.
    proven = bool(np.all(plane @ found.x[:unknowns] > 0))
    return proven, z.shape[1], 0.0 if proven else float(found.fun)


def separability(features: dict[str, NDArray], table: pd.DataFrame) -> pd.DataFrame:
    """Return whether each network's training images can be separated by a plane.

    Parameters
    ----------
    features : dict of str to ndarray, (images, channels)
        By network.
    table : DataFrame
        From :func:`helpers.training.labelled`.

    Returns
    -------
    DataFrame
        model, scaling, images (of the training set), channels, dimensions, separable, misfit.
    """
    chosen = (table["split"] == "training").to_numpy()
    label = table["label"].to_numpy()[chosen]
    rows = []
    with _one_thread():
        for (name, values), scaling in itertools.product(features.items(), SCALINGS):
            x = _scaled(values, table, scaling)[chosen]
            proven, dimensions, misfit = separable(x, label)
            rows.append((name, scaling, *x.shape, dimensions, proven, misfit))
    columns = ["model", "scaling", "images", "channels", "dimensions", "separable", "misfit"]
    return pd.DataFrame(rows, columns=columns)


def optimum(features: NDArray, table: pd.DataFrame, *, scaling: str) -> Optimum:
    """Return the minimum of the penalised loss, the penalty chosen on the validation set.

    Computed by scikit-learn, whose ``C`` is 1 / (images times lambda); the bias is free.

    Parameters
    ----------
    features : ndarray, (images, channels)
        As the network gives them.
    table : DataFrame
        From :func:`helpers.training.labelled`.
    scaling : str
        One of :data:`SCALINGS`.

    Returns
    -------
    Optimum
    """
    x = _scaled(features, table, scaling)
    split, label = table["split"].to_numpy(), table["label"].to_numpy()
    train, validation = split == "training", split == "validation"
    # The minimum lies in the span of the training images: the same fit in fewer coordinates.
    centred = x - x[train].mean(axis=0)
    _, strength, axes = np.linalg.svd(centred[train], full_matrices=False)
    z = centred @ axes[strength > 1e-9 * strength[0]].T
    unit = x[train].var(axis=0).mean()
    with _one_thread():
        fits = [_fitted(z[train], label[train], factor * unit) for factor in PENALTIES]
    logits = [z @ fit.coef_[0] + fit.intercept_[0] for fit in fits]
    best = int(np.argmin([layers.loss(lg[validation], label[validation]) for lg in logits]))
    penalty, weights = PENALTIES[best] * unit, fits[best].coef_[0]
    measures = _by_set(logits[best], table)
    total = measures["loss"].iloc[0] + penalty / 2 * weights @ weights
    return Optimum(scaling, float(penalty), float(total), measures)


def optima(features: NDArray, table: pd.DataFrame) -> dict[str, Optimum]:
    """Return the penalised optimum of each scaling.

    Parameters
    ----------
    features, table
        As for :func:`optimum`.

    Returns
    -------
    dict of str to Optimum
    """
    return {scaling: optimum(features, table, scaling=scaling) for scaling in SCALINGS}


def paths(
    features: NDArray,
    table: pd.DataFrame,
    found: dict[str, Optimum],
    *,
    momenta: tuple[float, ...],
    epochs: int,
    learning_rate: float,
    batch_size: int,
    seed: int,
) -> pd.DataFrame:
    r"""Follow SGD over many epochs, in all variants at once: one order of images, one start.

    Every weight that SGD reaches is :math:`w = X^\top c + a w_0`, so the state is :math:`c`,
    :math:`a` and the bias: one number per training image and two more. With a penalty each step
    also shrinks :math:`c` and :math:`a`. The steps are those of Keras (a test says so).

    Parameters
    ----------
    features : ndarray, (images, channels)
        As the network gives them.
    table : DataFrame
        From :func:`helpers.training.labelled`.
    found : dict of str to Optimum
        From :func:`optima`; the penalised variants have their penalties.
    momenta : tuple of float
        Of SGD.
    epochs : int
        How far to go.
    learning_rate, batch_size : float, int
        Of SGD.
    seed : int
        Draws initial weights and orders as :func:`helpers.training.train` does.

    Returns
    -------
    DataFrame
        scaling, momentum, penalised, epoch, set, loss, auc, accuracy, penalised_loss (of the
        training images with the scaling's lambda, whether or not it was trained with it), at
        every epoch up to 100 and then at every per cent more.
    """
    variants = list(itertools.product(momenta, (False, True)))
    walk = {"epochs": epochs, "sizes": (learning_rate, batch_size), "variants": variants}
    with _one_thread():
        walks = [
            _walk(_scaled(features, table, scaling), table, found[scaling].penalty, seed, **walk)
            for scaling in SCALINGS
        ]
    logits, penalties = (np.stack(both, axis=1) for both in zip(*walks, strict=True))
    return _path_table(looked_at(epochs), logits, penalties, table, variants)


def looked_at(epochs: int) -> list[int]:
    """Return the epochs at which a path is measured: each up to 100, then per cent by per cent.

    Parameters
    ----------
    epochs : int
        The last one.

    Returns
    -------
    list of int

    Examples
    --------
    >>> looked_at(103)[-4:]
    [100, 101, 102, 103]
    >>> len(looked_at(100_000))
    795
    """
    later = 100 * 1.01 ** np.arange(1, 1 + max(0, int(np.log(max(epochs, 100) / 100) / 0.00995)))
    return sorted({*range(1, min(epochs, 100) + 1), *later.round().astype(int).tolist(), epochs})


def milestones(path: pd.DataFrame, found: dict[str, Optimum]) -> pd.DataFrame:
    """Return the epochs that each variant takes to what could be called convergence.

    Parameters
    ----------
    path : DataFrame
        From :func:`paths`.
    found : dict of str to Optimum
        From :func:`optima`.

    Returns
    -------
    DataFrame
        scaling, momentum, penalised, best_epoch (lowest validation loss), best_loss, auc (test,
        at that epoch), near_epoch (the first within 1 % of the penalised optimum's penalised
        training loss), last_epoch. Epochs that were not reached within the path are NaN: a
        lowest loss at the very last epoch is none.
    """
    rows = []
    for key, part in path.groupby(["scaling", "momentum", "penalised"], sort=False):
        sets = {name: own.set_index("epoch") for name, own in part.groupby("set")}
        last, best = part["epoch"].max(), int(sets["validation"]["loss"].idxmin())
        aim = 1.01 * found[key[0]].penalised_loss
        near = sets["training"].index[sets["training"]["penalised_loss"] <= aim]
        rows.append(
            (
                *key,
                best if best < last else np.nan,
                sets["validation"]["loss"].min(),
                sets["test"]["auc"][best],
                near.min() if len(near) else np.nan,
                last,
            )
        )
    columns = ["scaling", "momentum", "penalised", "best_epoch", "best_loss", "auc"]
    return pd.DataFrame(rows, columns=[*columns, "near_epoch", "last_epoch"])


def summarised(path: pd.DataFrame, found: dict[str, Optimum]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what a table and what a figure need of a path.

    Parameters
    ----------
    path, found
        As for :func:`milestones`.

    Returns
    -------
    DataFrame, DataFrame
        From :func:`milestones` and :func:`thinned`.
    """
    reached = milestones(path, found)
    return reached, thinned(path, reached)


def kept(
    heads: training.Heads, features: NDArray, table: pd.DataFrame, *, standardise: bool
) -> pd.DataFrame:
    """Return where the book's rule stopped the first seed, and what the weights it kept give.

    Parameters
    ----------
    heads : Heads
        From :func:`helpers.training.train`, on these features.
    features : ndarray, (images, channels)
        As the network gives them.
    table : DataFrame
        From :func:`helpers.training.labelled`.
    standardise : bool
        Whether the training scaled the features.

    Returns
    -------
    DataFrame
        scaling, set, epoch (whose weights are kept), last_epoch (where training stopped), loss,
        auc, accuracy. Empty for heads with hidden layers: the path is that of one layer.
    """
    first, log_odds = heads.stopping.iloc[0], training.log_odds(heads, features)[0]
    about = {"epoch": int(first["best_epoch"]), "last_epoch": int(first["epochs_run"])}
    measures = _by_set(log_odds, table)[slice(0 if heads.hidden else None)]
    return measures.assign(scaling=SCALINGS[int(standardise)], **about)


def readable_separability(table: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`separability` as a page shows it.

    Parameters
    ----------
    table : DataFrame
        From :func:`separability`.

    Returns
    -------
    DataFrame
        Network, Features, Training images, Channels, Dimensions, A plane separates them.
    """
    shown = table.assign(separable=np.where(table["separable"], "yes", "no"))
    shown.loc[table["misfit"] > 0, "separable"] += ", misfit " + table["misfit"].round(3).astype(
        str
    )
    names = {
        "model": "Network",
        "scaling": "Features",
        "images": "Training images",
        "channels": "Channels",
        "dimensions": "Dimensions they span",
        "separable": "A plane separates them",
    }
    return shown[list(names)].rename(columns=names)


def readable_milestones(table: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`milestones` as a page shows it.

    Parameters
    ----------
    table : DataFrame
        From :func:`milestones`.

    Returns
    -------
    DataFrame
        Features, Momentum, Loss, Epochs to the lowest validation loss, That loss, Test AUC there,
        Epochs to within 1 % of the penalised optimum.
    """

    def epochs(value: float, last: float) -> str:
        return f"{value:,.0f}" if np.isfinite(value) else f"more than {last:,.0f}, not reached"

    rows = [
        (
            *(row.scaling, row.momentum, "penalised" if row.penalised else "plain"),
            *(epochs(row.best_epoch, row.last_epoch), f"{row.best_loss:.3f}", f"{row.auc:.2f}"),
            epochs(row.near_epoch, row.last_epoch),
        )
        for row in table.itertuples()
    ]
    columns = [
        *("Features", "Momentum", "Loss", "Epochs to the lowest validation loss"),
        *("That loss", "Test AUC there", "Epochs to within 1 % of the penalised optimum"),
    ]
    return pd.DataFrame(rows, columns=columns)


def thinned(path: pd.DataFrame, reached: pd.DataFrame, *, per_decade: int = 24) -> pd.DataFrame:
    """Return a path at epochs evenly apart on a log axis, enough for a figure.

    Parameters
    ----------
    path : DataFrame
        From :func:`paths`.
    reached : DataFrame
        From :func:`milestones`; the epochs of the lowest validation loss are kept.
    per_decade : int
        Epochs kept between one and ten times as many.

    Returns
    -------
    DataFrame
        Rows of ``path``, the last epoch among them.
    """
    epochs = np.unique(path["epoch"])
    epochs = epochs[epochs > 0]
    wanted = 10 ** np.arange(0, np.log10(epochs[-1]), 1 / per_decade)
    kept = epochs[np.minimum(np.searchsorted(epochs, wanted), len(epochs) - 1)]
    return path[path["epoch"].isin([*kept, *reached["best_epoch"], epochs[-1]])].reset_index(
        drop=True
    )


def _walk(
    x: NDArray,
    table: pd.DataFrame,
    penalty: float,
    seed: int,
    *,
    epochs: int,
    sizes: tuple[float, int],
    variants: list[tuple[float, bool]],
) -> tuple[NDArray, NDArray]:
    """Return logits (epochs, variants, images) and penalties (epochs, variants) of one scaling."""
    generator = np.random.default_rng(seed)
    limit = np.sqrt(6 / (x.shape[1] + 1))
    start = generator.uniform(-limit, limit, x.shape[1])
    train = (table["split"] == "training").to_numpy()
    inner = np.column_stack([x @ x[train].T, x @ start, np.ones(len(x))])
    squares = np.vstack([inner[train, :-1], np.r_[inner[train, -2], start @ start]])
    states = _descent(
        inner[train],
        table["label"].to_numpy(dtype=float)[train],
        order=lambda: generator.permutation(int(train.sum())),
        sizes=sizes,
        momentum=np.array([momentum for momentum, _ in variants]),
        shrink=np.array([on * penalty for _, on in variants]),
    )
    wanted, logits, penalties = set(looked_at(epochs)), [], []
    for epoch, state in zip(range(epochs + 1), states, strict=False):
        if epoch in wanted:
            own = state[:, :-1]
            logits.append(state @ inner.T)
            penalties.append(penalty / 2 * (own * (own @ squares)).sum(axis=1))
    return np.stack(logits), np.stack(penalties)


def _descent(
    inner: NDArray,
    label: NDArray,
    *,
    order,
    sizes: tuple[float, int],
    momentum: NDArray,
    shrink: NDArray,
) -> Iterator[NDArray]:
    """Yield the state (variants, images + 2) of SGD before each epoch, without end.

    Rows of ``inner`` (images, images + 2) give an image's logit from the state: inner products
    with all training images, with the start, and 1 for the bias.
    """
    rate, batch_size = sizes
    n, variants = len(label), len(momentum)
    state, velocity, shrunk = np.zeros((3, variants, n + 2))
    state[:, n] = 1
    free = np.r_[np.ones(n + 1), 0]  # the bias is not penalised
    decay = rate * shrink[:, None] * free
    while True:
        yield state
        shuffled = order()
        for first in range(0, n, batch_size):
            batch = shuffled[first : first + batch_size]
            step = expit(state @ inner.take(batch, axis=0).T)
            step -= label[batch]
            step *= -rate / len(batch)
            velocity *= momentum[:, None]
            velocity -= np.multiply(state, decay, out=shrunk)
            velocity[:, batch] += step
            velocity[:, -1] += step.sum(axis=1)
            state += velocity


def _one_thread() -> threadpool_limits:
    # Many small products: a second thread costs more than it gives.
    return threadpool_limits(1)


def _path_table(
    epochs: list[int], logits: NDArray, penalties: NDArray, table: pd.DataFrame, variants: list
) -> pd.DataFrame:
    split, label = table["split"].to_numpy(), table["label"].to_numpy()
    names = [(s, m, p) for s in SCALINGS for m, p in variants]
    parts = []
    for name in training.SPLITS:
        loss, auc, accuracy = _measures(logits[..., split == name], label[split == name])
        part = pd.DataFrame(names * len(epochs), columns=["scaling", "momentum", "penalised"])
        part["epoch"] = np.repeat(epochs, len(names))
        part["set"] = name
        part["loss"], part["auc"], part["accuracy"] = loss.ravel(), auc.ravel(), accuracy.ravel()
        part["penalised_loss"] = part["loss"] + penalties.ravel() if name == "training" else np.nan
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _measures(logits: NDArray, label: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return loss, area under the ROC curve and accuracy along the last axis."""
    right = (logits >= 0) == (label == 1)
    return layers.loss(logits, label), splits.areas(label, logits), right.mean(axis=-1)


def _by_set(logits: NDArray, table: pd.DataFrame) -> pd.DataFrame:
    split, label = table["split"].to_numpy(), table["label"].to_numpy()
    rows = [(s, *_measures(logits[split == s], label[split == s])) for s in training.SPLITS]
    return pd.DataFrame(rows, columns=["set", "loss", "auc", "accuracy"])


def _fitted(z: NDArray, label: NDArray, penalty: float) -> LogisticRegression:
    strength = 1 / (len(z) * penalty)
    model = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    return model.fit(z, label)


def _scaled(features: NDArray, table: pd.DataFrame, scaling: str) -> NDArray[np.float64]:
    x = np.asarray(features, dtype=float)
    if scaling == SCALINGS[0]:
        return x
    return layers.standardised(x, (table["split"] == "training").to_numpy())


def _spanned(x: NDArray) -> NDArray[np.float64]:
    left, strength, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    kept = strength > np.finfo(np.float32).eps * strength[0]
    return left[:, kept] * np.sqrt(len(x))
