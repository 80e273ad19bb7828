"""From frames of the parent to visits, one a thread, and back: a process that ends with its parent."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from fleet.errors import HostError
from fleet.transport.winrm.connection import Shared
from fleet.transport.winrm.frames import Frame, Kind, Target, TicketRequest, take_frame
from fleet.transport.winrm.tickets import fetch
from fleet.transport.winrm.visit import CLEAN_UP_S, Visit
from fleet.transport.winrm.wire import CutError

_STACK_BYTES = 1 << 20
_LEAVE_S = 2 * CLEAN_UP_S + 0.5


class Worker:
    """Makes the visits that arrive as frames on ``source`` and answers on ``sink``."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink
        self._sending = threading.Lock()
        self._shared = Shared()
        self._visits: dict[int, Visit] = {}
        self._threads: dict[int, threading.Thread] = {}
        self._caches: list[Path] = []

    def serve(self) -> None:
        """Until the parent ends; then every visit is cut and its shell deleted."""
        self._post(Frame(Kind.READY, 0))
        while (frame := take_frame(self._source.read)) is not None:
            self._take(frame)
        for number, visit in tuple(self._visits.items()):
            visit.hear(Frame(Kind.CLOSE, number))
        ends_s = time.monotonic() + _LEAVE_S
        for thread in tuple(self._threads.values()):
            thread.join(max(0.0, ends_s - time.monotonic()))
        self._remove_tickets()

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.OPEN:
            target = Target.unpacked(frame.words[0])
            visit = self._visits[frame.visit] = Visit(frame.visit, target, self._shared, self._post)
            self._start(frame.visit, lambda: self._make(frame.visit, visit))
        elif frame.kind is Kind.TICKETS:
            self._start(frame.visit, lambda: self._fetch(frame))
        elif (heard := self._visits.get(frame.visit)) is not None:
            heard.hear(frame)

    def _start(self, number: int, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=f"visit {number}", daemon=True)
        self._threads[number] = thread
        thread.start()

    def _make(self, number: int, visit: Visit) -> None:
        self._supervise(number, visit.run)
        self._supervise(number, visit.clean_up)
        del self._visits[number]
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

        def run() -> None:
            fetch(request, password)
            self._post(Frame(Kind.GOT, frame.visit))

        self._supervise(frame.visit, run)
        self._over(frame.visit)

    def _over(self, number: int) -> None:
        self._threads.pop(number, None)
        self._post(Frame(Kind.CLOSED, number))

    def _supervise(self, number: int, work: Callable[[], None]) -> None:
        try:
            work()
        except CutError:
            return
        except HostError as error:
            self._post(Frame(Kind.FAILED, number, (type(error).__name__, str(error), error.action)))
        except Exception:  # noqa: BLE001 - the one place of this process where a bug becomes that visit's
            self._post(Frame(Kind.BUG, number, (traceback.format_exc(),)))

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
    threading.stack_size(_STACK_BYTES)
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    Worker(sys.stdin.buffer, sink).serve()
    # Threads in a look-up or a library's own wait would hold up the end.
    os._exit(0)


if __name__ == "__main__":
    main()
