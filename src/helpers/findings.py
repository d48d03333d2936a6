"""Findings about the thigh paper as a whole, with the numbers that their evidence rests on.

The words stand in ``book/findings.yml``; every number in them is computed here, from the claims
and from Table 2.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd
import yaml

from helpers import cohort, ledger, paths, published, recompute
from helpers.accuracy import Counts
from helpers.claims import Claim
from helpers.published import Printed

_FIELDS = ("id", "finding", "evidence", "not_implied", "settled_by")
_NETWORKS = ("P1-18", "P1-23", "P1-27", "P1-31", "P1-35")
_SPECIFICITIES = ("P1-19", "P1-22", "P1-26", "P1-30", "P1-34")
_READERS = ("P1-37a", "P1-37b", "P1-37c")

#: Correlation within cases that the evidence uses as an example; one of by_correlation's.
EXAMPLE_CORRELATION = 0.8


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes
    ----------
    id : str
        ``A3-01`` …
    finding, evidence, not_implied, settled_by : str
        What stands out; on what that rests, numbers filled in; what must not be concluded; what
        would correct or confirm it.
    claims : tuple of str
        Ids of the claims it concerns.
    """

    id: str
    finding: str
    evidence: str
    not_implied: str
    settled_by: str
    claims: tuple[str, ...]


def build(printed: Mapping[str, Claim]) -> list[Finding]:
    """Return all findings, their numbers computed.

    Parameters
    ----------
    printed : mapping of str to Claim
        All claims.

    Returns
    -------
    list of Finding

    Raises
    ------
    ledger.LedgerError
        When a finding lacks a field, its text names an unknown number, or a claim names a finding
        that does not exist.

    Examples
    --------
    >>> from helpers import claims
    >>> len(build(claims.everything()))
    20
    """
    path = paths.root() / "book" / "findings.yml"
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    lacking = [f"{row.get('id')}: no {key}" for row in rows for key in _FIELDS if not row.get(key)]
    ids = [row.get("id") for row in rows]
    named = {name: claim.id for claim in printed.values() for name in claim.findings}
    lacking += [
        f"{by} names finding {n}, which does not exist" for n, by in named.items() if n not in ids
    ]
    if lacking:
        raise ledger.LedgerError("book/findings.yml: " + "; ".join(lacking))
    return [_finding(row, printed) for row in rows]


def _finding(row: Mapping[str, str], printed: Mapping[str, Claim]) -> Finding:
    name = row["id"]
    facts = _FACTS[name](printed) if name in _FACTS else {}
    concerned = tuple(claim.id for claim in printed.values() if name in claim.findings)
    evidence = ledger.filled(row["evidence"], facts, of=name)
    rest = (row[key] for key in ("not_implied", "settled_by"))
    finding = ledger.filled(row["finding"], facts, of=name)
    return Finding(name, finding, evidence, *rest, claims=concerned)


def counts_of_table_3(printed: Mapping[str, Claim]) -> Counts:
    """Return the two-by-two table of the paper's Table 3 from its printed counts.

    Examples
    --------
    >>> from helpers import claims
    >>> counts_of_table_3(claims.everything())
    Counts(tp=204, fn=24, fp=35, tn=385)
    """
    value = {name: int(printed[name].value) for name in ("P1-43n", "P1-43d", "P1-44n", "P1-44d")}
    tp, positives = value["P1-43n"] + value["P1-44n"], value["P1-43d"] + value["P1-44d"]
    fp, tn = (int(printed[name].value) for name in ("P1-45p", "P1-45n"))
    return Counts(tp=tp, fn=positives - tp, fp=fp, tn=tn)


def age_and_sex(printed: Mapping[str, Claim]) -> dict[str, float]:
    r"""Areas under the ROC curve that age and sex alone would reach, from printed moments.

    Age is taken as normal. With the share w of women among controls, sex alone reaches
    :math:`(1+w)/2`, and both together :math:`w + (1-w)A` when every woman is called a control and
    men are ordered by age, area A; age is taken as equal in women and men.

    Parameters
    ----------
    printed : mapping of str to Claim
        All claims.

    Returns
    -------
    dict of str to float
        ``age``, ``sex``, ``both``.

    Examples
    --------
    >>> from helpers import claims
    >>> {name: round(area, 3) for name, area in age_and_sex(claims.everything()).items()}
    {'age': 0.887, 'sex': 0.711, 'both': 0.935}
    """
    women = printed["P1-12f"].value / (printed["P1-12f"].value + printed["P1-12m"].value)
    moments = [
        tuple(printed[name].value for name in pair)
        for pair in (("P1-08", "P1-08s"), ("P1-13a", "P1-13as"))
    ]
    age = cohort.area_from_moments(*moments)
    return {"age": age, "sex": (1 + women) / 2, "both": women + (1 - women) * age}


def _even(printed: Mapping[str, Claim]) -> dict[str, str]:
    table = cohort.published_table()
    cells = table[["train_images", "val_images", "test_images"]].to_numpy()
    cells = cells[cells > 0]
    if (cells % 2).any():
        raise ledger.LedgerError("A3-01: not every image count of Table 2 is even.")
    four = int((table["total_images"] == 4 * table["total_cases"]).sum())
    return {
        "cells": f"{cells.size}",
        "chance": _power(0.5**cells.size),
        "four": f"{four}",
        "rows": f"{len(table)}",
    }


def _clustering(printed: Mapping[str, Claim]) -> dict[str, str]:
    rows = correlated(printed).set_index(["correlation", "measure"])
    plain, wide = (rows.loc[(c, "sensitivity")] for c in (0.0, EXAMPLE_CORRELATION))
    return {
        "icc": f"{EXAMPLE_CORRELATION:g}",
        "plain": f"{plain['low']:.3f} to {plain['high']:.3f}",
        "wide": f"{wide['low']:.3f} to {wide['high']:.3f}",
    }


def correlated(printed: Mapping[str, Claim]) -> pd.DataFrame:
    """Return the intervals of :func:`helpers.published.by_correlation` for the printed counts."""
    dmd, bmd = (
        (int(printed[k].value), int(printed[n].value))
        for k, n in (("P1-43n", "P1-43d"), ("P1-44n", "P1-44d"))
    )
    return published.by_correlation(counts_of_table_3(printed), dmd, bmd)


def _one_set(printed: Mapping[str, Claim]) -> dict[str, str]:
    table = cohort.published_table()
    positive = table[table["label"] == 1]
    sizes = {name: int(positive[f"{name}_images"].sum()) for name in ("test", "val")}
    rows = [Printed(*printed[name].printed.values()) for name in _NETWORKS]
    fit = {name: sum(bool(published.fitting(row, n)) for row in rows) for name, n in sizes.items()}
    return {
        "networks": f"{len(rows)}",
        "on_test": f"{fit['test']}",
        "on_validation": f"{fit['val']}" if fit["val"] else "none",
        "test": f"{sizes['test']}",
        "validation": f"{sizes['val']}",
    }


def _split(printed: Mapping[str, Claim]) -> dict[str, str]:
    facts = {"chi_p": f"p = {_power(cohort.split_test())}"}
    short = {"BMD": "bmd", "Myositis": "myositis", "all others": "other"}
    for row in cohort.split_plausibility().itertuples():
        if row.group in short:
            name = short[row.group]
            facts[name] = f"{row.in_test} of {row.cases}"
            facts[f"{name}_expected"] = f"{row.expected:.1f}"
            facts[f"{name}_p"] = f"p = {_power(row.p)}"
    return facts


def _of_claim(name: str) -> Callable[[Mapping[str, Claim]], dict[str, str]]:
    return lambda printed: recompute.run(printed[name], printed).facts


def _model_and_readers(printed: Mapping[str, Claim]) -> dict[str, str]:
    facts = recompute.run(printed["P1-46b"], printed).facts
    return {"model": facts["model_specificity"], "doctors": facts["doctors_specificity"]}


def _truncated(printed: Mapping[str, Claim]) -> dict[str, str]:
    ratio = {
        name: printed[k].value / printed[n].value
        for name, k, n in (("dmd", "P1-43n", "P1-43d"), ("bmd", "P1-44n", "P1-44d"))
    }
    return {name: f"{100 * value:.1f}" for name, value in ratio.items()}


def _mean_reader(printed: Mapping[str, Claim]) -> dict[str, str]:
    outcome = recompute.run(printed["P1-39"], printed)
    return outcome.facts | {"found": outcome.how.split(" of ")[0]}


def _confounders(printed: Mapping[str, Claim]) -> dict[str, str]:
    women = printed["P1-12f"].value / (printed["P1-12f"].value + printed["P1-12m"].value)
    areas = {name: f"{area:.3f}" for name, area in age_and_sex(printed).items()}
    return areas | {"women": f"{100 * women:.0f}"}


def _thresholds(printed: Mapping[str, Claim]) -> dict[str, str]:
    values = sorted(printed[name].printed["value"] for name in _SPECIFICITIES)
    return {"low": f"{values[0]}", "high": f"{values[-1]}"}


def _sizes(printed: Mapping[str, Claim]) -> dict[str, str]:
    ids = {"validation_cases": "P1-03b", "test_cases": "P1-03c"}
    ids |= {"validation_images": "P1-04b", "test_images": "P1-04c"}
    facts = {name: printed[key].text for name, key in ids.items()}
    return facts | {"ratio": f"{100 * printed['P1-04b'].value / printed['P1-04c'].value:.0f}"}


def _twice(printed: Mapping[str, Claim]) -> dict[str, str]:
    once = int(printed["P1-45p"].value + printed["P1-45n"].value)
    return {"once": f"{once}", "twice": f"{2 * once}"}


def _consistent(printed: Mapping[str, Claim]) -> dict[str, str]:
    ids = {"training": "P1-03a", "validation": "P1-03b", "test": "P1-03c"}
    parts = {name: int(printed[key].value) for name, key in ids.items()}
    return {name: f"{n}" for name, n in (parts | {"total": sum(parts.values())}).items()}


def _power(value: float, *, digits: int = 0) -> str:
    """Write a small number with a power of ten."""
    factor, exponent = f"{value:.{digits}e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{factor} × 10{raised}"


_FACTS: dict[str, Callable[[Mapping[str, Claim]], dict[str, str]]] = {
    "A3-01": _even,
    "A3-02": _clustering,
    "A3-03": _one_set,
    "A3-04": _split,
    "A3-05": _of_claim("P1-40"),
    "A3-06": _model_and_readers,
    "A3-08": _truncated,
    "A3-10": _mean_reader,
    "A3-11": _confounders,
    "A3-12": _thresholds,
    "A3-15": _sizes,
    "A3-17": _twice,
    "A3-20": _consistent,
}
