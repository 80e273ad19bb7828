"""A visit and its findings into the verdict on the host."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fleet.classify.evidence import harmless
from fleet.classify.rank import rank
from fleet.collect.framing import TIER0
from fleet.model.finding import Finding
from fleet.model.host import Host
from fleet.model.observation import Observation
from fleet.model.pack import Item, Pack
from fleet.model.report import Verdict
from fleet.model.visit import Capture, Visit
from fleet.model.words import OS, Connection, Observed, Phase, Privilege, Reason, Severity, State, Word

ACTIONS: tuple[tuple[Reason, str], ...] = (
    (Reason.UNREACHABLE, "Check that the host is up, its address is right and SSH listens there."),
    (Reason.IDENTITY, "Find out why the host key is not the one on record before you accept it."),
    (Reason.AUTH, "Check the user and the key or password the inventory names for this host."),
    (Reason.CREDENTIAL, "Provide the credential the inventory refers to, then run again."),
    (Reason.PRIVILEGE, "Allow the reads with sudo: install the drop-in of `fleet privileges sudoers`."),
    (Reason.DEADLINE, "Find out what is slow on the host, or allow it more time."),
    (Reason.REMOTE, "Log in by hand and see that `sh` runs there."),
    (Reason.PARTIAL, "Run again; if it stays partial, look at what `fleet show` lists as not read."),
    (Reason.SKIPPED, "Run again for the hosts that were not visited."),
    (Reason.BUG, "Report the bug with the traceback from the log file."),
)
_WINRM_ACTIONS = {
    Reason.UNREACHABLE: (
        "Check that the host is up, its address is right and WinRM listens there "
        "(`winrm enumerate winrm/config/listener`)."
    ),
    Reason.IDENTITY: "Find out why the host's certificate is not one to trust before you accept it.",
    Reason.AUTH: (
        "Check the user and the password, key table or certificate that the inventory names for this host, "
        "and that the login may use WinRM there (Administrators or Remote Management Users)."
    ),
    Reason.PRIVILEGE: "Put the login into the host's Administrators, or use `fleet privileges jea`.",
    Reason.REMOTE: "Log in by hand with `Enter-PSSession` and see that PowerShell runs there.",
}
_WINDOWS_ACTIONS = {
    Reason.AUTH: (
        "Check the user and the key or password the inventory names for this host; an administrator's key "
        "belongs into C:\\ProgramData\\ssh\\administrators_authorized_keys."
    ),
    Reason.PRIVILEGE: "Put the login into the host's Administrators.",
    Reason.REMOTE: "Log in by hand with `ssh` and see that `powershell` runs there.",
}

_FAILING = (Severity.CRITICAL, Severity.ERROR)
# timeout(1) of coreutils, its KILL, and busybox's TERM.
_TIMED_OUT = (124, 137, 143)
_NO_PROGRAM = (126, 127)
_NOT_THERE = b"No such file or directory"
_MAX_SAID = 200
_NO_END = "the answer ended before its end mark"
_RUN_AGAIN = "Run again; if it ends early again, log in by hand and see what ends a long command there."
_NO_ANSWER = (
    "Check that the host is up, its address and port are right and no firewall on the way drops the packets."
)
_SPARED = "a domain controller, which the inventory does not open to visits; nothing was read"
_OPEN_TIER0 = "Set `tier0: true` for this host to visit a domain controller."
# A path on Linux; on Windows one with its drive or the variable that holds it.
_PATH = re.compile(r"/|%\w+%\\|[A-Za-z]:\\")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
# The agent's own absence explains why nothing else of it could be read.
_AGENT_ABSENT = "agent-not-installed"
_WORST_GAP = (Reason.PRIVILEGE, Reason.DEADLINE, Reason.PARTIAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gap:
    """A required item that was not read, and why."""

    item: str
    reason: Reason
    why: str


def judge(
    visit: Visit,
    observation: Observation,
    findings: Sequence[Finding],
    pack: Pack,
    host: Host,
) -> Verdict:
    """The verdict on that host: its word is that of all troubles, its cause the worst that nothing explains.
    Findings of a partial visit keep their word, and the message says what was not read; without any, that
    decides.

    HEALTHY is said only when the visit is complete and every item that the pack requires of hosts of that
    family was read and understood, where a file that does not exist counts as read.
    """
    if any(capture.skipped == TIER0 for capture in visit.captures):
        return _not_visited(_SPARED, _OPEN_TIER0)
    active = troubles(findings)
    gaps = () if _is_agent_absent(findings) else tuple(_gaps(visit, observation, pack.items_for(host.os)))
    whole = visit.complete and visit.failure is None and not gaps
    if active and (visit.captures or visit.failure is None):
        return Verdict(
            word=word_of(active),
            observed=Observed.FULL if whole else Observed.PARTIAL,
            message="; ".join(_unseen(visit, gaps)),
            cause=active[0],
            action=first_sentence(active[0].remediation),
        )
    if whole:
        return Verdict(word=Word.HEALTHY, observed=Observed.FULL)
    return _not_observed(visit, gaps, host)


def troubles(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings that count in a verdict, causes before their symptoms: those that hold, say more than info
    and were accepted neither themselves nor by all that explains them."""
    settled = _settled(findings)
    return tuple(f for f in rank(findings) if f.is_trouble and f.rule not in settled)


def _settled(findings: Sequence[Finding]) -> set[str]:
    """The rules whose active findings an operator lives with: to accept a cause is to accept its symptoms."""
    active = [finding for finding in findings if finding.state is State.ACTIVE]
    settled = {finding.rule for finding in active if finding.accepted}
    while True:
        more = {f.rule for f in active if f.explained_by and settled.issuperset(f.explained_by)}
        if more <= settled:
            return settled
        settled |= more


def word_of(active: Sequence[Finding]) -> Word:
    """The word for active findings: FAILING, DEGRADED, or HEALTHY when none is above info."""
    if any(finding.severity in _FAILING for finding in active):
        return Word.FAILING
    if any(finding.severity is Severity.WARNING for finding in active):
        return Word.DEGRADED
    return Word.HEALTHY


def usual_action(reason: Reason, host: Host, phase: Phase | None = None) -> str:
    """What to do about a host like that one which was not observed for that reason, in that phase."""
    if reason is Reason.DEADLINE and phase is Phase.CONNECT:
        return _NO_ANSWER
    usual = dict(ACTIONS)[reason]
    if host.connection is Connection.WINRM:
        return _WINRM_ACTIONS.get(reason, usual)
    return _WINDOWS_ACTIONS.get(reason, usual) if host.os is OS.WINDOWS else usual


def first_sentence(text: str) -> str:
    """The text up to the end of its first sentence."""
    return _SENTENCE_END.split(text.strip(), maxsplit=1)[0]


def _is_agent_absent(findings: Sequence[Finding]) -> bool:
    return any(finding.rule == _AGENT_ABSENT and finding.state is State.ACTIVE for finding in findings)


def _gaps(visit: Visit, observation: Observation, items: Sequence[Item]) -> Iterator[_Gap]:
    unanswered = {each.item: each.why for each in observation.unanswered}
    known = visit.by_item()
    for place, item in enumerate(items):
        if not item.required or item.name in observation.answered:
            continue
        tried = (item, *_fallbacks(items, place))
        gaps = [_gap(each, known.get(each.name)) for each in tried]
        if gaps[0] and all(gaps):
            yield gaps[0]
        elif item.name in unanswered:
            yield _Gap(item=item.name, reason=Reason.PARTIAL, why=harmless(unanswered[item.name]))


def _fallbacks(items: Sequence[Item], place: int) -> Iterator[Item]:
    """The items that are read in the place of that one because it failed."""
    for item in items[place + 1 :]:
        if item.when != "failed":
            return
        yield item


def _gap(item: Item, capture: Capture | None) -> _Gap | None:
    """Why the item was not read; None when it was."""
    if capture is None:
        return _Gap(item=item.name, reason=Reason.PARTIAL, why="no answer")
    if capture.skipped == "hung":
        return _Gap(item=item.name, reason=Reason.DEADLINE, why=f"left out, as {item.argv[0]} had hung")
    if capture.exit_code is None:
        return _Gap(item=item.name, reason=Reason.PARTIAL, why=f"left out: {capture.skipped}")
    if capture.exit_code in _TIMED_OUT and not capture.denied:
        why = f"did not end within {item.timeout_s} s"
        return _Gap(item=item.name, reason=Reason.DEADLINE, why=why)
    reason = _failed(item, capture)
    return None if reason is None else _Gap(item=item.name, reason=reason, why=_said(capture))


def _failed(item: Item, capture: Capture) -> Reason | None:
    if capture.exit_code == 0:
        return None
    if capture.denied:
        return Reason.PRIVILEGE
    if capture.exit_code in _NO_PROGRAM:
        return Reason.PRIVILEGE if capture.privilege is Privilege.SUDO else Reason.PARTIAL
    # Of a file this is an answer; a program that says it lacks some file has not done its work.
    is_file = _PATH.match(item.argv[-1]) is not None
    return None if is_file and _NOT_THERE in capture.stderr else Reason.PARTIAL


def _said(capture: Capture) -> str:
    """The host's own last words on it, else its exit code."""
    lines = (capture.stderr or capture.data[-_MAX_SAID:]).decode("utf-8", "replace").split("\n")
    words = [text for line in lines if (text := harmless(line))]
    return words[-1][:_MAX_SAID] if words else f"exit code {capture.exit_code}"


def _unseen(visit: Visit, gaps: Sequence[_Gap]) -> Iterator[str]:
    """What kept the visit from seeing all."""
    if visit.failure is not None:
        yield f"the visit broke off: {visit.failure.message}"
    elif not visit.complete:
        yield _NO_END
    if gaps:
        yield _not_read(gaps)


def _not_read(gaps: Iterable[_Gap]) -> str:
    return "not read: " + "; ".join(dict.fromkeys(f"{gap.item} ({gap.why})" for gap in gaps))


def _not_visited(message: str, action: str) -> Verdict:
    return Verdict(
        word=Word.NOT_OBSERVED,
        observed=Observed.NONE,
        reason=Reason.SKIPPED,
        message=message,
        action=action,
    )


def _not_observed(visit: Visit, gaps: Sequence[_Gap], host: Host) -> Verdict:
    reason, phase, message, action = _why(visit, gaps)
    return Verdict(
        word=Word.NOT_OBSERVED,
        observed=Observed.PARTIAL if visit.captures else Observed.NONE,
        reason=reason,
        phase=phase,
        message=message,
        action=action or usual_action(reason, host, phase),
    )


def _why(visit: Visit, gaps: Sequence[_Gap]) -> tuple[Reason, Phase | None, str, str]:
    """Reason, phase, message, and what to do where the reason alone does not tell."""
    if visit.failure is not None:
        failure = visit.failure
        return failure.reason, failure.phase, failure.message, failure.action
    if not visit.complete and not visit.captures:
        return Reason.REMOTE, Phase.TRANSFER, _NO_END, _RUN_AGAIN
    reason = next((r for r in _WORST_GAP if any(gap.reason is r for gap in gaps)), Reason.PARTIAL)
    phase = Phase.EXEC if reason is Reason.DEADLINE else None
    if not visit.complete and reason is Reason.PARTIAL:
        return reason, phase, _NO_END, ""
    return reason, phase, _not_read(gap for gap in gaps if gap.reason is reason), ""
