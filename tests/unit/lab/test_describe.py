"""The loader of descriptions, and the demo it loads."""

from __future__ import annotations

from collections import Counter

import pytest

from fleet.lab.describe import DescriptionError, Fault, UnitState, load_demo, parse_description
from fleet.model.words import Become, Reason, Word

BARE = "name: one\nsummary: a host\ngroup: some\nexpect: {verdict: HEALTHY}\n"


def test_what_is_not_said_is_a_healthy_host() -> None:
    host = parse_description(BARE, "one.yaml")
    assert host.fault is Fault.NONE
    assert host.login.become is Become.SHELL
    assert host.unit("himdsd") is UnitState.ACTIVE
    assert host.unit("cron") is UnitState.ABSENT


def test_scalars_are_read_as_text() -> None:
    host = parse_description(BARE + "agent: {resource_name: no, version: 1.10}\n", "one.yaml")
    assert (host.agent.resource_name, host.agent.version) == ("no", "1.10")


def test_all_mistakes_are_told_at_once_with_their_lines() -> None:
    text = (
        "name: one two\nsummary: s\nsummary: s\nexpect: {verdict: fine}\nagnet: {}\n"
        "agent: {hangs: yes, delay_s: -1, unreachable: x}\nfault: [none]\nservices: {cron: active}\n"
    )
    with pytest.raises(DescriptionError) as caught:
        parse_description(text, "one.yaml")
    told = {(mistake.line, mistake.text.split(";")[0]) for mistake in caught.value.mistakes}
    assert told == {
        (1, "'group' is missing"),
        (1, "a name is letters, digits, '.' and '-'"),
        (3, "'summary' stands here twice"),
        (4, "expected one of FAILING, DEGRADED, HEALTHY, NOT_OBSERVED, not 'fine'"),
        (5, "unknown key 'agnet'"),
        (6, "expected true or false, not 'yes'"),
        (6, "expected a whole number, not '-1'"),
        (6, "expected a list"),
        (7, "expected a text"),
        (7, f"expected one of {', '.join(Fault)}, not ''"),
        (8, "unknown key 'cron'"),
    }
    assert str(caught.value).startswith("one.yaml:")


@pytest.mark.parametrize("text", ["", "- a\n", "a: [", "a"])
def test_a_text_that_is_no_mapping_is_a_mistake(text: str) -> None:
    with pytest.raises(DescriptionError, match=r"one\.yaml"):
        parse_description(text, "one.yaml")


def test_the_demo_is_a_dozen_of_which_four_are_well() -> None:
    demo = load_demo()
    assert Counter(host.expect.verdict for host in demo) == {
        Word.HEALTHY: 4,
        Word.FAILING: 5,
        Word.NOT_OBSERVED: 3,
    }
    assert {host.expect.reason for host in demo} - {None} == {Reason.IDENTITY, Reason.AUTH, Reason.DEADLINE}
    assert {host.expect.code for host in demo} - {None} == {"AZCM0041", "AZCM0042", "AZCM0062"}
