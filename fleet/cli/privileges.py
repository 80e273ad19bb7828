"""``fleet privileges``: what a host must allow."""

from __future__ import annotations

import re

import click

from fleet.collect.plan import plan_visit, sudoers
from fleet.errors import SettingsError
from fleet.model.words import CheckMode
from fleet.packs.load import load_pack


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
    click.echo(sudoers(plan_visit(load_pack().items, CheckMode.AUTO).items, user), nl=False)
