"""Turns descriptions into running SSH and WinRM servers on loopback, and back into nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import asyncssh

from fleet.collect.plan import script
from fleet.lab.canned import Answers, serve_canned, shape_of
from fleet.lab.command import Command
from fleet.lab.describe import Fault, HostDescription
from fleet.lab.faults import OUTPUTS, RawServer
from fleet.lab.handout import (
    ADDRESS,
    INVENTORY_FILE,
    KEY_FILE,
    KNOWN_HOSTS_FILE,
    USER,
    WindowsHandout,
    write_inventory,
    write_known_hosts,
)
from fleet.lab.no_answer import NoAnswer
from fleet.lab.private import write_private
from fleet.lab.scratch import scratch_folder
from fleet.lab.shell import record_answer, run_command
from fleet.lab.tree import HostTree, build_tree
from fleet.lab.windows_host import Site, WindowsHost
from fleet.lab.windows_ssh import serve_windows
from fleet.lab.windows_visit import responder
from fleet.lab.winrm.words import WinrmCounters
from fleet.model.words import Connection

_LOGIN_TIMEOUT_S = 120
_BACKLOG = 256


@dataclass(slots=True, kw_only=True)
class Counters:
    """What reached one host. ``auth_attempts``: keys shown and passwords sent; ``commands``: as received;
    ``canned_sudo_attempts``: passwords that a canned host's sudo has read."""

    connections: int = 0
    auth_attempts: int = 0
    canned_sudo_attempts: int = 0
    passwords: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)


class Lab:
    """A running fleet. ``folder`` holds its inventory, known hosts and client key."""

    def __init__(self, folder: Path, hosts: Sequence[_LabHost], windows: Sequence[WindowsHost] = ()) -> None:
        self.folder = folder
        self.inventory = folder / INVENTORY_FILE
        self.known_hosts = folder / KNOWN_HOSTS_FILE
        self.key_file = folder / KEY_FILE
        self._hosts = {host.description.name: host for host in hosts}
        self._windows = {host.description.name: host for host in windows}

    @property
    def descriptions(self) -> tuple[HostDescription, ...]:
        """The hosts, as they were described, those with WinRM at the end."""
        over_ssh = tuple(host.description for host in self._hosts.values())
        return over_ssh + tuple(host.description for host in self._windows.values())

    def port(self, name: str) -> int:
        """The port of 127.0.0.1 the host listens on."""
        return self._windows[name].port if name in self._windows else self._hosts[name].port

    def winrm(self, name: str) -> WinrmCounters:
        """What reached that host over WinRM so far; it goes on counting. The rest is of hosts over SSH."""
        return self._windows[name].counters

    def tree(self, name: str) -> Path:
        """The folder that stands for the host's ``/``; one of Windows has none."""
        tree = self._hosts[name].tree
        assert tree is not None
        return tree.root

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
        host = self._hosts[name]
        in_shells = host.tree.sudo_attempts if host.tree else 0
        return in_shells + host.counters.canned_sudo_attempts


@asynccontextmanager
async def start_lab(
    descriptions: Sequence[HostDescription], folder: Path, *, is_canned: bool = False
) -> AsyncIterator[Lab]:
    """Start one server a host; at the end no process, task, descriptor or tree of the lab is left.

    ``folder`` is made 0700 where it is missing. What an operator has (inventory, known hosts, key, passwords)
    stays in it, private, for a look: reports name these files, and nothing listens to the key any more.
    ``is_canned``: hosts that differ in name and login only share one tree, in which a real shell runs each
    script once; what it printed is given to all of them. A thousand hosts then cost no thousand shells.

    Raises:
        ValueError: two hosts share a name, or the path of the folder for temporary files is not a plain word.
    """
    if len({host.name for host in descriptions}) != len(descriptions):
        raise ValueError("two hosts of the lab have the same name")
    _make_folder(folder)
    hosts: list[_LabHost] = []
    async with AsyncExitStack() as stack:
        stack.enter_context(_quiet())
        now = datetime.now(UTC)
        trees = _Trees(stack.enter_context(scratch_folder()), now)
        client = asyncssh.generate_private_key("ssh-ed25519")
        write_private(folder / KEY_FILE, client.export_private_key())
        windows, handout = await _open_windows(descriptions, folder, now, stack)
        for description in descriptions:
            if _has_winrm(description):
                continue
            tree, answers = trees.of(description, is_canned=is_canned)
            hosts.append(_LabHost(description, now, tree, client.export_public_key(), answers))
            stack.push_async_callback(hosts[-1].close)
            await hosts[-1].open()
        write_known_hosts(folder, ((host.port, host.advertised_key) for host in hosts))
        ports = {host.description.name: host.port for host in hosts}
        ports |= {host.description.name: host.port for host in windows}
        write_inventory(folder, descriptions, ports, handout)
        yield Lab(folder, hosts, windows)


async def _open_windows(
    descriptions: Sequence[HostDescription], folder: Path, started_at: datetime, stack: AsyncExitStack
) -> tuple[list[WindowsHost], WindowsHandout | None]:
    """Start those that are reached over WinRM; and what an operator has of them."""
    described = [(host, host.windows) for host in descriptions if host.windows and _has_winrm(host)]
    if not described:
        return [], None
    site = Site(folder, (windows for _, windows in described))
    stack.callback(site.close)
    opened = []
    for host, windows in described:
        opened.append(WindowsHost(host, windows, site, started_at))
        stack.push_async_callback(opened[-1].close)
        await opened[-1].open()
    return opened, site.handout()


def _has_winrm(host: HostDescription) -> bool:
    return host.windows is not None and host.windows.login.connection is Connection.WINRM


@contextmanager
def running_lab(
    descriptions: Sequence[HostDescription], folder: Path, *, is_canned: bool = False
) -> Iterator[Lab]:
    """``start_lab`` in a thread and a loop of its own, so that it never waits for the program that visits it.

    Raises what starting or ending the lab raises, with the thread ended.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="lab")
    thread.start()
    manager = start_lab(descriptions, folder, is_canned=is_canned)
    try:
        lab = asyncio.run_coroutine_threadsafe(manager.__aenter__(), loop).result()
        try:
            yield lab
        finally:
            asyncio.run_coroutine_threadsafe(manager.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Trees:
    """Makes the trees, one a host or one a shape, with the recorded answers of the shape."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self._folder = folder
        self._now = now
        self._shapes: dict[HostDescription, tuple[HostTree, Answers]] = {}

    def of(self, host: HostDescription, *, is_canned: bool) -> tuple[HostTree | None, Answers | None]:
        if host.windows:
            return None, None
        return self._canned(host) if is_canned else (self._own(host), None)

    def _own(self, host: HostDescription) -> HostTree:
        return build_tree(host, self._folder / host.name, self._now)

    def _canned(self, host: HostDescription) -> tuple[HostTree, Answers]:
        shape = shape_of(host)
        if shape not in self._shapes:
            tree = build_tree(shape, self._folder / f"shape-{len(self._shapes)}", self._now)
            self._shapes[shape] = tree, Answers(partial(_record, tree))
        return self._shapes[shape]


async def _record(tree: HostTree, command: str, text: bytes) -> bytes:
    # The visit's script takes the end of stdin for the end of its connection.
    return await record_answer(command, text, tree.root, _env(tree), stays_open=text == script())


def _env(tree: HostTree) -> dict[str, str]:
    path = f"{tree.programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {"PATH": path, "HOME": str(tree.root), "USER": USER, "LOGNAME": USER, "LANG": "C.UTF-8"}


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


class _LabHost:
    """One simulated host: its listener, its connections and what they run."""

    def __init__(
        self,
        description: HostDescription,
        started_at: datetime,
        tree: HostTree | None,
        client_key: bytes,
        answers: Answers | None,
    ) -> None:
        self.description = description
        self.tree = tree
        windows = description.windows
        self.user = windows.login.user if windows else USER
        self.password = windows.login.password if windows else description.login.password
        self._respond = responder(description, windows, started_at) if windows else None
        self.counters = Counters()
        self.client_key = asyncssh.import_public_key(client_key)
        self.port = 0
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._answers = answers
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._runs: set[asyncio.Task[None]] = set()
        self._ssh: asyncssh.SSHAcceptor | None = None
        self._raw: RawServer | None = None
        self._full: NoAnswer | None = None
        self._socket = socket.socket()

    @property
    def advertised_key(self) -> bytes:
        """The key an operator has on record for it."""
        if self.description.fault is Fault.WRONG_HOST_KEY:
            return asyncssh.generate_private_key("ssh-ed25519").export_public_key()
        return self._host_key.export_public_key()

    async def open(self) -> None:
        """Take a free port of loopback, and do there what the fault says."""
        self._socket.bind((ADDRESS, 0))
        self.port = self._socket.getsockname()[1]
        match self.description.fault:
            case Fault.CONNECTION_REFUSED:
                pass
            case Fault.NO_ANSWER:
                self._full = NoAnswer(self._socket)
            case Fault.SILENT_AFTER_ACCEPT | Fault.NOT_SSH as fault:
                self._raw = RawServer(fault, self._count_connection)
                await self._raw.open(self._socket)
            case _:
                self._ssh = await self._listen()

    async def _listen(self) -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
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
        if self._full:
            self._full.close()
        if self._raw:
            await self._raw.close()
        if self._ssh:
            self._ssh.close()
        # A connection that is just being made is only known to the loop; it ends with its socket.
        while self.connections or self._runs:
            for connection in tuple(self.connections):
                connection.abort()
            await asyncio.gather(*self._runs)
            await asyncio.sleep(0)
        if self._ssh:
            await self._ssh.wait_closed()
        self._socket.close()

    def _count_connection(self) -> None:
        self.counters.connections += 1

    def _count_sudo(self) -> None:
        self.counters.canned_sudo_attempts += 1

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
        command = Command.parse(client.command or "") if self._answers else None
        if fault in OUTPUTS:
            await OUTPUTS[fault](client)
        elif self._answers and command:
            await serve_canned(client, command, self.description, self._answers, self._count_sudo)
        elif self.description.windows and self._respond:
            mode = self.description.windows.system.language_mode
            await serve_windows(client, self._respond, mode, self.user)
        elif self.tree:
            await run_command(client, client.command or "exit 0", self.tree.root, _env(self.tree), fault)


class _Server(asyncssh.SSHServer):
    """Decides who may log in to one host, and counts who tried."""

    def __init__(self, host: _LabHost) -> None:
        self._host = host
        self._connection: asyncssh.SSHServerConnection | None = None
        self._lost = asyncio.Event()

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._host.connections.add(conn)
        self._host.counters.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.set()
        if self._connection:
            self._host.connections.discard(self._connection)

    async def begin_auth(self, username: str) -> bool:
        if self._host.description.fault is Fault.SILENT_AT_LOGIN:
            await self._lost.wait()
        return True

    def public_key_auth_supported(self) -> bool:
        return not self._host.password

    def password_auth_supported(self) -> bool:
        return bool(self._host.password)

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        self._host.counters.auth_attempts += 1
        return self._admits(username) and key == self._host.client_key

    def validate_password(self, username: str, password: str) -> bool:
        self._host.counters.auth_attempts += 1
        self._host.counters.passwords.append(password)
        return self._admits(username) and password == self._host.password

    def _admits(self, username: str) -> bool:
        return username == self._host.user and not self._host.description.login.is_refused
