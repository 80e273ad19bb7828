"""Observation and rules into findings: what the logs say and what the host's state says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


_Hits = defaultdict[tuple[str, State], list[_Hit]]


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
        rules: dict[str, Rule] = {}
        for (rule, state), found in self._hits(observation, facts, rules).items():
            draft = Found(rule=rules[rule], state=state, scopes=frozenset(hit.scope for hit in found))
            yield draft, self._log_finding(rules[rule], state, found, observation, facts)

    def _hits(self, observation: Observation, facts: Facts, rules: dict[str, Rule]) -> _Hits:
        """What each rule matched, if often enough; ``rules`` gets them by id. What is fatal and
        then described by none goes to the rules for that."""
        version, beating = facts.text("agent.version") or "", is_beating(facts)
        readers = [(log, self._logs.read(log, version, observation.os)) for log in observation.logs]
        hits: _Hits = defaultdict(list)

        def note(log: Log, record: LogRecord, found: Iterable[Matched]) -> None:
            for matched in found:
                hit = _hit(log, record, observation, matched.groups, beating)
                rules[matched.rule.id] = matched.rule
                same = hits[matched.rule.id, hit.state]
                # A long line is read in parts, and may say the same in two of them.
                if not same or same[-1].log is not log or same[-1].record.line != hit.record.line:
                    same.append(hit)

        for log, reader in readers:
            for record in log.records:
                note(log, record, reader.matches(record))
        _drop_seldom(hits, rules)
        described = {(hit.state, hit.scope) for found in hits.values() for hit in found}
        for log, reader in readers:
            for record in log.records:
                if record.level is Level.FATAL and record.code is None:
                    hit = _hit(log, record, observation, {}, beating)
                    if (hit.state, hit.scope) not in described:
                        note(log, record, reader.without_code(record))
        _drop_seldom(hits, rules)
        return hits

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


def _drop_seldom(hits: _Hits, rules: Mapping[str, Rule]) -> None:
    for key, found in tuple(hits.items()):
        match = rules[key[0]].match
        if isinstance(match, LogMatch) and not is_often_enough(match, [hit.at for hit in found]):
            del hits[key]


def _hit(log: Log, record: LogRecord, observation: Observation, groups: Groups, beating: bool) -> _Hit:
    state, at = state_of(record, log, observation.agent, beating=beating)
    return _Hit(log=log, record=record, at=at, state=state, groups=groups)


def _error_behind(hit: _Hit) -> Iterator[LogRecord]:
    """The error that the agent told before it ended with this code: the code alone does not say why."""
    if hit.record.code is None:
        return
    run = (record for record in reversed(hit.log.records) if record.run == hit.record.run)
    yield from islice((r for r in run if r.level is Level.ERROR and r.line < hit.record.line), 1)
