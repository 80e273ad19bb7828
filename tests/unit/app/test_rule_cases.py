"""The runner of rules' cases: what it calls wrong, and how it writes a message."""

from __future__ import annotations

import pytest

from fleet.app.rule_cases import CaseRun, CaseRunner, missing_cases, render_message
from fleet.model.case import Case, Message, Shape
from fleet.model.observation import Fact, Level
from fleet.model.pack import FleetMatch, LogMatch, Match, Pack, Rule, StateMatch
from fleet.model.words import OS, Severity
from fleet.parse.lines import parse_line

WANT = 'Post "https://x/<a>&b": no'


def rule(
    rule_id: str, match: Match, *explains: str, generic: bool = False, severity: Severity = Severity.ERROR
) -> Rule:
    return Rule(
        id=rule_id,
        family="own",
        version=1,
        title="t",
        severity=severity,
        cause="c",
        remediation=("r",),
        source="s",
        link="https://example.com/",
        match=match,
        explains=explains,
        generic=generic,
    )


RULES = (
    rule("azcm0042", LogMatch(code="AZCM0042"), generic=True),
    rule("blocked", LogMatch(text=("proxy blocked",)), "gone"),
    rule("refused", LogMatch(text=("proxy refused",), logs=("himds",))),
    rule("noted", LogMatch(text=("proxy noted",)), severity=Severity.INFO),
    rule("gone", StateMatch(expression='agent.status == "gone"')),
    rule("twins", FleetMatch(fact="agent.vm_id", hosts=2)),
    rule("doubles", FleetMatch(fact="agent.resource_id", hosts=2)),
)
RUNNER = CaseRunner(Pack(name="test", items=(), rules=RULES, digest=""))
CONNECT = 'level=info msg="Agent Command: connect"\n'
DONE = '\nlevel=info msg="Successfully Onboarded Resource to Azure"'


def case(text: str = "", **told: object) -> Case:
    return Case(path="c.yaml", line=1, number=1, rule="blocked", text=text, **told)  # type: ignore[arg-type]


def run(case: Case) -> CaseRun:
    (found,) = RUNNER.run(case)
    return found


def test_what_is_as_expected_has_no_fault() -> None:
    found = run(case("proxy blocked", expect=("blocked",), misses=("refused",)))
    assert (found.active, found.history, found.faults) == (("blocked",), (), ())
    assert run(case(f"{CONNECT}proxy blocked{DONE}", history=("blocked",))).faults == ()


@pytest.mark.parametrize(
    ("text", "told", "fault"),
    [
        ("all is well", {"expect": ("blocked",)}, "blocked did not find it"),
        (
            f"{CONNECT}proxy blocked{DONE}",
            {"expect": ("blocked",)},
            "blocked found it as history only",
        ),
        ("all is well", {"history": ("blocked",)}, "blocked did not find it, history is expected"),
        ("proxy blocked", {"history": ("blocked",)}, "blocked found it as active, history is expected"),
        ("proxy blocked", {"misses": ("blocked",)}, "blocked found it, nothing is expected of it"),
        (
            f"{CONNECT}proxy blocked{DONE}",
            {"misses": ("blocked",)},
            "blocked found it as history, nothing is expected of it",
        ),
    ],
)
def test_what_is_not_as_expected_is_told(text: str, told: dict[str, object], fault: str) -> None:
    assert run(case(text, **told)).faults == (fault,)


def test_two_causes_are_a_fault_unless_both_are_expected() -> None:
    text = "proxy blocked\nproxy refused"
    (fault,) = run(case(text, log="himds", expect=("blocked",))).faults
    assert fault == "none of blocked, refused explains the others, so all of them would be the cause"
    assert run(case(text, log="himds", expect=("blocked", "refused"))).faults == ()


def test_what_is_no_trouble_is_no_second_cause() -> None:
    assert run(case("proxy blocked\nproxy noted", expect=("blocked",))).faults == ()


def test_symptoms_and_generic_codes_may_stand_beside_a_cause() -> None:
    gone = (Fact(name="agent.status", value="gone"),)
    found = run(case("proxy blocked\nExit Code: AZCM0042: words", facts=gone, expect=("blocked",)))
    assert (set(found.active), found.faults) == ({"blocked", "azcm0042", "gone"}, ())


def test_a_generic_code_beside_a_matter_of_the_host_is_no_second_cause() -> None:
    gone = (Fact(name="agent.status", value="gone"),)
    found = run(case("Exit Code: AZCM0042: words", facts=gone, expect=("gone",)))
    assert (set(found.active), found.faults) == ({"azcm0042", "gone"}, ())


def test_hosts_are_compared_by_the_rules_about_what_they_share() -> None:
    one, two = ((Fact(name="agent.vm_id", value=value),) for value in ("a", "b"))
    assert run(case(hosts=(one, one, two), expect=("twins",))).faults == ()
    assert run(case(hosts=(one, two), expect=("twins",))).faults == ("twins did not find it",)
    assert run(case(hosts=(one, one), misses=("twins",))).faults == (
        "twins found it, nothing is expected of it",
    )
    both = (*one, Fact(name="agent.resource_id", value="r"))
    assert run(case(hosts=(both, both), expect=("twins",))).faults == ("doubles found it, too",)
    assert run(case(hosts=(both, both), expect=("twins",), misses=("doubles",))).faults == (
        "doubles found it, nothing is expected of it",
    )


def test_what_happened_again_is_history_and_active() -> None:
    text = f"{CONNECT}proxy blocked{DONE}\n{CONNECT}proxy blocked"
    assert run(case(text, expect=("blocked",), history=("blocked",))).faults == ()
    assert run(case(text, history=("blocked",))).faults == (
        "blocked found it as active, history is expected",
    )


def test_a_text_is_of_the_log_that_is_told() -> None:
    assert run(case("proxy refused", log="himds", expect=("refused",))).faults == ()
    assert run(case("proxy refused", log="", expect=("refused",))).faults == ()
    assert run(case("proxy refused", misses=("refused",))).faults == ()


def test_a_fact_of_the_case_stands_for_what_the_text_says() -> None:
    shown = "Agent Status : Connected\nAgent Version : 1.58\n"
    assert run(case(shown, facts=(Fact(name="agent.status", value="gone"),), expect=("gone",))).faults == ()


def test_a_message_runs_in_each_shape() -> None:
    message = Message(text="proxy blocked", shapes=tuple(Shape))
    runs = list(RUNNER.run(case(message=message, expect=("blocked",))))
    assert [found.shape for found in runs] == list(Shape)
    assert [found.faults for found in runs] == [()] * len(Shape)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (
            Shape.LOG,
            (
                'time="2026-03-01T08:00:00Z" level=debug msg="Agent Command: connect"\n'
                'time="2026-03-01T08:00:01Z" level=error msg="Failed" Error="Post \\"https://x/<a>&b\\": no"'
            ),
        ),
        (Shape.CONSOLE, '$ sudo azcmagent connect\nERROR   Failed: Post "https://x/<a>&b": no'),
        (
            Shape.TERMINAL,
            (f'$ sudo azcmagent connect\nERROR[0032] {"Failed":<44} Error="Post \\"https://x/<a>&b\\": no"'),
        ),
        (
            Shape.GCLOG,
            (
                "<GCLOG>[2026-03-01 08:00:01.330] [PID 4242] [TID 4343] [GAS] [ERROR] "
                '[11111111-2222-3333-4444-555555555555] Failed: Post "https://x/<a>&b": no</GCLOG>'
            ),
        ),
        (
            Shape.JSON,
            (
                '{"Error":"Post \\"https://x/\\u003ca\\u003e\\u0026b\\": no","level":"error","msg":"Failed",'
                '"time":"2026-03-01T08:00:01Z"}'
            ),
        ),
    ],
)
def test_a_message_is_written_as_its_shape_has_it(shape: Shape, text: str) -> None:
    message = Message(text="Failed", fields=(("Error", WANT),), command="connect")
    assert render_message(message, shape) == text


@pytest.mark.parametrize("shape", [Shape.LOG, Shape.CONSOLE, Shape.TERMINAL, Shape.GCLOG])
@pytest.mark.parametrize("level", [Level.WARNING, Level.ERROR, Level.FATAL])
def test_what_is_written_is_read_as_it_was_meant(shape: Shape, level: Level) -> None:
    line = parse_line(render_message(Message(text="Failed", fields=(("Error", WANT),), level=level), shape))
    assert line.level is level
    assert WANT in line.text


def test_on_windows_the_command_stands_behind_its_prompt() -> None:
    text = render_message(Message(text="Failed", command="connect"), Shape.CONSOLE, OS.WINDOWS)
    assert text == "PS C:\\> azcmagent connect\nERROR   Failed"


def test_a_rule_lacks_what_no_case_of_its_own_has() -> None:
    hit, miss = case("a", expect=("blocked",)), case("a", misses=("blocked",))
    rules = [each for each in RULES if each.id == "blocked"]
    assert list(missing_cases([hit, miss], rules)) == []
    assert list(missing_cases([hit], rules)) == ["blocked: no case of its own has it under not"]
    assert list(missing_cases([], rules)) == ["blocked: no case of its own has it under expect or not"]
    others = case("a", expect=("refused",), misses=("refused",))
    assert len(list(missing_cases([others], [each for each in RULES if each.id == "refused"]))) == 1


def test_a_case_is_named_by_its_place() -> None:
    assert case("a").place == "c.yaml:1"
