"""What hosts of one run share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fleet.app.exit_code import run_exit_code
from fleet.app.fleet_findings import FleetRules
from fleet.model.finding import FleetFinding
from fleet.model.host import Host
from fleet.model.observation import Fact
from fleet.model.pack import FleetMatch, Pack, Rule
from fleet.model.report import HostResult, Verdict
from fleet.model.words import OS, ExitCode, Observed, Severity, Word
from fleet.packs.load import load_pack

RULE = Rule(
    id="one-proxy",
    family="fleet",
    version=4,
    title="{count} hosts behind {value}",
    severity=Severity.WARNING,
    cause="All use {value}.",
    remediation=("Look at {value}.", "Ask its owner."),
    source="s",
    link="https://example.com/",
    match=FleetMatch(fact="config.proxy.url", hosts=3, where='agent.status != "connected"'),
)
SHIPPED = FleetRules(load_pack())


def _rules(*rules: Rule) -> FleetRules:
    return FleetRules(Pack(name="p", items=(), rules=rules, digest=""))


def _host(name: str, rules: FleetRules, **facts: str) -> HostResult:
    told = (Fact(name=key.replace("__", "."), value=value) for key, value in facts.items())
    return HostResult(
        host=Host(name=name, address=name),
        verdict=Verdict(word=Word.HEALTHY, observed=Observed.FULL),
        traits=rules.traits(told),
    )


def _behind(proxy: str, count: int, rules: FleetRules, status: str = "Disconnected") -> list[HostResult]:
    return [_host(f"{proxy}{n}", rules, config__proxy__url=proxy, agent__status=status) for n in range(count)]


def _found(rules: FleetRules, results: Sequence[HostResult]) -> tuple[FleetFinding, ...]:
    return rules.findings((result.host.name, result.traits) for result in results)


def _told(found: Sequence[FleetFinding]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(finding.rule, finding.value, finding.hosts) for finding in found]


def test_so_many_hosts_with_one_value_are_a_finding_in_the_rules_words() -> None:
    rules = _rules(RULE)
    few, many = _behind("a", 2, rules), _behind("b", 3, rules)
    assert _found(rules, [*few, *many]) == (
        FleetFinding(
            rule="one-proxy",
            rule_version=4,
            severity=Severity.WARNING,
            title="3 hosts behind b",
            cause="All use b.",
            remediation="Look at b. Ask its owner.",
            value="b",
            hosts=("b0", "b1", "b2"),
        ),
    )


def test_only_hosts_that_the_rule_is_for_count() -> None:
    rules = _rules(RULE)
    well = _behind("a", 5, rules, status="Connected")
    unknown = [_host(f"x{n}", rules, config__proxy__url="a") for n in range(5)]
    without = [_host(f"y{n}", rules, agent__status="Disconnected") for n in range(5)]
    assert _found(rules, [*well, *unknown, *without, *_behind("a", 2, rules)]) == ()


def test_the_worst_come_first_then_what_most_hosts_share() -> None:
    worse = replace(RULE, id="z", severity=Severity.ERROR, match=replace(RULE.match, where=""))  # type: ignore[arg-type]
    rules = _rules(RULE, worse)
    found = _found(rules, [*_behind("a", 3, rules), *_behind("b", 4, rules)])
    assert [(rule, value) for rule, value, _ in _told(found)] == [
        ("z", "b"),
        ("z", "a"),
        ("one-proxy", "b"),
        ("one-proxy", "a"),
    ]


def test_what_a_host_says_is_bounded_and_harmless() -> None:
    rules = _rules(replace(RULE, match=FleetMatch(fact="config.proxy.url", hosts=2)))
    (trait,) = _host("a", rules, config__proxy__url="\x1b[2J\n" + "x" * 5000).traits
    assert trait.value.isprintable()
    assert len(trait.value) <= 500


@pytest.mark.parametrize("fact", ["agent__vm_id", "agent__resource_id"])
def test_hosts_with_one_id_are_told_and_others_not(fact: str) -> None:
    rule = fact.replace("agent__", "shared-").replace("_", "-")
    hosts = [
        _host(f"web{n}", SHIPPED, **{fact: value}) for n, value in enumerate(("AB-1", "cd-2", "ab-1", ""))
    ]
    found = _found(SHIPPED, hosts)
    assert _told(found) == [(rule, "ab-1", ("web0", "web2"))]
    assert "ab-1" in found[0].cause
    assert found[0].title.startswith("2 hosts ")
    assert "azcmagent disconnect --force-local-only" in found[0].remediation
    assert _found(SHIPPED, hosts[:2]) == ()


def test_one_host_key_on_ten_hosts_is_told_and_on_nine_not() -> None:
    hosts = [_host(f"web{n}", SHIPPED, host__key_sha256="SHA256:a") for n in range(10)]
    ((rule, value, names),) = _told(_found(SHIPPED, hosts))
    assert (rule, value, len(names)) == ("shared-host-key", "SHA256:a", 10)
    assert _found(SHIPPED, hosts[1:]) == ()


def test_a_rule_for_one_family_compares_none_of_the_other() -> None:
    facts = [Fact(name="host.key_sha256", value="SHA256:a")]
    assert len(SHIPPED.traits(facts, OS.LINUX)) == 1
    assert SHIPPED.traits(facts, OS.WINDOWS) == ()


@pytest.mark.parametrize(
    ("severity", "counts", "code"),
    [
        (Severity.ERROR, {Word.HEALTHY: 2}, ExitCode.UNHEALTHY),
        (Severity.WARNING, {Word.NOT_OBSERVED: 2}, ExitCode.UNHEALTHY),
        (Severity.INFO, {Word.HEALTHY: 2}, ExitCode.OK),
        (Severity.INFO, {Word.NOT_OBSERVED: 1}, ExitCode.NOT_OBSERVED),
    ],
)
def test_what_hosts_share_decides_the_exit_code_as_a_host_does(
    severity: Severity, counts: dict[Word, int], code: ExitCode
) -> None:
    rules = _rules(replace(RULE, severity=severity))
    fleet = _found(rules, _behind("a", 3, rules))
    assert run_exit_code(counts, bugs=0, stopped=None, fleet=fleet) is code
    assert run_exit_code(counts, bugs=1, stopped=None, fleet=fleet) is ExitCode.BUG


def test_nobody_shares_with_himself() -> None:
    rules = _rules(RULE)
    (found,) = _found(rules, _behind("a", 3, rules))
    with pytest.raises(ValueError, match="shared by 1 hosts"):
        replace(found, hosts=("a0",))
