"""Phases have deadlines of their own, kept outside of the work."""

from __future__ import annotations

import asyncio

import pytest

from fleet.collect.deadlines import Limits, PhaseClock
from fleet.errors import DeadlineError, StoppedError
from fleet.model.words import Phase


async def test_a_silent_phase_is_named() -> None:
    clock = PhaseClock(Limits(connect_s=0.01, host_s=5))
    with pytest.raises(DeadlineError, match=r"0\.01 s in phase handshake"):
        async with clock:
            clock.enter(Phase.CONNECT)
            clock.enter(Phase.HANDSHAKE)
            await asyncio.Event().wait()
    assert [timing.phase for timing in clock.timings] == [Phase.CONNECT, Phase.HANDSHAKE]


async def test_what_comes_before_the_first_phase_is_the_hosts_time_too() -> None:
    with pytest.raises(DeadlineError, match=r"longer than 0\.01 s and was before its first phase"):
        async with PhaseClock(Limits(host_s=0.01)):
            await asyncio.Event().wait()


async def test_the_host_as_a_whole_has_one_too() -> None:
    clock = PhaseClock(Limits(connect_s=5, host_s=0.01))
    with pytest.raises(DeadlineError, match="the visit took longer"):
        async with clock:
            clock.enter(Phase.TRANSFER)
            await asyncio.Event().wait()


async def test_a_timeout_of_the_work_itself_is_not_ours() -> None:
    clock = PhaseClock(Limits())
    with pytest.raises(TimeoutError, match="theirs"):
        async with clock:
            clock.enter(Phase.CONNECT)
            raise TimeoutError("theirs")


async def test_waiting_for_others_is_nobodys_time() -> None:
    clock = PhaseClock(Limits(connect_s=0.02, host_s=0.02))
    async with clock:
        clock.enter(Phase.AUTH)
        with clock.paused():
            await asyncio.sleep(0.05)
        await asyncio.sleep(0)
    assert clock.timings[0].seconds < 0.02


async def test_cancelling_from_outside_stays_a_cancellation() -> None:
    async def work() -> None:
        async with PhaseClock(Limits()) as clock:
            clock.enter(Phase.CONNECT)
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stopped_visit_ends_at_once_and_says_where() -> None:
    clock = PhaseClock(Limits())
    loop = asyncio.get_running_loop()
    with pytest.raises(StoppedError, match="in phase exec"):
        async with clock:
            clock.enter(Phase.EXEC)
            loop.call_soon(clock.stop)
            await asyncio.Event().wait()


async def test_a_visit_that_ended_is_left_alone() -> None:
    clock = PhaseClock(Limits())
    async with clock:
        clock.enter(Phase.EXEC)
    clock.enter(Phase.TRANSFER)
    clock.stop()
    with clock.paused():
        pass
    assert clock.timings[0].phase is Phase.EXEC
