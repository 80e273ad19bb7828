"""Turns SOAP text into a sealed body and back ([MS-WSMV] 2.2.9.1, Encrypted Message Types)."""

from __future__ import annotations

import re
import struct

from spnego import ContextProxy
from spnego.exceptions import SpnegoError

SPNEGO = "application/HTTP-SPNEGO-session-encrypted"
KERBEROS = "application/HTTP-Kerberos-session-encrypted"
SOAP_TYPE = "application/soap+xml;charset=UTF-8"

_BOUNDARY = "--Encrypted Boundary"
_OCTETS = b"\tContent-Type: application/octet-stream\r\n"
_END = f"{_BOUNDARY}--\r\n".encode()
_LENGTH = re.compile(rb"OriginalContent:[^\r\n]*;Length=(\d+)")


class BadSealError(ValueError):
    """A body that is not sealed, or not by who holds this connection."""


def is_sealed(content_type: str) -> bool:
    """Whether a body of that type is sealed."""
    return content_type.startswith("multipart/encrypted")


def sealed_type(protocol: str) -> str:
    """The Content-Type of a sealed body."""
    return f'multipart/encrypted;protocol="{protocol}";boundary="Encrypted Boundary"'


def seal(context: ContextProxy, protocol: str, text: bytes, *, is_broken: bool = False) -> bytes:
    """The body for this text. ``is_broken``: its signature fits nothing."""
    signature, data, padding = context.wrap_winrm(text)
    if is_broken:
        signature = bytes(len(signature))
    head = (
        f"{_BOUNDARY}\r\n"
        f"\tContent-Type: {protocol}\r\n"
        f"\tOriginalContent: type={SOAP_TYPE};Length={len(text) + padding}\r\n"
        f"{_BOUNDARY}\r\n"
    )
    return b"".join((head.encode(), _OCTETS, struct.pack("<i", len(signature)), signature, data, _END))


def unseal(context: ContextProxy, body: bytes) -> bytes:
    """The text of a sealed body.

    Raises:
        BadSealError: It is no sealed body, or its signature is wrong.
    """
    head, found, rest = body.partition(_OCTETS)
    length = _LENGTH.search(head)
    if not (found and length and rest.endswith(_END) and len(rest) > 4 + len(_END)):
        raise BadSealError("no sealed body")
    (size,) = struct.unpack("<I", rest[:4])
    data = rest[4 : -len(_END)]
    try:
        text = context.unwrap_winrm(data[:size], data[size:])
    except SpnegoError as exc:
        raise BadSealError(str(exc)) from exc
    if len(text) != int(length[1]):
        raise BadSealError("another length than was said")
    return text
