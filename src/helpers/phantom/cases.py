"""Who is in the synthetic thigh cohort: diagnosis, sex, age, disease course, scanner, split.

Table 2 gives how many cases and leg images each diagnosis has in each split. Ages, courses
and sexes are published only as means, standard deviations and ranges over groups, so the
rest is assumption, fixed before any network saw an image:

- Each published mean and standard deviation inside its published range fixes one scaled beta
  distribution. Values are taken at evenly spread quantiles, so that small cohorts keep the
  moments; the extremes of the range are limits that need not be reached.
- The ages of Duchenne and Becker cases are printed only pooled (14.8 ± 6.6 years). We take the
  published courses of the two groups plus one mean age at onset of 5.45 years, which returns
  the pooled mean, and divide the pooled variance accordingly.
- Courses never exceed ages, and a longer course goes with a higher age. The printed standard
  deviations of age and course leave next to no spread of the age at onset.
- All 284 controls share one age and one course distribution whatever their diagnosis, and
  164 in 284 are male, because nothing finer is printed. All positives are male, as printed.
- Half of the cases were scanned at 1.5 T and half at 3 T, independently of the diagnosis; the
  paper says only that both were used.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy import special, stats

#: Rank correlation of age and disease course before infeasible pairs are exchanged, assumed.
AGE_COURSE_CORRELATION = {"positive": 0.9, "control": 0.3}
MALE_SHARE_OF_CONTROLS = 164 / 284


@dataclass(frozen=True)
class Moments:
    """Published mean, standard deviation and range of a quantity, years."""

    mean: float
    sd: float
    low: float
    high: float


#: Disease course as printed (claims P1-10, P1-11, P1-13); one month is 1/12 year.
COURSE = {
    "DMD": Moments(7.3, 2.5, 2.0, 12.8),
    "BMD": Moments(17.1, 10.6, 3.9, 51.5),
    "control": Moments(5.8, 5.9, 1 / 12, 22.0),
}
#: Age: controls as printed; DMD and BMD such that the pooled moments are 14.8 and 6.6 in 8-57.
AGE = {
    "DMD": Moments(12.75, 2.5, 8.0, 18.3),
    "BMD": Moments(22.55, 10.41, 8.0, 57.0),
    "control": Moments(36.8, 16.9, 9.0, 81.0),
}


def group_of(diagnosis: str) -> str:
    """Return the group whose age and course are printed: ``DMD``, ``BMD`` or ``control``.

    Examples
    --------
    >>> group_of("BMD"), group_of("Myositis")
    ('BMD', 'control')
    """
    return diagnosis if diagnosis in ("DMD", "BMD") else "control"


@cache
def distribution(moments: Moments) -> stats.rv_continuous:
    """Return the scaled beta distribution with the given mean and sd inside a range.

    Parameters
    ----------
    moments : Moments
        Mean, standard deviation and range, years.

    Returns
    -------
    scipy.stats frozen distribution
        Its mean and standard deviation equal the given ones exactly.

    Raises
    ------
    ValueError
        When no distribution inside the range can have that standard deviation.

    Examples
    --------
    >>> course = distribution(COURSE["DMD"])
    >>> [round(float(x), 6) for x in (course.mean(), course.std(), *course.support())]
    [7.3, 2.5, 2.0, 12.8]
    """
    width = moments.high - moments.low
    mean = (moments.mean - moments.low) / width
    variance = (moments.sd / width) ** 2
    concentration = mean * (1 - mean) / variance - 1
    if concentration <= 0:
        raise ValueError(f"No distribution inside the range has these moments: {moments}")
    a, b = mean * concentration, (1 - mean) * concentration
    return stats.beta(a, b, loc=moments.low, scale=width)


def cell_sizes(
    table2: pd.DataFrame, *, case_fraction: float, image_fraction: float
) -> pd.DataFrame:
    """Return cases and leg images of each non-empty cell of Table 2 for a reduced cohort.

    Parameters
    ----------
    table2 : DataFrame
        One row a diagnosis and split, see :func:`helpers.cohort.published_cells`.
    case_fraction, image_fraction : float
        Fractions of the published cases and leg images, in (0, 1].

    Returns
    -------
    DataFrame
        diagnosis, dystrophinopathy, split, cases, images. Cases are rounded up, so that no
        cell becomes empty, and Becker gets more where its share of all cases would fall below
        the published one; images are even (both legs) and at least two a case. At fractions
        of 1 the published counts.
    """
    cells = table2[table2.cases > 0].reset_index(drop=True)
    cases = np.array([math.ceil(round(case_fraction * n, 9)) for n in cells.cases])
    becker = (cells.diagnosis == "BMD").to_numpy()
    share = cells.cases[becker].sum() / cells.cases.sum()
    while cases[becker].sum() / cases.sum() < share - 1e-12:
        reached = np.where(becker, cases / cells.cases, np.inf)
        cases[np.argmin(reached)] += 1
    images = [
        max(2 * few, 2 * math.ceil(round(image_fraction * n / 2, 9)))
        for few, n in zip(cases, cells.images, strict=True)
    ]
    return cells.assign(cases=cases, images=images)


def draw(cells: pd.DataFrame, *, seed: int) -> tuple[pd.DataFrame, pd.Series]:
    """Draw the cases of a cohort.

    Parameters
    ----------
    cells : DataFrame
        From :func:`cell_sizes`.
    seed : int
        Random seed.

    Returns
    -------
    cases : DataFrame
        Columns of ``cases.csv``. The order and the identifiers do not tell the diagnosis.
    slices : Series
        Number of slices with separable legs, by case_id.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    cases = _expand(cells, rng)
    cases = pd.concat([_with_person(rows, rng) for _, rows in cases.groupby("group", sort=True)])
    cases["field_strength_tesla"] = rng.permutation(np.resize([1.5, 3.0], len(cases)))
    cases = cases.sample(frac=1, random_state=rng).reset_index(drop=True)
    cases.insert(0, "case_id", [f"thigh-{i + 1:04d}" for i in range(len(cases))])
    slices = cases.set_index("case_id").pop("slices")
    return cases.drop(columns=["group", "slices"])[CASE_COLUMNS], slices


CASE_COLUMNS = [
    "case_id",
    "diagnosis",
    "dystrophinopathy",
    "sex",
    "age_years",
    "disease_course_years",
    "field_strength_tesla",
    "split",
]


def advance(diagnosis: str, *, age_years: float, course_years: float) -> float:
    """Return how far a disease has come by age and course, as a standard score.

    Parameters
    ----------
    diagnosis : str
        Names the group whose distributions are taken.
    age_years, course_years : float
        Of the person.

    Returns
    -------
    float
        Sum of the normal scores of age and course, over its standard deviation.

    Examples
    --------
    >>> advance("DMD", age_years=9, course_years=3) < 0 < advance(
    ...     "DMD", age_years=17, course_years=11)
    True
    """
    group = group_of(diagnosis)
    kind = "control" if group == "control" else "positive"
    quantiles = [
        distribution(AGE[group]).cdf(age_years),
        distribution(COURSE[group]).cdf(course_years),
    ]
    scores = special.ndtri(np.clip(quantiles, 1e-3, 1 - 1e-3))
    return float(scores.sum() / math.sqrt(2 + 2 * AGE_COURSE_CORRELATION[kind]))


def _expand(cells: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """One row a case; a cell's slices are spread as evenly as they go."""
    rows = []
    for cell in cells.itertuples():
        each, over = divmod(cell.images // 2, cell.cases)
        slices = rng.permutation([each + (i < over) for i in range(cell.cases)])
        rows += [
            {
                "diagnosis": cell.diagnosis,
                "dystrophinopathy": cell.dystrophinopathy,
                "split": cell.split,
                "slices": n,
                "group": group_of(cell.diagnosis),
            }
            for n in slices
        ]
    return pd.DataFrame(rows)


def _with_person(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    group, n = rows.group.iloc[0], len(rows)
    ages = np.sort(_spread_quantiles(AGE[group], n, rng))
    courses = np.sort(_spread_quantiles(COURSE[group], n, rng))
    kind = "control" if group == "control" else "positive"
    order = _paired_order(n, AGE_COURSE_CORRELATION[kind], rng)
    courses = _feasible(ages, courses[order])
    shuffle = rng.permutation(n)
    males = n if kind == "positive" else round(n * MALE_SHARE_OF_CONTROLS)
    return rows.assign(
        age_years=ages[shuffle].round(1),
        # Rounded down, so that a course cannot come to exceed its age by rounding.
        disease_course_years=(np.floor(courses[shuffle] * 100) / 100).clip(COURSE[group].low),
        sex=rng.permutation(["M"] * males + ["F"] * (n - males)),
    )


def _spread_quantiles(moments: Moments, n: int, rng: np.random.Generator) -> np.ndarray:
    return distribution(moments).ppf((np.arange(n) + rng.uniform(0.25, 0.75, n)) / n)


def _paired_order(n: int, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Ranks that correlate with 0..n-1 about as two normals of that correlation do."""
    first = np.sort(rng.standard_normal(n))
    second = correlation * first + math.sqrt(1 - correlation**2) * rng.standard_normal(n)
    return np.argsort(np.argsort(second))


def _feasible(ages: np.ndarray, courses: np.ndarray) -> np.ndarray:
    """Exchange courses between cases until none exceeds its age; ages ascend."""
    courses = courses.copy()
    for i in np.flatnonzero(courses > ages):
        partners = np.flatnonzero((courses <= ages[i]) & (ages >= courses[i]))
        if not partners.size:
            return np.sort(courses)
        courses[[i, partners[0]]] = courses[[partners[0], i]]
    return courses
