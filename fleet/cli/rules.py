"""``fleet rules``: the rules in words, checked, tested and exported."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import click

from fleet.app.rule_cases import CaseRun, CaseRunner, missing_cases
from fleet.cli.options import RULES
from fleet.cli.table import table
from fleet.errors import SettingsError
from fleet.model.case import Case
from fleet.model.pack import Override, Pack, Rule, Variant
from fleet.model.words import ExitCode, Severity
from fleet.packs.cases import load_cases
from fleet.packs.export import explained_by, export_json, export_markdown, in_order, match_words
from fleet.packs.lint import vague_remedies
from fleet.packs.load import load_pack
from fleet.packs.own import CASES
from fleet.report.text import clean, wrap

UNKNOWN_CODES = "azcm-unknown"
_CODE = re.compile(r"azcm\d{4}")

NARROWEST, WIDEST = 80, 100
MOST_NAMED = 5


@click.group()
def rules() -> None:
    """Read, check, test and export the rules, those of fleet and your own.

    \b
    Example:
      fleet rules show AZCM0042
    """


@rules.command("list")
@click.option("--family", help="Those of one family, as network or identity.")
@click.option(
    "--severity", type=click.Choice([word.value for word in Severity]), help="Those of one severity."
)
@RULES
def list_rules(family: str | None, severity: str | None, own: tuple[Path, ...]) -> None:
    """List the rules by family.

    \b
    Example:
      fleet rules list --family network --severity error
    """
    pack = load_pack(own=own)
    families = sorted({rule.family for rule in pack.rules})
    if family is not None and family not in families:
        raise SettingsError(f"--family {clean(family)}: there are {', '.join(map(clean, families))}")
    disabled = {override.rule.id for override in pack.overrides if override.is_disabled}
    chosen = [
        rule
        for rule in in_order((*pack.rules, *(o.rule for o in pack.overrides if o.is_disabled)))
        if family in (None, rule.family) and severity in (None, rule.severity)
    ]
    if not chosen:
        raise SettingsError(f"no rule of {family} is of severity {severity}")
    rows = [("RULE", "FAMILY", "SEVERITY", "TITLE")]
    for rule in chosen:
        word = "disabled" if rule.id in disabled else rule.severity.value
        rows.append((rule.id, clean(rule.family), word, clean(rule.title)))
    click.echo("\n".join(table(rows)))


@rules.command("show", short_help="Say all about a RULE or an AZCM code.")
@click.argument("rule")
@RULES
def show_rule(rule: str, own: tuple[Path, ...]) -> None:
    """Say what a RULE or an AZCM code means, what to do, what it matches and what it is the cause of.

    \b
    Example:
      fleet rules show AZCM0042
    """
    pack = load_pack(own=own)
    wanted = rule.casefold()
    disabled = [override.rule for override in pack.overrides if override.is_disabled]
    found = [each for each in (*pack.rules, *disabled) if wanted in map(str.casefold, _names(each))]
    if not found:
        other = f"{UNKNOWN_CODES} takes what has no rule; " if _CODE.fullmatch(wanted) else ""
        raise SettingsError(f"no rule is named {clean(rule)}; {other}{_nearest(wanted, pack)}")
    width = min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)
    click.echo("\n\n".join("\n".join(_shown(each, pack, width)) for each in found))


@rules.command("check", short_help="Load the rules strictly and tell every mistake.")
@click.argument("folders", metavar="[DIR]...", nargs=-1, type=click.Path(path_type=Path))
@RULES
def check_rules(folders: tuple[Path, ...], own: tuple[Path, ...]) -> None:
    """Load the rules strictly, with your own in each DIR; every mistake is told with file and line, at once.

    \b
    Example:
      fleet rules check own-rules/
    """
    own = (*own, *folders)
    pack = load_pack(own=own)
    cases = [folder / CASES for folder in own if (folder / CASES).is_dir()]
    told = [_counted(len(pack.rules), "rule")]
    told += [_counted(len(pack.overrides), "override")] if pack.overrides else []
    told += [_counted(len(pack.accepts), "accepted finding")] if pack.accepts else []
    told += [_counted(len(load_cases(cases, pack)), "case")] if cases else []
    click.echo(f"{', '.join(told)}; no mistake\ndigest {pack.digest}")


@rules.command("test", short_help="Run the cases of rules.")
@click.argument("folders", metavar="[DIR]...", nargs=-1, type=click.Path(path_type=Path))
@RULES
def test_rules(folders: tuple[Path, ...], own: tuple[Path, ...]) -> int:
    """Run the cases in each DIR: a folder of cases, or one of your own rules with its cases/.

    \b
    Example:
      fleet rules test own-rules/
    """
    if not own and not folders:
        raise SettingsError("there is no case to run: name a folder of cases, or of rules with their cases/")
    own = (*own, *(each for each in folders if _is_own(each)))
    pack = load_pack(own=own)
    cases = load_cases(
        [*(each / CASES for each in own), *(each for each in folders if not _is_own(each))], pack
    )
    runner = CaseRunner(pack)
    runs = [run for case in cases for run in runner.run(case)]
    failed = [run for run in runs if run.faults]
    tested = _tested(cases, pack, own)
    lacking = [*missing_cases(cases, tested), *vague_remedies(tested)]
    for run in failed:
        click.echo("\n".join(_failure(run)))
    for line in lacking:
        click.echo(clean(line))
    well = len(cases) - len({run.case.place for run in failed})
    click.echo(f"{_counted(len(cases), 'case')}, {well:,} as expected")
    return ExitCode.UNHEALTHY if failed or lacking else ExitCode.OK


@rules.command("export")
@click.option("--format", "form", type=click.Choice(["json", "markdown"]), default="json", show_default=True)
@RULES
def export_rules(form: str, own: tuple[Path, ...]) -> None:
    """Print all rules for other tools, or as a page to read.

    \b
    Example:
      fleet rules export --format markdown > rule-catalogue.md
    """
    pack = load_pack(own=own)
    click.echo(export_json(pack) if form == "json" else export_markdown(pack), nl=False)


def _is_own(folder: Path) -> bool:
    return (folder / CASES).is_dir()


def _tested(cases: Sequence[Case], pack: Pack, own: Sequence[Path]) -> list[Rule]:
    """The rules that are to have cases: those that have some, and all of one's own."""
    shipped = {rule.id for rule in load_pack().rules} if own else {rule.id for rule in pack.rules}
    replaced = {override.rule.id for override in pack.overrides if override.is_replaced}
    wanted = {case.rule for case in cases} | replaced
    return [rule for rule in pack.rules if rule.id in wanted or rule.id not in shipped]


def _failure(run: CaseRun) -> Iterator[str]:
    case = run.case
    shape = f", as {run.shape}" if run.shape else ""
    yield clean(f"{case.rule}, case {case.number} ({case.place}{shape})")
    wanted = (("active", case.expect), ("history", case.history), ("not found", case.misses))
    yield f"  expected: {'; '.join(_ids(label, ids) for label, ids in wanted if ids)}"
    yield f"  got:      {_ids('active', run.active)}; {_ids('history', run.history)}"
    yield from (f"  {clean(fault)}" for fault in run.faults)


def _ids(label: str, ids: Sequence[str]) -> str:
    return f"{label} {', '.join(ids) or 'none'}"


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _names(rule: Rule) -> tuple[str, ...]:
    return (rule.id, rule.code) if rule.code and rule.code.lower() != rule.id else (rule.id,)


def _nearest(wanted: str, pack: Pack) -> str:
    names = {name.casefold(): name for rule in pack.rules for name in _names(rule)}
    near = [name for folded, name in names.items() if wanted in folded]
    near = near or [names[match] for match in get_close_matches(wanted, names)]
    if near:
        return f"did you mean {', '.join(near[:MOST_NAMED])}?"
    return f"rules are named like {pack.rules[0].id} and {pack.rules[-1].id}"


def _shown(rule: Rule, pack: Pack, width: int) -> Iterator[str]:
    yield from wrap(f"{rule.id}  {rule.title}  ({rule.severity})", width, "", "  ")
    for override in pack.overrides:
        if override.rule.id == rule.id:
            yield from wrap(_changed(override), width, "", "  ")
    yield from _labelled("cause:", rule.cause, width)
    yield from _labelled("remedy:", " ".join(rule.remediation), width)
    for variant in rule.instead:
        yield from _instead(variant, width)
    for label, words, is_code in match_words(rule):
        # Expressions are not wrapped: they are there to be copied.
        yield from [f"{label + ':':<8} {clean(words)}"] if is_code else _labelled(f"{label}:", words, width)
    yield from _labelled("explains:", ", ".join(rule.explains), width)
    yield from _labelled("explained by:", ", ".join(explained_by(rule, pack.rules)), width)
    yield f"source:  {clean(rule.source)}"
    yield f"link:    {clean(rule.link)}"


def _changed(override: Override) -> str:
    what = "disabled" if override.is_disabled else "replaced" if override.is_replaced else ""
    what = what or f"of severity {override.severity} instead of {override.rule.severity}"
    return f"{what} by {override.place}: {override.reason}"


def _instead(variant: Variant, width: int) -> Iterator[str]:
    """Whose words they are stands before them, as the words are told instead of those above."""
    hosts = f"on {variant.os}" if variant.os else "on hosts"
    whose = f"{hosts} where {variant.where}" if variant.where else hosts
    yield from wrap(f"{whose}:", width, "", " " * 9)
    for label, text in (("  cause:", variant.cause), ("  remedy:", " ".join(variant.remediation))):
        yield from wrap(f"{label:<9} {text}", width, "", " " * 10) if text else []


def _labelled(label: str, text: str, width: int) -> list[str]:
    return wrap(f"{label:<8} {text}", width, "", " " * 9) if text else []
