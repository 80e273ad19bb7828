"""Turns rows of cells into aligned lines."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence


def table(rows: Sequence[tuple[str, ...]], *, right: Container[int] = ()) -> Iterator[str]:
    """The rows as lines; the columns in ``right``, which hold numbers, to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
