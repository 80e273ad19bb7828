"""YAML text into nodes that know their lines, every scalar as the text it was written as."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from fleet.errors import InventoryError, Mistake

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 64


FORM = (
    "fleet's form is groups: {GROUP: {vars: {...}, hosts: [...]}} and"
    " hosts: {NAME: {address: ..., user: ...}}, see docs/inventory.md"
)

BACKSLASH = r"write 'DOM\user' in single quotes: in double ones YAML reads the backslash as an escape"

_INDENT = re.compile(r"\s*")
# The first line that says something.
_INI_SECTION = re.compile(r"\A(?:[ \t]*(?:[#;].*)?\n)*\[[\w:.-]+\][ \t]*\n")


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value. ``is_plain`` when it was written without quotes."""

    line: int
    text: str
    is_plain: bool

    @property
    def is_empty(self) -> bool:
        """Nothing was written, or YAML's word for it."""
        return self.is_plain and self.text in ("", "~", "null")


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    line: int
    items: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and values in turn, as they were written; keys may be doubled."""

    line: int
    items: list[Node] = field(default_factory=list)


Node = Scalar | Sequence | Mapping


class Mistakes:
    """Gathers the mistakes of one file, each once."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._found: dict[Mistake, None] = {}

    def add(self, line: int, text: str, key: str = "") -> None:
        """Note a mistake; line 0 means the file as a whole."""
        self._found[Mistake(path=self._path, line=line, text=text, key=key)] = None

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._found)

    def settle(self) -> None:
        """Raise InventoryError with all of them, by line, if there are any."""
        if self._found:
            raise InventoryError(tuple(sorted(self._found, key=lambda mistake: mistake.line)))


def load_document(path: Path, mistakes: Mistakes) -> Mapping:
    """The file's one mapping. Raises InventoryError when it cannot be had."""
    node = parse_document(_read_text(path, mistakes), mistakes)
    if node is None or (isinstance(node, Scalar) and node.is_empty):
        mistakes.add(0, "the inventory is empty")
    elif not isinstance(node, Mapping):
        mistakes.add(node.line, "an inventory is a mapping with the keys defaults, groups and hosts")
    mistakes.settle()
    assert isinstance(node, Mapping)
    return node


def _read_text(path: Path, mistakes: Mistakes) -> str:
    text = ""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            mistakes.add(0, f"the inventory is larger than {MAX_BYTES // 1024 // 1024} MiB")
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as exc:
        mistakes.add(0, _why_unreadable(exc))
    mistakes.settle()
    return text


def _why_unreadable(exc: OSError | ValueError) -> str:
    if isinstance(exc, FileNotFoundError):
        return "there is no such inventory file"
    if isinstance(exc, OSError):
        return f"the inventory cannot be read: {exc.strerror or type(exc).__name__}"
    return "the inventory is not UTF-8 text"


def parse_document(text: str, mistakes: Mistakes) -> Node | None:
    """The text's one node, None when there is none. Raises InventoryError on anything that is not YAML."""
    builder = _Builder(mistakes)
    try:
        for event in yaml.parse(text, yaml.CSafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark else 0
        mistakes.add(line, _plainly(text, line) or f"not YAML: {exc.problem or exc.context}")
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        mistakes.add(line, "not YAML: a character that YAML does not allow")
    mistakes.settle()
    return builder.root


# Within [ ] or { }, where YAML reads a bracket of its own.
_UNQUOTED = re.compile(r"[\[{,]\s*[^\s\"',\[\]{}]+\[[^\]]*\]|(?:env|file):[^\s\"']*\{")

# Only where the parser stopped: there, it is an escape that YAML does not have.
_ESCAPED = re.compile(r'"[^"\\]*\\[^"]*"')


def _plainly(text: str, line: int) -> str:
    """What is wrong where the parser's own words would puzzle, else empty."""
    written = text.splitlines()[line - 1 : line] if line else []
    if written and "\t" in _INDENT.match(written[0])[0]:  # type: ignore[index]  # matches the empty text too
        return "a tab stands in the indentation, which takes blanks only"
    if written and _UNQUOTED.search(written[0]):
        return 'not YAML: put quotes around a range, as in "web[01:40]", and around what holds {host}'
    if written and _ESCAPED.search(written[0]):
        return f"not YAML: {BACKSLASH}"
    if _INI_SECTION.search(text):
        return f"this looks like an Ansible inventory in INI form; {FORM}"
    return ""


class _Builder:
    """Builds the nodes without recursion: PyYAML's own composer overflows the C stack on deep nesting."""

    def __init__(self, mistakes: Mistakes) -> None:
        self.root: Node | None = None
        self._mistakes = mistakes
        self._open: list[tuple[Sequence | Mapping, str | None]] = []
        self._anchors: dict[str, Node] = {}
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.ScalarEvent):
            self._close(Scalar(line, event.value, not event.style), event.anchor)
        elif isinstance(event, yaml.MappingStartEvent):
            self._push(Mapping(line), event.anchor)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._push(Sequence(line), event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close(*self._open.pop())
        elif isinstance(event, yaml.AliasEvent):
            self._alias(str(event.anchor), line)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._document(line)

    def _push(self, node: Sequence | Mapping, anchor: str | None) -> None:
        self._open.append((node, anchor))
        if len(self._open) > MAX_DEPTH:
            self._mistakes.add(node.line, f"nested deeper than {MAX_DEPTH} levels")
            self._mistakes.settle()

    def _close(self, node: Node, anchor: str | None) -> None:
        # An anchor is known only from its node's end on, so no node can hold itself.
        if anchor is not None:
            self._anchors[anchor] = node
        if self._open:
            self._open[-1][0].items.append(node)
        else:
            self.root = node

    def _alias(self, anchor: str, line: int) -> None:
        if anchor not in self._anchors:
            self._mistakes.add(line, "an alias (*) of an anchor (&) that does not stand complete before it")
        self._close(self._anchors.get(anchor, Scalar(line, "", True)), None)

    def _document(self, line: int) -> None:
        self._documents += 1
        if self._documents > 1:
            self._mistakes.add(line, "a second document (---) begins here; an inventory is one document")


def entries(node: Node, what: str, mistakes: Mistakes) -> list[tuple[Scalar, Node]]:
    """The mapping's entries, doubled keys noted as mistakes and left out. Nothing written is no entries."""
    if isinstance(node, Scalar) and node.is_empty:
        return []
    if not isinstance(node, Mapping):
        mistakes.add(node.line, f"{what} must be a mapping (key: value)")
        return []
    seen: dict[str, int] = {}
    found: list[tuple[Scalar, Node]] = []
    for key, value in zip(node.items[::2], node.items[1::2], strict=True):
        if not isinstance(key, Scalar):
            mistakes.add(key.line, f"a key of {what} is not plain text")
        elif key.text in seen:
            mistakes.add(
                key.line, f"{key.text!r} stands here again, first in line {seen[key.text]}", key.text
            )
        else:
            seen[key.text] = key.line
            found.append((key, value))
    return found
