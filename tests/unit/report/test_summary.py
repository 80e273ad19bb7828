"""The terminal summary."""

from __future__ import annotations

from dataclasses import replace

from fleet.model.report import HostResult
from fleet.model.words import OS, Connection, Phase, Reason, Severity, Word
from fleet.report.summary import render_summary
from fleet.report.text import clean
from tests.unit.report.sample import SHARED, STOPPED, make_report, make_result, make_unseen, varied_report


def test_causes_lead_then_warnings_then_gaps_then_counts() -> None:
    shown = render_summary(varied_report())
    cause = "AZCM0042 Failed to create resource, 7 hosts: db[01-04], web[11-13]\n    Give the principal"
    places = [
        shown.index(
            "shared-vm-id 2 hosts have one VM id, 2 hosts: db[01-02]\n    Run `azcmagent disconnect` on"
        ),
        shown.index("service-himds-stopped himds is not running (AZCM0042), 2 hosts: web[20-21]"),
        shown.index(cause),
        shown.index("warning: agent-expires-soon Agent expires soon, 3 hosts"),
        shown.index("not observed, unreachable during connect, 3 hosts"),
        shown.index("38 hosts: 15 healthy, 15 failing, 3 degraded, 5 not observed\n"),
        shown.index("run 20260304-050607-ab12, 12.3 s\n"),
    ]
    assert places == sorted(places)


def test_every_line_is_safe_and_within_the_width() -> None:
    lines = render_summary(varied_report(), width=72).splitlines()
    assert all(line == clean(line) and len(line) <= 72 for line in lines)


def test_all_healthy_reads_well() -> None:
    shown = render_summary(make_report(make_result(f"a{n}", Word.HEALTHY) for n in range(3)))
    assert shown.startswith("All 3 hosts are healthy.\n\n3 hosts: 3 healthy, 0 failing")


def test_healthy_hosts_that_share_what_they_must_not_do_not_read_well() -> None:
    shown = render_summary(make_report([make_result(f"db0{n}", Word.HEALTHY) for n in (1, 2)], SHARED))
    assert shown.startswith("shared-vm-id 2 hosts have one VM id, 2 hosts: db[01-02]\n    Run")
    assert "healthy.\n" not in shown
    asked = replace(SHARED, severity=Severity.INFO)
    shown = render_summary(make_report([make_result(f"db0{n}", Word.HEALTHY) for n in (1, 2)], asked))
    assert shown.startswith("All 2 hosts are healthy.\n\ninfo: shared-vm-id")


def test_nothing_observed_never_reads_like_success() -> None:
    unseen = [make_unseen(f"a{n}", Reason.SKIPPED, None, "") for n in range(3)]
    shown = render_summary(make_report(unseen, has_ended=False))
    assert shown.startswith("Nothing was observed: none of 3 hosts could be judged.\n")
    assert "not observed, skipped, 3 hosts: a[0-2]\n    Run again" in shown
    assert "which did not end" in shown


def test_a_reason_that_is_also_the_phase_is_said_once() -> None:
    shown = render_summary(make_report([make_unseen("b", Reason.AUTH, Phase.AUTH, "refused")]))
    assert "not observed, auth, 1 host: b" in shown


def test_healthy_hosts_do_not_hide_the_unseen() -> None:
    unseen = make_unseen("b", Reason.AUTH, Phase.AUTH, "refused")
    shown = render_summary(make_report([make_result("a", Word.HEALTHY), unseen]))
    assert shown.startswith("Healthy as far as seen, on 1 host; nothing is known about the other 1.\n")


def test_many_different_messages_of_one_reason_stay_few_blocks() -> None:
    unseen = [make_unseen(f"a{n}", Reason.REMOTE, Phase.EXEC, f"oddity {n}") for n in range(50)]
    shown = render_summary(make_report(unseen))
    assert shown.count("not observed, remote") == 5
    assert "not observed, remote during exec, 46 hosts: a[4-49]\n    46 different messages, one of" in shown


def _on_windows(result: HostResult) -> HostResult:
    return replace(result, host=replace(result.host, connection=Connection.WINRM, os=OS.WINDOWS))


def test_hosts_that_show_keys_or_certificates_of_their_own_share_a_block() -> None:
    for shows in ("SHA256:" + "{}" * 43, "sha256:" + "{}" * 64):
        unseen = [
            make_unseen(f"a{n}", Reason.IDENTITY, Phase.HANDSHAKE, f"shows {shows.replace('{}', str(n))}")
            for n in range(2)
        ]
        assert "handshake, 2 hosts: a[0-1]\n    shows KEY." in render_summary(make_report(unseen))


def test_each_family_is_told_its_own_remedy() -> None:
    on_windows = replace(STOPPED, remediation="Start it with `Start-Service himds`.")
    failing = [make_result("db01", Word.FAILING, STOPPED), make_result("db02", Word.FAILING, STOPPED)]
    failing.append(_on_windows(make_result("win01", Word.FAILING, on_windows)))
    unseen = [
        make_unseen(name, Reason.UNREACHABLE, Phase.CONNECT, "no answer") for name in ("a1", "a2", "w1")
    ]
    skipped = [make_unseen(name, Reason.SKIPPED, None, "not reached") for name in ("s1", "w2")]
    told = render_summary(
        make_report([*failing, *unseen[:2], _on_windows(unseen[2]), skipped[0], _on_windows(skipped[1])])
    )
    blocks = told.split("\n\n")
    (linux,) = [block for block in blocks if "systemctl start himdsd" in block]
    (windows,) = [block for block in blocks if "Start-Service himds" in block]
    assert "2 hosts: db[01-02]" in linux
    assert "1 host: win01" in windows
    (over_ssh,) = [block for block in blocks if "SSH listens" in block]
    (over_winrm,) = [block for block in blocks if "WinRM listens" in block]
    assert "2 hosts: a[1-2]" in over_ssh
    assert "1 host: w1" in over_winrm
    # What helps is the same on both: one block.
    assert "2 hosts: s1, w2" in told
