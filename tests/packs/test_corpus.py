"""Labelled excerpts of real logs in the folder ``FLEET_CORPUS`` names: broken ones found, well ones silent.

The folder holds texts and ``labels.yaml``, a list of ``file``, ``active`` (yes or no) and ``expect`` (codes,
or words of a documented message).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet.app.classify_files import classify_paths
from fleet.model.finding import Finding
from fleet.model.words import OS, Severity, State
from fleet.packs.load import load_pack

CORPUS = os.environ.get("FLEET_CORPUS")
PACK = load_pack()
ABSENT = pytest.param({}, marks=pytest.mark.skip("FLEET_CORPUS names no folder of labelled logs"))


def labels(**wanted: str) -> list[Any]:
    """The labels with those words; one that skips where there is no corpus."""
    if CORPUS is None:
        return [ABSENT]
    entries = yaml.safe_load((Path(CORPUS) / "labels.yaml").read_text(encoding="utf-8"))
    found = [entry for entry in entries if all(entry[key] == word for key, word in wanted.items())]
    return [pytest.param(entry, id=entry["file"]) for entry in found]


def troubles(label: dict[str, Any]) -> list[Finding]:
    """What holds now and is worse than information."""
    system = OS(label["os"]) if label["os"] in list(OS) else None
    (result,) = classify_paths([str(Path(CORPUS or "") / label["file"])], PACK, system)
    return [f for f in result.findings if f.state is State.ACTIVE and f.severity is not Severity.INFO]


@pytest.mark.parametrize("label", labels(active="no"))
def test_what_is_well_shows_no_trouble(label: dict[str, Any]) -> None:
    assert [finding.rule for finding in troubles(label)] == []


@pytest.mark.parametrize("label", labels(active="yes"))
def test_what_shows_a_failure_is_found(label: dict[str, Any]) -> None:
    found = troubles(label)
    assert found
    for wanted in label["expect"]:
        message = wanted.partition(":")[2].split("...")[0].strip().lower()
        assert any(
            wanted == finding.code or (message and message in finding.evidence[0].text.lower())
            for finding in found
        ), wanted
