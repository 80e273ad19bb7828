"""The order of findings."""

from __future__ import annotations

from fleet.classify.rank import rank
from fleet.model.finding import Finding
from fleet.model.words import Severity, State


def finding(
    rule: str,
    severity: Severity = Severity.ERROR,
    state: State = State.ACTIVE,
    code: str | None = None,
    explained_by: tuple[str, ...] = (),
) -> Finding:
    return Finding(
        rule=rule,
        rule_version=1,
        code=code,
        severity=severity,
        state=state,
        title="t",
        cause="c",
        remediation="r",
        count=1,
        explained_by=explained_by,
    )


def order(*findings: Finding) -> list[str]:
    return [found.rule for found in rank(findings)]


def test_active_first_then_worst_then_specific() -> None:
    past = finding("past", Severity.CRITICAL, State.HISTORICAL)
    found = (finding("w", Severity.WARNING), past, finding("a", code="AZCM0001"), finding("b"))
    assert order(*found) == ["b", "a", "w", "past"]


def test_a_cause_precedes_its_symptoms_whatever_the_severity() -> None:
    assert order(finding("a", explained_by=("z",)), finding("z", Severity.WARNING)) == ["z", "a"]
