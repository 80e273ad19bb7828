"""One record of a log and the log rules into those that it matches."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from fleet.classify.expressions import release_of
from fleet.classify.patterns import Matcher, compile_pattern
from fleet.model.observation import CommandRun, Log, LogRecord
from fleet.model.pack import NO_CODE, UNKNOWN_CODE, Agents, LogMatch, Rule
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

    def matches(self, log: Log, record: LogRecord, version: str) -> Iterator[Matched]:
        """The rules that the record matches, each once; of those for its code the one that says most.

        ``version``: the host's agent, where the record's command run does not name the one that ran.
        """
        version = _version_of(log, record) or version
        # A lone surrogate from a host's JSON cannot be encoded for the matcher.
        text = record.text.encode("utf-8", "replace").decode("utf-8")
        if record.code is not None:
            of_code = self._by_code.get(record.code) or self._by_code.get(UNKNOWN_CODE, [])
            yield from islice(_fitting(of_code, log, record, text, version), 1)
        held = sorted(self._index.found(text))
        found = {each.rule.id: each for anchor in held for each in self._by_anchor[anchor]}
        yield from _fitting(found.values(), log, record, text, version)

    def without_code(self, log: Log, record: LogRecord) -> Iterator[Matched]:
        """The rules for a failure that nothing else describes."""
        yield from _fitting(self._by_code.get(NO_CODE, ()), log, record, record.text, "")


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


def _fitting(
    rules: Iterable[_Compiled], log: Log, record: LogRecord, text: str, version: str
) -> Iterator[Matched]:
    for each in rules:
        if _holds_for(each.rule.agents, version) and (groups := _fit(each, log, record, text)) is not None:
            yield Matched(rule=each.rule, groups=groups)


def _version_of(log: Log, record: LogRecord) -> str:
    run = _run_of(log, record)
    return run.agent_version if run else ""


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


def _fit(each: _Compiled, log: Log, record: LogRecord, text: str) -> Groups | None:
    """What the groups of the first pattern that is found hold; None: the record is not one of these."""
    if not _is_placed(each.match, log, record) or any(look.search(text) for look in each.without):
        return None
    if each.after is not None and not _follows(each.after, log, record):
        return None
    if not each.text:
        return {}
    found = next((hit for look in each.text if (hit := look.search(text))), None)
    return found.groupdict() if found else None


def _is_placed(match: LogMatch, log: Log, record: LogRecord) -> bool:
    """Whether the record is in a log, a command run and of a level that the rule asks for."""
    if match.levels and record.level not in match.levels:
        return False
    if match.logs and (name := log_name(log.source)) and name not in match.logs:
        return False
    if match.run is None and not match.commands:
        return True
    run = _run_of(log, record)
    if run is None:
        return False
    is_command = not match.commands or run.command in match.commands
    return is_command and (match.run is None or run.outcome is match.run)


def _follows(after: Matcher, log: Log, record: LogRecord) -> bool:
    return any(
        after.search(earlier.text.encode("utf-8", "replace").decode("utf-8"))
        for earlier in log.records
        if earlier.line < record.line and (earlier.run == record.run or log.source in SERVICE_LOGS)
    )
