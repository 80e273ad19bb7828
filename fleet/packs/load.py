"""A pack's folder into a Pack, strictly: every mistake of every file, at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from fleet.errors import Mistake, PackError
from fleet.model.pack import Item, Pack, Rule
from fleet.packs.items import load_items
from fleet.packs.rules import load_rule

SHIPPED = Path(__file__).parent / "azcmagent"


def load_pack(folder: Path | None = None) -> Pack:
    """The pack of that folder (``items.yaml`` and ``rules/*.yaml``); None is the one that ships with fleet.

    The digest is over what was understood, not over the files' bytes: comments and layout do not change it.

    Raises:
        PackError: with every mistake of all files, by file and line.
    """
    folder = SHIPPED if folder is None else folder
    items, mistakes = load_items(folder / "items.yaml")
    rules: list[Rule] = []
    for path in sorted((folder / "rules").glob("*.yaml")):
        rule, found = load_rule(path)
        mistakes += found
        rules += [rule] if rule else []
    mistakes += _strangers(folder / "rules")
    if not mistakes:
        mistakes += _dangling(folder / "rules", rules)
    if mistakes:
        raise PackError(tuple(mistakes))
    rules.sort(key=lambda rule: rule.id)
    return Pack(name=folder.name, items=items, rules=tuple(rules), digest=_digest(items, rules))


def _strangers(folder: Path) -> Iterator[Mistake]:
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in paths:
        if path.suffix != ".yaml" and not path.name.startswith("."):
            yield Mistake(path=str(path), line=0, text="only .yaml files with one rule each belong here")
    if not any(path.suffix == ".yaml" for path in paths):
        yield Mistake(path=str(folder), line=0, text="no rule is here")


def _dangling(folder: Path, rules: Sequence[Rule]) -> Iterator[Mistake]:
    known = {rule.id for rule in rules}
    for rule in rules:
        path = str(folder / f"{rule.id.lower()}.yaml")
        for cause in rule.symptom_of:
            if cause not in known or cause == rule.id:
                yield Mistake(
                    path=path, line=0, text=f"symptom_of {cause!r} is no other rule", key="symptom_of"
                )


def _digest(items: Sequence[Item], rules: Sequence[Rule]) -> str:
    content = {"items": [asdict(item) for item in items], "rules": [asdict(rule) for rule in rules]}
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()
