"""Paths in a stream, however it is cut into pieces."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.lab.rewrite import OWN_PATHS, Rewriter, rewrite

TREE = Path("/tree")
WORDS = st.sampled_from(
    [*(path.encode() for path in OWN_PATHS), b"/", b"/var", b"/opt", b"x", b"\xff\n", b":"]
)


@pytest.mark.parametrize("path", OWN_PATHS)
def test_every_path_is_rewritten_once(path: str) -> None:
    assert rewrite(f"a {path}/log b".encode(), TREE) == f"a /tree{path}/log b".encode()


def test_other_paths_stay() -> None:
    text = b"/var/log /opt /usr/bin:/proc/self/stat /etc/os"
    assert rewrite(text, TREE) == text


@given(st.lists(WORDS).map(b"".join), st.lists(st.integers(0, 200)))
def test_pieces_give_what_the_whole_gives(text: bytes, cuts: list[int]) -> None:
    stream = Rewriter(TREE)
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [stream.feed(text[start:end]) for start, end in pairwise(edges)]
    assert b"".join((*pieces, stream.end())) == rewrite(text, TREE)


def test_nothing_waits_that_cannot_begin_a_path() -> None:
    assert Rewriter(TREE).feed(b"cat /var/opt/azcmagent") == b"cat /tree/var/opt/azcmagent"
    assert Rewriter(TREE).feed(b"}\n") == b"}\n"
