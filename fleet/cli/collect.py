"""``fleet collect``: visit the hosts of an inventory, judge them, store and report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from fleet.app.accepting import Accepting
from fleet.bootstrap import CollectSettings, missing_references
from fleet.cli.log import logged
from fleet.cli.options import DB, RULES, Folder, Seconds
from fleet.cli.program import tell
from fleet.cli.run import collect_hosts
from fleet.collect.deadlines import Limits
from fleet.collect.plan import Plan, plan_visit
from fleet.collect.powershell import BOOTSTRAP, around
from fleet.collect.visit import SystemClock
from fleet.errors import InventoryError, Mistake
from fleet.inventory.load import read_inventory
from fleet.inventory.select import select
from fleet.model.host import Host
from fleet.model.pack import Pack
from fleet.model.words import OS, Become, CheckMode, Connection, ExitCode
from fleet.packs.load import load_pack
from fleet.report.groups import count_hosts
from fleet.report.text import clean

_MAX_WARNINGS = 20


@click.command()
@click.argument("inventory", type=click.Path(path_type=Path))
@click.option(
    "--limit", metavar="PATTERN", help="Only these hosts: names, groups, globs, web[01-40], !excluded."
)
@DB
@click.option(
    "--concurrency", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Hosts at once."
)
@click.option(
    "--winrm-concurrency",
    type=click.IntRange(1, 1000),
    default=50,
    show_default=True,
    help="Hosts at once over WinRM, besides those.",
)
@click.option(
    "--connect-timeout",
    type=Seconds(0.1),
    default=10.0,
    show_default=True,
    help="For each phase up to the login.",
)
@click.option("--host-timeout", type=Seconds(1), default=180.0, show_default=True, help="For a whole visit.")
@click.option(
    "--max-time",
    type=Seconds(1),
    help="For the whole run, and a few more to end it; hosts not reached are skipped.",
)
@click.option(
    "--check",
    type=click.Choice([mode.value for mode in CheckMode]),
    default=CheckMode.AUTO.value,
    show_default=True,
    help="When `azcmagent check` runs: auto is only where the agent is not Connected.",
)
@click.option("--out", type=Folder(), help="Write the reports there too.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What is printed at the end.",
)
@RULES
@click.option("--show-commands", is_flag=True, help="Print exactly what would run on a host, and stop.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the hosts that would be visited and what they lack on this machine, and stop.",
)
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@click.option("--log-file", type=click.Path(path_type=Path, dir_okay=False), help="Write the log there.")
def collect(verbose: bool, log_file: Path | None, **told: Any) -> int:
    """Visit every host of INVENTORY once, judge its agent, store and report.

    \b
    Example:
      fleet collect inventory.yaml --limit 'web,!web-dmz' --out reports/
    """
    with logged(log_file, verbose=verbose):
        return _collect(**told)


def _collect(
    *,
    inventory: Path,
    limit: str | None,
    show_commands: bool,
    dry_run: bool,
    db: str | None,
    out: Path | None,
    form: str,
    own: tuple[Path, ...],
    **told: Any,
) -> int:
    read = read_inventory(inventory)
    hosts = read.hosts if limit is None else select(read.hosts, limit)
    pack = load_pack(own=own)
    idle = Accepting(pack.accepts).idle(read.hosts, SystemClock().now().date())
    settings = _settings(inventory=inventory, warnings=tuple(idle), **told)
    if show_commands:
        click.echo(_commands(pack, settings.check, hosts))
        return ExitCode.OK
    missing = missing_references(read, hosts)
    _warn(read.doubts)
    if dry_run:
        click.echo(_targets(hosts))
        if missing:
            raise InventoryError(missing)
        return ExitCode.OK
    _warn(missing)
    return collect_hosts(settings, hosts, pack, db=db, out=out, form=form)


def _warn(doubts: Sequence[Mistake]) -> None:
    """What is missing costs those hosts their visit and not the others theirs: the run goes on."""
    for doubt in doubts[:_MAX_WARNINGS]:
        tell(f"warning: {doubt}")
    if len(doubts) > _MAX_WARNINGS:
        tell(f"warning: {len(doubts) - _MAX_WARNINGS:,} more like these; --dry-run lists them all")


def _settings(
    *,
    inventory: Path,
    concurrency: int,
    winrm_concurrency: int,
    connect_timeout: float,
    host_timeout: float,
    max_time: float | None,
    check: str,
    warnings: tuple[str, ...],
) -> CollectSettings:
    return CollectSettings(
        inventory=inventory,
        concurrency=concurrency,
        winrm_concurrency=winrm_concurrency,
        limits=Limits(connect_s=connect_timeout, host_s=host_timeout),
        max_time_s=max_time,
        check=CheckMode(check),
        warnings=warnings,
    )


def _commands(pack: Pack, check: CheckMode, hosts: tuple[Host, ...]) -> str:
    lines: list[str] = []
    for family in OS:
        mine = [host for host in hosts if host.os is family]
        if mine:
            lines += _commands_of(plan_visit(pack.items, check, family), mine)
    return "\n".join(lines)


def _commands_of(plan: Plan, hosts: Sequence[Host]) -> Iterator[str]:
    if plan.os is OS.WINDOWS:
        yield from _windows_commands(plan, hosts)
        return
    yield f"# script, SHA-256 {plan.sha256}, sent on stdin:"
    yield plan.script.decode()
    for become in sorted({host.become for host in hosts}, key=list(Become).index):
        command = plan.command(become, nonce="NONCE", run_id="RUN", prompt="PROMPT", ready="READY")
        yield f"# command line, become: {become} (NONCE, RUN, PROMPT and READY vary):\n{command}"


def _windows_commands(plan: Plan, hosts: Sequence[Host]) -> Iterator[str]:
    ways = {host.connection for host in hosts}
    how = "sent as the one command of a PowerShell session:"
    yield f"# script, SHA-256 {plan.sha256}, {how if Connection.WINRM in ways else 'sent on stdin:'}"
    yield plan.script.decode()
    for way, tier0 in sorted({(host.connection, host.tier0) for host in hosts}):
        arguments = plan.arguments(nonce="NONCE", run_id="RUN", tier0=tier0)
        if way is Connection.SSH:
            before, behind = around(arguments)
            yield f"# command line over SSH:\n{BOOTSTRAP}"
            yield f"# its stdin, up to its end (NONCE and RUN vary):\n{before}# the script above\n{behind}"
        else:
            yield "# its arguments, one a line (NONCE and RUN vary):"
            yield "\n".join(arguments)


def _targets(hosts: tuple[Host, ...]) -> str:
    lines = [clean(f"{host.name}  {_target(host)}") for host in hosts]
    return "\n".join([*lines, f"{count_hosts(len(hosts))} would be visited"])


def _target(host: Host) -> str:
    if host.connection is Connection.LOCAL:
        return f"local, become {host.become}"
    login = f"{host.user}@" if host.user else ""
    return f"{host.connection} {login}{host.address}:{host.port}, {_how(host)}"


def _how(host: Host) -> str:
    if host.connection is Connection.WINRM:
        return f"{host.winrm.scheme}, {host.winrm.auth}"
    return "on Windows" if host.os is OS.WINDOWS else f"become {host.become}"
