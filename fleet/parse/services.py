"""What a service manager or azcmagent says of the agent's services to typed services."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from fleet.model.observation import Service
from fleet.parse.documents import json_objects
from fleet.parse.scan import Marks
from fleet.parse.text import clean, decode, to_number, to_utf8

ROLES = {
    "himdsd": "himds",
    "himds": "himds",
    "gcad": "gcad",
    "gcarcservice": "gcad",
    "extd": "extd",
    "extensionservice": "extd",
    "arcproxyd": "arcproxy",
    "arcproxy": "arcproxy",
}
LISTED = (b" himds ", b" gcarcservice ", b" extensionservice ", b" arcproxy ")
"""One of these is in every row that ``parse_get_service`` finds, in any case."""
_SHOWN = re.compile(r"^ +[^:()]{1,60}\(([A-Za-z]{2,40})\) *: *(\w+)$")
_LISTED = re.compile(
    rb" {0,8}([A-Z][A-Za-z]{3,20}) +(himds|gcarcservice|extensionservice|arcproxy) +\S", re.IGNORECASE
)
_NAMED = Marks(LISTED)
_ACTIVE_WORDS = ("active", "reloading", "inactive", "failed", "activating", "deactivating", "unknown")
_STATES = {
    "active": "running",
    "reloading": "running",
    "running": "running",
    "activating": "starting",
    "starting": "starting",
    "resuming": "starting",
    "inactive": "stopped",
    "deactivating": "stopped",
    "stopped": "stopped",
    "stopping": "stopped",
    "pausing": "stopped",
    "paused": "stopped",
    "failed": "failed",
}
_MAX_WORD = 100
_MAX_ROW = 1000


def parse_systemctl(data: bytes) -> tuple[Service, ...]:
    """The blocks of ``systemctl show`` (systemctl(1)), run with LC_ALL=C and TZ=UTC; other units left out."""
    blocks = re.split(r"\n\s*\n", decode(data[: 1 << 16]))
    return tuple(service for block in blocks if (service := _service(block)) is not None)


def service_state(service: Service) -> str:
    """One word: running, stopped, failed, starting, absent or unknown."""
    if service.load_state == "not-found":
        return "absent"
    if service.sub_state == "auto-restart":
        return "starting"
    return _STATES.get(service.active_state, "unknown")


def services_from_show(data: bytes) -> tuple[Service, ...]:
    """The services in what ``azcmagent show`` printed, text or JSON, in the words of either system."""
    for document in json_objects(decode(data)):
        entries = _folded(document.members).get("services")
        if isinstance(entries, list):
            return tuple(_from_json(entries))
    found = (_SHOWN.match(line) for line in decode(to_utf8(data[: 1 << 16])).splitlines())
    return tuple(_shown(match[1], match[2]) for match in found if match and match[1].lower() in ROLES)


def parse_is_active(unit: str, data: bytes) -> Service | None:
    """The one word of ``systemctl is-active UNIT`` (systemctl(1)); None when it is something else."""
    role = ROLES.get(unit.removesuffix(".service"))
    word = decode(data[:_MAX_WORD]).strip()
    if role is None or word not in _ACTIVE_WORDS:
        return None
    # Old managers call a unit they never loaded "unknown", newer ones "inactive".
    return Service(
        name=role,
        unit=unit,
        load_state="not-found" if word == "unknown" else "",
        active_state="" if word == "unknown" else word,
    )


def parse_get_service(data: bytes) -> tuple[Service, ...]:
    """The agent's services in a table of PowerShell's ``Get-Service``."""
    starts = {start for start, _, _ in _NAMED.places(data)}
    found = (_LISTED.match(data, start, start + _MAX_ROW) for start in sorted(starts))
    return tuple(_shown(decode(row[2]), decode(row[1])) for row in found if row)


def _service(block: str) -> Service | None:
    fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    unit = fields.get("Id", "")[:_MAX_WORD]
    role = ROLES.get(unit.removesuffix(".service"))
    if role is None:
        return None
    word = {key: value.strip()[:_MAX_WORD] for key, value in fields.items()}
    return Service(
        name=role,
        unit=unit,
        load_state=word.get("LoadState", ""),
        active_state=word.get("ActiveState", ""),
        sub_state=word.get("SubState", ""),
        start_mode=word.get("UnitFileState", ""),
        result=word.get("Result", ""),
        exit_status=word.get("ExecMainStatus", ""),
        restarts=to_number(word.get("NRestarts", "")),
        since_at=_since(word),
    )


def _since(word: dict[str, str]) -> datetime | None:
    name = "ActiveEnterTimestamp" if word.get("ActiveState") == "active" else "InactiveEnterTimestamp"
    try:
        return datetime.strptime(word.get(name, ""), "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    except ValueError:
        return None


def _from_json(entries: Iterable[object]) -> Iterator[Service]:
    for entry in entries:
        if isinstance(entry, dict):
            fields = _folded(entry)
            name, status = fields.get("servicename"), fields.get("status")
            if isinstance(name, str) and isinstance(status, str):
                unit = clean(name).removesuffix(".service")
                if unit.lower() in ROLES:
                    yield _shown(unit, clean(status))


def _folded(members: Mapping[str, object]) -> dict[str, object]:
    return {key.lower(): value for key, value in members.items()}


def _shown(unit: str, status: str) -> Service:
    word = status.lower()[:_MAX_WORD]
    return Service(name=ROLES[unit.lower()], unit=unit, active_state=word)
