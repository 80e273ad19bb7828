"""Visits and files become one observation, whatever is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fleet.model.observation import AgentState, Observation
from fleet.model.visit import Capture, Visit
from fleet.model.words import OS, Privilege
from fleet.parse.agent import find_show, parse_config_list, parse_version
from fleet.parse.observe import observe_texts, observe_visit
from fleet.parse.scan import Anchors

ANCHORS = Anchors(["MARK"])
NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
SHOW = {
    "Status": "Connected",
    "lastHeartbeat": "2026-01-02T11:00:00Z",
    "resourceName": "web01",
    "agentVersion": "1.58.1",
    "services": [
        {"displayName": "x", "serviceName": "gcad", "status": "active"},
        {"serviceName": "CcmExec", "status": "x"},
    ],
}
SHOW_TEXT = b"""Resource Name                           : web01
Agent Version                           : 1.40.02664.1629
Agent Status                            : Disconnected
Agent Last Heartbeat                    : 2026-01-01T00:00:00-08:00
Cloud Metadata
Dependent Service Status
  Agent Service (himds)                 : running
  Azure Arc Proxy (arcproxy)            : stopped
  SMS Agent Host (CcmExec)              : unknown
"""
UNITS = b"""Id=himdsd.service
LoadState=loaded
ActiveState=activating
SubState=auto-restart
NRestarts=7
InactiveEnterTimestamp=Fri 2026-01-02 10:00:00 UTC

Id=extd.service
LoadState=not-found
ActiveState=inactive
"""


def shown_state(data: bytes) -> AgentState | None:
    shown = find_show(data)
    return shown.state if shown else None


def _visit(*captures: tuple[str, bytes, int | None], stderr: bytes = b"") -> Visit:
    made = (
        Capture(item=item, data=data, privilege=Privilege.USER, exit_code=code, stderr=stderr)
        for item, data, code in captures
    )
    return Visit(started_at=NOW, duration_s=1.0, captures=tuple(made), complete=True, clock_offset_s=-130.2)


def _facts(observation: Observation) -> dict[str, str]:
    return {fact.name: fact.value for fact in observation.facts}


def test_a_whole_visit() -> None:
    observation = observe_visit(
        _visit(
            ("host.os-release", b'NAME=x\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n', 0),
            ("host.kernel", b"Linux 6.1 x86_64\n", 0),
            ("host.uptime", b"12345.67 1.0\n", 0),
            ("host.clock", f"{int(NOW.timestamp())}/+0100/CET\n".encode(), 0),
            (
                "host.space",
                b"Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/a 100 60 40 60% /var\n",
                0,
            ),
            ("agent.show", b"noise\n" + json.dumps(SHOW).encode(), 0),
            ("agent.config", b"Local Configuration Settings\n  config.mode (preview)   : full\n", 0),
            ("agent.certificates", b"notAfter=Jan  3 12:00:00 2026 GMT\n", 0),
            ("agent.extensions", b'==> /x/Foo/state.json <==\n{"ExtensionState": "FAILED"}\n', 0),
            ("services", UNITS, 0),
            ("log.himds", b"MARK\n", 0),
        ),
        ANCHORS,
    )
    assert (observation.os, observation.os_name) == (OS.LINUX, "Debian GNU/Linux 12 (bookworm)")
    assert [log.source for log in observation.logs] == ["log.himds"]
    assert (
        _facts(observation).items()
        >= {
            "agent.installed": "yes",
            "agent.answers": "yes",
            "agent.status": "Connected",
            "agent.onboarded": "yes",
            "agent.version": "1.58.1",
            "agent.heartbeat_age_s": "3600",
            "clock.offset_s": "-130.2",
            "clock.skew_s": "130.2",
            "service.himds.state": "starting",
            "service.himds.restarts": "7",
            "service.extd.state": "absent",
            "config.mode": "full",
            "certificate.expires_in_s": "86400",
            "space./var.free_kb": "40",
            "space./var.used_pct": "60",
            "host.uptime_s": "12345",
            "host.timezone": "+0100 CET",
            "host.kernel": "Linux 6.1 x86_64",
            "extensions.failed": "Foo",
        }.items()
    )


def test_a_missing_agent_is_not_installed() -> None:
    facts = _facts(
        observe_visit(_visit(("agent.show", b"", 127), stderr=b"sh: 1: azcmagent: not found"), ANCHORS)
    )
    assert facts["agent.installed"] == "no"
    assert "agent.answers" not in facts


def test_an_agent_that_hangs_does_not_answer() -> None:
    facts = _facts(observe_visit(_visit(("agent.show", b"gibberish", 124)), ANCHORS))
    assert (facts["agent.installed"], facts["agent.answers"]) == ("yes", "no")


def test_a_running_unit_whose_program_hides_is_installed_and_was_not_asked() -> None:
    facts = _facts(observe_visit(_visit(("agent.show", b"", 127), ("services", UNITS, 0)), ANCHORS))
    assert facts["agent.installed"] == "yes"
    assert "agent.answers" not in facts


IS_ACTIVE = (
    ("unit.himdsd", b"failed\n", 3),
    ("unit.gcad", b"active\n", 0),
    ("unit.extd", b"unknown\n", 3),
    ("unit.arcproxyd", b"Failed to get properties: no bus\n", 1),
)


def test_units_asked_one_by_one_stand_in_for_those_asked_together() -> None:
    observation = observe_visit(_visit(("services", b"Unknown property\n", 1), *IS_ACTIVE), ANCHORS)
    states = {name: value for name, value in _facts(observation).items() if name.startswith("service.")}
    assert states == {
        "service.himds.state": "failed",
        "service.gcad.state": "running",
        "service.extd.state": "absent",
    }
    assert (observation.answered, observation.unanswered) == (("services",), ())


def test_what_was_asked_together_says_more_and_goes_first() -> None:
    observation = observe_visit(_visit(("services", UNITS, 0), *IS_ACTIVE), ANCHORS)
    assert {service.name: service.unit for service in observation.services} == {
        "himds": "himdsd.service",
        "extd": "extd.service",
        "gcad": "gcad.service",
    }
    assert _facts(observation)["service.himds.state"] == "starting"


@pytest.mark.parametrize("said", [b"", b"gibberish\n\n", b"Id=sshd.service\nActiveState=active\n"])
def test_a_manager_that_says_nothing_of_the_agent_did_not_answer(said: bytes) -> None:
    shown = json.dumps({**SHOW, "services": [{"serviceName": "himdsd", "status": "active"}]}).encode()
    observation = observe_visit(_visit(("agent.show", shown, 0), ("services", said, 0)), ANCHORS)
    assert _facts(observation)["service.himds.state"] == "running"
    assert (observation.answered, [each.item for each in observation.unanswered]) == ((), ["services"])


def test_the_last_good_capture_of_an_item_counts() -> None:
    good = json.dumps(SHOW).encode()
    visit = _visit(("agent.show-text", b"", 1), ("agent.show-text", good, 0), ("agent.show-text", b"no", 1))
    assert _facts(observe_visit(visit, ANCHORS))["agent.status"] == "Connected"


def _certificates(*ends: str, clock_s: int, beat: str = "2026-01-02T11:00:00Z") -> dict[str, str]:
    data = "".join(f"notAfter={end} GMT\n" for end in ends).encode()
    visit = _visit(
        ("host.clock", f"{int(NOW.timestamp()) + clock_s}/+0000/UTC\n".encode(), 0),
        ("agent.show", json.dumps({**SHOW, "lastHeartbeat": beat}).encode(), 0),
        ("agent.certificates", data, 1),
    )
    return _facts(observe_visit(visit, ANCHORS))


def test_the_certificates_end_is_by_the_clock_of_its_host() -> None:
    assert _certificates("Jan  3 12:00:00 2026", clock_s=0)["certificate.expires_in_s"] == "86400"
    assert _certificates("Jan  3 12:00:00 2026", clock_s=86401)["certificate.expires_in_s"] == "-1"
    offset_only = _visit(("agent.certificates", b"notAfter=Jan  3 12:00:00 2026 GMT\n", 0))
    facts = _facts(observe_visit(replace(offset_only, clock_offset_s=-60.0), ANCHORS))
    assert facts["certificate.expires_in_s"] == "86460"
    assert "certificate.expires_in_s" not in _facts(
        observe_visit(replace(offset_only, clock_offset_s=None), ANCHORS)
    )


def test_a_certificate_the_heartbeat_outlived_is_not_the_one_in_use() -> None:
    ends = ("Dec 20 12:00:00 2025", "Feb 20 12:00:00 2026", "Mar 20 12:00:00 2026")
    assert _certificates(*ends, clock_s=0)["certificate.expires_in_s"] == str(49 * 86400)
    assert "certificate.expires_in_s" not in _certificates(ends[0], clock_s=0)
    offline = _certificates(*ends, clock_s=0, beat="2025-11-01T00:00:00Z")
    assert offline["certificate.expires_in_s"] == str(-13 * 86400)


@pytest.mark.parametrize("count", [None, 0, 3])
def test_who_waits_for_the_next_start_has_ended_before(count: int | None) -> None:
    counted = b"" if count is None else f"NRestarts={count}\n".encode()
    unit = b"Id=himdsd.service\nActiveState=activating\nSubState=auto-restart\n" + counted
    facts = _facts(observe_visit(_visit(("services", unit, 0)), ANCHORS))
    assert facts["service.himds.restarts"] == str(max(1, count or 0))


CONSOLE = (
    b"""ops@web01:~$ sudo azcmagent connect --resource-group rg
INFO    Exit Code:  AZCM0042: Failed to Create Resource
note     : not of the agent
ops@web01:~$ azcmagent show
"""
    + SHOW_TEXT.replace(b"Cloud Metadata", b"\nCloud Metadata")
    + b"""ops@web01:~$ azcmagent config list
Local Configuration Settings
  config.mode (preview)   : monitor
  proxy.url   :
ops@web01:~$ MARK
  location    : elsewhere
"""
)


def test_a_console_capture_is_read_for_all_it_holds() -> None:
    observation = observe_texts([("console.txt", CONSOLE)], ANCHORS)
    assert observation.agent.status == "Disconnected"
    assert observation.agent.resource_name == "web01"
    assert observation.agent.location == ""
    facts = _facts(observation)
    assert {name: facts[name] for name in ("agent.version", "service.himds.state", "config.mode")} == {
        "agent.version": "1.40.02664.1629",
        "service.himds.state": "running",
        "config.mode": "monitor",
    }
    assert "config.location" not in facts
    (log,) = observation.logs
    assert [record.code for record in log.records if record.code] == ["AZCM0042"]
    marked = next(record for record in log.records if "MARK" in record.text)
    assert marked.line == CONSOLE[: CONSOLE.index(b"MARK")].count(b"\n") + 1


def test_what_show_repeats_of_an_error_is_no_line_of_a_log() -> None:
    shown = SHOW_TEXT.replace(
        b"Cloud Metadata", b"Agent Error Details                     : MARK\nCloud Metadata"
    )
    for text in (shown, json.dumps({**SHOW, "agentErrorDetails": "MARK"}, indent=1).encode() + b"\n"):
        observation = observe_texts([("t", text + b"MARK\n")], ANCHORS)
        assert [record.line for record in observation.logs[0].records] == [text.count(b"\n") + 1]
        assert observation.agent.error_details == "MARK"


LATER_TEXT = SHOW_TEXT.replace(b"Disconnected", b"Connected").replace(b": running", b": stopped")
LATER_JSON = (
    b'{"status": "Connected", "resourceName": "x", "agentErrorDetails": "MARK",'
    b' "services": [{"serviceName": "himds", "status": "stopped"}]}\n'
)
EARLIER_JSON = LATER_JSON.replace(b"Connected", b"Expired").replace(b"stopped", b"running")


@pytest.mark.parametrize("earlier", [SHOW_TEXT, EARLIER_JSON], ids=["text", "json"])
@pytest.mark.parametrize("later", [LATER_TEXT, LATER_JSON], ids=["text", "json"])
def test_the_last_state_of_a_capture_counts(earlier: bytes, later: bytes) -> None:
    text = earlier + b"$ azcmagent show\n" + later
    observation = observe_texts([("t", text + b"MARK\n")], ANCHORS)
    assert observation.agent.status == "Connected"
    assert _facts(observation)["service.himds.state"] == "stopped"
    # What a state says of an error is no line of the log.
    marked = [record.line for record in observation.logs[0].records if "MARK" in record.text]
    assert marked == [text.count(b"\n") + 1]


@pytest.mark.parametrize(
    ("printed", "at"),
    [
        ("2020-01-01 00:00:00 +0000 UTC", datetime(2020, 1, 1, tzinfo=UTC)),
        ("2020-01-01 00:00:00.123456789 -0800 PST", datetime(2020, 1, 1, 8, 0, 0, 123456, UTC)),
        ("2020-01-01 02:00:00.5 +0200 +0200 m=+0.01", datetime(2020, 1, 1, 0, 0, 0, 500000, UTC)),
        ("2020-01-01T00:00:00-08:00", datetime(2020, 1, 1, 8, tzinfo=UTC)),
        ("2020-01-01T00:00:00", None),
        ("0001-01-01 00:00:00 +0000 UTC", None),
    ],
)
def test_a_heartbeat_in_every_form_the_agent_may_print(printed: str, at: datetime | None) -> None:
    state = shown_state(json.dumps({**SHOW, "lastHeartbeat": printed}).encode())
    assert state is not None
    assert state.last_heartbeat_at == at


def test_windows_services_and_versions_on_a_console() -> None:
    text = b"""PS C:\\> Get-Service himds
Status   Name               DisplayName
------   ----               -----------
Stopped  himds              Azure Hybrid Instance Metadata Service
Running  GCArcService       Guest Configuration Arc Service
Running  W32Time            Windows Time
PS C:\\> azcmagent version
azcmagent version  1.40.02664.1629
"""
    facts = _facts(observe_texts([("t", text.replace(b"\n", b"\r\n"))], ANCHORS))
    assert facts == {
        "agent.installed": "yes",
        "service.himds.state": "stopped",
        "service.gcad.state": "running",
        "agent.version": "1.40.02664.1629",
    }


def test_a_clock_no_calendar_has_costs_only_the_age() -> None:
    visit = _visit(
        ("host.clock", b"999999999999/+0000/UTC\n", 0), ("agent.show", json.dumps(SHOW).encode(), 0)
    )
    facts = _facts(observe_visit(visit, ANCHORS))
    assert facts["agent.status"] == "Connected"
    assert "agent.heartbeat_age_s" not in facts


def test_files() -> None:
    observation = observe_texts(
        [("show.txt", b"\xff\xfe" + SHOW_TEXT.decode().encode("utf-16-le")), ("a.log", b"MARK")], ANCHORS
    )
    facts = _facts(observation)
    assert (facts["agent.status"], facts["service.himds.state"], facts["service.arcproxy.state"]) == (
        "Disconnected",
        "running",
        "stopped",
    )
    assert "agent.heartbeat_age_s" not in facts
    assert [log.source for log in observation.logs if log.records] == ["a.log"]


def test_keys_of_any_case() -> None:
    shown = {
        "STATUS": "Expired",
        "AgentVersion": "1.2.3",
        "Services": [{"ServiceName": "HIMDS", "Status": "Stopped"}],
    }
    facts = _facts(observe_texts([("t", json.dumps(shown).encode())], ANCHORS))
    assert (facts["agent.status"], facts["service.himds.state"]) == ("Expired", "stopped")


NOISE = 'level=debug msg="got {x} for {"status": "ok"}"\n{"status": "Failed", "code": 1}\n'


@pytest.mark.parametrize("indent", [None, 2])
def test_json_behind_lines_with_braces(indent: int | None) -> None:
    shown = json.dumps(SHOW, indent=indent)
    for noise in (NOISE, "{}\n", "{ broken\n{ again\n", "{\n" * 10, "banner {1} "):
        state = shown_state(f"{noise}{shown}\nbye {{}}\n".encode())
        if noise.endswith(" "):
            # Behind a brace on its own line nobody can tell the whole from a part.
            assert state is None
        else:
            assert state is not None
            assert (state.status, state.version) == ("Connected", "1.58.1")


@pytest.mark.parametrize("indent", [None, 2])
def test_a_service_in_a_document_cut_short_is_not_the_agent(indent: int | None) -> None:
    shown = json.dumps(
        {"services": [{"serviceName": "himdsd", "status": "Connected"}], "x": "y"}, indent=indent
    )
    assert shown_state(shown[:-5].encode()) is None


@pytest.mark.parametrize("pad", [15, 40, 43])
@pytest.mark.parametrize("indent", ["", "      "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_text_form_at_any_width(pad: int, indent: str, end: str) -> None:
    rows = {"Resource Name": "web01", "Brand New Label": "x", "Agent Status": "Connected", "Tenant ID": ""}
    lines = [f"{indent}{label:<{pad}}: {value}" for label, value in rows.items()]
    state = shown_state(
        ("$ azcmagent show" + end + end.join(lines) + end + "Location : nowhere: else").encode()
    )
    assert state is not None
    assert (state.status, state.resource_name, state.tenant_id) == ("Connected", "web01", "")


@pytest.mark.parametrize(
    "text",
    [b"see Agent Status: below", b"Agent Status", b"  Agent Status\n: x", b"x" * 300 + b"Agent Status : y"],
)
def test_mentions_of_a_status_are_none(text: bytes) -> None:
    assert shown_state(text) is None


def test_depth_bombs_and_foreign_text_are_no_agent_state() -> None:
    assert shown_state(b'{"a":' * 50000) is None
    assert shown_state(b"[" * 50000) is None
    assert shown_state(b"Name : x\nOther : y\n") is None


def test_version_and_settings() -> None:
    assert parse_version(b"azcmagent version  1.7.21162.003\n") == "1.7.21162.003"
    assert parse_version(b"nonsense") == ""
    assert parse_config_list(b"Local\n  proxy.url   : http://a:1\n") == (("proxy.url", "http://a:1"),)


@pytest.mark.parametrize(
    ("show", "known"),
    [
        (
            (
                b"Resource Name : Web01\nResource Group : RG\nSubscription ID : S\nVM ID : 6B-1\n"
                b"Agent Status : x\n"
            ),
            {"agent.vm_id": "6b-1", "agent.resource_id": "s/rg/web01"},
        ),
        (
            b'{"status": "Connected", "resourceName": "web01", "subscriptionId": "ab-1", "vmId": "0000-00"}',
            {},
        ),
        (
            b'{"status": "Connected", "resourceName": "W", "resourceGroup": "G", "subscriptionId": "s"}',
            {"agent.resource_id": "s/g/w"},
        ),
    ],
)
def test_ids_that_a_copied_machine_keeps_are_facts_as_far_as_they_are_whole(
    show: bytes, known: dict[str, str]
) -> None:
    facts = _facts(observe_visit(_visit(("agent.show", show, 0)), ANCHORS))
    assert {name: value for name, value in facts.items() if name.endswith("_id")} == known
