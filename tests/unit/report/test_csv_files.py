"""hosts.csv and findings.csv."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fleet.model.words import Word
from fleet.report.csv_files import FINDING_COLUMNS, FLEET_COLUMNS, HOST_COLUMNS, MAX_CELL, CsvWriter, cell
from fleet.report.files import save_reports
from fleet.report.text import clean
from tests.unit.report.sample import CREATE, STOPPED, SUCCEEDED, make_report, make_result, varied_report


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream, strict=True))


def test_one_row_for_every_host_with_typed_words(tmp_path: Path) -> None:
    hosts, findings, _ = save_reports(varied_report(), [CsvWriter()], tmp_path)
    rows = {row["host"]: row for row in _rows(hosts)}
    assert tuple(rows["db01"]) == HOST_COLUMNS
    assert len(rows) == 38
    assert rows["db01"]["observed"] == "partial"
    assert rows["db01"]["cause"] == CREATE.cause
    assert rows["db01"]["services"] == "himds=running; gcad=absent"
    assert rows["db01"]["started_at"] == "2026-03-04T05:06:07Z"
    assert (rows["gone0"]["verdict"], rows["gone0"]["reason"]) == ("NOT_OBSERVED", "unreachable")
    assert rows["gone0"]["cause"] == "198.51.100.0 port 22: connection refused"
    assert rows["gone0"]["remediation"]
    found = _rows(findings)
    told = {(row["host"], row["rule"]): (row["explained_by"], row["accepted"]) for row in found}
    assert told["web20", "azcm0042"] == ("service-himds-stopped", "")
    assert told["ok15", "agent-expires-soon"] == ("", "CHG-7 until 2026-05-31: It moves in May.")
    assert told["db01", "azcm0042"] == ("", "")
    assert tuple(found[0]) == FINDING_COLUMNS
    assert found[0]["evidence"] == "azcmagent.log:120: level=error AZCM0042: Failed to Create Resource"


def test_what_hosts_share_has_a_file_of_its_own_also_where_it_is_nothing(tmp_path: Path) -> None:
    *_, shared = save_reports(varied_report(), [CsvWriter()], tmp_path)
    first = _rows(shared)[0]
    assert tuple(first) == FLEET_COLUMNS
    assert (first["rule"], first["value"], first["count"]) == ("shared-vm-id", "6ba7b810", "2")
    assert first["hosts"] == "db[01-02]"
    *_, none = save_reports(make_report([]), [CsvWriter()], tmp_path)
    assert none.name == "fleet_findings.csv"
    assert _rows(none) == []


def test_a_row_is_a_line_and_lines_end_with_crlf(tmp_path: Path) -> None:
    hosts, _, _ = save_reports(varied_report(), [CsvWriter()], tmp_path)
    raw = hosts.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbfhost,address,")
    assert raw.count(b"\n") == raw.count(b"\r\n") == 39


def test_an_outcome_of_success_has_no_row(tmp_path: Path) -> None:
    report = make_report([make_result("a", Word.FAILING, CREATE, SUCCEEDED), make_result("b", Word.HEALTHY)])
    _, findings, _ = save_reports(report, [CsvWriter()], tmp_path)
    assert [(row["host"], row["code"]) for row in _rows(findings)] == [("a", "AZCM0042")]


def test_a_host_has_the_code_it_printed_where_its_cause_has_none(tmp_path: Path) -> None:
    results = [make_result("a", Word.FAILING, STOPPED, CREATE), make_result("b", Word.FAILING, STOPPED)]
    hosts, _, _ = save_reports(make_report(results), [CsvWriter()], tmp_path)
    assert [row["code"] for row in _rows(hosts)] == ["AZCM0042", ""]


def test_no_cell_is_a_formula_or_carries_a_control(tmp_path: Path) -> None:
    for path in save_reports(varied_report(), [CsvWriter()], tmp_path):
        for row in _rows(path):
            for value in row.values():
                assert not value.lstrip().startswith(("=", "+", "-", "@"))
                assert clean(value) == value


@pytest.mark.parametrize(
    "text", ["=1", "+1", "-1", "@x", "\t=1", "\r=1"[1:], "  =1", "\u3000＝1", "＋1", "﹣1"]
)
def test_formulas_are_disarmed(text: str) -> None:
    assert cell(text).startswith("'")


def test_a_formula_behind_a_semicolon_is_disarmed() -> None:
    assert cell('x"; =cmd') == "x\"; '=cmd"


def test_a_cell_fits_into_excel() -> None:
    assert len(cell("=" + "x" * 50_000)) == MAX_CELL
