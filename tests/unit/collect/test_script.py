"""The script in real shells: frames, bounds, nothing left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from fleet.collect.framing import Form, Frames, find_header, inflate, parse_frames, split_sections
from fleet.collect.plan import plan_visit, sudoers
from fleet.model.pack import Item
from fleet.model.words import Become, CheckMode
from fleet.packs.load import load_pack

NONCE = "ab" * 16


SHELLS = [
    pytest.param(
        command,
        id=command[0],
        marks=pytest.mark.skipif(shutil.which(command[0]) is None, reason=f"{command[0]} is not installed"),
    )
    for command in (["dash"], ["bash"], ["busybox", "sh"])
]


def start(shell: list[str], *items: Item) -> subprocess.Popen[bytes]:
    words = plan_visit(items, CheckMode.AUTO).command(Become.NONE, nonce=NONCE, run_id="run").split(" ")
    process = subprocess.Popen(
        [*shell, *words[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.write(plan_visit(items, CheckMode.AUTO).script)
    process.stdin.flush()
    return process


def visit(shell: list[str], *items: Item) -> Frames:
    process = start(shell, *items)
    assert process.stdout is not None
    assert process.stderr is not None
    out = process.stdout.read()
    assert process.stderr.read() == b""
    assert process.wait(10) == 0
    process.stdout.close()
    process.stderr.close()
    assert process.stdin is not None
    process.stdin.close()
    header = find_header(out, NONCE)
    assert header is not None
    plain = inflate(out[header.end :], 1 << 20) if header.form is Form.GZIP else out[header.end :]
    return parse_frames(split_sections(plain, NONCE, 99), {item.name: item for item in items})


@pytest.mark.parametrize("shell", SHELLS)
class TestEveryShell:
    def test_a_section_has_its_exit_code_and_stderr(self, shell: list[str], tmp_path: Path) -> None:
        missing = tmp_path / "missing"
        frames = visit(
            shell,
            Item(name="ok", argv=("uname", "-s")),
            Item(name="bad", argv=("tail", "-c", "10", str(missing))),
            Item(name="none", argv=("fleet-no-such-program",)),
        )
        ok, bad, none = frames.captures
        assert frames.complete
        assert (ok.data, ok.exit_code) == (b"Linux\n", 0)
        assert bad.exit_code not in (0, None)
        assert b"missing" in bad.stderr
        assert none.exit_code in (126, 127)

    def test_binary_and_size(self, shell: list[str], tmp_path: Path) -> None:
        blob = bytes(range(256)) * 100
        (tmp_path / "blob").write_bytes(blob)
        path = str(tmp_path / "blob")
        frames = visit(
            shell,
            Item(name="whole", argv=("tail", "-c", "30000", path), max_bytes=30000),
            Item(name="newest", argv=("tail", "-c", "101", path), max_bytes=100, newest=True),
        )
        whole, newest = frames.captures
        assert (whole.data, whole.cut) == (blob, False)
        assert (newest.data, newest.cut) == (blob[-100:], True)

    def test_what_hangs_or_never_ends_costs_its_own_section(self, shell: list[str]) -> None:
        frames = visit(
            shell,
            Item(name="hangs", argv=("sleep", "60"), timeout_s=1),
            Item(name="endless", argv=("yes",), max_bytes=1000, timeout_s=5),
            Item(name="reads", argv=("wc", "-c"), timeout_s=5),
        )
        hangs, endless, reads = frames.captures
        assert frames.complete
        assert hangs.exit_code in (124, 143)
        assert (len(endless.data), endless.cut) == (1000, True)
        assert reads.data.strip() == b"0"

    def test_a_program_that_hung_is_not_started_again(self, shell: list[str], tmp_path: Path) -> None:
        (tmp_path / "here").touch()
        os.mkfifo(tmp_path / "fifo")
        frames = visit(
            shell,
            Item(name="agent.show", argv=("sleep", "60"), timeout_s=1),
            Item(name="again", argv=("sleep", "61"), timeout_s=1),
            Item(name="fallback", argv=("sleep", "0"), when="failed"),
            Item(name="other", argv=("uname",)),
            Item(name="stuck", argv=("tail", "-c", "9", str(tmp_path / "fifo")), timeout_s=1),
            Item(name="file", argv=("tail", "-c", "9", str(tmp_path / "here"))),
        )
        assert frames.complete
        assert [capture.skipped for capture in frames.captures] == ["", "hung", "hung", "", "", ""]
        assert frames.captures[-1].exit_code == 0

    def test_when_words(self, shell: list[str], tmp_path: Path) -> None:
        status = "Resource Name : web01\nAgent Status                            : Connected\n"
        (tmp_path / "status").write_text(status)
        frames = visit(
            shell,
            Item(name="agent.show", argv=("tail", "-c", "99", str(tmp_path / "status"))),
            Item(name="fallback", argv=("true",), when="failed"),
            Item(name="check", argv=("true",), when="not-connected"),
        )
        assert [capture.skipped for capture in frames.captures] == ["", "not-needed", "connected"]
        assert frames.captures[0].data.decode() == status

    @pytest.mark.parametrize(
        ("printed", "is_connected"),
        [
            ('{"resourceName":"web01","status":"Connected","location":"westeurope"}\n', True),
            ('{\n  "status": "Connected",\n  "location": "westeurope"\n}\n', True),
            ('{"status":"Disconnected","resourceName":"Connected"}\n', False),
            ('{"status": "Disconnected", "x": "Connected"}\n', False),
            ("Resource Name : Connected\nAgent Status : Disconnected\nCloud : Connected\n", False),
            ("Azure Connected Machine Agent is not connected\n", False),
            ("", False),
        ],
    )
    def test_only_the_status_says_connected(
        self, shell: list[str], tmp_path: Path, printed: str, is_connected: bool
    ) -> None:
        (tmp_path / "show").write_text(printed)
        frames = visit(
            shell,
            Item(name="agent.show", argv=("tail", "-c", "999", str(tmp_path / "show"))),
            Item(name="check", argv=("true",), when="not-connected"),
        )
        assert (frames.captures[1].skipped == "connected") is is_connected

    def test_find_words_survive(self, shell: list[str], tmp_path: Path) -> None:
        (tmp_path / "state.json").write_text("{}")
        item = Item(
            name="ext",
            argv=("find", str(tmp_path), "-name", "state.json", "-exec", "tail", "-c", "9", "{}", ";"),
        )
        assert visit(shell, item).captures[0].data == b"{}"

    def test_nothing_lives_on_when_the_connection_is_lost(self, shell: list[str], tmp_path: Path) -> None:
        mark = f"61.{abs(hash(str(tmp_path))) % 10**6}"
        process = start(shell, Item(name="hangs", argv=("sleep", mark), timeout_s=100))
        wait_for(lambda: running(mark))
        assert process.stdin is not None
        process.stdin.close()
        wait_for(lambda: not running(mark))
        process.wait(10)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def running(mark: str) -> bool:
    return subprocess.run(["pgrep", "-f", f"sleep {mark}"], capture_output=True, check=False).returncode == 0


def wait_for(holds: object) -> None:
    assert callable(holds)
    ends = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < ends
        subprocess.run(["sleep", "0.02"], check=True)


def test_the_command_line_is_of_plain_words() -> None:
    command = plan_visit(load_pack().items, CheckMode.AUTO).command(Become.NONE, nonce=NONCE, run_id="run")
    assert command.startswith("sh -s -- none ")
    assert set(command) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -_./:=,@%+")


@pytest.mark.system
@pytest.mark.parametrize("shell", ["sh", "bash", "rbash", "tcsh", "fish", "busybox"])
def test_login_shells_pass_the_words_on(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    command = plan_visit(load_pack().items, CheckMode.AUTO).command(Become.NONE, nonce=NONCE, run_id="run")
    probe = command.replace("sh -s --", "echo", 1)
    program = ["busybox", "sh"] if shell == "busybox" else [shell]
    said = subprocess.run([*program, "-c", probe], capture_output=True, text=True, check=True).stdout
    assert said.strip() == probe.removeprefix("echo ")


@pytest.mark.system
def test_visudo_takes_the_drop_in() -> None:
    visudo = shutil.which("visudo") or shutil.which("visudo", path="/usr/sbin")
    if visudo is None:
        pytest.skip("visudo is not installed")
    text = sudoers(load_pack().items, "ops")
    checked = subprocess.run(
        [visudo, "-c", "-f", "-"], input=text, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr + text
