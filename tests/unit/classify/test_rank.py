"""The order of findings."""

from __future__ import annotations

from fleet.classify.rank import rank
from fleet.model.finding import Finding
from fleet.model.pack import Condition, Pack, Rule
from fleet.model.words import Severity, State

CONDITION = (Condition(field="x", op="exists", value="yes"),)


def rule(rule_id: str, *causes: str, outcome: str | None = None) -> Rule:
    return Rule(
        id=rule_id,
        version=1,
        title=rule_id,
        severity=Severity.ERROR,
        cause="c",
        remediation="r",
        source="s",
        outcome=outcome,
        conditions=() if outcome else CONDITION,
        symptom_of=causes,
    )


def finding(rule_id: str, severity: Severity = Severity.ERROR, state: State = State.ACTIVE) -> Finding:
    return Finding(
        rule=rule_id,
        rule_version=1,
        code=None,
        severity=severity,
        state=state,
        title="t",
        cause="c",
        remediation="r",
        count=1,
    )


def order(*findings: Finding, rules: tuple[Rule, ...] = ()) -> list[str]:
    return [found.rule for found in rank(findings, Pack(name="p", items=(), rules=rules, digest=""))]


def test_active_first_then_worst_then_specific() -> None:
    rules = (rule("A", outcome="AZCM0001"), rule("b"))
    past = finding("past", Severity.CRITICAL, State.HISTORICAL)
    assert order(finding("w", Severity.WARNING), past, finding("A"), finding("b"), rules=rules) == [
        "b",
        "A",
        "w",
        "past",
    ]


def test_a_cause_precedes_its_symptoms_whatever_the_severity() -> None:
    rules = (rule("a", "m"), rule("m", "z"), rule("z"))
    assert order(finding("a"), finding("m"), finding("z", Severity.WARNING), rules=rules) == ["z", "m", "a"]


def test_a_historical_cause_explains_nothing_now() -> None:
    rules = (rule("a", "z"), rule("b"), rule("z"))
    assert order(finding("z", state=State.HISTORICAL), finding("b"), finding("a"), rules=rules) == [
        "a",
        "b",
        "z",
    ]


def test_rules_that_name_each_other_do_not_hang() -> None:
    rules = (rule("a", "b"), rule("b", "a"), rule("c", "a"))
    assert order(finding("c"), finding("b"), finding("a"), rules=rules) == ["a", "b", "c"]


def test_a_finding_of_an_unknown_rule_is_kept() -> None:
    assert order(finding("gone")) == ["gone"]
