"""The order of the paper: what each step needs and makes, and how a notebook is executed."""

import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat
import papermill
import psutil
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from helpers import parameters, paths, record, staleness
from helpers.parameters import Profile


@dataclass(frozen=True)
class Step:
    """A notebook in the order of the paper.

    Attributes
    ----------
    name : str
        Notebook name without suffix.
    after : tuple of str
        Steps whose files it reads.
    makes : tuple of str
        Files below ``results/<profile>`` that later steps read.
    threads : int
        Processor cores it keeps busy.
    """

    name: str
    after: tuple[str, ...]
    makes: tuple[str, ...] = ()
    threads: int = 1

    @property
    def outputs(self) -> tuple[str, ...]:
        """All files it must leave, the executed copy first."""
        return (f"executed/{self.name}.ipynb", f"numbers/{self.name}.json", *self.makes)


COHORTS = ("thigh", "brain")

STEPS = (
    Step("01_cohort_tables", ("cohort_thigh", "cohort_brain")),
    Step("02_roi_extraction", ("cohort_thigh",), ("images.csv", "roi.json"), threads=2),
    Step("03_backbone_comparison", ("cohort_thigh", "02_roi_extraction"), threads=2),
    Step(
        "04_resnet50_training",
        ("cohort_thigh", "02_roi_extraction", "03_backbone_comparison"),
        (
            *("predictions/04_resnet50.csv", "models/resnet50.keras"),
            *("models/resnet50.json", "models/resnet50.md"),
        ),
    ),
    Step("05_reader_comparison", ("cohort_thigh", "02_roi_extraction", "04_resnet50_training")),
    Step("06_dmd_bmd_breakdown", ("cohort_thigh", "02_roi_extraction", "04_resnet50_training")),
    Step(
        "07_dystonianet",
        ("cohort_brain",),
        (
            *("predictions/07_dystonianet.csv", "models/dystonianet.keras"),
            *("models/dystonianet.json", "models/dystonianet.md"),
        ),
        threads=2,
    ),
    Step(
        "08_cam_visualization",
        (
            *("cohort_thigh", "cohort_brain", "02_roi_extraction"),
            *("04_resnet50_training", "07_dystonianet"),
        ),
    ),
)

#: The module that makes or imports each cohort.
COHORT_MODULES = {
    ("thigh", True): "helpers.phantom.thigh",
    ("thigh", False): "helpers.own",
    ("brain", True): "helpers.phantom.brain",
    ("brain", False): "helpers.own_brains",
}


#: The committed results that a module shows, below ``benchmarks/results``.
LONG_RUNS = {"helpers.ablation": "weights_*.csv", "helpers.doses": "brain_*.csv"}


class NotebookFailed(RuntimeError):
    """A notebook stopped with an error; the message fits one screen."""


def inputs_of(step: Step) -> list[str]:
    """Return the files below ``results/<profile>`` that a step waits for.

    Parameters
    ----------
    step : Step

    Returns
    -------
    list of str

    Examples
    --------
    >>> inputs_of(STEPS[1])
    ['cohort/thigh/cohort.json']
    """
    known = {other.name: list(other.outputs[1:]) for other in STEPS}
    known |= {f"cohort_{part}": [f"cohort/{part}/cohort.json"] for part in COHORTS}
    return [file for before in step.after for file in known[before]]


def stamps_of_notebook(profile: Profile, name: str) -> list[str]:
    """Return what decides whether a notebook is stale, one readable line each.

    Parameters
    ----------
    profile : Profile
        The run's parameters.
    name : str
        Notebook name without suffix.

    Returns
    -------
    list of str
        ``"<what> <hash>"`` for the notebook, each parameter, each helper module of its import
        closure, each data file these name, and the lock.
    """
    source = paths.root() / "notebooks" / f"{name}.ipynb"
    modules = staleness.imports_of_notebook(source)
    values = parameters.for_notebook(profile, name)
    stamps = {f"notebook {name}": staleness.of_notebook(source)}
    stamps |= {f"parameter {key}": staleness.of_value(value) for key, value in values.items()}
    if values.get("reads_csv"):
        stamps["file reads_csv"] = staleness.of_file(_reads_of(profile))
    if "weights" in values:
        stamps["weights on this machine"] = _weights_here(values["weights"])
    for module in set(staleness.closure(modules)) & LONG_RUNS.keys():
        folder = paths.root() / "benchmarks" / "results"
        content = [staleness.of_file(file) for file in sorted(folder.glob(LONG_RUNS[module]))]
        stamps[f"long run {LONG_RUNS[module]}"] = staleness.of_value(content)
    return _lines(stamps | staleness.of_modules(modules))


def stamps_of_cohort(profile: Profile, part: str) -> list[str]:
    """Return what decides whether a cohort is stale, one readable line each.

    Parameters
    ----------
    profile : Profile
        The run's parameters.
    part : {"thigh", "brain"}

    Returns
    -------
    list of str
        As for :func:`stamps_of_notebook`; for an author's folder with its content.
    """
    source = _source(profile, part)
    module = COHORT_MODULES[part, source == "phantom"]
    values = {"seed": profile.seed, **profile.cohort.model_dump()}
    other = "brain" if part == "thigh" else "thigh"
    mine = {k: v for k, v in values.items() if k not in _BELONGS[other]}
    stamps = {f"parameter {key}": staleness.of_value(value) for key, value in mine.items()}
    if source != "phantom":
        folder = paths.root() / Path(source).expanduser()
        stamps[f"folder {source}"] = staleness.of_folder(folder)
    return _lines(stamps | staleness.of_modules([module]))


def _weights_here(kinds: list[str]) -> str:
    # Names and sizes only: a checksum of half a gigabyte at each plan would cost seconds. The
    # features' own fingerprint holds the checksum of the weights that were loaded.
    own = [kind.removeprefix("local:") for kind in kinds if kind.startswith("local:")]
    local = [Path(folder).expanduser() for folder in own]
    folders = [paths.keras_cache(), *(paths.root() / folder for folder in local)]
    files = sorted(file for folder in folders for file in folder.glob("*no*top.*"))
    if any(kind.startswith("simulated") for kind in kinds):
        from helpers import pretext

        files += sorted(pretext.cache().glob("*.weights.h5"))
    return staleness.of_value([(file.name, file.stat().st_size) for file in files])


_BELONGS = {
    "thigh": (
        "thigh_source",
        "case_fraction",
        "image_fraction",
        "thigh_matrix",
        "texture_strength",
    ),
    "brain": (
        *("brain_source", "subject_fraction", "brain_voxel_mm"),
        *("brain_pose", "brain_input", "effect_d", "exaggerated_d"),
    ),
}


def stamps_of_book() -> list[str]:
    """Return what decides whether the book is stale beside the executed notebooks."""
    top = paths.root()
    stamps = {name: staleness.of_file(top / name) for name in ("_config.yml", "_toc.yml")}
    stamps["book"] = staleness.of_folder(top / "book")
    stamps["benchmarks"] = staleness.of_folder(top / "benchmarks" / "results")
    return _lines(stamps | staleness.of_modules(["helpers.book"]))


def check_files(profile: Profile) -> None:
    """Check that the files and folders which the parameters name exist.

    Parameters
    ----------
    profile : Profile
        The run's parameters.

    Raises
    ------
    FileNotFoundError
        Naming the parameter, what it says and where that was looked for.
    """
    wanted = {f"cohort.{part}_source": _source(profile, part) for part in COHORTS}
    named = {name: value for name, value in wanted.items() if value != "phantom"}
    places = {name: paths.root() / Path(value).expanduser() for name, value in named.items()}
    if profile.readers.reads_csv:
        places["readers.reads_csv"] = _reads_of(profile)
    for name, place in places.items():
        if not place.exists():
            raise FileNotFoundError(
                f"{name}: {place} does not exist. Relative paths start at the repository's top "
                "folder. Nothing was run; correct the parameters file."
            )


def _reads_of(profile: Profile) -> Path:
    return paths.root() / Path(profile.readers.reads_csv).expanduser()


def fetch_weights(profile: Profile) -> None:
    """Download the ImageNet weights that are missing, or make simulated ones, as the profile says.

    Parameters
    ----------
    profile : Profile
        The run's parameters. Nothing else in a run needs the internet.
    """
    _download_weights(profile)
    _simulate_weights(profile)


def _simulate_weights(profile: Profile) -> None:
    """Train networks on simulated legs where the profile prefers nothing that is here."""
    kinds, seconds = profile.backbones.weights, profile.machine.pretraining_seconds
    kind = next((k for k in kinds if k.startswith("simulated")), None)
    if kind is None or seconds == 0:
        return
    from helpers import pretext

    names = profile.backbones.networks
    made = {name: pretext.weights_file(kind, name, seed=profile.seed) for name in names}
    missing = [name for name, file in made.items() if pretext.wants_time(file, seconds)]
    if not missing:
        return
    from helpers import networks, pretraining

    before = [*kinds[: kinds.index(kind)], "random"]
    chosen = networks.choose_all(before, missing, seed=profile.seed)
    wanted = [name for name, weights in chosen.items() if weights.kind == "random"]
    if wanted:
        with _timed("      simulated weights"):
            pretraining.make_all(kind, wanted, seed=profile.seed, seconds=seconds, say=say)


def _download_weights(profile: Profile) -> None:
    seconds = profile.machine.weights_download_seconds
    wanted = profile.backbones.networks
    if seconds == 0 or "imagenet" not in profile.backbones.weights:
        return
    from helpers import networks

    kinds = profile.backbones.weights
    before = {kind.partition(":")[0] for kind in kinds[: kinds.index("imagenet")]}
    for name in wanted:
        chosen = networks.choose_weights(
            profile.backbones.weights, name, download_seconds=seconds, seed=profile.seed
        )
        say(f"      weights  {chosen.message}")
        if chosen.kind not in before and chosen.kind != "imagenet":
            return  # one download failed: the others would too


def make_cohort(profile: Profile, part: str) -> None:
    """Write a cohort's files, or go on where an interrupted run stopped.

    Parameters
    ----------
    profile : Profile
        The run's parameters.
    part : {"thigh", "brain"}

    Notes
    -----
    Files of a run with other stamps are removed first, so that no cohort mixes two.
    """
    from importlib import import_module

    folder = paths.results(profile.name) / "cohort" / part
    stamp, current = folder / "stamps.json", json.dumps(stamps_of_cohort(profile, part))
    if folder.exists() and (not stamp.exists() or stamp.read_text() != current):
        shutil.rmtree(folder)
    with paths.atomic_path(stamp) as temporary:
        temporary.write_text(current)
    synthetic = _source(profile, part) == "phantom"
    module = import_module(COHORT_MODULES[part, synthetic])
    with _timed(f"      cohort {part}"):
        (module.write_cohort if synthetic else module.import_own)(profile, folder)
    # Snakemake compares this file's content: it has to change whenever the cohort may have.
    about = folder / "cohort.json"
    content = json.loads(about.read_text()) | {"stamps": json.loads(current)}
    with paths.atomic_path(about) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def execute(profile: Profile, name: str) -> None:
    """Execute one notebook with papermill and keep a clean copy.

    Parameters
    ----------
    profile : Profile
        The run's parameters.
    name : str
        Notebook name without suffix.

    Raises
    ------
    NotebookFailed
        With the notebook, its section, the cell, the parameters and the error's last lines.
    """
    number = [step.name for step in STEPS].index(name) + 1
    source = paths.root() / "notebooks" / f"{name}.ipynb"
    folder = paths.results(profile.name)
    target = folder / "executed" / f"{name}.ipynb"
    values = parameters.for_notebook(profile, name)
    with (
        _timed(f"[{number}/{len(STEPS)}] {name}") as usage,
        tempfile.TemporaryDirectory() as sockets,
        paths.atomic_path(target) as temporary,
    ):
        try:
            papermill.execute_notebook(
                str(source),
                str(temporary),
                parameters=values,
                kernel_name="python3",
                cwd=str(source.parent),
                progress_bar=False,
                # Sockets of this machine instead of TCP; only a kernel's failure is worth a line.
                config=Config(KernelManager={"transport": "ipc", "ip": f"{sockets}/kernel"}),
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
            )
        except DeadKernelError:
            raise NotebookFailed(
                f"\n{name} stopped: its process was ended from outside, most often because memory "
                f"ran out. Free some, then: make book PROFILE={profile.name}"
            ) from None
        except PapermillExecutionError as error:
            failed = folder / "failed" / f"{name}.ipynb"
            failed.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(temporary, failed)
            raise NotebookFailed(_screen(error, profile, name, values, failed)) from None
        usage.stop()
        notebook = nbformat.read(temporary, as_version=4)
        _clean(notebook, values, run={"profile": profile.name, **usage.as_dict()})
        nbformat.write(notebook, temporary)
        _name_cells(notebook, folder / "numbers" / f"{name}.json")


class _Usage:
    """Wall time and peak memory of this process and its children."""

    def __init__(self) -> None:
        self._start, self.seconds, self.peak_bytes = time.monotonic(), None, 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.25):
            self.peak_bytes = max(self.peak_bytes, _tree_bytes())

    def stop(self) -> None:
        self.seconds = self.seconds or time.monotonic() - self._start
        self._done.set()
        self._thread.join()

    def as_dict(self) -> dict[str, float]:
        return {
            "seconds": round(self.seconds, 1),
            "peak_gib": round(self.peak_bytes / 2**30, 2),
        }


def _tree_bytes() -> int:
    total = 0
    this = psutil.Process()
    for process in (this, *this.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


@contextmanager
def _timed(what: str) -> Iterator[_Usage]:
    usage = _Usage()
    say(f"{what} …")
    try:
        yield usage
    finally:
        usage.stop()
    peak = usage.as_dict()["peak_gib"]
    say(f"{what}  done in {clock(usage.seconds)}, peak memory {peak:.1f} GiB{_elapsed()}")


def _elapsed() -> str:
    start = os.environ.get("PAPER_STARTED")
    return f", {clock(time.time() - float(start))} since the start" if start else ""


def say(line: str) -> None:
    """Print a progress line at once."""
    print(line, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Return a duration as minutes and seconds.

    Examples
    --------
    >>> clock(75.4)
    '1:15'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _source(profile: Profile, part: str) -> str:
    return getattr(profile.cohort, f"{part}_source")


def _lines(stamps: dict[str, str]) -> list[str]:
    stamps["requirements.lock"] = staleness.of_file(paths.root() / "requirements.lock")
    return [f"{what} {stamp}" for what, stamp in stamps.items()]


def _clean(notebook: nbformat.NotebookNode, values: dict, *, run: dict) -> None:
    """Show the values used in the parameters cell; drop papermill's traces and machine paths."""
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in _tags(c)]
    notebook.metadata = nbformat.from_dict({"kernelspec": notebook.metadata.kernelspec, "run": run})
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "parameters" in _tags(cell):
            cell.source = "\n".join(_with_value(ln, values) for ln in cell.source.splitlines())
    text = nbformat.writes(notebook)
    for place, name in ((str(paths.root()), "."), (sys.prefix, "python"), (str(Path.home()), "~")):
        if len(place) > 1:  # a home folder may be "/"
            text = text.replace(json.dumps(place)[1:-1], name)
    cleaned = nbformat.reads(text, as_version=4)
    notebook.cells, notebook.metadata = cleaned.cells, cleaned.metadata


def _tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def _with_value(line: str, values: dict) -> str:
    name, equals, rest = line.partition(" = ")
    if not equals or name not in values:
        return line
    comment = rest[rest.rindex("#") :] if "#" in rest else ""
    value = values[name]
    if isinstance(value, str) and Path(value).is_absolute():
        value = Path(value).name
    return f"{name} = {value!r}  {comment}".rstrip()


def _name_cells(notebook: nbformat.NotebookNode, numbers: Path) -> None:
    """Write beside each number the id of the cell that made it."""
    made_in = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            if name:
                made_in[name] = cell.id
    records = json.loads(numbers.read_text())
    for item in records:
        item["cell"] = made_in.get(item["key"])
    with paths.atomic_path(numbers) as temporary:
        temporary.write_text(json.dumps(records, indent=1, allow_nan=False) + "\n")


#: Colour codes of a terminal.
_PLAIN = re.compile(r"\x1b\[[0-9;]*m")


def _screen(
    error: PapermillExecutionError, profile: Profile, name: str, values: dict, failed: Path
) -> str:
    notebook = nbformat.read(failed, as_version=4)
    index = next(
        i
        for i, cell in enumerate(notebook.cells)
        if any(output.output_type == "error" for output in cell.get("outputs", []))
    )
    above = [c.source for c in notebook.cells[:index] if c.cell_type == "markdown"]
    headings = [ln for text in above for ln in text.splitlines() if ln.startswith("#")]
    shown = "\n".join(f"    {key} = {value!r}" for key, value in values.items())
    last = "\n".join(
        f"    {ln}" for ln in _PLAIN.sub("", "\n".join(error.traceback)).splitlines()[-6:]
    )
    place = failed.relative_to(failed.parents[2]).as_posix()
    return (
        f"\n{name} stopped.\n"
        f"  section    {headings[-1].lstrip('# ') if headings else '(none)'}\n"
        f"  cell       {notebook.cells[index].id}\n"
        f"  parameters\n{shown}\n"
        f"  error      {error.ename}: {error.evalue}\n{last}\n"
        f"  to look    results/{place} holds the notebook up to this cell\n"
        f"  to resume  correct the cause, then: make book PROFILE={profile.name}\n"
        "             (finished notebooks are kept)"
    )


def merge(profile: Profile) -> None:
    """Merge the numbers of all notebooks into ``numbers.json``."""
    record.merge_numbers(paths.results(profile.name))
