"""Turns absolute paths in a byte stream into paths of one host's own tree."""

from __future__ import annotations

import re
from pathlib import Path

# Files and folders a visit reads; what is not here is the real machine's.
OWN_PATHS = (
    "/var/opt/azcmagent",
    "/opt/azcmagent",
    "/var/lib/GuestConfig",
    "/var/lib/waagent",
    "/etc/os-release",
    "/var/log/dpkg.log",
    "/var/log/yum.log",
    "/var/log/dnf.rpm.log",
    "/var/log/zypper.log",
    "/proc/uptime",
)
_PATTERN = re.compile(
    b"|".join(re.escape(path.encode()) for path in sorted(OWN_PATHS, key=len, reverse=True))
)
_PREFIXES = frozenset(path.encode()[:length] for path in OWN_PATHS for length in range(1, len(path)))
_LONGEST = max(map(len, _PREFIXES))


class Rewriter:
    """Rewrites one stream piece by piece. The end of a piece that might begin a path waits for the next."""

    def __init__(self, tree: Path) -> None:
        self._tree = str(tree).encode()
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What can be passed on now."""
        data = self._held + data
        cut = len(data) - _open_end(data)
        self._held = data[cut:]
        return self._replace(data[:cut])

    def end(self) -> bytes:
        """What was still held back, at the end of the stream."""
        rest, self._held = self._held, b""
        return self._replace(rest)

    def _replace(self, data: bytes) -> bytes:
        return _PATTERN.sub(lambda match: self._tree + match[0], data)


def _open_end(data: bytes) -> int:
    """The length of the longest end that is the beginning of a path but not inside a whole one."""
    last = max((match.end() for match in _PATTERN.finditer(data)), default=0)
    longest = min(_LONGEST, len(data) - last)
    return next((size for size in range(longest, 0, -1) if data[-size:] in _PREFIXES), 0)


def rewrite(data: bytes, tree: Path) -> bytes:
    """The whole text at once."""
    stream = Rewriter(tree)
    return stream.feed(data) + stream.end()
