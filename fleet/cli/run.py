"""Takes a run from its first connection to its last report, and its signals with it."""

from __future__ import annotations

import asyncio
import logging
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from fleet.app.collect_run import Collection, RunState
from fleet.app.exit_code import run_exit_code
from fleet.bootstrap import (
    FORMATS,
    CollectSettings,
    built_collection,
    fitting_concurrency,
    inventory_warnings,
    report_writers,
)
from fleet.cli.interrupts import Interrupts
from fleet.cli.options import announce, require_folder
from fleet.cli.program import tell
from fleet.collect.visit import SystemClock
from fleet.errors import ReportError, StorageError
from fleet.model.finding import FleetFinding
from fleet.model.host import Host
from fleet.model.pack import Pack
from fleet.model.report import RunReport
from fleet.model.words import ExitCode, Word
from fleet.report.files import save_reports
from fleet.report.groups import count_hosts

log = logging.getLogger(__name__)


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
    if out is not None:
        require_folder(out)
    settings = _fitting(settings, hosts)
    announce(db)
    state = RunState(selected=len(hosts))
    try:
        with Interrupts(state) as interrupts:
            ended = asyncio.run(_run(settings, hosts, pack, db, out, form, interrupts))
            click.echo(_told(ended, form), nl=False)
            return _code(interrupts, ended.fleet)
    except (StorageError, ReportError, OSError) as error:
        log.info("the run was not finished: %s", error)
        if not state.bugs:
            raise
        tell(f"fleet: {error}")
        return ExitCode.BUG


def _fitting(settings: CollectSettings, hosts: tuple[Host, ...]) -> CollectSettings:
    fits, message = fitting_concurrency(settings.concurrency)
    for warning in (*inventory_warnings(hosts), *settings.warnings, *([message] if message else [])):
        tell(f"warning: {warning}")
    return replace(settings, concurrency=fits)


def _told(report: RunReport, form: str) -> str:
    from fleet.report.json_file import render_json
    from fleet.report.summary import render_summary

    return render_json(report) if form == "json" else render_summary(report)


async def _run(
    settings: CollectSettings,
    hosts: tuple[Host, ...],
    pack: Pack,
    db: str | None,
    out: Path | None,
    form: str,
    interrupts: Interrupts,
) -> RunReport:
    async with built_collection(settings, hosts, pack, db) as collection:
        log.info(
            "run %s begins: %s, %d at once and %d over WinRM, inventory %s",
            collection.run.id,
            count_hosts(len(hosts)),
            settings.concurrency,
            settings.winrm_concurrency,
            settings.inventory,
        )
        interrupts.listen(_report_command(collection.run.id, db))
        await _visited(collection, interrupts.state)
        return await _finished(collection, interrupts, out, form)


async def _visited(collection: Collection, state: RunState) -> None:
    from fleet.cli.progress import show_progress

    progress = asyncio.create_task(show_progress(state))
    try:
        await collection.collect(state)
    finally:
        progress.cancel()
        await asyncio.gather(progress, return_exceptions=True)


async def _finished(collection: Collection, interrupts: Interrupts, out: Path | None, form: str) -> RunReport:
    """Draw the reports, then store the run's end, with a code that knows of both."""
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(collection.store_pool, collection.store.load, collection.run.id)
    assert found is not None
    shared = collection.digest.fleet_findings(found.results)
    now = SystemClock().now()
    warnings = (*found.run.warnings, *collection.digest.warnings(found.results, now.date()))
    found = replace(found, run=replace(found.run, ended_at=now, warnings=warnings), fleet=shared)
    try:
        await asyncio.to_thread(_write, _coded(found, _code(interrupts, shared)), out)
    except ReportError:
        failed = _coded(found, ExitCode.BUG if interrupts.state.bugs else ExitCode.STORE)
        await _end(collection, failed)
        # What the files would have said is all the more wanted here.
        with suppress(OSError):
            click.echo(_told(failed, form), nl=False)
        raise
    report = _coded(found, _code(interrupts, shared))
    await _end(collection, report)
    return report


def _coded(report: RunReport, code: ExitCode) -> RunReport:
    return replace(report, run=replace(report.run, exit_code=int(code)))


async def _end(collection: Collection, report: RunReport) -> None:
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(collection.store_pool, collection.store.end, report.run, report.fleet)
    counts = ", ".join(f"{report.count(word)} {word.lower().replace('_', ' ')}" for word in Word)
    log.info("run %s ended: %s; exit code %d", report.run.id, counts, report.run.exit_code)


def _write(report: RunReport, out: Path | None) -> None:
    if out is None:
        return
    for path in save_reports(report, report_writers(",".join(FORMATS)), out):
        tell(f"wrote {path}")


def _code(interrupts: Interrupts, fleet: Sequence[FleetFinding]) -> ExitCode:
    state = interrupts.state
    return run_exit_code(dict(state.counts), bugs=state.bugs, stopped=interrupts.stopped, fleet=fleet)


def _report_command(run_id: str, db: str | None) -> str:
    # A server's URL may hold a password, so it is left to be written again.
    shown = "" if db is None else f" --db {shlex.quote(db) if db.startswith('sqlite:') else 'URL'}"
    return f"fleet report --run {run_id} --out reports{shown}"
