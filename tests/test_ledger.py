"""The ledger: every verdict pinned, a changed digit noticed, and the pages made from it."""

import csv
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup

from helpers import (
    book,
    book_pages,
    checklist,
    claims,
    findings,
    ledger,
    ledger_page,
    ledger_tables,
    recompute,
)
from helpers.claims import Claim
from helpers.ledger import (
    CONTRADICTED,
    CONTRADICTED_IF,
    EXACT,
    NOT_CHECKABLE,
    NOT_RUN,
    REMARK,
    TESTED,
    TESTED_OWN,
)
from helpers.recompute import Outcome, Reading

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

#: Results are decimals, per cents and "a of b"; words and names with numbers are none.
TYPED = re.compile(r"\d+\.\d+|\d+ ?(?:%|per cent)|\b\d+ (?:of|out of) \d+\b")
NOT_TYPED = re.compile(r"1\.5 or 3\.0 T|95 %|doi \S+|\]\(\S+\)|`[^`]*`|<!--.*?-->")


@pytest.fixture(scope="module")
def rows():
    return {row.claim.id: row for row in ledger.build()}


@pytest.fixture(scope="module")
def printed():
    return claims.everything()


def changed_by(printed, name: str, **literals: str) -> list[ledger.Row]:
    """The ledger when one claim had been printed otherwise."""
    numbers = {key: Decimal(text) for key, text in literals.items()}
    claim = printed[name]
    new = replace(
        claim, printed=claim.printed | numbers, **{k: float(v) for k, v in numbers.items()}
    )
    return ledger.build({**printed, name: new})


# Verdicts


def test_every_verdict_is_the_pinned_one(rows):
    assert ledger.changed(list(rows.values()), ledger.expected()) == []


def test_pins_hold_every_verdict_of_the_rule_and_no_other():
    """No claim is contradicted without a condition of ours, so that verdict has no row."""
    assert set(ledger.expected().values()) == set(ledger.VERDICTS) - {CONTRADICTED}


@pytest.mark.parametrize(
    ("verdict", "ids"),
    [
        (REMARK, "P1-09s P1-29 P1-43 P1-44 P1-46b D1-10 D1-10l D1-14r"),
        (CONTRADICTED_IF, "P1-40"),
        (TESTED, "P1-16 P1-20 P1-24 P1-28 P1-32 P1-36 P1-48 D1-08 D1-13 D1-16"),
    ],
)
def test_which_claims_are_not_plain(verdict, ids):
    """Written out a second time: these are the rows that a reader looks for first."""
    assert {name for name, found in ledger.expected().items() if found == verdict} == set(
        ids.split()
    )


def test_derived_numbers_and_sums_are_counted_apart(rows):
    apart = ledger.counts_apart(list(rows.values()))
    derived = [row for row in rows.values() if row.claim.derived]
    assert derived and sum(n for _, _, n in apart.values()) == len(derived)
    printed, sums, _ = apart[EXACT]
    assert 0 < sums < printed
    assert ledger.ADDS_UP in rows["P1-01"].remark and ledger.ADDS_UP not in rows["P1-18"].remark
    shown = ledger_page.summary(list(rows.values()))
    assert f"<strong>{printed}</strong>" in shown and f"{sums} of them only add up" in shown


def test_all_fifteen_intervals_of_table_1(rows):
    for number in range(17, 37):
        row = rows[f"P1-{number}"]
        if "low" in row.claim.printed:
            assert row.verdict in (EXACT, REMARK), row
            assert ledger.agrees(row.reading, row.claim.printed)
    shares = [row for row in rows.values() if "Table 1" in row.claim.source and row.claim.low]
    assert len(shares) == 15
    assert [row.claim.id for row in shares if row.verdict == REMARK] == ["P1-29"]
    assert rows["P1-29"].reading.method == "Clopper-Pearson"
    assert rows["P1-17"].outcome.facts["solutions"] == "TP 204, TN 385"


def test_the_printed_p(rows):
    row = rows["P1-40"]
    assert row.outcome.facts["largest"] == "0.0067" and row.outcome.facts["loosest"] == "0.019"
    assert row.verdict == "contradicted if the images count as independent"
    shown = ledger_page.claims_table([row], {}, str)
    assert f">{row.verdict}</span>" in shown and row.verdict in ledger_page.summary([row])
    other = rows["P1-40u"]
    assert other.verdict == NOT_CHECKABLE
    wanted = {"test": "Fisher", "model": "34", "reader": "29", "cases": "37", "spread": "0.093"}
    assert wanted.items() <= other.outcome.facts.items()
    assert other.outcome.facts["effect"] == "5.53"
    # Weighted by images (6.18 a case); the plain mean, 6.16, would give .88.
    assert other.outcome.facts["icc"] == "0.87"


def test_what_follows_for_the_doctors(rows):
    facts = rows["P1-46b"].outcome.facts
    assert facts["doctors_specificity"] == "0.845 to 0.853"
    assert facts["doctors_f1"] == "0.761 to 0.767"
    assert rows["P1-41"].outcome.facts["vote_high"] == "0.918"


# The rule itself

SHARE = Claim(
    "P1-01", "a share", "0.94", 0.94, None, None, "image", "here", {"value": Decimal("0.94")}
)


@pytest.mark.parametrize(
    ("readings", "verdict"),
    [
        ([Reading(0.944)], EXACT),
        ([Reading(0.946)], CONTRADICTED),
        ([Reading(0.946), Reading(0.946, cut=True, condition="if cut")], REMARK),
        ([Reading(0.94, condition="if granted"), Reading(0.941)], EXACT),
        ([Reading(span=(0.90, 0.9349))], CONTRADICTED),
        ([Reading(span=(0.90, 0.9351))], EXACT),
        ([Reading(None)], CONTRADICTED),
    ],
)
def test_readings_decide(readings, verdict, monkeypatch):
    monkeypatch.setattr(recompute, "run", lambda claim, printed: Outcome(tuple(readings), how="x"))
    (row,) = ledger.build({"P1-01": SHARE})
    assert row.verdict == verdict
    assert ("if" in row.remark) is (verdict == REMARK)


@pytest.mark.parametrize(
    ("within", "verdict"), [((0.5, 0.95), NOT_CHECKABLE), ((0.5, 0.9), CONTRADICTED)]
)
def test_bounds_exclude_or_leave_open(within, verdict, monkeypatch):
    monkeypatch.setattr(recompute, "run", lambda claim, printed: Outcome(within=within, how="x"))
    assert ledger.build({"P1-01": SHARE})[0].verdict == verdict


def test_a_search_that_finds_nothing_contradicts(monkeypatch):
    claim = replace(SHARE, recompute={"by": "network"})
    monkeypatch.setattr(recompute, "run", lambda claim, printed: Outcome(how="searched"))
    assert ledger.build({"P1-01": claim})[0].verdict == CONTRADICTED


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        (None, NOT_RUN),
        ({}, NOT_CHECKABLE),
        ({"nb04.x": {"label": "phantom", "value": 1.0}}, TESTED),
        ({"nb04.x": {"label": "your data", "value": 1.0}}, TESTED_OWN),
    ],
)
def test_a_measured_number_decides_only_where_nothing_is_printed(numbers, verdict):
    claim = replace(SHARE, measured="nb04.x")
    assert ledger.build({"P1-01": claim}, numbers)[0].verdict == verdict


def test_a_phantom_does_not_change_a_recomputed_verdict(printed):
    far_off = {"nb04.resnet50.accuracy": {"label": "phantom", "value": 0.1}}
    row = next(r for r in ledger.build(printed, far_off) if r.claim.id == "P1-17")
    assert row.verdict == EXACT and row.measured["value"] == 0.1


def test_a_run_without_its_number_is_a_change(printed):
    problems = ledger.changed(ledger.build(printed, {}), ledger.expected())
    assert any("P1-20" in p and "records no number 'nb04.resnet50.auc'" in p for p in problems)


def test_a_network_that_the_run_leaves_out_is_not_run(printed):
    """Another choice of networks must not stop the book; a network without its area must."""
    number = {"label": "phantom", "value": 0.5}
    verdicts = {
        row.claim.id: row.verdict
        for row in ledger.build(printed, {"nb03.mobilenet.auc": number, "nb03.vgg19.x": number})
    }
    assert verdicts["P1-28"] == NOT_RUN and verdicts["P1-24"] == NOT_CHECKABLE


def test_own_data_and_no_run_are_no_change(rows):
    tested = [replace(rows["P1-20"], verdict=verdict) for verdict in (TESTED, TESTED_OWN, NOT_RUN)]
    for row in tested:
        assert ledger.changed([row], {"P1-20": TESTED}) == []
        assert ledger.changed([row], {"P1-20": EXACT}) != []


def test_pins_and_claims_must_match(rows):
    row = rows["P1-01"]
    assert "no expected verdict" in ledger.changed([row], {})[0]
    assert "is no claim any more" in ledger.changed([row], {"P1-01": EXACT, "P1-99": EXACT})[0]


# A changed digit


@pytest.mark.parametrize(
    ("name", "literals", "affected"),
    [
        ("P1-01", {"value": "433"}, "P1-01"),
        ("P1-09", {"value": "9.3"}, "P1-09"),
        ("P1-12r", {"value": "1.3"}, "P1-12r"),
        ("P1-17", {"value": "0.92"}, "P1-17"),
        ("P1-18", {"low": "0.84"}, "P1-18"),
        ("P1-19", {"high": "0.95"}, "P1-19"),
        ("P1-22", {"value": "0.97"}, "P1-21"),
        ("P1-29", {"value": "0.89"}, "P1-30"),
        ("P1-37b", {"low": "0.80"}, "P1-37b"),
        ("P1-38", {"value": "0.83"}, "P1-38"),
        ("P1-39", {"high": "0.85"}, "P1-39"),
        ("P1-40", {"value": "0.019"}, "P1-40"),
        ("P1-41", {"value": "0.990"}, "P1-41"),
        ("P1-40u", {"value": "1.190"}, "P1-40u"),
        ("P1-43", {"value": "0.95"}, "P1-43"),
        ("P1-43n", {"value": "124"}, "P1-17"),
        ("P1-45p", {"value": "36"}, "P1-19"),
        ("D1-03b", {"value": "55"}, "D1-02p"),
        ("D1-10l", {"value": "0.983"}, "D1-10l"),
        ("D1-11", {"value": "7"}, "D1-11s"),
        ("D2-04", {"value": "0.954"}, "D2-04"),
    ],
)
def test_a_changed_digit_changes_a_verdict(printed, name, literals, affected):
    problems = ledger.changed(changed_by(printed, name, **literals), ledger.expected())
    assert any(problem.startswith(f"{affected} ") for problem in problems), problems


def copy_of_the_repository(folder: Path) -> Path:
    for name in ("Snakefile", "_config.yml"):
        shutil.copy(ROOT / name, folder)
    for name in ("book", "parameters"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def check(folder: Path) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "PAPER_RESULTS"}
    return subprocess.run(
        [sys.executable, "-m", "helpers", "check"],
        **{"cwd": folder, "env": environment, "capture_output": True, "text": True},
    )


def test_make_check_passes_without_a_run_and_fails_on_a_changed_digit(tmp_path):
    root = copy_of_the_repository(tmp_path)
    done = check(root)
    assert done.returncode == 0, done.stderr
    assert "10  not run yet" in done.stdout and f"1  {CONTRADICTED_IF}" in done.stdout
    path = root / "book" / "claims.yml"
    text = path.read_text()
    path.write_text(
        text.replace(
            "id: P1-43n, statement: DMD images called dystrophinopathy, value: 123",
            "id: P1-43n, statement: DMD images called dystrophinopathy, value: 122",
        )
    )
    assert path.read_text() != text
    done = check(root)
    assert done.returncode == 1
    assert "P1-43n" in done.stderr and "was 'recomputed exactly', is 'contradicted'" in done.stderr
    path.write_text("- {id: P1-01")
    done = check(root)
    assert done.returncode == 1
    assert done.stderr.startswith("claims.yml is no YAML") and "Traceback" not in done.stderr


def test_no_book_is_built_while_a_verdict_differs(tmp_path, monkeypatch):
    root = copy_of_the_repository(tmp_path)
    pins = root / "book" / "expected_verdicts.csv"
    pins.write_text(pins.read_text().replace(f"P1-40,{CONTRADICTED_IF}", f"P1-40,{EXACT}"))
    monkeypatch.delenv("PAPER_RESULTS", raising=False)
    monkeypatch.chdir(root)
    with pytest.raises(book.BookError, match=r"(?s)Verdicts on published claims changed.*P1-40"):
        book.make("small")
    assert not (root / "_build").exists()


# Errors that name what is there


def one(**fields) -> dict[str, Claim]:
    return {"P1-01": replace(SHARE, **fields)}


@pytest.mark.parametrize(
    ("recomputation", "message"),
    [
        ({"by": "rato"}, "no function 'rato'. Available: table_2, "),
        ({"by": "ratio"}, "missing a required argument.*Its inputs: numerator, denominator"),
        ({"by": "ratio", "numerator": "P1-98", "denominator": "P1-01"}, "'P1-98' is no claim"),
        ({"by": "ratio", "a": "x", "numerator": "P1-01", "denominator": "P1-01"}, "unexpected key"),
    ],
)
def test_an_impossible_recomputation_says_why(recomputation, message):
    with pytest.raises(recompute.UnknownRecomputation, match=message):
        ledger.build(one(recompute=recomputation))


def test_a_recomputation_that_stops_names_the_claim():
    with pytest.raises(ledger.LedgerError, match=r"P1-01: table_2 stopped: KeyError.*claims\.yml"):
        ledger.build(one(recompute={"by": "table_2", "of": "casse"}))


def test_a_remark_that_names_an_unknown_number_says_which():
    with pytest.raises(ledger.LedgerError, match=r"P1-01: its note names sdd\. Available: none"):
        ledger.build(one(remark="It is {sdd}."))


# Findings


def test_all_twenty_findings_with_their_claims(printed):
    found = findings.build(printed)
    assert [finding.id for finding in found] == [f"A3-{n:02d}" for n in range(1, 21)]
    assert all(finding.claims for finding in found if finding.id != "A3-07")
    texts = {finding.id: finding.evidence for finding in found}
    assert "42 image counts" in texts["A3-01"] and "2 × 10⁻¹³" in texts["A3-01"]
    assert "5 of 5" in texts["A3-03"] and "none" in texts["A3-03"]
    # All two-sided, as in notebook 1; the one-sided p of 23 of 174 would be 1.6 × 10⁻⁵.
    for part in ("17 of 31", "7.3", "9 × 10⁻⁵", "23 of 174", "41.1", "p = 3 × 10⁻⁵"):
        assert part in texts["A3-04"], part
    for part in ("p = 7 × 10⁻⁸", "24 of 57", "p = 7 × 10⁻⁴"):
        assert part in texts["A3-04"], part
    assert "none of the 8 usual" in {f.id: f.finding for f in found}["A3-05"]
    assert "94.6" in texts["A3-08"] and "82.7" in texts["A3-08"]


def test_a_finding_that_does_not_exist_is_named(printed):
    wrong = {**printed, "P1-01": replace(printed["P1-01"], findings=("A3-77",))}
    with pytest.raises(ledger.LedgerError, match="P1-01 names finding A3-77"):
        findings.build(wrong)


def test_no_result_is_typed_into_the_words():
    texts = [(ROOT / "book" / name).read_text() for name in ("claims.md", "checklist.md")]
    texts += [
        row[key]
        for row in yaml.safe_load((ROOT / "book/findings.yml").read_text())
        for key in ("finding", "evidence", "not_implied", "settled_by")
    ]
    texts += [claim.remark for claim in claims.everything().values()]
    texts += [item.answer for item in checklist.read()]
    assert {
        text: TYPED.findall(NOT_TYPED.sub("", text))
        for text in texts
        if TYPED.search(NOT_TYPED.sub("", text))
    } == {}


# Tables


def test_tables_of_the_page(printed):
    tables = {table.name: table.frame for table in ledger_tables.build(printed)}
    assert tables["ledger_solutions"].set_index("Network").loc["ResNet50"].iloc[0] == "204, 385"
    measures = tables["ledger_measures"].set_index("Measure")
    assert measures.loc["F1 score"].tolist()[::2] == ["0.874", "0.761 to 0.767"]
    assert measures.loc["Positive likelihood ratio"].tolist()[:2] == ["10.74", "7.79 to 14.79"]
    assert measures.loc["Diagnostic odds ratio", "ResNet50"] == "93.5"
    assert len(tables["ledger_p"]) == 8
    assert "0.848" in tables["ledger_prevalence"]["Positive predictive value"].tolist()


# Links and pages


def cells_of(name: str) -> set[str]:
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    return {cell.id for cell in notebook.cells}


def test_every_linked_cell_exists():
    wanted = sorted(book_pages.anchors())
    assert len(wanted) > 20
    assert [p for p in wanted if p.partition("#")[2] not in cells_of(p.partition("#")[0])] == []


def test_every_linked_page_exists():
    places = {
        place for item in checklist.read() for place in item.links if place.startswith("book/")
    }
    missing = [p for p in places if not (ROOT / f"{p.partition('#')[0]}.md").is_file()]
    ids = {claim.id for claim in claims.everything().values()} | {
        finding.id for finding in findings.build(claims.everything())
    }
    assert missing == []
    assert {p.partition("#")[2] for p in places if "#" in p} <= ids


def test_every_measured_number_is_recorded_by_some_notebook():
    """The code of the notebooks spells the key, or a pattern that makes it."""
    code = "\n".join(
        cell.source
        for path in NOTEBOOKS
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
    )
    patterns = [
        re.sub(r"\\{[^}]*\\}", ".+", re.escape(text))
        for text in re.findall(r"""f?["'](nb\d\d\.[^"']+)["']""", code)
    ]
    keys = {claim.measured for claim in claims.everything().values() if claim.measured}
    keys |= set(checklist.keys(checklist.read()))
    lost = [k for k in keys if not any(re.fullmatch(pattern, k) for pattern in patterns)]
    assert lost == []


def test_the_table_is_whole_and_escaped(rows):
    evil = replace(
        rows["P1-01"], claim=replace(rows["P1-01"].claim, statement="<script>x</script>")
    )
    table = BeautifulSoup(ledger_page.claims_table([evil, rows["P1-40"]], {}, str), "html.parser")
    assert table.find("script") is None and "<script>x</script>" in table.get_text()
    assert [row["id"] for row in table.select("tbody tr")] == ["P1-01", "P1-40"]
    heads = [head.get_text() for head in table.select("th")]
    for row in table.select("tbody tr"):
        assert [cell["data-head"] for cell in row.select("td")] == heads


def test_published_recomputed_and_measured_stand_apart_with_their_labels(rows, printed):
    shown = {"nb04.resnet50.accuracy": '<span class="evidence evidence-phantom">phantom</span>'}
    table = BeautifulSoup(ledger_page.claims_table(rows.values(), shown, str), "html.parser")
    columns = {
        "Printed": {"published"},
        "Recomputed": {"recomputed"},
        "Measured in this run": {"phantom"},
    }
    for head, labels in columns.items():
        cells = table.select(f'td[data-head="{head}"]')
        assert {b.get_text() for cell in cells for b in cell.select(".evidence")} == labels
        assert len(cells) == len(printed)


def test_the_download_holds_every_row(rows, tmp_path):
    path = tmp_path / "claims.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(ledger_page.csv_rows(rows.values()))
    with open(path, newline="") as file:
        found = list(csv.DictReader(file))
    assert {row["id"]: row["verdict"] for row in found} == {i: r.verdict for i, r in rows.items()}


def test_an_unknown_mark_on_a_page_is_an_error():
    with pytest.raises(
        book_pages.UnfilledPage, match=r"claims asks for 'clams'\. Available: claims"
    ):
        book_pages._filled("<!-- fill: clams -->", {"claims": str}, "claims")


# Checklist


def test_the_checklist_is_complete():
    items = checklist.read()
    assert [i.number for i in items if i.guideline == "CLAIM"] == [str(n) for n in range(1, 43)]
    assert {item.status for item in items} == set(checklist.STATUSES)
    assert all(item.who for item in items if item.status == checklist.AUTHORS)
    assert all(item.answer for item in items)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{item: 1, topic: a}", "status None, expected one of answered"),
        ("{item: 1, topic: a, status: answered, answer: b}", "answered needs links"),
        ("{item: 1, topic: a, status: authors, answer: b}", "authors needs who"),
        ("{item: 1, topic: a, status: not applicable}", "not applicable needs reason"),
        (
            "{item: 1, topic: a, status: not applicable, reason: b, answer: c}",
            "not applicable has no place for answer",
        ),
    ],
)
def test_each_item_has_exactly_one_answer(tmp_path, row, message):
    path = tmp_path / "checklist.yml"
    path.write_text(f"- list: CLAIM\n  items:\n    - {row}\n")
    with pytest.raises(checklist.InvalidChecklist, match=message):
        checklist.read(path)


def test_an_item_stands_once(tmp_path):
    path = tmp_path / "checklist.yml"
    row = "    - {item: 1, topic: a, status: not applicable, reason: b}\n"
    path.write_text(f"- list: CLAIM\n  items:\n{row}{row}")
    with pytest.raises(checklist.InvalidChecklist, match="CLAIM 1 stands twice"):
        checklist.read(path)
