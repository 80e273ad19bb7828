"""A pack: what to read on a host and the rules that judge it, as loaded from its folder."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.model.words import OS, Severity

OTHER = "anything else"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to read on a host of one ``os``: a command for its fixed script, with its bounds.

    On Windows the first word is one that the script knows, no program.

    ``needs_root``: under ``become: reads`` it runs as ``sudo -n ARGV`` unless its last word is a path
    the login may read. ``when``: ``always``, ``failed`` (the item before it failed), ``not-connected``
    (the kept agent state does not say Connected). ``newest``: which end survives a cut.
    ``required``: without it nobody has looked, so the host cannot be HEALTHY.
    """

    name: str
    argv: tuple[str, ...]
    needs_root: bool = False
    when: str = "always"
    timeout_s: int = 10
    max_bytes: int = 65536
    newest: bool = False
    required: bool = False
    os: OS = OS.LINUX

    def __post_init__(self) -> None:
        if not self.argv or self.timeout_s < 1 or self.max_bytes < 1:
            raise ValueError(f"item {self.name}: needs words, seconds and bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One way a message looks: ``anchors`` are literals one of which the raw line holds, ``pattern`` is an
    RE2 expression on the decoded record (its message and fields); case does not matter in either."""

    anchors: tuple[str, ...]
    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A test of one fact: is, is_not, one_of, above, below, at_least (versions) or exists.

    A fact nobody read satisfies no condition.
    """

    field: str
    op: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What a rule says of some hosts instead: those of ``os`` (None: any) of which all of ``where`` holds. A
    text that is "" is the rule's own."""

    os: OS | None = None
    where: tuple[Condition, ...] = ()
    cause: str = ""
    remediation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. Exactly one of ``outcome`` (an AZCM code, or ``OTHER`` for every failure that no
    other rule describes), ``messages`` and ``conditions`` is set. Of ``instead`` the first that fits."""

    id: str
    version: int
    title: str
    severity: Severity
    cause: str
    remediation: str
    source: str
    code: str | None = None
    os: OS | None = None
    outcome: str | None = None
    messages: tuple[Message, ...] = ()
    conditions: tuple[Condition, ...] = ()
    unless: tuple[Condition, ...] = ()
    symptom_of: tuple[str, ...] = ()
    instead: tuple[Variant, ...] = ()

    def __post_init__(self) -> None:
        if sum((self.outcome is not None, bool(self.messages), bool(self.conditions))) != 1:
            raise ValueError(f"rule {self.id}: exactly one of outcome, messages and conditions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """Items in the order they are read, rules by id, and the SHA-256 over both (hex)."""

    name: str
    items: tuple[Item, ...]
    rules: tuple[Rule, ...]
    digest: str

    def items_for(self, os: OS) -> tuple[Item, ...]:
        """What is read on hosts of that family, in the order it is read."""
        return tuple(item for item in self.items if item.os is os)

    def rule(self, rule_id: str) -> Rule | None:
        """The rule of that id, or None."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)
