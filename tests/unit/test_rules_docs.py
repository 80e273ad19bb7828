"""What the guide says of rules: its examples load, and the catalogue is that of the rules there are."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from fleet.model.pack import Pack
from fleet.packs.cases import load_cases
from fleet.packs.export import export_markdown
from fleet.packs.load import load_pack
from fleet.packs.own import load_own
from fleet.packs.rules import LOG_KEYS

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "rules.md").read_text(encoding="utf-8")
RULE, INSTEAD, CASES, OVERRIDES, ACCEPT = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture(scope="module")
def pack() -> Pack:
    return load_pack()


def test_the_catalogue_is_what_export_prints(pack: Pack) -> None:
    """``fleet rules export --format markdown > docs/rule-catalogue.md`` writes it anew."""
    assert (DOCS / "rule-catalogue.md").read_text(encoding="utf-8") == export_markdown(pack)


def test_its_rule_and_its_other_words_load(tmp_path: Path) -> None:
    (tmp_path / "azcm0068-subscription.yaml").write_text(RULE + INSTEAD)
    assert load_own(tmp_path).mistakes == ()


def test_its_cases_load(tmp_path: Path, pack: Pack) -> None:
    text = CASES.replace("expect: [", "expect: [azcm0068-subscription, ")
    (tmp_path / "azcm0068-subscription.yaml").write_text(text)
    assert len(load_cases([tmp_path], pack)) > 3


def test_its_overrides_and_accepted_findings_load(tmp_path: Path) -> None:
    (tmp_path / "overrides.yaml").write_text(OVERRIDES)
    (tmp_path / "accept.yaml").write_text(ACCEPT)
    (tmp_path / "proxy-asks-login.yaml").write_text(
        RULE.replace("id: azcm0068-subscription", "id: proxy-asks-login")
    )
    pack = load_pack(own=[tmp_path], today=date(2026, 12, 1))
    assert (len(pack.overrides), len(pack.accepts)) == (3, 2)


def test_it_tells_every_condition_of_a_log() -> None:
    table = GUIDE.split("### Log")[1].split("**Patterns**")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == LOG_KEYS
