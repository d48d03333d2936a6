"""Parameters of a run: read from YAML, checked before anything starts.

A profile is a file ``parameters/<name>.yml`` or any path; the stem names it. A file may say
``extends: demo`` and then give only what differs. Papermill itself takes misspelt names and
wrong types silently, hence the strict models here.
"""

import difflib
import re
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from helpers import paths

Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Pixels = Annotated[int, Field(ge=32, le=1024)]

#: Kinds of weights beside those of a local folder.
WEIGHTS = ("imagenet", "simulated", "simulated:long", "simulated:short", "random")
#: Networks of ``keras.applications``; named here because reading a file must not wait for Keras.
APPLICATIONS = (
    *("VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152"),
    *("ResNet50V2", "ResNet101V2", "ResNet152V2", "DenseNet121", "DenseNet169", "DenseNet201"),
    *("InceptionV3", "InceptionResNetV2", "Xception", "NASNetMobile", "NASNetLarge"),
    *("MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large"),
    *("EfficientNetB0", "EfficientNetB1", "EfficientNetB2", "EfficientNetB3"),
    *("EfficientNetB4", "EfficientNetB5", "EfficientNetB6", "EfficientNetB7"),
    *("EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3"),
    *("EfficientNetV2S", "EfficientNetV2M", "EfficientNetV2L"),
    *("ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge"),
)


def _known_network(name: str) -> str:
    if name not in APPLICATIONS:
        raise ValueError(
            f"{name!r} is no network of keras.applications.{_nearest(name, list(APPLICATIONS))} "
            f"Available: {', '.join(APPLICATIONS)}"
        )
    return name


NETWORKS = Annotated[str, AfterValidator(_known_network)]


POSES = Literal["registered", "as_scanned"]
INPUTS = Literal["standardised", "raw"]


class InvalidParameters(ValueError):
    """The parameters file cannot be used; the message lists every problem in it."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Cohort(_Section):
    """Which images: a synthetic cohort or the author's own folder."""

    thigh_source: str = Field(description='"phantom", or the folder of your own thigh images')
    case_fraction: Fraction = Field(description="fraction of the published cases per cell")
    image_fraction: Fraction = Field(description="fraction of the published leg images per cell")
    thigh_matrix: int = Field(ge=128, le=1024, description="rows and columns of a slice, pixels")
    texture_strength: float = Field(
        ge=0, le=1, description="texture of fat in muscle; 0: evenly spread in each muscle"
    )
    brain_source: str = Field(description='"phantom", or the folder of your own brain images')
    subject_fraction: Fraction = Field(description="fraction of the published subjects per cell")
    brain_voxel_mm: float = Field(ge=1, le=8, description="voxel edge, mm")
    brain_pose: POSES = Field(description="how the phantom's heads lie")
    brain_input: INPUTS = Field(
        description="intensities as the network takes them: standardised over the head, or raw"
    )
    effect_d: NotNegative = Field(description="planted effect, Cohen's d in the own region")
    exaggerated_d: NotNegative = Field(description="planted effect of the positive control, d")


class Roi(_Section):
    """How the two legs are located in a slice."""

    working_mm: Positive = Field(description="edge of the blocks the legs are found on, mm")
    smoothing_mm: NotNegative = Field(description="sd of the smoothing before the threshold, mm")
    neck_fraction_max: Fraction = Field(
        description="longest contact that is cut, share of the leg's height"
    )
    leg_share_min: Fraction = Field(description="smallest leg, share of the foreground")
    margin_mm: NotNegative = Field(description="margin around the leg, mm")
    mirror_left: bool = Field(description="mirror left legs, so that all look like right ones")


class Machine(_Section):
    """What a run may do on this machine."""

    weights_download_seconds: int = Field(
        ge=0, description="time allowed to each download of ImageNet weights, s; 0: never download"
    )
    pretraining_seconds: int = Field(
        ge=0, description="time allowed to simulated weights, all networks, s; 0: never make them"
    )


class Backbones(_Section):
    """The frozen networks, their weights and the size of their input."""

    networks: list[NETWORKS] = Field(min_length=1, description="backbones, by Keras name")
    weights: list[str] = Field(min_length=1, description="kinds of weights, in order of preference")
    input_pixels: dict[str, Pixels] = Field(
        description="edge of the input, pixels: 'default', and networks that differ"
    )

    @field_validator("networks")
    @classmethod
    def _with_resnet50(cls, value: list[str]) -> list[str]:
        if "ResNet50" not in value:
            raise ValueError("'ResNet50' is missing: the paper's later results are all its")
        return value

    @field_validator("weights")
    @classmethod
    def _known_weights(cls, value: list[str]) -> list[str]:
        for item in value:
            if item not in WEIGHTS and not item.startswith("local:"):
                raise ValueError(f"{item!r} is not one of {', '.join(WEIGHTS)}, local:FOLDER")
        return value

    @field_validator("input_pixels")
    @classmethod
    def _known_networks(cls, value: dict[str, int]) -> dict[str, int]:
        for name in value.keys() - {"default"}:
            _known_network(name)
        if "default" not in value:
            raise ValueError("'default' is missing")
        return value


class Head(_Section):
    """What is trained on the frozen features, and how its images are scaled and weighted."""

    standardise: bool = Field(description="scale features by training mean and sd")
    hidden_units: list[Count] = Field(description="units of hidden layers before the last unit")
    class_weights: bool = Field(description="let both classes count alike in the training loss")


class Extent(_Section):
    """How often and how far things are repeated to see how much they vary."""

    seeds: Count = Field(description="repeated trainings, each with its own seed")
    splits: Count = Field(description="repeated divisions of the cases into five parts")
    path_epochs: Count = Field(description="epochs of the long path of SGD")
    fine_tune_epochs: int = Field(ge=0, description="epochs of fine-tuning; 0: none")


class Training(_Section):
    """How the head is trained."""

    learning_rate: Positive = Field(description="step size of SGD")
    batch_size: Count = Field(description="leg images per step")
    momentum: float = Field(ge=0, lt=1, description="momentum of SGD, 0 = plain")
    epochs_max: Count = Field(description="epochs at most")
    patience: Count = Field(description="epochs without a lower validation loss before stopping")
    head: Head = Field(description="what is trained on the frozen features")
    extent: Extent = Field(description="repetitions, and epochs of what is shown beside")


class Readers(_Section):
    """Where the radiologists' calls come from."""

    reads_csv: str = Field(description="file of your readers' calls; empty = simulated readers")


class Coverage(_Section):
    """How exactly the coverage of intervals is measured."""

    coverage_datasets: Count = Field(description="simulated data sets for each correlation")


class BrainLayers(_Section):
    """Sizes of the 3-D network; none is published, all are assumptions."""

    filters: Annotated[list[Count], Field(min_length=4, max_length=4)] = Field(
        description="filters of the four convolutional layers"
    )
    kernel: int = Field(ge=1, le=7, description="edge of the convolutions' kernels, voxels")
    pooling: int = Field(ge=2, le=4, description="edge of the pooled blocks, voxels")
    dense_units: Count = Field(description="units of the first dense layer")


class BrainExtras(_Section):
    """What stands beside the published layers of the 3-D network; all are assumptions."""

    dropout: float = Field(ge=0, lt=1, description="share of dense units left out in a step")
    batch_norm: bool = Field(description="normalise each map after its pooling")
    global_pooling: bool = Field(description="mean of each last map instead of all its voxels")


class BrainFitting(_Section):
    """How the 3-D network is trained; nothing of it is published, all are assumptions."""

    epochs: Count = Field(description="passes over the training set at most")
    patience: Count = Field(description="epochs without a lower optimisation loss before stopping")
    batch_size: Count = Field(description="subjects per step")
    learning_rate: Positive = Field(description="initial step size of Adam")


class DystoniaNet(_Section):
    """The 3-D network, its training and its referrals."""

    layers: BrainLayers = Field(description="sizes of the network")
    extras: BrainExtras = Field(description="what stands beside the published layers")
    fitting: BrainFitting = Field(description="how it is trained")
    referral_target: float = Field(ge=0, lt=1, description="share of subjects to refer")
    dn_seeds: Count = Field(description="repeated trainings, each with its own seed")


class Maps(_Section):
    """Class activation maps and feature maps."""

    examples_per_group: Count = Field(description="leg images per row of the figure")
    top_share: Fraction = Field(description="share of voxels shown as most discriminative")
    occlusion_mm: float = Field(ge=1, le=64, description="side of the box that is covered, mm")
    occlusion_people: int = Field(ge=0, description="patients and controls covered, each; 0: none")


class Profile(_Section):
    """All parameters of a run.

    Attributes
    ----------
    name : str
        Stem of the file; names the results folder.
    seed : int
        Every random draw of the run derives from it.
    """

    name: str
    seed: int = Field(ge=0, description="random seed")
    machine: Machine
    cohort: Cohort
    roi: Roi
    backbones: Backbones
    training: Training
    readers: Readers
    coverage: Coverage
    dystonianet: DystoniaNet
    maps: Maps


#: The sections whose fields each notebook takes, beside ``profile`` and ``seed``.
NOTEBOOK_SECTIONS: dict[str, tuple[str, ...]] = {
    "01_cohort_tables": (),
    "02_roi_extraction": ("roi",),
    "03_backbone_comparison": ("backbones", "training"),
    "04_resnet50_training": ("backbones", "training"),
    "05_reader_comparison": ("readers",),
    "06_dmd_bmd_breakdown": ("coverage",),
    "07_dystonianet": ("dystonianet",),
    "08_cam_visualization": ("maps",),
}


def file_of(profile: str | Path) -> Path:
    """Return the parameters file that a profile's name or path stands for.

    Parameters
    ----------
    profile : str or Path
        A name in ``parameters/`` such as ``"demo"``, or the path of a ``.yml`` file.

    Returns
    -------
    Path
        The existing file.

    Raises
    ------
    InvalidParameters
        When there is none; the message gives the nearest name and all that exist.
    """
    folder = paths.root() / "parameters"
    for candidate in (folder / f"{profile}.yml", Path(profile)):
        if candidate.is_file():
            return candidate
    names = sorted(p.stem for p in folder.glob("*.yml"))
    raise InvalidParameters(
        f"No parameters file for PROFILE={profile}.{_nearest(str(profile), names)}\n"
        f"Available: {', '.join(names)}, or the path of a .yml file."
    )


def load(profile: str | Path) -> Profile:
    """Read and check the parameters of a run.

    Parameters
    ----------
    profile : str or Path
        Name or path, see :func:`file_of`.

    Returns
    -------
    Profile
        Frozen and complete.

    Raises
    ------
    InvalidParameters
        Listing each unknown or missing name, wrong type and value out of range.

    Examples
    --------
    >>> load("tiny").backbones.input_pixels
    {'default': 64, 'InceptionV3': 80}
    """
    path = file_of(profile)
    shipped = paths.root() / "parameters" / path.name
    if shipped.is_file() and shipped.resolve() != path.resolve():
        raise InvalidParameters(
            f"{path} would share its results with parameters/{path.name}. Give it another name."
        )
    content = _merged(path, seen=())
    problems = list(_unknown_and_missing(content, Profile, ""))
    if not problems:
        try:
            return Profile(**content, name=path.stem)
        except ValidationError as error:
            problems = [_sentence(item) for item in error.errors()]
    listing = "\n".join(f"  - {problem}" for problem in problems)
    raise InvalidParameters(
        f"{path.name} cannot be used ({len(problems)} problem{'s'[: len(problems) > 1]}):\n"
        f"{listing}\nNothing was run. Correct the file and run the same command again."
    )


def for_notebook(profile: Profile, notebook: str) -> dict[str, object]:
    """Return the flat parameters that papermill passes to a notebook.

    Parameters
    ----------
    profile : Profile
        The run's parameters.
    notebook : str
        Name without suffix, a key of :data:`NOTEBOOK_SECTIONS`.

    Returns
    -------
    dict
        ``profile``, ``seed`` and the fields of the notebook's sections.

    Examples
    --------
    >>> for_notebook(load("tiny"), "05_reader_comparison")
    {'profile': 'tiny', 'seed': 2021, 'reads_csv': ''}
    """
    flat: dict[str, object] = {"profile": profile.name, "seed": profile.seed}
    for section in NOTEBOOK_SECTIONS[notebook]:
        flat |= getattr(profile, section).model_dump()
    return flat


def _merged(path: Path, *, seen: tuple[Path, ...]) -> dict:
    content = _read(path)
    parent = content.pop("extends", None)
    if parent is None:
        return content
    above = file_of(parent)
    if above in (*seen, path):
        raise InvalidParameters(f"{path.name}: 'extends: {parent}' comes back to itself.")
    return _overlaid(_merged(above, seen=(*seen, path)), content)


def _read(path: Path) -> dict:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InvalidParameters(f"{path.name} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise InvalidParameters(f"{path.name} holds no parameters; see parameters/demo.yml.")
    return content


def _overlaid(base: dict, over: dict) -> dict:
    both = dict(base)
    for key, value in over.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        both[key] = _overlaid(base[key], value) if nested else value
    return both


def _unknown_and_missing(content: dict, model: type[BaseModel], where: str):
    fields = {n: f for n, f in model.model_fields.items() if not (where == "" and n == "name")}
    for key in content.keys() - fields.keys():
        yield (
            f"{where}{key} = {content[key]!r}: no such parameter."
            f"{_nearest(str(key), list(fields))} Allowed here: {', '.join(fields)}."
        )
    for key, field in fields.items():
        inner = field.annotation
        is_section = isinstance(inner, type) and issubclass(inner, _Section)
        if key not in content:
            yield f"{where}{key} is missing ({field.description or 'a section'})."
        elif is_section and not isinstance(content[key], dict):
            yield f"{where}{key} = {content[key]!r}: expected a section of named parameters."
        elif is_section:
            yield from _unknown_and_missing(content[key], inner, f"{where}{key}.")


def _nearest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def _sentence(item: dict) -> str:
    name = ".".join(str(part) for part in item["loc"])
    field = _field_at(item["loc"])
    meaning = f" ({field.description})" if field is not None and field.description else ""
    allowed = item.get("ctx", {}).get("expected", "") if "literal" in item["type"] else ""
    choices = re.findall("'([^']+)'", str(allowed))
    nearest = _nearest(str(item["input"]), choices)
    return f"{name} = {item['input']!r}: {item['msg']}{meaning}.{nearest}"


def _field_at(loc: tuple):
    model, field = Profile, None
    for part in loc:
        if not isinstance(part, str) or part not in model.model_fields:
            return field
        field = model.model_fields[part]
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return field
