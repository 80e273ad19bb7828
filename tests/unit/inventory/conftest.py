"""Inventories as text, loaded or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.errors import InventoryError
from fleet.inventory.load import load_inventory
from fleet.model.host import Host

HOME = Path("/home/ops")

Load = Callable[[str], dict[str, Host]]
Refuse = Callable[[str], list[tuple[int, str]]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def run(text: str) -> dict[str, Host]:
        path = tmp_path / "fleet.yaml"
        path.write_text(text)
        return {host.name: host for host in load_inventory(path, home=HOME)}

    return run


@pytest.fixture
def refuse(tmp_path: Path) -> Refuse:
    def run(text: str) -> list[tuple[int, str]]:
        path = tmp_path / "fleet.yaml"
        path.write_text(text)
        with pytest.raises(InventoryError) as caught:
            load_inventory(path, home=HOME)
        assert all(mistake.path == str(path) for mistake in caught.value.mistakes)
        return [(mistake.line, mistake.text) for mistake in caught.value.mistakes]

    return run
