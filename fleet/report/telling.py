"""Turns what was found on a host into what a reader of a report is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter

from fleet.model.finding import Acceptance, Evidence, Finding
from fleet.model.report import HostResult
from fleet.model.words import Phase, Reason, Severity, State
from fleet.parse.nodeset import fold

SUCCESS_CODE = "AZCM0000"
ONE_COMMAND = timedelta(minutes=10)
"""Longer than a command of the agent takes from what makes it fail to the code that it ends with."""

MAX_FOLDED = 1000

_NEVER = datetime.min.replace(tzinfo=UTC)


def told_findings(result: HostResult) -> tuple[Finding, ...]:
    """The findings worth a reader's time: all but the outcome that says a command succeeded."""
    return tuple(finding for finding in result.findings if finding.code != SUCCESS_CODE)


def told_causes(result: HostResult) -> tuple[tuple[Finding, tuple[Finding, ...]], ...]:
    """The same findings in the same order, each that nothing else explains with those that it explains, be it
    by way of others."""
    findings = told_findings(result)
    places = {(finding.rule, finding.state): at for at, finding in reversed(list(enumerate(findings)))}
    symptoms: dict[int, list[Finding]] = {}
    for at, finding in enumerate(findings):
        symptoms.setdefault(_cause_of(at, findings, places), []).append(finding)
    return tuple(
        (findings[at], tuple(f for f in same if f is not findings[at])) for at, same in symptoms.items()
    )


def _cause_of(at: int, findings: Sequence[Finding], places: Mapping[tuple[str, State], int]) -> int:
    """The place of what explains that finding in the end; of several the first."""
    passed = [at]
    while causes := [
        place
        for rule in findings[passed[-1]].explained_by
        if (place := places.get((rule, findings[at].state))) is not None
    ]:
        # What is stored may be of any fleet's rules: what explains itself in the end is told by itself.
        if min(causes) in passed:
            return at
        passed.append(min(causes))
    return passed[-1]


def printed_codes(result: HostResult) -> tuple[str, ...]:
    """The codes that the agent printed as it failed for the cause: the cause's own, else those of failures
    that still hold and were seen when it was, the nearest first. Of a cause that has no time, such as a
    service that is down, the newest first.
    """
    cause = result.verdict.cause
    if cause is not None and cause.code:
        return (cause.code,)
    failures = [finding for finding in result.findings if finding.code and _is_failure(finding)]
    if cause is None or cause.last_seen_at is None:
        failures.sort(key=lambda finding: finding.last_seen_at or _NEVER, reverse=True)
    else:
        timed = sorted(((_away(cause, finding), finding) for finding in failures), key=itemgetter(0))
        failures = [finding for away, finding in timed if away <= ONE_COMMAND]
    return tuple(dict.fromkeys(finding.code or "" for finding in failures))


def _is_failure(finding: Finding) -> bool:
    return finding.state is State.ACTIVE and finding.severity is not Severity.INFO


def _away(cause: Finding, finding: Finding) -> timedelta:
    """How long before or after all sightings of the cause the finding was last seen."""
    at, end = finding.last_seen_at, cause.last_seen_at
    if at is None or end is None:
        return timedelta.max
    return max((cause.first_seen_at or end) - at, at - end, timedelta(0))


def telling_line(finding: Finding) -> Evidence | None:
    """The newest log line that says more than the finding's own words; None when there is none.

    A line with the finding's code only repeats it, and a fact without a line is what the title says.
    """
    lines = (line for line in reversed(finding.evidence) if line.line)
    return next((line for line in lines if not finding.code or finding.code not in line.text), None)


def accepted_words(accepted: Acceptance | None) -> str:
    """``CHG-7 until 2027-01-31: reason``; empty where nobody accepted it."""
    return f"{accepted.ticket} until {accepted.until}: {accepted.reason}" if accepted else ""


def fold_hosts(hosts: Iterable[str]) -> str:
    """``db[01-04], web[11-13]``, cut at a name after about 1000 characters."""
    folded = fold(hosts)
    if len(folded) <= MAX_FOLDED:
        return folded
    return folded[:MAX_FOLDED].rsplit(",", 1)[0] + ", …"


def during(reason: Reason | None, phase: Phase | None) -> str:
    """``during handshake``; empty without a phase, or where the reason says the same word."""
    return f"during {phase}" if phase and phase.value != reason else ""


def place(evidence: Evidence) -> str:
    """``log.azcmagent:7``, or the source alone for a fact without a line."""
    return f"{evidence.source}:{evidence.line}" if evidence.line else evidence.source
