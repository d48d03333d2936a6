"""pyproject.toml, the lock and environment.yml say the same."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from helpers import paths

TOP = paths.root()
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
LOCK = (TOP / "requirements.lock").read_text()
PINS = {
    name.lower(): version
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", LOCK, re.MULTILINE)
}
ASKED_FOR = (
    *("jupyterlab", "papermill", "jupyter-book", "tensorflow"),
    *("pydicom", "scikit-image", "seaborn", "pingouin"),
)


@pytest.mark.parametrize(
    "wanted", PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
)
def test_the_lock_pins_each_dependency_in_its_range(wanted):
    requirement = Requirement(wanted)
    assert Version(PINS[requirement.name.lower()]) in requirement.specifier


def test_every_pin_carries_a_hash_and_no_address():
    blocks = re.split(r"\n(?=[A-Za-z0-9])", LOCK.strip())
    without = [block.split()[0] for block in blocks if "--hash=sha256:" not in block]
    assert without == []
    assert "://" not in LOCK
    assert "--index" not in LOCK


def test_environment_yml_takes_python_from_conda_and_the_rest_from_the_lock():
    environment = yaml.safe_load((TOP / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert conda == [f"python{PROJECT['requires-python']}", "pip"]
    assert pip == {"pip": ["--require-hashes", "-r requirements.lock"]}


@pytest.mark.parametrize("name", ASKED_FOR)
def test_the_packages_the_paper_is_built_on_are_locked(name):
    assert name in PINS


def test_no_gpu_package_is_installed_unasked():
    assert [name for name in PINS if name.startswith("nvidia")] == []
