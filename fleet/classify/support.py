"""The agent's release and the day into the facts of whether it is supported still."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta

from fleet.classify.expressions import release_of
from fleet.model.observation import Fact
from fleet.model.pack import Releases

_YEAR = timedelta(days=365)
# A release is told by its month: it is supported to the end of that month a year later.
_MONTH = timedelta(days=30)


def support_facts(version: str, releases: Releases | None, at: datetime | None) -> Iterator[Fact]:
    """For how long the agent is supported; nothing where its release is unknown, or the table of releases is
    older than a year.

    Only releases of the last year are supported (agent-overview). What is older than all of the table is
    taken for as old as the oldest in it.
    """
    release = release_of(version)
    if releases is None or at is None or release is None or at.date() > releases.as_of + _YEAR:
        return
    months = {(known.major, known.minor): month for known, month in releases.months}
    came = _came(release, months)
    if came is not None:
        left = (came + _YEAR + _MONTH - at.date()).days
        yield Fact(name="agent.support_left_days", value=str(left), source="agent.version")


def _came(release: tuple[int, int], months: dict[tuple[int, int], date]) -> date | None:
    if not months:
        return None
    oldest = min(months)
    return months[oldest] if release < oldest else months.get(release)
