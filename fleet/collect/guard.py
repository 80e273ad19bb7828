"""Keeps a wrong password from locking an account across the fleet."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fleet.errors import CredentialError

MAX_FAILURES = 2


@dataclass(slots=True)
class _Account:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_proven: bool = False
    failures: int = 0


class _Permit:
    def __init__(self, account: _Account) -> None:
        self._account = account

    def accepted(self) -> None:
        self._account.is_proven = True
        self._account.failures = 0

    def refused(self) -> None:
        self._account.failures += 1


class PasswordGuard:
    """One password that has not yet succeeded in this run is tried on one host at a time. Two refusals with
    no success between suspend it; after a success a refusal is that host's own trouble.

    Used from one event loop. Passwords are told apart by a digest, they are not kept.
    """

    def __init__(self) -> None:
        self._accounts: dict[bytes, _Account] = {}

    @asynccontextmanager
    async def attempt(self, kind: str, user: str, password: str) -> AsyncIterator[_Permit]:
        """Wait for the right to try. Raises CredentialError when the password was suspended."""
        key = hashlib.sha256(f"{kind}\0{user}\0{password}".encode()).digest()
        account = self._accounts.setdefault(key, _Account())
        if account.is_proven:
            yield _Permit(account)
            return
        async with account.lock:
            if not account.is_proven and account.failures >= MAX_FAILURES:
                raise CredentialError(
                    f"the {kind} password of {user} was refused by {MAX_FAILURES} hosts and never accepted; "
                    "it is suspended for the rest of this run so that the account is not locked"
                )
            yield _Permit(account)
