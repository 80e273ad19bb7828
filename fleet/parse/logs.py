"""A log or console capture to records and command runs, reading only the lines that the scan marked."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from fleet.model.observation import CommandRun, Level, Log, LogRecord, Outcome
from fleet.parse.lines import Line, parse_line
from fleet.parse.outcomes import NO_ERROR, outcome_code
from fleet.parse.scan import HEAD, Anchors, part_around
from fleet.parse.text import decode, uncoloured

MAX_RECORDS = 5000

_ERROR_REACH = 65536
_SUCCESSION = ("connect", "disconnect")
_TWO_WORDS = ("config", "extension", "extensions", "license")

_VERSION = re.compile(r"agent version:\s*(\d{1,6}(?:\.\d{1,10}){1,3})?", re.IGNORECASE)
_COMMAND = re.compile(r"agent command:\s*(.*)", re.IGNORECASE)
_SUCCESS = re.compile(
    r"successfully onboarded resource to azure|connected machine to azure|successfully disconnected",
    re.IGNORECASE,
)
_INSTALLED = re.compile(
    r"latest version of azcmagent is installed|azcmagent version \S{1,40} is installed\."
    r"|installation of azcmagent completed successfully",
    re.IGNORECASE,
)
_PROMPT = (
    r"(?:PS [^\n>]{0,200}>|[A-Za-z]:\\[^\n>]{0,200}>|\[[^\]\n]{0,100}\][$#]"
    r"|[\w.-]{1,64}@[^\s$#]{1,100}(?: [^\s$#]{1,100})?\s?[$#]|[^\s$#>]{0,80}[$#>])"
)
_PROGRAM = (
    r"(?:[\"'](?:[^\"'\n]{0,200}[\\/])?azcmagent(?:\.exe)?[\"']"
    r"|(?:[^\s\"'|]{0,200}[\\/])?azcmagent(?:\.exe)?)"
)
_CALL = re.compile(
    rf"(?:{_PROMPT}\s*(?:sudo\s+(?:-\S+\s+)?)?(?:&\s*)?|sudo\s+(?:-\S+\s+)?|&\s*){_PROGRAM}\s+(.*)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[a-z][a-z-]{0,30}\Z")


@dataclass(slots=True)
class _Run:
    command: str
    first_line: int
    version: str = ""
    awaits_command: bool = False
    outcome: Outcome = Outcome.UNKNOWN
    last_at: datetime | None = None


@dataclass(slots=True)
class _Segmenter:
    """Tells each record its run, in the order of the lines."""

    runs: list[_Run] = field(default_factory=list)
    _is_over: bool = False

    def place(self, number: int, line: Line, code: str | None) -> int:
        """The index of the run this line belongs to, a new one when it is a border."""
        count = len(self.runs)
        self._cross_border(number, line)
        if len(self.runs) == count and (self._is_over or not count):
            self.runs.append(_Run("", number))
        run = self.runs[-1]
        # An installer that ended well: what went wrong before is over, what follows is of another program.
        self._is_over = not run.command and _INSTALLED.search(line.message) is not None
        if self._is_over:
            run.outcome = Outcome.SUCCESS
        run.last_at = line.at or run.last_at
        outcome = _outcome(line, code)
        if outcome is not None:
            run.outcome, run.awaits_command = outcome, False
        return len(self.runs) - 1

    def _cross_border(self, number: int, line: Line) -> None:
        command = _COMMAND.match(line.message)
        if command and self.runs and self.runs[-1].awaits_command:
            self.runs[-1].command = command_word(command[1])
            self.runs[-1].awaits_command = False
        elif command:
            self.runs.append(_Run(command_word(command[1]), number))
        elif version := _VERSION.match(line.message):
            self.runs.append(_Run("", number, version[1] or "", awaits_command=True))
        elif line.plain and (call := _CALL.match(line.message)):
            self.runs.append(_Run(command_word(call[1]), number))


def parse_log(source: str, data: bytes, anchors: Anchors, *, cut: bool = False) -> Log:
    """Records of the marked lines, at most ``MAX_RECORDS``, the newest, with the runs they belong to.

    A code that ends a run has the error before it as a record too: that line says what the code does not.
    Of a very long line each part with a mark is a record. Total and linear in ``data``. A log with text but
    without marked lines is one run of no command.
    """
    data = uncoloured(data)
    records: deque[LogRecord] = deque(maxlen=MAX_RECORDS)
    segmenter = _Segmenter()
    began, read, last = 0, 0, -1
    for number, start, raw in _marked_lines(data, anchors):
        line = parse_line(decode(raw))
        if start == last:
            # What the line means for its run its first part has told.
            records.append(_record(number, line, len(segmenter.runs) - 1))
            continue
        last = start
        code = outcome_code(line)
        count = len(segmenter.runs)
        run = segmenter.place(number, line, code)
        if len(segmenter.runs) > count and code is None:
            began = start
        if code not in (None, NO_ERROR) and (error := _error_before(data, max(began, read), start)):
            records.append(_record(number - data.count(b"\n", error[0], start), error[1], run))
        records.append(_record(number, line, run, code))
        if code is not None or line.level is Level.ERROR:
            # The next code looks no further back: an error there is a record, and no byte is looked at twice.
            read = start + len(raw)
    if not segmenter.runs and data:
        segmenter.runs.append(_Run("", 1))
    first = (records[0].run or 0) if records else 0
    return Log(
        source=source,
        records=tuple(replace(record, run=(record.run or 0) - first) for record in records)
        if first
        else tuple(records),
        runs=_succession(segmenter.runs[first:]),
        cut=cut,
    )


def command_word(words: str) -> str:
    """The agent's command of a command line, lower case: ``connect``, ``config list``; "" when none."""
    found = [word.strip("\"'").lower() for word in words[:400].split()]
    if found and re.fullmatch(r"(?:.*[\\/])?azcmagent(?:\.exe)?", found[0]):
        found = found[1:]
    named = [word for word in found[:2] if _WORD.match(word)]
    if not named or named[0] != found[0]:
        return ""
    return " ".join(named) if named[0] in _TWO_WORDS else named[0]


def _record(number: int, line: Line, run: int, code: str | None = None) -> LogRecord:
    return LogRecord(line=number, level=line.level, text=line.text, at=line.at, run=run, code=code)


def _error_before(data: bytes, low: int, stop: int) -> tuple[int, Line] | None:
    """Where the last line of level error within reach begins, and that line; None when there is none."""
    low = max(low, stop - _ERROR_REACH)
    hit = max(data.rfind(b"level=error", low, stop), data.rfind(b"ERROR", low, stop))
    if hit < 0:
        return None
    start = data.rfind(b"\n", low, hit) + 1 or low
    end = data.find(b"\n", hit, stop)
    line = parse_line(decode(_read(data, start, *part_around(start, hit, end if end >= 0 else stop))))
    return (start, line) if line.level is Level.ERROR else None


def _outcome(line: Line, code: str | None) -> Outcome | None:
    if code is not None:
        return Outcome.SUCCESS if code == NO_ERROR else Outcome.FAILURE
    if line.level is Level.FATAL:
        return Outcome.FAILURE
    return Outcome.SUCCESS if _SUCCESS.match(line.message) else None


def _marked_lines(data: bytes, anchors: Anchors) -> Iterator[tuple[int, int, bytes]]:
    """Number, offset and bytes of the newest marked lines, as many as records are kept; a long line once for
    each of its places."""
    number, counted = 1, 0
    for start, low, high in deque(anchors.places(data), maxlen=MAX_RECORDS):
        number += data.count(b"\n", counted, start)
        counted = start
        yield number, start, _read(data, start, low, high)


def _read(data: bytes, start: int, low: int, high: int) -> bytes:
    """The line or its first part; before any other part the line's head, for time and level."""
    if low == start:
        return data[start:high]
    return data[start : start + HEAD] + b" ... " + data[low:high]


def _succession(runs: list[_Run]) -> tuple[CommandRun, ...]:
    """The runs with ``current`` told: connecting and disconnecting follow each other, others only their like.

    A run whose beginning is unknown gives way to a later connect or disconnect as well.
    """
    later: set[str] = set()
    found = []
    for run in reversed(runs):
        lines = {run.command, *_SUCCESSION} if run.command in ("", *_SUCCESSION) else {run.command}
        found.append(
            CommandRun(
                command=run.command,
                agent_version=run.version,
                first_line=run.first_line,
                outcome=run.outcome,
                last_at=run.last_at,
                current=later.isdisjoint(lines),
            )
        )
        later.add(run.command)
    return tuple(reversed(found))
