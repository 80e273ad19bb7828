"""From frames of the parent to visits, one a thread, and back: a process that ends with its parent."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from fleet.errors import HostError
from fleet.transport.winrm.connection import Shared
from fleet.transport.winrm.frames import Frame, Kind, Target, TicketRequest, take_frame
from fleet.transport.winrm.tickets import fetch
from fleet.transport.winrm.visit import CLEAN_UP_S, Visit
from fleet.transport.winrm.wire import CutError

_STACK_BYTES = 1 << 20
_MAX_THREADS = 1 << 12
"""How many visits there are at once is the parent's to say; none waits here for another."""
_LEAVE_S = 2 * CLEAN_UP_S + 0.5


class Worker:
    """Makes the visits that arrive as frames on ``source`` and answers on ``sink``."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink
        self._sending = threading.Lock()
        self._shared = Shared()
        self._threads = ThreadPoolExecutor(_MAX_THREADS)
        self._visits: dict[int, Visit] = {}
        self._under_way: set[int] = set()
        self._one_less = threading.Condition()
        self._caches: list[Path] = []

    def serve(self) -> None:
        """Until the parent ends; then every visit is cut and its shell deleted."""
        self._post(Frame(Kind.READY, 0))
        while (frame := take_frame(self._source.read)) is not None:
            self._take(frame)
        for number, visit in tuple(self._visits.items()):
            visit.hear(Frame(Kind.CLOSE, number))
        with self._one_less:
            self._one_less.wait_for(lambda: not self._under_way, _LEAVE_S)
        self._remove_tickets()

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.OPEN:
            target = Target.unpacked(frame.words[0])
            visit = self._visits[frame.visit] = Visit(frame.visit, target, self._shared, self._post)
            self._begin(frame.visit, visit.run, visit.clean_up)
        elif frame.kind is Kind.TICKETS:
            self._begin(frame.visit, partial(self._fetch, frame))
        elif (heard := self._visits.get(frame.visit)) is not None:
            heard.hear(frame)

    def _begin(self, number: int, *steps: Callable[[], None]) -> None:
        self._under_way.add(number)
        self._go_on(number, steps)

    def _go_on(self, number: int, steps: tuple[Callable[[], None], ...]) -> None:
        step = self._threads.submit(steps[0])
        step.add_done_callback(partial(self._stepped, number, steps[1:]))

    def _stepped(self, number: int, rest: tuple[Callable[[], None], ...], step: Future[None]) -> None:
        """Tell how a step of a visit ended, a bug too; the next one is taken however that was."""
        error = step.exception()
        if isinstance(error, HostError):
            self._post(Frame(Kind.FAILED, number, (type(error).__name__, str(error), error.action)))
        elif error is not None and not isinstance(error, CutError):
            self._post(Frame(Kind.BUG, number, ("".join(traceback.format_exception(error)),)))
        if rest:
            self._go_on(number, rest)
        else:
            self._over(number)

    def _remove_tickets(self) -> None:
        # The parent does so too, unless it was killed.
        for cache in self._caches:
            with contextlib.suppress(OSError):
                cache.unlink(missing_ok=True)
                cache.parent.rmdir()

    def _fetch(self, frame: Frame) -> None:
        request, password = TicketRequest.unpacked(frame.words[0]), frame.words[1]
        self._caches.append(Path(request.into.removeprefix("FILE:")))
        fetch(request, password)
        self._post(Frame(Kind.GOT, frame.visit))

    def _over(self, number: int) -> None:
        self._visits.pop(number, None)
        self._post(Frame(Kind.CLOSED, number))
        with self._one_less:
            self._under_way.discard(number)
            self._one_less.notify_all()

    def _post(self, frame: Frame) -> None:
        data = frame.packed()
        with self._sending:
            try:
                self._sink.write(data)
                self._sink.flush()
            except BrokenPipeError:
                # The parent is gone; its end of the other pipe says so too.
                return


def main() -> None:
    """Serve the pipe that is stdin and stdout; what a library prints goes to stderr instead."""
    logging.disable()
    sys.excepthook = _die
    threading.stack_size(_STACK_BYTES)
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    Worker(sys.stdin.buffer, sink).serve()
    # Threads in a look-up or a library's own wait would hold up the end.
    os._exit(0)


def _die(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A bug of the worker itself: the parent hears of its end at once, not when the last visit is over."""
    sys.__excepthook__(kind, error, trace)
    os._exit(70)


if __name__ == "__main__":
    main()
