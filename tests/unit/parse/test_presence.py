"""Installed, gone, or not known: only what was seen is said."""

from __future__ import annotations

import pytest

from fleet.model.observation import AgentState, Service
from fleet.model.visit import Capture
from fleet.model.words import Privilege
from fleet.parse.presence import answers, is_installed


def call(code: int | None, said: str = "", *, denied: bool = False, cut: bool = False) -> Capture:
    return Capture(
        item="agent.show",
        data=b"",
        privilege=Privilege.USER,
        exit_code=code,
        stderr=said.encode(),
        denied=denied,
        cut=cut,
    )


GONE = call(127, "sh: 1: azcmagent: not found")
RUNNING = Service(name="himds", unit="himdsd.service", load_state="loaded", active_state="active")
STOPPED = Service(name="himds", unit="himdsd.service", load_state="loaded", active_state="inactive")
STARTING = Service(name="himds", unit="himdsd.service", load_state="loaded", active_state="activating")
FAILED = Service(name="himds", unit="himds", active_state="failed")
BESIDE = Service(name="gcad", unit="GCArcService", load_state="loaded", active_state="running")
STOPPED_BESIDE = Service(name="gcad", unit="GCArcService", load_state="loaded", active_state="stopped")
FORGOTTEN = Service(name="himds", unit="himdsd.service", load_state="not-found", active_state="inactive")


@pytest.mark.parametrize(
    "said",
    [
        "sh: 1: azcmagent: not found",
        "sh: line 3: azcmagent: command not found",
        "sh: azcmagent: inaccessible or not found",
        "timeout: failed to run command 'azcmagent': No such file or directory",
        "timeout: failed to run command ‘azcmagent’: No such file or directory",
        "timeout: can't execute 'azcmagent': No such file or directory",
        "env: 'azcmagent': No such file or directory",
        "",
    ],
)
def test_a_program_nobody_finds_is_not_there(said: str) -> None:
    assert is_installed([call(127, said)], ()) is False


def test_sudo_says_not_found_in_its_own_way() -> None:
    missing = call(1, "sudo: azcmagent: command not found\n", denied=True)
    assert is_installed([missing], ()) is False
    assert is_installed([missing, call(0)], ()) is True


@pytest.mark.parametrize(
    "unclear",
    [
        call(None),
        call(126, "sh: 1: azcmagent: Permission denied", denied=True),
        call(126, "timeout: failed to run command 'azcmagent': Exec format error"),
        call(127, "azcmagent: error while loading shared libraries: libc.so.6"),
        call(127, "sh: 1: timeout: not found"),
        call(1, "sudo: a password is required", denied=True),
        call(255, cut=True),
    ],
)
def test_what_tells_nothing_of_the_program(unclear: Capture) -> None:
    assert is_installed([unclear], ()) is None
    assert answers([unclear], None) is None


def test_the_agents_own_trouble_shows_that_it_is_there() -> None:
    for trouble in (call(1, "open /var/opt/azcmagent: no such file or directory"), call(124), call(137)):
        assert is_installed([trouble], ()) is True
        assert answers([trouble], None) is False


@pytest.mark.parametrize(
    ("units", "installed", "on_windows"),
    [
        ((RUNNING,), True, True),
        ((STARTING,), True, True),
        ((STOPPED,), None, False),
        ((FAILED,), None, False),
        ((FORGOTTEN,), False, False),
        ((), False, False),
        ((STOPPED, BESIDE), None, None),
        ((BESIDE,), None, None),
        ((STOPPED_BESIDE,), False, False),
    ],
)
def test_units_without_their_program(
    units: tuple[Service, ...], installed: bool | None, on_windows: bool | None
) -> None:
    """What runs was not removed; what is only registered may be left of it, on Windows."""
    assert is_installed([GONE], units) is installed
    assert is_installed([GONE], units, leaves_units=True) is on_windows
    assert answers([GONE], None) is None


def test_nobody_asked() -> None:
    assert is_installed([], ()) is None
    for leaves_units in (False, True):
        assert is_installed([], (STOPPED,), leaves_units=leaves_units) is None
        assert is_installed([], (RUNNING,), leaves_units=leaves_units) is True


def test_an_answer_is_a_status() -> None:
    assert answers([call(0)], AgentState(status="Connected")) is True
    assert answers([call(0)], AgentState(resource_name="web01")) is False
    assert answers([call(124), call(1, denied=True)], None) is None
