"""Findings of one host into causes and symptoms: which finding explains which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from fleet.model.pack import LogMatch, Rule
from fleet.model.words import Severity, State

Scope = tuple[str, int | None, int]
"""What one match in a log can explain: log, command run, and of a service's log its line alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A rule that fired, with where in the logs; no scopes: it is about the host's state."""

    rule: Rule
    state: State
    scopes: frozenset[Scope] = frozenset()


def explain(found: Sequence[Found]) -> tuple[tuple[str, ...], ...]:
    """For each of them, in the same order, the ids of the rules that explain it; none: it is a cause.

    A match in a log explains what its own command run holds, and what is the matter with the host; a matter
    of the host explains all. What is history does not explain what holds now. One that is explained only in
    some of the runs it was found in is a cause.
    """
    causes = [_causes(symptom, found) for symptom in found]
    return tuple(tuple(sorted(ids)) for ids in causes)


def _causes(symptom: Found, found: Sequence[Found]) -> AbstractSet[str]:
    ids: set[str] = set()
    covered: set[Scope] = set()
    is_covered = False
    for other in found:
        if other is symptom or other.state is not symptom.state or not _is_cause(other, symptom):
            continue
        if other.scopes and symptom.scopes:
            reached = _reached(other, symptom)
            if not reached:
                continue
            covered |= reached
        else:
            is_covered = True
        ids.add(other.rule.id)
    return ids if is_covered or (symptom.scopes and covered == symptom.scopes) else frozenset()


def _reached(cause: Found, symptom: Found) -> AbstractSet[Scope]:
    """Where the cause explains the symptom: in its command run, and in all of a service's log if its rule
    says so."""
    if symptom.rule.id not in cause.rule.explains:
        return cause.scopes & symptom.scopes
    runs = {(source, run) for source, run, _ in cause.scopes}
    return {scope for scope in symptom.scopes if scope[:2] in runs}


def _is_cause(cause: Found, symptom: Found) -> bool:
    if symptom.rule.id in cause.rule.explains:
        return True
    return symptom.rule.generic and bool(symptom.scopes) and _says_why(cause.rule)


def circle(rules: Sequence[Rule]) -> tuple[str, ...]:
    """Rules of which each explains the next, and the last the first; none when there is no such circle."""
    generic = [rule.id for rule in rules if rule.generic]
    symptoms = {rule.id: (*rule.explains, *(generic if _says_why(rule) else ())) for rule in rules}
    done: set[str] = set()
    for rule in rules:
        found = _walk(rule.id, (), symptoms, done)
        if found:
            return found
    return ()


def _walk(
    rule: str, way: tuple[str, ...], symptoms: Mapping[str, Sequence[str]], done: set[str]
) -> tuple[str, ...]:
    if rule in way:
        return way[way.index(rule) :]
    if rule in done:
        return ()
    for symptom in symptoms.get(rule, ()):
        found = _walk(symptom, (*way, rule), symptoms, done)
        if found:
            return found
    done.add(rule)
    return ()


def _says_why(rule: Rule) -> bool:
    """Whether the rule is one of those that explain the generic ones in their command run."""
    return isinstance(rule.match, LogMatch) and not rule.generic and rule.severity is not Severity.INFO
