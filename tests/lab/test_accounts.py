"""One account on hundreds of hosts, which a wrong password must not lock: what reaches them and is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet.lab.describe import HostDescription, Login
from fleet.lab.handout import USER
from fleet.lab.servers import Lab, running_lab
from fleet.lab.windows import Windows, WindowsLogin
from fleet.lab.winrm.words import WinrmFault
from fleet.model.report import Verdict
from fleet.model.words import Phase, Reason, Word
from fleet.storage import open_existing
from tests.lab.estate import WELL, on_windows
from tests.lab.program import Call
from tests.lab.running import database_url

HOSTS = 500
RIGHT = Login(password="login-right", sudo_password="sudo-right")
REFUSE_LOGIN = range(HOSTS - 10, HOSTS)
REFUSE_SUDO = range(HOSTS - 20, HOSTS - 10)
"""Ten each, two in a hundred, none of them the first: two refusals before anybody accepted it say that the
password is wrong."""


def describe(number: int) -> HostDescription:
    login = RIGHT
    if number in REFUSE_LOGIN:
        login = replace(RIGHT, is_refused=True)
    elif number in REFUSE_SUDO:
        login = replace(RIGHT, sudo_password="its-own")
    return replace(WELL, name=f"host-{number:03}", login=login)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(
        [describe(number) for number in range(HOSTS)], tmp_path_factory.mktemp("lab"), is_canned=True
    ) as lab:
        yield lab


def verdicts(lab: Lab, folder: Path, **passwords: str) -> Mapping[str, Verdict]:
    """Of a run whose inventory has one file of each password for all hosts that ask for it."""
    document: dict[str, Any] = yaml.load(lab.inventory.read_text(), yaml.CSafeLoader)
    for key, password in passwords.items():
        (folder / key).write_text(password)
        for host in document["hosts"].values():
            if key == "password" or "connection" not in host:
                host[key] = f"file:{folder / key}"
    document["defaults"] |= {
        key: str(lab.folder / document["defaults"][key]) for key in ("key_file", "known_hosts")
    }
    (folder / "inventory.yaml").write_text(yaml.dump(document, Dumper=yaml.CSafeDumper))
    words = ("--db", database_url(folder), "--concurrency", "50", "--connect-timeout", "30")
    code, _, _ = Call(folder, "collect", str(folder / "inventory.yaml"), *words).ended()
    assert code == 3
    store = open_existing(database_url(folder))
    report = store.load(None)
    store.close()
    assert report is not None
    assert len(report.results) == len(lab.descriptions)
    return {result.host.name: result.verdict for result in report.results}


def not_observed(found: Mapping[str, Verdict]) -> dict[tuple[Reason | None, Phase | None], set[str]]:
    """The hosts without a verdict by reason and phase; each of the others is healthy."""
    groups: dict[tuple[Reason | None, Phase | None], set[str]] = {}
    for name, verdict in found.items():
        if verdict.word is not Word.HEALTHY:
            assert verdict.word is Word.NOT_OBSERVED
            groups.setdefault((verdict.reason, verdict.phase), set()).add(name)
    return groups


def names(numbers: range) -> set[str]:
    return {describe(number).name for number in numbers}


def attempts(lab: Lab) -> tuple[int, int]:
    """How many passwords reached any login, and any sudo."""
    hosts = [host.name for host in lab.descriptions]
    return sum(len(lab.counters(name).passwords) for name in hosts), sum(map(lab.sudo_attempts, hosts))


def test_what_some_hosts_refuse_is_their_own_trouble(lab: Lab, tmp_path: Path) -> None:
    before = attempts(lab)
    found = verdicts(lab, tmp_path, password=RIGHT.password, become_password=RIGHT.sudo_password)
    assert not_observed(found) == {
        (Reason.AUTH, Phase.AUTH): names(REFUSE_LOGIN),
        (Reason.PRIVILEGE, Phase.BECOME): names(REFUSE_SUDO),
    }
    # One attempt a host, and none at a sudo that was not reached.
    assert attempts(lab) == (before[0] + HOSTS, before[1] + HOSTS - len(REFUSE_LOGIN))


def test_a_password_wrong_for_all_is_tried_twice(lab: Lab, tmp_path: Path) -> None:
    before = attempts(lab)
    found = not_observed(verdicts(lab, tmp_path, password="wrong"))
    assert {key: len(hosts) for key, hosts in found.items()} == {
        (Reason.AUTH, Phase.AUTH): 2,
        (Reason.CREDENTIAL, Phase.AUTH): HOSTS - 2,
    }
    assert attempts(lab) == (before[0] + 2, before[1])


def test_a_sudo_password_wrong_for_all_is_tried_twice(lab: Lab, tmp_path: Path) -> None:
    before = attempts(lab)
    found = not_observed(verdicts(lab, tmp_path, password=RIGHT.password, become_password="wrong"))
    assert {key: len(hosts) for key, hosts in found.items()} == {
        (Reason.AUTH, Phase.AUTH): len(REFUSE_LOGIN),
        (Reason.PRIVILEGE, Phase.BECOME): 2,
        (Reason.CREDENTIAL, Phase.BECOME): HOSTS - len(REFUSE_LOGIN) - 2,
    }
    assert attempts(lab) == (before[0] + HOSTS, before[1] + 2)


MIXED = 60
"""Half of them Windows hosts, one in fifteen of which refuses the account."""
OF_BOTH = WindowsLogin(user=rf"CORP\{USER}", password=RIGHT.password)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Hosts of both families with one account, which is one account of the domain."""
    faults = [
        WinrmFault.WRONG_PASSWORD if number % 15 == 14 else WinrmFault.NONE for number in range(MIXED // 2)
    ]
    windows = [
        on_windows(f"windows-{number:02}", Windows(login=OF_BOTH, fault=fault))
        for number, fault in enumerate(faults)
    ]
    linux = [replace(WELL, name=f"linux-{number:02}", login=RIGHT) for number in range(MIXED // 2)]
    with running_lab([*windows, *linux], tmp_path_factory.mktemp("mixed"), is_canned=True) as lab:
        yield lab


def tried(lab: Lab) -> int:
    """How many passwords reached a login of either family."""
    windows = [lab.winrm(host.name).auth_attempts for host in lab.descriptions if host.windows]
    return sum(windows) + sum(
        len(lab.counters(host.name).passwords) for host in lab.descriptions if not host.windows
    )


def test_a_password_wrong_for_hosts_of_both_families_is_tried_twice(mixed: Lab, tmp_path: Path) -> None:
    before = tried(mixed)
    found = not_observed(verdicts(mixed, tmp_path, password="wrong"))
    assert {key: len(hosts) for key, hosts in found.items()} == {
        (Reason.AUTH, Phase.AUTH): 2,
        (Reason.CREDENTIAL, Phase.AUTH): MIXED - 2,
    }
    assert tried(mixed) == before + 2


def test_what_some_windows_hosts_refuse_is_their_own_trouble(mixed: Lab, tmp_path: Path) -> None:
    before = tried(mixed)
    found = verdicts(mixed, tmp_path, password=RIGHT.password, become_password=RIGHT.sudo_password)
    assert not_observed(found) == {(Reason.AUTH, Phase.AUTH): {"windows-14", "windows-29"}}
    assert tried(mixed) == before + MIXED
    assert sum(mixed.winrm(host.name).shells_open for host in mixed.descriptions if host.windows) == 0
