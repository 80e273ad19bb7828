"""Turns the words of a call into a command's work, and the way it ends into an exit code."""

from __future__ import annotations

from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module

import click

from fleet import __version__
from fleet.errors import FleetError, LockedError, OperatorError, ReportError, StorageError
from fleet.model.words import ExitCode

VERBS = {
    "collect": ("collect", "Visit every host of an inventory, judge, store and report."),
    "report": ("reports", "Write the reports of a stored run."),
    "runs": ("reports", "List the newest runs."),
    "show": ("reports", "Show what is known of one host."),
    "why": ("why", "Say which rules speak of one host, and which could not."),
    "classify": ("classify", "Judge logs that are at hand, without any host."),
    "rules": ("rules", "Read, check, test and export the rules."),
    "privileges": ("privileges", "Print what a host must allow."),
    "demo": ("demo", "Visit a simulated estate on this machine."),
    "lab": ("lab", "Keep simulated hosts up, to try things on."),
}
"""Each command with its module in ``fleet.cli`` and its line in the list."""


class _Verbs(click.Group):
    """Imports a command's module when it is called: what one command needs must not slow the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, _ = VERBS[cmd_name]
        command: click.Command = getattr(import_module(f"fleet.cli.{module}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS:
            ctx.fail(f"There is no command {args[0]!r}.{_nearest(args[0])}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])


def _nearest(word: str) -> str:
    near = get_close_matches(word, VERBS, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fleet")
def cli() -> None:
    """Find out why Azure Arc agents fail, over a whole estate.

    \b
    Example:
      fleet collect inventory.yaml --out reports/
    """


def tell(text: str) -> None:
    """Say it on stderr; that nobody can hear it ends nothing."""
    with suppress(OSError):
        click.echo(text, err=True)


def run(arguments: list[str]) -> int:
    """One call of the program; the exit code."""
    try:
        outcome = cli.main(arguments, prog_name="fleet", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt):
        tell("fleet: interrupted")
        return ExitCode.INTERRUPTED
    except SystemExit:
        # How click ends when the reader of our output left: it says 1, which means something else here.
        return ExitCode.STORE
    except OSError as error:
        # Output that cannot be written: nothing else of the system gets this far.
        return _unwritable(error)
    except FleetError as error:
        tell(f"fleet: {error}")
        return _code(error)
    return int(outcome or 0)


def _unwritable(error: OSError) -> int:
    tell(f"fleet: cannot write {error.filename or 'the output'}: {error.strerror}")
    return ExitCode.STORE


def _code(error: FleetError) -> ExitCode:
    if isinstance(error, OperatorError):
        return ExitCode.USAGE
    if isinstance(error, LockedError):
        return ExitCode.LOCKED
    if isinstance(error, (StorageError, ReportError)):
        return ExitCode.STORE
    return ExitCode.BUG
