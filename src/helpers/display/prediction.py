"""A slice with the legs that a classifier looked at, and what it said of each."""

import numpy as np

from helpers import STATEMENT, display

COLOURS = {"dystrophinopathy": "#D55E00", "another disease": "#56B4E9"}


def overlay(seen, card) -> bytes:
    """Draw one slice with its legs, their class activation and their probability.

    Parameters
    ----------
    seen : helpers.prediction.Seen
        The slice, its legs, and their maps.
    card : helpers.model_files.Card
        Of the model; its threshold, evidence label and weights are printed above the slice.

    Returns
    -------
    bytes
        PNG.
    """
    pixels, spacing = seen.image.pixels, seen.image.spacing_mm
    aspect = spacing[0] / spacing[1]
    height = display.PAGE_WIDTH * pixels.shape[0] / pixels.shape[1] * aspect + 0.5
    figure, axis = display.figure(height=float(np.clip(height, 2.5, 9.0)))
    low, high = np.percentile(pixels, [1, 99.5])
    axis.imshow(pixels, cmap="gray", vmin=low, vmax=high, aspect=aspect)
    widest = max((np.abs(m).max() for m in seen.maps), default=0.0) or 1.0
    for place, leg in enumerate(seen.legs):
        box = leg["col0"] - 0.5, leg["col1"] - 0.5, leg["row1"] - 0.5, leg["row0"] - 0.5
        if place < len(seen.maps):
            own = seen.maps[place] / widest
            axis.imshow(own, cmap="RdBu_r", vmin=-1, vmax=1, alpha=np.abs(own) * 0.6, extent=box)
        colour = COLOURS[leg["call"]]
        corners = [box[0], box[1], box[1], box[0], box[0]], [box[3], box[3], box[2], box[2], box[3]]
        axis.plot(*corners, color=colour, linewidth=1.5)
        text = f"{leg['side']}: {leg['probability']:.2f}, {leg['call']}"
        axis.annotate(
            *(text, (box[0], box[3])),
            va="bottom",
            fontsize=9,
            color="white",
            bbox={"facecolor": "black", "edgecolor": "none", "pad": 1.5},
        )
    axis.set(xlim=(-0.5, pixels.shape[1] - 0.5), ylim=(pixels.shape[0] - 0.5, -0.5))
    axis.set_axis_off()
    axis.set_title(
        f"{STATEMENT}\nModel: {card.basis}. Threshold {card.thresholds.image:.2f}. "
        "Red: speaks for dystrophinopathy.",
        fontsize=9,
    )
    return display.png(figure, dpi=110)
