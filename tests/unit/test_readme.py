"""README: what it tells people to type and where it sends them exists."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from fleet.cli.program import VERBS, cli
from fleet.inventory.load import load_inventory

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_inventory_loads(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "inventory.yaml").write_text(text)
    hosts = load_inventory(tmp_path / "inventory.yaml", home=tmp_path)
    assert len(hosts) == 53
    assert hosts[0].name == "web01.example.com"


def test_its_commands_are_commands() -> None:
    told = re.findall(r"^    fleet (\w+)|`fleet (\w+)", README, re.MULTILINE)
    verbs = {first or second for first, second in told}
    assert {"collect", "rules", "classify"} <= verbs <= set(VERBS)
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^    make (\w+)", README, re.MULTILINE)) <= targets
    assert CliRunner().invoke(cli, ["rules", "show", "AZCM0042"]).exit_code == 0


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
