"""Shows how a run goes on: a live view on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import asyncio
import sys
import time

from rich.console import Console
from rich.live import Live
from rich.text import Text

from fleet.app.collect_run import RunState
from fleet.cli.program import tell
from fleet.model.words import Word

REFRESH_S = 0.25
LINE_EVERY_S = 30.0
OLDEST = 5

_STYLES = {Word.HEALTHY: "green", Word.FAILING: "red", Word.DEGRADED: "yellow", Word.NOT_OBSERVED: "magenta"}


async def show_progress(state: RunState) -> None:
    """On stderr until cancelled; not at all where there is none."""
    stream = sys.stderr
    if stream is None:
        return
    began = time.monotonic()
    if not stream.isatty():
        while True:
            await asyncio.sleep(LINE_EVERY_S)
            tell(_line(state, time.monotonic() - began).plain)
    console = Console(file=stream)
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while True:
            live.update(_view(state, time.monotonic() - began))
            await asyncio.sleep(REFRESH_S)


def _line(state: RunState, spent_s: float) -> Text:
    rate = state.done / spent_s if spent_s else 0.0
    text = Text(f"{state.done}/{state.selected} hosts  ")
    for word in Word:
        text.append(f"{word.value.lower().replace('_', ' ')} {state.counts[word]}  ", style=_STYLES[word])
    text.append(f"{rate:.1f}/s")
    left = state.selected - state.done
    if 0 < left <= len(state.in_flight):
        # How long these take says nothing of the last: it is they that are slow.
        names = sorted(state.in_flight)
        text.append(f"  waiting for {', '.join(names[:OLDEST])}{', …' if len(names) > OLDEST else ''}")
    elif rate and left:
        text.append(f"  about {left / rate:.0f} s left")
    return text


def _view(state: RunState, spent_s: float) -> Text:
    text = _line(state, spent_s)
    oldest = sorted(state.in_flight.items(), key=lambda entry: entry[1].began)[:OLDEST]
    now = time.monotonic()
    for name, clock in oldest:
        text.append(f"\n  {name}  {clock.phase or 'starting'}  {now - clock.began:.0f} s", style="dim")
    return text
