"""The thigh cohort's tables: the published Table 2, the checks of what comes in, summaries.

``data/table2.csv`` holds Table 2 of the paper. ``cases.csv`` and ``slices.csv`` describe a
cohort, synthetic or the author's own.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors
from scipy import stats

from helpers import paths

SPLITS = ("training", "validation", "test")
DIAGNOSES = tuple(pd.read_csv(paths.package_data("table2.csv")).disease)
DYSTROPHINOPATHIES = ("DMD", "BMD")
#: Columns of :func:`flow` to the step that set a slice, file or case aside.
SET_ASIDE_STEPS = {
    **{"no_pixels": "decoding", "not_admitted": "admission"},
    **{"copies": "copy", "cases_lost": "case"},
}
#: Mean and standard deviation of age, years, as printed: dystrophinopathy, control.
PRINTED_AGES = ((14.8, 6.6), (36.8, 16.9))


class InvalidCohort(ValueError):
    """A cohort table cannot be used; the message lists every problem found."""


def _label_fits(cases: pd.DataFrame) -> pd.Series:
    # A cell that is wrong by itself is reported as such, and not a second time here.
    table = cases.reindex(columns=["diagnosis", "dystrophinopathy"])
    label = pd.to_numeric(table.dystrophinopathy, errors="coerce")
    usable = table.diagnosis.isin(DIAGNOSES) & label.isin([0, 1])
    return ~usable | ((label == 1) == table.diagnosis.isin(DYSTROPHINOPATHIES))


def _course_within_age(cases: pd.DataFrame) -> pd.Series:
    table = cases.reindex(columns=["age_years", "disease_course_years"])
    numbers = table.apply(pd.to_numeric, errors="coerce")
    return ~(numbers.disease_course_years > numbers.age_years)


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
            _label_fits,
            error="dystrophinopathy must be 1 for DMD and BMD and 0 for all others",
        ),
        pa.Check(_course_within_age, error="disease_course_years exceeds age_years"),
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


def read_table(path: Path, *, text: list[str]) -> pd.DataFrame:
    """Read a table that an author may have written.

    Parameters
    ----------
    path : Path
        A CSV file.
    text : list of str
        Columns of codes that may look like numbers.

    Returns
    -------
    DataFrame
        As it stands in the file.

    Raises
    ------
    InvalidCohort
        When the file is no table.
    """
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(text, str))
    except ValueError as error:  # pandas' errors of parsing, and those of the encoding
        stop_at([f"it is not a table in CSV, UTF-8: {error}"], path.name)
    if not isinstance(table.index, pd.RangeIndex):
        stop_at(["its rows have more values than its first line has names"], path.name)
    if len(table.columns) == 1 and ";" in str(table.columns[0]):
        found = ", ".join(str(table.columns[0]).split(";"))
        stop_at(
            [f"its values are separated by semicolons, expected commas; columns found: {found}"],
            path.name,
        )
    return table


def table_problems(table: pd.DataFrame, schema: pa.DataFrameSchema) -> list[str]:
    """Return everything a table has wrong, one sentence each.

    Parameters
    ----------
    table : DataFrame
        As :func:`read_table` returns it.
    schema : pandera.DataFrameSchema
        What it must hold.

    Returns
    -------
    list of str
        Rows are numbered as lines of the file.

    Examples
    --------
    >>> table_problems(pd.DataFrame({"age": ["12y"]}), pa.DataFrameSchema(
    ...     {"age": pa.Column(float, pa.Check.ge(0))}, coerce=True))
    ["row 2, age = '12y': expected a number"]
    """
    try:
        schema.validate(table, lazy=True)
    except SchemaErrors as error:
        return _sentences(error.failure_cases, schema)
    return ["it has no rows"] if table.empty else []


def stop_at(problems: list[str], name: str, *, set_aside: Iterable[str] = ()) -> None:
    """Stop with one list of everything that is wrong.

    Parameters
    ----------
    problems : list of str
        One sentence each, without a full stop.
    name : str
        What cannot be used.
    set_aside : iterable of str
        What was left out before, listed below the problems.

    Raises
    ------
    InvalidCohort
        When there is any.
    """
    if problems:
        listing = "\n".join(f"  - {problem}" for problem in problems)
        plural = "s" if len(problems) > 1 else ""
        more = "".join(f"  - {line}\n" for line in set_aside)
        more = f"Set aside:\n{more}" if more else ""
        raise InvalidCohort(
            f"{name} cannot be used ({len(problems)} problem{plural}):\n{listing}\n{more}"
            "Correct them and run the same command again."
        )


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
    return _checked(read_table(path, text=["case_id"]), CASES, path.name)


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
    slices = _checked(read_table(path, text=["case_id"]), SLICES, path.name)
    unknown = sorted(set(slices.case_id) - set(cases.case_id))
    without = sorted(set(cases.case_id) - set(slices.case_id))
    problems = [f"case {name!r} is not in cases.csv" for name in unknown]
    problems += [f"case {name!r} of cases.csv has no slice" for name in without]
    stop_at(problems, path.name)
    return slices


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


def demographics(cases: pd.DataFrame, *, printed: Mapping[str, Any]) -> pd.DataFrame:
    """Return age, disease course and sex of each group beside what is printed.

    Parameters
    ----------
    cases : DataFrame
        As :data:`CASES`.
    printed : mapping
        Published claims by id, :func:`helpers.claims.everything`. A phantom is made without
        them, so that a reworded claim makes no cohort stale.

    Returns
    -------
    DataFrame
        group, cases, and for sex, age and course the text of this cohort and, in the columns
        that end in ``published``, of the paper; ``not printed`` where it has none.
    """
    positive = cases.dystrophinopathy == 1
    groups = {
        "dystrophinopathy": (positive, "148 / 0", "P1-08", "P1-09"),
        "DMD": (cases.diagnosis == "DMD", "117 / 0", None, "P1-10"),
        "BMD": (cases.diagnosis == "BMD", "31 / 0", None, "P1-11"),
        "control": (~positive, "164 / 120", "P1-13a", "P1-13c"),
    }
    rows = []
    for name, (chosen, sexes, age, course) in groups.items():
        here = cases[chosen]
        rows.append(
            {
                "group": name,
                "male / female": f"{(here.sex == 'M').sum()} / {(here.sex == 'F').sum()}",
                "male / female, published": sexes,
                "age": _moments_text(here.age_years),
                "age, published": printed[age].text if age else "not printed",
                "course": _moments_text(here.disease_course_years),
                "course, published": printed[course].text if course else "not printed",
            }
        )
    return pd.DataFrame(rows)


def area_from_moments(positive: tuple[float, float], control: tuple[float, float]) -> float:
    r"""Return the area under the ROC curve of a normal quantity that is lower in positives.

    :math:`A = \Phi\big((m_c - m_p) / \sqrt{s_c^2 + s_p^2}\big)`

    Parameters
    ----------
    positive, control : tuple of float
        Mean and standard deviation of the quantity.

    Returns
    -------
    float
        Area; 0.5 for equal means.

    Examples
    --------
    The printed ages, 14.8 ± 6.6 and 36.8 ± 16.9 years, alone tell the groups apart:

    >>> round(area_from_moments(*PRINTED_AGES), 3)
    0.887
    """
    distance = (control[0] - positive[0]) / np.hypot(control[1], positive[1])
    return float(stats.norm.cdf(distance))


def area_with_sex(area: float, *, female_controls: float) -> float:
    """Return the area under the ROC curve when women, all of them controls, are known as such.

    Parameters
    ----------
    area : float
        Area of another quantity, here age, among men; taken to be the same in both sexes.
    female_controls : float
        Share of women among the controls.

    Returns
    -------
    float
        A woman is always told apart from a positive; a man as well as the quantity does.

    Examples
    --------
    Age and sex as printed, with 120 women among 284 controls:

    >>> round(area_with_sex(area_from_moments(*PRINTED_AGES), female_controls=120 / 284), 3)
    0.935
    """
    return female_controls + (1 - female_controls) * area


def split_plausibility() -> pd.DataFrame:
    """Return how likely a random split of cases gives the published test set.

    The groups were picked after looking at the table, so p describes a group and does not test
    it; :func:`split_test` looks at all groups and sets at once.

    Returns
    -------
    DataFrame
        group, cases, in_test, expected, and ``p``, two-sided: the chance that drawing 102 of 432
        cases at random gives a number at least as far from the expected one, by the
        hypergeometric distribution.

    Examples
    --------
    >>> table = split_plausibility().set_index("group")
    >>> int(table.loc["BMD", "in_test"]), bool(table.loc["BMD", "p"] < 0.001)
    (17, True)
    """
    table, groups = published_table(), _split_groups()
    everyone, drawn = int(table.total_cases.sum()), int(table.test_cases.sum())
    rows = []
    for name, members in groups.items():
        own = table[table.disease.isin(members)]
        n, found = int(own.total_cases.sum()), int(own.test_cases.sum())
        random = stats.hypergeom(everyone, n, drawn)
        counts_ = np.arange(n + 1)
        far = np.abs(counts_ - random.mean()) >= abs(found - random.mean()) - 1e-9
        p = float(random.pmf(counts_)[far].sum())
        rows.append((name, n, found, float(random.mean()), p))
    return pd.DataFrame(rows, columns=["group", "cases", "in_test", "expected", "p"])


def split_test() -> float:
    """Test the published division of five groups of diagnoses into three sets, all at once.

    Returns
    -------
    float
        p of Pearson's chi-squared test of independence, 8 degrees of freedom.

    Examples
    --------
    >>> split_test() < 0.001
    True
    """
    table = published_table().set_index("disease")[["train_cases", "val_cases", "test_cases"]]
    counted = [table.loc[members].sum() for members in _split_groups().values()]
    return float(stats.chi2_contingency(counted).pvalue)


def _split_groups() -> dict[str, list[str]]:
    groups = {name: [name] for name in ("DMD", "BMD", "Myositis", "Neurogenic")}
    named = [name for names in groups.values() for name in names]
    return groups | {"all others": [name for name in DIAGNOSES if name not in named]}


def example_cases(cases: pd.DataFrame, *, folder: Path) -> pd.DataFrame:
    """Return six cases that show the range of the cohort, lightest and most severe DMD first.

    Parameters
    ----------
    cases : DataFrame
        As :data:`CASES`.
    folder : Path
        ``results/<profile>/cohort/thigh``. Where it holds the true fat fractions, they order
        the cases; else, with an author's own data, the disease course does, and the titles give
        the age in classes of five years, 90 and more as one.

    Returns
    -------
    DataFrame
        Rows of ``cases`` and ``title``; fewer than six when a diagnosis is absent.
    """
    truth = folder / "truth" / "fat_fractions.csv"
    severity = cases.set_index("case_id").disease_course_years
    synthetic = truth.is_file()
    if synthetic:
        severity = pd.read_csv(truth).groupby("case_id").fat_fraction.mean()
    ordered = cases.assign(severity=cases.case_id.map(severity)).sort_values("severity")
    wanted = (
        *(("DMD", 0), ("DMD", -1), ("BMD", 0)),
        *(("LGMD2D", -1), ("Myositis", 0), ("Neurogenic", -1)),
    )
    found = [
        ordered[ordered.diagnosis == name].iloc[[at]]
        for name, at in wanted
        if (ordered.diagnosis == name).any()
    ]
    chosen = pd.concat(found)
    ages = [
        f"{age:.0f} y, {tesla:g} T" if synthetic else f"{_age_class(age)} y, {tesla:g} T"
        for age, tesla in zip(chosen.age_years, chosen.field_strength_tesla, strict=True)
    ]
    return chosen.assign(title=chosen.diagnosis + ", " + chosen.sex + ", " + ages)


def _age_class(age: float) -> str:
    low = int(age // 5) * 5
    return "90 or more" if age >= 90 else f"{low} to {low + 4}"


def read_pressed(folder: Path) -> list[str]:
    """Return the slices of a synthetic cohort that are drawn with legs not separable.

    Parameters
    ----------
    folder : Path
        ``results/<profile>``.

    Returns
    -------
    list of str
        slice_id; empty for the author's own scans, whose truth nobody knows.
    """
    path = Path(folder) / "cohort" / "thigh" / "truth" / "legs.csv"
    if not path.is_file():
        return []
    truth = pd.read_csv(path)
    return sorted(set(truth.slice_id[truth.separable == 0]))


def flow(
    cases: pd.DataFrame,
    slices: pd.DataFrame,
    *,
    set_aside: pd.DataFrame | None = None,
    pressed: Iterable[str] = (),
) -> pd.DataFrame:
    """Return how many cases, slices and possible leg images each split has.

    Parameters
    ----------
    cases, slices : DataFrame
        As :data:`CASES` and :data:`SLICES`.
    set_aside : DataFrame, optional
        From :func:`helpers.own.read_set_aside`: what was given and not taken in.
    pressed : iterable of str
        From :func:`read_pressed`: slices of a synthetic cohort whose legs are not separable.

    Returns
    -------
    DataFrame
        split, dystrophinopathy, cases, slices, legs (two a slice); not_separable, slices whose
        legs are drawn pressed together; and of what was set aside: no_pixels, not_admitted,
        copies (each slices, or files that give none) and cases_lost.
    """
    keys = ["split", "dystrophinopathy"]
    joined = slices.merge(cases, on="case_id")
    table = joined.groupby(keys).agg(cases=("case_id", "nunique"), slices=("slice_id", "size"))
    table["legs"] = 2 * table.slices
    table["not_separable"] = joined[joined.slice_id.isin(list(pressed))].groupby(keys).size()
    for name, step in SET_ASIDE_STEPS.items():
        if set_aside is None or set_aside.empty:
            table[name] = 0
            continue
        counted = set_aside[set_aside.step == step].groupby(keys).size()
        table = table.reindex(table.index.union(counted.index))
        table[name] = counted
    order = pd.MultiIndex.from_product([SPLITS, (1, 0)], names=keys)
    return table.reindex(order).fillna(0).astype(int).reset_index()


def _cells_of(name: str, here: pd.DataFrame, published: pd.DataFrame) -> dict[str, str]:
    cells = {}
    for split in SPLITS:
        for heading, table in ((split, here), (f"{split}, published", published)):
            part = table[table.index.get_level_values("split") == split]
            part = part if name == "Total" else part[part.index.get_level_values(0) == name]
            cells[heading] = f"{int(part.cases.sum())} / {int(part.images.sum())}"
    return cells


def _moments_text(values: pd.Series) -> str:
    values = values.dropna()
    if values.empty:
        return "none"
    sd = f"sd {values.std():.1f}, " if len(values) > 1 else ""
    return f"{values.mean():.1f} years ({sd}range {values.min():.1f} to {values.max():.1f})"


def _checked(frame: pd.DataFrame, schema: pa.DataFrameSchema, name: str) -> pd.DataFrame:
    stop_at(table_problems(frame, schema), name)
    return schema.validate(frame)[list(schema.columns)]


def _sentences(failures: pd.DataFrame, schema: pa.DataFrameSchema) -> list[str]:
    """One sentence a cell: what fails after the first check fails because of it."""
    required = ", ".join(name for name, column in schema.columns.items() if column.required)
    # One cell that is no number turns its column into text, which no other check can judge.
    is_text = failures.check.astype(str).str.startswith("coerce_dtype")
    follows = ~is_text & failures.column.isin(failures.column[is_text])
    found: dict[tuple[str, str], str] = {}
    for item in failures[~follows].itertuples():
        row = "" if pd.isna(item.index) else f"row {int(item.index) + 2}, "
        text, cell = f"{row}{item.check}", (item.check, row)
        if item.check == "column_in_dataframe":
            text = f"column {item.failure_case!r} is missing; expected {required}"
            cell = (item.failure_case, row)
        elif item.schema_context == "Column":
            text = f"{row}{item.column} = {item.failure_case!r}: expected {_wanted(item.check)}"
            cell = (item.column, row)
        found.setdefault(cell, text)
    return list(found.values())


def _wanted(check: str) -> str:
    words = {
        "coerce_dtype('float64')": "a number",
        "coerce_dtype('int64')": "a whole number",
        "not_nullable": "a value",
        "field_uniqueness": "a code used once",
    }
    return words.get(check, check)
