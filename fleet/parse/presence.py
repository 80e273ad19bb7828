"""What became of calling the agent's program, to whether it is installed and whether it answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from fleet.model.observation import AgentState, Service
from fleet.model.visit import Capture
from fleet.parse.services import service_state

_CORE = "himds"
_ALIVE = ("running", "starting")
_CANNOT_RUN = 126
_NOT_FOUND = 127
_BROKEN_OFF = 255
_MISSING = re.compile(
    rb"azcmagent\W{0,8}(?:command not found|(?:inaccessible or )?not found|no such file or directory)",
    re.IGNORECASE,
)
_SUDO_MISSING = re.compile(rb"^sudo: azcmagent: command not found", re.MULTILINE)


def is_installed(
    calls: Iterable[Capture], units: Sequence[Service], *, leaves_units: bool = False
) -> bool | None:
    """Whether the agent is there. False only when its program was looked for and is not there, and no unit
    says otherwise; None when nobody could tell. ``leaves_units``: removing the agent may leave its units
    behind, so that one that does not run says nothing beside the program."""
    found = {_was_found(capture) for capture in calls}
    states = {unit.name: service_state(unit) for unit in units}
    if True in found or states.get(_CORE) in _ALIVE:
        return True
    if False not in found or any(state in _ALIVE for state in states.values()):
        return None
    # A unit without its program is what a removal leaves behind, or a program that hides: not known which.
    return False if leaves_units or not any(map(_is_registered, units)) else None


def answers(calls: Sequence[Capture], shown: AgentState | None) -> bool | None:
    """Whether ``show`` says a status. None when it never ran, or not with the rights it asks for."""
    if shown is not None and shown.status:
        return True
    if any(capture.denied for capture in calls) or not any(map(_was_found, calls)):
        return None
    return False


def _is_registered(unit: Service) -> bool:
    return unit.name == _CORE and (unit.load_state == "loaded" or service_state(unit) == "failed")


def _was_found(capture: Capture) -> bool | None:
    """Whether a call found the program; None when it tells nothing of it."""
    code, said = capture.exit_code, capture.stderr + b"\n" + capture.data[:4096]
    if code == 0:
        return True
    if _SUDO_MISSING.search(said) or (code == _NOT_FOUND and (_MISSING.search(said) or not said.strip())):
        return False
    # Other ways to end with 127 are the loader's and a wrapper's; 255 and cut is a section that broke off.
    broken_off = capture.cut and code == _BROKEN_OFF
    return None if code in (None, _CANNOT_RUN, _NOT_FOUND) or capture.denied or broken_off else True
