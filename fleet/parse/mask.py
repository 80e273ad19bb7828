"""Captured bytes to the same bytes without credentials: each becomes a keyed hash, equal where it recurs."""

from __future__ import annotations

import base64
import hmac
import json
import re
import shlex
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

import re2

from fleet.parse.scan import compile_bytes
from fleet.parse.text import to_utf8

MIN_SECRET_CHARS = 4
FREE_HITS = 2048
# No log of an agent is so crowded, however many of its lines carry a credential.
BYTES_A_HIT = 32
_AS_TEXT = json.JSONEncoder(ensure_ascii=False)
_GO_ESCAPES = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&"})
# HttpUtility.JavaScriptStringEncode of .NET.
_WINDOWS_ESCAPES = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&'"})
_URL_SAFE = str.maketrans("+/", "-_")

_TOKEN = rb"<masked(?::[0-9a-f]{8})?>"
_HARMLESS = re.compile(_TOKEN + rb"|AADSTS\d+:?|AZCM\d+:?")

# What stands before a value: a name, or an option of a command line or an argument array.
_NAME = (
    rb"(?i:(?:secret|password|passwd|pwd)[A-Za-z0-9_]*"
    rb"|\b(?:access|refresh|id)[_-]?token|\b(?:client_)?assertion|\bsig"
    rb"|(?:account|access|shared|primary|secondary|workspace|functions|encryption|signing)[_-]?key)"
)
# JSON of Windows may have the quotes of a text, both kinds, by number.
_MARK = rb"(?:\\*[\"']|\\+u002[27])"
_QUOTE = _MARK + rb"?"
_IS = _QUOTE + rb"[ \t]*[=:][ \t]*"
# Behind a slash, where paths begin too, only what is no word by itself.
_OPTION = (
    rb"(?:^|[\s\"'\[,(]|\\+u002[27])"
    rb"(?:--?[A-Za-z-]*(?i:secret|password|passwd|pwd|token|api-?key)"
    rb"|/[A-Za-z-]+(?i:secret|password|passwd|pwd))"
)
_CONNECT = rb"(?i:connect)\b[^\n]*?(?:[\s\"'\[,]|\\+u002[27])(?:-p%s|/p:)"
# The next line belongs to the command after a shell's mark for it, and where it is indented.
_THEN = rb"(?:" + _MARK + rb"\s*,\s*|[ \t]*(?:[\\^`]\r?\n[ \t]*|\r?\n[ \t]+)|[ \t]+|=)"

# The value itself. A backslash belongs to it unless it escapes a quote or a blank.
_NUMBERED = rb"\\+u002[27](?:[^\"\\\n]|\\+(?:[^u\\\n]|u(?:[^0\n]|0[^0\n]|00[^2\n]|002[^27\n])))*"
_QUOTED = rb'\\"(?:[^"\\\n]|\\\\(?:\\["\\]|[^"\\\n]))*|"(?:[^"\\\n]|\\[^\n])*|\'[^\'\n]*|' + _NUMBERED
_REST = rb"[^\s\"'&;\\]*(?:\\+[^\s\"'&;\\nrt][^\s\"'&;\\]*)*"
_BARE = rb"[^\s\"'&;\\]" + _REST
_ARGUMENT = rb"(?:[^\s\"'\\-]|-[^\s\"'\\-])(?:[^\s\"'\\]|\\[^\"\s])*"
_NO_WORD = rb"[^\s\"'&;\\]*(?:[0-9]|[a-z][^\s\"'&;\\]*[A-Z])" + _REST
_BASE64 = rb"(?:[A-Za-z]?[a-z_.-]*[0-9~+/]|[A-Za-z_.-][a-z_.-]*[A-Z])[A-Za-z0-9._~+/-]*=*"
# Wrapped, it goes on in lines that begin with a long word of its alphabet, and ends with a line of the rest.
_JWT_LINES = (
    rb"(?:(?:\r?\n[ \t]*[a-z_.-]*[A-Z0-9][A-Za-z0-9_.-]{15,})+(?:\r?\n[ \t]*[A-Za-z0-9_.-]{1,15}(?m:\r?$))?)?"
)
_JWT = rb"(?:eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+){1,4}\.?|eyJ[A-Za-z0-9_-]{24,})" + _JWT_LINES
_IN_URL = rb"[^\s<>\"'\\]*(?:\\+[^\s<>\"'\\nrt][^\s<>\"'\\]*)*"
_KEY = rb"(?:-{0,4}(?:[A-Za-z0-9+/=\s:,.]|\\+[nr]))+"
_KEY_LINES = rb"(?:[A-Za-z0-9+/]{16,}=*(?:\s|\\+[nr])+)*[A-Za-z0-9+/]{2,}=*(?:\s|\\+[nr])+"
_KEY_MARK = rb"[ A-Z0-9]{0,40}PRIVATE KEY-----"

# Settings that Azure encrypts on the way to an extension, whatever they hold.
_SETTINGS = rb"(?i:protected_?settings)"
_OPENED = _SETTINGS + _QUOTE + rb"\s*[=:]\s*[\[{]"
_MARKS = re.compile(rb"\"(?:[^\"\\]|\\.)*(?:\"|\Z)|'(?:[^'\\\n]|\\.)*'|[\[\]{}]", re.DOTALL)
_ESCAPED_MARKS = re.compile(rb'\\"(?:[^"\\\n]|\\\\\\"|\\\\[^\n])*(?:\\"|\Z)|[\[\]{}\n]')
_MAX_SETTINGS_BYTES = 65536


class _Shape:
    """A credential's looks: what comes before the value, the value, what must follow.

    Nothing is captured, which keeps RE2 to its linear automaton; ``before`` is matched again to say where
    the value begins; it ends where the match does, or before the last ``tail`` in it. Values shorter than
    ``least`` bytes are none. ``sign`` is in every text that holds such a credential.
    """

    __slots__ = ("_before", "_least", "_tail", "expression", "sign")

    def __init__(self, before: bytes, value: bytes, after: bytes = b"", tail: bytes = b"", least: int = 1):
        pattern = rb"%s(?:%s)%s" % (before, value, after)
        self.expression = compile_bytes(pattern)
        # To look for what a value ends with is much cheaper than for one that nothing begins.
        self.sign = b"(?:%s)" % (pattern if before else after or pattern)
        self._before = re.compile(before + _QUOTE)
        self._tail = tail
        self._least = least

    def value(self, data: bytes, start: int, end: int) -> tuple[int, int] | None:
        """Where in a match the value is; None if it is empty, too short, masked already or an error code."""
        before = self._before.match(data, start, end)
        start = before.end() if before else start
        end = data.rfind(self._tail, start, end)
        value = data[start:end]
        is_secret = len(value) >= self._least and value.strip() and not _HARMLESS.fullmatch(value)
        return (start, end) if is_secret else None


_SHAPES = (
    # name = value: environment, URL, connection string, JSON at two depths, logrus fields
    _Shape(_NAME + _IS, _QUOTED + b"|" + _BARE),
    # ... where the name is an everyday word, so the value must not be one
    _Shape(rb"(?i:token|api[_-]?key)" + _IS + _QUOTE, _NO_WORD, least=8),
    # --name value: command lines and argument arrays
    _Shape(_OPTION + _THEN, _QUOTED + b"|" + _ARGUMENT),
    # azcmagent connect -p value
    _Shape(_CONNECT % _THEN, _QUOTED + b"|" + _ARGUMENT),
    _Shape(_SETTINGS + _IS, _QUOTED + rb"|[^\s\"'&;\\\[{]" + _REST),
    _Shape(rb"(?i:bearer|basic)[ \t]+", _BASE64, least=8),
    _Shape(b"", _JWT),
    # The password of a URL may hold a bare slash or "@": it ends at the last "@".
    _Shape(rb":\\?/\\?/[^\s/:@<>\"'\\?#]*:", _IN_URL, after=b"@", tail=b"@"),
    _Shape(rb":\\?/\\?/", rb"[^\s/:@<>\"'\\?#]+", after=b"@", tail=b"@"),
    # The same in hex: what a Windows host has of its WinHTTP proxy.
    _Shape(rb"(?i:3a2f2f)", rb"(?:[0-9A-Fa-f]{2})+", after=b"40", tail=b"40"),
    _Shape(rb"(?i:-----BEGIN" + _KEY_MARK + rb")", _KEY),
    _Shape(b"", _KEY_LINES, after=b"-----END" + _KEY_MARK, tail=b"-----END"),
)


class Masker:
    """Replaces the run's own secrets and whatever looks like a credential by ``<masked:XXXXXXXX>``.

    The eight digits are of HMAC-SHA256(``key``, value), so that one secret looks the same in every capture of
    one store; without a key it is ``<masked>``. Secrets shorter than four characters are left alone.
    """

    __slots__ = ("_any", "_key", "_looks", "_originals")

    def __init__(self, key: bytes | None, secrets: Iterable[str] = ()) -> None:
        self._key = key
        self._originals = {
            form: secret.encode("utf-8", "replace")
            for secret in secrets
            if len(secret) >= MIN_SECRET_CHARS
            for form in _forms(secret)
        }
        # Longest first: of two secrets one of which begins the other, the longer is what was printed.
        words = [re2.escape(form) for form in sorted(self._originals, key=len, reverse=True)]
        self._any = compile_bytes(b"|".join([*(shape.sign for shape in _SHAPES), _OPENED, *words]))
        own = (compile_bytes(b"|".join([_TOKEN, *words])), self._own)
        self._looks = (
            own,
            (compile_bytes(_OPENED), _settings),
            *((shape.expression, shape.value) for shape in _SHAPES),
        )

    def mask(self, data: bytes) -> bytes:
        """The bytes without credentials; the very same object when there was nothing to mask. Total. A text
        in UTF-16 with its byte order mark comes back as UTF-8.

        Linear in the bytes, with a bound on the work a host can ask for: behind ``FREE_HITS`` places and one
        more in ``BYTES_A_HIT`` bytes, all the rest is taken for a secret and becomes one mask.
        """
        data = to_utf8(data)
        if self._any.search(data) is None:
            return data
        spans = self._spans(data)
        return self._replaced(data, _merged(spans)) if spans else data

    def _spans(self, data: bytes) -> list[tuple[int, int]]:
        spans, end = [], len(data)
        left = FREE_HITS + end // BYTES_A_HIT
        for look, value_of in self._looks:
            done = 0
            for match in look.finditer(data):
                place = match.span()
                if left == 0 or place[0] >= end:
                    end = min(end, place[0])
                    break
                left -= 1
                span = value_of(data, *place) if place[0] >= done else None
                if span is not None:
                    spans.append(span)
                    done = span[1]
        return [*spans, (end, len(data))] if end < len(data) else spans

    def _own(self, data: bytes, start: int, end: int) -> tuple[int, int] | None:
        return (start, end) if data[start:end] in self._originals else None

    def _replaced(self, data: bytes, spans: list[tuple[int, int]]) -> bytes:
        pieces, done = [], 0
        for start, end in spans:
            pieces += [data[done:start], self._token(data[start:end])]
            done = end
        return b"".join([*pieces, data[done:]])

    def _token(self, value: bytes) -> bytes:
        if self._key is None:
            token = b"<masked>"
        else:
            digest = hmac.digest(self._key, self._originals.get(value, value), "sha256")
            token = b"<masked:%s>" % digest[:4].hex().encode()
        # In the place of an object stands a text: what is around it is to be read as JSON still.
        is_object = value.startswith((b"{", b"["))
        quote = next((mark for mark in (b'\\"', b'"', b"'") if is_object and mark in value), b"")
        return quote + token + quote


def _settings(data: bytes, start: int, end: int) -> tuple[int, int]:
    """From the bracket that a match ends with to the one that closes it, strings skipped. Where none does, to
    the end of the line for JSON in a field of a log, else as far as settings may reach."""
    opening, depth = end - 1, 0
    limit = min(len(data), opening + _MAX_SETTINGS_BYTES)
    marks = _ESCAPED_MARKS if b"\\" in data[start:end] else _MARKS
    for mark in marks.finditer(data, opening, limit):
        if mark[0] == b"\n":
            return opening, mark.start()
        depth += (mark[0] in b"[{") - (mark[0] in b"]}")
        if depth == 0:
            return opening, mark.end()
    return opening, limit


def _forms(secret: str) -> set[bytes]:
    """The secret as it stands, in JSON (twice, for JSON in a log field; in Go's and in Windows PowerShell's,
    which escape more), for a shell, in a URL, in Base64, in hex, and in the UTF-16 that Windows PowerShell
    adds to a file of whatever encoding."""
    in_json = json.dumps(secret)[1:-1]
    as_text = _AS_TEXT.encode(secret)[1:-1]
    in_go = as_text.translate(_GO_ESCAPES)
    raw = secret.encode("utf-8", "replace")
    coded = base64.b64encode(raw).decode()
    forms = {
        secret,
        in_json,
        as_text,
        json.dumps(in_json)[1:-1],
        in_go,
        _AS_TEXT.encode(in_go)[1:-1],
        in_json.translate(_GO_ESCAPES),
        as_text.translate(_WINDOWS_ESCAPES),
        in_json.translate(_WINDOWS_ESCAPES),
        shlex.quote(secret)[1:-1] if shlex.quote(secret) != secret else secret,
        quote(secret, safe="", errors="replace"),
        quote_plus(secret, errors="replace"),
        coded.rstrip("="),
        coded.rstrip("=").translate(_URL_SAFE),
        raw.hex(),
        raw.hex().upper(),
    }
    found = {form.encode("utf-8", "replace") for form in forms if len(form) >= MIN_SECRET_CHARS}
    return found | ({secret.encode("utf-16-le", "replace")} if len(secret) >= MIN_SECRET_CHARS else set())


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
