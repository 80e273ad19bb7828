"""Windows hosts from the answer as it arrives, through the shipped pack, to the verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from fleet.app.digest import Digest
from fleet.collect.framing import Form, Header, deflate
from fleet.collect.plan import plan_visit
from fleet.collect.visit import Answer, open_answer
from fleet.model.finding import Finding
from fleet.model.host import Host
from fleet.model.report import HostResult
from fleet.model.visit import Visit
from fleet.model.words import OS, CheckMode, Connection, Observed, Reason, Severity, State, Word
from fleet.packs.load import load_pack
from fleet.parse.mask import Masker
from tests.fakes import FakeSecrets
from tests.windows_host import BODIES, NAMES, NOW, SHOW, SYSTEM, event, instant, service

PACK = load_pack()
PLAN = plan_visit(PACK.items, CheckMode.AUTO, OS.WINDOWS)
HOST = Host(name="win01", address="198.51.100.4", port=5985, connection=Connection.WINRM, os=OS.WINDOWS)
DIGEST = Digest(PACK, {OS.WINDOWS: PLAN}, b"k" * 32, FakeSecrets(), frozenset())
NONCE = "5" * 32
Failed = tuple[int, bytes]
NOT_FOUND: Failed = (127, b"azcmagent: not found")
DENIED: Failed = (126, b"access denied")

ONBOARDED = (
    'time="2026-02-01T08:00:00Z" level=debug msg="Agent Version: 1.67.03535.3012"\r\n'
    'time="2026-02-01T08:00:00Z" level=debug msg="Agent Command: connect"\r\n'
    'time="2026-02-01T08:00:05Z" level=info msg="Successfully Onboarded Resource to Azure"\r\n'
)
NO_SUCH_HOST = (
    'time="2026-03-01T11:00:00Z" level=debug msg="Agent Command: connect"\r\n'
    'time="2026-03-01T11:00:01Z" level=error msg="Failed to acquire authorization token device flow" '
    'Error="Post https://login.windows.net/t/oauth2/devicecode?api-version=1.0:  dial tcp lookup '
    'login.windows.net: no such host."\r\n'
)
WELL: Mapping[str, object] = BODIES | {
    "agent.version": "azcmagent version  1.67.03535.3012\n",
    "agent.certificates": "notAfter=May  1 12:00:00 2026 GMT\n",
    "log.azcmagent": ONBOARDED,
    "log.himds": 'time="2026-03-01T11:58:00Z" level=info msg="Heartbeat sent"\r\n',
}
LOST = SHOW | {"status": "Disconnected", "lastHeartbeat": "2026-03-01T09:00:00Z"}


def frame(item: str, body: object) -> bytes:
    code, stderr, data = 0, b"", b""
    match body:
        case (int(number), bytes(said)):
            code, stderr = number, said
        case bytes():
            data = body
        case str():
            data = body.encode()
        case None:
            return f"\n{NONCE} skip {item} not-needed\n".encode()
        case _:
            data = json.dumps(body, ensure_ascii=False).encode()
    begin, end = f"\n{NONCE} begin {item} admin\n".encode(), f"\n{NONCE} end {item} {code}\n".encode()
    return begin + data + end + stderr


def frames_of(**bodies: object) -> bytes:
    """The answer of the host that is well, but for these."""
    named = {item.replace("__", "."): body for item, body in bodies.items()}
    told = {item.name: ({**WELL, **named}).get(item.name, "") for item in PLAN.items}
    frames = b"".join(frame(item, body) for item, body in told.items())
    return frames + f"\n{NONCE} done {len(told)}\n".encode()


def judged(**bodies: object) -> HostResult:
    """The host that is well, but for these."""
    return judge_frames(frames_of(**bodies))


def opened(**bodies: object) -> Visit:
    """As :func:`judged`, before anybody reads meaning into it."""
    answer, visit = answered(frames_of(**bodies))
    return open_answer(visit, answer, answer.plain(PLAN.max_answer_bytes), PLAN, Masker(b"k").mask)


def judge_frames(frames: bytes) -> HostResult:
    answer, visit = answered(frames)
    return DIGEST.judge(HOST, visit, answer, answer.plain(PLAN.max_answer_bytes)).result


def answered(frames: bytes) -> tuple[Answer, Visit]:
    header = Header(form=Form.GZIP64, epoch_s=int(NOW.timestamp()), end=0)
    answer = Answer(nonce=NONCE, data=deflate(frames), header=header, offset_s=0.5)
    return answer, Visit(started_at=NOW, duration_s=1.0, clock_offset_s=0.5)


# What is said of a release of the agent, whatever host it is on.
ABOUT_RELEASE = ("agent-unsupported", "agent-support-ends-soon", "agent-vulnerable-2026-21224")


def active(result: HostResult) -> dict[str, Finding]:
    found = {finding.rule: finding for finding in result.findings if finding.state is State.ACTIVE}
    return {rule: finding for rule, finding in found.items() if rule not in ABOUT_RELEASE}


def cause_of(result: HostResult) -> str:
    return result.verdict.cause.rule if result.verdict.cause else ""


def test_a_host_that_is_well() -> None:
    result = judged()
    assert (result.verdict.word, result.verdict.observed) == (Word.HEALTHY, Observed.FULL)
    assert result.os_name == "Windows Server 2022 Standard"
    assert active(result) == {}


UNSEEN = {
    "services": DENIED,
    "events__services": DENIED,
    "agent__identity": {"profile_exists": True, "store_certificates": None, "cleanup_days": None},
    "agent__certificates": DENIED,
    "log__azcmagent": DENIED,
    "log__himds": DENIED,
    "host__os": SYSTEM | dict.fromkeys(("domain", "domain_role", "part_of_domain", "booted_at")),
}


def test_a_plain_user_sees_too_little_and_is_told_so() -> None:
    stopped = SHOW | {"services": [{"serviceName": "himds", "status": "stopped"}]}
    for show in (SHOW, stopped):
        result = judged(**UNSEEN, agent__show=show)
        verdict = result.verdict
        assert (verdict.word, verdict.reason) == (Word.NOT_OBSERVED, Reason.PRIVILEGE)
        assert "services (access denied)" in verdict.message
        assert "Administrators" in verdict.action
        assert active(result) == {}


def test_what_a_plain_user_sees_is_judged() -> None:
    verdict = judged(**UNSEEN, agent__show=LOST).verdict
    assert (verdict.word, verdict.observed) == (Word.FAILING, Observed.PARTIAL)
    assert verdict.cause is not None
    assert verdict.cause.rule == "agent-disconnected"
    assert "elevated prompt" in verdict.action


def test_a_domain_controller_is_left_alone() -> None:
    frames = "".join(f"\n{NONCE} skip {item.name} tier0\n" for item in PLAN.items)
    result = judge_frames(f"{frames}\n{NONCE} done {len(PLAN.items)}\n".encode())
    verdict = result.verdict
    assert (verdict.word, verdict.reason, verdict.observed) == (
        Word.NOT_OBSERVED,
        Reason.SKIPPED,
        Observed.NONE,
    )
    assert "tier0: true" in verdict.action


def test_files_that_are_not_there_were_looked_at() -> None:
    none = (1, rb"C:\ProgramData\AzureConnectedMachineAgent\Log\himds.log: No such file or directory")
    assert judged(log__himds=none, log__azcmagent=none).verdict.word is Word.HEALTHY
    locked = (1, rb"C:\ProgramData\x\himds.log: another program has locked it")
    verdict = judged(log__himds=locked).verdict
    assert (verdict.word, verdict.reason) == (Word.NOT_OBSERVED, Reason.PARTIAL)


GONE: Mapping[str, object] = {
    "agent__show": NOT_FOUND,
    "agent__show-text": NOT_FOUND,
    "agent__version": NOT_FOUND,
    "agent__config": NOT_FOUND,
    "agent__identity": {"profile_exists": False, "cleanup_days": None, "config_exists": False},
    "agent__certificates": (1, b"C:\\Certs: No such file or directory"),
    "log__azcmagent": (1, b"C:\\azcmagent.log: No such file or directory"),
    "log__himds": (1, b"C:\\himds.log: No such file or directory"),
    "services": [{"name": name, "exists": False} for name in NAMES],
}


def test_a_host_without_an_agent() -> None:
    result = judged(**GONE)
    assert set(active(result)) == {"agent-not-installed"}
    assert (result.verdict.word, result.verdict.observed) == (Word.FAILING, Observed.FULL)
    assert "AzureConnectedMachineAgent.msi" in result.verdict.action


def test_services_that_outlived_their_agent() -> None:
    left = [service(name, status=1, exit_code=2) for name in ("himds", "GCArcService", "ExtensionService")]
    result = judged(**{**GONE, "services": left})
    assert set(active(result)) == {"agent-not-installed", "services-left-behind"}
    assert cause_of(result) == "agent-not-installed"
    (line,) = [e for e in active(result)["services-left-behind"].evidence if "leftovers" in e.text]
    assert line.text == "agent.leftovers = himds, GCArcService, ExtensionService"


def test_a_program_that_is_not_found_beside_services_that_run_is_not_understood() -> None:
    for running in (NAMES, ("GCArcService",)):
        result = judged(**{**GONE, "services": [service(name) for name in running]})
        assert "agent-not-installed" not in active(result)
        assert result.verdict.observed is Observed.PARTIAL
        assert "agent.show (azcmagent: not found)" in result.verdict.message


def test_an_old_event_does_not_explain_a_service_that_was_stopped_by_hand() -> None:
    old = [event(7041, 29 * 86_400, "himds")]
    by_hand = judged(services=[service(status=1), *map(service, NAMES[1:])], events__services=old)
    assert cause_of(by_hand) == "service-himds-down"
    assert "service-himds-logon-failed" not in active(by_hand)


def test_why_there_is_no_agent() -> None:
    status = event(1033, 600, "Azure Connected Machine Agent", "1.61", "1031", "1618", "Microsoft")
    result = judged(**{**GONE, "events__install": [status]})
    assert (result.verdict.word, cause_of(result)) == (Word.FAILING, "install-failed")
    assert "another installation" in active(result)["install-failed"].cause
    fine = status | {"properties": ["Azure Connected Machine Agent", "1.61", "1031", "0"]}
    assert "install-failed" not in active(judged(**{**GONE, "events__install": [fine]}))


POLICY_SET = {"profile_exists": True, "store_certificates": 0, "cleanup_days": 30, "config_exists": True}


def test_the_policy_that_deleted_the_certificate_is_confirmed() -> None:
    result = judged(agent__show=LOST, agent__identity=POLICY_SET, agent__certificates="")
    assert (result.verdict.word, cause_of(result)) == (Word.FAILING, "profile-cleanup-policy")
    found = active(result)["profile-cleanup-policy"]
    assert found.severity is Severity.ERROR
    assert [evidence.text for evidence in found.evidence] == [
        "policy.profile_cleanup_days = 30",
        "identity.certificate = no",
    ]
    assert "Delete user profiles older than a specified number of days on system restart" in found.cause
    assert "CleanupProfiles" in found.cause
    assert "azcmagent connect" in found.remediation


@pytest.mark.parametrize(
    ("identity", "certificates", "rule"),
    [
        (POLICY_SET | {"store_certificates": 1}, "", "profile-cleanup-risk"),
        (POLICY_SET | {"store_certificates": 1}, WELL["agent.certificates"], "profile-cleanup-set"),
        (POLICY_SET | {"store_certificates": None}, DENIED, "profile-cleanup-set"),
        (POLICY_SET | {"cleanup_days": None}, "", None),
        (DENIED, "", None),
    ],
)
def test_the_policy_is_told_by_what_it_can_do(
    identity: object, certificates: object, rule: str | None
) -> None:
    result = judged(agent__identity=identity, agent__certificates=certificates)
    assert set(active(result)) == ({rule} if rule else set())
    risky = rule == "profile-cleanup-risk"
    assert result.verdict.word is (Word.DEGRADED if risky else Word.HEALTHY)


@pytest.mark.parametrize(
    ("identity", "guesses", "says"),
    [
        (POLICY_SET | {"cleanup_days": None}, False, "is not set"),
        (POLICY_SET | {"store_certificates": 1}, False, "is set here as well"),
        (DENIED, True, "one more cause is possible"),
    ],
)
def test_a_failing_lookup_guesses_at_no_policy_whose_value_was_read(
    identity: object, guesses: bool, says: str
) -> None:
    show = {"status": "Disconnected", "resourceName": "", "lastHeartbeat": ""}
    result = judged(agent__show=show, agent__identity=identity, log__azcmagent=NO_SUCH_HOST)
    found = active(result)["login-endpoint-dns"]
    assert says in found.cause
    assert ("verify whether that group policy" in found.remediation) is guesses
    assert cause_of(result) == "login-endpoint-dns"


LOGON_FAILED = [
    event(7041, 60, "himds", r"NT SERVICE\himds"),
    event(7000, 60, "Azure Hybrid Instance Metadata Service", "%%1069"),
]


@pytest.mark.parametrize(
    ("himds", "events", "rule", "says"),
    [
        ({"status": 1, "exit_code": 1069}, LOGON_FAILED, "service-himds-logon-failed", "Log on as a service"),
        ({"status": 1, "exit_code": 1069}, [], "service-himds-logon-failed", r"NT SERVICE\himds"),
        ({"status": 1, "start": 4}, [], "service-himds-disabled", "-StartupType Automatic"),
        ({"status": 1, "start": 3}, [], "service-himds-down", "-StartupType Automatic"),
        ({"status": 1, "exit_code": 1067}, [], "service-himds-down", "Start-Service himds"),
        ({"exists": False, "status": None}, [], "service-himds-down", "MSI"),
    ],
)
def test_himds_does_not_run(himds: dict[str, object], events: object, rule: str, says: str) -> None:
    services = [service(**himds), *map(service, NAMES[1:])]
    result = judged(services=services, events__services=events, agent__show=LOST)
    assert (result.verdict.word, cause_of(result)) == (Word.FAILING, rule)
    found = active(result)
    assert {"service-himds-down", "agent-disconnected"} <= set(found)
    assert says in found[rule].remediation
    assert "systemctl" not in found[rule].remediation


def test_a_logon_that_failed_before_the_service_runs_again_is_over() -> None:
    assert judged(events__services=LOGON_FAILED).verdict.word is Word.HEALTHY


def test_a_right_that_is_gone_is_told_before_the_next_start() -> None:
    result = judged(host__rights={"accounts": ["*S-1-5-32-559"]})
    assert (result.verdict.word, cause_of(result)) == (Word.DEGRADED, "himds-logon-right-missing")


@pytest.mark.parametrize(
    ("ages", "up_s", "word"),
    [
        ((600, 4000, 9000), 500, Word.DEGRADED),
        ((600, 4000), 500, Word.HEALTHY),
        ((600, 4000, 90_000, 99_000), 500, Word.HEALTHY),
        ((30_000, 31_000, 32_000), 29_000, Word.HEALTHY),
    ],
)
def test_a_service_that_crashes_again_and_again(ages: tuple[int, ...], up_s: int, word: Word) -> None:
    events = [event(7031, age, "Guest Configuration Arc Service", "3") for age in ages]
    gcad = service("GCArcService", started_at=instant(up_s))
    services = [service(), gcad, *map(service, NAMES[2:])]
    result = judged(services=services, events__services=events)
    assert result.verdict.word is word
    assert cause_of(result) == ("service-gcad-crashing" if word is Word.DEGRADED else "")


@pytest.mark.parametrize(
    ("version", "status", "system", "is_told"),
    [
        ("1.58.03228.2572", "Disconnected", SYSTEM, True),
        ("1.64.03443.2841", "Disconnected", SYSTEM, False),
        ("1.55.03107.1", "Disconnected", SYSTEM, False),
        ("1.58.03228.2572", "Connected", SYSTEM, False),
        ("1.58.03228.2572", "Disconnected", SYSTEM | {"build": 9600}, False),
    ],
)
def test_cipher_suites_that_the_agent_needs(version: str, status: str, system: object, is_told: bool) -> None:
    show = SHOW | {"agentVersion": version, "status": status}
    tls = {"cipher_suites": ["TLS_RSA_WITH_AES_128_CBC_SHA"], "policy_suites": None, "protocols": None}
    result = judged(agent__show=show, host__os=system, host__tls=tls)
    assert (cause_of(result) == "tls-suites-missing") is is_told


def test_the_agent_that_windows_server_2025_brings_along() -> None:
    show = {"status": "Disconnected", "resourceName": "", "agentVersion": "1.57.03207.2519"}
    identity = {"profile_exists": True, "store_certificates": 0, "cleanup_days": 30, "config_exists": False}
    for build, says in ((26100, "Azure Arc Setup"), (20348, "`azcmagent connect` in an elevated prompt")):
        system = SYSTEM | {"build": build}
        result = judged(
            agent__show=show,
            agent__identity=identity,
            host__os=system,
            log__azcmagent="",
            agent__certificates="",
        )
        assert set(active(result)) == {"agent-never-onboarded"}
        found = active(result)["agent-never-onboarded"]
        assert says in found.remediation
        assert ("Windows Server 2025" in found.cause) is (build == 26100)


@pytest.mark.parametrize("version", ["1.40.02664.1629", "1.50.1"])
def test_what_is_normal_makes_no_noise(version: str) -> None:
    ccm = [
        {"displayName": "SMS Agent Host", "serviceName": "CcmExec", "status": "unknown"},
        {"serviceName": "arcproxy", "status": "stopped"},
    ]
    proxy = service("arcproxy", status=1, start=3, exit_code=1077)
    result = judged(
        agent__show=SHOW | {"agentVersion": version, "services": ccm},
        services=[*map(service, NAMES[:3]), proxy],
    )
    assert (result.verdict.word, active(result)) == (Word.HEALTHY, {})


def test_monitor_mode_is_healthy_with_its_services_stopped() -> None:
    stopped = [service(name, status=1, start=4) for name in NAMES[1:3]]
    config = "Local Configuration Settings\n  config.mode (preview)   : monitor\n"
    services = [service(), *stopped, service("arcproxy")]
    assert judged(services=services, agent__config=config).verdict.word is Word.HEALTHY
    found = active(judged(services=services))
    assert set(found) == {"service-gcad-down", "service-extd-down"}
    assert "Set-Service GCArcService -StartupType Automatic" in found["service-gcad-down"].remediation


def wide(text: str) -> bytes:
    return b"\xff\xfe" + text.encode("utf-16-le")


FAILED_RUN = (
    'time="2026-03-01T11:00:00Z" level=debug msg="Agent Version: 1.67.03535.3012"\r\n'
    'time="2026-03-01T11:00:00Z" level=debug msg="Agent Command: connect" 名前="Jürgen ਊ構成ਊ"\r\n'
    'time="2026-03-01T11:00:01Z" level=error msg="Application with identifier \'a\' was not found in the '
    "directory 'b'\" --service-principal-secret=Q8gKvJ2mZx0pL\r\n"
    'time="2026-03-01T11:00:02Z" level=fatal msg="Exit Code:  AZCM0041: Failed to Get Access Token"\r\n'
)


def told(result: HostResult) -> list[tuple[object, ...]]:
    return [
        (finding.rule, finding.state, finding.count, finding.last_seen_at, finding.evidence)
        for finding in result.findings
    ]


def test_a_log_in_utf_16_says_the_same_as_in_utf_8() -> None:
    narrow = judged(agent__show=LOST, log__azcmagent=FAILED_RUN)
    assert told(judged(agent__show=LOST, log__azcmagent=wide(FAILED_RUN))) == told(narrow)
    assert {"azcm0041", "application-not-found"} <= set(active(narrow))
    assert "Q8gKvJ2mZx0pL" not in repr(told(narrow))


def test_a_cut_log_in_utf_16_loses_the_line_it_was_cut_through_and_no_other() -> None:
    (item,) = (item for item in PLAN.items if item.name == "log.azcmagent")
    # The rest of a secret without what names it. In UTF-16 its first letter holds the byte of a newline.
    torn = "ਊQ8gKvJ2mZx0pL and the rest of the line\r\n"
    filler = 'time="2026-03-01T10:00:00Z" level=info msg="構成の確認ਊ"\r\n' * 12_000
    chars = item.max_bytes // 2 - len(torn) - len("\r\n" + FAILED_RUN)
    data = wide(torn + filler[:chars] + "\r\n" + FAILED_RUN)
    assert len(data) == item.max_bytes + 2
    visit = opened(agent__show=LOST, log__azcmagent=data)
    (kept,) = (capture for capture in visit.captures if capture.item == item.name)
    assert kept.cut
    assert b"Q8gKvJ2mZx0pL" not in kept.data
    assert kept.data.startswith(b'\ntime="2026-03-01T10:00:00Z" level=info')
    assert {"azcm0041", "application-not-found"} <= set(active(judged(agent__show=LOST, log__azcmagent=data)))


def test_a_log_in_the_hosts_code_page_does_no_harm() -> None:
    garbled = (
        "<GCLOG>[2026-03-01 11:00:00.001] [PID 1] [TID 2] [ERROR] [id] 構成の検証が失敗 ソ表\\n</GCLOG>\n"
    )
    lines = garbled.encode("cp932") * 3 + garbled.encode("utf-8").decode("cp1252", "replace").encode()
    assert judged(log__gc_agent=lines, log__gc_ext=lines).verdict.word is Word.HEALTHY


def test_events_before_the_last_success_are_history() -> None:
    beating = SHOW | {"lastHeartbeat": "2026-03-01T11:58:00Z"}
    result = judged(agent__show=beating, log__azcmagent=FAILED_RUN)
    assert result.verdict.word is Word.HEALTHY
    assert {finding.state for finding in result.findings} == {State.HISTORICAL}


def test_a_visit_that_ended_early_is_still_told_the_words_of_windows() -> None:
    header = Header(form=Form.GZIP64, epoch_s=int(NOW.timestamp()), end=0)
    answer = Answer(
        nonce=NONCE, data=deflate(frame("host.clock", WELL["host.clock"])), header=header, offset_s=500
    )
    visit = Visit(started_at=NOW, duration_s=1.0, clock_offset_s=500)
    for data in (answer.data, b""):
        cut = replace(answer, data=data)
        result = DIGEST.judge(HOST, visit, cut, cut.plain(PLAN.max_answer_bytes)).result
        assert "w32tm" in active(result)["clock-skew"].remediation
        assert "chrony" not in active(result)["clock-skew"].remediation
