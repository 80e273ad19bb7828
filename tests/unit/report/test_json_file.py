"""report.json."""

from __future__ import annotations

import json
import math
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.model.visit import Timing
from fleet.model.words import Phase, Word
from fleet.report.files import save_reports
from fleet.report.json_file import JsonWriter, render_json
from fleet.report.text import clean
from tests.unit.report.sample import SUCCEEDED, make_report, make_result, varied_report


def test_everything_with_types(tmp_path: Path) -> None:
    (path,) = save_reports(varied_report(), [JsonWriter()], tmp_path)
    document = json.loads(path.read_bytes())
    assert document["schema"] == "fleet.report/1"
    assert document["run"]["duration_s"] == 12.3
    assert document["counts"] == {"hosts": 38, "failing": 15, "degraded": 3, "healthy": 15, "not_observed": 5}
    first = document["hosts"][0]
    assert (first["verdict"], first["code"], first["duration_s"]) == ("FAILING", "AZCM0042", 3.25)
    assert first["findings"][0]["evidence"][0]["line"] == 120
    assert first["services"][0]["active_state"] == "active"
    assert document["causes"][1]["hosts_folded"] == "db[01-04], web[11-13]"
    assert document["causes"][0]["explains"] == ["AZCM0042"]
    symptom = next(host for host in document["hosts"] if host["host"] == "web20")["findings"][1]
    assert (symptom["explained_by"], symptom["accepted"]) == (["service-himds-stopped"], None)
    lived_with = next(host for host in document["hosts"] if host["host"] == "ok15")["findings"][0]
    assert lived_with["accepted"] == {"ticket": "CHG-7", "reason": "It moves in May.", "until": "2026-05-31"}
    shared = document["fleet_findings"][0]
    assert (shared["value"], shared["hosts"]) == ("6ba7b810", ["db01", "db02"])
    assert document["not_observed"][0]["reason"] == "unreachable"


def test_printing_it_is_safe(tmp_path: Path) -> None:
    (path,) = save_reports(varied_report(), [JsonWriter()], tmp_path)
    assert all(clean(line) == line for line in path.read_text().splitlines())


def test_programs_get_the_outcomes_of_success_too() -> None:
    document = json.loads(render_json(make_report([make_result("a", Word.HEALTHY, SUCCEEDED)])))
    assert document["hosts"][0]["findings"][0]["code"] == "AZCM0000"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_no_number_gets_into_a_report_that_json_has_not(number: float) -> None:
    result = make_result("a", Word.HEALTHY)
    with pytest.raises(ValueError, match="clock_offset_s is"):
        replace(result, clock_offset_s=number)
    with pytest.raises(ValueError, match="duration_s is"):
        replace(result, duration_s=number)
    with pytest.raises(ValueError, match="seconds is"):
        Timing(phase=Phase.EXEC, seconds=number)


@pytest.mark.parametrize("hosts", [0, 1, 38])
def test_its_pieces_make_one_document(hosts: int) -> None:
    report = varied_report()
    text = render_json(replace(report, results=report.results[:hosts]))
    assert text == json.dumps(json.loads(text), ensure_ascii=False, indent=1) + "\n"


def test_more_hosts_take_no_more_memory() -> None:
    few, many = (_peak_bytes(hosts) for hosts in (100, 1000))
    assert many < 2 * few


def _peak_bytes(hosts: int) -> int:
    report = make_report([make_result(f"host{number}", Word.HEALTHY, SUCCEEDED) for number in range(hosts)])
    tracemalloc.start()
    for _, pieces in JsonWriter().files(report):
        for _ in pieces:
            pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak
