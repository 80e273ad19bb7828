"""Expressions become anchors, one of which is in each text that they match."""

from __future__ import annotations

import string

import pytest
import re2
from hypothesis import example, given
from hypothesis import strategies as st

from fleet.classify.patterns import compile_pattern
from fleet.model.pack import LogMatch
from fleet.packs.load import load_pack
from fleet.parse.anchors import GOOD_ANCHOR, MAX_ANCHOR, MIN_ANCHOR, NoAnchorError, derive_anchors

Expression = tuple[str, st.SearchStrategy[str]]
"""An expression and texts that it matches."""


@pytest.mark.parametrize(
    ("pattern", "anchors"),
    [
        ("No Such Host", {"no such host"}),
        (r"\bAADSTS70002(?:15|22)\b", {"aadsts70002"}),
        (r"login[.-]here", {"login.here", "login-here"}),
        (r"application .* not found\.", {"application"}),
        (r"(?i)dial (?P<how>tcp|udp)[46]? ", {"dial tcp", "dial udp"}),
        (r"refused|(?s:timed|dropped) out of (?:it|there)", {"refused", "timed out of", "dropped out of"}),
        (r"network is forbidden|forbidden", {"forbidden"}),
        (r"Azure|login\.microsoftonline\.com.*unheard-of", {"azure", "unheard-of"}),
        (r"i/o timeout", {"o timeout"}),
        (r'say "hello" to', {"hello"}),
        (r"Übergabe gescheitert", {"bergabe gescheitert"}),
        (r"\Qa.b*c(d\E failed", {"a.b*c(d failed"}),
        (r"(?:quite )?wanted(?: too)?", {"wanted"}),
        (r"gone{3,}", {"goneee"}),
        (r"ab{00}cdef", {"ab{00}cdef"}),
        (r"abcdefgh(?i)*ij", {"abcdefg"}),
        (r"abcdefgh\Q\E(?i){2}", {"abcdefghh"}),
        (r"\x41\x{42}\103defgh", {"abcdefgh"}),
        (r"two  blanks", {"blanks"}),
        (r"tails \S", {"tails"}),
        (r"odd [^]x]*[]y] bar", {"y bar", "] bar"}),
        (r"\pL[[:alpha:]-x]+ \x{62}ar[^]]rest", {"rest"}),
        (r"x" * 100, {"x" * MAX_ANCHOR}),
        (r"code", {"code"}),
    ],
)
def test_anchors(pattern: str, anchors: set[str]) -> None:
    assert re2.compile(pattern)
    assert derive_anchors(pattern) == anchors


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        ".*",
        "abc",
        "(?:failed)?",
        "failed|ab",
        r"\d{12}",
        "[a-z]+",
        "отказано",
        '"a"b"c"',
        "(?:ab)*",
        "a b  c d",
    ],
)
def test_an_expression_without_an_anchor_is_refused_in_words(pattern: str) -> None:
    with pytest.raises(NoAnchorError, match="nothing of 4 characters"):
        derive_anchors(pattern)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("failed(", "something is missing at character 8"),
        ("failed)", r"an unmatched \) at character 7"),
        ("failed(?=x)", "a group of an unknown kind at character 8"),
        (r"failed\y", r"an unknown escape \\y at character 9"),
        ("failed[a", "something is missing"),
        ("(" * 5000 + "failed" + ")" * 5000, "too many groups in groups"),
    ],
)
def test_what_is_not_understood_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(NoAnchorError, match=message):
        derive_anchors(pattern)


def test_every_shipped_pattern_has_good_anchors() -> None:
    for rule in load_pack().rules:
        for pattern in rule.match.text if isinstance(rule.match, LogMatch) else ():
            assert all(len(anchor) >= GOOD_ANCHOR for anchor in derive_anchors(pattern)), rule.id


def test_no_other_characters_fold_to_one_of_an_anchor() -> None:
    strangers = "".join(map(chr, [*range(0x80, 0xD800), *range(0xE000, 0x110000)]))
    options = re2.Options()
    options.case_sensitive = False
    folded = re2.compile("[ -~]", options).findall(strangers)
    assert [(char, char.casefold()) for char in folded] == [("\u017f", "s"), ("\u212a", "k")]


WORDS = (
    "dial",
    "tcp",
    "no such host",
    "AZCM",
    "Kiss",
    "a",
    "ß",
    "/",
    " ",
    "  ",
    '"',
    "\\",
    "\n",
    "é",
    "İ",
    "{2}",
)
CLASSES = ("[.-]", "[46]", "[a-z]", r"\d", r"\S", ".", "[^x]", "[ks]", r"[\]x-]", "[[:digit:]a]", r"\pL")
MEMBERS = (".-", "46", "azkK\u212aſ", "0189", "xk", "xß", "aß", "ksKS\u212aſ", "]x-", "5a", "xä")
FOLDED = {"k": "kK\u212a", "s": "sSſ"}


def _escape(text: str) -> str:
    return "".join(char if char.isalnum() or not char.isascii() else f"\\x{ord(char):02x}" for char in text)


def _in_any_case(text: str) -> st.SearchStrategy[str]:
    choices = (FOLDED.get(char.lower(), char + char.swapcase() if char.isascii() else char) for char in text)
    return st.tuples(*map(st.sampled_from, choices)).map("".join)


def _word(text: str) -> Expression:
    return _escape(text), _in_any_case(text)


def _quoted(text: str) -> Expression:
    return rf"\Q{text}\E", _in_any_case(text)


def _sequence(parts: list[Expression]) -> Expression:
    return "".join(part[0] for part in parts), st.tuples(*(part[1] for part in parts)).map("".join)


def _choice(parts: list[Expression], opening: str) -> Expression:
    return f"{opening}{'|'.join(part[0] for part in parts)})", st.one_of(*(part[1] for part in parts))


def _repeat(part: Expression, how: tuple[str, int, int]) -> Expression:
    sign, least, most = how
    return f"(?:{part[0]}){sign}", st.lists(part[1], min_size=least, max_size=most).map("".join)


REPEATS = (
    ("*", 0, 3),
    ("+?", 1, 3),
    ("?", 0, 1),
    ("{2}", 2, 2),
    ("{1,3}", 1, 3),
    ("{0}", 0, 0),
    ("{2,}", 2, 4),
)
ATOMS: st.SearchStrategy[Expression] = st.one_of(
    st.sampled_from(WORDS).map(_word),
    st.sampled_from(WORDS).filter(lambda word: "\\" not in word).map(_quoted),
    st.sampled_from([*zip(CLASSES, map(st.sampled_from, MEMBERS), strict=True)]),
    st.text(string.ascii_lowercase + " .", min_size=4, max_size=8).map(_word),
    st.sampled_from([("", st.just("")), ("(?s)", st.just("")), ("(?:^|)", st.just(""))]),
)
PIECES = st.one_of(ATOMS, st.builds(_repeat, ATOMS, st.sampled_from(REPEATS)))
SEQUENCES = st.lists(PIECES, min_size=1, max_size=5).map(_sequence)
OPENINGS = st.sampled_from(["(", "(?:", "(?P<n>", "(?i:"])
EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    SEQUENCES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map(_sequence),
        st.builds(_choice, st.lists(inner, min_size=1, max_size=3), OPENINGS),
        st.builds(_repeat, inner, st.sampled_from(REPEATS)),
    ),
    max_leaves=6,
)
MATCHES = EXPRESSIONS.flatmap(lambda expression: st.tuples(st.just(expression[0]), expression[1]))


@given(MATCHES, st.text(max_size=3), st.text(max_size=3))
@example(("kiss me", "\u212aiſſ ME"), "", "")
def test_each_match_holds_an_anchor(match: tuple[str, str], before: str, after: str) -> None:
    pattern, text = match
    text = f"{before}{text}{after}"
    assert compile_pattern(pattern).search(text.encode("utf-8", "replace").decode()), (
        "no text of the expression"
    )
    try:
        anchors = derive_anchors(pattern)
    except NoAnchorError:
        return
    assert any(anchor in text.casefold() for anchor in anchors)
    assert all(MIN_ANCHOR <= len(anchor) <= MAX_ANCHOR and anchor.isascii() for anchor in anchors)
