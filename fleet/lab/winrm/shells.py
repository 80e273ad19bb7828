"""One shell of a host: what is common to PowerShell's (PSRP) and to the command line's (WinRS)."""

from __future__ import annotations

import asyncio
import base64
import binascii
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from xml.etree import ElementTree as ET

from fleet.lab.winrm.outbox import BrokenHostError, Outbox
from fleet.lab.winrm.soap import SHELL, aborted, bad_message, shell_not_found
from fleet.lab.winrm.words import Respond


class Shell(ABC):
    """Commands of one user, and what they said. ``shell_id`` is as the client wrote it."""

    input_streams, output_streams = "stdin", "stdout stderr"

    def __init__(
        self, shell_id: str, user: str, respond: Respond, on_bug: Callable[[BaseException], None]
    ) -> None:
        self.shell_id, self.user = shell_id, user
        self._respond, self._on_bug = respond, on_bug
        self._outboxes: dict[str, Outbox] = {"": Outbox()}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @abstractmethod
    def command(self, body: ET.Element) -> str:
        """Take a CommandLine; the id of the command."""

    @abstractmethod
    def send(self, body: ET.Element) -> None:
        """Take input, of a command or of the shell."""

    @abstractmethod
    def signal(self, command_id: str, code: str) -> None:
        """Take a signal for a command."""

    def outbox(self, command_id: str) -> Outbox:
        """What a command says; empty id: what the shell says.

        Raises:
            WsmanFaultError: No such command is there.
        """
        if command_id not in self._outboxes:
            raise shell_not_found(command_id)
        return self._outboxes[command_id]

    async def close(self) -> None:
        """End what runs, and wait for it; who still polls is told."""
        for outbox in self._outboxes.values():
            outbox.fail(aborted())
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _run(self, command_id: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[command_id] = task
        task.add_done_callback(lambda _: self._ended(command_id, task))

    def _ended(self, command_id: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(command_id, None)
        if not task.cancelled() and (bug := task.exception()):
            self._on_bug(bug)
            if outbox := self._outboxes.get(command_id):
                outbox.fail(BrokenHostError())

    def _forget(self, command_id: str) -> None:
        if outbox := self._outboxes.pop(command_id, None):
            outbox.fail(aborted())
        if command_id in self._tasks:
            self._tasks[command_id].cancel()


def streams_of(body: ET.Element) -> list[tuple[str, bytes]]:
    """The input in a Send, with the command each piece is for.

    Raises:
        WsmanFaultError: It is no base64.
    """
    return [(stream.get("CommandId", ""), decode(stream)) for stream in body.findall(f"{{{SHELL}}}Stream")]


def decode(element: ET.Element | None) -> bytes:
    """The base64 in an element.

    Raises:
        WsmanFaultError: There is none.
    """
    try:
        return base64.b64decode((element.text or "") if element is not None else "", validate=True)
    except binascii.Error as exc:
        raise bad_message(str(exc)) from exc
