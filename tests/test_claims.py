"""The file of published claims: what it must hold, and clear messages when it does not."""

import re
from decimal import Decimal

import pytest

from helpers import claims, paths

GOOD = '- {id: P1-01, statement: cases, value: 432, unit: case, source: "Yang 2021"}\n'


@pytest.fixture
def file(tmp_path):
    return tmp_path / "claims.yml"


def test_every_claim_of_both_studies_is_there():
    bases = {claim.base for claim in claims.everything().values()}
    wanted = {f"P1-{n:02d}" for n in range(1, 51)} | {f"D1-{n:02d}" for n in range(1, 20)}
    wanted |= {f"D2-{n:02d}" for n in range(1, 9)}
    assert bases == wanted


def test_printed_decimals_survive():
    assert str(claims.get("P1-25").printed["value"]) == "0.90"
    assert claims.get("P1-25").value == 0.9
    assert str(claims.get("P1-40").printed["value"]) == "0.190"
    assert claims.get("P1-25").text == "0.90 (95 % CI 0.87 to 0.92)"


def test_derived_numbers_are_not_called_published():
    assert claims.get("P1-07k").label == "recomputed"
    assert claims.get("P1-17").label == "published"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {id: P1-01, statement: cases", "claims.yml is no YAML: .*line 1"),
        ("P1-01: 432", "expected a list of claims"),
        ("", "expected a list of claims"),
        ("- {id: P1-01, statement: cases}", "P1-01: no source"),
        ("- {id: P9, statement: a, source: b}", "P9: expected an id such as P1-01"),
        ("- {id: P1-01, statement: a, source: b, vlaue: 3}", "unknown field 'vlaue'; available: "),
        ("- {id: P1-01, statement: a, source: b, value: many}", "value is 'many', expected a num"),
        ("- {id: P1-01, statement: a, source: b, value: nan}", "value is 'nan', expected a number"),
        ("- {id: P1-01, statement: a, source: b, low: 3}", "one limit of an interval without"),
        ("- {id: P1-01, statement: a, source: b, where: x}", "where is text, expected a list"),
        ("- {id: P1-01, statement: a, source: b, recompute: x}", "recompute has no 'by'"),
        (GOOD + GOOD, "P1-01 stands twice"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(file, text, message):
    file.write_text(text)
    with pytest.raises(claims.InvalidClaims, match=message):
        claims.read(file)


def test_all_problems_are_listed_at_once(file):
    file.write_text("- {id: P1-01, statement: a}\n- {id: P1-02, source: b}\n")
    with pytest.raises(
        claims.InvalidClaims, match=re.compile("P1-01: no source.*P1-02: no st", re.S)
    ):
        claims.read(file)


def test_a_good_row_is_read(file):
    file.write_text(GOOD)
    claim = claims.read(file)["P1-01"]
    assert (claim.value, claim.printed, claim.text) == (432.0, {"value": Decimal(432)}, "432")


def test_ids_that_pages_quote_stay():
    """Renaming or dropping an id breaks prose elsewhere; these were published first."""
    old = {"P1-01p", "P1-03c", "P1-05b", "P1-06b", "P1-13a", "P1-37c", "P1-43n", "P1-45n", "D1-02p"}
    assert old <= set(claims.everything())
    assert (paths.root() / "book" / "claims.yml").is_file()
