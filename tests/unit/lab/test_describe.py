"""The loader of descriptions, and the demo it loads."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from fleet.lab.describe import (
    Fault,
    UnitState,
    load_demo,
    load_descriptions,
    parse_description,
)
from fleet.lab.reading import DescriptionError
from fleet.lab.windows import Certificate, LanguageMode, Rights
from fleet.lab.winrm.words import WinrmFault
from fleet.model.words import Become, Phase, Reason, Scheme, WinrmAuth, Word

BARE = "name: one\nsummary: a host\ngroup: some\nexpect: {verdict: HEALTHY}\n"


def test_what_is_not_said_is_a_healthy_host() -> None:
    host = parse_description(BARE, "one.yaml")
    assert host.fault is Fault.NONE
    assert host.login.become is Become.SHELL
    assert host.unit("himdsd") is UnitState.ACTIVE
    assert host.unit("cron") is UnitState.ABSENT


def test_scalars_are_read_as_text() -> None:
    host = parse_description(BARE + "agent: {resource_name: no, version: 1.10}\n", "one.yaml")
    assert (host.agent.resource_name, host.agent.version) == ("no", "1.10")


def test_all_mistakes_are_told_at_once_with_their_lines() -> None:
    text = (
        "name: one two\nsummary: s\nsummary: s\nexpect: {verdict: fine}\nagnet: {}\n"
        "agent: {hangs: yes, delay_s: -1, unreachable: x}\nfault: [none]\nservices: {cron: active}\n"
    )
    with pytest.raises(DescriptionError) as caught:
        parse_description(text, "one.yaml")
    told = {(mistake.line, mistake.text.split(";")[0]) for mistake in caught.value.mistakes}
    assert told == {
        (1, "'group' is missing"),
        (1, "a name is letters, digits, '.' and '-'"),
        (3, "'summary' stands here twice"),
        (4, "expected one of FAILING, DEGRADED, HEALTHY, NOT_OBSERVED, not 'fine'"),
        (5, "unknown key 'agnet'"),
        (6, "expected true or false, not 'yes'"),
        (6, "expected a whole number, not '-1'"),
        (6, "expected a list"),
        (7, "expected a text"),
        (7, f"expected one of {', '.join(Fault)}, not ''"),
        (8, "unknown key 'cron'"),
    }
    assert str(caught.value).startswith("one.yaml:")


@pytest.mark.parametrize("text", ["", "- a\n", "a: [", "a"])
def test_a_text_that_is_no_mapping_is_a_mistake(text: str) -> None:
    with pytest.raises(DescriptionError, match=r"one\.yaml"):
        parse_description(text, "one.yaml")


def test_a_log_is_text_or_any_bytes_as_often_as_told() -> None:
    text = BARE + "logs:\n  himds: ä\n  arcproxy: !!binary |\n    AP8=\nrepeat: {himds: 3}\n"
    host = parse_description(text, "one.yaml")
    assert dict(host.logs) == {"himds": "ä".encode(), "arcproxy": b"\x00\xff"}
    assert dict(host.repeat) == {"himds": 3}


def test_what_cannot_be_a_log_is_a_mistake() -> None:
    text = BARE + "logs: {himds: !!binary 'AP8', other: x}\nrepeat: {himds: some, gc_ext: 2}\n"
    with pytest.raises(DescriptionError) as caught:
        parse_description(text, "one.yaml")
    told = {(mistake.line, mistake.text.split(";")[0]) for mistake in caught.value.mistakes}
    assert told == {
        (5, "expected base64"),
        (5, "unknown key 'other'"),
        (6, "expected a whole number, not 'some'"),
        (6, "no log 'gc_ext' to repeat"),
    }


@pytest.mark.parametrize(
    ("more", "line", "told"),
    [
        (
            "logs:\n  himds: 'time={t-60} {t-x}'\n",
            6,
            "{t-x} is no instant; one is {t-SECONDS} or {d-SECONDS}",
        ),
        ("logs: {himds: hello}\nrepeat: {himds: 999999999}\n", 6, "'himds' would be larger than 1024 MiB"),
    ],
)
def test_a_log_that_could_not_be_meant(more: str, line: int, told: str) -> None:
    with pytest.raises(DescriptionError) as caught:
        parse_description(BARE + more, "one.yaml")
    assert [(mistake.line, mistake.text) for mistake in caught.value.mistakes] == [(line, told)]


@pytest.mark.parametrize("name", ["../../../outside", "/outside", "..", "a/b", ""])
def test_an_extension_whose_files_would_be_elsewhere_is_a_mistake(name: str) -> None:
    with pytest.raises(DescriptionError) as caught:
        parse_description(BARE + f"extensions: {{Some.Agent_1-x: y, '{name}': x}}\n", "one.yaml")
    (mistake,) = caught.value.mistakes
    assert (mistake.line, mistake.text) == (
        5,
        f"the name {name!r} is not of letters, digits, '.', '-' and '_'",
    )


def test_the_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    for name, text in (("a", BARE), ("b", BARE), ("c", ""), ("d", BARE + "more: x\n")):
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "e.yaml").write_bytes(b"\xff")
    with pytest.raises(DescriptionError) as caught:
        load_descriptions(tmp_path)
    told = [(Path(mistake.path).stem, mistake.text.split(";")[0]) for mistake in caught.value.mistakes]
    assert told == [
        ("b", "another file has a host 'one', too"),
        ("c", "it is empty: no host is described"),
        ("d", "unknown key 'more'"),
        ("e", "cannot be read: it is not UTF-8"),
    ]


def test_what_is_expected_of_a_host() -> None:
    expect = "{verdict: NOT_OBSERVED, reason: deadline, phase: exec, rule: a, code: b, also: [c, d]}"
    host = parse_description(BARE.replace("{verdict: HEALTHY}", expect), "one.yaml")
    assert (host.expect.verdict, host.expect.reason) == (Word.NOT_OBSERVED, Reason.DEADLINE)
    assert (host.expect.phase, host.expect.rule) == (Phase.EXEC, "a")
    assert (host.expect.code, host.expect.also) == ("b", ("c", "d"))


def test_half_of_the_demo_is_well() -> None:
    words = Counter(host.expect.verdict for host in load_demo())
    assert words[Word.HEALTHY] * 2 == words.total()
    assert set(words) == set(Word)


# One code of each kind there is in the agent's list, and the rules of its nine known messages.
@pytest.mark.parametrize(
    "kind",
    [
        {"AZCM0011", "AZCM0012", "AZCM0013", "AZCM0014", "AZCM0015", "AZCM0016", "AZCM0017", "AZCM0018"},
        {"AZCM0041"},
        {"AZCM0042", "AZCM0043", "AZCM0044"},
        {"AZCM0061", "AZCM0062", "AZCM0063", "AZCM0064", "AZCM0065", "AZCM0066", "AZCM0067", "AZCM0068"},
        {"AZCM0081"},
        {"AZCM0101", "AZCM0102", "AZCM0103", "AZCM0104"},
        {"AZCM0001"},
    ],
)
def test_some_host_of_the_demo_fails_with_each_kind_of_code(kind: set[str]) -> None:
    failing = (host.expect for host in load_demo() if host.expect.verdict is Word.FAILING)
    # The rule of a code is named after it, with what tells its meanings apart behind it.
    assert any(kind & {expect.code, *(rule[:8].upper() for rule in expect.also)} for expect in failing)


def test_the_demo_shows_each_known_message_and_each_state() -> None:
    shown = {rule for host in load_demo() for rule in (host.expect.rule, *host.expect.also)}
    assert shown >= {
        "login-endpoint-unreachable",
        "login-endpoint-blocked",
        "login-endpoint-dns",
        "token-endpoint-blocked",
        "client-secret-invalid",
        "application-not-found",
        "arm-authorization-failed",
        "provider-not-registered",
        "arm-endpoint-blocked",
        "agent-never-onboarded",
        "agent-disconnected",
        "agent-expired",
        "agent-not-installed",
        "certificate-expires-soon",
        "service-himds-down",
        "service-himds-restarting",
    }


def test_a_host_of_the_demo_falls_silent_in_every_phase() -> None:
    late = {host.expect.phase for host in load_demo() if host.expect.reason is Reason.DEADLINE}
    assert late == {Phase.CONNECT, Phase.HANDSHAKE, Phase.AUTH, Phase.BECOME, Phase.EXEC, Phase.TRANSFER}
    reasons = {host.expect.reason for host in load_demo()} - {None}
    assert set(Reason) - reasons == {Reason.CREDENTIAL, Reason.PARTIAL, Reason.SKIPPED, Reason.BUG}


def test_a_host_of_the_demo_has_a_log_of_tens_of_megabytes_and_another_a_line_of_one() -> None:
    sizes = [
        (len(dict(host.logs)[name]) * times, b"\n" in dict(host.logs)[name])
        for host in load_demo()
        for name, times in host.repeat
    ]
    assert any(size > 20 << 20 for size, _ in sizes)
    assert any(size > 1 << 20 and not has_lines for size, has_lines in sizes)


def test_the_demo_has_windows_hosts_of_every_kind() -> None:
    hosts = [(host, host.windows) for host in load_demo() if host.windows]
    well = [host.expect.verdict is Word.HEALTHY for host, _ in hosts]
    assert len(hosts) >= 16
    assert well.count(True) * 2 == len(well)
    assert {windows.system.language for _, windows in hosts} >= {1031, 1033, 1036, 1041, 2052}
    assert {windows.login.auth for _, windows in hosts} >= {
        WinrmAuth.NEGOTIATE,
        WinrmAuth.BASIC,
        WinrmAuth.CERTIFICATE,
    }
    assert {windows.login.scheme for _, windows in hosts} == set(Scheme)
    assert {windows.system.language_mode for _, windows in hosts} == set(LanguageMode)
    assert {windows.login.rights for _, windows in hosts} == set(Rights)
    assert {windows.fault for _, windows in hosts} == {
        WinrmFault.NONE,
        WinrmFault.WRONG_PASSWORD,
        WinrmFault.SHELL_QUOTA,
        WinrmFault.TRICKLE,
    }
    assert Certificate.EXPIRED in {windows.login.certificate for _, windows in hosts}
    # Kerberos forgives five minutes.
    assert max(windows.system.behind_s for _, windows in hosts) > 300
    assert any(windows.utf16 for _, windows in hosts)
    shown = {rule for host, _ in hosts for rule in (host.expect.rule, *host.expect.also)}
    assert shown >= {"profile-cleanup-policy", "services-left-behind", "agent-never-onboarded", "clock-skew"}
