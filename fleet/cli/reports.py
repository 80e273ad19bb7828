"""``fleet runs``, ``fleet show`` and ``fleet report``: what the database knows."""

from __future__ import annotations

from pathlib import Path

import click

from fleet.bootstrap import opened_store, report_writers
from fleet.errors import SettingsError
from fleet.model.report import Run
from fleet.report.text import clean, render_host

DB = click.option("--db", metavar="URL", help="Database; default $FLEET_DATABASE_URL, else a SQLite file.")


@click.command()
@DB
@click.option(
    "-n", "--number", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many."
)
def runs(db: str | None, number: int) -> None:
    """List the newest runs.

    \b
    Example:
      fleet runs -n 5
    """
    with opened_store(db) as store:
        found = store.runs(number)
    if not found:
        click.echo("no runs yet: fleet collect INVENTORY makes one")
    for run in found:
        click.echo(_line(run))


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
    with opened_store(db) as store:
        history = store.history(host, number)
    if not history:
        raise SettingsError(f"no run knows a host named {clean(host)}")
    click.echo(render_host(history))


@click.command()
@DB
@click.option("--run", "run_id", default="latest", show_default=True, help="A run's id, or its beginning.")
@click.option("--format", "formats", default="csv,html,json", show_default=True, help="Which files.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
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
    with opened_store(db) as store:
        found = store.load(None if run_id == "latest" else run_id)
    if found is None:
        raise SettingsError(f"the database holds no run {clean(run_id)}")
    for writer in writers:
        for path in writer.write(found, out):
            click.echo(f"wrote {path}")


def _line(run: Run) -> str:
    ended = "not ended" if run.exit_code is None else f"exit {run.exit_code}"
    began = f"{run.started_at:%Y-%m-%d %H:%M:%SZ}"
    return f"{run.id}  {began}  {run.selected} hosts  {ended}  {clean(run.inventory)}"
