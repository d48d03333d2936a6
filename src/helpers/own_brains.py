"""The author's own brain scans: every row read, judged, and taken in or set aside.

As for thighs (:mod:`helpers.own`): a scan that gives no volume, is no head, or lies in two rows
is set aside with a reason and a remedy, and the run goes on. It stops only where the table cannot
be used, or where a set that is needed would have no patient or no control. No image is copied,
and nothing of a header but its geometry is written.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import brain, cohort, heads, images, paths, volumes
from helpers.cohort import InvalidCohort
from helpers.own import many, set_aside_for
from helpers.parameters import Profile

#: What an author's table must have; a second series of scans is the phantom's alone.
COLUMNS = [name for name, column in brain.SUBJECTS.columns.items() if column.required]
#: Columns of ``set_aside.csv``.
SET_ASIDE = ["subject_id", "split", "group", "file", "step", "reason", "remedy"]
#: Order in which people are dealt into sets when the table has no column ``split``: half train,
#: a fifth tunes, three tenths are held out, and the first three of a group are in one set each.
DEALT = ("training", "optimisation", "held out", *("training", "held out"), "training")
DEALT = (*DEALT, "optimisation", "training", "held out", "training")
#: What a set must hold, of patients (1) and controls (0).
NEEDED = {"training": (1, 0), "optimisation": (1, 0), "validation": (1,)}
KINDS = {1: "patient", 0: "control"}
NO_SITE = "not stated"


@dataclass(frozen=True)
class Survey:
    """What an author's folder holds.

    Attributes
    ----------
    source : Path
        The folder.
    subjects : DataFrame
        ``subjects.csv``, with the columns that were added.
    usable : list of str
        Codes of those whose scan can be used.
    set_aside : DataFrame
        :data:`SET_ASIDE`; step is ``decoding``, ``admission`` or ``copy``.
    problems : list of str
        What stops a run.
    notes : list of str
        What does not, and is worth a look.
    """

    source: Path
    subjects: pd.DataFrame
    usable: list[str]
    set_aside: pd.DataFrame
    problems: list[str]
    notes: list[str]


def import_own(profile: Profile, folder: str | Path) -> None:
    """Take an author's scans in as the brain cohort; no image is copied.

    Parameters
    ----------
    profile : Profile
        ``cohort.brain_source`` is the folder with ``subjects.csv`` and the scans it names.
    folder : str or Path
        ``results/<profile>/cohort/brain``. ``subjects.csv``, ``set_aside.csv``, ``notes.csv``
        (what was taken for granted) and ``cohort.json`` are written here.

    Raises
    ------
    InvalidCohort
        Listing every problem of the table and, when a set lacks patients or controls, everything
        that was set aside.
    """
    folder = Path(folder)
    found = survey(profile, say=print)
    cohort.stop_at(found.problems, str(found.source), set_aside=lines(found.set_aside))
    own = found.subjects["subject_id"].isin(found.usable)
    subjects = brain.SUBJECTS.validate(found.subjects[own])[COLUMNS]
    subjects["file"] = [str((found.source / name).absolute()) for name in subjects["file"]]
    about = {
        "synthetic": False,
        "voxel_mm": profile.cohort.brain_voxel_mm,
        "placement": "head",
        "brain_input": profile.cohort.brain_input,
        "seed": profile.seed,
    }
    for name, table in (
        ("set_aside", found.set_aside),
        ("notes", pd.DataFrame({"note": found.notes})),
        ("subjects", subjects),
    ):
        with paths.atomic_path(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    with paths.atomic_path(folder / "cohort.json") as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n")


def read_set_aside(folder: Path) -> pd.DataFrame:
    """Return which scans were set aside when a cohort was taken in.

    Parameters
    ----------
    folder : Path
        ``results/<profile>``.

    Returns
    -------
    DataFrame
        :data:`SET_ASIDE`; no row for a synthetic cohort.
    """
    path = Path(folder) / "cohort" / "brain" / "set_aside.csv"
    if not path.is_file():
        return pd.DataFrame(columns=SET_ASIDE)
    return pd.read_csv(path, dtype={"subject_id": str})


def survey(profile: Profile, *, say: Callable[[str], None] | None = None) -> Survey:
    """Look at everything an author's brain folder holds, and write nothing.

    Parameters
    ----------
    profile : Profile
        As for :func:`import_own`; its seed deals people into sets where the table does not.
    say : callable, optional
        Takes one line of progress after each ten scans.

    Returns
    -------
    Survey

    Raises
    ------
    InvalidCohort
        When there is no ``subjects.csv``, or it is no table.
    """
    source = paths.root() / Path(profile.cohort.brain_source).expanduser()
    if not (source / "subjects.csv").is_file():
        raise InvalidCohort(
            f"{source} holds no subjects.csv. Expected columns: {', '.join(COLUMNS)}. "
            "The book's page 'Your own data' describes the folder."
        )
    table = cohort.read_table(source / "subjects.csv", text=["subject_id", "site", "group"])
    table, notes = completed(table, seed=profile.seed)
    problems = [f"subjects.csv: {text}" for text in cohort.table_problems(table, brain.SUBJECTS)]
    rows, aside, more = _looked_at(source, table, say)
    usable, copies = _without_copies(rows)
    aside = pd.DataFrame([*aside, *copies], columns=SET_ASIDE)
    if "subject_id" in table:
        by_code = table.drop_duplicates("subject_id").set_index("subject_id")
        for name in ("split", "group"):
            if name in table:
                aside[name] = aside["subject_id"].map(by_code[name])
    if not problems:
        problems += _empty_sets(table, set(usable))
        notes += _counted_notes(table[table["subject_id"].isin(usable)])
    return Survey(source, table, usable, aside, problems, [*notes, *more])


def completed(table: pd.DataFrame, *, seed: int) -> tuple[pd.DataFrame, list[str]]:
    """Add what a table of subjects may leave out, and say so.

    People are dealt into sets within each group: shuffled with the seed, sorted by sex, and dealt
    in the order of :data:`DEALT`; held-out patients are ``validation``, held-out controls
    ``held_out_controls``.

    Parameters
    ----------
    table : DataFrame
        As it stands in the file.
    seed : int
        The profile's.

    Returns
    -------
    table : DataFrame
        With ``split`` and ``site``, where ``group`` is there.
    notes : list of str

    Examples
    --------
    >>> people = pd.DataFrame({"group": ["control", "LD"] * 3, "sex": ["F"] * 6})
    >>> sorted(completed(people, seed=1)[0].query("group == 'LD'")["split"])
    ['optimisation', 'training', 'validation']
    """
    table, notes = table.copy(), []
    if "site" not in table:
        table["site"] = NO_SITE
        notes.append("subjects.csv has no column site: all are taken as of one scanner")
    if "split" in table or "group" not in table:
        return table, notes
    rng = np.random.default_rng(seed)
    table["split"] = ""
    for group, part in table.groupby("group"):
        order = part.iloc[rng.permutation(len(part))]
        if "sex" in table:
            order = order.sort_values("sex", kind="stable")
        held_out = "held_out_controls" if group == "control" else "validation"
        dealt = [DEALT[k % len(DEALT)] for k in range(len(order))]
        table.loc[order.index, "split"] = [held_out if d == "held out" else d for d in dealt]
    notes.append(
        f"subjects.csv has no column split: people were dealt into sets within each group with "
        f"seed {seed}, half to training, a fifth to optimisation. Decide the sets yourself, "
        "before you look at a result, where groups differ in age, sex or scanner"
    )
    return table, notes


def report(found: Survey) -> str:
    """Say what a survey found.

    Parameters
    ----------
    found : Survey
        From :func:`survey`.

    Returns
    -------
    str
        Lines for a terminal.
    """
    out = [f"Brains, {found.source}"]
    out += [f"  {line}" for line in lines(found.set_aside)]
    table = found.subjects
    if {"split", "group", "subject_id"} <= set(table):
        own = table[table["subject_id"].isin(found.usable)]
        for split, part in own.groupby("split", sort=False):
            by = part.groupby("group", sort=True).size()
            text = ", ".join(f"{number} {group}" for group, number in by.items())
            out.append(f"  {split}: {text}")
    out += [f"  Note: {note}." for note in found.notes]
    out += [f"  Problem: {problem}." for problem in found.problems]
    out.append(
        f"  In all: {len(found.usable)} of {many(len(table), 'scan')} usable, "
        f"{len(found.set_aside)} set aside, "
        f"{many(len(found.problems), 'problem')} that would stop a run."
    )
    return "\n".join(out)


def lines(aside: pd.DataFrame) -> list[str]:
    """Return a line for each scan that was set aside.

    Parameters
    ----------
    aside : DataFrame
        :data:`SET_ASIDE`.

    Returns
    -------
    list of str
    """
    return [f"{r.subject_id}: {r.reason}. {r.remedy}".rstrip(".") for r in aside.itertuples()]


def judged(place: Path) -> tuple[volumes.Volume | None, dict | None]:
    """Return a scan and what speaks against it.

    Parameters
    ----------
    place : Path
        NIfTI file, DICOM folder or multi-frame DICOM file.

    Returns
    -------
    volume : Volume or None
        None where it gives none.
    out : dict or None
        step, reason and remedy; None for an admitted scan.
    """
    try:
        volume = volumes.read(place)
    except images.UnreadableImage as error:
        return None, set_aside_for("decoding", error.reason, error.remedy)
    verdict = heads.judge(volume)
    if verdict.admitted:
        return volume, None
    text = f"{place.name} {verdict.reason}"
    return volume, set_aside_for("admission", text, verdict.remedy)


def _looked_at(
    source: Path, table: pd.DataFrame, say: Callable[[str], None] | None
) -> tuple[list[dict], list[dict], list[str]]:
    """Return the admitted scans with a digest of their voxels, what is set aside, and notes."""
    rows: list[dict] = []
    aside: list[dict] = []
    notes: list[str] = []
    if not {"file", "subject_id"} <= set(table):
        return rows, aside, notes
    named = table.dropna(subset=["file", "subject_id"])
    for done, row in enumerate(named.itertuples(), start=1):
        volume, out = judged(source / str(row.file))
        about = {"subject_id": row.subject_id, "file": str(row.file)}
        if out is not None or volume is None:
            aside.append(about | (out or {}))
        else:
            content = np.ascontiguousarray(volume.values.T)
            rows.append(about | {"digest": hashlib.sha256(content).hexdigest()})
            notes += volume.notes
        if say is not None and (done % 10 == 0 or done == len(named)):
            say(f"scan {done} of {len(named)} read")
    return rows, aside, notes


def _without_copies(rows: list[dict]) -> tuple[list[str], list[dict]]:
    """Leave out scans that stand in several rows: whose they are is not known."""
    table = pd.DataFrame(rows, columns=["subject_id", "file", "digest"])
    twice = table.duplicated("digest", keep=False)
    aside = []
    for row in table[twice].itertuples():
        same = table[(table.digest == row.digest) & (table.subject_id != row.subject_id)]
        text = f"holds the same scan as that of {', '.join(sorted(same.subject_id))}"
        remedy = "Leave it in the row of the person whom it shows."
        aside.append(
            {"subject_id": row.subject_id, "file": row.file}
            | set_aside_for("copy", f"{Path(row.file).name} {text}", remedy)
        )
    return table.loc[~twice, "subject_id"].tolist(), aside


def _empty_sets(table: pd.DataFrame, left: set[str]) -> list[str]:
    problems = []
    patient = (table["group"] != "control").astype(int)
    for split, kinds in NEEDED.items():
        for kind in kinds:
            own = table[(table["split"] == split) & (patient == kind)]
            if not own["subject_id"].isin(left).any():
                problems.append(f"{split} has no {KINDS[kind]}: {len(own)} given, none usable")
    return problems


def _counted_notes(table: pd.DataFrame) -> list[str]:
    notes = []
    own = sorted(set(table["group"]) - set(brain.GROUPS))
    if own:
        notes.append(f"groups {', '.join(own)} count as patients, control does not")
    if not (table["split"] == "held_out_controls").any():
        notes.append("no control is held out: specificity and AUC on unseen people stay undefined")
    return notes
