"""What a notebook leaves behind: numbers, tables and figures, each with its evidence label.

A number is stored in ``numbers/<notebook>.json`` and shown in prose by its key. A table or a
figure is stored as a file and carries a passport in the metadata of its output, from which
the book prints the evidence label, the cell, the seed and the data file below it.
"""

import html
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import display as show
from matplotlib.figure import Figure

from helpers import claims, display, paths

LABELS = ("published", "recomputed", "phantom", "your data")
GLUE_PREFIX = "application/papermill.record/"

#: Columns that make a row one about a person.
PERSONAL = {"case_id", "subject_id", "image_id", "slice_id", "id"}

#: The step that makes each file another notebook needs.
MADE_BY = {
    "cohort/thigh": "cohort",
    "cohort/brain": "cohort",
    "images.csv": "02_roi_extraction",
    "roi.json": "02_roi_extraction",
    "predictions/04": "04_resnet50_training",
    "models/resnet50": "04_resnet50_training",
    "models/dystonianet": "07_dystonianet",
}


class MissingInput(FileNotFoundError):
    """A file that an earlier step makes is not there yet."""


@dataclass(frozen=True)
class Number:
    """One number that prose may quote.

    Attributes
    ----------
    key : str
        Unique over the book.
    value, low, high : float or None
        Estimate and interval limits; None stands for undefined.
    interval_method, unit, basis, weights : str
        How the interval was made; unit of analysis; on what the number rests.
    n : int or None
        Number of units.
    label : str
        One of :data:`LABELS`.
    notebook, cell, profile, seed
        Where it was made. The runner fills in the cell.
    words : str or None
        What a rule says of a number, where prose quotes that and not the number.
    """

    key: str
    value: float | None
    low: float | None
    high: float | None
    interval_method: str
    unit: str
    n: int | None
    label: str
    basis: str
    weights: str
    notebook: str
    profile: str
    seed: int
    cell: str | None = None
    words: str | None = None


class Run:
    """One run of one notebook.

    Parameters
    ----------
    notebook : str
        Name without suffix, for example ``"02_roi_extraction"``.
    profile : str
        Name of the results folder.
    seed : int
        The run's random seed.
    part : {"thigh", "brain"}
        The cohort on which the notebook's own measurements rest.

    Attributes
    ----------
    weights : str
        Kind of network weights behind what is recorded from now on; set by the notebook once
        it knows, empty before.
    """

    def __init__(self, notebook: str, *, profile: str, seed: int, part: str = "thigh") -> None:
        display.setup()
        self.notebook, self.profile, self.seed = notebook, profile, seed
        self.folder = paths.results(profile)
        self.weights = ""
        self._numbers: dict[str, Number] = {}
        description = json.loads(self.need(f"cohort/{part}/cohort.json").read_text())
        self.label = "phantom" if description["synthetic"] else "your data"

    def need(self, name: str) -> Path:
        """Return an input file of this notebook.

        Parameters
        ----------
        name : str
            Path below ``results/<profile>``.

        Returns
        -------
        Path
            The existing file.

        Raises
        ------
        MissingInput
            When it is not there; the message names the command that makes it.
        """
        path = self.folder / name
        if path.exists():
            return path
        maker = next((step for start, step in MADE_BY.items() if name.startswith(start)), None)
        step = "an earlier notebook" if maker is None else maker
        raise MissingInput(
            f"{self.notebook} needs {name}, which is not in {self.folder.name}'s results. "
            f"It is made by {step}. Run: make book PROFILE={self.profile}"
        )

    def number(
        self,
        key: str,
        value: float,
        low: float | None = None,
        high: float | None = None,
        *,
        method: str = "",
        unit: str = "",
        n: int | None = None,
        digits: int = 2,
        percent: bool = False,
        interval: str = "95 % CI",
        label: str | None = None,
        basis: str = "",
        weights: str | None = None,
    ) -> None:
        """Store a number and make it quotable in prose under its key.

        Parameters
        ----------
        key : str
            Unique over the book, ``nb<NN>.<words>``.
        value, low, high : float
            Estimate and interval; NaN where undefined.
        method, unit : str
            Interval method; unit of analysis, for example ``"leg image"``.
        n : int, optional
            Number of units.
        digits : int
            Decimals shown; the stored number is not rounded.
        percent : bool
            Show as per cent.
        interval : str
            What the two limits are, where they are no 95 % confidence interval.
        label : str, optional
            Evidence label; by default that of the cohort.
        basis : str
            On what the number rests.
        weights : str, optional
            Which network weights made it; by default the run's.

        Raises
        ------
        ValueError
            For a key used twice or an unknown label.
        """
        if key in self._numbers:
            raise ValueError(f"The number {key!r} is recorded twice in {self.notebook}.")
        record = Number(
            key=key,
            value=_finite(value),
            low=_finite(low),
            high=_finite(high),
            interval_method=method,
            unit=unit,
            n=None if n is None else int(n),
            label=self._checked(label),
            basis=basis,
            weights=self._weights(weights, label),
            notebook=self.notebook,
            profile=self.profile,
            seed=self.seed,
        )
        self._numbers[key] = record
        text = number_text(record, digits=digits, percent=percent, interval=interval)
        _glue(key, text, record)

    def words(
        self,
        key: str,
        words: str,
        *,
        basis: str,
        label: str | None = None,
        weights: str | None = None,
    ) -> None:
        """Store what a rule says of a result, and make it quotable in prose under its key.

        Parameters
        ----------
        key : str
            As for :meth:`number`.
        words : str
            Made by the rule, never typed.
        basis : str
            The rule.
        label, weights : str, optional
            As for :meth:`number`.
        """
        made = self._checked(label), basis, self._weights(weights, label)
        self._numbers[key] = Number(
            *(key, None, None, None, "", "", None, *made),
            *(self.notebook, self.profile, self.seed),
            words=words,
        )
        _glue(key, words, self._numbers[key])

    def published(self, claim_id: str) -> None:
        """Make a published claim's number quotable in prose under the claim's id.

        Parameters
        ----------
        claim_id : str
            For example ``"P1-17"``, see :func:`helpers.claims.get`.
        """
        claim = claims.get(claim_id)
        record = Number(
            key=claim_id,
            value=claim.value,
            low=claim.low,
            high=claim.high,
            interval_method="as printed",
            unit=claim.unit,
            n=None,
            label=claim.label,
            basis=claim.source,
            weights="",
            notebook=self.notebook,
            profile=self.profile,
            seed=self.seed,
        )
        self._numbers[claim_id] = record
        _glue(claim_id, claim.text, record)

    def table(
        self,
        frame: pd.DataFrame,
        name: str,
        *,
        label: str | None = None,
        basis: str = "",
        weights: str | None = None,
    ) -> None:
        """Store a table exactly as shown, and show it.

        Parameters
        ----------
        frame : DataFrame
            The table; its index is not stored.
        name : str
            Short name; the file is ``tables/<NN>_<name>.csv``.
        label, basis, weights : str, optional
            As for :meth:`number`.

        Raises
        ------
        ValueError
            For rows of an author's own people: a book is made to be shared.
        """
        if self._is_about_people(frame):
            named = ", ".join(sorted(PERSONAL & set(frame.columns)))
            raise ValueError(
                f"The table {name!r} has the column {named}: it would show the codes of your own "
                "people in the book. Expected a table without it, for example counts."
            )
        path = self._file("tables", name, ".csv")
        if frame.empty:  # Sphinx refuses a table without a body
            frame = pd.DataFrame([dict.fromkeys(frame.columns, "none")])
        _write_csv(frame, path)
        passport = self._passport("table", name, label, basis, weights, data=path)
        text = frame.to_html(index=False, escape=True, border=0)
        bundle = {"text/html": text, "text/plain": frame.to_string(index=False)}
        show(bundle, raw=True, metadata={"passport": passport})

    def figure(
        self,
        figure: Figure,
        name: str,
        *,
        data: pd.DataFrame | None = None,
        label: str | None = None,
        basis: str = "",
        weights: str | None = None,
    ) -> None:
        """Store a figure and the numbers it shows, and show it.

        Parameters
        ----------
        figure : matplotlib.figure.Figure
            Drawn by a function of ``helpers.display``; closed here.
        name : str
            Short name; the file is ``figures/<NN>_<name>.png``.
        data : DataFrame, optional
            What the figure shows, for the download; rows of an author's own people are not
            offered, since a book is made to be shared.
        label, basis, weights : str, optional
            As for :meth:`number`.
        """
        path = self._file("figures", name, ".png")
        image = display.png(figure)
        with paths.atomic_path(path) as temporary:
            temporary.write_bytes(image)
        source = self._offered(data, name)
        passport = self._passport("figure", name, label, basis, weights, data=source)
        bundle = {"image/png": display.base64(image), "text/plain": f"<figure {name}>"}
        show(bundle, raw=True, metadata={"passport": passport})

    def widget(
        self,
        fragment: str,
        name: str,
        *,
        data: pd.DataFrame,
        label: str | None = None,
        basis: str = "",
        weights: str | None = None,
    ) -> None:
        """Show a piece of HTML that works by itself in the page, and store the numbers in it.

        Parameters
        ----------
        fragment : str
            Made by a function of ``helpers.display``, its text escaped.
        name : str
            Short name; the numbers go to ``tables/<NN>_<name>_figure.csv``.
        data : DataFrame
            The numbers, for the download; withheld as for :meth:`figure`.
        label, basis, weights : str, optional
            As for :meth:`number`.
        """
        source = self._offered(data, name)
        passport = self._passport("figure", name, label, basis, weights, data=source)
        bundle = {"text/html": fragment, "text/plain": f"<interactive figure {name}>"}
        show(bundle, raw=True, metadata={"passport": passport})

    def save(self) -> None:
        """Write ``numbers/<notebook>.json``; the notebook's last step."""
        path = self.folder / "numbers" / f"{self.notebook}.json"
        records = [asdict(number) for number in self._numbers.values()]
        with paths.atomic_path(path) as temporary:
            temporary.write_text(json.dumps(records, indent=1, allow_nan=False) + "\n")

    def _checked(self, label: str | None) -> str:
        chosen = label or self.label
        if chosen not in LABELS:
            raise ValueError(f"Evidence label {chosen!r}: expected one of {', '.join(LABELS)}.")
        return chosen

    def _offered(self, data: pd.DataFrame | None, name: str) -> Path | None:
        """Store a figure's numbers for the download, unless they are an author's own people."""
        source = self._file("tables", f"{name}_figure", ".csv")
        if data is None or self._is_about_people(data):
            source.unlink(missing_ok=True)  # one of an earlier run would still be offered
            return None
        _write_csv(data, source)
        return source

    def _is_about_people(self, data: pd.DataFrame) -> bool:
        return self.label == "your data" and not PERSONAL.isdisjoint(data.columns)

    def _weights(self, weights: str | None, label: str | None) -> str:
        measured_here = label in (None, self.label)
        return weights if weights is not None else self.weights if measured_here else ""

    def _file(self, folder: str, name: str, suffix: str) -> Path:
        return self.folder / folder / f"{self.notebook[:2]}_{name}{suffix}"

    def _passport(
        self,
        kind: str,
        name: str,
        label: str | None,
        basis: str,
        weights: str | None,
        *,
        data: Path | None,
    ) -> dict[str, Any]:
        return {
            "kind": kind,
            "name": f"{self.notebook[:2]}_{name}",
            "label": self._checked(label),
            "basis": basis,
            "weights": self._weights(weights, label),
            "notebook": self.notebook,
            "seed": self.seed,
            "profile": self.profile,
            "data": None if data is None else data.relative_to(self.folder).as_posix(),
        }


def number_text(
    number: Number, *, digits: int = 2, percent: bool = False, interval: str = "95 % CI"
) -> str:
    """Return a number as prose shows it: estimate and interval.

    Parameters
    ----------
    number : Number
        The record.
    digits : int
        Decimals.
    percent : bool
        Show as per cent.
    interval : str
        What the two limits are.

    Returns
    -------
    str
        For example ``"0.91 (95 % CI 0.88 to 0.93)"``; ``"undefined"`` where there is no value.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> number_text(SimpleNamespace(value=0.909, low=0.884, high=0.929))
    '0.91 (95 % CI 0.88 to 0.93)'
    >>> number_text(SimpleNamespace(value=0.5, low=None, high=None), digits=0, percent=True)
    '50 %'
    >>> number_text(SimpleNamespace(value=6e-7, low=None, high=None))
    '6e-07'
    """
    if number.value is None:
        return "undefined"

    def one(value: float) -> str:
        scaled = value * 100 if percent else value
        if 0 < abs(scaled) < 0.01 and round(scaled, digits) == 0:
            return f"{scaled:.0e}"
        return f"{scaled:,.{digits}f}"

    unit = " %" if percent else ""
    if number.low is None or number.high is None:
        return f"{one(number.value)}{unit}"
    return f"{one(number.value)}{unit} ({interval} {one(number.low)} to {one(number.high)})"


def badge(label: str, basis: str = "", weights: str = "") -> str:
    """Return the HTML of an evidence badge.

    Parameters
    ----------
    label : str
        One of :data:`LABELS`.
    basis : str
        Shown as the badge's tooltip; escaped.
    weights : str
        Kind of network weights, shown in the badge; escaped.

    Returns
    -------
    str
        A ``span`` element.

    Examples
    --------
    >>> badge("phantom")
    '<span class="evidence evidence-phantom">phantom</span>'
    >>> badge("phantom", weights="random")
    '<span class="evidence evidence-phantom">phantom, random weights</span>'
    """
    title = f' title="{html.escape(basis, quote=True)}"' if basis else ""
    text = f"{label}, {html.escape(weights)} weights" if weights not in ("", "none") else label
    return f'<span class="evidence evidence-{label.replace(" ", "-")}"{title}>{text}</span>'


def merge_numbers(folder: Path) -> list[dict[str, Any]]:
    """Merge ``numbers/*.json`` of a profile into ``numbers.json``.

    Parameters
    ----------
    folder : Path
        ``results/<profile>``.

    Returns
    -------
    list of dict
        All numbers, in the order of the notebooks; a published claim that several notebooks
        quote stands once.

    Raises
    ------
    ValueError
        When two notebooks record the same key.
    """
    merged: dict[str, dict[str, Any]] = {}
    for path in sorted((folder / "numbers").glob("*.json")):
        for item in json.loads(path.read_text()):
            other = merged.setdefault(item["key"], item)
            if other is not item and item["label"] != "published":
                both = f"{other['notebook']} and {item['notebook']}"
                raise ValueError(f"The number {item['key']!r} is recorded by {both}.")
    with paths.atomic_path(folder / "numbers.json") as temporary:
        temporary.write_text(json.dumps(list(merged.values()), indent=1, allow_nan=False) + "\n")
    return list(merged.values())


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _glue(key: str, text: str, number: Number) -> None:
    note = "; ".join(part for part in (number.basis, number.unit) if part)
    mark = badge(number.label, note, number.weights)
    rich = f'<span class="number">{html.escape(text)} {mark}</span>'
    bundle = {
        f"{GLUE_PREFIX}text/html": rich,
        f"{GLUE_PREFIX}text/plain": f"{text} [{number.label}]",
    }
    metadata = {"scrapbook": {"name": key, "mime_prefix": GLUE_PREFIX}}
    show(bundle, raw=True, metadata=metadata)


def _write_csv(frame: pd.DataFrame, path: Path) -> None:
    with paths.atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False)
