"""One record of a log and the log rules into those that it matches."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice

from fleet.classify.expressions import release_of
from fleet.classify.patterns import Matcher, compile_pattern
from fleet.model.observation import CommandRun, Log, LogRecord
from fleet.model.pack import NO_CODE, UNKNOWN_CODE, Agents, LogMatch, Rule
from fleet.model.words import OS
from fleet.parse.anchors import derive_anchors
from fleet.parse.observe import SERVICE_LOGS
from fleet.parse.scan import AnchorIndex

# A path that was given by hand says by its last part which log it is.
_NAMED = re.compile(r"(azcmagent|himds|arcproxy|gc_agent|gc_ext)", re.IGNORECASE)

Groups = Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """A rule that a record matches, with what the named groups of its pattern hold."""

    rule: Rule
    groups: Groups


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compiled:
    rule: Rule
    match: LogMatch
    text: tuple[Matcher, ...]
    without: tuple[Matcher, ...]
    after: Matcher | None


class LogRules:
    """The log rules, compiled once. Immutable and safe to share between threads."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._by_code: defaultdict[str, list[_Compiled]] = defaultdict(list)
        self._by_anchor: defaultdict[str, list[_Compiled]] = defaultdict(list)
        wanted: set[str] = set()
        for rule in rules:
            if not isinstance(rule.match, LogMatch):
                continue
            compiled = _compile(rule, rule.match)
            own = {anchor for text in rule.match.text for anchor in derive_anchors(text)}
            wanted |= own | (set(derive_anchors(rule.match.after)) if rule.match.after else set())
            if rule.match.code is not None:
                self._by_code[rule.match.code].append(compiled)
                continue
            for anchor in own:
                self._by_anchor[anchor].append(compiled)
        for compiled_rules in self._by_code.values():
            compiled_rules.sort(key=_vagueness)
        self._index = AnchorIndex(self._by_anchor)
        self.anchors: tuple[str, ...] = tuple(sorted(wanted))

    def read(self, log: Log, version: str, os: OS | None = None) -> LogReader:
        """A reader of that log of a host of that family. ``version``: its agent, where a command run does not
        name the one that ran."""
        return LogReader(self, log, version, os)

    def of_code(self, code: str) -> Iterator[_Compiled]:
        """The rules for a code, those that say most first, then those for codes without a rule: where none of
        its own is for the host, its failure is told all the same."""
        return chain(self._by_code.get(code, ()), self._by_code.get(UNKNOWN_CODE, ()))

    def without_code(self) -> Sequence[_Compiled]:
        """The rules for a failure that nothing else describes."""
        return self._by_code.get(NO_CODE, ())

    def of_text(self, text: str) -> Iterator[tuple[_Compiled, Groups]]:
        """The rules that a text matches wherever it stands, each once."""
        held = sorted(self._index.found(text))
        for each in {each.rule.id: each for anchor in held for each in self._by_anchor[anchor]}.values():
            groups = _said(each, text)
            if groups is not None:
                yield each, groups


class LogReader:
    """Matches the records of one log. What tries again logs the same again, so a text is looked at once."""

    def __init__(self, rules: LogRules, log: Log, version: str, os: OS | None) -> None:
        self._rules = rules
        self._os = os
        self._log = log
        self._version = version
        self._said: dict[str, tuple[tuple[_Compiled, Groups], ...]] = {}
        self._first: dict[str, dict[int | None, int]] = {}

    def matches(self, record: LogRecord) -> Iterator[Matched]:
        """The rules that the record matches, each once; of those for its code the one that says most."""
        text = _encodable(record.text)
        if record.code is not None:
            yield from islice(self._of_code(self._rules.of_code(record.code), record, text), 1)
        if text not in self._said:
            self._said[text] = tuple(self._rules.of_text(text))
        for each, groups in self._said[text]:
            if self._is_placed(each, record):
                yield Matched(rule=each.rule, groups=groups)

    def without_code(self, record: LogRecord) -> Iterator[Matched]:
        """The rules for a failure that nothing else describes."""
        return self._of_code(self._rules.without_code(), record, _encodable(record.text))

    def _of_code(self, rules: Iterable[_Compiled], record: LogRecord, text: str) -> Iterator[Matched]:
        for each in rules:
            if self._is_placed(each, record) and (groups := _said(each, text)) is not None:
                yield Matched(rule=each.rule, groups=groups)

    def _is_placed(self, each: _Compiled, record: LogRecord) -> bool:
        """Whether the record is of a host, of an agent, of a level, in a log, a command run and behind what
        the rule asks for."""
        match, run = each.match, _run_of(self._log, record)
        if not applies(each.rule, self._os):
            return False
        if not _holds_for(each.rule.agents, (run.agent_version if run else "") or self._version):
            return False
        if match.levels and record.level not in match.levels:
            return False
        if match.logs and (name := log_name(self._log.source)) and name not in match.logs:
            return False
        if match.commands and (run is None or run.command not in match.commands):
            return False
        if match.run is not None and (run is None or run.outcome is not match.run):
            return False
        return each.after is None or self._follows(each.after, match.after, record)

    def _follows(self, after: Matcher, pattern: str, record: LogRecord) -> bool:
        if pattern not in self._first:
            self._first[pattern] = self._first_lines(after)
        first = self._first[pattern].get(self._scope(record))
        return first is not None and first < record.line

    def _first_lines(self, after: Matcher) -> dict[int | None, int]:
        """The line in which each command run first says it; a service's log is all one."""
        found: dict[int | None, int] = {}
        for record in self._log.records:
            scope = self._scope(record)
            if record.line < found.get(scope, record.line + 1) and after.search(_encodable(record.text)):
                found[scope] = record.line
        return found

    def _scope(self, record: LogRecord) -> int | None:
        return None if self._log.source in SERVICE_LOGS else record.run


def applies(rule: Rule, os: OS | None) -> bool:
    """Whether the rule is one for hosts of that family; of an unknown family it may be."""
    return os is None or os in rule.platforms


def is_often_enough(match: LogMatch, times: Sequence[datetime | None]) -> bool:
    """Whether so many records are as many as the rule asks for, within its window of time."""
    if match.within_s is None or match.count == 1:
        return len(times) >= match.count
    known = sorted(time for time in times if time is not None)
    window = timedelta(seconds=match.within_s)
    return any(last - first <= window for first, last in zip(known, known[match.count - 1 :], strict=False))


def log_name(source: str) -> str:
    """The name by which rules know a log; "" of a text that nobody can tell it of."""
    if source == "agent.check":
        return "check"
    found = _NAMED.search(re.split(r"[/\\]", source)[-1])
    return found[1].lower() if found else ""


def _compile(rule: Rule, match: LogMatch) -> _Compiled:
    return _Compiled(
        rule=rule,
        match=match,
        text=tuple(map(compile_pattern, match.text)),
        without=tuple(map(compile_pattern, match.without)),
        after=compile_pattern(match.after) if match.after else None,
    )


def _vagueness(compiled: _Compiled) -> tuple[bool, bool, str]:
    """Of several rules for one code the one that knows its words comes first, then the one for some
    agents."""
    return not compiled.match.text, compiled.rule.agents is None, compiled.rule.id


def _run_of(log: Log, record: LogRecord) -> CommandRun | None:
    return log.runs[record.run] if record.run is not None and 0 <= record.run < len(log.runs) else None


def _holds_for(agents: Agents | None, version: str) -> bool:
    if agents is None:
        return True
    release = release_of(version)
    if release is None:
        return False
    first, end = agents.first, agents.end
    is_after = first is None or release >= (first.major, first.minor)
    return is_after and (end is None or release < (end.major, end.minor))


def _said(each: _Compiled, text: str) -> Groups | None:
    """What the groups of the first pattern that is found hold; None: the text is not one of these."""
    found = next((hit for look in each.text if (hit := look.search(text))), None)
    if (found is None and each.text) or any(look.search(text) for look in each.without):
        return None
    return found.groupdict() if found else {}


def _encodable(text: str) -> str:
    # A lone surrogate from a host's JSON cannot be encoded for the matcher.
    return text.encode("utf-8", "replace").decode("utf-8")
