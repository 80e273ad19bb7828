"""The demo as its user runs it: every simulated host gets the verdict its description asks for."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fleet.lab.describe import HostDescription, load_demo
from tests.sample_output import SAMPLE, shortened, shown_output

# What two runs of the demo differ in, by key of report.json.
_VARIES = {
    "id",
    "inventory",
    "duration_s",
    "pack_digest",
    "clock.skew_s",
    "script_sha256",
    "port",
    "clock_offset_s",
    "seconds",
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder with what the demo wrote and what it printed. A name with a blank, for the quoting."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "fleet", "demo", "--out", "my demo"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return folder / "my demo", done.stdout


@pytest.fixture(scope="module")
def out(demo: tuple[Path, str]) -> Path:
    return demo[0]


def plain(text: str, folder: str) -> str:
    """The text without what two runs differ in, on one line because a path's length moves line breaks."""
    text = " ".join(text.split())
    for pattern, word in (
        (re.escape(folder), "OUT"),
        (r"\d{8}T\d{6}-[0-9a-f]{8}", "RUN"),
        (r"SHA256:\S+", "KEY"),
        (r"\d+\.\d s\b", "TIME"),
        (r"(?<=expires_in_s = )-?\d+", "SECONDS"),
        (r"(?<=skew_s = )[\d.]+", "SECONDS"),
        (r"(?<=127\.0\.0\.1 port )\d+", "PORT"),
    ):
        text = re.sub(pattern, word, text)
    return text


def steady(value: Any, folder: str, key: str = "") -> Any:
    """report.json without what two runs differ in; of that only whether it is there."""
    if key in _VARIES or key.endswith("_at"):
        return value is not None
    if isinstance(value, dict):
        return {name: steady(part, folder, name) for name, part in value.items()}
    if isinstance(value, list):
        return [steady(part, folder) for part in value]
    return plain(value, folder) if isinstance(value, str) else value


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def rows(out: Path) -> dict[str, dict[str, str]]:
    return {row["host"]: row for row in table(out / "hosts.csv")}


def findings(out: Path, host: str) -> list[dict[str, str]]:
    return [row for row in table(out / "findings.csv") if row["host"] == host]


@pytest.mark.parametrize("host", load_demo(), ids=lambda host: host.name)
def test_every_host_gets_its_verdict(out: Path, host: HostDescription) -> None:
    row = rows(out)[host.name]
    assert row["verdict"] == host.expect.verdict
    assert row["reason"] == (host.expect.reason or "")
    assert row["phase"] == (host.expect.phase or "")
    assert row["rule"] == (host.expect.rule or "")
    assert host.expect.code is None or row["code"] == host.expect.code


# What is said of a release of the agent depends on the day.
ABOUT_RELEASE = {"agent-unsupported", "agent-support-ends-soon", "agent-vulnerable-2026-21224"}


@pytest.mark.parametrize("host", load_demo(), ids=lambda host: host.name)
def test_every_host_has_its_findings_and_no_other_that_is_active(out: Path, host: HostDescription) -> None:
    found = findings(out, host.name)
    active = {row["rule"] for row in found if row["state"] == "active"}
    code_rule = host.expect.code and host.expect.code.lower()
    expected = {host.expect.rule, code_rule, *host.expect.also} - {None}
    assert {row["rule"] for row in found} >= expected
    assert active - ABOUT_RELEASE <= expected
    assert code_rule is None or code_rule in active


def test_rows_equal_hosts_in_every_report(out: Path) -> None:
    names = {host.name for host in load_demo()}
    assert set(rows(out)) == names
    assert {entry["host"] for entry in json.loads((out / "report.json").read_text())["hosts"]} == names
    text = (out / "report.html").read_text()
    assert all(name in text for name in names)


def test_what_is_written_is_the_owners_alone(out: Path) -> None:
    for path in (out, *out.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_readme_shows_what_it_prints(demo: tuple[Path, str]) -> None:
    out, printed = demo
    summary, _, _ = printed.partition("\nOpen ")
    assert plain(shortened(summary), str(out)) == plain(shown_output(), "/tmp/fleet-demo")


def test_the_sample_is_one_of_its_runs(out: Path) -> None:
    made, kept = (json.loads((folder / "report.json").read_text()) for folder in (out, SAMPLE))
    assert steady(made, str(out)) == steady(kept, "/tmp/fleet-demo"), "rebuild it: make sample"


def test_the_command_it_ends_with_can_be_pasted(demo: tuple[Path, str]) -> None:
    out, printed = demo
    done = subprocess.run(
        ["/bin/sh", "-c", printed.splitlines()[-1]], capture_output=True, text=True, check=False, cwd=out
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("app01  FAILING\n")
    assert "AZCM0000" not in done.stdout


def test_every_file_a_report_names_is_there(out: Path) -> None:
    told = json.loads((out / "report.json").read_text())
    messages = [entry["message"] for entry in told["hosts"]]
    assert (out.parent / told["run"]["inventory"]).samefile(out / "lab/inventory.yaml")
    for name in ("known_hosts", "ops_ed25519"):
        path = out / "lab" / name
        assert path.is_file()
        assert any(str(path) in message for message in messages)


def test_an_unseen_host_is_told_what_was_seen_and_once_what_to_do(out: Path) -> None:
    row = rows(out)["edge01"]
    assert "host key changed" in row["cause"]
    assert "find out" not in row["cause"].casefold()
    assert row["remediation"].startswith("Find out why")


def test_what_was_found_on_a_host_seen_in_part_is_its_verdict(out: Path) -> None:
    row = rows(out)["app04"]
    assert (row["verdict"], row["observed"]) == ("FAILING", "partial")


def test_a_connection_that_breaks_after_the_login_has_its_own_advice(out: Path) -> None:
    assert "listens" not in rows(out)["store10"]["remediation"]
    assert rows(out)["store10"]["remediation"].startswith("Run again")


def test_a_hostile_log_is_shown_disarmed(out: Path) -> None:
    (row,) = findings(out, "batch03")
    assert "alert(document.domain)" in row["evidence"]
    assert row["evidence"].isprintable()
    text = (out / "report.html").read_text()
    assert "alert(document.domain)" in text
    assert "<script>alert" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_a_cause_begins_with_the_line_that_tells_it(out: Path) -> None:
    first = findings(out, "app01")[0]
    assert first["rule"] == "arm-endpoint-blocked"
    assert first["evidence"].startswith("log.azcmagent:23: Failed to AzcmagentConnect ARM resource")
    assert first["evidence"].endswith(': Forbidden"')


def test_a_folder_that_cannot_be_is_the_operators_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "fleet", "demo", "--out", str(tmp_path / "file/demo")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("fleet: --out ")
    assert done.stderr.count("\n") == 1
