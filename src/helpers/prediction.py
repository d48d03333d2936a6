"""What a saved classifier says of images it has not seen: ``python -m helpers predict FOLDER``.

Research software, not for clinical use: the model has learnt a cohort, not medicine.
"""

from collections.abc import Iterator
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
LEGS = [
    *("case_id", "file", "frame", "side", "row0", "col0", "row1", "col1", "status", "reason"),
    *("mirrored", "probability", "call"),
]


@dataclass(frozen=True)
class Seen:
    """One slice with what was found on it.

    Attributes
    ----------
    name : str
        Case, file and frame, as a file name.
    image : SliceImage
        The slice.
    legs : list of dict
        Rows of :data:`LEGS`.
    maps : list of ndarray
        Class activation in each leg's box; empty for heads with hidden layers.
    """

    name: str
    image: SliceImage
    legs: list[dict]
    maps: list[NDArray[np.float64]]


def predict(
    folder: Path, model: keras.Model, card: model_files.Card, *, roi_options: dict
) -> Iterator[tuple[list[dict], list[Seen]]]:
    """Yield what a model says of a folder of DICOM or NIfTI files, some slices at a time.

    Parameters
    ----------
    folder : Path
        A folder per case, or one case's files. Every file in it is looked at.
    model, card
        From :func:`helpers.model_files.load`.
    roi_options : dict
        A profile's ``roi``: arguments of :func:`helpers.roi.locate_legs`, and ``mirror_left``.

    Yields
    ------
    rows : list of dict
        Rows of :data:`LEGS`; a file or slice that gives no leg has one row that says why.
    seen : list of Seen
        The slices with legs on them.
    """
    say = _Classifier(model, card)
    rows: list[dict] = []
    chunk: list[Seen] = []
    for case_id, file, frame, image in _slices(folder):
        about = {"case_id": case_id, "file": file.relative_to(folder).as_posix(), "frame": frame}
        legs = _legs(image, roi_options)
        for leg in legs:
            leg |= about
        if isinstance(image, SliceImage) and legs[0]["status"] == "included":
            name = "_".join([case_id, *file.relative_to(folder).with_suffix("").parts, str(frame)])
            chunk.append(Seen(name, image, legs, []))
        rows += legs
        if len(chunk) == CHUNK:
            yield rows, say(chunk)
            rows, chunk = [], []
    yield rows, say(chunk)


def people(legs: pd.DataFrame, card: model_files.Card) -> pd.DataFrame:
    """Return one row per case: probability, decision, and on how many leg images it rests.

    Parameters
    ----------
    legs : DataFrame
        Rows of :data:`LEGS`.
    card : Card
        Its pooling rule and threshold.

    Returns
    -------
    DataFrame
        case_id, leg_images, probability, threshold, call, left_out (rows without a leg).
    """
    rows = []
    for case_id, part in legs.groupby("case_id", sort=True):
        own = part["probability"].dropna()
        value = float(own.agg(card.pooling)) if len(own) else np.nan
        cut = card.thresholds["person"]
        rows.append((case_id, len(own), value, cut, _call(value, cut), len(part) - len(own)))
    columns = ["case_id", "leg_images", "probability", "threshold", "call", "left_out"]
    return pd.DataFrame(rows, columns=columns)


def write(folder: Path, model_file: Path, target: Path, *, roi_options: dict, draw) -> pd.DataFrame:
    """Predict a folder and write tables and overlays.

    Parameters
    ----------
    folder : Path
        As for :func:`predict`.
    model_file : Path
        A ``.keras`` file with its card.
    target : Path
        Folder for ``legs.csv``, ``cases.csv``, ``overlays/*.png`` and the statement.
    roi_options : dict
        A profile's ``roi``, the one the model was trained with.
    draw : callable
        Returns a PNG's bytes from a :class:`Seen` and the threshold.

    Returns
    -------
    DataFrame
        From :func:`people`.

    Raises
    ------
    FileNotFoundError
        When the folder does not exist or holds no file.
    ModelFileError
        From :func:`helpers.model_files.load`.
    """
    if not folder.is_dir() or not any(_files(folder)):
        state = "holds no file" if folder.is_dir() else "does not exist"
        raise FileNotFoundError(
            f"{folder} {state}. Expected DICOM or NIfTI files, in one folder per case or all of "
            "one case. Nothing was written."
        )
    model, card = model_files.load(model_file)
    rows: list[dict] = []
    for more, seen in predict(folder, model, card, roi_options=roi_options):
        rows += more
        for one in seen:
            with paths.atomic_path(target / "overlays" / f"{one.name}.png") as temporary:
                temporary.write_bytes(draw(one, card.thresholds["image"]))
    legs = pd.DataFrame(rows).reindex(columns=LEGS)
    cases = people(legs, card)
    for name, frame in (("legs.csv", legs), ("cases.csv", cases)):
        with paths.atomic_path(target / name) as temporary:
            frame.to_csv(temporary, index=False)
    with paths.atomic_path(target / "READ_FIRST.md") as temporary:
        temporary.write_text(_statement(card), encoding="utf-8")
    return cases


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
        size, cut = self._card.input_pixels, self._card.thresholds["image"]
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


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def _slices(folder: Path) -> Iterator[tuple[str, Path, int, SliceImage | UnreadableImage]]:
    for file in _files(folder):
        inside = file.relative_to(folder).parts
        case_id = inside[0] if len(inside) > 1 else folder.resolve().name
        try:
            for frame, (_, image) in enumerate(images.read_frames(file)):
                yield case_id, file, frame, image
        except UnreadableImage as error:
            yield case_id, file, 0, error


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
    mirror, names = roi_options.get("mirror_left", False), ("row0", "col0", "row1", "col1")
    return [
        {
            **{"side": side, "status": "included", "reason": ""},
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
        f"{model_files.as_markdown(card)}\n"
    )
