"""The shape of a thigh in an axial slice: body size, outline, muscles, femur, vessels.

Twelve muscles are placed from measured ellipses (``data/thigh_geometry.csv``: aggregates over
the label maps of eight adults; adductor longus is an approximation). A power diagram divides
the muscle compartment among them: each point goes to the muscle with the smallest
``size² (q - 1) - w``, where ``q`` is 1 on the muscle's ellipse and the weights ``w`` are iterated
until every muscle has its share of the area. Vastus lateralis and intermedius are arcs around
the femur. Fat fills the seams between muscles; their width is solved for so that atrophy
leaves fat behind.

Local coordinates of a leg: lateral and anterior, origin at the centroid of the muscles; for
normalised ones the unit is ``R``, the radius of a disc of the muscles' area. Body size by age
and sex, the subcutaneous thickness and everything in :data:`SPECIFICATION` without a source
is an assumption (``data/thigh_facts.csv`` says which numbers were measured).
"""

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
    "muscle_share_sd_log": 0.12,
    "femur_mm": {"M": 25.5, "F": 23.5},
    "femur_sd_log": 0.05,
    # Mean and sd, mm, and limits; steroids are why DMD is given more.
    "subcutaneous_mm": {
        "M": [9.0, 1.8, 6, 12],
        "DMD": [10.0, 2.8, 6, 18],
        "F": [19.0, 3.0, 14, 25],
    },
    "subcutaneous_girl_below_15_mm": [13.0, 2.5, 8, 18],
    "subcutaneous_medial_posterior_excess": 0.35,
    "compartment_over_muscle_area": 1.075,
    # The atlas gives one ratio of muscle area a disease. Without a spread between people the
    # width of the fat seams would tell the disease apart. The spread is an assumption, no wider
    # than that of most measured muscle shares, and below the ratio at which no seam is left.
    "atrophy_sd_log": 0.12,
    "atrophy_highest": 1.1,
    # The compartment shrinks less than the atrophic muscle in it; fat takes the room.
    "compartment_atrophy_exponent": 0.6,
    "vastus_intermedius_extent_mm": 260.0,
    "rotation_outward_deg": [8.0, 6.0],
    "warp_sd": 0.028,
    "warp_sd_between_sides": 0.4,
    "outline_sd": 0.012,
    "elongation_kept": 0.5,
    "seam_mm_lowest": 0.2,
    "seam_variation_sd_log": 0.8,
    "seam_variation_mm": 7.0,
    "skin_mm": 1.3,
    "fascia_mm": 0.6,
}

#: Arcs around the femur: centre angle and half-width in degrees, radius and half-thickness
#: in R, read from the measured centroids and axes of the two muscles.
ARCS = {"VL": (24.0, 74.0, 0.66, 0.17), "VI": (39.0, 100.0, 0.38, 0.17)}
#: Fat spaces that hold vessels and the sciatic nerve: lateral, anterior, semi-axes, share.
SPACES = {"canal": (-0.50, 0.16, 0.12, 0.10, 0.014), "sciatic": (0.10, -0.42, 0.13, 0.09, 0.014)}

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
    subcutaneous_mm, femur_mm, marrow_mm, stature : float
        Mean thickness, outer diameters, and size of the skeleton over that of an adult.
    outline : ndarray, shape (2, 3)
        Cosine and sine coefficients of the compartment's outline, harmonics 2 to 4.
    waves : ndarray, shape (2 sides, 8 waves, 5)
        Warp: wave vector, phase, displacement.
    rotation_deg : tuple of float
        Outward rotation of the right and the left leg.
    """

    area_cm2: float
    shares: pd.Series
    atrophy: pd.Series
    subcutaneous_mm: float
    femur_mm: float
    marrow_mm: float
    stature: float
    outline: np.ndarray
    waves: np.ndarray
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
    shares = geometry().area_fraction * np.exp(spec["muscle_share_sd_log"] * rng.standard_normal(n))
    shares /= shares.sum()
    stature = _grown(spec["bone_growth"][sex], age_years)
    femur = spec["femur_mm"][sex] * stature * np.exp(spec["femur_sd_log"] * rng.standard_normal())
    drawn = Body(
        area_cm2=area,
        shares=shares,
        atrophy=fat.atlas().loc[diagnosis].csa_ratio.loc[list(fat.MUSCLES)],
        subcutaneous_mm=_subcutaneous(diagnosis, sex, age_years, rng),
        femur_mm=femur,
        marrow_mm=femur * rng.uniform(0.5, 0.7),
        stature=stature,
        outline=spec["outline_sd"] * rng.standard_normal((2, 3)),
        waves=_waves(rng),
        rotation_deg=tuple(rng.normal(*spec["rotation_outward_deg"], 2)),
    )
    # Drawn last, so that everything above stays as it was without this spread.
    return replace(drawn, atrophy=drawn.atrophy * _atrophy_of_person(drawn, rng))


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
    shares, area = areas_at(body, position_mm)
    unit = np.sqrt(area * 100 / np.pi)
    x, y = _turned(lateral_mm, anterior_mm, body.rotation_deg[side])
    u, v = _warped(x / unit, y / unit, body.waves[side], body.femur_mm / unit)
    in_compartment, in_skin = _depths(u, v, unit, body)
    plane = contact_mm + lateral_mm
    in_skin = np.minimum(in_skin, plane)
    distances = site_distances(u, v) - balanced_weights(body, shares)[:, None, None]
    femur, marrow = _bone(x, y, unit, body, pixel_mm)
    nearest, seam = _nearest(distances, pixel_mm)
    compartment = _coverage(np.minimum(in_compartment, plane - 2), pixel_mm)
    wanted = float((shares * body.atrophy).sum()) * area * 100 / pixel_mm**2
    muscle = _muscle_coverage(
        seam, nearest, compartment * (1 - femur), np.exp(seam_field), wanted, pixel_mm
    )
    vessel, nerve = _vessels(u, v, unit, body, pixel_mm)
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
    )


def areas_at(body: Body, position_mm: float) -> tuple[pd.Series, float]:
    """Return each muscle's healthy share and the healthy muscle area, cm², at a position.

    Muscles change along the thigh as the measured areas by level do.
    """
    extent = SPECIFICATION["vastus_intermedius_extent_mm"] * body.stature
    level = np.clip(50 + 100 * position_mm / extent, 10, 90)
    columns = [f"area_cm2_level_{n}" for n in (10, 30, 50, 70, 90)]
    table = geometry()[columns].to_numpy()
    here = np.array([np.interp(level, (10, 30, 50, 70, 90), row) for row in table])
    shares = body.shares * here / table[:, 2]
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
    unit = np.sqrt(areas_at(body, position_mm)[1] * 100 / np.pi)
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


def outline(body: Body, theta: np.ndarray) -> np.ndarray:
    """Return the muscle compartment's outline in R, by angle from the lateral axis."""
    spec = SPECIFICATION
    atrophy = float((body.shares * body.atrophy).sum())
    area = spec["compartment_over_muscle_area"] * atrophy ** spec["compartment_atrophy_exponent"]
    area += body.femur_mm**2 / 4 * np.pi / (body.area_cm2 * 100)
    harmonics = np.arange(2, 5)[:, None, None] * theta
    wave = np.tensordot(body.outline[0], np.cos(harmonics), 1)
    wave = wave + np.tensordot(body.outline[1], np.sin(harmonics), 1)
    return np.sqrt(area) * (1 + wave)


def subcutaneous(body: Body, theta: np.ndarray) -> np.ndarray:
    """Return the subcutaneous thickness, mm, by angle; thicker medially and behind."""
    excess = SPECIFICATION["subcutaneous_medial_posterior_excess"]
    return body.subcutaneous_mm * (1 + excess * np.cos(theta - np.deg2rad(225)))


def site_distances(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return ``size² (q - 1)`` of each muscle and fat space at normalised coordinates.

    Returns
    -------
    ndarray, shape (14, rows, columns)
        Muscles in the order of ``fat.MUSCLES``, then the two fat spaces.
    """
    layers = []
    for name, row in geometry().iterrows():
        if name in ARCS:
            layers.append(_arc_distance(u, v, *ARCS[name]))
        else:
            axes = (row.lateral, row.anterior, row.semi_major, row.semi_minor, row.axis_angle_deg)
            layers.append(_ellipse_distance(u, v, *axes))
    layers += [_ellipse_distance(u, v, *space[:4], 0.0) for space in SPACES.values()]
    return np.stack(layers)


def balanced_weights(body: Body, shares: pd.Series) -> np.ndarray:
    """Return the weights of the power diagram that give each muscle its share of the area.

    Parameters
    ----------
    body : Body
        The person; atrophy shrinks a muscle's share.
    shares : Series
        Healthy share by muscle.

    Returns
    -------
    ndarray, shape (14,)
        Found on a coarse grid, by 60 steps.
    """
    axis = np.linspace(-1.35, 1.35, 91)
    u, v = np.meshgrid(axis, axis)
    femur = np.hypot(u - femur_centre()[0], v - femur_centre()[1])
    unit = np.sqrt(body.area_cm2 * 100 / np.pi)
    inside = (np.hypot(u, v) < outline(body, np.arctan2(v, u))) & (femur > body.femur_mm / 2 / unit)
    distances = site_distances(u, v)[:, inside]
    own = (shares * body.atrophy).to_numpy()
    spaces = np.array([space[4] for space in SPACES.values()])
    target = np.concatenate([own / own.sum() * (1 - spaces.sum()), spaces])
    weights = np.zeros(len(target))
    for step in range(60):
        area = np.bincount((distances - weights[:, None]).argmin(0), minlength=len(target))
        # Large steps find the arrangement, small ones settle the areas.
        weights += (
            0.25 * (0.95**step) * np.sqrt(target) * (1 - area / area.sum() / target).clip(-1, 1)
        )
    return weights


def _turned(
    lateral: np.ndarray, anterior: np.ndarray, degrees: float
) -> tuple[np.ndarray, np.ndarray]:
    angle = np.deg2rad(degrees)
    x = np.cos(angle) * lateral + np.sin(angle) * anterior
    return x, -np.sin(angle) * lateral + np.cos(angle) * anterior


def _depths(u: np.ndarray, v: np.ndarray, unit: float, body: Body) -> tuple[np.ndarray, np.ndarray]:
    """Return the depth inside the muscle compartment and inside the skin, mm."""
    theta = np.arctan2(v, u)
    in_compartment = (outline(body, theta) - np.hypot(u, v)) * unit
    return in_compartment, in_compartment + subcutaneous(body, theta)


def _grown(growth: list[float], age: float) -> float:
    start, middle, width = growth
    return start + (1 - start) * float(special.expit((age - middle) / width))


def _subcutaneous(diagnosis: str, sex: str, age: float, rng: np.random.Generator) -> float:
    table = SPECIFICATION["subcutaneous_mm"]
    mean, sd, low, high = table["DMD"] if diagnosis == "DMD" else table[sex]
    if sex == "F" and age < 15:
        mean, sd, low, high = SPECIFICATION["subcutaneous_girl_below_15_mm"]
    return float(np.clip(rng.normal(mean, sd), low, high))


def _waves(rng: np.random.Generator) -> np.ndarray:
    """Eight smooth waves a side; the two sides share most of their displacement."""
    vectors = rng.normal(0, 1.9, (8, 2))
    phases = rng.uniform(0, 2 * np.pi, (8, 1))
    sd = SPECIFICATION["warp_sd"] / np.sqrt(4)
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
    for ku, kv, phase, au, av in waves:
        wave = np.cos(ku * u + kv * v + phase)
        du, dv = du + au * wave, dv + av * wave
    return u + fade * du, v + fade * dv


def _ellipse_distance(
    u: np.ndarray, v: np.ndarray, u0: float, v0: float, a: float, b: float, degrees: float
) -> np.ndarray:
    angle = np.deg2rad(degrees)
    along = np.cos(angle) * (u - u0) + np.sin(angle) * (v - v0)
    across = -np.sin(angle) * (u - u0) + np.cos(angle) * (v - v0)
    # Elongation is softened, or thin muscles would claim pieces beyond their neighbours.
    soft = (a / b) ** (SPECIFICATION["elongation_kept"] / 2)
    return (along / soft) ** 2 + (across * soft) ** 2 - a * b


def _arc_distance(
    u: np.ndarray, v: np.ndarray, centre: float, half: float, radius: float, thick: float
) -> np.ndarray:
    du, dv = u - femur_centre()[0], v - femur_centre()[1]
    turn = np.arctan2(dv, du) - np.deg2rad(centre)
    turn = np.abs((turn + np.pi) % (2 * np.pi) - np.pi)
    beyond = np.maximum(turn - np.deg2rad(half), 0) * radius
    across = np.hypot(du, dv) - radius
    return across**2 + beyond**2 - thick**2


def _nearest(distances: np.ndarray, pixel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest site and the distance to its border, mm."""
    two = np.partition(distances, 1, axis=0)[:2]
    gap = two[1] - two[0]
    slope = np.hypot(*np.gradient(gap, pixel_mm))
    return distances.argmin(0), gap / np.maximum(ndimage.maximum_filter(slope, 3), 1e-3)


def _muscle_coverage(
    border_mm: np.ndarray,
    nearest: np.ndarray,
    room: np.ndarray,
    width: np.ndarray,
    wanted: float,
    pixel_mm: float,
) -> np.ndarray:
    """Leave seams of fat just so wide that the muscles cover the wanted number of pixels."""
    room = room * (nearest < len(fat.MUSCLES))
    low, high = SPECIFICATION["seam_mm_lowest"], 40.0
    for _ in range(16):
        seam = (low + high) / 2
        covered = _coverage(border_mm - seam * width / 2, pixel_mm) * room
        low, high = (seam, high) if covered.sum() > wanted else (low, seam)
    return covered


def _bone(
    x: np.ndarray, y: np.ndarray, unit: float, body: Body, pixel_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rigid shaft with its ridge behind (linea aspera): coverage of bone and of marrow."""
    dx, dy = x - femur_centre()[0] * unit, y - femur_centre()[1] * unit
    distance, theta = np.hypot(dx, dy), np.arctan2(dy, dx)
    ridge = 1 + 0.14 * np.exp(-(((theta + np.pi / 2) / 0.45) ** 2))
    femur = _coverage(body.femur_mm / 2 * ridge - distance, pixel_mm)
    return femur, _coverage(body.marrow_mm / 2 - distance, pixel_mm)


def _vessels(
    u: np.ndarray, v: np.ndarray, unit: float, body: Body, pixel_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Femoral artery and vein, deep vessels, great saphenous vein; sciatic nerve."""

    def disc(u0: float, v0: float, radius: float, flat: float = 1.0) -> np.ndarray:
        distance = np.hypot(u - u0, (v - v0) / flat) * unit
        return _coverage(radius * body.stature - distance, pixel_mm)

    (cu, cv), (su, sv) = SPACES["canal"][:2], SPACES["sciatic"][:2]
    skin = 1.05 + 0.6 * body.subcutaneous_mm / unit
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
