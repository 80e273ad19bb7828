"""Names are looked up aside: one that hangs costs its own visit."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from fleet.errors import UnreachableError
from fleet.transport.resolve import Resolver


async def test_an_address_needs_no_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "getaddrinfo")
    resolver = Resolver(1)
    assert await resolver.resolve("192.0.2.1", 22) == [(socket.AF_INET, ("192.0.2.1", 22))]
    assert await resolver.resolve("2001:db8::1", 22) == [(socket.AF_INET6, ("2001:db8::1", 22, 0, 0))]


async def test_an_unknown_name_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    resolver = Resolver(1)
    for _ in range(2):
        with pytest.raises(
            UnreachableError, match=r"cannot resolve web01\.invalid: Name or service"
        ) as caught:
            await resolver.resolve("web01.invalid", 22)
        assert "DNS" in caught.value.action


async def test_what_is_no_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreachableError, match="cannot resolve"):
        await Resolver(1).resolve("a" * 70 + ".example", 22)


async def test_a_name_that_hangs_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def look_up(name: str, *_: object, **__: object) -> list[object]:
        if name == "slow":
            release.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 22))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    resolver = Resolver(2)
    slow = asyncio.create_task(resolver.resolve("slow", 22))
    await asyncio.sleep(0)
    for _ in range(3):
        assert await resolver.resolve("quick", 22) == [(socket.AF_INET, ("192.0.2.7", 22))]
    assert not slow.done()
    slow.cancel()
    release.set()
    # Its slot comes back though nobody waits for it any more.
    found = await asyncio.gather(resolver.resolve("quick", 22), resolver.resolve("quick", 22))
    assert len(found) == 2


async def test_a_thread_that_cannot_start_gives_its_slot_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    resolver = Resolver(1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(UnreachableError, match="can't start new thread"):
            await resolver.resolve("web01", 22)
    assert await resolver.resolve("localhost", 22)
