"""The statements of the store: which rows are written, replaced and read, on an open connection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import (
    Connection,
    ScalarSelect,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from fleet.storage import tables
from fleet.storage.columns import clean_text
from fleet.storage.rows import ResultRows, Row

# Well under the number of variables any SQLite takes in one statement.
_NAMES_AT_ONCE = 500

_CHILDREN = (tables.agent_states, tables.services, tables.findings, tables.captures)


def insert_missing(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert the rows whose key the table does not hold yet."""
    _execute_many(connection, _dialect_insert(connection)(table).on_conflict_do_nothing(), rows)


def _dialect_insert(connection: Connection) -> Any:
    # Imported by use: the dialect of a database that is not there costs as much as half of SQLAlchemy.
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert
    from sqlalchemy.dialects import sqlite

    return sqlite.insert


def insert_visits(connection: Connection, run_id: str, rows: Sequence[ResultRows]) -> None:
    """Insert one row of ``visits`` for each host, in this order; the hosts are known."""
    host_id: ScalarSelect[Any] = (
        select(tables.hosts.c.id).where(tables.hosts.c.name == bindparam("host_name")).scalar_subquery()
    )
    statement = insert(tables.visits).values(host_id=host_id)
    visits = (
        {**row.visit, "run_id": run_id, "position": at, "host_name": row.host} for at, row in enumerate(rows)
    )
    _execute_many(connection, statement, list(visits))


def find_visits(connection: Connection, run_id: str, names: Iterable[str]) -> dict[str, int]:
    """The visits' ids by host name, as stored, of those hosts that the run began with."""
    query = (
        select(tables.hosts.c.name, tables.visits.c.id)
        .join_from(tables.visits, tables.hosts)
        .where(tables.visits.c.run_id == run_id)
    )
    rest, found = iter(names), dict[str, int]()
    while some := list(islice(rest, _NAMES_AT_ONCE)):
        found.update(
            (name, key) for name, key in connection.execute(query.where(tables.hosts.c.name.in_(some)))
        )
    return found


def replace_visits(connection: Connection, rows: Sequence[tuple[int, ResultRows, bytes]]) -> None:
    """Replace all that is stored of these visits: their id, their rows and their body."""
    keys = [{"this": key} for key, _, _ in rows]
    for table in _CHILDREN:
        connection.execute(delete(table).where(table.c.visit_id == bindparam("this")), keys)
    visits = [{**row.visit, "this": key} for key, row, _ in rows]
    connection.execute(update(tables.visits).where(tables.visits.c.id == bindparam("this")), visits)
    for table, children in _children(rows):
        _execute_many(connection, insert(table), children)


def replace_fleet(connection: Connection, run_id: str, rows: Sequence[Row]) -> None:
    """Replace all that is stored of what hosts of that run share."""
    table = tables.fleet_findings
    connection.execute(delete(table).where(table.c.run_id == run_id))
    _execute_many(connection, insert(table), rows)


def select_body(connection: Connection, run_id: str, host: str) -> bytes:
    """The body of that host's visit, b"" when none is stored."""
    query = (
        select(tables.captures.c.body)
        .select_from(tables.captures.join(tables.visits).join(tables.hosts))
        .where(tables.visits.c.run_id == run_id, tables.hosts.c.name == clean_text(host))
    )
    found = connection.execute(query).scalar()
    return b"" if found is None else bytes(found)


def select_results(connection: Connection, visits: Select[Any]) -> Iterator[tuple[str, ResultRows]]:
    """The run's id and the rows of each visit whose id the query selects, in inventory order: four reads."""
    agents = _of_visits(connection, tables.agent_states, visits)
    services = _of_visits(connection, tables.services, visits)
    findings = _of_visits(connection, tables.findings, visits)
    query = (
        select(tables.visits, tables.hosts.c.name.label("host_name"))
        .join_from(tables.visits, tables.hosts)
        .where(tables.visits.c.id.in_(visits))
        .order_by(tables.visits.c.position)
    )
    for row in read_rows(connection, query):
        key = row["id"]
        yield (
            row["run_id"],
            ResultRows(
                host=row["host_name"],
                visit=row,
                agent=agents[key][0] if key in agents else None,
                services=tuple(services.get(key, ())),
                findings=tuple(findings.get(key, ())),
            ),
        )


def read_rows(connection: Connection, query: Select[Any]) -> Iterator[Row]:
    """The query's rows by column name."""
    found = connection.execute(query)
    names = tuple(found.keys())
    return (dict(zip(names, row, strict=True)) for row in found.all())


def select_run_ids(connection: Connection, start: str) -> list[str]:
    """The id that is ``start``, else at most three that begin with it."""
    key = tables.runs.c.id
    exact = connection.execute(select(key).where(key == start)).scalars().all()
    # LIKE would not do: SQLite's folds case.
    begins = func.substr(key, 1, len(start)) == clean_text(start)
    return list(exact or connection.execute(select(key).where(begins).order_by(key).limit(3)).scalars().all())


def select_host_name(connection: Connection, name: str) -> str:
    """The host's name as it is stored: ``name`` itself, else one that differs from it in case only."""
    column = tables.hosts.c.name
    alike = select(column).where(func.lower(column) == clean_text(name).lower()).order_by(column)
    found = connection.execute(alike).scalars().all()
    return name if name in found or not found else found[0]


def count_verdicts(connection: Connection, run_ids: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    """The run's id, the verdict and the number of its hosts, for those of these runs that have any."""
    table = tables.visits
    query = (
        select(table.c.run_id, table.c.verdict, func.count())
        .where(table.c.run_id.in_(run_ids))
        .group_by(table.c.run_id, table.c.verdict)
    )
    return ((run_id, verdict, count) for run_id, verdict, count in connection.execute(query).all())


def _children(rows: Sequence[tuple[int, ResultRows, bytes]]) -> Iterator[tuple[Table, Sequence[Row]]]:
    yield tables.agent_states, [{**row.agent, "visit_id": key} for key, row, _ in rows if row.agent]
    yield tables.services, [{**each, "visit_id": key} for key, row, _ in rows for each in row.services]
    yield tables.findings, [{**each, "visit_id": key} for key, row, _ in rows for each in row.findings]
    bodies = [{"visit_id": key, "body": body, "size": len(body)} for key, _, body in rows if body]
    yield tables.captures, bodies


def _execute_many(connection: Connection, statement: Any, rows: Sequence[Row]) -> None:
    # Without rows SQLAlchemy would insert one of defaults.
    if rows:
        connection.execute(statement, rows)


def _of_visits(connection: Connection, table: Table, visits: Select[Any]) -> dict[int, list[Row]]:
    groups = defaultdict[int, list[Row]](list)
    for row in read_rows(connection, select(table).where(table.c.visit_id.in_(visits))):
        groups[row["visit_id"]].append(row)
    return groups
