"""Brain scans as the network reads them, kept on disk and read a few at a time.

Reading a scan (decoding, turning, resampling, scaling) gives the same array each time, so it is
done once. ``cache/brain/<checksum>.npy`` holds one scan and, written last, a ``.json`` beside it
the checksum of its bytes; the name is a checksum of everything the array depends on. What a killed
run has finished is used again; a file that is damaged, or whose scan or reading has changed, is
made anew, and no other.
"""

import hashlib
import inspect
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from helpers import brain, head_box, images, paths, volumes

#: Modules whose code makes an array what it is.
READING = (brain, head_box, volumes, images)


class Volumes:
    """Scans on disk that are used like one array, of which only what is asked for is in memory.

    Attributes
    ----------
    files : tuple of Path
        One ``.npy`` a subject, each of one shape (x, y, z).
    marks : tuple of str
        One a subject: what its array depends on.
    shape : tuple of int
        Subjects, x, y, z, 1.

    Parameters
    ----------
    files, marks
        See above; without marks, the files' names.

    Examples
    --------
    >>> import tempfile
    >>> files = [Path(tempfile.mkdtemp()) / f"{k}.npy" for k in range(3)]
    >>> for k, file in enumerate(files):
    ...     np.save(file, np.full((2, 2, 2), k, np.float32))
    >>> scans = Volumes(files)
    >>> scans.shape, scans[np.array([False, True, True])].mean((1, 2, 3, 4)).tolist()
    ((3, 2, 2, 2, 1), [1.0, 2.0])
    """

    dtype = np.dtype(np.float32)
    ndim = 5

    def __init__(self, files: Sequence[Path], marks: Sequence[str] | None = None) -> None:
        self.files = tuple(files)
        self.marks = tuple(marks or (str(file.stem) for file in files))
        # Mapped and not read: only the shape is wanted.
        grid = np.load(self.files[0], mmap_mode="r").shape if self.files else (0, 0, 0)
        self.shape = (len(self.files), *grid, 1)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        """Read some scans: a number, a slice, or an array of numbers or of yes and no.

        What follows a first comma is taken from the scans read.
        """
        rows, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        chosen = np.arange(len(self))[rows]
        if chosen.ndim == 0:
            return _read(self.files[int(chosen)])[..., np.newaxis][rest]
        # Read and not mapped: mapped pages count as this process's memory, and would add up.
        found = np.empty((len(chosen), *self.shape[1:]), self.dtype)
        for place, row in enumerate(chosen):
            found[place, ..., 0] = _read(self.files[row])
        return found[(slice(None), *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        """Read all scans."""
        if copy is False:
            raise ValueError("Scans on disk become an array only by being read.")
        return self[:].astype(dtype or self.dtype, copy=False)


def load(
    subjects: pd.DataFrame, folder: str | Path, *, column: str = "file", **reading: Any
) -> Volumes:
    """Return the scans of a table of subjects, each read once and kept.

    Parameters
    ----------
    subjects : DataFrame
        With a column of file names.
    folder : str or Path
        Folder that relative names start from, ``results/<profile>``; the arrays are kept below its
        ``cache/brain``.
    column : {"file", "file_exaggerated"}
        Which series to read.
    **reading
        Arguments of :func:`helpers.brain.read_volume`; as the cohort says where not given.

    Returns
    -------
    Volumes
        Shape (subjects, x, y, z, 1), float32.

    Raises
    ------
    helpers.brain.UnusableBrains
        For a scan that cannot be read.
    """
    folder, reading = Path(folder), brain.reading(folder) | reading
    scans = [folder / name for name in subjects[column]]
    code = hashlib.sha256("".join(map(inspect.getsource, READING)).encode()).hexdigest()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        marks = list(pool.map(lambda scan: fingerprint(scan, code=code, **reading), scans))
        files = [folder / "cache" / "brain" / f"{mark}.npy" for mark in marks]
        # Twice the same scan is made once.
        list(
            pool.map(
                lambda pair: _make(*pair, **reading), dict(zip(files, scans, strict=True)).items()
            )
        )
    return Volumes(files, marks)


def fingerprint(scan: Path, *, code: str = "", **reading: Any) -> str:
    """Return a checksum of what a scan's array depends on.

    Parameters
    ----------
    scan : Path
        A file, or a folder with the files of a series; their content counts, not their dates.
    code : str
        Checksum of the program that reads it.
    **reading
        How it is read.

    Returns
    -------
    str
        First half of SHA-256, hexadecimal.

    Raises
    ------
    helpers.brain.UnusableBrains
        When a file is not there or may not be read.
    """
    files = paths.files_below(scan) if scan.is_dir() else [scan]
    found = hashlib.sha256(
        json.dumps([code, reading, np.__version__], sort_keys=True, default=str).encode()
    )
    try:
        for file in files:
            found.update(_sha256(file).encode())
    except OSError as error:
        raise brain.UnusableBrains(
            f"{scan.name}: not readable ({type(error).__name__})."
        ) from error
    return found.hexdigest()[:32]


def _make(file: Path, scan: Path, **reading: Any) -> None:
    """Make a scan's array unless it is there, whole."""
    note = file.with_suffix(".json")
    if _whole(file, note):
        return
    volume = np.asarray(brain.read_volume(scan, **reading), np.float32)
    note.unlink(missing_ok=True)
    with paths.atomic_path(file) as temporary:
        np.save(temporary, volume)
        checksum = _sha256(temporary)
    with paths.atomic_path(note) as temporary:
        temporary.write_text(json.dumps({"sha256": checksum}) + "\n")


def _whole(file: Path, note: Path) -> bool:
    try:
        return json.loads(note.read_text())["sha256"] == _sha256(file)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _read(file: Path) -> NDArray[np.float32]:
    return np.load(file, allow_pickle=False)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
