"""``fleet classify`` and ``fleet explain``: the same judgement, offline."""

from __future__ import annotations

import sys

import click

from fleet.app.classify_files import SourceResult, classify_paths, render_classify_json
from fleet.errors import SettingsError
from fleet.model.finding import Finding
from fleet.model.pack import Rule
from fleet.model.words import OS, ExitCode, State, Word
from fleet.packs.load import load_pack
from fleet.report.text import clean

_CODES = {
    Word.FAILING: ExitCode.UNHEALTHY,
    Word.DEGRADED: ExitCode.UNHEALTHY,
    Word.NOT_OBSERVED: ExitCode.NOT_OBSERVED,
}


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option("--os", "system", type=click.Choice(list(OS)), help="The system the texts come from.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def classify(paths: tuple[str, ...], system: str | None, form: str) -> int:
    """Judge logs, console captures and `azcmagent show` output in files or folders; `-` is standard input.

    \b
    Example:
      fleet classify /var/opt/azcmagent/log/azcmagent.log
      azcmagent show | fleet classify - --format json
    """
    stdin = sys.stdin.buffer.read() if "-" in paths else b""
    results = classify_paths(paths, load_pack(), OS(system) if system else None, stdin)
    if not results:
        raise SettingsError("there is no file in " + ", ".join(map(clean, paths)))
    if form == "json":
        click.echo(render_classify_json(results), nl=False)
    else:
        click.echo("\n".join(_source(result) for result in results))
    words = {result.verdict for result in results}
    return next((code for word, code in _CODES.items() if word in words), ExitCode.OK)


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
    found = [entry for entry in pack.rules if wanted in (entry.id.casefold(), (entry.code or "").casefold())]
    if not found:
        raise SettingsError(
            f"no rule named {clean(rule)}; the rules are: {', '.join(r.id for r in pack.rules)}"
        )
    click.echo("\n\n".join(map(_explained, found)))


def _source(result: SourceResult) -> str:
    lines = [f"{clean(result.path)}: {result.verdict}"]
    for finding in result.findings:
        lines += _finding(finding)
    if not result.findings and result.verdict is Word.NOT_OBSERVED:
        lines.append("  nothing here is of a kind fleet knows")
    return "\n".join(lines)


def _finding(finding: Finding) -> list[str]:
    past = " (historical)" if finding.state is State.HISTORICAL else ""
    times = f", {finding.count} times" if finding.count > 1 else ""
    lines = [
        f"  {finding.severity}: {finding.label} {finding.title}{past}{times}",
        f"    cause: {finding.cause}",
        f"    remedy: {finding.remediation}",
    ]
    lines += [f"    line {evidence.line}: {clean(evidence.text)}" for evidence in finding.evidence]
    return lines


def _explained(rule: Rule) -> str:
    lines = [
        f"{rule.id}  {rule.title}  ({rule.severity})",
        f"cause:   {rule.cause}",
        f"remedy:  {rule.remediation}",
    ]
    if rule.outcome:
        lines.append(f"matches: {rule.outcome} printed by azcmagent as the outcome of a command")
    lines += [f"matches: {message.pattern}" for message in rule.messages]
    tests = [f"{c.field} {c.op} {c.value}" for c in rule.conditions]
    if tests:
        lines.append(f"matches: {', '.join(tests)}")
    if rule.unless:
        lines.append(f"unless:  {', '.join(f'{c.field} {c.op} {c.value}' for c in rule.unless)}")
    lines.append(f"source:  {rule.source}")
    return "\n".join(lines)
