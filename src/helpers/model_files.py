"""A classifier as a file, and the card that goes with it: what it is, what it saw, what it may not.

``resnet50.keras`` holds the network and its head, ``resnet50.json`` the card for programs and
``resnet50.md`` the same for people. The card holds the file's checksum, so that a model and the
card of another one are not taken together.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeVar

import pandas as pd
import pydantic

from helpers import STATEMENT, networks, parameters, paths, training
from helpers.networks import keras

LIMITS = (
    "It may not be used to diagnose, to triage or to treat.",
    "It has seen no one but the people counted above; synthetic ones if the data say phantom.",
    "Those with dystrophinopathy are boys and young men, the others mostly adults of both sexes: "
    "part of what it tells apart may be age and sex.",
    "Its probabilities are not calibrated, and its threshold is that of this cohort's mix.",
    "One slice orientation and one weighting: axial, T1.",
)


#: A probability; one that is no number decides nothing.
Share = Annotated[float, pydantic.Field(ge=0, le=1, allow_inf_nan=False)]


class ModelFileError(RuntimeError):
    """A model file or its card that cannot be used; the message says why."""


class Thresholds(pydantic.BaseModel):
    """Probabilities from which on a leg image and a person are called positive."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    image: Share
    person: Share


class Card(pydantic.BaseModel):
    """What has to be known of a model file before it is used.

    Attributes
    ----------
    network : str
        Keras name.
    input_pixels : int
        Edge of its input.
    weights, weights_identity : str
        One sentence on the frozen weights; their kind with checksum or seed.
    evidence : str
        Evidence label of the cohort it was trained on.
    data : list of dict
        split, diagnosis (1: dystrophinopathy), cases and images.
    training : dict
        Parameters of the training.
    seed, epoch : int
        Of the head that is in the file, and the epoch it was kept at.
    roi : helpers.parameters.Roi
        How the legs were found that it was trained on; they have to be found alike when it is
        used.
    pooling : {"mean", "max"}
        How a person's probability is made from the images'.
    thresholds : Thresholds
        Called positive from here on, for a leg image and for a person.
    metrics : list of dict
        measure, estimate, low, high, unit, threshold (of decisions), on the test set.
    limits : list of str
        What it must not be used for, and why.
    sha256 : str
        Of the ``.keras`` file.
    keras : str
        Version that wrote it.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    network: parameters.NETWORKS
    input_pixels: parameters.Pixels
    weights: str
    weights_identity: str
    evidence: Literal["phantom", "your data"]
    data: list[dict]
    training: dict
    seed: int
    epoch: int
    roi: parameters.Roi
    pooling: Literal["mean", "max"]
    thresholds: Thresholds
    metrics: list[dict]
    limits: list[str] = list(LIMITS)
    sha256: str
    keras: str = keras.__version__

    #: What makes such a model, for messages.
    maker: ClassVar[str] = "Notebook 04 makes resnet50"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input of the network."""
        return self.input_pixels, self.input_pixels, 3

    @property
    def basis(self) -> str:
        """Evidence label and kind of weights, as printed beside every result."""
        return f"{self.evidence}, {self.weights_identity.partition(':')[0]} weights"


#: A card of some kind of model.
AnyCard = TypeVar("AnyCard", bound=pydantic.BaseModel)


def write_card(
    path: Path,
    heads: training.Heads,
    *,
    network: str,
    weights: networks.Weights,
    table: pd.DataFrame,
    metrics: pd.DataFrame,
    **about,
) -> Card:
    """Write the card of a model file, as JSON and as text, beside it.

    Parameters
    ----------
    path : Path
        The ``.keras`` file; it must exist.
    heads : Heads
        Of which the first seed's is in the file.
    network : str
        Keras name.
    weights : Weights
        Of its frozen part.
    table : DataFrame
        From :func:`helpers.training.labelled`: whom it was trained on and judged by.
    metrics : DataFrame
        measure, estimate, low, high, unit, threshold (of decisions), on the test set.
    **about
        The other fields of :class:`Card`: input_pixels, evidence, training, roi, pooling,
        thresholds.

    Returns
    -------
    Card
    """
    by = table.groupby(["split", "label"], sort=False)
    data = by.agg(cases=("case_id", "nunique"), images=("image_id", "size")).reset_index()
    card = Card(
        network=network,
        weights=weights.message,
        weights_identity=weights.identity,
        data=json.loads(data.to_json(orient="records")),
        metrics=json.loads(metrics.to_json(orient="records")),
        sha256=sha256(path),
        seed=heads.seeds[0],
        epoch=int(training.kept(heads)["epoch"]),
        **about,
    )
    write_beside(path, card, as_markdown(card))
    return card


def write_beside(path: Path, card: pydantic.BaseModel, text: str) -> None:
    """Write a card beside its model, for programs and for people.

    Parameters
    ----------
    path : Path
        The ``.keras`` file.
    card : pydantic.BaseModel
        What ``.json`` holds.
    text : str
        What ``.md`` holds.
    """
    for suffix, content in ((".json", card.model_dump_json(indent=1)), (".md", text)):
        with paths.atomic_path(path.with_suffix(suffix)) as temporary:
            temporary.write_text(content + "\n", encoding="utf-8")


def read_card(path: Path, *, kind: type[AnyCard] = Card) -> AnyCard:
    """Read a model's card and check that it belongs to the file.

    Parameters
    ----------
    path : Path
        The ``.keras`` file.
    kind : type
        Of the card: :class:`Card`, or another with ``maker``, ``input_shape`` and ``sha256``.

    Returns
    -------
    Card

    Raises
    ------
    ModelFileError
        When the model or its card is missing, not readable, or the two do not belong together.

    Examples
    --------
    >>> read_card(Path("models") / "a.keras")
    Traceback (most recent call last):
    helpers.model_files.ModelFileError: No model models/a.keras. Models with a card there: none. \
Notebook 04 makes resnet50: make book PROFILE=<name>
    """
    name = "/".join(path.parts[-2:])
    again = f"make book PROFILE={path.parent.parent.name or '<name>'}"
    if not path.is_file():
        cards = sorted(card.stem for card in path.parent.glob("*.json"))
        raise ModelFileError(
            f"No model {name}. Models with a card there: {', '.join(cards) or 'none'}. "
            f"{kind.maker}: {again}"
        )
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise ModelFileError(
            f"{name} has no card {beside.name} beside it, so its input and its threshold are not "
            f"known. {kind.maker} and its card: {again}"
        )
    try:
        card = kind.model_validate_json(beside.read_text(encoding="utf-8"))
    except (pydantic.ValidationError, UnicodeDecodeError) as error:
        raise ModelFileError(
            f"{beside.name} is not a model card: {_what_is_wrong(error)}. Run: {again}"
        ) from error
    if sha256(path) != card.sha256:
        raise ModelFileError(
            f"{name} is not the model of its card (SHA-256 {sha256(path)[:12]}…, the card says "
            f"{card.sha256[:12]}…): damaged, or of another run. Delete both and run: {again}"
        )
    return card


def load(path: Path, *, kind: type[AnyCard] = Card) -> tuple[keras.Model, AnyCard]:
    """Load a model and its card; code inside the file is not run.

    Parameters
    ----------
    path : Path
        The ``.keras`` file.
    kind : type
        Of the card, as for :func:`read_card`.

    Returns
    -------
    keras.Model, Card

    Raises
    ------
    ModelFileError
        As :func:`read_card`; or when Keras refuses the file in its safe mode.
    """
    card = read_card(path, kind=kind)
    try:
        model = keras.saving.load_model(path, safe_mode=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelFileError(f"Keras does not load {path.name} safely: {reason}") from error
    found = model.input_shape[1:]
    if found != card.input_shape:
        raise ModelFileError(
            f"{path.name} takes images of {found}, its card says {card.input_shape}."
        )
    return model, card


def as_markdown(card: Card) -> str:
    """Return a card as text for people.

    Parameters
    ----------
    card : Card

    Returns
    -------
    str
        Markdown.
    """
    data = [
        f"| {row['split']} | {'dystrophinopathy' if row['label'] else 'another disease'} "
        f"| {row['cases']} | {row['images']} |"
        for row in card.data
    ]
    metrics = [
        f"| {row['measure']} | {row['unit']} | {_threshold(row)} | {interval(row)} |"
        for row in card.metrics
    ]
    settings = [f"- {name.replace('_', ' ')}: {value}" for name, value in card.training.items()]
    cut = ", ".join(f"{unit} {value:.3f}" for unit, value in card.thresholds)
    found = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in card.roi)
    lines = [
        f"# {card.network} for dystrophinopathy in axial T1 images of the thigh",
        *("", f"**{STATEMENT}**", ""),
        f"- Input: one leg, {card.input_pixels} × {card.input_pixels} pixels, three channels",
        f"- Legs found with: {found}",
        f"- Frozen weights: {card.weights} ({card.weights_identity})",
        f"- Evidence: {card.evidence}",
        f"- Head: seed {card.seed}, epoch {card.epoch}",
        f"- Called dystrophinopathy from a probability of: {cut}",
        f"- A person's probability: {card.pooling} over the person's leg images",
        f"- File: SHA-256 {card.sha256}, written by Keras {card.keras}",
        *(
            "",
            "## Data",
            "",
            "| set | diagnosis | cases | leg images |",
            "|---|---|---|---|",
            *data,
        ),
        *("", "## Training", "", *settings),
        *("", "## On the test set", "", "| measure | unit | from a probability of | value |"),
        *("|---|---|---|---|", *metrics),
        *("", "## Limits", "", *(f"- {text}" for text in card.limits)),
    ]
    return "\n".join(lines)


def interval(row: dict) -> str:
    """Return an estimate with its limits, as cards print it."""
    if row["estimate"] is None:
        return "undefined"
    limits = row["low"] is not None and row["high"] is not None
    text = f"{row['estimate']:.3f}"
    return text + (f" ({row['low']:.3f} to {row['high']:.3f})" if limits else "")


def _threshold(row: dict) -> str:
    return "" if row.get("threshold") is None else f"{row['threshold']:.3f}"


def _what_is_wrong(error: ValueError) -> str:
    if not isinstance(error, pydantic.ValidationError):
        return str(error)
    found = [(".".join(map(str, item["loc"])), item["msg"]) for item in error.errors()]
    return "; ".join(": ".join(part for part in pair if part) for pair in found)


def sha256(file: Path) -> str:
    """Return a file's SHA-256, hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
