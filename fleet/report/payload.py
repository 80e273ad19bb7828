"""Turns a run's hosts into the compact JSON that the HTML report draws its table from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime

from fleet.model.finding import Evidence, Finding
from fleet.model.report import HostResult, RunReport
from fleet.parse.services import service_state
from fleet.report.csv_files import remedy
from fleet.report.groups import cause_groups, gap_groups
from fleet.report.telling import accepted_words, told_causes, told_findings
from fleet.report.text import clean

MAX_EVIDENCE_CHARS = 2_000_000
# Lines a finding and characters a line, the first that fits; what is left out is in findings.csv.
_EVIDENCE_LEVELS = ((5, 600), (3, 240), (1, 160), (1, 60), (0, 0))

Row = list[object]


class Payload:
    """The rows, with every text kept once and referred to by its place in ``strings`` (0 is "")."""

    def __init__(self, report: RunReport) -> None:
        self._strings: dict[str, int] = {"": 0}
        self._rules: dict[tuple[object, ...], int] = {}
        self._lines, self._chars = _evidence_level(report)
        self._group_of = dict(_groups_by_name(report))
        self.is_shortened = (self._lines, self._chars) != _EVIDENCE_LEVELS[0]
        """Whether evidence was left out for the sake of the file's size."""
        self._hosts = [self._host(result) for result in report.results]

    def to_json(self) -> str:
        """JSON that may stand in a script element: no ``<``, ``>``, ``&``, U+2028 or U+2029 as such."""
        document = {
            "strings": list(self._strings),
            "rules": [list(rule) for rule in self._rules],
            "hosts": self._hosts,
        }
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        for char in "<>&\u2028\u2029":
            text = text.replace(char, f"\\u{ord(char):04x}")
        return text

    def _text(self, text: str) -> int:
        return self._strings.setdefault(clean(text), len(self._strings))

    def _texts(self, texts: Iterable[str]) -> list[int]:
        return [self._text(text) for text in texts]

    def _host(self, result: HostResult) -> Row:
        host, verdict, agent = result.host, result.verdict, result.agent
        return [
            clean(host.name),
            clean(host.address),
            *self._texts((verdict.word, verdict.observed, verdict.reason or "", verdict.phase or "")),
            *self._texts((verdict.message, remedy(result), host.connection, result.os_name)),
            self._rule(verdict.cause) if verdict.cause else -1,
            self._group_of.get(clean(host.name), ""),
            self._texts(host.groups),
            self._texts(f"{key}={value}" for key, value in host.labels),
            *self._texts((agent.status, agent.version)),
            _epoch_s(agent.last_heartbeat_at),
            self._texts(f"{service.name}={service_state(service)}" for service in result.services),
            _epoch_s(result.started_at),
            None if result.duration_s is None else round(result.duration_s, 2),
            [[self._finding(f) for f in (cause, *symptoms)] for cause, symptoms in told_causes(result)],
        ]

    def _rule(self, finding: Finding) -> int:
        texts = (finding.label, finding.title, finding.severity, finding.cause, finding.remediation)
        key = (*self._texts(texts), finding.severity.rank)
        return self._rules.setdefault(key, len(self._rules))

    def _finding(self, finding: Finding) -> Row:
        times = (_epoch_s(finding.first_seen_at), _epoch_s(finding.last_seen_at))
        evidence = [self._evidence(line) for line in finding.evidence[: self._lines]]
        accepted = self._text(accepted_words(finding.accepted))
        return [self._rule(finding), self._text(finding.state), finding.count, *times, evidence, accepted]

    def _evidence(self, evidence: Evidence) -> Row:
        return [self._text(evidence.source), evidence.line, self._text(_cut(evidence.text, self._chars))]


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _epoch_s(at: datetime | None) -> int | None:
    return int(at.timestamp()) if at else None


def _evidence_level(report: RunReport) -> tuple[int, int]:
    findings = [finding for result in report.results for finding in told_findings(result)]
    return next(
        (lines, chars)
        for lines, chars in _EVIDENCE_LEVELS
        if sum(_evidence_size(finding, lines, chars) for finding in findings) <= MAX_EVIDENCE_CHARS
    )


def _evidence_size(finding: Finding, lines: int, chars: int) -> int:
    return sum(min(len(line.text), chars) for line in finding.evidence[:lines])


def _groups_by_name(report: RunReport) -> Iterator[tuple[str, str]]:
    causes, gaps = cause_groups(report), gap_groups(report)
    for letter, groups in (("c", [group.hosts for group in causes]), ("g", [group.hosts for group in gaps])):
        for place, names in enumerate(groups):
            yield from ((name, f"{letter}{place}") for name in names)
