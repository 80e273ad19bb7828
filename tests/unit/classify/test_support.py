"""How long a release of the agent is supported still."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from fleet.classify.support import support_facts
from fleet.model.pack import Release, Releases
from fleet.packs.load import load_pack

RELEASES = Releases(
    as_of=date(2026, 8, 20),
    months=((Release(major=1, minor=9), date(2025, 7, 1)), (Release(major=1, minor=58), date(2025, 11, 1))),
)


def left(version: str, at: datetime | None, releases: Releases | None = RELEASES) -> list[str]:
    return [fact.value for fact in support_facts(version, releases, at)]


def day(year: int, month: int, number: int) -> datetime:
    return datetime(year, month, number, tzinfo=UTC)


@pytest.mark.parametrize(
    ("version", "at", "days"),
    [
        ("1.58.03228.700", day(2026, 11, 30), ["1"]),
        ("1.58.03228.700", day(2026, 12, 2), ["-1"]),
        # Older than all of the table, whose oldest is older than a year already.
        ("1.7.21162.003", day(2026, 11, 30), ["-122"]),
        # Of a release that the table does not have nobody knows.
        ("1.40.1", day(2026, 11, 30), []),
        ("1.99.1", day(2026, 11, 30), []),
        ("", day(2026, 11, 30), []),
        ("1.58.1", None, []),
        ("1.58.1", day(2027, 8, 20), ["-262"]),
        # A table that nobody kept up for a year tells nothing.
        ("1.58.1", day(2027, 8, 21), []),
    ],
)
def test_days_left(version: str, at: datetime | None, days: list[str]) -> None:
    assert left(version, at) == days


def test_without_a_table_nothing_is_known() -> None:
    assert left("1.58.1", day(2026, 11, 30), None) == []


def test_the_shipped_table_is_in_order_and_not_too_old() -> None:
    releases = load_pack().releases
    assert releases is not None
    minors = [release.minor for release, _ in releases.months]
    assert minors == list(range(minors[0], minors[-1] + 1))
    months = [month for _, month in releases.months]
    assert months == sorted(set(months))
    assert months[-1] <= releases.as_of
    # Compare it with the release notes and bring it up to date when this fails.
    assert datetime.now(UTC).date() <= releases.as_of + timedelta(days=365)
