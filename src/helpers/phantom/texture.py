"""How fat is spread inside a muscle: eight textures, shared by the diseases.

A case has one *ground* texture in all its muscles - diffuse, streaky, moth-eaten, reticular or
islands - and may have *local* ones in single muscles: concentric around the femur (vastus
intermedius and medialis), sandwich (vastus lateralis, fat at the rim) and central target (rectus
femoris, fat in the middle). ``data/textures.csv`` holds how often each occurs in each disease,
with a quality mark and a source. No texture belongs to one disease alone; most shares are
assumptions.

A texture moves fat about inside a muscle and never changes the muscle's mean
(:func:`helpers.phantom.fat.with_mean`). What is fat at full strength: the share ``f`` of the
muscle that its mean fat fraction says. Its amplitude is multiplied by the parameter
``texture_strength``: 1 is full, 0 spreads the fat evenly in each muscle.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy import ndimage, special

from helpers import paths
from helpers.phantom import fat
from helpers.phantom.anatomy import Leg, geometry

GROUND = ("diffuse", "streaky", "moth-eaten", "reticular", "islands")
#: Muscles in which a local texture lies.
LOCAL = {"concentric": ("VI", "VM"), "sandwich": ("VL",), "central target": ("RF",)}

SPECIFICATION = {
    # Every muscle has a fine grain; scale in mm, sd in logits.
    "grain": [1.0, 0.35],
    "diffuse": [[6.0, 0.7], [1.2, 0.45]],
    # Streaks: length and width in mm, sd in logits, wave of their course in mm and its scale;
    # denser in patches of a scale, mm, and sd.
    "streaky": {"length": 5.0, "width": 0.8, "sd": 0.8, "wave": 1.6, "wave_scale": 4.0},
    "streaky_patches": [5.0, 0.6],
    "streak_direction_sd_deg": 25.0,
    "moth_eaten_scale_mm": 2.6,
    "reticular_scale_mm": 2.6,
    "islands_scale_mm": 4.0,
    # Sizes differ between cases by this, log sd.
    "scale_sd_log": 0.2,
    # Difference of logits between fatty and spared places, and width of their border.
    "contrast": 4.0,
    "softness": 0.25,
    "softness_local_mm": 1.5,
    # Beside a local texture the ground texture goes on at this share.
    "ground_beside_local": 0.5,
    "threshold_fraction": [0.06, 0.94],
    "tile_mm": 0.4,
}


@dataclass(frozen=True)
class Pattern:
    """The textures of a case.

    Attributes
    ----------
    ground : str
        One of :data:`GROUND`.
    local : tuple of str
        Keys of :data:`LOCAL`.
    scale : float
        Multiplies the sizes of the ground texture.
    directions_deg : ndarray, shape (12,)
        Direction of the streaks in each muscle.
    """

    ground: str
    local: tuple[str, ...]
    scale: float
    directions_deg: np.ndarray


@cache
def probabilities() -> pd.DataFrame:
    """Return how often each texture occurs, one row a diagnosis, one column a texture.

    Returns
    -------
    DataFrame
        The ground textures of a row sum to 1; each local one has a probability of its own.
    """
    table = pd.read_csv(paths.package_data("textures.csv"))
    return table.pivot(index="diagnosis", columns="texture", values="probability")


def draw_pattern(diagnosis: str, rng: np.random.Generator) -> Pattern:
    """Draw the textures of a case.

    Parameters
    ----------
    diagnosis : str
        As in the table of textures.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    Pattern
        Drawn in a fixed order, so that equal generators give equal patterns.
    """
    row = probabilities().loc[diagnosis]
    ground = str(rng.choice(GROUND, p=row[list(GROUND)].to_numpy()))
    local = tuple(name for name in LOCAL if rng.uniform() < row[name])
    turned = SPECIFICATION["streak_direction_sd_deg"] * rng.standard_normal(len(fat.MUSCLES))
    return Pattern(
        ground=ground,
        local=local,
        scale=float(np.exp(SPECIFICATION["scale_sd_log"] * rng.standard_normal())),
        directions_deg=geometry().axis_angle_deg.to_numpy() + turned,
    )


def field(
    pattern: Pattern,
    leg: Leg,
    targets: np.ndarray,
    *,
    pixel_mm: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the texture of a leg's muscles at full strength.

    Parameters
    ----------
    pattern : Pattern
        Textures of the case.
    leg : Leg
        The drawn leg.
    targets : ndarray, shape (12,)
        Mean fat fraction of each muscle.
    pixel_mm : float
        Pixel edge.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (rows, columns)
        Logits, up to a constant in each muscle.
    """
    limits = SPECIFICATION["threshold_fraction"]
    share = np.clip(targets, *limits)
    out = _ground(pattern, leg, share[leg.nearest], pixel_mm, rng)
    inside = leg.muscle > 0.5
    for name in pattern.local:
        for muscle in LOCAL[name]:
            number = fat.MUSCLES.index(muscle)
            own = inside & (leg.nearest == number)
            if own.any():
                out[own] *= SPECIFICATION["ground_beside_local"]
                out[own] += _local(name, leg, own, share[number])
    scale, sd = SPECIFICATION["grain"]
    return out + sd * fat.smooth_noise(out.shape, scale_mm=scale, pixel_mm=pixel_mm, rng=rng)


def _ground(
    pattern: Pattern, leg: Leg, share: np.ndarray, pixel: float, rng: np.random.Generator
) -> np.ndarray:
    spec, shape = SPECIFICATION, leg.nearest.shape

    def noise(scale: float) -> np.ndarray:
        size = scale * pattern.scale
        return fat.smooth_noise(shape, scale_mm=size, pixel_mm=pixel, rng=rng)

    if pattern.ground == "diffuse":
        return sum(sd * noise(scale) for scale, sd in spec["diffuse"])
    if pattern.ground == "streaky":
        scale, sd = spec["streaky_patches"]
        streaks = _streaks(pattern, leg, noise(spec["streaky"]["wave_scale"]), rng)
        return streaks + sd * noise(scale)
    if pattern.ground == "reticular":
        # Zero lines of a Gaussian field are a network; P(|n| < t) = erf(t / sqrt 2).
        depth = np.sqrt(2) * special.erfinv(share) - np.abs(noise(spec["reticular_scale_mm"]))
    elif pattern.ground == "moth-eaten":
        # Peaks of a complex Gaussian field's modulus are round: P(r > t) = exp(-t²/2).
        scale = spec["moth_eaten_scale_mm"]
        depth = np.hypot(noise(scale), noise(scale)) - np.sqrt(-2 * np.log(share))
    else:
        # The same peaks, now of preserved muscle in a sea of fat.
        scale = spec["islands_scale_mm"]
        depth = np.sqrt(-2 * np.log1p(-share)) - np.hypot(noise(scale), noise(scale))
    return spec["contrast"] * special.expit(depth / spec["softness"])


def _streaks(pattern: Pattern, leg: Leg, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sample a tile of stretched noise along each muscle's direction."""
    spec, step = SPECIFICATION["streaky"], SPECIFICATION["tile_mm"]
    size = [spec["width"] * pattern.scale / step, spec["length"] * pattern.scale / step]
    tile = ndimage.gaussian_filter(rng.standard_normal((512, 512)), size, mode="wrap", truncate=3)
    angle = np.deg2rad(pattern.directions_deg)[leg.nearest]
    along = np.cos(angle) * leg.x_mm + np.sin(angle) * leg.y_mm
    across = -np.sin(angle) * leg.x_mm + np.cos(angle) * leg.y_mm + spec["wave"] * wave
    # Neighbouring muscles take distant parts of the tile.
    at = [across / step + 37.0 * leg.nearest, along / step]
    return spec["sd"] * ndimage.map_coordinates(tile / tile.std(), at, order=1, mode="grid-wrap")


def _local(name: str, leg: Leg, own: np.ndarray, share: float) -> np.ndarray:
    """Fat in the given share of a muscle: nearest its rim, its middle or the femur."""
    depth = {
        "sandwich": -leg.border_mm,
        "central target": leg.border_mm,
        "concentric": -leg.axis_mm,
    }[name][own]
    beyond = (depth - np.quantile(depth, 1 - share)) / SPECIFICATION["softness_local_mm"]
    return SPECIFICATION["contrast"] * special.expit(beyond)
