"""What is there after a run made in this very process: tasks, threads, descriptors, children, objects."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fleet.app.collect_run import RunState
from fleet.bootstrap import CollectSettings, built_collection
from fleet.collect.deadlines import Limits
from fleet.model.host import Host
from fleet.packs.load import load_pack

AT_ONCE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What is there after a run: names of tasks and threads, what descriptors lead to, children, objects."""

    tasks: frozenset[str]
    threads: frozenset[str]
    files: tuple[str, ...]
    children: tuple[int, ...]
    objects: Counter[str]


async def _collect(
    inventory: Path, hosts: tuple[Host, ...], db: str, limits: Limits
) -> tuple[frozenset[str], Counter[str]]:
    """The run as the program makes it: the tasks it leaves, and the objects when the last host is done."""
    settings = CollectSettings(inventory=inventory, concurrency=AT_ONCE, limits=limits)
    async with built_collection(settings, hosts, load_pack(), db) as collection:
        state = RunState(selected=len(hosts))
        await collection.collect(state)
        assert state.done == len(hosts)
        objects = _objects()
    # Here, and not when the loop has ended: it cancels what is left.
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    return frozenset(map(str, tasks)), objects


def _objects() -> Counter[str]:
    """Those of our types and of asyncssh's by type; SQLAlchemy keeps as many statements as it likes."""
    gc.collect()
    kinds = (type(one) for one in gc.get_objects())
    return Counter(str(kind) for kind in kinds if re.match(r"<class '(fleet|asyncssh|asyncio)\.", str(kind)))


def visited(inventory: Path, hosts: tuple[Host, ...], db: str, limits: Limits) -> Left:
    """What a run into that database leaves."""
    tasks, objects = asyncio.run(_collect(inventory, hosts, db, limits))
    return Left(
        tasks=tasks,
        threads=frozenset(thread.name for thread in threading.enumerate()),
        files=tuple(sorted(_descriptors())),
        children=_children(),
        objects=objects,
    )


def _descriptors() -> Iterator[str]:
    for path in Path("/proc/self/fd").iterdir():
        # The folder that is being read has one too.
        if path.exists():
            yield f"{path.name} {path.readlink()}"


def _children() -> tuple[int, ...]:
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        # A thread may end between the two.
        with suppress(FileNotFoundError):
            found += map(int, (task / "children").read_text().split())
    return tuple(found)
