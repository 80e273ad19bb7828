"""Turns the script for Windows and its arguments into the command of a login over SSH, and its stdin.

The login shell may be cmd.exe, Windows PowerShell or PowerShell 7: docs/decisions/0005-windows-over-ssh.md
says why the command line is what it is.
"""

from __future__ import annotations

from collections.abc import Iterable

BOOTSTRAP = (
    'powershell -NoProfile -NonInteractive -Command "& ([scriptblock]::Create([Console]::In.ReadToEnd()))"'
)
"""Reads its stdin to the end and runs it. No word of it is special in any of these shells, or in sh."""


def around(arguments: Iterable[str]) -> tuple[str, str]:
    """What stands before the script on that stdin, and behind it."""
    words = "".join(f"'{_escaped(word)}'\n" for word in arguments)
    return f"$arguments = @(\n{words})\n& {{\n", "} @arguments\n"


def piped(script: bytes, arguments: Iterable[str]) -> bytes:
    """All of that stdin: pure ASCII, which is the same in every code page of a host.

    Raises:
        UnicodeError: there is more in it.
    """
    before, behind = around(arguments)
    script.decode("ascii")
    return before.encode("ascii") + script + behind.encode("ascii")


def _escaped(word: str) -> str:
    return word.replace("'", "''")
