"""From visits to worker processes, and from the frames that these send to what each visit hears."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from itertools import count

from fleet import errors
from fleet.errors import HostError, UnreachableError
from fleet.transport.winrm.frames import LENGTHS, Frame, Kind, opened_frame

START_S = 60.0
"""Loading what a worker needs takes a second; many, on a machine at its limits. No host has a
part in it, so it is the time of no phase; a visit whose deadline comes first waits no longer."""
BUSY_VISITS = 8
EARNED_VISITS = 64
"""To start a process takes the CPU time of some 20 visits: there is another one when the ones before it have
so much to do, and have been given so many visits each."""
LEAVE_S = 6.0
"""A worker that was told to end deletes the shells that are left; after so long it is killed."""
_COMMAND = ("-P", "-m", "fleet.transport.winrm.worker")
_DIED = "the process that made the visit ended ({})"


class WorkerBugError(Exception):
    """A bug in a worker: its traceback."""


class Channel:
    """One visit's way to its worker and back. What the worker says goes to ``listener``, or to :meth:`hear`
    while there is none."""

    def __init__(self, worker: WorkerProcess, number: int) -> None:
        self.listener: Callable[[Frame | Exception], None] | None = None
        self._worker = worker
        self._number = number
        self._heard: asyncio.Queue[Frame | Exception] = asyncio.Queue()
        self._is_known = False

    def say(self, kind: Kind, *words: str, body: bytes = b"") -> None:
        """Tell the worker; nothing when it has ended."""
        self._is_known = True
        self._worker.say(Frame(kind, self._number, words, body))

    async def hear(self) -> Frame:
        """What the worker says next. Raises HostError for the visit's trouble, WorkerBugError for a bug."""
        heard = await self._heard.get()
        if isinstance(heard, Exception):
            raise heard
        return heard

    def close(self) -> None:
        """End the visit wherever it is; the worker sees to its shell."""
        if self._is_known:
            self.say(Kind.CLOSE)
        else:
            self._worker.forget(self._number)

    def take(self, heard: Frame | Exception) -> None:
        """The worker said it, or was lost."""
        if isinstance(heard, Frame) and heard.kind is Kind.FAILED:
            heard = _trouble(heard.words)
        elif isinstance(heard, Frame) and heard.kind is Kind.BUG:
            heard = WorkerBugError(heard.words[0])
        (self.listener or self._heard.put_nowait)(heard)


def _trouble(words: tuple[str, ...]) -> HostError:
    kind, message, action = words
    trouble = getattr(errors, kind)(message, action=action)
    assert isinstance(trouble, HostError)
    return trouble


class WorkerProcess:
    """One worker process; use after :meth:`start`."""

    def __init__(self) -> None:
        self._channels: dict[int, Channel] = {}
        self._numbers = count(1)
        self._spawned = asyncio.Event()
        self._ready = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self.is_alive = True

    @property
    def is_ready(self) -> bool:
        """Whether it takes visits."""
        return self.is_alive and self._ready.is_set()

    @property
    def load(self) -> int:
        """How many visits it has."""
        return len(self._channels)

    async def start(self) -> None:
        """Have it load what it needs. Raises UnreachableError when it does not start."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *_COMMAND,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # An interrupt on the terminal is the run's to handle: its workers end with it.
                start_new_session=True,
            )
        except OSError as error:
            self.is_alive = False
            raise UnreachableError(f"cannot start a process for WinRM: {error.strerror}") from error
        finally:
            self._spawned.set()
        self._reader = asyncio.create_task(self._read(), name="winrm worker")
        try:
            async with asyncio.timeout(START_S):
                await self._ready.wait()
        except TimeoutError as error:
            self.is_alive = False
            self._kill()
            raise UnreachableError(
                f"the process that makes visits over WinRM was not ready within {START_S:g} s"
            ) from error
        if not self.is_alive:
            raise UnreachableError(_DIED.format("before it began"))

    def channel(self) -> Channel:
        """A way for one more visit."""
        number = next(self._numbers)
        made = self._channels[number] = Channel(self, number)
        return made

    def forget(self, number: int) -> None:
        """A visit that the process never heard of is given up."""
        self._channels.pop(number, None)

    def say(self, frame: Frame) -> None:
        """Send a frame; nothing when it has ended."""
        if self._process is not None and self._process.stdin is not None and self.is_alive:
            self._process.stdin.write(frame.packed())

    async def close(self) -> None:
        """End it: visits are cut and their shells deleted, within :data:`LEAVE_S` seconds. One that is not
        ready has none, and ends at once."""
        await self._spawned.wait()
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(LEAVE_S if self._ready.is_set() else 0):
                await process.wait()
        except TimeoutError:
            self._kill()
            await process.wait()
        if self._reader is not None:
            await self._reader

    def _kill(self) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _read(self) -> None:
        assert self._process is not None
        source = self._process.stdout
        assert source is not None
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                lengths = LENGTHS.unpack(await source.readexactly(LENGTHS.size))
                head, body = [await source.readexactly(length) for length in lengths]
                self._take(opened_frame(head, body))
        self.is_alive = False
        code = await self._process.wait()
        self._ready.set()
        for channel in self._channels.values():
            channel.take(UnreachableError(_DIED.format(f"code {code}"), action="Run again."))
        self._channels.clear()

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.READY:
            self._ready.set()
        elif frame.kind is Kind.CLOSED:
            self._channels.pop(frame.visit, None)
        elif (channel := self._channels.get(frame.visit)) is not None:
            channel.take(frame)


class WorkerPool:
    """A few workers, started when they are needed and replaced when they died."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._given = 0
        self._workers: list[WorkerProcess] = []
        self._starts: dict[WorkerProcess, asyncio.Task[None]] = {}

    async def channel(self) -> Channel:
        """A way to the worker that has least to do. Raises UnreachableError when none starts."""
        self._given += 1
        while not (ready := self._ready()):
            # Others wait for the same start: a visit that gives up does not stop it.
            await asyncio.shield(self._starts[self._workers[0]])
        return min(ready, key=lambda worker: worker.load).channel()

    def _ready(self) -> list[WorkerProcess]:
        """Those that take visits, after a start of one more where that is called for."""
        self._workers = [worker for worker in self._workers if worker.is_alive]
        if not self._workers or self._is_help_wanted():
            worker = WorkerProcess()
            self._workers.append(worker)
            self._starts[worker] = asyncio.create_task(worker.start(), name="start a winrm worker")
        return [worker for worker in self._workers if worker.is_ready]

    def _is_help_wanted(self) -> bool:
        have = len(self._workers)
        return (
            have < self._size
            and self._given > have * EARNED_VISITS
            and all(worker.load >= BUSY_VISITS for worker in self._workers)
        )

    async def close(self) -> None:
        """End them all, at once."""
        await asyncio.gather(*(worker.close() for worker in self._starts))
        await asyncio.gather(*self._starts.values(), return_exceptions=True)
