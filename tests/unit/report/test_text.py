"""Host text made safe, and one host's history."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.model.words import Word
from fleet.report.telling import told_causes
from fleet.report.text import clean, render_host
from tests.unit.report.sample import (
    ACCEPTED,
    CREATE,
    EXPIRING,
    EXPLAINED,
    HOSTILE,
    SHARED,
    STOPPED,
    SURVIVED,
    make_hostile,
    make_report,
    make_result,
    varied_report,
)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain text", "plain text"),
        ("München ✓", "München ✓"),
        ("\x1b[31mred\x1b[0m", "�red�"),
        ("a\x1b]0;title\x07b", "a�b"),
        ("a\x1b]0;never ended", "a�0;never ended"),
        ("a\x9b2Jb\x1bPq\x1b\\c", "a�b�c"),
        ("left\u202eright\u2066x", "left�right�x"),
        ("ze\u200bro\ufeff\u00ad", "ze�ro��"),
        ("nul\x00del\x7f\x85nel", "nul�del� ⏎ nel"),
        ("one\r\ntwo\nthree\u2028four\tfive", "one ⏎ two ⏎ three ⏎ four five"),
        ("lone\ud800", "lone�"),
    ],
)
def test_clean(text: str, safe: str) -> None:
    assert clean(text) == safe


@given(st.text(st.characters()))
def test_clean_keeps_nothing_that_steers(text: str) -> None:
    safe = clean(text)
    assert not [char for char in safe if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}]
    assert clean(safe) == safe


def test_clean_is_linear_on_unterminated_sequences() -> None:
    assert clean("\x9d\x1b]" * 50_000) == "�" * 100_000


def test_render_host_shows_the_newest_in_detail_and_a_line_for_each_older_run() -> None:
    run = make_report([]).run
    newest, older = make_result("db01", Word.FAILING, CREATE, SURVIVED), make_result("db01", Word.HEALTHY)
    shown = render_host([(run, newest), (run, older)])
    assert shown.startswith(
        "db01  FAILING\n  192.0.2.1 port 22, ssh, key, become shell, Debian GNU/Linux 12 (bookworm)\n"
    )
    assert "  Remedy: Give the principal" in shown
    assert "    azcmagent.log:120: level=error AZCM0042" in shown
    assert "  Services: himds=running; gcad=absent\n" in shown
    assert "  Phases: connect 0.02 s, exec 3.10 s\n" in shown
    assert "info, survived earlier: AZCM0042" in shown
    assert shown.splitlines()[-1].startswith("  2026-03-04T05:06:07Z  HEALTHY")


def test_symptoms_stand_under_their_cause_and_have_no_remedy_of_their_own() -> None:
    result = make_result("web20", Word.FAILING, STOPPED, EXPLAINED, SURVIVED)
    shown = render_host([(make_report([]).run, result)])
    cause, symptom, other = (
        "\ncritical: service-himds-stopped himds is not running\n",
        "\n  Explains:\n    error: AZCM0042 Failed to create resource\n      Seen: 3 times",
        "\ninfo, survived earlier: AZCM0042",
    )
    assert shown.index(cause) < shown.index(symptom) < shown.index(other)
    assert shown.count("Give the principal") == 1


def test_what_is_explained_by_a_symptom_stands_under_the_cause_of_both() -> None:
    far = replace(EXPIRING, explained_by=("azcm0042",))
    ((cause, symptoms),) = told_causes(make_result("web20", Word.FAILING, STOPPED, EXPLAINED, far))
    assert (cause, symptoms) == (STOPPED, (EXPLAINED, far))


def test_findings_that_explain_each_other_are_told_all_the_same() -> None:
    ring = (replace(STOPPED, explained_by=("azcm0042",)), EXPLAINED)
    told = told_causes(make_result("web20", Word.FAILING, *ring))
    assert sorted(f.rule for cause, symptoms in told for f in (cause, *symptoms)) == [
        CREATE.rule,
        STOPPED.rule,
    ]


def test_render_host_says_who_lives_with_a_finding_and_what_it_shares() -> None:
    shown = render_host([(make_report([]).run, make_result("db01", Word.HEALTHY, ACCEPTED))], [SHARED])
    assert "warning, accepted: agent-expires-soon Agent expires soon\n" in shown
    assert "  Accepted: CHG-7 until 2026-05-31: It moves in May.\n" in shown
    assert "error: shared-vm-id 2 hosts have one VM id\n  Hosts: db[01-02]\n  Cause: These" in shown
    other = render_host([(make_report([]).run, make_result("db03", Word.HEALTHY))], [SHARED])
    assert "shared-vm-id" not in other


def test_render_host_tells_what_was_not_read_beside_the_cause() -> None:
    report = varied_report()
    shown = render_host([(report.run, report.results[0])])
    assert shown.startswith("db01  FAILING (observed in part)\n")
    assert "\n  not read: log.himds (denied)\n" in shown
    assert f"error: AZCM0042 {CREATE.title}" in shown


@pytest.mark.parametrize("text", HOSTILE)
def test_render_host_is_safe(text: str) -> None:
    shown = render_host([(make_report([]).run, make_hostile(1, text))])
    assert all(line == clean(line) for line in shown.splitlines())


def test_render_host_without_history() -> None:
    assert render_host([]) == "No run in this database has that host.\n"
