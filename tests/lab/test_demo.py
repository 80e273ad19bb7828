"""The demo as its user runs it: every simulated host gets the verdict its description asks for."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.lab.describe import HostDescription, load_demo


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "fleet", "demo", "--out", str(folder / "out")],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "12 hosts: 4 healthy, 5 failing, 0 degraded, 3 not observed" in done.stdout
    return folder / "out"


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "hosts.csv").open(encoding="utf-8-sig", newline="") as stream:
        return {row["host"]: row for row in csv.DictReader(stream)}


@pytest.mark.parametrize("host", load_demo(), ids=lambda host: host.name)
def test_every_host_gets_its_verdict(out: Path, host: HostDescription) -> None:
    row = rows(out)[host.name]
    assert row["verdict"] == host.expect.verdict
    assert row["reason"] == (host.expect.reason or "")
    assert row["rule"] == (host.expect.rule or "")


def test_rows_equal_hosts_in_every_report(out: Path) -> None:
    names = {host.name for host in load_demo()}
    assert set(rows(out)) == names
    assert {entry["host"] for entry in json.loads((out / "report.json").read_text())["hosts"]} == names
    text = (out / "report.html").read_text()
    assert all(name in text for name in names)


def test_what_is_written_is_the_owners_alone(out: Path) -> None:
    for path in (out, *out.iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path
