"""Node sets: ranges expand, names fold, and one undoes the other."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.parse.nodeset import MAX_NAMES, expand, fold, split


def unfold(text: str) -> set[str]:
    return {name for part in split(text) for name in expand(part)}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("web1", ["web1"]),
        ("web[08:10].example.com", ["web08.example.com", "web09.example.com", "web10.example.com"]),
        ("web[8-10]", ["web8", "web9", "web10"]),
        ("w[1,3,07-09]", ["w1", "w3", "w07", "w08", "w09"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("[098-100]", ["098", "099", "100"]),
        ("w[99-101]x", ["w99x", "w100x", "w101x"]),
        ("w[ 1 , 2 ]", ["w1", "w2"]),
    ],
)
def test_expand(pattern: str, names: list[str]) -> None:
    assert list(expand(pattern)) == names


@pytest.mark.parametrize(
    "pattern",
    [
        "w[1",
        "w]1",
        "w[]",
        "w[a-b]",
        "w[3-1]",
        "w[1-05]",
        "w[[1]]",
        "w[1-2-3]",
        "w[1,]",
        "w[" + "9" * 5000 + "]",
    ],
)
def test_bad_syntax_is_told_at_once(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        expand(pattern)


def test_a_pattern_is_bounded() -> None:
    assert sum(1 for _ in expand(f"w[1-{MAX_NAMES}]")) == MAX_NAMES
    for pattern in (f"w[0-{MAX_NAMES}]", "w[1-999999999999999999]", "w[1-999][1-999]"):
        with pytest.raises(ValueError, match="stands for more than 100,000 names"):
            expand(pattern)


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        (["web12", "db02", "db01", "web11", "web13", "db03", "db04"], "db[01-04], web[11-13]"),
        (["n9", "n10"], "n[9-10]"),
        (["n09", "n10"], "n[09-10]"),
        (["n9", "n09", "n10"], "n[9,09-10]"),
        (["n1", "n3", "n1"], "n[1,3]"),
        (["n7"], "n7"),
        (["n", "n0", "n1"], "n, n[0-1]"),
        (["rack1-n1.a1.net", "rack1-n2.a1.net", "rack2-n1.a1.net"], "rack1-n[1-2].a1.net, rack2-n1.a1.net"),
        (["10.0.0.1", "10.0.0.2"], "10.0.0.[1-2]"),
        (["x&y1", "x&y2", "mail", "a b"], "a b, mail, x&y1, x&y2"),
        (["v" + "1" * 20, "v" + "1" * 19 + "2"], "v" + "1" * 20 + ", v" + "1" * 19 + "2"),
        ([], ""),
    ],
)
def test_fold(names: list[str], folded: str) -> None:
    assert fold(names) == folded


HOST_NAMES = st.from_regex(r"[a-b]{0,2}[0-9]{1,3}(-[0-9]{1,2})?[a-b]?(\.n[0-9])?", fullmatch=True) | st.text(
    "ab019.:-_", min_size=1, max_size=24
)


@given(st.sets(HOST_NAMES, max_size=60))
def test_folding_is_undone_by_expanding(names: set[str]) -> None:
    assert unfold(fold(names)) == names


@given(st.sets(st.integers(0, 1200).flatmap(lambda n: st.integers(0, 5).map(lambda w: f"n{n:0{w}d}"))))
def test_paddings_stay_apart(names: set[str]) -> None:
    assert unfold(fold(names)) == names


@given(st.lists(st.text(), max_size=10))
def test_any_name_folds(names: list[str]) -> None:
    assert all(name in fold([name]) for name in names)


@given(st.text(alphabet="ab[],-:019 ", max_size=30))
def test_any_pattern_expands_or_is_refused_with_a_sentence(pattern: str) -> None:
    try:
        names = list(expand(pattern))
    except ValueError as exc:
        names = [str(exc)]
    assert names


def test_more_names_than_one_pattern_holds_fold_into_several() -> None:
    names = {f"n{number}" for number in range(MAX_NAMES + 5)}
    assert fold(names) == "n[0-99999], n[100000-100004]"


def test_ten_times_the_unlike_names_are_ten_times_the_work() -> None:
    def cpu_s(count: int) -> float:
        names = {f"ip-10-{n % 251}-{n // 251 % 256}-{n * 7 % 256}.ec2.internal" for n in range(count)}
        begun = time.process_time()
        folded = fold(names)
        spent = time.process_time() - begun
        assert unfold(folded) == names
        return spent

    # Or a hundred times.
    assert cpu_s(20_000) < 40 * max(cpu_s(2_000), 0.01)


def test_split_leaves_brackets_whole() -> None:
    assert split(" db[01,03], web ,,x[1-2],") == ("db[01,03]", "web", "x[1-2]")
