"""Visits and findings into verdicts: what was not seen never looks well."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from fleet.app.judge import ACTIONS, first_sentence
from fleet.app.judge import judge as judge_observed
from fleet.model.finding import Acceptance, Finding
from fleet.model.host import Host
from fleet.model.observation import Observation
from fleet.model.pack import Item, Pack
from fleet.model.report import Verdict
from fleet.model.visit import Capture, Failure, Visit
from fleet.model.words import OS, Connection, Observed, Phase, Privilege, Reason, Severity, State, Word

PACK = Pack(
    name="p",
    items=(
        Item(name="show", argv=("show",), required=True),
        Item(name="show-text", argv=("show",), when="failed"),
        Item(name="log", argv=("tail", "/x"), required=True),
        Item(name="extra", argv=("df",)),
    ),
    rules=(),
    digest="",
)
LINUX_HOST = Host(name="h", address="h")
WINRM_HOST = Host(name="h", address="h", connection=Connection.WINRM, os=OS.WINDOWS)
WINDOWS_HOST = Host(name="h", address="h", os=OS.WINDOWS)
"""One of Windows that is reached over SSH."""
GONE = Failure(reason=Reason.UNREACHABLE, phase=Phase.CONNECT, message="refused")


def capture(item: str, exit_code: int | None = 0, **more: object) -> Capture:
    made = Capture(item=item, data=b"", privilege=Privilege.USER, exit_code=exit_code)
    return replace(made, **more)  # type: ignore[arg-type]


def visit(*captures: Capture, complete: bool = True, failure: Failure | None = None) -> Visit:
    return Visit(
        started_at=datetime(2026, 3, 1, tzinfo=UTC),
        duration_s=1.0,
        captures=captures,
        complete=complete,
        failure=failure,
    )


def finding(
    rule: str = "r", severity: Severity = Severity.ERROR, state: State = State.ACTIVE, remedy: str = "Do it."
) -> Finding:
    return Finding(
        rule=rule,
        rule_version=1,
        code=None,
        severity=severity,
        state=state,
        title="t",
        cause="c",
        remediation=remedy,
        count=1,
    )


def judge(
    visit: Visit,
    findings: tuple[Finding, ...],
    pack: Pack,
    observation: Observation | None = None,
    host: Host = LINUX_HOST,
) -> Verdict:
    return judge_observed(visit, observation or Observation(), findings, pack, host)


WHOLE = visit(capture("show"), capture("log"))


def test_healthy_needs_every_required_item() -> None:
    verdict = judge(WHOLE, (), PACK)
    assert (verdict.word, verdict.observed, verdict.cause, verdict.action) == (
        Word.HEALTHY,
        Observed.FULL,
        None,
        "",
    )


@pytest.mark.parametrize(
    ("log", "reason", "phase", "why"),
    [
        (capture("log", 1, denied=True), Reason.PRIVILEGE, None, "exit code 1"),
        (
            capture("log", 1, denied=True, stderr=b"sudo: x\nsudo: a password is required\n"),
            Reason.PRIVILEGE,
            None,
            "sudo: a password is required",
        ),
        (capture("log", 124), Reason.DEADLINE, Phase.EXEC, "did not end within 10 s"),
        (capture("log", 137), Reason.DEADLINE, Phase.EXEC, "did not end within 10 s"),
        (
            capture("log", 1, stderr=b"tail: \x1b[1mInput/output error"),
            Reason.PARTIAL,
            None,
            "tail: Input/output error",
        ),
        (capture("log", None, skipped="no sudo"), Reason.PARTIAL, None, "left out: no sudo"),
        (capture("log", None, skipped="hung"), Reason.DEADLINE, Phase.EXEC, "left out, as tail had hung"),
        (capture("other"), Reason.PARTIAL, None, "no answer"),
    ],
)
def test_a_required_item_that_was_not_read(
    log: Capture, reason: Reason, phase: Phase | None, why: str
) -> None:
    verdict = judge(visit(capture("show"), log), (), PACK)
    assert (verdict.word, verdict.reason, verdict.phase) == (Word.NOT_OBSERVED, reason, phase)
    assert verdict.observed is Observed.PARTIAL
    assert verdict.message == f"not read: log ({why})"
    assert verdict.action == dict(ACTIONS)[reason]


def test_a_file_that_does_not_exist_was_looked_at() -> None:
    absent = capture("log", 1, stderr=b"tail: cannot open '/x': No such file or directory")
    assert judge(visit(capture("show"), absent), (), PACK).word is Word.HEALTHY


def test_a_fallback_stands_in_for_the_item_before_it() -> None:
    old_agent = visit(capture("show", 1), capture("show-text"), capture("log"))
    assert judge(old_agent, (), PACK).word is Word.HEALTHY
    both_fail = visit(capture("show", 124), capture("show-text", 1), capture("log"))
    assert judge(both_fail, (), PACK).reason is Reason.DEADLINE


def test_what_needs_a_right_is_named_before_what_was_slow() -> None:
    verdict = judge(visit(capture("show", 124), capture("log", 1, denied=True)), (), PACK)
    assert (verdict.reason, verdict.message) == (Reason.PRIVILEGE, "not read: log (exit code 1)")


def test_without_the_end_mark_nobody_is_healthy() -> None:
    verdict = judge(replace(WHOLE, complete=False), (), PACK)
    assert (verdict.word, verdict.reason, verdict.observed) == (
        Word.NOT_OBSERVED,
        Reason.PARTIAL,
        Observed.PARTIAL,
    )


def test_a_failure_may_know_better_what_to_do() -> None:
    for action, told in (("Do this.", "Do this."), ("", dict(ACTIONS)[Reason.UNREACHABLE])):
        verdict = judge(visit(complete=False, failure=replace(GONE, action=action)), (), PACK)
        assert verdict.action == told


def test_a_failure_is_its_own_reason() -> None:
    verdict = judge(visit(complete=False, failure=GONE), (), PACK)
    assert (verdict.word, verdict.reason, verdict.phase, verdict.message, verdict.observed) == (
        Word.NOT_OBSERVED,
        Reason.UNREACHABLE,
        Phase.CONNECT,
        "refused",
        Observed.NONE,
    )


def test_findings_of_a_broken_visit_keep_their_word() -> None:
    late = Failure(reason=Reason.DEADLINE, phase=Phase.TRANSFER, message="slow")
    broken = visit(capture("show"), complete=False, failure=late)
    verdict = judge(broken, (finding(),), PACK)
    assert (verdict.word, verdict.observed, verdict.reason) == (Word.FAILING, Observed.PARTIAL, None)
    assert judge(broken, (), PACK).reason is Reason.DEADLINE
    assert judge(visit(complete=False, failure=GONE), (finding(),), PACK).word is Word.NOT_OBSERVED


@pytest.mark.parametrize(
    ("severity", "word"),
    [
        (Severity.CRITICAL, Word.FAILING),
        (Severity.ERROR, Word.FAILING),
        (Severity.WARNING, Word.DEGRADED),
        (Severity.INFO, Word.HEALTHY),
    ],
)
def test_the_worst_active_severity_gives_the_word(severity: Severity, word: Word) -> None:
    verdict = judge(WHOLE, (finding(severity=severity), finding("i", Severity.INFO)), PACK)
    assert (verdict.word, verdict.observed) == (word, Observed.FULL)


def test_history_fails_nobody() -> None:
    verdict = judge(WHOLE, (finding(state=State.HISTORICAL),), PACK)
    assert (verdict.word, verdict.cause) == (Word.HEALTHY, None)


def test_the_cause_is_what_explains_the_others() -> None:
    symptom = replace(finding("a"), explained_by=("clock",))
    clock = finding("clock", Severity.WARNING, remedy="Set the clock with chrony. Then wait.")
    verdict = judge(WHOLE, (symptom, clock), PACK)
    assert verdict.word is Word.FAILING
    assert verdict.cause == clock
    assert verdict.action == "Set the clock with chrony."


def test_without_an_agent_its_files_are_not_missed() -> None:
    verdict = judge(visit(capture("show", 127)), (finding("agent-not-installed"),), PACK)
    assert (verdict.word, verdict.observed) == (Word.FAILING, Observed.FULL)


def test_partial_findings_say_so() -> None:
    verdict = judge(visit(capture("show")), (finding(severity=Severity.WARNING),), PACK)
    assert (verdict.word, verdict.observed) == (Word.DEGRADED, Observed.PARTIAL)
    assert verdict.message == "not read: log (no answer)"


def test_a_cause_does_not_hide_what_was_not_read() -> None:
    denied = capture("log", 1, denied=True, stderr=b"tail: Permission denied")
    verdict = judge(visit(capture("show", 124), denied), (finding(),), PACK)
    assert verdict.cause == finding()
    assert verdict.message == "not read: show (did not end within 10 s); log (tail: Permission denied)"
    cut = judge(visit(capture("show"), capture("log"), complete=False), (finding(),), PACK)
    assert cut.message == "the answer ended before its end mark"
    late = Failure(reason=Reason.DEADLINE, phase=Phase.TRANSFER, message="too slow")
    broken = judge(visit(capture("show"), complete=False, failure=late), (finding(),), PACK)
    assert broken.message == "the visit broke off: too slow; not read: log (no answer)"
    assert judge(WHOLE, (finding(),), PACK).message == ""


def test_an_answer_that_ends_before_it_says_anything_is_the_hosts_trouble() -> None:
    verdict = judge(visit(complete=False), (), PACK)
    assert (verdict.word, verdict.observed) == (Word.NOT_OBSERVED, Observed.NONE)
    assert (verdict.reason, verdict.phase) == (Reason.REMOTE, Phase.TRANSFER)
    assert verdict.message == "the answer ended before its end mark"
    some = judge(visit(capture("show"), complete=False), (), PACK)
    assert (some.reason, some.observed) == (Reason.PARTIAL, Observed.PARTIAL)


def test_every_reason_has_an_action() -> None:
    assert {reason for reason, _ in ACTIONS} == set(Reason)


WINDOWS = replace(
    PACK,
    items=(
        *PACK.items,
        Item(name="show", argv=("azcmagent", "show", "-j"), required=True, os=OS.WINDOWS),
        Item(name="log", argv=("tail", r"%ProgramData%\x\himds.log"), required=True, os=OS.WINDOWS),
    ),
)


def test_a_windows_file_that_does_not_exist_was_looked_at() -> None:
    said = rb"C:\ProgramData\x\himds.log: No such file or directory"
    absent = capture("log", 1, stderr=said)
    assert judge(visit(capture("show"), absent), (), WINDOWS, host=WINRM_HOST).word is Word.HEALTHY
    # A program that lacks a file of its own has not done its work.
    lacking = judge(visit(capture("show", 1, stderr=said), capture("log")), (), WINDOWS, host=WINRM_HOST)
    assert (lacking.word, lacking.reason) == (Word.NOT_OBSERVED, Reason.PARTIAL)


def test_a_plain_user_of_windows_is_told_how_to_be_more() -> None:
    denied = visit(capture("show"), capture("log", 126, denied=True, stderr=b"access denied"))
    verdict = judge(denied, (), WINDOWS, host=WINRM_HOST)
    assert (verdict.word, verdict.reason) == (Word.NOT_OBSERVED, Reason.PRIVILEGE)
    assert verdict.message == "not read: log (access denied)"
    assert "Administrators" in verdict.action
    assert "fleet privileges jea" in verdict.action
    assert "sudo" not in verdict.action


@pytest.mark.parametrize("reason", list(Reason))
def test_no_advice_for_windows_speaks_of_linux(reason: Reason) -> None:
    lost = visit(complete=False, failure=replace(GONE, reason=reason))
    action = judge(lost, (), WINDOWS, host=WINRM_HOST).action
    assert action
    assert not [word for word in ("SSH", "host key", "sudo", "`sh`") if word in action]


@pytest.mark.parametrize("reason", list(Reason))
def test_no_advice_for_windows_over_ssh_speaks_of_winrm_or_sudo(reason: Reason) -> None:
    lost = visit(complete=False, failure=replace(GONE, reason=reason))
    action = judge(lost, (), WINDOWS, host=WINDOWS_HOST).action
    assert action
    assert not [
        word for word in ("WinRM", "certificate", "jea", "PSSession", "sudo", "`sh`") if word in action
    ]
    assert ("SSH" in action) is (reason is Reason.UNREACHABLE)
    assert ("administrators_authorized_keys" in action) is (reason is Reason.AUTH)


def test_a_domain_controller_that_was_spared_is_no_partial_visit() -> None:
    spared = visit(*(capture(name, None, skipped="tier0") for name in ("show", "log")))
    for findings in ((), (finding("clock-skew", Severity.WARNING),)):
        verdict = judge(spared, findings, WINDOWS, host=WINRM_HOST)
        assert (verdict.word, verdict.reason, verdict.observed) == (
            Word.NOT_OBSERVED,
            Reason.SKIPPED,
            Observed.NONE,
        )
        assert verdict.action == "Set `tier0: true` for this host to visit a domain controller."
        assert "domain controller" in verdict.message


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One. Two.", "One."),
        ("Run `a.b --x 1.5 y`. Then rest.", "Run `a.b --x 1.5 y`."),
        ("No end", "No end"),
    ],
)
def test_first_sentence(text: str, first: str) -> None:
    assert first_sentence(text) == first


ACCEPTED = Acceptance(ticket="CHG-7", reason="r", until=date(2026, 5, 31))


def test_what_was_accepted_counts_in_no_verdict() -> None:
    lived_with = replace(finding("a", Severity.CRITICAL), accepted=ACCEPTED)
    assert judge(WHOLE, (lived_with,), PACK).word is Word.HEALTHY
    both = judge(WHOLE, (lived_with, finding("b", Severity.WARNING)), PACK)
    assert (both.word, both.cause and both.cause.rule) == (Word.DEGRADED, "b")
    unseen = judge(visit(capture("show"), capture("log", 1)), (lived_with,), PACK)
    assert unseen.word is Word.NOT_OBSERVED


def test_to_accept_a_cause_is_to_accept_what_it_alone_explains() -> None:
    cause = replace(finding("cause"), accepted=ACCEPTED)
    symptom = replace(finding("symptom"), explained_by=("cause",))
    further = replace(finding("further"), explained_by=("symptom",))
    assert judge(WHOLE, (cause, symptom, further), PACK).word is Word.HEALTHY
    other = finding("other", Severity.WARNING)
    doubly = replace(symptom, explained_by=("cause", "other"))
    verdict = judge(WHOLE, (cause, doubly, other), PACK)
    assert (verdict.word, verdict.cause and verdict.cause.rule) == (Word.FAILING, "other")


def test_what_was_accepted_in_history_settles_nothing_of_today() -> None:
    past = replace(finding("cause", state=State.HISTORICAL), accepted=ACCEPTED)
    symptom = replace(finding("symptom"), explained_by=("cause",))
    assert judge(WHOLE, (past, symptom), PACK).word is Word.FAILING


def test_an_absent_agent_explains_what_was_not_read_also_where_it_is_accepted() -> None:
    absent = replace(finding("agent-not-installed"), accepted=ACCEPTED)
    assert judge(visit(capture("show", 127), capture("log", 1)), (absent,), PACK).word is Word.HEALTHY


def test_the_cause_of_a_verdict_is_what_nothing_explains_though_a_symptom_is_worse() -> None:
    symptom = replace(finding("a", Severity.CRITICAL), explained_by=("cause",))
    verdict = judge(WHOLE, (symptom, finding("cause", Severity.WARNING)), PACK)
    assert (verdict.word, verdict.cause and verdict.cause.rule) == (Word.FAILING, "cause")
