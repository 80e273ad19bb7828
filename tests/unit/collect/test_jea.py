"""The JEA endpoint: files that Windows can read, the same script, and nothing else to call."""

from __future__ import annotations

import pytest

from fleet.collect.jea import FUNCTION, NAME, install_commands, jea_files
from fleet.collect.plan import plan_visit, script
from fleet.model.words import OS, CheckMode
from fleet.packs.load import load_pack
from tests.powershell_syntax import mistakes, parse, text_of, walk

WORDS = plan_visit(load_pack().items, CheckMode.AUTO, OS.WINDOWS).words
SCRIPT = script(OS.WINDOWS).decode()
GROUP = r"CORP\Fleet Readers"
FILES = {file.path: file.text for file in jea_files(SCRIPT, WORDS, GROUP)}
MODULE = FILES[f"{NAME}/{NAME}.psm1"]


@pytest.mark.parametrize("path", FILES)
def test_every_file_is_powershell(path: str) -> None:
    assert list(mistakes(FILES[path].encode())) == []
    assert list(mistakes(FILES[path].encode().replace(b"}", b"", 1)))


@pytest.mark.parametrize("path", [path for path in FILES if not path.endswith(".psm1")])
def test_the_others_are_tables_of_data(path: str) -> None:
    kinds = {node.type for node in walk(parse(FILES[path].encode()))}

    assert FILES[path].startswith("@{\n")
    assert not kinds & {"command", "function_statement", "invokation_expression"}


def test_the_function_holds_the_script_word_for_word() -> None:
    function = next(node for node in walk(parse(MODULE.encode())) if node.type == "function_statement")

    assert SCRIPT in text_of(function)
    assert text_of(function).startswith(f"function {FUNCTION} {{")


def test_what_is_no_item_of_the_release_is_refused_before_anything_is_read() -> None:
    before, _, _ = MODULE.partition(SCRIPT)

    assert all(f"  '{word}'" in before for word in WORDS)
    assert "if ($args[$i] -isnot [string] -or [array]::IndexOf($FleetItems, [string]$args[$i]) -lt" in before
    assert "throw" in before
    assert not any("'" in word for word in WORDS)


def test_the_one_module_that_the_script_needs_is_loaded() -> None:
    """No other cmdlet of its own is outside of PowerShell's engine, which every endpoint has."""
    assert f"ModulesToImport = @('CimCmdlets', '{NAME}')" in FILES[f"{NAME}/RoleCapabilities/{NAME}.psrc"]


def test_a_caller_sees_one_function() -> None:
    assert f"VisibleFunctions = @('{FUNCTION}')" in FILES[f"{NAME}/RoleCapabilities/{NAME}.psrc"]
    assert f"FunctionsToExport = @('{FUNCTION}')" in FILES[f"{NAME}/{NAME}.psd1"]
    session = FILES[f"{NAME}.pssc"]
    assert "SessionType = 'RestrictedRemoteServer'" in session
    assert "RunAsVirtualAccount = $true" in session
    assert f"@{{ '{GROUP}' = @{{ RoleCapabilities = '{NAME}' }} }}" in session


@pytest.mark.parametrize("group", ["", " ", "a'b", "a\nb", 'a"b', "a’b", "a|b"])
def test_no_other_text_gets_into_a_file_by_the_name_of_a_group(group: str) -> None:
    with pytest.raises(ValueError, match="name"):
        jea_files(SCRIPT, WORDS, group)


def test_the_commands_to_install_it_are_comments() -> None:
    assert all(line.startswith("#") for line in install_commands().splitlines())
