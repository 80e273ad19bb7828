"""Which finding of a host explains which."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet.classify.explaining import Found, circle, explain
from fleet.model.pack import LogMatch, Rule, StateMatch
from fleet.model.words import Severity, State
from tests.rules import LOG_RULE

STATE = replace(LOG_RULE, id="state", match=StateMatch(expression="agent.installed"))
CODE = replace(LOG_RULE, id="code", generic=True, match=LogMatch(code="AZCM0062"))
FIRST, SECOND = ("log.azcmagent", 0, 0), ("log.azcmagent", 1, 0)


def found(rule: Rule, *scopes: tuple[str, int, int], state: State = State.ACTIVE) -> Found:
    return Found(rule=rule, state=state, scopes=frozenset(scopes))


def told(*findings: Found) -> dict[str, tuple[str, ...]]:
    return dict(zip((each.rule.id for each in findings), explain(findings), strict=True))


def explains(rule: Rule, *symptoms: str) -> Rule:
    return replace(rule, explains=symptoms)


def test_a_generic_code_is_explained_by_what_its_run_holds() -> None:
    assert told(found(CODE, FIRST), found(LOG_RULE, FIRST)) == {"code": ("log",), "log": ()}
    assert told(found(CODE, FIRST), found(LOG_RULE, SECOND)) == {"code": (), "log": ()}


def test_one_run_that_nothing_explains_leaves_a_cause() -> None:
    assert told(found(CODE, FIRST, SECOND), found(LOG_RULE, FIRST))["code"] == ()
    other = replace(LOG_RULE, id="other")
    both = told(found(CODE, FIRST, SECOND), found(LOG_RULE, FIRST), found(other, SECOND))
    assert both["code"] == ("log", "other")


@pytest.mark.parametrize(
    "rule", [replace(LOG_RULE, severity=Severity.INFO), replace(LOG_RULE, generic=True), STATE]
)
def test_what_says_no_reason_explains_no_generic_code(rule: Rule) -> None:
    scopes = () if rule is STATE else (FIRST,)
    assert told(found(CODE, FIRST), found(rule, *scopes))["code"] == ()


def test_a_state_explains_every_run_of_the_visit() -> None:
    assert told(found(CODE, FIRST, SECOND), found(explains(STATE, "code")))["code"] == ("state",)


def test_a_line_of_a_log_explains_a_state() -> None:
    assert told(found(STATE), found(explains(LOG_RULE, "state"), FIRST))["state"] == ("log",)


def test_in_a_services_log_what_a_rule_names_is_explained_on_any_line() -> None:
    early, late = ("log.himds", 0, 3), ("log.himds", 0, 9)
    other = replace(LOG_RULE, id="other")
    assert told(found(other, late), found(explains(LOG_RULE, "other"), early))["other"] == ("log",)
    assert told(found(CODE, late), found(LOG_RULE, early))["code"] == ()


def test_history_explains_nothing_that_holds_now() -> None:
    past = found(explains(LOG_RULE, "state"), FIRST, state=State.HISTORICAL)
    assert told(found(STATE), past)["state"] == ()


def test_a_symptom_has_all_its_causes() -> None:
    other = explains(replace(LOG_RULE, id="other"), "state")
    both = told(found(STATE), found(explains(LOG_RULE, "state"), FIRST), found(other, SECOND))
    assert both["state"] == ("log", "other")


def test_a_circle_is_seen_with_what_goes_without_saying() -> None:
    assert circle([LOG_RULE, STATE, CODE]) == ()
    assert circle([explains(LOG_RULE, "state"), STATE]) == ()
    assert set(circle([explains(LOG_RULE, "state"), explains(STATE, "log")])) == {"log", "state"}
    assert set(circle([LOG_RULE, explains(STATE, "log"), explains(CODE, "state")])) == {
        "log",
        "state",
        "code",
    }
