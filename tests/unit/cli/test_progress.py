"""The line that says how far a run is."""

from __future__ import annotations

import asyncio

import pytest

from fleet.app.collect_run import RunState
from fleet.cli.progress import _line
from fleet.collect.deadlines import Limits, PhaseClock
from fleet.model.words import Word


def state(selected: int, done: int, *in_flight: str) -> RunState:
    found = RunState(selected=selected)
    found.counts[Word.HEALTHY] = done
    found.in_flight = {name: PhaseClock(Limits()) for name in in_flight}
    return found


@pytest.mark.parametrize(
    ("run", "end"),
    [
        (lambda: state(100, 40, "a", "b"), "healthy 40  not observed 0  20.0/s  about 3 s left"),
        (lambda: state(42, 40, "b", "a"), "20.0/s  waiting for a, b"),
        (lambda: state(46, 40, *"abcdef"), "20.0/s  waiting for a, b, c, d, e, …"),
        (lambda: state(40, 40), "20.0/s"),
        (lambda: state(40, 0), "0.0/s"),
    ],
)
async def test_it_says_how_long_or_for_whom(run: object, end: str) -> None:
    await asyncio.sleep(0)
    assert callable(run)
    assert _line(run(), 2.0).plain.endswith(end)
