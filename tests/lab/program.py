"""The program in processes of its own, forked from one that has loaded what it needs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
# Loading these takes longer than anything that the tests look at.
_FORKS.set_forkserver_preload(
    ["alembic.command", "fleet.cli.run", "fleet.report.html_file", "fleet.storage", "fleet.transport.ssh"]
)


BOUND_S = 120
"""No call takes as long; one that hangs is killed, and its test fails."""


class Call:
    """A call of ``fleet`` with a folder for what it says."""

    def __init__(self, folder: Path, *words: str, grace_s: float = 0.2, busy_ms: int = 10_000) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        arguments = (self._out, self._err, words, grace_s, busy_ms)
        self._process: BaseProcess = _FORKS.Process(target=_call, args=arguments)
        self._process.start()

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process.pid is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        os.kill(self.pid, number)

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Until something outside of it shows that it is where the test wants it."""
        end = time.monotonic() + BOUND_S
        while not holds():
            # It may have ended because of what the test waits for.
            assert self._process.is_alive() or holds(), self._err.read_text()
            self._require(time.monotonic() < end)
            threading.Event().wait(0.02)

    def wait_for(self, words: str) -> None:
        """Until it said that on stderr."""
        self.wait_until(lambda: self._err.exists() and words in self._err.read_text())

    def ended(self) -> tuple[int | None, str, str]:
        """Its exit code (a signal's number, negated, when it was killed), stdout and stderr."""
        self._process.join(BOUND_S)
        self._require(not self._process.is_alive())
        err = self._err.read_text()
        assert "Traceback" not in err, err
        return self._process.exitcode, self._out.read_text(), err

    def _require(self, holds: bool) -> None:
        if not holds:
            self._process.kill()
            self._process.join()
            raise AssertionError(f"it hangs: {self._err.read_text()}")


def _call(out: Path, err: Path, words: tuple[str, ...], grace_s: float, busy_ms: int) -> None:
    from fleet.app import collect_run
    from fleet.cli import main
    from fleet.storage import database

    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    collect_run.GRACE_S = grace_s
    database.BUSY_TIMEOUT_MS = busy_ms
    sys.argv = ["fleet", *words]
    main()
