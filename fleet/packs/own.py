"""A folder of operators' own rules into what it adds to the rules and changes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from fleet.errors import Mistake
from fleet.model.pack import Override, Rule
from fleet.packs.document import Document
from fleet.packs.overrides import Change, load_changes
from fleet.packs.rules import load_rule

CASES = "cases"
OVERRIDES = "overrides.yaml"
ACCEPT = "accept.yaml"
FAMILY = "own"
"""The family of rules that lie in no folder of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A rule and the file it is in."""

    rule: Rule
    path: Path

    def mistake(self, text: str, key: str) -> Mistake:
        """A mistake at that key of the file."""
        return Mistake(path=str(self.path), line=Document(self.path).line_of(key), text=text, key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What a folder holds. ``ids``: of all its files of rules, also of those with mistakes."""

    folder: Path
    rules: tuple[Written, ...]
    ids: frozenset[str]
    changes: tuple[Change, ...]
    mistakes: tuple[Mistake, ...]


def load_own(folder: Path) -> Own:
    """The rules in all files ``*.yaml`` below the folder, but its ``cases``, and its overrides."""
    paths = list(_rule_paths(folder))
    mistakes = list(_strangers(folder, paths))
    rules: list[Written] = []
    for path in paths:
        rule, found = load_rule(path, FAMILY if path.parent == folder else path.parent.name)
        mistakes += found
        rules += [Written(rule=rule, path=path)] if rule else []
    changes, found = load_changes(folder / OVERRIDES) if (folder / OVERRIDES).exists() else ((), [])
    return Own(
        folder=folder,
        rules=tuple(rules),
        ids=frozenset(path.stem for path in paths),
        changes=changes,
        mistakes=(*mistakes, *found),
    )


def apply_own(
    own: Own, before: Mapping[str, Written]
) -> tuple[dict[str, Written], list[Override], list[Mistake]]:
    """The rules by id with what the folder adds and changes, what it changed, and what cannot be."""
    rules = dict(before)
    overrides: list[Override] = []
    mistakes: list[Mistake] = []
    changed: set[str] = set()
    for change in own.changes:
        wrong = _wrong(change, own, before, changed)
        changed.add(change.rule)
        if wrong:
            mistakes.append(change.mistake(wrong))
            continue
        overrides.append(_override(change, before[change.rule].rule))
        _apply(change, rules)
    for written in own.rules:
        if written.rule.id in rules:
            text = f"id {written.rule.id!r} is that of another rule; {OVERRIDES} may say that it is replaced"
            mistakes.append(written.mistake(text, "id"))
        rules[written.rule.id] = written
    return rules, overrides, mistakes


def _rule_paths(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.yaml")):
        parts = path.relative_to(folder).parts
        if parts[0] in (CASES, OVERRIDES, ACCEPT) or any(part.startswith(".") for part in parts):
            continue
        yield path


def _strangers(folder: Path, paths: list[Path]) -> Iterator[Mistake]:
    if not folder.is_dir():
        yield Mistake(path=str(folder), line=0, text="there is no such folder")
    elif not paths and not any((folder / name).exists() for name in (OVERRIDES, ACCEPT)):
        yield Mistake(path=str(folder), line=0, text=f"no rule is here, no {OVERRIDES} and no {ACCEPT}")
    for path in sorted(folder.rglob("*.yml")):
        yield Mistake(path=str(path), line=0, text="the name of a file of rules ends with .yaml")
    seen: dict[str, Path] = {}
    for path in paths:
        if path.stem in seen:
            yield Mistake(path=str(path), line=0, text=f"id {path.stem!r} is that of {seen[path.stem]}, too")
        seen[path.stem] = path


def _wrong(change: Change, own: Own, before: Mapping[str, Written], changed: set[str]) -> str:
    if change.rule in changed:
        return f"{change.rule} is changed by an entry above already"
    if change.rule not in before:
        near = get_close_matches(change.rule.lower(), before, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        return f"there is no rule {change.rule!r} to change, or it is disabled{meant}"
    if change.is_replaced and change.rule not in own.ids:
        return f"no rule {change.rule} is in {own.folder} to replace it"
    if change.severity is before[change.rule].rule.severity:
        return f"{change.rule} is of severity {change.severity} without this"
    return ""


def _override(change: Change, rule: Rule) -> Override:
    return Override(
        rule=rule,
        reason=change.reason,
        place=change.place,
        severity=change.severity,
        is_replaced=change.is_replaced,
    )


def _apply(change: Change, rules: dict[str, Written]) -> None:
    written = rules.pop(change.rule)
    if change.severity is not None:
        rule = replace(written.rule, severity=change.severity)
        rules[change.rule] = replace(written, rule=rule)
