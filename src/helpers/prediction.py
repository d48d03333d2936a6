"""What a saved classifier says of images it has not seen: ``python -m helpers predict FOLDER``.

Research software, not for clinical use: the model has learnt a cohort, not medicine.
"""

import hashlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from helpers import (
    STATEMENT,
    admission,
    explanation,
    images,
    model_files,
    networks,
    paths,
    roi,
    training,
)
from helpers.images import SliceImage, UnreadableImage
from helpers.networks import keras

#: Slices held in memory at once.
CHUNK = 16
LEG_IMAGES = [
    *("case_id", "file", "frame", "side", "row0", "col0", "row1", "col1", "status", "reason"),
    *("mirrored", "probability", "call", "overlay"),
]
#: A folder that holds these was written by :func:`write` and may be replaced by it.
OWN_FILES = ("legs.csv", "READ_FIRST.md")


@dataclass(frozen=True)
class Seen:
    """One slice with what was found on it.

    Attributes
    ----------
    name : str
        Overlay's file name: the row of ``leg_images.csv`` that its first leg has, counted from 1.
    image : SliceImage
        The slice.
    legs : list of dict
        Rows of :data:`LEG_IMAGES`.
    maps : list of ndarray
        Class activation in each leg's box; empty for heads with hidden layers.
    """

    name: str
    image: SliceImage
    legs: list[dict]
    maps: list[NDArray[np.float64]]


def predict(
    folder: Path, model: keras.Model, card: model_files.Card
) -> Iterator[tuple[list[dict], list[Seen]]]:
    """Yield what a model says of a folder of DICOM or NIfTI files, some slices at a time.

    Parameters
    ----------
    folder : Path
        A folder per case, or one case's files; read as an author's scans are, see
        :func:`helpers.paths.files_below`. A picture that was met before is left out.
    model, card
        From :func:`helpers.model_files.load`. The legs are found with the card's ``roi``, as
        those were that the model was trained on.

    Yields
    ------
    rows : list of dict
        Rows of :data:`LEG_IMAGES`; a file or slice that gives no leg has one row that says why.
    seen : list of Seen
        The slices with legs on them.
    """
    say, options, met = _Classifier(model, card), card.roi.model_dump(), {}
    rows: list[dict] = []
    chunk: list[Seen] = []
    number = 1
    for case_id, file, frame, image in _slices(folder):
        about = {"case_id": case_id, "file": file.relative_to(folder).as_posix(), "frame": frame}
        legs = _copy(image, about, met) or _legs(image, options)
        for leg in legs:
            leg |= about
        if legs[0]["status"] == "included":
            name = f"{number:05d}.png"
            chunk.append(Seen(name, image, legs, []))
            for leg in legs:
                leg["overlay"] = f"overlays/{name}"
        rows += legs
        number += len(legs)
        if len(chunk) == CHUNK:
            yield rows, say(chunk)
            rows, chunk = [], []
    yield rows, say(chunk)


def by_leg(rows: pd.DataFrame, card: model_files.Card) -> pd.DataFrame:
    """Return one row per leg: its probability over all slices, and on how many it rests.

    Parameters
    ----------
    rows : DataFrame
        Rows of :data:`LEG_IMAGES`.
    card : Card
        Its pooling rule; a card decides about leg images and people, not about legs.

    Returns
    -------
    DataFrame
        case_id, side, leg_images, probability.
    """
    seen = rows.dropna(subset=["probability"])
    by = seen.groupby(["case_id", "side"], sort=True)["probability"]
    return by.agg(leg_images="size", probability=card.pooling).reset_index()


def people(rows: pd.DataFrame, card: model_files.Card) -> pd.DataFrame:
    """Return one row per case: probability, decision, and on how many leg images it rests.

    Parameters
    ----------
    rows : DataFrame
        Rows of :data:`LEG_IMAGES`.
    card : Card
        Its pooling rule and threshold.

    Returns
    -------
    DataFrame
        case_id, leg_images, probability, threshold, call, left_out (rows without a leg).
    """
    found = []
    for case_id, part in rows.groupby("case_id", sort=True):
        own = part["probability"].dropna()
        value = float(own.agg(card.pooling)) if len(own) else np.nan
        cut = card.thresholds.person
        found.append((case_id, len(own), value, cut, _call(value, cut), len(part) - len(own)))
    columns = ["case_id", "leg_images", "probability", "threshold", "call", "left_out"]
    return pd.DataFrame(found, columns=columns)


def write(
    folder: Path, model_file: Path, target: Path, *, draw: Callable[[Seen, model_files.Card], bytes]
) -> tuple[pd.DataFrame, model_files.Card]:
    """Predict a folder and write tables and overlays.

    Parameters
    ----------
    folder : Path
        As for :func:`predict`.
    model_file : Path
        A ``.keras`` file with its card.
    target : Path
        Folder for ``cases.csv``, ``legs.csv``, ``leg_images.csv``, ``overlays/*.png`` and the
        statement. It is written beside and swapped in whole, in place of an earlier result.
    draw : callable
        Returns a PNG's bytes from a :class:`Seen` and the card.

    Returns
    -------
    cases : DataFrame
        From :func:`people`.
    card : Card
        The model's.

    Raises
    ------
    FileNotFoundError
        When the folder does not exist or holds no file.
    FileExistsError
        When the target holds something else than an earlier result.
    ModelFileError
        From :func:`helpers.model_files.load`.
    """
    if not folder.is_dir() or not paths.files_below(folder):
        state = "holds no file" if folder.is_dir() else "does not exist"
        raise FileNotFoundError(
            f"{folder} {state}. Expected DICOM or NIfTI files, in one folder per case or all of "
            "one case. Nothing was written."
        )
    target = target.absolute()
    stop_at_other_files(target)
    model, card = model_files.load(model_file)
    rows: list[dict] = []
    with swapped_in(target) as place:
        (place / "overlays").mkdir()
        for more, seen in predict(folder, model, card):
            rows += more
            for one in seen:
                (place / "overlays" / one.name).write_bytes(draw(one, card))
        each = pd.DataFrame(rows).reindex(columns=LEG_IMAGES)
        cases = people(each, card)
        named = {"cases": cases, "legs": by_leg(each, card), "leg_images": each}
        for name, table in named.items():
            table.to_csv(place / f"{name}.csv", index=False)
        (place / "READ_FIRST.md").write_text(_statement(card), encoding="utf-8")
    return cases, card


def stop_at_other_files(target: Path, own: tuple[str, ...] = OWN_FILES) -> None:
    """Stop where a folder holds something else than an earlier result.

    Parameters
    ----------
    target : Path
        Folder to be written.
    own : tuple of str
        Files by which an earlier result is known.

    Raises
    ------
    FileExistsError
        Then.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not all((target / name).is_file() for name in own):
        raise FileExistsError(
            f"{target} holds something else than an earlier result of predict "
            f"({' and '.join(own)}). Name another folder with --out. Nothing was written."
        )


@contextmanager
def swapped_in(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside the target, which takes its place when the block succeeds.

    Parameters
    ----------
    target : Path
        Folder to be replaced whole, or made.

    Yields
    ------
    Path
        Where to write.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex
    new, old = (target.with_name(f".{mark}.{word}") for word in ("new", "old"))
    new.mkdir()
    try:
        yield new
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)


class _Classifier:
    """Probability and last feature map of legs, in calls of one size."""

    def __init__(self, model: keras.Model, card: model_files.Card) -> None:
        self._card = card
        pooling = model.get_layer(training.POOLING)
        self._model = keras.Model(model.input, [pooling.input, model.output])
        self._kernel = model.get_layer(training.HEAD).get_weights()[0][:, 0].astype(float)
        self._maps = len(self._kernel) == pooling.input.shape[-1]

    def __call__(self, chunk: list[Seen]) -> list[Seen]:
        """Fill in the legs of some slices."""
        legs = [(one, leg) for one in chunk for leg in one.legs]
        if not legs:
            return chunk
        size, cut = self._card.input_pixels, self._card.thresholds.image
        cropped = [images.crop(one.image, _box(leg), size=size) for one, leg in legs]
        turns = [-1 if leg["mirrored"] else 1 for _, leg in legs]
        cropped = [picture[:, ::turn] for picture, turn in zip(cropped, turns, strict=True)]
        # One size of batch, so that the network is compiled once.
        cropped += [np.zeros_like(cropped[0])] * (2 * CHUNK - len(cropped))
        ready = np.repeat(np.stack(cropped)[..., None], 3, axis=-1)
        found = self._model.predict_on_batch(networks.preprocess(ready, self._card.network))
        maps, probability = (np.asarray(part) for part in found)
        for k, (one, leg) in enumerate(legs):
            leg["probability"] = float(probability[k, 0])
            leg["call"] = _call(leg["probability"], cut)
            if self._maps:
                row0, col0, row1, col1 = _box(leg)
                activation = maps[k][:, :: turns[k]].astype(float) @ self._kernel
                shape = (row1 - row0, col1 - col0)
                spacing = one.image.spacing_mm
                one.maps.append(explanation.on_box(activation, shape, spacing_mm=spacing))
        return chunk


def _slices(folder: Path) -> Iterator[tuple[str, Path, int, SliceImage | UnreadableImage]]:
    for file in paths.files_below(folder):
        inside = file.relative_to(folder).parts
        if inside == ("cases.csv",):  # the table of an author's folder of scans
            continue
        case_id = inside[0] if len(inside) > 1 else folder.resolve().name
        try:
            for frame, (_, image) in enumerate(images.read_frames(file)):
                yield case_id, file, frame, image
        except UnreadableImage as error:
            yield case_id, file, 0, error


def _copy(image: SliceImage | UnreadableImage, about: dict, met: dict[str, dict]) -> list[dict]:
    """Return a row for a picture that was met before, and remember one that was not."""
    if isinstance(image, UnreadableImage):
        return []
    first = met.setdefault(hashlib.sha256(image.pixels.tobytes()).hexdigest(), about)
    if first is about:
        return []
    where = f"{first['file']}, frame {first['frame']}"
    if first["case_id"] != about["case_id"]:
        where += f", which counts for case {first['case_id']}: see whom it shows"
    return [_left_out("copy", f"the same picture as {where}")]


def _legs(image: SliceImage | UnreadableImage, roi_options: dict) -> list[dict]:
    if isinstance(image, UnreadableImage):
        return [_left_out("unreadable", str(image))]
    verdict = admission.judge(image)
    if not verdict.admitted:
        return [_left_out("not admitted", f"{verdict.reason}. {verdict.remedy}")]
    options = {name: value for name, value in roi_options.items() if name != "mirror_left"}
    located = roi.locate_legs(image, **options)
    if located.reason:
        return [_left_out("no legs", located.reason)]
    unplaced = "" if image.facts.plane else "orientation not stated, taken to be axial"
    mirror, names = roi_options.get("mirror_left", False), ("row0", "col0", "row1", "col1")
    return [
        {
            **{"side": side, "status": "included", "reason": unplaced},
            **{"mirrored": int(mirror and side == "left")},
            **dict(zip(names, box, strict=True)),
        }
        for side, box in located.boxes.items()
    ]


def _left_out(status: str, reason: str) -> dict:
    return {"status": status, "reason": reason, "probability": np.nan, "call": "no decision"}


def _call(probability: float, threshold: float) -> str:
    if not np.isfinite(probability):
        return "no decision"
    return "dystrophinopathy" if probability >= threshold else "another disease"


def _box(leg: dict) -> tuple[int, int, int, int]:
    return leg["row0"], leg["col0"], leg["row1"], leg["col1"]


def _statement(card: model_files.Card) -> str:
    return (
        f"# {STATEMENT}\n\n"
        "These probabilities come from a model that was trained on the cohort of its card, below. "
        "They say how alike the images are to that cohort's, and nothing else about a person.\n\n"
        f"**Evidence: {card.basis}.**\n\n"
        "The tables here hold the names of your folders and files. If those identify a person, "
        "so do the tables.\n\n"
        f"{model_files.as_markdown(card)}\n"
    )
