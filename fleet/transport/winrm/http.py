"""HTTP/1.1 as WinRM needs it: POSTs on one connection, nothing followed, nothing tried again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleet.errors import UnreachableError
from fleet.transport.winrm.wire import Wire
from fleet.transport.wording import shown

# RFC 8446 section 5.1: an alert, and the version that every one has.
_TLS_ALERT = b"\x15\x03"

MAX_HEAD_BYTES = 1 << 16
MAX_BODY_BYTES = 4 << 20
"""Eight times the largest envelope asked for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. ``headers`` by lower-case name, repeated ones joined as RFC 9110 section 5.3 says."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_last(self) -> bool:
        """Whether the peer closes the connection after it."""
        return "close" in self.headers.get("connection", "").lower()


def request(host: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A POST; ``host`` as the header Host wants it."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join((*lines, "", "")).encode("ascii") + body


def take_answer(wire: Wire) -> Answer:
    """Read one. Raises UnreachableError for what is no HTTP, cut off, or larger than any answer may be."""
    status, headers = take_head(wire)
    while status // 100 == 1:
        status, headers = take_head(wire)
    return Answer(status, headers, _body(wire, headers))


def take_head(wire: Wire) -> tuple[int, dict[str, str]]:
    """The status and the headers. Raises UnreachableError."""
    head = wire.read_until(b"\r\n\r\n", MAX_HEAD_BYTES)
    if head is None:
        unread = wire.unread()
        if unread.startswith(_TLS_ALERT):
            raise UnreachableError("the port speaks TLS and was asked in plain HTTP")
        if unread:
            raise UnreachableError(f"the peer does not speak HTTP: {shown(unread[:80].decode('latin-1'))}")
        raise UnreachableError("the host ended the connection instead of an answer")
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    words = first.split(" ", 2)
    if not words[0].startswith("HTTP/1.") or len(words) < 2 or not words[1].isdecimal():
        raise UnreachableError(f"the peer does not speak HTTP: {shown(first[:80])}")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        key = name.strip().lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return int(words[1]), headers


def _body(wire: Wire, headers: Mapping[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _chunks(wire)
    said = headers.get("content-length", "")
    if not said.isdecimal():
        # RFC 9112 section 6.3: without a length it ends with the connection.
        body = wire.read(MAX_BODY_BYTES + 1)
        return _bounded(body, len(body))
    length = int(said[:12])
    _bounded(b"", length)
    return _whole(wire, length)


def _chunks(wire: Wire) -> bytes:
    parts: list[bytes] = []
    total = 0
    while True:
        line = wire.read_until(b"\r\n", 256)
        try:
            size = int((line or b"").split(b";")[0], 16)
        except ValueError:
            raise UnreachableError("the peer does not speak HTTP: a chunk without a length") from None
        total += size
        _bounded(b"", total)
        part = _whole(wire, size + 2)[:-2]
        if not part:
            return b"".join(parts)
        parts.append(part)


def _whole(wire: Wire, length: int) -> bytes:
    body = wire.read(length)
    if len(body) < length:
        raise UnreachableError(f"the answer was cut off: {len(body)} of {length} bytes came")
    return body


def _bounded(body: bytes, length: int) -> bytes:
    if not 0 <= length <= MAX_BODY_BYTES:
        raise UnreachableError(
            f"one answer has {length} bytes, more than any WinRM envelope; it was not read"
        )
    return body
