"""Hosts and proxies that are not what they say: what is a proof, and what no answer."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import ssl
import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest

from fleet.errors import AuthError, IdentityError, PrivilegeError, RemoteError, UnreachableError
from fleet.lab.winrm.login import ServerAuth
from fleet.lab.winrm.words import WinrmFault
from fleet.model.words import WinrmAuth
from fleet.transport.winrm.transport import WinrmTransport
from tests.contract.winrm_site import Estate, made_estate, opened, trouble, visit

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOAP = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
SEALS, SIGNS = 0x20, 0x10


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    with made_estate(tmp_path_factory.mktemp("winrm")) as made:
        yield made


class Notebook:
    """A guard that lets everybody try, and what became of it."""

    def __init__(self) -> None:
        self.words: list[str] = []

    @asynccontextmanager
    async def attempt(self, kind: str, user: str, password: str) -> AsyncIterator[Notebook]:
        self.words.append("tried")
        yield self

    def accepted(self) -> None:
        self.words.append("accepted")

    def refused(self) -> None:
        self.words.append("refused")


def answer(status: int, body: str = "", *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}", *headers)
    return ("\r\n".join((*lines, "", "")) + body).encode()


def challenge(flags: int) -> bytes:
    """What an NTLM host says first ([MS-NLMP] section 2.2.1.2); it takes no password to write."""

    def pair(number: int, value: bytes) -> bytes:
        return struct.pack("<HH", number, len(value)) + value

    name = "CORP".encode("utf-16-le")
    about = pair(2, name) + pair(1, name) + pair(7, struct.pack("<Q", 133800000000000000)) + pair(0, b"")
    return b"".join(
        (
            b"NTLMSSP\0",
            struct.pack("<IHHI", 2, len(name), len(name), 56),
            struct.pack("<I", 0xE28A8205 | flags),
            os.urandom(8),
            bytes(8),
            struct.pack("<HHI", len(about), len(about), 56 + len(name)),
            b"\x0a\0\x63\x45\0\0\0\x0f",
            name,
            about,
        )
    )


OFFER = answer(401, "", "WWW-Authenticate: Negotiate")


def challenged(flags: int) -> bytes:
    token = base64.b64encode(challenge(flags)).decode()
    return answer(401, "", f"WWW-Authenticate: Negotiate {token}")


@asynccontextmanager
async def saying(
    answers: Sequence[bytes], bodies: list[bytes], tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """The port of a host that gives these answers whatever it is asked, the last of them again and again."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = list(answers)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"Content-Length: (\d+)", head)
                assert length is not None
                bodies.append(await reader.readexactly(int(length[1])))
                writer.write(left.pop(0) if len(left) > 1 else left[0])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]


class TestProof:
    @pytest.mark.parametrize("auth", [WinrmAuth.NEGOTIATE, WinrmAuth.BASIC])
    async def test_a_refused_password_was_sent_once_when_all_is_over(
        self, estate: Estate, auth: WinrmAuth
    ) -> None:
        notes = Notebook()
        offered = (ServerAuth.NEGOTIATE, ServerAuth.BASIC)
        async with estate.serving(is_https=True, auth=offered) as port:
            host = estate.host(port, is_https=True, auth=auth)
            assert isinstance(await trouble(host, password="other", guard=notes), AuthError)
            counters = estate.servers[port].counters
            assert (counters.connections, counters.auth_attempts, counters.refusals) == (1, 1, 1)
        assert notes.words == ["tried", "refused"]

    @pytest.mark.parametrize(
        "said",
        [
            answer(500, "<p>no"),
            answer(200, "<p>yes"),
            answer(200, "<html/>"),
            answer(200, f'<s:Envelope xmlns:s="{SOAP}"><s:Header/><s:Body/></s:Envelope>'),
            answer(
                500,
                f'<s:Envelope xmlns:s="{SOAP}" xmlns:a="{ADDRESSING}"><s:Header><a:Action>x</a:Action>'
                "</s:Header><s:Body><s:Fault/></s:Body></s:Envelope>",
            ),
        ],
    )
    async def test_what_any_server_says_proves_no_basic_login(self, estate: Estate, said: bytes) -> None:
        notes = Notebook()
        bodies: list[bytes] = []
        tls = estate.authority.server("127.0.0.1")
        asks = b'HTTP/1.1 401 x\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n'
        async with saying([asks, said], bodies, tls) as port:
            host = estate.host(port, is_https=True, auth=WinrmAuth.BASIC)
            assert isinstance(await trouble(host, guard=notes), RemoteError)
        assert notes.words == ["tried"]
        assert len(bodies) == 2

    async def test_a_host_that_does_not_ask_for_a_basic_login_is_not_told_the_password(
        self, estate: Estate
    ) -> None:
        notes = Notebook()
        async with estate.serving(is_https=True, auth=(ServerAuth.NEGOTIATE,)) as port:
            host = estate.host(port, is_https=True, auth=WinrmAuth.BASIC)
            error = await trouble(host, guard=notes)
            assert estate.servers[port].counters.auth_attempts == 0
        assert isinstance(error, AuthError)
        assert "takes no Basic login, only Negotiate" in str(error)
        assert notes.words == []

    @pytest.mark.parametrize("auth", [WinrmAuth.NEGOTIATE, WinrmAuth.BASIC])
    @pytest.mark.parametrize("is_denied", [False, True])
    async def test_an_answer_or_a_fault_of_wsman_does(
        self, estate: Estate, auth: WinrmAuth, is_denied: bool
    ) -> None:
        notes = Notebook()
        fault = WinrmFault.ACCESS_DENIED if is_denied else WinrmFault.NONE
        offered = (ServerAuth.NEGOTIATE, ServerAuth.BASIC)
        async with (
            estate.serving(is_https=True, auth=offered, fault=fault) as port,
            WinrmTransport(connect_s=10, concurrency=1) as transport,
        ):
            host = estate.host(port, is_https=True, auth=auth)
            if is_denied:
                with pytest.raises(PrivilegeError):
                    await visit(transport, host, "echo", guard=notes)
            else:
                await visit(transport, host, "echo", guard=notes)
        assert notes.words == ["tried", "accepted"]

    async def test_over_http_nothing_before_a_seal_was_opened(self, estate: Estate) -> None:
        notes = Notebook()
        bodies: list[bytes] = []
        async with saying([OFFER, challenged(SEALS | SIGNS), answer(200)], bodies) as port:
            error = await trouble(estate.host(port, auth=WinrmAuth.NTLM), guard=notes)
        assert isinstance(error, IdentityError)
        assert "answered unsealed" in str(error)
        assert notes.words == ["tried"]

    async def test_a_host_that_seals_nothing_is_told_nothing(self, estate: Estate) -> None:
        bodies: list[bytes] = []
        async with saying([OFFER, challenged(0), answer(200)], bodies) as port:
            error = await trouble(estate.host(port, auth=WinrmAuth.NTLM))
        assert isinstance(error, IdentityError)
        assert "agreed to no sealing" in str(error)
        assert bodies == [b"", b"", b""]

    async def test_a_token_that_is_no_base64_is_the_hosts_trouble(self, estate: Estate) -> None:
        bodies: list[bytes] = []
        cut = answer(401, "", "WWW-Authenticate: Negotiate AAAAA")
        async with saying([OFFER, cut], bodies) as port:
            error = await trouble(estate.host(port, auth=WinrmAuth.NTLM))
        assert isinstance(error, UnreachableError)
        assert "does not speak ntlm" in str(error)

    async def test_a_host_that_is_content_too_early_is_told_nothing(self, estate: Estate) -> None:
        bodies: list[bytes] = []
        tls = estate.authority.server("127.0.0.1")
        async with saying([OFFER, answer(200)], bodies, tls) as port:
            error = await trouble(estate.host(port, is_https=True, auth=WinrmAuth.NTLM))
        assert isinstance(error, IdentityError)
        assert "without proving" in str(error)
        assert bodies == [b"", b""]


@asynccontextmanager
async def through(reply: bytes, port: int = 0) -> AsyncIterator[str]:
    """The address of a proxy, SOCKS when its reply is, that says this and hands on to a port or hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if reply.startswith(b"\x05"):
            await reader.readexactly(3)
            writer.write(b"\x05\x00")
            await reader.readexactly((await reader.readexactly(5))[4] + 2)
        else:
            await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        if port:
            there, away = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pump(reader, away), pump(there, writer))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()
    except ConnectionError:
        # The client hangs up on a proxy that it does not believe.
        pass
    writer.close()


CONNECTED, GRANTED = b"HTTP/1.1 200 Connected\r\n\r\n", b"\x05\x00\x00\x01" + bytes(6)
MADE_UP = answer(503, "", "X: injected")


class TestProxy:
    @pytest.mark.parametrize("is_https", [False, True])
    @pytest.mark.parametrize(("scheme", "reply"), [("http", CONNECTED), ("socks5h", GRANTED)])
    async def test_one_that_speaks_for_the_host_is_not_believed(
        self, estate: Estate, scheme: str, reply: bytes, is_https: bool
    ) -> None:
        async with estate.serving(is_https=is_https) as port, through(reply + MADE_UP, port) as where:
            error = await trouble(estate.host(port, is_https=is_https, proxy=f"{scheme}://{where}"))
            assert isinstance(error, UnreachableError)
            assert "spoke for the host" in str(error)
            assert estate.servers[port].counters.requests == 0

    @pytest.mark.parametrize(
        "reply", [b"\x05\x00", b"\x05\x00\x00\x03", b"\x05\x00\x00\x03\x09abc", GRANTED[:-1]]
    )
    async def test_a_short_reply(self, estate: Estate, reply: bytes) -> None:
        async with through(reply) as where:
            error = await trouble(estate.host(5985, proxy=f"socks5h://{where}"))
        assert isinstance(error, UnreachableError)
        assert "ended the connection" in str(error)

    @pytest.mark.parametrize("scheme", ["socks5h", "http"])
    @pytest.mark.parametrize("name", ["a" * 64 + ".example", "abcdefg." * 32 + "example", "a..example"])
    async def test_a_name_that_no_host_has(self, estate: Estate, scheme: str, name: str) -> None:
        async with through(GRANTED) as where:
            error = await trouble(estate.host(5985, address=name, proxy=f"{scheme}://{where}"))
        assert isinstance(error, UnreachableError)
        assert "not a name that a host can have" in str(error)


class Front:
    """Stands before a host and hands on, until it is told to hang up on whoever is connected."""

    def __init__(self) -> None:
        self._clients: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def open(self, port: int) -> AsyncIterator[int]:
        """Its port."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._clients.append(writer)
            there, away = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pump(reader, away), pump(there, writer))

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]

    async def hang_up(self) -> None:
        """As hosts do on a connection that was idle for long."""
        while self._clients:
            writer = self._clients.pop()
            writer.close()
            await writer.wait_closed()


class Slow(Notebook):
    """A guard who lets somebody try when the host has hung up on them."""

    def __init__(self, front: Front) -> None:
        super().__init__()
        self._front = front

    @asynccontextmanager
    async def attempt(self, kind: str, user: str, password: str) -> AsyncIterator[Notebook]:
        await self._front.hang_up()
        async with super().attempt(kind, user, password) as permit:
            yield permit


@asynccontextmanager
async def hanging_up(
    answers: Sequence[bytes], heads: list[bytes], tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[None]]]:
    """The port of a host that gives these answers and hangs up on the next request, and its connections."""
    connections: list[None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(None)
        for said in (*answers, b""):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(said)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1], connections


BASIC_OFFER = answer(401, "", 'WWW-Authenticate: Basic realm="x"')


class TestHangingUp:
    """A message is sent once. What was not sent yet goes over another connection, a login only as a whole."""

    @pytest.mark.parametrize(
        ("is_https", "auth", "fault"),
        [
            (False, WinrmAuth.NEGOTIATE, WinrmFault.NONE),
            (False, WinrmAuth.NTLM, WinrmFault.NONE),
            # The login is bound to the connection that carries it, not to the one that asked for it.
            (True, WinrmAuth.NEGOTIATE, WinrmFault.STRICT_CHANNEL_BINDING),
            (True, WinrmAuth.BASIC, WinrmFault.NONE),
        ],
    )
    async def test_before_the_login_costs_a_connection(
        self, estate: Estate, is_https: bool, auth: WinrmAuth, fault: WinrmFault
    ) -> None:
        front = Front()
        notes = Slow(front)
        offered = (ServerAuth.NEGOTIATE, ServerAuth.BASIC) if is_https else (ServerAuth.NEGOTIATE,)
        async with (
            estate.serving(is_https=is_https, auth=offered, fault=fault) as port,
            front.open(port) as through,
            WinrmTransport(connect_s=10, concurrency=1) as transport,
        ):
            host = estate.host(through, is_https=is_https, auth=auth)
            out, _ = await visit(transport, host, "echo", guard=notes)
            counters = estate.servers[port].counters
            assert (counters.connections, counters.auth_attempts, counters.shells_opened) == (2, 1, 1)
        assert out == "echo\nword\n"
        assert notes.words == ["tried", "accepted"]

    @pytest.mark.parametrize(
        "answers", [[], [OFFER], [OFFER, challenged(SEALS | SIGNS)]], ids=["asked", "begun", "proved"]
    )
    async def test_during_the_login_ends_the_visit(self, estate: Estate, answers: Sequence[bytes]) -> None:
        notes = Notebook()
        heads: list[bytes] = []
        async with hanging_up(answers, heads) as (port, connections):
            error = await trouble(estate.host(port, auth=WinrmAuth.NTLM), guard=notes)
        assert isinstance(error, UnreachableError)
        assert len(connections) == 1
        assert [b"\r\nAuthorization: " in head for head in heads] == [False, *[True] * len(answers)]
        assert notes.words == ["tried"] * bool(answers)

    async def test_on_a_basic_login_is_not_told_the_password_again(self, estate: Estate) -> None:
        notes = Notebook()
        heads: list[bytes] = []
        tls = estate.authority.server("127.0.0.1")
        async with hanging_up([BASIC_OFFER], heads, tls) as (port, connections):
            host = estate.host(port, is_https=True, auth=WinrmAuth.BASIC)
            assert isinstance(await trouble(host, guard=notes), UnreachableError)
        assert len(connections) == 1
        assert [b"\r\nAuthorization: Basic " in head for head in heads] == [False, True]
        assert notes.words == ["tried"]

    async def test_on_an_open_session_ends_the_visit_and_the_shell(self, estate: Estate) -> None:
        front = Front()
        async with estate.serving() as port, front.open(port) as through:
            async with WinrmTransport(connect_s=10, concurrency=1) as transport:
                with pytest.raises(UnreachableError):
                    async with opened(transport, estate.host(through)) as session:
                        await front.hang_up()
                        process = await session.start("word")
                        await process.write(b"echo")
                        await process.read(1)
            counters = estate.servers[port].counters
            assert (counters.connections, counters.auth_attempts) == (2, 2)
            assert (counters.shells_opened, counters.commands, counters.deletes) == (1, 0, 1)

    async def test_on_a_session_that_ends_costs_a_connection_to_delete(self, estate: Estate) -> None:
        front = Front()
        async with estate.serving() as port, front.open(port) as through:
            async with (
                WinrmTransport(connect_s=10, concurrency=1) as transport,
                opened(transport, estate.host(through)),
            ):
                await front.hang_up()
            counters = estate.servers[port].counters
            assert (counters.connections, counters.deletes, counters.shells_open) == (2, 1, 0)
