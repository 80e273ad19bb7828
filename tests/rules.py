"""A rule to make others of."""

from __future__ import annotations

from fleet.model.pack import LogMatch, Rule
from fleet.model.words import Severity

LOG_RULE = Rule(
    id="log",
    family="f",
    version=1,
    title="t",
    severity=Severity.ERROR,
    cause="c",
    remediation=("r",),
    source="s",
    link="https://example.com/",
    match=LogMatch(text=("failed",)),
)
