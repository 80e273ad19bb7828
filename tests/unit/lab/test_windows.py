"""Simulated Windows hosts: how they are described, and what they answer to the script of a visit."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from fleet.collect.framing import Form, find_header, from_base64, inflate, parse_frames, split_sections
from fleet.collect.plan import Plan, plan_visit
from fleet.lab.describe import HostDescription, parse_description
from fleet.lab.reading import DescriptionError
from fleet.lab.windows_visit import FUNCTION, PIECE_CHARS, responder
from fleet.lab.winrm.words import Reply, Request
from fleet.model.visit import Capture
from fleet.model.words import OS, Become, CheckMode, Privilege
from fleet.packs.load import load_pack

BARE = "name: {name}\nsummary: a host\ngroup: some\nos: windows\nexpect: {{verdict: HEALTHY}}\n"
NONCE = "0123456789abcdef"
NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
CONNECTED = "agent: {status: Connected, heartbeat_age_s: 60, resource_name: one, certificate_days: 60}\n"


def describe(more: str = "", name: str = "one") -> HostDescription:
    return parse_description(BARE.format(name=name) + more, f"{name}.yaml")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_visit(load_pack().items, CheckMode.AUTO, OS.WINDOWS)


def arguments(plan: Plan, *, tier0: bool = False) -> tuple[str, ...]:
    return tuple(plan.command(Become.NONE, nonce=NONCE, run_id="run", tier0=tier0).split("\n"))


async def ask(plan: Plan, host: HostDescription, *, tier0: bool = False) -> Reply:
    assert host.windows is not None
    respond = responder(host, host.windows, NOW)
    script = plan.script.decode()
    return await respond(Request(script=script, command="", arguments=arguments(plan, tier0=tier0), user="x"))


async def visit(plan: Plan, more: str = "", *, tier0: bool = False) -> Mapping[str, Capture]:
    """The captures of one visit, read as the product reads them."""
    reply = await ask(plan, describe(more), tier0=tier0)
    assert not reply.errors
    data = "".join(f"{text}\n" for text in reply.output).encode()
    header = find_header(data, NONCE)
    assert header is not None
    rest = data[header.end :]
    plain = rest if header.form is Form.PLAIN else inflate(from_base64(rest), 1 << 24)
    frames = parse_frames(
        split_sections(b"\n" + plain.removeprefix(b"\n"), NONCE, plan.max_sections),
        {item.name: item for item in plan.items},
    )
    assert frames.complete
    assert [capture.item for capture in frames.captures] == [item.name for item in plan.items]
    return {capture.item: capture for capture in frames.captures}


def body(captures: Mapping[str, Capture], item: str) -> Any:
    """The JSON that an item gave."""
    assert captures[item].exit_code == 0
    return json.loads(captures[item].data)


async def test_a_connected_host_answers_every_item(plan: Plan) -> None:
    found = await visit(plan, CONNECTED + "logs: {azcmagent: a, himds: 'at {t-60}'}\n")
    assert json.loads(found["agent.show"].data)["status"] == "Connected"
    assert found["agent.show-text"].skipped == "not-needed"
    assert found["agent.check"].skipped == "connected"
    assert found["log.himds"].data == b"at 2026-11-23T11:59:00Z"
    assert found["agent.certificates"].data == b"notAfter=Jan 22 12:00:00 2027 GMT\n"
    assert found["agent.version"].data.startswith(b"azcmagent version  1.")
    states = {each["name"]: each["status"] for each in body(found, "services")}
    assert states == {"himds": 4, "GCArcService": 4, "ExtensionService": 4, "arcproxy": 4}
    assert body(found, "host.os")["language"] == 1033
    assert {found[item].privilege for item in ("services", "log.himds")} == {Privilege.ADMIN}
    assert found["log.arcproxy"].exit_code == 1
    assert found["log.arcproxy"].stderr.endswith(b"arcproxy.log: No such file or directory")


async def test_a_plain_user_is_denied_what_administrators_read(plan: Plan) -> None:
    found = await visit(plan, CONNECTED + "logs: {himds: secret}\nlogin: {rights: user}\n")
    denied = {name for name, capture in found.items() if capture.denied}
    assert denied == {
        "services",
        *(name for name in found if name.startswith(("events.", "log."))),
        "agent.extensions",
        "agent.certificates",
        "agent.esu",
        "host.rights",
    }
    assert {capture.privilege for capture in found.values()} == {Privilege.USER}
    assert not any(b"secret" in capture.data for capture in found.values())
    told = body(found, "host.os")
    assert (told["build"], told["booted_at"]) == (20348, None)
    assert found["agent.show"].exit_code == 0


async def test_without_an_agent_no_program_is_found_and_its_services_are_unknown(plan: Plan) -> None:
    found = await visit(plan, "agent: {absent: true}\n")
    assert (found["agent.show"].exit_code, found["agent.show"].stderr) == (127, b"azcmagent: not found")
    assert found["agent.show-text"].exit_code == 127
    assert [each["exists"] for each in body(found, "services")] == [False] * 4
    assert found["agent.certificates"].stderr.endswith(b"Certs: No such file or directory")


async def test_a_plain_users_constrained_shell_is_not_believed_that_the_program_is_missing(
    plan: Plan,
) -> None:
    constrained = "agent: {absent: true}\nsystem: {language_mode: ConstrainedLanguage}\n"
    found = await visit(plan, constrained + "login: {rights: user}\n")
    assert (found["agent.show"].exit_code, found["agent.show"].denied) == (126, True)
    found = await visit(plan, constrained)
    assert found["agent.show"].exit_code == 127


async def test_what_an_uninstall_left_is_there(plan: Plan) -> None:
    found = await visit(plan, "agent: {absent: true}\nservices: {himds: running, arcproxy: stopped}\n")
    states = {each["name"]: each["status"] for each in body(found, "services")}
    assert states == {"himds": 4, "GCArcService": None, "ExtensionService": None, "arcproxy": 1}


async def test_a_program_that_hung_is_not_called_again(plan: Plan) -> None:
    found = await visit(plan, "agent: {hangs: true}\n")
    assert found["agent.show"].exit_code == 124
    assert {found[item].skipped for item in ("agent.show-text", "agent.version", "agent.check")} == {"hung"}
    assert body(found, "services")


async def test_an_agent_too_old_for_json_is_asked_for_text(plan: Plan) -> None:
    found = await visit(plan, "agent: {json: false, status: Connected}\n")
    assert found["agent.show"].exit_code == 1
    assert b"Agent Status                            : Connected\n" in found["agent.show-text"].data
    assert rb"C:\ProgramData\AzureConnectedMachineAgent\Log\himds.log" in found["agent.show-text"].data
    assert found["agent.check"].skipped == "connected"


async def test_a_host_that_is_not_connected_is_checked(plan: Plan) -> None:
    found = await visit(plan, "agent: {status: Disconnected, unreachable: [pas.windows.net]}\n")
    assert found["agent.check"].exit_code == 1
    assert b"https://pas.windows.net" in found["agent.check"].data


async def test_a_domain_controller_is_left_alone_unless_told(plan: Plan) -> None:
    more = "system: {is_controller: true}\n"
    assert {capture.skipped for capture in (await visit(plan, more)).values()} == {"tier0"}
    assert body(await visit(plan, more, tier0=True), "host.os")["domain_role"] == 5


async def test_a_utf_16_log_is_cut_at_a_character(plan: Plan) -> None:
    found = await visit(plan, "logs: {himds: 'Größe 漢字 '}\nrepeat: {himds: 200000}\nutf16: [himds]\n")
    capture = found["log.himds"]
    assert capture.cut
    whole = (await visit(plan, "logs: {himds: 漢}\nutf16: [himds]\n"))["log.himds"]
    assert whole.data == b"\xff\xfe" + "漢".encode("utf-16-le")
    assert not whole.cut


async def test_events_are_those_asked_for_newest_first(plan: Plan) -> None:
    events = [
        {"provider": "Service Control Manager", "id": 7031, "age_s": 600, "properties": ["himds", "1"]},
        {"provider": "Service Control Manager", "id": 7034, "age_s": 60, "properties": ["Azure Arc Proxy"]},
        {"provider": "Service Control Manager", "id": 7036, "age_s": 5, "properties": ["himds"]},
        {"provider": "Service Control Manager", "id": 7034, "age_s": 5, "properties": ["Print Spooler"]},
        {
            "provider": "Service Control Manager",
            "id": 7034,
            "age_s": 40 * 86_400,
            "properties": ["himds"],
        },
        {"provider": "Application Error", "id": 1000, "age_s": 9, "properties": ["himds.exe", "1.40"]},
    ]
    found = await visit(plan, f"events: {json.dumps(events)}\n")
    assert [(each["id"], each["at"]) for each in body(found, "events.services")] == [
        (7034, "2026-11-23T11:59:00Z"),
        (7031, "2026-11-23T11:50:00Z"),
    ]
    assert body(found, "events.crashes")[0]["properties"] == ["himds.exe", "1.40"]
    assert body(found, "events.install") == []


async def test_identity_policies_and_the_rest_are_told(plan: Plan) -> None:
    more = (
        CONNECTED + "identity: {has_profile: false, certificates: 0, cleanup_days: 30}\n"
        "proxies: {https_proxy: 'http://proxy:3128', winhttp: 'proxy:8080'}\n"
        "tls: {suites: [A, B], policy: 'A,B', protocols: {TLS 1.2/Client: false}}\n"
        "rights: ['*S-1-5-32-544']\nhas_license: true\ntime_server: 'ntp.example,0x8'\n"
        "system: {domain: '', language: 1041, behind_s: 420}\n"
        "extensions: {Some.Agent: '{}', Other: x}\n"
    )
    found = await visit(plan, more)
    identity = body(found, "agent.identity")
    assert (identity["profile_exists"], identity["store_certificates"]) == (False, None)
    assert identity["cleanup_days"] == 30
    proxy = body(found, "agent.proxy")
    assert proxy["machine"] == {"https_proxy": "http://proxy:3128", "http_proxy": None, "no_proxy": None}
    assert bytes.fromhex(proxy["winhttp"])[8:26] == b"\x03\0\0\0\x0a\0\0\0proxy:8080"
    assert body(found, "host.tls") == {
        "cipher_suites": ["A", "B"],
        "policy_suites": "A,B",
        "protocols": {"TLS 1.2/Client": {"enabled": 0, "disabled_by_default": 1}},
    }
    assert body(found, "host.rights") == {"accounts": ["*S-1-5-32-544"]}
    assert body(found, "agent.esu") == {"license_exists": True}
    assert body(found, "host.time")["type"] == "NTP"
    assert (body(found, "host.os")["domain"], body(found, "host.os")["part_of_domain"]) == (
        "WORKGROUP",
        False,
    )
    assert found["agent.extensions"].data == (
        b"==> C:\\ProgramData\\GuestConfig\\extension_logs\\Some.Agent\\state.json <==\n{}\n"
        b"==> C:\\ProgramData\\GuestConfig\\extension_logs\\Other\\state.json <==\nx\n"
    )
    epoch = int(found["host.clock"].data.split(b"/")[0])
    assert 415 <= time.time() - epoch <= 480


async def test_a_constrained_shell_answers_in_plain_lines(plan: Plan) -> None:
    more = "logs: {himds: 'Größe'}\nsystem: {language_mode: ConstrainedLanguage}\n"
    output = (await ask(plan, describe(more))).output
    assert output[0].startswith(f"{NONCE} FLEET1 plain ")
    assert output[1:3] == ("", f"{NONCE} begin host.clock admin")
    assert (await visit(plan, more))["log.himds"].data == "Größe".encode()


async def test_a_large_answer_comes_in_pieces(plan: Plan) -> None:
    noise = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(300_000))
    output = (await ask(plan, describe(f"logs: {{himds: '{noise}'}}\n"))).output
    assert len(output) > 2
    assert max(map(len, output)) <= PIECE_CHARS


async def test_what_a_host_says_in_place_of_the_truth_is_what_it_says(plan: Plan) -> None:
    found = await visit(plan, "bodies: {services: !!binary /wA=, host.os: '[]'}\n")
    assert (found["services"].data, found["host.os"].data) == (b"\xff\0", b"[]")


async def test_an_unknown_script_or_command_is_an_error_and_no_answer(plan: Plan) -> None:
    host = describe()
    assert host.windows is not None
    respond = responder(host, host.windows, NOW)
    for script, command in ((plan.script.decode() + "\n", ""), ("", "Get-Date"), ("", "")):
        reply = await respond(Request(script=script, command=command, arguments=(), user="x"))
        assert (reply.output, reply.is_failed) == ((), True)
        assert reply.errors[0].startswith("this simulated host knows no ")
    reply = await respond(Request(script="", command=FUNCTION, arguments=arguments(plan), user="x"))
    assert reply.output
    assert not reply.is_failed


def test_all_mistakes_are_told_at_once_with_their_lines() -> None:
    text = BARE.format(name="one") + (
        "os_release: x\n"
        "system: {build: new, caption: c, offset: 1h, language_mode: Full, more: x}\n"
        "services: {himdsd: running, himds: active, arcproxy: {state: stopped, exit_code: x}}\n"
        "events: [{provider: Other, id: 1, age_s: 1}, {id: 2}, 3]\n"
        "tls: {protocols: {TLS 1.2: true, TLS 1.0/Client: maybe}}\n"
        "utf16: [other]\nlogin: {auth: basic}\nbodies: {..: x}\n"
        "fault: wrong-host-key\n"
    )
    with pytest.raises(DescriptionError) as caught:
        parse_description(text, "one.yaml")
    told = {(mistake.line, mistake.text.split(";")[0].split(",")[0]) for mistake in caught.value.mistakes}
    assert told == {
        (6, "unknown key 'os_release'"),
        (7, "expected a whole number"),
        (7, "expected an offset such as +0100"),
        (7, "expected one of FullLanguage"),
        (7, "unknown key 'more'"),
        (8, "unknown key 'himdsd'"),
        (8, "expected one of running"),
        (8, "expected a whole number"),
        (9, "expected one of Service Control Manager"),
        (9, "'provider' is missing"),
        (9, "'age_s' is missing"),
        (9, "expected a mapping"),
        (10, "'TLS 1.2' is no protocol such as TLS 1.2/Client"),
        (10, "expected true or false"),
        (11, "no log 'other'"),
        (12, "basic needs `scheme: https`"),
        (13, "'..' is no item"),
        (14, "expected one of none"),
    }


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("login: {auth: kerberos}\n", "no lab has a domain: kerberos cannot be"),
        ("journal: {himdsd: x}\n", "unknown key 'journal'"),
    ],
)
def test_what_a_windows_host_of_a_lab_cannot_have(more: str, told: str) -> None:
    with pytest.raises(DescriptionError, match=told):
        describe(more)


def test_the_family_decides_which_keys_there_are() -> None:
    with pytest.raises(DescriptionError, match="expected one of linux, windows, not 'macos'"):
        parse_description(BARE.format(name="one").replace("windows", "macos"), "one.yaml")
    with pytest.raises(DescriptionError, match="unknown key 'system'"):
        parse_description(BARE.format(name="one").replace("windows", "linux") + "system: {}\n", "one.yaml")
    assert parse_description(BARE.format(name="one").replace("windows", "linux"), "one.yaml").windows is None
