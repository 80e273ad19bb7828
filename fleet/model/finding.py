"""A rule that hit, with its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from fleet.model.visit import require_aware
from fleet.model.words import Severity, State

MAX_EVIDENCE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One line that shows it. ``line`` counts from 1; 0 for a fact that has no line."""

    source: str
    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """That an operator lives with a finding: until when (that day included), why, and where it is tracked."""

    ticket: str
    reason: str
    until: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Trait:
    """What a fleet rule compares between hosts: this host's value of the rule's fact."""

    rule: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFinding:
    """What a fleet rule says about hosts of one run, those that share ``value``, in the rule's words at the
    time; ``hosts`` in inventory order."""

    rule: str
    rule_version: int
    severity: Severity
    title: str
    cause: str
    remediation: str
    value: str
    hosts: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.hosts) < 2:
            raise ValueError(f"fleet finding {self.rule}: shared by {len(self.hosts)} hosts")

    @property
    def is_trouble(self) -> bool:
        """Whether it makes the run end as one with an unwell host does."""
        return self.severity is not Severity.INFO


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a rule says about one host, in the rule's words at the time; at most five lines of evidence.

    ``explained_by``: ids of the rules whose findings on this host are its cause; none: it is a cause itself.
    ``accepted`` None: nobody accepted it. ``parameters``: what of its words is this host's own, by name, such
    as ``("proxy", "10.0.0.8:3128")``, in the order of the words.
    """

    rule: str
    rule_version: int
    code: str | None
    severity: Severity
    state: State
    title: str
    cause: str
    remediation: str
    count: int
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None
    evidence: tuple[Evidence, ...] = ()
    explained_by: tuple[str, ...] = ()
    accepted: Acceptance | None = None
    parameters: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        require_aware(self.first_seen_at, "first_seen_at")
        require_aware(self.last_seen_at, "last_seen_at")
        if self.count < 1 or len(self.evidence) > MAX_EVIDENCE:
            raise ValueError(f"finding {self.rule}: count {self.count}, {len(self.evidence)} evidence lines")

    @property
    def is_trouble(self) -> bool:
        """Whether it counts in a verdict: it holds now, says more than info, and nobody accepted it."""
        return self.state is State.ACTIVE and self.severity is not Severity.INFO and self.accepted is None

    @property
    def label(self) -> str:
        """The code where there is one, else the rule's id."""
        return self.code or self.rule
