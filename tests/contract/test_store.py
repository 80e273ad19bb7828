"""One suite for every database a store may live in."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import event, inspect, text

from fleet.errors import LockedError, SettingsError, StorageError
from fleet.model.finding import Acceptance, Evidence, Finding, FleetFinding, Trait
from fleet.model.host import Host, SecretRef
from fleet.model.observation import AgentState, Service
from fleet.model.report import HostResult, Run, Verdict
from fleet.model.visit import Timing
from fleet.model.words import OS, Become, Connection, Observed, Phase, Reason, Severity, State, Word
from fleet.ports import Store
from fleet.storage import SqlStore, open_existing, open_store
from fleet.storage.database import open_database
from fleet.storage.tables import VERSION_TABLE, metadata

AT = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
HOSTS = tuple(
    Host(
        name=name,
        address=f"{name}.example.com",
        port=2222,
        user="ops",
        groups=("web",),
        labels=(("site", "b"),),
    )
    for name in ("web2", "db1", "web1")
)


def a_run(key: str = "run-0001", *, minutes: int = 0) -> Run:
    return Run(
        id=key,
        inventory="fleet.yaml",
        started_at=AT + timedelta(minutes=minutes),
        selected=len(HOSTS),
        fleet_version="0.1.0",
        pack_digest="d" * 64,
        script_sha256="e" * 64,
    )


def a_finding(rule: str, words: str = "line") -> Finding:
    return Finding(
        rule=rule,
        rule_version=2,
        code="AZCM0042",
        severity=Severity.ERROR,
        state=State.ACTIVE,
        title="title",
        cause="cause",
        remediation="do this",
        count=3,
        first_seen_at=AT - timedelta(days=1),
        last_seen_at=AT,
        evidence=(
            Evidence(source="azcmagent.log", line=7, text=words),
            Evidence(source="x", line=0, text="ü"),
        ),
        explained_by=("second",) if rule == "first" else (),
        accepted=Acceptance(ticket="CHG-7", reason="moves in May", until=date(2026, 5, 31)),
        parameters=(("proxy", "10.0.0.8:3128"), ("clock.skew_s", words)),
    )


def a_share(rule: str, *hosts: str) -> FleetFinding:
    return FleetFinding(
        rule=rule,
        rule_version=1,
        severity=Severity.ERROR,
        title="title",
        cause="cause",
        remediation="do this",
        value="ü",
        hosts=hosts,
    )


def a_result(host: Host, words: str = "line") -> HostResult:
    findings = (a_finding("second", words), a_finding("first", words))
    return HostResult(
        host=host,
        verdict=Verdict(word=Word.FAILING, observed=Observed.PARTIAL, cause=findings[0], action="go"),
        findings=findings,
        os_name="Debian GNU/Linux 12 (bookworm)",
        agent=AgentState(installed=True, status="Disconnected", last_heartbeat_at=AT, vm_id="vm-1"),
        services=tuple(
            Service(name=name, unit=f"{name}.service", restarts=1) for name in ("himds", "extd", "gcad")
        ),
        login="https, kerberos",
        started_at=AT,
        duration_s=0.1 + 0.2,
        clock_offset_s=-1e-9,
        timings=(Timing(phase=Phase.CONNECT, seconds=0.1), Timing(phase=Phase.EXEC, seconds=1 / 3)),
        traits=(Trait(rule="shared", value="vm-1"),),
    )


def the_results(store: Store, run_id: str | None = None) -> tuple[HostResult, ...]:
    report = store.load(run_id)
    assert report is not None
    return report.results


def stored_body(url: str, host: str) -> bytes | None:
    """What the visit to that host brought, in a database of one run."""
    query = (
        "SELECT captures.body FROM captures JOIN visits ON visits.id = captures.visit_id"
        " JOIN hosts ON hosts.id = visits.host_id WHERE hosts.name = :host"
    )
    database = open_database(url)
    with closing(database), database.reading() as connection:
        found = connection.execute(text(query), {"host": host}).scalar()
    return None if found is None else bytes(found)


def test_every_selected_host_is_skipped_until_its_visit_replaces_it(store: SqlStore, url: str) -> None:
    store.begin(a_run(), HOSTS)
    begun = the_results(store)
    assert [result.host for result in begun] == list(HOSTS)
    assert {result.verdict.reason for result in begun} == {Reason.SKIPPED}
    assert stored_body(url, "db1") is None
    store.save("run-0001", [(a_result(HOSTS[1]), b"\x1f\x8b\x00body")])
    assert the_results(store) == (begun[0], a_result(HOSTS[1]), begun[2])
    assert stored_body(url, "db1") == b"\x1f\x8b\x00body"


def test_saving_twice_is_saving_once_and_the_last_save_counts(store: SqlStore, url: str) -> None:
    store.begin(a_run(), HOSTS)
    batch = [(a_result(host), host.name.encode()) for host in HOSTS]
    store.save("run-0001", batch)
    once = store.load("run-0001")
    store.save("run-0001", batch)
    assert store.load("run-0001") == once
    verdict = Verdict(
        word=Word.NOT_OBSERVED, observed=Observed.NONE, reason=Reason.DEADLINE, phase=Phase.EXEC
    )
    failed = HostResult(host=HOSTS[0], verdict=verdict)
    store.save("run-0001", [(a_result(HOSTS[0]), b"old"), (failed, b"")])
    assert the_results(store)[0] == failed
    assert stored_body(url, HOSTS[0].name) is None


def test_a_host_is_kept_as_shown_without_its_credentials(store: SqlStore) -> None:
    secret = SecretRef(scheme="env", target="PW")
    full = replace(HOSTS[0], password=secret, become=Become.READS, become_password=secret, key_file="/k")
    store.begin(a_run(), [full])
    store.save("run-0001", [(a_result(full), b"")])
    assert the_results(store) == (a_result(HOSTS[0]),)


def test_a_windows_host_comes_back_as_one_however_it_was_reached(store: SqlStore) -> None:
    over_ssh = replace(HOSTS[0], os=OS.WINDOWS)
    over_winrm = replace(HOSTS[1], os=OS.WINDOWS, connection=Connection.WINRM)
    store.begin(a_run(), [over_ssh, over_winrm, HOSTS[2]])
    assert [result.host for result in the_results(store)] == [over_ssh, over_winrm, HOSTS[2]]


def test_hosts_of_the_first_schema_are_of_the_family_that_they_were_reached_by(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/old.db")
    config = Config()
    config.set_main_option("script_location", "fleet.storage:migrations")
    with closing(database), database.writing() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in (
            "INSERT INTO runs VALUES ('r', '', '2026-01-01 00:00:00', 2, '', '', '', NULL, NULL, '[]')",
            "INSERT INTO hosts VALUES (1, 'linux'), (2, 'windows')",
            (
                "INSERT INTO visits (run_id, host_id, position, address, port, user, connection, groups,"
                " labels, verdict, observed, reason, message, action, os_name, duration_s, timings)"
                " SELECT 'r', id, id, name, 22, '', CASE id WHEN 1 THEN 'ssh' ELSE 'winrm' END, '[]', '[]',"
                " 'NOT_OBSERVED', 'none', 'skipped', '', '', '', 0, '[]' FROM hosts"
            ),
            (
                "INSERT INTO findings SELECT id, 0, 'r', 1, NULL, 'error', 'active', '', '', '', 1, NULL,"
                " NULL, '[]' FROM visits"
            ),
        ):
            connection.execute(text(statement))
    with closing(open_store(f"sqlite:///{tmp_path}/old.db")) as store:
        report = store.load(None)
        assert report is not None
        told = [finding for one in report.results for finding in one.findings]
        assert [(one.explained_by, one.accepted, one.parameters) for one in told] == [((), None, ())] * 2
        assert report.fleet == ()
        assert [(one.host.name, one.host.os) for one in the_results(store)] == [
            ("linux", OS.LINUX),
            ("windows", OS.WINDOWS),
        ]


def test_what_a_host_says_is_stored_whatever_it_says(store: SqlStore) -> None:
    store.begin(a_run(), HOSTS[:1])
    hostile = replace(
        a_result(HOSTS[0], "a\x00b\ud800c'; DROP TABLE visits; --"),
        os_name="\x00",
        agent=AgentState(
            last_heartbeat_at=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
            error_details="\udcff",
        ),
        services=(
            Service(
                name="himds",
                unit="",
                restarts=10**30,
                since_at=datetime.max.replace(tzinfo=timezone(-timedelta(1) / 2)),
            ),
        ),
    )
    store.save("run-0001", [(hostile, b"")])
    (kept,) = the_results(store)
    assert kept.findings[0].evidence[0].text == "a\ufffdb\ufffdc'; DROP TABLE visits; --"
    assert (kept.os_name, kept.agent.error_details) == ("\ufffd", "\ufffd")
    assert kept.agent.last_heartbeat_at == datetime(1, 1, 1, tzinfo=UTC)
    assert kept.services[0].restarts == 2**63 - 1
    assert kept.services[0].since_at == datetime.max.replace(tzinfo=UTC)


def test_a_cause_outside_the_findings_comes_back(store: SqlStore) -> None:
    lone = replace(a_result(HOSTS[0]), findings=())
    store.begin(a_run(), HOSTS[:1])
    store.save("run-0001", [(lone, b"")])
    assert the_results(store) == (lone,)


def test_instants_come_back_aware_in_utc_whatever_their_zone(store: SqlStore) -> None:
    run = replace(a_run(), started_at=AT.astimezone(timezone(timedelta(hours=5, minutes=30))))
    store.begin(run, HOSTS)
    (kept,) = store.runs(1)
    assert kept == run
    assert kept.started_at.tzinfo is UTC


def test_the_end_is_written(store: SqlStore) -> None:
    store.begin(a_run(), HOSTS)
    ended = replace(a_run(), ended_at=AT + timedelta(hours=1), exit_code=1, warnings=("a", "b"))
    store.end(ended)
    assert store.runs(5) == (ended,)


def test_what_hosts_share_is_kept_with_the_run_and_the_last_end_counts(store: SqlStore) -> None:
    for key in ("run-0001", "run-0002"):
        store.begin(a_run(key), HOSTS)
    told = (a_share("z", "web2", "db1"), a_share("a", "db1", "web1"))
    store.end(a_run("run-0001"), (a_share("old", "web1", "db1"),))
    store.end(a_run("run-0001"), told)
    report = store.load("run-0001")
    assert report is not None
    assert report.fleet == store.fleet("run-0001") == told
    assert store.fleet("run-0002") == store.fleet("nobody") == ()


def test_a_visit_is_found_with_what_it_brought_by_host_and_run(store: SqlStore) -> None:
    for number in (1, 2):
        store.begin(a_run(f"run-000{number}", minutes=number), HOSTS[:number])
    store.save("run-0001", [(a_result(HOSTS[0]), b"body")])
    assert store.visit("WEB2", "run-0001") == (a_run("run-0001", minutes=1), a_result(HOSTS[0]), b"body")
    newest = store.visit("web2", None)
    assert newest is not None
    assert (newest[0].id, newest[1].verdict.reason, newest[2]) == ("run-0002", Reason.SKIPPED, b"")
    assert store.visit("db1", "run-0001") is store.visit("nobody", None) is store.visit("web2", "x") is None
    with pytest.raises(SettingsError, match="run-0001, run-0002"):
        store.visit("web2", "run-")


def test_runs_are_found_newest_first_by_id_and_by_beginning(store: SqlStore) -> None:
    assert store.load(None) is None
    for key, minutes in (("aaaa-1", 0), ("aaaa-2", 2), ("bbb_b", 1)):
        store.begin(a_run(key, minutes=minutes), HOSTS)
    assert [run.id for run in store.runs(2)] == ["aaaa-2", "bbb_b"]
    found = {word: store.load(word) for word in (None, "aaaa-1", "bbb_", "bbb", "BBB_", "bb%b", "\x00zzz")}
    ids = [report.run.id if report else None for report in found.values()]
    assert ids == ["aaaa-2", "aaaa-1", "bbb_b", None, None, None, None]
    with pytest.raises(SettingsError, match="aaaa-1, aaaa-2"):
        store.load("aaaa")


def test_verdicts_are_counted_by_run(store: SqlStore) -> None:
    for key in ("run-0001", "run-0002"):
        store.begin(a_run(key), HOSTS)
    store.save("run-0002", [(a_result(HOSTS[0]), b"")])
    assert store.count_verdicts(["run-0001", "run-0002", "nobody"]) == {
        "run-0001": {Word.NOT_OBSERVED: 3},
        "run-0002": {Word.NOT_OBSERVED: 2, Word.FAILING: 1},
        "nobody": {},
    }
    assert store.count_verdicts([]) == {}


def test_history_is_one_host_newest_first(store: SqlStore) -> None:
    for number in range(3):
        run_id = f"run-{number}"
        store.begin(a_run(run_id, minutes=number), HOSTS)
        store.save(run_id, [(a_result(HOSTS[0], run_id), b""), (a_result(HOSTS[1], "other"), b"")])
    found = store.history("web2", 2)
    assert [(run.id, result) for run, result in found] == [
        ("run-2", a_result(HOSTS[0], "run-2")),
        ("run-1", a_result(HOSTS[0], "run-1")),
    ]
    assert store.history("nobody", 2) == store.history("nob\0dy", 2) == ()
    assert store.history("WEB2", 2) == found


def test_history_is_of_the_very_name_first(store: SqlStore) -> None:
    alike = [replace(HOSTS[0], name=name) for name in ("WEB2", "web2")]
    store.begin(a_run(), alike)
    for host in alike:
        (found,) = store.history(host.name, 2)
        assert found[1].host.name == host.name


def test_what_never_began_is_refused_and_nothing_of_the_batch_stays(store: SqlStore) -> None:
    store.begin(a_run(), HOSTS[:1])
    before = store.load(None)
    with pytest.raises(StorageError, match="web1"):
        store.save("run-0001", [(a_result(HOSTS[0]), b""), (a_result(HOSTS[2]), b"")])
    with pytest.raises(StorageError, match="did not begin"):
        store.end(a_run("run-0002"))
    with pytest.raises(StorageError, match="holds that already"):
        store.begin(a_run(), HOSTS)
    assert store.load(None) == before


def test_the_mask_key_is_the_same_for_the_life_of_the_store(store: SqlStore, url: str) -> None:
    key = store.mask_key()
    other = open_store(url)
    assert len(key) == 32
    assert other.mask_key() == store.mask_key() == key
    other.close()


def test_a_second_reader_sees_what_was_saved_while_the_first_writes(store: SqlStore, url: str) -> None:
    store.begin(a_run(), HOSTS)
    reader, database = open_store(url), open_database(url)
    with database.writing() as connection:
        connection.execute(text("DELETE FROM visits"))
        assert len(the_results(reader)) == len(HOSTS)
    assert the_results(reader) == ()
    reader.close()
    database.close()


def test_reading_a_run_takes_six_statements_however_many_hosts(store: SqlStore, url: str) -> None:
    store.begin(a_run(), HOSTS)
    store.save("run-0001", [(a_result(host), b"") for host in HOSTS])
    database = open_database(url)
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    assert len(the_results(SqlStore(database))) == len(HOSTS)
    assert sum(statement.startswith("SELECT") for statement in statements) == 6
    database.close()


def test_the_migrations_end_at_the_tables(store: SqlStore, url: str) -> None:
    database = open_database(url)
    with database.reading() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, metadata) == []
    database.close()


def test_a_database_of_a_newer_fleet_is_refused_and_kept(store: SqlStore, url: str) -> None:
    database = open_database(url)
    with database.writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(StorageError, match="newer fleet"):
        open_store(url)
    with database.reading() as connection:
        assert connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() == "9999"
    database.close()


def test_a_database_of_another_program_is_refused_and_kept(url: str) -> None:
    database = open_database(url)
    with database.writing() as connection:
        connection.execute(text("CREATE TABLE bookmarks (id INTEGER)"))
    with pytest.raises(StorageError, match="another program"):
        open_store(url)
    with database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM bookmarks")).scalar() == 0
    database.close()


def test_a_writer_that_waits_too_long_is_told_of_the_lock(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleet.storage.database.BUSY_TIMEOUT_MS", 20)
    first, second = open_store(url), open_store(url)
    first.begin(a_run(), HOSTS)
    database = open_database(url)
    with database.writing() as connection:
        connection.execute(text("UPDATE runs SET selected = 1"))
        with pytest.raises(StorageError, match="locked by another"):
            second.end(a_run())
    second.end(a_run())
    first.close()
    second.close()
    database.close()


def test_a_second_run_is_told_who_has_the_database_and_begins_once_that_one_is_gone(url: str) -> None:
    first, second = open_store(url), open_store(url)
    first.begin(a_run("run-0001"), HOSTS)
    first.begin(a_run("run-0002"), HOSTS)
    with pytest.raises(LockedError, match=rf"run run-0001, process {os.getpid()}\b.*, since 20"):
        second.begin(a_run("run-0003"), HOSTS)
    assert [run.id for run in second.runs(5)] == ["run-0002", "run-0001"]
    first.close()
    second.begin(a_run("run-0003"), HOSTS)
    second.close()


def test_reading_neither_takes_the_lock_nor_waits_for_it(store: SqlStore, url: str) -> None:
    reader = open_existing(url)
    assert reader.load(None) is None
    store.begin(a_run(), HOSTS)
    assert len(the_results(reader)) == len(HOSTS)
    reader.close()


def test_a_process_that_is_killed_leaves_no_lock(url: str) -> None:
    code = (
        "import datetime, sys; from fleet.storage import open_store; from fleet.model.report import Run\n"
        "at = datetime.datetime.now(datetime.UTC)\n"
        "run = Run(id='killed', inventory='', started_at=at, selected=0, fleet_version='', pack_digest='',"
        " script_sha256='')\n"
        "store = open_store(sys.argv[1]); store.begin(run, []); print('holds', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"holds\n"
        store = open_store(url)
        with pytest.raises(LockedError, match=f"run killed, process {holder.pid}"):
            store.begin(a_run(), HOSTS)
        holder.kill()
        holder.wait()
    begin_soon(store)
    store.close()


def begin_soon(store: SqlStore) -> None:
    """A server notices within moments that a session's process is gone; the kernel at once."""
    for _ in range(100):
        try:
            return store.begin(a_run(), HOSTS)
        except LockedError:
            threading.Event().wait(0.05)
    raise AssertionError("the lock outlives its process")


def test_reading_changes_nothing_and_asks_for_an_upgrade(store: SqlStore, url: str) -> None:
    database = open_database(url)
    with database.writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0000'"))
    with pytest.raises(SettingsError, match=r"older fleet.*brings it up to date"):
        open_existing(url)
    with database.writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(StorageError, match="newer fleet"):
        open_existing(url)
    database.close()


def test_reading_an_empty_database_leaves_it_empty(url: str) -> None:
    database = open_database(url)
    with pytest.raises(SettingsError, match="holds no run yet; `fleet collect INVENTORY`"):
        open_existing(url)
    with database.reading() as connection:
        assert inspect(connection).get_table_names() == []
    database.close()
