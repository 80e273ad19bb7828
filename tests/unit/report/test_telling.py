"""Which of the agent's own codes stands beside a cause that has none."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fleet.model.finding import Finding
from fleet.model.words import Severity, State, Word
from fleet.report.telling import ONE_COMMAND, printed_codes
from tests.unit.report.sample import CREATE, START, STOPPED, make_result


def seen(finding: Finding, seconds: int | None, code: str | None = None) -> Finding:
    """The finding as last, and first, seen so many seconds after START, with that code."""
    at = None if seconds is None else START + timedelta(seconds=seconds)
    return replace(finding, code=code, rule=code or "cause", first_seen_at=at, last_seen_at=at)


def printed(cause: Finding, *others: Finding) -> tuple[str, ...]:
    return printed_codes(make_result("a", Word.FAILING, cause, *others))


def test_the_causes_own_code_is_the_only_one() -> None:
    assert printed(seen(CREATE, 0, "A"), seen(CREATE, 0, "B")) == ("A",)


def test_a_code_of_the_same_command_and_none_of_an_earlier_one() -> None:
    earlier, later = seen(CREATE, -3800, "A"), seen(CREATE, 3, "B")
    assert printed(seen(STOPPED, 0), earlier, later) == ("B",)
    assert printed(seen(STOPPED, 0), earlier) == ()
    assert printed(seen(STOPPED, 0), seen(CREATE, 40, "A"), seen(CREATE, -2, "B")) == ("B", "A")
    assert printed(seen(STOPPED, 0), seen(CREATE, None, "A")) == ()


@pytest.mark.parametrize("sign", [-1, 1])
def test_as_far_as_a_command_takes(sign: int) -> None:
    far = round(ONE_COMMAND.total_seconds())
    assert printed(seen(STOPPED, 0), seen(CREATE, sign * far, "A")) == ("A",)
    assert printed(seen(STOPPED, 0), seen(CREATE, sign * (far + 1), "A")) == ()


def test_a_code_within_the_time_that_a_cause_lasts() -> None:
    cause = replace(seen(STOPPED, 0), first_seen_at=START - timedelta(days=2))
    assert printed(cause, seen(CREATE, -86400, "A")) == ("A",)


def test_beside_a_cause_without_a_time_the_newest_comes_first() -> None:
    codes = (seen(CREATE, -50, "A"), seen(CREATE, -5, "B"), seen(CREATE, None, "C"))
    assert printed(seen(STOPPED, None), *codes) == ("B", "A", "C")


def test_what_was_survived_or_was_no_failure_has_no_code() -> None:
    well = replace(seen(CREATE, 0, "A"), severity=Severity.INFO)
    survived = replace(seen(CREATE, 0, "B"), state=State.HISTORICAL)
    assert printed(seen(STOPPED, 0), well, survived) == ()
