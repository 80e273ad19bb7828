"""Windows hosts of a lab: what an operator has of them, and what is left when they are down."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from fleet.inventory.load import load_inventory
from fleet.lab.describe import HostDescription, parse_description
from fleet.lab.servers import running_lab, start_lab
from fleet.model.words import Connection, Scheme, WinrmAuth

BARE = "name: {name}\nsummary: a host\ngroup: some\nos: windows\nexpect: {{verdict: HEALTHY}}\n"


def describe(name: str, more: str = "") -> HostDescription:
    return parse_description(BARE.format(name=name) + more, f"{name}.yaml")


HOSTS = (
    describe("sealed"),
    describe("windows", "login: {user: ops, password: 'own: one'}\n"),
    describe("tls", "login: {user: fleet@corp.example, auth: basic, scheme: https}\n"),
    describe("mapped", "login: {auth: certificate, scheme: https}\n"),
    describe("jea", "login: {auth: ntlm, configuration: Fleet}\n"),
)


def test_an_operator_has_an_inventory_of_them(tmp_path: Path) -> None:
    with running_lab(HOSTS, tmp_path / "lab") as lab:
        hosts = {host.name: host for host in load_inventory(lab.inventory)}
        ports = {host.name: lab.port(host.name) for host in HOSTS}
    assert {host.connection for host in hosts.values()} == {Connection.WINRM}
    assert {name: host.port for name, host in hosts.items()} == ports
    assert {name: (host.winrm.scheme, host.winrm.auth) for name, host in hosts.items()} == {
        "sealed": (Scheme.HTTP, WinrmAuth.NEGOTIATE),
        "windows": (Scheme.HTTP, WinrmAuth.NEGOTIATE),
        "tls": (Scheme.HTTPS, WinrmAuth.BASIC),
        "mapped": (Scheme.HTTPS, WinrmAuth.CERTIFICATE),
        "jea": (Scheme.HTTP, WinrmAuth.NTLM),
    }
    assert hosts["sealed"].user == r"CORP\svc-fleet"
    assert hosts["tls"].user == "fleet@corp.example"
    assert hosts["jea"].winrm.configuration_name == "Fleet"
    own, shared = hosts["windows"].password, hosts["sealed"].password
    assert own is not None
    assert shared is not None
    assert Path(own.target).read_text() == "own: one"
    assert Path(shared.target).read_text() != "own: one"
    for file in (hosts["tls"].winrm.ca_file, hosts["mapped"].winrm.client_key):
        assert file is not None
        assert Path(file).stat().st_mode & 0o077 == 0


async def test_nothing_is_left_of_them(tmp_path: Path) -> None:
    tasks = asyncio.all_tasks()
    async with start_lab(HOSTS, tmp_path / "lab") as lab:
        reader, writer = await asyncio.open_connection("127.0.0.1", lab.port("sealed"))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
        assert lab.winrm("sealed").connections == 1
        port = lab.port("sealed")
    writer.close()
    assert asyncio.all_tasks() == tasks
    assert "NTLM_USER_FILE" not in os.environ
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()
    kept = {path.name for path in (tmp_path / "lab").iterdir()}
    assert "ntlm_users" not in kept


async def test_one_account_has_one_password(tmp_path: Path) -> None:
    hosts = [describe(name, f"login: {{user: ops, password: {name}}}\n") for name in ("one", "two")]
    with pytest.raises(ValueError, match="have ops with different passwords"):
        async with start_lab(hosts, tmp_path / "lab"):
            pass
