"""Turns simulated hosts into the files an operator has: a key, a known_hosts file and an inventory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml

from fleet.lab.describe import HostDescription
from fleet.model.words import Become

USER = "ops"
KEY_FILE = "ops_ed25519"
KNOWN_HOSTS_FILE = "known_hosts"
INVENTORY_FILE = "inventory.yaml"
ADDRESS = "127.0.0.1"


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner reads, from its first byte on."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(data)


def write_known_hosts(folder: Path, keys: Iterable[tuple[int, bytes]]) -> Path:
    """Entries for port and public key (OpenSSH's form) on loopback."""
    path = folder / KNOWN_HOSTS_FILE
    lines = (f"[{ADDRESS}]:{port} {key.decode().strip()}\n" for port, key in keys)
    write_private(path, "".join(lines).encode())
    return path


def write_inventory(folder: Path, hosts: Sequence[HostDescription], ports: Mapping[str, int]) -> Path:
    """The inventory of these hosts, with the files their passwords are in beside it."""
    defaults = {
        "connection": "ssh",
        "user": USER,
        "become": Become.SHELL.value,
        "key_file": KEY_FILE,
        "known_hosts": KNOWN_HOSTS_FILE,
    }
    members: dict[str, list[HostDescription]] = {}
    for host in hosts:
        members.setdefault(host.group, []).append(host)
    shared = {name: _shared_labels(group) for name, group in members.items()}
    document = {
        "defaults": defaults,
        "groups": {name: _group(group, shared[name]) for name, group in members.items()},
        "hosts": {host.name: _entry(host, shared[host.group], ports[host.name], folder) for host in hosts},
    }
    path = folder / INVENTORY_FILE
    write_private(path, yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False).encode())
    return path


def _group(hosts: Sequence[HostDescription], labels: Mapping[str, str]) -> dict[str, object]:
    shared: dict[str, object] = {"vars": {"labels": dict(labels)}} if labels else {}
    return shared | {"hosts": [host.name for host in hosts]}


def _shared_labels(hosts: Sequence[HostDescription]) -> dict[str, str]:
    common = set(hosts[0].labels).intersection(*(host.labels for host in hosts))
    return {key: value for key, value in hosts[0].labels if (key, value) in common}


def _entry(host: HostDescription, shared: Mapping[str, str], port: int, folder: Path) -> dict[str, object]:
    own = {key: value for key, value in host.labels if key not in shared}
    login = host.login
    entry: dict[str, object] = {"address": ADDRESS, "port": port}
    if login.become is not Become.SHELL:
        entry["become"] = login.become.value
    for key, value in (("password", login.password), ("become_password", login.sudo_password)):
        if value:
            write_private(folder / f"{host.name}.{key}", value.encode())
            entry[key] = f"file:{host.name}.{key}"
    return entry | ({"labels": own} if own else {})
