"""A rule that hit, with its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

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
class Finding:
    """What a rule says about one host, in the rule's words at the time; at most five lines of evidence.

    ``explained_by``: ids of the rules whose findings on this host are its cause; none: it is a cause itself.
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

    def __post_init__(self) -> None:
        require_aware(self.first_seen_at, "first_seen_at")
        require_aware(self.last_seen_at, "last_seen_at")
        if self.count < 1 or len(self.evidence) > MAX_EVIDENCE:
            raise ValueError(f"finding {self.rule}: count {self.count}, {len(self.evidence)} evidence lines")

    @property
    def label(self) -> str:
        """The code where there is one, else the rule's id."""
        return self.code or self.rule
