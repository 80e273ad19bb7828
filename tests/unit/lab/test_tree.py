"""The programs and files of a simulated host, called as a visit calls them."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleet.lab.describe import parse_description
from fleet.lab.tree import HostTree, build_tree

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
BARE = "name: one\nsummary: a host\ngroup: some\nexpect: {verdict: HEALTHY}\n"
AGENT = """\
agent:
  heartbeat_age_s: 60
  resource_name: web01
  resource_group: rg
  location: westeurope
"""


class Host:
    """Runs commands with the host's programs first in PATH."""

    def __init__(self, folder: Path, more: str) -> None:
        self.tree: HostTree = build_tree(parse_description(BARE + more, "one.yaml"), folder / "one", NOW)

    def run(self, *argv: str, stdin: str = "") -> tuple[int, str, str]:
        env = {"PATH": f"{self.tree.programs}:{os.environ['PATH']}"}
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, env=env, check=False)
        return done.returncode, done.stdout, done.stderr


def test_show_in_both_forms(tmp_path: Path) -> None:
    host = Host(tmp_path, AGENT + "services: {extd: failed}\n")
    shown = json.loads(host.run("azcmagent", "show", "-j")[1])
    assert (shown["status"], shown["lastHeartbeat"]) == ("Connected", "2026-03-01T11:59:00Z")
    assert shown["resourceName"] == "web01"
    assert {service["serviceName"]: service["status"] for service in shown["services"]} == {
        "himdsd": "active",
        "gcad": "active",
        "extd": "failed",
        "arcproxyd": "active",
    }
    lines = host.run("azcmagent", "show")[1].splitlines()
    assert "Agent Last Heartbeat                    : 2026-03-01T11:59:00Z" in lines
    assert "  Extension Service (extd)              : failed" in lines


def test_version_and_config_list(tmp_path: Path) -> None:
    host = Host(tmp_path, "agent: {version: 1.2.3}\nconfig: {proxy.url: 'http://proxy:3128'}\n")
    assert host.run("azcmagent", "version") == (0, "azcmagent version  1.2.3\n", "")
    settings = dict(line.split(" : ") for line in host.run("azcmagent", "config", "list")[1].splitlines()[1:])
    assert settings["  proxy.url".ljust(55)] == "http://proxy:3128"


def test_check_fails_where_an_endpoint_is_closed(tmp_path: Path) -> None:
    host = Host(tmp_path, "agent: {unreachable: [pas.windows.net]}\n")
    code, out, _ = host.run("azcmagent", "check")
    row = next(line for line in out.splitlines() if "pas.windows.net" in line)
    assert (code, [cell.strip() for cell in row.split("|")][1:3]) == (1, ["false", "unknown"])
    assert out.startswith('time="2026-03-01T12:00:00Z" level=info')


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        ("agent: {absent: true}", (127, "", "sh: azcmagent: not found\n")),
        ("agent: {garbage: '<<<'}", (0, "<<<", "")),
        ("agent: {fails: true}", (2, "", "panic: runtime error: invalid memory address\n")),
        ("agent: {json: false}", (1, "", "Error: unknown shorthand flag: -j\n")),
    ],
)
def test_an_agent_in_trouble(tmp_path: Path, more: str, answer: tuple[int, str, str]) -> None:
    assert Host(tmp_path, more + "\n").run("azcmagent", "show", "-j") == answer


def test_an_agent_that_hangs(tmp_path: Path) -> None:
    host = Host(tmp_path, "agent: {hangs: true}\n")
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([host.tree.programs / "azcmagent", "show"], timeout=0.1, check=False)


def test_systemctl_shows_the_asked_properties_of_several_units(tmp_path: Path) -> None:
    host = Host(tmp_path, "services: {himdsd: inactive, extd: failed}\n")
    expected = "Id={}.service\nLoadState={}\nActiveState={}\n"
    answers = [
        expected.format("himdsd", "loaded", "inactive"),
        expected.format("extd", "loaded", "failed"),
        expected.format("nosuch", "not-found", "inactive"),
    ]
    units = ("himdsd.service", "extd", "nosuch.service")
    asked = host.run("systemctl", "show", "--no-pager", "--property=Id,LoadState,ActiveState", *units)
    assert asked == (0, "\n".join(answers), "")
    assert host.run("systemctl", "show", "-p", "Id", "-p", "LoadState,ActiveState", *units) == asked


def test_systemctl_is_active_tells_by_its_exit_code(tmp_path: Path) -> None:
    host = Host(tmp_path, "services: {himdsd: inactive}\n")
    assert host.run("systemctl", "is-active", "himdsd.service") == (3, "inactive\n", "")
    assert host.run("systemctl", "is-active", "gcad.service") == (0, "active\n", "")


def test_a_unit_that_ends_again_and_again(tmp_path: Path) -> None:
    host = Host(tmp_path, "services: {himdsd: restarting}\n")
    words = ("ActiveState", "SubState", "Result", "NRestarts")
    shown = host.run("systemctl", "show", f"--property={','.join(words)}", "himdsd.service")[1]
    told = dict(line.split("=") for line in shown.splitlines())
    assert [told[word] for word in words[:3]] == ["activating", "auto-restart", "exit-code"]
    assert int(told["NRestarts"]) > 100
    assert host.run("systemctl", "is-active", "himdsd.service") == (3, "activating\n", "")


def test_an_absent_agent_has_no_units(tmp_path: Path) -> None:
    host = Host(tmp_path, "agent: {absent: true}\n")
    asked = host.run("systemctl", "show", "--property=LoadState,ActiveState", "himdsd.service")
    assert asked[1] == "LoadState=not-found\nActiveState=inactive\n"


def test_journalctl_gives_the_last_lines_of_a_unit(tmp_path: Path) -> None:
    host = Host(tmp_path, "journal:\n  himdsd: |\n    {t-90} a\n    {t-60} b\n")
    asked = ("journalctl", "--no-pager", "-n", "1", "-o", "short-iso", "-u")
    assert host.run(*asked, "himdsd.service") == (0, "2026-03-01T11:59:00Z b\n", "")
    assert host.run(*asked, "extd.service")[1] == "-- No entries --\n"


def test_files_and_their_instants(tmp_path: Path) -> None:
    host = Host(
        tmp_path,
        "os_release: ID=other\nlogs: {himds: 'at {t-86400}', install: '{d-1} install'}\n"
        "extensions: {Some.Extension: '{}'}\n",
    )
    root = host.tree.root
    assert (root / "etc/os-release").read_text() == "ID=other"
    assert (root / "var/opt/azcmagent/log/himds.log").read_text() == "at 2026-02-28T12:00:00Z"
    assert (root / "var/log/dpkg.log").read_text() == "2026-03-01 11:59:59 install"
    assert (root / "var/lib/GuestConfig/extension_logs/Some.Extension/state.json").read_text() == "{}"


def test_a_log_is_written_as_often_as_told_with_every_byte(tmp_path: Path) -> None:
    more = "logs:\n  himds: '{t-60}ä '\n  arcproxy: !!binary |\n    AHt0LTYwff8=\nrepeat: {himds: 2000}\n"
    logs = Host(tmp_path, more).tree.root / "var/opt/azcmagent/log"
    assert (logs / "himds.log").read_bytes() == "2026-03-01T11:59:00Zä ".encode() * 2000
    assert (logs / "arcproxy.log").read_bytes() == b"\x002026-03-01T11:59:00Z\xff"


def test_a_certificate_that_ends_in_some_days(tmp_path: Path) -> None:
    host = Host(tmp_path, "agent: {certificate_days: 20}\n")
    (certificate,) = (host.tree.root / "var/opt/azcmagent/certs").iterdir()
    asked = ("openssl", "x509", "-noout", "-enddate", "-in", str(certificate))
    assert host.run(*asked) == (0, "notAfter=Mar 21 12:00:00 2026 GMT\n", "")


def test_sudo_passes_through_where_it_needs_no_password(tmp_path: Path) -> None:
    host = Host(tmp_path, "")
    assert host.run("sudo", "-n", "echo", "a b") == (0, "a b\n", "")
    assert host.run("sudo", "-S", "-p", "N1", "sh", "-c", "cat", stdin="rest") == (0, "rest", "")
    assert host.tree.sudo_attempts == 0


def test_sudo_reads_one_line_and_leaves_the_rest_to_the_command(tmp_path: Path) -> None:
    host = Host(tmp_path, 'login: {sudo_password: "it\'s"}\n')
    asked = host.run("sudo", "-S", "-p", "N1", "sh", "-c", "cat", stdin="it's\nrest")
    assert asked == (0, "rest", "N1")
    assert host.tree.sudo_attempts == 1


def test_sudo_refuses_a_wrong_password_and_asks_again(tmp_path: Path) -> None:
    host = Host(tmp_path, "login: {sudo_password: right}\n")
    code, out, err = host.run("sudo", "-S", "-p", "N1", "echo", "in", stdin="wrong\n")
    assert (code, out) == (1, "")
    assert err == "N1Sorry, try again.\nN1sudo: 1 incorrect password attempt\n"
    assert host.run("sudo", "-n", "true") == (1, "", "sudo: a password is required\n")


def test_sudo_refuses_a_user_it_does_not_know(tmp_path: Path) -> None:
    assert Host(tmp_path, "login: {sudo_refuse: true}\n").run("sudo", "-n", "true")[0] == 1
