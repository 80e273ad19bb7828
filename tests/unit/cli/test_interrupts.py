"""What the two signals do, and what is shown meanwhile, whoever listens."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
from collections.abc import Iterator
from typing import TextIO

import pytest

from fleet.app.collect_run import RunState
from fleet.app.exit_code import Stopped
from fleet.cli.interrupts import SHOW_CURSOR, Interrupts
from fleet.cli.progress import show_progress


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    """A stderr whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    monkeypatch.setattr(sys, "stderr", stream)
    yield stream
    with pytest.raises(BrokenPipeError):
        stream.write("x")
        stream.close()


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes this process would have left with."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


async def interrupted_twice(state: RunState) -> None:
    with Interrupts(state) as interrupts:
        interrupts.listen("fleet report --run x")
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(state.stopping.wait(), 10)
        assert interrupts.stopped is Stopped.INTERRUPTED
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("unheard")
def test_signals_act_though_nobody_listens(left: list[int]) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    state = RunState(selected=1)
    asyncio.run(interrupted_twice(state))
    assert (state.stopped, left) == (Stopped.INTERRUPTED, [130])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_signals_act_though_there_is_no_stderr(left: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    asyncio.run(interrupted_twice(RunState(selected=1, bugs=1)))
    assert left == [70]


def test_a_full_pipe_holds_up_no_signal(left: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, bytes(1 << 16))
    os.set_blocking(writer, True)
    with os.fdopen(writer, "w") as stream, os.fdopen(reader):
        monkeypatch.setattr(sys, "stderr", stream)
        asyncio.run(interrupted_twice(RunState(selected=1)))
    assert left == [130]


def test_a_terminal_has_its_cursor_back(left: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream, os.fdopen(master, "rb", buffering=0) as terminal:
        monkeypatch.setattr(sys, "stderr", stream)
        asyncio.run(interrupted_twice(RunState(selected=1)))
        said = terminal.read(4096).decode()
    assert left == [130]
    assert (
        said.index("once more leaves at once") < said.index(SHOW_CURSOR) < said.index("fleet: left at once")
    )


def test_a_lost_terminal_stops_a_run_unless_that_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hung_up() -> Stopped | None:
        with Interrupts(RunState(selected=1)) as interrupts:
            interrupts.listen("fleet report --run x")
            os.kill(os.getpid(), signal.SIGHUP)
            return interrupts.stopped

    assert asyncio.run(hung_up()) is Stopped.INTERRUPTED
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert asyncio.run(hung_up()) is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_interrupt_comes_before_the_runs_own_deadline() -> None:
    state = RunState(selected=1)
    state.stop(Stopped.DEADLINE)

    async def told() -> Stopped | None:
        with Interrupts(state) as interrupts:
            interrupts.listen("fleet report --run x")
            os.kill(os.getpid(), signal.SIGTERM)
            return interrupts.stopped

    assert asyncio.run(told()) is Stopped.INTERRUPTED


async def test_there_is_no_progress_without_a_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fleet.cli.progress.LINE_EVERY_S", 0)
    monkeypatch.setattr(sys, "stderr", None)
    await asyncio.wait_for(show_progress(RunState(selected=1)), 10)
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("unheard")
async def test_progress_that_nobody_reads_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fleet.cli.progress.LINE_EVERY_S", 0)
    progress = asyncio.create_task(show_progress(RunState(selected=1)))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not progress.done()
    progress.cancel()
    await asyncio.gather(progress, return_exceptions=True)
    assert capsys.readouterr().out == ""
