"""The program ``fleet``: words in, exit code out."""

from __future__ import annotations

import sys
import traceback

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
        sys.stderr.write("fleet: interrupted\n")
        code = INTERRUPTED
    except Exception:  # noqa: BLE001  # Python would end with 1, which speaks of hosts here
        traceback.print_exc()
        code = BUG
    sys.exit(code)
