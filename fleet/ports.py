"""The narrow interfaces behind which the outside sits; ``bootstrap`` chooses who fills them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from fleet.model.finding import FleetFinding
from fleet.model.host import Host, SecretRef
from fleet.model.report import HostResult, Run, RunReport
from fleet.model.words import Phase, Word


class Clock(Protocol):
    """Time, so that tests own it."""

    def now(self) -> datetime:
        """The aware UTC instant."""
        ...


class Secrets(Protocol):
    """Resolves references to credentials."""

    def resolve(self, ref: SecretRef) -> str:
        """The value. Raises CredentialError when it cannot be had."""
        ...


class Phases(Protocol):
    """Told by a transport which phase of the visit begins; whoever listens owns the deadlines."""

    def enter(self, phase: Phase) -> None:
        """The phase begins now; the one before it ended."""
        ...


class Permit(Protocol):
    """The right to try one password once; exactly one of the two is called when the host has answered."""

    def accepted(self) -> None:
        """The host took it."""
        ...

    def refused(self) -> None:
        """The host refused it."""
        ...


class Guard(Protocol):
    """Keeps a wrong password from locking an account across the fleet."""

    def attempt(self, kind: str, user: str, password: str) -> AbstractAsyncContextManager[Permit]:
        """Wait for the right to try; raises CredentialError when the password was suspended."""
        ...


class Process(Protocol):
    """A command that runs on a host, with its three streams. Bytes in, bytes out; b"" is end of file."""

    async def write(self, data: bytes) -> None:
        """Send to its stdin, waiting while it does not read."""
        ...

    def write_eof(self) -> None:
        """End its stdin."""
        ...

    async def read(self, limit: int) -> bytes:
        """Some of its stdout, at most ``limit`` bytes."""
        ...

    async def read_stderr(self, limit: int) -> bytes:
        """Some of its stderr, at most ``limit`` bytes."""
        ...


class Session(Protocol):
    """A logged-in connection to one host."""

    @property
    def host_key(self) -> str:
        """The fingerprint of the key by which the host was known, "" where it has none."""
        ...

    async def start(self, command: str) -> Process:
        """Start a command line. Raises RemoteError when the host refuses."""
        ...

    async def close(self) -> None:
        """End it; returns soon, whatever the host does."""
        ...


class Transport(Protocol):
    """Opens sessions. Foreign errors end here: it raises HostError and nothing else."""

    async def open(self, host: Host, secrets: Secrets, guard: Guard, phases: Phases) -> Session:
        """Connect, check the host key, log in."""
        ...


class Store(Protocol):
    """Keeps runs. Synchronous, used by one thread at a time; raises StorageError, and what is named below."""

    def mask_key(self) -> bytes:
        """The store's own key for masking secrets, 32 bytes, the same for its life."""
        ...

    def begin(self, run: Run, hosts: Sequence[Host]) -> None:
        """In one transaction: the run, and a NOT_OBSERVED(skipped) row for every selected host.

        Raises LockedError while another run has the database.
        """
        ...

    def save(self, run_id: str, batch: Sequence[tuple[HostResult, bytes]]) -> None:
        """Replace these hosts' rows (result, stored body of the visit) in one transaction; twice is once."""
        ...

    def end(self, run: Run, fleet: Sequence[FleetFinding] = ()) -> None:
        """Write the run's end: ``ended_at``, ``exit_code``, ``warnings``, and what its hosts share."""
        ...

    def runs(self, limit: int) -> tuple[Run, ...]:
        """The newest runs, newest first."""
        ...

    def count_verdicts(self, run_ids: Sequence[str]) -> Mapping[str, Mapping[Word, int]]:
        """How many hosts have which verdict, for each of these runs."""
        ...

    def load(self, run_id: str | None) -> RunReport | None:
        """One run with its hosts (None: the newest), or None when there is none.

        Raises SettingsError when ``run_id`` is the beginning of several.
        """
        ...

    def fleet(self, run_id: str) -> tuple[FleetFinding, ...]:
        """What hosts of that run share; ``run_id`` is a whole id."""
        ...

    def history(self, host: str, limit: int) -> tuple[tuple[Run, HostResult], ...]:
        """One host's results, newest first; where none has that name, of one that differs in case only."""
        ...

    def visit(self, host: str, run_id: str | None) -> tuple[Run, HostResult, bytes] | None:
        """One host's result and the stored body of its visit (b"": nothing came) in that run (None: the
        newest that has the host); None when there is none. Raises SettingsError as ``load`` does."""
        ...

    def close(self) -> None:
        """Release the database."""
        ...


class ReportWriter(Protocol):
    """Renders one kind of report."""

    def files(self, report: RunReport) -> Iterable[tuple[str, Iterable[str]]]:
        """Each file's name and the pieces of its text."""
        ...
