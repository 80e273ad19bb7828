"""``fleet classify``: the same judgement, offline."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fleet.app.classify_files import SourceResult, classify_paths, render_classify_json
from fleet.cli.options import RULES
from fleet.errors import SettingsError
from fleet.model.finding import Evidence, Finding
from fleet.model.words import OS, ExitCode, State, Word
from fleet.packs.load import load_pack
from fleet.report.text import clean, seen_words

_CODES = {
    Word.FAILING: ExitCode.UNHEALTHY,
    Word.DEGRADED: ExitCode.UNHEALTHY,
    Word.NOT_OBSERVED: ExitCode.NOT_OBSERVED,
}


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--os", "system", type=click.Choice([os.value for os in OS]), help="The system the texts come from."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What is printed.",
)
@RULES
def classify(paths: tuple[str, ...], system: str | None, form: str, own: tuple[Path, ...]) -> int:
    """Judge logs, console captures and `azcmagent show` output in files or folders; `-` is standard input.

    \b
    Example:
      fleet classify /var/opt/azcmagent/log/azcmagent.log
      azcmagent show | fleet classify - --format json
    """
    stdin = _stdin() if "-" in paths else b""
    results = classify_paths(paths, load_pack(own=own), OS(system) if system else None, stdin)
    if not results:
        raise SettingsError("there is no file in " + ", ".join(map(clean, paths)))
    if form == "json":
        click.echo(render_classify_json(results), nl=False)
    else:
        click.echo("\n".join(_source(result) for result in results))
    words = {result.verdict for result in results}
    return next((code for word, code in _CODES.items() if word in words), ExitCode.OK)


def _stdin() -> bytes:
    try:
        if sys.stdin is not None:
            return sys.stdin.buffer.read()
    except OSError as error:
        raise SettingsError(f"-: standard input cannot be read: {error.strerror or error}") from error
    raise SettingsError("-: there is no standard input")


def _source(result: SourceResult) -> str:
    lines = [f"{clean(result.path)}: {result.verdict}"]
    for finding in result.findings:
        lines += _finding(finding)
    if not result.findings and result.verdict is Word.NOT_OBSERVED:
        lines.append("  nothing here is of a kind fleet knows")
    return "\n".join(lines)


def _finding(finding: Finding) -> list[str]:
    past = " (historical)" if finding.state is State.HISTORICAL else ""
    # What to do about a symptom is told of what explains it.
    why = (
        [f"    explained by: {', '.join(finding.explained_by)}"]
        if finding.explained_by
        else [f"    cause: {finding.cause}", f"    remedy: {finding.remediation}"]
    )
    lines = [f"  {finding.severity}: {finding.label} {finding.title}{past}", *why]
    lines.append(f"    seen: {seen_words(finding)}")
    return lines + [f"    {_line(evidence)}" for evidence in finding.evidence]


def _line(evidence: Evidence) -> str:
    place = f"line {evidence.line}: " if evidence.line else ""
    return place + clean(evidence.text)
