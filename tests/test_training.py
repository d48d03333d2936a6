"""The last layer: the same steps as Keras takes, its stopping rule, its file."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from helpers import networks, training
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


def keras_fit(parts, kernel, *, epochs, momentum, callbacks=()):
    (x, y), validation = parts
    model = keras.Sequential([keras.Input((x.shape[1],)), keras.layers.Dense(1, "sigmoid")])
    model.layers[0].set_weights([kernel[:, None], np.zeros(1)])
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
        assert np.isclose(training.loss(logits[seed, rows:], validation[1]), losses[-1], atol=1e-5)


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


def test_a_model_that_differs_from_the_evaluated_one_is_not_saved(classifier, tmp_path):
    model, images, expected = classifier
    with pytest.raises(RuntimeError, match=r"differs from the evaluated model by 0\.2"):
        training.save(model, tmp_path / "m.keras", images=images, expected=expected - 0.2)
    assert list(tmp_path.iterdir()) == []
