"""A Windows host that is well, as the bodies its script prints, for tests to change."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from fleet.model.visit import Capture
from fleet.model.words import Privilege

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ("himds", "GCArcService", "ExtensionService", "arcproxy")

SYSTEM: dict[str, object] = {
    "caption": "Microsoft Windows Server 2022 Standard",
    "version": "10.0.20348",
    "build": 20348,
    "revision": 2700,
    "edition": "ServerStandard",
    "installation_type": "Server Core",
    "domain_role": 3,
    "domain": "corp.example",
    "part_of_domain": True,
    "booted_at": "2026-02-28T12:00:00Z",
    "language": 1031,
    "powershell": "5.1.20348.2700",
    "language_mode": "FullLanguage",
    "name": "WIN01",
}
SHOW: dict[str, object] = {
    "status": "Connected",
    "lastHeartbeat": "2026-03-01T11:58:00Z",
    "resourceName": "win01",
    "agentVersion": "1.67.03535.3012",
    "services": [
        {"displayName": "Agent Service", "serviceName": "himds", "status": "running"},
        {"displayName": "SMS Agent Host", "serviceName": "CcmExec", "status": "unknown"},
    ],
}


def instant(seconds_ago: float) -> str:
    return (NOW - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def service(name: str = "himds", /, **more: object) -> dict[str, object]:
    entry: dict[str, object] = {
        "name": name,
        "exists": True,
        "status": 4,
        "start": 2,
        "delayed": False,
        "account": rf"NT SERVICE\{name}",
        "exit_code": 0,
        "service_exit_code": 0,
        "started_at": instant(3600),
        "display_name": name,
    }
    return entry | more


def event(number: int, seconds_ago: float, *properties: object) -> dict[str, object]:
    return {"id": number, "at": instant(seconds_ago), "properties": list(properties)}


BODIES: dict[str, object] = {
    "host.clock": f"{int(NOW.timestamp())}/+0100/W. Europe Standard Time",
    "host.os": SYSTEM,
    "host.space": [{"drive": "C:", "free_bytes": 4096 << 20, "size_bytes": 16384 << 20}],
    "agent.show": SHOW,
    "services": [service(name) for name in NAMES],
    "events.services": [],
    "agent.identity": {
        "profile_exists": True,
        "store_certificates": 1,
        "cleanup_days": None,
        "config_exists": True,
    },
}


def capture(item: str, body: object, code: int | None = 0, stderr: bytes = b"") -> Capture:
    text = body if isinstance(body, str | bytes) else json.dumps(body, ensure_ascii=False)
    data = text.encode() if isinstance(text, str) else text
    return Capture(
        item=item,
        data=data if code == 0 else b"",
        privilege=Privilege.ADMIN,
        exit_code=code,
        denied=code == 126,
        stderr=stderr,
    )
