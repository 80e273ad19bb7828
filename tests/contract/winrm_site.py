"""A simulated Windows estate for the tests of the WinRM transport; hosts answer what their script says."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet.collect.deadlines import Limits, PhaseClock
from fleet.collect.guard import PasswordGuard
from fleet.errors import HostError
from fleet.lab.winrm.authority import Authority, ClientCertificate, make_authority
from fleet.lab.winrm.server import WinrmServer
from fleet.lab.winrm.users import User, Users
from fleet.lab.winrm.words import Reply, Request
from fleet.model.host import Host, SecretRef, Winrm
from fleet.model.words import OS, Connection, Phase, Scheme
from fleet.ports import Guard, Process, Session
from fleet.transport.winrm.transport import WinrmTransport
from tests.fakes import FakeSecrets

PASSWORD = SecretRef(scheme="env", target="PW")
RIGHT, ACCOUNT = "p:ass wörd", "CORP\\ops"


async def respond(request: Request) -> Reply:
    """``echo``: the arguments and some errors; ``slow``: after a minute; ``big N``: N pieces of 256 KiB."""
    match request.script.split():
        case ["slow"]:
            return Reply(["late"], delay_s=60)
        case ["big", count]:
            return Reply([str(number % 10) * (1 << 18) for number in range(int(count))])
        case ["fails"]:
            return Reply(["before"], ["CommandNotFoundException: no Get-Thing"], is_failed=True)
    return Reply([f"{request.command}{request.script}", *request.arguments], ["trouble"])


@dataclass
class Estate:
    """Accounts, authority and the servers that run."""

    folder: Path
    authority: Authority
    client: ClientCertificate
    users: Users
    servers: dict[int, WinrmServer] = field(default_factory=dict)

    @asynccontextmanager
    async def serving(self, *, is_https: bool = False, tls: Any = None, **options: Any) -> AsyncIterator[int]:
        """A host's port while it runs; at the end the server must have no shell left unless it keeps them."""
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        context = tls or (self.authority.server("127.0.0.1", "localhost") if is_https else None)
        server = WinrmServer(options.pop("respond", respond), self.users, tls=context, **options)
        await server.open(sock)
        self.servers[port] = server
        try:
            yield port
        finally:
            await server.close()

    def host(self, port: int, *, is_https: bool = False, **fields: Any) -> Host:
        """Such a host of the inventory; what is no field of Host is one of Winrm."""
        own = {name: fields.pop(name) for name in ("user", "password", "address", "name") if name in fields}
        if is_https:
            fields = {"scheme": Scheme.HTTPS, "ca_file": str(self.authority.ca_file), **fields}
        known = {"name": "win01", "address": "127.0.0.1", "user": ACCOUNT, "password": PASSWORD, **own}
        return Host(port=port, connection=Connection.WINRM, os=OS.WINDOWS, winrm=Winrm(**fields), **known)


@contextlib.contextmanager
def made_estate(folder: Path) -> Any:
    """An estate whose accounts are taken away at the end."""
    authority = make_authority(folder)
    client = authority.client("robot")
    users = Users(
        folder,
        [
            User(name="ops", password=RIGHT, domain="CORP", upn="ops@corp.example"),
            User(name="robot", password="unused", domain="CORP", certificates=(client.digest,)),
        ],
    )
    yield Estate(folder, authority, client, users)
    users.close()


@asynccontextmanager
async def opened(
    transport: WinrmTransport,
    host: Host,
    *,
    limits: Limits | None = None,
    password: str = RIGHT,
    guard: Guard | None = None,
) -> AsyncIterator[Session]:
    """A session as the visitor opens and closes it."""
    async with PhaseClock(limits or Limits()) as clock:
        secrets = FakeSecrets({str(PASSWORD): password})
        session = await transport.open(host, secrets, guard or PasswordGuard(), clock)
        clock.enter(Phase.EXEC)
        try:
            yield session
        finally:
            await session.close()


async def said(process: Process) -> tuple[str, str]:
    """All of its output and of its errors."""
    whole = []
    for read in (process.read, process.read_stderr):
        parts = []
        while part := await read(65536):
            parts.append(part)
        whole.append(b"".join(parts).decode())
    return whole[0], whole[1]


async def visit(
    transport: WinrmTransport, host: Host, script: str, *arguments: str, **how: Any
) -> tuple[str, str]:
    """One visit: what it put out and its errors."""
    async with opened(transport, host, **how) as session:
        process = await session.start("\n".join(arguments or ("word",)))
        await process.write(script.encode())
        process.write_eof()
        return await said(process)


async def trouble(host: Host, script: str = "echo", **how: Any) -> HostError:
    """How a visit that must fail ends; the transport is closed when this returns."""
    async with WinrmTransport(connect_s=10, concurrency=1) as transport:
        try:
            await visit(transport, host, script, **how)
        except HostError as error:
            return error
    raise AssertionError("the visit did not fail")
