"""What azcmagent prints (``show``, ``version``, ``config list``) to agent state, version and settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import dropwhile, takewhile
from typing import AnyStr

from fleet.model.observation import AgentState
from fleet.parse.documents import Found, json_objects
from fleet.parse.text import clean, decode, parse_instant, to_utf8

MAX_SHOW_BYTES = 1 << 20
CONFIG_HEAD = b"Local Configuration Settings"
VERSION_HEAD = b"azcmagent version"
_MAX_VALUE = 1000
_MAX_TOLD = 100
# Go's zero time, in any form.
_NEVER = "0001-01-01"
_MAX_INDENT = 40
_MAX_BLOCK_LINES = 100
_MAX_BLOCK_LINE = 4096
_STATUS = re.compile(rb"Agent Status[ \t]{0,100}:")
_HEADERS = (b"", b"Cloud Metadata", b"Dependent Service Status")
_LABEL = re.compile(r"^\s{0,40}([A-Za-z][\w ()/.-]{2,60}?) *:(?: (.*))?$")
_LABEL_WORDS = re.compile(rb"\s{0,40}[A-Za-z][\w ()/.-]{1,80}")
_SERVICE = re.compile(rb" +[^:()]{1,60}\([A-Za-z]{2,40}\) *:")
_VERSION = re.compile(r"\b(\d{1,3}\.\d{1,5}(?:\.\d{1,8}){0,2}(?:-\d{1,6})?)\b")
_VERSION_LINE = re.compile(rb"^azcmagent version +\d[^\n]{0,80}", re.MULTILINE)
_CONFIG = re.compile(r"^\s+([A-Za-z][A-Za-z.]*)(?: \(preview\))?\s*:\s?(.*)$")

# Labels of the text form and keys of the JSON form, both folded to lower case without blanks.
_FIELDS = {
    "agentstatus": "status",
    "status": "status",
    "agentversion": "version",
    "agentlastheartbeat": "heartbeat",
    "lastheartbeat": "heartbeat",
    "resourcename": "resource_name",
    "resourcegroupname": "resource_group",
    "resourcegroup": "resource_group",
    "subscriptionid": "subscription_id",
    "tenantid": "tenant_id",
    "location": "location",
    "cloud": "cloud",
    "agenterrorcode": "error_code",
    "agenterrordetails": "error_details",
    "usinghttpsproxy": "https_proxy",
    "httpsproxy": "https_proxy",
    "vmid": "vm_id",
}
# A truth in JSON, in the words of the other facts.
_YES_NO = {"true": "yes", "false": "no"}
_STATUS_WORDS = ("connected", "disconnected", "expired")
_OWN_KEYS = ("agentversion", "lastheartbeat", "resourcename", "tenantid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An agent state found in a text: ``block`` is the part that tells it, after ``before`` lines, ``rest``
    the text without any such part, the numbers of its lines kept. ``doubt``: why the state does not say
    whether the agent is connected though it says Connected, "" when it does. ``esu``: whether the host may
    have Extended Security Updates, in the agent's own words."""

    state: AgentState
    block: bytes
    rest: bytes
    before: int
    doubt: str = ""
    esu: str = ""


def find_show(data: bytes) -> Shown | None:
    """The last state ``azcmagent show`` printed (any version, text or JSON), in the middle of whatever."""
    data = to_utf8(data)
    as_json = _find_json(data)
    as_text = _find_text(as_json.rest if as_json else data)
    if as_json is None or as_text is None:
        return as_json or as_text
    last = max(as_json, as_text, key=lambda shown: shown.before)
    return replace(last, rest=as_text.rest)


def parse_version(data: bytes) -> str:
    """The version in the output of ``azcmagent version``, "" when there is none."""
    match = _VERSION.search(decode(data[:4096]))
    return match[1] if match else ""


def find_version(data: bytes) -> str:
    """The version a text of any kind says that ``azcmagent version`` printed, "" when there is none."""
    lines = _VERSION_LINE.findall(data)
    return parse_version(lines[-1]) if lines else ""


def parse_config_list(data: bytes) -> tuple[tuple[str, str], ...]:
    """(key, value) pairs that ``azcmagent config list`` printed in ``data``, keys without "(preview)"."""
    data = to_utf8(data)
    at = max(0, data.rfind(CONFIG_HEAD))
    lines = decode(data[at : at + (1 << 16)]).splitlines()
    found = takewhile(bool, dropwhile(lambda match: not match, map(_CONFIG.match, lines)))
    return tuple((match[1], match[2].strip()[:_MAX_VALUE]) for match in found if match)


def _find_json(data: bytes) -> Shown | None:
    text = decode(data[:MAX_SHOW_BYTES])
    objects = [(found, fields) for found in json_objects(text) if _is_agent(fields := _json_fields(found))]
    if not objects:
        return None
    rest = _blanked(text, [(found.start, found.end) for found, _ in objects], "\n")
    last, fields = objects[-1]
    block = text[last.start : last.end].encode()
    return _shown(fields, block, rest.encode() + data[MAX_SHOW_BYTES:], text.count("\n", 0, last.start))


def _json_fields(found: Found) -> Mapping[str, str]:
    return {
        clean(key).lower().replace(" ", ""): "" if value is None else clean(str(value))
        for key, value in found.members.items()
        if value is None or isinstance(value, str | int | float)
    }


def _is_agent(fields: Mapping[str, str]) -> bool:
    """Whether it is the agent's state: logs hold other objects with a status."""
    status = fields.get("status")
    return status is not None and (status.lower() in _STATUS_WORDS or not fields.keys().isdisjoint(_OWN_KEYS))


def _find_text(data: bytes) -> Shown | None:
    blocks = list(_text_blocks(data))
    if not blocks:
        return None
    start, end = blocks[-1]
    block = data[start:end]
    rest = _blanked(data, blocks, b"\n")
    return _shown(_text_fields(decode(block)), block, rest, data.count(b"\n", 0, start))


def _blanked(text: AnyStr, blocks: Iterable[tuple[int, int]], feed: AnyStr) -> AnyStr:
    """The text with nothing but the line feeds left of the blocks."""
    pieces: list[AnyStr] = []
    kept = 0
    for start, end in blocks:
        pieces += [text[kept:start], feed * text.count(feed, start, end)]
        kept = end
    pieces.append(text[kept:])
    return feed[:0].join(pieces)


def _text_blocks(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the blocks begin and end: the lines around a status whose colons stand in its column."""
    end = 0
    for status in _STATUS.finditer(data):
        at = status.start()
        start = max(data.rfind(b"\n", max(0, at - _MAX_INDENT), at) + 1, at - _MAX_INDENT, end)
        if at < end or data[start:at].strip(b" \t\r"):
            continue
        column = status.end() - 1 - start
        start = _block_start(data, start, end, column)
        end = _block_end(data, _line_end(data, at), column)
        yield start, end


def _block_start(data: bytes, start: int, limit: int, column: int) -> int:
    for _ in range(_MAX_BLOCK_LINES):
        before = data.rfind(b"\n", max(limit, start - _MAX_BLOCK_LINE), max(limit, start - 1)) + 1
        before = max(before, limit)
        if start - before > _MAX_BLOCK_LINE or start <= limit:
            break
        if not _is_of_block(data[before : start - 1], column):
            break
        start = before
    return start


def _block_end(data: bytes, end: int, column: int) -> int:
    for _ in range(_MAX_BLOCK_LINES):
        after = _line_end(data, end + 1)
        if end >= len(data) or not _is_of_block(data[end + 1 : after], column):
            break
        end = after
    return end


def _line_end(data: bytes, at: int) -> int:
    """Where the line ends; of one that is far too long, somewhere within it."""
    limit = min(len(data), at + _MAX_BLOCK_LINE)
    feed = data.find(b"\n", at, limit)
    return limit if feed < 0 else feed


def _is_of_block(line: bytes, column: int) -> bool:
    if line.strip() in _HEADERS or _SERVICE.match(line):
        return True
    if 0 < column == line.find(b":"):
        return _LABEL_WORDS.fullmatch(line[:column]) is not None
    return _folded(decode(line.partition(b":")[0])) in _FIELDS


def _folded(label: str) -> str:
    return "".join(label.lower().split())


def _text_fields(text: str) -> Mapping[str, str]:
    fields: dict[str, str] = {}
    for line in text.splitlines():
        match = _LABEL.match(line)
        if match:
            fields.setdefault(_folded(match[1]), (match[2] or "").strip())
    return fields


def _shown(fields: Mapping[str, str], block: bytes, rest: bytes, before: int) -> Shown:
    state = _state(fields)
    return Shown(
        state=state, block=block, rest=rest, before=before, doubt=_doubt(fields, state), esu=_esu(fields)
    )


def _state(fields: Mapping[str, str]) -> AgentState:
    known = {name: fields[key][:_MAX_VALUE] for key, name in _FIELDS.items() if fields.get(key)}
    heartbeat = parse_instant(known.pop("heartbeat", ""))
    vm_id = known.pop("vm_id", "").lower()
    # An id of zeros is none: every agent without one would have it.
    vm_id = vm_id if vm_id.strip("0-") else ""
    return AgentState(installed=True, last_heartbeat_at=heartbeat, vm_id=vm_id, **known)


def _esu(fields: Mapping[str, str]) -> str:
    """Agents from 1.64 on say it; under which name exactly is not documented."""
    told = (value for name, value in fields.items() if "esu" in name and "eligib" in name)
    value = next(filter(None, told), "")[:_MAX_VALUE]
    return _YES_NO.get(value.lower(), value)


def _doubt(fields: Mapping[str, str], state: AgentState) -> str:
    """A heartbeat that is not told at all is no reason to doubt: no key is promised by every version."""
    told = [fields[key] for key, name in _FIELDS.items() if name == "heartbeat" and key in fields]
    if not told or state.last_heartbeat_at or state.status.casefold() != "connected":
        return ""
    if not told[-1] or told[-1].startswith(_NEVER):
        return "it says Connected but has had no heartbeat"
    return f"it says Connected, but its last heartbeat is not understood: {told[-1][:_MAX_TOLD]}"
