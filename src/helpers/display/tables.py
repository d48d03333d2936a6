"""Results as the tables of a page show them: text, rounded, with intervals in words."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from helpers import readers


def number(value: float, *, digits: int = 3) -> str:
    """Format a number with significant digits.

    Parameters
    ----------
    value : float
        NaN is undefined.
    digits : int
        Significant digits.

    Returns
    -------
    str

    Examples
    --------
    >>> number(0.89474), number(10.7368), number(float("nan"))
    ('0.895', '10.7', 'undefined')
    """
    return f"{value:#.{digits}g}".rstrip(".") if np.isfinite(value) else "undefined"


def span(low: float, high: float, *, digits: int = 3) -> str:
    """Format the limits of an interval; a dash where there is none.

    Examples
    --------
    >>> span(0.848, 0.928), span(float("nan"), 1.0)
    ('0.848 to 0.928', '–')
    """
    if not np.isfinite([low, high]).all():
        return "–"
    return f"{number(low, digits=digits)} to {number(high, digits=digits)}"


def p_text(p: float) -> str:
    """Format a p-value with two significant digits.

    Examples
    --------
    >>> p_text(0.002055), p_text(0.19), p_text(2.9e-5), p_text(float("nan"))
    ('0.0021', '0.19', '< 0.0001', '–')
    """
    if not np.isfinite(p):
        return "–"
    return "< 0.0001" if p < 1e-4 else f"{p:#.2g}"


def with_span(row: pd.Series, *, digits: int = 3) -> str:
    """Format an estimate with its interval in brackets.

    Examples
    --------
    >>> with_span(pd.Series({"estimate": 0.5, "low": 0.25, "high": 0.75}))
    '0.500 (0.250 to 0.750)'
    """
    limits = span(row["low"], row["high"], digits=digits)
    brackets = "" if limits == "–" else f" ({limits})"
    return f"{number(row['estimate'], digits=digits)}{brackets}"


def by_correlation(table: pd.DataFrame, *, names: Mapping[str, str]) -> pd.DataFrame:
    """Put the intervals for several assumed correlations side by side.

    Parameters
    ----------
    table : DataFrame
        correlation, measure, estimate, low, high.
    names : mapping of str to str
        Measures to show and how to name them.

    Returns
    -------
    DataFrame
        Measure, Estimate and a column of intervals for each correlation.

    Examples
    --------
    >>> rows = {"correlation": [0.0, 0.4], "measure": "ppv", "estimate": 0.5, "low": 0.4,
    ...         "high": 0.6}
    >>> by_correlation(pd.DataFrame(rows), names={"ppv": "PPV"}).columns.tolist()
    ['Measure', 'Estimate', 'Interval, independent (0)', 'Interval, 0.4 assumed']
    """
    shown = []
    for measure, name in names.items():
        rows = table[table["measure"] == measure]
        cells = {_column(row.correlation): span(row.low, row.high) for row in rows.itertuples()}
        shown.append({"Measure": name, "Estimate": number(rows["estimate"].iloc[0])} | cells)
    return pd.DataFrame(shown)


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """Show which differences survive images of one person being alike.

    Parameters
    ----------
    table : DataFrame
        As :func:`helpers.reanalysis.differences` returns it.

    Returns
    -------
    DataFrame
        Measure, Against, Difference with its interval for independent images, a column of p for
        each correlation, and up to which correlation p stays below 0.05.
    """
    shown = []
    for (measure, against), rows in table.groupby(["measure", "against"], sort=False):
        first = rows.iloc[0].rename({"difference": "estimate"})
        cells = {f"p, {_short(row.correlation)}": p_text(row.p) for row in rows.itertuples()}
        shown.append(
            {
                "Measure": measure.capitalize(),
                "Network against": against,
                "Difference (95 % interval, 0)": with_span(first),
                **cells,
                "p below 0.05 up to": _limit(float(first["limit"])),
            }
        )
    return pd.DataFrame(shown)


def routes_to_p(
    largest: pd.DataFrame, needs: pd.DataFrame, *, printed: float, unit: str
) -> pd.DataFrame:
    """Show which tests cannot have given a printed p, and what others would need.

    Parameters
    ----------
    largest : DataFrame
        test, largest_p.
    needs : DataFrame
        test, unit, needs.
    printed : float
        The printed p.
    unit : str
        Unit of the first table's tests.

    Returns
    -------
    DataFrame
        Test, Unit, Possible, Why.
    """
    first = [
        (row.test, unit, _possible(row.largest_p, printed), f"p is at most {row.largest_p:.4f}")
        for row in largest.itertuples()
    ]
    second = [(row.test, row.unit, "yes, if", row.needs) for row in needs.itertuples()]
    names = ["Test", "Unit", f"p = {printed:.3f} possible?", "Why"]
    return pd.DataFrame([*first, *second], columns=names)


def wide(table: pd.DataFrame, *, row: str, title: str, digits: int = 3) -> pd.DataFrame:
    """Put measures side by side, each estimate with its interval.

    Parameters
    ----------
    table : DataFrame
        The row's column, measure, estimate, low, high.
    row : str
        Column that names the rows.
    title : str
        Title of that column.
    digits : int
        Significant digits.

    Returns
    -------
    DataFrame
        The rows' names, then sensitivity, specificity, accuracy.
    """
    shown = []
    for name, rows in table.groupby(row, sort=False):
        own = rows.set_index("measure")
        measures = ("sensitivity", "specificity", "accuracy")
        cells = {m.capitalize(): with_span(own.loc[m], digits=digits) for m in measures}
        shown.append({title: name} | cells)
    return pd.DataFrame(shown)


def agreement(table: pd.DataFrame, *, label: str) -> pd.DataFrame:
    """Show agreement measured here below the printed kappa.

    Parameters
    ----------
    table : DataFrame
        raters, measure, estimate, low, high.
    label : str
        Evidence label of this cohort.

    Returns
    -------
    DataFrame
        Who, Evidence, Measure, Estimate, 95 % interval, Word (for kappa, after Landis and Koch).
    """
    printed = readers.PUBLISHED_KAPPA
    first = ("three radiologists", "published", "Fleiss' kappa", f"{printed:.3f}", "not printed")
    shown = [(*first, readers.kappa_word(printed))]
    for row in table.itertuples():
        word = readers.kappa_word(row.estimate) if "kappa" in row.measure else "–"
        limits = span(row.low, row.high)
        shown.append((row.raters, label, row.measure, number(row.estimate), limits, word))
    names = ["Who", "Evidence", "Measure", "Estimate", "95 % interval", "Landis and Koch"]
    return pd.DataFrame(shown, columns=names)


def against(table: pd.DataFrame) -> pd.DataFrame:
    """Show the network less each reader, with the reason where nothing is tested.

    Parameters
    ----------
    table : DataFrame
        As :func:`helpers.readers.against_model` returns it.

    Returns
    -------
    DataFrame
    """
    return pd.DataFrame(
        {
            "Reader": table["rater"],
            "Measure": table["measure"].str.capitalize(),
            "Difference": [number(value, digits=2) for value in table["difference"]],
            "95 % interval": [
                span(low, high, digits=2)
                for low, high in zip(table["low"], table["high"], strict=True)
            ],
            "p": [p_text(value) for value in table["p"]],
            "Test, or why none": table["reason"].where(table["reason"] != "", table["method"]),
        }
    )


def subtypes(table: pd.DataFrame) -> pd.DataFrame:
    """Show the test of DMD against BMD for several assumed correlations.

    Parameters
    ----------
    table : DataFrame
        As :func:`helpers.reanalysis.subtypes` returns it.

    Returns
    -------
    DataFrame
    """
    return pd.DataFrame(
        {
            "Test": table["test"],
            "Assumed correlation": [f"{value:g}" for value in table["correlation"]],
            "Effective images, DMD": [f"{value:.0f}" for value in table["n_dmd"]],
            "Effective images, BMD": [f"{value:.0f}" for value in table["n_bmd"]],
            "DMD less BMD": [
                with_span(row)
                for _, row in table.rename(columns={"difference": "estimate"}).iterrows()
            ],
            "p": [p_text(value) for value in table["p"]],
        }
    )


def subtypes_here(table: pd.DataFrame) -> pd.DataFrame:
    """Show three tests of DMD against BMD on a cohort.

    Parameters
    ----------
    table : DataFrame
        As :func:`helpers.subtypes.compare` returns it.

    Returns
    -------
    DataFrame
    """
    renamed = table.rename(columns={"difference": "estimate"})
    return pd.DataFrame(
        {
            "Unit": table["unit"],
            "Test": table["test"],
            "DMD": _share_of(table["dmd"], table["n_dmd"]),
            "BMD": _share_of(table["bmd"], table["n_bmd"]),
            "DMD less BMD": [with_span(row, digits=2) for _, row in renamed.iterrows()],
            "p": [p_text(value) for value in table["p"]],
        }
    )


def case_mix(columns: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put sensitivities in several mixes of DMD and BMD side by side.

    Parameters
    ----------
    columns : mapping of str to DataFrame
        Results of :func:`helpers.reanalysis.standardised` by the column's title.

    Returns
    -------
    DataFrame
        Mix, BMD among positives, then the columns.
    """
    first = next(iter(columns.values()))
    shown = {
        "Mix of": first["mix"],
        "BMD among positives": [f"{100 * share:.1f} %" for share in first["share_bmd"]],
    }
    shown |= {
        title: [with_span(row) for _, row in table.iterrows()] for title, table in columns.items()
    }
    return pd.DataFrame(shown)


def shares(table: pd.DataFrame, *, group: str = "Group") -> pd.DataFrame:
    """Show the share called dystrophinopathy in groups of images.

    Parameters
    ----------
    table : DataFrame
        As :func:`helpers.subtypes.shares` returns it.
    group : str
        Title of the first column.

    Returns
    -------
    DataFrame
    """
    return pd.DataFrame(
        {
            group: table["group"].astype(str),
            "People": table["cases"],
            "Images": table["n"],
            "Called": table["called"],
            "Share (95 % interval)": [_share(row) for _, row in table.iterrows()],
            "Interval": table["method"],
        }
    )


def calibration(table: pd.DataFrame) -> pd.DataFrame:
    """Show calibration before and after recalibration.

    Parameters
    ----------
    table : DataFrame
        As :func:`helpers.usefulness.summaries` returns it.

    Returns
    -------
    DataFrame
        Measure, Ideal and a column for each version.
    """
    shown = []
    for measure, rows in table.groupby("measure", sort=False):
        cells = {row["version"].capitalize(): _share(row) for _, row in rows.iterrows()}
        shown.append({"Measure": _CALIBRATION[str(measure)], "Ideal": rows["ideal"].iloc[0]})
        shown[-1] |= cells
    return pd.DataFrame(shown)


_CALIBRATION = {
    "intercept": "Calibration intercept",
    "slope": "Calibration slope",
    "brier": "Brier score",
    "brier_scaled": "Brier score, scaled",
    "ece": "Expected calibration error",
}


def _share(row: pd.Series) -> str:
    if not np.isfinite(row["estimate"]):
        return "undefined"
    limits = np.array([row["low"], row["high"]], dtype=float)
    known = f" ({limits[0]:.2f} to {limits[1]:.2f})" if np.isfinite(limits).all() else ""
    return f"{row['estimate']:.2f}{known}"


def _share_of(shares_of: pd.Series, n: pd.Series) -> list[str]:
    pairs = zip(shares_of, n, strict=True)
    return [f"{number(p, digits=2)} of {size:.0f}" if p == p else "undefined" for p, size in pairs]


def _column(correlation: float) -> str:
    return "Interval, independent (0)" if correlation == 0 else f"Interval, {correlation:g} assumed"


def _short(correlation: float) -> str:
    return "0" if correlation == 0 else f"{correlation:g} assumed"


def _limit(value: float) -> str:
    if value < 0:
        return "none"
    return "1 (any)" if value >= 1 else f"{value:.2f}"


def _possible(largest: float, printed: float) -> str:
    return "no" if largest < printed else "yes"
