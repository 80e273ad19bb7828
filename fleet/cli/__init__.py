"""The program ``fleet``: words in, exit code out."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress

# As in ExitCode, which may not be loaded yet.
INTERRUPTED = 130
BUG = 70


def main() -> None:
    """Run the program and exit with one of the documented codes, whatever happens."""
    try:
        # Imported here, so that an interrupt while it loads is an interrupt like any other.
        from fleet.cli.program import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        with suppress(OSError):
            sys.stderr.write("fleet: interrupted\n")
        code = INTERRUPTED
    except Exception:  # noqa: BLE001  # Python would end with 1, which speaks of hosts here
        with suppress(OSError):
            traceback.print_exc()
        code = BUG
    _end_stderr()
    sys.exit(code)


def _end_stderr() -> None:
    # Python tries again at its end to write what nobody takes, and makes the code 120.
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
