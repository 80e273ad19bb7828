"""Every code and message row of the agent's troubleshooting article (2021-07-16), by ``fleet classify``.

The lines are worded anew in the formats of the agent; what a row says must be found in the rule's texts.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from fleet.app.classify_files import classify_paths
from fleet.model.finding import Finding
from fleet.model.words import OS, Severity, State
from fleet.packs.load import load_pack

PACK = load_pack()
GUID = "11111111-2222-3333-4444-555555555555"
LOGIN = f"https://login.windows.net/{GUID}/oauth2"
SUPPORT = ("Microsoft Support",)


class Row(NamedTuple):
    """What a row's texts must name, in cause and in remedy, and what one family leaves to the other."""

    rule: str
    cause: tuple[str, ...]
    remedy: tuple[str, ...]
    severity: Severity = Severity.ERROR
    not_on_windows: tuple[str, ...] = ()
    not_on_linux: tuple[str, ...] = ()


CODES = (
    Row("AZCM0000", ("did what it was asked",), ("Nothing",), Severity.INFO),
    Row("AZCM0001", ("no code of its own",), SUPPORT),
    Row("AZCM0011", ("CTRL+C",), ("again",), Severity.WARNING),
    Row("AZCM0012", ("access token",), ("fresh access token",)),
    Row("AZCM0013", ("--tags",), ("double quotes", "commas", "single quotes", "spaces", '--tags "')),
    Row("AZCM0014", ("cloud",), ("`AzureCloud`", "`AzureUSGovernment`")),
    Row("AZCM0015", ("not a GUID",), ("--correlation-id",)),
    Row("AZCM0016", ("parameter",), ("names the parameter",)),
    Row("AZCM0017", ("name",), ("letters, digits, hyphens and underscores", "ends with neither")),
    Row(
        "AZCM0018",
        ("administrator or root", "administrator rights"),
        ("root", "elevated prompt"),
        not_on_windows=("administrator or root", "root"),
        not_on_linux=("administrator rights", "elevated prompt"),
    ),
    Row(
        "AZCM0041",
        ("credentials",),
        ("device login", "tenant", "subscription", "client ID", "secret", "expiry date", "service principal"),
    ),
    Row("AZCM0042", ("create", "resource group"), ("user or service principal", "resource group")),
    Row("AZCM0043", ("delete",), ("right to delete", "resource group", "--force-local-only")),
    Row("AZCM0044", ("this name",), ("--resource-name", "delete the existing resource")),
    Row(
        "AZCM0061",
        ("could not reach", "himds"),
        ("administrator or root", "elevated prompt", "`himds`"),
        not_on_windows=("administrator or root",),
        not_on_linux=("elevated prompt",),
    ),
    Row("AZCM0062", ("Connecting",), ("other errors", "resource group", "delete")),
    Row(
        "AZCM0063",
        ("Disconnecting",),
        ("other errors", "delete the resource", "azcmagent disconnect --force-local-only"),
    ),
    Row("AZCM0064", ("himds", "does not answer"), ("`himds`", "start", "wait a minute")),
    Row("AZCM0065", ("internal error",), SUPPORT),
    Row("AZCM0066", ("web service",), SUPPORT),
    Row("AZCM0067", ("already is connected",), ("`azcmagent disconnect`",)),
    Row("AZCM0068", ("internal error", "disconnect"), SUPPORT),
    Row(
        "AZCM0081",
        ("certificate", "managed identity", "Azure Active Directory", "cannot talk"),
        ("delete the resource", "connect"),
    ),
    Row("AZCM0101", ("parsed",), ("`azcmagent <command> --help`",)),
    Row("AZCM0102", ("host name",), ("`hostname`", "Microsoft Support")),
    Row("AZCM0103", ("key pair",), SUPPORT),
    Row(
        "AZCM0104",
        ("operating system",),
        ("administrator or root", "administrator rights"),
        not_on_windows=("administrator or root",),
        not_on_linux=("administrator rights",),
    ),
)
DEVICE = "Failed to acquire authorization token device flow"
SPN = "Failed to acquire authorization token from SPN"
ONBOARD = "Failed to AzcmagentConnect ARM resource"
DEVICE_CODE = (
    f"Sending the request for a Device Authorization Code: Post {LOGIN}/devicecode?api-version=1.0:  dial tcp"
)
# Linux has no group policy that could take the agent's certificate.
POLICY_CAUSE = (
    "Computer Configuration\\Administrative Templates\\System\\User Profiles\\",
    "Delete user profiles older than a specified number of days on system restart",
    "profile",
    "himds",
    "certificate store",
    "30 days",
    "renews",
)
POLICY_REMEDY = ("enabled", "targets the machine", "azcmagent disconnect", "azcmagent connect")
MESSAGES = (
    (
        DEVICE,
        f"{DEVICE_CODE} 192.0.2.9:443: connect: network is unreachable.",
        Row("login-endpoint-unreachable", ("endpoint",), ("login.windows.net", "azcmagent check")),
    ),
    (
        DEVICE,
        f"{DEVICE_CODE} 192.0.2.9:443: connect: network is Forbidden",
        Row("login-endpoint-blocked", ("proxy or firewall",), ("login.windows.net", "firewall", "proxy")),
    ),
    (
        DEVICE,
        f"{DEVICE_CODE} lookup login.windows.net: no such host",
        Row(
            "login-endpoint-dns",
            ("DNS", *POLICY_CAUSE),
            ("login.windows.net", *POLICY_REMEDY),
            not_on_linux=(*POLICY_CAUSE, *POLICY_REMEDY),
        ),
    ),
    (
        SPN,
        f"Could not execute the refresh request. Error = 'Post {LOGIN}/token?api-version=1.0: Forbidden'",
        Row("token-endpoint-blocked", ("proxy or firewall",), ("login.windows.net", "firewall", "proxy")),
    ),
    (
        SPN,
        "Invalid client secret is provided",
        Row("client-secret-invalid", ("secret",), ("service principal's secret",)),
    ),
    (
        SPN,
        f"Application with identifier '{GUID}' was not found in the directory '{GUID}'",
        Row(
            "application-not-found",
            ("service principal's ID", "tenant's", "consented"),
            ("--service-principal-id", "--tenant-id"),
        ),
    ),
    (
        "Get ARM Resource Response",
        (
            f"The client 'a@example.com' with object id '{GUID}' does not have authorization to perform "
            f"action 'Microsoft.HybridCompute/machines/read' over scope '/subscriptions/{GUID}'"
        ),
        Row(
            "arm-authorization-failed",
            ("user or service principal", "moment ago"),
            ("Azure Connected Machine Onboarding", "log in again"),
        ),
    ),
    (
        ONBOARD,
        "The subscription is not registered to use namespace 'Microsoft.HybridCompute'",
        Row("provider-not-registered", ("resource providers",), ("Register Microsoft.HybridCompute",)),
    ),
    (
        ONBOARD,
        f"Get https://management.azure.com/subscriptions/{GUID}?api-version=2019-03-18:  Forbidden",
        Row("arm-endpoint-blocked", ("proxy or firewall",), ("management.azure.com", "firewall", "proxy")),
    ),
)
# As a log has it, on a terminal of an old agent, and on the console of a new one.
SHAPES = {
    "log": 'time="2026-03-01T08:00:01Z" level=error msg="{title}" Error="{error}"',
    "terminal": 'ERROR[0032] {title}   Error="{error}"',
    "console": "ERROR   {title}: {error}",
}
PROMPTS = {OS.WINDOWS: "PS C:\\> azcmagent connect", OS.LINUX: "$ sudo azcmagent connect"}


def find(text: str, system: OS, row: Row) -> Finding:
    (result,) = classify_paths(["-"], PACK, system, stdin=text.encode())
    (finding,) = (finding for finding in result.findings if finding.rule == row.rule.lower())
    return finding


def assert_says(finding: Finding, row: Row, system: OS) -> None:
    assert finding.severity is row.severity
    others = row.not_on_windows if system is OS.WINDOWS else row.not_on_linux
    for text, words in ((finding.cause, row.cause), (finding.remediation, row.remedy)):
        missing = [word for word in words if word.lower() not in text.lower()]
        assert not set(missing) - set(others), text
    if system is OS.WINDOWS:
        assert "systemctl" not in finding.remediation
        assert "sudo" not in finding.remediation


@pytest.mark.parametrize("system", list(OS))
@pytest.mark.parametrize("row", CODES, ids=lambda row: row.rule)
def test_a_code(row: Row, system: OS) -> None:
    for line in (
        'time="2026-03-01T08:00:01Z" level=info msg="Exit Code:  {}: words of the agent"',
        "INFO[0032] Exit Code:  {}: words of the agent",
        "INFO    Exit Code:  {}: words of the agent",
    ):
        finding = find(f"{PROMPTS[system]}\n{line.format(row.rule)}\n", system, row)
        assert finding.code == row.rule
        assert finding.state is (State.HISTORICAL if row.severity is Severity.INFO else State.ACTIVE)
        assert_says(finding, row, system)


@pytest.mark.parametrize("system", list(OS))
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("title", "error", "row"), MESSAGES, ids=[row.rule for _, _, row in MESSAGES])
def test_a_message(title: str, error: str, row: Row, shape: str, system: OS) -> None:
    line = SHAPES[shape].format(title=title, error=error)
    finding = find(f"{PROMPTS[system]}\n{line}\n", system, row)
    assert finding.state is State.ACTIVE
    assert_says(finding, row, system)


def test_no_row_is_forgotten() -> None:
    assert {row.rule.lower() for row in CODES} | {row.rule for _, _, row in MESSAGES} <= {
        rule.id for rule in PACK.rules
    }
