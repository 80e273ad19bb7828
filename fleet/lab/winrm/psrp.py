"""PowerShell's shell: PSRP messages in, a request for each pipeline, PSRP messages out."""

from __future__ import annotations

import asyncio
import struct
import uuid
from collections.abc import Callable, Iterator
from xml.etree import ElementTree as ET

from psrpcore import (
    Command,
    CreatePipelineEvent,
    PowerShell,
    PSRPPayload,
    ServerPipeline,
    ServerRunspacePool,
    StreamType,
)
from psrpcore.types import (
    ErrorCategory,
    ErrorCategoryInfo,
    ErrorRecord,
    NETException,
    PipelineState,
    PSInvocationState,
    PSRPMessageType,
    PSString,
)

from fleet.lab.winrm.outbox import Outbox
from fleet.lab.winrm.shells import Shell, decode, streams_of
from fleet.lab.winrm.soap import SHELL, bad_message
from fleet.lab.winrm.words import Reply, Request, Respond

_FRAGMENT_BYTES = 32 << 10
"""How long Windows lets a fragment become, its head included."""
_HEAD = struct.Struct(">QQBI")
_START, _END = 1, 2
_NO_LANGUAGE = (
    "The syntax is not supported by this runspace. This can occur if the runspace is in no-language mode."
)
_CTRL_C = "powershell/signal/ctrl_c"
_CREATION = "{http://schemas.microsoft.com/powershell}creationXml"


class PsrpShell(Shell):
    """A runspace pool."""

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
        self._pool = ServerRunspacePool()
        self._take(decode(body.find(_CREATION)))

    def command(self, body: ET.Element) -> str:
        command_id = body.get("CommandId") or str(uuid.uuid4()).upper()
        self._outboxes[command_id] = Outbox(command_id)
        # The message that makes the pipeline looks for it.
        ServerPipeline(self._pool, uuid.UUID(command_id))
        self._take(decode(body.find(f"{{{SHELL}}}Arguments")))
        return command_id

    def send(self, body: ET.Element) -> None:
        for _, data in streams_of(body):
            self._take(data)

    def signal(self, command_id: str, code: str) -> None:
        outbox = self.outbox(command_id)
        if code == _CTRL_C:
            self._stop(command_id)
            outbox.end()
        else:
            self._forget(command_id)
            self._pool.pipeline_table.pop(uuid.UUID(command_id), None)

    def say(self, command_id: str, text: str) -> None:
        """Write one string object of a command."""
        self._write(self._pipeline(command_id), text)
        self._flush()

    def _pipeline(self, command_id: str) -> ServerPipeline:
        return self._pool.pipeline_table[uuid.UUID(command_id)]

    def _take(self, data: bytes) -> None:
        if not data:
            raise bad_message("There is no PSRP fragment.")
        self._pool.receive_data(PSRPPayload(data, StreamType.default, None))
        while event := self._pool.next_event():
            if isinstance(event, CreatePipelineEvent):
                command_id = self._named(event.pipeline_id)
                self._run(command_id, self._answer(command_id, event.pipeline))
        self._flush()

    def _named(self, pipeline_id: uuid.UUID) -> str:
        return next(name for name in self._outboxes if name and uuid.UUID(name) == pipeline_id)

    async def _answer(self, command_id: str, asked: PowerShell) -> None:
        pipeline = self._pipeline(command_id)
        reply = await self._reply(asked)
        if reply.delay_s:
            await asyncio.sleep(reply.delay_s)
        errors = reply.errors[:-1] if reply.is_failed else reply.errors
        for text in reply.output:
            self._write(pipeline, text)
        for text in errors:
            pipeline.prepare_message(_error(text), PSRPMessageType.ErrorRecord)
        if reply.is_failed:
            last = reply.errors[-1] if reply.errors else "The pipeline failed."
            _end(pipeline, PSInvocationState.Failed, _error(last))
        else:
            _end(pipeline, PSInvocationState.Completed)
        self._flush()
        self._outboxes[command_id].end()

    async def _reply(self, asked: PowerShell) -> Reply:
        if len(asked.commands) != 1:
            return Reply(
                errors=("A simulated host runs one script or one command a pipeline.",), is_failed=True
            )
        if asked.commands[0].is_script and not self._runs_scripts:
            return Reply(errors=(_NO_LANGUAGE,), is_failed=True)
        return await self._respond(_request(asked.commands[0], self.user))

    def _stop(self, command_id: str) -> None:
        if command_id in self._tasks:
            self._tasks[command_id].cancel()
            _end(
                self._pipeline(command_id),
                PSInvocationState.Stopped,
                _error("The pipeline has been stopped."),
            )
            self._flush()

    def _write(self, pipeline: ServerPipeline, text: str) -> None:
        pipeline.prepare_message(PSString(text), PSRPMessageType.PipelineOutput)

    def _flush(self) -> None:
        # Without a limit each message is one fragment; with one it would be copied anew for each of its own.
        while payload := self._pool.data_to_send():
            name = self._named(payload.pipeline_id) if payload.pipeline_id else ""
            for fragment in _fragments(payload.data):
                self._outboxes[name].put("stdout", fragment)


def _request(command: Command, user: str) -> Request:
    pairs = ((f"-{name.lstrip('-')}", value) if name else (value,) for name, value in command.parameters)
    return Request(
        script=command.command_text if command.is_script else "",
        command="" if command.is_script else command.command_text,
        arguments=tuple(str(word) for pair in pairs for word in pair),
        user=user,
    )


def _error(text: str) -> ErrorRecord:
    record = ErrorRecord(
        Exception=NETException(Message=text, HResult=-2146233087),
        CategoryInfo=ErrorCategoryInfo(Category=ErrorCategory.NotSpecified, Reason="RuntimeException"),
        FullyQualifiedErrorId="Lab",
    )
    # Windows sends the text of a record with it; psrpcore leaves it out as a server.
    record.PSObject.to_string = text
    return record


def _end(pipeline: ServerPipeline, state: PSInvocationState, error: ErrorRecord | None = None) -> None:
    message = PipelineState(PipelineState=int(state))
    if error:
        message.ExceptionAsErrorRecord = error
    pipeline.prepare_message(message)
    pipeline.state = state


def _fragments(data: bytes) -> Iterator[bytes]:
    """The whole messages in ``data``, in fragments as short as Windows makes them."""
    room, position, view = _FRAGMENT_BYTES - _HEAD.size, 0, memoryview(data)
    while position < len(data):
        message, _, _, length = _HEAD.unpack_from(data, position)
        position += _HEAD.size
        end = position + length
        for number, start in enumerate(range(position, end, room)):
            piece = view[start : min(start + room, end)]
            flags = (0 if number else _START) | (_END if start + room >= end else 0)
            yield _HEAD.pack(message, number, flags, len(piece)) + piece
        position = end
