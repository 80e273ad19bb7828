"""What ``--limit`` selects."""

from __future__ import annotations

from fnmatch import translate

import pytest

from fleet.errors import SettingsError
from fleet.inventory.select import select
from fleet.model.host import Host
from fleet.parse.nodeset import fold

HOSTS = (
    *(Host(name=f"web{n:02}", address="a", groups=("web",)) for n in range(1, 13)),
    Host(name="dmz1", address="a", groups=("web", "web-dmz")),
    *(Host(name=f"db0{n}", address="a", groups=("db",)) for n in range(1, 5)),
    Host(name="alone", address="a"),
)


@pytest.mark.parametrize(
    ("limit", "names"),
    [
        ("alone", "alone"),
        ("alone,db", "db[01-04], alone"),
        ("web-dmz", "dmz1"),
        ("db0?", "db[01-04]"),
        ("*1", "web01 web11 dmz1 db01"),
        ("we?", "web[01-12], dmz1"),
        ("db[01-02], web[11-13]", "web[11-12], db[01-02]"),
        ("db0[!1-3]", "db04"),
        ("web0[1-2]*,db[03,04]", "web[01-02], db[03-04]"),
        ("web[0-9]*", "web[01-12]"),
        ("*[1-2],alone", "web01 web02 web11 web12 dmz1 db01 db02 alone"),
        ("db[01-02]*,?b[03-04]", "db[01-04]"),
        ("web,!web-dmz,!web0*", "web[10-12]"),
        ("!web", "db[01-04], alone"),
        ("db,! db01", "db[02-04]"),
    ],
)
def test_select(limit: str, names: str) -> None:
    chosen = [host.name for host in select(HOSTS, limit)]
    wanted = select(HOSTS, names.replace(" ", ",") if "," not in names else names)
    assert chosen == [host.name for host in wanted]
    assert chosen == [host.name for host in HOSTS if host.name in chosen]


def test_exact_names() -> None:
    assert [host.name for host in select(HOSTS, "db,!db[02-04],*1,!web*")] == ["db01"]
    assert [host.name for host in select(HOSTS, "*1")] == ["web01", "web11", "dmz1", "db01"]
    assert [host.name for host in select(HOSTS, "db0[!1-3],alone")] == ["db04", "alone"]


def test_upper_and_lower_case_do_not_differ() -> None:
    hosts = (Host(name="WIN01", address="a", groups=("Prod",)), Host(name="win02", address="a"))
    for limit in ("win01", "Win*1", "PROD", "win0[1]", "WIN[01-02],!win02", "w[!A-H]n01"):
        assert [host.name for host in select(hosts, limit)] == ["WIN01"], limit
    assert select(hosts, "WIN[01-02]") == hosts


def test_what_the_summary_prints_selects_the_same() -> None:
    assert select(HOSTS, fold(host.name for host in HOSTS)) == HOSTS


def test_parts_that_match_nothing_are_all_named() -> None:
    with pytest.raises(SettingsError, match=r"'wbe', 'x\[1-2\]', '!nope'$"):
        select(HOSTS, "web,wbe,x[1-2],!nope")


@pytest.mark.parametrize("limit", ["", " , ", "db,!db*", "!*", "!"])
def test_no_host_is_a_mistake(limit: str) -> None:
    with pytest.raises(SettingsError):
        select(HOSTS, limit)


def test_a_large_node_set_with_a_glob_is_one_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def counted(glob: str) -> str:
        told.append(glob)
        return translate(glob)

    monkeypatch.setattr("fleet.inventory.select.translate", counted)
    chosen = select(HOSTS, "web[0-20000]*1")
    assert [host.name for host in chosen] == ["web01", "web11"]
    assert told == ["*1"]
