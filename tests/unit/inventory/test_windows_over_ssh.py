"""Windows hosts that are reached over SSH: what they resolve to, and which mistakes are told where."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fleet.model.host import Host, SecretRef, Winrm
from fleet.model.words import OS, Become, Connection, HostKeyPolicy

LOGIN = "defaults: {user: 'CORP\\fleet', key_file: /id, known_hosts: /known}\n"

Load = Callable[[str], dict[str, Host]]
Refuse = Callable[[str], list[tuple[int, str]]]


def test_it_is_reached_as_every_host_of_ssh(load: Load) -> None:
    host = load(f"{LOGIN}hosts:\n  h: {{os: windows, password: env:PW, tier0: true}}\n")["h"]
    assert host == Host(
        name="h",
        address="h",
        port=22,
        connection=Connection.SSH,
        os=OS.WINDOWS,
        user="CORP\\fleet",
        key_file="/id",
        password=SecretRef(scheme="env", target="PW"),
        known_hosts="/known",
        host_key_policy=HostKeyPolicy.STRICT,
        tier0=True,
    )


def test_one_inventory_for_all_three_ways(load: Load) -> None:
    hosts = load(
        "defaults: {user: ops, key_file: /id, become: shell, become_password: env:SUDO, tier0: true,\n"
        "           auth: kerberos}\n"
        "groups:\n"
        "  windows:\n"
        "    vars: {os: windows}\n"
        "    hosts: {over-ssh: , over-winrm: {connection: winrm}, here: {connection: local}}\n"
        "hosts: {linux: }\n"
    )
    assert [(host.name, host.connection, host.os, host.tier0, host.become) for host in hosts.values()] == [
        ("over-ssh", Connection.SSH, OS.WINDOWS, True, Become.NONE),
        ("over-winrm", Connection.WINRM, OS.WINDOWS, True, Become.NONE),
        ("here", Connection.LOCAL, OS.LINUX, False, Become.SHELL),
        ("linux", Connection.SSH, OS.LINUX, False, Become.SHELL),
    ]
    assert hosts["over-ssh"].become_password is None
    assert hosts["over-ssh"].winrm == Winrm()


@pytest.mark.parametrize(
    ("host", "part"),
    [
        (
            "{os: windows, become: shell}",
            "become is for Linux hosts: on Windows the account's own rights count",
        ),
        ("{os: windows, become: reads}", "become is for Linux hosts"),
        ("{os: windows, become_password: env:PW}", "become_password is for Linux hosts"),
        ("{os: windows, auth: ntlm}", "auth is for connection: winrm, and this is ssh"),
        ("{os: solaris}", "'solaris' is not one of its words; known are: linux, windows"),
        ("{os: windows, connection: local}", "os: windows is not for connection: local"),
        ("{os: linux, tier0: true}", "tier0 is for Windows hosts"),
    ],
)
def test_one_slip_is_one_mistake(refuse: Refuse, host: str, part: str) -> None:
    ((line, text),) = refuse(f"{LOGIN}hosts:\n  h: {host}\n")
    assert line == 3
    assert part in text


def test_no_group_of_windows_asks_for_sudo(refuse: Refuse, load: Load) -> None:
    group = LOGIN + "groups:\n  w:\n    vars: {os: windows, become: %s}\n    hosts: [a, b]\n"
    assert refuse(group % "shell") == [
        (4, "become is for Linux hosts: on Windows the account's own rights count")
    ]
    assert load(group % "none")["a"].become is Become.NONE
    own = LOGIN + "groups:\n  w:\n    vars: {os: windows}\n    hosts: {a: {become: reads}}\n"
    assert refuse(own) == [(5, "a: become is for Linux hosts: on Windows the account's own rights count")]


def test_what_it_needs_to_log_in(refuse: Refuse) -> None:
    told = [text for _, text in refuse("hosts: {h: {os: windows}}\n")]
    assert told == [
        "h: connection ssh needs a user",
        "h: connection ssh needs key_file (a path, or ssh-agent) or password",
    ]
