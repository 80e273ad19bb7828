"""A host's text into evidence that is bounded and harmless to show."""

from __future__ import annotations

import re

from fleet.model.finding import Evidence

MAX_TEXT = 500

_ANSI = re.compile(r"\x1b(?:\[[0-?]{0,32}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\))")
_SPACE = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")
# C0, C1 and DEL drive terminals; the others reorder or hide what a reader sees; surrogates cannot be encoded.
_HARMFUL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def make_evidence(source: str, line: int, text: str) -> Evidence:
    """Evidence with at most ``MAX_TEXT`` characters of one line, safe for a terminal."""
    return Evidence(source=harmless(source), line=line, text=harmless(text))


def harmless(text: str) -> str:
    """The text on one line without escape sequences; other control and bidi characters become U+FFFD."""
    plain = _ANSI.sub("", text[: 8 * MAX_TEXT])
    plain = _HARMFUL.sub("\ufffd", _SPACE.sub(" ", plain)).strip()
    return plain if len(plain) <= MAX_TEXT else plain[: MAX_TEXT - 1] + "…"
