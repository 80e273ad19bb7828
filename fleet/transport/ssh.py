"""Visits hosts over SSH with asyncssh; what asyncssh and the sockets raise ends here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import asyncssh

from fleet.errors import CredentialError, IdentityError, RemoteError, UnreachableError
from fleet.model.host import SSH_AGENT, Host
from fleet.model.words import HostKeyPolicy, Phase
from fleet.ports import Guard, Phases, Secrets, Session
from fleet.transport.known_hosts import KnownHosts
from fleet.transport.login import Login, border
from fleet.transport.resolve import Addresses, Resolver
from fleet.transport.wording import shown, why

CLOSE_S = 2.0
# A packet of nonsense makes asyncssh raise a ValueError.
_BROKEN = (asyncssh.Error, OSError, ValueError)
_AFTER_LOGIN = "Run again; if it breaks again, see why in sshd's log on the host and in firewalls on the way."
# The same strength as the default's first choice at a third of the calls for each packet.
ENCRYPTION = "^aes256-gcm@openssh.com,aes128-gcm@openssh.com"
LOOKUPS_PER_VISIT = 4
"""The system gives a dead name server up to half a minute, a visit's deadline is shorter."""


class SshTransport:
    """Opens SSH sessions. Keys and known_hosts files are read once per run, when first asked for.

    Args:
        connect_s: seconds to share among the addresses of a name.
        agent_path: the ssh-agent's socket, for the hosts that ask for it.
        concurrency: visits at once.
    """

    def __init__(self, *, connect_s: float, agent_path: str | None, concurrency: int) -> None:
        self._connect_s = connect_s
        self._agent_path = agent_path
        self._resolver = Resolver(LOOKUPS_PER_VISIT * concurrency)
        self._keys: dict[str, asyncssh.SSHKeyPair | CredentialError] = {}
        self._known_hosts: dict[str, KnownHosts] = {}

    async def open(self, host: Host, secrets: Secrets, guard: Guard, phases: Phases) -> Session:
        """Resolve, connect, check the host key, log in. Raises HostError."""
        password = secrets.resolve(host.password) if host.password else None
        key = self._key(host)
        known = self._known(host)
        phases.enter(Phase.RESOLVE)
        addresses = await self._resolver.resolve(host.address, host.port)
        async with AsyncExitStack() as permits:
            login = Login(host, known, password, guard, phases, permits)
            try:
                connection = await self._log_in(host, addresses, login, key)
            except IdentityError:
                if not login.key_types:
                    raise
                # The server has more keys than the one it showed: ask for one of a type on record.
                login.trouble = None
                connection = await self._log_in(host, addresses, login, key)
            login.accepted()
        return _SshSession(connection)

    async def _log_in(
        self, host: Host, addresses: Addresses, login: Login, key: asyncssh.SSHKeyPair | None
    ) -> asyncssh.SSHClientConnection:
        login.enter(Phase.CONNECT)
        sock = await self._connect(host, addresses)
        with _closed_on_error(sock):
            async with border(login):
                return await asyncssh.connect(sock=sock, **self._options(host, sock, login, key))

    def _options(
        self, host: Host, sock: socket.socket, login: Login, key: asyncssh.SSHKeyPair | None
    ) -> dict[str, Any]:
        # Passed as they are: an options object would be built a second time inside connect.
        return {
            "config": None,
            "host": host.address,
            "port": host.port,
            "username": host.user,
            "client_factory": lambda: login,
            "known_hosts": None if login.known is None else login.match,
            "server_host_key_algs": login.key_algs(sock.getpeername()[0]),
            "x509_trusted_certs": None,
            "client_keys": [key] if key else None,
            "agent_path": self._agent_path if host.key_file == SSH_AGENT else None,
            "gss_auth": False,
            "gss_kex": False,
            "host_based_auth": False,
            "encryption_algs": ENCRYPTION,
            "compression_algs": ["none"],
            "connect_timeout": None,
            "login_timeout": 0,
        }

    def _key(self, host: Host) -> asyncssh.SSHKeyPair | None:
        path = host.key_file
        if path is None:
            return None
        if path == SSH_AGENT:
            if not self._agent_path:
                raise CredentialError(
                    "the inventory asks for the ssh-agent and none is running (SSH_AUTH_SOCK)"
                )
            return None
        if path not in self._keys:
            self._keys[path] = _load_key(path)
        found = self._keys[path]
        if isinstance(found, CredentialError):
            raise CredentialError(str(found))
        return found

    def _known(self, host: Host) -> KnownHosts | None:
        if host.host_key_policy is HostKeyPolicy.OFF:
            return None
        path = host.known_hosts or os.devnull
        if path not in self._known_hosts:
            self._known_hosts[path] = KnownHosts(path)
        return self._known_hosts[path]

    async def _connect(self, host: Host, addresses: Addresses) -> socket.socket:
        """The first address that answers. Each gets its share of the time, so that one that swallows packets
        leaves some to the next."""
        loop = asyncio.get_running_loop()
        trouble = f"{host.address} has no address"
        for family, sockaddr in addresses:
            try:
                sock = socket.socket(family, socket.SOCK_STREAM)
                sock.setblocking(False)
                with _closed_on_error(sock):
                    async with asyncio.timeout(
                        self._connect_s / len(addresses) if len(addresses) > 1 else None
                    ):
                        await loop.sock_connect(sock, sockaddr)
            except OSError as error:
                trouble = f"cannot connect to {sockaddr[0]} port {host.port}: {why(error)}"
            else:
                return sock
        raise UnreachableError(trouble)


def _load_key(path: str) -> asyncssh.SSHKeyPair | CredentialError:
    try:
        return asyncssh.load_keypairs([path])[0]
    except asyncssh.KeyEncryptionError:
        return CredentialError(f"{path} needs a passphrase: use key_file: ssh-agent")
    except asyncssh.KeyImportError as error:
        if "passphrase" in str(error).lower():
            return CredentialError(f"{path} needs a passphrase: use key_file: ssh-agent")
        return CredentialError(f"{path} is not a private key: {error}")
    except OSError as error:
        return CredentialError(f"cannot read the private key {path}: {why(error)}")
    except (ValueError, IndexError) as error:
        return CredentialError(f"{path} is not a private key: {error}")


class _SshSession:
    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self._connection = connection

    @property
    def host_key(self) -> str:
        key = self._connection.get_server_host_key()
        return key.get_fingerprint() if key else ""

    async def start(self, command: str) -> _SshProcess:
        try:
            process = await self._connection.create_process(command, encoding=None)
        except asyncssh.ChannelOpenError as error:
            raise RemoteError(f"the host opens no session: {shown(error.reason)}") from error
        except _BROKEN as error:
            raise _broke(error) from error
        return _SshProcess(process)

    async def close(self) -> None:
        self._connection.close()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._connection.wait_closed()
        except TimeoutError:
            self._connection.abort()


class _SshProcess:
    def __init__(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self._process = process

    async def write(self, data: bytes) -> None:
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except _BROKEN as error:
            raise RemoteError("the shell ended before it took the script") from error

    def write_eof(self) -> None:
        with contextlib.suppress(OSError):
            self._process.stdin.write_eof()

    async def read(self, limit: int) -> bytes:
        return await self._read(self._process.stdout, limit)

    async def read_stderr(self, limit: int) -> bytes:
        return await self._read(self._process.stderr, limit)

    async def _read(self, stream: asyncssh.SSHReader[bytes], limit: int) -> bytes:
        try:
            return await stream.read(limit)
        except _BROKEN as error:
            raise _broke(error) from error


def _broke(error: Exception) -> UnreachableError:
    return UnreachableError(f"the connection broke: {shown(str(error))}", action=_AFTER_LOGIN)


@contextlib.contextmanager
def _closed_on_error(sock: socket.socket) -> Iterator[None]:
    with ExitStack() as undo:
        undo.callback(sock.close)
        yield
        undo.pop_all()
