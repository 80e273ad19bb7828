"""Keeps the time of a visit: a deadline for each phase and one for the host, outside of any transport."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from fleet.errors import DeadlineError, HostError, StoppedError
from fleet.model.visit import Timing
from fleet.model.words import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds: ``connect_s`` for each phase up to the login, ``host_s`` for the whole visit."""

    connect_s: float = 10.0
    host_s: float = 120.0

    def of(self, phase: Phase) -> float:
        """The limit of one phase."""
        return self.host_s if phase in (Phase.EXEC, Phase.TRANSFER) else self.connect_s


class PhaseClock:
    """``async with`` around a visit, which has its deadline from the start. :meth:`enter` starts a phase and
    its deadline; when one passes, the work inside is cancelled and DeadlineError names the phase. Time spent
    in :meth:`paused` counts for nobody."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._scope = asyncio.timeout(None)
        self._loop = asyncio.get_running_loop()
        self._seconds: dict[Phase, float] = {}
        self._since = self.began = self._loop.time()
        self._host_ends = self._since + limits.host_s
        self.phase: Phase | None = None
        # Transports tell of phases from tasks of their own, which may outlive the visit by a moment.
        self._is_open = False
        self._is_stopped = False

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        self._is_open = True
        self._arm()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._account()
        self._is_open = False
        phase = self.phase
        try:
            await self._scope.__aexit__(*exc)  # type: ignore[arg-type]
        except TimeoutError as error:
            # Only our own scope raises here; a TimeoutError of a library passes through as it came.
            if not self._scope.expired():
                raise
            raise self._outcome(phase) from error

    def _outcome(self, phase: Phase | None) -> HostError:
        where = f"in phase {phase}" if phase else "before its first phase"
        if self._is_stopped:
            return StoppedError(f"the run was stopped while this visit was {where}")
        if phase is None or self._loop.time() >= self._host_ends:
            return DeadlineError(f"the visit took longer than {self._limits.host_s:g} s and was {where}")
        return DeadlineError(f"no answer within {self._limits.of(phase):g} s {where}")

    def stop(self) -> None:
        """End the visit now, as if its deadline had passed; what came so far is kept."""
        self._is_stopped = True
        if self._is_open and not self._scope.expired():
            self._scope.reschedule(self._loop.time())

    def enter(self, phase: Phase) -> None:
        """The phase begins; the one before it ended."""
        self._account()
        self.phase = phase
        self._arm()

    def _arm(self) -> None:
        if self._may_reschedule():
            phase_ends = self._host_ends if self.phase is None else self._since + self._limits.of(self.phase)
            self._scope.reschedule(min(phase_ends, self._host_ends))

    def _may_reschedule(self) -> bool:
        return self._is_open and not self._is_stopped and not self._scope.expired()

    def _account(self) -> None:
        now = self._loop.time()
        if self.phase is not None:
            self._seconds[self.phase] = self._seconds.get(self.phase, 0.0) + now - self._since
        self._since = now

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock while the visit waits for others of its own run."""
        self._account()
        if self._may_reschedule():
            self._scope.reschedule(None)
        try:
            yield
        finally:
            now = self._loop.time()
            self._host_ends += now - self._since
            self._since = now
            self._arm()

    @property
    def timings(self) -> tuple[Timing, ...]:
        """Seconds by phase, in the order they were entered."""
        return tuple(Timing(phase=phase, seconds=round(spent, 4)) for phase, spent in self._seconds.items())
