"""How a command of the agent ended, by itself, by an installer's report or by who ran it."""

from __future__ import annotations

import pytest

from fleet.model.observation import Level, Outcome
from fleet.parse.lines import parse_line
from fleet.parse.logs import parse_log
from fleet.parse.outcomes import outcome_code
from fleet.parse.scan import Anchors

BOOTSTRAP = "Bootstrap reported error: 'AZCMAgent command failed with error:  >> exitcode: 26. See a link'"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("INFO    Exit Code:  AZCM0043: Failed to Delete Resource", "AZCM0043"),
        ("FATAL   AZCM0026: Network Error", "AZCM0026"),
        (BOOTSTRAP, "AZCM0026"),
        ("azcmagent connect failed (exit 42).", "AZCM0042"),
        ("azcmagent connect failed with exit code 42. Log: C:\\Temp\\a.log", "AZCM0042"),
        ("azcmagent exited with a non-zero exit code: 67", "AZCM0067"),
        ("ERROR: azcmagent.exe exited with status 0x1a", "AZCM0026"),
        ("'/usr/bin/azcmagent' exited with code 255", "AZCM0255"),
        ("[2026-03-01][08:00:00] ERROR azcmagent disconnect failed, exit_code=63", "AZCM0063"),
        ("azcmagent config set completed with exit code 0", "AZCM0000"),
        ('    "code": "AZCM0143",', "AZCM0143"),
        ('{"status": "failed", "error": {"code":"azcm0145", "message": "x"}}', "AZCM0145"),
        ('  <S N="ErrorCode">AZCM0042: Failed to Create Resource</S>', "AZCM0042"),
    ],
)
def test_an_end_tells_its_code(line: str, code: str) -> None:
    assert outcome_code(parse_line(line)) == code


@pytest.mark.parametrize(
    "line",
    [
        # Of the package manager, of Azure, of another program, of another thing.
        "./install_linux_azcmagent.sh: error installing azcmagent (exit code: 100). See 'apt' command logs",
        "azcmagent connect failed: Post https://management.azure.com: Status Code=403",
        "azcmagent connect failed: code 409",
        "himdsd.service: Main process exited, code=exited, status=1/FAILURE",
        "helm install failed with exit code 1",
        "azcmagent connect was called; the task failed with exit code 1",
        "azcmagent connect failed",
        "azcmagent exited with code -1073741502",
        "azcmagent exited with code 256",
        "azcmagent connect failed with exit code 1.2",
        "azcmagent connect failed with exit code 42nd",
        '"message": "code AZCM0143"',
        '"agentErrorCode": "AZCM0026"',
        '"code": "AZCM01431"',
        'level=info msg="\\"code\\": \\"AZCM0143\\""',
    ],
)
def test_what_only_looks_like_one_tells_none(line: str) -> None:
    assert outcome_code(parse_line(line)) is None


def test_a_process_s_exit_code_ends_a_run() -> None:
    log = parse_log("x", f"level=error msg=reason\n{BOOTSTRAP}\n".encode(), Anchors([]))
    assert [(record.level, record.code) for record in log.records] == [
        (Level.ERROR, None),
        (Level.UNKNOWN, "AZCM0026"),
    ]
    assert [run.outcome for run in log.runs] == [Outcome.FAILURE]


def test_a_run_knows_the_agent_that_ran() -> None:
    text = (
        b'level=debug msg="Agent Version: 1.66.03400.100"\nlevel=debug msg="Agent Command: connect"\n'
        b'level=debug msg="Agent Version: x"\nlevel=debug msg="Agent Command: show"\n'
    )
    log = parse_log("x", text, Anchors([]))
    assert [(run.command, run.agent_version) for run in log.runs] == [
        ("connect", "1.66.03400.100"),
        ("show", ""),
    ]
