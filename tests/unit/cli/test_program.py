"""What every call of the program does, whatever the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from fleet.cli.program import VERBS, cli
from tests.unit.cli.conftest import Fleet

DEAR = ("sqlalchemy", "asyncssh", "jinja2", "rich", "alembic", "psycopg")

# Something happens in the moment in which a module is looked for.
FAILING = """
import os, signal, sys
wanted, what = sys.argv[1:]
class Finder:
    def find_spec(self, name, path, target=None):
        if name == wanted and what == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        elif name == wanted:
            raise ZeroDivisionError
sys.meta_path.insert(0, Finder())
from fleet.cli import main
sys.argv = ["fleet", "runs"]
main()
"""


def commands() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    with click.Context(cli) as context:
        for verb in VERBS:
            command = cli.get_command(context, verb)
            assert command is not None
            found.append((verb, command))
            if isinstance(command, click.Group):
                found += [(f"{verb} {name}", each) for name, each in command.commands.items()]
    return found


@pytest.mark.parametrize(
    "words", [["--version"], ["--help"], ["rules", "show", "AZCM0042"], ["collect", "--help"]]
)
def test_a_call_loads_no_library_that_it_does_not_need(words: list[str]) -> None:
    code = (
        "import sys; from fleet.cli.program import run; code = run(sys.argv[1:]); "
        f"print(*(name for name in {DEAR} if name in sys.modules), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.split()) == (0, [])


@pytest.mark.parametrize("module", ["click", "fleet.cli.reports", "sqlalchemy"])
def test_an_interrupt_while_the_program_loads_is_one_line_and_130(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILING, module, "interrupt"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.splitlines()[-1] == "fleet: interrupted"
    assert "Traceback" not in done.stderr


def test_a_bug_of_the_program_is_its_traceback_and_70() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILING, "sqlalchemy", "bug"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (70, "")
    assert done.stderr.endswith("ZeroDivisionError\n")


def test_the_list_of_commands_says_whole_sentences(fleet: Fleet) -> None:
    done = fleet("--help")
    assert done.code == 0
    for _, line in VERBS.values():
        assert line in done.out


@pytest.mark.parametrize(("words", "command"), commands(), ids=str)
def test_every_command_has_help_with_an_example_and_nothing_cut(
    fleet: Fleet, words: str, command: click.Command
) -> None:
    done = fleet(*words.split(), "--help")
    assert done.code == 0
    assert f"Example:\n    fleet {words.split()[0]}" in done.out
    assert "..." not in done.out.replace("[ARGS]...", "").replace("PATHS...", "").replace("[DIR]...", "")


@pytest.mark.parametrize(("words", "command"), commands(), ids=str)
def test_choices_are_the_words_that_are_written(words: str, command: click.Command) -> None:
    for option in command.params:
        if isinstance(option.type, click.Choice):
            assert all(type(choice) is str and choice.islower() for choice in option.type.choices)


def test_an_unknown_command_is_told_the_nearest(fleet: Fleet) -> None:
    done = fleet("colect")
    assert done.code == 2
    assert "There is no command 'colect'. Did you mean 'collect'?" in done.err


@pytest.mark.parametrize(
    ("words", "code"), [(["classify", "nope"], 2), (["-x"], 2), (["rules", "show", "nope"], 2)]
)
def test_a_mistake_that_cannot_be_told_keeps_its_code(words: list[str], code: int) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-m", "fleet", *words], stderr=full, check=False)
    assert done.returncode == code
