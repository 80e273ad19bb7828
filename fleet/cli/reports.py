"""``fleet runs``, ``fleet show`` and ``fleet report``: what the database knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from fleet.bootstrap import FORMATS, reading_store, report_writers
from fleet.cli.options import DB, Folder, announce, require_folder
from fleet.cli.table import table
from fleet.errors import SettingsError
from fleet.model.report import Run
from fleet.model.words import Word
from fleet.ports import Store
from fleet.report.files import save_reports
from fleet.report.text import clean, format_utc, render_host

_WORDS = (Word.FAILING, Word.DEGRADED, Word.HEALTHY, Word.NOT_OBSERVED)
_HEADING = (
    "RUN",
    "BEGAN",
    "ENDED",
    "EXIT",
    "HOSTS",
    *(word.replace("_", " ") for word in _WORDS),
    "INVENTORY",
)


@click.command()
@DB
@click.option("-n", "--number", type=click.IntRange(1, 500), default=20, show_default=True, help="How many.")
def runs(db: str | None, number: int) -> None:
    """List the newest runs.

    \b
    Example:
      fleet runs -n 5
    """
    with _announced(db) as store:
        found = store.runs(number)
        counts = store.count_verdicts([run.id for run in found])
    if not found:
        click.echo("no runs yet: fleet collect INVENTORY makes one")
        return
    for line in table([_HEADING, *(_cells(run, counts[run.id]) for run in found)], right=range(3, 9)):
        click.echo(line)


@click.command()
@click.argument("host")
@DB
@click.option(
    "-n", "--number", type=click.IntRange(1, 1000), default=10, show_default=True, help="Runs back."
)
def show(host: str, db: str | None, number: int) -> None:
    """Show what is known of one HOST, newest run first.

    \b
    Example:
      fleet show db01
    """
    with _announced(db) as store:
        history = store.history(host, number)
        fleet = store.fleet(history[0][0].id) if history else ()
    if not history:
        raise SettingsError(f"no run knows a host named {clean(host)}")
    click.echo(render_host(history, fleet), nl=False)


@click.command()
@DB
@click.option("--run", "run_id", default="latest", show_default=True, help="A run's id, or its beginning.")
@click.option("--format", "formats", default=",".join(FORMATS), show_default=True, help="Which files.")
@click.option(
    "-o",
    "--out",
    type=Folder(),
    required=True,
    help="The folder to write to.",
)
def report(db: str | None, run_id: str, formats: str, out: Path) -> None:
    """Write the reports of a run.

    \b
    Example:
      fleet report --run latest --format csv,html -o reports/
    """
    writers = report_writers(formats)
    with _announced(db) as store:
        found = store.load(None if run_id == "latest" else run_id)
    if found is None:
        which = "" if run_id == "latest" else f" {clean(run_id)}"
        raise SettingsError(f"the database holds no run{which}; `fleet runs` lists what it holds")
    require_folder(out)
    for path in save_reports(found, writers, out):
        click.echo(f"wrote {path}")


@contextmanager
def _announced(db: str | None) -> Iterator[Store]:
    announce(db)
    with reading_store(db) as store:
        yield store


def _cells(run: Run, counts: Mapping[Word, int]) -> tuple[str, ...]:
    return (
        run.id,
        format_utc(run.started_at),
        format_utc(run.ended_at) or "not ended",
        "" if run.exit_code is None else str(run.exit_code),
        str(run.selected),
        *(str(counts.get(word, 0)) for word in _WORDS),
        clean(run.inventory),
    )
