"""What a visit costs the controller, beside a bare asyncssh loop over the same hosts.

    python bench/collect.py [--hosts 200] [--kib 64]

All log in to the same servers (in a process of their own), send the same script, read and decompress the
same answer: five logs a host. `fleet` also masks, parses, classifies, judges and stores. `bare` leaves
asyncssh at its defaults; `bare, our cipher` has the cheaper cipher that fleet asks for, so that its gain is
not taken for ours. Prints client CPU and wall per host, the ratios of the CPU, and the milliseconds per
further MiB of log. The sides take turns, and of each the round that was disturbed least counts.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import asyncssh

from fleet.app.collect_run import RunState
from fleet.bootstrap import CollectSettings, built_collection
from fleet.collect.framing import find_header, inflate
from fleet.collect.plan import Plan, plan_visit
from fleet.model.host import Host
from fleet.model.words import Become, CheckMode
from fleet.packs.load import load_pack
from fleet.transport.ssh import ENCRYPTION

AT_ONCE = 50
ROUNDS = 5
SIDES = ("bare", "bare, our cipher", "fleet")
CIPHER = {"encryption_algs": ENCRYPTION}
LOGS = ("log.azcmagent", "log.himds", "log.arcproxy", "log.gc_agent", "log.gc_ext")
SHOW = (
    b'{"status":"Connected","resourceName":"bench","agentVersion":"1.58.03228.700","lastHeartbeat":"%s",'
    b'"subscriptionId":"00000000-0000-0000-0000-000000000000"}'
)


def log_text(size: int) -> bytes:
    """A healthy log of that many bytes in the agent's format."""
    line = (
        'time="2026-11-01T10:%02d:%02dZ" level=debug msg="Checking connectivity to '
        'https://weu.his.arc.azure.com, proxy status: proxy is not used" Correlation Id=%08x\n'
    )
    text = "".join(line % (n // 60 % 60, n % 60, n * 2654435761 % 2**32) for n in range(size // 150 + 2))
    return text[:size].encode()


def answer(nonce: bytes, items: tuple[str, ...], log: bytes) -> bytes:
    """What the script would print for these items."""
    show = SHOW % time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()).encode()
    services = b"\n".join(
        b"Id=%s.service\nLoadState=loaded\nActiveState=active\nSubState=running\n" % unit
        for unit in (b"himdsd", b"gcad", b"extd", b"arcproxyd")
    )
    texts = {"agent.show": show, "services": services, **dict.fromkeys(LOGS, log)}
    parts = [
        b"\n%s begin %s root\n%s\n%s end %s 0\n"
        % (nonce, name.encode(), texts.get(name, b""), nonce, name.encode())
        for name in items
    ]
    body = b"".join(parts) + b"\n%s done %d\n" % (nonce, len(items))
    return b"\n%s FLEET1 gzip %d\n" % (nonce, int(time.time())) + gzip.compress(body, 1)


def serve(pipe: Connection, folder: str, size: int) -> None:
    """A server that answers every command as a healthy host with logs of ``size`` bytes."""
    log = log_text(size)

    async def handle(process: asyncssh.SSHServerProcess[bytes]) -> None:
        words = (process.command or "").split(" ")
        items = tuple(word.split(":")[0] for word in words if word.count(":") >= 6)
        await process.stdin.readuntil(b"\n}\n")
        process.stdout.write(answer(words[4].encode(), items, log))
        await process.stdout.drain()
        process.exit(0)

    async def main() -> None:
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[f"{folder}/host"],
            authorized_client_keys=f"{folder}/client.pub",
            process_factory=handle,
            encoding=None,
            login_timeout=600,
        )
        pipe.send(server.get_port())
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)

    asyncio.run(main())


async def bare(hosts: tuple[Host, ...], plan: Plan, options: Mapping[str, Any]) -> None:
    """The least that can be done: log in, send, read, decompress."""
    left = iter(hosts)
    key = asyncssh.read_private_key(hosts[0].key_file or "")

    async def work() -> None:
        for host in left:
            async with asyncssh.connect(
                host.address,
                host.port,
                username=host.user,
                client_keys=[key],
                known_hosts=host.known_hosts,
                config=None,
                **options,
            ) as connection:
                nonce = "ab" * 16
                command = plan.command(Become.NONE, nonce=nonce, run_id="run")
                async with connection.create_process(command, encoding=None) as process:
                    process.stdin.write(plan.script)
                    data = await process.stdout.read()
                header = find_header(data, nonce)
                assert header is not None
                assert inflate(data[header.end :], plan.max_answer_bytes)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def fleet(hosts: tuple[Host, ...], folder: Path) -> None:
    """The product: the same hosts, and a judged row for each in SQLite."""
    settings = CollectSettings(inventory=folder / "bench.yaml", concurrency=AT_ONCE)
    async with built_collection(settings, hosts, load_pack(), f"sqlite:///{folder}/bench.db") as collection:
        state = RunState(selected=len(hosts))
        await collection.collect(state)
        assert state.counts == {"HEALTHY": len(hosts)}, state.counts


def measured(work: Callable[[], Coroutine[Any, Any, None]], hosts: int) -> tuple[float, float]:
    """(CPU, wall) of this process in milliseconds per host."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    asyncio.run(work())
    after, ended = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu * 1000 / hosts, (ended - began) * 1000 / hosts


def round_of(folder: Path, hosts: int, size: int) -> list[tuple[float, float]]:
    """All sides against one server with logs of that size, each (CPU, wall) per host."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(theirs, str(folder), size))
    server.start()
    port = ours.recv()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    estate = tuple(
        Host(
            name=f"bench{n}",
            address="127.0.0.1",
            port=port,
            user="ops",
            key_file=str(folder / "client"),
            known_hosts=str(folder / "known_hosts"),
        )
        for n in range(hosts)
    )
    plan = plan_visit(load_pack().items, CheckMode.AUTO)
    try:
        asyncio.run(bare(estate[:20], plan, {}))
        asyncio.run(fleet(estate[:20], folder))
        sides: list[Callable[[], Coroutine[Any, Any, None]]] = [
            lambda: bare(estate, plan, {}),
            lambda: bare(estate, plan, CIPHER),
            lambda: fleet(estate, folder),
        ]
        rounds = [[measured(side, hosts) for side in sides] for _ in range(ROUNDS)]
        return [min(of_side) for of_side in zip(*rounds, strict=True)]
    finally:
        ours.send("end")
        server.join()


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=200)
    parser.add_argument("--kib", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for key in ("host", "client"):
            pair = asyncssh.generate_private_key("ssh-ed25519")
            pair.write_private_key(str(folder / key))
            pair.write_public_key(str(folder / f"{key}.pub"))
        small = round_of(folder, options.hosts, options.kib << 10)
        large = round_of(folder, options.hosts // 4, 1 << 20)
    mib = 5 - 5 * options.kib / 1024
    print(f"{options.hosts} hosts, {AT_ONCE} at once, five logs of {options.kib} KiB; ms per host")
    print(f"{'':18}{'CPU':>8}{'wall':>8}{'CPU per further MiB of log':>30}")
    for word, (cpu, wall), (more, _) in zip(SIDES, small, large, strict=True):
        print(f"{word:18}{cpu:8.1f}{wall:8.1f}{(more - cpu) / mib:30.1f}")
    for word, (cpu, _) in zip(SIDES[:-1], small[:-1], strict=True):
        print(f"CPU, fleet over {word}: {small[-1][0] / cpu:.2f}")


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
