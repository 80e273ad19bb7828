"""A host as the inventory resolved it: flat, with references to credentials and never their values."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.model.words import Become, Connection, HostKeyPolicy

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
class Host:
    """One host to visit. Paths are absolute; ``port`` is 1 to 65535; groups are outermost first."""

    name: str
    address: str
    port: int = 22
    connection: Connection = Connection.SSH
    user: str = ""
    key_file: str | None = None
    password: SecretRef | None = None
    become: Become = Become.NONE
    become_password: SecretRef | None = None
    known_hosts: str | None = None
    host_key_policy: HostKeyPolicy = HostKeyPolicy.STRICT
    groups: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.name or not self.address:
            raise ValueError("a host needs a name and an address")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port {self.port} is not within 1..65535")
