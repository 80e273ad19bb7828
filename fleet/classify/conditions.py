"""Facts and a rule's conditions into yes or no."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from fleet.model.observation import Fact
from fleet.model.pack import Condition

_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})")


def holds(condition: Condition, facts: Mapping[str, Fact]) -> bool:
    """Whether the condition is met. A fact nobody read, or one that cannot be compared, meets none."""
    fact = facts.get(condition.field)
    if fact is None or not fact.value:
        return False
    return OPERATORS[condition.op](fact.value, condition.value)


def is_usable(condition: Condition) -> bool:
    """Whether the condition's own value is one its operator can compare with."""
    if condition.op in ("above", "below"):
        return _number(condition.value) is not None
    if condition.op == "at_least":
        return _version(condition.value) is not None
    return condition.op != "exists" or condition.value == "yes"


def _is(value: str, wanted: str) -> bool:
    return value.casefold() == wanted.casefold()


def _is_not(value: str, unwanted: str) -> bool:
    return not _is(value, unwanted)


def _one_of(value: str, wanted: str) -> bool:
    return any(_is(value, word.strip()) for word in wanted.split(","))


def _above(value: str, bound: str) -> bool:
    left, right = _number(value), _number(bound)
    return left is not None and right is not None and left > right


def _below(value: str, bound: str) -> bool:
    left, right = _number(value), _number(bound)
    return left is not None and right is not None and left < right


def _at_least(value: str, bound: str) -> bool:
    left, right = _version(value), _version(bound)
    return left is not None and right is not None and left >= right


def _exists(_value: str, _wanted: str) -> bool:
    return True


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _version(text: str) -> tuple[int, int] | None:
    """Major and minor; what follows differs between packagings of the same release."""
    found = _VERSION.match(text.strip())
    return (int(found[1]), int(found[2])) if found else None


OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "is": _is,
    "is_not": _is_not,
    "one_of": _one_of,
    "above": _above,
    "below": _below,
    "at_least": _at_least,
    "exists": _exists,
}
"""Every test a condition may name: the fact's value and the rule's value to yes or no."""
