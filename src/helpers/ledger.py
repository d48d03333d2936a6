"""Every published claim with what was recomputed or measured, and the verdict that follows.

One rule gives all verdicts, from the readings that :mod:`helpers.recompute` returns:

=============================== ==========================================================
recomputed exactly              a reading without a condition rounds to what is printed
recomputed with a remark        only a reading with a condition does; the condition is shown
contradicted                    no admissible reading does
contradicted if the images      the same, under a reading that this book chose; the verdict
count as independent            carries its condition
not checkable from what is      nothing printed decides it, or it only lies within bounds
printed
tested on phantom               nothing printed decides it, and the run measured it
=============================== ==========================================================

A phantom never contradicts a claim. A value measured on it stands beside a recomputed one and
does not change its verdict.
"""

import csv
import json
import string
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from helpers import claims, paths, published, recompute
from helpers.claims import Claim
from helpers.recompute import Outcome, Reading

EXACT = "recomputed exactly"
REMARK = "recomputed with a remark"
CONTRADICTED = "contradicted"
CONTRADICTED_IF = f"{CONTRADICTED} if {recompute.INDEPENDENT}"
NOT_CHECKABLE = "not checkable from what is printed"
TESTED = "tested on phantom"
TESTED_OWN = "tested on your data"
NOT_RUN = "not run yet"

#: In the order of the page.
VERDICTS = (EXACT, REMARK, CONTRADICTED, CONTRADICTED_IF, NOT_CHECKABLE, TESTED)

#: Remark of a number that only agrees with others of the same table or sentence.
ADDS_UP = "Adds up with other printed numbers; that checks the print, not the study."

#: Recomputations that only add and subtract printed numbers.
_SUMS = {"table_2", "table_2_sums", "total", "complement"}

#: What a run can turn the expected "tested on phantom" into, without a change of verdict.
_TESTED_SOMEHOW = {TESTED, TESTED_OWN, NOT_RUN}


class LedgerError(ValueError):
    """The ledger cannot be made; the message says which claim and why."""


@dataclass(frozen=True)
class Row:
    """One claim and its verdict.

    Attributes
    ----------
    claim : Claim
        As printed.
    outcome : Outcome
        What recomputing it gave.
    reading : Reading or None
        The reading behind the verdict, or the nearest to the printed number where none agrees.
    measured : dict or None
        The run's record of the claim's number, from ``numbers.json``.
    verdict : str
        One of :data:`VERDICTS`, or :data:`TESTED_OWN` or :data:`NOT_RUN` in the place of the last.
    remark : str
        The condition of the reading and the claim's own note.
    """

    claim: Claim
    outcome: Outcome
    reading: Reading | None
    measured: dict | None
    verdict: str
    remark: str


def build(
    printed: Mapping[str, Claim] | None = None, numbers: Mapping[str, dict] | None = None
) -> list[Row]:
    """Recompute every claim and give its verdict.

    Parameters
    ----------
    printed : mapping of str to Claim, optional
        By default ``book/claims.yml``.
    numbers : mapping of str to dict, optional
        The run's numbers by key (:func:`numbers_of`); None when nothing was run yet.

    Returns
    -------
    list of Row
        In the file's order.

    Raises
    ------
    LedgerError
        When a claim's recomputation cannot run or its remark names an unknown number.

    Examples
    --------
    >>> rows = {row.claim.id: row for row in build()}
    >>> rows["P1-43"].verdict, rows["P1-40"].verdict
    ('recomputed with a remark', 'contradicted if the images count as independent')
    """
    printed = claims.everything() if printed is None else printed
    return [_row(claim, printed, numbers) for claim in printed.values()]


def agrees(reading: Reading, printed: Mapping[str, object]) -> bool:
    """Say whether a reading gives every printed number, to the printed decimals.

    Parameters
    ----------
    reading : Reading
        Recomputed.
    printed : mapping of str to Decimal
        ``value``, ``low`` and ``high`` where printed.

    Returns
    -------
    bool

    Examples
    --------
    >>> from decimal import Decimal
    >>> agrees(Reading(0.9462), {"value": Decimal("0.94")})
    False
    >>> agrees(Reading(0.9462, cut=True), {"value": Decimal("0.94")})
    True
    """
    if not printed:
        return False
    if reading.span is not None:
        low, high = published.rounding_range(printed["value"])
        return reading.span[0] <= high and low <= reading.span[1]
    compare = published.cut_to if reading.cut else published.rounds_to
    found = {key: getattr(reading, key) for key in printed}
    return all(v is not None and compare(v, printed[key]) for key, v in found.items())


def counts(rows: list[Row]) -> dict[str, int]:
    """Count the rows of each verdict, in the order of the page.

    Examples
    --------
    >>> set(counts(build())) <= {*VERDICTS, NOT_RUN}
    True
    """
    found = Counter(row.verdict for row in rows)
    order = (*VERDICTS, TESTED_OWN, NOT_RUN)
    return {verdict: found[verdict] for verdict in order if found[verdict]}


def counts_apart(rows: list[Row]) -> dict[str, tuple[int, int, int]]:
    """Count the rows of each verdict that are printed, of these sums, and that are derived.

    Returns
    -------
    dict of str to tuple of int
        Printed, of these those that only add up (:data:`ADDS_UP`), and derived ones, which the
        source does not print.

    Examples
    --------
    >>> rows = build()
    >>> sum(printed + derived for printed, _, derived in counts_apart(rows).values()) == len(rows)
    True
    """
    found = {}
    for verdict in counts(rows):
        own = [row for row in rows if row.verdict == verdict]
        printed = [row for row in own if not row.claim.derived]
        sums = sum(ADDS_UP in row.remark for row in printed)
        found[verdict] = (len(printed), sums, len(own) - len(printed))
    return found


def numbers_of(folder: Path) -> dict[str, dict] | None:
    """Return a run's numbers by key, or None when there is no run.

    Parameters
    ----------
    folder : Path
        ``results/<profile>``.

    Returns
    -------
    dict or None
    """
    path = folder / "numbers.json"
    if not path.is_file():
        return None
    return {item["key"]: item for item in json.loads(path.read_text(encoding="utf-8"))}


def expected() -> dict[str, str]:
    """Return the pinned verdicts by claim id, from ``book/expected_verdicts.csv``.

    Examples
    --------
    >>> expected()["P1-40"]
    'contradicted if the images count as independent'
    """
    path = paths.root() / "book" / "expected_verdicts.csv"
    with open(path, encoding="utf-8", newline="") as file:
        return {row["id"]: row["verdict"] for row in csv.DictReader(file)}


def changed(rows: list[Row], pinned: Mapping[str, str]) -> list[str]:
    """Return a sentence for every verdict that is not the pinned one.

    Parameters
    ----------
    rows : list of Row
        From :func:`build`.
    pinned : mapping of str to str
        Expected verdict by id.

    Returns
    -------
    list of str
        Empty when nothing changed. "Tested on phantom" is met by a run on other data, and by no
        run at all.

    Examples
    --------
    >>> changed(build(), expected())
    []
    """
    found = {row.claim.id: row for row in rows}
    problems = [
        f"{name} is expected but is no claim any more." for name in pinned if name not in found
    ]
    for name, row in found.items():
        wanted = pinned.get(name)
        if wanted is None:
            problems.append(f"{name} has no expected verdict; it is now: {row.verdict}.")
        elif row.verdict != wanted and not {row.verdict, wanted} <= _TESTED_SOMEHOW:
            problems.append(_change(row, wanted))
    return problems


def report(profile: str) -> tuple[list[str], list[str]]:
    """Make the ledger of a profile and compare it with the pinned verdicts.

    Parameters
    ----------
    profile : str
        Name of the results folder.

    Returns
    -------
    tuple of list of str
        One line a verdict, and one sentence for each row that changed.
    """
    rows = build(numbers=numbers_of(paths.results(profile)))
    lines = [
        f"{printed:4d}  {verdict}{f', and {derived} derived here' if derived else ''}"
        for verdict, (printed, _, derived) in counts_apart(rows).items()
    ]
    return lines, changed(rows, expected())


def filled(text: str, facts: Mapping[str, str], *, of: str) -> str:
    """Put recomputed numbers into a note.

    Parameters
    ----------
    text : str
        With ``{name}`` for each number.
    facts : mapping of str to str
        Numbers as shown.
    of : str
        Whose note it is, for the message.

    Returns
    -------
    str

    Raises
    ------
    LedgerError
        For a name that is not among the facts.

    Examples
    --------
    >>> filled("It lies below {most}.", {"most": "0.91"}, of="P1-01")
    'It lies below 0.91.'
    """
    wanted = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    unknown = sorted(wanted - set(facts))
    if unknown:
        available = ", ".join(facts) or "none"
        raise LedgerError(f"{of}: its note names {', '.join(unknown)}. Available: {available}.")
    return text.format_map(facts)


def _row(claim: Claim, printed: Mapping[str, Claim], numbers: Mapping[str, dict] | None) -> Row:
    measured = None if numbers is None else numbers.get(claim.measured)
    try:
        outcome = recompute.run(claim, printed)
    except recompute.NothingFits as reason:
        return Row(claim, Outcome(), None, measured, NOT_CHECKABLE, str(reason))
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError) as error:
        raise LedgerError(
            f"{claim.id}: {claim.recompute['by']} stopped: {type(error).__name__}: {error}. "
            "Check its inputs in book/claims.yml."
        ) from error
    reading = _best(claim, outcome)
    has_run = numbers is not None and not _of_a_network_left_out(claim, numbers)
    verdict = _verdict(claim, outcome, reading, measured, has_run=has_run)
    condition = reading.condition if reading and verdict == REMARK else ""
    sums = verdict == EXACT and not claim.derived and (claim.recompute or {}).get("by") in _SUMS
    notes = [
        f"Only {condition}." if condition else "",
        ADDS_UP if sums else "",
        filled(claim.remark, outcome.facts, of=claim.id),
    ]
    return Row(claim, outcome, reading, measured, verdict, " ".join(filter(None, notes)))


def _best(claim: Claim, outcome: Outcome) -> Reading | None:
    """The first reading that agrees, those without a condition first; else the nearest."""
    ordered = sorted(outcome.readings, key=lambda reading: bool(reading.condition))
    fitting = [reading for reading in ordered if agrees(reading, claim.printed)]
    if fitting:
        return fitting[0]

    def distance(reading: Reading) -> float:
        if reading.value is None or claim.value is None:
            return 0.0
        return abs(reading.value - claim.value)

    return min(ordered, key=distance, default=None)


def _verdict(
    claim: Claim, outcome: Outcome, reading: Reading | None, measured: dict | None, *, has_run: bool
) -> str:
    if reading is not None:
        if not agrees(reading, claim.printed):
            return f"{CONTRADICTED} if {reading.premise}" if reading.premise else CONTRADICTED
        return REMARK if reading.condition else EXACT
    if outcome.within is not None:
        low, high = published.rounding_range(claim.printed["value"])
        return (
            NOT_CHECKABLE
            if outcome.within[0] <= high and low <= outcome.within[1]
            else CONTRADICTED
        )
    if _searched(claim, outcome):
        return CONTRADICTED
    if not claim.measured:
        return NOT_CHECKABLE
    if not has_run:
        return NOT_RUN
    if measured is None:
        return NOT_CHECKABLE
    return TESTED if measured["label"] == "phantom" else TESTED_OWN


def _of_a_network_left_out(claim: Claim, numbers: Mapping[str, dict]) -> bool:
    """Whether a claim is about a network of which the run records nothing at all."""
    notebook, *network = (claim.measured or "").split(".")[:2]
    ran = {key.split(".")[1] for key in numbers if key.startswith(f"{notebook}.")}
    return notebook == "nb03" and bool(ran) and not ran & set(network)


def _searched(claim: Claim, outcome: Outcome) -> bool:
    """Whether a search for readings came back empty, unlike a note that seeks none."""
    return bool(claim.recompute) and bool(outcome.how) and not outcome.readings


def _change(row: Row, wanted: str) -> str:
    claim, reading = row.claim, row.reading
    got = "nothing comparable"
    if reading is not None and reading.span is not None:
        got = f"{reading.span[0]:.4g} to {reading.span[1]:.4g}"
    elif reading is not None and reading.value is not None:
        got = f"{reading.value:.4g}"
    missing = ""
    if claim.measured and row.measured is None and wanted in _TESTED_SOMEHOW:
        missing = f" The run records no number {claim.measured!r}."
    return (
        f"{claim.id} ({claim.statement}) was {wanted!r}, is {row.verdict!r}: printed "
        f"{claim.text or 'nothing'}, recomputed {got}.{missing}"
    )
