"""Turns descriptions into running SSH servers on loopback, and back into nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import asyncssh

from fleet.lab.describe import Fault, HostDescription
from fleet.lab.handout import (
    ADDRESS,
    INVENTORY_FILE,
    KEY_FILE,
    KNOWN_HOSTS_FILE,
    USER,
    write_inventory,
    write_known_hosts,
    write_private,
)
from fleet.lab.shell import run_command
from fleet.lab.tree import HostTree, build_tree

CUT_AFTER_BYTES = 200
"""How much of an answer a host of the fault ``cut-output`` sends before its connection ends."""

_LOGIN_TIMEOUT_S = 120
_BACKLOG = 256
_ENDLESS = b"all work and no play\n" * 1024


@dataclass(slots=True, kw_only=True)
class Counters:
    """What reached one host. ``auth_attempts``: keys shown and passwords sent; ``commands``: as received."""

    connections: int = 0
    auth_attempts: int = 0
    passwords: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)


class Lab:
    """A running fleet. ``folder`` holds its inventory, known hosts and client key."""

    def __init__(self, folder: Path, hosts: Sequence[_LabHost]) -> None:
        self.folder = folder
        self.inventory = folder / INVENTORY_FILE
        self.known_hosts = folder / KNOWN_HOSTS_FILE
        self.key_file = folder / KEY_FILE
        self._hosts = {host.description.name: host for host in hosts}

    @property
    def descriptions(self) -> tuple[HostDescription, ...]:
        """The hosts, as they were described."""
        return tuple(host.description for host in self._hosts.values())

    def port(self, name: str) -> int:
        """The port of 127.0.0.1 the host listens on."""
        return self._hosts[name].port

    def tree(self, name: str) -> Path:
        """The folder that stands for the host's ``/``."""
        return self._hosts[name].tree.root

    def counters(self, name: str) -> Counters:
        """What reached the host so far; it goes on counting."""
        return self._hosts[name].counters

    def visits(self, name: str) -> int:
        """How many commands the host was asked to run."""
        return len(self._hosts[name].counters.commands)

    def commands(self, name: str) -> tuple[str, ...]:
        """The command lines as they were received."""
        return tuple(self._hosts[name].counters.commands)

    def sudo_attempts(self, name: str) -> int:
        """How many passwords the host's sudo has read."""
        return self._hosts[name].tree.sudo_attempts


@asynccontextmanager
async def start_lab(descriptions: Sequence[HostDescription], folder: Path) -> AsyncIterator[Lab]:
    """Start one server a host; at the end no process, task, descriptor or tree of the lab is left.

    ``folder`` is made 0700 where it is missing. What an operator has (inventory, known hosts, key, passwords)
    stays in it, private, for a look: reports name these files, and nothing listens to the key any more.

    Raises:
        ValueError: two hosts share a name, or the path of the folder for temporary files is not a plain word.
    """
    if len({host.name for host in descriptions}) != len(descriptions):
        raise ValueError("two hosts of the lab have the same name")
    _make_folder(folder)
    hosts: list[_LabHost] = []
    async with AsyncExitStack() as stack:
        stack.enter_context(_quiet())
        trees = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="fleet-lab-", ignore_cleanup_errors=True))
        )
        client = asyncssh.generate_private_key("ssh-ed25519")
        write_private(folder / KEY_FILE, client.export_private_key())
        now = datetime.now(UTC)
        for description in descriptions:
            tree = build_tree(description, trees / description.name, now)
            hosts.append(_LabHost(description, tree, client.export_public_key()))
            stack.push_async_callback(hosts[-1].close)
            await hosts[-1].open()
        _hand_out(folder, hosts)
        yield Lab(folder, hosts)


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("asyncssh")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _hand_out(folder: Path, hosts: Sequence[_LabHost]) -> None:
    write_known_hosts(folder, ((host.port, host.advertised_key) for host in hosts))
    ports = {host.description.name: host.port for host in hosts}
    write_inventory(folder, [host.description for host in hosts], ports)


class _LabHost:
    """One simulated host: its listener, its connections and what they run."""

    def __init__(self, description: HostDescription, tree: HostTree, client_key: bytes) -> None:
        self.description = description
        self.tree = tree
        self.counters = Counters()
        self.client_key = asyncssh.import_public_key(client_key)
        self.port = 0
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._runs: set[asyncio.Task[None]] = set()
        self._silent: set[asyncio.StreamWriter] = set()
        self._listener: asyncssh.SSHAcceptor | asyncio.Server | None = None
        self._socket = socket.socket()

    @property
    def advertised_key(self) -> bytes:
        """The key an operator has on record for it."""
        if self.description.fault is Fault.WRONG_HOST_KEY:
            return asyncssh.generate_private_key("ssh-ed25519").export_public_key()
        return self._host_key.export_public_key()

    async def open(self) -> None:
        """Take a free port of loopback, and listen unless the fault says not to."""
        self._socket.bind((ADDRESS, 0))
        self.port = self._socket.getsockname()[1]
        if self.description.fault is Fault.CONNECTION_REFUSED:
            return
        if self.description.fault is Fault.SILENT_AFTER_ACCEPT:
            self._listener = await asyncio.start_server(self._say_nothing, sock=self._socket)
            return
        self._listener = await asyncssh.listen(
            sock=self._socket,
            server_host_keys=[self._host_key],
            server_factory=lambda: _Server(self),
            process_factory=self._start,
            encoding=None,
            line_editor=False,
            allow_scp=False,
            compression_algs=None,
            login_timeout=_LOGIN_TIMEOUT_S,
            keepalive_interval=0,
            backlog=_BACKLOG,
        )

    async def close(self) -> None:
        """End every connection, wait for what ran on them, stop listening."""
        if self._listener:
            self._listener.close()
        for connection in tuple(self.connections):
            connection.abort()
        for writer in tuple(self._silent):
            writer.transport.abort()
        # A connection that is just being made is only known to the loop; it ends with its socket.
        while self._runs or self._silent:
            await asyncio.gather(*self._runs)
            await asyncio.sleep(0)
        if self._listener:
            await self._listener.wait_closed()
        self._socket.close()

    async def _say_nothing(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counters.connections += 1
        self._silent.add(writer)
        try:
            while await reader.read(4096):
                pass
        except ConnectionError:
            return
        finally:
            self._silent.discard(writer)
            writer.transport.abort()

    def _start(self, client: asyncssh.SSHServerProcess[bytes]) -> None:
        self.counters.commands.append(client.command or "")
        task = asyncio.ensure_future(self._run(client))
        self._runs.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        # One that failed stays, so that closing raises its error.
        if task.cancelled() or task.exception() is None:
            self._runs.discard(task)

    async def _run(self, client: asyncssh.SSHServerProcess[bytes]) -> None:
        fault = self.description.fault
        if fault is Fault.SILENT_AFTER_AUTH:
            await client.wait_closed()
        elif fault is Fault.ENDLESS_OUTPUT:
            await _write_endlessly(client)
        else:
            await run_command(client, client.command or "exit 0", self.tree.root, self._env(), self._limit())

    def _limit(self) -> int | None:
        return CUT_AFTER_BYTES if self.description.fault is Fault.CUT_OUTPUT else None

    def _env(self) -> dict[str, str]:
        path = f"{self.tree.programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {"PATH": path, "HOME": str(self.tree.root), "USER": USER, "LOGNAME": USER, "LANG": "C.UTF-8"}


class _Server(asyncssh.SSHServer):
    """Decides who may log in to one host, and counts who tried."""

    def __init__(self, host: _LabHost) -> None:
        self._host = host
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._host.connections.add(conn)
        self._host.counters.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection:
            self._host.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return not self._host.description.login.password

    def password_auth_supported(self) -> bool:
        return bool(self._host.description.login.password)

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        self._host.counters.auth_attempts += 1
        return self._admits(username) and key == self._host.client_key

    def validate_password(self, username: str, password: str) -> bool:
        self._host.counters.auth_attempts += 1
        self._host.counters.passwords.append(password)
        return self._admits(username) and password == self._host.description.login.password

    def _admits(self, username: str) -> bool:
        return username == USER and not self._host.description.login.is_refused


async def _write_endlessly(client: asyncssh.SSHServerProcess[bytes]) -> None:
    async def write() -> None:
        while True:
            client.stdout.write(_ENDLESS)
            await client.stdout.drain()
            await asyncio.sleep(0)

    writing = asyncio.ensure_future(write())
    await asyncio.wait((writing, asyncio.ensure_future(client.wait_closed())), return_when="FIRST_COMPLETED")
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
