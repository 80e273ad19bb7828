"""What the hosts of one run share into fleet findings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from fleet.classify.evidence import harmless
from fleet.classify.expressions import Expression, Facts
from fleet.classify.wording import Wording
from fleet.model.facts import FACTS, Kind
from fleet.model.finding import FleetFinding, Trait
from fleet.model.observation import Fact
from fleet.model.pack import FleetMatch, Pack, Rule
from fleet.model.words import OS


class FleetRules:
    """A pack's fleet rules, compiled once. Immutable and safe to share between threads."""

    def __init__(self, pack: Pack) -> None:
        self._rules = tuple(
            (rule, rule.match, Expression(rule.match.where) if rule.match.where else None)
            for rule in pack.rules
            if isinstance(rule.match, FleetMatch)
        )

    def traits(self, facts: Iterable[Fact], os: OS | None = None) -> tuple[Trait, ...]:
        """What each rule compares of a host of that family (None: unknown) with these facts; nothing where it
        is not for that host."""
        return tuple(self._traits(tuple(facts), os))

    def _traits(self, facts: Sequence[Fact], os: OS | None) -> Iterator[Trait]:
        known = {fact.name: fact.value for fact in facts}
        for rule, match, where in self._rules:
            value = known.get(match.fact) if os is None or os in rule.platforms else None
            if value and (where is None or where.evaluate(Facts(facts)) is True):
                is_word = FACTS[match.fact].kind is Kind.WORD
                yield Trait(rule=rule.id, value=harmless(value.lower() if is_word else value))

    def findings(self, traits: Iterable[tuple[str, Sequence[Trait]]]) -> tuple[FleetFinding, ...]:
        """What hosts share, given each by its name with its traits: the worst first, then what most of them
        share."""
        hosts: defaultdict[Trait, list[str]] = defaultdict(list)
        for name, its in traits:
            for trait in its:
                hosts[trait].append(name)
        found = [
            _finding(rule, trait.value, names)
            for rule, match, _ in self._rules
            for trait, names in hosts.items()
            if trait.rule == rule.id and len(names) >= match.hosts
        ]
        return tuple(sorted(found, key=_badness))


def _finding(rule: Rule, value: str, hosts: Iterable[str]) -> FleetFinding:
    names = tuple(hosts)
    words = Wording(rule).words(None, Facts(()), {"value": value, "count": str(len(names))})
    return FleetFinding(
        rule=rule.id,
        rule_version=rule.version,
        severity=rule.severity,
        title=words.title,
        cause=words.cause,
        remediation=words.remediation,
        value=value,
        hosts=names,
    )


def _badness(finding: FleetFinding) -> tuple[int, int, str, str]:
    return finding.severity.rank, -len(finding.hosts), finding.rule, finding.value
