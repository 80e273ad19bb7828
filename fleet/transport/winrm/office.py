"""Where the parent gets Kerberos tickets: once for each account of a run, before its first host."""

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
from fleet.ports import Guard, Permit, Phases
from fleet.transport.winrm.crew import Crew
from fleet.transport.winrm.frames import Errand, Kind

_EXTRA = (
    "Install the extra: `pip install '.[kerberos]'` in fleet's folder (needs libkrb5-dev and a C compiler)."
)


@dataclass(slots=True)
class _Desk:
    """One account's: its tickets, or why there are none."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    tickets: str = ""
    trouble: HostError | None = None


class TicketOffice:
    """Hands out the names of ticket caches; the files lie in a folder of the run's own."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._desks: dict[bytes, _Desk] = {}
        self._folder: Path | None = None

    def close(self) -> None:
        """Remove the tickets."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def tickets(self, host: Host, password: str | None, guard: Guard, phases: Phases) -> str:
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
        desk = self._desks.setdefault(hashlib.sha256(name.encode()).digest(), _Desk())
        async with desk.lock:
            if not desk.tickets and desk.trouble is None:
                await self._fetch(desk, host, keytab, password)
        if desk.trouble is not None:
            if permit is not None and isinstance(desk.trouble, AuthError):
                permit.refused()
            # Another one each time: a raised error carries the trace of where it was raised.
            raise type(desk.trouble)(str(desk.trouble), action=desk.trouble.action)
        if permit is not None:
            permit.accepted()
        return desk.tickets

    async def _fetch(self, desk: _Desk, host: Host, keytab: str | None, password: str) -> None:
        errand = Errand(principal=principal_of(host.user), keytab=keytab, into=self._new_cache())
        channel = await self._crew.channel()
        try:
            channel.say(Kind.TICKETS, errand.packed(), password)
            await channel.hear()
        except (AuthError, CredentialError) as error:
            # Final for this run; a controller that was not reached may be for the next host.
            desk.trouble = error
        else:
            desk.tickets = errand.into

    def _new_cache(self) -> str:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="fleet-tickets-"))
        return f"FILE:{self._folder / str(len(list(self._folder.iterdir())))}-{len(self._desks)}"


def principal_of(user: str) -> str:
    """``svc@corp.example`` or ``CORP.EXAMPLE\\svc`` as Kerberos writes it; no realm is the default one."""
    domain, _, name = user.rpartition("\\")
    if domain:
        return f"{name}@{domain.upper()}" if "." in domain else name
    name, _, realm = user.rpartition("@")
    return f"{name}@{realm.upper()}" if name else user
