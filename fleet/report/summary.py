"""Turns a RunReport into the summary a terminal shows at the end of a run: causes first."""

from __future__ import annotations

from collections.abc import Iterator

from fleet.app.judge import first_sentence
from fleet.model.finding import FleetFinding
from fleet.model.report import Run, RunReport
from fleet.model.words import Observed, Severity, Word
from fleet.report.groups import CauseGroup, GapGroup, cause_groups, count_hosts, gap_groups
from fleet.report.telling import during, fold_hosts
from fleet.report.text import clean, format_seconds, wrap

_INDENT = "    "


def render_summary(report: RunReport, *, width: int = 100) -> str:
    """Plain text, safe for a terminal, ending with a newline.

    In this order: a headline where there is no cause to lead with, what hosts share, the causes of failing
    hosts, of degraded ones, who was not observed and why, the counts, the run.
    """
    blocks = [wrap(headline(report), width)] if headline(report) else []
    blocks += [_fleet(finding, width) for finding in report.fleet]
    blocks += [_cause(group, width) for group in cause_groups(report)]
    blocks += [_gap(group, width) for group in gap_groups(report)]
    blocks.append([*_warnings(report.run, width), *_counts(report, width), _run(report.run)])
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def headline(report: RunReport) -> str:
    """What a run without a single failing or degraded host means, "" where causes, or what hosts share, speak
    for themselves."""
    total, missing = len(report.results), report.count(Word.NOT_OBSERVED)
    is_unwell = report.count(Word.FAILING) or report.count(Word.DEGRADED)
    if is_unwell or any(finding.is_trouble for finding in report.fleet):
        return ""
    if not total:
        return "No host was selected, so nothing was observed."
    if missing == total:
        return f"Nothing was observed: {_none_of(total)} could be judged."
    if missing:
        seen = count_hosts(total - missing)
        return f"Healthy as far as seen, on {seen}; nothing is known about the other {missing}."
    return "The one host is healthy." if total == 1 else f"All {total} hosts are healthy."


def _none_of(total: int) -> str:
    return "the one host could not be reached or read, so nothing" if total == 1 else f"none of {total} hosts"


def _fleet(finding: FleetFinding, width: int) -> list[str]:
    mark = "" if finding.severity.rank < Severity.WARNING.rank else f"{finding.severity}: "
    hosts = tuple(map(clean, finding.hosts))
    return _block(f"{mark}{finding.rule} {finding.title}", hosts, first_sentence(finding.remediation), width)


def _cause(group: CauseGroup, width: int) -> list[str]:
    mark = "warning: " if group.word is Word.DEGRADED else ""
    codes = f" ({', '.join(group.printed)})" if group.printed else ""
    return _block(f"{mark}{group.label} {group.title}{codes}", group.hosts, group.action, width)


def _gap(group: GapGroup, width: int) -> list[str]:
    phase = during(group.reason, group.phase)
    said = f"{group.message.rstrip('.')}." if group.message else ""
    return _block(
        f"not observed, {group.reason} {phase}".rstrip(), group.hosts, f"{said} {group.action}".strip(), width
    )


def _block(title: str, hosts: tuple[str, ...], action: str, width: int) -> list[str]:
    first = f"{title}, {count_hosts(len(hosts))}: {fold_hosts(hosts)}"
    return wrap(first, width, "", "  ") + wrap(action, width, _INDENT)


def _warnings(run: Run, width: int) -> Iterator[str]:
    for warning in run.warnings:
        yield from wrap(f"note: {warning}", width, "", "      ")


def _counts(report: RunReport, width: int) -> Iterator[str]:
    words = (Word.HEALTHY, Word.FAILING, Word.DEGRADED, Word.NOT_OBSERVED)
    counts = ", ".join(f"{report.count(word)} {word.lower().replace('_', ' ')}" for word in words)
    yield f"{count_hosts(len(report.results))}: {counts}"
    partial = [
        clean(result.host.name) for result in report.results if result.verdict.observed is Observed.PARTIAL
    ]
    if partial:
        yield from wrap(
            f"{count_hosts(len(partial))} observed in part only: {fold_hosts(partial)}", width, "", "  "
        )


def _run(run: Run) -> str:
    if run.ended_at is None:
        return f"run {clean(run.id)}, which did not end"
    return f"run {clean(run.id)}, {format_seconds((run.ended_at - run.started_at).total_seconds())}"
