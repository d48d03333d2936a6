"""Brain MRI: who is in the cohort, and a scan as the network reads it.

The poster feeds "raw structural brain MRI" to the network. Which matrix, voxel size and
intensity scale it used is not published; resampling, the box and both scales of intensity are
ours. An author's own scans are taken in by :mod:`helpers.own_brains`.
"""

import difflib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from helpers import cohort, head_box, volumes
from helpers.head_box import BOX_CENTRE_MM as BOX_CENTRE_MM
from helpers.head_box import BOX_MM as BOX_MM
from helpers.head_box import box_affine as box_affine
from helpers.head_box import box_shape as box_shape
from helpers.head_box import foreground as foreground
from helpers.images import UnreadableImage

GROUPS = ("LD", "CD", "BSP", "control")
SPLITS = ("training", "optimisation", "validation", "held_out_controls")

#: The published cohort: set, group, subjects. The 59 laryngeal patients of the validation set
#: are 279 - 160 - 60. Held-out controls are ours: the publication has none.
PUBLISHED_COUNTS = (
    ("training", "LD", 160),
    ("training", "control", 160),
    ("optimisation", "LD", 60),
    ("optimisation", "control", 60),
    ("validation", "LD", 59),
    ("validation", "CD", 59),
    ("validation", "BSP", 54),
)

#: The phantom's two series: an effect of the size that studies report, and a positive control.
EFFECTS = ("realistic", "exaggerated")

#: How a scan's intensities reach the network, see :func:`scaled`.
INPUTS = ("standardised", "raw")

_GROUP_WORDS = "LD, CD, BSP, control, or a word of your own that is not like one of them"
#: Words for people without the condition that are not the table's word for them.
NOT_CONTROL = ("controls", "healthy", "hc", "normal", "ctrl", "none")


def _is_group(group: pd.Series) -> pd.Series:
    """Let any short word name an author's group, but none that may be a slip of the pen."""
    return group.map(lambda name: not group_problem(str(name)))


def group_problem(name: str) -> str:
    """Return what speaks against a group's name; nothing for a sound one.

    A group of any other name counts as patients, so a misspelt control must not pass.

    Parameters
    ----------
    name : str
        As it stands in the table.

    Returns
    -------
    str

    Examples
    --------
    >>> group_problem("Control"), group_problem("tremor")
    ("did you mean 'control'?", '')
    """
    if name in GROUPS:
        return ""
    if not name.replace("_", "a").replace("-", "a").replace(" ", "a").isalnum() or len(name) > 24:
        return "expected a word of letters, digits, '-' and '_'"
    if name.lower() in NOT_CONTROL:
        return "did you mean 'control'?"
    small = {group.lower(): group for group in GROUPS}
    close = difflib.get_close_matches(name.lower(), small, n=1, cutoff=0.75)
    return f"did you mean {small[close[0]]!r}?" if close else ""


SUBJECTS = pa.DataFrameSchema(
    {
        "subject_id": pa.Column(str, unique=True),
        "group": pa.Column(str, pa.Check(_is_group, error=_GROUP_WORDS)),
        "sex": pa.Column(str, pa.Check.isin(["F", "M"])),
        "age_years": pa.Column(float, pa.Check.in_range(0, 120)),
        "site": pa.Column(str),
        "split": pa.Column(str, pa.Check.isin(SPLITS)),
        "file": pa.Column(str),
        "file_exaggerated": pa.Column(str, required=False),
    },
    coerce=True,
)


class UnusableBrains(ValueError):
    """The cohort's table or a scan cannot be used; the message lists every problem found."""


def read_subjects(path: str | Path) -> pd.DataFrame:
    """Return the checked table of subjects.

    Parameters
    ----------
    path : str or Path
        A ``subjects.csv``.

    Returns
    -------
    DataFrame
        Columns of :data:`SUBJECTS`; ``patient`` is 0 for controls, 1 for every other group.

    Raises
    ------
    helpers.cohort.InvalidCohort
        Listing every problem of the table.
    """
    table = cohort.read_table(Path(path), text=["subject_id", "site", "group"])
    cohort.stop_at(cohort.table_problems(table, SUBJECTS), Path(path).name)
    table = SUBJECTS.validate(table)
    return table.assign(patient=(table["group"] != "control").astype(int))


def counts(subjects: pd.DataFrame) -> pd.DataFrame:
    """Return how many subjects each set and group has, beside the published number.

    Parameters
    ----------
    subjects : DataFrame
        As :func:`read_subjects` returns it.

    Returns
    -------
    DataFrame
        Columns ``set, group, published, here, women, age``; ``published`` is missing for the
        held-out controls and for an author's own groups, ``women`` and ``age`` are per cent and
        mean (years) here.

    Examples
    --------
    >>> one = pd.DataFrame({"split": ["training"], "group": ["LD"], "sex": ["F"],
    ...                     "age_years": [50.0]})
    >>> counts(one).loc[0, ["set", "group", "published", "here"]].to_dict()
    {'set': 'training', 'group': 'LD', 'published': 160, 'here': 1}
    """
    rows = []
    cells = (*PUBLISHED_COUNTS, ("held_out_controls", "control", pd.NA))
    here = sorted(set(zip(subjects["split"], subjects["group"], strict=True)))
    more = [(*cell, pd.NA) for cell in here if cell not in {known[:2] for known in cells}]
    for split, group, published in (*cells, *more):
        here = subjects[(subjects["split"] == split) & (subjects["group"] == group)]
        women = 100 * (here["sex"] == "F").mean()
        rows.append((split, group, published, len(here), women, here["age_years"].mean()))
    return pd.DataFrame(rows, columns=["set", "group", "published", "here", "women", "age"])


def series(subjects: pd.DataFrame) -> dict[str, str]:
    """Return which series of scans a cohort holds.

    Parameters
    ----------
    subjects : DataFrame
        As :func:`read_subjects` returns it.

    Returns
    -------
    dict of str to str
        Column of file names by :data:`EFFECTS` for the phantom; ``as scanned`` for own scans.

    Examples
    --------
    >>> series(pd.DataFrame({"file": ["a.nii.gz"]}))
    {'as scanned': 'file'}
    """
    if "file_exaggerated" in subjects:
        return dict(zip(EFFECTS, ("file", "file_exaggerated"), strict=True))
    return {"as scanned": "file"}


def shuffled(subjects: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Return the subjects with ``patient`` shuffled within the training and optimisation sets.

    What a network learns from them can only be chance: held-out subjects keep their diagnosis.

    Parameters
    ----------
    subjects : DataFrame
        As :func:`read_subjects` returns it.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    DataFrame
        A copy.
    """
    rng = np.random.default_rng(seed)
    mixed = subjects.copy()
    for split in ("training", "optimisation"):
        rows = mixed["split"] == split
        mixed.loc[rows, "patient"] = rng.permutation(mixed.loc[rows, "patient"].to_numpy())
    return mixed


def predictions(
    subjects: pd.DataFrame, probability: np.ndarray, *, model: str, weights: str, seed: int
) -> pd.DataFrame:
    """Return probabilities as the book's files hold them.

    Parameters
    ----------
    subjects : DataFrame
        As :func:`read_subjects` returns it.
    probability : ndarray, shape (subjects,)
        Of dystonia.
    model, weights : str
        What gave them, and from which weights it started.
    seed : int
        Of its training.

    Returns
    -------
    DataFrame
        ``id, unit, label, probability, model, weights, seed, split`` and ``group``.
    """
    return pd.DataFrame(
        {
            "id": subjects["subject_id"].to_numpy(),
            "unit": "subject",
            "label": (subjects["group"] != "control").astype(int).to_numpy(),
            "probability": np.asarray(probability, dtype=float),
            "model": model,
            "weights": weights,
            "seed": seed,
            "split": subjects["split"].to_numpy(),
            "group": subjects["group"].to_numpy(),
        }
    )


def examples(
    subjects: pd.DataFrame, folder: str | Path, *, voxel_mm: float | None = None
) -> dict[str, np.ndarray]:
    """Return one brain of each group, and where the phantom's effect lies in the first patient.

    Parameters
    ----------
    subjects : DataFrame
        As :func:`read_subjects` returns it.
    folder : str or Path
        ``results/<profile>``.
    voxel_mm : float, optional
        Voxel size, mm; the cohort's when not given.

    Returns
    -------
    dict of str to ndarray of float32, shape (x, y, z)
        By group; ``effect`` is the exaggerated minus the realistic scan, absent for own scans.
    """
    options = reading(folder) | ({} if voxel_mm is None else {"voxel_mm": voxel_mm})
    first = subjects.drop_duplicates("group").set_index("group")
    groups = [
        *(g for g in GROUPS if g in first.index),
        *(g for g in first.index if g not in GROUPS),
    ]
    shown = {g: read_volume(Path(folder) / first["file"][g], **options) for g in groups}
    if "file_exaggerated" in first:
        name = first["file_exaggerated"][groups[0]]
        shown["effect"] = read_volume(Path(folder) / name, **options) - shown[groups[0]]
    return shown


def standardise(volume: np.ndarray) -> np.ndarray:
    """Return a scan with mean 0 and standard deviation 1 over the head, and 0 around it.

    Parameters
    ----------
    volume : ndarray, shape (x, y, z)
        Intensities.

    Returns
    -------
    ndarray of float32, shape (x, y, z)

    Raises
    ------
    UnusableBrains
        For a volume of one intensity only.

    Examples
    --------
    >>> standardise(np.array([[[0, 0, 0, 100, 102]]])).tolist()
    [[[0.0, 0.0, 0.0, -1.0, 1.0]]]
    """
    if np.ptp(volume) == 0:
        raise UnusableBrains("The scan holds one intensity only; there is no head in it.")
    head = foreground(volume)
    values = volume[head]
    spread = values.std() or 1.0
    return np.where(head, (volume - values.mean()) / spread, 0).astype(np.float32)


def scaled(box: np.ndarray, brain_input: str) -> np.ndarray:
    """Return a scan in its box with its intensities as the network takes them.

    Parameters
    ----------
    box : ndarray, shape (x, y, z)
        From :func:`helpers.head_box.boxed`.
    brain_input : {"standardised", "raw"}
        ``standardised``: mean 0 and standard deviation 1 over the head, 0 around it. ``raw``:
        divided by the 99.5th percentile over the head and nothing else, as a network cannot take
        a scanner's arbitrary units. The publication says "raw" and no more; both are ours.

    Returns
    -------
    ndarray of float32, shape (x, y, z)

    Raises
    ------
    UnusableBrains
        For a volume of one intensity only.

    Examples
    --------
    >>> scaled(np.array([[[0, 0, 0, 100, 200]]]), "raw").round(2).tolist()
    [[[0.0, 0.0, 0.0, 0.5, 1.0]]]
    """
    if brain_input not in INPUTS:
        raise ValueError(f"brain_input = {brain_input!r}: expected one of {', '.join(INPUTS)}.")
    if brain_input == "standardised":
        return standardise(box)
    if np.ptp(box) == 0:
        raise UnusableBrains("The scan holds one intensity only; there is no head in it.")
    return (box / np.percentile(box[foreground(box)], 99.5)).astype(np.float32)


def read_volume(
    path: str | Path,
    *,
    voxel_mm: float,
    placement: head_box.Placement = "head",
    brain_input: str = "standardised",
) -> np.ndarray:
    """Return a scan as the network reads it.

    Parameters
    ----------
    path : str or Path
        NIfTI file, DICOM folder or multi-frame DICOM file of one three-dimensional scan.
    voxel_mm : float
        Voxel size wanted, mm. Finer scans are averaged over blocks of voxels first, so that
        detail the new grid cannot hold does not fold back.
    placement : {"head", "world"}
        ``world``: the box around :data:`BOX_CENTRE_MM`, the same for every registered head;
        ``head``: the box hangs on this head, see :func:`helpers.head_box.head_centre`.
    brain_input : {"standardised", "raw"}
        See :func:`scaled`.

    Returns
    -------
    ndarray of float32, shape :func:`box_shape`
        Axes towards right, anterior, superior.

    Raises
    ------
    UnusableBrains
        When the file cannot be read as one volume, or no head is in it.
    """
    try:
        volume = volumes.read(path)
    except UnreadableImage as error:
        raise UnusableBrains(str(error)) from error
    return in_box(volume, voxel_mm=voxel_mm, placement=placement, brain_input=brain_input)


def in_box(
    volume: volumes.Volume, *, voxel_mm: float, placement: head_box.Placement, brain_input: str
) -> np.ndarray:
    """Return a scan that was read as the network takes it; see :func:`read_volume`.

    Parameters
    ----------
    volume : Volume
        From :func:`helpers.volumes.read`.
    voxel_mm, placement, brain_input
        As for :func:`read_volume`.

    Returns
    -------
    ndarray of float32, shape :func:`box_shape`
    """
    grid = head_box.averaged(volume, voxel_mm)
    if not np.ptp(grid.values) > 0:
        raise UnusableBrains("The scan holds one intensity only; there is no head in it.")
    centre = BOX_CENTRE_MM if placement == "world" else _found(grid)
    box = head_box.boxed(grid, voxel_mm=voxel_mm, centre_mm=centre)
    if not np.ptp(box) > 0:
        raise UnusableBrains(
            "The box holds one intensity only; there is no head where it is looked for."
        )
    return scaled(box, brain_input)


def _found(grid: head_box.Grid) -> tuple[float, float, float]:
    coarse = head_box.coarse(grid)
    mask = head_box.head_mask(coarse)
    if not mask.any():
        raise UnusableBrains("Nothing stands out from the scan's background; there is no head.")
    return head_box.head_centre(coarse, mask)


def load(
    subjects: pd.DataFrame,
    folder: str | Path,
    *,
    voxel_mm: float | None = None,
    column: str = "file",
    placement: head_box.Placement | None = None,
    brain_input: str | None = None,
) -> np.ndarray:
    """Return the scans of a table of subjects as one array.

    Parameters
    ----------
    subjects : DataFrame
        With a column of file names.
    folder : str or Path
        Folder that relative names start from, ``results/<profile>``.
    voxel_mm, placement, brain_input : optional
        As for :func:`read_volume`; as the cohort says where not given.
    column : {"file", "file_exaggerated"}
        Which series to read.

    Returns
    -------
    ndarray of float32, shape (subjects, x, y, z, 1)
    """
    given = {"voxel_mm": voxel_mm, "placement": placement, "brain_input": brain_input}
    options = reading(folder) | {k: value for k, value in given.items() if value is not None}
    first = read_volume(Path(folder) / subjects[column].iloc[0], **options)
    stack = np.empty((len(subjects), *first.shape, 1), np.float32)
    stack[0, ..., 0] = first
    for k, name in enumerate(subjects[column].iloc[1:], start=1):
        stack[k, ..., 0] = read_volume(Path(folder) / name, **options)
    return stack


def reading(folder: str | Path) -> dict:
    """Return how a cohort's scans are read: arguments of :func:`read_volume`.

    Parameters
    ----------
    folder : str or Path
        ``results/<profile>``.

    Returns
    -------
    dict
        ``voxel_mm, placement, brain_input``; without a ``cohort.json`` only the last two, by the
        head and standardised.
    """
    path = Path(folder) / "cohort" / "brain" / "cohort.json"
    about = json.loads(path.read_text()) if path.is_file() else {}
    # The phantom states how its heads lie; registered ones share their coordinates.
    by_pose = "world" if about.get("pose") == "registered" else "head"
    size = {"voxel_mm": about["voxel_mm"]} if "voxel_mm" in about else {}
    return size | {
        "placement": about.get("placement", by_pose),
        "brain_input": about.get("brain_input", "standardised"),
    }


def description(folder: str | Path) -> dict:
    """Return what ``cohort.json`` says of a brain cohort.

    Parameters
    ----------
    folder : str or Path
        ``results/<profile>``.

    Returns
    -------
    dict
        ``synthetic``, ``voxel_mm`` and, for the phantom, its specification.
    """
    return json.loads((Path(folder) / "cohort" / "brain" / "cohort.json").read_text())
