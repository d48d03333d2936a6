"""One synthetic brain: the template, warped, aged, posed and seen by a scanner.

Nothing here is fitted to a network's result. The numbers of :class:`Specification` are
assumptions, chosen for plausible looks and stated with the cohort.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage
from scipy.interpolate import BSpline
from scipy.spatial.transform import Rotation

from helpers.phantom import brain_template

#: Centre and size of the imaged box in MNI mm: the template's brain with about 10 mm around.
BOX_CENTRE_MM = np.array([0.0, -17.0, 6.0])
BOX_SIZE_MM = np.array([176.0, 208.0, 176.0])
VENTRICLES_MM = np.array([(15.0, -20.0, 18.0), (-15.0, -20.0, 18.0)])


@dataclass(frozen=True)
class Site:
    """What a scanner does to an image.

    Attributes
    ----------
    gain, grey_shift : float
        Factor on all intensities; added to grey matter's intensity (white matter is 1).
    blur_mm, noise : float
        Standard deviation of the point spread, mm; of the noise in a 2 mm voxel.
    """

    gain: float
    grey_shift: float
    blur_mm: float
    noise: float


@dataclass(frozen=True)
class Pose:
    """How heads differ in place and size before anything is warped: assumptions.

    Attributes
    ----------
    name : str
    rotation_deg : tuple of float
        Standard deviations about the x, y and z axis: nodding, tilting, turning; degrees.
    translation_mm, size_sd, male_size : float
        Standard deviation of the shift, mm, and of the head's relative size; men's heads minus
        women's, relative.
    """

    name: str
    rotation_deg: tuple[float, float, float]
    translation_mm: float
    size_sd: float
    male_size: float


@dataclass(frozen=True)
class Specification:
    """All numbers of the brain phantom; lengths in mm, intensities relative to white matter.

    Attributes
    ----------
    version : int
        Raised with every change of what the phantom looks like.
    warp_mm, warp_scales_mm : tuple
        Standard deviations of the velocity field's two parts, and their smoothness.
    poses : tuple of Pose
        ``registered``: what an affine registration to a template leaves; ``as_scanned``: what a
        technician's positioning leaves. Individual anatomy, the warp, is the same in both.
    folding, folding_mm, sharpness : float
        Individual tissue borders: log-odds added, their scale, and the exponent on the maps.
    grey, fluid, texture, texture_mm : float
        Mean intensities; local variation and its scale.
    bias, gain_sd, contrast_sd : float
        Receive field (log); per-person scatter of gain (log) and of grey matter's intensity.
    ventricle_growth, ventricle_sd, atrophy, fading : float
        Per decade from 50: widening of the ventricles (with a scatter), loss of grey
        log-odds, rise of grey intensity towards white.
    sites : tuple of Site
        Balanced over groups by design.
    """

    version: int = 2
    warp_mm: tuple[float, float] = (3.0, 1.3)
    warp_scales_mm: tuple[float, float] = (16.0, 8.0)
    poses: tuple[Pose, ...] = (
        Pose("registered", (0.5, 0.5, 0.5), translation_mm=0.5, size_sd=0.01, male_size=0.0),
        Pose("as_scanned", (5.0, 2.5, 2.5), translation_mm=2.0, size_sd=0.03, male_size=0.03),
    )
    folding: float = 0.8
    folding_mm: float = 6.0
    sharpness: float = 1.8
    grey: float = 0.70
    fluid: float = 0.28
    texture: float = 0.02
    texture_mm: float = 8.0
    bias: float = 0.08
    gain_sd: float = 0.10
    contrast_sd: float = 0.02
    ventricle_growth: float = 0.06
    ventricle_sd: float = 0.08
    atrophy: float = 0.08
    fading: float = 0.008
    sites: tuple[Site, ...] = (
        Site(gain=1.0, grey_shift=0.0, blur_mm=0.8, noise=0.03),
        Site(gain=1.3, grey_shift=0.02, blur_mm=1.0, noise=0.04),
        Site(gain=0.8, grey_shift=-0.02, blur_mm=0.8, noise=0.05),
        Site(gain=1.1, grey_shift=0.01, blur_mm=1.3, noise=0.03),
    )

    def pose(self, name: str) -> Pose:
        """Return a pose by its name.

        Parameters
        ----------
        name : str
            One of ``poses``.

        Returns
        -------
        Pose

        Raises
        ------
        KeyError
            For another name; the message lists those that exist.

        Examples
        --------
        >>> Specification().pose("as_scanned").rotation_deg
        (5.0, 2.5, 2.5)
        """
        known = {pose.name: pose for pose in self.poses}
        if name not in known:
            raise KeyError(f"No pose {name!r} of heads. Available: {', '.join(known)}.")
        return known[name]


@dataclass(frozen=True)
class Head:
    """One unaffected brain and where an effect would lie in it.

    Attributes
    ----------
    image, unit_effect : ndarray of float32, shape (x, y, z)
        Intensity, 0 outside the brain; planted change, 0 to 1.
    region : ndarray of uint8
        Region number, 0 outside the regions.
    affine : ndarray, shape (4, 4)
        Voxel index to mm.
    """

    image: np.ndarray
    unit_effect: np.ndarray
    region: np.ndarray
    affine: np.ndarray


def simulate(
    *,
    sex: str,
    age_years: float,
    site: int,
    voxel_mm: float,
    rng: np.random.Generator,
    pose: str = "registered",
    specification: Specification | None = None,
) -> Head:
    """Return one unaffected brain.

    It is made at half the voxel size and averaged down, so that structures narrower than a
    voxel blur instead of turning into speckle; below 4 mm it is made at the voxel size.

    Parameters
    ----------
    sex : {"F", "M"}
        Men's heads are larger on average, unless registered.
    age_years : float
        Widens ventricles, thins grey matter, lowers contrast.
    site : int
        Index into ``specification.sites``.
    voxel_mm : float
        Voxel size of the result, mm.
    rng : numpy.random.Generator
        Source of everything individual.
    pose : {"registered", "as_scanned"}
        How the head lies and how large it is.
    specification : Specification, optional
        The default one when not given.

    Returns
    -------
    Head

    Raises
    ------
    KeyError
        For a pose that the specification does not have.

    Examples
    --------
    >>> head = simulate(sex="F", age_years=50, site=0, voxel_mm=8.0,
    ...                 rng=np.random.default_rng(1))
    >>> head.image.shape, head.image.dtype.name
    ((22, 26, 22), 'float32')
    """
    spec = specification or Specification()
    factor = 2 if voxel_mm >= 4 else 1
    template = brain_template.load(voxel_mm / factor)
    axes = grid(voxel_mm / factor)
    points = _template_points(axes, sex, age_years, spec.pose(pose), spec, rng)
    inside, values = _sampled(template, points)
    tissue = _tissue(values, age_years, axes, inside, spec, rng)
    image = _scanned(tissue, inside, axes, age_years, spec.sites[site], spec, rng)
    unit = _filled(values["unit_effect"], inside)
    region = _filled(values["region"], inside)
    return _averaged(image, unit, region, factor, voxel_mm)


@lru_cache(maxsize=2)
def undeformed(voxel_mm: float) -> Head:
    """Return the template itself as a head: no warp, pose, age or scanner.

    Parameters
    ----------
    voxel_mm : float
        Voxel size of the result, mm.

    Returns
    -------
    Head

    Examples
    --------
    >>> int(undeformed(8.0).region.max())
    6
    """
    spec = Specification()
    factor = 2 if voxel_mm >= 4 else 1
    axes = grid(voxel_mm / factor)
    points = np.stack(np.meshgrid(*axes, indexing="ij"))
    inside, values = _sampled(brain_template.load(voxel_mm / factor), points)
    fluid = np.clip(1 - values["white"] - values["grey"], 0, 1)
    image = values["white"] + spec.grey * values["grey"] + spec.fluid * fluid
    maps = (image, values["unit_effect"], values["region"])
    return _averaged(*(_filled(values, inside) for values in maps), factor, voxel_mm)


def grid(spacing_mm: float) -> list[np.ndarray]:
    """Return the voxel centres of the imaged box along x, y, z, in mm."""
    counts = np.ceil(BOX_SIZE_MM / spacing_mm).astype(int)
    low = BOX_CENTRE_MM - BOX_SIZE_MM / 2
    return [lo + (np.arange(n) + 0.5) * spacing_mm for lo, n in zip(low, counts, strict=True)]


def warp(axes: list[np.ndarray], spec: Specification, rng: np.random.Generator) -> np.ndarray:
    """Return a smooth one-to-one random displacement.

    A random velocity field on an 8 mm grid is integrated by scaling and squaring
    (Arsigny 2006), then interpolated with cubic B-splines.

    Parameters
    ----------
    axes : list of ndarray
        Voxel centres along x, y, z, mm.
    spec : Specification
        Strengths and scales.
    rng : numpy.random.Generator
        Source of the field.

    Returns
    -------
    ndarray of float32, shape (3, x, y, z)
        Displacement, mm.
    """
    return _spread_each(*_warp_knots(axes, spec, rng))


def _warp_knots(axes, spec, rng) -> tuple[np.ndarray, list[np.ndarray]]:
    step, squarings = 8.0, 4
    bases = [_spline_basis(axis, step) for axis in axes]
    shape = tuple(basis.shape[1] for basis in bases)
    velocity = np.zeros((3, *shape), np.float32)
    for size, scale in zip(spec.warp_mm, spec.warp_scales_mm, strict=True):
        noise = rng.standard_normal((3, *shape), np.float32)
        smooth = ndimage.gaussian_filter(noise, (0, *[scale / step] * 3))
        velocity += size * smooth / smooth.std()
    flow = velocity / step / 2**squarings
    nodes = np.indices(shape, np.float32)
    for _ in range(squarings):
        moved = [ndimage.map_coordinates(f, nodes + flow, order=1, mode="nearest") for f in flow]
        flow = flow + np.stack(moved)
    return flow * np.float32(step), bases


def _spread_each(fields: np.ndarray, bases: list[np.ndarray]) -> np.ndarray:
    return np.stack([_spread(field, bases) for field in fields])


def random_field(
    axes: list[np.ndarray], *, scale_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """Return a smooth random field of mean 0 and standard deviation about 1.

    Parameters
    ----------
    axes : list of ndarray
        Voxel centres along x, y, z, mm.
    scale_mm : float
        Distance between the knots of its cubic B-splines.
    rng : numpy.random.Generator
        Source of the knots' values.

    Returns
    -------
    ndarray of float32, shape (x, y, z)

    Examples
    --------
    >>> field = random_field(grid(4.0), scale_mm=12.0, rng=np.random.default_rng(0))
    >>> field.shape, bool(0.8 < field.std() < 1.2)
    ((44, 52, 44), True)
    """
    bases = [_spline_basis(axis, scale_mm) for axis in axes]
    knots = rng.standard_normal(tuple(basis.shape[1] for basis in bases), np.float32)
    # A cubic B-spline of independent unit knots has variance .479 per axis on average.
    return _spread(knots, bases) / np.float32(0.479**1.5)


def _spline_basis(axis: np.ndarray, step: float) -> np.ndarray:
    count = int(np.ceil((axis[-1] - axis[0]) / step)) + 1
    knots = axis[0] + step * np.arange(-3, count + 4)
    return BSpline.design_matrix(axis, knots, 3).toarray().astype(np.float32)


def _spread(values: np.ndarray, bases: list[np.ndarray]) -> np.ndarray:
    for basis in bases:
        values = np.tensordot(values, basis, axes=(0, 1))
    return values


def _template_points(axes, sex, age_years, pose, spec, rng) -> np.ndarray:
    knots, bases = _warp_knots(axes, spec, rng)
    size = 1 + pose.size_sd * rng.standard_normal() + pose.male_size * (0.5 if sex == "M" else -0.5)
    angles = np.array(pose.rotation_deg) * rng.standard_normal(3)
    turned = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() / size
    shift = BOX_CENTRE_MM + pose.translation_mm * rng.standard_normal(3)
    # Turning the knots turns the displacement; the rest of the pose is a sum over the axes.
    points = _spread_each(np.tensordot(turned, knots, axes=1).astype(np.float32), bases)
    offset = BOX_CENTRE_MM - turned @ shift
    for row, weights, start in zip(points, turned, offset, strict=True):
        x, y, z = (weight * axis for weight, axis in zip(weights, axes, strict=True))
        row += (start + x[:, None, None] + y[:, None]).astype(np.float32)
        row += z.astype(np.float32)
    growth = spec.ventricle_growth * (age_years - 50) / 10
    return _widened(points, growth + spec.ventricle_sd * rng.standard_normal())


def _widened(points: np.ndarray, growth: float) -> np.ndarray:
    size = np.float32(np.clip(growth, -0.3, 0.4))
    moved = points.copy()
    for centre in VENTRICLES_MM.astype(np.float32):
        away = points - centre[:, None, None, None]
        reach = np.einsum("i...,i...->...", away, away)
        reach *= np.float32(-1 / (2 * 16.0**2))
        np.exp(reach, out=reach)
        reach *= size
        away *= reach
        moved -= away
    return moved


def _sampled(template, points) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    # The templates' axes are parallel to the world's, so no rotation enters here.
    spacing, origin = np.diag(template.affine)[:3], template.affine[:3, 3]
    index = (points - origin[:, None, None, None]) / spacing[:, None, None, None]
    index = index.astype(np.float32)
    cells = template.cells[_corner(index, template.cells.shape)]
    inside = (cells & brain_template.ALL_BRAIN) > 0
    # Linear interpolation needs arithmetic only where the corners of a cell differ.
    rim = (cells & brain_template.SOME_BRAIN) > 0
    rim &= ~inside
    inside[rim] = ndimage.map_coordinates(template.brain, index[:, rim], order=1) > 0.5
    at = index[:, inside]
    values = {
        name: ndimage.map_coordinates(getattr(template, name), at, order=1)
        for name in ("white", "grey")
    }
    near = (cells[inside] & brain_template.EFFECT) > 0
    values["unit_effect"] = np.zeros(len(near), np.float32)
    values["unit_effect"][near] = ndimage.map_coordinates(
        template.unit_effect, at[:, near], order=1
    )
    values["region"] = np.zeros(len(near), np.uint8)
    values["region"][near] = ndimage.map_coordinates(template.region, at[:, near], order=0)
    return inside, values


def _corner(index: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Return the lower corner of the cell that each point lies in; points outside go to the rim."""
    return tuple(
        np.clip(row, 0, size - 1).astype(np.intp) for row, size in zip(index, shape, strict=True)
    )


def _tissue(values, age_years, axes, inside, spec, rng) -> np.ndarray:
    fluid = np.clip(1 - values["white"] - values["grey"], 0, 1)
    maps = np.stack([values["white"], values["grey"], fluid])
    odds = spec.sharpness * np.log(maps + 0.02)
    for row in odds:
        row += spec.folding * random_field(axes, scale_mm=spec.folding_mm, rng=rng)[inside]
    odds[1] -= spec.atrophy * (age_years - 50) / 10
    share = np.exp(odds - odds.max(0))
    return share / share.sum(0)


def _scanned(tissue, inside, axes, age_years, site, spec, rng) -> np.ndarray:
    grey = spec.grey + site.grey_shift + spec.fading * (age_years - 50) / 10
    levels = np.array([1.0, grey + spec.contrast_sd * rng.standard_normal(), spec.fluid])
    signal = levels.astype(np.float32) @ tissue
    signal *= 1 + spec.texture * random_field(axes, scale_mm=spec.texture_mm, rng=rng)[inside]
    spacing = axes[0][1] - axes[0][0]
    blurred = ndimage.gaussian_filter(_filled(signal, inside), site.blur_mm / spacing)[inside]
    blurred *= np.exp(spec.bias * random_field(axes, scale_mm=70.0, rng=rng)[inside])
    # Drawn before the noise, whose amount hangs on voxels that another processor may round out.
    gain = 500 * site.gain * np.exp(spec.gain_sd * rng.standard_normal())
    # Noise falls with the square root of the voxel's volume.
    noise = np.float32(site.noise * (2.0 / spacing) ** 1.5)
    real = blurred + noise * rng.standard_normal(blurred.size, np.float32)
    imaginary = noise * rng.standard_normal(blurred.size, np.float32)
    return _filled(np.float32(gain) * np.hypot(real, imaginary), inside)


def _filled(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    volume = np.zeros(inside.shape, values.dtype)
    volume[inside] = values
    return volume


def _averaged(image, unit, region, factor: int, voxel_mm: float) -> Head:
    affine = np.diag([voxel_mm] * 3 + [1.0])
    affine[:3, 3] = [axis[0] for axis in grid(voxel_mm)]

    def mean(volume: np.ndarray) -> np.ndarray:
        return _folded(volume, factor, np.add) * np.float32(1 / factor**3)

    inside = mean((image > 0).astype(np.float32)) > 0.5
    # Regions are far apart, so the largest number in a block is the block's only region.
    largest = _folded(region, factor, np.maximum)
    return Head(mean(image) * inside, mean(unit) * inside, largest * inside, affine)


def _folded(volume: np.ndarray, factor: int, combine: np.ufunc) -> np.ndarray:
    for axis in range(3):
        first, *others = (
            volume[(slice(None),) * axis + (slice(start, None, factor),)] for start in range(factor)
        )
        for other in others:
            first = combine(first, other)
        volume = first
    return volume
