"""What a visit, a folder of files or a bundle says about a host: facts, services, agent state, logs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fleet.model.visit import require_aware
from fleet.model.words import OS


class Level(StrEnum):
    """The level a line was logged with. Level is not severity."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    FATAL = "fatal"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """How a command run ended, as the agent said it."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """One log line that the scan marked. ``line`` counts from 1 in the source; ``at`` aware or None;
    ``run`` is the index into ``Log.runs`` or None; ``text`` the message with its fields decoded,
    ``code`` the AZCM code when the line is an outcome line ("AZCM0042"), else None."""

    line: int
    level: Level
    text: str
    at: datetime | None = None
    run: int | None = None
    code: str | None = None

    def __post_init__(self) -> None:
        require_aware(self.at, "at")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRun:
    """One run of the agent's CLI within a log: its command word ("connect", "" unknown), the line it
    starts at, when it ended (last time seen) and its outcome. ``current``: no later run superseded it.
    ``agent_version``: of the agent that ran, where it says so; "" else."""

    command: str
    first_line: int
    outcome: Outcome
    last_at: datetime | None = None
    current: bool = True
    agent_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One log or console capture. ``source`` is an item name or a path; ``cut``: its beginning is missing."""

    source: str
    records: tuple[LogRecord, ...]
    runs: tuple[CommandRun, ...] = ()
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service as its manager describes it; empty words where it said nothing.

    ``name`` is the role: himds, gcad, extd, arcproxy on every OS; ``unit`` the OS's own name.
    """

    name: str
    unit: str
    load_state: str = ""
    active_state: str = ""
    sub_state: str = ""
    start_mode: str = ""
    result: str = ""
    exit_status: str = ""
    restarts: int | None = None
    since_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentState:
    """What ``azcmagent show`` says; empty words where it said nothing. ``installed`` None: unknown."""

    installed: bool | None = None
    status: str = ""
    version: str = ""
    last_heartbeat_at: datetime | None = None
    resource_name: str = ""
    resource_group: str = ""
    subscription_id: str = ""
    tenant_id: str = ""
    location: str = ""
    cloud: str = ""
    error_code: str = ""
    error_details: str = ""
    https_proxy: str = ""
    vm_id: str = ""

    @property
    def is_onboarded(self) -> bool | None:
        """Whether the agent has an identity in Azure; None when nobody could tell."""
        if not self.status:
            return None
        return bool(self.resource_name or self.subscription_id or self.last_heartbeat_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One named value rules may test, e.g. ``clock.offset_s`` = "130", with where it was read."""

    name: str
    value: str
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """An item that, if it was read, gave nothing that answers its question, and why not."""

    item: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """All that is known of one host. ``os_name`` as it calls itself ("Debian GNU/Linux 12 (bookworm)").
    ``at``: when it was seen, by our clock; None: nobody knows.

    ``answered``: items whose question was answered, be it by another item. Of items neither there nor in
    ``unanswered``, having been read is enough.
    """

    os: OS | None = None
    os_name: str = ""
    at: datetime | None = None
    agent: AgentState = AgentState()
    services: tuple[Service, ...] = ()
    logs: tuple[Log, ...] = ()
    facts: tuple[Fact, ...] = ()
    answered: tuple[str, ...] = ()
    unanswered: tuple[Unanswered, ...] = ()

    def __post_init__(self) -> None:
        require_aware(self.at, "at")
