"""Raw log bytes to the places worth reading: one pass over literals, whatever the number of rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import re2

_BORDERS = (
    rb"agent version:",
    rb"agent command:",
    rb"exit code",
    rb"azcm[0-9]",
    rb"level=fatal",
    rb"successfully onboarded resource to azure",
    rb"connected machine to azure",
    rb"successfully disconnected",
    rb"azcmagent(?:\.exe)?[\"']?[ \t]{1,8}[a-z]",
)
_CASED = (rb"FATA",)
_MAX_MEM = 64 << 20


def compile_bytes(pattern: bytes) -> re2._Regexp:
    """An RE2 expression on raw bytes: linear in the text, silent about what it cannot parse."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.max_mem = _MAX_MEM
    return re2.compile(pattern, options)


class Anchors:
    """The literals of the rules and the borders the parser itself needs, as one case-insensitive scan.

    Immutable and safe to share; build it once per pack. Empty literals are ignored.
    """

    __slots__ = ("_expression",)

    def __init__(self, literals: Iterable[str]) -> None:
        wanted = sorted({literal.encode("utf-8", "replace") for literal in literals if literal})
        folded = b"|".join([*_BORDERS, *(re2.escape(literal) for literal in wanted)])
        # The rest of the line is part of the match: one search a line, however many literals it holds.
        self._expression = compile_bytes(rb"(?:(?i:%s)|%s)[^\r\n]*" % (folded, b"|".join(_CASED)))

    def places(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Of each line with a marked place where the first one begins and where the line ends, in order."""
        return (match.span() for match in self._expression.finditer(data))
