"""One call of the program within this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.cli.program import run


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended, and what it said."""

    code: int
    out: str
    err: str


Fleet = Callable[..., Ended]


@pytest.fixture
def fleet(capsys: pytest.CaptureFixture[str]) -> Fleet:
    """Calls the program with these words."""

    def call(*words: object) -> Ended:
        code = run([str(word) for word in words])
        return Ended(code, *capsys.readouterr())

    return call


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """An inventory of this machine alone, visited without any network."""
    path = tmp_path / "here.yaml"
    path.write_text("hosts: {here: {connection: local}}\n")
    return path
