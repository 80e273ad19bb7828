"""What ``azcmagent check`` prints, as a table or as JSON, to facts about the endpoints it tried."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fleet.model.observation import Fact
from fleet.parse.documents import read_objects
from fleet.parse.scan import Marks
from fleet.parse.text import decode

NONE = "none"
"""Stands in a fact for an empty list of endpoints."""

_ANSWER = re.compile(rb"\|[ \t]{0,40}reachable[ \t]{0,40}\||\"reachable\"", re.IGNORECASE)
ANSWERED = b"reachable"
"""This is in every answer that ``parse_check`` finds, in any case."""
_NAMED = Marks((ANSWERED,))
_BEFORE = 4096
_MAX_ANSWER = 262_144
_MAX_LINE = 1000
_MAX_LISTED = 12
_NAME = re.compile(r"(?:https?://)?([a-z0-9*-]+(?:\.[a-z0-9-]+)+)(?::\d{1,5})?(?:/\S*)?", re.IGNORECASE)
_TLS = re.compile(r"(?:TLS|SSL) ?v?(\d(?:\.\d)?)", re.IGNORECASE)
# The family of an endpoint by its name, old names and those of all clouds. Of any other name nobody knows
# what it is needed for; "-ats" is a helper that the agent does without.
_FAMILIES = {
    "optional": re.compile(r"-ats\.his\.arc\.azure\.[a-z]+$"),
    "required": re.compile(
        r"(?:^|[.-])(?:login|pas(?:ff)?)\.|\.his\.arc\.azure\.|\.his\.hybridcompute\.|\.guestconfiguration\.azure\."
        r"|\.gw\.arc\.azure\."
    ),
    "connect": re.compile(r"^management\."),
    "notification": re.compile(r"(?:^|\.)guestnotificationservice\.azure\.|^azgn[a-z0-9*-]*\.servicebus\."),
}
_LISTS = {
    "required": "check.unreachable",
    "connect": "check.unreachable_connect",
    "notification": "check.unreachable_notification",
    "optional": "check.unreachable_optional",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One endpoint as the agent found it; what it does not say is None or ""."""

    name: str
    reachable: bool | None
    private: bool | None
    tls: str
    proxy: bool | None
    required: bool | None = None


def check_facts(data: bytes, source: str) -> Iterator[Fact]:
    """What the endpoints are like; nothing when the text holds no answer of ``azcmagent check``."""
    tried = tuple(parse_check(data))
    if not tried:
        return
    closed = [each for each in tried if each.reachable is False]
    for family, fact in _LISTS.items():
        names = (each.name for each in closed if family_of(each) == family)
        yield Fact(name=fact, value=_listed(names), source=source)
    private = (each.name for each in tried if each.private)
    yield Fact(name="check.private", value=_listed(private), source=source)
    versions = sorted({each.tls for each in tried if each.tls})
    if versions:
        yield Fact(name="check.tls", value=versions[0], source=source)
    through = {each.proxy for each in tried if each.proxy is not None}
    if through:
        word = "in part" if len(through) > 1 else "set" if True in through else "not set"
        yield Fact(name="check.proxy", value=word, source=source)


def parse_check(data: bytes) -> Iterator[Tried]:
    """The endpoints of the table or the JSON, in order; log lines around them are passed over."""
    answers = (_ANSWER.search(data, low, high) for _, low, high in _NAMED.places(data))
    answer = next(filter(None, answers), None)
    if answer is None:
        return
    start = max(0, answer.start() - _BEFORE)
    part = data[start : start + _MAX_ANSWER]
    order: Mapping[str, int] = {}
    for line in decode(part).splitlines():
        cells = [cell.strip() for cell in line[:_MAX_LINE].split("|")]
        if cells[0].lower() == "endpoint":
            order = {cell.lower().split(" ")[0]: place for place, cell in enumerate(cells)}
        elif order and _NAME.fullmatch(cells[0]):
            told = {name: cells[place] for name, place in order.items() if place < len(cells)}
            yield from _tried(told)
    for entry in read_objects(part):
        yield from _tried({key.lower().split(" ")[0]: str(value) for key, value in entry.values.items()})


def family_of(tried: Tried) -> str:
    """What the agent needs the endpoint for: ``required`` always, ``connect`` to connect and disconnect,
    ``notification`` for commands from Azure, ``optional`` otherwise."""
    found = (family for family, look in _FAMILIES.items() if look.search(tried.name))
    return next(found, "required" if tried.required else "optional")


def _tried(told: Mapping[str, str]) -> Iterator[Tried]:
    name = _NAME.fullmatch(told.get("endpoint", ""))
    version = _TLS.search(told.get("tls", ""))
    if name is not None and "reachable" in told:
        yield Tried(
            name=name[1].lower(),
            reachable=_flag(told["reachable"]),
            private=_flag(told.get("private", "")),
            tls=f"TLS {version[1]}" if version else "",
            proxy=_proxied(told.get("proxy", "")),
            required=_flag(told.get("required", "")),
        )


def _flag(word: str) -> bool | None:
    return {"true": True, "yes": True, "false": False, "no": False}.get(word.strip().lower())


def _proxied(words: str) -> bool | None:
    words = words.strip().lower()
    if not words or words == "unknown":
        return None
    return not re.search(r"\bnot\b|\bno\b|bypass|disabled|false", words)


def _listed(names: Iterable[str]) -> str:
    found = sorted(set(names))
    more = f" and {len(found) - _MAX_LISTED} more" if len(found) > _MAX_LISTED else ""
    return ", ".join(found[:_MAX_LISTED]) + more or NONE
