"""The YAML file of the agent's releases into Releases."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import yaml

from fleet.errors import Mistake
from fleet.model.pack import Release, Releases
from fleet.packs.document import Document

_KEYS = frozenset({"as_of", "releases"})
_ENTRY = frozenset({"release", "month"})
_RELEASE = re.compile(r"(\d{1,4})\.(\d{1,4})")


def load_releases(path: Path) -> tuple[Releases | None, list[Mistake]]:
    """The table of that file (None when there is none, or a mistake in it) and every mistake."""
    if not path.is_file():
        return None, []
    document = Document(path)
    root = document.compose()
    fields = document.mapping(root, _KEYS) if root else None
    if fields is None:
        return None, document.mistakes
    as_of = _day(document, fields.get("as_of"))
    months = [_entry(document, node) for node in document.sequence(fields.get("releases"))]
    if document.mistakes or as_of is None:
        return None, document.mistakes
    known = sorted((entry for entry in months if entry is not None), key=lambda entry: entry[1])
    return Releases(as_of=as_of, months=tuple(known)), []


def _entry(document: Document, node: yaml.Node) -> tuple[Release, date] | None:
    fields = document.mapping(node, _ENTRY)
    if fields is None or fields.keys() != _ENTRY:
        return None
    name = document.text(fields["release"])
    found = _RELEASE.fullmatch(name)
    if name and found is None:
        document.complain(node, f"a release is two numbers as in 1.58, not {name!r}", "release")
    month = _day(document, fields["month"], "-01")
    return (Release(major=int(found[1]), minor=int(found[2])), month) if found and month else None


def _day(document: Document, node: yaml.Node | None, rest: str = "") -> date | None:
    text = document.text(node)
    try:
        return date.fromisoformat(text + rest) if text else None
    except ValueError:
        wanted = "2026-08" if rest else "2026-08-20"
        document.complain(node, f"a date as in {wanted} is expected, not {text!r}")
        return None
