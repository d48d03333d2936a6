"""Shallow learners: a planted signal is found, none is not, and held-out people stay unseen."""

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA

from helpers import accuracy, shallow

#: Each keeps what the others may lose.
VOLUMES, INTENSITIES = "volumes", "intensities"


def cohort(n=240, *, seed=0, kind=INTENSITIES, strength=0.0):
    """Return heads of three tissues; patients differ in one cell's intensity or grey share."""
    rng = np.random.default_rng(seed)
    patient = np.tile([0, 1], n // 2)
    layers = np.tile(np.repeat([-1.5, 0.0, 1.0], 4), (n, 12, 12, 1)).astype(np.float32)
    volumes = layers + 0.1 * rng.standard_normal(layers.shape).astype(np.float32)
    own = rng.standard_normal(n) + strength * patient
    for scan, value in zip(volumes, own, strict=True):
        if kind == INTENSITIES:
            scan[4:8, 4:8, 8:] -= 0.05 * value
        else:
            cut = 8 + int(np.clip(np.round(value), -3, 3))
            scan[4:8, 4:8, 4:cut] = 0.0
            scan[4:8, 4:8, cut:] = 1.0
    split = np.array(["training", "optimisation", "validation"])[np.arange(n) * 3 // n]
    table = pd.DataFrame({"subject_id": [f"s{k}" for k in range(n)], "patient": patient})
    table["group"] = np.where(patient == 1, "LD", "control")
    return table.assign(split=split), volumes[..., np.newaxis]


def area(predictions, model):
    held = predictions[(predictions["split"] == "validation") & (predictions["model"] == model)]
    return accuracy.auc(held["label"], held["probability"])


@pytest.mark.parametrize("model", shallow.LEARNERS)
@pytest.mark.parametrize("kind", [INTENSITIES, VOLUMES])
def test_a_planted_difference_is_found(model, kind):
    subjects, volumes = cohort(kind=kind, strength=4.0)
    found = shallow.baselines(subjects, volumes, names=[model])
    # under chance the area of 40 + 40 people has a standard error of .065
    assert area(found.predictions, model) > 0.8


@pytest.mark.parametrize("model", shallow.LEARNERS)
def test_nothing_is_found_where_nothing_is(model):
    areas = [
        area(shallow.baselines(*cohort(seed=seed), names=[model]).predictions, model)
        for seed in range(4)
    ]
    # the mean of four areas of 40 + 40 people has a standard error of .033 under chance
    assert abs(np.mean(areas) - 0.5) < 0.12


def test_held_out_people_change_nothing_of_what_is_learnt():
    subjects, volumes = cohort(n=90, strength=1.0)
    plain = shallow.baselines(subjects, volumes, seeds=(1, 2))
    held = (subjects["split"] == "validation").to_numpy()
    changed, others = subjects.copy(), volumes.copy()
    changed.loc[held, "patient"] = 1 - changed.loc[held, "patient"]
    same = shallow.baselines(changed, volumes, seeds=(1, 2))
    np.testing.assert_array_equal(same.predictions["probability"], plain.predictions["probability"])
    others[held] = others[held][::-1] + 3.0
    apart = shallow.baselines(subjects, others, seeds=(1, 2))
    kept = plain.predictions["split"] != "validation"
    np.testing.assert_allclose(
        apart.predictions.loc[kept, "probability"], plain.predictions.loc[kept, "probability"]
    )
    pd.testing.assert_frame_equal(apart.chosen, plain.chosen)


def test_the_setting_is_the_one_that_does_best_on_the_optimisation_set():
    subjects, volumes = cohort(strength=1.5)
    found = shallow.baselines(subjects, volumes)
    for row in found.chosen.itertuples():
        part = found.predictions[found.predictions["model"] == row.model]
        tuning = part[part["split"] == "optimisation"]
        reached = accuracy.auc(tuning["label"], tuning["probability"])
        assert reached == pytest.approx(row.optimisation_auc)
    assert set(found.chosen["model"]) == set(shallow.LEARNERS)


def test_only_learners_with_chance_are_repeated():
    subjects, volumes = cohort(n=48)
    found = shallow.baselines(subjects, volumes, seeds=(5, 6))
    seeds = found.chosen.groupby("model")["seed"].apply(list).to_dict()
    assert seeds.pop("regions + small MLP") == [5, 6]
    assert set(map(tuple, seeds.values())) == {(5,)}


def test_components_are_those_of_the_voxels():
    _, volumes = cohort(n=60, strength=2.0)
    training = np.arange(60) < 40
    like = shallow.likeness(volumes, training=training, block=7)
    model = shallow.LEARNERS["PCA + logistic regression"].build(3, 0, 40)[0].fit(like[training])
    voxels = volumes.reshape(60, -1).astype(float)
    expected = PCA(3, svd_solver="full").fit(voxels[training]).transform(voxels)
    found = model.transform(like)
    for k in range(3):
        assert abs(np.corrcoef(found[:, k], expected[:, k])[0, 1]) == pytest.approx(1, abs=1e-4)


def test_memory_is_asked_for_in_blocks_only():
    _, volumes = cohort(n=60)

    class Counting:
        shape, asked = volumes.shape, []

        def __len__(self):
            return len(volumes)

        def __getitem__(self, rows):
            self.asked.append(np.size(rows))
            return volumes[rows]

    lazy = Counting()
    training = np.arange(60) < 40
    found = shallow.likeness(lazy, training=training, block=8)
    assert max(lazy.asked) == 8
    np.testing.assert_allclose(found, shallow.likeness(volumes, training=training), atol=1e-5)


def test_regions_are_volumes_and_intensities():
    scan = np.zeros((12, 12, 10, 1), np.float32)
    scan[:2, :2, 0], scan[:2, :2, 1] = 1.0, 3.0
    scan[2:4, :2, :2] = -2.0
    scan[scan != 0] += np.random.default_rng(0).uniform(-0.1, 0.1, 16).astype(np.float32)
    grey, white, dim, bright = shallow.regional(scan[np.newaxis])[0].reshape(4, -1)
    assert (grey[0], white[0]) == (0.5, 0.5)
    assert grey[1:].sum() == white[1:].sum() == 0
    np.testing.assert_allclose(dim, scan[:2, :2, 0].mean(), rtol=1e-5)
    np.testing.assert_allclose(bright, scan[:2, :2, 1].mean(), rtol=1e-5)


def test_no_cell_lies_across_the_midline():
    for shape in ((40, 48, 40), (80, 96, 80), (160, 192, 160)):
        found = shallow.cells(shape)
        half = shape[0] // 2
        assert not set(found[:half].ravel()) & set(found[half:].ravel())
        assert set(np.unique(found)) == set(range(int(np.prod(shallow.CELLS))))


def test_a_scan_of_one_intensity_has_one_tissue():
    assert set(np.unique(shallow.tissues(np.full((4, 4, 4), 2.0)))) == {shallow.GREY}
    assert not shallow.tissues(np.zeros((4, 4, 4))).any()
