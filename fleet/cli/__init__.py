"""The program ``fleet``: words in, exit code out."""

from __future__ import annotations

import sys

INTERRUPTED = 130
"""As in ``ExitCode``, which may not be loaded yet."""


def main() -> None:
    """Run the program and exit with one of the documented codes, whatever happens."""
    try:
        # Imported here, so that an interrupt while it loads is an interrupt like any other.
        from fleet.cli.program import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        sys.stderr.write("fleet: interrupted\n")
        code = INTERRUPTED
    sys.exit(code)
