"""Models as files with their card, and what they say of a folder of unseen images."""

import dataclasses
import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import (
    STATEMENT,
    __main__,
    images,
    model_files,
    networks,
    parameters,
    prediction,
    roi,
    training,
)
from helpers.display.prediction import overlay

PIXELS = 32
ROI = parameters.load("tiny").roi.model_dump()


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """Return a small saved classifier with its card."""
    weights = networks.choose_weights(["random"], "VGG19", seed=1)
    network = networks.build("VGG19", weights=weights, input_pixels=PIXELS)
    kernel = np.random.default_rng(2).normal(size=(1, 512))
    path = pd.DataFrame({"seed": 6, "epoch": [17], "training_loss": 0.4, "validation_loss": 0.5})
    stopping = pd.DataFrame({"seed": [6], "best_epoch": [17]})
    heads = training.Heads((6,), kernel, np.zeros(1), path, stopping)
    model = training.assemble(network, heads, seed=6)
    file = tmp_path_factory.mktemp("models") / "small.keras"
    legs = np.zeros((1, PIXELS, PIXELS, 3), "float32")
    training.save(model, file, images=legs, expected=model.predict(legs, verbose=0)[:, 0])
    table = pd.DataFrame(
        {
            "image_id": list("abcd"),
            "case_id": list("1123"),
            "label": [1, 1, 0, 0],
            "split": ["training", "training", "training", "test"],
        }
    )
    rows = [("auc", 0.8, 0.6, 0.9, "leg image"), ("f1", np.nan, np.nan, np.nan, "leg image")]
    metrics = pd.DataFrame(rows, columns=["measure", "estimate", "low", "high", "unit"])
    model_files.write_card(
        file,
        heads,
        network="VGG19",
        weights=weights,
        table=table,
        metrics=metrics,
        input_pixels=PIXELS,
        evidence="phantom",
        training={"learning_rate": 1e-4, "momentum": 0.0},
        roi=ROI,
        pooling="mean",
        thresholds={"image": 0.5, "person": 0.4},
    )
    return file


def thighs(seed, *, legs=2):
    """Return a slice with round legs of fat, muscle and bone, 3 mm pixels."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:96, :140]
    pixels = rng.normal(20, 5, (96, 140))
    for centre in (38, 102)[:legs]:
        away = np.hypot(rows - 48, columns - centre)
        pixels[away < 27] = 900
        pixels[away < 23] = 350 + rng.normal(0, 20)
        pixels[away < 5] = 60
        pixels[away < 3] = 850
    return np.abs(pixels + rng.normal(0, 8, pixels.shape)).astype("float32")


def write_nifti(path, slices):
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = np.stack([pixels.T[::-1, ::-1] for pixels in slices], axis=2)
    nib.save(nib.Nifti1Image(volume, np.diag([3.0, 3.0, 10.0, 1.0])), path)


@pytest.fixture
def folder(tmp_path):
    """Return two cases with three slices, one of them without legs, and a file that is none."""
    write_nifti(tmp_path / "mri" / "anna" / "a.nii.gz", [thighs(1), thighs(2)])
    write_nifti(tmp_path / "mri" / "bert" / "b.nii.gz", [thighs(3, legs=1)])
    (tmp_path / "mri" / "bert" / "notes.txt").write_text("no image")
    return tmp_path / "mri"


def test_every_leg_and_every_case_gets_a_probability_or_a_reason(folder, model_file, tmp_path):
    out = tmp_path / "out"
    cases, _ = prediction.write(folder, model_file, out, draw=overlay)
    legs = pd.read_csv(out / "leg_images.csv")
    assert list(legs) == prediction.LEG_IMAGES
    anna = legs[legs["case_id"] == "anna"]
    assert anna["side"].tolist() == ["right", "left"] * 2
    assert anna["probability"].between(0, 1).all() and (anna["status"] == "included").all()
    bert = legs[legs["case_id"] == "bert"]
    assert len(bert) == 2 and bert["probability"].isna().all() and bert["reason"].notna().all()
    assert (bert["call"] == "no decision").all()
    pooled = pd.read_csv(out / "legs.csv")
    assert list(pooled) == ["case_id", "side", "leg_images", "probability"]
    assert pooled["side"].tolist() == ["left", "right"] and set(pooled["case_id"]) == {"anna"}
    for row in pooled.itertuples():
        own = anna.loc[anna["side"] == row.side, "probability"]
        assert row.leg_images == 2 and np.isclose(row.probability, own.mean())
    by = cases.set_index("case_id")
    assert np.isclose(by.loc["anna", "probability"], anna["probability"].mean())
    expected = "dystrophinopathy" if by.loc["anna", "probability"] >= 0.4 else "another disease"
    assert by.loc["anna", "call"] == expected
    assert by.loc["bert", "call"] == "no decision" and by.loc["bert", "left_out"] == 2
    told = (out / "READ_FIRST.md").read_text()
    assert STATEMENT in told and "names of your folders and files" in told
    assert "Evidence: phantom, random weights" in told


def test_a_leg_is_pooled_as_the_card_says(model_file, tmp_path):
    rows = pd.DataFrame(
        {
            "case_id": ["a", "a", "a", "b"],
            "side": ["left", "left", "right", "left"],
            "probability": [0.2, 0.6, 0.5, np.nan],
        }
    )
    for rule, expected in (("mean", [0.4, 0.5]), ("max", [0.6, 0.5])):
        card = model_files.read_card(changed_card(model_file, tmp_path, pooling=rule))
        found = prediction.by_leg(rows, card)
        assert found["probability"].tolist() == pytest.approx(expected)
        assert found["leg_images"].tolist() == [2, 1]


def test_probabilities_are_those_of_the_model_on_the_same_legs(folder, model_file, tmp_path):
    out = tmp_path / "out"
    prediction.write(folder, model_file, out, draw=overlay)
    first = pd.read_csv(out / "leg_images.csv").iloc[0]
    image = images.read_slice(folder / "anna" / "a.nii.gz", 0)
    options = {name: value for name, value in ROI.items() if name != "mirror_left"}
    box = roi.locate_legs(image, **options).boxes["right"]
    assert tuple(first[["row0", "col0", "row1", "col1"]].astype(int)) == box
    leg = images.crop(image, box, size=PIXELS)
    ready = networks.preprocess(np.repeat(leg[None, ..., None], 3, axis=-1), "VGG19")
    model, _ = model_files.load(model_file)
    assert np.isclose(first["probability"], model.predict(ready, verbose=0)[0, 0], atol=1e-5)


def changed_card(model_file, tmp_path, **fields):
    """Return a copy of the model whose card says something else."""
    path = copied(model_file, tmp_path)
    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(card | fields))
    return path


def test_left_legs_are_mirrored_where_the_card_says_so(folder, model_file, tmp_path):
    found = []
    for mirror in (False, True):
        out = tmp_path / str(mirror)
        file = changed_card(model_file, tmp_path, roi=ROI | {"mirror_left": mirror})
        prediction.write(folder, file, out, draw=overlay)
        found.append(pd.read_csv(out / "leg_images.csv").set_index("side"))
    plain, turned = found
    assert turned.loc["left", "mirrored"].eq(1).all() and plain["mirrored"].fillna(0).eq(0).all()
    assert np.allclose(plain.loc["right", "probability"], turned.loc["right", "probability"])
    assert (plain.loc["left", "probability"] != turned.loc["left", "probability"]).all()


def test_overlays_are_pictures_with_the_legs_in_colour(folder, model_file, tmp_path):
    out = tmp_path / "out"
    prediction.write(folder, model_file, out, draw=overlay)
    names = sorted(path.name for path in (out / "overlays").iterdir())
    assert names == ["00001.png", "00003.png"]
    legs = pd.read_csv(out / "leg_images.csv")
    for name in names:
        rows = legs.index[legs["overlay"] == f"overlays/{name}"]
        assert rows[0] + 1 == int(name.removesuffix(".png")) and len(rows) == 2
    assert legs.loc[legs["status"] != "included", "overlay"].isna().all()
    picture = np.asarray(Image.open(out / "overlays" / names[0]).convert("RGB")).astype(int)
    assert np.abs(picture[..., 0] - picture[..., 2]).max() > 60, "grey alone shows no leg"


def test_each_slice_keeps_its_overlay_whatever_the_files_are_called(model_file, tmp_path):
    case = tmp_path / "mri" / "anna"
    for number, name in enumerate(("1.2.3.nii", "1.2.4.nii", "x.nii", "x.nii.gz")):
        write_nifti(case / name, [thighs(10 + number)])
    write_nifti(case / "1.2" / "3.nii", [thighs(20)])
    out = tmp_path / "out"
    prediction.write(tmp_path / "mri", model_file, out, draw=overlay)
    legs = pd.read_csv(out / "leg_images.csv")
    assert legs.groupby(["file", "frame"])["overlay"].nunique().eq(1).all()
    assert legs["overlay"].nunique() == 5 == len(list((out / "overlays").iterdir()))


def test_a_picture_counts_once_and_the_row_of_its_copy_says_so(folder, model_file, tmp_path):
    for case, name in (("anna", "again.nii"), ("carl", "hers.nii")):
        write_nifti(folder / case / name, [thighs(1)])
    (folder / "anna" / "Thumbs.db").write_text("not looked at")
    (folder / "cases.csv").write_text("case_id\nanna\n")
    out = tmp_path / "out"
    cases, _ = prediction.write(folder, model_file, out, draw=overlay)
    by = cases.set_index("case_id")
    assert sorted(by.index) == ["anna", "bert", "carl"]
    assert by.loc["anna", ["leg_images", "left_out"]].tolist() == [4, 1]
    assert by.loc["carl", "call"] == "no decision"
    legs = pd.read_csv(out / "leg_images.csv").query("status == 'copy'").set_index("case_id")
    assert legs.loc["anna", "reason"] == "the same picture as anna/a.nii.gz, frame 0"
    assert "counts for case anna" in legs.loc["carl", "reason"]


def test_linked_folders_are_read(folder, model_file, tmp_path):
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "anna").symlink_to(folder / "anna", target_is_directory=True)
    cases, _ = prediction.write(tmp_path / "linked", model_file, tmp_path / "out", draw=overlay)
    assert cases["case_id"].tolist() == ["anna"] and cases["leg_images"].tolist() == [4]


def test_an_orientation_that_the_header_does_not_give_is_told(folder, model_file, monkeypatch):
    model, card = model_files.load(model_file)
    read = images.read_frames

    def without_plane(file):
        for position, image in read(file):
            facts = dataclasses.replace(image.facts, plane="", tilt_deg=np.nan)
            yield position, dataclasses.replace(image, facts=facts)

    def reasons():
        rows = [row for more, _ in prediction.predict(folder / "anna", model, card) for row in more]
        assert {row["status"] for row in rows} == {"included"}
        return {row["reason"] for row in rows}

    assert reasons() == {""}
    monkeypatch.setattr(images, "read_frames", without_plane)
    assert reasons() == {"orientation not stated, taken to be axial"}


def test_a_result_is_swapped_in_whole_and_other_files_are_left_alone(folder, model_file, tmp_path):
    out = tmp_path / "out"
    prediction.write(folder, model_file, out, draw=overlay)
    before = {path: path.read_bytes() for path in out.rglob("*.*")}

    def fail(seen, card):
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        prediction.write(folder / "anna", model_file, out, draw=fail)
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == before
    prediction.write(folder / "bert", model_file, out, draw=overlay)
    assert list((out / "overlays").iterdir()) == [], "overlays of the earlier result are gone"
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    (out / "READ_FIRST.md").unlink()
    with pytest.raises(FileExistsError, match=r"holds something else.*--out"):
        prediction.write(folder, model_file, out, draw=overlay)
    assert (out / "leg_images.csv").exists()


def test_the_overlay_says_on_what_it_rests(folder, model_file, monkeypatch):
    model, card = model_files.load(model_file)
    _, (first, *_) = next(prediction.predict(folder, model, card))
    titles = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_title", lambda _, text, **__: titles.append(text))
    overlay(first, card)
    assert STATEMENT in titles[0] and "phantom, random weights. Threshold 0.50" in titles[0]


def test_files_of_one_case_need_no_folder_of_their_own(folder, model_file, tmp_path):
    cases, _ = prediction.write(folder / "anna", model_file, tmp_path / "out", draw=overlay)
    assert cases["case_id"].tolist() == ["anna"] and cases["leg_images"].tolist() == [4]


def test_an_empty_or_missing_folder_writes_nothing(model_file, tmp_path):
    (tmp_path / "empty").mkdir()
    for name, words in (("empty", "holds no file"), ("nowhere", "does not exist")):
        with pytest.raises(FileNotFoundError, match=words):
            prediction.write(tmp_path / name, model_file, tmp_path / "out", draw=overlay)
    assert not (tmp_path / "out").exists()


def test_the_card_says_what_has_to_be_known(model_file):
    card = model_files.read_card(model_file)
    assert card.data[0] == {"split": "training", "label": 1, "cases": 1, "images": 2}
    assert card.weights_identity == "random:1" and card.limits == list(model_files.LIMITS)
    text = model_file.with_suffix(".md").read_text()
    words = ["Not for clinical use", "random weights", "seed 6, epoch 17", "0.800 (0.600 to 0.900)"]
    words += ["margin mm 0.0", "mirror left False"]
    words += ["undefined", "learning rate: 0.0001", card.sha256, *model_files.LIMITS]
    assert not [word for word in words if word not in text]


def copied(model_file, tmp_path):
    for suffix in (".keras", ".json"):
        (tmp_path / f"m{suffix}").write_bytes(model_file.with_suffix(suffix).read_bytes())
    return tmp_path / "m.keras"


def test_a_model_that_is_not_that_of_its_card_is_refused(model_file, tmp_path):
    path = copied(model_file, tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(model_files.ModelFileError, match="is not the model of its card"):
        model_files.load(path)


def test_a_model_without_a_readable_card_is_refused(model_file, tmp_path):
    path = copied(model_file, tmp_path)
    card = path.with_suffix(".json")
    card.write_text('{"network": 3}')
    with pytest.raises(model_files.ModelFileError, match=r"m\.json is not a model card"):
        model_files.load(path)
    card.unlink()
    with pytest.raises(model_files.ModelFileError, match=r"has no card m\.json"):
        model_files.load(path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"thresholds": {"image": 0.5}}, r"thresholds\.person: Field required"),
        ({"thresholds": {"image": 0.5, "person": 1.5}}, r"thresholds\.person"),
        ({"pooling": "median"}, r"pooling: Input should be 'mean' or 'max'"),
        ({"network": "MyNet"}, r"network: .*'MyNet' is no network of keras"),
        ({"evidence": "proven"}, r"evidence: Input should be 'phantom' or 'your data'"),
        ({"roi": {}}, r"roi\.working_mm: Field required"),
    ],
)
def test_a_card_that_cannot_be_used_says_which_field(model_file, tmp_path, fields, words):
    path = changed_card(model_file, tmp_path, **fields)
    with pytest.raises(model_files.ModelFileError, match=words) as caught:
        model_files.load(path)
    assert f"make book PROFILE={tmp_path.parent.name}" in str(caught.value)


def test_a_wrong_file_as_model_is_one_clear_error(model_file, tmp_path):
    path = copied(model_file, tmp_path)
    path.write_bytes(b"not a model")
    card = json.loads(path.with_suffix(".json").read_text())
    card["sha256"] = model_files.sha256(path)
    path.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(model_files.ModelFileError, match=r"Keras does not load m\.keras safely"):
        model_files.load(path)


def test_code_in_a_model_file_is_not_run(model_file, tmp_path):
    layers = networks.keras.layers
    inputs = networks.keras.Input((PIXELS, PIXELS, 3))
    flow = layers.Lambda(lambda x: x * 2, name="evil")(inputs)
    path = copied(model_file, tmp_path)
    networks.keras.Model(inputs, flow).save(path)
    card = json.loads(path.with_suffix(".json").read_text())
    card["sha256"] = model_files.sha256(path)
    path.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(model_files.ModelFileError, match="safely"):
        model_files.load(path)


def test_the_command_prints_the_statement(folder, model_file, tmp_path, monkeypatch, capsys):
    (tmp_path / "results" / "tiny" / "models").mkdir(parents=True)
    monkeypatch.setenv("PAPER_RESULTS", str(tmp_path / "results"))
    for suffix in (".keras", ".json"):
        target = tmp_path / "results" / "tiny" / "models" / f"resnet50{suffix}"
        target.write_bytes(model_file.with_suffix(suffix).read_bytes())
    assert __main__.main(["predict", str(folder), "--profile", "tiny"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{STATEMENT}\nEvidence: phantom, random weights.")
    assert "anna" in said
    assert (tmp_path / "results" / "tiny" / "predict" / "mri" / "cases.csv").is_file()
    assert __main__.main(["predict", str(folder), "--profile", "tiny", "--model", "none"]) == 1
    said = capsys.readouterr().err
    assert "No model models/none.keras. Models with a card there: resnet50." in said
    assert "make book PROFILE=tiny" in said
    monkeypatch.setenv("HOME", str(tmp_path))
    assert __main__.main(["predict", str(folder), "--profile", "tiny", "--out", "~/mine"]) == 0
    assert (tmp_path / "mine" / "cases.csv").is_file()
