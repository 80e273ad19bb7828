"""From a host to a WinRM session: the parent, which resolves names, holds secrets and keeps accounts safe."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, ExitStack
from types import TracebackType
from typing import Self

from fleet.errors import CredentialError, RemoteError
from fleet.model.host import Host
from fleet.model.words import Phase, Scheme, WinrmAuth
from fleet.ports import Guard, Permit, Phases, Secrets, Session
from fleet.transport.resolve import Resolver
from fleet.transport.winrm.frames import Frame, Kind, Target
from fleet.transport.winrm.route import proxy_of
from fleet.transport.winrm.ticket_cache import TicketCaches
from fleet.transport.winrm.workers import Channel, WorkerPool

WORKERS = 2
LOOKUPS_PER_VISIT = 4
"""The system gives a dead name server up to half a minute, a visit's deadline is shorter."""
MAX_ANSWER_BYTES = 64 << 20


class WinrmTransport:
    """Opens WinRM sessions; ``async with`` ends its worker processes, which start when first needed.

    Args:
        connect_s: seconds to share among the addresses of a name.
        concurrency: visits at once.
        max_answer_bytes: all that a host may say in a visit, as it comes over the wire.
    """

    def __init__(
        self, *, connect_s: float, concurrency: int, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._connect_s = connect_s
        self._max_answer_bytes = max_answer_bytes
        self._resolver = Resolver(LOOKUPS_PER_VISIT * concurrency)
        self._pool = WorkerPool(min(WORKERS, concurrency))
        self._caches = TicketCaches(self._pool)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._pool.close()
        finally:
            self._caches.close()

    async def open(self, host: Host, secrets: Secrets, guard: Guard, phases: Phases) -> Session:
        """Resolve, connect, check the certificate, log in, open a PowerShell session. Raises HostError."""
        _refuse_what_is_unsafe(host)
        password = secrets.resolve(host.password) if host.password else None
        _refuse_what_lacks(host, password)
        channel = await self._pool.channel()
        with ExitStack() as undo:
            undo.callback(channel.close)
            tickets = ""
            if uses_tickets(host):
                tickets = await self._caches.cache_of(host, password, guard, phases)
            phases.enter(Phase.RESOLVE)
            to = proxy_of(host.winrm.proxy) if host.winrm.proxy else (host.address, host.port)
            addresses = await self._resolver.resolve(*to)
            phases.enter(Phase.CONNECT)
            target = self._target(host, tuple(addresses), tickets)
            channel.say(Kind.OPEN, target.packed())
            await _log_in(channel, host, password or "", guard, phases)
            undo.pop_all()
        return _WinrmSession(channel)

    def _target(
        self, host: Host, addresses: tuple[tuple[int, tuple[object, ...]], ...], tickets: str
    ) -> Target:
        how = host.winrm
        return Target(
            name=host.name,
            address=host.address,
            port=host.port,
            addresses=addresses,
            scheme=how.scheme.value,
            auth=how.auth.value,
            user=host.user,
            client_cert=how.client_cert if how.auth is WinrmAuth.CERTIFICATE else None,
            client_key=how.client_key,
            ca_file=how.ca_file,
            cert_validation=how.cert_validation,
            spn_service=how.spn_service or "HTTP",
            spn_host=how.spn_host or host.address,
            proxy=how.proxy,
            configuration_name=how.configuration_name,
            uses_tickets=uses_tickets(host),
            tickets=tickets,
            connect_s=self._connect_s,
            max_bytes=self._max_answer_bytes,
        )


def uses_tickets(host: Host) -> bool:
    """Whether the login is Kerberos's. A password with ``negotiate`` is NTLM's: trying it both ways would be
    two attempts at each host."""
    if host.winrm.auth is WinrmAuth.NEGOTIATE:
        return host.winrm.keytab is not None or host.password is None
    return host.winrm.auth is WinrmAuth.KERBEROS


def _refuse_what_is_unsafe(host: Host) -> None:
    plain = (WinrmAuth.BASIC, WinrmAuth.CERTIFICATE)
    if host.winrm.scheme is Scheme.HTTP and host.winrm.auth in plain:
        raise CredentialError(
            f"auth: {host.winrm.auth} seals nothing, and {host.address} is to be reached over plain http: "
            "nothing was sent",
            action="Set `scheme: https`, or an auth that seals: kerberos, negotiate or ntlm.",
        )


def _refuse_what_lacks(host: Host, password: str | None) -> None:
    auth = host.winrm.auth
    if auth is WinrmAuth.CERTIFICATE:
        if not host.winrm.client_cert:
            raise CredentialError(f"auth: {auth} needs client_cert and client_key")
    elif not uses_tickets(host) and not (host.user and password):
        raise CredentialError(f"auth: {auth} needs a user and a password")


async def _log_in(channel: Channel, host: Host, password: str, guard: Guard, phases: Phases) -> None:
    """Until the session is open: tell the phases on, hand out the password when it may be tried."""
    permit: Permit | None = None
    async with AsyncExitStack() as permits:
        while (frame := await channel.hear()).kind is not Kind.OPENED:
            if frame.kind is Kind.PHASE:
                phases.enter(Phase(frame.words[0]))
            elif frame.kind is Kind.ASK:
                permit = await permits.enter_async_context(guard.attempt("login", host.user, password))
                channel.say(Kind.PERMIT, password)
            elif permit is not None and frame.kind is Kind.REFUSED:
                permit.refused()
            elif permit is not None and frame.kind is Kind.ACCEPTED:
                permit.accepted()
                await permits.aclose()


class _Stream:
    """Bytes that come in pieces; an error or the end behind them."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._end: Exception | None = None
        self._is_over = False
        self._more = asyncio.Event()

    def feed(self, data: bytes) -> None:
        self._data += data
        self._more.set()

    def end(self, error: Exception | None) -> None:
        if not self._is_over:
            self._is_over, self._end = True, error
            self._more.set()

    async def read(self, limit: int) -> bytes:
        while not self._data and not self._is_over:
            self._more.clear()
            await self._more.wait()
        if not self._data and self._end is not None:
            raise self._end
        taken = bytes(self._data[:limit])
        del self._data[:limit]
        return taken


class _WinrmSession:
    host_key = ""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def start(self, command: str) -> _WinrmProcess:
        return _WinrmProcess(self._channel, command)

    async def close(self) -> None:
        self._channel.close()


class _WinrmProcess:
    """The one pipeline of a session: it starts when it is given its script."""

    def __init__(self, channel: Channel, command: str) -> None:
        self._channel = channel
        self._arguments = command.split("\n")
        self._out, self._errors = _Stream(), _Stream()
        self._is_started = False
        channel.listener = self._hear

    async def write(self, data: bytes) -> None:
        if self._is_started:
            raise RemoteError("a PowerShell session takes one script, in one piece")
        self._is_started = True
        self._channel.say(Kind.SCRIPT, *self._arguments, body=data)

    def write_eof(self) -> None:
        """Its script has no input."""

    async def read(self, limit: int) -> bytes:
        return await self._out.read(limit)

    async def read_stderr(self, limit: int) -> bytes:
        return await self._errors.read(limit)

    def _hear(self, heard: Frame | Exception) -> None:
        if isinstance(heard, Exception):
            self._out.end(heard)
            self._errors.end(heard)
        elif heard.kind is Kind.OUTPUT:
            self._out.feed(heard.body)
        elif heard.kind is Kind.ERRORS:
            self._errors.feed(heard.body)
        elif heard.kind is Kind.ENDED:
            self._out.end(None)
            self._errors.end(None)
