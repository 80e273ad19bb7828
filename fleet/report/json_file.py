"""Turns a RunReport into report.json: everything the CSV files have, with types and stable keys."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from fleet.model.finding import Acceptance, Finding, FleetFinding
from fleet.model.observation import AgentState, Service
from fleet.model.report import HostResult, Run, RunReport
from fleet.model.words import Word
from fleet.report.csv_files import remedy
from fleet.report.groups import CauseGroup, GapGroup, cause_groups, gap_groups
from fleet.report.telling import fold_hosts, printed_codes
from fleet.report.text import clean, format_utc

SCHEMA = "fleet.report/1"


class JsonWriter:
    """Makes ``report.json``."""

    def files(self, report: RunReport) -> Iterator[tuple[str, Iterable[str]]]:
        """The one file, UTF-8, indented, ending with a newline."""
        yield "report.json", _pieces(report)


def render_json(report: RunReport) -> str:
    """The report as JSON text with schema ``fleet.report/1``; host text in it is cleaned."""
    return "".join(_pieces(report))


def _pieces(report: RunReport) -> Iterator[str]:
    """The text host by host: as one document, ten thousand hosts take more memory than their whole run."""
    head = {
        "schema": SCHEMA,
        "run": _run(report.run),
        "counts": _counts(report),
        "fleet_findings": [_fleet(finding) for finding in report.fleet],
        "causes": [_cause(group) for group in cause_groups(report)],
        "not_observed": [_gap(group) for group in gap_groups(report)],
    }
    yield _text(head).removesuffix("\n}") + ',\n "hosts": ['
    for number, result in enumerate(report.results):
        # No string of JSON holds a line break: those that are there are between its values.
        yield (",\n  " if number else "\n  ") + _text(_host(result)).replace("\n", "\n  ")
    yield "\n ]\n}\n" if report.results else "]\n}\n"


def _text(value: object) -> str:
    return json.dumps(_cleaned(value), ensure_ascii=False, indent=1, allow_nan=False)


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(key)): _cleaned(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_cleaned(part) for part in value]
    return value


def _run(run: Run) -> dict[str, object]:
    return {
        "id": run.id,
        "inventory": run.inventory,
        "started_at": format_utc(run.started_at),
        "ended_at": format_utc(run.ended_at) or None,
        "duration_s": (run.ended_at - run.started_at).total_seconds() if run.ended_at else None,
        "exit_code": run.exit_code,
        "selected": run.selected,
        "fleet_version": run.fleet_version,
        "pack_digest": run.pack_digest,
        "script_sha256": run.script_sha256,
        "warnings": list(run.warnings),
    }


def _counts(report: RunReport) -> dict[str, int]:
    return {"hosts": len(report.results)} | {word.lower(): report.count(word) for word in Word}


def _fleet(finding: FleetFinding) -> dict[str, object]:
    return {
        "rule": finding.rule,
        "rule_version": finding.rule_version,
        "severity": finding.severity,
        "title": finding.title,
        "cause": finding.cause,
        "remediation": finding.remediation,
        "value": finding.value,
        "hosts": list(finding.hosts),
        "hosts_folded": fold_hosts(map(clean, finding.hosts)),
    }


def _cause(group: CauseGroup) -> dict[str, object]:
    return {
        "verdict": group.word,
        "severity": group.severity,
        "rule": group.rule,
        "code": group.code,
        "title": group.title,
        "cause": group.cause,
        "remediation": group.action,
        "parameters": dict(group.parameters),
        "explains": list(group.explains),
        "hosts": list(group.hosts),
        "hosts_folded": fold_hosts(group.hosts),
    }


def _gap(group: GapGroup) -> dict[str, object]:
    return {
        "reason": group.reason,
        "phase": group.phase,
        "message": group.message,
        "action": group.action,
        "hosts": list(group.hosts),
        "hosts_folded": fold_hosts(group.hosts),
    }


def _host(result: HostResult) -> dict[str, object]:
    host = result.host
    return {
        "host": host.name,
        "address": host.address,
        "port": host.port,
        "connection": host.connection,
        "groups": list(host.groups),
        "labels": dict(host.labels),
        "os": result.os_name,
        **_verdict(result),
        "remediation": remedy(result),
        "agent": _agent(result.agent),
        "services": [_service(service) for service in result.services],
        "clock_offset_s": result.clock_offset_s,
        "started_at": format_utc(result.started_at) or None,
        "duration_s": result.duration_s,
        "phases": [{"phase": timing.phase, "seconds": timing.seconds} for timing in result.timings],
        "findings": [_finding(finding) for finding in result.findings],
    }


def _verdict(result: HostResult) -> dict[str, object]:
    verdict, cause = result.verdict, result.verdict.cause
    return {
        "verdict": verdict.word,
        "observed": verdict.observed,
        "reason": verdict.reason,
        "phase": verdict.phase,
        "message": verdict.message,
        "rule": cause.rule if cause else None,
        "code": next(iter(printed_codes(result)), None) if cause else None,
        "severity": cause.severity if cause else None,
        "cause": cause.cause if cause else None,
    }


def _agent(agent: AgentState) -> dict[str, object]:
    return {
        "installed": agent.installed,
        "status": agent.status,
        "version": agent.version,
        "last_heartbeat_at": format_utc(agent.last_heartbeat_at) or None,
        "resource_name": agent.resource_name,
        "resource_group": agent.resource_group,
        "subscription_id": agent.subscription_id,
        "tenant_id": agent.tenant_id,
        "location": agent.location,
        "vm_id": agent.vm_id,
        "cloud": agent.cloud,
        "error_code": agent.error_code,
        "error_details": agent.error_details,
    }


def _service(service: Service) -> dict[str, object]:
    return {
        "name": service.name,
        "unit": service.unit,
        "load_state": service.load_state,
        "active_state": service.active_state,
        "sub_state": service.sub_state,
        "start_mode": service.start_mode,
        "result": service.result,
        "exit_status": service.exit_status,
        "restarts": service.restarts,
        "since_at": format_utc(service.since_at) or None,
    }


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "rule": finding.rule,
        "rule_version": finding.rule_version,
        "code": finding.code,
        "severity": finding.severity,
        "state": finding.state,
        "title": finding.title,
        "cause": finding.cause,
        "remediation": finding.remediation,
        "count": finding.count,
        "first_seen_at": format_utc(finding.first_seen_at) or None,
        "last_seen_at": format_utc(finding.last_seen_at) or None,
        "evidence": [
            {"source": line.source, "line": line.line, "text": line.text} for line in finding.evidence
        ],
        "explained_by": list(finding.explained_by),
        "accepted": _acceptance(finding.accepted),
        "parameters": dict(finding.parameters),
    }


def _acceptance(accepted: Acceptance | None) -> dict[str, str] | None:
    if accepted is None:
        return None
    return {"ticket": accepted.ticket, "reason": accepted.reason, "until": accepted.until.isoformat()}
