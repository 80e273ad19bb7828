"""What classifying logs costs, beside a bare hyperscan scan, Python's re and ripgrep over the same files.

    python bench/classify.py [--gb 0.25] [--rules 100 1000]

The logs are made here: lines of every shape that the agent writes, one in a thousand of interest. ``fleet``
reads, segments, matches and makes evidence. The bare scan has the same anchors and a callback that does
nothing. ``Python re`` is one alternation of all expressions, tried line by line on the first bytes; ripgrep
has the expressions in a file. CPU time throughout. The sides take turns, each in a process of its own, and of
each the round that was disturbed least counts. What is promised are the ratios, not the times.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import re
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import hyperscan

from fleet.app.classify_files import MAX_SOURCE_BYTES
from fleet.classify.engine import Classifier
from fleet.model.pack import LogMatch, Pack
from fleet.packs.load import load_pack
from fleet.parse.mask import Masker
from fleet.parse.observe import observe_texts
from fleet.parse.scan import Anchors

ROUNDS = 3
UNIQUE_BYTES = 32 << 20
RE_BYTES = 40_000_000
TIME = "2026-01-{d:02d}T{h:02d}:{m:02d}:{s:02d}"
LOGRUS = f'time="{TIME}+01:00" level=%s msg="%s" %s'
HEALTHY = (
    LOGRUS % ("info", "Heartbeat sent", 'Status=Connected "VM Id"={u}'),
    LOGRUS % ("debug", "GET https://gbl.his.arc.azure.com/azgn/{u} 200 OK", "Took={n}ms"),
    LOGRUS % ("info", "Request to https://login.microsoftonline.com/{u}/oauth2/v2.0/token", "Try={n}"),
    LOGRUS % ("info", "Loading config", r'Path="C:\\ProgramData\\AzureConnectedMachineAgent"'),
    "<GCLOG>[2026-01-{d:02d} {h:02d}:{m:02d}:{s:02d}.{n:03d}] [PID {n}] [Client] [INFO] [{u}] Get it</GCLOG>",
    f'{{{{"time":"{TIME}Z","level":"info","msg":"MSI token request","client":"::1:{{n}}","id":"{{u}}"}}}}',
    "[{n}+00000001] 1/{d}/2026 {h}:{m:02d}:{s:02d} AM [Info] [CorrelationId={u}] no updates found",
)
LOOKUP = r"Post \"https://login.microsoftonline.com/{u}\": dial tcp: lookup login.windows.net: no such host"
TELLING = (
    LOGRUS % ("error", LOOKUP, "Attempt={n}"),
    LOGRUS % ("fatal", "AZCM0042: Failed to Create Resource", 'Error="AADSTS7000215: Invalid client secret"'),
    LOGRUS % ("info", "Exit Code:  AZCM0042: Failed to Create Resource", ""),
)
NOUNS = (
    "tenant",
    "certificate",
    "extension",
    "gateway",
    "proxy",
    "license",
    "policy",
    "assignment",
    "handler",
)
STATES = (
    "signed",
    "mounted",
    "installed",
    "registered",
    "licensed",
    "assigned",
    "stored",
    "attached",
    "renewed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU seconds of one side for so many bytes: to read them, and for all else; its peak memory."""

    size: int
    read_s: float
    work_s: float
    peak_mib: float
    found: int = 0

    @property
    def total_s(self) -> float:
        return self.read_s + self.work_s


def write_logs(folder: Path, size: int) -> tuple[Path, ...]:
    """Files of at most what is read of one, together of ``size`` bytes, made of the same lines over again."""
    chance = random.Random(7)
    block = bytearray()
    while len(block) < min(size, UNIQUE_BYTES):
        shape = chance.choice(TELLING if chance.random() < 0.001 else HEALTHY)
        block += shape.format(
            d=chance.randrange(1, 29),
            h=chance.randrange(24),
            m=chance.randrange(60),
            s=chance.randrange(60),
            n=chance.randrange(1000),
            u=f"{chance.getrandbits(64):016x}",
        ).encode()
        block += b"\n"
    paths = []
    for number, start in enumerate(range(0, size, MAX_SOURCE_BYTES)):
        path = folder / f"himds.{number}.log"
        with path.open("wb") as stream:
            for _ in range(max(1, min(MAX_SOURCE_BYTES, size - start) // len(block))):
                stream.write(block)
        paths.append(path)
    return tuple(paths)


def pack_of(count: int) -> Pack:
    """The shipped rules and as many more that read logs as make ``count`` of those."""
    chance = random.Random(3)
    shipped = load_pack()
    logs = [rule for rule in shipped.rules if isinstance(rule.match, LogMatch) and rule.match.text]
    others = [rule for rule in shipped.rules if rule not in logs]
    more = []
    for number in range(count - len(logs)):
        first, second, state = *chance.sample(NOUNS, 2), chance.choice(STATES)
        text = rf"{first} {second}(?: of \S+)? {number} is not {state}\b.*\b(?:denied|exhausted|not found)"
        more.append(replace(logs[0], id=f"bench-{number}", match=LogMatch(text=(text,))))
    return replace(shipped, rules=(*others, *logs[:count], *more))


def expressions(pack: Pack) -> list[str]:
    """Of all rules that read logs, in the syntax that all sides take: without names of groups and needless
    backslashes."""
    found = (text for rule in pack.rules if isinstance(rule.match, LogMatch) for text in rule.match.text)
    bare = (re.sub(r"\\(.)", lambda pair: pair[pair[1] in "\"'/:=<>,@#%&"], text) for text in found)
    plain = (re.sub(r"\(\?P<\w+>", "(?:", text) for text in bare)
    return [re.sub(r"^\(\?([ims]+)\)(.*)$", r"(?\1:\2)", text) for text in plain]


def timed_reads(paths: tuple[Path, ...]) -> Iterator[tuple[bytes, float]]:
    for path in paths:
        began = time.process_time()
        data = path.read_bytes()
        yield data, time.process_time() - began


def measure(paths: tuple[Path, ...], work: Callable[[str, bytes], int]) -> Cost:
    size, found, read_s, work_s = 0, 0, 0.0, 0.0
    for path, (data, seconds) in zip(paths, timed_reads(paths), strict=True):
        began = time.process_time()
        found += work(str(path), data)
        work_s += time.process_time() - began
        read_s += seconds
        size += len(data)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(size=size, read_s=read_s, work_s=work_s, peak_mib=peak, found=found)


def bare_scan(paths: tuple[Path, ...], count: int) -> Cost:
    """hyperscan over the anchors, nothing done with what it finds."""
    anchors = [anchor.encode() for anchor in Classifier(pack_of(count)).anchors]
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(expressions=anchors, flags=[hyperscan.HS_FLAG_CASELESS] * len(anchors), literal=True)

    def scan(_: str, data: bytes) -> int:
        database.scan(data, match_event_handler=lambda *_: None)
        return 0

    return measure(paths, scan)


def fleet(paths: tuple[Path, ...], count: int) -> Cost:
    """From files to findings, as ``fleet classify`` does it but for the masking."""
    classifier = Classifier(pack_of(count))
    anchors = Anchors(classifier.anchors)

    def classify(path: str, data: bytes) -> int:
        return len(classifier.classify(observe_texts([(path, data)], anchors)).findings)

    return measure(paths, classify)


def masking(paths: tuple[Path, ...], _: int) -> Cost:
    """With the secrets of three accounts to look for beside what looks like one."""
    masker = Masker(b"key", ["correct horse battery", "Tr0ub4dor&3", "hunter2hunter2"])
    return measure(paths[:1], lambda _, data: len(masker.mask(data)) - len(data))


def python_re(paths: tuple[Path, ...], count: int) -> Cost:
    """One alternation, line by line, over the first bytes; the fewer, the more rules there are."""
    combined = re.compile("|".join(f"(?:{text})" for text in expressions(pack_of(count))), re.IGNORECASE)
    with paths[0].open("rb") as stream:
        lines = stream.read(RE_BYTES // count).decode().splitlines()
    began = time.process_time()
    found = sum(1 for line in lines if combined.search(line))
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(size=RE_BYTES // count, read_s=0, work_s=seconds, peak_mib=peak, found=found)


def ripgrep(paths: tuple[Path, ...], count: int) -> Cost:
    """What it reads and searches cannot be told apart."""
    with tempfile.NamedTemporaryFile("w") as patterns:
        patterns.write("\n".join(text.replace(r"\n", " ") for text in expressions(pack_of(count))))
        patterns.flush()
        command = [
            "rg",
            "-j1",
            "-i",
            "--no-filename",
            "-c",
            "--dfa-size-limit=1G",
            "--regex-size-limit=1G",
            "-f",
            patterns.name,
            *map(str, paths),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    size = sum(path.stat().st_size for path in paths)
    seconds = used.ru_utime + used.ru_stime
    found = sum(map(int, done.stdout.split()))
    return Cost(size=size, read_s=0, work_s=seconds, peak_mib=used.ru_maxrss / 1024, found=found)


SIDES: dict[str, Callable[[tuple[Path, ...], int], Cost]] = {
    "hyperscan, bare": bare_scan,
    "fleet": fleet,
    "fleet, masking": masking,
    "Python re": python_re,
    "ripgrep": ripgrep,
}


def best_of(paths: tuple[Path, ...], count: int) -> dict[str, Cost]:
    sides = {name: side for name, side in SIDES.items() if name != "ripgrep" or shutil.which("rg")}
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, side in sides.items():
            # A process of its own, or its peak would be that of the largest before it.
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                costs[name].append(pool.submit(side, paths, count).result())
    return {name: min(each, key=lambda cost: cost.total_s) for name, each in costs.items()}


def report(count: int, costs: dict[str, Cost]) -> None:
    print(f"\n{count} rules         read MB/s  other MB/s  all MB/s  peak MiB    found")
    for name, cost in costs.items():
        spent = (cost.read_s, cost.work_s, cost.total_s)
        read, other, total = (f"{cost.size / 1e6 / one:,.2f}" if one else "" for one in spent)
        print(f"{name:17} {read:>11} {other:>11} {total:>9} {cost.peak_mib:>9.0f} {cost.found:>8}")
    ours, scan = costs["fleet"], costs["hyperscan, bare"]
    slow = costs["Python re"]
    times = (slow.work_s / slow.size) / (ours.total_s / ours.size)
    print(f"fleet / bare, from files:   {scan.total_s / ours.total_s:.2f} (promised: 0.25)")
    print(f"fleet / bare, from memory:  {scan.work_s / ours.work_s:.2f}")
    print(f"fleet / Python re:          {times:.0f} (promised: 20)")
    mask = costs["fleet, masking"]
    print(f"masking:                    {mask.size / 1e6 / mask.work_s:.0f} MB/s (promised: 200)")


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--gb", type=float, default=0.25)
    options.add_argument("--rules", type=int, nargs="+", default=[100, 1000])
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_logs(Path(folder), int(chosen.gb * 1e9))
        size = sum(path.stat().st_size for path in paths)
        print(f"{size / 1e9:.2f} GB in {len(paths)} files, of {ROUNDS} rounds the best")
        for count in chosen.rules:
            report(count, best_of(paths, count))


if __name__ == "__main__":
    main()
