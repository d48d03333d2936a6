"""Brain MRI: who is in the cohort, and a scan as the network reads it.

The poster feeds "raw structural brain MRI" to the network. Which matrix, voxel size and
intensity scale it used is not published; resampling, the box and standardisation are ours.
"""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pandera.pandas as pa
from nibabel import processing
from scipy import ndimage

from helpers import cohort, images, paths

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

#: Size of the box the network sees, mm along x, y, z: a brain with some room around it.
BOX_MM = (160.0, 192.0, 160.0)

SUBJECTS = pa.DataFrameSchema(
    {
        "subject_id": pa.Column(str, unique=True),
        "group": pa.Column(str, pa.Check.isin(GROUPS)),
        "sex": pa.Column(str, pa.Check.isin(["F", "M"])),
        "age_years": pa.Column(float, pa.Check.in_range(0, 120)),
        "site": pa.Column(str),
        "split": pa.Column(str, pa.Check.isin(SPLITS)),
        "file": pa.Column(str),
        "file_exaggerated": pa.Column(str, required=False),
    },
    coerce=True,
)


#: What an author's table must have; a second series of scans is the phantom's alone.
OWN_COLUMNS = [name for name, column in SUBJECTS.columns.items() if column.required]


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
        Columns of :data:`SUBJECTS`; ``patient`` is 1 for the three forms, 0 for controls.

    Raises
    ------
    UnusableBrains
        Listing every problem of the table; :class:`helpers.cohort.InvalidCohort` when it is none.
    """
    table = cohort.read_table(Path(path), text=["subject_id", "site"])
    _stop_at(cohort.table_problems(table, SUBJECTS), Path(path).name)
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
        held-out controls, ``women`` and ``age`` are per cent and mean (years) here.

    Examples
    --------
    >>> one = pd.DataFrame({"split": ["training"], "group": ["LD"], "sex": ["F"],
    ...                     "age_years": [50.0]})
    >>> counts(one).loc[0, ["set", "group", "published", "here"]].to_dict()
    {'set': 'training', 'group': 'LD', 'published': 160, 'here': 1}
    """
    rows = []
    for split, group, published in (*PUBLISHED_COUNTS, ("held_out_controls", "control", pd.NA)):
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
    subjects: pd.DataFrame, folder: str | Path, *, voxel_mm: float
) -> dict[str, np.ndarray]:
    """Return one brain of each group, and where the phantom's effect lies in the first patient.

    Parameters
    ----------
    subjects : DataFrame
        As :func:`read_subjects` returns it.
    folder : str or Path
        ``results/<profile>``.
    voxel_mm : float
        Voxel size, mm.

    Returns
    -------
    dict of str to ndarray of float32, shape (x, y, z)
        By group; ``effect`` is the exaggerated minus the realistic scan, absent for own scans.
    """
    first = subjects.drop_duplicates("group").set_index("group")
    groups = [group for group in GROUPS if group in first.index]
    shown = {g: read_volume(Path(folder) / first["file"][g], voxel_mm=voxel_mm) for g in groups}
    if "file_exaggerated" in first:
        name = first["file_exaggerated"][groups[0]]
        strong = read_volume(Path(folder) / name, voxel_mm=voxel_mm)
        shown["effect"] = strong - shown[groups[0]]
    return shown


def box_shape(voxel_mm: float) -> tuple[int, int, int]:
    """Return the shape of the network's box.

    Parameters
    ----------
    voxel_mm : float
        Voxel size, mm.

    Returns
    -------
    tuple of int
        Voxels along x, y, z.

    Examples
    --------
    >>> box_shape(4.0)
    (40, 48, 40)
    """
    x, y, z = (round(side / voxel_mm) for side in BOX_MM)
    return x, y, z


def foreground(volume: np.ndarray) -> np.ndarray:
    """Return where the head is.

    Parameters
    ----------
    volume : ndarray, shape (x, y, z)
        Intensities, not negative.

    Returns
    -------
    ndarray of bool, shape (x, y, z)
        Above a tenth of the 99th percentile, holes filled: air, noise and the blurred rim of a
        brain cut out of its skull stay outside; fluid and bone inside a head stay in.

    Examples
    --------
    >>> foreground(np.array([[[0, 9, 100, 50, 0]]]))
    array([[[False, False,  True,  True, False]]])
    """
    return ndimage.binary_fill_holes(volume > 0.1 * np.percentile(volume, 99))


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


def fit_box(volume: np.ndarray, *, voxel_mm: float) -> np.ndarray:
    """Return a scan cut or padded to the network's box.

    The box is centred on the head from side to side and front to back, and hangs from its top
    with an 8 mm margin, so that a neck falls out below.

    Parameters
    ----------
    volume : ndarray, shape (x, y, z)
        In RAS order; 0 outside the head.
    voxel_mm : float
        Voxel size, mm.

    Returns
    -------
    ndarray, shape :func:`box_shape`
    """
    shape = box_shape(voxel_mm)
    extent = [np.flatnonzero(volume.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
    start = [(e[0] + e[-1] + 1 - n) // 2 for e, n in zip(extent, shape, strict=True)]
    start[2] = extent[2][-1] + 1 + round(8 / voxel_mm) - shape[2]
    box = np.zeros(shape, volume.dtype)
    low = [max(0, s) for s in start]
    high = [min(size, s + n) for size, s, n in zip(volume.shape, start, shape, strict=True)]
    source = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    target = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
    box[target] = volume[source]
    return box


def read_volume(path: str | Path, *, voxel_mm: float) -> np.ndarray:
    """Return a scan as the network reads it.

    Parameters
    ----------
    path : str or Path
        NIfTI file of one three-dimensional T1-weighted scan.
    voxel_mm : float
        Voxel size wanted, mm. Finer scans are blurred before they are resampled, so that
        detail the new grid cannot hold does not fold back.

    Returns
    -------
    ndarray of float32, shape :func:`box_shape`
        Axes towards right, anterior, superior; mean 0 and standard deviation 1 over the head.

    Raises
    ------
    UnusableBrains
        When the file cannot be read as one volume.
    """
    image = _loaded(Path(path))
    zooms = np.array(image.header.get_zooms()[:3], float)
    if not np.allclose(np.abs(image.affine[:3, :3]), voxel_mm * np.eye(3), atol=1e-3):
        wanted = np.sqrt(np.clip(voxel_mm**2 - zooms**2, 0, None))
        smooth = processing.smooth_image(image, wanted)
        image = processing.resample_to_output(smooth, [voxel_mm] * 3, order=1)
    volume = np.asarray(image.dataobj, dtype=np.float32)
    return fit_box(standardise(volume), voxel_mm=voxel_mm)


def load(
    subjects: pd.DataFrame, folder: str | Path, *, voxel_mm: float, column: str = "file"
) -> np.ndarray:
    """Return the scans of a table of subjects as one array.

    Parameters
    ----------
    subjects : DataFrame
        With a column of file names.
    folder : str or Path
        Folder that relative names start from, ``results/<profile>``.
    voxel_mm : float
        Voxel size, mm.
    column : {"file", "file_exaggerated"}
        Which series to read.

    Returns
    -------
    ndarray of float32, shape (subjects, x, y, z, 1)
    """
    volumes = [read_volume(Path(folder) / name, voxel_mm=voxel_mm) for name in subjects[column]]
    return np.stack(volumes)[..., np.newaxis]


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


def import_own(profile, folder: str | Path) -> None:
    """Take an author's scans in as the brain cohort, after checking every one of them.

    Parameters
    ----------
    profile : helpers.parameters.Profile
        ``cohort.brain_source`` is the folder with ``subjects.csv`` and the NIfTI files it names.
    folder : str or Path
        ``results/<profile>/cohort/brain``; the scans stay where they are.

    Raises
    ------
    UnusableBrains
        Listing every problem of the table and of the files.
    """
    source = (paths.root() / Path(profile.cohort.brain_source).expanduser()).resolve()
    if not (source / "subjects.csv").is_file():
        raise UnusableBrains(
            f"No subjects.csv in {source}. Expected a table with the columns "
            f"{', '.join(OWN_COLUMNS)}. Set cohort.brain_source to the folder that holds it."
        )
    subjects = cohort.read_table(source / "subjects.csv", text=["subject_id", "site"])
    problems = [f"subjects.csv: {text}" for text in cohort.table_problems(subjects, SUBJECTS)]
    files = subjects["file"].dropna().astype(str) if "file" in subjects else pd.Series(dtype=str)
    unusable = [
        f"row {index + 2}, {text}"
        for index, name in files.items()
        if (text := _problem(source / name))
    ]
    _stop_at(problems + unusable, f"{source}: {len(unusable)} of {len(files)} scans")
    subjects = SUBJECTS.validate(subjects)[OWN_COLUMNS]
    subjects["file"] = [str(source / name) for name in subjects["file"]]
    with paths.atomic_path(Path(folder) / "subjects.csv") as temporary:
        subjects.to_csv(temporary, index=False)
    about = {"synthetic": False, "voxel_mm": profile.cohort.brain_voxel_mm, "seed": profile.seed}
    with paths.atomic_path(Path(folder) / "cohort.json") as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n")


def _loaded(path: Path) -> nib.Nifti1Image:
    try:
        image = nib.as_closest_canonical(nib.load(path))
    except images.BROKEN as error:
        if images.passing(error):
            raise
        kind = type(error).__name__
        raise UnusableBrains(f"{path.name}: not readable as NIfTI ({kind}).") from error
    if len(image.shape) == 4 and image.shape[3] == 1:
        image = nib.funcs.four_to_three(image)[0]
    if len(image.shape) != 3 or min(image.shape) < 8:
        raise UnusableBrains(
            f"{path.name}: shape {image.shape}, expected one volume of at least 8 voxels a side."
        )
    return image


def _problem(path: Path) -> str | None:
    try:
        image = _loaded(path)
        values = np.asarray(image.dataobj)
    except UnusableBrains as error:
        return str(error)
    except images.BROKEN as error:
        if images.passing(error):
            raise
        return f"{path.name}: not readable to its end ({type(error).__name__})."
    if not np.isfinite(values).all() or np.ptp(values) == 0:
        return f"{path.name}: its intensities are all alike or not finite."
    return None


def _stop_at(problems: list[str], name: str) -> None:
    if problems:
        listing = "\n".join(f"  - {problem}" for problem in problems)
        raise UnusableBrains(
            f"{name} cannot be used:\n{listing}\n"
            f"Groups: {', '.join(GROUPS)}; sets: {', '.join(SPLITS)}. Correct the table or the "
            "scans, or take their rows out, and run the same command again."
        )
