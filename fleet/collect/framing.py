"""Turns the framed answer of a visit into captures.

The answer is a header line in the clear, then frames, compressed where the host has gzip:

    NONCE FLEET1 gzip|plain EPOCH
    NONCE begin ITEM PRIVILEGE / bytes / NONCE end ITEM EXITCODE / stderr
    NONCE skip ITEM WHY
    NONCE done COUNT

Every frame line starts with the nonce of this one visit, drawn after whatever a log holds was written: a
log cannot fake one. Without the done frame the answer is cut short.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fleet.model.pack import Item
from fleet.model.visit import Capture
from fleet.model.words import Privilege

MAX_STDERR_BYTES = 2048
_MAX_REFUSAL_BYTES = 4096

_PRIVILEGES = frozenset(word.value for word in Privilege)
_DENIED = re.compile(
    rb"permission denied|operation not permitted|insufficient permissions|must be root"
    rb"|not seeing messages from other users|^sudo: (?!.*command not found)",
    re.IGNORECASE | re.MULTILINE,
)
# Where stderr came mixed with the output, words of the output are no refusal.
_DENIED_IN_OUTPUT = re.compile(
    rb"insufficient permissions|must be root|^sudo: (?!.*command not found)", re.IGNORECASE | re.MULTILINE
)
_CANNOT_EXECUTE = 126
# The year 5138: later than any clock that is merely wrong, earlier than the end of datetime.
_MAX_EPOCH_DIGITS = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The header line: whether the rest is compressed, the host's clock in seconds since
    1970 (None: nothing usable was said), and where the rest begins."""

    is_gzip: bool
    epoch_s: int | None
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The rest of a frame line behind its nonce, with its newline, and the bytes up to the next frame."""

    line: bytes
    data: bytes

    def masked(self, mask: Callable[[bytes], bytes]) -> Section:
        """With ``mask`` applied to the data, never to the frame line: a secret may be a word of it. The same
        object when nothing was masked."""
        masked = mask(self.data) if self.data else self.data
        return self if masked is self.data else Section(line=self.line, data=masked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """The captures in their order, and whether the end frame arrived with the right count."""

    captures: tuple[Capture, ...]
    complete: bool


def find_header(data: bytes, nonce: str) -> Header | None:
    """The header, wherever a talkative login shell left it; None while it is not there yet."""
    mark = f"{nonce} FLEET1 ".encode()
    at = data.find(mark)
    stop = data.find(b"\n", at)
    if at < 0 or stop < 0:
        return None
    words = data[at + len(mark) : stop].split()
    epoch = words[1] if len(words) > 1 else b""
    return Header(
        is_gzip=words[:1] == [b"gzip"],
        epoch_s=int(epoch) if epoch.isdigit() and len(epoch) <= _MAX_EPOCH_DIGITS else None,
        end=stop + 1,
    )


def inflate(data: bytes, limit: int) -> bytes:
    """Decompress gzip (RFC 1952) as far as it goes, at most ``limit`` bytes; damage ends it silently."""
    engine = zlib.decompressobj(31)
    try:
        return engine.decompress(data, limit)
    except zlib.error:
        return _inflate_as_far_as_it_goes(data, limit)


def _inflate_as_far_as_it_goes(data: bytes, limit: int) -> bytes:
    engine = zlib.decompressobj(31)
    parts: list[bytes] = []
    size = 0
    for at in range(0, len(data), 1024):
        try:
            part = engine.decompress(data[at : at + 1024], limit - size)
        except zlib.error:
            break
        parts.append(part)
        size += len(part)
        if size >= limit or engine.eof:
            break
    return b"".join(parts)


def deflate(data: bytes) -> bytes:
    """Compress as :func:`inflate` reads it."""
    engine = zlib.compressobj(1, zlib.DEFLATED, 31)
    return engine.compress(data) + engine.flush()


def split_sections(plain: bytes, nonce: str) -> tuple[Section, ...]:
    """The answer at its frame lines; the first section is what came before any of them."""
    mark = _mark(nonce)
    end = _find(plain, mark, 0)
    found = [Section(line=b"", data=plain[:end])]
    while end < len(plain):
        start = end + len(mark)
        end = _find(plain, mark, start)
        line_end = plain.find(b"\n", start, end) + 1 or end
        # Each byte is copied once: an answer has a megabyte of log and more.
        found.append(Section(line=plain[start:line_end], data=plain[line_end:end]))
    return tuple(found)


def _find(plain: bytes, mark: bytes, start: int) -> int:
    at = plain.find(mark, start)
    return len(plain) if at < 0 else at


def join_sections(sections: Iterable[Section], nonce: str) -> bytes:
    """What :func:`split_sections` took apart."""
    return _mark(nonce).join(section.line + section.data for section in sections)


def _mark(nonce: str) -> bytes:
    return f"\n{nonce} ".encode()


def parse_frames(sections: Sequence[Section], items: Mapping[str, Item]) -> Frames:
    """The captures in an answer; unknown items and broken frames are left out, nothing raises."""
    captures: list[Capture] = []
    opened: tuple[str, Privilege] | None = None
    body = b""
    complete = False
    seen = 0
    for section in sections[1:]:
        words, rest = section.line.decode("ascii", "replace").rstrip("\n").split(" "), section.data
        match words:
            case ["begin", name, privilege] if name in items and privilege in _PRIVILEGES:
                opened, body = (name, Privilege(privilege)), rest
            case ["end", name, code] if opened is not None and opened[0] == name:
                captures.append(_capture(items[name], opened[1], code, body, rest))
                opened = None
                seen += 1
            case ["skip", name, why] if name in items:
                captures.append(
                    Capture(item=name, data=b"", privilege=Privilege.USER, exit_code=None, skipped=why)
                )
                seen += 1
            case ["done", count]:
                complete = count == str(seen)
            case _:
                opened = None
    if opened is not None:
        captures.append(_capture(items[opened[0]], opened[1], "", body, b""))
    return Frames(captures=tuple(captures), complete=complete)


def _capture(item: Item, privilege: Privilege, code: str, body: bytes, stderr: bytes) -> Capture:
    cut = len(body) > item.max_bytes
    if cut:
        body = body[-item.max_bytes :] if item.newest else body[: item.max_bytes]
    # An end frame without a number: the section stopped in the middle.
    exit_code = int(code) if code.isdigit() and len(code) <= 3 else 255
    return Capture(
        item=item.name,
        data=body,
        privilege=privilege,
        exit_code=exit_code,
        cut=cut or not code,
        denied=exit_code != 0 and _is_denied(exit_code, body, stderr),
        stderr=stderr[:MAX_STDERR_BYTES],
    )


def _is_denied(exit_code: int, body: bytes, stderr: bytes) -> bool:
    if exit_code == _CANNOT_EXECUTE:
        return True
    found = _DENIED.search(stderr) if stderr else _DENIED_IN_OUTPUT.search(body[:_MAX_REFUSAL_BYTES])
    return found is not None
