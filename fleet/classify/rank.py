"""Findings into the order a reader wants: what holds now before history, causes before their symptoms."""

from __future__ import annotations

from collections.abc import Sequence

from fleet.model.finding import Finding
from fleet.model.pack import Pack, Rule
from fleet.model.words import State


def rank(findings: Sequence[Finding], pack: Pack) -> tuple[Finding, ...]:
    """Active before historical; among the active, a cause before its symptoms, then the worst first, then
    what says more (a message or a state) before a bare code. Findings of unknown rules are kept."""
    rules = {rule.id: rule for rule in pack.rules}
    ordered = sorted(findings, key=lambda finding: _key(finding, rules.get(finding.rule)))
    active = [finding for finding in ordered if finding.state is State.ACTIVE]
    historical = [finding for finding in ordered if finding.state is State.HISTORICAL]
    return (*_causes_first(active, rules), *historical)


def _key(finding: Finding, rule: Rule | None) -> tuple[int, bool, str]:
    return finding.severity.rank, rule is not None and rule.outcome is not None, finding.rule


def _causes_first(findings: list[Finding], rules: dict[str, Rule]) -> list[Finding]:
    """Keep the order but move symptoms behind their causes; two rules that name each other keep it."""
    left = list(findings)
    done: list[Finding] = []
    while left:
        open_rules = {finding.rule for finding in left}
        free = (finding for finding in left if not _causes(finding, rules) & open_rules)
        chosen = next(free, left[0])
        left.remove(chosen)
        done.append(chosen)
    return done


def _causes(finding: Finding, rules: dict[str, Rule]) -> set[str]:
    rule = rules.get(finding.rule)
    return set(rule.symptom_of) - {finding.rule} if rule else set()
