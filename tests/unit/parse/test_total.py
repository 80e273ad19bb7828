"""Any bytes at all become an observation and findings: nothing raises, and the work grows with the bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.classify.engine import Classifier
from fleet.model.observation import Observation
from fleet.model.visit import Capture, Visit
from fleet.model.words import Privilege
from fleet.packs.load import load_pack
from fleet.parse import documents, logs
from fleet.parse.agent import find_show, find_version, parse_config_list, parse_version
from fleet.parse.check import check_facts
from fleet.parse.documents import read_object
from fleet.parse.events import find_installation, parse_events
from fleet.parse.host import (
    failed_extensions,
    parse_clock,
    parse_expiries,
    parse_os_name,
    parse_space,
    parse_uptime,
)
from fleet.parse.lines import Line, parse_line
from fleet.parse.logs import parse_log
from fleet.parse.observe import observe_texts, observe_visit
from fleet.parse.scan import Anchors
from fleet.parse.services import parse_get_service, parse_is_active, parse_systemctl, services_from_show
from fleet.parse.windows import TELLERS, parse_drives, parse_services, parse_winhttp

PACK = load_pack()
CLASSIFIER = Classifier(PACK)
ANCHORS = Anchors(CLASSIFIER.anchors)
ITEMS = [*dict.fromkeys(item.name for item in PACK.items)]
PARSERS: tuple[Callable[[bytes], object], ...] = (
    find_show,
    find_version,
    parse_version,
    parse_config_list,
    parse_os_name,
    parse_clock,
    parse_uptime,
    parse_space,
    lambda data: list(parse_expiries(data)),
    lambda data: list(failed_extensions(data)),
    lambda data: list(check_facts(data, "x")),
    parse_systemctl,
    parse_get_service,
    services_from_show,
    lambda data: parse_is_active("himdsd.service", data),
    lambda data: parse_log("x", data, ANCHORS),
    lambda data: list(documents.json_objects(data.decode("latin-1"))),
    parse_services,
    parse_drives,
    parse_events,
    lambda data: find_installation((), data),
    lambda data: parse_winhttp(data.decode("latin-1")),
    lambda data: [list(tell(read_object(data))) for tell in TELLERS.values()],
)

SHOW = {
    "status": "Connected",
    "lastHeartbeat": "2026-03-01T07:55:00Z",
    "resourceName": "web01",
    "agentVersion": "1.61.03319.859",
    "services": [{"displayName": "Agent Service", "serviceName": "himdsd", "status": "active"}],
}
SYSTEM = b'{"caption":"Microsoft Windows Server 2022 Standard","build":20348,"domain":"d","language":1031}'
DOCUMENTS = (
    json.dumps(SHOW).encode(),
    SYSTEM,
    (
        b'[{"name":"himds","exists":true,"status":1,"start":2,"exit_code":1067,"started_at":null},'
        b'{"name":"GCArcService","exists":true,"status":4,"started_at":"2026-03-01T07:00:00Z"}]'
    ),
    (
        b'[{"id":7000,"at":"2026-03-01T07:00:00Z","properties":["himds","%%1069"]},'
        b'{"id":7031,"at":"2026-03-01T07:30:00Z","properties":["GCArcService",3,null]},'
        b'{"id":1033,"at":null,"properties":["Azure Connected Machine Agent","1","1031","1603"]},'
        b'{"id":1000,"at":"0001-01-01T00:00:00Z","properties":["himds.exe"]}]'
    ),
    b'{"profile_exists":false,"store_certificates":0,"cleanup_days":30,"config_exists":true}',
    b'[{"endpoint":"https://a.his.arc.azure.com","reachable":false,"private":true,"proxy status":"set"}]',
    b"ENDPOINT |REACHABLE |PRIVATE |TLS |PROXY\nhttps://a.his.arc.azure.com |false |unknown |TLS 1.2 |set\n",
    b'{"machine":{"https_proxy":"http://p"},"winhttp":"280000000000000003000000040000007070707000000000"}',
    b'{"cipher_suites":["TLS_X"],"policy_suites":null,"protocols":{"TLS 1.2/Client":{"enabled":0}}}',
    b'{"accounts":["*S-1-5-80-0"],"type":"NT5DS","status":4,"license_exists":true}',
    b'[{"drive":"C:","free_bytes":1,"size_bytes":2}]',
    b"1772352000/+0900/Tokyo Standard Time",
    b"MSI (s) (10:4C) [10:00:00:000]: MainEngineThread is returning 1603\r\n",
    json.dumps(SHOW, indent=2).encode(),
    (
        b"Resource Name      : web01\nAgent Version      : 1.61.03319.859\nAgent Status       : Connected\n"
        b"Agent Last Heartbeat : 2026-03-01T08:55:00+01:00\nCloud Metadata\nDependent Service Status\n"
        b"  Agent Service (himdsd)  : active\n"
    ),
    (
        b"Id=himdsd.service\nLoadState=loaded\nActiveState=activating\nSubState=auto-restart\nNRestarts=7\n\n"
        b"Id=extd.service\nActiveState=active\nActiveEnterTimestamp=Sun 2026-03-01 07:00:00 UTC\n"
    ),
    b"Local Configuration Settings\n  config.mode (preview)   : monitor\n  proxy.url : http://p:3128\n",
    b"notAfter=Mar  3 12:00:00 2026 GMT\nnotAfter=Mar 33 12:00:00 2026 GMT\n",
    b'==> /x/Foo/state.json <==\n{"ExtensionState": "FAILED"}\n',
    b"Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/a 100 60 40 60% /var\n",
    b"1772352000/+0100/CET\n",
    b"azcmagent version 1.61.03319.859\n",
    b"Stopped  himds   Azure Hybrid Instance Metadata Service\n",
)
LINES = (
    b'time="2026-03-01T08:00:00Z" level=debug msg="Agent Version: 1.61.03319.859"',
    b'time="2026-03-01T08:00:00+01:00" level=debug msg="Agent Command: connect" VM Id=7',
    b'level=error msg="\\"b\\"\\nc" Error="Post \\"https://login.windows.net/t/oauth2/token\\": Forbidden"',
    b"ERROR[0032] AADSTS700016: gone   Application Id=7",
    b"INFO    Exit Code:  AZCM0042: Failed to Create Resource",
    b"  20% [==>     ]\r  FATAL   MissingSubscriptionRegistration",
    b"<GCLOG>[2026-03-01 03:01:21.330] [PID 1] [TID 2] [ERROR] [id] no such host</GCLOG>",
    b"[2026-03-01][08:00:01] WARNING client secret",
    b"[1728+00000001] 9/10/2026 10:41:43 PM [Info] [A=1] AZCM0062: x",
    b'PS C:\\> & "C:\\x\\azcmagent.exe" disconnect',
    b"\xff\xfe\x00\x80",
    b"",
)
PIECES = st.sampled_from(
    [
        b"{",
        b"}",
        b'"',
        b"\\",
        b"\\u",
        b"\\ud800",
        b"\n",
        b"\r",
        b"\x00",
        b"\xff",
        b":",
        b"=",
        b"9" * 30,
        b"  ",
        b"[",
    ]
)
TEXTS = st.lists(st.sampled_from(LINES) | st.sampled_from(DOCUMENTS) | st.binary(max_size=30), max_size=12)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Lines and documents as the agent and the system print them, then damaged in a few places."""
    data = b"\n".join(draw(TEXTS))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 40)))
        data = data[:at] + draw(PIECES) + data[end:]
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"])) + data


def visit_of(item: str, data: bytes, code: int | None, *, on_windows: bool = False) -> Visit:
    capture = Capture(item=item, data=data, privilege=Privilege.USER, exit_code=code, stderr=data[:100])
    healthy = Capture(item="agent.show", data=DOCUMENTS[0], privilege=Privilege.USER, exit_code=0)
    system = Capture(item="host.os", data=SYSTEM, privilege=Privilege.USER, exit_code=0)
    return Visit(
        started_at=datetime(2026, 3, 1, 8, tzinfo=UTC),
        duration_s=1.0,
        captures=(healthy, *((system,) if on_windows else ()), capture),
        complete=True,
    )


def assert_storable(observation: Observation) -> None:
    """What a database or an encoder would refuse must not come out of any bytes."""
    findings = CLASSIFIER.classify(observation)
    text = repr((observation.facts, observation.agent, observation.services, observation.logs, findings))
    assert "\\x00" not in text
    for fact in observation.facts:
        (fact.name + fact.value).encode()
    for log in observation.logs:
        for record in log.records:
            record.text.encode()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | mutated())
def test_every_parser_takes_any_bytes(data: bytes) -> None:
    for parse in PARSERS:
        parse(data)


@settings(max_examples=150, deadline=None)
@given(mutated())
def test_any_text_is_observed_and_judged(data: bytes) -> None:
    assert_storable(observe_texts([("a", data), ("b", data[::-1])], ANCHORS))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(ITEMS), mutated(), st.sampled_from([None, 0, 1, 3, 124, 126, 127, 255]), st.booleans())
def test_any_capture_is_observed_and_judged(
    item: str, data: bytes, code: int | None, on_windows: bool
) -> None:
    assert_storable(observe_visit(visit_of(item, data, code, on_windows=on_windows), ANCHORS))


REPEATED = [
    *(bytes([byte]) for byte in b'x{}[]()\n\r \t"\\=:<>@#9\x00\xff'),
    b"\n\n ",
    b"\n{",
    b'{"a":',
    b"{}",
    b"Agent Status : ",
    b"Agent Status :\n",
    b"a : b\n",
    b"time=",
    b"level=fatal msg=",
    b"Running himds",
    b"\nRunning  ",
    b"Local Configuration Settings\n",
    b"==> a <==\n",
    b"PRETTY_NAME= ",
    b"notAfter=",
    b"lookup login.windows.net ",
    b'{"id":7031,"properties":["himds"]},',
    b"MainEngineThread is returning 1\n",
    b"Action ended 1:00:00: INSTALL. ",
    b"FF",
]


@pytest.mark.parametrize("piece", REPEATED)
def test_a_megabyte_of_one_thing_is_done_with(piece: bytes) -> None:
    """Anything quadratic in it would not come back within the hour."""
    data = piece * ((1 << 20) // len(piece))
    for parse in PARSERS:
        parse(data)
    assert_storable(observe_texts([("a", data)], ANCHORS))


@pytest.mark.parametrize("end", [b"\n", b"\r", b" "])
@pytest.mark.parametrize("size", [1000, 4000])
def test_each_marked_line_is_read_once(monkeypatch: pytest.MonkeyPatch, end: bytes, size: int) -> None:
    read: list[int] = []

    def counting(raw: str) -> Line:
        read.append(len(raw))
        return parse_line(raw)

    monkeypatch.setattr(logs, "parse_line", counting)
    parse_log("x", (b"level=fatal" + end) * size, ANCHORS)
    # One line without an end is read in parts, each with the line's head and a bit of the part before.
    assert len(read) <= (1 + 12 * size // 1500 if end == b" " else size)
    assert len(read) == size or sum(read) <= 3 * 12 * size


def test_a_bounded_number_of_braces_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    class Counting(json.JSONDecoder):
        def raw_decode(self, s: str, idx: int = 0) -> tuple[object, int]:
            tries.append(idx)
            return super().raw_decode(s, idx)

    monkeypatch.setattr(documents, "_DECODER", Counting())
    for text in ("{" * 5000, "\n{" * 5000, "{}" * 5000, '{"a":' * 5000):
        tries.clear()
        list(documents.json_objects(text))
        assert len(tries) <= documents.MAX_TRIES


def test_blocks_without_number_cost_their_lines_once() -> None:
    data = b"Agent Status : Connected\n" * 20_000
    shown = find_show(data)
    assert shown is not None
    assert shown.rest == b"\n" * 20_000
