"""What a Windows host is told names nothing that only Linux has."""

from __future__ import annotations

import re

import pytest

from fleet.model.pack import Rule
from fleet.model.words import OS
from fleet.packs.load import load_pack

RULES = [rule for rule in load_pack().rules if rule.os is not OS.LINUX]
LINUX_ONLY = re.compile(r"systemctl|sudo|journalctl|systemd|himdsd|chrony|\broot\b|/var/|/opt/")


def remedies(rule: Rule) -> list[str]:
    """All that a Windows host may be told to do: the first entry without conditions ends the choice."""
    told: list[str] = []
    for variant in rule.instead:
        if variant.os in (None, OS.WINDOWS):
            told.append(variant.remediation or rule.remediation)
            if not variant.where:
                return told
    return [*told, rule.remediation]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_no_remedy_is_one_for_linux(rule: Rule) -> None:
    assert not [text for text in remedies(rule) if LINUX_ONLY.search(text)]
