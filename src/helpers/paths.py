"""Where things are: the repository, the results of a profile, the data in the package."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
