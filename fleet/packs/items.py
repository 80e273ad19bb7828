"""A pack's ``items.yaml`` into the items a visit reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from fleet.errors import Mistake
from fleet.model.pack import Item
from fleet.model.words import OS
from fleet.packs.document import Document

WHEN = ("always", "failed", "not-connected")

_REQUIRED = frozenset({"name", "argv"})
_FAMILIES = frozenset(family.value for family in OS)
_OPTIONAL = frozenset({"needs_root", "when", "timeout_s", "max_bytes", "newest", "required"})
_NAME = re.compile(r"[a-z][a-z0-9._-]*")
# An item travels unquoted as one word, its fields joined with ":" and its argv with "@"; a date format begins
# with "+". "{}" and ";", which a shell would eat, travel as "=f" and "=e".
_WORD = re.compile(r"(?!=[ef]\Z)\+?[A-Za-z0-9_./=,%-]+|\{\}|;")
# On Windows each item is an argument of its own, its fields joined with "|".
_WINDOWS_WORD = re.compile(r"[A-Za-z0-9_.,%*\\:-][A-Za-z0-9_.,%*\\: -]*")


def load_items(path: Path) -> tuple[tuple[Item, ...], list[Mistake]]:
    """The items in the order they are read, with every mistake of the file."""
    document = Document(path)
    root = document.compose()
    families = document.mapping(root, frozenset(), _FAMILIES) if root else None
    items: list[Item] = []
    for family, node in (families or {}).items():
        found = tuple(_items(document, node, OS(family)))
        if found and not document.mistakes:
            _check_together(document, found)
        items += found
    return tuple(items), document.mistakes


def _items(document: Document, entries: yaml.Node, family: OS) -> Iterator[Item]:
    for node in document.sequence(entries):
        before = len(document.mistakes)
        entry = document.mapping(node, _REQUIRED, _OPTIONAL)
        if entry is None:
            continue
        item = _item(document, node, entry, family)
        if item is not None and len(document.mistakes) == before:
            yield item


def _item(document: Document, node: yaml.Node, entry: dict[str, yaml.Node], family: OS) -> Item | None:
    name = document.text(entry.get("name"))
    if name and not _NAME.fullmatch(name):
        document.complain(
            node, f"item name {name!r}: lower-case letters, digits, '.', '_' and '-' only", "name"
        )
    argv = tuple(_words(document, entry.get("argv"), family))
    when = document.text(entry.get("when")) or "always"
    if when not in WHEN:
        document.complain(node, f"when is one of {', '.join(WHEN)}, not {when!r}", "when")
    if not argv:
        return None
    return Item(
        name=name,
        argv=argv,
        needs_root=document.flag(entry.get("needs_root")),
        when=when,
        timeout_s=document.number(entry.get("timeout_s"), 10),
        max_bytes=document.number(entry.get("max_bytes"), 65536),
        newest=document.flag(entry.get("newest")),
        required=document.flag(entry.get("required")),
        os=family,
    )


def _words(document: Document, node: yaml.Node | None, family: OS) -> Iterator[str]:
    plain, reader = (_WORD, "login shell") if family is OS.LINUX else (_WINDOWS_WORD, "host")
    for word_node in document.sequence(node):
        word = document.text(word_node)
        if word and not plain.fullmatch(word):
            document.complain(word_node, f"word {word!r} would not reach every {reader} unchanged", "argv")
        yield word


def _check_together(document: Document, items: tuple[Item, ...]) -> None:
    if items[0].when == "failed":
        document.complain(None, f"item {items[0].name} is first, so none before it can fail", "when")
    if not any(item.required for item in items):
        document.complain(None, "no item is required, so a host nobody read would be HEALTHY", "required")
