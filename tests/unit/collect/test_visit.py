"""What a visit quotes of a host that did not run it."""

from __future__ import annotations

import pytest

from fleet.collect.visit import _shown


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"", "it said nothing"),
        (b"first\nlast\n", "first last"),
        (b"a" * 289 + b"\nlast line", "a" * 289 + " last line"),
        (b"a" * 300 + b"\nlast line", "last line"),
        (b"a" * 5000, "a" * 4096),
        (b"\x00" * 50, "bytes that are no text"),
        # In a time that grows with its lines alone: as many as a host may send before its visit begins.
        (b"a" + b"\n" * 262_142 + b"b", " " * 298 + "b"),
    ],
)
def test_it_is_the_last_lines_and_whole(said: bytes, shown: str) -> None:
    assert _shown(said) == shown
