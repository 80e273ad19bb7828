"""Keeps a wrong password from locking an account across the fleet."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from fleet.errors import CredentialError

MAX_REFUSALS = 2
MAX_ATTEMPTS = 4
"""With no answer at all to some: such a host may have counted the attempt."""

_SUSPENDED = (
    "The rows of the hosts that refused it say what to check. Log in to one of them by hand, put right the "
    "user or the password, and run again."
)


@dataclass(slots=True)
class _Account:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_proven: bool = False
    refusals: int = 0
    attempts: int = 0

    @property
    def is_suspended(self) -> bool:
        return not self.is_proven and (self.refusals >= MAX_REFUSALS or self.attempts >= MAX_ATTEMPTS)


class _Permit:
    def __init__(self, account: _Account) -> None:
        self._account = account

    def accepted(self) -> None:
        self._account.is_proven = True

    def refused(self) -> None:
        self._account.refusals += 1


class PasswordGuard:
    """One password that has not yet succeeded in this run is tried on one host at a time. Two refusals, or
    four attempts of which some had no answer, suspend it; after a success a refusal is that host's own
    trouble.

    One account is logged in to as ``ops``, ``CORP\\ops`` and ``ops@corp.example``, by SSH and by WinRM: these
    are the same here. Used from one event loop. Passwords are told apart by a digest, they are not kept.
    """

    def __init__(self) -> None:
        self._accounts: dict[bytes, _Account] = {}

    @asynccontextmanager
    async def attempt(self, kind: str, user: str, password: str) -> AsyncIterator[_Permit]:
        """Wait for the right to try. Raises CredentialError when the password was suspended."""
        key = hashlib.sha256(f"{kind}\0{_account(user)}\0{password}".encode()).digest()
        account = self._accounts.setdefault(key, _Account())
        async with AsyncExitStack() as stack:
            if not account.is_proven:
                await stack.enter_async_context(account.lock)
            if account.is_proven:
                # Those who waited for the proof need not wait for each other.
                await stack.aclose()
            if account.is_suspended:
                raise CredentialError(
                    f"the {kind} password of {user} was tried on {account.attempts} hosts and never "
                    "accepted; it is suspended for the rest of this run so that the account is not locked",
                    action=_SUSPENDED,
                )
            account.attempts += 1
            yield _Permit(account)


def _account(user: str) -> str:
    """The name without its domain, in one case, as Active Directory compares them."""
    return user.rpartition("\\")[2].partition("@")[0].casefold()
