"""A listening socket into a port that nobody answers from, whatever protocol is spoken to it."""

from __future__ import annotations

import select
import socket


class NoAnswer:
    """A port whose connections are never completed: its queue is full, so the kernel drops what comes."""

    def __init__(self, listener: socket.socket) -> None:
        self._fillers: list[socket.socket] = []
        # Not 0, which some systems take for their own default.
        listener.listen(1)
        while self._connects(listener.getsockname()):
            pass

    def _connects(self, address: tuple[str, int]) -> bool:
        filler = socket.socket()
        self._fillers.append(filler)
        filler.setblocking(False)
        filler.connect_ex(address)
        # Not select(2), which knows no descriptor above 1023.
        poll = select.poll()
        poll.register(filler, select.POLLOUT)
        # On loopback a connection is made before connect(2) returns, or not at all.
        return bool(poll.poll(5))

    def close(self) -> None:
        """Let go of the queue."""
        for filler in self._fillers:
            filler.close()
