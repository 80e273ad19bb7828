"""One rule's YAML file into a Rule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import yaml

from fleet.classify.expressions import Expression, ExpressionError
from fleet.classify.patterns import PatternError, compile_pattern, group_names
from fleet.errors import Mistake
from fleet.model.facts import FACTS
from fleet.model.observation import Level, Outcome
from fleet.model.pack import (
    NO_CODE,
    UNKNOWN_CODE,
    Agents,
    FleetMatch,
    LogMatch,
    Match,
    Release,
    Rule,
    StateMatch,
    Variant,
)
from fleet.model.words import OS, Severity
from fleet.packs.document import Document
from fleet.parse.anchors import NoAnchorError, derive_anchors

REQUIRED = frozenset(
    {"id", "version", "title", "severity", "cause", "remediation", "source", "link", "match"}
)
OPTIONAL = frozenset({"code", "platforms", "agents", "explains", "generic", "instead"})
KINDS = frozenset({"log", "state", "fleet"})
LOG_KEYS = frozenset(
    {"code", "text", "without", "logs", "levels", "commands", "run", "after", "count", "within_s"}
)
FLEET_KEYS = frozenset({"fact", "hosts", "where"})
LOGS = ("azcmagent", "himds", "arcproxy", "gc_agent", "gc_ext", "check")

WHOSE = frozenset({"os", "where"})
WORDS = frozenset({"cause", "remediation"})
_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_CODE = re.compile(r"AZCM[0-9]{4}")
_BOUND = re.compile(r"(>=|<)(\d{1,4})\.(\d{1,4})")
_PLACE = re.compile(r"\{([^{}]*)\}")
_ENDED = frozenset({Outcome.SUCCESS, Outcome.FAILURE})

_Word = TypeVar("_Word", bound=StrEnum)


def load_rule(path: Path, family: str) -> tuple[Rule | None, list[Mistake]]:
    """The rule of that file (None when there is a mistake) and every mistake."""
    document = Document(path)
    root = document.compose()
    fields = document.mapping(root, REQUIRED, OPTIONAL) if root else None
    if root is None or fields is None:
        return None, document.mistakes
    rule = _rule(document, family, fields)
    return (None if document.mistakes else rule), document.mistakes


def _rule(document: Document, family: str, fields: dict[str, yaml.Node]) -> Rule | None:
    match = _match(document, fields.get("match"))
    severity = word(document, fields.get("severity"), Severity)
    version = document.number(fields.get("version"), 1)
    code = _code(document, fields.get("code"))
    platforms = tuple(words(document, fields.get("platforms"), OS)) or tuple(OS)
    agents = _agents(document, fields.get("agents"))
    explains = tuple(document.text(node) for node in document.sequence(fields.get("explains")))
    generic = document.flag(fields.get("generic"))
    instead = tuple(_variants(document, fields.get("instead")))
    rule_id = _identifier(document, fields.get("id"))
    texts = {key: _line(document, fields.get(key)) for key in ("title", "cause", "source")}
    link = _link(document, fields.get("link"))
    remediation = _steps(document, fields.get("remediation"))
    if match is not None:
        _check_places(document, match, fields)
    if document.mistakes or severity is None or match is None:
        return None
    own = match.code if isinstance(match, LogMatch) and match.code not in (UNKNOWN_CODE, NO_CODE) else None
    return Rule(
        id=rule_id,
        family=family,
        version=version,
        severity=severity,
        match=match,
        code=code or own,
        platforms=platforms,
        agents=agents,
        explains=explains,
        generic=generic,
        instead=instead,
        remediation=remediation,
        link=link,
        **texts,
    )


def _identifier(document: Document, node: yaml.Node | None) -> str:
    rule_id = document.text(node)
    if rule_id and not _ID.fullmatch(rule_id):
        document.complain(node, f"id {rule_id!r}: small letters, digits and single '-' between them", "id")
    elif rule_id and document.path.stem != rule_id:
        document.complain(node, f"the file of rule {rule_id!r} is named {rule_id}.yaml", "id")
    return rule_id


def _match(document: Document, node: yaml.Node | None) -> Match | None:
    fields = document.mapping(node, frozenset(), KINDS) if node else None
    if fields is None:
        return None
    if len(fields) != 1:
        document.complain(node, f"exactly one of {', '.join(sorted(KINDS))} is needed", "match")
        return None
    ((kind, value),) = fields.items()
    if kind == "log":
        return _log_match(document, value)
    if kind == "fleet":
        return _fleet_match(document, value)
    return StateMatch(expression=_expression(document, value))


def _log_match(document: Document, node: yaml.Node) -> LogMatch | None:
    fields = document.mapping(node, frozenset(), LOG_KEYS)
    if fields is None:
        return None
    if not {"code", "text"} & fields.keys():
        document.complain(node, "a code or a text is needed", "log")
        return None
    code = document.text(fields.get("code"))
    if code not in (UNKNOWN_CODE, NO_CODE):
        code = _code(document, fields.get("code")) or ""
    found = LogMatch(
        code=code or None,
        text=tuple(_pattern(document, each) for each in document.sequence(fields.get("text")))
        or ("",) * (not code),
        without=tuple(
            _pattern(document, each, is_scanned=False) for each in document.sequence(fields.get("without"))
        ),
        logs=tuple(one_of(document, each, LOGS) for each in document.sequence(fields.get("logs"))),
        levels=tuple(words(document, fields.get("levels"), Level)),
        commands=tuple(document.text(each) for each in document.sequence(fields.get("commands"))),
        run=word(document, fields.get("run"), Outcome),
        after=_pattern(document, fields["after"]) if "after" in fields else "",
        count=document.number(fields.get("count"), 1),
        within_s=document.number(fields["within_s"], 1) if "within_s" in fields else None,
    )
    if found.run is not None and found.run not in _ENDED:
        document.complain(fields["run"], "a run ended with success or failure", "run")
    return found


def _fleet_match(document: Document, node: yaml.Node) -> FleetMatch | None:
    fields = document.mapping(node, frozenset({"fact", "hosts"}), frozenset({"where"}))
    if fields is None:
        return None
    hosts = document.number(fields.get("hosts"), 2)
    if hosts < 2:
        document.complain(fields["hosts"], "a fact is shared by two hosts at least", "hosts")
    fact = document.text(fields.get("fact"))
    if fact and fact not in FACTS:
        document.complain(fields["fact"], f"there is no fact {fact!r}", "fact")
    where = _expression(document, fields["where"]) if "where" in fields else ""
    return FleetMatch(fact=fact, hosts=hosts, where=where)


def _expression(document: Document, node: yaml.Node) -> str:
    text = document.text(node)
    try:
        if text:
            Expression(text)
    except ExpressionError as exc:
        document.complain(node, f"the expression cannot be used: {exc}", "state")
    return text


def _pattern(document: Document, node: yaml.Node, *, is_scanned: bool = True) -> str:
    pattern = document.text(node)
    if not pattern:
        return ""
    try:
        if compile_pattern(pattern).search(""):
            document.complain(node, "the pattern matches an empty line")
        elif is_scanned:
            derive_anchors(pattern)
    except PatternError as exc:
        document.complain(node, f"the pattern is not RE2: {exc}")
    except NoAnchorError as exc:
        document.complain(node, f"the pattern has nothing to look for: {exc}")
    return pattern


def _agents(document: Document, node: yaml.Node | None) -> Agents | None:
    text = document.text(node)
    if not text:
        return None
    bounds: dict[str, Release] = {}
    for word in text.split():
        found = _BOUND.fullmatch(word)
        if found is None or found[1] in bounds:
            document.complain(node, f"agents are told like '>=1.31 <1.56', not {text!r}", "agents")
            return None
        bounds[found[1]] = Release(major=int(found[2]), minor=int(found[3]))
    return Agents(first=bounds.get(">="), end=bounds.get("<"))


def _code(document: Document, node: yaml.Node | None) -> str | None:
    code = document.text(node)
    if code and not _CODE.fullmatch(code):
        document.complain(node, f"a code is AZCM and four digits, not {code!r}", "code")
    return code or None


def _link(document: Document, node: yaml.Node | None) -> str:
    link = document.text(node)
    if link and not re.fullmatch(r"https://\S+", link):
        document.complain(node, f"a link begins with https://, not {link!r}", "link")
    return link


def _line(document: Document, node: yaml.Node | None) -> str:
    """Text of a rule is one line wherever it is shown, however it was folded in the file."""
    return " ".join(document.text(node).split())


def _steps(document: Document, node: yaml.Node | None) -> tuple[str, ...]:
    return tuple(_line(document, each) for each in document.sequence(node))


def word(document: Document, node: yaml.Node | None, kind: type[_Word]) -> _Word | None:
    """One of the words of that kind; None when the key is absent, and with a mistake noted for any other."""
    text = document.text(node)
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        document.complain(node, f"one of {', '.join(kind)} is expected, not {text!r}")
        return None


def words(document: Document, node: yaml.Node | None, kind: type[_Word]) -> Iterator[_Word]:
    """A list of such words, without those that are wrong."""
    for each in document.sequence(node):
        found = word(document, each, kind)
        if found is not None:
            yield found


def one_of(document: Document, node: yaml.Node, known: Iterable[str]) -> str:
    """The text, with a mistake noted when it is none of those."""
    text = document.text(node)
    if text and text not in known:
        document.complain(node, f"one of {', '.join(known)} is expected, not {text!r}")
    return text


def _variants(document: Document, node: yaml.Node | None) -> Iterator[Variant]:
    for entry in document.sequence(node):
        fields = document.mapping(entry, frozenset(), WHOSE | WORDS)
        if fields is None:
            continue
        for keys in (WHOSE, WORDS):
            if not keys & fields.keys():
                document.complain(entry, f"at least one of {', '.join(sorted(keys))} is needed", "instead")
        yield Variant(
            os=word(document, fields.get("os"), OS),
            where=_expression(document, fields["where"]) if "where" in fields else "",
            cause=_line(document, fields.get("cause")),
            remediation=_steps(document, fields.get("remediation")),
        )


def _check_places(document: Document, match: Match, fields: dict[str, yaml.Node]) -> None:
    """Each ``{name}`` in a text is a group that every pattern has, or a fact."""
    if document.mistakes:
        # A pattern that is wrong has no groups to go by.
        return
    groups: set[str] = set()
    if isinstance(match, LogMatch) and match.text:
        groups = set.intersection(*(group_names(pattern) for pattern in match.text))
    if isinstance(match, FleetMatch):
        groups = {"value", "count"}
    for node in _scalars(
        *(fields[key] for key in ("title", "cause", "remediation", "instead") if key in fields)
    ):
        for name in _PLACE.findall(node.value):
            if name not in groups and name not in FACTS:
                document.complain(node, f"{{{name}}} is neither a fact nor a group of every pattern")


def _scalars(*nodes: yaml.Node) -> Iterator[yaml.ScalarNode]:
    for node in nodes:
        if isinstance(node, yaml.ScalarNode):
            yield node
        elif isinstance(node, yaml.SequenceNode):
            yield from _scalars(*node.value)
        elif isinstance(node, yaml.MappingNode):
            yield from _scalars(*(value for key, value in node.value if key.value != "where"))
