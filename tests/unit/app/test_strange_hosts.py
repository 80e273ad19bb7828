"""Hosts without systemd and agents that hang or babble, through the shipped pack to the verdict."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from fleet.app.classify_files import classify_paths
from fleet.app.judge import judge
from fleet.classify.engine import Classifier
from fleet.model.host import Host
from fleet.model.report import Verdict
from fleet.model.visit import Capture, Visit
from fleet.model.words import Privilege, Reason, Word
from fleet.packs.load import load_pack
from fleet.parse.observe import observe_visit
from fleet.parse.scan import Anchors

PACK = load_pack()
CLASSIFIER = Classifier(PACK)
ANCHORS = Anchors(CLASSIFIER.anchors)
NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
Answer = tuple[int | None, bytes, bytes]

SHOW = json.dumps(
    {
        "status": "Connected",
        "lastHeartbeat": "2026-03-01T07:58:00Z",
        "resourceName": "web01",
        "agentVersion": "1.67.03535.1012",
    }
).encode()
UNITS = b"\n".join(
    b"Id=%s.service\nLoadState=loaded\nActiveState=active\nSubState=running\n" % unit
    for unit in (b"himdsd", b"gcad", b"extd", b"arcproxyd")
)
WELL: dict[str, Answer] = {
    "host.clock": (0, b"%d/+0000/UTC\n" % NOW.timestamp(), b""),
    "agent.version": (0, b"azcmagent version 1.67.03535.1012\n", b""),
    "agent.show": (0, SHOW, b""),
    "services": (0, UNITS, b""),
    "log.azcmagent": (0, b"", b""),
    "log.himds": (0, b"", b""),
}
GONE: Answer = (127, b"", b"timeout: failed to run command 'azcmagent': No such file or directory\n")
NO_FILE: Answer = (1, b"", b"tail: cannot open '/x' for reading: No such file or directory\n")
NO_BUS: Answer = (1, b"", b"Failed to get D-Bus connection: No such file or directory\n")


def verdict_on(**answers: Answer | None) -> Verdict:
    told = WELL | {name.replace("_", "."): answer for name, answer in answers.items()}
    captures = tuple(
        Capture(
            item=item,
            data=answer[1],
            privilege=Privilege.ROOT,
            exit_code=answer[0],
            stderr=answer[2],
            denied=b"ermission denied" in answer[2],
        )
        for item, answer in told.items()
        if answer is not None
    )
    visit = Visit(started_at=NOW, duration_s=1.0, captures=captures, complete=True, clock_offset_s=0.0)
    observation = observe_visit(visit, ANCHORS)
    findings = CLASSIFIER.classify(observation).findings
    return judge(visit, observation, findings, PACK, Host(name="h", address="h"))


def test_a_host_that_is_well() -> None:
    assert verdict_on().word is Word.HEALTHY


@pytest.mark.parametrize(
    ("services", "says"),
    [
        ((127, b"", b"env: 'systemctl': No such file or directory\n"), "'systemctl': No such file"),
        ((127, b"", b"sh: 1: systemctl: not found\n"), "systemctl: not found"),
        (NO_BUS, "Failed to get D-Bus connection"),
        ((1, b"System has not been booted with systemd\n", b""), "not been booted with systemd"),
        ((0, b"", b""), "not understood"),
        ((0, b"what?\n", b""), "not understood"),
        (None, "no answer"),
    ],
)
def test_without_systemd_nobody_is_healthy_and_the_reason_is_told(services: Answer | None, says: str) -> None:
    shown = json.dumps(json.loads(SHOW) | {"services": [{"serviceName": "himdsd", "status": "active"}]})
    verdict = verdict_on(services=services, agent_show=(0, shown.encode(), b""))
    assert (verdict.word, verdict.reason) == (Word.NOT_OBSERVED, Reason.PARTIAL)
    assert verdict.message.startswith("not read: services (")
    assert says in verdict.message


def test_units_asked_one_by_one_answer_for_the_manager() -> None:
    units: dict[str, Answer] = {
        f"unit_{unit}": (0, b"active\n", b"") for unit in ("himdsd", "gcad", "extd", "arcproxyd")
    }
    assert verdict_on(services=(1, b"", b"Unknown argument\n"), **units).word is Word.HEALTHY
    units["unit_himdsd"] = (3, b"failed\n", b"")
    verdict = verdict_on(services=(1, b"", b"Unknown argument\n"), **units)
    assert verdict.word is Word.FAILING
    assert verdict.cause is not None
    assert verdict.cause.rule == "service-himds-down"


@pytest.mark.parametrize(
    "show",
    [
        (124, b"", b""),
        (137, b"", b""),
        (0, b"", b""),
        (0, b"lorem ipsum\n", b""),
        (0, b'{"status": "", "agentVersion": "1.61"}', b""),
        (0, b"Agent Version      : 1.61\nAgent Status       :\n", b""),
        (1, b"unexpected end of JSON input\n", b""),
    ],
)
def test_an_agent_that_hangs_or_babbles_is_seen_to(show: Answer) -> None:
    verdict = verdict_on(agent_show=show)
    assert verdict.word is Word.FAILING
    assert verdict.cause is not None
    assert verdict.cause.rule == "agent-not-answering"


@pytest.mark.parametrize(
    ("show", "reason"),
    [
        ((126, b"", b"timeout: failed to run command 'azcmagent': Permission denied\n"), Reason.PRIVILEGE),
        ((126, b"", b"timeout: failed to run command 'azcmagent': Exec format error\n"), Reason.PARTIAL),
        ((127, b"", b"azcmagent: error while loading shared libraries: libc.so.6\n"), Reason.PARTIAL),
        ((None, b"", b""), Reason.PARTIAL),
        (None, Reason.PARTIAL),
    ],
)
def test_an_agent_nobody_could_ask_is_not_observed(show: Answer | None, reason: Reason) -> None:
    verdict = verdict_on(agent_show=show, agent_version=None, services=(0, UNITS, b""))
    assert (verdict.word, verdict.reason) == (Word.NOT_OBSERVED, reason)
    assert "agent.show" in verdict.message


def heartbeat(said: object) -> Answer:
    return (0, json.dumps(json.loads(SHOW) | {"lastHeartbeat": said}).encode(), b"")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (None, "has had no heartbeat"),
        ("", "has had no heartbeat"),
        ("0001-01-01T00:00:00Z", "has had no heartbeat"),
        ("0001-01-01 00:00:00 +0000 UTC", "has had no heartbeat"),
        ("2020-01-01T00:00:00", "not understood: 2020-01-01T00:00:00"),
        ("01/02/2020 03:04:05\x1b[31m", "not understood: 01/02/2020 03:04:05"),
    ],
)
def test_connected_without_a_heartbeat_that_says_when_is_not_well(said: str | None, why: str) -> None:
    verdict = verdict_on(agent_show=heartbeat(said))
    assert (verdict.word, verdict.reason) == (Word.NOT_OBSERVED, Reason.PARTIAL)
    assert verdict.message.startswith("not read: agent.show (it says Connected")
    assert verdict.message.endswith(f"{why})")


def test_connected_with_a_blank_heartbeat_in_the_text_form_is_not_well() -> None:
    text = b"Resource Name      : web01\nAgent Status       : Connected\nAgent Last Heartbeat :%s\n"
    for blank in (b"", b" "):
        verdict = verdict_on(agent_show=(1, b"", b""), **{"agent.show-text": (0, text % blank, b"")})
        assert (verdict.word, verdict.reason) == (Word.NOT_OBSERVED, Reason.PARTIAL)
        assert "has had no heartbeat" in verdict.message


def test_what_no_version_promises_to_print_is_not_missed() -> None:
    shown = json.loads(SHOW)
    del shown["lastHeartbeat"]
    assert verdict_on(agent_show=(0, json.dumps(shown).encode(), b"")).word is Word.HEALTHY


def test_a_heartbeat_as_go_prints_it_has_an_age() -> None:
    assert verdict_on(agent_show=heartbeat("2026-03-01 07:58:00.5 +0000 UTC")).word is Word.HEALTHY
    old = verdict_on(agent_show=heartbeat("2020-01-01 00:00:00 +0000 UTC"))
    assert old.cause is not None
    assert old.cause.rule == "agent-offline-too-long"


def test_no_agent_is_said_when_that_is_what_was_seen() -> None:
    absent = b"Id=himdsd.service\nLoadState=not-found\nActiveState=inactive\n"
    for services in ((0, absent, b""), NO_BUS, None):
        verdict = verdict_on(agent_version=GONE, agent_show=GONE, services=services)
        assert verdict.word is Word.FAILING
        assert verdict.cause is not None
        assert verdict.cause.rule == "agent-not-installed"


def test_leftovers_of_a_removal_do_not_hide_it() -> None:
    old = b'time="2026-01-01T08:00:00Z" level=error msg="AADSTS700016: gone"\n'
    absent = b"Id=himdsd.service\nLoadState=not-found\nActiveState=inactive\n"
    verdict = verdict_on(
        agent_version=GONE,
        agent_show=GONE,
        services=(0, absent, b""),
        log_azcmagent=(0, old, b""),
        agent_certificates=(0, b"notAfter=Jan  1 08:00:00 2026 GMT\n", b""),
    )
    assert verdict.cause is not None
    assert verdict.cause.rule == "agent-not-installed"


@pytest.mark.parametrize("state", [b"active", b"inactive", b"failed"])
def test_services_without_their_program_are_not_no_agent(state: bytes) -> None:
    units = UNITS.replace(b"ActiveState=active", b"ActiveState=" + state)
    verdict = verdict_on(agent_version=GONE, agent_show=GONE, services=(0, units, b""))
    assert (verdict.word, verdict.reason) == (Word.NOT_OBSERVED, Reason.PARTIAL)
    assert "failed to run command 'azcmagent'" in verdict.message


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        (
            b"Status   Name    DisplayName\n------   ----    -----------\nStopped  himds   Azure\n",
            ["service-himds-down"],
        ),
        (b"Id=himdsd.service\nLoadState=loaded\nActiveState=failed\n", ["service-himds-down"]),
        (b"Id=himdsd.service\nLoadState=not-found\nActiveState=inactive\n", []),
        (b"Status   Name    DisplayName\n------   ----    -----------\nRunning  himds   Azure\n", []),
    ],
)
def test_a_list_of_services_alone(text: bytes, rules: list[str]) -> None:
    (result,) = classify_paths(["-"], PACK, stdin=text)
    assert [finding.rule for finding in result.findings] == rules


NO_NAME = (
    b'time="2026-03-01T07:59:%02dZ" level=%s msg="retrying" '
    b'Error="Post \\"https://login.microsoftonline.com/t/oauth2/v2.0/token\\": dial tcp: lookup'
    b' login.microsoftonline.com: no such host"\n'
)


def test_one_failed_try_between_two_heartbeats_is_no_failure() -> None:
    beat = b'time="2026-03-01T07:59:30Z" level=info msg="Heartbeat sent successfully"\n'
    tried = NO_NAME % (0, b"warning")
    for log in (tried, tried + beat, tried + NO_NAME % (20, b"error")):
        assert verdict_on(log_himds=(0, log, b"")).word is Word.HEALTHY
    overdue = SHOW.replace(b"07:58", b"07:29")
    verdict = verdict_on(agent_show=(0, overdue, b""), log_himds=(0, tried, b""))
    assert verdict.cause is not None
    assert verdict.cause.rule == "login-endpoint-dns"


def test_a_service_that_ended_is_a_failure_whatever_was_survived_before() -> None:
    old = (NO_NAME % (0, b"error")).replace(b"2026", b"2025")
    fatal = b'time="2026-03-01T07:59:50Z" level=fatal msg="cannot read the key store"\n'
    verdict = verdict_on(log_himds=(0, old + fatal, b""))
    assert verdict.word is Word.FAILING
    assert verdict.cause is not None
    assert verdict.cause.rule == "failure-without-rule"


def test_files_that_do_not_exist_were_looked_for() -> None:
    assert verdict_on(log_azcmagent=NO_FILE, log_himds=NO_FILE).word is Word.HEALTHY


@pytest.mark.parametrize(
    ("days", "rule"), [(80, None), (20, "certificate-expires-soon"), (-1, "certificate-expired")]
)
def test_the_certificates_end(days: int, rule: str | None) -> None:
    end = datetime.fromtimestamp(NOW.timestamp() + days * 86400, UTC).strftime("%b %d %H:%M:%S %Y")
    show = SHOW.replace(b"2026-03-01T07", b"2026-02-20T07").replace(b"Connected", b"Disconnected")
    verdict = verdict_on(
        agent_show=(0, SHOW if days > 0 else show, b""),
        agent_certificates=(1, f"notAfter={end} GMT\n".encode(), b""),
    )
    assert (verdict.cause.rule if verdict.cause else None) == rule
