"""The new last layer: one dense unit on pooled features, trained by stochastic gradient descent.

With the convolutional part frozen, global average pooling followed by ``Dense(1, sigmoid)`` is
logistic regression on features that never change. Every weight that SGD can reach is the start
plus a combination of the training rows, so the training runs on the rows' inner products: the
same steps as Keras takes (a test says so), many seeds at once, and cheap for few images.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from helpers import accuracy, features, layers, paths
from helpers.networks import keras

SPLITS = ("training", "validation", "test")
POOLING = "average_pooling"
HEAD = "dystrophinopathy"
HIDDEN = "hidden"


class TrainingError(ValueError):
    """The labelled images cannot train a classifier; the message lists every problem."""


@dataclass(frozen=True)
class Heads:
    """Trained heads, one per seed, for features as the network gives them.

    Attributes
    ----------
    seeds : tuple of int
        One per training, S in all.
    kernel : ndarray, (S, channels)
        Weights of the last dense unit; channels are those of the last hidden layer, if any.
    bias : ndarray, (S,)
        Its bias.
    path : DataFrame
        seed, epoch, training_loss, validation_loss, at the end of each epoch (0 = start).
    stopping : DataFrame
        seed, epochs_run, best_epoch, validation_loss (of that epoch), rule.
    hidden : tuple of tuple of ndarray
        Kernel (S, inputs, units) and bias (S, units) of each hidden layer, rectified.
    """

    seeds: tuple[int, ...]
    kernel: NDArray[np.float64]
    bias: NDArray[np.float64]
    path: pd.DataFrame
    stopping: pd.DataFrame
    hidden: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...] = ()


def labelled(image_ids: list[str], images: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Return diagnosis and split of each leg image, and check that they can train a model.

    Parameters
    ----------
    image_ids : list of str
        Leg images, in the order of the features.
    images : DataFrame
        image_id, case_id.
    cases : DataFrame
        case_id, dystrophinopathy (0 or 1), split.

    Returns
    -------
    DataFrame
        image_id, case_id, label, split; one row an image, in the given order.

    Raises
    ------
    TrainingError
        When a case is unknown or stands in two splits, or when training or validation lacks
        one of the two classes.

    Examples
    --------
    >>> images = pd.DataFrame({"image_id": ["a", "b"], "case_id": ["1", "2"]})
    >>> cases = pd.DataFrame({"case_id": ["1", "2", "2"], "dystrophinopathy": [1, 0, 0],
    ...                       "split": ["training", "training", "test"]})
    >>> labelled(["a", "b"], images, cases)
    Traceback (most recent call last):
    helpers.training.TrainingError: The images cannot train a classifier:
      - case 2 stands in 2 rows of the cases table (splits: test, training); expected one
      - validation has no image with dystrophinopathy
      - validation has no image without dystrophinopathy
    """
    problems = list(_cases_in_two_rows(cases))
    rows = pd.DataFrame({"image_id": list(image_ids)}).merge(
        images[["image_id", "case_id"]], on="image_id", how="left"
    )
    table = rows.merge(cases.drop_duplicates("case_id"), on="case_id", how="left")
    unknown = table.loc[table["split"].isna(), "image_id"]
    problems += [f"image {name} belongs to no case of the cases table" for name in unknown]
    for split in SPLITS[:2]:
        for value, words in ((1, "with"), (0, "without")):
            if not ((table["split"] == split) & (table["dystrophinopathy"] == value)).any():
                problems.append(f"{split} has no image {words} dystrophinopathy")
    if problems:
        listing = "\n".join(f"  - {problem}" for problem in problems)
        raise TrainingError(f"The images cannot train a classifier:\n{listing}")
    table = table.rename(columns={"dystrophinopathy": "label"})
    return table[["image_id", "case_id", "label", "split"]].astype({"label": int})


def train(
    features: NDArray,
    table: pd.DataFrame,
    *,
    seeds: list[int],
    learning_rate: float,
    batch_size: int,
    momentum: float,
    epochs_max: int,
    patience: int,
    standardise: bool,
    hidden_units: tuple[int, ...] | list[int] = (),
    class_weights: bool = False,
) -> Heads:
    r"""Train the last layer by SGD on the binary cross-entropy, once per seed.

    A step on a batch :math:`B` is :math:`v \leftarrow m v - \frac{\eta}{|B|}\sum_{i \in B}
    (p_i - y_i)\,x_i,\; w \leftarrow w + v`. Training ends when the validation loss has not
    fallen for ``patience`` epochs, or at ``epochs_max``; the weights of the epoch with the
    lowest validation loss are kept.

    Parameters
    ----------
    features : ndarray, (images, channels)
        Pooled features, rows as in ``table``.
    table : DataFrame
        From :func:`labelled`.
    seeds : list of int
        Each draws initial weights (Glorot uniform, as Keras) and the order of the images.
    learning_rate, batch_size, momentum : float, int, float
        Of SGD; published are 1e-4 and 32, momentum is not stated.
    epochs_max, patience : int
        The stopping rule, an assumption: the paper says "until convergence".
    standardise : bool
        Train on features scaled by the training images' mean and sd (an assumption); the
        scaling is then folded into the returned weights.
    hidden_units : sequence of int
        Units of rectified layers before the last unit; none by default, an assumption.
    class_weights : bool
        Let both classes count alike in the training loss: each image by n / (2 n of its class).

    Returns
    -------
    Heads

    Raises
    ------
    TrainingError
        When a feature is NaN or infinite.
    """
    split = table["split"].to_numpy()
    x = _finite(features)
    mean, sd = np.zeros(x.shape[1]), np.ones(x.shape[1])
    if standardise:
        mean, sd = layers.scaling(x[split == "training"])
    x = (x - mean) / sd
    y = table["label"].to_numpy(dtype=float)
    parts = [(x[split == name], y[split == name]) for name in SPLITS[:2]]
    sgd = {"learning_rate": learning_rate, "batch_size": batch_size, "momentum": momentum}
    sgd["weight"] = _class_weights(parts[0][1]) if class_weights else np.ones(len(parts[0][1]))
    stop = {"epochs_max": epochs_max, "patience": patience}
    if hidden_units:
        sizes = layers.Shape((x.shape[1], *hidden_units, 1))
        return _with_hidden(parts, sizes, (mean, sd), seeds=seeds, sgd=sgd, stop=stop)
    generators = [np.random.default_rng(seed) for seed in seeds]
    limit = np.sqrt(6 / (x.shape[1] + 1))
    start = np.array([g.uniform(-limit, limit, x.shape[1]) for g in generators])
    n = len(parts[0][0])
    epochs = gradient_descent(
        *parts, start=start, order=lambda: np.array([g.permutation(n) for g in generators]), **sgd
    )
    labels = [part[1] for part in parts]
    combination, path, stopping = stop_early(epochs, *labels, seeds=seeds, **stop)
    kernel = (start + combination @ parts[0][0]) / sd
    bias = combination.sum(axis=1) - kernel @ mean
    return Heads(tuple(seeds), kernel, bias, path, stopping)


def gradient_descent(
    training: tuple[NDArray, NDArray],
    validation: tuple[NDArray, NDArray],
    *,
    start: NDArray,
    order: Callable[[], NDArray],
    learning_rate: float,
    batch_size: int,
    momentum: float,
    weight: NDArray | None = None,
) -> Iterator[tuple[NDArray, NDArray]]:
    """Yield the state of SGD before the first epoch and after each, without end.

    Parameters
    ----------
    training, validation : tuple of ndarray
        Features (n, channels) and labels (n,).
    start : ndarray, (S, channels)
        Initial weights of each seed; the bias starts at 0.
    order : callable
        Returns the next epoch's order of the training images, (S, n).
    learning_rate, batch_size, momentum : float, int, float
        Of SGD.
    weight : ndarray, (n,), optional
        Of each training image in the loss; 1 when not given.

    Yields
    ------
    tuple of ndarray
        Combination (S, n): the weights are ``start + combination @ training features`` and the
        bias is the combination's sum. Logits (S, n + validation images).
    """
    x, y = training
    everyone = np.vstack([x, validation[0]])
    inner_products = x @ everyone.T + 1  # the bias is one more channel, of value 1
    logits = start @ everyone.T
    combination, velocity = np.zeros((2, len(start), len(x)))
    logits_velocity = np.zeros_like(logits)
    while True:
        yield combination.copy(), logits.copy()
        shuffled = order()
        for first in range(0, len(x), batch_size):
            batch = shuffled[:, first : first + batch_size]
            residual = expit(np.take_along_axis(logits, batch, axis=1)) - y[batch]
            if weight is not None:
                residual *= weight[batch]
            step = -learning_rate / batch.shape[1] * residual
            velocity *= momentum
            moved = np.take_along_axis(velocity, batch, axis=1) + step
            np.put_along_axis(velocity, batch, moved, axis=1)
            combination += velocity
            # Only the batch's rows move the logits; the rest is the earlier movement, fading.
            logits_velocity *= momentum
            logits_velocity += (step[:, None] @ inner_products[batch])[:, 0]
            logits += logits_velocity


def stop_early(
    epochs: Iterator[tuple[NDArray, NDArray]],
    labels: NDArray,
    validation_labels: NDArray,
    *,
    seeds: list[int],
    epochs_max: int,
    patience: int,
) -> tuple[NDArray, pd.DataFrame, pd.DataFrame]:
    """Follow SGD until every seed has stopped and keep each seed's best epoch.

    Parameters
    ----------
    epochs : iterator
        From :func:`gradient_descent`.
    labels, validation_labels : ndarray, (n,), (m,)
        0 or 1.
    seeds : list of int
        To name the rows.
    epochs_max, patience : int
        A seed stops when its validation loss has not fallen for ``patience`` epochs, or at
        ``epochs_max``: the rule of ``keras.callbacks.EarlyStopping``.

    Returns
    -------
    best : ndarray, (S, ...)
        What the epochs yield first, at each seed's best epoch.
    path, stopping : DataFrame
        As in :class:`Heads`.
    """
    n, running = len(labels), np.ones(len(seeds), dtype=bool)
    best_loss, best_epoch = np.full(len(seeds), np.inf), np.zeros(len(seeds), dtype=int)
    best, rows = None, []
    for epoch, (state, logits) in zip(range(epochs_max + 1), epochs, strict=False):
        best = state.copy() if best is None else best
        parts = (logits[:, :n], labels), (logits[:, n:], validation_labels)
        losses = [layers.loss(*part) for part in parts]
        rows += [(seeds[s], epoch, losses[0][s], losses[1][s]) for s in np.flatnonzero(running)]
        better = running & (losses[1] < best_loss) & (epoch > 0)
        best[better], best_epoch[better] = state[better], epoch
        best_loss[better] = losses[1][better]
        running &= epoch - best_epoch < patience
        if not running.any():
            break
    path = pd.DataFrame(rows, columns=["seed", "epoch", "training_loss", "validation_loss"])
    return best, path, _stopping(path, best_epoch, best_loss, epochs_max, patience)


def kept(heads: Heads) -> dict[str, float]:
    """Return the epoch whose weights the first seed kept, and the losses there.

    Parameters
    ----------
    heads : Heads
        From :func:`train`.

    Returns
    -------
    dict of str to float
        epoch, training_loss, validation_loss.
    """
    first = heads.stopping.iloc[0]
    path = heads.path.set_index(["seed", "epoch"])
    losses = path.loc[(first["seed"], first["best_epoch"])]
    return {"epoch": float(first["best_epoch"]), **losses.to_dict()}


def log_odds(heads: Heads, features: NDArray) -> NDArray[np.float64]:
    """Return the log odds of a dystrophinopathy.

    Parameters
    ----------
    heads : Heads
        From :func:`train`.
    features : ndarray, (images, channels)
        As the network gives them.

    Returns
    -------
    ndarray, (S, images)
    """
    x = np.asarray(features, dtype=float)
    for kernel, bias in heads.hidden:
        x = np.maximum(x @ kernel + bias[:, None], 0)
    # Behind hidden layers each seed has features of its own.
    logits = (x @ heads.kernel[..., None])[..., 0] if heads.hidden else heads.kernel @ x.T
    return logits + heads.bias[:, None]


def probabilities(heads: Heads, features: NDArray) -> NDArray[np.float64]:
    """Return the probability of a dystrophinopathy.

    Parameters
    ----------
    heads, features
        As for :func:`log_odds`.

    Returns
    -------
    ndarray, (S, images)
    """
    return expit(log_odds(heads, features))


def predictions(
    heads: Heads, features: NDArray, table: pd.DataFrame, *, model: str, weights: str
) -> pd.DataFrame:
    """Return the probabilities of all images and seeds as the book's files hold them.

    Parameters
    ----------
    heads : Heads
        From :func:`train`.
    features : ndarray, (images, channels)
        Rows as in ``table``.
    table : DataFrame
        From :func:`labelled`.
    model, weights : str
        Name of the network and kind of its weights.

    Returns
    -------
    DataFrame
        id, unit, label, probability, model, weights, seed, split.
    """
    parts = [
        pd.DataFrame(
            {
                "id": table["image_id"],
                "unit": "image",
                "label": table["label"],
                "probability": row,
                "model": model,
                "weights": weights,
                "seed": seed,
                "split": table["split"],
            }
        )
        for seed, row in zip(heads.seeds, probabilities(heads, features), strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def write_predictions(rows: pd.DataFrame, path: Path) -> None:
    """Write predictions as a file of the book.

    Parameters
    ----------
    rows : DataFrame
        From :func:`predictions`.
    path : Path
        ``predictions/<notebook>_<model>.csv``.
    """
    with paths.atomic_path(path) as temporary:
        rows.to_csv(temporary, index=False)


def variants(
    features: NDArray, table: pd.DataFrame, changes: dict[str, dict], **rule
) -> pd.DataFrame:
    """Train under other choices and return what each gives.

    Parameters
    ----------
    features, table
        As for :func:`train`.
    changes : dict of str to dict
        By name: which arguments of :func:`train` to replace.
    **rule
        The other arguments of :func:`train`.

    Returns
    -------
    DataFrame
        Choice, and of the first seed: Epoch kept, Rule that stopped it, Validation loss, Test AUC.
    """
    test = (table["split"] == "test").to_numpy()
    rows = []
    for name, change in changes.items():
        # A seed's training does not hang on the others, and one is shown.
        heads = train(features, table, **rule | change | {"seeds": rule["seeds"][:1]})
        first = heads.stopping.iloc[0]
        area = accuracy.auc(table["label"][test], probabilities(heads, features)[0, test])
        found = (first["best_epoch"], first["rule"], first["validation_loss"].round(3))
        rows.append((name, *found, round(area, 3)))
    columns = ["Choice", "Epoch kept", "Stopped by", "Validation loss", "Test AUC"]
    return pd.DataFrame(rows, columns=columns)


def assemble(network: keras.Model, heads: Heads, *, seed: int) -> keras.Model:
    """Return the whole classifier: frozen network, average pooling, hidden layers if any, unit.

    Parameters
    ----------
    network : keras.Model
        From :func:`helpers.networks.build`.
    heads : Heads
        From :func:`train`.
    seed : int
        Whose head.

    Returns
    -------
    keras.Model
        Input: preprocessed images; output: probability (n, 1).
    """
    flow = keras.layers.GlobalAveragePooling2D(name=POOLING)(network.output)
    for number, (kernel, _) in enumerate(heads.hidden):
        flow = keras.layers.Dense(kernel.shape[2], "relu", name=f"{HIDDEN}_{number}")(flow)
    output = keras.layers.Dense(1, activation="sigmoid", name=HEAD)(flow)
    model = keras.Model(network.input, output, name=f"{network.name}_{HEAD}")
    which = heads.seeds.index(seed)
    for number, (kernel, bias) in enumerate(heads.hidden):
        model.get_layer(f"{HIDDEN}_{number}").set_weights([kernel[which], bias[which]])
    model.get_layer(HEAD).set_weights([heads.kernel[which][:, None], heads.bias[[which]]])
    model.trainable = False
    return model


def stages(model: keras.Model) -> pd.DataFrame:
    """Return a classifier's stages from its real layers, for a drawing.

    Parameters
    ----------
    model : keras.Model
        From :func:`assemble`, of a network whose layers' names start with their stage's.

    Returns
    -------
    DataFrame
        name, rows, channels (of the stage's last map), parameters, trained.
    """
    found: dict[str, dict] = {}
    for layer in model.layers:
        name = layer.name if layer.name in (POOLING, HEAD) else layer.name.partition("_")[0]
        size = layer.output.shape[1:]
        before = found.get(name, {"parameters": 0})["parameters"]
        found[name] = {
            "name": {POOLING: "average", HEAD: "dense"}.get(name, name),
            "rows": size[0] if len(size) == 3 else 1,
            "channels": size[-1],
            "parameters": before + layer.count_params(),
            "trained": name in (HIDDEN, HEAD),
        }
    table = pd.DataFrame(found.values())
    return table[(table["parameters"] > 0) | (table["rows"] == 1)].reset_index(drop=True)


def save(model: keras.Model, path: Path, *, images: NDArray, expected: NDArray) -> float:
    """Save a classifier, load it again and compare what it says.

    Parameters
    ----------
    model : keras.Model
        From :func:`assemble`.
    path : Path
        Ends in ``.keras``.
    images : ndarray, (n, rows, columns, 3)
        Preprocessed.
    expected : ndarray, (n,)
        Probabilities that the cached features gave.

    Returns
    -------
    float
        Largest difference in probability.

    Raises
    ------
    RuntimeError
        When it exceeds 0.001: the file would not be the model that was evaluated.
    """
    with paths.atomic_path(path) as temporary:
        model.save(temporary)
        again = keras.saving.load_model(temporary, safe_mode=True)
        found = again.predict(images, verbose=0)[:, 0]
        difference = float(np.max(np.abs(found - expected)))
        if not difference <= 1e-3:
            raise RuntimeError(
                f"The saved {path.name} differs from the evaluated model by {difference:.2g} in "
                "probability, expected at most 0.001. The cached features may be of other "
                "weights: delete the profile's features folder and run: make book"
            )
    return difference


def save_checked(
    model: keras.Model, path: Path, rows: pd.DataFrame, folder: Path, predictions: pd.DataFrame
) -> float:
    """Save a classifier and compare its file with the predictions of a few images.

    Parameters
    ----------
    model : keras.Model
        From :func:`assemble`.
    path : Path
        Ends in ``.keras``.
    rows : DataFrame
        Some rows of ``images.csv``.
    folder : Path
        ``results/<profile>``.
    predictions : DataFrame
        From :func:`predictions`; the first seed's are in the model.

    Returns
    -------
    float
        Largest difference in probability, see :func:`save`.
    """
    first = predictions[predictions["seed"] == predictions["seed"].iloc[0]].set_index("id")
    name = first["model"].iloc[0]
    ready = features.network_input(name, rows, folder, input_pixels=model.input_shape[1])
    expected = first.loc[rows["image_id"], "probability"].to_numpy()
    return save(model, path, images=ready, expected=expected)


def _finite(features: NDArray) -> NDArray[np.float64]:
    x = np.asarray(features, dtype=float)
    wrong = int((~np.isfinite(x)).any(axis=1).sum())
    if wrong:
        raise TrainingError(
            f"{wrong} of {len(x)} images have features that are NaN or infinite, expected "
            "numbers: look at the network's weights, or delete the profile's features folder."
        )
    return x


def _class_weights(y: NDArray) -> NDArray[np.float64]:
    positive = y.sum()
    return np.where(y == 1, len(y) / (2 * positive), len(y) / (2 * (len(y) - positive)))


def _with_hidden(
    parts: list[tuple[NDArray, NDArray]],
    sizes: layers.Shape,
    scaling: tuple[NDArray, NDArray],
    *,
    seeds: list[int],
    sgd: dict,
    stop: dict,
) -> Heads:
    """Train a head with hidden layers, seed by seed, and fold the scaling into its first layer."""
    labels, n, found = [part[1] for part in parts], len(parts[0][0]), []
    for seed in seeds:
        g = np.random.default_rng(seed)
        start = sizes.initial(g)
        epochs = layers.gradient_descent(
            *parts, shape=sizes, start=start, order=lambda g=g: g.permutation(n), **sgd
        )
        found.append(stop_early(epochs, *labels, seeds=[seed], **stop))
    each = [sizes.layers(best[0]) for best, _, _ in found]
    stacked = [tuple(map(np.stack, zip(*own, strict=True))) for own in zip(*each, strict=True)]
    mean, sd = scaling
    first = stacked[0][0] / sd[:, None]
    stacked[0] = first, stacked[0][1] - mean @ first
    path, stopping = (pd.concat([own[k] for own in found], ignore_index=True) for k in (1, 2))
    kernel, bias = stacked[-1]
    return Heads(tuple(seeds), kernel[:, :, 0], bias[:, 0], path, stopping, tuple(stacked[:-1]))


def _stopping(
    path: pd.DataFrame, best_epoch: NDArray, best_loss: NDArray, epochs_max: int, patience: int
) -> pd.DataFrame:
    last = path.groupby("seed", sort=False)["epoch"].max()
    patient = last.to_numpy() - best_epoch >= patience
    rule = np.where(
        patient, f"validation loss not lower for {patience} epochs", f"limit of {epochs_max} epochs"
    )
    return pd.DataFrame(
        {
            "seed": last.index,
            "epochs_run": last.to_numpy(),
            "best_epoch": best_epoch,
            "validation_loss": best_loss,
            "rule": rule,
        }
    )


def _cases_in_two_rows(cases: pd.DataFrame) -> Iterator[str]:
    for name, rows in cases.groupby("case_id"):
        if len(rows) > 1:
            splits = ", ".join(sorted(rows["split"].unique()))
            yield (
                f"case {name} stands in {len(rows)} rows of the cases table "
                f"(splits: {splits}); expected one"
            )
