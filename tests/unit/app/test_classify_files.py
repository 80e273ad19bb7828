"""Files, folders and standard input judged offline, and the JSON they become."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet.app.classify_files import SourceResult, classify_paths, render_classify_json
from fleet.errors import SettingsError
from fleet.model.words import OS, State, Word
from fleet.packs.load import load_pack

PACK = load_pack()
FAILED = b"INFO    Exit Code:  AZCM0042: Failed to Create Resource\n"
CONNECTED = b"PS C:\\> azcmagent connect\nINFO    Connected machine to Azure\n"
SHOW = b"""\
Agent Version                           : 1.58.03228.700
Agent Status                            : Disconnected
Resource Name                           :
Dependent Service Status
  Agent Service (himdsd)                : active
"""


def judge_one(text: bytes, system: OS | None = None) -> SourceResult:
    (result,) = classify_paths(["-"], PACK, system, stdin=text)
    return result


def test_a_failure_on_standard_input() -> None:
    result = judge_one(FAILED)
    assert (result.path, result.verdict) == ("-", Word.FAILING)
    assert [(f.rule, f.state) for f in result.findings] == [("azcm0042", State.ACTIVE)]


@pytest.mark.parametrize("text", [b"", b"\x00\xff\xfe\x80", b"nothing the agent would print\n"])
def test_what_nobody_recognizes_is_not_observed(text: bytes) -> None:
    result = judge_one(text)
    assert (result.verdict, result.findings) == (Word.NOT_OBSERVED, ())


def test_a_run_that_went_well_is_healthy() -> None:
    assert judge_one(CONNECTED).verdict is Word.HEALTHY


def test_a_failure_before_a_success_is_history() -> None:
    result = judge_one(b"$ azcmagent connect\n" + FAILED + CONNECTED)
    assert result.verdict is Word.HEALTHY
    assert [finding.state for finding in result.findings] == [State.HISTORICAL]


def test_agent_state_is_recognized() -> None:
    result = judge_one(SHOW)
    assert result.verdict is Word.FAILING
    assert [finding.rule for finding in result.findings] == [
        "agent-never-onboarded",
        "agent-vulnerable-2026-21224",
    ]


def test_a_folder_is_all_its_files_each_on_its_own(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "ok.log").write_bytes(CONNECTED)
    (tmp_path / "a.log").write_bytes(FAILED)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    results = classify_paths([str(tmp_path)], PACK)
    assert [(Path(result.path).name, result.verdict) for result in results] == [
        ("a.log", Word.FAILING),
        ("ok.log", Word.HEALTHY),
    ]


def test_a_path_that_cannot_be_read_is_the_operators_mistake(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.log: cannot be read: No such file"):
        classify_paths([str(tmp_path / "nowhere.log")], PACK)


def test_secrets_never_reach_the_evidence() -> None:
    text = b'FATAL   Invalid client secret is provided: --service-principal-secret "hunter2-hunter2"\n'
    result = judge_one(text)
    assert [finding.rule for finding in result.findings] == ["client-secret-invalid"]
    assert "hunter2" not in render_classify_json([result])


def test_the_json_document() -> None:
    text = (
        b'time="2026-03-01T08:00:00Z" level=debug msg="Agent Command: connect"\n'
        b'time="2026-03-01T10:00:01+02:00" level=error msg="\x1b[31mAADSTS700016: gone" Application Id=1\n'
    )
    document = json.loads(
        render_classify_json([judge_one(text), SourceResult(path="x", verdict=Word.HEALTHY)])
    )
    first, second = document["sources"]
    assert document["schema"] == "fleet.classify/1"
    assert second == {"path": "x", "verdict": "HEALTHY", "findings": []}
    (finding,) = first["findings"]
    assert list(first) == ["path", "verdict", "findings"]
    assert list(finding) == [
        "rule",
        "code",
        "severity",
        "state",
        "title",
        "cause",
        "remediation",
        "count",
        "first_seen_at",
        "last_seen_at",
        "evidence",
        "explained_by",
        "parameters",
    ]
    assert finding["code"] is None
    assert finding["first_seen_at"] == finding["last_seen_at"] == "2026-03-01T08:00:01Z"
    assert finding["evidence"] == [{"line": 2, "text": 'AADSTS700016: gone  Application Id="1"'}]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("azcmagent version 1.58.03228.700\n", Word.NOT_OBSERVED),
        ("Local Configuration Settings\n  proxy.url : \n", Word.NOT_OBSERVED),
        ("INFO    Agent Version: 1.58\nINFO    Agent Command: connect\n", Word.NOT_OBSERVED),
        (
            "INFO    Agent Command: connect\nINFO    Successfully Onboarded Resource to Azure\n",
            Word.HEALTHY,
        ),
    ],
)
def test_healthy_is_said_of_what_would_have_shown_a_failure(tmp_path: Path, text: str, word: Word) -> None:
    (tmp_path / "text").write_text(text)
    (result,) = classify_paths([str(tmp_path / "text")], PACK)
    assert result.verdict is word


def test_a_heartbeat_nobody_can_read_is_no_sign_of_health() -> None:
    shown = b'{"status": "Connected", "resourceName": "web01", "lastHeartbeat": "%s"}\n'
    assert judge_one(shown % b"2026-01-02T03:04:05Z").verdict is Word.HEALTHY
    assert judge_one(shown % b"soon").verdict is Word.NOT_OBSERVED


def test_credentials_in_every_line_hide_no_failure() -> None:
    result = judge_one(b'level=debug msg="asking" token=abcdef0001\n' * 500 + FAILED)
    assert result.verdict is Word.FAILING
    assert result.findings[0].code == "AZCM0042"
