"""What the options of several commands have in common."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import click

from fleet.bootstrap import database_name
from fleet.errors import SettingsError
from fleet.report.files import make_folder

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
    """See that files can be made in the folder, which is made if need be. Raises SettingsError."""
    try:
        make_folder(folder)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingsError(
            f"--out {folder}: {error.strerror}; name a folder that fleet may make and write"
        ) from error
