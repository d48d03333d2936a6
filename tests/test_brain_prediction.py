"""A saved 3-D network with its card, and what it says of scans it has not seen."""

import itertools
import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import STATEMENT, brain, brain_prediction, dystonianet, model_files, own_brains, paths
from helpers import __main__ as command
from helpers.display import heads as display_heads
from helpers.phantom import brain_head

REAL = paths.real_data() / "brain"


def clock():
    return next(clock.times)


clock.times = itertools.count()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A results folder with a small untrained network and its card, of registered 8 mm heads."""
    folder = tmp_path_factory.mktemp("book") / "small"
    (folder / "models").mkdir(parents=True)
    (folder / "cohort" / "brain").mkdir(parents=True)
    about = {"synthetic": True, "voxel_mm": 8.0, "pose": "registered"}
    (folder / "cohort" / "brain" / "cohort.json").write_text(json.dumps(about))
    model = dystonianet.build((20, 24, 20), filters=[2, 2, 2, 2], dense_units=3)
    model.save(folder / "models" / "dystonianet.keras")
    subjects = pd.DataFrame(
        {"split": ["training"] * 3 + ["validation"], "group": ["LD", "LD", "control", "CD"]}
    )
    history = pd.DataFrame(
        {"effect": "realistic", "seed": 5, "epoch": [1, 2], "kept": [False, True]}
    )
    table = pd.DataFrame(
        {
            "effect": "realistic",
            "delta": 0.06,
            "group": ["all patients", "control"],
            "estimate": [0.75, np.nan],
            "low": [0.5, np.nan],
            "high": [0.9, np.nan],
        }
    )
    areas = pd.DataFrame(
        [("DystoniaNet", "realistic", 5, 0.7, 0.6, 0.8), ("other", "realistic", 5, 1, 1, 1)],
        columns=["model", "effect", "seed", "estimate", "low", "high"],
    )
    brain_prediction.write_card(
        folder,
        subjects,
        history=history,
        table=table,
        areas=areas,
        training={"filters": [2, 2, 2, 2], "epochs": 2},
        target=0.035,
        seed=5,
        evidence="phantom",
    )
    return folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Two phantom brains, one in template space and one far from it, and a file that is none."""
    folder = tmp_path_factory.mktemp("scans")
    for name, shift in (("near", 0.0), ("far", 60.0)):
        head = brain_head.simulate(
            sex="F", age_years=50, site=0, voxel_mm=4.0, rng=np.random.default_rng(3)
        )
        affine = head.affine.copy()
        affine[2, 3] += shift
        image = nib.Nifti1Image(head.image.astype(np.int16), affine)
        image.header["descrip"] = b"Doe^Jane"
        nib.save(image, folder / f"{name}.nii.gz")
    (folder / "broken.nii.gz").write_bytes((folder / "near.nii.gz").read_bytes()[:4000])
    return folder


def written(results, scans, out):
    file = results / "models" / "dystonianet.keras"
    return brain_prediction.write([scans], file, out, draw=display_heads.overlay, clock=clock)


def test_every_scan_gets_a_probability_or_a_reason(results, scans, tmp_path):
    table, card = written(results, scans, tmp_path / "out")
    by = table.assign(name=table["scan"].str.rsplit("/", n=1).str[-1]).set_index("name")
    assert list(table.columns) == brain_prediction.SCANS and len(table) == 3
    near, far, broken = (by.loc[f"{name}.nii.gz"] for name in ("near", "far", "broken"))
    assert near.status == far.status == "included"
    assert near.placed_by == "world" and near.reason == ""
    assert far.placed_by == "head" and "not in template space" in far.reason
    assert broken.status == "not readable" and "cut short" in broken.reason
    assert np.isnan(broken.probability) and broken.call == "no decision"
    for row in (near, far):
        assert row.call == brain_prediction.call(row.probability, card)
        picture = Image.open(tmp_path / "out" / row.picture)
        assert picture.width > 400
    assert set(by.seconds.dropna()) == {1}
    told = (tmp_path / "out" / "READ_FIRST.md").read_text()
    assert STATEMENT in told and "Evidence: phantom, trained from random weights" in told
    everything = "".join(
        path.read_text() for path in (tmp_path / "out").iterdir() if path.is_file()
    )
    assert "Doe" not in everything


def test_the_probability_is_that_of_the_model_on_the_same_box(results, scans, tmp_path):
    table, card = written(results, scans, tmp_path / "out")
    model, _ = model_files.load(
        results / "models" / "dystonianet.keras", kind=brain_prediction.Card
    )
    box = brain.read_volume(scans / "near.nii.gz", **card.reading)
    expected = dystonianet.predict(model, box[np.newaxis, ..., np.newaxis])[0]
    near = table[table["scan"].str.endswith("near.nii.gz")].iloc[0]
    assert np.isclose(near.probability, expected, atol=1e-6)


def test_the_band_refers_and_one_half_decides(results):
    card = brain_prediction.Card.model_validate_json(
        (results / "models" / "dystonianet.json").read_text()
    )
    said = [brain_prediction.call(p, card) for p in (0.2, 0.45, 0.5, 0.559, 0.57, np.nan)]
    referred = "referred: too uncertain"
    assert said == ["control", *[referred] * 3, "dystonia", "no decision"]


def test_the_card_says_what_must_be_known(results):
    text = (results / "models" / "dystonianet.md").read_text()
    words = [STATEMENT, "20 × 24 × 20 voxels of 8 mm", "one box in template space", "0.060", "3.5%"]
    words += ["| training | LD | 2 |", "filters: [2, 2, 2, 2]", "0.750 (0.500 to 0.900)"]
    words += ["undefined", "0.700 (0.600 to 0.800)", "seed 5, epoch 2", *brain_prediction.LIMITS]
    assert [word for word in words if word not in text] == []


def test_a_model_and_another_ones_card_are_not_taken_together(results, tmp_path):
    for name in ("dystonianet.keras", "dystonianet.json"):
        (tmp_path / name).write_bytes((results / "models" / name).read_bytes())
    other = dystonianet.build((20, 24, 20), filters=[2, 2, 2, 2], dense_units=3)
    other.save(tmp_path / "dystonianet.keras")
    with pytest.raises(model_files.ModelFileError, match="is not the model of its card"):
        model_files.load(tmp_path / "dystonianet.keras", kind=brain_prediction.Card)
    (tmp_path / "dystonianet.keras").unlink()
    with pytest.raises(model_files.ModelFileError, match="Notebook 07 makes dystonianet"):
        model_files.load(tmp_path / "dystonianet.keras", kind=brain_prediction.Card)


def test_an_earlier_result_is_swapped_and_nothing_else_is(results, scans, tmp_path):
    out = tmp_path / "out"
    written(results, scans, out)
    (out / "pictures" / "old.png").write_bytes(b"")
    written(results, scans, out)
    assert not (out / "pictures" / "old.png").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"scans\.csv"):
        written(results, scans, tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "mine"


def test_files_series_and_folders_of_them_are_scans(tmp_path):
    for name in ("a/one.nii.gz", "b/x.dcm", "b/y.dcm", "c/d/z.dcm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = brain_prediction.scans_of([tmp_path])
    assert [name.split("/", 1)[1] for name, _ in found] == ["a/one.nii.gz", "b", "c/d"]
    assert [name for name, _ in brain_prediction.scans_of([tmp_path / "b"])] == ["b"]
    with pytest.raises(FileNotFoundError, match="does not exist"):
        brain_prediction.scans_of([tmp_path / "nothing"])


def test_the_command_prints_what_was_found(results, scans, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PAPER_RESULTS", str(results.parent))
    (tmp_path / "small.yml").write_text("extends: tiny\n")
    arguments = ["predict", "--brain", str(scans / "near.nii.gz")]
    arguments += ["--profile", str(tmp_path / "small.yml")]
    assert command.main(arguments) == 0
    printed = capsys.readouterr().out
    assert STATEMENT in printed and "near.nii.gz" in printed
    assert (results / "predict" / "near" / "scans.csv").is_file()
    assert command.main([*arguments[:2], str(tmp_path / "absent"), *arguments[3:]]) == 1
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.skipif(
    not REAL.is_dir(), reason="PAPER_TEST_DATA has no brain folder: no real test data"
)
def test_real_heads_go_through_without_special_handling(results, tmp_path):
    places = sorted((REAL / "ixi").glob("*.nii.gz"))[:2]
    places += sorted((REAL / "ds002748").glob("*.nii.gz"))[:1]
    file = results / "models" / "dystonianet.keras"
    table, _ = brain_prediction.write(
        places, file, tmp_path / "out", draw=display_heads.overlay, clock=clock
    )
    assert (table["status"] == "included").all() and table["probability"].between(0, 1).all()
    assert own_brains.judged(places[0])[1] is None
