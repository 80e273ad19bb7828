"""``fleet rules``: lists, shows, checks, tests and exports the rules, those of fleet and one's own."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fleet.packs.load import load_pack
from tests.unit.cli.conftest import Fleet

RULE = """\
id: {id}
version: 1
title: The proxy of {{host.domain}} wants a ticket
severity: warning
match:
  log:
    text: ['ticket proxy says {id}']
cause: Our proxy wants one.
remediation: [Run `ticket-for-proxy`.]
source: our wiki
link: https://wiki.example.com/proxy
"""
CASES = """\
cases:
  - text: |-
      INFO    all is well
      ERROR   ticket proxy says {id}
    expect: [{id}]
  - message: ticket proxy says nothing
    shapes: [log, console]
    not: [{id}]
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with one rule of one's own and its cases."""
    folder = tmp_path / "own"
    (folder / "cases").mkdir(parents=True)
    (folder / "ticket.yaml").write_text(RULE.format(id="ticket"))
    (folder / "cases" / "ticket.yaml").write_text(CASES.format(id="ticket"))
    return folder


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("AZCM0024", "azcm-unknown takes what has no rule; did you mean AZCM"),
        ("clok-skew", "did you mean clock-skew"),
        ("endpoint-dns", "did you mean login-endpoint-dns?"),
        ("zzzzzz", "rules are named like "),
    ],
)
def test_show_names_the_nearest_rules_only(fleet: Fleet, word: str, words: str) -> None:
    done = fleet("rules", "show", word)
    assert done.code == 2
    assert words in done.err
    assert len(done.err) < 200


@pytest.mark.parametrize(("columns", "widest"), [("40", 80), ("90", 90), ("300", 100)])
def test_show_fits_the_terminal(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, columns: str, widest: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = fleet("rules", "show", "azcm0042").out.splitlines()
    assert lines[0] == "azcm0042  Failed to create resource  (error)"
    prose = [len(line) for line in lines if not line.startswith(("source:", "link:"))]
    assert widest - 15 < max(prose) <= widest


def test_show_says_whose_other_words_they_are(fleet: Fleet) -> None:
    out = fleet("rules", "show", "service-himds-down").out
    manual, general = 'on windows where service.himds.start_mode == "manual":', "on windows:"
    assert out.index("remedy:") < out.index("systemctl") < out.index(manual) < out.index(general)
    assert "-StartupType Automatic" in out[out.index(manual) : out.index(general)]
    assert "on windows" not in fleet("rules", "show", "azcm0042").out


def test_show_says_what_a_rule_explains_and_by_what_it_is_explained(fleet: Fleet) -> None:
    out = fleet("rules", "show", "login-endpoint-dns").out
    assert "explains: agent-disconnected," in out
    assert "explained by: profile-cleanup-policy" in out


def test_list_chooses_by_family_and_severity(fleet: Fleet) -> None:
    heading, *rows = (line.split()[:3] for line in fleet("rules", "list").out.splitlines())
    assert heading == ["RULE", "FAMILY", "SEVERITY"]
    assert [rule for rule, *_ in sorted(rows)] == [rule.id for rule in load_pack().rules]
    assert rows == sorted(rows, key=lambda row: (row[1], row[0]))
    chosen = fleet("rules", "list", "--family", "agent", "--severity", "warning").out.splitlines()[1:]
    assert [line.split()[:3] for line in chosen] == [row for row in rows if row[1:] == ["agent", "warning"]]
    assert len(chosen) > 1


def test_list_names_the_families_there_are(fleet: Fleet) -> None:
    done = fleet("rules", "list", "--family", "nope")
    assert done.code == 2
    assert "there are agent, azure, codes" in done.err


@pytest.mark.parametrize("verb", ["list", "show", "check", "test", "export"])
def test_each_help_has_an_example(fleet: Fleet, verb: str) -> None:
    assert f"Example:\n    fleet rules {verb} " in fleet("rules", verb, "--help").out


def test_own_rules_are_listed_and_shown(fleet: Fleet, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = fleet("rules", "list", "--family", "own", "--rules", own)
    assert told.out.splitlines()[1].split()[:3] == ["ticket", "own", "warning"]
    monkeypatch.setenv("FLEET_RULES", f":{own}")
    assert "ticket proxy says ticket" in fleet("rules", "show", "ticket").out


def test_an_override_is_told_where_its_rule_is(fleet: Fleet, own: Path) -> None:
    (own / "overrides.yaml").write_text(
        "- {rule: clock-skew, severity: info, reason: The lab has no time server.}\n"
        "- {rule: azcm0042, disable: true, reason: We know.}\n"
    )
    assert f"severity info instead of warning by {own}/overrides.yaml:1: The lab" in " ".join(
        fleet("rules", "show", "clock-skew", "--rules", own).out.split()
    )
    assert "disabled by" in fleet("rules", "show", "AZCM0042", "--rules", own).out
    listed = [line.split()[:3] for line in fleet("rules", "list", "--rules", own).out.splitlines()]
    assert ["azcm0042", "codes", "disabled"] in listed
    assert ["clock-skew", "host", "info"] in listed


def test_check_tells_every_mistake_with_its_line(fleet: Fleet, own: Path) -> None:
    well = fleet("rules", "check", own)
    assert (well.code, well.err) == (0, "")
    assert f"{len(load_pack().rules) + 1} rules, 2 cases; no mistake\ndigest " in well.out
    (own / "ticket.yaml").write_text(RULE.format(id="ticket") + "colour: red\nexplains: [nobody]\n")
    (own / "overrides.yaml").write_text("- {rule: nobody, disable: true, reason: Who is it?}\n")
    done = fleet("rules", "check", own)
    assert done.code == 2
    assert f"{own}/ticket.yaml:12: unknown key 'colour'" in done.err
    assert f"{own}/overrides.yaml:1: there is no rule 'nobody'" in done.err


def test_check_reads_the_cases_too(fleet: Fleet, own: Path) -> None:
    (own / "cases" / "ticket.yaml").write_text("cases: [{text: a, expect: [nobody]}]\n")
    done = fleet("rules", "check", own)
    assert done.code == 2
    assert f"{own}/cases/ticket.yaml:1: expect names 'nobody', which is no rule" in done.err


@pytest.mark.parametrize("words", [[], ["--rules"]])
def test_test_runs_the_cases_of_a_folder(fleet: Fleet, own: Path, words: list[str]) -> None:
    done = fleet("rules", "test", *words, own)
    assert (done.code, done.out, done.err) == (0, "2 cases, 2 as expected\n", "")


def test_a_case_that_fails_says_what_was_expected_and_what_came(fleet: Fleet, own: Path) -> None:
    path = own / "cases" / "ticket.yaml"
    text = (
        CASES.format(id="ticket").replace("says nothing", "says ticket").replace("[log, console]", "[json]")
    )
    path.write_text(text.replace("expect: [ticket]", "expect: [ticket, clock-skew]"))
    done = fleet("rules", "test", own)
    assert done.code == 1
    assert done.out == (
        f"ticket, case 1 ({path}:2)\n"
        "  expected: active ticket, clock-skew\n"
        "  got:      active ticket; history none\n"
        "  clock-skew did not find it\n"
        f"ticket, case 2 ({path}:6, as json)\n"
        "  expected: not found ticket\n"
        "  got:      active ticket; history none\n"
        "  ticket found it, nothing is expected of it\n"
        "2 cases, 0 as expected\n"
    )


def test_a_rule_of_ones_own_needs_both_kinds_of_case(fleet: Fleet, own: Path) -> None:
    (own / "ours").mkdir()
    (own / "ours" / "other.yaml").write_text(RULE.format(id="other"))
    (own / "cases" / "ticket.yaml").write_text("cases: [{facts: {agent.installed: yes}, not: [ticket]}]\n")
    done = fleet("rules", "test", own)
    assert done.code == 1
    assert done.out.splitlines() == [
        "other: no case of its own has it under expect or not",
        "ticket: no case of its own has it under expect",
        "1 case, 1 as expected",
    ]


def test_without_a_case_nothing_is_tested(fleet: Fleet, own: Path) -> None:
    assert "name a folder of cases" in fleet("rules", "test").err
    (own / "cases" / "ticket.yaml").unlink()
    done = fleet("rules", "test", own)
    assert done.code == 2
    assert f"{own}/cases: no case is here" in done.err


def test_own_rules_judge_what_is_classified(fleet: Fleet, own: Path, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("ERROR   ticket proxy says ticket\n")
    assert "ticket" not in fleet("classify", tmp_path / "a.log").out
    assert "warning: ticket The proxy of" in fleet("classify", "--rules", own, tmp_path / "a.log").out


def test_the_digest_of_a_run_is_that_of_the_rules_in_force(fleet: Fleet, own: Path, here: Path) -> None:
    db = f"sqlite:///{here.parent}/fleet.db"
    done = fleet("collect", here, "--db", db, "--rules", own, "--format", "json")
    digest = json.loads(done.out)["run"]["pack_digest"]
    assert digest == load_pack(own=[own]).digest != load_pack().digest


def test_export_is_stable_and_whole(fleet: Fleet, own: Path) -> None:
    document = json.loads(fleet("rules", "export", "--rules", own).out)
    assert (document["schema"], document["digest"]) == ("fleet.rules/1", load_pack(own=[own]).digest)
    ids = [rule["id"] for rule in document["rules"]]
    assert sorted(ids) == [rule.id for rule in load_pack(own=[own]).rules]
    (ticket,) = (rule for rule in document["rules"] if rule["id"] == "ticket")
    assert ticket["match"]["log"]["text"] == ["ticket proxy says ticket"]
    assert (ticket["platforms"], ticket["explained_by"]) == (["linux", "windows"], [])
    page = fleet("rules", "export", "--rules", own, "--format", "markdown").out
    assert "## own\n\n### ticket\n\n**The proxy of {host.domain} wants a ticket** (warning)\n" in page


def test_what_is_accepted_is_in_the_data_and_in_no_exit_code(fleet: Fleet, own: Path, here: Path) -> None:
    collect = ["collect", here, "--db", f"sqlite:///{here.parent}/f.db", "--format", "json"]
    absent = "agent-not-installed"
    assert fleet(*collect).code == 1
    until = datetime.now(UTC).date() + timedelta(days=30)
    entry = f"- {{rule: {absent}, ticket: CHG-7, reason: None is wanted., until: {until}, hosts: [%s]}}\n"
    (own / "accept.yaml").write_text(entry % "here" + entry % "nobody")
    done = fleet(*collect, "--rules", own)
    found = _found(done.out)[absent]
    assert found["accepted"] == {"ticket": "CHG-7", "reason": "None is wanted.", "until": str(until)}
    assert done.code == 0
    (warning,) = json.loads(done.out)["run"]["warnings"]
    assert "accept.yaml:2), is about no host" in warning
    assert warning in done.err


def _found(report: str) -> dict[str, Any]:
    (host,) = json.loads(report)["hosts"]
    return {finding["rule"]: finding for finding in host["findings"]}
