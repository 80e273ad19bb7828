"""``fleet demo``: a simulated estate on this machine, visited for real."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import click

from fleet.bootstrap import CollectSettings
from fleet.cli.collect import collect_hosts
from fleet.collect.deadlines import Limits
from fleet.inventory.load import load_inventory
from fleet.lab.describe import load_demo
from fleet.lab.servers import Lab, start_lab
from fleet.model.words import ExitCode
from fleet.packs.load import load_pack

DEFAULT_OUT = Path("reports/out/demo")


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_OUT,
    show_default=True,
    help="Where the database and the reports go.",
)
def demo(out: Path) -> int:
    """Start simulated hosts on loopback, visit them as `fleet collect` does, and write the reports.

    \b
    Example:
      fleet demo --out /tmp/fleet-demo
    """
    descriptions = load_demo()
    with tempfile.TemporaryDirectory(prefix="fleet-demo-") as folder, _lab(Path(folder)) as lab:
        click.echo(f"{len(descriptions)} simulated hosts are up; visiting them", err=True)
        settings = CollectSettings(inventory=lab.inventory, limits=Limits(connect_s=4.0, host_s=60.0))
        code = collect_hosts(
            settings,
            load_inventory(lab.inventory),
            load_pack(),
            db=f"sqlite:///{(out / 'fleet.db').absolute()}",
            out=out,
            form="text",
        )
    click.echo(
        f"\nOpen {out / 'report.html'} in a browser, or: fleet show db01 --db sqlite:///{out / 'fleet.db'}"
    )
    # The estate is broken on purpose: its verdicts are not the demo's failure.
    return ExitCode.OK if code == ExitCode.UNHEALTHY else code


@contextlib.contextmanager
def _lab(folder: Path) -> Iterator[Lab]:
    """The lab in a loop of its own, so that it never waits for the program that visits it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="lab")
    thread.start()
    manager = start_lab(load_demo(), folder)
    try:
        lab = asyncio.run_coroutine_threadsafe(manager.__aenter__(), loop).result()
        try:
            yield lab
        finally:
            asyncio.run_coroutine_threadsafe(manager.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
