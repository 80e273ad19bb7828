"""Windows hosts over SSH: the same rows as over WinRM, and the troubles that are SSH's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.lab.describe import Fault, HostDescription, load_demo
from fleet.lab.servers import Lab, running_lab
from fleet.lab.windows import Certificate, LanguageMode, Rights, System, Windows, WindowsLogin
from fleet.lab.winrm.words import WinrmFault
from fleet.model.report import HostResult
from fleet.model.words import OS, Connection, Phase, Reason, Word
from fleet.storage import open_existing
from tests.lab.estate import on_windows
from tests.lab.program import Call
from tests.lab.running import database_url

OVER_SSH = WindowsLogin(connection=Connection.SSH)
PLAIN_USER = Windows(login=WindowsLogin(rights=Rights.USER))
CONTROLLER = Windows(system=System(is_controller=True))
WRONG = "wrong-0"


def pairs() -> Iterator[tuple[HostDescription, HostDescription]]:
    """Hosts of the demo and a few more, over WinRM and over SSH, without those whose trouble is WinRM's or
    SSH's own."""
    hosts = (*load_demo(), on_windows("plain-user", PLAIN_USER), on_windows("controller", CONTROLLER))
    for host in hosts:
        windows = host.windows
        if windows and is_for_both(windows):
            login = replace(OVER_SSH, rights=windows.login.rights)
            yield host, replace(host, name=f"{host.name}-ssh", windows=replace(windows, login=login))


def is_for_both(windows: Windows) -> bool:
    return (
        windows.login.connection is Connection.WINRM
        and windows.fault is WinrmFault.NONE
        and windows.login.certificate is Certificate.VALID
        and windows.system.language_mode is LanguageMode.FULL
        # By how much a clock is wrong, and since when, is another number at each visit.
        and not windows.system.behind_s
    )


def troubles() -> Iterator[HostDescription]:
    well = on_windows("well", Windows(login=OVER_SSH))
    yield replace(well, name="wrong-key", fault=Fault.WRONG_HOST_KEY)
    yield replace(well, name="silent", fault=Fault.SILENT_AFTER_AUTH)
    yield replace(well, name="garbage", fault=Fault.GARBAGE_OUTPUT)
    constrained = System(language_mode=LanguageMode.CONSTRAINED)
    yield replace(well, name="constrained", windows=Windows(system=constrained, login=OVER_SSH))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    twins = [host for pair in pairs() for host in pair]
    with running_lab([*twins, *troubles()], tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture(scope="module")
def results(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, HostResult]:
    folder = tmp_path_factory.mktemp("run")
    words = ("--db", database_url(folder), "--connect-timeout", "10", "--host-timeout", "15")
    Call(folder, "collect", str(lab.inventory), *words).ended()
    return stored(folder)


def stored(folder: Path) -> Mapping[str, HostResult]:
    store = open_existing(database_url(folder))
    report = store.load(None)
    store.close()
    assert report is not None
    return {result.host.name: result for result in report.results}


def test_a_row_over_ssh_is_the_row_over_winrm(results: Mapping[str, HostResult]) -> None:
    twins = [(results[one.name], results[other.name]) for one, other in pairs()]
    assert {one.verdict.word for one, _ in twins} >= {Word.HEALTHY, Word.FAILING, Word.NOT_OBSERVED}
    for one, other in twins:
        assert (one.host.connection, one.host.os) == (Connection.WINRM, OS.WINDOWS)
        assert (other.host.connection, other.host.os) == (Connection.SSH, OS.WINDOWS)
        alike = replace(
            other,
            host=one.host,
            login=one.login,
            started_at=one.started_at,
            duration_s=one.duration_s,
            timings=one.timings,
            clock_offset_s=one.clock_offset_s,
        )
        if one.verdict.reason is Reason.PRIVILEGE:
            # A JEA endpoint is WinRM's.
            assert "jea" not in alike.verdict.action
            alike = replace(alike, verdict=replace(alike.verdict, action=one.verdict.action))
        assert alike == one, one.host.name


def test_each_host_is_asked_once_and_only_that(lab: Lab, results: Mapping[str, HostResult]) -> None:
    for _, host in pairs():
        (command,) = lab.commands(host.name)
        assert command.startswith("powershell -NoProfile -NonInteractive -Command ")


def test_what_goes_wrong_is_told_as_of_every_host_of_ssh(results: Mapping[str, HostResult]) -> None:
    found = {host.name: results[host.name].verdict for host in troubles()}
    assert {name: (verdict.reason, verdict.phase) for name, verdict in found.items()} == {
        "wrong-key": (Reason.IDENTITY, Phase.HANDSHAKE),
        "silent": (Reason.DEADLINE, Phase.EXEC),
        "garbage": (Reason.REMOTE, Phase.EXEC),
        "constrained": (Reason.REMOTE, Phase.EXEC),
    }
    assert {verdict.word for verdict in found.values()} == {Word.NOT_OBSERVED}
    assert "MethodInvocationNotSupportedInConstrainedLanguage" in found["constrained"].message
    assert "`powershell`" in found["constrained"].action


def test_a_wrong_password_counts_for_one_account_over_both(tmp_path: Path) -> None:
    refusing = Windows(fault=WinrmFault.WRONG_PASSWORD, login=WindowsLogin(password=WRONG))
    over_ssh = replace(OVER_SSH, password=WRONG)
    hosts = [on_windows(f"winrm-{number}", refusing) for number in range(2)]
    hosts += [on_windows(f"ssh-{number}", Windows(login=over_ssh)) for number in range(4)]
    with running_lab(hosts, tmp_path / "lab", is_canned=True) as lab:
        for number in range(4):
            (lab.folder / f"ssh-{number}.password").write_text("wrong-1")
        for number in range(2):
            (lab.folder / f"winrm-{number}.password").write_text("wrong-1")
        Call(tmp_path, "collect", str(lab.inventory), "--db", database_url(tmp_path)).ended()
        tried = sum(lab.winrm(host.name).auth_attempts for host in hosts[:2])
        tried += sum(len(lab.counters(host.name).passwords) for host in hosts[2:])
    assert tried == 2
    reasons = sorted(str(result.verdict.reason) for result in stored(tmp_path).values())
    assert reasons == ["auth"] * 2 + ["credential"] * 4
