"""A rule's case: what a host says, and which rules find it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fleet.model.observation import Fact, Level
from fleet.model.words import OS


class Shape(StrEnum):
    """How a record stands in a text: in the agent's log or its captured output, on the console of a new agent
    and of an old one, in a log of guest configuration, as JSON."""

    LOG = "log"
    CONSOLE = "console"
    TERMINAL = "terminal"
    GCLOG = "gclog"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One record, to be rendered in every shape named. ``command``: of the run it stands in, "" of none."""

    text: str
    fields: tuple[tuple[str, str], ...] = ()
    level: Level = Level.ERROR
    command: str = ""
    shapes: tuple[Shape, ...] = (Shape.LOG,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Case ``number`` of the file ``path`` about ``rule``: text as it stands in a log, or one message; facts
    with it or alone. Or ``hosts``, each by its facts, for rules about what hosts share.

    ``log``: the log's name, "" of a text nobody can tell it of. ``expect``: rules that find it, now active.
    ``history``: rules that find it and it is over. ``misses``: rules that do not find it.
    """

    path: str
    line: int
    number: int
    rule: str
    text: str = ""
    message: Message | None = None
    facts: tuple[Fact, ...] = ()
    hosts: tuple[tuple[Fact, ...], ...] = ()
    log: str = "azcmagent"
    os: OS | None = None
    expect: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    misses: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """``path:line``, where the case begins."""
        return f"{self.path}:{self.line}"
