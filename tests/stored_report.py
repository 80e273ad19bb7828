"""Reads report.json back: a report as it was stored, for comparing files made from it with files kept."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from fleet.model.finding import Acceptance, Evidence, Finding, FleetFinding
from fleet.model.host import Host
from fleet.model.observation import AgentState, Service
from fleet.model.report import HostResult, Run, RunReport, Verdict
from fleet.model.visit import Timing
from fleet.model.words import OS, Connection, Observed, Phase, Reason, Severity, State, Word

Json = dict[str, Any]


def read_report(path: Path) -> RunReport:
    """The report that ``report.json`` was made from, as far as reports tell."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return RunReport(
        run=_run(document["run"]),
        results=tuple(map(_result, document["hosts"])),
        fleet=tuple(map(_fleet, document["fleet_findings"])),
    )


def _fleet(told: Json) -> FleetFinding:
    known = {field.name: told[field.name] for field in fields(FleetFinding)}
    return FleetFinding(**known | {"severity": Severity(told["severity"]), "hosts": tuple(told["hosts"])})


def _run(told: Json) -> Run:
    started_at, ended_at = _at(told["started_at"]), _at(told["ended_at"])
    assert started_at is not None
    assert ended_at is not None
    duration = timedelta(seconds=told["duration_s"])
    # Instants are told to the second: this is the earliest start that fits the end and the duration.
    started_at = max(started_at, ended_at - duration)
    known = {field.name: told[field.name] for field in fields(Run)}
    times = {"started_at": started_at, "ended_at": started_at + duration}
    return Run(**known | times | {"warnings": tuple(told["warnings"])})


def _result(told: Json) -> HostResult:
    findings = tuple(map(_finding, told["findings"]))
    return HostResult(
        host=Host(
            name=told["host"],
            address=told["address"],
            port=told["port"],
            connection=Connection(told["connection"]),
            os=OS.WINDOWS if told["connection"] == "winrm" or "Windows" in told["os"] else OS.LINUX,
            groups=tuple(told["groups"]),
            labels=tuple(told["labels"].items()),
        ),
        verdict=_verdict(told, findings),
        findings=findings,
        os_name=told["os"],
        agent=AgentState(**told["agent"] | {"last_heartbeat_at": _at(told["agent"]["last_heartbeat_at"])}),
        services=tuple(Service(**entry | {"since_at": _at(entry["since_at"])}) for entry in told["services"]),
        started_at=_at(told["started_at"]),
        duration_s=told["duration_s"],
        clock_offset_s=told["clock_offset_s"],
        timings=tuple(Timing(phase=Phase(e["phase"]), seconds=e["seconds"]) for e in told["phases"]),
    )


def _verdict(told: Json, findings: tuple[Finding, ...]) -> Verdict:
    return Verdict(
        word=Word(told["verdict"]),
        observed=Observed(told["observed"]),
        reason=Reason(told["reason"]) if told["reason"] else None,
        phase=Phase(told["phase"]) if told["phase"] else None,
        message=told["message"],
        cause=next((finding for finding in findings if finding.rule == told["rule"]), None),
        action=told["remediation"],
    )


def _finding(told: Json) -> Finding:
    words = {"severity": Severity(told["severity"]), "state": State(told["state"])}
    times = {name: _at(told[name]) for name in ("first_seen_at", "last_seen_at")}
    accepted = told["accepted"]
    lists = {
        "evidence": tuple(Evidence(**line) for line in told["evidence"]),
        "explained_by": tuple(told["explained_by"]),
        "accepted": Acceptance(**accepted | {"until": date.fromisoformat(accepted["until"])})
        if accepted
        else None,
        "parameters": tuple(told["parameters"].items()),
    }
    return Finding(**told | words | times | lists)


def _at(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
