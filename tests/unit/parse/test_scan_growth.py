"""However a host fills its log, reading it costs work in step with its size, and memory that is bounded."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass

import pytest

from fleet.parse import logs, scan
from fleet.parse.lines import Line, parse_line
from fleet.parse.logs import MAX_RECORDS, parse_log
from fleet.parse.scan import LONG_LINE, AnchorIndex, Anchors

ANCHORS = Anchors(["no such host", "azure timeout", "aaaa", "aaaaa", "aaaaaa"])
HOSTILE = {
    "one line": b"no such host; ",
    "one line of one letter": b"a",
    "one line of borders": b"azcm0",
    "lines of codes": b'level=fatal msg="AZCM0042: failed"\n',
    "short lines": b"azcm1\n",
    "lines that a terminal drew over": b"azcm1\r",
    "ends of lines of Windows": b"azcm1\r\n",
    "marks far apart": b"azcm1" + b" " * 5000,
    "marked long lines": b"no such host" * 700 + b"\n",
    "zeros": b"\x00azcm1\x00\n",
    "broken UTF-8": b"\xff\xc5azcm1\xe2\x84\n",
    "quotes without an end": b'level=error msg="\\"azcm1',
    "escapes": b'level=error msg="' + b"\\" * 60 + b'azcm1"\n',
    "fields without an end": b"level=error msg=azcm1 a b c\n",
    "colours": b"\x1b[\x1b[0mazcm1\n",
    "long s": "\u017f".encode(),
}


class Searched(bytes):
    """Bytes that know how many of them were looked at for the end of a line and the like."""

    seen = 0

    def find(self, sub: bytes, start: int = 0, end: int = 1 << 60) -> int:  # type: ignore[override]
        place = super().find(sub, start, end)
        self.seen += (min(len(self), end) if place < 0 else place) - start
        return place

    def rfind(self, sub: bytes, start: int = 0, end: int = 1 << 60) -> int:  # type: ignore[override]
        place = super().rfind(sub, start, end)
        self.seen += min(len(self), end) - max(start, place)
        return place

    def count(self, sub: bytes, start: int = 0, end: int = 1 << 60) -> int:  # type: ignore[override]
        self.seen += min(len(self), end) - start
        return super().count(sub, start, end)


@dataclass
class Work:
    """What was done for one log: bytes scanned, hits met, bytes searched, characters decoded."""

    scanned: int = 0
    met: int = 0
    searched: int = 0
    decoded: int = 0

    def total(self) -> int:
        return self.scanned + 100 * self.met + self.searched + 10 * self.decoded


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    done = Work()
    plain_scan, plain_meet = scan._Literals.scan, scan._Walk.meet

    def counting_scan(self: scan._Literals, data: bytes | memoryview, meet: scan._OnHit) -> bool:
        last = 0

        def noting(number: int, start: int, end: int, flags: int, context: object) -> bool | None:
            nonlocal last
            last = end
            return meet(number, start, end, flags, context)

        is_through = plain_scan(self, data, noting)
        done.scanned += len(data) if is_through else last
        return is_through

    def counting_meet(self: scan._Walk, *hit: object) -> bool:
        done.met += 1
        return plain_meet(self, *hit)  # type: ignore[arg-type]

    def counting_parse(raw: str) -> Line:
        done.decoded += len(raw)
        return parse_line(raw)

    monkeypatch.setattr(scan._Literals, "scan", counting_scan)
    monkeypatch.setattr(scan._Walk, "meet", counting_meet)
    monkeypatch.setattr(logs, "parse_line", counting_parse)
    monkeypatch.setattr(scan, "_BLOCK", 1 << 16)
    return done


def _work(work: Work, data: bytes) -> Work:
    work.scanned = work.met = work.decoded = 0
    searched = Searched(data)
    parse_log("x", searched, ANCHORS)
    return Work(work.scanned, work.met, searched.seen, work.decoded)


@pytest.mark.parametrize("kind", HOSTILE)
def test_twice_the_log_is_twice_the_work(work: Work, kind: str) -> None:
    size = 1 << 18
    once, twice = (_work(work, HOSTILE[kind] * (factor * size // len(HOSTILE[kind]))) for factor in (1, 2))
    assert once.total() > size
    assert twice.total() < 3 * once.total()
    # No log costs more than a few looks at each byte, and a mark every few bytes is not met each time.
    assert once.scanned < 2 * size
    assert once.searched < 6 * size
    assert once.met < size / 5
    assert once.decoded <= min(MAX_RECORDS * LONG_LINE * 1.01, 4 * size)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_log_takes_memory_by_its_records_alone(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    small, large = (HOSTILE[kind] * (size // len(HOSTILE[kind])) for size in (1 << 18, 1 << 19))
    monkeypatch.setattr(scan, "_BLOCK", 1 << 14)
    peaks = []
    for data in (small, large):
        tracemalloc.start()
        places = sum(1 for _ in ANCHORS.places(data))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert places
    assert peaks[1] < 1.2 * peaks[0] + 100_000


def test_a_text_full_of_anchors_tells_each_once() -> None:
    index = AnchorIndex(["aaaa", "aaaaa", "no such host"])
    assert index.found("a" * 100_000) == {"aaaa", "aaaaa"}
