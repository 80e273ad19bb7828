"""What a host does that is broken or hostile as an SSH server; the words are those of :class:`Fault`."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import asyncssh

from fleet.collect.plan import script
from fleet.lab.command import Command
from fleet.lab.describe import Fault

CUT_AFTER_BYTES = 110
"""How much of an answer a host sends before its connection ends, or before it says no more: its header, and
too little of the rest to read a word."""
SLOW_BYTES, SLOW_EVERY_S = 1, 0.5
"""What a slow host sends at a time, and how often."""
SLOW_AFTER_BYTES = 700
"""What it sends at once before: enough to see something of it. A visit's smallest answer, about a thousand
bytes, still takes longer than fleet waits for a host."""
BOMB_BYTES = 1 << 30
"""What a zip bomb unfolds to, from about a megabyte."""

LOST = (asyncssh.Error, OSError)
"""What writing to a client that has gone raises."""
TOLD = (asyncssh.SignalReceived, asyncssh.BreakReceived, asyncssh.TerminalSizeChanged)
"""What reading from a client raises that sends something else than bytes."""

_CHUNK_BYTES = 65536
_ENDLESS = b"all work and no play\n" * 1024
_GARBAGE_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 20
_NOT_SSH = b"HTTP/1.1 400 Bad Request\r\nServer: proxy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

Client = asyncssh.SSHServerProcess[bytes]
"""The one that asked for a command."""


class RawServer:
    """Accepts connections and is no SSH server: it says nothing at all, or what an HTTP proxy says."""

    def __init__(self, fault: Fault, on_connection: Callable[[], None]) -> None:
        self._words = _NOT_SSH if fault is Fault.NOT_SSH else b""
        self._on_connection = on_connection
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self, listener: socket.socket) -> None:
        """Accept on that socket."""
        self._server = await asyncio.start_server(self._serve, sock=listener)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._on_connection()
        self._writers.add(writer)
        try:
            if self._words:
                writer.write(self._words)
                writer.write_eof()
            while await reader.read(4096):
                pass
        except ConnectionError:
            return
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def close(self) -> None:
        """End every connection and stop accepting."""
        assert self._server is not None
        self._server.close()
        while self._writers:
            for writer in tuple(self._writers):
                writer.transport.abort()
            await asyncio.sleep(0)
        await self._server.wait_closed()


async def pass_on(
    source: asyncio.StreamReader, sink: asyncssh.SSHWriter[bytes], fault: Fault = Fault.NONE
) -> None:
    """Pass a command's output on to its end, or as far and as fast as the fault lets it."""
    room = CUT_AFTER_BYTES if fault in (Fault.CUT_OUTPUT, Fault.SILENT_MID_OUTPUT) else None
    with suppress(*LOST):
        if fault is Fault.SLOW_OUTPUT:
            await _trickle(source, sink)
        while data := await source.read(_CHUNK_BYTES):
            sink.write(data[:room])
            await sink.drain()
            if room is not None:
                room -= len(data)
                if room <= 0:
                    await _stop(sink, fault)
                    return


async def _trickle(source: asyncio.StreamReader, sink: asyncssh.SSHWriter[bytes]) -> None:
    quick = SLOW_AFTER_BYTES
    while data := await source.read(quick or SLOW_BYTES):
        sink.write(data)
        await sink.drain()
        if not quick:
            await asyncio.sleep(SLOW_EVERY_S)
        quick = max(0, quick - len(data))


async def _stop(sink: asyncssh.SSHWriter[bytes], fault: Fault) -> None:
    if fault is Fault.SILENT_MID_OUTPUT:
        await sink.channel.wait_closed()
    else:
        sink.get_extra_info("connection").close()


async def say_nothing(client: Client) -> None:
    """Take the command and never answer it."""
    await client.wait_closed()


async def close_early(client: Client) -> None:
    """End the connection where the answer should begin."""
    client.get_extra_info("connection").abort()


async def write_garbage(client: Client) -> None:
    """Answer with bytes that mean nothing, and say that all went well."""
    await _while_open(client, _write(client, hashlib.shake_256(b"garbage").digest(_GARBAGE_BYTES)))
    client.exit(0)


async def write_endlessly(client: Client) -> None:
    """Write for as long as anyone listens."""

    async def write() -> None:
        while True:
            await _write(client, _ENDLESS)
            await asyncio.sleep(0)

    await _while_open(client, write())


async def write_bomb(client: Client) -> None:
    """Begin an honest answer, whose compressed rest unfolds to a gigabyte."""
    command = Command.parse(client.command or "")
    ready = f"{command.ready}\n" if command and command.ready else ""
    header = f"\n{command.nonce} FLEET1 gzip {int(time.time())}\n" if command else ""
    # Behind a full flush (RFC 1951) nothing refers back, so one compressed block can be sent again and again.
    engine = zlib.compressobj(9, zlib.DEFLATED, 31)
    first, again = (engine.compress(bytes(_BLOCK_BYTES)) + engine.flush(zlib.Z_FULL_FLUSH) for _ in range(2))

    async def write() -> None:
        await _write(client, (ready + header).encode())
        # Who ends before it has the script breaks off its being sent.
        with suppress(asyncio.IncompleteReadError):
            await client.stdin.readexactly(len(script()))
        await _write(client, first + again * (BOMB_BYTES // _BLOCK_BYTES - 1))
        client.exit(0)

    await _while_open(client, write())


OUTPUTS: Mapping[Fault, Callable[[Client], Awaitable[None]]] = {
    Fault.SILENT_AFTER_AUTH: say_nothing,
    Fault.CLOSES_EARLY: close_early,
    Fault.GARBAGE_OUTPUT: write_garbage,
    Fault.ENDLESS_OUTPUT: write_endlessly,
    Fault.ZIP_BOMB: write_bomb,
}
"""What stands in for a command's output; the faults that are not here let the command run."""


async def _write(client: Client, data: bytes) -> None:
    client.stdout.write(data)
    await client.stdout.drain()


async def _while_open(client: Client, work: Awaitable[None]) -> None:
    writing = asyncio.ensure_future(work)
    closed = asyncio.ensure_future(client.wait_closed())
    await asyncio.wait((writing, closed), return_when=asyncio.FIRST_COMPLETED)
    for task in (writing, closed):
        task.cancel()
    await asyncio.gather(writing, closed, return_exceptions=True)
