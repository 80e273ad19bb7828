"""Operators' own rules, overrides and accepted findings: what they do, and which mistakes are told."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from fleet.errors import PackError
from fleet.model.pack import Pack
from fleet.model.words import Severity
from fleet.packs.load import load_pack

TODAY = date(2026, 3, 1)
ITEMS = "linux:\n  - {name: agent.show, argv: [azcmagent, show, -j], required: true}\n"
RULE = """\
id: {id}
version: 1
title: {title}
severity: warning
match: {{state: agent.installed}}
cause: Because.
remediation: [Do it.]
source: Article
link: https://example.com/
"""


def write(folder: Path, **texts: str) -> Path:
    """Files by their names without ``.yaml``; a rule's text is made of its title."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        whole = text if "\n" in text else RULE.format(id=name, title=text)
        (folder / f"{name}.yaml").write_text(whole, encoding="utf-8")
    return folder


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    folder = tmp_path / "shipped"
    write(folder, items=ITEMS)
    write(folder / "rules" / "host", first="First", second="Second", third="Third")
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "own"


def load(shipped: Path, *own: Path) -> Pack:
    return load_pack(shipped, own, TODAY)


def mistakes(shipped: Path, *own: Path) -> list[str]:
    with pytest.raises(PackError) as caught:
        load(shipped, *own)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_own_rules_join_the_others(shipped: Path, own: Path) -> None:
    write(own, mine="Mine")
    write(own / "deep" / "proxies", theirs="Theirs")
    write(own / "cases", mine="cases: []\n")
    write(own / ".git", nothing="nothing: at all\n")
    pack = load(shipped, own)
    assert {rule.id: rule.family for rule in pack.rules} == {
        "first": "host",
        "mine": "own",
        "second": "host",
        "theirs": "proxies",
        "third": "host",
    }
    assert pack.digest != load(shipped).digest


def test_a_rule_is_disabled_re_ranked_and_replaced_with_a_reason(shipped: Path, own: Path) -> None:
    write(
        own,
        third="Ours",
        overrides=(
            "- {rule: first, disable: true, reason: Known.}\n"
            "- {rule: second, severity: info, reason: Harmless here.}\n"
            "- {rule: third, replace: true, reason: We know better.}\n"
        ),
    )
    pack = load(shipped, own)
    assert [(rule.id, rule.title, rule.severity) for rule in pack.rules] == [
        ("second", "Second", Severity.INFO),
        ("third", "Ours", Severity.WARNING),
    ]
    told = [(o.rule.title, o.is_disabled, o.severity, o.is_replaced, o.reason) for o in pack.overrides]
    assert told == [
        ("First", True, None, False, "Known."),
        ("Second", False, Severity.INFO, False, "Harmless here."),
        ("Third", False, None, True, "We know better."),
    ]
    assert pack.overrides[1].place == f"{own}/overrides.yaml:2"


def test_each_override_changes_the_digest(shipped: Path, tmp_path: Path) -> None:
    deeds = ("disable: true", "severity: info", "severity: error")
    folders = [
        write(tmp_path / str(number), overrides=f"- {{rule: first, {deed}, reason: r}}\n")
        for number, deed in enumerate(deeds)
    ]
    digests = {load(shipped).digest, *(load(shipped, folder).digest for folder in folders)}
    assert len(digests) == 4


def test_a_later_folder_changes_what_an_earlier_one_brought(shipped: Path, tmp_path: Path) -> None:
    first = write(tmp_path / "a", mine="Mine")
    second = write(tmp_path / "b", mine="Yours", overrides="- {rule: mine, replace: true, reason: r}\n")
    (mine,) = (rule for rule in load(shipped, first, second).rules if rule.id == "mine")
    assert mine.title == "Yours"
    assert "no rule 'mine' to change" in mistakes(shipped, second, first)[0]


def test_a_disabled_rule_may_still_be_a_symptom(shipped: Path, own: Path) -> None:
    text = RULE.format(id="mine", title="Mine") + "explains: [first]\n"
    write(own, mine=text, overrides="- {rule: first, disable: true, reason: r}\n")
    assert len(load(shipped, own).rules) == 3


def test_every_mistake_is_told_at_once_with_its_line(shipped: Path, own: Path) -> None:
    write(
        own,
        first="Mine",
        wrong=RULE.format(id="wrong", title="W").replace("agent.installed", "agent.colour"),
        vain=RULE.format(id="vain", title="V") + "explains: [wrong, nothing]\n",
        overrides=(
            "- {rule: nobody, disable: true, reason: r}\n"
            "- {rule: second, disable: true}\n"
            "- {rule: second, reason: r}\n"
            "- {rule: second, disable: false, reason: r}\n"
            "- {rule: second, severity: bad, reason: r}\n"
            "- {rule: second, severity: warning, reason: r}\n"
            "- {rule: third, replace: true, reason: r}\n"
            "- {rule: third, disable: true, reason: r, colour: red}\n"
        ),
    )
    (own / "late.yml").write_text("", encoding="utf-8")
    told = mistakes(shipped, own)
    path = f"{own}/overrides.yaml"
    for line, text in (
        (f"{own}/first.yaml:1", "id 'first' is that of another rule; overrides.yaml may say"),
        (f"{own}/wrong.yaml:5", "agent.colour"),
        (f"{own}/vain.yaml:10", "explains 'nothing', which is no other rule"),
        (f"{own}/late.yml", "ends with .yaml"),
        (f"{path}:1", "there is no rule 'nobody' to change"),
        (f"{path}:2", "key 'reason' is missing"),
        (f"{path}:3", "exactly one of disable, replace, severity"),
        (f"{path}:4", "disable is true or not there"),
        (f"{path}:5", "critical, error, warning, info"),
        (f"{path}:6", "second is of severity warning without this"),
        (f"{path}:7", f"no rule third is in {own} to replace it"),
        (f"{path}:8", "unknown key 'colour'"),
    ):
        assert any(each.startswith(f"{line}:") and text in each for each in told), (line, told)
    assert len(told) == 12


def test_one_rule_is_changed_once(shipped: Path, own: Path) -> None:
    write(own, overrides="- {rule: first, severity: info, reason: r}\n" * 2)
    assert mistakes(shipped, own) == [f"{own}/overrides.yaml:2: first is changed by an entry above already"]


def test_a_folder_with_nothing_in_it_is_a_mistake(shipped: Path, own: Path) -> None:
    assert mistakes(shipped, own) == [f"{own}: there is no such folder"]
    own.mkdir()
    assert "no rule is here" in mistakes(shipped, own)[0]


def test_the_same_id_twice_in_a_folder_is_a_mistake(shipped: Path, own: Path) -> None:
    write(own, mine="Mine")
    write(own / "ours", mine="Mine")
    assert any(
        f"{own}/ours/mine.yaml" in told and "mine.yaml, too" in told for told in mistakes(shipped, own)
    )


def test_a_contradiction_has_its_line(shipped: Path, own: Path) -> None:
    write(own, mine=RULE.format(id="mine", title="Mine") + "explains: [nobody]\n")
    assert mistakes(shipped, own) == [f"{own}/mine.yaml:10: explains 'nobody', which is no other rule"]


def test_findings_are_accepted_until_a_day(shipped: Path, own: Path) -> None:
    write(
        own,
        accept=(
            "- {rule: first, hosts: [web01, 'db*'], ticket: CHG-1, reason: Old  proxy, until: 2026-08-28}\n"
            "- {rule: second, labels: {site: lab}, ticket: CHG-2, reason: r, until: 2025-09-02}\n"
        ),
    )
    pack = load(shipped, own)
    first, second = pack.accepts
    assert (first.rule, first.hosts, first.ticket, first.reason) == (
        "first",
        ("web01", "db*"),
        "CHG-1",
        "Old proxy",
    )
    assert (first.until, first.place) == (date(2026, 8, 28), f"{own}/accept.yaml:1")
    assert (second.labels, second.until) == ((("site", "lab"),), date(2025, 9, 2))
    assert pack.digest == load(shipped).digest


ACCEPT = "- {rule: first, hosts: [web01], ticket: CHG-1, reason: r, until: 2026-03-31}\n"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("rule: first", "rule: nobody", "there is no rule 'nobody'"),
        ("rule: first", "rule: second", "there is no rule 'second', or it is disabled"),
        ("rule: first", "rule: twins", "twins is found on no single host"),
        (", ticket: CHG-1", "", "key 'ticket' is missing"),
        (", reason: r", "", "key 'reason' is missing"),
        (", until: 2026-03-31", "", "key 'until' is missing"),
        ("2026-03-31", "tomorrow", "a day like 2030-12-31, not 'tomorrow'"),
        ("2026-03-31", "2026-02-30", "a day like"),
        ("2026-03-31", "20260331", "a day like"),
        ("2026-03-31", "2026-08-29", "at most 180 days ahead, 2026-08-28"),
        ("2026-03-31", "2025-09-01", "expired more than 180 days ago"),
        ("hosts: [web01], ", "", "hosts or labels is needed"),
        ("hosts: [web01]", "hosts: [web01], labels: {a: b}", "hosts or labels is needed"),
        ("hosts: [web01]", "hosts: []", "at least one entry"),
        ("hosts: [web01]", "labels: {}", "at least one entry"),
        ("hosts: [web01]", "labels: {a: b, a: c}", "key 'a' is doubled"),
        ("reason: r", "reason: r, colour: red", "unknown key 'colour'"),
    ],
)
def test_a_mistake_in_an_accepted_finding(shipped: Path, own: Path, old: str, new: str, says: str) -> None:
    twins = RULE.format(id="twins", title="T").replace(
        "{state: agent.installed}", "{fleet: {fact: host.domain, hosts: 2}}"
    )
    write(
        own,
        twins=twins,
        accept="# why\n" + ACCEPT.replace(old, new),
        overrides="- {rule: second, disable: true, reason: r}\n",
    )
    (told,) = mistakes(shipped, own)
    assert told.startswith(f"{own}/accept.yaml:2: ")
    assert says in told


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("", 1),
        ("platforms: [windows]\n", 1),
        ('agents: "<1.31"\n', 0),
        ("platforms: [linux]\n", 0),
    ],
)
def test_two_rules_for_one_code_need_conditions_that_differ(
    shipped: Path, own: Path, more: str, told: int
) -> None:
    by_code = RULE.replace("{{state: agent.installed}}", "{{log: {{code: AZCM0042}}}}")
    first = by_code.format(id="azcm", title="A") + "platforms: [windows]\n" * ("linux" in more)
    write(own, azcm=first, mine=by_code.format(id="mine", title="B") + more)
    found = mistakes(shipped, own) if told else load(shipped, own) and []
    text = "azcm is for AZCM0042 under the same conditions: only one can fire"
    assert found == [f"{own}/mine.yaml:5: {text}"] * told
