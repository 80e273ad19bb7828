"""Rules into what they leave their reader without: a remedy that names what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from fleet.model.pack import Rule
from fleet.model.words import Severity

# What stands in backticks is a command, a path, a parameter or a value; a port and an endpoint are what a
# firewall or a proxy is set to; the others are rights that somebody has or gives.
_DEED = re.compile(
    r"`[^`]+`"
    r"|(?:^|\s)--[a-z]"
    r"|\bports? \d+"
    r"|\{(?:endpoint|proxy)\}"
    r"|\bMicrosoft\.[A-Z]\w+"
    r"|\b(?:[A-Z][\w.]*\s)+role\b"
    r"|\bAzure Connected Machine (?:Onboarding|Resource)\b"
    r"|\b(?:Owner|Contributor|administrator|root)\b"
    r"|\belevated prompt\b"
)


def vague_remedies(rules: Iterable[Rule]) -> Iterator[str]:
    """A sentence for each rule by which some host is told a remedy that names no command, no setting and no
    role. A rule of severity info asks nothing of anybody."""
    for rule in rules:
        if rule.severity is Severity.INFO:
            continue
        told = (rule.remediation, *(variant.remediation for variant in rule.instead if variant.remediation))
        vague = next((steps for steps in told if not _DEED.search(" ".join(steps))), None)
        if vague is not None:
            yield f"{rule.id}: its remedy names no command, no setting and no role: {vague[0]}"
