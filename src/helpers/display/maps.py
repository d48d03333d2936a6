"""Figures of where the thigh network looks: class activation maps."""

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from helpers import display
from helpers.display import PALETTE


def activation_grid(examples: list[dict]) -> Figure:
    """Draw leg images beside their class activation maps, one row a group of cases.

    Parameters
    ----------
    examples : list of dict
        group, leg (rows, columns), activation (same shape), probability, diagnosis.

    Returns
    -------
    Figure
        Maps share one colour scale that is white at zero.
    """
    groups = list(dict.fromkeys(example["group"] for example in examples))
    most = max(sum(e["group"] == group for e in examples) for group in groups)
    figure, axes = display.figure(
        nrows=len(groups), ncols=2 * most, height=0.4 + 1.75 * len(groups), squeeze=False
    )
    highest = max(np.abs(example["activation"]).max() for example in examples)
    norm = TwoSlopeNorm(0, -highest, highest)
    for axis in axes.flat:
        axis.set_axis_off()
    for row, group in enumerate(groups):
        shown = [example for example in examples if example["group"] == group]
        for place, example in enumerate(shown):
            left, right = axes[row, 2 * place], axes[row, 2 * place + 1]
            left.imshow(example["leg"])
            left.set_title(f"{example['diagnosis']}\np = {example['probability']:.2f}", fontsize=9)
            right.imshow(example["leg"])
            right.imshow(example["activation"], cmap="RdBu_r", norm=norm, alpha=0.6)
        axes[row, 0].text(
            -0.12,
            0.5,
            group.replace(", ", ",\n"),
            transform=axes[row, 0].transAxes,
            rotation=90,
            ha="right",
            va="center",
            fontsize=9,
        )
    bar = ScalarMappable(norm, "RdBu_r")
    label = "Contribution to the logit, less the mean map: above zero for dystrophinopathy"
    figure.colorbar(bar, ax=axes, location="bottom", label=label, fraction=0.03, aspect=50)
    return figure


def tissue_shares(shares: pd.DataFrame) -> Figure:
    """Draw how much of the positive attribution lies in each tissue, beside its area.

    Parameters
    ----------
    shares : DataFrame
        tissue, group, attribution_share, area_share, one row a tissue and group.

    Returns
    -------
    Figure
    """
    groups = list(dict.fromkeys(shares["group"])) or ["no label maps in this cohort"]
    tissues = list(dict.fromkeys(shares["tissue"]))
    height = 1.1 + 0.24 * len(tissues)
    figure, axes = display.figure(ncols=len(groups), height=height, sharey=True, squeeze=False)
    for axis, group in zip(axes[0], groups, strict=True):
        rows = shares[shares["group"] == group].set_index("tissue").reindex(tissues)
        places = np.arange(len(tissues))
        axis.barh(places, 100 * rows["area_share"], color="#cccccc", label="share of the area")
        axis.plot(
            100 * rows["attribution_share"],
            places,
            "o",
            color=PALETTE["dystrophinopathy"],
            label="share of the attribution for the call",
        )
        axis.set(title=group, xlabel="Share of the leg image, %", xlim=(0, None))
    axes[0, 0].set_yticks(range(len(tissues)), tissues)
    axes[0, 0].set_ylim(max(len(tissues), 1) - 0.5, -0.5)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure
