"""What ``make bench`` measured, as the book's page on speed and validation shows it.

The results are files under version control, made on one machine on one day. Nothing is timed
while the book is built.
"""

from pathlib import Path

import pandas as pd

from helpers import paths, realism
from helpers.phantom import brain_head, thigh

#: Columns that say when and on what a benchmark ran; :func:`overview` shows them once.
ABOUT = (
    *("date", "cores", "accelerator", "python", "numpy", "scikit-image", "phantom_version"),
    *("matrix", "replicates"),
)
#: Tables that the page shows; a missing one is shown as not measured.
SHOWN = (
    *("phantom_speed", "roi_speed", "roi_against_truth", "cohort_scale", "cohort_paper"),
    "bootstrap_speed",
    *("brain_speed", "brain_memory", "brain_training", "brain_reading"),
    *("networks_extraction", "networks_engines", "networks_cached", "networks_heads"),
    *("networks_memory", "networks_paper"),
)
#: Of wide tables, what the page shows; the files hold the rest.
COLUMNS = {
    "networks_extraction": (
        *("network", "task", "images", "rounds", "seconds", "spread", "ratio", "processor"),
        *("processor_ratio", "difference", "share_of_peak"),
    ),
    "networks_engines": (
        *("network", "task", "rounds", "seconds", "spread", "ratio", "ratio_spread"),
        *("processor_ratio", "difference"),
    ),
    "networks_cached": (
        *("network", "epochs", "images", "naive_wall", "naive", "stored_wall", "times_faster"),
        *("by_processor_time", "weights_apart"),
    ),
    "networks_heads": (
        *("images", "task", "rounds", "seconds", "spread", "ratio", "processor"),
        *("processor_ratio", "per_second"),
    ),
}
#: Benchmarks that look at no image.
WITHOUT_PHANTOM = ("bootstrap_speed", "networks_heads")
#: How a row is found, the column, the highest value that reaches the aim, and its words.
AIMS = (
    ("roi_speed", ("task", "ROI step of this book"), "ratio", 2.0, "finding legs: over reading"),
    ("cohort_paper", ("step", "both"), "wall_seconds", 480.0, "published cohort and legs, seconds"),
    ("bootstrap_speed", ("task", "all measures"), "seconds", 2.0, "10,000 resamplings, seconds"),
    (
        *("brain_training", ("profile", "paper"), "wall_seconds", 2400.0),
        "training the brain network at 2 mm, seconds",
    ),
    ("brain_training", ("profile", "paper"), "peak_gib", 6.0, "the same, highest memory, GiB"),
    (
        *("networks_cached", ("epochs", 100), "share", 0.02),
        "100 epochs on stored features: share of the time through the whole network",
    ),
    (
        *("networks_extraction", ("task", "this book, network alone"), "difference", 1e-4),
        "features: distance from those of Keras predict",
    ),
    (
        "networks_paper",
        ("step", "all"),
        "wall_seconds",
        3600.0,
        "five networks, all steps, seconds",
    ),
    ("networks_paper", ("step", "all"), "peak_gib", 4.0, "the same, highest memory, GiB"),
    (
        *("weights_learning", ("run", "simulated"), "together_seconds", 300.0),
        "five networks learning on simulated legs, seconds",
    ),
)
#: Memory counts as independent of the cohort's size up to this ratio; the limit is ours.
MEMORY_RATIO = 1.1


def names() -> list[str]:
    """Return the benchmarks that have stored results.

    Examples
    --------
    >>> "roi_speed" in names()
    True
    """
    return sorted(path.stem for path in _folder().glob("*.csv"))


def read(name: str) -> pd.DataFrame:
    """Return the stored rows of a benchmark.

    Parameters
    ----------
    name : str
        File name without suffix.

    Returns
    -------
    DataFrame
        As ``benchmarks/results/<name>.csv`` holds them.

    Raises
    ------
    FileNotFoundError
        When it was never run; the message lists those that were.
    """
    path = _folder() / f"{name}.csv"
    if not path.is_file():
        raise FileNotFoundError(
            f"No benchmark {name!r}. Available: {', '.join(names()) or 'none'}. Run: make bench"
        )
    return pd.read_csv(path)


def overview() -> pd.DataFrame:
    """Return when and on what each benchmark ran, and whether its phantom is the present one.

    Returns
    -------
    DataFrame
        benchmark, date, cores, phantom version, and ``present phantom``: yes, what differs, or
        that it uses none.
    """
    rows = []
    for name in names():
        first = read(name).iloc[0]
        version = int(first.phantom_version)
        present = thigh.SPECIFICATION["version"]
        if name.startswith("brain_"):
            present = brain_head.Specification().version
        same = "yes" if version == present else f"no: the present one is version {present}"
        same = "uses none" if name in WITHOUT_PHANTOM else same
        rows.append((name.replace("_", " "), first.date, first.get("cores", ""), version, same))
    columns = ["benchmark", "date", "cores", "phantom version", "present phantom"]
    return pd.DataFrame(rows, columns=columns)


def aims() -> pd.DataFrame:
    """Return each aim that was set beforehand, what was measured, and whether it was reached.

    Returns
    -------
    DataFrame
        aim, at most, measured, reached (``yes``, ``no``, or ``not measured``).
    """
    rows = []
    for name, (column, value), measure, limit, words in AIMS:
        table = read(name) if name in names() else pd.DataFrame({column: [], measure: []})
        rows.append(_aim(words, limit, table.loc[table[column] == value, measure]))
    if "cohort_scale" in names():
        scale = read("cohort_scale").query("step == 'both'").set_index("size").peak_gib
        ratio = pd.Series([scale["4 x"] / scale["1 x"]])
        rows.append(_aim("peak memory at four times the slices", MEMORY_RATIO, ratio))
    if "networks_memory" in names():
        peak = read("networks_memory").set_index("leg_images").peak_gib.sort_index()
        words = f"one network: peak memory from {peak.index[0]} to {peak.index[-1]} leg images"
        rows.append(_aim(words, MEMORY_RATIO, pd.Series([peak.iloc[-1] / peak.iloc[0]])))
    if "networks_paper" in names():
        whole = read("networks_paper").query("step == 'all'").set_index("cohort").peak_gib
        ratio = pd.Series([whole[1.0] / whole[0.25]] if {0.25, 1.0} <= set(whole.index) else [])
        words = "five networks, all steps: peak memory at four times the cohort"
        rows.append(_aim(words, MEMORY_RATIO, ratio))
    if "brain_memory" in names():
        scale = read("brain_memory").sort_values("subjects").groupby("voxel_mm").peak_gib
        ratio = pd.Series([(scale.last() / scale.first()).max()])
        sizes = " and ".join(f"{mm:g}" for mm in scale.groups)
        rows.append(_aim(f"peak memory at four times the brains, {sizes} mm", MEMORY_RATIO, ratio))
    if "brain_reading" in names():
        reading = read("brain_reading")
        for task in ("read, prepared and decided", "the same, and judged whether it is a head"):
            part = reading[reading["task"] == task]
            words = f"a brain, slowest kind of file, seconds: {task}"
            rows.append(_aim(words, part["published_seconds"].iloc[0], part["seconds"]))
    return pd.DataFrame(rows, columns=["aim", "at most", "measured", "reached"])


def real_thighs() -> pd.DataFrame:
    """Return the measures of the public real thighs, one column a volume.

    Returns
    -------
    DataFrame
        measure, unit, then for each volume ``median (p10 to p90)`` over legs; empty where its
        kind of image is not fair to compare.
    """
    table = realism.real()
    table = table[~table.measure.str.startswith("intensity")]
    text = [f"{row.p50:.3g} ({row.p10:.3g} to {row.p90:.3g})" for row in table.itertuples()]
    wide = table.assign(text=text).pivot(index=["measure", "unit"], columns="volume", values="text")
    order = [(name, unit) for name, unit in realism.MEASURES.items() if (name, unit) in wide.index]
    return wide.loc[order, list(table.volume.unique())].fillna("").reset_index()


def write_tables(folder: Path) -> None:
    """Write the tables that the book's page shows.

    Parameters
    ----------
    folder : Path
        ``tables`` of the staged book; the files are named ``benchmark_<name>.csv``.
    """
    shown = {"overview": overview(), "aims": aims(), "real_thighs": real_thighs()}
    for name in SHOWN:
        table = read(name) if name in names() else pd.DataFrame({"result": ["not measured yet"]})
        table = table[[c for c in COLUMNS.get(name, ()) if c in table] or list(table)]
        shown[name] = _readable(table.drop(columns=list(ABOUT), errors="ignore"))
    for name, table in shown.items():
        if table.empty:  # Sphinx refuses a table without a body
            first, *others = table.columns
            row = {first: "not measured yet"} | dict.fromkeys(others, "")
            table = pd.DataFrame([row])
        titled = table.rename(columns=lambda column: column.replace("_", " "))
        titled.to_csv(folder / f"benchmark_{name}.csv", index=False)


def _readable(table: pd.DataFrame) -> pd.DataFrame:
    times = {"seconds": "milliseconds", "spread": "spread (ms)", "processor": "processor (ms)"}
    table = table.assign(**{name: 1000 * table[name] for name in times if name in table})
    table = table.rename(columns=times)
    return table.map(lambda value: _text(value) if isinstance(value, float) else value)


def _text(value: float) -> str:
    """Write a number with three digits, a count with all of them, and nothing for NaN."""
    if pd.isna(value):
        return ""
    return f"{value:.0f}" if value == round(value) or abs(value) >= 100 else f"{value:.3g}"


def _aim(words: str, limit: float, values: pd.Series) -> tuple[str, float, object, str]:
    if values.dropna().empty:
        return words, limit, "", "not measured"
    value = float(values.max())
    return words, limit, f"{value:.3g}", "yes" if value <= limit else "no"


def _folder() -> Path:
    return paths.root() / "benchmarks" / "results"
