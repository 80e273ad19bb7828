"""A text of unknown origin to the kind of text it is."""

from __future__ import annotations

import re
from enum import StrEnum

from fleet.parse.agent import parse_show
from fleet.parse.scan import compile_bytes
from fleet.parse.text import to_utf8

_LOOK_BYTES = 65536

_LOG = compile_bytes(
    rb"(?m)level=[a-z]{4,7} +msg=|^<GCLOG>|^\[\d{4}-\d\d-\d\d\]\[\d\d:\d\d:\d\d\]|^\[[0-9+]+\] +\d+/\d+/\d+ "
)
_CONSOLE = compile_bytes(
    rb"(?im)^[^\n]{0,200}[$#>] *(?:sudo +)?(?:& *)?[^\n]{0,200}azcmagent(?:\.exe)?[\"']? +[a-z]"
    rb"|^ *(?-i:INFO|ERROR|WARN|WARNING|FATAL|DEBUG)(?:\[\d+\]| {2,})|^ *\d{1,3}% \[[=> ]*\]"
)
_CHECK = compile_bytes(rb"(?i)endpoint *\| *reachable|\"reachable\" *:")
_CONFIG = compile_bytes(rb"(?im)local configuration settings|^ *[a-z]+\.[a-z.]+ *(?:\(preview\) *)?: ")
_VERSION = compile_bytes(rb"(?im)^azcmagent(?:\.exe)? +version[ :]+v?\d")
_SERVICES = compile_bytes(rb"(?m)^Id=[a-z]+\.service\r?$|^Status +Name +DisplayName")


class TextKind(StrEnum):
    """What an offline text is."""

    LOG = "log"
    CONSOLE = "console"
    SHOW = "show"
    CHECK = "check"
    CONFIG_LIST = "config-list"
    VERSION = "version"
    SERVICE_LIST = "service-list"
    OTHER = "other"


_ORDER = (
    (TextKind.CHECK, _CHECK),
    (TextKind.LOG, _LOG),
    (TextKind.CONSOLE, _CONSOLE),
    (TextKind.CONFIG_LIST, _CONFIG),
    (TextKind.VERSION, _VERSION),
    (TextKind.SERVICE_LIST, _SERVICES),
)


def recognize(data: bytes) -> TextKind:
    """The kind of text, judged by its beginning; OTHER when it looks like none. Total."""
    head = to_utf8(data[:_LOOK_BYTES])
    kind = next((kind for kind, expression in _ORDER if expression.search(head)), TextKind.OTHER)
    if kind in (TextKind.LOG, TextKind.CONSOLE, TextKind.CHECK) or parse_show(head) is None:
        return kind
    return TextKind.SHOW
