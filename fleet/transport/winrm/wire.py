"""From addresses to one TCP connection, where every wait ends at a deadline and at once when it is cut."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time

from fleet.errors import UnreachableError
from fleet.transport.wording import why

_PIECE = 1 << 18


class CutError(Exception):
    """The connection was cut from outside: nobody waits for the visit any more."""


class Wire:
    """A socket that one thread reads and writes and any other may cut."""

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self._ends_s = 0.0
        self._is_cut = False
        self._lock = threading.Lock()
        self._buffer = b""

    def allow(self, seconds: float) -> None:
        """Every wait from now on ends within so many seconds, taken together."""
        self._ends_s = time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds until the deadline. Raises TimeoutError when it has passed."""
        left = self._ends_s - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def hold(self, sock: socket.socket) -> None:
        """This is the socket from now on; the one before it was given up."""
        with self._lock:
            old, self.sock = self.sock, sock
            if old is not None:
                old.close()
            self._buffer = b""
            if self._is_cut:
                raise CutError

    def connect(self, addresses: tuple[tuple[int, tuple[object, ...]], ...], named: str) -> None:
        """To the first address that answers; each gets its share of the time. Raises UnreachableError."""
        trouble = f"{named} has no address"
        share_s = self.left_s() / max(1, len(addresses))
        for family, where in addresses:
            try:
                sock = socket.socket(family, socket.SOCK_STREAM)
                self.hold(sock)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(min(share_s, self.left_s()))
                sock.connect(where)
            except OSError as error:
                self.check()
                trouble = f"cannot connect to {where[0]} port {where[1]}: {why(error)}"
            else:
                return
        raise UnreachableError(trouble)

    def secure(self, context: ssl.SSLContext, name: str) -> ssl.SSLSocket:
        """TLS from now on, or with what the handshake raises."""
        assert self.sock is not None
        self.sock.settimeout(self.left_s())
        bare = self.sock
        secured = context.wrap_socket(bare, server_hostname=name, do_handshake_on_connect=False)
        # The bare one was detached by wrapping.
        with self._lock:
            self.sock = secured
            if self._is_cut:
                raise CutError
        secured.do_handshake()
        return secured

    def send(self, data: bytes) -> None:
        """All of it. Raises OSError, CutError."""
        assert self.sock is not None
        self.check()
        self.sock.settimeout(self.left_s())
        self.sock.sendall(data)

    def read_until(self, mark: bytes, limit: int) -> bytes | None:
        """Up to and with ``mark``; None when the peer ended before it, or said more than ``limit`` bytes."""
        while (at := self._buffer.find(mark)) < 0:
            if len(self._buffer) > limit or not self._more():
                return None
        end = at + len(mark)
        taken, self._buffer = self._buffer[:end], self._buffer[end:]
        return taken

    def read(self, count: int) -> bytes:
        """So many bytes, fewer when the peer ended before."""
        parts, have = [self._buffer], len(self._buffer)
        while have < count and (part := self._receive(min(_PIECE, count - have))):
            parts.append(part)
            have += len(part)
        data = b"".join(parts)
        self._buffer = data[count:]
        return data[:count]

    def unread(self) -> bytes:
        """What came and was not taken."""
        return self._buffer

    def is_stale(self) -> bool:
        """Whether the peer ended it, or said what nobody asked for, while nothing was under way."""
        assert self.sock is not None
        if self._buffer:
            return True
        try:
            self.sock.settimeout(0)
            return self.sock.recv(1) is not None
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True

    def check(self) -> None:
        """Raises CutError when it was cut."""
        if self._is_cut:
            raise CutError

    def cut(self) -> None:
        """From any thread: whoever waits on it gets an error at once, and so does whoever tries again."""
        with self._lock:
            self._is_cut = True
            if self.sock is not None:
                # Not SSLSocket.shutdown, which takes the TLS object away under the thread that uses it.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Without a farewell: the peer reads the end."""
        with self._lock:
            if self.sock is not None:
                self.sock.close()

    def _more(self) -> bool:
        part = self._receive(_PIECE)
        self._buffer += part
        return bool(part)

    def _receive(self, count: int) -> bytes:
        assert self.sock is not None
        self.check()
        self.sock.settimeout(self.left_s())
        return self.sock.recv(count)
