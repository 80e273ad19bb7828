"""Answers the script of a visit as a Windows host does, which runs no PowerShell here: one known script."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from fleet.collect.framing import MAX_STDERR_BYTES, TIER0, deflate
from fleet.collect.plan import script
from fleet.lab.describe import HostDescription
from fleet.lab.windows import Windows
from fleet.lab.windows_answers import LATE, VERBS, Machine, Section
from fleet.lab.winrm.words import Reply, Request, Respond
from fleet.model.words import OS

FUNCTION = "Invoke-FleetVisit"
"""What a session configuration (JEA) offers in place of running the script."""
PIECE_CHARS = 1 << 18
"""How much Base64 is written at a time."""
_CONNECTED = re.compile(rb'(?:"status"\s*:\s*"|Agent Status\s*: )Connected\b')
_FIXED_ARGUMENTS = 3


@dataclass(frozen=True, slots=True)
class Item:
    """One argument of the script, taken apart."""

    name: str
    when: str
    size: int
    keep: str
    verb: str
    words: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Item:
        name, when, _, size, keep, verb, *words = text.split("|")
        return cls(name, when, int(size), keep, verb, tuple(words))


def responder(host: HostDescription, windows: Windows, started_at: datetime) -> Respond:
    """What a simulated server asks when a pipeline comes. What is not the visit's script fails with a word
    of why: an answer of nothing would look like a host that has nothing to say."""
    machine = Machine(host, windows, started_at)
    known = hashlib.sha256(script(OS.WINDOWS)).hexdigest()

    async def respond(request: Request) -> Reply:
        if request.command:
            wrong = "" if request.command == FUNCTION else f"no command {request.command}"
        else:
            digest = hashlib.sha256(request.script.encode()).hexdigest()
            wrong = "" if digest == known else f"no script with SHA-256 {digest}"
        if wrong:
            return Reply(errors=(f"this simulated host knows {wrong}",), is_failed=True)
        # What it waits for its agent it waits for each of its commands.
        return Reply(output=tuple(_answer(machine, request.arguments)), delay_s=host.agent.delay_s)

    return respond


def _answer(machine: Machine, arguments: Sequence[str]) -> Iterator[str]:
    nonce, _, mode = arguments[:_FIXED_ARGUMENTS]
    items = [Item.parse(text) for text in arguments[_FIXED_ARGUMENTS:]]
    text = b"".join(_frames(machine, nonce, mode, items))
    if machine.is_constrained:
        yield f"{nonce} FLEET1 plain {machine.epoch_s}"
        yield from text.decode(errors="replace").split("\n")
        return
    yield f"{nonce} FLEET1 gzip64 {machine.epoch_s}"
    coded = base64.b64encode(deflate(text)).decode()
    yield from (coded[at : at + PIECE_CHARS] for at in range(0, len(coded), PIECE_CHARS))


def _frames(machine: Machine, nonce: str, mode: str, items: Sequence[Item]) -> Iterator[bytes]:
    privilege = machine.windows.login.rights.value
    spared = TIER0 if machine.windows.system.is_controller and mode != TIER0 else ""
    code, kept, has_hung = 0, b"", False
    for item in items:
        why = spared or _why_not(item, code, kept, has_hung=has_hung)
        if why:
            yield f"\n{nonce} skip {item.name} {why}\n".encode()
            continue
        section = _read(machine, item)
        code = section.code
        has_hung |= item.verb == "azcmagent" and code == LATE
        kept = section.data if item.keep == "all" else kept
        yield f"\n{nonce} begin {item.name} {privilege}\n".encode() + section.data
        stderr = section.stderr.encode()[-MAX_STDERR_BYTES:]
        yield f"\n{nonce} end {item.name} {code}\n".encode() + stderr
    yield f"\n{nonce} done {len(items)}\n".encode()


def _why_not(item: Item, code: int, kept: bytes, *, has_hung: bool) -> str:
    if item.when == "failed" and code == 0:
        return "not-needed"
    if item.when == "not-connected" and _CONNECTED.search(kept):
        return "connected"
    return "hung" if has_hung and item.verb == "azcmagent" else ""


def _read(machine: Machine, item: Item) -> Section:
    body = dict(machine.windows.bodies).get(item.name)
    section = VERBS[item.verb](machine, item.words, item.size) if body is None else Section(body)
    data = section.data[: item.size] if item.keep == "oldest" else section.data[-item.size :]
    return replace(section, data=data)
