"""From a connection to a proxy to one through it: SOCKS5 with the name sent along, or HTTP's CONNECT."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from fleet.errors import UnreachableError
from fleet.transport.winrm.http import take_head
from fleet.transport.winrm.wire import Wire

# RFC 1928 section 6.
_REPLIES = {
    1: "it failed",
    2: "its rules forbid it",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "time to live expired",
    7: "it does not connect",
    8: "it does not take names",
}
_ADDRESS_BYTES = {1: 4, 4: 16}


def proxy_of(url: str) -> tuple[str, int]:
    """Where a proxy listens."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _usual_port(parts)


def _usual_port(parts: SplitResult) -> int:
    return 1080 if parts.scheme.startswith("socks") else 3128


def go_through(wire: Wire, proxy: str, address: str, port: int) -> None:
    """Have the proxy at the other end connect to the host. Raises UnreachableError."""
    named = proxy.rstrip("/")
    if urlsplit(proxy).scheme.startswith("socks"):
        _socks(wire, named, address, port)
    else:
        _connect(wire, named, address, port)


def _connect(wire: Wire, named: str, address: str, port: int) -> None:
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    wire.send(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode("ascii"))
    status, _ = take_head(wire)
    if status == 407:
        raise UnreachableError(f"the proxy {named} asks for a login, which fleet has none for")
    if status // 100 != 2:
        raise UnreachableError(f"the proxy {named} does not connect to {where}: HTTP {status}")


def _socks(wire: Wire, named: str, address: str, port: int) -> None:
    wire.send(b"\x05\x01\x00")
    if wire.read(2) != b"\x05\x00":
        raise UnreachableError(f"the proxy {named} is no SOCKS5 proxy without a login")
    name = address.encode("idna")
    wire.send(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + port.to_bytes(2, "big"))
    head = wire.read(4)
    if len(head) < 4 or head[1]:
        why = _REPLIES.get(head[1], "it failed") if len(head) == 4 else "it ended the connection"
        raise UnreachableError(f"the proxy {named} does not connect to {address} port {port}: {why}")
    wire.read(_ADDRESS_BYTES[head[3]] + 2 if head[3] in _ADDRESS_BYTES else wire.read(1)[0] + 2)
