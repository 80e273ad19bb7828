"""A rule's expression into a matcher that takes linear time on any text."""

from __future__ import annotations

from functools import cache
from typing import Protocol

import re2


class PatternError(ValueError):
    """The expression is not one RE2 takes; the message is RE2's."""


class Found(Protocol):
    """Where an expression occurs."""

    def groupdict(self) -> dict[str, str | None]:
        """What its named groups hold; None of one that took no part."""
        ...


class Matcher(Protocol):
    """A compiled expression."""

    @property
    def groupindex(self) -> dict[str, int]:
        """Its named groups."""
        ...

    def search(self, text: str) -> Found | None:
        """Where it first occurs in the text, else None. The text must be encodable as UTF-8."""
        ...


@cache
def compile_pattern(pattern: str) -> Matcher:
    """Compile an RE2 expression that ignores case, each once a process. Raises PatternError."""
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    try:
        compiled: Matcher = re2.compile(pattern, options)
    except re2.error as exc:
        detail = exc.args[0] if exc.args else ""
        raise PatternError(
            detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
        ) from exc
    return compiled


def group_names(pattern: str) -> set[str]:
    """The named groups of an expression. Raises PatternError."""
    return set(compile_pattern(pattern).groupindex)
