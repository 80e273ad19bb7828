"""``fleet collect --show-commands``: what a change board reads is what runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fleet.collect.plan import script
from fleet.collect.powershell import BOOTSTRAP, piped
from fleet.model.words import OS
from tests.unit.cli.conftest import Fleet

LOGIN = "defaults: {user: fleet, key_file: /id, password: env:PW}\n"
OVER_SSH, OVER_WINRM = "a: {os: windows}", "b: {connection: winrm}"


def shown(fleet: Fleet, folder: Path, *hosts: str) -> str:
    inventory = folder / "fleet.yaml"
    inventory.write_text(LOGIN + "hosts: {" + ", ".join(hosts) + "}\n")
    done = fleet("collect", inventory, "--show-commands")
    assert done.code == 0
    return done.out


def arguments(text: str) -> list[str]:
    """What stands between quotes, a line each, in what is sent to stdin."""
    listed = text.partition("$arguments = @(\n")[2].partition(")\n")[0]
    return [line[1:-1] for line in listed.splitlines()]


@pytest.mark.parametrize("hosts", [(OVER_SSH,), (OVER_WINRM,), (OVER_SSH, OVER_WINRM)])
def test_windows_hosts_have_one_script_and_digest_however_reached(
    fleet: Fleet, tmp_path: Path, hosts: tuple[str, ...]
) -> None:
    text = shown(fleet, tmp_path, *hosts)
    code = script(OS.WINDOWS)
    assert text.count(f"# script, SHA-256 {hashlib.sha256(code).hexdigest()}, ") == 1
    assert text.count(code.decode()) == 1
    assert (BOOTSTRAP in text) is (OVER_SSH in hosts)
    assert ("PowerShell session" in text) is (OVER_WINRM in hosts)


def test_over_ssh_the_pieces_are_all_of_stdin(fleet: Fleet, tmp_path: Path) -> None:
    text = shown(fleet, tmp_path, OVER_SSH)
    code = script(OS.WINDOWS)
    sent = piped(code, arguments(text)).decode()
    assert sent.replace(code.decode(), "# the script above\n") in text
    assert arguments(text)[:3] == ["NONCE", "RUN", "member"]
    assert "'tier0'" in shown(fleet, tmp_path, "a: {os: windows, tier0: true}")


def test_a_dry_run_names_the_family(fleet: Fleet, tmp_path: Path) -> None:
    inventory = tmp_path / "fleet.yaml"
    inventory.write_text("defaults: {user: fleet, key_file: ssh-agent}\nhosts: {a: {os: windows}, b: }\n")
    lines = fleet("collect", inventory, "--dry-run").out.splitlines()
    assert lines[:2] == ["a  ssh fleet@a:22, on Windows", "b  ssh fleet@b:22, become none"]
