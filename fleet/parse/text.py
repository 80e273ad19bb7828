"""Bytes of unknown origin to text and instants that every later room can store and compare."""

from __future__ import annotations

import codecs
import re
import string
from datetime import UTC, datetime

PLAIN = frozenset(string.ascii_letters + string.digits + " .,:;-_()[]{}@#%*!?$~^|")
"""What no log escapes. Some do so with quotes, a backslash, ``/<>&+=`` and whatever is not ASCII."""

_FIRST_YEAR = 1990
# How Go prints a time that nobody told it to format: "2026-01-31 12:00:00.123 -0800 PST m=+0.05".
_GO = re.compile(
    r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d{1,9})?) ([+-]\d{4})"
    r"(?: [A-Za-z0-9+-]{1,8})?(?: m=[+-][\d.]{1,30})?"
)
_SURROGATES = re.compile("[\ud800-\udfff\x00]")
_COLOUR = re.compile(rb"\x1b\[[0-9;?]{0,16}[A-Za-z]")
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def clean(text: str) -> str:
    """The same text without NUL and lone surrogates, which databases and encoders refuse."""
    if text.isascii() and "\x00" not in text:
        return text
    return _SURROGATES.sub("\ufffd", text)


def uncoloured(data: bytes) -> bytes:
    """The bytes without the colours of a terminal."""
    return _COLOUR.sub(b"", data) if b"\x1b" in data else data


def decode(data: bytes) -> str:
    """UTF-8 text, undecodable bytes replaced."""
    # Decoding lets no lone surrogate through.
    return data.decode("utf-8", "replace").replace("\x00", "\ufffd")


def to_utf8(data: bytes) -> bytes:
    """The bytes as UTF-8 without a byte order mark; PowerShell writes its redirections as UTF-16."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return data[len(bom) :].decode(encoding, "replace").encode("utf-8", "replace")
    return data


def parse_instant(text: str) -> datetime | None:
    """A time with a zone, in ISO 8601 or as Go prints it, as UTC, else None; Go's zero time and other
    absurd years are None."""
    text = text.strip()
    go = _GO.fullmatch(text)
    try:
        at = datetime.fromisoformat(f"{go[1]}T{go[2]}{go[3]}" if go else text)
        if at.tzinfo is None or at.year < _FIRST_YEAR:
            return None
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def from_epoch(seconds: float) -> datetime | None:
    """The instant of a Unix time, None when no calendar has it."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def to_number(text: str) -> int | None:
    """A short decimal number, else None; hostile digits never become a huge integer."""
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else None
