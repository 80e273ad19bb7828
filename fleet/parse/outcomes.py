"""A log line into the code by which the agent ended, told by itself, by its installer or by who ran it."""

from __future__ import annotations

import re

from fleet.model.observation import Level
from fleet.parse.lines import Line

NO_ERROR = "AZCM0000"

_EXIT_CODE = re.compile(r"exit code:\s*(AZCM\d{4})(?![0-9A-Za-z])", re.IGNORECASE)
_LEADING_CODE = re.compile(r"(AZCM\d{4}):", re.IGNORECASE)
# What an installer writes with --output or -OutFile: an object "error" with a member "code", on one line or
# many. The script for group policies exports an object with ErrorCode.
_REPORTED = re.compile(
    r'(?:(?:\{.{0,200}?"error"\s*:\s*\{\s*)?"code"\s*:\s*"|<S N="ErrorCode">\s*)(AZCM\d{4})(?![0-9A-Za-z])',
    re.IGNORECASE,
)
# Who runs the agent tells how its process ended: "azcmagent connect failed with exit code 42", "AZCMAgent
# command failed with error:  >> exitcode: 42", "azcmagent.exe exited with status 0x1a". Of "installing
# azcmagent (exit code: 100)" the number is the package manager's, of "failed: Status Code=403" Azure's.
_PROCESS = re.compile(
    r"\bazcmagent(?:\.exe)?[\"']?(?:\s+[a-z][a-z-]{0,30}){0,2}?\s+"
    r"(?:(?:failed|returned|terminated|finished|completed)\b.{0,80}?\bexit(?:[ _-]?(?:code|status))?"
    r"|exited with (?:an? )?(?:non-?zero )?(?:exit )?(?:code|status))"
    r"[\s:=('\"]{0,6}(0x[0-9a-f]{1,4}|[0-9]{1,3})(?!\w|\.\d)",
    re.IGNORECASE,
)
_LAST_CODE = 255


def outcome_code(line: Line) -> str | None:
    """The code when this line is how the agent ended ("AZCM0042"), None when it only mentions one.

    A process's exit code is the number of that code.
    """
    match = _EXIT_CODE.match(line.message)
    if match is None and line.level in (Level.FATAL, Level.ERROR):
        match = _LEADING_CODE.match(line.message)
    if match is None and line.plain:
        match = _REPORTED.match(line.message)
    if match is not None:
        return match[1].upper()
    process = _PROCESS.search(line.message)
    return _of_process(process[1]) if process else None


def _of_process(number: str) -> str | None:
    code = int(number, 16 if number[:2] in ("0x", "0X") else 10)
    return f"AZCM{code:04d}" if code <= _LAST_CODE else None
