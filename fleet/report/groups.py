"""Turns a run's verdicts into its causes, worst first, and its gaps: who was not observed and why."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fleet.app.judge import usual_action
from fleet.model.finding import Evidence, Finding
from fleet.model.report import HostResult, RunReport
from fleet.model.words import Phase, Reason, Severity, Word
from fleet.parse.nodeset import fold
from fleet.report.telling import printed_codes, telling_line
from fleet.report.text import clean

MAX_MESSAGES = 5
MAX_PRINTED = 3
MAX_FOLDED = 1000
# Of SSH keys, and of certificates.
_FINGERPRINT = re.compile(r"\bSHA256:[A-Za-z0-9+/]{43}|\bsha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseGroup:
    """Hosts that fail or degrade for one cause, with its one next action.

    ``severity`` is None where no finding says why. ``printed`` are the codes the agent printed on these hosts
    where the cause has none of its own, the most frequent first. ``example`` is a line that shows it and
    ``example_host`` whose it is; None and "" where the cause's own words say as much.
    """

    key: tuple[Word, str, str, str]
    word: Word
    severity: Severity | None
    rule: str
    code: str | None
    label: str
    title: str
    cause: str
    action: str
    hosts: tuple[str, ...]
    printed: tuple[str, ...] = ()
    example: Evidence | None = None
    example_host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GapGroup:
    """Hosts that were not observed for one reason. ``message`` has HOST, ADDRESS, KEY where hosts differ."""

    reason: Reason
    phase: Phase | None
    message: str
    action: str
    hosts: tuple[str, ...]


def cause_groups(report: RunReport) -> tuple[CauseGroup, ...]:
    """FAILING before DEGRADED, then the worst severity, then the most hosts."""
    found: defaultdict[tuple[Word, str, str, str], list[HostResult]] = defaultdict(list)
    for result in report.results:
        if result.verdict.word in (Word.FAILING, Word.DEGRADED):
            found[cause_key(result)].append(result)
    groups = [_cause_group(results) for results in found.values()]
    return tuple(sorted(groups, key=_badness))


def cause_key(result: HostResult) -> tuple[Word, str, str, str]:
    """What hosts of one cause group have in common: with a remedy of its own each family is a group."""
    word, cause = result.verdict.word, result.verdict.cause
    return (word, cause.label, cause.title, cause.remediation) if cause else (word, "", "", "")


def _cause_group(results: Sequence[HostResult]) -> CauseGroup:
    verdict, cause = results[0].verdict, results[0].verdict.cause
    example = telling_line(cause) if cause else None
    return CauseGroup(
        key=cause_key(results[0]),
        word=verdict.word,
        severity=cause.severity if cause else None,
        rule=clean(cause.rule) if cause else "",
        code=clean(cause.code) if cause and cause.code else None,
        label=clean(cause.label) if cause else "unexplained",
        title=clean(cause.title) if cause else "No finding says why",
        cause=clean(cause.cause) if cause else "",
        action=next_action(verdict.action, cause),
        hosts=tuple(clean(result.host.name) for result in results),
        printed=() if cause is None or cause.code else _printed(results),
        example=example,
        example_host=clean(results[0].host.name) if example else "",
    )


def _printed(results: Iterable[HostResult]) -> tuple[str, ...]:
    codes = Counter(clean(code) for result in results for code in printed_codes(result))
    return tuple(code for code, _ in codes.most_common(MAX_PRINTED))


def next_action(action: str, cause: Finding | None) -> str:
    """The verdict's action, else the cause's remedy, cleaned."""
    return clean(action or (cause.remediation if cause else ""))


def _badness(group: CauseGroup) -> tuple[bool, int, int, str]:
    rank = group.severity.rank if group.severity else len(Severity)
    return (group.word is Word.DEGRADED, rank, -len(group.hosts), group.label)


def gap_groups(report: RunReport) -> tuple[GapGroup, ...]:
    """The hosts not observed by reason and phase, most hosts first, then by message, most hosts first.
    Hosts that are told to do another thing about it are apart.

    A reason and phase with more than five messages has the rarest of them in one group.
    """
    found: defaultdict[tuple[Reason, Phase | None, str], list[HostResult]] = defaultdict(list)
    for result in report.results:
        reason = result.verdict.reason
        if reason is not None:
            usual = usual_action(reason, result.host)
            found[reason, result.verdict.phase, usual].append(result)
    most_first = sorted(found.values(), key=len, reverse=True)
    return tuple(group for results in most_first for group in _by_message(results))


def _by_message(results: Iterable[HostResult]) -> list[GapGroup]:
    found: defaultdict[str, list[HostResult]] = defaultdict(list)
    for result in results:
        found[_general(result.verdict.message, result)].append(result)
    most_first = sorted(found.items(), key=lambda item: -len(item[1]))
    if len(most_first) <= MAX_MESSAGES:
        return [_gap_group(message, same) for message, same in most_first]
    kept, rest = most_first[: MAX_MESSAGES - 1], most_first[MAX_MESSAGES - 1 :]
    others = [result for _, same in rest for result in same]
    told = f"{len(rest)} different messages, one of them: {others[0].verdict.message}"
    return [_gap_group(message, same) for message, same in kept] + [_gap_group(told, others)]


def _gap_group(message: str, results: Sequence[HostResult]) -> GapGroup:
    verdict = results[0].verdict
    reason = verdict.reason or Reason.BUG
    alone = len(results) == 1
    return GapGroup(
        reason=reason,
        phase=verdict.phase,
        message=clean(verdict.message if alone else message),
        action=clean(verdict.action if alone else _general(verdict.action, results[0]))
        or usual_action(reason, results[0].host),
        hosts=tuple(clean(result.host.name) for result in results),
    )


def _general(message: str, result: HostResult) -> str:
    """The message without what only this host can say, so that equal troubles fall together."""
    for own, word in ((result.host.address, "ADDRESS"), (result.host.name, "HOST")):
        message = re.sub(rf"(?<![\w.-]){re.escape(own)}(?![\w-]|\.\w)", word, message)
    return _FINGERPRINT.sub("KEY", message)


def fold_hosts(hosts: Iterable[str]) -> str:
    """``db[01-04], web[11-13]``, cut at a name after about 1000 characters."""
    folded = fold(hosts)
    if len(folded) <= MAX_FOLDED:
        return folded
    return folded[:MAX_FOLDED].rsplit(",", 1)[0] + ", …"


def count_hosts(count: int) -> str:
    """``1 host``, ``7 hosts``."""
    return "1 host" if count == 1 else f"{count} hosts"
