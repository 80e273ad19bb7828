"""The canned mode: many hosts, one recorded answer, and no difference that a visit could see."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from fleet.collect.framing import Section, find_header, inflate, split_sections
from fleet.collect.plan import Plan, plan_visit
from fleet.lab.canned import copies
from fleet.lab.command import Command
from fleet.lab.describe import HostDescription, parse_description
from fleet.lab.servers import Lab, start_lab
from fleet.model.words import Become, CheckMode
from fleet.packs.load import load_pack

TEXT = """\
name: {name}
summary: a host
group: some
agent: {{status: Connected, heartbeat_age_s: 60, resource_name: {name}, resource_group: rg}}
logs: {{himds: 'time="{{t-60}}" level=info msg="Heartbeat sent"'}}
expect: {{verdict: HEALTHY}}
"""
# What a second visit to the same host says differently.
CHANGING = ("host.clock", "host.space")
INSTANT = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d")


def describe(name: str = "one", more: str = "") -> HostDescription:
    return parse_description(TEXT.format(name=name) + more, f"{name}.yaml")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_visit(load_pack().items, CheckMode.AUTO)


@asynccontextmanager
async def connected(lab: Lab, name: str) -> AsyncIterator[asyncssh.SSHClientConnection]:
    async with asyncssh.connect(
        "127.0.0.1",
        lab.port(name),
        known_hosts=str(lab.known_hosts),
        config=None,
        agent_path=None,
        client_keys=[str(lab.key_file)],
        username="ops",
    ) as connection:
        yield connection


async def visit(lab: Lab, name: str, plan: Plan, become: Become = Become.READS) -> tuple[Section, ...]:
    """The sections of one visit; stdin stays open to its end, as the product keeps it."""
    nonce = name.encode().hex()
    command = plan.command(become, nonce=nonce, run_id="run", prompt="ask", ready="go")
    async with connected(lab, name) as connection:
        process = await connection.create_process(command, encoding=None)
        if become is Become.SHELL:
            assert await process.stdout.readline() == b"go\n"
        process.stdin.write(plan.script)
        data = await process.stdout.read()
        await process.wait_closed()
        assert process.exit_status == 0
    header = find_header(data, nonce)
    assert header is not None
    return split_sections(inflate(data[header.end :], 1 << 24), nonce, 99)


def steady(sections: Sequence[Section], tree: Path) -> list[tuple[bytes, bytes]]:
    """Lines and data without what two labs differ in: their folders and the instants they started at."""
    changing = tuple(f"begin {name} ".encode() for name in CHANGING)
    return [
        (section.line, INSTANT.sub(b"INSTANT", section.data.replace(str(tree).encode(), b"TREE")))
        for section in sections
        if not section.line.startswith(changing)
    ]


@pytest.mark.parametrize("become", [Become.NONE, Become.READS, Become.SHELL])
async def test_a_canned_answer_is_the_real_one(tmp_path: Path, plan: Plan, become: Become) -> None:
    async with (
        start_lab([describe("one")], tmp_path / "real") as real,
        start_lab([describe("one")], tmp_path / "canned", is_canned=True) as canned,
    ):
        first, second = [await visit(canned, "one", plan, become) for _ in range(2)]
        expected = await visit(real, "one", plan, become)
    known = steady(expected, real.tree("one"))
    assert steady(first, canned.tree("one")) == known
    assert second == first
    assert sum(line.startswith(b"begin ") for line, _ in known) >= 20


async def test_like_hosts_share_one_shell_and_say_their_own_names(tmp_path: Path, plan: Plan) -> None:
    hosts = tuple(copies((describe("web"), describe("db", "os_release: 'ID=rhel'\n")), 20))
    assert [host.name for host in hosts[:3]] == ["web-00001", "db-00001", "web-00002"]
    async with start_lab(hosts, tmp_path / "lab", is_canned=True) as lab:
        assert len({lab.tree(host.name) for host in hosts}) == 2
        answers = await asyncio.gather(*(visit(lab, host.name, plan) for host in hosts))
    for host, sections in zip(hosts, answers, strict=True):
        text = b"".join(section.data for section in sections)
        assert f'"resourceName": "{host.name}"'.encode() in text
        assert (b"ID=rhel" in text) is host.name.startswith("db")


async def test_another_script_is_run_anew(tmp_path: Path, plan: Plan) -> None:
    async with start_lab([describe()], tmp_path / "lab", is_canned=True) as lab:
        await visit(lab, "one", plan)
        for script in (
            b"echo $2 FLEET1 plain 1; echo mine",
            b"#" * 50_000 + b"\necho $2 FLEET1 plain 1; echo mine",
        ):
            async with connected(lab, "one") as connection:
                done = await connection.run("sh -s -- reads n1 run item", input=script, encoding=None)
            assert isinstance(done.stdout, bytes)
            header = find_header(done.stdout, "n1")
            assert header is not None
            assert inflate(done.stdout[header.end :], 100) == b"mine\n"


async def test_what_is_no_visit_goes_to_a_real_shell(tmp_path: Path) -> None:
    async with (
        start_lab([describe()], tmp_path / "lab", is_canned=True) as lab,
        connected(lab, "one") as connection,
    ):
        done = await connection.run("echo $((6 * 7))")
    assert done.stdout == "42\n"


async def test_its_sudo_asks_takes_one_password_and_counts(tmp_path: Path, plan: Plan) -> None:
    command = plan.command(Become.SHELL, nonce="n1", run_id="run", prompt="ask", ready="go")
    async with start_lab(
        [describe(more="login: {sudo_password: right}\n")], tmp_path / "lab", is_canned=True
    ) as lab:
        for password, said in (("wrong", ""), ("right", "go\n")):
            async with connected(lab, "one") as connection:
                process = await connection.create_process(command)
                assert await process.stderr.readexactly(3) == "ask"
                process.stdin.write(password + "\n")
                if not said:
                    process.stdin.write_eof()
                assert await process.stdout.readline() == said
        async with connected(lab, "one") as connection:
            process = await connection.create_process(command)
            process.stdin.write_eof()
            assert await process.stderr.read() == "asksudo: no password was provided\n"
        assert lab.sudo_attempts("one") == 2, "the end of stdin is no password"


async def test_a_sudo_that_refuses_refuses(tmp_path: Path, plan: Plan) -> None:
    command = plan.command(Become.SHELL, nonce="n1", run_id="run", prompt="ask", ready="go")
    async with (
        start_lab([describe(more="login: {sudo_refuse: true}\n")], tmp_path / "lab", is_canned=True) as lab,
        connected(lab, "one") as connection,
    ):
        done = await connection.run(command)
    assert done.returncode == 1
    assert "may not run sudo" in str(done.stderr)


def test_a_command_that_is_no_visit_is_told_from_one(plan: Plan) -> None:
    for become in Become:
        line = plan.command(become, nonce="n1", run_id="r1", prompt="ask", ready="go")
        command = Command.parse(line)
        assert command is not None
        assert (command.nonce, command.items) == ("n1", " ".join(plan.words))
        assert (command.prompt, command.ready) == (("ask", "go") if become is Become.SHELL else ("", ""))
    for line in ("", "uname -a", "sh -s", "sudo -S -p ask sh -c 'echo go; exec true'"):
        assert Command.parse(line) is None


@pytest.mark.parametrize("is_canned", [False, True])
async def test_a_client_that_sends_a_signal_in_place_of_the_script_ends_its_visit_only(
    tmp_path: Path, plan: Plan, is_canned: bool
) -> None:
    command = plan.command(Become.READS, nonce="n1", run_id="run", prompt="ask", ready="go")
    async with start_lab([describe()], tmp_path / "lab", is_canned=is_canned) as lab:
        for name, words in (
            ("send_signal", ("TERM",)),
            ("send_break", (9,)),
            ("change_terminal_size", (9, 9)),
        ):
            async with connected(lab, "one") as connection:
                process = await connection.create_process(command)
                getattr(process, name)(*words)
                await asyncio.wait_for(process.wait_closed(), 30)
        assert await visit(lab, "one", plan)
