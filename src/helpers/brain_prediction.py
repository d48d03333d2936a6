"""What a saved 3-D network says of brain scans: ``python -m helpers predict --brain SCAN``.

Research software, not for clinical use: the model has learnt a cohort, not medicine.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import pydantic
from numpy.typing import NDArray

from helpers import STATEMENT, brain, head_box, model_files, own_brains, paths, prediction
from helpers.networks import keras
from helpers.volumes import Volume

LIMITS = (
    "It may not be used to diagnose, to triage or to treat.",
    "It has seen no one but the people counted above; synthetic ones if the data say phantom. "
    "Synthetic brains have no skull and no face.",
    "It knows two answers only: whatever else a scan shows is called one of them or referred.",
    "Its probabilities are not calibrated; delta is that of this cohort's tuning set.",
    "It may tell apart age, sex, scanner or site, as far as these differed between the groups.",
)
SCANS = [
    *("scan", "status", "reason", "probability", "delta", "call", "placed_by", "picture"),
    "seconds",
]
#: Files by which an earlier result is known.
OWN_FILES = ("scans.csv", "READ_FIRST.md")
#: How far a registered head's own middle may lie from the box's, mm along an axis. An assumption:
#: twenty registered heads of the phantom stay within 6 mm, and scalp adds a little. A scanner's own
#: coordinates can agree by chance; then the head lies in the middle of the box all the same.
REGISTERED_MM = 8.0
NOT_REGISTERED = (
    "is not in template space, placed by its own head: the model has seen registered heads only"
)


class Card(pydantic.BaseModel):
    """What has to be known of a brain model's file before it is used.

    Attributes
    ----------
    network : str
        What it is.
    shape : tuple of int
        Voxels of its box along x, y, z.
    voxel_mm, placement, brain_input
        How scans were read that it was trained on, see :func:`helpers.brain.read_volume`.
    positive : str
        What a high probability stands for.
    effect : str
        Series of scans it was trained on.
    evidence : str
        Evidence label of the cohort it was trained on.
    data : list of dict
        split, group and subjects.
    training : dict
        Parameters of the network and its training.
    seed, epoch : int
        Of its training, and the epoch that was kept.
    referral_target, delta : float
        Share of the tuning set to refer; referred is who lies within delta of one half.
    metrics : list of dict
        measure, estimate, low, high, unit, on held-out people.
    limits : list of str
        What it must not be used for, and why.
    sha256 : str
        Of the ``.keras`` file.
    keras : str
        Version that wrote it.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    network: str = "DystoniaNet, a stand-in: four convolutional and two dense layers"
    shape: tuple[int, int, int]
    voxel_mm: pydantic.PositiveFloat
    placement: Literal["world", "head"]
    brain_input: Literal["standardised", "raw"]
    positive: str
    effect: str
    evidence: Literal["phantom", "your data"]
    data: list[dict]
    training: dict
    seed: int
    epoch: int
    referral_target: model_files.Share
    delta: model_files.Share
    metrics: list[dict]
    limits: list[str] = list(LIMITS)
    sha256: str
    keras: str = keras.__version__

    maker: ClassVar[str] = "Notebook 07 makes dystonianet"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input of the network."""
        return (*self.shape, 1)

    @property
    def basis(self) -> str:
        """Evidence label and kind of weights, as printed beside every result."""
        return f"{self.evidence}, trained from random weights"

    @property
    def reading(self) -> dict:
        """How scans have to be read: arguments of :func:`helpers.brain.in_box`."""
        return self.model_dump(include={"voxel_mm", "placement", "brain_input"})


@dataclass(frozen=True)
class Seen:
    """One scan with what was found.

    Attributes
    ----------
    row : dict
        Of :data:`SCANS`.
    box : ndarray of float32, shape (x, y, z)
        What the network saw.
    """

    row: dict
    box: NDArray[np.float32]


def write_card(
    folder: str | Path,
    subjects: pd.DataFrame,
    *,
    history: pd.DataFrame,
    table: pd.DataFrame,
    areas: pd.DataFrame,
    training: dict,
    target: float,
    seed: int,
    evidence: str,
) -> Card:
    """Write the card of the main series' first network beside it, as JSON and as text.

    Parameters
    ----------
    folder : str or Path
        ``results/<profile>`` with ``models/dystonianet.keras``.
    subjects : DataFrame
        From :func:`helpers.brain.read_subjects`.
    history : DataFrame
        ``effect, seed, epoch, kept``: the epochs of every training.
    table : DataFrame
        From :func:`helpers.referral.report`, which holds delta.
    areas : DataFrame
        From :func:`helpers.referral.areas`.
    training : dict
        Parameters of the network and its training.
    target : float
        Share to refer, by which delta was chosen.
    seed : int
        Of the network in the file.
    evidence : {"phantom", "your data"}
        Label of the cohort.

    Returns
    -------
    Card
    """
    path = Path(folder) / "models" / "dystonianet.keras"
    effect = table["effect"].iloc[0]
    own = table[table["effect"] == effect]
    epochs = history[(history["effect"] == effect) & (history["seed"] == seed) & history["kept"]]
    data = subjects.groupby(["split", "group"], sort=False).size().rename("subjects")
    groups = sorted(set(subjects["group"]) - {"control"})
    reading = brain.reading(folder)
    card = Card(
        shape=head_box.box_shape(reading["voxel_mm"]),
        positive="dystonia" if set(groups) <= set(brain.GROUPS) else " or ".join(groups),
        effect=effect,
        evidence=evidence,
        data=data.reset_index().to_dict("records"),
        training=json.loads(json.dumps(training, default=str)),
        seed=seed,
        epoch=int(epochs["epoch"].iloc[0]),
        referral_target=target,
        delta=float(own["delta"].iloc[0]),
        metrics=_metrics(own, areas, effect, seed),
        sha256=model_files.sha256(path),
        **reading,
    )
    model_files.write_beside(path, card, as_markdown(card))
    return card


def scans_of(places: Sequence[Path]) -> list[tuple[str, Path]]:
    """Return the scans that some files and folders hold, each with a name.

    Parameters
    ----------
    places : sequence of Path
        NIfTI or multi-frame DICOM files, folders of one DICOM series, or folders of these.

    Returns
    -------
    list of (str, Path)
        Below a folder every NIfTI file is a scan, and every folder that holds other files is one
        series. Names start with what was given.

    Raises
    ------
    FileNotFoundError
        For a place that does not exist or holds no file.
    """
    found: dict[Path, str] = {}
    for place in places:
        files = paths.files_below(place) if place.is_dir() else [place] * place.exists()
        if not files:
            state = "holds no file" if place.exists() else "does not exist"
            raise FileNotFoundError(
                f"{place} {state}. Expected NIfTI files, or folders with one DICOM series each. "
                "Nothing was written."
            )
        for file in files:
            single = not place.is_dir() or file.name.lower().endswith((".nii", ".nii.gz"))
            scan = file if single else file.parent
            inside = scan.relative_to(place) if place.is_dir() else Path()
            found.setdefault(scan, (Path(place.resolve().name) / inside).as_posix())
    return [(name, scan) for scan, name in found.items()]


def predict(
    scans: Sequence[tuple[str, Path]],
    model: keras.Model,
    card: Card,
    *,
    clock: Callable[[], float],
) -> Iterator[Seen | dict]:
    """Yield what a model says of each scan.

    Parameters
    ----------
    scans : sequence of (str, Path)
        From :func:`scans_of`.
    model, card
        From :func:`helpers.model_files.load`; scans are read with the card's ``reading``.
    clock : callable
        Returns seconds.

    Yields
    ------
    Seen or dict
        A dict, a row of :data:`SCANS` that says why, where a scan gives no probability.
    """
    for number, (name, place) in enumerate(scans, start=1):
        start = clock()
        volume, out = own_brains.judged(place)
        row: dict = {"scan": name, "delta": card.delta}
        if volume is None or out is not None:
            text = f"{out['reason']}. {out['remedy']}" if out else ""
            yield row | _left_out("not readable" if volume is None else "not admitted", text)
            continue
        reading, reason = _placed(volume, card)
        box = brain.in_box(volume, **reading)
        probability = float(model.predict_on_batch(box[np.newaxis, ..., np.newaxis])[0, 0])
        yield Seen(
            row
            | {
                "status": "included",
                "reason": "; ".join([reason, *volume.notes]).strip("; "),
                "probability": probability,
                "call": call(probability, card),
                "placed_by": reading["placement"],
                "picture": f"pictures/{number:05d}.png",
                "seconds": round(clock() - start, 3),
            },
            box,
        )


def call(probability: float, card: Card) -> str:
    """Return the decision at the card's band, by the rule of :func:`helpers.referral.refer`.

    Parameters
    ----------
    probability : float
        Of the card's ``positive``.
    card : Card

    Returns
    -------
    str
    """
    if not np.isfinite(probability):
        return "no decision"
    if abs(probability - 0.5) < card.delta:
        return "referred: too uncertain"
    return card.positive if probability >= 0.5 else "control"


def write(
    places: Sequence[Path],
    model_file: Path,
    target: Path,
    *,
    draw: Callable[[Seen, Card], bytes],
    clock: Callable[[], float],
) -> tuple[pd.DataFrame, Card]:
    """Predict scans and write a table, a picture of each box, and the statement.

    Parameters
    ----------
    places : sequence of Path
        As for :func:`scans_of`.
    model_file : Path
        A ``.keras`` file with its card.
    target : Path
        Folder for ``scans.csv``, ``pictures/*.png`` and the statement. It is written beside and
        swapped in whole, in place of an earlier result.
    draw : callable
        Returns a PNG's bytes from a :class:`Seen` and the card.
    clock : callable
        Returns seconds.

    Returns
    -------
    scans : DataFrame
        Rows of :data:`SCANS`.
    card : Card
        The model's.

    Raises
    ------
    FileNotFoundError
        From :func:`scans_of`.
    FileExistsError
        When the target holds something else than an earlier result.
    helpers.model_files.ModelFileError
        From :func:`helpers.model_files.load`.
    """
    scans, target = scans_of(places), target.absolute()
    prediction.stop_at_other_files(target, OWN_FILES)
    model, card = model_files.load(model_file, kind=Card)
    rows = []
    with prediction.swapped_in(target) as place:
        (place / "pictures").mkdir()
        for found in predict(scans, model, card, clock=clock):
            if isinstance(found, Seen):
                (place / found.row["picture"]).write_bytes(draw(found, card))
            rows.append(found.row if isinstance(found, Seen) else found)
        table = pd.DataFrame(rows).reindex(columns=SCANS)
        table.to_csv(place / "scans.csv", index=False)
        (place / "READ_FIRST.md").write_text(_statement(card), encoding="utf-8")
    return table, card


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
    sides = " × ".join(str(n) for n in card.shape)
    placed = {
        "world": "registered heads, one box in template space",
        "head": "a box that hangs on each head",
    }
    data = [f"| {row['split']} | {row['group']} | {row['subjects']} |" for row in card.data]
    metrics = [
        f"| {row['measure']} | {row['unit']} | {model_files.interval(row)} |"
        for row in card.metrics
    ]
    settings = [f"- {name.replace('_', ' ')}: {value}" for name, value in card.training.items()]
    lines = [
        f"# {card.network}",
        *("", f"**{STATEMENT}**", ""),
        f"- Input: one T1-weighted scan, {sides} voxels of {card.voxel_mm:g} mm, "
        f"{card.brain_input}; {placed[card.placement]}",
        f"- Output: probability of {card.positive}",
        "- Weights: random at the start",
        f"- Evidence: {card.evidence}",
        f"- Series: {card.effect}; seed {card.seed}, epoch {card.epoch}",
        f"- Referred: whoever lies within {card.delta:.3f} of one half, chosen on the optimisation "
        f"set to refer {card.referral_target:.1%} of it",
        f"- File: SHA-256 {card.sha256}, written by Keras {card.keras}",
        *("", "## Data", "", "| set | group | people |", "|---|---|---|", *data),
        *("", "## Network and training", "", *settings),
        *("", "## On held-out people", "", "| measure | unit | value |", "|---|---|---|", *metrics),
        *("", "## Limits", "", *(f"- {text}" for text in card.limits)),
    ]
    return "\n".join(lines)


def _metrics(own: pd.DataFrame, areas: pd.DataFrame, effect: str, seed: int) -> list[dict]:
    rows = []
    for group, measure in (("all patients", "sensitivity"), ("control", "specificity")):
        for row in own[own["group"] == group].itertuples():
            name = f"{measure}, of those decided"
            rows.append((name, row.estimate, row.low, row.high, "subject"))
    mine = areas[(areas["model"] == "DystoniaNet") & (areas["effect"] == effect)]
    for row in mine[mine["seed"] == seed].itertuples():
        rows.append(("area under the ROC curve", row.estimate, row.low, row.high, "subject"))
    table = pd.DataFrame(rows, columns=["measure", "estimate", "low", "high", "unit"])
    return json.loads(table.to_json(orient="records"))


def _placed(volume: Volume, card: Card) -> tuple[dict, str]:
    """Return how to read a scan; one out of template space is placed by its head, and that said."""
    if card.placement == "head":
        return card.reading, ""
    found = head_box.coarse(head_box.averaged(volume, head_box.COARSE_MM))
    centre = head_box.head_centre(found, head_box.head_mask(found))
    away = np.abs(np.array(centre) - head_box.BOX_CENTRE_MM).max()
    if away <= REGISTERED_MM:
        return card.reading, ""
    return card.reading | {"placement": "head"}, NOT_REGISTERED


def _left_out(status: str, reason: str) -> dict:
    return {"status": status, "reason": reason, "probability": np.nan, "call": "no decision"}


def _statement(card: Card) -> str:
    return (
        f"# {STATEMENT}\n\n"
        "These probabilities come from a model that was trained on the cohort of its card, below. "
        "They say how alike the scans are to that cohort's, and nothing else about a person.\n\n"
        f"**Evidence: {card.basis}.**\n\n"
        "The table here holds the names of your folders and files. If those identify a person, "
        "so does the table; a picture of a head may show a face.\n\n"
        f"{as_markdown(card)}\n"
    )
