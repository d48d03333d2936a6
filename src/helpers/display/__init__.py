"""Style shared by every figure of the book; the modules beside it draw, and compute nothing."""

import base64 as _base64
import io

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

#: Colours that readers with any colour vision can tell apart (Okabe and Ito, 2008).
PALETTE = {
    "dystrophinopathy": "#D55E00",
    "control": "#0072B2",
    "patient": "#D55E00",
    "model": "#000000",
    "published": "#666666",
    "recomputed": "#666666",
    "phantom": "#009E73",
    "your data": "#CC79A7",
    "reader": "#CC79A7",
    "accent": "#E69F00",
    "light": "#56B4E9",
}

#: Width of the text column of a page, inches.
PAGE_WIDTH = 7.0


def setup() -> None:
    """Set the style of every figure of this kernel."""
    sns.set_theme(
        context="paper",
        style="ticks",
        palette=["#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"],
        rc={
            "font.size": 10,
            "axes.labelsize": 10,
            "axes.titlesize": 10,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.facecolor": "white",
            "image.cmap": "gray",
        },
    )


def figure(*, ncols: int = 1, nrows: int = 1, height: float = 3.2, **options):
    """Return a figure as wide as the page, and its axes.

    Parameters
    ----------
    ncols, nrows : int
        Grid of axes.
    height : float
        Inches.
    **options
        Passed to :func:`matplotlib.pyplot.subplots`.

    Returns
    -------
    tuple
        ``(figure, axes)`` with constrained layout.
    """
    options.setdefault("figsize", (PAGE_WIDTH, height))
    return plt.subplots(nrows, ncols, layout="constrained", **options)


def png(drawn: Figure, *, dpi: int = 160) -> bytes:
    """Return a figure as PNG, without the date or version that would make two runs differ.

    Parameters
    ----------
    drawn : matplotlib.figure.Figure
        Closed afterwards.
    dpi : int
        Pixels per inch.

    Returns
    -------
    bytes
        The file's content.
    """
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    plt.close(drawn)
    return buffer.getvalue()


def base64(data: bytes) -> str:
    """Return bytes as base64 text, as notebook outputs hold images.

    Examples
    --------
    >>> base64(b"abc")
    'YWJj'
    """
    return _base64.b64encode(data).decode("ascii")
