"""Turns one exec request on a simulated host into a real shell and its streams."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import asyncssh

from fleet.lab.describe import Fault
from fleet.lab.faults import LOST, TOLD, pass_on
from fleet.lab.rewrite import Rewriter, rewrite

_CHUNK_BYTES = 65536


async def run_command(
    client: asyncssh.SSHServerProcess[bytes],
    command: str,
    tree: Path,
    env: Mapping[str, str],
    fault: Fault = Fault.NONE,
) -> None:
    """Run a command line by ``sh -c`` in a session of its own, its paths those of ``tree``.

    Streams and exit code pass through, stdout as the ``fault`` lets it. When it returns, because the command
    or the channel ended, no process of that session is left.
    """
    child = await _start(command, tree, env)
    work = asyncio.ensure_future(_converse(client, child, Rewriter(tree), fault))
    gone = asyncio.ensure_future(client.wait_closed())
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancel((work, gone))
        await _reap(child)
    if not work.cancelled():
        work.result()


async def record_answer(
    command: str, script: bytes, tree: Path, env: Mapping[str, str], *, stays_open: bool
) -> bytes:
    """What such a command prints on stdout, given the script on stdin, which then ends or stays open."""
    child = await _start(command, tree, env)
    assert child.stdin
    assert child.stdout
    assert child.stderr
    try:
        child.stdin.write(rewrite(script, tree))
        if not stays_open:
            child.stdin.write_eof()
        answer, _ = await asyncio.gather(child.stdout.read(), child.stderr.read())
    finally:
        await _reap(child)
    return answer


async def _start(command: str, tree: Path, env: Mapping[str, str]) -> Process:
    line = rewrite(command.encode(), tree)
    return await asyncio.create_subprocess_exec(
        "sh", "-c", line, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True, cwd=tree, env=env
    )


async def _converse(
    client: asyncssh.SSHServerProcess[bytes], child: Process, rewriter: Rewriter, fault: Fault
) -> None:
    assert child.stdout
    assert child.stderr
    feeding = asyncio.ensure_future(_feed(client.stdin, child, rewriter))
    try:
        await asyncio.gather(
            pass_on(child.stdout, client.stdout, fault), pass_on(child.stderr, client.stderr)
        )
        code = await child.wait()
    finally:
        await _cancel((feeding,))
    # A shell reports a death by signal as 128 and the signal's number.
    with suppress(*LOST):
        client.exit(code if code >= 0 else 128 - code)


async def _feed(source: asyncssh.SSHReader[bytes], child: Process, rewriter: Rewriter) -> None:
    assert child.stdin
    with suppress(*LOST, *TOLD):
        while data := await source.read(_CHUNK_BYTES):
            child.stdin.write(rewriter.feed(data))
            await child.stdin.drain()
        child.stdin.write(rewriter.end())
    child.stdin.close()


async def _cancel(tasks: Iterable[asyncio.Future[None]]) -> None:
    tasks = tuple(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _reap(child: Process) -> None:
    assert child.stdin
    assert child.stdout
    assert child.stderr
    # Some may be born while we count.
    while pids := _session_pids(child.pid):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.001)
    child.stdin.close()
    # An unread pipe would keep the transport, and with it a descriptor, open.
    await asyncio.gather(_drain(child.stdout), _drain(child.stderr))
    await child.wait()


async def _drain(source: asyncio.StreamReader) -> None:
    while await source.read(_CHUNK_BYTES):
        pass


def _session_pids(session: int) -> tuple[int, ...]:
    return tuple(pid for pid in _all_pids() if _session_of(pid) == session and not _is_dead(pid))


def _all_pids() -> Iterable[int]:
    if _has_proc():
        return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    listed = subprocess.run(("ps", "-A", "-o", "pid="), stdout=subprocess.PIPE, stdin=DEVNULL, check=True)
    return [int(word) for word in listed.stdout.split()]


def _has_proc() -> bool:
    return Path("/proc/self/stat").exists()


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _is_dead(pid: int) -> bool:
    """Whether it only waits to be collected by its parent: getsid(2) still knows it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return _has_proc() or _is_dead_by_ps(pid)
    return stat.rpartition(b") ")[2][:1] in (b"Z", b"X")


def _is_dead_by_ps(pid: int) -> bool:
    shown = subprocess.run(
        ("ps", "-o", "stat=", "-p", str(pid)), stdout=subprocess.PIPE, stdin=DEVNULL, check=False
    )
    return shown.stdout.strip()[:1] in (b"", b"Z")
