"""The 3-D network: shape, learning, repeatability, and what it is not allowed to see."""

import builtins
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers import accuracy, brain, dystonianet, shallow
from helpers.phantom import brain as phantom

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


def test_feature_maps_have_the_scans_grid_and_run_from_0_to_1():
    _, volumes = cohort(n=6)
    model = dystonianet.build((16, 16, 16), filters=[4, 4, 8, 8], dense_units=4)
    maps = dystonianet.feature_maps(model, volumes[:3])
    assert list(maps) == list(dystonianet.CONVOLUTIONS)
    for layer in maps.values():
        assert layer.shape == (3, 16, 16, 16)
        assert layer.min() >= 0 and layer.max() <= 1 + 1e-6
    assert maps["conv1"][0].max() == pytest.approx(1, abs=1e-6)


def test_feature_maps_show_where_a_scan_differs_from_nothing():
    model = dystonianet.build((16, 16, 16), filters=[4, 4, 8, 8], dense_units=4)
    scan = np.zeros((1, 16, 16, 16, 1), np.float32)
    scan[0, 2:5, 10:13, 6:9] = 1
    found = dystonianet.feature_maps(model, scan)["conv1"][0]
    where = np.unravel_index(found.argmax(), found.shape)
    assert all(lo - 1 <= w <= hi for w, lo, hi in zip(where, (2, 10, 6), (5, 13, 9), strict=True))


def test_shallow_learners_find_a_plain_difference():
    subjects, volumes = cohort()
    assert held_out_auc(shallow.pca_logistic(subjects, volumes)) > 0.9


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
    shallow.pca_logistic(subjects, volumes)
    assert not any("truth" in name or "locked" in name for name in opened)
