"""Files whole or absent, and private."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.errors import ReportError
from fleet.report.csv_files import CsvWriter
from fleet.report.files import save_files, save_reports
from fleet.report.html_file import HtmlWriter
from fleet.report.json_file import JsonWriter
from tests.unit.report.sample import varied_report


@pytest.mark.parametrize("umask", [0o000, 0o277])
def test_files_and_folders_are_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        (written,) = save_files(tmp_path / "a" / "b", (("x.txt", ("one", "two")),))
    finally:
        os.umask(before)
    assert written.read_text() == "onetwo"
    assert written.stat().st_mode & 0o777 == 0o600
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "a", tmp_path / "a" / "b")] == [0o700] * 2


def _fails() -> Iterator[str]:
    yield "half"
    raise OSError(28, "No space left on device")


def test_a_failure_leaves_the_old_files_and_no_part(tmp_path: Path) -> None:
    save_files(tmp_path, (("a.txt", ("old",)), ("b.txt", ("old",))))
    with pytest.raises(ReportError, match="No space left"):
        save_files(tmp_path, (("a.txt", ("new",)), ("b.txt", _fails())))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "old", "b.txt": "old"}


def test_a_folder_in_the_way_of_one_keeps_all_old(tmp_path: Path) -> None:
    save_files(tmp_path, (("a.txt", ("old",)),))
    (tmp_path / "b.txt").mkdir()
    with pytest.raises(ReportError, match=r"b\.txt is a folder"):
        save_files(tmp_path, (("a.txt", ("new",)), ("b.txt", ("new",))))
    assert (tmp_path / "a.txt").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "b.txt"}


def test_reports_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(ReportError):
        save_reports(varied_report(), [CsvWriter(), HtmlWriter(), JsonWriter()], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / "a.txt.part").symlink_to(victim)
    save_files(tmp_path, (("a.txt", ("new",)),))
    assert victim.read_text() == "kept"


def test_a_folder_that_is_a_file_is_a_report_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(ReportError, match="cannot write the report"):
        save_files(tmp_path / "out", (("a.txt", ("new",)),))
