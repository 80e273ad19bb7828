"""A simulated Windows host over SSH: it knows one command line and one script, and says so of all others."""

from __future__ import annotations

from collections.abc import Iterator

import asyncssh
import pytest

from fleet.collect.plan import script
from fleet.collect.powershell import BOOTSTRAP, piped
from fleet.lab.describe import HostDescription, parse_description
from fleet.lab.reading import DescriptionError
from fleet.lab.servers import Lab, running_lab
from fleet.model.words import OS

ARGUMENTS = ("n1", "run", "member", "host.clock|always|10|257|oldest|clock")
KEYED, CONSTRAINED, WITH_PASSWORD = r"CORP\svc-fleet", "constrained", "ops@corp.example"


def describe(name: str, login: str, more: str = "") -> HostDescription:
    text = f"name: {name}\nsummary: a host\ngroup: some\nos: windows\nexpect: {{verdict: HEALTHY}}\n"
    return parse_description(f"{text}login: {{connection: ssh{login}}}\n{more}", f"{name}.yaml")


HOSTS = (
    describe("keyed", ""),
    describe("constrained", "", "system: {language_mode: ConstrainedLanguage}\n"),
    describe("with-password", f", user: {WITH_PASSWORD}, password: 'own: one'"),
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(HOSTS, tmp_path_factory.mktemp("lab")) as running:
        yield running


async def ran(
    lab: Lab, command: str, stdin: bytes, name: str = "keyed", user: str = KEYED
) -> asyncssh.SSHCompletedProcess:
    async with asyncssh.connect(
        "127.0.0.1", lab.port(name), username=user, client_keys=[str(lab.key_file)], known_hosts=None
    ) as connection:
        # Of an empty input it does not tell the end.
        how = {"input": stdin} if stdin else {"stdin": asyncssh.DEVNULL}
        return await connection.run(command, encoding=None, **how)


async def test_it_answers_the_command_line_of_a_visit(lab: Lab) -> None:
    told = await ran(lab, BOOTSTRAP, piped(script(OS.WINDOWS), ARGUMENTS))
    assert (told.exit_status, told.stderr) == (0, b"")
    assert isinstance(told.stdout, bytes)
    header, coded, rest = told.stdout.split(b"\r\n")
    assert header.startswith(b"n1 FLEET1 gzip64 ")
    assert coded.startswith(b"H4sI")
    assert rest == b""


async def test_any_other_command_or_text_is_an_error(lab: Lab) -> None:
    whole = piped(script(OS.WINDOWS), ARGUMENTS)
    for command, stdin, what in (
        ("hostname", b"", "no command 'hostname'"),
        (BOOTSTRAP + " ", b"", "no command"),
        (BOOTSTRAP, whole[:-1], "no such text on stdin"),
        (BOOTSTRAP, b"", "no such text on stdin"),
        (BOOTSTRAP, piped(b"Get-Service\n", ARGUMENTS), "no script with SHA-256"),
    ):
        told = await ran(lab, command, stdin)
        assert (told.exit_status, told.stdout) == (1, b"")
        assert isinstance(told.stderr, bytes)
        assert told.stderr.startswith(f"this simulated host knows {what}".encode())


async def test_a_constrained_powershell_does_not_read_its_stdin(lab: Lab) -> None:
    told = await ran(lab, BOOTSTRAP, b"", "constrained")
    assert (told.exit_status, told.stdout) == (1, b"")
    assert isinstance(told.stderr, bytes)
    assert b"MethodInvocationNotSupportedInConstrainedLanguage" in told.stderr


async def test_it_lets_in_whom_its_description_names(lab: Lab) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        await ran(lab, BOOTSTRAP, b"", user="ops")
    with pytest.raises(asyncssh.PermissionDenied):
        await ran(lab, BOOTSTRAP, b"", "with-password", WITH_PASSWORD)
    async with asyncssh.connect(
        *("127.0.0.1", lab.port("with-password")),
        username=WITH_PASSWORD,
        password="own: one",
        client_keys=None,
        known_hosts=None,
    ) as connection:
        assert (await connection.run("x")).exit_status == 1


@pytest.mark.parametrize(
    ("told", "part"),
    [
        ("login: {connection: local}", "reached over winrm or ssh"),
        ("login: {connection: ssh, auth: ntlm}", "are for `connection: winrm`"),
        ("login: {connection: ssh, configuration: FleetVisit}", "are for `connection: winrm`"),
        ("login: {connection: ssh}\nfault: reset", "no fault of WinRM is one of a host"),
    ],
)
def test_what_is_of_winrm_only_is_refused(told: str, part: str) -> None:
    text = f"name: a\nsummary: a host\ngroup: some\nos: windows\nexpect: {{verdict: HEALTHY}}\n{told}\n"
    with pytest.raises(DescriptionError) as caught:
        parse_description(text, "a.yaml")
    (mistake,) = caught.value.mistakes
    assert part in mistake.text


def test_an_operator_has_an_inventory_of_them(lab: Lab) -> None:
    text = lab.inventory.read_text()
    assert text.count("os: windows") == len(HOSTS)
    assert (lab.folder / "with-password.password").read_text() == "own: one"
