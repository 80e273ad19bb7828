"""A pack: what to read on a host and the rules that judge it, as loaded from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from fleet.model.observation import Level, Outcome
from fleet.model.words import OS, Severity

UNKNOWN_CODE = "unknown"
"""Stands in a rule for every code that no rule names."""
NO_CODE = "none"
"""Stands in a rule for a failure that the agent ended without any code and that no rule describes."""


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
class LogMatch:
    """What a record of a log must be like: every field that is set holds.

    ``code``: how the agent ended a command run ("AZCM0042", ``UNKNOWN_CODE`` or ``NO_CODE``). ``text`` and
    ``without``: RE2 expressions on the decoded record, whose case does not matter; one of ``text`` and none
    of ``without`` is found. ``logs``: names without their prefix (``himds``). ``commands``: words of the
    command run (``connect``). ``run``: how that run ended. ``after``: an earlier record of the run holds it.
    ``count``: so many records do all this, within ``within_s`` seconds where that is set.
    """

    code: str | None = None
    text: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    levels: tuple[Level, ...] = ()
    commands: tuple[str, ...] = ()
    run: Outcome | None = None
    after: str = ""
    count: int = 1
    within_s: int | None = None

    def __post_init__(self) -> None:
        if self.code is None and not self.text:
            raise ValueError("a log match needs a code or a text")


@dataclass(frozen=True, slots=True, kw_only=True)
class StateMatch:
    """A CEL expression over the facts of one visit, yes or no. One that meets a fact that nobody read and
    that decides was not evaluated, which is neither."""

    expression: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetMatch:
    """A fact with one and the same value on at least ``hosts`` hosts of a run, of those for which ``where``
    (a CEL expression) holds."""

    fact: str
    hosts: int
    where: str = ""


Match = LogMatch | StateMatch | FleetMatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release of the agent by its first two numbers. The others differ between packagings of one
    release."""

    major: int
    minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Agents:
    """The agents a rule holds for: from ``first`` to before ``end``; None: no bound."""

    first: Release | None = None
    end: Release | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What a rule says of some hosts instead: those of ``os`` (None: any) for which ``where`` (a CEL
    expression; "": always) holds. A text that is "" and steps that are none are the rule's own."""

    os: OS | None = None
    where: str = ""
    cause: str = ""
    remediation: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. Its texts may hold ``{name}`` for a named group of its pattern and ``{agent.version}`` for a
    fact.

    ``remediation``: steps, of which the first is the one next action. ``source``: the article and its row, or
    the thread, where the knowledge is from. ``explains``: ids of the rules whose findings are symptoms of
    this one. ``generic``: it says where it hurt and not why, so whatever else its command run holds explains
    it. Of ``instead`` the first that fits holds.
    """

    id: str
    family: str
    version: int
    title: str
    severity: Severity
    cause: str
    remediation: tuple[str, ...]
    source: str
    link: str
    match: Match
    code: str | None = None
    platforms: tuple[OS, ...] = tuple(OS)
    agents: Agents | None = None
    explains: tuple[str, ...] = ()
    generic: bool = False
    instead: tuple[Variant, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What operators changed of a rule, and why. ``rule`` is the rule as it was; ``severity`` the one it now
    has; ``is_replaced``: theirs of the same id holds; neither: it is disabled. ``place``: ``path:line``."""

    rule: Rule
    reason: str
    place: str
    severity: Severity | None = None
    is_replaced: bool = False

    @property
    def is_disabled(self) -> bool:
        """Whether the rule is out of the set."""
        return self.severity is None and not self.is_replaced


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """Operators live with a rule's finding up to and with the day ``until``: on hosts by name or glob, or on
    those that have all of these labels. ``place``: ``path:line``."""

    rule: str
    ticket: str
    reason: str
    until: date
    place: str
    hosts: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if bool(self.hosts) == bool(self.labels):
            raise ValueError(f"accept {self.rule}: hosts or labels, one of the two")


@dataclass(frozen=True, slots=True, kw_only=True)
class Releases:
    """The first day of the month in which each release of the agent came out, oldest first, as known on a
    day."""

    as_of: date
    months: tuple[tuple[Release, date], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """Items in the order they are read, rules by id, the agent's releases, and the SHA-256 over all (hex).
    The rules are as they hold: ``overrides`` are in them already."""

    name: str
    items: tuple[Item, ...]
    rules: tuple[Rule, ...]
    digest: str
    overrides: tuple[Override, ...] = ()
    accepts: tuple[Accept, ...] = ()
    releases: Releases | None = None

    def items_for(self, os: OS) -> tuple[Item, ...]:
        """What is read on hosts of that family, in the order it is read."""
        return tuple(item for item in self.items if item.os is os)

    def rule(self, rule_id: str) -> Rule | None:
        """The rule of that id, or None."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)
