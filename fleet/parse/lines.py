"""One log line of any known shape to its time, level and decoded text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from fleet.model.observation import Level
from fleet.parse.text import PLAIN, clean, parse_instant

_LEVELS = {
    "trace": Level.DEBUG,
    "debug": Level.DEBUG,
    "debu": Level.DEBUG,
    "verbose": Level.DEBUG,
    "info": Level.INFO,
    "information": Level.INFO,
    "telemetry": Level.INFO,
    "warn": Level.WARNING,
    "warning": Level.WARNING,
    "error": Level.ERROR,
    "erro": Level.ERROR,
    "fatal": Level.FATAL,
    "fata": Level.FATAL,
    "critical": Level.FATAL,
    "panic": Level.FATAL,
    "pani": Level.FATAL,
}
_WORDS = "TRACE|DEBUG|DEBU|VERBOSE|INFO|WARNING|WARN|ERROR|ERRO|FATAL|FATA|PANIC|PANI"

_LOGRUS = re.compile(r'(?:time=(?:"([^"]{0,64})"|(\S{0,64}))\s+)?level=([a-z]{2,12})\s+msg=')
# Runs of what needs no look, and between them escapes: a fifth of the time of one character after another.
_TEXT = r'[^"\\]*(?:\\.[^"\\]*)*'
_VALUE = re.compile(rf'"({_TEXT})"?|(\S*)', re.DOTALL)
_FIELD = re.compile(r'\s*([^="]{1,120})=', re.DOTALL)
_PROGRESS = r"(?:\d{1,3}%\s*\[[=> ]*\]\s*)?"
_TTY = re.compile(rf"\s*{_PROGRESS}({_WORDS})\[\d{{1,10}}\]\s*(.*)", re.DOTALL)
_CONSOLE = re.compile(rf"\s*{_PROGRESS}({_WORDS})(?::\s*|\s+)(.*)", re.DOTALL)
_GCLOG = re.compile(r"\s*<GCLOG>")
_BRACKET = re.compile(r"\s*\[([^\[\]]{0,200})\]")
_GPO = re.compile(
    r"\s*\[\d{4}-\d\d-\d\d\]\s*\[\d\d:\d\d:\d\d\]\s*([A-Za-z]{4,11}):?(?:\s+(.*))?\Z", re.DOTALL
)
_EXTENSION = re.compile(
    r"\s*\[[^\[\]]{1,60}\]\s*(?:[\d/.-]{6,12}\s+[\d:.]{5,16}(?:\s*[AP]M)?\s*)?\[([A-Za-z]{4,11})\]\s*(.*)",
    re.DOTALL,
)
_QUOTED = re.compile(rf'="({_TEXT})"', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U0([0-9a-fA-F]{7})|(.))", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r"}
# Without regard to case they are letters of ASCII, the long s and the Kelvin sign.
_FOLDED = "\u017f\u212a"
_MAX_RUNE = 0x10FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One decoded line. ``plain``: of no known shape; ``message`` is ``text`` without the fields."""

    message: str
    text: str
    level: Level = Level.UNKNOWN
    at: datetime | None = None
    plain: bool = False


def parse_line(raw: str) -> Line:
    """The line, without colours, decoded. One of no known shape is plain, its level UNKNOWN; a local time is
    no instant."""
    return (
        _parse_logrus(raw)
        or _parse_gclog(raw)
        or _parse_marked(raw, _TTY)
        or _parse_marked(raw, _GPO)
        or _parse_marked(raw, _EXTENSION)
        or _parse_marked(raw, _CONSOLE)
        or Line(message=raw.strip(), text=raw.strip(), plain=True)
    )


def unescape(text: str) -> str:
    """Go's and JSON's backslash escapes decoded. One that no log needs stays as it stands: what is plain in
    the result is so in the text, where anchors are looked for."""
    return clean(_ESCAPE.sub(_unescape_one, text)) if "\\" in text else text


def _unescape_one(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3]
    rune = int(digits, 16) if digits else 0
    char = (chr(rune) if rune <= _MAX_RUNE else "\ufffd") if digits else _SIMPLE.get(match[4], match[4])
    return match[0] if char in PLAIN or char in _FOLDED else char


def _parse_logrus(raw: str) -> Line | None:
    head = _LOGRUS.search(raw)
    if head is None:
        return None
    message, position = _read_value(raw, head.end())
    return Line(
        message=message,
        text="  ".join([message, *_read_fields(raw, position)]),
        level=_LEVELS.get(head[3], Level.UNKNOWN),
        at=parse_instant(head[1] or head[2] or ""),
    )


def _read_value(raw: str, position: int) -> tuple[str, int]:
    match = _VALUE.match(raw, position)
    if match is None:
        return "", position
    return (unescape(match[1]) if match[1] is not None else match[2]), match.end()


def _read_fields(raw: str, position: int) -> list[str]:
    """``Key With Spaces="value"`` for each field, decoded; what is no field is kept as it stands."""
    fields = []
    while field := _FIELD.match(raw, position):
        value, position = _read_value(raw, field.end())
        fields.append(f'{field[1]}="{value}"')
    rest = raw[position:].strip()
    return [*fields, rest] if rest else fields


def _parse_gclog(raw: str) -> Line | None:
    head = _GCLOG.match(raw)
    if head is None:
        return None
    position, level = head.end(), Level.UNKNOWN
    while bracket := _BRACKET.match(raw, position):
        level = _LEVELS.get(bracket[1].strip().lower(), level)
        position = bracket.end()
    text = raw[position:].strip().removesuffix("</GCLOG>").strip()
    return Line(message=text, text=text, level=level)


def _parse_marked(raw: str, shape: re.Pattern[str]) -> Line | None:
    match = shape.match(raw)
    level = _LEVELS.get(match[1].lower()) if match else None
    if match is None or level is None:
        return None
    message = (match[2] or "").strip()
    text = _QUOTED.sub(lambda quoted: f'="{unescape(quoted[1])}"', message)
    return Line(message=message, text=text, level=level)
