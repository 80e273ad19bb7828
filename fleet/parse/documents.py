"""JSON objects out of text that holds other things as well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

MAX_TRIES = 64
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
