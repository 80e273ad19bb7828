"""A ``--limit`` into the hosts of an inventory that it means."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from fnmatch import translate

from fleet.errors import SettingsError
from fleet.model.host import Host
from fleet.parse.nodeset import expand, split

_WILDCARDS = frozenset("*?[")


def select(hosts: Sequence[Host], limit: str) -> tuple[Host, ...]:
    """The hosts that a limit means, in the order given.

    A limit is a comma list of host names, group names, globs over both, and node sets as the summary
    prints them (``db[01-04]``); ``!`` before a part takes its hosts out again. A limit of exclusions only
    starts from all hosts. Upper and lower case do not differ, as in DNS.

    Raises:
        SettingsError: a part matches nothing (all such parts are named), or no host is left.
    """
    index = _Index(hosts)
    included: set[int] = set()
    excluded: set[int] = set()
    unmatched: list[str] = []
    parts = split(limit)
    for part in parts:
        found = index.find(part.removeprefix("!").strip().lower())
        (excluded if part.startswith("!") else included).update(found)
        if not found:
            unmatched.append(repr(part))
    if unmatched:
        raise SettingsError(f"--limit: no host or group of the inventory matches {', '.join(unmatched)}")
    if parts and all(part.startswith("!") for part in parts):
        included.update(range(len(hosts)))
    chosen = sorted(included - excluded)
    if not chosen:
        raise SettingsError(f"--limit {limit!r} selects no host")
    return tuple(hosts[place] for place in chosen)


class _Index:
    """Host and group names, in lower case, with the places of the hosts they stand for."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, host in enumerate(hosts):
            for name in (host.name, *host.groups):
                self._places[name.lower()].append(place)

    def find(self, part: str) -> set[int]:
        names = self._by_nodeset(part)
        if not names:
            names = self._by_globs([part])
        return {place for name in names for place in self._places[name]}

    def _by_nodeset(self, part: str) -> list[str]:
        try:
            alternatives = list(expand(part))
        except ValueError:  # not a node set, then a glob such as web[!1]
            return []
        if any(_WILDCARDS & set(alternative) for alternative in alternatives[:1]):
            return self._by_globs(alternatives)
        return [name for name in alternatives if name in self._places]

    def _by_globs(self, globs: list[str]) -> list[str]:
        # A node set makes thousands of them: a name is held only against those that begin as it does.
        rests: dict[str, list[str]] = defaultdict(list)
        for glob in globs:
            start = _literal_start(glob)
            rests[start].append(glob[len(start) :])
        groups = {start: tuple(group) for start, group in rests.items()}
        compiled = {group: re.compile("|".join(map(translate, group))) for group in set(groups.values())}
        patterns = {start: compiled[group] for start, group in groups.items()}
        lengths = frozenset(map(len, patterns))
        return [name for name in self._places if _matches(name, patterns, lengths)]


def _literal_start(glob: str) -> str:
    return next((glob[:place] for place, char in enumerate(glob) if char in _WILDCARDS), glob)


def _matches(name: str, patterns: Mapping[str, re.Pattern[str]], lengths: frozenset[int]) -> bool:
    return any(
        (pattern := patterns.get(name[:length])) and pattern.fullmatch(name, length)
        for length in lengths
        if length <= len(name)
    )
