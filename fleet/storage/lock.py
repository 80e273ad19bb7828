"""Keeps a second run away from a database while one is under way; the lock ends with its process."""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, text

from fleet.errors import LockedError, StorageError
from fleet.model.report import Run

KEY = 0x666C65657472756E
"""The number of PostgreSQL's advisory lock; any will do, as long as every fleet takes the same."""

FILE_MODE = 0o600

_HOLDER = text(
    "SELECT a.application_name || ', since ' || to_char(a.backend_start, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
    " FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (l.classid::bigint << 32 | l.objid::bigint) = :key"
)


class RunLock(Protocol):
    """One database's lock, free until it is taken; taking what one holds changes nothing."""

    def take(self, run: Run) -> None:
        """Hold it for this run. Raises LockedError with what is known of the run that has it."""
        ...

    def release(self) -> None:
        """Give it back if it is held."""
        ...


class FileLock:
    """A lock on a file beside a SQLite database, whose own lock would end with each transaction."""

    def __init__(self, database: Path) -> None:
        # Two names of one database must meet in one lock.
        self._path = Path(f"{database.resolve()}.lock")
        self._descriptor: int | None = None

    def take(self, run: Run) -> None:
        """Also raises StorageError when the file cannot be made, locked or written."""
        if self._descriptor is not None:
            return
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, FILE_MODE)
        except OSError as exc:
            raise StorageError(f"{self._path}: {exc.strerror}; let fleet write beside the database") from exc
        with ExitStack() as undo:
            undo.callback(os.close, descriptor)
            try:
                self._hold(descriptor, run)
            except OSError as exc:
                raise StorageError(
                    f"{self._path}: the lock cannot be held: {exc.strerror}; give fleet a database on a disk"
                    " that it may write and that locks"
                ) from exc
            undo.pop_all()
        self._descriptor = descriptor

    def _hold(self, descriptor: int, run: Run) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(descriptor, 500, 0).decode(errors="replace")
            raise LockedError(_sentence(holder)) from exc
        os.fchmod(descriptor, FILE_MODE)
        os.ftruncate(descriptor, 0)
        since = f"{run.started_at:%Y-%m-%dT%H:%M:%SZ}"
        os.pwrite(descriptor, f"run {run.id}, process {os.getpid()}, since {since}".encode(), 0)

    def release(self) -> None:
        """The file stays: who removed it could take it from under a run that just opened it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class SessionLock:
    """An advisory lock of PostgreSQL, held by a session of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._session: Connection | None = None

    def take(self, run: Run) -> None:
        """Raises SQLAlchemy's errors besides."""
        if self._session is not None:
            return
        session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with ExitStack() as undo:
            undo.callback(_end, session)
            _hold_advisory(session, run)
            undo.pop_all()
        self._session = session

    def release(self) -> None:
        """The session ends, and the lock with it."""
        if self._session is not None:
            _end(self._session)
            self._session = None


def _hold_advisory(session: Connection, run: Run) -> None:
    name = f"run {run.id}, process {os.getpid()} on {socket.gethostname()}"
    session.execute(text("SELECT set_config('application_name', :name, false)"), {"name": name})
    key: dict[str, Any] = {"key": KEY}
    if not session.execute(text("SELECT pg_try_advisory_lock(:key)"), key).scalar():
        raise LockedError(_sentence(session.execute(_HOLDER, key).scalar() or ""))


def _end(session: Connection) -> None:
    # Given back to the pool it would keep its locks.
    session.invalidate()
    session.close()


def _sentence(holder: str) -> str:
    who = f" ({holder})" if holder else ""
    return f"another run has this database{who}; wait for it to end, or name another database"
