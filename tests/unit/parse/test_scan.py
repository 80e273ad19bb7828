"""A scan finds each line that a rule could match, and does not look twice at what it has read."""

from __future__ import annotations

import json
import random
import string
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleet.classify.patterns import compile_pattern
from fleet.parse import scan
from fleet.parse.anchors import NoAnchorError, derive_anchors
from fleet.parse.lines import parse_line
from fleet.parse.logs import parse_log
from fleet.parse.scan import LONG_LINE, AnchorIndex, Anchors, Words
from fleet.parse.text import decode, uncoloured

ANCHORS = Anchors(["no such host", "MARK", "tail"])


def _lines(data: bytes, anchors: Anchors = ANCHORS) -> list[bytes]:
    return [data[low:high] for _, low, high in anchors.places(data)]


@pytest.mark.parametrize(
    "line",
    [
        b"so: No Such HOST!",
        b"a mark",
        b"MARK and mark and MARK",
        b"see AZCM0042",
        b"FATA[0001] it broke",
        b"$ sudo azcmagent connect",
        b'& "C:\\x\\azcmagent.exe" show',
        b"Exit Code: 1",
        "no \u017fuch ho\u017ft".encode(),
        "MAR\u212a".encode(),
        b"\x00tail",
        b"\xff\xfetail\x00",
        b"tail",
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b"\n\n"])
def test_a_marked_line_is_found_wherever_it_stands(line: bytes, end: bytes) -> None:
    for lines in ([line], [b"x", line], [line, b"x"], [line, b"x", line, line, b"x"]):
        assert _lines(end.join(lines)) == [each for each in lines if each == line]


@pytest.mark.parametrize(
    "line", [b"", b"nothing", b"fatal", b"azcmagent", b"/opt/azcmagent/bin", b"fata", b"m ark"]
)
def test_other_lines_are_not(line: bytes) -> None:
    assert _lines(b"\n".join([line, line])) == []


@given(st.lists(st.sampled_from([b"MARK", b"tail MARK", b"x", b"", b"x" * 50, b"\xc3\xa4"]), max_size=30))
def test_places_are_those_of_a_search_by_line(lines: list[bytes]) -> None:
    data = b"\n".join(lines)
    assert _lines(data) == [line for line in lines if b"MARK" in line]
    for start, low, high in ANCHORS.places(data):
        assert start == low
        assert data[high : high + 1] in (b"\n", b"")


@pytest.mark.parametrize("block", [20, 33, 1000])
def test_a_log_of_many_blocks_is_read_as_one(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(scan, "_BLOCK", block)
    chance = random.Random(block)
    lines = [b"x" * chance.randrange(60) + chance.choice([b"", b"", b"MARK", b"tail"]) for _ in range(2000)]
    assert _lines(b"\n".join(lines)) == [line for line in lines if line[-4:] in (b"MARK", b"tail")]


@pytest.mark.parametrize("size", [10 * LONG_LINE, 3 << 20])
def test_each_mark_of_a_long_line_is_within_what_is_read_of_it(size: int) -> None:
    chance = random.Random(size)
    line = bytearray(b"." * size)
    marks = sorted(chance.sample(range(0, size - 20, 20), size // 4000))
    for mark in marks:
        line[mark : mark + 12] = b"no such host"
    data = b"before\n" + bytes(line) + b"\nafter"
    places = list(ANCHORS.places(data))
    assert {start for start, _, _ in places} == {7}
    assert all(high - low <= LONG_LINE for _, low, high in places)
    for mark in marks:
        first, last = 7 + mark, 7 + mark + 12
        parts = [(low, high) for _, low, high in places if low <= first and last <= high]
        assert parts
        # What follows it is read too.
        assert any(high - last >= min(500, 7 + size - last) for _, high in parts)


def test_a_rule_is_found_anywhere_in_a_long_line() -> None:
    noise = b'{"text":"tail of it"},' * 2000
    data = b'level=error msg="' + noise + b"dial: no such host" + noise + b'"\n'
    log = parse_log("x", data, ANCHORS)
    assert any("dial: no such host" in record.text for record in log.records)
    assert {record.line for record in log.records} == {1}
    assert len(log.runs) == 1


def test_a_long_line_that_begins_a_run_begins_one() -> None:
    data = (
        b'level=debug msg="Agent Command: connect '
        + b"MARK " * 20_000
        + b'"\nlevel=fatal msg="AZCM0042: x"\n'
    )
    log = parse_log("x", data, ANCHORS)
    assert [run.command for run in log.runs] == ["connect"]
    assert [record.code for record in log.records if record.line == 2] == ["AZCM0042"]


def test_threads_share_anchors() -> None:
    data = b"".join(b"line %d %s\n" % (n, b"MARK" if n % 7 == 0 else b"") for n in range(20_000))
    wanted = _lines(data, Anchors(["MARK"]))
    index = AnchorIndex(["mark", "tail"])
    gate = threading.Barrier(4)

    def work(_: int) -> tuple[bool, set[str]]:
        gate.wait(10)
        return _lines(data) == wanted, index.found("a MARK here")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [(True, {"mark"})] * 4


def test_the_index_tells_which_anchors_a_text_holds() -> None:
    index = AnchorIndex(["no such host", "such", "kiss", "tail", ""])
    assert index.found("No such HOST") == {"no such host", "such"}
    assert index.found("\u212ai\u017fs \ud800") == {"kiss"}
    assert index.found("") == set()
    assert AnchorIndex([]).found("tail") == set()


# How logs write a text.
TEXTS = st.text(
    st.one_of(
        st.sampled_from("abk .:-\"'\\\n\t/<&=%ä\u017f\u212a\u2028€😀"), st.sampled_from(string.ascii_letters)
    ),
    max_size=12,
)


def _go_quote(text: str) -> str:
    """As Go's strconv.Quote does."""
    short = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\v": "\\v", "\x07": "\\a"}
    return "".join(
        short.get(char)
        or (
            char
            if char.isprintable()
            else f"\\x{ord(char):02x}"
            if ord(char) < 128
            else f"\\u{ord(char):04x}"
        )
        for char in text
    )


def _windows_json(text: str) -> str:
    escaped = json.dumps(text)[1:-1]
    return "".join(f"\\u{ord(char):04x}" if char in "<>&'+" else char for char in escaped)


def _one_line(text: str) -> str:
    return " ".join(text.split("\n")).replace("\r", " ")


def _one_word(text: str) -> str:
    return "".join(char for char in text if char.isalnum())


SHAPES = {
    "logrus": lambda text: f'time="2026-01-01T00:00:00Z" level=error msg="{_go_quote(text)}" Key=x',
    "logrus field": lambda text: f'level=info msg="it failed" Error="{_go_quote(text)}"',
    "logrus with JSON": lambda text: f'level=info msg="{json.dumps(text)[1:-1]}"',
    "logrus with JSON of Go": lambda text: 'level=info msg="' + _go_quote(json.dumps(text)) + '"',
    "logrus without quotes": lambda text: f"level=info msg=failed Reason=retry Error={_one_word(text)}",
    "console": lambda text: f'\x1b[31mERROR\x1b[0m   it failed  Error="{_go_quote(text)}"',
    "terminal": lambda text: f"ERRO[0007] {_one_line(text)}",
    "gclog": lambda text: (
        f"<GCLOG>[2026-01-01 00:00:00.000] [PID 1] [X] [ERROR] [id] {_one_line(text)}</GCLOG>"
    ),
    "gpo": lambda text: f"[2026-01-01][00:00:00] ERROR {_one_line(text)}",
    "extension": lambda text: f"[1728+00000001] 9/10/2026 10:41:43 PM [Error] {_one_line(text)}",
    "json": lambda text: json.dumps({"level": "error", "msg": text}),
    "json of Windows": lambda text: '{"msg":"' + _windows_json(text) + '"}',
    "plain": _one_line,
}
WORDS = (
    "no such host",
    "kiss",
    "dial tcp",
    "Zugriff",
    "/oauth2/",
    "=",
    '"',
    "\\",
    "\n",
    "ä",
    "€",
    "  ",
    " ",
    "a",
)


@st.composite
def _expressions(draw: st.DrawFn) -> tuple[str, str]:
    """An expression and a text that it matches."""
    pattern, text = [], []
    for _ in range(draw(st.integers(1, 5))):
        word = draw(st.one_of(st.sampled_from(WORDS), TEXTS))
        escaped = "".join(
            char if char.isalnum() or not char.isascii() else f"\\x{ord(char):02x}" for char in word
        )
        kind = draw(st.sampled_from(["word", "word", "word", "optional", "either", "any", "repeat"]))
        other = draw(st.sampled_from(["refused", "kiss me", "x"]))
        match kind:
            case "optional":
                pattern.append(f"(?:{escaped})?")
                text.append(draw(st.sampled_from([word, ""])))
            case "either":
                pattern.append(f"(?:{escaped}|{other})")
                text.append(draw(st.sampled_from([word, other])))
            case "any":
                pattern.append("(?s:.*)")
                text.append(draw(TEXTS))
            case "repeat":
                pattern.append(f"(?:{escaped})+")
                text.append(word * draw(st.integers(1, 3)))
            case _:
                pattern.append(escaped)
                text.append(word)
    swap = draw(st.booleans())
    joined = "".join(text)
    return "".join(pattern), "".join(c.swapcase() if c.isascii() else c for c in joined) if swap else joined


@pytest.mark.parametrize("shape", SHAPES)
@given(_expressions(), TEXTS, TEXTS)
@example(("kiss", "\u212ai\u017f\u017f"), "", "")
@example(("x refused", 'x refused"'), "\\", "\\")
@example(("it failed  Error", ""), "", "")
@example(('Reason="retry', ""), "", "")
def test_whatever_a_rule_matches_is_a_candidate(
    shape: str, match: tuple[str, str], before: str, after: str
) -> None:
    pattern, text = match
    raw = SHAPES[shape](before + text + after)
    _assert_superset(pattern, raw.encode("utf-8", "replace"))


@given(
    _expressions(),
    st.lists(
        st.sampled_from(
            ["\\", "\\u0061", "\\x6b", "\x1b[0m", "\x1b[", "0m", '"', "\x00", "u212a", "\\U0", "  ", "="]
        )
    ),
    st.randoms(use_true_random=False),
)
@example(("refused", "refu\\u0073ed"), [], random.Random(0))
@example(("refused", "ref\\used"), [], random.Random(0))
@example(("refused", "ref\x1b\x1b[0m[0mused"), [], random.Random(0))
@example(("azure kin", "azure \\u212ain"), [], random.Random(0))
@example(("foovbar", "foo\\vbar"), [], random.Random(0))
def test_nor_can_a_hostile_host_hide_a_match(
    match: tuple[str, str], junk: list[str], chance: random.Random
) -> None:
    pattern, text = match
    for piece in junk:
        at = chance.randrange(len(text) + 1)
        text = text[:at] + piece + text[at:]
    for raw in (f'level=error msg="{text}"', f'ERROR  x="{text}"', text):
        _assert_superset(pattern, raw.encode("utf-8", "replace"))


def _assert_superset(pattern: str, raw: bytes) -> None:
    """Each line whose record matches is a place of the scan for the anchors, and the index knows it."""
    try:
        anchors = derive_anchors(pattern)
    except NoAnchorError:
        return
    matcher, index = compile_pattern(pattern), AnchorIndex(anchors)
    places = {low for _, low, _ in Anchors(anchors).places(uncoloured(raw))}
    start = 0
    for line in uncoloured(raw).replace(b"\r", b"\n").split(b"\n"):
        text = parse_line(decode(line)).text
        if matcher.search(text):
            assert start in places, (pattern, line)
            assert index.found(text), (pattern, text)
        start += len(line) + 1


def test_words_are_told_that_bytes_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    words = Words([b"reachable", b" himds ", b"Agent Status"])
    assert words.found(b"x himds  REACHABLE reachable agent status") == {
        b"reachable",
        b" himds ",
        b"Agent Status",
    }
    assert words.found(b"himds") == words.found(b"") == set()
    monkeypatch.setattr(scan, "_SPAN", 16)
    for place in range(40):
        assert words.found(b"." * place + b"reachable" + b"." * 20) == {b"reachable"}
