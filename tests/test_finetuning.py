"""Fine-tuning from cached inputs of the last block equals fine-tuning the whole network."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from helpers import features, finetuning, networks, training
from helpers.networks import keras

SGD = {"learning_rate": 1e-3, "batch_size": 4, "momentum": 0.9}


def classifier(name, pixels):
    weights = networks.choose_weights(["random"], name, seed=1)
    network = networks.build(name, weights=weights, input_pixels=pixels)
    channels = networks.NETWORKS[name].channels
    kernel = np.random.default_rng(2).normal(size=(1, channels)) / 50
    empty = pd.DataFrame()
    heads = training.Heads((6,), kernel, np.zeros(1), empty, empty)
    return training.assemble(network, heads, seed=6)


def data(name, pixels, n=12):
    rng = np.random.default_rng(5)
    legs = networks.preprocess(rng.uniform(0, 255, (n, pixels, pixels, 3)), name)
    label = np.tile([1, 0], n // 2)
    split = np.repeat(["training", "validation"], [8, n - 8])
    table = pd.DataFrame({"image_id": range(n), "label": label, "split": split})
    return legs, table


def cached(model, name, legs):
    before = keras.Model(model.input, model.get_layer(finetuning.BEFORE_LAST_BLOCK[name]).output)
    values = np.asarray(before.predict_on_batch(legs))
    return features.Maps((values[:5], values[5:]))


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_only_the_last_block_is_trained(name):
    pixels = 80 if name == "InceptionV3" else 32
    model = classifier(name, pixels)
    block = finetuning.last_block(model, name)
    trained = sum(int(np.prod(w.shape)) for w in block.trainable_weights)
    assert 0 < trained < 0.6 * networks.NETWORKS[name].parameters
    assert any(w.path.startswith(training.HEAD) for w in block.trainable_weights)
    assert not any("gamma" in w.path for w in block.trainable_weights)


@pytest.mark.parametrize("name", ["ResNet50", "VGG19"])
def test_cached_inputs_give_the_weights_of_the_whole_network(name):
    legs, table = data(name, 32)
    ours, whole = classifier(name, 32), classifier(name, 32)
    tuned = finetuning.tune(ours, name, cached(ours, name, legs), table, epochs=2, seed=3, **SGD)
    last = {layer.name for layer in finetuning.last_block(whole, name).layers}
    whole.trainable = True
    for layer in whole.layers:
        frozen = layer.name not in last or isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = not frozen
    whole.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "binary_crossentropy")
    generator, losses = np.random.default_rng(3), []
    states = [whole.get_weights()]
    for _ in range(2):
        order = generator.permutation(8)
        for first in (0, 4):
            batch = order[first : first + 4]
            whole.train_on_batch(legs[batch], table["label"].to_numpy("float32")[batch])
        states.append(whole.get_weights())
        losses.append(whole.evaluate(legs[8:], table["label"][8:], verbose=0))
    assert np.allclose(tuned.path["validation_loss"][1:], losses, atol=1e-4)
    assert tuned.best_epoch == int(np.argmin(tuned.path["validation_loss"]))
    for a, b in zip(ours.get_weights(), states[tuned.best_epoch], strict=True):
        assert np.allclose(a, b, atol=1e-4)


def test_two_runs_with_one_seed_give_identical_weights_and_another_seed_others():
    legs, table = data("ResNet50", 32)

    def tuned(seed):
        model = classifier("ResNet50", 32)
        maps = cached(model, "ResNet50", legs)
        found = finetuning.tune(model, "ResNet50", maps, table, epochs=2, seed=seed, **SGD)
        return found.path, model.get_weights()

    (path, weights), (again, same), (other, _) = tuned(3), tuned(3), tuned(4)
    assert path.equals(again) and not path.equals(other)
    assert all(np.array_equal(a, b) for a, b in zip(weights, same, strict=True))


@pytest.mark.parametrize("name", ["DenseNet121", "DenseNet201"])
def test_the_last_block_of_a_densenet_is_its_last_dense_block(name):
    model = classifier(name, 32)
    block = finetuning.last_block(model, name)
    first = [layer.name for layer in model.layers if layer.name.startswith("conv5_block")]
    assert set(first) < {layer.name for layer in block.layers}
    assert not any(layer.name.startswith(("pool4", "conv4")) for layer in block.layers[1:])


def test_probabilities_are_those_of_the_kept_epoch():
    legs, table = data("VGG19", 32)
    model = classifier("VGG19", 32)
    maps = cached(model, "VGG19", legs)
    tuned = finetuning.tune(model, "VGG19", maps, table, epochs=1, seed=3, **SGD)
    found = finetuning.probabilities(tuned.model, maps, batch_size=5)
    assert np.allclose(found, model.predict(legs, verbose=0)[:, 0], atol=1e-5)
    p, y = found[8:], table["label"].to_numpy()[8:]
    loss = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
    assert np.isclose(loss, tuned.path["validation_loss"].min(), atol=1e-5)


def test_its_row_is_there_when_epochs_are_asked_for_and_not_otherwise(tmp_path):
    volume = np.random.default_rng(0).gamma(2, 50, size=(40, 30, 6)).astype("float32")
    nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "a.nii.gz")
    box = {"row0": 2, "col0": 1, "row1": 28, "col1": 20}
    ids = [f"i{k}" for k in range(6)]
    rows = pd.DataFrame({"image_id": ids, "file": "a.nii.gz", "frame": range(6), **box})
    split = np.repeat(["training", "validation", "test"], 2)
    table = rows[["image_id"]].assign(case_id=ids, label=[1, 0] * 3, split=split)
    weights = networks.choose_weights(["random"], "VGG19", seed=1)
    found = features.extract("VGG19", weights, rows, tmp_path, input_pixels=32)
    rule = SGD | {"epochs_max": 2, "patience": 2, "standardise": True, "seeds": [6]}
    choices = training.variants(found.values, table, {"as above": {}}, **rule)
    heads = training.train(found.values, table, **rule)
    about = ("VGG19", weights, heads, rows, table, tmp_path)
    options = SGD | {"input_pixels": 32, "seed": 6}
    assert finetuning.with_row(choices, *about, epochs=0, **options) is choices
    more = finetuning.with_row(choices, *about, epochs=1, **options)
    assert len(more) == 2 and list(more) == list(choices)
    assert more["Choice"].iloc[1].startswith("last block unfrozen (9,439,")
    assert 0 <= more["Test AUC"].iloc[1] <= 1
    assert (tmp_path / "features" / "VGG19-block4_pool" / "00000.npy").is_file()
