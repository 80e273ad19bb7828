"""Turns descriptions of Windows hosts into WinRM servers on loopback, and what the hosts of a lab share."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from pathlib import Path

from fleet.lab.describe import HostDescription
from fleet.lab.handout import ADDRESS, WindowsHandout
from fleet.lab.windows import Certificate, Windows
from fleet.lab.windows_visit import responder
from fleet.lab.winrm.authority import Authority, ClientCertificate, ServerTls, make_authority
from fleet.lab.winrm.login import ServerAuth
from fleet.lab.winrm.server import DEFAULT_AUTH, WinrmServer
from fleet.lab.winrm.users import User, Users
from fleet.lab.winrm.words import WinrmCounters
from fleet.model.words import Scheme, WinrmAuth

DOMAIN = "CORP"
SHELLS_OF_A_USER = 30
"""As Windows allows unless told otherwise."""
_OFFERS = {
    WinrmAuth.BASIC: (ServerAuth.NEGOTIATE, ServerAuth.BASIC),
    WinrmAuth.CERTIFICATE: (ServerAuth.NEGOTIATE, ServerAuth.CERTIFICATE),
}


class Site:
    """What the Windows hosts of one lab have in common: accounts, and an authority for their certificates.

    Raises:
        ValueError: two hosts have the same user with different passwords.
    """

    def __init__(self, folder: Path, hosts: Iterable[Windows]) -> None:
        self.password = secrets.token_urlsafe(18)
        self._folder = folder
        self._contexts: dict[Certificate, ServerTls] = {}
        logins = [host.login for host in hosts]
        passwords: dict[str, str] = {}
        for login in logins:
            password = login.password or self.password
            if passwords.setdefault(login.user, password) != password:
                raise ValueError(f"two hosts of the lab have {login.user} with different passwords")
        mapped = {login.user for login in logins if login.auth is WinrmAuth.CERTIFICATE}
        digests = (self.client.digest,) if mapped else ()
        self.users = Users(
            folder,
            [
                _account(user, password, digests if user in mapped else ())
                for user, password in passwords.items()
            ],
        )

    @cached_property
    def authority(self) -> Authority:
        """Made where a host needs it."""
        return make_authority(self._folder)

    @cached_property
    def client(self) -> ClientCertificate:
        """The operator's."""
        return self.authority.client("fleet")

    def tls(self, kind: Certificate) -> ServerTls:
        """Of all hosts that show a certificate of that kind."""
        if kind not in self._contexts:
            name = "other.corp.example" if kind is Certificate.WRONG_NAME else ADDRESS
            self._contexts[kind] = self.authority.server(
                name,
                is_expired=kind is Certificate.EXPIRED,
                is_self_signed=kind is Certificate.SELF_SIGNED,
            )
        return self._contexts[kind]

    def handout(self) -> WindowsHandout:
        """What an operator has of it."""
        is_tls = "authority" in vars(self)
        client = self.client if "client" in vars(self) else None
        return WindowsHandout(
            password=self.password,
            ca_file=self.authority.ca_file.name if is_tls else "",
            client_cert=client.certificate.name if client else "",
            client_key=client.key.name if client else "",
        )

    def close(self) -> None:
        """Take back what the servers need of the accounts."""
        self.users.close()


def _account(user: str, password: str, certificates: tuple[bytes, ...]) -> User:
    domain, _, name = user.rpartition("\\")
    if "@" in name:
        own = name.partition("@")[0]
        return User(name=own, password=password, domain=DOMAIN, upn=name, certificates=certificates)
    return User(name=name, password=password, domain=domain, certificates=certificates)


class WindowsHost:
    """One simulated host: its server, which counts what reaches it."""

    def __init__(
        self, description: HostDescription, windows: Windows, site: Site, started_at: datetime
    ) -> None:
        self.description = description
        self.counters = WinrmCounters()
        self.port = 0
        login = windows.login
        self._server = WinrmServer(
            responder(description, windows, started_at),
            site.users,
            tls=site.tls(login.certificate) if login.scheme is Scheme.HTTPS else None,
            auth=_OFFERS.get(login.auth, DEFAULT_AUTH),
            fault=windows.fault,
            counters=self.counters,
            quota=SHELLS_OF_A_USER,
            clock_offset_s=-windows.system.behind_s,
            configurations=(login.configuration,) if login.configuration else (),
        )

    async def open(self) -> None:
        """Take a free port of loopback and serve there."""
        listener = socket.socket()
        listener.bind((ADDRESS, 0))
        self.port = listener.getsockname()[1]
        await self._server.open(listener)

    async def close(self) -> None:
        """End every connection and stop listening."""
        await self._server.close()
