"""Windows hosts beside Linux ones, and every way in which WinRM fails: what a run says and what it leaves."""

from __future__ import annotations

import os
import re
import select
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fleet.collect.deadlines import Limits
from fleet.inventory.load import load_inventory
from fleet.lab.describe import Expectation, Fault, HostDescription
from fleet.lab.servers import running_lab
from fleet.lab.windows import Certificate, System, Windows, WindowsLogin
from fleet.lab.winrm.words import WinrmCounters, WinrmFault
from fleet.model.report import RunReport
from fleet.model.words import Phase, Reason, Scheme
from fleet.storage import open_existing
from tests.lab.estate import WELL, WINDOWS_WELL, far_lab, not_observed, on_windows, told
from tests.lab.leftovers import Left, visited
from tests.lab.program import BOUND_S, Call
from tests.lab.running import database_url
from tests.lab.test_fault_table import DOC, WINDOWS

_ROW = re.compile(
    r"^\| `([a-z0-9-]+)` \| [^|]+ \| (?:(\w+) during (\w+)|nothing: it is seen) \|$", re.MULTILINE
)
CONNECT_S, HOST_S = 6, 12


def table() -> Mapping[WinrmFault, Expectation]:
    """What docs/lab.md promises of each fault."""
    return {
        WinrmFault(fault): not_observed(Reason(reason), Phase(phase)) if reason else WINDOWS_WELL.expect
        for fault, reason, phase in _ROW.findall(DOC.read_text().partition(WINDOWS)[2])
    }


def hosts() -> Iterator[HostDescription]:
    for fault, expect in table().items():
        yield on_windows(fault.value, Windows(fault=fault), expect)
    for kind in Certificate:
        expect = not_observed(Reason.IDENTITY, Phase.HANDSHAKE)
        login = WindowsLogin(scheme=Scheme.HTTPS, certificate=kind)
        yield on_windows(
            f"certificate-{kind}",
            Windows(login=login),
            WINDOWS_WELL.expect if kind is Certificate.VALID else expect,
        )
    over_tls = WindowsLogin(scheme=Scheme.HTTPS)
    yield on_windows("bound", Windows(fault=WinrmFault.STRICT_CHANNEL_BINDING, login=over_tls))
    late = not_observed(Reason.DEADLINE, Phase.HANDSHAKE)
    yield on_windows("silent-tls", Windows(fault=WinrmFault.HANG_AT_ACCEPT, login=over_tls), late)
    yield on_windows("jea", Windows(login=WindowsLogin(configuration="Fleet.Visit")))
    yield on_windows(
        "controller", Windows(system=System(is_controller=True)), not_observed(Reason.SKIPPED, None)
    )
    # An account of its own: no other host may have accepted it, or refused it.
    late_and_refused = Windows(
        system=System(behind_s=420), fault=WinrmFault.WRONG_PASSWORD, login=WindowsLogin(user=r"CORP\other")
    )
    yield on_windows("late-and-refused", late_and_refused, not_observed(Reason.AUTH, Phase.AUTH))
    yield from (replace(WELL, name=f"linux-{number}") for number in range(8))
    refused = not_observed(Reason.UNREACHABLE, Phase.CONNECT)
    yield replace(WELL, name="linux-dead", fault=Fault.CONNECTION_REFUSED, expect=refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What one run stored, what it left, and what had reached each Windows host at its end."""

    report: RunReport
    before: Left
    after: Left
    counters: Mapping[str, WinrmCounters]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One run of all of them in this process, after another that has loaded what there is to load."""
    folder = tmp_path_factory.mktemp("mixed")
    db = database_url(folder)
    limits = Limits(connect_s=CONNECT_S, host_s=HOST_S)
    with far_lab(tuple(hosts()), folder / "lab") as lab:
        inventory = load_inventory(lab.inventory)
        some = tuple(host for host in inventory if host.name in ("jea", "linux-1"))
        before = visited(lab.inventory, some, f"sqlite:///{folder}/first.db", limits)
        after = visited(lab.inventory, inventory, db, limits)
        counters = lab.counters()
    store = open_existing(db)
    report = store.load(None)
    store.close()
    assert report is not None
    return Ran(report=report, before=before, after=after, counters=counters)


def test_every_fault_has_its_row() -> None:
    assert sorted(table()) == sorted(set(WinrmFault) - {WinrmFault.NONE})


def test_each_host_has_its_row_with_the_right_word(ran: Ran) -> None:
    found = {one.host.name: told(one.verdict) for one in ran.report.results}
    assert found == {
        host.name: (host.expect.verdict, host.expect.reason, host.expect.phase) for host in hosts()
    }
    assert len(ran.report.results) == len(found)


def test_no_shell_stays_open(ran: Ran) -> None:
    found = {name: counters.shells_open for name, counters in ran.counters.items() if counters.shells_open}
    # One keeps it; for the others another may have answered, and they are given no further login.
    unproven = (WinrmFault.BAD_SEAL, WinrmFault.UNSEALED_ANSWER)
    assert found == dict.fromkeys((WinrmFault.DELETE_FAILS, *unproven), 1)
    assert sum(counters.shells_opened for counters in ran.counters.values()) > len(ran.counters) / 2


def test_no_host_is_given_a_refused_password_again(ran: Ran) -> None:
    assert ran.counters[WinrmFault.WRONG_PASSWORD].auth_attempts == 1
    # A shell that is still open after a connection broke is ended over another.
    assert max(counters.auth_attempts for counters in ran.counters.values()) == 2


def test_a_refusal_is_told_with_the_clock_that_may_be_its_cause(ran: Ran) -> None:
    messages = {one.host.name: one.verdict.message for one in ran.report.results}
    assert "the host's clock is 7 min behind" in messages["late-and-refused"]
    assert "clock" not in messages[WinrmFault.WRONG_PASSWORD]


def test_nothing_is_left_running_or_open(ran: Ran) -> None:
    assert not ran.after.tasks
    assert (ran.after.threads, ran.after.files) == (ran.before.threads, ran.before.files)
    assert ran.after.children == ran.before.children


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_run_that_is_ended_takes_its_workers_along(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    silent = on_windows("silent", Windows(fault=WinrmFault.HANG_AT_RECEIVE))
    with running_lab([silent, on_windows("well", Windows())], tmp_path / "lab") as lab:
        words = ("--db", database_url(tmp_path), "--connect-timeout", "60", "--host-timeout", "60")
        call = Call(tmp_path, "collect", str(lab.inventory), *words)
        counters = lab.winrm("silent")
        call.wait_until(lambda: counters.commands == 1)
        workers = children(call.pid)
        assert workers
        call.send(number)
        assert call.ended()[0] == code
        assert all(map(ends, workers))
        if number is signal.SIGINT:
            assert counters.shells_open == 0


def children(process: int) -> tuple[int, ...]:
    """Those of all its threads."""
    lists = (path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children"))
    return tuple(int(pid) for text in lists for pid in text.split())


def ends(process: int) -> bool:
    """Whether it has ended, or does soon: who was killed tells nobody, and its pipes close with it."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    readable, _, _ = select.select([descriptor], [], [], BOUND_S)
    os.close(descriptor)
    return bool(readable)
