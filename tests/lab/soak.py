"""Runs of the program over thousands of simulated hosts, and one table of what they took.

    python -m tests.lab.soak 1000 10000

The hosts are those of tests/lab/estate.py, in a process of their own; `fleet collect` is another one. Its
memory and its open files are looked at from outside, by /proc.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet.model.report import HostResult, RunReport
from fleet.model.words import Phase, Reason, Word
from fleet.storage import open_existing
from tests.lab.estate import estate, listening, told

CONNECT_S, HOST_S = 5, 15
_DONE = re.compile(rb" INFO \S+: (?:HEALTHY|DEGRADED|FAILING|NOT_OBSERVED)\b")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_LOOK_EVERY_MS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the process held when so many hosts were done."""

    done: int
    rss_bytes: int
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One run of `fleet collect` as it looked from outside, and what it stored."""

    code: int
    seconds: float
    cpu_s: float
    peak_bytes: int
    samples: tuple[Sample, ...]
    report: RunReport

    def at(self, share: float) -> Sample:
        """The first look at it when that share of the hosts was done; 1: the last one before the last was."""
        count = len(self.report.results)
        if share == 1:
            return max((one for one in self.samples if one.done < count), key=lambda one: one.done)
        return next(one for one in self.samples if one.done >= share * count)


def watch(inventory: Path, folder: Path, *words: str) -> Watched:
    """Run it with its database, log and reports in the folder, and look at it until its end."""
    log, url = folder / "fleet.log", f"sqlite:///{folder}/fleet.db"
    command = (sys.executable, "-m", "fleet", "collect", str(inventory), "--db", url, "-v", *words)
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        began = time.monotonic()
        process = subprocess.Popen(
            (*command, "--log-file", str(log), "--out", str(folder / "out")), stdout=out, stderr=err
        )
    samples, counter = [], DoneCounter(log)
    ends = select.poll()
    ends.register(descriptor := os.pidfd_open(process.pid), select.POLLIN)
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        if sample := _look(process.pid, counter):
            samples.append(sample)
        ends.poll(_LOOK_EVERY_MS)
    os.close(descriptor)
    _, status, usage = ended
    process.returncode = os.waitstatus_to_exitcode(status)
    store = open_existing(url)
    report = store.load(None)
    store.close()
    assert report is not None
    return Watched(
        code=process.returncode,
        seconds=time.monotonic() - began,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024,
        samples=tuple(samples),
        report=report,
    )


class DoneCounter:
    """How many hosts a growing log tells of."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._at = self._done = 0

    def done(self) -> int:
        if self._log.exists():
            with self._log.open("rb") as file:
                file.seek(self._at)
                text, end, _ = file.read().rpartition(b"\n")
            self._at += len(text + end)
            self._done += len(_DONE.findall(text))
        return self._done


def _look(pid: int, counter: DoneCounter) -> Sample | None:
    try:
        # The memory first: what is held after the last host was done is another question.
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        files = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    except (OSError, IndexError):
        return None
    return Sample(done=counter.done(), rss_bytes=pages * _PAGE_BYTES, files=files)


def overshoot_s(result: HostResult, connect_s: float, host_s: float) -> float:
    """By how much the visit to a host that fell silent outlived the deadline it ran into."""
    assert result.duration_s is not None
    phase = result.verdict.phase
    if phase in (Phase.EXEC, Phase.TRANSFER):
        return result.duration_s - host_s
    before = sum(timing.seconds for timing in result.timings if timing.phase is not phase)
    return result.duration_s - before - connect_s


def _row(count: int) -> str:
    with (
        tempfile.TemporaryDirectory(prefix="fleet-soak-") as name,
        listening(count, Path(name, "lab")) as lab,
    ):
        limits = ("--connect-timeout", str(CONNECT_S), "--host-timeout", str(HOST_S))
        run = watch(lab, Path(name), *limits)
    silent = [one for one in run.report.results if one.verdict.reason is Reason.DEADLINE]
    lag_s = max(overshoot_s(one, CONNECT_S, HOST_S) for one in silent)
    words = ", ".join(f"{run.report.count(word)} {word}" for word in Word)
    expected = {one.name: (one.expect.verdict, one.expect.reason, one.expect.phase) for one in estate(count)}
    wrong = sum(told(one.verdict) != expected[one.host.name] for one in run.report.results)
    cells = (
        f"{count}",
        f"{run.seconds:.0f}",
        f"{count / run.seconds:.1f}",
        f"{run.cpu_s / count * 1000:.1f}",
        *(f"{run.at(share).rss_bytes / 1e6:.0f}" for share in (0.1, 0.5, 1)),
        f"{run.peak_bytes / 1e6:.0f}",
        f"{max(one.files for one in run.samples)}",
        f"{lag_s * 1000:.0f}",
        f"{wrong}",
        f"{words}; exit code {run.code}",
    )
    return f"| {' | '.join(cells)} |"


_HEADING = (
    "hosts",
    "seconds",
    "hosts/s",
    "CPU ms/host",
    "RSS MB at a tenth",
    "half",
    "last host",
    "peak",
    "open files",
    "late ms",
    "not as expected",
    "rows",
)


def main(counts: Sequence[int]) -> None:
    """One row a count."""
    print(f"| {' | '.join(_HEADING)} |\n|{'---|' * len(_HEADING)}")  # noqa: T201
    for count in counts:
        print(_row(count), flush=True)  # noqa: T201


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]])
