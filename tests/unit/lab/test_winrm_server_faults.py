"""How simulated WinRM hosts misbehave, each as its word says."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import requests
from pypsrp.complex_objects import PSInvocationState
from pypsrp.exceptions import AuthenticationError, WinRMError, WinRMTransportError, WSManFaultError
from pypsrp.powershell import PowerShell, RunspacePool
from spnego.exceptions import BadMICError

from fleet.lab.winrm.words import (
    TIMED_OUT_POLLS,
    TRICKLE_BYTES,
    WinrmFault,
)
from tests.unit.lab.winrm_hosts import (
    EVERYTHING,
    POWERSHELL,
    QUIET_S,
    SHELL,
    TRANSFER,
    Host,
    Site,
    envelope,
    is_silent,
    running_host,
    text_of,
    wire_to,
)

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
    with running_host(site, fault=fault) as host:
        with pytest.raises(WSManFaultError) as caught:
            host.run("hello")
        assert caught.value.code == code
        assert (host.counters.shells_opened, host.counters.shells_open) == (opened, left)


def test_every_login_is_refused(site: Site) -> None:
    for options in ({}, {"is_https": True, "auth": EVERYTHING}):
        with running_host(site, fault=WinrmFault.WRONG_PASSWORD, **options) as host:  # type: ignore[arg-type]
            with pytest.raises(AuthenticationError):
                host.run("hello", auth="basic" if options else "negotiate")
            assert (host.counters.auth_attempts, host.counters.refusals) == (1, 1)


def test_some_polls_time_out(site: Site) -> None:
    with running_host(site, fault=WinrmFault.TIMED_OUT_POLLING) as host:
        assert host.run("hello").output == ["hello"]
        # One for the shell itself, and the one that brings the output.
        assert host.counters.receives == TIMED_OUT_POLLS + 2


def test_a_channel_binding_that_must_be_there(site: Site) -> None:
    for fault, is_let_in in ((WinrmFault.NONE, True), (WinrmFault.STRICT_CHANNEL_BINDING, False)):
        with running_host(site, is_https=True, fault=fault) as host:
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
        (WinrmFault.GARBAGE_XML, ET.ParseError, 1),
        (WinrmFault.BAD_SEAL, BadMICError, 1),
        (WinrmFault.WRONG_RELATES_TO, WinRMError, 1),
        (WinrmFault.RESET, requests.exceptions.ConnectionError, 1),
        (WinrmFault.FIN, requests.exceptions.ConnectionError, 1),
        (WinrmFault.TRUNCATED, requests.exceptions.ChunkedEncodingError, 1),
    ],
)
def test_faults_that_break_a_visit(site: Site, fault: WinrmFault, error: type[Exception], left: int) -> None:
    with running_host(site, fault=fault) as host:
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
    with wire_to(host) as wire:
        status, _ = wire.login().ask(envelope(f"{TRANSFER}/Delete", shell=shell, resource=POWERSHELL))
        assert status == 200


def test_a_connection_that_ends_where_the_login_begins(site: Site) -> None:
    with running_host(site, fault=WinrmFault.CLOSES_AFTER_401) as host, wire_to(host) as wire:
        response = wire.post(b"", {})
        assert (response.status, response.read()) == (401, b"")
        assert response.headers["Connection"] is None
        assert wire.socket.recv(1) == b""


def test_an_answer_in_clear_text(site: Site) -> None:
    with running_host(site, fault=WinrmFault.UNSEALED_ANSWER) as host, wire_to(host) as wire:
        response = wire.login().begin(envelope(f"{TRANSFER}/Create", "<rsp:Shell/>"))
        assert response.headers["Content-Type"].startswith("application/soap+xml")
        assert b"ResourceCreated" in response.read()


def test_a_redirect(site: Site) -> None:
    with (
        running_host(site) as other,
        running_host(
            site, fault=WinrmFault.REDIRECT, redirect_to=f"http://127.0.0.1:{other.port}/wsman"
        ) as host,
    ):
        # Which pypsrp follows, login and all.
        assert host.run("hello").output == ["hello"]
        assert host.counters.auth_attempts == 0
        assert other.counters.auth_attempts == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [(WinrmFault.CONNECTION_REFUSED, ConnectionRefusedError), (WinrmFault.NO_ANSWER, TimeoutError)],
)
def test_hosts_that_take_no_connection(site: Site, fault: WinrmFault, error: type[OSError]) -> None:
    with running_host(site, fault=fault) as host, pytest.raises(error):
        socket.create_connection(("127.0.0.1", host.port), timeout=QUIET_S)
    assert host.counters.connections == 0


@pytest.mark.parametrize("fault", [WinrmFault.HANG_AT_ACCEPT, WinrmFault.HANG_AT_LOGIN])
def test_hosts_that_are_silent_before_a_login(site: Site, fault: WinrmFault) -> None:
    with (
        running_host(site, fault=fault) as host,
        socket.create_connection(("127.0.0.1", host.port), timeout=10) as connection,
    ):
        connection.sendall(b"POST /wsman HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        assert is_silent(connection)


def test_hosts_that_are_silent_before_a_login_over_tls(site: Site) -> None:
    context = ssl.create_default_context(cafile=str(site.authority.ca_file))
    with (
        running_host(site, fault=WinrmFault.HANG_AT_LOGIN, is_https=True) as host,
        socket.create_connection(("127.0.0.1", host.port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        connection.sendall(b"POST /wsman HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        assert is_silent(connection)
    with (
        running_host(site, fault=WinrmFault.HANG_AT_ACCEPT, is_https=True) as host,
        socket.create_connection(("127.0.0.1", host.port), timeout=QUIET_S) as raw,
        pytest.raises(TimeoutError),
    ):
        context.wrap_socket(raw, server_hostname="localhost")


def test_a_host_that_is_silent_at_create_has_made_the_shell(site: Site) -> None:
    with running_host(site, fault=WinrmFault.HANG_AT_CREATE) as host, wire_to(host) as wire:
        wire.login().say(envelope(f"{TRANSFER}/Create", '<rsp:Shell ShellId="ONE"/>'))
        assert is_silent(wire.socket)
        assert host.counters.shells_open == 1
        _delete(host, "ONE")
        assert host.counters.shells_open == 0


@contextmanager
def _polled(host: Host) -> Iterator[socket.socket]:
    """The connection that polled a command, with nothing read of the answer."""
    encoded = base64.b64encode("hello".encode("utf-16-le")).decode()
    with wire_to(host) as wire:
        _, root = wire.login().ask(envelope(f"{TRANSFER}/Create", "<rsp:Shell/>"))
        shell = text_of(root, "ShellId")
        line = f"<rsp:CommandLine><rsp:Command>powershell -e {encoded}</rsp:Command></rsp:CommandLine>"
        _, root = wire.ask(envelope(f"{SHELL}/Command", line, shell=shell))
        stream = f'<rsp:DesiredStream CommandId="{text_of(root, "CommandId")}">stdout</rsp:DesiredStream>'
        wire.say(envelope(f"{SHELL}/Receive", f"<rsp:Receive>{stream}</rsp:Receive>", shell=shell))
        yield wire.socket


def test_a_host_that_is_silent_at_a_poll(site: Site) -> None:
    fault = WinrmFault.HANG_AT_RECEIVE
    with running_host(site, fault=fault) as host, _polled(host) as connection:
        assert is_silent(connection)


def test_a_connection_that_ends_where_the_output_begins(site: Site) -> None:
    with (
        running_host(site, fault=WinrmFault.RESET) as host,
        _polled(host) as connection,
        pytest.raises(ConnectionResetError),
    ):
        connection.recv(1)
    with running_host(site, fault=WinrmFault.FIN) as host, _polled(host) as connection:
        assert connection.recv(1) == b""


def test_a_host_that_trickles(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleet.lab.winrm.faults.TRICKLE_EVERY_S", 600)
    with running_host(site, fault=WinrmFault.TRICKLE) as host, _polled(host) as connection:
        assert connection.recv(100) == b"HTTP"[:TRICKLE_BYTES]
        assert is_silent(connection)


def test_an_answer_without_an_end(site: Site) -> None:
    with running_host(site, fault=WinrmFault.ENDLESS_BODY) as host, _polled(host) as connection:
        read = 0
        while read < 8 << 20:
            piece = connection.recv(1 << 20)
            assert piece
            read += len(piece)


def test_output_without_an_end(site: Site) -> None:
    with running_host(site, fault=WinrmFault.ENDLESS_OUTPUT) as host:
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
