"""The simulated WinRM service, as unmodified pypsrp and pywinrm see it, and on the wire."""

from __future__ import annotations

import base64
import logging
import socket
import ssl
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import requests
import winrm
from psrpcore.types import PSRPMessageType
from pypsrp.complex_objects import PSInvocationState
from pypsrp.exceptions import AuthenticationError, WinRMTransportError, WSManFaultError
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.shell import Process, WinRS
from winrm.exceptions import InvalidCredentialsError

from fleet.lab.winrm.messages import Message, error_text, fragments
from fleet.lab.winrm.seal import SPNEGO, seal, sealed_type, unseal
from fleet.lab.winrm.users import NTLM_USERS_FILE, User, Users
from fleet.lab.winrm.words import (
    Request,
)
from tests.unit.lab.winrm_hosts import (
    ACCOUNT,
    EVERYTHING,
    PASSWORD,
    POWERSHELL,
    SHELL,
    TRANSFER,
    Host,
    Site,
    Wire,
    envelope,
    fault_code,
    running_host,
    tasks,
    text_of,
    wait_until,
    wire_to,
)


@pytest.fixture(scope="module")
def http_host(site: Site) -> Iterator[Host]:
    with running_host(site, configurations=("FleetDiagnostics",)) as host:
        yield host


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
    script = "# a comment" + "x" * 500_000
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


@pytest.mark.parametrize("script", ["a\x01b\r\n_x0041_ 𝔘 <&>", "_x000A_ and _X0041_", "a\nb\r\n"])
def test_text_that_xml_cannot_hold_arrives_as_it_was(http_host: Host, script: str) -> None:
    assert http_host.run(script).output == [script]


def test_messages_are_as_windows_writes_them() -> None:
    (fragment,) = fragments(7, Message(PSRPMessageType.PipelineOutput, uuid.uuid4(), None, b"<S>x</S>"))
    # The heads of the fragment and of the message, then the mark of UTF-8.
    assert fragment[21 + 40 :] == b"\xef\xbb\xbf<S>x</S>"
    assert ET.fromstring(error_text("it is over")).findtext("ToString") == "it is over"


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
    with running_host(site, is_https=True, auth=EVERYTHING) as host:
        host.run("hello", auth="basic")
        assert host.counters.requests > 5
        assert (host.counters.auth_attempts, host.counters.refusals) == (1, 0)


def test_neither_basic_nor_unsealed_text_is_taken_over_http(site: Site) -> None:
    with running_host(site, auth=EVERYTHING) as host, wire_to(host) as wire:
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
    ("name", "bad", "word"),
    [
        ("127.0.0.1", {"is_expired": True}, "expired"),
        ("127.0.0.1", {"is_self_signed": True}, "self-signed"),
        ("elsewhere.example", {}, "IP address mismatch"),
    ],
)
def test_certificates_that_a_client_refuses(site: Site, name: str, bad: dict[str, bool], word: str) -> None:
    with (
        running_host(site, tls=site.authority.server(name, **bad), auth=EVERYTHING) as host,
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
        shell.add_script("held")
        shell.begin_invoke()
        receives = http_host.counters.receives
        shell.poll_invoke(timeout=1)
        assert shell.output == []
        http_host.site.loop.call_soon_threadsafe(http_host.site.is_released.set)
        shell.end_invoke()
        assert shell.output == ["let go"]
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
    with wire_to(http_host) as first, wire_to(http_host) as second:
        shell, command = _running_command(first.login(), "hello")
        question = _poll(shell, command, "uuid:1")
        second.login()
        answers = [text_of(wire.ask(question)[1], "Stream") for wire in (first, second, second)]
        assert [base64.b64decode(text) for text in answers] == [b"hello\r\n"] * 3
        status, _ = second.ask(envelope(f"{TRANSFER}/Delete", shell=shell))
        assert status == 200


def _running_command(wire: Wire, script: str) -> tuple[str, str]:
    """A shell and a command in it that runs this."""
    encoded = base64.b64encode(script.encode("utf-16-le")).decode()
    _, root = wire.ask(envelope(f"{TRANSFER}/Create", "<rsp:Shell/>"))
    shell = text_of(root, "ShellId")
    line = f"<rsp:CommandLine><rsp:Command>powershell -e {encoded}</rsp:Command></rsp:CommandLine>"
    _, root = wire.ask(envelope(f"{SHELL}/Command", line, shell=shell))
    return shell, text_of(root, "CommandId")


def _poll(shell: str, command: str, message: str | None = None) -> bytes:
    stream = f'<rsp:DesiredStream CommandId="{command}">stdout</rsp:DesiredStream>'
    body = f"<rsp:Receive>{stream}</rsp:Receive>"
    return envelope(f"{SHELL}/Receive", body, shell=shell, message=message)


def test_who_polls_is_told_that_the_shell_is_deleted(http_host: Host) -> None:
    with wire_to(http_host) as polling, wire_to(http_host) as deleting:
        shell, command = _running_command(polling.login(), "slow 600")
        before = http_host.counters.receives
        body = seal(polling.context, SPNEGO, _poll(shell, command))
        polling.connection.request("POST", "/wsman", body, {"Content-Type": sealed_type(SPNEGO)})
        deleting.login()
        wait_until(lambda: http_host.counters.receives > before)
        deleting.ask(envelope(f"{TRANSFER}/Delete", shell=shell))
        response = polling.connection.getresponse()
        root = ET.fromstring(unseal(polling.context, response.read()))
        assert (response.status, fault_code(root)) == (500, "995")


def test_what_the_service_has_not_is_a_fault(http_host: Host) -> None:
    with wire_to(http_host) as wire:
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
    with wire_to(http_host) as wire:
        status, root = wire.login().ask(identify.encode())
    assert status == 200
    assert "Microsoft Corporation" in "".join(root.itertext())


def test_a_seal_of_another_connection_is_refused(http_host: Host) -> None:
    with wire_to(http_host) as wire, wire_to(http_host) as other:
        wire.login()
        other.login()
        body = seal(other.context, SPNEGO, envelope(f"{TRANSFER}/Delete"))
        response = wire.post(body, {"Content-Type": sealed_type(SPNEGO)})
        response.read()
        assert response.status == 400


@pytest.mark.parametrize("data", [b"short", bytes(20) + b"\xff", bytes(16) + b"\x03\x00\x00\x00\x05short"])
def test_fragments_that_make_no_sense_are_a_fault(http_host: Host, data: bytes) -> None:
    text = base64.b64encode(data).decode()
    creation = f'<creationXml xmlns="http://schemas.microsoft.com/powershell">{text}</creationXml>'
    with wire_to(http_host) as wire:
        question = envelope(f"{TRANSFER}/Create", f"<rsp:Shell>{creation}</rsp:Shell>", resource=POWERSHELL)
        status, root = wire.login().ask(question)
        assert (status, fault_code(root)) == (500, "2150858820")
    assert http_host.counters.shells_open == 0


def test_arguments_that_are_no_text(http_host: Host) -> None:
    with http_host.wsman() as wsman, RunspacePool(wsman) as pool:
        shell = PowerShell(pool)
        shell.add_script("hello").add_argument(5).add_argument(True).add_argument(None)
        assert shell.invoke() == ["hello", "5", "true", ""]
        shell.close()


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
    with running_host(site, quota=2) as host, host.wsman() as wsman:
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
        with running_host(site, clock_offset_s=offset) as host, wire_to(host) as wire:
            response = wire.post(b"", {})
            response.read()
            dates.append(parsedate_to_datetime(response.headers["Date"]))
    assert 3590 < (dates[1] - dates[0]).total_seconds() < 3660


def test_a_bug_is_told_loudly(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.CRITICAL + 1),
        pytest.raises(LookupError, match="no such host"),
        running_host(site) as host,
        pytest.raises(WinRMTransportError) as caught,
    ):
        host.run("bug")
    assert caught.value.code == 500


def test_closing_ends_what_is_open(site: Site) -> None:
    with running_host(site) as host:
        wsman = host.wsman()
        pool = RunspacePool(wsman)
        pool.open()
        shell = PowerShell(pool)
        shell.add_script("slow 600")
        shell.begin_invoke()
        idle = socket.create_connection(("127.0.0.1", host.port), timeout=10)
    # Closed by who had taken it, or by the kernel for who had not yet.
    with idle, suppress(ConnectionResetError):
        assert idle.recv(1) == b""
    with pytest.raises(requests.exceptions.ConnectionError):
        pool.close()
    wsman.close()
    # The client left one open, and this is still to be seen.
    assert host.counters.shells_open == 1
    assert site.run(tasks()) == set()


def test_closing_ends_a_handshake(site: Site) -> None:
    with running_host(site, is_https=True) as host:
        half = socket.create_connection(("127.0.0.1", host.port), timeout=10)
        half.sendall(b"\x16\x03\x01")
        wait_until(lambda: host.counters.connections == 1)
    with half:
        assert half.recv(100) == b""


def test_two_labs_in_one_process_have_their_own_accounts(http_host: Host, tmp_path: Path) -> None:
    users = Users(tmp_path, [User(name="ops", password="another", domain="CORP")])
    with running_host(replace(http_host.site, users=users)) as other:
        for _ in range(2):
            assert http_host.run("hello").output == ["hello"]
            assert other.run("hello", password="another").output == ["hello"]
        with pytest.raises(AuthenticationError):
            other.run("hello")
    users.close()
    assert not list(tmp_path.iterdir())


def test_accounts_lie_in_a_private_file(site: Site) -> None:
    path = site.folder / NTLM_USERS_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in path.read_text()
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in site.folder.iterdir())
    assert not list(site.folder.glob("server*"))
