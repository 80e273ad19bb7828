"""Turns a RunReport into hosts.csv, findings.csv and fleet_findings.csv, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator

from fleet.app.judge import usual_action
from fleet.model.finding import Evidence, Finding, FleetFinding
from fleet.model.report import HostResult, RunReport
from fleet.report.groups import next_action
from fleet.report.telling import accepted_words, fold_hosts, place, printed_codes, told_findings
from fleet.report.text import NEWLINE, clean, format_services, format_utc

HOST_COLUMNS = (
    "host",
    "address",
    "groups",
    "connection",
    "os",
    "verdict",
    "observed",
    "reason",
    "phase",
    "rule",
    "code",
    "severity",
    "cause",
    "remediation",
    "agent_status",
    "agent_version",
    "last_heartbeat_at",
    "services",
    "started_at",
    "duration_s",
)
FINDING_COLUMNS = (
    "host",
    "rule",
    "code",
    "severity",
    "state",
    "title",
    "cause",
    "remediation",
    "count",
    "first_seen_at",
    "last_seen_at",
    "evidence",
    "explained_by",
    "accepted",
)
FLEET_COLUMNS = ("rule", "severity", "title", "cause", "remediation", "value", "count", "hosts")
MAX_CELL = 32_767
"""The most characters Excel keeps in a cell; it spills the rest into the next rows."""

# Excel reads UTF-8 without it as the local code page.
_BOM = "\ufeff"
# Full-width and small forms too: East Asian spreadsheets read them as the plain sign.
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠﹦﹢﹣﹫−]")
# Where the list separator is a semicolon, a spreadsheet splits our cells there and reads what follows.
_AFTER_SEPARATOR = re.compile(r"(;[\s\"]*)(?=[=+\-@＝＋－＠﹦﹢﹣﹫−])")


class CsvWriter:
    """Makes ``hosts.csv``, a row for every host, ``findings.csv``, a row for every finding told, and
    ``fleet_findings.csv``, a row for everything that hosts share."""

    def files(self, report: RunReport) -> Iterator[tuple[str, Iterable[str]]]:
        """The three files, RFC 4180 with CRLF, to be UTF-8: they begin with a byte order mark."""
        yield "hosts.csv", _lines(HOST_COLUMNS, map(_host_row, report.results))
        yield "findings.csv", _lines(FINDING_COLUMNS, _finding_rows(report))
        yield "fleet_findings.csv", _lines(FLEET_COLUMNS, map(_fleet_row, report.fleet))


def cell(text: str) -> str:
    """The text on one line, cleaned, short enough for Excel, never a formula (disarmed with a ``'``)."""
    text = _AFTER_SEPARATOR.sub(r"\1'", clean(text))
    if _FORMULA.match(text):
        text = f"'{text}"
    return text if len(text) <= MAX_CELL else text[: MAX_CELL - 1] + "…"


def _lines(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield _BOM
    yield _line(columns)
    for row in rows:
        yield _line(map(cell, row))


def _line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue()


def _host_row(result: HostResult) -> Iterator[str]:
    host, agent = result.host, result.agent
    yield from (host.name, host.address, "; ".join(host.groups), host.connection, result.os_name)
    yield from _verdict_cells(result)
    yield from (agent.status, agent.version, format_utc(agent.last_heartbeat_at))
    yield format_services(result.services)
    yield format_utc(result.started_at)
    yield "" if result.duration_s is None else f"{result.duration_s:.3f}"


def _verdict_cells(result: HostResult) -> Iterator[str]:
    verdict, cause = result.verdict, result.verdict.cause
    yield from (verdict.word, verdict.observed, verdict.reason or "", verdict.phase or "")
    if cause:
        yield from (cause.rule, next(iter(printed_codes(result)), ""), cause.severity, cause.cause)
    else:
        yield from ("", "", "", verdict.message)
    yield remedy(result)


def remedy(result: HostResult) -> str:
    """The one next action for the host; empty only where nothing needs doing."""
    verdict = result.verdict
    told = next_action(verdict.action, verdict.cause)
    return told or (usual_action(verdict.reason, result.host) if verdict.reason else "")


def _finding_rows(report: RunReport) -> Iterator[Iterator[str]]:
    for result in report.results:
        for finding in told_findings(result):
            yield _finding_row(result.host.name, finding)


def _finding_row(host: str, finding: Finding) -> Iterator[str]:
    yield from (host, finding.rule, finding.code or "", finding.severity, finding.state)
    yield from (finding.title, finding.cause, finding.remediation, str(finding.count))
    yield from (format_utc(finding.first_seen_at), format_utc(finding.last_seen_at))
    yield NEWLINE.join(map(_evidence, finding.evidence))
    yield "; ".join(finding.explained_by)
    yield accepted_words(finding.accepted)


def _fleet_row(finding: FleetFinding) -> Iterator[str]:
    yield from (finding.rule, finding.severity, finding.title, finding.cause, finding.remediation)
    yield from (finding.value, str(len(finding.hosts)), fold_hosts(map(clean, finding.hosts)))


def _evidence(evidence: Evidence) -> str:
    return f"{place(evidence)}: {evidence.text}"
