"""The store: what a run begins with, what each visit adds, and what reports read back."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from sqlalchemy import Connection, Select, insert, select, update

from fleet.errors import SettingsError, StorageError
from fleet.model.finding import FleetFinding
from fleet.model.host import Host
from fleet.model.report import HostResult, Run, RunReport, Verdict
from fleet.model.words import Observed, Reason, Word
from fleet.storage import queries, tables
from fleet.storage.columns import clean_text
from fleet.storage.database import Database, open_database
from fleet.storage.rows import (
    fleet_from_row,
    fleet_to_row,
    result_from_rows,
    result_to_rows,
    run_from_row,
    run_to_row,
)
from fleet.storage.upgrade import require_current, upgrade

MIN_PREFIX = 4
"""The fewest characters that stand for a whole run id."""

_SKIPPED = Verdict(
    word=Word.NOT_OBSERVED,
    observed=Observed.NONE,
    reason=Reason.SKIPPED,
    message="not visited in this run",
)


class SqlStore:
    """Keeps runs in SQLite or PostgreSQL; used by one thread at a time.

    A host comes back as reports show it: name, address, port, user, connection, os, groups and labels,
    everything else of it at its default.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def mask_key(self) -> bytes:
        """The store's own 32 random bytes, made once."""
        query = select(tables.store_key.c.key)
        with self._database.reading() as connection:
            found = connection.execute(query).scalar()
        if found is not None:
            return bytes(found)
        with self._database.writing() as connection:
            queries.insert_missing(connection, tables.store_key, [{"id": 1, "key": secrets.token_bytes(32)}])
            return bytes(connection.execute(query).scalar_one())

    def begin(self, run: Run, hosts: Sequence[Host]) -> None:
        """In one transaction: the run, and a NOT_OBSERVED(skipped) row for every host, in this order.

        From here to ``close`` no other run can begin. Raises LockedError while another one has the database.
        """
        self._database.hold(run)
        rows = [result_to_rows(HostResult(host=host, verdict=_SKIPPED)) for host in hosts]
        with self._database.writing() as connection:
            connection.execute(insert(tables.runs), [run_to_row(run)])
            queries.insert_missing(connection, tables.hosts, [{"name": host.name} for host in hosts])
            queries.insert_visits(connection, run.id, rows)

    def save(self, run_id: str, batch: Sequence[tuple[HostResult, bytes]]) -> None:
        """Replace these hosts' rows (result, body) in one transaction; of a host given twice the last."""
        newest = {clean_text(result.host.name): (result, body) for result, body in batch}
        if not newest:
            return
        with self._database.writing() as connection:
            keys = queries.find_visits(connection, run_id, newest)
            if missing := [name for name in newest if name not in keys]:
                raise StorageError(
                    f"{self._database.place}: run {run_id} did not begin with {', '.join(missing)}"
                )
            rows = [(keys[name], result_to_rows(result), body) for name, (result, body) in newest.items()]
            queries.replace_visits(connection, rows)

    def end(self, run: Run, fleet: Sequence[FleetFinding] = ()) -> None:
        """Write the run's end: ``ended_at``, ``exit_code``, ``warnings``, and what its hosts share. Twice is
        once, and the last counts."""
        row = run_to_row(run)
        ended = {name: row[name] for name in ("ended_at", "exit_code", "warnings")}
        statement = update(tables.runs).where(tables.runs.c.id == run.id).values(ended)
        with self._database.writing() as connection:
            if connection.execute(statement).rowcount != 1:
                raise StorageError(f"{self._database.place}: run {run.id} did not begin here")
            rows = [fleet_to_row(finding, run.id, at) for at, finding in enumerate(fleet)]
            queries.replace_fleet(connection, run.id, rows)

    def runs(self, limit: int) -> tuple[Run, ...]:
        """The newest runs, newest first."""
        with self._database.reading() as connection:
            found = queries.read_rows(connection, _newest_runs().limit(limit))
            return tuple(run_from_row(row) for row in found)

    def count_verdicts(self, run_ids: Sequence[str]) -> Mapping[str, Mapping[Word, int]]:
        """How many hosts have which verdict, for each of these runs."""
        counts = {run_id: Counter[Word]() for run_id in run_ids}
        with self._database.reading() as connection:
            for run_id, verdict, count in queries.count_verdicts(connection, run_ids):
                counts[run_id][Word(verdict)] = count
        return counts

    def load(self, run_id: str | None) -> RunReport | None:
        """One run with its hosts in inventory order, or None when there is none.

        Args:
            run_id: an id, or its beginning of at least four characters; None: the newest.

        Raises:
            SettingsError: several runs begin like that.
            StorageError: the database failed.
        """
        with self._database.reading() as connection:
            query = _newest_runs().limit(1)
            if run_id is not None:
                query = query.where(tables.runs.c.id.in_(self._run_ids(connection, run_id)))
            row = next(queries.read_rows(connection, query), None)
            if row is None:
                return None
            run = run_from_row(row)
            visits = select(tables.visits.c.id).where(tables.visits.c.run_id == run.id)
            results = tuple(result_from_rows(rows) for _, rows in queries.select_results(connection, visits))
            return RunReport(run=run, results=results, fleet=_fleet(connection, run.id))

    def fleet(self, run_id: str) -> tuple[FleetFinding, ...]:
        """What hosts of that run share, in the report's order; ``run_id`` is a whole id."""
        with self._database.reading() as connection:
            return _fleet(connection, run_id)

    def history(self, host: str, limit: int) -> tuple[tuple[Run, HostResult], ...]:
        """One host's results, newest run first."""
        with self._database.reading() as connection:
            return _history(connection, _newest_runs(), host, limit)

    def visit(self, host: str, run_id: str | None) -> tuple[Run, HostResult, bytes] | None:
        """One host's result with the body of its visit as it was saved (b"": nothing came), or None when no
        such run has that host.

        Args:
            host: a name, as for ``history``.
            run_id: an id, or its beginning of at least four characters; None: the newest that has the host.

        Raises:
            SettingsError: several runs begin like that.
            StorageError: the database failed.
        """
        with self._database.reading() as connection:
            runs = _newest_runs()
            if run_id is not None:
                runs = runs.where(tables.runs.c.id.in_(self._run_ids(connection, run_id)))
            found = _history(connection, runs, host, 1)
            return next(
                (
                    (run, result, queries.select_body(connection, run.id, result.host.name))
                    for run, result in found
                ),
                None,
            )

    def close(self) -> None:
        """Release the database."""
        self._database.close()

    def _run_ids(self, connection: Connection, start: str) -> list[str]:
        found = queries.select_run_ids(connection, start)
        if found == [clean_text(start)]:
            return found
        if len(start) < MIN_PREFIX:
            return []
        if len(found) > 1:
            raise SettingsError(
                f"several runs begin with {start}, among them {', '.join(found)}; write more of it"
            )
        return found


def open_store(url: str) -> SqlStore:
    """The store at ``sqlite:///PATH`` or ``postgresql://USER@HOST/NAME``, its schema brought up to date.

    A SQLite file that is missing is created 0600 in folders of 0700. The caller closes the store.

    Raises:
        SettingsError: any other URL.
        StorageError: the database cannot be used, is not fleet's, or comes from a newer fleet.
    """
    return _settled(open_database(url), upgrade)


def open_existing(url: str) -> SqlStore:
    """The store at that URL as it is, for reading: nothing is made or upgraded. The caller closes it.

    Raises:
        SettingsError: any other URL, no such file, no run in it yet, or a schema of an older fleet.
        StorageError: the database cannot be used, is not fleet's, or comes from a newer fleet.
    """
    return _settled(open_database(url, create=False), require_current)


def _settled(database: Database, settle: Callable[[Database], None]) -> SqlStore:
    with ExitStack() as undo:
        undo.callback(database.close)
        settle(database)
        undo.pop_all()
    return SqlStore(database)


def _fleet(connection: Connection, run_id: str) -> tuple[FleetFinding, ...]:
    table = tables.fleet_findings
    query = select(table).where(table.c.run_id == run_id).order_by(table.c.position)
    return tuple(map(fleet_from_row, queries.read_rows(connection, query)))


def _history(
    connection: Connection, runs: Select[Any], host: str, limit: int
) -> tuple[tuple[Run, HostResult], ...]:
    name = queries.select_host_name(connection, host)
    named = tables.visits.join(tables.hosts)
    mine = runs.select_from(tables.runs.join(named)).where(tables.hosts.c.name == name)
    visits = select(tables.visits.c.id).select_from(named).where(tables.hosts.c.name == name)
    kept = {row["id"]: run_from_row(row) for row in queries.read_rows(connection, mine.limit(limit))}
    found = queries.select_results(connection, visits.where(tables.visits.c.run_id.in_(kept)))
    results = {run_id: result_from_rows(rows) for run_id, rows in found}
    return tuple((run, results[key]) for key, run in kept.items())


def _newest_runs() -> Select[Any]:
    return select(tables.runs).order_by(tables.runs.c.started_at.desc(), tables.runs.c.id.desc())
