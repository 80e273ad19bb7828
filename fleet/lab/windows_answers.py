"""Turns a Windows host's description into what each item of a visit reads there."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fleet.lab.answers import (
    fill_bytes,
    fill_instants,
    render_check,
    render_config,
    render_expiry,
    render_show_json,
    render_show_text,
)
from fleet.lab.describe import HostDescription
from fleet.lab.windows import Event, LanguageMode, Rights, Service, ServiceState, StartMode, Windows

DENIED, NOT_FOUND, LATE = 126, 127, 124
LOG_FILES = {
    "azcmagent": r"C:\ProgramData\AzureConnectedMachineAgent\Log\azcmagent.log",
    "himds": r"C:\ProgramData\AzureConnectedMachineAgent\Log\himds.log",
    "arcproxy": r"C:\ProgramData\AzureConnectedMachineAgent\Log\arcproxy.log",
    "gc_agent": r"C:\ProgramData\GuestConfig\arc_policy_logs\gc_agent.log",
    "gc_ext": r"C:\ProgramData\GuestConfig\ext_mgr_logs\gc_ext.log",
    "install": r"C:\Windows\AzureConnectedMachineAgent\temp\installationlog.txt",
}
_VARIABLES = {"%programdata%": r"C:\ProgramData", "%systemroot%": r"C:\Windows"}
# The installer takes these folders from everybody but administrators and the agent's own accounts.
_GUARDED = tuple(
    path.casefold() for path in (r"C:\ProgramData\AzureConnectedMachineAgent", r"C:\ProgramData\GuestConfig")
)
_STATES = {
    ServiceState.STOPPED: 1,
    ServiceState.START_PENDING: 2,
    ServiceState.STOP_PENDING: 3,
    ServiceState.RUNNING: 4,
    ServiceState.PAUSED: 7,
}
_STARTS = {StartMode.AUTO: 2, StartMode.MANUAL: 3, StartMode.DISABLED: 4}
_DISPLAY = {
    "himds": "Azure Hybrid Instance Metadata Service",
    "GCArcService": "Guest Configuration Arc Service",
    "ExtensionService": "Guest Configuration Extension Service",
    "arcproxy": "Azure Arc Proxy",
}
_ACCOUNTS = {"himds": r"NT SERVICE\himds", "arcproxy": r"NT AUTHORITY\NetworkService"}
_PROGRAM = r"C:\Program Files\AzureConnectedMachineAgent\azcmagent.exe"
_STATE_BYTES = 4096
_MAX_EVENTS = 50
_NETWORK_START = 2


@dataclass(frozen=True, slots=True)
class Section:
    """What one item gives: its output, the exit code, and what it says of a failure."""

    data: bytes = b""
    code: int = 0
    stderr: str = ""


class Machine:
    """One host from the moment its lab starts: its log files and the program it calls."""

    def __init__(self, host: HostDescription, windows: Windows, started_at: datetime) -> None:
        self.host = host
        self.windows = windows
        self.now = started_at - timedelta(seconds=windows.system.behind_s)
        self.is_admin = windows.login.rights is Rights.ADMIN
        self.is_constrained = windows.system.language_mode is LanguageMode.CONSTRAINED

    @property
    def epoch_s(self) -> int:
        """Its clock."""
        return int(time.time()) - self.windows.system.behind_s

    def read(self, name: str, limit: int) -> bytes:
        """The last bytes of a log, at an even place and behind a byte order mark where that is UTF-16."""
        content = fill_bytes(dict(self.host.logs)[name], self.now)
        times = dict(self.host.repeat).get(name, 1)
        # A constrained shell reads text, whatever its encoding in the file.
        if name not in self.windows.utf16 or self.is_constrained:
            return (content * min(times, limit // max(1, len(content)) + 2))[-limit:]
        wide = content.decode(errors="replace").encode("utf-16-le")
        wide *= min(times, limit // max(1, len(wide)) + 2)
        return b"\xff\xfe" + wide[-(limit // 2 * 2) :]


Verb = Callable[[Machine, Sequence[str], int], Section]
"""The words behind the verb, and how many bytes are wanted."""


def expand(path: str) -> str:
    """A path with the variables that a visit uses filled in."""
    return re.sub(r"%\w+%", lambda match: _VARIABLES[match[0].casefold()], path)


def _json(value: object) -> Section:
    return Section(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def _stamp(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


_DENIED = Section(code=DENIED, stderr="access denied")


def _missing(path: str) -> Section:
    return Section(code=1, stderr=f"{path}: No such file or directory")


def _guard(machine: Machine, path: str) -> Section | None:
    """The refusal of a path that is not for everybody."""
    if machine.is_admin or not path.casefold().startswith(_GUARDED):
        return None
    return Section(code=DENIED, stderr=f"{path}: access denied")


def _clock(machine: Machine, words: Sequence[str], limit: int) -> Section:
    system = machine.windows.system
    return Section(f"{machine.epoch_s}/{system.offset}/{system.timezone}".encode())


def _os(machine: Machine, words: Sequence[str], limit: int) -> Section:
    system = machine.windows.system
    # What only CIM knows; a plain user is left with what the registry says.
    asked = {
        "domain_role": (5 if system.is_controller else 3) if system.domain else 2,
        "domain": system.domain or "WORKGROUP",
        "part_of_domain": bool(system.domain),
        "booted_at": _stamp(machine.now - timedelta(seconds=system.up_s)),
    }
    known = {
        "caption": system.caption if machine.is_admin else system.caption.removeprefix("Microsoft "),
        "version": f"{'6.3' if system.build < 10_000 else '10.0'}.{system.build}",
        "build": system.build,
        "revision": system.revision,
        "edition": system.edition,
        "installation_type": system.installation_type,
        "language": system.language,
        "powershell": system.powershell,
        "language_mode": system.language_mode.value,
        "name": machine.host.name.upper(),
    }
    if machine.is_admin:
        return _json(known | asked)
    return replace(_json(known | dict.fromkeys(asked)), stderr="CIM: access denied")


def _space(machine: Machine, words: Sequence[str], limit: int) -> Section:
    if not machine.is_admin and machine.is_constrained:
        return _DENIED
    free = machine.windows.system.free_mb << 20
    return _json([{"drive": "C:", "free_bytes": free, "size_bytes": 128_849_018_880}])


def _azcmagent(machine: Machine, words: Sequence[str], limit: int) -> Section:
    agent = machine.host.agent
    if agent.is_absent and machine.is_constrained and not machine.is_admin:
        return Section(code=DENIED, stderr=f"{_PROGRAM}: access denied")
    if agent.is_absent:
        return Section(code=NOT_FOUND, stderr="azcmagent: not found")
    if agent.hangs:
        return Section(code=LATE)
    if agent.garbage:
        return Section(agent.garbage.encode())
    if agent.fails:
        return _mixed(words, 2, "panic: runtime error: invalid memory address")
    return _agent_says(machine, words)


def _agent_says(machine: Machine, words: Sequence[str]) -> Section:
    host, now = machine.host, machine.now
    match tuple(words):
        case ("show", "-j") if not host.agent.has_json:
            return _mixed(words, 1, "Error: unknown shorthand flag: -j")
        case ("show", "-j"):
            return Section(render_show_json(host, now).encode())
        case ("show",):
            return Section(render_show_text(host, now).encode())
        case ("version",):
            return Section(f"azcmagent version  {host.agent.version}\n".encode())
        case ("config", "list"):
            return Section(render_config(host).encode())
        case ("check",):
            is_down = _service(machine, "himds").state is not ServiceState.RUNNING
            return Section(render_check(host, now).encode(), 1 if is_down or host.agent.unreachable else 0)
    return Section(code=1, stderr=f"azcmagent {' '.join(words)}: not a command that only reads")


def _mixed(words: Sequence[str], code: int, stderr: str) -> Section:
    """What ``show`` says on stderr comes with its output."""
    if words[0] == "show":
        return Section(stderr.encode() + b"\n", code)
    return Section(code=code, stderr=stderr)


def _service(machine: Machine, name: str) -> Service:
    return machine.windows.service(name, is_installed=not machine.host.agent.is_absent)


def _services(machine: Machine, words: Sequence[str], limit: int) -> Section:
    if not machine.is_admin:
        return Section(code=DENIED, stderr="access denied")
    return _json([_service_entry(machine, name) for name in words])


def _service_entry(machine: Machine, name: str) -> dict[str, object]:
    service = _service(machine, name)
    if service.state is ServiceState.ABSENT:
        keys = ("status", "start", "account", "exit_code", "service_exit_code", "started_at")
        return {"name": name, "exists": False, "delayed": False, **dict.fromkeys((*keys, "display_name"))}
    is_running = service.state is ServiceState.RUNNING
    started_at = machine.now - timedelta(seconds=machine.windows.system.up_s - 40)
    return {
        "name": name,
        "exists": True,
        "status": _STATES[service.state],
        "start": _STARTS[service.start],
        "delayed": False,
        "account": service.account or _ACCOUNTS.get(name, "LocalSystem"),
        "exit_code": service.exit_code,
        "service_exit_code": service.service_exit_code,
        "started_at": _stamp(started_at) if is_running else None,
        "display_name": _DISPLAY[name],
    }


def _events(machine: Machine, words: Sequence[str], limit: int) -> Section:
    _, provider, ids, days, *wanted = words
    if not machine.is_admin:
        return _DENIED
    numbers = {int(number) for number in ids.split(",")}
    found = [
        event
        for event in sorted(machine.windows.events, key=lambda event: event.age_s)
        if event.provider == provider
        and event.id in numbers
        and event.age_s <= int(days) * 86_400
        and _concerns(event, wanted)
    ]
    return _json(
        [
            {
                "id": event.id,
                "at": _stamp(machine.now - timedelta(seconds=event.age_s)),
                "properties": list(event.properties),
            }
            for event in found[:_MAX_EVENTS]
        ]
    )


def _concerns(event: Event, words: Sequence[str]) -> bool:
    texts = [text.casefold() for text in event.properties]
    return any(word.casefold() in text for word in words for text in texts)


def _tail(machine: Machine, words: Sequence[str], limit: int) -> Section:
    path = expand(words[0])
    if refusal := _guard(machine, path):
        return refusal
    names = {file.casefold(): name for name, file in LOG_FILES.items()}
    name = names.get(path.casefold(), "")
    if name not in dict(machine.host.logs):
        return _missing(path)
    return Section(machine.read(name, limit))


def _files(machine: Machine, words: Sequence[str], limit: int) -> Section:
    path = expand(words[0])
    if refusal := _guard(machine, path):
        return refusal
    folder, _, last = path.partition("*")
    if not machine.host.extensions and machine.host.agent.is_absent:
        return _missing(folder.rstrip("\\"))
    texts = (
        (f"{folder}{name}{last}", fill_instants(text, machine.now).encode()[-_STATE_BYTES:])
        for name, text in machine.host.extensions
    )
    return Section(b"".join(f"==> {name} <==\n".encode() + data + b"\n" for name, data in texts))


def _certificates(machine: Machine, words: Sequence[str], limit: int) -> Section:
    path = expand(words[0])
    if machine.is_constrained:
        return Section(code=1, stderr="a constrained session reads no certificates")
    if refusal := _guard(machine, path):
        return refusal
    if machine.host.agent.is_absent:
        return _missing(path)
    days = machine.host.agent.certificate_days
    return Section(b"" if days is None else render_expiry(days, machine.now).encode())


def _identity(machine: Machine, words: Sequence[str], limit: int) -> Section:
    identity = machine.windows.identity
    has_profile = identity.has_profile and not machine.host.agent.is_absent
    store = identity.certificates if has_profile and machine.is_admin else None
    config = identity.has_config and not machine.host.agent.is_absent
    return _json(
        {
            "profile_exists": has_profile if machine.is_admin or not has_profile else None,
            "store_certificates": store,
            "cleanup_days": identity.cleanup_days,
            "config_exists": config if machine.is_admin else None,
        }
    )


def _proxy(machine: Machine, words: Sequence[str], limit: int) -> Section:
    proxies = machine.windows.proxies
    names = ("https_proxy", "http_proxy", "no_proxy")
    told = {name: getattr(proxies, name) or None for name in names}
    return _json({"machine": told, "winhttp": _winhttp(proxies.winhttp).hex().upper()})


def _winhttp(server: str) -> bytes:
    """The registry's WinHttpSettings: version, a counter, flags (1 direct, 3 proxy), then two texts with
    their lengths, the proxies and what goes around them."""
    numbers = (0x28, 0, 3 if server else 1, len(server))
    return b"".join(number.to_bytes(4, "little") for number in numbers) + server.encode() + bytes(4)


def _tls(machine: Machine, words: Sequence[str], limit: int) -> Section:
    tls = machine.windows.tls
    protocols = {
        name: {"enabled": int(is_on), "disabled_by_default": int(not is_on)} for name, is_on in tls.protocols
    }
    told = {"cipher_suites": list(tls.suites) or None, "policy_suites": tls.policy or None}
    return _json(told | {"protocols": protocols})


def _time(machine: Machine, words: Sequence[str], limit: int) -> Section:
    system = machine.windows.system
    server = machine.windows.time_server or "time.windows.com,0x9"
    kind = "NT5DS" if system.domain and not machine.windows.time_server else "NTP"
    status = 4 if machine.is_admin else None
    return _json({"type": kind, "server": server, "status": status, "start": _NETWORK_START})


def _rights(machine: Machine, words: Sequence[str], limit: int) -> Section:
    if not machine.is_admin:
        return _DENIED
    rights = machine.windows.rights
    return _json({"accounts": None if rights is None else list(rights)})


def _esu(machine: Machine, words: Sequence[str], limit: int) -> Section:
    path = expand(words[0])
    if refusal := _guard(machine, path):
        return refusal
    return _json({"license_exists": machine.windows.has_license})


VERBS: Mapping[str, Verb] = {
    "clock": _clock,
    "os": _os,
    "space": _space,
    "azcmagent": _azcmagent,
    "services": _services,
    "events": _events,
    "tail": _tail,
    "files": _files,
    "certificates": _certificates,
    "identity": _identity,
    "proxy": _proxy,
    "tls": _tls,
    "time": _time,
    "rights": _rights,
    "esu": _esu,
}
