"""Turns a database URL into an engine with fleet's way of beginning, waiting and failing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from fleet.errors import SettingsError
from fleet.model.report import Run
from fleet.storage.failures import translated
from fleet.storage.files import is_still, prepare_file, require_file
from fleet.storage.lock import FileLock, RunLock, SessionLock

BUSY_TIMEOUT_MS = 10_000
"""How long a writer waits for another one before it is told that the database is locked."""

_ACCEPTED = (
    "use sqlite:///PATH, with a fourth slash where PATH begins with one, or postgresql://USER@HOST/NAME"
)
_BEGIN = "fleet_begin"
_dumps = partial(json.dumps, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """An engine, the lock of a run on it, its name in messages, and what must not appear in them."""

    engine: Engine
    place: str
    lock: RunLock
    secrets: tuple[str, ...] = ()

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of ours."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database. Raises StorageError."""
        options: dict[str, Any] = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with self._translated(), self.engine.execution_options(**options).begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is kept whole or not at all. Raises StorageError."""
        # A transaction that begins by reading could not wait for another writer: SQLite refuses it at once.
        options = {_BEGIN: "BEGIN IMMEDIATE"}
        with self._translated(), self.engine.execution_options(**options).begin() as connection:
            yield connection

    @contextmanager
    def outside(self) -> Iterator[Connection]:
        """A connection of SQLite outside any transaction. Raises StorageError."""
        with self._translated(), self.engine.execution_options(**{_BEGIN: ""}).connect() as connection:
            yield connection

    def hold(self, run: Run) -> None:
        """Keep other runs away until ``close``. Raises LockedError and StorageError."""
        with self._translated():
            self.lock.take(run)

    def close(self) -> None:
        """Give back the lock and every connection."""
        with self._translated():
            self.lock.release()
        self.engine.dispose()

    def _translated(self) -> Any:
        # SQLAlchemy wraps what its driver raises, except for what happens outside its own calls.
        driver = self.engine.dialect.loaded_dbapi
        return translated(self.place, driver.Error if driver else SQLAlchemyError, self._hide)

    def _hide(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def open_database(url: str, *, create: bool = True) -> Database:
    """The database of a URL; a server is not yet spoken to.

    Args:
        url: ``sqlite:///PATH`` or ``postgresql://...``.
        create: make a SQLite file that is missing.

    Raises:
        SettingsError: any other URL, or a file that is missing and not to be made.
        StorageError: the file cannot be used.
    """
    parsed = _parse_url(url)
    if parsed.drivername == "postgresql":
        return _open_postgresql(parsed)
    path = _sqlite_path(parsed)
    if create:
        prepare_file(path)
        return _open_sqlite(parsed, path)
    require_file(path)
    return _open_sqlite(_still(path) if is_still(path) else parsed, path)


def name_database(url: str) -> str:
    """What messages call the database of a URL, without user and password. Raises SettingsError."""
    parsed = _parse_url(url)
    if parsed.drivername == "postgresql":
        return _postgresql_place(parsed)
    return _sqlite_place(_sqlite_path(parsed))


def _parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Neither the text nor the cause is shown: a mistyped URL may hold its password anywhere.
        raise SettingsError(f"the database's URL cannot be read; {_ACCEPTED}") from None
    if parsed.drivername not in ("sqlite", "postgresql"):
        raise SettingsError(f"a database of kind {parsed.drivername!r} cannot be used; {_ACCEPTED}")
    return parsed


def _sqlite_path(url: URL) -> Path:
    if url.query or url.host or not url.database or url.database == ":memory:":
        raise SettingsError("a SQLite database is one file: sqlite:///PATH, with no host and no options")
    return Path(url.database)


def _still(path: Path) -> URL:
    """The file as it stands: read without the files that SQLite would make beside it."""
    still = {"mode": "ro", "immutable": "1", "uri": "true"}
    return URL.create("sqlite", database=path.absolute().as_uri(), query=still)


def _sqlite_place(path: Path) -> str:
    return f"database {path}"


def _open_sqlite(url: URL, path: Path) -> Database:
    engine = create_engine(url, json_serializer=_dumps, hide_parameters=True)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return Database(engine=engine, place=_sqlite_place(path), lock=FileLock(path))


def _configure_sqlite(connection: Any, _record: object) -> None:
    # The module's own way to begin a transaction leaves reads and schema changes outside of it.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    statement = connection.get_execution_options().get(_BEGIN, "BEGIN")
    if statement:
        connection.exec_driver_sql(statement)


def _open_postgresql(url: URL) -> Database:
    ours = {
        "application_name": "fleet",
        "connect_timeout": "10",
        "options": f"-c timezone=UTC -c lock_timeout={BUSY_TIMEOUT_MS}",
    }
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={name: value for name, value in ours.items() if name not in url.query},
        json_serializer=_dumps,
        hide_parameters=True,
        pool_pre_ping=True,
    )
    secrets = (url.password or "", _text(url.query.get("password")))
    return Database(
        engine=engine,
        place=_postgresql_place(url),
        lock=SessionLock(engine),
        secrets=tuple(secret for secret in secrets if secret),
    )


def _postgresql_place(url: URL) -> str:
    host = url.host or _text(url.query.get("host")) or "the local socket"
    port = f":{url.port}" if url.port else ""
    return f"PostgreSQL database {url.database or ''} at {host}{port}"


def _text(value: str | tuple[str, ...] | None) -> str:
    return value if isinstance(value, str) else ",".join(value or ())
