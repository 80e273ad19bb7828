"""Turns one real answer to the visit's script into the answers of thousands of like hosts."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from fleet.collect.framing import Form, deflate, find_header, inflate
from fleet.collect.plan import script
from fleet.lab.command import Command
from fleet.lab.describe import Fault, HostDescription, Login
from fleet.lab.faults import LOST, TOLD, Client, pass_on

SHAPE = "fleet-lab-shape"
"""The name in a recorded answer, in whose place each host's own is put."""

_MAX_ANSWER_BYTES = 1 << 26

Record = Callable[[str, bytes], Awaitable[bytes]]
"""A command and a script to what a real shell in the host's tree prints."""


def shape_of(host: HostDescription) -> HostDescription:
    """What hosts have in common that differ in their names and in how they are reached."""
    agent = replace(host.agent, resource_name=SHAPE if host.agent.resource_name else "")
    login = Login(is_sudo_refused=host.login.is_sudo_refused)
    return replace(host, name=SHAPE, labels=(), login=login, fault=Fault.NONE, agent=agent)


def copies(hosts: Sequence[HostDescription], count: int) -> Iterator[HostDescription]:
    """That many hosts, each like one of these in turn, with names of their own: ``web01-00012``."""
    for number in range(count):
        host = hosts[number % len(hosts)]
        name = f"{host.name}-{number // len(hosts) + 1:05}"
        agent = replace(host.agent, resource_name=name if host.agent.resource_name else "")
        yield replace(host, name=name, agent=agent)


class Answers:
    """The recorded answers of one shape, by what was asked and the SHA-256 of the script."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._kept: dict[tuple[str, str, str], tuple[str, bytes]] = {}
        self._lock = asyncio.Lock()

    async def answer(self, command: Command, text: bytes, name: str) -> bytes:
        """The answer to that script as a host of that name gives it; recorded where none is known yet.
        A script that prints no header, as one that was cut, gets what it printed."""
        key = (command.head, command.items, hashlib.sha256(text).hexdigest())
        async with self._lock:
            if key not in self._kept:
                data = await self._record(f"{command.head} {command.nonce} canned {command.items}", text)
                header = find_header(data, command.nonce)
                if header is None:
                    return data
                rest = data[header.end :]
                plain = inflate(rest, _MAX_ANSWER_BYTES) if header.form is Form.GZIP else rest
                self._kept[key] = command.nonce, plain
        nonce, plain = self._kept[key]
        plain = plain.replace(nonce.encode(), command.nonce.encode()).replace(SHAPE.encode(), name.encode())
        return f"\n{command.nonce} FLEET1 gzip {int(time.time())}\n".encode() + deflate(plain)


async def serve_canned(
    client: Client,
    command: Command,
    host: HostDescription,
    answers: Answers,
    count_password: Callable[[], None],
) -> None:
    """One visit: sudo's questions as the host's login has them, then the recorded answer to the script."""
    with suppress(*LOST):
        try:
            is_answered = await _answer(client, command, host, answers, count_password)
        except TOLD:
            is_answered = False
        client.exit(0 if is_answered else 1)


async def _answer(
    client: Client,
    command: Command,
    host: HostDescription,
    answers: Answers,
    count_password: Callable[[], None],
) -> bool:
    if command.ready and not await _became(client, command, host.login, count_password):
        return False
    answer = await answers.answer(command, await _script(client), host.agent.resource_name or host.name)
    source = asyncio.StreamReader()
    source.feed_data(answer)
    source.feed_eof()
    await pass_on(source, client.stdout, host.fault)
    return True


async def _script(client: Client) -> bytes:
    """The script of a visit, whose stdin stays open; any other up to the end of stdin."""
    known = script()
    try:
        text = await client.stdin.readexactly(len(known))
    except asyncio.IncompleteReadError as error:
        return bytes(error.partial)
    return text if text == known else text + await client.stdin.read()


async def _became(client: Client, command: Command, login: Login, count_password: Callable[[], None]) -> bool:
    if login.is_sudo_refused:
        client.stderr.write(b"Sorry, user ops may not run sudo on this host.\n")
        return False
    if login.sudo_password:
        client.stderr.write(command.prompt.encode())
        given = await client.stdin.readline()
        if not given:
            client.stderr.write(b"sudo: no password was provided\n")
            return False
        count_password()
        if given.rstrip(b"\n").decode(errors="replace") != login.sudo_password:
            client.stderr.write(b"Sorry, try again.\n" + command.prompt.encode())
            await client.stdin.read()
            client.stderr.write(b"sudo: 1 incorrect password attempt\n")
            return False
    client.stdout.write(f"{command.ready}\n".encode())
    return True
