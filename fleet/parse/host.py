"""What standard programs say of a host to single values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from fleet.parse.documents import json_objects
from fleet.parse.text import decode, to_number

_MAX_NAME = 200


def parse_os_name(data: bytes) -> str:
    """PRETTY_NAME of os-release(5), "" when it has none."""
    match = re.search(r"^PRETTY_NAME=(.*)$", decode(data[:8192]), re.MULTILINE)
    return match[1].strip().strip("\"'")[:_MAX_NAME] if match else ""


def parse_clock(data: bytes) -> tuple[int, str] | None:
    """Unix time and time zone ("+0100 CET") of ``date +%s/%z/%Z``, zones named as either system does; None
    when it is something else."""
    match = re.fullmatch(r"([0-9]{1,12})/([+-][0-9]{4})/([\w+-][\w+.() -]{0,99})\s*", decode(data[:256]))
    return (int(match[1]), f"{match[2]} {match[3].strip()}") if match else None


def parse_uptime(data: bytes) -> int | None:
    """Whole seconds of /proc/uptime (proc(5))."""
    return to_number(decode(data[:64]).partition(".")[0].strip())


def parse_space(data: bytes) -> dict[str, tuple[int, int]]:
    """Mount point to (free KiB, used per cent) from ``df -Pk`` (POSIX)."""
    found = {}
    for line in decode(data[:8192]).splitlines()[1:]:
        match = re.fullmatch(r"\S+ +\d+ +\d+ +(\d{1,15}) +(\d{1,3})% +(/\S*)", line)
        if match:
            found[match[3][:_MAX_NAME]] = (int(match[1]), int(match[2]))
    return found


def parse_expiries(data: bytes) -> Iterator[datetime]:
    """Each ``notAfter=`` that openssl printed."""
    for text in re.findall(r"^notAfter=(.{1,40})$", decode(data[:16384]), re.MULTILINE):
        try:
            yield datetime.strptime(text.strip(), "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
        except ValueError:
            continue


def parse_unit_proxies(data: bytes) -> dict[str, str]:
    """Unit to the HTTPS proxy (HOST:PORT) in its ``Environment=`` (systemctl show), "" for none; not one
    whose environment is in a file, too."""
    found = {}
    for block in decode(data[:65536]).split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        unit = values.get("Id", "")[:_MAX_NAME]
        if unit and "Environment" in values and not values.get("EnvironmentFiles"):
            proxy = re.search(
                r"(?:^|[\s\"'])https_proxy=([^\s\"']{1,500})", values["Environment"], re.IGNORECASE
            )
            # It is no place for a password, but would show one.
            found[unit] = re.sub(r"^\w+://", "", proxy[1]).rpartition("@")[2] if proxy else ""
    return found


def failed_extensions(data: bytes) -> Iterator[str]:
    """Names of extensions whose state.json, dumped as ``==> PATH <==`` and JSON, says that they failed."""
    pieces = re.split(r"^==> (.{1,400}) <==$", decode(data), flags=re.MULTILINE)
    for path, text in zip(pieces[1::2], pieces[2::2], strict=True):
        states = (found.members for found in json_objects(text))
        words = {value.lower() for state in states for value in state.values() if isinstance(value, str)}
        if any("fail" in word or word == "error" for word in words):
            folders = re.split(r"[/\\]", path)
            yield folders[-2] if len(folders) > 2 else path
