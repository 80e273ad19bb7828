"""JSON objects out of text that holds other things as well, and their values by the type that is wanted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fleet.parse.text import clean, decode

MAX_TRIES = 64
# As long as a policy's list of cipher suites may be.
_MAX_TEXT = 8192
_MAX_TEXTS = 400
_MAX_NUMBER = 10**15
_DECODER = json.JSONDecoder()


class Found(NamedTuple):
    """An object and where in the text it stands."""

    start: int
    end: int
    members: dict[str, object]


def json_objects(text: str) -> Iterator[Found]:
    """The outermost objects in ``text`` in order; a bounded number of braces is tried.

    What follows a brace that begins no object, up to a line that begins with one, is not looked at: in a
    damaged document it would be a part mistaken for the whole.
    """
    at = text.find("{")
    for _ in range(MAX_TRIES):
        if at < 0:
            return
        try:
            members, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            at = text.find("\n{", at) + 1 or -1
            continue
        yield Found(at, end, members)
        at = text.find("{", end)


@dataclass(frozen=True, slots=True)
class Members:
    """An object of unknown make. What is of another type than it is asked for is not there: "" or None."""

    values: Mapping[str, object]

    def text(self, key: str) -> str:
        """A text, cut to a length that every reader can bear."""
        return _text(self.values.get(key))

    def number(self, key: str) -> int | None:
        """A whole number that is not absurdly large."""
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            return None
        return value if abs(value) < _MAX_NUMBER else None

    def flag(self, key: str) -> bool | None:
        """True or false."""
        value = self.values.get(key)
        return value if isinstance(value, bool) else None

    def texts(self, key: str) -> tuple[str, ...] | None:
        """The texts and numbers of a list, as texts; a single one stands for a list of one."""
        value = self.values.get(key)
        entries = value if isinstance(value, list) else [value] if isinstance(value, str) else None
        if entries is None:
            return None
        return tuple(_text(str(e) if isinstance(e, int) else e) for e in entries[:_MAX_TEXTS])

    def members(self, key: str) -> Members:
        """An object within it, empty when there is none."""
        value = self.values.get(key)
        return Members(value if isinstance(value, dict) else {})

    def entries(self) -> Iterator[tuple[str, Members]]:
        """Its objects by their keys."""
        return ((_text(key), self.members(key)) for key in list(self.values)[:_MAX_TEXTS])


def read_objects(data: bytes) -> tuple[Members, ...]:
    """The objects of a list, or the one that stands alone; of a list that was cut those that are whole."""
    return tuple(Members(found.members) for found in json_objects(decode(data)))


def read_object(data: bytes) -> Members:
    """The first object, empty when there is none."""
    return next(iter(read_objects(data)), Members({}))


def _text(value: object) -> str:
    return clean(value)[:_MAX_TEXT].strip() if isinstance(value, str) else ""
