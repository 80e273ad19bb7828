"""A visit, or texts that were collected by hand, to an observation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from fleet.model.observation import AgentState, Fact, Log, Observation, Service, Unanswered
from fleet.model.visit import Visit
from fleet.model.words import OS
from fleet.parse import agent as agents
from fleet.parse import host as hosts
from fleet.parse.check import ANSWERED, check_facts
from fleet.parse.facts import (
    agent_facts,
    certificate_facts,
    clock_facts,
    config_facts,
    esu_facts,
    heartbeat_facts,
    key_facts,
    service_facts,
    version_facts,
)
from fleet.parse.logs import parse_log
from fleet.parse.presence import answers, is_installed
from fleet.parse.scan import Anchors, Words
from fleet.parse.services import (
    LISTED,
    parse_get_service,
    parse_systemctl,
    service_state,
    services_from_show,
)
from fleet.parse.surroundings import (
    SERVICES_ITEM,
    Captures,
    Surroundings,
    data_of,
    good_data,
    look_around,
)
from fleet.parse.text import from_epoch, to_utf8

SERVICE_LOGS = ("log.himds", "log.arcproxy", "log.gc_agent", "log.gc_ext")
LOG_ITEMS = ("log.azcmagent", *SERVICE_LOGS, "agent.check")
# What the parsers of a text by hand look for, so that a large one is searched once for all of them.
_WORDS = Words((*LISTED, ANSWERED, agents.VERSION_HEAD, agents.CONFIG_HEAD))
SHOW_ITEMS = ("agent.show", "agent.show-text")


def observe_visit(visit: Visit, anchors: Anchors, os: OS | None = None) -> Observation:
    """All that a visit says of its host, whose family is told by what was read when ``os`` does not. Total:
    whatever the captures hold."""
    known = visit.by_item()
    now = _host_now(visit, known)
    around = look_around(known, now, os)
    shown = _shown(known)
    services = _by_role((*around.managed, *_shown_services(shown, around.os, known)))
    agent = _agent(known, shown, around)
    calls = [known[item] for item in SHOW_ITEMS if item in known]
    answered = answers(calls, agent) if agent.installed else None
    facts = (
        *agent_facts(agent, answered, "agent.show"),
        *esu_facts(shown.esu if shown else "", "agent.show"),
        *heartbeat_facts(agent, now),
        *clock_facts(visit.clock_offset_s),
        *key_facts(visit.host_key),
        *service_facts(services, SERVICES_ITEM),
        *config_facts(good_data(known, "agent.config"), "agent.config"),
        *check_facts(data_of(known, "agent.check"), "agent.check"),
        *around.facts,
        *certificate_facts(data_of(known, "agent.certificates"), agent, now),
        *_leftover_facts(agent, around),
    )
    return Observation(
        os=around.os if known else os,
        os_name=around.os_name,
        at=visit.started_at,
        agent=agent,
        services=services,
        logs=_logs(known, anchors),
        facts=facts,
        answered=(SERVICES_ITEM,) if _has_himds(around.managed) else (),
        unanswered=tuple(_unanswered(around.managed, shown)),
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
        held = _WORDS.found(rest)
        listed = parse_get_service(rest) if held.intersection(LISTED) else ()
        found = _by_role((*parse_systemctl(rest), *listed))
        if shown:
            agent = shown.state
            unanswered += [Unanswered(item=path, why=shown.doubt)] if shown.doubt else ()
            found = _by_role((*services_from_show(shown.block), *found))
            facts += agent_facts(agent, True if agent.status else None, path)
            facts += esu_facts(shown.esu, path)
        elif _is_there(_himds(found)):
            facts.append(Fact(name="agent.installed", value="yes", source=path))
        services = _by_role((*found, *services))
        facts += service_facts(found, path)
        facts += version_facts(rest, path) if agents.VERSION_HEAD in held else ()
        has_config = agents.CONFIG_HEAD in held and agents.CONFIG_HEAD in rest
        facts += config_facts(rest, path) if has_config else ()
        facts += check_facts(rest, path) if ANSWERED in held else ()
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


def _logs(known: Captures, anchors: Anchors) -> tuple[Log, ...]:
    return tuple(
        parse_log(name, known[name].data, anchors, cut=known[name].cut)
        for name in LOG_ITEMS
        if name in known and known[name].data
    )


def _agent(known: Captures, shown: agents.Shown | None, around: Surroundings) -> AgentState:
    calls = [known[item] for item in ("agent.version", *SHOW_ITEMS) if item in known]
    state = shown.state if shown else AgentState()
    leaves_units = around.os is OS.WINDOWS
    return replace(
        state,
        installed=True if shown else is_installed(calls, around.managed, leaves_units=leaves_units),
        version=state.version or agents.parse_version(good_data(known, "agent.version")),
    )


def _shown_services(shown: agents.Shown | None, os: OS, known: Captures) -> tuple[Service, ...]:
    """The services as ``show`` has them. On Windows the right to see services is the caller's: who was denied
    them is told nothing of worth by the agent's program either."""
    if shown is None or (os is OS.WINDOWS and SERVICES_ITEM in known and known[SERVICES_ITEM].denied):
        return ()
    return services_from_show(shown.block)


def _leftover_facts(agent: AgentState, around: Surroundings) -> Iterator[Fact]:
    left = [service.unit for service in around.managed if _is_there(service)]
    if agent.installed is False and left:
        yield Fact(name="agent.leftovers", value=", ".join(left), source=SERVICES_ITEM)


def _shown(known: Captures) -> agents.Shown | None:
    found = (agents.find_show(data_of(known, item)) for item in SHOW_ITEMS)
    return next((shown for shown in found if shown is not None), None)


def _host_now(visit: Visit, known: Captures) -> datetime | None:
    clock = hosts.parse_clock(good_data(known, "host.clock"))
    if clock is not None:
        return from_epoch(clock[0])
    if visit.clock_offset_s is None:
        return None
    return visit.started_at + timedelta(seconds=visit.clock_offset_s)
