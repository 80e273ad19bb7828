"""Takes the command line of a visit apart: what a host that runs no shell must know of it to answer."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SUDO = re.compile(r"sudo -S -p (?P<prompt>\w+) sh -c 'echo (?P<ready>\w+); exec (?P<inner>[^']+)'\Z")
_INNER = re.compile(r"(?P<head>sh -s -- \w+) (?P<nonce>\w+) \S+ (?P<items>\S.*)\Z")


@dataclass(frozen=True, slots=True)
class Command:
    """The command line of a visit, taken apart. Without ``ready`` it is not run by sudo."""

    head: str
    nonce: str
    items: str
    prompt: str = ""
    ready: str = ""

    @classmethod
    def parse(cls, line: str) -> Command | None:
        """None: not a visit's."""
        sudo = _SUDO.match(line)
        inner = _INNER.match(sudo["inner"] if sudo else line)
        if inner is None:
            return None
        return cls(
            inner["head"],
            inner["nonce"],
            inner["items"],
            prompt=sudo["prompt"] if sudo else "",
            ready=sudo["ready"] if sudo else "",
        )
