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
    """Settled once. One that was used and never settled counts as refused: the host may have counted it."""

    def __init__(self, account: _Account) -> None:
        self._account = account
        self._is_settled = False

    def accepted(self) -> None:
        if not self._is_settled:
            self._account.is_proven = True
            self._account.failures = 0
        self._is_settled = True

    def refused(self) -> None:
        if not self._is_settled:
            self._account.failures += 1
        self._is_settled = True


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
        permit = _Permit(account)
        if account.is_proven:
            yield permit
            return
        async with account.lock:
            if not account.is_proven and account.failures >= MAX_FAILURES:
                raise CredentialError(
                    f"the {kind} password of {user} was refused by {MAX_FAILURES} hosts and never accepted; "
                    "it is suspended for the rest of this run so that the account is not locked"
                )
            try:
                yield permit
            finally:
                permit.refused()
