"""Parsed values to the named facts that rules test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from fleet.model.observation import AgentState, Fact, Service
from fleet.model.visit import Capture, Visit
from fleet.parse.host import Space
from fleet.parse.services import service_state
from fleet.parse.text import decode

_MAX_SETTINGS = 100
_NOT_FOUND_EXIT = 127


def yes(value: bool) -> str:
    """``yes`` or ``no``."""
    return "yes" if value else "no"


def agent_facts(agent: AgentState, source: str) -> Iterator[Fact]:
    """What ``azcmagent show`` says, as far as it says it."""
    onboarded = agent.is_onboarded
    told = (
        ("agent.status", agent.status),
        ("agent.version", agent.version),
        ("agent.onboarded", "" if onboarded is None else yes(onboarded)),
        ("agent.error_code", agent.error_code),
    )
    return (Fact(name=name, value=value, source=source) for name, value in told if value)


def service_facts(services: Iterable[Service], source: str) -> Iterator[Fact]:
    """State and restarts of each role."""
    for service in services:
        yield Fact(name=f"service.{service.name}.state", value=service_state(service), source=source)
        if service.restarts is not None:
            yield Fact(name=f"service.{service.name}.restarts", value=str(service.restarts), source=source)


def config_facts(settings: Iterable[tuple[str, str]], source: str) -> Iterator[Fact]:
    """One fact a setting, the last of a key holds."""
    for key, value in list(dict(settings).items())[:_MAX_SETTINGS]:
        yield Fact(name=f"config.{key}", value=value, source=source)


def space_facts(spaces: Iterable[Space], source: str) -> Iterator[Fact]:
    """Free KiB and used percent of each mount."""
    for space in spaces:
        yield Fact(name=f"space.{space.mount}.free_kb", value=str(space.free_kb), source=source)
        yield Fact(name=f"space.{space.mount}.used_pct", value=str(space.used_pct), source=source)


def clock_facts(visit: Visit, source: str) -> Iterator[Fact]:
    """The host's clock minus ours, and its size without the sign, in seconds."""
    if visit.clock_offset_s is None:
        return
    offset = _whole(visit.clock_offset_s)
    yield Fact(name="clock.offset_s", value=offset, source=source)
    yield Fact(name="clock.skew_s", value=offset.removeprefix("-"), source=source)


def age_fact(name: str, later: datetime, earlier: datetime, source: str) -> Fact:
    """Whole seconds from one instant to another."""
    return Fact(name=name, value=_whole((later - earlier).total_seconds()), source=source)


def is_missing(capture: Capture | None) -> bool:
    """Whether the shell, ``sudo`` or ``timeout`` said that there is no such program.

    A program whose libraries are missing ends with 127 as well, and is installed.
    """
    if capture is None or capture.exit_code in (None, 0):
        return False
    said = decode(capture.stderr[-2000:] + capture.data[-2000:]).lower()
    if "shared librar" in said or "glibc" in said:
        return False
    return capture.exit_code == _NOT_FOUND_EXIT or "azcmagent: command not found" in said


def was_run(capture: Capture | None) -> bool:
    """Whether the program itself was started, however it ended."""
    return (
        capture is not None
        and capture.exit_code is not None
        and not capture.denied
        and not is_missing(capture)
    )


def _whole(seconds: float) -> str:
    return str(round(seconds)) if abs(seconds) < 1e15 else "0"
