"""Captured bytes to the same bytes without credentials: each becomes a keyed hash, equal where it recurs."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

import re2

from fleet.parse.scan import compile_bytes

MIN_SECRET_CHARS = 4

_BEFORE = 2048
_AFTER = 4096
_PEM_SPAN = 16384
_LONGEST = 65536
_ROUNDS = 4

_TOKEN = rb"<masked(?::[0-9a-f]{8})?>"
_PLACES = (
    rb"(?i:secret|bearer|basic[ \t]|passw|pwd|(?:access|refresh|id)[_-]?token|assertion|sig=|accountkey"
    rb"|accesskey|private key)|eyJ|[ \t\"'\[,]-p[ \t=\"'\\]|@"
)

_JSON_IN_JSON = rb'\\"((?:[^"\\\n]|\\\\(?:\\["\\]|[^"\\\n]))*)'
_QUOTED = rb'"((?:[^"\\\n]|\\[^\n])*)|\'([^\'\n]*)'
_BARE = rb"([^\s\"'&;\\]+(?:\\+[^\s\"'&;\\nrt][^\s\"'&;\\]*)*)"
_ARGUMENT = rb"((?:[^\s\"'\\-]|-[^\s\"'\\-])(?:[^\s\"'\\]|\\[^\"\s])*)"
_NAME = (
    rb"(?:(?:secret|password|passwd|pwd)[A-Za-z0-9_]*"
    rb"|\b(?:access|refresh|id)[_-]?token|\b(?:client_)?assertion|\baccountkey|\bsharedaccesskey|\bsig)"
)
_OPTION = (
    rb"(?:^|[\s\"'\[,(])--?[A-Za-z-]*(?:secret|password|passwd|pwd|access-?token)"
    rb"(?:\\*[\"']\s*,\s*|[ \t]+|=)"
)
_PEM = (
    rb"(?i)-----BEGIN[ A-Z0-9]{0,40}PRIVATE KEY-----((?:[A-Za-z0-9+/=\s:,.-]|\\+[nr])*?)"
    rb"(?:-----END|[^A-Za-z0-9+/=\s:,.\\-]|\z)"
)
_PEM_WITHOUT_HEAD = (
    rb"((?:(?:[A-Za-z0-9+/]{16,}=*)(?:\s|\\+[nr])+)*[A-Za-z0-9+/]{2,}=*(?:\s|\\+[nr])+)"
    rb"-----END[ A-Z0-9]{0,40}PRIVATE KEY-----"
)
_DETAILS = (
    # name = value: environment, URL, connection string, JSON at two depths, logrus fields
    rb"(?i)"
    + _NAME
    + rb"(?:\\*[\"'])?[ \t]*[=:][ \t]*(?:"
    + b"|".join([_JSON_IN_JSON, _QUOTED, _BARE])
    + rb")",
    # --name value: command lines and argument arrays
    rb"(?i)" + _OPTION + rb"(?:" + b"|".join([_JSON_IN_JSON, _QUOTED, _ARGUMENT]) + rb")",
    # azcmagent connect -p value
    rb"(?i)connect\b[^\n]*?[\s\"'\[,]-p(?:\\*[\"']\s*,\s*|[ \t]+|=)(?:"
    + b"|".join([_JSON_IN_JSON, _QUOTED, _ARGUMENT])
    + rb")",
    rb"(?i)\b(?:bearer|basic)[ \t]+([A-Za-z0-9._~+/-]{8,}=*)",
    rb"(eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+){1,4}\.?|eyJ[A-Za-z0-9_-]{24,})",
    rb":\\?/\\?/[^\s/:@<>\"'\\?#]*:([^\s/\"'\\?#]+)@",
    _PEM,
    _PEM_WITHOUT_HEAD,
)
_GAP = re.compile(rb"[\s\"]")
_HARMLESS = re.compile(_TOKEN + rb"|AADSTS\d+:?|AZCM\d+:?")
_SCHEME = re.compile(rb"(?i:bearer|basic)")
_WORD = re.compile(rb"[A-Za-z]?[a-z_.-]*=*")


class Masker:
    """Replaces the run's own secrets and whatever looks like a credential by ``<masked:XXXXXXXX>``.

    The eight digits are of HMAC-SHA256(``key``, value), so that one secret looks the same in every capture of
    one store; without a key it is ``<masked>``. Secrets shorter than four characters are left alone.
    """

    __slots__ = ("_details", "_key", "_literals", "_originals", "_places")

    def __init__(self, key: bytes | None, secrets: Iterable[str] = ()) -> None:
        self._key = key
        self._originals = {
            form: secret.encode("utf-8", "replace")
            for secret in secrets
            if len(secret) >= MIN_SECRET_CHARS
            for form in _forms(secret)
        }
        # Longest first: of two secrets one of which begins the other, the longer is what was printed.
        words = b"|".join(map(re2.escape, sorted(self._originals, key=len, reverse=True)))
        self._places = compile_bytes(b"|".join(filter(None, (_PLACES, words))))
        self._literals = compile_bytes(b"|".join(filter(None, (_TOKEN, words))))
        self._details = tuple(compile_bytes(detail) for detail in _DETAILS)

    def mask(self, data: bytes) -> bytes:
        """The bytes without credentials; the very same object when there was nothing to mask. Total."""
        pieces, done = [], 0
        for start, end in self._windows(data):
            window = data[start:end]
            masked = self._mask_window(window)
            if masked is not window:
                pieces += [data[done:start], masked]
                done = end
        return b"".join([*pieces, data[done:]]) if pieces else data

    def _windows(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Disjoint stretches around every place where a credential may be; neighbours are one stretch."""
        floor, start, end = 0, 0, -1
        for match in self._places.finditer(data):
            is_key = match.group().lower() == b"private key"
            if not is_key and match.end() + _AFTER <= end:
                continue
            low, high = _stretch(data, match.start(), match.end(), is_key)
            if low <= end:
                start, end = max(floor, min(start, low)), max(end, high)
                continue
            if end >= 0:
                yield start, end
            floor = max(end, 0)
            start, end = low, high
        if end >= 0:
            yield start, end

    def _mask_window(self, window: bytes) -> bytes:
        for _ in range(_ROUNDS):
            spans = _merged(self._spans(window))
            if not spans:
                return window
            window = self._replaced(window, spans)
        return window

    def _spans(self, window: bytes) -> list[tuple[int, int]]:
        spans = [
            match.span() for match in self._literals.finditer(window) if match.group() in self._originals
        ]
        for detail in self._details:
            for match in detail.finditer(window):
                span = _value_span(match)
                if span is not None and _is_secret(window[slice(*span)]):
                    spans.append(span)
        return spans

    def _replaced(self, window: bytes, spans: list[tuple[int, int]]) -> bytes:
        pieces, done = [], 0
        for start, end in spans:
            pieces += [window[done:start], self._token(window[start:end])]
            done = end
        return b"".join([*pieces, window[done:]])

    def _token(self, value: bytes) -> bytes:
        if self._key is None:
            return b"<masked>"
        digest = hmac.new(self._key, self._originals.get(value, value), hashlib.sha256).hexdigest()
        return b"<masked:%s>" % digest[:8].encode()


def _forms(secret: str) -> set[bytes]:
    """The secret as it stands, in JSON (twice, for JSON in a log field), for a shell and in a URL."""
    in_json = json.dumps(secret)[1:-1]
    forms = {
        secret,
        in_json,
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(in_json)[1:-1],
        shlex.quote(secret)[1:-1] if shlex.quote(secret) != secret else secret,
        quote(secret, safe="", errors="replace"),
        quote_plus(secret, errors="replace"),
    }
    return {form.encode("utf-8", "replace") for form in forms if len(form) >= MIN_SECRET_CHARS}


def _stretch(data: bytes, hit: int, after: int, is_key: bool) -> tuple[int, int]:
    """From the line's beginning to some way after the hit, never ending within a word."""
    if is_key:
        return max(0, hit - _PEM_SPAN), after + _PEM_SPAN
    low = max(0, hit - _BEFORE)
    gap = _GAP.search(data, after + _AFTER, after + _AFTER + _LONGEST)
    return max(low, data.rfind(b"\n", low, hit) + 1), gap.start() if gap else after + _AFTER + _LONGEST


def _value_span(match: re2._Match) -> tuple[int, int] | None:
    """Where the value is; None for "Bearer authentication" and the like, where a word follows."""
    found = next((group for group in range(1, match.re.groups + 1) if match.start(group) >= 0), None)
    if found is None or (_SCHEME.match(match.group()) and _WORD.fullmatch(match.group(found))):
        return None
    start, end = match.span(found)
    return start, end


def _is_secret(value: bytes) -> bool:
    """Whether it is a value worth hiding: not empty, not hidden already, no error code."""
    return bool(value.strip()) and not _HARMLESS.fullmatch(value)


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
