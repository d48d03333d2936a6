"""Networks by name, their sizes, and which weights they get and why."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers import networks, parameters, paths, pretext

DATA = paths.real_data()
MOBILENET = DATA / "weights" / "mobilenet_2_5_224_tf_no_top.h5"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "models"


def random_weights(name: str, seed: int = 1) -> networks.Weights:
    return networks.choose_weights(["random"], name, seed=seed)


def file_weights(file: Path) -> networks.Weights:
    return networks.Weights("local", file, None, "local:x", "")


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_sizes_are_the_published_architectures(name):
    model = networks.build(name, weights=random_weights(name), input_pixels=80)
    assert networks.check_size(model, name) == networks.NETWORKS[name].parameters
    assert not model.trainable_weights


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_file_names_and_checksums_are_those_keras_asks_for(name, monkeypatch):
    asked = {}

    def get_file(fname, origin, *, file_hash, **_):
        asked.update(fname=fname, md5=file_hash)
        raise InterruptedError

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    with pytest.raises(InterruptedError):
        getattr(networks.keras.applications, name)(include_top=False)
    known = networks.NETWORKS[name]
    assert asked == {"fname": known.weights_file, "md5": known.md5}


def test_the_list_in_the_parameters_is_keras_own():
    assert set(parameters.APPLICATIONS) == set(networks.available())


def test_the_kinds_of_weights_in_the_parameters_are_those_that_can_be_made():
    assert ("imagenet", *pretext.RECIPES, "random") == parameters.WEIGHTS
    for kind in parameters.WEIGHTS:
        # A known kind is there or is said to be missing; only another word is no kind.
        assert networks.choose_weights([kind, "random"], "VGG19", seed=1).seed in (1, None)


def test_any_network_of_keras_is_found_by_name():
    assert networks._asked_by_keras("MobileNet")[0] == "mobilenet_1_0_224_tf_no_top.h5"
    known = networks.NETWORKS["DenseNet121"]
    assert networks._asked_by_keras("DenseNet121") == (known.weights_file, known.md5)
    weights = networks.choose_weights(["imagenet", "random"], "MobileNet", seed=1)
    assert weights.message == (
        "MobileNet: random weights (seed 1); imagenet: not in Keras's cache."
    )
    model = networks.build("MobileNet", weights=weights, input_pixels=64)
    assert networks.check_size(model, "MobileNet") == model.count_params()
    with pytest.raises(networks.UnknownName, match="Did you mean 'MobileNet'"):
        networks.choose_weights(["random", "imagenet"], "MobilNet")


def test_a_wrong_size_is_refused():
    model = networks.build("VGG19", weights=random_weights("VGG19"), input_pixels=32)
    with pytest.raises(RuntimeError, match=r"20,024,384 parameters .* expected 7,037,504"):
        networks.check_size(model, "DenseNet121")


def first_kernel(name: str, seed: int, **options) -> np.ndarray:
    model = networks.build(name, weights=random_weights(name, seed), input_pixels=32, **options)
    return next(w.numpy() for w in model.weights if w.shape[0] > 1 and len(w.shape) == 4)


def test_random_weights_repeat_and_differ_by_seed_and_by_name():
    once = first_kernel("DenseNet121", 3)
    assert np.array_equal(once, first_kernel("DenseNet121", 3))
    assert not np.array_equal(once, first_kernel("DenseNet121", 4))
    assert not np.array_equal(once, first_kernel("DenseNet201", 3))


def test_building_leaves_pythons_generator_alone():
    import random

    random.seed(5)
    expected = random.random()
    random.seed(5)
    networks.build("VGG19", weights=random_weights("VGG19"), input_pixels=32)
    assert random.random() == expected


def test_each_network_has_its_own_preprocessing():
    image = np.full((1, 2, 2, 3), 255.0)
    assert np.allclose(networks.preprocess(image, "InceptionV3"), 1)
    assert np.allclose(
        networks.preprocess(image, "ResNet50")[0, 0, 0], 255 - np.array([103.939, 116.779, 123.68])
    )
    torch = (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    assert np.allclose(networks.preprocess(image, "DenseNet121")[0, 0, 0], torch, atol=1e-5)
    assert image.min() == 255, "the input is not changed"


def test_misspelt_names_give_the_nearest_valid_one():
    with pytest.raises(networks.UnknownName, match="Did you mean 'ResNet50'"):
        networks.choose_weights(["random"], "Resnet50")
    with pytest.raises(networks.UnknownName, match="Did you mean 'imagenet'"):
        networks.choose_weights(["imagnet"], "ResNet50")
    with pytest.raises(networks.UnknownName, match="Did you mean 'MobileNet'"):
        networks.build("Mobilenet", weights=random_weights("VGG19"), input_pixels=32)


def test_without_a_file_the_next_preference_is_taken_and_the_message_says_why(tmp_path):
    chosen = networks.choose_weights(["imagenet", f"local:{tmp_path}", "random"], "VGG19", seed=9)
    assert chosen.kind == "random"
    assert "random weights (seed 9)" in chosen.message
    assert "imagenet: not in Keras's cache" in chosen.message
    assert "no file vgg19_weights" in chosen.message


def test_without_any_weights_the_error_says_what_to_do():
    with pytest.raises(networks.WeightsError, match="Add 'random' to the list of weights"):
        networks.choose_weights(["imagenet"], "VGG19")


def test_a_wrong_file_in_the_cache_is_refused(empty_cache):
    empty_cache.mkdir(parents=True)
    (empty_cache / networks.NETWORKS["VGG19"].weights_file).write_bytes(b"not weights")
    with pytest.raises(networks.WeightsError, match=r"md5 .* expected 253f8cb5"):
        networks.choose_weights(["imagenet", "random"], "VGG19")


def test_a_failed_download_leaves_nothing_and_says_why(empty_cache, monkeypatch):
    monkeypatch.setattr(networks.sys, "executable", shutil.which("false"))
    chosen = networks.choose_weights(["imagenet", "random"], "VGG19", download_seconds=5)
    assert chosen.kind == "random" and "download failed" in chosen.message
    assert list(empty_cache.iterdir()) == []


def test_a_slow_download_is_stopped(empty_cache, tmp_path, monkeypatch):
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(networks.sys, "executable", str(slow))
    chosen = networks.choose_weights(["imagenet", "random"], "VGG19", download_seconds=1)
    assert chosen.kind == "random" and "not finished after 1 s" in chosen.message
    assert list(empty_cache.iterdir()) == []


def test_weights_from_a_folder_are_loaded(tmp_path):
    model = networks.build("VGG19", weights=random_weights("VGG19", 5), input_pixels=32)
    model.save_weights(tmp_path / "saved.weights.h5")
    name = networks.NETWORKS["VGG19"].weights_file
    with networks.keras.src.legacy.saving.legacy_h5_format.h5py.File(tmp_path / name, "w") as file:
        networks.keras.src.legacy.saving.legacy_h5_format.save_weights_to_hdf5_group(file, model)
    chosen = networks.choose_weights([f"local:{tmp_path}"], "VGG19")
    assert chosen.kind == "local" and name in chosen.message
    again = networks.build("VGG19", weights=chosen, input_pixels=32)
    assert all(
        np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights(), strict=True)
    )


def test_a_file_of_another_network_is_one_clear_error(tmp_path):
    wrong = tmp_path / networks.NETWORKS["VGG19"].weights_file
    wrong.write_bytes(b"not an HDF5 file")
    chosen = networks.choose_weights([f"local:{tmp_path}"], "VGG19")
    with pytest.raises(networks.WeightsError, match="does not hold the weights of VGG19"):
        networks.build("VGG19", weights=chosen, input_pixels=32)


@pytest.mark.skipif(not MOBILENET.is_file(), reason="PAPER_TEST_DATA has no MobileNet weights")
def test_real_imagenet_weights_load():
    model = networks.build(
        "MobileNet", weights=file_weights(MOBILENET), input_pixels=64, alpha=0.25
    )
    kernel = model.get_layer("conv1").get_weights()[0]
    assert kernel.shape == (3, 3, 3, 8)
    # Trained first filters see edges and colours: far from Glorot's range for 27 + 72 units.
    assert np.abs(kernel).max() > 2 * np.sqrt(6 / (27 + 72))
    with pytest.raises(networks.WeightsError, match="does not hold the weights of MobileNet"):
        networks.build("MobileNet", weights=file_weights(MOBILENET), input_pixels=64, alpha=0.5)
