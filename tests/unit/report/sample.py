"""Makes RunReports with varied and hostile hosts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from fleet.model.finding import Acceptance, Evidence, Finding, FleetFinding
from fleet.model.host import Host
from fleet.model.observation import AgentState, Service
from fleet.model.report import HostResult, Run, RunReport, Verdict
from fleet.model.visit import Timing
from fleet.model.words import Observed, Phase, Reason, Severity, State, Word

START = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HOSTILE = (
    "<script>window.pwned=1</script>",
    "</script><img src=x onerror=window.pwned=1>",
    "=cmd|' /C calc'!A0",
    "\x1b]0;owned\x07\x1b[31mred\x1b[0m",
    "left\u202eright\u200bzero\x00nul\x9bcsi\ud800",
    "two\r\nlines\u2028three",
)

CREATE = Finding(
    rule="azcm0042",
    rule_version=1,
    code="AZCM0042",
    severity=Severity.ERROR,
    state=State.ACTIVE,
    title="Failed to create resource",
    cause="Azure refused to create the machine's resource.",
    remediation="Give the principal the onboarding role on the resource group, then connect again.",
    count=3,
    first_seen_at=START - timedelta(days=2),
    last_seen_at=START - timedelta(hours=1),
    evidence=(
        Evidence(source="azcmagent.log", line=120, text="level=error AZCM0042: Failed to Create Resource"),
    ),
)
STOPPED = replace(
    CREATE,
    rule="service-himds-stopped",
    code=None,
    severity=Severity.CRITICAL,
    title="himds is not running",
    cause="Without himds the agent has no identity and sends no heartbeat.",
    remediation="Start it (`systemctl start himdsd`) and read its journal if it stops again.",
    count=1,
    evidence=(Evidence(source="services", line=0, text="himds.service loaded failed failed"),),
)
EXPLAINED = replace(CREATE, explained_by=(STOPPED.rule,))
EXPIRING = replace(
    CREATE,
    rule="agent-expires-soon",
    code=None,
    severity=Severity.WARNING,
    title="Agent expires soon",
    cause="The last heartbeat is older than 30 days.",
    remediation="Reconnect the agent before its credentials expire.",
    count=1,
    evidence=(),
)
SURVIVED = replace(CREATE, state=State.HISTORICAL, severity=Severity.INFO)
ACCEPTED = replace(
    EXPIRING, accepted=Acceptance(ticket="CHG-7", reason="It moves in May.", until=date(2026, 5, 31))
)
SHARED = FleetFinding(
    rule="shared-vm-id",
    rule_version=1,
    severity=Severity.ERROR,
    title="2 hosts have one VM id",
    cause="These hosts all have 6ba7b810.",
    remediation="Run `azcmagent disconnect` on each copy. Connect it anew.",
    value="6ba7b810",
    hosts=("db01", "db02"),
)
SUCCEEDED = replace(
    SURVIVED,
    rule="AZCM0000",
    code="AZCM0000",
    title="No error",
    cause="The command did what it was asked to do.",
    remediation="Nothing needs to be done.",
)


def make_host(name: str, address: str = "192.0.2.1", *groups: str) -> Host:
    """A host in these groups with the label site=berlin."""
    return Host(name=name, address=address, groups=groups or ("web",), labels=(("site", "berlin"),))


def make_result(name: str, word: Word, *findings: Finding, address: str = "192.0.2.1") -> HostResult:
    """An observed host whose first finding is the cause unless it is healthy."""
    cause = findings[0] if findings and word is not Word.HEALTHY else None
    verdict = Verdict(
        word=word, observed=Observed.FULL, cause=cause, action=cause.remediation if cause else ""
    )
    return HostResult(
        host=make_host(name, address, "db" if name.startswith("db") else "web"),
        verdict=verdict,
        findings=findings,
        login="key, become shell",
        os_name="Debian GNU/Linux 12 (bookworm)",
        agent=AgentState(installed=True, status="Connected", version="1.48.02881", last_heartbeat_at=START),
        services=(
            Service(name="himds", unit="himdsd.service", active_state="active"),
            Service(name="gcad", unit="gcad.service", load_state="not-found"),
        ),
        started_at=START,
        duration_s=3.25,
        clock_offset_s=-0.5,
        timings=(Timing(phase=Phase.CONNECT, seconds=0.02), Timing(phase=Phase.EXEC, seconds=3.1)),
    )


def make_unseen(
    name: str, reason: Reason, phase: Phase | None, message: str, address: str = "192.0.2.9"
) -> HostResult:
    """A host nobody saw."""
    verdict = Verdict(
        word=Word.NOT_OBSERVED, observed=Observed.NONE, reason=reason, phase=phase, message=message
    )
    return HostResult(host=make_host(name, address), verdict=verdict)


def make_report(results: Iterable[HostResult], *fleet: FleetFinding, has_ended: bool = True) -> RunReport:
    """A run of these hosts that took 12.3 s."""
    hosts = tuple(results)
    run = Run(
        id="20260304-050607-ab12",
        inventory="inventory/demo.yaml",
        started_at=START,
        selected=len(hosts),
        fleet_version="0.1.0",
        pack_digest="c0ffee" * 10,
        script_sha256="f00d" * 16,
        ended_at=START + timedelta(seconds=12.3) if has_ended else None,
        exit_code=1 if has_ended else None,
    )
    return RunReport(run=run, results=hosts, fleet=fleet)


def make_hostile(place: int, text: str) -> HostResult:
    """A failing host that says the text wherever a host can say something."""
    finding = replace(CREATE, evidence=(Evidence(source=text, line=7, text=text),), title=f"Refused {text}")
    result = make_result(f"evil{place}", Word.FAILING, finding, SURVIVED)
    agent = replace(result.agent, status=text, version=text)
    services = (Service(name="himds", unit="himds", active_state=text),)
    return replace(result, os_name=text, agent=agent, services=services)


def varied_report() -> RunReport:
    """About forty hosts of every kind, hostile ones among them."""
    results = [make_result(f"db{n:02}", Word.FAILING, CREATE, SURVIVED, EXPIRING) for n in range(1, 5)]
    results += [make_result(f"web{n}", Word.FAILING, CREATE) for n in (11, 12, 13)]
    results += [make_result(f"web{n}", Word.FAILING, STOPPED, EXPLAINED) for n in (20, 21)]
    results += [make_result(f"app{n}", Word.DEGRADED, EXPIRING) for n in (1, 2, 3)]
    results += [make_result(f"ok{n:02}", Word.HEALTHY) for n in range(1, 15)]
    results += [make_result("ok15", Word.HEALTHY, ACCEPTED, SURVIVED)]
    for n in range(3):
        address = f"198.51.100.{n}"
        message = f"{address} port 22: connection refused"
        results.append(make_unseen(f"gone{n}", Reason.UNREACHABLE, Phase.CONNECT, message, address))
    changed = "the host key is not the one on record"
    results.append(make_unseen("swapped", Reason.IDENTITY, Phase.HANDSHAKE, changed))
    results.append(make_unseen("locked", Reason.AUTH, Phase.AUTH, f"refused: {HOSTILE[0]} {HOSTILE[3]}"))
    results += [make_hostile(n, text) for n, text in enumerate(HOSTILE)]
    partial = replace(results[0].verdict, observed=Observed.PARTIAL, message="not read: log.himds (denied)")
    results[0] = replace(results[0], verdict=partial)
    hostile = replace(SHARED, title=HOSTILE[0], value=HOSTILE[2], hosts=(HOSTILE[3], HOSTILE[4]))
    return make_report(results, SHARED, hostile)
