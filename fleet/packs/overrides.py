"""What operators wrote beside their rules: ``overrides.yaml`` and ``accept.yaml`` into entries, strictly."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TypeVar

import yaml

from fleet.errors import Mistake
from fleet.model.pack import Accept
from fleet.model.words import Severity
from fleet.packs.document import Document
from fleet.packs.rules import word

LONGEST = timedelta(days=180)
"""So far ahead ``until`` may be. What expired longer ago is refused too: nobody waits for it any more."""

_DEEDS = frozenset({"disable", "severity", "replace"})
_WHERE = frozenset({"hosts", "labels"})
_DAY = re.compile(r"\d{4}-\d\d-\d\d")

_Entry = TypeVar("_Entry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One entry of ``overrides.yaml``, not yet held against the rules; see ``Override``."""

    rule: str
    reason: str
    path: str
    line: int
    severity: Severity | None = None
    is_replaced: bool = False

    @property
    def place(self) -> str:
        """``path:line``."""
        return f"{self.path}:{self.line}"

    def mistake(self, text: str) -> Mistake:
        """A mistake at this entry."""
        return Mistake(path=self.path, line=self.line, text=text, key="rule")


def load_changes(path: Path) -> tuple[tuple[Change, ...], list[Mistake]]:
    """The entries of that file, each about another rule, and every mistake."""
    return _load(path, frozenset({"rule", "reason"}), _DEEDS, _change)


def load_accepts(
    path: Path, known: AbstractSet[str], today: date
) -> tuple[tuple[Accept, ...], list[Mistake]]:
    """The entries of that file, whose rules are among the ``known``, and every mistake."""

    def read(document: Document, node: yaml.Node, fields: dict[str, yaml.Node]) -> Accept | None:
        return _accept(document, node, fields, known, today)

    return _load(path, frozenset({"rule", "ticket", "reason", "until"}), _WHERE, read)


def _load(
    path: Path,
    required: frozenset[str],
    optional: frozenset[str],
    read: Callable[[Document, yaml.Node, dict[str, yaml.Node]], _Entry | None],
) -> tuple[tuple[_Entry, ...], list[Mistake]]:
    document = Document(path)
    root = document.compose()
    entries: list[_Entry] = []
    for node in document.sequence(root):
        before = len(document.mistakes)
        fields = document.mapping(node, required, optional)
        entry = read(document, node, fields) if fields is not None else None
        if entry is not None and len(document.mistakes) == before:
            entries.append(entry)
    return tuple(entries), document.mistakes


def _change(document: Document, node: yaml.Node, fields: dict[str, yaml.Node]) -> Change:
    if len(_DEEDS & fields.keys()) != 1:
        document.complain(node, f"exactly one of {', '.join(sorted(_DEEDS))} is needed", "rule")
    for key in ("disable", "replace"):
        if key in fields and not document.flag(fields[key]):
            document.complain(fields[key], f"{key} is true or not there", key)
    return Change(
        rule=document.text(fields.get("rule")),
        reason=_line(document, fields.get("reason")),
        path=str(document.path),
        line=node.start_mark.line + 1,
        severity=word(document, fields.get("severity"), Severity),
        is_replaced="replace" in fields,
    )


def _accept(
    document: Document,
    node: yaml.Node,
    fields: dict[str, yaml.Node],
    known: AbstractSet[str],
    today: date,
) -> Accept | None:
    rule = document.text(fields.get("rule"))
    if rule and rule not in known:
        document.complain(fields["rule"], f"there is no rule {rule!r}, or it is disabled", "rule")
    until = _until(document, fields.get("until"), today)
    if len(_WHERE & fields.keys()) != 1:
        document.complain(node, "hosts or labels is needed, one of the two", "hosts")
        return None
    hosts = tuple(document.text(each) for each in document.sequence(fields.get("hosts")))
    labels = tuple(_labels(document, fields.get("labels")))
    ticket, reason = (_line(document, fields.get(key)) for key in ("ticket", "reason"))
    if until is None or not (hosts or labels):
        return None
    return Accept(
        rule=rule,
        ticket=ticket,
        reason=reason,
        until=until,
        place=f"{document.path}:{node.start_mark.line + 1}",
        hosts=hosts,
        labels=labels,
    )


def _until(document: Document, node: yaml.Node | None, today: date) -> date | None:
    text = document.text(node)
    if not text:
        return None
    try:
        until = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        until = None
    if until is None:
        document.complain(node, f"until is a day like 2030-12-31, not {text!r}", "until")
    elif until > today + LONGEST:
        document.complain(node, f"until is at most {LONGEST.days} days ahead, {today + LONGEST}", "until")
    elif until < today - LONGEST:
        document.complain(node, f"expired more than {LONGEST.days} days ago: take the entry out", "until")
    return until


def _labels(document: Document, node: yaml.Node | None) -> Iterator[tuple[str, str]]:
    if node is None:
        return
    for name, value in document.pairs(node).items():
        yield name, document.text(value)


def _line(document: Document, node: yaml.Node | None) -> str:
    return " ".join(document.text(node).split())
