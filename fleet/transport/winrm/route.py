"""From a connection to a proxy to one through it: SOCKS5 with the name sent along, or HTTP's CONNECT."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from fleet.errors import UnreachableError
from fleet.transport.winrm.http import take_head
from fleet.transport.winrm.wire import Wire
from fleet.transport.wording import shown

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
MAX_NAME_BYTES = 255


def proxy_of(url: str) -> tuple[str, int]:
    """Where a proxy listens."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _usual_port(parts)


def _usual_port(parts: SplitResult) -> int:
    return 1080 if parts.scheme.startswith("socks") else 3128


def go_through(wire: Wire, proxy: str, address: str, port: int) -> None:
    """Have the proxy at the other end connect to the host. Raises UnreachableError."""
    named = proxy.rstrip("/")
    name = encoded_name(address)
    if urlsplit(proxy).scheme.startswith("socks"):
        _socks(wire, named, name, port)
    else:
        _connect(wire, named, name, port)
    if wire.is_stale():
        # The host speaks second: it would be taken for the host's own answer, inside TLS too.
        raise UnreachableError(
            f"the proxy {named} ended the connection to {address}, or spoke for the host before it was asked"
        )


def encoded_name(address: str) -> bytes:
    """A name as it goes over the wire, ASCII. Raises UnreachableError for what none can be."""
    try:
        name = address.encode("idna")
    except UnicodeError:
        name = b""
    if not 0 < len(name) <= MAX_NAME_BYTES:
        raise UnreachableError(f"{shown(address[:300])} is not a name that a host can have")
    return name


def _connect(wire: Wire, named: str, name: bytes, port: int) -> None:
    address = name.decode("ascii")
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    wire.send(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode("ascii"))
    status, _ = take_head(wire)
    if status == 407:
        raise UnreachableError(f"the proxy {named} asks for a login, which fleet has none for")
    if status // 100 != 2:
        raise UnreachableError(f"the proxy {named} does not connect to {where}: HTTP {status}")


def _socks(wire: Wire, named: str, name: bytes, port: int) -> None:
    wire.send(b"\x05\x01\x00")
    if wire.read(2) != b"\x05\x00":
        raise UnreachableError(f"the proxy {named} is no SOCKS5 proxy without a login")
    wire.send(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + port.to_bytes(2, "big"))
    head = wire.read(4)
    if len(head) < 4 or head[1]:
        why = _REPLIES.get(head[1], "it failed") if len(head) == 4 else "it ended the connection"
        where = name.decode("ascii")
        raise UnreachableError(f"the proxy {named} does not connect to {where} port {port}: {why}")
    # Where it connects from is of no use, but it stands before what the host says.
    length = _ADDRESS_BYTES.get(head[3]) or int.from_bytes(wire.read(1), "big")
    wire.read(length + 2)
