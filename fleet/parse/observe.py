"""A visit, or texts that were collected by hand, to an observation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

from fleet.model.observation import AgentState, Fact, Log, Observation, Service
from fleet.model.visit import Capture, Visit
from fleet.model.words import OS
from fleet.parse import agent as agents
from fleet.parse import host as hosts
from fleet.parse.logs import parse_log
from fleet.parse.scan import Anchors
from fleet.parse.services import parse_systemctl, service_state, services_from_show
from fleet.parse.text import decode, from_epoch, to_utf8

LOG_ITEMS = ("log.azcmagent", "log.himds", "log.arcproxy", "log.gc_agent", "log.gc_ext", "agent.check")
SHOW_ITEMS = ("agent.show", "agent.show-text")
NOT_FOUND = 127


class TextKind(StrEnum):
    """What a text is, as far as its first lines tell."""

    LOG = "log"
    CONSOLE = "console"
    SHOW = "show"
    CHECK = "check"
    CONFIG_LIST = "config-list"
    VERSION = "version"
    SERVICE_LIST = "service-list"
    OTHER = "other"


_HEAD_BYTES = 65536
_KINDS = (
    (
        TextKind.SHOW,
        re.compile(rb"^ *Agent Status *:|^\s*\{[^}]{0,4000}\"status\"", re.MULTILINE | re.IGNORECASE),
    ),
    (TextKind.CONFIG_LIST, re.compile(rb"^Local Configuration Settings", re.MULTILINE)),
    (TextKind.CHECK, re.compile(rb"^ENDPOINT *\|", re.MULTILINE)),
    (TextKind.LOG, re.compile(rb"^(?:time=\"|level=\w+ msg=|<GCLOG>|\[\d{4}-\d\d-\d\d\])", re.MULTILINE)),
    (
        TextKind.CONSOLE,
        re.compile(rb"^\s*(?:DEBUG|INFO|WARN|WARNING|ERROR|FATAL)(?:\[\d+\]|   )", re.MULTILINE),
    ),
    (TextKind.VERSION, re.compile(rb"^azcmagent version +\d", re.MULTILINE)),
    (TextKind.SERVICE_LIST, re.compile(rb"^Status +Name +DisplayName|^ActiveState=", re.MULTILINE)),
)


def recognize(data: bytes) -> TextKind:
    """The kind of a text; OTHER when nothing is known of it."""
    head = to_utf8(data[:_HEAD_BYTES])
    return next((kind for kind, pattern in _KINDS if pattern.search(head)), TextKind.OTHER)


def observe_visit(visit: Visit, anchors: Anchors) -> Observation:
    """All that a visit says of its host. Total: whatever the captures hold."""
    captures = {capture.item: visit.capture(capture.item) for capture in visit.captures}
    known = {name: capture for name, capture in captures.items() if capture is not None}
    shown, show_data = _shown(known)
    version = agents.parse_version(_good(known, "agent.version"))
    services = parse_systemctl(_data(known, "services")) or services_from_show(show_data)
    installed = _is_installed(known, services)
    agent = replace(shown, installed=installed) if shown else AgentState(installed=installed)
    if not agent.version:
        agent = replace(agent, version=version)
    facts = (
        *_agent_facts(agent, _answers(known, shown, installed), "agent.show"),
        *_heartbeat_facts(agent, _host_now(visit, known)),
        *_clock_facts(visit.clock_offset_s),
        *_service_facts(services, "services"),
        *_config_facts(_good(known, "agent.config"), "agent.config"),
        *_host_facts(known, visit),
    )
    return Observation(
        os=OS.LINUX if known else None,
        os_name=hosts.parse_os_name(_good(known, "host.os-release")),
        agent=agent,
        services=services,
        logs=tuple(
            parse_log(name, known[name].data, anchors, cut=known[name].cut)
            for name in LOG_ITEMS
            if name in known and known[name].data
        ),
        facts=facts,
    )


def observe_texts(
    texts: Iterable[tuple[str, bytes]], anchors: Anchors, *, os: OS | None = None
) -> Observation:
    """All that texts (path, bytes) say together; no ages, as nobody knows when they were taken."""
    agent = AgentState()
    services: tuple[Service, ...] = ()
    logs: list[Log] = []
    facts: list[Fact] = []
    for path, raw in texts:
        data = to_utf8(raw)
        kind = recognize(data)
        if kind is TextKind.SHOW and (shown := agents.parse_show(data)) is not None:
            agent, services = shown, services_from_show(data)
            facts += [*_agent_facts(agent, True, path), *_service_facts(services, path)]
        elif kind is TextKind.CONFIG_LIST:
            facts += _config_facts(data, path)
        elif kind is TextKind.VERSION:
            facts.append(Fact(name="agent.version", value=agents.parse_version(data), source=path))
        elif kind is TextKind.SERVICE_LIST:
            services = parse_systemctl(data) or services
            facts += _service_facts(services, path)
        else:
            logs.append(parse_log(path, data, anchors))
    return Observation(os=os, agent=agent, services=services, logs=tuple(logs), facts=tuple(facts))


def _data(known: dict[str, Capture], item: str) -> bytes:
    return known[item].data if item in known else b""


def _good(known: dict[str, Capture], item: str) -> bytes:
    return known[item].data if item in known and known[item].exit_code == 0 else b""


def _shown(known: dict[str, Capture]) -> tuple[AgentState | None, bytes]:
    for item in SHOW_ITEMS:
        data = _data(known, item)
        state = agents.parse_show(data) if data else None
        if state is not None:
            return state, data
    return None, b""


def _is_installed(known: dict[str, Capture], services: tuple[Service, ...]) -> bool | None:
    """Unknown when the agent's program was never asked for; the unit alone does not make an agent."""
    codes = [known[item].exit_code for item in ("agent.version", *SHOW_ITEMS) if item in known]
    if not codes:
        return None
    himds = next((service for service in services if service.name == "himds"), None)
    has_unit = himds is not None and himds.load_state not in ("not-found", "")
    ran = [code for code in codes if code is not None]
    return has_unit or not ran or any(code != NOT_FOUND for code in ran)


def _answers(known: dict[str, Capture], shown: AgentState | None, installed: bool | None) -> bool | None:
    if shown is not None:
        return True
    asked = [known[item] for item in SHOW_ITEMS if item in known]
    whole = [capture for capture in asked if capture.exit_code is not None]
    # A section that was cut off in the middle, or refused, says nothing about the agent.
    if not installed or not whole or any(c.denied or (c.cut and c.exit_code == 255) for c in whole):
        return None
    return False


def _host_now(visit: Visit, known: dict[str, Capture]) -> datetime | None:
    clock = hosts.parse_clock(_good(known, "host.clock"))
    if clock is not None:
        return from_epoch(clock[0])
    if visit.clock_offset_s is None:
        return None
    return visit.started_at + timedelta(seconds=visit.clock_offset_s)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _agent_facts(agent: AgentState, answers: bool | None, source: str) -> Iterator[Fact]:
    if agent.installed is not None:
        yield Fact(name="agent.installed", value=_yes(agent.installed), source=source)
    if answers is not None:
        yield Fact(name="agent.answers", value=_yes(answers), source=source)
    if agent.is_onboarded is not None:
        yield Fact(name="agent.onboarded", value=_yes(agent.is_onboarded), source=source)
    for name in ("status", "version", "error_code"):
        if getattr(agent, name):
            yield Fact(name=f"agent.{name}", value=getattr(agent, name), source=source)


def _heartbeat_facts(agent: AgentState, now: datetime | None) -> Iterator[Fact]:
    if agent.last_heartbeat_at is not None and now is not None:
        age = int((now - agent.last_heartbeat_at).total_seconds())
        yield Fact(name="agent.heartbeat_age_s", value=str(age), source="agent.show")


def _clock_facts(offset_s: float | None) -> Iterator[Fact]:
    if offset_s is not None:
        yield Fact(name="clock.offset_s", value=f"{offset_s:g}", source="visit")
        yield Fact(name="clock.skew_s", value=f"{abs(offset_s):g}", source="visit")


def _service_facts(services: Iterable[Service], source: str) -> Iterator[Fact]:
    for service in services:
        yield Fact(name=f"service.{service.name}.state", value=service_state(service), source=source)
        if service.restarts is not None:
            yield Fact(name=f"service.{service.name}.restarts", value=str(service.restarts), source=source)


def _config_facts(data: bytes, source: str) -> Iterator[Fact]:
    for key, value in agents.parse_config_list(data):
        # The key "config.mode" carries the prefix already.
        yield Fact(name=f"config.{key.removeprefix('config.')}", value=value, source=source)


def _host_facts(known: dict[str, Capture], visit: Visit) -> Iterator[Fact]:
    kernel = decode(_good(known, "host.kernel")[:200]).strip()
    if kernel:
        yield Fact(name="host.kernel", value=kernel, source="host.kernel")
    clock = hosts.parse_clock(_good(known, "host.clock"))
    if clock is not None:
        yield Fact(name="host.timezone", value=clock[1], source="host.clock")
    uptime = hosts.parse_uptime(_good(known, "host.uptime"))
    if uptime is not None:
        yield Fact(name="host.uptime_s", value=str(uptime), source="host.uptime")
    for mount, (free_kb, used_pct) in hosts.parse_space(_data(known, "host.space")).items():
        yield Fact(name=f"space.{mount}.free_kb", value=str(free_kb), source="host.space")
        yield Fact(name=f"space.{mount}.used_pct", value=str(used_pct), source="host.space")
    expiry = hosts.parse_expiry(_data(known, "agent.certificates"))
    if expiry is not None:
        left = int((expiry - visit.started_at).total_seconds())
        yield Fact(name="certificate.expires_in_s", value=str(left), source="agent.certificates")
    failed = list(hosts.failed_extensions(_data(known, "agent.extensions")))
    if failed:
        yield Fact(name="extensions.failed", value=", ".join(failed[:20]), source="agent.extensions")
