"""Decides who is on the other side of one connection: Negotiate (NTLM, Kerberos), Basic, certificate."""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import spnego
from spnego import ContextProxy, NegotiateOptions
from spnego.channel_bindings import GssChannelBindings
from spnego.exceptions import BadBindingsError, SpnegoError

from fleet.lab.winrm.seal import KERBEROS, SPNEGO
from fleet.lab.winrm.users import User, Users
from fleet.lab.winrm.words import WinrmCounters

_LOG = logging.getLogger(__name__)
_MUTUAL = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"
_HEADER = "WWW-Authenticate"
_NO_TOKEN = (struct.error, ValueError, IndexError, KeyError, StopIteration, AttributeError)
"""What pyspnego raises on bytes that are no token, or none of this connection's or this host's keys."""


class ServerAuth(StrEnum):
    """What a host's WinRM service takes. Basic and certificates: over TLS only, whatever is said."""

    NEGOTIATE = "negotiate"
    KERBEROS = "kerberos"
    BASIC = "basic"
    CERTIFICATE = "certificate"


@dataclass(frozen=True, slots=True)
class Outcome:
    """``user``: who it is, None: not known, or not yet. ``headers``: what the answer says of it."""

    user: str | None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What holds for every login to one host. ``certificate``: its own, in DER; empty without TLS."""

    users: Users
    auth: Sequence[ServerAuth]
    counters: WinrmCounters
    certificate: bytes = b""
    is_binding_strict: bool = False
    refuses_all: bool = False

    @property
    def offers(self) -> tuple[tuple[str, str], ...]:
        """What a 401 lists."""
        schemes = (
            ("Negotiate", ServerAuth.NEGOTIATE in self.auth),
            ("Kerberos", ServerAuth.KERBEROS in self.auth),
            ('Basic realm="WSMAN"', ServerAuth.BASIC in self.auth and bool(self.certificate)),
        )
        return tuple((_HEADER, scheme) for scheme, is_offered in schemes if is_offered)


class Login:
    """The login of one connection. ``context``: what seals and unseals, once it is complete."""

    def __init__(self, gate: Gate, peer_certificate: bytes) -> None:
        self._gate = gate
        self._peer_certificate = peer_certificate
        self._checked: tuple[str, str | None] | None = None
        self._user: str | None = None
        self.context: ContextProxy | None = None
        self.protocol = SPNEGO

    def check(self, authorization: str) -> Outcome:
        """What the Authorization header of a request says; empty: it has none."""
        scheme, _, value = authorization.partition(" ")
        match scheme.lower():
            case "negotiate" if ServerAuth.NEGOTIATE in self._gate.auth:
                return self._step("Negotiate", value)
            case "kerberos" if ServerAuth.KERBEROS in self._gate.auth:
                return self._step("Kerberos", value)
            case "basic" if ServerAuth.BASIC in self._gate.auth and self._gate.certificate:
                return self._once(authorization, self._basic)
            case _ if authorization == _MUTUAL and ServerAuth.CERTIFICATE in self._gate.auth:
                return self._once(authorization, self._mutual)
            case "" if self._user is not None:
                return Outcome(self._user)
            case _:
                return Outcome(None, self._gate.offers)

    def _step(self, scheme: str, value: str) -> Outcome:
        if self.context is None or self.context.complete:
            self._user = None
            self.context = self._new_context(scheme)
        try:
            token = self._accept(self.context, base64.b64decode(value, validate=True))
        except (SpnegoError, *_NO_TOKEN) as exc:
            _LOG.debug("a simulated host refuses a token: %r", exc)
            return self._refused()
        if not self.context.complete:
            return Outcome(None, ((_HEADER, f"{scheme} {base64.b64encode(token or b'').decode()}"),))
        if self._gate.refuses_all:
            return self._refused()
        self._gate.counters.auth_attempts += 1
        self._user = self.context.client_principal or "unknown"
        more = f" {base64.b64encode(token).decode()}" if token else ""
        return Outcome(self._user, ((_HEADER, scheme + more),) if token else ())

    def _new_context(self, scheme: str) -> ContextProxy:
        self._gate.users.reveal()
        self.protocol = SPNEGO if scheme == "Negotiate" else KERBEROS
        return spnego.server(
            protocol=scheme.lower(),
            options=NegotiateOptions.use_negotiate if scheme == "Negotiate" else NegotiateOptions.none,
        )

    def _accept(self, context: ContextProxy, token: bytes) -> bytes | None:
        self._gate.users.reveal()
        binding = self._binding()
        try:
            return context.step(token, channel_bindings=binding)
        except BadBindingsError as exc:
            # Windows lets a login without a binding pass unless it is told to be strict; a wrong one never.
            if self._gate.is_binding_strict or "not present" not in str(exc):
                raise
            return context.step(token)

    def _binding(self) -> GssChannelBindings | None:
        if not self._gate.certificate:
            return None
        # RFC 5929, section 4: the certificates of a lab are signed with SHA-256.
        digest = hashlib.sha256(self._gate.certificate).digest()
        return GssChannelBindings(application_data=b"tls-server-end-point:" + digest)

    def _refused(self) -> Outcome:
        self.context = None
        self._gate.counters.auth_attempts += 1
        self._gate.counters.refusals += 1
        return Outcome(None, self._gate.offers)

    def _once(self, authorization: str, check: Callable[[str], User | None]) -> Outcome:
        # Each request of a connection says it again, which is no further attempt.
        if self._checked is None or self._checked[0] != authorization:
            user = None if self._gate.refuses_all else check(authorization)
            self._checked = authorization, user.names[0] if user else None
            self._gate.counters.auth_attempts += 1
            self._gate.counters.refusals += user is None
        name = self._checked[1]
        return Outcome(name) if name else Outcome(None, self._gate.offers)

    def _basic(self, authorization: str) -> User | None:
        try:
            words = base64.b64decode(authorization.partition(" ")[2], validate=True)
        except binascii.Error:
            return None
        # RFC 7617 leaves the encoding open, and clients do as they like.
        try:
            name, _, password = words.decode().partition(":")
        except UnicodeDecodeError:
            name, _, password = words.decode("latin-1").partition(":")
        return self._gate.users.by_password(name, password)

    def _mutual(self, _authorization: str) -> User | None:
        if not self._peer_certificate:
            return None
        return self._gate.users.by_certificate(hashlib.sha256(self._peer_certificate).digest())
