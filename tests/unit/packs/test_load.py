"""The strict loader: what it takes, and that it names every mistake with file and line."""

from __future__ import annotations

import json
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from fleet.errors import PackError
from fleet.model.pack import Condition, Variant
from fleet.model.words import OS, Severity
from fleet.packs.load import load_pack

ITEMS = """\
linux:
  - {name: agent.show, argv: [azcmagent, show, -j], required: true, timeout_s: 20}
  - {name: agent.show-text, argv: [azcmagent, show], when: failed, needs_root: true}
  - {name: found, argv: [find, /var, -exec, cat, "{}", ";"], newest: true, max_bytes: 10}
"""
STATE_RULE = """\
id: agent-gone
version: 2
title: Gone
severity: error
conditions:
  - {fact: agent.installed, is: no}
unless:
  - {fact: agent.version, at_least: 1.40}
cause: >-
  It is
  gone.
remediation: Bring it back.
instead:
  - os: windows
    where: [{fact: agent.leftovers, exists: "yes"}]
    remediation: >-
      Run
      the installer.
source: https://example.com/
"""
CODE_RULE = """\
id: AZCM0042
version: 1
title: Failed
severity: warning
os: linux
outcome: AZCM0042
symptom_of: [agent-gone]
cause: Because.
remediation: Do it.
source: https://example.com/
"""
MESSAGE_RULE = """\
id: blocked
version: 1
title: Blocked
severity: error
messages:
  - anchors: [Forbidden]
    pattern: 'host: forbidden'
cause: Because.
remediation: Do it.
source: https://example.com/
"""


def write_pack(folder: Path, items: str = ITEMS, **rules: str) -> Path:
    (folder / "rules").mkdir(exist_ok=True)
    (folder / "items.yaml").write_text(items, encoding="utf-8")
    for name, text in (rules or {"agent-gone": STATE_RULE}).items():
        (folder / "rules" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def mistakes_of(folder: Path) -> list[str]:
    with pytest.raises(PackError) as caught:
        load_pack(folder)
    return [str(mistake).removeprefix(f"{folder}/") for mistake in caught.value.mistakes]


def test_the_shipped_pack_has_the_documented_codes_and_messages() -> None:
    pack = load_pack()
    codes = {rule.code for rule in pack.rules if rule.outcome and rule.code}
    assert pack.name == "azcmagent"
    assert len(codes) == 27
    assert len([rule for rule in pack.rules if rule.messages]) == 9
    assert len(pack.digest) == 64
    assert all(rule.cause and rule.remediation for rule in pack.rules)


def test_a_whole_pack_is_understood(tmp_path: Path) -> None:
    pack = load_pack(
        write_pack(tmp_path, **{"agent-gone": STATE_RULE, "azcm0042": CODE_RULE, "blocked": MESSAGE_RULE})
    )
    assert [item.name for item in pack.items] == ["agent.show", "agent.show-text", "found"]
    assert pack.items[0].required
    assert pack.items[1].needs_root
    assert pack.items[2].argv[-2:] == ("{}", ";")
    code, gone, blocked = pack.rules
    assert (code.id, code.code, code.os, code.severity) == (
        "AZCM0042",
        "AZCM0042",
        OS.LINUX,
        Severity.WARNING,
    )
    assert code.symptom_of == ("agent-gone",)
    assert gone.cause == "It is gone."
    assert gone.conditions == (Condition(field="agent.installed", op="is", value="no"),)
    assert gone.unless == (Condition(field="agent.version", op="at_least", value="1.40"),)
    assert gone.instead == (
        Variant(
            os=OS.WINDOWS,
            where=(Condition(field="agent.leftovers", op="exists", value="yes"),),
            remediation="Run the installer.",
        ),
    )
    assert blocked.messages[0].anchors == ("Forbidden",)
    assert blocked.code is None


def test_the_digest_is_over_content_not_layout(tmp_path: Path) -> None:
    before = load_pack(write_pack(tmp_path)).digest
    assert load_pack(write_pack(tmp_path, "# a comment\n" + ITEMS)).digest == before
    changed = STATE_RULE.replace("gone.\nrem", "away.\nrem")
    assert load_pack(write_pack(tmp_path, **{"agent-gone": changed})).digest != before
    assert (
        load_pack(write_pack(tmp_path, ITEMS.replace("20", "21"), **{"agent-gone": STATE_RULE})).digest
        != before
    )


def test_all_mistakes_of_all_files_come_at_once(tmp_path: Path) -> None:
    items = ITEMS.replace("-j]", '"a b"]')
    broken = STATE_RULE.replace("severity: error", "severity: bad") + "colour: red\ntitle: Again\n"
    found = mistakes_of(write_pack(tmp_path, items, **{"agent-gone": broken, "other": MESSAGE_RULE}))
    assert [text.split(": ")[0] for text in found] == [
        "items.yaml:2",
        "rules/agent-gone.yaml:20",
        "rules/agent-gone.yaml:21",
        "rules/agent-gone.yaml:4",
        "rules/other.yaml:1",
    ]
    assert "doubled" in found[2]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[Forbidden]", "[abcd]", "shorter than 5"),
        ("[Forbidden]", "['say \"x\"']", "holds a quote"),
        ("[Forbidden]", r"['a\path']", "holds a quote"),
        ("[Forbidden]", "[]", "at least one entry"),
        ("'host: forbidden'", "'(?=ahead)'", "not RE2"),
        ("'host: forbidden'", "'(a)?'", "matches an empty line"),
        ("version: 1", "version: one", "whole number"),
        ("title: Blocked", "title:", "a text is expected"),
        ("title: Blocked\n", "", "'title' is missing"),
        ("id: blocked", "id: no spaces", "id 'no spaces'"),
        ("id: blocked", "id: unlike", "is named unlike.yaml"),
        ("source:", "outcome: AZCM0001\nsource:", "exactly one of"),
        ("source:", "code: 42\nsource:", "AZCM and four digits"),
        ("source:", "os: beos\nsource:", "linux, windows"),
        ("source:", "symptom_of: [nobody]\nsource:", "'nobody' is no other rule"),
        ("source:", "unless: [{fact: a, above: many}]\nsource:", "nothing above can compare"),
        ("source:", "unless: [{fact: a, at_least: x}]\nsource:", "nothing at_least can compare"),
        ("source:", "unless: [{fact: a, exists: 'no'}]\nsource:", "nothing exists can compare"),
        ("source:", "unless: [{fact: a, is: b, above: 1}]\nsource:", "one test is needed"),
        ("source:", "unless: [{fact: a, like: b}]\nsource:", "unknown key 'like'"),
        ("source:", "instead: []\nsource:", "at least one entry"),
        ("source:", "instead: [{os: windows}]\nsource:", "cause, remediation is needed"),
        ("source:", "instead: [{cause: c}]\nsource:", "os, where is needed"),
        ("source:", "instead: [{os: beos, cause: c}]\nsource:", "linux, windows"),
        ("source:", "instead: [{os: linux, title: c}]\nsource:", "unknown key 'title'"),
        (
            "source:",
            "instead: [{cause: c, where: [{fact: a, above: b}]}]\nsource:",
            "nothing above can compare",
        ),
        ("id: blocked", "[not: yaml", "not YAML"),
    ],
)
def test_a_rules_mistake(tmp_path: Path, old: str, new: str, says: str) -> None:
    found = mistakes_of(write_pack(tmp_path, blocked=MESSAGE_RULE.replace(old, new, 1)))
    assert any(says in text and text.startswith("rules/blocked.yaml") for text in found), found


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("when: failed", "when: never", "when is one of"),
        ("required: true", "required: maybe", "true or false"),
        ("required: true, ", "", "no item is required"),
        ("timeout_s: 20", "timeout_s: 0", "whole number"),
        ("[azcmagent, show]", "['a:b']", "every login shell"),
        ("[azcmagent, show]", "['a+b']", "every login shell"),
        ("[azcmagent, show]", "['$HOME']", "every login shell"),
        ("[azcmagent, show]", "['x{}']", "every login shell"),
        ("name: found", "name: Found It", "item name"),
        ("linux:", "things:", "unknown key 'things'"),
    ],
)
def test_an_items_mistake(tmp_path: Path, old: str, new: str, says: str) -> None:
    found = mistakes_of(write_pack(tmp_path, ITEMS.replace(old, new, 1)))
    assert any(says in text and text.startswith("items.yaml") for text in found), found


@pytest.mark.parametrize(
    "word",
    [
        "a@b",
        "@",
        "=f",
        "=e",
        "a:b",
        "a b",
        "a\tb",
        "a\nb",
        "$x",
        "`x`",
        "'x'",
        '"x"',
        "a\\b",
        "a*",
        "a?",
        "[a]",
        "~",
        "!x",
        "a|b",
        "a&b",
        "a;b",
        "(a)",
        "<a",
        ">a",
        "#a",
        "^a",
        "{a,b}",
        "x{}",
        "é",
        "a+b",
    ],
)
def test_a_word_some_shell_would_change_is_refused(tmp_path: Path, word: str) -> None:
    items = ITEMS.replace("[azcmagent, show]", f"[azcmagent, {json.dumps(word)}]")
    (said,) = mistakes_of(write_pack(tmp_path, items))
    assert said.startswith("items.yaml:3: ")
    assert "every login shell" in said


@pytest.mark.parametrize(
    "word", ["{}", ";", "+%s/%z/%Z", "--property=Id,Result", "TZ=UTC", "a=f", "=file", "-k"]
)
def test_a_word_every_shell_leaves_alone_is_taken(tmp_path: Path, word: str) -> None:
    items = ITEMS.replace("[azcmagent, show]", f"[azcmagent, {json.dumps(word)}]")
    assert load_pack(write_pack(tmp_path, items)).items[1].argv == ("azcmagent", word)


def test_a_fallback_needs_something_before_it(tmp_path: Path) -> None:
    items = "linux: [{name: a, argv: [a], when: failed, required: true}]"
    assert "is first" in mistakes_of(write_pack(tmp_path, items))[0]


def test_an_empty_folder_is_no_pack(tmp_path: Path) -> None:
    found = mistakes_of(tmp_path)
    assert "items.yaml: cannot be read" in found[0]
    assert "no rule is here" in found[1]


def test_strange_files_among_the_rules_are_refused(tmp_path: Path) -> None:
    folder = write_pack(tmp_path)
    (folder / "rules" / "agent-lost.yml").write_text(STATE_RULE, encoding="utf-8")
    assert "only .yaml files" in mistakes_of(folder)[0]


def test_no_shipped_rule_explains_itself_in_a_circle() -> None:
    graph = {rule.id: set(rule.symptom_of) for rule in load_pack().rules}
    assert set(TopologicalSorter(graph).static_order()) >= graph.keys()
