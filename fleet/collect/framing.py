"""Turns the framed answer of a visit into captures.

The answer is a header line in the clear, then frames, compressed where the host has gzip, and in lines of
Base64 (RFC 4648) where what carries it carries text only:

    NONCE FLEET1 gzip|gzip64|plain EPOCH
    NONCE begin ITEM PRIVILEGE / bytes / NONCE end ITEM EXITCODE / stderr
    NONCE skip ITEM WHY
    NONCE done COUNT

Every frame line starts with the nonce of this one visit, drawn after whatever a log holds was written: a
log cannot fake one. Without the done frame the answer is cut short.
"""

from __future__ import annotations

import binascii
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fleet.collect.plan import CODE_BYTES, keeps_end
from fleet.model.pack import Item
from fleet.model.visit import Capture
from fleet.model.words import Privilege
from fleet.parse.text import to_utf8

MAX_STDERR_BYTES = 2048
_MAX_REFUSAL_BYTES = 4096

_PRIVILEGES = frozenset(word.value for word in Privilege)
_DENIED = re.compile(
    rb"permission denied|operation not permitted|insufficient permissions|must be root"
    rb"|not seeing messages from other users|^sudo: (?!.*command not found)|^sorry, user \S+ ",
    re.IGNORECASE | re.MULTILINE,
)
# Where stderr came mixed with the output, words of the output are no refusal.
_DENIED_IN_OUTPUT = re.compile(
    rb"insufficient permissions|must be root|^sudo: (?!.*command not found)|^sorry, user \S+ ",
    re.IGNORECASE | re.MULTILINE,
)
_CANNOT_EXECUTE = 126
TIER0 = "tier0"
"""Why a domain controller's items are skipped where the inventory does not say that it may be visited."""
_WHYS = ("not-needed", "connected", "hung", TIER0)
_MAX_CODE_DIGITS = 3
# What ``tail -v`` writes above each file.
_FILE_HEAD = re.compile(rb"^==> .{1,400} <==\n", re.MULTILINE)
# No secret that was cut through reaches further; a line may be as long as the whole section.
_MAX_TORN_BYTES = 65536
_NO_BASE64 = bytes(
    byte for byte in range(256) if not (chr(byte).isascii() and chr(byte).isalnum()) and byte not in b"+/"
)
# What the script of a Windows host keeps of each of many files.
_FILE_BYTES = 4096
_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\x04\x03"
# The year 5138: later than any clock that is merely wrong, earlier than the end of datetime.
_MAX_EPOCH_DIGITS = 11


class Form(StrEnum):
    """How the frames travel."""

    GZIP = "gzip"
    GZIP64 = "gzip64"
    PLAIN = "plain"


_FORMS = {form.value.encode(): form for form in Form}


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The header line: how the rest travels, the host's clock in seconds since
    1970 (None: nothing usable was said), and where the rest begins."""

    form: Form
    epoch_s: int | None
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The rest of a frame line behind its nonce, with its newline, and the bytes up to the next frame, of
    which ``size`` arrived: to mask them may change their number."""

    line: bytes
    data: bytes
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """Decompressed bytes; ``is_whole``: the compressed ones hold nothing else, not even in hidden corners."""

    data: bytes
    is_whole: bool


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
        form=_FORMS.get(words[0] if words else b"", Form.PLAIN),
        epoch_s=int(epoch) if epoch.isdigit() and len(epoch) <= _MAX_EPOCH_DIGITS else None,
        end=stop + 1,
    )


def from_base64(data: bytes) -> bytes:
    """The bytes behind lines of Base64, as far as they are whole; what is none ends it silently."""
    # A host may put anything between the digits: this is the same work for all of it.
    kept = data.partition(b"=")[0].translate(None, _NO_BASE64)
    if len(kept) % 4 == 1:
        kept = kept[:-1]
    return binascii.a2b_base64(kept + b"=" * (-len(kept) % 4))


def inflate(data: bytes, limit: int) -> bytes:
    """Decompress gzip (RFC 1952) as far as it goes, at most ``limit`` bytes; damage ends it silently."""
    return open_gzip(data, limit).data


def open_gzip(data: bytes, limit: int) -> Plain:
    """As :func:`inflate`, and whether anything of ``data`` is not in the result."""
    engine = zlib.decompressobj(31)
    try:
        plain = engine.decompress(data, limit)
    except zlib.error:
        return Plain(data=_inflate_as_far_as_it_goes(data, limit), is_whole=False)
    # Optional fields of the header hold any text, and so do bytes behind the end.
    return Plain(data=plain, is_whole=engine.eof and not engine.unused_data and data[3] == 0)


def reheaded(data: bytes) -> bytes:
    """Whole gzip without optional fields, its ten bytes of header as :func:`deflate` writes them."""
    return _GZIP_HEADER + data[len(_GZIP_HEADER) :]


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


def split_sections(plain: bytes, nonce: str, most: int) -> tuple[Section, ...]:
    """The answer at its frame lines; the first section is what came before any of them, the last of ``most``
    is all the rest: each costs the masker a pass."""
    mark = _mark(nonce)
    end = _find(plain, mark, 0)
    found = [Section(line=b"", data=plain[:end], size=end)]
    while end < len(plain):
        start = end + len(mark)
        end = _find(plain, mark, start) if len(found) + 1 < most else len(plain)
        line_end = plain.find(b"\n", start, end) + 1 or end
        # Each byte is copied once: an answer has a megabyte of log and more.
        data = plain[line_end:end]
        found.append(Section(line=plain[start:line_end], data=data, size=len(data)))
    return tuple(found)


def _find(plain: bytes, mark: bytes, start: int) -> int:
    at = plain.find(mark, start)
    return len(plain) if at < 0 else at


def mask_sections(
    sections: Iterable[Section], items: Mapping[str, Item], mask: Callable[[bytes], bytes]
) -> Iterator[Section]:
    """Each section masked, the very same object when nothing of it was.

    Of a frame line as the script writes it nothing is masked: a secret may be a word of it. Where a bound cut
    the beginning off, the rest of the line cut through goes: it may hold a secret without what names it.
    """
    item = None
    for section in sections:
        words = _words(section)
        item = items.get(words[1]) if words[0] == "begin" and len(words) > 1 else None
        whole = _untorn(section.data, _torn_at(item, words[0]), is_many=_is_many(item))
        data = mask(whole) if whole else whole
        line = section.line if not section.line or _is_of_script(words, items) else mask(section.line)
        untouched = data is section.data and line is section.line
        yield section if untouched else Section(line=line, data=data, size=section.size)


def _words(section: Section) -> list[str]:
    return section.line.decode("ascii", "replace").rstrip("\n").split(" ")


def _is_of_script(words: Sequence[str], items: Mapping[str, Item]) -> bool:
    """Whether all the words are the script's own: a host that answers in its place writes any."""
    match words:
        case ["begin", name, privilege]:
            return name in items and privilege in _PRIVILEGES
        case ["end", name, code]:
            return name in items and (not code or _is_code(code))
        case ["skip", name, why]:
            return name in items and why in _WHYS
        case ["done", count]:
            return _is_code(count)
    return False


def _is_code(word: str) -> bool:
    return word.isdigit() and len(word) <= _MAX_CODE_DIGITS


def _is_many(item: Item | None) -> bool:
    return item is not None and ("-v" in item.argv or item.argv[0] == "files")


def _torn_at(item: Item | None, word: str) -> int | None:
    """From how many bytes on a text of that section has lost its beginning; None: never."""
    if word == "end":
        return MAX_STDERR_BYTES - CODE_BYTES
    if item is None:
        return None
    if item.argv[0] == "files":
        return _FILE_BYTES
    if "tail" in item.argv and "-c" in item.argv:
        return int(item.argv[item.argv.index("-c") + 1])
    return item.max_bytes + 1 if keeps_end(item) else None


def _untorn(data: bytes, torn_at: int | None, *, is_many: bool) -> bytes:
    """The data without the line that it, or each of many files in it, was cut through, the newline kept."""
    if torn_at is None or len(data) < torn_at:
        return data
    # In UTF-16 the byte of a newline is half of one, and what is cut off takes its byte order mark along.
    data = to_utf8(data)
    torn_at = min(torn_at, len(data))
    pieces, done = [], 0
    heads = [head.span() for head in _FILE_HEAD.finditer(data)] if is_many else [(0, 0)]
    ends = [*(begin for begin, _ in heads[1:]), len(data)]
    for (_, start), end in zip(heads, ends, strict=True):
        if end - start >= torn_at:
            feed = data.find(b"\n", start, start + _MAX_TORN_BYTES)
            pieces.append(data[done:start])
            done = min(start + _MAX_TORN_BYTES, len(data)) if feed < 0 else feed
    return b"".join([*pieces, data[done:]]) if done else data


def join_sections(sections: Iterable[Section], nonce: str) -> bytes:
    """What :func:`split_sections` took apart."""
    return _mark(nonce).join(section.line + section.data for section in sections)


def _mark(nonce: str) -> bytes:
    return f"\n{nonce} ".encode()


def parse_frames(sections: Sequence[Section], items: Mapping[str, Item]) -> Frames:
    """The captures in an answer; unknown items and broken frames are left out, nothing raises."""
    captures: list[Capture] = []
    opened: tuple[str, Privilege] | None = None
    body = Section(line=b"", data=b"", size=0)
    complete = False
    seen = 0
    for section in sections[1:]:
        match _words(section):
            case ["begin", name, privilege] if name in items and privilege in _PRIVILEGES:
                opened, body = (name, Privilege(privilege)), section
            case ["end", name, code] if opened is not None and opened[0] == name:
                captures.append(_capture(items[name], opened[1], code, body, section.data))
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


def _capture(item: Item, privilege: Privilege, code: str, section: Section, stderr: bytes) -> Capture:
    cut, body = section.size > item.max_bytes, section.data
    if cut:
        body = body[-item.max_bytes :] if item.newest else body[: item.max_bytes]
    # An end frame without a number: the section stopped in the middle.
    exit_code = int(code) if _is_code(code) else 255
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
