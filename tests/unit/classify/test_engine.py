"""Findings from records and facts: counted, timed, bounded, active or survived."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.classify.engine import Classifier
from fleet.classify.evidence import MAX_TEXT, harmless
from fleet.model.finding import Finding
from fleet.model.observation import (
    AgentState,
    CommandRun,
    Fact,
    Level,
    Log,
    LogRecord,
    Observation,
    Outcome,
)
from fleet.model.pack import NO_CODE, UNKNOWN_CODE, LogMatch, Pack, StateMatch, Variant
from fleet.model.words import OS, State
from fleet.packs.load import load_pack
from tests.rules import LOG_RULE

T0 = datetime(2026, 3, 1, 8, tzinfo=UTC)
MESSAGE = replace(
    LOG_RULE, id="blocked", version=3, title="Blocked", match=LogMatch(text=(r"host\S* forbidden",))
)
CODE = replace(MESSAGE, id="azcm0042", code="AZCM0042", match=LogMatch(code="AZCM0042"))
STATE = replace(
    MESSAGE,
    id="skewed",
    match=StateMatch(expression='clock.skew_s > 120.0 && !("time.source" in known && time.source == "none")'),
)
PACK = Pack(name="p", items=(), rules=(CODE, MESSAGE, STATE), digest="")
SHIPPED = Classifier(load_pack())


def record(line: int, text: str = "host: Forbidden", minutes: int | None = None, **more: object) -> LogRecord:
    at = None if minutes is None else T0 + timedelta(minutes=minutes)
    return replace(LogRecord(line=line, level=Level.INFO, text=text, at=at), **more)  # type: ignore[arg-type]


def run(outcome: Outcome, *, command: str = "connect", current: bool = True, minutes: int = 0) -> CommandRun:
    at = T0 + timedelta(minutes=minutes)
    return CommandRun(command=command, first_line=1, outcome=outcome, last_at=at, current=current)


def classify(*records: LogRecord, runs: tuple[CommandRun, ...] = (), **more: object) -> tuple[Finding, ...]:
    log = Log(source="log.azcmagent", records=records, runs=runs)
    return Classifier(PACK).classify(replace(Observation(logs=(log,)), **more)).findings  # type: ignore[arg-type]


def test_a_message_is_found_counted_and_timed() -> None:
    (finding,) = classify(record(2, minutes=1), record(1, minutes=5), record(9, "host: fine, not Forbidden"))
    assert (finding.rule, finding.rule_version, finding.code) == ("blocked", 3, None)
    assert (finding.state, finding.count) == (State.ACTIVE, 2)
    assert finding.first_seen_at == T0 + timedelta(minutes=1)
    assert finding.last_seen_at == T0 + timedelta(minutes=5)
    assert [(e.source, e.line, e.text) for e in finding.evidence] == [
        ("log.azcmagent", 2, "host: Forbidden"),
        ("log.azcmagent", 1, "host: Forbidden"),
    ]


def test_a_line_that_is_read_in_parts_counts_once() -> None:
    (finding,) = classify(record(2), record(2, "and host: Forbidden once more"), record(3))
    assert (finding.count, [evidence.line for evidence in finding.evidence]) == (2, [2, 3])


def test_the_newest_five_lines_are_the_evidence() -> None:
    (finding,) = classify(*(record(n, minutes=20 - n) for n in range(1, 10)))
    assert finding.count == 9
    assert [evidence.line for evidence in finding.evidence] == [5, 4, 3, 2, 1]


def test_a_code_counts_only_as_an_outcome() -> None:
    assert classify(record(1, "AZCM0042: explained")) == ()
    (finding,) = classify(record(1, "Exit Code: AZCM0042", code="AZCM0042"))
    assert finding.code == "AZCM0042"


@pytest.mark.parametrize(
    ("command_run", "state"),
    [
        (run(Outcome.FAILURE), State.ACTIVE),
        (run(Outcome.UNKNOWN), State.ACTIVE),
        (run(Outcome.SUCCESS), State.HISTORICAL),
        (run(Outcome.FAILURE, current=False), State.HISTORICAL),
    ],
)
def test_the_runs_outcome_decides(command_run: CommandRun, state: State) -> None:
    (finding,) = classify(record(1, run=0), runs=(command_run,))
    assert finding.state is state


def test_survived_and_active_are_two_findings() -> None:
    runs = (run(Outcome.SUCCESS), run(Outcome.FAILURE))
    found = classify(record(1, run=0), record(2, run=1), runs=runs)
    assert {(f.state, f.evidence[0].line) for f in found} == {(State.HISTORICAL, 1), (State.ACTIVE, 2)}


@pytest.mark.parametrize(
    ("command_run", "beat_minutes", "status", "state"),
    [
        (run(Outcome.FAILURE, minutes=3), 4, "Connected", State.HISTORICAL),
        (run(Outcome.FAILURE, minutes=3), 2, "Connected", State.ACTIVE),
        (run(Outcome.FAILURE, minutes=3), 4, "Disconnected", State.ACTIVE),
        (run(Outcome.FAILURE, command="disconnect", minutes=3), 4, "Connected", State.ACTIVE),
        (run(Outcome.UNKNOWN, command="check", minutes=3), 4, "Connected", State.HISTORICAL),
        (run(Outcome.UNKNOWN, command="check", minutes=3), 2, "Connected", State.ACTIVE),
        (run(Outcome.UNKNOWN, command="", minutes=30), 4, "Connected", State.HISTORICAL),
        (None, 4, "Connected", State.HISTORICAL),
        (None, 0, "Connected", State.ACTIVE),
    ],
)
def test_a_later_heartbeat_makes_history(
    command_run: CommandRun | None, beat_minutes: int, status: str, state: State
) -> None:
    agent = AgentState(status=status, last_heartbeat_at=T0 + timedelta(minutes=beat_minutes))
    runs = (command_run,) if command_run else ()
    (finding,) = classify(record(1, minutes=1, run=0 if runs else None), runs=runs, agent=agent)
    assert finding.state is state


@pytest.mark.parametrize("age_s", [100, 1800, 1801])
@pytest.mark.parametrize("minutes", [5, None])
@pytest.mark.parametrize(
    ("source", "level", "status", "passing"),
    [
        ("log.himds", Level.ERROR, "Connected", True),
        ("log.gc_agent", Level.WARNING, "Connected", True),
        ("log.himds", Level.FATAL, "Connected", False),
        ("log.himds", Level.ERROR, "Disconnected", False),
        ("log.azcmagent", Level.ERROR, "Connected", False),
        ("agent.check", Level.ERROR, "Connected", False),
    ],
)
def test_while_heartbeats_arrive_a_services_failed_try_is_history(
    source: str, level: Level, status: str, passing: bool, minutes: int | None, age_s: int
) -> None:
    log = Log(source=source, records=(record(1, minutes=minutes, level=level),))
    facts = (Fact(name="agent.status", value=status), Fact(name="agent.heartbeat_age_s", value=str(age_s)))
    agent = AgentState(status=status, last_heartbeat_at=T0)
    (finding,) = Classifier(PACK).classify(Observation(logs=(log,), agent=agent, facts=facts)).findings
    assert (finding.state is State.HISTORICAL) is (passing and age_s <= 1800)


@pytest.mark.parametrize(
    ("source", "beat_minutes", "state"),
    [
        ("log.himds", 2, State.HISTORICAL),
        ("log.arcproxy", 2, State.HISTORICAL),
        ("log.himds", 0, State.ACTIVE),
        ("log.gc_ext", 2, State.ACTIVE),
        ("log.azcmagent", 2, State.ACTIVE),
    ],
)
def test_what_himds_failed_at_before_the_last_heartbeat_is_not_why_none_goes_out_now(
    source: str, beat_minutes: int, state: State
) -> None:
    log = Log(source=source, records=(record(1, minutes=1),))
    agent = AgentState(status="Disconnected", last_heartbeat_at=T0 + timedelta(minutes=beat_minutes))
    (finding,) = Classifier(PACK).classify(Observation(logs=(log,), agent=agent)).findings
    assert finding.state is state


def test_without_any_time_a_heartbeat_proves_nothing() -> None:
    agent = AgentState(status="Connected", last_heartbeat_at=T0)
    (finding,) = classify(record(1), agent=agent)
    assert finding.state is State.ACTIVE


UNNAMED = replace(MESSAGE, id="unnamed", generic=True, match=LogMatch(code=NO_CODE))


def unnamed(source: str, *records: LogRecord, runs: tuple[CommandRun, ...]) -> list[tuple[State, int]]:
    """State and line of what is fatal and has no rule; the last heartbeat is of minute 3."""
    agent = AgentState(status="Connected", last_heartbeat_at=T0 + timedelta(minutes=3))
    log = Log(source=source, records=tuple(replace(r, run=0) for r in records), runs=runs)
    pack = replace(PACK, rules=(MESSAGE, UNNAMED))
    found = Classifier(pack).classify(Observation(logs=(log,), agent=agent)).findings
    return [(f.state, f.evidence[0].line) for f in found if f.rule == "unnamed"]


FATAL = record(2, "cannot read the key store", minutes=9, level=Level.FATAL)


@pytest.mark.parametrize("source", ["log.himds", "himds.log"])
def test_what_was_survived_does_not_explain_a_new_fatal_line(source: str) -> None:
    runs = (run(Outcome.FAILURE, command="", minutes=9),)
    assert unnamed(source, record(1, minutes=1), FATAL, runs=runs) == [(State.ACTIVE, 2)]


def test_in_a_services_log_a_line_explains_only_itself() -> None:
    runs = (run(Outcome.FAILURE, command="", minutes=9),)
    assert unnamed("log.himds", record(1, minutes=8), FATAL, runs=runs) == [(State.ACTIVE, 2)]
    assert unnamed("log.himds", record(2, minutes=8, level=Level.FATAL), runs=runs) == []


def test_in_a_commands_run_a_line_explains_how_it_ends() -> None:
    runs = (run(Outcome.FAILURE, minutes=9),)
    assert unnamed("log.azcmagent", record(1, minutes=8), FATAL, runs=runs) == []


@pytest.mark.parametrize(("count", "named"), [(1, "blocked"), (2, "unnamed")])
def test_what_a_rule_matches_too_seldom_it_does_not_describe(count: int, named: str) -> None:
    often = replace(MESSAGE, match=LogMatch(text=("key store",), count=count))
    log = Log(source="log.azcmagent", records=(FATAL,))
    found = Classifier(replace(PACK, rules=(often, UNNAMED))).classify(Observation(logs=(log,))).findings
    assert [f.rule for f in found] == [named]


def test_a_rule_of_another_system_explains_nothing() -> None:
    pack = replace(PACK, rules=(replace(MESSAGE, platforms=(OS.WINDOWS,)), UNNAMED))
    log = Log(source="log.azcmagent", records=(record(1), FATAL))
    found = Classifier(pack).classify(Observation(os=OS.LINUX, logs=(log,))).findings
    assert [f.rule for f in found] == ["unnamed"]


def test_a_rule_for_one_system_is_silent_on_another() -> None:
    pack = replace(PACK, rules=(replace(MESSAGE, platforms=(OS.WINDOWS,)),))
    log = Log(source="x", records=(record(1),))
    on = {os: Classifier(pack).classify(Observation(os=os, logs=(log,))).findings for os in (*OS, None)}
    assert [len(on[os]) for os in (OS.WINDOWS, OS.LINUX, None)] == [1, 0, 1]


@pytest.mark.parametrize("platforms", [(OS.WINDOWS,), tuple(OS)])
def test_a_code_whose_rule_is_for_another_system_is_told_as_one_without_a_rule(
    platforms: tuple[OS, ...],
) -> None:
    unknown = replace(CODE, id="unknown", code=None, match=LogMatch(code=UNKNOWN_CODE))
    pack = replace(PACK, rules=(replace(CODE, platforms=platforms), unknown))
    log = Log(source="log.azcmagent", records=(record(1, "Exit Code: AZCM0042", code="AZCM0042"),))
    found = Classifier(pack).classify(Observation(os=OS.LINUX, logs=(log,))).findings
    assert [f.rule for f in found] == ["azcm0042" if OS.LINUX in platforms else "unknown"]


def test_state_findings_name_fact_and_value() -> None:
    facts = (Fact(name="clock.skew_s", value="130", source="host.clock"),)
    (finding,) = classify(facts=facts)
    assert (finding.rule, finding.state, finding.count) == ("skewed", State.ACTIVE, 1)
    assert [(e.source, e.line, e.text) for e in finding.evidence] == [("host.clock", 0, "clock.skew_s = 130")]
    assert classify(facts=(*facts, Fact(name="time.source", value="none"))) == ()


def test_anchors_are_what_every_match_holds() -> None:
    assert Classifier(PACK).anchors == ("forbidden",)


def test_evidence_is_safe_for_a_terminal() -> None:
    assert harmless("a\x1b[31mred\x1b[0m\x1b]0;title\x07b") == "aredb"
    assert harmless("one\ntwo\tthree\r\n") == "one two three"
    assert harmless("\u202eevil\u2066\x00\x9b2J\x1b\ud800") == "\ufffdevil\ufffd\ufffd\ufffd2J\ufffd\ufffd"
    assert harmless("x" * 5000) == "x" * (MAX_TEXT - 1) + "…"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda text, code, number: record(1, text, code=code, run=number),
            st.text() | st.sampled_from(["https://login.windows.net/x: Forbidden \ud800", "AADSTS700016"]),
            st.none() | st.sampled_from(["AZCM0042", "AZCM0000", "AZCM9999"]),
            st.none() | st.integers(0, 3),
        )
    ),
    st.lists(st.builds(run, st.sampled_from(Outcome), current=st.booleans()), max_size=2),
    st.dictionaries(
        st.sampled_from(["agent.status", "clock.skew_s", "agent.version"]), st.text(), max_size=3
    ),
)
def test_any_observation_is_classified(
    records: list[LogRecord], runs: list[CommandRun], facts: dict[str, str]
) -> None:
    log = Log(source="x", records=tuple(records), runs=tuple(runs))
    read = tuple(Fact(name=name, value=value) for name, value in facts.items())
    found = SHIPPED.classify(Observation(logs=(log,), facts=read)).findings
    assert len({(f.rule, f.state) for f in found}) == len(found)
    for finding in found:
        for evidence in finding.evidence:
            assert len(evidence.text) <= MAX_TEXT
            assert not {unicodedata.category(char) for char in evidence.text} & {"Cc", "Cs", "Zl", "Zp"}


def test_a_code_shows_the_error_it_ended_with() -> None:
    rule = replace(MESSAGE, id="azcm0062", match=LogMatch(code="AZCM0062"), code="AZCM0062")
    records = tuple(
        LogRecord(line=line, level=level, text=text, at=None, run=run, code=code)
        for line, level, text, run, code in (
            (1, Level.ERROR, "of another run", 0, None),
            (5, Level.ERROR, "the reason", 1, None),
            (7, Level.INFO, "Exit Code: AZCM0062", 1, "AZCM0062"),
        )
    )
    runs = tuple(
        CommandRun(command="connect", first_line=line, outcome=Outcome.FAILURE, last_at=None, current=True)
        for line in (1, 2)
    )
    log = Log(source="azcmagent.log", records=records, runs=runs, cut=False)
    pack = Pack(name="p", items=(), rules=(rule,), digest="")
    (finding,) = Classifier(pack).classify(Observation(logs=(log,))).findings
    assert (finding.count, [evidence.line for evidence in finding.evidence]) == (1, [5, 7])


@pytest.mark.parametrize(
    ("system", "facts", "said"),
    [
        (OS.WINDOWS, {"policy.profile_cleanup": "set", "clock.skew_s": "121"}, ("c", "r set")),
        (OS.WINDOWS, {"policy.profile_cleanup": "not set", "clock.skew_s": "121"}, ("c windows", "r")),
        (OS.WINDOWS, {"clock.skew_s": "121"}, ("c windows", "r")),
        (OS.LINUX, {"policy.profile_cleanup": "set", "clock.skew_s": "121"}, ("c", "r")),
        (None, {"policy.profile_cleanup": "set", "clock.skew_s": "121"}, ("c", "r")),
    ],
)
def test_a_rule_has_its_words_for_the_host(
    system: OS | None, facts: dict[str, str], said: tuple[str, str]
) -> None:
    instead = (
        Variant(
            os=OS.WINDOWS,
            where='policy.profile_cleanup == "set"',
            remediation=("r set",),
        ),
        Variant(os=OS.WINDOWS, cause="c windows"),
    )
    pack = replace(PACK, rules=tuple(replace(rule, instead=instead) for rule in (MESSAGE, STATE)))
    observation = Observation(
        os=system,
        logs=(Log(source="log.azcmagent", records=(record(1),)),),
        facts=tuple(Fact(name=name, value=value) for name, value in facts.items()),
    )
    findings = Classifier(pack).classify(observation).findings
    assert [finding.rule for finding in findings] == ["blocked", "skewed"]
    assert {(finding.cause, finding.remediation) for finding in findings} == {said}


def test_words_for_some_facts_hold_on_any_family() -> None:
    instead = (Variant(where="clock.skew_s > 300.0", cause="far off"),)
    pack = replace(PACK, rules=(replace(STATE, instead=instead),))
    for skew, cause in (("301", "far off"), ("121", "c")):
        facts = (Fact(name="clock.skew_s", value=skew),)
        for system in (None, *OS):
            (finding,) = Classifier(pack).classify(Observation(os=system, facts=facts)).findings
            assert finding.cause == cause


def test_what_of_the_words_is_the_hosts_own_is_told_by_name() -> None:
    proxied = replace(
        MESSAGE,
        title="{proxy} refuses",
        cause="{proxy} answers {agent.version}; {clock.skew_s} s off.",
        remediation=("Ask {proxy}.",),
        match=LogMatch(text=(r"proxy (?P<proxy>\S+) said no",)),
    )
    log = Log(source="log.azcmagent", records=(record(1, "proxy p\x1b[31m:80 said no"),))
    seen = Observation(logs=(log,), facts=(Fact(name="clock.skew_s", value="7"),))
    (finding,) = Classifier(Pack(name="p", items=(), rules=(proxied,), digest="")).classify(seen).findings
    assert (finding.title, finding.remediation) == ("p:80 refuses", "Ask p:80.")
    assert finding.cause == "p:80 answers (not told); 7 s off."
    assert finding.parameters == (("proxy", "p:80"), ("clock.skew_s", "7"))
