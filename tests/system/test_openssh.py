"""Whole runs against a real sshd with real sudo."""

from __future__ import annotations

import contextlib
import csv
import os
import sqlite3
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest

from tests.system.conftest import HOSTS, PASSWORD, ROOT, USER, Estate

pytestmark = pytest.mark.system

Rows = dict[str, dict[str, str]]


def known_hosts(estate: Estate, folder: Path, *, key: Path | None = None) -> Path:
    path = folder / "known_hosts"
    words = (key or estate.host_key).read_text().split()[:2]
    path.write_text(
        "".join(f"[{estate.address(n)}]:{estate.port} {' '.join(words)}\n" for n in range(1, HOSTS + 1))
    )
    return path


def collect(
    estate: Estate, folder: Path, variables: str, numbers: range, *arguments: str, **env: str
) -> tuple[int, Rows]:
    inventory = folder / "inventory.yaml"
    hosts = "\n".join(f"  host{n:02}: {{address: {estate.address(n)}, port: {estate.port}}}" for n in numbers)
    inventory.write_text(
        f"defaults: {{user: {USER}, known_hosts: known_hosts, {variables}}}\nhosts:\n{hosts}\n"
    )
    if not (folder / "known_hosts").exists():
        known_hosts(estate, folder)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "fleet",
            "collect",
            str(inventory),
            "--db",
            f"sqlite:///{folder}/fleet.db",
            "--out",
            str(folder / "out"),
            "--host-timeout",
            "60",
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
    )
    assert (folder / "out/hosts.csv").exists(), done.stdout + done.stderr
    with (folder / "out/hosts.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = {row["host"]: row for row in csv.DictReader(stream)}
    assert len(rows) == len(numbers)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, rows


def verdicts(rows: Rows) -> dict[str, int]:
    words = [row["verdict"] for row in rows.values()]
    return {word: words.count(word) for word in sorted(set(words))}


def test_fifty_hosts_as_root_by_sudo(estate: Estate, tmp_path: Path) -> None:
    code, rows = collect(
        estate,
        tmp_path,
        f"key_file: {estate.key}, become: shell, become_password: 'env:FLEETOPS_PW'",
        range(1, HOSTS + 1),
        FLEETOPS_PW=PASSWORD,
    )
    assert code == 1
    assert {rows[host]["reason"] for host in ("host07", "host08")} == {"privilege"}
    assert verdicts(rows) == {"FAILING": 10, "HEALTHY": 38, "NOT_OBSERVED": 2}
    assert {rows[f"host{n}"]["code"] for n in range(41, 45)} == {"AZCM0042"}
    assert {rows[f"host{n}"]["rule"] for n in range(45, 48)} == {"service-himds-down"}
    assert {rows[f"host{n}"]["rule"] for n in range(48, 51)} == {"agent-not-installed"}
    assert left_running(estate) == []


def left_running(estate: Estate) -> list[str]:
    """Processes of the login and of visits as root, without those that only wait to be reaped. The daemon's
    mount namespace tells its own from those of other tests."""
    listed = subprocess.run(
        ["ps", "-e", "-o", "mntns=,stat=,user:32=,args="], capture_output=True, text=True, check=True
    )
    space = f"{Path(f'/proc/{estate.daemon}/ns/mnt').stat().st_ino} "
    lines = [line.strip() for line in listed.stdout.splitlines()]
    return [
        line
        for line in (line.removeprefix(space) for line in lines if line.startswith(space))
        if not line.startswith("Z") and (f" {USER} " in line or "sh -s -- " in line or "sleep 6061" in line)
    ]


@pytest.mark.parametrize("become", ["none", "shell"])
def test_a_deadline_leaves_nothing_running(estate: Estate, tmp_path: Path, become: str) -> None:
    hang = ROOT / "tree5/usr/local/bin/hang"
    hang.touch()
    try:
        code, rows = collect(
            estate,
            tmp_path,
            f"key_file: {estate.key}, become: {become}",
            range(5, 6),
            "--host-timeout",
            "3",
        )
    finally:
        hang.unlink()
    assert (code, rows["host05"]["reason"], rows["host05"]["phase"]) == (3, "deadline", "transfer")
    ends = time.monotonic() + 10
    while left_running(estate) and time.monotonic() < ends:
        threading.Event().wait(0.05)
    assert left_running(estate) == []


def test_without_privilege_logs_are_not_guessed(estate: Estate, tmp_path: Path) -> None:
    code, rows = collect(estate, tmp_path, f"key_file: {estate.key}", range(1, 4))
    assert code == 3
    assert {(row["verdict"], row["reason"]) for row in rows.values()} == {("NOT_OBSERVED", "privilege")}


def test_single_reads_by_sudo(estate: Estate, tmp_path: Path) -> None:
    code, rows = collect(estate, tmp_path, f"key_file: {estate.key}, become: reads", range(7, 10))
    assert code == 3
    assert rows["host07"]["reason"] == "privilege"
    assert rows["host08"]["verdict"] == "HEALTHY", "the drop-in allows every read that needs root"
    assert rows["host09"]["verdict"] == "HEALTHY", "busybox is enough"


def test_the_drop_in_allows_nothing_else(estate: Estate) -> None:
    for command in ("tail -c 1048577 /etc/shadow", "timeout -k 2 20 tail -c 1048577 /etc/shadow", "sh"):
        said = ssh(estate, 8, f"sudo -n {command} </dev/null")
        assert said.returncode == 1, said
        assert "sudo:" in said.stderr


def ssh(estate: Estate, number: int, command: str) -> subprocess.CompletedProcess[str]:
    options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
    return subprocess.run(
        [
            *("ssh", "-F", "none", "-i", str(estate.key), "-p", str(estate.port)),
            *(word for option in options for word in ("-o", option)),
            *(f"{USER}@{estate.address(number)}", command),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_password_nobody_asks_for_stays_here(estate: Estate, tmp_path: Path) -> None:
    code, rows = collect(
        estate,
        tmp_path,
        f"key_file: {estate.key}, become: shell, become_password: 'env:FLEETOPS_PW'",
        range(1, 7),
        FLEETOPS_PW="wrong one",
    )
    assert (code, verdicts(rows)) == (0, {"HEALTHY": 6})


def test_a_changed_host_key_is_refused(estate: Estate, tmp_path: Path) -> None:
    known_hosts(estate, tmp_path, key=estate.key.with_suffix(".pub"))
    before = estate.attempts("Accepted")
    code, rows = collect(estate, tmp_path, f"key_file: {estate.key}, become: shell", range(1, 4))
    assert code == 3
    assert {row["reason"] for row in rows.values()} == {"identity"}
    assert estate.attempts("Accepted") == before


def test_a_wrong_login_password_reaches_two_hosts(estate: Estate, tmp_path: Path) -> None:
    before = estate.attempts("Failed password")
    code, rows = collect(
        estate, tmp_path, "password: 'env:FLEETOPS_PW'", range(1, 21), FLEETOPS_PW="wrong one"
    )
    assert code == 3
    assert estate.attempts("Failed password") - before == 2
    reasons = [row["reason"] for row in rows.values()]
    assert (reasons.count("auth"), reasons.count("credential")) == (2, 18)


def test_a_wrong_sudo_password_is_one_attempt_on_two_hosts(estate: Estate, tmp_path: Path) -> None:
    code, rows = collect(
        estate,
        tmp_path,
        f"key_file: {estate.key}, become: shell, become_password: 'env:FLEETOPS_PW'",
        range(10, 51, 10),
        FLEETOPS_PW="wrong one",
    )
    assert code == 3
    reasons = [row["reason"] for row in rows.values()]
    assert (reasons.count("privilege"), reasons.count("credential")) == (2, 3)


def test_the_right_password_logs_in_everywhere(estate: Estate, tmp_path: Path) -> None:
    code, rows = collect(
        estate,
        tmp_path,
        "password: 'env:FLEETOPS_PW', become: shell, become_password: 'env:FLEETOPS_PW'",
        range(1, 7),
        FLEETOPS_PW=PASSWORD,
    )
    assert code == 0
    assert verdicts(rows) == {"HEALTHY": 6}
    for path in (tmp_path / "fleet.db", *(tmp_path / "out").iterdir()):
        assert PASSWORD.encode() not in path.read_bytes()
    with contextlib.closing(sqlite3.connect(tmp_path / "fleet.db")) as database:
        bodies = [body for (body,) in database.execute("SELECT body FROM captures")]
    plain = [zlib.decompress(body.partition(b"\n")[2], 31) for body in bodies]
    assert len(plain) == 6
    assert all(b"tried with <masked:" in text and PASSWORD.encode() not in text for text in plain)


@pytest.mark.parametrize("shell", ["/bin/dash", "/bin/bash", "/usr/bin/tcsh", "/usr/bin/fish"])
def test_login_shells(estate: Estate, tmp_path: Path, shell: str) -> None:
    if not Path(shell).exists():
        pytest.skip(f"{shell} is not installed")
    subprocess.run(["usermod", "--shell", shell, USER], check=True)
    try:
        code, rows = collect(estate, tmp_path, f"key_file: {estate.key}, become: shell", range(1, 3))
    finally:
        subprocess.run(["usermod", "--shell", "/bin/sh", USER], check=True)
    assert (code, verdicts(rows)) == (0, {"HEALTHY": 2})
