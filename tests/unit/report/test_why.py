"""Why a host is what it is, as text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet.classify.engine import Unevaluated
from fleet.model.finding import Finding
from fleet.model.words import Word
from fleet.report.text import clean
from fleet.report.why import render_why
from tests.unit.report.sample import (
    ACCEPTED,
    EXPLAINED,
    HOSTILE,
    SHARED,
    STOPPED,
    SURVIVED,
    make_hostile,
    make_report,
    make_result,
)


def _why(*findings: Finding, missing: tuple[tuple[str, str], ...] = ()) -> str:
    result = make_result("db01", Word.FAILING, *findings)
    unevaluated = [Unevaluated(rule=rule, missing=fact) for rule, fact in missing]
    return render_why(make_report([]).run, result, result.verdict, findings, unevaluated, "d" * 64, [SHARED])


def test_every_rule_that_matched_stands_under_what_became_of_it() -> None:
    told = _why(STOPPED, EXPLAINED, ACCEPTED, SURVIVED)
    parts = (
        "db01  FAILING\n  run 20260304-050607-ab12, 2026-03-04T05:06:07Z, by the rules dddddddddddd\n",
        "  then FAILING, by the rules c0ffeec0ffee\n",
        "\nFired\n  critical: service-himds-stopped himds is not running\n    Seen: once",
        "      services: himds.service loaded failed failed\n",
        "\nExplained by another rule\n  error: AZCM0042 Failed to create resource (azcm0042)\n",
        "    Explained by: service-himds-stopped\n    Seen: 3 times",
        "\nAccepted\n  warning, accepted: agent-expires-soon Agent expires soon\n    Accepted: CHG-7 until",
        "\nHistory\n  info, survived earlier: AZCM0042",
        "\nShared with other hosts\n  error: shared-vm-id 2 hosts have one VM id\n    Value: 6ba7b810\n",
        "    Hosts: db[01-02]\n",
    )
    places = [told.index(part) for part in parts]
    assert places == sorted(places)


def test_rules_that_nobody_could_tell_stand_by_the_fact_that_was_missing() -> None:
    missing = (("b", "agent.status"), ("z", "host.timezone"), ("a", "agent.status"))
    told = _why(missing=missing)
    assert "\nFired\n  no rule\n" in told
    several = (
        "2 rules: nobody read agent.status (connected, disconnected, expired, as the agent says it): a, b"
    )
    one = "1 rule: nobody read host.timezone (the host's time zone): z"
    assert told.endswith(f"\nNot evaluated\n  {several}\n  {one}\n")


def test_what_was_said_then_is_named_only_where_it_was_another_or_by_others() -> None:
    run = make_report([]).run
    result = make_result("db09", Word.HEALTHY)
    told = render_why(run, result, result.verdict, (), (), run.pack_digest, [SHARED])
    assert "then" not in told
    assert "Shared" not in told
    now = make_result("db09", Word.FAILING, STOPPED).verdict
    told = render_why(run, result, now, (STOPPED,), (), run.pack_digest)
    assert told.startswith("db09  FAILING\n")
    assert "  then HEALTHY, by the rules c0ffeec0ffee\n" in told


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_host_says_is_safe(text: str) -> None:
    result = make_hostile(1, text)
    share = replace(SHARED, value=text, hosts=(text, result.host.name))
    told = render_why(make_report([]).run, result, result.verdict, result.findings, (), "d", [share])
    assert all(line == clean(line) for line in told.splitlines())
