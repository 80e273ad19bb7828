"""The WinRM transport against simulated hosts: ways to log in, certificates, proxies, accounts, workers."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from fleet.collect.guard import PasswordGuard
from fleet.errors import AuthError, CredentialError, HostError, IdentityError, RemoteError, UnreachableError
from fleet.lab.winrm.login import ServerAuth
from fleet.lab.winrm.words import Reply, Request, WinrmFault
from fleet.model.host import Host
from fleet.model.words import Phase, WinrmAuth
from fleet.transport.winrm.transport import WinrmTransport
from tests.contract.winrm_site import PASSWORD, RIGHT, Estate, made_estate, opened, visit
from tests.fakes import FakeSecrets

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANSWER = "echo\none\nzwei ü\n"
HTTPS_AUTH = (ServerAuth.NEGOTIATE, ServerAuth.BASIC, ServerAuth.CERTIFICATE)


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    with made_estate(tmp_path_factory.mktemp("winrm")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def transport() -> AsyncIterator[WinrmTransport]:
    async with WinrmTransport(connect_s=10, concurrency=2) as made:
        yield made


async def told(transport: WinrmTransport, host: Host, password: str = RIGHT) -> HostError:
    with pytest.raises(HostError) as caught:
        await visit(transport, host, "echo", password=password)
    return caught.value


class TestLogin:
    @pytest.mark.parametrize("auth", [WinrmAuth.NEGOTIATE, WinrmAuth.NTLM])
    @pytest.mark.parametrize("user", ["CORP\\ops", "ops@corp.example"])
    async def test_http_sealed(
        self, estate: Estate, transport: WinrmTransport, auth: WinrmAuth, user: str
    ) -> None:
        async with estate.serving() as port:
            host = estate.host(port, auth=auth, user=user)
            out, errors = await visit(transport, host, "echo", "one", "zwei ü")
            assert out == ANSWER
            assert "trouble" in errors
            assert estate.servers[port].counters.auth_attempts == 1

    @pytest.mark.parametrize("auth", [WinrmAuth.NEGOTIATE, WinrmAuth.NTLM, WinrmAuth.BASIC])
    async def test_https(self, estate: Estate, transport: WinrmTransport, auth: WinrmAuth) -> None:
        async with estate.serving(is_https=True, auth=HTTPS_AUTH) as port:
            host = estate.host(port, is_https=True, auth=auth)
            assert (await visit(transport, host, "echo", "one", "zwei ü"))[0] == ANSWER

    async def test_a_certificate_as_login(self, estate: Estate, transport: WinrmTransport) -> None:
        files = {"client_cert": str(estate.client.certificate), "client_key": str(estate.client.key)}
        async with estate.serving(is_https=True, auth=HTTPS_AUTH) as port:
            host = estate.host(port, is_https=True, auth=WinrmAuth.CERTIFICATE, password=None, **files)
            assert (await visit(transport, host, "echo", "one", "zwei ü"))[0] == ANSWER

    @pytest.mark.parametrize("auth", [WinrmAuth.BASIC, WinrmAuth.CERTIFICATE])
    async def test_plain_http_without_a_seal_is_refused_before_anything_is_sent(
        self, estate: Estate, transport: WinrmTransport, auth: WinrmAuth
    ) -> None:
        async with estate.serving() as port:
            error = await told(transport, estate.host(port, auth=auth))
            assert isinstance(error, CredentialError)
            assert "nothing was sent" in str(error)
            assert estate.servers[port].counters.connections == 0

    async def test_a_host_without_the_login(self, estate: Estate, transport: WinrmTransport) -> None:
        async with estate.serving(is_https=True, auth=(ServerAuth.BASIC,)) as port:
            error = await told(transport, estate.host(port, is_https=True))
            assert isinstance(error, AuthError)
            assert "only Basic" in str(error)
            assert estate.servers[port].counters.auth_attempts == 0

    @pytest.mark.parametrize(
        ("auth", "move"), [(WinrmAuth.NEGOTIATE, "forbids NTLM"), (WinrmAuth.BASIC, "local accounts only")]
    )
    async def test_a_refusal_is_final_and_says_no_more_than_it_knows(
        self, estate: Estate, transport: WinrmTransport, auth: WinrmAuth, move: str
    ) -> None:
        async with estate.serving(is_https=True, auth=HTTPS_AUTH) as port:
            error = await told(transport, estate.host(port, is_https=True, auth=auth), password="other")
            counters = estate.servers[port].counters
            assert isinstance(error, AuthError)
            assert "refused the login of CORP\\ops" in str(error)
            assert "Negotiate" in str(error)
            assert "wrong password" not in str(error)
            assert move in error.action
            assert "event 4625" in error.action.lower()
            assert (counters.auth_attempts, counters.refusals) == (1, 1)

    async def test_a_refused_account_without_a_domain_may_be_anothers(
        self, estate: Estate, transport: WinrmTransport
    ) -> None:
        async with estate.serving() as port:
            error = await told(transport, estate.host(port, user="ops"), password="other")
        assert isinstance(error, AuthError)
        assert r"'DOM\user'" in error.action

    @pytest.mark.parametrize(("offset_s", "words"), [(-420, "7 min behind"), (420, "7 min ahead")])
    async def test_a_refusal_keeps_the_hosts_clock(
        self, estate: Estate, transport: WinrmTransport, offset_s: int, words: str
    ) -> None:
        async with estate.serving(fault=WinrmFault.WRONG_PASSWORD, clock_offset_s=offset_s) as port:
            assert words in str(await told(transport, estate.host(port)))

    async def test_a_clock_that_is_right_is_not_mentioned(
        self, estate: Estate, transport: WinrmTransport
    ) -> None:
        async with estate.serving(fault=WinrmFault.WRONG_PASSWORD, clock_offset_s=200) as port:
            assert "clock" not in str(await told(transport, estate.host(port)))

    async def test_two_refusals_suspend_a_password(self, estate: Estate, transport: WinrmTransport) -> None:
        guard = PasswordGuard()
        async with estate.serving() as port:
            for kind in (AuthError, AuthError, CredentialError, CredentialError):
                with pytest.raises(kind):
                    await visit(transport, estate.host(port), "echo", password="other", guard=guard)
            assert estate.servers[port].counters.auth_attempts == 2

    async def test_a_password_is_proved_by_one_host_at_a_time(
        self, estate: Estate, transport: WinrmTransport
    ) -> None:
        guard = PasswordGuard()
        async with estate.serving() as port:
            visits = (
                visit(transport, estate.host(port), "echo", password="x", guard=guard) for _ in range(9)
            )
            results = await asyncio.gather(*visits, return_exceptions=True)
            assert (
                sorted(type(result).__name__ for result in results)
                == ["AuthError"] * 2 + ["CredentialError"] * 7
            )
            assert estate.servers[port].counters.auth_attempts == 2

    async def test_kerberos_without_its_extra(
        self, estate: Estate, transport: WinrmTransport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fleet.transport.winrm.ticket_cache.importlib.util.find_spec", lambda _: None)
        error = await told(transport, estate.host(5985, auth=WinrmAuth.KERBEROS))
        assert isinstance(error, CredentialError)
        assert "[kerberos]" in error.action

    async def test_ntlm_without_a_password(self, estate: Estate, transport: WinrmTransport) -> None:
        error = await told(transport, estate.host(5985, auth=WinrmAuth.NTLM, password=None))
        assert isinstance(error, CredentialError)


class TestCertificate:
    async def told(
        self, estate: Estate, transport: WinrmTransport, tls: object, **fields: object
    ) -> HostError:
        async with estate.serving(tls=tls) as port:
            error = await told(transport, estate.host(port, is_https=True, **fields))
            assert estate.servers[port].counters.requests == 0
        assert isinstance(error, IdentityError)
        return error

    async def test_expired(self, estate: Estate, transport: WinrmTransport) -> None:
        tls = estate.authority.server("127.0.0.1", is_expired=True)
        assert "has expired" in str(await self.told(estate, transport, tls))

    async def test_self_signed(self, estate: Estate, transport: WinrmTransport) -> None:
        tls = estate.authority.server("127.0.0.1", is_self_signed=True)
        error = await self.told(estate, transport, tls)
        assert "self-signed" in str(error)
        assert str(error).endswith(f"; it shows sha256:{hashlib.sha256(tls.certificate).hexdigest()}")
        assert "SHA256" in error.action

    async def test_another_name(self, estate: Estate, transport: WinrmTransport) -> None:
        tls = estate.authority.server("elsewhere.example", "there.example")
        error = await self.told(estate, transport, tls)
        assert str(error).endswith("is for another address: elsewhere.example, there.example")
        assert "`address`" in error.action

    async def test_an_authority_nobody_named(self, estate: Estate, transport: WinrmTransport) -> None:
        tls = estate.authority.server("127.0.0.1")
        error = await self.told(estate, transport, tls, ca_file=None)
        assert "not trusted" in str(error)

    async def test_another_one_than_the_pinned(self, estate: Estate, transport: WinrmTransport) -> None:
        tls = estate.authority.server("127.0.0.1")
        error = await self.told(estate, transport, tls, cert_validation="sha256:" + "0" * 64)
        assert "0" * 64 in str(error)
        assert hashlib.sha256(tls.certificate).hexdigest() in str(error)

    @pytest.mark.parametrize("is_pinned", [True, False])
    async def test_pinned_or_not_looked_at(
        self, estate: Estate, transport: WinrmTransport, is_pinned: bool
    ) -> None:
        tls = estate.authority.server("elsewhere.example", is_expired=True, is_self_signed=True)
        how = "sha256:" + hashlib.sha256(tls.certificate).hexdigest() if is_pinned else "off"
        async with estate.serving(tls=tls) as port:
            host = estate.host(port, is_https=True, cert_validation=how, ca_file=None)
            assert (await visit(transport, host, "echo", "one", "zwei ü"))[0] == ANSWER

    async def test_a_file_that_holds_no_authority(
        self, estate: Estate, transport: WinrmTransport, tmp_path: Path
    ) -> None:
        (tmp_path / "ca.pem").write_text("nothing")
        async with estate.serving(is_https=True) as port:
            host = estate.host(port, is_https=True, ca_file=str(tmp_path / "ca.pem"))
            assert isinstance(await told(transport, host), CredentialError)

    async def test_a_listener_that_says_nothing_in_the_handshake(
        self, estate: Estate, transport: WinrmTransport
    ) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            sock.listen()
            phases: list[Phase] = []
            host = estate.host(sock.getsockname()[1], is_https=True)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await transport.open(
                        host, FakeSecrets({str(PASSWORD): RIGHT}), PasswordGuard(), _Listening(phases)
                    )
        assert phases == [Phase.RESOLVE, Phase.CONNECT, Phase.HANDSHAKE]

    async def test_a_host_that_speaks_no_tls(self, estate: Estate, transport: WinrmTransport) -> None:
        async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as plain:
            port = plain.sockets[0].getsockname()[1]
            error = await told(transport, estate.host(port, is_https=True))
        assert isinstance(error, UnreachableError)
        assert str(error) == f"127.0.0.1 speaks no TLS on port {port}"
        assert "`scheme: http`" in error.action


class TestOtherListener:
    """Plain http where something else listens."""

    async def test_tls(self, estate: Estate, transport: WinrmTransport) -> None:
        async with estate.serving(is_https=True) as port:
            await self.check(estate, transport, port)

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (b"\x15\x03\x01\x00\x02\x02\x46", "speaks TLS"),
            (b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
            (b"", "ended the connection"),
        ],
    )
    async def test_others(self, estate: Estate, transport: WinrmTransport, answer: bytes, words: str) -> None:
        async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()

        async with await asyncio.start_server(say, "127.0.0.1", 0) as other:
            error = await self.check(estate, transport, other.sockets[0].getsockname()[1])
        assert words in str(error)

    async def check(self, estate: Estate, transport: WinrmTransport, port: int) -> HostError:
        error = await told(transport, estate.host(port))
        assert isinstance(error, UnreachableError)
        assert "`scheme: https`" in error.action
        return error


class TestSession:
    async def test_a_session_configuration_is_given_its_function(
        self, estate: Estate, transport: WinrmTransport
    ) -> None:
        async with estate.serving(configurations=("fleet",)) as port:
            host = estate.host(port, configuration_name="fleet")
            out, _ = await visit(transport, host, "a script that is not sent", "one")
            assert out == "Invoke-FleetVisit\none\n"

    async def test_an_unknown_session_configuration(self, estate: Estate, transport: WinrmTransport) -> None:
        async with estate.serving(configurations=("fleet",)) as port:
            error = await told(transport, estate.host(port, configuration_name="other"))
            assert isinstance(error, RemoteError)
            assert "has no session configuration other" in str(error)
            assert "`Get-PSSessionConfiguration`" in error.action

    async def test_a_failed_pipeline_says_why(self, estate: Estate, transport: WinrmTransport) -> None:
        async with estate.serving() as port:
            out, errors = await visit(transport, estate.host(port), "fails")
            assert out == "before\n"
            assert "no Get-Thing" in errors

    async def test_a_large_answer(self, estate: Estate, transport: WinrmTransport) -> None:
        async with estate.serving() as port:
            out, _ = await visit(transport, estate.host(port), "big 12")
            assert [line[0] * len(line) for line in out.split()] == [
                str(n % 10) * (1 << 18) for n in range(12)
            ]

    async def test_a_script_of_many_envelopes(self, estate: Estate, transport: WinrmTransport) -> None:
        async with estate.serving() as port:
            script = "#" * 600_000
            assert (await visit(transport, estate.host(port), script))[0] == f"{script}\nword\n"
            assert estate.servers[port].counters.sends > 0

    async def test_a_session_nobody_uses_is_deleted(self, estate: Estate) -> None:
        async with estate.serving() as port:
            async with WinrmTransport(connect_s=10, concurrency=1) as own, opened(own, estate.host(port)):
                assert estate.servers[port].counters.shells_open == 1
            assert estate.servers[port].counters.shells_open == 0

    async def test_closing_ends_a_script_that_runs(self, estate: Estate) -> None:
        began = asyncio.Event()

        async def respond(_: Request) -> Reply:
            began.set()
            return Reply(delay_s=600)

        async with asyncio.timeout(20), estate.serving(respond=respond) as port:
            async with (
                WinrmTransport(connect_s=10, concurrency=1) as own,
                opened(own, estate.host(port)) as session,
            ):
                process = await session.start("word")
                await process.write(b"echo")
                await began.wait()
            assert estate.servers[port].counters.shells_open == 0

    async def test_it_takes_one_script(self, estate: Estate, transport: WinrmTransport) -> None:
        async with estate.serving() as port, opened(transport, estate.host(port)) as session:
            process = await session.start("word")
            await process.write(b"echo")
            with pytest.raises(RemoteError):
                await process.write(b"echo")

    async def test_the_visit_asks_little(self, estate: Estate, transport: WinrmTransport) -> None:
        async with estate.serving() as port:
            await visit(transport, estate.host(port), "echo")
            counters = estate.servers[port].counters
            assert (counters.connections, counters.auth_attempts) == (1, 1)
            assert counters.requests <= 10

    async def test_nobody_listens(self, estate: Estate, transport: WinrmTransport) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            error = await told(transport, estate.host(sock.getsockname()[1]))
        assert isinstance(error, UnreachableError)
        assert "refused" in str(error)

    async def test_a_name_that_does_not_exist(self, estate: Estate, transport: WinrmTransport) -> None:
        error = await told(transport, estate.host(5985, address="no-such-host.invalid"))
        assert isinstance(error, UnreachableError)
        assert "resolve" in str(error)


class _Listening:
    def __init__(self, heard: list[Phase]) -> None:
        self._heard = heard

    def enter(self, phase: Phase) -> None:
        self._heard.append(phase)


class Proxy:
    """Takes SOCKS5 and CONNECT, writes down where to, and hands on to that port of this machine."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refuses = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(1)
        port = await (self._socks(reader, writer) if first == b"\x05" else self._connect(reader, writer))
        if port:
            there, away = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_pump(reader, away), _pump(there, writer))
        writer.close()

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(b"\x05\x00")
        head = await reader.readexactly(5)
        assert head[:4] == b"\x05\x01\x00\x03"
        name, port = (await reader.readexactly(head[4])).decode(), await reader.readexactly(2)
        self.asked.append(f"{name}:{int.from_bytes(port, 'big')}")
        writer.write(b"\x05\x05\x00\x01" if self.refuses else b"\x05\x00\x00\x01" + bytes(6))
        return 0 if self.refuses else int.from_bytes(port, "big")

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        line = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode()
        self.asked.append(line.split()[1])
        writer.write(b"HTTP/1.1 407 No\r\n\r\n" if self.refuses else b"HTTP/1.1 200 Connected\r\n\r\n")
        return 0 if self.refuses else int(line.split()[1].rpartition(":")[2])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while part := await reader.read(65536):
        writer.write(part)
        await writer.drain()
    writer.close()


class TestProxy:
    @pytest.mark.parametrize("is_https", [False, True])
    @pytest.mark.parametrize("scheme", ["socks5h", "http"])
    async def test_by_name_and_never_in_clear(
        self, estate: Estate, transport: WinrmTransport, scheme: str, is_https: bool
    ) -> None:
        proxy = Proxy()
        async with estate.serving(is_https=is_https) as port, proxy.open() as through:
            url = f"{scheme}://127.0.0.1:{through}"
            host = estate.host(port, is_https=is_https, address="localhost", proxy=url)
            assert (await visit(transport, host, "echo", "one", "zwei ü"))[0] == ANSWER
            assert proxy.asked == [f"localhost:{port}"]

    @pytest.mark.parametrize("scheme", ["socks5h", "http"])
    async def test_one_that_refuses(self, estate: Estate, transport: WinrmTransport, scheme: str) -> None:
        proxy = Proxy()
        proxy.refuses = True
        async with proxy.open() as through:
            host = estate.host(5985, address="win01.example", proxy=f"{scheme}://127.0.0.1:{through}")
            error = await told(transport, host)
        assert isinstance(error, UnreachableError)
        assert f"the proxy {scheme}://" in str(error)

    async def test_none_of_the_environment(self, estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        async with estate.serving() as port, WinrmTransport(connect_s=10, concurrency=1) as own:
            assert (await visit(own, estate.host(port), "echo", "one", "zwei ü"))[0] == ANSWER


def children() -> set[int]:
    """What this thread, which runs the event loop, started."""
    return set(map(int, Path("/proc/thread-self/children").read_text().split()))


class TestWorkers:
    @pytest.mark.parametrize(
        ("module", "spared"),
        [
            ("transport", ("pypsrp", "requests", "spnego")),
            ("worker", ("asyncio", "sqlalchemy", "click", "jinja2", "rich", "asyncssh", "fleet.ports")),
        ],
    )
    async def test_each_side_loads_nothing_of_what_the_other_needs(
        self, module: str, spared: tuple[str, ...]
    ) -> None:
        look = f"import sys, fleet.transport.winrm.{module}; print({set(spared)} & set(sys.modules))"
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", look), stdout=asyncio.subprocess.PIPE
        )
        assert (await child.communicate())[0] == b"set()\n"

    async def test_none_before_the_first_visit_and_none_after_the_last(self, estate: Estate) -> None:
        before = children()
        async with estate.serving() as port:
            async with WinrmTransport(connect_s=10, concurrency=2) as own:
                assert children() == before
                await visit(own, estate.host(port), "echo")
                assert len(children() - before) == 1
            assert children() == before

    async def test_one_that_dies_costs_its_visits_and_is_replaced(self, estate: Estate) -> None:
        before = children()
        async with estate.serving() as port, WinrmTransport(connect_s=10, concurrency=1) as own:
            with pytest.raises(UnreachableError, match="the process that made the visit ended"):
                async with opened(own, estate.host(port)) as session:
                    process = await session.start("word")
                    await process.write(b"slow")
                    (worker,) = children() - before
                    os.kill(worker, signal.SIGKILL)
                    await process.read(1)
            assert (await visit(own, estate.host(port), "echo", "one", "zwei ü"))[0] == ANSWER

    async def test_a_parent_that_dies_ends_them_and_their_shells(self, estate: Estate) -> None:
        async with estate.serving() as port:
            parent = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", PARENT, str(port)),
                cwd=Path(__file__).parents[2],
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            assert parent.stdout is not None
            assert parent.stderr is not None
            assert await parent.stdout.readline() == b"running\n"
            assert estate.servers[port].counters.shells_open == 1
            parent.kill()
            # The worker holds stderr, too: its end is the end of both.
            assert await parent.stderr.read() == b""
            await parent.wait()
            assert estate.servers[port].counters.shells_open == 0


PARENT = """
import asyncio, sys
from pathlib import Path
from tests.contract.winrm_site import opened, Estate
from fleet.transport.winrm.transport import WinrmTransport

async def main():
    host = Estate.host(None, int(sys.argv[1]))
    async with WinrmTransport(connect_s=10, concurrency=1) as transport, opened(transport, host) as session:
        process = await session.start("word")
        await process.write(b"slow")
        print("running", flush=True)
        await process.read(1)

asyncio.run(main())
"""
