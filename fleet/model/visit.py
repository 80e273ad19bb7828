"""What one visit to one host brought back, before anybody read meaning into it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fleet.model.words import Phase, Privilege, Reason


def require_aware(at: datetime | None, what: str) -> None:
    """Refuse a naive datetime: an instant without a zone is not an instant."""
    if at is not None and at.tzinfo is None:
        raise ValueError(f"{what} has no time zone")


def require_finite(seconds: float | None, what: str) -> None:
    """Refuse an infinite time and NaN: no clock says them and no report can write them."""
    if seconds is not None and not math.isfinite(seconds):
        raise ValueError(f"{what} is {seconds}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One section: what an item printed. ``exit_code`` None: it was skipped (``skipped`` says why).

    ``denied``: it failed for want of privilege. ``cut``: longer than the bound, one end kept.
    """

    item: str
    data: bytes
    privilege: Privilege
    exit_code: int | None
    cut: bool = False
    denied: bool = False
    stderr: bytes = b""
    skipped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a host was not observed: reason, the phase it happened in, a sentence for the operator, and what to
    do where the reason alone does not tell."""

    reason: Reason
    phase: Phase | None
    message: str
    action: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds spent in one phase."""

    phase: Phase
    seconds: float

    def __post_init__(self) -> None:
        require_finite(self.seconds, "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One visit. ``body`` is the framed answer, gzip-compressed and masked, as it is stored.

    ``clock_offset_s``: host's clock minus ours, None when the host never answered. ``complete``: the end
    frame arrived. ``host_key``: the fingerprint of the key by which the host was known, "" where it has none.
    """

    started_at: datetime
    duration_s: float
    captures: tuple[Capture, ...] = ()
    complete: bool = False
    clock_offset_s: float | None = None
    timings: tuple[Timing, ...] = ()
    failure: Failure | None = None
    body: bytes = b""
    host_key: str = ""

    def __post_init__(self) -> None:
        require_aware(self.started_at, "started_at")
        if self.duration_s < 0:
            raise ValueError("duration_s is negative")

    def by_item(self) -> Mapping[str, Capture]:
        """Of each item its last capture that succeeded, else its last one."""
        found: dict[str, Capture] = {}
        for capture in self.captures:
            before = found.get(capture.item)
            if before is None or before.exit_code != 0 or capture.exit_code == 0:
                found[capture.item] = capture
        return found
