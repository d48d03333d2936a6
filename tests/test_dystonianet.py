"""The 3-D network: shape, learning, repeatability, and what it is not allowed to see."""

import builtins
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers import accuracy, brain, brain_cache, dystonianet, shallow
from helpers.networks import keras
from helpers.phantom import brain as phantom

COMPONENTS = ("PCA + logistic regression",)
SMALL = {"filters": [4, 4, 8, 8], "dense_units": 8, "batch_size": 8, "learning_rate": 1e-3}


def cohort(n=96, seed=0, strength=2.0):
    rng = np.random.default_rng(seed)
    patient = np.tile([0, 1], n // 2)
    volumes = rng.standard_normal((n, 16, 16, 16, 1)).astype(np.float32)
    volumes[patient == 1, 4:10, 4:10, 4:10] += strength
    subjects = pd.DataFrame(
        {
            "subject_id": [f"s{k}" for k in range(n)],
            "group": np.where(patient == 1, "LD", "control"),
            "patient": patient,
            "split": np.repeat(["training", "optimisation", "validation"], n // 3),
        }
    )
    return subjects, volumes


def held_out_auc(predictions):
    part = predictions[predictions["split"] == "validation"]
    return accuracy.auc(part["label"], part["probability"])


def test_the_layers_are_the_published_ones():
    model = dystonianet.build((40, 48, 40), filters=[8, 16, 32, 64], dense_units=64)
    names = [type(layer).__name__ for layer in model.layers]
    published = [name for name in names if name in ("Conv3D", "MaxPooling3D", "Dense")]
    assert published == ["Conv3D", "MaxPooling3D"] * 4 + ["Dense"] * 2
    assert model.output_shape == (None, 1)


def test_too_small_a_volume_is_refused():
    with pytest.raises(ValueError, match="at least 16 voxels"):
        dystonianet.build((12, 20, 20), filters=[2, 2, 2, 2], dense_units=2)


def test_it_learns_what_is_there_and_nothing_from_noise():
    options = SMALL | {"learning_rate": 3e-3, "epochs": 20}
    subjects, volumes = cohort(strength=3.0)
    found = dystonianet.train_seeds(subjects, volumes, seeds=[1], **options)
    assert held_out_auc(found.predictions) > 0.9
    unrelated, noise = cohort(strength=0.0, seed=1)
    nothing = dystonianet.train_seeds(unrelated, noise, seeds=[1], **options)
    assert 0.15 < held_out_auc(nothing.predictions) < 0.85


def test_a_seed_repeats_and_another_differs():
    subjects, volumes = cohort(n=24)
    runs = [
        dystonianet.train_seeds(subjects, volumes, seeds=[seed], epochs=1, **SMALL).predictions
        for seed in (1, 1, 2)
    ]
    np.testing.assert_allclose(runs[0]["probability"], runs[1]["probability"], atol=1e-5)
    assert not np.allclose(runs[0]["probability"], runs[2]["probability"], atol=1e-3)


def test_the_kept_weights_are_those_of_the_best_epoch():
    subjects, volumes = cohort(n=48, strength=0.3)
    model, history = dystonianet.train(subjects, volumes, seed=3, epochs=5, **SMALL)
    rows = (subjects["split"] == "optimisation").to_numpy()
    p, y = dystonianet.predict(model, volumes[rows]), subjects.loc[rows, "patient"].to_numpy()
    loss = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
    assert history["kept"].sum() == 1
    assert loss == pytest.approx(history["optimisation_loss"].min(), rel=1e-3)


def test_validation_subjects_do_not_reach_the_training():
    subjects, volumes = cohort(n=24)
    changed = volumes.copy()
    changed[(subjects["split"] == "validation").to_numpy()] = 9
    one, _ = dystonianet.train(subjects, volumes, seed=1, epochs=1, **SMALL)
    two, _ = dystonianet.train(subjects, changed, seed=1, epochs=1, **SMALL)
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_set_without_controls_is_refused():
    subjects, volumes = cohort(n=24)
    patients = (subjects["patient"] == 1).to_numpy()
    with pytest.raises(ValueError, match="patients and controls"):
        dystonianet.train(subjects[patients], volumes[patients], seed=1, epochs=1, **SMALL)


def test_shallow_learners_find_a_plain_difference():
    subjects, volumes = cohort()
    found = shallow.baselines(subjects, volumes, names=COMPONENTS).predictions
    assert held_out_auc(found) > 0.9


def test_shuffled_subjects_keep_counts_and_held_out_labels():
    subjects, _ = cohort()
    mixed = brain.shuffled(subjects, seed=1)
    held = subjects["split"] == "validation"
    assert (mixed.loc[held, "patient"] == subjects.loc[held, "patient"]).all()
    assert (mixed["patient"] != subjects["patient"]).any()
    sums = [t.groupby("split")["patient"].sum().to_dict() for t in (subjects, mixed)]
    assert sums[0] == sums[1]


def test_no_model_input_reads_the_truth(tmp_path, monkeypatch):
    cohort_folder = tmp_path / "cohort" / "brain"
    sizes = {"subject_fraction": 0.01, "brain_voxel_mm": 8.0, "effect_d": 0.5, "exaggerated_d": 2.0}
    sizes["brain_pose"] = "registered"
    monkeypatch.setattr(phantom, "CALIBRATION_SUBJECTS", 4)
    profile = SimpleNamespace(name="x", seed=1, cohort=SimpleNamespace(**sizes))
    phantom.write_cohort(profile, cohort_folder, processes=1)
    (cohort_folder / "truth").rename(tmp_path / "locked")
    opened, plain = [], builtins.open

    def noting(file, *args, **kwargs):
        opened.append(str(file))
        return plain(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", noting)
    subjects = brain.read_subjects(cohort_folder / "subjects.csv")
    volumes = brain.load(subjects, tmp_path, voxel_mm=8.0)
    dystonianet.train_seeds(subjects, volumes, seeds=[1], epochs=1, **SMALL)
    shallow.baselines(subjects, volumes, names=COMPONENTS)
    assert not any("truth" in name or "locked" in name for name in opened)


class Killed(Exception):
    pass


def killed_in(epoch, monkeypatch, run):
    """Run a training that stops in the middle of an epoch, counted from 1."""
    plain, steps = keras.Model.train_on_batch, []

    def step(self, *args, **kwargs):
        steps.append(1)
        if len(steps) == 4 * (epoch - 1) + 3:
            raise Killed
        return plain(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(keras.Model, "train_on_batch", step)
        with pytest.raises(Killed):
            run()
    return len(steps)


def test_a_killed_training_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    subjects, volumes = cohort(strength=0.3)
    options = SMALL | {"epochs": 4, "seed": 3, "dropout": 0.3}
    whole, losses = dystonianet.train(subjects, volumes, **options)
    file = tmp_path / "3.npz"

    def run():
        return dystonianet.train(subjects, volumes, checkpoint=file, **options)

    killed_in(3, monkeypatch, run)
    assert file.is_file() and not list(tmp_path.glob(".*"))
    again, found = run()
    pd.testing.assert_frame_equal(found, losses, check_exact=True)
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_ended_training_is_read_back_and_only_if_nothing_changed(tmp_path, monkeypatch):
    subjects, volumes = cohort(n=24)
    options = SMALL | {"epochs": 2, "seed": 1, "checkpoint": tmp_path / "1.npz"}
    one, _ = dystonianet.train(subjects, volumes, **options)
    steps = []
    plain = keras.Model.train_on_batch

    def step(self, *args, **kwargs):
        steps.append(1)
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(keras.Model, "train_on_batch", step)
    two, history = dystonianet.train(subjects, volumes, **options)
    assert not steps and len(history) == 2
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    changed = volumes.copy()
    changed[0, 0, 0, 0] += 1
    for scans, change in ((volumes, {"learning_rate": 2e-3}), (changed, {}), (volumes, {})):
        steps.clear()
        dystonianet.train(subjects, scans, **options | change)
        assert len(steps) == 2, "the checkpoint of another training was used"


def test_a_damaged_checkpoint_is_not_used(tmp_path):
    subjects, volumes = cohort(n=24)
    file = tmp_path / "1.npz"
    options = SMALL | {"epochs": 2, "seed": 1, "checkpoint": file}
    one, _ = dystonianet.train(subjects, volumes, **options)
    content = file.read_bytes()
    half = len(content) // 2
    flipped = bytes([content[half] ^ 255])
    for damaged in (content[:half], b"", content[:half] + flipped + content[half + 1 :]):
        file.write_bytes(damaged)
        two, history = dystonianet.train(subjects, volumes, **options)
        assert len(history) == 2
        for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_training_takes_the_steps_of_keras_fit():
    subjects, volumes = cohort()
    options = {"epochs": 3, "batch_size": 8, "learning_rate": 1e-3}
    sizes = {"filters": [4, 4, 8, 8], "dense_units": 8}
    ours, history = dystonianet.train(subjects, volumes, seed=5, **options, **sizes)
    keras.utils.set_random_seed(5)
    plain = dystonianet.build((16, 16, 16), **sizes)
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, 3 * 4)
    plain.compile(keras.optimizers.Adam(schedule), "binary_crossentropy")
    train, tune = ((subjects["split"] == name).to_numpy() for name in ("training", "optimisation"))
    labels = subjects["patient"].to_numpy(np.float32)
    found, kept = [], []
    for epoch in range(3):
        order = np.random.default_rng((5, epoch)).permutation(32)
        fitted = plain.fit(
            *(volumes[train][order], labels[train][order]),
            validation_data=(volumes[tune], labels[tune]),
            batch_size=8,
            shuffle=False,
            verbose=0,
        )
        found.append((fitted.history["loss"][0], fitted.history["val_loss"][0]))
        kept.append(plain.get_weights())
    both = history[["training_loss", "optimisation_loss"]].to_numpy()
    np.testing.assert_allclose(both, found, atol=1e-5)
    best = kept[np.array(found)[:, 1].argmin()]
    for a, b in zip(ours.get_weights(), best, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_training_stops_when_the_optimisation_loss_falls_no_more():
    subjects, volumes = cohort(strength=0.0)
    options = SMALL | {"learning_rate": 1e-2}
    _, history = dystonianet.train(subjects, volumes, seed=1, epochs=30, patience=2, **options)
    best = int(history["kept"].idxmax())
    assert len(history) == best + 3 < 30


def test_every_size_of_the_network_is_a_parameter():
    def names(**options):
        sizes = {"filters": [2, 2, 2, 2], "dense_units": 3}
        model = dystonianet.build((20, 16, 16), **sizes | options)
        return model, [type(layer).__name__ for layer in model.layers]

    assert "BatchNormalization" in names()[1] and "Dropout" not in names()[1]
    assert "BatchNormalization" not in names(batch_norm=False)[1]
    assert "Dropout" in names(dropout=0.5)[1]
    pooled, kinds = names(global_pooling=True)
    assert "Flatten" not in kinds and pooled.get_layer("features").kernel.shape == (2, 3)
    assert names(kernel=5)[0].get_layer("conv2").kernel.shape[:3] == (5, 5, 5)
    with pytest.raises(ValueError, match="at least 81 voxels a side for pooling by 3"):
        names(pooling=3)


def on_disk(folder, volumes):
    files = [folder / f"{k}.npy" for k in range(len(volumes))]
    for file, volume in zip(files, volumes, strict=True):
        np.save(file, volume[..., 0])
    return brain_cache.Volumes(files)


def test_scans_on_disk_train_the_same_network(tmp_path):
    subjects, volumes = cohort(n=24)
    one, _ = dystonianet.train(subjects, volumes, seed=1, epochs=1, **SMALL)
    stored = on_disk(tmp_path, volumes)
    two, _ = dystonianet.train(subjects, stored, seed=1, epochs=1, **SMALL)
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    expected, got = dystonianet.predict(one, volumes), dystonianet.predict(two, stored)
    np.testing.assert_array_equal(expected, got)


def test_no_more_than_a_batch_of_scans_is_read_at_once(tmp_path, monkeypatch):
    subjects, volumes = cohort(n=96)
    stored, asked = on_disk(tmp_path, volumes), []
    plain = brain_cache.Volumes.__getitem__

    def noting(self, key):
        found = plain(self, key)
        asked.append(len(found))
        return found

    monkeypatch.setattr(brain_cache.Volumes, "__getitem__", noting)
    model, _ = dystonianet.train(subjects, stored, seed=1, epochs=1, **SMALL)
    dystonianet.predict(model, stored)
    assert max(asked) == SMALL["batch_size"] and sum(asked) == 32 + 32 + 96
