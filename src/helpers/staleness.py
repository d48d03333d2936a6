"""What a step depends on, as hashes: its notebook, parameters, helper modules, data and lock.

Snakemake compares these stamps with those of the last run; a step whose stamps differ runs
again. Stamps are of content, so that touching a file without changing it runs nothing.
"""

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import grimp

from helpers import paths

PACKAGE = "helpers"


def of_notebook(path: Path) -> str:
    """Return the hash of a notebook's cells; stored outputs do not count.

    Parameters
    ----------
    path : Path
        The ``.ipynb`` file.

    Returns
    -------
    str
        Twelve hexadecimal digits.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    kept = [(c["id"], c["cell_type"], "".join(c["source"]), c["metadata"]) for c in cells]
    return of_value(kept)


def of_value(value: object) -> str:
    """Return the hash of a value that JSON can hold.

    Examples
    --------
    >>> of_value({"a": 1, "b": 2}) == of_value({"b": 2, "a": 1})
    True
    """
    return _digest(json.dumps(value, sort_keys=True).encode())


def of_file(path: Path) -> str:
    """Return the hash of a file's content, of which little is in memory at a time."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:12]


def of_folder(folder: Path) -> str:
    """Return the hash of the names and contents of all files below a folder.

    Parameters
    ----------
    folder : Path
        Walked as an author's scans are, :func:`helpers.paths.files_below`: links are followed,
        and what a system puts beside files does not count.

    Returns
    -------
    str
        Twelve hexadecimal digits.

    Raises
    ------
    FileNotFoundError
        When there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: name an existing one, or make it.")
    marks = [
        (path.relative_to(folder).as_posix(), of_file(path) if path.is_file() else None)
        for path in paths.files_below(folder)
    ]
    return of_value(marks)


def imports_of_notebook(path: Path) -> set[str]:
    """Return the modules of this package that a notebook's code cells import.

    Parameters
    ----------
    path : Path
        The ``.ipynb`` file.

    Returns
    -------
    set of str
        Full module names.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & _graph().modules


def closure(modules: Iterable[str]) -> list[str]:
    """Return modules with everything of this package that they import, however indirectly.

    Parameters
    ----------
    modules : iterable of str
        Full module names.

    Returns
    -------
    list of str
        Sorted; packages that hold a module are part of it, since importing runs them.

    Examples
    --------
    >>> closure(["helpers.claims"])
    ['helpers', 'helpers.claims', 'helpers.paths']
    """
    everything: set[str] = set()
    waiting = set(modules)
    while waiting:
        module = waiting.pop()
        everything.add(module)
        holders = {module.rsplit(".", level)[0] for level in range(1, module.count(".") + 1)}
        waiting |= (_graph().find_modules_directly_imported_by(module) | holders) - everything
    return sorted(everything)


def of_modules(modules: Iterable[str]) -> dict[str, str]:
    """Return the hash of each module of a closure and of each data file they name.

    Parameters
    ----------
    modules : iterable of str
        Full module names where the closure starts.

    Returns
    -------
    dict of str to str
        Module or data file name to hash.
    """
    stamps: dict[str, str] = {}
    for module in closure(modules):
        path = _file_of(module)
        stamps[module] = of_file(path)
        for data in _data_named_in(path):
            stamps[data.name] = of_file(data)
    return stamps


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(PACKAGE, cache_dir=None)


def _file_of(module: str) -> Path:
    base = Path(__file__).parent.joinpath(*module.split(".")[1:])
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def _data_named_in(path: Path) -> list[Path]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    words = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    folders = (Path(__file__).parent / "data", paths.root() / "book")
    return sorted(f for folder in folders for f in folder.glob("*.*") if f.name in words)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
