"""``fleet collect`` up to its first connection, its log and its end; hosts are this machine or none."""

from __future__ import annotations

import logging
import os
import re
import signal
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleet.app.collect_run import Collection, RunState
from fleet.cli.log import logged
from fleet.errors import ReportError, StorageError
from fleet.model.report import Run, RunReport
from fleet.report.html_file import HtmlWriter
from fleet.storage import SqlStore, open_existing, open_store
from tests.unit.cli.conftest import Fleet


@pytest.fixture(params=[0o000, 0o277])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def db(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/data/fleet.db"


@pytest.mark.parametrize("option", ["--connect-timeout", "--host-timeout", "--max-time"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0", "x"])
def test_seconds_are_finite(fleet: Fleet, here: Path, option: str, value: str) -> None:
    done = fleet("collect", here, option, value)
    assert done.code == 2
    assert option in done.err


@pytest.mark.parametrize("place", ["missing/fleet.log", "file/fleet.log"])
def test_a_log_file_that_cannot_be_opened_is_told_first(
    fleet: Fleet, here: Path, db: str, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").touch()
    done = fleet("collect", here, "--db", db, "--log-file", tmp_path / place)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert done.err.startswith(f"fleet: --log-file {tmp_path / place}: ")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("place", ["file/reports", "/proc/reports", "x" * 300])
def test_a_folder_of_reports_that_cannot_be_made_is_told_first(
    fleet: Fleet, here: Path, db: str, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").touch()
    done = fleet("collect", here, "--db", db, "--out", tmp_path / place)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert done.err.startswith(f"fleet: --out {tmp_path / place}: ")
    assert not (tmp_path / "data").exists()


def test_a_dry_run_names_who_would_be_visited_and_how_many(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PW", "x")
    (tmp_path / "id").write_text("key")
    inventory = tmp_path / "fleet.yaml"
    inventory.write_text(
        "hosts:\n"
        "  here: {connection: local, become: reads}\n"
        "  web01: {address: 198.51.100.4, port: 2222, user: ops, key_file: id}\n"
        "  win01: {connection: winrm, user: 'CORP\\fleet', password: env:PW, port: 5986}\n"
        "  win02: {connection: winrm, user: fleet, password: env:PW, auth: ntlm}\n"
    )
    done = fleet("collect", inventory, "--dry-run")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "here  local, become reads",
        "web01  ssh ops@198.51.100.4:2222, become none",
        "win01  winrm CORP\\fleet@win01:5986, https, negotiate",
        "win02  winrm fleet@win02:5985, http, ntlm",
        "4 hosts would be visited",
    ]


def test_what_hosts_refer_to_and_is_not_there_fails_a_dry_run_and_warns_a_real_one(
    fleet: Fleet, tmp_path: Path, db: str
) -> None:
    inventory = tmp_path / "fleet.yaml"
    inventory.write_text(
        "hosts:\n"
        "  here: {connection: local}\n"
        "  w[1:2]: {connection: winrm, user: u, password: 'file:{host}.pw'}\n"
        "  w3: {connection: winrm, user: u, password: env:FLEET_TEST_UNSET}\n"
    )
    unset = f"{inventory}:4: w3: password env:FLEET_TEST_UNSET: the environment variable is not set"
    no_file = "the file cannot be read: No such file or directory"
    files = f"{inventory}:3: w[1-2]: password file:{tmp_path}/w1.pw and 1 more like it: {no_file}"
    done = fleet("collect", inventory, "--dry-run")
    assert (done.code, done.err) == (2, f"fleet: {files}\n{unset}\n")
    assert done.out.splitlines()[-1] == "4 hosts would be visited"
    done = fleet("collect", inventory, "--dry-run", "--limit", "here")
    assert (done.code, done.err) == (0, "")
    done = fleet("collect", inventory, "--db", db)
    assert done.code in (1, 3)
    assert done.err.startswith(f"warning: {files}\nwarning: {unset}\n")
    assert "not observed, credential" in done.out


def test_a_run_is_logged_and_everything_it_makes_is_the_owners_alone(
    fleet: Fleet, here: Path, db: str, tmp_path: Path, umask: int
) -> None:
    log, out = tmp_path / "fleet.log", tmp_path / "a" / "reports"
    done = fleet("collect", here, "--db", db, "--log-file", log, "--out", out, "--concurrency", "7")
    assert done.code in (1, 3)
    lines = log.read_text().splitlines()
    begins, ends = lines[0], lines[-1]
    run = re.search(r"INFO run (\S+) begins: 1 host, 7 at once", begins)
    assert run
    assert f"run {run[1]} ended: " in ends
    assert ends.endswith(f"exit code {done.code}")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO ", ends)
    made = [log, *(tmp_path / "data").rglob("*"), *(tmp_path / "a").rglob("*"), tmp_path / "a"]
    assert {path.name: path.stat().st_mode & 0o777 for path in made} == {
        path.name: 0o700 if path.is_dir() else 0o600 for path in made
    }


def test_what_a_host_says_cannot_steer_the_log(tmp_path: Path) -> None:
    path = tmp_path / "fleet.log"
    with logged(path, verbose=False):
        try:
            raise ValueError("bad\x1b[2J")
        except ValueError:
            logging.getLogger("fleet.test").exception("host said %s", "a\nINFO forged\x1b]0;x\x07")
    text = path.read_text()
    assert "\x1b" not in text
    assert text.count("\n") == len(text.splitlines())
    assert re.findall("^.*forged", text, re.MULTILINE)[0].startswith("20")
    assert "ValueError: bad\ufffd" in text


def test_a_locked_database_is_5_and_contacts_nobody(
    fleet: Fleet, here: Path, db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.collect.visit.Visitor.visit", None)
    store = open_store(db)
    store.begin(a_run("20260329T010203-aaaaaaaa"), [])
    done = fleet("collect", here, "--db", db)
    assert done.code == 5
    assert "another run has this database (run 20260329T010203-aaaaaaaa, process " in done.err
    assert done.err.endswith("since 2026-03-29T01:02:03Z); wait for it to end, or name another database\n")
    store.close()


@pytest.mark.parametrize("error", [ReportError("no room"), StorageError("no room"), OSError(28, "no room")])
def test_a_bug_comes_before_a_failed_report(
    fleet: Fleet, here: Path, db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(HtmlWriter, "files", fail)
    log = tmp_path / "fleet.log"
    arguments = ("collect", here, "--db", db, "--out", tmp_path / "out", "--log-file", log)
    assert fleet(*arguments).code == 4
    assert "the run was not finished: " in log.read_text()

    def err(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("fleet.app.digest.Digest.judge", err)
    done = fleet(*arguments)
    assert done.code == 70
    assert "no room" in done.err


def test_a_report_that_fails_is_in_the_runs_code_and_leaves_no_other_report(
    fleet: Fleet, here: Path, db: str, tmp_path: Path
) -> None:
    (tmp_path / "out" / "report.html").mkdir(parents=True)
    done = fleet("collect", here, "--db", db, "--out", tmp_path / "out")
    assert done.code == 4
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]
    assert newest(db).exit_code == 4
    assert "1 host:" in done.out, "the summary is all there is"


def test_a_folder_without_a_name_is_an_unset_variable(fleet: Fleet, here: Path, db: str) -> None:
    done = fleet("collect", here, "--db", db, "--out", "")
    assert (done.code, done.out) == (2, "")
    assert "'--out': it is empty." in done.err


def test_a_signal_while_reports_are_written_is_130_with_all_of_them(
    fleet: Fleet, here: Path, db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = HtmlWriter.files

    def signalled(writer: HtmlWriter, report: RunReport) -> Iterator[tuple[str, Iterable[str]]]:
        os.kill(os.getpid(), signal.SIGTERM)
        return files(writer, report)

    monkeypatch.setattr(HtmlWriter, "files", signalled)
    done = fleet("collect", here, "--db", db, "--out", tmp_path / "out")
    assert done.code == newest(db).exit_code == 130
    assert len(list((tmp_path / "out").iterdir())) == 5
    assert "1 host:" in done.out


def test_a_signal_after_the_runs_end_still_has_its_summary(
    fleet: Fleet, here: Path, db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = SqlStore.close

    def signalled(store: SqlStore) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        close(store)

    monkeypatch.setattr(SqlStore, "close", signalled)
    done = fleet("collect", here, "--db", db)
    assert done.code == 130
    assert "1 host:" in done.out
    monkeypatch.undo()
    assert newest(db).exit_code in (1, 3)


def test_a_log_that_cannot_be_written_is_one_warning(fleet: Fleet, here: Path, db: str) -> None:
    done = fleet("collect", here, "--db", db, "--log-file", "/dev/full")
    assert done.code in (1, 3)
    assert done.err.count("\n") == 2
    assert "warning: --log-file /dev/full: No space left on device; the log ends here\n" in done.err


@pytest.mark.parametrize("words", [("collect", "fleet.yaml"), ("runs",), ("show", "here")])
def test_an_empty_database_is_not_the_default_one(fleet: Fleet, words: tuple[str, ...]) -> None:
    done = fleet(*words, "--db", "")
    assert (done.code, done.out) == (2, "")
    assert "--db" in done.err


def test_a_bug_comes_before_a_database_that_fails_at_the_end(
    fleet: Fleet, here: Path, db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def collect(self: Collection, state: RunState) -> None:
        state.bugs = 1
        raise StorageError("the disk is full")

    monkeypatch.setattr(Collection, "collect", collect)
    done = fleet("collect", here, "--db", db)
    assert done.code == 70
    assert "the disk is full" in done.err


def test_no_message_shows_who_logs_in_to_the_database_and_how(fleet: Fleet, here: Path) -> None:
    for url in (
        "postgresql://scott:hunter2@127.0.0.1:1/fleet",
        "postgresql://scott@127.0.0.1:1/fleet?password=hunter2",
        "postgresql://scott:hunt%40er@127.0.0.1:1/fleet",
        "postgresql://scott:hun?ter2@127.0.0.1:port/fleet",
        "mysql://scott:hunter2@127.0.0.1/fleet",
    ):
        for words in (("collect", here), ("runs",), ("show", "here"), ("report", "-o", here.parent)):
            done = fleet(*words, "--db", url)
            assert done.code in (2, 4)
            assert not re.search(r"scott|hun|er2|%40", done.out + done.err)


def newest(db: str) -> Run:
    store = open_existing(db)
    (run,) = store.runs(1)
    store.close()
    return run


def a_run(key: str) -> Run:
    return Run(
        id=key,
        inventory="fleet.yaml",
        started_at=datetime(2026, 3, 29, 1, 2, 3, tzinfo=UTC),
        selected=0,
        fleet_version="",
        pack_digest="",
        script_sha256="",
    )
