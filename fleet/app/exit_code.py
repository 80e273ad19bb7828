"""Turns what happened in a run into the program's exit code."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from fleet.model.words import ExitCode, Word


class Stopped(StrEnum):
    """Why a run ended before its last host."""

    INTERRUPTED = "interrupted"
    DEADLINE = "deadline"


def run_exit_code(counts: Mapping[Word, int], *, bugs: int, stopped: Stopped | None) -> ExitCode:
    """The first that holds: bug, interrupted, the run's deadline, some host unhealthy, some not observed."""
    if bugs:
        return ExitCode.BUG
    if stopped is Stopped.INTERRUPTED:
        return ExitCode.INTERRUPTED
    if stopped is Stopped.DEADLINE:
        return ExitCode.DEADLINE
    if counts.get(Word.FAILING) or counts.get(Word.DEGRADED):
        return ExitCode.UNHEALTHY
    if counts.get(Word.NOT_OBSERVED):
        return ExitCode.NOT_OBSERVED
    return ExitCode.OK
