"""Whether probabilities mean what they say, before and after recalibration, and what they are for.

Joins :mod:`helpers.calibration` and :mod:`helpers.decision` to the images of a run: recalibration
is fitted on the validation set, everything is shown on the test set, people are the unit.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from helpers import calibration, decision

#: The probabilities as the network gives them, and what recalibration makes of them.
AS_PREDICTED, RECALIBRATED = "as predicted", "recalibrated on validation"

#: Groups of the reliability curve; few, as a test set has few people.
GROUPS = 5


def versions(validation: pd.DataFrame, test: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Return the test probabilities as predicted, and recalibrated where that can be fitted.

    Parameters
    ----------
    validation, test : DataFrame
        Images with label and probability.

    Returns
    -------
    dict of str to ndarray
        Without :data:`RECALIBRATED` when the validation set's classes are wholly apart.

    Examples
    --------
    >>> images = pd.DataFrame({"label": [0, 1, 0, 1], "probability": [0.1, 0.2, 0.3, 0.4]})
    >>> list(versions(images, images))
    ['as predicted', 'recalibrated on validation']
    """
    found = {AS_PREDICTED: test["probability"].to_numpy(dtype=float)}
    fitted = calibration.fit(validation["label"], validation["probability"])
    again = calibration.apply(fitted, test["probability"])
    return found | ({RECALIBRATED: again} if np.isfinite(again).all() else {})


def summaries(test: pd.DataFrame, found: Mapping[str, NDArray]) -> pd.DataFrame:
    """Tabulate calibration of each version of the probabilities.

    Parameters
    ----------
    test : DataFrame
        label and case_id of each image.
    found : mapping of str to ndarray
        From :func:`versions`.

    Returns
    -------
    DataFrame
        version, then the columns of :func:`helpers.calibration.summary`; NaN with the reason for
        a version that could not be fitted.
    """
    parts = {
        name: calibration.summary(test["label"], values, case=test["case_id"], bins=GROUPS)
        for name, values in found.items()
    }
    if RECALIBRATED not in parts:
        missing = parts[AS_PREDICTED].assign(estimate=np.nan, low=np.nan, high=np.nan)
        reason = "the validation set's classes are wholly apart"
        parts[RECALIBRATED] = missing.assign(method=f"none: {reason}", reason=reason)
    return _stacked(parts)


def curves(test: pd.DataFrame, found: Mapping[str, NDArray]) -> pd.DataFrame:
    """Return the reliability curve of each version of the probabilities.

    Parameters
    ----------
    test, found
        As for :func:`summaries`.

    Returns
    -------
    DataFrame
        version, then the columns of :func:`helpers.calibration.curve`.
    """
    parts = {
        name: calibration.curve(test["label"], values, case=test["case_id"], bins=GROUPS)
        for name, values in found.items()
    }
    return _stacked(parts)


def decisions(test: pd.DataFrame, found: Mapping[str, NDArray], *, seed: int) -> pd.DataFrame:
    """Return the decision curve of each version, at the share of ill images of the test set.

    Parameters
    ----------
    test, found
        As for :func:`summaries`.
    seed : int
        Of the resampled people.

    Returns
    -------
    DataFrame
        version, then the columns of :func:`helpers.decision.curve`.
    """
    parts = {
        name: decision.curve(test["label"], values, case=test["case_id"], seed=seed)
        for name, values in found.items()
    }
    return _stacked(parts)


def _stacked(parts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(parts, names=["version"]).reset_index("version").reset_index(drop=True)
