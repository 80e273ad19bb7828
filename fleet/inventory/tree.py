"""An inventory's nodes into its groups and, for each host, every place that says something about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from fleet.inventory.document import FORM, Mapping, Mistakes, Node, Scalar, Sequence, entries
from fleet.inventory.variables import (
    SSH_ONLY,
    VARIABLE_NAMES,
    Layer,
    Places,
    nearest,
    parse_layer,
    suggest,
    value_of,
    visible,
)
from fleet.model.words import Connection
from fleet.parse.nodeset import expand

MAX_MENTIONS = 1_000_000
"""How many names, ranges expanded, one inventory may mention in all."""

_NAME = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:-]*")
_TOP_KEYS = ("defaults", "groups", "hosts")
_ANSIBLE_KEYS = frozenset(("hosts", "children", "vars"))
_GROUP_KEYS = ("vars", "hosts", "groups")


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A group; ``chain`` leads from its outermost group to itself, ``order`` counts in the file's order."""

    name: str
    line: int
    order: int
    layer: Layer
    parent: Group | None

    @property
    def chain(self) -> tuple[Group, ...]:
        """From the outermost group to this one."""
        return (*(self.parent.chain if self.parent else ()), self)


@dataclass(frozen=True, slots=True)
class Entry:
    """A host as mentioned: where first, directly in which groups, with which variables of its own."""

    name: str
    line: int
    groups: list[Group] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tree:
    """All that a file says, hosts in the order of their first mention.

    ``is_empty`` when the file does not even try to name a host.
    """

    defaults: Layer
    entries: tuple[Entry, ...]
    is_empty: bool


def parse_tree(root: Mapping, places: Places, mistakes: Mistakes) -> Tree:
    """The file's groups and hosts; what is wrong is noted and left out."""
    nodes = _keyed(root, "the inventory", _TOP_KEYS, mistakes)
    reader = _Reader(places, mistakes)
    defaults = nodes.get("defaults")
    layer = parse_layer(defaults, "defaults", places, mistakes) if defaults else {}
    if "groups" in nodes:
        reader.read_groups(nodes["groups"], None)
    if "hosts" in nodes:
        reader.read_hosts(nodes["hosts"], None)
    return Tree(layer, tuple(reader.entries.values()), not reader.has_mentions)


def _keyed(node: Node, what: str, keys: tuple[str, ...], mistakes: Mistakes) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for key, value in entries(node, what, mistakes):
        if key.text in keys:
            found[key.text] = value
        else:
            name = visible(key.text)
            hint = _hint(name, value, keys)
            mistakes.add(key.line, f"{what} has no key {name!r}{hint}", name)
            # Read as what was meant, so that nothing else is wrong for want of it.
            if meant := nearest(name, keys):
                found.setdefault(meant, value)
    return found


def _hint(name: str, value: Node, keys: tuple[str, ...]) -> str:
    if name in VARIABLE_NAMES:
        return "; variables stand under " + ("vars" if "vars" in keys else "defaults")
    if _is_ansible(name, value, keys):
        return f": this looks like an Ansible inventory; {FORM}"
    return suggest(name, keys)


def _is_ansible(name: str, value: Node, keys: tuple[str, ...]) -> bool:
    """Whether it is a group where only Ansible has one, or holds groups as only Ansible says it."""
    inner = (
        {key.text for key in value.items[::2] if isinstance(key, Scalar)}
        if isinstance(value, Mapping)
        else ()
    )
    at_top = keys is _TOP_KEYS
    return name == "children" or (at_top and (name == "all" or not _ANSIBLE_KEYS.isdisjoint(inner)))


class _Reader:
    def __init__(self, places: Places, mistakes: Mistakes) -> None:
        self.entries: dict[str, Entry] = {}
        self.has_mentions = False
        self._groups: dict[str, Group] = {}
        self._mentions = 0
        self._places = places
        self._mistakes = mistakes

    def read_groups(self, node: Node, parent: Group | None) -> None:
        # A name is read once and the document bounds the nesting, so aliases can't multiply the work.
        for key, value in entries(node, "groups", self._mistakes):
            known = self._groups.get(key.text)
            if known:
                where = f"first in line {known.line}"
                self._mistakes.add(key.line, f"the group {key.text!r} is defined twice, {where}", key.text)
            elif self._is_name(key.text, key.line):
                self._read_group(key, value, parent)

    def _read_group(self, key: Scalar, node: Node, parent: Group | None) -> None:
        what = f"the group {key.text!r}"
        nodes = _keyed(node, what, _GROUP_KEYS, self._mistakes)
        layer: Layer = {}
        if "vars" in nodes:
            layer = parse_layer(nodes["vars"], f"vars of {what}", self._places, self._mistakes)
            self._check_connection(layer, what)
        group = Group(key.text, key.line, len(self._groups), layer, parent)
        self._groups[key.text] = group
        if "hosts" in nodes:
            self.read_hosts(nodes["hosts"], group)
        if "groups" in nodes:
            self.read_groups(nodes["groups"], group)

    def _check_connection(self, layer: Layer, what: str) -> None:
        """What stands beside the connection that has no use for it; in defaults it may be for other hosts."""
        if value_of(layer, "connection", Connection, None) is not Connection.WINRM:
            return
        for variable in SSH_ONLY:
            if variable in layer and layer[variable].value is not None:
                text = f"{variable} is for connection: ssh, and {what} is winrm"
                self._mistakes.add(layer[variable].line, text, variable)

    def read_hosts(self, node: Node, group: Group | None) -> None:
        """Hosts as a list of names and ranges, or as a mapping of them to variables."""
        if isinstance(node, Sequence):
            for item in node.items:
                self._mention_item(item, group)
            return
        for key, value in entries(node, "hosts", self._mistakes):
            layer = parse_layer(value, f"the entry of {key.text!r}", self._places, self._mistakes)
            self._mention(key, group, layer)

    def _mention_item(self, item: Node, group: Group | None) -> None:
        if isinstance(item, Scalar):
            self._mention(item, group, {})
        else:
            self.has_mentions = True
            self._mistakes.add(
                item.line, 'a list of hosts holds names and ranges; quote a range: "web[01:40]"'
            )

    def _mention(self, pattern: Scalar, group: Group | None, layer: Layer) -> None:
        self.has_mentions = True
        for name in self._names(pattern):
            entry = self.entries.get(name)
            if entry is None:
                entry = self.entries[name] = Entry(name, pattern.line)
            if group and not (entry.groups and entry.groups[-1] is group):
                entry.groups.append(group)
            if layer:
                entry.layers.append(layer)

    def _names(self, pattern: Scalar) -> Iterator[str]:
        try:
            names = tuple(expand(pattern.text))
        except ValueError as exc:
            self._mistakes.add(pattern.line, f"hosts: {exc}", pattern.text)
            return
        self._mentions += len(names)
        if self._mentions > MAX_MENTIONS:
            self._mistakes.add(pattern.line, f"the inventory mentions more than {MAX_MENTIONS:,} names")
            self._mistakes.settle()
        # Ranges put only digits into a name: the first of them tells for all.
        if self._is_name(names[0], pattern.line):
            yield from names

    def _is_name(self, name: str, line: int) -> bool:
        if _NAME.fullmatch(name):
            return True
        rule = "letters, digits and _ . : - are allowed, no dash or dot in front"
        self._mistakes.add(line, f"{name[:80]!r} is not a name: {rule}", name)
        return False
