"""Pooled features of leg images: what they are, when the file is used again and when not."""

import importlib.util
import json
import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from helpers import features, images, networks, training

PIXELS = 32


@pytest.fixture
def folder(tmp_path):
    """Return a results folder with one volume of three slices and four leg images of it."""
    volume = np.random.default_rng(0).gamma(2, 50, size=(40, 30, 3)).astype("float32")
    nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "a.nii.gz")
    rows = pd.DataFrame(
        {
            "image_id": ["001", "002", "003", "004"],
            "case_id": ["1", "1", "2", "2"],
            "slice_id": ["1a", "1a", "2a", "2b"],
            "file": "a.nii.gz",
            "frame": [0, 0, 1, 2],
            "row0": 2,
            "col0": [1, 21, 1, 1],
            "row1": 28,
            "col1": [20, 40, 20, 20],
            "status": ["included", "included", "included", "excluded"],
        }
    )
    rows.to_csv(tmp_path / "images.csv", index=False)
    return tmp_path


def extracted(folder, *, seed=1, pixels=PIXELS, change=None, per_shard=2):
    rows = features.included(folder / "images.csv")
    if change is not None:
        rows = rows.assign(**change)
    weights = networks.choose_weights(["random"], "VGG19", seed=seed)
    options = {"input_pixels": pixels, "images_per_shard": per_shard}
    return features.extract("VGG19", weights, rows, folder, **options)


def write_weights(name, path):
    """Write a network's random weights in the form of Keras's own files; return the network."""
    random = networks.Weights("random", None, 1, "random:1", "")
    network = networks.build(name, weights=random, input_pixels=PIXELS)
    legacy = networks.keras.src.legacy.saving.legacy_h5_format
    with legacy.h5py.File(path, "w") as file:
        legacy.save_weights_to_hdf5_group(file, network)
    return network


def shard_files(folder):
    return sorted(file.name for file in (folder / "features" / "VGG19").iterdir())


def test_excluded_images_are_left_out_and_ids_stay_text(folder):
    assert features.included(folder / "images.csv")["image_id"].tolist() == ["001", "002", "003"]


def test_features_are_the_means_of_the_last_map(folder):
    found = extracted(folder)
    rows = features.included(folder / "images.csv")
    weights = networks.choose_weights(["random"], "VGG19", seed=1)
    network = networks.build("VGG19", weights=weights, input_pixels=PIXELS)
    ready = features.network_input("VGG19", rows, folder, input_pixels=PIXELS)
    expected = network.predict(ready, verbose=0).mean(axis=(1, 2))
    assert found.values.dtype == np.float32 and found.values.shape == (3, 512)
    assert np.allclose(found.values, expected, rtol=1e-4, atol=1e-6)
    assert np.ptp(found.values, axis=0).max() > 0, "the images differ"


def test_the_input_is_the_leg_alone_in_three_channels(folder):
    rows = features.included(folder / "images.csv")
    ready = features.network_input("InceptionV3", rows, folder, input_pixels=PIXELS)
    leg = images.crop(images.read_slice(folder / "a.nii.gz", 0), (2, 21, 28, 40), size=PIXELS)
    assert ready.shape == (3, PIXELS, PIXELS, 3)
    assert np.allclose(ready[1], leg[..., None] / 127.5 - 1, atol=1e-5)


def test_more_images_than_one_batch_keep_their_order(folder):
    rows = features.included(folder / "images.csv")
    many = pd.concat([rows] * 12, ignore_index=True)
    weights = networks.choose_weights(["random"], "VGG19", seed=1)
    values = features.extract("VGG19", weights, many, folder, input_pixels=PIXELS).values
    assert np.allclose(values, np.tile(values[:3], (12, 1)), rtol=1e-4, atol=1e-6)


def test_the_file_is_used_again_only_for_the_same_inputs(folder):
    first, again = extracted(folder), extracted(folder)
    assert not first.reused and again.reused
    assert np.array_equal(first.values, again.values)
    assert again.image_id == ["001", "002", "003"]


@pytest.mark.parametrize(
    "change",
    [{"seed": 2}, {"pixels": 48}, {"change": {"row1": 27}}, {"change": {"frame": 2}}],
    ids=["weights", "input size", "region", "frame"],
)
def test_a_changed_input_makes_new_features(folder, change):
    first = extracted(folder)
    second = extracted(folder, **change)
    assert not second.reused and not np.array_equal(first.values, second.values)


def test_changed_pixels_make_new_features(folder):
    extracted(folder)
    nib.save(nib.Nifti1Image(np.ones((40, 30, 3), "float32"), np.eye(4)), folder / "a.nii.gz")
    assert not extracted(folder).reused


def test_no_included_image_is_an_error(folder):
    table = pd.read_csv(folder / "images.csv").assign(status="excluded")
    table.to_csv(folder / "images.csv", index=False)
    with pytest.raises(ValueError, match="4 rows and none is included"):
        features.included(folder / "images.csv")


def test_features_are_kept_in_shards_of_the_size_asked_for(folder):
    found = extracted(folder)
    assert shard_files(folder) == ["00000.json", "00000.npy", "00001.json", "00001.npy"]
    parts = [np.load(folder / "features" / "VGG19" / f"0000{k}.npy") for k in (0, 1)]
    assert [len(part) for part in parts] == [2, 1]
    assert np.array_equal(np.concatenate(parts), found.values)
    assert np.allclose(found.values, extracted(folder, per_shard=64).values, rtol=1e-4, atol=1e-6)


def test_only_the_shard_whose_image_changed_is_computed_anew(folder, monkeypatch):
    extracted(folder)
    read = counting(monkeypatch)
    found = extracted(folder, change={"row1": [28, 28, 27]})
    assert {name for part in read for name in part} == {"003"}
    assert not found.reused and found.notes == ()


def counting(monkeypatch):
    """Return a list that grows by the images of each call that reads some."""
    asked, real = [], images.crops

    def counted(legs, **options):
        asked.append(list(legs["image_id"]))
        return real(legs, **options)

    monkeypatch.setattr(images, "crops", counted)
    return asked


def test_memory_does_not_grow_with_the_cohort(folder, monkeypatch):
    asked = counting(monkeypatch)
    rows = pd.concat([features.included(folder / "images.csv")] * 30, ignore_index=True)
    weights = networks.choose_weights(["random"], "VGG19", seed=1)
    features.extract("VGG19", weights, rows, folder, input_pixels=PIXELS)
    assert max(map(len, asked)) <= features.BATCH < len(rows)


@pytest.mark.parametrize("damage", ["a byte", "cut short", "missing", "note"])
def test_a_damaged_shard_is_noticed_and_computed_anew(folder, damage):
    first = extracted(folder)
    shard = folder / "features" / "VGG19" / "00000.npy"
    content = bytearray(shard.read_bytes())
    if damage == "a byte":
        content[-5] ^= 1
        shard.write_bytes(content)
    elif damage == "cut short":
        shard.write_bytes(content[:-100])
    elif damage == "missing":
        shard.unlink()
    else:
        shard.with_suffix(".json").write_text('{"finger')
    with pytest.raises(features.DamagedShard, match=r"VGG19/00000.* run the same command again"):
        features.load_shard(shard)
    again = extracted(folder)
    assert not again.reused and len(again.notes) == 1 and "VGG19/00000" in again.notes[0]
    assert np.array_equal(again.values, first.values)
    assert extracted(folder).reused


KILLED = """
import os, signal, sys
from pathlib import Path
from helpers import features, networks
folder = Path(sys.argv[1])
whole = features.np.save
def save(path, values):
    whole(path, values)
    if (folder / "features" / "VGG19" / "00000.npy").exists():
        os.kill(os.getpid(), signal.SIGKILL)
features.np.save = save
weights = networks.choose_weights(["random"], "VGG19", seed=1)
rows = features.included(folder / "images.csv")
features.extract("VGG19", weights, rows, folder, input_pixels=32, images_per_shard=2)
"""


def test_a_killed_extraction_goes_on_and_gives_identical_features(folder):
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    assert done.returncode == -9
    left = [name for name in shard_files(folder) if not name.startswith(".")]
    assert left == ["00000.json", "00000.npy"], "a whole shard, and nothing half-written"
    before = (folder / "features" / "VGG19" / "00000.npy").stat().st_mtime_ns
    resumed = extracted(folder)
    assert len(shard_files(folder)) == 4, "what was half-written is gone"
    assert (folder / "features" / "VGG19" / "00000.npy").stat().st_mtime_ns == before
    for file in (folder / "features" / "VGG19").iterdir():
        file.unlink()
    assert np.array_equal(resumed.values, extracted(folder).values)


def test_a_smaller_cohort_leaves_no_old_shards(folder):
    extracted(folder)
    rows = features.included(folder / "images.csv").iloc[:2]
    weights = networks.choose_weights(["random"], "VGG19", seed=1)
    options = {"input_pixels": PIXELS, "images_per_shard": 2}
    features.extract("VGG19", weights, rows, folder, **options)
    assert shard_files(folder) == ["00000.json", "00000.npy"]


@pytest.mark.parametrize("changed", ["networks", "pooled", "network_input", "_Shards", "versions"])
def test_other_code_or_another_tensorflow_makes_other_features(folder, monkeypatch, changed):
    weights = networks.choose_weights(["random"], "VGG19", seed=1)
    rows = features.included(folder / "images.csv")

    def mark():
        return features.fingerprint("VGG19", weights, rows, folder, input_pixels=PIXELS)

    before = mark()
    assert mark() == before
    if changed == "versions":
        monkeypatch.setattr(features, "_versions", lambda: (networks.keras.__version__, "0.0"))
    else:
        source, part = features.inspect.getsource, getattr(features, changed)
        monkeypatch.setattr(
            features.inspect, "getsource", lambda of: source(of) + "#" * (of is part)
        )
    assert mark() != before


def test_a_folder_beside_the_shards_is_left_alone(folder):
    (folder / "features" / "VGG19" / "notes").mkdir(parents=True)
    extracted(folder)
    assert (folder / "features" / "VGG19" / "notes").is_dir()


@pytest.mark.parametrize("wrong", ["no HDF5", "another network"])
def test_a_wrong_file_as_weights_leaves_nothing_behind(folder, tmp_path, wrong):
    file = tmp_path / networks.NETWORKS["VGG19"].weights_file
    file.write_bytes(b"not an HDF5 file")
    if wrong == "another network":
        write_weights("VGG16", file)
    weights = networks.choose_weights([f"local:{tmp_path}"], "VGG19")
    rows = features.included(folder / "images.csv")
    with pytest.raises(networks.WeightsError, match="does not hold the weights of VGG19"):
        features.extract("VGG19", weights, rows, folder, input_pixels=PIXELS)
    assert not (folder / "features").exists()


def test_maps_of_a_layer_are_read_from_disk_in_any_order(folder):
    rows = features.included(folder / "images.csv")
    weights = networks.choose_weights(["random"], "VGG19", seed=1)
    options = {"input_pixels": PIXELS, "images_per_shard": 2}
    found = features.maps_of("VGG19", "block4_pool", weights, rows, folder, **options)
    network = networks.build("VGG19", weights=weights, input_pixels=PIXELS)
    part = networks.keras.Model(network.input, network.get_layer("block4_pool").output)
    ready = features.network_input("VGG19", rows, folder, input_pixels=PIXELS)
    expected = part.predict(ready, verbose=0)
    assert found.values.shape == expected.shape == (3, 2, 2, 512)
    assert all(isinstance(shard, np.memmap) for shard in found.values.shards)
    order = np.array([2, 0, 1, 2])
    assert np.allclose(found.values.take(order), expected[order], rtol=1e-4, atol=1e-5)
    note = folder / "features" / "VGG19-block4_pool" / "00000.json"
    assert json.loads(note.read_text())["image_id"] == ["001", "002"]


ON_JAX = """
import sys
from pathlib import Path
import numpy as np
from helpers import features, networks, training
folder = Path(sys.argv[1])
assert networks.keras.backend.backend() == "jax"
weights = networks.choose_weights([f"local:{folder}"], "VGG19")
rows = features.included(folder / "images.csv")
found = features.extract("VGG19", weights, rows, folder, input_pixels=32)
model = networks.keras.saving.load_model(folder / "m.keras", safe_mode=True)
ready = features.network_input("VGG19", rows, folder, input_pixels=32)
says = model.predict(ready, verbose=0)[:, 0]
heads = training.Heads((6,), np.ones((1, 512)), np.zeros(1), None, None)
network = networks.build("VGG19", weights=weights, input_pixels=32)
own = training.assemble(network, heads, seed=6)
training.save(own, folder / "own.keras", images=ready,
              expected=training.probabilities(heads, found.values)[0])
np.savez(folder / "on_jax.npz", features=found.values, says=says, mark=found.fingerprint)
"""


@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="jax is not installed")
def test_another_backend_gives_the_same_features_and_reads_the_same_model(folder):
    network = write_weights("VGG19", folder / networks.NETWORKS["VGG19"].weights_file)
    heads = training.Heads((6,), np.ones((1, 512)) / 9, np.zeros(1), None, None)
    training.assemble(network, heads, seed=6).save(folder / "m.keras")
    done = subprocess.run(
        [sys.executable, "-c", ON_JAX, str(folder)],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = np.load(folder / "on_jax.npz")
    rows = features.included(folder / "images.csv")
    weights = networks.choose_weights([f"local:{folder}"], "VGG19")
    own = features.extract("VGG19", weights, rows, folder, input_pixels=PIXELS)
    assert not own.reused and own.fingerprint != str(found["mark"]), "kept apart by backend"
    scale = np.linalg.norm(own.values, axis=1)
    assert np.all(np.linalg.norm(found["features"] - own.values, axis=1) <= 1e-4 * scale)
    assert np.ptp(found["says"]) > 1e-4, "the images differ"
    assert np.allclose(found["says"], training.probabilities(heads, own.values)[0], atol=1e-4)


def test_a_seed_names_other_random_weights_on_another_backend(monkeypatch):
    before = features._versions()
    monkeypatch.setattr(networks.keras.backend, "backend", lambda: "numpy")
    assert features._versions() != before
