"""An estate of any size in which every trouble has its share, and what fleet must say of each host."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
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


def _not_observed(reason: Reason, phase: Phase | None) -> Expectation:
    return Expectation(verdict=Word.NOT_OBSERVED, reason=reason, phase=phase)


def _failing(rule: str) -> Expectation:
    return Expectation(verdict=Word.FAILING, rule=rule)


def _broken(
    name: str, fault: Fault, reason: Reason, phase: Phase | None, become: Become = Become.SHELL
) -> HostDescription:
    return replace(
        WELL, name=name, fault=fault, login=Login(become=become), expect=_not_observed(reason, phase)
    )


WELL = parse_description(_WELL, "well.yaml")
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
_REFUSED = replace(WELL, name="refused", expect=_not_observed(Reason.AUTH, Phase.AUTH))

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


@contextmanager
def listening(count: int, folder: Path) -> Iterator[Path]:
    """The inventory of such an estate, which listens in a process of its own until the end."""
    ours, theirs = _FORKS.Pipe()
    process = _FORKS.Process(target=_serve, args=(theirs, count, folder))
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join()


def _serve(pipe: Connection, count: int, folder: Path) -> None:
    async def serve() -> None:
        async with start_lab(estate(count), folder, is_canned=True) as lab:
            pipe.send(lab.inventory)
            closed = asyncio.Event()
            asyncio.get_running_loop().add_reader(pipe.fileno(), closed.set)
            await closed.wait()
            asyncio.get_running_loop().remove_reader(pipe.fileno())

    # What it says of a client that left in the middle of an endless answer.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    asyncio.run(serve())
