"""Every rule against its own hits and misses, which are data beside this file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fleet.classify.engine import Classifier
from fleet.model.observation import Fact, Observation
from fleet.model.words import State
from fleet.packs.load import load_pack
from fleet.parse.logs import parse_log
from fleet.parse.scan import Anchors

CASES = Path(__file__).parent / "azcmagent"
PACK = load_pack()
CLASSIFIER = Classifier(PACK)
ANCHORS = Anchors(CLASSIFIER.anchors)

Entry = str | dict[str, str]


def _entries(rule_id: str, kind: str) -> list[Entry]:
    path = CASES / f"{rule_id.lower()}.yaml"
    found = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return list(found.get(kind, []))


def _observe(entry: Entry) -> Observation:
    if isinstance(entry, str):
        return Observation(logs=(parse_log("case.log", entry.encode(), ANCHORS),))
    return Observation(facts=tuple(Fact(name=name, value=value) for name, value in entry.items()))


def _active(entry: Entry) -> set[str]:
    found = CLASSIFIER.classify(_observe(entry)).findings
    # What went well is told of a run that succeeded, which is history by its nature.
    return {finding.rule for finding in found if finding.state is State.ACTIVE or finding.rule == "azcm0000"}


def _cases(kind: str) -> list[object]:
    return [
        pytest.param(rule.id, entry, id=f"{rule.id}-{number}")
        for rule in PACK.rules
        for number, entry in enumerate(_entries(rule.id, kind), 1)
    ]


@pytest.mark.parametrize(("rule_id", "entry"), _cases("hit"))
def test_hit(rule_id: str, entry: Entry) -> None:
    assert rule_id in _active(entry)


@pytest.mark.parametrize(("rule_id", "entry"), _cases("miss"))
def test_miss(rule_id: str, entry: Entry) -> None:
    assert rule_id not in _active(entry)


@pytest.mark.parametrize("rule_id", [rule.id for rule in PACK.rules])
def test_each_rule_has_hits_and_misses(rule_id: str) -> None:
    assert _entries(rule_id, "hit")
    assert _entries(rule_id, "miss")


def test_no_case_without_its_rule() -> None:
    names = {rule.id.lower() for rule in PACK.rules}
    assert {path.stem for path in CASES.glob("*.yaml")} == names
