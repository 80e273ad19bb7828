"""A visit, or texts that were collected by hand, to an observation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from fleet.model.observation import AgentState, Fact, Log, Observation, Service, Unanswered
from fleet.model.visit import Capture, Visit
from fleet.model.words import OS
from fleet.parse import agent as agents
from fleet.parse import host as hosts
from fleet.parse.logs import parse_log
from fleet.parse.presence import answers, is_installed
from fleet.parse.scan import Anchors
from fleet.parse.services import (
    parse_get_service,
    parse_is_active,
    parse_systemctl,
    service_state,
    services_from_show,
)
from fleet.parse.text import decode, from_epoch, to_utf8

SERVICE_LOGS = ("log.himds", "log.arcproxy", "log.gc_agent", "log.gc_ext")
LOG_ITEMS = ("log.azcmagent", *SERVICE_LOGS, "agent.check")
SHOW_ITEMS = ("agent.show", "agent.show-text")
SERVICES_ITEM = "services"
UNITS = ("himdsd", "gcad", "extd", "arcproxyd")


def observe_visit(visit: Visit, anchors: Anchors) -> Observation:
    """All that a visit says of its host. Total: whatever the captures hold."""
    known = visit.by_item()
    shown = _shown(known)
    managed = _by_role((*parse_systemctl(_data(known, SERVICES_ITEM)), *_active_units(known)))
    services = _by_role((*managed, *(services_from_show(shown.block) if shown else ())))
    agent = _agent(known, shown, managed)
    calls = [known[item] for item in SHOW_ITEMS if item in known]
    answered = answers(calls, agent) if agent.installed else None
    now = _host_now(visit, known)
    facts = (
        *_agent_facts(agent, answered, "agent.show"),
        *_heartbeat_facts(agent, now),
        *_clock_facts(visit.clock_offset_s),
        *_service_facts(services, SERVICES_ITEM),
        *_config_facts(_good(known, "agent.config"), "agent.config"),
        *_host_facts(known),
        *_certificate_facts(_data(known, "agent.certificates"), agent, now),
    )
    return Observation(
        os=OS.LINUX if known else None,
        os_name=hosts.parse_os_name(_good(known, "host.os-release")),
        agent=agent,
        services=services,
        logs=_logs(known, anchors),
        facts=facts,
        answered=(SERVICES_ITEM,) if _has_himds(managed) else (),
        unanswered=tuple(_unanswered(managed, shown)),
    )


def observe_texts(
    texts: Iterable[tuple[str, bytes]], anchors: Anchors, *, os: OS | None = None
) -> Observation:
    """All that texts (path, bytes) say together; no ages, as nobody knows when they were taken.

    A text may hold anything in any order: what ``show`` printed is taken out, the rest is read as a log.
    """
    agent = AgentState()
    services: tuple[Service, ...] = ()
    logs: list[Log] = []
    facts: list[Fact] = []
    unanswered: list[Unanswered] = []
    for path, raw in texts:
        shown = agents.find_show(raw)
        rest = shown.rest if shown else to_utf8(raw)
        found = _by_role((*parse_systemctl(rest), *parse_get_service(rest)))
        if shown:
            agent = shown.state
            unanswered += [Unanswered(item=path, why=shown.doubt)] if shown.doubt else ()
            found = _by_role((*services_from_show(shown.block), *found))
            facts += _agent_facts(agent, True if agent.status else None, path)
        elif _is_there(_himds(found)):
            facts.append(Fact(name="agent.installed", value="yes", source=path))
        services = _by_role((*found, *services))
        facts += [*_service_facts(found, path), *_version_facts(rest, path)]
        facts += _config_facts(rest, path) if agents.CONFIG_HEAD in rest else ()
        logs.append(parse_log(path, rest, anchors))
    return Observation(
        os=os,
        agent=agent,
        services=services,
        logs=tuple(logs),
        facts=tuple(facts),
        unanswered=tuple(unanswered),
    )


def _by_role(services: Iterable[Service]) -> tuple[Service, ...]:
    """The first service of each role."""
    found: dict[str, Service] = {}
    for service in services:
        found.setdefault(service.name, service)
    return tuple(found.values())


def _active_units(known: Mapping[str, Capture]) -> Iterator[Service]:
    for unit in UNITS:
        service = parse_is_active(f"{unit}.service", _data(known, f"unit.{unit}"))
        if service is not None:
            yield service


def _himds(services: Iterable[Service]) -> Service | None:
    return next((service for service in services if service.name == "himds"), None)


def _is_there(service: Service | None) -> bool:
    return service is not None and service_state(service) not in ("absent", "unknown")


def _has_himds(services: Iterable[Service]) -> bool:
    return _himds(services) is not None


def _unanswered(managed: Iterable[Service], shown: agents.Shown | None) -> Iterator[Unanswered]:
    if not _has_himds(managed):
        yield Unanswered(item=SERVICES_ITEM, why="its answer is not understood")
    if shown and shown.doubt:
        yield Unanswered(item=SHOW_ITEMS[0], why=shown.doubt)


def _logs(known: Mapping[str, Capture], anchors: Anchors) -> tuple[Log, ...]:
    return tuple(
        parse_log(name, known[name].data, anchors, cut=known[name].cut)
        for name in LOG_ITEMS
        if name in known and known[name].data
    )


def _agent(
    known: Mapping[str, Capture], shown: agents.Shown | None, managed: Iterable[Service]
) -> AgentState:
    calls = [known[item] for item in ("agent.version", *SHOW_ITEMS) if item in known]
    state = shown.state if shown else AgentState()
    return replace(
        state,
        installed=True if shown else is_installed(calls, _himds(managed)),
        version=state.version or agents.parse_version(_good(known, "agent.version")),
    )


def _data(known: Mapping[str, Capture], item: str) -> bytes:
    return known[item].data if item in known else b""


def _good(known: Mapping[str, Capture], item: str) -> bytes:
    return known[item].data if item in known and known[item].exit_code == 0 else b""


def _shown(known: Mapping[str, Capture]) -> agents.Shown | None:
    found = (agents.find_show(_data(known, item)) for item in SHOW_ITEMS)
    return next((shown for shown in found if shown is not None), None)


def _host_now(visit: Visit, known: Mapping[str, Capture]) -> datetime | None:
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
        # Who waits for the next start has ended at least once, counted (NRestarts is systemd 235's) or not.
        restarts = max(service.restarts or 0, 1) if service.sub_state == "auto-restart" else service.restarts
        if restarts is not None:
            yield Fact(name=f"service.{service.name}.restarts", value=str(restarts), source=source)


def _config_facts(data: bytes, source: str) -> Iterator[Fact]:
    for key, value in agents.parse_config_list(data):
        # The key "config.mode" carries the prefix already.
        yield Fact(name=f"config.{key.removeprefix('config.')}", value=value, source=source)


def _certificate_facts(data: bytes, agent: AgentState, now: datetime | None) -> Iterator[Fact]:
    """What is left of the identity's certificate by the host's clock, as for the agent on it.

    One that the agent's heartbeat has outlived is not the one in use: it was renewed and left lying about.
    """
    beat = agent.last_heartbeat_at
    ends = [end for end in hosts.parse_expiries(data) if beat is None or end > beat]
    if ends and now is not None:
        left = int((min(ends) - now).total_seconds())
        yield Fact(name="certificate.expires_in_s", value=str(left), source="agent.certificates")


def _version_facts(data: bytes, source: str) -> Iterator[Fact]:
    version = agents.find_version(data)
    if version:
        yield Fact(name="agent.version", value=version, source=source)


def _host_facts(known: Mapping[str, Capture]) -> Iterator[Fact]:
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
    failed = list(hosts.failed_extensions(_data(known, "agent.extensions")))
    if failed:
        yield Fact(name="extensions.failed", value=", ".join(failed[:20]), source="agent.extensions")
