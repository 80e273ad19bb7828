"""What a file says in several places about a host into one flat Host: defaults < group < subgroup < host."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from fleet.inventory.document import Mistakes
from fleet.inventory.tree import Entry, Group, Tree
from fleet.inventory.variables import (
    BECOMES,
    LABEL,
    NO_BECOME,
    SSH_ONLY,
    Layer,
    Secret,
    Setting,
    becomes,
    is_sound,
    value_of,
)
from fleet.inventory.winrm import WINRM_ONLY, WinrmBuilder, needs_user, winrm_faults
from fleet.model.host import Host, SecretRef, Winrm
from fleet.model.words import OS, Become, Connection, HostKeyPolicy
from fleet.parse.nodeset import fold

_MAX_LINES = 50
_MAX_NAMES = 300
_NO_USER = "connection ssh needs a user"
_NO_CREDENTIAL = "connection ssh needs key_file (a path, or ssh-agent) or password"
_NO_SHELL = (
    "become_password is used with become: shell only; become: reads needs the NOPASSWD rules that "
    "'fleet privileges sudoers' prints"
)
LOCAL = (
    "password",
    "become_password",
    "key_file",
    "auth",
    "keytab",
    "ca_file",
    "client_cert",
    "client_key",
)
"""Variables that need something of the machine fleet runs on."""


@dataclass(frozen=True, slots=True)
class _Clash:
    """Two groups, neither within the other, that give one variable different values."""

    variable: str
    one: Group
    other: Group

    def text(self, names: str) -> str:
        one, other = (
            f"group {group.name!r} (line {group.layer[self.variable].line})"
            for group in (self.one, self.other)
        )
        return f"{self.variable} of {names}: {one} contradicts {other}; set it for the host to decide"


@dataclass(frozen=True, slots=True)
class _Merged:
    """What one combination of groups gives its hosts."""

    groups: tuple[str, ...]
    layer: Layer
    clashes: tuple[_Clash, ...]


class Resolver:
    """Resolves the hosts of one tree and notes what is wrong with them."""

    def __init__(self, tree: Tree, known_hosts: str, mistakes: Mistakes) -> None:
        self._tree = tree
        self._known_hosts = known_hosts
        self._mistakes = mistakes
        self.lines: dict[str, dict[str, int]] = {}
        """Of each host where its variables of ``LOCAL`` are set."""
        self.ssh_logins: dict[int, list[str]] = defaultdict(list)
        """Hosts over WinRM with a user meant for hosts over SSH, as it looks, by its line."""
        self._winrm = WinrmBuilder()
        self._merged: dict[tuple[int, ...], _Merged] = {}
        self._clashes: dict[_Clash, list[str]] = defaultdict(list)
        self._faults: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))

    def resolve(self) -> tuple[Host, ...]:
        """The hosts in the file's order. Mistakes are only noted: settle them before using the hosts."""
        hosts = tuple(self._host(entry) for entry in self._tree.entries)
        for clash, names in self._clashes.items():
            self._mistakes.add(
                clash.other.layer[clash.variable].line, clash.text(named(names)), clash.variable
            )
        for text, lines in self._faults.items():
            self._report(text, lines)
        return hosts

    def _report(self, text: str, lines: dict[int, list[str]]) -> None:
        """One fault by line; a forgotten default must not print a line for each of 20,000 hosts."""
        rest = iter(lines.items())
        for line, names in islice(rest, _MAX_LINES):
            self._mistakes.add(line, f"{named(names)}: {text}")
        more = list(rest)
        if more:
            self._mistakes.add(more[0][0], f"{named([name for _, names in more for name in names])}: {text}")

    def _host(self, entry: Entry) -> Host:
        key = tuple(group.order for group in entry.groups)
        merged = self._merged.get(key)
        if merged is None:
            merged = self._merged[key] = _merge_groups(entry.groups)
        own = self._own(entry)
        for clash in merged.clashes:
            if clash.variable not in own:
                self._clashes[clash].append(entry.name)
        layer = {**self._tree.defaults, **merged.layer, **own}
        host = self._built(entry.name, layer, merged.groups)
        self.lines[host.name] = {variable: layer[variable].line for variable in LOCAL if variable in layer}
        if needs_user(host) and self._has_ssh_login(layer, entry):
            self.ssh_logins[layer["user"].line].append(host.name)
        for fault, line in _faults(host, layer, own, entry.line):
            self._faults[fault][line].append(host.name)
        return host

    def _has_ssh_login(self, layer: Layer, entry: Entry) -> bool:
        """Whether the user, of no domain, comes from where things are set that only SSH uses."""
        user = layer.get("user")
        if user is None or set(value_of(layer, "user", str, "@")) & set("@\\"):
            return False
        above = (self._tree.defaults, *(group.layer for leaf in entry.groups for group in leaf.chain))
        return any(source.get("user") is user and source.keys() & set(SSH_ONLY) for source in above)

    def _built(self, name: str, layer: Layer, groups: tuple[str, ...]) -> Host:
        if value_of(layer, "connection", Connection, Connection.SSH) is not Connection.WINRM:
            return _shell_host(name, layer, groups, self._known_hosts)
        winrm, port = self._winrm.build(layer, name)
        return _winrm_host(name, layer, groups, winrm, port)

    def _own(self, entry: Entry) -> Layer:
        if len(entry.layers) == 1:
            return entry.layers[0]
        own: Layer = {}
        for layer in entry.layers:
            for variable, setting in layer.items():
                first = own.setdefault(variable, setting)
                if _contradict(first, setting):
                    text = f"{variable} of {entry.name} contradicts line {first.line}"
                    self._mistakes.add(setting.line, text, variable)
        return own


def _merge_groups(direct: list[Group]) -> _Merged:
    groups = sorted({group for leaf in direct for group in leaf.chain}, key=lambda group: group.order)
    holders: dict[str, list[Group]] = {}
    for group in groups:
        for variable in group.layer:
            outside = [held for held in holders.get(variable, ()) if held not in group.chain]
            holders[variable] = [*outside, group]
    clashes = tuple(clash for variable, held in holders.items() for clash in _clashes(variable, held))
    layer = {variable: held[0].layer[variable] for variable, held in holders.items()}
    return _Merged(tuple(group.name for group in groups), layer, clashes)


def _clashes(variable: str, held: list[Group]) -> Iterator[_Clash]:
    first = held[0]
    for other in held[1:]:
        if _contradict(first.layer[variable], other.layer[variable]):
            yield _Clash(variable, first, other)


def _contradict(one: Setting, other: Setting) -> bool:
    return None not in (one.value, other.value) and one.value != other.value


def _shell_host(name: str, layer: Layer, groups: tuple[str, ...], known_hosts: str) -> Host:
    connection = value_of(layer, "connection", Connection, Connection.SSH)
    # The machine fleet runs on is none of Windows.
    is_windows = connection is Connection.SSH and value_of(layer, "os", OS, OS.LINUX) is OS.WINDOWS
    policy = value_of(layer, "host_key_policy", HostKeyPolicy, HostKeyPolicy.STRICT)
    needs_known_hosts = connection is Connection.SSH and policy is not HostKeyPolicy.OFF
    return Host(
        name=name,
        address=value_of(layer, "address", str, name),
        port=value_of(layer, "port", int, 22),
        connection=connection,
        os=OS.WINDOWS if is_windows else OS.LINUX,
        user=value_of(layer, "user", str, ""),
        key_file=value_of(layer, "key_file", str, None),
        password=_secret(layer, "password", name),
        become=Become.NONE if is_windows else value_of(layer, "become", Become, Become.NONE),
        become_password=None if is_windows else _secret(layer, "become_password", name),
        known_hosts=value_of(layer, "known_hosts", str, known_hosts if needs_known_hosts else None),
        host_key_policy=policy,
        tier0=is_windows and value_of(layer, "tier0", bool, False),
        groups=groups,
        labels=_labels(layer),
    )


def _winrm_host(name: str, layer: Layer, groups: tuple[str, ...], winrm: Winrm, port: int) -> Host:
    return Host(
        name=name,
        address=value_of(layer, "address", str, name),
        port=port,
        connection=Connection.WINRM,
        os=OS.WINDOWS,
        user=value_of(layer, "user", str, ""),
        password=_secret(layer, "password", name),
        winrm=winrm,
        tier0=value_of(layer, "tier0", bool, False),
        groups=groups,
        labels=_labels(layer),
    )


def _secret(layer: Layer, variable: str, name: str) -> SecretRef | None:
    secret = value_of(layer, variable, Secret, None)
    return secret.fill(name) if secret else None


def _labels(layer: Layer) -> tuple[tuple[str, str], ...]:
    return tuple(
        sorted(
            (key[len(LABEL) :], str(setting.value)) for key, setting in layer.items() if key.startswith(LABEL)
        )
    )


def _faults(host: Host, layer: Layer, own: Layer, line: int) -> Iterator[tuple[str, int]]:
    if is_sound(layer, "connection"):
        yield from _foreign_faults(host, own)
        if is_sound(layer, "os"):
            yield from _family_faults(host, own)
    if host.connection is Connection.WINRM:
        yield from winrm_faults(host, layer, own, line)
        return
    if host.connection is Connection.SSH and is_sound(layer, "connection"):
        if "user" not in layer:
            yield _NO_USER, line
        if not layer.keys() & {"key_file", "password"}:
            yield _NO_CREDENTIAL, line
    if host.become_password and host.become is not Become.SHELL and is_sound(layer, "become"):
        yield _NO_SHELL, layer["become_password"].line


def _foreign_faults(host: Host, own: Layer) -> Iterator[tuple[str, int]]:
    """What its own entry says and its connection does not use; inherited, it would be meant for others."""
    is_windows = host.connection is Connection.WINRM
    for variable in SSH_ONLY if is_windows else WINRM_ONLY:
        # Where the entry itself says os: windows, it was told as that was read.
        is_told = variable in BECOMES and value_of(own, "os", OS, None) is OS.WINDOWS
        if variable in own and own[variable].value is not None and not is_told:
            theirs = "ssh" if is_windows else "winrm"
            hint = "; over winrm the account's own rights count" if variable.startswith("become") else ""
            text = f"{variable} is for connection: {theirs}, and this is {host.connection}{hint}"
            yield text, own[variable].line


def _family_faults(host: Host, own: Layer) -> Iterator[tuple[str, int]]:
    """What its own entry says and hosts of its family have no use for."""
    told = value_of(own, "os", OS, host.os)
    if told is not host.os:
        yield f"os: {told} is not for connection: {host.connection}", own["os"].line
    if host.os is OS.LINUX and "tier0" in own and own["tier0"].value is not None:
        yield "tier0 is for Windows hosts: os: windows, or connection: winrm", own["tier0"].line
    if host.os is OS.WINDOWS and host.connection is Connection.SSH and "os" not in own:
        yield from ((f"{variable} {NO_BECOME}", line) for variable, line in becomes(own))


def named(names: Sequence[str]) -> str:
    """Host names for a message: folded, or the first and a number where that is too long."""
    folded = fold(names)
    return folded if len(folded) <= _MAX_NAMES else f"{names[0]} and {len(names) - 1:,} more hosts"
