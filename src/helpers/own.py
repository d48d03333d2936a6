"""The author's own thigh scans: every file found, decoded, judged, and described or set aside.

A file that gives no pixels, a slice that is no axial T1-weighted picture of two thighs, and a
copy of another slice are set aside with a reason and a remedy, and the run goes on. It stops
only where the table cannot be used, or where no case of a set and class is left. No image is
copied, and nothing of a header but its geometry is written.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import admission, cohort, images, paths
from helpers.cohort import CASES, SPLITS, InvalidCohort
from helpers.parameters import Profile

#: Columns of ``set_aside.csv``; frame is empty where the file as a whole is set aside.
SET_ASIDE = ["case_id", "split", "dystrophinopathy", "file", "frame", "step", "reason", "remedy"]
CLASSES = {1: "dystrophinopathy", 0: "control"}


@dataclass(frozen=True)
class Survey:
    """What an author's folder holds.

    Attributes
    ----------
    source : Path
        The folder.
    cases : DataFrame
        ``cases.csv`` as it stands in the file.
    slices : DataFrame
        Admitted slices, as :data:`helpers.cohort.SLICES`.
    set_aside : DataFrame
        :data:`SET_ASIDE`; step is ``decoding``, ``admission``, ``copy`` or ``case``.
    problems : list of str
        What stops a run.
    notes : list of str
        What does not, and is worth a look.
    """

    source: Path
    cases: pd.DataFrame
    slices: pd.DataFrame
    set_aside: pd.DataFrame
    problems: list[str]
    notes: list[str]


def import_own(profile: Profile, folder: Path) -> None:
    """Describe the author's own scans in the cohort's tables; no image is copied.

    Parameters
    ----------
    profile : Profile
        ``profile.cohort.thigh_source`` is the author's folder: ``cases.csv`` and, for each
        case, a folder of its name with DICOM or NIfTI files.
    folder : Path
        ``results/<profile>/cohort/thigh``. ``cases.csv``, ``slices.csv``, ``set_aside.csv``,
        ``notes.csv`` (what was taken for granted) and ``cohort.json`` are written here.

    Raises
    ------
    InvalidCohort
        Listing every problem of the table and, when nothing usable is left in a set and class,
        everything that was set aside.
    """
    found = survey(profile, say=print)
    cohort.stop_at(found.problems, str(found.source), set_aside=_lines(found.set_aside))
    cases = found.cases[found.cases.case_id.isin(found.slices.case_id)]
    with paths.atomic_path(folder / "set_aside.csv") as temporary:
        found.set_aside.to_csv(temporary, index=False)
    with paths.atomic_path(folder / "notes.csv") as temporary:
        pd.DataFrame({"note": found.notes}).to_csv(temporary, index=False)
    cohort.write_tables(folder, cases, found.slices, {"synthetic": False})


def read_set_aside(folder: Path) -> pd.DataFrame:
    """Return what was set aside when a cohort was taken in.

    Parameters
    ----------
    folder : Path
        ``results/<profile>``.

    Returns
    -------
    DataFrame
        :data:`SET_ASIDE`; no row for a synthetic cohort.
    """
    path = Path(folder) / "cohort" / "thigh" / "set_aside.csv"
    if not path.is_file():
        return pd.DataFrame(columns=SET_ASIDE)
    return pd.read_csv(path, dtype={"case_id": str})


def survey(profile: Profile, *, say: Callable[[str], None] | None = None) -> Survey:
    """Look at everything an author's thigh folder holds, and write nothing.

    Parameters
    ----------
    profile : Profile
        As for :func:`import_own`.
    say : callable, optional
        Takes one line of progress after each case.

    Returns
    -------
    Survey

    Raises
    ------
    InvalidCohort
        When there is no ``cases.csv``, or it is no table.
    """
    source = paths.root() / Path(profile.cohort.thigh_source).expanduser()
    if not (source / "cases.csv").is_file():
        raise InvalidCohort(
            f"{source} holds no cases.csv. Expected columns: {', '.join(CASES.columns)}. "
            "The book's page 'Your own data' describes the folder."
        )
    cases = cohort.read_table(source / "cases.csv", text=["case_id"])
    problems = [f"cases.csv: {text}" for text in cohort.table_problems(cases, CASES)]
    codes = list(cases["case_id"].dropna().unique()) if "case_id" in cases else []
    wrong = [code for code in codes if code.startswith(".") or "/" in code or "\\" in code]
    problems += [f"cases.csv: case_id {code!r} cannot be a folder's name" for code in wrong]
    codes = [code for code in codes if code not in wrong]
    rows, aside, notes = _looked_at(source, codes, say)
    slices = pd.DataFrame(rows, columns=[*cohort.SLICES.columns, "digest"])
    slices, copies = _without_copies(slices, source)
    aside = pd.DataFrame([*aside, *copies], columns=SET_ASIDE)
    lost = [code for code in codes if code not in set(slices.case_id)]
    aside = pd.concat([aside, _lost_cases(lost, aside, source)], ignore_index=True)
    for name in ("split", "dystrophinopathy"):
        if name in cases and codes:
            by_code = cases.drop_duplicates("case_id").set_index("case_id")[name]
            aside[name] = aside.case_id.map(by_code)
    aside["frame"] = aside.frame.astype("Int64")
    if not problems:
        problems += _empty_cells(cases, set(slices.case_id))
    notes += [
        f"folder {path.name}/ has no row in cases.csv and is not read"
        for path in sorted(source.iterdir())
        if path.is_dir() and not path.name.startswith(".") and path.name not in codes
    ]
    return Survey(source, cases, slices.drop(columns="digest"), aside, problems, notes)


def report(found: Survey) -> str:
    """Say what a survey found, case by case.

    Parameters
    ----------
    found : Survey
        From :func:`survey`.

    Returns
    -------
    str
        Lines for a terminal.
    """
    aside = found.set_aside
    codes = list(found.cases["case_id"].dropna().unique()) if "case_id" in found.cases else []
    lines = [f"Thighs, {found.source}"]
    for code in codes:
        own = found.slices[found.slices.case_id == code]
        out = aside[(aside.case_id == code) & (aside.step != "case")]
        given = [_named(name, found.source) for name in own.file]
        files = len({*given, *out.file})
        lines.append(
            f"  {code}: {many(files, 'file')}, {many(len(own), 'slice')} admitted, "
            f"{len(out)} set aside"
        )
        lines += [f"    {line}" for line in _lines(aside[aside.case_id == code], code=False)]
    lines += [f"  Note: {note}." for note in found.notes]
    lines += [f"  Problem: {problem}." for problem in found.problems]
    left = found.slices.case_id.nunique()
    lines.append(
        f"  In all: {left} of {many(len(codes), 'case')} usable, "
        f"{many(len(found.slices), 'slice')} admitted, "
        f"{int((aside.step != 'case').sum())} set aside, "
        f"{many(len(found.problems), 'problem')} that would stop a run."
    )
    return "\n".join(lines)


def _looked_at(
    source: Path, codes: list[str], say: Callable[[str], None] | None
) -> tuple[list[dict], list[dict], list[str]]:
    """Return the admitted slices with a digest of their pixels, what is set aside, and notes."""
    rows: list[dict] = []
    aside: list[dict] = []
    notes: list[str] = []
    for done, code in enumerate(codes, start=1):
        number = 0
        unplaced = 0
        for path in paths.files_below(source / code):
            for frame, position, image, out in _judged(path):
                if out:
                    aside.append(
                        {
                            "case_id": code,
                            "file": _named(path.absolute(), source),
                            "frame": frame,
                            **out,
                        }
                    )
                else:
                    rows.append(
                        {
                            "slice_id": f"{code}-{number:05d}",
                            "case_id": code,
                            "file": str(path.absolute()),
                            "frame": frame,
                            "slice_position_mm": position,
                            "digest": hashlib.sha256(image.pixels.tobytes()).hexdigest(),
                        }
                    )
                    unplaced += not image.facts.plane
                # Counted within the case, set aside or not: neither a file more in another
                # case nor another verdict renames a slice.
                number += 1
        if say is not None:
            say(f"case {done} of {len(codes)} read: {many(number, 'slice')}")
        if unplaced:
            slices = many(unplaced, "slice")
            notes.append(
                f"case {code}: {slices} without a stated orientation, taken to be axial, with "
                "the patient's right on the left"
            )
    return rows, aside, notes


def _judged(
    path: Path,
) -> Iterator[tuple[int | None, float, images.SliceImage | None, dict | None]]:
    """Yield frame, position, image and what speaks against it, None for an admitted slice."""
    try:
        for frame, (position, image) in enumerate(images.read_frames(path)):
            if isinstance(image, images.UnreadableImage):
                yield frame, position, None, set_aside_for("decoding", image.reason, image.remedy)
                continue
            verdict = admission.judge(image)
            text = f"{path.name} {verdict.reason}"
            out = None if verdict.admitted else set_aside_for("admission", text, verdict.remedy)
            yield frame, position, image, out
    except images.UnreadableImage as error:
        yield None, np.nan, None, set_aside_for("decoding", error.reason, error.remedy)


def set_aside_for(step: str, reason: str, remedy: str) -> dict:
    """Return the last three columns of a row of ``set_aside.csv``."""
    return {"step": step, "reason": reason, "remedy": remedy}


def _named(path: str | Path, source: Path) -> str:
    """Return a file's name from the author's folder on; where that is stays out."""
    return Path(path).relative_to(source.absolute()).as_posix()


def _without_copies(slices: pd.DataFrame, source: Path) -> tuple[pd.DataFrame, list[dict]]:
    """Set a picture's second copy aside; all of them where they belong to several cases."""
    people = slices.groupby("digest").case_id.transform("nunique")
    again = slices.duplicated("digest")
    aside = []
    for row in slices[(people > 1) | again].itertuples():
        same = slices[(slices.digest == row.digest) & (slices.slice_id != row.slice_id)]
        others = sorted(set(same.case_id) - {row.case_id})
        if others:
            text = f"holds the same picture as a slice of case {', '.join(others)}"
            remedy = "Leave it in the folder of the person whom it shows."
        else:
            text = f"holds the same picture as {Path(same.file.iloc[0]).name}"
            remedy = "Nothing: the first copy is used."
        aside.append(
            {"case_id": row.case_id, "file": _named(row.file, source), "frame": row.frame}
            | set_aside_for("copy", f"{Path(row.file).name} {text}", remedy)
        )
    return slices[(people <= 1) & ~again], aside


def _lost_cases(codes: list[str], aside: pd.DataFrame, source: Path) -> pd.DataFrame:
    rows = []
    for code in codes:
        empty = not (aside.case_id == code).any()
        text = "is missing or empty" if empty else "holds no slice that can be used"
        remedy = (
            f"Put its scans into {source.name}/{code}/, or take its row out of cases.csv."
            if empty
            else "See its other rows here; or take its row out of cases.csv."
        )
        rows.append(
            {"case_id": code, "file": f"{code}/"} | set_aside_for("case", f"{code}/ {text}", remedy)
        )
    return pd.DataFrame(rows, columns=SET_ASIDE)


def _empty_cells(cases: pd.DataFrame, left: set[str]) -> list[str]:
    problems = []
    for split in SPLITS:
        for label, name in CLASSES.items():
            own = cases[(cases.split == split) & (cases.dystrophinopathy.astype(int) == label)]
            if not own.case_id.isin(left).any():
                problems.append(f"{split} has no {name} case: {len(own)} given, none usable")
    return problems


def _lines(aside: pd.DataFrame, *, code: bool = True) -> list[str]:
    """Return a line for each file that was set aside, its slices with one step together."""
    lines = []
    for (case, _, _), rows in aside.groupby(["case_id", "file", "step"], sort=False):
        first = rows.iloc[0]
        more = f" (and {many(len(rows) - 1, 'more slice')} of it)" if len(rows) > 1 else ""
        lines.append(
            f"{f'case {case}: ' if code else ''}{first.reason}{more}. {first.remedy}".rstrip(".")
        )
    return lines


def many(number: int, name: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> many(1, "slice"), many(2, "slice")
    ('1 slice', '2 slices')
    """
    return f"{number} {name}{'' if number == 1 else 's'}"
