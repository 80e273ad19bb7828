"""An estate of any size in which every trouble has its share, and what fleet must say of each host."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from fleet.lab.describe import (
    Agent,
    Expectation,
    Fault,
    HostDescription,
    Login,
    UnitState,
    parse_description,
)
from fleet.lab.servers import start_lab
from fleet.lab.windows import Windows
from fleet.lab.winrm.words import WinrmCounters
from fleet.model.report import Verdict
from fleet.model.words import Become, Phase, Reason, Word

_FORKS = multiprocessing.get_context("forkserver")

SEED = 20261123
"""Of the order in which the hosts stand, the same on every machine."""

_WELL = """\
name: well
summary: Nothing; connected and reporting.
group: estate
os_release: 'ID=ubuntu'
agent: {status: Connected, heartbeat_age_s: 60, resource_name: well, resource_group: rg-estate}
logs:
  azcmagent: 'time="{t-9000}" level=info msg="Exit Code:  AZCM0000: No Error"'
  himds: 'time="{t-60}" level=info msg="Heartbeat sent" Status Code=200'
expect: {verdict: HEALTHY}
"""


_WINDOWS_WELL = """\
name: windows-well
summary: Nothing; connected and reporting.
group: windows
os: windows
agent: {status: Connected, heartbeat_age_s: 60, resource_name: windows-well, resource_group: rg-estate}
logs:
  azcmagent: 'time="{t-9000}" level=info msg="Exit Code:  AZCM0000: No Error"'
  himds: 'time="{t-60}" level=info msg="Heartbeat sent" Status Code=200'
expect: {verdict: HEALTHY}
"""


def not_observed(reason: Reason, phase: Phase | None) -> Expectation:
    """Of a host that nobody has looked at."""
    return Expectation(verdict=Word.NOT_OBSERVED, reason=reason, phase=phase)


def _failing(rule: str) -> Expectation:
    return Expectation(verdict=Word.FAILING, rule=rule)


def _broken(
    name: str, fault: Fault, reason: Reason, phase: Phase | None, become: Become = Become.SHELL
) -> HostDescription:
    return replace(
        WELL, name=name, fault=fault, login=Login(become=become), expect=not_observed(reason, phase)
    )


WELL = parse_description(_WELL, "well.yaml")
WINDOWS_WELL = parse_description(_WINDOWS_WELL, "windows-well.yaml")
_DOWN = replace(
    WELL,
    name="himds-down",
    services=(("himdsd", UnitState.FAILED),),
    expect=_failing("service-himds-down"),
)
_GONE = replace(
    WELL,
    name="disconnected",
    agent=Agent(status="Disconnected", resource_name="disconnected", resource_group="rg-estate"),
    expect=_failing("agent-disconnected"),
)
_REFUSED = replace(WELL, name="refused", expect=not_observed(Reason.AUTH, Phase.AUTH))

DEADLINE = Reason.DEADLINE
OF_A_HUNDRED = (
    (3, _broken("dead", Fault.CONNECTION_REFUSED, Reason.UNREACHABLE, Phase.CONNECT)),
    (2, _broken("gone", Fault.NO_ANSWER, DEADLINE, Phase.CONNECT)),
    (3, _broken("silent-connect", Fault.NO_ANSWER, DEADLINE, Phase.CONNECT)),
    (3, _broken("silent-handshake", Fault.SILENT_AFTER_ACCEPT, DEADLINE, Phase.HANDSHAKE)),
    (3, _broken("silent-auth", Fault.SILENT_AT_LOGIN, DEADLINE, Phase.AUTH)),
    (3, _broken("silent-become", Fault.SILENT_AFTER_AUTH, DEADLINE, Phase.BECOME)),
    (3, _broken("silent-exec", Fault.SILENT_AFTER_AUTH, DEADLINE, Phase.EXEC, Become.READS)),
    (3, _broken("silent-transfer", Fault.SILENT_MID_OUTPUT, DEADLINE, Phase.TRANSFER)),
    (1, _broken("changed-key", Fault.WRONG_HOST_KEY, Reason.IDENTITY, Phase.HANDSHAKE)),
    (1, _REFUSED),
    (1, _broken("endless", Fault.ENDLESS_OUTPUT, Reason.REMOTE, Phase.EXEC, Become.READS)),
    (1, _broken("cut", Fault.CUT_OUTPUT, Reason.REMOTE, Phase.TRANSFER)),
    (63, WELL),
    (6, _DOWN),
    (4, _GONE),
)
"""How many hosts of a hundred are like which."""


def estate(count: int) -> tuple[HostDescription, ...]:
    """That many hosts, a multiple of a hundred, in one fixed order; each says what fleet must say of it."""
    hosts = [host for hundred in range(count // 100) for host in _hundred(hundred)]
    Random(SEED).shuffle(hosts)
    return tuple(hosts)


def on_windows(
    name: str, windows: Windows, expect: Expectation = WINDOWS_WELL.expect, agent: Agent = WINDOWS_WELL.agent
) -> HostDescription:
    """A well Windows host of that name, but for what is told."""
    return replace(WINDOWS_WELL, name=name, windows=windows, expect=expect, agent=agent)


def told(verdict: Verdict) -> tuple[Word, Reason | None, Phase | None]:
    """What was said of a host, to be compared with what is expected."""
    return verdict.word, verdict.reason, verdict.phase


def _hundred(number: int) -> Iterator[HostDescription]:
    for share, host in OF_A_HUNDRED:
        for place in range(share):
            yield _named(host, f"{host.name}-{number * share + place + 1:05}")


def _named(host: HostDescription, name: str) -> HostDescription:
    # A wrong password of each host's own: one of many hosts would be suspended.
    login = Login(is_refused=True, password=f"wrong-{name}") if host is _REFUSED else host.login
    return replace(host, name=name, agent=replace(host.agent, resource_name=name), login=login)


@dataclass(frozen=True, slots=True)
class FarLab:
    """A lab in a process of its own."""

    inventory: Path
    _pipe: Connection

    def counters(self) -> Mapping[str, WinrmCounters]:
        """What has reached each of its Windows hosts so far."""
        self._pipe.send(None)
        return self._pipe.recv()  # type: ignore[no-any-return]


@contextmanager
def listening(count: int, folder: Path) -> Iterator[Path]:
    """The inventory of such an estate, which listens in a process of its own until the end."""
    with far_lab(estate(count), folder) as lab:
        yield lab.inventory


@contextmanager
def far_lab(hosts: Sequence[HostDescription], folder: Path) -> Iterator[FarLab]:
    """These hosts, canned, in a process of their own until the end."""
    ours, theirs = _FORKS.Pipe()
    process = _FORKS.Process(target=_serve, args=(theirs, hosts, folder))
    process.start()
    theirs.close()
    try:
        yield FarLab(ours.recv(), ours)
    finally:
        ours.close()
        process.join()


def _serve(pipe: Connection, hosts: Sequence[HostDescription], folder: Path) -> None:
    async def serve() -> None:
        async with start_lab(hosts, folder, is_canned=True) as lab:
            closed = asyncio.Event()

            def count() -> None:
                try:
                    pipe.recv()
                except EOFError:
                    closed.set()
                    return
                pipe.send({host.name: lab.winrm(host.name) for host in hosts if host.windows})

            pipe.send(lab.inventory)
            asyncio.get_running_loop().add_reader(pipe.fileno(), count)
            await closed.wait()
            asyncio.get_running_loop().remove_reader(pipe.fileno())

    # What it says of a client that left in the middle of an endless answer.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    asyncio.run(serve())
