"""``fleet why``: what the rules say of one host, and what they could not say."""

from __future__ import annotations

from pathlib import Path

import click

from fleet.app.ruling import Rulings
from fleet.bootstrap import reading_store
from fleet.cli.options import DB, RULES, announce
from fleet.errors import SettingsError
from fleet.packs.load import load_pack
from fleet.report.text import clean, verdict_words
from fleet.report.why import render_why


@click.command()
@click.argument("host")
@DB
@click.option("--run", "run_id", help="A run's id, or its beginning; default the newest that has the host.")
@RULES
def why(host: str, db: str | None, run_id: str | None, own: tuple[Path, ...]) -> None:
    """Judge what is stored of HOST by today's rules: which fired, which count for nothing, which nobody could
    tell.

    No host is contacted.

    \b
    Example:
      fleet why db01 --run 20260329
    """
    pack = load_pack(own=own)
    announce(db)
    with reading_store(db) as store:
        found = store.visit(host, None if run_id in (None, "latest") else run_id)
        fleet = store.fleet(found[0].id) if found else ()
    if found is None:
        which = f"no run {clean(run_id)}" if run_id else "no run"
        raise SettingsError(f"{which} knows a host named {clean(host)}")
    run, result, body = found
    ruling = Rulings(pack).of_stored(result, body)
    if ruling is None:
        click.echo(f"{clean(result.host.name)}  {verdict_words(result.verdict)}")
        click.echo(clean(f"  run {run.id}: {result.verdict.message or 'nothing is known'}"))
        click.echo("  Nothing of this host is stored, so no rule can say anything of it.")
        return
    findings, unevaluated = ruling.classification.findings, ruling.classification.unevaluated
    click.echo(render_why(run, result, ruling.verdict, findings, unevaluated, pack.digest, fleet), nl=False)
