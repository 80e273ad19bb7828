"""What a visit over WinRM costs the controller, beside bare pypsrp on the same hosts.

    python bench/winrm.py [--hosts 50 300 1000] [--kib 64] [--rounds 3]

Both log in to the same simulated server (in a process of its own) by NTLM over sealed HTTP, run the same
script and read the same answer, with five logs of that many KiB. `bare` (bare_pypsrp.py) opens, runs, closes
and drops the output, in 32 threads of one process. `fleet` is `fleet collect`, which also masks, parses,
judges, stores and reports. Each is a process of its own; its CPU counts from start to end, that of its
children too. The sides take turns, and of each the round that was disturbed least counts. At the end the same
collection runs once more with a clock in its event loop, for how late that runs, beside a process that does
nothing else: how late that is, the machine is.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gzip
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import quantiles

from fleet.app.collect_run import RunState
from fleet.bootstrap import CollectSettings, built_collection
from fleet.collect.framing import deflate
from fleet.collect.plan import plan_visit
from fleet.inventory.load import load_inventory
from fleet.lab.describe import Agent, Expectation, HostDescription
from fleet.lab.windows import Windows
from fleet.lab.windows_visit import PIECE_CHARS, responder
from fleet.lab.winrm.server import WinrmServer
from fleet.lab.winrm.users import User, Users
from fleet.lab.winrm.words import Reply, Request, Respond
from fleet.model.words import OS, Become, CheckMode, Word
from fleet.packs.load import load_pack

AT_ONCE = 32
ROUNDS = 3
FRESH_S = 30
LAG_HOSTS = 300
LAG_EVERY_S = 0.005
BARE = Path(__file__).with_name("bare_pypsrp.py")
SIDES = ("bare", "fleet")
USER, DOMAIN, PASSWORD = "ops", "BENCH", "a password of the bench"
LOGS = ("azcmagent", "himds", "arcproxy", "gc_agent", "gc_ext")
NONCE = "0" * 32


def log_text(size: int) -> bytes:
    """A healthy log of that many bytes in the agent's format."""
    line = (
        'time="2026-11-01T10:%02d:%02dZ" level=debug msg="Checking connectivity to '
        'https://weu.his.arc.azure.com, proxy status: proxy is not used" Correlation Id=%08x\n'
    )
    text = "".join(line % (n // 60 % 60, n % 60, n * 2654435761 % 2**32) for n in range(size // 150 + 2))
    return text[:size].encode()


def canned(size: int) -> Respond:
    """Answers as a healthy host with logs of ``size`` bytes, recorded anew every half minute."""
    windows = Windows()
    host = HostDescription(
        name="bench",
        summary="A healthy host.",
        group="bench",
        expect=Expectation(verdict=Word.HEALTHY),
        agent=Agent(heartbeat_age_s=60, resource_name="bench", certificate_days=60),
        logs=tuple((name, log_text(size)) for name in LOGS),
        windows=windows,
    )
    kept: dict[tuple[str, ...], tuple[float, bytes]] = {}

    async def respond(request: Request) -> Reply:
        nonce, run, *words = request.arguments
        recorded_at, text = kept.get(tuple(words), (0.0, b""))
        if time.monotonic() - recorded_at > FRESH_S:
            answer = await responder(host, windows, datetime.now(UTC))(
                Request(request.script, request.command, (NONCE, run, *words), request.user)
            )
            if answer.is_failed:
                return answer
            text = gzip.decompress(base64.b64decode("".join(answer.output[1:])))
            kept[tuple(words)] = (time.monotonic(), text)
        coded = base64.b64encode(deflate(text.replace(NONCE.encode(), nonce.encode()))).decode()
        pieces = (coded[at : at + PIECE_CHARS] for at in range(0, len(coded), PIECE_CHARS))
        return Reply(output=(f"{nonce} FLEET1 gzip64 {int(time.time())}", *pieces))

    return respond


def serve(pipe: Connection, folder: str, size: int) -> None:
    """One listening host; tells its port, then its counters each time it is asked."""
    # Hosts are other machines: they do not take the CPU that the controller wants.
    os.nice(10)

    async def main() -> None:
        users = Users(Path(folder), [User(name=USER, password=PASSWORD, domain=DOMAIN)])
        server = WinrmServer(canned(size), users)
        listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        port = listening.getsockname()[1]
        await server.open(listening)
        pipe.send(port)
        while await asyncio.get_running_loop().run_in_executor(None, pipe.recv):
            pipe.send(asdict(server.counters))
        await server.close()
        users.close()

    asyncio.run(main())


async def watch(found: list[float]) -> None:
    """Note how late the event loop is, in milliseconds, every few of them."""
    while True:
        due = time.perf_counter() + LAG_EVERY_S
        await asyncio.sleep(LAG_EVERY_S)
        found.append((time.perf_counter() - due) * 1000)


async def lags(folder: Path, port: int, hosts: int) -> list[float]:
    """How late the event loop of a collection ran."""
    inventory = write_inventory(folder, port, hosts)
    found: list[float] = []
    settings = CollectSettings(inventory=inventory, winrm_concurrency=AT_ONCE)
    estate = load_inventory(inventory)
    async with built_collection(settings, estate, load_pack(), f"sqlite:///{folder}/lag.db") as collection:
        watching = asyncio.create_task(watch(found))
        state = RunState(selected=hosts)
        await collection.collect(state)
        watching.cancel()
        assert state.counts == {"HEALTHY": hosts}, state.counts
    return found


def idle(pipe: Connection) -> None:
    """A process whose event loop has nothing to do but this; tells its lags when it is asked."""
    found: list[float] = []

    async def main() -> None:
        watching = asyncio.create_task(watch(found))
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        watching.cancel()

    asyncio.run(main())
    pipe.send(found)


def lags_beside_idle(folder: Path, port: int, hosts: int) -> dict[str, list[float]]:
    """Of a collection, and at the same time of a process that does nothing: what is the machine's own."""
    ours, theirs = multiprocessing.Pipe()
    other = multiprocessing.Process(target=idle, args=(theirs,))
    other.start()
    late = asyncio.run(lags(folder, port, hosts))
    ours.send(True)
    beside: list[float] = ours.recv()
    other.join()
    return {"main loop": late, "idle process": beside}


def write_inventory(folder: Path, port: int, hosts: int) -> Path:
    """So many hosts, all of them that server."""
    (folder / "password").write_text(PASSWORD)
    path = folder / f"bench{hosts}.yaml"
    path.write_text(
        f"defaults: {{connection: winrm, address: 127.0.0.1, port: {port}, user: '{DOMAIN}\\{USER}',\n"
        f"           password: file:password}}\nhosts: ['bench[1-{hosts}]']\n"
    )
    return path


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one host: CPU and wall in milliseconds, HTTP requests and connections the server saw."""

    cpu: float
    wall: float
    requests: float
    connections: float


class Bench:
    """The server, and the sides that visit it."""

    def __init__(self, folder: Path, kib: int) -> None:
        self.folder = folder
        self._pipe, theirs = multiprocessing.Pipe()
        self._server = multiprocessing.Process(target=serve, args=(theirs, str(folder), kib << 10))
        self._server.start()
        self.port: int = self._pipe.recv()
        plan = plan_visit(load_pack().items, CheckMode.AUTO, OS.WINDOWS)
        self._files = folder / "script", folder / "arguments"
        self._files[0].write_bytes(plan.script)
        self._files[1].write_text(plan.command(Become.NONE, nonce="NONCE", run_id="run"))

    def close(self) -> None:
        """End the server."""
        self._pipe.send(False)
        self._server.join()

    def counters(self) -> dict[str, int]:
        """What the server counted so far."""
        self._pipe.send(True)
        found: dict[str, int] = self._pipe.recv()
        return found

    def measured(self, side: str, hosts: int) -> Cost:
        """One side over so many hosts, as a process of its own."""
        before, began = self.counters(), time.perf_counter()
        process = subprocess.Popen(
            self._command(side, hosts), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdout is not None
        said = process.stdout.read().decode(errors="replace")
        # With the CPU of those that it waited for itself.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, f"{side} ended with {process.returncode}:\n{said[-3000:]}"
        wall, after = time.perf_counter() - began, self.counters()
        assert after["shells_open"] == 0, after
        assert after["shells_opened"] - before["shells_opened"] == hosts, after
        return Cost(
            cpu=(used.ru_utime + used.ru_stime) * 1000 / hosts,
            wall=wall * 1000 / hosts,
            requests=(after["requests"] - before["requests"]) / hosts,
            connections=(after["connections"] - before["connections"]) / hosts,
        )

    def _command(self, side: str, hosts: int) -> list[str]:
        if side == "bare":
            words = ["127.0.0.1", self.port, rf"{DOMAIN}\{USER}", PASSWORD, hosts, AT_ONCE, *self._files]
            return [sys.executable, str(BARE), *map(str, words)]
        inventory = write_inventory(self.folder, self.port, hosts)
        database = f"sqlite:///{self.folder}/bench{hosts}.db"
        more = ["--db", database, "--winrm-concurrency", str(AT_ONCE)]
        return [sys.executable, "-m", "fleet", "collect", str(inventory), *more]

    def best(self, hosts: int, rounds: int) -> dict[str, Cost]:
        """Of each side the round with the least CPU; the sides take turns."""
        costs = [{side: self.measured(side, hosts) for side in SIDES} for _ in range(rounds)]
        return {side: min((cost[side] for cost in costs), key=lambda cost: cost.cpu) for side in SIDES}


def print_table(found: dict[int, dict[str, Cost]]) -> None:
    """The ratio first."""
    for hosts, costs in found.items():
        print(f"CPU, fleet over bare pypsrp, {hosts} hosts: {costs['fleet'].cpu / costs['bare'].cpu:.2f}")
    print(f"\n{'hosts':>8} {'':8}{'CPU ms':>10}{'wall ms':>10}{'requests':>10}{'logins':>8}")
    for hosts, costs in found.items():
        for side, cost in costs.items():
            seen = f"{cost.requests:10.1f}{cost.connections:8.1f}"
            print(f"{hosts:8} {side:8}{cost.cpu:10.1f}{cost.wall:10.1f}{seen}")
    few, many = min(found), max(found)
    if few < many:
        for side in SIDES:
            further = (found[many][side].cpu * many - found[few][side].cpu * few) / (many - few)
            print(f"CPU of one further host, {side}: {further:.1f} ms")


def late_ms(values: list[float]) -> tuple[float, float, float]:
    """Half of them, ninety-nine in a hundred of them, all of them are at most so late."""
    parts = quantiles(values, n=100)
    return parts[49], parts[98], max(values)


def print_lags(found: dict[str, list[float]], hosts: int) -> None:
    """Percentiles."""
    for name, values in found.items():
        print(f"{name}'s lag, {hosts} hosts: p50 %.1f, p99 %.1f, max %.1f ms" % late_ms(values))


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[50, 300, 1000])
    parser.add_argument("--kib", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), options.kib)
        try:
            found = {hosts: bench.best(hosts, options.rounds) for hosts in options.hosts}
            runs = [lags_beside_idle(Path(name), bench.port, LAG_HOSTS) for _ in range(options.rounds)]
        finally:
            bench.close()
    print(f"{AT_ONCE} at once, five logs of {options.kib} KiB; per host")
    print_table(found)
    print_lags(min(runs, key=lambda run: late_ms(run["main loop"])[1]), LAG_HOSTS)


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
