"""Which hosts fall into one cause group, and what it says of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fleet.model.report import HostResult
from fleet.model.words import Word
from fleet.report.groups import CauseGroup, cause_groups
from tests.unit.report.sample import CREATE, EXPLAINED, STOPPED, make_report, make_result


def _failing(host: str, title: str, remedy: str = "Do it.", /, **values: str) -> HostResult:
    """A host whose cause has these words, with ``{name}`` for the values."""
    texts = {"title": title, "cause": "It is so.", "remediation": remedy}
    for key, value in values.items():
        texts = {which: text.replace(f"{{{key}}}", value) for which, text in texts.items()}
    parameters = tuple((key.replace("__", "."), value) for key, value in values.items())
    cause = replace(CREATE, rule="r", code=None, parameters=parameters, **texts)  # type: ignore[arg-type]
    return make_result(host, Word.FAILING, cause)


def _told(results: Iterable[HostResult]) -> list[tuple[str, tuple[str, ...]]]:
    return [(group.title, group.hosts) for group in _groups(results)]


def _groups(results: Iterable[HostResult]) -> tuple[CauseGroup, ...]:
    return cause_groups(make_report(results))


def test_hosts_of_one_cause_and_parameter_fold_and_others_stay_apart() -> None:
    title = "proxy {proxy} answers {status}"
    hosts = [_failing(f"a{n}", title, proxy="10.0.0.8:3128", status="407") for n in range(3)]
    hosts += [_failing(f"b{n}", title, proxy="10.0.0.8:3128", status="403") for n in range(2)]
    hosts += [_failing("c", title, proxy="10.9.9.9:80", status="407")]
    groups = _groups(hosts)
    assert [(group.title, len(group.hosts)) for group in groups] == [
        ("proxy 10.0.0.8:3128 answers 407", 3),
        ("proxy 10.0.0.8:3128 answers 403", 2),
        ("proxy 10.9.9.9:80 answers 407", 1),
    ]
    assert groups[0].parameters == (("proxy", "10.0.0.8:3128"), ("status", "407"))


def test_what_each_host_has_of_its_own_sets_none_apart() -> None:
    hosts = [
        _failing(f"a{n}", "{name} is unknown at {site}", name=f"vm-{n}", site="berlin") for n in range(40)
    ]
    (group,) = _groups(hosts)
    assert (group.title, len(group.hosts)) == ("… is unknown at berlin", 40)
    assert group.parameters == (("site", "berlin"),)


def test_a_measure_sets_none_apart_even_where_two_hosts_have_the_same() -> None:
    by_fact = [
        _failing(f"a{n}", "off by {clock__skew_s} s", clock__skew_s=str(121 + n % 3)) for n in range(9)
    ]
    by_group = [_failing(f"b{n}", "late by {wait_s} s", wait_s=str(121 + n % 3)) for n in range(9)]
    assert [(title, len(names)) for title, names in _told(by_fact)] == [("off by … s", 9)]
    assert [(title, len(names)) for title, names in _told(by_group)] == [("late by … s", 9)]


def test_a_measure_that_all_have_is_told() -> None:
    (group,) = _groups(_failing(f"a{n}", "off by {clock__skew_s} s", clock__skew_s="131") for n in range(2))
    assert group.title == "off by 131 s"


def test_a_host_alone_has_its_own_words() -> None:
    assert _told([_failing("a", "{name} is unknown", name="vm-1")]) == [("vm-1 is unknown", ("a",))]


def test_the_next_action_is_told_as_of_all() -> None:
    hosts = [_failing(f"a{n}", "t", "Rename `{name}` now.", name=f"vm-{n}") for n in range(2)]
    assert [group.action for group in _groups(hosts)] == ["Rename `…` now."]


def test_a_value_within_a_word_is_not_taken_for_the_parameter() -> None:
    hosts = [_failing(f"a{n}", "{name} in database", name=name) for n, name in enumerate(("a", "data"))]
    assert _told(hosts) == [("… in database", ("a0", "a1"))]


def test_a_group_says_what_its_cause_explains_the_most_frequent_first() -> None:
    other = replace(EXPLAINED, code="AZCM0026", rule="azcm0026")
    hosts = [make_result("a", Word.FAILING, STOPPED, other, EXPLAINED)]
    hosts += [make_result(name, Word.FAILING, STOPPED, EXPLAINED) for name in ("b", "c")]
    assert [group.explains for group in _groups(hosts)] == [("AZCM0042", "AZCM0026")]
