"""Turns what the rules say of one host into plain text that tells why, and why not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from fleet.classify.engine import Unevaluated
from fleet.model.facts import FACTS
from fleet.model.finding import Finding, FleetFinding
from fleet.model.report import HostResult, Run, Verdict
from fleet.model.words import State
from fleet.report.telling import fold_hosts
from fleet.report.text import WIDTH, clean, format_utc, heading, seen_lines, verdict_words, wrap

_INDENT = "  "


def render_why(
    run: Run,
    result: HostResult,
    verdict: Verdict,
    findings: Sequence[Finding],
    unevaluated: Sequence[Unevaluated],
    digest: str,
    fleet: Sequence[FleetFinding] = (),
) -> str:
    """Why the host of a stored visit is what it is by the rules of that digest: the rules that fired, those
    that matched and count for nothing, and those that nobody could tell. Safe for a terminal, ends with a
    newline.
    """
    lines = [*_head(run, result, verdict, digest)]
    active = [finding for finding in findings if finding.state is State.ACTIVE]
    sections = (
        ("Fired", [f for f in active if not f.accepted and not f.explained_by]),
        ("Explained by another rule", [f for f in active if not f.accepted and f.explained_by]),
        ("Accepted", [f for f in active if f.accepted]),
        ("History", [f for f in findings if f.state is State.HISTORICAL]),
    )
    for title, found in sections:
        if found or title == "Fired":
            lines += ["", title, *(line for finding in found for line in _finding(finding))]
        if not found and title == "Fired":
            lines.append(f"{_INDENT}no rule")
    shared = [finding for finding in fleet if result.host.name in finding.hosts]
    if shared:
        lines += ["", "Shared with other hosts", *(line for finding in shared for line in _shared(finding))]
    if unevaluated:
        lines += ["", "Not evaluated", *_unevaluated(unevaluated)]
    return "\n".join(lines) + "\n"


def _head(run: Run, result: HostResult, verdict: Verdict, digest: str) -> Iterator[str]:
    yield f"{clean(result.host.name)}  {verdict_words(verdict)}"
    seen = format_utc(result.started_at) or format_utc(run.started_at)
    yield f"{_INDENT}run {clean(run.id)}, {seen}, by the rules {digest[:12]}"
    # The same rules say another thing where a finding was accepted then, or is now.
    if run.pack_digest != digest or result.verdict.word is not verdict.word:
        yield f"{_INDENT}then {verdict_words(result.verdict)}, by the rules {clean(run.pack_digest)[:12]}"
    yield from wrap(verdict.message, WIDTH, _INDENT)


def _finding(finding: Finding) -> Iterator[str]:
    named = "" if finding.code is None else f" ({finding.rule})"
    yield from wrap(f"{heading(finding)}{named}", WIDTH, _INDENT, f"{_INDENT}  ")
    if finding.explained_by:
        yield from wrap(f"Explained by: {', '.join(finding.explained_by)}", WIDTH, f"{_INDENT}  ")
    yield from seen_lines(finding, f"{_INDENT}  ")


def _shared(finding: FleetFinding) -> Iterator[str]:
    yield from wrap(f"{finding.severity}: {finding.rule} {finding.title}", WIDTH, _INDENT, f"{_INDENT}  ")
    yield from wrap(f"Value: {finding.value}", WIDTH, f"{_INDENT}  ")
    yield from wrap(f"Hosts: {fold_hosts(map(clean, finding.hosts))}", WIDTH, f"{_INDENT}  ")


def _unevaluated(rules: Sequence[Unevaluated]) -> Iterator[str]:
    """By the fact that was missing, what most rules wait for first."""
    by_fact: defaultdict[str, list[str]] = defaultdict(list)
    for each in rules:
        by_fact[each.missing].append(each.rule)
    for fact, waiting in sorted(by_fact.items(), key=lambda item: (-len(item[1]), item[0])):
        count = "1 rule" if len(waiting) == 1 else f"{len(waiting)} rules"
        says = f" ({FACTS[fact].says})" if fact in FACTS else ""
        told = f"{count}: nobody read {fact}{says}: {', '.join(sorted(waiting))}"
        yield from wrap(told, WIDTH, _INDENT, f"{_INDENT}  ")
