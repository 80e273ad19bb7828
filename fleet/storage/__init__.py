"""Keeps runs in a relational database: SQLite in a file, or PostgreSQL."""

from fleet.storage.database import name_database
from fleet.storage.store import SqlStore, open_existing, open_store

__all__ = ["SqlStore", "name_database", "open_existing", "open_store"]
