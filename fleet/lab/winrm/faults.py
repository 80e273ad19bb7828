"""How an answer goes wrong on the wire; the words are those of :class:`WinrmFault`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from fleet.lab.winrm.http import Connection
from fleet.lab.winrm.words import TRICKLE_BYTES, TRICKLE_EVERY_S, WinrmFault

GARBAGE_XML = b"<s:Envelope><s:Body> that is no"
_GARBAGE = b"220 mail.example ESMTP ready\r\n250-mail.example\r\n"
_ENDLESS_HEAD = (
    b"HTTP/1.1 200 \r\nContent-Type: application/soap+xml;charset=UTF-8\r\n"
    b"Content-Length: 1099511627776\r\n\r\n"
)
_ENDLESS = b"all work and no play\n" * 3072


async def hang(connection: Connection, answer: bytes) -> None:
    """Say nothing until the client goes."""
    await asyncio.Event().wait()


async def reset(connection: Connection, answer: bytes) -> None:
    """End with an RST."""
    connection.reset()


async def finish(connection: Connection, answer: bytes) -> None:
    """End with a FIN."""
    connection.transport.close()


async def truncate(connection: Connection, answer: bytes) -> None:
    """Half of it, and then the end."""
    await connection.write(answer[: len(answer) // 2])
    connection.transport.close()


async def trickle(connection: Connection, answer: bytes) -> None:
    """Slower than anybody waits."""
    for start in range(0, len(answer), TRICKLE_BYTES):
        await connection.write(answer[start : start + TRICKLE_BYTES])
        await asyncio.sleep(TRICKLE_EVERY_S)


async def write_endlessly(connection: Connection, answer: bytes) -> None:
    """A body for as long as anybody reads."""
    await connection.write(_ENDLESS_HEAD)
    while True:
        await connection.write(_ENDLESS)
        await asyncio.sleep(0)


async def write_garbage(connection: Connection, answer: bytes) -> None:
    """What another service says."""
    await connection.write(_GARBAGE)
    connection.transport.close()


Spoil = Callable[[Connection, bytes], Awaitable[None]]
"""Sends something else than the answer, or the answer in another way."""

BEFORE_LOGIN: Mapping[WinrmFault, Spoil] = {
    WinrmFault.HANG_AT_ACCEPT: hang,
    WinrmFault.HANG_AT_LOGIN: hang,
    WinrmFault.GARBAGE_HTTP: write_garbage,
}
AT_CREATE: Mapping[WinrmFault, Spoil] = {WinrmFault.HANG_AT_CREATE: hang}
AT_RECEIVE: Mapping[WinrmFault, Spoil] = {
    WinrmFault.HANG_AT_RECEIVE: hang,
    WinrmFault.RESET: reset,
    WinrmFault.FIN: finish,
    WinrmFault.TRUNCATED: truncate,
    WinrmFault.TRICKLE: trickle,
    WinrmFault.ENDLESS_BODY: write_endlessly,
}
