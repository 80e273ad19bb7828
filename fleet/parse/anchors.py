"""A rule's RE2 expression into anchors: literals one of which every line holds that the expression matches.

The expression is matched on decoded text, the anchors are looked for in the raw line. So they are made of
characters that no log writes in another way: ASCII letters (without regard to case), digits, single blanks
and most punctuation. Quotes, backslashes, ``<``, ``>``, ``&``, ``+``, ``=``, ``/`` and what is not ASCII end
one.

The parser is our own and knows RE2's syntax alone. CPython's is private and reads another language: ``\\Q``,
``\\pL``, ``[[:alpha:]]``, ``\\z`` and flags within an expression are errors there, ``{,3}`` is a repeat.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, reduce

from fleet.parse.text import PLAIN

MIN_ANCHOR = 4
GOOD_ANCHOR = 5
MAX_ANCHOR = 48

_MAX_CLASS = 16
_MAX_SET = 64
_MAX_COPIES = 8
_MAX_DEPTH = 100
_MAX_BITS = 24.0
# What every log of the agent is full of says little.
_COMMON = re.compile(
    r"microsoftonline|microsoft|windows|azcmagent|azure|management|resource|hybridcompute|machine|https?|login"
    r"|agent|connect(?:ed|ion)?|service|endpoint|error|failed|tenant|subscription|status|version"
    r"|\.com|\.net"
)
# Plain text up to where a repeat may be of its last character.
_RUN = re.compile(r"[A-Za-z0-9 ,:;_@#%!~-]+(?![*+?{(\\])")
_REPEAT = re.compile(r"[*+?]|\{(0|[1-9][0-9]{0,3})(?:(,)(0|[1-9][0-9]{0,3})?)?\}")
_GROUP = re.compile(r"\((?:\?P?<\w+>|\?:|\?[imsU]*(?:-[imsU]+)?(:|\)))?")
_PROPERTY = re.compile(r"[pP](?:\{[^}]*\}|.)", re.DOTALL)
_CODE_POINT = re.compile(r"x(?:\{([0-9A-Fa-f]{1,8})\}|([0-9A-Fa-f]{2}))|([0-7]{1,3})")
_NAMED_CLASS = re.compile(r"\[:\^?[a-z]+:\]")


class NoAnchorError(ValueError):
    """The expression has no anchor, or is not RE2; the message is for the rule's author."""


@lru_cache(maxsize=4096)
def derive_anchors(pattern: str) -> frozenset[str]:
    """Literals, at least one of which is in each text that the expression matches when it ignores case.

    Lower case, not longer than ``MAX_ANCHOR``, at least ``GOOD_ANCHOR`` characters each if any such set can
    be had, never fewer than ``MIN_ANCHOR``; of several sets the one that seems rarest in logs. Look for them
    in folded text (``str.casefold``): RE2 takes the Kelvin sign for a k and the long s for an s.

    Raises:
        NoAnchorError: there is none. An expression that RE2 does not take may be refused or not.
    """
    part = _Reader(pattern).read()
    if part.best is None:
        raise NoAnchorError(
            f"nothing of {MIN_ANCHOR} characters or more is in all the pattern matches: each alternative "
            "needs letters, digits, single blanks or .,:;-_()[]{}@#%*!?$~^| in a row that cannot be missing"
        )
    return part.best


_Texts = frozenset[str]


@dataclass(frozen=True, slots=True)
class _Part:
    """What is known of every text that a part of an expression matches, folded.

    ``exact``: it is one of these (None: unknown). It begins with one of ``prefix``, ends with one of
    ``suffix`` and holds one of ``best`` (None: nothing usable is known to be in all).
    """

    exact: _Texts | None
    prefix: _Texts
    suffix: _Texts
    best: _Texts | None


_NONE: _Texts = frozenset()
_NOTHING: _Texts = frozenset({""})
_EMPTY = _Part(_NOTHING, _NOTHING, _NOTHING, None)
_ANYTHING = _Part(None, _NOTHING, _NOTHING, None)


def _one_of(texts: _Texts) -> _Part:
    return _Part(texts, texts, texts, _usable(texts))


@lru_cache(maxsize=256)
def _literal(char: str) -> _Part:
    """A control character, a quote or ä stands in the line in a way of its own."""
    return _one_of(frozenset({char.lower()})) if char in PLAIN else _ANYTHING


def _one_after_another(parts: Iterable[_Part]) -> _Part:
    """Neighbours that are one literal each are joined first, which is all of most expressions."""
    joined: list[_Part] = []
    run = ""
    for part in parts:
        if part.exact is not None and len(part.exact) == 1:
            run += next(iter(part.exact))
            continue
        joined += [_one_of(frozenset({run})), part] if run else [part]
        run = ""
    joined += [_one_of(frozenset({run}))] if run else []
    return reduce(_then, joined, _EMPTY)


# Rules have long parts in common, such as the names of endpoints.
@lru_cache(maxsize=4096)
def _then(left: _Part, right: _Part) -> _Part:
    exact = _joined(left.exact, right.exact)
    middle = _joined(left.suffix, right.prefix)
    return _Part(
        exact=exact,
        prefix=(_joined(left.exact, right.prefix) or left.prefix) if left.exact else left.prefix,
        suffix=(_joined(left.suffix, right.exact) or right.suffix) if right.exact else right.suffix,
        best=_rarest([left.best, right.best, _usable(exact), _usable(middle)]),
    )


def _joined(left: _Texts | None, right: _Texts | None) -> _Texts | None:
    if left is None or right is None or len(left) * len(right) > _MAX_SET:
        return None
    return frozenset(first + second for first in left for second in right)


@lru_cache(maxsize=4096)
def _either(parts: tuple[_Part, ...]) -> _Part:
    if len(parts) == 1:
        return parts[0]
    exacts = [part.exact for part in parts if part.exact is not None]
    bests = [part.best for part in parts if part.best is not None]
    exact = _united(exacts) if len(exacts) == len(parts) else None
    return _Part(
        exact=exact if exact and len(exact) <= _MAX_SET else None,
        prefix=_edge([part.prefix for part in parts]),
        suffix=_edge([part.suffix for part in parts]),
        best=_fewest(_united(bests)) if len(bests) == len(parts) else None,
    )


def _united(sets: Iterable[_Texts]) -> _Texts:
    return _NONE.union(*sets)


def _edge(sets: list[_Texts]) -> _Texts:
    texts = _united(sets)
    return texts if len(texts) <= _MAX_SET else _NOTHING


def _repeated(part: _Part, least: int, most: int | None) -> _Part:
    if least == 0:
        optional = most == 1 and part.exact is not None
        return _either((part, _EMPTY)) if optional else _EMPTY if most == 0 else _ANYTHING
    copies = reduce(_then, [part] * min(least, _MAX_COPIES), _EMPTY)
    is_all = least == most and least <= _MAX_COPIES
    return copies if is_all else _Part(None, copies.prefix, copies.suffix, copies.best)


def _usable(texts: _Texts | None) -> _Texts | None:
    """The rarest piece of each text that a raw line is sure to hold; None when a text has none."""
    if texts is None or any(len(text) < MIN_ANCHOR for text in texts):
        return None
    pieces = frozenset(_piece(text) for text in texts)
    return None if "" in pieces else _fewest(pieces)


@lru_cache(maxsize=4096)
def _piece(text: str) -> str:
    """Two blanks may be the parser's own, between a message and its fields, and so may one at an end."""
    pieces = [piece.strip(" ")[:MAX_ANCHOR].rstrip(" ") for piece in re.split(" {2,}", text)]
    piece = max(pieces, key=lambda piece: (_bits(piece), piece))
    return piece if len(piece) >= MIN_ANCHOR else ""


def _fewest(texts: _Texts) -> _Texts:
    """Where one text is in another, a line with the longer has the shorter."""
    kept: list[str] = []
    for text in sorted(texts, key=lambda text: (len(text), text)):
        if not any(shorter in text for shorter in kept):
            kept.append(text)
    return frozenset(kept)


def _rarest(sets: Iterable[_Texts | None]) -> _Texts | None:
    return min((texts for texts in sets if texts), key=_cost, default=None)


def _cost(texts: _Texts) -> tuple[bool, float, int, list[str]]:
    is_short = any(len(text) < GOOD_ANCHOR for text in texts)
    return is_short, sum(0.5 ** _bits(text) for text in texts), len(texts), sorted(texts)


@lru_cache(maxsize=4096)
def _bits(text: str) -> float:
    """How much it tells to find this text, by a rough count; beyond ``_MAX_BITS`` it is rare enough."""
    rest = _COMMON.sub("~", text)
    words = sum(char.isalnum() for char in rest)
    return min(_MAX_BITS, 2.5 * words + 1.0 * (len(rest) - words))


class _Reader:
    """Reads one expression from left to right, by RE2's syntax (https://github.com/google/re2/wiki/Syntax).

    Flags change nothing that matters here: case is ignored throughout, and what ``.``, ``^`` and ``$`` match
    is not looked at.
    """

    __slots__ = ("_depth", "_pattern", "_position")

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._position = 0
        self._depth = 0

    def read(self) -> _Part:
        part = self._alternatives()
        if self._position < len(self._pattern):
            raise self._refusal("an unmatched )")
        return part

    def _refusal(self, what: str) -> NoAnchorError:
        return NoAnchorError(f"{what} at character {self._position + 1} of the pattern")

    def _next(self) -> str:
        char = self._pattern[self._position : self._position + 1]
        if not char:
            raise self._refusal("something is missing")
        self._position += 1
        return char

    def _take(self, expression: re.Pattern[str]) -> re.Match[str] | None:
        match = expression.match(self._pattern, self._position)
        if match:
            self._position = match.end()
        return match

    def _is_at(self, text: str) -> bool:
        return self._pattern.startswith(text, self._position)

    def _alternatives(self) -> _Part:
        found = [self._sequence()]
        while self._is_at("|"):
            self._position += 1
            found.append(self._sequence())
        return _either(tuple(found))

    def _sequence(self) -> _Part:
        parts: list[_Part] = []
        while self._position < len(self._pattern) and not self._is_at("|") and not self._is_at(")"):
            parts += self._atoms()
            while parts and (repeat := self._take(_REPEAT)):
                parts[-1] = _repeated(parts[-1], *_bounds(repeat))
        return _one_after_another(parts)

    def _quoted(self) -> list[_Part]:
        start = self._position + 2
        end = self._pattern.find(r"\E", start)
        text = self._pattern[start:] if end < 0 else self._pattern[start:end]
        self._position = start + len(text) + (2 if end >= 0 else 0)
        return [_literal(char) for char in text]

    def _atoms(self) -> list[_Part]:
        """What stands next. Flags are nothing: a repeat behind them is RE2 one of what is before them."""
        if plain := self._take(_RUN):
            return [_one_of(frozenset({plain[0].lower()}))]
        if self._is_at(r"\Q"):
            return self._quoted()
        if self._is_at("("):
            opening = self._take(_GROUP)
            if opening is None or self._is_at("?"):
                raise self._refusal("a group of an unknown kind")
            return [] if opening[1] == ")" else [self._group()]
        char = self._next()
        if char == "[":
            return [self._class()]
        if char == "\\":
            return [self._escape()]
        if char in "^$":
            return [_EMPTY]
        return [_ANYTHING if char == "." else _literal(char)]

    def _group(self) -> _Part:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._refusal("too many groups in groups")
        part = self._alternatives()
        if self._next() != ")":
            raise self._refusal("a missing )")
        self._depth -= 1
        return part

    def _escape(self) -> _Part:
        if self._is_at("d"):
            self._position += 1
            return _one_of(frozenset(string.digits))
        char = self._escaped()
        return _literal(char) if char else _EMPTY if char == "" else _ANYTHING

    def _escaped(self) -> str | None:
        """The character that an escape stands for; "" for a place, None for one of many."""
        if self._take(_PROPERTY):
            return None
        if code := self._take(_CODE_POINT):
            return _character(code)
        char = self._next()
        if char in "AbBz":
            return ""
        if char in "CdDsSwW":
            return None
        if char in "afnrtv":
            return "\n"
        if char.isalnum():
            raise self._refusal(f"an unknown escape \\{char}")
        return char

    def _class(self) -> _Part:
        is_negated = self._is_at("^")
        self._position += is_negated
        chars: set[str] | None = set()
        first = True
        while first or not self._is_at("]"):
            first = False
            members = self._members()
            chars = chars | members if chars is not None and members is not None else None
        self._position += 1
        if is_negated or chars is None or not chars <= PLAIN:
            return _ANYTHING
        texts = frozenset(char.lower() for char in chars)
        return _one_of(texts) if len(texts) <= _MAX_CLASS else _ANYTHING

    def _members(self) -> set[str] | None:
        """What one piece of a class stands for: a character, a range, a class by name; None for many."""
        if self._take(_NAMED_CLASS):
            return None
        if self._is_at(r"\d"):
            self._position += 2
            return set(string.digits)
        low = self._class_character()
        if not self._is_at("-") or self._is_at("-]"):
            return {low} if low else None
        self._position += 1
        high = self._class_character()
        if not low or not high or ord(high) - ord(low) > len(PLAIN):
            return None
        return {chr(code) for code in range(ord(low), ord(high) + 1)}

    def _class_character(self) -> str | None:
        char = self._next()
        return self._escaped() if char == "\\" else char


def _bounds(repeat: re.Match[str]) -> tuple[int, int | None]:
    if repeat[1] is None:
        return {"*": (0, None), "+": (1, None), "?": (0, 1)}[repeat[0]]
    least = int(repeat[1])
    if repeat[2] is None:
        return least, least
    return least, int(repeat[3]) if repeat[3] else None


def _character(code: re.Match[str]) -> str | None:
    number = int(code[1] or code[2] or "0", 16) if code[3] is None else int(code[3], 8)
    return chr(number) if number <= 0x10FFFF else None
