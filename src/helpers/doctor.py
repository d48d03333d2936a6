"""What is wrong with an author's data, found without running the paper.

python -m helpers doctor --profile own
"""

import sys
from pathlib import Path

from helpers import own, own_brains, paths
from helpers.cohort import InvalidCohort
from helpers.parameters import Profile


def examine(profile: Profile) -> tuple[str, bool]:
    """Look at the thigh folder, the brain folder and the readers' file of a profile.

    Parameters
    ----------
    profile : Profile
        A source ``"phantom"`` needs no look.

    Returns
    -------
    text : str
        What was found, case by case, for a terminal.
    sound : bool
        Whether a run would not stop at what was found.
    """
    parts = [_thighs(profile), _brains(profile), _reads(profile)]
    return "\n\n".join(text for text, _ in parts), all(sound for _, sound in parts)


def _thighs(profile: Profile) -> tuple[str, bool]:
    if profile.cohort.thigh_source == "phantom":
        return "Thighs: the phantom, nothing to check.", True
    try:
        found = own.survey(profile, say=lambda line: print(line, file=sys.stderr))
    except (InvalidCohort, OSError) as error:
        return f"Thighs\n  Problem: {error}", False
    return own.report(found), not found.problems


def _brains(profile: Profile) -> tuple[str, bool]:
    if profile.cohort.brain_source == "phantom":
        return "Brains: the phantom, nothing to check.", True
    try:
        found = own_brains.survey(profile, say=lambda line: print(line, file=sys.stderr))
    except (InvalidCohort, OSError) as error:
        return f"Brains\n  Problem: {error}", False
    return own_brains.report(found), not found.problems


def _reads(profile: Profile) -> tuple[str, bool]:
    named = profile.readers.reads_csv
    if not named:
        return "Readers: simulated, nothing to check.", True
    path = paths.root() / Path(named).expanduser()
    if not path.is_file():
        return f"Readers\n  Problem: {path} does not exist.", False
    return f"Readers: {path} is checked against the leg images once these are known.", True
