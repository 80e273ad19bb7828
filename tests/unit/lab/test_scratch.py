"""A lab's temporary files go with it, and with the next lab where it was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.lab.scratch import PREFIX, scratch_folder

HOLDS = """
from fleet.lab.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "host").mkdir()
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files of this test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_it_is_removed_at_the_end(own: Path) -> None:
    with scratch_folder() as folder:
        (folder / "host").mkdir()
        assert folder.parent == own
    assert list(own.iterdir()) == []


def test_the_next_removes_what_a_killed_one_left_and_nothing_else(own: Path) -> None:
    others = [own / "fleet-else", own / f"{PREFIX}unknown"]
    for other in others:
        other.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        left = Path(holder.stdout.readline().strip())
        with scratch_folder():
            assert (left / "host").exists(), "its lab is up"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert left.exists()
    with scratch_folder() as folder:
        assert sorted(own.iterdir()) == sorted([*others, folder])


def test_another_lab_of_the_same_process_is_left_alone(own: Path) -> None:
    with scratch_folder() as one, scratch_folder() as two:
        assert sorted(own.iterdir()) == sorted([one, two])
