"""The reporting checklist: which items this book answers, and who must answer the others.

The items stand in ``book/checklist.yml``, in our words; numbers in the answers are those of the
run.
"""

import html
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from helpers import paths

ANSWERED, AUTHORS, NOT_APPLICABLE = "answered", "authors", "not applicable"
STATUSES = (ANSWERED, AUTHORS, NOT_APPLICABLE)

#: What each status needs, beside the item and its topic.
_NEEDS = {ANSWERED: {"answer", "links"}, AUTHORS: {"answer", "who"}, NOT_APPLICABLE: {"reason"}}
_MAY = {ANSWERED: set(), AUTHORS: {"links"}, NOT_APPLICABLE: set()}
_KEY = re.compile(r"\{([^{}]+)\}")


class InvalidChecklist(ValueError):
    """``book/checklist.yml`` cannot be used; the message lists every problem."""


@dataclass(frozen=True)
class Item:
    """One item of a reporting guideline.

    Attributes
    ----------
    guideline, number, topic : str
        Which item, in our words.
    status : str
        One of :data:`STATUSES`.
    answer : str
        The answer, or why there is none; ``{key}`` stands for a number of the run.
    who : str
        Who must answer, where this book cannot.
    links : tuple of str
        ``notebook#cell`` or ``book/page``.
    """

    guideline: str
    number: str
    topic: str
    status: str
    answer: str
    who: str
    links: tuple[str, ...]


def read(path: Path | None = None) -> list[Item]:
    """Read the checklist.

    Parameters
    ----------
    path : Path, optional
        By default ``book/checklist.yml``.

    Returns
    -------
    list of Item

    Raises
    ------
    InvalidChecklist
        When an item stands twice, has no or an unknown status, or lacks what its status needs.

    Examples
    --------
    >>> sum(item.guideline == "CLAIM" for item in read())
    42
    """
    path = path or paths.root() / "book" / "checklist.yml"
    lists = yaml.safe_load(path.read_text(encoding="utf-8"))
    rows = [(part["list"], row) for part in lists for row in part["items"]]
    problems = [problem for name, row in rows for problem in _problems(name, row)]
    seen = Counter((name, str(row.get("item"))) for name, row in rows)
    problems += [f"{name} {item} stands twice" for (name, item), n in seen.items() if n > 1]
    if problems:
        raise InvalidChecklist("\n".join([f"{path.name} cannot be used:", *problems]))
    return [_item(name, row) for name, row in rows]


def keys(items: list[Item]) -> list[str]:
    """Return the numbers of the run that the answers name.

    Examples
    --------
    >>> "nb04.resnet50.auc" in keys(read())
    True
    """
    return list(dict.fromkeys(key for item in items for key in _KEY.findall(item.answer)))


def table(
    items: list[Item], shown: Mapping[str, str], link: Callable[[str], str], *, missing: str
) -> str:
    """Return the items of one guideline as HTML.

    Parameters
    ----------
    items : list of Item
        Of one guideline.
    shown : mapping of str to str
        HTML of each number that the run recorded.
    link : callable
        Address of a place of the book.
    missing : str
        What stands for a number that the run has not recorded yet.

    Returns
    -------
    str
        One ``table`` without blank lines.

    Examples
    --------
    >>> one = Item("CLAIM", "1", "a < b", "answered", "is {nb01.x}", "", ("book/index",))
    >>> found = table([one], {"nb01.x": "<b>7</b>"}, str, missing="")
    >>> "is <b>7</b>" in found, "a &lt; b" in found
    (True, True)
    """
    heads = ("Item", "Answer", "Where")
    head = "".join(f'<th scope="col" role="columnheader">{name}</th>' for name in heads)
    rows = "\n".join(_row(item, shown, link, missing=missing) for item in items)
    label = html.escape(items[0].guideline, quote=True)
    return (
        f'<div class="ledger-box"><table class="ledger" role="table" aria-label="{label}">\n'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>\n'
        f'<tbody role="rowgroup">\n{rows}\n</tbody></table></div>'
    )


def counted(items: list[Item]) -> str:
    """Say how many items have each status.

    Examples
    --------
    >>> counted(read()).count(";")
    2
    """
    found = Counter(item.status for item in items)
    words = {ANSWERED: "answered here", AUTHORS: "for others to answer"}
    return "; ".join(f"{found[status]} {words.get(status, status)}" for status in STATUSES)


def _problems(name: str, row: Mapping[str, object]) -> list[str]:
    where = f"  - {name} {row.get('item', '?')}"
    status = row.get("status")
    if status not in STATUSES:
        return [f"{where}: status {status!r}, expected one of {', '.join(STATUSES)}"]
    given = set(row) - {"item", "topic", "status"}
    needed = _NEEDS[status]
    lacking = sorted(needed - {key for key in given if row[key]})
    surplus = sorted(given - needed - _MAY[status])
    found = [f"{where}: {status} needs {', '.join(lacking)}"] if lacking else []
    found += [f"{where}: {status} has no place for {', '.join(surplus)}"] if surplus else []
    return found + ([] if row.get("topic") else [f"{where}: no topic"])


def _item(name: str, row: Mapping[str, object]) -> Item:
    return Item(
        guideline=name,
        number=str(row["item"]),
        topic=str(row["topic"]),
        status=str(row["status"]),
        answer=str(row.get("answer") or row.get("reason")),
        who=str(row.get("who", "")),
        links=tuple(row.get("links", ())),
    )


def _row(item: Item, shown: Mapping[str, str], link: Callable[[str], str], *, missing: str) -> str:
    kinds = {ANSWERED: "exact", AUTHORS: "remark", NOT_APPLICABLE: "open"}
    words = {ANSWERED: "answered", AUTHORS: f"for the {item.who}"}.get(item.status, item.status)
    words = words.replace("for the you", "for you")
    status = f'<span class="verdict verdict-{kinds[item.status]}">{html.escape(words)}</span>'
    text = _KEY.sub(lambda m: shown.get(m[1], missing), html.escape(item.answer, quote=False))
    links = " ".join(
        f'<span class="ledger-link"><a href="{html.escape(link(place), quote=True)}">'
        f"{_words(place)}</a></span>"
        for place in item.links
    )
    cells = (f"<strong>{html.escape(item.number)}</strong> {html.escape(item.topic)}",)
    cells += (f"{status} {text}", links)
    body = "".join(
        f'<td role="cell" data-head="{head}">{cell}</td>'
        for head, cell in zip(("Item", "Answer", "Where"), cells, strict=True)
    )
    return f'<tr role="row">{body}</tr>'


def _words(place: str) -> str:
    return html.escape(place.removeprefix("book/").replace("_", " ").replace("#", ": "))
