"""What a shell or a command has said and a client has not fetched yet."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from xml.sax.saxutils import quoteattr

from fleet.lab.winrm.soap import SHELL

_STREAM_OVERHEAD_BYTES, _ENVELOPE_OVERHEAD_BYTES = 160, 1400


class BrokenHostError(Exception):
    """What should have answered had a bug, which is told to who closes the server."""


class Outbox:
    """Pieces of output in their order. ``command_id``: None for what the shell itself says."""

    def __init__(self, command_id: str | None = None) -> None:
        self._pieces: deque[tuple[str, bytes]] = deque()
        self._has_news = asyncio.Event()
        self._command = f" CommandId={quoteattr(command_id)}" if command_id else ""
        self._exit_code: int | None = None
        self._is_done = False
        self._error: Exception | None = None
        self._last: tuple[str, str] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether all was fetched so far."""
        return not self._pieces

    def put(self, stream: str, piece: bytes) -> None:
        """One more piece, which is never cut."""
        self._pieces.append((stream, piece))
        self._has_news.set()

    def end(self, exit_code: int | None = None) -> None:
        """Nothing follows."""
        self._is_done, self._exit_code = True, exit_code
        self._has_news.set()

    def fail(self, error: Exception) -> None:
        """Raise this to who fetches, from now on."""
        self._error = error
        self._has_news.set()

    async def fetch(self, message_id: str, max_bytes: int, timeout_s: float) -> str | None:
        """The body of the answer to a Receive, as large as an envelope of that size takes; None: nothing came
        in time. The same message asked again gets the same answer.

        Raises what ``fail`` was told.
        """
        if self._last and self._last[0] == message_id:
            return self._last[1]
        try:
            async with asyncio.timeout(timeout_s):
                await self._has_news.wait()
        except TimeoutError:
            return None
        if self._error:
            raise self._error
        # Nothing is awaited from here on: a client that goes meanwhile has lost nothing.
        self._last = message_id, self._body(max_bytes)
        return self._last[1]

    def _body(self, max_bytes: int) -> str:
        streams: list[str] = []
        room = max_bytes - _ENVELOPE_OVERHEAD_BYTES
        while self._pieces:
            name, piece = self._pieces[0]
            room -= len(piece) * 4 // 3 + _STREAM_OVERHEAD_BYTES
            if room < 0 and streams:
                break
            self._pieces.popleft()
            text = base64.b64encode(piece).decode()
            streams.append(f'<rsp:Stream Name="{name}"{self._command}>{text}</rsp:Stream>')
        if not self._pieces and not self._is_done:
            self._has_news.clear()
        return f"<rsp:ReceiveResponse>{''.join(streams)}{self._state()}</rsp:ReceiveResponse>"

    def _state(self) -> str:
        if not self._command:
            return ""
        if self._pieces or not self._is_done:
            return f'<rsp:CommandState{self._command} State="{SHELL}/CommandState/Running"/>'
        code = "" if self._exit_code is None else f"<rsp:ExitCode>{self._exit_code}</rsp:ExitCode>"
        return f'<rsp:CommandState{self._command} State="{SHELL}/CommandState/Done">{code}</rsp:CommandState>'
