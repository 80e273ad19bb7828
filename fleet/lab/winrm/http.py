"""Turns the bytes of one connection into HTTP/1.1 requests, answered one after the other."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

_HEAD_BYTES, _BODY_BYTES = 64 << 10, 16 << 20
_REASONS = {
    200: "",
    307: "Temporary Redirect",
    400: "Bad Request",
    401: "",
    404: "Not Found",
    413: "Request Entity Too Large",
    500: "",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request, whole. ``headers``: names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """One answer; its length is added when it is packed."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    ends_connection: bool = False

    def pack(self) -> bytes:
        """The bytes on the wire."""
        lines = [f"HTTP/1.1 {self.status} {_REASONS[self.status]}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.ends_connection:
            lines.append("Connection: close")
        lines.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        return "\r\n".join(lines).encode() + self.body


class _BadRequestError(ValueError):
    pass


Serve = Callable[["Connection", HttpRequest], Awaitable[HttpAnswer | None]]
"""Answers a request; None: all that is to be said was said, or the connection has been ended."""


class Connection(asyncio.Protocol):
    """One client's connection. What serves a request is cancelled when the client goes."""

    def __init__(
        self,
        serve: Serve,
        on_open: Callable[[Connection], None],
        on_close: Callable[[Connection], None],
        on_bug: Callable[[BaseException], None],
    ) -> None:
        self._serve, self._on_open, self._on_close, self._on_bug = serve, on_open, on_close, on_bug
        self._buffer = bytearray()
        self._head: tuple[str, str, dict[str, str], int] | None = None
        self._task: asyncio.Task[None] | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._on_open(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task:
            self._task.cancel()
        self._can_write.set()
        self._on_close(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    async def write(self, data: bytes) -> None:
        """Send, and wait while the client takes nothing more."""
        self.transport.write(data)
        await self._can_write.wait()

    def reset(self) -> None:
        """End the connection as a host does that has lost all memory of it (RST)."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    async def wait_ended(self) -> None:
        """Wait until what serves this connection has ended, after the connection has."""
        if self._task:
            await asyncio.wait((self._task,))

    def _next(self) -> None:
        if self._task or self.transport.is_closing():
            return
        try:
            request = self._take()
        except _BadRequestError:
            self.transport.write(HttpAnswer(status=400, ends_connection=True).pack())
            self.transport.close()
            return
        if request:
            self._task = asyncio.get_running_loop().create_task(self._answer(request))
            self._task.add_done_callback(self._answered)

    def _take(self) -> HttpRequest | None:
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _HEAD_BYTES:
                    raise _BadRequestError
                return None
            self._head = _parse_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
        method, target, headers, length = self._head
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._head = None
        return HttpRequest(method=method, target=target, headers=headers, body=body)

    async def _answer(self, request: HttpRequest) -> None:
        answer = await self._serve(self, request)
        if answer:
            await self.write(answer.pack())
            if answer.ends_connection or request.headers.get("connection", "").lower() == "close":
                self.transport.close()

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (bug := task.exception()):
            self._on_bug(bug)
            self.transport.write(HttpAnswer(status=500, ends_connection=True).pack())
            self.transport.close()
        self._next()


def _parse_head(head: bytes) -> tuple[str, str, dict[str, str], int]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise _BadRequestError
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > _BODY_BYTES or "transfer-encoding" in headers:
        raise _BadRequestError
    return words[0], words[1], headers, int(length)
