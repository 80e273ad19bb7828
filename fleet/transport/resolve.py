"""Turns an address into socket addresses without letting slow names hold up anybody else."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from typing import Any

from fleet.errors import UnreachableError

MAX_LOOKUPS = 64


class Resolver:
    """Looks names up in threads of its own.

    getaddrinfo cannot be cancelled, and asyncio's shared executor has a handful of threads: a few dead name
    servers would stop the run. The threads are daemons, so that one that hangs does not hold up the end.
    """

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(MAX_LOOKUPS)

    async def resolve(self, address: str, port: int) -> list[tuple[int, Any]]:
        """(family, sockaddr) pairs in the system's order of preference. Raises UnreachableError."""
        if (literal := _literal(address, port)) is not None:
            return [literal]
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[tuple[int, Any]]] = loop.create_future()
        await self._slots.acquire()

        def look_up() -> None:
            try:
                found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
                result: list[tuple[int, Any]] | OSError = [(entry[0], entry[4]) for entry in found]
            except (OSError, UnicodeError) as error:
                result = error if isinstance(error, OSError) else OSError("not a host name")
            try:
                loop.call_soon_threadsafe(settle, result)
            except RuntimeError:
                # The loop is closed: the run ended while this name was still looked up.
                return

        def settle(result: list[tuple[int, Any]] | OSError) -> None:
            self._slots.release()
            if answer.done():
                return
            if isinstance(result, OSError):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        threading.Thread(target=look_up, name=f"resolve {address}", daemon=True).start()
        try:
            return await answer
        except OSError as error:
            reason = error.strerror or str(error)
            raise UnreachableError(f"cannot resolve {address}: {reason}") from error


def _literal(address: str, port: int) -> tuple[int, Any] | None:
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return None
    if version == 4:
        return socket.AF_INET, (address, port)
    return socket.AF_INET6, (address, port, 0, 0)
