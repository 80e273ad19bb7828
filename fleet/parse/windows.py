"""What the script of a Windows host says of the system (JSON) to services and to named values. Total."""

from __future__ import annotations

import locale
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fleet.model.observation import Service
from fleet.parse.documents import Members, read_objects
from fleet.parse.facts import yes_no
from fleet.parse.services import ROLES
from fleet.parse.text import parse_instant

# ServiceControllerStatus and the registry's Start.
_RUNNING, _STOPPED = 4, 1
_STATUS = {
    1: "stopped",
    2: "starting",
    3: "stopping",
    4: "running",
    5: "resuming",
    6: "pausing",
    7: "paused",
}
_START = {0: "boot", 1: "system", 2: "auto", 3: "manual", 4: "disabled"}
# ERROR_SERVICE_NEVER_STARTED is no failure; ERROR_SERVICE_SPECIFIC_ERROR points at the other number.
_NO_FAILURE = (None, 0, 1077)
_SPECIFIC_ERROR = 1066
# Win32_ComputerSystem.DomainRole
_DOMAIN_ROLES = (
    "standalone workstation",
    "member workstation",
    "standalone server",
    "member server",
    "backup domain controller",
    "primary domain controller",
)
# One of these is needed by agents 1.56 to 1.63; Windows Server 2016 and older append a curve to a name.
_SUITES = re.compile(
    r"TLS_AES_(?:256_GCM_SHA384|128_GCM_SHA256)"
    r"|TLS_ECDHE_RSA_WITH_AES_(?:256_GCM_SHA384|128_GCM_SHA256)(?:_P\d{3})?"
)
# Who holds a right that a service's virtual account gets by: itself, all services, everyone.
_HIMDS_SID = "S-1-5-80-4215458991-2034252225-2287069555-1155419622-2701885083"
_HIMDS_HOLDERS = (_HIMDS_SID, "S-1-5-80-0", "S-1-5-6", "S-1-1-0")
_HIMDS_NAMES = ("himds", "nt service\\himds", "nt service\\all services")
_SID = re.compile(r"\*?(S-1-[\d-]{1,180})")
_MAX_LISTED = 20
_WINHTTP_HEAD = 12
_WINHTTP_NAMED = 0x2

Named = Iterator[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Serviced:
    """A service and what Windows alone knows of it."""

    service: Service
    display_name: str = ""
    account: str = ""


def parse_services(data: bytes) -> tuple[Serviced, ...]:
    """The agent's services; others left out. One that has ended with an error is ``failed``."""
    found = (_serviced(entry) for entry in read_objects(data))
    return tuple(each for each in found if each is not None)


def parse_drives(data: bytes) -> dict[str, tuple[int, int]]:
    """Drive (``C:``) to (free KiB, used per cent)."""
    drives = {}
    for entry in read_objects(data):
        name, free, size = entry.text("drive"), entry.number("free_bytes"), entry.number("size_bytes")
        if re.fullmatch(r"[A-Za-z]:", name) and free is not None and size and 0 <= free <= size:
            drives[name.upper()] = (free // 1024, 100 - free * 100 // size)
    return drives


def parse_caption(system: Members) -> str:
    """The system's name for itself, made of what the registry says where CIM gave none."""
    caption = system.text("caption").removeprefix("Microsoft ").strip()
    build = system.number("build")
    if caption or build is None:
        return caption[:200]
    edition = system.text("edition")
    return f"Windows {edition} build {build}"[:200] if edition else f"Windows build {build}"


def tell_system(system: Members) -> Named:
    """Name, version, build, edition, domain, language, PowerShell."""
    build, revision = system.number("build"), system.number("revision")
    if build is not None:
        yield "host.build", str(build) if revision is None else f"{build}.{revision}"
    for key in ("name", "version", "edition", "installation_type", "powershell", "language_mode"):
        yield f"host.{key}", system.text(key)
    is_member = system.flag("part_of_domain")
    yield "host.workgroup" if is_member is False else "host.domain", system.text("domain")
    role = system.number("domain_role")
    if role is not None and 0 <= role < len(_DOMAIN_ROLES):
        yield "host.domain_role", _DOMAIN_ROLES[role]
    language = system.number("language")
    if language is not None:
        yield "host.language", locale.windows_locale.get(language, str(language)).replace("_", "-")


def tell_identity(identity: Members) -> Named:
    """The account's profile, the policy that may delete it, and whether there is an identity at all."""
    if "cleanup_days" in identity.values:
        days = identity.number("cleanup_days")
        yield "policy.profile_cleanup", "not set" if identity.values["cleanup_days"] is None else "set"
        if days is not None:
            yield "policy.profile_cleanup_days", str(days)
    profile, config = identity.flag("profile_exists"), identity.flag("config_exists")
    if profile is not None:
        yield "identity.profile", yes_no(profile)
    if config is not None:
        yield "identity.config", yes_no(config)


def count_certificates(identity: Members) -> int | None:
    """How many certificates the account's own store holds; None: not known. No profile, no store."""
    return 0 if identity.flag("profile_exists") is False else identity.number("store_certificates")


def tell_proxy(proxy: Members) -> Named:
    """The machine's proxy by its environment, and WinHTTP's, which the agent does not use."""
    machine = proxy.members("machine")
    yield "proxy.machine", machine.text("https_proxy") or machine.text("http_proxy")
    yield "proxy.bypass", machine.text("no_proxy")
    yield "proxy.winhttp", parse_winhttp(proxy.text("winhttp"))


def parse_winhttp(digits: str) -> str:
    """The proxy of the registry's WinHttpSettings in hex: ``direct``, ``HOST:PORT`` and, behind `` except ``,
    what goes around it; "" when it is something else.

    Three 32-bit numbers (size, counter, flags), then two texts, each behind its length.
    """
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        return ""
    if len(raw) < _WINHTTP_HEAD:
        return ""
    if not raw[8] & _WINHTTP_NAMED:
        return "direct"
    name, at = _counted(raw, _WINHTTP_HEAD)
    bypass, _ = _counted(raw, at)
    # It is no place for a password, but would show one.
    proxy = name.rpartition("@")[2]
    return f"{proxy} except {bypass}" if proxy and bypass else proxy


def tell_tls(tls: Members) -> Named:
    """Whether the suites that some agents need are on, and what is switched for single protocols."""
    # A policy's list stands in the place of the host's own.
    policy = tls.text("policy_suites")
    suites = tuple(policy.split(",")) if policy else tls.texts("cipher_suites")
    if suites is not None:
        is_any = any(_SUITES.fullmatch(suite.strip()) for suite in suites)
        yield "tls.suites", "ok" if is_any else "missing"
    switches = list(_switches(tls.members("protocols")))
    yield "tls.protocols", ", ".join(f"{name} {state}" for name, state in switches[:_MAX_LISTED])
    yield "tls.tls12_client", dict(switches).get("TLS 1.2/Client", "")


def tell_time(time: Members) -> Named:
    """Where the host has its time from, and whether the time service runs and starts with the system."""
    kind, server = time.text("type"), time.text("server")
    names = {"NT5DS": "domain", "NoSync": "none"}
    yield "time.source", names.get(kind) or " ".join(filter(None, (kind, server)))
    yield "time.service", _STATUS.get(time.number("status") or 0, "")
    yield "time.start_mode", _start_word(time)


def tell_rights(rights: Members) -> Named:
    """Whether a policy leaves himds the right to log on as a service: yes, no, ``no policy``; not said where
    the policy names accounts that may or may not stand for himds."""
    if "accounts" not in rights.values:
        return
    accounts = rights.texts("accounts")
    if accounts is None:
        yield "rights.logon_as_service", "no policy" if rights.values["accounts"] is None else ""
    elif any(map(_is_himds, accounts)):
        yield "rights.logon_as_service", "yes"
    elif all(map(_SID.fullmatch, accounts)):
        yield "rights.logon_as_service", "no"


def tell_esu(esu: Members) -> Named:
    """Whether a licence for Extended Security Updates is there."""
    is_there = esu.flag("license_exists")
    if is_there is not None:
        yield "esu.license", yes_no(is_there)


TELLERS: Mapping[str, Callable[[Members], Named]] = {
    "host.os": tell_system,
    "agent.identity": tell_identity,
    "agent.proxy": tell_proxy,
    "host.tls": tell_tls,
    "host.time": tell_time,
    "host.rights": tell_rights,
    "agent.esu": tell_esu,
}
"""Of each item that is one JSON object what it tells, as names of facts with their values, "" for none."""


def _serviced(entry: Members) -> Serviced | None:
    unit, exists = entry.text("name")[:100], entry.flag("exists")
    role = ROLES.get(unit.lower())
    if role is None:
        return None
    status = entry.number("status")
    code = _exit_code(entry)
    failed = status == _STOPPED and code not in _NO_FAILURE
    service = Service(
        name=role,
        unit=unit,
        load_state="not-found" if exists is False else "loaded" if exists else "",
        active_state="" if exists is False else "failed" if failed else _STATUS.get(status or 0, ""),
        start_mode=_start_mode(entry),
        exit_status="" if code is None else str(code),
        since_at=parse_instant(entry.text("started_at")) if status == _RUNNING else None,
    )
    return Serviced(service=service, display_name=entry.text("display_name"), account=entry.text("account"))


def _start_mode(entry: Members) -> str:
    mode = _start_word(entry)
    return f"{mode} (delayed)" if mode == "auto" and entry.flag("delayed") else mode


def _start_word(entry: Members) -> str:
    start = entry.number("start")
    return "" if start is None else _START.get(start, "")


def _exit_code(entry: Members) -> int | None:
    code = entry.number("exit_code")
    return entry.number("service_exit_code") or code if code == _SPECIFIC_ERROR else code


def _counted(raw: bytes, at: int) -> tuple[str, int]:
    size = int.from_bytes(raw[at : at + 4], "little")
    start = at + 4
    text = raw[start : start + min(size, len(raw))].decode("ascii", "replace")
    return "".join(char for char in text if char.isprintable())[:500], start + size


def _switches(protocols: Members) -> Named:
    for name, values in protocols.entries():
        enabled, by_default = values.number("enabled"), values.number("disabled_by_default")
        if enabled is not None:
            yield name[:40], "on" if enabled else "off"
        elif by_default:
            yield name[:40], "not by default"


def _is_himds(account: str) -> bool:
    sid = _SID.fullmatch(account)
    return sid[1] in _HIMDS_HOLDERS if sid else account.casefold() in _HIMDS_NAMES
