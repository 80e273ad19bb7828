"""A pack's rules into JSON for other tools and into the catalogue page, in an order that does not change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import NamedTuple

from fleet.model.facts import FACTS, Known
from fleet.model.pack import (
    NO_CODE,
    UNKNOWN_CODE,
    Agents,
    FleetMatch,
    LogMatch,
    Pack,
    Rule,
    StateMatch,
    Variant,
)
from fleet.model.words import OS

SCHEMA = "fleet.rules/1"
CODES = {UNKNOWN_CODE: "a code that no rule names", NO_CODE: "an error without a code"}

_HEAD = """\
# Rule catalogue

Made by `fleet rules export --format markdown`; [rules](rules.md) says how to read, add and change them.
"""
_SYSTEMS = {OS.LINUX: "Linux", OS.WINDOWS: "Windows"}


class Condition(NamedTuple):
    """One condition of a rule; ``is_code``: an expression, to be copied as it stands."""

    label: str
    words: str
    is_code: bool = False


def in_order(rules: Iterable[Rule]) -> list[Rule]:
    """By family, then by id."""
    return sorted(rules, key=lambda rule: (rule.family, rule.id))


def explained_by(rule: Rule, rules: Iterable[Rule]) -> tuple[str, ...]:
    """The ids of the rules that name it as a symptom of theirs."""
    return tuple(sorted(other.id for other in rules if rule.id in other.explains))


def agents_words(agents: Agents) -> str:
    """As a rule's file has it: ``>=1.31 <1.56``."""
    bounds = ((">=", agents.first), ("<", agents.end))
    return " ".join(f"{sign}{bound.major}.{bound.minor}" for sign, bound in bounds if bound)


def match_words(rule: Rule) -> Iterator[Condition]:
    """What the rule matches, condition by condition."""
    match rule.match:
        case LogMatch():
            yield from _log_words(rule.match)
        case StateMatch(expression=expression):
            yield Condition("matches", expression, is_code=True)
        case FleetMatch(fact=fact, hosts=hosts, where=where):
            yield Condition("matches", f"the same {fact} on {hosts} hosts or more")
            if where:
                yield Condition("where", where, is_code=True)
    if rule.agents:
        yield Condition("agents", agents_words(rule.agents))
    if len(rule.platforms) < len(OS):
        yield Condition("on", ", ".join(_SYSTEMS[os] for os in rule.platforms))


def export_json(pack: Pack) -> str:
    """The rules, and the facts they may test, as one document of the schema ``fleet.rules/1``."""
    rules = [_rule_fields(rule, pack.rules) for rule in in_order(pack.rules)]
    facts = [{"name": fact.name, "kind": fact.kind, "says": fact.says} for fact in _known()]
    whole = {"schema": SCHEMA, "digest": pack.digest, "rules": rules, "facts": facts}
    return json.dumps(whole, indent=2, ensure_ascii=True) + "\n"


def export_markdown(pack: Pack) -> str:
    """The rules as one page, family by family, and the facts they may test."""
    families = [
        (name, list(rules)) for name, rules in groupby(in_order(pack.rules), lambda rule: rule.family)
    ]
    lines = [_HEAD, *_overview(families)]
    for family, rules in families:
        lines += ["", f"## {family}"]
        for rule in rules:
            lines += ["", *_section(rule, pack.rules)]
    lines += ["", *_facts()]
    return "\n".join(lines) + "\n"


def _rule_fields(rule: Rule, rules: Iterable[Rule]) -> dict[str, object]:
    kind = {LogMatch: "log", StateMatch: "state", FleetMatch: "fleet"}[type(rule.match)]
    fields = asdict(rule)
    if rule.agents:
        fields["agents"] = agents_words(rule.agents)
    return {**fields, "match": {kind: asdict(rule.match)}, "explained_by": explained_by(rule, rules)}


def _log_words(match: LogMatch) -> Iterator[Condition]:
    if match.code is not None:
        printed = f"{CODES.get(match.code, match.code)} printed by azcmagent as the outcome of a command"
        yield Condition("matches", printed)
    for place, pattern in enumerate(match.text):
        label = "or" if place else "with" if match.code else "matches"
        yield Condition(label, pattern, is_code=True)
    yield from (Condition("without", pattern, is_code=True) for pattern in match.without)
    if match.after:
        yield Condition("after", match.after, is_code=True)
    for label, words in (("in logs", match.logs), ("levels", match.levels), ("commands", match.commands)):
        if words:
            yield Condition(label, ", ".join(words))
    if match.run is not None:
        yield Condition("run", f"one that ended with {match.run}")
    if match.count > 1:
        within = f" within {match.within_s} s" if match.within_s else ""
        yield Condition("count", f"{match.count} or more{within}")


def _overview(families: Sequence[tuple[str, Sequence[Rule]]]) -> Iterator[str]:
    yield "| rule | severity | what |"
    yield "|---|---|---|"
    for _, rules in families:
        for rule in rules:
            yield f"| [{rule.id}](#{rule.id}) | {rule.severity} | {_text(rule.title)} |"


def _section(rule: Rule, rules: Iterable[Rule]) -> Iterator[str]:
    yield f"### {rule.id}"
    yield ""
    code = f", {rule.code}" if rule.code and rule.code.lower() != rule.id else ""
    generic = ", says where it hurt and not why" if rule.generic else ""
    yield f"**{_text(rule.title)}** ({rule.severity}{code}{generic})"
    yield ""
    yield _text(rule.cause)
    yield ""
    yield from _steps(rule.remediation)
    for variant in rule.instead:
        yield from _variant(variant)
    yield ""
    for label, words, is_code in match_words(rule):
        yield f"- {label}: {_code(words) if is_code else _text(words)}"
    for label, ids in (("explains", rule.explains), ("explained by", explained_by(rule, rules))):
        if ids:
            yield f"- {label}: {', '.join(f'[{each}](#{each})' for each in ids)}"
    yield f"- source: [{_text(rule.source)}]({rule.link})"


def _facts() -> Iterator[str]:
    yield "## Facts that rules may test"
    yield ""
    yield "| fact | kind | what it says |"
    yield "|---|---|---|"
    for fact in _known():
        yield f"| `{fact.name}` | {fact.kind} | {_text(fact.says)} |"


def _known() -> list[Known]:
    return sorted(FACTS.values(), key=lambda fact: fact.name)


def _variant(variant: Variant) -> Iterator[str]:
    where = f" where {_code(variant.where)}" if variant.where else ""
    yield ""
    yield (
        f"On {_SYSTEMS[variant.os] if variant.os else 'hosts'}{where}:{' ' if variant.cause else ''}"
        + _text(variant.cause)
    )
    if variant.remediation:
        yield ""
        yield from _steps(variant.remediation)


def _steps(steps: Sequence[str]) -> Iterator[str]:
    yield from (f"{number}. {_text(step)}" for number, step in enumerate(steps, 1))


def _text(text: str) -> str:
    """Outside of backticks nothing of the text is markup."""
    parts = text.split("`")
    for place in range(0, len(parts), 2):
        for sign in "\\<>*_[]|#":
            parts[place] = parts[place].replace(sign, f"\\{sign}")
    return "`".join(parts)


def _code(text: str) -> str:
    """As code of one line; one that holds backticks stands between two of them."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{' '.join(text.split())}{fence}"
