"""Inventories: what they resolve to, and which mistakes are told where."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.errors import InventoryError
from fleet.inventory.load import load_inventory
from fleet.inventory.variables import VARIABLE_NAMES
from fleet.model.host import SSH_AGENT, Host, SecretRef
from fleet.model.words import Become, Connection, HostKeyPolicy, Scheme, WinrmAuth

HOME = Path("/home/ops")
EXAMPLES = Path(__file__).parents[3] / "inventory"
LOGIN = "defaults: {user: ops, key_file: id}\n"

Load = Callable[[str], dict[str, Host]]
Refuse = Callable[[str], list[tuple[int, str]]]


WHOLE = """\
defaults: {connection: ssh, user: ops, become: shell, key_file: ~/.ssh/id_ed25519,
           known_hosts: ~/.ssh/known_hosts}
groups:
  web:
    vars: {labels: {site: berlin, owner: shop}}
    hosts: ["web[01:40].example.com"]
    groups: {web-dmz: {vars: {port: 2222}, hosts: [dmz1, dmz2]}}
hosts:
  dmz1: {address: 203.0.113.9}
  db01: {address: 198.51.100.4, password: env:DB_PASSWORD, become_password: file:db01.pw}
"""


def test_the_format(load: Load, tmp_path: Path) -> None:
    hosts = load(WHOLE)
    assert list(hosts) == [*(f"web{n:02}.example.com" for n in range(1, 41)), "dmz1", "dmz2", "db01"]
    assert hosts["dmz1"] == Host(
        name="dmz1",
        address="203.0.113.9",
        port=2222,
        connection=Connection.SSH,
        user="ops",
        key_file="/home/ops/.ssh/id_ed25519",
        become=Become.SHELL,
        known_hosts="/home/ops/.ssh/known_hosts",
        host_key_policy=HostKeyPolicy.STRICT,
        groups=("web", "web-dmz"),
        labels=(("owner", "shop"), ("site", "berlin")),
    )
    assert hosts["db01"].password == SecretRef(scheme="env", target="DB_PASSWORD")
    assert hosts["db01"].become_password == SecretRef(scheme="file", target=str(tmp_path / "db01.pw"))
    assert hosts["db01"].groups == ()


def test_precedence_and_labels_by_key(load: Load) -> None:
    hosts = load(
        "defaults: {user: d, key_file: id, port: 1, labels: {a: d, b: d, c: d, e: d}}\n"
        "groups:\n"
        "  out:\n"
        "    vars: {port: 2, user: out, labels: {b: out, c: out}}\n"
        "    hosts: [h, o]\n"
        "    groups:\n"
        "      in: {vars: {port: 3, labels: {c: in}}, hosts: {h: {port: 4}, i: }}\n"
        "hosts: {h: {labels: {e: host}}}\n"
    )
    assert [hosts[name].port for name in "hoi"] == [4, 2, 3]
    assert {host.user for host in hosts.values()} == {"out"}
    assert hosts["h"].labels == (("a", "d"), ("b", "out"), ("c", "in"), ("e", "host"))
    assert hosts["h"].groups == ("out", "in")


def test_siblings_that_contradict_are_told_with_both_lines(refuse: Refuse, load: Load) -> None:
    text = LOGIN + (
        "groups:\n"
        "  a: {vars: {port: 1, labels: {x: y}}, hosts: ['h[1-3]']}\n"
        "  b:\n"
        "    vars: {port: 2, labels: {x: y}}\n"
        "    hosts: ['h[1-3]']\n"
    )
    (mistake,) = refuse(text)
    assert mistake == (
        5,
        "port of h[1-3]: group 'a' (line 3) contradicts group 'b' (line 5); set it for the host to decide",
    )
    hosts = load(text + "hosts: {'h[1-3]': {port: 7}}\n")
    assert {host.port for host in hosts.values()} == {7}


def test_a_label_may_contradict_too(refuse: Refuse) -> None:
    groups = "groups:\n  a: {vars: {labels: {x: 1}}, hosts: [h]}\n  b: {vars: {labels: {x: 2}}, hosts: [h]}\n"
    ((line, text),) = refuse(LOGIN + groups)
    assert line == 4
    assert text.startswith("labels.x of h: group 'a' (line 3) contradicts")


def test_two_entries_of_one_host_must_agree(refuse: Refuse) -> None:
    text = LOGIN + "hosts:\n  h[1-3]: {port: 1}\n  h2: {port: 2}\n"
    assert refuse(text) == [(4, "port of h2 contradicts line 3")]


def test_scalars_are_texts(load: Load) -> None:
    hosts = load(
        "defaults: {user: no, key_file: 0123, labels: {t: 12:30, n: null}}\nhosts: [yes, 0x10, '1']\n"
    )
    assert list(hosts) == ["yes", "0x10", "1"]
    assert hosts["yes"].user == "no"
    assert hosts["yes"].labels == (("n", "null"), ("t", "12:30"))


def test_paths_agents_and_policies(load: Load, tmp_path: Path) -> None:
    hosts = load(
        "defaults: {user: ops}\n"
        "hosts:\n"
        "  a: {key_file: keys/id, host_key_policy: off}\n"
        "  b: {key_file: ssh-agent, known_hosts: /etc/known, host_key_policy: accept-new}\n"
        "  c: {password: 'file:~/{host}.pw'}\n"
        "  d: {password: 'env:PW_{host}'}\n"
        "  e: {connection: local}\n"
    )
    assert (hosts["a"].key_file, hosts["a"].known_hosts) == (str(tmp_path / "keys/id"), None)
    assert (hosts["b"].key_file, hosts["b"].known_hosts) == (SSH_AGENT, "/etc/known")
    assert hosts["c"].password == SecretRef(scheme="file", target="/home/ops/c.pw")
    assert hosts["c"].known_hosts == "/home/ops/.ssh/known_hosts"
    assert str(hosts["d"].password) == "env:PW_d"
    assert hosts["e"].connection is Connection.LOCAL


def test_a_host_in_several_groups_and_names_that_differ_in_case(load: Load) -> None:
    hosts = load(LOGIN + "groups: {a: {hosts: [Web1, Web1]}, b: {hosts: [web1, Web1]}}\n")
    assert hosts["Web1"].groups == ("a", "b")
    assert hosts["web1"].groups == ("b",)


def test_aliases_share_what_they_name(load: Load) -> None:
    hosts = load(LOGIN + "groups: {a: {vars: &v {port: 9}, hosts: &h [x, y]}, b: {vars: *v, hosts: *h}}\n")
    assert {host.port for host in hosts.values()} == {9}


def test_all_mistakes_at_once(refuse: Refuse) -> None:
    found = refuse(
        "defaults:\n"
        "  user: two words\n"
        "  prot: 22\n"
        "  become: sudo\n"
        "groups:\n"
        "  web: {port: 1, host: [a]}\n"
        "  web: {}\n"
        "  '-x': {}\n"
        "hosts:\n"
        "  a: {port: 70000, address: -oProxyCommand, connection: telnet}\n"
        "  b: {port: 1, port: 2, password: hunter2, key_file: [k], labels: x}\n"
        "  'h[3-1]': \n"
        '  "e\\x1b[1]": \n'
        "  c: {user: , connection: local}\n"
    )
    wanted = {
        (2, "user: a user name"),
        (3, "'port'"),
        (4, "'sudo' is not one of its words"),
        (6, "no key 'port'; variables stand under vars"),
        (6, "no key 'host'; did you mean 'hosts'"),
        (7, "stands here again, first in line 6"),
        (8, "'-x' is not a name"),
        (10, "'70000' is not a port"),
        (10, "is neither a host name nor an IP address"),
        (10, "'telnet'"),
        (11, "'port' stands here again, first in line 11"),
        (11, "never as values"),
        (11, "key_file must be a single value"),
        (11, "labels must be a mapping"),
        (12, "runs backwards"),
        (13, r"'e\x1b1' is not a name"),
        (14, "user: is empty"),
    }
    for line, part in wanted:
        assert any(line == at and part in text for at, text in found), (line, part)
    assert "hunter2" not in str(found)
    # What was written wrongly is not missing as well.
    assert not any("needs" in text for _, text in found)
    assert [line for line, _ in found] == sorted(line for line, _ in found)


@pytest.mark.parametrize(
    "value",
    [
        "hunter2",
        "env:",
        "file:",
        "env:hunter2!",
        "vault:hunter2",
        "'env:A{user}'",
        "!vault hunter2",
        "'file: hunter2'",
    ],
)
def test_a_malformed_reference_never_shows_its_value(refuse: Refuse, value: str) -> None:
    found = refuse(LOGIN + f"hosts:\n  a: {{become: shell, become_password: {value}}}\n")
    assert [line for line, _ in found] == [3]
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    "text", ["{password:hunter2}", "{password=hunter2}", "{password: *hunter2}", "hunter2"]
)
def test_a_slip_of_yaml_does_not_show_a_password_either(refuse: Refuse, text: str) -> None:
    assert "hunter2" not in str(refuse(LOGIN + f"hosts:\n  a: {text}\n"))


@pytest.mark.parametrize(
    ("host", "part"),
    [
        ("{key_file: id}", "needs a user"),
        ("{user: ops}", "needs key_file"),
        ("{user: ops, key_file: id, become_password: env:X}", "become: shell only"),
        ("{user: ops, key_file: id, become: reads, become_password: env:X}", "fleet privileges sudoers"),
        ("{user: ops, key_file: ~root/id}", "your own home"),
        ('{user: ops, key_file: id, labels: {a: "\\e[1m"}}', "control characters"),
    ],
)
def test_what_a_host_needs(refuse: Refuse, host: str, part: str) -> None:
    found = refuse(f"hosts:\n  h: {host}\n")
    assert any(line == 2 and part in text for line, text in found), found


@pytest.mark.parametrize(
    ("defaults", "host"),
    [
        ("{user: ops}", "{password: hunter2}"),
        ("{user: ops}", "{key_file: ~root/id}"),
        ("{key_file: id}", "{user: two words}"),
        ("{}", "{connection: locl}"),
        (LOGIN[10:-1], "{become: root, become_password: env:X}"),
        (LOGIN[10:-1], "{become: }"),
    ],
)
def test_one_slip_is_one_mistake(refuse: Refuse, defaults: str, host: str) -> None:
    (found,) = refuse(f"defaults: {defaults}\nhosts:\n  h: {host}\n")
    assert found[0] == 3


def test_a_slip_contradicts_nothing(refuse: Refuse) -> None:
    groups = "groups:\n  a: {vars: {port: x}, hosts: [h]}\n  b: {vars: {port: 9}, hosts: [h]}\n"
    (found,) = refuse(LOGIN + groups + "hosts:\n  h: {}\n")
    assert found[0] == 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("all:\n  hosts:\n    a: {ansible_host: 198.51.100.4}\n", 1),
        ("all:\n", 1),
        ("---\nwebservers:\n  hosts:\n    a:\n", 2),
        ("# ours\n\n[webservers]\nweb01 ansible_host=198.51.100.4\n", 4),
        (LOGIN + "groups:\n  web:\n    hosts: [a]\n    children: {b: {}}\n", 5),
    ],
)
def test_an_inventory_of_ansible_is_told_from_ours(refuse: Refuse, text: str, line: int) -> None:
    (found,) = refuse(text)
    assert found[0] == line
    assert "Ansible" in found[1]
    assert "hosts: {NAME: {address:" in found[1]


@pytest.mark.parametrize(
    "text", ["hosts:\n\ta: {}\n", "hosts:\n  a:\n  \tport: 1\n", "hosts:\n  - a\n\t- b\n"]
)
def test_a_tab_is_told_in_plain_words(refuse: Refuse, text: str) -> None:
    lines = text.split("\n")
    at = next(number for number, line in enumerate(lines, 1) if "\t" in line)
    assert refuse(LOGIN + text) == [(at + 1, "a tab stands in the indentation, which takes blanks only")]


def test_a_forgotten_default_does_not_flood(refuse: Refuse) -> None:
    found = refuse("defaults: {key_file: id}\nhosts:\n" + "".join(f"  - h{n}\n" for n in range(1000)))
    assert len(found) == 51
    assert found[0] == (3, "h0: connection ssh needs a user")
    assert found[-1] == (53, "h[50-999]: connection ssh needs a user")


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("", 0, "empty"),
        ("# only a comment\n", 0, "empty"),
        ("- a\n", 1, "mapping"),
        ("just words", 1, "mapping"),
        ("hosts:\n  a: {port: [\n", 3, "not YAML"),
        ("hosts: {}\n---\nhosts: {}\n", 2, "second document"),
        ("hosts:\n a: \x01\n", 2, "not YAML"),
        ("a: &a [*a]", 1, "alias"),
        ("[" * 100_000, 1, "nested deeper"),
        ("defaults: {user: ops}\n", 0, "names no host"),
        (LOGIN + "groups: {web: {hosts: []}}\nhosts:\n", 0, "names no host"),
        (LOGIN + "group: {}\nhosts: [a]\n", 2, "did you mean 'groups'"),
        (LOGIN + "hosts: ['h[1-100001]']\n", 2, "more than 100,000 names"),
        (LOGIN + "hosts: [h[1-3]]\n", 2, "put quotes around a range"),
        (LOGIN + "hosts: {a: {password: file:pw/{host}.pw}}\n", 2, "put quotes around"),
        (LOGIN + "hosts: {a: {port:22}}\n", 2, "a blank is missing behind 'port:'"),
        (LOGIN + "hosts: [[a]]\n", 2, "quote a range"),
        (LOGIN + "hosts: {? [a] : {}}\n", 2, "not plain text"),
        (LOGIN + "hosts: {.. : {}}\n", 2, "is not a name"),
    ],
)
def test_files_that_are_no_inventory(refuse: Refuse, text: str, line: int, part: str) -> None:
    found = refuse(text)
    assert any(line == at and part in text for at, text in found), found


def test_groups_within_aliases_are_bounded(refuse: Refuse) -> None:
    levels = ["groups:\n  g0: &g0 {hosts: ['h[1-9]']}\n"]
    levels += [f"  g{n}: &g{n} {{groups: {{a{n}: *g{n - 1}, b{n}: *g{n - 1}}}}}\n" for n in range(1, 30)]
    # Unbounded, these are a thousand million groups.
    assert any("defined twice" in text for _, text in refuse(LOGIN + "".join(levels)))


def test_hosts_within_aliases_are_bounded(refuse: Refuse) -> None:
    groups = "".join(f"  g{n}: {{hosts: *h}}\n" for n in range(50))
    found = refuse(LOGIN + "groups:\n  a: {hosts: &h ['h[1-50000]']}\n" + groups)
    assert "more than 1,000,000 names" in found[0][1]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"hosts: [\xff]")
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "latin"):
        with pytest.raises(InventoryError) as caught:
            load_inventory(path, home=HOME)
        assert str(path) in str(caught.value)


def test_ten_times_the_hosts_are_ten_times_the_work(load: Load) -> None:
    def cpu_s(count: int) -> float:
        text = (
            LOGIN + f"groups: {{all: {{vars: {{labels: {{site: x}}}}, hosts: ['h[00000-{count - 1}]']}}}}\n"
        )
        text += "hosts:\n"
        text += "".join(f"  h{n:05}: {{address: 10.0.{n // 256}.{n % 256}}}\n" for n in range(0, count, 4))
        begun = time.process_time()
        assert len(load(text)) == count
        return time.process_time() - begun

    # Or a hundred times.
    assert cpu_s(20_000) < 40 * max(cpu_s(2_000), 0.01)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="ab:{}[],-&*!'\"\n #~1", max_size=60) | st.text(max_size=40))
def test_any_text_loads_or_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.yaml"
    path.write_text("hosts:\n a: " + text, encoding="utf-8", errors="replace")
    with pytest.raises(InventoryError):
        load_inventory(path, home=HOME)


def test_the_example_loads_and_the_schema_knows_every_variable() -> None:
    assert len(load_inventory(EXAMPLES / "example.yaml", home=HOME)) == 65
    schema = json.loads((EXAMPLES / "inventory.schema.json").read_text())
    assert set(schema["$defs"]["vars"]["properties"]) == set(VARIABLE_NAMES)
    assert set(schema["properties"]) == {"defaults", "groups", "hosts"}
    words = schema["$defs"]["vars"]["properties"]
    assert words["become"]["enum"] == [word.value for word in Become]
    assert words["connection"]["enum"] == [word.value for word in Connection]
    assert words["scheme"]["enum"] == [word.value for word in Scheme]
    assert words["auth"]["enum"] == [word.value for word in WinrmAuth]
    assert words["host_key_policy"]["enum"] == [word.value for word in HostKeyPolicy]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hosts:\n  w: {conection: winrm, auth: kerberos}\n", "unknown variable 'conection'"),
        ("defaults: {usr: ops, key_file: k}\nhosts: [a, b]\n", "unknown variable 'usr'"),
        ("defaults: {user: ops, keyfile: k}\nhosts: [a]\n", "unknown variable 'keyfile'"),
        ("default: {user: ops, key_file: k}\nhosts: [a]\n", "the inventory has no key 'default'"),
        ("groups: {g: {var: {user: o, key_file: k}, hosts: [a]}}\n", "the group 'g' has no key 'var'"),
        ("groups: {g: {vars: [user], hosts: [a]}}\n", "vars of the group 'g' must be a mapping"),
        ("defaults: nothing\nhosts: [a]\n", "defaults must be a mapping"),
        ("hosts: {a: winrm}\n", "the entry of 'a' must be a mapping"),
        (
            "hosts: {w: {connection: winrm, port: 5986, scheme: http, auth: kerberos, ca_file: c}}\n",
            "w: port 5986 is for https, and the scheme is http",
        ),
    ],
)
def test_one_mistake_is_told_and_nothing_that_follows_from_it(refuse: Refuse, text: str, told: str) -> None:
    ((_, first),) = refuse(text)
    assert first.startswith(told)


def test_what_is_read_as_meant_is_checked_too(refuse: Refuse) -> None:
    text = "groups:\n  g:\n    var: {user: o, key_file: k, port: 0}\n    hosts: [a]\n"
    assert [line for line, _ in refuse(text)] == [3, 3]
