"""reports/sample and README's output: both are what the product makes of one stored run of the demo."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fleet.report.csv_files import FINDING_COLUMNS, FLEET_COLUMNS, HOST_COLUMNS, CsvWriter
from fleet.report.files import save_reports
from fleet.report.html_file import HtmlWriter
from fleet.report.json_file import JsonWriter, render_json
from tests.sample_output import ROOT, SAMPLE, sample_output, shown_output
from tests.stored_report import read_report
from tests.unit.report.sample import varied_report


@pytest.mark.parametrize("writer", [CsvWriter(), HtmlWriter(), JsonWriter()], ids=["csv", "html", "json"])
def test_the_sample_is_what_its_run_gives_today(
    tmp_path: Path, writer: CsvWriter | HtmlWriter | JsonWriter
) -> None:
    for made in save_reports(read_report(SAMPLE / "report.json"), [writer], tmp_path):
        assert made.read_bytes() == (SAMPLE / made.name).read_bytes(), "rebuild it: make sample"


def test_the_readme_shows_the_samples_summary() -> None:
    assert shown_output() == sample_output(), "rebuild it: make sample"


def test_the_pages_tables_are_the_csv_files_columns() -> None:
    page = (ROOT / "docs/reports.md").read_text().split("## CSV")[1].split("## ")[0]
    first_cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    told = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
    assert tuple(told) == HOST_COLUMNS + FINDING_COLUMNS + FLEET_COLUMNS


def test_the_page_names_every_key_of_the_json() -> None:
    page = (ROOT / "docs/reports.md").read_text().split("## report.json")[1]
    assert set(re.findall(r'"(\w+)"', page)) == set(_keys(json.loads(render_json(varied_report()))))


_OPEN = ("labels", "parameters")
"""What an object's keys are data of."""


def _keys(value: object) -> list[str]:
    if isinstance(value, list):
        return [key for part in value for key in _keys(part)]
    if isinstance(value, dict):
        inner = [key for name, part in value.items() if name not in _OPEN for key in _keys(part)]
        return [*value, *inner]
    return []
