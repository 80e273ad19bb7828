"""What an inventory refers to on this machine, and how it is told where that is missing."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from fleet.inventory import references
from fleet.inventory.load import read_inventory
from fleet.inventory.references import find_missing
from fleet.inventory.secrets import SecretReader
from fleet.lab.winrm.authority import make_authority
from tests.keytabs import keytab

NO_FILE = "the file cannot be read: No such file or directory"
KERBEROS = "connection: winrm, auth: kerberos, user: fleet@CORP.EXAMPLE"

Missing = Callable[..., list[str]]


@pytest.fixture
def missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Missing:
    """The mistakes of an inventory, ``LINE: TEXT``, on a machine that has the Kerberos packages or not."""

    def run(text: str, *, has_kerberos: bool = True, has_agent: bool = False, **environ: str) -> list[str]:
        spec = ModuleSpec("x", None) if has_kerberos else None
        monkeypatch.setattr(references, "find_spec", lambda _: spec)
        path = tmp_path / "fleet.yaml"
        path.write_text(text)
        read = read_inventory(path, home=tmp_path)
        found = find_missing(read, read.hosts, SecretReader(environ), has_agent=has_agent)
        assert all(each.path == str(path) for each in found)
        return [f"{each.line}: {each.text}".replace(f"{tmp_path}/", "") for each in found]

    return run


def test_every_kind_of_thing_is_told_at_once_by_its_line(missing: Missing, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("text")
    text = (
        "defaults: {user: ops, key_file: id, become: shell}\n"
        "hosts:\n"
        "  lin1: {become_password: env:SUDO}\n"
        "  lin2: {key_file: folder}\n"
        "  lin3: {key_file: ssh-agent}\n"
        f"  win1: {{{KERBEROS}, keytab: f.keytab}}\n"
        "  win2:\n"
        "    connection: winrm\n"
        "    scheme: https\n"
        "    auth: certificate\n"
        "    client_cert: c.pem\n"
        "    client_key: c.key\n"
        "    ca_file: text\n"
        "  here: {connection: local, become_password: env:SUDO}\n"
    )
    assert missing(text, has_kerberos=False) == [
        f"1: lin1: key_file id: {NO_FILE}",
        "3: lin1: become_password env:SUDO: the environment variable is not set",
        "4: lin2: key_file folder: not a regular file",
        "5: lin3: key_file ssh-agent: no ssh-agent is running (SSH_AUTH_SOCK)",
        f"6: win1: auth kerberos: {references.NO_KERBEROS}",
        f"6: win1: keytab f.keytab: {NO_FILE}",
        f"11: win2: client_cert c.pem: {NO_FILE}",
        f"12: win2: client_key c.key: {NO_FILE}",
        "13: win2: ca_file text: it holds no certificate in PEM form",
        "14: here: become_password env:SUDO: the environment variable is not set",
    ]


def test_hosts_that_lack_the_same_share_a_line(missing: Missing) -> None:
    text = (
        "groups:\n"
        "  win:\n"
        "    vars: {connection: winrm, user: ops, password: 'file:pw/{host}'}\n"
        "    hosts: ['win[01:40]']\n"
    )
    assert missing(text) == [f"3: win[01-40]: password file:pw/win01 and 39 more like it: {NO_FILE}"]


def test_a_key_table_without_the_accounts_key(missing: Missing, tmp_path: Path) -> None:
    (tmp_path / "f.keytab").write_bytes(keytab("CORP.EXAMPLE", "web"))
    text = f"hosts:\n  w: {{{KERBEROS}, keytab: f.keytab}}\n"
    (told,) = missing(text)
    assert told.endswith("it has no key for fleet@CORP.EXAMPLE, only for web@CORP.EXAMPLE")


def test_a_certificate_and_a_key_of_two_pairs(missing: Missing, tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    one, two = authority.client("one"), authority.client("two")
    text = (
        "hosts:\n"
        "  w: {connection: winrm, scheme: https, auth: certificate,\n"
        f"      client_cert: {one.certificate}, client_key: {two.key}}}\n"
    )
    (told,) = missing(text)
    assert told.endswith("cannot be used together: key values mismatch")


def test_what_is_there_is_not_told(missing: Missing, tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    client = authority.client("robot")
    (tmp_path / "f.keytab").write_bytes(keytab("CORP.EXAMPLE", "fleet"))
    (tmp_path / "id").write_text("key")
    text = (
        "hosts:\n"
        "  l1: {user: ops, key_file: id, password: env:PW}\n"
        "  l2: {user: ops, key_file: ssh-agent}\n"
        f"  w1: {{{KERBEROS}, keytab: f.keytab}}\n"
        "  w2: {connection: winrm, scheme: https, auth: certificate,\n"
        f"       client_cert: {client.certificate}, client_key: {client.key},\n"
        f"       ca_file: {authority.ca_file}}}\n"
    )
    assert missing(text, has_agent=True, PW="x") == []
