"""A host as the inventory resolved it: flat, with references to credentials and never their values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fleet.model.words import OS, Become, Connection, HostKeyPolicy, Scheme, WinrmAuth

SSH_AGENT = "ssh-agent"
"""The word for ``key_file`` that asks for the running ssh-agent instead of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRef:
    """Where a secret is: ``env`` and a variable's name, or ``file`` and an absolute path."""

    scheme: str
    target: str

    def __post_init__(self) -> None:
        if self.scheme not in ("env", "file") or not self.target:
            raise ValueError(f"not a secret reference: {self.scheme}:{self.target}")

    def __str__(self) -> str:
        return f"{self.scheme}:{self.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Winrm:
    """How a Windows host is reached over WinRM. Paths are absolute.

    ``cert_validation``: ``strict``, ``off`` or ``sha256:`` and 64 hex digits of the certificate.
    ``spn_host`` None: the host's address. ``proxy``: a ``socks5h://`` or ``http://`` URL without credentials.
    ``configuration_name``: a session configuration (JEA) that offers the visit as a function; None: the usual
    one, which runs the script.
    """

    scheme: Scheme = Scheme.HTTP
    auth: WinrmAuth = WinrmAuth.NEGOTIATE
    keytab: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    ca_file: str | None = None
    cert_validation: str = "strict"
    spn_service: str = "HTTP"
    spn_host: str | None = None
    proxy: str | None = None
    configuration_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host to visit. Paths are absolute; ``port`` is 1 to 65535; groups are outermost first.

    ``os``: the family whose script it runs. ``tier0``: a domain controller of Windows may be visited.
    """

    name: str
    address: str
    port: int = 22
    connection: Connection = Connection.SSH
    os: OS = OS.LINUX
    user: str = ""
    key_file: str | None = None
    password: SecretRef | None = None
    become: Become = Become.NONE
    become_password: SecretRef | None = None
    known_hosts: str | None = None
    host_key_policy: HostKeyPolicy = HostKeyPolicy.STRICT
    winrm: Winrm = Winrm()
    tier0: bool = False
    groups: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.name or not self.address:
            raise ValueError("a host needs a name and an address")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port {self.port} is not within 1..65535")
        if self.connection is Connection.WINRM and self.os is not OS.WINDOWS:
            raise ValueError("winrm reaches Windows hosts only")
        if self.os is OS.WINDOWS and (self.become is not Become.NONE or self.become_password):
            raise ValueError("no visit of a Windows host changes its account")

    @property
    def login(self) -> str:
        """How fleet logs in, for a reader: ``https, kerberos``, ``key, password, become shell``."""
        parts = self._winrm_login() if self.connection is Connection.WINRM else self._shell_login()
        return ", ".join(parts)

    def _winrm_login(self) -> Iterator[str]:
        yield from (self.winrm.scheme, self.winrm.auth)
        if self.winrm.configuration_name:
            yield f"session configuration {self.winrm.configuration_name}"

    def _shell_login(self) -> Iterator[str]:
        if self.key_file:
            yield SSH_AGENT if self.key_file == SSH_AGENT else "key"
        if self.password:
            yield "password"
        if self.become is not Become.NONE:
            yield f"become {self.become}"
