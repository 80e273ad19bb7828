"""The table of faults in docs/lab.md: what it promises of each is what a run says."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fleet.collect.deadlines import Limits
from fleet.lab.describe import Fault, HostDescription, Login
from fleet.lab.faults import SLOW_AFTER_BYTES, SLOW_BYTES, SLOW_EVERY_S
from fleet.lab.servers import running_lab
from fleet.model.words import Become, Phase, Reason
from tests.lab.estate import WELL
from tests.lab.running import Said, collect

DOC = Path(__file__).parents[2] / "docs/lab.md"
WINDOWS = "## Windows hosts"
_ROW = re.compile(r"^\| `([a-z-]+)` \|[^|]+\| (\w+) during (\w+)(?: or (\w+))? \|$", re.MULTILINE)
_STORED = (
    "SELECT length(captures.body) FROM captures JOIN visits ON visits.id = captures.visit_id"
    " JOIN hosts ON hosts.id = visits.host_id WHERE hosts.name = ?"
)
SMALLEST = "smallest"
"""A host without agent, logs or services: none has less to answer."""
DEEDS = (Become.SHELL, Become.READS)
"""Where a row names two phases, the first is that of a host whose sudo starts the visit, the second that of
one where the visit starts at once."""


@dataclass(frozen=True)
class Row:
    """What the table says of a fault."""

    reason: Reason
    phases: tuple[Phase, ...]


def table() -> Mapping[Fault, Row]:
    found = _ROW.findall(DOC.read_text().partition(WINDOWS)[0])
    return {
        Fault(fault): Row(Reason(reason), tuple(Phase(phase) for phase in phases if phase))
        for fault, reason, *phases in found
    }


def hosts() -> Iterator[HostDescription]:
    """Each fault as often as its row has phases."""
    for fault, row in table().items():
        for become, phase in zip(DEEDS, row.phases, strict=False):
            yield replace(WELL, name=f"{fault}.{phase}", fault=fault, login=Login(become=become))
    agent = replace(WELL.agent, is_absent=True)
    yield replace(WELL, name=SMALLEST, agent=agent, logs=(), os_release="", login=Login(become=Become.READS))


@pytest.fixture(scope="module", params=[False, True], ids=["real", "canned"])
def said(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Said:
    """One run over all of them."""
    folder = tmp_path_factory.mktemp("faults")
    limits = ("--connect-timeout", "5", "--host-timeout", "10")
    with running_lab(tuple(hosts()), folder / "lab", is_canned=request.param) as lab:
        return collect(lab, folder, *limits, shown=())


def test_every_fault_has_its_row() -> None:
    rows = re.findall(
        r"^\| `([a-z-]+)` \| [^|]+ \| [^|]+ \|$", DOC.read_text().partition(WINDOWS)[0], re.MULTILINE
    )
    assert sorted(rows) == sorted(set(Fault) - {Fault.NONE})
    assert set(table()) == set(rows)
    assert len(table()[Fault.SILENT_AFTER_AUTH].phases) == 2


def test_each_is_what_the_table_says(said: Said) -> None:
    found = {name: (row["reason"], row["phase"]) for name, row in said.hosts.items() if name != SMALLEST}
    assert found == {
        f"{fault}.{phase}": (row.reason, phase) for fault, row in table().items() for phase in row.phases
    }


def test_a_slow_host_is_late_by_the_default_limits_too(said: Said) -> None:
    with closing(sqlite3.connect(said.folder / "fleet.db")) as connection:
        (size,) = connection.execute(_STORED, (SMALLEST,)).fetchone()
    assert (size - SLOW_AFTER_BYTES) / SLOW_BYTES * SLOW_EVERY_S > Limits().host_s
