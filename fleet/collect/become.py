"""The conversation with sudo: a password goes out only when sudo asks for it, and once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fleet.errors import PrivilegeError, RemoteError
from fleet.ports import Permit, Process

MAX_TALK_BYTES = 65536
LAST_WORDS_S = 1.0
"""How long sudo's own words may come after the end of its stdout."""

# What sudo says after the one attempt it allows, and what it says of a user whose password it took.
_WRONG = re.compile(rb"incorrect password attempt")
_RIGHT_BUT_NOT_ALLOWED = re.compile(rb"not in the sudoers|not allowed to (?:execute|run)|may not run sudo")
# It quotes our command line, which is a thousand words long.
_COMMAND_LINE = re.compile(r"'[^']{40,}(?:'|$)")
_ALLOW = (
    "Allow this login sudo, with become_password where sudo asks for one, or use `become: reads` with the "
    "drop-in of `fleet privileges sudoers`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Talk:
    """What one stream said: whether the mark was seen, what came before it and after it."""

    found: bool
    before: bytes
    after: bytes = b""


async def become_root(
    process: Process, *, prompt: str, ready: str, password: Callable[[], Awaitable[tuple[str, Permit]]] | None
) -> bytes:
    """Talk until ``ready`` appears on stdout; what followed it on stdout is returned.

    ``password`` is called when sudo's ``prompt`` was seen, never before; a second prompt is answered with
    end of file, so that one wrong password is one attempt. Raises PrivilegeError when sudo refuses.
    """
    out = asyncio.create_task(_read_until(process.read, ready.encode()))
    try:
        asks, said = await _next(process, prompt, out)
        if not asks:
            return _started(out, said)
        if password is None:
            process.write_eof()
            raise PrivilegeError(
                "sudo asks for a password and the inventory names no become_password", action=_ALLOW
            )
        secret, permit = await password()
        await process.write(secret.encode() + b"\n")
        return await _answered(process, prompt, out, permit)
    finally:
        out.cancel()
        await asyncio.gather(out, return_exceptions=True)


async def _answered(process: Process, prompt: str, out: asyncio.Task[_Talk], permit: Permit) -> bytes:
    asks, said = await _next(process, prompt, out)
    if asks or _WRONG.search(said):
        permit.refused()
    elif out.result().found or _RIGHT_BUT_NOT_ALLOWED.search(said):
        permit.accepted()
    if asks:
        process.write_eof()
    if asks or _WRONG.search(said):
        raise PrivilegeError(
            "sudo refused the password; one attempt was made",
            action="Check become_password for this host.",
        )
    return _started(out, said)


async def _next(process: Process, prompt: str, out: asyncio.Task[_Talk]) -> tuple[bool, bytes]:
    """Whether sudo asks before stdout has its mark or its end; if not, what sudo said instead."""
    ask = asyncio.create_task(_read_until(process.read_stderr, prompt.encode()))
    try:
        await asyncio.wait((out, ask), return_when=asyncio.FIRST_COMPLETED)
        if not out.done() and ask.result().found:
            return True, b""
        if not (await out).found:
            await asyncio.wait((ask,), timeout=LAST_WORDS_S)
        return False, ask.result().before if ask.done() else b""
    finally:
        ask.cancel()
        await asyncio.gather(ask, return_exceptions=True)


def _started(out: asyncio.Task[_Talk], said: bytes) -> bytes:
    if out.result().found:
        return out.result().after
    if said.strip():
        raise PrivilegeError("sudo did not start the visit: " + _last_line(said), action=_ALLOW)
    # Without a word of sudo it is the login that does not run what it is told to.
    raise RemoteError("the host did not start the visit: " + _last_line(out.result().before))


async def _read_until(read: Callable[[int], Awaitable[bytes]], mark: bytes) -> _Talk:
    seen = b""
    while mark not in seen:
        part = await read(4096)
        if not part:
            return _Talk(found=False, before=seen)
        seen += part
        if len(seen) > MAX_TALK_BYTES and mark not in seen:
            raise RemoteError("the host talks without end before the visit began")
    before, _, after = seen.partition(mark)
    return _Talk(found=True, before=before, after=after)


def as_text(said: bytes) -> str:
    """What a host said, for a message; bytes that are no text in any encoding are not quoted."""
    text = said.decode("utf-8", "replace").strip()
    strange = sum(char == "\ufffd" or not (char.isprintable() or char.isspace()) for char in text)
    return "bytes that are no text" if strange * 4 > len(text) else text


def _last_line(said: bytes) -> str:
    lines = as_text(said).splitlines()
    line = _COMMAND_LINE.sub("the visit", (lines or ["it said nothing"])[-1])[:4096]
    return "".join(char if char.isprintable() else " " for char in line)
