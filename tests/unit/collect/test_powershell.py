"""The script for Windows, held to what can be told without a Windows: syntax, words, and what it may call."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tree_sitter import Node

import fleet.parse as parsing
from fleet.collect.framing import TIER0
from fleet.collect.plan import script
from fleet.model.words import OS
from fleet.packs.load import load_pack
from tests.powershell_syntax import mistakes, parse, text_of, walk

SCRIPT = script(OS.WINDOWS)

# Every cmdlet that runs on a host, with the parameters it gets. All of them are in the modules that Windows
# PowerShell 4.0 comes with: Core, Utility, Management, Diagnostics, CimCmdlets.
CMDLETS = {
    "ConvertTo-Json": {"-InputObject", "-Depth", "-Compress"},
    "ForEach-Object": set(),
    "Get-ChildItem": {"-LiteralPath", "-Force"},
    "Get-CimInstance": {"-Namespace", "-Query", "-OperationTimeoutSec"},
    "Get-Content": {"-LiteralPath", "-TotalCount", "-Tail", "-Encoding"},
    "Get-ItemProperty": {"-LiteralPath", "-Name"},
    "Get-Service": {"-Name"},
    "Get-WinEvent": {"-ErrorAction"},
    "New-Object": {"-ArgumentList"},
    "Set-StrictMode": {"-Off"},
    "Test-Path": {"-LiteralPath", "-ErrorAction"},
    "Where-Object": set(),
}
# What is given in a table: @raw and @how. AsByteStream is PowerShell 7's, and behind a look at its edition.
SPLATTED = {"AsByteStream", "Encoding", "ErrorVariable", "FilterXPath", "LogName", "MaxEvents"}

# What it calls or reads of .NET by the name of a type, in full language only.
STATICS = {
    "Array::Copy",
    "Convert::ToBase64String",
    "Diagnostics.Process::Start",
    "Diagnostics.Stopwatch::StartNew",
    "IO.Compression.CompressionLevel::Fastest",
    "IO.Directory::GetDirectories",
    "IO.Directory::GetFiles",
    "IO.DriveInfo::GetDrives",
    "IO.File::GetAttributes",
    "IO.File::Open",
    "IO.FileAccess::Read",
    "IO.FileMode::Open",
    "IO.SeekOrigin::Begin",
    "Math::Max",
    "Math::Min",
    "Security.Cryptography.X509Certificates.X509Certificate2::GetCertContentType",
    "Security.Principal.WindowsBuiltInRole::Administrator",
    "Security.Principal.WindowsIdentity::GetCurrent",
    "Text.Encoding::UTF8",
    "Threading.Tasks.Task::WaitAny",
    "datetime::UtcNow",
}
METHODS = {
    "Close",
    "Contains",
    "Dispose",
    "GetBytes",
    "GetString",
    "IsInRole",
    "Kill",
    "Read",
    "ReadAsync",
    "Replace",
    "Seek",
    "SetLength",
    "Substring",
    "ToArray",
    "ToLocalTime",
    "ToLowerInvariant",
    "ToUniversalTime",
    "Trim",
    "TrimEnd",
    "WaitForExit",
    "Write",
    "WriteByte",
}
OBJECTS = {
    "Diagnostics.ProcessStartInfo",
    "IO.Compression.GZipStream",
    "IO.MemoryStream",
    "byte[]",
    "$type",
}
# The types that a constrained session may use (about_Language_Modes), as far as the script does.
CORE_TYPES = {"bool", "byte[]", "datetime", "hashtable", "int", "long", "string"}
# What runs in full language only, or asks for it itself.
FULL_LANGUAGE = {
    "Find-Path",
    "Get-Entries",
    "Get-TailBytes",
    "Invoke-Program",
    "Limit-Bytes",
    "Read-Certificates",
    "Read-Files",
    "Read-Space",
    "Send-Pieces",
    "Write-Frame",
}

DENIED = re.compile(
    r"Win32_Product\b|secedit|Add-Type|Reflection|EncodedCommand|InvokeMember|GetType|FromBase64"
    r"|Invoke-(Cim|Wmi|Expression|Command|Web|Rest|Item)|\biex\b|wmiclass|wmic|Get-WmiObject"
    r"|Start-(Process|Job|Service)|(Set|Remove|Clear|New|Rename|Move|Copy)-(Item|Content|Service|CimInstance)"
    r"|Restart-|Stop-(Service|Process)|Out-File|Tee-Object|Export-|Register-|Enable-|Disable-"
    r"|azcmagent extension|azcmagent (dis)?connect|config set|\bNet\.|Sockets|PowerShell\b.*Create",
    re.IGNORECASE,
)
DENIED_NODES = {
    "class_statement",
    "enum_statement",
    "param_block",
    "pipeline_chain_tail",
    "redirected_file_name",
    "trap_statement",
    "data_statement",
    "inlinescript_statement",
    "parallel_statement",
    "sequence_statement",
}
BASE = b"function Write-Frame($line) { $line }\nWrite-Frame 'done' # Add-Type, Invoke-Expression\n"
PLANTED = [
    "class Host { }",
    "enum State { On }",
    "$x = [IO.MemoryStream]::new()",
    "Get-Service himds && Get-Service arcproxy",
    "$x = $y ?? 1",
    "$x = $y ? 1 : 2",
    "Get-Service himds > services.txt",
    "$x = 1 2>> errors.txt",
    "Get-CimInstance Win32_Product",
    "secedit /export /cfg x",
    "Add-Type -TypeDefinition $code",
    "$x = [Reflection.Assembly]::LoadFile($path)",
    "powershell -EncodedCommand AAAA",
    "Invoke-CimMethod -ClassName Win32_Process -MethodName Create",
    "$x = ([wmiclass]'Win32_Process').Create('x')",
    "& $program extension list",
    "azcmagent extension list",
    "Get-WmiObject Win32_Service",
    "Set-ItemProperty -Path $key -Name x -Value 1",
    "New-Item -ItemType File x",
    "$x = [IO.File]::WriteAllText($path, 'x')",
    "$x = [IO.File]::Open($path, [IO.FileMode]::Create)",
    "$file.Delete()",
    "Get-Service -Name himds -RequiredServices",
    "Get-TlsCipherSuite",
    "Get-Content -LiteralPath $path -Raw",
    "New-Object Net.WebClient",
    "Stop-Service himds",
    "using namespace System.IO",
    "function Read-Clock { $visit['body'] = [IO.Path]::GetTempPath() }",
    "catch { }",
    "if ($x { 1 }",
    'Write-Frame "done',
    "$x = 'é'",
    "$x = 1 # " + "x" * 120,
]


def complaints(source: bytes) -> Iterator[str]:
    """What is wrong with a script for a Windows host."""
    yield from (f"{line}: {wrong}" for line, wrong in mistakes(source))
    for number, line in enumerate(source.decode().split("\n"), 1):
        if not line.isascii() or len(line) > 120:
            yield f"{number}: not ASCII, or longer than 120 characters"
    root = parse(source)
    own = {text_of(node) for node in walk(root) if node.type == "function_name"}
    for node in walk(root):
        for wrong in (*_denied(node), *_unknown_command(node, own), *_unknown_member(node)):
            yield f"{node.start_point.row + 1}: {wrong}"


def _denied(node: Node) -> Iterator[str]:
    if node.type in DENIED_NODES:
        yield f"{node.type}: {text_of(node)}"
    # Statements rather than tokens: "azcmagent extension" is two.
    if node.type == "pipeline" and (found := DENIED.search(_uncommented(node))):
        yield f"denied: {found[0]}"


def _uncommented(node: Node) -> str:
    comments = [text_of(inner) for inner in walk(node) if inner.type == "comment"]
    text = text_of(node)
    for comment in comments:
        text = text.replace(comment, "")
    return text


def _unknown_command(node: Node, own: set[str]) -> Iterator[str]:
    if node.type != "command":
        return
    name = text_of(node.children[0])
    used = {
        text_of(inner) for inner in walk(node) if inner.type == "command_parameter" and _owner(inner) == node
    }
    if name == "&":
        if text_of(node).strip() != "& $program @words 2>&1":
            yield f"starts a program: {text_of(node)}"
    elif name in CMDLETS:
        if not used <= CMDLETS[name]:
            yield f"{name} with {used - CMDLETS[name]}"
        if name == "New-Object" and text_of(node.children[1]).split()[0] not in OBJECTS:
            yield f"makes {text_of(node)}"
    elif name not in own:
        yield f"no command of the script's: {name}"


def _owner(node: Node) -> Node | None:
    while node.parent is not None and node.type != "command":
        node = node.parent
    return node


def _unknown_member(node: Node) -> Iterator[str]:
    if node.type not in {"member_access", "invokation_expression"}:
        return
    name, _, member = (text_of(child) for child in node.children[:3])
    if node.children[0].type == "type_literal":
        is_known = f"{name.strip('[]')}::{member}" in STATICS
    else:
        is_known = node.type == "member_access" or member in METHODS
    if not is_known:
        yield f"no member of .NET for a script that only reads: {text_of(node)}"


def test_the_script_is_sound() -> None:
    assert list(complaints(SCRIPT)) == []


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_mistake_is_found(planted: str) -> None:
    assert list(complaints(BASE + planted.encode() + b"\n"))


def test_a_mistake_is_told_with_its_line() -> None:
    assert [line for line, _ in mistakes(b"$x = 1\n\nif ($x -eq 1) { 'y'\n")]
    assert [line for line, _ in mistakes(b"'x'\nGet-Item x && Get-Item y\n")] == [2]


def test_nothing_is_found_where_nothing_is_planted() -> None:
    assert list(complaints(BASE)) == []


def test_every_cmdlet_that_is_allowed_is_used() -> None:
    used = {text_of(node) for node in walk(parse(SCRIPT)) if node.type == "command_name"}
    own = {text_of(node) for node in walk(parse(SCRIPT)) if node.type == "function_name"}

    assert used - own == set(CMDLETS)
    # A function of a cmdlet's name would run in its place.
    assert not own & {*CMDLETS, "Invoke-Item", "Get-Date", "Get-Process", "Get-Variable"}
    assert own <= used


def test_tables_of_parameters_hold_the_known_ones() -> None:
    text = SCRIPT.decode()
    tables = re.findall(r"\$(?:raw|how) = @\{(.*?)\}", text)

    assert {key for table in tables for key in re.findall(r"(\w+) =", table)} == SPLATTED


def test_a_constrained_session_meets_core_types_only() -> None:
    seen = set()
    for function in (node for node in walk(parse(SCRIPT)) if node.type == "function_statement"):
        name = next(text_of(child) for child in function.children if child.type == "function_name")
        types = {text_of(node).strip("[]") for node in walk(function) if node.type == "type_spec"}
        makes = any(text_of(node) == "New-Object" for node in walk(function) if node.type == "command_name")
        if makes or types - {core.removesuffix("[]") for core in CORE_TYPES} - CORE_TYPES:
            seen.add(name)

    assert seen == FULL_LANGUAGE


def test_only_one_place_asks_for_a_path_with_test_path() -> None:
    """Test-Path says no to what may not be seen, too; Find-Path knows whose no to believe."""
    asking = {
        next(text_of(child) for child in function.children if child.type == "function_name")
        for function in walk(parse(SCRIPT))
        if function.type == "function_statement"
        and any(text_of(node) == "Test-Path" for node in walk(function) if node.type == "command_name")
    }

    assert asking == {"Find-Path"}


def test_a_program_that_may_not_be_seen_is_denied_rather_than_missing() -> None:
    reads = re.search(r"(?s)\nfunction Read-Agent\b.*?\n}\n", SCRIPT.decode())
    assert reads is not None
    looks = re.findall(
        r"Find-Path \$program|\$null -eq \$there\) { Stop-Section \d+|-not \$there\) { Stop-Section \d+",
        reads[0],
    )

    assert looks == [
        "Find-Path $program",
        "$null -eq $there) { Stop-Section 126",
        "-not $there) { Stop-Section 127",
    ]


def test_what_is_collected_is_what_is_used() -> None:
    tables = re.findall(r"(?s)(?:\$about|\$found \+|\$visit\['json'\]) ?= @\{(.*?)\}\n", SCRIPT.decode())
    told = {key for table in tables for key in re.findall(r"(?:^|[;\s])(\w+) = ", table)}
    sources = "".join(path.read_text() for path in Path(parsing.__file__).parent.glob("*.py"))

    assert {"booted_at", "properties", "license_exists", "free_bytes", "protocols"} <= told
    assert {key for key in told if f'"{key}"' not in sources} == set()


def test_every_verb_of_the_pack_is_the_scripts_and_the_reverse() -> None:
    switch = next(node for node in walk(parse(SCRIPT)) if node.type == "switch_statement")
    labels = {
        text_of(node).strip("'")
        for node in walk(switch)
        if node.type == "switch_clause_condition" and text_of(node) != "default"
    }
    items = load_pack().items_for(OS.WINDOWS)

    assert labels == {item.argv[0] for item in items}
    commands = {" ".join(item.argv[1:]) for item in items if item.argv[0] == "azcmagent"}
    listed = re.search(r"@\((.*?)\) -cnotcontains \$line", SCRIPT.decode())
    assert listed is not None
    assert set(re.findall(r"'([^']*)'", listed[1])) == commands


@pytest.mark.parametrize(
    "said",
    [
        ": No such file or directory",
        "'azcmagent: not found'",
        "'access denied'",
        "'CIM: '",
        "'a constrained session reads no certificates'",
        "not a command that only reads",
        "FLEET1 gzip64",
        "FLEET1 plain",
        "'not-needed'",
        "'connected'",
        "'hung'",
        f"'{TIER0}'",
    ],
)
def test_it_says_the_words_that_others_look_for(said: str) -> None:
    """Verdicts are made of some, and simulated hosts say the same."""
    assert said in SCRIPT.decode()


def test_the_script_stays_small() -> None:
    """With its escapes and its Base64 it fits one envelope of WinRM's, 150 KiB, with much to spare."""
    assert len(SCRIPT) < 30 * 1024
