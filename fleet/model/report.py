"""A run and its hosts as reports need them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fleet.model.finding import Finding, FleetFinding, Trait
from fleet.model.host import Host
from fleet.model.observation import AgentState, Service
from fleet.model.visit import Timing, require_aware, require_finite
from fleet.model.words import Observed, Phase, Reason, Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The word on one host. ``cause`` is the finding that explains the others (None: there is none);
    ``action`` the one next action. ``reason`` and ``phase`` are set for NOT_OBSERVED only; ``message`` says
    why it was not observed, or what was not read where it was observed in part."""

    word: Word
    observed: Observed
    reason: Reason | None = None
    phase: Phase | None = None
    message: str = ""
    cause: Finding | None = None
    action: str = ""

    def __post_init__(self) -> None:
        if (self.word is Word.NOT_OBSERVED) != (self.reason is not None):
            raise ValueError("NOT_OBSERVED has a reason, nothing else has")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResult:
    """Everything a report says about one host in one run; ``findings`` with the cause first. ``login``: how
    fleet logged in or tried to, in words, "" where it did not get that far or that was not kept. ``traits``:
    what fleet rules compare with other hosts."""

    host: Host
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    login: str = ""
    os_name: str = ""
    agent: AgentState = AgentState()
    services: tuple[Service, ...] = ()
    started_at: datetime | None = None
    duration_s: float | None = None
    clock_offset_s: float | None = None
    timings: tuple[Timing, ...] = ()
    traits: tuple[Trait, ...] = ()

    def __post_init__(self) -> None:
        require_aware(self.started_at, "started_at")
        require_finite(self.duration_s, "duration_s")
        require_finite(self.clock_offset_s, "clock_offset_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run. ``exit_code`` and ``ended_at`` are None while it lasts or when it was killed."""

    id: str
    inventory: str
    started_at: datetime
    selected: int
    fleet_version: str
    pack_digest: str
    script_sha256: str
    ended_at: datetime | None = None
    exit_code: int | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_aware(self.started_at, "started_at")
        require_aware(self.ended_at, "ended_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """A run with all its hosts, in inventory order, and what is the matter between them."""

    run: Run
    results: tuple[HostResult, ...]
    fleet: tuple[FleetFinding, ...] = ()

    def count(self, word: Word) -> int:
        """How many hosts have that verdict."""
        return sum(result.verdict.word is word for result in self.results)
