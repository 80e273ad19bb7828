"""The strict loader of cases: what it takes, and that it names every mistake with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.errors import PackError
from fleet.model.case import Message, Shape
from fleet.model.observation import Fact, Level
from fleet.model.pack import Pack
from fleet.model.words import OS
from fleet.packs.cases import load_cases
from fleet.packs.load import load_pack

TEXT = """\
cases:
  # of old agents
  - text: |-
      INFO    one
      INFO    two
    log: himds
    expect: [clock-skew]
    history: [azcm0042]
  - message: Failed
    fields: {Error: "it's \\"so\\"", Key: "1"}
    level: fatal
    command: connect
    shapes: [log, gclog]
    os: windows
    log: other
    facts: {agent.version: "1.58"}
    not: [clock-skew]
  - facts: {clock.skew_s: 121, agent.installed: yes}
    not: [clock-skew]
"""


@pytest.fixture(scope="module")
def pack() -> Pack:
    return load_pack()


def mistakes(folder: Path, pack: Pack) -> list[str]:
    with pytest.raises(PackError) as caught:
        load_cases([folder], pack)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_cases_are_read_in_order(tmp_path: Path, pack: Pack) -> None:
    path = tmp_path / "clock-skew.yaml"
    path.write_text(TEXT)
    text, message, facts = load_cases([tmp_path], pack)
    assert (text.text, text.log, text.number, text.place) == (
        "INFO    one\nINFO    two",
        "himds",
        1,
        f"{path}:3",
    )
    assert (text.rule, text.expect, text.history, text.misses) == (
        "clock-skew",
        ("clock-skew",),
        ("azcm0042",),
        (),
    )
    assert message.message == Message(
        text="Failed",
        fields=(("Error", 'it\'s "so"'), ("Key", "1")),
        level=Level.FATAL,
        command="connect",
        shapes=(Shape.LOG, Shape.GCLOG),
    )
    assert (message.os, message.log, message.misses, message.number) == (OS.WINDOWS, "", ("clock-skew",), 2)
    assert facts.facts == (
        Fact(name="clock.skew_s", value="121", source="case"),
        Fact(name="agent.installed", value="yes", source="case"),
    )


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("{text: a, not: [nobody, clock-skew]}", "not names 'nobody', which is no rule"),
        ("{text: a, expect: [azcm0042]}", "says of clock-skew neither that it is found nor that it is not"),
        ("{not: [clock-skew]}", "a text or a message is needed"),
        ("{text: a, message: b, not: [clock-skew]}", "a text or a message is needed"),
        ("{text: a, level: error, not: [clock-skew]}", "'level' belongs to a message"),
        ("{text: a, log: syslog, not: [clock-skew]}", "check, other is expected, not 'syslog'"),
        ("{facts: {agent.installed: yes}, log: himds, not: [clock-skew]}", "facts are of no log"),
        ("{facts: {agent.colour: red}, not: [clock-skew]}", "there is no fact 'agent.colour'"),
        ("{facts: {clock.skew_s: nan}, not: [clock-skew]}", "clock.skew_s is told as number, not 'nan'"),
        ("{facts: {agent.installed: true}, not: [clock-skew]}", "told as yes or no, not 'true'"),
        ("{facts: {}, not: [clock-skew]}", "at least one entry"),
        ("{text: a, hosts: [{agent.vm_id: a}], not: [clock-skew]}", "a text or a message is needed"),
        ("{hosts: [{agent.vm_id: a}], log: himds, not: [clock-skew]}", "hosts are told alone"),
        ("{hosts: [{agent.colour: a}], not: [clock-skew]}", "there is no fact 'agent.colour'"),
        ("{message: a, shapes: [round], not: [clock-skew]}", "one of log, console, terminal, gclog, json"),
        ("{message: a, level: loud, not: [clock-skew]}", "one of debug"),
        ("{message: a, fields: [a], not: [clock-skew]}", "a mapping with at least one entry"),
        ("{message: a, os: beos, not: [clock-skew]}", "one of linux, windows"),
        ("{message: a, colour: red, not: [clock-skew]}", "unknown key 'colour'"),
        ("[a]", "a mapping is expected here"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, pack: Pack, case: str, says: str) -> None:
    (tmp_path / "clock-skew.yaml").write_text(f"cases:\n  - {case}\n")
    (told,) = mistakes(tmp_path, pack)
    assert told.startswith(f"{tmp_path}/clock-skew.yaml:2: ")
    assert says in told


def test_all_mistakes_are_told_at_once(tmp_path: Path, pack: Pack) -> None:
    (tmp_path / "clock-skew.yaml").write_text("cases:\n  - {colour: red}\n  - {text: ''}\n")
    (tmp_path / "nobody.yaml").write_text("cases: []\n")
    (tmp_path / "azcm0042.yml").write_text("cases: []\n")
    (tmp_path / "azcm0042.yaml").write_text("hit: []\n")
    (tmp_path / ".swp").write_text("")
    told = mistakes(tmp_path, pack)
    assert {line.split(":")[0].rpartition("/")[2] for line in told} == {
        "clock-skew.yaml",
        "nobody.yaml",
        "azcm0042.yml",
        "azcm0042.yaml",
    }
    named = f"{tmp_path}/nobody.yaml: a file of cases is named after its rule: RULE-ID.yaml; "
    assert any(line.startswith(named) and "cases/" in line for line in told)
    assert {line.split(":")[1] for line in told if "clock-skew" in line} == {"2", "3"}


def test_no_case_is_a_mistake(tmp_path: Path, pack: Pack) -> None:
    assert mistakes(tmp_path / "none", pack) == [f"{tmp_path}/none: no case is here"]
