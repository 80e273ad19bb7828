"""What the options of several commands have in common."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import click

from fleet.bootstrap import database_name
from fleet.errors import SettingsError

DB = click.option("--db", metavar="URL", help="Database; default $FLEET_DATABASE_URL, else a SQLite file.")


class Seconds(click.FloatRange):
    """At least so many seconds; neither ``nan`` nor ``inf``, which a range lets through."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; ends the call otherwise."""
        seconds = float(super().convert(value, param, ctx))
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return seconds


def announce(db: str | None) -> None:
    """Say on stderr which database is used. Raises SettingsError for a URL that names none."""
    click.echo(database_name(db), err=True)


def require_folder(folder: Path) -> None:
    """Raise SettingsError when it can be told beforehand that no file can be made in that folder."""
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    except OSError as error:
        raise SettingsError(f"--out {folder}: {error.strerror}; name another folder") from error
    if not nearest.is_dir():
        raise SettingsError(f"--out {folder}: {nearest} is no folder; name another one")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise SettingsError(
            f"--out {folder}: nothing can be made in {nearest}; allow it, or name another one"
        )
