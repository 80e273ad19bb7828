"""Turns what the database drivers raise into a StorageError that says whose move it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from fleet.errors import StorageError

_LOCKED = "it is locked by another process; wait for that run to end, or give this one another database"
_FULL = "the disk is full; make room, then collect again: what was saved so far is kept"
_NO_ACCESS = "no access; check the owner and the rights of the database for this login"
_UNREACHABLE = "not reachable; check that the server runs, the address, the port and the login"
_DAMAGED = "it is damaged or not a database; restore a copy or name another file"
_DISK = "the disk or the file system failed, or is full; check it before anything else"
_HELD = "it holds that already, or lacks what the row belongs to"
_MISSING = "there is no such database; create it, or correct its name"

# Primary result codes, https://www.sqlite.org/rescode.html
_SQLITE = {
    3: _NO_ACCESS,
    5: _LOCKED,
    6: _LOCKED,
    8: _NO_ACCESS,
    10: _DISK,
    11: _DAMAGED,
    13: _FULL,
    14: _NO_ACCESS,
    19: _HELD,
    23: _NO_ACCESS,
    26: _DAMAGED,
}

# SQLSTATE, the longest prefix decides: https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRES = {
    "53100": _FULL,
    "55P03": _LOCKED,
    "40": _LOCKED,
    "42501": _NO_ACCESS,
    "25006": _NO_ACCESS,
    "28": _NO_ACCESS,
    "3D": _MISSING,
    "08": _UNREACHABLE,
    "53": _UNREACHABLE,
    "57": _UNREACHABLE,
    "58": _DISK,
    "23": _HELD,
}

_LONGEST_DETAIL = 300


@contextmanager
def translated(place: str, driver_error: type[Exception], hide: Callable[[str], str]) -> Iterator[None]:
    """Raise StorageError for any failure of the database within.

    Args:
        place: names the database without a password.
        driver_error: the driver's own base error, for what is raised past SQLAlchemy.
        hide: takes secrets out of a driver's message.
    """
    try:
        yield
    except (SQLAlchemyError, driver_error) as exc:
        raise StorageError(_sentence(place, exc, hide)) from exc


def _sentence(place: str, exc: Exception, hide: Callable[[str], str]) -> str:
    cause = getattr(exc, "orig", None) or exc
    detail = hide(" ".join(str(cause).split()))[:_LONGEST_DETAIL]
    move = _move(cause)
    return f"{place}: {move} ({detail})" if move else f"{place}: {detail}"


def _move(cause: BaseException) -> str | None:
    code = getattr(cause, "sqlite_errorcode", None)
    if isinstance(code, int):
        return _SQLITE.get(code & 0xFF)
    state = getattr(cause, "sqlstate", None)
    if isinstance(state, str):
        return _POSTGRES.get(state) or _POSTGRES.get(state[:2])
    # psycopg reports a connection that never came to be, or broke, without a state.
    return _UNREACHABLE if type(cause).__name__ == "OperationalError" else None
