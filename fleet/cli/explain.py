"""``fleet explain``: a rule in words."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

import click

from fleet.errors import SettingsError
from fleet.model.pack import Condition, Pack, Rule, Variant
from fleet.packs.load import load_pack
from fleet.report.text import clean, wrap

UNKNOWN_CODES = "failure-without-rule"
_CODE = re.compile(r"azcm\d{4}")

NARROWEST, WIDEST = 80, 100
MOST_NAMED = 5


@click.command()
@click.argument("rule")
def explain(rule: str) -> None:
    """Say what a RULE or an AZCM code means, what to do, and what it matches.

    \b
    Example:
      fleet explain AZCM0042
    """
    pack = load_pack()
    wanted = rule.casefold()
    found = [entry for entry in pack.rules if wanted in map(str.casefold, _names(entry))]
    if not found:
        other = f"{UNKNOWN_CODES} takes what has no rule; " if _CODE.fullmatch(wanted) else ""
        raise SettingsError(f"no rule is named {clean(rule)}; {other}{_nearest(wanted, pack)}")
    width = min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)
    click.echo("\n\n".join("\n".join(_explained(entry, width)) for entry in found))


def _names(rule: Rule) -> tuple[str, ...]:
    return (rule.id, rule.code) if rule.code and rule.code != rule.id else (rule.id,)


def _nearest(wanted: str, pack: Pack) -> str:
    names = {name.casefold(): name for rule in pack.rules for name in _names(rule)}
    near = [name for folded, name in names.items() if wanted in folded]
    near = near or [names[match] for match in get_close_matches(wanted, names)]
    if near:
        return f"did you mean {', '.join(near[:MOST_NAMED])}?"
    return f"rules are named like {pack.rules[0].id} and {pack.rules[-1].id}"


def _explained(rule: Rule, width: int) -> Iterator[str]:
    yield from wrap(f"{rule.id}  {rule.title}  ({rule.severity})", width, "", "  ")
    yield from _labelled("cause:", rule.cause, width)
    yield from _labelled("remedy:", rule.remediation, width)
    for variant in rule.instead:
        yield from _instead(variant, width)
    if rule.outcome:
        printed = f"{rule.outcome} printed by azcmagent as the outcome of a command"
        yield from _labelled("matches:", printed, width)
    # Patterns and addresses are not wrapped: they are there to be copied.
    yield from (f"matches: {message.pattern}" for message in rule.messages)
    yield from _labelled("matches:", _tests(rule.conditions), width)
    yield from _labelled("unless:", _tests(rule.unless), width)
    yield f"source:  {rule.source}"


def _instead(variant: Variant, width: int) -> Iterator[str]:
    """Whose words they are stands before them, as the words are told instead of those above."""
    hosts = f"on {variant.os}" if variant.os else "on hosts"
    whose = f"{hosts} where {_tests(variant.where)}" if variant.where else hosts
    yield from wrap(f"{whose}:", width, "", " " * 9)
    for label, text in (("  cause:", variant.cause), ("  remedy:", variant.remediation)):
        yield from wrap(f"{label:<9} {text}", width, "", " " * 10) if text else []


def _labelled(label: str, text: str, width: int) -> list[str]:
    return wrap(f"{label:<8} {text}", width, "", " " * 9) if text else []


def _tests(conditions: Sequence[Condition]) -> str:
    return ", ".join(f"{test.field} {test.op} {test.value}" for test in conditions)
