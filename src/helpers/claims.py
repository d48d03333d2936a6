"""What the two source documents print, by claim id, from ``book/claims.yml``.

A number's literal in that file is the number as printed: its decimals say how it was rounded.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from helpers import paths

_ID = re.compile(r"([PD]\d-\d\d)[a-z]*")
_NUMBERS = ("value", "low", "high")
_TEXTS = ("statement", "text", "unit", "source", "measured", "remark")
_LISTS = ("findings", "where")
_KNOWN = {"id", "derived", "recompute", *_NUMBERS, *_TEXTS, *_LISTS}


class InvalidClaims(ValueError):
    """``book/claims.yml`` cannot be used; the message lists every problem."""


@dataclass(frozen=True)
class Claim:
    """One published number.

    Attributes
    ----------
    id : str
        ``P1-01`` … for the thigh paper, ``D1-01`` … for DystoniaNet; letters after it mark parts
        of one claim.
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
    printed : mapping of str to Decimal
        ``value``, ``low`` and ``high`` with the printed decimals.
    derived : bool
        Not printed: it follows from printed numbers, and is labelled recomputed.
    recompute : mapping or None
        ``by``: a function of :mod:`helpers.recompute`; the other keys are its inputs.
    measured : str
        Key of a number that the run records; empty when the claim has none.
    remark : str
        Note for the page; ``{name}`` stands for a number that the recomputation returns.
    findings : tuple of str
        Ids of findings that concern the claim.
    where : tuple of str
        Notebook cells, as ``05_reader_comparison#figure-3``.
    """

    id: str
    statement: str
    text: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    source: str
    printed: dict[str, Decimal] = field(default_factory=dict, compare=False)
    derived: bool = False
    recompute: dict[str, Any] | None = field(default=None, compare=False)
    measured: str = ""
    remark: str = ""
    findings: tuple[str, ...] = ()
    where: tuple[str, ...] = ()

    @property
    def base(self) -> str:
        """Id of the claim that this row is a part of."""
        return _ID.fullmatch(self.id)[1]

    @property
    def label(self) -> str:
        """Evidence label of the number itself."""
        return "recomputed" if self.derived else "published"


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
    return read(paths.root() / "book" / "claims.yml")


def read(path: Path) -> dict[str, Claim]:
    """Read a file of claims.

    Parameters
    ----------
    path : Path
        A YAML list of mappings, one a claim.

    Returns
    -------
    dict of str to Claim
        In the file's order.

    Raises
    ------
    InvalidClaims
        When the file is no such list, or a row lacks a field, has an unknown one, repeats an id
        or holds text where a number belongs. All problems are listed.

    Examples
    --------
    The literal keeps its decimals:

    >>> str(read(paths.root() / "book" / "claims.yml")["P1-40"].printed["value"])
    '0.190'
    """
    try:
        # Scalars as written: 0.90 has two decimals, as a float it would have one.
        rows = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise InvalidClaims(f"{path.name} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidClaims(f"{path.name}: expected a list of claims, each '- {{id: …, …}}'.")
    problems = [problem for row in rows for problem in _problems(row)]
    ids = [str(row.get("id", "")) for row in rows]
    problems += [f"{name} stands twice" for name in sorted({i for i in ids if ids.count(i) > 1})]
    if problems:
        raise InvalidClaims(
            "\n".join([f"{path.name} cannot be used:", *map("  - {}".format, problems)])
        )
    return {row["id"]: _claim(row) for row in rows}


def _problems(row: dict) -> list[str]:
    name = str(row.get("id", "")) or f"the row {str(row)[:60]!r}"
    found = [f"{name}: no {key}" for key in ("id", "statement", "source") if not row.get(key)]
    if row.get("id") and not _ID.fullmatch(str(row["id"])):
        found.append(f"{name}: expected an id such as P1-01, D2-03 or P1-01a")
    unknown = sorted(set(row) - _KNOWN)
    known = ", ".join(sorted(_KNOWN))
    found += [f"{name}: unknown field {key!r}; available: {known}" for key in unknown]
    for key in _NUMBERS:
        if key in row and _decimal(row[key]) is None:
            found.append(f"{name}: {key} is {row[key]!r}, expected a number")
    found += [
        f"{name}: {key} is text, expected a list" for key in _LISTS if isinstance(row.get(key), str)
    ]
    if ("low" in row) != ("high" in row):
        found.append(f"{name}: one limit of an interval without the other")
    recompute = row.get("recompute")
    if recompute is not None and not (isinstance(recompute, dict) and "by" in recompute):
        found.append(f"{name}: recompute has no 'by', the name of a function")
    return found


def _decimal(text: object) -> Decimal | None:
    try:
        number = Decimal(str(text))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _claim(row: dict) -> Claim:
    printed = {key: Decimal(row[key]) for key in _NUMBERS if key in row}
    value, low, high = (float(printed[key]) if key in printed else None for key in _NUMBERS)
    return Claim(
        id=row["id"],
        statement=row["statement"],
        text=row.get("text") or _text(printed, value),
        value=value,
        low=low,
        high=high,
        unit=row.get("unit", ""),
        source=row["source"],
        printed=printed,
        derived=row.get("derived") == "true",
        recompute=row.get("recompute"),
        measured=row.get("measured", ""),
        remark=row.get("remark", ""),
        findings=tuple(row.get("findings", ())),
        where=tuple(row.get("where", ())),
    )


def _text(printed: dict[str, Decimal], value: float | None) -> str:
    if "low" in printed and value is not None:
        return f"{printed['value']:f} (95 % CI {printed['low']:f} to {printed['high']:f})"
    if "low" in printed:
        return f"{printed['low']:f} to {printed['high']:f}"
    return "" if value is None else f"{value:g}"
