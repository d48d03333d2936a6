"""How much fat each muscle holds: disease, severity, side and slice.

``data/phantom_atlas.csv`` gives, for each diagnosis and muscle, a mean fat fraction, the
standard deviation between patients, that of single muscles and that of left-right
differences, each with its source and a quality mark. Except for Becker's measured means these
are approximations from the literature. In FSHD the left-right differences are
widened so that one pair in five differs by more than 0.10 (published: 20 % of pairs asymmetric).

The model: the logit of a muscle's fat fraction is normal,
``logit f = offset + a s + e + d + z``, with the patient's severity ``s``, the muscle's residual
``e``, half the left-right difference ``d`` and a drift ``z`` along the slices, 0 in the middle of
the thigh. One ``a`` a diagnosis makes the average of the twelve muscles' standard deviations the
tabulated one. Because the mean of a logistic is not the logistic of the mean, each offset is
solved for.

Congenital myopathies are three sub-groups: 60 % of the RYR1 type, 20 % mild and diffuse, 20 %
with fat in the hamstrings. The mean pattern of the last two is assumed; that of the first is
solved for, so that the mixture has the tabulated means.
"""

from functools import cache

import numpy as np
import pandas as pd
from scipy import ndimage, optimize, special

from helpers import paths

MUSCLES = ("SA", "RF", "VL", "VI", "VM", "AM", "AL", "GR", "BFL", "BFS", "ST", "SM")

SPECIFICATION = {
    "lowest": 0.02,
    "highest": 0.92,
    # Severity against the mean of the normal scores of age and course. Published for DMD: T1
    # score against age .69, against course .52; their middle is assumed for every diagnosis.
    "severity_age_course_correlation": 0.6,
    "drift_sd_logit_per_50_mm": 0.25,
    # Change of the logit per 50 mm towards the hip. FSHD: fat fraction lower proximally by 3.9
    # points (PMC5711504); neurogenic: distal gradient; sarcoglycan: vasti proximo-distal
    # (eprints.ncl.ac.uk/245177); FKRP: distal femoral shaft (doi 10.1155/2018/3710814). Sizes
    # other than that of FSHD are assumptions.
    "drift_mean_logit_per_50_mm": {
        "FSHD": {"all": -0.2},
        "Neurogenic": {"all": -0.2},
        "LGMD2C": {"VL": 0.3, "VI": 0.3, "VM": 0.3},
        "LGMD2D": {"VL": 0.3, "VI": 0.3, "VM": 0.3},
        "LGMD2E": {"VL": 0.3, "VI": 0.3, "VM": 0.3},
        "LGMD2I": {"VI": -0.3, "VM": -0.3},
    },
    "largest_sd_logit_of_muscle_or_side": 1.0,
    # Widens left-right differences until 20 % of pairs differ by more than 0.10 (PMC5711504).
    "left_right_factor": {"FSHD": 1.42},
    # Share and mean fat fraction of assumed sub-groups: of all muscles, and of single ones. The
    # rest of the cases has what makes the mixture's mean the tabulated one.
    "sub_groups": {
        "Congenital": [
            [0.2, 0.10, {}],
            [0.2, 0.08, {"SM": 0.35, "ST": 0.35, "BFL": 0.35, "BFS": 0.30}],
        ]
    },
    # Share of muscles with oedema, and how much of the muscle's water it then affects. FSHD is
    # published (3.5 % of muscles, PMC5711504); DMD follows 30 of 48 boys; the others are assumed.
    "oedema_share_of_muscles": {"FSHD": 0.035, "DMD": 0.2, "LGMD2B": 0.25, "Myositis": 0.5},
    "oedema_share_otherwise": 0.05,
    "oedema_of_water": [0.3, 1.0],
}


@cache
def atlas() -> pd.DataFrame:
    """Return the atlas of fat fractions, indexed by diagnosis and muscle.

    Returns
    -------
    DataFrame
        fat_fraction_mean, sd_between_patients, sd_muscle_residual, sd_left_right, csa_ratio,
        and what they rest on.
    """
    table = pd.read_csv(paths.package_data("phantom_atlas.csv"))
    return table.set_index(["diagnosis", "muscle"]).sort_index()


def bounded(logit: np.ndarray) -> np.ndarray:
    """Return the fat fraction of a logit, kept inside the simulated range.

    Examples
    --------
    >>> bounded(np.array([-9.0, 0.0, 9.0])).tolist()
    [0.02, 0.5, 0.92]
    """
    return np.clip(special.expit(logit), SPECIFICATION["lowest"], SPECIFICATION["highest"])


#: The standard normal distribution as equally likely values.
_NORMAL = special.ndtri((np.arange(400) + 0.5) / 400)


def moments(offset: np.ndarray, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the fat fraction when its logit is normal.

    Parameters
    ----------
    offset, sd : ndarray, shape (n,)
        Mean and standard deviation of the logit.

    Returns
    -------
    tuple of ndarray, shape (n,)
        Integrated over 400 equally likely values.

    Examples
    --------
    >>> mean, _ = moments(np.array([0.0]), np.array([1e-6]))
    >>> round(float(mean[0]), 6)
    0.5
    """
    values = bounded(np.asarray(offset)[:, None] + np.asarray(sd)[:, None] * _NORMAL)
    return values.mean(axis=1), values.std(axis=1)


def offsets_for(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Return the logit offsets at which the mean fat fractions are the given ones.

    Parameters
    ----------
    mean : ndarray, shape (n,)
        Tabulated means, inside the simulated range.
    sd : ndarray, shape (n,)
        Standard deviations of the logits.

    Returns
    -------
    ndarray, shape (n,)
        Offsets, by bisection.

    Examples
    --------
    >>> offset = offsets_for(np.array([0.3]), np.array([1.7]))
    >>> round(float(moments(offset, np.array([1.7]))[0][0]), 6)
    0.3
    """
    low, high = np.full(len(mean), -40.0), np.full(len(mean), 40.0)
    for _ in range(60):
        middle = (low + high) / 2
        below = moments(middle, sd)[0] < mean
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


@cache
def sub_groups(diagnosis: str) -> list[tuple[float, np.ndarray]]:
    """Return share and mean fat fractions of a diagnosis's sub-groups.

    Parameters
    ----------
    diagnosis : str
        As in the atlas.

    Returns
    -------
    list of tuple
        Share, and the means in the order of :data:`MUSCLES`. One entry for most diagnoses. The
        first is solved for, so that the mixture's means are the tabulated ones.

    Examples
    --------
    >>> groups = sub_groups("Congenital")
    >>> [share for share, _ in groups]
    [0.6, 0.2, 0.2]
    >>> mixture = sum(share * means for share, means in groups)
    >>> round(float(mixture[MUSCLES.index("AM")]), 6)
    0.4
    """
    wanted = atlas().loc[diagnosis].loc[list(MUSCLES)].fat_fraction_mean.to_numpy()
    assumed = [
        (share, np.array([own.get(muscle, general) for muscle in MUSCLES]))
        for share, general, own in SPECIFICATION["sub_groups"].get(diagnosis, [])
    ]
    rest = round(1 - sum(share for share, _ in assumed), 12)
    first = (wanted - sum((share * means for share, means in assumed), 0 * wanted)) / rest
    return [(rest, first), *assumed]


@cache
def coefficients(diagnosis: str) -> tuple[float, pd.DataFrame]:
    """Return the severity coefficient of a diagnosis and the logit model of its muscles.

    Parameters
    ----------
    diagnosis : str
        As in the atlas.

    Returns
    -------
    severity : float
        Coefficient of the severity, logits per standard deviation.
    muscles : DataFrame
        Indexed by muscle: sd_muscle and sd_side, logits, and offset_0, offset_1, ... of the
        sub-groups.
    """
    rows = atlas().loc[diagnosis].loc[list(MUSCLES)]
    slope = rows.fat_fraction_mean * (1 - rows.fat_fraction_mean)
    largest = SPECIFICATION["largest_sd_logit_of_muscle_or_side"]
    sd_muscle = (rows.sd_muscle_residual / slope).clip(upper=largest)
    # A difference of sd D between sides is +- D/2 around their mean.
    sd_side = (rows.sd_left_right / 2 / slope).clip(upper=largest)
    sd_side *= SPECIFICATION["left_right_factor"].get(diagnosis, 1.0)
    groups = sub_groups(diagnosis)
    share = np.array([share for share, _ in groups])

    def model(severity: float) -> tuple[list[np.ndarray], np.ndarray]:
        sd = np.sqrt(severity**2 + sd_muscle**2 + sd_side**2).to_numpy()
        return [offsets_for(means, sd) for _, means in groups], sd

    def sd_missing(severity: float) -> float:
        offsets, sd = model(severity)
        found = [moments(offset, sd) for offset in offsets]
        second = share @ [mean**2 + spread**2 for mean, spread in found]
        spread = np.sqrt(second - (share @ [mean for mean, _ in found]) ** 2)
        return spread.mean() - rows.sd_between_patients.iloc[0]

    severity = 0.0 if sd_missing(0.0) > 0 else optimize.brentq(sd_missing, 0.0, 12.0, xtol=1e-3)
    columns = {f"offset_{i}": offset for i, offset in enumerate(model(severity)[0])}
    columns |= {"sd_muscle": sd_muscle, "sd_side": sd_side}
    return severity, pd.DataFrame(columns, index=rows.index)


def draw_logits(
    diagnosis: str, *, advance: float, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.Series]:
    """Draw the fat of one case.

    Parameters
    ----------
    diagnosis : str
        As in the atlas.
    advance : float
        Standard score of age and disease course within the group, see
        :func:`helpers.phantom.cases.advance`.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    logits : DataFrame
        Indexed by muscle, columns ``right`` and ``left``; in the middle of the thigh.
    drift : Series
        Change of the logit per mm towards the hip, by muscle.
    """
    slope, model = coefficients(diagnosis)
    shared = SPECIFICATION["severity_age_course_correlation"]
    severity = shared * advance + np.sqrt(1 - shared**2) * rng.standard_normal()
    share = [share for share, _ in sub_groups(diagnosis)]
    offset = model[f"offset_{rng.choice(len(share), p=share)}"]
    middle = offset + slope * severity + model.sd_muscle * rng.standard_normal(len(model))
    half = model.sd_side * rng.standard_normal(len(model))
    drift = SPECIFICATION["drift_sd_logit_per_50_mm"] * rng.standard_normal(len(model))
    mean = SPECIFICATION["drift_mean_logit_per_50_mm"].get(diagnosis, {})
    drift += np.array([mean.get(muscle, mean.get("all", 0.0)) for muscle in MUSCLES])
    logits = pd.DataFrame({"right": middle + half, "left": middle - half})
    return logits, pd.Series(drift / 50, index=model.index)


def draw_oedema(diagnosis: str, rng: np.random.Generator) -> np.ndarray:
    """Draw how much of each muscle's water is oedematous.

    Parameters
    ----------
    diagnosis : str
        As in the atlas.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (2 sides, 12 muscles)
        In [0, 1]; 0 in most muscles. On a T1-weighted image next to invisible.
    """
    shares = SPECIFICATION["oedema_share_of_muscles"]
    share = shares.get(diagnosis, SPECIFICATION["oedema_share_otherwise"])
    has = rng.uniform(size=(2, len(MUSCLES))) < (0.0 if diagnosis == "Healthy" else share)
    return has * rng.uniform(*SPECIFICATION["oedema_of_water"], size=has.shape)


def smooth_noise(
    shape: tuple[int, int], *, scale_mm: float, pixel_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """Return a smooth random field.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    scale_mm, pixel_mm : float
        Standard deviation of the Gaussian that smooths white noise; pixel edge.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (rows, columns)
        Standard deviation 1.
    """
    field = ndimage.gaussian_filter(
        rng.standard_normal(shape), scale_mm / pixel_mm, mode="wrap", truncate=3
    )
    return field / field.std()


def with_mean(field: np.ndarray, target: float) -> np.ndarray:
    """Return fat fractions that follow a texture and average exactly the target.

    Parameters
    ----------
    field : ndarray
        Texture at a muscle's pixels, logits.
    target : float
        Mean fat fraction of the muscle, in (0, 1).

    Returns
    -------
    ndarray
        Fat fractions in (0, 1), of the field's shape.

    Examples
    --------
    >>> fractions = with_mean(np.array([-1.0, 0.0, 2.0]), 0.3)
    >>> round(float(fractions.mean()), 6)
    0.3
    """
    field = np.asarray(field, dtype=float)
    offset = special.logit(target)
    low, high = offset - field.max(), offset - field.min()
    for _ in range(60):
        values = special.expit(field + offset)
        error = values.mean() - target
        if abs(error) < 1e-9:
            break
        low, high = (low, offset) if error > 0 else (offset, high)
        offset -= error / (values * (1 - values)).mean()
        # Newton's step leaves the bracket where the fractions are nearly all 0 or 1.
        if not low < offset < high:
            offset = (low + high) / 2
    return values
