"""``fleet privileges``: what a host must allow."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.collect.plan import script
from fleet.model.words import OS
from tests.unit.cli.conftest import Fleet


def test_the_endpoint_is_printed_whole_with_the_commands_that_install_it(fleet: Fleet) -> None:
    ended = fleet("privileges", "jea", "--group", r"CORP\Fleet")

    assert ended.code == 0
    assert script(OS.WINDOWS).decode() in ended.out
    assert r"'CORP\Fleet'" in ended.out
    assert "#   Register-PSSessionConfiguration -Name FleetVisit" in ended.out
    assert "|always|60|65537|oldest|azcmagent|check'" in ended.out, "`--check always` is another item"


def test_the_endpoint_is_written_into_a_new_folder(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "endpoint"

    ended = fleet("privileges", "jea", "--group", "Flottenprüfer", "--folder", folder)

    assert ended.code == 0
    assert "Register-PSSessionConfiguration" in ended.out
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.ps*")) == [
        "FleetVisit.pssc",
        "FleetVisit/FleetVisit.psd1",
        "FleetVisit/FleetVisit.psm1",
        "FleetVisit/RoleCapabilities/FleetVisit.psrc",
    ]
    session = (folder / "FleetVisit.pssc").read_bytes()
    assert session.startswith(b"\xef\xbb\xbf"), "Windows PowerShell takes other bytes for the code page's"
    assert "'Flottenprüfer'" in session.decode()
    assert script(OS.WINDOWS) in (folder / "FleetVisit/FleetVisit.psm1").read_bytes()


def test_a_folder_that_is_there_is_left_alone(fleet: Fleet, tmp_path: Path) -> None:
    ended = fleet("privileges", "jea", "--group", "x", "--folder", tmp_path)

    assert ended.code == 2
    assert "--folder" in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("group", ["it's", ""])
def test_a_group_that_is_no_name_is_the_operators_mistake(fleet: Fleet, group: str) -> None:
    ended = fleet("privileges", "jea", "--group", group)

    assert (ended.code, ended.out) == (2, "")
    assert "--group" in ended.err
