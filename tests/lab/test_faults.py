"""A hundred hosts of which one in four is broken in some way: what a run says of each, and what it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.collect.deadlines import Limits
from fleet.inventory.load import load_inventory
from fleet.model.report import HostResult
from fleet.model.words import Phase, Reason
from tests.lab.estate import estate, listening, told
from tests.lab.leftovers import AT_ONCE, Left, visited
from tests.lab.soak import Watched, overshoot_s, watch

HOSTS = 100
CONNECT_S, HOST_S = 4, 9
LATE_SHARE = 1
"""By which share of its deadline a visit may outlive it: the loop has nineteen others to serve, and the
machine has other work. A visit that waits for the deadlines of others is late by several."""


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with listening(HOSTS, tmp_path_factory.mktemp("lab")) as path:
        yield path


@pytest.fixture(scope="module")
def run(inventory: Path, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """One run of the program in a process of its own over all of them."""
    limits = ("--connect-timeout", str(CONNECT_S), "--host-timeout", str(HOST_S))
    return watch(inventory, tmp_path_factory.mktemp("run"), *limits, "--concurrency", str(AT_ONCE))


def test_each_host_has_its_row_with_the_right_word(run: Watched) -> None:
    found = {one.host.name: told(one.verdict) for one in run.report.results}
    assert found == {
        one.name: (one.expect.verdict, one.expect.reason, one.expect.phase) for one in estate(HOSTS)
    }
    assert len(run.report.results) == HOSTS
    assert run.code == 1


def test_each_cause_is_the_right_one(run: Watched) -> None:
    found = {one.host.name: one.verdict.cause.rule for one in run.report.results if one.verdict.cause}
    assert found == {one.name: one.expect.rule for one in estate(HOSTS) if one.expect.rule}


def test_a_silent_host_costs_its_deadline_and_no_more(run: Watched) -> None:
    silent = [one for one in run.report.results if one.verdict.reason is Reason.DEADLINE]
    assert {one.verdict.phase for one in silent} == set(Phase) - {Phase.GATEWAY, Phase.RESOLVE}
    for one in silent:
        deadline = HOST_S if one.verdict.phase in (Phase.EXEC, Phase.TRANSFER) else CONNECT_S
        # Stored times are rounded.
        assert 0 <= round(overshoot_s(one, CONNECT_S, HOST_S), 2) <= LATE_SHARE * deadline, one.host.name


def test_the_run_ends_within_its_model_time(run: Watched) -> None:
    """Workers that take the next host when they are free end within ``sum / workers + longest`` (Graham,
    Bounds on Multiprocessing Timing Anomalies, 1969), whatever the order of the hosts. The visits' own
    durations are the jobs. A worker that is not visiting while there are hosts waits for the loop, which
    judges another host: all of that together is no more than the process's CPU time. Nothing else may keep
    a host waiting, neither the database nor another host's silence.
    """
    took = [one.duration_s for one in run.report.results if one.duration_s is not None]
    assert len(took) == HOSTS
    began, ended = zip(*map(_span, run.report.results), strict=True)
    assert max(ended) - min(began) <= sum(took) / AT_ONCE + max(took) + run.cpu_s


def test_no_more_hosts_are_visited_at_once_than_allowed(run: Watched) -> None:
    spans = [_span(one) for one in run.report.results]
    at_once = [sum(began <= instant < ended for began, ended in spans) for instant, _ in spans]
    assert max(at_once) == AT_ONCE


def test_workers_go_from_one_host_to_the_next(run: Watched) -> None:
    """They spend little of their time on anything but visits: none waits for what it did to be stored."""
    began, ended = (sorted(times) for times in zip(*map(_span, run.report.results), strict=True))
    idle_s = sum(began[AT_ONCE:]) - sum(ended[:-AT_ONCE])
    assert idle_s <= 0.1 * (sum(ended) - sum(began))


def _span(result: HostResult) -> tuple[float, float]:
    assert result.started_at is not None
    assert result.duration_s is not None
    began = result.started_at.timestamp()
    return began, began + result.duration_s


def test_memory_does_not_grow_with_the_hosts_that_are_done(run: Watched) -> None:
    assert run.at(1).rss_bytes <= 1.1 * run.at(0.1).rss_bytes


@pytest.fixture(scope="module")
def left(inventory: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Left, Left, Left]:
    """After a run that loads all there is to load, a short one, and one of all hosts."""
    hosts = load_inventory(inventory)
    # Whichever way a visit ends, it must leave nothing, so its deadlines may be short.
    limits = Limits(connect_s=0.5, host_s=1)
    databases = [f"sqlite:///{tmp_path_factory.mktemp('in-process')}/fleet.db" for _ in range(3)]
    some = (hosts, hosts[:AT_ONCE], hosts)
    first, short, long = (
        visited(inventory, each, db, limits) for each, db in zip(some, databases, strict=True)
    )
    return first, short, long


def test_nothing_is_left_running_or_open(left: tuple[Left, Left, Left]) -> None:
    first, _, last = left
    assert not last.tasks
    assert (last.threads, last.files, last.children) == (first.threads, first.files, first.children)


def test_no_object_is_kept_for_a_host_that_is_done(left: tuple[Left, Left, Left]) -> None:
    _, short, long = left
    assert all(more < HOSTS - AT_ONCE for more in (long.objects - short.objects).values())
