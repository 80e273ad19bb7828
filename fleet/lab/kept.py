"""Keeps a lab up in a process of its own, one a folder, until it is told to end."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fleet.errors import SettingsError
from fleet.lab.describe import HostDescription
from fleet.lab.private import write_private
from fleet.lab.servers import Lab, start_lab

HOLDER_FILE = "lab.pid"
HOSTS_FILE = "hosts.json"
LOG_FILE = "lab.log"
"""What the process that keeps a lab up in the background says on stderr."""
_MODE = 0o600
_TRIES, _AGAIN_S = 100, 0.05


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
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _named(os.read(descriptor, 200).decode("ascii", "replace"))
    finally:
        os.close(descriptor)
    return None


def _named(text: str) -> int | None:
    # Who has just taken the lock may not have replaced the words of one that was killed, and the number of
    # that one may be another program's by now.
    number, _, began = text.partition(" ")
    if not (number.isascii() and number.isdigit() and began):
        return None
    return int(number) if began == _began(int(number)) else None


def _began(process: int) -> str:
    """When it was started, in words that are the same for everybody who asks; empty: there is no such one."""
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{process}/stat").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        # proc(5): field 22, in ticks since the boot. The name before it, in brackets, may hold blanks.
        return stat.rpartition(b") ")[2].split()[19].decode()
    shown = subprocess.run(
        ("ps", "-o", "lstart=", "-p", str(process)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=os.environ | {"LC_ALL": "C", "TZ": "UTC0"},
        text=True,
        check=False,
    )
    return shown.stdout.strip()


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
        _write_lines(folder, lines(hosts, lab))
        on_up(lab)
        await ended.wait()


def _write_lines(folder: Path, shown: Iterator[Line]) -> None:
    part = folder / f"{HOSTS_FILE}.part"
    write_private(part, json.dumps([asdict(line) for line in shown]).encode())
    # Who reads the list at this moment finds all of it or none.
    part.replace(folder / HOSTS_FILE)


def require_free(folder: Path) -> None:
    """Raises SettingsError where a lab is up, or would write over files that none has made."""
    if process := holder(folder):
        raise _taken(folder, process)
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if names - {LOG_FILE} and HOLDER_FILE not in names:
        raise SettingsError(f"{folder} has files that no lab made; give a new or an empty folder")


def _taken(folder: Path, process: int | None) -> SettingsError:
    return SettingsError(f"a lab is up in {folder} already (process {process or 'unknown'})")


def _hold(folder: Path) -> None:
    require_free(folder)
    descriptor = os.open(folder / HOLDER_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _MODE)
    _lock(descriptor, folder)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()} {_began(os.getpid())}".encode())
    # That of one that was killed.
    (folder / HOSTS_FILE).unlink(missing_ok=True)
    # Left open: the lock ends with the process, so who waits for it finds nothing of us.


def _lock(descriptor: int, folder: Path) -> None:
    for _ in range(_TRIES):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Without a holder somebody only looks, or is about to say who holds it.
            if holder(folder):
                break
            time.sleep(_AGAIN_S)
    os.close(descriptor)
    raise _taken(folder, holder(folder))


def kept_lines(folder: Path) -> tuple[Line, ...] | None:
    """The hosts of the lab that is up in that folder; None while it starts."""
    try:
        entries = json.loads((folder / HOSTS_FILE).read_bytes())
    except FileNotFoundError:
        return None
    return tuple(Line(**entry) for entry in entries)


def end(folder: Path) -> int | None:
    """End the lab that is up in that folder and wait until nothing is left of it; its process, None when
    there was none."""
    process = holder(folder)
    if process is None:
        return None
    try:
        os.kill(process, signal.SIGTERM)
    except ProcessLookupError:
        return None
    with (folder / HOLDER_FILE).open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
    return process
