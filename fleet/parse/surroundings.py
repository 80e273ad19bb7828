"""What captures say of the system around the agent, Linux or Windows, to services and facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fleet.model.observation import Fact, Service
from fleet.model.visit import Capture
from fleet.model.words import OS
from fleet.parse import host as hosts
from fleet.parse.documents import read_object
from fleet.parse.events import (
    Event,
    count_crashes,
    find_faults,
    find_installation,
    find_start_error,
    parse_events,
)
from fleet.parse.facts import yes_no
from fleet.parse.services import parse_is_active, parse_systemctl, service_state
from fleet.parse.text import decode, parse_instant
from fleet.parse.windows import (
    TELLERS,
    Serviced,
    count_certificates,
    parse_caption,
    parse_drives,
    parse_services,
)

SERVICES_ITEM = "services"
UNITS = ("himdsd", "gcad", "extd", "arcproxyd")
# Where fleet looks for the services' events when their own answer does not name them.
_DISPLAY_NAMES = {
    "himds": ("himds", "Azure Hybrid Instance Metadata Service"),
    "gcad": (
        "GCArcService",
        "Guest Configuration Arc Service",
        "Machine Configuration Arc Service",
    ),
    "extd": (
        "ExtensionService",
        "Guest Configuration Extension Service",
        "Machine Configuration Extension Service",
    ),
    "arcproxy": ("arcproxy", "Azure Arc Proxy"),
}

_MAX_VALUE = 1000
# ERROR_SUCCESS, ERROR_SERVICE_NEVER_STARTED
_NO_ERROR = ("0", "1077")

Captures = Mapping[str, Capture]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is known of a host apart from its agent. ``managed``: the services as their manager has them."""

    os: OS
    os_name: str
    managed: tuple[Service, ...]
    facts: tuple[Fact, ...]


def look_around(known: Captures, now: datetime | None, os: OS | None) -> Surroundings:
    """The host that the captures are of; ``now`` is its own clock, ``os`` None: the captures tell."""
    is_windows = os is OS.WINDOWS or (os is None and "host.os" in known)
    return _windows(known, now) if is_windows else _linux(known)


def data_of(known: Captures, item: str) -> bytes:
    """What the item printed, however it ended."""
    return known[item].data if item in known else b""


def good_data(known: Captures, item: str) -> bytes:
    """What the item printed if it succeeded."""
    return known[item].data if item in known and known[item].exit_code == 0 else b""


def _linux(known: Captures) -> Surroundings:
    units = (parse_is_active(f"{unit}.service", data_of(known, f"unit.{unit}")) for unit in UNITS)
    return Surroundings(
        os=OS.LINUX,
        os_name=hosts.parse_os_name(good_data(known, "host.os-release")),
        managed=(
            *parse_systemctl(data_of(known, SERVICES_ITEM)),
            *(service for service in units if service is not None),
        ),
        facts=(
            *_linux_facts(known),
            *_proxy_facts(known),
            *_zone_facts(known),
            *_space_facts(hosts.parse_space(data_of(known, "host.space"))),
            *_extension_facts(known),
        ),
    )


def _windows(known: Captures, now: datetime | None) -> Surroundings:
    system = read_object(good_data(known, "host.os"))
    serviced = parse_services(good_data(known, SERVICES_ITEM))
    booted_at = parse_instant(system.text("booted_at"))
    return Surroundings(
        os=OS.WINDOWS,
        os_name=parse_caption(system),
        # A service whose state nobody could tell is one that nobody looked at.
        managed=tuple(each.service for each in serviced if service_state(each.service) != "unknown"),
        facts=(
            *_told(known),
            *_zone_facts(known),
            *_uptime_facts(booted_at, now),
            *_space_facts(parse_drives(good_data(known, "host.space"))),
            *_extension_facts(known),
            *_certificate_facts(known),
            *_service_facts(serviced, parse_events(good_data(known, "events.services")), booted_at, now),
            *_fault_facts(known),
            *_install_facts(known),
        ),
    )


def _linux_facts(known: Captures) -> Iterator[Fact]:
    kernel = decode(good_data(known, "host.kernel")[:200]).strip()
    if kernel:
        yield Fact(name="host.kernel", value=kernel, source="host.kernel")
    uptime = hosts.parse_uptime(good_data(known, "host.uptime"))
    if uptime is not None:
        yield Fact(name="host.uptime_s", value=str(uptime), source="host.uptime")


def _proxy_facts(known: Captures) -> Iterator[Fact]:
    """The proxy of the agent's services by their units. One in a file that a unit names is not seen."""
    proxies = hosts.parse_unit_proxies(good_data(known, "agent.proxy"))
    found = {proxy for proxy in proxies.values() if proxy}
    if len(set(proxies.values())) > 1:
        told = ", ".join(f"{unit}: {proxy or 'none'}" for unit, proxy in sorted(proxies.items()))
        yield Fact(name="proxy.services_differ", value=told[:_MAX_VALUE], source="agent.proxy")
    elif found:
        yield Fact(name="proxy.services", value=found.pop(), source="agent.proxy")


def _zone_facts(known: Captures) -> Iterator[Fact]:
    clock = hosts.parse_clock(good_data(known, "host.clock"))
    if clock is not None:
        yield Fact(name="host.timezone", value=clock[1], source="host.clock")


def _space_facts(space: Mapping[str, tuple[int, int]]) -> Iterator[Fact]:
    for place, (free_kb, used_pct) in space.items():
        yield Fact(name=f"space.{place}.free_kb", value=str(free_kb), source="host.space")
        yield Fact(name=f"space.{place}.used_pct", value=str(used_pct), source="host.space")
    # On Windows the agent writes to the system's drive alone; drives for data may be as full as they like.
    own = {place: free_kb for place, (free_kb, _) in space.items() if place.startswith("/") or place == "C:"}
    if own:
        place = min(own, key=lambda each: own[each])
        yield Fact(name="space.lowest_free_mb", value=str(own[place] // 1024), source="host.space")
        yield Fact(name="space.lowest_place", value=place, source="host.space")


def _extension_facts(known: Captures) -> Iterator[Fact]:
    failed = list(hosts.failed_extensions(data_of(known, "agent.extensions")))
    if failed:
        yield Fact(name="extensions.failed", value=", ".join(failed[:20]), source="agent.extensions")


def _told(known: Captures) -> Iterator[Fact]:
    for item, tell in TELLERS.items():
        for name, value in tell(read_object(good_data(known, item))):
            if value:
                yield Fact(name=name, value=value[:_MAX_VALUE], source=item)


def _uptime_facts(booted_at: datetime | None, now: datetime | None) -> Iterator[Fact]:
    if booted_at is not None and now is not None:
        yield Fact(name="host.uptime_s", value=_seconds(booted_at, now), source="host.os")


def _seconds(since: datetime, now: datetime) -> str:
    return str(int((now - since).total_seconds()))


def _certificate_facts(known: Captures) -> Iterator[Fact]:
    """Whether the identity's certificate is there: in the store of the account or in a file of the agent.

    Not said where one of the two could not be looked at and the other has none.
    """
    in_store = count_certificates(read_object(good_data(known, "agent.identity")))
    on_disk = _is_on_disk(known)
    if on_disk is not None:
        yield Fact(name="identity.certificate_file", value=yes_no(on_disk), source="agent.certificates")
    if in_store is not None:
        yield Fact(name="identity.store_certificates", value=str(in_store), source="agent.identity")
    is_there = bool(in_store) or bool(on_disk)
    if is_there or (in_store is not None and on_disk is not None):
        yield Fact(name="identity.certificate", value=yes_no(is_there), source="agent.identity")


def _is_on_disk(known: Captures) -> bool | None:
    folder = known.get("agent.certificates")
    if folder is None or folder.exit_code is None:
        return None
    if any(hosts.parse_expiries(folder.data)) or b"pfx" in folder.data.split():
        return True
    # Among many files single ones may be closed to the login; the words say so.
    has_seen_all = folder.exit_code == 0 and not folder.stderr.strip()
    return False if has_seen_all or b"No such file or directory" in folder.stderr else None


def _service_facts(
    serviced: Sequence[Serviced], events: Sequence[Event], booted_at: datetime | None, now: datetime | None
) -> Iterator[Fact]:
    for each in serviced:
        told = (
            *_own_facts(each, now),
            *_crash_facts(each, events, now),
            ("start_error", _start_error(each, events, booted_at)),
        )
        for name, value in told:
            if value:
                source = SERVICES_ITEM if name in _OWN else "events.services"
                yield Fact(name=f"service.{each.service.name}.{name}", value=value, source=source)


_OWN = ("start_mode", "account", "exit_code", "up_s")


def _own_facts(each: Serviced, now: datetime | None) -> Iterator[tuple[str, str]]:
    service = each.service
    yield "start_mode", service.start_mode
    yield "account", each.account
    yield "exit_code", service.exit_status
    if service.since_at is not None and now is not None:
        yield "up_s", _seconds(service.since_at, now)


def _crash_facts(each: Serviced, events: Sequence[Event], now: datetime | None) -> Iterator[tuple[str, str]]:
    crashes = count_crashes(events, _names(each), now)
    if crashes.count:
        yield "crashes", str(crashes.count)
        yield "crashes_in_a_day", str(crashes.in_a_day)
    if crashes.last_at is not None and now is not None:
        yield "crash_age_s", _seconds(crashes.last_at, now)


def _start_error(each: Serviced, events: Sequence[Event], booted_at: datetime | None) -> str:
    """Why it does not run; "" of one that runs, that was stopped in good order, or that nobody started."""
    state, code = service_state(each.service), each.service.exit_status
    if state not in ("stopped", "failed", "starting") or code in _NO_ERROR:
        return ""
    return find_start_error(events, _names(each), booted_at) or (code if state == "failed" else "")


def _names(each: Serviced) -> tuple[str, ...]:
    return (each.service.unit, each.display_name, *_DISPLAY_NAMES[each.service.name])


def _fault_facts(known: Captures) -> Iterator[Fact]:
    for role, fault in find_faults(parse_events(good_data(known, "events.crashes"))).items():
        name = "agent.fault" if role == "agent" else f"service.{role}.fault"
        yield Fact(name=name, value=fault, source="events.crashes")


def _install_facts(known: Captures) -> Iterator[Fact]:
    events = parse_events(good_data(known, "events.install"))
    found = find_installation(events, good_data(known, "install.log"))
    if found is None:
        return
    source = "events.install" if events else "install.log"
    yield Fact(name="install.last", value=found.word, source=source)
    if found.word == "failed":
        yield Fact(name="install.failed", value=found.code or "yes", source=source)
