"""A stored visit says today what it said when it was fresh, and more where there are more rules."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fleet.app.digest import Digest, Judged
from fleet.app.ruling import Rulings
from fleet.collect.framing import Form, Header
from fleet.collect.plan import plan_visit
from fleet.collect.visit import Answer
from fleet.model.host import Host
from fleet.model.pack import Pack, StateMatch
from fleet.model.visit import Failure, Visit
from fleet.model.words import OS, CheckMode, Phase, Reason, Word
from fleet.packs.load import load_pack
from tests.fakes import FakeSecrets

NONCE = "f" * 32
HOST = Host(name="web01", address="web01")
PACK = load_pack()
VISIT = Visit(started_at=datetime(2026, 3, 1, 8, tzinfo=UTC), duration_s=1.5, clock_offset_s=-9.5)
SHOW = json.dumps({"status": "Disconnected", "agentVersion": "1.67.1", "resourceName": "web01"})
LOG = """time="2026-03-01T07:00:00Z" level=debug msg="Agent Command: connect"
time="2026-03-01T07:00:01Z" level=info msg="client_secret=hunter2"
time="2026-03-01T07:00:02Z" level=error msg="No token" Error="Forbidden"
time="2026-03-01T07:00:03Z" level=fatal msg="Exit Code: AZCM0041: Failed to Get Access Token"
"""
TEXTS = {"agent.show": SHOW, "log.azcmagent": LOG, "log.himds": "", "services": ""}


def judged(texts: Mapping[str, str], *, ends: bool = True, failure: Failure | None = None) -> Judged:
    """What a run makes of a host that answers these texts, and stores."""
    frames = "".join(
        f"\n{NONCE} begin {item} root\n{text}\n{NONCE} end {item} 0\n" for item, text in texts.items()
    )
    done = f"\n{NONCE} done {len(texts)}\n" if ends else ""
    header = Header(form=Form.GZIP, epoch_s=None, end=0)
    data = gzip.compress((frames + done).encode())
    answer = Answer(nonce=NONCE, data=data, header=header, offset_s=None)
    plans = {OS.LINUX: plan_visit(PACK.items, CheckMode.AUTO)}
    digest = Digest(PACK, plans, b"k" * 32, FakeSecrets(), frozenset())
    return digest.judge(HOST, replace(VISIT, failure=failure), answer, answer.plain(1 << 20))


@pytest.mark.parametrize(
    "fresh",
    [
        pytest.param(judged(TEXTS), id="whole"),
        pytest.param(judged(TEXTS | {"services": "Id=himdsd.service\nLoadState=loaded\n"}), id="gap"),
        pytest.param(judged({"host.kernel": "Linux 6.1"}, ends=False), id="cut short"),
        pytest.param(
            judged(
                {"host.kernel": "Linux 6.1"},
                ends=False,
                failure=Failure(reason=Reason.DEADLINE, phase=Phase.EXEC, message="too slow", action="Wait."),
            ),
            id="failed",
        ),
    ],
)
def test_a_stored_visit_is_judged_as_when_it_was_fresh(fresh: Judged) -> None:
    again = Rulings(PACK).of_stored(fresh.result, fresh.body)
    assert again is not None
    assert again.classification.findings == fresh.result.findings
    assert again.verdict == fresh.result.verdict
    assert again.traits == fresh.result.traits
    assert (again.observation.agent, again.observation.os_name) == (fresh.result.agent, fresh.result.os_name)


def test_the_cause_of_the_example_is_found_at_all_and_its_secret_is_not() -> None:
    fresh = judged(TEXTS)
    assert fresh.result.verdict.word is Word.FAILING
    assert {finding.rule for finding in fresh.result.findings} >= {"azcm0041"}
    assert b"hunter2" not in gzip.decompress(fresh.body.partition(b"\n")[2])


def test_a_rule_that_was_not_there_then_is_heard_now() -> None:
    fresh = judged(TEXTS)
    new = replace(PACK.rules[0], id="new", match=StateMatch(expression="clock.skew_s > 9.0"))
    pack = Pack(name="p", items=PACK.items, rules=(new,), digest="")
    again = Rulings(pack).of_stored(fresh.result, fresh.body)
    assert again is not None
    assert [finding.rule for finding in again.classification.findings] == ["new"]


def test_items_that_the_pack_has_no_more_are_left_out() -> None:
    fresh = judged(TEXTS)
    pack = replace(PACK, items=tuple(item for item in PACK.items if item.name != "log.azcmagent"))
    again = Rulings(pack).of_stored(fresh.result, fresh.body)
    assert again is not None
    assert [log.source for log in again.observation.logs] == []


@pytest.mark.parametrize("body", [b"", b"x", b"\n", NONCE.encode() + b"\nno gzip", b"\xff\n\x1f\x8b"])
def test_a_body_that_is_none_is_no_end_of_the_program(body: bytes) -> None:
    again = Rulings(PACK).of_stored(judged(TEXTS).result, body)
    assert again is None or again.observation.logs == ()
    assert (again is None) == (body == b"")
