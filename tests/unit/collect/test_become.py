"""The conversation with sudo: what goes out, and when."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from fleet.collect.become import become_root
from fleet.collect.guard import PasswordGuard
from fleet.errors import CredentialError, PrivilegeError, RemoteError
from fleet.ports import Permit


class Sudo:
    """Plays sudo on the three streams: asks as often as it has prompts, then is ready or gives up."""

    def __init__(self, *, prompts: int, accepts: bool, says: bytes = b"", prints: bytes = b"") -> None:
        self.written: list[bytes] = []
        self.eof = False
        self._out: asyncio.Queue[bytes] = asyncio.Queue()
        self._err: asyncio.Queue[bytes] = asyncio.Queue()
        self._left = prompts
        self._accepts = accepts
        self._says = says
        self._prints = prints
        self._next()

    def _next(self) -> None:
        if self._left:
            self._left -= 1
            self._err.put_nowait(b"lecture PROMPT")
        elif self._accepts:
            self._out.put_nowait(b"READY\nrest")
        else:
            self._end()

    def _end(self) -> None:
        # Its stdout ends first: its reason may come a moment later.
        if self._prints:
            self._out.put_nowait(self._prints)
        self._out.put_nowait(b"")
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._err.put_nowait, self._says)
        loop.call_soon(loop.call_soon, self._err.put_nowait, b"")

    async def write(self, data: bytes) -> None:
        self.written.append(data)
        self._next()

    def write_eof(self) -> None:
        self.eof = True
        self._end()

    async def read(self, limit: int) -> bytes:
        return (await self._out.get())[:limit]

    async def read_stderr(self, limit: int) -> bytes:
        return (await self._err.get())[:limit]


async def talk(sudo: Sudo, guard: PasswordGuard, password: str | None) -> bytes:
    async with AsyncExitStack() as stack:

        async def ask() -> tuple[str, Permit]:
            assert password is not None
            return password, await stack.enter_async_context(guard.attempt("sudo", "ops", password))

        return await become_root(
            sudo, prompt="PROMPT", ready="READY", password=None if password is None else ask
        )


async def test_where_sudo_does_not_ask_the_password_stays_here() -> None:
    sudo = Sudo(prompts=0, accepts=True)
    assert await talk(sudo, PasswordGuard(), "secret") == b"\nrest"
    assert sudo.written == []


async def test_the_password_goes_out_once_when_asked() -> None:
    sudo = Sudo(prompts=1, accepts=True)
    assert await talk(sudo, PasswordGuard(), "secret") == b"\nrest"
    assert sudo.written == [b"secret\n"]


async def test_a_second_prompt_is_answered_with_end_of_file() -> None:
    sudo = Sudo(prompts=2, accepts=True)
    with pytest.raises(PrivilegeError, match="one attempt was made"):
        await talk(sudo, PasswordGuard(), "wrong")
    assert (sudo.written, sudo.eof) == ([b"wrong\n"], True)


async def test_asked_without_a_password_to_give() -> None:
    sudo = Sudo(prompts=1, accepts=True)
    with pytest.raises(PrivilegeError, match="names no become_password"):
        await talk(sudo, PasswordGuard(), None)
    assert (sudo.written, sudo.eof) == ([], True)


async def test_what_sudo_says_is_told() -> None:
    sudo = Sudo(prompts=0, accepts=False, says=b"ops is not in the sudoers file.\n")
    with pytest.raises(PrivilegeError, match="ops is not in the sudoers file"):
        await talk(sudo, PasswordGuard(), "secret")


async def test_bytes_that_mean_nothing_are_not_quoted() -> None:
    sudo = Sudo(prompts=0, accepts=False, prints=bytes(range(128, 256)) + b"words")
    with pytest.raises(RemoteError, match=r"start the visit: bytes that are no text$"):
        await talk(sudo, PasswordGuard(), "secret")


async def test_a_login_that_runs_something_else_lacks_no_privilege() -> None:
    sudo = Sudo(prompts=0, accepts=False, prints=b"\x1bThis account is\ncurrently \xff not available.\n")
    with pytest.raises(RemoteError, match=r"start the visit: currently \ufffd not available\.$"):
        await talk(sudo, PasswordGuard(), "secret")


@pytest.mark.parametrize(
    ("says", "is_proven"),
    [
        (b"ops is not in the sudoers file.\n", True),
        (
            b"Sorry, user ops is not allowed to execute '/bin/sh -c %s' as root on db01.\n" % (b"x" * 999),
            True,
        ),
        (b"Sorry, user ops may not run sudo on db01.\n", True),
        (b"sudo: 1 incorrect password attempt\n", False),
    ],
    ids=["sudoers", "command", "host", "wrong"],
)
async def test_a_password_that_was_right_is_not_refused_by_the_policy(says: bytes, is_proven: bool) -> None:
    guard = PasswordGuard()
    for _ in range(2):
        with pytest.raises(PrivilegeError) as caught:
            await talk(Sudo(prompts=1, accepts=False, says=says), guard, "secret")
        assert len(str(caught.value)) < 150
        assert ("become_password for this host" in caught.value.action) is not is_proven
    if is_proven:
        assert await talk(Sudo(prompts=1, accepts=True), guard, "secret") == b"\nrest"
    else:
        with pytest.raises(CredentialError):
            await talk(Sudo(prompts=1, accepts=True), guard, "secret")


async def test_a_right_password_proves_itself() -> None:
    guard = PasswordGuard()
    await talk(Sudo(prompts=1, accepts=True), guard, "secret")
    for _ in range(3):
        with pytest.raises(PrivilegeError):
            await talk(Sudo(prompts=2, accepts=True), guard, "secret")
