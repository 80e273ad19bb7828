"""Turns what happened in a run into the program's exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from fleet.model.finding import FleetFinding
from fleet.model.words import ExitCode, Word


class Stopped(StrEnum):
    """Why a run ended before its last host."""

    INTERRUPTED = "interrupted"
    DEADLINE = "deadline"


def run_exit_code(
    counts: Mapping[Word, int], *, bugs: int, stopped: Stopped | None, fleet: Sequence[FleetFinding] = ()
) -> ExitCode:
    """The first that holds: bug, interrupted, the run's deadline, some host or what hosts share unhealthy,
    some not observed."""
    if bugs:
        return ExitCode.BUG
    if stopped is Stopped.INTERRUPTED:
        return ExitCode.INTERRUPTED
    if stopped is Stopped.DEADLINE:
        return ExitCode.DEADLINE
    is_unwell = counts.get(Word.FAILING) or counts.get(Word.DEGRADED)
    if is_unwell or any(finding.is_trouble for finding in fleet):
        return ExitCode.UNHEALTHY
    if counts.get(Word.NOT_OBSERVED):
        return ExitCode.NOT_OBSERVED
    return ExitCode.OK
