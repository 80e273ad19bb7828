"""``fleet privileges``: what a host must allow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import click

from fleet.collect.jea import JeaFile, install_commands, jea_files
from fleet.collect.plan import plan_visit, script, sudoers
from fleet.errors import SettingsError
from fleet.model.words import OS, CheckMode
from fleet.packs.load import load_shipped_items


@click.group()
def privileges() -> None:
    """What a visit needs to be allowed on a host.

    \b
    Example:
      fleet privileges sudoers --user ops
    """


@privileges.command("sudoers", short_help="Print the drop-in for `become: reads`.")
@click.option("--user", default="ops", show_default=True, help="The login of the inventory.")
def print_sudoers(user: str) -> None:
    """Print the sudoers drop-in for `become: reads`, for exactly this release.

    \b
    Example:
      fleet privileges sudoers --user ops > fleet && visudo -c -f fleet
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", user):
        raise SettingsError("--user takes a login name of letters, digits, '_', '.' and '-'")
    click.echo(sudoers(plan_visit(load_shipped_items(), CheckMode.AUTO).items, user), nl=False)


@privileges.command("jea", short_help="Print the JEA endpoint of Windows hosts.")
@click.option("--group", required=True, help="Who may use it: DOMAIN\\group, or a group of the host.")
@click.option("--folder", type=click.Path(path_type=Path), help="Write the files into this new folder.")
def print_jea(group: str, folder: Path | None) -> None:
    """Print what makes a host offer the visit and nothing else (JEA), for exactly this release.

    Module, role capability and session configuration, with the commands that install them.

    \b
    Example:
      fleet privileges jea --group 'CORP\\Fleet Readers' --folder FleetVisit
    """
    items = load_shipped_items()
    plans = (plan_visit(items, check, OS.WINDOWS) for check in (CheckMode.AUTO, CheckMode.ALWAYS))
    words = dict.fromkeys(word for plan in plans for word in plan.words)
    try:
        files = jea_files(script(OS.WINDOWS).decode(), words, group)
    except ValueError as exc:
        raise SettingsError(f"--group: {exc}") from exc
    if folder is None:
        for file in files:
            click.echo(f"# ---- {file.path}\n{file.text}")
    else:
        _write_files(folder, files)
    click.echo(install_commands(), nl=False)


def _write_files(folder: Path, files: Sequence[JeaFile]) -> None:
    try:
        folder.mkdir(parents=True)
        for file in files:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            # Windows PowerShell reads other letters than English ones rightly behind a byte order mark only.
            path.write_text(file.text, encoding="utf-8-sig", newline="\n")
    except OSError as exc:
        raise SettingsError(f"--folder {folder}: {exc.strerror}") from exc
