"""PowerShell's shell: PSRP messages in, a request for each pipeline, PSRP messages out."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from xml.etree import ElementTree as ET

from psrpcore.types import PSInvocationState, PSRPMessageType

from fleet.lab.winrm.messages import (
    Assembler,
    Message,
    error_text,
    failure_text,
    fragments,
    opening,
    read_commands,
    state_text,
    string_text,
)
from fleet.lab.winrm.outbox import Outbox
from fleet.lab.winrm.shells import Shell, decode, streams_of
from fleet.lab.winrm.soap import SHELL, bad_message
from fleet.lab.winrm.words import Reply, Request, Respond

_NO_LANGUAGE = (
    "The syntax is not supported by this runspace. This can occur if the runspace is in no-language mode."
)
_ONE_COMMAND = "A simulated host runs one script or one command a pipeline."
_CTRL_C = "powershell/signal/ctrl_c"
_CREATION = "{http://schemas.microsoft.com/powershell}creationXml"


class PsrpShell(Shell):
    """A runspace pool. ``runs_scripts``: False for a JEA endpoint, which runs commands only."""

    input_streams, output_streams = "stdin pr", "stdout"

    def __init__(
        self,
        body: ET.Element,
        user: str,
        respond: Respond,
        on_bug: Callable[[BaseException], None],
        *,
        runs_scripts: bool,
    ) -> None:
        super().__init__(body.get("ShellId") or str(uuid.uuid4()).upper(), user, respond, on_bug)
        self._runs_scripts = runs_scripts
        self._assembler = Assembler()
        self._pool = uuid.UUID(int=0)
        self._said = 0
        self._take(decode(body.find(_CREATION)))

    def command(self, body: ET.Element) -> str:
        command_id = body.get("CommandId") or str(uuid.uuid4()).upper()
        self._outboxes[command_id] = Outbox(command_id)
        self._take(decode(body.find(f"{{{SHELL}}}Arguments")))
        return command_id

    def send(self, body: ET.Element) -> None:
        for _, data in streams_of(body):
            self._take(data)

    def signal(self, command_id: str, code: str) -> None:
        outbox = self.outbox(command_id)
        if code != _CTRL_C:
            self._forget(command_id)
        elif command_id in self._tasks:
            self._tasks[command_id].cancel()
            stopped = failure_text(PSInvocationState.Stopped, "The pipeline has been stopped.")
            self._say(command_id, PSRPMessageType.PipelineState, stopped)
            outbox.end()

    def write(self, command_id: str, text: str) -> None:
        """One string object more of a command's output."""
        self._say(command_id, PSRPMessageType.PipelineOutput, string_text(text))

    def _take(self, data: bytes) -> None:
        try:
            for message in self._assembler.feed(data):
                self._heed(message)
        except ValueError as exc:
            raise bad_message(str(exc)) from exc

    def _heed(self, message: Message) -> None:
        match message.kind:
            case PSRPMessageType.SessionCapability:
                self._pool = message.pool
            case PSRPMessageType.InitRunspacePool:
                for kind, text in opening():
                    self._say("", kind, text)
            case PSRPMessageType.CreatePipeline:
                command_id = self._named(message.pipeline)
                self._run(command_id, self._answer(command_id, message.text))
            case _:
                raise ValueError(f"A simulated host knows no message {message.kind:#x}.")

    def _named(self, pipeline: uuid.UUID | None) -> str:
        for command_id in self._outboxes:
            if command_id and uuid.UUID(command_id) == pipeline:
                return command_id
        raise ValueError(f"There is no pipeline {pipeline}.")

    async def _answer(self, command_id: str, text: bytes) -> None:
        reply = await self._reply(text)
        if reply.delay_s:
            await asyncio.sleep(reply.delay_s)
        for line in reply.output:
            self.write(command_id, line)
        for line in reply.errors[:-1] if reply.is_failed else reply.errors:
            self._say(command_id, PSRPMessageType.ErrorRecord, error_text(line))
        if reply.is_failed:
            last = reply.errors[-1] if reply.errors else "The pipeline failed."
            state = failure_text(PSInvocationState.Failed, last)
        else:
            state = state_text(PSInvocationState.Completed)
        self._say(command_id, PSRPMessageType.PipelineState, state)
        self._outboxes[command_id].end()

    async def _reply(self, text: bytes) -> Reply:
        commands = read_commands(text)
        if len(commands) != 1:
            return Reply(errors=(_ONE_COMMAND,), is_failed=True)
        (command,) = commands
        if command.is_script and not self._runs_scripts:
            return Reply(errors=(_NO_LANGUAGE,), is_failed=True)
        script, name = (command.text, "") if command.is_script else ("", command.text)
        return await self._respond(Request(script, name, command.arguments, self.user))

    def _say(self, command_id: str, kind: int, text: bytes) -> None:
        self._said += 1
        target = uuid.UUID(command_id) if command_id else None
        for fragment in fragments(self._said, Message(kind, self._pool, target, text)):
            self._outboxes[command_id].put("stdout", fragment)
