"""What operators live with: which findings are marked, and what is told of the entries."""

from __future__ import annotations

from datetime import date

import pytest

from fleet.app.accepting import Accepting
from fleet.model.finding import Acceptance, Finding
from fleet.model.host import Host
from fleet.model.pack import Accept
from fleet.model.report import HostResult, Verdict
from fleet.model.words import Observed, Reason, Severity, State, Word

DAY = date(2026, 3, 1)


def accept(
    rule: str = "first", until: date = DAY, ticket: str = "CHG-1", *hosts: str, **labels: str
) -> Accept:
    return Accept(
        rule=rule,
        ticket=ticket,
        reason="Old proxy",
        until=until,
        place=f"own/accept.yaml:{ticket[-1]}",
        hosts=() if labels else hosts or ("web01",),
        labels=tuple(labels.items()),
    )


def host(name: str = "web01", **labels: str) -> Host:
    return Host(name=name, address="198.51.100.4", labels=tuple(labels.items()))


def finding(rule: str = "first", state: State = State.ACTIVE) -> Finding:
    return Finding(
        rule=rule,
        rule_version=1,
        code=None,
        severity=Severity.ERROR,
        state=state,
        title="t",
        cause="c",
        remediation="r",
        count=1,
    )


def result(host: Host, *findings: Finding, reason: Reason | None = None) -> HostResult:
    word = Word.NOT_OBSERVED if reason else Word.FAILING
    verdict = Verdict(word=word, observed=Observed.FULL, reason=reason)
    return HostResult(host=host, verdict=verdict, findings=findings)


def test_a_finding_is_accepted_up_to_and_with_its_day() -> None:
    accepting = Accepting([accept()])
    (marked,) = accepting.mark(host(), [finding()], DAY)
    assert marked.accepted == Acceptance(ticket="CHG-1", reason="Old proxy", until=DAY)
    (late,) = accepting.mark(host(), [finding()], date(2026, 3, 2))
    assert late.accepted is None


@pytest.mark.parametrize(
    ("entry", "name", "labels", "is_accepted"),
    [
        (accept("first", DAY, "CHG-1", "WEB01"), "web01", {}, True),
        (accept("first", DAY, "CHG-1", "db01", "Web*"), "web01.Example.com", {}, True),
        (accept("first", DAY, "CHG-1", "web[01-40]"), "web17", {}, True),
        (accept("first", DAY, "CHG-1", "web[01-40]"), "web41", {}, False),
        (accept("first", DAY, "CHG-1", "web[!1]"), "web2", {}, True),
        (accept("first", DAY, "CHG-1", "web"), "web01", {}, False),
        (accept(), "WEB01", {}, True),
        (accept("second"), "web01", {}, False),
        (accept(site="lab"), "web01", {"site": "lab", "tier": "2"}, True),
        (accept(site="lab", tier="1"), "web01", {"site": "lab", "tier": "2"}, False),
        (accept(site="lab"), "web01", {}, False),
    ],
)
def test_hosts_are_meant_by_name_glob_or_all_labels(
    entry: Accept, name: str, labels: dict[str, str], is_accepted: bool
) -> None:
    (marked,) = Accepting([entry]).mark(host(name, **labels), [finding()], DAY)
    assert (marked.accepted is not None) is is_accepted


def test_of_two_entries_the_one_that_lasts_longest_holds() -> None:
    longer = accept("first", date(2026, 4, 1), "CHG-2")
    (marked,) = Accepting([accept(), longer]).mark(host(), [finding()], DAY)
    assert marked.accepted is not None
    assert marked.accepted.ticket == "CHG-2"


def test_what_is_history_is_left_as_it_is() -> None:
    (marked,) = Accepting([accept()]).mark(host(), [finding(state=State.HISTORICAL)], DAY)
    assert marked.accepted is None


def test_an_entry_that_is_over_or_about_no_host_is_told() -> None:
    entries = [accept(), accept("first", DAY, "CHG-2", "nobody"), accept("first", date(2026, 2, 28), "CHG-3")]
    told = list(Accepting(entries).idle([host()], DAY))
    assert told == [
        "first, accepted until 2026-03-01 by CHG-2 (own/accept.yaml:2), is about no host of the inventory",
        "first, accepted until 2026-02-28 by CHG-3 (own/accept.yaml:3), is over: mend it, or renew the entry",
    ]


def test_an_entry_that_nothing_matched_is_told_where_somebody_looked() -> None:
    accepting = Accepting([accept()])
    (told,) = accepting.unmatched([result(host(), finding("second"), finding(state=State.HISTORICAL))], DAY)
    assert told.endswith("(own/accept.yaml:1), was found on none of its hosts: take the entry out")
    assert list(accepting.unmatched([result(host(), finding())], DAY)) == []
    # Nobody looked, it is about other hosts, or it was told to be over already.
    assert list(accepting.unmatched([result(host(), reason=Reason.UNREACHABLE)], DAY)) == []
    assert list(accepting.unmatched([result(host("db01"))], DAY)) == []
    assert list(accepting.unmatched([result(host())], date(2026, 3, 2))) == []
