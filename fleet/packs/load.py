"""A pack's folder into a Pack, strictly: every mistake of every file, at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from fleet.classify.explaining import circle
from fleet.errors import Mistake, PackError
from fleet.model.pack import Item, Pack, Rule
from fleet.packs.items import load_items
from fleet.packs.rules import load_rule

SHIPPED = Path(__file__).parent / "azcmagent"


def load_pack(folder: Path | None = None) -> Pack:
    """The pack of that folder (``items.yaml`` and ``rules/FAMILY/ID.yaml``); None: the one that ships with
    fleet.

    The digest is over what was understood, not over the files' bytes: comments and layout do not change it.

    Raises:
        PackError: with every mistake of all files, by file and line.
    """
    folder = SHIPPED if folder is None else folder
    items, mistakes = load_items(folder / "items.yaml")
    rules: list[Rule] = []
    for path in sorted((folder / "rules").glob("*/*.yaml")):
        rule, found = load_rule(path)
        mistakes += found
        rules += [rule] if rule else []
    mistakes += _strangers(folder / "rules")
    if not mistakes:
        mistakes += _contradictions(folder / "rules", rules)
    if mistakes:
        raise PackError(tuple(mistakes))
    rules.sort(key=lambda rule: rule.id)
    return Pack(name=folder.name, items=items, rules=tuple(rules), digest=_digest(items, rules))


def _strangers(folder: Path) -> Iterator[Mistake]:
    paths = sorted(folder.rglob("*")) if folder.is_dir() else []
    rules = [path for path in paths if path.match("rules/*/*.yaml")]
    for path in paths:
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path not in rules and not path.is_dir() and not is_hidden:
            text = "only .yaml files with one rule each belong into a family's folder here"
            yield Mistake(path=str(path), line=0, text=text)
    if not rules:
        yield Mistake(path=str(folder), line=0, text="no rule is here")


def _contradictions(folder: Path, rules: Sequence[Rule]) -> Iterator[Mistake]:
    """What is wrong with the rules beside each other."""
    known: dict[str, Rule] = {}
    for rule in rules:
        if rule.id in known:
            yield _mistake(folder, rule, f"id {rule.id!r} is that of another rule, too", "id")
        known[rule.id] = rule
    for rule in rules:
        for symptom in rule.explains:
            if symptom not in known or symptom == rule.id:
                yield _mistake(folder, rule, f"explains {symptom!r}, which is no other rule", "explains")
    ring = circle(rules)
    if ring:
        told = " explains ".join((*ring, ring[0]))
        yield _mistake(folder, known[ring[0]], f"each would be the other's cause: {told}", "explains")


def _mistake(folder: Path, rule: Rule, text: str, key: str) -> Mistake:
    return Mistake(path=str(folder / rule.family / f"{rule.id}.yaml"), line=0, text=text, key=key)


def _digest(items: Sequence[Item], rules: Sequence[Rule]) -> str:
    content = {"items": [asdict(item) for item in items], "rules": [asdict(rule) for rule in rules]}
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()
