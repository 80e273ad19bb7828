"""What is known of an agent, its services and its host, whatever the system, to the facts that rules test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from fleet.model.observation import AgentState, Fact, Service
from fleet.parse import agent as agents
from fleet.parse import host as hosts
from fleet.parse.services import service_state

DAY_S = 86400


def yes_no(value: bool) -> str:
    """The word a fact says it with."""
    return "yes" if value else "no"


def agent_facts(agent: AgentState, answers: bool | None, source: str) -> Iterator[Fact]:
    """What was made out of the agent; ``answers`` None: nobody could tell."""
    if agent.installed is not None:
        yield Fact(name="agent.installed", value=yes_no(agent.installed), source=source)
    if answers is not None:
        yield Fact(name="agent.answers", value=yes_no(answers), source=source)
    if agent.is_onboarded is not None:
        yield Fact(name="agent.onboarded", value=yes_no(agent.is_onboarded), source=source)
    for name in ("status", "version", "vm_id", "error_code"):
        if getattr(agent, name):
            yield Fact(name=f"agent.{name}", value=getattr(agent, name), source=source)
    if agent.subscription_id and agent.resource_group and agent.resource_name:
        # Azure Resource Manager tells no case apart in any of them.
        parts = (agent.subscription_id, agent.resource_group, agent.resource_name)
        yield Fact(name="agent.resource_id", value="/".join(parts).lower(), source=source)


def esu_facts(eligibility: str, source: str) -> Iterator[Fact]:
    """Whether the host may have Extended Security Updates, as the agent says it."""
    if eligibility:
        yield Fact(name="esu.eligibility", value=eligibility, source=source)


def heartbeat_facts(agent: AgentState, now: datetime | None) -> Iterator[Fact]:
    """How old the last heartbeat is by the host's own clock."""
    if agent.last_heartbeat_at is not None and now is not None:
        age = int((now - agent.last_heartbeat_at).total_seconds())
        yield Fact(name="agent.heartbeat_age_s", value=str(age), source="agent.show")
        yield Fact(name="agent.offline_days", value=str(age // DAY_S), source="agent.show")


def clock_facts(offset_s: float | None) -> Iterator[Fact]:
    """The host's clock beside ours."""
    if offset_s is not None:
        yield Fact(name="clock.offset_s", value=f"{offset_s:g}", source="visit")
        yield Fact(name="clock.skew_s", value=f"{abs(offset_s):g}", source="visit")


def key_facts(fingerprint: str) -> Iterator[Fact]:
    """The SSH host key that the host was known by."""
    if fingerprint:
        yield Fact(name="host.key_sha256", value=fingerprint, source="visit")


def service_facts(services: Iterable[Service], source: str) -> Iterator[Fact]:
    """The state of each service, and how often it was started again where that is counted."""
    for service in services:
        yield Fact(name=f"service.{service.name}.state", value=service_state(service), source=source)
        # Who waits for the next start has ended at least once, counted (NRestarts is systemd 235's) or not.
        restarts = max(service.restarts or 0, 1) if service.sub_state == "auto-restart" else service.restarts
        if restarts is not None:
            yield Fact(name=f"service.{service.name}.restarts", value=str(restarts), source=source)


def config_facts(data: bytes, source: str) -> Iterator[Fact]:
    """The settings that ``azcmagent config list`` printed."""
    for key, value in agents.parse_config_list(data):
        # The key "config.mode" carries the prefix already.
        yield Fact(name=f"config.{key.removeprefix('config.')}", value=value, source=source)


def certificate_facts(data: bytes, agent: AgentState, now: datetime | None) -> Iterator[Fact]:
    """What is left of the identity's certificate by the host's clock, as for the agent on it.

    One that the agent's heartbeat has outlived is not the one in use: it was renewed and left lying about.
    """
    beat = agent.last_heartbeat_at
    ends = [end for end in hosts.parse_expiries(data) if beat is None or end > beat]
    if ends and now is not None:
        left = int((min(ends) - now).total_seconds())
        yield Fact(name="certificate.expires_in_s", value=str(left), source="agent.certificates")
        yield Fact(name="certificate.expires_in_days", value=str(left // DAY_S), source="agent.certificates")


def version_facts(data: bytes, source: str) -> Iterator[Fact]:
    """The version that a text says the agent has."""
    version = agents.find_version(data)
    if version:
        yield Fact(name="agent.version", value=version, source=source)
