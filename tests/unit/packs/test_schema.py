"""The JSON Schema of a rule, for editors, says what the loader says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from fleet.model.observation import Level
from fleet.model.words import OS, Severity
from fleet.packs import rules
from fleet.packs.load import SHIPPED
from fleet.packs.own import load_own

PATH = Path(rules.__file__).with_name("rule.schema.json")
SCHEMA = json.loads(PATH.read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)
DEFS = SCHEMA["$defs"]

RULE: Mapping[str, Any] = {
    "id": "blocked",
    "version": 1,
    "title": "Blocked",
    "severity": "error",
    "match": {
        "log": {"text": ["blocked by"], "levels": ["error"], "logs": ["himds"], "count": 2, "within_s": 60}
    },
    "cause": "A proxy.",
    "remediation": ["Ask."],
    "source": "Article",
    "link": "https://example.com/",
}
STRANGE: tuple[dict[str, Any], ...] = (
    {"id": "Blocked"},
    {"version": 0},
    {"version": "one"},
    {"title": " "},
    {"severity": "bad"},
    {"code": "AZCM1"},
    {"platforms": ["beos"]},
    {"platforms": []},
    {"agents": "1.31"},
    {"generic": "maybe"},
    {"explains": []},
    {"remediation": "Ask."},
    {"remediation": []},
    {"link": "http://example.com/"},
    {"colour": "red"},
    {"instead": [{"os": "windows"}]},
    {"instead": [{"cause": "c"}]},
    {"instead": [{"os": "windows", "cause": "c", "title": "t"}]},
    {"match": {}},
    {"match": {"code": "AZCM0042"}},
    {"match": {"log": {"levels": ["error"]}}},
    {"match": {"log": {"code": "AZCM0042"}, "state": "agent.installed"}},
    {"match": {"log": {"text": ["blocked by"], "levels": ["loud"]}}},
    {"match": {"log": {"text": ["blocked by"], "logs": ["syslog"]}}},
    {"match": {"log": {"text": ["blocked by"], "run": "unknown"}}},
    {"match": {"log": {"text": "blocked by"}}},
    {"match": {"log": {"code": "other"}}},
    {"match": {"fleet": {"fact": "host.domain"}}},
    {"match": {"fleet": {"fact": "host.domain", "hosts": 1}}},
)


def mistakes(folder: Path, rule: Mapping[str, Any]) -> list[str]:
    (folder / "blocked.yaml").write_text(yaml.safe_dump(dict(rule)), encoding="utf-8")
    return [mistake.text for mistake in load_own(folder).mistakes]


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", sorted((SHIPPED / "rules").glob("*/*.yaml")), ids=lambda path: path.stem)
def test_every_rule_fits(path: Path) -> None:
    rule = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert [error.message for error in VALIDATOR.iter_errors(rule)] == []


def test_its_keys_are_those_of_the_loader() -> None:
    assert set(SCHEMA["properties"]) == rules.REQUIRED | rules.OPTIONAL
    assert set(SCHEMA["required"]) == rules.REQUIRED
    kinds = [kind["properties"] for kind in SCHEMA["properties"]["match"]["oneOf"]]
    assert {key for kind in kinds for key in kind} == rules.KINDS
    assert set(DEFS["log"]["properties"]) == rules.LOG_KEYS
    assert set(DEFS["fleet"]["properties"]) == rules.FLEET_KEYS
    assert set(DEFS["variant"]["properties"]) == rules.WHOSE | rules.WORDS


def test_its_words_are_those_of_the_loader() -> None:
    log = DEFS["log"]["properties"]
    assert SCHEMA["properties"]["severity"]["enum"] == [word.value for word in Severity]
    assert DEFS["os"]["enum"] == [os.value for os in OS]
    assert log["levels"]["items"]["enum"] == [level.value for level in Level]
    assert log["logs"]["items"]["enum"] == list(rules.LOGS)


def test_it_and_the_loader_take_the_same_rule(tmp_path: Path) -> None:
    assert VALIDATOR.is_valid(RULE)
    assert mistakes(tmp_path, RULE) == []


@pytest.mark.parametrize("strange", STRANGE, ids=str)
def test_it_and_the_loader_refuse_the_same(tmp_path: Path, strange: dict[str, Any]) -> None:
    rule = {**RULE, **strange}
    assert not VALIDATOR.is_valid(rule)
    assert mistakes(tmp_path, rule)


@pytest.mark.parametrize("key", sorted(rules.REQUIRED))
def test_both_miss_a_key(tmp_path: Path, key: str) -> None:
    rule = {name: value for name, value in RULE.items() if name != key}
    assert not VALIDATOR.is_valid(rule)
    assert f"key '{key}' is missing" in mistakes(tmp_path, rule)
