"""PSRP messages in and out ([MS-PSRP] 2.2), of them as much as a host needs.

What psrpcore makes of objects is right and slow: here it writes once what every shell says in the same words.
"""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from psrpcore import ClientRunspacePool, ServerRunspacePool
from psrpcore.types import (
    ErrorCategory,
    ErrorCategoryInfo,
    ErrorRecord,
    NETException,
    PipelineState,
    PSInvocationState,
    PSObject,
    PSRPMessageType,
)

FRAGMENT_BYTES = 32 << 10
"""How long Windows lets a fragment become, its head included."""
_FRAGMENT = struct.Struct(">QQBI")
_START, _END = 1, 2
_MESSAGE = struct.Struct("<iI16s16s")
_TO_CLIENT = 1
_BOM = b"\xef\xbb\xbf"
"""Windows begins each message's text with it; psrpcore does not."""
_NOBODY = uuid.UUID(int=0)

_ESCAPED = re.compile(r"(?:_x[0-9A-Fa-f]{4}_)+")
_TO_ESCAPE = re.compile("_(?=[xX])|[\x00-\x1f\x7f-\x9f\ud800-\udfff\U00010000-\U0010ffff]")
_PLAIN_TAGS = frozenset({"Nil", "B", "By", "I16", "I32", "I64", "U16", "U32", "U64", "Sg", "Db", "D", "G"})


@dataclass(frozen=True, slots=True)
class Message:
    """One message, whole."""

    kind: int
    pool: uuid.UUID
    pipeline: uuid.UUID | None
    text: bytes


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a pipeline. ``arguments``: a named one is ``-Name`` and then its value."""

    text: str
    is_script: bool
    arguments: tuple[str, ...]


class Assembler:
    """Puts a client's fragments together."""

    def __init__(self) -> None:
        self._parts: dict[int, list[bytes]] = {}

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are whole with this data, which are whole fragments.

        Raises:
            ValueError: They are not, or one is missing.
        """
        position = 0
        while position < len(data):
            if len(data) < position + _FRAGMENT.size:
                raise ValueError("half a fragment")
            number, index, flags, length = _FRAGMENT.unpack_from(data, position)
            position += _FRAGMENT.size
            parts = self._parts.setdefault(number, [])
            if index != len(parts) or len(data) < position + length:
                raise ValueError("a fragment is missing, or half of one")
            parts.append(data[position : position + length])
            position += length
            if flags & _END:
                yield _message(b"".join(self._parts.pop(number)))


def _message(data: bytes) -> Message:
    if len(data) < _MESSAGE.size:
        raise ValueError("half a message")
    _, kind, pool, pipeline = _MESSAGE.unpack_from(data)
    target = uuid.UUID(bytes_le=pipeline)
    text = data[_MESSAGE.size :].removeprefix(_BOM)
    return Message(kind, uuid.UUID(bytes_le=pool), None if target == _NOBODY else target, text)


def fragments(number: int, message: Message) -> Iterator[bytes]:
    """The fragments of a message to a client; ``number`` counts the messages of a shell."""
    target = (message.pipeline or _NOBODY).bytes_le
    head = _MESSAGE.pack(_TO_CLIENT, message.kind, message.pool.bytes_le, target)
    data = b"".join((head, _BOM, message.text))
    room = FRAGMENT_BYTES - _FRAGMENT.size
    for index, start in enumerate(range(0, len(data), room)):
        piece = data[start : start + room]
        flags = (0 if index else _START) | (_END if start + room >= len(data) else 0)
        yield _FRAGMENT.pack(number, index, flags, len(piece)) + piece


def read_commands(text: bytes) -> tuple[Command, ...]:
    """The commands in the message that makes a pipeline ([MS-PSRP] 2.2.2.10).

    Raises:
        ValueError: It is no such message.
    """
    try:
        root = ET.fromstring(text)  # noqa: S314 (a lab's clients are its own)
    except ET.ParseError as exc:
        raise ValueError(str(exc)) from exc
    found = root.findall("./MS/Obj[@N='PowerShell']/MS/Obj[@N='Cmds']/LST/Obj/MS")
    return tuple(_command({child.get("N", ""): child for child in element}) for element in found)


def _command(said: dict[str, ET.Element]) -> Command:
    if "Cmd" not in said or "IsScript" not in said:
        raise ValueError("no command")
    arguments: list[str] = []
    for pair in said["Args"].findall("./LST/Obj/MS") if "Args" in said else ():
        parts = {child.get("N", ""): child for child in pair}
        if parts["N"].tag != "Nil":
            arguments.append(f"-{unescape(parts['N'].text or '').lstrip('-')}")
        arguments.append(_value(parts["V"]))
    return Command(unescape(said["Cmd"].text or ""), said["IsScript"].text == "true", tuple(arguments))


def _value(element: ET.Element) -> str:
    if element.tag == "S":
        return unescape(element.text or "")
    if element.tag in _PLAIN_TAGS:
        return element.text or ""
    raise ValueError(f"A simulated host takes no argument of the kind {element.tag}.")


def string_text(text: str) -> bytes:
    """A string object."""
    if not (text.isascii() and text.isprintable() and "_" not in text):
        text = _TO_ESCAPE.sub(_escape, text)
    return f"<S>{escape(text)}</S>".encode()


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"_x{units[at : at + 2].hex().upper()}_" for at in range(0, len(units), 2))


def unescape(text: str) -> str:
    """What a string of CLIXML stands for ([MS-PSRP] 2.2.5.3.2)."""
    if "_x005" not in text:
        # The ends of a script's lines, of which there are many; an escaped "_" could seem to begin one.
        text = text.replace("_x000A_", "\n").replace("_x000D_", "\r")
    return _ESCAPED.sub(_unescape, text) if "_x" in text else text


def _unescape(found: re.Match[str]) -> str:
    units = bytes.fromhex(found[0].replace("_x", "").replace("_", ""))
    return units.decode("utf-16-be", "surrogatepass")


@cache
def opening() -> tuple[tuple[int, bytes], ...]:
    """What a shell says of itself when it opens: kinds and texts."""
    client, server = ClientRunspacePool(), ServerRunspacePool()
    client.open()
    asked = client.data_to_send()
    assert asked
    server.receive_data(asked)
    while server.next_event():
        pass
    return tuple((message.kind, message.text) for message in _said(server))


@cache
def state_text(state: PSInvocationState) -> bytes:
    """A pipeline that is in this state, without an error."""
    return _text(PipelineState(PipelineState=int(state)), PSRPMessageType.PipelineState)


def failure_text(state: PSInvocationState, error: str) -> bytes:
    """A pipeline that an error has brought into this state."""
    message = PipelineState(PipelineState=int(state))
    message.ExceptionAsErrorRecord = _error(error)
    return _text(message, PSRPMessageType.PipelineState)


def error_text(error: str) -> bytes:
    """An error record."""
    return _text(_error(error), PSRPMessageType.ErrorRecord)


def _error(text: str) -> ErrorRecord:
    return ErrorRecord(
        Exception=NETException(Message=text, HResult=-2146233087),
        CategoryInfo=ErrorCategoryInfo(Category=ErrorCategory.NotSpecified, Reason="RuntimeException"),
        FullyQualifiedErrorId="RuntimeException",
    )


def _text(value: PSObject, kind: PSRPMessageType) -> bytes:
    server = ServerRunspacePool()
    server.prepare_message(value, kind)
    (message,) = _said(server)
    return message.text


def _said(server: ServerRunspacePool) -> list[Message]:
    assembler = Assembler()
    messages: list[Message] = []
    while payload := server.data_to_send():
        messages += assembler.feed(payload.data)
    return messages
