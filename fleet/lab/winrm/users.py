"""Turns the accounts of a lab into what NTLM, Basic and client certificates are checked against."""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from spnego._ntlm_raw.crypto import ntowfv1

from fleet.lab.private import write_private

NTLM_USERS_FILE = "ntlm_users"
_VARIABLE = "NTLM_USER_FILE"
"""Where pyspnego looks for the passwords it accepts, at the start and at each step of a login."""
_NO_LM_HASH = "0" * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account of the lab's domain, or of its hosts where ``domain`` is empty.

    ``upn``: its second name, such as ``ops@corp.example``. ``certificates``: SHA-256 digests of the client
    certificates that are mapped to it.
    """

    name: str
    password: str
    domain: str = ""
    upn: str = ""
    certificates: tuple[bytes, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What it may log in as; the first is how a host names it."""
        own = f"{self.domain}\\{self.name}" if self.domain else self.name
        return (own, self.upn) if self.upn else (own,)


class Users:
    """The accounts of one lab, in a file of NT hashes (smbpasswd form) that only its owner reads.

    pyspnego is told of the file by the environment, so one process checks the logins of one lab at a time.
    """

    def __init__(self, folder: Path, users: Iterable[User]) -> None:
        self._users = tuple(users)
        self._file = folder / NTLM_USERS_FILE
        # A ':' in a password would end it in the other form of this file.
        lines = (
            f"{name}:0:{_NO_LM_HASH}:{ntowfv1(user.password).hex().upper()}:[U]:LCT-0\n"
            for user in self._users
            for name in user.names
        )
        write_private(self._file, "".join(lines).encode())

    def reveal(self) -> None:
        """Let pyspnego check against these accounts from now on."""
        # Written only where it must be: a thread that reads the environment meanwhile has no protection.
        if os.environ.get(_VARIABLE) != str(self._file):
            os.environ[_VARIABLE] = str(self._file)

    def close(self) -> None:
        """Take the file and the word of it away."""
        self._file.unlink(missing_ok=True)
        if os.environ.get(_VARIABLE) == str(self._file):
            del os.environ[_VARIABLE]

    def by_password(self, name: str, password: str) -> User | None:
        """The account that logs in so; names know no case."""
        for user in self._users:
            if name.lower() in (known.lower() for known in user.names):
                return user if hmac.compare_digest(user.password.encode(), password.encode()) else None
        return None

    def by_certificate(self, digest: bytes) -> User | None:
        """The account to which the certificate of that SHA-256 digest is mapped."""
        return next((user for user in self._users if digest in user.certificates), None)
