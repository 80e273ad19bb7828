"""Puts what a peer or the system said into the words of a message."""

from __future__ import annotations

import os

_MAX_CHARS = 4096


def why(error: OSError) -> str:
    """The system's reason, in its own words."""
    if isinstance(error, TimeoutError) and not error.strerror:
        return "no answer"
    # asyncio puts words of its own where the system's reason should be.
    return os.strerror(error.errno) if error.errno else str(error)


def shown(text: str) -> str:
    """A peer's text without what would not print."""
    # Long enough to hold what names a secret: it is cut again once it is masked.
    return "".join(char if char.isprintable() else " " for char in text[:_MAX_CHARS])
