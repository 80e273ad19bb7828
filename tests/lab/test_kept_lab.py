"""``fleet lab``: hosts that stay up, and go down with nothing left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.lab.kept import holder

HOST = """\
name: {0}
summary: What {0} has.
group: some
expect: {{verdict: FAILING, rule: agent-not-installed}}
"""


def fleet(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleet", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hosts")
    for name in ("one", "two"):
        (folder / f"{name}.yaml").write_text(HOST.format(name) + "agent: {absent: true}\n")
    return folder


@pytest.fixture
def up(hosts: Path, tmp_path: Path) -> Iterator[Path]:
    """A folder whose lab is up."""
    folder = tmp_path / "my lab"
    done = fleet("lab", "up", "--hosts", hosts, "--folder", folder, "--copies", 3)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 simulated hosts are up; visit them with\n  fleet collect '")
    yield folder
    fleet("lab", "down", "--folder", folder)


def test_they_can_be_visited_and_go_down(up: Path, tmp_path: Path) -> None:
    ports = [line.split()[1] for line in fleet("lab", "list", "--folder", up).stdout.splitlines()[1:]]
    collected = fleet(
        "collect", up / "inventory.yaml", "--db", f"sqlite:///{tmp_path}/fleet.db", "--out", tmp_path / "out"
    )
    assert collected.returncode == 1
    assert "3 hosts: 0 healthy, 3 failing," in collected.stdout
    down = fleet("lab", "down", "--folder", up)
    assert (down.returncode, down.stdout) == (0, f"the lab in {up} is down\n")
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(port)))
    assert fleet("lab", "down", "--folder", up).stdout == f"no lab is up in {up}\n"


def test_the_list_says_where_each_is_and_what_is_wrong(up: Path, hosts: Path) -> None:
    done = fleet("lab", "list", "--folder", up)
    heading, *rows = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert heading[:2] == ["HOST", "PORT"]
    assert [row[0] for row in rows] == ["one-00001", "two-00001", "one-00002"]
    assert all(row[1].isdigit() for row in rows)
    assert rows[1][2].split("  ") == ["FAILING, agent-not-installed", "What two has."]
    assert done.stderr == f"up in {up}, process {holder(up)}\n"
    elsewhere = fleet("lab", "list", "--folder", hosts, "--hosts", hosts)
    assert [line.split()[:2] for line in elsewhere.stdout.splitlines()[1:]] == [["one", "-"], ["two", "-"]]
    assert elsewhere.stderr == "not up; `fleet lab up` starts them\n"


def test_one_folder_has_one_lab(up: Path, hosts: Path) -> None:
    done = fleet("lab", "up", "--hosts", hosts, "--folder", up)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"fleet: a lab is up in {up} already (process {holder(up)})\n"


def test_one_that_was_killed_is_down_and_can_be_started_again(up: Path, hosts: Path) -> None:
    process = holder(up)
    assert process is not None
    os.kill(process, signal.SIGKILL)
    assert fleet("lab", "up", "--hosts", hosts, "--folder", up).returncode == 0
    assert holder(up) not in (None, process)


def test_a_broken_description_is_told_with_its_line_and_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(HOST.format("bad") + "agnet: {absent: true}\n")
    for words in (
        ("lab", "up", "--folder", tmp_path / "lab"),
        ("lab", "list"),
        ("demo", "--out", tmp_path / "out"),
    ):
        done = fleet(*words, "--hosts", tmp_path)
        assert done.returncode == 2
        assert f"{tmp_path}/bad.yaml:5: unknown key 'agnet'" in done.stderr
    assert not (tmp_path / "lab").exists()


def test_a_folder_without_descriptions_and_too_many_copies(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    done = fleet("lab", "up", "--hosts", tmp_path / "none", "--folder", tmp_path / "lab")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no *.yaml with a host's description" in done.stderr
    (tmp_path / "file").touch()
    done = fleet("lab", "up", "--folder", tmp_path / "file/lab")
    assert done.returncode == 2
    assert done.stderr.startswith("fleet: --folder ")
