"""The run around the visits: a row for every host, whatever a visit, the store or the operator does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fleet.app.collect_run import BATCH, Collection, Crew, RunState
from fleet.app.digest import Digest, shared_secrets
from fleet.app.exit_code import Stopped
from fleet.collect.deadlines import Limits
from fleet.collect.guard import PasswordGuard
from fleet.collect.plan import plan_visit
from fleet.collect.visit import Visitor
from fleet.errors import RemoteError, StorageError, UnreachableError
from fleet.model.host import Host, SecretRef
from fleet.model.report import Run
from fleet.model.words import OS, CheckMode, Observed, Phase, Reason, Word
from fleet.packs.load import load_pack
from fleet.ports import Transport
from tests.fakes import AnsweringTransport, FakeClock, FakeSecrets, FakeStore, FakeTransport, raises

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PACK = load_pack()
PLAN = plan_visit(PACK.items, CheckMode.AUTO)


class OneVisitor:
    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor

    def visitor(self, host: Host) -> Visitor:
        return self._visitor


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def hosts(count: int, password: SecretRef | None = None) -> tuple[Host, ...]:
    return tuple(
        Host(name=f"web{at:04}", address="192.0.2.1", user="ops", become_password=password)
        for at in range(count)
    )


def collection(
    pool: ThreadPoolExecutor,
    chosen: tuple[Host, ...],
    transport: Transport,
    store: FakeStore,
    secrets: FakeSecrets,
) -> Collection:
    visitor = Visitor(
        plan=PLAN,
        transport=transport,
        secrets=secrets,
        guard=PasswordGuard(),
        clock=FakeClock(AT),
        limits=Limits(),
        run_id="run",
    )
    return Collection(
        run=Run(
            id="run",
            inventory="inventory.yaml",
            started_at=AT,
            selected=len(chosen),
            fleet_version="0",
            pack_digest=PACK.digest,
            script_sha256=PLAN.sha256,
        ),
        hosts=chosen,
        crews=[Crew(hosts=chosen, size=10)],
        visits=OneVisitor(visitor),
        digest=Digest(PACK, {OS.LINUX: PLAN}, b"k" * 32, secrets, shared_secrets(chosen)),
        store=store,
        store_pool=pool,
        judge_pool=pool,
        max_time_s=None,
    )


async def test_a_host_in_flight_says_where_the_run_left_it(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.app.collect_run.GRACE_S", 0.05)
    transport, store = FakeTransport(lambda _: None), FakeStore()
    state = RunState(selected=20)
    run = asyncio.create_task(collection(pool, hosts(20), transport, store, FakeSecrets()).collect(state))
    await transport.reached.wait()
    state.stop(Stopped.INTERRUPTED)
    await run
    assert set(store.results) == set(transport.opened)
    assert 1 <= len(transport.opened) <= 10
    for result in store.results.values():
        assert (result.verdict.reason, result.verdict.phase) == (Reason.SKIPPED, Phase.CONNECT)
        assert "the run was stopped" in result.verdict.message
        assert result.started_at == AT


async def test_one_crew_that_hangs_holds_up_no_other(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.app.collect_run.GRACE_S", 0.05)
    chosen = hosts(12)
    slow, quick = chosen[:6], chosen[6:]
    through = asyncio.Event()

    def outcome(host: Host) -> Exception | None:
        if host is quick[-1]:
            through.set()
        return None if host in slow else UnreachableError("down")

    transport, store = FakeTransport(outcome), FakeStore()
    state = RunState(selected=len(chosen))
    made = collection(pool, chosen, transport, store, FakeSecrets())
    crews = (Crew(hosts=slow, size=2), Crew(hosts=quick, size=1))
    run = asyncio.create_task(replace(made, crews=crews).collect(state))
    await through.wait()
    assert sorted(transport.opened) == sorted(host.name for host in (*slow[:2], *quick))
    state.stop(Stopped.INTERRUPTED)
    await run
    assert set(store.results) == set(transport.opened)


async def test_a_store_that_fails_ends_the_run_with_its_error(pool: ThreadPoolExecutor) -> None:
    chosen = hosts(2 * BATCH)
    store = FakeStore(fails=StorageError("the disk is full"))
    made = collection(pool, chosen, FakeTransport(raises(UnreachableError("down"))), store, FakeSecrets())
    with pytest.raises(StorageError, match="full"):
        await asyncio.wait_for(made.collect(RunState(selected=len(chosen))), 20)


async def test_what_hosts_share_is_known_from_their_results(pool: ThreadPoolExecutor) -> None:
    chosen, store, state = hosts(10), FakeStore(), RunState(selected=10)
    show = b'{"status": "Connected", "resourceName": "%s", "resourceGroup": "rg", "subscriptionId": "s"}'
    texts = {"agent.show": show % b"one"}
    made = collection(pool, chosen, AnsweringTransport(texts), store, FakeSecrets())
    await made.collect(state)
    results = [store.results[host.name] for host in chosen]
    found = made.digest.fleet_findings(results)
    told = [(each.rule, each.value, len(each.hosts)) for each in found]
    assert told == [("shared-resource-id", "s/rg/one", 10), ("shared-host-key", "SHA256:fake", 10)]
    assert made.digest.fleet_findings(results[:1]) == ()


async def test_a_bug_costs_its_host_and_is_counted(
    pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    def outcome(host: Host) -> Exception:
        return ZeroDivisionError("oops") if host.name == "web0001" else UnreachableError("down")

    store, state = FakeStore(), RunState(selected=3)
    await collection(pool, hosts(3), FakeTransport(outcome), store, FakeSecrets()).collect(state)
    reasons = [store.results[host.name].verdict.reason for host in hosts(3)]
    assert reasons == [Reason.UNREACHABLE, Reason.BUG, Reason.UNREACHABLE]
    assert state.bugs == 1
    assert state.counts[Word.NOT_OBSERVED] == 3
    assert "oops" in caplog.text


async def test_what_a_host_says_of_its_failure_is_masked(pool: ThreadPoolExecutor) -> None:
    ref = SecretRef(scheme="env", target="PW")
    said = raises(RemoteError("the host did not run the visit: PASSWORD=hunter22 tried s3cr3t-of-ours"))
    store = FakeStore()
    secrets = FakeSecrets({str(ref): "s3cr3t-of-ours"})
    await collection(pool, hosts(1, ref), FakeTransport(said), store, secrets).collect(RunState(selected=1))
    message = store.results["web0000"].verdict.message
    assert message.startswith("the host did not run the visit: PASSWORD=<masked:")
    assert "hunter22" not in message
    assert "s3cr3t" not in message


async def test_the_log_has_a_line_for_each_section_where_that_is_wanted(
    pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "fleet")
    texts = {"host.os-release": b'PRETTY_NAME="Debian 12"\n'}
    made = collection(pool, hosts(1), AnsweringTransport(texts), FakeStore(), FakeSecrets())
    await made.collect(RunState(selected=1))
    lines = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("web0000: phases: ") for line in lines)
    assert "web0000: host.os-release: exit code 0, 24 bytes, read as user" in lines


def test_the_runs_secrets_are_looked_for_everywhere() -> None:
    refs = [SecretRef(scheme="file", target=f"/pw/{at}") for at in range(300)]
    few = tuple(Host(name=f"h{at}", address="a", user="u", password=refs[at]) for at in range(3))
    assert shared_secrets(few) == frozenset(refs[:3])
    many = tuple(Host(name=f"h{at}", address="a", user="u", password=ref) for at, ref in enumerate(refs))
    often = tuple(Host(name=f"o{at}", address="a", user="u", become_password=refs[-1]) for at in range(2))
    found = shared_secrets(many + often)
    assert len(found) == 256
    assert refs[-1] in found


@pytest.mark.parametrize("lines", [10, 40_000], ids=["quick", "large"])
async def test_an_answer_of_any_size_is_judged(pool: ThreadPoolExecutor, lines: int) -> None:
    log = b'time="2026-01-02T03:00:00Z" level=info msg="Heartbeat sent"\n' * lines
    store = FakeStore()
    transport = AnsweringTransport({"log.azcmagent": log, "host.os-release": b'PRETTY_NAME="Debian 12"\n'})
    made = collection(pool, hosts(2), transport, store, FakeSecrets())
    await made.collect(RunState(selected=2))
    assert [result.os_name for result in store.results.values()] == ["Debian 12"] * 2


async def test_an_answer_without_end_costs_its_host(pool: ThreadPoolExecutor) -> None:
    noise = random.Random(7).randbytes(PLAN.max_answer_bytes + (1 << 20))
    store = FakeStore()
    made = collection(pool, hosts(1), AnsweringTransport({"log.himds": noise}), store, FakeSecrets())
    await made.collect(RunState(selected=1))
    assert store.results["web0000"].verdict.observed is Observed.PARTIAL


async def test_a_bomb_is_read_to_its_bound(pool: ThreadPoolExecutor) -> None:
    texts = {"host.os-release": b'PRETTY_NAME="Debian 12"\n', "log.himds": b"\0" * (40 << 20)}
    store = FakeStore()
    await collection(pool, hosts(1), AnsweringTransport(texts), store, FakeSecrets()).collect(
        RunState(selected=1)
    )
    result = store.results["web0000"]
    assert (result.os_name, result.verdict.observed) == ("Debian 12", Observed.PARTIAL)
