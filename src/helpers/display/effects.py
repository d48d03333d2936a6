"""Tables of the planted effect: how large it is where it is measured."""

import numpy as np
import pandas as pd

_EFFECTS = {"file": "realistic", "file_exaggerated": "exaggerated"}
_PLACES = {"own": "In each person's own region", "atlas": "At the template's place"}
_POSES = {"registered": "heads registered", "as_scanned": "heads as scanned"}


def readable_measured(table: pd.DataFrame) -> pd.DataFrame:
    """Show Cohen's d of patients against controls in each region.

    Parameters
    ----------
    table : DataFrame
        First result of :func:`helpers.effects.of_cohort`.

    Returns
    -------
    DataFrame
        One row a series and region; d with its interval in words.

    Examples
    --------
    >>> one = pd.DataFrame({"series": "file", "place": ["own", "atlas"], "region": "callosum",
    ...     "estimate": [-0.5, -0.2], "low": [-0.7, -0.4], "high": [-0.3, 0.0], "planted": -0.5})
    >>> readable_measured(one).iloc[0, 2:].tolist()
    ['-0.50', '-0.50 (-0.70 to -0.30)', '-0.20 (-0.40 to 0.00)']
    """
    rows = {}
    for row in table.to_dict("records"):
        key = _EFFECTS[row["series"]], row["region"]
        rows.setdefault(key, {"Planted": f"{row['planted']:.2f}"})[_PLACES[row["place"]]] = _d(row)
    shown = [
        {"Effect": effect, "Region": region, **cells} for (effect, region), cells in rows.items()
    ]
    return pd.DataFrame(shown, columns=["Effect", "Region", "Planted", *_PLACES.values()])


def readable_poses(table: pd.DataFrame) -> pd.DataFrame:
    """Show what the realistic effect is worth for each way that heads lie.

    Parameters
    ----------
    table : DataFrame
        Second result of :func:`helpers.effects.of_cohort`.

    Returns
    -------
    DataFrame
        One row a region; columns by pose and place.

    Examples
    --------
    >>> one = pd.DataFrame({"pose": "registered", "place": ["own", "atlas"], "region": "callosum",
    ...     "estimate": [-0.5, -0.2], "low": [-0.6, -0.3], "high": [-0.4, -0.1]})
    >>> readable_poses(one).iloc[0, 1:3].tolist()
    ['-0.50 (-0.60 to -0.40)', '-0.20 (-0.30 to -0.10)']
    """
    columns = [f"{_PLACES[place]}, {pose}" for pose in _POSES.values() for place in _PLACES]
    rows = {}
    for row in table.to_dict("records"):
        name = f"{_PLACES[row['place']]}, {_POSES[row['pose']]}"
        rows.setdefault(row["region"], {})[name] = _d(row)
    shown = [{"Region": region, **cells} for region, cells in rows.items()]
    return pd.DataFrame(shown, columns=["Region", *columns])


def reach_in_words(table: pd.DataFrame, *, pose: str, place: str = "atlas") -> str:
    """Say from which to which size, without sign, the effect is over the regions.

    Parameters
    ----------
    table : DataFrame
        Second result of :func:`helpers.effects.of_cohort`.
    pose, place : str
        As in the table.

    Returns
    -------
    str

    Examples
    --------
    >>> one = pd.DataFrame({"pose": "registered", "place": "atlas", "estimate": [-0.2, 0.35]})
    >>> reach_in_words(one, pose="registered")
    '0.20 to 0.35'
    """
    chosen = (table["pose"] == pose) & (table["place"] == place)
    sizes = table.loc[chosen, "estimate"].abs()
    return f"{sizes.min():.2f} to {sizes.max():.2f}" if len(sizes) else "undefined"


def _d(row: dict) -> str:
    if not np.isfinite(row["estimate"]):
        return "undefined"
    # Adding 0 turns -0.00 into 0.00.
    values = [round(row[name], 2) + 0.0 for name in ("estimate", "low", "high")]
    return "{:.2f} ({:.2f} to {:.2f})".format(*values)
