"""Figures of the networks: what a line stands for is what the caption says."""

import numpy as np
import pandas as pd

from helpers.display import training as draw
from helpers.splits import AGE_AND_SEX


def test_age_and_sex_alone_are_the_broad_grey_line():
    names = ["ResNet50", "MobileNet", "EfficientNetB0", AGE_AND_SEX]
    corners = pd.DataFrame({"false_positive_rate": [0.0, 0.2, 1.0], "sensitivity": [0.0, 0.7, 1.0]})
    curves = pd.concat([corners.assign(model=name) for name in names])
    axis = draw.roc_of_networks(curves).axes[0]
    lines = {line.get_label(): line for line in axis.lines}
    broad = {name for name in names if lines[name].get_linewidth() > 2}
    grey = {name for name in names if len(set(lines[name].get_color()[1::2])) == 1}
    assert broad == {AGE_AND_SEX} and AGE_AND_SEX in grey
    assert not {"MobileNet", "EfficientNetB0"} & grey
    styles = {(lines[n].get_color(), lines[n].get_linestyle()) for n in names}
    assert len(styles) == len(names)
    assert np.allclose(lines["MobileNet"].get_ydata(), [0.0, 0.7, 1.0])
