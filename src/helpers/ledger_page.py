"""The claims page as HTML: the ledger's rows, the findings, and links to notebook cells.

Rows of a table as a browser reads them without any script; ``book/ledger.js`` adds the filter and
``book/ledger.css`` makes cards of the rows on a narrow screen. All text is escaped here.
"""

import html
from collections.abc import Callable, Iterable, Mapping

from helpers import ledger, record
from helpers.claims import Claim
from helpers.findings import Finding
from helpers.ledger import Row
from helpers.recompute import Reading

#: Short name of each verdict, for its class.
KINDS = {
    ledger.EXACT: "exact",
    ledger.REMARK: "remark",
    ledger.CONTRADICTED: "contradicted",
    ledger.CONTRADICTED_IF: "contradicted",
    ledger.NOT_CHECKABLE: "open",
    ledger.TESTED: "tested",
    ledger.TESTED_OWN: "tested",
    ledger.NOT_RUN: "tested",
}

_HEADS = ("Claim", "Printed", "Recomputed", "Measured in this run", "Verdict", "Where")

Linker = Callable[[str], str]


def claims_table(rows: Iterable[Row], shown: Mapping[str, str], link: Linker) -> str:
    """Return the table of all claims.

    Parameters
    ----------
    rows : iterable of Row
        From :func:`helpers.ledger.build`.
    shown : mapping of str to str
        HTML of each number that the run recorded, as prose shows it.
    link : callable
        Address of a notebook cell given as ``notebook#cell``.

    Returns
    -------
    str
        One ``table`` without blank lines, so that Markdown leaves it alone.

    Examples
    --------
    >>> table = claims_table(ledger.build(), {}, str)
    >>> 'id="P1-40"' in table, "\\n\\n" in table
    (True, False)
    """
    body = [_claim_row(row, shown, link) for row in rows]
    return _table("ledger-claims", "Every claim with its verdict", _HEADS, body)


def findings_table(found: Iterable[Finding]) -> str:
    """Return the table of findings.

    Parameters
    ----------
    found : iterable of Finding
        From :func:`helpers.findings.build`.

    Returns
    -------
    str

    Examples
    --------
    >>> one = Finding("A3-01", "a < b", "e", "n", "s", ("P1-01",))
    >>> table = findings_table([one])
    >>> "a &lt; b" in table, 'href="#P1-01"' in table
    (True, True)
    """
    heads = (
        *("Finding", "Evidence (recomputed, or the text)", "What it does not imply"),
        "What would correct or confirm it",
    )
    body = [_finding_row(finding, heads) for finding in found]
    return _table("ledger-findings", "Findings beside single claims", heads, body)


def summary(rows: list[Row]) -> str:
    """Return how many claims have each verdict, as a list; derived ones are counted apart.

    Examples
    --------
    >>> "recomputed exactly" in summary(ledger.build())
    True
    """
    meanings = {
        ledger.EXACT: "the printed numbers give it, to the printed digit",
        ledger.REMARK: "they give it under a condition, which is named",
        ledger.CONTRADICTED: "no admissible reading of them gives it",
        ledger.CONTRADICTED_IF: "the condition is this book's reading, not the paper's",
        ledger.NOT_CHECKABLE: "nothing printed decides it",
        ledger.TESTED: "nothing printed decides it; the run has a number for it",
        ledger.TESTED_OWN: "nothing printed decides it; the run has a number for it",
        ledger.NOT_RUN: "nothing printed decides it; the run will have a number for it",
    }
    items = [
        f"<li>{_verdict(verdict)} <strong>{printed}</strong> {meanings[verdict]}"
        f"{_apart(sums, derived)}</li>"
        for verdict, (printed, sums, derived) in ledger.counts_apart(rows).items()
    ]
    return f'<ul class="ledger-summary">{"".join(items)}</ul>'


def controls(rows: list[Row]) -> str:
    """Return the filter above the table; hidden until the script runs.

    Examples
    --------
    >>> controls(ledger.build()).count("<select")
    3
    """
    verdicts = list(ledger.counts(rows))
    sources = list(dict.fromkeys(_study(row.claim) for row in rows))
    units = sorted({row.claim.unit for row in rows if row.claim.unit})
    fields = [
        '<label>Search <input type="search" id="ledger-text" autocomplete="off"></label>',
        _select("verdict", "Verdict", verdicts),
        _select("source", "Source", sources),
        _select("unit", "Unit", units),
        '<button type="button" id="ledger-clear">Show all</button>',
        '<p id="ledger-count" role="status"></p>',
    ]
    return f'<form class="ledger-filter" id="ledger-filter" hidden>{"".join(fields)}</form>'


def csv_rows(rows: Iterable[Row]) -> Iterable[tuple[str, ...]]:
    """Yield the ledger as rows of text, heads first, for the download.

    Examples
    --------
    >>> next(iter(csv_rows(ledger.build())))[:3]
    ('id', 'claim', 'label of the claim')
    """
    yield (
        *("id", "claim", "label of the claim", "printed", "unit", "source"),
        *("recomputed", "low", "high", "interval method", "how"),
        *("measured", "measured low", "measured high", "measured label", "weights"),
        *("verdict", "remark", "findings"),
    )
    for row in rows:
        claim, reading, measured = row.claim, row.reading, row.measured or {}
        values = [
            *(claim.id, claim.statement, claim.label, claim.text, claim.unit, claim.source),
            *((reading.value, reading.low, reading.high, reading.method) if reading else ("",) * 4),
            row.outcome.how,
            *(measured.get(key, "") for key in ("value", "low", "high", "label", "weights")),
            *(row.verdict, row.remark, " ".join(claim.findings)),
        ]
        yield tuple("" if value is None else str(value) for value in values)


def _apart(sums: int, derived: int) -> str:
    parts = [f"{sums} of them only add up" if sums else ""]
    parts += [f"beside them {derived} that are not printed but derived here" if derived else ""]
    found = "; ".join(filter(None, parts))
    return f" ({found})" if found else ""


def _claim_row(row: Row, shown: Mapping[str, str], link: Linker) -> str:
    claim = row.claim
    unit = f"; unit: {_safe(claim.unit)}" if claim.unit else ""
    about = f'<span class="ledger-quiet">{_safe(claim.source)}{unit}</span>'
    number = "not printed" if claim.derived else _safe(claim.text or "stated")
    cells = [
        f'<a class="ledger-id" href="#{claim.id}">{claim.id}</a> {_safe(claim.statement)} {about}',
        number if claim.derived else f"{number} {record.badge('published')}",
        _recomputed(row),
        _measured(row, shown),
        f"{_verdict(row.verdict)} {_safe(row.remark)}",
        _where(row, link),
    ]
    data = {"verdict": row.verdict, "source": _study(claim), "unit": claim.unit}
    marks = "".join(f' data-{key}="{_safe(value)}"' for key, value in data.items())
    return f'<tr id="{claim.id}"{marks}>{_cells(cells, _HEADS)}</tr>'


def _recomputed(row: Row) -> str:
    how = f'<span class="ledger-quiet">{_safe(row.outcome.how)}</span>' if row.outcome.how else ""
    text = _reading_text(row.reading, row.claim)
    if not text and row.outcome.within is not None:
        low, high = row.outcome.within
        text = "no bound" if (low, high) == (0.0, 1.0) else f"bounds {low:.2f} to {high:.2f}"
    return f"{_safe(text)} {record.badge('recomputed')} {how}" if text else _QUIET_NOTHING


def _measured(row: Row, shown: Mapping[str, str]) -> str:
    if not row.claim.measured:
        return _QUIET_NOTHING
    return shown.get(row.claim.measured) or f'<span class="ledger-quiet">{ledger.NOT_RUN}</span>'


_QUIET_NOTHING = '<span class="ledger-none">–</span>'


def _reading_text(reading: Reading | None, claim: Claim) -> str:
    if reading is None:
        return ""
    if reading.span is not None:
        low, high = reading.span
        return f"{low:.3g} to {high:.3g}" if low else f"at most {high:.2g}"
    exponents = [int(number.as_tuple().exponent) for number in claim.printed.values()]
    digits = max([-e for e in exponents], default=0)
    digits = digits + 2 if digits else 0

    def one(value: float) -> str:
        return f"{value:,.{0 if float(value).is_integer() and not digits else digits or 2}f}"

    span = "" if reading.low is None else f"{one(reading.low)} to {one(reading.high)}"
    if reading.value is None:
        return span
    if not span or "low" not in claim.printed:
        return one(reading.value)
    return f"{one(reading.value)} (95 % CI {span}, {reading.method})"


def _where(row: Row, link: Linker) -> str:
    places = list(row.claim.where)
    if not places and row.measured and row.measured.get("cell"):
        places.append(f"{row.measured['notebook']}#{row.measured['cell']}")
    links = [
        f'<a href="{_safe(link(place))}">{_safe(place.partition("#")[0][:2])} '
        f"<code>{_safe(place.partition('#')[2])}</code></a>"
        for place in dict.fromkeys(places)
    ]
    links += [f'<a href="#{name}">{name}</a>' for name in row.claim.findings]
    return " ".join(f'<span class="ledger-link">{text}</span>' for text in links)


def _finding_row(finding: Finding, heads: tuple[str, ...]) -> str:
    concerned = " ".join(f'<a href="#{name}">{name}</a>' for name in finding.claims)
    cells = [
        f'<a class="ledger-id" href="#{finding.id}">{finding.id}</a> {_safe(finding.finding)}',
        f'{_safe(finding.evidence)} <span class="ledger-quiet">{concerned}</span>',
        _safe(finding.not_implied),
        _safe(finding.settled_by),
    ]
    return f'<tr id="{finding.id}">{_cells(cells, heads)}</tr>'


def _table(name: str, label: str, heads: Iterable[str], body: Iterable[str]) -> str:
    # Roles keep the table a table for screen readers where the style sheet turns rows into cards.
    head = "".join(f'<th scope="col" role="columnheader">{_safe(text)}</th>' for text in heads)
    rows = "\n".join(text.replace("<tr ", '<tr role="row" ', 1) for text in body)
    return (
        f'<div class="ledger-box"><table class="ledger" id="{name}" role="table" '
        f'aria-label="{_safe(label)}">\n<thead role="rowgroup"><tr role="row">{head}</tr></thead>\n'
        f'<tbody role="rowgroup">\n{rows}\n</tbody></table></div>'
    )


def _cells(cells: Iterable[str], heads: Iterable[str]) -> str:
    return "".join(
        f'<td role="cell" data-head="{_safe(head)}">{cell}</td>'
        for cell, head in zip(cells, heads, strict=True)
    )


def _select(key: str, name: str, values: Iterable[str]) -> str:
    options = "".join(f"<option>{_safe(value)}</option>" for value in values)
    every = '<option value="">all</option>'
    return f'<label>{name} <select data-key="{key}">{every}{options}</select></label>'


def _verdict(verdict: str) -> str:
    return f'<span class="verdict verdict-{KINDS[verdict]}">{_safe(verdict)}</span>'


def _study(claim: Claim) -> str:
    return "thigh (Yang 2021)" if claim.id.startswith("P1") else "brain (DystoniaNet)"


def _safe(text: object) -> str:
    return html.escape(" ".join(str(text).split()), quote=True)
