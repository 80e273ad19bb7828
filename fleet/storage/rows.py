"""Turns results into rows and rows back into results; nothing else knows what a row looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from fleet.model.finding import Acceptance, Evidence, Finding, FleetFinding, Trait
from fleet.model.host import Host
from fleet.model.observation import AgentState, Service
from fleet.model.report import HostResult, Run, Verdict
from fleet.model.visit import Timing
from fleet.model.words import OS, Connection, Observed, Phase, Reason, Severity, State, Word

Row = Mapping[str, Any]
"""A row by column name, without the keys the database gave it."""

ALONE = -1
"""The position of a cause that is not among the result's findings."""

_AGENT = (
    "installed",
    "status",
    "version",
    "last_heartbeat_at",
    "resource_name",
    "resource_group",
    "subscription_id",
    "tenant_id",
    "location",
    "cloud",
    "error_code",
    "error_details",
    "https_proxy",
    "vm_id",
)
_SERVICE = (
    "name",
    "unit",
    "load_state",
    "active_state",
    "sub_state",
    "start_mode",
    "result",
    "exit_status",
    "restarts",
    "since_at",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRows:
    """One result's rows. ``agent`` None: nothing is known of the agent."""

    host: str
    visit: Row
    agent: Row | None
    services: tuple[Row, ...]
    findings: tuple[Row, ...]


def run_to_row(run: Run) -> Row:
    """The row of ``runs``."""
    return {
        "id": run.id,
        "inventory": run.inventory,
        "started_at": run.started_at,
        "selected": run.selected,
        "fleet_version": run.fleet_version,
        "pack_digest": run.pack_digest,
        "script_sha256": run.script_sha256,
        "ended_at": run.ended_at,
        "exit_code": run.exit_code,
        "warnings": list(run.warnings),
    }


def run_from_row(row: Row) -> Run:
    """The run of a row of ``runs``."""
    return Run(
        id=row["id"],
        inventory=row["inventory"],
        started_at=row["started_at"],
        selected=row["selected"],
        fleet_version=row["fleet_version"],
        pack_digest=row["pack_digest"],
        script_sha256=row["script_sha256"],
        ended_at=row["ended_at"],
        exit_code=row["exit_code"],
        warnings=tuple(row["warnings"]),
    )


def result_to_rows(result: HostResult) -> ResultRows:
    """The rows of one result, without a host's references to credentials and paths of keys."""
    cause_position = _cause_position(result)
    positioned = list(enumerate(result.findings))
    if cause_position == ALONE and result.verdict.cause is not None:
        positioned.append((ALONE, result.verdict.cause))
    return ResultRows(
        host=result.host.name,
        visit=_host_to_row(result.host)
        | _verdict_to_row(result.verdict, cause_position)
        | _visit_to_row(result),
        agent=None if result.agent == AgentState() else _agent_to_row(result.agent),
        services=tuple(_service_to_row(service, at) for at, service in enumerate(result.services)),
        findings=tuple(_finding_to_row(finding, at) for at, finding in positioned),
    )


def result_from_rows(rows: ResultRows) -> HostResult:
    """The result of its rows; services and findings by ``position``."""
    visit = rows.visit
    found = {row["position"]: _finding_from_row(row) for row in _in_order(rows.findings)}
    return HostResult(
        host=_host_from_row(rows.host, visit),
        verdict=_verdict_from_row(visit, found.get(visit["cause_position"])),
        findings=tuple(finding for at, finding in found.items() if at != ALONE),
        login=visit["login"],
        os_name=visit["os_name"],
        agent=AgentState()
        if rows.agent is None
        else AgentState(**{name: rows.agent[name] for name in _AGENT}),
        services=tuple(Service(**{name: row[name] for name in _SERVICE}) for row in _in_order(rows.services)),
        started_at=visit["started_at"],
        duration_s=visit["duration_s"],
        clock_offset_s=visit["clock_offset_s"],
        timings=tuple(Timing(phase=Phase(word), seconds=seconds) for word, seconds in visit["timings"]),
        traits=tuple(Trait(rule=rule, value=value) for rule, value in visit["traits"]),
    )


def fleet_to_row(finding: FleetFinding, run_id: str, position: int) -> Row:
    """The row of ``fleet_findings``."""
    return {
        "run_id": run_id,
        "position": position,
        "rule": finding.rule,
        "rule_version": finding.rule_version,
        "severity": finding.severity.value,
        "title": finding.title,
        "cause": finding.cause,
        "remediation": finding.remediation,
        "value": finding.value,
        "hosts": list(finding.hosts),
    }


def fleet_from_row(row: Row) -> FleetFinding:
    """The finding of a row of ``fleet_findings``."""
    return FleetFinding(
        rule=row["rule"],
        rule_version=row["rule_version"],
        severity=Severity(row["severity"]),
        title=row["title"],
        cause=row["cause"],
        remediation=row["remediation"],
        value=row["value"],
        hosts=tuple(row["hosts"]),
    )


def _in_order(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: int(row["position"]))


def _cause_position(result: HostResult) -> int | None:
    if result.verdict.cause is None:
        return None
    return result.findings.index(result.verdict.cause) if result.verdict.cause in result.findings else ALONE


def _host_to_row(host: Host) -> dict[str, Any]:
    return {
        "address": host.address,
        "port": host.port,
        "user": host.user,
        "connection": host.connection.value,
        "os": host.os.value,
        "groups": list(host.groups),
        "labels": [list(pair) for pair in host.labels],
    }


def _host_from_row(name: str, row: Row) -> Host:
    return Host(
        name=name,
        address=row["address"],
        port=row["port"],
        user=row["user"],
        connection=Connection(row["connection"]),
        os=OS(row["os"]),
        groups=tuple(row["groups"]),
        labels=tuple((key, value) for key, value in row["labels"]),
    )


def _verdict_to_row(verdict: Verdict, cause_position: int | None) -> dict[str, Any]:
    return {
        "verdict": verdict.word.value,
        "observed": verdict.observed.value,
        "reason": verdict.reason and verdict.reason.value,
        "phase": verdict.phase and verdict.phase.value,
        "message": verdict.message,
        "cause_rule": verdict.cause and verdict.cause.rule,
        "cause_position": cause_position,
        "action": verdict.action,
    }


def _verdict_from_row(row: Row, cause: Finding | None) -> Verdict:
    return Verdict(
        word=Word(row["verdict"]),
        observed=Observed(row["observed"]),
        reason=Reason(row["reason"]) if row["reason"] else None,
        phase=Phase(row["phase"]) if row["phase"] else None,
        message=row["message"],
        cause=cause,
        action=row["action"],
    )


def _visit_to_row(result: HostResult) -> dict[str, Any]:
    return {
        "login": result.login,
        "os_name": result.os_name,
        "started_at": result.started_at,
        "duration_s": result.duration_s,
        "clock_offset_s": result.clock_offset_s,
        "timings": [[timing.phase.value, timing.seconds] for timing in result.timings],
        "traits": [[trait.rule, trait.value] for trait in result.traits],
    }


def _agent_to_row(agent: AgentState) -> Row:
    return {name: getattr(agent, name) for name in _AGENT}


def _service_to_row(service: Service, position: int) -> Row:
    return {name: getattr(service, name) for name in _SERVICE} | {"position": position}


def _finding_to_row(finding: Finding, position: int) -> Row:
    return {
        "position": position,
        "rule": finding.rule,
        "rule_version": finding.rule_version,
        "code": finding.code,
        "severity": finding.severity.value,
        "state": finding.state.value,
        "title": finding.title,
        "cause": finding.cause,
        "remediation": finding.remediation,
        "count": finding.count,
        "first_seen_at": finding.first_seen_at,
        "last_seen_at": finding.last_seen_at,
        "evidence": [[line.source, line.line, line.text] for line in finding.evidence],
        "explained_by": list(finding.explained_by),
        "accepted": _acceptance_to_row(finding.accepted),
        "parameters": [list(pair) for pair in finding.parameters],
    }


def _acceptance_to_row(accepted: Acceptance | None) -> list[str]:
    """None is none of them: a JSON null and a missing value are two things to a database."""
    return [] if accepted is None else [accepted.ticket, accepted.reason, accepted.until.isoformat()]


def _acceptance_from_row(row: Sequence[str]) -> Acceptance | None:
    if not row:
        return None
    ticket, reason, until = row
    return Acceptance(ticket=ticket, reason=reason, until=date.fromisoformat(until))


def _finding_from_row(row: Row) -> Finding:
    return Finding(
        rule=row["rule"],
        rule_version=row["rule_version"],
        code=row["code"],
        severity=Severity(row["severity"]),
        state=State(row["state"]),
        title=row["title"],
        cause=row["cause"],
        remediation=row["remediation"],
        count=row["count"],
        first_seen_at=row["first_seen_at"],
        last_seen_at=row["last_seen_at"],
        evidence=tuple(
            Evidence(source=source, line=line, text=text) for source, line, text in row["evidence"]
        ),
        explained_by=tuple(row["explained_by"]),
        accepted=_acceptance_from_row(row["accepted"]),
        parameters=tuple((name, value) for name, value in row["parameters"]),
    )
