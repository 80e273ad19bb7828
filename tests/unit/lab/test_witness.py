"""OpenSSH's client and paramiko visit simulated hosts: the lab's idea of SSH is not asyncssh's alone."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import paramiko
import pytest

from fleet.collect.framing import find_header, open_gzip, split_sections
from fleet.collect.plan import Plan, plan_visit
from fleet.lab.describe import Fault, Login
from fleet.lab.faults import CUT_AFTER_BYTES
from fleet.lab.servers import Lab, running_lab
from fleet.model.words import Become, CheckMode
from fleet.packs.load import load_pack
from tests.lab.estate import WELL

pytestmark = pytest.mark.system

NONCE = "0123456789abcdef"
NO_CODE = 255
"""What ssh(1) ends with when there is no exit code of the command."""
HOSTS = (
    replace(WELL, name="well"),
    replace(WELL, name="asks", login=Login(password="right")),
    replace(WELL, name="refuses", login=Login(is_refused=True)),
    replace(WELL, name="changed", fault=Fault.WRONG_HOST_KEY),
    replace(WELL, name="cut", fault=Fault.CUT_OUTPUT),
    replace(WELL, name="silent", fault=Fault.SILENT_AFTER_ACCEPT),
)
# What a second visit to the same host says differently.
CHANGING = (b"begin host.clock ", b"begin host.space ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a command said; ``code`` None: the connection ended without one."""

    code: int | None
    out: bytes
    err: bytes


Client = Callable[[Lab, str, str, bytes], Said]
"""Runs a command on a host with that text on its stdin, which stays open to the end of the answer."""


@pytest.fixture(scope="module", params=["real", "canned"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    is_canned = request.param == "canned"
    with running_lab(HOSTS, tmp_path_factory.mktemp("lab"), is_canned=is_canned) as lab:
        yield lab


def openssh(lab: Lab, name: str, command: str, text: bytes) -> Said:
    if shutil.which("ssh") is None:
        pytest.skip("OpenSSH's client is not installed")
    options = (
        "BatchMode=yes",
        "ConnectTimeout=1",
        "GlobalKnownHostsFile=/dev/null",
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=yes",
        f"UserKnownHostsFile={lab.known_hosts}",
    )
    line = ["ssh", "-F", "none", "-i", str(lab.key_file), "-p", str(lab.port(name))]
    line += [word for option in options for word in ("-o", option)]
    pipe = subprocess.PIPE
    with subprocess.Popen([*line, "ops@127.0.0.1", command], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(text)
        process.stdin.flush()
        out, err = process.stdout.read(), process.stderr.read()
    return Said(code=process.returncode, out=out, err=err)


def by_paramiko(lab: Lab, name: str, command: str, text: bytes) -> Said:
    with connected(lab, name) as client:
        stdin, stdout, stderr = client.exec_command(command)
        stdin.write(text)
        stdin.flush()
        out, err = stdout.read(), stderr.read()
        code = stdout.channel.recv_exit_status()
    return Said(code=None if code < 0 else code, out=out, err=err)


@contextmanager
def connected(lab: Lab, name: str, password: str | None = None) -> Iterator[paramiko.SSHClient]:
    with paramiko.SSHClient() as client:
        client.load_host_keys(str(lab.known_hosts))
        key = None if password else paramiko.Ed25519Key.from_private_key_file(str(lab.key_file))
        client.connect(
            "127.0.0.1",
            lab.port(name),
            "ops",
            password=password,
            pkey=key,
            allow_agent=False,
            look_for_keys=False,
            banner_timeout=1,
        )
        yield client


@pytest.fixture(params=[openssh, by_paramiko], ids=["openssh", "paramiko"])
def client(request: pytest.FixtureRequest) -> Client:
    found: Client = request.param
    return found


def sections(said: Said) -> list[tuple[bytes, bytes]]:
    """Those of a visit that do not change from one to the next."""
    header = find_header(said.out, NONCE)
    assert header is not None
    plain = open_gzip(said.out[header.end :], 1 << 24)
    assert plain.is_whole
    found = split_sections(plain.data, NONCE, 99)
    return [(section.line, section.data) for section in found if not section.line.startswith(CHANGING)]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_visit(load_pack().items, CheckMode.AUTO)


@pytest.mark.parametrize("become", [Become.NONE, Become.READS, Become.SHELL])
def test_a_visit_has_the_same_answer_for_both(lab: Lab, plan: Plan, become: Become) -> None:
    command = plan.command(become, nonce=NONCE, run_id="run", prompt="ask", ready="go")
    first, second = (client(lab, "well", command, plan.script) for client in (openssh, by_paramiko))
    assert (first.code, second.code) == (0, 0)
    assert (first.err, second.err) == (b"", b"")
    assert sections(first) == sections(second)
    lines = [line for line, _ in sections(first)]
    assert sum(line.startswith(b"begin ") for line in lines) >= 20
    assert lines[-1].startswith(b"done ")
    assert first.out.startswith(b"go\n") is (become is Become.SHELL)


def test_exit_code_and_both_streams_arrive(lab: Lab, client: Client) -> None:
    said = client(lab, "well", "read word; echo $word; echo told >&2; exit 7", b"sent\n")
    assert said == Said(code=7, out=b"sent\n", err=b"told\n")


def test_an_answer_that_is_cut_has_no_exit_code(lab: Lab, plan: Plan, client: Client) -> None:
    said = client(lab, "cut", plan.command(Become.READS, nonce=NONCE, run_id="run"), plan.script)
    assert said.code in (NO_CODE, None)
    # ssh(1) forgets what it did not write yet when the connection ends.
    assert len(said.out) <= CUT_AFTER_BYTES if said.code else len(said.out) == CUT_AFTER_BYTES
    header = find_header(said.out, NONCE)
    assert header is None or not open_gzip(said.out[header.end :], 1 << 24).is_whole


@pytest.mark.parametrize(
    ("name", "words", "error"),
    [
        ("refuses", b"Permission denied", paramiko.AuthenticationException),
        ("changed", b"REMOTE HOST IDENTIFICATION HAS CHANGED", paramiko.BadHostKeyException),
        ("silent", b"timed out during banner exchange", paramiko.SSHException),
    ],
)
def test_each_client_tells_why_it_is_not_let_in(
    lab: Lab, name: str, words: bytes, error: type[Exception]
) -> None:
    before = lab.visits(name)
    said = openssh(lab, name, "echo in", b"")
    assert (said.code, said.out) == (NO_CODE, b"")
    assert words in said.err
    with pytest.raises(error):
        by_paramiko(lab, name, "echo in", b"")
    assert lab.visits(name) == before


def test_a_password_lets_in_when_it_is_right(lab: Lab) -> None:
    with pytest.raises(paramiko.AuthenticationException), connected(lab, "asks", "wrong"):
        pass
    with connected(lab, "asks", "right") as client:
        _, stdout, _ = client.exec_command("echo in")
        assert stdout.read() == b"in\n"
    assert lab.counters("asks").passwords == ["wrong", "right"]
    # OpenSSH has only the key here, which the host does not take.
    assert b"Permission denied" in openssh(lab, "asks", "echo in", b"").err
