"""The table of the agent's releases, read strictly."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from fleet.model.pack import Release
from fleet.packs.releases import load_releases

TABLE = """\
as_of: 2026-08-20
releases:
  - {release: "1.58", month: 2025-11}
  - {release: "1.57", month: 2025-10}
"""


def test_a_table_is_read_oldest_first(tmp_path: Path) -> None:
    path = tmp_path / "releases.yaml"
    path.write_text(TABLE, encoding="utf-8")
    releases, mistakes = load_releases(path)
    assert mistakes == []
    assert releases is not None
    assert releases.as_of == date(2026, 8, 20)
    assert releases.months == (
        (Release(major=1, minor=57), date(2025, 10, 1)),
        (Release(major=1, minor=58), date(2025, 11, 1)),
    )


def test_a_pack_may_have_none(tmp_path: Path) -> None:
    assert load_releases(tmp_path / "releases.yaml") == (None, [])


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("2026-08-20", "soon", 1, "a date as in 2026-08-20"),
        ("2025-11", "2025-13", 3, "a date as in 2026-08"),
        ('"1.58"', "new", 3, "two numbers as in 1.58"),
        ("month: 2025-10", "day: 2025-10", 4, "unknown key 'day'"),
        ("as_of: 2026-08-20\n", "", 1, "'as_of' is missing"),
    ],
)
def test_a_mistake_has_its_line(tmp_path: Path, old: str, new: str, line: int, says: str) -> None:
    path = tmp_path / "releases.yaml"
    path.write_text(TABLE.replace(old, new), encoding="utf-8")
    releases, mistakes = load_releases(path)
    assert releases is None
    assert any(mistake.line == line and says in mistake.text for mistake in mistakes), mistakes
