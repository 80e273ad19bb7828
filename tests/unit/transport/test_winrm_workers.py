"""The worker processes of WinRM when something is wrong with them, and the tickets they must not leave."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from pathlib import Path

import pytest
from spnego.exceptions import SpnegoError

from fleet.collect.deadlines import Limits
from fleet.errors import AuthError, CredentialError, DeadlineError, UnreachableError
from fleet.transport.winrm import worker, workers
from fleet.transport.winrm.frames import LENGTHS, Frame, Kind, Target, TicketRequest, take_frame
from fleet.transport.winrm.tickets import ticket_trouble
from fleet.transport.winrm.transport import WinrmTransport
from fleet.transport.winrm.workers import WorkerBugError, WorkerPool
from tests.contract.winrm_site import made_estate, trouble

MUTE = "import time; time.sleep(600)"
READY = "import sys, time; sys.stdout.buffer.write({!r}); sys.stdout.flush(); time.sleep(600)"

ANSWERS = """
import sys
for said in ({!r}, {!r}):
    sys.stdout.buffer.write(said)
    sys.stdout.flush()
    sys.stdin.buffer.read(1)
"""


def children() -> set[int]:
    """What this thread, which runs the event loop, started."""
    return set(map(int, Path("/proc/thread-self/children").read_text().split()))


async def test_one_that_is_never_ready_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_COMMAND", ("-c", MUTE))
    monkeypatch.setattr(workers, "START_S", 0.01)
    before, pool = children(), WorkerPool(1)
    with pytest.raises(UnreachableError, match="was not ready"):
        await pool.channel()
    (started,) = pool._starts
    assert started._process is not None
    async with asyncio.timeout(20):
        await started._process.wait()
    await pool.close()
    assert children() == before


async def test_one_that_is_not_ready_costs_a_visit_no_more_than_its_own_deadline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(workers, "_COMMAND", ("-c", MUTE))
    with made_estate(tmp_path) as estate:
        error = await trouble(estate.host(9), limits=Limits(host_s=0.05))
    assert isinstance(error, DeadlineError)


async def test_another_starts_when_it_is_earned_and_serves_when_it_is_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "_COMMAND", ("-c", READY.format(Frame(Kind.READY, 0).packed())))
    monkeypatch.setattr(workers, "LEAVE_S", 0.01)
    monkeypatch.setattr(workers, "BUSY_VISITS", 3)
    monkeypatch.setattr(workers, "EARNED_VISITS", 6)
    pool = WorkerPool(2)
    for _ in range(6):
        (await pool.channel()).close()
    await pool.channel()
    await pool.channel()
    # Enough were given; the one there is has two, which is little.
    await pool.channel()
    assert len(pool._starts) == 1
    await pool.channel()
    (first, start), (second, coming) = pool._starts.items()
    assert start.done()
    assert (first.load, second.load) == (4, 0)
    await coming
    await pool.channel()
    assert (first.load, second.load) == (4, 1)
    for _ in range(20):
        await pool.channel()
    assert (first.load, second.load) == (13, 12)
    assert len(pool._starts) == 2
    await pool.close()


async def test_closing_waits_for_none_that_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_COMMAND", ("-c", MUTE))
    monkeypatch.setattr(workers, "LEAVE_S", 600)
    before, pool = children(), WorkerPool(1)
    visit = asyncio.create_task(pool.channel())
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await pool.close()
    with pytest.raises(UnreachableError):
        await visit
    assert children() == before


async def test_one_that_does_not_leave_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_COMMAND", ("-c", READY.format(Frame(Kind.READY, 0).packed())))
    monkeypatch.setattr(workers, "LEAVE_S", 0.01)
    before, pool = children(), WorkerPool(1)
    await pool.channel()
    async with asyncio.timeout(20):
        await pool.close()
    assert children() == before


async def test_tickets_are_removed_when_the_workers_do_not_end_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transport = WinrmTransport(connect_s=1, concurrency=1)
    folder = Path(transport._caches._new_cache().removeprefix("FILE:")).parent

    async def fail() -> None:
        raise BrokenPipeError

    monkeypatch.setattr(transport._pool, "close", fail)
    with pytest.raises(BrokenPipeError):
        async with transport:
            pass
    assert folder not in folder.parent.iterdir()


class _Odd:
    """Stands for a visit with a bug in it, or for a well one."""

    def __init__(self, number: int, *_: object) -> None:
        self._number = number

    def run(self) -> None:
        assert self._number != 1, "a bug of its own"

    def clean_up(self) -> None:
        assert self._number != 2, "a bug of its end"

    def hear(self, _: Frame) -> None:
        """It is told of the end."""


def test_a_bug_costs_its_visit_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "Visit", _Odd)
    sink = io.BytesIO()
    orders = b"".join(Frame(Kind.OPEN, number, (TARGET.packed(),)).packed() for number in (1, 2, 3))
    worker.Worker(io.BytesIO(orders), sink).serve()
    said = io.BytesIO(sink.getvalue())
    told: dict[int, list[Frame]] = {}
    while frame := take_frame(said.read):
        told.setdefault(frame.visit, []).append(frame)
    assert [[frame.kind for frame in told[number]] for number in (1, 2, 3)] == [
        [Kind.BUG, Kind.CLOSED],
        [Kind.BUG, Kind.CLOSED],
        [Kind.CLOSED],
    ]
    (trace,) = told[1][0].words
    assert trace.startswith("Traceback")
    assert "in run" in trace
    assert "a bug of its own" in trace


async def test_a_bug_of_a_worker_reaches_its_visit(monkeypatch: pytest.MonkeyPatch) -> None:
    ready, bug = Frame(Kind.READY, 0).packed(), Frame(Kind.BUG, 1, ("Traceback: odd",)).packed()
    monkeypatch.setattr(workers, "_COMMAND", ("-c", ANSWERS.format(ready, bug)))
    pool = WorkerPool(1)
    channel = await pool.channel()
    channel.say(Kind.OPEN, TARGET.packed())
    with pytest.raises(WorkerBugError, match="odd"):
        await channel.hear()
    await pool.close()


async def test_a_worker_that_cannot_go_on_ends_at_once_and_says_why() -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", BREAKS), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdin is not None
    child.stdin.write(Frame(Kind.TICKETS, 1, (REQUEST.packed(), "")).packed() + LENGTHS.pack(2, 0) + b"[]")
    async with asyncio.timeout(20):
        _, complaint = await child.communicate()
    assert child.returncode == 70
    assert b"ValueError" in complaint


def test_a_worker_whose_parent_is_gone_removes_its_tickets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = tmp_path / "tickets" / "0"
    cache.parent.mkdir()
    monkeypatch.setattr(worker, "fetch", lambda request, _: cache.write_text(request.into))
    request = TicketRequest(principal="ops", keytab=None, into=f"FILE:{cache}")
    source = io.BytesIO(Frame(Kind.TICKETS, 1, (request.packed(), "secret")).packed())
    sink = io.BytesIO()
    worker.Worker(source, sink).serve()
    assert b'"got"' in sink.getvalue()
    assert not cache.parent.exists()


REQUEST = TicketRequest(principal="ops", keytab=None, into="FILE:none")
BREAKS = """
import threading
from fleet.transport.winrm import worker
worker.fetch = lambda *_: threading.Event().wait()
worker.main()
"""
TARGET = Target(
    name="win01",
    address="win01.example",
    port=5985,
    addresses=(),
    scheme="http",
    auth="kerberos",
    user="",
    client_cert=None,
    client_key=None,
    ca_file=None,
    cert_validation="strict",
    spn_service="HTTP",
    spn_host="win01.example",
    proxy=None,
    configuration_name=None,
    uses_tickets=True,
    tickets="",
    connect_s=1,
    max_bytes=1,
)


class _GssError(Exception):
    """As gssapi raises it: GSS_S_FAILURE, and the mechanism's own number."""

    maj_code = 13 << 16

    def __init__(self, min_code: int) -> None:
        self.min_code = min_code


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (37, AuthError, "more than 5 min apart"),
        (7, AuthError, "HTTP/win01.example"),
        (32, CredentialError, "win01.example"),
        (156, UnreachableError, "win01.example"),
    ],
)
@pytest.mark.parametrize("is_signed", [False, True])
def test_what_kerberos_says_by_number(
    number: int, kind: type[Exception], words: str, is_signed: bool
) -> None:
    code = -1765328384 + number
    told = ticket_trouble(
        SpnegoError(base_error=_GssError(code if is_signed else code + (1 << 32))), TARGET, ""
    )
    assert type(told) is kind
    assert words in str(told)
