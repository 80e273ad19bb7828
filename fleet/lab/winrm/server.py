"""One simulated host's WinRM service on one listening socket."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from socket import socket

from fleet.lab.no_answer import NoAnswer
from fleet.lab.winrm.authority import ServerTls
from fleet.lab.winrm.faults import AT_CREATE, AT_RECEIVE, BEFORE_LOGIN, GARBAGE_XML, Spoil
from fleet.lab.winrm.http import Connection, HttpAnswer, HttpRequest
from fleet.lab.winrm.login import Gate, Login, ServerAuth
from fleet.lab.winrm.outbox import BrokenHostError
from fleet.lab.winrm.seal import SOAP_TYPE, BadSealError, is_sealed, seal, sealed_type, unseal
from fleet.lab.winrm.service import Service
from fleet.lab.winrm.soap import (
    SHELL,
    Action,
    Envelope,
    WsmanFaultError,
    parse_envelope,
    render_answer,
    render_fault,
    render_identity,
)
from fleet.lab.winrm.users import Users
from fleet.lab.winrm.words import Respond, WinrmCounters, WinrmFault

_LOG = logging.getLogger(__name__)
_PATH = "/wsman"
_BACKLOG = 256
_ANOTHER_MESSAGE = "uuid:00000000-0000-0000-0000-000000000000"

DEFAULT_AUTH = (ServerAuth.NEGOTIATE, ServerAuth.KERBEROS)


@dataclass(frozen=True, slots=True)
class _Question:
    """A request that was let in: its envelope, and whether its answer is sealed."""

    envelope: Envelope
    is_sealed: bool


class WinrmServer:
    """One host. It begins with ``open`` and leaves nothing after ``close``.

    Kerberos works where gssapi is installed and KRB5_KTNAME names a keytab of its service; hosts that share
    one want KRB5RCACHENAME=none: (with the colon), as all of them are one process.

    Args:
        respond: answers what clients run.
        tls: makes it HTTPS; without it bodies must be sealed, and neither Basic nor certificates are taken.
        auth: what it offers and takes.
        quota: how many shells one account may have.
        clock_offset_s: how far its Date header is ahead of the truth.
        configurations: its JEA endpoints, which run commands and no scripts.
        redirect_to: where it sends clients that meet ``WinrmFault.REDIRECT``.
    """

    def __init__(
        self,
        respond: Respond,
        users: Users,
        *,
        tls: ServerTls | None = None,
        auth: Sequence[ServerAuth] = DEFAULT_AUTH,
        fault: WinrmFault = WinrmFault.NONE,
        counters: WinrmCounters | None = None,
        quota: int | None = None,
        clock_offset_s: float = 0,
        configurations: Sequence[str] = (),
        redirect_to: str = "http://127.0.0.1:9/wsman",
    ) -> None:
        self.counters = counters if counters is not None else WinrmCounters()
        self._tls, self._fault = tls, fault
        self._clock_offset_s, self._redirect_to = clock_offset_s, redirect_to
        self._gate = Gate(
            users=users,
            auth=auth,
            counters=self.counters,
            certificate=tls.certificate if tls else b"",
            is_binding_strict=fault is WinrmFault.STRICT_CHANNEL_BINDING,
            refuses_all=fault is WinrmFault.WRONG_PASSWORD,
        )
        self._service = Service(
            respond,
            self.counters,
            self._tell,
            fault=fault,
            quota=quota,
            configurations=configurations,
        )
        self._logins: dict[Connection, Login] = {}
        self._bugs: list[BaseException] = []
        self._listener: socket | None = None
        self._full: NoAnswer | None = None
        self._making: set[asyncio.Task[None]] = set()

    async def open(self, sock: socket) -> None:
        """Serve on a bound socket, which is the server's from now on."""
        self._listener = sock
        if self._fault is WinrmFault.CONNECTION_REFUSED:
            return
        if self._fault is WinrmFault.NO_ANSWER:
            self._full = NoAnswer(sock)
            return
        sock.setblocking(False)
        sock.listen(_BACKLOG)
        asyncio.get_running_loop().add_reader(sock, self._accept, sock)

    async def close(self) -> None:
        """End every connection and everything that runs.

        Raises what a bug of ``respond`` or of this server raised.
        """
        if self._listener is None:
            return
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        if self._full is not None:
            self._full.close()
        # What is cancelled before it has begun closes nothing.
        await asyncio.sleep(0)
        making = tuple(self._making)
        for task in making:
            task.cancel()
        await asyncio.gather(*making, return_exceptions=True)
        while self._logins:
            for connection in tuple(self._logins):
                connection.transport.abort()
                await connection.wait_ended()
            await asyncio.sleep(0)
        await self._service.close()
        if self._bugs:
            raise self._bugs[0]

    def _accept(self, listener: socket) -> None:
        # Not left to a server of asyncio, which does not tell of connections whose TLS is being shaken.
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError as exc:
            asyncio.get_running_loop().remove_reader(listener)
            self._tell(exc)
            return
        self.counters.connections += 1
        task = asyncio.get_running_loop().create_task(self._make(client))
        self._making.add(task)
        task.add_done_callback(self._made)

    async def _make(self, client: socket) -> None:
        tls = None if self._fault is WinrmFault.HANG_AT_ACCEPT else self._tls
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: Connection(self._serve, self._opened, self._closed, self._tell),
            client,
            ssl=tls,
        )

    def _made(self, task: asyncio.Task[None]) -> None:
        self._making.discard(task)
        # A client that does not like the certificate, or has gone, is no bug.
        if not task.cancelled() and (exc := task.exception()) and not isinstance(exc, OSError):
            self._tell(exc)

    def _opened(self, connection: Connection) -> None:
        # None without TLS, and when the client has shown none.
        tls = connection.transport.get_extra_info("ssl_object")
        self._logins[connection] = Login(self._gate, (tls and tls.getpeercert(binary_form=True)) or b"")

    def _closed(self, connection: Connection) -> None:
        del self._logins[connection]

    def _tell(self, bug: BaseException) -> None:
        _LOG.error("a simulated WinRM host has a bug", exc_info=bug)
        self._bugs.append(bug)

    async def _serve(self, connection: Connection, request: HttpRequest) -> HttpAnswer | None:
        self.counters.requests += 1
        if spoil := BEFORE_LOGIN.get(self._fault):
            await spoil(connection, b"")
            return None
        if self._fault is WinrmFault.REDIRECT:
            return self._answer(307, (("Location", self._redirect_to),))
        if self._fault is WinrmFault.UNAVAILABLE:
            return self._answer(503)
        login = self._logins[connection]
        outcome = login.check(request.headers.get("authorization", ""))
        if outcome.user is None:
            return await self._ask(connection, self._answer(401, outcome.headers))
        answer = await self._let_in(connection, login, request, outcome.user)
        return answer and self._answer(answer.status, answer.headers + outcome.headers, answer.body)

    async def _ask(self, connection: Connection, answer: HttpAnswer) -> HttpAnswer | None:
        if self._fault is not WinrmFault.CLOSES_AFTER_401:
            return answer
        await connection.write(answer.pack())
        connection.transport.close()
        return None

    async def _let_in(
        self, connection: Connection, login: Login, request: HttpRequest, user: str
    ) -> HttpAnswer | None:
        if request.method != "POST" or request.target.partition("?")[0].lower() != _PATH:
            return HttpAnswer(status=404)
        if not request.body:
            # The end of a login whose next request is sealed.
            return HttpAnswer(status=200)
        try:
            question = self._read(login, request)
        except (BadSealError, ValueError):
            return HttpAnswer(status=400)
        if question is None:
            return HttpAnswer(status=500)
        try:
            status, text = await self._say(question.envelope, user)
        except BrokenHostError:
            return HttpAnswer(status=500)
        answer = self._pack(login, question, status, text)
        if spoil := self._spoil(question.envelope):
            await spoil(connection, self._answer(answer.status, answer.headers, answer.body).pack())
            return None
        return answer

    def _read(self, login: Login, request: HttpRequest) -> _Question | None:
        """What was asked; None: in clear text, which Windows refuses unless it is told otherwise."""
        if is_sealed(request.headers.get("content-type", "")) and login.context:
            return _Question(parse_envelope(unseal(login.context, request.body)), is_sealed=True)
        return _Question(parse_envelope(request.body), is_sealed=False) if self._tls else None

    async def _say(self, envelope: Envelope, user: str) -> tuple[int, bytes]:
        if not envelope.action and envelope.body is not None and envelope.body.tag.endswith("}Identify"):
            return 200, render_identity()
        relates_to = envelope.message_id
        try:
            action, body = await self._service.answer(envelope, user)
        except WsmanFaultError as fault:
            return 500, render_fault(fault, relates_to)
        if envelope.action == Action.CREATE and self._fault is WinrmFault.GARBAGE_XML:
            return 200, GARBAGE_XML
        if envelope.action == Action.CREATE and self._fault is WinrmFault.WRONG_RELATES_TO:
            relates_to = _ANOTHER_MESSAGE
        return 200, render_answer(action, body, relates_to)

    def _pack(self, login: Login, question: _Question, status: int, text: bytes) -> HttpAnswer:
        fault = self._fault if question.envelope.action == Action.CREATE else WinrmFault.NONE
        if not (question.is_sealed and login.context) or fault is WinrmFault.UNSEALED_ANSWER:
            return HttpAnswer(status=status, headers=(("Content-Type", SOAP_TYPE),), body=text)
        body = seal(login.context, login.protocol, text, is_broken=fault is WinrmFault.BAD_SEAL)
        return HttpAnswer(status=status, headers=(("Content-Type", sealed_type(login.protocol)),), body=body)

    def _spoil(self, envelope: Envelope) -> Spoil | None:
        if envelope.action == Action.CREATE:
            return AT_CREATE.get(self._fault)
        if envelope.action == Action.RECEIVE and envelope.body is not None:
            wanted = envelope.body.find(f"{{{SHELL}}}DesiredStream")
            if wanted is not None and wanted.get("CommandId"):
                return AT_RECEIVE.get(self._fault)
        return None

    def _answer(
        self, status: int, headers: tuple[tuple[str, str], ...] = (), body: bytes = b""
    ) -> HttpAnswer:
        date = formatdate(time.time() + self._clock_offset_s, usegmt=True)
        common = (("Server", "Microsoft-HTTPAPI/2.0"), ("Date", date))
        return HttpAnswer(status=status, headers=headers + common, body=body)
