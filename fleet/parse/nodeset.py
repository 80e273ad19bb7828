"""Node sets, ``db[01-04]``, into the host names they stand for, and host names back into node sets."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, product
from math import prod
from operator import itemgetter

MAX_NAMES = 100_000
"""The most names that one pattern may stand for."""

# Eighteen digits fit into 64 bits; longer runs are identifiers, not counters.
_ITEM = re.compile(r"([0-9]{1,18})(?:[:-]([0-9]{1,18}))?", re.ASCII)
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9_.:-]+", re.ASCII)
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", re.ASCII)
_MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class _Run:
    first: int
    last: int
    width: int

    def texts(self) -> Iterator[str]:
        return (str(number).zfill(self.width) for number in range(self.first, self.last + 1))

    @property
    def size(self) -> int:
        return self.last - self.first + 1


def expand(pattern: str) -> Iterator[str]:
    """The names that ``web[01:40].example.com``, ``web[01-40]`` or ``web[1,3,7-9]`` stands for, in order.

    A leading zero of a range's first number pads the whole range. Without brackets, a pattern stands for
    itself.

    Raises:
        ValueError: at once, with a sentence: bad syntax, or more than ``MAX_NAMES`` names.
    """
    parts = [_part(piece) for piece in _pieces(pattern)]
    if prod(sum(run.size for run in part) if isinstance(part, tuple) else 1 for part in parts) > MAX_NAMES:
        raise ValueError(f"{pattern!r} stands for more than {MAX_NAMES:,} names")
    columns = [_texts(part) for part in parts]
    return map("".join, product(*columns))


def _pieces(pattern: str) -> Iterator[tuple[bool, str]]:
    rest = pattern
    while rest:
        literal, bracket, rest = rest.partition("[")
        if "]" in literal:
            raise ValueError(f"{pattern!r} has a ']' without its '['")
        yield False, literal
        if bracket:
            inner, closing, rest = rest.partition("]")
            if not closing:
                raise ValueError(f"{pattern!r} has a '[' without its ']'")
            yield True, inner


def _part(piece: tuple[bool, str]) -> str | tuple[_Run, ...]:
    is_range, text = piece
    return tuple(map(_run, text.split(","))) if is_range else text


def _run(item: str) -> _Run:
    match = _ITEM.fullmatch(item.strip())
    if match is None:
        raise ValueError(f"{item!r} is not a number or a range of numbers such as 01:40 or 01-40")
    first, last = match[1], match[2] or match[1]
    if last.startswith("0") and len(last) != len(first):
        raise ValueError(f"the numbers of {item!r} are padded to different widths")
    if int(last) < int(first):
        raise ValueError(f"the range {item!r} runs backwards")
    return _Run(int(first), int(last), len(first) if first.startswith("0") else 0)


def _texts(part: str | tuple[_Run, ...]) -> list[str]:
    if isinstance(part, str):
        return [part]
    return [text for run in part for text in run.texts()]


def fold(names: Iterable[str]) -> str:
    """The names as one line, ``db[01-04], web[11-13]``: sorted, each once, the exact inverse of ``expand``.

    Names fold on the last number of their first DNS label (IPv4 addresses on their last number). Names
    without a number, or with characters that host names don't have, stand there as they are.
    """
    families: dict[tuple[str, str], list[str]] = defaultdict(list)
    parts: list[tuple[str, str]] = []
    for name in set(names):
        before, number, after = _cut(name)
        if number:
            families[before, after].append(number)
        else:
            parts.append((before, name))
    for (before, after), numbers in families.items():
        parts += ((before, part) for part in _folded(before, numbers, after))
    return ", ".join(part for _, part in sorted(parts, key=itemgetter(0, 1)))


def _cut(name: str) -> tuple[str, str, str]:
    """The name as what stands before, in and after the number it folds on; all of it before when none."""
    label = name if _IPV4.fullmatch(name) else name.partition(".")[0]
    numbers = list(_DIGITS.finditer(label))
    if not numbers or len(numbers[-1][0]) > _MAX_DIGITS or not _PLAIN.fullmatch(name):
        return name, "", ""
    start, end = numbers[-1].span()
    return name[:start], name[start:end], name[end:]


def _folded(before: str, numbers: list[str], after: str) -> Iterator[str]:
    if len(numbers) == 1:
        yield before + numbers[0] + after
        return
    for runs in _chunks(_runs(numbers)):
        yield f"{before}[{','.join(map(_render_run, runs))}]{after}"


def _runs(numbers: list[str]) -> Iterator[_Run]:
    """Unbroken runs of one padding. A number without a leading zero joins the widest padding it fits."""
    paddings = sorted({len(text) for text in numbers if text.startswith("0")}, reverse=True)
    sized = sorted(
        (next((width for width in paddings if width <= len(text)), 0), int(text)) for text in numbers
    )
    for (width, _), group in groupby(
        enumerate(sized), key=lambda entry: (entry[1][0], entry[1][1] - entry[0])
    ):
        values = [number for _, (_, number) in group]
        yield _Run(values[0], values[-1], width)


def _chunks(runs: Iterable[_Run]) -> Iterator[list[_Run]]:
    """Runs by as many as one pattern may hold, so that what was folded can always be expanded."""
    chunk: list[_Run] = []
    room = MAX_NAMES
    for run in runs:
        for piece in _split_run(run):
            if piece.size > room:
                yield chunk
                chunk, room = [], MAX_NAMES
            chunk.append(piece)
            room -= piece.size
    yield chunk


def _split_run(run: _Run) -> Iterator[_Run]:
    for first in range(run.first, run.last + 1, MAX_NAMES):
        yield _Run(first, min(first + MAX_NAMES - 1, run.last), run.width)


def _render_run(run: _Run) -> str:
    first, last = str(run.first).zfill(run.width), str(run.last).zfill(run.width)
    return first if first == last else f"{first}-{last}"


def split(text: str) -> tuple[str, ...]:
    """The parts of a comma list, stripped and without empty ones; commas within brackets do not split."""
    parts = [""]
    depth = 0
    for piece in re.split(r"([\[\],])", text):
        depth = max(0, depth + {"[": 1, "]": -1}.get(piece, 0))
        if piece == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    return tuple(part for part in map(str.strip, parts) if part)
