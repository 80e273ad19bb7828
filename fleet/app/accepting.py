"""Findings, and what operators live with, into findings that say so and warnings about the entries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fnmatch import translate

from fleet.model.finding import Acceptance, Finding
from fleet.model.host import Host
from fleet.model.pack import Accept
from fleet.model.report import HostResult
from fleet.model.words import State, Word
from fleet.parse.nodeset import expand

_WILDCARDS = frozenset("*?[")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """An entry and the hosts it is about: by name, in lower case, or by glob."""

    accept: Accept
    names: frozenset[str]
    globs: re.Pattern[str] | None

    def covers(self, host: Host) -> bool:
        if self.accept.labels:
            return all(label in host.labels for label in self.accept.labels)
        name = host.name.lower()
        return name in self.names or (self.globs is not None and self.globs.match(name) is not None)


class Accepting:
    """The entries of one run. Immutable and safe to share between threads."""

    def __init__(self, accepts: Iterable[Accept]) -> None:
        self._entries = tuple(map(_entry, accepts))

    def mark(self, host: Host, findings: Sequence[Finding], on: date) -> tuple[Finding, ...]:
        """The host's findings, those that hold and that somebody lives with on that day marked so; of several
        entries for one the one that lasts longest counts."""
        return tuple(self._marked(host, finding, on) for finding in findings)

    def _marked(self, host: Host, finding: Finding, on: date) -> Finding:
        if finding.state is not State.ACTIVE:
            return finding
        fitting = [
            entry.accept
            for entry in self._entries
            if entry.accept.rule == finding.rule and on <= entry.accept.until and entry.covers(host)
        ]
        if not fitting:
            return finding
        accept = max(fitting, key=lambda accept: accept.until)
        given = Acceptance(ticket=accept.ticket, reason=accept.reason, until=accept.until)
        return replace(finding, accepted=given)

    def idle(self, hosts: Iterable[Host], on: date) -> Iterator[str]:
        """A sentence for each entry that is over on that day or about none of an inventory's hosts."""
        known = tuple(hosts)
        for entry in self._entries:
            if on > entry.accept.until:
                yield f"{_told(entry.accept)} is over: mend it, or renew the entry"
            elif not any(map(entry.covers, known)):
                yield f"{_told(entry.accept)} is about no host of the inventory"

    def unmatched(self, results: Iterable[HostResult], on: date) -> Iterator[str]:
        """A sentence for each entry whose rule was found on none of its hosts, if any was observed."""
        seen: set[str] = set()
        matched: set[str] = set()
        for result in results:
            fired = {finding.rule for finding in result.findings if finding.state is State.ACTIVE}
            for entry in self._entries:
                if result.verdict.word is not Word.NOT_OBSERVED and entry.covers(result.host):
                    seen.add(entry.accept.place)
                    matched |= {entry.accept.place} if entry.accept.rule in fired else set()
        for entry in self._entries:
            if on <= entry.accept.until and entry.accept.place in seen - matched:
                yield f"{_told(entry.accept)} was found on none of its hosts: take the entry out"


def _entry(accept: Accept) -> _Entry:
    names = frozenset(name for host in accept.hosts for name in _names(host.lower()))
    globs = sorted(name for name in names if _WILDCARDS & set(name))
    return _Entry(
        accept=accept,
        names=names,
        globs=re.compile("|".join(map(translate, globs))) if globs else None,
    )


def _names(host: str) -> Iterator[str]:
    try:
        yield from expand(host)
    except ValueError:  # not a node set, then a glob such as web[!1]
        yield host


def _told(accept: Accept) -> str:
    return f"{accept.rule}, accepted until {accept.until} by {accept.ticket} ({accept.place}),"
