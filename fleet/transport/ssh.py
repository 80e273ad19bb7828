"""Visits hosts over SSH with asyncssh; what asyncssh and the sockets raise ends here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncssh

from fleet.errors import AuthError, CredentialError, HostError, IdentityError, RemoteError, UnreachableError
from fleet.model.host import SSH_AGENT, Host
from fleet.model.words import HostKeyPolicy, Phase
from fleet.ports import Guard, Permit, Phases, Secrets, Session
from fleet.transport.known_hosts import KnownHosts
from fleet.transport.resolve import Addresses, Resolver

CLOSE_S = 2.0
# A packet of nonsense makes asyncssh raise a ValueError.
_BROKEN = (asyncssh.Error, OSError, ValueError)
# OpenSSH's order, so that a key it wrote down is the one we are shown; by algorithm, the type of its key.
KEY_ALGS = {
    "ssh-ed25519": "ssh-ed25519",
    "ecdsa-sha2-nistp256": "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384": "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521": "ecdsa-sha2-nistp521",
    "rsa-sha2-512": "ssh-rsa",
    "rsa-sha2-256": "ssh-rsa",
}
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
            login = _Login(host, known, password, guard, phases, permits)
            try:
                connection = await self._log_in(host, addresses, login, key)
            except IdentityError:
                if not login.key_types:
                    raise
                # The server has more keys than the one it showed: ask for one of a type on record.
                connection = await self._log_in(host, addresses, login, key)
            login.accepted()
        return _SshSession(connection)

    async def _log_in(
        self, host: Host, addresses: Addresses, login: _Login, key: asyncssh.SSHKeyPair | None
    ) -> asyncssh.SSHClientConnection:
        login.enter(Phase.CONNECT)
        sock = await self._connect(host, addresses)
        with _closed_on_error(sock):
            async with _border(login):
                return await asyncssh.connect(sock=sock, **self._options(host, sock, login, key))

    def _options(
        self, host: Host, sock: socket.socket, login: _Login, key: asyncssh.SSHKeyPair | None
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
                trouble = f"cannot connect to {sockaddr[0]} port {host.port}: {_why(error)}"
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
        return CredentialError(f"cannot read the private key {path}: {_why(error)}")
    except (ValueError, IndexError) as error:
        return CredentialError(f"{path} is not a private key: {error}")


class _Login(asyncssh.SSHClient):
    """One login: checks the host key, hands out the password at most once, tells the phases."""

    def __init__(
        self,
        host: Host,
        known: KnownHosts | None,
        password: str | None,
        guard: Guard,
        phases: Phases,
        permits: AsyncExitStack,
    ) -> None:
        self.host = host
        self.known = known
        self.password_sent = False
        self.trouble: HostError | None = None
        self.key_types: frozenset[str] = frozenset()
        self._password = password
        self._guard = guard
        self._phases = phases
        self._permits = permits
        self._permit: Permit | None = None
        self._peer = ""
        self._was_asked = False

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._phases.enter(Phase.HANDSHAKE)

    def enter(self, phase: Phase) -> None:
        self._phases.enter(phase)

    def key_algs(self, peer: str) -> tuple[str, ...]:
        """The host key algorithms to offer; none to let asyncssh follow the plain entries of the host."""
        if self.key_types:
            return tuple(alg for alg, kind in KEY_ALGS.items() if kind in self.key_types)
        if self.known is not None and any(self.known.match(self.host, peer)[:2]):
            return ()
        return tuple(KEY_ALGS)

    def match(self, host: str, addr: str, port: int | None) -> tuple[list[Any], ...]:
        self._peer = addr
        assert self.known is not None
        return self.known.match(self.host, addr)

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        # Asked only when the plain entries do not hold the key.
        if self.known is None or self.known.is_known(self.host, self._peer, key):
            return True
        shown = key.get_fingerprint()
        on_record = self.known.key_types(self.host, self._peer)
        if on_record:
            if key.algorithm.decode("ascii", "replace") not in on_record:
                self.key_types = on_record
            self.trouble = IdentityError(f"the host key changed: {shown} is not the one in {self.known.path}")
            return False
        if self.host.host_key_policy is HostKeyPolicy.ACCEPT_NEW:
            try:
                self.known.add(self.host, key)
            except IdentityError as error:
                self.trouble = error
                return False
            return True
        self.trouble = IdentityError(
            f"the host key is not known: {self.known.path} has none for this host, which shows {shown}",
            action="Get its key by a way you trust (`ssh-keyscan` from a network you trust, the console), "
            "compare it and add it to known_hosts.",
        )
        return False

    def begin_auth(self, username: str) -> None:
        self._phases.enter(Phase.AUTH)

    async def password_auth_requested(self) -> str | None:
        if self._password is None or self.password_sent:
            return None
        try:
            self._permit = await self._permits.enter_async_context(
                self._guard.attempt("login", self.host.user, self._password)
            )
        except CredentialError as error:
            self.trouble = error
            return None
        self.password_sent = True
        return self._password

    async def kbdint_auth_requested(self) -> str | None:
        # Once: sshd without PAM offers the method, fails it without a question and offers it again.
        if self._password is None or self.password_sent or self._was_asked:
            return None
        self._was_asked = True
        return ""

    async def kbdint_challenge_received(
        self,
        name: str,
        instructions: str,
        lang: str,
        prompts: Sequence[tuple[str, bool]],
    ) -> list[str] | None:
        if not prompts:
            return []
        if len(prompts) > 1 or "passw" not in prompts[0][0].lower():
            return None
        password = await self.password_auth_requested()
        return None if password is None else [password]

    def accepted(self) -> None:
        if self._permit is not None:
            self._permit.accepted()

    def refused(self) -> None:
        if self._permit is not None:
            self._permit.refused()


@asynccontextmanager
async def _border(login: _Login) -> AsyncIterator[None]:
    """Narrow before wide: what asyncssh raises becomes a HostError."""
    try:
        yield
    except asyncssh.HostKeyNotVerifiable as error:
        raise login.trouble or IdentityError(f"the host key was not accepted: {error.reason}") from error
    except asyncssh.PermissionDenied as error:
        login.refused()
        raise login.trouble or AuthError(_auth_message(login)) from error
    except asyncssh.KeyExchangeFailed as error:
        raise login.trouble or UnreachableError(
            f"no common SSH algorithms: {_shown(error.reason)}"
        ) from error
    except asyncssh.DisconnectError as error:
        if "authentication failures" in error.reason:
            login.refused()
            raise login.trouble or AuthError(_auth_message(login)) from error
        raise login.trouble or UnreachableError(
            f"the SSH connection failed: {_shown(error.reason)}"
        ) from error
    except asyncssh.Error as error:
        raise UnreachableError(f"the SSH connection failed: {_shown(str(error))}") from error
    except OSError as error:
        raise UnreachableError(f"the connection broke: {_why(error)}") from error
    except ValueError as error:
        raise UnreachableError(f"the peer does not speak SSH: {_shown(str(error))}") from error


def _auth_message(login: _Login) -> str:
    host = login.host
    if login.password_sent:
        return f"{host.address} refused the password of {host.user}"
    if host.key_file is None:
        return f"{host.address} does not take passwords for {host.user}"
    return f"{host.address} refused the key of {host.user} ({host.key_file})"


class _SshSession:
    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self._connection = connection

    async def start(self, command: str) -> _SshProcess:
        try:
            process = await self._connection.create_process(command, encoding=None)
        except asyncssh.ChannelOpenError as error:
            raise RemoteError(f"the host opens no session: {_shown(error.reason)}") from error
        except _BROKEN as error:
            raise UnreachableError(f"the connection broke: {_shown(str(error))}") from error
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
            raise UnreachableError(f"the connection broke: {_shown(str(error))}") from error


@contextlib.contextmanager
def _closed_on_error(sock: socket.socket) -> Any:
    try:
        yield
    except BaseException:
        sock.close()
        raise


def _why(error: OSError) -> str:
    if isinstance(error, TimeoutError) and not error.strerror:
        return "no answer"
    # asyncio puts words of its own where the system's reason should be.
    return os.strerror(error.errno) if error.errno else str(error)


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:300]
