"""Messages sealed by the login's own keys, ``multipart/encrypted`` ([MS-WSMV] section 2.2.9.1)."""

from __future__ import annotations

import re
import struct
from typing import Protocol

from spnego import ContextProxy
from spnego.exceptions import SpnegoError

from fleet.errors import IdentityError
from fleet.transport.winrm.http import Answer

SPNEGO = "application/HTTP-SPNEGO-session-encrypted"
KERBEROS = "application/HTTP-Kerberos-session-encrypted"

_LENGTH = struct.Struct("<i")
_HEAD = re.compile(
    rb"--\s*Encrypted Boundary\r\n\s*Content-Type:[^\r]*\r\n"
    rb"\s*OriginalContent:[^\r]*;\s*Length=(\d{1,9})\s*\r\n"
    rb"--\s*Encrypted Boundary\r\n\s*Content-Type:\s*application/octet-stream\r\n",
    re.IGNORECASE,
)
_TAIL = re.compile(rb"--\s*Encrypted Boundary--(\r\n)?\Z", re.IGNORECASE)


class Seal(Protocol):
    """Turns a message into what goes over the wire, and back."""

    @property
    def proves_login(self) -> bool:
        """Whether only who knows the account can have made an answer that it opens."""
        ...

    def close(self, message: bytes) -> tuple[str, bytes]:
        """The content type and the body."""
        ...

    def open(self, answer: Answer) -> bytes:
        """The message of an answer. Raises IdentityError for one that is not sealed as agreed."""
        ...


class NoSeal:
    """Inside TLS: nothing to add."""

    proves_login = False

    def close(self, message: bytes) -> tuple[str, bytes]:
        """As it is."""
        return "application/soap+xml;charset=UTF-8", message

    def open(self, answer: Answer) -> bytes:
        """As it came."""
        return answer.body


class ContextSeal:
    """By the keys that a login left. ``protocol``: SPNEGO or KERBEROS, as the host named it."""

    proves_login = True

    def __init__(self, context: ContextProxy, protocol: str) -> None:
        self._context = context
        self._protocol = protocol

    def close(self, message: bytes) -> tuple[str, bytes]:
        """One sealed part."""
        signature, data, padding = self._context.wrap_winrm(message)
        head = (
            "--Encrypted Boundary\r\n"
            f"\tContent-Type: {self._protocol}\r\n"
            f"\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length={len(message) + padding}\r\n"
            "--Encrypted Boundary\r\n\tContent-Type: application/octet-stream\r\n"
        )
        body = b"".join(
            (
                head.encode("ascii"),
                _LENGTH.pack(len(signature)),
                signature,
                data,
                b"--Encrypted Boundary--\r\n",
            )
        )
        return f'multipart/encrypted;protocol="{self._protocol}";boundary="Encrypted Boundary"', body

    def open(self, answer: Answer) -> bytes:
        """The one sealed part's message."""
        if not answer.headers.get("content-type", "").lower().startswith("multipart/encrypted"):
            raise IdentityError(
                f"the host answered unsealed on a sealed session (HTTP {answer.status}); it was not believed",
                action="Somebody on the way answers for the host, or it is no WinRM: look at what stands "
                "between, or use https.",
            )
        head, tail = _HEAD.match(answer.body), _TAIL.search(answer.body[-32:])
        if head is None or tail is None:
            raise IdentityError("the host's answer is not sealed as WinRM seals; it was not believed")
        sealed = answer.body[head.end() : len(answer.body) - len(tail[0])]
        return self._unsealed(sealed, int(head[1]))

    def _unsealed(self, sealed: bytes, length: int) -> bytes:
        try:
            (size,) = _LENGTH.unpack_from(sealed)
            message = self._context.unwrap_winrm(sealed[4 : 4 + size], sealed[4 + size :])
        except (SpnegoError, struct.error, ValueError) as error:
            raise IdentityError(
                "the seal of the host's answer is broken; it was not believed",
                action="Somebody on the way changes answers, or the host's WinRM is out of order: restart "
                "the service, or use https.",
            ) from error
        if len(message) != length:
            raise IdentityError(
                "the host's sealed answer has another length than it says; it was not believed"
            )
        return message
