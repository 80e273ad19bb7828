"""Reads the nodes of a YAML text as plain values, gathering every mistake with its line."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

import yaml

from fleet.errors import Mistake, OperatorError

_BINARY = "tag:yaml.org,2002:binary"
_W = TypeVar("_W", bound=StrEnum)


class DescriptionError(OperatorError):
    """All mistakes of one description at once, each with file and line."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


class Reader:
    """Reads nodes as text, gathering mistakes and going on with harmless values."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.mistakes: list[Mistake] = []

    def wrong(self, node: yaml.Node | None, text: str) -> None:
        line = node.start_mark.line + 1 if node else 0
        self.mistakes.append(Mistake(path=self.path, line=line, text=text))

    def fields(self, node: yaml.Node | None, allowed: Iterable[str] | None) -> dict[str, yaml.Node]:
        """The entries of a mapping; keys not ``allowed`` (None: any) and doubled keys are mistakes."""
        if not isinstance(node, yaml.MappingNode):
            self.wrong(node, "expected a mapping")
            return {}
        known = None if allowed is None else set(allowed)
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            word = self.text(key)
            if word in found:
                self.wrong(key, f"{word!r} stands here twice")
            if known is not None and word not in known:
                self.wrong(key, f"unknown key {word!r}; known are {', '.join(sorted(known))}")
            found[word] = value
        return found

    def text(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.ScalarNode):
            return str(node.value)
        self.wrong(node, "expected a text")
        return ""

    def content(self, node: yaml.Node) -> bytes:
        """The bytes of a text, or of base64 (``!!binary``)."""
        text = self.text(node)
        if node.tag != _BINARY:
            return text.encode()
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            self.wrong(node, "expected base64")
            return b""

    def flag(self, node: yaml.Node) -> bool:
        word = self.text(node)
        if word not in ("true", "false"):
            self.wrong(node, f"expected true or false, not {word!r}")
        return word == "true"

    def number(self, node: yaml.Node) -> int:
        word = self.text(node)
        if word.isascii() and word.isdigit():
            return int(word)
        self.wrong(node, f"expected a whole number, not {word!r}")
        return 0

    def word(self, kind: type[_W], node: yaml.Node) -> _W:
        text = self.text(node)
        if text in list(kind):
            return kind(text)
        self.wrong(node, f"expected one of {', '.join(kind)}, not {text!r}")
        return next(iter(kind))

    def items(self, node: yaml.Node) -> tuple[yaml.Node, ...]:
        """Those of a list."""
        if isinstance(node, yaml.SequenceNode):
            return tuple(node.value)
        self.wrong(node, "expected a list")
        return ()

    def texts(self, node: yaml.Node) -> tuple[str, ...]:
        return tuple(map(self.text, self.items(node)))

    def pairs(self, node: yaml.Node, allowed: Iterable[str] | None = None) -> tuple[tuple[str, str], ...]:
        return tuple((key, self.text(value)) for key, value in self.fields(node, allowed).items())
