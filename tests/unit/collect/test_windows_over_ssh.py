"""What a Windows host is sent over SSH: one command line for every login shell, and all that it reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.collect.plan import Order, plan_visit
from fleet.collect.powershell import BOOTSTRAP, piped
from fleet.model.host import Host
from fleet.model.words import OS, CheckMode, Connection
from fleet.packs.load import load_pack
from tests.powershell_syntax import mistakes, parse, text_of, walk

PLAN = plan_visit(load_pack().items, CheckMode.AUTO, OS.WINDOWS)
HOST = Host(name="win01", address="win01", os=OS.WINDOWS, user="fleet")
PIPED = "& ([scriptblock]::Create([Console]::In.ReadToEnd()))"


def order(host: Host = HOST) -> Order:
    return PLAN.order(host, nonce="n1", run_id="r1", prompt="p", ready="r")


def test_the_command_line_means_the_same_to_every_login_shell() -> None:
    assert BOOTSTRAP.split('"') == ["powershell -NoProfile -NonInteractive -Command ", PIPED, ""]
    # Between double quotes cmd.exe reads % and !, sh and PowerShell $ and `, and all of them the quotes.
    assert not set("$`%!^\\'\"\n") & set(PIPED)
    # One that quotes it once more, as sshd does for PowerShell, has words enough.
    assert len(BOOTSTRAP) < 120
    assert list(mistakes(PIPED.encode())) == []
    # PowerShell takes stdin for itself where a command names $input, in the shell around this one, too.
    assert "input" not in BOOTSTRAP.lower()


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_shell_gives_powershell_one_argument_and_leaves_it_stdin(tmp_path: Path, shell: str) -> None:
    program = tmp_path / "powershell"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nprint(sys.argv[1:])\nprint(sys.stdin.buffer.read() == b'in')\n"
    )
    program.chmod(0o700)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        (shell, "-c", BOOTSTRAP), input=b"in", env={"PATH": path}, capture_output=True, check=True
    )
    assert ran.stdout.decode().splitlines() == [
        str(["-NoProfile", "-NonInteractive", "-Command", PIPED]),
        "True",
    ]


def test_what_it_reads_holds_the_script_as_it_is_and_ends() -> None:
    sent = order()
    assert sent.command == BOOTSTRAP
    assert sent.ends
    assert sent.stdin.count(PLAN.script) == 1
    before, _, behind = sent.stdin.partition(PLAN.script)
    assert before.decode().split("\n")[:4] == ["$arguments = @(", "'n1'", "'r1'", "'member'"]
    assert before.endswith(b"'\n)\n& {\n")
    assert behind == b"} @arguments\n"
    over_winrm = Host(name="w", address="w", connection=Connection.WINRM, os=OS.WINDOWS)
    assert order(over_winrm) == Order(
        command=PLAN.command(over_winrm.become, nonce="n1", run_id="r1"), stdin=PLAN.script
    )


def test_it_is_powershell_and_its_strings_are_the_arguments() -> None:
    sent = order(Host(name="dc", address="dc", os=OS.WINDOWS, tier0=True))
    assert list(mistakes(sent.stdin)) == []
    assigned = next(node for node in walk(parse(sent.stdin)) if node.type == "array_expression")
    words = [text_of(node) for node in walk(assigned) if node.type == "verbatim_string_characters"]
    assert [word[1:-1] for word in words] == list(PLAN.arguments(nonce="n1", run_id="r1", tier0=True))
    assert words[2] == "'tier0'"


def test_every_code_page_of_a_host_reads_it_alike() -> None:
    assert order().stdin.isascii()
    assert b"\r" not in order().stdin
    for script, word in ((b"# \xc3\xbc", "a"), (b"", "\u00fc")):
        with pytest.raises(UnicodeError):
            piped(script, [word])


def test_a_quote_in_an_argument_ends_no_string() -> None:
    text = piped(b"$args\n", ["it's", "'; exit #"])
    assert b"'it''s'\n'''; exit #'\n" in text
    assert list(mistakes(text)) == []
