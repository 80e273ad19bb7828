"""The simulated WinRM service, as unmodified pypsrp and pywinrm see it, and on the wire."""

from __future__ import annotations

import asyncio
import base64
import http.client
import logging
import socket
import ssl
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import requests
import spnego
import winrm
from pypsrp.complex_objects import PSInvocationState
from pypsrp.exceptions import AuthenticationError, WinRMError, WinRMTransportError, WSManFaultError
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.shell import Process, WinRS
from pypsrp.wsman import WSMan
from spnego import NegotiateOptions
from spnego.exceptions import BadMICError
from winrm.exceptions import InvalidCredentialsError

from fleet.lab.winrm.authority import Authority, ClientCertificate, make_authority
from fleet.lab.winrm.login import ServerAuth
from fleet.lab.winrm.seal import SPNEGO, is_sealed, seal, sealed_type, unseal
from fleet.lab.winrm.server import WinrmServer
from fleet.lab.winrm.users import NTLM_USERS_FILE, User, Users
from fleet.lab.winrm.words import (
    TIMED_OUT_POLLS,
    TRICKLE_BYTES,
    Reply,
    Request,
    WinrmCounters,
    WinrmFault,
)

PASSWORD = "p:ass wörd"
ACCOUNT = "CORP\\ops"
SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
POWERSHELL = "http://schemas.microsoft.com/powershell/Microsoft.PowerShell"
QUIET_S = 0.1
"""How long nothing must come for a host to be called silent."""


@dataclass
class Site:
    """What all hosts of these tests share: a loop in a thread, the accounts and the authority."""

    loop: asyncio.AbstractEventLoop
    users: Users
    authority: Authority
    client: ClientCertificate
    folder: Path
    asked: list[Request] = field(default_factory=list)

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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("winrm")
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
    yield Site(loop, users, authority, client, folder)
    left = asyncio.run_coroutine_threadsafe(_tasks(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    users.close()
    assert not left


async def _tasks() -> set[Any]:
    return asyncio.all_tasks() - {asyncio.current_task()}


@contextmanager
def _host(site: Site, *, is_https: bool = False, tls: Any = None, **options: Any) -> Iterator[Host]:
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


@pytest.fixture(scope="module")
def http_host(site: Site) -> Iterator[Host]:
    with _host(site, configurations=("FleetDiagnostics",)) as host:
        yield host


@pytest.fixture(scope="module")
def https_host(site: Site) -> Iterator[Host]:
    with _host(site, is_https=True, auth=EVERYTHING) as host:
        yield host


class Wire:
    """One connection that says exactly what it is told to."""

    def __init__(self, host: Host) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=10)
        self.context = spnego.client(
            ACCOUNT, PASSWORD, protocol="negotiate", options=NegotiateOptions.use_negotiate
        )
        self.is_sealing = True

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

    def begin(self, text: bytes) -> http.client.HTTPResponse:
        body = seal(self.context, SPNEGO, text)
        return self.post(body, {"Content-Type": sealed_type(SPNEGO)})

    def ask(self, text: bytes) -> tuple[int, ET.Element]:
        response = self.begin(text)
        data = response.read()
        assert is_sealed(response.headers["Content-Type"])
        return response.status, ET.fromstring(unseal(self.context, data))

    def close(self) -> None:
        self.connection.close()


@contextmanager
def _wire(host: Host) -> Iterator[Wire]:
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


# --- unmodified clients ---


@pytest.mark.parametrize("auth", ["negotiate", "ntlm"])
def test_pypsrp_runs_a_script_over_http(http_host: Host, auth: str) -> None:
    before = http_host.counters.shells_opened
    shell = http_host.run("param($a, $b)", "one", "zwei ü €", auth=auth)
    assert shell.output == ["param($a, $b)", "one", "zwei ü €"]
    assert shell.state == PSInvocationState.COMPLETED
    assert not shell.streams.error
    assert http_host.site.asked[-1] == Request("param($a, $b)", "", ("one", "zwei ü €"), ACCOUNT)
    assert http_host.counters.shells_opened == before + 1
    assert http_host.counters.shells_open == 0


@pytest.mark.parametrize("name", ["ops@corp.example", "corp\\OPS"])
def test_an_account_has_two_names_that_know_no_case(http_host: Host, name: str) -> None:
    assert http_host.run("hello", username=name).output == ["hello"]


def test_a_script_of_many_fragments_arrives_whole(http_host: Host) -> None:
    script = "# a comment\n" * 40_000
    sends = http_host.counters.sends
    assert http_host.run(script).output == [script]
    assert http_host.counters.sends > sends


def test_what_is_written_arrives_whole_in_envelopes_no_larger_than_wanted(
    http_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    parse = ET.fromstring

    def measure(text: bytes | str) -> ET.Element:
        sizes.append(len(text))
        return parse(text)

    monkeypatch.setattr("pypsrp.wsman.ET.fromstring", measure)
    shell = http_host.run("big 8 262144")
    assert [len(text) for text in shell.output] == [262144] * 8
    assert shell.output[7] == "7" * 262144
    assert 300_000 < max(sizes) <= 512_000


def test_text_that_xml_cannot_hold_arrives_as_it_was(http_host: Host) -> None:
    script = "a\x01b\r\n_x0041_ 𝔘 <&>"
    assert http_host.run(script).output == [script]


def test_errors_of_a_script_that_goes_on(http_host: Host) -> None:
    shell = http_host.run("errors")
    assert shell.output == ["after"]
    assert [str(error) for error in shell.streams.error] == ["one", "zwei ü"]
    assert not shell.had_errors


def test_a_script_that_fails(http_host: Host) -> None:
    shell = http_host.run("fails")
    assert shell.output == ["before"]
    assert [str(error) for error in shell.streams.error] == ["warning <&>", "it is over"]
    assert shell.had_errors
    assert shell.state == PSInvocationState.FAILED


def test_a_restricted_endpoint_runs_commands_and_no_scripts(http_host: Host) -> None:
    with http_host.wsman() as wsman, RunspacePool(wsman, configuration_name="fleetdiagnostics") as pool:
        shell = PowerShell(pool)
        shell.add_cmdlet("Invoke-FleetVisit").add_argument("one").add_parameter("Mode", "member")
        assert shell.invoke() == ["Invoke-FleetVisit", "one", "-Mode", "member"]
        assert http_host.site.asked[-1] == Request(
            "", "Invoke-FleetVisit", ("one", "-Mode", "member"), ACCOUNT
        )
        shell.close()
    asked = len(http_host.site.asked)
    failed = http_host.run("hello", configuration="FleetDiagnostics")
    assert failed.had_errors
    assert "no-language mode" in str(failed.streams.error[0])
    assert len(http_host.site.asked) == asked


def test_a_pipeline_of_two_commands_is_an_error_and_no_silence(http_host: Host) -> None:
    with http_host.wsman() as wsman, RunspacePool(wsman) as pool:
        shell = PowerShell(pool)
        shell.add_script("one").add_cmdlet("Out-String")
        shell.invoke()
        assert shell.had_errors
        shell.close()


def test_an_endpoint_that_is_not_there_is_a_fault(http_host: Host) -> None:
    with pytest.raises(WSManFaultError) as caught:
        http_host.run("hello", configuration="Nowhere")
    assert caught.value.code == 2150858811
    assert "powershell/Nowhere" in caught.value.reason


@pytest.mark.parametrize(
    "options",
    [
        {"auth": "basic"},
        {"auth": "negotiate"},
        {"auth": "ntlm"},
        {"auth": "ntlm", "encryption": "always"},
        {"auth": "basic", "username": "OPS@corp.example"},
        {"auth": "basic", "username": "local", "password": "other"},
    ],
)
def test_pypsrp_runs_a_script_over_https(https_host: Host, options: dict[str, Any]) -> None:
    assert https_host.run("hello", **options).output == ["hello"]
    assert https_host.counters.shells_open == 0


def test_a_certificate_is_mapped_to_its_account(https_host: Host) -> None:
    client = https_host.site.client
    options = {
        "auth": "certificate",
        "certificate_pem": str(client.certificate),
        "certificate_key_pem": str(client.key),
    }
    https_host.run("hello", **options)
    assert https_host.site.asked[-1].user == "CORP\\robot"
    stranger = https_host.site.authority.client("stranger")
    options |= {"certificate_pem": str(stranger.certificate), "certificate_key_pem": str(stranger.key)}
    refusals = https_host.counters.refusals
    with pytest.raises(AuthenticationError):
        https_host.run("hello", **options)
    assert https_host.counters.refusals == refusals + 1


@pytest.mark.parametrize("auth", ["ntlm", "negotiate", "basic"])
def test_a_wrong_password_is_one_refused_attempt(https_host: Host, auth: str) -> None:
    before = https_host.counters.auth_attempts, https_host.counters.refusals
    with pytest.raises(AuthenticationError):
        https_host.run("hello", auth=auth, password="wrong")
    after = https_host.counters.auth_attempts, https_host.counters.refusals
    assert after == (before[0] + 1, before[1] + 1)


def test_basic_is_one_attempt_a_connection(site: Site) -> None:
    with _host(site, is_https=True, auth=EVERYTHING) as host:
        host.run("hello", auth="basic")
        assert host.counters.requests > 5
        assert (host.counters.auth_attempts, host.counters.refusals) == (1, 0)


def test_neither_basic_nor_unsealed_text_is_taken_over_http(site: Site) -> None:
    with _host(site, auth=EVERYTHING) as host, _wire(host) as wire:
        word = base64.b64encode(f"{ACCOUNT}:{PASSWORD}".encode()).decode()
        response = wire.post(b"x", {"Authorization": f"Basic {word}"})
        response.read()
        assert response.status == 401
        assert response.headers.get_all("WWW-Authenticate") == ["Negotiate", "Kerberos"]
        wire.login()
        response = wire.post(envelope(f"{TRANSFER}/Create", "<rsp:Shell/>"), {})
        response.read()
        assert response.status == 500
        assert host.counters.shells_opened == 0


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"is_expired": True}, "expired"),
        ({"is_self_signed": True}, "self-signed"),
        ({"names": ("elsewhere.example",)}, "IP address mismatch"),
    ],
)
def test_certificates_that_a_client_refuses(site: Site, bad: dict[str, Any], word: str) -> None:
    names = bad.pop("names", ("127.0.0.1",)) if "names" in bad else ("127.0.0.1",)
    with (
        _host(site, tls=site.authority.server(*names, **bad), auth=EVERYTHING) as host,
        pytest.raises(requests.exceptions.SSLError, match=word),
    ):
        host.run("hello")
    assert host.counters.auth_attempts == 0


def test_a_server_knows_its_own_fingerprint(https_host: Host) -> None:
    context = ssl.create_default_context(cafile=str(https_host.site.authority.ca_file))
    with (
        socket.create_connection(("127.0.0.1", https_host.port)) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        shown = connection.getpeercert(binary_form=True)
    assert https_host.server._tls is not None
    assert https_host.server._tls.certificate == shown


def test_pywinrm_runs_an_encoded_script(http_host: Host, https_host: Host) -> None:
    for host, transport in ((http_host, "ntlm"), (https_host, "ntlm"), (https_host, "ssl")):
        done = host.session(transport=transport).run_ps("hello ü")
        assert (done.status_code, done.std_out, done.std_err) == (0, "hello ü\r\n".encode(), b"")
    failed = http_host.session().run_ps("fails")
    assert (failed.status_code, failed.std_out) == (1, b"before\r\n")
    assert failed.std_err == b"warning <&>\r\nit is over\r\n"
    assert http_host.session().run_cmd("ipconfig").status_code == 1
    assert http_host.counters.shells_open == https_host.counters.shells_open == 0


def test_pywinrm_is_refused(http_host: Host) -> None:
    session = winrm.Session(
        f"http://127.0.0.1:{http_host.port}/wsman",
        auth=(ACCOUNT, "wrong"),
        transport="ntlm",
        proxy=None,
        ca_trust_path=None,
    )
    with pytest.raises(InvalidCredentialsError):
        session.run_ps("hello")
    session.protocol.transport.close_session()


def test_pypsrp_runs_a_process(http_host: Host) -> None:
    with http_host.wsman() as wsman, WinRS(wsman) as shell:
        encoded = base64.b64encode("big 1 100000".encode("utf-16-le")).decode()
        process = Process(shell, "powershell.exe", ["-NoProfile", "-EncodedCommand", encoded])
        process.invoke()
        assert len(process.stdout) == 100_002
        assert process.rc == 0


# --- the protocol ---


def test_a_poll_ends_when_its_time_is_over_and_loses_nothing(http_host: Host) -> None:
    with http_host.wsman() as wsman, RunspacePool(wsman) as pool:
        shell = PowerShell(pool)
        shell.add_script("slow 1.2")
        shell.begin_invoke()
        receives = http_host.counters.receives
        shell.poll_invoke(timeout=1)
        assert shell.output == []
        shell.end_invoke()
        assert shell.output == ["slow"]
        assert http_host.counters.receives == receives + 2
        shell.close()


def test_a_running_pipeline_is_stopped(http_host: Host) -> None:
    with http_host.wsman() as wsman, RunspacePool(wsman) as pool:
        shell = PowerShell(pool)
        shell.add_script("slow 600")
        shell.begin_invoke()
        shell.stop()
    assert http_host.counters.shells_open == 0


def test_the_same_message_gets_the_same_answer_over_another_connection(http_host: Host) -> None:
    encoded = base64.b64encode("hello".encode("utf-16-le")).decode()
    with _wire(http_host) as first, _wire(http_host) as second:
        first.login()
        second.login()
        _, root = first.ask(envelope(f"{TRANSFER}/Create", "<rsp:Shell/>"))
        shell = text_of(root, "ShellId")
        line = f"<rsp:CommandLine><rsp:Command>powershell -e {encoded}</rsp:Command></rsp:CommandLine>"
        _, root = first.ask(envelope(f"{SHELL}/Command", line, shell=shell))
        command = text_of(root, "CommandId")
        receive = (
            f'<rsp:Receive><rsp:DesiredStream CommandId="{command}">stdout</rsp:DesiredStream></rsp:Receive>'
        )
        question = envelope(f"{SHELL}/Receive", receive, shell=shell, message="uuid:1")
        answers = [text_of(wire.ask(question)[1], "Stream") for wire in (first, second, second)]
        assert [base64.b64decode(text) for text in answers] == [b"hello\r\n"] * 3
        status, _ = second.ask(envelope(f"{TRANSFER}/Delete", shell=shell))
        assert status == 200


def test_what_the_service_has_not_is_a_fault(http_host: Host) -> None:
    with _wire(http_host) as wire:
        wire.login()
        for question, code in (
            (envelope(f"{TRANSFER}/Get", "<rsp:Shell/>"), "2150858753"),
            (envelope("http://example/Nothing"), "2150858753"),
            (envelope(f"{TRANSFER}/Create", "<rsp:Shell/>", resource="http://example/Nothing"), "2150858811"),
            (envelope(f"{TRANSFER}/Delete", shell="nowhere"), "2150858843"),
            (envelope(f"{TRANSFER}/Delete"), "2150858843"),
        ):
            status, root = wire.ask(question)
            assert (status, fault_code(root)) == (500, code)
        response = wire.begin(b"no xml")
        response.read()
        assert response.status == 400


def test_an_identify_is_answered_after_a_login(http_host: Host) -> None:
    identify = (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header/><s:Body>'
        '<i:Identify xmlns:i="http://schemas.dmtf.org/wbem/wsman/identify/1/wsmanidentity.xsd"/>'
        "</s:Body></s:Envelope>"
    )
    with _wire(http_host) as wire:
        status, root = wire.login().ask(identify.encode())
    assert status == 200
    assert "Microsoft Corporation" in "".join(root.itertext())


def test_a_seal_of_another_connection_is_refused(http_host: Host) -> None:
    with _wire(http_host) as wire, _wire(http_host) as other:
        wire.login()
        other.login()
        body = seal(other.context, SPNEGO, envelope(f"{TRANSFER}/Delete"))
        response = wire.post(body, {"Content-Type": sealed_type(SPNEGO)})
        response.read()
        assert response.status == 400


@pytest.mark.parametrize(
    "words",
    [b"GET\r\n\r\n", b"POST /wsman HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"x" * 70_000],
)
def test_bytes_that_are_no_request_are_a_bad_request(http_host: Host, words: bytes) -> None:
    with socket.create_connection(("127.0.0.1", http_host.port), timeout=10) as connection:
        connection.sendall(words)
        assert connection.recv(4096).startswith(b"HTTP/1.1 400")


def test_another_account_has_no_part_in_a_shell(http_host: Host) -> None:
    with http_host.wsman() as wsman, RunspacePool(wsman) as pool:
        with http_host.wsman(username="local", password="other") as other:
            stranger = RunspacePool(other)
            stranger.shell.id = pool.shell.id
            stranger.shell._selector_set = pool.shell._selector_set
            with pytest.raises(WSManFaultError) as caught:
                stranger.shell.receive("stdout")
        assert caught.value.code == 5


def test_one_account_has_so_many_shells(site: Site) -> None:
    with _host(site, quota=2) as host, host.wsman() as wsman:
        with RunspacePool(wsman), RunspacePool(wsman):
            assert host.counters.most_shells == 2
            with pytest.raises(WSManFaultError) as caught:
                RunspacePool(wsman).open()
            assert caught.value.code == 2150859173
            host.run("hello", username="local", password="other")
        assert host.run("hello").output == ["hello"]
        assert host.counters.shells_open == 0


def test_the_date_is_off_as_far_as_it_is_told(site: Site) -> None:
    dates = []
    for offset in (0, 3600):
        with _host(site, clock_offset_s=offset) as host, _wire(host) as wire:
            response = wire.post(b"", {})
            response.read()
            dates.append(parsedate_to_datetime(response.headers["Date"]))
    assert 3590 < (dates[1] - dates[0]).total_seconds() < 3660


def test_a_bug_is_told_loudly(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.CRITICAL + 1),
        pytest.raises(LookupError, match="no such host"),
        _host(site) as host,
        pytest.raises(WinRMTransportError) as caught,
    ):
        host.run("bug")
    assert caught.value.code == 500


def test_closing_ends_what_is_open(site: Site) -> None:
    with _host(site) as host:
        wsman = host.wsman()
        pool = RunspacePool(wsman)
        pool.open()
        shell = PowerShell(pool)
        shell.add_script("slow 600")
        shell.begin_invoke()
        idle = socket.create_connection(("127.0.0.1", host.port), timeout=10)
    with idle:
        assert idle.recv(1) == b""
    with pytest.raises(requests.exceptions.ConnectionError):
        pool.close()
    wsman.close()
    # The client left one open, and this is still to be seen.
    assert host.counters.shells_open == 1
    assert site.run(_tasks()) == set()


def test_accounts_lie_in_a_private_file(site: Site) -> None:
    path = site.folder / NTLM_USERS_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in path.read_text()
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in site.folder.iterdir())
    assert not list(site.folder.glob("server*"))


# --- the faults ---


@pytest.mark.parametrize(
    ("fault", "code", "opened", "left"),
    [
        (WinrmFault.ACCESS_DENIED, 5, 0, 0),
        (WinrmFault.SHELL_QUOTA, 2150859173, 0, 0),
        (WinrmFault.SHELL_LOST, 2150858843, 1, 0),
        (WinrmFault.DELETE_FAILS, 995, 1, 1),
    ],
)
def test_faults_that_have_a_code(site: Site, fault: WinrmFault, code: int, opened: int, left: int) -> None:
    with _host(site, fault=fault) as host:
        with pytest.raises(WSManFaultError) as caught:
            host.run("hello")
        assert caught.value.code == code
        assert (host.counters.shells_opened, host.counters.shells_open) == (opened, left)


def test_every_login_is_refused(site: Site) -> None:
    for options in ({}, {"is_https": True, "auth": EVERYTHING}):
        with _host(site, fault=WinrmFault.WRONG_PASSWORD, **options) as host:  # type: ignore[arg-type]
            with pytest.raises(AuthenticationError):
                host.run("hello", auth="basic" if options else "negotiate")
            assert (host.counters.auth_attempts, host.counters.refusals) == (1, 1)


def test_some_polls_time_out(site: Site) -> None:
    with _host(site, fault=WinrmFault.TIMED_OUT_POLLING) as host:
        assert host.run("hello").output == ["hello"]
        # One for the shell itself, and the one that brings the output.
        assert host.counters.receives == TIMED_OUT_POLLS + 2


def test_a_channel_binding_that_must_be_there(site: Site) -> None:
    for fault, is_let_in in ((WinrmFault.NONE, True), (WinrmFault.STRICT_CHANNEL_BINDING, False)):
        with _host(site, is_https=True, fault=fault) as host:
            assert host.run("hello").output == ["hello"]
            if is_let_in:
                assert host.run("hello", negotiate_send_cbt=False).output == ["hello"]
                continue
            with pytest.raises(AuthenticationError):
                host.run("hello", negotiate_send_cbt=False)


def test_a_wrong_channel_binding_is_never_let_in(https_host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    binding = "pypsrp.negotiate.HTTPNegotiateAuth._get_cbt_data"
    monkeypatch.setattr(binding, lambda _: b"tls-server-end-point:" + bytes(32))
    with pytest.raises(AuthenticationError):
        https_host.run("hello", auth="ntlm")


@pytest.mark.parametrize(
    ("fault", "error", "left"),
    [
        (WinrmFault.GARBAGE_HTTP, requests.exceptions.ConnectionError, 0),
        (WinrmFault.UNAVAILABLE, WinRMTransportError, 0),
        (WinrmFault.CLOSES_AFTER_401, AuthenticationError, 0),
        (WinrmFault.GARBAGE_XML, ET.ParseError, 1),
        (WinrmFault.BAD_SEAL, BadMICError, 1),
        (WinrmFault.WRONG_RELATES_TO, WinRMError, 1),
        (WinrmFault.RESET, requests.exceptions.ConnectionError, 1),
        (WinrmFault.FIN, requests.exceptions.ConnectionError, 1),
        (WinrmFault.TRUNCATED, requests.exceptions.ChunkedEncodingError, 1),
    ],
)
def test_faults_that_break_a_visit(site: Site, fault: WinrmFault, error: type[Exception], left: int) -> None:
    with _host(site, fault=fault) as host:
        wsman = host.wsman()
        pool = RunspacePool(wsman)
        with pytest.raises(error):
            pool.open()
            PowerShell(pool).add_script("hello").invoke()
        wsman.close()
        assert host.counters.shells_open == left
        if left:
            _delete(host, pool.id)
            assert host.counters.shells_open == 0


def _delete(host: Host, shell: str) -> None:
    """A shell that a fault has left is deleted over another connection."""
    with _wire(host) as wire:
        status, _ = wire.login().ask(envelope(f"{TRANSFER}/Delete", shell=shell, resource=POWERSHELL))
        assert status == 200


def test_an_answer_in_clear_text(site: Site) -> None:
    with _host(site, fault=WinrmFault.UNSEALED_ANSWER) as host, _wire(host) as wire:
        response = wire.login().begin(envelope(f"{TRANSFER}/Create", "<rsp:Shell/>"))
        assert response.headers["Content-Type"].startswith("application/soap+xml")
        assert b"ResourceCreated" in response.read()


def test_a_redirect(site: Site) -> None:
    with (
        _host(site) as other,
        _host(site, fault=WinrmFault.REDIRECT, redirect_to=f"http://127.0.0.1:{other.port}/wsman") as host,
    ):
        # Which pypsrp follows, login and all.
        assert host.run("hello").output == ["hello"]
        assert host.counters.auth_attempts == 0
        assert other.counters.auth_attempts == 1


@pytest.mark.parametrize("is_https", [False, True])
@pytest.mark.parametrize("fault", [WinrmFault.HANG_AT_ACCEPT, WinrmFault.HANG_AT_LOGIN])
def test_hosts_that_are_silent_before_a_login(site: Site, fault: WinrmFault, is_https: bool) -> None:
    with _host(site, fault=fault, is_https=is_https) as host:
        context = ssl.create_default_context(cafile=str(site.authority.ca_file))
        raw = socket.create_connection(("127.0.0.1", host.port), timeout=QUIET_S)
        with raw:
            if is_https and fault is WinrmFault.HANG_AT_ACCEPT:
                with pytest.raises(TimeoutError):
                    context.wrap_socket(raw, server_hostname="localhost")
                return
            connection = context.wrap_socket(raw, server_hostname="localhost") if is_https else raw
            with connection:
                connection.sendall(b"POST /wsman HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
                with pytest.raises(TimeoutError):
                    connection.recv(1)


def test_a_host_that_is_silent_at_create_has_made_the_shell(site: Site) -> None:
    with _host(site, fault=WinrmFault.HANG_AT_CREATE) as host:
        wsman = host.wsman(read_timeout=QUIET_S)
        pool = RunspacePool(wsman)
        with pytest.raises(requests.exceptions.ReadTimeout):
            pool.open()
        wsman.close()
        assert host.counters.shells_open == 1
        _delete(host, pool.id)
        assert host.counters.shells_open == 0


@contextmanager
def _polled(host: Host) -> Iterator[Wire]:
    """The connection that polled a command, and has read nothing of the answer."""
    encoded = base64.b64encode("hello".encode("utf-16-le")).decode()
    with _wire(host) as wire:
        _, root = wire.login().ask(envelope(f"{TRANSFER}/Create", "<rsp:Shell/>"))
        shell = text_of(root, "ShellId")
        line = f"<rsp:CommandLine><rsp:Command>powershell -e {encoded}</rsp:Command></rsp:CommandLine>"
        _, root = wire.ask(envelope(f"{SHELL}/Command", line, shell=shell))
        stream = f'<rsp:DesiredStream CommandId="{text_of(root, "CommandId")}">stdout</rsp:DesiredStream>'
        assert wire.connection.sock
        wire.connection.sock.settimeout(QUIET_S)
        text = envelope(f"{SHELL}/Receive", f"<rsp:Receive>{stream}</rsp:Receive>", shell=shell)
        body = seal(wire.context, SPNEGO, text)
        wire.connection.request("POST", "/wsman", body, {"Content-Type": sealed_type(SPNEGO)})
        yield wire


def test_a_host_that_is_silent_at_a_poll(site: Site) -> None:
    fault = WinrmFault.HANG_AT_RECEIVE
    with _host(site, fault=fault) as host, _polled(host) as wire, pytest.raises(TimeoutError):
        wire.connection.getresponse()


def test_a_host_that_trickles(site: Site) -> None:
    with _host(site, fault=WinrmFault.TRICKLE) as host, _polled(host) as wire:
        assert wire.connection.sock
        assert wire.connection.sock.recv(100) == b"HTTP"[:TRICKLE_BYTES]
        with pytest.raises(TimeoutError):
            wire.connection.sock.recv(100)


def test_an_answer_without_an_end(site: Site) -> None:
    with _host(site, fault=WinrmFault.ENDLESS_BODY) as host, _polled(host) as wire:
        response = wire.connection.getresponse()
        assert len(response.read(8 << 20)) == 8 << 20


def test_output_without_an_end(site: Site) -> None:
    with _host(site, fault=WinrmFault.ENDLESS_OUTPUT) as host:
        wsman = host.wsman()
        pool = RunspacePool(wsman)
        pool.open()
        shell = PowerShell(pool)
        shell.add_script("hello")
        shell.begin_invoke()
        for _ in range(5):
            shell.poll_invoke()
        assert sum(len(text) for text in shell.output) > 500_000
        assert shell.state == PSInvocationState.RUNNING
        pool.close()
        wsman.close()
        assert host.counters.shells_open == 0


def test_every_fault_is_tried_here() -> None:
    text = Path(__file__).read_text("utf-8")
    assert [fault.name for fault in WinrmFault if f"WinrmFault.{fault.name}" not in text] == []
