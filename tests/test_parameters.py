"""Parameters are checked before anything starts."""

import pytest

from helpers import parameters
from helpers.parameters import InvalidParameters


def _load(tmp_path, text):
    path = tmp_path / "mine.yml"
    path.write_text(text)
    return parameters.load(path)


@pytest.mark.parametrize("name", ["tiny", "demo", "paper", "own"])
def test_every_shipped_profile_is_complete(name):
    assert parameters.load(name).name == name


def test_a_path_names_the_profile_by_its_stem(tmp_path):
    profile = _load(tmp_path, "extends: demo\nseed: 7\n")
    assert (profile.name, profile.seed) == ("mine", 7)
    assert profile.training == parameters.load("demo").training


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extends: demo\nseeed: 3\n", ["seeed = 3", "'seed'", "cohort"]),
        (
            "extends: demo\ntraining:\n  learning_rat: 0.1\n",
            ["training.learning_rat", "'learning_rate'", "momentum"],
        ),
        ("extends: demo\ntraining:\n  learning_rate: fast\n", ["learning_rate = 'fast'", "number"]),
        ("extends: demo\ntraining:\n  learning_rate: -1.0\n", ["-1.0", "greater than 0"]),
        ("extends: demo\ntraining:\n  momentum: 1.0\n", ["momentum = 1.0", "less than 1"]),
        ("extends: demo\ntraining:\n  epochs_max: 2.5\n", ["epochs_max = 2.5", "integer"]),
        ("extends: demo\nbackbones:\n  networks: [ResNet5]\n", ["'ResNet5'", "mean 'ResNet50'"]),
        ("extends: demo\nbackbones:\n  networks: [VGG19]\n", ["'ResNet50' is missing"]),
        ("extends: demo\nbackbones:\n  weights: [imagnet]\n", ["'imagnet'", "imagenet, simulated"]),
        ("extends: demo\ncohort:\n  case_fraction: 1.5\n", ["1.5", "less than or equal to 1"]),
        (
            "extends: demo\nbackbones:\n  input_pixels: {ResNet5: 64}\n",
            ["'ResNet5'", "mean 'ResNet50'"],
        ),
        ("extends: demo\ncohort: 3\n", ["cohort = 3", "section"]),
        ("seed: 1\n", ["training is missing", "cohort is missing"]),
        ("extends: dmo\n", ["Did you mean 'demo'?"]),
        ("- a\n", ["no parameters"]),
        ("a: [\n", ["not valid YAML"]),
    ],
)
def test_each_mistake_is_named_with_what_is_allowed(tmp_path, text, words):
    with pytest.raises(InvalidParameters) as caught:
        _load(tmp_path, text)
    for word in words:
        assert word in str(caught.value)


def test_all_wrong_values_are_listed_at_once(tmp_path):
    with pytest.raises(InvalidParameters, match="3 problems"):
        _load(
            tmp_path,
            "extends: demo\nseed: -1\nroi:\n  margin_mm: x\nmaps:\n  top_share: 2.0\n",
        )


def test_a_file_elsewhere_cannot_take_the_results_of_a_shipped_profile(tmp_path):
    path = tmp_path / "demo.yml"
    path.write_text("extends: tiny\n")
    with pytest.raises(InvalidParameters, match="Give it another name"):
        parameters.load(path)


def test_yaml_tags_are_not_executed(tmp_path):
    with pytest.raises(InvalidParameters, match="not valid YAML"):
        _load(tmp_path, "seed: !!python/object/apply:os.getcwd []\n")


def test_a_profile_cannot_extend_itself(tmp_path):
    path = tmp_path / "mine.yml"
    with pytest.raises(InvalidParameters, match="comes back to itself"):
        _load(tmp_path, f"extends: {path}\n")
