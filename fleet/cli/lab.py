"""``fleet lab``: simulated hosts that stay up for experiments."""

from __future__ import annotations

import asyncio
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from fleet.cli.options import Folder
from fleet.cli.table import table
from fleet.collect.deadlines import Limits
from fleet.errors import SettingsError
from fleet.lab.canned import copies as copied
from fleet.lab.describe import HostDescription, load_demo, load_descriptions
from fleet.lab.kept import LOG_FILE, end, holder, keep, kept_lines, lines, require_free
from fleet.lab.servers import Lab
from fleet.model.words import ExitCode
from fleet.report.files import make_folder
from fleet.report.groups import count_hosts

DEFAULT_FOLDER = Path("reports/out/lab")
LIMITS = Limits(connect_s=10.0, host_s=30.0)
"""What a visit to simulated hosts may take: some are silent; one whose azcmagent hangs ends before."""

_FILES_PER_HOST = 10
"""The one that it listens on; both ends of its connection and of the three pipes of its shell, and what tells
of the shell's end."""
_FILES_PER_CANNED_HOST = 2
"""The one that it listens on, and its connection: shells are few, and who visits is another process."""
_SPARE_FILES = 256

FOLDER = click.option(
    "--folder",
    type=Folder(),
    default=DEFAULT_FOLDER,
    show_default=True,
    help="Where the lab's inventory, known hosts and key are.",
)
HOSTS = click.option(
    "--hosts",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A folder of host descriptions (*.yaml) in place of the demo's own.",
)


@click.group()
def lab() -> None:
    """Keep simulated hosts running on this machine's loopback, to try things on.

    \b
    Example:
      fleet lab up && fleet collect reports/out/lab/inventory.yaml; fleet lab down
    """


@lab.command(short_help="Start the hosts and leave them running.")
@HOSTS
@FOLDER
@click.option(
    "--copies",
    type=click.IntRange(1, 20_000),
    metavar="N",
    help="So many hosts, each like one of the descriptions in turn; like hosts share one recorded answer.",
)
@click.option("--foreground", is_flag=True, help="Stay until Ctrl-C.")
def up(hosts: Path | None, folder: Path, copies: int | None, foreground: bool) -> int:
    """Start simulated hosts and leave them running in a process of their own.

    \b
    Example:
      fleet lab up --copies 2000
    """
    described = load_hosts(hosts)
    is_canned = copies is not None
    descriptions = described if copies is None else tuple(copied(described, copies))
    allow_files(len(descriptions), is_canned=is_canned)
    _make(folder)
    if foreground:
        asyncio.run(keep(descriptions, folder, is_canned=is_canned, on_up=_tell))
        return ExitCode.OK
    words = ["--folder", str(folder), *(["--hosts", str(hosts)] if hosts else [])]
    return _leave_running(folder, [*words, *(["--copies", str(copies)] if copies else [])])


@lab.command(short_help="End the hosts that are up.")
@FOLDER
def down(folder: Path) -> None:
    """End the hosts that are up.

    \b
    Example:
      fleet lab down
    """
    process = end(folder)
    click.echo(f"no lab is up in {folder}" if process is None else f"the lab in {folder} is down")


@lab.command("list", short_help="List the hosts and what is wrong with each.")
@HOSTS
@FOLDER
def list_(hosts: Path | None, folder: Path) -> None:
    """List the hosts that are up, else those that `fleet lab up` would start, and what is wrong with each.
    With --hosts, list those of that folder.

    \b
    Example:
      fleet lab list
    """
    process = holder(folder) if hosts is None else None
    shown = kept_lines(folder) if process else tuple(lines(load_hosts(hosts)))
    if shown is None:
        click.echo(f"the lab in {folder} is starting, process {process}", err=True)
        return
    rows = [(line.host, str(line.port or "-"), line.expected, line.summary) for line in shown]
    for row in table([("HOST", "PORT", "EXPECTED", "WHAT IS WRONG"), *rows]):
        click.echo(row)
    click.echo(
        f"up in {folder}, process {process}" if process else "not up; `fleet lab up` starts them", err=True
    )


def load_hosts(hosts: Path | None) -> tuple[HostDescription, ...]:
    """The demo's hosts, or those of a folder. Raises SettingsError when there is none, DescriptionError."""
    found = load_demo() if hosts is None else load_descriptions(hosts)
    if not found:
        raise SettingsError(f"--hosts {hosts}: no *.yaml with a host's description is in it")
    return found


def allow_files(hosts: int, *, is_canned: bool) -> None:
    """As many open files as the hosts may need. Raises SettingsError when that many are not allowed."""
    needed = hosts * (_FILES_PER_CANNED_HOST if is_canned else _FILES_PER_HOST) + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise SettingsError(
            f"{count_hosts(hosts)} need {needed} open files, and this process may have {hard} (ulimit -n)"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _make(folder: Path) -> None:
    require_free(folder)
    try:
        make_folder(folder)
    except OSError as error:
        raise SettingsError(f"--folder {folder}: cannot make it: {error.strerror}") from error


def _tell(running: Lab) -> None:
    db = f"sqlite:///{running.folder / 'fleet.db'}"
    limits = ("--connect-timeout", f"{LIMITS.connect_s:g}", "--host-timeout", f"{LIMITS.host_s:g}")
    number = len(running.descriptions)
    click.echo(
        f"{number} simulated {'host is' if number == 1 else 'hosts are'} up; visit with\n"
        f"  {shlex.join(('fleet', 'collect', str(running.inventory), '--db', db, *limits))}\n"
        "Ctrl-C ends them"
    )


def _words(verb: str, folder: Path) -> str:
    elsewhere = ("--folder", str(folder)) if folder != DEFAULT_FOLDER else ()
    return shlex.join(("fleet", "lab", verb, *elsewhere))


def _leave_running(folder: Path, words: Sequence[str]) -> int:
    """Start a process that outlives this one, and wait until its hosts are up or it has failed."""
    log = folder / LOG_FILE
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "fleet", "lab", "up", "--foreground", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            text=True,
        )
    assert process.stdout is not None
    with process.stdout as out:
        said = [out.readline() for _ in range(2)]
    if said[-1]:
        click.echo("".join(said), nl=False)
        click.echo(
            f"`{_words('list', folder)}` says what is wrong with each, `{_words('down', folder)}` ends them"
        )
        return ExitCode.OK
    code = process.wait()
    if code < 0:
        click.echo(f"fleet: {signal.Signals(-code).name} ended the lab before its hosts were up", err=True)
        return ExitCode.INTERRUPTED
    click.echo(log.read_text(), err=True, nl=False)
    return code
