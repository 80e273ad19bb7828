"""Every fact that is read is one of the catalogue, so that a rule can test it."""

from __future__ import annotations

import re
from pathlib import Path

import fleet
from fleet.model.facts import FACTS

# The free space of each place and settings of later agents are for the host's page.
_OPEN = ("space.", "config.")


def test_the_names_in_the_source_are_known() -> None:
    folder = Path(fleet.__file__).parent / "parse"
    text = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    named = set(re.findall(r'(?:Fact\(name=|yield )"([a-z]+\.[a-z0-9_.]+)"', text))
    assert len(named) > 30
    assert {name for name in named if not name.startswith(_OPEN)} <= FACTS.keys()
