"""What a host is told names nothing that only the other family has."""

from __future__ import annotations

import re

import pytest

from fleet.model.pack import Rule
from fleet.model.words import OS
from fleet.packs.load import load_pack

RULES = load_pack().rules
FOREIGN = {
    OS.WINDOWS: re.compile(r"systemctl|sudo|journalctl|systemd|himdsd|chrony|\broot\b|/var/|/opt/|\bLinux\b"),
    OS.LINUX: re.compile(
        r"\b(?:Get|Set|Start|Stop|Restart|Resolve)-[A-Z]|PowerShell|netsh|sc\.exe|gpupdate|elevated|%\w+%|\\"
        r"|\bMSI\b|Event Viewer|(?i:group policy)|GCArcService|ExtensionService|WinHTTP|HKLM|\bWindows\b"
    ),
}


def joined(text: str | tuple[str, ...]) -> str:
    return text if isinstance(text, str) else " ".join(text)


def texts(rule: Rule, family: OS, part: str) -> list[str]:
    """All that a host of that family may be told: the first entry without conditions ends the choice."""
    told: list[str] = []
    for variant in rule.instead:
        if variant.os in (None, family):
            told.append(joined(getattr(variant, part) or getattr(rule, part)))
            if not variant.where:
                return told
    return [*told, joined(getattr(rule, part))]


@pytest.mark.parametrize("family", list(OS))
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_no_remedy_is_one_for_the_other_family(rule: Rule, family: OS) -> None:
    told = texts(rule, family, "remediation") if family in rule.platforms else []
    assert not [text for text in told if FOREIGN[family].search(text)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_no_cause_on_linux_is_one_of_windows(rule: Rule) -> None:
    told = texts(rule, OS.LINUX, "cause") if OS.LINUX in rule.platforms else []
    assert not [text for text in told if FOREIGN[OS.LINUX].search(text)]
