"""The shape of a thigh in an axial slice: body size, outline, muscles, femur, vessels.

Twelve muscles are placed from measured ellipses (``data/thigh_geometry.csv``: aggregates over
the label maps of eight adults; adductor longus is an approximation). A power diagram divides
the muscle compartment among them: each point goes to the muscle with the smallest
``size² (q - 1) - w``, where ``q`` is 1 on the muscle's ellipse and the weights ``w`` are iterated
until every muscle has its share of the area. Vastus lateralis and intermedius are arcs around
the femur. Fat fills the seams between muscles and the corners where three meet; each muscle's
seam is just so wide that the muscle has its area, so that atrophy leaves fat behind.

Adductor longus is not labelled in the measured maps. It is given 0.035 of the muscle area, and
the measured shares of the other eleven are divided by 1.035 to make room for it.

Local coordinates of a leg: lateral and anterior, origin at the centroid of the muscles; for
normalised ones the unit is ``R``, the radius of a disc of the muscles' area. Body size by age
and sex, the subcutaneous thickness and everything in :data:`SPECIFICATION` without a source
is an assumption (``data/thigh_facts.csv`` says which numbers were measured).
"""

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd
from scipy import ndimage, special

from helpers import paths
from helpers.phantom import fat

SPECIFICATION = {
    "muscle_area_cm2": {"M": 127.3, "F": 67.1},
    # Share of the adult area at age 0, and centre and width of growth, years.
    "growth": {"M": [0.30, 14.0, 1.8], "F": [0.45, 12.0, 1.5]},
    "bone_growth": {"M": [0.62, 13.5, 2.0], "F": [0.68, 12.0, 2.0]},
    "muscle_loss_per_year_after_45": 0.006,
    "muscle_area_sd_log": 0.13,
    # Spread of a muscle's share between people: as measured, but no wider than this, because
    # the measured slices also differ in level.
    "muscle_share_sd_log_highest": 0.25,
    # Half the log difference of the two legs, of all muscle and of one muscle. Measured: the
    # areas of 18 legs differ by 3.7 % between sides.
    "left_right_sd_log": [0.021, 0.03],
    "femur_mm": {"M": 25.5, "F": 23.5},
    "femur_sd_log": 0.05,
    # Lognormal: the 5th and 95th percentile, mm, are the suggested ranges of women, girls below
    # 15 years and males. Steroids thicken it by up to half, as suggested for DMD (12 to 18 mm);
    # that half of the people with either disease treated with them are so is an assumption.
    "subcutaneous_mm": {"M": [6.0, 12.0], "F": [14.0, 25.0], "girl": [8.0, 18.0]},
    "steroids_share": {"DMD": 0.5, "Myositis": 0.5},
    "steroids_thicken_by_at_most": 0.5,
    "subcutaneous_medial_posterior_excess": 0.35,
    "compartment_over_muscle_area": 1.07,
    # The atlas gives one ratio of muscle area a disease. Without a spread between people the
    # width of the fat seams would tell the disease apart. The spread is an assumption, no wider
    # than that of most measured muscle shares, and below the ratio at which no seam is left.
    "atrophy_sd_log": 0.12,
    "atrophy_highest": 1.1,
    # The compartment shrinks less than the atrophic muscle in it; fat takes the room.
    "compartment_atrophy_exponent": 0.6,
    "vastus_intermedius_extent_mm": 260.0,
    # The measured positions hold the mean rotation of the leg already.
    "rotation_outward_deg": [0.0, 6.0],
    # Of the leg and, finer, of its muscles: sd of the wave vector (1/R), displacement (R).
    "warp": [1.9, 0.028],
    "ripple": [7.0, 0.010],
    "warp_sd_between_sides": 0.4,
    # Cosine and sine coefficients of the outline, harmonics 2 to 4: fitted to the hull of the
    # measured ellipses; a thigh is longest from front-lateral to back-medial.
    "outline_mean": [[-0.008, 0.036, -0.017], [0.136, 0.024, 0.025]],
    "outline_sd": 0.012,
    # The skin follows the muscles' outline in part, never closer to it than this.
    "skin_follows_outline": 0.5,
    "subcutaneous_mm_lowest": 3.0,
    "site_calibration_steps": 15,
    # Of measured muscles, and of adductor longus, whose position is an approximation.
    "site_calibration_gain": [0.2, 0.06],
    "site_shift_highest": 0.15,
    "elongation_kept": 0.5,
    "seam_mm_lowest": 0.2,
    # Corners between three muscles are rounded over about this size, in R squared.
    "corner_softness": 0.02,
    # An atrophic muscle also leaves the fascia: depth below it counts as distance to a border.
    "fascia_clearance": [1.0, 1.5],
    "seam_variation_sd_log": 0.5,
    "seam_variation_mm": 7.0,
    "skin_mm": 1.3,
    "fascia_mm": 0.6,
}

#: Arcs around the femur: centre angle and half-width in degrees, radius and half-thickness
#: in R, read from the measured centroids and axes of the two muscles.
ARCS = {"VL": (24.0, 74.0, 0.66, 0.17), "VI": (39.0, 100.0, 0.38, 0.17)}
#: Fat spaces that hold vessels and the sciatic nerve: lateral, anterior, semi-axes, share.
SPACES = {"canal": (-0.42, 0.12, 0.12, 0.10, 0.014), "sciatic": (0.10, -0.42, 0.13, 0.09, 0.014)}

#: Values of the label map.
LABELS = {name: i + 1 for i, name in enumerate(fat.MUSCLES)} | {
    "cortex": 13,
    "marrow": 14,
    "intermuscular fat": 15,
    "subcutaneous fat": 16,
    "skin": 17,
    "vessel": 18,
    "nerve": 19,
}


@dataclass(frozen=True)
class Body:
    """What makes one person's thighs; the same for all slices of a case.

    Attributes
    ----------
    area_cm2 : float
        Muscle area of a healthy leg of this person at mid-thigh.
    shares : Series
        Healthy share of each muscle of that area.
    atrophy : Series
        Muscle area over healthy area, by muscle.
    left_right : ndarray, shape (12,)
        Half the log difference of the two legs, by muscle; right leg larger when positive.
    subcutaneous_mm, femur_mm, marrow_mm, stature : float
        Mean thickness, outer diameters, and size of the skeleton over that of an adult.
    outline : ndarray, shape (2, 3)
        Cosine and sine coefficients of the compartment's outline, harmonics 2 to 4.
    waves, ripples : ndarray, shape (2 sides, 8, 5)
        Warp of the leg, and finer one of the muscles inside it: wave vector, phase, displacement.
    rotation_deg : tuple of float
        Outward rotation of the right and the left leg.
    """

    area_cm2: float
    shares: pd.Series
    atrophy: pd.Series
    left_right: np.ndarray
    subcutaneous_mm: float
    femur_mm: float
    marrow_mm: float
    stature: float
    outline: np.ndarray
    waves: np.ndarray
    ripples: np.ndarray
    rotation_deg: tuple[float, float]


@dataclass(frozen=True)
class Leg:
    """One leg on its patch of pixels; coverages in [0, 1], shape (rows, columns).

    Attributes
    ----------
    whole, inner, compartment, muscle, femur, marrow, vessel, nerve, fascia : ndarray
        Coverage by the leg, by the leg inside its skin, and so on.
    nearest : ndarray of int
        Index into :data:`helpers.phantom.fat.MUSCLES` of the muscle of a pixel.
    border_mm, axis_mm : ndarray
        Distance to the border of the muscle's cell and to the axis of the femur, mm.
    x_mm, y_mm : ndarray
        Coordinates that turn with the leg, lateral and anterior, mm.
    """

    whole: np.ndarray
    inner: np.ndarray
    compartment: np.ndarray
    muscle: np.ndarray
    nearest: np.ndarray
    femur: np.ndarray
    marrow: np.ndarray
    vessel: np.ndarray
    nerve: np.ndarray
    fascia: np.ndarray
    border_mm: np.ndarray
    axis_mm: np.ndarray
    x_mm: np.ndarray
    y_mm: np.ndarray

    def labels(self) -> np.ndarray:
        """Return the label map, values of :data:`LABELS`, 0 outside the leg."""
        out = np.where(self.whole > 0.5, LABELS["skin"], 0).astype(np.uint8)
        out[self.inner > 0.5] = LABELS["subcutaneous fat"]
        out[self.compartment > 0.5] = LABELS["intermuscular fat"]
        muscle = (self.muscle > 0.5) & (self.compartment > 0.5)
        out[muscle] = self.nearest[muscle] + 1
        for name in ("nerve", "vessel"):
            out[(getattr(self, name) > 0.5) & (out > 0)] = LABELS[name]
        out[self.femur > 0.5] = LABELS["cortex"]
        out[self.marrow > 0.5] = LABELS["marrow"]
        return out


@cache
def geometry() -> pd.DataFrame:
    """Return the measured geometry, one row a muscle, in the order of ``fat.MUSCLES``."""
    table = pd.read_csv(paths.package_data("thigh_geometry.csv")).set_index("muscle")
    return table.loc[list(fat.MUSCLES)]


@cache
def femur_centre() -> tuple[float, float]:
    """Return the femur's centre, lateral and anterior, in R."""
    facts = pd.read_csv(paths.package_data("thigh_facts.csv")).set_index("fact").value
    return float(facts["femur_lateral"]), float(facts["femur_anterior"])


def draw_body(*, diagnosis: str, sex: str, age_years: float, rng: np.random.Generator) -> Body:
    """Draw a person's thighs.

    Parameters
    ----------
    diagnosis : str
        As in the atlas; sets the atrophy and, in DMD, the subcutaneous thickness.
    sex : {"F", "M"}
        Sets muscle area, bone and subcutaneous thickness.
    age_years : float
        Sets growth, and loss of muscle after 45 years.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    Body
        Drawn in a fixed order, so that equal generators give equal bodies.
    """
    spec, n = SPECIFICATION, len(fat.MUSCLES)
    area = spec["muscle_area_cm2"][sex] * _grown(spec["growth"][sex], age_years)
    area *= 1 - spec["muscle_loss_per_year_after_45"] * max(0.0, age_years - 45)
    area *= np.exp(spec["muscle_area_sd_log"] * rng.standard_normal())
    spread = geometry().area_fraction_sd / geometry().area_fraction
    spread = spread.clip(upper=spec["muscle_share_sd_log_highest"])
    # exp(e - sd²/2) has mean 1.
    shares = geometry().area_fraction * np.exp(spread * rng.standard_normal(n) - spread**2 / 2)
    shares /= shares.sum()
    stature = _grown(spec["bone_growth"][sex], age_years)
    femur = spec["femur_mm"][sex] * stature * np.exp(spec["femur_sd_log"] * rng.standard_normal())
    drawn = Body(
        area_cm2=float(area),
        shares=shares,
        atrophy=fat.atlas().loc[diagnosis].csa_ratio.loc[list(fat.MUSCLES)],
        subcutaneous_mm=_subcutaneous(diagnosis, sex, age_years, rng),
        femur_mm=float(femur),
        marrow_mm=float(femur * rng.uniform(0.5, 0.7)),
        stature=stature,
        outline=np.array(spec["outline_mean"]) + spec["outline_sd"] * rng.standard_normal((2, 3)),
        waves=_waves(rng, *spec["warp"]),
        ripples=_waves(rng, *spec["ripple"]),
        rotation_deg=tuple(rng.normal(*spec["rotation_outward_deg"], 2).tolist()),
        left_right=_left_right(rng),
    )
    if diagnosis == "Healthy":
        return drawn
    return replace(drawn, atrophy=drawn.atrophy * _atrophy_of_person(drawn, rng))


def _left_right(rng: np.random.Generator) -> np.ndarray:
    of_all, of_one = SPECIFICATION["left_right_sd_log"]
    return of_all * rng.standard_normal() + of_one * rng.standard_normal(len(fat.MUSCLES))


def _atrophy_of_person(body: Body, rng: np.random.Generator) -> float:
    factor = np.exp(SPECIFICATION["atrophy_sd_log"] * rng.standard_normal())
    return min(factor, SPECIFICATION["atrophy_highest"] / float((body.shares * body.atrophy).sum()))


def draw_leg(
    lateral_mm: np.ndarray,
    anterior_mm: np.ndarray,
    *,
    body: Body,
    side: int,
    position_mm: float,
    pixel_mm: float,
    seam_field: np.ndarray,
    contact_mm: float = np.inf,
) -> Leg:
    """Draw one leg on a patch of pixels.

    Parameters
    ----------
    lateral_mm, anterior_mm : ndarray, shape (rows, columns)
        Coordinates of the pixels relative to the leg's centre.
    body : Body
        The person.
    side : {0, 1}
        0 = right, 1 = left.
    position_mm : float
        Position along the thigh relative to its middle, towards the hip.
    pixel_mm : float
        Pixel edge, mm.
    seam_field : ndarray, shape (rows, columns)
        Random field that varies the width of the seams.
    contact_mm : float
        Medial distance from the centre of the plane against which the other leg is pressed.

    Returns
    -------
    Leg
        Coverages and nearest muscles.
    """
    shares, area = areas_at(body, position_mm, side=side)
    unit = math.sqrt(area * 100 / np.pi)
    x, y = _turned(lateral_mm, anterior_mm, body.rotation_deg[side])
    u, v = _warped(x / unit, y / unit, body.waves[side], body.femur_mm / unit)
    in_compartment, in_skin = _depths(u, v, unit, body)
    u, v = _warped(u, v, body.ripples[side], body.femur_mm / unit)
    plane = contact_mm + lateral_mm
    in_skin = np.minimum(in_skin, plane)
    weights = balanced_weights(body, side=side, position_mm=position_mm).astype(u.dtype)
    nearest, border = _nearest(site_distances(u, v) - weights[:, None, None], pixel_mm)
    femur, marrow, from_axis = _bone(x, y, unit, body, pixel_mm)
    depth = np.minimum(in_compartment, plane - 2)
    compartment = _coverage(depth, pixel_mm)
    offset, slope = SPECIFICATION["fascia_clearance"]
    border = _soft_minimum(border, offset + slope * depth)
    wanted = (shares * body.atrophy).to_numpy() * area * 100 / pixel_mm**2
    muscle = _muscle_coverage(
        border, nearest, compartment * (1 - femur), np.exp(seam_field), wanted, pixel_mm
    )
    vessel, nerve = _vessels(u, v, np.where(compartment > 0.5, nearest, -1), unit, body, pixel_mm)
    fascia_mm = SPECIFICATION["fascia_mm"]
    return Leg(
        whole=_coverage(in_skin, pixel_mm),
        inner=_coverage(in_skin - SPECIFICATION["skin_mm"], pixel_mm),
        compartment=compartment,
        muscle=muscle,
        nearest=np.minimum(nearest, len(fat.MUSCLES) - 1),
        femur=femur,
        marrow=marrow,
        vessel=vessel,
        nerve=nerve,
        fascia=_coverage(fascia_mm / 2 - np.abs(in_compartment), pixel_mm),
        border_mm=border,
        axis_mm=from_axis,
        x_mm=x,
        y_mm=y,
    )


def areas_at(body: Body, position_mm: float, *, side: int) -> tuple[pd.Series, float]:
    """Return each muscle's healthy share and a leg's healthy muscle area, cm², at a position.

    Muscles change along the thigh as the measured areas by level do.
    """
    extent = SPECIFICATION["vastus_intermedius_extent_mm"] * body.stature
    level = np.clip(50 + 100 * position_mm / extent, 10, 90)
    columns = [f"area_cm2_level_{n}" for n in (10, 30, 50, 70, 90)]
    table = geometry()[columns].to_numpy()
    here = np.array([np.interp(level, (10, 30, 50, 70, 90), row) for row in table])
    sign = 1 if side == 0 else -1
    shares = body.shares * np.exp(sign * body.left_right) * here / table[:, 2]
    return shares / shares.sum(), body.area_cm2 * float(shares.sum())


def edges(
    body: Body, *, side: int, position_mm: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the medial and lateral edge of a leg's skin, relative to its centre.

    Parameters
    ----------
    body : Body
        The person.
    side : {0, 1}
        0 = right, 1 = left.
    position_mm : float
        Position along the thigh, towards the hip.

    Returns
    -------
    anterior, medial, lateral : ndarray, shape (n,)
        Heights at which there is leg, mm, and the lateral coordinate of its two edges, mm.
    """
    unit = math.sqrt(areas_at(body, position_mm, side=side)[1] * 100 / np.pi)
    axis = np.arange(-180.0, 181.0, 2.0)
    lateral, anterior = np.meshgrid(axis, axis)
    x, y = _turned(lateral, anterior, body.rotation_deg[side])
    u, v = _warped(x / unit, y / unit, body.waves[side], body.femur_mm / unit)
    depth = _depths(u, v, unit, body)[1]
    rows = np.flatnonzero((depth > 0).any(axis=1))
    inside = depth[rows] > 0
    first, last = inside.argmax(axis=1), len(axis) - 1 - inside[:, ::-1].argmax(axis=1)

    def crossing(inner: np.ndarray, step: int) -> np.ndarray:
        deep, beyond = depth[rows, inner], depth[rows, inner + step]
        return axis[inner] + step * 2.0 * deep / (deep - beyond)

    return axis[rows], crossing(first, -1), crossing(last, 1)


def outline(body: Body, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the muscle compartment's outline in R, by angle from the lateral axis.

    Returns
    -------
    radius, wave : ndarray
        The radius, and how far it departs from a circle.
    """
    spec = SPECIFICATION
    atrophy = float((body.shares * body.atrophy).sum())
    area = spec["compartment_over_muscle_area"] * atrophy ** spec["compartment_atrophy_exponent"]
    area += body.femur_mm**2 / 4 * np.pi / (body.area_cm2 * 100)
    mean, wave = float(np.sqrt(area)), np.zeros_like(theta)
    for n, (cosine, sine) in enumerate(body.outline.T.tolist(), start=2):
        wave += mean * (cosine * np.cos(n * theta) + sine * np.sin(n * theta))
    return mean + wave, wave


def subcutaneous(body: Body, theta: np.ndarray) -> np.ndarray:
    """Return the subcutaneous thickness, mm, by angle; thicker medially and behind."""
    excess = SPECIFICATION["subcutaneous_medial_posterior_excess"]
    return body.subcutaneous_mm * (1 + excess * np.cos(theta - math.radians(225)))


def site_distances(u: np.ndarray, v: np.ndarray, shifts: np.ndarray | None = None) -> np.ndarray:
    """Return ``size² (q - 1)`` of each muscle and fat space at normalised coordinates.

    Parameters
    ----------
    u, v : ndarray, shape (rows, columns)
        Lateral and anterior, in R.
    shifts : ndarray, shape (14, 2), optional
        Displacements of the sites; those of :func:`site_shifts` when not given.

    Returns
    -------
    ndarray, shape (14, rows, columns)
        Muscles in the order of ``fat.MUSCLES``, then the two fat spaces.
    """
    shifts = site_shifts() if shifts is None else shifts
    layers = []
    for (name, row), (du, dv) in zip(geometry().iterrows(), shifts.tolist(), strict=False):
        if name in ARCS:
            layers.append(_arc_distance(u - du, v - dv, *ARCS[name]))
        else:
            place = (row.lateral, row.anterior, row.semi_major, row.semi_minor, row.axis_angle_deg)
            axes = map(float, place)
            layers.append(_ellipse_distance(u - du, v - dv, *axes))
    for space, (du, dv) in zip(SPACES.values(), shifts[len(fat.MUSCLES) :].tolist(), strict=True):
        layers.append(_ellipse_distance(u - du, v - dv, *space[:4], 0.0))
    return np.stack(layers)


@cache
def site_shifts() -> np.ndarray:
    """Return how far each muscle's site is moved so that its centroid is the measured one.

    Neighbours push the cell of a muscle off its site. On a template without individual
    variation the sites are moved against the error of the centroids, again and again.

    Returns
    -------
    ndarray, shape (14, 2)
        Lateral and anterior, in R.
    """
    table = geometry()
    template = _template()
    wanted = table[["lateral", "anterior"]].to_numpy()
    wanted = np.vstack([wanted, [space[:2] for space in SPACES.values()]])
    u, v, inside = _coarse_grid(template, side=0, unit=math.sqrt(template.area_cm2 * 100 / np.pi))
    labelled = np.array([*(name != "AL" for name in table.index), *(False for _ in SPACES)])
    shifts, weights = np.zeros((len(wanted), 2)), None
    most = SPECIFICATION["site_shift_highest"]
    measured, approximate = SPECIFICATION["site_calibration_gain"]
    gain = np.where(labelled, measured, approximate)[:, None]
    # Arcs stay, or vastus intermedius would cut the short head of biceps in two; the fat
    # spaces give way.
    stays = [site in ARCS or site in SPACES for site in (*table.index, *SPACES)]
    gain[stays] = 0
    for _ in range(SPECIFICATION["site_calibration_steps"]):
        distances = site_distances(u[inside], v[inside], shifts)
        weights = _balanced(distances, table.area_fraction.to_numpy(), weights)
        nearest = (distances - weights[:, None]).argmin(0)
        own = [nearest == site for site in range(len(wanted))]
        found = np.array([[u[inside][i].mean(), v[inside][i].mean()] for i in own])
        area = np.array([i.sum() for i in own]) * labelled
        # The measured origin and unit are those of the labelled muscles.
        unit = math.sqrt(1 - table.area_fraction["AL"] / table.area_fraction.sum())
        found = (found - area @ found / area.sum()) / unit
        shifts += gain * (wanted - found)
        shifts = shifts.clip(-most, most)
    return shifts


def _template() -> Body:
    """A leg of measured size without individual variation."""
    table = geometry()
    return Body(
        area_cm2=107.0,
        shares=table.area_fraction / table.area_fraction.sum(),
        atrophy=pd.Series(1.0, index=table.index),
        subcutaneous_mm=10.0,
        femur_mm=24.5,
        marrow_mm=15.0,
        stature=1.0,
        outline=np.array(SPECIFICATION["outline_mean"]),
        waves=np.zeros((2, 1, 5)),
        ripples=np.zeros((2, 1, 5)),
        rotation_deg=(0.0, 0.0),
        left_right=np.zeros(len(table)),
    )


def balanced_weights(body: Body, *, side: int, position_mm: float) -> np.ndarray:
    """Return the weights of the power diagram that give each muscle its share of the area.

    Parameters
    ----------
    body : Body
        The person; atrophy shrinks a muscle's share.
    side : {0, 1}
        0 = right, 1 = left; the two are warped differently.
    position_mm : float
        Position along the thigh, towards the hip.

    Returns
    -------
    ndarray, shape (14,)
        Found on a coarse grid, by 60 steps.
    """
    shares, area = areas_at(body, position_mm, side=side)
    u, v, inside = _coarse_grid(body, side=side, unit=math.sqrt(area * 100 / np.pi))
    distances = site_distances(u[inside], v[inside])
    return _balanced(distances, (shares * body.atrophy).to_numpy())


def _coarse_grid(
    body: Body, *, side: int, unit: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Warped coordinates on a grid over the leg, in R, and where muscle can be."""
    axis = np.linspace(-1.4, 1.4, 101)
    x, y = np.meshgrid(axis, axis)
    bone = np.hypot(x - femur_centre()[0], y - femur_centre()[1]) < body.femur_mm / 2 / unit
    u, v = _warped(x, y, body.waves[side], body.femur_mm / unit)
    inside = (_depths(u, v, unit, body)[0] > 0) & ~bone
    u, v = _warped(u, v, body.ripples[side], body.femur_mm / unit)
    return u, v, inside


def _balanced(
    distances: np.ndarray, own: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    spaces = np.array([space[4] for space in SPACES.values()])
    target = np.concatenate([own / own.sum() * (1 - spaces.sum()), spaces])
    first = 0 if weights is None else 40
    weights = np.zeros(len(target)) if weights is None else weights
    for step in range(first, 60):
        found = np.bincount((distances - weights[:, None]).argmin(0), minlength=len(target))
        error = (1 - found / found.sum() / target).clip(-1, 1)
        # Large steps find the arrangement, small ones settle the areas.
        weights = weights + 0.25 * (0.95**step) * np.sqrt(target) * error
    return weights


def _turned(
    lateral: np.ndarray, anterior: np.ndarray, degrees: float
) -> tuple[np.ndarray, np.ndarray]:
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return cosine * lateral + sine * anterior, cosine * anterior - sine * lateral


def _depths(u: np.ndarray, v: np.ndarray, unit: float, body: Body) -> tuple[np.ndarray, np.ndarray]:
    """Return the depth inside the muscle compartment and inside the skin, mm."""
    radius, fat_mm = _radius_and_fat(body, np.arctan2(v, u), unit)
    in_compartment = (radius - np.hypot(u, v)) * unit
    return in_compartment, in_compartment + fat_mm


def _radius_and_fat(body: Body, theta: np.ndarray, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the compartment's radius, R, and the thickness of the fat under the skin, mm."""
    radius, wave = outline(body, theta)
    follows, lowest = SPECIFICATION["skin_follows_outline"], SPECIFICATION["subcutaneous_mm_lowest"]
    wanted = subcutaneous(body, theta) - (1 - follows) * wave * unit
    return radius, lowest + np.logaddexp(0, wanted - lowest)


def _grown(growth: list[float], age: float) -> float:
    start, middle, width = growth
    return start + (1 - start) * float(special.expit((age - middle) / width))


def _subcutaneous(diagnosis: str, sex: str, age: float, rng: np.random.Generator) -> float:
    low, high = SPECIFICATION["subcutaneous_mm"]["girl" if sex == "F" and age < 15 else sex]
    sd = np.log(high / low) / (2 * special.ndtri(0.95))
    untreated = np.sqrt(low * high) * np.exp(sd * rng.standard_normal())
    treated = rng.random() < SPECIFICATION["steroids_share"].get(diagnosis, 0.0)
    more = rng.uniform(0, SPECIFICATION["steroids_thicken_by_at_most"])
    return float(untreated * (1 + more * treated))


def _waves(rng: np.random.Generator, wave_number: float, displacement: float) -> np.ndarray:
    """Eight smooth waves a side; the two sides share most of their displacement."""
    vectors = rng.normal(0, wave_number, (8, 2))
    phases = rng.uniform(0, 2 * np.pi, (8, 1))
    sd = displacement / np.sqrt(4)
    shared = sd * rng.standard_normal((8, 2))
    own = sd * SPECIFICATION["warp_sd_between_sides"] * rng.standard_normal((2, 8, 2))
    return np.stack([np.hstack([vectors, phases, shared + own[side]]) for side in (0, 1)])


def _warped(
    u: np.ndarray, v: np.ndarray, waves: np.ndarray, femur: float
) -> tuple[np.ndarray, np.ndarray]:
    """Displace coordinates by waves that fade towards the rigid femur."""
    distance = np.hypot(u - femur_centre()[0], v - femur_centre()[1]) / femur
    fade = 1 - np.exp(-((distance / 1.2) ** 2))
    du, dv = np.zeros_like(u), np.zeros_like(v)
    # Plain numbers keep single precision single.
    for ku, kv, phase, au, av in waves.tolist():
        wave = np.cos(ku * u + kv * v + phase)
        du, dv = du + au * wave, dv + av * wave
    return u + fade * du, v + fade * dv


def _ellipse_distance(
    u: np.ndarray, v: np.ndarray, u0: float, v0: float, a: float, b: float, degrees: float
) -> np.ndarray:
    along, across = _turned(u - u0, v - v0, degrees)
    # Elongation is softened, or thin muscles would claim pieces beyond their neighbours.
    soft = (a / b) ** (SPECIFICATION["elongation_kept"] / 2)
    return (along / soft) ** 2 + (across * soft) ** 2 - a * b


def _arc_distance(
    u: np.ndarray, v: np.ndarray, centre: float, half: float, radius: float, thick: float
) -> np.ndarray:
    du, dv = u - femur_centre()[0], v - femur_centre()[1]
    turn = np.arctan2(dv, du) - math.radians(centre)
    turn = np.abs((turn + np.pi) % (2 * np.pi) - np.pi)
    beyond = np.maximum(turn - math.radians(half), 0) * radius
    across = np.hypot(du, dv) - radius
    return across**2 + beyond**2 - thick**2


def _nearest(distances: np.ndarray, pixel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest site and the distance to its border, mm, with rounded corners."""
    first, soft = distances.min(0), SPECIFICATION["corner_softness"]
    others = np.exp((first - distances) / soft).sum(0) - 1
    gap = -soft * np.log(np.maximum(others, 1e-12))
    hard = np.partition(distances, 1, axis=0)[1] - first
    slope = np.hypot(*np.gradient(hard, pixel_mm))
    border = np.minimum(gap, hard) / np.maximum(ndimage.maximum_filter(slope, 3), 1e-3)
    return distances.argmin(0), border


def _soft_minimum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Smallest of two lengths, rounded over about 1 mm."""
    return -np.logaddexp(-a, -b)


def _muscle_coverage(
    border_mm: np.ndarray,
    nearest: np.ndarray,
    room: np.ndarray,
    width: np.ndarray,
    wanted: np.ndarray,
    pixel_mm: float,
) -> np.ndarray:
    """Leave seams of fat just so wide that each muscle covers its wanted number of pixels."""
    covered = np.zeros_like(room)
    relative = border_mm / width
    for muscle, pixels in enumerate(wanted):
        own = (nearest == muscle) & (room > 0)
        # The innermost pixels are the muscle: where their number is reached lies its border.
        order = np.argsort(-relative[own])
        reached = np.searchsorted(np.cumsum(room[own][order]), pixels)
        lowest = SPECIFICATION["seam_mm_lowest"] / 2
        half = relative[own][order[reached]] if reached < len(order) else lowest
        depth = border_mm[own] - max(half, lowest) * width[own]
        covered[own] = _coverage(depth, pixel_mm) * room[own]
    return covered


def _bone(
    x: np.ndarray, y: np.ndarray, unit: float, body: Body, pixel_mm: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rigid shaft with its ridge behind (linea aspera): coverage of bone and marrow, distance."""
    dx, dy = x - femur_centre()[0] * unit, y - femur_centre()[1] * unit
    distance, theta = np.hypot(dx, dy), np.arctan2(dy, dx)
    ridge = 1 + 0.14 * np.exp(-(((theta + np.pi / 2) / 0.45) ** 2))
    femur = _coverage(body.femur_mm / 2 * ridge - distance, pixel_mm)
    return femur, _coverage(body.marrow_mm / 2 - distance, pixel_mm), distance


def _vessels(
    u: np.ndarray,
    v: np.ndarray,
    nearest: np.ndarray,
    unit: float,
    body: Body,
    pixel_mm: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Femoral artery and vein, deep vessels, great saphenous vein; sciatic nerve."""

    def disc(u0: float, v0: float, radius: float, flat: float = 1.0) -> np.ndarray:
        distance = np.hypot(u - u0, (v - v0) / flat) * unit
        return _coverage(radius * body.stature - distance, pixel_mm)

    spaces = []
    for number, nominal in enumerate(SPACES.values(), start=len(fat.MUSCLES)):
        own = nearest == number
        # A coarse patch may miss a small space.
        spaces.append((u[own].mean(), v[own].mean()) if own.any() else nominal[:2])
    (cu, cv), (su, sv) = spaces
    radius, fat_mm = _radius_and_fat(body, np.array([3.0]), unit)
    skin = float(radius[0] + 0.5 * fat_mm[0] / unit)
    vessel = np.maximum.reduce(
        [
            disc(cu + 3 / unit, cv + 1 / unit, 3.0),
            disc(cu - 3.5 / unit, cv - 2 / unit, 3.6),
            disc(0.0, -0.02, 1.6),
            disc(skin * np.cos(3.0), skin * np.sin(3.0), 1.7),
        ]
    )
    return vessel, disc(su, sv, 4.5, 0.6) * (1 - vessel)


def _coverage(depth_mm: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Share of a pixel inside a border, from its centre's depth inside it."""
    return np.clip(depth_mm / pixel_mm + 0.5, 0, 1)
