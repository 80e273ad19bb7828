"""What a Windows host is sent, and how its answer is taken apart."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fleet.collect.deadlines import Limits
from fleet.collect.guard import PasswordGuard
from fleet.collect.plan import Plan, plan_visit
from fleet.collect.visit import Visitor, open_answer
from fleet.model.host import Host, Winrm
from fleet.model.visit import Visit
from fleet.model.words import OS, Become, CheckMode, Connection, Privilege
from fleet.packs.load import load_pack
from tests.fakes import FakeClock, FakeSecrets, SayingTransport

HOST = Host(name="win01", address="win01", connection=Connection.WINRM, os=OS.WINDOWS, winrm=Winrm())
PLAN = plan_visit(load_pack().items, CheckMode.AUTO, OS.WINDOWS)


async def visited(plan: Plan, host: Host, say: bytes) -> tuple[Visit, SayingTransport]:
    """A visit to a host that says this; NONCE in it becomes the visit's own."""
    transport = SayingTransport(say)
    visitor = Visitor(
        plan=plan,
        transport=transport,
        secrets=FakeSecrets(),
        guard=PasswordGuard(),
        clock=FakeClock(datetime(2026, 1, 1, tzinfo=UTC)),
        limits=Limits(),
        run_id="run",
    )
    visit, answer = await visitor.visit(host, lambda _: None)
    assert answer is not None
    return open_answer(visit, answer, answer.plain(1 << 20), plan, lambda data: data), transport


def test_the_arguments_are_one_a_line() -> None:
    lines = PLAN.command(Become.NONE, nonce="n1", run_id="r1").split("\n")
    assert lines[:3] == ["n1", "r1", "member"]
    assert len(lines) == 3 + len(PLAN.items)
    assert lines[3] == "host.clock|always|10|257|oldest|clock"
    assert (
        r"log.himds|always|20|1048577|newest|tail|%ProgramData%\AzureConnectedMachineAgent\Log\himds.log"
        in lines
    )
    assert "agent.show|always|20|65537|all|azcmagent|show|-j" in lines
    assert PLAN.command(Become.NONE, nonce="n1", run_id="r1", tier0=True).split("\n")[2] == "tier0"


def test_each_family_has_a_script_and_items_of_its_own() -> None:
    linux = plan_visit(load_pack().items, CheckMode.AUTO)
    assert linux.sha256 != PLAN.sha256
    assert {item.os for item in linux.items} == {OS.LINUX}
    assert {item.os for item in PLAN.items} == {OS.WINDOWS}


@pytest.mark.parametrize("form", ["gzip64", "plain"])
async def test_an_answer_in_either_form(form: str) -> None:
    frames = b"\nNONCE begin host.clock admin\n1700000000/+0000/UTC\nNONCE end host.clock 0\n\nNONCE done 1\n"
    said = b"NONCE FLEET1 plain 1700000000\n" + frames
    visit, transport = await visited(PLAN, HOST, said if form == "plain" else frames)
    assert visit.failure is None
    assert visit.complete
    (clock,) = visit.captures
    assert (clock.data, clock.privilege) == (b"1700000000/+0000/UTC", Privilege.ADMIN)
    assert transport.script == PLAN.script
