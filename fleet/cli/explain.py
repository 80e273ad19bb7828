"""``fleet explain``: a rule in words."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from difflib import get_close_matches

import click

from fleet.errors import SettingsError
from fleet.model.pack import (
    NO_CODE,
    UNKNOWN_CODE,
    FleetMatch,
    LogMatch,
    Pack,
    Rule,
    StateMatch,
    Variant,
)
from fleet.packs.load import load_pack
from fleet.report.text import clean, wrap

UNKNOWN_CODES = "azcm-unknown"
_CODE = re.compile(r"azcm\d{4}")
_CODES = {UNKNOWN_CODE: "a code that no rule names", NO_CODE: "an error without a code"}

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
    return (rule.id, rule.code) if rule.code and rule.code.lower() != rule.id else (rule.id,)


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
    yield from _labelled("remedy:", " ".join(rule.remediation), width)
    for variant in rule.instead:
        yield from _instead(variant, width)
    yield from _matches(rule, width)
    yield from _labelled("explains:", ", ".join(rule.explains), width)
    yield f"source:  {rule.source}"
    yield f"link:    {rule.link}"


def _matches(rule: Rule, width: int) -> Iterator[str]:
    """Patterns are not wrapped: they are there to be copied."""
    match rule.match:
        case LogMatch(code=code, text=patterns):
            if code is not None:
                printed = f"{_CODES.get(code, code)} printed by azcmagent as the outcome of a command"
                yield from _labelled("matches:", printed, width)
            yield from (f"matches: {pattern}" for pattern in patterns)
        case StateMatch(expression=expression):
            yield from _labelled("matches:", expression, width)
        case FleetMatch(fact=fact, hosts=hosts):
            yield from _labelled("matches:", f"the same {fact} on {hosts} hosts or more", width)


def _instead(variant: Variant, width: int) -> Iterator[str]:
    """Whose words they are stands before them, as the words are told instead of those above."""
    hosts = f"on {variant.os}" if variant.os else "on hosts"
    whose = f"{hosts} where {variant.where}" if variant.where else hosts
    yield from wrap(f"{whose}:", width, "", " " * 9)
    for label, text in (("  cause:", variant.cause), ("  remedy:", " ".join(variant.remediation))):
        yield from wrap(f"{label:<9} {text}", width, "", " " * 10) if text else []


def _labelled(label: str, text: str, width: int) -> list[str]:
    return wrap(f"{label:<8} {text}", width, "", " " * 9) if text else []
