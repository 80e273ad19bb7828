"""Observation and rules into findings: what the logs say and what the host's state says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from fleet.classify.evidence import make_evidence
from fleet.classify.explaining import Found, Scope, explain
from fleet.classify.expressions import Expression, Facts, Missing
from fleet.classify.matching import Groups, LogRules, Matched, applies, is_often_enough
from fleet.classify.rank import rank
from fleet.classify.support import support_facts
from fleet.classify.survival import is_beating, state_of
from fleet.classify.wording import Wording
from fleet.model.finding import MAX_EVIDENCE, Evidence, Finding
from fleet.model.observation import Fact, Level, Log, LogRecord, Observation
from fleet.model.pack import LogMatch, Pack, Rule, StateMatch
from fleet.model.words import State
from fleet.parse.observe import SERVICE_LOGS


@dataclass(frozen=True, slots=True, kw_only=True)
class Unevaluated:
    """A state rule that could not be told on that host, and the fact that nobody read."""

    rule: str
    missing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """What the rules say of one host: findings, causes before symptoms, and the rules that cannot be told."""

    findings: tuple[Finding, ...] = ()
    unevaluated: tuple[Unevaluated, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hit:
    """One record that a rule matched."""

    log: Log
    record: LogRecord
    at: datetime | None
    state: State
    groups: Groups

    @property
    def scope(self) -> Scope:
        line = self.record.line if self.log.source in SERVICE_LOGS else 0
        return self.log.source, self.record.run, line


class Classifier:
    """A pack's rules, compiled once for any number of observations. Safe to share between threads."""

    def __init__(self, pack: Pack) -> None:
        self._releases = pack.releases
        self._logs = LogRules(pack.rules)
        self._states = tuple(
            (rule, Expression(rule.match.expression))
            for rule in pack.rules
            if isinstance(rule.match, StateMatch)
        )
        self._wordings = {rule.id: Wording(rule) for rule in pack.rules}
        self.anchors: tuple[str, ...] = self._logs.anchors
        """What the logs are to be scanned for."""

    def classify(self, observation: Observation) -> Classification:
        """At most one finding for each rule and state."""
        facts = Facts((*observation.facts, *self._derived(observation)))
        drafts = list(self._log_drafts(observation, facts))
        unevaluated = []
        for rule, expression in self._states:
            if not applies(rule, observation.os):
                continue
            told = expression.evaluate(facts)
            if isinstance(told, Missing):
                unevaluated.append(Unevaluated(rule=rule.id, missing=told.fact))
            elif told:
                found = Found(rule=rule, state=State.ACTIVE)
                drafts.append((found, self._state_finding(rule, expression, observation, facts)))
        reasons = explain([found for found, _ in drafts])
        findings = [
            replace(finding, explained_by=ids) for (_, finding), ids in zip(drafts, reasons, strict=True)
        ]
        return Classification(findings=rank(findings), unevaluated=tuple(unevaluated))

    def _derived(self, observation: Observation) -> Iterator[Fact]:
        version = next((fact.value for fact in observation.facts if fact.name == "agent.version"), "")
        return support_facts(version, self._releases, observation.at)

    def _log_drafts(self, observation: Observation, facts: Facts) -> Iterator[tuple[Found, Finding]]:
        hits: defaultdict[tuple[str, State], list[_Hit]] = defaultdict(list)
        rules: dict[str, Rule] = {}
        version = facts.text("agent.version") or ""
        beating = is_beating(facts)
        for log in observation.logs:
            for matched, hit in self._matched(log, observation, version, beating):
                rules[matched.rule.id] = matched.rule
                hits[matched.rule.id, hit.state].append(hit)
        for (rule_id, state), found in hits.items():
            rule = rules[rule_id]
            if isinstance(rule.match, LogMatch) and not is_often_enough(
                rule.match, [hit.at for hit in found]
            ):
                continue
            scopes = frozenset(hit.scope for hit in found)
            draft = Found(rule=rule, state=state, scopes=scopes)
            yield draft, self._log_finding(rule, state, found, observation, facts)

    def _matched(
        self, log: Log, observation: Observation, version: str, beating: bool
    ) -> Iterator[tuple[Matched, _Hit]]:
        described: set[tuple[State, Scope]] = set()
        reader = self._logs.read(log, version, observation.os)
        for record in log.records:
            for matched in reader.matches(record):
                hit = _hit(log, record, observation, matched.groups, beating)
                described.add((hit.state, hit.scope))
                yield matched, hit
        for record in log.records:
            if record.level is not Level.FATAL or record.code is not None:
                continue
            hit = _hit(log, record, observation, {}, beating)
            if (hit.state, hit.scope) in described:
                continue
            for matched in reader.without_code(record):
                yield matched, hit

    def _state_finding(
        self, rule: Rule, expression: Expression, observation: Observation, facts: Facts
    ) -> Finding:
        read = (facts.by_name[name] for name in expression.shown if name in facts.by_name)
        evidence = [make_evidence(fact.source, 0, f"{fact.name} = {fact.value}") for fact in read]
        return self._finding(rule, State.ACTIVE, 1, evidence[:MAX_EVIDENCE], observation, facts, {})

    def _log_finding(
        self, rule: Rule, state: State, hits: Sequence[_Hit], observation: Observation, facts: Facts
    ) -> Finding:
        times = [hit.at for hit in hits if hit.at is not None]
        oldest = min(times, default=None)
        if oldest is not None:
            # Sorting is stable: hits without a time of their own stay in front, in the order of their logs.
            first = oldest
            hits = sorted(hits, key=lambda hit: (hit.at is not None, hit.at or first))
        evidence = [
            make_evidence(hit.log.source, record.line, record.text)
            for hit in hits[-MAX_EVIDENCE:]
            for record in (*_error_behind(hit), hit.record)
        ]
        finding = self._finding(
            rule, state, len(hits), evidence[-MAX_EVIDENCE:], observation, facts, hits[-1].groups
        )
        return replace(finding, first_seen_at=oldest, last_seen_at=max(times, default=None))

    def _finding(
        self,
        rule: Rule,
        state: State,
        count: int,
        evidence: Sequence[Evidence],
        observation: Observation,
        facts: Facts,
        groups: Groups,
    ) -> Finding:
        words = self._wordings[rule.id].words(observation.os, facts, groups)
        return Finding(
            rule=rule.id,
            rule_version=rule.version,
            code=rule.code,
            severity=rule.severity,
            state=state,
            title=words.title,
            cause=words.cause,
            remediation=words.remediation,
            count=count,
            evidence=tuple(evidence),
            parameters=words.parameters,
        )


def _hit(log: Log, record: LogRecord, observation: Observation, groups: Groups, beating: bool) -> _Hit:
    state, at = state_of(record, log, observation.agent, beating=beating)
    return _Hit(log=log, record=record, at=at, state=state, groups=groups)


def _error_behind(hit: _Hit) -> Iterator[LogRecord]:
    """The error that the agent told before it ended with this code: the code alone does not say why."""
    if hit.record.code is None:
        return
    run = (record for record in reversed(hit.log.records) if record.run == hit.record.run)
    yield from islice((r for r in run if r.level is Level.ERROR and r.line < hit.record.line), 1)
