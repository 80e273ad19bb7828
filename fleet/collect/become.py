"""The conversation with sudo: a password goes out only when sudo asks for it, and once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fleet.errors import PrivilegeError, RemoteError
from fleet.ports import Permit, Process

MAX_TALK_BYTES = 65536


async def become_root(
    process: Process, *, prompt: str, ready: str, password: Callable[[], Awaitable[tuple[str, Permit]]] | None
) -> bytes:
    """Talk until ``ready`` appears on stdout; what followed it on stdout is returned.

    ``password`` is called when sudo's ``prompt`` was seen, never before; a second prompt is answered with
    end of file, so that one wrong password is one attempt. Raises PrivilegeError when sudo refuses.
    """
    out = asyncio.create_task(_read_until(process.read, ready.encode()))
    ask = asyncio.create_task(_read_until(process.read_stderr, prompt.encode()))
    permit: Permit | None = None
    try:
        await asyncio.wait((out, ask), return_when=asyncio.FIRST_COMPLETED)
        while not out.done():
            found, _, said = ask.result()
            if not found:
                await out
                break
            if password is None or permit is not None:
                process.write_eof()
                if permit is not None:
                    permit.refused()
                raise PrivilegeError(_refusal(password is not None, said))
            secret, permit = await password()
            await process.write(secret.encode() + b"\n")
            ask = asyncio.create_task(_read_until(process.read_stderr, prompt.encode()))
            await asyncio.wait((out, ask), return_when=asyncio.FIRST_COMPLETED)
        found, rest, said = out.result()
        if found:
            if permit is not None:
                permit.accepted()
            return rest
        said = ask.result()[2] if ask.done() else b""
        if permit is not None:
            permit.refused()
        raise PrivilegeError("sudo did not start the visit: " + _last_line(said or b"no reason given"))
    finally:
        for task in (out, ask):
            task.cancel()
        await asyncio.gather(out, ask, return_exceptions=True)


async def _read_until(read: Callable[[int], Awaitable[bytes]], mark: bytes) -> tuple[bool, bytes, bytes]:
    """(found, what came after, what came before); not found at end of file."""
    seen = b""
    while mark not in seen:
        part = await read(4096)
        if not part:
            return False, b"", seen
        seen += part
        if len(seen) > MAX_TALK_BYTES and mark not in seen:
            raise RemoteError("the host talks without end before the visit began")
    before, _, after = seen.partition(mark)
    return True, after, before


def _refusal(had_password: bool, said: bytes) -> str:
    if had_password:
        return "sudo refused the password (one attempt was made): check become_password for this host"
    return "sudo asks for a password and the inventory names no become_password"


def _last_line(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return (lines or ["no reason given"])[-1][:200]
