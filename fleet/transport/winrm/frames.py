"""What fleet and its WinRM worker processes say to each other, as frames of bytes on a pipe."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

LENGTHS = struct.Struct(">II")
"""Before each frame: how long its head is (JSON, a list) and how long the body behind it."""


class Kind(StrEnum):
    """What a frame says; the order is that of a visit."""

    READY = "ready"  # worker: it has loaded what it needs
    TICKETS = "tickets"  # get Kerberos tickets (TicketRequest)
    GOT = "got"  # worker: the tickets are there
    OPEN = "open"  # open a session (Target)
    PHASE = "phase"  # worker: a phase begins
    ASK = "ask"  # worker: the host wants the password now
    PERMIT = "permit"  # the password; it may be tried once
    ACCEPTED = "accepted"  # worker: the host took the login
    REFUSED = "refused"  # worker: the host refused it
    OPENED = "opened"  # worker: the session is open
    SCRIPT = "script"  # run it (words: the arguments)
    OUTPUT = "output"  # worker: some of what it put out
    ERRORS = "errors"  # worker: some of what its error stream said
    ENDED = "ended"  # worker: the pipeline is over
    FAILED = "failed"  # worker: words are the name of a HostError, its message, its action
    BUG = "bug"  # worker: words are a traceback
    CLOSE = "close"  # end it, wherever it is
    CLOSED = "closed"  # worker: the visit is over, its shell deleted


@dataclass(frozen=True, slots=True)
class Frame:
    """One message about one visit."""

    kind: Kind
    visit: int
    words: tuple[str, ...] = ()
    body: bytes = b""

    def packed(self) -> bytes:
        """The bytes that :func:`take_frame` reads."""
        head = json.dumps([self.kind, self.visit, *self.words]).encode()
        return LENGTHS.pack(len(head), len(self.body)) + head + self.body


def opened_frame(head: bytes, body: bytes) -> Frame:
    """The frame whose parts these are."""
    kind, visit, *words = json.loads(head)
    return Frame(Kind(kind), visit, tuple(words), body)


def take_frame(read: Callable[[int], bytes]) -> Frame | None:
    """The next frame, None at the end. ``read`` gives exactly so many bytes, fewer at the end only."""
    lengths = read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    head_bytes, body_bytes = LENGTHS.unpack(lengths)
    parts = read(head_bytes), read(body_bytes)
    return opened_frame(*parts) if list(map(len, parts)) == [head_bytes, body_bytes] else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One host as a worker needs it.

    ``addresses``: (family, socket address) of the host, or of its proxy. ``connect_s``: seconds for them all.
    ``uses_tickets``: log in with Kerberos tickets rather than with a password. ``tickets``: their cache,
    "" for the operator's own. ``max_bytes``: as much as the host may say.
    """

    name: str
    address: str
    port: int
    addresses: tuple[tuple[int, tuple[Any, ...]], ...]
    scheme: str
    auth: str
    user: str
    client_cert: str | None
    client_key: str | None
    ca_file: str | None
    cert_validation: str
    spn_service: str
    spn_host: str
    proxy: str | None
    configuration_name: str | None
    uses_tickets: bool
    tickets: str
    connect_s: float
    max_bytes: int

    def packed(self) -> str:
        """JSON."""
        return json.dumps(asdict(self))

    @staticmethod
    def unpacked(text: str) -> Target:
        """What :meth:`packed` packed."""
        fields = json.loads(text)
        fields["addresses"] = tuple((family, tuple(where)) for family, where in fields["addresses"])
        return Target(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketRequest:
    """Kerberos tickets to get for ``principal``, by ``keytab`` or (None) a password, into a cache."""

    principal: str
    keytab: str | None
    into: str

    def packed(self) -> str:
        """JSON."""
        return json.dumps(asdict(self))

    @staticmethod
    def unpacked(text: str) -> TicketRequest:
        """What :meth:`packed` packed."""
        return TicketRequest(**json.loads(text))
