"""Settings and the choice of concrete classes: the only reader of the environment.

The classes are imported where they are chosen: what stands behind them loads longer than most calls last.
"""

from __future__ import annotations

import resource
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from os import environ, pathsep
from pathlib import Path

import platformdirs

from fleet import __version__
from fleet.app.collect_run import Collection, Crew
from fleet.app.digest import Digest, shared_secrets
from fleet.collect.deadlines import Limits
from fleet.collect.guard import PasswordGuard
from fleet.collect.plan import Plan, plan_visit
from fleet.collect.visit import SystemClock, Visitor
from fleet.errors import Mistake, SettingsError
from fleet.inventory.load import Inventory
from fleet.inventory.references import find_missing
from fleet.inventory.secrets import SecretReader
from fleet.model.host import Host
from fleet.model.pack import Pack
from fleet.model.report import Run
from fleet.model.words import OS, CheckMode, Connection, HostKeyPolicy
from fleet.ports import ReportWriter, Store, Transport

DATABASE_VARIABLE = "FLEET_DATABASE_URL"
RULES_VARIABLE = "FLEET_RULES"
SPARE_FILES = 64
FILES_PER_HOST = 2

FORMATS = ("csv", "html", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectSettings:
    """What ``fleet collect`` was told. Seconds are seconds; ``max_time_s`` None: no limit. ``warnings``: told
    beside those that the run's hosts call for."""

    inventory: Path
    concurrency: int = 100
    winrm_concurrency: int = 50
    limits: Limits = Limits()
    max_time_s: float | None = None
    check: CheckMode = CheckMode.AUTO
    warnings: tuple[str, ...] = ()


def database_url(given: str | None) -> str:
    """The option, else the environment, else a SQLite file in the platform's data folder."""
    url = given or environ.get(DATABASE_VARIABLE)
    if url:
        return url
    return f"sqlite:///{Path(platformdirs.user_data_dir('fleet')) / 'fleet.db'}"


def rules_folders(given: Sequence[Path]) -> tuple[Path, ...]:
    """The folders of operators' own rules: the option's, else the environment's, parted as in $PATH."""
    if given:
        return tuple(given)
    return tuple(Path(word) for word in environ.get(RULES_VARIABLE, "").split(pathsep) if word)


def database_name(given: str | None) -> str:
    """What messages call that database, without credentials. Raises SettingsError for any other URL."""
    from fleet.storage import name_database

    return name_database(database_url(given))


@contextmanager
def opened_store(given: str | None) -> Iterator[Store]:
    """The store that a run writes, made or upgraded if need be, closed at the end.

    Raises SettingsError and StorageError.
    """
    from fleet.storage import open_store

    with closing(open_store(database_url(given))) as store:
        yield store


@contextmanager
def reading_store(given: str | None) -> Iterator[Store]:
    """The store as it is, closed at the end; nothing is made and nothing upgraded.

    Raises SettingsError, also when there is no such database, and StorageError.
    """
    from fleet.storage import open_existing

    with closing(open_existing(database_url(given))) as store:
        yield store


def fitting_concurrency(wanted: int) -> tuple[int, str]:
    """As many hosts at once as the limit on open files allows, and a sentence when that is fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted * FILES_PER_HOST + SPARE_FILES
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return wanted, ""
    if hard == resource.RLIM_INFINITY or needed <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        return wanted, ""
    fits = max(1, (hard - SPARE_FILES) // FILES_PER_HOST)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return (
        fits,
        f"concurrency lowered from {wanted} to {fits}: this process may open {hard} files (ulimit -n)",
    )


def inventory_warnings(hosts: Sequence[Host]) -> tuple[str, ...]:
    """What the operator is told on every run."""
    keys = sum(
        host.host_key_policy is HostKeyPolicy.OFF and host.connection is Connection.SSH for host in hosts
    )
    certificates = sum(host.winrm.cert_validation == "off" for host in hosts)
    unchecked = (
        ("host keys", keys, "host_key_policy: off"),
        ("certificates", certificates, "cert_validation: off"),
    )
    return tuple(
        f"{what} are NOT checked for {count} of {len(hosts)} hosts ({why})"
        for what, count, why in unchecked
        if count
    )


def missing_references(inventory: Inventory, hosts: Sequence[Host]) -> tuple[Mistake, ...]:
    """What these of its hosts refer to and this machine does not have; each would cost them their visit."""
    return find_missing(inventory, hosts, SecretReader(environ), has_agent="SSH_AUTH_SOCK" in environ)


class _Visitors:
    def __init__(self, visitors: Mapping[tuple[Connection, OS], Visitor]) -> None:
        self._visitors = visitors

    def visitor(self, host: Host) -> Visitor:
        return self._visitors[host.connection, host.os]


@asynccontextmanager
async def built_collection(
    settings: CollectSettings, hosts: tuple[Host, ...], pack: Pack, store_url: str | None
) -> AsyncIterator[Collection]:
    """Everything a run needs, wired."""
    plans = {os: plan_visit(pack.items, settings.check, os) for os in OS if any(h.os is os for h in hosts)}
    secrets = SecretReader(environ)
    run = _new_run(settings, hosts, pack, plans)
    async with AsyncExitStack() as stack:
        store = stack.enter_context(opened_store(store_url))
        store_pool = stack.enter_context(ThreadPoolExecutor(1, "store"))
        judge_pool = stack.enter_context(_judge_pool())
        yield Collection(
            run=run,
            hosts=hosts,
            crews=_crews(settings, hosts),
            visits=await _visitors(settings, hosts, plans, secrets, run.id, stack),
            digest=Digest(pack, plans, store.mask_key(), secrets, shared_secrets(hosts)),
            store=store,
            store_pool=store_pool,
            judge_pool=judge_pool,
            max_time_s=settings.max_time_s,
        )


def _crews(settings: CollectSettings, hosts: Sequence[Host]) -> tuple[Crew, ...]:
    over_winrm = tuple(host for host in hosts if host.connection is Connection.WINRM)
    others = tuple(host for host in hosts if host.connection is not Connection.WINRM)
    return (
        Crew(hosts=others, size=settings.concurrency),
        Crew(hosts=over_winrm, size=settings.winrm_concurrency),
    )


@contextmanager
def _judge_pool() -> Iterator[Executor]:
    pool = ThreadPoolExecutor(1, "judge")
    try:
        yield pool
    finally:
        # A run that was stopped does not wait for the large answers that still stand in line.
        pool.shutdown(cancel_futures=True)


async def _visitors(
    settings: CollectSettings,
    hosts: Sequence[Host],
    plans: Mapping[OS, Plan],
    secrets: SecretReader,
    run_id: str,
    stack: AsyncExitStack,
) -> _Visitors:
    # One guard for all: an account is one, however its hosts are reached.
    guard, clock = PasswordGuard(), SystemClock()
    connections = {host.connection for host in hosts}
    transports = {each: await _transport(each, settings, stack) for each in connections}
    return _Visitors(
        {
            (connection, os): Visitor(
                plan=plans[os],
                transport=transports[connection],
                secrets=secrets,
                guard=guard,
                clock=clock,
                limits=settings.limits,
                run_id=run_id,
            )
            for connection, os in {(host.connection, host.os) for host in hosts}
        }
    )


async def _transport(connection: Connection, settings: CollectSettings, stack: AsyncExitStack) -> Transport:
    if connection is Connection.LOCAL:
        from fleet.transport.local import LocalTransport

        return LocalTransport()
    if connection is Connection.WINRM:
        from fleet.transport.winrm.transport import WinrmTransport

        return await stack.enter_async_context(
            WinrmTransport(connect_s=settings.limits.connect_s, concurrency=settings.winrm_concurrency)
        )
    from fleet.transport.ssh import SshTransport

    return SshTransport(
        connect_s=settings.limits.connect_s,
        agent_path=environ.get("SSH_AUTH_SOCK"),
        concurrency=settings.concurrency,
    )


def _new_run(settings: CollectSettings, hosts: tuple[Host, ...], pack: Pack, plans: Mapping[OS, Plan]) -> Run:
    now = SystemClock().now()
    return Run(
        id=f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}",
        inventory=str(settings.inventory),
        started_at=now,
        selected=len(hosts),
        fleet_version=__version__,
        pack_digest=pack.digest,
        script_sha256=" ".join(plan.sha256 for plan in plans.values()),
        warnings=(*inventory_warnings(hosts), *settings.warnings),
    )


def report_writers(formats: str) -> tuple[ReportWriter, ...]:
    """The writers for ``csv,html,json`` in any order. Raises SettingsError for any other word."""
    words = [word.strip() for word in formats.split(",") if word.strip()]
    unknown = [word for word in words if word not in FORMATS]
    if unknown or not words:
        raise SettingsError(f"--format takes {', '.join(FORMATS)}; not {', '.join(unknown) or 'nothing'}")
    return tuple(_writer(word) for word in dict.fromkeys(words))


def _writer(word: str) -> ReportWriter:
    from fleet.report.csv_files import CsvWriter
    from fleet.report.html_file import HtmlWriter
    from fleet.report.json_file import JsonWriter

    writers: dict[str, ReportWriter] = {"csv": CsvWriter(), "html": HtmlWriter(), "json": JsonWriter()}
    return writers[word]
