"""Class activation maps: their mean is the logit, and they lie where the image says."""

import numpy as np
import pandas as pd
import pytest

from helpers import explanation, networks, training
from helpers.networks import keras


def assembled(kernel, *hidden):
    weights = networks.choose_weights(["random"], "VGG19", seed=1)
    network = networks.build("VGG19", weights=weights, input_pixels=64)
    empty = pd.DataFrame()
    heads = training.Heads((6,), kernel, np.array([0.3]), empty, empty, hidden)
    return training.assemble(network, heads, seed=6)


@pytest.fixture(scope="module")
def classifier():
    return assembled(np.random.default_rng(2).normal(size=(1, 512)))


@pytest.fixture(scope="module")
def deep():
    rng = np.random.default_rng(4)
    first = rng.normal(size=(1, 512, 7)), rng.normal(size=(1, 7))
    second = rng.normal(size=(1, 7, 5)), rng.normal(size=(1, 5))
    model = assembled(rng.normal(size=(1, 5)), first, second)
    means = last_maps(model, legs(4)).mean(axis=(1, 2))
    # Some units are active for one image and not for another, as after a training.
    kernel = first[0][0] / (means @ first[0][0]).std(axis=0)
    model.get_layer("hidden_0").set_weights([kernel, -(means @ kernel).mean(axis=0)])
    return model


def last_maps(model, images):
    pooling = model.get_layer(training.POOLING)
    return keras.Model(model.input, pooling.input).predict(images, verbose=0).astype(float)


def legs(count):
    return np.random.default_rng(3).normal(size=(count, 64, 64, 3)).astype("float32") * 50


def test_the_maps_mean_is_the_logit_without_the_bias(classifier):
    images = legs(4)
    maps, logits = explanation.class_activation(classifier, images)
    probability = classifier.predict(images, verbose=0)[:, 0]
    assert maps.shape == (4, 2, 2)
    assert np.allclose(maps.mean(axis=(1, 2)), logits - 0.3)
    assert np.allclose(1 / (1 + np.exp(-logits)), probability, atol=1e-5)
    assert explanation.kind_of_map(classifier) == "class activation maps"


def test_behind_hidden_layers_a_map_still_adds_up_to_its_logit(deep):
    images = legs(4)
    _, logits = explanation.class_activation(deep, images)
    probability = deep.predict(images, verbose=0)[:, 0]
    assert np.ptp(probability) > 0.01, "the images differ"
    assert np.allclose(1 / (1 + np.exp(-logits)), probability, atol=1e-5)
    assert explanation.kind_of_map(deep) == "gradient-weighted class activation maps"


def test_what_is_left_of_a_map_is_how_far_its_logit_lies_from_the_mean(deep, classifier):
    for model in (deep, classifier):
        maps, logits = explanation.class_activation(model, legs(4))
        left = explanation.relative(maps, logits)
        assert np.ptp(logits) > 0.01, "the images differ"
        assert np.allclose(left.mean(axis=(1, 2)), logits - logits.mean())
    assert np.allclose(left, maps - maps.mean(axis=0)), "one layer: the mean map alone"


def test_behind_hidden_layers_a_channel_weighs_what_the_logit_gains_by_it(deep):
    last_map = last_maps(deep, legs(2))
    means = last_map.mean(axis=(1, 2))
    layers = [layer.get_weights() for layer in deep.layers[-3:]]

    def logit(of):
        for kernel, bias in layers[:2]:
            of = np.maximum(of @ kernel + bias, 0)
        return (of @ layers[2][0] + layers[2][1])[:, 0]

    step = 1e-5 * np.abs(means).max() * np.eye(512)
    gains = [(logit(own + step) - logit(own - step)) / (2 * step[0, 0]) for own in means]
    assert not np.allclose(*gains), "each image has weights of its own"
    maps, _ = explanation.class_activation(deep, legs(2))
    expected = [own @ gain for own, gain in zip(last_map, gains, strict=True)]
    assert np.allclose(maps, expected, rtol=1e-4, atol=1e-6 * np.abs(maps).max())


def test_a_map_of_a_wide_box_leaves_out_the_padding():
    square = np.arange(16.0).reshape(4, 4)
    wide = explanation.on_box(square, (2, 4))
    assert np.allclose(wide, square[1:3])


def test_spacing_counts_as_in_the_networks_input():
    square = np.arange(16.0).reshape(4, 4)
    wide = explanation.on_box(square, (4, 4), spacing_mm=(0.5, 1.0))
    assert np.allclose(wide.mean(axis=0), square[1:3].mean(axis=0))


def test_shares_sum_to_one_and_are_undefined_without_a_positive_place():
    labels = np.array([[0, 1], [1, 2]])
    names = {0: "outside", 1: "muscle", 2: "bone"}
    found = explanation.share_by_tissue(np.array([[1.0, 2.0], [-3.0, 1.0]]), labels, names)
    assert found["attribution_share"].tolist() == [0.25, 0.5, 0.25]
    assert found["area_share"].sum() == 1
    nothing = explanation.share_by_tissue(-np.ones((2, 2)), labels, names)
    assert nothing["attribution_share"].isna().all()


def test_examples_are_one_a_case_and_drawn_by_seed():
    test = pd.DataFrame(
        {
            "image_id": list("abcdef"),
            "case_id": list("112234"),
            "label": [1, 1, 1, 1, 0, 0],
            "call": [1, 1, 1, 1, 1, 0],
        }
    )
    drawn = explanation.examples(test, per_group=3, seed=1)
    assert drawn["group"].value_counts().to_dict() == {
        "dystrophinopathy, called so": 2,
        "other disease, called dystrophinopathy": 1,
        "other disease, called another": 1,
    }
    assert not drawn["case_id"].duplicated().any()
    assert drawn.equals(explanation.examples(test, per_group=3, seed=1))


def test_a_map_in_one_tissue_is_found_there_and_the_sign_follows_the_call(tmp_path):
    labels = np.zeros((4, 4), dtype=np.uint8)
    labels[:, 2:] = 14
    np.savez(tmp_path / "s.npz", labels=labels)
    in_femur = np.where(labels == 14, 1.0, 0.0)
    about = {"slice_id": "s", "box": (0, 0, 4, 4), "image_id": "i"}
    explained = [
        about | {"case_id": str(case), "call": call, "activation": sign * in_femur}
        for case, (call, sign) in enumerate([(1, 1), (1, 1), (0, -1), (0, 1)])
    ]
    rows = explanation.tissue_table(explained, tmp_path, explanation.tissue_names())
    found = explanation.enrichment(rows, seed=0).set_index(["group", "tissue"])["estimate"]
    assert found["called dystrophinopathy"].to_dict() == {"outside the leg": 0, "femur": 2}
    assert found["called another disease"].to_dict() == {"outside the leg": 0, "femur": 2}
    shown = explanation.readable(explanation.enrichment(rows, seed=0))
    assert list(shown) == ["Tissue", *explanation.CALLS]


def test_without_label_maps_the_ratios_are_undefined(tmp_path):
    item = {"slice_id": "s", "box": (0, 0, 2, 2), "call": 1, "activation": np.ones((2, 2))}
    rows = explanation.tissue_table([item], tmp_path, {})
    table = explanation.enrichment(rows, seed=0)
    assert table.empty and explanation.readable(table).empty
    assert all(np.isnan(r.estimate) for r in explanation.ratios(table, "femur").values())
