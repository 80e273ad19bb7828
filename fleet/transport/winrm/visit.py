"""From a target and a script to frames of output: one visit in a thread of a worker, which others may end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue

from fleet.errors import HostError
from fleet.transport.winrm.auth import Login
from fleet.transport.winrm.connection import HttpConnection, Shared
from fleet.transport.winrm.frames import Frame, Kind, Target
from fleet.transport.winrm.shell import Shell
from fleet.transport.winrm.trouble import on_the_wire
from fleet.transport.winrm.wire import CutError

CLEAN_UP_S = 2.5


class Visit:
    """Opens a session, runs its script, deletes its shell; ``post`` takes what it has to say.

    :meth:`run` belongs to the visit's own thread, :meth:`hear` to any other.
    """

    def __init__(self, number: int, target: Target, shared: Shared, post: Callable[[Frame], None]) -> None:
        self._number = number
        self._target = target
        self._shared = shared
        self._post = post
        self._heard: SimpleQueue[Frame] = SimpleQueue()
        self._lock = threading.Lock()
        self._is_talking = True
        self._login = Login(self._ask, self._tell)
        self._connection = HttpConnection(target, self._login, shared)
        self._shell: Shell | None = None

    def hear(self, frame: Frame) -> None:
        """Hand on what fleet says; a CLOSE cuts the connection when the visit talks to its host."""
        self._heard.put(frame)
        if frame.kind is Kind.CLOSE:
            with self._lock:
                if self._is_talking:
                    self._connection.wire.cut()

    def run(self) -> None:
        """The visit up to the end of its script. Raises HostError, or CutError when nobody waits for it."""
        with on_the_wire(self._target):
            self._connection.open()
            self._shell = Shell(self._connection, self._target)
            self._shell.open()
            self._tell(Kind.OPENED)
            order = self._wait()
            self._shell.run(order.body.decode("utf-8-sig"), order.words, self._put_out, self._put_error)
            self._rest()
            self._tell(Kind.ENDED)

    def clean_up(self) -> None:
        """Delete the shell and hang up, within a few seconds, whatever the host does."""
        self._rest()
        shell = self._shell
        if shell is not None and shell.may_exist:
            if self._connection.is_good and self._login.may_be_repeated:
                self._delete(shell, self._connection)
            # A host that took no login yet, or refused one, is given no further one for a shell's sake.
            if shell.may_exist and not self._connection.is_good and self._login.may_be_repeated:
                self._delete(shell, HttpConnection(self._target, self._login, self._shared))
        self._connection.wire.close()

    def _delete(self, shell: Shell, connection: HttpConnection) -> None:
        connection.patience_s = None
        connection.wire.allow(CLEAN_UP_S)
        # What the visit found out stands; a shell that is left ends by itself when it has been idle.
        with contextlib.suppress(HostError, CutError), on_the_wire(self._target):
            if not connection.is_good:
                connection.open()
            shell.delete(connection)
        connection.wire.close()

    def _ask(self) -> str:
        self._tell(Kind.ASK)
        return self._wait().words[0]

    def _wait(self) -> Frame:
        self._rest()
        frame = self._heard.get()
        if frame.kind is Kind.CLOSE:
            raise CutError
        with self._lock:
            self._is_talking = True
        return frame

    def _rest(self) -> None:
        """From now on a CLOSE does not cut the connection."""
        with self._lock:
            self._is_talking = False

    def _tell(self, kind: Kind, *words: str) -> None:
        self._post(Frame(kind, self._number, words))

    def _put_out(self, text: str) -> None:
        self._post(Frame(Kind.OUTPUT, self._number, (), text.encode("utf-8", "replace")))

    def _put_error(self, text: str) -> None:
        self._post(Frame(Kind.ERRORS, self._number, (), text.encode("utf-8", "replace")))
