"""What every transport must do, and how each of SSH's troubles is told; the server runs real shells."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import hmac
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from fleet.collect.deadlines import Limits, PhaseClock
from fleet.collect.guard import PasswordGuard
from fleet.errors import AuthError, CredentialError, DeadlineError, HostError, IdentityError, UnreachableError
from fleet.lab.winrm.words import Reply, Request
from fleet.model.host import Host, SecretRef
from fleet.model.words import Connection, HostKeyPolicy, Phase
from fleet.ports import Session, Transport
from fleet.transport.local import LocalTransport
from fleet.transport.ssh import SshTransport
from fleet.transport.winrm.transport import WinrmTransport
from tests.contract.winrm_site import RIGHT, Estate, made_estate
from tests.fakes import FakeSecrets

PASSWORD = SecretRef(scheme="env", target="PW")
Open = Callable[[], AbstractAsyncContextManager[Session]]


class Server:
    """An SSH server that knows one key and one password, and runs commands in a real `sh`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        for name in ("host", "ecdsa", "client", "stranger"):
            key = asyncssh.generate_private_key("ecdsa-sha2-nistp256" if name == "ecdsa" else "ssh-ed25519")
            key.write_private_key(folder / name)
            key.write_public_key(folder / f"{name}.pub")

    def host(self, **fields: object) -> Host:
        known: dict[str, object] = {
            "name": "web01",
            "address": "127.0.0.1",
            "port": self.port,
            "user": "ops",
            "key_file": str(self.folder / "client"),
            "known_hosts": str(self.folder / "known_hosts"),
        }
        return Host(**{**known, **fields})  # type: ignore[arg-type]

    def known_as(self, key: str, *, hashed: bool = False) -> None:
        words = (self.folder / f"{key}.pub").read_text()
        name = f"[127.0.0.1]:{self.port}"
        (self.folder / "known_hosts").write_text(f"{hash_name(name) if hashed else name} {words}")


def hash_name(name: str) -> str:
    """As OpenSSH's HashKnownHosts writes it."""
    salt = b"0123456789abcdefghij"
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


class OnePassword(asyncssh.SSHServer):
    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return password == "right"


async def run(process: asyncssh.SSHServerProcess[bytes]) -> None:
    child = await asyncio.create_subprocess_exec(
        *("sh", "-c", process.command or ""),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    feeds = asyncio.create_task(feed(process, child.stdin))
    try:
        await asyncio.gather(
            pump(child.stdout, process.stdout.write, process.stdout.drain),
            pump(child.stderr, process.stderr.write, process.stderr.drain),
        )
        process.exit(await child.wait())
    finally:
        feeds.cancel()
        if child.returncode is None:
            child.kill()
            await child.wait()


async def feed(process: asyncssh.SSHServerProcess[bytes], stdin: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        await pump(process.stdin, stdin.write, stdin.drain)
    stdin.close()


async def pump(
    reader: asyncio.StreamReader | asyncssh.SSHReader[bytes],
    write: Callable[[bytes], None],
    drain: Callable[[], Awaitable[None]],
) -> None:
    while part := await reader.read(65536):
        write(part)
        await drain()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(tmp_path)
    listener = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=OnePassword,
        server_host_keys=[str(tmp_path / "host"), str(tmp_path / "ecdsa")],
        authorized_client_keys=str(tmp_path / "client.pub"),
        process_factory=run,
        encoding=None,
    )
    made.port = listener.get_port()
    made.known_as("host")
    async with listener:
        yield made


@asynccontextmanager
async def opened(
    transport: Transport, host: Host, limits: Limits | None = None, password: str = ""
) -> AsyncIterator[Session]:
    async with PhaseClock(limits or Limits()) as clock:
        secrets = FakeSecrets({str(PASSWORD): password})
        session = await transport.open(host, secrets, PasswordGuard(), clock)
        clock.enter(Phase.EXEC)
        try:
            yield session
        finally:
            await session.close()


@asynccontextmanager
async def opened_winrm(estate: Estate) -> AsyncIterator[Session]:
    async with (
        estate.serving(respond=sh) as port,
        WinrmTransport(connect_s=10, concurrency=1) as transport,
        opened(transport, estate.host(port), password=RIGHT) as session,
    ):
        yield session


async def sh(request: Request) -> Reply:
    """Runs the script in a real `sh`, as a host over WinRM would: its output as strings, line by line."""
    child = await asyncio.create_subprocess_exec(
        *("sh", "-s", "--", *request.arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, errors = await child.communicate(request.script.encode())
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return Reply(out.decode().splitlines(), errors.decode().splitlines())


def opened_shell(kind: str, server: Server) -> AbstractAsyncContextManager[Session]:
    if kind == "local":
        return opened(LocalTransport(), Host(name="here", address="here", connection=Connection.LOCAL))
    return opened(SshTransport(connect_s=10, agent_path=None, concurrency=1), server.host())


@pytest.fixture(params=["ssh", "local"])
def shell(request: pytest.FixtureRequest, server: Server) -> Open:
    """A session whose command reads its stdin as it likes."""
    return lambda: opened_shell(request.param, server)


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    with made_estate(tmp_path_factory.mktemp("winrm")) as made:
        yield made


@dataclass(frozen=True)
class Side:
    """A transport's session, and the command line that gives a script these arguments."""

    open: Open
    command: Callable[..., str]


@pytest.fixture(params=["ssh", "local", "winrm"])
def side(request: pytest.FixtureRequest, server: Server, estate: Estate) -> Side:
    if request.param == "winrm":
        return Side(lambda: opened_winrm(estate), lambda *words: "\n".join(words))
    return Side(
        lambda: opened_shell(request.param, server), lambda *words: " ".join(("exec sh -s --", *words))
    )


async def whole(read: Callable[[int], Awaitable[bytes]]) -> bytes:
    parts = []
    while part := await read(65536):
        parts.append(part)
    return b"".join(parts)


class TestEveryTransport:
    async def test_a_script_with_words_for_arguments(self, side: Side) -> None:
        async with side.open() as session:
            process = await session.start(side.command("one", "two"))
            await process.write(b"echo $2 $1; echo trouble >&2; exit 3\n")
            process.write_eof()
            assert await whole(process.read) == b"two one\n"
            assert (await whole(process.read_stderr)).startswith(b"trouble")

    async def test_text_arrives_as_it_is(self, side: Side) -> None:
        line = "zwei ü 漢字 \t<&>_x0041_"
        script = f"i=0; while [ $i -lt 2000 ]; do echo '{line}' $i; i=$((i+1)); done\n".encode()
        async with side.open() as session:
            process = await session.start(side.command("word"))
            await process.write(script)
            process.write_eof()
            expected = "".join(f"{line} {number}\n" for number in range(2000))
            assert (await whole(process.read)).decode() == expected
            assert await whole(process.read_stderr) == b""

    async def test_the_end_is_the_end(self, side: Side) -> None:
        async with side.open() as session:
            process = await session.start(side.command("word"))
            await process.write(b"exit 0\n")
            process.write_eof()
            for read in (process.read, process.read, process.read_stderr, process.read_stderr):
                assert await read(100) == b""

    async def test_a_session_that_is_not_used_can_be_closed(self, side: Side) -> None:
        async with side.open():
            pass


class TestShells:
    """What hangs on a command's stdin, which a PowerShell session has none of."""

    async def test_bytes_arrive_as_they_are(self, shell: Open) -> None:
        blob = bytes(range(256)) * 8192
        async with shell() as session:
            process = await session.start("cat")
            read = asyncio.create_task(whole(process.read))
            await process.write(blob)
            process.write_eof()
            assert await read == blob

    async def test_stdin_stays_open_until_it_is_ended(self, shell: Open) -> None:
        async with shell() as session:
            process = await session.start("read line; echo got $line; cat; echo end")
            await process.write(b"first\n")
            assert await process.read(100) == b"got first\n"
            process.write_eof()
            assert await whole(process.read) == b"end\n"

    async def test_closing_waits_for_no_command(self, shell: Open) -> None:
        async with asyncio.timeout(8), shell() as session:
            process = await session.start("echo here; exec sleep 600")
            assert await process.read(100) == b"here\n"

    async def test_a_command_that_does_not_read_ends_all_the_same(self, shell: Open) -> None:
        async with shell() as session:
            process = await session.start("true")
            with contextlib.suppress(HostError):
                await process.write(b"x" * (8 << 20))
            assert await whole(process.read) == b""


class TestSsh:
    async def told(self, host: Host, *, password: str = "", limits: Limits | None = None) -> HostError:
        transport = SshTransport(connect_s=10, agent_path=None, concurrency=1)
        with pytest.raises(HostError) as caught:
            async with opened(transport, host, limits, password):
                raise AssertionError("it logged in")
        return caught.value

    async def test_nobody_listens(self, server: Server) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            error = await self.told(server.host(port=sock.getsockname()[1]))
        assert isinstance(error, UnreachableError)
        assert "refused" in str(error)

    async def test_a_family_this_machine_lacks(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> socket.socket:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

        monkeypatch.setattr("fleet.transport.ssh.socket.socket", refuse)
        error = await self.told(server.host())
        assert isinstance(error, UnreachableError)
        assert "Address family" in str(error)

    async def test_a_host_nobody_knows(self, server: Server) -> None:
        (server.folder / "known_hosts").write_text("")
        error = await self.told(server.host())
        assert isinstance(error, IdentityError)
        assert "not known" in str(error)

    async def test_a_changed_host_key(self, server: Server) -> None:
        server.known_as("stranger")
        for policy in (HostKeyPolicy.STRICT, HostKeyPolicy.ACCEPT_NEW):
            error = await self.told(server.host(host_key_policy=policy))
            assert isinstance(error, IdentityError)
            assert "changed" in str(error)

    @pytest.mark.parametrize("hashed", [False, True], ids=["plain", "hashed"])
    @pytest.mark.parametrize("kind", ["host", "ecdsa"])
    async def test_the_key_on_record_is_asked_for(self, server: Server, kind: str, hashed: bool) -> None:
        server.known_as(kind, hashed=hashed)
        for policy in (HostKeyPolicy.STRICT, HostKeyPolicy.ACCEPT_NEW):
            host = server.host(host_key_policy=policy)
            async with opened(SshTransport(connect_s=10, agent_path=None, concurrency=1), host) as session:
                shown = asyncssh.read_public_key(server.folder / f"{kind}.pub").get_fingerprint()
                assert session.host_key == shown
        assert len((server.folder / "known_hosts").read_text().splitlines()) == 1

    async def test_a_changed_key_behind_a_hashed_name(self, server: Server) -> None:
        server.known_as("stranger", hashed=True)
        error = await self.told(server.host())
        assert isinstance(error, IdentityError)
        assert "changed" in str(error)

    async def test_a_new_host_is_written_down_where_that_is_wanted(self, server: Server) -> None:
        (server.folder / "known_hosts").unlink()
        host = server.host(host_key_policy=HostKeyPolicy.ACCEPT_NEW)
        async with opened(SshTransport(connect_s=10, agent_path=None, concurrency=1), host):
            pass
        async with opened(SshTransport(connect_s=10, agent_path=None, concurrency=1), server.host()):
            pass

    async def test_two_names_of_one_new_host_at_once(self, server: Server) -> None:
        (server.folder / "known_hosts").unlink()
        transport = SshTransport(connect_s=10, agent_path=None, concurrency=2)
        both = asyncio.Barrier(2)

        async def visit(name: str) -> None:
            async with opened(transport, server.host(name=name, host_key_policy=HostKeyPolicy.ACCEPT_NEW)):
                await both.wait()

        await asyncio.gather(visit("web01"), visit("web01.example"))
        assert len((server.folder / "known_hosts").read_text().splitlines()) == 1

    async def test_a_refused_key(self, server: Server) -> None:
        error = await self.told(server.host(key_file=str(server.folder / "stranger")))
        assert isinstance(error, AuthError)
        assert "refused the key of ops" in str(error)

    async def test_a_refused_password(self, server: Server) -> None:
        error = await self.told(server.host(key_file=None, password=PASSWORD), password="wrong")
        assert isinstance(error, AuthError)
        assert "refused the password" in str(error)

    async def test_a_second_handshake_does_not_hide_a_refused_password(self, server: Server) -> None:
        server.known_as("ecdsa", hashed=True)
        error = await self.told(server.host(key_file=None, password=PASSWORD), password="wrong")
        assert isinstance(error, AuthError)
        assert "refused the password" in str(error)

    async def test_a_right_password(self, server: Server) -> None:
        host = server.host(key_file=None, password=PASSWORD)
        async with opened(SshTransport(connect_s=10, agent_path=None, concurrency=1), host, password="right"):
            pass

    async def test_no_key_to_offer(self, server: Server) -> None:
        error = await self.told(server.host(key_file=str(server.folder / "missing")))
        assert isinstance(error, CredentialError)
        assert "missing" in str(error)

    async def test_a_listener_that_says_nothing(self, server: Server) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            sock.listen()
            error = await self.told(server.host(port=sock.getsockname()[1]), limits=Limits(connect_s=0.2))
        assert isinstance(error, DeadlineError)
        assert str(Phase.HANDSHAKE) in str(error)

    @pytest.mark.parametrize(
        "said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n" + b"\0" * 64]
    )
    async def test_a_listener_of_another_kind(self, server: Server, said: bytes) -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(said)
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
            error = await self.told(server.host(port=other.sockets[0].getsockname()[1]))
        assert isinstance(error, UnreachableError)
