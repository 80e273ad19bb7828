"""One rule's YAML file into a Rule."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import yaml

from fleet.classify.conditions import OPERATORS, is_usable
from fleet.classify.patterns import PatternError, compile_pattern
from fleet.errors import Mistake
from fleet.model.pack import OTHER, Condition, Message, Rule, Variant
from fleet.model.words import OS, Severity
from fleet.packs.document import Document

MIN_ANCHOR = 5

_REQUIRED = frozenset({"id", "version", "title", "severity", "cause", "remediation", "source"})
_KINDS = frozenset({"outcome", "messages", "conditions"})
_OPTIONAL = _KINDS | {"code", "os", "unless", "symptom_of", "instead"}
_WHOSE = frozenset({"os", "where"})
_WORDS = frozenset({"cause", "remediation"})
_MESSAGE = frozenset({"anchors", "pattern"})
_ID = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
_CODE = re.compile(r"AZCM[0-9]{4}")
# A log writes these escaped or not, so a literal holding one would miss half of the lines.
_ESCAPED_IN_LOGS = re.compile(r"[\"'`\\\r\n]")

_Word = TypeVar("_Word", bound=StrEnum)


def load_rule(path: Path) -> tuple[Rule | None, list[Mistake]]:
    """The rule of that file (None when there is a mistake) and every mistake."""
    document = Document(path)
    root = document.compose()
    fields = document.mapping(root, _REQUIRED, _OPTIONAL) if root else None
    if root is None or fields is None:
        return None, document.mistakes
    rule = _rule(document, root, fields)
    return (None if document.mistakes else rule), document.mistakes


def _rule(document: Document, root: yaml.Node, fields: dict[str, yaml.Node]) -> Rule | None:
    kinds = _KINDS & fields.keys()
    if len(kinds) != 1:
        document.complain(root, f"exactly one of {', '.join(sorted(_KINDS))} is needed, not {len(kinds)}")
    outcome = _outcome(document, fields.get("outcome"))
    severity = _word(document, fields.get("severity"), Severity)
    version = document.number(fields.get("version"), 1)
    code = _code(document, fields.get("code"))
    messages = tuple(_messages(document, fields.get("messages")))
    conditions = tuple(_conditions(document, fields.get("conditions")))
    unless = tuple(_conditions(document, fields.get("unless")))
    symptom_of = tuple(document.text(node) for node in document.sequence(fields.get("symptom_of")))
    instead = tuple(_variants(document, fields.get("instead")))
    system = _word(document, fields.get("os"), OS)
    rule_id = _identifier(document, fields.get("id"))
    texts = {key: _line(document, fields.get(key)) for key in ("title", "cause", "remediation", "source")}
    if document.mistakes or severity is None:
        return None
    return Rule(
        id=rule_id,
        version=version,
        severity=severity,
        code=code or (None if outcome == OTHER else outcome),
        os=system,
        outcome=outcome,
        messages=messages,
        conditions=conditions,
        unless=unless,
        symptom_of=symptom_of,
        instead=instead,
        **texts,
    )


def _identifier(document: Document, node: yaml.Node | None) -> str:
    rule_id = document.text(node)
    if rule_id and not _ID.fullmatch(rule_id):
        document.complain(node, f"id {rule_id!r}: letters, digits and single '-' between them", "id")
    elif rule_id and document.path.stem != rule_id.lower():
        document.complain(node, f"the file of rule {rule_id!r} is named {rule_id.lower()}.yaml", "id")
    return rule_id


def _outcome(document: Document, node: yaml.Node | None) -> str | None:
    return OTHER if document.text(node) == OTHER else _code(document, node)


def _code(document: Document, node: yaml.Node | None) -> str | None:
    code = document.text(node)
    if code and not _CODE.fullmatch(code):
        document.complain(node, f"a code is AZCM and four digits, not {code!r}", "code")
    return code or None


def _line(document: Document, node: yaml.Node | None) -> str:
    """Text of a rule is one line wherever it is shown, however it was folded in the file."""
    return " ".join(document.text(node).split())


def _word(document: Document, node: yaml.Node | None, words: type[_Word]) -> _Word | None:
    text = document.text(node)
    if not text:
        return None
    try:
        return words(text)
    except ValueError:
        document.complain(node, f"one of {', '.join(words)} is expected, not {text!r}")
        return None


def _messages(document: Document, node: yaml.Node | None) -> Iterator[Message]:
    for entry in document.sequence(node):
        fields = document.mapping(entry, _MESSAGE)
        if fields is None:
            continue
        anchors = tuple(_anchor(document, anchor) for anchor in document.sequence(fields.get("anchors")))
        yield Message(anchors=anchors, pattern=_pattern(document, fields.get("pattern")))


def _anchor(document: Document, node: yaml.Node) -> str:
    anchor = document.text(node)
    if anchor and len(anchor) < MIN_ANCHOR:
        document.complain(node, f"anchor {anchor!r} is shorter than {MIN_ANCHOR} characters", "anchors")
    if _ESCAPED_IN_LOGS.search(anchor):
        document.complain(node, f"anchor {anchor!r} holds a quote, a backslash or a line's end", "anchors")
    return anchor


def _pattern(document: Document, node: yaml.Node | None) -> str:
    pattern = document.text(node)
    try:
        if pattern and compile_pattern(pattern).search(""):
            document.complain(node, "the pattern matches an empty line", "pattern")
    except PatternError as exc:
        document.complain(node, f"the pattern is not RE2: {exc}", "pattern")
    return pattern


def _variants(document: Document, node: yaml.Node | None) -> Iterator[Variant]:
    for entry in document.sequence(node):
        fields = document.mapping(entry, frozenset(), _WHOSE | _WORDS)
        if fields is None:
            continue
        for keys in (_WHOSE, _WORDS):
            if not keys & fields.keys():
                document.complain(entry, f"at least one of {', '.join(sorted(keys))} is needed", "instead")
        yield Variant(
            os=_word(document, fields.get("os"), OS),
            where=tuple(_conditions(document, fields.get("where"))),
            cause=_line(document, fields.get("cause")),
            remediation=_line(document, fields.get("remediation")),
        )


def _conditions(document: Document, node: yaml.Node | None) -> Iterator[Condition]:
    for entry in document.sequence(node):
        fields = document.mapping(entry, frozenset({"fact"}), frozenset(OPERATORS))
        if fields is None:
            continue
        tests = sorted(fields.keys() - {"fact"})
        if len(tests) != 1:
            document.complain(entry, f"one test is needed: {', '.join(sorted(OPERATORS))}", "conditions")
            continue
        condition = Condition(
            field=document.text(fields.get("fact")), op=tests[0], value=document.text(fields[tests[0]])
        )
        if condition.value and not is_usable(condition):
            document.complain(
                entry, f"{condition.value!r} is nothing {condition.op} can compare with", "conditions"
            )
        yield condition
