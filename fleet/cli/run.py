"""Takes a run from its first connection to its last report, and its signals with it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import click

from fleet.app.collect_run import Collection, RunState
from fleet.app.exit_code import Stopped, run_exit_code
from fleet.bootstrap import (
    FORMATS,
    CollectSettings,
    built_collection,
    fitting_concurrency,
    inventory_warnings,
    report_writers,
)
from fleet.cli.options import announce, require_folder
from fleet.collect.visit import SystemClock
from fleet.errors import ReportError, StorageError
from fleet.model.host import Host
from fleet.model.pack import Pack
from fleet.model.report import RunReport
from fleet.model.words import ExitCode, Word
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
        report, code = asyncio.run(_run(settings, hosts, pack, db, state))
        _tell(report, out, form)
    except (StorageError, ReportError, OSError) as error:
        log.info("the run was not finished: %s", error)
        if not state.bugs:
            raise
        click.echo(f"fleet: {error}", err=True)
        return ExitCode.BUG
    return code


def _fitting(settings: CollectSettings, hosts: tuple[Host, ...]) -> CollectSettings:
    fits, message = fitting_concurrency(settings.concurrency)
    for warning in (*inventory_warnings(hosts), *([message] if message else [])):
        click.echo(f"warning: {warning}", err=True)
    return replace(settings, concurrency=fits)


def _tell(report: RunReport, out: Path | None, form: str) -> None:
    from fleet.report.json_file import render_json
    from fleet.report.summary import render_summary

    # Files first: they must not depend on somebody reading our output.
    if out is not None:
        for writer in report_writers(",".join(FORMATS)):
            for path in writer.write(report, out):
                click.echo(f"wrote {path}", err=True)
    click.echo(render_json(report) if form == "json" else render_summary(report), nl=False)


async def _run(
    settings: CollectSettings, hosts: tuple[Host, ...], pack: Pack, db: str | None, state: RunState
) -> tuple[RunReport, ExitCode]:
    from fleet.cli.progress import show_progress

    with built_collection(settings, hosts, pack, db) as collection:
        log.info(
            "run %s begins: %s, %d at once, inventory %s",
            collection.run.id,
            count_hosts(len(hosts)),
            settings.concurrency,
            settings.inventory,
        )
        with _signals(state, _report_command(collection.run.id, db)):
            progress = asyncio.create_task(show_progress(state))
            try:
                await collection.collect(state)
            finally:
                progress.cancel()
                await asyncio.gather(progress, return_exceptions=True)
        return await _finished(collection, state)


async def _finished(collection: Collection, state: RunState) -> tuple[RunReport, ExitCode]:
    loop = asyncio.get_running_loop()
    code = run_exit_code(dict(state.counts), bugs=state.bugs, stopped=state.stopped)
    ended = replace(collection.run, ended_at=SystemClock().now(), exit_code=int(code))
    await loop.run_in_executor(collection.store_pool, collection.store.end, ended)
    report = await loop.run_in_executor(collection.store_pool, collection.store.load, ended.id)
    assert report is not None
    counts = ", ".join(f"{report.count(word)} {word.lower().replace('_', ' ')}" for word in Word)
    log.info("run %s ended: %s; exit code %d", ended.id, counts, code)
    return report, code


@contextlib.contextmanager
def _signals(state: RunState, report_command: str) -> Iterator[None]:
    """First signal: start no further host. Second: leave at once; every host has its row already."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, _told(state, report_command))
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _told(state: RunState, report_command: str) -> Callable[[], None]:
    was_told = False

    def told() -> None:
        nonlocal was_told
        if was_told:
            click.echo(f"fleet: left at once; for what was stored: {report_command}", err=True)
            os._exit(ExitCode.BUG if state.bugs else ExitCode.INTERRUPTED)
        was_told = True
        click.echo("fleet: stopping; once more leaves at once", err=True)
        state.stop(Stopped.INTERRUPTED)

    return told


def _report_command(run_id: str, db: str | None) -> str:
    # A server's URL may hold a password, so it is left to be written again.
    shown = "" if db is None else f" --db {shlex.quote(db) if db.startswith('sqlite:') else 'URL'}"
    return f"fleet report --run {run_id} --out reports{shown}"
