"""Simulated legs know nothing of diseases, and training on them repeats, resumes and is found."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from helpers import ablation, networks, paths, pipeline, pretext, pretraining, splits
from helpers.display import pretraining as display
from helpers.networks import keras
from helpers.phantom import cases, fat, texture, thigh

NAME, KIND = "DenseNet121", "simulated:short"
SMALL = pretext.Recipe(4, 64, {"default": 32}, {"default": 4}, 4, {"default": 1e-3})


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PAPER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def small(monkeypatch):
    """A tiny network of Keras's own kind, so that training takes seconds."""

    def tiny(name, *, weights, input_pixels):
        keras.utils.set_random_seed(weights.seed or 0)
        inputs = keras.Input((input_pixels, input_pixels, 3))
        x = keras.layers.Conv2D(8, 3, strides=2)(inputs)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x)
        return keras.Model(inputs, x)

    monkeypatch.setattr(networks, "build", tiny)
    monkeypatch.setattr(pretraining, "CHECKPOINT_STEPS", 2)
    monkeypatch.setitem(pretext.RECIPES, KIND, SMALL)
    legs = pretext.draw_legs(range(4), seed=1, matrix=64, pixels=32)
    monkeypatch.setattr(pretext, "legs", lambda *a, **k: legs)


def weights_of(file) -> np.ndarray:
    model = networks.build(
        NAME, weights=networks.Weights("random", None, 5, "", ""), input_pixels=32
    )
    model.load_weights(file)
    return np.concatenate([w.numpy().ravel() for w in model.weights])


# --- no disease in the legs


def test_no_table_of_diseases_is_read(monkeypatch):
    def poisoned(*_args, **_kwargs):
        raise AssertionError("a table of diseases was read")

    asked = []
    real = paths.package_data
    monkeypatch.setattr(paths, "package_data", lambda name: asked.append(name) or real(name))
    for module, name in ((fat, "atlas"), (fat, "coefficients"), (texture, "probabilities")):
        monkeypatch.setattr(module, name, poisoned)
    for module, name in ((fat, "draw_logits"), (fat, "draw_oedema"), (texture, "draw_pattern")):
        monkeypatch.setattr(module, name, poisoned)
    monkeypatch.setattr(cases, "advance", poisoned)
    assert len(pretext.draw_legs(range(2), seed=3, matrix=64, pixels=32)) == 4
    assert set(asked) <= {"thigh_geometry.csv", "thigh_facts.csv"}


@pytest.fixture(scope="module")
def fractions():
    """Fat fractions of 1,000 people: person, muscle, side."""
    people = [pretext.draw_person(seed=11, number=n)[0] for n in range(1000)]
    return fat.bounded(np.stack([p.logits.to_numpy() for p in people]))


def test_all_muscles_and_sides_have_one_distribution(fractions):
    means = fractions.mean(axis=0)
    error = fractions.std() / np.sqrt(len(fractions))
    assert np.abs(means - means.mean()).max() < 4.5 * error


def test_muscles_and_sides_are_independent_of_each_other(fractions):
    found = np.corrcoef(fractions.reshape(len(fractions), -1), rowvar=False)
    off = found[~np.eye(len(found), dtype=bool)]
    # 276 correlations with a standard error of 1/sqrt(n) each.
    assert np.abs(off).max() < 4.5 / np.sqrt(len(fractions))


def test_no_disease_has_a_pattern_that_the_legs_prefer(fractions):
    """The legs' projections on each disease's mean pattern are those of shuffled muscles."""
    legs = fractions.transpose(0, 2, 1).reshape(-1, len(fat.MUSCLES))
    centred = legs - legs.mean()
    for disease, rows in fat.atlas().groupby(level="diagnosis"):
        pattern = rows.droplevel(0).loc[list(fat.MUSCLES)].fat_fraction_mean.to_numpy()
        pattern = (pattern - pattern.mean()) / max(pattern.std(), 1e-12)
        along = centred @ pattern / len(pattern)
        expected = centred.std() * np.linalg.norm(pattern) / len(pattern)
        assert abs(along.mean()) < 4.5 * expected / np.sqrt(len(legs)), disease
        assert abs(along.std() - expected) <= 0.05 * expected, disease


def test_the_test_of_independence_can_fail():
    """A cohort's own fat fractions are far from independent."""
    rng = np.random.default_rng(0)
    drawn = [fat.draw_logits("DMD", advance=0.0, rng=rng)[0].to_numpy() for _ in range(300)]
    found = np.corrcoef(fat.bounded(np.stack(drawn)).reshape(300, -1), rowvar=False)
    assert np.abs(found[~np.eye(len(found), dtype=bool)]).max() > 4.5 / np.sqrt(300)


def test_fat_says_nothing_about_texture_or_body():
    people = [pretext.draw_person(seed=12, number=n) for n in range(600)]
    mean = np.array([fat.bounded(p.logits.to_numpy()).mean() for p, _ in people])
    about = np.array(
        [
            (texture.GROUND.index(p.pattern.ground), p.body.subcutaneous_mm, p.body.area_cm2, s)
            for p, s in people
        ]
    )
    for column in about.T:
        assert abs(np.corrcoef(mean, column)[0, 1]) < 4.5 / np.sqrt(len(people))


def test_nobody_has_a_diagnosis_sex_or_age():
    person, _ = pretext.draw_person(seed=1, number=0)
    assert set(person.row) == {"field_strength_tesla"}


def test_no_stream_of_a_cohort_is_used():
    """Whatever the seeds, a person's stream begins with a key that cohorts do not use."""
    cohort = {0, 1, 2, 3}
    assert pretext.SPAWN_KEY not in cohort
    case = thigh.draw_case(thigh.validation_recipes(3, 0.0, seed=7)[0]["row"], contact=(), seed=7)
    same_number = int(case.row["case_id"].rsplit("-", 1)[1])
    mine = pretext.stream(7, same_number)
    theirs = np.random.SeedSequence(7, spawn_key=(1, same_number))
    assert mine.generate_state(8).tolist() != theirs.generate_state(8).tolist()
    keys = {tuple(s.spawn_key) for s in (mine, *mine.spawn(2))}
    assert {key[0] for key in keys} == {pretext.SPAWN_KEY}
    assert pretraining.STEP_KEY[0] == pretext.SPAWN_KEY


def test_the_cohorts_use_the_keys_this_relies_on():
    source = "".join(
        file.read_text() for file in (paths.root() / "src/helpers/phantom").glob("*.py")
    )
    used = {part.split(",")[0].rstrip(")") for part in source.split("spawn_key=(")[1:]}
    assert used <= {"0", "1", "2", "3"}


# --- the legs


def test_legs_come_in_pairs_with_what_is_to_be_told():
    legs = pretext.draw_legs(range(3), seed=2, matrix=128, pixels=48)
    assert legs.images.shape == (6, 48, 48) and legs.images.dtype == np.uint8
    assert legs.images.max() > 200
    assert legs.side.tolist() == [0, 1] * 3
    assert legs.fat.shape == (6, 12)
    assert not np.allclose(legs.fat[0], legs.fat[1]), "each leg has fat of its own"
    person, _ = pretext.draw_person(seed=2, number=1)
    assert np.allclose(legs.fat[3], fat.bounded(person.logits["left"].to_numpy()))


def test_the_image_holds_the_fat_it_is_said_to_hold():
    """Muscle signal rises with the fat fraction: the targets belong to their images."""
    legs = pretext.draw_legs(range(24), seed=4, matrix=96, pixels=48)
    middle = legs.images[:, 14:34, 14:34].mean(axis=(1, 2))
    assert np.corrcoef(middle, legs.fat.mean(axis=1))[0, 1] > 0.4


def test_shards_are_kept_and_a_damaged_one_is_made_again(own_cache):
    recipe = dataclasses.replace(SMALL, slices=3)
    first = pretext.legs(recipe, seed=1, pixels=32, processes=1, say=lambda _: None)
    file = next(own_cache.glob("legs-32-*/00000.npz"))
    made = file.stat().st_mtime_ns
    pretext.legs(recipe, seed=1, pixels=32, processes=1, say=lambda _: None)
    assert file.stat().st_mtime_ns == made
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    again = pretext.legs(recipe, seed=1, pixels=32, processes=1, say=lambda _: None)
    assert np.array_equal(first.images, again.images) and np.array_equal(first.fat, again.fat)


def test_held_out_people_are_not_learnt_from():
    legs = pretext.draw_legs(range(4), seed=1, matrix=64, pixels=32)
    learns, held = pretraining.split(legs)
    assert (len(learns), len(held)) == (6, 2)


def test_a_mirrored_leg_changes_its_side():
    legs = pretext.draw_legs(range(4), seed=1, matrix=64, pixels=32)
    recipe = dataclasses.replace(SMALL, batch=8)
    sides = [
        pretraining._batch(legs, NAME, recipe, 0, step)[1]["side"].mean() for step in range(30)
    ]
    # Half are left before mirroring, and half of either are mirrored.
    assert 0.4 < np.mean(sides) < 0.6 and np.std(sides) > 0


# --- training


def test_training_repeats_bit_for_bit(small, monkeypatch, tmp_path):
    once = weights_of(pretraining.make(KIND, NAME, seed=1, seconds=60, say=lambda _: None))
    monkeypatch.setenv("PAPER_CACHE", str(tmp_path / "other"))
    again = weights_of(pretraining.make(KIND, NAME, seed=1, seconds=60, say=lambda _: None))
    assert np.array_equal(once, again)
    other = weights_of(pretraining.make(KIND, NAME, seed=2, seconds=60, say=lambda _: None))
    assert not np.array_equal(once, other)


def test_a_killed_run_goes_on_and_gives_the_same(small, monkeypatch, tmp_path, own_cache):
    whole = weights_of(pretraining.make(KIND, NAME, seed=1, seconds=60, say=lambda _: None))
    monkeypatch.setenv("PAPER_CACHE", str(tmp_path / "killed"))
    real, calls = pretraining._batch, []

    def killed(*args):
        calls.append(args[-1])
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(pretraining, "_batch", killed)
    with pytest.raises(KeyboardInterrupt):
        pretraining.make(KIND, NAME, seed=1, seconds=60, say=lambda _: None)
    assert not pretext.weights_file(KIND, NAME, seed=1).exists()
    resumed = weights_of(pretraining.make(KIND, NAME, seed=1, seconds=60, say=lambda _: None))
    assert calls == [0, 1, 2, 3, 2, 3], "goes on at the checkpoint after two steps"
    assert np.array_equal(whole, resumed)
    assert not list((tmp_path / "killed").glob("*checkpoint*"))


def test_a_damaged_checkpoint_is_dropped(small, own_cache):
    file = pretext.weights_file(KIND, NAME, seed=1)
    broken = file.with_name(file.name.replace(".weights.h5", ".checkpoint.npz"))
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no model")
    pretraining.make(KIND, NAME, seed=1, seconds=60, say=lambda _: None)
    assert file.is_file() and not broken.exists()


def test_the_limit_of_time_stops_and_is_told(small):
    lines = []
    file = pretraining.make(KIND, NAME, seed=1, seconds=0, say=lines.append)
    assert "1 of 4 steps" in lines[-1] and "stopped by the limit of time" in lines[-1]
    assert "stopped by the limit" in pretraining.told(file)


def test_more_time_goes_on_where_the_limit_stopped(small, monkeypatch, tmp_path):
    """One step, then the rest: as if nothing had stopped it; the same limit changes nothing."""
    whole = weights_of(pretraining.make(KIND, NAME, seed=1, seconds=60, say=lambda _: None))
    monkeypatch.setenv("PAPER_CACHE", str(tmp_path / "stopped"))
    file = pretraining.make(KIND, NAME, seed=1, seconds=0, say=lambda _: None)
    assert pretext.note(file)["steps"] == 1
    assert (
        "1 of 4 steps: the limit of time" in networks.choose_weights([KIND], NAME, seed=1).message
    )
    assert not np.array_equal(weights_of(file), whole)
    assert not pretext.wants_time(file, 0) and pretext.wants_time(file, 60)
    pretraining.make(KIND, NAME, seed=1, seconds=60, say=lambda _: None)
    assert np.array_equal(weights_of(file), whole)
    assert not pretext.wants_time(file, 10**6)
    assert "limit" not in networks.choose_weights([KIND], NAME, seed=1).message


def test_a_limit_that_passes_during_a_look_loses_nothing(small, monkeypatch):
    """The clock is asked once a step: what it stops is kept, however long the look takes."""
    seconds = iter([0.0, 0.0, *[100.0] * 20])
    monkeypatch.setattr(pretraining, "_clocks", lambda: (next(seconds), 0.0))
    file = pretraining.make(KIND, NAME, seed=1, seconds=50, say=lambda _: None)
    assert pretext.note(file)["steps"] == 2
    assert list(file.parent.glob("*.checkpoint.npz"))


def test_no_time_left_after_simulating_makes_no_weights(small):
    lines = []
    made = pretraining.make_all(KIND, [NAME, "VGG19"], seed=1, seconds=0, say=lines.append)
    assert made == {} and "no weights for VGG19, DenseNet121" in lines[0]
    assert not pretext.weights_file(KIND, NAME, seed=1).exists()


def test_a_broken_file_of_simulated_weights_is_told(small):
    file = pretext.weights_file(KIND, NAME, seed=1)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no weights")
    chosen = networks.choose_weights([KIND], NAME, seed=1)
    with pytest.raises(networks.WeightsError, match="Delete it; what made it"):
        networks._load(keras.Sequential([keras.Input((4,))]), chosen, NAME)


def test_the_curve_is_kept(small):
    pretraining.make(KIND, NAME, seed=1, seconds=60, say=lambda _: None)
    found = pretraining.curve(KIND, [NAME, "VGG19"], seed=1)
    assert set(found["network"]) == {NAME} and found["step"].iloc[-1] == 4
    assert np.isfinite(found.drop(columns="network").to_numpy(dtype=float)).all()


@pytest.mark.parametrize("frozen", [True, False])
def test_averages_of_batch_normalisation_are_those_of_simulated_legs(frozen):
    inputs = keras.Input((32, 32, 3))
    layer = keras.layers.BatchNormalization()
    network = keras.Model(inputs, layer(inputs))
    network.trainable = not frozen
    legs = pretext.draw_legs(range(4), seed=1, matrix=64, pixels=32)
    pretraining.calibrate(network, legs, "InceptionV3")
    values = networks.preprocess(np.repeat(legs.images[..., None], 3, axis=-1), "InceptionV3")
    assert np.allclose(layer.moving_mean.numpy(), values.mean(axis=(0, 1, 2)), atol=1e-4)
    assert np.allclose(layer.moving_variance.numpy(), values.var(axis=(0, 1, 2)), atol=1e-3)
    assert layer.momentum == 0.99 and layer.trainable is not frozen


# --- as a kind of weights


def test_simulated_weights_are_chosen_where_they_are(small, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    kinds = ["imagenet", KIND, "random"]
    assert networks.choose_weights(kinds, NAME, seed=1).kind == "random"
    file = pretraining.make(KIND, NAME, seed=1, seconds=60, say=lambda _: None)
    chosen = networks.choose_weights(kinds, NAME, seed=1)
    assert (chosen.kind, chosen.file) == ("simulated", file)
    assert "imagenet: not in Keras's cache" in chosen.message
    assert networks.choose_weights(kinds, NAME, seed=2).kind == "random"


def test_the_fingerprint_follows_recipe_seed_and_network(monkeypatch):
    first = pretext.fingerprint(KIND, NAME, seed=1)
    assert first == pretext.fingerprint(KIND, NAME, seed=1)
    assert first != pretext.fingerprint(KIND, NAME, seed=2)
    assert first != pretext.fingerprint(KIND, "VGG19", seed=1)
    assert first != pretext.fingerprint("simulated", NAME, seed=1)
    monkeypatch.setattr(pretext, "code_of_data", lambda: "other code")
    assert first != pretext.fingerprint(KIND, NAME, seed=1)


@pytest.mark.parametrize(("seconds", "kinds"), [(0, ["simulated", "random"]), (9, ["random"])])
def test_nothing_is_made_where_the_profile_does_not_ask(seconds, kinds, monkeypatch):
    from helpers import parameters

    profile = parameters.load("tiny")
    machine = profile.machine.model_copy(update={"pretraining_seconds": seconds})
    backbones = profile.backbones.model_copy(update={"weights": kinds})
    asked = profile.model_copy(update={"machine": machine, "backbones": backbones})
    monkeypatch.setattr(pretraining, "make_all", lambda *a, **k: pytest.fail("made"))
    pipeline.fetch_weights(asked)


def test_what_is_preferred_and_missing_is_made(monkeypatch, tmp_path):
    from helpers import parameters

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    profile = parameters.load("tiny")
    machine = profile.machine.model_copy(update={"pretraining_seconds": 9})
    backbones = profile.backbones.model_copy(update={"weights": ["imagenet", KIND, "random"]})
    asked = profile.model_copy(update={"machine": machine, "backbones": backbones})
    calls = []
    monkeypatch.setattr(pretraining, "make_all", lambda *a, **k: calls.append((a, k["seconds"])))
    pipeline.fetch_weights(asked)
    assert calls == [((KIND, ["VGG19", "ResNet50"]), 9)]


def test_drawing_legs_needs_no_keras():
    code = "import sys; from helpers import pretext; sys.exit('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, check=False)
    assert done.returncode == 0


# --- what the weights are worth


@pytest.fixture
def labelled():
    rng = np.random.default_rng(0)
    people = pd.DataFrame({"case_id": [f"p{n:02d}" for n in range(40)]})
    people["dystrophinopathy"] = np.arange(40) % 2
    people["diagnosis"] = np.where(people["dystrophinopathy"] == 1, "DMD", "FSHD")
    table = people.loc[np.repeat(np.arange(40), 2)].reset_index(drop=True)
    table["label"], table["image_id"] = table["dystrophinopathy"], np.arange(80).astype(str)
    noise = rng.standard_normal((80, 4))
    found = {
        "VGG19, simulated": noise + 3 * table["label"].to_numpy()[:, None],
        "VGG19, random": noise,
        "VGG19, random, calibrated": noise,
    }
    return found, table, splits.deal(table, people, repeats=2, seed=0)


def test_the_ablation_pairs_divisions_with_random_weights(labelled):
    found, table, part = labelled
    areas = ablation.table(found, table, part, seed=0).set_index("weights")
    assert set(areas.index) == {"simulated", "random", "random, calibrated", "none"}
    assert areas.loc["none", "network"] == splits.CHANCE and areas.loc["none", "mean"] < 0.75
    limits = areas.loc["random", ["pooled_low", "pooled", "pooled_high"]]
    assert limits.is_monotonic_increasing and areas.loc["simulated", "pooled"] > 0.9
    assert np.isnan(areas.loc["none", "pooled"]), "shuffled diagnoses are not the people's"
    assert areas.loc["simulated", "mean"] > 0.9 > areas.loc["random", "mean"]
    assert areas.loc["simulated", "gain_low"] > 0
    assert areas.loc[["random", "random, calibrated"], "gain"].abs().max() == 0
    assert areas.loc["simulated", "gain"] == pytest.approx(
        areas.loc["simulated", "mean"] - areas.loc["random", "mean"]
    )


def test_only_weights_of_this_machine_are_compared(small, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    kinds = ["imagenet", KIND, "random"]
    assert list(ablation.weights_here(kinds, NAME, seed=1)) == ["random"]
    pretraining.make(KIND, NAME, seed=1, seconds=60, say=lambda _: None)
    assert list(ablation.weights_here(kinds, NAME, seed=1)) == ["simulated", "random"]


def test_a_long_run_is_shown_for_both_sets_of_people(labelled):
    found, table, part = labelled
    areas = ablation.table(found | {"Age and sex": found["VGG19, random"]}, table, part, seed=0)
    both = [areas.assign(people=people) for people in (ablation.CHOOSING, ablation.EVERYONE)]
    shown = ablation.readable(pd.concat(both)).set_index(["Network", "Weights"])
    assert shown.loc[("VGG19", "random"), "Difference to random"] == ""
    assert shown.loc[("Age and sex", "none"), "Difference to random"] == ""
    assert shown.loc[("VGG19", "simulated"), "Difference to random"].startswith("+0.")
    pooled = areas.set_index(["network", "weights"]).loc[("VGG19", "random"), "pooled"]
    assert shown.loc[("VGG19", "random"), "All people"].startswith(f"{pooled:.2f} (")
    assert shown.loc[(splits.CHANCE, "none"), "All people"] == ""


def test_the_committed_long_run_says_what_it_was_made_with():
    for name in ("weights_ablation", "weights_learning"):
        rows = ablation.long_run(name)
        assert rows[["date", "phantom_version", "settings", "network"]].notna().all(axis=None)
        assert rows["present"].dtype == bool
    told = ablation.caption(ablation.long_run())
    assert told.startswith("long run of 20") and "phantom version" in told


def test_other_settings_are_told(monkeypatch):
    before = ablation.settings()
    monkeypatch.setitem(pretext.SPECIFICATION, "gap_mm", [0.0, 1.0])
    assert ablation.settings() != before
    assert not ablation.long_run()["present"].any()


def test_the_figure_shows_every_network_and_kind(labelled):
    found, table, part = labelled
    steps = {"network": "VGG19", "run": "simulated", "step": [1, 5], "fat_error": [0.3, 0.2]}
    curves = pd.DataFrame(steps).assign(fat_error_of_mean=0.25)
    drawn = display.worth_of_weights(ablation.table(found, table, part, seed=0), curves)
    assert [t.get_text() for t in drawn.legends[0].get_texts()] == [
        "simulated",
        "random",
        "random, calibrated",
    ]
    left, right = drawn.axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["VGG19"]
    assert "VGG19" in [t.get_text() for t in right.get_legend().get_texts()]


def test_the_compiled_step_is_adam(small):
    """Two steps agree with Adam written down (Kingma and Ba 2015, algorithm 1), clipped at 1."""
    learner = pretraining.Learner(NAME, SMALL, seed=1)
    legs = pretext.draw_legs(range(4), seed=1, matrix=64, pixels=32)
    values = [v.numpy().astype(float) for v in learner._variables]
    means, squares = ([np.zeros_like(v) for v in values] for _ in range(2))
    for step in (1, 2):
        batch = pretraining._batch(legs, NAME, SMALL, 0, step)
        with pretraining.tf.GradientTape() as tape:
            out = learner.model(batch[0], training=True)
            loss = pretraining._loss(out, batch[1])
        gradients = [g.numpy().astype(float) for g in tape.gradient(loss, learner._variables)]
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        rate = pretraining.rate_of_step(step, 4, 1e-3)
        for k, gradient in enumerate(g / max(norm, 1) for g in gradients):
            means[k] = 0.9 * means[k] + 0.1 * gradient
            squares[k] = 0.999 * squares[k] + 0.001 * gradient**2
            size = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            values[k] = values[k] - size * means[k] / (np.sqrt(squares[k]) + 1e-7)
        assert learner.learn(*batch) == pytest.approx(float(loss), rel=1e-5)
    for expected, found, square in zip(values, learner._variables, squares, strict=True):
        # A bias before batch normalisation has a gradient of rounding alone, and Adam its sign.
        told = square > 1e-14
        assert np.allclose(found.numpy()[told], expected[told], atol=2e-5)
    assert sum((square > 1e-14).sum() for square in squares) > 500
