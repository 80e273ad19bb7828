"""Turns the signals that a run is sent into its end: the first one stops it, a second one leaves at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

from fleet.app.collect_run import RunState
from fleet.app.exit_code import Stopped
from fleet.cli.program import tell
from fleet.model.words import ExitCode

SHOW_CURSOR = "\x1b[?25h"

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """SIGINT, SIGTERM and SIGHUP from ``listen`` to the end of the context, also while no loop runs.

    What a signal asks for is done first and told afterwards, as far as somebody listens.
    """

    def __init__(self, state: RunState) -> None:
        self.state = state
        self._is_told = False
        # Before a loop puts its own there.
        self._before = {number: signal.getsignal(number) for number in _NUMBERS}
        # As it is now: a live view puts a stream of its own in its place.
        self._stderr = sys.stderr

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def stopped(self) -> Stopped | None:
        """Why the run ended early: an interrupt comes before its own deadline, whichever was first."""
        return Stopped.INTERRUPTED if self._is_told else self.state.stopped

    def listen(self, report_command: str) -> None:
        """From now on, for the run of this loop; ``report_command`` draws the report of what is stored."""
        handler = self._handler(asyncio.get_running_loop(), report_command)
        for number, before in self._before.items():
            # What the caller has us ignore, as nohup(1) does, stays ignored.
            if before is not signal.SIG_IGN:
                signal.signal(number, handler)

    def _handler(
        self, loop: asyncio.AbstractEventLoop, report_command: str
    ) -> Callable[[int, FrameType | None], None]:
        def told(_number: int, _frame: FrameType | None) -> None:
            if self._is_told:
                self._leave(report_command)
            self._is_told = True
            # It may run in the middle of anything; once the loop is closed there is no host to stop.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self.state.stop, Stopped.INTERRUPTED)
            self._say_stopping(loop)

        return told

    def _say_stopping(self, loop: asyncio.AbstractEventLoop) -> None:
        text = "fleet: stopping; once more leaves at once"
        if sys.stderr is self._stderr:
            self._say(text)
        else:
            # A live view has the terminal: it would draw over what passes it by.
            loop.call_soon_threadsafe(tell, text)

    def _leave(self, report_command: str) -> None:
        try:
            # A live view hides the cursor, and leaves it behind its last line.
            view = f"{SHOW_CURSOR}\n" if self._is_terminal() else ""
            self._say(f"{view}fleet: left at once; for what was stored: {report_command}")
        finally:
            os._exit(ExitCode.BUG if self.state.bugs else ExitCode.INTERRUPTED)

    def _is_terminal(self) -> bool:
        if self._stderr is None:
            return False
        return self._stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")

    def _say(self, text: str) -> None:
        """On stderr, past its buffers, which a handler may not enter; never waits for who does not read."""
        if self._stderr is None:
            return
        with contextlib.suppress(OSError, ValueError):
            descriptor = self._stderr.fileno()
            if select.select([], [descriptor], [], 0)[1]:
                os.write(descriptor, os.fsencode(f"{text}\n"))
