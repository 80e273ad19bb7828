"""Rows say all that results say."""

from __future__ import annotations

from datetime import UTC

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.model.finding import Acceptance, Evidence, Finding, FleetFinding, Trait
from fleet.model.host import Host
from fleet.model.observation import AgentState, Service
from fleet.model.report import HostResult, Run, Verdict
from fleet.model.visit import Timing
from fleet.model.words import Become, HostKeyPolicy, Observed, Phase, Reason, Word
from fleet.storage.rows import (
    fleet_from_row,
    fleet_to_row,
    result_from_rows,
    result_to_rows,
    run_from_row,
    run_to_row,
)

INSTANTS = st.none() | st.datetimes(timezones=st.just(UTC))
SECONDS = st.floats(0, 1e9)
NAMES = st.text(min_size=1)
EVIDENCE = st.lists(st.builds(Evidence), max_size=5).map(tuple)
FINDINGS = st.builds(
    Finding,
    count=st.integers(1),
    first_seen_at=INSTANTS,
    last_seen_at=INSTANTS,
    evidence=EVIDENCE,
    explained_by=st.lists(st.text()).map(tuple),
    accepted=st.none() | st.builds(Acceptance),
    parameters=st.lists(st.tuples(st.text(), st.text())).map(tuple),
)
HOSTS = st.builds(
    Host,
    name=NAMES,
    address=NAMES,
    port=st.integers(1, 65535),
    key_file=st.none(),
    password=st.none(),
    become=st.just(Become.NONE),
    become_password=st.none(),
    known_hosts=st.none(),
    host_key_policy=st.just(HostKeyPolicy.STRICT),
)


@st.composite
def results(draw: st.DrawFn) -> HostResult:
    findings = draw(st.lists(FINDINGS, max_size=3).map(tuple))
    word = draw(st.sampled_from(Word))
    reason = draw(st.sampled_from(Reason)) if word is Word.NOT_OBSERVED else None
    verdict = Verdict(
        word=word,
        observed=draw(st.sampled_from(Observed)),
        reason=reason,
        phase=draw(st.none() | st.sampled_from(Phase)),
        message=draw(st.text()),
        cause=draw(st.none() | FINDINGS | st.sampled_from(findings or (None,))),
        action=draw(st.text()),
    )
    return HostResult(
        host=draw(HOSTS),
        verdict=verdict,
        findings=findings,
        os_name=draw(st.text()),
        agent=draw(st.builds(AgentState, last_heartbeat_at=INSTANTS)),
        services=draw(st.lists(st.builds(Service, since_at=INSTANTS), max_size=4).map(tuple)),
        started_at=draw(INSTANTS),
        duration_s=draw(st.none() | SECONDS),
        clock_offset_s=draw(st.none() | SECONDS),
        timings=draw(st.lists(st.builds(Timing, seconds=SECONDS), max_size=3).map(tuple)),
        traits=draw(st.lists(st.builds(Trait), max_size=3).map(tuple)),
    )


@given(results())
@settings(max_examples=40, deadline=None)
def test_a_result_comes_back_from_its_rows(result: HostResult) -> None:
    assert result_from_rows(result_to_rows(result)) == result


@given(st.builds(Run, started_at=st.datetimes(timezones=st.just(UTC)), ended_at=INSTANTS))
@settings(max_examples=40, deadline=None)
def test_a_run_comes_back_from_its_row(run: Run) -> None:
    assert run_from_row(run_to_row(run)) == run


@given(st.builds(FleetFinding, hosts=st.lists(NAMES, min_size=2).map(tuple)))
@settings(max_examples=40, deadline=None)
def test_what_hosts_share_comes_back_from_its_row(finding: FleetFinding) -> None:
    assert fleet_from_row(fleet_to_row(finding, "run", 3)) == finding
