"""Keeps a lab up in a process of its own, one a folder, until it is told to end."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet.errors import SettingsError
from fleet.lab.describe import HostDescription
from fleet.lab.handout import write_private
from fleet.lab.servers import Lab, start_lab

HOLDER_FILE = "lab.pid"
HOSTS_FILE = "hosts.json"
LOG_FILE = "lab.log"
"""What the process that keeps a lab up in the background says on stderr."""
_MODE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One host of a lab, for a list. ``port`` None: not up; ``expected``: verdict and its cause or reason."""

    host: str
    port: int | None
    expected: str
    summary: str


def lines(hosts: Sequence[HostDescription], lab: Lab | None = None) -> Iterator[Line]:
    """The hosts in their order, with their ports where the lab is up."""
    for host in hosts:
        why = host.expect.rule or host.expect.reason
        expected = f"{host.expect.verdict}, {why}" if why else str(host.expect.verdict)
        port = lab.port(host.name) if lab else None
        yield Line(host=host.name, port=port, expected=expected, summary=host.summary)


def holder(folder: Path) -> int | None:
    """The process that keeps a lab up in that folder; None when there is none."""
    try:
        descriptor = os.open(folder / HOLDER_FILE, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.read(descriptor, 20) or 0) or None
    finally:
        os.close(descriptor)
    return None


async def keep(
    hosts: Sequence[HostDescription], folder: Path, *, is_canned: bool, on_up: Callable[[Lab], None]
) -> None:
    """Start the lab, say so, and keep it up until SIGINT, SIGTERM or SIGHUP. ``folder`` is there.

    Raises:
        SettingsError: another process keeps one up in this folder, or it has files that no lab made.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    _hold(folder)
    async with start_lab(hosts, folder, is_canned=is_canned) as lab:
        shown = [{name: getattr(line, name) for name in Line.__slots__} for line in lines(hosts, lab)]
        write_private(folder / HOSTS_FILE, json.dumps(shown).encode())
        on_up(lab)
        await ended.wait()


def require_free(folder: Path) -> None:
    """Raises SettingsError where a lab would write over files that none has made."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if names - {LOG_FILE} and HOLDER_FILE not in names:
        raise SettingsError(f"{folder} has files that no lab made; give a new or an empty folder")


def _hold(folder: Path) -> None:
    require_free(folder)
    descriptor = os.open(folder / HOLDER_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SettingsError(f"a lab is up in {folder} already (process {holder(folder)})") from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    # Left open: the lock ends with the process, so who waits for it finds nothing of us.


def kept_lines(folder: Path) -> Iterator[Line]:
    """The hosts of the lab that is up in that folder."""
    for entry in json.loads((folder / HOSTS_FILE).read_bytes()):
        yield Line(**entry)


def end(folder: Path) -> int | None:
    """End the lab that is up in that folder and wait until nothing is left of it; its process, None when
    there was none."""
    process = holder(folder)
    if process is None:
        return None
    os.kill(process, signal.SIGTERM)
    with (folder / HOLDER_FILE).open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
    return process
