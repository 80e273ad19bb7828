"""A rule and what it found on one host into the rule's words for that host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fleet.classify.evidence import harmless
from fleet.classify.expressions import Expression, Facts
from fleet.model.pack import Rule, Variant
from fleet.model.words import OS

MAX_VALUE = 120
NOT_TOLD = "(not told)"

_PLACE = re.compile(r"\{([a-z0-9_.]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a finding says. Whatever of it is the host's own is on one line, bounded and harmless;
    ``parameters`` has it by name."""

    title: str
    cause: str
    remediation: str
    parameters: tuple[tuple[str, str], ...] = ()


class Wording:
    """A rule's texts, ready to be told of any host."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._variants = tuple(
            (variant, Expression(variant.where) if variant.where else None) for variant in rule.instead
        )

    def words(self, os: OS | None, facts: Facts, values: Mapping[str, str | None]) -> Words:
        """The texts for a host of that family; of one of unknown family only what is said of any holds."""
        variant = self._fitting(os, facts)
        cause = variant.cause if variant and variant.cause else self._rule.cause
        steps = variant.remediation if variant and variant.remediation else self._rule.remediation

        filled: dict[str, str] = {}

        def told(place: re.Match[str]) -> str:
            value = values[place[1]] if place[1] in values else facts.text(place[1])
            if not value:
                return NOT_TOLD
            filled[place[1]] = harmless(value)[:MAX_VALUE]
            return filled[place[1]]

        title, cause, remedy = (_PLACE.sub(told, text) for text in (self._rule.title, cause, " ".join(steps)))
        return Words(title=title, cause=cause, remediation=remedy, parameters=tuple(filled.items()))

    def _fitting(self, os: OS | None, facts: Facts) -> Variant | None:
        for variant, where in self._variants:
            is_family = variant.os is None or variant.os is os
            if is_family and (where is None or where.evaluate(facts) is True):
                return variant
        return None
