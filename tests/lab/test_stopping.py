"""Every way out of a run: each selected host has its row."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sqlite3
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from fleet.cli.program import run
from fleet.lab.describe import load_demo
from fleet.lab.servers import Lab, running_lab
from fleet.model.report import HostResult
from fleet.model.words import Reason
from fleet.storage import open_existing
from tests.lab.estate import SEED, listening
from tests.lab.program import Call
from tests.lab.soak import DoneCounter

HOSTS = 100
REPORTS = {"hosts.csv", "findings.csv", "fleet_findings.csv", "report.html", "report.json"}
MOMENTS = Random(SEED)
"""Of signals: how many hosts are done when it is sent."""
# A host that answers and one that never does.
SLOW = ("--limit", "web01,edge03", "--connect-timeout", "60")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The demo's hosts, in a thread of their own."""
    with running_lab(load_demo(), tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The inventory of hosts with every kind of trouble."""
    with listening(HOSTS, tmp_path_factory.mktemp("broken")) as inventory:
        yield inventory


def start(lab: Lab, folder: Path, *words: str, grace_s: float = 0.2) -> Call:
    return Call(folder, "collect", str(lab.inventory), "--db", url(folder), *words, grace_s=grace_s)


def start_slow(lab: Lab, folder: Path, *words: str, grace_s: float = 0.2) -> Call:
    """A run that has reached the silent host."""
    before = lab.counters("edge03").connections
    call = start(lab, folder, *SLOW, *words, grace_s=grace_s)
    call.wait_until(lambda: lab.counters("edge03").connections > before)
    return call


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/fleet.db"


def results(folder: Path) -> dict[str, HostResult]:
    store = open_existing(url(folder))
    report = store.load(None)
    store.close()
    assert report is not None
    return {result.host.name: result for result in report.results}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_within_seconds_with_a_report(
    lab: Lab, tmp_path: Path, number: signal.Signals
) -> None:
    call = start_slow(lab, tmp_path)
    call.send(number)
    code, out, _ = call.ended()
    assert code == 130
    assert "2 hosts:" in out
    found = results(tmp_path)
    assert len(found) == 2
    assert found["edge03"].verdict.reason is Reason.SKIPPED


@pytest.mark.parametrize(("streams", "expected"), [(("stderr",), 130), (("stderr", "stdout"), 4)])
def test_one_signal_ends_a_run_that_nobody_listens_to(
    lab: Lab, tmp_path: Path, streams: tuple[str, ...], expected: int
) -> None:
    readers = []
    for name in streams:
        os.mkfifo(tmp_path / name)
        readers.append(os.open(tmp_path / name, os.O_RDONLY | os.O_NONBLOCK))
    call = start_slow(lab, tmp_path)
    for name, reader in zip(streams, readers, strict=True):
        os.close(reader)
        (tmp_path / name).unlink()
        (tmp_path / name).touch()
    call.send(signal.SIGINT)
    assert call.ended()[0] == expected
    assert results(tmp_path)["edge03"].verdict.reason is Reason.SKIPPED
    store = open_existing(url(tmp_path))
    assert [run.exit_code for run in store.runs(1)] == [130]
    store.close()


def test_a_second_signal_leaves_at_once_and_says_how_to_report(lab: Lab, tmp_path: Path) -> None:
    call = start_slow(lab, tmp_path, grace_s=60)
    call.send(signal.SIGINT)
    call.wait_for("once more leaves at once")
    call.send(signal.SIGINT)
    code, out, err = call.ended()
    assert (code, out) == (130, "")
    command = re.search("fleet report .*", err)
    assert command
    words = shlex.split(command[0].replace("--out reports", f"--out {tmp_path}/reports"))
    assert run(words[1:]) == 0
    assert len((tmp_path / "reports" / "hosts.csv").read_text().splitlines()) == 1 + 2


def test_kill_leaves_a_row_for_every_host_and_no_lock(lab: Lab, tmp_path: Path) -> None:
    call = start_slow(lab, tmp_path)
    call.send(signal.SIGKILL)
    assert call.ended()[0] == -signal.SIGKILL
    assert len(results(tmp_path)) == 2
    assert start(lab, tmp_path, "--limit", "web02").ended()[0] == 0


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (number, moment)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
        for moment in (0, *(MOMENTS.randrange(1, HOSTS * 3 // 4) for _ in range(2)))
    ],
)
def test_a_signal_at_any_moment_leaves_nothing_half_written(
    broken: Path, tmp_path: Path, number: signal.Signals, moment: int
) -> None:
    call, done = start_first(broken, tmp_path)
    call.wait_until(lambda: stored_rows(tmp_path) == HOSTS and done.done() >= moment)
    call.send(number)
    is_killed = number is signal.SIGKILL
    assert call.ended()[0] == (-signal.SIGKILL if is_killed else 130)
    require_rows(tmp_path)
    require_reports(tmp_path / "out", 0 if is_killed else HOSTS)
    require_next(broken, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_while_the_reports_are_written_leaves_whole_ones_or_none(
    broken: Path, tmp_path: Path, number: signal.Signals
) -> None:
    call, _ = start_first(broken, tmp_path)
    out = tmp_path / "out"
    call.wait_until(lambda: out.exists() and any(out.iterdir()))
    call.send(number)
    # It may have been quicker than the signal.
    assert call.ended()[0] in (1, -signal.SIGKILL if number is signal.SIGKILL else 130)
    require_rows(tmp_path)
    if number is signal.SIGKILL:
        # Nobody can take away what a killed one was writing; what has its name is whole.
        names = {path.name for path in out.iterdir()}
        assert names <= REPORTS | {f"{name}.part" for name in REPORTS}
        require_whole(out, names & REPORTS, HOSTS)
    else:
        require_reports(out, HOSTS)
    require_next(broken, tmp_path)


def test_what_a_killed_run_was_writing_does_not_disturb_the_next(broken: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in REPORTS:
        (tmp_path / "out" / f"{name}.part").write_text("half")
    require_next(broken, tmp_path)


def start_first(broken: Path, folder: Path) -> tuple[Call, DoneCounter]:
    (folder / "first").mkdir()
    limits = ("--connect-timeout", "2", "--host-timeout", "5", "--concurrency", "20")
    return start_broken(broken, folder, "first", *limits), DoneCounter(folder / "first" / "log")


def stored_rows(folder: Path) -> int:
    """How many hosts have one: none before the first transaction."""
    if not (folder / "fleet.db").exists():
        return 0
    with closing(sqlite3.connect(f"file:{folder}/fleet.db?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM visits").fetchone()[0])
        except sqlite3.OperationalError:
            # The table is not yet there.
            return 0


def require_rows(folder: Path) -> None:
    """One a host, in a database that is whole."""
    with closing(sqlite3.connect(folder / "fleet.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert len(results(folder)) == HOSTS


def require_next(broken: Path, folder: Path) -> None:
    """Another run in the same places works, and leaves its own reports there only."""
    (folder / "next").mkdir()
    assert start_broken(broken, folder, "next", "--limit", "well-00001").ended()[0] == 0
    require_reports(folder / "out", 1)


def start_broken(inventory: Path, folder: Path, name: str, *words: str) -> Call:
    places = ("--db", url(folder), "--out", f"{folder}/out", "--log-file", f"{folder}/{name}/log", "-v")
    return Call(folder / name, "collect", str(inventory), *places, *words)


def require_reports(folder: Path, hosts: int) -> None:
    """Whole ones of so many hosts; none of them: no file at all."""
    names = {path.name for path in folder.iterdir()}
    assert names == (REPORTS if hosts else set())
    require_whole(folder, names, hosts)


def require_whole(folder: Path, names: AbstractSet[str], hosts: int) -> None:
    if "report.html" in names:
        assert (folder / "report.html").read_text().rstrip().endswith("</html>")
    if "report.json" in names:
        assert len(json.loads((folder / "report.json").read_text())["hosts"]) == hosts
    if "hosts.csv" in names:
        assert len((folder / "hosts.csv").read_text().splitlines()) == 1 + hosts


def test_the_runs_own_deadline(lab: Lab, tmp_path: Path) -> None:
    code, out, _ = start(lab, tmp_path, *SLOW, "--max-time", "1").ended()
    assert code == 6
    assert "2 hosts:" in out
    assert len(results(tmp_path)) == 2


def test_a_second_run_over_one_database_contacts_nobody(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    first, visits = start_slow(lab, tmp_path), lab.visits("db01")
    second = Call(
        tmp_path / "second", "collect", str(lab.inventory), "--db", url(tmp_path), "--limit", "db01"
    )
    code, out, err = second.ended()
    assert (code, out) == (5, "")
    assert f"process {first.pid}, since " in err
    assert lab.visits("db01") == visits
    first.send(signal.SIGINT)
    assert first.ended()[0] == 130
    assert set(results(tmp_path)) == {"web01", "edge03"}


def test_a_limit_that_selects_nothing_contacts_nobody(lab: Lab, tmp_path: Path) -> None:
    before = lab.visits("web01")
    code, out, _ = start(lab, tmp_path, "--limit", "nobody").ended()
    assert (code, out) == (2, "")
    assert lab.visits("web01") == before
    assert not (tmp_path / "fleet.db").exists()


def test_a_limit_takes_groups_and_node_sets(lab: Lab, tmp_path: Path) -> None:
    web = {host.name for host in lab.descriptions if host.group == "web"}
    code, out, _ = start(lab, tmp_path, "--limit", "web,!web[03-05,08]").ended()
    assert code == 0
    assert set(results(tmp_path)) == web - {"web03", "web04", "web05", "web08"}
    assert f"All {len(web) - 4} hosts are healthy." in out


def test_healthy_hosts_that_share_what_they_must_not_end_as_an_unwell_one_does(
    lab: Lab, tmp_path: Path
) -> None:
    code, out, _ = start(lab, tmp_path, "--limit", "web[07-08]").ended()
    assert code == 1
    assert out.startswith("shared-resource-id 2 hosts are one machine in Azure, 2 hosts: web[07-08]\n")
    assert "2 hosts: 2 healthy, 0 failing" in out


def test_show_commands_prints_the_script_and_contacts_nobody(lab: Lab, tmp_path: Path) -> None:
    before = lab.visits("web01")
    code, out, _ = start(lab, tmp_path, "--show-commands").ended()
    assert code == 0
    assert "SHA-256" in out
    assert "sh -s --" in out
    assert lab.visits("web01") == before
