"""Heads and trainings of the long experiments, on a few coarse heads."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from helpers import brain, brain_maps, dose_runs, doses, dystonianet, head_box, shallow
from helpers.doses import Run
from helpers.phantom import brain as phantom
from helpers.phantom import brain_head

RECIPE = doses.RECIPE | {"epochs": 1, "filters": [1, 1, 1, 1], "dense_units": 2}
DOSE = Run("dose", "registered", 2.0, 320, 1)


@pytest.fixture(scope="module")
def few():
    """Eight people of each set and group, so that every site is there twice."""
    people = doses.people()
    return people.groupby(["split", "group"]).head(8).reset_index(drop=True)


@pytest.fixture(scope="module")
def bench(few, tmp_path_factory):
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(phantom, "CALIBRATION_SUBJECTS", 6)
    folder = tmp_path_factory.mktemp("doses")
    made = dose_runs.Bench(folder, table=few, voxel_mm=8.0, recipe=RECIPE)
    made.heads("registered")
    monkeypatch.undo()
    return made


def test_an_unaffected_head_is_the_cohorts_own(bench, few):
    row = few.iloc[3]
    head = bench.heads("registered")[0][3]
    key = np.random.SeedSequence(doses.COHORT_SEED, spawn_key=(1, row["number"]))
    same = brain_head.simulate(
        sex=row["sex"],
        age_years=row["age_years"],
        site=int(row["site"][-1]) - 1,
        voxel_mm=8.0,
        rng=np.random.default_rng(key),
        pose="registered",
    )
    assert np.allclose(head.image, same.image, atol=0.01)
    assert np.array_equal(head.affine, same.affine)


def test_patients_carry_the_effect_and_controls_do_not(bench, few):
    none, weak = (bench.volumes("registered", d)[0] for d in (0.0, 2.0))
    differs = (none != weak).reshape(len(few), -1).any(1)
    assert (differs == (few["patient"] == 1)).all()
    means = bench.volumes("registered", 2.0)[1] - bench.volumes("registered", 0.0)[1]
    spread = bench.heads("registered")[1]["spread"]
    rise = means[few["patient"] == 1].mean(0) / spread
    assert rise.abs().to_numpy() == pytest.approx(2.0, rel=0.3)


def test_half_affected_patients_carry_the_effect_in_half_of_the_regions(bench, few):
    rows, scans = bench.half_affected(DOSE)
    assert set(few.loc[rows, "group"]) == {"CD", "BSP"}
    none, whole = (bench.volumes("registered", d)[0][rows] for d in (0.0, 2.0))
    changed = [np.abs(x - none).reshape(len(rows), -1).sum(1) for x in (scans, whole)]
    assert (changed[0] > 0).all() and (changed[0] < changed[1]).all()


def test_people_moved_to_another_site_keep_their_anatomy(bench):
    run = Run("confounded", "registered", 0.0, 320, 1)
    subjects, volumes = bench.subjects(run)
    plain = bench.volumes("registered", 0.0)[0][subjects["row"]]
    moved = subjects["site"].to_numpy() != bench.table["site"].to_numpy()[subjects["row"]]
    differs = (plain != volumes).reshape(len(volumes), -1).any(1)
    assert (differs == moved).all() and moved.any()
    k = np.flatnonzero(moved)[0]
    assert np.corrcoef(plain[k].ravel(), volumes[k].ravel())[0, 1] > 0.9


def test_people_are_not_moved_with_an_effect(bench):
    run = Run("confounded", "registered", 0.5, 320, 1)
    with pytest.raises(ValueError, match="without an effect only, not with d"):
        bench.subjects(run)


def test_a_registered_head_is_read_as_from_its_file(bench, tmp_path):
    head = bench.heads("registered")[0][0]
    image = nib.Nifti1Image(np.rint(head.image).astype(np.int16), head.affine)
    nib.save(image, tmp_path / "head.nii.gz")
    stored = brain.read_volume(tmp_path / "head.nii.gz", voxel_mm=8.0, placement="world")
    assert np.array_equal(stored, bench.volumes("registered", 0.0)[0][0, ..., 0])


def test_atlas_regions_lie_inside_the_box_and_do_not_touch():
    for pose in doses.POSES:
        weights = dose_runs.atlas(pose, 4.0)
        assert weights.shape == (6, *head_box.box_shape(4.0))
        assert ((weights > 0.5).reshape(6, -1).sum(1) > 3).all()
        assert ((weights > 0.5).sum(0) <= 1).all()


def test_a_finished_run_is_not_made_again_and_a_missing_one_is(bench, monkeypatch):
    trained = []
    real = dystonianet.train

    def train(*args, **options):
        trained.append(options["seed"])
        return real(*args, **options)

    learnt = shallow.Learnt(*[pd.DataFrame(columns=["model", "seed", "id"])] * 2)
    monkeypatch.setattr(dystonianet, "train", train)
    monkeypatch.setattr(shallow, "baselines", lambda *a, **k: learnt)
    assert bench.make(DOSE)
    assert not bench.make(DOSE)
    assert trained == [1]
    found = dose_runs.stored(bench.folder)
    tested = int(bench.tested.sum())
    assert found[DOSE.key][doses.NETWORK].shape == (tested,)
    assert found[f"{DOSE.condition}_simple"][doses.CEILING].shape == (tested,)
    assert found[DOSE.key]["half"].shape == (16,)
    assert found[DOSE.key][doses.LAST].shape == (tested,)
    assert not list((bench.folder / "checkpoints").glob("*.npz"))
    (bench.folder / "runs" / f"{DOSE.key}.npz").unlink()
    assert bench.make(DOSE)
    assert trained == [1, 1]
    again = dose_runs.stored(bench.folder)[DOSE.key][doses.NETWORK]
    assert again == pytest.approx(found[DOSE.key][doses.NETWORK], abs=1e-4)


def test_heads_of_another_plan_are_refused(bench, few):
    with pytest.raises(ValueError, match="another plan"):
        dose_runs.Heads(
            bench.folder / "heads" / "registered", few.head(3), "registered", voxel_mm=8.0
        )


def test_maps_of_kept_networks_are_scored_once_on_the_people_tested(bench, few, monkeypatch):
    seen = []

    def scores(model, volumes, patient, *, truth, seed):
        seen.append((len(volumes), int(patient.sum()), truth.labels.shape, seed))
        return pd.DataFrame({"map": ["mean conv1"], "network": ["trained"], "enrichment": [1.0]})

    monkeypatch.setattr(brain_maps, "scores", scores)
    model = bench.folder / "models" / f"{DOSE.key}.keras"
    if not model.exists():
        model.parent.mkdir()
        dystonianet.build(head_box.box_shape(8.0), filters=[1] * 4, dense_units=1).save(model)
    for _ in range(2):
        table = dose_runs.localised(bench)
    assert seen == [(32, 24, head_box.box_shape(8.0), 1)]
    assert table.to_dict("records")[0] == {
        "effect_d": 2.0,
        "pose": "registered",
        "seed": 1,
        "map": "mean conv1",
        "network": "trained",
        "enrichment": 1.0,
    }


def test_a_network_can_be_set_to_its_last_epoch(bench, few, tmp_path):
    volumes = bench.volumes("registered", 0.0)[0]
    options = RECIPE | {"epochs": 3, "learning_rate": 0.3}
    model, history = dystonianet.train(
        few, volumes, seed=1, checkpoint=tmp_path / "c.npz", **options
    )
    weights = model.get_weights()
    dose_runs._to_last_epoch(model, tmp_path / "c.npz")
    again, _ = dystonianet.train(few, volumes, seed=1, checkpoint=tmp_path / "c.npz", **options)
    same = [np.array_equal(a, b) for a, b in zip(weights, again.get_weights(), strict=True)]
    assert all(same)
    learnt = few[few["split"] == "optimisation"]
    scores = dystonianet.predict(model, volumes[learnt.index])
    label = learnt["patient"].to_numpy()
    loss = -np.log(np.clip(np.where(label, scores, 1 - scores), 1e-7, 1)).mean()
    assert loss == pytest.approx(history["optimisation_loss"].iloc[-1], rel=1e-3)
