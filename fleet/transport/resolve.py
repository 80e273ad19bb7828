"""Turns an address into socket addresses without letting slow names hold up anybody else."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from typing import Any

from fleet.errors import UnreachableError

_NO_NAME = (
    "See whether this machine can look the name up (`getent hosts NAME`); put right its DNS, or `address` in "
    "the inventory."
)

Addresses = list[tuple[int, Any]]


class Resolver:
    """Looks names up in threads of its own.

    getaddrinfo cannot be cancelled, and asyncio's shared executor has a handful of threads: a few dead name
    servers would stop the run. The threads are daemons, so that one that hangs does not hold up the end.

    Args:
        slots: look-ups at once. A visit that gives up leaves its look-up behind: have more than visits.
    """

    def __init__(self, slots: int) -> None:
        self._slots = asyncio.Semaphore(slots)

    async def resolve(self, address: str, port: int) -> Addresses:
        """(family, sockaddr) pairs in the system's order of preference. Raises UnreachableError."""
        if (literal := _literal(address, port)) is not None:
            return [literal]
        await self._slots.acquire()
        answer: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()
        try:
            self._start(address, port, answer)
        except RuntimeError as error:
            self._slots.release()
            raise UnreachableError(f"cannot look up {address}: {error}") from error
        try:
            return await answer
        except OSError as error:
            raise UnreachableError(
                f"cannot resolve {address}: {error.strerror or error}", action=_NO_NAME
            ) from error

    def _start(self, address: str, port: int, answer: asyncio.Future[Addresses]) -> None:
        loop = answer.get_loop()

        def settle(result: Addresses | OSError) -> None:
            self._slots.release()
            if answer.done():
                return
            if isinstance(result, OSError):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        def look_up() -> None:
            result = _look_up(address, port)
            try:
                loop.call_soon_threadsafe(settle, result)
            except RuntimeError:
                # The loop is closed: the run ended while this name was still looked up.
                return

        threading.Thread(target=look_up, name=f"resolve {address}", daemon=True).start()


def _look_up(address: str, port: int) -> Addresses | OSError:
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return error
    except UnicodeError:
        return OSError("not a host name")
    return [(entry[0], entry[4]) for entry in found]


def _literal(address: str, port: int) -> tuple[int, Any] | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv4Address):
        return socket.AF_INET, (address, port)
    # The number of a link-local address's interface is the system's to find.
    return None if parsed.scope_id else (socket.AF_INET6, (address, port, 0, 0))
