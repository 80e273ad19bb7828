"""Turns simulated hosts into the files an operator has: a key, a known_hosts file and an inventory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from fleet.lab.describe import HostDescription
from fleet.lab.private import write_private
from fleet.lab.windows import WindowsLogin
from fleet.model.words import OS, Become, Connection, Scheme, WinrmAuth

USER = "ops"
KEY_FILE = "ops_ed25519"
KNOWN_HOSTS_FILE = "known_hosts"
INVENTORY_FILE = "inventory.yaml"
WINDOWS_PASSWORD_FILE = "windows_password"  # noqa: S105 (a name, and not that of a host named windows)
ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsHandout:
    """What an operator has of the Windows hosts together: a password, and files beside the inventory, ""
    where no host needs one."""

    password: str
    ca_file: str
    client_cert: str
    client_key: str


def write_known_hosts(folder: Path, keys: Iterable[tuple[int, bytes]]) -> Path:
    """Entries for port and public key (OpenSSH's form) on loopback."""
    path = folder / KNOWN_HOSTS_FILE
    lines = (f"[{ADDRESS}]:{port} {key.decode().strip()}\n" for port, key in keys)
    write_private(path, "".join(lines).encode())
    return path


def write_inventory(
    folder: Path,
    hosts: Sequence[HostDescription],
    ports: Mapping[str, int],
    windows: WindowsHandout | None = None,
) -> Path:
    """The inventory of these hosts, with the files their passwords are in beside it. ``windows`` is given
    where one of them is reached over WinRM."""
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
        "hosts": {
            host.name: {"address": ADDRESS, "port": ports[host.name]}
            | _reached(host, windows, folder)
            | _own_labels(host, shared[host.group])
            for host in hosts
        },
    }
    if windows:
        write_private(folder / WINDOWS_PASSWORD_FILE, windows.password.encode())
    path = folder / INVENTORY_FILE
    write_private(path, yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False).encode())
    return path


def _group(hosts: Sequence[HostDescription], labels: Mapping[str, str]) -> dict[str, object]:
    shared: dict[str, object] = {"vars": {"labels": dict(labels)}} if labels else {}
    return shared | {"hosts": [host.name for host in hosts]}


def _shared_labels(hosts: Sequence[HostDescription]) -> dict[str, str]:
    common = set(hosts[0].labels).intersection(*(host.labels for host in hosts))
    return {key: value for key, value in hosts[0].labels if (key, value) in common}


def _own_labels(host: HostDescription, shared: Mapping[str, str]) -> dict[str, object]:
    own = {key: value for key, value in host.labels if key not in shared}
    return {"labels": own} if own else {}


def _reached(host: HostDescription, shared: WindowsHandout | None, folder: Path) -> dict[str, object]:
    if host.windows is None:
        return _over_ssh(host, folder)
    if host.windows.login.connection is Connection.WINRM:
        assert shared is not None
        return _over_winrm(host, host.windows.login, shared, folder)
    return _windows_over_ssh(host, host.windows.login, folder)


def _windows_over_ssh(host: HostDescription, login: WindowsLogin, folder: Path) -> dict[str, object]:
    entry: dict[str, object] = {"os": OS.WINDOWS.value, "user": login.user}
    if login.password:
        write_private(folder / f"{host.name}.password", login.password.encode())
        entry["password"] = f"file:{host.name}.password"
    return entry


def _over_ssh(host: HostDescription, folder: Path) -> dict[str, object]:
    login = host.login
    entry: dict[str, object] = {}
    if login.become is not Become.SHELL:
        entry["become"] = login.become.value
    for key, value in (("password", login.password), ("become_password", login.sudo_password)):
        if value:
            write_private(folder / f"{host.name}.{key}", value.encode())
            entry[key] = f"file:{host.name}.{key}"
    return entry


def _over_winrm(
    host: HostDescription, login: WindowsLogin, shared: WindowsHandout, folder: Path
) -> dict[str, object]:
    password = WINDOWS_PASSWORD_FILE
    if login.password:
        password = f"{host.name}.password"
        write_private(folder / password, login.password.encode())
    entry: dict[str, object] = {
        "connection": "winrm",
        "scheme": login.scheme.value,
        "auth": login.auth.value,
    }
    if login.auth is WinrmAuth.CERTIFICATE:
        entry |= {"client_cert": shared.client_cert, "client_key": shared.client_key}
    else:
        entry |= {"user": login.user, "password": f"file:{password}"}
    if login.scheme is Scheme.HTTPS:
        entry["ca_file"] = shared.ca_file
    if login.configuration:
        entry["configuration_name"] = login.configuration
    return entry
