"""Turns what was found on a host into what a reader of a report is shown."""

from __future__ import annotations

from fleet.model.finding import Evidence, Finding
from fleet.model.report import HostResult
from fleet.model.words import Phase, Reason, Severity, State

SUCCESS_CODE = "AZCM0000"


def told_findings(result: HostResult) -> tuple[Finding, ...]:
    """The findings worth a reader's time: all but the outcome that says a command succeeded."""
    return tuple(finding for finding in result.findings if finding.code != SUCCESS_CODE)


def printed_codes(result: HostResult) -> tuple[str, ...]:
    """The codes of failures that the agent printed and that still hold, the cause's own first."""
    found = [
        finding.code
        for finding in result.findings
        if finding.code and finding.state is State.ACTIVE and finding.severity is not Severity.INFO
    ]
    cause = result.verdict.cause
    return tuple(dict.fromkeys([*([cause.code] if cause and cause.code else []), *found]))


def telling_line(finding: Finding) -> Evidence | None:
    """The newest log line that says more than the finding's own words; None when there is none.

    A line with the finding's code only repeats it, and a fact without a line is what the title says.
    """
    lines = (line for line in reversed(finding.evidence) if line.line)
    return next((line for line in lines if not finding.code or finding.code not in line.text), None)


def during(reason: Reason | None, phase: Phase | None) -> str:
    """``during handshake``; empty without a phase, or where the reason says the same word."""
    return f"during {phase}" if phase and phase.value != reason else ""


def place(evidence: Evidence) -> str:
    """``log.azcmagent:7``, or the source alone for a fact without a line."""
    return f"{evidence.source}:{evidence.line}" if evidence.line else evidence.source
