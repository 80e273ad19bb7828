"""The worker processes of WinRM when something is wrong with them, and the tickets they must not leave."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from spnego.exceptions import SpnegoError

from fleet.errors import AuthError, CredentialError, UnreachableError
from fleet.transport.winrm import worker, workers
from fleet.transport.winrm.frames import Frame, Kind, Target, TicketRequest
from fleet.transport.winrm.tickets import ticket_trouble
from fleet.transport.winrm.transport import WinrmTransport
from fleet.transport.winrm.workers import WorkerPool

MUTE = "import time; time.sleep(600)"
READY = "import sys, time; sys.stdout.buffer.write({!r}); sys.stdout.flush(); time.sleep(600)"


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
