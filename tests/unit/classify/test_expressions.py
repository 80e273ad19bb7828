"""CEL over the facts of a visit: yes, no, or what was missing."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from fleet.classify.expressions import Expression, ExpressionError, Facts, Missing, at_least, typed
from fleet.model.facts import FACTS, Kind
from fleet.model.observation import Fact


def facts(**values: str) -> Facts:
    return Facts(Fact(name=name.replace("__", "."), value=value) for name, value in values.items())


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("agent.installed", True),
        ("!agent.installed", False),
        ('agent.status == "connected"', True),
        ("agent.heartbeat_age_s > 30 && agent.heartbeat_age_s < 50", True),
        ("clock.skew_s > 0.4", True),
        ('at_least(agent.version, "1.40")', True),
        ('at_least(agent.version, "1.41")', False),
        ('"agent.version" in known', True),
        ('"agent.leftovers" in known', False),
        ("agent.onboarded", Missing(fact="agent.onboarded")),
        ("agent.installed && agent.onboarded", Missing(fact="agent.onboarded")),
        # What decides without the missing fact is decided.
        ("agent.installed || agent.onboarded", True),
        ("agent.onboarded || agent.installed", True),
        ("agent.onboarded && !agent.installed", False),
        ('"agent.onboarded" in known && agent.onboarded', False),
    ],
)
def test_what_is_told(expression: str, told: bool | Missing) -> None:
    read = facts(
        agent__installed="yes",
        agent__status="Connected",
        agent__heartbeat_age_s="42",
        clock__skew_s="0.5",
        agent__version="1.40.02664.1629",
    )
    assert Expression(expression).evaluate(read) == told


@pytest.mark.parametrize("value", ["", "maybe", "nan", "inf", "1e99", "-", "\ud800"])
@pytest.mark.parametrize(
    "name", ["agent.installed", "agent.heartbeat_age_s", "clock.skew_s", "agent.version"]
)
def test_a_value_of_no_use_is_one_that_nobody_read(name: str, value: str) -> None:
    read = Facts([Fact(name=name, value=value)])
    is_text = FACTS[name].kind is Kind.TEXT and value
    assert (name in read.by_name) is bool(is_text)
    assert Expression(f'"{name}" in known').evaluate(read) is bool(is_text)


def test_a_fact_that_is_not_in_the_catalogue_is_left_out() -> None:
    assert typed(Fact(name="space./var.free_kb", value="1")) is None


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ('agent.installed && service.himds.state in ["stopped"]', ("agent.installed", "service.himds.state")),
        ('"install.failed" in known && agent.installed', ("install.failed", "agent.installed")),
        ('agent.installed && !("config.mode" in known && config.mode == "monitor")', ("agent.installed",)),
        ('agent.status == "agent.version"', ("agent.status", "agent.version")),
    ],
)
def test_evidence_is_what_an_expression_turns_on(expression: str, shown: tuple[str, ...]) -> None:
    assert Expression(expression).shown == shown


@pytest.mark.parametrize(
    "expression", ["agent.colour", "agent.installed == 1", "clock.skew_s > 1", "1 +", "1 + 1"]
)
def test_what_cannot_hold_is_refused(expression: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression(expression)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("version", "bound", "is_later"),
    [("1.9.1", "1.10", False), ("1.10", "1.9", True), ("2.0", "1.99", True), ("x", "1.0", False)],
)
def test_releases_are_compared_as_numbers(version: str, bound: str, is_later: bool) -> None:
    assert at_least(version, bound) is is_later


def test_one_expression_serves_many_threads() -> None:
    expression = Expression('at_least(agent.version, "1.40") && agent.heartbeat_age_s > 100')

    def tell(age: int) -> bool | Missing:
        return expression.evaluate(facts(agent__version="1.58.1", agent__heartbeat_age_s=str(age)))

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(tell, range(400)))
    assert told == [age > 100 for age in range(400)]


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ('agent.status == "Connected"', "a word in lower case"),
        ('agent.status in ["connected", "Expired"]', "a word in lower case"),
        ('agent.version < "1.50"', "at_least(agent.version"),
        ("clock.skew_s > 10", "write 10.0"),
        ('agent.installed == "yes"', "!agent.installed"),
        ('agent.status = "connected"', "compared by =="),
        ('agent.stats == "connected"', "did you mean agent.status?"),
    ],
)
def test_a_refusal_says_what_was_perhaps_meant(expression: str, says: str) -> None:
    with pytest.raises(ExpressionError, match=re.escape(says)):
        Expression(expression)
