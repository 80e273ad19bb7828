"""Brings a database to the schema of this fleet, and refuses those that are not fleet's or are newer."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from fleet.errors import SettingsError, StorageError
from fleet.storage.database import Database
from fleet.storage.tables import HEAD, VERSION_TABLE

# Any number will do, as long as every fleet takes the same.
_UPGRADE_LOCK = 0x666C656574


def upgrade(database: Database) -> None:
    """Leave the schema at the newest revision, in one transaction; two processes may do so at once.

    Raises:
        StorageError: it holds another program's tables, comes from a newer fleet, or failed.
    """
    with database.reading() as connection:
        revision = _revision(connection, database.place)
    if database.is_sqlite:
        # It is written into the file, so it waits until the file is known to be ours.
        with database.outside() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    if revision == HEAD:
        return
    with database.writing() as connection:
        if not database.is_sqlite:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
        _migrate(connection, database.place)


def require_current(database: Database) -> None:
    """See that the schema is the newest; nothing is changed.

    Raises:
        SettingsError: it holds nothing of fleet yet, or comes from an older fleet.
        StorageError: it holds another program's tables, comes from a newer fleet, or failed.
    """
    with database.reading() as connection:
        revision = _revision(connection, database.place)
    if revision is None:
        raise SettingsError(f"{database.place} holds no run yet; `fleet collect INVENTORY` stores one in it")
    if revision < HEAD:
        raise SettingsError(
            f"{database.place} was written by an older fleet; copy it if you may want that one again, then"
            " `fleet collect INVENTORY` brings it up to date"
        )
    if revision != HEAD:
        raise StorageError(_newer(database.place))


def _revision(connection: Connection, place: str) -> str | None:
    tables = inspect(connection).get_table_names()
    if VERSION_TABLE in tables:
        return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    if tables:
        raise StorageError(f"{place}: it holds tables of another program; give fleet a database of its own")
    return None


def _migrate(connection: Connection, place: str) -> None:
    # Imported here: it costs as much as all else together, and a database needs it once.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "fleet.storage:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as exc:
        raise StorageError(_newer(place)) from exc


def _newer(place: str) -> str:
    return f"{place}: it was written by a newer fleet; use that one, or another database"
