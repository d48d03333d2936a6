"""Pooled features of leg images: what they are, when the file is used again and when not."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from helpers import features, images, networks

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


def extracted(folder, *, seed=1, pixels=PIXELS, change=None):
    rows = features.included(folder / "images.csv")
    if change is not None:
        rows = rows.assign(**change)
    weights = networks.choose_weights(["random"], "VGG19", seed=seed)
    return features.extract("VGG19", weights, rows, folder, input_pixels=pixels)


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
