"""Whose key is it: plain, hashed, revoked and certified entries, and what is written for a new host."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import asyncssh
import pytest

from fleet.errors import IdentityError
from fleet.model.host import Host
from fleet.transport.known_hosts import KnownHosts

HOST = Host(name="web01", address="192.0.2.1", port=2222)
NAME = "[192.0.2.1]:2222"


@pytest.fixture(scope="module")
def keys() -> list[asyncssh.SSHKey]:
    return [asyncssh.generate_private_key("ssh-ed25519") for _ in range(2)]


def public(key: asyncssh.SSHKey) -> str:
    return str(key.export_public_key().decode().strip())


def hashed(name: str) -> str:
    salt = b"s" * 20
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def known(folder: Path, *lines: str, end: str = "\n") -> KnownHosts:
    path = folder / "known_hosts"
    path.write_text("\n".join(lines) + end)
    return KnownHosts(str(path))


def test_a_plain_entry_is_by_address_and_port(tmp_path: Path, keys: list[asyncssh.SSHKey]) -> None:
    file = known(tmp_path, f"{NAME} {public(keys[0])}", f"192.0.2.1 {public(keys[1])}")
    assert trusted(file) == {keys[0].convert_to_public()}


def trusted(file: KnownHosts) -> set[asyncssh.SSHKey]:
    return set(file.match(HOST, "192.0.2.1")[0])


def test_a_hashed_entry_names_its_host_only(tmp_path: Path, keys: list[asyncssh.SSHKey]) -> None:
    file = known(tmp_path, f"{hashed(NAME)} {public(keys[0])}")
    assert file.is_known(HOST, "192.0.2.1", keys[0].convert_to_public())
    assert not file.is_known(HOST, "192.0.2.1", keys[1].convert_to_public())
    other = Host(name="web02", address="192.0.2.2", port=2222)
    assert not file.is_known(other, "192.0.2.2", keys[0].convert_to_public())


def test_changed_is_told_from_unknown(tmp_path: Path, keys: list[asyncssh.SSHKey]) -> None:
    file = known(tmp_path, f"{hashed(NAME)} {public(keys[0])}", f"@cert-authority * {public(keys[1])}")
    assert file.key_types(HOST, "192.0.2.1") == {"ssh-ed25519"}
    # A certificate authority for everybody says nothing about this host's plain key.
    assert not file.key_types(Host(name="new", address="192.0.2.9"), "192.0.2.9")


@pytest.mark.parametrize("entry", [NAME, "*", hashed(NAME)])
def test_a_revoked_key_is_refused(tmp_path: Path, keys: list[asyncssh.SSHKey], entry: str) -> None:
    file = known(tmp_path, f"@revoked {entry} {public(keys[0])}", f"{NAME} {public(keys[0])}")
    assert keys[0].convert_to_public() in file.match(HOST, "192.0.2.1")[2]


def test_a_new_key_is_written_on_a_line_of_its_own(tmp_path: Path, keys: list[asyncssh.SSHKey]) -> None:
    file = known(tmp_path, f"other {public(keys[1])}", end="")
    file.add(HOST, keys[0])
    lines = (tmp_path / "known_hosts").read_text().splitlines()
    assert lines[1].startswith(NAME + " ssh-ed25519 ")
    assert trusted(KnownHosts(file.path)) == trusted(file) == {keys[0].convert_to_public()}


def test_a_file_that_cannot_be_read_is_an_identity_problem(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="cannot read the known_hosts file"):
        KnownHosts(str(tmp_path))
