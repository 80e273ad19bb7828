"""``fleet demo``: a simulated estate on this machine, visited for real."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from fleet.bootstrap import CollectSettings, reading_store
from fleet.cli.lab import HOSTS, LIMITS, allow_files, load_hosts
from fleet.cli.options import Folder
from fleet.cli.run import collect_hosts
from fleet.errors import SettingsError
from fleet.inventory.load import load_inventory
from fleet.lab.describe import HostDescription
from fleet.lab.servers import running_lab
from fleet.model.words import ExitCode, Word
from fleet.packs.load import load_pack
from fleet.report.files import make_folder

DEFAULT_OUT = Path("reports/out/demo")


@click.command()
@click.option(
    "--out",
    type=Folder(),
    default=DEFAULT_OUT,
    show_default=True,
    help="Where the database and the reports go, and in lab/ the inventory of the visited hosts.",
)
@HOSTS
def demo(out: Path, hosts: Path | None) -> int:
    """Start simulated hosts on loopback, visit them as `fleet collect` does, and write the reports.

    \b
    Example:
      fleet demo --out /tmp/fleet-demo
    """
    descriptions = load_hosts(hosts)
    allow_files(len(descriptions), is_canned=False)
    db = f"sqlite:///{(out / 'fleet.db').absolute()}"
    with running_lab(descriptions, _lab_folder(out)) as lab:
        click.echo(f"{len(descriptions)} simulated hosts are up; visiting them", err=True)
        settings = CollectSettings(inventory=lab.inventory, limits=LIMITS)
        code = collect_hosts(
            settings, load_inventory(lab.inventory), load_pack(), db=db, out=out, form="text"
        )
    if code not in (ExitCode.OK, ExitCode.UNHEALTHY, ExitCode.NOT_OBSERVED):
        return code
    for line in _surprises(descriptions, db):
        click.echo(line)
    host = min(descriptions, key=lambda host: host.expect.verdict is not Word.FAILING).name
    click.echo(f"\nOpen {out / 'report.html'} in a browser, or look at one host:\n  {_show(host, db)}")
    # The estate is broken on purpose: its verdicts are not the demo's failure.
    return ExitCode.OK


def _surprises(descriptions: Sequence[HostDescription], db: str) -> Iterator[str]:
    """A line for each host of which something else was found than its description expects."""
    with reading_store(db) as store:
        report = store.load(None)
    found = {result.host.name: result.verdict for result in report.results} if report else {}
    for host in descriptions:
        told, expect = found[host.name], host.expect
        cause = told.cause.rule if told.cause else None
        if (told.word, told.reason, cause) != (expect.verdict, expect.reason, expect.rule):
            was = ", ".join(filter(None, (told.word, told.reason, cause)))
            wanted = ", ".join(filter(None, (expect.verdict, expect.reason, expect.rule)))
            yield f"{host.name} is {was}, and its description expects {wanted}"


def _lab_folder(out: Path) -> Path:
    """The folder of what the demo's operator has. Raises SettingsError."""
    folder = out / "lab"
    try:
        make_folder(folder)
    except OSError as error:
        raise SettingsError(f"--out {out}: cannot make {folder}: {error.strerror}") from error
    return folder


def _show(host: str, db: str) -> str:
    """A command that shows the host, for the shell the demo was started from."""
    return f"{_program()} {shlex.join(('show', host, '--db', db))}"


def _program() -> str:
    """How to start this program again: by its name where that finds it, else by its path."""
    started = Path(sys.argv[0])
    if started.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m fleet"
    found = shutil.which(started.name)
    return shlex.quote(
        started.name if found and started.exists() and started.samefile(found) else sys.argv[0]
    )
