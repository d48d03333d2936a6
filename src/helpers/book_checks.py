"""Checks of a built book: every page, read as a browser would find it."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag

NOT_FOR_CLINICAL_USE = "Research software. Not for clinical use."
_DIRECTIVE = re.compile(r"\{(?:csv-table|list-table|figure|image|admonition|note|glossary|raw)\}")
STYLE_ADDRESS = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s]+)""")


def verify(html_folder: Path, toc: Path) -> list[str]:
    """Check a built book page by page.

    Parameters
    ----------
    html_folder : Path
        Folder of the built pages.
    toc : Path
        The ``_toc.yml`` it was built from.

    Returns
    -------
    list of str
        One sentence per problem; empty when the book is fit to read.
    """
    problems = [
        f"{page}.html is in the table of contents but was not built."
        for page in contents(toc)
        if not (html_folder / f"{page}.html").is_file()
    ]
    read = cache(lambda path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser"))
    for path in _pages(html_folder):
        name = path.relative_to(html_folder).as_posix()
        page = read(path)
        found = [*_content_problems(page), *_figure_problems(page), *_foreign(page)]
        found += _broken_links(page, path, read)
        problems += [f"{name}: {problem}" for problem in found]
    return problems + [
        f"{path.relative_to(html_folder).as_posix()} loads {address} from another host."
        for path in sorted(html_folder.rglob("*.css"))
        for address in STYLE_ADDRESS.findall(path.read_text(encoding="utf-8"))
    ]


def contents(toc: Path) -> list[str]:
    """Return the pages of a table of contents, in reading order.

    Parameters
    ----------
    toc : Path
        A ``_toc.yml`` of Jupyter Book.

    Returns
    -------
    list of str
        Paths below the source folder, without suffix.
    """

    def below(node: object) -> Iterator[str]:
        if isinstance(node, list):
            for item in node:
                yield from below(item)
        elif isinstance(node, dict):
            yield from (str(node[key]) for key in ("root", "file") if key in node)
            for key in ("parts", "chapters", "sections"):
                yield from below(node.get(key))

    return list(below(yaml.safe_load(toc.read_text(encoding="utf-8"))))


def _pages(html_folder: Path) -> list[Path]:
    """Pages a reader can open; the top index only forwards to the first of them."""
    found = (p for p in html_folder.rglob("*.html") if "_static" not in p.parts)
    return sorted(p for p in found if p != html_folder / "index.html")


def _content_problems(page: BeautifulSoup) -> Iterator[str]:
    if NOT_FOR_CLINICAL_USE not in page.get_text(" "):
        yield f"the line {NOT_FOR_CLINICAL_USE!r} is missing."
    for element in page.select(".output.traceback, .papermill-error-cell-tag, .output.error"):
        yield f"a cell stopped with an error: {_start(element)}"
    for element in page.select(".problematic, .system-message, aside.system-message"):
        yield f"a reference or role was not understood: {_start(element)}"
    article = page.find("article")
    if article is not None and "{glue:" in article.get_text():
        yield "a number was left as {glue:…}."
    # A caption with a backtick ends the opening line of a fence, and its table is shown as text.
    for words in article.find_all(string=_DIRECTIVE) if article is not None else ():
        yield f"a directive was left as text: {_DIRECTIVE.search(words)[0]}"


def _figure_problems(page: BeautifulSoup) -> Iterator[str]:
    for figure in page.select("article figure"):
        shown = figure.find(["img", "svg", "table", "canvas", "nav"])
        if shown is None:
            yield f"the figure {figure.get('id', '')!r} is empty."
    for image in page.select("article img"):
        words = str(image.get("alt", "")).strip()
        if not words or words == image.get("src"):
            yield f"the image {image.get('src')} has no alternative text."


def _foreign(page: BeautifulSoup) -> Iterator[str]:
    for element in page.find_all(True):
        for address in _loaded(element):
            if urlsplit(address.strip()).netloc:
                yield f"<{element.name}> loads {address} from another host."


def _loaded(element: Tag) -> list[str]:
    """Addresses that a browser fetches by itself for an element."""
    found = [str(element[key]) for key in ("src", "data", "poster") if element.has_attr(key)]
    found += [part.split()[0] for part in str(element.get("srcset", "")).split(",") if part.strip()]
    if element.name == "link":
        found.append(str(element.get("href", "")))
    styles = str(element.get("style", "")) + (element.get_text() if element.name == "style" else "")
    return found + STYLE_ADDRESS.findall(styles)


def _broken_links(
    page: BeautifulSoup, path: Path, read: Callable[[Path], BeautifulSoup]
) -> Iterator[str]:
    for element in page.select("a[href], img[src], script[src], link[href]"):
        address = str(element.get("href") or element.get("src"))
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not target.is_file() or target.stat().st_size == 0:
            yield f"{address} leads nowhere."
            continue
        on_page = not parts.fragment or target.suffix != ".html"
        if not on_page and read(target).find(id=unquote(parts.fragment)) is None:
            yield f"{address} leads to a place that is not on that page."


def _start(element: Tag) -> str:
    return " ".join(element.get_text(" ").split())[:120]
