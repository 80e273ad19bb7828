"""Raw log bytes to the places worth reading: one pass over literals, whatever the number of rules.

Two looks with the same literals. ``Anchors`` finds the lines of a log that are worth decoding: one of a
rule's anchors is in the raw line of whatever the rule matches. ``AnchorIndex`` tells which anchors a decoded
record holds: of a thousand rules only the few whose anchors they are need to be tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import product
from typing import Any

import hyperscan
import re2

LONG_LINE = 4096
HEAD = 1024

# A part of a long line is read this far behind a mark in it, or there is a further part for that mark.
_BEHIND = 512
_MAX_LITERAL = 64

_BORDERS = (
    b"agent version:",
    b"agent command:",
    b"exit code",
    b"level=fatal",
    b"successfully onboarded resource to azure",
    b"connected machine to azure",
    b"successfully disconnected",
    *(b"azcm%d" % digit for digit in range(10)),
    *(b"azcmagent" + b"".join(end) for end in product((b"", b".exe"), (b"", b'"', b"'"), (b" ", b"\t"))),
    # RE2 takes these two for an s and a k.
    "\u017f".encode(),
    "\u212a".encode(),
)
_CASED = (b"FATA",)
_MAX_MEM = 64 << 20
# What is found in a block is held until it is read. hs_scan takes no more than 4 GiB at once.
_BLOCK = 1 << 20
_SPAN = 1 << 30
# So many hits that tell nothing new, and so far to go until one may: then it is cheaper to begin anew there.
_IDLE_HITS = 32
_IDLE_BYTES = 512

_OnHit = Callable[[int, int, int, int, object], bool | None]


def compile_bytes(pattern: bytes) -> re2._Regexp:
    """An RE2 expression on raw bytes: linear in the text, silent about what it cannot parse."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.max_mem = _MAX_MEM
    return re2.compile(pattern, options)


class Marks:
    """Literals, sought in raw bytes without regard to case (of ASCII), ``cased`` ones with. At least one.

    Immutable and safe to share. Empty literals are ignored.
    """

    __slots__ = ("_literals", "_reach")

    def __init__(self, literals: Iterable[bytes], cased: tuple[bytes, ...] = ()) -> None:
        wanted = tuple(sorted({literal[:_MAX_LITERAL] for literal in literals if literal}))
        self._literals = _compiled(wanted, cased)
        self._reach = max(map(len, (*wanted, *cased))) - 1

    def places(self, data: bytes) -> Iterator[tuple[int, int, int]]:
        """Of each line with a mark: where it begins, and from where to where it is worth reading.

        That is all of the line, but of one with more than ``LONG_LINE`` bytes a part around the mark, and
        another part for the next mark that is not well within the last. A carriage return ends a line too.
        Linear in the data, however crowded.
        """
        walk = _Walk(data)
        view = memoryview(data)
        start = 0
        while start < len(data):
            stop = start + _BLOCK
            walk.base = start
            is_through = self._literals.scan(view[start:stop], walk.meet)
            found, walk.found = walk.found, []
            yield from found
            # A literal may lie across the end of what is done.
            start = max(start + 1, (stop if is_through else walk.done) - self._reach)
            if is_through and stop >= len(data):
                return


class Anchors(Marks):
    """The literals of the rules and the borders that the parser of logs itself needs; one of them a pack."""

    __slots__ = ()

    def __init__(self, literals: Iterable[str]) -> None:
        super().__init__((*_BORDERS, *map(_encoded, literals)), _CASED)


class Words:
    """Which of some words raw bytes hold, without regard to case: one search for all who look for one."""

    __slots__ = ("_literals", "_words")

    def __init__(self, words: Iterable[bytes]) -> None:
        self._words = tuple(sorted(set(words)))
        self._literals = _compiled(self._words, once=True)

    def found(self, data: bytes) -> set[bytes]:
        """Those that are in the bytes."""
        met: set[bytes] = set()
        view = memoryview(data)
        reach = max(map(len, self._words)) - 1
        for start in range(0, len(data), _SPAN - reach):
            self._literals.scan(view[start : start + _SPAN], lambda number, *_: met.add(self._words[number]))
        return met


class AnchorIndex:
    """Which of many anchors a text holds. Immutable and safe to share."""

    __slots__ = ("_anchors", "_literals")

    def __init__(self, anchors: Iterable[str]) -> None:
        self._anchors = tuple(sorted({anchor for anchor in anchors if anchor}))
        self._literals = _compiled(tuple(map(_encoded, self._anchors)), once=True) if self._anchors else None

    def found(self, text: str) -> set[str]:
        """The anchors that are in the text when it is folded."""
        met: set[str] = set()
        if self._literals is not None:
            folded = text.casefold().encode("utf-8", "replace")
            self._literals.scan(folded, lambda number, *_: met.add(self._anchors[number]))
        return met


class _Literals:
    """Literals compiled for one scan. Each scan has a scratch of its own, as hyperscan asks for."""

    __slots__ = ("_database", "_spare")

    def __init__(self, folded: tuple[bytes, ...], cased: tuple[bytes, ...], once: bool) -> None:
        literals = [*folded, *cased]
        flags = [hyperscan.HS_FLAG_CASELESS] * len(folded) + [0] * len(cased)
        # A literal that was met is not looked for again.
        flags = [flag | hyperscan.HS_FLAG_SINGLEMATCH for flag in flags] if once else flags
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(expressions=literals, flags=flags, literal=True)
        self._spare: list[hyperscan.Scratch] = []

    def scan(self, data: bytes | memoryview, meet: _OnHit) -> bool:
        """Call ``meet`` for each hit, with the literal's number first and the end of the hit third, in order
        of the ends; False when it ended the scan by saying true."""
        buffer: Any = data  # The stubs know no memoryview.
        try:
            scratch = self._spare.pop()
        except IndexError:
            scratch = hyperscan.Scratch(self._database)
        try:
            self._database.scan(buffer, match_event_handler=meet, scratch=scratch)
        except hyperscan.ScanTerminated:
            return False
        finally:
            self._spare.append(scratch)
        return True


def _encoded(literal: str) -> bytes:
    return literal.encode("utf-8", "replace")[:_MAX_LITERAL]


@lru_cache(maxsize=8)
def _compiled(folded: tuple[bytes, ...], cased: tuple[bytes, ...] = (), once: bool = False) -> _Literals:
    return _Literals(folded, cased, once)


def part_around(start: int, place: int, end: int) -> tuple[int, int]:
    """From where to where a line is worth reading because of what is at ``place``."""
    if end - start <= LONG_LINE:
        return start, end
    if place - start <= LONG_LINE - _BEHIND:
        return start, start + LONG_LINE
    low = place - HEAD
    return low, min(end, low + LONG_LINE - HEAD)


class _Walk:
    """From mark to mark through the lines of a text; no byte is looked at twice for the end of a line."""

    __slots__ = ("_data", "_end", "_feed", "_idle", "_start", "base", "done", "found")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._start = self._end = self._feed = -1
        self._idle = 0
        self.base = 0
        self.done = 0
        self.found: list[tuple[int, int, int]] = []

    def meet(self, _number: int, _from: int, end: int, _flags: int, _context: object) -> bool:
        """Take one hit; true when the scan is better begun anew at ``done``."""
        place = self.base + end
        if place <= self.done:
            self._idle += 1
            return self._idle > _IDLE_HITS and self.done - place > _IDLE_BYTES
        self._idle = 0
        if place > self._end:
            self._enter_line(place)
        low, high = part_around(self._start, place, self._end)
        self.done = high if high == self._end else high - _BEHIND
        self.found.append((self._start, low, high))
        return False

    def _enter_line(self, place: int) -> None:
        data, before = self._data, self._end + 1
        start = data.rfind(b"\n", before, place) + 1 or before
        self._start = data.rfind(b"\r", start, place) + 1 or start
        if self._feed < place:
            feed = data.find(b"\n", place)
            self._feed = feed if feed >= 0 else len(data)
        end = data.find(b"\r", place, self._feed)
        self._end = end if end >= 0 else self._feed
