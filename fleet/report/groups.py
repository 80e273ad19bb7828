"""Turns a run's verdicts into its causes, worst first, and its gaps: who was not observed and why."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fleet.app.judge import usual_action
from fleet.model.facts import FACTS, Kind
from fleet.model.finding import Evidence, Finding
from fleet.model.report import HostResult, RunReport
from fleet.model.words import Phase, Reason, Severity, Word
from fleet.report.telling import printed_codes, telling_line, told_causes
from fleet.report.text import clean

MAX_MESSAGES = 5
MAX_PRINTED = 3
_PLACE = re.compile(r"\{([a-z0-9_.]+)\}")
# Of Unicode's private use: no rule's text has them.
_MARKS = 0xE000
# A group of a rule's pattern that has its unit in its name, as facts have.
_MEASURE = re.compile(r"_(?:s|min|h|days|kb|mb|gb|pct)$")
# Of SSH keys, and of certificates.
_FINGERPRINT = re.compile(r"\bSHA256:[A-Za-z0-9+/]{43}|\bsha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseGroup:
    """Hosts that fail or degrade for one cause, with its one next action.

    ``severity`` is None where no finding says why. ``parameters`` are what all of them have in common, such
    as ``("proxy", "10.0.0.8:3128")``; what each has of its own is ``…`` in the words. ``explains`` are the
    labels of what the cause explains on these hosts, the most frequent first, and ``printed`` the codes the
    agent printed on them where the cause has none of its own. ``example`` is a line that shows it and
    ``example_host`` whose it is; None and "" where the cause's own words say as much.
    """

    word: Word
    severity: Severity | None
    rule: str
    code: str | None
    label: str
    title: str
    cause: str
    action: str
    hosts: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...] = ()
    explains: tuple[str, ...] = ()
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
    """FAILING before DEGRADED, then the worst severity, then the most hosts.

    Hosts of a group have the same rule's words, where Linux and Windows may have their own, and with them
    what names one thing for several hosts, as a proxy or an endpoint does. A measure, as the seconds that a
    clock is off, and what one host alone has set no host apart.
    """
    alike: defaultdict[Hashable, list[HostResult]] = defaultdict(list)
    for result in report.results:
        if result.verdict.word in (Word.FAILING, Word.DEGRADED):
            alike[_words(result)].append(result)
    groups = [_cause_group(same) for results in alike.values() for same in _by_parameters(results)]
    return tuple(sorted(groups, key=_badness))


def _words(result: HostResult) -> Hashable:
    """What the verdict says of any host."""
    word, cause = result.verdict.word, result.verdict.cause
    if cause is None:
        return (word,)
    texts = (_emptied(text, cause) for text in (cause.title, cause.cause, cause.remediation))
    return (word, cause.rule, *texts)


def _by_parameters(results: Sequence[HostResult]) -> Iterable[Sequence[HostResult]]:
    uses = Counter(pair for result in results for pair in _names(result))
    found: defaultdict[Hashable, list[HostResult]] = defaultdict(list)
    for result in results:
        found[tuple(pair for pair in _names(result) if uses[pair] > 1)].append(result)
    return found.values()


def _names(result: HostResult) -> Iterator[tuple[str, str]]:
    """The parameters of the cause that name something."""
    cause = result.verdict.cause
    for name, value in cause.parameters if cause else ():
        known = FACTS.get(name)
        is_measure = known.kind in (Kind.WHOLE, Kind.NUMBER) if known else _MEASURE.search(name)
        if not is_measure:
            yield name, value


def _emptied(text: str, cause: Finding) -> str:
    """The text with ``{name}`` for each parameter's value, as it stands in the rule."""
    longest_first = sorted(cause.parameters, key=lambda pair: len(pair[1]), reverse=True)
    for place, (_, value) in enumerate(longest_first):
        text = _marked(text, value, chr(_MARKS + place))
    for place, (name, _) in enumerate(longest_first):
        text = text.replace(chr(_MARKS + place), f"{{{name}}}")
    return text


def _marked(text: str, value: str, mark: str) -> str:
    """The text with the mark where the value stands as a word of its own."""
    pieces, done, at = [], 0, text.find(value)
    while at >= 0:
        end = at + len(value)
        if not (text[at - 1 : at].isalnum() or text[end : end + 1].isalnum()):
            pieces += [text[done:at], mark]
            done = end
        at = text.find(value, end)
    return "".join([*pieces, text[done:]])


def _cause_group(results: Sequence[HostResult]) -> CauseGroup:
    verdict, cause = results[0].verdict, results[0].verdict.cause
    if cause is None:
        return CauseGroup(
            word=verdict.word,
            severity=None,
            rule="",
            code=None,
            label="unexplained",
            title="No finding says why",
            cause="",
            action=clean(verdict.action),
            hosts=tuple(clean(result.host.name) for result in results),
        )
    shared = _shared(results)
    title, words, action = (
        clean(_filled(_emptied(text, cause), shared) if len(results) > 1 else text)
        for text in (cause.title, cause.cause, next_action(verdict.action, cause))
    )
    example = telling_line(cause)
    return CauseGroup(
        word=verdict.word,
        severity=cause.severity,
        rule=clean(cause.rule),
        code=clean(cause.code) if cause.code else None,
        label=clean(cause.label),
        title=title,
        cause=words,
        action=action,
        hosts=tuple(clean(result.host.name) for result in results),
        parameters=tuple((clean(name), clean(value)) for name, value in shared.items()),
        explains=_explained(results),
        printed=() if cause.code else _printed(results),
        example=example,
        example_host=clean(results[0].host.name) if example else "",
    )


def _shared(results: Sequence[HostResult]) -> dict[str, str]:
    """The parameters of the cause that all of these hosts have."""
    first, *others = (result.verdict.cause.parameters for result in results if result.verdict.cause)
    return dict(pair for pair in first if all(pair in other for other in others))


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda place: values.get(place[1], "…"), text)


def _explained(results: Iterable[HostResult]) -> tuple[str, ...]:
    """What the cause explains on these hosts, the most frequent first."""
    labels = Counter(
        clean(symptom.label)
        for result in results
        for cause, symptoms in told_causes(result)
        if cause == result.verdict.cause
        for symptom in symptoms
    )
    return tuple(label for label, _ in labels.most_common())


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


def count_hosts(count: int) -> str:
    """``1 host``, ``7 hosts``."""
    return "1 host" if count == 1 else f"{count} hosts"
