"""Simulated WinRM hosts in a thread of their own, and what visits them in these tests."""

from __future__ import annotations

import asyncio
import base64
import http.client
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import spnego
import winrm
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import WSMan
from spnego import NegotiateOptions

from fleet.lab.winrm.authority import Authority, ClientCertificate, make_authority
from fleet.lab.winrm.login import ServerAuth
from fleet.lab.winrm.seal import SPNEGO, is_sealed, seal, sealed_type, unseal
from fleet.lab.winrm.server import WinrmServer
from fleet.lab.winrm.users import User, Users
from fleet.lab.winrm.words import (
    Reply,
    Request,
    WinrmCounters,
)

PASSWORD = "p:ass wörd"
ACCOUNT = "CORP\\ops"
SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
POWERSHELL = "http://schemas.microsoft.com/powershell/Microsoft.PowerShell"
QUIET_S = 0.1
"""How long nothing must come for a host to be called silent."""


def wait_until(holds: Callable[[], bool]) -> None:
    """Let the hosts work until it holds."""
    ends = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.001)


@dataclass
class Site:
    """What all hosts of these tests share: a loop in a thread, the accounts and the authority."""

    loop: asyncio.AbstractEventLoop
    users: Users
    authority: Authority
    client: ClientCertificate
    folder: Path
    asked: list[Request] = field(default_factory=list)
    is_released: asyncio.Event = field(default_factory=asyncio.Event)

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    async def respond(self, request: Request) -> Reply:
        """Says what it was asked, or what the script tells it to."""
        self.asked.append(request)
        match request.script.split():
            case ["big", count, size]:
                return Reply([str(number % 10) * int(size) for number in range(int(count))])
            case ["slow", delay]:
                return Reply(["slow"], delay_s=float(delay))
            case ["held"]:
                await self.is_released.wait()
                return Reply(["let go"], delay_s=0.001)
            case ["fails"]:
                return Reply(["before"], ["warning <&>", "it is over"], is_failed=True)
            case ["errors"]:
                return Reply(["after"], ["one", "zwei ü"])
            case ["bug"]:
                raise LookupError("no such host")
        return Reply([f"{request.command}{request.script}", *request.arguments])


@dataclass(frozen=True)
class Host:
    """A running server, and how to reach it."""

    server: WinrmServer
    port: int
    site: Site
    is_https: bool

    @property
    def counters(self) -> WinrmCounters:
        return self.server.counters

    def wsman(self, **options: Any) -> WSMan:
        given: dict[str, Any] = {
            "port": self.port,
            "username": ACCOUNT,
            "password": PASSWORD,
            "ssl": self.is_https,
            "auth": "negotiate",
            "no_proxy": True,
        }
        if self.is_https:
            given["cert_validation"] = str(self.site.authority.ca_file)
        return WSMan("127.0.0.1", **given | options)

    def run(
        self, script: str, *arguments: str, configuration: str = "Microsoft.PowerShell", **options: Any
    ) -> PowerShell:
        """Visit as pypsrp's users do; all is closed at the end."""
        with self.wsman(**options) as wsman, RunspacePool(wsman, configuration_name=configuration) as pool:
            shell = PowerShell(pool)
            shell.add_script(script)
            for argument in arguments:
                shell.add_argument(argument)
            shell.invoke()
            shell.close()
            return shell

    def session(self, **options: Any) -> winrm.Session:
        given: dict[str, Any] = {"transport": "ntlm", "proxy": None, "ca_trust_path": None}
        if self.is_https:
            given["ca_trust_path"] = str(self.site.authority.ca_file)
        url = f"{'https' if self.is_https else 'http'}://127.0.0.1:{self.port}/wsman"
        return winrm.Session(url, auth=(ACCOUNT, PASSWORD), **given | options)


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """Accounts and authority in that folder; at the end no task is left."""
    authority = make_authority(folder)
    client = authority.client("robot")
    users = Users(
        folder,
        [
            User(name="ops", password=PASSWORD, domain="CORP", upn="ops@corp.example"),
            User(name="local", password="other"),
            User(name="robot", password="unused", domain="CORP", certificates=(client.digest,)),
        ],
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    site = Site(loop, users, authority, client, folder)
    try:
        yield site
        assert not site.run(tasks())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        users.close()


async def tasks() -> set[Any]:
    """What runs beside who asks."""
    return asyncio.all_tasks() - {asyncio.current_task()}


@contextmanager
def running_host(site: Site, *, is_https: bool = False, tls: Any = None, **options: Any) -> Iterator[Host]:
    """One host, with the arguments of its server."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    context = tls or (site.authority.server("127.0.0.1", "localhost") if is_https else None)
    server = WinrmServer(site.respond, site.users, tls=context, **options)
    site.run(server.open(sock))
    try:
        yield Host(server, port, site, is_https or tls is not None)
    finally:
        site.run(server.close())


EVERYTHING = (ServerAuth.NEGOTIATE, ServerAuth.KERBEROS, ServerAuth.BASIC, ServerAuth.CERTIFICATE)


class Wire:
    """One connection that says exactly what it is told to."""

    def __init__(self, host: Host) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=10)
        self.context = spnego.client(
            ACCOUNT, PASSWORD, protocol="negotiate", options=NegotiateOptions.use_negotiate
        )

    def post(self, body: bytes, headers: dict[str, str]) -> http.client.HTTPResponse:
        self.connection.request("POST", "/wsman", body, headers)
        return self.connection.getresponse()

    def login(self) -> Wire:
        token = self.context.step()
        while token:
            words = base64.b64encode(token).decode()
            response = self.post(b"", {"Authorization": f"Negotiate {words}"})
            response.read()
            said = (response.getheader("WWW-Authenticate") or "").removeprefix("Negotiate ")
            token = self.context.step(base64.b64decode(said)) if said else None
        assert response.status == 200
        return self

    def say(self, text: bytes) -> None:
        """Send it sealed, and read nothing."""
        body = seal(self.context, SPNEGO, text)
        self.connection.request("POST", "/wsman", body, {"Content-Type": sealed_type(SPNEGO)})

    def begin(self, text: bytes) -> http.client.HTTPResponse:
        self.say(text)
        return self.connection.getresponse()

    @property
    def socket(self) -> socket.socket:
        assert self.connection.sock
        return self.connection.sock

    def ask(self, text: bytes) -> tuple[int, ET.Element]:
        response = self.begin(text)
        data = response.read()
        assert is_sealed(response.headers["Content-Type"])
        return response.status, ET.fromstring(unseal(self.context, data))

    def close(self) -> None:
        self.connection.close()


def is_silent(connection: socket.socket) -> bool:
    """Whether nothing comes over it for a moment, not even its end."""
    connection.settimeout(QUIET_S)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    return False


@contextmanager
def wire_to(host: Host) -> Iterator[Wire]:
    wire = Wire(host)
    try:
        yield wire
    finally:
        wire.close()


def envelope(
    action: str,
    body: str = "",
    *,
    shell: str = "",
    resource: str = f"{SHELL}/cmd",
    message: str | None = None,
    more: str = "",
) -> bytes:
    selector = f'<w:SelectorSet><w:Selector Name="ShellId">{shell}</w:Selector></w:SelectorSet>' * bool(shell)
    return (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
        ' xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
        f' xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:rsp="{SHELL}"><s:Header>'
        f"<a:Action>{action}</a:Action><a:MessageID>{message or f'uuid:{uuid.uuid4()}'}</a:MessageID>"
        f"<w:ResourceURI>{resource}</w:ResourceURI>{selector}{more}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def fault_code(root: ET.Element) -> str | None:
    element = root.find(".//{http://schemas.microsoft.com/wbem/wsman/1/wsmanfault}WSManFault")
    return element.get("Code") if element is not None else None


def text_of(root: ET.Element, name: str) -> str:
    found = root.findtext(f".//{{{SHELL}}}{name}")
    assert found
    return found
