"""A pack's folder, and those of operators' own rules, into a Pack, strictly: every mistake at once."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path

from fleet.classify.explaining import circle
from fleet.errors import Mistake, PackError
from fleet.model.pack import Accept, Agents, FleetMatch, Item, LogMatch, Override, Pack, Releases, Rule
from fleet.packs.items import load_items
from fleet.packs.overrides import load_accepts
from fleet.packs.own import ACCEPT, OVERRIDES, Written, apply_own, load_own
from fleet.packs.releases import load_releases
from fleet.packs.rules import load_rule

SHIPPED = Path(__file__).parent / "azcmagent"


def load_shipped_items() -> tuple[Item, ...]:
    """What the pack that ships with fleet reads, without its rules. Raises PackError."""
    items, mistakes = load_items(SHIPPED / "items.yaml")
    if mistakes:
        raise PackError(tuple(mistakes))
    return items


def load_pack(folder: Path | None = None, own: Sequence[Path] = (), today: date | None = None) -> Pack:
    """The pack of that folder (``items.yaml`` and ``rules/FAMILY/ID.yaml``; None: the one that ships with
    fleet), with what the folders ``own`` add to its rules and change of them, one after the other.

    The digest is over what was understood, not over the files' bytes: comments and layout do not change it.
    ``today`` is what entries of ``accept.yaml`` are held against; None: today by UTC.

    Raises:
        PackError: with every mistake of all files, by file and line.
    """
    folder = SHIPPED if folder is None else folder
    items, mistakes = load_items(folder / "items.yaml")
    rules, found = _shipped(folder / "rules")
    mistakes += [*found, *_strangers(folder / "rules")]
    # Of a file with mistakes the id is known by its name.
    ids = {path.stem for path in (folder / "rules").glob("*/*.yaml")}
    overrides: list[Override] = []
    for each in map(load_own, own):
        rules, changed, found = apply_own(each, rules)
        overrides += changed
        mistakes += [*each.mistakes, *found]
        ids |= each.ids
    accepts, found = _accepts(own, ids - _disabled(overrides), today or datetime.now(UTC).date())
    mistakes += found
    releases, found = load_releases(folder / "releases.yaml")
    mistakes += found
    mistakes += [*_contradictions(rules, ids), *_shared(rules, accepts)]
    if mistakes:
        raise PackError(tuple(mistakes))
    held = tuple(written.rule for _, written in sorted(rules.items()))
    return Pack(
        name=folder.name,
        items=items,
        rules=held,
        digest=_digest(items, held, releases),
        overrides=tuple(overrides),
        accepts=accepts,
        releases=releases,
    )


def _shipped(folder: Path) -> tuple[dict[str, Written], list[Mistake]]:
    rules: dict[str, Written] = {}
    mistakes: list[Mistake] = []
    for path in sorted(folder.glob("*/*.yaml")):
        rule, found = load_rule(path, path.parent.name)
        mistakes += found
        written = Written(rule=rule, path=path) if rule else None
        if written is not None and written.rule.id in rules:
            mistakes.append(written.mistake(f"id {written.rule.id!r} is that of another rule, too", "id"))
        elif written is not None:
            rules[written.rule.id] = written
    return rules, mistakes


def _strangers(folder: Path) -> Iterator[Mistake]:
    paths = sorted(folder.rglob("*")) if folder.is_dir() else []
    rules = {path for path in paths if path.match("rules/*/*.yaml")}
    for path in paths:
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path not in rules and not path.is_dir() and not is_hidden:
            text = "only .yaml files with one rule each belong into a family's folder here"
            yield Mistake(path=str(path), line=0, text=text)
    if not rules:
        yield Mistake(path=str(folder), line=0, text="no rule is here")


def _disabled(overrides: Sequence[Override]) -> AbstractSet[str]:
    return {override.rule.id for override in overrides if override.is_disabled}


def _accepts(
    folders: Sequence[Path], known: AbstractSet[str], today: date
) -> tuple[tuple[Accept, ...], list[Mistake]]:
    accepts: list[Accept] = []
    mistakes: list[Mistake] = []
    for path in (folder / ACCEPT for folder in folders):
        if path.exists():
            entries, found = load_accepts(path, known, today)
            accepts += entries
            mistakes += found
    return tuple(accepts), mistakes


def _contradictions(rules: Mapping[str, Written], ids: AbstractSet[str]) -> Iterator[Mistake]:
    """What is wrong with the rules beside each other; ``ids`` are those of disabled rules, too."""
    for written in rules.values():
        for symptom in written.rule.explains:
            if symptom not in ids or symptom == written.rule.id:
                yield written.mistake(f"explains {symptom!r}, which is no other rule", "explains")
    yield from _rivals(rules)
    ring = circle([written.rule for written in rules.values()])
    if ring:
        told = " explains ".join((*ring, ring[0]))
        yield rules[ring[0]].mistake(f"each would be the other's cause: {told}", "explains")


def _rivals(rules: Mapping[str, Written]) -> Iterator[Mistake]:
    """Of rules for one code under the same conditions only the first would ever fire."""
    seen: defaultdict[tuple[LogMatch, Agents | None], list[Rule]] = defaultdict(list)
    # Those of operators last: the mistake is told of theirs.
    for written in sorted(rules.values(), key=lambda each: (SHIPPED not in each.path.parents, each.rule.id)):
        rule = written.rule
        if not isinstance(rule.match, LogMatch) or rule.match.code is None:
            continue
        earlier = seen[rule.match, rule.agents]
        for other in earlier:
            if set(other.platforms) & set(rule.platforms):
                text = f"{other.id} is for {rule.match.code} under the same conditions: only one can fire"
                yield written.mistake(text, "match")
        earlier.append(rule)


def _shared(rules: Mapping[str, Written], accepts: Sequence[Accept]) -> Iterator[Mistake]:
    for accept in accepts:
        written = rules.get(accept.rule)
        if written is not None and isinstance(written.rule.match, FleetMatch):
            text = (
                f"{accept.rule} is found on no single host: {OVERRIDES} may disable it or make it less severe"
            )
            yield Mistake(path=accept.place, line=0, text=text, key="rule")


def _digest(items: Sequence[Item], rules: Sequence[Rule], releases: Releases | None) -> str:
    content = {
        "items": [asdict(item) for item in items],
        "rules": [asdict(rule) for rule in rules],
        "releases": asdict(releases) if releases else None,
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
