"""The simulated hosts, as a plain SSH client sees them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import threading
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import yaml

from fleet.collect.plan import script
from fleet.lab.describe import HostDescription, load_demo, parse_description
from fleet.lab.faults import BOMB_BYTES, CUT_AFTER_BYTES, SLOW_AFTER_BYTES, SLOW_BYTES
from fleet.lab.servers import Lab, running_lab, start_lab

BARE = "name: {name}\nsummary: a host\ngroup: some\nexpect: {{verdict: HEALTHY}}\n"


def describe(name: str = "one", more: str = "") -> HostDescription:
    return parse_description(BARE.format(name=name) + more, f"{name}.yaml")


@dataclass(frozen=True)
class Operator:
    """Logs in to the hosts of a running lab."""

    lab: Lab

    async def login(self, name: str = "one", **options: Any) -> asyncssh.SSHClientConnection:
        given: dict[str, Any] = {"client_keys": [str(self.lab.key_file)], "username": "ops"} | options
        return await asyncssh.connect(
            "127.0.0.1",
            self.lab.port(name),
            known_hosts=str(self.lab.known_hosts),
            config=None,
            agent_path=None,
            **given,
        )

    async def start(
        self, command: str
    ) -> tuple[asyncssh.SSHClientConnection, asyncssh.SSHClientProcess[bytes]]:
        connection = await self.login()
        return connection, await connection.create_process(command, encoding=None)

    async def run(
        self, command: str, name: str = "one", stdin: bytes = b""
    ) -> tuple[int | None, bytes, bytes]:
        async with await self.login(name) as connection:
            done = await connection.run(command, input=stdin, encoding=None)
        assert isinstance(done.stdout, bytes)
        assert isinstance(done.stderr, bytes)
        return done.returncode, done.stdout, done.stderr


LabOf = Callable[..., AbstractAsyncContextManager[Operator]]


@pytest.fixture
def lab_of(tmp_path: Path) -> LabOf:
    @asynccontextmanager
    async def start(*descriptions: HostDescription) -> AsyncIterator[Operator]:
        async with start_lab(descriptions or (describe(),), tmp_path / "lab") as lab:
            yield Operator(lab)

    return start


async def _gone(pid: int) -> None:
    """Returns when no such process is left, save one that only waits for its parent."""
    with suppress(ProcessLookupError, FileNotFoundError):
        while not _is_zombie(pid):
            os.kill(pid, 0)
            await asyncio.sleep(0)


def _is_zombie(pid: int) -> bool:
    stat_file = Path(f"/proc/{pid}/stat")
    return Path("/proc/self/stat").exists() and b") Z " in stat_file.read_bytes()


async def test_a_script_on_stdin_runs_with_its_arguments_and_exit_code(lab_of: LabOf) -> None:
    async with lab_of() as operator:
        script = b"{\nprintf '%s\\000\\377' \"$1\"\necho oops >&2\nexit 3\n}\n"
        assert await operator.run("sh -s -- word", stdin=script) == (3, b"word\x00\xff", b"oops\n")
        assert operator.lab.commands("one") == ("sh -s -- word",)
        assert operator.lab.visits("one") == 1
        assert operator.lab.counters("one").connections == 1
        assert operator.lab.counters("one").auth_attempts >= 1


async def test_a_path_is_rewritten_across_pieces_of_the_script_while_stdin_stays_open(lab_of: LabOf) -> None:
    async with lab_of(describe(more="logs: {himds: own words}\n")) as operator:
        connection, process = await operator.start("sh -s")
        async with connection:
            for piece in (b"{ cat /var/o", b"pt/azcmagent/log", b"/himds.log; }\n"):
                process.stdin.write(piece)
                await process.stdin.drain()
            assert await process.stdout.readexactly(9) == b"own words"


async def test_each_host_has_files_of_its_own(lab_of: LabOf) -> None:
    one, two = (describe(name, f"logs: {{azcmagent: log of {name}}}\n") for name in ("one", "two"))
    async with lab_of(one, two) as operator:
        command = "cat /var/opt/azcmagent/log/azcmagent.log"
        assert (await operator.run(command, "one"))[1] == b"log of one"
        assert (await operator.run(command, "two"))[1] == b"log of two"
        assert operator.lab.port("one") != operator.lab.port("two")


async def test_a_large_answer_and_a_large_input_arrive_whole(lab_of: LabOf) -> None:
    data = bytes(range(256)) * 20_000
    async with lab_of() as operator:
        code, out, _ = await operator.run("cat", stdin=data)
    assert (code, out) == (0, data)


async def test_a_lost_connection_leaves_no_process(lab_of: LabOf) -> None:
    async with lab_of() as operator:
        connection, process = await operator.start("sleep 600 & echo $!; echo $$; exec timeout 600 sleep 600")
        pids = [int(await process.stdout.readline()) for _ in range(2)]
        connection.abort()
        for pid in pids:
            await asyncio.wait_for(_gone(pid), 5)


async def test_a_closed_channel_leaves_no_process(lab_of: LabOf) -> None:
    async with lab_of() as operator:
        connection, process = await operator.start("trap '' TERM HUP; echo $$; sleep 600; sleep 600")
        async with connection:
            pid = int(await process.stdout.readline())
            process.close()
            await asyncio.wait_for(_gone(pid), 5)


async def test_the_end_of_the_lab_ends_everything(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    hosts = (describe("one"), describe("two", "fault: silent-after-accept\n"))
    async with start_lab(hosts, tmp_path / "lab") as lab:
        operator = Operator(lab)
        _, process = await operator.start("echo $$; sleep 600")
        pid = int(await process.stdout.readline())
        reader, writer = await asyncio.open_connection("127.0.0.1", lab.port("two"))
    await asyncio.wait_for(_gone(pid), 5)
    with suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", lab.port("one"))
    assert not lab.tree("one").exists()
    kept = {path.name: stat.S_IMODE(path.stat().st_mode) for path in lab.folder.iterdir()}
    assert kept == dict.fromkeys(("inventory.yaml", "known_hosts", "ops_ed25519"), 0o600)
    await process.wait_closed()
    ours = asyncio.all_tasks() - before
    await asyncio.wait_for(asyncio.gather(*ours), 5)


async def test_an_error_inside_the_lab_is_passed_on_and_cleans_up(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="mine"):
        async with start_lab([describe("one")], tmp_path / "lab") as lab:
            raise RuntimeError("mine")
    assert not lab.tree("one").exists()


async def test_a_refused_login_is_refused(lab_of: LabOf) -> None:
    async with lab_of(describe(more="login: {refuse: true}\n")) as operator:
        with pytest.raises(asyncssh.PermissionDenied):
            await operator.login()
        assert operator.lab.visits("one") == 0
        assert operator.lab.counters("one").auth_attempts == 1


async def test_another_user_and_another_key_are_refused(lab_of: LabOf) -> None:
    async with lab_of() as operator:
        with pytest.raises(asyncssh.PermissionDenied):
            await operator.login(username="root")
        with pytest.raises(asyncssh.PermissionDenied):
            await operator.login(client_keys=[asyncssh.generate_private_key("ssh-ed25519")])


async def test_a_host_with_a_password_takes_no_key_and_only_that_password(lab_of: LabOf) -> None:
    async with lab_of(describe(more="login: {password: hunter2}\n")) as operator:
        with pytest.raises(asyncssh.PermissionDenied):
            await operator.login(client_keys=None, password="wrong")
        async with await operator.login(password="hunter2"):
            assert operator.lab.counters("one").passwords == ["wrong", "hunter2"]
        secret = operator.lab.folder / "one.password"
        assert secret.read_text() == "hunter2"
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600


async def test_a_host_with_another_key_than_on_record_is_told(lab_of: LabOf) -> None:
    async with lab_of(describe(more="fault: wrong-host-key\n")) as operator:
        with pytest.raises(asyncssh.HostKeyNotVerifiable):
            await operator.login()
        assert operator.lab.counters("one").auth_attempts == 0


async def test_a_silent_host_accepts_and_says_nothing(lab_of: LabOf) -> None:
    async with lab_of(describe(more="fault: silent-after-accept\n")) as operator:
        reader, writer = await asyncio.open_connection("127.0.0.1", operator.lab.port("one"))
        writer.write(b"SSH-2.0-test\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        assert operator.lab.counters("one").connections == 1
        writer.close()


async def test_a_refused_connection(lab_of: LabOf) -> None:
    async with lab_of(describe(more="fault: connection-refused\n")) as operator:
        with pytest.raises(ConnectionRefusedError):
            await operator.login()


async def test_a_host_silent_after_login_never_answers_a_command(lab_of: LabOf) -> None:
    async with lab_of(describe(more="fault: silent-after-auth\n")) as operator:
        connection, process = await operator.start("echo hello")
        async with connection:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(process.stdout.read(1), 0.1)


async def test_cut_output_ends_the_connection_in_the_middle(lab_of: LabOf) -> None:
    async with lab_of(describe(more="fault: cut-output\n")) as operator:
        connection, process = await operator.start("cat /dev/zero")
        assert await process.stdout.read() == bytes(CUT_AFTER_BYTES)
        await asyncio.wait_for(connection.wait_closed(), 5)
        assert process.exit_status is None


async def test_endless_output_goes_on(lab_of: LabOf) -> None:
    async with lab_of(describe(more="fault: endless-output\n")) as operator:
        connection, process = await operator.start("true")
        assert len(await process.stdout.readexactly(5_000_000)) == 5_000_000
        connection.abort()


async def test_a_host_that_never_answers_leaves_connecting_open(lab_of: LabOf) -> None:
    async with lab_of(describe(more="fault: no-answer\n")) as operator:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.open_connection("127.0.0.1", operator.lab.port("one")), 0.3)


async def test_something_else_than_ssh_answers(lab_of: LabOf) -> None:
    async with lab_of(describe(more="fault: not-ssh\n")) as operator:
        reader, writer = await asyncio.open_connection("127.0.0.1", operator.lab.port("one"))
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        assert operator.lab.counters("one").connections == 1
        writer.close()


async def test_a_host_silent_at_login_is_told_by_its_silence(lab_of: LabOf) -> None:
    async with lab_of(describe(more="fault: silent-at-login\n")) as operator:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(operator.login(), 0.5)
        assert operator.lab.counters("one").connections == 1
        assert operator.lab.counters("one").auth_attempts == 0


async def test_a_host_that_closes_early_says_nothing(lab_of: LabOf) -> None:
    async with lab_of(describe(more="fault: closes-early\n")) as operator:
        connection, process = await operator.start("echo hello")
        with pytest.raises(asyncssh.ConnectionLost):
            await process.stdout.read()
        await asyncio.wait_for(connection.wait_closed(), 5)


async def test_a_host_silent_in_the_middle_keeps_its_connection(lab_of: LabOf) -> None:
    async with lab_of(describe(more="fault: silent-mid-output\n")) as operator:
        connection, process = await operator.start("cat /dev/zero")
        async with connection:
            assert await process.stdout.readexactly(CUT_AFTER_BYTES) == bytes(CUT_AFTER_BYTES)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(process.stdout.read(1), 0.1)


async def test_slow_output_comes_in_small_pieces(lab_of: LabOf) -> None:
    async with lab_of(describe(more="fault: slow-output\n")) as operator:
        connection, process = await operator.start("cat /dev/zero")
        async with connection:
            assert await process.stdout.readexactly(SLOW_AFTER_BYTES) == bytes(SLOW_AFTER_BYTES)
            assert len(await process.stdout.read(4096)) == SLOW_BYTES
            process.close()


async def test_garbage_is_no_text_and_ends_well(lab_of: LabOf) -> None:
    async with lab_of(describe(more="fault: garbage-output\n")) as operator:
        code, out, _ = await operator.run("true")
        assert code == 0
        with pytest.raises(UnicodeDecodeError):
            out.decode()


async def test_a_zip_bomb_begins_as_an_answer_and_unfolds(lab_of: LabOf) -> None:
    async with lab_of(describe(more="fault: zip-bomb\n")) as operator:
        command = "sudo -S -p ask sh -c 'echo go; exec sh -s -- shell n0 run item'"
        code, out, _ = await operator.run(command, stdin=script())
    assert code == 0
    assert out.startswith(b"go\n\nn0 FLEET1 gzip ")
    assert len(out) < BOMB_BYTES // 500
    assert len(zlib.decompressobj(31).decompress(out.split(b"\n", 3)[3], 1 << 24)) == 1 << 24


async def test_a_signal_that_ends_the_command_is_its_exit_code(lab_of: LabOf) -> None:
    async with lab_of() as operator:
        assert (await operator.run("kill -TERM $$"))[0] == 128 + signal.SIGTERM


async def test_the_inventory_is_one_an_operator_could_have_written(lab_of: LabOf) -> None:
    labels = "labels: {{site: kiel, rack: '{}'}}\n"
    hosts = [describe(f"h{number}", labels.format(number)) for number in (1, 2)]
    hosts.append(describe("h3", "labels: {site: kiel}\nlogin: {become: reads, sudo_password: s3}\n"))
    async with lab_of(*hosts) as operator:
        lab = operator.lab
        assert yaml.safe_load(lab.inventory.read_text()) == {
            "defaults": {
                "connection": "ssh",
                "user": "ops",
                "become": "shell",
                "key_file": "ops_ed25519",
                "known_hosts": "known_hosts",
            },
            "groups": {"some": {"vars": {"labels": {"site": "kiel"}}, "hosts": ["h1", "h2", "h3"]}},
            "hosts": {
                "h1": {"address": "127.0.0.1", "port": lab.port("h1"), "labels": {"rack": "1"}},
                "h2": {"address": "127.0.0.1", "port": lab.port("h2"), "labels": {"rack": "2"}},
                "h3": {
                    "address": "127.0.0.1",
                    "port": lab.port("h3"),
                    "become": "reads",
                    "become_password": "file:h3.become_password",
                },
            },
        }
        assert stat.S_IMODE(lab.key_file.stat().st_mode) == 0o600
        assert lab.known_hosts.read_text().startswith(f"[127.0.0.1]:{lab.port('h1')} ssh-ed25519 ")


async def test_the_demo_starts_and_its_healthy_hosts_answer(lab_of: LabOf) -> None:
    async with lab_of(*load_demo()) as operator:
        for name in ("web01", "web02", "web03", "web04"):
            code, out, _ = await operator.run("azcmagent show | grep 'Agent Status'", name)
            assert (code, out.split()[-1]) == (0, b"Connected")


async def test_two_hosts_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same name"):
        async with start_lab([describe(), describe()], tmp_path / "lab"):
            pass


async def test_the_folder_may_have_any_name(tmp_path: Path) -> None:
    async with start_lab([describe("one")], tmp_path / "with blank") as lab:
        code, out, _ = await Operator(lab).run("echo here")
    assert (code, out) == (0, b"here\n")


def test_a_lab_that_cannot_start_leaves_no_thread(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same name"), running_lab([describe(), describe()], tmp_path):
        raise AssertionError("it is up")
    assert "lab" not in {thread.name for thread in threading.enumerate()}


def test_a_lab_that_fails_at_its_end_says_so_and_leaves_no_thread(tmp_path: Path) -> None:
    async def ask(lab: Lab) -> None:
        connection, _ = await Operator(lab).start("true")
        connection.abort()
        await connection.wait_closed()

    with pytest.raises(FileNotFoundError), running_lab([describe()], tmp_path) as lab:
        shutil.rmtree(lab.tree("one"))
        asyncio.run(ask(lab))
    assert "lab" not in {thread.name for thread in threading.enumerate()}
