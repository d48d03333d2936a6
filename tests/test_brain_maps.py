"""Maps of the brain network, and their scores, against answers known beforehand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers import brain, brain_maps, dystonianet, head_box
from helpers.brain_maps import KINDS, Space, Truth
from helpers.networks import keras
from helpers.phantom import brain_template

AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])
AFFINE[:3, 3] = -78, -111, -72
SHAPE = (16, 18, 16)
CENTRES = np.array([(4, 4, 4), (11, 5, 4), (4, 12, 11), (11, 13, 11)])


@pytest.fixture(scope="module")
def truth():
    """Four balls of radius 2 voxels, far apart."""
    grid = np.moveaxis(np.indices(SHAPE), 0, -1)
    labels = np.zeros(SHAPE, np.uint8)
    for number, centre in enumerate(CENTRES, start=1):
        labels[np.linalg.norm(grid - centre, axis=-1) <= 2] = number
    centres = CENTRES * 4.0 + AFFINE[:3, 3]
    return Truth(labels, 1.0 * (labels > 0), AFFINE, ("a", "b", "c", "d"), centres)


@pytest.fixture(scope="module")
def mask():
    return np.ones(SHAPE, bool)


@pytest.fixture(scope="module")
def network():
    """Its batch normalisation knows means of its own, as after a training."""
    keras.utils.set_random_seed(4)
    model = dystonianet.build(SHAPE, filters=[3, 4, 4, 4], dense_units=5)
    rng = np.random.default_rng(4)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def scans():
    return np.random.default_rng(0).normal(size=(5, *SHAPE, 1)).astype(np.float32)


PATIENT = np.array([1, 0, 1, 1, 0], bool)


def linear(weights, bias=0.0):
    """A network that is nothing but one weight a voxel."""
    scan = keras.Input((*weights.shape, 1))
    head = keras.layers.Dense(1, activation="sigmoid")
    model = keras.Model(scan, head(keras.layers.Flatten()(scan)))
    head.set_weights([weights.reshape(-1, 1), np.array([bias])])
    return model


def test_the_planted_places_themselves_score_best(truth, mask):
    there = truth.labels > 0
    found = brain_maps.score(1.0 * there, mask, truth, top_share=there.mean())
    assert found["dice"] == 1 and found["clusters"] == len(CENTRES)
    assert found["enrichment"] == pytest.approx(1 / there.mean())
    assert found["distance_mm"] == pytest.approx(0, abs=1e-9)


def test_a_negative_effect_counts_as_a_positive_one(truth, mask):
    both = [brain_maps.score(sign * (truth.labels > 0), mask, truth) for sign in (1, -1)]
    assert both[0] == both[1]


def test_noise_scores_as_chance(truth, mask):
    rng = np.random.default_rng(1)
    found = pd.DataFrame([brain_maps.score(rng.normal(size=SHAPE), mask, truth) for _ in range(60)])
    error = 3 * found["enrichment"].std() / np.sqrt(len(found))
    assert abs(found["enrichment"].mean() - 1) < error < 0.2
    assert found["dice"].mean() == pytest.approx(found["dice_chance"].mean(), abs=0.02)


def test_a_blob_beside_the_truth_is_as_far_as_it_was_moved(truth, mask):
    moved = np.roll(truth.labels > 0, 2, axis=2)
    found = brain_maps.score(1.0 * moved, mask, truth, top_share=moved.mean())
    assert found["distance_mm"] == pytest.approx(8)
    assert 0 < found["dice"] < 0.6


@pytest.mark.parametrize("values", [np.zeros(SHAPE), np.full(SHAPE, np.nan)])
def test_a_map_that_says_nothing_has_no_score(truth, mask, values):
    found = brain_maps.score(values, mask, truth)
    assert np.isnan([found["enrichment"], found["dice"], found["distance_mm"]]).all()
    assert found["clusters"] == 0


def test_the_top_share_is_kept_exactly_and_only_inside():
    values = np.random.default_rng(0).normal(size=SHAPE)
    inside = np.indices(SHAPE)[0] < 8
    chosen = brain_maps.top(values, inside, share=0.05)
    assert chosen.sum() == round(0.05 * inside.sum()) and not (chosen & ~inside).any()
    assert np.abs(values[chosen]).min() >= np.abs(values[inside & ~chosen]).max()
    sparse = np.zeros(SHAPE)
    sparse[3, 3, 3] = 1
    assert brain_maps.top(sparse, inside, share=0.05).sum() == 1


def test_gradient_times_input_is_exact_for_a_linear_network(scans):
    weights = np.random.default_rng(2).normal(size=SHAPE)
    found = brain_maps.gradient_input(linear(weights, 3.0), scans, batch_size=2)
    assert np.allclose(found, np.abs(weights * scans[..., 0]).mean(axis=0), atol=1e-5)


def test_gradient_times_input_agrees_with_finite_differences(network, scans):
    found = brain_maps.gradient_input(network, scans[:2])
    for place in [(3, 4, 5), (8, 8, 8), (12, 2, 9)]:
        step = np.ones((*SHAPE, 1), np.float32)
        step[place] += 0.02
        up = dystonianet.predict(network, scans[:2] * step)
        step[place] -= 0.04
        down = dystonianet.predict(network, scans[:2] * step)
        slope = (np.log(up / (1 - up)) - np.log(down / (1 - down))) / 0.04
        assert found[place] == pytest.approx(np.abs(slope).mean(), rel=0.05, abs=2e-4)


def test_gradient_times_input_leaves_the_network_as_it_was(network, scans):
    before = [weight.copy() for weight in network.get_weights()]
    trainable = [layer.trainable for layer in network.layers]
    brain_maps.gradient_input(network, scans)
    assert all(np.array_equal(a, b) for a, b in zip(before, network.get_weights(), strict=True))
    assert network.trainable and trainable == [layer.trainable for layer in network.layers]


def test_occlusion_of_a_linear_network_gives_its_weights():
    """A scan of ones, voxel by voxel covered with zeros."""
    weights = np.random.default_rng(3).normal(size=(6, 5, 4))
    ones = np.ones((1, 6, 5, 4, 1), np.float32)
    found = brain_maps.occlusion(linear(weights, -2.0), ones, edge=1, cover=0 * ones[0])
    assert np.allclose(found, np.abs(weights), atol=1e-5)


def test_an_occluded_box_takes_away_the_sum_of_its_weights():
    weights = np.random.default_rng(3).normal(size=(6, 6, 7))
    scans = np.stack([np.ones((6, 6, 7, 1)), -3 * np.ones((6, 6, 7, 1))]).astype(np.float32)
    options = dict(edge=3, cover=0 * scans[0], batch_size=5)
    found = brain_maps.occlusion(linear(weights), scans, **options)
    # 1 and 3 times the weights: twice their sum in the mean.
    assert found[1, 1, 1] == pytest.approx(2 * abs(weights[:3, :3, :3].sum()), abs=1e-4)
    assert found[4, 4, 4] == pytest.approx(2 * abs(weights[3:, 3:, 3:6].sum()), abs=1e-4)


@pytest.mark.parametrize("edge", [1, 3, 4])
def test_occlusion_with_a_piece_of_the_first_layer_is_that_of_the_whole_network(
    monkeypatch, network, scans, edge
):
    options = dict(edge=edge, cover=scans.mean(axis=0), batch_size=64)
    corner = scans[:1] * 0 + options["cover"]
    corner[:, :8, :6, -5:] = scans[:1, :8, :6, -5:]
    quick = brain_maps.occlusion(network, corner, **options)
    monkeypatch.setattr(brain_maps, "_starts_with_pooled_convolution", lambda model: False)
    plain = brain_maps.occlusion(network, corner, **options)
    assert plain.max() > 1e-3
    assert np.allclose(quick, plain, atol=1e-5)


def test_mean_feature_maps_are_means_of_each_scans_own(network, scans):
    patients, controls = brain_maps.feature_maps(network, scans, PATIENT, batch_size=2)
    each = [brain_maps.feature_maps(network, scan[None], np.array([True]))[0] for scan in scans]
    for layer in dystonianet.CONVOLUTIONS:
        own = np.stack([one[layer] for one in each])
        assert own.shape == (5, *SHAPE) and own.min() >= 0 and own.max() <= 1
        assert np.allclose(patients[layer], own[PATIENT].mean(axis=0), atol=1e-5)
        assert np.allclose(controls[layer], own[~PATIENT].mean(axis=0), atol=1e-5)


def test_feature_maps_show_where_a_scan_differs_from_nothing(network):
    scan = np.zeros((1, *SHAPE, 1), np.float32)
    scan[0, 9:13, 4:8, 5:9] = 2.0
    maps, none = brain_maps.feature_maps(network, scan, np.array([True]))
    strongest = np.unravel_index(maps["conv1"].argmax(), SHAPE)
    assert all(
        low - 1 <= i <= high for i, low, high in zip(strongest, (9, 4, 5), (13, 8, 9), strict=True)
    )
    assert np.isnan(none["conv1"]).all()


def test_the_random_network_does_not_start_from_the_trained_ones_weights(scans):
    keras.utils.set_random_seed(3)
    trained = dystonianet.build(SHAPE, filters=[2, 2, 2, 2], dense_units=3)
    drawn = brain_maps.random_network(trained, seed=3)
    again = brain_maps.random_network(trained, seed=3)
    first, other = (m.get_layer("conv1").get_weights()[0] for m in (trained, drawn))
    assert first.shape == other.shape and np.abs(first - other).max() > 0.05
    assert np.array_equal(other, again.get_layer("conv1").get_weights()[0])


def test_all_kinds_come_in_their_order_and_no_differences_without_controls(network, scans):
    options = dict(seed=1, occlusion_mm=16.0, voxel_mm=4.0)
    found = brain_maps.all_maps(network, scans, PATIENT, occlusion_people=1, **options)
    assert tuple(found) == KINDS[:-2]
    assert {values.shape for values in found.values()} == {SHAPE}
    fewer = brain_maps.all_maps(network, scans, PATIENT, occlusion_people=0, **options)
    assert tuple(fewer) == KINDS[:-3]
    alone = brain_maps.all_maps(network, scans, np.ones(5), occlusion_people=1, **options)
    assert set(found) - set(alone) == set(brain_maps.DIFFERENCE)


def test_the_voxel_difference_is_cohens_d():
    pingouin = pytest.importorskip("pingouin")
    values = np.random.default_rng(5).normal(size=(12, 2, 1, 1, 1))
    patient = np.arange(12) < 7
    found = brain_maps.voxel_difference(values, patient)
    expected = pingouin.compute_effsize(values[:7, 1, 0, 0, 0], values[7:, 1, 0, 0, 0])
    assert found[1, 0, 0] == pytest.approx(expected)


def test_a_network_that_learnt_a_planted_place_shows_it():
    """Noise, a little brighter in a ball for patients and darker for controls."""
    rng = np.random.default_rng(6)
    shape, centre = (16, 16, 16), (5, 10, 6)
    ball = np.linalg.norm(np.moveaxis(np.indices(shape), 0, -1) - centre, axis=-1) <= 2.5
    patient = np.arange(200) % 2
    change = (patient - 0.5)[:, None, None, None, None] * ball[..., None]
    volumes = (rng.normal(size=(200, *shape, 1)) + change).astype(np.float32)
    split = ["training"] * 120 + ["optimisation"] * 20 + ["validation"] * 60
    options = dict(filters=[4, 4, 4, 4], dense_units=8, epochs=6, batch_size=8)
    people = pd.DataFrame({"patient": patient, "split": split})
    model, *_ = dystonianet.train(people, volumes, learning_rate=3e-3, seed=1, **options)
    where = np.array([centre]) * 4 + AFFINE[:3, 3]
    truth = Truth(ball.astype(np.uint8), 1.0 * ball, AFFINE, ("ball",), where)
    table = brain_maps.scores(model, volumes[140:], patient[140:], truth=truth, seed=1)
    assert list(table["map"].unique()) == list(KINDS)
    found = table.set_index(["map", "network"])["enrichment"]
    best = found["planted change itself", "none"]
    assert best == pytest.approx(1 / ball.mean()) and 8 < found["voxel difference", "none"] < best
    for kind in ("gradient x input", "occlusion"):
        assert found[kind, "trained"] > 4
        assert found[kind, "trained"] > 2 * found[kind, "random weights"]


def test_voxels_that_touch_at_a_corner_are_one_cluster():
    chosen = np.zeros(SHAPE, bool)
    chosen[2:4, 2:4, 2:4] = chosen[4:6, 4:6, 4:6] = True
    chosen[10:13, 10:13, 10:13] = True
    chosen[15, 15, 15] = True
    values = np.where(chosen, 1.0, 0.0)
    values[12, 12, 12] = -3
    found = brain_maps.clusters(values, chosen, Space(AFFINE, True))
    assert found["volume_mm3"].tolist() == [27 * 64, 16 * 64]
    assert found["peak"].tolist() == [-3, 1]
    assert found["peak_mni"][0] == (-30, -63, -24)
    assert found["centre_mni"][1] == (-64, -97, -58)
    assert found["centre_talairach"][0] != found["centre_mni"][0]


def test_clusters_of_heads_that_are_not_registered_have_no_names_and_no_talairach():
    chosen = np.zeros(SHAPE, bool)
    chosen[2:5, 2:5, 2:5] = True
    found = brain_maps.clusters(1.0 * chosen, chosen, Space(AFFINE, False))
    assert found["nearest"].isna().all() and found["distance_mm"].isna().all()
    assert found["centre_talairach"].isna().all()


def test_no_cluster_is_an_empty_table_with_all_columns(mask):
    empty = brain_maps.clusters(np.zeros(SHAPE), np.zeros(SHAPE, bool), Space(AFFINE, True))
    assert empty.empty and "centre_talairach" in empty


def test_a_planted_place_is_named_by_itself():
    names, centres = brain_maps.region_centres()
    assert [brain_maps.nearest_region(c) for c in centres] == [(name, 0.0) for name in names]


def test_planted_places_lie_around_their_centres_and_fill_a_few_per_cent():
    truth = brain_maps.planted((40, 48, 40), AFFINE)
    where = np.argwhere(truth.labels > 0) * 4.0 + AFFINE[:3, 3]
    apart = np.linalg.norm(where[:, None] - truth.centres_mm[None], axis=-1).min(axis=1)
    assert apart.max() <= brain_template.EFFECT_RADII_MM[1] + 4
    for centre in truth.centres_mm:
        assert np.linalg.norm(where - centre, axis=1).min() < 8
    template = brain_template.load(4.0)
    assert 0.02 < (truth.labels > 0).sum() / (template.brain > 0.5).sum() < 0.1


@pytest.mark.parametrize(
    ("placement", "synthetic", "atlas"),
    [("world", True, True), ("world", False, True), ("head", True, True), ("head", False, False)],
)
def test_coordinates_are_of_an_atlas_where_heads_are_registered(
    monkeypatch, placement, synthetic, atlas
):
    reading = {"voxel_mm": 4.0, "placement": placement, "brain_input": "standardised"}
    monkeypatch.setattr(brain, "reading", lambda folder: reading, raising=False)
    monkeypatch.setattr(brain, "description", lambda folder: {"synthetic": synthetic})
    found = brain_maps.space("anywhere")
    assert found.atlas is atlas
    assert np.allclose(found.affine[:3, :3], 4 * np.eye(3))
    if not atlas:
        middle = (np.array(head_box.box_shape(4.0)) - 1) / 2
        assert np.allclose(found.affine[:3, :3] @ middle + found.affine[:3, 3], 0)


def test_a_box_hung_on_the_templates_head_lies_where_the_head_does():
    affine = brain_maps._template_affine(4.0)
    low = affine[:3, 3] - 2
    high = low + np.array(head_box.BOX_MM)
    template = brain_template.load(4.0)
    head = np.argwhere(template.brain > 0.5) * 4.0 + template.affine[:3, 3]
    assert (head.min(axis=0) > low - 4).all() and (head.max(axis=0) < high + 4).all()
    assert abs((low + high)[0] / 2) < 2


def test_intervals_over_seeds_are_students():
    rng = np.random.default_rng(7)
    rows = pd.DataFrame(
        {
            "effect_d": np.repeat([0.5, 2.0], 5),
            **{"map": "occlusion", "network": "trained", "seed": [1, 2, 3, 4, 5] * 2},
            **{"enrichment": rng.normal(size=10), "dice": np.nan},
        }
    )
    found = brain_maps.over_seeds(rows, by=["effect_d"])
    assert found["measure"].tolist() == ["enrichment"] * 2 and found["seeds"].tolist() == [5, 5]
    values = rows["enrichment"][:5]
    limits = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert found.loc[0, ["low", "high"]].tolist() == pytest.approx(limits)


def test_likeness_is_one_with_itself_and_undefined_for_a_silent_layer(mask):
    rng = np.random.default_rng(8)
    maps = {kind: rng.normal(size=SHAPE) for kind in brain_maps.MEAN}
    maps["mean conv4"] = np.zeros(SHAPE)
    found = brain_maps.likeness(maps, maps, maps["mean conv1"], mask).set_index("layer")
    assert found.loc["conv1"].tolist() == pytest.approx([1, 1])
    assert abs(found.loc["conv2", "with_scan"]) < 0.1
    assert found.loc["conv4"].isna().all()
