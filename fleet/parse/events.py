"""Windows events about the agent, and its installer's log, to what became of services and installation.

Told by numbers alone: the words of an event are in the host's language.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from fleet.parse.documents import Members, read_objects
from fleet.parse.text import decode, parse_instant, to_number, to_utf8

_ENDED = (7031, 7034)
# A service that did not start, or ended itself, names the error; the other two are one error each:
# ERROR_LOGON_TYPE_NOT_GRANTED and ERROR_SERVICE_REQUEST_TIMEOUT.
_NAMES_ERROR = (7000, 7023, 7024)
_LOGON_DENIED, _START_TIMED_OUT = 7041, 7009
_MEANS = {_LOGON_DENIED: "1385", _START_TIMED_OUT: "1053"}
_ERROR = re.compile(r"%%(\d{1,10})")
_PROGRAMS = {
    "himds.exe": "himds",
    "gc_arc_service.exe": "gcad",
    "gc_service.exe": "gcad",
    "gc_extension_service.exe": "extd",
    "arcproxy.exe": "arcproxy",
}
_A_DAY = timedelta(days=1)

# MsiInstaller: 1033 and 1034 carry a status as the fourth property, 11707 and 11708 say it by their number.
_INSTALLED, _REMOVED, _SUCCEEDED, _FAILED = 1033, 1034, 11707, 11708
_STATUS_PLACE = 3
# ERROR_SUCCESS, ERROR_SUCCESS_REBOOT_INITIATED, ERROR_SUCCESS_REBOOT_REQUIRED
_DONE = ("0", "1641", "3010")
_RETURNING = re.compile(r"MainEngineThread is returning (\d{1,6})\b")
_RETURN_VALUE_3 = re.compile(r"(?m)^Action ended \d\d?:\d\d:\d\d: INSTALL\. Return value 3\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; ``at`` aware or None."""

    id: int
    at: datetime | None
    properties: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashes:
    """How often a service ended unexpectedly: in all events read, and in the day before ``now``."""

    count: int
    in_a_day: int
    last_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """How the newest attempt ended: ``installed``, ``removed``, ``failed``, with msiexec's code where that is
    known of a failure."""

    word: str
    code: str = ""


def parse_events(data: bytes) -> tuple[Event, ...]:
    """The events, newest first; without a number it is none."""
    found = [event for entry in read_objects(data) if (event := _event(entry)) is not None]
    # Sorting is stable: those without a time stay where they were among themselves, at the end.
    return tuple(sorted(found, key=lambda event: event.at.timestamp() if event.at else 0.0, reverse=True))


def count_crashes(events: Iterable[Event], names: Sequence[str], now: datetime | None) -> Crashes:
    """The unexpected ends of the service that has these names."""
    ends = [event for event in events if event.id in _ENDED and _is_about(event, names)]
    times = [event.at for event in ends if event.at is not None]
    recent = [at for at in times if now is not None and now - at <= _A_DAY]
    return Crashes(count=len(ends), in_a_day=len(recent), last_at=max(times, default=None))


def find_start_error(events: Iterable[Event], names: Sequence[str], booted_at: datetime | None) -> str:
    """The Win32 error of the newest event that says why the service does not run, "" when none does.

    What was before the last boot is over, and so is what was before the service ran again: one that ended
    unexpectedly had started.
    """
    about = (event for event in events if _is_about(event, names) and _is_since(event, booted_at))
    lately = takewhile(lambda event: event.id not in _ENDED, about)
    return next((error for event in lately if (error := _start_error(event))), "")


def find_faults(events: Iterable[Event]) -> Mapping[str, str]:
    """Of each of the agent's programs that crashed, by role, module and exception of its last crash."""
    faults: dict[str, str] = {}
    for event in events:
        program = event.properties[0].lower() if event.properties else ""
        role = "agent" if program == "azcmagent.exe" else _PROGRAMS.get(program)
        if role is not None:
            faults.setdefault(role, " ".join((program, *event.properties[3:4], *event.properties[6:7])))
    return faults


def find_installation(events: Sequence[Event], log: bytes) -> Installation | None:
    """How installing or removing the agent ended last, by the events or else by the installer's own log."""
    ended = [event for event in events if event.id in (_INSTALLED, _REMOVED, _SUCCEEDED, _FAILED)]
    if not ended:
        return _from_log(decode(to_utf8(log)))
    newest = ended[0]
    code = _status(newest)
    if newest.id == _FAILED or (code and code not in _DONE):
        # The same failure is told by two events, one of which has the code.
        codes = (_status(event) for event in ended)
        return Installation(
            word="failed", code=next((each for each in codes if each not in ("", *_DONE)), "")
        )
    return Installation(word="removed" if newest.id == _REMOVED else "installed")


def _from_log(text: str) -> Installation | None:
    codes = _RETURNING.findall(text)
    if codes:
        return (
            Installation(word="installed")
            if codes[-1] in _DONE
            else Installation(word="failed", code=codes[-1])
        )
    return Installation(word="failed") if _RETURN_VALUE_3.search(text) else None


def _event(entry: Members) -> Event | None:
    number = entry.number("id")
    if number is None:
        return None
    at = parse_instant(entry.text("at"))
    return Event(id=number, at=at, properties=entry.texts("properties") or ())


def _is_about(event: Event, names: Sequence[str]) -> bool:
    known = {name.casefold() for name in names if name}
    return any(value.casefold() in known for value in event.properties)


def _is_since(event: Event, booted_at: datetime | None) -> bool:
    return booted_at is None or (event.at is not None and event.at >= booted_at)


def _start_error(event: Event) -> str:
    if event.id in _MEANS:
        return _MEANS[event.id]
    return next(_errors(event), "") if event.id in _NAMES_ERROR else ""


def _errors(event: Event) -> Iterator[str]:
    for value in event.properties:
        if match := _ERROR.fullmatch(value):
            yield match[1]


def _status(event: Event) -> str:
    if event.id not in (_INSTALLED, _REMOVED):
        return ""
    status = event.properties[_STATUS_PLACE] if len(event.properties) > _STATUS_PLACE else ""
    return status if to_number(status) is not None else ""
