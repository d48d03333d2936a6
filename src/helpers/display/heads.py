"""Heads as the network sees them: one in three views, or many on one sheet."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from helpers import STATEMENT, display

VIEWS = ("axial", "coronal", "sagittal")
#: Heads on a contact sheet at most, and beside each other.
MOST, ACROSS = 24, 4


def views(box: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return an axial, a coronal and a sagittal section through a box.

    Parameters
    ----------
    box : ndarray, shape (x, y, z)
        From :func:`helpers.brain.read_volume`.

    Returns
    -------
    tuple of ndarray
        Rows run down the picture. Axial and coronal sections show the subject's left on the left,
        the sagittal one, two voxels beside the middle, the front on the right.

    Examples
    --------
    >>> [section.shape for section in views(np.zeros((40, 48, 40)))]
    [(48, 40), (40, 40), (40, 48)]
    """
    x, y, z = box.shape
    sections = box[:, :, round(0.55 * z)], box[:, round(0.45 * y)], box[x // 2 + 2]
    return tuple(section.T[::-1] for section in sections)


def contact_sheet(heads: dict[str, NDArray]) -> Figure:
    """Draw many heads, each in three views with the middle of the box marked.

    Parameters
    ----------
    heads : dict of str to ndarray, shape (x, y, z)
        Boxes by a title; the first :data:`MOST` are drawn.

    Returns
    -------
    Figure
    """
    shown = list(heads.items())[:MOST]
    rows = -(-len(shown) // ACROSS)
    figure, axes = display.figure(nrows=rows, ncols=ACROSS, height=0.2 + 0.86 * rows, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    # Three sections in one picture: a third of the panels to lay out.
    for axis, (title, box) in zip(axes.flat, shown, strict=False):
        strip, middles = _strip(box)
        low, high = _window(box)
        axis.imshow(strip, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        for middle in middles:
            axis.axvline(middle, color="#56B4E9", linewidth=0.4)
        axis.set_title(title, fontsize=7, pad=2)
    return figure


def _strip(box: NDArray) -> tuple[NDArray, list[float]]:
    """Return the three views beside each other, and the column of each one's middle."""
    sections = views(box)
    high = max(section.shape[0] for section in sections)
    strip, middles, start = [], [], 0
    for section in sections:
        missing = high - section.shape[0]
        above = missing // 2
        strip.append(np.pad(section, ((above, missing - above), (0, 0))))
        middles.append(start + (section.shape[1] - 1) / 2)
        start += section.shape[1]
    return np.concatenate(strip, axis=1), middles


def overlay(seen, card) -> bytes:
    """Draw what the network saw of one scan, and what it said.

    Parameters
    ----------
    seen : helpers.brain_prediction.Seen
        The scan's box and its row.
    card : helpers.brain_prediction.Card
        Of the model; its band, evidence label and weights are printed above.

    Returns
    -------
    bytes
        PNG.
    """
    figure, axes = display.figure(ncols=3, height=3.1)
    for axis, section, name in zip(axes, views(seen.box), VIEWS, strict=True):
        _draw(axis, section, _window(seen.box), line_width=0.6)
        axis.set_title(name, fontsize=9)
        axis.set_axis_off()
    row = seen.row
    figure.suptitle(
        f"{STATEMENT}\nModel: {card.basis}. Refers within {card.delta:.2f} of one half.\n"
        f"p({card.positive}) = {row['probability']:.2f}: {row['call']}. Axial, coronal: left is "
        f"left. {'Placed by its own head.' if row['placed_by'] == 'head' else ''}",
        fontsize=9,
    )
    return display.png(figure, dpi=110)


def _draw(axis: Axes, section: NDArray, window: tuple[float, float], *, line_width: float) -> None:
    low, high = window
    axis.imshow(section, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axis.axvline((section.shape[1] - 1) / 2, color="#56B4E9", linewidth=line_width)


def _window(box: NDArray) -> tuple[float, float]:
    """Return the intensities drawn black and white: the head's own range."""
    inside = box[box != 0]
    low, high = np.percentile(inside, [1, 99.5]) if inside.size else (0.0, 1.0)
    return float(low), float(max(high, low + 1e-6))
