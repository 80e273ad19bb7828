"""A rule's case through the classifier into what is wrong with it: how rules are tested."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fleet.app.fleet_findings import FleetRules
from fleet.classify.engine import Classifier
from fleet.model.case import Case, Message, Shape
from fleet.model.finding import Finding
from fleet.model.observation import Level, Observation
from fleet.model.pack import Pack, Rule
from fleet.model.words import OS, Severity, State
from fleet.parse.observe import observe_texts
from fleet.parse.scan import Anchors

_PROMPTS = {OS.WINDOWS: "PS C:\\> azcmagent", OS.LINUX: "$ sudo azcmagent"}
_WIDTH = 44
_BEFORE, _AT = "2026-03-01T08:00:00Z", "2026-03-01T08:00:01Z"
_GCLOG = "<GCLOG>[2026-03-01 08:00:01.330] [PID 4242] [TID 4343] [GAS] [{level}] [{guid}] {text}</GCLOG>"
_GUID = "11111111-2222-3333-4444-555555555555"
_HTML = {ord(char): f"\\u{ord(char):04x}" for char in "<>&"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRun:
    """A case, run in one shape (None: a text or facts): the rules that found it and what is wrong.

    ``active`` and ``history`` are ids in the order of findings, ``faults`` sentences; none: as expected.
    """

    case: Case
    shape: Shape | None
    active: tuple[str, ...]
    history: tuple[str, ...]
    faults: tuple[str, ...]


class CaseRunner:
    """Runs cases against the rules of a pack."""

    def __init__(self, pack: Pack) -> None:
        self._rules = {rule.id: rule for rule in pack.rules}
        self._classifier = Classifier(pack)
        self._anchors = Anchors(self._classifier.anchors)
        self._fleet = FleetRules(pack)

    def run(self, case: Case) -> Iterator[CaseRun]:
        """The case in each of its shapes."""
        if case.hosts:
            yield self._run_fleet(case)
            return
        if case.message is None:
            yield self._run(case, None, case.text)
            return
        for shape in case.message.shapes:
            yield self._run(case, shape, render_message(case.message, shape, case.os))

    def _run(self, case: Case, shape: Shape | None, text: str) -> CaseRun:
        findings = self._classifier.classify(self._observe(case, text)).findings
        active = [finding for finding in findings if finding.state is State.ACTIVE]
        fired = tuple(finding.rule for finding in active)
        history = tuple(finding.rule for finding in findings if finding.state is not State.ACTIVE)
        return CaseRun(
            case=case,
            shape=shape,
            active=fired,
            history=history,
            faults=(*_unlike(case, fired, history), *self._rivals(case, active)),
        )

    def _run_fleet(self, case: Case) -> CaseRun:
        traits = [(str(at), self._fleet.traits(facts, case.os)) for at, facts in enumerate(case.hosts)]
        found = tuple(finding.rule for finding in self._fleet.findings(traits))
        named = (*case.expect, *case.misses)
        strangers = [f"{rule} found it, too" for rule in found if case.expect and rule not in named]
        faults = (*_unlike(case, found, ()), *strangers)
        return CaseRun(case=case, shape=None, active=found, history=(), faults=faults)

    def _observe(self, case: Case, text: str) -> Observation:
        texts = [(_source(case), text.encode())] if text else []
        seen = observe_texts(texts, self._anchors, os=case.os)
        # Of one fact the last is what rules go by.
        return replace(seen, facts=(*seen.facts, *case.facts))

    def _rivals(self, case: Case, active: Sequence[Finding]) -> Iterator[str]:
        """One trouble is one finding: whatever else fires is explained by it, or is expected beside it, or is
        no trouble."""
        trouble = [finding for finding in active if finding.severity is not Severity.INFO]
        causes = [f.rule for f in trouble if not f.explained_by and not self._rules[f.rule].generic]
        strangers = [rule for rule in causes if rule not in case.expect]
        if strangers and len(causes) > 1:
            yield f"none of {', '.join(causes)} explains the others, so all of them would be the cause"


def missing_cases(cases: Sequence[Case], rules: Sequence[Rule]) -> Iterator[str]:
    """What each rule lacks of its own cases: one that it finds and one that it does not."""
    found = {case.rule for case in cases if case.rule in (*case.expect, *case.history)}
    missed = {case.rule for case in cases if case.rule in case.misses}
    for rule in rules:
        lacks = [word for word, ids in (("expect", found), ("not", missed)) if rule.id not in ids]
        if lacks:
            yield f"{rule.id}: no case of its own has it under {' or '.join(lacks)}"


def render_message(message: Message, shape: Shape, os: OS | None = None) -> str:
    """The message as a text of that shape has it, behind the beginning of its command run if any."""
    match shape:
        case Shape.LOG:
            return "\n".join(_log_lines(message))
        case Shape.CONSOLE:
            text = ": ".join((message.text, *(value for _, value in message.fields)))
            return _called(message, f"{_console_level(message.level):<7} {text}", os)
        case Shape.TERMINAL:
            fields = "".join(f" {name}={_go_quoted(value)}" for name, value in message.fields)
            line = f"{_console_level(message.level)}[0032] {message.text:<{_WIDTH}}{fields}"
            return _called(message, line.rstrip(), os)
        case Shape.GCLOG:
            text = ": ".join((message.text, *(value for _, value in message.fields)))
            return _GCLOG.format(level=message.level.upper(), guid=_GUID, text=text)
        case Shape.JSON:
            whole = {**dict(message.fields), "level": message.level.value, "msg": message.text, "time": _AT}
            return json.dumps(whole, sort_keys=True, ensure_ascii=False, separators=(",", ":")).translate(
                _HTML
            )


def _unlike(case: Case, fired: Sequence[str], history: Sequence[str]) -> Iterator[str]:
    for rule in case.expect:
        if rule not in fired:
            state = "found it as history only" if rule in history else "did not find it"
            yield f"{rule} {state}"
    for rule in case.history:
        if rule not in history or rule in set(fired) - set(case.expect):
            state = "found it as active" if rule in fired else "did not find it"
            yield f"{rule} {state}, history is expected"
    for rule in case.misses:
        if rule in fired or rule in history:
            yield f"{rule} found it{' as history' if rule not in fired else ''}, nothing is expected of it"


def _source(case: Case) -> str:
    if case.log == "check":
        return "agent.check"
    return f"log.{case.log}" if case.log else "case"


def _log_lines(message: Message) -> Iterator[str]:
    if message.command:
        yield f'time="{_BEFORE}" level=debug msg="Agent Command: {message.command}"'
    fields = "".join(f" {name}={_go_quoted(value)}" for name, value in message.fields)
    yield f'time="{_AT}" level={message.level} msg={_go_quoted(message.text)}{fields}'


def _called(message: Message, line: str, os: OS | None) -> str:
    return f"{_PROMPTS[os or OS.LINUX]} {message.command}\n{line}" if message.command else line


def _console_level(level: Level) -> str:
    return "WARN" if level is Level.WARNING else level.upper()


def _go_quoted(text: str) -> str:
    """As Go's ``%q`` has it; letters of all languages stand as they are."""
    return json.dumps(text, ensure_ascii=False)
