"""Every way out of a run: each selected host has its row."""

from __future__ import annotations

import asyncio
import csv
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.lab.describe import load_demo
from fleet.lab.servers import Lab, start_lab

# A host that answers and one that never does.
SLOW = ("--limit", "web01,edge03", "--connect-timeout", "60")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The demo's hosts, in a thread of their own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    manager = start_lab(load_demo(), tmp_path_factory.mktemp("lab"))
    yield asyncio.run_coroutine_threadsafe(manager.__aenter__(), loop).result()
    asyncio.run_coroutine_threadsafe(manager.__aexit__(None, None, None), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def start(lab: Lab, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "fleet", "collect", str(lab.inventory), "--db", url(folder), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/fleet.db"


def rows(folder: Path) -> dict[str, dict[str, str]]:
    done = subprocess.run(
        [sys.executable, "-m", "fleet", "report", "--db", url(folder), "--format", "csv", "-o", str(folder)],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with (folder / "hosts.csv").open(encoding="utf-8-sig", newline="") as stream:
        return {row["host"]: row for row in csv.DictReader(stream)}


def in_flight(lab: Lab, process: subprocess.Popen[bytes], before: int) -> None:
    """Wait until the silent host was reached in this run."""
    while lab.counters("edge03").connections == before:
        assert process.poll() is None
        threading.Event().wait(0.02)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    out, err = process.communicate(timeout=60)
    assert b"Traceback" not in err, err
    return process.returncode, out.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_within_seconds_with_a_report(lab: Lab, tmp_path: Path, number: int) -> None:
    before = lab.counters("edge03").connections
    process = start(lab, tmp_path, *SLOW)
    in_flight(lab, process, before)
    process.send_signal(number)
    code, out = ended(process)
    assert code == 130
    assert "2 hosts:" in out
    found = rows(tmp_path)
    assert len(found) == 2
    assert found["edge03"]["reason"] == "skipped"


def test_kill_leaves_a_row_for_every_host(lab: Lab, tmp_path: Path) -> None:
    before = lab.counters("edge03").connections
    process = start(lab, tmp_path, *SLOW)
    in_flight(lab, process, before)
    process.kill()
    process.communicate()
    assert len(rows(tmp_path)) == 2


def test_the_runs_own_deadline(lab: Lab, tmp_path: Path) -> None:
    code, out = ended(start(lab, tmp_path, *SLOW, "--max-time", "2"))
    assert code == 6
    assert "2 hosts:" in out
    assert len(rows(tmp_path)) == 2


def test_a_limit_that_selects_nothing_contacts_nobody(lab: Lab, tmp_path: Path) -> None:
    before = lab.visits("web01")
    code, out = ended(start(lab, tmp_path, "--limit", "nobody"))
    assert (code, out) == (2, "")
    assert lab.visits("web01") == before
    assert not (tmp_path / "fleet.db").exists()


def test_a_limit_takes_groups_and_node_sets(lab: Lab, tmp_path: Path) -> None:
    code, out = ended(start(lab, tmp_path, "--limit", "web,!web[03-04]"))
    assert code == 0
    assert set(rows(tmp_path)) == {"web01", "web02"}
    assert "All 2 hosts are healthy." in out


def test_show_commands_prints_the_script_and_contacts_nobody(lab: Lab, tmp_path: Path) -> None:
    before = lab.visits("web01")
    code, out = ended(start(lab, tmp_path, "--show-commands"))
    assert code == 0
    assert "SHA-256" in out
    assert "sh -s --" in out
    assert lab.visits("web01") == before
