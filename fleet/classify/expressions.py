"""A CEL expression over the facts of one visit into yes, no, or the fact that was missing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from cel_expr_python import cel

from fleet.model.facts import FACTS, Kind
from fleet.model.observation import Fact

KNOWN = "known"
"""In an expression the names of all facts that were read: ``"agent.status" in known``."""

_TYPES = {
    Kind.YES_NO: cel.Type.BOOL,
    Kind.WHOLE: cel.Type.INT,
    Kind.NUMBER: cel.Type.DOUBLE,
    Kind.WORD: cel.Type.STRING,
    Kind.TEXT: cel.Type.STRING,
}
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|[A-Za-z_][A-Za-z0-9_.]*')
_ABSENT = re.compile(r'No value with name "([^"]+)"')
_PLACE = re.compile(r"ERROR: <input>:\d+:(\d+): (.*)")
_UNDECLARED = re.compile(r"undeclared reference to '([^']+)'")
_HINTS = (
    ("'(double, int)'", "write 10.0 where the fact is a number"),
    ("'(bool, string)'", "a fact that is yes or no stands alone: agent.installed, !agent.installed"),
    ("token recognition error at: '= '", "two things are compared by =="),
)
_COMPARED = re.compile(
    r"\b([a-z][a-z0-9_.]+)\s*(?:(<=?|>=?)|(?:==|!=|in\b)\s*(\[[^\]]*\]|\"[^\"]*\"|'[^']*'))"
)
_NO_CONTAINER = " (in container '')"
_RELEASE = re.compile(r"(\d{1,9})\.(\d{1,9})")

Value = bool | int | float | str


class ExpressionError(ValueError):
    """The expression is not CEL, names a fact there is none of, or compares what cannot be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """The expression could not be evaluated: nobody read that fact."""

    fact: str


class Facts:
    """The facts of one visit as expressions see them. Belongs to the thread that made it: CEL's activations
    do."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self.by_name: dict[str, Fact] = {}
        self.values: dict[str, Value] = {}
        for fact in facts:
            value = typed(fact)
            if value is not None:
                self.by_name[fact.name], self.values[fact.name] = fact, value
        self.activation = _environment().Activation(data={**self.values, KNOWN: sorted(self.values)})

    def text(self, name: str) -> str | None:
        """The fact's value as it was read; None when nobody read it."""
        fact = self.by_name.get(name)
        return fact.value if fact else None


class Expression:
    """A compiled expression. Immutable and safe to share between threads."""

    __slots__ = ("_compiled", "shown")

    def __init__(self, text: str) -> None:
        _refuse_vain(text)
        try:
            self._compiled = _compiled(text)
        except RuntimeError as exc:
            raise ExpressionError(_told(str(exc))) from exc
        if self._compiled.return_type() != cel.Type.BOOL:
            raise ExpressionError(f"it is a {self._compiled.return_type().name().lower()}, not yes or no")
        words = _WORD.findall(text)
        guarded = {word.strip("\"'") for word in words if word[0] in "\"'"}
        names = dict.fromkeys(word.strip("\"'") for word in words)
        self.shown: tuple[str, ...] = tuple(
            name for name in names if name in FACTS and not (name in words and name in guarded)
        )
        """The facts it turns on, for evidence; not those it looks at only where they are known."""

    def evaluate(self, facts: Facts) -> bool | Missing:
        """Yes, no, or what was missing to tell."""
        result = self._compiled.eval(facts.activation)
        value = result.value()
        if isinstance(value, bool):
            return value
        absent = _ABSENT.search(str(value))
        if absent is None:
            raise ExpressionError(str(value))
        return Missing(fact=absent[1])


def typed(fact: Fact) -> Value | None:
    """The fact's value as its kind has it; None of one that has none, or that no rule may test."""
    known = FACTS.get(fact.name)
    if known is None or not fact.value:
        return None
    match known.kind:
        case Kind.YES_NO:
            return {"yes": True, "no": False}.get(fact.value)
        case Kind.WHOLE | Kind.NUMBER:
            return _number(fact.value, known.kind)
        case Kind.WORD:
            return _encodable(fact.value.lower())
        case Kind.TEXT:
            return _encodable(fact.value)


def release_of(version: str) -> tuple[int, int] | None:
    """Major and minor; what follows differs between packagings of the same release."""
    found = _RELEASE.match(version.strip())
    return (int(found[1]), int(found[2])) if found else None


def at_least(version: str, bound: str) -> bool:
    """Whether a version is that release or a later one; no of a text that is no version."""
    left, right = release_of(version), release_of(bound)
    return left is not None and right is not None and left >= right


def _number(text: str, kind: Kind) -> int | float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number) or abs(number) > 2**53:
        return None
    return int(number) if kind is Kind.WHOLE else number


def _encodable(text: str) -> str:
    # A lone surrogate from a host's JSON is no CEL string.
    return text.encode("utf-8", "replace").decode("utf-8")


@cache
def _compiled(text: str) -> cel.Expression:
    return _environment().compile(text)


@cache
def _environment() -> cel.Env:
    variables: Mapping[str, cel.Type] = {name: _TYPES[known.kind] for name, known in FACTS.items()}
    overload = cel.Overload(
        "at_least_string", cel.Type.BOOL, [cel.Type.STRING, cel.Type.STRING], False, at_least
    )
    return cel.NewEnv(
        variables={**variables, KNOWN: cel.Type.List(cel.Type.STRING)},
        functions=[cel.FunctionDecl("at_least", [overload])],
    )


def _refuse_vain(text: str) -> None:
    """What CEL takes and what yet can never hold, or compares as nobody means it."""
    for name, order, constant in _COMPARED.findall(text):
        kind = FACTS[name].kind if name in FACTS else None
        if order and kind is Kind.TEXT:
            raise ExpressionError(f'{name} is a text: releases are compared by at_least({name}, "1.51")')
        if kind is Kind.WORD and constant != constant.lower():
            raise ExpressionError(f"{name} is a word in lower case, so it never is {constant}")


def _told(message: str) -> str:
    """CEL's own words without its drawing of the place, and what was perhaps meant."""
    found = _PLACE.search(message)
    if not found:
        return message
    hints = [hint for words, hint in _HINTS if words in found[2]]
    unknown = _UNDECLARED.search(found[2])
    near = get_close_matches(unknown[1], FACTS, n=1) if unknown else []
    hints += [f"did you mean {near[0]}?"] if near else []
    return "; ".join((f"{found[2].removesuffix(_NO_CONTAINER)} (character {found[1]})", *hints))
