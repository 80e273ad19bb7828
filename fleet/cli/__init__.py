"""The program ``fleet``: words in, exit code out."""

from __future__ import annotations

import sys

import click

from fleet import __version__
from fleet.cli.classify import classify, explain
from fleet.cli.collect import collect
from fleet.cli.demo import demo
from fleet.cli.privileges import privileges
from fleet.cli.reports import report, runs, show
from fleet.errors import FleetError, OperatorError, ReportError, StorageError
from fleet.model.words import ExitCode


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fleet")
def cli() -> None:
    """Find out why Azure Arc agents fail, over a whole estate.

    \b
    Example:
      fleet collect inventory.yaml --out reports/
    """


for command in (collect, classify, explain, runs, show, report, demo, privileges):
    cli.add_command(command)


def main() -> None:
    """Run the program and exit with one of the documented codes, whatever happens."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """One call of the program; the exit code."""
    try:
        outcome = cli.main(arguments, prog_name="fleet", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("fleet: interrupted", err=True)
        return ExitCode.INTERRUPTED
    except SystemExit:
        # How click ends when the reader of our output left: it says 1, which means something else here.
        return ExitCode.STORE
    except OSError as error:
        # Output that cannot be written: nothing else of the system gets this far.
        return _unwritable(error)
    except FleetError as error:
        return _failed(error)
    return int(outcome or 0)


def _unwritable(error: OSError) -> int:
    click.echo(f"fleet: cannot write {error.filename or 'the output'}: {error.strerror}", err=True)
    return ExitCode.STORE


def _failed(error: FleetError) -> int:
    click.echo(f"fleet: {error}", err=True)
    if isinstance(error, OperatorError):
        return ExitCode.USAGE
    if isinstance(error, (StorageError, ReportError)):
        return ExitCode.STORE
    return ExitCode.BUG
