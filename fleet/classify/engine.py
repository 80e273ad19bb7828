"""Observation and rules into findings: what the logs say and what the host's state says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from fleet.classify.conditions import holds
from fleet.classify.evidence import make_evidence
from fleet.classify.patterns import Matcher, compile_pattern
from fleet.classify.survival import is_beating, state_of
from fleet.model.finding import MAX_EVIDENCE, Evidence, Finding
from fleet.model.observation import AgentState, Fact, Level, Log, LogRecord, Observation
from fleet.model.pack import OTHER, Pack, Rule
from fleet.model.words import State
from fleet.parse.observe import SERVICE_LOGS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hit:
    """One record that a rule matched."""

    log: Log
    record: LogRecord
    at: datetime | None
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """One way a rule's message looks, compiled; anchors in lower case."""

    rule: Rule
    anchors: tuple[str, ...]
    matcher: Matcher


class Classifier:
    """A pack's rules, compiled once for any number of observations. Safe to share between threads."""

    def __init__(self, pack: Pack) -> None:
        self._outcomes = {rule.outcome: rule for rule in pack.rules if rule.outcome}
        self._states = tuple(rule for rule in pack.rules if rule.conditions)
        self._looks = tuple(
            _Look(
                rule=rule,
                anchors=tuple(anchor.lower() for anchor in message.anchors),
                matcher=compile_pattern(message.pattern),
            )
            for rule in pack.rules
            for message in rule.messages
        )
        self.anchors: list[str] = sorted({anchor for look in self._looks for anchor in look.anchors})

    def classify(self, observation: Observation) -> tuple[Finding, ...]:
        """At most one finding for each rule and state, in no promised order."""
        facts = {fact.name: fact for fact in observation.facts}
        hits: dict[tuple[str, State], tuple[Rule, list[_Hit]]] = {}
        for log in observation.logs:
            for rule, hit in self._matched(log, observation):
                _, found = hits.setdefault((rule.id, hit.state), (rule, []))
                found.append(hit)
        from_logs = [
            _log_finding(_worded(rule, observation, facts), state, found)
            for (_, state), (rule, found) in hits.items()
        ]
        return (*from_logs, *self._state_findings(observation, facts))

    def _matched(self, log: Log, observation: Observation) -> Iterator[tuple[Rule, _Hit]]:
        explained = set()
        beating = is_beating({fact.name: fact for fact in observation.facts})
        for record in log.records:
            hit = _hit(record, log, observation.agent, beating)
            for rule in self._matches(record):
                if _applies(rule, observation):
                    explained.add(_scope(hit))
                    yield rule, hit
        other = self._outcomes.get(OTHER)
        for record in log.records:
            if other is not None and record.level is Level.FATAL and _applies(other, observation):
                hit = _hit(record, log, observation.agent, beating)
                if _scope(hit) not in explained:
                    yield other, hit

    def _matches(self, record: LogRecord) -> Iterator[Rule]:
        outcome = self._outcomes.get(record.code, self._outcomes.get(OTHER)) if record.code else None
        if outcome is not None:
            yield outcome
        # A lone surrogate from a host's JSON cannot be encoded for the matcher.
        text = record.text.encode("utf-8", "replace").decode("utf-8")
        lowered = text.lower()
        if not any(anchor in lowered for anchor in self.anchors):
            return
        matched: set[str] = set()
        for look in self._looks:
            if look.rule.id in matched or not any(anchor in lowered for anchor in look.anchors):
                continue
            if look.matcher.search(text):
                matched.add(look.rule.id)
                yield look.rule

    def _state_findings(self, observation: Observation, facts: Mapping[str, Fact]) -> Iterator[Finding]:
        for rule in self._states:
            if not _applies(rule, observation):
                continue
            if not all(holds(condition, facts) for condition in rule.conditions):
                continue
            if any(holds(condition, facts) for condition in rule.unless):
                continue
            read = dict.fromkeys(condition.field for condition in rule.conditions)
            evidence = [
                make_evidence(facts[name].source, 0, f"{name} = {facts[name].value}") for name in read
            ]
            yield _finding(_worded(rule, observation, facts), State.ACTIVE, 1, evidence)


def _hit(record: LogRecord, log: Log, agent: AgentState, beating: bool) -> _Hit:
    state, at = state_of(record, log, agent, beating=beating)
    return _Hit(log=log, record=record, at=at, state=state)


def _scope(hit: _Hit) -> tuple[State, int | None, int]:
    """What one match explains: all of a command's run, for that ends once; of a service's log only its line.

    What was survived does not explain what still holds.
    """
    return hit.state, hit.record.run, hit.record.line if hit.log.source in SERVICE_LOGS else 0


def _applies(rule: Rule, observation: Observation) -> bool:
    return rule.os is None or observation.os is None or rule.os is observation.os


def _worded(rule: Rule, observation: Observation, facts: Mapping[str, Fact]) -> Rule:
    """The rule in its words for that host. Of a host of unknown family only what is said of any holds."""
    for variant in rule.instead:
        is_family = variant.os is None or variant.os is observation.os
        if is_family and all(holds(condition, facts) for condition in variant.where):
            return replace(
                rule,
                cause=variant.cause or rule.cause,
                remediation=variant.remediation or rule.remediation,
            )
    return rule


def _log_finding(rule: Rule, state: State, hits: Sequence[_Hit]) -> Finding:
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
    return _finding(rule, state, len(hits), evidence, oldest, max(times, default=None))


def _error_behind(hit: _Hit) -> Iterator[LogRecord]:
    """The error that the agent told before it ended with this code: the code alone does not say why."""
    if hit.record.code is None:
        return
    run = (record for record in reversed(hit.log.records) if record.run == hit.record.run)
    yield from islice((r for r in run if r.level is Level.ERROR and r.line < hit.record.line), 1)


def _finding(
    rule: Rule,
    state: State,
    count: int,
    evidence: Sequence[Evidence],
    first_seen_at: datetime | None = None,
    last_seen_at: datetime | None = None,
) -> Finding:
    return Finding(
        rule=rule.id,
        rule_version=rule.version,
        code=rule.code,
        severity=rule.severity,
        state=state,
        title=rule.title,
        cause=rule.cause,
        remediation=rule.remediation,
        count=count,
        first_seen_at=first_seen_at,
        last_seen_at=last_seen_at,
        evidence=tuple(evidence[-MAX_EVIDENCE:]),
    )
