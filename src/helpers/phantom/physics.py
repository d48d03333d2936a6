"""What a T1-weighted spin echo makes of tissue: signal, coil field, resolution and noise.

Relaxation times at 1.5 T and 3 T follow the literature on musculoskeletal tissue (muscle and
fat after Gold et al., AJR 2004;183:343; muscle T2 PMC2849643). Proton densities, the coil
field, the noise level, the acquired matrix and the values of fascia, skin and vessels are
approximations.
"""

import numpy as np
from scipy import fft, ndimage

REPETITION_MS, ECHO_MS = 450.0, 12.0

#: Tissue: proton density, and T1 and T2 in ms at each field strength.
TISSUES = {
    "muscle": {"density": 0.80, 1.5: (1070.0, 37.5), 3.0: (1400.0, 33.0)},
    "oedema": {"density": 0.84, 1.5: (1250.0, 52.0), 3.0: (1600.0, 46.0)},
    "fat": {"density": 0.95, 1.5: (290.0, 85.0), 3.0: (370.0, 75.0)},
    "marrow": {"density": 0.90, 1.5: (290.0, 80.0), 3.0: (365.0, 75.0)},
    "cortex": {"density": 0.15, 1.5: (300.0, 0.5), 3.0: (300.0, 0.5)},
    "fascia": {"density": 0.60, 1.5: (900.0, 4.0), 3.0: (1000.0, 3.0)},
    "skin": {"density": 0.70, 1.5: (850.0, 30.0), 3.0: (950.0, 28.0)},
    "nerve": {"density": 0.80, 1.5: (1070.0, 37.5), 3.0: (1400.0, 33.0)},
    # Flowing blood leaves the slice between the two pulses: next to no signal.
    "vessel": {"density": 0.15, 1.5: (1400.0, 200.0), 3.0: (1600.0, 150.0)},
}

SPECIFICATION = {
    "repetition_ms": REPETITION_MS,
    "echo_ms": ECHO_MS,
    "tissues": {name: {str(k): v for k, v in values.items()} for name, values in TISSUES.items()},
    "acquired_matrix": [224, 320],
    "noise_sd_of_fat": [0.01, 0.03],
    "coil_field_amplitude": {"1.5": [0.10, 0.20], "3.0": [0.20, 0.35]},
    "coil_field_smoothness_of_fov": 0.22,
    "chemical_shift_acquired_pixels": {"1.5": 1.0, "3.0": 2.0},
}


def spin_echo(
    density: float, t1: float, t2: float, *, tr: float = REPETITION_MS, te: float = ECHO_MS
) -> float:
    """Return the spin-echo signal of a tissue.

    ``S = density (1 - 2 exp(-(TR - TE/2)/T1) + exp(-TR/T1)) exp(-TE/T2)``

    Parameters
    ----------
    density : float
        Relative proton density.
    t1, t2, tr, te : float
        Milliseconds.

    Returns
    -------
    float
        Signal, arbitrary units.

    Examples
    --------
    >>> round(spin_echo(1.0, 290.0, 85.0), 2)
    0.68
    """
    recovery = 1 - 2 * np.exp(-(tr - te / 2) / t1) + np.exp(-tr / t1)
    return float(density * recovery * np.exp(-te / t2))


def signals(field_tesla: float) -> dict[str, float]:
    """Return each tissue's signal relative to fat.

    Parameters
    ----------
    field_tesla : float
        1.5 or 3.0.

    Returns
    -------
    dict
        Signal by tissue, fat = 1.

    Raises
    ------
    ValueError
        For another field strength.

    Examples
    --------
    >>> {field: round(signals(field)["muscle"], 3) for field in (1.5, 3.0)}
    {1.5: 0.304, 3.0: 0.266}
    """
    if field_tesla not in (1.5, 3.0):
        raise ValueError(f"Field strength {field_tesla} T: tissue values are held for 1.5 and 3.0.")
    raw = {name: spin_echo(t["density"], *t[field_tesla]) for name, t in TISSUES.items()}
    return {name: value / raw["fat"] for name, value in raw.items()}


def coil_field(shape: tuple[int, int], field_tesla: float, rng: np.random.Generator) -> np.ndarray:
    """Return a smooth multiplicative field of transmit and receive coils.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    field_tesla : float
        1.5 or 3.0; the field is stronger at 3 T.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (rows, columns)
        Between ``1 - a`` and ``1 + a`` with ``a`` from the range of the specification.
    """
    coarse = 64
    smooth = ndimage.gaussian_filter(
        rng.standard_normal((2 * coarse, 2 * coarse)),
        SPECIFICATION["coil_field_smoothness_of_fov"] * coarse,
    )[coarse // 2 : -coarse // 2, coarse // 2 : -coarse // 2]
    smooth = (smooth - smooth.mean()) / np.abs(smooth - smooth.mean()).max()
    amplitude = rng.uniform(*SPECIFICATION["coil_field_amplitude"][str(field_tesla)])
    factors = (shape[0] / coarse, shape[1] / coarse)
    return 1 + amplitude * ndimage.zoom(smooth, factors, order=1)


def acquire(
    water: np.ndarray, fat: np.ndarray, *, field_tesla: float, rng: np.random.Generator
) -> np.ndarray:
    """Return the magnitude image that a scanner would give of a slice.

    The fat is shifted along the rows' direction (frequency encoding), k-space is cut to the
    acquired matrix, rounded off at its edge, filled with zeros to the full matrix, and complex
    noise is added, so that the magnitude is Rician.

    Parameters
    ----------
    water, fat : ndarray, shape (rows, columns)
        Signal of water and of fat, fat = 1.
    field_tesla : float
        1.5 or 3.0.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (rows, columns)
        Not negative; fat near 1.
    """
    rows, columns = water.shape
    keep = [
        min(n, m) for n, m in zip((rows, columns), SPECIFICATION["acquired_matrix"], strict=True)
    ]
    shift = SPECIFICATION["chemical_shift_acquired_pixels"][str(field_tesla)] / keep[1]
    frequency = fft.fftfreq(columns) * columns
    spectrum = fft.fft2(water) + fft.fft2(fat) * np.exp(-2j * np.pi * frequency * shift)
    window = np.outer(_edge(rows, keep[0]), _edge(columns, keep[1]))
    sd = rng.uniform(*SPECIFICATION["noise_sd_of_fat"])
    # Only the acquired part of k-space carries noise: scaled to give `sd` in the image.
    gain = sd * np.sqrt(rows * columns) / np.sqrt((window**2).mean())
    noise = rng.standard_normal((2, rows, columns)) * gain
    return np.abs(fft.ifft2((spectrum + noise[0] + 1j * noise[1]) * window))


def _edge(n: int, keep: int) -> np.ndarray:
    """Fermi window of width ``keep`` on the frequencies of an axis of length ``n``."""
    frequency = np.abs(fft.fftfreq(n) * n)
    return 1 / (1 + np.exp((frequency - 0.95 * keep / 2) / (0.025 * keep)))
