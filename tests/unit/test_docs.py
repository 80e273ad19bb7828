"""The guide: its inventories load, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fleet.inventory.load import load_inventory
from fleet.inventory.variables import VARIABLE_NAMES

DOCS = Path(__file__).parents[2] / "docs"
FLEET = DOCS.parent / "fleet"
PAGES = sorted(DOCS.rglob("*.md"))
INVENTORY = (DOCS / "inventory.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", INVENTORY, re.DOTALL))
def test_its_inventories_load(tmp_path: Path, text: str) -> None:
    (tmp_path / "inventory.yaml").write_text(text)
    assert load_inventory(tmp_path / "inventory.yaml", home=tmp_path)


def test_it_tells_every_variable() -> None:
    rows = re.findall(r"^\| (`.*?) \|", INVENTORY, re.MULTILINE)
    assert set(VARIABLE_NAMES) <= set(re.findall(r"`([a-z_0-9]+)`", " ".join(rows)))


def test_what_it_quotes_of_windows_hosts_is_what_they_are_told() -> None:
    page = (DOCS / "windows.md").read_text(encoding="utf-8").split("| the row | move |")[1].split("\n\n")[0]
    quoted = [text for row in page.splitlines()[2:] for text in re.findall(r"`(.*?)`", row.split(" | ")[0])]
    source = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("transport", "transport/winrm", "collect", "app")
        for path in sorted((FLEET / folder).glob("*.py"))
    )
    assert len(quoted) > 15
    assert [text for text in quoted if text not in source] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_links_lead_somewhere(page: Path) -> None:
    # A pattern between backticks may look like a link.
    text = re.sub(r"(`+).*?\1", "", page.read_text(encoding="utf-8"))
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text)
    for path, anchor in links:
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in _anchors(target), f"{path}#{anchor}"


def _anchors(page: Path) -> set[str]:
    """What GitHub makes of its headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
