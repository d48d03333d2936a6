"""Where things are: the repository, the results of a profile, the data in the package."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Files that systems put beside scans, in small letters.
IGNORED = {"thumbs.db", "desktop.ini"}


def root(start: str | Path | None = None) -> Path:
    """Return the repository's top folder, searched upward from a folder.

    Parameters
    ----------
    start : str or Path, optional
        Folder to search from; the current folder when not given.

    Returns
    -------
    Path
        The nearest folder that holds both ``Snakefile`` and ``_config.yml``.

    Raises
    ------
    FileNotFoundError
        When no folder upward holds them.

    Examples
    --------
    >>> (root() / "Snakefile").exists()
    True
    """
    here = Path(start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "Snakefile").is_file() and (folder / "_config.yml").is_file():
            return folder
    raise FileNotFoundError(
        f"No folder above {here} holds Snakefile and _config.yml, which mark the repository. "
        "Change into your clone of it and run the command again."
    )


def results(profile: str) -> Path:
    """Return the folder that holds what a profile's notebooks write.

    The environment variable ``PAPER_RESULTS`` replaces ``results`` in the repository, for
    example with a larger disk.

    Parameters
    ----------
    profile : str
        Name of the profile, for example ``"demo"``.

    Returns
    -------
    Path
        ``results/<profile>``; it need not exist yet.

    Examples
    --------
    >>> results("demo").name
    'demo'
    """
    base = os.environ.get("PAPER_RESULTS")
    return root() / (base or "results") / profile


def keras_cache() -> Path:
    """Return the folder where Keras keeps downloaded weights.

    Returns
    -------
    Path
        ``~/.keras/models``, or below ``$KERAS_HOME``; it need not exist.
    """
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"


def package_data(name: str) -> Path:
    """Return the path of a data file that comes with the package.

    Parameters
    ----------
    name : str
        File name, for example ``"phantom_atlas.csv"``.

    Returns
    -------
    Path
        The file in ``src/helpers/data``.

    Raises
    ------
    FileNotFoundError
        When there is no such file; the message lists those that exist.
    """
    folder = Path(__file__).parent / "data"
    path = folder / name
    if not path.is_file():
        available = ", ".join(sorted(p.name for p in folder.iterdir()))
        raise FileNotFoundError(f"No package data {name!r}. Available: {available}.")
    return path


def real_data() -> Path:
    """Return the folder of real scans that tests and benchmarks use.

    Returns
    -------
    Path
        What the environment variable ``PAPER_TEST_DATA`` names; without it a path below which
        nothing exists, so that what needs the scans is skipped.

    Examples
    --------
    >>> (real_data() / "no such folder").is_dir()
    False
    """
    return Path(os.environ.get("PAPER_TEST_DATA") or os.devnull)


def files_below(folder: str | Path) -> list[Path]:
    """Return the files below a folder of scans; links are followed, circles left.

    Parameters
    ----------
    folder : str or Path
        Where to start.

    Returns
    -------
    list of Path
        In order. Hidden files and folders, and those of :data:`IGNORED`, are left out; a link
        to nothing is not.

    Raises
    ------
    OSError
        When a folder below cannot be listed: what it holds is not known to be nothing.
    """
    found, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_not_listed):
        here = os.path.realpath(place)
        if here in seen:
            folders.clear()
            continue
        seen.add(here)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        hidden = [name for name in names if name.startswith(".") or name.lower() in IGNORED]
        found += [Path(place, name) for name in names if name not in hidden]
    return sorted(found)


def _not_listed(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Give a temporary path beside the target and rename it when the block succeeds.

    A reader never sees a half-written file, and a failed block leaves the target as it was.

    Parameters
    ----------
    target : str or Path
        The file to be written; its folder is made if needed.

    Yields
    ------
    Path
        Temporary path with the target's suffixes, in the same folder.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with atomic_path(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text(), len(list(target.parent.iterdir()))
    ('whole', 1)
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4().hex}{''.join(target.suffixes)}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
