"""Tables of the claims page: what follows from the printed counts, beside single claims."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pandas as pd

from helpers import accuracy, findings, inference, published, recompute
from helpers.accuracy import Counts
from helpers.claims import Claim

#: Rows of Table 1 as accuracy, specificity, sensitivity.
NETWORKS = {
    "VGG-19": ("P1-21", "P1-22", "P1-23"),
    "ResNet50": ("P1-17", "P1-19", "P1-18"),
    "DenseNet201": ("P1-25", "P1-26", "P1-27"),
    "DenseNet121": ("P1-29", "P1-30", "P1-31"),
    "Inception-V3": ("P1-33", "P1-34", "P1-35"),
}
PREVALENCES = (0.01, 0.05, 0.10, 0.20, 0.50)
_READERS = ("P1-37a", "P1-37b", "P1-37c")
_DIGITS = {"lr_positive": 2, "diagnostic_odds_ratio": 1}


class Table(NamedTuple):
    """One table.

    Attributes
    ----------
    name : str
        File name without suffix.
    frame : DataFrame
        Cells as shown.
    basis : str
        On what it rests.
    """

    name: str
    frame: pd.DataFrame
    basis: str


def build(printed: Mapping[str, Claim]) -> list[Table]:
    """Return all tables.

    Parameters
    ----------
    printed : mapping of str to Claim
        All claims.

    Returns
    -------
    list of Table

    Examples
    --------
    >>> from helpers import claims
    >>> [table.name for table in build(claims.everything())][0]
    'ledger_solutions'
    """
    counts = findings.counts_of_table_3(printed)
    return [
        Table("ledger_solutions", _solutions(printed), "Table 1"),
        Table("ledger_measures", _measures(printed, counts), "Table 3, and the readers' shares"),
        Table("ledger_p", p_table(printed), "Table 1, Table 3 and the abstract"),
        Table("ledger_p_elsewhere", elsewhere_table(printed), "Table 3 and the abstract"),
        Table("ledger_correlation", _correlation(printed), "Tables 2 and 3; correlations assumed"),
        Table("ledger_prevalence", _prevalence(printed, counts), "Table 3; prevalences chosen"),
        Table("ledger_case_mix", case_mix(printed), "Tables 2 and 3"),
        Table("ledger_age_sex", _age_sex(printed), "printed ages and sexes; ages taken as normal"),
    ]


def p_table(printed: Mapping[str, Claim]) -> pd.DataFrame:
    """Return the largest p of each test on independent images, and whether the printed p can be.

    Parameters
    ----------
    printed : mapping of str to Claim
        All claims.

    Returns
    -------
    DataFrame

    Examples
    --------
    >>> from helpers import claims
    >>> set(p_table(claims.everything())["Can be the printed p"])
    {'no'}
    """
    claim, (model, doctors) = printed["P1-40"], (printed["P1-18"], printed["P1-39"])
    positives, _ = recompute.size_of_test_set()
    tight = [recompute.whole_numbers(c, positives) for c in (model, doctors)]
    loose = [
        published.fitting(published.Printed(c.printed["value"]), positives)
        for c in (model, doctors)
    ]
    unique, rounded = (published.largest_p(*sets, positives) for sets in (tight, loose))
    low, _ = published.rounding_range(claim.printed["value"])
    shown = f"Largest p, {tight[0][0]} against {tight[1][0]} of {positives}"
    rows = [
        {
            "Test": test,
            shown: f"{unique[test]:.4f}",
            "Largest p, any counts that round to the shares": f"{rounded[test]:.4f}",
            "Can be the printed p": "yes" if rounded[test] >= low else "no",
        }
        for test in unique
    ]
    return pd.DataFrame(rows)


def elsewhere_table(printed: Mapping[str, Claim]) -> pd.DataFrame:
    """Return the analyses with another unit that can give the printed p, and what each needs.

    Parameters
    ----------
    printed : mapping of str to Claim
        All claims.

    Returns
    -------
    DataFrame
        Unit, test, what it needs, what speaks against it.
    """
    facts = recompute.run(printed["P1-40u"], printed).facts
    rows = [
        (
            "case",
            f"{facts['test']}, unpaired",
            f"{facts['model']} against {facts['reader']} of {facts['cases']} cases found",
            f"shares {facts['model_share']} and {facts['reader_share']}; printed are "
            f"{printed['P1-18'].printed['value']} and {printed['P1-39'].printed['value']}",
        ),
        (
            "reader",
            "one-sample t, three readers against the model",
            f"a standard deviation of {facts['spread']} between readers' sensitivities",
            "the three sensitivities are not in the text",
        ),
        (
            "image, allowing for cases",
            "z with a design effect",
            f"a design effect of {facts['effect']}: images of a case correlated {facts['icc']}, "
            f"worth {facts['effective']} independent ones",
            "the intervals beside it make no such allowance",
        ),
    ]
    columns = ["Unit", "Test", "Gives the printed p with", "Against it"]
    return pd.DataFrame(rows, columns=columns)


def case_mix(printed: Mapping[str, Claim]) -> pd.DataFrame:
    """Return the sensitivity that the printed subtypes give in other mixes of DMD and BMD.

    Parameters
    ----------
    printed : mapping of str to Claim
        All claims.

    Returns
    -------
    DataFrame
        Mix, share of BMD, sensitivity.

    Examples
    --------
    >>> from helpers import claims
    >>> case_mix(claims.everything())["Sensitivity"].tolist()
    ['0.895', '0.891', '0.919', '0.921', '0.930', '0.933']
    """
    dmd, bmd = (
        printed[k].value / printed[n].value for k, n in (("P1-43n", "P1-43d"), ("P1-44n", "P1-44d"))
    )
    mixes = {
        "test set, images": ("images", "test"),
        "test set, cases": ("cases", "test"),
        "whole cohort, images": ("images", "total"),
        "whole cohort, cases": ("cases", "total"),
        "training set, images": ("images", "training"),
        "training set, cases": ("cases", "training"),
    }
    rows = []
    for name, (of, split) in mixes.items():
        becker, all_ = (
            recompute.table_2(of, rows, split).readings[0].value for rows in ("BMD", "positive")
        )
        value = published.standardised(dmd, bmd, becker / all_)
        rows.append((name, f"{100 * becker / all_:.1f} %", f"{value:.3f}"))
    return pd.DataFrame(rows, columns=["Mix of DMD and BMD", "Share of BMD", "Sensitivity"])


def _solutions(printed: Mapping[str, Claim]) -> pd.DataFrame:
    return pd.DataFrame(_solution_rows(printed))


def _solution_rows(printed: Mapping[str, Claim]) -> Iterator[dict[str, str]]:
    positives, controls = recompute.size_of_test_set()
    for name, row in NETWORKS.items():
        pairs = recompute.joint([printed[key] for key in row])
        tables = [Counts(tp, positives - tp, controls - tn, tn) for tp, tn in pairs]
        found = [accuracy.measures(counts) for counts in tables]
        spans = {
            label: _range([float(m[measure]) for m in found], digits)
            for label, measure, digits in (
                ("F1", "f1", 3),
                ("Positive likelihood ratio", "lr_positive", 1),
                ("Negative likelihood ratio", "lr_negative", 3),
            )
        }
        shown = "; ".join(f"{tp}, {tn}" for tp, tn in pairs) or "none"
        yield {"Network": name, "True positives, true negatives": shown, **spans}


def _measures(printed: Mapping[str, Claim], counts: Counts) -> pd.DataFrame:
    doctors = [printed[key] for key in _READERS]
    readers = [accuracy.measures(c) for c in recompute.doctors_counts(doctors, printed["P1-39"])]
    model = inference.from_counts(counts).set_index("measure")
    rows = []
    for name, label in accuracy.MEASURES.items():
        digits, row = _DIGITS.get(name, 3), model.loc[name]
        interval = (
            "none"
            if pd.isna(row["low"])
            else f"{row['low']:.{digits}f} to {row['high']:.{digits}f}"
        )
        mean = _range([float(reader[name]) for reader in readers], digits)
        rows.append((label, f"{row['estimate']:.{digits}f}", interval, mean))
    columns = ["Measure", "ResNet50", "95 % interval, images independent", "Mean radiologist"]
    return pd.DataFrame(rows, columns=columns)


def _correlation(printed: Mapping[str, Claim]) -> pd.DataFrame:
    rows = findings.correlated(printed)
    shown = rows["low"].map("{:.3f}".format) + " to " + rows["high"].map("{:.3f}".format)
    wide = rows.assign(shown=shown).pivot(index="correlation", columns="measure", values="shown")
    wide = wide[list(dict.fromkeys(rows["measure"]))].reset_index()
    wide["correlation"] = wide["correlation"].map("{:g}".format)
    names = {"correlation": "Correlation within cases"}
    return wide.rename(columns=lambda name: names.get(name, name[0].upper() + name[1:]))


def _prevalence(printed: Mapping[str, Claim], counts: Counts) -> pd.DataFrame:
    own = printed["P1-01p"].value / printed["P1-01"].value
    found = accuracy.measures(counts)
    pair = float(found["sensitivity"]), float(found["specificity"])
    rows = [
        (
            f"{100 * share:.0f} %{' (the cohort)' if share == own else ''}",
            *(f"{value:.3f}" for value in published.predictive_values(*pair, share)),
        )
        for share in sorted([*PREVALENCES, own])
    ]
    columns = ["Prevalence", "Positive predictive value", "Negative predictive value"]
    return pd.DataFrame(rows, columns=columns)


def _age_sex(printed: Mapping[str, Claim]) -> pd.DataFrame:
    names = {"age": "age alone", "sex": "sex alone", "both": "women called controls, men by age"}
    areas = findings.age_and_sex(printed)
    rows = [(names[name], f"{area:.3f}") for name, area in areas.items()]
    return pd.DataFrame(rows, columns=["Without any image", "Area under the ROC curve"])


def _range(values: list[float], digits: int) -> str:
    if not values:
        return "none"
    first, last = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    return first if first == last else f"{first} to {last}"
