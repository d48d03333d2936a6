"""What finding the legs costs, as a ratio to reading and decoding the same file."""

import tempfile
from pathlib import Path

import phantom_speed
import timing
from scipy import ndimage
from skimage import filters, measure

from helpers import images, parameters, roi
from helpers.images import SliceImage
from helpers.phantom import thigh


def full_size_steps(image: SliceImage, smoothing_mm: float) -> list[tuple[int, ...]]:
    """Do the steps with scikit-image on every pixel: what a reduced image is measured against."""
    smooth = ndimage.gaussian_filter(image.pixels, [smoothing_mm / s for s in image.spacing_mm])
    filled = ndimage.binary_fill_holes(smooth > filters.threshold_otsu(smooth))
    regions = measure.regionprops(measure.label(filled))
    return [region.bbox for region in sorted(regions, key=lambda r: r.area)[-2:]]


def main(*, cases: int = 4, rounds: int = 9) -> None:
    """Time reading, the full-size steps and the ROI step on the same slices."""
    choices = parameters.load("demo").roi.model_dump(exclude={"mirror_left"})
    choices.pop("mirror_left", None)  # of the cutting, not of the finding
    with tempfile.TemporaryDirectory() as folder, timing.one_core():
        into = Path(folder) / "results" / "cohort" / "thigh"
        for recipe in phantom_speed.recipes(cases):
            thigh.write_case(recipe, folder=into, matrix=phantom_speed.MATRIX)
        files = sorted(into.rglob("*.dcm"))
        slices = [images.read_slice(file) for file in files]
        tasks = {
            timing.REFERENCE: timing.reference,
            "reading and decoding": lambda: [images.read_slice(file) for file in files],
            "scikit-image, full size": lambda: [
                full_size_steps(image, choices["smoothing_mm"]) for image in slices
            ],
            "ROI step of this book": lambda: [
                roi.locate_legs(image, **choices) for image in slices
            ],
        }
        times = timing.interleaved(tasks, rounds=rounds)
    units = {name: len(files) for name in tasks if name != timing.REFERENCE}
    table = timing.summary(times, unit_of=units, against="reading and decoding")
    timing.write("roi_speed", table.assign(matrix=phantom_speed.MATRIX), cores=1)


if __name__ == "__main__":
    main()
