"""``fleet collect``: visit the hosts of an inventory, judge them, store and report."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from fleet.app.collect_run import Collection, RunState
from fleet.app.exit_code import Stopped, run_exit_code
from fleet.bootstrap import (
    CollectSettings,
    built_collection,
    database_url,
    fitting_concurrency,
    inventory_warnings,
    report_writers,
)
from fleet.cli.progress import show_progress
from fleet.collect.deadlines import Limits
from fleet.collect.plan import Plan, plan_visit
from fleet.collect.visit import SystemClock
from fleet.inventory.load import load_inventory
from fleet.inventory.select import select
from fleet.model.host import Host
from fleet.model.pack import Pack
from fleet.model.report import RunReport
from fleet.model.words import Become, CheckMode, ExitCode
from fleet.packs.load import load_pack
from fleet.report.json_file import render_json
from fleet.report.summary import render_summary

log = logging.getLogger(__name__)


@click.command()
@click.argument("inventory", type=click.Path(path_type=Path))
@click.option(
    "--limit", metavar="PATTERN", help="Only these hosts: names, groups, globs, web[01-40], !excluded."
)
@click.option("--db", metavar="URL", help="Database; default $FLEET_DATABASE_URL, else a SQLite file.")
@click.option(
    "--concurrency", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Hosts at once."
)
@click.option(
    "--connect-timeout",
    type=click.FloatRange(0.1),
    default=10.0,
    show_default=True,
    help="Seconds for each phase up to the login.",
)
@click.option(
    "--host-timeout",
    type=click.FloatRange(1),
    default=180.0,
    show_default=True,
    help="Seconds for a whole visit.",
)
@click.option("--max-time", type=click.FloatRange(1), help="Seconds for the whole run; the rest is skipped.")
@click.option(
    "--check",
    type=click.Choice(list(CheckMode)),
    default=CheckMode.AUTO,
    show_default=True,
    help="When `azcmagent check` runs: auto is only where the agent is not Connected.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write the reports there too.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--show-commands", is_flag=True, help="Print exactly what would run on a host, and stop.")
@click.option("--dry-run", is_flag=True, help="Print the hosts that would be visited, and stop.")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@click.option("--log-file", type=click.Path(path_type=Path, dir_okay=False), help="Write the log there.")
def collect(
    inventory: Path,
    limit: str | None,
    db: str | None,
    concurrency: int,
    connect_timeout: float,
    host_timeout: float,
    max_time: float | None,
    check: CheckMode,
    out: Path | None,
    form: str,
    show_commands: bool,
    dry_run: bool,
    verbose: bool,
    log_file: Path | None,
) -> int:
    """Visit every host of INVENTORY once, judge its agent, store and report.

    \b
    Example:
      fleet collect inventory.yaml --limit 'web,!web-dmz' --out reports/
    """
    _log_to(log_file, verbose)
    hosts = load_inventory(inventory)
    if limit is not None:
        hosts = select(hosts, limit)
    pack = load_pack()
    settings = CollectSettings(
        inventory=inventory,
        concurrency=concurrency,
        limits=Limits(connect_s=connect_timeout, host_s=host_timeout),
        max_time_s=max_time,
        check=CheckMode(check),
    )
    if show_commands:
        click.echo(_commands(plan_visit(pack.items, settings.check), hosts))
        return ExitCode.OK
    if dry_run:
        click.echo("\n".join(f"{host.name}  {host.connection} {_target(host)}" for host in hosts))
        return ExitCode.OK
    return collect_hosts(settings, hosts, pack, db=db, out=out, form=form)


def collect_hosts(
    settings: CollectSettings,
    hosts: tuple[Host, ...],
    pack: Pack,
    *,
    db: str | None,
    out: Path | None,
    form: str,
) -> int:
    """The run itself, from the first connection to the last report; the exit code."""
    fits, message = fitting_concurrency(settings.concurrency)
    for warning in (*inventory_warnings(hosts), *([message] if message else [])):
        click.echo(f"warning: {warning}", err=True)
    if db is None:
        click.echo(f"database: {_shown_url(database_url(None))}", err=True)
    settings = replace(settings, concurrency=fits)
    report, code = asyncio.run(_run(settings, hosts, pack, db))
    # Files first: they must not depend on somebody reading our output.
    if out is not None:
        for writer in report_writers("csv,html,json"):
            for path in writer.write(report, out):
                click.echo(f"wrote {path}", err=True)
    click.echo(render_json(report) if form == "json" else render_summary(report))
    return code


async def _run(
    settings: CollectSettings, hosts: tuple[Host, ...], pack: Pack, db: str | None
) -> tuple[RunReport, ExitCode]:
    with built_collection(settings, hosts, pack, db) as collection:
        state = RunState(selected=len(hosts))
        with _signals(state):
            progress = asyncio.create_task(show_progress(state))
            try:
                await collection.collect(state)
            finally:
                progress.cancel()
                await asyncio.gather(progress, return_exceptions=True)
        return await _finished(collection, state)


async def _finished(collection: Collection, state: RunState) -> tuple[RunReport, ExitCode]:
    loop = asyncio.get_running_loop()
    counts = dict(state.counts)
    code = run_exit_code(counts, bugs=state.bugs, stopped=state.stopped)
    ended = replace(collection.run, ended_at=SystemClock().now(), exit_code=int(code))
    await loop.run_in_executor(collection.store_pool, collection.store.end, ended)
    report = await loop.run_in_executor(collection.store_pool, collection.store.load, ended.id)
    assert report is not None
    return report, code


@contextlib.contextmanager
def _signals(state: RunState) -> Iterator[None]:
    """First signal: start no further host. Second: leave at once; every host has its row already."""
    loop = asyncio.get_running_loop()

    was_told = False

    def told() -> None:
        nonlocal was_told
        if was_told:
            click.echo("fleet: left at once; `fleet report` writes what was stored", err=True)
            os._exit(ExitCode.INTERRUPTED)
        was_told = True
        click.echo("fleet: stopping; once more leaves at once", err=True)
        state.stop(Stopped.INTERRUPTED)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _commands(plan: Plan, hosts: tuple[Host, ...]) -> str:
    lines = [f"# script, SHA-256 {plan.sha256}, sent on stdin:", plan.script.decode()]
    for become in sorted({host.become for host in hosts}, key=list(Become).index):
        command = plan.command(become, nonce="NONCE", run_id="RUN", prompt="PROMPT", ready="READY")
        lines.append(f"# command line, become: {become} (NONCE, RUN, PROMPT and READY vary):\n{command}")
    return "\n".join(lines)


def _target(host: Host) -> str:
    return f"{host.user}@{host.address}:{host.port}, become {host.become}"


def _shown_url(url: str) -> str:
    scheme, _, rest = url.partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _log_to(path: Path | None, verbose: bool) -> None:
    logging.getLogger("asyncssh").setLevel(logging.ERROR)
    level = logging.DEBUG if verbose else logging.INFO
    root = logging.getLogger("fleet")
    root.setLevel(level)
    handlers: list[logging.Handler] = []
    if path is not None:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        handlers.append(logging.StreamHandler(os.fdopen(handle, "a", encoding="utf-8")))
    if verbose or path is None:
        console = logging.StreamHandler(sys.stderr)
        console.setLevel(level if verbose else logging.ERROR)
        handlers.append(console)
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        root.addHandler(handler)
