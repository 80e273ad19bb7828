"""What the options of several commands have in common."""

from __future__ import annotations

import math
import os
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import click

from fleet.bootstrap import database_name, rules_folders
from fleet.cli.program import tell
from fleet.errors import SettingsError
from fleet.report.files import make_folder


def _not_empty(_ctx: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    # An empty one is a variable of the caller that was not set: it must not mean the default.
    if value == "":
        raise click.BadParameter("it is empty.")
    return value


def _folders(_ctx: click.Context, _option: click.Parameter, given: tuple[Path, ...]) -> tuple[Path, ...]:
    return rules_folders(given)


DB = click.option(
    "--db",
    metavar="URL",
    callback=_not_empty,
    help="Database; default $FLEET_DATABASE_URL, else a SQLite file.",
)


RULES = click.option(
    "--rules",
    "own",
    metavar="DIR",
    multiple=True,
    callback=_folders,
    type=click.Path(path_type=Path),
    help="Your own rules, overrides and accepted findings; may be repeated; default $FLEET_RULES.",
)


class Seconds(click.FloatRange):
    """At least so many seconds; neither ``nan`` nor ``inf``, which a range lets through."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; ends the call otherwise."""
        seconds = float(super().convert(value, param, ctx))
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return seconds


class Folder(click.Path):
    """A folder to write to, named: an empty name is a variable of the caller that was not set."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, file_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path; ends the call otherwise."""
        if value == "":
            self.fail("it is empty.", param, ctx)
        return Path(os.fsdecode(super().convert(value, param, ctx)))


def announce(db: str | None) -> None:
    """Say on stderr which database is used. Raises SettingsError for a URL that names none."""
    tell(database_name(db))


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
