"""Visits the machine fleet runs on, without any network: a session is a process group of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from fleet.errors import RemoteError
from fleet.model.host import Host
from fleet.model.words import Phase
from fleet.ports import Guard, Phases, Secrets, Session


class LocalTransport:
    """Opens sessions on this machine."""

    async def open(self, host: Host, secrets: Secrets, guard: Guard, phases: Phases) -> Session:
        """Nothing to connect, nobody to log in to."""
        phases.enter(Phase.CONNECT)
        return _LocalSession()


class _LocalSession:
    host_key = ""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, command: str) -> _LocalProcess:
        try:
            self._process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                # The script's watcher takes its whole session down: it must not be ours.
                start_new_session=True,
            )
        except OSError as error:
            raise RemoteError(f"cannot start /bin/sh: {error.strerror}") from error
        return _LocalProcess(self._process)

    async def close(self) -> None:
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(3):
                await process.wait()
        except TimeoutError:
            # What runs as root is not ours to kill: the script's own watcher ends it, nobody waits for it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)


class _LocalProcess:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr

    async def write(self, data: bytes) -> None:
        try:
            self._stdin.write(data)
            await self._stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise RemoteError("the shell ended before it took the script") from error

    def write_eof(self) -> None:
        self._stdin.close()

    async def read(self, limit: int) -> bytes:
        return await self._stdout.read(limit)

    async def read_stderr(self, limit: int) -> bytes:
        return await self._stderr.read(limit)
