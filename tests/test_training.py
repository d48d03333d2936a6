"""The last layer: the same steps as Keras takes, its stopping rule, its file."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from helpers import features, layers, networks, training
from helpers.networks import keras

RULE = {
    "learning_rate": 0.05,
    "batch_size": 8,
    "momentum": 0.0,
    "epochs_max": 60,
    "patience": 10,
    "standardise": True,
}


@pytest.fixture
def cohort():
    """Return 40 + 24 + 16 rows of 6 features of which the first carries the label."""
    rng = np.random.default_rng(0)
    label = np.tile([1, 0], 40)
    features = rng.normal(size=(80, 6)) * [1, 10, 0.1, 1, 1, 1] + [3, 0, 0, 0, 0, 5]
    features[:, 0] += 1.5 * label
    split = np.repeat(["training", "validation", "test"], [40, 24, 16])
    ids = [f"i{k}" for k in range(80)]
    table = pd.DataFrame({"image_id": ids, "case_id": ids, "label": label, "split": split})
    return features, table


def keras_fit(parts, kernel, *, epochs, momentum, callbacks=(), hidden=(), class_weight=None):
    (x, y), validation = parts
    units = [keras.layers.Dense(len(bias), "relu") for _, bias in hidden]
    last = keras.layers.Dense(1, "sigmoid")
    model = keras.Sequential([keras.Input((x.shape[1],)), *units, last])
    for layer, weights in zip(units, hidden, strict=True):
        layer.set_weights(weights)
    last.set_weights([kernel[:, None], np.zeros(1)])
    model.compile(
        keras.optimizers.SGD(RULE["learning_rate"], momentum=momentum), "binary_crossentropy"
    )
    history = model.fit(
        x,
        y,
        validation_data=validation,
        epochs=epochs,
        batch_size=RULE["batch_size"],
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        class_weight=class_weight,
    )
    return model, history.history["val_loss"]


def in_parts(features, table):
    split = table["split"].to_numpy()
    return [
        (features[split == name], table["label"].to_numpy()[split == name].astype(float))
        for name in training.SPLITS[:2]
    ]


def states(parts, start, *, momentum, order=None):
    n = len(parts[0][0])
    return training.gradient_descent(
        *parts,
        start=start,
        order=order or (lambda: np.tile(np.arange(n), (len(start), 1))),
        learning_rate=RULE["learning_rate"],
        batch_size=RULE["batch_size"],
        momentum=momentum,
    )


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("rows", [40, 37])
def test_fifty_steps_and_more_equal_keras_fit(cohort, momentum, rows):
    (x, y), validation = in_parts(*cohort)
    parts = [(x[:rows], y[:rows]), validation]
    start = np.random.default_rng(1).normal(size=(2, 6)) / 4
    combination, logits = next(itertools.islice(states(parts, start, momentum=momentum), 10, None))
    for seed in range(2):
        model, losses = keras_fit(parts, start[seed], epochs=10, momentum=momentum)
        kernel, bias = model.layers[0].get_weights()
        expected = start[seed] + combination[seed] @ parts[0][0]
        assert np.allclose(expected, kernel[:, 0], atol=1e-5)
        assert np.isclose(combination[seed].sum(), bias[0], atol=1e-5)
        assert np.isclose(layers.loss(logits[seed, rows:], validation[1]), losses[-1], atol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_hidden_layers_equal_keras_fit(cohort, momentum):
    parts = in_parts(*cohort)
    shape = layers.Shape((6, 5, 4, 1))
    start = shape.initial(np.random.default_rng(1))
    *hidden, (kernel, _) = shape.layers(start)
    epochs = layers.gradient_descent(
        *parts,
        shape=shape,
        start=start,
        order=lambda: np.arange(40),
        learning_rate=RULE["learning_rate"],
        batch_size=8,
        momentum=momentum,
        weight=np.ones(40),
    )
    flat, logits = next(itertools.islice(epochs, 10, None))
    options = {"epochs": 10, "momentum": momentum, "hidden": hidden}
    model, losses = keras_fit(parts, kernel[:, 0], **options)
    found = [array for layer in shape.layers(flat[0]) for array in layer]
    for ours, theirs in zip(found, model.get_weights(), strict=True):
        assert np.allclose(ours, theirs, atol=1e-5)
    assert np.isclose(layers.loss(logits[0, 40:], parts[1][1]), losses[-1], atol=1e-5)


def test_class_weights_equal_keras_fit(cohort):
    (x, _), validation = in_parts(*cohort)
    parts = [(x[:30], np.where(np.arange(30) < 8, 1.0, 0.0)), validation]
    weight = training._class_weights(parts[0][1])
    assert np.isclose(weight[:8].sum(), weight[8:].sum()) and np.isclose(weight.mean(), 1)
    start = np.random.default_rng(1).normal(size=(1, 6)) / 4
    epochs = training.gradient_descent(
        *parts,
        start=start,
        order=lambda: np.arange(30)[None],
        learning_rate=RULE["learning_rate"],
        batch_size=8,
        momentum=0.9,
        weight=weight,
    )
    combination, _ = next(itertools.islice(epochs, 10, None))
    by_class = {0: weight[-1], 1: weight[0]}
    model, _ = keras_fit(parts, start[0], epochs=10, momentum=0.9, class_weight=by_class)
    expected = model.layers[0].get_weights()[0][:, 0]
    assert np.allclose(start[0] + combination[0] @ parts[0][0], expected, atol=1e-5)


def test_class_weights_change_the_training_and_hidden_layers_too(cohort):
    features, table = cohort
    plain = training.train(features, table, seeds=[1], **RULE)
    uneven = table[(table["label"] == 0) | (table.index % 3 == 0)].index
    part = features[uneven], table.loc[uneven].reset_index(drop=True)
    weighted, even = (
        training.train(*part, seeds=[1], **RULE, class_weights=on).kernel for on in (True, False)
    )
    assert not np.allclose(weighted, even)
    deep = training.train(features, table, seeds=[1, 2], **RULE, hidden_units=[5])
    assert [kernel.shape for kernel, _ in deep.hidden] == [(2, 6, 5)]
    assert not np.allclose(training.probabilities(deep, features)[0], 0.5)
    again = training.train(features, table, seeds=[2], **RULE, hidden_units=[5])
    pair = training.probabilities(deep, features)[1], training.probabilities(again, features)[0]
    assert np.allclose(*pair, atol=1e-10), "a seed does not hang on the others"
    assert list(deep.path) == list(plain.path) and len(deep.stopping) == 2


def test_hidden_layers_fold_the_scaling_into_their_weights(cohort):
    features, table = cohort
    train = features[(table["split"] == "training").to_numpy()]
    scaled = (features - train.mean(axis=0)) / train.std(axis=0)
    rule = RULE | {"hidden_units": [4]}
    outside = training.train(scaled, table, seeds=[3], **rule | {"standardise": False})
    inside = training.train(features, table, seeds=[3], **rule)
    pair = [training.probabilities(h, x)[0] for h, x in ((outside, scaled), (inside, features))]
    assert np.allclose(*pair, atol=1e-9)


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_heads_on_cached_features_equal_the_full_frozen_model(name):
    pixels = 80 if name == "InceptionV3" else 32
    weights = networks.choose_weights(["random"], name, seed=1)
    network = networks.build(name, weights=weights, input_pixels=pixels)
    rng = np.random.default_rng(5)
    legs = networks.preprocess(rng.uniform(0, 255, (10, pixels, pixels, 3)), name)
    y = np.tile([1.0, 0.0], 5)
    x = np.asarray(features.pooled(network).predict_on_batch(legs), dtype=float)
    # Random networks differ ten thousandfold in the size of their features; this step moves all.
    rate = min(1.0, 2 / (x**2).sum(axis=1).max())
    limit = np.sqrt(6 / (x.shape[1] + 1))
    start = rng.uniform(-limit, limit, (1, x.shape[1]))
    empty = pd.DataFrame()
    heads = training.Heads((6,), start, np.zeros(1), empty, empty)
    model = training.assemble(network, heads, seed=6)
    model.trainable = True
    for layer in model.layers:
        layer.trainable = layer.name == training.HEAD
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), "binary_crossentropy")
    assert len(model.trainable_weights) == 2
    for _ in range(25):
        for batch in (slice(0, 5), slice(5, 10)):
            model.train_on_batch(legs[batch], y[batch])
    epochs = training.gradient_descent(
        (x, y),
        (x, y),
        start=start,
        order=lambda: np.arange(10)[None],
        learning_rate=rate,
        batch_size=5,
        momentum=0.9,
    )
    combination, _ = next(itertools.islice(epochs, 25, None))
    kernel, bias = model.get_layer(training.HEAD).get_weights()
    moved = np.abs(kernel[:, 0] - start[0]).max()
    assert np.abs(start[0] + combination[0] @ x - kernel[:, 0]).max() <= 1e-5
    assert abs(combination[0].sum() - bias[0]) <= 1e-5
    assert moved > 1e-3, "fifty steps that went somewhere, a hundred times the tolerance"


def test_stopping_equals_keras_early_stopping(cohort):
    parts = in_parts(*cohort)
    start = np.zeros((1, 6))
    stop = keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)
    model, losses = keras_fit(parts, start[0], epochs=80, momentum=0.9, callbacks=[stop])
    best, _, stopping = training.stop_early(
        states(parts, start, momentum=0.9),
        parts[0][1],
        parts[1][1],
        seeds=[7],
        epochs_max=80,
        patience=5,
    )
    assert len(losses) < 80, "the comparison needs a run that stops early"
    assert stopping["epochs_run"].item() == len(losses)
    assert stopping["best_epoch"].item() == int(np.argmin(losses)) + 1
    assert stopping["rule"].item() == "validation loss not lower for 5 epochs"
    assert np.allclose(best[0] @ parts[0][0], model.layers[0].get_weights()[0][:, 0], atol=1e-4)


def test_the_limit_of_epochs_is_named_as_the_rule(cohort):
    heads = training.train(*cohort, seeds=[1], **RULE | {"epochs_max": 3, "learning_rate": 1e-6})
    assert heads.stopping["rule"].tolist() == ["limit of 3 epochs"]
    assert heads.path["epoch"].tolist() == [0, 1, 2, 3]


def test_standardisation_is_folded_back_into_the_weights(cohort):
    features, table = cohort
    train = features[(table["split"] == "training").to_numpy()]
    scaled = (features - train.mean(axis=0)) / train.std(axis=0)
    outside = training.train(scaled, table, seeds=[3], **RULE | {"standardise": False})
    inside = training.train(features, table, seeds=[3], **RULE)
    pair = [training.probabilities(h, x)[0] for h, x in ((outside, scaled), (inside, features))]
    assert np.allclose(*pair, atol=1e-10)


def test_seeds_repeat_alone_or_together(cohort):
    both = training.train(*cohort, seeds=[1, 2], **RULE)
    again = training.train(*cohort, seeds=[2], **RULE)
    assert np.allclose(both.kernel[1], again.kernel[0], atol=1e-12)
    assert not np.allclose(both.kernel[0], both.kernel[1])


@pytest.mark.parametrize("hidden", [[], [4]])
def test_two_runs_with_one_seed_give_identical_predictions(cohort, hidden):
    features, table = cohort
    about = {"model": "VGG19", "weights": "random"}
    runs = [training.train(features, table, seeds=[3], **RULE, hidden_units=hidden) for _ in "ab"]
    found = [training.predictions(heads, features, table, **about) for heads in runs]
    assert found[0].equals(found[1])


def test_a_learnable_label_is_learned_and_a_shuffled_one_is_not(cohort):
    features, table = cohort
    features[:, 0] += 3 * table["label"]
    test = (table["split"] == "test").to_numpy()
    heads = training.train(features, table, seeds=[1], **RULE)
    call = training.probabilities(heads, features)[0] > 0.5
    assert (call == table["label"])[test].mean() > 0.8
    shuffled = table.assign(label=np.random.default_rng(3).permutation(table["label"]))
    heads = training.train(features, shuffled, seeds=[1], **RULE)
    assert heads.stopping["validation_loss"].item() > 0.6


def test_predictions_have_the_columns_of_the_book(cohort):
    features, table = cohort
    heads = training.train(features, table, seeds=[4, 5], **RULE | {"epochs_max": 1})
    found = training.predictions(heads, features, table, model="VGG19", weights="random")
    columns = "id unit label probability model weights seed split"
    assert list(found) == columns.split() and len(found) == 160
    assert found["probability"].between(0, 1).all()


def labelled(*, training_labels=(1, 0), validation_labels=(1, 0), extra=()):
    rows = [("training", v) for v in training_labels] + [
        ("validation", v) for v in validation_labels
    ]
    cases = pd.DataFrame(rows, columns=["split", "dystrophinopathy"])
    cases["case_id"] = [f"c{k}" for k in range(len(cases))]
    images = pd.DataFrame({"image_id": "i" + cases["case_id"], "case_id": cases["case_id"]})
    cases = pd.concat([cases, pd.DataFrame(list(extra))])
    return training.labelled(list(images["image_id"]), images, cases)


def test_no_positives_in_training_is_an_error():
    with pytest.raises(training.TrainingError, match="training has no image with dystro"):
        labelled(training_labels=(0, 0))


def test_a_case_in_two_splits_is_an_error():
    twice = {"case_id": "c0", "split": "test", "dystrophinopathy": 1}
    with pytest.raises(training.TrainingError, match=r"case c0 .*splits: test, training"):
        labelled(extra=[twice])


def test_features_that_are_not_numbers_are_an_error(cohort):
    features, table = cohort
    features[3, 2] = np.nan
    with pytest.raises(training.TrainingError, match="1 of 80 images"):
        training.train(features, table, seeds=[1], **RULE)


@pytest.fixture
def classifier(cohort, tmp_path):
    weights = networks.choose_weights(["random"], "VGG19", seed=1)
    network = networks.build("VGG19", weights=weights, input_pixels=32)
    rng = np.random.default_rng(2)
    kernel, bias = rng.normal(size=(1, 512)), np.array([0.3])
    empty = pd.DataFrame()
    heads = training.Heads((6,), kernel, bias, empty, empty)
    model = training.assemble(network, heads, seed=6)
    images = rng.normal(size=(3, 32, 32, 3)).astype("float32") * 50
    pooled = network.predict(images, verbose=0).mean(axis=(1, 2))
    return model, images, expit(pooled @ kernel[0] + bias)


def test_the_saved_model_is_the_evaluated_one(classifier, tmp_path):
    model, images, expected = classifier
    difference = training.save(model, tmp_path / "m.keras", images=images, expected=expected)
    assert difference < 1e-5
    layers = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True).layers
    assert [type(layer).__name__ for layer in layers[-2:]] == ["GlobalAveragePooling2D", "Dense"]


def test_a_head_with_hidden_layers_is_saved_as_it_was_evaluated(cohort, tmp_path):
    weights = networks.choose_weights(["random"], "VGG19", seed=1)
    network = networks.build("VGG19", weights=weights, input_pixels=32)
    rng = np.random.default_rng(2)
    legs = rng.normal(size=(3, 32, 32, 3)).astype("float32") * 50
    x = network.predict(legs, verbose=0).mean(axis=(1, 2))
    hidden = ((rng.normal(size=(1, 512, 7)), rng.normal(size=(1, 7))),)
    empty = pd.DataFrame()
    heads = training.Heads((6,), rng.normal(size=(1, 7)), np.zeros(1), empty, empty, hidden)
    model = training.assemble(network, heads, seed=6)
    expected = training.probabilities(heads, x)[0]
    assert training.save(model, tmp_path / "m.keras", images=legs, expected=expected) < 1e-4
    trained = training.stages(model).set_index("name")["trained"]
    assert trained[["hidden", "dense"]].all() and not trained["average"]


def test_a_model_that_differs_from_the_evaluated_one_is_not_saved(classifier, tmp_path):
    model, images, expected = classifier
    with pytest.raises(RuntimeError, match=r"differs from the evaluated model by 0\.2"):
        training.save(model, tmp_path / "m.keras", images=images, expected=expected - 0.2)
    assert list(tmp_path.iterdir()) == []
