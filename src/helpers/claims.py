"""What the two source documents print, by claim id, from ``book/claims.yml``."""

from dataclasses import dataclass
from functools import cache

import yaml

from helpers import paths


@dataclass(frozen=True)
class Claim:
    """One published number.

    Attributes
    ----------
    id : str
        ``P1-01`` … for the thigh paper, ``D1-01`` … for DystoniaNet.
    statement : str
        What the source says, in our words.
    text : str
        As prose quotes it.
    value, low, high : float or None
        Number and printed interval.
    unit : str
        Unit of analysis.
    source : str
        Document and section.
    """

    id: str
    statement: str
    text: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    source: str


def get(claim_id: str) -> Claim:
    """Return a published claim.

    Parameters
    ----------
    claim_id : str
        For example ``"P1-17"``.

    Returns
    -------
    Claim

    Raises
    ------
    KeyError
        For an unknown id; the message lists those available.

    Examples
    --------
    >>> get("P1-17").value, get("P1-17").low, get("P1-17").high
    (0.91, 0.88, 0.93)
    """
    known = everything()
    if claim_id not in known:
        raise KeyError(f"No published claim {claim_id!r}. Available: {', '.join(known)}.")
    return known[claim_id]


@cache
def everything() -> dict[str, Claim]:
    """Return all published claims by id, in the file's order.

    Returns
    -------
    dict of str to Claim

    Examples
    --------
    >>> "P1-01" in everything()
    True
    """
    rows = yaml.safe_load((paths.root() / "book" / "claims.yml").read_text(encoding="utf-8"))
    return {row["id"]: _claim(row) for row in rows}


def _claim(row: dict) -> Claim:
    value, low, high = row.get("value"), row.get("low"), row.get("high")
    text = row.get("text")
    if text is None:
        text = f"{value:g}" if low is None else f"{value:.2f} (95 % CI {low:.2f} to {high:.2f})"
    return Claim(
        id=row["id"],
        statement=row["statement"],
        text=text,
        value=value,
        low=low,
        high=high,
        unit=row.get("unit", ""),
        source=row["source"],
    )
