"""A folder of ``RULE-ID.yaml`` files into the cases of the rules, strictly: every mistake at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import yaml

from fleet.classify.expressions import typed
from fleet.errors import Mistake, PackError
from fleet.model.case import Case, Message, Shape
from fleet.model.facts import FACTS
from fleet.model.observation import Fact, Level
from fleet.model.pack import Pack
from fleet.model.words import OS
from fleet.packs.document import Document
from fleet.packs.rules import LOGS, one_of, word, words

OTHER_LOG = "other"
"""Stands in a case for a text that nobody can tell of which log it is."""

_WHAT = frozenset({"text", "message", "facts", "hosts"})
_OF_MESSAGE = frozenset({"fields", "level", "command", "shapes"})
_EXPECTED = ("expect", "history", "not")
_KEYS = _WHAT | _OF_MESSAGE | frozenset({"log", "os", *_EXPECTED})


def load_cases(folders: Sequence[Path], pack: Pack) -> tuple[Case, ...]:
    """The cases of all files in the folders, by file and in the order of each.

    Raises:
        PackError: with every mistake of all files, by file and line; also when there is no case at all.
    """
    known = {rule.id for rule in pack.rules}
    cases: list[Case] = []
    mistakes: list[Mistake] = []
    for folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if path.name.startswith("."):
                continue
            reader = _Reader(path, known)
            cases += reader.cases()
            mistakes += reader.document.mistakes
    if not cases and not mistakes:
        places = ", ".join(map(str, folders)) or "no folder"
        mistakes.append(Mistake(path=places, line=0, text="no case is here"))
    if mistakes:
        raise PackError(tuple(mistakes))
    return tuple(cases)


class _Reader:
    """Reads the cases of one rule's file."""

    def __init__(self, path: Path, known: AbstractSet[str]) -> None:
        self.document = Document(path)
        self._rule = path.stem
        self._known = known

    def cases(self) -> Iterator[Case]:
        path = self.document.path
        if path.suffix != ".yaml" or self._rule not in self._known:
            self.document.complain(
                None,
                "a file of cases is named after its rule: RULE-ID.yaml; those of rules of your own lie in "
                "cases/ beside them",
            )
            return
        root = self.document.compose()
        fields = self.document.mapping(root, frozenset({"cases"})) if root else None
        for number, node in enumerate(self.document.sequence((fields or {}).get("cases")), 1):
            before = len(self.document.mistakes)
            entry = self.document.mapping(node, frozenset(), _KEYS)
            case = self._case(node, entry, number) if entry is not None else None
            if case is not None and len(self.document.mistakes) == before:
                yield case

    def _case(self, node: yaml.Node, entry: dict[str, yaml.Node], number: int) -> Case:
        told = [key for key in ("text", "message", "hosts") if key in entry]
        if len(told) > 1 or not _WHAT & entry.keys():
            text = "a text or a message is needed, facts with it or alone, or hosts, each by its facts"
            self.document.complain(node, text, "text")
        if "hosts" in entry and {"facts", "log"} & entry.keys():
            self.document.complain(node, "hosts are told alone, each by its facts", "hosts")
        if not told and "log" in entry:
            self.document.complain(entry["log"], "facts are of no log", "log")
        log = one_of(self.document, entry["log"], (*LOGS, OTHER_LOG)) if "log" in entry else "azcmagent"
        expect, history, misses = (tuple(self._rules(entry, key)) for key in _EXPECTED)
        if self._rule not in (*expect, *history, *misses):
            text = f"the case says of {self._rule} neither that it is found nor that it is not"
            self.document.complain(node, text, "expect")
        return Case(
            path=str(self.document.path),
            line=node.start_mark.line + 1,
            number=number,
            rule=self._rule,
            text=self.document.text(entry.get("text")),
            message=self._message(node, entry),
            facts=tuple(self._facts(entry.get("facts"))),
            hosts=tuple(tuple(self._facts(host)) for host in self.document.sequence(entry.get("hosts"))),
            log="" if log == OTHER_LOG else log,
            os=word(self.document, entry.get("os"), OS),
            expect=expect,
            history=history,
            misses=misses,
        )

    def _message(self, node: yaml.Node, entry: dict[str, yaml.Node]) -> Message | None:
        if "message" not in entry:
            for key in sorted(_OF_MESSAGE & entry.keys()):
                self.document.complain(node, f"{key!r} belongs to a message", key)
            return None
        return Message(
            text=self.document.text(entry["message"]),
            fields=tuple(self._pairs(entry.get("fields"))),
            level=word(self.document, entry.get("level"), Level) or Level.ERROR,
            command=self.document.text(entry.get("command")),
            shapes=tuple(words(self.document, entry.get("shapes"), Shape)) or (Shape.LOG,),
        )

    def _facts(self, node: yaml.Node | None) -> Iterator[Fact]:
        for name, value in self._pairs(node):
            fact = Fact(name=name, value=value, source="case")
            if name not in FACTS:
                self.document.complain(node, f"there is no fact {name!r}", name)
            elif typed(fact) is None:
                self.document.complain(node, f"{name} is told as {FACTS[name].kind}, not {value!r}", name)
            else:
                yield fact

    def _pairs(self, node: yaml.Node | None) -> Iterator[tuple[str, str]]:
        for name, value in (self.document.pairs(node) if node else {}).items():
            yield name, self.document.text(value)

    def _rules(self, entry: dict[str, yaml.Node], key: str) -> Iterator[str]:
        for node in self.document.sequence(entry.get(key)):
            rule = self.document.text(node)
            if rule and rule not in self._known:
                self.document.complain(node, f"{key} names {rule!r}, which is no rule", key)
            yield rule
