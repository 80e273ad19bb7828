"""Every code and message row of the agent's troubleshooting article, found in what the agent prints.

First those of 2021-07-16, of which some are gone from it, then those that came later.

The lines are worded anew in the formats of the agent; what a row says must be found in the rule's texts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pytest

from fleet.classify.engine import Classifier
from fleet.model.finding import Finding
from fleet.model.words import OS, Severity, State
from fleet.packs.load import load_pack
from fleet.parse.observe import observe_texts
from fleet.parse.scan import Anchors

PACK = load_pack()
CLASSIFIER = Classifier(PACK)
ANCHORS = Anchors(CLASSIFIER.anchors)
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
    only: OS | None = None


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


def silent(rule: str) -> Row:
    """A row of those that newer articles tell together: the agent's service does not answer."""
    return Row(
        rule,
        ("himds", "does not answer"),
        ("administrator or root", "elevated prompt", "as root", "himds"),
        not_on_windows=("administrator or root", "as root"),
        not_on_linux=("administrator or root", "elevated prompt"),
    )


INSTALL_LOG = "%SystemRoot%\\AzureConnectedMachineAgent\\temp\\installationlog.txt"
LATER = (
    Row("AZCM0002", ("inside the agent",), ("Restart", "himds", *SUPPORT)),
    Row("AZCM0003", ("does not do", "operating system"), ("release",)),
    Row("AZCM0004", ("proxy",), ("himds",)),
    Row("AZCM0005", ("log",), ("space", "exists")),
    Row("AZCM0006", ("rights", "network"), ("azcmagent check", "again")),
    Row("AZCM0019", ("file", "path"), ("Correct the path",)),
    Row("AZCM0020", ("region",), ("--location",)),
    Row("AZCM0023", ("parameter", "value"), ("error line", "azcmagent <command> --help")),
    Row(
        "AZCM0026",
        ("resolve", "firewall", "down", "private link scope"),
        ("azcmagent check", "--private-link-scope"),
    ),
    Row("AZCM0027", ("contradict",), ("take the contradicting one away",)),
    Row("AZCM0028", ("TPM",), ("enabled",)),
    Row("AZCM0045", ("public key",), ("azcmagent check",)),
    Row("AZCM0069", ("local settings",), ("space", "repeat")),
    silent("AZCM0070"),
    Row("AZCM0072", ("extension",), ("log", "repeat")),
    Row("AZCM0073", ("partner",), ("settings", "repeat")),
    Row("AZCM0074", ("extension",), ("package", "repeat")),
    Row("AZCM0075", ("cloud",), ("azcmagent check",)),
    Row("AZCM0076", ("TPM",), ("enabled", "connect again")),
    Row("AZCM0082", ("certificate", "managed identity", "TPM"), ("himds", "TPM")),
    Row("AZCM0083", ("credential",), ("azcmagent check", "again")),
    Row("AZCM0105", ("signed message",), ("azcmagent check", "again")),
    Row("AZCM0107", ("certificate", "store"), ("connect it again",)),
    Row("AZCM0108", ("TPM", "keys"), ("enabled",)),
    Row("AZCM0130", ("systemd", "systemctl", "PATH"), ("systemd",), only=OS.LINUX),
    Row("AZCM0131", ("distribution",), ("/etc/os-release",), only=OS.LINUX),
    Row("AZCM0132", ("64-bit",), ("uname",), only=OS.LINUX),
    Row("AZCM0133", ("distribution", "ARM"), ("supported",), only=OS.LINUX),
    Row("AZCM0141", ("virtual machine in Azure",), ("https://aka.ms/azcmagent-testwarning",), only=OS.LINUX),
    Row("AZCM0143", ("package manager",), ("apt", "dnf", "zypper", "again"), only=OS.LINUX),
    Row("AZCM0145", ("lock", "five minutes"), ("again",), only=OS.LINUX),
    Row("AZCM0146", ("repository", "download"), ("packages.microsoft.com",), only=OS.LINUX),
    Row(
        "AZCM0147",
        ("not in the repository", "virtual machine in Azure"),
        ("--desiredversion", "https://aka.ms/azcmagent-testwarning"),
        not_on_windows=("not in the repository", "--desiredversion"),
        not_on_linux=("virtual machine in Azure", "https://aka.ms/azcmagent-testwarning"),
    ),
    Row("AZCM0148", ("download", "MSI"), ("proxy",), only=OS.WINDOWS),
    Row("AZCM0149", ("msiexec",), (INSTALL_LOG, "msiexec code"), only=OS.WINDOWS),
    Row("AZCM0150", ("no number of its own",), SUPPORT, only=OS.WINDOWS),
    Row("AZCM0151", (".NET Framework",), ("Install .NET Framework",), only=OS.WINDOWS),
    Row("AZCM0152", ("Azure Stack HCI",), ("https://aka.ms/install-arc-on-hci-host",), only=OS.WINDOWS),
    Row("AZCM0153", ("64-bit x64",), ("supported x64",), only=OS.WINDOWS),
    Row("AZCM0154", ("PowerShell 3.0",), ("PSVersion", "again"), only=OS.WINDOWS),
    Row("AZCM0155", ("administrator rights",), ("elevated prompt", "again"), only=OS.WINDOWS),
    Row("AZCM0156", ("fatal error", "1603"), (INSTALL_LOG, "again"), only=OS.WINDOWS),
    Row("AZCM0157", ("`curl`", "permission"), ("`curl`", "again"), only=OS.LINUX),
    Row("AZCM0158", ("disk space", "112"), ("Free space",), only=OS.WINDOWS),
    Row("AZCM0159", ("another", "1618"), ("Wait",), only=OS.WINDOWS),
    Row("AZCM0160", ("log", "1622"), ("exists", "written to"), only=OS.WINDOWS),
    Row("AZCM0171", ("signed",), ("Get-AuthenticodeSignature",), only=OS.WINDOWS),
)
# A number whose meaning changed, by the words next to it or by the agent that printed it.
OTHERWISE = (
    (
        "1.58",
        "Unable to Fetch Subscription ID",
        Row("AZCM0068-subscription", ("name", "looking up"), ("subscription's ID",)),
    ),
    ("1.7", "", Row("AZCM0065", ("internal error",), SUPPORT)),
    ("1.58", "", silent("AZCM0065-service")),
    ("1.7", "", Row("AZCM0066", ("web service",), SUPPORT)),
    ("1.58", "", silent("AZCM0066-service")),
    ("1.64", "", Row("AZCM0101", ("parsed",), ("`azcmagent <command> --help`",))),
    (
        "1.66",
        "",
        Row(
            "AZCM0101-execution",
            ("Running the command failed",),
            ("azcmagent.log", "`azcmagent <command> --help`"),
        ),
    ),
    ("1.7", "", Row("AZCM0104", ("operating system",), ())),
    ("1.64", "", Row("AZCM0104-private-key", ("private key",), ("--force-local-only",))),
    ("1.64", "Failed to Get OS Information", Row("AZCM0104", ("operating system",), ())),
    ("1.58", "", Row("AZCM0105-certificate", ("certificate", "managed identity"), ("Delete the resource",))),
    ("1.66", "", Row("AZCM0105", ("signed message",), ("azcmagent check",))),
    ("1.58", "Failed to Generate TPM Keys", Row("AZCM0103-tpm", ("TPM",), ("enabled",))),
    (
        "1.40",
        "Unable to download repo metadata",
        Row("AZCM0157-repository", ("repository",), ("packages.microsoft.com",), only=OS.LINUX),
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


def find_all(text: str, system: OS) -> tuple[Finding, ...]:
    observation = observe_texts([("-", text.encode())], ANCHORS, os=system)
    return CLASSIFIER.classify(observation).findings


def find(text: str, system: OS, row: Row) -> Finding:
    (finding,) = (finding for finding in find_all(text, system) if finding.rule == row.rule.lower())
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


def on_each(rows: Iterable[Row]) -> list[tuple[Row, OS]]:
    """Each row with each family that it is about."""
    return [(row, system) for row in rows for system in OS if row.only in (None, system)]


def name(value: object) -> str | None:
    """A row's name among those of its tests."""
    return value.rule if isinstance(value, Row) else None


@pytest.mark.parametrize(("row", "system"), on_each((*CODES, *LATER)), ids=name)
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


@pytest.mark.parametrize(("row", "system"), on_each((*CODES, *LATER)), ids=name)
def test_a_process_s_exit_code(row: Row, system: OS) -> None:
    number = int(row.rule.removeprefix("AZCM"))
    for line in (
        f"azcmagent connect failed with exit code {number}",
        f"azcmagent exited with code {number:#x}",
    ):
        assert find(line, system, row).code == row.rule


@pytest.mark.parametrize(
    ("version", "words", "row", "system"),
    [(version, words, *each) for version, words, row in OTHERWISE for each in on_each([row])],
    ids=name,
)
def test_a_number_that_means_something_else(version: str, words: str, row: Row, system: OS) -> None:
    code = row.rule[:8]
    head = f'level=debug msg="Agent Version: {version}.03000.100"\nlevel=debug msg="Agent Command: connect"'
    finding = find(f'{head}\nlevel=info msg="Exit Code:  {code}: {words}"', system, row)
    assert (finding.code, finding.state) == (code, State.ACTIVE)
    assert_says(finding, row, system)


@pytest.mark.parametrize(
    ("system", "numbers"), [(OS.LINUX, range(127, 147)), (OS.WINDOWS, range(147, 153))], ids=str
)
def test_each_number_of_an_installer_is_known(system: OS, numbers: range) -> None:
    for number in numbers:
        (finding,) = find_all(f'  "code": "AZCM{number:04d}",\n', system)
        assert finding.rule != "azcm-unknown"


def test_a_number_of_nobody_is_quoted() -> None:
    (finding,) = find_all("INFO    Exit Code:  AZCM0099: Something New", OS.LINUX)
    assert (finding.rule, finding.evidence[0].text) == ("azcm-unknown", "Exit Code:  AZCM0099: Something New")


@pytest.mark.parametrize("system", list(OS))
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("title", "error", "row"), MESSAGES, ids=[row.rule for _, _, row in MESSAGES])
def test_a_message(title: str, error: str, row: Row, shape: str, system: OS) -> None:
    line = SHAPES[shape].format(title=title, error=error)
    finding = find(f"{PROMPTS[system]}\n{line}\n", system, row)
    assert finding.state is State.ACTIVE
    assert_says(finding, row, system)


def test_no_row_is_forgotten() -> None:
    rows = (*CODES, *LATER, *(row for _, _, row in (*MESSAGES, *OTHERWISE)))
    assert {row.rule.lower() for row in rows} <= {rule.id for rule in PACK.rules}
    assert len({row.rule for row in CODES}) == 27
    assert len({row.rule for row in LATER}) == 47
