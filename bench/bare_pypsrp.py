"""The least that visiting hosts over WinRM can be: pypsrp as it is, in threads; one side of winrm.py.

    python bench/bare_pypsrp.py ADDRESS PORT USER PASSWORD HOSTS THREADS SCRIPT ARGUMENTS

Opens a pool for each host, runs the script of that file with the arguments of that one (one a line, NONCE in
them is replaced), closes, and drops the output.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import WSMan


def main(address: str, port: str, user: str, password: str, hosts: str, threads: str, *files: str) -> None:
    """Visit them all."""
    script, told = (Path(file).read_text(encoding="utf-8") for file in files)

    def visit(number: int) -> None:
        with (
            # NTLM by name, as fleet logs in: "negotiate" would look for a KDC where Kerberos is installed.
            WSMan(address, port=int(port), ssl=False, auth="ntlm", username=user, password=password) as wsman,
            RunspacePool(wsman) as pool,
        ):
            shell = PowerShell(pool)
            shell.add_script(script)
            for argument in told.replace("NONCE", f"{number:032x}").split("\n"):
                shell.add_argument(argument)
            output = shell.invoke()
            assert len(output) >= 2, (output, shell.streams.error)

    with ThreadPoolExecutor(int(threads)) as workers:
        for _ in workers.map(visit, range(int(hosts))):
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])
