"""The synthetic thigh cohort: slices with both legs, DICOM files and the truth beside them.

The specification of the phantom (:func:`specification`) is hashed into ``cohort.json``. A version
is frozen before any network sees its images, and is not adjusted to any result: a change needs a
new version, and a reason in the literature or in measured anatomy
(``book/phantom_versions.csv``). A case depends only on the seed and its number, so that it can
be made alone. The truth is for scoring only.

**Separable, on the noise-free truth.** :func:`contact_share` is the height over which the two
legs of the label map are less than 1 mm apart, over the height of the higher leg. Legs are
*touching* when it is above 0, and *separable* when it is at most 0.25: the paper removed images
whose legs were "too close" and does not say how close, so the limit is an assumption.

The slices that make up the leg images of Table 2 are all separable; the uppermost of some cases
are in contact. Beside them there are extra slices whose legs are pressed together, as the paper
had and excluded. The shares of touching and of pressed slices are assumptions, because the paper
prints no count, and so is that women have both twice as often as men.
"""

import hashlib
import json
import math
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import cohort, paths
from helpers.parameters import Profile
from helpers.phantom import anatomy, cases, dicom, fat, physics, texture
from helpers.phantom.anatomy import Body, Leg

SPECIFICATION = {
    "version": 4,
    "slice_spacing_mm": 10.0,
    "slice_thickness_mm": 8.0,
    # Spacing of the pixel rows follows the smallest field of view that holds both legs.
    "fields_of_view_mm": [260, 280, 300, 320, 340, 360, 380, 400, 420, 440, 460, 480],
    "side_margin_mm": 12.0,
    # Free distance between separable legs: lognormal, mm, with its limits.
    "leg_gap_mm": [18.0, 0.6, 4.0, 60.0],
    "contact_distance_mm": 1.0,
    "separable_contact_share_max": 0.25,
    # Height in contact over that of the higher leg, uniform between the two limits.
    "contact_share": {"touching": [0.03, 0.20], "pressed": [0.28, 0.50]},
    "touching_share_of_slices": 0.15,
    "pressed_share_of_slices": 0.08,
    "contact_weight_of_women": 2.0,
    "leg_height_difference_sd_mm": 3.0,
    "validation_levels_mm": [-60.0, 0.0, 60.0],
    "subcutaneous_texture": 0.05,
    # Septa in the fat under the skin: scale in mm, width in sd, loss of signal.
    "subcutaneous_septa": [3.5, 0.10, 0.18],
}

SIDES = ("right", "left")
CONTACTS = ("apart", "touching", "pressed")


@dataclass(frozen=True)
class Slice:
    """One simulated slice.

    Attributes
    ----------
    image : ndarray of float, shape (rows, columns)
        Signal, fat near 1; radiological convention, the patient's right leg on the left.
    labels : ndarray of uint8, shape (rows, columns)
        Values of :data:`helpers.phantom.anatomy.LABELS`.
    leg : ndarray of uint8, shape (rows, columns)
        0 outside, 1 the right, 2 the left leg of the patient.
    pixel_mm : float
        Pixel edge.
    """

    image: np.ndarray
    labels: np.ndarray
    leg: np.ndarray
    pixel_mm: float

    @property
    def contact(self) -> float:
        """Return the share of the higher leg's height over which the legs are in contact."""
        return contact_share(self.leg, pixel_mm=self.pixel_mm)

    @property
    def touching(self) -> bool:
        """Return whether the legs are in contact."""
        return self.contact > 0

    @property
    def separable(self) -> bool:
        """Return whether the legs are apart or in contact over a short height only."""
        return self.contact <= SPECIFICATION["separable_contact_share_max"]


@dataclass(frozen=True)
class Case:
    """What is drawn once for a case: body, fat, scanner, and where its slices lie."""

    seed: int
    row: dict
    body: Body
    logits: pd.DataFrame
    drift: pd.Series
    oedema: np.ndarray
    pattern: texture.Pattern
    gap_mm: float
    positions_mm: tuple[float, ...]
    contact: tuple[str, ...]
    streams: tuple[np.random.SeedSequence, ...]


def specification() -> dict:
    """Return everything that defines the phantom, the package's tables included."""
    tables = (
        *("phantom_atlas.csv", "textures.csv", "thigh_geometry.csv"),
        *("thigh_facts.csv", "table2.csv"),
    )
    digest = {n: hashlib.sha256(paths.package_data(n).read_bytes()).hexdigest() for n in tables}
    return {
        "slices": SPECIFICATION,
        "anatomy": anatomy.SPECIFICATION,
        "arcs": anatomy.ARCS,
        "spaces": anatomy.SPACES,
        "fat": fat.SPECIFICATION,
        "texture": texture.SPECIFICATION | {"local": texture.LOCAL},
        "physics": physics.SPECIFICATION,
        "age": {group: vars(moments) for group, moments in cases.AGE.items()},
        "course": {group: vars(moments) for group, moments in cases.COURSE.items()},
        "age_course_correlation": cases.AGE_COURSE_CORRELATION,
        "male_share_of_controls": cases.MALE_SHARE_OF_CONTROLS,
        "tables_sha256": digest,
    }


def contact_share(leg: np.ndarray, *, pixel_mm: float) -> float:
    """Return the height over which two legs are in contact, over that of the higher leg.

    Parameters
    ----------
    leg : ndarray of int, shape (rows, columns)
        0 outside, 1 the right, 2 the left leg of the patient, in radiological convention.
    pixel_mm : float
        Pixel edge.

    Returns
    -------
    float
        In [0, 1]. Legs are in contact in the rows where less than 1 mm is free between them.

    Examples
    --------
    >>> leg = np.zeros((4, 9), dtype=np.uint8)
    >>> leg[:, 1:4], leg[:, 6:8], leg[1, 4:6] = 1, 2, 1
    >>> contact_share(leg, pixel_mm=0.8), contact_share(leg, pixel_mm=0.4)
    (0.25, 1.0)
    """
    right, left = leg == 1, leg == 2
    both = right.any(axis=1) & left.any(axis=1)
    inner = leg.shape[1] - 1 - right[both][:, ::-1].argmax(axis=1)
    free_mm = (left[both].argmax(axis=1) - inner - 1) * pixel_mm
    height = max(part.any(axis=1).sum() for part in (right, left))
    return float((free_mm < SPECIFICATION["contact_distance_mm"]).sum() / height)


def specification_sha256() -> str:
    """Return the hash of :func:`specification`; ``data/thigh_frozen.json`` holds the frozen one.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    text = json.dumps(specification(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def draw_case(
    row: dict,
    *,
    contact: tuple[str, ...],
    seed: int,
    positions_mm: tuple[float, ...] | None = None,
) -> Case:
    """Draw the person, the fat and the slice positions of a case.

    Parameters
    ----------
    row : dict
        A row of ``cases.csv``.
    contact : tuple of {"apart", "touching", "pressed"}
        One value a slice, upward. ``"touching"`` legs are in contact and separable, ``"pressed"``
        ones are not separable, see :func:`contact_share`.
    seed : int
        The cohort's seed.
    positions_mm : tuple of float, optional
        Positions of the slices along the thigh, towards the hip; evenly spread around its middle
        when not given, pressed slices beyond the last of the others.

    Returns
    -------
    Case
        The same for the same seed and case_id, however many other cases there are.

    Raises
    ------
    ValueError
        For an unknown contact, or when positions and contacts differ in number.
    """
    unknown = sorted(set(contact) - set(CONTACTS))
    if unknown or (positions_mm is not None and len(positions_mm) != len(contact)):
        raise ValueError(
            f"One of {', '.join(CONTACTS)} and one position a slice: {contact}, {positions_mm}."
        )
    number = int(row["case_id"].rsplit("-", 1)[1])
    root = np.random.SeedSequence(seed, spawn_key=(1, number))
    person, *streams = root.spawn(1 + len(contact))
    rng = np.random.default_rng(person)
    who = {key: row[key] for key in ("diagnosis", "sex", "age_years")}
    body = anatomy.draw_body(**who, rng=rng)
    advance = cases.advance(
        row["diagnosis"], age_years=row["age_years"], course_years=row["disease_course_years"]
    )
    logits, drift = fat.draw_logits(row["diagnosis"], advance=advance, rng=rng)
    oedema = fat.draw_oedema(row["diagnosis"], rng)
    pattern = texture.draw_pattern(row["diagnosis"], rng)
    middle, spread, low, high = SPECIFICATION["leg_gap_mm"]
    gap = float(np.clip(middle * np.exp(spread * rng.standard_normal()), low, high))
    if positions_mm is None:
        counted = sum(state != "pressed" for state in contact)
        offsets = np.arange(len(contact)) - (counted - 1) / 2
        positions_mm = tuple((SPECIFICATION["slice_spacing_mm"] * offsets).tolist())
    return Case(
        seed=seed,
        row=row,
        body=body,
        logits=logits,
        drift=drift,
        oedema=oedema,
        pattern=pattern,
        gap_mm=gap,
        positions_mm=tuple(positions_mm),
        contact=tuple(contact),
        streams=tuple(streams),
    )


def draw_slice(case: Case, index: int, *, matrix: int, texture_strength: float = 1.0) -> Slice:
    """Simulate one slice of a case.

    Parameters
    ----------
    case : Case
        From :func:`draw_case`.
    index : int
        Number of the slice, upward.
    matrix : int
        Rows and columns.
    texture_strength : float
        1: full texture; 0: fat evenly spread in each muscle. Nothing else changes.

    Returns
    -------
    Slice
        Image and truth.
    """
    rng = np.random.default_rng(case.streams[index])
    position, field = case.positions_mm[index], case.row["field_strength_tesla"]
    centres, contacts, extents, view = _placed(case, index, rng)
    pixel = view / matrix
    canvas = {name: np.zeros((matrix, matrix)) for name in ("water", "fat", "labels", "leg")}
    for side in (0, 1):
        window, lateral, anterior = _patch(centres[side], extents[side], side, matrix, pixel)
        seams = fat.smooth_noise(
            lateral.shape,
            scale_mm=anatomy.SPECIFICATION["seam_variation_mm"],
            pixel_mm=pixel,
            rng=rng,
        )
        leg = anatomy.draw_leg(
            lateral,
            anterior,
            body=case.body,
            side=side,
            position_mm=position,
            pixel_mm=pixel,
            seam_field=anatomy.SPECIFICATION["seam_variation_sd_log"] * seams,
            contact_mm=contacts[side],
        )
        fractions = _fat_map(leg, case, side, position, texture_strength, pixel, rng)
        signal = physics.signals(field)
        water = signal["muscle"] + (signal["oedema"] - signal["muscle"]) * case.oedema[side]
        _paint(canvas, window, leg, fractions, signal, water[leg.nearest], side, pixel, rng)
    coil = physics.coil_field((matrix, matrix), field, rng)
    image = physics.acquire(
        canvas["water"] * coil, canvas["fat"] * coil, field_tesla=field, rng=rng
    )
    labels, leg = canvas["labels"].astype(np.uint8), canvas["leg"].astype(np.uint8)
    return Slice(image, labels, leg, pixel)


def draw_cohort(
    *, seed: int, case_fraction: float, image_fraction: float
) -> tuple[pd.DataFrame, list[dict]]:
    """Draw the cases of the cohort and how many slices each has.

    Parameters
    ----------
    seed : int
        The cohort's seed.
    case_fraction, image_fraction : float
        Fractions of the published cases and leg images.

    Returns
    -------
    table : DataFrame
        ``cases.csv``.
    recipes : list of dict
        For each case the arguments of :func:`draw_case`.
    """
    cells = cases.cell_sizes(
        cohort.published_cells(), case_fraction=case_fraction, image_fraction=image_fraction
    )
    table, slices = cases.draw(cells, seed=seed)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2,)))
    counted = slices[table.case_id].to_numpy()
    weight = np.where(table.sex == "F", SPECIFICATION["contact_weight_of_women"], 1.0)
    touching = _touching_slices(counted, weight, rng)
    extra = round(SPECIFICATION["pressed_share_of_slices"] * counted.sum())
    chosen = rng.choice(len(table), size=extra, p=weight / weight.sum())
    pressed = np.bincount(chosen, minlength=len(table))
    # Legs meet towards the hip.
    contacts = [
        ("apart",) * (n - t) + ("touching",) * t + ("pressed",) * p
        for n, t, p in zip(counted, touching, pressed, strict=True)
    ]
    recipes = [
        {"row": row, "contact": contact, "seed": seed}
        for row, contact in zip(table.to_dict("records"), contacts, strict=True)
    ]
    return table, recipes


def _touching_slices(
    counted: np.ndarray, weight: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return how many of each case's counted slices are in contact."""
    owner = np.repeat(np.arange(len(counted)), counted)
    wanted = round(SPECIFICATION["touching_share_of_slices"] * len(owner))
    share = weight[owner] / weight[owner].sum()
    chosen = rng.choice(len(owner), size=wanted, replace=False, p=share)
    return np.bincount(owner[chosen], minlength=len(counted))


def validation_recipes(
    n: int, touching_share: float, seed: int, *, pressed_share: float = 0.10
) -> list[dict]:
    """Return recipes for slices on which a method that finds the legs can be validated.

    Parameters
    ----------
    n : int
        Number of slices; three a case (the last case may have fewer), at a distal, a middle and
        a proximal position.
    touching_share, pressed_share : float
        Shares of slices whose legs are in contact yet separable, and whose legs are pressed
        together. They are spread at random over cases and positions.
    seed : int
        Random seed. The persons are not those of any cohort of that seed.

    Returns
    -------
    list of dict
        Arguments of :func:`draw_case`; ``draw_slice(draw_case(**recipe), i, matrix=512)`` gives
        slice ``i`` with its truth (``leg``, ``contact``, ``touching``, ``separable``). All
        diagnoses of Table 2 come equally often, and so do the two field strengths.

    Raises
    ------
    ValueError
        When the two shares exceed 1 together.

    Examples
    --------
    >>> recipes = validation_recipes(90, 0.4, seed=1)
    >>> contacts = [state for recipe in recipes for state in recipe["contact"]]
    >>> len(recipes), len(contacts), contacts.count("touching"), contacts.count("pressed")
    (30, 90, 36, 9)
    """
    if touching_share + pressed_share > 1:
        raise ValueError(f"touching_share + pressed_share = {touching_share + pressed_share} > 1")
    levels = SPECIFICATION["validation_levels_mm"]
    names = sorted(cohort.published_cells().diagnosis.unique())
    each = math.ceil(n / len(levels) / len(names))
    cells = pd.DataFrame({"diagnosis": names, "split": "validation", "cases": each})
    cells["dystrophinopathy"] = cells.diagnosis.isin(["DMD", "BMD"]).astype(int)
    cells["images"] = 2 * each
    table = cases.draw(cells, seed=seed)[0].head(math.ceil(n / len(levels)))
    states = ["touching"] * round(touching_share * n) + ["pressed"] * round(pressed_share * n)
    states += ["apart"] * (n - len(states))
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(3,)))
    states = rng.permutation(states).tolist()
    return [
        {
            "row": row,
            "contact": tuple(states[first : first + len(levels)]),
            "seed": seed,
            "positions_mm": tuple(levels[: len(states) - first]),
        }
        for first, row in zip(range(0, n, len(levels)), table.to_dict("records"), strict=True)
    ]


def write_cohort(
    profile: Profile, folder: Path, *, say: Callable[[str], None] = print, processes: int = 2
) -> None:
    """Write the synthetic thigh cohort of a profile.

    Slices already written are kept, so that an interrupted run goes on where it stopped;
    :func:`helpers.pipeline.make_cohort` first removes those of other parameters or other code.

    Parameters
    ----------
    profile : Profile
        Seed, fractions and matrix.
    folder : Path
        ``results/<profile>/cohort/thigh``.
    say : callable
        Takes one line of progress.
    processes : int
        Cases are simulated in this many processes.
    """
    wanted = {
        "case_fraction": profile.cohort.case_fraction,
        "image_fraction": profile.cohort.image_fraction,
    }
    table, recipes = draw_cohort(seed=profile.seed, **wanted)
    description = _describe(profile, wanted)
    (folder / "cohort.json").unlink(missing_ok=True)
    work = partial(
        write_case,
        folder=folder,
        matrix=profile.cohort.thigh_matrix,
        texture_strength=profile.cohort.texture_strength,
    )
    written: dict[str, tuple[list[dict], list[dict], list[dict]]] = {}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        jobs = {pool.submit(work, recipe): recipe["row"]["case_id"] for recipe in recipes}
        for done, job in enumerate(as_completed(jobs), start=1):
            written[jobs[job]] = job.result()
            if done % max(1, len(jobs) // 8) == 0 or done == len(jobs):
                say(f"thigh cohort: {done} of {len(jobs)} cases written")
    slices, boxes, fractions = (
        pd.DataFrame([row for name in table.case_id for row in written[name][part]])
        for part in range(3)
    )
    for name, frame in (("legs", boxes), ("fat_fractions", fractions)):
        with paths.atomic_path(folder / "truth" / f"{name}.csv") as temporary:
            frame.to_csv(temporary, index=False)
    cohort.write_tables(folder, table, slices, description)


def write_case(
    recipe: dict, *, folder: Path, matrix: int, texture_strength: float = 1.0
) -> tuple[list[dict], list[dict], list[dict]]:
    """Write the slices of one case that are not there yet.

    Parameters
    ----------
    recipe : dict
        Arguments of :func:`draw_case`.
    folder : Path
        ``results/<profile>/cohort/thigh``.
    matrix : int
        Rows and columns.
    texture_strength : float
        See :func:`draw_slice`.

    Returns
    -------
    tuple of list of dict
        Rows of ``slices.csv``, ``truth/legs.csv`` and ``truth/fat_fractions.csv``.
    """
    case = draw_case(**recipe)
    slices, boxes = [], []
    for index, position in enumerate(case.positions_mm):
        slice_id = f"{case.row['case_id']}-s{index + 1:02d}"
        image = folder / "dicom" / case.row["case_id"] / f"{slice_id}.dcm"
        truth = folder / "truth" / f"{slice_id}.npz"
        if not (image.exists() and truth.exists()):
            drawn = draw_slice(case, index, matrix=matrix, texture_strength=texture_strength)
            _write_slice(drawn, image, truth, case, index)
        boxes += _boxes(truth, slice_id)
        slices.append(
            {
                "slice_id": slice_id,
                "case_id": case.row["case_id"],
                "file": image.relative_to(folder.parents[1]).as_posix(),
                "frame": 0,
                "slice_position_mm": position,
            }
        )
    return slices, boxes, _fraction_rows(case)


def _placed(
    case: Case, index: int, rng: np.random.Generator
) -> tuple[list[tuple[float, float]], list[float], list[tuple[float, float]], float]:
    """Return the legs' centres, planes of contact and reaches, mm, and the field of view."""
    position, state = case.positions_mm[index], case.contact[index]
    edges = [anatomy.edges(case.body, side=side, position_mm=position) for side in (0, 1)]
    reaches = [(-medial.min() + 2, lateral.max() + 2) for _, medial, lateral in edges]
    height = rng.normal(0, SPECIFICATION["leg_height_difference_sd_mm"])
    gap = case.gap_mm
    if state != "apart":
        wanted = rng.uniform(*SPECIFICATION["contact_share"][state])
        gap = _gap_for(edges, height, wanted)
    apart = [-float(medial.min()) + gap / 2 for _, medial, _ in edges]
    contacts = apart if state != "apart" else [np.inf, np.inf]
    widest = max(centre + lateral for centre, (_, lateral) in zip(apart, reaches, strict=True))
    views = SPECIFICATION["fields_of_view_mm"]
    needed = 2 * (widest + SPECIFICATION["side_margin_mm"])
    view = next((v for v in views if v >= needed), views[-1])
    centres = [(-apart[0], height / 2), (apart[1], -height / 2)]
    return centres, contacts, reaches, float(view)


def _gap_for(
    edges: list[tuple[np.ndarray, np.ndarray, np.ndarray]], height: float, wanted: float
) -> float:
    """Return the (negative) distance between the legs' extremes that gives a contact share."""
    axis = np.arange(-220.0, 220.0, 0.5)
    medial = [
        np.interp(axis - sign * height / 2, y, -inner, left=-np.inf, right=-np.inf)
        for sign, (y, inner, _) in zip((1, -1), edges, strict=True)
    ]
    tallest = max(np.isfinite(one).sum() for one in medial)
    most = [one.max() for one in medial]
    low, high = -120.0, 0.0
    for _ in range(40):
        gap = (low + high) / 2
        beyond = [one - (top + gap / 2) for one, top in zip(medial, most, strict=True)]
        # Either leg ends at the plane between them, so that what is free adds up.
        free = -(np.minimum(beyond[0], 0) + np.minimum(beyond[1], 0))
        share = (free < SPECIFICATION["contact_distance_mm"] / 2).sum() / tallest
        low, high = (gap, high) if share > wanted else (low, gap)
    return gap


def _patch(
    centre: tuple[float, float], extent: tuple[float, float], side: int, matrix: int, pixel: float
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """Return the window of a leg and its pixels' lateral and anterior coordinates, mm."""
    reach = 1.25 * max(extent)
    x = (np.arange(matrix) - (matrix - 1) / 2) * pixel - centre[0]
    y = ((matrix - 1) / 2 - np.arange(matrix)) * pixel - centre[1]
    columns, rows = np.flatnonzero(np.abs(x) < reach), np.flatnonzero(np.abs(y) < reach)
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    outward = -1 if side == 0 else 1
    # Single precision is exact to 10 nm here, and twice as fast.
    axes = (outward * x[window[1]]).astype(np.float32), y[window[0]].astype(np.float32)
    lateral, anterior = np.meshgrid(*axes)
    return window, lateral, anterior


def _fat_map(
    leg: Leg,
    case: Case,
    side: int,
    position: float,
    strength: float,
    pixel: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the fat fraction of each pixel as if it were muscle."""
    targets = fat.bounded((case.logits[SIDES[side]] + case.drift * position).to_numpy())
    field = strength * texture.field(case.pattern, leg, targets, pixel_mm=pixel, rng=rng)
    fractions = targets[leg.nearest]
    for number, target in enumerate(targets):
        core = (leg.nearest == number) & (leg.muscle > 0.5)
        if core.any():
            fractions[core] = fat.with_mean(field[core], target)
    return fractions


def _paint(
    canvas: dict[str, np.ndarray],
    window: tuple[slice, slice],
    leg: Leg,
    fractions: np.ndarray,
    signal: dict[str, float],
    muscle_water: np.ndarray,
    side: int,
    pixel: float,
    rng: np.random.Generator,
) -> None:
    """Lay the tissues of a leg over each other, outside first."""
    water, fatty = canvas["water"][window], canvas["fat"][window]
    adipose = signal["fat"] * _adipose(fractions.shape, pixel, rng)
    layers = (
        (leg.whole, signal["skin"], 0.0),
        (leg.inner, 0.0, adipose),
        (leg.fascia * leg.inner, signal["fascia"], 0.3),
        (leg.compartment * (1 - leg.fascia), 0.0, adipose),
        (leg.muscle, (1 - fractions) * muscle_water, fractions * signal["fat"]),
        (leg.nerve, 0.6 * signal["nerve"], 0.4),
        (leg.vessel * leg.inner, signal["vessel"], 0.0),
        (leg.femur, signal["cortex"], 0.0),
        (leg.marrow, 0.0, signal["marrow"]),
    )
    for cover, of_water, of_fat in layers:
        water += cover * (of_water - water)
        fatty += cover * (of_fat - fatty)
    inside = leg.whole > 0.5
    canvas["labels"][window][inside] = leg.labels()[inside]
    canvas["leg"][window][inside] = side + 1


def _adipose(shape: tuple[int, int], pixel: float, rng: np.random.Generator) -> np.ndarray:
    """Fat that is not muscle: nearly even, with thin septa."""
    scale, width, loss = SPECIFICATION["subcutaneous_septa"]
    coarse = fat.smooth_noise(shape, scale_mm=scale, pixel_mm=pixel, rng=rng)
    septa = np.exp(-((coarse / width) ** 2))
    return 1 - SPECIFICATION["subcutaneous_texture"] * np.abs(coarse).clip(max=2) - loss * septa


def _write_slice(drawn: Slice, image: Path, truth: Path, case: Case, index: int) -> None:
    with paths.atomic_path(truth) as temporary:
        np.savez_compressed(temporary, labels=drawn.labels, leg=drawn.leg, pixel_mm=drawn.pixel_mm)
    stored = dicom.dataset(
        drawn.image,
        case=case.row,
        slice_id=image.stem,
        pixel_mm=drawn.pixel_mm,
        position_mm=case.positions_mm[index],
        thickness_mm=SPECIFICATION["slice_thickness_mm"],
        spacing_mm=SPECIFICATION["slice_spacing_mm"],
        instance=index + 1,
        uid_seed=case.seed,
    )
    with paths.atomic_path(image) as temporary:
        stored.save_as(temporary, enforce_file_format=True)


def _boxes(truth: Path, slice_id: str) -> list[dict]:
    with np.load(truth, allow_pickle=False) as arrays:
        leg, pixel_mm = arrays["leg"], float(arrays["pixel_mm"])
    contact = contact_share(leg, pixel_mm=pixel_mm)
    state = {
        "separable": int(contact <= SPECIFICATION["separable_contact_share_max"]),
        "touching": int(contact > 0),
        "contact_share": round(contact, 4),
    }
    rows = []
    for value, side in enumerate(SIDES, start=1):
        inside = leg == value
        high, wide = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        box = {"row0": high[0], "col0": wide[0], "row1": high[-1] + 1, "col1": wide[-1] + 1}
        rows.append({"slice_id": slice_id, "side": side, **box, **state})
    return rows


def _fraction_rows(case: Case) -> list[dict]:
    return [
        {
            "case_id": case.row["case_id"],
            "side": side,
            "muscle": muscle,
            "fat_fraction": round(float(fat.bounded(case.logits.loc[muscle, side])), 6),
        }
        for side in SIDES
        for muscle in case.logits.index
    ]


def _describe(profile: Profile, wanted: dict[str, float]) -> dict:
    return {
        "synthetic": True,
        "seed": profile.seed,
        "matrix": profile.cohort.thigh_matrix,
        "texture_strength": profile.cohort.texture_strength,
        **wanted,
        "specification_sha256": specification_sha256(),
        "code_sha256": _code_digest(),
        "specification": specification(),
    }


def _code_digest() -> str:
    """Digest of the modules that draw the cohort: slices of other code are not kept."""
    modules = (anatomy, cases, dicom, fat, physics, texture)
    files = [Path(__file__), *(Path(module.__file__) for module in modules)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
