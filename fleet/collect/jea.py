"""Turns the script for Windows into a JEA endpoint: a login may have a host visited, and do nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

NAME = "FleetVisit"
"""Of the module, the role, and the endpoint: ``configuration_name`` in an inventory."""
FUNCTION = "Invoke-FleetVisit"
FORBIDDEN_IN_GROUP = re.compile(r"""['"\u2018-\u201f|<>*?/\[\]:;=,+\x00-\x1f]""")
"""What no account's name holds; the quotes, typographic ones too, would end a string of PowerShell."""

# New ones would make every release another module to Windows.
_MODULE_GUID = "6f0d3a1e-5c1b-4a52-9b57-3f8f1d1f6a01"
_ROLE_GUID = "6f0d3a1e-5c1b-4a52-9b57-3f8f1d1f6a02"
_SESSION_GUID = "6f0d3a1e-5c1b-4a52-9b57-3f8f1d1f6a03"


@dataclass(frozen=True, slots=True, kw_only=True)
class JeaFile:
    """A file of the endpoint: its path, with ``/``, and its text."""

    path: str
    text: str


def jea_files(script: str, words: Iterable[str], group: str) -> tuple[JeaFile, ...]:
    """The endpoint's files for members of ``group``, which may read ``words`` (a plan's) and nothing else.

    Raises:
        ValueError: the group's name cannot be one.
    """
    if not group.strip() or FORBIDDEN_IN_GROUP.search(group):
        raise ValueError(f"{group!r} is no group's name")
    return (
        JeaFile(path=f"{NAME}/{NAME}.psd1", text=_manifest()),
        JeaFile(path=f"{NAME}/{NAME}.psm1", text=_module(script, words)),
        JeaFile(path=f"{NAME}/RoleCapabilities/{NAME}.psrc", text=_role()),
        JeaFile(path=f"{NAME}.pssc", text=_session(group)),
    )


def install_commands() -> str:
    """What an administrator of the host runs beside the files, as comments of PowerShell."""
    return f"""\
# fleet: a JEA endpoint of Windows PowerShell 5.1 that offers a visit and nothing else. As administrator, in
# the folder of {NAME}.pssc:
#   New-Item -ItemType Directory -Force "$env:ProgramFiles\\WindowsPowerShell\\Modules"
#   Copy-Item -Recurse -Force .\\{NAME} "$env:ProgramFiles\\WindowsPowerShell\\Modules"
#   Test-PSSessionConfigurationFile .\\{NAME}.pssc
#   Register-PSSessionConfiguration -Name {NAME} -Path .\\{NAME}.pssc -Force    # restarts WinRM
# Where a policy asks for signed scripts (AllSigned), sign the module before.
# In the inventory: configuration_name: {NAME}. For a new release of fleet copy the module again. To take
# the endpoint away:
#   Unregister-PSSessionConfiguration -Name {NAME} -Force
# On a domain controller the virtual account is an administrator of the domain; callers reach one function.
"""


def _module(script: str, words: Iterable[str]) -> str:
    listed = ",\n".join(f"  '{word}'" for word in words)
    return f"""\
# fleet: the visit of a JEA endpoint. It answers as the script does that other hosts run, whose text it holds.
# A caller's session has no language: it can call this function with strings, no more. The function runs in
# the full language nevertheless: in that of the module it comes from, and a module below Program Files is
# trusted, unless a policy of the host (App Control, AppLocker) says otherwise; the visit is constrained then.
$FleetItems = @(
{listed}
)

function {FUNCTION} {{
# Only what this release reads: with any other item a caller could read every file of the host. IndexOf takes
# each character as it is; PowerShell's own operators pass over some that are not seen, such as a NUL.
for ($i = 3; $i -lt $args.Count; $i++) {{
  if ($args[$i] -isnot [string] -or [array]::IndexOf($FleetItems, [string]$args[$i]) -lt 0) {{
    throw 'This endpoint is of another release of fleet. Make it anew: fleet privileges jea'
  }}
}}
{script}}}
"""


def _manifest() -> str:
    return f"""\
@{{
  RootModule = '{NAME}.psm1'
  ModuleVersion = '1.0.0'
  GUID = '{_MODULE_GUID}'
  Author = 'fleet'
  Description = 'One read-only visit of a host that runs the Azure Connected Machine agent'
  PowerShellVersion = '5.1'
  FunctionsToExport = @('{FUNCTION}')
  CmdletsToExport = @()
  VariablesToExport = @()
  AliasesToExport = @()
}}
"""


def _role() -> str:
    # An endpoint has the engine's own cmdlets, and loads no module by itself. Since one function is named as
    # visible, all other commands of these modules stay out of callers' sight.
    return f"""\
@{{
  GUID = '{_ROLE_GUID}'
  Author = 'fleet'
  Description = 'May have a host visited, and nothing else'
  ModulesToImport = @('CimCmdlets', '{NAME}')
  VisibleFunctions = @('{FUNCTION}')
}}
"""


def _session(group: str) -> str:
    return f"""\
@{{
  SchemaVersion = '2.0.0.0'
  GUID = '{_SESSION_GUID}'
  Author = 'fleet'
  Description = 'Visits by fleet'
  SessionType = 'RestrictedRemoteServer'
  RunAsVirtualAccount = $true
  RoleDefinitions = @{{ '{group}' = @{{ RoleCapabilities = '{NAME}' }} }}
}}
"""
