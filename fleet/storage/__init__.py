"""Keeps runs in a relational database: SQLite in a file, or PostgreSQL."""

from fleet.storage.store import SqlStore, open_store

__all__ = ["SqlStore", "open_store"]
