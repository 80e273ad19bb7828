"""Turns known_hosts files into an answer to: is this the key of that host?

Plain and wildcard entries, @cert-authority and @revoked are matched by asyncssh's own reader. Hashed entries
(one salt each, so no index by name is possible) are found by the key the server showed: only the few
entries of that key are hashed, instead of all of the file for each host.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import asyncssh

from fleet.errors import IdentityError
from fleet.model.host import Host


class KnownHosts:
    """One known_hosts file, read once per run. Raises IdentityError when it cannot be read."""

    def __init__(self, path: str) -> None:
        self.path = path
        plain: list[str] = []
        self._hashed: dict[bytes, list[str]] = {}
        self._revoked_hashed: list[tuple[str, asyncssh.SSHKey]] = []
        for line in _lines(path):
            words = line.split()
            if words[0].startswith("|1|") and len(words) > 2:
                self._hashed.setdefault(_blob(words[2]), []).append(words[0])
            elif words[0] == "@revoked" and words[1].startswith("|1|"):
                self._revoked_hashed += _revoked(words)
            else:
                plain.append(line)
        try:
            self._plain = asyncssh.import_known_hosts("\n".join(plain))
        except ValueError as error:
            raise IdentityError(f"{path}: {error}") from error

    def match(self, host: Host, peer: str) -> tuple[list[Any], ...]:
        """What asyncssh asks: trusted keys, CA keys, revoked keys (and four lists for X.509)."""
        port = host.port if host.port != 22 else None
        found = [list(part) for part in self._plain.match(host.address, peer, port)]
        if host.name != host.address:
            for kept, more in zip(found, self._plain.match(host.name, "", port), strict=True):
                kept.extend(more)
        names = _names(host, peer)
        found[2] += [key for entry, key in self._revoked_hashed if _matches(entry, names)]
        return tuple(found)

    def is_known(self, host: Host, peer: str, key: asyncssh.SSHKey) -> bool:
        """Whether an entry of this key names the host; revoked keys were refused before."""
        # A plain one may have been added since asyncssh asked, by another visit to the same address.
        if key in self.match(host, peer)[0]:
            return True
        names = _names(host, peer)
        return any(_matches(entry, names) for entry in self._hashed.get(key.public_data, ()))

    def key_types(self, host: Host, peer: str) -> frozenset[str]:
        """The types of the host's keys on record ("ssh-ed25519"), none for an unknown host. Slow with hashed
        entries, each of which has a salt of its own: for unknown keys only."""
        names = _names(host, peer)
        hashed = (
            blob for blob, entries in self._hashed.items() if any(_matches(entry, names) for entry in entries)
        )
        plain = (key.public_data for key in self.match(host, peer)[0])
        return frozenset(map(_key_type, (*plain, *hashed)))

    def add(self, host: Host, key: asyncssh.SSHKey) -> None:
        """Write down a new host's key, in one append, and trust it from now on."""
        name = host.address if host.port == 22 else f"[{host.address}]:{host.port}"
        line = f"{name} {key.export_public_key().decode().strip()}\n"
        try:
            Path(self.path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                size = os.fstat(handle).st_size
                is_open_line = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
                os.write(handle, ("\n" if is_open_line else "").encode() + line.encode())
            finally:
                os.close(handle)
        except OSError as error:
            raise IdentityError(f"cannot write the new key to {self.path}: {error.strerror}") from error
        self._plain.load(line)


def _lines(path: str) -> Iterable[str]:
    try:
        text = Path(path).read_text("utf-8", "replace")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise IdentityError(f"cannot read the known_hosts file {path}: {error.strerror}") from error
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if len(line.split()) > 1 and not line.startswith("#")]


def _revoked(words: list[str]) -> list[tuple[str, asyncssh.SSHKey]]:
    try:
        return [(words[1], asyncssh.import_public_key(" ".join(words[2:])))]
    except asyncssh.KeyImportError:
        # A key of a kind that cannot be read cannot be shown by a server either.
        return []


def _blob(word: str) -> bytes:
    try:
        return base64.b64decode(word, validate=True)
    except binascii.Error:
        return b""


def _key_type(blob: bytes) -> str:
    """The name a public key's encoding begins with (RFC 4253 section 6.6)."""
    size = int.from_bytes(blob[:4], "big")
    return blob[4 : 4 + size].decode("ascii", "replace")


def _names(host: Host, peer: str) -> tuple[bytes, ...]:
    plain = dict.fromkeys((host.name, host.address, peer))
    if host.port == 22:
        return tuple(name.encode() for name in plain)
    return tuple(f"[{name}]:{host.port}".encode() for name in plain)


def _matches(entry: str, names: tuple[bytes, ...]) -> bool:
    """OpenSSH's HashKnownHosts: ``|1|salt|HMAC-SHA1(salt, name)``, both base64 (sshd(8), SSH_KNOWN_HOSTS)."""
    words = entry.split("|")
    if len(words) != 4:
        return False
    salt, digest = _blob(words[2]), _blob(words[3])
    return any(hmac.compare_digest(hmac.digest(salt, name, "sha1"), digest) for name in names)
