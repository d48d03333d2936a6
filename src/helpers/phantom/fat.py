"""How much fat each muscle holds: disease, severity, side, slice and texture.

``data/phantom_atlas.csv`` gives, for each diagnosis and muscle, a mean fat fraction, the
standard deviation between patients, that of single muscles and that of left-right
differences, each with its source and a quality mark. Except for Becker's measured means these
are approximations from the literature. The standard deviation of left-right differences in
FSHD, 0.078, makes one pair in five differ by more than 0.10 (published: 20 % of pairs
asymmetric).

The model: the logit of a muscle's fat fraction is normal,
``logit f = offset + a s + e + d + z``, with the patient's severity ``s``, the muscle's residual
``e``, half the left-right difference ``d`` and a drift along the slices ``z``. One ``a`` a
diagnosis makes the average of the twelve muscles' standard deviations the tabulated one.
Because the mean of a logistic is not the logistic of the mean, each offset is solved for.
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
    # Published for DMD: T1 score against disease course .52; assumed for every diagnosis.
    "severity_course_correlation": 0.5,
    "drift_sd_logit_per_50_mm": 0.25,
    "largest_sd_logit_of_muscle_or_side": 1.0,
    # The same texture for every disease: two scales, in mm, and their weights.
    "texture_scales_mm": [6.0, 1.2],
    "texture_sd_logit": [0.5, 0.5],
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
        Indexed by muscle: offset, sd_muscle, sd_side, logits.
    """
    rows = atlas().loc[diagnosis].loc[list(MUSCLES)]
    slope = rows.fat_fraction_mean * (1 - rows.fat_fraction_mean)
    largest = SPECIFICATION["largest_sd_logit_of_muscle_or_side"]
    sd_muscle = (rows.sd_muscle_residual / slope).clip(upper=largest)
    # A difference of sd D between sides is +- D/2 around their mean.
    sd_side = (rows.sd_left_right / 2 / slope).clip(upper=largest)
    extra = sd_muscle**2 + sd_side**2 + SPECIFICATION["drift_sd_logit_per_50_mm"] ** 2 / 12

    def model(severity: float) -> tuple[np.ndarray, np.ndarray]:
        sd = np.sqrt(severity**2 + extra).to_numpy()
        return offsets_for(rows.fat_fraction_mean.to_numpy(), sd), sd

    def sd_missing(severity: float) -> float:
        return moments(*model(severity))[1].mean() - rows.sd_between_patients.iloc[0]

    severity = 0.0 if sd_missing(0.0) > 0 else optimize.brentq(sd_missing, 0.0, 12.0, xtol=1e-3)
    columns = {"offset": model(severity)[0], "sd_muscle": sd_muscle, "sd_side": sd_side}
    return severity, pd.DataFrame(columns, index=rows.index)


def draw_logits(
    diagnosis: str, *, course_quantile: float, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.Series]:
    """Draw the fat of one case.

    Parameters
    ----------
    diagnosis : str
        As in the atlas.
    course_quantile : float
        Quantile of the disease course in its group, in [0, 1].
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    logits : DataFrame
        Indexed by muscle, columns ``right`` and ``left``.
    drift : Series
        Change of the logit per mm towards the hip, by muscle.
    """
    slope, model = coefficients(diagnosis)
    shared = SPECIFICATION["severity_course_correlation"]
    longer = special.ndtri(np.clip(course_quantile, 1e-6, 1 - 1e-6))
    severity = shared * longer + np.sqrt(1 - shared**2) * rng.standard_normal()
    middle = model.offset + slope * severity + model.sd_muscle * rng.standard_normal(len(model))
    half = model.sd_side * rng.standard_normal(len(model))
    drift = SPECIFICATION["drift_sd_logit_per_50_mm"] / 50 * rng.standard_normal(len(model))
    logits = pd.DataFrame({"right": middle + half, "left": middle - half})
    return logits, pd.Series(drift, index=model.index)


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


def texture(shape: tuple[int, int], *, pixel_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Return the texture of fat in muscle: two scales, the same kind for every disease.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    pixel_mm : float
        Pixel edge, mm.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (rows, columns)
        Mean about 0, in logits.
    """
    scales, sds = SPECIFICATION["texture_scales_mm"], SPECIFICATION["texture_sd_logit"]
    layers = [
        sd * smooth_noise(shape, scale_mm=scale, pixel_mm=pixel_mm, rng=rng)
        for scale, sd in zip(scales, sds, strict=True)
    ]
    return np.sum(layers, axis=0)


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
