"""``fleet lab``: hosts that stay up, and go down with nothing left."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.lab.kept import holder

ROOT = Path(__file__).parents[2]
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
    told, command, hint = done.stdout.splitlines()
    assert told == "3 simulated hosts are up; visit with"
    assert command.startswith(
        f"  fleet collect '{folder}/inventory.yaml' --db 'sqlite:///{folder}/fleet.db' --c"
    )
    assert f"`fleet lab down --folder '{folder}'` ends them" in hint
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
    elsewhere = fleet("lab", "list", "--folder", up, "--hosts", hosts)
    assert [line.split()[:2] for line in elsewhere.stdout.splitlines()[1:]] == [["one", "-"], ["two", "-"]]
    assert elsewhere.stderr == "not up; `fleet lab up` starts them\n"


def test_one_folder_has_one_lab(up: Path, hosts: Path) -> None:
    done = fleet("lab", "up", "--hosts", hosts, "--folder", up)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"fleet: a lab is up in {up} already (process {holder(up)})\n"


def test_files_that_no_lab_made_are_left_alone(hosts: Path, tmp_path: Path) -> None:
    (tmp_path / "inventory.yaml").write_text("mine")
    done = fleet("lab", "up", "--hosts", hosts, "--folder", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"fleet: {tmp_path} has files that no lab made; give a new or an empty folder\n"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("inventory.yaml", "mine")]


def test_more_hosts_than_open_files_are_told_with_both_numbers(hosts: Path, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "fleet",
        "lab",
        "up",
        "--hosts",
        str(hosts),
        "--folder",
        str(tmp_path / "lab"),
    ]
    done = subprocess.run(
        [*words, "--copies", "500"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300)),
    )
    assert done.returncode == 2
    assert "500 hosts need 1256 open files, and this process may have 300 (ulimit -n)" in done.stderr


def test_the_pages_example_is_a_host_and_gets_what_it_expects(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/lab.md").read_text(), re.DOTALL)
    (tmp_path / "hosts").mkdir()
    (tmp_path / "hosts/db07.yaml").write_text(text)
    (tmp_path / "hosts/none.yaml").write_text(
        HOST.format("none").replace("FAILING, rule: agent-not-installed", "HEALTHY")
        + "agent: {absent: true}\n"
    )
    done = fleet("demo", "--hosts", tmp_path / "hosts", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    surprises = [line for line in done.stdout.splitlines() if "its description expects" in line]
    assert surprises == ["none is FAILING, agent-not-installed, and its description expects HEALTHY"]
    assert "fleet show db07 --db " in done.stdout


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
