"""One record and the log rules: which of them it matches."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fleet.classify.matching import LogRules, is_often_enough, log_name
from fleet.model.observation import CommandRun, Level, Log, LogRecord, Outcome
from fleet.model.pack import NO_CODE, UNKNOWN_CODE, Agents, LogMatch, Release, Rule
from fleet.model.words import OS
from tests.rules import LOG_RULE

T0 = datetime(2026, 3, 1, 8, tzinfo=UTC)
RECORD = LogRecord(line=5, level=Level.ERROR, text="the proxy says FORBIDDEN", run=0)
RUN = CommandRun(command="connect", first_line=1, outcome=Outcome.FAILURE)
LOG = Log(source="log.azcmagent", records=(RECORD,), runs=(RUN,))


def rule(rule_id: str = "r", agents: Agents | None = None, **match: object) -> Rule:
    return replace(LOG_RULE, id=rule_id, agents=agents, match=LogMatch(**match))  # type: ignore[arg-type]


def matched(*rules: Rule, record: LogRecord = RECORD, log: Log = LOG, version: str = "") -> list[str]:
    return [found.rule.id for found in LogRules(rules).read(log, version).matches(record)]


@pytest.mark.parametrize(
    ("match", "hits"),
    [
        ({"text": ("nothing of it", "forbidden")}, True),
        ({"text": ("forbidden",), "without": ("the proxy",)}, False),
        ({"text": ("forbidden",), "levels": (Level.FATAL,)}, False),
        ({"text": ("forbidden",), "levels": (Level.FATAL, Level.ERROR)}, True),
        ({"text": ("forbidden",), "logs": ("himds",)}, False),
        ({"text": ("forbidden",), "logs": ("himds", "azcmagent")}, True),
        ({"text": ("forbidden",), "commands": ("disconnect",)}, False),
        ({"text": ("forbidden",), "commands": ("connect",)}, True),
        ({"text": ("forbidden",), "run": Outcome.SUCCESS}, False),
        ({"text": ("forbidden",), "run": Outcome.FAILURE}, True),
    ],
)
def test_every_condition_that_is_set_holds(match: dict[str, object], hits: bool) -> None:
    assert matched(rule("r", None, **match)) == (["r"] if hits else [])


def test_the_agent_that_ran_counts_before_the_one_that_is_there() -> None:
    old = rule("r", Agents(end=Release(major=1, minor=57)), text=("forbidden",))
    log = replace(LOG, runs=(replace(RUN, agent_version="1.40.02664.1629"),))
    assert matched(old, log=log, version="1.66.1.1") == ["r"]
    assert matched(old, version="1.66.1.1") == []
    assert matched(old, version="1.40.1.1") == ["r"]


def test_named_groups_are_kept() -> None:
    (found,) = (
        LogRules([rule(text=(r"the (?P<who>\w+) says(?P<more> never)?",))]).read(LOG, "").matches(RECORD)
    )
    assert found.groups == {"who": "proxy", "more": None}


def test_outside_of_a_run_no_command_is_known() -> None:
    loose = replace(RECORD, run=None)
    assert matched(rule(text=("forbidden",), commands=("connect",)), record=loose) == []


def test_a_text_given_by_hand_may_be_any_log() -> None:
    assert matched(rule(text=("forbidden",), logs=("himds",)), log=replace(LOG, source="/tmp/x.txt")) == ["r"]
    assert (
        matched(rule(text=("forbidden",), logs=("himds",)), log=replace(LOG, source="/tmp/gc_ext.log")) == []
    )


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("log.gc_agent", "gc_agent"),
        ("agent.check", "check"),
        (r"C:\Log\HIMDS.log", "himds"),
        ("/logs/himds/other.txt", ""),
        ("-", ""),
    ],
)
def test_a_log_has_its_name_from_where_it_is_from(source: str, name: str) -> None:
    assert log_name(source) == name


def test_what_came_before_is_of_the_same_run() -> None:
    before = LogRecord(line=2, level=Level.INFO, text="asked the proxy", run=0)
    after = rule(text=("forbidden",), after="asked the proxy")
    assert matched(after, log=replace(LOG, records=(before, RECORD))) == ["r"]
    assert matched(after, log=replace(LOG, records=(replace(before, run=1), RECORD))) == []
    assert matched(after, log=replace(LOG, records=(RECORD, replace(before, line=9)))) == []
    himds = replace(LOG, source="log.himds", records=(replace(before, run=1), RECORD))
    assert matched(after, log=himds) == ["r"]


CODE = replace(RECORD, code="AZCM0068", text="Exit Code:  AZCM0068: Unable to Fetch Subscription ID")
OLD = rule("old", agents=Agents(end=Release(major=1, minor=20)), code="AZCM0068")
TEXT = rule("words", code="AZCM0068", text=("fetch subscription",))
PLAIN = rule("plain", code="AZCM0068")


@pytest.mark.parametrize(
    ("rules", "version", "chosen"),
    [
        ((PLAIN, OLD, TEXT), "1.7.1", "words"),
        ((PLAIN, OLD), "1.7.1", "old"),
        ((PLAIN, OLD), "1.20.0", "plain"),
        ((PLAIN, OLD), "", "plain"),
        ((PLAIN, rule("unknown", code=UNKNOWN_CODE)), "", "plain"),
        ((rule("unknown", code=UNKNOWN_CODE), rule("none", code=NO_CODE)), "", "unknown"),
    ],
)
def test_of_the_rules_for_a_code_the_one_that_says_most(
    rules: tuple[Rule, ...], version: str, chosen: str
) -> None:
    assert matched(*rules, record=CODE, version=version) == [chosen]


@pytest.mark.parametrize(
    ("version", "holds"),
    [("1.31.0", True), ("1.55.9", True), ("1.56.0", False), ("1.30.9", False), ("", False)],
)
def test_a_rule_for_some_agents(version: str, holds: bool) -> None:
    agents = Agents(first=Release(major=1, minor=31), end=Release(major=1, minor=56))
    assert matched(rule(agents=agents, text=("forbidden",)), version=version) == (["r"] if holds else [])


@pytest.mark.parametrize(
    ("minutes", "enough"),
    [
        ([0, 30, 50], True),
        ([0, 50, 61], False),
        ([0, 30], False),
        ([50, 0, 99, 30], True),
        ([None] * 5, False),
    ],
)
def test_so_many_within_so_long(minutes: list[int | None], enough: bool) -> None:
    times = [None if each is None else T0 + timedelta(minutes=each) for each in minutes]
    assert is_often_enough(LogMatch(text=("x",), count=3, within_s=3600), times) is enough
    assert is_often_enough(LogMatch(text=("x",), count=3), times) is (len(times) >= 3)


def test_a_character_that_only_folds_to_an_anchor_is_found() -> None:
    assert matched(rule(text=("task failed",)), record=replace(RECORD, text="tas\u212a FAILED")) == ["r"]


def test_of_a_code_only_rules_for_the_hosts_family_are_chosen_from() -> None:
    windows = replace(TEXT, platforms=(OS.WINDOWS,))
    rules = LogRules([windows, PLAIN])
    chosen = {os: [found.rule.id for found in rules.read(LOG, "", os).matches(CODE)] for os in OS}
    assert chosen == {OS.WINDOWS: ["words"], OS.LINUX: ["plain"]}
