"""The operating-point explorer: sliders in the page, computed there, without a network.

Every number it shows comes from :mod:`helpers.operating`; the script only looks it up, carries
predictive values to the chosen prevalence by Bayes' theorem and counts 1,000 people. Where
scripts do not run, a table stands instead.
"""

import hashlib
import html
import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers import operating, paths

#: Prevalences of the table that needs no script.
FIXED_PREVALENCES = (0.01, 0.05, 0.10, 0.20, 0.35, 0.50)

_PEOPLE = {
    "tp": ("ill", "ill, called positive"),
    "fn": ("ill hollow", "ill, missed"),
    "fp": ("well", "not ill, called positive"),
    "tn": ("well hollow", "not ill, cleared"),
}


@dataclass(frozen=True)
class Source:
    """One set of operating points among which the reader of a page may choose.

    Attributes
    ----------
    name : str
        What the choice is called.
    label : str
        Evidence label.
    points : DataFrame
        As :func:`helpers.operating.sweep` returns it.
    setting_name : str
        What the slider sets.
    texts : tuple of str
        Each setting in words, in order.
    start : float
        Setting shown first.
    marks : dict of str to float
        Settings with a name of their own.
    note : str
        What these numbers are, and what their intervals take for granted.
    """

    name: str
    label: str
    points: pd.DataFrame
    setting_name: str
    texts: tuple[str, ...]
    start: float
    marks: dict[str, float]
    note: str


def sources(
    published: pd.DataFrame, here: pd.DataFrame, *, label: str, chosen: float
) -> list[Source]:
    """Describe the published operating point and those of this cohort.

    Parameters
    ----------
    published : DataFrame
        From :func:`helpers.reanalysis.operating_points`.
    here : DataFrame
        From :func:`helpers.operating.sweep`.
    label : str
        Evidence label of this cohort.
    chosen : float
        Threshold chosen on the validation set.

    Returns
    -------
    list of Source
    """
    correlations = list(dict.fromkeys(published["setting"]))
    words = ["0, images independent, as published" if v == 0 else f"{v:g}" for v in correlations]
    paper = Source(
        name="published counts (one operating point)",
        label="recomputed",
        points=published,
        setting_name="Correlation of one person's images, an assumption",
        texts=tuple(words),
        start=correlations[0],
        marks={},
        note="From Table 3 of the paper. The threshold is not stated and cannot be moved. "
        "Intervals: Wilson, and the log method for likelihood ratios, on effective images.",
    )
    thresholds = list(dict.fromkeys(here["setting"]))
    cohort = Source(
        name=f"{label}, this run",
        label=label,
        points=here,
        setting_name="Threshold of the probability",
        texts=tuple(f"{value:.2f}" for value in thresholds),
        start=0.5,
        marks={"0.50, the plan": 0.5, f"{chosen:.2f}, best Youden index on validation": chosen},
        note="This cohort's test images. Intervals: people resampled.",
    )
    return [paper, cohort]


def fragment(sources: list[Source], *, key: str, prevalence: float = 0.35) -> str:
    """Return the explorer as a piece of HTML with its style and script inside.

    Parameters
    ----------
    sources : list of Source
        The first is shown first.
    key : str
        Makes ids on the page unique, if two explorers show the same numbers.
    prevalence : float
        Share of ill people at the start; whole per cent between 1 and 60.

    Returns
    -------
    str
        All text escaped; loads nothing.
    """
    payload = _payload(sources)
    mark = hashlib.sha256(f"{key}{payload}".encode()).hexdigest()[:8]
    ident = f"explorer-{mark}"
    data = json.dumps({"id": ident, "sources": payload}, separators=(",", ":"))
    script = paths.package_data("explorer.js").read_text(encoding="utf-8").strip()
    style = paths.package_data("explorer.css").read_text(encoding="utf-8").strip()
    return (
        f'<div class="explorer" id="{ident}"><style>{style}</style>'
        f"{_controls(sources, ident, prevalence)}{_fixed_table(sources)}"
        f"<script>{script}({_safe(data)});</script></div>"
    )


def fixed_table(source: Source) -> pd.DataFrame:
    """Tabulate a source at its first setting, for readers without the script.

    Parameters
    ----------
    source : Source
        One of those shown.

    Returns
    -------
    DataFrame
        Prevalence, then positive and negative predictive value with intervals, as text.
    """
    rows = source.points[source.points["setting"] == source.start].set_index("measure")
    shown = []
    for prevalence in FIXED_PREVALENCES:
        values = [
            _span(
                operating.at_prevalence(
                    rows.loc[name, ["estimate", "low", "high"]].to_numpy(dtype=float),
                    prevalence,
                    positive=name == "ppv_half",
                )
            )
            for name in ("ppv_half", "npv_half")
        ]
        shown.append((f"{100 * prevalence:.0f} %", *values))
    columns = ["Prevalence", "Positive predictive value", "Negative predictive value"]
    return pd.DataFrame(shown, columns=columns)


def _payload(sources: list[Source]) -> list[dict]:
    return [
        {
            "label": source.label,
            "setting_name": source.setting_name,
            "settings": _settings(source),
            "texts": list(source.texts),
            "start": _settings(source).index(source.start),
            "note": source.note,
            "rows": {
                name: [_compact(row) for row in own.itertuples()]
                for name, own in source.points.groupby("measure")
            },
        }
        for source in sources
    ]


def _settings(source: Source) -> list[float]:
    settings = list(dict.fromkeys(source.points["setting"].astype(float)))
    if len(settings) != len(source.texts):
        raise ValueError(f"{len(settings)} settings but {len(source.texts)} texts for them.")
    return settings


def _compact(row) -> list:
    numbers = [
        float(value) if np.isfinite(value) else None for value in (row.estimate, row.low, row.high)
    ]
    missing = numbers[1] is None or numbers[2] is None
    return [*numbers, row.method.removeprefix("none: ")] if missing else numbers


def _controls(sources: list[Source], ident: str, prevalence: float) -> str:
    choices = "".join(
        f'<label><input type="radio" name="{ident}" data-source="{number}"'
        f"{' checked' if number == 0 else ''}> {html.escape(source.name)}</label>"
        for number, source in enumerate(sources)
    )
    marks = "".join(
        f'<button type="button" data-mark-of="{number}" '
        f'data-index="{_settings(source).index(value)}">{html.escape(name)}</button>'
        for number, source in enumerate(sources)
        for name, value in source.marks.items()
    )
    common = "".join(
        f'<button type="button" data-prevalence="{100 * value:.0f}">{100 * value:.0f} %</button>'
        for value in FIXED_PREVALENCES
    )
    return (
        '<div data-part="live" hidden>'
        f'<fieldset><legend>Numbers from</legend><div class="choices">{choices}</div></fieldset>'
        '<p class="note"><span data-part="evidence"></span> <span data-part="note"></span></p>'
        '<label class="slider"><span data-part="setting-name"></span>: '
        '<output data-part="setting-text"></output>'
        '<input type="range" min="0" max="1" step="1" value="0" data-part="setting"></label>'
        f"<div>{marks}</div>"
        '<label class="slider">Prevalence, the share of people who are ill: '
        '<output data-part="prevalence-text"></output>'
        f'<input type="range" min="1" max="60" step="1" value="{100 * prevalence:.0f}" '
        f'data-part="prevalence"></label><div>{common}</div>'
        f'{_people()}<p role="status" class="note" data-part="summary"></p>'
        '<div class="scroll"><table><caption>At this setting and prevalence</caption><thead><tr>'
        '<th scope="col">Measure</th><th scope="col">Estimate</th>'
        '<th scope="col">95 % interval</th></tr></thead><tbody data-part="measures"></tbody>'
        "</table></div></div>"
    )


def _people() -> str:
    drawn = "".join(
        f'<path class="{kind}" stroke-width="1.2" data-part="people-{name}" d=""/>'
        for name, (kind, _) in _PEOPLE.items()
    )
    listed = "".join(
        f'<li><svg viewBox="0 0 10 10" aria-hidden="true"><circle cx="5" cy="5" r="3.8" '
        f'class="{kind}" stroke-width="1.6"/></svg><b data-part="count-{name}"></b> {words}</li>'
        for name, (kind, words) in _PEOPLE.items()
    )
    grid = f'<svg viewBox="0 0 500 200" aria-hidden="true">{drawn}</svg>'
    return f'{grid}<ul class="legend">{listed}</ul>'


def _fixed_table(sources: list[Source]) -> str:
    tables = "".join(
        f'<div class="scroll">{_html_table(source)}</div>'
        f'<p class="note">{html.escape(source.note)}</p>'
        for source in sources
    )
    return (
        '<details open data-part="fixed"><summary>The same at a few prevalences, as a table'
        f"</summary>{tables}</details>"
    )


def _html_table(source: Source) -> str:
    table = fixed_table(source)
    text = source.texts[_settings(source).index(source.start)]
    caption = f"{source.name} ({source.label}); {source.setting_name}: {text}"
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in table.columns)
    body = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(value)}</td>" for value in row[1:])
        + "</tr>"
        for row in table.itertuples(index=False)
    )
    return (
        f"<table><caption>{html.escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _span(values: np.ndarray) -> str:
    estimate, low, high = (100 * value for value in values)
    if not np.isfinite(estimate):
        return "undefined"
    if not np.isfinite([low, high]).all():
        return f"{estimate:.1f} %"
    return f"{estimate:.1f} % ({low:.1f} to {high:.1f})"


def _safe(data: str) -> str:
    """Keep data from ending the script it stands in; ``json.dumps`` escapes the rest."""
    return data.replace("<", "\\u003c")
