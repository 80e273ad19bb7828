"""Findings into the order a reader wants: what holds now before history, causes before their symptoms."""

from __future__ import annotations

from collections.abc import Iterable

from fleet.model.finding import Finding
from fleet.model.words import State


def rank(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Active before historical; among each of them causes before symptoms, then the worst first, then what
    says more (a message or a state) before a bare code."""
    return tuple(sorted(findings, key=_key))


def _key(finding: Finding) -> tuple[bool, bool, int, bool, str]:
    return (
        finding.state is not State.ACTIVE,
        bool(finding.explained_by),
        finding.severity.rank,
        finding.code is not None,
        finding.rule,
    )
