"""A matched log line into active or historical: whether the host survived what the line says."""

from __future__ import annotations

from datetime import datetime

from fleet.classify.expressions import Facts
from fleet.model.observation import AgentState, CommandRun, Level, Log, LogRecord, Outcome
from fleet.model.words import State
from fleet.parse.observe import SERVICE_LOGS

# Azure calls a machine disconnected after 15 to 30 minutes without a heartbeat.
_OVERDUE_S = 1800
# The services that send heartbeats and carry them.
_BEATING_LOGS = ("log.himds", "log.arcproxy")
# Commands whose failure says that the machine cannot reach Azure, which a later heartbeat disproves.
_REACHING = ("connect", "check")


def is_beating(facts: Facts) -> bool:
    """Whether the agent is Connected and, by the host's clock, its last heartbeat is not overdue."""
    age = facts.values.get("agent.heartbeat_age_s")
    is_connected = facts.values.get("agent.status") == "connected"
    return is_connected and isinstance(age, int) and abs(age) <= _OVERDUE_S


def state_of(
    record: LogRecord, log: Log, agent: AgentState, *, beating: bool = False
) -> tuple[State, datetime | None]:
    """Whether what the record says still holds, and the record's time (its run's when it has none)."""
    run = _run_of(record, log)
    at = record.at or (run.last_at if run else None)
    if beating and _is_passing(record, log):
        return State.HISTORICAL, at
    if run is not None and (run.outcome is Outcome.SUCCESS or not run.current):
        return State.HISTORICAL, at
    if _is_outlived(run, at, agent) or _is_before_beat(log, at, agent):
        return State.HISTORICAL, at
    return State.ACTIVE, at


def _run_of(record: LogRecord, log: Log) -> CommandRun | None:
    if record.run is None or not 0 <= record.run < len(log.runs):
        return None
    return log.runs[record.run]


def _is_passing(record: LogRecord, log: Log) -> bool:
    """Services try again and log each try, at any level: while heartbeats arrive, that one failed is over or
    does not matter. By a fatal line a service ends."""
    return log.source in SERVICE_LOGS and record.level is not Level.FATAL


def _is_outlived(run: CommandRun | None, at: datetime | None, agent: AgentState) -> bool:
    """A heartbeat after the failure shows that the machine got its connection after all.

    Only what a heartbeat disproves counts: a failed ``disconnect`` leaves the heartbeat going.
    """
    if agent.status.casefold() != "connected" or agent.last_heartbeat_at is None:
        return False
    if run is None or not run.command:
        # A service's log has no runs, so each of its lines stands for itself.
        last = at
    elif run.command in _REACHING:
        last = max((time for time in (at, run.last_at) if time), default=None)
    else:
        return False
    return last is not None and agent.last_heartbeat_at > last


def _is_before_beat(log: Log, at: datetime | None, agent: AgentState) -> bool:
    """What himds could not do before the last heartbeat went out is not why none goes out now."""
    beat = agent.last_heartbeat_at
    return log.source in _BEATING_LOGS and at is not None and beat is not None and beat > at
