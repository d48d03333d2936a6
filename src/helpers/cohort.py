"""The thigh cohort's tables: the published Table 2, the checks of what comes in, summaries.

``data/table2.csv`` holds Table 2 of the paper. ``cases.csv`` and ``slices.csv`` describe a
cohort, synthetic or the author's own.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from helpers import images, paths
from helpers.parameters import Profile

SPLITS = ("training", "validation", "test")
DIAGNOSES = tuple(pd.read_csv(paths.package_data("table2.csv")).disease)
DYSTROPHINOPATHIES = ("DMD", "BMD")


class InvalidCohort(ValueError):
    """A cohort table cannot be used; the message lists every problem found."""


CASES = pa.DataFrameSchema(
    {
        "case_id": pa.Column(str, unique=True),
        "diagnosis": pa.Column(str, pa.Check.isin(DIAGNOSES)),
        "dystrophinopathy": pa.Column(int, pa.Check.isin([0, 1])),
        "sex": pa.Column(str, pa.Check.isin(["F", "M"])),
        "age_years": pa.Column(float, pa.Check.in_range(0, 120)),
        "disease_course_years": pa.Column(float, pa.Check.in_range(0, 120), nullable=True),
        "field_strength_tesla": pa.Column(float, pa.Check.in_range(0.2, 7.0)),
        "split": pa.Column(str, pa.Check.isin(SPLITS)),
    },
    checks=[
        pa.Check(
            lambda d: (d.dystrophinopathy == 1) == d.diagnosis.isin(DYSTROPHINOPATHIES),
            error="dystrophinopathy must be 1 for DMD and BMD and 0 for all others",
        ),
        pa.Check(
            lambda d: ~(d.disease_course_years > d.age_years),
            error="disease_course_years exceeds age_years",
        ),
    ],
    coerce=True,
)

SLICES = pa.DataFrameSchema(
    {
        "slice_id": pa.Column(str, unique=True),
        "case_id": pa.Column(str),
        "file": pa.Column(str),
        "frame": pa.Column(int, pa.Check.ge(0)),
        "slice_position_mm": pa.Column(float, nullable=True),
    },
    coerce=True,
)


def published_table() -> pd.DataFrame:
    """Return Table 2 as printed, one row a diagnosis.

    Returns
    -------
    DataFrame
        disease, label and cases and images of each split and in all.

    Examples
    --------
    >>> int(published_table().total_cases.sum()), int(published_table().total_images.sum())
    (432, 2536)
    """
    return pd.read_csv(paths.package_data("table2.csv"))


def published_cells() -> pd.DataFrame:
    """Return Table 2 with one row a diagnosis and split.

    Returns
    -------
    DataFrame
        diagnosis, dystrophinopathy, split, cases, images; empty cells included.
    """
    table = published_table()
    names = {"training": "train", "validation": "val", "test": "test"}
    parts = [
        pd.DataFrame(
            {
                "diagnosis": table.disease,
                "dystrophinopathy": table.label,
                "split": split,
                "cases": table[f"{short}_cases"],
                "images": table[f"{short}_images"],
            }
        )
        for split, short in names.items()
    ]
    return pd.concat(parts, ignore_index=True)


def read_cases(path: Path) -> pd.DataFrame:
    """Read and check ``cases.csv``.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    DataFrame
        Checked, columns in the order of :data:`CASES`.

    Raises
    ------
    InvalidCohort
        Listing every problem.
    """
    return _checked(pd.read_csv(path, dtype={"case_id": str}), CASES, path.name)


def read_slices(path: Path, *, cases: pd.DataFrame) -> pd.DataFrame:
    """Read and check ``slices.csv`` against the cases it belongs to.

    Parameters
    ----------
    path : Path
        The file.
    cases : DataFrame
        From :func:`read_cases`.

    Returns
    -------
    DataFrame
        Checked, columns in the order of :data:`SLICES`.

    Raises
    ------
    InvalidCohort
        Listing every problem, unknown cases and cases without a slice included.
    """
    slices = _checked(pd.read_csv(path, dtype={"case_id": str}), SLICES, path.name)
    unknown = sorted(set(slices.case_id) - set(cases.case_id))
    without = sorted(set(cases.case_id) - set(slices.case_id))
    problems = [f"case {name!r} is not in cases.csv" for name in unknown]
    problems += [f"case {name!r} of cases.csv has no slice" for name in without]
    _stop_at(problems, path.name)
    return slices


def import_own(profile: Profile, folder: Path) -> None:
    """Describe the author's own scans in the cohort's tables; no image is copied.

    Parameters
    ----------
    profile : Profile
        ``profile.cohort.thigh_source`` is the author's folder: ``cases.csv`` and, for each
        case, a folder of its name with DICOM or NIfTI files.
    folder : Path
        ``results/<profile>/cohort/thigh``, written here.

    Raises
    ------
    InvalidCohort
        Listing every problem of the tables and every file that cannot be read.
    """
    source = Path(profile.cohort.thigh_source)
    source = source if source.is_absolute() else paths.root() / source
    if not (source / "cases.csv").is_file():
        raise InvalidCohort(
            f"{source} holds no cases.csv. Expected columns: {', '.join(CASES.columns)}. "
            "The book's page 'Your own data' describes the folder."
        )
    cases = read_cases(source / "cases.csv")
    rows, problems = _own_slices(cases, source)
    _stop_at(problems, str(source))
    shutil.rmtree(folder, ignore_errors=True)
    write_tables(folder, cases, pd.DataFrame(rows), {"synthetic": False})


def write_tables(
    folder: Path, cases: pd.DataFrame, slices: pd.DataFrame, description: dict
) -> None:
    """Write ``cases.csv``, ``slices.csv`` and, last, ``cohort.json``.

    Parameters
    ----------
    folder : Path
        ``results/<profile>/cohort/thigh``.
    cases, slices : DataFrame
        As :data:`CASES` and :data:`SLICES`.
    description : dict
        Content of ``cohort.json``; its presence says that the cohort is complete.
    """
    cases = _checked(cases, CASES, "cases.csv")
    slices = _checked(slices, SLICES, "slices.csv")
    for name, frame in (("cases.csv", cases), ("slices.csv", slices)):
        with paths.atomic_path(folder / name) as temporary:
            frame.to_csv(temporary, index=False)
    with paths.atomic_path(folder / "cohort.json") as temporary:
        temporary.write_text(json.dumps(description, indent=1) + "\n")


def counts(cases: pd.DataFrame, leg_images: pd.Series) -> pd.DataFrame:
    """Return Table 2 of this cohort beside the published one.

    Parameters
    ----------
    cases : DataFrame
        As :data:`CASES`.
    leg_images : Series
        Leg images by case_id.

    Returns
    -------
    DataFrame
        One row a diagnosis and a last row ``Total``; for each split ``cases / images`` of
        this cohort and, in the columns that end in ``published``, of the paper.
    """
    own = cases.assign(images=cases.case_id.map(leg_images).fillna(0))
    here = own.groupby(["diagnosis", "split"]).agg(
        cases=("case_id", "size"), images=("images", "sum")
    )
    published = published_cells().set_index(["diagnosis", "split"])[["cases", "images"]]
    rows = [
        {"diagnosis": name, **_cells_of(name, here, published)} for name in (*DIAGNOSES, "Total")
    ]
    return pd.DataFrame(rows)


def demographics(cases: pd.DataFrame) -> pd.DataFrame:
    """Return age, disease course and sex by group.

    Parameters
    ----------
    cases : DataFrame
        As :data:`CASES`.

    Returns
    -------
    DataFrame
        group, cases, male, female, and mean, sd, lowest and highest of age and course, years.
    """
    positive = cases.dystrophinopathy == 1
    groups = {
        "Dystrophinopathy": cases[positive],
        "DMD": cases[cases.diagnosis == "DMD"],
        "BMD": cases[cases.diagnosis == "BMD"],
        "Control": cases[~positive],
    }
    return pd.DataFrame([{"group": name, **_person_moments(rows)} for name, rows in groups.items()])


def flow(cases: pd.DataFrame, slices: pd.DataFrame) -> pd.DataFrame:
    """Return how many cases, slices and possible leg images each split has.

    Parameters
    ----------
    cases, slices : DataFrame
        As :data:`CASES` and :data:`SLICES`.

    Returns
    -------
    DataFrame
        split, dystrophinopathy, cases, slices, legs (two a slice).
    """
    joined = slices.merge(cases, on="case_id")
    table = joined.groupby(["split", "dystrophinopathy"]).agg(
        cases=("case_id", "nunique"), slices=("slice_id", "size")
    )
    table["legs"] = 2 * table.slices
    order = [(split, label) for split in SPLITS for label in (1, 0)]
    return table.reindex(order, fill_value=0).reset_index()


def _cells_of(name: str, here: pd.DataFrame, published: pd.DataFrame) -> dict[str, str]:
    cells = {}
    for split in SPLITS:
        for heading, table in ((split, here), (f"{split}, published", published)):
            part = table[table.index.get_level_values("split") == split]
            part = part if name == "Total" else part[part.index.get_level_values(0) == name]
            cells[heading] = f"{int(part.cases.sum())} / {int(part.images.sum())}"
    return cells


def _person_moments(rows: pd.DataFrame) -> dict[str, float]:
    moments: dict[str, float] = {
        "cases": len(rows),
        "male": int((rows.sex == "M").sum()),
        "female": int((rows.sex == "F").sum()),
    }
    for short, column in (("age", "age_years"), ("course", "disease_course_years")):
        values = rows[column].dropna().to_numpy()
        none = np.array([np.nan])
        moments[f"{short}_mean"] = np.mean(values if values.size else none)
        moments[f"{short}_sd"] = np.std(values, ddof=1) if values.size > 1 else np.nan
        moments[f"{short}_low"] = np.min(values if values.size else none)
        moments[f"{short}_high"] = np.max(values if values.size else none)
    return moments


def _checked(frame: pd.DataFrame, schema: pa.DataFrameSchema, name: str) -> pd.DataFrame:
    try:
        return schema.validate(frame, lazy=True)[list(schema.columns)]
    except SchemaErrors as error:
        _stop_at(list(dict.fromkeys(_sentences(error.failure_cases, schema))), name)
        raise


def _sentences(failures: pd.DataFrame, schema: pa.DataFrameSchema) -> Iterator[str]:
    for item in failures.itertuples():
        row = "" if pd.isna(item.index) else f"row {int(item.index) + 2}, "
        if item.check == "column_in_dataframe":
            yield f"column {item.failure_case!r} is missing; expected {', '.join(schema.columns)}"
        elif item.schema_context == "Column":
            yield f"{row}{item.column} = {item.failure_case!r}: expected {item.check}"
        else:
            yield f"{row}{item.check}"


def _stop_at(problems: list[str], name: str) -> None:
    if problems:
        listing = "\n".join(f"  - {problem}" for problem in problems)
        raise InvalidCohort(
            f"{name} cannot be used ({len(problems)} problems):\n{listing}\n"
            "Correct them and run the same command again."
        )


def _own_slices(cases: pd.DataFrame, source: Path) -> tuple[list[dict], list[str]]:
    rows: list[dict] = []
    problems: list[str] = []
    for case_id in cases.case_id:
        files = sorted(p for p in (source / case_id).glob("**/*") if p.is_file())
        files = [p for p in files if not p.name.startswith(".")]
        if not files:
            problems.append(f"folder {case_id}/ of this case is missing or empty")
        for path in files:
            try:
                frames = images.frame_positions(path)
            except images.UnreadableImage as error:
                problems.append(str(error))
                continue
            rows += [
                {
                    "case_id": case_id,
                    "file": str(path.resolve()),
                    "frame": i,
                    "slice_position_mm": z,
                }
                for i, z in enumerate(frames)
            ]
    for i, row in enumerate(rows):
        row["slice_id"] = f"{row['case_id']}-{i:05d}"
    return rows, problems
