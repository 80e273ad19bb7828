"""Every error fleet raises on purpose, one tree: whose move it is decides the branch.

FleetError
  OperatorError      the operator's move; exit code 2, nothing was contacted
    SettingsError
    InventoryError   carries every mistake of the file
    PackError        carries every mistake of the pack
  HostError          one host's trouble; becomes a Failure, never leaves ``collect``
    UnreachableError IdentityError AuthError CredentialError PrivilegeError DeadlineError RemoteError
    StoppedError
  StorageError       the run stops, what was saved stays
    LockedError      another run has the database; nothing was contacted
  ReportError        no half-written file is left
"""

from __future__ import annotations

from dataclasses import dataclass


class FleetError(Exception):
    """Base of all errors raised on purpose. ``str()`` of it is a sentence for the operator."""


class OperatorError(FleetError):
    """The operator's mistake: a setting, an inventory, a pack, an argument."""


class SettingsError(OperatorError):
    """An option or an environment variable that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One mistake in a file: ``path:line: text``. Line counts from 1; 0 when the file as a whole is meant."""

    path: str
    line: int
    text: str
    key: str = ""

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place}: {self.text}"


class _FileError(OperatorError):
    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = mistakes


class InventoryError(_FileError):
    """All mistakes of an inventory at once."""


class PackError(_FileError):
    """All mistakes of a pack at once."""


class HostError(FleetError):
    """One host's trouble. The message says what happened; ``action`` what to do about it, "" where what is
    usual for this kind of trouble will do."""

    def __init__(self, message: str, *, action: str = "") -> None:
        super().__init__(message)
        self.action = action


class UnreachableError(HostError):
    """No name, no route, no listener, or a peer that does not speak SSH to its end."""


class IdentityError(HostError):
    """The host key is unknown, changed or revoked."""


class AuthError(HostError):
    """The host refused this login."""


class CredentialError(HostError):
    """The credential cannot be had, or was suspended after repeated failures."""


class PrivilegeError(HostError):
    """The host refused the privilege (sudo) the visit asked for."""


class DeadlineError(HostError):
    """A phase outlived its deadline."""


class RemoteError(HostError):
    """Logged in, but the host cannot run the visit."""


class StoppedError(HostError):
    """The run was told to stop while the visit was under way."""


class StorageError(FleetError):
    """The database failed; the run stops."""


class LockedError(StorageError):
    """Another run has the database; this one did not begin."""


class ReportError(FleetError):
    """A report could not be written; no half of it is left."""
