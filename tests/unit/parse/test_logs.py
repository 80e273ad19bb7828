"""Logs of every shape become records, runs and outcomes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.model.observation import Level, Outcome
from fleet.parse.logs import MAX_RECORDS, command_word, parse_log
from fleet.parse.scan import LONG_LINE, Anchors

ANCHORS = Anchors(["no such host", "MARK"])


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        (
            rb'time="2025-08-07T13:13:25-07:00" level=info msg="MARK \"a\"\nb" VM Id=7',
            Level.INFO,
            'MARK "a"\nb  VM Id="7"',
        ),
        (b'ERROR[0032] MARK  Error="a\\nb"', Level.ERROR, 'MARK  Error="a\nb"'),
        (b"  20% [==>  ]\r  FATAL   MARK", Level.FATAL, "MARK"),
        (b"<GCLOG>[2024-05-26 03:01:21.330] [PID 1] [EXT] [ERROR] [id] MARK</GCLOG>", Level.ERROR, "MARK"),
        (b"[2024-04-23][13:44:01] WARNING MARK it", Level.WARNING, "MARK it"),
        (b"[1728+00000001] 9/10/2024 10:41:43 PM [Info] [A=1] MARK", Level.INFO, "[A=1] MARK"),
        (b"just MARK \xff", Level.UNKNOWN, "just MARK \ufffd"),
    ],
)
def test_shapes(line: bytes, level: Level, text: str) -> None:
    (record,) = parse_log("x", b"other\n" + line + b"\nother\n", ANCHORS).records
    assert (record.line, record.level, record.text) == (2, level, text)


def test_only_a_time_with_a_zone_is_an_instant() -> None:
    log = parse_log(
        "x",
        b'time="2025-08-07T13:13:25-07:00" level=info msg=MARK\n[2024-04-23][13:44:01] INFO MARK',
        ANCHORS,
    )
    assert [record.at for record in log.records] == [datetime(2025, 8, 7, 20, 13, 25, tzinfo=UTC), None]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"INFO    Exit Code:  AZCM0043: Failed to Delete Resource", "AZCM0043"),
        (b'time="x" level=info msg="exit code: azcm0043: x"', "AZCM0043"),
        (b"FATAL   AZCM0026: Network Error", "AZCM0026"),
        (b"INFO    see https://example.com/AZCM0043", None),
        (b"AZCM0043 means that a resource could not be deleted", None),
        (b"INFO    Exit Code:  AZCM00433", None),
    ],
)
def test_a_code_counts_where_it_is_an_outcome(line: bytes, code: str | None) -> None:
    assert [record.code for record in parse_log("x", line, ANCHORS).records] == [code]


def _runs(text: bytes) -> list[tuple[str, str, bool]]:
    return [(run.command, run.outcome.value, run.current) for run in parse_log("x", text, ANCHORS).runs]


def test_a_later_connect_supersedes_and_a_read_only_command_does_not() -> None:
    head = b'level=debug msg="Agent Version: 1.2"\nlevel=debug msg="Agent Command: %s"\n'
    failed = head % b"connect" + b'level=fatal msg="AZCM0042: Failed to Create Resource"\n'
    show = head % b"show"
    assert _runs(failed + show) == [("connect", "failure", True), ("show", "unknown", True)]
    connected = head % b"connect" + b'level=info msg="Connected machine to Azure"\n'
    assert _runs(failed + connected + show) == [
        ("connect", "failure", False),
        ("connect", "success", True),
        ("show", "unknown", True),
    ]
    assert _runs(connected + head % b"disconnect")[0] == ("connect", "success", False)


@pytest.mark.parametrize(
    "prompt",
    [
        b"$ sudo azcmagent connect -x",
        b"# azcmagent connect",
        b"PS C:\\Program Files> azcmagent connect",
        b'& "C:\\Program Files\\Agent\\azcmagent.exe" connect',
        b"[root@web01 ~]# azcmagent connect",
        b"ops@web01:~$ sudo /usr/bin/azcmagent connect",
    ],
)
def test_prompts_begin_a_run(prompt: bytes) -> None:
    assert _runs(prompt + b"\nFATAL   it broke\n") == [("connect", "failure", True)]


def test_an_installer_that_ends_well_ends_a_run() -> None:
    text = b"MARK\n%s\nMARK\nFATAL   it broke\n"
    for line in (
        b"Latest version of azcmagent is installed.",
        b"azcmagent version 1.58 is installed.",
        b'    "message":  "Installation of azcmagent completed successfully"',
    ):
        assert _runs(text % line) == [("", "success", False), ("", "failure", True)]
    # It says nothing of a command that ran before it.
    assert _runs(b"$ azcmagent show\nLatest version of azcmagent is installed.\n")[0][1] == "unknown"


def test_lines_before_any_border_and_logs_without_runs() -> None:
    assert _runs(b"MARK\n$ azcmagent disconnect\n")[0] == ("", "unknown", False)
    assert _runs(b"nothing of note\n") == [("", "unknown", True)]
    assert parse_log("x", b"", ANCHORS).runs == ()


def test_the_newest_records_are_kept_and_long_lines_are_cut() -> None:
    log = parse_log("x", b"MARK\n" * (MAX_RECORDS + 10), ANCHORS)
    assert (len(log.records), log.records[-1].line) == (MAX_RECORDS, MAX_RECORDS + 10)
    long = parse_log(
        "x", b'level=error msg="' + b"x" * 1_000_000 + b"MARK" + b"y" * 1_000_000, ANCHORS
    ).records[0]
    assert (long.level, "MARK" in long.text, len(long.text) <= LONG_LINE + 5) == (
        Level.ERROR,
        True,
        True,
    )


CODE = b'level=info msg="Exit Code:  AZCM0062: Failed to Do Something"\n'


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (b'level=error msg="the reason"\nlevel=debug msg="tidying up"\n', ["the reason"]),
        (b"ERROR[0032] the reason\nDEBUG[0032] tidying up\n", ["the reason"]),
        (b'level=error msg="first"\nlevel=error msg="last"\n', ["last"]),
        (b'level=error msg="of another run"\nAgent Command: connect\n', []),
        (b'level=info msg="no level=error here"\n', []),
        (b"", []),
    ],
)
def test_a_code_has_the_error_before_it(before: bytes, said: list[str]) -> None:
    log = parse_log("x", b"Agent Command: show\n" + before + CODE, ANCHORS)
    errors = [record for record in log.records if record.level is Level.ERROR]
    assert [record.text for record in errors] == said
    assert [record.line for record in log.records] == sorted({record.line for record in log.records})
    if said:
        assert errors[0].run == log.records[-1].run
        assert before.splitlines()[errors[0].line - 2].find(said[0].encode()) > 0


def test_an_error_is_looked_for_once_however_many_codes_follow() -> None:
    log = parse_log("x", b'level=error msg="the reason"\n' + CODE * 100, ANCHORS)
    assert [record.line for record in log.records] == list(range(1, 102))


def test_dropped_records_take_their_runs_with_them() -> None:
    log = parse_log("x", b"Agent Command: show\n" * (MAX_RECORDS + 7), ANCHORS)
    assert len(log.runs) == MAX_RECORDS
    assert [log.records[0].run, log.records[-1].run] == [0, MAX_RECORDS - 1]
    assert log.runs[-1].outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("words", "command"),
    [("config list", "config list"), ("azcmagent show -j", "show"), ("-v", ""), ("", "")],
)
def test_command_word(words: str, command: str) -> None:
    assert command_word(words) == command


PIECES = st.sampled_from(
    [
        b'level=fatal msg="',
        b"Agent Command: ",
        b"MARK",
        b'="',
        b"\\x",
        b"\n",
        b"\r",
        b"[",
        b"]",
        b"$ azcmagent x",
    ]
)


@given(st.lists(PIECES | st.binary(max_size=12), max_size=30).map(b"".join))
def test_any_bytes(data: bytes) -> None:
    log = parse_log("x", data, ANCHORS, cut=True)
    assert all(record.run is not None and record.run < len(log.runs) for record in log.records)
    assert all(1 <= record.line <= data.count(b"\n") + 1 for record in log.records)


def test_the_error_before_a_code_is_a_record_also_with_a_marked_line_between() -> None:
    lines = (
        'level=debug msg="Agent Command: connect"',
        'level=error msg="nobody marks this"',
        'level=info msg="MARK"',
        'level=info msg="Exit Code: AZCM0042: Failed"',
        'level=info msg="Exit Code: AZCM0043: Failed"',
    )
    log = parse_log("x", "\n".join(lines).encode(), Anchors(["mark"]))
    assert sorted((record.line, record.level, record.run) for record in log.records) == [
        (1, Level.DEBUG, 0),
        (2, Level.ERROR, 0),
        (3, Level.INFO, 0),
        (4, Level.INFO, 0),
        (5, Level.INFO, 0),
    ]
