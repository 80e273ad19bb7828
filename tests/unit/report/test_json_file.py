"""report.json."""

from __future__ import annotations

import json
from pathlib import Path

from fleet.report.json_file import JsonWriter
from fleet.report.text import clean
from tests.unit.report.sample import varied_report


def test_everything_with_types(tmp_path: Path) -> None:
    (path,) = JsonWriter().write(varied_report(), tmp_path)
    document = json.loads(path.read_bytes())
    assert document["schema"] == "fleet.report/1"
    assert document["counts"] == {"hosts": 38, "failing": 15, "degraded": 3, "healthy": 15, "not_observed": 5}
    first = document["hosts"][0]
    assert (first["verdict"], first["code"], first["duration_s"]) == ("FAILING", "AZCM0042", 3.25)
    assert first["findings"][0]["evidence"][0]["line"] == 120
    assert first["services"][0]["active_state"] == "active"
    assert document["causes"][1]["hosts_folded"] == "db[01-04], web[11-13]"
    assert document["not_observed"][0]["reason"] == "unreachable"


def test_printing_it_is_safe(tmp_path: Path) -> None:
    (path,) = JsonWriter().write(varied_report(), tmp_path)
    assert all(clean(line) == line for line in path.read_text().splitlines())
