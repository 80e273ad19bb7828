"""The verb ``collect``: visits every host of a run and stores a judged row for each."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from fleet.app.digest import Digest, Judged
from fleet.app.exit_code import Stopped
from fleet.collect.deadlines import PhaseClock
from fleet.collect.visit import Answer, Visitor
from fleet.model.host import Host
from fleet.model.report import HostResult, Run, Verdict
from fleet.model.visit import Visit
from fleet.model.words import Observed, Reason, Word
from fleet.ports import Store

BATCH = 100
QUICK_BYTES = 1 << 19
"""What is judged on the spot, within some 10 ms: to share the interpreter's lock with a second thread would
cost the loop more. A larger answer must not hold up the others."""
LINGER_S = 0.25
"""How long a result may wait for others to be stored with it."""
GRACE_S = 3.0
"""How long visits in flight may go on once the run was told to stop, and how long they may take to end."""

log = logging.getLogger(__name__)


class Visits(Protocol):
    """Which visitor serves a host."""

    def visitor(self, host: Host) -> Visitor:
        """The visitor for the host's connection."""
        ...


@dataclass(slots=True)
class RunState:
    """What is known while a run lasts, for progress and for the exit code; nothing per finished host."""

    selected: int
    counts: Counter[Word] = field(default_factory=Counter)
    in_flight: dict[str, PhaseClock] = field(default_factory=dict)
    bugs: int = 0
    stopped: Stopped | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def done(self) -> int:
        """Hosts with a result."""
        return self.counts.total()

    def stop(self, why: Stopped) -> None:
        """Start no further host; the first reason stays."""
        self.stopped = self.stopped or why
        self.stopping.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Hosts that share a transport, so many of which are visited at once."""

    hosts: Sequence[Host]
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """One run of ``collect``: ``hosts``, each of them in one of the crews. ``store_pool`` has one thread: the
    store belongs to it alone."""

    run: Run
    hosts: Sequence[Host]
    crews: Sequence[Crew]
    visits: Visits
    digest: Digest
    store: Store
    store_pool: Executor
    judge_pool: Executor
    max_time_s: float | None

    async def collect(self, state: RunState) -> None:
        """Visit all hosts. At every way out each of them has a row. Raises StorageError."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self.store_pool, self.store.begin, self.run, self.hosts)
        queue: asyncio.Queue[Judged | None] = asyncio.Queue(maxsize=BATCH)
        deadline = (
            loop.call_later(self.max_time_s, state.stop, Stopped.DEADLINE)
            if self.max_time_s is not None
            else None
        )
        writer = asyncio.create_task(self._write(queue))
        workers = [
            asyncio.create_task(self._work(hosts, queue, state))
            for crew in self.crews
            for hosts in (iter(crew.hosts),)
            for _ in range(min(crew.size, len(crew.hosts)))
        ]
        try:
            await self._until_done(workers, writer, state)
        finally:
            if deadline is not None:
                deadline.cancel()
            await _cancelled(workers)
            # A writer that failed reads no more: the end must not wait for room in its queue.
            end = asyncio.create_task(queue.put(None))
            await asyncio.wait((end, writer), return_when=asyncio.FIRST_COMPLETED)
            end.cancel()
            await writer

    async def _until_done(
        self, workers: list[asyncio.Task[None]], writer: asyncio.Task[None], state: RunState
    ) -> None:
        stopping = asyncio.create_task(state.stopping.wait())
        crew = asyncio.gather(*workers)
        try:
            await asyncio.wait((crew, writer, stopping), return_when=asyncio.FIRST_COMPLETED)
            if stopping.done() and not writer.done():
                await asyncio.wait((crew, writer), timeout=GRACE_S, return_when=asyncio.FIRST_COMPLETED)
                for clock in state.in_flight.values():
                    clock.stop()
                await asyncio.wait((crew, writer), timeout=GRACE_S, return_when=asyncio.FIRST_COMPLETED)
            if crew.done():
                crew.result()
        finally:
            stopping.cancel()
            crew.cancel()
            await asyncio.gather(crew, stopping, return_exceptions=True)

    async def _work(
        self, hosts: Iterator[Host], queue: asyncio.Queue[Judged | None], state: RunState
    ) -> None:
        # Workers share one iterator and wait for the writer: nothing is held for hosts not yet begun or
        # already stored.
        for host in hosts:
            if state.stopping.is_set():
                return
            judged = await self._supervised(host, state)
            state.counts[judged.result.verdict.word] += 1
            log.info("%s", _line(judged.result))
            await queue.put(judged)

    async def _supervised(self, host: Host, state: RunState) -> Judged:
        try:
            return await self._one(host, state)
        except Exception:  # the one supervised place: a bug costs its host, never the run
            log.exception("bug while visiting %s", host.name)
            state.bugs += 1
            verdict = Verdict(
                word=Word.NOT_OBSERVED,
                observed=Observed.NONE,
                reason=Reason.BUG,
                message="fleet made a mistake on this host; the log file has the traceback",
                action="Report the traceback to the maintainers of fleet.",
            )
            return Judged(result=HostResult(host=host, verdict=verdict), body=b"")
        finally:
            state.in_flight.pop(host.name, None)

    async def _one(self, host: Host, state: RunState) -> Judged:
        def watch(clock: PhaseClock) -> None:
            state.in_flight[host.name] = clock

        visit, answer = await self.visits.visitor(host).visit(host, watch)
        if answer is None:
            return self.digest.judge(host, visit)
        plain = answer.plain(QUICK_BYTES + 1)
        if len(plain.data) <= QUICK_BYTES:
            return self.digest.judge(host, visit, answer, plain)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.judge_pool, self._judge_large, host, visit, answer)

    def _judge_large(self, host: Host, visit: Visit, answer: Answer) -> Judged:
        return self.digest.judge(host, visit, answer, answer.plain(self.digest.max_answer_bytes(host)))

    async def _write(self, queue: asyncio.Queue[Judged | None]) -> None:
        loop = asyncio.get_running_loop()
        more = True
        while more:
            batch, more = await _batch(queue)
            rows = [(judged.result, judged.body) for judged in batch]
            if rows:
                await loop.run_in_executor(self.store_pool, self.store.save, self.run.id, rows)


async def _batch(queue: asyncio.Queue[Judged | None]) -> tuple[list[Judged], bool]:
    """What came within a moment of the first (a transaction is dear), and whether more may come."""
    batch: list[Judged] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(None) as scope:
            while len(batch) < BATCH:
                item = await queue.get()
                if item is None:
                    return batch, False
                batch.append(item)
                if len(batch) == 1:
                    scope.reschedule(asyncio.get_running_loop().time() + LINGER_S)
    return batch, True


def _line(result: HostResult) -> str:
    verdict = result.verdict
    why = verdict.cause.label if verdict.cause else verdict.reason
    where = f" in phase {verdict.phase}" if verdict.phase else ""
    took = f"{result.duration_s:.1f} s" if result.duration_s is not None else "no time"
    return f"{result.host.name}: {verdict.word}{f', {why}' if why else ''}{where}, {took}"


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
