"""``fleet lab``: hosts that stay up, and go down with nothing left."""

from __future__ import annotations

import fcntl
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

from fleet.cli.program import run
from fleet.lab.kept import HOLDER_FILE, HOSTS_FILE, LOG_FILE, end, holder, kept_lines

ROOT = Path(__file__).parents[2]
HOST = """\
name: {0}
summary: What {0} has.
group: some
expect: {{verdict: FAILING, rule: agent-not-installed}}
"""


def fleet(*words: object, files: tuple[int, int] | None = None) -> subprocess.CompletedProcess[str]:
    """One call; ``files``: how many it may open, by the soft limit and the hard one."""

    def limit() -> None:
        if files:
            resource.setrlimit(resource.RLIMIT_NOFILE, files)

    return subprocess.run(
        [sys.executable, "-m", "fleet", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=limit,
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
    for words, told in (
        (("lab", "up", "--folder", tmp_path / "lab", "--copies", 500), "500 hosts need 1256 open files"),
        (("lab", "up", "--folder", tmp_path / "lab"), "2 hosts need 276 open files"),
        (("demo", "--out", tmp_path / "out"), "2 hosts need 276 open files"),
    ):
        done = fleet(*words, "--hosts", hosts, files=(256, 270))
        assert done.returncode == 2
        assert done.stderr == f"fleet: {told}, and this process may have 270 (ulimit -n)\n"
    assert list(tmp_path.iterdir()) == []


def test_the_demo_raises_a_soft_limit_that_is_too_low_for_its_hosts(tmp_path: Path) -> None:
    (tmp_path / "hosts").mkdir()
    for number in range(60):
        (tmp_path / f"hosts/h{number}.yaml").write_text(HOST.format(f"h{number}") + "agent: {absent: true}\n")
    done = fleet("demo", "--hosts", tmp_path / "hosts", "--out", tmp_path / "out", files=(64, 1024))
    assert done.returncode == 0, done.stderr
    assert "60 hosts: 0 healthy, 60 failing," in done.stdout


def test_a_look_at_the_moment_of_a_start_does_not_make_it_fail(hosts: Path, tmp_path: Path) -> None:
    (tmp_path / HOLDER_FILE).touch()
    words = ("lab", "up", "--hosts", str(hosts), "--folder", str(tmp_path))
    with (tmp_path / HOLDER_FILE).open() as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        starting = subprocess.Popen([sys.executable, "-m", "fleet", *words], stdout=subprocess.PIPE)
        # It neither comes up nor gives up.
        with pytest.raises(subprocess.TimeoutExpired):
            starting.communicate(timeout=2)
    out, _ = starting.communicate(timeout=60)
    assert (starting.returncode, out.count(b"\n")) == (0, 3)
    assert fleet("lab", "down", "--folder", tmp_path).returncode == 0


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with labs."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def test_the_number_of_another_process_is_not_believed_and_nothing_is_sent_to_it(
    other: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    with (tmp_path / HOLDER_FILE).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for words in (f"{other.pid} 1", f"{other.pid}", f"{other.pid} ", "", "4194305 ", "no number"):
            (tmp_path / HOLDER_FILE).write_text(words)
            assert holder(tmp_path) is None
            assert end(tmp_path) is None
    assert other.poll() is None


def test_a_list_while_a_lab_starts_says_so(up: Path) -> None:
    (up / HOSTS_FILE).unlink()
    assert kept_lines(up) is None
    done = fleet("lab", "list", "--folder", up)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"the lab in {up} is starting, process {holder(up)}\n"


def test_a_second_lab_leaves_the_log_of_the_first(up: Path, hosts: Path) -> None:
    (up / LOG_FILE).write_text("said before\n")
    assert fleet("lab", "up", "--hosts", hosts, "--folder", up).returncode == 2
    assert (up / LOG_FILE).read_text() == "said before\n"


def test_a_start_that_a_signal_ends_is_interrupted(
    hosts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dies = tmp_path / "dies"
    dies.write_text("#!/bin/sh\nkill -KILL $$\n")
    dies.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(dies))
    assert run(["lab", "up", "--hosts", str(hosts), "--folder", str(tmp_path / "lab")]) == 130
    assert capsys.readouterr().err == "fleet: SIGKILL ended the lab before its hosts were up\n"


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
    assert fleet("lab", "down", "--folder", up).stdout == f"no lab is up in {up}\n"
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


def test_a_folder_without_descriptions_or_that_cannot_be_is_the_operators_mistake(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    done = fleet("lab", "up", "--hosts", tmp_path / "none", "--folder", tmp_path / "lab")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no *.yaml with a host's description" in done.stderr
    (tmp_path / "file").touch()
    done = fleet("lab", "up", "--folder", tmp_path / "file/lab")
    assert done.returncode == 2
    assert done.stderr.startswith("fleet: --folder ")
