"""From an account to a cache with its Kerberos tickets, filled once a run before the account's first host."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import shutil
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from fleet.errors import AuthError, CredentialError, HostError
from fleet.model.host import Host
from fleet.model.words import Phase
from fleet.parse.keytab import principal_of
from fleet.ports import Guard, Permit, Phases
from fleet.transport.winrm.frames import Kind, TicketRequest
from fleet.transport.winrm.workers import WorkerPool

_EXTRA = (
    "Install the extra: `pip install '.[kerberos]'` in fleet's folder (needs libkrb5-dev and a C compiler)."
)


@dataclass(slots=True)
class _Account:
    """The name of its cache, or why there is none."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    cache: str = ""
    trouble: HostError | None = None


class TicketCaches:
    """Hands out the names of ticket caches; the files lie in a folder of the run's own."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._accounts: dict[bytes, _Account] = {}
        self._folder: Path | None = None

    def close(self) -> None:
        """Remove the tickets."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def cache_of(self, host: Host, password: str | None, guard: Guard, phases: Phases) -> str:
        """The cache for a host's account, "" for the operator's own. Raises HostError.

        A password is tried once for all hosts, under the guard of passwords.
        """
        if not all(map(importlib.util.find_spec, ("gssapi", "krb5"))):
            raise CredentialError("Kerberos is not installed beside fleet", action=_EXTRA)
        keytab = host.winrm.keytab
        if keytab is None and password is None:
            return ""
        phases.enter(Phase.AUTH)
        async with AsyncExitStack() as permits:
            permit = None
            if keytab is None:
                permit = await permits.enter_async_context(guard.attempt("login", host.user, password or ""))
            return await self._served(host, keytab, password or "", permit)

    async def _served(self, host: Host, keytab: str | None, password: str, permit: Permit | None) -> str:
        name = "\0".join((host.user, keytab or "", password))
        account = self._accounts.setdefault(hashlib.sha256(name.encode()).digest(), _Account())
        async with account.lock:
            if not account.cache and account.trouble is None:
                await self._fetch(account, host, keytab, password)
        if account.trouble is not None:
            if permit is not None and isinstance(account.trouble, AuthError):
                permit.refused()
            # Another one each time: a raised error carries the trace of where it was raised.
            raise type(account.trouble)(str(account.trouble), action=account.trouble.action)
        if permit is not None:
            permit.accepted()
        return account.cache

    async def _fetch(self, account: _Account, host: Host, keytab: str | None, password: str) -> None:
        request = TicketRequest(principal=principal_of(host.user), keytab=keytab, into=self._new_cache())
        channel = await self._pool.channel()
        try:
            channel.say(Kind.TICKETS, request.packed(), password)
            await channel.hear()
        except (AuthError, CredentialError) as error:
            # Final for this run; a controller that was not reached may be for the next host.
            account.trouble = error
        else:
            account.cache = request.into

    def _new_cache(self) -> str:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="fleet-tickets-"))
        return f"FILE:{self._folder / str(len(list(self._folder.iterdir())))}-{len(self._accounts)}"
