"""Turns hostile text into text a terminal or a cell can show, and one host's history into plain text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from fleet.model.finding import Evidence, Finding, FleetFinding
from fleet.model.observation import AgentState, Service
from fleet.model.report import HostResult, Run, Verdict
from fleet.model.words import Observed, State, Word
from fleet.parse.services import service_state
from fleet.report.telling import accepted_words, during, fold_hosts, place, told_causes

REPLACEMENT = "\ufffd"
NEWLINE = " ⏎ "
WIDTH = 100

# ECMA-48: a control string (OSC, DCS, SOS, PM, APC) only when it is terminated, else a host could hide the
# rest of its line behind an introducer; then CSI, then two-byte escapes.
_ESCAPES = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x90\x98\x9c-\x9f\n]*(?:\x07|\x1b\\|\x9c)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
_NEWLINES = re.compile(r"[ \t]*(?:\r\n|[\n\r\v\f\x85\u2028\u2029])[ \t]*")
_UNSAFE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def clean(text: str) -> str:
    """The text on one line without anything that steers a terminal, reorders, or hides.

    A line break becomes `` ⏎ ``, a tab a blank; an escape sequence, a control character, a bidi control, a
    zero-width character and a lone surrogate become U+FFFD each. Cleaning twice is cleaning once.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _ESCAPES.sub(REPLACEMENT, text)
    text = _NEWLINES.sub(NEWLINE, text).replace("\t", " ")
    return _UNSAFE.sub(REPLACEMENT, text)


def format_utc(at: datetime | None) -> str:
    """ISO 8601 in UTC to the second, ``2026-01-31T12:00:00Z``; empty for None."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""


def format_services(services: Sequence[Service]) -> str:
    """``himds=running; gcad=stopped``: each role with the word for its state, the same on every system."""
    return "; ".join(f"{clean(service.name)}={service_state(service)}" for service in services)


def format_seconds(seconds: float | None) -> str:
    """``3.2 s`` or ``2 min 05 s``; empty for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def wrap(text: str, width: int, indent: str = "", hanging: str | None = None) -> list[str]:
    """The cleaned text in lines no wider than ``width`` where its words allow; none for empty text."""
    return textwrap.wrap(
        clean(text),
        max(width, 20),
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def render_host(run_results: Sequence[tuple[Run, HostResult]], fleet: Sequence[FleetFinding] = ()) -> str:
    """One host's history, newest first: the newest verdict in detail, with what of ``fleet`` the host has a
    share in and with symptoms under their cause, then a line for each older run.

    Safe for a terminal, ends with a newline. An empty history says that no run has this host.
    """
    if not run_results:
        return "No run in this database has that host.\n"
    run, result = run_results[0]
    lines = [*_head(run, result), *_verdict(result.verdict), *_state(result)]
    for shared in fleet:
        if result.host.name in shared.hosts:
            lines += ["", *_shared(shared)]
    for cause, symptoms in told_causes(result):
        lines += ["", *_finding(cause), *_symptoms(cause, symptoms)]
    if len(run_results) > 1:
        lines += ["", "Earlier runs"]
        lines += [f"  {_past(*past)}" for past in run_results[1:]]
    return "\n".join(lines) + "\n"


def _head(run: Run, result: HostResult) -> Iterator[str]:
    host = result.host
    yield f"{clean(host.name)}  {verdict_words(result.verdict)}"
    where = clean(f"{host.address} port {host.port}")
    about = (where, host.connection.value, clean(result.login), clean(result.os_name))
    yield "  " + ", ".join(part for part in about if part)
    seen = format_utc(result.started_at) or format_utc(run.started_at)
    took = f", took {format_seconds(result.duration_s)}" if result.duration_s is not None else ""
    yield f"  run {clean(run.id)}, {seen}{took}"


def verdict_words(verdict: Verdict) -> str:
    """``FAILING``, ``HEALTHY (observed in part)``, ``NOT OBSERVED: auth during handshake``."""
    words = verdict.word.value.replace("_", " ")
    if verdict.word is Word.NOT_OBSERVED:
        return f"{words}: {verdict.reason} {during(verdict.reason, verdict.phase)}".rstrip()
    return f"{words} (observed in part)" if verdict.observed is Observed.PARTIAL else words


def _verdict(verdict: Verdict) -> Iterator[str]:
    yield from wrap(verdict.message, WIDTH, "  ")
    if verdict.action:
        yield from wrap(f"Next: {verdict.action}", WIDTH, "  ", "        ")


def _state(result: HostResult) -> Iterator[str]:
    agent = _agent(result.agent)
    if agent:
        yield from wrap(f"Agent: {agent}", WIDTH, "  ", "         ")
    if result.services:
        yield from wrap(f"Services: {format_services(result.services)}", WIDTH, "  ", "            ")
    if result.clock_offset_s is not None:
        yield f"  Clock: {result.clock_offset_s:+.1f} s against ours"
    if result.timings:
        spent = ", ".join(f"{timing.phase} {timing.seconds:.2f} s" for timing in result.timings)
        yield from wrap(f"Phases: {spent}", WIDTH, "  ", "          ")


def _agent(agent: AgentState) -> str:
    known = (
        ("", "not installed" if agent.installed is False else ""),
        ("", agent.status),
        ("version ", agent.version),
        ("last heartbeat ", format_utc(agent.last_heartbeat_at)),
        ("resource ", agent.resource_name),
        ("resource group ", agent.resource_group),
        ("location ", agent.location),
        ("error ", " ".join(part for part in (agent.error_code, agent.error_details) if part)),
    )
    return ", ".join(prefix + clean(value) for prefix, value in known if value)


def _shared(finding: FleetFinding) -> Iterator[str]:
    yield from wrap(f"{finding.severity}: {finding.rule} {finding.title}", WIDTH, "", "  ")
    yield from wrap(f"Hosts: {fold_hosts(map(clean, finding.hosts))}", WIDTH, "  ", "         ")
    yield from _why(finding.cause, finding.remediation)


def _why(cause: str, remedy: str) -> Iterator[str]:
    yield from wrap(f"Cause: {cause}", WIDTH, "  ", "         ")
    yield from wrap(f"Remedy: {remedy}", WIDTH, "  ", "          ")


def _finding(finding: Finding) -> Iterator[str]:
    yield from wrap(heading(finding), WIDTH, "", "  ")
    yield from _why(finding.cause, finding.remediation)
    yield from seen_lines(finding, "  ")


def _symptoms(cause: Finding, symptoms: Sequence[Finding]) -> Iterator[str]:
    """Their own causes and remedies are not told: what to do is told of what explains them."""
    if symptoms:
        yield "  Explains:"
    for symptom in symptoms:
        yield from wrap(heading(symptom), WIDTH, "    ", "      ")
        yield from seen_lines(symptom, "      ", besides=cause.evidence)


def heading(finding: Finding) -> str:
    """``error, survived earlier: AZCM0042 Failed to create resource``."""
    past = ", survived earlier" if finding.state is State.HISTORICAL else ""
    accepted = ", accepted" if finding.accepted else ""
    return f"{finding.severity}{past}{accepted}: {finding.label} {finding.title}"


def seen_lines(finding: Finding, indent: str, besides: Sequence[Evidence] = ()) -> Iterator[str]:
    """Who accepted it, how often it was seen, and its evidence but for what stands there already."""
    if finding.accepted:
        yield from wrap(f"Accepted: {accepted_words(finding.accepted)}", WIDTH, indent, f"{indent}          ")
    yield f"{indent}Seen: {seen_words(finding)}"
    for evidence in (line for line in finding.evidence if line not in besides):
        yield f"{indent}  {clean(place(evidence))}: {clean(evidence.text)}"


def seen_words(finding: Finding) -> str:
    """``3 times, first 2026-…Z, last 2026-…Z``, leaving out what is not known."""
    times = "once" if finding.count == 1 else f"{finding.count} times"
    first, last = format_utc(finding.first_seen_at), format_utc(finding.last_seen_at)
    if first and last and first != last:
        return f"{times}, first {first}, last {last}"
    return f"{times}, at {first or last}" if first or last else times


def _past(run: Run, result: HostResult) -> str:
    cause = result.verdict.cause
    why = f"{cause.label} {cause.title}" if cause else result.verdict.message
    words = verdict_words(result.verdict)
    return clean(f"{format_utc(result.started_at or run.started_at)}  {words}  {why}  (run {run.id})")
