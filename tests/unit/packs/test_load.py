"""The strict loader: what it takes, and that it names every mistake with file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet.errors import PackError
from fleet.model.observation import Level, Outcome
from fleet.model.pack import Agents, FleetMatch, LogMatch, Release, StateMatch, Variant
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
title: Gone since {agent.version}
severity: error
agents: ">=1.31 <1.56"
match:
  state: >-
    !agent.installed &&
    !("agent.version" in known && at_least(agent.version, "1.40"))
cause: >-
  It is
  gone.
remediation: [Bring it back.]
instead:
  - os: windows
    where: '"agent.leftovers" in known'
    remediation:
      - >-
        Run
        the installer.
source: Article, row 1
link: https://example.com/
"""
CODE_RULE = """\
id: azcm0042
version: 1
title: Failed
severity: warning
platforms: [linux]
generic: true
match:
  log: {code: AZCM0042, commands: [connect], run: failure, levels: [fatal], logs: [azcmagent]}
explains: [agent-gone]
cause: Because.
remediation: [Do it., Do it again.]
source: Article, row 2
link: https://example.com/
"""
MESSAGE_RULE = """\
id: blocked
version: 1
title: "{proxy} forbids"
severity: error
match:
  log:
    text: ['proxy (?P<proxy>\\S+): forbidden', 'forbidden by (?P<proxy>\\S+)']
    without: ['not forbidden']
    after: 'agent command'
    count: 3
    within_s: 3600
cause: Because.
remediation: [Do it.]
source: Article, row 3
link: https://example.com/
"""
FLEET_RULE = """\
id: twins
version: 1
title: "{count} hosts say {value}"
severity: warning
match:
  fleet: {fact: host.domain, hosts: 2, where: agent.installed}
cause: Because.
remediation: [Do it.]
source: Article, row 4
link: https://example.com/
"""


def write_pack(folder: Path, items: str = ITEMS, **rules: str) -> Path:
    (folder / "rules" / "kin").mkdir(parents=True, exist_ok=True)
    (folder / "items.yaml").write_text(items, encoding="utf-8")
    for name, text in (rules or {"agent-gone": STATE_RULE}).items():
        (folder / "rules" / "kin" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def mistakes_of(folder: Path) -> list[str]:
    with pytest.raises(PackError) as caught:
        load_pack(folder)
    return [str(mistake).removeprefix(f"{folder}/") for mistake in caught.value.mistakes]


def test_the_shipped_pack_has_the_documented_codes() -> None:
    pack = load_pack()
    assert pack.name == "azcmagent"
    assert len({rule.code for rule in pack.rules if rule.code}) >= 27
    assert len(pack.digest) == 64
    assert all(rule.cause and rule.remediation for rule in pack.rules)


def test_a_whole_pack_is_understood(tmp_path: Path) -> None:
    rules = {"agent-gone": STATE_RULE, "azcm0042": CODE_RULE, "blocked": MESSAGE_RULE, "twins": FLEET_RULE}
    pack = load_pack(write_pack(tmp_path, **rules))
    assert [item.name for item in pack.items] == ["agent.show", "agent.show-text", "found"]
    assert pack.items[0].required
    assert pack.items[1].needs_root
    assert pack.items[2].argv[-2:] == ("{}", ";")
    gone, code, blocked, twins = pack.rules
    assert (code.id, code.family, code.code, code.platforms) == ("azcm0042", "kin", "AZCM0042", (OS.LINUX,))
    assert (code.severity, code.generic, code.explains) == (Severity.WARNING, True, ("agent-gone",))
    assert code.remediation == ("Do it.", "Do it again.")
    assert code.match == LogMatch(
        code="AZCM0042",
        commands=("connect",),
        run=Outcome.FAILURE,
        levels=(Level.FATAL,),
        logs=("azcmagent",),
    )
    assert (gone.cause, gone.code, gone.platforms) == ("It is gone.", None, tuple(OS))
    assert gone.agents == Agents(first=Release(major=1, minor=31), end=Release(major=1, minor=56))
    assert isinstance(gone.match, StateMatch)
    assert gone.match.expression.startswith("!agent.installed && ")
    assert gone.instead == (
        Variant(os=OS.WINDOWS, where='"agent.leftovers" in known', remediation=("Run the installer.",)),
    )
    assert isinstance(blocked.match, LogMatch)
    assert (blocked.match.count, blocked.match.within_s) == (3, 3600)
    assert (blocked.match.without, blocked.match.after) == (("not forbidden",), "agent command")
    assert twins.match == FleetMatch(fact="host.domain", hosts=2, where="agent.installed")


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
        "rules/kin/agent-gone.yaml:23",
        "rules/kin/agent-gone.yaml:24",
        "rules/kin/agent-gone.yaml:4",
        "rules/kin/other.yaml:1",
    ]
    assert "doubled" in found[2]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("'not forbidden'", "'(?=ahead)'", "not RE2"),
        ("'not forbidden'", "'(a)?'", "matches an empty line"),
        ("'agent command'", "'[a-z]+'", "nothing to look for"),
        ("version: 1", "version: one", "whole number"),
        ("title: ", "name: ", "'title' is missing"),
        ('title: "{proxy} forbids"', "title:", "a text is expected"),
        ("{proxy}", "{colour}", "{colour} is neither a fact nor a group of every pattern"),
        ("(?P<proxy>\\S+): for", "(?P<other>\\S+): for", "{proxy} is neither"),
        ("id: blocked", "id: no spaces", "id 'no spaces'"),
        ("id: blocked", "id: Blocked", "small letters"),
        ("id: blocked", "id: unlike", "is named unlike.yaml"),
        ("  log:", "  state: agent.installed\n  log:", "exactly one of"),
        ("    text: [", "    without: [", "a code or a text is needed"),
        ("    count: 3", "    count: none", "whole number"),
        ("    count: 3", "    code: 42", "AZCM and four digits"),
        ("    count: 3", "    levels: [loud]", "one of debug"),
        ("    count: 3", "    logs: [syslog]", "one of azcmagent"),
        ("    count: 3", "    run: unknown", "success or failure"),
        ("    count: 3", "    colour: red", "unknown key 'colour'"),
        ("source:", "code: 42\nsource:", "AZCM and four digits"),
        ("source:", "platforms: [beos]\nsource:", "linux, windows"),
        ("source:", "agents: 1.31\nsource:", "like '>=1.31 <1.56'"),
        ("source:", "generic: maybe\nsource:", "true or false"),
        ("source:", "explains: [nobody]\nsource:", "explains 'nobody', which is no other rule"),
        ("source:", "explains: [blocked]\nsource:", "explains 'blocked', which is no other rule"),
        ("source:", "instead: []\nsource:", "at least one entry"),
        ("source:", "instead: [{os: windows}]\nsource:", "cause, remediation is needed"),
        ("source:", "instead: [{cause: c}]\nsource:", "os, where is needed"),
        ("source:", "instead: [{os: beos, cause: c}]\nsource:", "linux, windows"),
        ("source:", "instead: [{os: linux, title: c}]\nsource:", "unknown key 'title'"),
        ("source:", "instead: [{cause: c, where: agent.colour}]\nsource:", "undeclared reference"),
        ("https:", "ftp:", "begins with https://"),
        ("id: blocked", "[not: yaml", "not YAML"),
    ],
)
def test_a_rules_mistake(tmp_path: Path, old: str, new: str, says: str) -> None:
    found = mistakes_of(write_pack(tmp_path, blocked=MESSAGE_RULE.replace(old, new, 1)))
    assert any(says in text and text.startswith("rules/kin/blocked.yaml") for text in found), found


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


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("agent.colour", "undeclared reference to 'agent.colour'"),
        ("agent.installed == 1", "no matching overload"),
        ("agent.installed &&", "Syntax error"),
        ("agent.version", "not yes or no"),
    ],
)
def test_an_expression_that_cannot_hold_is_refused(tmp_path: Path, expression: str, says: str) -> None:
    rule = FLEET_RULE.replace(
        "fleet: {fact: host.domain, hosts: 2, where: agent.installed}", f"state: {expression}"
    )
    found = mistakes_of(write_pack(tmp_path, twins=rule.replace("{count} hosts say {value}", "Twins")))
    assert len(found) == 1
    assert found[0].startswith("rules/kin/twins.yaml:6: ")
    assert says in found[0]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("hosts: 2", "hosts: 1", "two hosts at least"),
        ("host.domain", "host.colour", "no fact 'host.colour'"),
        ("where: agent.installed", "where: agent.version", "not yes or no"),
    ],
)
def test_a_mistake_about_a_fleet(tmp_path: Path, old: str, new: str, says: str) -> None:
    (found,) = mistakes_of(write_pack(tmp_path, twins=FLEET_RULE.replace(old, new)))
    assert says in found


def test_two_rules_of_one_id_are_refused(tmp_path: Path) -> None:
    folder = write_pack(tmp_path)
    (folder / "rules" / "other").mkdir()
    (folder / "rules" / "other" / "agent-gone.yaml").write_text(STATE_RULE, encoding="utf-8")
    assert "is that of another rule, too" in mistakes_of(folder)[0]


def test_a_circle_of_causes_is_refused(tmp_path: Path) -> None:
    gone = STATE_RULE.replace("source:", "explains: [blocked]\nsource:")
    rules = {"agent-gone": gone, "azcm0042": CODE_RULE, "blocked": MESSAGE_RULE}
    # A message explains the generic code of its run, unsaid.
    (found,) = mistakes_of(write_pack(tmp_path, **rules))
    assert "agent-gone explains blocked explains azcm0042 explains agent-gone" in found
