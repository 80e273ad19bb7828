"""Visits and files become one observation, whatever is missing."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.model.observation import Observation
from fleet.model.visit import Capture, Visit
from fleet.model.words import OS, Privilege
from fleet.parse.agent import parse_config_list, parse_show, parse_version
from fleet.parse.observe import TextKind, observe_texts, observe_visit, recognize
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


def test_a_unit_without_a_program_is_installed() -> None:
    facts = _facts(observe_visit(_visit(("agent.show", b"", 127), ("services", UNITS, 0)), ANCHORS))
    assert facts["agent.installed"] == "yes"


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
    assert [log.source for log in observation.logs] == ["a.log"]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b'time="x" level=info msg="x"\n', TextKind.LOG),
        (b"PS C:\\> azcmagent connect\nINFO    Connecting\n", TextKind.CONSOLE),
        (SHOW_TEXT, TextKind.SHOW),
        (json.dumps(SHOW).encode(), TextKind.SHOW),
        (b"ENDPOINT |REACHABLE |PRIVATE\nx |true\n", TextKind.CHECK),
        (b"Local Configuration Settings\n  config.mode : full\n", TextKind.CONFIG_LIST),
        (b"azcmagent version  1.7.21162.003\n", TextKind.VERSION),
        (UNITS, TextKind.SERVICE_LIST),
        (b"lorem ipsum", TextKind.OTHER),
    ],
)
def test_recognize(data: bytes, kind: TextKind) -> None:
    assert recognize(data) is kind


def test_depth_bombs_and_foreign_text_are_no_agent_state() -> None:
    assert parse_show(b'{"a":' * 50000) is None
    assert parse_show(b"[" * 50000) is None
    assert parse_show(b"Name : x\nOther : y\n") is None


def test_version_and_settings() -> None:
    assert parse_version(b"azcmagent version  1.7.21162.003\n") == "1.7.21162.003"
    assert parse_version(b"nonsense") == ""
    assert parse_config_list(b"Local\n  proxy.url   : http://a:1\n") == (("proxy.url", "http://a:1"),)


ITEMS = (
    "host.clock",
    "host.space",
    "agent.show",
    "agent.config",
    "agent.certificates",
    "agent.extensions",
    "services",
    "log.himds",
)
SNIPPETS = st.sampled_from(
    [
        b"Id=",
        b"himdsd.service",
        b"{",
        b'"status":',
        b'"\\ud800"',
        b"\n\n",
        b"==> a <==\n",
        b"notAfter=Jan 99",
        b"9" * 40,
    ]
)


@given(st.lists(SNIPPETS | st.binary(max_size=20), max_size=15).map(b"".join), st.sampled_from(ITEMS))
def test_any_bytes(data: bytes, item: str) -> None:
    observe_visit(_visit((item, data, 0)), ANCHORS)
    for fact in observe_texts([("f", data)], ANCHORS).facts:
        fact.value.encode()
