"""The commands behind the Makefile: ``python -m helpers --help``."""

import argparse
import fcntl
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers import parameters, paths
from helpers.parameters import InvalidParameters, Profile


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status.

    Parameters
    ----------
    arguments : list of str, optional
        Command line without the program's name.

    Returns
    -------
    int
        0 on success; 1 with a message on the error stream otherwise.
    """
    options = _parser().parse_args(arguments)
    try:
        profile = parameters.load(options.profile)
        return options.command(profile, options) or 0
    except (InvalidParameters, RuntimeError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m helpers", description=__doc__)
    commands = parser.add_subparsers(required=True, title="commands")
    for name, command, text in (
        ("make", _make, "run what is stale and build the book"),
        ("plan", _plan, "print what would run, and why"),
        ("doctor", _doctor, "check your own scans and tables, and run nothing"),
        ("check", _check, "recompute every published claim and compare its verdict"),
        ("cohort", _cohort, "make or import one cohort"),
        ("execute", _execute, "execute one notebook"),
        ("merge", _merge, "merge the numbers of all notebooks"),
        ("book", _book, "stage, build and verify the book"),
        ("predict", _predict, "what the saved model says of a folder of images; research only"),
    ):
        sub = commands.add_parser(name, help=text)
        sub.set_defaults(command=command)
        if name in ("cohort", "execute"):
            sub.add_argument("what", help="thigh or brain" if name == "cohort" else "notebook")
        if name == "predict":
            what = sub.add_mutually_exclusive_group(required=True)
            what.add_argument("folder", nargs="?", help="thighs: DICOM or NIfTI, a folder per case")
            what.add_argument(
                "--brain", nargs="+", metavar="SCAN", help="NIfTI files, or folders of DICOM series"
            )
            sub.add_argument("--model", help="name in the profile's models; resnet50, dystonianet")
            sub.add_argument("--out", help="folder to write; default results/<profile>/predict/...")
        sub.add_argument("--profile", default="demo", help="name in parameters/, or a path")
    return parser


def _make(profile: Profile, options: argparse.Namespace) -> int:
    from helpers import book, pipeline

    page = book.html_folder(profile.name) / "index.html"
    with _only_run(profile):
        if not page.exists():
            book.built_mark(profile.name).unlink(missing_ok=True)
        pipeline.check_files(profile)
        pipeline.fetch_weights(profile)
        status = _snakemake(options.profile).returncode
    if status:
        return 1
    print(f"\nThe book: {page}")
    return 0


def _plan(profile: Profile, options: argparse.Namespace) -> int:
    from helpers import pipeline

    pipeline.check_files(profile)
    done = _snakemake(options.profile, "--dry-run", "--quiet", "host", capture=True)
    log = done.stdout + done.stderr
    print(_reasons(log) if done.returncode == 0 else log)
    return done.returncode


def _doctor(profile: Profile, options: argparse.Namespace) -> int:
    from helpers import doctor

    text, sound = doctor.examine(profile)
    print(text)
    return 0 if sound else 1


def _check(profile: Profile, options: argparse.Namespace) -> int:
    from helpers import ledger

    lines, changed = ledger.report(profile.name)
    print(*lines, sep="\n")
    if changed:
        where = "Printed numbers: book/claims.yml. Expected: book/expected_verdicts.csv."
        print(*changed, where, sep="\n", file=sys.stderr)
    return 1 if changed else 0


def _cohort(profile: Profile, options: argparse.Namespace) -> None:
    from helpers import pipeline

    pipeline.make_cohort(profile, options.what)


def _execute(profile: Profile, options: argparse.Namespace) -> None:
    from helpers import pipeline

    pipeline.execute(profile, options.what)


def _merge(profile: Profile, options: argparse.Namespace) -> None:
    from helpers import pipeline

    pipeline.merge(profile)


def _book(profile: Profile, options: argparse.Namespace) -> None:
    from helpers import book, pipeline

    pipeline.say("      book …")
    start = time.monotonic()
    book.make(profile.name)
    pipeline.say(f"      book  done in {pipeline.clock(time.monotonic() - start)}")


def _predict(profile: Profile, options: argparse.Namespace) -> None:
    from helpers import STATEMENT

    given = [Path(place).expanduser() for place in options.brain or [options.folder]]
    results = paths.results(profile.name)
    # Scans of one command stand in one result, named after the first.
    name = given[0].resolve().name.removesuffix(".gz").removesuffix(".nii")
    target = Path(options.out).expanduser() if options.out else results / "predict" / name
    file = results / "models" / f"{options.model or _model(options)}.keras"
    if options.brain:
        from helpers import brain_prediction
        from helpers.display.heads import overlay as draw

        table, card = brain_prediction.write(
            given, file, target, draw=draw, clock=time.perf_counter
        )
        table = table[["scan", "probability", "call", "seconds", "reason"]]
    else:
        from helpers import prediction
        from helpers.display.prediction import overlay

        table, card = prediction.write(given[0], file, target, draw=overlay)
    print(f"{STATEMENT}\nEvidence: {card.basis}.\n\n{table.to_string(index=False)}")
    print(f"\nWritten to {target}")


def _model(options: argparse.Namespace) -> str:
    return "dystonianet" if options.brain else "resnet50"


def _snakemake(profile: str, *more: str, capture: bool = False) -> subprocess.CompletedProcess:
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", "Snakefile", "--cores", "all"),
        # Our own lock below dies with its process; Snakemake's would outlive a kill.
        *("--nolock", "--rerun-incomplete"),
        # Inputs touched but not changed are recognised by their content up to this size.
        *("--max-checksum-file-size", str(2**30)),
        *("--config", f"profile={profile}"),
        *(more or ("--quiet", "all")),
    ]
    environment = {**os.environ, "PAPER_STARTED": str(time.time())}
    return subprocess.run(
        command, cwd=paths.root(), env=environment, capture_output=capture, text=True, check=False
    )


def _reasons(log: str) -> str:
    """Shorten Snakemake's account of a dry run to a line per step."""
    found = re.findall(
        r"^(?:local)?rule (\w+):$.*?^    reason: (.*?)$", log, re.DOTALL | re.MULTILINE
    )
    steps = [(name, _reason(text)) for name, text in found if name != "all"]
    if not steps:
        return "Nothing to run: every step is up to date."
    width = max(len(name) for name, _ in steps)
    lines = [f"  {name:<{width}}  {reason}" for name, reason in steps]
    return "\n".join([f"{len(steps)} steps would run:", *lines])


def _reason(text: str) -> str:
    if not text.startswith("Params have changed"):
        return text.replace(f"{paths.root().as_posix()}/", "")
    what = dict.fromkeys(item.rsplit(" ", 1)[0] for item in re.findall(r"'([^']+)'", text))
    return f"changed: {', '.join(what)}"


@contextmanager
def _only_run(profile: Profile) -> Iterator[None]:
    folder = paths.results(profile.name)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(
                f"Another run of profile {profile.name} is going on. Wait for it, or stop it."
            ) from None
        yield


if __name__ == "__main__":
    sys.exit(main())
