"""Checks the syntax of PowerShell files, with no PowerShell: ``python -m tests.powershell_syntax FILE...``"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

_LANGUAGE = Language(tree_sitter_powershell.language())
# What the grammar takes and Windows PowerShell does not: `&&` and `||` are PowerShell 7's.
_TOO_NEW = frozenset({"pipeline_chain_tail"})


def parse(source: bytes) -> Node:
    """The root of the syntax tree; damage is in it as ERROR and MISSING nodes."""
    return Parser(_LANGUAGE).parse(source).root_node


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it, in the order of the text."""
    yield node
    for child in node.children:
        yield from walk(child)


def text_of(node: Node) -> str:
    """The piece of the source that the node stands for."""
    return (node.text or b"").decode()


def mistakes(source: bytes) -> Iterator[tuple[int, str]]:
    """Line numbers and what is wrong there."""
    for node in walk(parse(source)):
        line = node.start_point.row + 1
        if node.is_missing:
            yield line, f"{node.type} is missing"
        elif node.is_error:
            yield line, f"syntax error at {text_of(node)[:60]!r}"
        elif node.type in _TOO_NEW:
            yield line, f"not in Windows PowerShell: {text_of(node)[:60]!r}"


def main(paths: Sequence[str]) -> int:
    """Print one line a mistake; how the process ends: 1 where there was one."""
    found = [(path, *mistake) for path in paths for mistake in mistakes(Path(path).read_bytes())]
    for path, line, wrong in found:
        sys.stdout.write(f"{path}:{line}: {wrong}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
